//! The bytes of a file in, its documents as JSON values with their lines out, or what is malformed and where.

use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Error, Options, Spanned, UserMessageFormatter};

use super::unique::Unique;
use crate::cluster::object::Kind;

/// Largest file that is read, in bytes: 10,000 Ingresses take about 10 MiB.
pub(in crate::cluster) const FILE_BYTES: usize = 64 * 1024 * 1024;

/// Most nodes of YAML (scalars, lists and maps) in a file, aliases expanded: 64 MiB of text have fewer.
const NODES: usize = 16_000_000;

/// Most nodes that aliases may expand to in a file. Nobody repeats more by hand; a few lines can repeat billions.
const ALIASED_NODES: usize = 100_000;

/// Deepest nesting; an Ingress needs 12 levels.
const DEPTH: usize = 64;

/// One object as written.
#[derive(Debug)]
pub(super) struct Document {
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

/// Why a file as a whole says nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) line: Option<usize>,
    pub(super) message: String,
}

/// Reads a file of JSON if its name ends so, else of YAML. A list of objects counts as its items.
pub(super) fn documents(name: &str, bytes: &[u8]) -> Result<Vec<Document>, Unreadable> {
    if bytes.len() > FILE_BYTES {
        return Err(Unreadable {
            line: None,
            message: format!(
                "the file has {} bytes; at most {FILE_BYTES} are read",
                bytes.len()
            ),
        });
    }
    let text = std::str::from_utf8(bytes).map_err(|error| Unreadable {
        line: Some(line_at(bytes, error.valid_up_to())),
        message: "the file is not UTF-8".into(),
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let documents = if name.ends_with(".json") {
        json(text)?
    } else {
        yaml(text)?
    };
    if let Some((line, message)) = documents
        .iter()
        .find_map(|document| Some((document.line, hidden(&document.value)?)))
    {
        let (line, message) = (Some(line), message.to_owned());
        return Err(Unreadable { line, message });
    }
    Ok(documents.into_iter().flat_map(items).collect())
}

fn json(text: &str) -> Result<Vec<Document>, Unreadable> {
    let mut documents = Vec::new();
    let mut stream = serde_json::Deserializer::from_str(text).into_iter::<Unique>();
    loop {
        let rest = &text[stream.byte_offset()..];
        let start = text.len() - rest.trim_start().len();
        match stream.next() {
            None => return Ok(documents),
            Some(Ok(Unique(value))) => documents.push(Document {
                line: line_at(text.as_bytes(), start),
                value,
            }),
            Some(Err(error)) => {
                return Err(Unreadable {
                    line: Some(error.line()),
                    message: format!("malformed JSON: {error}"),
                });
            }
        }
    }
}

fn yaml(text: &str) -> Result<Vec<Document>, Unreadable> {
    let documents: Vec<Spanned<Value>> = serde_saphyr::from_str_multiple_with_options(text, options())
        .map_err(|error| {
            let place = error.location();
            Unreadable {
                line: place.and_then(|place| usize::try_from(place.line()).ok()),
                message: beyond(&error).unwrap_or_else(|| {
                    let words = error.render_with_formatter(&UserMessageFormatter);
                    format!("malformed YAML: {words}")
                }),
            }
        })?;
    Ok(documents
        .into_iter()
        .map(|document| Document {
            line: usize::try_from(document.defined.line()).unwrap_or(1),
            value: document.value,
        })
        .collect())
}

/// Which of our limits the file is beyond, if that is what is wrong with it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the reader's enums, which grow: the rest is about syntax"
)]
fn beyond(error: &Error) -> Option<String> {
    match error {
        Error::Budget { breach, .. } => Some(match breach {
            BudgetBreach::Depth { .. } => format!("it is nested deeper than {DEPTH} levels"),
            BudgetBreach::RecordedAnchorEvents { .. } => too_many_aliased(),
            // All others are about its size as a whole.
            _ => format!("it has more than {NODES} values or {FILE_BYTES} bytes of text"),
        }),
        Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. } => Some(too_many_aliased()),
        // In an alias it is wrapped in words of the reader's own.
        _ => error
            .render_with_formatter(&UserMessageFormatter)
            .contains("limits breached")
            .then(too_many_aliased),
    }
}

