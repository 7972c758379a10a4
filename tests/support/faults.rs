//! The AWS API and a script of faults in, the same API over a network that fails by that script out.
//!
//! Real HTTP on both sides: a client sees what it would see of AWS. What goes wrong with the nth call of an operation
//! depends on the script and on nothing else, so that a seed means the same whatever happens at the same time.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Moto;
use crate::http::{Response, exchange};
use crate::moto::{Call, call_of};

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// AWS asks for fewer calls, and does nothing.
    Throttle,
    /// HTTP 500, and nothing is done.
    ErrorBefore,
    /// HTTP 500, and all is done.
    ErrorAfter,
    /// HTTP 503, and nothing is done.
    Unavailable,
    /// The connection ends before AWS has the call.
    CutBefore,
    /// The connection ends when all is done.
    CutAfter,
    /// The answer takes its time.
    Delay(Duration),
    /// AWS refuses with this error, and does nothing.
    Refuse {
        status: u16,
        code: &'static str,
        message: &'static str,
    },
    /// A read is answered as the same read was some seconds before: AWS is eventually consistent. Where there was none,
    /// nothing goes wrong.
    Stale,
}

/// When what goes wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Script {
    #[default]
    Calm,
    /// So many of a thousand calls, whichever the seed says; with stale reads or without.
    Random { seed: u64, permille: u64, stale: bool },
    /// With every call of this operation.
    Always(&'static str, Fault),
}

/// How old an answer may be that is given again.
const STALE: Duration = Duration::from_secs(10);
/// Answers kept of each request.
const KEPT: usize = 4;

impl Script {
    /// What goes wrong with the nth call of an operation such as `elbv2:CreateRule`.
    pub fn fault(&self, call: &str, nth: u64) -> Option<Fault> {
        match self {
            Self::Calm => None,
            Self::Always(name, fault) => (*name == call).then_some(*fault),
            Self::Random {
                seed,
                permille,
                stale,
            } => {
                let name = call
                    .bytes()
                    .fold(*seed, |state, byte| random(state ^ u64::from(byte)));
                let drawn = random(name.wrapping_add(nth));
                (drawn % 1000 < *permille).then(|| match random(drawn) % 10 {
                    0 | 1 => Fault::Throttle,
                    2 => Fault::ErrorBefore,
                    3 => Fault::ErrorAfter,
                    4 => Fault::Unavailable,
                    5 => Fault::CutBefore,
                    6 => Fault::CutAfter,
                    7 | 8 if *stale => Fault::Stale,
                    _ => Fault::Delay(Duration::from_millis(20 + drawn % 280)),
                })
            }
        }
    }
}

/// The next number after this one: SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
pub fn random(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

type Check = Box<dyn Fn(&Call) -> Result<(), String> + Send + Sync>;

/// The AWS API behind faults. It fails by its script until it is told another one; it begins calm.
pub struct Faults {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    upstream: String,
    state: Mutex<State>,
    /// Held while a call changes something and what came of it is looked at.
    writing: Mutex<()>,
    check: Mutex<Option<Arc<Check>>>,
    ended: AtomicBool,
}

#[derive(Default)]
struct State {
    script: Script,
    /// How often each operation was called since the script began.
    counts: BTreeMap<String, u64>,
    seen: usize,
    told: Vec<String>,
    broken: Vec<String>,
    answers: BTreeMap<String, Vec<(Instant, Response)>>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("address", &self.address).finish()
    }
}

impl Faults {
    /// Listens on a free port and passes calls on to moto.
    pub fn before(moto: &Moto) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound listener has an address");
        let shared = Arc::new(Shared {
            upstream: moto.endpoint().trim_start_matches("http://").to_owned(),
            state: Mutex::default(),
            writing: Mutex::default(),
            check: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.ended.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(stream), shared) = (stream, serving.clone()) else {
                    continue;
                };
                // Whoever closes a connection ends its thread; a process that was killed closes all of its.
                std::thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Calls fail by this script from now on.
    pub fn follow(&self, script: Script) {
        let mut state = self.shared.state();
        state.script = script;
        state.counts.clear();
    }

    /// Looks at each call that may have changed something, before anybody else can. What it finds is `broken`.
    pub fn after_each_write(&self, check: impl Fn(&Call) -> Result<(), String> + Send + Sync + 'static) {
        let mut place = self.shared.check.lock().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Arc::new(Box::new(check)));
    }

