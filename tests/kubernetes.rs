//! Leases, records, watches and Events against a real API server.
#![cfg(feature = "cluster")]
#![expect(clippy::unwrap_used, reason = "a panic is a test's report")]

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client, ResourceExt};
use portcullis::cluster::index::SecretsMode;
use portcullis::cluster::object::Kind;
use portcullis::cluster::watch::{Health, SharedIndex, events, follow};
use portcullis::crd::Mode;
use portcullis::crd::load_balancer::{FINALIZER, LoadBalancerResource, LoadBalancerStatus};
use portcullis::reconcile::lease::keep::Keeper;
use portcullis::reconcile::lease::{Standing, Tenure};
use portcullis::reconcile::records::scope::Naming;
use portcullis::reconcile::records::{Place, RecordError, Records, is_held};
use portcullis::translate::{self, Settings};
use portcullis_model::{LoadBalancerId, ObjectName};
use portcullis_test_support::ApiServer;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Longest time anything here may take; the machine may be busy with a compiler.
const DEADLINE: Duration = Duration::from_secs(60);

static SERVER: LazyLock<ApiServer> = LazyLock::new(|| {
    let server = ApiServer::start();
    for file in ["loadbalancers", "ingressclassparameters"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("crds/{file}.yaml"));
        let crd: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let answer = server.request("POST", path, Some(&crd));
        assert_eq!(answer.status, 201, "{file}: {}", answer.text());
    }
    server
});

async fn client() -> Client {
    client_as(None).await
}

/// With the rights of this user, else with all.
async fn client_as(user: Option<&str>) -> Client {
    let server = tokio::task::spawn_blocking(|| SERVER.kubeconfig()).await.unwrap();
    let kubeconfig = Kubeconfig::read_from(server).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config.unwrap();
    let all = Client::try_from(config.clone()).unwrap();
    let crds: Api<LoadBalancerResource> = Api::all(all);
    // A definition is served a moment after it is stored.
    until("the definitions are served", async || {
        crds.list(&Default::default()).await.ok()
    })
    .await;
    config.auth_info.impersonate = user.map(str::to_owned);
    Client::try_from(config).unwrap()
}

async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = tokio::time::Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn place() -> Place {
    Place {
        provider: "aws",
        cluster_name: "demo".into(),
        region: None,
        scope: None,
    }
}

struct Candidate {
    tenure: Tenure,
    stop: oneshot::Sender<()>,
    keeper: JoinSet<Result<(), portcullis::reconcile::lease::keep::Lost>>,
}

fn candidate(api: &Api<Lease>, name: &str, me: &str) -> Candidate {
    candidate_told(api, name, me, Arc::default())
}

fn candidate_told(api: &Api<Lease>, name: &str, me: &str, health: Arc<Health>) -> Candidate {
    let (standing, standings) = watch::channel(Standing::Waiting { holder: None });
    let (stop, stopped) = oneshot::channel();
    let mut keeper = JoinSet::new();
    keeper.spawn(Keeper::new(api.clone(), name, me, standing, health).run(stopped));
    Candidate {
        tenure: Tenure::follow(standings),
        stop,
        keeper,
    }
}

#[expect(clippy::disallowed_methods, reason = "claims are asked for at the moment")]
fn has_claim(candidate: &Candidate) -> bool {
    candidate.tenure.claim(Instant::now()).is_some()
}

