//! Metadata of all Secrets in, the load balancers concerned by a change out; no value of a Secret passes here.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client};
use portcullis_model::ObjectName;
use tokio::sync::{Notify, mpsc};
use tracing::{debug, info, warn};

use super::{PAGE, SharedIndex};
use crate::cluster::index::Touched;

/// Follows Secrets from the moment when one is needed. Where they may not be listed, that is told once and tried again:
/// all that needs no Secret is served meanwhile.
pub async fn follow_secrets(
    client: Client,
    index: Arc<SharedIndex>,
    needed: Arc<Notify>,
    touched: mpsc::UnboundedSender<Touched>,
) {
    needed.notified().await;
    let api: Api<PartialObjectMeta<Secret>> = Api::all(client);
    let mut events = pin!(watcher(api, Config::default().page_size(PAGE)).default_backoff());
    let mut list: BTreeMap<ObjectName, Arc<str>> = BTreeMap::new();
    let mut told = false;
    while let Some(event) = events.next().await {
        let touch = match event {
            Ok(Event::Init) => {
                list.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                let (name, version) = read(object);
                list.insert(name, version);
                continue;
            }
            Ok(Event::InitDone) => {
                info!(kind = "Secret", objects = list.len(), "listed");
                told = false;
                index.lock().secrets_listed(&std::mem::take(&mut list))
            }
            Ok(Event::Apply(object)) => {
                let (name, version) = read(object);
                index.lock().secret_seen(&name, Some(version))
            }
            Ok(Event::Delete(object)) => {
                let (name, _) = read(object);
                index.lock().secret_seen(&name, None)
            }
            Err(error) => {
                if told || super::is_routine(&error) {
                    debug!(error = %error, "the watch of Secrets begins again");
                } else {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "Secrets cannot be followed: changes of those that Ingresses name are not noticed"
                    );
                }
                told = true;
                continue;
            }
        };
        if touched.send(touch).is_err() {
            return; // Nobody listens any more: the controller is stopping.
        }
    }
}

fn read(object: PartialObjectMeta<Secret>) -> (ObjectName, Arc<str>) {
    let meta = object.metadata;
    let name = ObjectName::new(meta.namespace.unwrap_or_default(), meta.name.unwrap_or_default());
    (name, meta.resource_version.unwrap_or_default().into())
}
