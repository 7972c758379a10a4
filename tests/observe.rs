//! A cluster that a controller has served, written out as files, in; the plan against the account out.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(dead_code, reason = "the world has more to it than a plan needs")]
#![expect(clippy::unwrap_used, reason = "a panic is a test's report")]

#[path = "controller/world.rs"]
mod world;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use self::world::{CLASSES, INGRESSES, SERVICES, SLICES, World, ingress, until, with};

/// Every kind of the cluster that is read, and where it is listed.
const LISTS: [(&str, &str, &str); 7] = [
    ("networking.k8s.io/v1", "Ingress", INGRESSES),
    ("networking.k8s.io/v1", "IngressClass", CLASSES),
    ("v1", "Service", SERVICES),
    ("discovery.k8s.io/v1", "EndpointSlice", SLICES),
    ("v1", "Pod", "/api/v1/namespaces/shop/pods"),
    ("v1", "Node", "/api/v1/nodes"),
    ("v1", "Namespace", "/api/v1/namespaces"),
];

/// Writes what the cluster holds into a folder, one file a kind.
fn write_out(world: &World, folder: &Path) {
    for (version, kind, path) in LISTS {
        let mut items = world.get(path).unwrap()["items"].clone();
        for item in items.as_array_mut().unwrap() {
            item["apiVersion"] = json!(version);
            item["kind"] = json!(kind);
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        fs::write(folder.join(format!("{kind}.json")), list.to_string()).unwrap();
    }
}

/// What `plan --observe` prints, and the calls it made.
fn plan(world: &World, folder: &Path) -> (Value, Vec<String>) {
    world.moto.record();
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args([
            "plan",
            "--observe",
            "-o",
            "json",
            "--provider",
            "aws",
            "--cluster-name",
            "demo",
        ])
        .args(["--aws-vpc-id", &world.account.vpc, "--manifests"])
        .arg(folder)
        .envs(world.moto.environment())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    (serde_json::from_slice(&output.stdout).unwrap(), world.writes())
}

fn summary(plan: &Value) -> [u64; 4] {
    ["create", "update", "delete", "calls"].map(|count| plan["summary"][count].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_against_the_account_is_what_the_controller_would_do_next() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    with(&world, |world| {
        world.post(INGRESSES, &ingress("web", "web.example.com", &[("/", "web")]))
    })
    .await;
    until(&world, "it is served", |world| {
        (world.hostname("web").is_some() && world.settled("shop.web")).then_some(())
    })
    .await;
    running.stop().await;

    with(&world, |world| {
        let folder = tempfile::tempdir().unwrap();
        write_out(world, folder.path());
        let (settled, writes) = plan(world, folder.path());
        assert_eq!(summary(&settled), [0; 4], "{settled:#}");
        assert_eq!(settled["loadBalancers"][0]["id"], "shop/web");
        assert!(
            !settled["loadBalancers"][0]["resources"]
                .as_array()
                .unwrap()
                .is_empty()
        );

        let file = folder.path().join("Ingress.json");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replace("\"path\":\"/\"", "\"path\":\"/shop\"")).unwrap();
        let (changed, more) = plan(world, folder.path());
        assert_eq!(summary(&changed), [0, 1, 0, 1], "{changed:#}");
        assert_eq!(
            changed["loadBalancers"][0]["changes"][0]["call"],
            "elbv2:ModifyRule"
        );

        fs::write(
            &file,
            json!({"apiVersion": "v1", "kind": "List", "items": []}).to_string(),
        )
        .unwrap();
        let (removed, most) = plan(world, folder.path());
        let deletes = &removed["loadBalancers"][0]["changes"];
        assert!(
            deletes.to_string().contains("elbv2:DeleteLoadBalancer"),
            "{removed:#}"
        );
        assert_eq!(removed["loadBalancers"][0]["resources"], json!([]), "{removed:#}");
        assert!(
            removed["shared"]["changes"]
                .to_string()
                .contains("ec2:DeleteSecurityGroup"),
            "{removed:#}"
        );

        assert_eq!([writes, more, most].concat(), [""; 0], "looking changes nothing");
    })
    .await;
}