    /// Calls so far.
    pub fn seen(&self) -> usize {
        self.shared.state().seen
    }

    /// Every call so far, with what went wrong.
    pub fn told(&self) -> Vec<String> {
        self.shared.state().told.clone()
    }

    /// What the checks found so far.
    pub fn broken(&self) -> Vec<String> {
        self.shared.state().broken.clone()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // The listener waits for somebody; nobody needs to come if it has ended.
        let _woken = TcpStream::connect(self.address);
    }
}

/// A request as it came.
struct Request {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers one request after the other.
    fn serve(&self, stream: TcpStream) {
        let Ok(mut writer) = stream.try_clone() else {
            return;
        };
        let mut reader = BufReader::new(stream);
        while let Ok(Some(request)) = read(&mut reader) {
            let Some(answer) = self.answer(&request) else {
                // The end of the connection is the answer.
                let _closed = writer.shutdown(std::net::Shutdown::Both);
                return;
            };
            if write(&mut writer, &answer).is_err() {
                return;
            }
        }
    }

    /// None where the connection is cut.
    #[expect(
        clippy::disallowed_methods,
        reason = "an answer that takes its time takes it here"
    )]
    fn answer(&self, request: &Request) -> Option<Response> {
        let call = call_of(
            &request.headers,
            String::from_utf8_lossy(&request.body).into_owned(),
        );
        let name = call.to_string();
        let fault = self.state().next(&name);
        match fault {
            Some(Fault::Throttle) => Some(throttled(&call)),
            Some(Fault::ErrorBefore) => Some(internal(&call)),
            Some(Fault::Unavailable) => Some(unavailable(&call)),
            Some(Fault::Refuse {
                status,
                code,
                message,
            }) => Some(refusal(&call, status, code, message)),
            Some(Fault::CutBefore) => None,
            Some(Fault::ErrorAfter) => self.pass_on(request, &call).map(|_| internal(&call)),
            Some(Fault::CutAfter) => {
                self.pass_on(request, &call);
                None
            }
            Some(Fault::Delay(time)) => {
                std::thread::sleep(time);
                self.pass_on(request, &call)
            }
            Some(Fault::Stale) if !call.writes() => {
                let fresh = self.pass_on(request, &call)?;
                Some(self.state().earlier(&name, &call.body).unwrap_or(fresh))
            }
            Some(Fault::Stale) | None => self.pass_on(request, &call),
        }
    }

    fn pass_on(&self, request: &Request, call: &Call) -> Option<Response> {
        let headers: Vec<(&str, &str)> = request
            .headers
            .iter()
            .filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str()))
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let send = || {
            let stream = TcpStream::connect(&self.upstream)?;
            exchange(stream, "POST", "/", &headers, &request.body)
        };
        if !call.writes() {
            let answer = send().ok()?;
            self.state().keep(&call.to_string(), &call.body, &answer);
            return Some(answer);
        }
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = send().ok()?;
        let check = self.check.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(Err(how)) = check.map(|check| check(call)) {
            self.state().broken.push(format!("after {call}: {how}"));
        }
        Some(answer)
    }
}

impl State {
    fn next(&mut self, call: &str) -> Option<Fault> {
        let nth = self.counts.entry(call.to_owned()).or_default();
        let fault = self.script.fault(call, *nth);
        *nth += 1;
        self.seen += 1;
        self.told.push(match fault {
            Some(fault) => format!("{call} {fault:?}"),
            None => call.to_owned(),
        });
        fault
    }

    #[expect(clippy::disallowed_methods, reason = "answers grow old by the clock")]
    fn keep(&mut self, call: &str, body: &str, answer: &Response) {
        let kept = self.answers.entry(format!("{call} {body}")).or_default();
        kept.push((Instant::now(), answer.clone()));
        if kept.len() > KEPT {
            kept.remove(0);
        }
    }

