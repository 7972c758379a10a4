//! Targets that say how they are in, which of them get requests out.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use portcullis_model::{Backend, BackendVersion, HealthCheck};
use portcullis_proxy::{ServedPorts, ServingState, Settings};
use tokio::sync::{mpsc, oneshot};

use crate::balancer::{KeyPairs, all_to, backend, rule, serve, serve_with, shown, speaking, to};
use crate::changing::change;
use crate::client::{Client, get, soon, until};
use crate::echo::{Echo, converse};
use crate::targets::{carrying, pair, with};

/// Answers `/well` with what it is told to, and all else with its name.
async fn target(name: &'static str, says: Arc<AtomicU16>, is_http2: bool) -> Echo {
    Echo::running(move |stream| {
        let says = says.clone();
        Box::pin(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let said = says.load(Ordering::SeqCst);
                async move {
                    let is_check = request.uri().path() == "/well";
                    let status = if is_check && !is_http2 { said } else { 200 };
                    let response = Response::builder()
                        .status(status)
                        .header("x-backend", name)
                        .header("grpc-status", said.to_string());
                    Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
                }
            });
            converse(stream, is_http2, service).await;
        })
    })
    .await
}

fn checked(backend: Backend, codes: &str) -> Backend {
    Backend {
        health: HealthCheck {
            path: "/well".into(),
            interval_seconds: 1,
            timeout_seconds: 1,
            success_codes: codes.into(),
            ..backend.health.clone()
        },
        is_checked: true,
        ..backend
    }
}

async fn who(client: &mut Client) -> String {
    let answer = client.send(get("a", "/")).await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.header("x-backend").unwrap().to_owned()
}

#[tokio::test]
async fn a_target_that_says_it_is_ill_gets_requests_only_where_all_are() {
    let says = || Arc::new(AtomicU16::new(204));
    let (one_says, two_says) = (says(), says());
    let one = target("one", one_says.clone(), false).await;
    let two = target("two", two_says.clone(), false).await;
    let both = backend("both", &[one.address, two.address]);
    let proxy = serve(&all_to(checked(both.clone(), "200-299")));
    let view = proxy.handle.view();
    let ill = |count| view.to_string().matches(", ill").count() == count;
    let mut client = Client::http1(proxy.http).await;
    assert!(ill(0), "{view}");

    one_says.store(500, Ordering::SeqCst);
    until("one is ill", || ill(1)).await;
    for _ in 0..20 {
        assert_eq!(who(&mut client).await, "two");
    }
    two_says.store(500, Ordering::SeqCst);
    until("both are ill", || ill(2)).await;
    let mut seen: Vec<String> = Vec::new();
    for _ in 0..40 {
        seen.push(who(&mut client).await);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen, ["one", "two"]);
    two_says.store(200, Ordering::SeqCst);
    until("two is well", || ill(1)).await;
    assert_eq!(who(&mut client).await, "two");

    // Nobody asks any more: nobody is ill.
    let ports = ServedPorts::default();
    let (state, _) = ServingState::build(all_to(both), &KeyPairs::new(), None, ports).unwrap();
    proxy.handle.swap(state);
    until("nobody is asked", || ill(0)).await;
}

#[tokio::test]
async fn a_target_that_answers_nothing_is_ill_and_grpc_has_codes_of_its_own() {
    let silent = Echo::running(|stream| {
        Box::pin(async move {
            let _open = stream;
            std::future::pending::<()>().await;
        })
    })
    .await;
    let says = Arc::new(AtomicU16::new(12));
    let grpc = target("grpc", says.clone(), true).await;
    let mut balancer = all_to(checked(backend("silent", &[silent.address]), "200"));
    let grpc = speaking(backend("grpc", &[grpc.address]), BackendVersion::Grpc, false);
    let grpc = checked(grpc, "0,12");
    balancer.backends.insert(grpc.id.clone(), grpc.into());
    let proxy = serve(&balancer);
    let view = proxy.handle.view();
    let ill = |count| view.to_string().matches(", ill").count() == count;
    until("the silent one is ill", || ill(1)).await;
    says.store(13, Ordering::SeqCst);
    until("the other is, too", || ill(2)).await;
    says.store(0, Ordering::SeqCst);
    until("the other is well", || ill(1)).await;
}

