//! Options of a load balancer and the account's networks in, the load balancer and its security groups out.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use portcullis_model::{AddressFamily, Code, LoadBalancer, Problem, Scheme, Semantics};

use super::protection::Unprotected;
use super::subnets::{self, Placed};
use super::{Context, Role, with_tags};
use crate::account::Fact;
use crate::limits;
use crate::names;
use crate::observed::LoadBalancerState;
use crate::resource::{
    IpAddressType, IpamPools, LoadBalancerScheme, LoadBalancerSpec, Pairs, Permission, Ref, SecurityGroupId,
    SecurityGroupSpec, Source, SubnetId, kind,
};
use crate::settings::BackendGroup;

pub(super) fn address_type(balancer: &LoadBalancer) -> IpAddressType {
    match balancer.options.address_family {
        AddressFamily::Ipv4 => IpAddressType::Ipv4,
        AddressFamily::Dualstack => IpAddressType::Dualstack,
        AddressFamily::DualstackWithoutPublicIpv4 => IpAddressType::DualstackWithoutPublicIpv4,
    }
}

/// Closes what is new of members whose subnets or security groups are not there: it would be served from elsewhere, or
/// to others, than they asked for.
pub(super) fn close_unmet(context: &Context<'_>, unprotected: &mut Unprotected) {
    let options = &context.balancer.options;
    let relying = |name: &str| options.relied_on_by.get(name).into_iter().flatten().cloned();
    let no_subnets = || matches!(subnets::named(context, &options.subnets), Placed::Refused(..));
    if options.subnet_tags.is_empty() && !options.subnets.is_empty() && no_subnets() {
        unprotected.close_new(relying("subnets"));
    }
    let behind = |state: &LoadBalancerState| {
        let mut asked = options.security_groups.iter();
        asked.all(|given| {
            find_group(context, given).is_ok_and(|group| state.spec.security_groups.contains(&group))
        })
    };
    // What it does not stand behind yet it may be refused.
    if missing_groups(context).is_some() || context.existing().is_some_and(|state| !behind(state)) {
        unprotected.close_new(relying("security-groups"));
    }
}

/// Why a security group that is asked for cannot be had.
fn missing_groups(context: &Context<'_>) -> Option<String> {
    let mut groups = context.balancer.options.security_groups.iter();
    groups.find_map(|given| find_group(context, given).err())
}

/// The security groups asked for; none where they are not there and members who did not ask for them have a load balancer
/// all the same, behind one of its own: what asked for them is closed.
pub(super) fn asked_groups<'a>(context: &Context<'a>) -> &'a [String] {
    let asked = context.balancer.options.security_groups.as_slice();
    let without = match context.existing() {
        None => others_go_without(context.balancer, "security-groups"),
        Some(state) => {
            let own = context.observed.security_groups.iter();
            let mut own = own.filter(|owned| owned.resource() == names::MANAGED_SECURITY_GROUP);
            own.any(|owned| state.spec.security_groups.contains(&owned.get().id))
        }
    };
    if without && missing_groups(context).is_some() {
        &[]
    } else {
        asked
    }
}

/// Whether there are members that did not ask for this, and are to have a load balancer without it.
fn others_go_without(balancer: &LoadBalancer, name: &str) -> bool {
    let asked = balancer.options.relied_on_by.get(name);
    asked.is_some_and(|asked| balancer.members.iter().any(|member| !asked.contains(member)))
}

