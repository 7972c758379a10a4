//! The program itself between a real cluster and a real AWS API in; what it does, says and exits with out.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(dead_code, reason = "the world has more to it than the program needs")]

#[path = "controller/world.rs"]
mod world;

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use self::world::{INGRESSES, RECORDS, World, ingress, until, with};

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases/portcullis-leader";
/// What must never be seen: the key of a Secret that an Ingress names.
const KEY: &str = "bm90LWEta2V5LWJ1dC1hLXNlY3JldA==";

fn run(world: &World, log: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args([
            "--log-level",
            "portcullis=trace,info",
            "run",
            "--provider",
            "aws",
            "--cluster-name",
            "demo",
        ])
        .args(["--aws-vpc-id", &world.account.vpc, "--admin", "127.0.0.1:0"])
        .arg("--kubeconfig")
        .arg(world.server.kubeconfig())
        .envs(world.moto.environment())
        // Not a pipe: nobody reads while it runs, and a full one would stop it.
        .stderr(File::create(log).expect("the log can be written"))
        .spawn()
        .expect("the program was built")
}

/// What the address answers.
async fn get(address: &str, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("it answers");
    answer
}

/// Sends SIGTERM; answers the exit code.
fn terminate(mut child: Child) -> Option<i32> {
    let told = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(told.expect("there is a kill").success());
    child.wait().expect("it ends").code()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_serves_ends_cleanly_and_tells_no_secret() {
    let world = Arc::new(World::start().await);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    let log = path.clone();
    let child = with(&world, move |world| {
        world.post(
            "/api/v1/namespaces/shop/secrets",
            &json!({
                "metadata": {"name": "tls"}, "type": "kubernetes.io/tls",
                "data": {"tls.crt": "bm90LWEtY2VydGlmaWNhdGU=", "tls.key": KEY},
            }),
        );
        let mut ingress = ingress("web", "a.shop.example.com", &[("/", "web")]);
        ingress["spec"]["tls"] = json!([{"hosts": ["a.shop.example.com"], "secretName": "tls"}]);
        world.post(INGRESSES, &ingress);
        run(world, &log)
    })
    .await;
    until(&world, "it serves", |world| {
        (world.hostname("web").is_some() && world.settled("shop.web")).then_some(())
    })
    .await;
    let holder = with(&world, |world| world.get(LEASE).expect("there is a lease")).await;
    assert!(holder["spec"]["holderIdentity"].is_string(), "{holder}");

    let said = std::fs::read_to_string(&path).expect("the log is text");
    let admin = said
        .split_once("admin=")
        .and_then(|(_, rest)| rest.split_whitespace().next());
    let counts = get(admin.expect("it says where it listens"), "/metrics").await;
    for line in [
        r#"portcullis_calls_total{call="elbv2:CreateLoadBalancer",outcome="done"} 1"#,
        r#"portcullis_calls_total{call="acm:ListCertificates",outcome="done"} 1"#,
    ] {
        assert!(counts.contains(line), "{line} is not in {counts}");
    }

    let code = with(&world, |_| terminate(child)).await;
    let log = std::fs::read_to_string(path).expect("the log is text");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("released the lease"), "{log}");
    let (lease, record, ingress, events) = with(&world, |world| {
        let events = world
            .get("/apis/events.k8s.io/v1/events")
            .expect("events are listed");
        let record = world
            .get(&format!("{RECORDS}/shop.web"))
            .expect("there is a record");
        (
            world.get(LEASE),
            record,
            world.get(&format!("{INGRESSES}/web")),
            events,
        )
    })
    .await;
    let holder = &lease.expect("it stays")["spec"]["holderIdentity"];
    assert!(
        holder.is_null() || holder == "",
        "the lease is given back: {holder}"
    );

    for key in [KEY, "not-a-key-but-a-secret"] {
        assert!(!log.contains(key), "in the log");
        for told in [
            record.to_string(),
            ingress.clone().unwrap_or_default().to_string(),
            events.to_string(),
        ] {
            assert!(!told.contains(key), "{told}");
        }
    }
}

#[test]
fn what_is_missing_is_said() {
    for (arguments, code, want) in [
        (&["run"][..], 2, "--provider"),
        (&["run", "--provider", "aws"], 2, "--cluster-name"),
        (
            &[
                "run",
                "--provider",
                "aws",
                "--cluster-name",
                "demo",
                "--sync-period",
                "soon",
            ],
            2,
            "is not a time",
        ),
        (
            &[
                "run",
                "--provider",
                "aws",
                "--cluster-name",
                "demo",
                "--kubeconfig",
                "/nowhere",
            ],
            1,
            "failed to read /nowhere",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(arguments)
            .output();
        let output = output.expect("the program was built");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(want), "{arguments:?}: {said}");
    }
}
