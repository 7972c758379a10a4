//! A request's credentials in, whether it may pass out. Source: RFC 7617.
//!
//! Passwords are slow to verify on purpose. That is done beside the worker's thread, one at a time, whoever leaves
//! meanwhile; what was verified before is known at once. Whoever is turned away learns nothing of why, not even by how long it took.

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

/// Passwords that a worker may have to verify, the one that it is at included; who brings more is told to come again.
const WAITING: usize = 64;

/// What keeps verifying within bounds, for a worker.
#[derive(Debug)]
pub(crate) struct Verifying {
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Default for Verifying {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(WAITING)),
            turn: Arc::new(Semaphore::new(1)),
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
        let (hash, is_user) = match users.look(&name, &password) {
            Known::Passes => return Ok(()),
            Known::Unknown { place, is_user } => (place, is_user),
        };
        let busy = || Failure::overloaded("too many passwords wait to be verified");
        let (places, turn) = (verifying.places.clone(), verifying.turn.clone());
        let place = places.try_acquire_owned().map_err(|_| busy())?;
        let turn = turn.acquire_owned().await.map_err(|_| busy())?;
        let (list, asked) = (users.clone(), password.clone());
        let verified = tokio::task::spawn_blocking(move || {
            // It goes on though its client leaves, who could else have as many verified at once as it likes.
            let _until_the_end = (place, turn);
            list.verify(hash, &asked)
        });
        let verified = verified.await;
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
    use std::pin::pin;

    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn who_leaves_makes_room_only_when_its_password_is_verified() {
        let users = Sealed::new(&b"ann:$2y$10$PortcullisPortcullisP.b4mLrEN3IgqJxNGpffTqraf7Wnvt/u."[..]);
        let users = Arc::new(UserList::read(&users).unwrap());
        let origin = model::Origin::new("ingress", ObjectName::new("shop", "web"), "");
        let asked = model::BasicAuth::new(ObjectName::new("shop", "users"), "Shop", origin).unwrap();
        let auth = BasicAuth::new(&asked, 0).unwrap();
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Basic YTpi"))]);
        let verifying = Verifying::default();
        let free = || {
            let Verifying { places, turn } = &verifying;
            (places.available_permits(), turn.available_permits())
        };
        {
            let (first, second) = (
                auth.admit(&verifying, Some(&users), &headers),
                auth.admit(&verifying, Some(&users), &headers),
            );
            let (mut first, mut second) = (pin!(first), pin!(second));
            assert!(poll!(&mut first).is_pending());
            assert!(poll!(&mut second).is_pending());
            assert_eq!(free(), (WAITING - 2, 0));
        }
        assert_eq!(free(), (WAITING - 1, 0), "one is verified still");
        let turn = verifying.turn.acquire().await.unwrap();
        drop(turn);
        assert_eq!(free(), (WAITING, 1));
    }

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
