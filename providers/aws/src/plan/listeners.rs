//! Listeners as desired and as they are in, calls that bring both together out.

mod parts;

use std::collections::BTreeSet;

use portcullis_model::Code;

use super::{Round, attributes, awaited, certificates, change, protection, refused, rules};
use crate::change::{Call, Change};
use crate::compile::{DesiredListener, unavailable};
use crate::observed::{ListenerState, Looked};
use crate::resource::{
    Applied, CertificateArn, ListenerSpec, Pairs, Ref, RuleAction, TargetGroupArn, agree, kind,
};

/// Listeners nobody asks for; their rules go with them, and free quota.
pub(super) fn delete_surplus(round: &Round<'_>, changes: &mut Vec<Change>) {
    let Some(state) = round.observed.load_balancer() else {
        return;
    };
    for (port, listener) in &state.listeners {
        if !round.desired.listeners.contains_key(port) {
            let call = Call::DeleteListener {
                arn: listener.arn.clone(),
            };
            changes.push(change::<kind::Listener>(
                port.to_string(),
                call,
                "nobody asks for the port",
            ));
        }
    }
}

/// Makes those that are missing, and changes what those that exist are but for what answers where no rule does: that is
/// changed among the rules. Whom a listener asks for certificates comes first, for rules rely on it.
pub(super) fn create(round: &Round<'_>, changes: &mut Vec<Change>) {
    let Some(state) = round.observed.load_balancer() else {
        return;
    };
    for (port, desired) in &round.desired.listeners {
        if certificates::awaits(round, &desired.spec.certificates) {
            continue;
        }
        let existing = state.listeners.get(port);
        if let Some(listener) = existing
            && speaks_alike(listener, desired)
        {
            let actions = listener.spec.default_actions.clone();
            changes.extend(modify(round, listener, with_default(&desired.spec, actions)));
            continue;
        }
        // A listener waits for the target group of its default action, unless that cannot be had: its rules do not.
        let spec = match resolved(round, existing, desired) {
            Some(spec) => spec,
            None if round.lacks(&desired.spec.default_actions) => {
                let actions = match existing {
                    Some(listener) => listener.spec.default_actions.clone(),
                    None => vec![unavailable(Code::BackendUnsupported.as_str())],
                };
                with_default(&desired.spec, actions)
            }
            None => continue,
        };
        match existing {
            // Nobody is let in past the firewall that is asked for.
            None if !protection::may_listen(round, state) => {}
            None => {
                let call = Call::CreateListener {
                    load_balancer: state.arn.clone(),
                    spec,
                };
                let reason = format!("{} listens on it", round.id);
                changes.push(change::<kind::Listener>(port.to_string(), call, reason));
            }
            Some(listener) => changes.extend(modify(round, listener, spec)),
        }
    }
}

/// Whether a listener that exists speaks to clients as it is to.
fn speaks_alike(listener: &ListenerState, desired: &DesiredListener) -> bool {
    listener.spec.protocol == desired.spec.protocol
}

/// Whether clients are still to be asked for the certificates that they are to be asked for: until then no rule is made
/// that may rely on it.
pub(super) fn awaits_clients(listener: &ListenerState, desired: &DesiredListener) -> bool {
    let wanted = &desired.spec.mutual_authentication;
    wanted.is_some() && *wanted != listener.spec.mutual_authentication
}

/// Sets the attributes that are asked for; a key nobody asks for any more keeps its value, as the incumbent keeps it.
pub(super) fn set_attributes(round: &Round<'_>, changes: &mut Vec<Change>) {
    let Some(state) = round.observed.load_balancer() else {
        return;
    };
    for (port, listener) in &state.listeners {
        let Some(desired) = round.desired.listeners.get(port) else {
            continue;
        };
        let unknown = Pairs::default();
        let had = match &listener.attributes {
            Looked::At(had) => had,
            Looked::Never => &unknown,
            Looked::Failed(_) => continue,
        };
        attributes::set::<kind::Listener>(
            &round.observed.refused,
            &port.to_string(),
            (&desired.attributes, had),
            |attributes| Call::ModifyListenerAttributes {
                arn: listener.arn.clone(),
                attributes,
            },
            changes,
        );
    }
}

/// How the listener gets another default action.
pub(super) enum NewDefault {
    /// It has the right one.
    Unchanged,
    /// Its target group does not exist yet, or cannot be had; or the change was refused.
    Waiting,
    Ready(Vec<Change>),
}

/// To be done when every rule that is asked for stands, and before those that nobody asks for go: in between a request
/// would get an answer that it had neither before nor will have after.
pub(super) fn new_default(round: &Round<'_>, port: u16, listener: &ListenerState) -> NewDefault {
    let Some(desired) = round.desired.listeners.get(&port) else {
        return NewDefault::Unchanged;
    };
    match resolved(round, Some(listener), desired) {
        None => NewDefault::Waiting,
        Some(spec) if answers_alike(round, listener, &spec) => NewDefault::Unchanged,
        Some(spec) if changes_to_refused(round, listener, &spec) => NewDefault::Waiting,
        // It comes with what is spoken.
        Some(_) if !speaks_alike(listener, desired) => NewDefault::Waiting,
        Some(spec) => {
            let spec = ListenerSpec {
                default_actions: spec.default_actions,
                ..listener.spec.clone()
            };
            NewDefault::Ready(Vec::from_iter(parts::between(
                round,
                listener,
                &listener.spec,
                spec,
            )))
        }
    }
}

