//! Flags of `portcullis serve` in, an effect of each out.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write, copy, sink};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::certificates::Pair;
use crate::{ANSWERS, PATIENCE, Serving};

/// A backend that answers with its name and the head of the request, in small letters; at `/long` with 3,000 bytes, at
/// `/never` with nothing.
struct Backend {
    port: u16,
    /// Gets one for each request for `/never`.
    asked: Receiver<()>,
}

impl Backend {
    fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, asked) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let tell = tell.clone();
                thread::spawn(move || {
                    let mut reader = BufReader::new(&stream);
                    let lines = reader.by_ref().lines().map_while(Result::ok);
                    let head: Vec<String> = lines
                        .take_while(|line| !line.is_empty())
                        .map(|line| line.to_ascii_lowercase())
                        .collect();
                    let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
                    let length = length.map_or(0, |length| length.parse().unwrap());
                    let _ = copy(&mut reader.by_ref().take(length), &mut sink());
                    let first = head.first().map_or("", String::as_str);
                    if first.starts_with("get /never ") {
                        let _ = tell.send(());
                        // Until the proxy ends the connection.
                        let _ = reader.read(&mut [0]);
                        return;
                    }
                    let body = match first.starts_with("get /long ") {
                        true => "x".repeat(3000),
                        false => format!("{name}\n{}\n", head.join("\n")),
                    };
                    let _ = write!(
                        &stream,
                        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                });
            }
        });
        Self { port, asked }
    }
}

/// An Ingress for `web.example` whose targets are these, each in a zone of its name.
fn served_by(backends: &[(&str, &Backend)]) -> String {
    let slice = |(zone, backend): &(&str, &Backend)| {
        format!(
            "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: one-{zone}, namespace: shop, labels: {{kubernetes.io/service-name: one}}}}\n\
             addressType: IPv4\nports: [{{port: {}}}]\n\
             endpoints: [{{addresses: [\"127.0.0.1\"], zone: {zone}, conditions: {{ready: true}}}}]\n",
            backend.port
        )
    };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: one, namespace: shop}}\nspec: {{ports: [{{port: 80}}]}}\n{}\
         ---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: one, namespace: shop}}\n\
         spec:\n  rules:\n    - host: web.example\n      http:\n        \
         paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: one, port: {{number: 80}}}}}}}}]\n",
        backends.iter().map(slice).collect::<String>()
    )
}

