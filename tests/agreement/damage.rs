//! A JSON document and random damage in; what is left of the document out.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

/// What is done to one place of a document.
#[derive(Clone, Debug)]
pub(crate) enum Damage {
    Remove,
    Rename(&'static str),
    Replace(Value),
}

/// Fields are renamed to one of these.
pub(crate) fn damage(names: &'static [&'static str]) -> impl Strategy<Value = Damage> {
    let values = [
        json!(null),
        json!(true),
        json!(7),
        json!(""),
        json!("x"),
        json!([]),
        json!({}),
        json!([{}]),
    ];
    prop_oneof![
        Just(Damage::Remove),
        select(names).prop_map(Damage::Rename),
        select(values.to_vec()).prop_map(Damage::Replace),
    ]
}

/// Every place of a document, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(i, v)| (i.to_string(), v))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (key, value) in inner {
        let place = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        found.push(place.clone());
        places(value, &place, found);
    }
}

/// The document after all that was done to it.
pub(crate) fn damaged(mut document: Value, done: &[(Index, Damage)]) -> Value {
    for (index, damage) in done {
        let mut found = Vec::new();
        places(&document, "", &mut found);
        let Some(place) = found.get(index.index(found.len().max(1))) else {
            continue;
        };
        let (parent, key) = place.rsplit_once('/').expect("a place has a slash");
        match (document.pointer_mut(parent).expect("it was found there"), damage) {
            (Value::Object(fields), Damage::Remove) => drop(fields.remove(key)),
            (Value::Object(fields), Damage::Rename(name)) => {
                let kept: Map<String, Value> = std::mem::take(fields);
                let renamed = |k: String| if k == key { (*name).to_owned() } else { k };
                *fields = kept.into_iter().map(|(k, v)| (renamed(k), v)).collect();
            }
            (Value::Array(items), Damage::Remove) => {
                items.remove(key.parse().expect("it is an index"));
            }
            (parent, Damage::Replace(value)) => {
                if let Some(at) = document_at(parent, key) {
                    *at = value.clone();
                }
            }
            _ => {}
        }
    }
    document
}

fn document_at<'a>(parent: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match parent {
        Value::Object(fields) => fields.get_mut(key),
        Value::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
