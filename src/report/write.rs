//! Outcomes in, writes to Kubernetes out: only where something differs, each concern with a field manager of its own.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::networking::v1::Ingress as KubeIngress;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use portcullis_model::{LoadBalancerId, ObjectName, Problem};
use serde_json::{Value, json};
use tracing::{info, warn};

use super::events::{Note, Regarding, Source, Told, Tone};
use super::{events, status};
use crate::cluster::object::{Ingress, IngressAddress};
use crate::cluster::{finalizer, incumbent};
use crate::crd::load_balancer::LoadBalancerResource;
use crate::reconcile::bindings::Kept;
use crate::reconcile::outcome::{End, Outcome};
use crate::reconcile::records::{RecordError, Records};

/// Field manager of Ingress status. Never renamed: fields would lose their owner.
const MANAGER: &str = "portcullis/ingress-status";
/// Who reports Events.
const CONTROLLER: &str = "portcullis.dev/controller";

/// What could not be written; the pass is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("ingress {name} cannot be written")]
    Ingress {
        name: ObjectName,
        #[source]
        source: kube::Error,
    },
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Writes what passes found.
pub struct Reporter {
    client: Client,
    /// Name of this process, for Events.
    instance: String,
    told: Mutex<Told>,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

impl Reporter {
    pub fn new(client: Client, instance: String, now: Instant) -> Self {
        Self {
            client,
            instance,
            told: Mutex::new(Told::new(now)),
        }
    }

    /// Tells the members first, then the record: a fingerprint there says that all before it was told. Answers how
    /// many Events had to be left for later.
    pub async fn report(
        &self,
        records: &Records,
        outcome: &Outcome,
        now: Instant,
    ) -> Result<usize, ReportError> {
        for ingress in &outcome.let_go {
            self.let_go(ingress, &outcome.id).await?;
        }
        match outcome.end {
            End::Resting | End::Waiting => {
                write_down(records, outcome).await?;
                return Ok(0);
            }
            End::Settled { .. } | End::Held(_) | End::Incomplete(_) | End::Failed(_) | End::Gone => {}
        }
        let source = Source::LoadBalancer(outcome.id.clone());
        if let Some((record, another)) = records.another(&outcome.id) {
            // It is another controller's to write.
            let mut notes = events::notes(outcome, None);
            notes.push(events::left_alone(regarding(&record), another.to_string()));
            return Ok(self.tell(source, notes, now).await);
        }
        let record = records.get(&outcome.id);
        // A pass that did not look knows no address; what members show stays.
        if outcome.seen.is_some() {
            for member in &outcome.members {
                self.ingress(member, &status::ingress(outcome, member)).await?;
            }
        }
        for (member, problems) in &outcome.refused {
            self.ingress(member, &status::refused(member, problems)).await?;
        }
        for left in &outcome.left {
            self.ingress(left, &[]).await?;
        }
        let place = record.as_deref().map(regarding);
        let notes = events::notes(outcome, place.as_ref());
        let dropped = self.tell(source, notes, now).await;
        write_down(records, outcome).await?;
        if let Some(place) = place.filter(|_| !outcome.repaired.is_empty()) {
            let note = events::repaired(place, &outcome.repaired, &time());
            let source = Source::Repair(outcome.id.clone());
            return Ok(dropped + self.tell(source, vec![note], now).await);
        }
        Ok(dropped)
    }

    /// Tells an Ingress that is part of no load balancer why; with no problems, forgets that it was told.
    pub async fn refused(
        &self,
        name: &ObjectName,
        refused: Option<(&Ingress, &[Problem])>,
        now: Instant,
    ) -> usize {
        let notes = refused.map_or_else(Vec::new, |(ingress, problems)| events::refused(ingress, problems));
        self.tell(Source::Refused(name.clone()), notes, now).await
    }

    /// Tells whoever deletes the record of a load balancer that Ingresses ask for why it stays.
    pub async fn kept(&self, id: &LoadBalancerId, record: &LoadBalancerResource, now: Instant) -> usize {
        info!(lb = %id, "its record is being deleted, and Ingresses ask for it: it goes on serving");
        let note = events::kept(regarding(record));
        self.tell(Source::Deletion(id.clone()), vec![note], now).await
    }

    /// Removes the finalizer by which the AWS Load Balancer Controller holds an Ingress for this load balancer.
    async fn let_go(&self, ingress: &Ingress, id: &LoadBalancerId) -> Result<(), ReportError> {
        let name = &ingress.meta.name;
        let api: Api<KubeIngress> = Api::namespaced(self.client.clone(), &name.namespace);
        let held = |finalizer: &str| incumbent::held_for(name, finalizer).as_ref() == Some(id);
        let removed = finalizer::remove(&api, &name.name, &ingress.meta.uid, held).await;
        let removed = removed.map_err(|source| ReportError::Ingress {
            name: name.clone(),
            source,
        })?;
        if removed {
            info!(ingress = %name, "let go: nothing of it is served any more");
        }
        Ok(())
    }