/// What comes until the connection ends.
fn sent(address: &str, text: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_load_balancer_in_front_is_believed_and_answers_are_logged() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start("one");
    fs::write(dir.path().join("web.yaml"), served_by(&[("a", &backend)])).unwrap();
    let log = dir.path().join("access.log");
    let flags = [
        ["--trusted-proxies", "127.0.0.0/8"],
        ["--trusted-proxies-write", "forwarded"],
        ["--access-log", log.to_str().unwrap()],
        ["--access-log-format", "common"],
        ["--advertised-http-port", "8099"],
    ];
    let mut flags = flags.concat();
    flags.extend(["--trusted-proxies-identify", "--write-forwarded"]);
    let mut serving = Serving::start(dir.path(), &flags);
    let fields = "web.example\r\nForwarded: for=198.51.100.1\r\nX-Amzn-Oidc-Identity: ann";
    let answer = serving.get(fields, "/");
    for line in [
        "x-forwarded-for: 198.51.100.1",
        "forwarded: for=198.51.100.1;host=\"web.example\";proto=http, for=127.0.0.1",
        "x-amzn-oidc-identity: ann",
        "x-forwarded-port: 8099",
    ] {
        assert!(answer.contains(&format!("\n{line}\n")), "{line}: {answer}");
    }
    serving.terminate();
    let logged = fs::read_to_string(&log).unwrap();
    let is_common = logged.starts_with("198.51.100.1 - - [") && logged.contains("] \"GET / HTTP/1.1\" 200 ");
    assert!(is_common && logged.lines().count() == 1, "{logged}");
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
fn bounds_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let backend = Backend::start("one");
    fs::write(dir.path().join("web.yaml"), served_by(&[("a", &backend)])).unwrap();
    fs::write(dir.path().join("shop.yaml"), ANSWERS.replace("BODY", "fixed")).unwrap();
    let log = dir.path().join("access.log");
    let flags = [
        ["--max-request-body", "10"],
        ["--max-response-body", "2000"],
        ["--max-requests-per-target", "1"],
        ["--max-connection-age", "1"],
        ["--drain-seconds", "1"],
        ["--access-log", log.to_str().unwrap()],
        ["--access-log-one-in", "4294967295"],
    ];
    let mut serving = Serving::start(dir.path(), &flags.concat());
    let start = Instant::now();
    let mut kept = TcpStream::connect(&serving.http).unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    loop {
        // Nothing is asked of it any more once it has been told to end.
        write!(kept, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
        let mut buffer = [0; 4096];
        let count = kept.read(&mut buffer).unwrap();
        let answer = String::from_utf8_lossy(&buffer[..count]).to_ascii_lowercase();
        assert!(answer.starts_with("http/1.1 200 "), "{answer}");
        if answer.contains("\r\nconnection: close\r\n") {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "it grows old: {answer}");
    }
    let head = "POST / HTTP/1.1\r\nHost: web.example\r\nConnection: close\r\nContent-Length:";
    for (body, want) in [("0123456789", 200), ("0123456789a", 413)] {
        let answer = sent(&serving.http, &format!("{head} {}\r\n\r\n{body}", body.len()));
        assert!(answer.starts_with(&format!("HTTP/1.1 {want} ")), "{answer}");
    }
    let long = serving.get("web.example", "/long");
    assert!(long.starts_with("HTTP/1.1 502 "), "{long}");
    let mut hanging = TcpStream::connect(&serving.http).unwrap();
    write!(hanging, "GET /never HTTP/1.1\r\nHost: web.example\r\n\r\n").unwrap();
    backend.asked.recv_timeout(PATIENCE).unwrap();
    let more = serving.get("web.example", "/");
    assert!(more.starts_with("HTTP/1.1 503 "), "{more}");
    // What hangs still is cut off, long before it would be otherwise.
    let start = Instant::now();
    serving.signal();
    while serving.process.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(15), "it waits longer");
        thread::yield_now();
    }
    let logged = fs::read_to_string(&log).unwrap();
    assert!(!logged.contains("\"status\":200"), "{logged}");
    assert!(
        logged.contains("\"status\":502") && logged.contains("\"status\":503"),
        "{logged}"
    );
}

#[test]
fn heads_of_connections_zones_and_ports_of_redirects_count() {
    let dir = tempfile::tempdir().unwrap();
    let (near, far) = (Backend::start("near"), Backend::start("far"));
    fs::write(
        dir.path().join("web.yaml"),
        served_by(&[("a", &near), ("b", &far)]),
    )
    .unwrap();
    let pair = Pair::of(&["shop.example"]);
    let redirect = "  annotations:\n    alb.ingress.kubernetes.io/listen-ports: '[{\"HTTP\":80},{\"HTTPS\":443}]'\n    \
                    alb.ingress.kubernetes.io/ssl-redirect: '443'\n";
    let moved = ANSWERS.replace("  annotations:\n", redirect);
    let tls = "  tls: [{hosts: [shop.example], secretName: tls}]\n---\n";
    fs::write(
        dir.path().join("shop.yaml"),
        format!("{moved}{tls}{}", pair.secret("shop")),
    )
    .unwrap();
    let flags = [
        ["--proxy-protocol-from", "127.0.0.0/8"],
        ["--zone", "a"],
        ["--advertised-https-port", "4443"],
    ];
    let serving = Serving::start(dir.path(), &flags.concat());
    let head = "PROXY TCP4 198.51.100.1 127.0.0.1 4711 80\r\n";
    let ask = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        sent(&serving.http, &format!("{head}{request}"))
    };
    for _ in 0..20 {
        let answer = ask("web.example");
        for line in ["near", "x-forwarded-for: 198.51.100.1"] {
            assert!(answer.contains(&format!("\n{line}\n")), "{line}: {answer}");
        }
    }
    let answer = ask("shop.example");
    assert!(answer.contains(": https://shop.example:4443/\r\n"), "{answer}");
}
