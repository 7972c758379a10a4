//! The repository's own files in, each breach of its rules with the file and line out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use portcullis_model::Code;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Longest file of Rust, tests included. The aim is 250.
const LONGEST_FILE: usize = 600;
const LONGEST_ARCHITECTURE: usize = 250;

/// What the code below a folder may not name, and why. `name::` means a crate or a type, `crate::name` a module of ours.
const LAYERS: [(&str, &[&str], &str); 8] = [
    (
        "providers/model/src",
        &[
            "kube::",
            "k8s_openapi::",
            "tokio::",
            "hyper::",
            "aws_",
            "SystemTime::",
            "Instant::",
        ],
        "the model knows no provider, no Kubernetes and no clock",
    ),
    (
        "providers/aws/src",
        &["kube::", "k8s_openapi::", "hyper::"],
        "a provider gets the model, not objects",
    ),
    (
        "providers/proxy/src",
        &["kube::", "k8s_openapi::", "aws_sdk", "aws_config::"],
        "the process that faces the internet has no rights in the cluster or the cloud",
    ),
    (
        "src/crd",
        &[
            "crate::translate",
            "crate::reconcile",
            "crate::report",
            "crate::cli",
        ],
        BACKWARDS,
    ),
    (
        "src/cluster",
        &[
            "crate::translate",
            "crate::reconcile",
            "crate::report",
            "crate::cli",
        ],
        BACKWARDS,
    ),
    (
        "src/translate",
        &[
            "crate::reconcile",
            "crate::report",
            "crate::cli",
            "kube::",
            "k8s_openapi::",
            "tokio::",
            "hyper::",
        ],
        BACKWARDS,
    ),
    ("src/reconcile", &["crate::report", "crate::cli"], BACKWARDS),
    ("src/report", &["crate::cli"], BACKWARDS),
];
const BACKWARDS: &str = "cluster, then translate, then reconcile, then report, never backwards";

#[test]
fn a_file_says_in_its_first_line_what_goes_in_and_what_comes_out() {
    none(rust_files().iter().filter_map(|file| {
        let text = read(file);
        let first = text.lines().next().unwrap_or_default();
        (!first.starts_with("//! ")).then(|| format!("{}:1: begins with {first:?}", shown(file)))
    }));
}

#[test]
fn a_file_can_be_read_in_one_sitting() {
    none(rust_files().iter().filter_map(|file| {
        let lines = read(file).lines().count();
        (lines > LONGEST_FILE).then(|| format!("{}: {lines} lines, at most {LONGEST_FILE}", shown(file)))
    }));
    let architecture = fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap_or_default();
    let lines = architecture.lines().count();
    assert!(
        lines <= LONGEST_ARCHITECTURE,
        "ARCHITECTURE.md: {lines} lines, at most {LONGEST_ARCHITECTURE}"
    );
}

#[test]
fn a_module_is_named_by_its_file() {
    let named_mod = rust_files()
        .into_iter()
        .filter(|file| file.file_name().is_some_and(|name| name == "mod.rs"));
    none(named_mod.map(|file| format!("{}: name it after its folder, beside it", shown(&file))));
}

#[test]
fn no_layer_reaches_back() {
    none(LAYERS.iter().flat_map(|(layer, forbidden, why)| {
        let below = rust_files().into_iter().filter(move |file| {
            let path = shown(file);
            path == format!("{layer}.rs") || path.starts_with(&format!("{layer}/"))
        });
        below.flat_map(move |file| {
            let code = code(&read(&file));
            let found = forbidden
                .iter()
                .filter(|name| names(&code, name))
                .map(|name| (*name).to_owned());
            found
                .map(|name| format!("{}: names {name:?}: {why}", shown(&file)))
                .collect::<Vec<_>>()
        })
    }));
}

