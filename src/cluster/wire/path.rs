//! A JSON value in, its typed form or the path of the field that is wrong out; and the fields its type lacks.

use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use super::Invalid;
use crate::cluster::object::Kind;

/// Longest part of a message, in characters, that quotes what was written.
const QUOTED: usize = 200;

/// Fields of every object that are not read. Source: Kubernetes API, `ObjectMeta` and `TypeMeta`.
const UNREAD: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata.deletionGracePeriodSeconds",
    "metadata.finalizers",
    "metadata.generateName",
    "metadata.managedFields",
    "metadata.ownerReferences",
    "metadata.resourceVersion",
    "metadata.selfLink",
];

/// Reads a value and passes over what its type lacks.
pub(super) fn read<T: DeserializeOwned>(kind: Kind, value: &Value) -> Result<T, Invalid> {
    serde_path_to_error::deserialize(value).map_err(|error| invalid(kind, &error))
}

/// Reads a value and tells fields that its type lacks, unless they are among `unread`: a field with `[]` for an
/// index, or ending in `.*` for all below it.
pub(super) fn read_strictly<T: DeserializeOwned>(
    kind: Kind,
    value: &Value,
    unread: &[&str],
) -> Result<(T, Vec<String>), Invalid> {
    let mut unknown = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| {
        let mut at = String::new();
        let mut shape = String::new();
        render(&path, &mut at, &mut shape);
        let known = |field: &&str| match field.strip_suffix(".*") {
            Some(parent) => shape
                .strip_prefix(parent)
                .is_some_and(|rest| rest.starts_with('.')),
            None => shape == **field,
        };
        // Pods and Nodes are read for a few fields only; the rest of their schema is not listed here.
        let partial = matches!(kind, Kind::Node | Kind::Pod);
        if !partial && !UNREAD.iter().chain(unread).any(known) {
            unknown.push(at);
        }
    };
    let deserializer = serde_ignored::Deserializer::new(value, &mut note);
    match serde_path_to_error::deserialize(deserializer) {
        Ok(read) => Ok((read, unknown)),
        Err(error) => Err(Invalid {
            unknown,
            ..invalid(kind, &error)
        }),
    }
}

fn invalid(kind: Kind, error: &serde_path_to_error::Error<serde_json::Error>) -> Invalid {
    let mut field = String::new();
    for segment in error.path() {
        match segment {
            Segment::Seq { index } => field.push_str(&format!("[{index}]")),
            Segment::Map { key } => push_key(&mut field, key),
            Segment::Enum { variant } => push_key(&mut field, variant),
            Segment::Unknown => {}
        }
    }
    // What stands in a Secret at the wrong place may be its key.
    if kind == Kind::Secret {
        return Invalid::new(field, "is of another type than Kubernetes has there");
    }
    let mut message = error
        .inner()
        .to_string()
        .replace("expected i64", "expected a whole number");
    let quotable = message.starts_with("invalid type: integer")
        || message.starts_with("invalid type: boolean")
        || message.starts_with("invalid type: floating");
    if quotable && message.ends_with("expected a string") {
        message.push_str("; put it in quotes");
    }
    if let Some((end, _)) = message.char_indices().nth(QUOTED) {
        message.truncate(end);
        message.push('…');
    }
    Invalid::new(field, message)
}

/// Writes the path itself and its shape, which has no indices.
fn render(path: &serde_ignored::Path<'_>, at: &mut String, shape: &mut String) {
    use serde_ignored::Path;
    match path {
        Path::Root => {}
        Path::Seq { parent, index } => {
            render(parent, at, shape);
            at.push_str(&format!("[{index}]"));
            shape.push_str("[]");
        }
        Path::Map { parent, key } => {
            render(parent, at, shape);
            push_key(at, key);
            if !shape.is_empty() {
                shape.push('.');
            }
            shape.push_str(key);
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            render(parent, at, shape);
        }
    }
}

/// `.key`, or `[key]` where the key has dots or slashes of its own.
pub(super) fn push_key(path: &mut String, key: &str) {
    if key.contains(['.', '/']) {
        path.push_str(&format!("[{key}]"));
    } else {
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
    }
}
