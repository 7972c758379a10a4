//! A controller broken off after any call that changes something, and started again, in; the same end state out.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(dead_code, reason = "the world has more to it than breaking it")]

#[path = "controller/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis::controller::Leadership;
use portcullis_aws::Aws;
use portcullis_model::{
    Address, Backend, ChangeSummary, Claim, Existing, Listed, LoadBalancer, LoadBalancerId, OwnTargets, Plan,
    Port, Problem, Provider, ProviderError, TargetAddress, TargetHealth,
};
use serde_json::json;
use tokio::sync::Notify;

use self::world::{INGRESSES, RECORDS, SLICES, World, ingress, until, with};

/// The real provider, until so many calls have been made: then the next thing that happens is that the process dies.
struct Mortal {
    inner: Aws,
    /// Calls left.
    left: AtomicUsize,
    dead: Arc<Notify>,
}

impl Provider for Mortal {
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

    fn demand(&self, desired: &LoadBalancer, account: &Self::Account) -> Self::Demand {
        self.inner.demand(desired, account)
    }

    fn plan_shared(
        &self,
        demands: &BTreeMap<LoadBalancerId, Self::Demand>,
        shared: &Self::Shared,
        account: &Self::Account,
    ) -> (Plan<Self::Change>, Vec<Problem>) {
        self.inner.plan_shared(demands, shared, account)
    }

    async fn health(
        &self,
        backend: &Existing,
        targets: &BTreeSet<(TargetAddress, Port)>,
    ) -> Result<BTreeMap<(TargetAddress, Port), TargetHealth>, ProviderError> {
        self.inner.health(backend, targets).await
    }

    async fn apply(&self, claim: &Claim, change: &Self::Change) -> Result<Self::Answer, ProviderError> {
        let answer = self.inner.apply(claim, change).await;
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.dead.notify_one();
            // AWS has done it, and nobody here learns of it.
            std::future::pending::<()>().await;
        }
        answer
    }

    fn fold(observed: &mut Self::Observed, change: &Self::Change, answer: Self::Answer) {
        Aws::fold(observed, change, answer);
    }

    fn fold_shared(shared: &mut Self::Shared, change: &Self::Change, answer: Self::Answer) {
        Aws::fold_shared(shared, change, answer);
    }

    fn imagine(change: &Self::Change) -> Self::Answer {
        Aws::imagine(change)
    }

    fn summary(change: &Self::Change) -> ChangeSummary {
        Aws::summary(change)
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
    let mortal = Mortal {
        inner: world.aws().await,
        left: AtomicUsize::new(calls),
        dead: dead.clone(),
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

fn create(world: &World) {
    world.post(
        INGRESSES,
        &ingress("web", "www.example.com", &[("/", "web"), ("/api", "web")]),
    );
}

fn created(world: &World) -> Option<()> {
    (world.hostname("web").is_some() && world.settled("shop.web")).then_some(())
}

/// Other paths, and targets on another port.
fn update(world: &World) {
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
        creation >= 10 && change >= 7 && deletion >= 5,
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
