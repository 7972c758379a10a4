//! A sealed session in, the cookies that hold it out; and back. Source: RFC 6265bis.
//!
//! Their names begin with `__Host-`, so that browsers take them from this very host alone, over TLS, for all of it:
//! no neighbour under the same domain can set one. Long ones are split, as an ALB's are.

use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use super::seal::SETTINGS;
use crate::fields;

/// Bytes of a cookie, name and value, that every browser keeps. Source: RFC 6265bis §5.6: 4,096.
const LONGEST: usize = 4_000;

/// Cookies of a session. As many as an ALB has; more would not leave room for others in a head.
const MOST: usize = 4;

/// What stands before a login's mark.
const LOGIN: &str = "login-";

/// Logins under way in one browser; more would not leave room either.
const LOGINS: usize = 8;

/// The cookies of sessions under one name.
#[derive(Debug)]
pub(crate) struct Cookies {
    /// Up to the number.
    name: String,
    /// What a backend that was made for an ALB calls them.
    theirs: String,
}

impl Cookies {
    /// `name` is a token.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: format!("__Host-{name}-"),
            theirs: format!("{name}-"),
        }
    }

    /// What the request carries of a session.
    pub(crate) fn session(&self, headers: &HeaderMap) -> Option<String> {
        let part = |place: usize| fields::cookie(headers, &format!("{}{place}", self.name));
        let first = part(0)?;
        // How many there are, so that none of a longer one before is taken for a part.
        let (count, text) = first.split_at_checked(1)?;
        let count = count.parse().ok().filter(|count| (1..=MOST).contains(count))?;
        let mut session = text.to_owned();
        for place in 1..count {
            session.push_str(part(place)?);
        }
        Some(session)
    }

    /// What has a browser keep the session for so many seconds; none where it is too long.
    pub(crate) fn keep(&self, session: &str, seconds: i64) -> Option<Vec<HeaderValue>> {
        let room = LONGEST
            .checked_sub(self.name.len() + 3)
            .filter(|room| *room > 0)?;
        let count = session.len().div_ceil(room);
        if count > MOST {
            return None;
        }
        let parts = (0..).zip(session.as_bytes().chunks(room)).map(|(place, part)| {
            let count = if place == 0 {
                count.to_string()
            } else {
                String::new()
            };
            self.cookie(
                &place.to_string(),
                &format!("{count}{}", str::from_utf8(part).ok()?),
                seconds,
            )
        });
        parts.collect()
    }

    /// What has a browser forget the session that the request carries.
    pub(crate) fn forget(&self, headers: &HeaderMap) -> Vec<HeaderValue> {
        let carried = (0..MOST).map(|place| place.to_string());
        let carried =
            carried.filter(|place| fields::cookie(headers, &format!("{}{place}", self.name)).is_some());
        carried.filter_map(|place| self.cookie(&place, "", 0)).collect()
    }

    /// What the browser keeps while its user logs in at the login of this mark.
    pub(crate) fn login<'a>(&self, headers: &'a HeaderMap, mark: &str) -> Option<&'a str> {
        fields::cookie(headers, &format!("{}{LOGIN}{}", self.name, short(mark)))
    }

    /// Has a browser keep it, or forget it after 0 seconds.
    pub(crate) fn keep_login(&self, mark: &str, value: &str, seconds: i64) -> Option<HeaderValue> {
        self.cookie(&format!("{LOGIN}{}", short(mark)), value, seconds)
    }

    /// What has a browser forget the logins that the request carries and that would be too many beside this one: those that
    /// began first, which browsers name first. Source: RFC 6265bis §5.8.3.
    pub(crate) fn forget_logins(&self, headers: &HeaderMap, mark: &str) -> Vec<HeaderValue> {
        let of = |pair| place_of(pair, &self.name).filter(|place| is_login(place));
        let places = pairs(headers)
            .filter_map(of)
            .filter_map(|place| str::from_utf8(place).ok());
        let others: Vec<&str> = places.filter(|place| !place.ends_with(short(mark))).collect();
        let surplus = others.len().saturating_sub(LOGINS - 1);
        let forgotten = others.into_iter().take(surplus);
        forgotten.filter_map(|place| self.cookie(place, "", 0)).collect()
    }

    fn cookie(&self, place: &str, value: &str, seconds: i64) -> Option<HeaderValue> {
        let name = &self.name;
        let text =
            format!("{name}{place}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
        let mut value = HeaderValue::try_from(text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Whether a request carries any.
    pub(crate) fn are_in(&self, headers: &HeaderMap) -> bool {
        pairs(headers).any(|pair| is_of(pair, &self.name))
    }

    /// Takes them out of what the backend is to see.
    pub(crate) fn strip(&self, headers: &mut HeaderMap) {
        if !self.are_in(headers) {
            return;
        }
        let rest: Vec<&[u8]> = pairs(headers).filter(|pair| !is_of(pair, &self.name)).collect();
        match HeaderValue::from_bytes(&rest.join(&b"; "[..])) {
            Ok(rest) if !rest.is_empty() => headers.insert(COOKIE, rest),
            Ok(_) | Err(_) => headers.remove(COOKIE),
        };
    }

    /// Whether a backend ends the session, as one that was made for an ALB does: by a cookie of the ALB's name. That
    /// cookie is taken out.
    pub(crate) fn is_ended(&self, headers: &mut HeaderMap) -> bool {
        let is_theirs = |value: &HeaderValue| is_of(value.as_bytes(), &self.theirs);
        if !headers.get_all(SET_COOKIE).iter().any(is_theirs) {
            return false;
        }
        let all = headers.get_all(SET_COOKIE).iter();
        let rest: Vec<HeaderValue> = all.filter(|value| !is_theirs(value)).cloned().collect();
        headers.remove(SET_COOKIE);
        for value in rest {
            headers.append(SET_COOKIE, value);
        }
        true
    }
}

/// The cookies of a request; bytes, so that one that is no text hides no other.
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let values = headers.get_all(COOKIE).iter();
    let pairs = values.flat_map(|value| value.as_bytes().split(|b| *b == b';'));
    pairs.map(<[u8]>::trim_ascii)
}

/// Whether a cookie is one of a session's: the name, and its number or what a login is kept by.
fn is_of(cookie: &[u8], name: &str) -> bool {
    let is_number = |place: &[u8]| !place.is_empty() && place.iter().all(u8::is_ascii_digit);
    place_of(cookie, name).is_some_and(|place| is_number(place) || is_login(place))
}

/// What stands behind the name of a session's cookies.
fn place_of<'a>(cookie: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = cookie.strip_prefix(name.as_bytes())?;
    rest.split(|b| *b == b'=').next()
}