#[tokio::test]
async fn what_one_backend_s_checks_find_is_nothing_to_another() {
    let says = Arc::new(AtomicU16::new(204));
    let one = target("one", says.clone(), false).await;
    let two = target("two", says, false).await;
    let both = [one.address, two.address];
    let configured = |timeout_seconds| {
        let mut lax = checked(backend("lax", &both), "200-299");
        let mut strict = checked(backend("strict", &both), "200");
        for backend in [&mut lax, &mut strict] {
            backend.timeout_seconds = timeout_seconds;
        }
        let mut balancer = all_to(with(lax, &[("stickiness.enabled", "true")]));
        balancer.backends.insert(strict.id.clone(), strict.into());
        balancer.rules.insert(0, rule("*", "/strict", to("strict")));
        balancer
    };
    let proxy = serve(&configured(None));
    let mut client = Client::http1(proxy.http).await;
    let first = client.send(get("a", "/")).await.unwrap();
    let (at, cookie) = (first.header("x-backend").unwrap(), pair(&first).unwrap());
    let ill = |backend| {
        let all = shown(&proxy.handle, backend);
        assert_eq!(all.len(), 2, "{all:?}");
        all.iter().filter(|line| line.ends_with(", ill")).count()
    };
    until("both are ill to one backend", || ill("strict") == 2).await;
    for what in ["as it began", "changed"] {
        assert_eq!((ill("strict"), ill("lax")), (2, 0), "{what}");
        for _ in 0..8 {
            let again = client.send(carrying(cookie)).await.unwrap();
            assert_eq!(again.header("x-backend"), Some(at), "{what}");
            assert_eq!(again.header("set-cookie"), None, "{what}");
        }
        // Both backends are made anew, and those who ask go on.
        change(&proxy.handle, &configured(Some(30)));
        let opened = || one.connections.load(Ordering::SeqCst);
        let before = opened();
        until("both have asked again", || {
            assert_eq!((ill("strict"), ill("lax")), (2, 0), "{what}");
            opened() >= before + 4
        })
        .await;
    }
}

/// Whether a target is taken for ill as each check comes, to which it says the next of these.
async fn taken_for_ill(healthy: u32, unhealthy: u32, says: &[u16]) -> Vec<bool> {
    let (tell, mut checks) = mpsc::unbounded_channel();
    let target = Echo::answering(move |_| {
        let (answer, told) = oneshot::channel();
        tell.send(answer).unwrap();
        async move {
            let status: u16 = told.await?;
            let response = Response::builder().status(status);
            Ok::<_, oneshot::error::RecvError>(response.body(Full::<Bytes>::default()).unwrap())
        }
    })
    .await;
    let mut backend = checked(backend("one", &[target.address]), "200");
    // What is slow here is no answer of the target's.
    backend.health.timeout_seconds = 20;
    backend.health.healthy_threshold = healthy;
    backend.health.unhealthy_threshold = unhealthy;
    let proxy = serve(&all_to(backend));
    let mut seen = Vec::new();
    for status in says {
        let answer = soon("a check", checks.recv()).await.unwrap();
        // What came of those before is known: each comes after the other.
        seen.push(shown(&proxy.handle, "one")[0].ends_with(", ill"));
        answer.send(*status).unwrap();
    }
    seen
}

#[tokio::test]
async fn as_many_checks_in_a_row_as_the_threshold_says_change_what_a_target_is_taken_for() {
    let (leaves, comes_back) = futures::future::join(
        taken_for_ill(1, 3, &[500, 500, 200, 500, 500, 500, 200, 200]),
        taken_for_ill(3, 1, &[500, 200, 200, 500, 200, 200, 200, 200]),
    )
    .await;
    assert_eq!(leaves, [false, false, false, false, false, false, true, false]);
    assert_eq!(comes_back, [false, true, true, true, true, true, true, false]);
}

/// However many workers there are.
#[tokio::test]
async fn one_worker_asks_for_all() {
    let one = target("one", Arc::new(AtomicU16::new(200)), false).await;
    let balancer = all_to(checked(backend("one", &[one.address]), "200"));
    let _proxy = serve_with(&balancer, &KeyPairs::new(), Settings::default(), 4);
    let asked = || one.connections.load(Ordering::SeqCst);
    until("the first check", || asked() > 0).await;
    let began = tokio::time::Instant::now();
    until("more of them", || asked() > 3).await;
    // One a second.
    assert!(began.elapsed().as_secs() >= 2, "{:?}", began.elapsed());
}
