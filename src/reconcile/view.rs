//! The index and a record in; one load balancer's snapshot, with those that left it, out.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{LoadBalancerId, ObjectName, Port, Problem};

use super::outcome::shows;
use super::records::scope::Naming;
use crate::cluster::index::NotSynced;
use crate::cluster::membership::Membership;
use crate::cluster::object::Ingress;
use crate::cluster::snapshot::{Parameters, Snapshot};
use crate::cluster::watch::SharedIndex;
use crate::crd::Mode;
use crate::crd::load_balancer::LoadBalancerResource;

/// What a pass looks at.
#[derive(Debug)]
pub struct View {
    pub snapshot: Snapshot,
    /// Members that are refused by now, and why: they are served as they were admitted.
    pub standing: BTreeMap<ObjectName, Vec<Problem>>,
    /// Recorded as members, and now refused, where nobody knows any more what was admitted of them.
    pub refused: Vec<(Arc<Ingress>, Vec<Problem>)>,
    /// Recorded as members, and now somebody else's.
    pub strangers: Vec<Arc<Ingress>>,
    /// Those of them that still show the recorded address, and members of which nothing is served any more.
    pub left: Vec<Arc<Ingress>>,
    /// Being deleted, and held for this load balancer by the AWS Load Balancer Controller.
    pub leaving: Vec<Arc<Ingress>>,
    /// Whether the class of one of those only plans.
    pub leaving_plans_only: bool,
    /// How members name their class.
    pub naming: Naming,
}

impl View {
    pub fn of(
        index: &SharedIndex,
        id: &LoadBalancerId,
        record: Option<&LoadBalancerResource>,
    ) -> Result<Self, NotSynced> {
        let index = index.lock();
        let synced = index.synced()?;
        let mut view = Self {
            snapshot: synced.snapshot(id),
            standing: synced.standing(id),
            refused: Vec::new(),
            left: Vec::new(),
            leaving: Vec::new(),
            leaving_plans_only: false,
            strangers: Vec::new(),
            naming: Naming::Classes,
        };
        let recorded = record.is_some_and(|record| record.spec.ingress_class.is_some());
        let by_annotation = view.snapshot.members.iter().any(|member| {
            match synced.ingress(&member.ingress.meta.name) {
                Some((_, Membership::Member { class, .. })) => class.is_none(),
                // Of one that is refused by now, what is recorded is the last word.
                Some((_, Membership::Refused(_) | Membership::Foreign)) | None => recorded,
            }
        });
        if by_annotation {
            view.naming = Naming::Annotation;
        }
        for (ingress, parameters) in synced.leaving(id) {
            view.leaving_plans_only |= match parameters {
                Parameters::Found(parameters) => parameters.spec.mode == Mode::Plan,
                Parameters::None | Parameters::Missing | Parameters::Foreign => false,
            };
            view.leaving.push(ingress);
        }
        let Some(record) = record else {
            return Ok(view);
        };
        let lone = synced.ingress(&match id {
            LoadBalancerId::Lone(name) => name.clone(),
            LoadBalancerId::Group(name) => ObjectName::cluster(&**name),
        });
        if let Some((ingress, Membership::Foreign)) = lone.filter(|(ingress, _)| !ingress.meta.deleting) {
            view.strangers.push(ingress.clone());
        }
        let Some(status) = &record.status else {
            return Ok(view);
        };
        let listeners = status.listeners.iter();
        view.snapshot.spoken = listeners
            .filter_map(|one| Some((Port::new(i64::from(one.port)).ok()?, one.protocol)))
            .collect();
        for name in &status.members.first {
            let Some((namespace, name)) = name.split_once('/') else {
                continue;
            };
            let name = ObjectName::new(namespace, name);
            match synced.ingress(&name) {
                None | Some((_, Membership::Member { .. })) => {}
                Some((_, Membership::Refused(_))) if synced.admitted(&name).is_some() => {}
                Some((ingress, Membership::Refused(problems))) => {
                    // Where others are served, nothing of it is.
                    let lost = !view.snapshot.members.is_empty() && status.address.is_some();
                    if lost && shows(ingress, &status.addresses()) {
                        view.left.push(ingress.clone());
                    }
                    view.refused.push((ingress.clone(), problems.clone()));
                }
                Some((ingress, Membership::Foreign)) => {
                    if !ingress.meta.deleting && !view.strangers.contains(ingress) {
                        view.strangers.push(ingress.clone());
                    }
                    if status.address.is_some() && shows(ingress, &status.addresses()) {
                        view.left.push(ingress.clone());
                    }
                }
            }
        }
        Ok(view)
    }
}