/// Where it stands and with which addresses; none where it does not exist and cannot be placed. Without IPv6 addresses
/// it is reached by fewer; without public IPv4 ones it is never given them.
fn place(
    context: &Context<'_>,
    scheme: LoadBalancerScheme,
    refuse: &mut dyn FnMut(&str, Code, String),
) -> Option<(Vec<SubnetId>, IpAddressType)> {
    let (balancer, options) = (context.balancer, &context.balancer.options);
    let wanted = address_type(balancer);
    let existing = context.existing();
    let mut placed = subnets::choose(context, scheme, wanted, &options.subnets);
    if existing.is_none()
        && others_go_without(balancer, "subnets")
        && let Placed::Refused(code, message) = &placed
    {
        let found = subnets::choose(context, scheme, wanted, &[]);
        if matches!(found, Placed::Subnets(_)) {
            let message =
                format!("{message}; what asks for them answers 503, the rest stands in those found");
            refuse("subnets", *code, message);
            placed = found;
        }
    }
    let at = match options.subnets.is_empty() && wanted != IpAddressType::Ipv4 {
        true => "ip-address-type",
        false => "subnets",
    };
    match placed {
        Placed::Subnets(subnets) => {
            match lacks_ipv6(context, &subnets).filter(|_| wanted != IpAddressType::Ipv4) {
                None => Some((subnets, wanted)),
                Some(lacking) => {
                    let message = format!("subnet {lacking} has no IPv6 range");
                    refuse("ip-address-type", Code::SubnetsNotFound, message);
                    let without = (wanted == IpAddressType::Dualstack).then_some(IpAddressType::Ipv4);
                    let kept = existing.map(|state| state.spec.ip_address_type).or(without)?;
                    Some((subnets, kept))
                }
            }
        }
        Placed::Refused(code, message) => {
            if let Some(state) = existing {
                refuse(at, code, message);
                return Some((state.spec.subnets.clone(), wanted));
            }
            // Some subnets may fit but for IPv6.
            let fewer = subnets::choose(context, scheme, IpAddressType::Ipv4, &options.subnets);
            match (wanted, fewer) {
                (IpAddressType::Dualstack, Placed::Subnets(subnets)) => {
                    refuse(at, code, format!("{message}; it is made with IPv4 alone"));
                    Some((subnets, IpAddressType::Ipv4))
                }
                _ => {
                    refuse(at, code, message);
                    None
                }
            }
        }
    }
}

/// AWS changes no scheme: another one takes its place.
fn scheme(context: &Context<'_>) -> LoadBalancerScheme {
    let wanted = match context.balancer.options.scheme {
        Scheme::Internal => LoadBalancerScheme::Internal,
        Scheme::InternetFacing => LoadBalancerScheme::InternetFacing,
    };
    context.existing().map_or(wanted, |state| state.spec.scheme)
}

/// A subnet without IPv6, where something is known of subnets.
fn lacks_ipv6<'a>(context: &Context<'_>, subnets: &'a [SubnetId]) -> Option<&'a SubnetId> {
    let Fact::Read(known) = &context.account.subnets else {
        return None;
    };
    let lacking = |id: &&SubnetId| known.iter().any(|subnet| subnet.id == **id && !subnet.ipv6);
    subnets.iter().find(lacking)
}

/// Tells tags that are not written, where they were said.
fn tell_tags(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let options = &context.balancer.options;
    for (key, value) in &options.tags {
        let message = if !limits::is_tag(key, value) {
            format!(
                "tag {key:?}={value:?} is too long, empty, reserved by AWS, or has characters that AWS refuses"
            )
        } else if context.settings.external_tags.contains(key) {
            format!("tag {key:?} is kept by somebody else (--external-managed-tags)")
        } else {
            continue;
        };
        let at = options.tags_at.get(key).unwrap_or(&options.origin).clone();
        problems.push(Problem::new(Code::OptionUnsupported, at, message));
    }
}

