//! The contract of a place that can serve load balancers: what is desired in, calls planned and made out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::{Backend, OwnTargets, Target, TargetAddress, TargetKind};
use crate::balancer::{LoadBalancer, Semantics};
use crate::name::{LoadBalancerId, ObjectName, Port};
use crate::origin::Origin;
use crate::plan::{Address, ChangeSummary, Plan};
use crate::problem::{Blame, Code, Problem};
use crate::refusals::Refusals;

/// The right to change things out there, until it ends. Made by the lease alone; asked for at every call.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    until: Instant,
}

impl Claim {
    /// A claim that holds until this instant of the local clock.
    pub fn until(until: Instant) -> Self {
        Self { until }
    }

    /// Whether a call that takes at most `timeout` ends within the claim.
    pub fn covers(&self, now: Instant, timeout: Duration) -> bool {
        now.checked_add(timeout).is_some_and(|end| end <= self.until)
    }
}

/// Whether and how to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retry {
    /// With the key's usual growing delay.
    Backoff,
    /// Not before this much time has passed.
    After(Duration),
    /// After this much time, or as soon as something changes.
    Later(Duration),
    /// After reading again what exists: what was believed of it is wrong.
    Observe,
    /// Not until somebody changes something.
    Never,
}

/// A call that failed, or an answer nobody understood; shown whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{call}: {message} [{code}]")]
pub struct ProviderError {
    pub code: Code,
    /// Service and operation, such as `elbv2:CreateRule`.
    pub call: &'static str,
    /// The provider's own code and message.
    pub message: String,
    pub retry: Retry,
}

impl ProviderError {
    /// In words, without the code: for what says the code beside it.
    pub fn words(&self) -> String {
        format!("{}: {}", self.call, self.message)
    }

    pub fn blame(&self) -> Blame {
        self.code.blame()
    }

    /// Whether the one call was refused, and nothing else has to wait for it. All others would end likewise where the
    /// provider is out of reach or asks for quiet, or where nothing may be changed any more.
    pub fn is_refusal(&self) -> bool {
        // It was not even sent, for the operation is one that the provider allows seldom.
        let put_off = self.code == Code::Throttled && matches!(self.retry, Retry::Later(_));
        put_off
            || !matches!(
                self.code,
                Code::Throttled | Code::Unavailable | Code::ClaimLost | Code::NotSettled
            )
    }
}

/// A backend as it exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Existing {
    /// The provider's own: see [`Provider::stands_for`].
    pub id: String,
    /// By which others know it, such as the readiness gates of its pods.
    pub name: String,
    /// By which the provider's API knows it.
    pub handle: String,
}

/// A backend that exists by itself, and that a namespace may register targets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    pub existing: Existing,
    pub target_kind: TargetKind,
    /// Whether it takes IPv6 addresses, and no others; of pods.
    pub ipv6: bool,
    /// Where it is another account's.
    pub guest: Option<Guest>,
    pub network: Network,
}

/// Whether a backend stands in the network of the load balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    Own,
    Other,
}

/// Rights in another account that are taken on toward one of its backends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guest {
    /// The provider's own name of them.
    pub role: String,
    /// By which the other account knows on whose behalf: derived, never a tenant's word.
    pub external_id: String,
}

/// How many hosts and paths have rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Routes {
    pub existing: usize,
    /// How many fewer there will be.
    pub lost: usize,
}

/// Whose a backend of some name is, as the account's listing has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    Ours(LoadBalancerId, Existing),
    Foreign,
    Nowhere,
}

/// Whether a target may have requests, as the provider's health checks find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetHealth {
    pub state: TargetHealthState,
    /// The provider's own word, such as `Elb.InitialHealthChecking`; empty where it has none.
    pub reason: String,
    /// The provider's own sentence.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetHealthState {
    Healthy,
    /// Not yet, or not any more.
    Unhealthy,
}

/// Ports that somebody else asked to be opened for a source, which stay open where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The provider's name of what is let in.
    pub source: String,
    /// First and last port.
    pub ports: (u16, u16),
    pub origin: Origin,
}

