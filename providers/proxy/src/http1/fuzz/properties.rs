//! Bytes of either side in; a panic where the codec breaks its word, else what came out in a few words.
//!
//! Its word: however the bytes are cut, they mean the same or are refused; what is read is what httparse and hyper read;
//! and what is written is read as what it was.

use std::cell::RefCell;
use std::convert::Infallible;
use std::fmt::Write as _;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HOST, HeaderMap, HeaderName, TRANSFER_ENCODING};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};

use super::Draw;
use crate::fields::strip_response;
use crate::head;
use crate::http1::answer::{Piece, Reader};
use crate::http1::chunks::only_trailers;
use crate::http1::decode::{Decoder, Event};
use crate::http1::encode::tests::sent;
use crate::http1::encode::{Asked, Fields, Framed, Out};
use crate::present::Present;

pub(super) type Judge = fn(&[u8], Cuts<'_>) -> String;

/// Where bytes are cut in two, beside being cut everywhere.
pub(super) enum Cuts<'a> {
    All,
    /// At a few places.
    Some(&'a mut Draw),
}

/// Longest head here.
const LONGEST: usize = 600;

/// A message as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Message {
    /// The first line, in words of ours.
    start: String,
    fields: HeaderMap,
    body: Vec<u8>,
    /// `None` as long as it isn't whole.
    trailers: Option<HeaderMap>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    messages: Vec<Message>,
    is_refused: bool,
}

pub(super) fn requests(bytes: &[u8], cuts: Cuts<'_>) -> String {
    let read = same_however_cut(bytes, &cuts.places(bytes.len()), |pieces| read_requests(pieces).0);
    let (_, heads) = read_requests(&[bytes]);
    for (message, (parts, _)) in read.messages.iter().zip(&heads) {
        if message.trailers.is_some() {
            request_again(message, parts);
        }
    }
    // hyper ends a connection where it is the last request, and where it becomes something else.
    let kept = heads
        .iter()
        .take_while(|(parts, keeps)| *keeps && parts.method != Method::CONNECT);
    let count = (kept.count() + 1).min(read.messages.len());
    let whole = read
        .messages
        .iter()
        .take(count)
        .take_while(|message| message.trailers.is_some());
    let whole: Vec<&Message> = whole
        .filter(|message| !message.start.starts_with("CONNECT "))
        .collect();
    let by_hyper = requests_by_hyper(bytes);
    assert!(
        by_hyper.len() >= whole.len(),
        "hyper reads {by_hyper:?} of {whole:?}"
    );
    for (theirs, ours) in by_hyper.iter().zip(whole) {
        assert_eq!(theirs, ours);
    }
    outcome(&read)
}

pub(super) fn answers(bytes: &[u8], cuts: Cuts<'_>) -> String {
    let mut shown = String::new();
    let cuts = cuts.places(bytes.len());
    for is_head in [false, true] {
        let read = same_however_cut(bytes, &cuts, |pieces| read_answer(pieces, is_head));
        if let [message] = &read.messages[..]
            && message.trailers.is_some()
            && message.start != "101"
        {
            answer_again(message, is_head);
            as_it_came(bytes, message, is_head);
            let theirs = answer_by_hyper(bytes, is_head);
            let mut ours = (message.start.clone(), message.body.clone());
            assert_eq!(
                theirs.as_ref(),
                Some(&mut ours).map(|ours| &*ours),
                "hyper reads another"
            );
        }
        let _ = write!(shown, "{} ", outcome(&read));
    }
    shown
}

impl Cuts<'_> {
    fn places(self, length: usize) -> Vec<usize> {
        match self {
            Self::All => (1..length).collect(),
            Self::Some(draw) => (0..4).map(|_| draw.below(length)).collect(),
        }
    }
}

/// What is read, which is the same at every place where the bytes are cut.
fn same_however_cut(bytes: &[u8], cuts: &[usize], read: impl Fn(&[&[u8]]) -> Read) -> Read {
    let whole = read(&[bytes]);
    let by_one: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(&by_one), whole, "byte by byte");
    for &cut in cuts {
        assert_eq!(read(&[&bytes[..cut], &bytes[cut..]]), whole, "cut at {cut}");
    }
    whole
}

fn outcome(read: &Read) -> String {
    let messages = read.messages.iter().map(|message| {
        let verb: String = message.start.chars().take(5).collect();
        let trailers = message.trailers.as_ref().map(HeaderMap::len);
        let chunked = message.fields.contains_key(TRANSFER_ENCODING);
        format!(
            "{verb} {} {} {chunked} {trailers:?},",
            message.fields.len(),
            message.body.len().min(3)
        )
    });
    messages.chain([read.is_refused.to_string()]).collect()
}

