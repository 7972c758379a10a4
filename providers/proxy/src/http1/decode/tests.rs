//! Streams of bytes, valid and hostile, in; which requests are read of them, or that they are refused, out.

use proptest::prelude::*;

use super::*;

/// What a reader of events knows in the end: requests as text, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    requests: Vec<String>,
    refused: Option<Refused>,
}

/// Reads all of it, cut at the given places.
fn read_in_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let (mut decoder, mut input, mut read) = (Decoder::new(1024), BytesMut::new(), Read::default());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(Event::Head(Begun { parts, .. }))) => {
                    let fields = parts.headers.iter();
                    let fields: String = fields
                        .map(|(name, value)| format!(" {name}={}", String::from_utf8_lossy(value.as_bytes())))
                        .collect();
                    let Parts {
                        method, uri, version, ..
                    } = *parts;
                    read.requests
                        .push(format!("{method} {uri} {version:?}{fields} |"));
                }
                Ok(Some(Event::Data(data))) => {
                    assert!(!data.is_empty());
                    let last = read.requests.last_mut().unwrap();
                    last.push_str(&String::from_utf8_lossy(&data));
                }
                Ok(Some(Event::End(trailers))) => {
                    let last = read.requests.last_mut().unwrap();
                    last.push_str(&format!("| {}", trailers.len()));
                }
                Ok(None) => break,
                Err(refused) => {
                    read.refused = Some(refused);
                    return read;
                }
            }
        }
    }
    read
}

fn read(bytes: &[u8], piece: usize) -> Read {
    read_in_pieces(bytes.chunks(piece))
}

#[test]
fn a_stream_means_one_thing_or_is_refused() {
    let get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let seen = "GET / HTTP/1.1 host=a || 0";
    let post = |fields: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{body}");
    let chunked = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let seen_chunked = |rest: &str| format!("POST / HTTP/1.1 host=a transfer-encoding=chunked |{rest}");
    for (bytes, want) in [
        // Valid.
        (format!("{get}{get}"), vec![seen.to_owned(), seen.to_owned()]),
        (format!("\r\n\r\n{get}\r\n"), vec![seen.to_owned()]),
        (
            "GET /a?b=c HTTP/1.0\r\n\r\n".to_owned(),
            vec!["GET /a?b=c HTTP/1.0 || 0".to_owned()],
        ),
        (
            "GET http://b/x HTTP/1.1\r\nHost:\r\nX-A: \t1 2 \t\r\n\r\n".to_owned(),
            vec!["GET http://b/x HTTP/1.1 host= x-a=1 2 || 0".to_owned()],
        ),
        (
            post("content-length: 3\r\n", &format!("a\nb{get}")),
            vec![
                "POST / HTTP/1.1 host=a content-length=3 |a\nb| 0".to_owned(),
                seen.to_owned(),
            ],
        ),
        (
            post("Content-Length:0\r\n", get),
            vec![
                "POST / HTTP/1.1 host=a content-length=0 || 0".to_owned(),
                seen.to_owned(),
            ],
        ),
        (
            chunked(&format!("5\r\na\nb\r\n\r\n00\r\n\r\n{get}")),
            vec![seen_chunked("a\nb\r\n| 0"), seen.to_owned()],
        ),
        (
            chunked("A;name=\"v\"\r\n0123456789\r\n1 ;x\r\n!\r\n0\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n"),
            vec![seen_chunked("0123456789!| 2")],
        ),
        (
            post("Transfer-Encoding: CHUNKED\r\n", "0\r\n\r\n"),
            vec!["POST / HTTP/1.1 host=a transfer-encoding=CHUNKED || 0".to_owned()],
        ),
    ] {
        for piece in 1..=bytes.len() {
            let got = read(bytes.as_bytes(), piece);
            let want = Read {
                requests: want.clone(),
                refused: None,
            };
            assert_eq!(got, want, "in pieces of {piece}: {bytes:?}");
        }
    }
    for bytes in [
        post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", ""),
        post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", ""),
        post("Content-Length: 3\r\nContent-Length: 3\r\n", ""),
        post("Content-Length: 3\r\nContent-Length: 4\r\n", ""),
        post("Content-Length: 3, 3\r\n", ""),
        post("Content-Length: +3\r\n", ""),
        post("Content-Length: -3\r\n", ""),
        post("Content-Length: 0x3\r\n", ""),
        post("Content-Length:\r\n", ""),
        post("Content-Length: 99999999999999999999\r\n", ""),
        post("Content-Length : 3\r\n", ""),
        post("Transfer-Encoding: gzip, chunked\r\n", ""),
        post("Transfer-Encoding: chunked, chunked\r\n", ""),
        post("Transfer-Encoding: identity\r\n", ""),
        post("Transfer-Encoding:\r\n", ""),
        post("Transfer-Encoding: \u{b}chunked\r\n", ""),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", ""),
        post("Transfer-Encoding : chunked\r\n", ""),
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n\t: 2\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\n Host: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
        "GET / HTTP/1.1\nHost: a\n\n".to_owned(),
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\rX-B: 2\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\n: no name\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\nX Y: 1\r\n\r\n".to_owned(),
        "GET /\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n".to_owned(),
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "G(T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /\u{7f} HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        chunked("5\nhello\r\n"),
        chunked("5\r\nhello\n0\r\n\r\n"),
        chunked("5\r\nhello!\r\n"),
        chunked("\r\nhello\r\n"),
        chunked(";x\r\n"),
        chunked("-1\r\n"),
        chunked("+1\r\n"),
        chunked("0x1\r\n"),
        chunked(" 1\r\nx\r\n0\r\n\r\n"),
        chunked("fffffffffffffffff\r\n"),
        chunked("00000000000000001\r\n"),
        chunked("5;a\rb\r\nhello\r\n"),
        chunked("0\r\nX-A: 1\n\r\n"),
        chunked("0\r\nX-A: 1\r\n 2\r\n\r\n"),
        chunked("0\r\nno colon\r\n\r\n"),
    ] {
        let whole = read(bytes.as_bytes(), bytes.len());
        assert_eq!(whole.refused, Some(Refused::Malformed), "{bytes:?}");
        for piece in 1..bytes.len() {
            assert_eq!(
                read(bytes.as_bytes(), piece),
                whole,
                "in pieces of {piece}: {bytes:?}"
            );
        }
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_is_whole() {
    let head = "GET / HTTP/1.1\r\nHost: a\r\n";
    let many = format!("{head}{}\r\n", "X: 1\r\n".repeat(100));
    let long = format!("{head}X: {}", "x".repeat(1024));
    let trailers = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n{}",
        "X: 1234567890\r\n".repeat(100)
    );
    let size = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;{}",
        "x".repeat(4096)
    );
    let whole_trailers = format!("{trailers}\r\n");
    let whole_size = format!("{size}\r\nx\r\n0\r\n\r\n");
    for bytes in [many, long, trailers, size, whole_trailers, whole_size] {
        for piece in [1, 7, bytes.len()] {
            let got = read(bytes.as_bytes(), piece).refused;
            assert_eq!(got, Some(Refused::TooLarge), "in pieces of {piece}: {bytes:?}");
        }
    }
}

