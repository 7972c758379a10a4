//! An Ingress and the classes of the cluster in, the load balancer it belongs to or why to none out.

use std::sync::Arc;

use portcullis_model::{Code, LoadBalancerId, Origin, Problem, Semantics};

use super::annotations::value;
use super::group::group_of;
use super::settings::{Merge, Settings, WithoutClass};
use crate::cluster::labels::LabelSelector;
use crate::cluster::membership::{Candidate, Membership};
use crate::cluster::object::{IngressClass, Kind};
use crate::crd::{Admission, ClassParametersSpec, NamespaceSelector};

/// The annotation that named a class before there were IngressClasses. It wins over the field, as Kubernetes has it
/// for objects from that time; the API server admits no new object with both.
const LEGACY: &str = "kubernetes.io/ingress.class";

/// The load balancer of an Ingress; pure.
pub fn membership(settings: &Settings, candidate: Candidate<'_>) -> Membership {
    let class = match class_of(settings, candidate) {
        Class::Foreign(problem) => {
            return match settings.without_class {
                WithoutClass::Foreign => Membership::Foreign,
                // Who hands us a folder wants to hear why one of its Ingresses is not served.
                WithoutClass::Ours => Membership::Refused(vec![problem]),
            };
        }
        Class::Refused(problem) => return Membership::Refused(vec![problem]),
        Class::None => None,
        Class::Found(class) => Some(class),
    };
    let mut problems = Vec::new();
    if let Some(class) = class {
        problems.extend(not_admitted(settings, candidate, class));
    }
    let named = class.and_then(|class| class.parameters.as_ref()?.key());
    let parameters = named.and_then(|key| candidate.parameters.get(&key));
    let id = match settings.merge {
        Merge::ByGroup => group_of(candidate.ingress, parameters.map(|parameters| &**parameters)),
        // Whatever its group is called: what it guards would else be open to all that its neighbours let in.
        Merge::OneLoadBalancer => Ok(served()),
    };
    let id = id.map_err(|problem| problems.push(problem)).ok();
    match id {
        Some(id) if problems.is_empty() => Membership::Member {
            id,
            class: class.map(|class| class.meta.name.name.clone()),
        },
        _ => Membership::Refused(problems),
    }
}

/// The load balancer that stands for all, under [`Merge::OneLoadBalancer`].
pub(super) fn served() -> LoadBalancerId {
    LoadBalancerId::Group("served".into())
}

enum Class<'a> {
    /// Not ours, and why.
    Foreign(Problem),
    /// Ours without an IngressClass.
    None,
    Found(&'a IngressClass),
    Refused(Problem),
}

/// Whether Ingresses that name no class are ours: the incumbent's meaning of an empty `--ingress-class`.
fn serves_classless(settings: &Settings) -> bool {
    settings.legacy_class.is_empty()
        && settings.controller.semantics() == Semantics::AwsLoadBalancerController
}

fn class_of<'a>(settings: &Settings, candidate: Candidate<'a>) -> Class<'a> {
    let classes = candidate.classes;
    if settings.without_class == WithoutClass::Ours && classes.is_empty() {
        return Class::None;
    }
    let ours = |class: &IngressClass| *class.controller == *settings.controller.as_str();
    let ingress = candidate.ingress;
    let problem = |code: Code, field: &str, message: String| {
        Problem::new(
            code,
            Origin::new("ingress", ingress.meta.name.clone(), field),
            message,
        )
    };
    let anothers = |field: &str, class: &IngressClass| {
        let message = format!(
            "class {} is of controller {}, this one is {}",
            class.meta.name, class.controller, settings.controller
        );
        Class::Foreign(problem(Code::ClassForeign, field, message))
    };

    if let Some(name) = ingress.meta.annotations.get(LEGACY) {
        let field = format!("metadata.annotations[{LEGACY}]");
        let unknown = || {
            let message = format!(
                "{} is no class of controller {}",
                value::shown(name),
                settings.controller
            );
            Class::Foreign(problem(Code::ClassForeign, &field, message))
        };
        return match settings.controller.semantics() {
            // The incumbent answers to one value, and then reads no parameters.
            Semantics::AwsLoadBalancerController if *name == settings.legacy_class => Class::None,
            Semantics::AwsLoadBalancerController if serves_classless(settings) && &**name == "alb" => {
                Class::None
            }
            Semantics::AwsLoadBalancerController => unknown(),
            // By the annotation nobody gets round what the operator's classes admit: it must name one of them,
            // if there are any.
            Semantics::Kubernetes => match classes.get(name) {
                Some(class) if ours(class) => Class::Found(class),
                Some(class) => anothers(&field, class),
                None if *name == settings.legacy_class && !classes.values().any(|c| ours(c)) => Class::None,
                None => unknown(),
            },
        };
    }
    let field = "spec.ingressClassName";
    if let Some(name) = &ingress.class_name {
        return match classes.get(name) {
            Some(class) if ours(class) => Class::Found(class),
            Some(class) => anothers(field, class),
            None => {
                let message = format!("there is no IngressClass {name}");
                Class::Refused(problem(Code::ClassNotFound, field, message))
            }
        };
    }
    let defaults: Vec<&Arc<IngressClass>> = classes.values().filter(|class| class.is_default).collect();
    match defaults.as_slice() {
        [class] if ours(class) => Class::Found(class),
        [class] => anothers(field, class),
        [] if serves_classless(settings) => Class::None,
        [] => {
            let message = "it names no class, and none is the default".to_owned();
            Class::Foreign(problem(Code::ClassForeign, field, message))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|class| &*class.meta.name.name).collect();
            let message = format!(
                "it names no class, and several are the default: {}",
                names.join(", ")
            );
            let problem = problem(Code::DefaultClassAmbiguous, field, message);
            if several.iter().any(|class| ours(class)) {
                Class::Refused(problem)
            } else {
                Class::Foreign(problem)
            }
        }
    }
}