/// Also the heads, and whether the client wants to ask more after each.
fn read_requests(pieces: &[&[u8]]) -> (Read, Vec<(http::request::Parts, bool)>) {
    let (mut decoder, mut input) = (Decoder::new(LONGEST), BytesMut::new());
    let (mut read, mut heads) = (Read::default(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let left = input.clone();
            match decoder.next(&mut input) {
                Ok(Some(Event::Head(begun))) => {
                    let parts = begun.parts;
                    assert_eq!(begun.present, Present::of(&parts.headers));
                    as_httparse_reads(&left[..left.len() - input.len()], &parts);
                    read.messages.push(Message {
                        start: format!("{} {} {:?}", parts.method, parts.uri, parts.version),
                        fields: parts.headers.clone(),
                        ..Message::default()
                    });
                    heads.push((*parts, begun.keeps));
                }
                Ok(Some(Event::Data(data))) => {
                    assert!(!data.is_empty());
                    read.messages.last_mut().unwrap().body.extend_from_slice(&data);
                }
                Ok(Some(Event::End(trailers))) => {
                    read.messages.last_mut().unwrap().trailers = Some(trailers);
                }
                Ok(None) => break,
                Err(_) => {
                    read.is_refused = true;
                    // How much of a body came before depends on the cuts.
                    if let Some(last) = read.messages.last_mut().filter(|last| last.trailers.is_none()) {
                        last.body.clear();
                    }
                    return (read, heads);
                }
            }
        }
    }
    (read, heads)
}

fn as_httparse_reads(head: &[u8], parts: &http::request::Parts) {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    let read = request.parse(head).unwrap();
    assert_eq!(read, httparse::Status::Complete(head.len()));
    assert_eq!(request.method, Some(parts.method.as_str()));
    assert_eq!(
        request.path.map(|path| path.parse::<Uri>().unwrap()).as_ref(),
        Some(&parts.uri)
    );
    let got: Vec<&[u8]> = request.headers.iter().map(|field| field.value).collect();
    let names = |name: &HeaderName| {
        request
            .headers
            .iter()
            .filter(|f| f.name.eq_ignore_ascii_case(name.as_str()))
            .count()
    };
    assert_eq!(got.len(), parts.headers.len());
    assert!(
        parts
            .headers
            .keys()
            .all(|name| names(name) == parts.headers.get_all(name).iter().count())
    );
}

fn read_answer(pieces: &[&[u8]], is_head: bool) -> Read {
    let (mut reader, mut input, mut read) = (Reader::new(LONGEST, is_head), BytesMut::new(), Read::default());
    for piece in pieces {
        input.extend_from_slice(piece);
        let mut step = || -> Result<(), crate::http1::Refused> {
            if let Some((parts, _)) = reader.head(&mut input, false, |_, _| {})? {
                read.messages.push(Message {
                    start: parts.status.as_str().to_owned(),
                    fields: parts.headers,
                    ..Message::default()
                });
            }
            let Some(message) = read.messages.last_mut() else {
                return Ok(());
            };
            while !reader.is_over()
                && let Some(piece) = reader.piece(&mut input)?
            {
                match piece {
                    Piece::Data(data) => message.body.extend_from_slice(&data),
                    Piece::End(trailers) => message.trailers = Some(trailers),
                }
            }
            Ok(())
        };
        if step().is_err() {
            read.is_refused = true;
            read.messages.iter_mut().for_each(|message| message.body.clear());
            return read;
        }
    }
    if let Some(message) = read.messages.last_mut()
        && (reader.is_over() || reader.ends_with_connection())
    {
        message.trailers.get_or_insert_default();
    }
    read
}

fn with_body(mut out: Out, message: &Message) -> Vec<u8> {
    for piece in message.body.chunks(100) {
        out.data(Bytes::copy_from_slice(piece)).unwrap();
    }
    out.end(message.trailers.clone()).unwrap();
    sent(out, 777)
}

/// What is written of a request, with either framing, is read as that request.
fn request_again(message: &Message, parts: &http::request::Parts) {
    let mut parts = parts.clone();
    head::give_path(&mut parts);
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let host = parts.headers.entry(HOST);
    let host = host.or_insert_with(|| "a".parse().unwrap()).clone();
    let length = u64::try_from(message.body.len()).unwrap();
    for framed in [Framed::Length(length), Framed::Chunked] {
        let bytes = with_body(Out::request(&parts, &host, None, framed), message);
        let mut trailers = only_trailers(message.trailers.clone().unwrap_or_default());
        if framed != Framed::Chunked {
            trailers.clear();
        }
        let (read, _) = read_requests(&[&bytes]);
        // Longer than it may be: with the length of another framing, or a Host.
        if read.is_refused && bytes.len() > LONGEST {
            continue;
        }
        let [again] = &read.messages[..] else {
            panic!("{read:?} of {}", bytes.escape_ascii());
        };
        assert_eq!(again.start, format!("{} {target} HTTP/1.1", parts.method));
        assert_eq!(unframed(&again.fields), unframed(&parts.headers));
        assert_eq!(
            (&again.body, again.trailers.as_ref()),
            (&message.body, Some(&trailers))
        );
    }
}

