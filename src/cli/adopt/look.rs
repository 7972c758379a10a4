//! A cluster and an account in, what is there of the incumbent and of ours out: reads only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Service;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt};
use portcullis_aws::Aws;
use portcullis_aws::preview::Narrowing;
use portcullis_model::{
    LoadBalancer, LoadBalancerId, ObjectName, Opening, Problem, Provider as _, Semantics,
};

use crate::adopt::lease::{self, Reading, State, Verdict};
use crate::adopt::webhooks::{self, Webhook};
use crate::adopt::{self, Bindings, Incumbent, Read, Report};
use crate::cluster::binding;
use crate::cluster::incumbent::{self, Binding};
use crate::cluster::index::SecretsMode;
use crate::cluster::list;
use crate::cluster::object::{Ingress, Object};
use crate::cluster::watch::SharedIndex;
use crate::crd::load_balancer::{LoadBalancerResource, Terms};
use crate::orphans;
use crate::reconcile::records::scope::Naming;
use crate::reconcile::records::{Place, Records};
use crate::reconcile::secrets::SecretReader;
use crate::reconcile::view::View;
use crate::translate::{self, Settings, Translation};

/// A cluster as it was read.
pub(in crate::cli) struct Cluster {
    pub(in crate::cli) client: Client,
    pub(in crate::cli) records: Records,
    pub(in crate::cli) translations: BTreeMap<LoadBalancerId, Translation>,
    /// How the members of each name their class.
    naming: BTreeMap<LoadBalancerId, Naming>,
    /// Of Ingresses that are part of no load balancer.
    pub(in crate::cli) refused: Vec<Problem>,
    /// All Ingresses, of whatever class.
    pub(in crate::cli) ingresses: Vec<Arc<Ingress>>,
    pub(in crate::cli) bindings: Vec<TargetGroupBinding>,
    /// By which permissions are laid out that belong to no load balancer.
    semantics: Semantics,
}

/// A TargetGroupBinding.
pub(in crate::cli) struct TargetGroupBinding {
    pub(in crate::cli) name: ObjectName,
    pub(in crate::cli) uid: String,
    pub(in crate::cli) whose: Binding,
    /// The target group that it is about, if it says so.
    pub(in crate::cli) arn: Option<String>,
    /// What it asks to be open, if it was written by hand.
    openings: Vec<Opening>,
}

impl Cluster {
    pub(in crate::cli) async fn read(
        client: Client,
        settings: Settings,
        place: Place,
    ) -> anyhow::Result<Self> {
        let objects = list::objects(&client)
            .await
            .context("failed to read the cluster")?;
        let mut ingresses = Vec::new();
        for object in &objects {
            if let Object::Ingress(ingress) = object {
                ingresses.push(ingress.clone());
            }
        }
        let mut index = translate::index(&settings, SecretsMode::NotRead);
        index.reset_all(objects);
        let index = SharedIndex::new(index);
        let secrets = SecretReader::new(client.clone());
        let ids = index.lock().synced().context("failed to read the cluster")?.ids();
        for id in ids {
            // As a pass does: without, a rule whose users sign in would look as if it had to answer 503.
            secrets
                .read(&index, &id, &settings)
                .await
                .context("failed to read the cluster")?;
        }
        let (translations, refused) = translated(&index, &settings)?;
        let mut naming = BTreeMap::new();
        for id in translations.keys() {
            let view = View::of(&index, id, None).context("failed to read the cluster")?;
            naming.insert(id.clone(), view.naming);
        }
        Ok(Self {
            semantics: settings.controller.semantics(),
            naming,
            records: records(&client, place).await?,
            bindings: bindings(&client).await?,
            client,
            translations,
            refused,
            ingresses,
        })
    }

    /// What Ingresses ask for.
    fn asked(&self, id: &LoadBalancerId) -> Option<&LoadBalancer> {
        self.translations.get(id)?.balancer.as_ref()
    }

    /// Whether its class only plans, and what becomes of it in the end.
    pub(super) fn terms(&self, id: &LoadBalancerId) -> Terms {
        self.translations
            .get(id)
            .map_or(Terms::default(), Translation::terms)
    }

    pub(super) fn naming(&self, id: &LoadBalancerId) -> Naming {
        self.naming.get(id).copied().unwrap_or(Naming::Classes)
    }

