//! A site in, the readiness gates of its pods kept: asks the provider only for pods that wait, and writes only news.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use k8s_openapi::api::core::v1::Pod as KubePod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::{Api, Client};
use portcullis_model::{Existing, Listed, LoadBalancerId, ObjectName, Provider, ProviderError};
use serde_json::json;
use tracing::{debug, info, warn};

use super::{Verdict, abandoned, ask, ask_about, judge, waiting};
use crate::cluster::object::Pod;
use crate::reconcile::bindings::{Bindings, Served, Standing};
use crate::reconcile::memory::Remembered;
use crate::reconcile::pass::Site;
use crate::reconcile::view::View;
use crate::translate::translate;

/// Field manager of the conditions. Never renamed: fields would lose their owner.
const MANAGER: &str = "portcullis/target-health";

/// Keeps the gates of pods.
pub struct Keeper<P: Provider> {
    client: Client,
    /// Names that nobody had, with the reading of the account that said so: the next one decides.
    missing: Mutex<BTreeMap<String, Arc<P::Account>>>,
}

impl<P: Provider> fmt::Debug for Keeper<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl<P: Provider> Keeper<P> {
    pub fn new(client: Client) -> Self {
        Self {
            client,
            missing: Mutex::default(),
        }
    }

    /// One look at all pods that wait. Without any, nobody is asked.
    pub async fn look(
        &self,
        site: &Site<P>,
        bindings: Option<&Bindings<P>>,
        now: Instant,
    ) -> Result<(), ProviderError> {
        let mut by_group: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
        let mut by_binding: BTreeMap<ObjectName, (Served, Vec<Arc<Pod>>)> = BTreeMap::new();
        let all = site
            .index
            .lock()
            .synced()
            .map(|synced| waiting(synced.gated_pods()));
        for (pod, group) in all.unwrap_or_default() {
            // The gate of a binding has the binding's name.
            let binding = ObjectName::new(pod.meta.name.namespace.clone(), group.as_str());
            match bindings.map_or(Standing::Nowhere, |bindings| bindings.standing(&binding)) {
                Standing::Nowhere => by_group.entry(group).or_default().push(pod),
                Standing::Waiting => {}
                Standing::Served(served) => {
                    let (_, pods) = by_binding.entry(binding).or_insert((served, Vec::new()));
                    pods.push(pod);
                }
            }
        }
        for (binding, (served, pods)) in &by_binding {
            match inquire_bound(site, binding, served, pods).await {
                Ok(verdicts) => self.tell_all(&verdicts).await,
                // One that may not be asked keeps none of the others waiting.
                Err(error) => {
                    let binding = binding.to_string();
                    warn!(binding, code = %error.code, error = &error as &dyn std::error::Error, "targets' health was not read");
                }
            }
        }
        self.missing().retain(|name, _| by_group.contains_key(name));
        site.memory.keep_former(|name| by_group.contains_key(name));
        if by_group.is_empty() {
            return Ok(());
        }
        let account = site.accounts.current(&site.provider, now).await?;
        for (name, pods) in by_group {
            let verdicts = match site.memory.backend(&name) {
                Some(Remembered::Exists(id, group)) => inquire(site, &id, &group, &pods).await?,
                Some(Remembered::Former) => abandoned(&name, &pods),
                None => match site.provider.listed(&account, &name) {
                    Listed::Ours(id, group) => inquire(site, &id, &group, &pods).await?,
                    Listed::Foreign => continue,
                    Listed::Nowhere => self.nowhere(&account, &name, &pods).await,
                },
            };
            self.tell_all(&verdicts).await;
        }
        Ok(())
    }

    async fn tell_all(&self, verdicts: &[Verdict]) {
        for verdict in verdicts.iter().filter(|verdict| !verdict.is_told()) {
            self.tell(verdict).await;
        }
    }

    /// A target group may be younger than the last reading of the account, or be known to the incumbent by another
    /// name: only one that neither has may be given up.
    async fn nowhere(&self, account: &Arc<P::Account>, name: &str, pods: &[Arc<Pod>]) -> Vec<Verdict> {
        let before = self.missing().get(name).cloned();
        match before {
            None => {
                self.missing().insert(name.to_owned(), account.clone());
                Vec::new()
            }
            Some(before) if Arc::ptr_eq(&before, account) => Vec::new(),
            Some(_) => {
                let mut out = Vec::new();
                for pod in pods {
                    if self.has_binding(&pod.meta.name.namespace, name).await == Some(false) {
                        out.extend(abandoned(name, std::slice::from_ref(pod)));
                    }
                }
                out
            }
        }
    }

