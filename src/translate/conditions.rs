//! The annotation `conditions.*` in, what a request must meet besides the rule's own host and path out.
//!
//! Each condition is read by itself. One that cannot be read is told, and the rule it belongs to is marked: it must
//! never be served as if the condition were not there.

use portcullis_model::{
    Condition, Glob, HeaderName, HostMatch, Method, PathMatch, Pattern, QueryMatch, Semantics,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::annotations::{json, value};
use super::expressions::Room;
use super::rules::host_meant;
use super::spelling;

/// All that one annotation asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Constraints {
    /// Beside the rule's own host: any of them.
    pub(super) hosts: Vec<HostMatch>,
    /// Beside the rule's own path: any of them.
    pub(super) paths: Vec<PathMatch>,
    /// Whether it was for hosts of which none is known.
    pub(super) is_of_no_host: bool,
    /// All of them.
    pub(super) conditions: Vec<Condition>,
    /// Why some could not be read.
    pub(super) broken: Vec<String>,
    /// What has no effect.
    pub(super) ignored: Vec<String>,
}

#[derive(Deserialize)]
struct ConditionText {
    field: String,
    hostheaderconfig: Option<Value>,
    pathpatternconfig: Option<Value>,
    httpheaderconfig: Option<Value>,
    httprequestmethodconfig: Option<Value>,
    querystringconfig: Option<Value>,
    sourceipconfig: Option<Value>,
}

#[derive(Deserialize)]
struct ValuesText {
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    regexvalues: Vec<String>,
}

#[derive(Deserialize)]
struct HeaderText {
    httpheadername: String,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default)]
    regexvalues: Vec<String>,
}

#[derive(Deserialize)]
struct QueriesText {
    #[serde(default)]
    values: Vec<QueryText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)] // By anybody: a misspelt `key` would let every key pass.
struct QueryText {
    key: Option<String>,
    value: String,
}

/// Reads the value of `conditions.<name>`. Syntax: AWS Load Balancer Controller, Ingress annotations, `conditions`. What
/// it passes over, fields that it does not know and configurations of other fields, is refused under ours; a `field` that
/// it does not know, and takes for no condition, is refused under both.
pub(super) fn parse(text: &str, semantics: Semantics, room: &mut Room) -> Constraints {
    let mut all = Constraints::default();
    // Go reads `null` as an empty list.
    let items: Vec<Value> = match json::read(text).map(Option::unwrap_or_default) {
        Ok(items) => items,
        Err(why) => {
            all.broken.push(why);
            return all;
        }
    };
    let mut is_of_hosts = false;
    for (index, item) in items.into_iter().enumerate() {
        let mut ignored = Vec::new();
        let hosts = hosts_meant(&item, room);
        let read = condition(item, semantics, &mut ignored, room).and_then(|read| {
            match (semantics, ignored.first()) {
                (Semantics::Kubernetes, Some(first)) => Err(format!("{first} has no meaning there")),
                (Semantics::Kubernetes, None) | (Semantics::AwsLoadBalancerController, _) => Ok(read),
            }
        });
        match read {
            Ok(read) => {
                all.add(read);
                let ignored = ignored.iter().map(|name| format!("condition {index}: {name}"));
                all.ignored.extend(ignored);
            }
            Err(why) => {
                is_of_hosts |= hosts.is_some();
                all.hosts.extend(hosts.unwrap_or_default());
                all.broken.push(format!("condition {index}: {why}"));
            }
        }
    }
    all.is_of_no_host = is_of_hosts && all.hosts.is_empty();
    if mixed(&all.hosts, |host| matches!(host, HostMatch::Regex(_)))
        || mixed(&all.paths, |path| matches!(path, PathMatch::Regex(_)))
    {
        all.broken
            .push("values and regexValues are mixed for the same field".to_owned());
    }
    all
}

