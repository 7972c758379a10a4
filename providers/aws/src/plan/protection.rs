//! What is to stand before a load balancer and what does in, calls that put it there out.
//!
//! A web ACL comes right after the load balancer and before its first listener: AWS serves without one from the moment
//! there is a listener, and a pass may end at any call.

use super::{Round, change, field};
use crate::change::{Call, Change};
use crate::compile::DesiredFirewall;
use crate::names;
use crate::observed::{LoadBalancerState, Looked};
use crate::resource::kind;

/// Whether listeners may be made.
pub(super) fn may_listen(round: &Round<'_>, state: &LoadBalancerState) -> bool {
    match &round.desired.firewall {
        // What relies on one that cannot be had is closed.
        DesiredFirewall::AsItIs | DesiredFirewall::None | DesiredFirewall::Missing => true,
        DesiredFirewall::WebAcl(wanted) => state.web_acl.at().is_some_and(|had| had.as_ref() == Some(wanted)),
    }
}

/// The web ACL of a load balancer that nobody can reach yet.
pub(super) fn put_first(round: &Round<'_>, changes: &mut Vec<Change>) {
    if let Some(state) = round.observed.load_balancer()
        && state.listeners.is_empty()
    {
        changes.extend(firewall(round, state));
    }
}

/// What stands before a load balancer that serves. Last of all: AWS may refuse it, and routes do not wait.
pub(super) fn set(round: &Round<'_>, changes: &mut Vec<Change>) {
    let Some(state) = round.observed.load_balancer() else {
        return;
    };
    changes.extend(firewall(round, state));
    let Some(wanted) = round.desired.protected else {
        return;
    };
    match (&state.protection, wanted) {
        (Looked::Failed(_), _) => {}
        (Looked::At(Some(_)), true) | (Looked::At(None) | Looked::Never, false) => {}
        (Looked::At(None) | Looked::Never, true) => {
            let call = Call::CreateProtection {
                load_balancer: state.arn.clone(),
                name: names::PROTECTION.to_owned(),
            };
            let reason = format!("{} asks for protection", round.id);
            changes.push(change::<kind::Protection>(names::LOAD_BALANCER, call, reason));
        }
        (Looked::At(Some(_)), false) => changes.extend(unprotect(state, "nobody asks for it any more")),
    }
}

/// Gives up a protection that is ours.
pub(super) fn unprotect(state: &LoadBalancerState, reason: &str) -> Option<Change> {
    let protection = state.protection.at()?.as_ref()?;
    names::PROTECTIONS.contains(&protection.name.as_str()).then(|| {
        let call = Call::DeleteProtection {
            load_balancer: state.arn.clone(),
            id: protection.id.clone(),
        };
        change::<kind::Protection>(names::LOAD_BALANCER, call, reason)
    })
}

fn firewall(round: &Round<'_>, state: &LoadBalancerState) -> Option<Change> {
    let (id, load_balancer) = (names::LOAD_BALANCER, state.arn.clone());
    match (&round.desired.firewall, &state.web_acl) {
        (DesiredFirewall::AsItIs | DesiredFirewall::Missing, _) | (_, Looked::Failed(_)) => None,
        (DesiredFirewall::None, Looked::At(None) | Looked::Never) => None,
        (DesiredFirewall::None, Looked::At(Some(_))) => {
            let call = Call::DisassociateWebAcl { load_balancer };
            Some(change::<kind::WebACLAssociation>(id, call, "there is to be none"))
        }
        (DesiredFirewall::WebAcl(wanted), Looked::At(Some(had))) if had == wanted => None,
        (DesiredFirewall::WebAcl(wanted), had) => {
            let call = Call::AssociateWebAcl {
                load_balancer,
                web_acl: wanted.clone(),
            };
            let reason = format!("{} is served behind it", round.id);
            let field = field("WebACLArn", &had.at().and_then(Option::as_ref), &wanted);
            let change = change::<kind::WebACLAssociation>(id, call, reason);
            Some(Change {
                fields: Vec::from_iter(field),
                ..change
            })
        }
    }
}
