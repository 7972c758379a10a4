//! Texts in, the same sealed for a client of a provider out; and back, where nobody has touched them.
//!
//! The keys come from the client's secret, so every replica opens what another has sealed, a new process what the one
//! before has, and nothing has to be kept. That is sound where the secret cannot be guessed, as it must not be (RFC
//! 6749 §10.10). Another secret ends all sessions. Each day has its own key, which bounds what one key seals; and so
//! has each purpose, host and setting, so that nothing opens where it was not meant for.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Seconds a key seals for.
const DAY: i64 = 86_400;
/// Days until a key opens nothing any more: the longest session, and the day it began on.
const OLDEST: i64 = 8;

/// Characters at the head of a mark that tell settings, whatever the secret.
pub(crate) const SETTINGS: usize = 16;
/// Bytes of each half of a mark. Their text has no rest, so that the halves can be told apart in it.
const HALF: usize = SETTINGS / 4 * 3;
/// Where keys have their day; no day is so far away.
const NAME: &[u8; 4] = b"name";

/// See [`Sealer::name`].
pub(crate) type Name = [u8; SHA256_OUTPUT_LEN];

/// What a text is sealed for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Session,
    /// A login under way, as the browser keeps it, and as the provider passes it on.
    Login,
    State,
}

impl Purpose {
    fn name(self) -> &'static [u8] {
        match self {
            Self::Session => b"session",
            Self::Login => b"login",
            Self::State => b"state",
        }
    }
}

/// Seals for one client of one provider.
pub(crate) struct Sealer {
    secret: Prk,
    /// Of all that a session is good for.
    binding: [u8; SHA256_OUTPUT_LEN],
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Sealer {
    /// `binding` are the settings that a session is good for.
    pub(crate) fn new<'a>(secret: &str, binding: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            secret: Salt::new(HKDF_SHA256, b"portcullis oidc 1").extract(secret.as_bytes()),
            binding: bound(binding),
        }
    }

    /// A name for what it seals for and these texts, which nobody can make without the secret. None as in `seal`.
    pub(crate) fn name<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Option<Name> {
        let info = [&self.binding[..], NAME, &bound(texts)];
        let mut name = [0; SHA256_OUTPUT_LEN];
        let length = Length(name.len());
        self.secret.expand(&info, length).ok()?.fill(&mut name).ok()?;
        Some(name)
    }

    /// A name for the client, its secret, the settings that a session is good for, and this one, which says nothing of
    /// them. A secret that can be guessed is found by it no more than by what is sealed and stands beside it. None as in
    /// `seal`.
    pub(crate) fn mark(&self, setting: &str) -> Option<String> {
        let (settings, all) = (&self.binding[..HALF], self.name(["mark", setting])?);
        Some(URL_SAFE_NO_PAD.encode([settings, &all[..HALF]].concat()))
    }

    /// `now` is in seconds since 1970. None where the library of cryptography refuses, as it never should.
    pub(crate) fn seal(&self, purpose: Purpose, host: &str, now: i64, text: &[u8]) -> Option<String> {
        let day = u32::try_from(now / DAY).ok()?;
        let mut sealed = text.to_vec();
        let key = self.key(purpose, host, day)?;
        let nonce = key.seal_in_place_append_tag(Aad::empty(), &mut sealed).ok()?;
        let parts = [&day.to_be_bytes()[..], nonce.as_ref(), &sealed];
        Some(URL_SAFE_NO_PAD.encode(parts.concat()))
    }

    pub(crate) fn open(&self, purpose: Purpose, host: &str, now: i64, text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (day, rest) = bytes.split_first_chunk()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let day = u32::from_be_bytes(*day);
        if !(-1..=OLDEST).contains(&(now / DAY - i64::from(day))) {
            return None;
        }
        let key = self.key(purpose, host, day)?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = key.open_in_place(nonce, Aad::empty(), &mut sealed).ok()?.len();
        sealed.truncate(length);
        Some(sealed)
    }

    fn key(&self, purpose: Purpose, host: &str, day: u32) -> Option<RandomizedNonceKey> {
        // All but the host are of one length, or none starts as another.
        let day = day.to_be_bytes();
        let info = [&self.binding[..], &day, purpose.name(), host.as_bytes()];
        let mut key = [0; 32];
        let length = Length(key.len());
        self.secret.expand(&info, length).ok()?.fill(&mut key).ok()?;
        RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
    }
}

