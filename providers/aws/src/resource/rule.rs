//! `CreateRule` and what it left: conditions, actions and transforms in, their API form out.

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::Pairs;
use super::auth::{Applied, CognitoConfig, JwtConfig, OidcConfig};

/// What a value is compared with: globs, or regular expressions; the API allows one of the two per condition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Values {
    #[serde(rename = "Values")]
    Globs(Vec<String>),
    #[serde(rename = "RegexValues")]
    Regexes(Vec<String>),
}

impl Values {
    pub fn list(&self) -> &[String] {
        match self {
            Self::Globs(list) | Self::Regexes(list) => list,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct HttpHeaderConfig {
    /// In lower case; the API ignores case.
    #[serde(rename = "HttpHeaderName")]
    pub name: String,
    #[serde(flatten)]
    pub values: Values,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct HttpMethodConfig {
    pub values: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueryStringValue {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueryStringConfig {
    pub values: Vec<QueryStringValue>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SourceIpConfig {
    pub values: Vec<String>,
}

/// One condition; all of a rule's must hold, and each holds if any of its values does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "Field", rename_all = "kebab-case")]
pub enum RuleCondition {
    HostHeader {
        #[serde(rename = "HostHeaderConfig")]
        config: Values,
    },
    PathPattern {
        #[serde(rename = "PathPatternConfig")]
        config: Values,
    },
    HttpHeader {
        #[serde(rename = "HttpHeaderConfig")]
        config: HttpHeaderConfig,
    },
    HttpRequestMethod {
        #[serde(rename = "HttpRequestMethodConfig")]
        config: HttpMethodConfig,
    },
    QueryString {
        #[serde(rename = "QueryStringConfig")]
        config: QueryStringConfig,
    },
    SourceIp {
        #[serde(rename = "SourceIpConfig")]
        config: SourceIpConfig,
    },
    /// Observed only: a condition we make none of. It equals nothing that is desired.
    Foreign {
        #[serde(rename = "ForeignField")]
        field: String,
    },
}

/// A target group and its share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TargetGroupTuple<T> {
    pub target_group_arn: T,
    /// None where the target group is the only one, whose weight means nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TargetGroupStickiness {
    pub enabled: bool,
    pub duration_seconds: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ForwardConfig<T> {
    pub target_groups: Vec<TargetGroupTuple<T>>,
    /// None where it is off, which is the API's default.
    #[serde(
        rename = "TargetGroupStickinessConfig",
        skip_serializing_if = "Option::is_none"
    )]
    pub stickiness: Option<TargetGroupStickiness>,
}

/// The statuses the API redirects with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum RedirectStatusCode {
    #[serde(rename = "HTTP_301")]
    MovedPermanently,
    #[serde(rename = "HTTP_302")]
    Found,
}

/// A redirect; a part left out keeps its API default, which is the request's own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RedirectConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    pub status_code: RedirectStatusCode,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct FixedResponseConfig {
    pub status_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_body: Option<String>,
}

/// One action; the last one of a rule answers. Their order is that of the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "Type", rename_all = "kebab-case")]
pub enum RuleAction<T> {
    Forward {
        #[serde(rename = "ForwardConfig")]
        config: ForwardConfig<T>,
    },
    Redirect {
        #[serde(rename = "RedirectConfig")]
        config: RedirectConfig,
    },
    FixedResponse {
        #[serde(rename = "FixedResponseConfig")]
        config: FixedResponseConfig,
    },
    /// On HTTPS listeners, before the action that answers.
    AuthenticateOidc {
        #[serde(rename = "AuthenticateOidcConfig")]
        config: OidcConfig,
    },
    /// As above.
    AuthenticateCognito {
        #[serde(rename = "AuthenticateCognitoConfig")]
        config: CognitoConfig,
    },
    /// As above.
    JwtValidation {
        #[serde(rename = "JwtValidationConfig")]
        config: JwtConfig,
    },
    /// Observed only: an action we make none of. It equals nothing that is desired.
    Foreign {
        #[serde(rename = "ForeignType")]
        kind: String,
    },
}

/// Several actions name their order; a lone one need not. Source: ELBv2 API, Action.Order.
pub(super) fn ordered<T: Serialize, S: Serializer>(
    actions: &[RuleAction<T>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Ordered<'a, T> {
        #[serde(flatten)]
        action: &'a RuleAction<T>,
        #[serde(rename = "Order")]
        order: usize,
    }
    let mut list = serializer.serialize_seq(Some(actions.len()))?;
    match actions {
        [one] => list.serialize_element(one)?,
        several => {
            for (action, order) in several.iter().zip(1..) {
                list.serialize_element(&Ordered { action, order })?;
            }
        }
    }
    list.end()
}

/// Whether what is observed is what is desired, as far as AWS shows it and the rest is remembered.
pub(crate) fn agree<T: PartialEq>(
    observed: &[RuleAction<T>],
    desired: &[RuleAction<T>],
    applied: &Applied,
) -> bool {
    observed.len() == desired.len()
        && observed.iter().zip(desired).all(|pair| match pair {
            (
                RuleAction::AuthenticateOidc { config: observed },
                RuleAction::AuthenticateOidc { config: desired },
            ) => observed.agrees(desired, applied),
            (observed, desired) => observed == desired,
        })
}

/// The actions as they are observed once they were sent.
pub(crate) fn sent<T: Clone>(actions: &[RuleAction<T>]) -> Vec<RuleAction<T>> {
    let one = |action: &RuleAction<T>| match action {
        RuleAction::AuthenticateOidc { config } => RuleAction::AuthenticateOidc {
            config: config.sent(),
        },
        RuleAction::Forward { .. }
        | RuleAction::Redirect { .. }
        | RuleAction::FixedResponse { .. }
        | RuleAction::AuthenticateCognito { .. }
        | RuleAction::JwtValidation { .. }
        | RuleAction::Foreign { .. } => action.clone(),
    };
    actions.iter().map(one).collect()
}

impl<T> RuleAction<T> {
    /// The target groups it forwards to.
    pub fn target_groups(&self) -> impl Iterator<Item = &T> {
        let tuples = match self {
            Self::Forward { config } => config.target_groups.as_slice(),
            Self::Redirect { .. }
            | Self::FixedResponse { .. }
            | Self::AuthenticateOidc { .. }
            | Self::AuthenticateCognito { .. }
            | Self::JwtValidation { .. }
            | Self::Foreign { .. } => &[],
        };
        tuples.iter().map(|tuple| &tuple.target_group_arn)
    }

    /// The same action as a plan would write it: what means the API's default is left out.
    #[must_use]
    pub fn normalized(self) -> Self {
        let differs = |part: Option<String>, default: &str| part.filter(|text| text != default);
        match self {
            Self::Forward { mut config } => {
                if let [only] = config.target_groups.as_mut_slice() {
                    only.weight = None;
                }
                config.stickiness = config.stickiness.filter(|sticky| sticky.enabled);
                Self::Forward { config }
            }
            Self::Redirect { config } => Self::Redirect {
                config: RedirectConfig {
                    protocol: differs(config.protocol, "#{protocol}"),
                    host: differs(config.host, "#{host}"),
                    port: differs(config.port, "#{port}"),
                    path: differs(config.path, "/#{path}"),
                    query: differs(config.query, "#{query}"),
                    status_code: config.status_code,
                },
            },
            Self::FixedResponse { mut config } => {
                config.message_body = config.message_body.filter(|body| !body.is_empty());
                Self::FixedResponse { config }
            }
            Self::AuthenticateOidc { .. }
            | Self::AuthenticateCognito { .. }
            | Self::JwtValidation { .. }
            | Self::Foreign { .. } => self,
        }
    }

    /// The same action with other references; none where one of them is not known.
    pub fn resolve<U>(&self, find: &impl Fn(&T) -> Option<U>) -> Option<RuleAction<U>> {
        Some(match self {
            Self::Forward { config } => RuleAction::Forward {
                config: ForwardConfig {
                    target_groups: config
                        .target_groups
                        .iter()
                        .map(|tuple| {
                            Some(TargetGroupTuple {
                                target_group_arn: find(&tuple.target_group_arn)?,
                                weight: tuple.weight,
                            })
                        })
                        .collect::<Option<_>>()?,
                    stickiness: config.stickiness,
                },
            },
            Self::Redirect { config } => RuleAction::Redirect {
                config: config.clone(),
            },
            Self::FixedResponse { config } => RuleAction::FixedResponse {
                config: config.clone(),
            },
            Self::AuthenticateOidc { config } => RuleAction::AuthenticateOidc {
                config: config.clone(),
            },
            Self::AuthenticateCognito { config } => RuleAction::AuthenticateCognito {
                config: config.clone(),
            },
            Self::JwtValidation { config } => RuleAction::JwtValidation {
                config: config.clone(),
            },
            Self::Foreign { kind } => RuleAction::Foreign { kind: kind.clone() },
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RewriteConfig {
    pub regex: String,
    pub replace: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RewriteList {
    pub rewrites: Vec<RewriteConfig>,
}

/// What is changed of a request before it is forwarded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "Type", rename_all = "kebab-case")]
pub enum RuleTransform {
    HostHeaderRewrite {
        #[serde(rename = "HostHeaderRewriteConfig")]
        config: RewriteList,
    },
    UrlRewrite {
        #[serde(rename = "UrlRewriteConfig")]
        config: RewriteList,
    },
    /// Observed only: a transform we make none of. It equals nothing that is desired.
    Foreign {
        #[serde(rename = "ForeignType")]
        kind: String,
    },
}

/// A listener rule; `T` is how it refers to target groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase", bound = "T: Serialize")]
pub struct RuleSpec<T> {
    /// 1–50,000, unique within the listener; the lowest is looked at first.
    pub priority: u32,
    pub conditions: Vec<RuleCondition>,
    /// In order; the last one answers.
    #[serde(serialize_with = "ordered")]
    pub actions: Vec<RuleAction<T>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub transforms: Vec<RuleTransform>,
    pub tags: Pairs,
}