    /// Tells a TargetGroupBinding what is wrong with it, and what was put back.
    pub async fn binding(&self, kept: &Kept, now: Instant) -> usize {
        let regarding = Regarding::binding(&kept.name, &kept.uid);
        let notes = events::binding(&regarding, &kept.problems);
        let dropped = self.tell(Source::Binding(kept.name.clone()), notes, now).await;
        if kept.repaired.is_empty() {
            return dropped;
        }
        let note = events::repaired(regarding, &kept.repaired, &time());
        let source = Source::BindingRepair(kept.name.clone());
        dropped + self.tell(source, vec![note], now).await
    }

    async fn ingress(&self, ingress: &Ingress, want: &[IngressAddress]) -> Result<(), ReportError> {
        if ingress.status == want {
            return Ok(());
        }
        let name = &ingress.meta.name;
        let api: Api<KubeIngress> = Api::namespaced(self.client.clone(), &name.namespace);
        let body = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            // With the uid: another Ingress that took the name meanwhile is not meant.
            "metadata": {"name": &*name.name, "namespace": &*name.namespace, "uid": &*ingress.meta.uid},
            "status": {"loadBalancer": {"ingress": want.iter().map(entry).collect::<Vec<_>>()}},
        });
        let params = PatchParams::apply(MANAGER).force();
        match api.patch_status(&name.name, &params, &Patch::Apply(&body)).await {
            Ok(_) => Ok(()),
            // Gone meanwhile, or another one by now: its own event starts a pass.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
            Err(source) => Err(ReportError::Ingress {
                name: name.clone(),
                source,
            }),
        }
    }

    /// Events are a courtesy: that one cannot be written stops nothing.
    async fn tell(&self, source: Source, notes: Vec<Note>, now: Instant) -> usize {
        let (news, dropped) = self
            .told
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .news(source, notes, now);
        for note in news {
            if note.reason == events::LEFT_ALONE {
                warn!(record = %note.regarding.name, "left alone: {}", note.text);
            }
            let event = self.event(&note);
            let namespace = event.metadata.namespace.clone().unwrap_or_default();
            let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
            match api.create(&PostParams::default(), &event).await {
                Ok(_) => {}
                // Told before a restart.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => {
                    let object = note.regarding.name.to_string();
                    warn!(
                        object,
                        error = &error as &dyn std::error::Error,
                        "an event cannot be written"
                    );
                }
            }
        }
        dropped
    }

    fn event(&self, note: &Note) -> Event {
        let object = &note.regarding;
        // An Event lives where its object does; of objects without a namespace in `default`.
        let namespace = if object.name.namespace.is_empty() {
            "default"
        } else {
            &object.name.namespace
        };
        Event {
            metadata: ObjectMeta {
                name: Some(note.name()),
                namespace: Some(namespace.into()),
                ..ObjectMeta::default()
            },
            action: Some("Reconcile".into()),
            event_time: Some(MicroTime(Timestamp::now())),
            note: Some(note.text.clone()),
            reason: Some(note.reason.into()),
            regarding: Some(ObjectReference {
                api_version: Some(object.api_version.into()),
                kind: Some(object.kind.into()),
                name: Some(object.name.name.to_string()),
                namespace: Some(object.name.namespace.to_string()).filter(|namespace| !namespace.is_empty()),
                uid: Some(object.uid.clone()).filter(|uid| !uid.is_empty()),
                ..ObjectReference::default()
            }),
            reporting_controller: Some(CONTROLLER.into()),
            reporting_instance: Some(self.instance.clone()),
            type_: Some(
                match note.tone {
                    Tone::Normal => "Normal",
                    Tone::Warning => "Warning",
                }
                .into(),
            ),
            ..Event::default()
        }
    }
}

/// Writes what the pass says of its load balancer, where it says something.
async fn write_down(records: &Records, outcome: &Outcome) -> Result<(), RecordError> {
    let before = records
        .get(&outcome.id)
        .and_then(|record| record.status.clone())
        .unwrap_or_default();
    let time = time();
    match status::load_balancer(outcome, &before, &time) {
        Some(status) => records.report(&outcome.id, &status).await,
        None => Ok(()),
    }
}

/// Of the clock, as objects have it.
fn time() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn regarding(record: &LoadBalancerResource) -> Regarding {
    Regarding {
        api_version: "portcullis.dev/v1alpha1",
        kind: "LoadBalancer",
        name: ObjectName::cluster(record.name_any()),
        uid: record.uid().unwrap_or_default(),
    }
}

fn entry(address: &IngressAddress) -> Value {
    let mut entry = serde_json::Map::new();
    if let Some(hostname) = &address.hostname {
        entry.insert("hostname".into(), json!(&**hostname));
    }
    if let Some(ip) = &address.ip {
        entry.insert("ip".into(), json!(&**ip));
    }
    if !address.ports.is_empty() {
        let ports = address.ports.iter().map(|port| {
            let mut value = json!({"port": port.port, "protocol": &*port.protocol});
            if let (Some(error), Some(map)) = (&port.error, value.as_object_mut()) {
                map.insert("error".into(), json!(&**error));
            }
            value
        });
        entry.insert("ports".into(), ports.collect());
    }
    Value::Object(entry)
}
