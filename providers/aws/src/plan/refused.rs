//! Calls that AWS refused in, whether one like it may be planned, and where each is told, out.

use std::collections::BTreeSet;

use portcullis_model::{Code, LoadBalancerId, ObjectName, Origin, Problem, ProviderError, Refusals, Refused};

use super::{attributes, field, security_group};
use crate::change::{Call, Change};
use crate::compile::{Desired, DesiredFirewall};
use crate::observed::ListenerState;
use crate::resource::{
    CertificateArn, Kind, ListenerArn, ListenerSpec, MutualAuthentication, Ref, RuleAction, RuleSpec, Source,
    TargetGroupArn, kind,
};

/// A call that was refused.
pub(super) type One = Refused<Change>;

/// So often an operation is refused for want of a right or of room until the rest of the pass does without it: the
/// answer will be the same, and a hundred such calls are no better than five.
const MOST_TRIES: usize = 5;

/// Whether this call, or one that is the same to AWS, was refused.
pub(crate) fn holds(refused: &Refusals<Change>, call: &Call) -> bool {
    let mut like_it = 0;
    for one in refused.iter() {
        if same(&one.change.call, call) {
            return true;
        }
        if one.change.call.name() == call.name()
            && matches!(one.error.code, Code::AccessDenied | Code::QuotaExceeded)
        {
            like_it += 1;
        }
    }
    like_it >= MOST_TRIES
}

/// Whether this very call was refused.
pub(super) fn was(refused: &Refusals<Change>, call: &Call) -> bool {
    any(refused, |had| same(had, call))
}

/// Whether a refused call is like this.
pub(super) fn any(refused: &Refusals<Change>, like: impl Fn(&Call) -> bool) -> bool {
    refused.iter().any(|one| like(&one.change.call))
}

/// Whether AWS answered the creation of this load balancer or target group with one that is somebody else's.
pub(crate) fn is_foreign(refused: &Refusals<Change>, arn: &str) -> bool {
    let named = |call: &Call| {
        matches!(call, Call::RegisterTargets { arn: group, .. } if group.as_str() == arn)
            || matches!(call, Call::CreateListener { load_balancer, .. } if load_balancer.as_str() == arn)
            || matches!(call, Call::AssociateWebAcl { load_balancer, .. } if load_balancer.as_str() == arn)
    };
    refused
        .iter()
        .any(|one| one.error.code == Code::NotOurs && named(&one.change.call))
}

/// Whether this target group cannot be had in this pass.
pub(super) fn lacks_target_group(refused: &Refusals<Change>, id: &str) -> bool {
    refused.iter().any(|one| {
        let created = matches!(one.change.call, Call::CreateTargetGroup { .. });
        let foreign =
            matches!(one.change.call, Call::RegisterTargets { .. }) && one.error.code == Code::NotOurs;
        one.change.id == id && (created || foreign)
    })
}

/// The field of a listener that says what clients are asked for.
pub(super) const CLIENTS: &str = "MutualAuthentication";

/// Whether this change was refused, or another call that was to change the same of the same listener.
pub(super) fn was_change(refused: &Refusals<Change>, change: &Change) -> bool {
    let like_it = |one: &One| {
        let same = (one.change.kind, &one.change.id) == (change.kind, &change.id);
        same && !change.fields.is_empty() && one.change.fields == change.fields
    };
    holds(refused, &change.call) || refused.iter().any(like_it)
}

/// Why AWS would not let this listener ask clients for this in this pass.
pub(crate) fn clients<'a>(
    refused: &'a Refusals<Change>,
    listener: &ListenerState,
    wanted: &MutualAuthentication,
) -> Option<&'a ProviderError> {
    let asks = field(CLIENTS, &listener.spec.mutual_authentication, &Some(wanted))?;
    let to_ask = |one: &&One| {
        let of_it = matches!(&one.change.call, Call::ModifyListener { arn, .. } if *arn == listener.arn);
        of_it && one.change.fields.contains(&asks)
    };
    let alone = Call::ModifyListener {
        arn: listener.arn.clone(),
        spec: ListenerSpec {
            mutual_authentication: Some(wanted.clone()),
            ..listener.spec.clone()
        },
    };
    let one = refused
        .iter()
        .filter(to_ask)
        .find(|one| is_whole(&one.change))
        .or_else(|| {
            let mut modified = refused.iter();
            holds(refused, &alone)
                .then(|| modified.find(|one| one.change.call.name() == alone.name()))
                .flatten()
        });
    one.map(|one| &one.error)
}

/// Whether what the call was to change of a listener cannot be asked for in parts.
fn is_whole(change: &Change) -> bool {
    change.fields.len() == 1 || change.fields.iter().any(|field| field.field == "Protocol")
}

/// Whether this call was to change what clients are asked for, and nothing else.
fn asks_clients(one: &One) -> bool {
    matches!(one.change.fields.as_slice(), [field] if field.field == CLIENTS && field.to != "null")
}

/// Whether another call tells what is wrong with this one: it was made again in parts, and one was refused.
fn is_told_by_parts(one: &One, all: &Refusals<Change>) -> bool {
    let is_part = |other: &One| {
        let mut fields = other.change.fields.iter();
        (other.change.kind, &other.change.id) == (one.change.kind, &one.change.id)
            && other.change.fields.len() < one.change.fields.len()
            && !other.change.fields.is_empty()
            && fields.all(|field| one.change.fields.contains(field))
    };
    let listener = matches!(one.change.call, Call::ModifyListener { .. });
    listener && !is_whole(&one.change) && all.iter().any(is_part)
}

