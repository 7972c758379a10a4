//! Backends of several targets in, which target answers whom out.

use std::collections::BTreeSet;
use std::convert::Infallible;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use portcullis_model::Backend;
use tokio::net::TcpListener;

use crate::balancer::{all_to, backend, serve};
use crate::changing::change;
use crate::client::{Answer, Client, Sent, get};
use crate::echo::{Echo, echo};

pub(crate) fn with(mut backend: Backend, attributes: &[(&str, &str)]) -> Backend {
    let attributes = attributes
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()));
    backend.attributes.extend(attributes);
    backend
}

pub(crate) fn carrying(cookies: &str) -> Request<Sent> {
    let request = Request::get("/").header("host", "a").header("cookie", cookies);
    request.body(Sent::default()).unwrap()
}

/// Name and value of the cookie of ours that an answer sets.
pub(crate) fn pair(answer: &Answer) -> Option<&str> {
    let all = answer.response.headers().get_all("set-cookie").iter();
    let mut all = all.map(|value| value.to_str().unwrap());
    let cookie = all.find(|cookie| cookie.starts_with("portcullis-target-"))?;
    cookie.split(';').next()
}

#[tokio::test]
async fn a_client_stays_at_its_target_until_the_target_leaves() {
    let (one, two) = (Echo::http1("one").await, Echo::http1("two").await);
    let sticky = [
        ("stickiness.enabled", "true"),
        ("stickiness.lb_cookie.duration_seconds", "60"),
    ];
    let both = all_to(with(backend("b", &[one.address, two.address]), &sticky));
    let proxy = serve(&both);
    assert!(proxy.problems.is_empty(), "{:?}", proxy.problems);
    let mut client = Client::http1(proxy.http).await;
    let mut pairs = BTreeSet::new();
    for _ in 0..8 {
        let first = client.send(get("a", "/")).await.unwrap();
        let target = first.header("x-backend").unwrap();
        let cookie = first.header("set-cookie").unwrap();
        assert!(
            cookie.ends_with("; Max-Age=60; Path=/; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        let pair = pair(&first).unwrap();
        for _ in 0..8 {
            let again = client.send(carrying(&format!("x=1; {pair}"))).await.unwrap();
            assert_eq!(again.header("x-backend"), Some(target));
            assert_eq!(again.header("set-cookie"), None);
        }
        pairs.insert(pair.to_owned());
    }
    // Where the target has left, or never was, another takes the client and tells it so.
    let left = all_to(with(backend("b", &[one.address]), &sticky));
    change(&proxy.handle, &left);
    for pair in &pairs {
        let answer = client.send(carrying(pair)).await.unwrap();
        assert_eq!(answer.header("x-backend"), Some("one"));
    }
    let name = pairs.first().unwrap().split_once('=').unwrap().0;
    for made_up in ["", "zz", "0", "ffffffffffffffffffffff"] {
        let answer = client.send(carrying(&format!("{name}={made_up}"))).await.unwrap();
        assert!(pair(&answer).is_some(), "{made_up}");
    }
}

#[tokio::test]
async fn with_a_cookie_of_the_application_a_client_stays_while_it_carries_it() {
    // Begins a session where the client asks for one.
    let app = |name: &'static str| {
        Echo::answering(move |request: Request<Incoming>| async move {
            let mut response = Response::builder().header("x-backend", name);
            if request.uri().path() == "/login" {
                response = response.header("set-cookie", "session=1; Path=/");
            }
            Ok::<_, Infallible>(response.body(Sent::default()).unwrap())
        })
    };
    let (one, two) = (app("one").await, app("two").await);
    let sticky = [
        ("stickiness.enabled", "true"),
        ("stickiness.type", "app_cookie"),
        ("stickiness.app_cookie.cookie_name", "session"),
    ];
    let proxy = serve(&all_to(with(backend("b", &[one.address, two.address]), &sticky)));
    assert!(proxy.problems.is_empty(), "{:?}", proxy.problems);
    let mut client = Client::http1(proxy.http).await;
    let plain = client.send(get("a", "/")).await.unwrap();
    assert_eq!(plain.header("set-cookie"), None, "no session has begun");
    let login = client.send(get("a", "/login")).await.unwrap();
    let ours = pair(&login).unwrap();
    for _ in 0..16 {
        let again = client
            .send(carrying(&format!("session=1; {ours}")))
            .await
            .unwrap();
        assert_eq!(again.header("x-backend"), login.header("x-backend"));
    }
    let mut seen = BTreeSet::new();
    for _ in 0..64 {
        let without = client.send(carrying(ours)).await.unwrap();
        seen.insert(without.header("x-backend").unwrap().to_owned());
    }
    assert_eq!(seen.len(), 2, "its session is over");
}

#[tokio::test]
async fn a_target_that_takes_no_connection_rests_unless_no_other_serves() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = free.local_addr().unwrap();
    drop(free);
    let up = Echo::http1("up").await;
    let proxy = serve(&all_to(backend("b", &[down, up.address])));
    let mut client = Client::http1(proxy.http).await;
    for _ in 0..200 {
        assert_eq!(client.send(get("a", "/")).await.unwrap().status(), 200);
    }
    let unreached = proxy.handle.totals().unreached;
    assert!(
        (1..20).contains(&unreached),
        "half of 200 would go there first: {unreached}"
    );

    let alone = serve(&all_to(backend("b", &[down])));
    let mut client = Client::http1(alone.http).await;
    assert_eq!(client.send(get("a", "/")).await.unwrap().status(), 502);
    let back = TcpListener::bind(down).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move {
        let (stream, _) = back.accept().await.unwrap();
        let service = service_fn(|request| echo("back", request));
        let _ = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    });
    let answer = client.send(get("a", "/")).await.unwrap();
    assert_eq!(
        answer.header("x-backend"),
        Some("back"),
        "nobody waits for the end of a rest"
    );
}

#[tokio::test]
async fn a_new_target_has_few_requests_at_first() {
    let (old, new) = (Echo::http1("old").await, Echo::http1("new").await);
    let slow = [("slow_start.duration_seconds", "900")];
    let proxy = serve(&all_to(with(backend("b", &[old.address]), &slow)));
    let both = all_to(with(backend("b", &[old.address, new.address]), &slow));
    change(&proxy.handle, &both);
    let mut client = Client::http1(proxy.http).await;
    let mut to_new = 0;
    for _ in 0..400 {
        let answer = client.send(get("a", "/")).await.unwrap();
        to_new += usize::from(answer.header("x-backend") == Some("new"));
    }
    // A tenth of one half is 20; 400 draws stray from it by 5, mostly.
    assert!((1..80).contains(&to_new), "{to_new}");
}
