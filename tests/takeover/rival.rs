//! The incumbent's lease, renewed and not, in; when the controller that takes its place changes anything out.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::world::{RECORDS, World, until, with};
use crate::{Program, Recording, serve};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const NAME: &str = "aws-load-balancer-controller-leader";
const HOLDER: &str = "aws-load-balancer-controller-7d_1";

fn lease(times: u32) -> Value {
    json!({
        "metadata": {"name": NAME},
        "spec": {
            "holderIdentity": HOLDER, "leaseDurationSeconds": 2,
            "renewTime": format!("2026-11-23T15:45:{:02}.{:06}Z", times / 1000 % 60, times % 1000),
        },
    })
}

/// The incumbent, as far as its lease says: it renews that until this is dropped.
struct Incumbent {
    stop: Arc<AtomicBool>,
    renews: Option<std::thread::JoinHandle<()>>,
}

impl Incumbent {
    fn start(world: &Arc<World>, first: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (world, stopped) = (world.clone(), stop.clone());
        let renews = std::thread::spawn(move || {
            for times in first.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                world.patch(&format!("{LEASES}/{NAME}"), &lease(times));
                std::thread::park_timeout(Duration::from_millis(200));
            }
        });
        let renews = Some(renews);
        Self { stop, renews }
    }
}

impl Drop for Incumbent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Where it failed, the test does too: its world is gone.
        let _ = self.renews.take().map(std::thread::JoinHandle::join);
    }
}

/// What `doctor` prints.
fn doctor(world: &World) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["doctor", "--orphans", "--cluster-name", "demo"])
        .args(["--aws-vpc-id", &world.account.vpc])
        .arg("--kubeconfig")
        .arg(world.server.kubeconfig())
        .envs(world.moto.environment())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_changed_while_the_incumbent_renews_its_lease() {
    let world = Recording("simple").world().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    with(&world, |world| {
        world.post(LEASES, &lease(0));
        world.moto.record();
    })
    .await;
    let incumbent = Incumbent::start(&world, 1);
    let path = log.clone();
    let _running = with(&world, move |world| Program::run(world, &path)).await;
    let waits = |log: &std::path::Path| {
        let answer = Program::ask(log, "/readyz")?;
        let told =
            answer.contains(HOLDER) && answer.contains("kube-system/aws-load-balancer-controller-leader");
        // Of all that is waited for at first, this is left.
        let alone = answer.lines().filter(|line| line.contains(": ")).count();
        (answer.starts_with("HTTP/1.1 503") && told && !answer.contains("not listed") && alone > 0)
            .then_some(())
    };
    let path = log.clone();
    until(&world, "it says why it is not ready", move |_| waits(&path)).await;
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(
        said.contains("the AWS Load Balancer Controller holds its lease"),
        "{said}"
    );
    with(&world, |world| {
        assert_eq!(
            world.get(RECORDS).unwrap()["items"],
            json!([]),
            "nothing is recorded"
        );
        assert_eq!(world.writes(), [""; 0]);
        let said = doctor(world);
        assert!(
            said.contains(HOLDER) && said.contains("changes nothing"),
            "{said}"
        );
    })
    .await;

    drop(incumbent);
    let path = log.clone();
    until(
        &world,
        "it is taken over once the lease has run out",
        move |world| {
            let ready = Program::ask(&path, "/readyz")?.starts_with("HTTP/1.1 200");
            (ready && world.settled("shop.web")).then_some(())
        },
    )
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);

    // Somebody starts it again: it alone changes things, until it stops.
    let incumbent = Incumbent::start(&world, 500_000);
    let path = log.clone();
    until(&world, "it is noticed", move |_| waits(&path)).await;
    with(&world, |world| serve(world, &[0])).await;
    let path = log.clone();
    until(&world, "the change waits for its pass", move |_| {
        let counts = Program::ask(&path, "/metrics")?;
        counts.contains("\nportcullis_queue_waiting 1\n").then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    drop(incumbent);
    until(&world, "what was missed is made up for", |world| {
        (world.writes() == ["elbv2:DeregisterTargets"]).then_some(())
    })
    .await;
}
