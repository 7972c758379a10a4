//! The value of a `transforms.<name>` annotation in, the rewrites of a rule out.

use portcullis_model::{Pattern, Rewrite, RewritePart};
use serde::Deserialize;
use serde_json::Value;

use super::annotations::{json, value};

#[derive(Deserialize)]
struct TransformText {
    #[serde(rename = "type")]
    kind: String,
    urlrewriteconfig: Option<Value>,
    hostheaderrewriteconfig: Option<Value>,
}

#[derive(Deserialize)]
struct RewritesText {
    #[serde(default)]
    rewrites: Vec<RewriteText>,
}

#[derive(Deserialize)]
struct RewriteText {
    regex: String,
    replace: String,
}

/// Most rewrites of a rule: each looks for groups in what clients send. An ALB takes one of the URL and one of the host.
const MOST_REWRITES: usize = 4;
/// In bytes. Source: ELBv2 API, RewriteConfig, `Replace`: at most 1,024 characters.
const LONGEST_REPLACEMENT: usize = 1024;

/// Reads the value of `transforms.<name>`.
pub(super) fn parse(text: &str) -> Result<Vec<Rewrite>, String> {
    let transforms: Option<Vec<TransformText>> = json::read(text)?;
    let mut rewrites = Vec::new();
    for transform in transforms.unwrap_or_default() {
        let (part, config) = match transform.kind.as_str() {
            "url-rewrite" => (RewritePart::Url, transform.urlrewriteconfig),
            "host-header-rewrite" => (RewritePart::Host, transform.hostheaderrewriteconfig),
            other => {
                return Err(format!(
                    "type {} is neither url-rewrite nor host-header-rewrite",
                    value::shown(other)
                ));
            }
        };
        let config = config.ok_or_else(|| format!("the configuration of {} is missing", transform.kind))?;
        let config: RewritesText = json::field(&transform.kind, config)?;
        if config.rewrites.is_empty() {
            return Err(format!("{} has no rewrites", transform.kind));
        }
        for rewrite in config.rewrites {
            if rewrites.len() == MOST_REWRITES {
                return Err(format!("it has more than {MOST_REWRITES} rewrites"));
            }
            if rewrite.replace.len() > LONGEST_REPLACEMENT {
                return Err(format!(
                    "a replacement is longer than {LONGEST_REPLACEMENT} bytes"
                ));
            }
            rewrites.push(Rewrite {
                part,
                pattern: Pattern::parse(&rewrite.regex).map_err(|error| error.to_string())?,
                replacement: rewrite.replace,
            });
        }
    }
    lead_somewhere(&rewrites)?;
    Ok(rewrites)
}

/// Whether the pattern, without anchors, can match only behind the beginning of a URL, which is a slash: it begins with a letter
/// or digit that must be there.
fn is_inside(pattern: &str) -> bool {
    let mut chars = pattern.chars();
    chars.next().is_some_and(char::is_alphanumeric)
        && !chars.next().is_some_and(|next| "*?{|".contains(next))
        && !pattern.contains('|')
}

