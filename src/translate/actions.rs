//! The annotations `actions.*` in, typed actions or why not out.

use std::sync::Arc;

use portcullis_model::redirect::RedirectScheme;
use portcullis_model::{FixedResponse, Port, Redirect, RedirectStatus, Stickiness, Template, Weight};
use serde::Deserialize;
use serde_json::Value;

use super::annotations::{json, value};
use crate::cluster::object::PortRef;

/// What answers, as an annotation says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Fixed(FixedResponse),
    Redirect(Redirect),
    Forward {
        /// Never empty.
        shares: Vec<Share>,
        stickiness: Option<Stickiness>,
    },
}

/// Where some of the requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) to: Destination,
    pub(super) weight: Weight,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    Service {
        name: Arc<str>,
        port: PortRef,
    },
    /// A target group that exists by itself, by ARN or name.
    Given(Arc<str>),
}

#[derive(Deserialize)]
struct ActionText {
    #[serde(rename = "type")]
    kind: String,
    // Only that of its own type is read.
    fixedresponseconfig: Option<Value>,
    redirectconfig: Option<Value>,
    targetgrouparn: Option<String>,
    targetgroupname: Option<String>,
    forwardconfig: Option<Value>,
}

#[derive(Deserialize)]
struct FixedText {
    statuscode: String,
    contenttype: Option<String>,
    messagebody: Option<String>,
}

#[derive(Deserialize)]
struct RedirectText {
    statuscode: String,
    host: Option<String>,
    path: Option<String>,
    port: Option<String>,
    protocol: Option<String>,
    query: Option<String>,
}

#[derive(Deserialize)]
struct ForwardText {
    #[serde(default)]
    targetgroups: Vec<TargetGroupText>,
    targetgroupstickinessconfig: Option<StickinessText>,
}

#[derive(Deserialize)]
struct TargetGroupText {
    targetgrouparn: Option<String>,
    targetgroupname: Option<String>,
    servicename: Option<String>,
    serviceport: Option<Value>,
    weight: Option<i64>,
}

#[derive(Deserialize)]
struct StickinessText {
    enabled: Option<bool>,
    durationseconds: Option<i64>,
}

/// Reads the value of `actions.<name>`. Syntax: AWS Load Balancer Controller, Ingress annotations, `actions`.
pub(super) fn parse(text: &str) -> Result<Wanted, String> {
    let action: ActionText = json::read(text)?;
    match action.kind.as_str() {
        "fixed-response" => {
            let config = action.fixedresponseconfig;
            let config = config.ok_or("fixedResponseConfig is missing")?;
            fixed(json::field("fixedResponseConfig", config)?).map(Wanted::Fixed)
        }
        "redirect" => {
            let config = action.redirectconfig.ok_or("redirectConfig is missing")?;
            redirect(json::field("redirectConfig", config)?).map(Wanted::Redirect)
        }
        "forward" => {
            let given = given(action.targetgrouparn, action.targetgroupname)?;
            match (given, action.forwardconfig) {
                (Some(_), Some(_)) => {
                    Err("forwardConfig is given beside targetGroupARN or targetGroupName".to_owned())
                }
                (Some(given), None) => Ok(Wanted::Forward {
                    shares: vec![Share {
                        to: Destination::Given(given),
                        weight: Weight::ONE,
                    }],
                    stickiness: None,
                }),
                (None, Some(config)) => forward(json::field("forwardConfig", config)?),
                (None, None) => Err("forwardConfig is missing".to_owned()),
            }
        }
        other => Err(format!(
            "type {} is none of fixed-response, redirect and forward",
            value::shown(other)
        )),
    }
}

fn fixed(text: FixedText) -> Result<FixedResponse, String> {
    let status: u16 = text
        .statuscode
        .parse()
        .map_err(|_| format!("statusCode {} is no status", value::shown(&text.statuscode)))?;
    FixedResponse::new(status, text.contenttype, text.messagebody).map_err(|error| error.to_string())
}

