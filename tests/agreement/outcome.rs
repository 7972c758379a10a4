//! An action in the model's form or in ELBv2's, and a request, in; what the client gets of it out.

use std::collections::BTreeMap;

use portcullis_model::{Action, Listener, Request};
use serde_json::Value;

use crate::alb::Asked;

/// What comes of a request, in a form that all who serve it have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    NoListener,
    Forward {
        /// By Service port, whoever asks for it, with their weights; a lone backend has no weight.
        backends: BTreeMap<String, u64>,
        sticky_seconds: Option<u64>,
    },
    Redirect {
        status: u64,
        location: String,
    },
    Fixed {
        status: u64,
        content_type: Option<String>,
        body: String,
    },
}

impl Outcome {
    /// Why something is unavailable is told in each one's own words.
    pub(crate) fn without_words(self) -> Self {
        match self {
            Self::Fixed { status: 503, .. } => Self::Fixed {
                status: 503,
                content_type: None,
                body: String::new(),
            },
            other
            @ (Self::NoListener | Self::Forward { .. } | Self::Redirect { .. } | Self::Fixed { .. }) => other,
        }
    }

    /// A backend of weight 0 gets no requests, and the weight of a lone one means nothing.
    pub(crate) fn without_idle(self) -> Self {
        match self {
            Self::Forward {
                mut backends,
                sticky_seconds,
            } => {
                backends.retain(|_, weight| *weight > 0);
                if backends.len() == 1 {
                    backends.values_mut().for_each(|weight| *weight = 1);
                }
                Self::Forward {
                    backends,
                    sticky_seconds,
                }
            }
            other @ (Self::NoListener | Self::Redirect { .. } | Self::Fixed { .. }) => other,
        }
    }

    pub(crate) fn of_model(action: &Action, request: &Request, listener: &Listener) -> Self {
        match action {
            Action::Forward(forward) => {
                let alone = forward.backends.len() == 1;
                let backends = forward.backends.iter().map(|b| {
                    let weight = if alone { 1 } else { u64::from(b.weight.get()) };
                    (service_of(b.backend.as_str()), weight)
                });
                Self::Forward {
                    backends: together(backends),
                    sticky_seconds: forward.stickiness.map(|s| u64::from(s.seconds)),
                }
            }
            Action::Redirect(redirect) => Self::Redirect {
                status: u64::from(redirect.status.code()),
                location: redirect
                    .location(request, listener.is_https())
                    .expect("it is short"),
            },
            Action::Fixed(fixed) => Self::Fixed {
                status: u64::from(fixed.status()),
                content_type: fixed.content_type.clone(),
                body: fixed.body.clone().unwrap_or_default(),
            },
        }
    }

    /// Of the last of a rule's actions, which is the one that answers. Source: API, `Action`.
    pub(crate) fn of_alb(actions: &[Value], asked: &Asked, https: bool) -> Result<Self, String> {
        let action = actions.last().ok_or("no action")?;
        let optional = |json: &Value| json.as_str().map(str::to_owned);
        match action["Type"].as_str() {
            Some("forward") => {
                let config = &action["ForwardConfig"];
                let groups = config["TargetGroups"].as_array().ok_or("no target groups")?;
                let backends = groups.iter().map(|group| {
                    let arn = group["TargetGroupArn"].as_str().ok_or("no target group")?;
                    let id = arn
                        .strip_prefix("${TargetGroup/")
                        .and_then(|rest| rest.strip_suffix('}'))
                        .ok_or("no reference to a target group")?;
                    let weight = if groups.len() == 1 {
                        Some(1)
                    } else {
                        group["Weight"].as_u64()
                    };
                    Ok::<_, String>((service_of(id), weight.ok_or("no weight")?))
                });
                let backends: Vec<_> = backends.collect::<Result<_, _>>()?;
                let sticky = &config["TargetGroupStickinessConfig"];
                Ok(Self::Forward {
                    backends: together(backends.into_iter()),
                    sticky_seconds: (sticky["Enabled"] == true)
                        .then(|| sticky["DurationSeconds"].as_u64())
                        .flatten(),
                })
            }
            Some("redirect") => Ok(Self::redirect_of_alb(&action["RedirectConfig"], asked, https)?),
            Some("fixed-response") => {
                let config = &action["FixedResponseConfig"];
                let status = config["StatusCode"].as_str().and_then(|s| s.parse().ok());
                Ok(Self::Fixed {
                    status: status.ok_or("no status")?,
                    content_type: optional(&config["ContentType"]),
                    body: optional(&config["MessageBody"]).unwrap_or_default(),
                })
            }
            _ => Err(format!("{action} does not answer")),
        }
    }

    /// Parts left out keep the request's own; `#{…}` stands for a part of it; `#{path}` has no leading slash.
    /// Source: API, RedirectActionConfig.
    fn redirect_of_alb(config: &Value, asked: &Asked, https: bool) -> Result<Self, String> {
        let own = if https { "https" } else { "http" };
        let fill = |key: &str, default: &str| {
            config[key]
                .as_str()
                .unwrap_or(default)
                .replace("#{protocol}", own)
                .replace("#{host}", &asked.host)
                .replace("#{port}", &asked.port.to_string())
                .replace("#{path}", asked.path.strip_prefix('/').unwrap_or(&asked.path))
                .replace("#{query}", &asked.query)
        };
        let scheme = fill("Protocol", "#{protocol}").to_ascii_lowercase();
        let port = match (scheme.as_str(), fill("Port", "#{port}").as_str()) {
            ("http", "80") | ("https", "443") => String::new(),
            (_, port) => format!(":{port}"),
        };
        let query = match fill("Query", "#{query}") {
            empty if empty.is_empty() => empty,
            query => format!("?{query}"),
        };
        let location = format!(
            "{scheme}://{}{port}{}{query}",
            fill("Host", "#{host}"),
            fill("Path", "/#{path}")
        );
        let status = match config["StatusCode"].as_str() {
            Some("HTTP_301") => 301,
            Some("HTTP_302") => 302,
            other => return Err(format!("no redirect has the status {other:?}")),
        };
        Ok(Self::Redirect { status, location })
    }
}

/// The Service port of a backend `namespace/ingress-service:port`, or of one that is named after its Service alone.
/// Names of Ingresses hold no hyphen here.
pub(crate) fn service_of(id: &str) -> String {
    let (namespace, rest) = id.split_once('/').unwrap_or(("", id));
    let service = rest
        .strip_prefix("service/")
        .or_else(|| rest.split_once('-').map(|(_, service)| service));
    format!("{namespace}/{}", service.unwrap_or(rest))
}

/// Shares of the same Service port are one.
fn together(backends: impl Iterator<Item = (String, u64)>) -> BTreeMap<String, u64> {
    let mut out = BTreeMap::new();
    for (service, weight) in backends {
        *out.entry(service).or_default() += weight;
    }
    out
}
