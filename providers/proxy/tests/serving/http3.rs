//! Requests over HTTP/3 in, the same answers as over HTTP/1.1 and HTTP/2 out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use http::HeaderMap;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response};
use portcullis_model::{Action, BackendVersion, FixedResponse};
use portcullis_proxy::{ServerConfig, ServingState, Settings, TrustedField};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::balancer::{all_to, backend, empty, rule, speaking, to, with_certificates};
use crate::client::{self, get_once, read_until, soon, tls};
use crate::echo::Echo;
use crate::forwarding::requiring_another;
use crate::held::{ALL, at_rest, counting, slow_to_take};
use crate::quic::{Client, HOST, answer, connect, get, over_quic, post, serve, serve_with, whole};
use crate::secure::key_pair;

#[tokio::test]
async fn a_request_is_routed_and_introduced_as_over_any_version() {
    let (one, two) = (Echo::http1("one").await, Echo::http1("two").await);
    let mut balancer = empty();
    *balancer.rules = vec![rule("b.example.com", "/", to("two")), rule("*", "/x", to("one"))];
    for (name, echo) in [("one", &one), ("two", &two)] {
        let backend = backend(name, &[echo.address]);
        balancer.backends.insert(backend.id.clone(), backend.into());
    }
    let served = serve(balancer, 1);
    let mut client = served.client().await;
    for (host, path, want) in [
        (HOST, "/x/y?z=1", Some("one")),
        ("b.example.com", "/", Some("two")),
        (HOST, "/else", None),
    ] {
        let mut request = get(host, path);
        request
            .headers_mut()
            .insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
        let answer = client.send(request, "").await;
        assert_eq!(answer.header("x-backend"), want, "{host}{path}");
        assert!(answer.header("date").is_some(), "{host}{path}");
        let Some(name) = want else {
            assert_eq!(answer.status(), 404, "{host}{path}");
            continue;
        };
        assert!(
            answer.body.starts_with(&format!("{name}\nGET {path} HTTP/1.1\n")),
            "{}",
            answer.body
        );
        let port = served.proxy.https.port().to_string();
        for (field, want) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", port.as_str()),
            ("x-forwarded-host", host),
            ("host", host),
        ] {
            assert_eq!(answer.seen(field), [want], "{host}{path}: {field}");
        }
        // It is a request without a body, and is none to the backend, either.
        assert_eq!(answer.seen("transfer-encoding"), [""; 0]);
        for hop in ["connection", "keep-alive", "x-private"] {
            assert_eq!(answer.header(hop), None, "{hop}");
        }
    }
    let totals = served.proxy.handle.totals();
    assert_eq!((totals.requests(), totals.connections_open), (3, 1));
}

/// Nobody changes protocol over it. Source: RFC 9114 §4.5.
#[tokio::test]
async fn an_answer_names_no_protocol_to_change_to() {
    let backend_side = requiring_another().await;
    let served = serve(all_to(backend("one", &[backend_side.address])), 1);
    let answer = served.client().await.get("/two").await;
    let said = (answer.header("upgrade"), answer.header("connection"));
    assert_eq!((answer.status(), said), (426, (None, None)));
}

#[tokio::test]
async fn clients_are_told_where_it_is_to_be_had() {
    let echo = Echo::http1("one").await;
    let balancer = all_to(backend("one", &[echo.address]));
    for asked in [true, false] {
        let served = serve(balancer.clone(), 1);
        if !asked {
            let before = served.proxy.handle.state();
            let mut without = over_quic(balancer.clone());
            without.options.http3 = false;
            let ports = portcullis_proxy::ServedPorts::default();
            let (state, _) = ServingState::build(without, &served.keys, Some(&before), ports).unwrap();
            served.proxy.handle.swap(state);
        }
        let port = served.proxy.https.port();
        let want = asked.then(|| format!("h3=\":{port}\"; ma=86400"));
        let trusted = [served.trusted.clone()];
        let stream = tls(served.proxy.https, HOST, &trusted, &["h2"]).await.unwrap();
        let mut http2 = client::Client::http2_over(stream).await;
        let request = Request::get(format!("https://{HOST}/")).body(Default::default());
        let answer = http2.send(request.unwrap()).await.unwrap();
        assert_eq!(answer.header("alt-svc"), want.as_deref(), "{asked}");
        // Not over plain HTTP: what says it there could be anybody.
        let answer = get_once(served.proxy.http, HOST, "/").await;
        assert_eq!(answer.header("alt-svc"), None);
        let connected = Client::to(served.proxy.https, HOST, &served.trusted).await;
        match connected {
            Ok(mut client) => {
                assert!(asked);
                assert_eq!(client.get("/").await.header("alt-svc"), want.as_deref());
            }
            Err(error) => assert!(!asked, "{error}"),
        }
    }
}

