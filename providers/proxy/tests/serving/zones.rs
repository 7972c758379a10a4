//! Targets of several zones in, which of them a proxy of one zone asks out.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use portcullis_model::{Backend, Target, TargetState};
use portcullis_proxy::ServerConfig;
use tokio::net::TcpListener;

use crate::balancer::{KeyPairs, all_to, backend, serve_as, target};
use crate::client::{Client, get, get_once};
use crate::echo::Echo;
use crate::targets::{carrying, pair, with};

pub(crate) fn zoned(targets: &[(SocketAddr, &str)]) -> Backend {
    let targets = targets.iter().map(|(address, zone)| Target {
        zone: Some((*zone).into()),
        ..target(*address, TargetState::Ready)
    });
    Backend {
        targets: targets.collect(),
        ..backend("b", &[])
    }
}

/// Who answers so many requests to a proxy of a zone, and how often.
async fn answers(
    targets: &[(SocketAddr, &str)],
    zone: Option<&str>,
    requests: usize,
) -> BTreeMap<String, usize> {
    let config = ServerConfig {
        zone: zone.map(Arc::from),
        ..ServerConfig::default()
    };
    let proxy = serve_as(&all_to(zoned(targets)), &KeyPairs::new(), config);
    let mut client = Client::http1(proxy.http).await;
    let mut seen = BTreeMap::new();
    for _ in 0..requests {
        let answer = client.send(get("a", "/")).await.unwrap();
        assert_eq!(answer.status(), 200);
        *seen
            .entry(answer.header("x-backend").unwrap().to_owned())
            .or_default() += 1;
    }
    seen
}

#[tokio::test]
async fn targets_of_the_proxy_s_zone_come_first() {
    let all = [
        Echo::http1("a1").await,
        Echo::http1("b1").await,
        Echo::http1("a2").await,
        Echo::http1("b2").await,
    ];
    let targets: Vec<_> = all
        .iter()
        .map(|echo| echo.address)
        .zip(["a", "b", "a", "b"])
        .collect();
    for (zone, want) in [
        (None, &["a1", "a2", "b1", "b2"][..]),
        (Some("a"), &["a1", "a2"]),
        (Some("b"), &["b1", "b2"]),
        (Some("c"), &["a1", "a2", "b1", "b2"]),
    ] {
        let seen = answers(&targets, zone, 80).await;
        assert!(seen.keys().eq(want), "{zone:?}: {seen:?}");
    }
}

#[tokio::test]
async fn a_zone_with_few_targets_takes_no_more_than_they_can_carry() {
    let all = [
        Echo::http1("near").await,
        Echo::http1("b1").await,
        Echo::http1("b2").await,
        Echo::http1("b3").await,
    ];
    let targets: Vec<_> = all
        .iter()
        .map(|echo| echo.address)
        .zip(["a", "b", "b", "b"])
        .collect();
    let seen = answers(&targets, Some("a"), 400).await;
    // The average of two zones is 2: half stays near, and a quarter of the other half. 400 draws stray from 250 by 10,
    // mostly.
    assert!((190..310).contains(&seen["near"]), "{seen:?}");
    assert_eq!(seen.len(), 4, "{seen:?}");
}

#[tokio::test]
async fn what_a_target_near_by_cannot_take_goes_to_all_zones() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let down = free.local_addr().unwrap();
    drop(free);
    let (near, far) = (Echo::http1("near").await, Echo::http1("far").await);
    let targets = [(down, "a"), (near.address, "a"), (far.address, "b")];
    let seen = answers(&targets, Some("a"), 200).await;
    assert!(seen["near"] > seen["far"] && seen["far"] > 20, "{seen:?}");
    let alone = answers(&[(down, "a"), (far.address, "b")], Some("a"), 20).await;
    assert_eq!(alone["far"], 20, "{alone:?}");
}

#[tokio::test]
async fn requests_that_a_cookie_keeps_go_to_their_target_in_any_zone() {
    let (near, far) = (Echo::http1("near").await, Echo::http1("far").await);
    let targets = [(near.address, "a"), (far.address, "b")];
    let sticky = all_to(with(zoned(&targets), &[("stickiness.enabled", "true")]));
    let of = |zone: &str| ServerConfig {
        zone: Some(Arc::from(zone)),
        ..ServerConfig::default()
    };
    let (here, there) = (of("a"), of("b"));
    let proxy = serve_as(&sticky, &KeyPairs::new(), there);
    let first = get_once(proxy.http, "a", "/").await;
    assert_eq!(first.header("x-backend"), Some("far"));
    let cookie = pair(&first).unwrap();
    let proxy = serve_as(&sticky, &KeyPairs::new(), here);
    let mut client = Client::http1(proxy.http).await;
    for _ in 0..20 {
        let kept = client.send(carrying(cookie)).await.unwrap();
        assert_eq!(kept.header("x-backend"), Some("far"));
        let new = client.send(get("a", "/")).await.unwrap();
        assert_eq!(new.header("x-backend"), Some("near"));
    }
}