/// Why AWS would not serve with this certificate in this pass.
pub(crate) fn certificate<'a>(
    refused: &'a Refusals<Change>,
    arn: &CertificateArn,
) -> Option<&'a ProviderError> {
    let mut all = refused.iter();
    let one = all.find(|one| lacking(one).is_some_and(|(_, lacking)| lacking == arn))?;
    Some(&one.error)
}

/// Whether AWS would not serve with a certificate that this listener was to get.
pub(super) fn lacks_certificate(refused: &Refusals<Change>, listener: &ListenerArn) -> bool {
    let mut lacking = refused.iter().filter_map(lacking);
    lacking.any(|(at, _)| at == Some(listener))
}

/// The certificate that AWS did not find, and the listener that was to get it.
fn lacking(one: &One) -> Option<(Option<&ListenerArn>, &CertificateArn)> {
    let (listener, certificate) = if let Call::AddListenerCertificates { arn, certificate } = &one.change.call
    {
        (Some(arn), certificate)
    } else if let Call::ModifyListener { arn, spec } = &one.change.call {
        (Some(arn), &spec.certificates.first()?.certificate_arn)
    } else if let Call::CreateListener { spec, .. } = &one.change.call {
        (None, &spec.certificates.first()?.certificate_arn)
    } else {
        return None;
    };
    (one.error.code == Code::CertificateNotFound).then_some((listener, certificate))
}

/// Rules are made wherever there is room, and priorities set from where rules stand: neither makes another call of it.
fn same(refused: &Call, call: &Call) -> bool {
    match (refused, call) {
        (
            Call::CreateRule {
                listener: had,
                spec: left,
            },
            Call::CreateRule {
                listener,
                spec: right,
            },
        ) => had == listener && same_rule(left, right),
        (Call::SetRulePriorities { priorities: had }, Call::SetRulePriorities { priorities }) => had
            .iter()
            .any(|(arn, _)| priorities.iter().any(|(other, _)| arn == other)),
        (refused, call) => refused == call,
    }
}

fn same_rule(left: &RuleSpec<TargetGroupArn>, right: &RuleSpec<TargetGroupArn>) -> bool {
    left.conditions == right.conditions
        && left.actions == right.actions
        && left.transforms == right.transforms
}

/// Each refusal at the fields that asked for it, else at the load balancer as a whole.
pub(super) fn problems(
    id: &LoadBalancerId,
    desired: Option<&Desired>,
    refused: &Refusals<Change>,
) -> Vec<Problem> {
    let mut out = Vec::new();
    // What AWS has not let go of yet is deleted later, and nobody needs to do anything about it. Where all of it is to
    // go, everybody waits for it.
    let waits = |one: &One| desired.is_none() || one.error.code != Code::StillInUse;
    // Where it is asked for, with what comes of it: the web ACL, certificates, and what clients are asked for.
    let at_its_field = |one: &One| {
        let firewall = desired.map(|desired| &desired.firewall);
        firewall == Some(&DesiredFirewall::Missing) && matches!(one.change.call, Call::AssociateWebAcl { .. })
    };
    let told = |one: &&One| {
        waits(one)
            && !attributes::is_told_by_parts(one, refused)
            && !security_group::is_told_by_parts(one, refused)
            && !at_its_field(one)
            && lacking(one).is_none()
            && !is_told_by_parts(one, refused)
            && !asks_clients(one)
    };
    for one in refused.iter().filter(told) {
        let origins = desired.map(|desired| origins(desired, one)).unwrap_or_default();
        let mut name = format!("{} {}", one.change.kind, one.change.id);
        match attributes::suspects(one).as_slice() {
            [] => {}
            keys => name = format!("{name}, {}", keys.join(", ")),
        }
        let message = format!("{name}: {}", one.error.words());
        if origins.is_empty() {
            out.push(Problem::new(one.error.code, whole(id), message));
            continue;
        }
        for origin in origins {
            out.push(Problem::new(one.error.code, origin, message.clone()));
        }
    }
    out
}

/// The load balancer as a whole.
pub(super) fn whole(id: &LoadBalancerId) -> Origin {
    let object = match id {
        LoadBalancerId::Group(name) => ObjectName::cluster(name.clone()),
        LoadBalancerId::Lone(object) => object.clone(),
    };
    Origin::new("loadbalancer", object, "")
}

/// Where the rules come from that the change is for.
fn origins(desired: &Desired, refused: &One) -> BTreeSet<Origin> {
    let id = refused.change.id.as_str();
    let forwards = |actions: &[RuleAction<Ref<kind::TargetGroup>>]| {
        let mut groups = actions.iter().flat_map(RuleAction::target_groups);
        groups.any(|group| matches!(group, Ref::Logical(group) if &**group == id))
    };
    let mut out = BTreeSet::new();
    if refused.change.kind == kind::Certificate::NAME {
        out.extend(desired.certificates.get(id).map(|wanted| wanted.origin.clone()));
    }
    if let Call::AuthorizeSecurityGroupIngress { permissions, .. } = &refused.change.call
        && permissions
            .iter()
            .all(|permission| matches!(permission.source, Source::PrefixList(_)))
    {
        out.insert(desired.lists_at.clone());
    }
    for (port, listener) in &desired.listeners {
        for rule in &listener.rules {
            let of_rule = refused.change.kind == kind::ListenerRule::NAME
                && format!("{port}:{}", rule.spec.priority) == id;
            let of_group = refused.change.kind == kind::TargetGroup::NAME && forwards(&rule.spec.actions);
            if of_rule || of_group {
                out.insert(rule.origin.clone());
            }
        }
    }
    out
}
