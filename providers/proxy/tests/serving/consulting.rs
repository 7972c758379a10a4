//! A backend that says who may pass and requests in, who passes and what is told of them out.

use std::convert::Infallible;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use portcullis_model::{
    Action, BasicAuth, Code, ExternalAuth, Filters, HeaderName, LoadBalancer, ObjectName, Period, Port,
    RateLimit, Redirect, SignIn,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::balancer::{backend, empty, filtered, id, origin, rule, serve, to};
use crate::client::{Answer, Client, Sent, raw, read_until, soon};
use crate::cors::{SHOP, cors};
use crate::echo::Echo;

/// Asks who somebody is by a token; answers as the token says, and tells all that it was asked.
async fn authority(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let is_empty = body.collect().await.is_ok_and(|body| body.to_bytes().is_empty());
    let token = parts.headers.get("x-token").and_then(|token| token.to_str().ok());
    let status = match token {
        Some("ann") => 200,
        Some("bare") => 204,
        Some("forbidden") => 403,
        Some("moved") => 302,
        Some("broken") => 500,
        Some("long") => 206,
        _ => 401,
    };
    let field = |name: &str| {
        let value = parts.headers.get(name);
        value.map_or_else(
            || "-".to_owned(),
            |value| String::from_utf8_lossy(value.as_bytes()).into(),
        )
    };
    let asked = format!(
        "{} {} {is_empty} {} {} {} {} {} {} {} {} {}",
        parts.method,
        parts.uri,
        field("x-forwarded-method"),
        field("x-forwarded-uri"),
        field("x-forwarded-for"),
        field("content-type"),
        field("range"),
        field("x-original-method"),
        field("x-original-url"),
        field("x_original_url"),
        field("x-auth-request-redirect"),
    );
    let mut response = Response::builder().status(status).header("x-asked", asked);
    if status == 200 {
        response = response
            .header("x-user", "ann")
            .header("x-role", "a")
            .header("x-role", "b");
        response = response.header("x-secret", "not for backends");
    }
    if status == 401 {
        response = response.header("www-authenticate", "Bearer");
        response = response.header("set-cookie", "login=begun");
        response = response.header("connection", "x-hop").header("x-hop", "1");
    }
    let body = match status {
        206 => Bytes::from(vec![b'x'; 1 << 20]),
        204 => Bytes::new(),
        _ => Bytes::from("said by the authority"),
    };
    Ok(response.body(Full::new(body)).unwrap())
}

async fn running() -> Echo {
    Echo::answering(authority).await
}

fn consulting(name: &str) -> Filters {
    let told = ["x-user", "x-role", "x-asked"]
        .iter()
        .map(|name| HeaderName::parse(name).unwrap());
    let asked = ExternalAuth::new(id(name), "/verify?for=shop", told.collect(), origin());
    Filters {
        external_auth: Some(asked.unwrap()),
        ..Filters::default()
    }
}

/// The same, and who is not known is sent to log in.
fn sending(page: &str) -> Filters {
    let mut filters = consulting("auth");
    if let Some(asked) = &mut filters.external_auth {
        asked.sign_in = Some(SignIn::parse(page).unwrap());
    }
    filters
}

fn balancer(echo: &Echo, authority: &Echo) -> LoadBalancer {
    let mut balancer = empty();
    let gone = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    for (name, targets) in [
        ("one", vec![echo.address]),
        ("auth", vec![authority.address]),
        ("nobody", vec![]),
        ("gone", vec![gone]),
    ] {
        let backend = backend(name, &targets);
        balancer.backends.insert(backend.id.clone(), backend.into());
    }
    *balancer.rules = vec![
        rule("open.com", "/", to("one")),
        filtered(rule("a.com", "/", to("one")), consulting("auth")),
        filtered(rule("nobody.com", "/", to("one")), consulting("nobody")),
        filtered(rule("gone.com", "/", to("one")), consulting("gone")),
        filtered(rule("unknown.com", "/", to("one")), consulting("unknown")),
        filtered(rule("path.com", "/", to("one")), sending("/in?rd=#{target}")),
        filtered(
            rule("url.com", "/", to("one")),
            sending("https://#{host}/in?rd=#{url}"),
        ),
        filtered(rule("*", "/", to("one")), sending("#{protocol}://#{host}/in")),
    ];
    balancer
}

async fn ask(client: &mut Client, host: &str, token: &str) -> Answer {
    let request = Request::post("/cart?item=1")
        .header("host", host)
        .header("x-token", token)
        .header("content-type", "text/plain")
        .header("range", "bytes=0-1")
        .header("x-forwarded-uri", "/forged")
        .header("x-original-url", "http://a.com/forged")
        .header("x_original_url", "http://a.com/forged")
        // What only the authority may say.
        .header("x-user", "root")
        .header("x_user", "root")
        .header("x-role", "admin");
    client
        .send(request.body(Sent::from("hello")).unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn who_is_let_pass_is_told_of_and_nobody_says_it_of_themselves() {
    let (echo, authority) = (Echo::http1("one").await, running().await);
    let proxy = serve(&balancer(&echo, &authority));
    let codes: Vec<Code> = proxy.problems.iter().map(|problem| problem.code).collect();
    assert_eq!(
        codes,
        [Code::OptionUnsupported],
        "the rule that asks a backend that there is not"
    );
    let mut client = Client::http1(proxy.http).await;
    for (token, user, roles) in [
        ("ann", &["ann"][..], &["a", "b"][..]),
        ("bare", &[], &[]),
        ("ann", &["ann"], &["a", "b"]),
        ("long", &[], &[]),
    ] {
        let answer = ask(&mut client, "a.com", token).await;
        assert_eq!(answer.status(), 200, "{token}");
        assert_eq!(answer.seen("x-user"), user, "{token}");
        assert_eq!(answer.seen("x_user"), [""; 0], "{token}");
        assert_eq!(answer.seen("x-role"), roles, "{token}");
        assert_eq!(answer.seen("x-secret"), [""; 0], "{token}");
        assert_eq!(answer.seen("content-type"), ["text/plain"], "{token}");
        assert!(answer.body.ends_with("\n\nhello"), "{token}: {}", answer.body);
        let asked = "GET /verify?for=shop true POST /cart?item=1 127.0.0.1 - - \
                     POST http://a.com/cart?item=1 - /cart?item=1";
        assert_eq!(answer.seen("x-asked"), [asked], "{token}");
        assert_eq!(answer.header("x-asked"), None, "{token}");
    }
}

#[tokio::test]
async fn who_is_not_let_pass_gets_what_the_authority_says() {
    let (echo, authority) = (Echo::http1("one").await, running().await);
    let proxy = serve(&balancer(&echo, &authority));
    for (host, token, status, body) in [
        ("a.com", "", 401, "said by the authority"),
        ("a.com", "forbidden", 403, "said by the authority"),
        ("a.com", "moved", 500, "500 Internal Server Error\n"),
        ("a.com", "broken", 500, "500 Internal Server Error\n"),
        ("nobody.com", "ann", 500, "500 Internal Server Error\n"),
        ("gone.com", "ann", 500, "500 Internal Server Error\n"),
        ("unknown.com", "ann", 503, "503 Service Unavailable\n"),
    ] {
        let mut client = Client::http1(proxy.http).await;
        let answer = ask(&mut client, host, token).await;
        assert_eq!((answer.status(), &*answer.body), (status, body), "{host} {token}");
        assert_eq!(answer.header("x-backend"), None, "{host} {token}");
        assert_eq!(
            answer.header("www-authenticate"),
            (status == 401).then_some("Bearer"),
            "{host} {token}"
        );
        assert_eq!(answer.header("x-hop"), None, "{host} {token}");
    }
    assert_eq!(echo.connections.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn who_is_not_known_is_sent_to_log_in() {
    let (echo, authority) = (Echo::http1("one").await, running().await);
    let proxy = serve(&balancer(&echo, &authority));
    for (host, token, status, location) in [
        ("path.com", "", 302, Some("/in?rd=%2Fcart%3Fitem%3D1")),
        (
            "url.com",
            "",
            302,
            Some("https://url.com/in?rd=http%3A%2F%2Furl.com%2Fcart%3Fitem%3D1"),
        ),
        (
            "url.com:8443",
            "",
            302,
            Some("https://url.com:8443/in?rd=http%3A%2F%2Furl.com%3A8443%2Fcart%3Fitem%3D1"),
        ),
        ("url.com", "ann", 200, None),
        // Whoever is known, but may not.
        ("url.com", "forbidden", 403, None),
        ("url.com", "broken", 500, None),
    ] {
        let mut client = Client::http1(proxy.http).await;
        let answer = ask(&mut client, host, token).await;
        assert_eq!(answer.status(), status, "{host} {token}");
        assert_eq!(answer.header("location"), location, "{host} {token}");
        if status == 302 {
            assert_eq!(answer.header("set-cookie"), Some("login=begun"), "{host}");
            assert_eq!(answer.header("www-authenticate"), None, "{host}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{host}");
            assert_eq!(answer.body, "", "{host}");
        }
        assert_eq!(
            answer.header("x-backend").is_some(),
            status == 200,
            "{host} {token}"
        );
    }
    // No URL can be made of these, and no browser speaks gRPC.
    for (head, want) in [
        ("GET / HTTP/1.0\r\n\r\n", "401"),
        (
            "POST / HTTP/1.1\r\nhost: path.com\r\ncontent-type: application/grpc\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            "401",
        ),
        (
            "GET / HTTP/1.1\r\nhost: other.com\r\nconnection: close\r\n\r\n",
            "302",
        ),
    ] {
        let answer = raw(proxy.http, head.as_bytes()).await;
        assert_eq!(answer.split(' ').nth(1), Some(want), "{head}: {answer}");
    }
}

#[tokio::test]
async fn nobody_waits_for_what_an_authority_says_beside() {
    let echo = Echo::http1("one").await;
    let authority = Echo::running(|mut stream| {
        Box::pin(async move {
            let _ = read_until(&mut stream, "\r\n\r\n").await;
            let answer = b"HTTP/1.1 200 OK\r\nx-user: ann\r\ncontent-length: 100\r\n\r\nbegun";
            let _ = stream.write_all(answer).await;
            // Until the proxy leaves.
            let _ = stream.read(&mut [0]).await;
        })
    })
    .await;
    let proxy = serve(&balancer(&echo, &authority));
    let mut client = Client::http1(proxy.http).await;
    let answer = soon("an answer", ask(&mut client, "a.com", "")).await;
    assert_eq!((answer.status(), answer.seen("x-user")), (200, vec!["ann"]));
}

/// Some servers make fields of trailers.
#[tokio::test]
async fn trailers_say_nothing_that_fields_must_not() {
    let (echo, authority) = (Echo::http1("one").await, running().await);
    let proxy = serve(&balancer(&echo, &authority));
    let claims = [
        "x-forwarded-for: 192.0.2.1",
        "forwarded: for=192.0.2.1",
        "x-real-ip: 192.0.2.1",
        "x-amzn-oidc-identity: root",
        "x-amzn-mtls-clientcert-subject: CN=root",
        "x-user: root",
        "x-sum: 1",
    ];
    for (host, want) in [
        ("open.com", &["trailer x-sum: 1", "trailer x-user: root"][..]),
        ("a.com", &[]),
    ] {
        let names: Vec<&str> = claims
            .iter()
            .filter_map(|claim| claim.split(':').next())
            .collect();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\nx-token: ann\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: {}\r\n\r\n2\r\nx\n\r\n0\r\n{}\r\n\r\n",
            names.join(", "),
            claims.join("\r\n"),
        );
        let answer = raw(proxy.http, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
        let mut told: Vec<&str> = answer
            .lines()
            .filter(|line| line.starts_with("trailer "))
            .collect();
        told.sort_unstable();
        assert_eq!(told, want, "{host}: {answer}");
    }
}

/// What costs least is asked first, and nobody is asked for credentials before a browser may send them.
#[tokio::test]
async fn an_authority_is_asked_last_and_before_all_that_is_done() {
    let (echo, authority) = (Echo::http1("one").await, running().await);
    let asked = || authority.connections.load(Ordering::SeqCst) > 0;
    let mut balancer = balancer(&echo, &authority);
    let users = ObjectName::new("shop", "nowhere");
    let all = Filters {
        rate_limit: Some(RateLimit::new(2, Period::Hour, None, origin()).unwrap()),
        cors: Some(cors(&[SHOP], true)),
        basic_auth: Some(BasicAuth::new(users, "Shop", origin()).unwrap()),
        ..consulting("auth")
    };
    let with_login = Filters {
        cors: Some(cors(&[SHOP], true)),
        ..consulting("auth")
    };
    let moved = Action::Redirect(Redirect::to_https(Port::HTTPS));
    *balancer.rules = vec![
        filtered(rule("a.com", "/", to("one")), all),
        filtered(rule("b.com", "/", moved), with_login),
    ];
    let proxy = serve(&balancer);
    let mut client = Client::http1(proxy.http).await;
    let preflight = [("origin", SHOP), ("access-control-request-method", "PUT")];
    for (method, host, fields, want) in [
        ("OPTIONS", "a.com", &preflight[..], 204),
        // Its users are nowhere to be had: nobody passes.
        ("GET", "a.com", &[("x-token", "ann")], 503),
        ("GET", "a.com", &[("x-token", "ann")], 429),
        ("OPTIONS", "a.com", &preflight, 429),
        ("OPTIONS", "b.com", &preflight, 204),
    ] {
        let mut request = Request::builder().method(method).uri("/").header("host", host);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(Sent::default()).unwrap();
        assert_eq!(
            client.send(request).await.unwrap().status(),
            want,
            "{method} {host}"
        );
        assert!(!asked(), "{method} {host}");
    }
    // Whatever the rule does: even a redirect is not for whom it does not let pass.
    for (token, want) in [("forbidden", 403), ("ann", 301)] {
        let request = Request::get("/").header("host", "b.com").header("x-token", token);
        let request = request.body(Sent::default()).unwrap();
        assert_eq!(client.send(request).await.unwrap().status(), want, "{token}");
        assert!(asked());
    }
}
