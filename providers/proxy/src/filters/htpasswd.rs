//! Lines as `htpasswd` writes them in, whether a name and a password are among them out.
//!
//! Known are bcrypt, Apache's MD5 (`$apr1$`) and `{SHA}`. Whoever has another, or none, gets in with no password. Source:
//! Apache HTTP Server, "Password Formats".

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use portcullis_model::Sealed;

/// A higher cost takes a second and more, in which others wait.
const MOST_COST: u32 = 14;
/// Longest name and password, in bytes: MD5 reads both a thousand times.
const LONGEST: usize = 256;

/// The users of a Secret.
pub(crate) struct UserList {
    /// What they were read from.
    source: Sealed<[u8]>,
    users: HashMap<Box<[u8]>, User>,
    /// The hashes once more, by place: one of them is tried for whoever is no user.
    hashes: Vec<Hash>,
    /// Of this process alone: what was proved is remembered by what it makes of it.
    key: hmac::Key,
    /// What of the lines cannot be used, without what they say.
    pub(crate) faults: Vec<String>,
}

struct User {
    place: usize,
    /// The name and password that passed before.
    proved: OnceLock<hmac::Tag>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hash {
    Bcrypt(Box<str>),
    Apr1 { salt: Box<str>, sum: Box<str> },
    Sha1(Box<[u8]>),
}

impl fmt::Debug for UserList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserList")
            .field("users", &self.users.len())
            .finish_non_exhaustive()
    }
}

/// What is known of a name and a password at once.
pub(crate) enum Known {
    /// They passed before.
    Passes,
    /// To be asked of [`UserList::verify`]: by this hash, which counts only for a user.
    Unknown { place: usize, is_user: bool },
}

impl UserList {
    /// None where there is no user that can be let in, or no randomness.
    pub(crate) fn read(source: &Sealed<[u8]>) -> Result<Self, String> {
        let mut users = HashMap::new();
        let mut hashes = Vec::new();
        let mut faults = Vec::new();
        for (line, number) in source.reveal().split(|b| *b == b'\n').zip(1..) {
            let line = line.trim_ascii();
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            let mut fault = |why: &str| faults.push(format!("line {number}: {why}"));
            let Some(colon) = line.iter().position(|b| *b == b':') else {
                fault("there is no colon behind a name");
                continue;
            };
            let (name, hash) = (&line[..colon], &line[colon + 1..]);
            let hash = match std::str::from_utf8(hash).map_err(|_| OTHER).and_then(Hash::parse) {
                Ok(hash) => hash,
                Err(why) => {
                    fault(why);
                    continue;
                }
            };
            match users.entry(name.into()) {
                // Apache takes the first, too.
                Entry::Occupied(_) => fault("the name has an earlier line, which counts"),
                Entry::Vacant(vacant) => {
                    vacant.insert(User {
                        place: hashes.len(),
                        proved: OnceLock::new(),
                    });
                    hashes.push(hash);
                }
            }
        }
        if users.is_empty() {
            faults.push("there is no user whose password can be verified".to_owned());
            return Err(faults.join("; "));
        }
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Ok(Self {
            source: source.clone(),
            users,
            hashes,
            key: key.map_err(|_| "the machine has no randomness".to_owned())?,
            faults,
        })
    }

    /// Whether it was read from this.
    pub(crate) fn is_of(&self, source: &Sealed<[u8]>) -> bool {
        self.source == *source
    }

    /// Takes as long for whoever is no user as for one with a wrong password: until [`UserList::verify`] has answered,
    /// nothing is known of either.
    pub(crate) fn look(&self, name: &[u8], password: &[u8]) -> Known {
        let tag = self.tag(name, password);
        let user = self.users.get(name);
        if let Some(before) = user.and_then(|user| user.proved.get())
            && verify_slices_are_equal(before.as_ref(), tag.as_ref()).is_ok()
        {
            return Known::Passes;
        }
        // By name, so that the same stranger is always answered in the same time.
        let other = hmac::sign(&self.key, name);
        let other = other
            .as_ref()
            .iter()
            .fold(0, |sum, byte| sum * 31 % 65_521 + usize::from(*byte));
        Known::Unknown {
            place: user.map_or(other % self.hashes.len(), |user| user.place),
            is_user: user.is_some(),
        }
    }

