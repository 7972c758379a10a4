//! `LoadBalancer` objects in, what is recorded of each load balancer out; and the writes that keep the record ahead
//! of the world: made before the first change outside, removed after the last.

pub mod follow;
pub mod scope;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use portcullis_model::{LoadBalancerId, ObjectName, OwnTargets};
use serde_json::json;

use self::scope::{Another, Naming, Scope};
use crate::crd::Mode;
use crate::crd::load_balancer::{
    FINALIZER, LoadBalancerResource, LoadBalancerSpec, LoadBalancerStatus, Terms, object_name,
};

/// Field manager of `spec` and the finalizer. Never renamed: fields would lose their owner.
const MANAGER: &str = "portcullis/finalizer";
/// Field manager of `status`.
const STATUS_MANAGER: &str = "portcullis/status";

/// What all records of this controller have in common. Those of others are left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub provider: &'static str,
    pub cluster_name: String,
    pub region: Option<String>,
    /// None for who asks for all records of the cluster, whatever made them.
    pub scope: Option<Scope>,
}

impl Place {
    fn is_here(&self, spec: &LoadBalancerSpec) -> bool {
        spec.provider == self.provider && spec.cluster_name == self.cluster_name && spec.region == self.region
    }

    /// What made it, where that is another controller of the same place.
    fn another(&self, record: &LoadBalancerResource) -> Option<Another> {
        let scope = self.scope.as_ref().filter(|_| self.is_here(&record.spec))?;
        scope.another(record)
    }

    fn holds(&self, record: &LoadBalancerResource) -> bool {
        self.is_here(&record.spec) && self.another(record).is_none()
    }
}

/// A record that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("loadbalancer {name} cannot be written")]
    Write {
        name: String,
        #[source]
        source: kube::Error,
    },
    #[error("configmap {name} cannot be read")]
    Read {
        name: ObjectName,
        #[source]
        source: kube::Error,
    },
    /// Another controller of the same cluster has a load balancer of this id.
    #[error("loadbalancer {name} belongs to provider {provider:?} and cluster name {cluster_name:?}")]
    Foreign {
        name: String,
        provider: String,
        cluster_name: String,
    },
    /// A controller that answers for other Ingresses of this cluster has one.
    #[error("loadbalancer {name}: {another}")]
    Another { name: String, another: Another },
}

