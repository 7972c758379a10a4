//! Settings in, the provider out: the pure half and the SDKs behind the one contract.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use portcullis_model::{
    Address, Backend, Bound, ChangeSummary, Claim, Existing, Guest, Listed, LoadBalancer, LoadBalancerId,
    ObjectName, Opening, Origin, OwnTargets, Plan, Port, Problem, Provider, ProviderError, Refusals, Routes,
    Semantics, Target, TargetAddress, TargetHealth,
};
use thiserror::Error;

use crate::account::Account;
use crate::apply::{self, Unproven};
use crate::change::{Answer, Call, Change};
use crate::client::{Calls, Client, Guests, at_leisure};
use crate::observed::{Observed, Shared};
use crate::resource::VpcId;
use crate::settings::Settings;
use crate::shared::Demand;
use crate::{bound, fold, observe, plan, shared};

/// An AWS account and Region, and a VPC of it, where load balancers are made.
#[derive(Debug)]
pub struct Aws {
    settings: Settings,
    region: String,
    vpc: VpcId,
    client: Arc<Client>,
    guests: Guests,
    unproven: Unproven,
    consulting: tokio::sync::Mutex<()>,
}

/// What must be known before the first call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ConnectError {
    #[error("no VPC is named (--aws-vpc-id)")]
    NoVpc,
    #[error("no Region is named (--aws-region, AWS_REGION, or the profile's)")]
    NoRegion,
}

impl Aws {
    /// Credentials, Region and endpoints as the SDKs find them: environment (`AWS_ENDPOINT_URL` included), profile,
    /// web identity, container and instance roles. A Region in the settings wins. Makes no call to a service.
    pub async fn connect(settings: Settings) -> Result<Self, ConnectError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        Self::new(&loader.load().await, settings)
    }

    /// With a configuration of the caller's own.
    pub fn new(config: &SdkConfig, settings: Settings) -> Result<Self, ConnectError> {
        let region = config.region().ok_or(ConnectError::NoRegion)?.to_string();
        let vpc = VpcId::new(settings.vpc.clone().ok_or(ConnectError::NoVpc)?);
        let calls = Arc::new(Calls::default());
        let limits = settings.api_limits.clone();
        let client = Arc::new(Client::new(config, limits.clone(), calls.clone()));
        let guests = Guests::new(config.clone(), limits, calls);
        Ok(Self {
            settings,
            region,
            vpc,
            client,
            guests,
            unproven: Unproven::default(),
            consulting: tokio::sync::Mutex::default(),
        })
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Region of the load balancers.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// Reads of the account and of what is observed what only these load balancers ask for.
    pub async fn complete<'a>(
        &self,
        desired: impl IntoIterator<Item = &'a LoadBalancer>,
        account: &Account,
        observed: &mut BTreeMap<LoadBalancerId, Observed>,
    ) -> Result<(), ProviderError> {
        for balancer in desired {
            self.consult(balancer, account).await?;
            if let Some(observed) = observed.get_mut(&balancer.id) {
                self.look_closer(balancer, observed).await?;
            }
        }
        Ok(())
    }

    /// Waits for the turn of a change and makes it: for commands, which hold no lease. The claim begins after the wait.
    pub async fn make(
        &self,
        claim: impl FnOnce() -> Claim + Send,
        change: &Change,
    ) -> Result<Answer, ProviderError> {
        self.turn(change).await?;
        self.apply(&claim(), change).await
    }

    /// Who has these rights.
    async fn client(&self, guest: Option<&Guest>) -> Arc<Client> {
        match guest {
            None => self.client.clone(),
            Some(guest) => self.guests.client(guest).await,
        }
    }

    /// How often each operation was called and how it ended.
    pub fn calls(&self) -> &Calls {
        self.client.calls()
    }
}

impl Provider for Aws {
    const NAME: &'static str = "aws";
    type Account = Account;
    type Observed = Observed;
    type Shared = Shared;
    type Demand = Demand;
    type Change = Change;
    type Answer = Answer;

    async fn account(&self) -> Result<Account, ProviderError> {
        let authorities = match self.settings.certificate_authorities.is_empty() {
            true => observe::Authorities::Any,
            false => observe::Authorities::Told,
        };
        observe::account(&self.client, &self.region, &self.vpc, authorities).await
    }

    async fn observe(
        &self,
        ids: &[LoadBalancerId],
        account: &Account,
    ) -> Result<BTreeMap<LoadBalancerId, Observed>, ProviderError> {
        observe::observe(&self.client, &self.settings.cluster, ids, account).await
    }

    async fn observe_at_leisure(
        &self,
        ids: &[LoadBalancerId],
        account: &Account,
    ) -> Result<BTreeMap<LoadBalancerId, Observed>, ProviderError> {
        at_leisure(self.observe(ids, account)).await
    }

    async fn consult(&self, desired: &LoadBalancer, account: &Account) -> Result<(), ProviderError> {
        // One at a time: load balancers that come meanwhile share what is read.
        let _one_at_a_time = self.consulting.lock().await;
        observe::consult(&self.client, &self.settings, desired, account).await
    }

    fn absent_lists(&self, desired: &LoadBalancer, account: &Account) -> BTreeSet<String> {
        crate::compile::absent_lists(&self.settings, desired, account)
    }

    async fn look_closer(
        &self,
        desired: &LoadBalancer,
        observed: &mut Observed,
    ) -> Result<(), ProviderError> {
        observe::look_closer(&self.client, &self.settings, desired, observed).await
    }

    async fn observe_shared(&self, account: &Account) -> Result<Shared, ProviderError> {
        Ok(observe::shared(&self.settings.cluster, account))
    }

