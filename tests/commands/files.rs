//! Processes that may have few files open in; who is served all the same, and what is said of it out.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::{ANSWERS, PATIENCE, Serving, get};

#[cfg(target_os = "linux")]
#[test]
fn the_bound_of_open_files_is_raised_as_far_as_it_may_be() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("web.yaml"), ANSWERS.replace("BODY", "web")).unwrap();
    for (bound, want, is_told) in [
        ("-Sn 64 && ulimit -Hn 512", "512", true),
        ("-n 256", "256", true),
        ("-Sn 64", "", false),
    ] {
        // What 512 files are enough for is told only where more are asked for.
        let more = ["--max-connections", if is_told { "32768" } else { "1" }];
        let mut serving = Serving::bounded(bound, dir.path(), &more);
        let limits = fs::read_to_string(format!("/proc/{}/limits", serving.process.id())).unwrap();
        let files = limits.lines().find(|line| line.starts_with("Max open files"));
        let mut words = files.unwrap().split_whitespace().skip(3);
        let (soft, hard) = (words.next().unwrap(), words.next().unwrap());
        assert_eq!(soft, hard, "{bound}");
        assert!(want.is_empty() || soft == want, "{bound}: {soft}");
        serving.signal();
        serving.process.wait().unwrap();
        let told = serving
            .logged()
            .contains("fewer connections than --max-connections");
        assert_eq!(told, is_told, "{bound}");
    }
}

const INGRESS: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  annotations:
    portcullis.dev/active-health-checks: "true"
    portcullis.dev/healthcheck-interval-seconds: "5"
    portcullis.dev/healthcheck-timeout-seconds: "2"
    portcullis.dev/unhealthy-threshold-count: "2"
    alb.ingress.kubernetes.io/actions.fixed: >
      {"type": "fixed-response", "fixedResponseConfig": {"statusCode": "200", "messageBody": "fixed"}}
spec:
  rules:
    - http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
          - {path: /two, pathType: Prefix, backend: {service: {name: two, port: {number: 80}}}}
          - {path: /fixed, pathType: Prefix, backend: {service: {name: fixed, port: {name: use-annotation}}}}
"#;

const SERVICE: &str = r#"---
apiVersion: v1
kind: Service
metadata: {name: NAME, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: NAME, namespace: shop, labels: {kubernetes.io/service-name: NAME}}
addressType: IPv4
ports: [{port: PORT}]
endpoints: [{addresses: ["127.0.0.1"], conditions: {ready: true}}]
"#;

/// Long enough for what answers by itself.
const SOON: Duration = Duration::from_millis(500);

/// Answers checks at once, and all else when it is released. It ends with the test's process.
#[derive(Default)]
struct Hanging {
    asked: AtomicUsize,
    is_released: Mutex<bool>,
    released: Condvar,
}

impl Hanging {
    fn start() -> (Arc<Self>, u16) {
        let hanging = Arc::new(Self::default());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serving = hanging.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, serving) = (stream.unwrap(), serving.clone());
                std::thread::spawn(move || serving.serve(stream));
            }
        });
        (hanging, port)
    }

    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut head = [0; 4096];
        loop {
            let count = stream.read(&mut head)?;
            if count == 0 {
                return Ok(());
            }
            if !String::from_utf8_lossy(&head[..count]).contains("portcullis-health-check") {
                self.asked.fetch_add(1, Ordering::SeqCst);
                let is_released = self.is_released.lock().unwrap();
                drop(
                    self.released
                        .wait_while(is_released, |released| !*released)
                        .unwrap(),
                );
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
        }
    }

    fn release(&self) {
        *self.is_released.lock().unwrap() = true;
        self.released.notify_all();
    }
}

/// A request on a connection, and the answer.
fn ask(stream: &mut TcpStream, path: &str) -> String {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..count]).to_ascii_lowercase()
}

