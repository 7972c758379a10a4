//! Processes that may have few files open in; who is served all the same, and what is said of it out.

use std::fs;

use crate::{ANSWERS, Serving};

#[cfg(target_os = "linux")]
#[test]
fn the_bound_of_open_files_is_raised_as_far_as_it_may_be() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("web.yaml"), ANSWERS.replace("BODY", "web")).unwrap();
    for (bound, want, is_told) in [
        ("-Sn 64 && ulimit -Hn 512", "512", true),
        ("-n 256", "256", true),
        ("-Sn 64", "", false),
    ] {
        // What 512 files are enough for is told only where more are asked for.
        let more = ["--max-connections", if is_told { "32768" } else { "1" }];
        let mut serving = Serving::bounded(bound, dir.path(), &more);
        let limits = fs::read_to_string(format!("/proc/{}/limits", serving.process.id())).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files"));
        let mut words = files.unwrap().split_whitespace().skip(3);
        let (soft, hard) = (words.next().unwrap(), words.next().unwrap());
        assert_eq!(soft, hard, "{bound}");
        assert!(want.is_empty() || soft == want, "{bound}: {soft}");
        serving.signal();
        serving.process.wait().unwrap();
        let told = serving
            .logged()
            .contains("fewer connections than --max-connections");
        assert_eq!(told, is_told, "{bound}");
    }
}
