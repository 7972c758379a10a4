//! The Kubernetes API in, an index that follows it and what each event touched out.
//!
//! Objects are trimmed as they arrive; nothing whole is kept. A watch that fails is begun again with a growing delay,
//! and says meanwhile why.

mod secrets;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

pub use self::secrets::follow_secrets;

use super::index::{Index, Touched};
use super::object::{Kind, Object, ObjectKey};
use super::wire;

/// Objects per page of a list: a big cluster's list never stands in memory as a whole.
const PAGE: u32 = 100;
/// Seconds after which the server ends a watch of EndpointSlices. Whatever dies silently is noticed that soon; with
/// the default it would take almost five minutes, and pods come and go meanwhile.
const SLICES_TIMEOUT: u32 = 60;

/// The index as everybody shares it: locked for one event or one snapshot at a time, never across a wait.
#[derive(Debug)]
pub struct SharedIndex(Mutex<Index>);

impl SharedIndex {
    pub fn new(index: Index) -> Self {
        Self(Mutex::new(index))
    }

    pub fn lock(&self) -> MutexGuard<'_, Index> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kinds that have not been listed yet, with the reason.
#[derive(Debug, Default)]
pub struct Health(Mutex<BTreeMap<&'static str, String>>);

impl Health {
    /// What is waited for, one line each.
    pub fn waiting_for(&self) -> Vec<String> {
        self.kinds()
            .iter()
            .map(|(kind, why)| format!("{kind}: {why}"))
            .collect()
    }

    /// This kind is waited for, and why.
    pub fn waits(&self, kind: &'static str, why: String) {
        self.kinds().insert(kind, why);
    }

    /// Why this kind is waited for, if it still is: a watch that breaks later is begun again, and brings no event
    /// until something changes.
    pub fn still_waits(&self, kind: &'static str, why: String) {
        if let Some(known) = self.kinds().get_mut(kind) {
            *known = why;
        }
    }

    /// It is waited for no more.
    pub fn known(&self, kind: &'static str) {
        self.kinds().remove(kind);
    }

    fn kinds(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows all objects of a kind, or those of one namespace, until the stream ends, which it does not.
pub async fn follow(
    client: Client,
    kind: Kind,
    namespace: Option<&str>,
    index: Arc<SharedIndex>,
    health: Arc<Health>,
    touched: mpsc::UnboundedSender<Touched>,
) {
    let resource = api_resource(kind);
    if kind.is_optional() {
        let none = || touched.send(index.lock().reset(kind, Vec::new())).is_ok();
        if !appears(&client, &resource, kind, &health, none).await {
            return;
        }
    }
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) if kind.is_namespaced() => Api::namespaced_with(client, namespace, &resource),
        Some(_) | None => Api::all_with(client, &resource),
    };
    let mut config = Config::default().page_size(PAGE);
    if kind == Kind::EndpointSlice {
        config = config.timeout(SLICES_TIMEOUT);
    }
    let mut list = Vec::new();
    let events = events(api, config, kind.as_str(), &health);
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let touch = match event {
            Event::Init => {
                list.clear();
                continue;
            }
            Event::InitApply(object) => {
                list.extend(read(kind, object));
                continue;
            }
            Event::InitDone => {
                info!(kind = kind.as_str(), objects = list.len(), "listed");
                index.lock().reset(kind, std::mem::take(&mut list))
            }
            Event::Apply(object) => match read(kind, object) {
                Some(object) => index.lock().apply(object),
                None => continue,
            },
            Event::Delete(object) => {
                let name = portcullis_model::ObjectName::new(
                    object.metadata.namespace.unwrap_or_default(),
                    object.metadata.name.unwrap_or_default(),
                );
                index.lock().delete(&ObjectKey { kind, name })
            }
        };
        if touched.send(touch).is_err() {
            return; // Nobody listens any more: the controller is stopping.
        }
    }
}

/// Time between two looks whether a cluster has got a kind that it lacked.
const ABSENT_DELAY: Duration = Duration::from_secs(10);

/// Waits until the cluster has the kind. While it lacks it, there are no objects of it, which `none` tells; nothing waits
/// for it then. False where nobody listens any more.
async fn appears(
    client: &Client,
    resource: &ApiResource,
    kind: Kind,
    health: &Health,
    none: impl Fn() -> bool,
) -> bool {
    let mut told = false;
    loop {
        match client.list_api_group_resources(&resource.api_version).await {
            Ok(list) if list.resources.iter().any(|known| known.name == resource.plural) => return true,
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                health.still_waits(kind.as_str(), error.to_string());
                tokio::time::sleep(ABSENT_DELAY).await;
                continue;
            }
        }
        if !told {
            debug!(kind = kind.as_str(), "the cluster has no such kind");
            health.known(kind.as_str());
            told = true;
            if !none() {
                return false;
            }
        }
        tokio::time::sleep(ABSENT_DELAY).await;
    }
}

/// Events of a kind; a failure is told, and followed by another try after a growing delay.
pub fn events<K>(
    api: Api<K>,
    config: Config,
    kind: &'static str,
    health: &Health,
) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    health.waits(kind, "not listed yet".into());
    watcher(api, config)
        .default_backoff()
        .inspect_ok(move |event| {
            if matches!(event, Event::InitDone) {
                health.known(kind);
            }
        })
        .filter_map(move |event| {
            std::future::ready(match event {
                Ok(event) => Some(event),
                Err(error) => {
                    if is_routine(&error) {
                        debug!(kind, error = %error, "the watch begins again");
                    } else {
                        let why = why(kind, &error);
                        warn!(kind, error = why, "the watch failed");
                        health.still_waits(kind, why);
                    }
                    None
                }
            })
        })
}

/// The server ends watches now and then, and forgets old versions.
fn is_routine(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

fn why(kind: &str, error: &watcher::Error) -> String {
    if let watcher::Error::InitialListFailed(kube::Error::Api(status)) = error {
        match status.code {
            403 => return format!("may not be listed: {}", status.message),
            404 => {
                return format!(
                    "the API server does not know {kind}: install the custom resource definitions (crds/*.yaml)"
                );
            }
            _ => {}
        }
    }
    error.to_string()
}

pub(super) fn read(kind: Kind, mut object: DynamicObject) -> Option<Object> {
    // Half of an object's size, and nobody reads it.
    object.metadata.managed_fields = None;
    let value = match serde_json::to_value(&object) {
        Ok(value) => value,
        Err(error) => {
            warn!(
                kind = kind.as_str(),
                error = &error as &dyn std::error::Error,
                "an object cannot be read"
            );
            return None;
        }
    };
    match wire::from_api(kind, &value) {
        Ok(object) => Some(object),
        Err(error) => {
            // What was last read of it stays in use until the kind is listed anew.
            warn!(
                kind = kind.as_str(),
                error = &error as &dyn std::error::Error,
                "an object cannot be read"
            );
            None
        }
    }
}

/// How a kind is asked for.
pub fn api_resource(kind: Kind) -> ApiResource {
    let (group, version) = match kind.api_version().split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", kind.api_version()),
    };
    let plural = match kind {
        Kind::Ingress => "ingresses",
        Kind::IngressClass => "ingressclasses",
        Kind::ClassParameters => "ingressclassparameters",
        Kind::IncumbentParameters => "ingressclassparams",
        Kind::Service => "services",
        Kind::EndpointSlice => "endpointslices",
        Kind::Secret => "secrets",
        Kind::Node => "nodes",
        Kind::Pod => "pods",
        Kind::Namespace => "namespaces",
    };
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind.as_str()), plural)
}
