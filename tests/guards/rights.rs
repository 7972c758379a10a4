//! Rights that stand apart in, what is told without them and done with them out.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use portcullis::controller::Leadership;
use serde_json::json;

use super::{grant, record, served};
use crate::world::{INGRESSES, World, until, with};

const BINDINGS: &str = "/apis/elbv2.k8s.aws/v1beta1/namespaces/shop/targetgroupbindings";
const USER: &str = "system:serviceaccount:portcullis:portcullis";

/// Which of these verbs it may use on a ConfigMap of this namespace.
async fn rights(world: &World, namespace: &str) -> Vec<&'static str> {
    let api: Api<ConfigMap> = Api::namespaced(world.client_as(Some(USER)).await, namespace);
    let mut out = Vec::new();
    if api.get_opt("any").await.is_ok() {
        out.push("get");
    }
    if api.list(&Default::default()).await.is_ok() {
        out.push("list");
    }
    let map = ConfigMap {
        metadata: kube::api::ObjectMeta {
            name: Some("any".into()),
            ..Default::default()
        },
        ..Default::default()
    };
    if api.create(&Default::default(), &map).await.is_ok() {
        out.push("create");
    }
    if api.delete("any", &Default::default()).await.is_ok() {
        out.push("delete");
    }
    out
}

/// As much of the definition of TargetGroupBindings as it takes.
fn define(world: &World) {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version =
        json!({"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}});
    let definition = json!({
        "metadata": {"name": "targetgroupbindings.elbv2.k8s.aws"},
        "spec": {
            "group": "elbv2.k8s.aws", "scope": "Namespaced", "versions": [version],
            "names": {"plural": "targetgroupbindings", "singular": "targetgroupbinding", "kind": "TargetGroupBinding"},
        },
    });
    world.post(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        &definition,
    );
}

/// A target group that clusters share, and a binding of the namespace to it.
fn bind(world: &World) {
    let given = [
        ("Name", "joint"),
        ("Protocol", "HTTP"),
        ("Port", "80"),
        ("VpcId", &world.account.vpc),
        ("TargetType", "ip"),
        ("Tags.member.1.Key", "portcullis.dev/namespace"),
        ("Tags.member.1.Value", "shop"),
    ];
    let answer = world.moto.call("elbv2", "CreateTargetGroup", &given);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let binding = json!({
        "apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "TargetGroupBinding", "metadata": {"name": "joint"},
        "spec": {
            "targetGroupName": "joint", "multiClusterTargetGroup": true,
            "serviceRef": {"name": "web", "port": 80},
        },
    });
    world.post(BINDINGS, &binding);
}

#[tokio::test(flavor = "multi_thread")]
async fn config_maps_are_read_only_where_that_is_granted() {
    let world = Arc::new(World::start().await);
    with(&world, |world| grant(world, false)).await;
    let client = world.client_as(Some(USER)).await;
    let leadership = Leadership::Lease {
        client: client.clone(),
        namespace: "portcullis".into(),
        name: "portcullis".into(),
    };
    let hour = Duration::from_secs(3600);
    let running = world
        .control_with(client, world.aws().await, leadership, hour)
        .await;
    served(&world, "web").await;
    assert_eq!(rights(&world, "shop").await, [""; 0]);

    // Who registered what is there, only the ConfigMap could say.
    with(&world, |world| {
        world.moto.record();
        let annotations = json!({"alb.ingress.kubernetes.io/multi-cluster-target-group": "true"});
        let body = json!({"metadata": {"annotations": annotations}});
        world.patch(&format!("{INGRESSES}/web"), &body);
    })
    .await;
    until(&world, "the missing right is told", |world| {
        let record = record(world, "shop.web")?.to_string();
        (record.contains("\"AccessDenied\"") && record.contains("configmap shop/aws-lbc-targets-"))
            .then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);

    // A binding that a user wrote: the same, told at the binding.
    with(&world, define).await;
    until(&world, "bindings are served", |world| {
        world.get(BINDINGS).map(drop)
    })
    .await;
    with(&world, bind).await;
    until(&world, "the missing right is told at the binding", |world| {
        let events = world.get("/apis/events.k8s.io/v1/namespaces/shop/events")?;
        let mut events = events["items"].as_array()?.iter();
        let told = events.find(|event| event["regarding"]["kind"] == "TargetGroupBinding")?;
        assert_eq!(told["reason"], "AccessDenied", "{told:#}");
        told["note"]
            .as_str()?
            .contains("ConfigMap aws-lbc-targets-joint")
            .then_some(())
    })
    .await;
    assert_eq!(
        with(&world, World::writes).await,
        ["elbv2:CreateTargetGroup"],
        "ours, for the test"
    );

    with(&world, |world| {
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "portcullis-shared-targets"});
        let subject = json!({"kind": "ServiceAccount", "name": "portcullis", "namespace": "portcullis"});
        let body = json!({"metadata": {"name": "shared-targets"}, "roleRef": role, "subjects": [subject]});
        world.post("/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings", &body);
    })
    .await;
    until(&world, "with the right it goes on", |world| {
        world.settled("shop.web").then_some(())
    })
    .await;
    until(&world, "the binding, too", |world| {
        world
            .writes()
            .iter()
            .any(|call| call == "elbv2:RegisterTargets")
            .then_some(())
    })
    .await;
    assert_eq!(rights(&world, "shop").await, ["get", "create"]);
    assert_eq!(rights(&world, "default").await, [""; 0]);
    running.stop().await;
}