fn too_many_aliased() -> String {
    format!("its aliases repeat more than {ALIASED_NODES} values")
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES,
            max_events: 2 * NODES,
            max_documents: FILE_BYTES / 16,
            max_depth: DEPTH,
            max_total_scalar_bytes: FILE_BYTES,
            max_recorded_anchor_events: ALIASED_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIASED_NODES,
        },
        // A snippet of the file might show a private key.
        with_snippet: false,
    }
}

/// Why the objects that a document may hold are not known, if it is no object itself.
fn hidden(document: &Value) -> Option<&'static str> {
    let fields = match document {
        Value::Array(all) => {
            let why = "is a list of objects; put them under items of a List, or --- between them";
            return all
                .iter()
                .any(|value| value.get("kind").is_some() || may_be_object(value))
                .then_some(why);
        }
        Value::String(text) => {
            let why = "is a text with an object in it; the object itself is needed";
            return text.contains("apiVersion:").then_some(why);
        }
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) => return None,
    };
    let Some(kind) = fields.get("kind").and_then(Value::as_str) else {
        let has_items = fields.get("items").is_some_and(|items| items.is_array());
        let has_objects = fields.values().any(may_be_object);
        return match (has_items, has_objects) {
            (true, _) => Some("has no kind, and items; write List"),
            (false, true) => Some("is a map of objects; put them under items of a List, or --- between them"),
            (false, false) => None,
        };
    };
    if listed(kind).is_none() {
        let is_misspelt = kinds().any(|of| kind.eq_ignore_ascii_case(&format!("{of}List")));
        return is_misspelt.then_some("is of a kind that Kubernetes lacks; write List");
    }
    let known = ["apiVersion", "kind", "metadata", "items"];
    if fields.keys().any(|field| !known.contains(&field.as_str())) {
        return Some("is a List with a field that Kubernetes lacks; its objects stand under items");
    }
    match fields.get("items") {
        None | Some(Value::Null) => None,
        Some(Value::Array(items)) => items.iter().find_map(hidden),
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            Some("is a List whose items are no list")
        }
    }
}

/// Whether it is, or holds, what may be an object: it says its kind, or has what objects have.
fn may_be_object(value: &Value) -> bool {
    match value {
        Value::Array(all) => all.iter().any(may_be_object),
        Value::Object(fields) => {
            let has = |field: &str| fields.contains_key(field);
            (has("kind") && (has("apiVersion") || has("spec"))) || (has("metadata") && has("spec"))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Those whose lists are read, and of a `List` none.
fn kinds() -> impl Iterator<Item = &'static str> {
    Kind::ALL.iter().map(|kind| kind.as_str()).chain([""])
}

/// The kind that all items of a kind have, if these are objects; of a `List` each says its own.
fn listed(kind: &str) -> Option<&'static str> {
    let of = kind.strip_suffix("List")?;
    kinds().find(|kind| *kind == of)
}

/// The items of a list as documents of their own; anything else as it is.
fn items(document: Document) -> Vec<Document> {
    let Document { line, mut value } = document;
    let kind = value.get("kind").and_then(Value::as_str);
    let Some(of) = kind.and_then(listed) else {
        return vec![Document { line, value }];
    };
    let Value::Array(all) = value["items"].take() else {
        return Vec::new();
    };
    let all = all.into_iter().flat_map(|mut item| {
        // The API server says the kind of all of them once.
        if let (false, Value::Object(fields)) = (of.is_empty(), &mut item) {
            fields.entry("kind").or_insert_with(|| of.into());
            let version = value.get("apiVersion").cloned().unwrap_or_default();
            fields.entry("apiVersion").or_insert(version);
        }
        items(Document { line, value: item })
    });
    all.collect()
}

fn line_at(bytes: &[u8], offset: usize) -> usize {
    1 + bytes.iter().take(offset).filter(|b| **b == b'\n').count()
}
