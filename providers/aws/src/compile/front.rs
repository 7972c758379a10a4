//! What stands in front of the load balancer in, a Network Load Balancer with its listeners and target groups out.
//!
//! Each of its ports leads to a port of the Application Load Balancer, which is the one target of a target group.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{BackendVersion, Code, Front, FrontPort, Problem, Scheme, Semantics, Stands};

use super::subnets::{self, Placed};
use super::target_groups::{health_check, mend};
use super::{Context, load_balancer, with_tags};
use crate::names;
use crate::observed::LoadBalancerState;
use crate::resource::{
    ForwardConfig, IpAddressType, IpamPools, ListenerProtocol, ListenerSpec, LoadBalancerScheme,
    LoadBalancerSpec, Pairs, ProtocolVersion, Ref, RuleAction, SecurityGroupId, TargetDescription,
    TargetGroupSpec, TargetGroupTuple, TargetProtocol, TargetType, kind,
};

/// A Network Load Balancer and all that is its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredFront {
    pub load_balancer: LoadBalancerSpec<Ref<kind::SecurityGroup>>,
    /// By port.
    pub listeners: BTreeMap<u16, ListenerSpec<Ref<kind::TargetGroup>>>,
    /// By logical id.
    pub target_groups: BTreeMap<String, TargetGroupSpec>,
}

/// None where nothing is to stand in front; what exists then goes.
pub(super) fn compile(
    context: &Context<'_>,
    behind: &LoadBalancerSpec<Ref<kind::SecurityGroup>>,
    problems: &mut Vec<Problem>,
) -> Option<DesiredFront> {
    let front = context.balancer.options.front.as_ref()?;
    let load_balancer = balancer(context, front, behind, problems)?;
    let mut listeners = BTreeMap::new();
    let mut target_groups = BTreeMap::new();
    for (port, asked) in &front.ports {
        let (port, id) = (port.get(), names::front_target_group_id(port.get()));
        if !context.balancer.listeners.contains_key(&asked.to) {
            let message = format!("port {port} leads to port {}, which is not listened on", asked.to);
            problems.push(Problem::new(
                Code::OptionUnsupported,
                asked.origin.clone(),
                message,
            ));
            continue;
        }
        target_groups.insert(id.clone(), target_group(context, port, asked, &id, problems));
        let forward = ForwardConfig {
            target_groups: vec![TargetGroupTuple {
                target_group_arn: Ref::logical(id),
                weight: None,
            }],
            stickiness: None,
        };
        let listener = ListenerSpec {
            port,
            protocol: ListenerProtocol::Tcp,
            default_actions: vec![RuleAction::Forward { config: forward }],
            ssl_policy: None,
            mutual_authentication: None,
            certificates: Vec::new(),
            tags: with_tags(context, &names::front_listener_id(port), &BTreeMap::new()),
        };
        listeners.insert(port, listener);
    }
    Some(DesiredFront {
        load_balancer,
        listeners,
        target_groups,
    })
}

