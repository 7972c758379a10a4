//! Requests that have something in common in, which target they go to out.

use std::collections::{BTreeMap, BTreeSet};

use hyper::Request;
use ipnet::IpNet;
use portcullis_model::{AffinityKey, Backend, LoadBalancer};
use portcullis_proxy::ServerConfig;
use tokio::net::TcpListener;

use crate::balancer::{KeyPairs, all_to, backend, serve, serve_as};
use crate::changing::change;
use crate::client::{Client, Sent, get};
use crate::echo::Echo;
use crate::targets::{pair, with};

fn led(by: &str, targets: &[std::net::SocketAddr]) -> LoadBalancer {
    all_to(Backend {
        affinity: Some(AffinityKey::parse(by).unwrap()),
        ..backend("b", targets)
    })
}

fn carrying(path: &str, field: &str, value: &str) -> Request<Sent> {
    let request = Request::get(path).header("host", "a").header(field, value);
    request.body(Sent::default()).unwrap()
}

async fn at(client: &mut Client, request: Request<Sent>) -> String {
    let answer = client.send(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.header("x-backend").unwrap().to_owned()
}

#[tokio::test]
async fn requests_of_one_key_go_to_one_target_and_keys_to_all() {
    let all = [
        Echo::http1("one").await,
        Echo::http1("two").await,
        Echo::http1("three").await,
    ];
    let targets: Vec<_> = all.iter().map(|echo| echo.address).collect();
    // What has key `n`; what has none, or one that is not asked for.
    type Make = fn(u32) -> Request<Sent>;
    let rows: [(&str, Make, Option<Make>); 5] = [
        (
            "client-ip",
            |n| carrying("/", "x-forwarded-for", &format!("192.0.2.{n}")),
            None,
        ),
        (
            "header:X-User",
            |n| carrying("/", "x-user", &n.to_string()),
            Some(|_| carrying("/", "x-user", "")),
        ),
        (
            "cookie:user",
            |n| carrying("/", "cookie", &format!("a=b; user={n}")),
            Some(|n| carrying("/", "cookie", &format!("a={n}"))),
        ),
        ("path", |n| get("a", &format!("/{n}?x")), None),
        ("uri", |n| get("a", &format!("/?{n}")), None),
    ];
    for (by, keyed, without) in rows {
        let config = ServerConfig {
            trusted: vec!["127.0.0.0/8".parse::<IpNet>().unwrap()],
            ..ServerConfig::default()
        };
        let proxy = serve_as(&led(by, &targets), &KeyPairs::new(), config);
        let mut client = Client::http1(proxy.http).await;
        let mut seen = BTreeSet::new();
        for n in 0..40 {
            let first = at(&mut client, keyed(n)).await;
            for _ in 0..3 {
                assert_eq!(at(&mut client, keyed(n)).await, first, "{by} {n}");
            }
            seen.insert(first);
        }
        assert_eq!(seen.len(), 3, "{by}");
        if let Some(without) = without {
            let mut seen = BTreeSet::new();
            for _ in 0..80 {
                seen.insert(at(&mut client, without(1)).await);
            }
            assert_eq!(seen.len(), 3, "{by}: nothing leads those without");
        }
    }
}

#[tokio::test]
async fn the_keys_of_a_target_that_leaves_or_rests_alone_move() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = free.local_addr().unwrap();
    drop(free);
    let (one, two) = (Echo::http1("one").await, Echo::http1("two").await);
    let three = Echo::http1("three").await;
    let all = led("path", &[one.address, two.address, three.address]);
    let proxy = serve(&all);
    let mut client = Client::http1(proxy.http).await;
    let mut home = BTreeMap::new();
    for n in 0..40 {
        let path = format!("/{n}");
        home.insert(path.clone(), at(&mut client, get("a", &path)).await);
    }
    change(&proxy.handle, &led("path", &[one.address, two.address, down]));
    let mut moved = 0;
    for (path, before) in &home {
        let now = at(&mut client, get("a", path)).await;
        moved += usize::from(now != *before);
        assert!(
            now == *before || before == "three",
            "{path} was at {before}, is at {now}"
        );
        assert_eq!(at(&mut client, get("a", path)).await, now, "{path}");
    }
    let gone = home.values().filter(|before| *before == "three").count();
    assert_eq!(moved, gone, "those of the one that left, none of it rests");
    change(&proxy.handle, &all);
    for (path, before) in &home {
        assert_eq!(at(&mut client, get("a", path)).await, *before, "{path} is back");
    }
}

#[tokio::test]
async fn a_sticky_cookie_leads_before_a_key_does() {
    let all = [
        Echo::http1("one").await,
        Echo::http1("two").await,
        Echo::http1("three").await,
    ];
    let targets: Vec<_> = all.iter().map(|echo| echo.address).collect();
    let sticky = with(
        Backend {
            affinity: Some(AffinityKey::parse("path").unwrap()),
            ..backend("b", &targets)
        },
        &[("stickiness.enabled", "true")],
    );
    let proxy = serve(&all_to(sticky));
    let mut client = Client::http1(proxy.http).await;
    let first = client.send(get("a", "/first")).await.unwrap();
    let (home, cookie) = (first.header("x-backend").unwrap(), pair(&first).unwrap());
    let mut elsewhere = BTreeSet::new();
    for n in 0..40 {
        let path = format!("/{n}");
        assert_eq!(
            at(&mut client, carrying(&path, "cookie", cookie)).await,
            home,
            "{path}"
        );
        elsewhere.insert(at(&mut client, get("a", &path)).await);
    }
    assert_eq!(elsewhere.len(), 3, "without it the key leads");
}
