//! `docs/from-albc.md` and what is built in; every row that is missing, and every state or link that is not true, out.
//!
//! `PORTCULLIS_BLESS=1 cargo test --test from_albc` writes states and golden cases anew: read the difference.

#![expect(clippy::unwrap_used, reason = "all of it is a test: a panic is the report")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use portcullis::translate::annotations::catalog::{self, Known, Support};
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PAGE: &str = "docs/from-albc.md";

/// Parts of the page in which states are generated.
const PARTS: [&str; 4] = [
    "Annotations",
    "IngressClassParams",
    "TargetGroupBindings",
    "Flags",
];

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

/// Names of golden cases, in order.
fn cases() -> Vec<String> {
    let folder = Path::new(ROOT).join("tests/cases");
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    // Those that are named for an annotation first.
    names.sort_by_key(|name| (!name.starts_with("annotation-"), name.clone()));
    names
}

/// Whether a case tells that an annotation there cannot be had.
fn refuses(case: &str, key: &str) -> bool {
    let told = format!("metadata.annotations[{key}");
    let texts = ["model.txt", "aws-plan.txt"].map(|text| read(&format!("tests/cases/{case}/{text}")));
    texts.iter().any(|text| {
        text.lines()
            .any(|line| line.contains(&told) && line.contains(" [") && line.ends_with(']'))
    })
}

/// The golden case that shows an annotation: the one of its name, else the first named for annotations in which it
/// works, else that has it.
fn case_of(known: &Known, cases: &[String]) -> Option<String> {
    let slug = known.name.trim_end_matches(['.', '-']).replace('.', "-");
    let named = format!("annotation-{slug}");
    if cases.contains(&named) {
        return Some(named);
    }
    let keys = ["alb.ingress.kubernetes.io/", "portcullis.dev/"];
    let keys = keys.map(|prefix| format!("{prefix}{}", known.name));
    let has = |case: &String, key: &str| {
        let text = read(&format!("tests/cases/{case}/cluster.yaml"));
        let family = known.name.ends_with(['.', '-']);
        text.split(key)
            .skip(1)
            .any(|rest| family || rest.starts_with(':'))
    };
    let works = |case: &String, key: &str| has(case, key) && !refuses(case, key);
    // The one of the incumbent's own prefix first.
    let named = |key: &String| {
        let mut named = cases.iter().filter(|case| case.starts_with("annotation-"));
        named.find(|case| works(case, key))
    };
    let any = |key: &String| cases.iter().find(|case| has(case, key));
    keys.iter()
        .find_map(named)
        .or_else(|| keys.iter().find_map(any))
        .cloned()
}

/// `prefixListsIDs` as Rust has it: `prefix_lists_ids`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    let letters: Vec<char> = name.chars().collect();
    for (at, letter) in letters.iter().enumerate() {
        let after_lower =
            at > 0 && (letters[at - 1].is_ascii_lowercase() || letters[at - 1].is_ascii_digit());
        if letter.is_ascii_uppercase() && after_lower {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

/// The golden case in which an IngressClassParams has this field, such as `group.name`.
fn case_of_field(field: &str, cases: &[String]) -> Option<String> {
    let has = |case: &&String| {
        let objects =
            serde_saphyr::from_multiple::<Value>(&read(&format!("tests/cases/{case}/cluster.yaml")));
        objects.unwrap_or_default().iter().any(|object| {
            let pointer = format!("/spec/{}", field.replace('.', "/"));
            object["kind"] == "IngressClassParams" && object.pointer(&pointer).is_some()
        })
    };
    cases.iter().find(has).cloned()
}

/// What the state column says of a row, and the last column where it is generated.
struct Truth {
    cases: Vec<String>,
    /// What reads IngressClassParams.
    parameters: String,
    /// What reads TargetGroupBindings.
    bindings: String,
    /// What reads the command line.
    flags: String,
}

impl Truth {
    fn read() -> Self {
        let text = |paths: &[&str]| paths.iter().map(|path| read(path)).collect::<Vec<_>>().join("\n");
        Self {
            cases: cases(),
            parameters: read("src/cluster/wire/class.rs"),
            bindings: read("src/cluster/binding.rs"),
            flags: text(&["src/cli/run.rs", "src/cli/aws.rs", "src/cli/folder.rs"]),
        }
    }

    fn state(&self, part: &str, name: &str) -> &'static str {
        let either = |yes: bool, word: &'static str, other: &'static str| if yes { word } else { other };
        match part {
            "Annotations" => match catalog::ALL
                .iter()
                .find(|known| known.name == name)
                .unwrap()
                .support
            {
                Support::Built => "built",
                Support::Ignored => "ignored",
                Support::Refused => "refused",
            },
            "IngressClassParams" => {
                let field = name.split('.').next().unwrap_or(name);
                either(
                    self.parameters.contains(&format!("\"{field}\"")),
                    "read",
                    "not read",
                )
            }
            "TargetGroupBindings" => {
                let named = format!(" {}:", snake(name));
                let renamed = format!("rename = \"{name}\"");
                let read = [named, renamed].iter().any(|one| self.bindings.contains(one));
                either(read, "read", "not read")
            }
            _ => either(
                self.flags.contains(&format!(" {}:", name.replace('-', "_"))),
                "same",
                "none",
            ),
        }
    }

    fn case(&self, part: &str, name: &str) -> String {
        let known = catalog::ALL.iter().find(|known| known.name == name);
        let case = match part {
            "Annotations" => case_of(known.unwrap(), &self.cases),
            _ => case_of_field(name, &self.cases),
        };
        match case {
            Some(case) => format!("[{case}](../tests/cases/{case}/cluster.yaml)"),
            None => String::new(),
        }
    }
}

/// The first cell of a row of a table, if it is a name.
fn name_of(line: &str) -> Option<&str> {
    line.strip_prefix("| `")?.split('`').next()
}

/// The page with the generated columns as they should be.
fn generated(page: &str, truth: &Truth) -> String {
    let mut part = "";
    let mut out = String::new();
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            part = title;
        }
        let row = PARTS.contains(&part).then(|| name_of(line)).flatten();
        match row {
            None => out.push_str(line),
            Some(name) => {
                let mut cells: Vec<String> = line.split('|').map(|cell| cell.trim().to_owned()).collect();
                cells[2] = truth.state(part, name).to_owned();
                if ["Annotations", "IngressClassParams"].contains(&part) {
                    cells[4] = truth.case(part, name);
                }
                let inner = &cells[1..cells.len() - 1];
                out.push_str(&format!("| {} |", inner.join(" | ")));
            }
        }
        out.push('\n');
    }
    out
}