fn redirect(text: RedirectText) -> Result<Redirect, String> {
    let status = match text.statuscode.as_str() {
        "HTTP_301" => RedirectStatus::MovedPermanently,
        "HTTP_302" => RedirectStatus::Found,
        other => {
            return Err(format!(
                "statusCode {} is neither HTTP_301 nor HTTP_302",
                value::shown(other)
            ));
        }
    };
    let scheme = match text.protocol.as_deref() {
        None | Some("" | "#{protocol}") => None,
        Some("HTTP") => Some(RedirectScheme::Http),
        Some("HTTPS") => Some(RedirectScheme::Https),
        Some(other) => {
            return Err(format!(
                "protocol {} is neither HTTP nor HTTPS",
                value::shown(other)
            ));
        }
    };
    let port = match text.port.as_deref() {
        None | Some("" | "#{port}") => None,
        Some(number) => {
            let number = value::integer(number, 1, 65_535).map_err(|why| format!("port: {why}"))?;
            Some(Port::new(number).map_err(|error| error.to_string())?)
        }
    };
    let part = |text: Option<String>, same: &str| match text {
        None => Ok(None),
        Some(text) if text == same => Ok(None),
        Some(text) => Template::parse(&text)
            .map(Some)
            .map_err(|error| error.to_string()),
    };
    let path = part(text.path, "/#{path}")?;
    if path.as_ref().is_some_and(|path| !path.as_str().starts_with('/')) {
        return Err("path does not start with '/'".to_owned());
    }
    let host = part(text.host.filter(|host| !host.is_empty()), "#{host}")?;
    if host.as_ref().is_some_and(|host| !host.is_host()) {
        return Err("host is no name of a host, with or without #{host}".to_owned());
    }
    Ok(Redirect {
        status,
        scheme,
        host,
        port,
        path,
        query: part(text.query, "#{query}")?,
    })
}

fn forward(config: ForwardText) -> Result<Wanted, String> {
    let several = config.targetgroups.len() > 1;
    let mut shares = Vec::with_capacity(config.targetgroups.len());
    for group in config.targetgroups {
        let given = given(group.targetgrouparn, group.targetgroupname)?;
        let weight = match group.weight {
            Some(number) => Weight::new(number).map_err(|error| error.to_string())?,
            None if several => {
                return Err("weight is missing: several target groups need one each".to_owned());
            }
            None => Weight::ONE,
        };
        let to = match (given, group.servicename) {
            (Some(given), None) => Destination::Given(given),
            (None, Some(name)) if !name.is_empty() => Destination::Service {
                name: name.into(),
                port: port(group.serviceport)?,
            },
            _ => return Err("a target group needs either serviceName or its ARN or name".to_owned()),
        };
        shares.push(Share { to, weight });
    }
    let stickiness = match config.targetgroupstickinessconfig {
        Some(StickinessText {
            enabled: Some(true),
            durationseconds,
        }) => match durationseconds.and_then(|seconds| u32::try_from(seconds).ok()) {
            Some(seconds @ 1..=604_800) => Some(Stickiness { seconds }),
            _ => return Err("durationSeconds of stickiness is not from 1 to 604800".to_owned()),
        },
        _ => None,
    };
    if shares.is_empty() {
        return Err("targetGroups is empty".to_owned());
    }
    Ok(Wanted::Forward { shares, stickiness })
}

/// What a target group is called, if it is: the ARN wins. Neither can be taken for the other.
fn given(arn: Option<String>, name: Option<String>) -> Result<Option<Arc<str>>, String> {
    match (arn, name) {
        (Some(arn), _) if arn.starts_with("arn:") => Ok(Some(arn.into())),
        (Some(arn), _) => Err(format!("targetGroupARN {} is no ARN", value::shown(&arn))),
        // ELBv2 API, CreateTargetGroup.Name: at most 32 letters, digits and inner hyphens.
        (None, Some(name)) => {
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if plain && (1..=32).contains(&name.len()) {
                Ok(Some(name.into()))
            } else {
                let name = value::shown(&name);
                Err(format!("targetGroupName {name} is no name of a target group"))
            }
        }
        (None, None) => Ok(None),
    }
}

