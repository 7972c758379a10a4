//! Hosts, paths and conditions of a rule in, the condition lists of one or more listener rules out.
//!
//! AWS bounds the values of a rule and of a condition, and lets no condition mix globs with expressions. As each
//! condition holds if any of its values does, a rule that is too big is written as several with the same action.

use portcullis_model::{Code, Condition, Glob, HostMatch, PathMatch, Pattern, Rule, Semantics};

use crate::limits;
use crate::resource::{
    HttpHeaderConfig, HttpMethodConfig, QueryStringConfig, QueryStringValue, RuleCondition, SourceIpConfig,
    Values,
};

/// Why conditions cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

/// The values a host or path becomes.
enum Term {
    Globs(Vec<String>),
    Regex(String),
}

/// The lists of conditions that together take what the rule takes; one listener rule each.
pub(super) fn compile(rule: &Rule, semantics: Semantics) -> Result<Vec<Vec<RuleCondition>>, Refusal> {
    let mut dimensions = others(&rule.conditions, semantics)?;
    let mut hosts = Vec::new();
    for host in &rule.hosts {
        hosts.push(host_term(host, semantics)?);
    }
    dimensions.push(alternatives(hosts, |config| RuleCondition::HostHeader { config }));
    let mut paths = Vec::new();
    for path in &rule.paths {
        paths.push(path_term(path, semantics)?);
    }
    dimensions.push(alternatives(paths, |config| RuleCondition::PathPattern {
        config,
    }));
    dimensions.retain(|alternatives| !alternatives.is_empty());
    if dimensions.is_empty() {
        // A rule must have a condition; this one holds for every request.
        let config = Values::Globs(vec!["/*".into()]);
        dimensions.push(vec![RuleCondition::PathPattern { config }]);
    }
    super::split::split(&dimensions, semantics)
}

/// Globs in one condition, expressions in another.
fn alternatives(terms: Vec<Term>, condition: impl Fn(Values) -> RuleCondition) -> Vec<RuleCondition> {
    let (mut globs, mut regexes) = (Vec::new(), Vec::new());
    for term in terms {
        match term {
            Term::Globs(values) => globs.extend(values),
            Term::Regex(value) => regexes.push(value),
        }
    }
    let mut out = Vec::new();
    if !globs.is_empty() {
        out.push(condition(Values::Globs(globs)));
    }
    if !regexes.is_empty() {
        out.push(condition(Values::Regexes(regexes)));
    }
    out
}

fn short(code: Code, what: &str, value: String) -> Result<String, Refusal> {
    if value.chars().count() <= limits::VALUE_LENGTH {
        Ok(value)
    } else {
        let message = format!(
            "{what} {value:?} is longer than the {} characters AWS compares with",
            limits::VALUE_LENGTH
        );
        Err(Refusal::new(code, message))
    }
}

fn escape(literal: &str) -> String {
    let mut out = String::new();
    for c in literal.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// An expression that AWS must match with the whole value; whether it anchors by itself is not documented.
/// The incumbent writes expressions as they are, and so do we under its semantics.
pub(super) fn anchored(pattern: &Pattern, semantics: Semantics) -> String {
    let text = pattern.as_str();
    match semantics {
        Semantics::AwsLoadBalancerController => text.to_owned(),
        Semantics::Kubernetes if text.contains('|') => format!("^(?:{text})$"),
        Semantics::Kubernetes => {
            let text = text.strip_prefix('^').unwrap_or(text);
            let text = if text.ends_with(r"\$") {
                text
            } else {
                text.strip_suffix('$').unwrap_or(text)
            };
            format!("^{text}$")
        }
    }
}

/// Characters of values besides letters and digits. Source: "Add a listener rule for your Application Load Balancer".
const HOST_CHARACTERS: &str = "-_.*?";
const PATH_CHARACTERS: &str = "_-.$/~\"'@:+&*?";
const HEADER_CHARACTERS: &str = " !\"#$%&'()+,./:;<=>@[]^_`{|}~-*?";
/// Without the backslash, which takes their meaning from `*` and `?`.
const QUERY_CHARACTERS: &str = "_-.$/~\"'@:+&()!,;=*?";

fn is_made_of(text: &str, characters: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || characters.contains(c))
}

