//! What the AWS Load Balancer Controller left behind in; what taking over changes, and what it does not, out.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(dead_code, reason = "the world has more to it than taking over needs")]
#![expect(clippy::unwrap_used, reason = "a panic is a test's report")]

#[path = "takeover/beside.rs"]
mod beside;
#[path = "takeover/world.rs"]
mod recording;
#[path = "takeover/rival.rs"]
mod rival;
#[path = "controller/world.rs"]
mod world;

use std::fs;
use std::path::Path;
use std::process::Command;

use portcullis_test_support::Moto;
use serde_json::{Value, json};

use self::recording::{Program, Recording};
use self::world::{RECORDS, World, until, with};

/// What `plan --observe` prints of a folder of manifests.
fn plan(moto: &Moto, vpc: &str, folder: &Path) -> Value {
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
        .args([
            "--controller-name",
            "ingress.k8s.aws/alb",
            "--aws-vpc-id",
            vpc,
            "--manifests",
        ])
        .arg(folder)
        .envs(moto.environment())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Kinds of resources with how many of each, such as `2 Listener`.
fn kinds(resources: &Value) -> Vec<String> {
    let mut kinds: Vec<&str> = resources
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["kind"].as_str().unwrap())
        .collect();
    kinds.sort_unstable();
    let chunks = kinds.chunk_by(|a, b| a == b);
    chunks.map(|same| format!("{} {}", same.len(), same[0])).collect()
}

/// The calls of a plan, in their order.
fn calls(plan: &Value) -> Vec<&str> {
    let balancers = plan["loadBalancers"].as_array().unwrap();
    let all = balancers
        .iter()
        .map(|balancer| &balancer["changes"])
        .chain([&plan["shared"]["changes"]]);
    all.flat_map(|changes| changes.as_array().unwrap())
        .map(|change| change["call"].as_str().unwrap())
        .collect()
}

#[test]
fn taking_over_plans_nothing_and_the_next_change_alone() {
    let moto = Moto::start();
    for (recording, id, members, resources, (from, to), next) in [
        (
            Recording("simple"),
            "shop/web",
            &["shop/web"][..],
            &[
                "1 Listener",
                "1 ListenerRule",
                "1 LoadBalancer",
                "1 SecurityGroup",
                "1 TargetGroup",
            ][..],
            ("- path: /\n", "- path: /shop\n"),
            &["elbv2:ModifyRule"][..],
        ),
        (
            Recording("group-https"),
            "public",
            &["blog/posts", "shop/front", "shop/weighted"],
            &[
                "2 Listener",
                "6 ListenerRule",
                "1 LoadBalancer",
                "1 SecurityGroup",
                "6 TargetGroup",
            ],
            ("\"HTTP_302\"", "\"HTTP_301\""),
            &["elbv2:ModifyRule"],
        ),
        (
            Recording("instance"),
            "legacy/app",
            &["legacy/app"],
            &[
                "2 Listener",
                "4 ListenerRule",
                "1 LoadBalancer",
                "1 SecurityGroup",
                "3 TargetGroup",
            ],
            (
                "idle_timeout.timeout_seconds=120",
                "idle_timeout.timeout_seconds=60",
            ),
            &["elbv2:ModifyLoadBalancerAttributes"],
        ),
    ] {
        recording.replay(&moto);
        moto.record();
        let settled = plan(&moto, &recording.vpc(), &recording.file("cluster"));
        assert_eq!(calls(&settled), [""; 0], "{recording:?}: {settled:#}");
        let [balancer] = settled["loadBalancers"].as_array().unwrap().as_slice() else {
            panic!("{recording:?}: one load balancer: {settled:#}");
        };
        assert_eq!(balancer["id"], id);
        assert_eq!(balancer["members"], json!(members), "{recording:?}");
        assert_eq!(kinds(&balancer["resources"]), resources, "{recording:?}");
        assert_eq!(balancer["problems"], json!([]), "{recording:?}");
        let shared = &settled["shared"]["resources"];
        assert!(
            !shared.as_array().unwrap().is_empty(),
            "{recording:?}: {settled:#}"
        );
        let codes = settled["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|problem| &problem["code"]);
        let codes: Vec<&Value> = codes.filter(|code| *code != "KindIgnored").collect();
        assert_eq!(codes, [] as [&Value; 0], "{recording:?}");

        let folder = tempfile::tempdir().unwrap();
        for file in ["manifests.yaml", "nodes.yaml"] {
            let text = fs::read_to_string(recording.file(&format!("cluster/{file}"))).unwrap();
            fs::write(folder.path().join(file), text.replacen(from, to, 1)).unwrap();
        }
        let changed = plan(&moto, &recording.vpc(), folder.path());
        assert_eq!(calls(&changed), next, "{recording:?}: {changed:#}");
        let writes: Vec<_> = moto.calls().into_iter().filter(|call| call.writes()).collect();
        assert_eq!(writes, [], "{recording:?}: looking changes nothing");
    }
}

const BINDINGS: &str = "/apis/elbv2.k8s.aws/v1beta1/targetgroupbindings";
const WEB: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/web-s";

/// What changes in the cluster once it is taken over, and what AWS is told then.
type Next = (fn(&World), &'static [&'static str]);