/// Of what backends say of it nothing goes on; a load balancer in front is the one that its clients reach.
#[tokio::test]
async fn it_is_told_in_place_of_what_backends_say_and_not_behind_a_load_balancer() {
    let echo = Echo::answering(|_| async {
        let response = Response::builder().header("alt-svc", "h3=\":1\"");
        response.body(client::Sent::default())
    })
    .await;
    let ((secret, pem), trusted) = key_pair("web", &[HOST]);
    let keys = [(secret, pem)].into();
    let balancer = over_quic(all_to(backend("one", &[echo.address])));
    let (x, standard) = (TrustedField::XForwarded, TrustedField::Forwarded);
    for (is_behind, field) in [(false, x), (true, x), (true, standard)] {
        let mut config = ServerConfig {
            trusted: is_behind
                .then(|| "127.0.0.0/8".parse().unwrap())
                .into_iter()
                .collect(),
            ..ServerConfig::default()
        };
        config.settings.trusted_field = field;
        let proxy = crate::balancer::serve_as(&balancer, &keys, config);
        let ours = format!("h3=\":{}\"; ma=86400", proxy.https.port());
        for alpn in ["http/1.1", "h2"] {
            let stream = tls(proxy.https, HOST, std::slice::from_ref(&trusted), &[alpn])
                .await
                .unwrap();
            let mut asking = match alpn {
                "h2" => client::Client::http2_over(stream).await,
                _ => client::Client::http1_over(stream).await,
            };
            let request = Request::get(format!("https://{HOST}/")).header("host", HOST);
            let answer = asking
                .send(request.body(client::Sent::default()).unwrap())
                .await
                .unwrap();
            let said = answer.header("alt-svc");
            let want = if is_behind { "h3=\":1\"" } else { &ours };
            assert_eq!(said, Some(want), "{alpn}, behind one: {is_behind}, {field:?}");
        }
    }
}

#[tokio::test]
async fn it_is_opened_when_it_is_first_asked_for() {
    let ((secret, pem), trusted) = key_pair("web", &[HOST]);
    let keys = [(secret, pem)].into();
    let fixed = rule("*", "/", Action::Fixed(FixedResponse::not_found()));
    let mut balancer = with_certificates(empty(), &[("web", &[HOST])]);
    balancer.rules.push(fixed);
    let proxy = crate::balancer::serve_with(&balancer, &keys, Settings::default(), 2);
    // Nobody has the port.
    drop(std::net::UdpSocket::bind(proxy.https).unwrap());
    balancer.options.http3 = true;
    let before = proxy.handle.state();
    let (state, problems) = ServingState::build(balancer, &keys, Some(&before), Default::default()).unwrap();
    assert_eq!(problems, []);
    proxy.handle.swap(state);
    let mut client = Client::to(proxy.https, HOST, &trusted).await.unwrap();
    assert_eq!(client.get("/").await.status(), 404);
}

/// As a process has it whose place another has taken, until it ends.
#[tokio::test]
async fn a_port_that_somebody_had_is_opened_when_it_is_free() {
    let (keys, trusted) = key_pair("web", &[HOST]);
    let keys = [keys].into();
    let mut balancer = with_certificates(empty(), &[("web", &[HOST])]);
    let fixed = rule("*", "/", Action::Fixed(FixedResponse::not_found()));
    balancer.rules.push(fixed);
    let proxy = crate::balancer::serve_with(&balancer, &keys, Settings::default(), 2);
    let had = std::net::UdpSocket::bind(proxy.https).unwrap();
    balancer.options.http3 = true;
    let before = proxy.handle.state();
    let (state, _) = ServingState::build(balancer, &keys, Some(&before), Default::default()).unwrap();
    proxy.handle.swap(state);
    soon("the port", proxy.handle.tried_again()).await;
    drop(had);
    soon("the port", proxy.handle.tried_again()).await;
    let mut client = Client::to(proxy.https, HOST, &trusted).await.unwrap();
    assert_eq!(client.get("/").await.status(), 404);
    assert!(proxy.handle.tried_again().now_or_never().is_none(), "all is open");
}

