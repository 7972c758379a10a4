//! Backends of which it is not known which targets they have, or how those are spoken to, and the target groups that
//! exist in, the same as those have it, with the rules that forwarded to them, out.

use portcullis_model::{
    Action, Backend, BackendId, BackendTls, BackendVersion, FixedResponse, KeptTargets, LoadBalancer, Port,
    Semantics, TargetAddress, TargetKind, UnreadBackend,
};

use super::targets::existing;
use crate::observed::Observed;
use crate::resource::{ProtocolVersion, TargetGroupSpec, TargetProtocol, TargetType};
use crate::settings::Settings;

/// What has a target group goes on with it; the rest answers 503.
pub(super) fn keep(settings: &Settings, observed: &Observed, out: &mut LoadBalancer) {
    let semantics = out.semantics;
    for (id, unread) in std::mem::take(&mut out.unread) {
        if let Some(backend) = as_it_is(settings, &unread, semantics, observed) {
            out.backends.insert(id, backend.into());
        }
    }
    let (backends, given) = (&out.backends, &out.given);
    let is_known = |id: &BackendId| backends.contains_key(id) || given.contains_key(id);
    let forwards = |action: &mut Action| {
        if let Action::Fixed(FixedResponse {
            unread: Some(before), ..
        }) = action
            && before.backends.iter().all(|share| is_known(&share.backend))
        {
            *action = Action::Forward(before.clone());
        }
    };
    out.rules.iter_mut().for_each(|rule| forwards(&mut rule.action));
    out.listeners
        .values_mut()
        .for_each(|listener| forwards(&mut listener.default_action));
}

/// The backend as its target group has it; none where it has none, or one of another kind than its targets can be.
fn as_it_is(
    settings: &Settings,
    unread: &UnreadBackend,
    semantics: Semantics,
    observed: &Observed,
) -> Option<Backend> {
    unread.either.iter().find_map(|backend| {
        let spec = existing(settings, backend, semantics, observed)?;
        let unknown = |what| unread.kept.contains(&what);
        if unknown(KeptTargets::Kind) && kind(spec.target_type) != backend.target_kind {
            return None;
        }
        let mut out = backend.clone();
        if unknown(KeptTargets::Tls) {
            out.protocol.tls = match spec.protocol {
                TargetProtocol::Https => BackendTls::Unverified,
                TargetProtocol::Http | TargetProtocol::Tcp => BackendTls::Off,
            };
        }
        if unknown(KeptTargets::Version) {
            out.protocol.version = version(spec.protocol_version);
        }
        if unknown(KeptTargets::ControlPort) {
            out.control_port = spec
                .target_control_port
                .and_then(|port| Port::new(port.into()).ok());
        }
        if unknown(KeptTargets::Nodes) && out.target_kind == TargetKind::Node {
            let targets = out
                .targets
                .iter()
                .filter(|target| is_registered(spec, &target.address));
            out.targets = targets.cloned().collect();
        }
        Some(out)
    })
}

fn is_registered(spec: &TargetGroupSpec, address: &TargetAddress) -> bool {
    let name = address.to_string();
    spec.targets.iter().any(|target| target.id == name)
}

fn kind(of: TargetType) -> TargetKind {
    match of {
        TargetType::Instance => TargetKind::Node,
        TargetType::Ip | TargetType::Alb => TargetKind::Pod,
    }
}

fn version(of: ProtocolVersion) -> BackendVersion {
    match of {
        ProtocolVersion::Http1 | ProtocolVersion::None => BackendVersion::Http1,
        ProtocolVersion::Http2 => BackendVersion::Http2,
        ProtocolVersion::Grpc => BackendVersion::Grpc,
    }
}
