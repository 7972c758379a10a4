//! A request's credentials in, whether it may pass out. Source: RFC 7617.
//!
//! Passwords are slow to verify on purpose. That is done beside the worker's thread, one at a time; what was verified
//! before is known at once. Whoever is turned away learns nothing of why, not even by how long it took.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use portcullis_model as model;
use portcullis_model::{Code, ObjectName, Problem, Sealed};
use tokio::sync::Semaphore;

use super::htpasswd::{Known, UserList};
use crate::answer::Failure;

/// Requests of a worker that may wait for a password to be verified; others are told to come again.
const WAITING: usize = 64;

/// What keeps verifying within bounds, for a worker.
#[derive(Debug)]
pub(crate) struct Verifying {
    places: Semaphore,
    turn: Semaphore,
}

impl Default for Verifying {
    fn default() -> Self {
        Self {
            places: Semaphore::new(WAITING),
            turn: Semaphore::new(1),
        }
    }
}

#[derive(Debug)]
pub(crate) struct BasicAuth {
    /// The place of its users among the lists of the state.
    pub(crate) list: usize,
    challenge: HeaderValue,
}

impl BasicAuth {
    pub(crate) fn new(asked: &model::BasicAuth, list: usize) -> Option<Self> {
        let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", asked.realm());
        Some(Self {
            list,
            challenge: HeaderValue::try_from(challenge).ok()?,
        })
    }

    /// `users` is none where they cannot be had: then nobody passes.
    pub(crate) async fn admit(
        &self,
        verifying: &Verifying,
        users: Option<&Arc<UserList>>,
        headers: &HeaderMap,
    ) -> Result<(), Failure> {
        let Some(users) = users else {
            let why = "the users of the rule are not known";
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, why));
        };
        let Some((name, password)) = credentials(headers) else {
            return Err(self.refused());
        };
        let (place, is_user) = match users.look(&name, &password) {
            Known::Passes => return Ok(()),
            Known::Unknown { place, is_user } => (place, is_user),
        };
        let busy = || Failure::overloaded("too many passwords wait to be verified");
        let _place = verifying.places.try_acquire().map_err(|_| busy())?;
        let _turn = verifying.turn.acquire().await.map_err(|_| busy())?;
        let (list, asked) = (users.clone(), password.clone());
        let verified = tokio::task::spawn_blocking(move || list.verify(place, &asked)).await;
        let verified = verified.map_err(|_| {
            let why = "a password could not be verified";
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, why)
        })?;
        if verified && is_user {
            users.remember(&name, &password);
            Ok(())
        } else {
            Err(self.refused())
        }
    }

    fn refused(&self) -> Failure {
        let why = "name and password are needed";
        Failure::new(StatusCode::UNAUTHORIZED, why).challenging(self.challenge.clone())
    }
}

/// None in place of users that cannot be had.
pub(crate) type Lists = Box<[Option<Arc<UserList>>]>;

/// The users of each Secret that is asked for, or why there are none. What was read for `previous` goes on where nothing
/// of it has changed, with what was verified since.
pub(crate) fn users(
    asked: &[model::BasicAuth],
    sources: &BTreeMap<ObjectName, Sealed<[u8]>>,
    previous: &[Option<Arc<UserList>>],
) -> (Lists, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut lists = Vec::with_capacity(asked.len());
    for model::BasicAuth { secret, origin, .. } in asked {
        let mut tell = |code, why: String| problems.push(Problem::new(code, origin.clone(), why));
        let Some(source) = sources.get(secret) else {
            let why = format!("there is no Secret {secret} with auth: what relies on its users answers 503");
            tell(Code::SecretNotFound, why);
            lists.push(None);
            continue;
        };
        let before = previous.iter().flatten().find(|list| list.is_of(source));
        let list = match before {
            Some(before) => Ok(before.clone()),
            None => UserList::read(source).map(Arc::new),
        };
        match &list {
            Ok(list) => {
                for fault in &list.faults {
                    tell(Code::SecretInvalid, format!("Secret {secret}, auth, {fault}"));
                }
            }
            Err(why) => {
                let why = format!("Secret {secret}, auth, {why}: what relies on its users answers 503");
                tell(Code::SecretInvalid, why);
            }
        }
        lists.push(list.ok());
    }
    (lists.into(), problems)
}

/// Name and password; none where there is not one pair of them.
fn credentials(headers: &HeaderMap) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, rest) = value.as_bytes().split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = pair.iter().position(|b| *b == b':')?;
    Some((pair[..colon].to_vec(), pair[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_one_name_and_one_password() {
        for (values, want) in [
            (&["Basic YTpi"][..], Some(("a", "b"))),
            (&["basic YTpi"], Some(("a", "b"))),
            (&["Basic  YTpi"], Some(("a", "b"))),
            (&["Basic YTpiOmM="], Some(("a", "b:c"))),
            (&["Basic Og=="], Some(("", ""))),
            (&["Basic YQ=="], None),
            (&["Basic !"], None),
            (&["Basic"], None),
            (&["Bearer YTpi"], None),
            (&["Basic YTpi", "Basic YTpi"], None),
            (&[], None),
        ] {
            let headers: HeaderMap = values
                .iter()
                .map(|value| (AUTHORIZATION, HeaderValue::from_static(value)))
                .collect();
            let want = want.map(|(name, password): (&str, &str)| (name.into(), password.into()));
            assert_eq!(credentials(&headers), want, "{values:?}");
        }
    }
}