/// Which hosts a condition of hosts is for, as far as they can be read or mean one that can.
fn hosts_meant(item: &Value, room: &mut Room) -> Option<Vec<HostMatch>> {
    if item["field"] != "host-header" {
        return None;
    }
    let texts = |name: &str| -> Vec<&str> {
        let values = &item["hostheaderconfig"][name];
        let all = values
            .as_array()
            .map_or(std::slice::from_ref(values), Vec::as_slice);
        all.iter().filter_map(Value::as_str).collect()
    };
    let plain = texts("values").into_iter();
    let plain: Vec<HostMatch> = plain
        .filter_map(|text| host(text).ok().or_else(|| host_meant(text)))
        .collect();
    if !plain.is_empty() {
        return Some(plain);
    }
    let expressions = texts("regexvalues").into_iter();
    let expressions = expressions.filter_map(|text| room.pattern(text).ok());
    Some(expressions.map(HostMatch::Regex).collect())
}

fn mixed<T>(all: &[T], is_regex: impl Fn(&T) -> bool) -> bool {
    all.iter().any(&is_regex) && !all.iter().all(is_regex)
}

/// One condition.
enum Read {
    Hosts(Vec<HostMatch>),
    Paths(Vec<PathMatch>),
    Other(Condition),
}

impl Constraints {
    fn add(&mut self, read: Read) {
        match read {
            Read::Hosts(hosts) => self.hosts.extend(hosts),
            Read::Paths(paths) => self.paths.extend(paths),
            Read::Other(condition) => self.conditions.push(condition),
        }
    }
}

/// Reads one condition; what has no effect in it is added.
fn condition(
    item: Value,
    semantics: Semantics,
    ignored: &mut Vec<String>,
    room: &mut Room,
) -> Result<Read, String> {
    let (item, unknown) = json::noting::<ConditionText>(item)?;
    ignored.extend(unknown);
    let configurations = [
        ("host-header", "hostHeaderConfig", item.hostheaderconfig),
        ("path-pattern", "pathPatternConfig", item.pathpatternconfig),
        ("http-header", "httpHeaderConfig", item.httpheaderconfig),
        (
            "http-request-method",
            "httpRequestMethodConfig",
            item.httprequestmethodconfig,
        ),
        ("query-string", "queryStringConfig", item.querystringconfig),
        ("source-ip", "sourceIPConfig", item.sourceipconfig),
    ];
    let mut own = Err(format!("field {} is not known", value::shown(&item.field)));
    for (field, name, configuration) in configurations {
        if field == item.field {
            own = configuration
                .map(|configuration| (name, configuration))
                .ok_or_else(|| "its configuration is missing".to_owned());
        } else if configuration.is_some() {
            ignored.push(name.to_owned());
        }
    }
    let own = own?;
    Ok(match item.field.as_str() {
        "host-header" => {
            let values = one_kind(configuration(own, ignored)?)?;
            Read::Hosts(values.read(host, HostMatch::Regex, room)?)
        }
        "path-pattern" => {
            let values = one_kind(configuration(own, ignored)?)?.spelled(semantics);
            Read::Paths(values.read(path, PathMatch::Regex, room)?)
        }
        "http-header" => {
            let header: HeaderText = configuration(own, ignored)?;
            let name = HeaderName::parse(&header.httpheadername).map_err(|error| error.to_string())?;
            let values = ValuesText {
                values: header.values,
                regexvalues: header.regexvalues,
            };
            Read::Other(match one_kind(values)? {
                Values::Plain(values) => Condition::Header {
                    name,
                    values: each(&values, Glob::parse)?,
                },
                Values::Regex(values) => Condition::HeaderRegex {
                    name,
                    values: each(&values, |text| room.pattern(text))?,
                },
            })
        }
        "http-request-method" => {
            let methods = plain(configuration(own, ignored)?)?;
            Read::Other(Condition::Method(each(&methods, Method::parse)?))
        }
        "query-string" => {
            let queries: QueriesText = configuration(own, ignored)?;
            if queries.values.is_empty() {
                return Err("it has no values".to_owned());
            }
            // Emptied, it would let every key pass.
            let is_empty = |query: &QueryText| query.key.as_deref() == Some("");
            if queries.values.iter().any(is_empty) {
                ignored.push("an empty key".to_owned());
            }
            let queries = queries.values.into_iter().map(query).collect::<Result<_, _>>()?;
            Read::Other(Condition::Query(queries))
        }
        _ => {
            let ranges = plain(configuration(own, ignored)?)?;
            let ranges = ranges.iter().map(|text| value::range(text));
            Read::Other(Condition::Source(ranges.collect::<Result<_, _>>()?))
        }
    })
}