/// None where what it needs is missing and it does not exist yet.
fn balancer(
    context: &Context<'_>,
    front: &Front,
    behind: &LoadBalancerSpec<Ref<kind::SecurityGroup>>,
    problems: &mut Vec<Problem>,
) -> Option<LoadBalancerSpec<Ref<kind::SecurityGroup>>> {
    let existing = context.observed.front();
    let as_it_is = match front.stands {
        Stands::AsAsked => None,
        Stands::AsItIs => Some(existing?),
    };
    let said = &context.balancer.options.origins;
    let mut refuse = |name: &str, code, message: String| {
        let at = said.get(name).unwrap_or(&front.origin).clone();
        problems.push(Problem::new(code, at, message));
    };
    let wanted = match front.scheme {
        Scheme::Internal => LoadBalancerScheme::Internal,
        Scheme::InternetFacing => LoadBalancerScheme::InternetFacing,
    };
    let scheme = existing.map_or(wanted, |state| state.spec.scheme);
    if scheme != wanted {
        let message = format!(
            "the load balancer in front is {} and AWS cannot make it {}: switch it off, then on again",
            scheme.as_str(),
            wanted.as_str()
        );
        refuse("frontend-nlb-scheme", Code::OptionUnsupported, message);
    }
    let name = names::front(&behind.name);
    if existing.is_none() && context.name_is_taken(&name) {
        let message = format!(
            "a load balancer named {name} exists and has not the tags of {}",
            context.balancer.id
        );
        refuse("enable-frontend-nlb", Code::NotOurs, message);
        return None;
    }
    let security_groups = match as_it_is.map_or_else(|| groups(context, front), |state| Ok(known(state))) {
        Ok(groups) if groups.is_empty() => behind.security_groups.clone(),
        Ok(groups) => groups,
        Err(message) => {
            refuse("frontend-nlb-security-groups", Code::OptionUnsupported, message);
            existing.map(known)?
        }
    };
    let subnets = if front.subnets.is_empty() {
        behind.subnets.clone()
    } else {
        match subnets::named(context, &front.subnets) {
            Placed::Subnets(subnets) => subnets,
            Placed::Refused(code, message) => {
                refuse("frontend-nlb-subnets", code, message);
                existing.map(|state| state.spec.subnets.clone())?
            }
        }
    };
    let had = as_it_is.map(|state| state.spec.allocations.clone());
    let allocations = match had.map_or_else(|| addresses(front, scheme, subnets.len()), Ok) {
        Ok(allocations) => allocations,
        Err(message) => {
            refuse("frontend-nlb-eip-allocations", Code::OptionUnsupported, message);
            existing.map(|state| state.spec.allocations.clone())?
        }
    };
    let tags = front.tags.as_ref().unwrap_or(&context.balancer.options.tags);
    Some(LoadBalancerSpec {
        name,
        scheme,
        kind: "network",
        ip_address_type: load_balancer::address_type(context.balancer),
        security_groups,
        subnets,
        allocations,
        customer_owned_ipv4_pool: None,
        ipam_pools: None::<IpamPools>,
        tags: with_tags(context, names::FRONT, tags),
        attributes: Pairs(front.attributes.clone()),
    })
}

fn known(state: &LoadBalancerState) -> Vec<Ref<kind::SecurityGroup>> {
    let groups = state.spec.security_groups.iter().cloned();
    groups.map(Ref::Known).collect()
}

/// The given ones; none where it has those of the load balancer behind it. The incumbent takes the first alone.
fn groups(context: &Context<'_>, front: &Front) -> Result<Vec<Ref<kind::SecurityGroup>>, String> {
    let most = match context.balancer.semantics {
        Semantics::Kubernetes => usize::MAX,
        Semantics::AwsLoadBalancerController => 1,
    };
    let found: Result<Vec<SecurityGroupId>, String> = front
        .security_groups
        .iter()
        .take(most)
        .map(|given| load_balancer::find_group(context, given))
        .collect();
    Ok(found?.into_iter().map(Ref::Known).collect())
}

/// One for each subnet, in their order. Source: ELBv2 API, SubnetMapping.AllocationId.
fn addresses(front: &Front, scheme: LoadBalancerScheme, subnets: usize) -> Result<Vec<String>, String> {
    let given = &front.addresses;
    if given.is_empty() {
        return Ok(Vec::new());
    }
    if scheme == LoadBalancerScheme::Internal {
        return Err("elastic addresses are for a load balancer that faces the internet".into());
    }
    if given.len() != subnets {
        return Err(format!(
            "{} elastic addresses are given for {subnets} subnets; each needs one",
            given.len()
        ));
    }
    Ok(given.clone())
}

fn target_group(
    context: &Context<'_>,
    port: u16,
    asked: &FrontPort,
    id: &str,
    problems: &mut Vec<Problem>,
) -> TargetGroupSpec {
    let mut health = health_check(&asked.health, BackendVersion::Http1);
    for message in mend(&mut health) {
        let message = format!("port {port} of the load balancer in front: {message}");
        problems.push(Problem::new(
            Code::BackendUnsupported,
            asked.origin.clone(),
            message,
        ));
    }
    let to = asked.to.get();
    // AWS takes it only when a listener stands at the port.
    let target = context
        .existing()
        .filter(|state| state.listeners.contains_key(&to))
        .map(|state| TargetDescription {
            id: state.arn.to_string(),
            port: to,
            availability_zone: None,
        });
    TargetGroupSpec {
        name: names::front_target_group(&context.settings.cluster, &context.balancer.id, port, &health),
        protocol: TargetProtocol::Tcp,
        protocol_version: ProtocolVersion::None,
        target_type: TargetType::Alb,
        ip_address_type: IpAddressType::Ipv4,
        port,
        target_control_port: None,
        vpc_id: context.account.vpc.clone(),
        health,
        tags: with_tags(context, id, &BTreeMap::new()),
        attributes: Pairs::default(),
        targets: BTreeSet::from_iter(target),
    }
}