    /// Whether the AWS Load Balancer Controller has a TargetGroupBinding of this name; none where nobody says.
    async fn has_binding(&self, namespace: &str, name: &str) -> Option<bool> {
        let kind = GroupVersionKind::gvk("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding");
        let kind = ApiResource::from_gvk_with_plural(&kind, "targetgroupbindings");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &kind);
        match api.get_opt(name).await {
            Ok(found) => Some(found.is_some()),
            Err(error) => {
                warn!(
                    name,
                    error = &error as &dyn std::error::Error,
                    "a targetgroupbinding cannot be read"
                );
                None
            }
        }
    }

    /// That a gate cannot be written stops nothing: it is tried again at the next look.
    async fn tell(&self, verdict: &Verdict) {
        let meta = &verdict.pod.meta;
        let api: Api<KubePod> = Api::namespaced(self.client.clone(), &meta.name.namespace);
        let time = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let body = json!({
            // With the uid: another pod that took the name meanwhile is not meant.
            "metadata": {"uid": &*meta.uid},
            "status": {"conditions": [{
                "type": verdict.gate,
                "status": if verdict.open { "True" } else { "False" },
                "reason": verdict.reason,
                "message": verdict.message,
                "lastTransitionTime": time,
            }]},
        });
        let params = PatchParams {
            field_manager: Some(MANAGER.into()),
            ..PatchParams::default()
        };
        let patched = api
            .patch_status(&meta.name.name, &params, &Patch::Strategic(&body))
            .await;
        let (pod, gate) = (meta.name.to_string(), &verdict.gate);
        match patched {
            Ok(_) if verdict.open => info!(pod, gate, reason = verdict.reason, "the gate is open"),
            Ok(_) => debug!(pod, gate, reason = verdict.reason, "the gate stays closed"),
            // Gone meanwhile, or another one by now.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => {
                warn!(
                    pod,
                    gate,
                    error = &error as &dyn std::error::Error,
                    "the gate cannot be written"
                );
            }
        }
    }

    fn missing(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<P::Account>>> {
        // Single inserts and removals: the map is whole whatever panicked while it held the lock.
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the provider says of a target group of ours: one call, where its load balancer uses it.
async fn inquire<P: Provider>(
    site: &Site<P>,
    id: &LoadBalancerId,
    group: &Existing,
    pods: &[Arc<Pod>],
) -> Result<Vec<Verdict>, ProviderError> {
    let record = site.records.get(id);
    let Ok(view) = View::of(&site.index, id, record.as_deref()) else {
        return Ok(Vec::new()); // Every kind was listed before, and is known from then on.
    };
    let desired = translate(&view.snapshot, &site.settings).balancer;
    if desired.is_none() && !view.refused.is_empty() {
        return Ok(Vec::new()); // It goes on as it is until that is corrected.
    }
    let backend = desired.as_ref().and_then(|desired| P::stands_for(desired, group));
    let (question, verdicts) = ask(group, backend, pods);
    if question.targets.is_empty() {
        return Ok(verdicts);
    }
    let answers = Box::pin(site.provider.health(group, None, &question.targets)).await?;
    Ok(judge(group, &question, &answers))
}

/// What the provider says of the targets of a binding: one call, where any of these pods is among them.
async fn inquire_bound<P: Provider>(
    site: &Site<P>,
    binding: &ObjectName,
    served: &Served,
    pods: &[Arc<Pod>],
) -> Result<Vec<Verdict>, ProviderError> {
    let group = Existing {
        name: binding.name.to_string(),
        ..served.bound.existing.clone()
    };
    let question = ask_about(&served.targets, pods);
    if question.targets.is_empty() {
        return Ok(Vec::new());
    }
    let guest = served.bound.guest.as_ref();
    let answers = Box::pin(site.provider.health(&group, guest, &question.targets)).await?;
    Ok(judge(&group, &question, &answers))
}
