//! Permissions of security groups in, the API's nested `IpPermissions` out, and back.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, PrefixListId, SecurityGroup, UserIdGroupPair};
use ipnet::IpNet;

use super::tag::pairs_from;
use crate::observed::SecurityGroupState;
use crate::resource::{Permission, SecurityGroupId, SecurityGroupSpec, Source, VpcId};

/// What EC2 says for every port, and for every type of ICMP.
const EVERY: i32 = -1;

pub(crate) fn permissions_to(permissions: &BTreeSet<Permission>) -> Vec<IpPermission> {
    permissions.iter().map(permission_to).collect()
}

fn permission_to(permission: &Permission) -> IpPermission {
    let (first, last) = match permission.ports {
        Some((first, last)) => (i32::from(first), i32::from(last)),
        None => (EVERY, EVERY),
    };
    // An empty description is refused by none of AWS's checks, but told apart from none by some.
    let description = Some(permission.description.clone()).filter(|text| !text.is_empty());
    let sdk = IpPermission::builder()
        .ip_protocol(&permission.protocol)
        .from_port(first)
        .to_port(last);
    match &permission.source {
        Source::Range(range @ IpNet::V4(_)) => {
            let range = IpRange::builder().cidr_ip(range.to_string());
            sdk.ip_ranges(range.set_description(description).build())
        }
        Source::Range(range @ IpNet::V6(_)) => {
            let range = Ipv6Range::builder().cidr_ipv6(range.to_string());
            sdk.ipv6_ranges(range.set_description(description).build())
        }
        Source::Group(group) => {
            let pair = UserIdGroupPair::builder().group_id(group.as_str());
            sdk.user_id_group_pairs(pair.set_description(description).build())
        }
        Source::PrefixList(list) => {
            let list = PrefixListId::builder().prefix_list_id(list);
            sdk.prefix_list_ids(list.set_description(description).build())
        }
    }
    .build()
}

/// One permission for each source. What cannot be said in our terms is left out, and so left alone: single types of
/// ICMP, which have no ports, and groups of other accounts without an id.
pub(crate) fn permissions_from(permissions: Option<Vec<IpPermission>>) -> BTreeSet<Permission> {
    let permissions = permissions.unwrap_or_default();
    permissions.into_iter().flat_map(sources_from).collect()
}

fn sources_from(sdk: IpPermission) -> Vec<Permission> {
    let every = |port: &i32| *port == EVERY;
    let ports = match (
        sdk.from_port.filter(|p| !every(p)),
        sdk.to_port.filter(|p| !every(p)),
    ) {
        (None, None) => None,
        (Some(first), Some(last)) => match (u16::try_from(first), u16::try_from(last)) {
            (Ok(first), Ok(last)) => Some((first, last)),
            _ => return Vec::new(),
        },
        (Some(_), None) | (None, Some(_)) => return Vec::new(),
    };
    let Some(protocol) = sdk.ip_protocol else {
        return Vec::new();
    };
    let range = |text: Option<String>, description: Option<String>| {
        Some((Source::Range(text?.parse().ok()?), description))
    };
    let ranges = sdk.ip_ranges.unwrap_or_default().into_iter();
    let ranges = ranges.filter_map(|it| range(it.cidr_ip, it.description));
    let ranges6 = sdk.ipv6_ranges.unwrap_or_default().into_iter();
    let ranges6 = ranges6.filter_map(|it| range(it.cidr_ipv6, it.description));
    let groups = sdk.user_id_group_pairs.unwrap_or_default().into_iter();
    let groups =
        groups.filter_map(|it| Some((Source::Group(SecurityGroupId::new(it.group_id?)), it.description)));
    let lists = sdk.prefix_list_ids.unwrap_or_default().into_iter();
    let lists = lists.filter_map(|it| Some((Source::PrefixList(it.prefix_list_id?), it.description)));
    ranges
        .chain(ranges6)
        .chain(groups)
        .chain(lists)
        .map(|(source, description)| Permission {
            protocol: protocol.clone(),
            ports,
            source,
            description: description.unwrap_or_default(),
        })
        .collect()
}

/// A security group whole; none where it lacks what every one has.
pub(crate) fn security_group_from(sdk: SecurityGroup) -> Option<SecurityGroupState> {
    Some(SecurityGroupState {
        id: SecurityGroupId::new(sdk.group_id?),
        spec: SecurityGroupSpec {
            group_name: sdk.group_name?,
            description: sdk.description.unwrap_or_default(),
            vpc_id: VpcId::new(sdk.vpc_id?),
            permissions: permissions_from(sdk.ip_permissions),
            tags: pairs_from(sdk.tags),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_survive_the_way_to_aws_and_back() {
        let marked = Permission {
            description: "elbv2.k8s.aws/targetGroupBinding=shared".into(),
            ..Permission::tcp(8080, 8081, Source::Group(SecurityGroupId::new("sg-1")))
        };
        let every = Permission {
            protocol: "-1".into(),
            ports: None,
            ..Permission::tcp(1, 1, Source::PrefixList("pl-1".into()))
        };
        let all: BTreeSet<_> = [
            Permission::tcp(80, 80, Source::Range("0.0.0.0/0".parse().unwrap())),
            Permission::tcp(0, 65535, Source::Range("::/0".parse().unwrap())),
            marked,
            every,
        ]
        .into();
        assert_eq!(permissions_from(Some(permissions_to(&all))), all);
    }

    #[test]
    fn what_is_no_range_of_ports_is_left_alone() {
        let range = IpRange::builder().cidr_ip("0.0.0.0/0").build();
        let ping = IpPermission::builder()
            .ip_protocol("icmp")
            .from_port(8)
            .to_port(-1);
        assert_eq!(
            permissions_from(Some(vec![ping.ip_ranges(range).build()])),
            BTreeSet::new()
        );
    }
}
