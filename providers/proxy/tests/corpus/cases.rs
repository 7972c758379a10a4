//! The text of a corpus in, its cases with their bytes out; and the recording of what each proxy made of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Bytes that mean one thing, several, or nothing.
#[derive(Debug, Default)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Whether it answers a HEAD; of answers alone.
    pub(crate) is_head: bool,
    /// Whether the connection ends behind it; of answers alone.
    pub(crate) closes: bool,
    /// Who may make something else of it than we do, and why that is right.
    pub(crate) allowed: BTreeMap<String, String>,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// Reads a corpus: `[name]`, then lines of `#` (a remark), `!` (`! nginx: why it may differ`) or of bytes, in which escapes
/// stand for all that cannot be seen. Line ends of the file itself are no bytes.
pub(crate) fn read(file: &str) -> Vec<Case> {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(head) = line.strip_prefix('[') {
            let (name, how) = head.split_once(']').unwrap();
            let name = name.to_owned();
            assert!(cases.iter().all(|case| case.name != name), "{name} stands twice");
            cases.push(Case {
                name,
                is_head: how.contains("HEAD"),
                closes: how.contains("close"),
                ..Case::default()
            });
            continue;
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let case = cases
            .last_mut()
            .unwrap_or_else(|| panic!("no name before {line}"));
        if let Some(allowed) = line.strip_prefix("! ") {
            let (whose, why) = allowed.split_once(": ").unwrap();
            case.allowed.insert(whose.to_owned(), why.to_owned());
        } else {
            unescape(line, &mut case.bytes);
        }
    }
    cases
}

/// `\r`, `\n`, `\t`, `\0`, `\\`, `\x7f`, and `\{3*ab}` for `ababab`.
fn unescape(line: &str, bytes: &mut Vec<u8>) {
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = rest[at + 1..].chars().next().unwrap_or_else(|| panic!("{line}"));
        rest = &rest[at + 2..];
        match escape {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '0' => bytes.push(0),
            '\\' => bytes.push(b'\\'),
            'x' => {
                bytes.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            '{' => {
                let (count, text) = rest.split_once('*').unwrap();
                let (text, after) = text.split_once('}').unwrap();
                let mut piece = Vec::new();
                unescape(text, &mut piece);
                bytes.extend(piece.repeat(count.parse().unwrap()));
                rest = after;
            }
            other => panic!("\\{other} is no escape: {line}"),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
}

/// What each proxy made of each case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Recording {
    /// Who was asked, in which version.
    pub(crate) versions: Vec<String>,
    pub(crate) cases: Vec<(String, BTreeMap<String, String>)>,
}

impl Recording {
    pub(crate) fn read(file: &str) -> Self {
        let text = std::fs::read_to_string(folder().join(file)).unwrap_or_default();
        let mut recording = Self::default();
        for line in text.lines() {
            if let Some(version) = line.strip_prefix("# With ") {
                recording.versions.push(version.to_owned());
            } else if let Some(name) = line.strip_prefix('[') {
                let name = name.trim_end_matches(']').to_owned();
                recording.cases.push((name, BTreeMap::new()));
            } else if let Some((whose, verdict)) = line.split_once(' ')
                && let Some((_, verdicts)) = recording.cases.last_mut()
            {
                verdicts.insert(whose.to_owned(), verdict.trim_start().to_owned());
            }
        }
        recording
    }

    pub(crate) fn write(&self, file: &str) {
        std::fs::write(folder().join(file), self.text(file)).unwrap();
    }

    fn text(&self, file: &str) -> String {
        let of = file.replace(".recorded", "");
        let mut text =
            format!("# What proxies make of {of}, written by `cargo xtask corpus`: read the difference.\n");
        for version in &self.versions {
            let _ = writeln!(text, "# With {version}");
        }
        for (name, verdicts) in &self.cases {
            let _ = writeln!(text, "\n[{name}]");
            for (whose, verdict) in verdicts {
                let _ = writeln!(text, "{whose:8} {verdict}");
            }
        }
        text
    }

    /// What somebody made of a case.
    pub(crate) fn of(&self, name: &str, whose: &str) -> Option<&str> {
        let (_, verdicts) = self.cases.iter().find(|(other, _)| other == name)?;
        verdicts.get(whose).map(String::as_str)
    }
}
