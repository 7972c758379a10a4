//! What rules change of fields in, what backends and clients see of them out.

use hyper::Request;
use portcullis_model::{
    Action, Direction, Filters, FixedResponse, HeaderChanges, HeaderName, LoadBalancer, Redirect,
};

use crate::balancer::{backend, empty, filtered, origin, rule, serve, to};
use crate::client::{Client, Sent};
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
        ("a.com", "x-add", &["ours", "theirs"]),
        ("a.com", "x-gone", &[]),
        ("a.com", "authorization", &[]),
        ("b.com", "x-set", &["again", "theirs"]),
        ("b.com", "x-gone", &["theirs"]),
        ("b.com", "authorization", &["Basic YTpi"]),
    ] {
        let answer = client.send(ask(host, "/")).await.unwrap();
        assert_eq!(answer.seen(name), want, "{host} {name}");
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
