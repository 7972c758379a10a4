//! What rules change of fields in, what backends and clients see of them out.

use hyper::Request;
use portcullis_model::{
    Action, Direction, Filters, FixedResponse, HeaderChanges, HeaderName, LoadBalancer, Redirect,
};

use crate::balancer::{backend, empty, filtered, origin, rule, serve, to};
use crate::client::{Client, Sent, raw};
use crate::echo::Echo;

type Pairs<'a> = &'a [(&'a str, &'a str)];

pub(crate) fn changes(
    direction: Direction,
    set: Pairs<'_>,
    add: Pairs<'_>,
    remove: &[&str],
) -> HeaderChanges {
    let name = |text: &str| HeaderName::parse(text).unwrap();
    let pairs = |pairs: Pairs<'_>| -> Vec<(HeaderName, String)> {
        pairs
            .iter()
            .map(|(key, value)| (name(key), (*value).to_owned()))
            .collect()
    };
    let remove: Vec<HeaderName> = remove.iter().map(|text| name(text)).collect();
    HeaderChanges::new(direction, &pairs(set), &pairs(add), &remove, origin()).unwrap()
}

fn balancer(echo: &Echo) -> LoadBalancer {
    let mut balancer = empty();
    let backend = backend("one", &[echo.address]);
    balancer.backends.insert(backend.id.clone(), backend.into());
    let filters = Filters {
        request_headers: Some(changes(
            Direction::Request,
            &[("x-set", "ours")],
            &[("x-add", "ours")],
            &["x-gone", "authorization"],
        )),
        response_headers: Some(changes(
            Direction::Response,
            &[("strict-transport-security", "max-age=1"), ("x-backend", "ours")],
            &[("vary", "x-a")],
            &["server", "content-type"],
        )),
        ..Filters::default()
    };
    let fixed = Action::Fixed(FixedResponse::new(410, Some("text/plain".into()), None).unwrap());
    let redirect = Action::Redirect(Redirect::to_https(portcullis_model::Port::HTTPS));
    *balancer.rules = vec![
        filtered(rule("a.com", "/fixed", fixed), filters.clone()),
        filtered(rule("a.com", "/redirect", redirect), filters.clone()),
        filtered(rule("a.com", "/absent", to("nobody")), filters.clone()),
        filtered(rule("a.com", "/", to("one")), filters),
        rule("b.com", "/", to("one")),
    ];
    balancer
}

fn ask(host: &str, path: &str) -> Request<Sent> {
    let request = Request::get(path)
        .header("host", host)
        .header("x-set", "theirs")
        .header("x-set", "again")
        // Backends behind CGI take it for the same.
        .header("x_set", "theirs")
        .header("x_gone", "theirs")
        .header("x-add", "theirs")
        .header("x-gone", "theirs")
        .header("authorization", "Basic YTpi");
    request.body(Sent::default()).unwrap()
}

#[tokio::test]
async fn backends_see_the_fields_of_a_request_as_the_rule_changes_them() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo));
    let mut client = Client::http1(proxy.http).await;
    for (host, name, want) in [
        ("a.com", "x-set", &["ours"][..]),
        ("a.com", "x_set", &[]),
        ("a.com", "x-add", &["ours", "theirs"]),
        ("a.com", "x-gone", &[]),
        ("a.com", "x_gone", &[]),
        ("a.com", "authorization", &[]),
        ("b.com", "x-set", &["again", "theirs"]),
        ("b.com", "x_set", &["theirs"]),
        ("b.com", "x-gone", &["theirs"]),
        ("b.com", "authorization", &["Basic YTpi"]),
    ] {
        let answer = client.send(ask(host, "/")).await.unwrap();
        assert_eq!(answer.seen(name), want, "{host} {name}");
    }
}

/// Some servers make fields of trailers.
#[tokio::test]
async fn trailers_do_not_say_what_the_rule_says_in_their_place() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo));
    let said = [
        "x-add: a",
        "x-gone: a",
        "x-set: a",
        "x-sum: a",
        "x_gone: a",
        "x_set: a",
    ];
    for (host, want) in [("a.com", &["x-add: a", "x-sum: a"][..]), ("b.com", &said)] {
        let names: Vec<&str> = said.iter().filter_map(|said| said.split(':').next()).collect();
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: {}\r\n\r\n2\r\nx\n\r\n0\r\n{}\r\n\r\n",
            names.join(", "),
            said.join("\r\n"),
        );
        let answer = raw(proxy.http, request.as_bytes()).await;
        let mut told: Vec<&str> = answer
            .lines()
            .filter_map(|line| line.strip_prefix("trailer "))
            .collect();
        told.sort_unstable();
        assert_eq!(told, want, "{host}: {answer}");
    }
}

#[tokio::test]
async fn every_answer_of_a_rule_has_its_fields() {
    let echo = Echo::http1("one").await;
    let proxy = serve(&balancer(&echo));
    for (path, status) in [("/", 200), ("/fixed", 410), ("/redirect", 301), ("/absent", 503)] {
        let mut client = Client::http1(proxy.http).await;
        let answer = client.send(ask("a.com", path)).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(
            answer.header("strict-transport-security"),
            Some("max-age=1"),
            "{path}"
        );
        assert_eq!(answer.header("x-backend"), Some("ours"), "{path}");
        assert_eq!(answer.header("vary"), Some("x-a"), "{path}");
        assert_eq!(answer.header("content-type"), None, "{path}");
    }
    let mut client = Client::http1(proxy.http).await;
    let answer = client.send(ask("b.com", "/")).await.unwrap();
    assert_eq!(answer.header("x-backend"), Some("one"));
    assert_eq!(answer.header("vary"), None);
}