/// A glob as AWS takes it, else as an expression.
fn glob_term(glob: &Glob, as_value: bool, code: Code, what: &str) -> Result<Term, Refusal> {
    if as_value {
        return Ok(Term::Globs(vec![short(code, what, glob.as_str().to_owned())?]));
    }
    ascii(glob.as_str(), code, what)?;
    let expression = escape(glob.as_str()).replace(r"\*", ".*").replace(r"\?", ".");
    Ok(Term::Regex(short(code, what, format!("^{expression}$"))?))
}

fn ascii(text: &str, code: Code, what: &str) -> Result<(), Refusal> {
    if text.is_ascii() {
        return Ok(());
    }
    let message = format!("{what} {text:?} holds characters outside ASCII");
    Err(Refusal::new(code, message))
}

/// A glob of a header or query, which has no other form: AWS ignores case in these and not in expressions.
fn value(what: &str, glob: &Glob, characters: &str) -> Result<String, Refusal> {
    let text = glob.as_str();
    if is_made_of(text, characters) {
        return short(Code::ConditionUnsupported, what, text.to_owned());
    }
    let message = format!("{what} {text:?} holds characters that AWS does not compare with");
    Err(Refusal::new(Code::ConditionUnsupported, message))
}

fn host_term(host: &HostMatch, semantics: Semantics) -> Result<Term, Refusal> {
    let long = |value| short(Code::HostUnsupported, "host", value);
    Ok(match host {
        HostMatch::Exact(name) => {
            // ELBv2 API, HostHeaderConditionConfig.Values: a dot, and only letters after the last one.
            let plain = name
                .as_str()
                .rsplit_once('.')
                .is_some_and(|(_, last)| last.bytes().all(|b| b.is_ascii_alphabetic()));
            if plain {
                Term::Globs(vec![long(name.as_str().to_owned())?])
            } else {
                Term::Regex(long(format!("^{}$", escape(name.as_str())))?)
            }
        }
        HostMatch::Wildcard(name) => Term::Regex(long(format!("^[^.]+\\.{}$", escape(name.as_str())))?),
        HostMatch::Glob(glob) => {
            let text = glob.as_str();
            let last = text.rsplit_once('.').map(|(_, last)| last);
            let as_value = is_made_of(text, HOST_CHARACTERS)
                && last.is_some_and(|last| {
                    last.bytes()
                        .all(|b| b.is_ascii_alphabetic() || b"*?".contains(&b))
                });
            let lower = Glob::parse(&text.to_ascii_lowercase()).unwrap_or_else(|_| glob.clone());
            glob_term(
                if as_value { glob } else { &lower },
                as_value,
                Code::HostUnsupported,
                "host",
            )?
        }
        HostMatch::Regex(pattern) => Term::Regex(long(anchored(pattern, semantics))?),
    })
}

/// Whether AWS takes this text as a path pattern that stands for itself.
/// Source: ELBv2 API, RuleCondition.Values, characters of a path pattern.
fn is_plain_path(path: &str) -> bool {
    path.bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"_-.$/~\"'@:+&".contains(&b))
}

fn path_term(path: &PathMatch, semantics: Semantics) -> Result<Term, Refusal> {
    let long = |value| short(Code::PathUnsupported, "path", value);
    let ascii = |text: &str| ascii(text, Code::PathUnsupported, "path");
    Ok(match path {
        PathMatch::Exact(path) => {
            ascii(path.as_str())?;
            if is_plain_path(path.as_str()) {
                Term::Globs(vec![long(path.as_str().to_owned())?])
            } else {
                Term::Regex(long(format!("^{}$", escape(path.as_str())))?)
            }
        }
        PathMatch::Prefix(prefix) if prefix.is_root() => Term::Globs(vec!["/*".into()]),
        PathMatch::Prefix(prefix) => {
            ascii(prefix.as_str())?;
            if is_plain_path(prefix.as_str()) {
                Term::Globs(vec![prefix.as_str().to_owned(), long(format!("{prefix}/*"))?])
            } else {
                Term::Regex(long(format!("^{}(/.*)?$", escape(prefix.as_str())))?)
            }
        }
        PathMatch::Glob(glob) => {
            let as_value = is_made_of(glob.as_str(), PATH_CHARACTERS);
            glob_term(glob, as_value, Code::PathUnsupported, "path")?
        }
        PathMatch::Regex(pattern) => Term::Regex(long(anchored(pattern, semantics))?),
    })
}

