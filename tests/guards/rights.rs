//! Rights that stand apart in, what is told without them and done with them out.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use portcullis::controller::Leadership;
use serde_json::json;

use super::{grant, record, served};
use crate::world::{INGRESSES, World, until, with};

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
    assert_eq!(rights(&world, "shop").await, ["get", "create"]);
    assert_eq!(rights(&world, "default").await, [""; 0]);
    running.stop().await;
}
