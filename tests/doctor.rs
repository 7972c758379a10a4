//! Load balancers with and without anybody who asks for them in; which of them `doctor --orphans` finds and deletes out.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(dead_code, reason = "the world has more to it than orphans need")]
#![expect(clippy::unwrap_used, reason = "a panic is a test's report")]

#[path = "controller/world.rs"]
mod world;

use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use self::world::{INGRESSES, RECORDS, World, ingress, until, with};

/// Exit code, and what was printed as JSON.
fn doctor(world: &World, more: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args([
            "doctor",
            "--orphans",
            "-o",
            "json",
            "--cluster-name",
            "demo",
            "--aws-vpc-id",
            &world.account.vpc,
        ])
        .arg("--kubeconfig")
        .arg(world.server.kubeconfig())
        .args(more)
        .envs(world.moto.environment())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let printed = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    (output.status.code(), printed)
}

/// Ids of the orphans found without deleting any.
fn orphans(world: &World) -> Vec<String> {
    world.moto.record();
    let (code, found) = doctor(world, &[]);
    assert_eq!(code, Some(0), "{found:#}");
    assert_eq!(world.writes(), [""; 0], "looking changes nothing");
    let orphans = found["orphans"].as_array().unwrap().iter();
    orphans
        .map(|orphan| orphan["id"].as_str().unwrap().to_owned())
        .collect()
}

/// Removes a record as nobody should.
fn forget(world: &World, record: &str) {
    let path = format!("{RECORDS}/{record}");
    world.patch(&path, &json!({"metadata": {"finalizers": null}}));
    world.delete(&path);
}

/// A target group with the ownership tags of this cluster.
fn foreign(world: &World, cluster: &str) {
    let tags = [
        ("elbv2.k8s.aws/cluster", cluster),
        ("ingress.k8s.aws/stack", "shop/elsewhere"),
        ("ingress.k8s.aws/resource", "shop/elsewhere-web:80"),
    ];
    let names: Vec<(String, String)> = (1..)
        .map(|n| (format!("Tags.member.{n}.Key"), format!("Tags.member.{n}.Value")))
        .take(3)
        .collect();
    let mut form = vec![
        ("Name", "of-another-cluster"),
        ("Protocol", "HTTP"),
        ("Port", "80"),
        ("VpcId", world.account.vpc.as_str()),
        ("TargetType", "ip"),
    ];
    for ((key, value), (key_name, value_name)) in tags.iter().zip(&names) {
        form.push((key_name, key));
        form.push((value_name, value));
    }
    assert_eq!(world.moto.call("elbv2", "CreateTargetGroup", &form).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_found_and_deleted_only_when_asked() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, |world| {
        foreign(world, "another");
        world.everything()
    })
    .await;
    let running = world.control(world.aws().await).await;
    with(&world, |world| {
        let made = rcgen::generate_simple_self_signed(vec!["web.example.com".to_owned()]).unwrap();
        let material = json!({"tls.crt": made.cert.pem(), "tls.key": made.signing_key.serialize_pem()});
        let secret = json!({"metadata": {"name": "web-tls"}, "stringData": material});
        world.post("/api/v1/namespaces/shop/secrets", &secret);
        let mut web = ingress("web", "web.example.com", &[("/", "web")]);
        web["spec"]["tls"] = json!([{"hosts": ["web.example.com"], "secretName": "web-tls"}]);
        world.post(INGRESSES, &web);
        world.post(INGRESSES, &ingress("api", "api.example.com", &[("/", "web")]));
    })
    .await;
    for record in ["shop.web", "shop.api"] {
        until(&world, "it is served", move |world| {
            world.settled(record).then_some(())
        })
        .await;
    }
    running.stop().await;

    with(&world, move |world| {
        assert_eq!(orphans(world), [""; 0], "all have Ingresses and records");
        world.delete(&format!("{INGRESSES}/api"));
        assert_eq!(
            orphans(world),
            [""; 0],
            "the record keeps it: the controller will delete it"
        );
        forget(world, "shop.api");
        assert_eq!(orphans(world), ["shop/api"]);

        // An Ingress keeps its load balancer whatever its class is.
        world.patch(
            &format!("{INGRESSES}/web"),
            &json!({"spec": {"ingressClassName": "of-nobody"}}),
        );
        forget(world, "shop.web");
        assert_eq!(orphans(world), ["shop/api"]);

        world.moto.record();
        let (code, done) = doctor(world, &["--delete"]);
        assert_eq!(code, Some(0), "{done:#}");
        let calls = [
            "elbv2:DeleteLoadBalancer",
            "elbv2:DeleteTargetGroup",
            "ec2:DeleteSecurityGroup",
        ];
        assert_eq!(world.writes(), calls, "what others use stays");
        assert_eq!(orphans(world), [""; 0]);

        world.delete(&format!("{INGRESSES}/web"));
        assert_eq!(orphans(world), ["shop/web"]);
        world.moto.record();
        let (code, done) = doctor(world, &["--delete"]);
        assert_eq!(code, Some(0), "{done:#}");
        let shared = ["ec2:RevokeSecurityGroupIngress", "ec2:DeleteSecurityGroup"];
        assert_eq!(
            world.writes(),
            [&calls[..], &["acm:DeleteCertificate"], &shared].concat(),
            "what they shared goes with the last"
        );
        assert_eq!(world.everything(), nothing, "what is another cluster's stays");
    })
    .await;
}

#[test]
fn it_deletes_nothing_unasked_for() {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["doctor", "--cluster-name", "demo", "--delete"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--orphans"), "{said}");
}