#[test]
fn imports_are_recognised_however_they_are_written() {
    for (text, name, want) in [
        ("use kube::Api;", "kube::", true),
        ("use {std::fs, kube::{Api, Client}};", "kube::", true),
        ("let client: kube::Client;", "kube::", true),
        ("// use kube::Api;", "kube::", false),
        ("use crate::my_kube::Api;", "kube::", false),
        ("use aws_sdk_ec2::Client;", "aws_", true),
        ("fn draws_(x: u8) {}", "aws_", false),
        ("use crate::report::status;", "crate::report", true),
        (
            "use crate::{cluster::{Snapshot, report}, crd};",
            "crate::report",
            false,
        ),
        (
            "use crate::{\n    cluster::{Snapshot},\n    report::{self, status},\n};",
            "crate::report",
            true,
        ),
        ("use crate::reporting::x;", "crate::report", false),
        ("std::time::Instant::now()", "Instant::", true),
    ] {
        assert_eq!(names(&code(text), name), want, "{name} in {text}");
    }
}

/// Codes are what users' alerts and scripts hold on to.
#[test]
fn a_stable_code_is_never_renamed_or_removed() {
    let path = Path::new(ROOT).join("tests/codes.txt");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let kept: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let have: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let gone: Vec<_> = kept.difference(&have).collect();
    assert!(
        gone.is_empty(),
        "{gone:?} stand in tests/codes.txt: put them back into providers/model/src/problem.rs"
    );
    let new: Vec<_> = have.difference(&kept).collect();
    assert!(
        new.is_empty(),
        "new codes: if their names are meant to stay for ever, add to tests/codes.txt: {new:?}"
    );
    for code in have {
        let pascal = code.starts_with(|c: char| c.is_ascii_uppercase())
            && code.chars().all(|c| c.is_ascii_alphanumeric());
        assert!(
            pascal,
            "{code} isn't in PascalCase, which a condition's reason has to be"
        );
    }
}

#[test]
fn no_file_tells_where_it_was_written() {
    // Put together here, so that this file is not the first to break the rule.
    let places = ["work", "root", "home"].map(|folder| format!("/{folder}/"));
    let starts = |before: char| !(before.is_ascii_alphanumeric() || "./-_*}".contains(before));
    none(files().iter().flat_map(|file| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let at_place = |line: &&str| {
            places.iter().any(|place| {
                let mut found = line.match_indices(place.as_str());
                found.any(|(at, _)| line[..at].chars().next_back().is_none_or(starts))
            })
        };
        let lines: Vec<String> = text.lines().filter(at_place).map(str::to_owned).collect();
        let path = shown(file);
        lines.into_iter().map(move |line| format!("{path}: {line}"))
    }));
}

#[test]
fn a_dependency_is_declared_once_for_all() {
    none(members().iter().flat_map(|member| {
        let manifest = Path::new(ROOT).join(member).join("Cargo.toml");
        let text = read(&manifest);
        let path = shown(&manifest);
        let own = entries(&text).into_iter().filter(|(section, entry)| {
            let dependencies = section.ends_with("dependencies") && section != "workspace.dependencies";
            dependencies && !entry.contains(".workspace = true") && !entry.contains("workspace = true,")
        });
        let own: Vec<_> = own
            .map(|(section, entry)| format!("{path}: [{section}] {entry}"))
            .collect();
        let lints = entries(&text).contains(&("lints".to_owned(), "workspace = true".to_owned()));
        own.into_iter()
            .chain((!lints).then(|| format!("{path}: [lints] workspace = true is missing")))
    }));
}

/// With the feature `full`, which CI builds, every test runs.
#[test]
fn no_test_is_left_out() {
    let ignore = concat!("#[", "ignore");
    let should_panic = concat!("#[should", "_panic");
    none(rust_files().iter().flat_map(|file| {
        let text = read(file);
        let marks = [ignore, should_panic]
            .into_iter()
            .filter(|mark| text.contains(mark));
        marks
            .map(|mark| format!("{}: {mark}", shown(file)))
            .collect::<Vec<_>>()
    }));
    let mut full = BTreeSet::from(["full".to_owned()]);
    let root = entries(&read(&Path::new(ROOT).join("Cargo.toml")));
    let of_full = root
        .iter()
        .find(|(section, entry)| section == "features" && entry.starts_with("full ="));
    full.extend(quoted(&of_full.expect("the feature `full` exists").1));
    // What those turn on in turn, in a member: `aws = ["portcullis-aws/sdk"]`.
    let turned_on = root.iter().filter(|(section, entry)| {
        let name = entry.split(' ').next().unwrap_or_default();
        section == "features" && full.contains(name)
    });
    let of_members: Vec<String> = turned_on
        .flat_map(|(_, entry)| quoted(entry))
        .filter_map(|name| Some(name.split_once('/')?.1.to_owned()))
        .collect();
    full.extend(of_members);
    none(members().iter().flat_map(|member| {
        let manifest = Path::new(ROOT).join(member).join("Cargo.toml");
        let entries = entries(&read(&manifest)).into_iter();
        let left_out = entries.filter(|(section, entry)| {
            let needs = entry.starts_with("required-features") && !quoted(entry).is_subset(&full);
            let off = entry.starts_with("test = false") || entry.starts_with("harness = false");
            entry.starts_with("autotests") || (section == "test" && (needs || off))
        });
        let path = shown(&manifest);
        left_out
            .map(|(section, entry)| format!("{path}: [{section}] {entry}"))
            .collect::<Vec<_>>()
    }));
}

