//! The annotation `conditions.*` in, what a request must meet besides the rule's own host and path out.
//!
//! Each condition is read by itself. One that cannot be read is told, and the rule it belongs to is marked: it must
//! never be served as if the condition were not there.

use portcullis_model::{Condition, Glob, HeaderName, HostMatch, Method, PathMatch, Pattern, QueryMatch};
use serde::Deserialize;
use serde_json::Value;

use super::annotations::{json, value};

/// All that one annotation asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Constraints {
    /// Beside the rule's own host: any of them.
    pub(super) hosts: Vec<HostMatch>,
    /// Beside the rule's own path: any of them.
    pub(super) paths: Vec<PathMatch>,
    /// All of them.
    pub(super) conditions: Vec<Condition>,
    /// Why some could not be read.
    pub(super) broken: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionText {
    field: String,
    hostheaderconfig: Option<ValuesText>,
    pathpatternconfig: Option<ValuesText>,
    httpheaderconfig: Option<HeaderText>,
    httprequestmethodconfig: Option<ValuesText>,
    querystringconfig: Option<QueriesText>,
    sourceipconfig: Option<ValuesText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ValuesText {
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    regexvalues: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderText {
    httpheadername: String,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    regexvalues: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueriesText {
    values: Vec<QueryText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QueryText {
    key: Option<String>,
    value: String,
}

/// Reads the value of `conditions.<name>`. Syntax: AWS Load Balancer Controller, Ingress annotations, `conditions`;
/// unlike there, what is unknown is refused: a misspelt `key` would let every key pass.
pub(super) fn parse(text: &str) -> Constraints {
    let mut all = Constraints::default();
    let items: Vec<Value> = match json::read(text) {
        Ok(items) => items,
        Err(why) => {
            all.broken.push(why);
            return all;
        }
    };
    for (index, item) in items.into_iter().enumerate() {
        let read = serde_path_to_error::deserialize::<_, ConditionText>(item)
            .map_err(|error| error.to_string())
            .and_then(|item| add(item, &mut all));
        if let Err(why) = read {
            all.broken.push(format!("condition {index}: {why}"));
        }
    }
    if mixed(&all.hosts, |host| matches!(host, HostMatch::Regex(_)))
        || mixed(&all.paths, |path| matches!(path, PathMatch::Regex(_)))
    {
        all.broken
            .push("values and regexValues are mixed for the same field".to_owned());
    }
    all
}

fn mixed<T>(all: &[T], is_regex: impl Fn(&T) -> bool) -> bool {
    all.iter().any(&is_regex) && !all.iter().all(is_regex)
}

/// Adds one condition whole, or nothing of it.
fn add(item: ConditionText, all: &mut Constraints) -> Result<(), String> {
    let config = |present: bool| present.then_some(()).ok_or("its configuration is missing");
    let configured = [
        item.hostheaderconfig.is_some(),
        item.pathpatternconfig.is_some(),
        item.httpheaderconfig.is_some(),
        item.httprequestmethodconfig.is_some(),
        item.querystringconfig.is_some(),
        item.sourceipconfig.is_some(),
    ];
    if configured.iter().filter(|present| **present).count() > 1 {
        return Err("it has configurations of several fields".to_owned());
    }
    match item.field.as_str() {
        "host-header" => {
            config(item.hostheaderconfig.is_some())?;
            let values = one_kind(item.hostheaderconfig)?;
            all.hosts.extend(values.read(host, HostMatch::Regex)?);
        }
        "path-pattern" => {
            config(item.pathpatternconfig.is_some())?;
            let values = one_kind(item.pathpatternconfig)?;
            all.paths.extend(values.read(path, PathMatch::Regex)?);
        }
        "http-header" => {
            let header = item.httpheaderconfig.ok_or("its configuration is missing")?;
            let name = HeaderName::parse(&header.httpheadername).map_err(|error| error.to_string())?;
            let values = ValuesText {
                values: header.values,
                regexvalues: header.regexvalues,
            };
            all.conditions.push(match one_kind(Some(values))? {
                Values::Plain(values) => Condition::Header {
                    name,
                    values: each(&values, Glob::parse)?,
                },
                Values::Regex(values) => Condition::HeaderRegex {
                    name,
                    values: each(&values, Pattern::parse)?,
                },
            });
        }
        "http-request-method" => {
            let methods = plain(item.httprequestmethodconfig)?;
            all.conditions
                .push(Condition::Method(each(&methods, Method::parse)?));
        }
        "query-string" => {
            let queries = item
                .querystringconfig
                .ok_or("its configuration is missing")?
                .values;
            if queries.is_empty() {
                return Err("it has no values".to_owned());
            }
            let read = |query: QueryText| -> Result<QueryMatch, String> {
                let glob = |text: &str| {
                    // ELBv2 API, QueryStringConditionConfig: it takes their meaning from `*` and `?`.
                    if text.contains('\\') {
                        return Err(format!(
                            "{} holds a backslash, which is not supported",
                            value::shown(text)
                        ));
                    }
                    Glob::parse(text).map_err(|error| error.to_string())
                };
                Ok(QueryMatch {
                    key: query
                        .key
                        .filter(|key| !key.is_empty())
                        .as_deref()
                        .map(glob)
                        .transpose()?,
                    value: glob(&query.value)?,
                })
            };
            let queries = queries.into_iter().map(read).collect::<Result<_, _>>()?;
            all.conditions.push(Condition::Query(queries));
        }
        "source-ip" => {
            let ranges = plain(item.sourceipconfig)?;
            let ranges = ranges
                .iter()
                .map(|text| value::range(text))
                .collect::<Result<_, _>>()?;
            all.conditions.push(Condition::Source(ranges));
        }
        other => return Err(format!("field {} is not known", value::shown(other))),
    }
    Ok(())
}

enum Values {
    Plain(Vec<String>),
    Regex(Vec<String>),
}

impl Values {
    fn read<T>(
        self,
        plain: impl Fn(&str) -> Result<T, String>,
        regex: impl Fn(Pattern) -> T,
    ) -> Result<Vec<T>, String> {
        match self {
            Self::Plain(values) => values.iter().map(|text| plain(text)).collect(),
            Self::Regex(values) => Ok(each(&values, Pattern::parse)?.into_iter().map(regex).collect()),
        }
    }
}

/// Either `values` or `regexValues`, and at least one.
fn one_kind(text: Option<ValuesText>) -> Result<Values, String> {
    let text = text.ok_or("its configuration is missing")?;
    match (text.values.is_empty(), text.regexvalues.is_empty()) {
        (false, true) => Ok(Values::Plain(text.values)),
        (true, false) => Ok(Values::Regex(text.regexvalues)),
        (true, true) => Err("it has no values".to_owned()),
        (false, false) => Err("it has both values and regexValues".to_owned()),
    }
}

fn plain(text: Option<ValuesText>) -> Result<Vec<String>, String> {
    match one_kind(text)? {
        Values::Plain(values) => Ok(values),
        Values::Regex(_) => Err("regexValues are not possible for this field".to_owned()),
    }
}

fn each<T, E: std::fmt::Display>(
    values: &[String],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, String> {
    values
        .iter()
        .map(|text| parse(text).map_err(|error| error.to_string()))
        .collect()
}

/// A name is that host; anything with a wildcard is a glob over the whole host, as AWS reads it.
fn host(text: &str) -> Result<HostMatch, String> {
    if text.contains(['*', '?']) {
        Glob::parse(&text.to_ascii_lowercase())
            .map(HostMatch::Glob)
            .map_err(|error| error.to_string())
    } else {
        HostMatch::parse(&text.to_ascii_lowercase()).map_err(|error| error.to_string())
    }
}

/// A glob over the whole path.
fn path(text: &str) -> Result<PathMatch, String> {
    Glob::parse(text)
        .map(PathMatch::Glob)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_in_order() {
        let all = parse(
            r#"[{"field":"http-request-method","httpRequestMethodConfig":{"Values":["GET","HEAD"]}},
                {"Field":"source-ip","sourceIpConfig":{"values":["10.0.0.0/8"]}},
                {"field":"host-header","hostHeaderConfig":{"values":["A.example.com","*.b.example.com"]}},
                {"field":"query-string","queryStringConfig":{"values":[{"value":"x"},{"key":"v","value":"1"}]}},
                {"field":"http-header","httpHeaderConfig":{"httpHeaderName":"X-Beta","regexValues":["on|yes"]}}]"#,
        );
        assert_eq!(all.broken, Vec::<String>::new());
        let hosts: Vec<String> = all.hosts.iter().map(HostMatch::to_string).collect();
        assert_eq!(hosts, ["a.example.com", "glob:*.b.example.com"]);
        let conditions: Vec<String> = all.conditions.iter().map(Condition::to_string).collect();
        assert_eq!(
            conditions,
            [
                "method GET or HEAD",
                "source 10.0.0.0/8",
                "query x or v=1",
                "header x-beta regex:on|yes"
            ]
        );
    }

    #[test]
    fn what_cannot_be_read_is_never_taken_for_no_condition() {
        for text in [
            "",
            "{}",
            "[{}]",
            r#"[{"field":"soruce-ip","sourceIPConfig":{"values":["10.0.0.0/8"]}}]"#,
            r#"[{"field":"source-ip"}]"#,
            r#"[{"field":"source-ip","sourceIPConfig":{"values":[]}}]"#,
            r#"[{"field":"source-ip","sourceIPConfig":{"values":["10.0.0.0/40"]}}]"#,
            r#"[{"field":"source-ip","sourceIPConfig":{"regexValues":["10.*"]}}]"#,
            r#"[{"field":"source-ip","hostHeaderConfig":{"values":["a"]}}]"#,
            r#"[{"field":"host-header","hostHeaderConfig":{"values":["a"],"regexValues":["b"]}}]"#,
            r#"[{"field":"host-header","hostHeaderConfig":{"values":["a_b"]}}]"#,
            r#"[{"field":"path-pattern","pathPatternConfig":{"values":["/a"]}},
                {"field":"path-pattern","pathPatternConfig":{"regexValues":["/b"]}}]"#,
            r#"[{"field":"http-header","httpHeaderConfig":{"values":["a"]}}]"#,
            r#"[{"field":"http-request-method","httpRequestMethodConfig":{"values":["G T"]}}]"#,
            r#"[{"field":"query-string","queryStringConfig":{"values":[{"key":"a"}]}}]"#,
            r#"[{"field":"query-string","queryStringConfig":{"values":[{"kye":"a","value":"b"}]}}]"#,
            r#"[{"field":"query-string","queryStringConfig":{"values":[{"value":"\\*"}]}}]"#,
            r#"[{"field":"source-ip","sourceIPConfig":{"values":["10.0.0.0/8"]},"hostHeaderConfig":{"values":["a"]}}]"#,
            r#"[{"field":"source-ip","sourceIPConfig":{"values":["10.0.0.0/8"]},"method":"GET"}]"#,
            r#"[{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"a","values":["b"],"value":"c"}}]"#,
        ] {
            assert!(!parse(text).broken.is_empty(), "{text}");
        }
    }
}