/// Conditions besides host and path, each a dimension of its own, in the order they are written.
fn others(conditions: &[Condition], semantics: Semantics) -> Result<Vec<Vec<RuleCondition>>, Refusal> {
    let long = |what: &str, value: &str| short(Code::ConditionUnsupported, what, value.to_owned());
    let mut out: Vec<Vec<RuleCondition>> = Vec::new();
    for condition in conditions {
        let compiled = match condition {
            Condition::Method(methods) => {
                let mut values = Vec::new();
                for method in methods {
                    // ELBv2 API, HttpRequestMethodConditionConfig.Values: capitals, hyphen and underscore.
                    let method = method.as_str();
                    let known = method
                        .bytes()
                        .all(|b| b.is_ascii_uppercase() || matches!(b, b'-' | b'_'));
                    if !known || method.len() > limits::METHOD_LENGTH {
                        let message =
                            format!("request method {method:?} is not of capitals, '-' and '_' alone");
                        return Err(Refusal::new(Code::ConditionUnsupported, message));
                    }
                    values.push(method.to_owned());
                }
                RuleCondition::HttpRequestMethod {
                    config: HttpMethodConfig { values },
                }
            }
            Condition::Header { name, values } => {
                let values = values
                    .iter()
                    .map(|v| value("header value", v, HEADER_CHARACTERS))
                    .collect::<Result<_, _>>()?;
                header(name.as_str(), Values::Globs(values))?
            }
            Condition::HeaderRegex { name, values } => {
                let values = values
                    .iter()
                    .map(|v| long("header value", &anchored(v, semantics)))
                    .collect::<Result<_, _>>()?;
                header(name.as_str(), Values::Regexes(values))?
            }
            Condition::Query(queries) => {
                let mut values = Vec::new();
                for query in queries {
                    values.push(QueryStringValue {
                        key: query
                            .key
                            .as_ref()
                            .map(|k| value("query key", k, QUERY_CHARACTERS))
                            .transpose()?,
                        value: value("query value", &query.value, QUERY_CHARACTERS)?,
                    });
                }
                RuleCondition::QueryString {
                    config: QueryStringConfig { values },
                }
            }
            Condition::Source(ranges) => {
                let values = ranges.iter().map(ToString::to_string).collect();
                RuleCondition::SourceIp {
                    config: SourceIpConfig { values },
                }
            }
        };
        // ELBv2 API, RuleCondition: at most one of each but for headers and queries.
        let twice = matches!(condition, Condition::Method(_) | Condition::Source(_))
            && out
                .iter()
                .flatten()
                .any(|c| std::mem::discriminant(c) == std::mem::discriminant(&compiled));
        if twice {
            let message =
                format!("AWS allows one condition of this kind in a rule, and {condition} is another");
            return Err(Refusal::new(Code::ConditionUnsupported, message));
        }
        out.push(vec![compiled]);
    }
    Ok(out)
}

fn header(name: &str, values: Values) -> Result<RuleCondition, Refusal> {
    if name.len() > limits::HEADER_NAME_LENGTH {
        let message = format!(
            "header name {name:?} is longer than {} characters",
            limits::HEADER_NAME_LENGTH
        );
        return Err(Refusal::new(Code::ConditionUnsupported, message));
    }
    // ELBv2 API, HttpHeaderConditionConfig: "You can't use an HTTP header condition to specify the host header."
    if name == "host" {
        let message = "AWS compares the header Host with host conditions alone";
        return Err(Refusal::new(Code::ConditionUnsupported, message));
    }
    let config = HttpHeaderConfig {
        name: name.to_owned(),
        values,
    };
    Ok(RuleCondition::HttpHeader { config })
}
