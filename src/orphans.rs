//! Load balancers of which something exists and everything that could own one in, those that nobody owns out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{LoadBalancerId, ObjectName};

use crate::cluster::object::Ingress;
use crate::translate::annotations::{ALB, PORTABLE};

/// Everything in a cluster that a load balancer may belong to, whoever serves it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners {
    owners: BTreeMap<LoadBalancerId, String>,
    /// Target groups that a TargetGroupBinding names, by ARN.
    pub bound: BTreeMap<String, ObjectName>,
}

impl Owners {
    /// An Ingress, of whatever class: what a mistake in a class orphans must not be deleted.
    pub fn ingress(&mut self, ingress: &Ingress) {
        let name = &ingress.meta.name;
        let lone = LoadBalancerId::Lone(name.clone());
        let groups = [ALB, PORTABLE].map(|prefix| format!("{prefix}group.name"));
        let groups = groups
            .iter()
            .filter_map(|key| ingress.meta.annotations.get(key.as_str()));
        let groups = groups.map(|group| LoadBalancerId::Group(group.clone()));
        let ids: Vec<LoadBalancerId> = groups
            .chain([lone])
            .chain(ingress.held_for.iter().cloned())
            .collect();
        for id in ids {
            self.add(id, || format!("Ingress {name}"));
        }
    }

    /// Something else that names it.
    pub fn add(&mut self, id: LoadBalancerId, who: impl FnOnce() -> String) {
        self.owners.entry(id).or_insert_with(who);
    }

    /// Who may own it; `groups` are the ARNs of its target groups.
    pub fn of(&self, id: &LoadBalancerId, groups: &[&str]) -> Option<String> {
        let bound = || groups.iter().find_map(|arn| self.bound.get(*arn));
        let owner = self.owners.get(id).cloned();
        owner.or_else(|| bound().map(|name| format!("TargetGroupBinding {name}")))
    }

    /// Those of `existing`, with the ARNs of their target groups, that nobody may own.
    pub fn without<'a>(
        &self,
        existing: impl IntoIterator<Item = (&'a LoadBalancerId, Vec<&'a str>)>,
    ) -> BTreeSet<LoadBalancerId> {
        let orphans = existing
            .into_iter()
            .filter(|(id, groups)| self.of(id, groups).is_none());
        orphans.map(|(id, _)| id.clone()).collect()
    }
}

/// Whether this Ingress, of whatever class, may own it.
pub fn may_own(ingress: &Ingress, id: &LoadBalancerId) -> bool {
    let mut owners = Owners::default();
    owners.ingress(ingress);
    owners.of(id, &[]).is_some()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::cluster::object::{Kind, Object};
    use crate::cluster::wire;

    fn ingress(metadata: &serde_json::Value) -> Arc<Ingress> {
        match wire::from_api(
            Kind::Ingress,
            &json!({"metadata": metadata, "spec": {"ingressClassName": "any"}}),
        ) {
            Ok(Object::Ingress(ingress)) => ingress,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn whatever_could_own_a_load_balancer_keeps_it() {
        let mut owners = Owners::default();
        for metadata in [
            json!({"namespace": "shop", "name": "lone"}),
            json!({
                "namespace": "shop", "name": "grouped",
                "annotations": {"alb.ingress.kubernetes.io/group.name": "by-annotation"},
            }),
            json!({
                "namespace": "shop", "name": "ours", "annotations": {"portcullis.dev/group.name": "by-ours"},
            }),
            json!({
                "namespace": "shop", "name": "going", "finalizers": ["group.ingress.k8s.aws/by-finalizer"],
                "deletionTimestamp": "2026-11-26T00:00:00Z",
            }),
        ] {
            owners.ingress(&ingress(&metadata));
        }
        owners.add(LoadBalancerId::parse("by-record"), || {
            "LoadBalancer by-record".into()
        });
        owners
            .bound
            .insert("arn:bound".into(), ObjectName::new("shop", "binding"));
        for (id, groups, want) in [
            ("shop/lone", &[][..], Some("Ingress shop/lone")),
            ("shop/grouped", &[], Some("Ingress shop/grouped")),
            ("by-annotation", &[], Some("Ingress shop/grouped")),
            ("by-ours", &[], Some("Ingress shop/ours")),
            ("by-finalizer", &[], Some("Ingress shop/going")),
            ("by-record", &[], Some("LoadBalancer by-record")),
            (
                "unknown",
                &["arn:other", "arn:bound"],
                Some("TargetGroupBinding shop/binding"),
            ),
            ("unknown", &["arn:other"], None),
            ("shop/unknown", &[], None),
        ] {
            let got = owners.of(&LoadBalancerId::parse(id), groups);
            assert_eq!(got.as_deref(), want, "{id} {groups:?}");
        }
    }
}
