//! The text of an annotation in, a typed value or why it has none out.
//!
//! Syntax: that of the AWS Load Balancer Controller (Go's `strconv`, escaped string maps).

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// Go's `strconv.ParseBool`.
pub(in crate::translate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

/// A whole number of base 10, within a range.
pub(in crate::translate) fn integer(text: &str, least: i64, most: i64) -> Result<i64, String> {
    match text.parse::<i64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("expected a number from {least} to {most}")),
    }
}

/// Split at commas; blanks around items and empty items are dropped.
pub(in crate::translate) fn list(text: &str) -> Vec<&str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .collect()
}

/// The name of a Secret, which becomes part of a path of the Kubernetes API.
pub(in crate::translate) fn secret_name(text: &str) -> Result<String, String> {
    let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    if !text.is_empty() && text.bytes().all(named) {
        Ok(text.to_owned())
    } else {
        Err(format!("{} is no name of a Secret", shown(text)))
    }
}

/// `key=value,…`; a backslash takes the next character as it is, an empty value is allowed.
pub(in crate::translate) fn map(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut out = BTreeMap::new();
    for item in split_escaped(text, ',') {
        if item.trim().is_empty() {
            continue;
        }
        let mut halves = split_escaped(&item, '=').into_iter();
        let key = unescape(halves.next().unwrap_or_default().trim());
        let rest: Vec<String> = halves.collect();
        if key.is_empty() || rest.is_empty() {
            return Err(format!("expected key=value, got {}", shown(&item)));
        }
        out.insert(key, unescape(rest.join("=").trim()));
    }
    Ok(out)
}

/// Starts of tags that are not a user's to set: AWS's own, and those that say whose a resource is.
const RESERVED_TAGS: [&str; 4] = ["aws:", "elbv2.k8s.aws/", "ingress.k8s.aws/", "portcullis.dev/"];

/// Whether a tag is reserved; the case of letters is AWS's own to ignore.
pub(in crate::translate) fn is_reserved_tag(key: &str) -> bool {
    let starts = |start: &&str| {
        let own = key.get(..start.len());
        own.is_some_and(|own| own.eq_ignore_ascii_case(start))
    };
    RESERVED_TAGS.iter().any(starts)
}

/// Splits at a character that no backslash precedes; backslashes are kept.
fn split_escaped(text: &str, at: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == at && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

/// An address range; without host bits kept, as a firewall reads it. Like Go's `net.ParseCIDR`, and unlike `IpNet`, it
/// takes no address with leading zeros, which are octal to some readers.
pub(in crate::translate) fn range(text: &str) -> Result<IpNet, String> {
    let address = text.split_once('/').map_or("", |(address, _)| address);
    address
        .parse::<IpAddr>()
        .ok()
        .and_then(|_| text.parse::<IpNet>().ok())
        .map(|net| net.trunc())
        .ok_or_else(|| format!("{} is not an address range such as 10.0.0.0/8", shown(text)))
}

/// The id of a prefix list. Source: EC2 API, PrefixListResourceId, as all ids of EC2.
pub(in crate::translate) fn prefix_list(text: &str) -> Result<String, String> {
    text.strip_prefix("pl-")
        .filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
        .map(|_| text.to_owned())
        .ok_or_else(|| {
            format!(
                "{} is not the id of a prefix list, which starts with pl-",
                shown(text)
            )
        })
}

/// A text in a message: quoted, and cut where it is long.
pub(in crate::translate) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_those_of_go() {
        for (text, want) in [
            ("true", Some(true)),
            ("T", Some(true)),
            ("1", Some(true)),
            ("False", Some(false)),
            ("0", Some(false)),
            ("yes", None),
            ("tRue", None),
            ("", None),
            (" true", None),
        ] {
            assert_eq!(boolean(text).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn ranges_are_those_of_go() {
        for (text, want) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("10.0.0.0/08", Some("10.0.0.0/8")),
            ("2001:db8::/32", Some("2001:db8::/32")),
            ("010.0.0.0/8", None),
            ("10.0.00.0/8", None),
            ("::ffff:010.0.0.0/104", None),
            ("10.0.0.0/33", None),
            ("10.0.0.0/+8", None),
            ("10.0.0.0", None),
            ("10.0.0/8", None),
            ("fe80::%eth0/64", None),
            ("/8", None),
        ] {
            let got = range(text).ok().map(|net| net.to_string());
            assert_eq!(got.as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn tags_of_ownership_and_aws_are_reserved() {
        for (key, want) in [
            ("Team", false),
            ("aws:x", true),
            ("AWS:x", true),
            ("awsx", false),
            ("elbv2.k8s.aws/cluster", true),
            ("ingress.k8s.aws/stack", true),
            ("portcullis.dev/namespace", true),
            ("kubernetes.io/cluster/demo", false),
        ] {
            assert_eq!(is_reserved_tag(key), want, "{key}");
        }
    }

    #[test]
    fn prefix_lists_have_ids() {
        for (text, want) in [
            ("pl-0a1b2c", true),
            ("pl-", false),
            ("list", false),
            ("pl-a b", false),
        ] {
            assert_eq!(prefix_list(text).is_ok(), want, "{text:?}");
        }
    }

    #[test]
    fn lists_drop_blanks_and_empty_items() {
        for (text, want) in [
            ("a,,b", vec!["a", "b"]),
            (" a , b ", vec!["a", "b"]),
            ("", vec![]),
            (",", vec![]),
        ] {
            assert_eq!(list(text), want, "{text:?}");
        }
    }

    #[test]
    fn maps_have_escapes_and_empty_values() {
        for (text, want) in [
            ("a=1,b=2", Some(vec![("a", "1"), ("b", "2")])),
            (r"a=1\,2,b=x\=y", Some(vec![("a", "1,2"), ("b", "x=y")])),
            ("a=", Some(vec![("a", "")])),
            ("a=b=c", Some(vec![("a", "b=c")])),
            ("", Some(vec![])),
            ("a", None),
            ("=1", None),
        ] {
            let want = want.map(|pairs| {
                pairs
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v.to_owned()))
                    .collect::<BTreeMap<_, _>>()
            });
            assert_eq!(map(text).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn ranges_are_never_guessed() {
        for (text, want) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("::/0", Some("::/0")),
            ("10.0.0.0", None),
            ("10.0.0.0/33", None),
            ("300.0.0.0/8", None),
            ("any", None),
        ] {
            assert_eq!(
                range(text).ok().map(|net| net.to_string()).as_deref(),
                want,
                "{text:?}"
            );
        }
    }

    #[test]
    fn long_texts_are_cut_in_messages() {
        assert!(shown(&"é".repeat(1 << 20)).len() < 300);
    }
}