/// A number, a number as text, or a name.
pub(super) fn port(value: Option<Value>) -> Result<PortRef, String> {
    let wrong = || "servicePort is neither a number nor a name".to_owned();
    match value {
        Some(Value::Number(number)) => number.as_i64().map(PortRef::Number).ok_or_else(wrong),
        Some(Value::String(text)) if !text.is_empty() => Ok(text
            .parse()
            .map_or_else(|_| PortRef::Name(text.into()), PortRef::Number)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_read_as_the_incumbent_reads_it() {
        for (text, ok) in [
            (
                r#"{"type":"fixed-response","fixedResponseConfig":{"statusCode":"503"}}"#,
                true,
            ),
            (
                r#"{"Type":"fixed-response","FixedResponseConfig":{"StatusCode":"200","MessageBody":"hi"}}"#,
                true,
            ),
            (
                r#"{"type":"redirect","redirectConfig":{"statusCode":"HTTP_301","host":"a/b"}}"#,
                false,
            ),
            (
                r#"{"type":"fixed-response","fixedResponseConfig":{"statusCode":503}}"#,
                false,
            ),
            (
                r#"{"type":"fixed-response","fixedResponseConfig":{"statusCode":"600"}}"#,
                false,
            ),
            (r#"{"type":"fixed-response"}"#, false),
            (
                r#"{"type":"fixed-response","fixedResponseConfig":{"statusCode":"503"},"redirectConfig":{},"forwardConfig":{"targetGroups":[{}]}}"#,
                true, // only the configuration of its type is looked at
            ),
            (
                r#"{"type":"redirect","redirectConfig":{"statusCode":"HTTP_301","port":"443","protocol":"HTTPS"}}"#,
                true,
            ),
            (
                r#"{"type":"redirect","redirectConfig":{"statusCode":"HTTP_307"}}"#,
                false,
            ),
            (
                r#"{"type":"redirect","redirectConfig":{"statusCode":"HTTP_301","path":"x"}}"#,
                false,
            ),
            (
                r##"{"type":"redirect","redirectConfig":{"statusCode":"HTTP_301","host":"#{hots}"}}"##,
                false,
            ),
            (r#"{"type":"forward","targetGroupARN":"arn:x"}"#, true),
            (r#"{"type":"forward","targetGroupARN":"x"}"#, false),
            (r#"{"type":"forward","targetGroupName":"old-web"}"#, true),
            (r#"{"type":"forward","targetGroupName":""}"#, false),
            (r#"{"type":"forward","targetGroupName":"arn:x"}"#, false),
            (
                r#"{"type":"forward","forwardConfig":{"targetGroups":[{"targetGroupName":"a"}]}}"#,
                true,
            ),
            (
                r#"{"type":"forward","forwardConfig":{"targetGroups":[{"targetGroupName":"a","serviceName":"b","servicePort":80}]}}"#,
                false,
            ),
            (
                r#"{"type":"forward","forwardConfig":{"targetGroups":[{"targetGroupName":"a","weight":1},{"serviceName":"b","servicePort":80}]}}"#,
                false, // a weight is missing
            ),
            (
                r#"{"type":"forward","targetGroupARN":"arn:x","forwardConfig":{"targetGroups":[]}}"#,
                false,
            ),
            (r#"{"type":"forward","forwardConfig":{"targetGroups":[]}}"#, false),
            (
                r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"a","servicePort":"80"}]}}"#,
                true,
            ),
            (
                r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"a"}]}}"#,
                false,
            ),
            (
                r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"a","servicePort":80},{"serviceName":"b","servicePort":80}]}}"#,
                false, // weights are missing
            ),
            (
                r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"a","servicePort":80,"weight":1000}]}}"#,
                false,
            ),
            (r#"{"type":"authenticate"}"#, false),
            ("{}", false),
            ("null", false),
        ] {
            assert_eq!(parse(text).is_ok(), ok, "{text}: {:?}", parse(text));
        }
    }

    #[test]
    fn a_part_that_says_the_same_is_left_out_of_a_redirect() {
        let text = r##"{"type":"redirect","redirectConfig":{"statusCode":"HTTP_302","host":"#{host}","path":"/#{path}",
            "port":"#{port}","protocol":"#{protocol}","query":"#{query}"}}"##;
        let want = Redirect {
            status: RedirectStatus::Found,
            scheme: None,
            host: None,
            port: None,
            path: None,
            query: None,
        };
        assert_eq!(parse(text), Ok(Wanted::Redirect(want)));
    }

    #[test]
    fn a_numeric_port_as_text_is_a_number() {
        let text = r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"a","servicePort":"80"}],
            "targetGroupStickinessConfig":{"enabled":true,"durationSeconds":60}}}"#;
        let want = Wanted::Forward {
            shares: vec![Share {
                to: Destination::Service {
                    name: "a".into(),
                    port: PortRef::Number(80),
                },
                weight: Weight::ONE,
            }],
            stickiness: Some(Stickiness { seconds: 60 }),
        };
        assert_eq!(parse(text), Ok(want));
    }

    #[test]
    fn of_an_arn_and_a_name_the_arn_counts() {
        let text = r#"{"type":"forward","targetGroupName":"old","targetGroupARN":"arn:old"}"#;
        let want = Wanted::Forward {
            shares: vec![Share {
                to: Destination::Given("arn:old".into()),
                weight: Weight::ONE,
            }],
            stickiness: None,
        };
        assert_eq!(parse(text), Ok(want));
    }
}
