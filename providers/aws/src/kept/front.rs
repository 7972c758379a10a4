//! What is to stand in front, as far as that is known, and what stands there in, what goes on standing there out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    BackendProtocol, Front, FrontPort, HealthCheck, Kept, KeptFront, KeptHealth, LoadBalancer, Origin, Port,
    Stands,
};

use super::{of_users, scheme, targets};
use crate::names;
use crate::observed::{LoadBalancerState, Observed, Owned, TargetGroupState};
use crate::settings::Settings;

pub(super) fn is_known(front: &Front) -> bool {
    front.kept.is_empty() && front.ports.values().all(|port| port.health.kept.is_empty())
}

pub(super) fn unknown(front: &Front) -> (&BTreeSet<KeptFront>, Vec<&BTreeSet<KeptHealth>>) {
    let ports = front.ports.values().map(|port| &port.health.kept);
    (&front.kept, ports.collect())
}

/// What stands in front takes the place of what is not known of it.
pub(super) fn keep(settings: &Settings, observed: &Observed, out: &mut LoadBalancer) {
    let options = &mut out.options;
    let unsaid = options.kept.contains(&Kept::Front);
    match (observed.front(), &mut options.front) {
        (Some(state), None) if unsaid => {
            options.front = Some(as_it_is(settings, state, observed, &options.origin));
        }
        (Some(state), Some(front)) => {
            for kept in std::mem::take(&mut front.kept) {
                keep_one(settings, kept, state, observed, front);
            }
            for (port, asked) in &mut front.ports {
                if let Some(group) = group(observed, port.get()) {
                    targets::health(&mut asked.health, &group.spec.health);
                }
            }
        }
        // There is none, and so it stays where something stands behind it.
        (None, front) if unsaid && observed.load_balancer().is_some() => *front = None,
        (Some(_) | None, _) => {}
    }
}

fn keep_one(
    settings: &Settings,
    kept: KeptFront,
    state: &LoadBalancerState,
    observed: &Observed,
    front: &mut Front,
) {
    let spec = &state.spec;
    match kept {
        KeptFront::Scheme => front.scheme = scheme(spec.scheme),
        KeptFront::Subnets => front.subnets = spec.subnets.iter().map(ToString::to_string).collect(),
        KeptFront::SecurityGroups | KeptFront::Addresses => front.stands = Stands::AsItIs,
        KeptFront::Tags => front.tags = Some(of_users(settings, &spec.tags).collect()),
        KeptFront::Ports => {
            let had = ports(state, observed, front);
            front.ports.extend(had);
        }
    }
}

/// All of it is as it stands there.
fn as_it_is(settings: &Settings, state: &LoadBalancerState, observed: &Observed, origin: &Origin) -> Front {
    let mut front = Front {
        scheme: scheme(state.spec.scheme),
        subnets: Vec::new(),
        security_groups: Vec::new(),
        addresses: Vec::new(),
        attributes: BTreeMap::new(),
        tags: None,
        ports: BTreeMap::new(),
        stands: Stands::AsItIs,
        kept: BTreeSet::new(),
        origin: origin.clone(),
    };
    for kept in [KeptFront::Subnets, KeptFront::Tags, KeptFront::Ports] {
        keep_one(settings, kept, state, observed, &mut front);
    }
    front
}

/// Its ports and where they lead. One that leads nowhere yet waits for what is behind it to be set up.
fn ports(state: &LoadBalancerState, observed: &Observed, front: &Front) -> BTreeMap<Port, FrontPort> {
    let mut out = BTreeMap::new();
    for number in state.listeners.keys() {
        let Ok(port) = Port::new((*number).into()) else {
            continue;
        };
        let asked = front.ports.get(&port);
        let group = group(observed, *number);
        let target = group.and_then(|group| group.spec.targets.first());
        let leads_to = target.and_then(|target| Port::new(target.port.into()).ok());
        let health = || {
            let mut health = HealthCheck::for_protocol(&BackendProtocol::default());
            health.kept = KeptHealth::ALL.into();
            health
        };
        let mut health = asked.map_or_else(health, |asked| asked.health.clone());
        if let Some(group) = group {
            targets::health(&mut health, &group.spec.health);
        }
        let port_of = FrontPort {
            to: leads_to.or(asked.map(|asked| asked.to)).unwrap_or(port),
            health,
            origin: asked.map_or(&front.origin, |asked| &asked.origin).clone(),
        };
        out.insert(port, port_of);
    }
    out
}

/// The target group that a port in front leads to.
fn group(observed: &Observed, port: u16) -> Option<&TargetGroupState> {
    let id = names::front_target_group_id(port);
    let mut all = observed.target_groups.iter();
    let owned = all.find(|owned| owned.resource() == id);
    owned.map(Owned::get)
}
