//! A load balancer that this controller may not answer for in, an outcome that changes nothing and says why out. Pure.

use portcullis_model::{Code, LoadBalancerId, Origin, Problem};

use crate::crd::load_balancer::LoadBalancerResource;
use crate::reconcile::outcome::{End, Hold, Outcome};
use crate::reconcile::records::is_held;
use crate::reconcile::records::scope::Another;
use crate::reconcile::view::View;

/// Another controller of this cluster made it: Ingresses of ours that ask for the same wait.
pub(super) fn of_another(id: &LoadBalancerId, view: &View, another: &Another) -> Outcome {
    let mut outcome = Outcome::begin(view, None, Vec::new());
    let members = view.snapshot.members.iter();
    outcome.add(members.map(|member| {
        let at = Origin::new("ingress", member.ingress.meta.name.clone(), "");
        Problem::new(Code::NotOurs, at, format!("load balancer {id}: {another}"))
    }));
    outcome.end = End::Held(Hold::AnotherController);
    outcome
}

/// Whether an earlier version recorded it, which did not say for which controller, and it may have been another one: an
/// Ingress that it served is not ours. Where all are gone, or ours, that is proof enough.
pub(super) fn is_unknown(record: &LoadBalancerResource, view: &View) -> bool {
    if record.spec.controller_name.is_some() || !is_held(record) {
        return false;
    }
    let members = record.status.as_ref().map(|status| &status.members);
    let known = record.spec.id.contains('/')
        || members.is_some_and(|members| members.total > 0 && members.is_whole());
    let silent = view.snapshot.members.is_empty() && view.refused.is_empty();
    !view.strangers.is_empty() || (silent && !known)
}

/// Nothing is changed, and those that are strangers stay recorded: else the next pass would take them for gone.
pub(super) fn hold(view: &View, outcome: &mut Outcome) {
    outcome.members.extend(view.strangers.iter().cloned());
    outcome.left.clear();
    outcome.end = End::Held(Hold::ControllerUnknown);
}