/// The pods `web-0` and `web-1` that the slice names.
fn serve(world: &World, pods: &[usize]) {
    let endpoint = |pod: &usize| {
        let address = ["10.0.16.10", "10.0.48.10"][*pod];
        json!({
            "addresses": [address], "nodeName": format!("node-{pod}"),
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "name": format!("web-{pod}"), "namespace": "shop"},
        })
    };
    let endpoints: Vec<Value> = pods.iter().map(endpoint).collect();
    world.patch(WEB, &json!({"endpoints": endpoints}));
}

/// Whether the node takes requests.
fn ready(world: &World, status: &str) {
    let conditions = json!([{"type": "Ready", "status": status}]);
    world.patch(
        "/api/v1/nodes/node-1/status",
        &json!({"status": {"conditions": conditions}}),
    );
}

async fn taken_over(recording: Recording, record: &'static str, next: &[Next]) {
    let world = recording.world().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let path = log.clone();
    let (_running, bindings) = with(&world, move |world| {
        world.moto.record();
        (Program::run(world, &path), world.get(BINDINGS).unwrap())
    })
    .await;
    until(&world, "it is taken over", move |world| {
        world.settled(record).then_some(())
    })
    .await;
    let writes = with(&world, World::writes).await;
    assert_eq!(
        writes,
        [""; 0],
        "{recording:?}: {}",
        fs::read_to_string(&log).unwrap()
    );
    for &(act, want) in next {
        with(&world, move |world| {
            world.moto.record();
            act(world);
        })
        .await;
        until(&world, "AWS is told", move |world| {
            (world.writes().len() >= want.len() && world.settled(record)).then_some(())
        })
        .await;
        assert_eq!(with(&world, World::writes).await, *want, "{recording:?}");
    }
    let after = with(&world, |world| world.get(BINDINGS).unwrap()).await;
    assert_eq!(
        bindings["items"], after["items"],
        "its TargetGroupBindings are never written"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_controller_takes_over_without_a_write_and_goes_on() {
    let pods: &[Next] = &[
        (|world| serve(world, &[0]), &["elbv2:DeregisterTargets"]),
        (|world| serve(world, &[0, 1]), &["elbv2:RegisterTargets"]),
    ];
    taken_over(Recording("simple"), "shop.web", pods).await;
    // The Service stands behind two target groups: once by the name of its port, once by the number.
    let pods: &[Next] = &[
        (|world| serve(world, &[1]), &["elbv2:DeregisterTargets"; 2]),
        (|world| serve(world, &[0, 1]), &["elbv2:RegisterTargets"; 2]),
    ];
    taken_over(Recording("group-https"), "public", pods).await;
    let nodes: &[Next] = &[
        (|world| ready(world, "False"), &["elbv2:DeregisterTargets"; 3]),
        (|world| ready(world, "True"), &["elbv2:RegisterTargets"; 3]),
    ];
    taken_over(Recording("instance"), "legacy.app", nodes).await;
}

/// Finalizers of an Ingress; none where it is gone.
fn finalizers(world: &World, namespace: &str, name: &str) -> Option<Value> {
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/{name}");
    world
        .get(&path)
        .map(|ingress| ingress["metadata"]["finalizers"].clone())
}

fn delete(world: &World, namespace: &str, name: &str) {
    world.delete(&format!(
        "/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/{name}"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_deleted_is_let_go_when_its_rules_are_gone() {
    let world = Recording("group-https").world().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let running = with(&world, move |world| Program::run(world, &log)).await;
    until(&world, "it is taken over", |world| {
        world.settled("public").then_some(())
    })
    .await;
    with(&world, |world| {
        world.moto.record();
        delete(world, "shop", "weighted");
    })
    .await;
    until(&world, "it is let go", |world| {
        finalizers(world, "shop", "weighted").is_none().then_some(())
    })
    .await;
    let writes = with(&world, World::writes).await;
    assert_eq!(
        writes,
        [
            "elbv2:DeleteRule",
            "elbv2:DeleteTargetGroup",
            "elbv2:DeleteTargetGroup"
        ]
    );
    let others = with(&world, |world| {
        [("shop", "front"), ("blog", "posts")].map(|(namespace, name)| finalizers(world, namespace, name))
    })
    .await;
    let held = Some(json!(["group.ingress.k8s.aws/public"]));
    assert_eq!(
        others,
        [held.clone(), held],
        "those that stay keep the incumbent's finalizer"
    );
    drop(running);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_while_nobody_looked_is_cleaned_up() {
    let world = Recording("simple").world().await;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let _running = with(&world, move |world| {
        delete(world, "shop", "web");
        assert!(
            finalizers(world, "shop", "web").is_some(),
            "the incumbent holds it"
        );
        world.moto.record();
        Program::run(world, &log)
    })
    .await;
    until(&world, "it is let go", |world| {
        finalizers(world, "shop", "web").is_none().then_some(())
    })
    .await;
    let (writes, left) = with(&world, |world| (world.writes(), world.everything())).await;
    assert_eq!(
        writes,
        [
            "elbv2:DeleteLoadBalancer",
            "elbv2:DeleteTargetGroup",
            "ec2:DeleteSecurityGroup",
            "ec2:RevokeSecurityGroupIngress",
            "ec2:DeleteSecurityGroup",
        ]
    );
    assert!(left.iter().all(|thing| !thing.contains("k8s-")), "{left:?}");
    until(&world, "no record is left", |world| {
        let records = world.get(RECORDS)?;
        records["items"].as_array()?.is_empty().then_some(())
    })
    .await;
}
