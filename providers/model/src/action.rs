//! What answers a request: the parts of an action in, a typed action out.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use crate::backend::BackendId;
use crate::pattern::Pattern;
use crate::redirect::Redirect;

/// The share of requests one of several backends gets, relative to the others: 0–999, 0 for none.
/// Source: ELBv2 API, TargetGroupTuple.Weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Weight(u16);

/// Not a number from 0 to 999.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0} is not a weight from 0 to 999")]
pub struct NotAWeight(pub i64);

impl Weight {
    pub const ONE: Self = Self(1);

    pub fn new(number: i64) -> Result<Self, NotAWeight> {
        u16::try_from(number)
            .ok()
            .filter(|n| *n <= 999)
            .map(Self)
            .ok_or(NotAWeight(number))
    }

    pub fn get(self) -> u16 {
        self.0
    }
}

/// A backend and its share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct WeightedBackend {
    pub backend: BackendId,
    pub weight: Weight,
}

/// A client that came once stays with the backend it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Stickiness {
    /// In seconds, 1–604,800. Source: ELBv2 API, TargetGroupStickinessConfig.DurationSeconds.
    pub seconds: u32,
}

/// Pass the request on to one of these backends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Forward {
    /// Never empty.
    pub backends: Vec<WeightedBackend>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stickiness: Option<Stickiness>,
}

impl Forward {
    /// All to one backend.
    pub fn to(backend: BackendId) -> Self {
        Self {
            backends: vec![WeightedBackend {
                backend,
                weight: Weight::ONE,
            }],
            stickiness: None,
        }
    }
}

/// Answer without a backend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FixedResponse {
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Where requests go that went there already: it answers because not all is known of these backends, and what exists
    /// stays.
    #[serde(skip)]
    pub unread: Option<Forward>,
}

/// Not a status that can be answered with.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0} is not a status from 200 to 599")]
pub struct NotAStatus(pub u16);

impl FixedResponse {
    pub fn new(status: u16, content_type: Option<String>, body: Option<String>) -> Result<Self, NotAStatus> {
        if (200..=599).contains(&status) {
            Ok(Self {
                status,
                content_type,
                body,
                unread: None,
            })
        } else {
            Err(NotAStatus(status))
        }
    }

    /// No rule matches: 404 without a body, as the AWS Load Balancer Controller answers.
    pub fn not_found() -> Self {
        Self {
            status: 404,
            content_type: Some("text/plain".into()),
            body: None,
            unread: None,
        }
    }

    /// The backend cannot be resolved: 503, saying why in a few words.
    pub fn unavailable(why: &str) -> Self {
        Self {
            status: 503,
            content_type: Some("text/plain".into()),
            body: Some(why.into()),
            unread: None,
        }
    }

    /// The same, where it does not exist yet: what forwarded so goes on.
    pub fn unread(why: &str, before: Option<Forward>) -> Self {
        Self {
            unread: before,
            ..Self::unavailable(why)
        }
    }

    /// What an annotation asks for cannot be had: 503, naming it.
    pub fn refused_by(annotation: &str) -> Self {
        Self::unavailable(&format!("Not served because of annotation {annotation}"))
    }

    /// 200–599.
    pub fn status(&self) -> u16 {
        self.status
    }
}

/// What a rule does with a request it takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Action {
    Forward(Forward),
    Redirect(Redirect),
    Fixed(FixedResponse),
}

impl Action {
    /// Whether requests are forwarded, or may be where they were.
    pub fn may_forward(&self) -> bool {
        match self {
            Self::Forward(_) => true,
            Self::Fixed(fixed) => fixed.unread.is_some(),
            Self::Redirect(_) => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forward(forward) => {
                let parts: Vec<String> = match forward.backends.as_slice() {
                    [one] => vec![one.backend.to_string()],
                    many => many
                        .iter()
                        .map(|b| format!("{} ×{}", b.backend, b.weight.get()))
                        .collect(),
                };
                write!(f, "forward {}", parts.join(" + "))
            }
            Self::Redirect(redirect) => write!(f, "redirect {redirect}"),
            Self::Fixed(fixed) => write!(f, "answer {}", fixed.status),
        }
    }
}

/// Which part of a request a rewrite changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum RewritePart {
    /// Path and query.
    Url,
    Host,
}

/// What the backend sees instead of what the client sent: applied before a forward, in order.
/// Source: ELBv2 API, RuleTransform.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Rewrite {
    pub part: RewritePart,
    pub pattern: Pattern,
    /// With `$1` … `$9` for the pattern's groups.
    pub replacement: String,
}

impl fmt::Display for Rewrite {
    /// Such as `rewrite url ^/api/(.*)$ to /$1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = match self.part {
            RewritePart::Url => "url",
            RewritePart::Host => "host",
        };
        write!(
            f,
            "rewrite {part} {} to {}",
            self.pattern.as_str(),
            self.replacement
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_statuses_have_ranges() {
        for (number, ok) in [(-1, false), (0, true), (999, true), (1000, false)] {
            assert_eq!(Weight::new(number).is_ok(), ok, "weight {number}");
        }
        for (status, ok) in [(100, false), (200, true), (599, true), (600, false)] {
            assert_eq!(
                FixedResponse::new(status, None, None).is_ok(),
                ok,
                "status {status}"
            );
        }
    }
}
