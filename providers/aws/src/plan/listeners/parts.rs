//! What a listener is and what it is to be in, the call that makes it so out; where that was refused, one for each part.
//!
//! AWS takes all of a call or nothing of it. A policy that it does not have must not take with it what another member
//! relies on: whom the listener asks for certificates is asked for first.

use super::super::rules::SECRET_CHANGED;
use super::super::{Round, change, field, refused};
use crate::change::{Call, Change};
use crate::observed::ListenerState;
use crate::resource::{ListenerProtocol, ListenerSpec, TargetGroupArn, agree, kind};

type Spec = ListenerSpec<TargetGroupArn>;

/// Each takes one part over from what is desired.
const PARTS: [fn(&mut Spec, &Spec); 3] = [
    |spec, desired| {
        spec.mutual_authentication
            .clone_from(&desired.mutual_authentication);
    },
    |spec, desired| spec.ssl_policy.clone_from(&desired.ssl_policy),
    |spec, desired| spec.certificates.clone_from(&desired.certificates),
];

/// What is desired answers as the listener does, unless it speaks otherwise: that is one call or none.
pub(super) fn modify(round: &Round<'_>, listener: &ListenerState, desired: &Spec) -> Vec<Change> {
    let observed = &listener.spec;
    let Some(whole) = between(round, listener, observed, desired.clone()) else {
        return Vec::new();
    };
    if !refused::was_change(&round.observed.refused, &whole) {
        return vec![whole];
    }
    if observed.protocol != desired.protocol {
        return Vec::new();
    }
    let (mut out, mut had) = (Vec::new(), observed.clone());
    for take_over in PARTS {
        let mut spec = had.clone();
        take_over(&mut spec, desired);
        let part = between(round, listener, &had, spec.clone());
        if let Some(part) = part.filter(|part| !refused::was_change(&round.observed.refused, part)) {
            out.push(part);
            had = spec;
        }
    }
    out
}

/// The call that makes one of the other; none where they are the same.
pub(super) fn between(
    round: &Round<'_>,
    listener: &ListenerState,
    had: &Spec,
    wanted: Spec,
) -> Option<Change> {
    let https = wanted.protocol == ListenerProtocol::Https;
    let fields = [
        field("Protocol", &had.protocol, &wanted.protocol),
        field("DefaultActions", &had.default_actions, &wanted.default_actions),
        field("SslPolicy", &had.ssl_policy, &wanted.ssl_policy).filter(|_| https),
        field(
            refused::CLIENTS,
            &had.mutual_authentication,
            &wanted.mutual_authentication,
        )
        .filter(|_| https),
        field(
            "Certificates",
            &had.certificates.first(),
            &wanted.certificates.first(),
        )
        .filter(|_| https),
    ];
    let fields: Vec<_> = fields.into_iter().flatten().collect();
    let alike = agree(
        &had.default_actions,
        &wanted.default_actions,
        &round.observed.applied,
    );
    if fields.is_empty() && alike {
        return None;
    }
    let reason = match fields.as_slice() {
        [] => SECRET_CHANGED,
        [..] => "it differs from what is asked for",
    };
    let id = wanted.port.to_string();
    let call = Call::ModifyListener {
        arn: listener.arn.clone(),
        spec: wanted,
    };
    Some(Change {
        fields,
        ..change::<kind::Listener>(id, call, reason)
    })
}