    fn earlier(&self, call: &str, body: &str) -> Option<Response> {
        let kept = self.answers.get(&format!("{call} {body}"))?;
        let young = kept.iter().find(|(at, _)| at.elapsed() < STALE);
        young.map(|(_, answer)| answer.clone())
    }
}

/// RFC 9110, section 7.6.1, and what is written anew.
const HOP_BY_HOP: [&str; 6] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
];

/// None at the end of the connection.
fn read(reader: &mut impl BufRead) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some(Request { headers, body }))
}

fn write(writer: &mut impl Write, answer: &Response) -> io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {} \r\ncontent-length: {}\r\n",
        answer.status,
        answer.body.len()
    );
    for (name, value) in &answer.headers {
        if !HOP_BY_HOP.contains(&name.as_str()) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    writer.write_all(&[head.as_bytes(), b"\r\n", &answer.body].concat())
}

/// Sources of these three: Elastic Load Balancing API and ACM API, "Common errors"; EC2 API, "Error codes"; WAFV2 API,
/// `WAFInternalErrorException`; Shield API, `InternalErrorException`.
fn throttled(call: &Call) -> Response {
    match call.service.as_str() {
        "ec2" => refusal(call, 503, "RequestLimitExceeded", "Request limit exceeded."),
        "elbv2" | "sts" => refusal(call, 400, "Throttling", "Rate exceeded"),
        _ => refusal(call, 400, "ThrottlingException", "Rate exceeded"),
    }
}

fn internal(call: &Call) -> Response {
    let code = match call.service.as_str() {
        "ec2" => "InternalError",
        "wafv2" => "WAFInternalErrorException",
        "shield" => "InternalErrorException",
        _ => "InternalFailure",
    };
    refusal(call, 500, code, "An internal error has occurred")
}

fn unavailable(call: &Call) -> Response {
    let code = match call.service.as_str() {
        "ec2" => "Unavailable",
        _ => "ServiceUnavailable",
    };
    refusal(call, 503, code, "The service is unavailable")
}

/// An error in the form of the service's protocol: `query`, `ec2` or `json`.
fn refusal(call: &Call, status: u16, code: &str, message: &str) -> Response {
    let (kind, body) = match call.service.as_str() {
        "ec2" => (
            "text/xml;charset=UTF-8",
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}</Code>\
                 <Message>{message}</Message></Error></Errors><RequestID>{REQUEST}</RequestID></Response>"
            ),
        ),
        "elbv2" | "sts" => (
            "text/xml",
            format!(
                "<ErrorResponse xmlns=\"http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/\"><Error>\
                 <Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>\
                 <RequestId>{REQUEST}</RequestId></ErrorResponse>"
            ),
        ),
        _ => (
            "application/x-amz-json-1.1",
            format!("{{\"__type\":\"{code}\",\"message\":\"{message}\"}}"),
        ),
    };
    Response {
        status,
        headers: vec![
            ("content-type".to_owned(), kind.to_owned()),
            ("x-amzn-requestid".to_owned(), REQUEST.to_owned()),
        ],
        body: body.into_bytes(),
    }
}

/// The request id of every error.
pub const REQUEST: &str = "0a1b2c3d-1111-2222-3333-444455556666";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_means_the_same_faults_and_about_as_many_as_asked() {
        let script = Script::Random {
            seed: 7,
            permille: 100,
            stale: true,
        };
        let draw = |script: &Script, call: &str| -> Vec<Option<Fault>> {
            (0..2000).map(|nth| script.fault(call, nth)).collect()
        };
        let drawn = draw(&script, "elbv2:CreateRule");
        assert_eq!(drawn, draw(&script, "elbv2:CreateRule"));
        assert_ne!(drawn, draw(&script, "elbv2:DeleteRule"));
        let faults = drawn.iter().flatten().count();
        assert!((140..260).contains(&faults), "{faults} of 2000");
        for fault in [Fault::Throttle, Fault::CutBefore, Fault::CutAfter, Fault::Stale] {
            assert!(drawn.contains(&Some(fault)), "{fault:?}");
        }
    }
}
