//! What a controller answers for and a record in; whether the record is its own, or whose else, out. Pure.
//!
//! An Ingress that a controller does not see, or that is another's, looks to it as if it were gone. So a record says
//! what made it, and only a controller that would see all its Ingresses deletes on their being gone.

use std::fmt;

use crate::crd::load_balancer::{LoadBalancerResource, LoadBalancerSpec};
use crate::translate::Settings;

/// Which Ingresses a controller answers for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// `spec.controller` of its IngressClasses.
    pub controller: String,
    /// The only namespace whose Ingresses it sees.
    pub namespace: Option<String>,
    /// Value of the annotation `kubernetes.io/ingress.class` that is its own without an IngressClass.
    pub legacy_class: String,
}

/// How the members of a load balancer name their class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// Each is of an IngressClass.
    Classes,
    /// One is ours by the annotation's value alone.
    Annotation,
}

/// What a record was made by, where that is not this controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Another {
    /// One of this name.
    Controller(String),
    /// One that sees this namespace, or all, and so Ingresses that this one does not.
    Namespace(Option<String>),
    /// One to which this value of the annotation belongs.
    LegacyClass(String),
}

impl Scope {
    /// Of a controller started so, which sees the Ingresses of this namespace, or of all.
    pub fn of(settings: &Settings, namespace: Option<String>) -> Self {
        Self {
            controller: settings.controller.as_str().to_owned(),
            namespace,
            legacy_class: settings.legacy_class.to_string(),
        }
    }

    /// What made a record, if another did. One that does not say it is of an earlier version, and taken for ours.
    pub fn another(&self, record: &LoadBalancerResource) -> Option<Another> {
        let spec = &record.spec;
        if let Some(name) = spec
            .controller_name
            .as_ref()
            .filter(|name| **name != self.controller)
        {
            return Some(Another::Controller(name.clone()));
        }
        if let Some(name) = spec
            .ingress_class
            .as_ref()
            .filter(|name| **name != self.legacy_class)
        {
            return Some(Another::LegacyClass(name.clone()));
        }
        match &self.namespace {
            Some(namespace) if !sees_all(namespace, record) => {
                Some(Another::Namespace(spec.watch_namespace.clone()))
            }
            Some(_) | None => None,
        }
    }

    /// Writes whose it is into a record.
    pub fn sign(&self, spec: &mut LoadBalancerSpec, naming: Naming) {
        spec.controller_name = Some(self.controller.clone());
        spec.watch_namespace.clone_from(&self.namespace);
        spec.ingress_class = match naming {
            Naming::Classes => None,
            Naming::Annotation => Some(self.legacy_class.clone()),
        };
    }
}

/// Whether who sees this namespace alone sees every Ingress of the load balancer.
fn sees_all(namespace: &str, record: &LoadBalancerResource) -> bool {
    if record.spec.watch_namespace.as_deref() == Some(namespace) {
        return true;
    }
    let within = |name: &str| name.split_once('/').is_some_and(|(its, _)| its == namespace);
    if record.spec.id.contains('/') {
        return within(&record.spec.id);
    }
    let members = record.status.as_ref().map(|status| &status.members);
    members.is_some_and(|members| {
        members.total > 0 && members.is_whole() && members.first.iter().all(|name| within(name))
    })
}

impl fmt::Display for Another {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (who, flag) = match self {
            Self::Controller(name) => (
                format!("the controller {name}"),
                format!("--controller-name {name}"),
            ),
            Self::LegacyClass(name) if name.is_empty() => (
                "a controller of Ingresses without a class".to_owned(),
                "--ingress-class=''".to_owned(),
            ),
            Self::LegacyClass(name) => (
                format!("a controller with the ingress class {name}"),
                format!("--ingress-class {name}"),
            ),
            Self::Namespace(Some(name)) => (
                format!("a controller that watches namespace {name}"),
                format!("--watch-namespace {name}"),
            ),
            Self::Namespace(None) => (
                "a controller that watches all namespaces".to_owned(),
                "no --watch-namespace".to_owned(),
            ),
        };
        write!(
            f,
            "{who} serves it, and this one leaves it alone: run one with {flag}, also to delete it; or stop that one and \
             let portcullis adopt record it anew"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::load_balancer::{Bounded, LoadBalancerStatus};

    fn scope(controller: &str, namespace: Option<&str>, class: &str) -> Scope {
        Scope {
            controller: controller.into(),
            namespace: namespace.map(str::to_owned),
            legacy_class: class.into(),
        }
    }

    fn record(id: &str, by: Option<(&Scope, Naming)>, members: &[&str]) -> LoadBalancerResource {
        let mut spec = LoadBalancerSpec {
            id: id.into(),
            ..LoadBalancerSpec::default()
        };
        if let Some((scope, naming)) = by {
            scope.sign(&mut spec, naming);
        }
        let mut record = LoadBalancerResource::new("any", spec);
        record.status = Some(LoadBalancerStatus {
            members: Bounded::new(members.iter().map(|name| (*name).to_owned()), 2),
            ..LoadBalancerStatus::default()
        });
        record
    }

    #[test]
    fn only_who_sees_all_its_ingresses_answers_for_a_record() {
        let a = scope("a", None, "alb");
        let shop = scope("a", Some("shop"), "alb");
        let by = |scope, naming| Some((scope, naming));
        let (classes, annotation) = (Naming::Classes, Naming::Annotation);
        let all = Some(Another::Namespace(None));
        for (what, reader, record, want) in [
            ("its own", &a, record("shop/x", by(&a, classes), &[]), None),
            (
                "of another name",
                &scope("b", None, "alb"),
                record("shop/x", by(&a, classes), &[]),
                Some(Another::Controller("a".into())),
            ),
            (
                "by the annotation, of another value",
                &scope("a", None, "my-alb"),
                record("shop/x", by(&a, annotation), &[]),
                Some(Another::LegacyClass("alb".into())),
            ),
            (
                "by classes, whatever the annotation's value",
                &scope("a", None, "my-alb"),
                record("shop/x", by(&a, classes), &[]),
                None,
            ),
            (
                "in another namespace",
                &shop,
                record("other/x", by(&a, classes), &[]),
                all.clone(),
            ),
            (
                "in the namespace",
                &shop,
                record("shop/x", by(&a, classes), &[]),
                None,
            ),
            (
                "a group within the namespace",
                &shop,
                record("g", by(&a, classes), &["shop/x", "shop/y"]),
                None,
            ),
            (
                "a group that reaches out of it",
                &shop,
                record("g", by(&a, classes), &["shop/x", "other/y"]),
                all.clone(),
            ),
            (
                "a group of which not all is known",
                &shop,
                record("g", by(&a, classes), &["shop/x", "shop/y", "shop/z"]),
                all.clone(),
            ),
            (
                "a group of nobody yet",
                &shop,
                record("g", by(&a, classes), &[]),
                all.clone(),
            ),
            (
                "a group of its own",
                &shop,
                record("g", by(&shop, classes), &[]),
                None,
            ),
            (
                "a group of another namespace",
                &scope("a", Some("other"), "alb"),
                record("g", by(&shop, classes), &[]),
                Some(Another::Namespace(Some("shop".into()))),
            ),
            (
                "more is seen than before",
                &a,
                record("g", by(&shop, classes), &[]),
                None,
            ),
            ("of an earlier version", &a, record("g", None, &[]), None),
            (
                "of an earlier version, out of sight",
                &shop,
                record("other/x", None, &[]),
                all,
            ),
        ] {
            assert_eq!(reader.another(&record), want, "{what}");
        }
    }
}