    /// Load balancers that other controller names have, with those of their recorded members that are still there.
    fn elsewhere(&self) -> BTreeMap<LoadBalancerId, Vec<ObjectName>> {
        let there = |name: &ObjectName| {
            let mut ingresses = self.ingresses.iter();
            ingresses.any(|ingress| ingress.meta.name == *name && !ingress.meta.deleting)
        };
        let of = |id: LoadBalancerId| {
            let (record, _) = self.records.another(&id)?;
            let members = record.status.iter().flat_map(|status| &status.members.first);
            let members = members.filter_map(|name| name.split_once('/'));
            let members = members.map(|(namespace, name)| ObjectName::new(namespace, name));
            Some((id, members.filter(there).collect()))
        };
        self.records.held_by_others().into_iter().filter_map(of).collect()
    }

    /// Load balancers that only Ingresses being deleted wait for.
    fn leaving(&self) -> BTreeSet<LoadBalancerId> {
        let deleting = self.ingresses.iter().filter(|ingress| ingress.meta.deleting);
        let held = deleting.flat_map(|ingress| &ingress.held_for);
        held.filter(|id| !self.translations.contains_key(id))
            .cloned()
            .collect()
    }
}

type Translated = (BTreeMap<LoadBalancerId, Translation>, Vec<Problem>);

/// What Ingresses ask for, and what is wrong with those that are part of no load balancer.
fn translated(index: &SharedIndex, settings: &Settings) -> anyhow::Result<Translated> {
    let index = index.lock();
    let synced = index.synced().context("failed to read the cluster")?;
    let translations = synced.ids().into_iter().map(|id| {
        let translation = translate::translate(&synced.snapshot(&id), settings);
        (id, translation)
    });
    let refused = synced.refused().flat_map(|(_, problems)| problems.to_vec());
    Ok((translations.collect(), refused.collect()))
}

/// Everything recorded as ours.
pub(super) async fn records(client: &Client, place: Place) -> anyhow::Result<Records> {
    let api: Api<LoadBalancerResource> = Api::all(client.clone());
    let list = api.list(&ListParams::default()).await;
    let list = list.context("failed to list LoadBalancers (are the definitions in crds/ installed?)")?;
    let records = Records::new(client.clone(), place);
    records.reset(list.items);
    Ok(records)
}

pub(super) fn binding_resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding");
    ApiResource::from_gvk_with_plural(&kind, "targetgroupbindings")
}

pub(in crate::cli) async fn bindings(client: &Client) -> anyhow::Result<Vec<TargetGroupBinding>> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &binding_resource());
    let all = match list::pages(&api).await {
        // Their definition is not installed.
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        all => all.context("failed to list TargetGroupBindings")?,
    };
    let read = |object: DynamicObject| TargetGroupBinding {
        name: ObjectName::new(object.namespace().unwrap_or_default(), object.name_any()),
        uid: object.uid().unwrap_or_default(),
        whose: incumbent::binding(object.labels()),
        openings: binding::Binding::read(&object).map_or(Vec::new(), |binding| binding.openings),
        arn: object.data["spec"]["targetGroupARN"].as_str().map(str::to_owned),
    };
    Ok(all.into_iter().map(read).collect())
}

/// Leases of this name, in whatever namespace.
pub(super) async fn leases(client: &Client, name: &str) -> anyhow::Result<Vec<ObjectName>> {
    let api: Api<Lease> = Api::all(client.clone());
    let params = ListParams::default().fields(&format!("metadata.name={name}"));
    let found = api
        .list_metadata(&params)
        .await
        .context("failed to list leases")?;
    Ok(found.items.iter().map(name_of).collect())
}

