//! Listeners as desired and as they are in, calls that bring both together out.

use std::collections::BTreeSet;

use super::target_groups::differing;
use super::{Round, change, field, protection};
use crate::change::{Call, Change};
use crate::observed::{ListenerState, Looked};
use crate::resource::{
    CertificateArn, ListenerProtocol, ListenerSpec, Pairs, Ref, RuleAction, TargetGroupArn, kind,
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
        // A listener waits for the target group of its default action.
        let Some(spec) = resolved(round, &desired.spec) else {
            continue;
        };
        match state.listeners.get(port) {
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
            Some(listener) if answers_alike(listener, &spec) => {
                changes.extend(modify(listener, spec, round.quotas.certificates));
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
        let attributes = differing(&desired.attributes, had);
        if attributes.is_empty() {
            continue;
        }
        let fields = attributes
            .0
            .iter()
            .filter_map(|(key, value)| field(key, &had.get(key), value))
            .collect();
        let call = Call::ModifyListenerAttributes {
            arn: listener.arn.clone(),
            attributes,
        };
        let change = change::<kind::Listener>(port.to_string(), call, "its attributes differ");
        changes.push(Change { fields, ..change });
    }
}

/// How the listener gets another default action.
pub(super) enum NewDefault {
    /// It has the right one.
    Unchanged,
    /// Its target group does not exist yet.
    Waiting,
    Ready(Vec<Change>),
}

/// To be done when every rule that is asked for stands, and before those that nobody asks for go: in between a request
/// would get an answer that it had neither before nor will have after.
pub(super) fn new_default(round: &Round<'_>, port: u16, listener: &ListenerState) -> NewDefault {
    let Some(desired) = round.desired.listeners.get(&port) else {
        return NewDefault::Unchanged;
    };
    match resolved(round, &desired.spec) {
        None => NewDefault::Waiting,
        Some(spec) if answers_alike(listener, &spec) => NewDefault::Unchanged,
        Some(spec) => NewDefault::Ready(modify(listener, spec, round.quotas.certificates)),
    }
}

fn answers_alike(listener: &ListenerState, desired: &ListenerSpec<TargetGroupArn>) -> bool {
    listener.spec.default_actions == desired.default_actions
}

fn resolved(
    round: &Round<'_>,
    spec: &ListenerSpec<Ref<kind::TargetGroup>>,
) -> Option<ListenerSpec<TargetGroupArn>> {
    with_target_groups(spec, &|reference| round.target_group(reference))
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
    Some(ListenerSpec {
        port: spec.port,
        protocol: spec.protocol,
        default_actions: actions?,
        ssl_policy: spec.ssl_policy.clone(),
        mutual_authentication: spec.mutual_authentication.clone(),
        certificates: spec.certificates.clone(),
        tags: spec.tags.clone(),
    })
}

/// Certificates are added before the default one changes and removed after it, so that no host is without; unless
/// there is no room for both.
fn modify(listener: &ListenerState, desired: ListenerSpec<TargetGroupArn>, most: usize) -> Vec<Change> {
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
    if !fields.is_empty() {
        let call = Call::ModifyListener {
            arn: listener.arn.clone(),
            spec: desired,
        };
        modify.push(Change {
            fields,
            ..change::<kind::Listener>(&id, call, "it differs from what is asked for")
        });
    }
    if had.len() + add.len() > most {
        [remove, add, modify].concat()
    } else {
        [add, modify, remove].concat()
    }
}
