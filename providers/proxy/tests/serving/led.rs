//! Requests that have something in common in, which target they go to out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use ipnet::IpNet;
use portcullis_model::{AffinityKey, Backend, LoadBalancer};
use portcullis_proxy::{ServerConfig, Settings};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, all_to, backend, serve, serve_as, serve_with, shown};
use crate::changing::change;
use crate::client::{Client, Sent, get, until};
use crate::echo::{Echo, echo};
use crate::targets::{pair, with};
use crate::zones::zoned;

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

#[tokio::test]
async fn each_proxy_in_any_zone_leads_a_key_to_the_same_target() {
    let all = [
        Echo::http1("one").await,
        Echo::http1("two").await,
        Echo::http1("three").await,
    ];
    let addresses = all.iter().map(|echo| echo.address);
    let targets: Vec<_> = addresses.zip(["a", "a", "b"]).collect();
    let balancer = all_to(Backend {
        affinity: Some(AffinityKey::parse("path").unwrap()),
        ..zoned(&targets)
    });
    let mut homes = Vec::new();
    for zone in [None, Some("a"), Some("b")] {
        let config = ServerConfig {
            zone: zone.map(Arc::from),
            ..ServerConfig::default()
        };
        let proxy = serve_as(&balancer, &KeyPairs::new(), config);
        let mut client = Client::http1(proxy.http).await;
        let mut home = Vec::new();
        for n in 0..40 {
            home.push(at(&mut client, get("a", &format!("/{n}"))).await);
        }
        homes.push(home);
    }
    assert_eq!(homes[0].iter().collect::<BTreeSet<_>>().len(), 3);
    assert!(homes.iter().all(|home| *home == homes[0]), "{homes:?}");
}

#[tokio::test]
async fn the_next_target_of_a_key_takes_what_the_first_has_no_room_for() {
    let (go, going) = watch::channel(false);
    let holding = move |name: &'static str| {
        let going = going.clone();
        Echo::answering(move |request: Request<Incoming>| {
            let mut going = going.clone();
            async move {
                if request.uri().path() == "/held" {
                    let _ = going.wait_for(|going| *going).await;
                }
                echo(name, request).await
            }
        })
    };
    let all = [holding("one").await, holding("two").await];
    let targets: Vec<_> = all.iter().map(|echo| echo.address).collect();
    let mut settings = Settings::default();
    settings.limits.under_way = 1;
    let proxy = serve_with(&led("header:x-user", &targets), &KeyPairs::new(), settings, 1);
    let asking = |path: &str| carrying(path, "x-user", "7");
    let home = at(&mut Client::http1(proxy.http).await, asking("/")).await;
    let mut held = JoinSet::new();
    for under_way in 1..=2 {
        let (address, request) = (proxy.http, asking("/held"));
        held.spawn(async move { at(&mut Client::http1(address).await, request).await });
        let asked = || {
            let all = shown(&proxy.handle, "b");
            all.iter().filter(|line| line.contains(" 1 under way")).count()
        };
        until("it waits at a target", || asked() == under_way).await;
        let answer = Client::http1(proxy.http).await.send(asking("/")).await.unwrap();
        let next = answer.header("x-backend").map(str::to_owned);
        match under_way {
            1 => assert!(answer.status() == 200 && next.as_ref() != Some(&home), "{next:?}"),
            _ => assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("1"))),
        }
    }
    go.send_replace(true);
    let at: BTreeSet<String> = held.join_all().await.into_iter().collect();
    assert_eq!(at.len(), 2);
}
