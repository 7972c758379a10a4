//! What load balancers need of nodes in, what should exist for it, as people and tools see it, out.

use std::collections::BTreeMap;

use portcullis_model::{LoadBalancerId, Resource};
use serde_json::{Value, json};

use super::round::{backend_group, permissions};
use super::{Demand, logical};
use crate::account::Account;
use crate::compile::resource;
use crate::names;
use crate::observed::Shared;
use crate::resource::{Source, kind};
use crate::settings::Settings;

/// What should exist, as people and tools see it.
pub fn resources(
    settings: &Settings,
    demands: &BTreeMap<LoadBalancerId, Demand>,
    shared: &Shared,
    account: &Account,
) -> Vec<Resource<Value>> {
    let backend = backend_group(settings, demands, shared, account);
    let mut out: Vec<Resource<Value>> = backend
        .iter()
        .map(|spec| resource::<kind::SecurityGroup>(names::BACKEND_SECURITY_GROUP, spec))
        .collect();
    let (desired, _) = permissions(settings, demands, shared, account);
    for (group, permissions) in desired {
        for permission in permissions {
            let (first, last) = permission.ports.unwrap_or_default();
            let ports = if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            };
            let source = match &permission.source {
                Source::Group(id) => id.to_string(),
                Source::Range(range) => range.to_string(),
                Source::PrefixList(id) => id.clone(),
            };
            out.push(Resource {
                kind: "SecurityGroupRule",
                id: format!("{}:{ports}", logical(&group)),
                spec: json!({
                    "GroupId": group,
                    "IpProtocol": permission.protocol,
                    "FromPort": first,
                    "ToPort": last,
                    "UserIdGroupPairs": [{"GroupId": source, "Description": permission.description}],
                }),
            });
        }
    }
    out
}