/// The load balancer; none where what it needs is missing and it does not exist yet: the last problem says why.
pub(super) fn compile(
    context: &Context<'_>,
    problems: &mut Vec<Problem>,
) -> Option<LoadBalancerSpec<Ref<kind::SecurityGroup>>> {
    let (balancer, options) = (context.balancer, &context.balancer.options);
    let existing = context.existing();
    tell_tags(context, problems);
    let mut refuse = |name: &str, code, message: String| {
        problems.push(Problem::new(code, options.said_at(name).clone(), message));
    };

    if options.http3 {
        // Source: ELBv2 user guide, "Listeners for your Application Load Balancers", protocols.
        let message = "an Application Load Balancer has no HTTP/3; HTTPS is served over HTTP/1.1 and HTTP/2";
        refuse("http3", Code::OptionUnsupported, message.to_owned());
    }

    let scheme = scheme(context);
    let generated = names::load_balancer(&context.settings.cluster, &balancer.id, scheme);
    let taken = |name: &str| existing.is_none() && context.name_is_taken(name);
    let not_ours = |name: &str| {
        format!(
            "a load balancer named {name} exists and has not the tags of {}",
            balancer.id
        )
    };
    let name = match &options.name {
        None if taken(&generated) => {
            refuse("load-balancer-name", Code::NotOurs, not_ours(&generated));
            return None;
        }
        None => generated,
        Some(name) if limits::is_name(name) && !taken(name) => name.clone(),
        Some(name) => {
            let (code, message) = match limits::is_name(name) {
                true => (Code::NotOurs, not_ours(name)),
                false => {
                    let message = format!(
                        "load balancer name {name:?} is not of at most 32 letters, digits and inner hyphens, or starts with internal-"
                    );
                    (Code::NameInvalid, message)
                }
            };
            // A name is given once and for all: who is alone may still correct it, others do not wait for that.
            let made = existing.is_none() && balancer.members.len() > 1 && !taken(&generated);
            let message = match made {
                true => format!("{message}; it is made as {generated}"),
                false => message,
            };
            refuse("load-balancer-name", code, message);
            match existing {
                Some(state) => state.spec.name.clone(),
                None if made => generated,
                None => return None,
            }
        }
    };

    if let Some(message) = missing_groups(context).filter(|_| asked_groups(context).is_empty()) {
        let message = format!(
            "{message}; meanwhile it stands behind a group of its own, and what asks for another and is not served \
             yet answers 503"
        );
        refuse("security-groups", Code::OptionUnsupported, message);
    }
    let security_groups = match groups(context) {
        Ok(groups) => groups,
        Err(message) => {
            let at = match options.open_nodes && context.settings.backend_group == BackendGroup::Off {
                true => "manage-backend-security-group-rules",
                false => "security-groups",
            };
            refuse(at, Code::OptionUnsupported, message);
            existing.map(|state| {
                state
                    .spec
                    .security_groups
                    .iter()
                    .cloned()
                    .map(Ref::Known)
                    .collect()
            })?
        }
    };
    let (subnets, ip_address_type) = place(context, scheme, &mut refuse)?;
    let had_pools = || existing.and_then(|state| state.spec.ipam_pools.clone());
    let ipam_pools = match &options.pools.public {
        None => None,
        Some(id) if !limits::is_pool_id(id) => {
            refuse(
                "ipam-ipv4-pool-id",
                Code::OptionUnsupported,
                format!("{id:?} is not the id of an IPAM pool, which starts with ipam-pool-"),
            );
            had_pools()
        }
        Some(id) if scheme == LoadBalancerScheme::Internal => {
            let message =
                format!("IPAM pool {id} is for internet-facing load balancers, and this one is internal");
            refuse("ipam-ipv4-pool-id", Code::OptionUnsupported, message);
            had_pools()
        }
        Some(id) => Some(IpamPools {
            ipv4_ipam_pool_id: id.clone(),
        }),
    };
    let had_pool = existing.map(|state| &state.spec.customer_owned_ipv4_pool);
    if let (Some(had), Some(wanted)) = (had_pool, &options.pools.on_premises)
        && had.as_ref() != Some(wanted)
    {
        let message = format!(
            "load balancer {} has no customer-owned pool {wanted}, which AWS takes at creation alone",
            balancer.id
        );
        refuse("customer-owned-ipv4-pool", Code::OptionUnsupported, message);
    }
    let mut tags = with_tags(
        context,
        &names::with_role(names::LOAD_BALANCER, context.role),
        &options.tags,
    );
    let retired_at = existing.and_then(|state| state.spec.tags.0.get_key_value(names::RETIRED_AT_TAG));
    if let (Some(Role::Retired), Some((key, since))) = (context.role, retired_at) {
        tags.0.insert(key.clone(), since.clone());
    }
    Some(LoadBalancerSpec {
        name,
        scheme,
        kind: "application",
        ip_address_type,
        security_groups,
        subnets,
        allocations: Vec::new(),
        customer_owned_ipv4_pool: had_pool.unwrap_or(&options.pools.on_premises).clone(),
        ipam_pools,
        tags,
        attributes: Pairs(options.attributes.clone()),
    })
}

