//! Conditions besides host and path in, those of the API out, each a dimension of its own in the order written.

use portcullis_model::{Code, Condition, Glob, QueryMatch, Semantics};

use super::conditions::{Refusal, short};
use super::terms::anchored;
use crate::limits;
use crate::resource::{
    HttpHeaderConfig, HttpMethodConfig, QueryStringConfig, QueryStringValue, RuleCondition, SourceIpConfig,
    Values,
};

fn unsupported(message: String) -> Refusal {
    Refusal::new(Code::ConditionUnsupported, message)
}

pub(super) fn compile(
    conditions: &[Condition],
    semantics: Semantics,
) -> Result<Vec<Vec<RuleCondition>>, Refusal> {
    let mut out: Vec<Vec<RuleCondition>> = Vec::new();
    for condition in conditions {
        let compiled = one(condition, semantics)?;
        // ELBv2 API, RuleCondition: at most one of each but for headers and queries.
        let same = |had: &RuleCondition| std::mem::discriminant(had) == std::mem::discriminant(&compiled);
        let single = matches!(condition, Condition::Method(_) | Condition::Source(_));
        if single && out.iter().flatten().any(same) {
            let message =
                format!("AWS allows one condition of this kind in a rule, and {condition} is another");
            return Err(unsupported(message));
        }
        out.push(vec![compiled]);
    }
    Ok(out)
}

fn one(condition: &Condition, semantics: Semantics) -> Result<RuleCondition, Refusal> {
    let long = |what: &str, value: String| short(Code::ConditionUnsupported, what, value);
    Ok(match condition {
        Condition::Method(methods) => {
            let values = methods
                .iter()
                .map(|m| method(m.as_str()))
                .collect::<Result<_, _>>()?;
            RuleCondition::HttpRequestMethod {
                config: HttpMethodConfig { values },
            }
        }
        Condition::Header { name, values } => {
            let values = values.iter().map(header_pattern).collect::<Result<_, _>>()?;
            header(name.as_str(), Values::Globs(values))?
        }
        Condition::HeaderRegex { name, values } => {
            let values = values
                .iter()
                .map(|v| long("header value", anchored(v, semantics)));
            header(name.as_str(), Values::Regexes(values.collect::<Result<_, _>>()?))?
        }
        Condition::Query(queries) => {
            let values = queries.iter().map(query_pattern).collect::<Result<_, _>>()?;
            RuleCondition::QueryString {
                config: QueryStringConfig { values },
            }
        }
        Condition::Source(ranges) => {
            // Without host bits, which say nothing.
            let values = ranges.iter().map(|range| range.trunc().to_string()).collect();
            RuleCondition::SourceIp {
                config: SourceIpConfig { values },
            }
        }
    })
}

/// ELBv2 API, HttpRequestMethodConditionConfig.Values: capitals, hyphen and underscore.
fn method(text: &str) -> Result<String, Refusal> {
    let known = text
        .bytes()
        .all(|b| b.is_ascii_uppercase() || matches!(b, b'-' | b'_'));
    if known && text.len() <= limits::METHOD_LENGTH {
        Ok(text.to_owned())
    } else {
        Err(unsupported(format!(
            "request method {text:?} is not of at most 40 capitals, '-' and '_'"
        )))
    }
}

fn header(name: &str, values: Values) -> Result<RuleCondition, Refusal> {
    if name.len() > limits::HEADER_NAME_LENGTH {
        let most = limits::HEADER_NAME_LENGTH;
        return Err(unsupported(format!(
            "header name {name:?} is longer than {most} characters"
        )));
    }
    // ELBv2 API, HttpHeaderConditionConfig.HttpHeaderName: the host header has a condition of its own.
    if name == "host" {
        return Err(unsupported(
            "AWS matches the host by the rule's host, not by a header condition".into(),
        ));
    }
    let config = HttpHeaderConfig {
        name: name.to_owned(),
        values,
    };
    Ok(RuleCondition::HttpHeader { config })
}

fn header_pattern(glob: &Glob) -> Result<String, Refusal> {
    if limits::holds_only(glob.as_str(), limits::HEADER_CHARACTERS) {
        short(Code::ConditionUnsupported, "header value", glob.to_string())
    } else {
        Err(unsupported(format!(
            "header value {glob:?} holds a character that AWS does not match",
            glob = glob.as_str()
        )))
    }
}

fn query_pattern(query: &QueryMatch) -> Result<QueryStringValue, Refusal> {
    let pattern = |what: &str, glob: &Glob| {
        let text = glob.as_str();
        // To AWS a backslash makes the wildcard after it literal; to a glob it is a character like any other.
        if !text.contains('\\') && limits::holds_only(text, limits::QUERY_CHARACTERS) {
            short(Code::ConditionUnsupported, what, text.to_owned())
        } else {
            Err(unsupported(format!(
                "{what} {text:?} holds a character that AWS does not match"
            )))
        }
    };
    Ok(QueryStringValue {
        key: query
            .key
            .as_ref()
            .map(|key| pattern("query key", key))
            .transpose()?,
        value: pattern("query value", &query.value)?,
    })
}