/// The configuration of a field; what has no effect in it is added.
fn configuration<T: DeserializeOwned>(
    (name, value): (&str, Value),
    ignored: &mut Vec<String>,
) -> Result<T, String> {
    let (read, unknown) = json::noting(value).map_err(|why| format!("{name}: {why}"))?;
    ignored.extend(unknown);
    Ok(read)
}

fn query(query: QueryText) -> Result<QueryMatch, String> {
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
    let key = query.key.filter(|key| !key.is_empty());
    Ok(QueryMatch {
        key: key.as_deref().map(glob).transpose()?,
        value: glob(&query.value)?,
    })
}

enum Values {
    Plain(Vec<String>),
    Regex(Vec<String>),
}

impl Values {
    /// Of paths, in the spelling that clients send.
    fn spelled(self, semantics: Semantics) -> Self {
        let sent = |values: Vec<String>, is_expression: bool| {
            let values = values.iter();
            let sent = values.map(|text| spelling::read(text, semantics, is_expression).0.into_owned());
            sent.collect()
        };
        match self {
            Self::Plain(values) => Self::Plain(sent(values, false)),
            Self::Regex(values) => Self::Regex(sent(values, true)),
        }
    }

    fn read<T>(
        self,
        plain: impl Fn(&str) -> Result<T, String>,
        regex: impl Fn(Pattern) -> T,
        room: &mut Room,
    ) -> Result<Vec<T>, String> {
        match self {
            Self::Plain(values) => values.iter().map(|text| plain(text)).collect(),
            Self::Regex(values) => {
                let all = each(&values, |text| room.pattern(text))?;
                Ok(all.into_iter().map(regex).collect())
            }
        }
    }
}

/// Either `values` or `regexValues`, and at least one.
fn one_kind(text: ValuesText) -> Result<Values, String> {
    match (text.values.is_empty(), text.regexvalues.is_empty()) {
        (false, true) => Ok(Values::Plain(text.values)),
        (true, false) => Ok(Values::Regex(text.regexvalues)),
        (true, true) => Err("it has no values".to_owned()),
        (false, false) => Err("it has both values and regexValues".to_owned()),
    }
}

fn plain(text: ValuesText) -> Result<Vec<String>, String> {
    match one_kind(text)? {
        Values::Plain(values) => Ok(values),
        Values::Regex(_) => Err("regexValues are not possible for this field".to_owned()),
    }
}