    fn plan(
        &self,
        id: &LoadBalancerId,
        desired: Option<&LoadBalancer>,
        observed: &Observed,
        shared: &Shared,
        account: &Account,
    ) -> (Plan<Change>, Vec<Problem>) {
        plan::plan(&self.settings, id, desired, observed, shared, account)
    }

    fn fingerprint(&self, desired: &LoadBalancer, account: &Account) -> String {
        crate::fingerprint(&self.settings, desired, account)
    }

    fn own_targets(&self, desired: &LoadBalancer, account: &Account) -> OwnTargets {
        crate::compile::own_targets(&self.settings, desired, account)
    }

    fn recall(observed: &mut Observed, own: &OwnTargets) {
        observed.own_targets.clone_from(own);
    }

    fn unmade(
        &self,
        desired: &LoadBalancer,
        observed: Option<&Observed>,
        account: &Account,
    ) -> Option<Problem> {
        plan::unmade(&self.settings, desired, observed, account)
    }

    fn routes(&self, desired: &LoadBalancer, observed: &Observed, account: &Account) -> Routes {
        crate::routes(&self.settings, desired, observed, account)
    }

    fn takes_back(change: &Change) -> bool {
        change.call.frees()
    }

    fn moves_targets(change: &Change) -> bool {
        matches!(
            change.call,
            Call::RegisterTargets { .. } | Call::DeregisterTargets { .. }
        )
    }

    fn demand(&self, desired: &LoadBalancer, observed: Option<&Observed>, account: &Account) -> Demand {
        shared::demand(&self.settings, desired, observed, account)
    }

    fn uses(&self, observed: &Observed) -> Demand {
        shared::uses(observed)
    }

    fn keeps_open(&self, openings: &[Opening], semantics: Semantics) -> Demand {
        shared::keeps_open(openings, semantics)
    }

    fn plan_shared(
        &self,
        demands: &BTreeMap<LoadBalancerId, Demand>,
        shared: &Shared,
        account: &Account,
    ) -> (Plan<Change>, Vec<Problem>) {
        shared::plan_shared(&self.settings, demands, shared, account)
    }

    fn guest(&self, role: &str, namespace: &str) -> Result<Guest, String> {
        bound::guest(&self.settings, role, namespace)
    }

    async fn bind(
        &self,
        name: &str,
        namespace: &str,
        guest: Option<&Guest>,
        semantics: Semantics,
        at: &Origin,
    ) -> Result<(Option<Bound>, Vec<Problem>), ProviderError> {
        let of = (self.settings.cluster.as_str(), self.vpc.as_str());
        let client = self.client(guest).await;
        observe::bind(&client, of, name, namespace, guest, semantics, at).await
    }

    async fn registered(&self, bound: &Bound) -> Result<BTreeSet<String>, ProviderError> {
        let client = self.client(bound.guest.as_ref()).await;
        observe::registered(&client, bound).await
    }

    async fn registered_at_leisure(&self, bound: &Bound) -> Result<BTreeSet<String>, ProviderError> {
        at_leisure(self.registered(bound)).await
    }

    fn plan_bound(
        &self,
        bound: &Bound,
        targets: &[Target],
        registered: &BTreeSet<String>,
        own: Option<&BTreeSet<String>>,
        account: &Account,
    ) -> Plan<Change> {
        bound::plan_bound(bound, targets, registered, own, &account.ranges)
    }

    fn target_key(target: &Target) -> String {
        bound::target_key(target)
    }

    async fn health(
        &self,
        backend: &Existing,
        guest: Option<&Guest>,
        targets: &BTreeSet<(TargetAddress, Port)>,
    ) -> Result<BTreeMap<(TargetAddress, Port), TargetHealth>, ProviderError> {
        observe::health(&*self.client(guest).await, backend, targets).await
    }

    async fn turn(&self, change: &Change) -> Result<(), ProviderError> {
        apply::turn(&*self.client(change.guest.as_ref()).await, &change.call).await
    }

    async fn apply(&self, claim: &Claim, change: &Change) -> Result<Answer, ProviderError> {
        let client = self.client(change.guest.as_ref()).await;
        apply::apply(&client, &self.unproven, claim, &change.call).await
    }

    fn recall_secrets(observed: &mut Observed, applied: BTreeMap<ObjectName, Arc<str>>) {
        observed.applied = applied;
    }

    fn fold(observed: &mut Observed, change: &Change, answer: Answer) {
        fold::fold(observed, change, answer);
    }

    fn fold_shared(shared: &mut Shared, change: &Change, answer: Answer) {
        fold::fold_shared(shared, change, answer);
    }

    fn refused(observed: &mut Observed) -> &mut Refusals<Change> {
        &mut observed.refused
    }

    fn refused_shared(shared: &mut Shared) -> &mut Refusals<Change> {
        &mut shared.refused
    }

    fn imagine(change: &Change) -> Answer {
        fold::imagine(change)
    }

    fn summary(change: &Change) -> ChangeSummary {
        change.summary()
    }

    fn address(observed: &Observed) -> Option<Address> {
        fold::address(observed)
    }

    fn further_addresses(observed: &Observed) -> Vec<Address> {
        fold::further_addresses(observed)
    }

    fn backends(observed: &Observed) -> Vec<Existing> {
        fold::backends(observed)
    }

    fn stands_for<'a>(desired: &'a LoadBalancer, existing: &Existing) -> Option<&'a Backend> {
        crate::compile::stands_for(desired, &existing.id)
    }

    fn listed(&self, account: &Account, name: &str) -> Listed {
        fold::listed(&self.settings.cluster, account, name)
    }

    fn waits(observed: &Observed) -> bool {
        plan::waits(observed)
    }

    fn inventory(observed: &Observed) -> Vec<(&'static str, String, String)> {
        fold::inventory(observed)
    }
}
