//! A request and what became of it in, its line of the access log out. Pure: whoever writes it gives the time.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Serialize, Serializer};

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// The Common Log Format with referer and user agent behind it, which Apache calls `combined`.
    Common,
}

/// Longest text from a client in a line, in characters: a hostile one must not fill the disk.
const LONGEST: usize = 2048;

/// What is known of a request when its answer has ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    #[serde(serialize_with = "shown")]
    pub(crate) time: Timestamp,
    pub(crate) client: IpAddr,
    /// `http` or `https`, as the client spoke it.
    pub(crate) scheme: &'static str,
    pub(crate) method: String,
    pub(crate) host: String,
    /// Path and query, as sent.
    pub(crate) target: String,
    /// Such as `HTTP/2.0`.
    pub(crate) protocol: String,
    /// 499 where the client gave the request up before, 0 where the proxy ended.
    pub(crate) status: u16,
    /// Of the answer's body, as it was passed on.
    pub(crate) bytes: u64,
    /// Whether the answer ended before its end.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cut: bool,
    /// From the request's head to the answer's, then to its end.
    #[serde(rename = "head_ms", serialize_with = "milliseconds")]
    pub(crate) head: Duration,
    #[serde(rename = "took_ms", serialize_with = "milliseconds")]
    pub(crate) took: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) backend: Option<String>,
    /// The target that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<SocketAddr>,
    /// Why the proxy itself answered, where something was wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    pub(crate) request_id: String,
    pub(crate) trace_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) referer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_agent: Option<String>,
}

fn shown<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{time:.3}"))
}

fn milliseconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}

/// A text from a client, cut where it is long.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(LONGEST).collect()
}

impl Entry {
    /// With its line feed.
    pub(crate) fn line(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Json => {
                let mut line = serde_json::to_string(self).unwrap_or_default();
                line.push('\n');
                line
            }
            LogFormat::Common => {
                let time = self.time.to_zoned(TimeZone::UTC);
                let bytes = match self.bytes {
                    0 => "-".to_owned(),
                    bytes => bytes.to_string(),
                };
                format!(
                    "{} - - [{}] \"{} {} {}\" {} {bytes} \"{}\" \"{}\"\n",
                    self.client,
                    time.strftime("%d/%b/%Y:%H:%M:%S %z"),
                    quoted(&self.method),
                    quoted(&self.target),
                    self.protocol,
                    self.status,
                    quoted(self.referer.as_deref().unwrap_or("-")),
                    quoted(self.user_agent.as_deref().unwrap_or("-")),
                )
            }
        }
    }
}

/// Nothing in it ends the quotes or the line. Source: Apache HTTP Server, `mod_log_config`, "Format Notes".
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            time: "2026-11-26T04:05:06.789012Z".parse().unwrap(),
            client: "192.0.2.7".parse().unwrap(),
            scheme: "https",
            method: "GET".into(),
            host: "shop.example.com".into(),
            target: "/a?b=1".into(),
            protocol: "HTTP/2.0".into(),
            status: 200,
            bytes: 12,
            cut: false,
            head: Duration::from_micros(1_500),
            took: Duration::from_micros(2_000),
            backend: Some("shop/web-web:80".into()),
            upstream: Some("10.0.0.1:8080".parse().unwrap()),
            error: None,
            request_id: "r1".into(),
            trace_id: "0af7651916cd43dd8448eb211c80319c".into(),
            referer: None,
            user_agent: Some("curl/8".into()),
        }
    }

    #[test]
    fn a_line_is_as_its_format_says() {
        assert_eq!(
            entry().line(LogFormat::Json),
            concat!(
                r#"{"time":"2026-11-26T04:05:06.789Z","client":"192.0.2.7","scheme":"https","method":"GET","#,
                r#""host":"shop.example.com","target":"/a?b=1","protocol":"HTTP/2.0","status":200,"bytes":12,"#,
                r#""head_ms":1.5,"took_ms":2.0,"backend":"shop/web-web:80","upstream":"10.0.0.1:8080","#,
                r#""request_id":"r1","trace_id":"0af7651916cd43dd8448eb211c80319c","user_agent":"curl/8"}"#,
                "\n"
            )
        );
        assert_eq!(
            entry().line(LogFormat::Common),
            "192.0.2.7 - - [26/Nov/2026:04:05:06 +0000] \"GET /a?b=1 HTTP/2.0\" 200 12 \"-\" \"curl/8\"\n"
        );
    }

    #[test]
    fn nothing_a_client_sends_begins_a_line_of_its_own() {
        let hostile = Entry {
            target: "/\n192.0.2.1 - - \"x\" \u{e9}\\".into(),
            user_agent: Some("a\"\r\nb".into()),
            ..entry()
        };
        for format in [LogFormat::Json, LogFormat::Common] {
            let line = hostile.line(format);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(!line.contains('\r'), "{line}");
        }
        assert!(hostile.line(LogFormat::Common).contains(r#""a\"\x0d\x0ab""#));
        assert_eq!(cut(&"é".repeat(5000)).chars().count(), LONGEST);
    }
}
