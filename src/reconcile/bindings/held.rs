//! A binding in, what the cluster keeps of it out: its finalizer, and what is ours of a target group that clusters share.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::{Api, ResourceExt};
use portcullis_model::{ObjectName, Provider};
use serde_json::json;

use super::{BindingError, Bindings};
use crate::cluster::binding::{Binding, resource};
use crate::cluster::{finalizer, incumbent};

/// Field manager of what is written for bindings. Never renamed: fields would lose their owner.
const MANAGER: &str = "portcullis/bindings";

impl<P: Provider> Bindings<P> {
    fn api(&self, binding: &ObjectName) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &binding.namespace, &resource())
    }

    /// Holds it, with the incumbent's finalizer, until what is registered for it is taken out.
    pub(super) async fn hold(&self, binding: &Binding) -> Result<(), kube::Error> {
        let api = self.api(&binding.name);
        let name = &*binding.name.name;
        let held = api.get_metadata(name).await?;
        let mut finalizers = held.finalizers().to_vec();
        if held.uid().as_deref() != Some(&*binding.uid)
            || finalizers.iter().any(|one| one == incumbent::BINDING_FINALIZER)
        {
            return Ok(());
        }
        finalizers.push(incumbent::BINDING_FINALIZER.to_owned());
        // With the version: a finalizer that somebody adds meanwhile must not be lost.
        let body =
            json!({"metadata": {"resourceVersion": held.resource_version(), "finalizers": finalizers}});
        api.patch_metadata(name, &PatchParams::default(), &Patch::Merge(&body))
            .await?;
        Ok(())
    }

    pub(super) async fn release(&self, binding: &Binding) -> Result<(), kube::Error> {
        let api = self.api(&binding.name);
        let ours = |finalizer: &str| finalizer == incumbent::BINDING_FINALIZER;
        finalizer::remove(&api, &binding.name.name, &binding.uid, ours).await?;
        Ok(())
    }

    /// Where the incumbent keeps what it registered beside the targets of other clusters, so that either can go on.
    fn memory(&self, binding: &ObjectName) -> (Api<ConfigMap>, String) {
        let api = Api::namespaced(self.client.clone(), &binding.namespace);
        (api, format!("aws-lbc-targets-{}", binding.name))
    }

    pub(super) async fn remembered(&self, binding: &ObjectName) -> Result<BTreeSet<String>, BindingError> {
        let (api, name) = self.memory(binding);
        let map = api.get_opt(&name).await;
        let map = map.map_err(|source| BindingError::Memory {
            name,
            done: "read",
            source,
        })?;
        let text = map
            .and_then(|map| map.data?.remove("targets"))
            .unwrap_or_default();
        let items = text.split(',').filter(|item| !item.is_empty());
        Ok(items.map(str::to_owned).collect())
    }

    pub(super) async fn remember(
        &self,
        binding: &ObjectName,
        own: &BTreeSet<String>,
    ) -> Result<(), BindingError> {
        let (api, name) = self.memory(binding);
        let targets: Vec<&str> = own.iter().map(String::as_str).collect();
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"targets": targets.join(",")},
        });
        let params = PatchParams::apply(MANAGER).force();
        let written = api.patch(&name, &params, &Patch::Apply(&body)).await;
        written.map(|_| ()).map_err(|source| BindingError::Memory {
            name,
            done: "written",
            source,
        })
    }
}