/// Pieces of messages, good and bad, from which streams are made.
const PIECES: [&str; 26] = [
    "GET / HTTP/1.1\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /x HTTP/1.0\r\n",
    "Host: a\r\n",
    "\r\n",
    "\r\n\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    "Content-Length: 5\r\n",
    "content-length:0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    "Upgrade: x\r\n",
    "5\r\nhello\r\n",
    "0\r\n",
    "0\r\n\r\n",
    "5;a=b\r\n",
    "hello",
    "\0",
    "X-A: 1\r\n",
    ";",
    "ff",
];

proptest! {
    #[test]
    fn it_does_not_matter_how_the_network_cuts(
        parts in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 1..30),
        cuts in proptest::collection::vec(0..400_usize, 0..12),
    ) {
        let bytes = parts.concat();
        let whole = read(bytes.as_bytes(), bytes.len());
        prop_assert_eq!(&read(bytes.as_bytes(), 1), &whole);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|cut| &bytes.as_bytes()[cut[0]..cut[1]]);
        prop_assert_eq!(&read_in_pieces(pieces), &whole);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 1..200), cut in 1..10_usize) {
        read(&bytes, cut);
    }

    /// What stands before hyper refuses no less: both see the same, or it is refused.
    #[test]
    fn what_the_guard_of_hyper_refuses_is_refused(
        parts in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 1..20),
    ) {
        let bytes = parts.concat();
        let mut guard = crate::framing::Framing::new(1024);
        // What asks for another protocol is not looked at any more there.
        if guard.read(bytes.as_bytes()).is_err() && !bytes.contains("Upgrade") {
            // A head is judged when it has come to its end.
            let bytes = format!("{bytes}\r\n\r\n");
            let got = read(bytes.as_bytes(), bytes.len());
            prop_assert!(got.refused.is_some(), "{:?}: {:?}", bytes, got);
        }
    }
}