#[test]
fn no_annotation_is_missing_and_no_state_is_wrong() {
    let page = read(PAGE);
    let annotations = page
        .split("\n## ")
        .find(|part| part.starts_with("Annotations\n"))
        .unwrap();
    let rows: Vec<&str> = annotations.lines().filter_map(name_of).collect();
    let known: BTreeSet<&str> = catalog::ALL.iter().map(|known| known.name).collect();
    let listed: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(
        listed.difference(&known).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "{PAGE}: not in the catalog"
    );
    assert_eq!(
        known.difference(&listed).collect::<Vec<_>>(),
        Vec::<&&str>::new(),
        "{PAGE}: rows are missing"
    );
    assert_eq!(rows.len(), listed.len(), "{PAGE}: a row stands twice");

    let want = generated(&page, &Truth::read());
    #[expect(clippy::disallowed_methods, reason = "the way to ask for new states")]
    if std::env::var("PORTCULLIS_BLESS").is_ok_and(|value| value == "1") {
        fs::write(Path::new(ROOT).join(PAGE), want).unwrap();
    } else {
        assert_eq!(page, want, "run with PORTCULLIS_BLESS=1 and read the difference");
    }
}

#[test]
fn every_built_annotation_has_a_golden_case() {
    let cases = cases();
    let built = catalog::ALL
        .iter()
        .filter(|known| known.support == Support::Built);
    let without: Vec<&str> = built
        .filter(|known| case_of(known, &cases).is_none())
        .map(|known| known.name)
        .collect();
    assert_eq!(without, [""; 0], "add tests/cases/annotation-<name>/cluster.yaml");
}

#[test]
fn every_field_that_is_read_has_a_golden_case() {
    let (page, truth) = (read(PAGE), Truth::read());
    let part = page
        .split("\n## ")
        .find(|part| part.starts_with("IngressClassParams\n"));
    let fields: Vec<&str> = part.unwrap().lines().filter_map(name_of).collect();
    assert!(fields.len() > 18, "{fields:?}");
    for field in fields {
        assert_eq!(truth.state("IngressClassParams", field), "read", "{field}");
        let case = case_of_field(field, &truth.cases);
        assert!(
            case.is_some(),
            "add {field} to a golden case with IngressClassParams"
        );
    }
}

#[test]
fn every_link_leads_somewhere() {
    let page = read(PAGE);
    let links = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for link in links.filter(|link| !link.starts_with('#') && !link.starts_with("http")) {
        let path = link.split('#').next().unwrap();
        assert!(Path::new(ROOT).join("docs").join(path).exists(), "{PAGE}: {link}");
    }
}

#[test]
fn a_field_is_found_by_its_name_in_rust() {
    for (field, want) in [
        ("inboundCIDRs", "inbound_cidrs"),
        ("wafv2AclArn", "wafv2_acl_arn"),
        ("prefixListsIDs", "prefix_lists_ids"),
        ("scheme", "scheme"),
    ] {
        assert_eq!(snake(field), want);
    }
}