fn each<T, E: std::fmt::Display>(
    values: &[String],
    mut parse: impl FnMut(&str) -> Result<T, E>,
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

    fn parse(text: &str, semantics: Semantics) -> Constraints {
        super::parse(text, semantics, &mut Room::default())
    }

    #[test]
    fn conditions_are_read_in_order() {
        let all = parse(
            r#"[{"field":"http-request-method","httpRequestMethodConfig":{"Values":["GET","HEAD"]}},
                {"Field":"source-ip","sourceIpConfig":{"values":["10.0.0.0/8"]}},
                {"field":"host-header","hostHeaderConfig":{"values":["A.example.com","*.b.example.com"]}},
                {"field":"query-string","queryStringConfig":{"values":[{"value":"x"},{"key":"v","value":"1"}]}},
                {"field":"http-header","httpHeaderConfig":{"httpHeaderName":"X-Beta","regexValues":["on|yes"]}}]"#,
            Semantics::Kubernetes,
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
    fn a_condition_of_hosts_that_cannot_be_read_is_for_those_that_can() {
        for (configuration, hosts, is_of_no_host) in [
            (r#""hostHeaderConfig":{"values":["a_b.io"]}"#, &[][..], true),
            (
                r#""hostHeaderConfig":{"values":["a_b.io","c.io"]}"#,
                &["c.io"],
                false,
            ),
            (
                r#""hostHeaderConfig":{"values":["https://A.io:443/"]}"#,
                &["a.io"],
                false,
            ),
            (r#""hostHeaderConfig":{"values":"c.io"}"#, &["c.io"], false),
            (
                r#""hostHeaderConfig":{"regexValues":["(","a.*"]}"#,
                &["regex:a.*"],
                false,
            ),
            (r#""hostHeaderConfig":{}"#, &[], true),
        ] {
            let text = format!(r#"[{{"field":"host-header",{configuration}}}]"#);
            let all = parse(&text, Semantics::Kubernetes);
            let read: Vec<String> = all.hosts.iter().map(HostMatch::to_string).collect();
            assert_eq!(
                (&*read, all.is_of_no_host),
                (
                    &*hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>(),
                    is_of_no_host
                ),
                "{text}"
            );
            assert!(!all.broken.is_empty(), "{text}");
        }
    }

    #[test]
    fn paths_are_taken_as_clients_send_them() {
        for (kind, text, ours, theirs) in [
            ("values", "/über/*", "glob:/%C3%BCber/*", "glob:/über/*"),
            ("values", "/my files/*", "glob:/my%20files/*", "glob:/my files/*"),
            (
                "regexValues",
                "^/über.*$",
                "regex:^/%C3%BCber.*$",
                "regex:^/über.*$",
            ),
        ] {
            let text =
                serde_json::json!([{ "field": "path-pattern", "pathPatternConfig": { (kind): [text] } }]);
            for (semantics, want) in [
                (Semantics::Kubernetes, ours),
                (Semantics::AwsLoadBalancerController, theirs),
            ] {
                let all = parse(&text.to_string(), semantics);
                let paths: Vec<String> = all.paths.iter().map(PathMatch::to_string).collect();
                assert_eq!(paths, [want], "{semantics:?}");
            }
        }
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
        ] {
            for semantics in [Semantics::Kubernetes, Semantics::AwsLoadBalancerController] {
                assert!(
                    !parse(text, semantics).broken.is_empty(),
                    "{text} under {semantics:?}"
                );
            }
        }
    }

    #[test]
    fn what_the_incumbent_passes_over_is_told_where_it_has_no_effect_and_refused_by_us() {
        // AWS Load Balancer Controller, config_types.go, RuleCondition.Validate: of the field's own configuration alone.
        for (text, ignored) in [
            (
                r#"[{"field":"source-ip","sourceIPConfig":{"values":["10.0.0.0/8"]},"hostHeaderConfig":{"values":[]}}]"#,
                "condition 0: hostHeaderConfig",
            ),
            (
                r#"[{"field":"source-ip","sourceIPConfig":{"values":["10.0.0.0/8"]},"queryStringConfig":{"values":[{"kye":"a"}]}}]"#,
                "condition 0: queryStringConfig",
            ),
            (
                r#"[{"field":"source-ip","sourceIPConfig":{"values":["10.0.0.0/8"]},"Method":"GET"}]"#,
                "condition 0: method",
            ),
            (
                r#"[{"field":"http-header","httpHeaderConfig":{"httpHeaderName":"a","values":["b"],"value":"c"}}]"#,
                "condition 0: value",
            ),
            (
                r#"[{"field":"query-string","queryStringConfig":{"values":[{"value":"b"}],"keys":["a"]}}]"#,
                "condition 0: keys",
            ),
            (
                r#"[{"field":"query-string","queryStringConfig":{"values":[{"key":"","value":"b"}]}}]"#,
                "condition 0: an empty key",
            ),
        ] {
            let theirs = parse(text, Semantics::AwsLoadBalancerController);
            assert_eq!(theirs.broken, Vec::<String>::new(), "{text}");
            assert_eq!(theirs.ignored, [ignored], "{text}");
            assert_eq!(theirs.conditions.len(), 1, "{text}");
            assert!(!parse(text, Semantics::Kubernetes).broken.is_empty(), "{text}");
        }
        assert_eq!(
            parse("null", Semantics::AwsLoadBalancerController),
            Constraints::default()
        );
    }
}