/// The groups of the load balancer in order: its own or the given ones, then the one that nodes let in.
fn groups(context: &Context<'_>) -> Result<Vec<Ref<kind::SecurityGroup>>, String> {
    let options = &context.balancer.options;
    let backend = match &context.settings.backend_group {
        BackendGroup::Managed => Some(Ref::logical(names::BACKEND_SECURITY_GROUP)),
        BackendGroup::Given(id) => Some(Ref::Known(id.clone())),
        BackendGroup::Off => None,
    };
    let asked = asked_groups(context);
    if asked.is_empty() {
        let managed = Ref::logical(names::MANAGED_SECURITY_GROUP);
        return Ok([managed].into_iter().chain(backend).collect());
    }
    let mut out = Vec::new();
    for given in asked {
        out.push(Ref::Known(find_group(context, given)?));
    }
    if options.open_nodes {
        match backend {
            Some(backend) => out.push(backend),
            None => {
                return Err(
                    "nodes are opened through the backend security group, which is switched off".into(),
                );
            }
        }
    }
    Ok(out)
}

/// Whether a load balancer of the VPC may have this security group, as far as is known.
fn may_be_had(context: &Context<'_>, id: &SecurityGroupId) -> bool {
    let mut listed = context.account.listing.security_groups.iter();
    let has_it = |state: &LoadBalancerState| state.spec.security_groups.contains(id);
    match context.account.late.usable_groups.get() {
        Some(Ok(Fact::Read(usable))) => {
            usable.contains(id)
                || listed.any(|state| state.id == *id)
                || context.existing().is_some_and(has_it)
                || context.observed.front().is_some_and(has_it)
        }
        Some(Ok(Fact::Symbolic) | Err(_)) | None => true,
    }
}

pub(super) fn find_group(context: &Context<'_>, given: &str) -> Result<SecurityGroupId, String> {
    if given.starts_with("sg-") {
        let id = SecurityGroupId::new(given);
        return match may_be_had(context, &id) {
            true => Ok(id),
            false => Err(format!(
                "no security group {given} is of the VPC, or associated with it"
            )),
        };
    }
    // Offline nothing was looked at, so nothing can be said to be missing.
    if matches!(context.account.subnets, Fact::Symbolic) {
        return Ok(SecurityGroupId::symbolic(&format!("Name={given}")));
    }
    let listed = &context.account.listing.security_groups;
    let mut named = listed
        .iter()
        .filter(|state| state.spec.tags.get("Name") == Some(given));
    match (named.next(), named.next()) {
        (Some(state), None) => Ok(state.id.clone()),
        (Some(_), Some(_)) => Err(format!(
            "more than one security group of the VPC has the Name tag {given:?}"
        )),
        (None, _) => Err(format!("no security group of the VPC has the Name tag {given:?}")),
    }
}

