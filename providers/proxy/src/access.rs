//! A request and what became of it in, its line of the access log out. Pure: whoever writes it gives the time.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use portcullis_model::BackendId;
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
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) time: Timestamp,
    pub(crate) client: IpAddr,
    /// `http` or `https`, as the client spoke it.
    pub(crate) scheme: &'static str,
    /// Such as `HTTP/2.0`.
    pub(crate) protocol: &'static str,
    pub(crate) texts: Texts,
    /// 499 where the client gave the request up before, 0 where the proxy ended.
    pub(crate) status: u16,
    /// Of the answer's body, as it was passed on.
    pub(crate) bytes: u64,
    /// Whether the answer ended before its end.
    pub(crate) cut: bool,
    /// From the request's head to the answer's, then to its end.
    pub(crate) head: Duration,
    pub(crate) took: Duration,
    pub(crate) backend: Option<BackendId>,
    /// The target that answered.
    pub(crate) upstream: Option<SocketAddr>,
    /// Why the proxy itself answered, where something was wrong.
    pub(crate) error: Option<String>,
}

/// A text of a request that is logged.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Text {
    Method,
    Host,
    /// Path and query, as sent.
    Target,
    RequestId,
    TraceId,
    Referer,
    UserAgent,
}

/// The texts of a request, behind one another in one piece of memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    all: String,
    places: [Option<(usize, usize)>; Text::UserAgent as usize + 1],
}

impl Texts {
    /// With room for so many bytes.
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self {
            all: String::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// A long one is cut.
    pub(crate) fn set(&mut self, which: Text, text: &str) {
        let end = match text.len() > LONGEST {
            true => text.char_indices().nth(LONGEST).map(|(end, _)| end),
            false => None,
        };
        let start = self.all.len();
        self.all.push_str(&text[..end.unwrap_or(text.len())]);
        self.places[which as usize] = Some((start, self.all.len()));
    }

    pub(crate) fn get(&self, which: Text) -> Option<&str> {
        let (start, end) = self.places[which as usize]?;
        self.all.get(start..end)
    }
}

/// A line in JSON.
#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    client: IpAddr,
    scheme: &'a str,
    method: &'a str,
    host: &'a str,
    target: &'a str,
    protocol: &'a str,
    status: u16,
    bytes: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cut: bool,
    #[serde(rename = "head_ms", serialize_with = "milliseconds")]
    head: Duration,
    #[serde(rename = "took_ms", serialize_with = "milliseconds")]
    took: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    request_id: &'a str,
    trace_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    referer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<&'a str>,
}

fn milliseconds<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64((time.as_secs_f64() * 1e6).round() / 1e3)
}

/// Times as a format writes them. Many requests come in one second: its text is kept.
#[derive(Debug)]
pub(crate) struct Clock {
    format: LogFormat,
    second: i64,
    /// Of the second, and what stands behind it.
    text: String,
}

impl Clock {
    pub(crate) fn new(format: LogFormat) -> Self {
        Self {
            format,
            second: i64::MIN,
            text: String::new(),
        }
    }

    fn text(&mut self, time: Timestamp) -> &str {
        let second = time.as_second();
        if second != self.second {
            self.second = second;
            self.text = match self.format {
                LogFormat::Json => format!("{time:.3}"),
                LogFormat::Common => {
                    let time = time.to_zoned(TimeZone::UTC);
                    time.strftime("%d/%b/%Y:%H:%M:%S %z").to_string()
                }
            };
        }
        // `….789Z`, of which the rest is of the second.
        if self.format == LogFormat::Json && self.text.len() > MILLISECONDS {
            self.text.truncate(self.text.len() - MILLISECONDS);
            let milliseconds = time.subsec_millisecond();
            self.text.push_str(&format!("{milliseconds:03}Z"));
        }
        &self.text
    }
}

/// Letters of `789Z`.
const MILLISECONDS: usize = 4;

impl Entry {
    /// Appends its line with the line feed, as the clock's format has it.
    pub(crate) fn write(&self, clock: &mut Clock, to: &mut Vec<u8>) {
        let (format, time) = (clock.format, clock.text(self.time));
        let text = |which| self.texts.get(which);
        match format {
            LogFormat::Json => {
                let line = Line {
                    time,
                    client: self.client,
                    scheme: self.scheme,
                    method: text(Text::Method).unwrap_or_default(),
                    host: text(Text::Host).unwrap_or_default(),
                    target: text(Text::Target).unwrap_or_default(),
                    protocol: self.protocol,
                    status: self.status,
                    bytes: self.bytes,
                    cut: self.cut,
                    head: self.head,
                    took: self.took,
                    backend: self.backend.as_ref().map(BackendId::as_str),
                    upstream: self.upstream,
                    error: self.error.as_deref(),
                    request_id: text(Text::RequestId).unwrap_or_default(),
                    trace_id: text(Text::TraceId).unwrap_or_default(),
                    referer: text(Text::Referer),
                    user_agent: text(Text::UserAgent),
                };
                // Memory takes all.
                let _ = serde_json::to_writer(&mut *to, &line);
            }
            LogFormat::Common => {
                let _ = write!(to, "{} - - [{time}] \"", self.client);
                quote(text(Text::Method).unwrap_or_default(), to);
                to.push(b' ');
                quote(text(Text::Target).unwrap_or_default(), to);
                let _ = write!(to, " {}\" {} ", self.protocol, self.status);
                let _ = match self.bytes {
                    0 => to.write(b"-").map(|_| ()),
                    bytes => write!(to, "{bytes}"),
                };
                to.extend_from_slice(b" \"");
                quote(text(Text::Referer).unwrap_or("-"), to);
                to.extend_from_slice(b"\" \"");
                quote(text(Text::UserAgent).unwrap_or("-"), to);
                to.push(b'"');
            }
        }
        to.push(b'\n');
    }
}