fn bound<'a>(parts: impl IntoIterator<Item = &'a str>) -> [u8; SHA256_OUTPUT_LEN] {
    let mut text = Vec::new();
    for part in parts {
        // With its length, so that no two lists of parts are the same text.
        text.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        text.extend_from_slice(part.as_bytes());
    }
    let mut bound = [0; SHA256_OUTPUT_LEN];
    bound.copy_from_slice(digest(&SHA256, &text).as_ref());
    bound
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_for_the_same_opens() {
        let own = Sealer::new("secret", ["issuer", "client"]);
        let sealed = own.seal(Purpose::Session, "a.com", 100 * DAY, b"text").unwrap();
        let again = Sealer::new("secret", ["issuer", "client"]);
        let days = |days: i64| (100 + days) * DAY;
        for (name, sealer, purpose, host, now, want) in [
            ("the same", &own, Purpose::Session, "a.com", days(0), true),
            (
                "another process",
                &again,
                Purpose::Session,
                "a.com",
                days(0),
                true,
            ),
            ("a clock behind", &own, Purpose::Session, "a.com", days(-1), true),
            ("at the end", &own, Purpose::Session, "a.com", days(8), true),
            ("too old", &own, Purpose::Session, "a.com", days(9), false),
            ("of tomorrow", &own, Purpose::Session, "a.com", days(-2), false),
            ("another purpose", &own, Purpose::State, "a.com", days(0), false),
            ("another host", &own, Purpose::Session, "b.com", days(0), false),
            (
                "another secret",
                &Sealer::new("secreT", ["issuer", "client"]),
                Purpose::Session,
                "a.com",
                days(0),
                false,
            ),
            (
                "other settings",
                &Sealer::new("secret", ["issue", "rclient"]),
                Purpose::Session,
                "a.com",
                days(0),
                false,
            ),
        ] {
            let opened = sealer.open(purpose, host, now, &sealed);
            assert_eq!(opened.as_deref(), want.then_some(&b"text"[..]), "{name}");
        }
        let bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        for place in 0..bytes.len() {
            let mut touched = bytes.clone();
            touched[place] ^= 1;
            let touched = URL_SAFE_NO_PAD.encode(touched);
            assert_eq!(
                own.open(Purpose::Session, "a.com", days(0), &touched),
                None,
                "{place}"
            );
        }
        for text in ["", "AAAA", &sealed[1..], &sealed[..sealed.len() - 2], "!"] {
            assert_eq!(own.open(Purpose::Session, "a.com", days(0), text), None, "{text}");
        }
        // The same text is never the same when sealed.
        assert_ne!(
            own.seal(Purpose::Session, "a.com", days(0), b"text").unwrap(),
            sealed
        );
    }

    #[test]
    fn marks_differ_where_anything_does_and_begin_alike_where_settings_are() {
        let mark = |secret, binding: [&str; 2], setting| Sealer::new(secret, binding).mark(setting).unwrap();
        let own = mark("secret", ["issuer", "client"], "3600");
        assert_eq!(own.len(), 2 * SETTINGS);
        for (name, other, alike) in [
            (
                "the same",
                mark("secret", ["issuer", "client"], "3600"),
                2 * SETTINGS,
            ),
            (
                "another secret",
                mark("secreT", ["issuer", "client"], "3600"),
                SETTINGS,
            ),
            (
                "another setting",
                mark("secret", ["issuer", "client"], "600"),
                SETTINGS,
            ),
            ("other settings", mark("secret", ["issue", "rclient"], "3600"), 0),
        ] {
            assert_eq!(own[..alike], other[..alike], "{name}");
            assert_eq!(own == other, alike == own.len(), "{name}");
            let differ = own[alike..]
                .chars()
                .zip(other[alike..].chars())
                .filter(|(a, b)| a != b);
            assert_eq!(differ.count() > 8, alike < own.len(), "{name}");
        }
    }
}