/// The group made for the load balancer, open at the ports it listens on; none where groups are given.
pub(super) fn managed_group(
    context: &Context<'_>,
    ports: &BTreeSet<u16>,
    problems: &mut Vec<Problem>,
) -> Option<SecurityGroupSpec> {
    let options = &context.balancer.options;
    if !asked_groups(context).is_empty() {
        return None;
    }
    // Where it is to have no IPv6 addresses, nobody comes from one.
    let placed = place(context, scheme(context), &mut |_, _, _| {});
    let family = placed.map_or_else(|| address_type(context.balancer), |(_, family)| family);
    let dualstack = family != IpAddressType::Ipv4;
    // What stands in front has the same group, and its clients those of the port it leads to.
    let mut opened: BTreeMap<u16, u16> = front_ports(context).collect();
    opened.extend(ports.iter().map(|port| (*port, *port)));
    let wanted = opened
        .iter()
        .flat_map(|(port, to)| admitted(context.balancer, *to).map(move |range| (*port, range)))
        .filter(|(_, range)| dualstack || matches!(range, IpNet::V4(_)))
        .map(|(port, range)| (range, Permission::tcp(port, port, Source::Range(range))));
    let group = context.observed.security_groups.iter();
    let group = group
        .clone()
        .find(|owned| owned.resource() == names::MANAGED_SECURITY_GROUP);
    let existing = group.map(|owned| &owned.get().spec.permissions);
    // Those that are let in already stay.
    let (had, new): (Vec<_>, Vec<_>) =
        wanted.partition(|(_, permission)| existing.is_some_and(|all| all.contains(permission)));
    let most = context.account.quotas.permissions;
    let mut permissions = BTreeSet::new();
    let mut counts: BTreeMap<bool, usize> = BTreeMap::new();
    let mut left_out = Vec::new();
    for (range, permission) in had.into_iter().chain(new) {
        let count = counts.entry(matches!(range, IpNet::V6(_))).or_default();
        if *count == most {
            left_out.push(range.to_string());
            continue;
        }
        *count += 1;
        permissions.insert(permission);
    }
    for (port, list) in opened
        .iter()
        .flat_map(|(port, to)| admitted_lists(context.balancer, *to).map(move |list| (*port, list)))
    {
        if limits::is_prefix_list_id(list) {
            permissions.insert(Permission::tcp(port, port, Source::PrefixList(list.to_owned())));
        } else {
            let message = format!(
                "{list:?} is not the id of a prefix list, which starts with pl-; nobody is let in by it"
            );
            let at = options.said_at("security-group-prefix-lists").clone();
            problems.push(Problem::new(Code::OptionUnsupported, at, message));
        }
    }
    if !left_out.is_empty() {
        let message = format!(
            "a security group has room for {most} permissions; {} of the admitted ranges are not let in: {}",
            left_out.len(),
            first_few(&left_out)
        );
        problems.push(Problem::new(Code::LimitExceeded, options.origin.clone(), message));
    }
    Some(SecurityGroupSpec {
        group_name: names::managed_security_group(&context.settings.cluster, &context.balancer.id),
        description: names::MANAGED_SECURITY_GROUP_DESCRIPTION.into(),
        vpc_id: context.account.vpc.clone(),
        permissions,
        tags: with_tags(context, names::MANAGED_SECURITY_GROUP, &options.tags),
    })
}

/// Ports in front and where they lead; the incumbent opens those behind alone.
fn front_ports(context: &Context<'_>) -> impl Iterator<Item = (u16, u16)> {
    let front = match context.balancer.semantics {
        Semantics::Kubernetes => context.balancer.options.front.as_ref(),
        Semantics::AwsLoadBalancerController => None,
    };
    let ports = front.into_iter().flat_map(|front| &front.ports);
    ports.map(|(port, asked)| (port.get(), asked.to.get()))
}

fn admitted_lists(balancer: &LoadBalancer, port: u16) -> impl Iterator<Item = &str> {
    let lists = &balancer.options.admitted_lists;
    let of_port = lists.iter().filter(move |(own, _)| own.get() == port);
    of_port.flat_map(|(_, lists)| lists).map(String::as_str)
}

/// Enough to find the place.
fn first_few(all: &[String]) -> String {
    match all.get(..5) {
        Some(few) if all.len() > 5 => format!("{}, …", few.join(", ")),
        Some(_) | None => all.join(", "),
    }
}

/// Who may connect to a port: everybody where nothing is said, nobody where an empty set is. Without host bits, as EC2
/// keeps them.
fn admitted(balancer: &LoadBalancer, port: u16) -> impl Iterator<Item = IpNet> {
    let said = balancer
        .options
        .admitted
        .iter()
        .find(|(p, _)| p.get() == port)
        .map(|(_, ranges)| ranges);
    let everybody = [
        IpNet::V4(ipnet::Ipv4Net::default()),
        IpNet::V6(ipnet::Ipv6Net::default()),
    ];
    let ranges: Vec<IpNet> = said.map_or_else(
        || everybody.to_vec(),
        |ranges| ranges.iter().map(IpNet::trunc).collect(),
    );
    ranges.into_iter()
}