/// All records, as last read or written.
pub struct Records {
    api: Api<LoadBalancerResource>,
    place: Place,
    held: Mutex<BTreeMap<String, Arc<LoadBalancerResource>>>,
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl Records {
    pub fn new(client: Client, place: Place) -> Self {
        Self {
            api: Api::all(client),
            place,
            held: Mutex::default(),
        }
    }

    /// Ours only.
    pub fn get(&self, id: &LoadBalancerId) -> Option<Arc<LoadBalancerResource>> {
        let record = self.held().get(&object_name(id)).cloned()?;
        self.place.holds(&record).then_some(record)
    }

    /// The record, and what made it, where that is another controller of this cluster.
    pub fn another(&self, id: &LoadBalancerId) -> Option<(Arc<LoadBalancerResource>, Another)> {
        let record = self.held().get(&object_name(id)).cloned()?;
        let another = self.place.another(&record)?;
        Some((record, another))
    }

    /// Load balancers of other controllers of this cluster, of which something may exist.
    pub fn held_by_others(&self) -> Vec<LoadBalancerId> {
        let held = self.held();
        let others = held.values().filter(|record| is_held(record));
        let others = others.filter(|record| self.place.another(record).is_some());
        others
            .map(|record| LoadBalancerId::parse(&record.spec.id))
            .collect()
    }

    /// Load balancers that have a record of ours.
    pub fn ids(&self) -> Vec<LoadBalancerId> {
        let held = self.held();
        let ours = held.values().filter(|record| self.place.holds(record));
        ours.map(|record| LoadBalancerId::parse(&record.spec.id))
            .collect()
    }

    /// Load balancers that this Ingress is recorded as a member of.
    pub fn with_member(&self, ingress: &ObjectName) -> Vec<LoadBalancerId> {
        let name = ingress.to_string();
        let held = self.held();
        let has_it = |record: &&Arc<LoadBalancerResource>| {
            let members = record.status.iter().flat_map(|status| &status.members.first);
            self.place.holds(record) && members.into_iter().any(|member| *member == name)
        };
        let records = held.values().filter(has_it);
        records
            .map(|record| LoadBalancerId::parse(&record.spec.id))
            .collect()
    }

    /// Load balancers of which something may exist outside.
    pub fn held_ids(&self) -> Vec<LoadBalancerId> {
        let held = self.held();
        let ours = held
            .values()
            .filter(|record| self.place.holds(record) && is_held(record));
        ours.map(|record| LoadBalancerId::parse(&record.spec.id))
            .collect()
    }

    /// How many these are.
    pub fn held_count(&self) -> usize {
        self.held()
            .values()
            .filter(|record| self.place.holds(record) && is_held(record))
            .count()
    }

    /// An object that came or changed. Answers whose it is, if it is of this place and not known like this.
    pub fn apply(&self, record: LoadBalancerResource) -> Option<LoadBalancerId> {
        let id = self
            .place
            .is_here(&record.spec)
            .then(|| LoadBalancerId::parse(&record.spec.id));
        self.keep(record).then_some(id).flatten()
    }

    /// An object that went. Answers whose it was, if it was of this place and is not forgotten yet.
    pub fn delete(&self, record: &LoadBalancerResource) -> Option<LoadBalancerId> {
        let mut held = self.held();
        let name = record.name_any();
        // A newer one of the same name may have been made meanwhile.
        if held.get(&name).is_none_or(|known| known.uid() != record.uid()) {
            return None;
        }
        let known = held.remove(&name)?;
        self.place
            .is_here(&known.spec)
            .then(|| LoadBalancerId::parse(&known.spec.id))
    }

    /// All objects there are. Answers whose record changed or is gone.
    pub fn reset(&self, records: Vec<LoadBalancerResource>) -> Vec<LoadBalancerId> {
        let live: Vec<String> = records.iter().map(ResourceExt::name_any).collect();
        let gone: Vec<Arc<LoadBalancerResource>> = self
            .held()
            .values()
            .filter(|known| !live.contains(&known.name_any()))
            .cloned()
            .collect();
        let mut touched: Vec<LoadBalancerId> = gone.iter().filter_map(|record| self.delete(record)).collect();
        touched.extend(records.into_iter().filter_map(|record| self.apply(record)));
        touched
    }

    /// Records the load balancer before anything of it is made; with [`Mode::Apply`], held by the finalizer.
    pub async fn intend(
        &self,
        id: &LoadBalancerId,
        terms: impl Into<Terms>,
        naming: Naming,
    ) -> Result<Arc<LoadBalancerResource>, RecordError> {
        if let Some((record, another)) = self.another(id) {
            let name = record.name_any();
            return Err(RecordError::Another { name, another });
        }
        self.take_over(id, terms, naming).await
    }

    /// The same, also where another controller of this cluster made the record: it must not run any more.
    pub async fn take_over(
        &self,
        id: &LoadBalancerId,
        terms: impl Into<Terms>,
        naming: Naming,
    ) -> Result<Arc<LoadBalancerResource>, RecordError> {
        let (name, terms) = (object_name(id), terms.into());
        let known = self.held().get(&name).cloned();
        if let Some(foreign) = known.as_ref().filter(|record| !self.place.is_here(&record.spec)) {
            return Err(RecordError::Foreign {
                name,
                provider: foreign.spec.provider.clone(),
                cluster_name: foreign.spec.cluster_name.clone(),
            });
        }
        let held = known.as_deref().is_some_and(is_held);
        let spec = self.spec(id, terms, naming);
        let written = known.as_ref().is_some_and(|record| record.spec == spec);
        if let Some(known) = known.filter(|_| written && (held || terms.mode == Mode::Plan)) {
            return Ok(known);
        }
        // What exists outside keeps its finalizer even where nothing is changed any more.
        let finalizers: &[&str] = if held || terms.mode == Mode::Apply {
            &[FINALIZER]
        } else {
            &[]
        };
        let body = json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": "LoadBalancer",
            "metadata": {"name": name, "finalizers": finalizers},
            "spec": spec,
        });
        let params = PatchParams::apply(MANAGER).force();
        let record = self.api.patch(&name, &params, &Patch::Apply(&body)).await;
        let record = record.map_err(|source| RecordError::Write {
            name: name.clone(),
            source,
        })?;
        self.keep(record.clone());
        Ok(Arc::new(record))
    }

    fn spec(&self, id: &LoadBalancerId, terms: Terms, naming: Naming) -> LoadBalancerSpec {
        let mut spec = LoadBalancerSpec {
            id: id.to_string(),
            provider: self.place.provider.into(),
            cluster_name: self.place.cluster_name.clone(),
            region: self.place.region.clone(),
            mode: terms.mode,
            deletion_policy: terms.deletion_policy,
            ..LoadBalancerSpec::default()
        };
        if let Some(scope) = &self.place.scope {
            scope.sign(&mut spec, naming);
        }
        spec
    }

    /// Whether it says that it is ours, as it is now.
    pub fn is_signed(&self, record: &LoadBalancerResource, naming: Naming) -> bool {
        let spec = self.spec(
            &LoadBalancerId::parse(&record.spec.id),
            record.spec.terms(),
            naming,
        );
        record.spec == spec
    }

    /// From now on nobody may take what was last applied for what exists. What is about to be registered beside the
    /// targets of other clusters is recorded with what was before: whoever starts after a crash must know it as ours.
    pub async fn begin_changes(&self, id: &LoadBalancerId, own: &OwnTargets) -> Result<(), RecordError> {
        let recorded = self.get(id).and_then(|record| record.status.clone());
        let mut status = recorded.clone().unwrap_or_default();
        for (backend, targets) in own {
            let known = status.own_targets.entry(backend.clone()).or_default();
            known.extend(targets.iter().cloned());
        }
        if status.own_targets != recorded.clone().unwrap_or_default().own_targets {
            status.fingerprint = None;
            return self.report(id, &status).await;
        }
        if recorded.is_none_or(|status| status.fingerprint.is_none()) {
            return Ok(());
        }
        let name = object_name(id);
        let body = json!({"status": {"fingerprint": null}});
        let params = PatchParams {
            field_manager: Some(STATUS_MANAGER.into()),
            ..PatchParams::default()
        };
        let record = self.api.patch_status(&name, &params, &Patch::Merge(&body)).await;
        self.keep(record.map_err(|source| RecordError::Write { name, source })?);
        Ok(())
    }

    /// Writes the status where it differs from what is recorded.
    pub async fn report(&self, id: &LoadBalancerId, status: &LoadBalancerStatus) -> Result<(), RecordError> {
        let Some(known) = self.get(id) else {
            return Ok(()); // Nothing was ever intended, so there is nothing to report on.
        };
        if known.status.as_ref() == Some(status) {
            return Ok(());
        }
        let name = object_name(id);
        let body = json!({
            "apiVersion": "portcullis.dev/v1alpha1",
            "kind": "LoadBalancer",
            "metadata": {"name": name},
            "status": status,
        });
        let params = PatchParams::apply(STATUS_MANAGER).force();
        let record = self.api.patch_status(&name, &params, &Patch::Apply(&body)).await;
        self.keep(record.map_err(|source| RecordError::Write { name, source })?);
        Ok(())
    }

    /// Targets that the AWS Load Balancer Controller has registered beside those of other clusters, as its ConfigMap
    /// has them; none where there is no such ConfigMap.
    pub async fn left_by_incumbent(
        &self,
        namespace: &str,
        target_group: &str,
    ) -> Result<Option<BTreeSet<String>>, RecordError> {
        let name = format!("aws-lbc-targets-{target_group}");
        let api: Api<ConfigMap> = Api::namespaced(self.api.clone().into_client(), namespace);
        let map = api.get_opt(&name).await.map_err(|source| RecordError::Read {
            name: ObjectName::new(namespace, name),
            source,
        })?;
        let text = map
            .and_then(|map| map.data)
            .and_then(|mut data| data.remove("targets"));
        Ok(text.map(|text| {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(str::to_owned).collect()
        }))
    }

    /// Lets the record go: nothing of the load balancer exists any more.
    pub async fn release(&self, id: &LoadBalancerId) -> Result<(), RecordError> {
        let Some(known) = self.get(id) else {
            return Ok(());
        };
        let name = object_name(id);
        let failed = |source| RecordError::Write {
            name: name.clone(),
            source,
        };
        if is_held(&known) {
            let others: Vec<&String> = known.finalizers().iter().filter(|f| *f != FINALIZER).collect();
            // With the version: a finalizer that somebody adds meanwhile must not be lost.
            let body =
                json!({"metadata": {"resourceVersion": known.resource_version(), "finalizers": others}});
            match self
                .api
                .patch(&name, &PatchParams::default(), &Patch::Merge(&body))
                .await
            {
                Ok(record) => {
                    self.keep(record);
                }
                Err(error) if is_missing(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: known.uid(),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match self.api.delete(&name, &params).await {
            Ok(_) => {}
            Err(error) if is_missing(&error) => {}
            Err(error) => return Err(failed(error)),
        }
        self.delete(&known);
        Ok(())
    }

    /// Keeps the newer of two. Answers whether it was news.
    fn keep(&self, mut record: LoadBalancerResource) -> bool {
        record.metadata.managed_fields = None;
        let mut held = self.held();
        let name = record.name_any();
        let news = held.get(&name).is_none_or(|known| is_newer(&record, known));
        if news {
            held.insert(name, Arc::new(record));
        }
        news
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<String, Arc<LoadBalancerResource>>> {
        // Every change to the map is one insertion or removal: a panic elsewhere leaves it whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the finalizer holds it: something of it may exist outside.
pub fn is_held(record: &LoadBalancerResource) -> bool {
    record.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

/// The watch lags behind our own writes: what it brings then is older than what is held. Versions are numbers that
/// grow (Kubernetes 1.35, KEP-5504); where they are not, the one that comes last counts.
fn is_newer(record: &LoadBalancerResource, known: &LoadBalancerResource) -> bool {
    let version =
        |record: &LoadBalancerResource| record.resource_version().and_then(|v| v.parse::<u64>().ok());
    match (version(record), version(known)) {
        (Some(new), Some(old)) if record.uid() == known.uid() => new > old,
        _ => true,
    }
}

fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