fn is_login(place: &[u8]) -> bool {
    let mark = place.strip_prefix(LOGIN.as_bytes());
    mark.is_some_and(|mark| mark.len() == SETTINGS && mark.iter().all(|b| is_of_mark(*b)))
}

fn is_of_mark(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

/// The half of a mark that no two logins share.
fn short(mark: &str) -> &str {
    mark.get(SETTINGS..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carrying(values: &[HeaderValue]) -> HeaderMap {
        let pairs = values.iter().map(|value| {
            let text = value.to_str().unwrap();
            text.split(';').next().unwrap().to_owned()
        });
        let pairs: Vec<String> = pairs.collect();
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::try_from(pairs.join("; ")).unwrap());
        headers
    }

    #[test]
    fn a_long_session_is_split_and_put_together() {
        let cookies = Cookies::new("shop");
        for (length, count) in [(1, 1), (3_000, 1), (4_100, 2), (15_000, 4)] {
            let session = "s".repeat(length);
            let kept = cookies.keep(&session, 60).unwrap();
            assert_eq!(kept.len(), count, "{length}");
            for value in &kept {
                let text = value.to_str().unwrap();
                let (pair, attributes) = text.split_once("; ").unwrap();
                assert!(
                    pair.len() <= 4_096 && pair.starts_with("__Host-shop-"),
                    "{}",
                    pair.len()
                );
                assert_eq!(attributes, "Path=/; Max-Age=60; Secure; HttpOnly; SameSite=Lax");
            }
            let headers = carrying(&kept);
            assert_eq!(cookies.session(&headers), Some(session), "{length}");
            assert_eq!(cookies.forget(&headers).len(), count);
            assert_eq!(Cookies::new("shop2").session(&headers), None);
            // The last part of what is missing one is not made up.
            let cut = cookies.session(&carrying(&kept[..count - 1]));
            assert_eq!(cut, None, "{length}");
        }
        assert_eq!(cookies.keep(&"s".repeat(16_001), 60), None);
        // What is left of a longer one is no part of a shorter one.
        let (mut all, long) = (
            cookies.keep("short", 60).unwrap(),
            cookies.keep(&"s".repeat(9_000), 60).unwrap(),
        );
        all.extend_from_slice(&long[1..]);
        assert_eq!(cookies.session(&carrying(&all)).as_deref(), Some("short"));
    }

    #[test]
    fn a_browser_keeps_the_last_logins_alone() {
        let cookies = Cookies::new("shop");
        let mark = |number: usize| format!("{:016}{number:016}", 7);
        let kept = |number| cookies.keep_login(&mark(number), "secret", 900).unwrap();
        let named = |number: usize| format!("__Host-shop-login-{number:016}=; Path=/; Max-Age=0");
        for (carried, begins, want) in [
            (0..7, 7, &[][..]),
            (0..8, 7, &[]),
            (0..8, 8, &[0]),
            (0..10, 3, &[0, 1]),
        ] {
            let headers = carrying(&carried.clone().map(kept).collect::<Vec<_>>());
            let forgotten = cookies.forget_logins(&headers, &mark(begins));
            let starts = |(value, number): (&HeaderValue, &usize)| {
                value.to_str().unwrap().starts_with(&named(*number))
            };
            assert_eq!(forgotten.len(), want.len(), "{carried:?} {begins}");
            assert!(forgotten.iter().zip(want).all(starts), "{carried:?} {begins}");
            for number in carried {
                assert_eq!(cookies.login(&headers, &mark(number)), Some("secret"));
            }
            assert_eq!(cookies.login(&headers, &mark(99)), None);
        }
    }

    #[test]
    fn backends_see_none_of_it_and_may_end_it() {
        let cookies = Cookies::new("shop");
        for (given, want) in [
            (&["a=1; __Host-shop-0=x; b=2"][..], &["a=1; b=2"][..]),
            (
                &["a=1", "__Host-shop-login-0123456789abcd-_=x", "b=2"],
                &["a=1; b=2"],
            ),
            (&["__Host-shop-login-cart=1"], &["__Host-shop-login-cart=1"]),
            (&["__Host-shop-0=x;__Host-shop-1=y"], &[]),
            (&["a=1;b=2", "c=3"], &["a=1;b=2", "c=3"]),
            (
                &["shop-0=x; __Host-shop-cart=1"],
                &["shop-0=x; __Host-shop-cart=1"],
            ),
        ] {
            let mut headers = HeaderMap::new();
            for value in given {
                headers.append(COOKIE, HeaderValue::from_static(value));
            }
            cookies.strip(&mut headers);
            let got: Vec<&str> = headers
                .get_all(COOKIE)
                .iter()
                .map(|v| v.to_str().unwrap())
                .collect();
            assert_eq!(got, want, "{given:?}");
        }
        for (given, is_ended) in [
            (&["a=1", "shop-0=; Max-Age=0"][..], true),
            (&["a=1", "shopping-0=x"], false),
            (&["a=1", "shop-cart=x"], false),
            (&["a=1"], false),
        ] {
            let mut headers = HeaderMap::new();
            for value in given {
                headers.append(SET_COOKIE, HeaderValue::from_static(value));
            }
            assert_eq!(cookies.is_ended(&mut headers), is_ended, "{given:?}");
            assert_eq!(
                headers.get_all(SET_COOKIE).iter().count(),
                given.len() - usize::from(is_ended)
            );
        }
    }
}
