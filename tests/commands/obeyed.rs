//! Files and objects with signs that terminals obey in, what is logged and shown of them out.

use std::fs;

use crate::unreadable::fails;
use crate::{ANSWERS, Serving, get};

/// A name of a file that would colour what follows, and a path that would turn it round.
#[test]
fn what_a_terminal_would_obey_is_neither_logged_nor_shown() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("esc\u{1b}[31m\u{202e}.yaml"), "{").unwrap();
    // Of an expression, what stands between brackets stays as it is written.
    let web = ANSWERS
        .replace(
            "path: /, pathType: Prefix",
            "path: \"//[\u{202e}]turned\", pathType: ImplementationSpecific",
        )
        .replace(
            "annotations:\n",
            "annotations:\n    portcullis.dev/path-match: regex\n",
        );
    fs::write(dir.path().join("web.yaml"), web).unwrap();
    let refused = fails(dir.path(), &[]);
    let mut serving = Serving::start(dir.path(), &["--admin", "127.0.0.1:0", "--start-anyway"]);
    let (_, admin) = serving.ready.trim().rsplit_once(" admin ").unwrap();
    let table = get(admin, "admin", "/table");
    serving.terminate();
    for (text, want) in [
        (table, "/[\\u{202e}]turned "),
        (refused, "esc\\u{1b}[31m\\u{202e}.yaml"),
        (serving.logged(), "esc\\u{1b}[31m\\u{202e}.yaml"),
    ] {
        assert!(text.contains(want), "{want} in {text:?}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
}
