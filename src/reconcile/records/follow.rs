//! The watch of `LoadBalancer` objects in, records kept up to date and whose changed out.

use std::pin::pin;

use futures::StreamExt;
use kube::api::{ApiResource, DynamicObject};
use kube::runtime::watcher::{Config, Event};
use kube::{Api, Client};
use portcullis_model::LoadBalancerId;
use tokio::sync::mpsc;
use tracing::warn;

use super::Records;
use crate::cluster::watch::{Health, events};
use crate::crd::load_balancer::LoadBalancerResource;

/// What the watch of `LoadBalancer` objects brings.
#[derive(Debug)]
pub enum RecordNews {
    /// All there are; those that changed.
    Listed(Vec<LoadBalancerId>),
    Changed(LoadBalancerId),
}

/// Follows all records until the stream ends, which it does not.
pub async fn follow(
    client: Client,
    records: &Records,
    health: &Health,
    news: &mpsc::UnboundedSender<RecordNews>,
) {
    const KIND: &str = "LoadBalancer";
    let resource = ApiResource::erase::<LoadBalancerResource>(&());
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut events = pin!(events(api, Config::default().page_size(100), KIND, health));
    let mut list = Vec::new();
    let mut unreadable = Vec::new();
    while let Some(event) = events.next().await {
        let told = match event {
            Event::Init => {
                list.clear();
                unreadable.clear();
                continue;
            }
            Event::InitApply(object) => {
                match read_record(object) {
                    Ok(record) => list.push(record),
                    Err(name) => unreadable.push(name),
                }
                continue;
            }
            Event::InitDone if unreadable.is_empty() => {
                RecordNews::Listed(records.reset(std::mem::take(&mut list)))
            }
            Event::InitDone => {
                // Taken for gone, what they record would be forgotten, and stay in the cloud for ever.
                health.waits(KIND, format!("cannot be read: {}", unreadable.join(", ")));
                continue;
            }
            Event::Apply(object) => match read_record(object).map(|record| records.apply(record)) {
                Ok(Some(id)) => RecordNews::Changed(id),
                Ok(None) | Err(_) => continue,
            },
            Event::Delete(object) => match read_record(object).map(|record| records.delete(&record)) {
                Ok(Some(id)) => RecordNews::Changed(id),
                Ok(None) | Err(_) => continue,
            },
        };
        if news.send(told).is_err() {
            return; // Nobody listens any more: the controller is stopping.
        }
    }
}

/// The record, or the name of what cannot be read as one.
fn read_record(object: DynamicObject) -> Result<LoadBalancerResource, String> {
    let name = object.metadata.name.clone().unwrap_or_default();
    object.try_parse().map_err(|error| {
        warn!(
            lb = name,
            error = &error as &dyn std::error::Error,
            "a record cannot be read"
        );
        name
    })
}
