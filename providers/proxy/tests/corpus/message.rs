//! A socket in, the messages on it out, read strictly: what is not plainly one message is told as unclear.
//!
//! It shares no code with the engines, and takes nothing that RFC 9112 merely allows a recipient to take.

use std::fmt;
use std::io::{ErrorKind, Read as _};
use std::net::TcpStream;

/// What comes next on a connection.
#[derive(Debug)]
pub(crate) enum Read {
    Message(Message),
    /// Nothing.
    End,
    /// A message, but not all of it.
    Cut,
    /// What different readers may take for different messages.
    Unclear(String),
}

#[derive(Debug, Default)]
pub(crate) struct Message {
    /// The three words of the first line.
    pub(crate) start: [String; 3],
    fields: Fields,
    body: Vec<u8>,
    trailers: Fields,
}

type Fields = Vec<(String, Vec<u8>)>;

/// A connection, and what has come of it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
}

/// Why reading stops.
enum Stop {
    Ended,
    Unclear(String),
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            input: Vec::new(),
        }
    }

    /// The next request. `on_head` is called when its head has come.
    pub(crate) fn request(&mut self, on_head: impl FnOnce(&Message, &TcpStream)) -> Read {
        self.message(|message, connection| {
            on_head(message, &connection.stream);
            connection.body(message, false)
        })
    }

    /// The next final answer, to a request that was a HEAD or not.
    pub(crate) fn answer(&mut self, is_head: bool) -> Read {
        loop {
            let read = self.message(|message, connection| {
                let status = message.start[1].clone();
                if is_head || status.starts_with('1') || status == "204" || status == "304" {
                    return Ok(());
                }
                connection.body(message, true)
            });
            let is_interim =
                matches!(&read, Read::Message(m) if m.start[1].starts_with('1') && m.start[1] != "101");
            if !is_interim {
                return read;
            }
        }
    }

    fn message(&mut self, rest: impl FnOnce(&mut Message, &mut Self) -> Result<(), Stop>) -> Read {
        let mut message = Message::default();
        match self.head(&mut message).and_then(|()| rest(&mut message, self)) {
            Ok(()) => Read::Message(message),
            Err(Stop::Unclear(why)) => Read::Unclear(why),
            Err(Stop::Ended) if message.start[0].is_empty() && self.input.is_empty() => Read::End,
            Err(Stop::Ended) => Read::Cut,
        }
    }

    fn head(&mut self, message: &mut Message) -> Result<(), Stop> {
        let line = self.line()?;
        let text = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<&str> = text.splitn(3, ' ').collect();
        let [one, two, three] = words[..] else {
            return Err(unclear("the first line has no three words", &line));
        };
        let is_request = three.starts_with("HTTP/1.") && !two.is_empty() && !one.is_empty();
        if !is_request && !one.starts_with("HTTP/1.") {
            return Err(unclear("the first line", &line));
        }
        message.start = [one.to_owned(), two.to_owned(), three.to_owned()];
        message.fields = self.fields()?;
        Ok(())
    }

    fn fields(&mut self) -> Result<Fields, Stop> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let colon = line.iter().position(|b| *b == b':').unwrap_or_default();
            let (name, value) = line.split_at(colon);
            let is_token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
            let is_control = |b: &u8| b.is_ascii_control() && *b != b'\t';
            if name.is_empty() || !name.iter().all(is_token) || value.iter().any(is_control) {
                return Err(unclear("a field", &line));
            }
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            fields.push((name, value[1..].trim_ascii().to_vec()));
        }
    }

    fn body(&mut self, message: &mut Message, may_end_with_connection: bool) -> Result<(), Stop> {
        let lengths = message.all("content-length");
        let codings = message.all("transfer-encoding");
        match (&lengths[..], &codings[..]) {
            ([], []) if may_end_with_connection => self.rest(&mut message.body),
            ([], []) => Ok(()),
            ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
                let length = length
                    .parse()
                    .map_err(|_| unclear("a length", length.as_bytes()))?;
                self.exactly(length, &mut message.body)
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") => self.chunks(message),
            (_, _) => Err(Stop::Unclear(format!("lengths {lengths:?}, codings {codings:?}"))),
        }
    }

    fn chunks(&mut self, message: &mut Message) -> Result<(), Stop> {
        loop {
            let line = self.line()?;
            let digits = String::from_utf8_lossy(&line).into_owned();
            let digits = digits.split(';').next().unwrap_or_default();
            let are_digits = digits.bytes().all(|b| b.is_ascii_hexdigit());
            let size = usize::from_str_radix(digits, 16).ok().filter(|_| are_digits);
            let size = size.ok_or_else(|| unclear("the size of a chunk", &line))?;
            if size == 0 {
                message.trailers = self.fields()?;
                return Ok(());
            }
            self.exactly(size, &mut message.body)?;
            let end = self.line()?;
            if !end.is_empty() {
                return Err(unclear("the end of a chunk", &end));
            }
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, Stop> {
        loop {
            if let Some(end) = self.input.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.input.drain(..=end).collect();
                return match line.strip_suffix(b"\r\n") {
                    Some(text) if !text.contains(&b'\r') => Ok(text.to_vec()),
                    Some(_) | None => Err(unclear("the end of a line", &line)),
                };
            }
            self.fill()?;
        }
    }

    fn exactly(&mut self, count: usize, body: &mut Vec<u8>) -> Result<(), Stop> {
        let whole = body.len() + count;
        loop {
            let taken = self.input.len().min(whole - body.len());
            body.extend(self.input.drain(..taken));
            if body.len() == whole {
                return Ok(());
            }
            self.fill()?;
        }
    }

    fn rest(&mut self, body: &mut Vec<u8>) -> Result<(), Stop> {
        loop {
            body.append(&mut self.input);
            match self.fill() {
                Ok(()) => {}
                Err(Stop::Ended) => return Ok(()),
                Err(unclear) => return Err(unclear),
            }
        }
    }

    fn fill(&mut self) -> Result<(), Stop> {
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) => Err(Stop::Ended),
            Ok(count) => {
                self.input.extend_from_slice(&piece[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Stop::Unclear("nothing more comes, and no end".to_owned()))
            }
            Err(_) => Err(Stop::Ended),
        }
    }
}