/// The same of an answer.
fn answer_again(message: &Message, is_head: bool) {
    let asked = Asked {
        is_head,
        version: Version::HTTP_11,
        trailers: true,
    };
    let status: StatusCode = message.start.parse().unwrap();
    let framed = Framed::of(asked, status, &message.fields, None);
    let bytes = with_body(Out::head(asked, status, &message.fields, framed, false), message);
    let read = read_answer(&[&bytes], is_head);
    if read.is_refused && bytes.len() > LONGEST {
        return;
    }
    let [again] = &read.messages[..] else {
        panic!("{read:?} of {}", bytes.escape_ascii());
    };
    assert_eq!((&again.start, &again.body), (&message.start, &message.body));
    assert!(again.trailers.is_some(), "{}", bytes.escape_ascii());
    assert_eq!(unframed(&again.fields), unframed(&message.fields));
}

/// Fields that are not entered in a map are written as those of a map are.
fn as_it_came(bytes: &[u8], message: &Message, is_head: bool) {
    let mut reader = Reader::new(LONGEST, is_head);
    let (parts, lines) = reader
        .head(&mut BytesMut::from(bytes), true, |_, _| {})
        .unwrap()
        .unwrap();
    let mut want = message.fields.clone();
    strip_response(&mut want);
    let asked = Asked {
        is_head,
        version: Version::HTTP_11,
        trailers: true,
    };
    let fields = match &lines {
        Some(_) => &parts.headers,
        // Some are of the hop by name.
        None => &want,
    };
    let fields = Fields {
        own: fields,
        lines: lines.as_deref(),
    };
    let framed = Framed::of(asked, parts.status, fields, None);
    let bytes = sent(Out::head(asked, parts.status, fields, framed, false), 777);
    let want_framed = Framed::of(asked, parts.status, &want, None);
    assert_eq!(framed, want_framed);
    let same = sent(Out::head(asked, parts.status, &want, want_framed, false), 777);
    let read = |bytes: &[u8]| {
        let mut reader = Reader::new(usize::MAX, is_head);
        let (mut parts, _) = reader
            .head(&mut BytesMut::from(bytes), false, |_, _| {})
            .unwrap()
            .unwrap();
        if !want.contains_key(DATE) {
            assert!(parts.headers.remove(DATE).is_some());
        }
        parts.headers
    };
    assert_eq!(read(&bytes), read(&same), "{}", bytes.escape_ascii());
}

fn unframed(fields: &HeaderMap) -> HeaderMap {
    let mut fields = fields.clone();
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, CONNECTION, DATE] {
        fields.remove(name);
    }
    fields
}

fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().build().unwrap();
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Room for all that is sent either way.
const ROOM: usize = 1 << 20;

fn requests_by_hyper(bytes: &[u8]) -> Vec<Message> {
    let seen = RefCell::new(Vec::new());
    run(async {
        let (mut client, server) = tokio::io::duplex(ROOM);
        client.write_all(bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let service = service_fn(|request: Request<hyper::body::Incoming>| async {
            let (parts, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                let trailers = body.trailers().cloned().unwrap_or_default();
                seen.borrow_mut().push(Message {
                    start: format!("{} {} {:?}", parts.method, parts.uri, parts.version),
                    fields: parts.headers,
                    body: body.to_bytes().to_vec(),
                    trailers: Some(trailers),
                });
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        // How it ends is no matter.
        let _ = builder
            .half_close(true)
            .serve_connection(TokioIo::new(server), service)
            .await;
    });
    seen.into_inner()
}

fn answer_by_hyper(bytes: &[u8], is_head: bool) -> Option<(String, Vec<u8>)> {
    run(async {
        let (client, mut server) = tokio::io::duplex(ROOM);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(client))
            .await
            .ok()?;
        let answering = async {
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                asked.push(server.read_u8().await.ok()?);
            }
            server.write_all(bytes).await.ok()?;
            server.shutdown().await.ok()
        };
        let method = if is_head { Method::HEAD } else { Method::GET };
        let request = Request::builder().method(method).header(HOST, "a").uri("/");
        let asking = async {
            let answer = sender
                .send_request(request.body(Empty::<Bytes>::new()).unwrap())
                .await
                .ok()?;
            let status = answer.status().as_str().to_owned();
            let body = answer.into_body().collect().await.ok()?;
            drop(sender);
            Some((status, body.to_bytes().to_vec()))
        };
        let (_, _, answer) = futures::join!(connection, answering, asking);
        answer
    })
}
