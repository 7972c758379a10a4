//! A case and the address of a proxy in, what the backend behind it saw, or its client, out as one line of text.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use crate::cases::Case;
use crate::message::{Connection, Read};

/// What is not answered by then, is not.
const PATIENCE: Duration = Duration::from_secs(10);

/// Follows every stream of requests: whoever has lost count does not see it, or sees something else.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const LAST_SEEN: &str = "GET a/last";

/// A backend that keeps what it is asked, and answers what it is told to. It ends with the test.
#[derive(Debug, Clone)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    /// Requests that came whole, and whatever was unclear.
    seen: Vec<String>,
    /// Connections that have not ended.
    open: usize,
    /// What `/case` is answered, and whether the connection ends with it.
    answer: Vec<u8>,
    closes: bool,
}

impl Backend {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let backend = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::default(),
        };
        let serving = backend.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let backend = serving.clone();
                backend.state(|state| state.open += 1);
                thread::spawn(move || {
                    backend.serve(stream.unwrap());
                    backend.state(|state| state.open -= 1);
                    backend.shared.1.notify_all();
                });
            }
        });
        backend
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.shared.0.lock().unwrap())
    }

    fn serve(&self, stream: TcpStream) {
        let mut connection = Connection::new(stream);
        loop {
            let read = connection.request(|head, mut stream| {
                if head.expects() {
                    let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
            });
            let (seen, path) = match read {
                Read::Message(request) => (request.as_request(), request.start[1].clone()),
                // What is not whole is not done.
                Read::End | Read::Cut => return,
                Read::Unclear(why) => (format!("unclear: {why}"), String::new()),
            };
            let is_unclear = path.is_empty();
            let (answer, closes) = self.state(|state| {
                state.seen.push(seen);
                let is_case = path.ends_with("/case");
                if is_case && !state.answer.is_empty() {
                    (state.answer.clone(), state.closes)
                } else if path.ends_with("/after") {
                    (
                        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nafter".to_vec(),
                        false,
                    )
                } else {
                    let text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                    (text.as_bytes().to_vec(), true)
                }
            });
            let sent = connection.stream.write_all(&answer);
            if sent.is_err() || is_unclear {
                return;
            }
            if closes {
                // What still comes is read: it was hidden in what came before.
                let _ = connection.stream.shutdown(Shutdown::Write);
            }
        }
    }

    /// What was seen since the last time, once no connection is left.
    fn take_seen(&self) -> Vec<String> {
        let state = self.shared.0.lock().unwrap();
        let waiting = self
            .shared
            .1
            .wait_timeout_while(state, PATIENCE, |state| state.open > 0);
        let (mut state, late) = waiting.unwrap();
        assert!(!late.timed_out(), "a connection to the backend does not end");
        std::mem::take(&mut state.seen)
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends a stream of requests and a last one; the statuses of the answers, and which requests reached the backend.
pub(crate) fn requests(case: &Case, proxy: SocketAddr, backend: &Backend) -> String {
    let mut stream = connect(proxy);
    // A refusal may end the connection before all is sent.
    let _ = stream.write_all(&[&case.bytes, LAST].concat());
    let mut answers = Vec::new();
    let _ = stream.read_to_end(&mut answers);
    drop(stream);
    let answers = String::from_utf8_lossy(&answers);
    let statuses = answers
        .split("HTTP/1.")
        .filter_map(|rest| rest.get(2..5))
        // Who has sent the body already may be told to continue or not. Source: RFC 9110 §10.1.1.
        .filter(|status| status.bytes().all(|b| b.is_ascii_digit()) && *status != "100");
    let mut statuses = statuses.collect::<Vec<_>>().join(" ");
    if statuses.is_empty() {
        "none".clone_into(&mut statuses);
    }
    let seen = backend.take_seen().into_iter();
    // Its port is another each time.
    let own = backend.address.to_string();
    let seen = seen.map(|seen| {
        if seen == LAST_SEEN {
            "last".to_owned()
        } else {
            seen.replace(&own, "BACKEND")
        }
    });
    let mut verdict = statuses;
    for seen in seen {
        verdict.push_str(SEEN);
        verdict.push_str(&seen);
    }
    verdict
}

/// Stands before each request that was seen.
pub(crate) const SEEN: &str = " | ";

/// An answer that breaks off, or is none.
pub(crate) const CUT: &str = "cut";

/// Stands before the answer to the next request, where that is another's.
pub(crate) const THEN: &str = "; THEN ";

/// Asks for the case, and then for something plain, on the same connection if that is left; what is answered.
pub(crate) fn answers(case: &Case, proxy: SocketAddr, backend: &Backend) -> String {
    backend.state(|state| {
        state.answer.clone_from(&case.bytes);
        state.closes = case.closes;
    });
    let mut connection = Connection::new(connect(proxy));
    let method = if case.is_head { "HEAD" } else { "GET" };
    let ask = format!("{method} /case HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    connection.stream.write_all(ask.as_bytes()).unwrap();
    let mut goes_on = false;
    let verdict = match connection.answer(case.is_head) {
        Read::Message(answer) => {
            goes_on = !answer.closes();
            answer.as_answer()
        }
        // How much came before depends on how the bytes come.
        Read::End | Read::Cut => CUT.to_owned(),
        Read::Unclear(why) => format!("unclear: {why}"),
    };
    if !goes_on {
        connection = Connection::new(connect(proxy));
    }
    let mut after = plain(&mut connection);
    // An answer may end with its connection without a word before; and a backend's connection that ends may be taken once.
    if after == CUT && goes_on || after.starts_with("502") && case.closes {
        after = plain(&mut Connection::new(connect(proxy)));
    }
    if after == "200 \"after\"" {
        verdict
    } else {
        format!("{verdict}{THEN}{after}")
    }
}

/// Asks for something plain.
fn plain(connection: &mut Connection) -> String {
    let ask = b"GET /after HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let _ = connection.stream.write_all(ask);
    match connection.answer(false) {
        Read::Message(answer) => answer.as_answer(),
        Read::End => CUT.to_owned(),
        other @ (Read::Cut | Read::Unclear(_)) => format!("{other:?}"),
    }
}
