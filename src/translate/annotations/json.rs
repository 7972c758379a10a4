//! The JSON of an annotation in, typed values out, read as Go's `encoding/json` reads it: names of fields in any
//! case, unknown fields passed over, `null` as absent.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Reads a value whose fields are named in lower case by its type.
pub(in crate::translate) fn read<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    serde_path_to_error::deserialize(lower(value)).map_err(|error| error.to_string())
}

/// The same, with the fields that its type lacks, in lower case as they were read.
pub(in crate::translate) fn read_noting<T: DeserializeOwned>(text: &str) -> Result<(T, Vec<String>), String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    noting(lower(value))
}

/// What stands in a field of this name; names in it were lowered before.
pub(in crate::translate) fn field<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|error| format!("{name}: {error}"))
}

/// A value whose names were lowered before, with the fields that its type lacks.
pub(in crate::translate) fn noting<T: DeserializeOwned>(value: Value) -> Result<(T, Vec<String>), String> {
    let mut unknown = Vec::new();
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string().replace(".?", ""));
    let read = serde_path_to_error::deserialize(serde_ignored::Deserializer::new(value, &mut note));
    let read = read.map_err(|error| error.to_string())?;
    Ok((read, unknown))
}

/// The same for an object with a map of the user's own in it: names are lowered at the top alone.
pub(in crate::translate) fn read_flat<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let fields: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut out = Map::with_capacity(fields.len());
    for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_null()) {
        out.insert(name.to_ascii_lowercase(), value);
    }
    serde_path_to_error::deserialize(Value::Object(out)).map_err(|error| error.to_string())
}

fn lower(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut out = Map::with_capacity(fields.len());
            for (name, value) in fields {
                // `null` leaves what an earlier spelling of the same name said, as in Go.
                if !value.is_null() {
                    out.insert(name.to_ascii_lowercase(), lower(value));
                }
            }
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.into_iter().map(lower).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    struct Example {
        statuscode: String,
        #[serde(default)]
        host: Option<String>,
    }

    #[test]
    fn fields_match_in_any_case_and_unknown_ones_are_passed_over() {
        for (text, want) in [
            (r#"{"statusCode":"200"}"#, Some(("200", None))),
            (
                r#"{"StatusCode":"200","Host":"a","x":[{}]}"#,
                Some(("200", Some("a"))),
            ),
            (r#"{"statuscode":"200","host":null}"#, Some(("200", None))),
            (r#"{"statusCode":200}"#, None),
            ("{}", None),
            ("[", None),
        ] {
            let want = want.map(|(code, host): (&str, Option<&str>)| Example {
                statuscode: code.to_owned(),
                host: host.map(str::to_owned),
            });
            assert_eq!(read::<Example>(text).ok(), want, "{text}");
        }
    }
}