/// A place that can serve a [`LoadBalancer`].
///
/// One pass: `plan` a round, `apply` its changes in order, `fold` each answer into what is observed, until a round is
/// empty. A call that is refused is noted in `refused`, and the next round planned without it. A dry run does the same
/// with `imagine` for `apply`.
pub trait Provider: Send + Sync + 'static {
    /// Short name: metric label, log field, parameter of a class.
    const NAME: &'static str;
    /// What all load balancers of the account use and none owns: networks, certificates, quotas, the list of what is
    /// marked as ours. Read once per interval.
    type Account: Send + Sync;
    /// What exists and is marked as ours, for one load balancer.
    type Observed: Clone + Send + Sync;
    /// What exists and is marked as ours, for what spans load balancers.
    type Shared: Clone + Send + Sync;
    /// What one load balancer needs of what spans them.
    type Demand: Clone + PartialEq + Send + Sync;
    /// One call to the provider's API, complete in itself. `Display` is a line of the dry run.
    type Change: fmt::Display + Clone + PartialEq + Send + Sync;
    /// What that call answered: the ids and fields the next round needs.
    type Answer: Send;

    fn account(&self) -> impl Future<Output = Result<Self::Account, ProviderError>> + Send;

    /// Reads many load balancers with as few calls as the API allows, and never changes anything. Every id asked for
    /// is in the answer.
    fn observe(
        &self,
        ids: &[LoadBalancerId],
        account: &Self::Account,
    ) -> impl Future<Output = Result<BTreeMap<LoadBalancerId, Self::Observed>, ProviderError>> + Send;

    /// The same, for a look that nobody waits for: so slowly that those who do wait hardly notice.
    fn observe_at_leisure(
        &self,
        ids: &[LoadBalancerId],
        account: &Self::Account,
    ) -> impl Future<Output = Result<BTreeMap<LoadBalancerId, Self::Observed>, ProviderError>> + Send {
        self.observe(ids, account)
    }

    /// Reads of the account what only some load balancers need, such as what this one names; no call where all of that
    /// is known. Comes before anything is worked out for it. What cannot be read is told by `plan`.
    fn consult(
        &self,
        desired: &LoadBalancer,
        account: &Self::Account,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;

    /// Pure: prefix lists that this load balancer names and that the provider was found to lack. What names one is
    /// translated as if it were not readable, so that nobody else's port is closed for it.
    fn absent_lists(&self, desired: &LoadBalancer, account: &Self::Account) -> BTreeSet<String>;

    /// Reads of what exists what only this load balancer's settings ask for; no call where all of that is known.
    /// Comes before each plan for what is observed. What cannot be read is told by `plan`, and left as it is.
    fn look_closer(
        &self,
        desired: &LoadBalancer,
        observed: &mut Self::Observed,
    ) -> impl Future<Output = Result<(), ProviderError>> + Send;

    fn observe_shared(
        &self,
        account: &Self::Account,
    ) -> impl Future<Output = Result<Self::Shared, ProviderError>> + Send;

    /// Pure: one round for a load balancer. `None` means: nothing of it should exist.
    fn plan(
        &self,
        id: &LoadBalancerId,
        desired: Option<&LoadBalancer>,
        observed: &Self::Observed,
        shared: &Self::Shared,
        account: &Self::Account,
    ) -> (Plan<Self::Change>, Vec<Problem>);

    /// Pure: a short text, at most 100 characters, that differs where what should exist differs, and is the same in
    /// every process and release that would make the same: a digest of the compiled form. Stored, so that a restart
    /// need not look.
    fn fingerprint(&self, desired: &LoadBalancer, account: &Self::Account) -> String;

    /// Pure: what this cluster is to have registered where other clusters register targets, too; other backends are
    /// left out. Recorded, for nothing else tells whose a registered target is.
    fn own_targets(&self, desired: &LoadBalancer, account: &Self::Account) -> OwnTargets;
    /// Pure: takes note of what is recorded of them.
    fn recall(observed: &mut Self::Observed, own: &OwnTargets);

    /// Pure: why it neither exists nor can be made; none where it does or can. Where nothing was observed of it yet, the
    /// account's listing says whether it exists.
    fn unmade(
        &self,
        desired: &LoadBalancer,
        observed: Option<&Self::Observed>,
        account: &Self::Account,
    ) -> Option<Problem>;
    /// Pure: whether it exists or can be made, else nothing is made for it of what spans load balancers.
    fn can_be_made(
        &self,
        desired: &LoadBalancer,
        observed: Option<&Self::Observed>,
        account: &Self::Account,
    ) -> bool {
        self.unmade(desired, observed, account).is_none()
    }

    /// Pure: how many of its routes would go.
    fn routes(&self, desired: &LoadBalancer, observed: &Self::Observed, account: &Self::Account) -> Routes;
    /// Pure: whether the change does nothing but register or take out the targets of a backend that exists.
    fn moves_targets(change: &Self::Change) -> bool;
    /// Pure: whether the change takes something back, which a load balancer that was not asked may still use.
    fn takes_back(change: &Self::Change) -> bool;

    /// Pure: what this load balancer needs of what spans them all, and what of that it uses until it has what it needs.
    /// Where nothing was observed of it yet, the account's listing says what it uses.
    fn demand(
        &self,
        desired: &LoadBalancer,
        observed: Option<&Self::Observed>,
        account: &Self::Account,
    ) -> Self::Demand;

    /// Pure: what one that nobody asks for any more goes on using of what spans them all, where it stands all the same.
    fn uses(&self, observed: &Self::Observed) -> Self::Demand;

    /// Pure: what it takes of what spans load balancers that these stay open, in the layout of this meaning.
    fn keeps_open(&self, openings: &[Opening], semantics: Semantics) -> Self::Demand;

    /// Pure: one round for what spans load balancers.
    fn plan_shared(
        &self,
        demands: &BTreeMap<LoadBalancerId, Self::Demand>,
        shared: &Self::Shared,
        account: &Self::Account,
    ) -> (Plan<Self::Change>, Vec<Problem>);

    /// Pure: the rights that a namespace may take on toward a backend of another account; why not, where it may not.
    fn guest(&self, role: &str, namespace: &str) -> Result<Guest, String>;
    /// Looks for a backend that exists by itself, and whether this namespace may have it: the problem says why not. Under
    /// the incumbent's semantics that it may not is told, and it may.
    fn bind(
        &self,
        name: &str,
        namespace: &str,
        guest: Option<&Guest>,
        semantics: Semantics,
        at: &Origin,
    ) -> impl Future<Output = Result<(Option<Bound>, Vec<Problem>), ProviderError>> + Send;
    /// What is registered there and not leaving, as `address:port`.
    fn registered(
        &self,
        bound: &Bound,
    ) -> impl Future<Output = Result<BTreeSet<String>, ProviderError>> + Send;
    /// The same, for a look that nobody waits for.
    fn registered_at_leisure(
        &self,
        bound: &Bound,
    ) -> impl Future<Output = Result<BTreeSet<String>, ProviderError>> + Send {
        self.registered(bound)
    }
    /// Pure: what brings these targets there, and takes others out: all, or where other clusters register targets, too,
    /// those that are ours.
    fn plan_bound(
        &self,
        bound: &Bound,
        targets: &[Target],
        registered: &BTreeSet<String>,
        own: Option<&BTreeSet<String>>,
        account: &Self::Account,
    ) -> Plan<Self::Change>;
    /// Pure: how a target is called in [`Provider::registered`].
    fn target_key(target: &Target) -> String;

    /// Asks for the health of some targets of a backend that exists. Those it does not know are left out.
    fn health(
        &self,
        backend: &Existing,
        guest: Option<&Guest>,
        targets: &BTreeSet<(TargetAddress, Port)>,
    ) -> impl Future<Output = Result<BTreeMap<(TargetAddress, Port), TargetHealth>, ProviderError>> + Send;

    /// Waits until the change may be made without asking more of the provider than is fair. Where that is long, it fails
    /// and is a refusal: see [`ProviderError::is_refusal`].
    fn turn(&self, _change: &Self::Change) -> impl Future<Output = Result<(), ProviderError>> + Send {
        async { Ok(()) }
    }
    /// Makes the one call, whose turn it is. Refuses a claim that does not cover it.
    fn apply(
        &self,
        claim: &Claim,
        change: &Self::Change,
    ) -> impl Future<Output = Result<Self::Answer, ProviderError>> + Send;

    /// Pure: adds to what is observed what no provider shows: which version of each secret was last applied in full.
    /// What is recorded of none was applied by somebody else, and is taken for the right one.
    fn recall_secrets(observed: &mut Self::Observed, applied: BTreeMap<ObjectName, Arc<str>>);

    /// Pure: what is observed after this answer.
    fn fold(observed: &mut Self::Observed, change: &Self::Change, answer: Self::Answer);
    /// Pure: what spans load balancers after this answer.
    fn fold_shared(shared: &mut Self::Shared, change: &Self::Change, answer: Self::Answer);
    /// What was refused since the pass began. A plan neither repeats it, nor does anything in reliance on it, and tells
    /// it as a problem where it belongs; everything else goes on.
    fn refused(observed: &mut Self::Observed) -> &mut Refusals<Self::Change>;
    /// The same for what spans load balancers.
    fn refused_shared(shared: &mut Self::Shared) -> &mut Refusals<Self::Change>;
    /// Pure: the answer a dry run imagines, with symbolic ids such as `${TargetGroup/shop/web-web:80}`.
    fn imagine(change: &Self::Change) -> Self::Answer;

    /// Pure: the change as people and tools see it.
    fn summary(change: &Self::Change) -> ChangeSummary;
    /// Pure: where clients find it, once it exists.
    fn address(observed: &Self::Observed) -> Option<Address>;
    /// Pure: where clients find it, too.
    fn further_addresses(observed: &Self::Observed) -> Vec<Address>;
    /// Pure: the backends that exist.
    fn backends(observed: &Self::Observed) -> Vec<Existing>;
    /// Pure: the backend that one that exists stands for: one for several, where they differ in nothing but who asks
    /// for them.
    fn stands_for<'a>(desired: &'a LoadBalancer, existing: &Existing) -> Option<&'a Backend>;
    /// Pure: whose backend has this name, by a listing that may be out of date.
    fn listed(&self, account: &Self::Account, name: &str) -> Listed;
    /// Pure: whether something is left to do that cannot be done yet, only because it is too early.
    fn waits(observed: &Self::Observed) -> bool;
    /// Pure: kind, id and the provider's name of each resource that exists, for the status.
    fn inventory(observed: &Self::Observed) -> Vec<(&'static str, String, String)>;
}