    /// Whether the password is that of the hash; takes long.
    pub(crate) fn verify(&self, place: usize, password: &[u8]) -> bool {
        let fits = password.len() <= LONGEST && !password.contains(&0);
        self.hashes
            .get(place)
            .is_some_and(|hash| fits && hash.verify(password))
    }

    /// Remembers a name and a password that were verified.
    pub(crate) fn remember(&self, name: &[u8], password: &[u8]) {
        if let Some(user) = self.users.get(name) {
            // Whoever was first with it.
            let _ = user.proved.set(self.tag(name, password));
        }
    }

    fn tag(&self, name: &[u8], password: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [name, b":", password] {
            context.update(part);
        }
        context.sign()
    }
}

const OTHER: &str = "the password is neither bcrypt, $apr1$ nor {SHA}: nobody gets in with it";

impl Hash {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if let Some(rest) = ["$2y$", "$2b$", "$2a$"]
            .iter()
            .find_map(|start| text.strip_prefix(start))
        {
            let cost = rest.split('$').next().and_then(|cost| cost.parse::<u32>().ok());
            let parts: Result<bcrypt::HashParts, _> = text.parse();
            return match (cost, parts) {
                (Some(cost), Ok(_)) if (4..=MOST_COST).contains(&cost) => Ok(Self::Bcrypt(text.into())),
                (Some(_), Ok(_)) => Err("bcrypt's cost is not from 4 to 14"),
                (None, _) | (_, Err(_)) => Err("the bcrypt hash is malformed"),
            };
        }
        if let Some(rest) = text.strip_prefix("$apr1$") {
            return match rest.split_once('$') {
                Some((salt, sum)) if salt.len() <= 8 && sum.len() == 22 => Ok(Self::Apr1 {
                    salt: salt.into(),
                    sum: sum.into(),
                }),
                _ => Err("the $apr1$ hash is malformed"),
            };
        }
        if let Some(rest) = text.strip_prefix("{SHA}") {
            return match STANDARD.decode(rest) {
                Ok(sum) if sum.len() == 20 => Ok(Self::Sha1(sum.into())),
                _ => Err("the {SHA} hash is malformed"),
            };
        }
        Err(OTHER)
    }

    fn verify(&self, password: &[u8]) -> bool {
        match self {
            // Compares in constant time.
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Apr1 { salt, sum } => {
                let own = apr1(password, salt.as_bytes());
                verify_slices_are_equal(own.as_bytes(), sum.as_bytes()).is_ok()
            }
            Self::Sha1(sum) => {
                let own = digest(&SHA1_FOR_LEGACY_USE_ONLY, password);
                verify_slices_are_equal(own.as_ref(), sum).is_ok()
            }
        }
    }
}