#[tokio::test]
async fn bodies_pass_both_ways_with_their_trailers() {
    for version in [BackendVersion::Http1, BackendVersion::Http2] {
        let echo = Echo::running(move |stream| {
            Box::pin(crate::echo::converse(
                stream,
                version == BackendVersion::Http2,
                hyper::service::service_fn(|request| crate::echo::echo("one", request)),
            ))
        })
        .await;
        let served = serve(
            all_to(speaking(backend("one", &[echo.address]), version, false)),
            1,
        );
        let mut client = served.client().await;
        for length in [0, 1, 1000, 70_000, 4_000_000] {
            let body = "x".repeat(length);
            let answer = client.send(post("/"), body.clone()).await;
            assert_eq!(answer.status(), 200, "{length}");
            assert!(
                answer.body.ends_with(&format!("\n\n{body}")),
                "{length} to {version:?}"
            );
        }
        // In pieces, one of which is empty, with trailers.
        let mut request = post("/");
        request.headers_mut().insert("te", "trailers".parse().unwrap());
        request.headers_mut().insert("trailer", "x-sum".parse().unwrap());
        let mut stream = client.begin(request).await;
        for piece in ["ab", "", "cd"] {
            stream.send_data(Bytes::from(piece)).await.unwrap();
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "4".parse().unwrap());
        stream.send_trailers(trailers).await.unwrap();
        stream.finish().await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.body.contains("\n\nabcd"), "{}", answer.body);
        assert!(
            answer.body.ends_with("trailer x-sum: 4\n"),
            "{version:?}: {}",
            answer.body
        );
    }
}

/// Says how the length of a body and what is sent of it must agree.
#[tokio::test]
async fn a_body_is_as_long_as_it_is_said_to_be() {
    let echo = Echo::http1("one").await;
    let served = serve(all_to(backend("one", &[echo.address])), 1);
    for (said, sent, fits) in [
        (4, "abcd", true),
        (5, "abcd", false),
        (3, "abcd", false),
        (0, "a", false),
    ] {
        let mut client = served.client().await;
        let mut request = post("/");
        request.headers_mut().insert("content-length", said.into());
        let mut stream = client.begin(request).await;
        stream.send_data(Bytes::from(sent)).await.unwrap();
        let _ = stream.finish().await;
        let answered = whole(&mut stream).await;
        let is_served = answered.is_ok_and(|(answer, _)| answer.status() == 200);
        assert_eq!(is_served, fits, "{said} of {sent:?}");
    }
}