#[tokio::test]
async fn nobody_is_ready_before_it_is_known_who_leads() {
    let api: Api<Lease> = Api::namespaced(client().await, "default");
    let first = Arc::new(Health::default());
    let _first = candidate_told(&api, "readiness", "first", first.clone());
    assert_eq!(first.waiting_for(), ["Lease: not read yet"]);
    until("it leads", async || first.waiting_for().is_empty().then_some(())).await;
    let second = Arc::new(Health::default());
    let _second = candidate_told(&api, "readiness", "second", second.clone());
    until("it knows who leads", async || {
        second.waiting_for().is_empty().then_some(())
    })
    .await;
    let barred: Api<Lease> = Api::namespaced(client_as(Some("nobody")).await, "default");
    let third = Arc::new(Health::default());
    let _third = candidate_told(&barred, "readiness", "third", third.clone());
    until("it says what bars it", async || {
        third
            .waiting_for()
            .iter()
            .any(|line| line.contains("forbidden"))
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_leads_and_the_next_follows_at_once_when_it_stops() {
    let api: Api<Lease> = Api::namespaced(client().await, "default");
    let first = candidate(&api, "succession", "first");
    until("the first leads", async || has_claim(&first).then_some(())).await;
    let second = candidate(&api, "succession", "second");
    until("the second knows who leads", async || {
        let standing = second.tenure.standing();
        (standing
            == Standing::Waiting {
                holder: Some("first".into()),
            })
        .then_some(())
    })
    .await;
    assert!(has_claim(&first) && !has_claim(&second));

    let Candidate {
        stop,
        mut keeper,
        tenure,
    } = first;
    stop.send(()).unwrap();
    keeper.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(tenure.standing(), Standing::Lost);
    let released = tokio::time::Instant::now();
    until("the second leads", async || has_claim(&second).then_some(())).await;
    assert!(
        released.elapsed() < Duration::from_secs(10),
        "a lease that was given back is not waited for: {:?}",
        released.elapsed()
    );
    let lease = api.get("succession").await.unwrap().spec.unwrap();
    assert_eq!(
        (lease.holder_identity.as_deref(), lease.lease_transitions),
        (Some("second"), Some(1))
    );
}

#[tokio::test]
async fn who_finds_another_holder_has_lost_it() {
    let api: Api<Lease> = Api::namespaced(client().await, "default");
    let mut leader = candidate(&api, "usurped", "leader");
    until("it leads", async || has_claim(&leader).then_some(())).await;
    let usurper = json!({"spec": {"holderIdentity": "usurper"}});
    api.patch("usurped", &PatchParams::default(), &Patch::Merge(&usurper))
        .await
        .unwrap();
    let lost = leader.keeper.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!(lost.to_string(), "lease usurped: another process holds it");
    assert!(!has_claim(&leader));
    let lease = api.get("usurped").await.unwrap().spec.unwrap();
    assert_eq!(
        lease.holder_identity.as_deref(),
        Some("usurper"),
        "and it is left to the other"
    );
}

#[tokio::test]
async fn a_record_is_held_before_and_gone_after() {
    let client = client().await;
    let api: Api<LoadBalancerResource> = Api::all(client.clone());
    let records = Records::new(client.clone(), place());
    let id = LoadBalancerId::parse("shop/kept");

    let record = records.intend(&id, Mode::Apply, Naming::Classes).await.unwrap();
    assert_eq!((record.spec.id.as_str(), is_held(&record)), ("shop/kept", true));
    let version = record.resource_version();
    records.intend(&id, Mode::Apply, Naming::Classes).await.unwrap();
    assert_eq!(
        api.get("shop.kept").await.unwrap().resource_version(),
        version,
        "said once is enough"
    );

    let status = LoadBalancerStatus {
        address: Some("a.example.com".into()),
        fingerprint: Some("f1".into()),
        ..LoadBalancerStatus::default()
    };
    records.report(&id, &status).await.unwrap();
    let version = api.get("shop.kept").await.unwrap().resource_version();
    records.report(&id, &status).await.unwrap();
    let stored = api.get("shop.kept").await.unwrap();
    assert_eq!(
        stored.resource_version(),
        version,
        "an equal status is not written"
    );
    assert_eq!(stored.status, Some(status.clone()));

    records.begin_changes(&id, &Default::default()).await.unwrap();
    let begun = api.get("shop.kept").await.unwrap().status.unwrap();
    assert_eq!(
        begun.fingerprint, None,
        "nobody takes what was applied for what exists"
    );
    assert_eq!(begun.address, status.address);
    records.report(&id, &status).await.unwrap();
    assert_eq!(api.get("shop.kept").await.unwrap().status, Some(status));

    // A class that only plans now does not let go of what exists.
    let record = records.intend(&id, Mode::Plan, Naming::Classes).await.unwrap();
    assert_eq!((record.spec.mode, is_held(&record)), (Mode::Plan, true));

    records.release(&id).await.unwrap();
    assert!(api.get_opt("shop.kept").await.unwrap().is_none());
    assert!(records.get(&id).is_none());
    records.release(&id).await.unwrap();
}

#[tokio::test]
async fn a_record_that_only_plans_is_held_by_nothing() {
    let records = Records::new(client().await, place());
    let id = LoadBalancerId::parse("shop/planned");
    let record = records.intend(&id, Mode::Plan, Naming::Classes).await.unwrap();
    assert!(!is_held(&record));
    let record = records.intend(&id, Mode::Apply, Naming::Classes).await.unwrap();
    assert!(is_held(&record));
    records.release(&id).await.unwrap();
}

#[tokio::test]
async fn anothers_record_is_left_alone() {
    let client = client().await;
    let theirs = Records::new(
        client.clone(),
        Place {
            provider: "gcp",
            ..place()
        },
    );
    let ours = Records::new(client.clone(), place());
    let id = LoadBalancerId::parse("shop/contested");
    let record = theirs.intend(&id, Mode::Apply, Naming::Classes).await.unwrap();
    ours.reset(vec![(*record).clone()]);
    assert!(ours.get(&id).is_none() && ours.ids().is_empty() && ours.held_count() == 0);
    let refused = ours.intend(&id, Mode::Apply, Naming::Classes).await.unwrap_err();
    assert!(matches!(refused, RecordError::Foreign { .. }), "{refused}");
    theirs.release(&id).await.unwrap();
}

#[tokio::test]
async fn what_others_add_to_a_record_stays() {
    let client = client().await;
    let api: Api<LoadBalancerResource> = Api::all(client.clone());
    let records = Records::new(client, place());
    let id = LoadBalancerId::parse("shop/annotated");
    records.intend(&id, Mode::Apply, Naming::Classes).await.unwrap();
    let theirs = json!({"metadata": {
        "annotations": {"portcullis.dev/paused": "true"},
        "finalizers": [FINALIZER, "example.com/theirs"],
    }});
    let patched = api
        .patch("shop.annotated", &PatchParams::default(), &Patch::Merge(&theirs))
        .await
        .unwrap();
    records.apply(patched);
    let record = records.intend(&id, Mode::Plan, Naming::Classes).await.unwrap();
    assert_eq!(record.annotations()["portcullis.dev/paused"], "true");
    records.release(&id).await.unwrap();
    let left = api.get("shop.annotated").await.unwrap();
    assert_eq!(left.finalizers(), ["example.com/theirs"], "ours alone was taken");
    assert!(left.metadata.deletion_timestamp.is_some());
    let none = json!({"metadata": {"finalizers": null}});
    api.patch("shop.annotated", &PatchParams::default(), &Patch::Merge(&none))
        .await
        .unwrap();
}

/// An index that follows the server.
struct Following {
    index: Arc<SharedIndex>,
    health: Arc<Health>,
    tasks: JoinSet<()>,
}

fn follow_all(client: &Client) -> Following {
    let index = translate::index(&Settings::default(), SecretsMode::NotRead);
    let mut following = Following {
        index: Arc::new(SharedIndex::new(index)),
        health: Arc::default(),
        tasks: JoinSet::new(),
    };
    let (touched, mut touches) = mpsc::unbounded_channel();
    for kind in Kind::ALL.iter().copied().filter(|kind| *kind != Kind::Secret) {
        let (index, health) = (following.index.clone(), following.health.clone());
        following
            .tasks
            .spawn(follow(client.clone(), kind, None, index, health, touched.clone()));
    }
    following
        .tasks
        .spawn(async move { while touches.recv().await.is_some() {} });
    following
}

fn post(path: &str, body: &Value) {
    let answer = SERVER.request("POST", path, Some(body));
    assert!(matches!(answer.status, 201 | 409), "{path}: {}", answer.text());
}

#[tokio::test]
async fn an_index_follows_the_server() {
    let client = client().await;
    let following = follow_all(&client);
    until("every kind is listed", async || {
        following.index.lock().synced().is_ok().then_some(())
    })
    .await;
    assert_eq!(following.health.waiting_for(), Vec::<String>::new());

    let collection = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "followed"},
        "spec": {"controller": "portcullis.dev/ingress"},
    });
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "followed"},
        "spec": {
            "ingressClassName": "followed",
            "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
        },
    });
    tokio::task::spawn_blocking(move || {
        post("/apis/networking.k8s.io/v1/ingressclasses", &class);
        post(collection, &ingress);
    })
    .await
    .unwrap();
    let id = LoadBalancerId::Lone(ObjectName::new("default", "followed"));
    let members = async || {
        let index = following.index.lock();
        index
            .synced()
            .ok()
            .map(|synced| synced.snapshot(&id).members.len())
    };
    until("the Ingress is a member", async || {
        (members().await == Some(1)).then_some(())
    })
    .await;
    let path = format!("{collection}/followed");
    tokio::task::spawn_blocking(move || SERVER.request("DELETE", &path, None))
        .await
        .unwrap();
    until("and then not any more", async || {
        (members().await == Some(0)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_incumbent_s_kind_is_followed_from_when_the_server_knows_it() {
    let client = client().await;
    let following = follow_all(&client);
    until("every kind is listed, or not there", async || {
        following.index.lock().synced().is_ok().then_some(())
    })
    .await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "ingressclassparams.elbv2.k8s.aws"},
        "spec": {
            "group": "elbv2.k8s.aws", "scope": "Cluster",
            "names": {"kind": "IngressClassParams", "plural": "ingressclassparams", "singular": "ingressclassparams"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            }}}],
        },
    });
    let parameters = json!({
        "apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "IngressClassParams", "metadata": {"name": "incumbent"},
        "spec": {"group": {"name": "by-the-incumbent"}},
    });
    let class = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "IngressClass", "metadata": {"name": "incumbent"},
        "spec": {
            "controller": "portcullis.dev/ingress",
            "parameters": {"apiGroup": "elbv2.k8s.aws", "kind": "IngressClassParams", "name": "incumbent"},
        },
    });
    let ingress = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "incumbent"},
        "spec": {
            "ingressClassName": "incumbent",
            "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
        },
    });
    tokio::task::spawn_blocking(move || {
        post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition,
        );
        post("/apis/networking.k8s.io/v1/ingressclasses", &class);
        post(
            "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
            &ingress,
        );
    })
    .await
    .unwrap();
    until("the server takes objects of the kind", async || {
        let parameters = parameters.clone();
        let path = "/apis/elbv2.k8s.aws/v1beta1/ingressclassparams";
        let answer = tokio::task::spawn_blocking(move || SERVER.request("POST", path, Some(&parameters)));
        matches!(answer.await.unwrap().status, 201 | 409).then_some(())
    })
    .await;
    let id = LoadBalancerId::Group("by-the-incumbent".into());
    until("the class is as its parameters say", async || {
        let index = following.index.lock();
        let members = index
            .synced()
            .ok()
            .map(|synced| synced.snapshot(&id).members.len());
        (members == Some(1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_kind_the_server_does_not_know_is_told_and_waited_for() {
    let client = client().await;
    // As our own kinds are before their definitions are installed.
    let unknown = kube::api::ApiResource::from_gvk_with_plural(
        &kube::api::GroupVersionKind::gvk("portcullis.dev", "v1alpha1", "Unheard"),
        "unheards",
    );
    let api: Api<kube::api::DynamicObject> = Api::all_with(client, &unknown);
    let health = Arc::new(Health::default());
    let mut tasks = JoinSet::new();
    let told = health.clone();
    tasks.spawn(async move {
        let mut events = std::pin::pin!(events(api, Config::default(), "Unheard", &told));
        while let Some(event) = events.next().await {
            assert!(matches!(event, Event::Init), "{event:?}");
        }
    });
    let want = "Unheard: the API server does not know Unheard: install the custom resource definitions (crds/*.yaml)";
    until("the reason is told", async || {
        health.waiting_for().contains(&want.to_owned()).then_some(())
    })
    .await;
}
