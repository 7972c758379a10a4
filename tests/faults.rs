//! A controller broken off after any call that changes something and started again, or refused any such call, in; the
//! same end state out.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(dead_code, reason = "the world has more to it than breaking it")]

#[path = "controller/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use portcullis::controller::Leadership;
use portcullis_aws::Aws;
use portcullis_model::{
    Address, Backend, Bound, ChangeSummary, Claim, Code, Existing, Guest, Listed, LoadBalancer,
    LoadBalancerId, ObjectName, Opening, Origin, OwnTargets, Plan, Port, Problem, Provider, ProviderError,
    Refusals, Retry, Routes, Semantics, Target, TargetAddress, TargetHealth,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use self::world::{INGRESSES, RECORDS, SLICES, World, condition, ingress, until, until_async, with};

/// The real provider, until so many calls have been made: then the next thing that happens goes wrong.
struct Faulty {
    inner: Aws,
    /// Calls left.
    left: AtomicUsize,
    fault: Fault,
}

enum Fault {
    /// AWS has done the call, and the process dies before it learns of it.
    Death(Arc<Notify>),
    /// AWS refuses the call, and no other.
    Refusal,
    /// AWS refuses all calls of this name, which are counted.
    Denial(&'static str, Arc<AtomicUsize>),
}

fn denied(call: &'static str) -> ProviderError {
    ProviderError {
        code: Code::AccessDenied,
        call,
        message: "AccessDenied: a test says so".into(),
        retry: Retry::Backoff,
    }
}

impl Provider for Faulty {
    const NAME: &'static str = Aws::NAME;
    type Account = <Aws as Provider>::Account;
    type Observed = <Aws as Provider>::Observed;
    type Shared = <Aws as Provider>::Shared;
    type Demand = <Aws as Provider>::Demand;
    type Change = <Aws as Provider>::Change;
    type Answer = <Aws as Provider>::Answer;

    async fn account(&self) -> Result<Self::Account, ProviderError> {
        self.inner.account().await
    }

    async fn observe(
        &self,
        ids: &[LoadBalancerId],
        account: &Self::Account,
    ) -> Result<BTreeMap<LoadBalancerId, Self::Observed>, ProviderError> {
        self.inner.observe(ids, account).await
    }

    async fn consult(&self, desired: &LoadBalancer, account: &Self::Account) -> Result<(), ProviderError> {
        self.inner.consult(desired, account).await
    }

    fn absent_lists(&self, desired: &LoadBalancer, account: &Self::Account) -> BTreeSet<String> {
        self.inner.absent_lists(desired, account)
    }

    async fn look_closer(
        &self,
        desired: &LoadBalancer,
        observed: &mut Self::Observed,
    ) -> Result<(), ProviderError> {
        self.inner.look_closer(desired, observed).await
    }

    async fn observe_shared(&self, account: &Self::Account) -> Result<Self::Shared, ProviderError> {
        self.inner.observe_shared(account).await
    }

    fn plan(
        &self,
        id: &LoadBalancerId,
        desired: Option<&LoadBalancer>,
        observed: &Self::Observed,
        shared: &Self::Shared,
        account: &Self::Account,
    ) -> (Plan<Self::Change>, Vec<Problem>) {
        self.inner.plan(id, desired, observed, shared, account)
    }

    fn fingerprint(&self, desired: &LoadBalancer, account: &Self::Account) -> String {
        self.inner.fingerprint(desired, account)
    }

    fn own_targets(&self, desired: &LoadBalancer, account: &Self::Account) -> OwnTargets {
        self.inner.own_targets(desired, account)
    }

    fn recall(observed: &mut Self::Observed, own: &OwnTargets) {
        Aws::recall(observed, own);
    }

    fn unmade(
        &self,
        desired: &LoadBalancer,
        observed: Option<&Self::Observed>,
        account: &Self::Account,
    ) -> Option<Problem> {
        self.inner.unmade(desired, observed, account)
    }

    fn routes(&self, desired: &LoadBalancer, observed: &Self::Observed, account: &Self::Account) -> Routes {
        self.inner.routes(desired, observed, account)
    }

    fn takes_back(change: &Self::Change) -> bool {
        Aws::takes_back(change)
    }

    fn moves_targets(change: &Self::Change) -> bool {
        Aws::moves_targets(change)
    }

    fn demand(
        &self,
        desired: &LoadBalancer,
        observed: Option<&Self::Observed>,
        account: &Self::Account,
    ) -> Self::Demand {
        self.inner.demand(desired, observed, account)
    }

    fn uses(&self, observed: &Self::Observed) -> Self::Demand {
        self.inner.uses(observed)
    }

    fn keeps_open(&self, openings: &[Opening], semantics: Semantics) -> Self::Demand {
        self.inner.keeps_open(openings, semantics)
    }

    fn plan_shared(
        &self,
        demands: &BTreeMap<LoadBalancerId, Self::Demand>,
        shared: &Self::Shared,
        account: &Self::Account,
    ) -> (Plan<Self::Change>, Vec<Problem>) {
        self.inner.plan_shared(demands, shared, account)
    }

    fn guest(&self, role: &str, namespace: &str) -> Result<Guest, String> {
        self.inner.guest(role, namespace)
    }

    async fn bind(
        &self,
        name: &str,
        namespace: &str,
        guest: Option<&Guest>,
        semantics: Semantics,
        at: &Origin,
    ) -> Result<(Option<Bound>, Vec<Problem>), ProviderError> {
        self.inner.bind(name, namespace, guest, semantics, at).await
    }

    async fn registered(&self, bound: &Bound) -> Result<BTreeSet<String>, ProviderError> {
        self.inner.registered(bound).await
    }

    fn plan_bound(
        &self,
        bound: &Bound,
        targets: &[Target],
        registered: &BTreeSet<String>,
        own: Option<&BTreeSet<String>>,
        account: &Self::Account,
    ) -> Plan<Self::Change> {
        self.inner.plan_bound(bound, targets, registered, own, account)
    }

    fn target_key(target: &Target) -> String {
        Aws::target_key(target)
    }

    async fn health(
        &self,
        backend: &Existing,
        guest: Option<&Guest>,
        targets: &BTreeSet<(TargetAddress, Port)>,
    ) -> Result<BTreeMap<(TargetAddress, Port), TargetHealth>, ProviderError> {
        self.inner.health(backend, guest, targets).await
    }

    async fn apply(&self, claim: &Claim, change: &Self::Change) -> Result<Self::Answer, ProviderError> {
        let goes_wrong = self.left.fetch_sub(1, Ordering::Relaxed) == 1;
        match &self.fault {
            Fault::Refusal if goes_wrong => Err(denied(change.call.name())),
            Fault::Denial(call, count) if *call == change.call.name() => {
                count.fetch_add(1, Ordering::Relaxed);
                Err(denied(call))
            }
            Fault::Death(dead) if goes_wrong => {
                let _done = self.inner.apply(claim, change).await;
                dead.notify_one();
                std::future::pending().await
            }
            Fault::Refusal | Fault::Denial(..) | Fault::Death(_) => self.inner.apply(claim, change).await,
        }
    }

    fn recall_secrets(observed: &mut Self::Observed, applied: BTreeMap<ObjectName, Arc<str>>) {
        Aws::recall_secrets(observed, applied);
    }

    fn fold(observed: &mut Self::Observed, change: &Self::Change, answer: Self::Answer) {
        Aws::fold(observed, change, answer);
    }

    fn fold_shared(shared: &mut Self::Shared, change: &Self::Change, answer: Self::Answer) {
        Aws::fold_shared(shared, change, answer);
    }

    fn refused(observed: &mut Self::Observed) -> &mut Refusals<Self::Change> {
        Aws::refused(observed)
    }

    fn refused_shared(shared: &mut Self::Shared) -> &mut Refusals<Self::Change> {
        Aws::refused_shared(shared)
    }

    fn imagine(change: &Self::Change) -> Self::Answer {
        Aws::imagine(change)
    }

    fn summary(change: &Self::Change) -> ChangeSummary {
        Aws::summary(change)
    }

    fn waits(observed: &Self::Observed) -> bool {
        Aws::waits(observed)
    }

    fn further_addresses(observed: &Self::Observed) -> Vec<Address> {
        Aws::further_addresses(observed)
    }

    fn address(observed: &Self::Observed) -> Option<Address> {
        Aws::address(observed)
    }

    fn backends(observed: &Self::Observed) -> Vec<Existing> {
        Aws::backends(observed)
    }

    fn stands_for<'a>(desired: &'a LoadBalancer, existing: &Existing) -> Option<&'a Backend> {
        Aws::stands_for(desired, existing)
    }

    fn listed(&self, account: &Self::Account, name: &str) -> Listed {
        self.inner.listed(account, name)
    }

    fn inventory(observed: &Self::Observed) -> Vec<(&'static str, String, String)> {
        Aws::inventory(observed)
    }
}