#[tokio::test]
async fn half_an_answer_never_passes_for_all_of_it() {
    const MOST: usize = 64;
    let echo = Echo::running(|mut stream| {
        Box::pin(async move {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let answer = match head.split(' ').nth(1).unwrap() {
                "/all" => "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n".to_owned(),
                "/chunks" => "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n".to_owned(),
                "/length" => "content-length: 8\r\n\r\nhalf".to_owned(),
                "/long" => format!("\r\n{}", "x".repeat(MOST + 1)),
                path => panic!("{path}"),
            };
            let answer = format!("HTTP/1.1 200 OK\r\nconnection: close\r\n{answer}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
    })
    .await;
    let mut settings = Settings::default();
    settings.limits.answer_bytes = Some(MOST.try_into().unwrap());
    let served = serve_with(all_to(backend("one", &[echo.address])), 1, settings);
    let mut client = served.client().await;
    for (path, is_whole) in [
        ("/all", true),
        ("/chunks", false),
        ("/length", false),
        ("/long", false),
        ("/all", true),
    ] {
        let mut stream = client.begin(get(HOST, path)).await;
        stream.finish().await.unwrap();
        let answered = whole(&mut stream).await;
        assert_eq!(answered.is_ok(), is_whole, "{path}");
    }
}

/// Answers gRPC with a message and its status in trailers.
async fn grpc() -> Echo {
    Echo::running(|stream| {
        let service = hyper::service::service_fn(|request: Request<Incoming>| async move {
            let collected = request.into_body().collect().await.unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            let frames = [
                Ok::<_, std::io::Error>(Frame::data(collected.to_bytes())),
                Ok(Frame::trailers(trailers)),
            ];
            let response = Response::builder().header("content-type", "application/grpc");
            Ok::<_, std::convert::Infallible>(
                response
                    .body(StreamBody::new(futures::stream::iter(frames)))
                    .unwrap(),
            )
        });
        Box::pin(async move {
            let builder = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            let _ = builder
                .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                .await;
        })
    })
    .await
}

#[tokio::test]
async fn grpc_passes_and_failures_have_its_status() {
    let target = grpc().await;
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    for (address, want) in [(target.address, Some("0")), (nobody, None)] {
        let balancer = all_to(speaking(backend("one", &[address]), BackendVersion::Grpc, false));
        let served = serve(balancer, 1);
        let mut client = served.client().await;
        let mut request = post("/shop.Cart/Add");
        let headers = request.headers_mut();
        headers.insert("content-type", "application/grpc".parse().unwrap());
        headers.insert("te", "trailers".parse().unwrap());
        let mut stream = client.begin(request).await;
        stream
            .send_data(Bytes::from_static(b"\0\0\0\0\x01a"))
            .await
            .unwrap();
        stream.finish().await.unwrap();
        let (answer, trailers) = whole(&mut stream).await.unwrap();
        assert_eq!(answer.status(), 200);
        match want {
            Some(status) => {
                assert_eq!(answer.body, "\0\0\0\0\x01a");
                assert_eq!(trailers.unwrap()["grpc-status"], status);
            }
            None => assert_eq!(answer.header("grpc-status"), Some("14")),
        }
    }
}

#[tokio::test]
async fn the_server_name_chooses_the_certificate_of_this_moment() {
    let hosts: [(&str, &[&str]); 2] = [("one", &["a.example.com"]), ("two", &["b.example.com"])];
    let mut keys = BTreeMap::new();
    let mut trusted = Vec::new();
    for (name, hosts) in hosts {
        let ((secret, pem), certificate) = key_pair(name, &[hosts[0], "unknown.org"]);
        keys.insert(secret, pem);
        trusted.push(certificate);
    }
    let mut balancer = with_certificates(empty(), &hosts);
    balancer.options.http3 = true;
    let proxy = crate::balancer::serve_with(&balancer, &keys, Settings::default(), 1);
    for (name, want) in [("a.example.com", 0), ("B.Example.Com", 1), ("unknown.org", 0)] {
        for (place, certificate) in trusted.iter().enumerate() {
            let connected = connect(proxy.https, name, certificate, None).await;
            assert_eq!(connected.is_ok(), place == want, "{name}");
        }
    }
    // Another in its place, while a connection goes on.
    let mut client = Client::to(proxy.https, "a.example.com", &trusted[0])
        .await
        .unwrap();
    let ((secret, pem), newer) = key_pair("one", &["a.example.com"]);
    keys.insert(secret, pem);
    let before = proxy.handle.state();
    let (state, problems) = ServingState::build(balancer, &keys, Some(&before), Default::default()).unwrap();
    assert_eq!(problems, []);
    proxy.handle.swap(state);
    assert!(connect(proxy.https, "a.example.com", &newer, None).await.is_ok());
    assert!(
        connect(proxy.https, "a.example.com", &trusted[0], None)
            .await
            .is_err()
    );
    assert_eq!(client.get("/").await.status(), 404);
}

/// No client sends anything before the handshake is over: it could be sent again by whoever saw it.
#[tokio::test]
async fn nothing_is_taken_early() {
    let echo = Echo::http1("one").await;
    let served = serve(all_to(backend("one", &[echo.address])), 1);
    let (endpoint, first) = connect(served.proxy.https, HOST, &served.trusted, None)
        .await
        .unwrap();
    let mut client = Client::over(endpoint.clone(), first).await;
    assert_eq!(client.get("/").await.status(), 200);
    client.quic.close(0_u32.into(), b"");
    let again = endpoint.connect(served.proxy.https, HOST).unwrap().into_0rtt();
    assert!(
        again.is_err(),
        "the session may be taken up, and says that nothing is taken early"
    );
}

#[tokio::test]
async fn a_slow_backend_holds_up_its_client_and_takes_no_memory() {
    let go_on = Arc::new(Notify::new());
    let echo = slow_to_take(&go_on).await;
    let other = Echo::http1("other").await;
    let mut balancer = all_to(backend("one", &[echo.address]));
    balancer.rules.insert(0, rule("*", "/other", to("other")));
    let quick = backend("other", &[other.address]);
    balancer.backends.insert(quick.id.clone(), quick.into());
    let served = serve(balancer, 1);
    let mut client = served.client().await;
    let mut stream = client.begin(post("/")).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let mut sending = JoinSet::new();
    sending.spawn(async move {
        let piece = Bytes::from(vec![b'x'; 256 * 1024]);
        for _ in 0..64 {
            stream.send_data(piece.clone()).await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
        }
        stream.finish().await.unwrap();
        answer(&mut stream).await.body
    });
    // Some lies in the sockets' buffers, and a window of it here.
    let some = at_rest(&sent).await;
    assert!(some < 64, "16 MiB went to a backend that takes nothing");
    // Others on the connection are served meanwhile.
    assert_eq!(client.get("/other").await.status(), 200);
    go_on.notify_one();
    let body = soon("the answer", sending.join_next()).await.unwrap();
    assert_eq!(body.unwrap(), "ok");
}

#[tokio::test]
async fn a_slow_client_holds_up_its_backend() {
    let written = Arc::new(AtomicUsize::new(0));
    let echo = counting(&written).await;
    let served = serve(all_to(backend("one", &[echo.address])), 1);
    let mut client = served.client().await;
    let mut stream = client.begin(get(HOST, "/")).await;
    stream.finish().await.unwrap();
    let response = soon("a head", stream.recv_response()).await.unwrap();
    assert_eq!(response.status(), 200);
    let before = at_rest(&written).await;
    assert!(before < ALL, "all of it went to a client that takes nothing");
    let mut length = 0;
    soon("all of it", async {
        while let Some(data) = stream.recv_data().await.unwrap() {
            length += bytes::Buf::remaining(&data);
        }
    })
    .await;
    assert_eq!(length, ALL);
}

#[tokio::test]
async fn a_call_that_its_client_gives_up_is_given_up_at_the_backend() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let echo = Echo::running(move |mut stream| {
        let tell = tell.clone();
        Box::pin(async move {
            read_until(&mut stream, "\r\n\r\n").await;
            tell.send("asked").unwrap();
            // Its end, or an error: nobody waits any more.
            let _ = stream.read(&mut [0]).await;
            tell.send("given up").unwrap();
        })
    })
    .await;
    let served = serve(all_to(backend("one", &[echo.address])), 1);
    let mut client = served.client().await;
    let mut stream = client.begin(get(HOST, "/")).await;
    stream.finish().await.unwrap();
    assert_eq!(soon("the request", told.recv()).await, Some("asked"));
    stream.stop_sending(h3::error::Code::H3_REQUEST_CANCELLED);
    assert_eq!(soon("the end", told.recv()).await, Some("given up"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let echo = Echo::answering(crate::bodies::of_length).await;
    let mut settings = Settings::default();
    settings.timeouts.body = Duration::from_millis(500);
    let served = serve_with(all_to(backend("one", &[echo.address])), 1, settings);
    let mut client = served.client().await;
    let mut stream = client.begin(get(HOST, "/known?16000000")).await;
    stream.finish().await.unwrap();
    let view = served.proxy.handle.view();
    client::until("it is cut off", || view.totals().untaken == 1).await;
    client::until("no place is held", || view.to_string().contains(" 0 under way")).await;
    assert!(
        whole(&mut stream).await.is_err(),
        "half an answer passes for all of it"
    );
    assert_eq!(
        client.get("/known?1").await.status(),
        200,
        "the connection goes on"
    );
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused() {
    let echo = Echo::http1("one").await;
    let mut settings = Settings::default();
    settings.limits.body_bytes = Some(4);
    let served = serve_with(all_to(backend("one", &[echo.address])), 1, settings);
    let mut client = served.client().await;
    for (body, want) in [("abcd", 200), ("abcde", 413), ("abcd", 200)] {
        assert_eq!(client.send(post("/"), body).await.status(), want, "{body}");
    }
}