/// Apache's MD5, a variant of FreeBSD's: a thousand rounds over password, salt and the sum before.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    let sum = |parts: &[&[u8]]| -> [u8; 16] {
        let mut hasher = Md5::new();
        for part in parts {
            hasher.update(part);
        }
        hasher.finalize().into()
    };
    let inner = sum(&[password, salt, password]);
    let mut first: Vec<u8> = [password, b"$apr1$", salt].concat();
    first.extend(inner.iter().cycle().take(password.len()));
    let mut length = password.len();
    while length > 0 {
        first.push(if length & 1 == 1 { 0 } else { password[0] });
        length >>= 1;
    }
    let mut last = sum(&[&first]);
    for round in 0..1000 {
        let (odd, even) = match round % 2 {
            1 => (password, &last[..]),
            _ => (&last[..], password),
        };
        let salt = if round % 3 == 0 { &[][..] } else { salt };
        let again = if round % 7 == 0 { &[][..] } else { password };
        last = sum(&[odd, salt, again, even]);
    }
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = String::with_capacity(22);
    let mut put = |bytes: [u8; 3], count: usize| {
        let mut bits = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        for _ in 0..count {
            out.push(char::from(DIGITS[usize::from(bits.to_le_bytes()[0] & 63)]));
            bits >>= 6;
        }
    };
    for [a, b, c] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        put([last[a], last[b], last[c]], 4);
    }
    put([0, 0, last[11]], 2);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<UserList, String> {
        UserList::read(&Sealed::new(text.as_bytes()))
    }

    fn passes(list: &UserList, name: &str, password: &str) -> bool {
        match list.look(name.as_bytes(), password.as_bytes()) {
            Known::Passes => true,
            Known::Unknown { place, is_user } => list.verify(place, password.as_bytes()) && is_user,
        }
    }

    #[test]
    fn apaches_md5_is_what_openssl_makes_of_it() {
        for (password, salt, want) in [
            ("password", "RandSalt", "PgCXHRrkpSt4cbyC2C6bm/"),
            (
                "much longer than sixteen bytes, indeed",
                "ab",
                "8iYOp71QRih4oWuMRgIRG.",
            ),
            ("", "12345678", "sHuPAw7VA9xjRbJz7zKV7/"),
        ] {
            assert_eq!(apr1(password.as_bytes(), salt.as_bytes()), want, "{password}");
        }
    }

    #[test]
    fn a_user_passes_by_the_password_of_the_line() {
        let hashed = bcrypt::hash_with_salt("open sesame", 4, [7; 16]).unwrap();
        let bcrypt = hashed.format_for_version(bcrypt::Version::TwoY);
        let text = format!(
            "# users\nann:{bcrypt}\r\n\nbob:$apr1$RandSalt$PgCXHRrkpSt4cbyC2C6bm/\ncid:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"
        );
        let list = list(&text).unwrap();
        assert_eq!(list.faults, Vec::<String>::new());
        for (name, password, want) in [
            ("ann", "open sesame", true),
            ("ann", "open sesam", false),
            ("ann", "", false),
            ("bob", "password", true),
            ("bob", "Password", false),
            ("cid", "password", true),
            ("cid", "password\0", false),
            ("dan", "password", false),
            ("dan", "open sesame", false),
            ("", "password", false),
            ("# users", "", false),
        ] {
            assert_eq!(passes(&list, name, password), want, "{name} {password:?}");
        }
        // Remembered, and nothing beside it.
        list.remember(b"bob", b"password");
        assert!(matches!(list.look(b"bob", b"password"), Known::Passes));
        for (name, password) in [
            ("bob", "passwor"),
            ("bob", "x"),
            ("ann", "password"),
            ("bo", "b:password"),
        ] {
            let known = list.look(name.as_bytes(), password.as_bytes());
            assert!(matches!(known, Known::Unknown { .. }), "{name} {password}");
        }
    }

    #[test]
    fn what_cannot_be_verified_lets_nobody_in_and_is_told_without_what_it_says() {
        let good = "bob:$apr1$RandSalt$PgCXHRrkpSt4cbyC2C6bm/";
        for (line, fault) in [
            ("eve:hunter2", "neither bcrypt"),
            ("eve:", "neither bcrypt"),
            ("eve:rqXexS6ZhobKA", "neither bcrypt"), // crypt(3)
            ("eve:$6$salt$sum", "neither bcrypt"),
            ("eve:$apr1$RandSalt$short", "malformed"),
            ("eve:{SHA}hunter2", "malformed"),
            (
                "eve:$2y$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
                "cost",
            ),
            ("eve:$2y$05$short", "malformed"),
            ("hunter2", "no colon"),
            ("bob:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", "earlier line"),
        ] {
            let list = list(&format!("{good}\n{line}")).unwrap();
            assert_eq!(list.faults.len(), 1, "{line}");
            assert!(list.faults[0].starts_with("line 2: "), "{:?}", list.faults);
            assert!(list.faults[0].contains(fault), "{line}: {:?}", list.faults);
            assert!(!list.faults[0].contains("hunter2"), "{line}: {:?}", list.faults);
            for password in ["hunter2", "", "$6$salt$sum"] {
                assert!(!passes(&list, "eve", password), "{line} {password:?}");
            }
        }
        for text in ["", "\n# nobody\n", "eve:hunter2"] {
            assert!(list(text).is_err(), "{text:?}");
        }
    }
}