fn unclear(what: &str, bytes: &[u8]) -> Stop {
    Stop::Unclear(format!("{what}: {}", shown(bytes)))
}

impl Message {
    fn all(&self, name: &str) -> Vec<String> {
        let fields = self.fields.iter().filter(|(other, _)| other == name);
        fields.map(|(_, value)| shown(value)).collect()
    }

    pub(crate) fn expects(&self) -> bool {
        self.all("expect")
            .iter()
            .any(|value| value.eq_ignore_ascii_case("100-continue"))
    }

    pub(crate) fn closes(&self) -> bool {
        self.all("connection")
            .iter()
            .any(|value| value.eq_ignore_ascii_case("close"))
    }

    /// Method, authority and path, whatever the form of the target.
    pub(crate) fn as_request(&self) -> String {
        let [method, target, _] = &self.start;
        let hosts = self.all("host");
        let absolute = target.split_once("://").map(|(_, rest)| rest);
        let target = match absolute {
            None => format!("{}{}", hosts.join("+"), short(target)),
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                let (authority, path) = rest.split_at(end);
                // An authority said twice is one; two that differ are two.
                let same = hosts.len() == 1 && hosts[0].eq_ignore_ascii_case(authority);
                let other = if same {
                    String::new()
                } else {
                    format!("+{authority}")
                };
                let slash = if path.starts_with('/') { "" } else { "/" };
                format!("{}{other}{slash}{}", hosts.join("+"), short(path))
            }
        };
        format!("{method} {target}{self}")
    }

    pub(crate) fn as_answer(&self) -> String {
        format!("{}{self}", self.start[1])
    }
}

/// Those of the fields that cases are about, the body, and the trailers.
impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_fields(f, " ", &self.fields)?;
        if !self.body.is_empty() {
            write!(f, " \"{}\"", short(&shown(&self.body)))?;
        }
        write_fields(f, TRAILER, &self.trailers)
    }
}

/// Stands before each trailer.
pub(crate) const TRAILER: &str = " + ";

fn write_fields(f: &mut fmt::Formatter<'_>, before: &str, fields: &Fields) -> fmt::Result {
    for (name, value) in fields {
        let is_ours = name.starts_with("x-forwarded") || name == "x-request-id";
        if name.starts_with("x-") && !is_ours {
            write!(f, "{before}{name}={}", short(&shown(value)))?;
        }
    }
    Ok(())
}

fn shown(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// Long texts by their beginning and their length.
fn short(text: &str) -> String {
    if text.len() <= 60 {
        return text.to_owned();
    }
    format!("{}…{}", text.chars().take(12).collect::<String>(), text.len())
}