fn name_of<K>(object: &PartialObjectMeta<K>) -> ObjectName {
    let metadata = &object.metadata;
    ObjectName::new(
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

/// Looks at a lease until it is known whether its holder renews it.
pub(in crate::cli) async fn watch(client: &Client, name: &ObjectName) -> anyhow::Result<State> {
    let api: Api<Lease> = Api::namespaced(client.clone(), &name.namespace);
    let read = async || -> anyhow::Result<Option<Reading>> {
        let lease = api
            .get_opt(&name.name)
            .await
            .with_context(|| format!("failed to read lease {name}"))?;
        Ok(lease.and_then(|lease| lease.spec).map(|spec| Reading {
            holder: spec.holder_identity.filter(|holder| !holder.is_empty()),
            duration: Duration::from_secs(spec.lease_duration_seconds.unwrap_or(15).try_into().unwrap_or(15)),
            version: spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default(),
        }))
    };
    let (first, begun) = (read().await?, now());
    let mut last = first.clone();
    loop {
        match lease::judge(first.as_ref(), last.as_ref(), begun.elapsed()) {
            Verdict::Known(state) => return Ok(state),
            Verdict::LookAgain(pause) => tokio::time::sleep(pause).await,
        }
        last = read().await?;
    }
}

#[expect(clippy::disallowed_methods, reason = "a command is where time is told")]
fn now() -> Instant {
    Instant::now()
}

async fn incumbent(cluster: &Cluster, name: &ObjectName) -> anyhow::Result<Incumbent> {
    let client = &cluster.client;
    let mut counted = Bindings::default();
    cluster
        .bindings
        .iter()
        .for_each(|binding| counted.count(&binding.whose));
    let api: Api<Service> = Api::all(client.clone());
    let services = api
        .list_metadata(&ListParams::default())
        .await
        .context("failed to list Services")?;
    let held = |service: &&PartialObjectMeta<Service>| {
        let finalizers = service.metadata.finalizers.iter().flatten();
        finalizers
            .into_iter()
            .any(|finalizer| finalizer == incumbent::SERVICE_FINALIZER)
    };
    Ok(Incumbent {
        lease: name.to_string(),
        webhooks: closing(client).await?,
        services: services.items.iter().filter(held).map(name_of).collect(),
        bindings: counted,
        state: watch(client, name).await?,
    })
}

async fn closing(client: &Client) -> anyhow::Result<Vec<Webhook>> {
    let params = ListParams::default();
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let validating = validating
        .list(&params)
        .await
        .context("failed to list webhooks")?;
    let mutating = mutating.list(&params).await.context("failed to list webhooks")?;
    let validating = validating.items.iter().map(serde_json::to_value);
    let mutating = mutating.items.iter().map(serde_json::to_value);
    let mut all = Vec::new();
    for configuration in validating.chain(mutating) {
        all.extend(webhooks::closing(
            &configuration.context("failed to read webhooks")?,
        ));
    }
    all.sort();
    Ok(all)
}

/// Everything there is, and what taking it over changes.
pub(super) async fn report(
    cluster: &Cluster,
    aws: &Aws,
    lease: &ObjectName,
    accept_changes: bool,
) -> anyhow::Result<Report> {
    let incumbent = incumbent(cluster, lease).await?;
    let account = aws.account().await.context("failed to read the account")?;
    let elsewhere = cluster.elsewhere();
    let mut leaving = cluster.leaving();
    leaving.retain(|id| !elsewhere.contains_key(id));
    let mut desired: BTreeMap<LoadBalancerId, Option<&LoadBalancer>> =
        leaving.iter().map(|id| (id.clone(), None)).collect();
    let asked = cluster.translations.keys();
    desired.extend(asked.filter_map(|id| Some((id.clone(), Some(cluster.asked(id)?)))));
    let recorded: BTreeSet<LoadBalancerId> = cluster.records.held_ids().into_iter().collect();
    // What these use is for others to say.
    let mut others = recorded.iter().chain(elsewhere.keys());
    let narrowing = match others.all(|id| desired.contains_key(id)) {
        true => Narrowing::Planned,
        false => Narrowing::Left,
    };
    let mut ids = account.listing.stacks(&aws.settings().cluster);
    ids.extend(desired.keys().cloned());
    let ids: Vec<LoadBalancerId> = ids.into_iter().collect();
    let mut observed = aws
        .observe(&ids, &account)
        .await
        .context("failed to read what exists")?;
    aws.complete(desired.values().copied().flatten(), &account, &mut observed)
        .await
        .context("failed to read what exists")?;
    let shared = aws
        .observe_shared(&account)
        .await
        .context("failed to read what load balancers share")?;
    let openings = cluster.bindings.iter().flat_map(|binding| &binding.openings);
    let openings: Vec<Opening> = openings.cloned().collect();
    let stays_open = aws.keeps_open(&openings, cluster.semantics);
    let mut plan = portcullis_aws::plan_observed(
        &desired,
        aws.settings(),
        &account,
        &observed,
        &shared,
        (narrowing, Some(stays_open)),
    );
    for preview in &mut plan.load_balancers {
        if let Some(translation) = cluster.translations.get(&preview.id) {
            preview.problems.extend(translation.problems.iter().cloned());
            preview.problems.sort();
            preview.problems.dedup();
        }
    }
    plan.problems.extend(cluster.refused.iter().cloned());
    let mut unserved: BTreeMap<LoadBalancerId, Vec<ObjectName>> = BTreeMap::new();
    for id in observed.keys().filter(|id| !desired.contains_key(id)) {
        let may_own = cluster
            .ingresses
            .iter()
            .filter(|ingress| orphans::may_own(ingress, id));
        let names: Vec<ObjectName> = may_own.map(|ingress| ingress.meta.name.clone()).collect();
        if !names.is_empty() {
            unserved.insert(id.clone(), names);
        }
    }
    Ok(adopt::report(Read {
        unserved: &unserved,
        incumbent,
        plan,
        observed: &observed,
        leaving: &leaving,
        recorded: &recorded,
        elsewhere: &elsewhere,
        accept_changes,
    }))
}
