//! VPC, subnets, route tables, network interfaces and account limits in, facts about the account out.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{NetworkInterface, RouteTable, Subnet as SdkSubnet, Vpc};
use aws_sdk_elasticloadbalancingv2::types::Limit;
use ipnet::IpNet;

use super::tag::pairs_from;
use crate::account::{Interface, Reach, Subnet, ZoneKind};
use crate::limits::Quotas;
use crate::resource::{SecurityGroupId, SubnetId};

/// Blocks that are being given back still hold addresses, so every one counts.
pub(crate) fn ranges_from(vpc: Vpc) -> Vec<IpNet> {
    let v4 = vpc.cidr_block_association_set.unwrap_or_default().into_iter();
    let v6 = vpc
        .ipv6_cidr_block_association_set
        .unwrap_or_default()
        .into_iter();
    let blocks = v4
        .filter_map(|it| it.cidr_block)
        .chain(v6.filter_map(|it| it.ipv6_cidr_block));
    let mut ranges: Vec<IpNet> = vpc
        .cidr_block
        .into_iter()
        .chain(blocks)
        .filter_map(|block| block.parse().ok())
        .collect();
    ranges.sort();
    ranges.dedup();
    ranges
}

/// A Region's code followed by a letter is an Availability Zone; local and Wavelength zones have longer names.
/// Source: Amazon EC2 User Guide, "Regions and Zones".
fn zone_kind(zone: &str, region: &str) -> ZoneKind {
    match zone.strip_prefix(region).map(str::as_bytes) {
        Some([letter]) if letter.is_ascii_lowercase() => ZoneKind::AvailabilityZone,
        Some(_) | None => ZoneKind::Special,
    }
}

/// None where it lacks what every subnet has.
pub(crate) fn subnet_from(sdk: SdkSubnet, region: &str) -> Option<Subnet> {
    let zone = sdk.availability_zone?;
    Some(Subnet {
        id: SubnetId::new(sdk.subnet_id?),
        kind: match sdk.outpost_arn {
            Some(_) => ZoneKind::Special,
            None => zone_kind(&zone, region),
        },
        zone,
        free_addresses: u32::try_from(sdk.available_ip_address_count?).ok()?,
        ipv6: sdk
            .ipv6_cidr_block_association_set
            .is_some_and(|blocks| !blocks.is_empty()),
        tags: pairs_from(sdk.tags).0,
        reach: None,
    })
}

/// Where the default route of each subnet leads, and of those that have no route table of their own.
pub(crate) fn reaches_from(tables: Vec<RouteTable>) -> (BTreeMap<SubnetId, Reach>, Option<Reach>) {
    let (mut own, mut main) = (BTreeMap::new(), None);
    for table in tables {
        let public = table.routes.unwrap_or_default().iter().any(|route| {
            let default = route.destination_cidr_block.as_deref() == Some("0.0.0.0/0");
            let gateway = route.gateway_id.as_deref().unwrap_or_default();
            default && gateway.starts_with("igw-")
        });
        let reach = if public { Reach::Public } else { Reach::Private };
        for association in table.associations.unwrap_or_default() {
            match association.subnet_id {
                Some(subnet) => drop(own.insert(SubnetId::new(subnet), reach)),
                None if association.main == Some(true) => main = Some(reach),
                // A gateway's, which is no subnet's.
                None => {}
            }
        }
    }
    (own, main)
}

pub(crate) fn interface_from(sdk: NetworkInterface) -> Interface {
    let groups = sdk.groups.unwrap_or_default().into_iter();
    let v4 = sdk.private_ip_addresses.unwrap_or_default().into_iter();
    let v6 = sdk.ipv6_addresses.unwrap_or_default().into_iter();
    let addresses = sdk
        .private_ip_address
        .into_iter()
        .chain(v4.filter_map(|it| it.private_ip_address))
        .chain(v6.filter_map(|it| it.ipv6_address));
    let mut addresses: Vec<_> = addresses.filter_map(|text| text.parse().ok()).collect();
    addresses.sort();
    addresses.dedup();
    let v4 = sdk.ipv4_prefixes.unwrap_or_default().into_iter();
    let v6 = sdk.ipv6_prefixes.unwrap_or_default().into_iter();
    let prefixes = v4
        .filter_map(|it| it.ipv4_prefix)
        .chain(v6.filter_map(|it| it.ipv6_prefix));
    let (instance, index) = match sdk.attachment {
        Some(attachment) => (attachment.instance_id, attachment.device_index),
        None => (None, None),
    };
    Interface {
        groups: groups
            .filter_map(|it| it.group_id)
            .map(SecurityGroupId::new)
            .collect(),
        addresses,
        prefixes: prefixes.filter_map(|text| text.parse().ok()).collect(),
        primary: index == Some(0),
        instance,
    }
}

/// A quota that AWS does not name keeps its default. Source of the names: ELBv2 API, Limit.
pub(crate) fn quotas_from(limits: Vec<Limit>) -> Quotas {
    let mut quotas = Quotas::default();
    for limit in limits {
        let Some(most) = limit.max.and_then(|max| max.parse().ok()) else {
            continue;
        };
        match limit.name.as_deref().unwrap_or_default() {
            "rules-per-application-load-balancer" => quotas.rules = most,
            "listeners-per-application-load-balancer" => quotas.listeners = most,
            "target-groups-per-application-load-balancer" => quotas.target_groups = most,
            "targets-per-application-load-balancer" => quotas.targets = most,
            "certificates-per-application-load-balancer" => quotas.certificates = most,
            _ => {}
        }
    }
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_that_is_no_availability_zone_is_special() {
        for (zone, region, want) in [
            ("us-east-1a", "us-east-1", ZoneKind::AvailabilityZone),
            ("us-west-2-lax-1a", "us-west-2", ZoneKind::Special),
            ("us-east-1-wl1-bos-wlz-1", "us-east-1", ZoneKind::Special),
        ] {
            assert_eq!(zone_kind(zone, region), want, "{zone} in {region}");
        }
    }

    #[test]
    fn quotas_are_those_of_the_account() {
        let limit = |name: &str, max: &str| Limit::builder().name(name).max(max).build();
        let given = vec![
            limit("rules-per-application-load-balancer", "200"),
            limit("targets-per-application-load-balancer", "many"),
            limit("target-groups", "3000"),
        ];
        let want = Quotas {
            rules: 200,
            ..Quotas::default()
        };
        assert_eq!(quotas_from(given), want);
    }
}
