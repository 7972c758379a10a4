//! The watch of TargetGroupBindings in, those that users wrote kept up to date out. Where their definition is not
//! installed there are none, and nobody waits for them.

use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::api::DynamicObject;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use portcullis_model::{ObjectName, Provider};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::Bindings;
use crate::cluster::binding::{Binding, resource};

/// Follows all of them until the stream ends, which it does not; tells when something may differ.
pub async fn follow<P: Provider>(client: Client, bindings: &Bindings<P>, news: &mpsc::UnboundedSender<()>) {
    let api: Api<DynamicObject> = Api::all_with(client, &resource());
    let mut events = pin!(watcher(api, Config::default().page_size(100)).default_backoff());
    let mut list = Vec::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init) => {
                list.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                list.push(object);
                continue;
            }
            Ok(Event::InitDone) => {
                let read = std::mem::take(&mut list);
                let read = read.iter().filter_map(Binding::read);
                *bindings.all() = read.map(|one| (one.name.clone(), Arc::new(one))).collect();
            }
            Ok(Event::Apply(object)) => {
                let name = name_of(&object);
                match Binding::read(&object) {
                    Some(binding) => drop(bindings.all().insert(name, Arc::new(binding))),
                    None => drop(bindings.all().remove(&name)),
                }
            }
            Ok(Event::Delete(object)) => drop(bindings.all().remove(&name_of(&object))),
            Err(error) if is_missing(&error) => {
                bindings.all().clear();
                bindings.tell_openings();
                debug!("TargetGroupBindings are not installed");
                continue;
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the watch of TargetGroupBindings failed"
                );
                continue;
            }
        }
        bindings.tell_openings();
        if news.send(()).is_err() {
            return; // Nobody listens any more: the controller is stopping.
        }
    }
}

fn name_of(object: &DynamicObject) -> ObjectName {
    ObjectName::new(object.namespace().unwrap_or_default(), object.name_any())
}

fn is_missing(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}
