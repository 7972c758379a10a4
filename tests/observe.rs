//! A cluster that a controller has served, written out as files, in; the plan against the account out.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(dead_code, reason = "the world has more to it than a plan needs")]
#![expect(clippy::unwrap_used, reason = "a panic is a test's report")]

#[path = "controller/world.rs"]
mod world;
#[path = "controller/written.rs"]
mod written;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use self::world::{INGRESSES, RECORDS, SLICES, World, ingress, until, with};
use self::written::write_out;

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

        // A mistake in the class deletes nothing, here as there.
        let (ours, gone) = ("\"ingressClassName\":\"alb\"", "\"ingressClassName\":\"gone\"");
        assert!(text.contains(ours), "{text}");
        fs::write(&file, text.replace(ours, gone)).unwrap();
        let (refused, _) = plan(world, folder.path());
        assert_eq!(summary(&refused), [0; 4], "{refused:#}");
        assert_eq!(refused["problems"][0]["code"], "ClassNotFound", "{refused:#}");

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

/// What is done to the cluster, and when that is served.
type Step = (&'static str, fn(&World), fn(&World) -> Option<()>);

/// Both load balancers are as they should be.
fn served(world: &World) -> Option<()> {
    let all =
        ["web", "api"].map(|name| world.hostname(name).is_some() && world.settled(&format!("shop.{name}")));
    all.iter().all(|settled| *settled).then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_says_how_many_calls_are_made() {
    let world = Arc::new(World::start().await);
    let steps: [Step; 5] = [
        (
            "two load balancers are made",
            |world| {
                for name in ["web", "api"] {
                    world.post(
                        INGRESSES,
                        &ingress(name, &format!("{name}.example.com"), &[("/", "web")]),
                    );
                }
            },
            served,
        ),
        (
            "paths are added and moved",
            |world| {
                let paths = [("/shop", "web"), ("/", "web"), ("/cart", "web")];
                world.patch(
                    &format!("{INGRESSES}/web"),
                    &ingress("web", "web.example.com", &paths),
                );
            },
            served,
        ),
        (
            "targets leave, and others come",
            |world| {
                world.pod("web-3", 1, 1);
                let endpoints = world.endpoints(&[("web-1", 0, 0), ("web-3", 1, 1)]);
                world.patch(&format!("{SLICES}/web"), &json!({"endpoints": endpoints}));
            },
            served,
        ),
        (
            "pods listen elsewhere",
            |world| world.patch(&format!("{SLICES}/web"), &json!({"ports": [{"port": 9090}]})),
            served,
        ),
        (
            "all goes",
            |world| {
                for name in ["web", "api"] {
                    world.delete(&format!("{INGRESSES}/{name}"));
                }
            },
            |world| {
                let list = world.get(RECORDS)?;
                list["items"].as_array()?.is_empty().then_some(())
            },
        ),
    ];
    for (what, act, done) in steps {
        let (planned, calls) = with(&world, move |world| {
            act(world);
            let folder = tempfile::tempdir().unwrap();
            write_out(world, folder.path());
            let (plan, writes) = plan(world, folder.path());
            assert_eq!(writes, [""; 0], "{what}: a plan writes nothing");
            world.moto.record();
            let balancers = plan["loadBalancers"].as_array().unwrap().iter();
            let changes = balancers.chain([&plan["shared"]]).map(|part| &part["changes"]);
            let each = changes.flat_map(|changes| changes.as_array().unwrap());
            let mut calls: Vec<String> = each
                .map(|change| change["call"].as_str().unwrap().to_owned())
                .collect();
            calls.sort();
            (plan, calls)
        })
        .await;
        let running = world.control(world.aws().await).await;
        let expected = calls.len();
        // The records still say what was served before.
        until(&world, what, move |world| {
            (world.writes().len() >= expected).then_some(())?;
            done(world)
        })
        .await;
        running.stop().await;
        let mut made = with(&world, World::writes).await;
        made.sort();
        assert!(!calls.is_empty(), "{what}: {planned:#}");
        assert_eq!(made, calls, "{what}");
        assert_eq!(planned["summary"]["calls"], made.len(), "{what}: {planned:#}");
    }
}