/// Whether what they make can be a host, or a path with its query, whatever the groups hold: a pattern matches the whole,
/// so the replacement is all there is.
fn lead_somewhere(rewrites: &[Rewrite]) -> Result<(), String> {
    let last_url = rewrites.iter().rfind(|rewrite| rewrite.part == RewritePart::Url);
    for rewrite in rewrites {
        let written = &rewrite.replacement;
        let mut pieces = written.split('$');
        let first = pieces.next().unwrap_or_default();
        // Without the digit of a group; any other `$` stands for itself.
        let rest = pieces.map(|piece| {
            piece
                .strip_prefix(|c: char| ('1'..='9').contains(&c))
                .ok_or(piece)
        });
        let groups_only = rest.clone().all(|piece| piece.is_ok());
        let mut literal = std::iter::once(first)
            .chain(rest.map(|piece| piece.unwrap_or_else(|piece| piece)))
            .flat_map(str::chars);
        let is_good = match rewrite.part {
            RewritePart::Host => {
                groups_only && literal.all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c))
            }
            RewritePart::Url => !literal.any(|c| c.is_control() || c.is_whitespace() || "#<>".contains(c)),
        };
        let begins = match rewrite.part {
            RewritePart::Host => !written.is_empty(),
            // One before may be mended by the next.
            RewritePart::Url if last_url.is_some_and(|last| !std::ptr::eq(last, rewrite)) => true,
            // What comes before a match stays, where patterns have no anchors.
            RewritePart::Url if is_inside(rewrite.pattern.as_str()) => true,
            RewritePart::Url => {
                let group = written.strip_prefix('$').and_then(|rest| rest.chars().next());
                written.starts_with('/') || group.is_some_and(|c| ('1'..='9').contains(&c))
            }
        };
        if !is_good || !begins {
            let what = match rewrite.part {
                RewritePart::Host => "no host",
                RewritePart::Url => "no path, with or without a query",
            };
            return Err(format!("replace {} makes {what}", value::shown(written)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewrite_makes_a_host_or_a_path() {
        for (kind, replace, ok) in [
            ("host-header-rewrite", "b.internal", true),
            ("host-header-rewrite", "$1.internal:8080", true),
            ("host-header-rewrite", "[2001:db8::1]", true),
            ("host-header-rewrite", "$1", true),
            ("host-header-rewrite", "a b\tc", false),
            ("host-header-rewrite", "a/b", false),
            ("host-header-rewrite", "a\r\nX: 1", false),
            ("host-header-rewrite", "$x", false),
            ("host-header-rewrite", "é.com", false),
            ("host-header-rewrite", "", false),
            ("url-rewrite", "/$1", true),
            ("url-rewrite", "$1", true),
            ("url-rewrite", "/a?b=$2&c=$", true),
            ("url-rewrite", "/é", true),
            ("url-rewrite", "a/$1", false),
            ("url-rewrite", "$0/a", false),
            ("url-rewrite", "https://a.com/", false),
            ("url-rewrite", "/a b", false),
            ("url-rewrite", "/$1\n", false),
            ("url-rewrite", "/a#b", false),
            ("url-rewrite", "", false),
        ] {
            let config = match kind {
                "url-rewrite" => "urlRewriteConfig",
                _ => "hostHeaderRewriteConfig",
            };
            let text = serde_json::json!([{
                "type": kind, (config): { "rewrites": [{ "regex": "(.*)", "replace": replace }] },
            }]);
            let read = parse(&text.to_string());
            assert_eq!(read.is_ok(), ok, "{kind} {replace:?}: {read:?}");
        }
        for (count, length, ok) in [(4, 1024, true), (5, 2, false), (1, 1025, false)] {
            let rewrite =
                serde_json::json!({"regex": "(.*)", "replace": format!("/{}", "a".repeat(length - 1))});
            let config = serde_json::json!({"rewrites": vec![rewrite; count]});
            let text = serde_json::json!([{"type": "url-rewrite", "urlRewriteConfig": config}]);
            assert_eq!(parse(&text.to_string()).is_ok(), ok, "{count} of {length}");
        }
        // What is no path yet may be one in the end.
        let text = r#"[{"type":"url-rewrite","urlRewriteConfig":{"rewrites":[
            {"regex":"/a/(.*)","replace":"a/$1"},{"regex":"a/(.*)","replace":"/b/$1"}]}}]"#;
        assert!(parse(text).is_ok());
        // What cannot match the slash at the beginning leaves it, where patterns have no anchors.
        for (regex, ok) in [
            ("old/([a-z]+)", true),
            ("o*/([a-z]+)", false),
            ("old|/([a-z]+)", false),
            (".+/([a-z]+)", false),
            ("", false),
        ] {
            let text = serde_json::json!([{
                "type": "url-rewrite", "urlRewriteConfig": { "rewrites": [{ "regex": regex, "replace": "new/$1" }] },
            }]);
            assert_eq!(parse(&text.to_string()).is_ok(), ok, "{regex}");
        }
    }

    #[test]
    fn a_transform_needs_its_own_configuration() {
        for (text, ok) in [
            (
                r#"[{"type":"url-rewrite","urlRewriteConfig":{"rewrites":[{"regex":"^/a/(.*)$","replace":"/$1"}]}}]"#,
                true,
            ),
            (
                r#"[{"type":"url-rewrite","hostHeaderRewriteConfig":{"rewrites":[{"regex":"a","replace":"b"}]}}]"#,
                false,
            ),
            (
                r#"[{"type":"url-rewrite","urlRewriteConfig":{"rewrites":[{"regex":"(","replace":""}]}}]"#,
                false,
            ),
            (
                r#"[{"type":"url-rewrite","urlRewriteConfig":{"rewrites":[{"regex":"a","replace":"/b"}]},"hostHeaderRewriteConfig":{"rewrites":[{}]}}]"#,
                true,
            ),
            (
                r#"[{"type":"url-rewrite","urlRewriteConfig":{"rewrites":[]}}]"#,
                false,
            ),
            (r#"[{"type":"other"}]"#, false),
            ("[]", true),
            ("null", true),
        ] {
            assert_eq!(parse(text).is_ok(), ok, "{text}");
        }
    }
}