const HOUR: Duration = Duration::from_secs(3600);

/// Whether what was asked for has come about.
type Done = fn(&World) -> Option<()>;

/// Acts with a controller that dies after so many calls, then with one that lives, until it is done. Answers whether
/// the first one died at all.
async fn broken_after(calls: usize, world: &Arc<World>, act: fn(&World), done: Done) -> bool {
    let dead = Arc::new(Notify::new());
    let mortal = Faulty {
        inner: world.aws().await,
        left: AtomicUsize::new(calls),
        fault: Fault::Death(dead.clone()),
    };
    // Before it starts, so that it sees all of it at once.
    with(world, move |world| {
        act(world);
        world.moto.record();
    })
    .await;
    let mut running = world.control_as(mortal, Leadership::Alone, HOUR).await;
    let died = tokio::select! {
        () = dead.notified() => true,
        () = until(world, "done, or dead", done) => false,
    };
    // Broken off wherever it is.
    running.task.shutdown().await;
    if died {
        let running = world.control_as(world.aws().await, Leadership::Alone, HOUR).await;
        until(world, &format!("done after a death at call {calls}"), done).await;
        running.stop().await;
    }
    died
}

const SECRETS: &str = "/api/v1/namespaces/shop/secrets";

/// A certificate and its key, and the same renewed.
static MATERIAL: LazyLock<[Value; 2]> = LazyLock::new(|| {
    let key = rcgen::KeyPair::generate().expect("P-256 keys can always be generated");
    [1, 2].map(|day| {
        let mut params = rcgen::CertificateParams::new(vec!["www.example.com".to_owned()]).expect("a name");
        params.not_before = rcgen::date_time_ymd(2020, 1, day);
        params.not_after = rcgen::date_time_ymd(2120, 1, day);
        let certificate = params.self_signed(&key).expect("a key that signs");
        json!({"stringData": {"tls.crt": certificate.pem(), "tls.key": key.serialize_pem()}})
    })
});

