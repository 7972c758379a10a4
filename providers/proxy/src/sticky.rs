//! A client's cookies in, the backend or target it was at before out; and the cookie that brings it back.
//!
//! A cookie holds a mark, which tells a backend or target from the others and says nothing of where it is.

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderValue};
use portcullis_model::Backend;

use crate::compile::mark;
use crate::fields;

/// A cookie that leads a client back to the backend it was given.
#[derive(Debug)]
pub struct Sticky {
    pub cookie: Box<str>,
    pub seconds: u32,
}

/// A cookie that leads a client back to its target.
#[derive(Debug)]
pub(crate) struct TargetSticky {
    ours: Sticky,
    /// The application's own cookie: a client without it is sent anywhere.
    theirs: Option<Box<str>>,
}

/// Source of names, ranges and defaults: ELBv2 API, TargetGroupAttribute.
const DAY: u32 = 86_400;
const LONGEST: u32 = 604_800;

impl Sticky {
    /// What the client's cookie says.
    pub(crate) fn mark_of(&self, headers: &HeaderMap) -> Option<u64> {
        let text = fields::cookie(headers, &self.cookie)?;
        u64::from_str_radix(text, 16).ok()
    }

    /// Has the client come back to where this mark leads.
    pub(crate) fn set(&self, headers: &mut HeaderMap, mark: u64, is_tls: bool) {
        let secure = if is_tls { "; Secure" } else { "" };
        let Self { cookie, seconds } = self;
        let text = format!("{cookie}={mark:016x}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}");
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.append(SET_COOKIE, value);
        }
    }
}

impl TargetSticky {
    /// As the attributes of a backend ask for it; the error says what of it cannot be done.
    pub(crate) fn of(backend: &Backend) -> Result<Option<Self>, String> {
        let given = |key: &str| backend.attributes.get(key).map(String::as_str);
        if given("stickiness.enabled") != Some("true") {
            return Ok(None);
        }
        let kind = given("stickiness.type").unwrap_or("lb_cookie");
        let seconds = |key: &str| match given(key) {
            None => Ok(DAY),
            Some(text) => text
                .parse()
                .ok()
                .filter(|seconds| (1..=LONGEST).contains(seconds))
                .ok_or_else(|| {
                    format!("{key} is not from 1 to {LONGEST}: clients are not kept at one target")
                }),
        };
        let (seconds, theirs) = match kind {
            "lb_cookie" => (seconds("stickiness.lb_cookie.duration_seconds")?, None),
            "app_cookie" => {
                let name = given("stickiness.app_cookie.cookie_name").filter(|name| !name.is_empty());
                let name = name.ok_or(
                    "stickiness.app_cookie.cookie_name is missing: clients are not kept at one target",
                )?;
                (
                    seconds("stickiness.app_cookie.duration_seconds")?,
                    Some(name.into()),
                )
            }
            other => {
                return Err(format!(
                    "stickiness.type {other:?} is neither lb_cookie nor app_cookie: clients are not kept at one target"
                ));
            }
        };
        let cookie = format!("portcullis-target-{:016x}", mark(&backend.id)).into();
        Ok(Some(Self {
            ours: Sticky { cookie, seconds },
            theirs,
        }))
    }

    /// Where the client was before.
    pub(crate) fn mark_of(&self, headers: &HeaderMap) -> Option<u64> {
        let carried = |name: &str| fields::cookie(headers, name).is_some();
        if self.theirs.as_deref().is_some_and(|name| !carried(name)) {
            return None;
        }
        self.ours.mark_of(headers)
    }

    /// Has the client come back to the target that gave this answer, if it does not do so anyway.
    pub(crate) fn set(&self, headers: &mut HeaderMap, target: u64, before: Option<u64>, is_tls: bool) {
        let begins = match &self.theirs {
            None => before != Some(target),
            Some(name) => {
                let mut set = headers.get_all(SET_COOKIE).iter();
                set.any(|value| {
                    let rest = value.as_bytes().strip_prefix(name.as_bytes());
                    rest.is_some_and(|rest| rest.starts_with(b"="))
                })
            }
        };
        if begins {
            self.ours.set(headers, target, is_tls);
        }
    }
}