/// Why a class does not take this Ingress.
fn not_admitted(settings: &Settings, candidate: Candidate<'_>, class: &IngressClass) -> Option<Problem> {
    let named = class.parameters.as_ref()?;
    let name = &class.meta.name;
    let at = |field: &str| Origin::new(Kind::IngressClass.origin(), name.clone(), field);
    let Some(key) = named.key() else {
        let message = format!(
            "class {name}: parameters of kind {} in {:?} are not read here, so nothing they restrict is served",
            named.kind, named.api_group
        );
        return Some(Problem::new(
            Code::ClassParametersInvalid,
            at("spec.parameters"),
            message,
        ));
    };
    let Some(parameters) = candidate.parameters.get(&key) else {
        let message = format!("class {name}: there are no {} {}", named.kind, named.name);
        return Some(Problem::new(
            Code::ClassParametersNotFound,
            at("spec.parameters.name"),
            message,
        ));
    };
    let invalid = |field: &str, message: String| {
        let at = Origin::new(parameters.kind.origin(), parameters.meta.name.clone(), field);
        Some(Problem::new(Code::ClassParametersInvalid, at, message))
    };
    if let Some(unread) = parameters.unread.first() {
        let message = format!(
            "class {name}: nothing is known here of {}, so nothing it restricts is served",
            parameters.unread.join(", ")
        );
        return invalid(&format!("spec.{unread}"), message);
    }
    let subnets = parameters.spec.subnets.as_ref();
    if subnets.is_some_and(|subnets| subnets.ids.is_empty() == subnets.tags.is_empty()) {
        let message = format!("class {name}: subnets are given either by ids or by tags");
        return invalid("spec.subnets", message);
    }
    let ClassParametersSpec {
        provider, admission, ..
    } = &*parameters.spec;
    if let (Some(serves), Some(wanted)) = (settings.provider, provider)
        && serves != wanted
    {
        let message = format!("class {name} wants provider {wanted:?}; this controller serves {serves:?}");
        let at = Origin::new(
            Kind::ClassParameters.origin(),
            parameters.meta.name.clone(),
            "spec.provider",
        );
        return Some(Problem::new(Code::ProviderUnavailable, at, message));
    }
    let namespace = &candidate.ingress.meta.name.namespace;
    if admission
        .as_ref()
        .is_some_and(|admission| !admits(admission, candidate, namespace))
    {
        let selector = admission
            .as_ref()
            .and_then(|admission| admission.namespaces.as_ref());
        if let Some((place, why)) = selector.and_then(|selector| by_labels(selector).fault()) {
            let selector = if parameters.kind == Kind::IncumbentParameters {
                "spec.namespaceSelector"
            } else {
                "spec.admission.namespaces"
            };
            let message = format!("class {name}: {why}, so no namespace is admitted by its labels");
            return invalid(&format!("{selector}.matchExpressions[{place}]"), message);
        }
        let message = format!("class {name} does not admit namespace {namespace}");
        let at = Origin::new(
            "ingress",
            candidate.ingress.meta.name.clone(),
            "metadata.namespace",
        );
        return Some(Problem::new(Code::NamespaceNotAdmitted, at, message));
    }
    None
}

/// A namespace that is not known has no labels.
fn admits(admission: &Admission, candidate: Candidate<'_>, namespace: &str) -> bool {
    let Some(selector) = &admission.namespaces else {
        return true;
    };
    let by_name = selector.names.iter().any(|name| name == namespace);
    let any = !selector.match_labels.is_empty() || !selector.match_expressions.is_empty();
    let by_label = any
        && candidate
            .namespaces
            .get(namespace)
            .is_some_and(|known| by_labels(selector).selects(&known.labels));
    by_name || by_label
}

fn by_labels(selector: &NamespaceSelector) -> LabelSelector {
    LabelSelector {
        match_labels: selector.match_labels.clone(),
        match_expressions: selector.match_expressions.clone(),
    }
}
