//! Texts of Kubernetes in, their values or what is wrong with them out: names, times, ports by number or name.

use std::fmt;
use std::sync::Arc;

use portcullis_model::ObjectName;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::Invalid;
use crate::cluster::object::{Kind, PortRef};

/// Which names a kind allows. Source: Kubernetes docs, "Object Names and IDs".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameRule {
    /// RFC 1123 subdomain: at most 253 characters.
    Subdomain,
    /// RFC 1123 label: at most 63 characters.
    Label,
    /// RFC 1035 label: the same, and starts with a letter.
    LetterLabel,
}

impl NameRule {
    fn of(kind: Kind) -> Self {
        match kind {
            Kind::Service => Self::LetterLabel,
            Kind::Namespace => Self::Label,
            Kind::Ingress
            | Kind::IngressClass
            | Kind::ClassParameters
            | Kind::IncumbentParameters
            | Kind::EndpointSlice
            | Kind::Secret
            | Kind::Node
            | Kind::Pod => Self::Subdomain,
        }
    }

    fn check(self, text: &str) -> Result<(), String> {
        let (longest, what) = match self {
            Self::Subdomain => (253, "lower-case letters, digits, '-' and '.'"),
            Self::Label => (63, "lower-case letters, digits and '-'"),
            Self::LetterLabel => (63, "lower-case letters, digits and '-', starting with a letter"),
        };
        if text.len() > longest {
            return Err(format!(
                "is {} characters long; at most {longest} are allowed",
                text.len()
            ));
        }
        let right = match self {
            Self::Subdomain => text.split('.').all(is_label),
            Self::Label => is_label(text),
            Self::LetterLabel => is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase()),
        };
        if right {
            Ok(())
        } else {
            Err(format!(
                "{text:?} is no name of {what}, beginning and ending with a letter or digit"
            ))
        }
    }
}

fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

pub(super) fn validate_name(kind: Kind, name: &ObjectName) -> Result<(), Invalid> {
    NameRule::of(kind)
        .check(&name.name)
        .map_err(|message| Invalid::new("metadata.name", message))?;
    if kind.is_namespaced() {
        NameRule::Label
            .check(&name.namespace)
            .map_err(|message| Invalid::new("metadata.namespace", message))?;
    }
    Ok(())
}

/// Seconds since 1970 of a time as in RFC 3339, such as `2026-11-24T12:00:00Z` or `2026-11-24T13:00:00.5+01:00`.
pub(super) fn seconds(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let (time, offset) = match time.strip_suffix(['Z', 'z']) {
        Some(time) => (time, 0),
        None => {
            let (time, sign, offset) = match (time.rsplit_once('+'), time.rsplit_once('-')) {
                (Some((time, offset)), _) => (time, 1, offset),
                (None, Some((time, offset))) => (time, -1, offset),
                (None, None) => return None,
            };
            let (hours, minutes) = offset.split_once(':')?;
            (
                time,
                sign * (number(hours, 0..=23)? * 3600 + number(minutes, 0..=59)? * 60),
            )
        }
    };
    let whole = match time.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit()) => {
            whole
        }
        Some(_) => return None,
        None => time,
    };
    let [year, month, day] = parts(date, '-')?;
    let [hour, minute, second] = parts(whole, ':')?;
    if year.len() != 4 {
        return None;
    }
    let days = days(
        number(year, 0..=9999)?,
        number(month, 1..=12)?,
        number(day, 1..=31)?,
    );
    let clock = number(hour, 0..=23)? * 3600 + number(minute, 0..=59)? * 60 + number(second, 0..=60)?;
    Some(days * 86_400 + clock - offset)
}

fn parts(text: &str, separator: char) -> Option<[&str; 3]> {
    let mut parts = text.split(separator);
    let all = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(all)
}

fn number(text: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|number| range.contains(number))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar; years count from March, so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // (153 m + 2) / 5 is the number of days from March 1st to the first day of the m-th month after March.
    let of_year = (153 * month + 2) / 5 + day - 1;
    // Day 719,468 after 0000-03-01 is 1970-01-01.
    year * 365 + leaps + of_year - 719_468
}

/// `IntOrString`.
impl<'de> Deserialize<'de> for PortRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl Visitor<'_> for Either {
            type Value = PortRef;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a port number or the name of a port")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<PortRef, E> {
                Ok(PortRef::Number(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<PortRef, E> {
                i64::try_from(number).map(PortRef::Number).map_err(E::custom)
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<PortRef, E> {
                Ok(PortRef::Name(Arc::from(name)))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_since_1970() {
        for (text, want) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1969-12-31T23:59:59Z", Some(-1)),
            ("2000-02-29T00:00:00Z", Some(951_782_400)),
            ("2000-03-01T00:00:00Z", Some(951_868_800)),
            ("2026-11-24T12:00:00Z", Some(1_795_521_600)),
            ("2026-11-24T13:00:00.5+01:00", Some(1_795_521_600)),
            ("2026-11-24T04:30:00-07:30", Some(1_795_521_600)),
            ("2026-11-24", None),
            ("2026-11-24T12:00:00", None),
            ("2026-13-24T12:00:00Z", None),
            ("2026-11-24T+1:00:00Z", None),
            ("26-11-24T12:00:00Z", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
    }

    #[test]
    fn a_name_follows_the_rule_of_its_kind() {
        let at_limit = "a".repeat(253);
        let too_long = "a".repeat(254);
        let label = "a".repeat(63);
        let long_label = "a".repeat(64);
        for (kind, name, ok) in [
            (Kind::Ingress, "web", true),
            (Kind::Ingress, "1.web-a.b", true),
            (Kind::Ingress, at_limit.as_str(), true),
            (Kind::Ingress, too_long.as_str(), false),
            (Kind::Ingress, "Web", false),
            (Kind::Ingress, "web_a", false),
            (Kind::Ingress, "-web", false),
            (Kind::Ingress, "web-", false),
            (Kind::Ingress, "a..b", false),
            (Kind::Ingress, "a/b", false),
            (Kind::Service, "web", true),
            (Kind::Service, "1web", false),
            (Kind::Service, "we.b", false),
            (Kind::Service, label.as_str(), true),
            (Kind::Service, long_label.as_str(), false),
        ] {
            let checked = validate_name(kind, &ObjectName::new("shop", name));
            assert_eq!(checked.is_ok(), ok, "{} {name}: {checked:?}", kind.as_str());
        }
        for (namespace, ok) in [
            ("shop", true),
            ("1shop", true),
            ("shop.a", false),
            (&long_label, false),
        ] {
            let checked = validate_name(Kind::Pod, &ObjectName::new(namespace, "web"));
            assert_eq!(checked.is_ok(), ok, "{namespace}: {checked:?}");
        }
    }
}
