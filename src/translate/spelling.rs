//! Paths as Ingresses write them in, the spelling that clients send out. Rules match paths as they were sent.

use std::borrow::Cow;

use portcullis_model::{ExactPath, PATH_ESCAPED, Semantics, signs};

use super::annotations::value;

/// As it is matched, and what to tell of it, if anything. AWS is asked for what the incumbent asks it for.
pub(super) fn read(path: &str, semantics: Semantics, is_expression: bool) -> (Cow<'_, str>, Option<String>) {
    if is_expression {
        return match semantics {
            Semantics::Kubernetes => (of_expression(path), None),
            Semantics::AwsLoadBalancerController => (path.into(), None),
        };
    }
    let unusual = usual(path).map(|usual| {
        format!(
            "most clients send {} instead, which {} does not take: write that",
            value::shown(&usual),
            value::shown(path)
        )
    });
    let text = match semantics {
        Semantics::Kubernetes => escaped(path),
        Semantics::AwsLoadBalancerController => path.into(),
    };
    (text, unusual)
}

/// With escapes where no client sends the character as it is: browsers and tools encode it, and nginx, which decodes paths
/// before it looks for them, takes `/über` for what they send. Source: URL Standard, "percent-encode sets"; RFC 3987 §3.1.
pub(super) fn escaped(path: &str) -> Cow<'_, str> {
    let is_sent = |byte: u8| byte.is_ascii() && byte != b' ' && !PATH_ESCAPED.as_bytes().contains(&byte);
    match path.bytes().all(is_sent) {
        true => path.into(),
        false => portcullis_model::escaped(path, is_sent).into(),
    }
}

/// The same of an expression, whose own signs stay, and so does what stands between brackets. Behind a backslash a sign is a
/// character like any other.
pub(super) fn of_expression(path: &str) -> Cow<'_, str> {
    let is_sent = |char: char| char.is_ascii() && !" \"<>`".contains(char);
    if path.chars().all(is_sent) && !path.contains('\\') {
        return path.into();
    }
    let mut out = String::with_capacity(path.len() * 2);
    let mut head = 0;
    for sign in signs(path) {
        if sign.is_plain() && sign.char == '(' {
            head = sign.at + head_of_group(&path[sign.at..]);
        }
        if sign.at < head {
            out.push(sign.char);
            continue;
        }
        let is_kept = sign.is_class || !(sign.is_escaped && " \"<>`^{}".contains(sign.char));
        if is_kept && (is_sent(sign.char) || !sign.is_plain()) {
            out.push(sign.char);
            continue;
        }
        if sign.is_escaped {
            // The backslash.
            out.pop();
        }
        let char = portcullis_model::escaped(sign.char.encode_utf8(&mut [0; 4]), |_| false);
        match path[sign.end()..].starts_with(['*', '+', '?', '{']) {
            true => out.extend(["(?:", &char, ")"]),
            false => out.push_str(&char),
        }
    }
    out.into()
}

/// How much of a group says by `<` or `>` what it is, or its name.
fn head_of_group(group: &str) -> usize {
    let asked = group.strip_prefix("(?").unwrap_or_default();
    let asked = asked.strip_prefix('P').unwrap_or(asked);
    let rest = match asked.strip_prefix('<') {
        Some(name) => {
            let rest = name.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
            rest.strip_prefix('>').unwrap_or(name)
        }
        None => match asked.strip_prefix('>') {
            Some(rest) => rest,
            None => return 0,
        },
    };
    group.len() - rest.len()
}

/// The same path as most clients send it, where that is another text: without escapes that nobody needs, and with upper-case
/// digits in the others; `*` stays, which has a meaning where it stands alone. None, too, where that would be no path of a rule. Source: RFC 3986 §3.3 (`pchar`), §6.2.2.
fn usual(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let digits = rest
            .get(1..3)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.map(char::from) {
            Some(char) if char.is_ascii_alphanumeric() || "-._~!$&'()+,;=:@".contains(char) => {
                out.push(char);
            }
            Some(_) => out.push_str(&rest[..3].to_ascii_uppercase()),
            None => out.push('%'),
        }
        rest = &rest[if byte.is_some() { 3 } else { 1 }..];
    }
    out.push_str(rest);
    (out != path && ExactPath::parse(&out).is_ok()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_client_sends_is_escaped() {
        for (path, want) in [
            ("/", "/"),
            ("/a%20b/%c3%bc", "/a%20b/%c3%bc"),
            ("/über/ß", "/%C3%BCber/%C3%9F"),
            ("/€/😀", "/%E2%82%AC/%F0%9F%98%80"),
            ("/my files", "/my%20files"),
            ("/users/{id}", "/users/%7Bid%7D"),
            ("/a\"<b>`^", "/a%22%3Cb%3E%60%5E"),
        ] {
            assert_eq!(escaped(path), want, "{path}");
            assert_eq!(usual(want).is_some(), path == "/a%20b/%c3%bc", "{path}");
        }
    }

    #[test]
    fn an_expression_takes_what_clients_send() {
        for (path, want) in [
            ("/[a-z]{2}/.*", "/[a-z]{2}/.*"),
            ("/über.*", "/%C3%BCber.*"),
            ("/ü+ b?", "/(?:%C3%BC)+%20b?"),
            ("/[äö]ü", "/[äö]%C3%BC"),
            ("/\\ü", "/\\ü"),
            (
                "/(?<n>a<)(?P<m>b)(?>c>)(?<=d)(e<f>)",
                "/(?<n>a%3C)(?P<m>b)(?>c%3E)(?<=d)(e%3Cf%3E)",
            ),
            (r"/users/\{id\}+/.*", "/users/%7Bid(?:%7D)+/.*"),
            (r"/my\ files[\{]\^\.\d\\{2}", r"/my%20files[\{]%5E\.\d\\{2}"),
        ] {
            assert_eq!(of_expression(path), want, "{path}");
        }
    }

    #[test]
    fn the_usual_spelling_has_no_escape_that_nobody_needs() {
        for (path, want) in [
            ("/admin", None),
            ("/a%20b", None),
            ("/%C3%BC", None),
            ("/%61dmin", Some("/admin")),
            ("/a%3Ab%2b", Some("/a:b+")),
            ("/%c3%bc/%5b", Some("/%C3%BC/%5B")),
            ("/%61%zz%6", Some("/a%zz%6")),
            ("/%2A", None),
            ("/%", None),
            ("/%+1", None),
            ("/%é", None),
            ("/100%25/%2561", None),
            // A path of no rule.
            ("/%2e%2e/x", None),
        ] {
            assert_eq!(usual(path).as_deref(), want, "{path}");
        }
    }
}
