//! Listeners as desired and as they are in, calls that bring both together out.

use std::collections::BTreeSet;

use portcullis_model::Code;

use super::rules::{self, SECRET_CHANGED};
use super::{Round, attributes, awaited, certificates, change, field, protection, refused};
use crate::change::{Call, Change};
use crate::compile::{DesiredListener, unavailable};
use crate::observed::{ListenerState, Looked};
use crate::resource::{
    Applied, CertificateArn, ListenerProtocol, ListenerSpec, Pairs, Ref, RuleAction, TargetGroupArn, agree,
    kind,
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

pub(super) fn create(round: &Round<'_>, changes: &mut Vec<Change>) {
    let Some(state) = round.observed.load_balancer() else {
        return;
    };
    for (port, desired) in &round.desired.listeners {
        let existing = state.listeners.get(port);
        if certificates::awaits(round, &desired.spec.certificates) {
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
            Some(listener) if answers_alike(round, listener, &spec) => {
                changes.extend(modify(round, listener, spec));
            }
            // What answers where no rule does changes among the rules.
            Some(_) => {}
        }
    }
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
    if certificates::awaits(round, &desired.spec.certificates) {
        return NewDefault::Waiting;
    }
    match resolved(round, Some(listener), desired) {
        None => NewDefault::Waiting,
        Some(spec) if answers_alike(round, listener, &spec) => NewDefault::Unchanged,
        Some(spec) if changes_to_refused(round, listener, &spec) => NewDefault::Waiting,
        Some(spec) => NewDefault::Ready(modify(round, listener, spec)),
    }
}

/// Certificates and policy while the default action must stay as it is.
pub(super) fn besides_default(round: &Round<'_>, port: u16, listener: &ListenerState) -> Vec<Change> {
    let Some(desired) = round.desired.listeners.get(&port) else {
        return Vec::new();
    };
    if certificates::awaits(round, &desired.spec.certificates) {
        return Vec::new();
    }
    let spec = with_default(&desired.spec, listener.spec.default_actions.clone());
    modify(round, listener, spec)
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
fn modify(round: &Round<'_>, listener: &ListenerState, desired: ListenerSpec<TargetGroupArn>) -> Vec<Change> {
    let alike = answers_alike(round, listener, &desired);
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

    let https = desired.protocol == ListenerProtocol::Https;
    let fields = [
        field("Protocol", &observed.protocol, &desired.protocol),
        field(
            "DefaultActions",
            &observed.default_actions,
            &desired.default_actions,
        ),
        field("SslPolicy", &observed.ssl_policy, &desired.ssl_policy).filter(|_| https),
        field(
            "MutualAuthentication",
            &observed.mutual_authentication,
            &desired.mutual_authentication,
        )
        .filter(|_| https),
        field("Certificates", &observed.certificates.first(), &default.as_ref()).filter(|_| https),
    ];
    let fields: Vec<_> = fields.into_iter().flatten().collect();
    let mut modify = Vec::new();
    if !fields.is_empty() || !alike {
        let reason = match fields.as_slice() {
            [] => SECRET_CHANGED,
            [..] => "it differs from what is asked for",
        };
        let call = Call::ModifyListener {
            arn: listener.arn.clone(),
            spec: desired,
        };
        modify.push(Change {
            fields,
            ..change::<kind::Listener>(&id, call, reason)
        });
    }
    if had.len() + add.len() > round.quotas.certificates {
        return [remove, add, modify].concat();
    }
    let refused = |changes: &[Change]| changes.iter().any(|change| round.is_refused(&change.call));
    if refused(&add)
        || refused(&modify)
        || refused::lacks_certificate(&round.observed.refused, &listener.arn)
    {
        remove.clear();
    }
    // The default one could not be kept beside the new one.
    let served = observed.certificates.first();
    if add.iter().any(|change| {
        matches!(&change.call, Call::AddListenerCertificates { certificate, .. }
            if served.is_some_and(|served| served.certificate_arn == *certificate))
            && round.is_refused(&change.call)
    }) {
        modify.clear();
    }
    [add, modify, remove].concat()
}