/// Whether the listener was refused its new default action.
fn changes_to_refused(
    round: &Round<'_>,
    listener: &ListenerState,
    desired: &ListenerSpec<TargetGroupArn>,
) -> bool {
    refused::any(&round.observed.refused, |call| {
        matches!(call, Call::ModifyListener { arn, spec }
            if *arn == listener.arn && spec.default_actions == desired.default_actions)
    })
}

fn answers_alike(
    round: &Round<'_>,
    listener: &ListenerState,
    desired: &ListenerSpec<TargetGroupArn>,
) -> bool {
    let applied: &Applied = &round.observed.applied;
    agree(&listener.spec.default_actions, &desired.default_actions, applied)
}

/// With known target groups; where the listener exists and new ones are not known to serve, as it forwards till then.
fn resolved(
    round: &Round<'_>,
    existing: Option<&ListenerState>,
    desired: &DesiredListener,
) -> Option<ListenerSpec<TargetGroupArn>> {
    let mut out = with_target_groups(&desired.spec, &|reference| round.target_group(reference))?;
    if let Some(listener) = existing
        && let Some(actions) = waiting_default(round, listener, desired)
    {
        out.default_actions = actions;
    }
    Some(out)
}

/// The default action that a listener has until new target groups can serve.
pub(super) fn waiting_default(
    round: &Round<'_>,
    listener: &ListenerState,
    desired: &DesiredListener,
) -> Option<Vec<RuleAction<TargetGroupArn>>> {
    let spec = with_target_groups(&desired.spec, &|reference| round.target_group(reference))?;
    let waiting = awaited::until_checked(round, &listener.spec.default_actions, &spec.default_actions)?;
    rules::all_stay(listener, desired).then_some(waiting)
}

/// The spec with known target groups; none where one does not exist yet.
pub(super) fn with_target_groups(
    spec: &ListenerSpec<Ref<kind::TargetGroup>>,
    find: &impl Fn(&Ref<kind::TargetGroup>) -> Option<TargetGroupArn>,
) -> Option<ListenerSpec<TargetGroupArn>> {
    let actions: Option<Vec<RuleAction<TargetGroupArn>>> = spec
        .default_actions
        .iter()
        .map(|action| action.resolve(find))
        .collect();
    Some(with_default(spec, actions?))
}

fn with_default(
    spec: &ListenerSpec<Ref<kind::TargetGroup>>,
    default_actions: Vec<RuleAction<TargetGroupArn>>,
) -> ListenerSpec<TargetGroupArn> {
    ListenerSpec {
        port: spec.port,
        protocol: spec.protocol,
        default_actions,
        ssl_policy: spec.ssl_policy.clone(),
        mutual_authentication: spec.mutual_authentication.clone(),
        certificates: spec.certificates.clone(),
        tags: spec.tags.clone(),
    }
}

/// Certificates are added before the default one changes and removed after it, so that no host is without; unless
/// there is no room for both. Where one of these calls was refused, those after it that rely on it are not made.
fn modify(
    round: &Round<'_>,
    listener: &ListenerState,
    mut desired: ListenerSpec<TargetGroupArn>,
) -> Vec<Change> {
    let id = desired.port.to_string();
    let observed = &listener.spec;
    let extra = |spec: &ListenerSpec<TargetGroupArn>| -> BTreeSet<CertificateArn> {
        spec.certificates
            .iter()
            .skip(1)
            .map(|c| c.certificate_arn.clone())
            .collect()
    };
    let (had, wanted) = (extra(observed), extra(&desired));
    let default = desired.certificates.first().cloned();
    let mut add = Vec::new();
    for certificate in wanted.difference(&had) {
        let call = Call::AddListenerCertificates {
            arn: listener.arn.clone(),
            certificate: certificate.clone(),
        };
        add.push(change::<kind::Listener>(
            &id,
            call,
            format!("{certificate} serves one of its hosts"),
        ));
    }
    let mut remove = Vec::new();
    // The incumbent adds the default one to the others, too; it does no harm there.
    for certificate in had
        .difference(&wanted)
        .filter(|arn| default.as_ref().is_none_or(|d| d.certificate_arn != **arn))
    {
        let call = Call::RemoveListenerCertificates {
            arn: listener.arn.clone(),
            certificate: certificate.clone(),
        };
        remove.push(change::<kind::Listener>(
            &id,
            call,
            format!("{certificate} serves none of its hosts"),
        ));
    }

    if had.len() + add.len() > round.quotas.certificates {
        return [remove, add, parts::modify(round, listener, &desired)].concat();
    }
    let refused = |change: &Change| round.is_refused(&change.call);
    // The default one could not be kept beside the new one.
    let served = observed.certificates.first();
    if let Some(served) = served
        && add.iter().any(|change| {
            matches!(&change.call, Call::AddListenerCertificates { certificate, .. }
                if served.certificate_arn == *certificate)
                && refused(change)
        })
    {
        desired.certificates[0] = served.clone();
    }
    let modify = parts::modify(round, listener, &desired);
    let last = modify.last().map(|change| &change.call);
    let reached = match last {
        Some(Call::ModifyListener { spec, .. }) => spec.certificates.first(),
        _ => served,
    };
    if add.iter().any(refused)
        || reached != default.as_ref()
        || refused::lacks_certificate(&round.observed.refused, &listener.arn)
    {
        remove.clear();
    }
    [add, modify, remove].concat()
}
