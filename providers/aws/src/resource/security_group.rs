//! Security groups and their permissions: ports and sources in, the API's nested `IpPermissions` out.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::{Serialize, Serializer};

use super::{Pairs, SecurityGroupId, VpcId};

/// From where a permission lets in.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    Range(IpNet),
    Group(SecurityGroupId),
    PrefixList(String),
}

/// One permission to come in: one source at one range of ports. Descriptions of none are as an empty one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Permission {
    /// `tcp`, `udp`, `icmp`, a number, or `-1` for all.
    pub protocol: String,
    /// First and last port; none where the protocol has no ports.
    pub ports: Option<(u16, u16)>,
    pub source: Source,
    pub description: String,
}

impl Permission {
    pub fn tcp(first: u16, last: u16, source: Source) -> Self {
        Self {
            protocol: "tcp".into(),
            ports: Some((first, last)),
            source,
            description: String::new(),
        }
    }
}

/// A security group and who may come in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SecurityGroupSpec {
    pub group_name: String,
    pub description: String,
    pub vpc_id: VpcId,
    #[serde(rename = "IpPermissions", serialize_with = "ip_permissions")]
    pub permissions: BTreeSet<Permission>,
    pub tags: Pairs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IpRange<'a> {
    cidr_ip: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ipv6Range<'a> {
    cidr_ipv6: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct GroupPair<'a> {
    group_id: &'a SecurityGroupId,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PrefixList<'a> {
    prefix_list_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct IpPermission<'a> {
    ip_protocol: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to_port: Option<u16>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ip_ranges: Vec<IpRange<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ipv6_ranges: Vec<Ipv6Range<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    user_id_group_pairs: Vec<GroupPair<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    prefix_list_ids: Vec<PrefixList<'a>>,
}

/// Writes permissions as the API groups them: all sources of one range of ports together.
pub(crate) fn ip_permissions<S: Serializer>(
    permissions: &BTreeSet<Permission>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    type Ports<'a> = (&'a str, Option<(u16, u16)>);
    let mut groups: BTreeMap<Ports<'_>, Vec<&Permission>> = BTreeMap::new();
    for permission in permissions {
        groups
            .entry((&permission.protocol, permission.ports))
            .or_default()
            .push(permission);
    }
    serializer.collect_seq(groups.into_iter().map(|((protocol, ports), members)| {
        let mut out = IpPermission {
            ip_protocol: protocol,
            from_port: ports.map(|p| p.0),
            to_port: ports.map(|p| p.1),
            ip_ranges: Vec::new(),
            ipv6_ranges: Vec::new(),
            user_id_group_pairs: Vec::new(),
            prefix_list_ids: Vec::new(),
        };
        for Permission {
            source, description, ..
        } in members
        {
            match source {
                Source::Range(IpNet::V4(range)) => {
                    out.ip_ranges.push(IpRange {
                        cidr_ip: range.to_string(),
                        description,
                    });
                }
                Source::Range(IpNet::V6(range)) => {
                    out.ipv6_ranges.push(Ipv6Range {
                        cidr_ipv6: range.to_string(),
                        description,
                    });
                }
                Source::Group(group_id) => out.user_id_group_pairs.push(GroupPair {
                    group_id,
                    description,
                }),
                Source::PrefixList(id) => {
                    out.prefix_list_ids.push(PrefixList {
                        prefix_list_id: id,
                        description,
                    });
                }
            }
        }
        out
    }))
}
