//! An object and which of its finalizers to take away in, the object without them out.

use std::fmt::Debug;

use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

/// Takes finalizers away. Answers whether it had any of them. An object that has gone, or that another has taken the
/// name of, is left alone.
pub async fn remove<K>(
    api: &Api<K>,
    name: &str,
    uid: &str,
    unwanted: impl Fn(&str) -> bool,
) -> Result<bool, kube::Error>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let held = match api.get_metadata(name).await {
        Ok(held) if held.uid().as_deref() == Some(uid) => held,
        Ok(_) => return Ok(false),
        Err(error) if is_missing(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    let others: Vec<&String> = held
        .finalizers()
        .iter()
        .filter(|finalizer| !unwanted(finalizer))
        .collect();
    if others.len() == held.finalizers().len() {
        return Ok(false);
    }
    // With the version: a finalizer that somebody adds meanwhile must not be lost.
    let body = json!({"metadata": {"resourceVersion": held.resource_version(), "finalizers": others}});
    match api
        .patch_metadata(name, &PatchParams::default(), &Patch::Merge(&body))
        .await
    {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

fn is_missing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