/// So many requests on one connection of HTTP/2, none of which has a body. Sources: RFC 9113 §3.4, §6.2; RFC 7541 §6.
fn many(address: &str, count: u32) -> TcpStream {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for number in 0..count {
        // GET, http, / or /two, and the authority a.
        let path: &[u8] = match number % 2 {
            0 => &[0x84],
            _ => b"\x04\x04/two",
        };
        let block = [&[0x82, 0x86], path, &[0x01, 1, b'a']].concat();
        bytes.extend([0, 0, u8::try_from(block.len()).unwrap(), 1, 5]);
        bytes.extend((2 * number + 1).to_be_bytes());
        bytes.extend(block);
    }
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(&bytes).unwrap();
    stream
}

/// A request that waits for its answer; none where it is answered soon.
fn waiting_for(address: &str, path: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    stream.read(&mut [0]).is_err().then_some(stream)
}

/// What is counted under this name.
fn counted(admin: &str, name: &str) -> u64 {
    let metrics = get(admin, "admin", "/metrics");
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("portcullis_proxy_")?.strip_prefix(name));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn files_that_the_proxy_lacks_are_not_held_against_targets() {
    std::thread::scope(|scope| {
        for engine in ["own", "hyper"] {
            scope.spawn(move || lacks_files(engine));
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
fn lacks_files(engine: &str) {
    // One has no more than half of the files.
    let ((backend, port), (other, other_port)) = (Hanging::start(), Hanging::start());
    let dir = tempfile::tempdir().unwrap();
    let service = |name, port: u16| SERVICE.replace("NAME", name).replace("PORT", &port.to_string());
    let text = [INGRESS, &service("web", port), &service("two", other_port)].concat();
    fs::write(dir.path().join("web.yaml"), text).unwrap();
    let more = ["--admin", "127.0.0.1:0", "--http1-engine", engine];
    let serving = Serving::bounded("-n 256", dir.path(), &more);
    let (_, admin) = serving.ready.trim().rsplit_once(" admin ").unwrap();
    // Of 256 files, 112 are kept for the process itself; clients and targets have 72 each.
    let idle: Vec<TcpStream> = (0..60)
        .map(|number| {
            let mut stream = TcpStream::connect(&serving.http).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let seen = ask(&mut stream, "/fixed");
            assert!(seen.starts_with("http/1.1 200"), "{engine}: {number}: {seen}");
            stream
        })
        .collect();
    let waiting = many(&serving.http, 150);
    let asked = || backend.asked.load(Ordering::SeqCst) + other.asked.load(Ordering::SeqCst);
    let start = Instant::now();
    let mut more = Vec::new();
    while asked() < 72 || counted(admin, "target_files_lacked_total") < 70 {
        assert!(
            start.elapsed() < PATIENCE,
            "{engine}: targets have not got all files"
        );
        // Checks had some, which are free once these are over.
        if counted(admin, "target_files_lacked_total") >= 70 {
            more.extend(["/", "/two"].map(|path| waiting_for(&serving.http, path)));
        }
    }
    // Long enough for checks to fail as often as makes a target ill.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(8) {
        let asked = Instant::now();
        for (address, path, want) in [
            (&*serving.http, "/", "http/1.1 503"),
            (&serving.http, "/two", "http/1.1 503"),
            (&serving.http, "/fixed", "http/1.1 200"),
            (admin, "/readyz", "http/1.1 200"),
        ] {
            let seen = get(address, "a", path).to_ascii_lowercase();
            assert!(seen.starts_with(want), "{engine}: {path}: {seen}");
            let is_told = seen.contains("retry-after: 1");
            assert_eq!(is_told, want.ends_with("503"), "{engine}: {path}: {seen}");
        }
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "{engine}: it answers late"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    backend.release();
    other.release();
    let start = Instant::now();
    while get(admin, "admin", "/table").matches(" 0 under way\n").count() < 2 {
        assert!(
            start.elapsed() < PATIENCE,
            "{engine}: it rests, or is ill, or is asked"
        );
    }
    assert_eq!((asked(), counted(admin, "unreached_total")), (72, 0), "{engine}");
    drop((waiting, more, idle));
    let seen = get(&serving.http, "a", "/").to_ascii_lowercase();
    assert!(seen.starts_with("http/1.1 200"), "{engine}: {seen}");
}