/// The Secret that the Ingress names.
fn certify(world: &World) {
    let mut secret = MATERIAL[0].clone();
    secret["metadata"] = json!({"name": "cert"});
    world.post(SECRETS, &secret);
}

fn create(world: &World) {
    let mut ingress = ingress("web", "www.example.com", &[("/", "web"), ("/api", "web")]);
    ingress["metadata"]["annotations"] =
        json!({"alb.ingress.kubernetes.io/listen-ports": r#"[{"HTTPS": 443}]"#});
    ingress["spec"]["tls"] = json!([{"hosts": ["www.example.com"], "secretName": "cert"}]);
    world.post(INGRESSES, &ingress);
}

fn created(world: &World) -> Option<()> {
    (world.hostname("web").is_some() && world.settled("shop.web")).then_some(())
}

/// Other paths, targets on another port, and a renewed certificate.
fn update(world: &World) {
    world.patch(&format!("{SECRETS}/cert"), &MATERIAL[1]);
    world.patch(&format!("{SLICES}/web"), &json!({"ports": [{"port": 9090}]}));
    let paths = [("/shop", "web"), ("/api", "web"), ("/cart", "web")];
    world.patch(
        &format!("{INGRESSES}/web"),
        &ingress("web", "www.example.com", &paths),
    );
}

fn updated(world: &World) -> Option<()> {
    let exists = world.everything();
    let has = |what: &str| exists.iter().any(|line| line == what);
    let moved = has("DescribeSecurityGroupRules 9090") && !has("DescribeSecurityGroupRules 8080");
    (moved && rules(world) == 4 && world.settled("shop.web")).then_some(())
}

/// As they were when the Ingress was created.
fn move_back(world: &World) {
    world.patch(&format!("{SECRETS}/cert"), &MATERIAL[0]);
    world.patch(&format!("{SLICES}/web"), &json!({"ports": [{"port": 8080}]}));
}

/// Rules that the record names, with the default one of the listener, which it does not name.
fn rules(world: &World) -> usize {
    let record = world.get(&format!("{RECORDS}/shop.web")).unwrap_or_default();
    let named = record["status"]["resources"]["first"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    named
        .iter()
        .filter(|resource| resource["kind"] == "ListenerRule")
        .count()
        + 1
}

fn delete(world: &World) {
    world.delete(&format!("{INGRESSES}/web"));
}

fn deleted(world: &World) -> Option<()> {
    world.get(&format!("{RECORDS}/shop.web")).is_none().then_some(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_death_after_any_call_leaves_nothing_undone_or_over() {
    let world = Arc::new(World::start().await);
    with(&world, certify).await;
    let nothing = with(&world, World::everything).await;

    // As it is when nobody dies.
    assert!(!broken_after(usize::MAX, &world, create, created).await);
    let whole = with(&world, World::everything).await;
    let creation = with(&world, World::writes).await.len();
    assert!(!broken_after(usize::MAX, &world, update, updated).await);
    let other = with(&world, World::everything).await;
    let change = with(&world, World::writes).await.len();
    assert!(!broken_after(usize::MAX, &world, delete, deleted).await);
    assert_eq!(with(&world, World::everything).await, nothing);
    let deletion = with(&world, World::writes).await.len();
    let calls = [creation, change, deletion];
    assert!(
        creation >= 11 && change >= 8 && deletion >= 6,
        "{calls:?} calls to die after"
    );

    for call in 1..=calls.into_iter().max().unwrap_or_default() {
        with(&world, move_back).await;
        let died = broken_after(call, &world, create, created).await;
        assert_eq!(died, call <= creation, "at call {call} of {creation}");
        assert_eq!(
            with(&world, World::everything).await,
            whole,
            "created, with a death after call {call}"
        );
        let made = with(&world, World::writes).await;
        assert_eq!(
            made.len(),
            creation,
            "nothing is made twice after a death at call {call}: {made:?}"
        );

        let died = broken_after(call, &world, update, updated).await;
        assert_eq!(died, call <= change, "at call {call} of {change}");
        assert_eq!(
            with(&world, World::everything).await,
            other,
            "changed, with a death after call {call}"
        );

        let died = broken_after(call, &world, delete, deleted).await;
        assert_eq!(died, call <= deletion, "at call {call} of {deletion}");
        assert_eq!(
            with(&world, World::everything).await,
            nothing,
            "deleted, with a death after call {call}"
        );
    }
}

/// Two Ingresses of one group, each with a host and a Service.
fn create_group(world: &World) {
    for name in ["web", "api"] {
        let host = format!("{name}.example.com");
        let mut ingress = ingress(name, &host, &[("/shop", name), ("/", name)]);
        ingress["metadata"]["annotations"] = json!({"alb.ingress.kubernetes.io/group.name": "shared"});
        world.post(INGRESSES, &ingress);
    }
}

fn delete_group(world: &World) {
    for name in ["web", "api"] {
        world.delete(&format!("{INGRESSES}/{name}"));
    }
}

/// How the first pass ended: the reason, where something was refused.
fn ended(world: &World) -> Option<Option<String>> {
    let record = world.get(&format!("{RECORDS}/shared"))?;
    let conditions = record["status"]["conditions"].as_array()?;
    let settled = conditions
        .iter()
        .find(|condition| condition["type"] == "Settled")?;
    match condition(&record, "Settled").as_str() {
        "True" => Some(None),
        _ => settled["reason"].as_str().map(|reason| Some(reason.to_owned())),
    }
}

/// Rules and targets that exist for a Service, as AWS tells them.
fn served(world: &World, service: &str) -> bool {
    let record = world.get(&format!("{RECORDS}/shared")).unwrap_or_default();
    let named = record["status"]["resources"]["first"].to_string();
    named.contains(&format!("shop/{service}-{service}:80"))
}

#[tokio::test(flavor = "multi_thread")]
async fn any_call_that_is_refused_holds_nobody_up_and_is_made_up_for() {
    let world = Arc::new(World::start().await);
    with(&world, |world| world.service("api", &[("web-2", 1, 0)])).await;
    let nothing = with(&world, World::everything).await;
    let creates = |made: &[String]| made.iter().filter(|call| call.contains(":Create")).count();
    let (mut whole, mut creation, mut created) = (Vec::new(), usize::MAX, 0);
    let mut call = 0;
    while call <= creation {
        let faulty = Faulty {
            inner: world.aws().await,
            left: AtomicUsize::new(call),
            fault: Fault::Refusal,
        };
        with(&world, |world| {
            create_group(world);
            world.moto.record();
        })
        .await;
        let running = world.control_as(faulty, Leadership::Alone, HOUR).await;
        let told = until(
            &world,
            &format!("a pass ends though call {call} is refused"),
            ended,
        )
        .await;
        if call > 0 {
            assert_eq!(told.as_deref(), Some("AccessDenied"), "at call {call}");
            // One Service's target group may be what was refused; never both.
            let either = with(&world, |world| served(world, "web") || served(world, "api")).await;
            assert!(either, "both wait for call {call}");
        }
        until(&world, "it is tried again", |world| {
            world.settled("shared").then_some(())
        })
        .await;
        let exists = with(&world, World::everything).await;
        let made = with(&world, World::writes).await;
        if call == 0 {
            (whole, creation, created) = (exists, made.len(), creates(&made));
            assert!(creation >= 14, "{made:?}");
        } else {
            assert_eq!(exists, whole, "after call {call} was refused");
            assert_eq!(creates(&made), created, "nothing is made twice: {made:?}");
        }
        with(&world, delete_group).await;
        until(&world, "it is gone", |world| {
            world.get(&format!("{RECORDS}/shared")).is_none().then_some(())
        })
        .await;
        assert_eq!(with(&world, World::everything).await, nothing, "at call {call}");
        running.stop().await;
        call += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_refused_is_not_repeated_for_every_event() {
    let world = Arc::new(World::start().await);
    let tries = Arc::new(AtomicUsize::new(0));
    let faulty = Faulty {
        inner: world.aws().await,
        left: AtomicUsize::new(usize::MAX),
        fault: Fault::Denial("elbv2:CreateRule", tries.clone()),
    };
    let running = world.control_as(faulty, Leadership::Alone, HOUR).await;
    with(&world, |world| {
        world.post(INGRESSES, &ingress("web", "www.example.com", &[("/", "web")]));
    })
    .await;
    // From then on eight seconds pass until it is tried again.
    let counted = tries.clone();
    until(&world, "it was tried four times", move |world| {
        let told = world.get(&format!("{RECORDS}/shop.web"))?;
        (counted.load(Ordering::Relaxed) == 4 && condition(&told, "Settled") == "False").then_some(())
    })
    .await;
    // What holds anyhow is said, and then not said again.
    for scheme in [json!("internal"), json!(null)] {
        let before = running.passes("waiting").await;
        with(&world, move |world| {
            world.moto.record();
            let same = json!({"metadata": {"annotations": {"alb.ingress.kubernetes.io/scheme": scheme}}});
            world.patch(&format!("{INGRESSES}/web"), &same);
        })
        .await;
        until_async("a pass that waits", async || {
            (running.passes("waiting").await > before).then_some(())
        })
        .await;
        assert_eq!(tries.load(Ordering::Relaxed), 4, "nothing is repeated");
        let calls = with(&world, |world| world.moto.calls()).await;
        assert_eq!(calls, [], "and nothing is read");
    }

    // What is asked for differs: that is tried at once.
    with(&world, |world| {
        world.patch(
            &format!("{INGRESSES}/web"),
            &ingress("web", "shop.example.com", &[("/", "web")]),
        );
    })
    .await;
    let counted = tries.clone();
    until(&world, "it is tried again", move |_| {
        (counted.load(Ordering::Relaxed) > 4).then_some(())
    })
    .await;
    running.stop().await;
}