fn none(breaches: impl IntoIterator<Item = String>) {
    let breaches: Vec<String> = breaches.into_iter().collect();
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

/// The section and text of each entry of a manifest, an entry of several lines in one.
fn entries(manifest: &str) -> Vec<(String, String)> {
    let (mut section, mut entries) = (String::new(), Vec::<(String, String)>::new());
    let mut depth = 0_usize;
    for line in manifest
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if depth == 0 && line.starts_with('[') {
            section = line.trim_matches(['[', ']']).to_owned();
            continue;
        }
        match entries.last_mut() {
            Some((_, entry)) if depth > 0 => entry.push_str(line),
            _ => entries.push((section.clone(), line.to_owned())),
        }
        depth = (depth + line.matches(['[', '{']).count()).saturating_sub(line.matches([']', '}']).count());
    }
    entries
}

fn quoted(entry: &str) -> BTreeSet<String> {
    entry.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The folders of the workspace's packages, the root's among them.
fn members() -> Vec<String> {
    let root = entries(&read(&Path::new(ROOT).join("Cargo.toml")));
    let members = root
        .iter()
        .find(|(section, entry)| section == "workspace" && entry.starts_with("members"));
    let members = quoted(&members.expect("the workspace has members").1);
    members.into_iter().chain([".".to_owned()]).collect()
}

/// A text of Rust without comments and white space, but for single spaces between words.
fn code(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default());
    lines
        .flat_map(str::split_whitespace)
        .collect::<Vec<_>>()
        .join(" ")
}

/// Whether code names something of `LAYERS`, by itself or in a list of imports.
fn names(code: &str, name: &str) -> bool {
    let starts = |at: usize| {
        let before = code[..at].chars().next_back();
        before.is_none_or(|c| !(c.is_alphanumeric() || c == '_'))
    };
    let ends = |at: usize| {
        let after = code[at..].chars().next();
        name.ends_with([':', '_']) || after.is_none_or(|c| !(c.is_alphanumeric() || c == '_'))
    };
    let itself = code
        .match_indices(name)
        .any(|(at, _)| starts(at) && ends(at + name.len()));
    let Some(module) = name.strip_prefix("crate::") else {
        return itself;
    };
    let lists = code
        .match_indices("crate::{")
        .map(|(at, opening)| &code[at + opening.len()..]);
    itself || lists.flat_map(listed).any(|item| item == module)
}

/// The first word of each item of a list of imports, which begins after its brace.
fn listed(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
        .iter()
        .map(|item| item.trim().split([':', ' ']).next().unwrap_or_default())
        .collect()
}

fn rust_files() -> Vec<PathBuf> {
    files()
        .into_iter()
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// Every file of the repository, without what is built or fetched.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(ROOT)];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for entry in entries.map(|entry| entry.expect("a folder that was opened can be read")) {
            let name = entry.file_name();
            let built = ["target", ".git", ".cache", "__pycache__"]
                .iter()
                .any(|one| name == *one);
            match entry.file_type().expect("a file that was listed has a type") {
                kind if kind.is_dir() && !built => folders.push(entry.path()),
                kind if kind.is_file() && !built => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn shown(file: &Path) -> String {
    let path = file.strip_prefix(ROOT).unwrap_or(file).display().to_string();
    path.trim_start_matches("./").to_owned()
}