/// Nothing in it ends the quotes or the line. Source: Apache HTTP Server, `mod_log_config`, "Format Notes".
fn quote(text: &str, to: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    while !rest.is_empty() {
        let plain = rest.iter().take_while(|byte| is_plain(byte)).count();
        let (plain, after) = rest.split_at(plain);
        to.extend_from_slice(plain);
        let Some((byte, after)) = after.split_first() else {
            return;
        };
        let _ = match byte {
            b'"' | b'\\' => to.write(&[b'\\', *byte]).map(|_| ()),
            _ => write!(to, "\\x{byte:02x}"),
        };
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use portcullis_model::ObjectName;

    use super::*;

    fn entry() -> Entry {
        let mut texts = Texts::default();
        for (which, text) in [
            (Text::Method, "GET"),
            (Text::Host, "shop.example.com"),
            (Text::Target, "/a?b=1"),
            (Text::RequestId, "r1"),
            (Text::TraceId, "0af7651916cd43dd8448eb211c80319c"),
            (Text::UserAgent, "curl/8"),
        ] {
            texts.set(which, text);
        }
        Entry {
            time: "2026-11-26T04:05:06.789012Z".parse().unwrap(),
            client: "192.0.2.7".parse().unwrap(),
            scheme: "https",
            protocol: "HTTP/2.0",
            texts,
            status: 200,
            bytes: 12,
            cut: false,
            head: Duration::from_micros(1_500),
            took: Duration::from_micros(2_000),
            backend: Some(BackendId::new(&ObjectName::new("shop", "web"), "web", "80")),
            upstream: Some("10.0.0.1:8080".parse().unwrap()),
            error: None,
        }
    }

    fn line(entry: &Entry, format: LogFormat) -> String {
        let mut line = Vec::new();
        entry.write(&mut Clock::new(format), &mut line);
        String::from_utf8(line).unwrap()
    }

    /// Of one clock, as a worker has it.
    #[test]
    fn each_line_has_its_own_time() {
        for (format, times) in [
            (
                LogFormat::Json,
                ["04:05:06.789Z", "04:05:06.000Z", "04:05:06.999Z", "04:05:07.001Z"],
            ),
            (
                LogFormat::Common,
                ["04:05:06 +", "04:05:06 +", "04:05:06 +", "04:05:07 +"],
            ),
        ] {
            let mut clock = Clock::new(format);
            for (second, time) in ["06.789012", "06", "06.999999", "07.001"].into_iter().zip(times) {
                let entry = Entry {
                    time: format!("2026-11-26T04:05:{second}Z").parse().unwrap(),
                    ..entry()
                };
                let mut line = Vec::new();
                entry.write(&mut clock, &mut line);
                let line = String::from_utf8(line).unwrap();
                assert!(line.contains(time), "{second}: {line}");
            }
        }
    }

    #[test]
    fn a_line_is_as_its_format_says() {
        assert_eq!(
            line(&entry(), LogFormat::Json),
            concat!(
                r#"{"time":"2026-11-26T04:05:06.789Z","client":"192.0.2.7","scheme":"https","method":"GET","#,
                r#""host":"shop.example.com","target":"/a?b=1","protocol":"HTTP/2.0","status":200,"bytes":12,"#,
                r#""head_ms":1.5,"took_ms":2.0,"backend":"shop/web-web:80","upstream":"10.0.0.1:8080","#,
                r#""request_id":"r1","trace_id":"0af7651916cd43dd8448eb211c80319c","user_agent":"curl/8"}"#,
                "\n"
            )
        );
        assert_eq!(
            line(&entry(), LogFormat::Common),
            "192.0.2.7 - - [26/Nov/2026:04:05:06 +0000] \"GET /a?b=1 HTTP/2.0\" 200 12 \"-\" \"curl/8\"\n"
        );
    }

    #[test]
    fn nothing_a_client_sends_begins_a_line_of_its_own() {
        let mut hostile = entry();
        let texts = &mut hostile.texts;
        texts.set(Text::Target, "/\n192.0.2.1 - - \"x\" \u{e9}\\");
        texts.set(Text::UserAgent, "a\"\r\nb");
        for format in [LogFormat::Json, LogFormat::Common] {
            let line = line(&hostile, format);
            assert_eq!(line.matches('\n').count(), 1, "{line}");
            assert!(!line.contains('\r'), "{line}");
        }
        let common = line(&hostile, LogFormat::Common);
        assert!(common.contains(r#""a\"\x0d\x0ab""#), "{common}");
        assert!(common.contains(r#"\"x\" \xc3\xa9\\ HTTP"#), "{common}");
        for (letter, count, want) in [("é", 5_000, LONGEST), ("é", 1_500, 1_500), ("e", 5_000, LONGEST)] {
            hostile.texts.set(Text::Host, &letter.repeat(count));
            let host = hostile.texts.get(Text::Host).unwrap();
            assert_eq!(host.chars().count(), want, "{count} of {letter}");
        }
    }
}
