//! Targets that somebody wants in a target group of others, and what is registered there, in; the calls that bring them
//! there out.

use std::collections::BTreeSet;

use ipnet::IpNet;
use portcullis_model::{Bound, Guest, Network, Plan, Target, TargetState};

use crate::change::{Call, Change};
use crate::limits::TARGETS_PER_CALL;
use crate::plan::change;
use crate::resource::{TargetDescription, TargetGroupArn, kind};
use crate::settings::Settings;

/// The rights to take on toward a target group of another account. The external id is no word of the namespace's: else
/// one could name another's, and have its rights. Without a `/` in a namespace, no two have the same.
pub fn guest(settings: &Settings, role: &str, namespace: &str) -> Result<Guest, String> {
    if !settings.roles.contains(role) {
        return Err(format!(
            "role {role} is not among those that may be assumed (--target-group-binding-roles)"
        ));
    }
    Ok(Guest {
        role: role.to_owned(),
        external_id: format!("{}/{namespace}", settings.cluster),
    })
}

/// How a target is called, as the incumbent remembers it.
pub fn target_key(target: &Target) -> String {
    format!("{}:{}", target.address, target.port)
}

/// Registers first. Of targets that others may have registered only those in `own` are taken out.
pub fn plan_bound(
    bound: &Bound,
    targets: &[Target],
    registered: &BTreeSet<String>,
    own: Option<&BTreeSet<String>>,
    ranges: &[IpNet],
) -> Plan<Change> {
    let wanted: BTreeSet<String> = targets
        .iter()
        .filter(|target| target.state == TargetState::Ready)
        .map(target_key)
        .collect();
    let leaving = registered
        .difference(&wanted)
        .filter(|key| own.is_none_or(|own| own.contains(*key)));
    let arn = TargetGroupArn::new(bound.existing.handle.as_str());
    let mut changes = Vec::new();
    for targets in chunks(wanted.difference(registered), bound.network, ranges) {
        let reason = format!("{} targets may have requests", targets.len());
        let call = Call::RegisterTargets {
            arn: arn.clone(),
            targets,
        };
        changes.push(change::<kind::TargetGroup>(&bound.existing.name, call, reason));
    }
    for targets in chunks(leaving, bound.network, ranges) {
        let reason = format!("{} targets may have no more requests", targets.len());
        let call = Call::DeregisterTargets {
            arn: arn.clone(),
            targets,
        };
        changes.push(change::<kind::TargetGroup>(&bound.existing.name, call, reason));
    }
    for change in &mut changes {
        change.guest.clone_from(&bound.guest);
    }
    Plan { changes }
}

fn chunks<'a>(
    keys: impl Iterator<Item = &'a String>,
    network: Network,
    ranges: &[IpNet],
) -> Vec<BTreeSet<TargetDescription>> {
    let all: Vec<TargetDescription> = keys.filter_map(|key| description(key, network, ranges)).collect();
    all.chunks(TARGETS_PER_CALL)
        .map(|part| part.iter().cloned().collect())
        .collect()
}

/// Addresses outside the target group's VPC are of every zone. Source: ELBv2 API, TargetDescription.AvailabilityZone.
fn description(key: &str, network: Network, ranges: &[IpNet]) -> Option<TargetDescription> {
    let (id, port) = key.rsplit_once(':')?;
    let address: Option<std::net::IpAddr> = id.parse().ok();
    let outside = address.is_some_and(|ip| match network {
        Network::Own => !ranges.is_empty() && !ranges.iter().any(|range| range.contains(&ip)),
        Network::Other => true,
    });
    Some(TargetDescription {
        id: id.to_owned(),
        port: port.parse().ok()?,
        availability_zone: outside.then(|| "all".into()),
    })
}

#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the variants it is about"
)]
mod tests {
    use super::*;
    use portcullis_model::{Existing, Port, TargetAddress, TargetKind};

    #[test]
    fn targets_come_before_others_go_and_those_of_others_stay() {
        let bound = |network| Bound {
            existing: Existing {
                id: String::new(),
                name: "old".into(),
                handle: "arn:x".into(),
            },
            target_kind: TargetKind::Pod,
            ipv6: false,
            guest: None,
            network,
        };
        let set = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        let (a, b) = ("10.0.0.1:80", "10.0.0.2:80");
        let (mine, theirs) = (Network::Own, Network::Other);
        for (network, wanted, registered, own, want) in [
            (mine, &["10.0.0.1"][..], &[][..], None, "+10.0.0.1"),
            (mine, &["10.0.0.1"][..], &[a][..], None, ""),
            (mine, &["10.0.0.1"][..], &[b][..], None, "+10.0.0.1 -10.0.0.2"),
            (mine, &["10.0.0.1"][..], &[b][..], Some(set(&[])), "+10.0.0.1"),
            (mine, &[][..], &[a, b][..], Some(set(&[b])), "-10.0.0.2"),
            (mine, &["10.9.0.1"][..], &[][..], None, "+10.9.0.1(all)"),
            (theirs, &["10.0.0.1"][..], &[][..], None, "+10.0.0.1(all)"),
        ] {
            let target = |ip: &&str| Target {
                address: TargetAddress::Ip(ip.parse().unwrap()),
                port: Port::new(80).unwrap(),
                zone: None,
                instance: None,
                state: TargetState::Ready,
            };
            let targets: Vec<Target> = wanted.iter().map(target).collect();
            let ranges = ["10.0.0.0/16".parse().unwrap()];
            let plan = plan_bound(&bound(network), &targets, &set(registered), own.as_ref(), &ranges);
            let shown = plan.changes.iter().map(|change| {
                let (sign, targets) = match &change.call {
                    Call::RegisterTargets { targets, .. } => ('+', targets),
                    Call::DeregisterTargets { targets, .. } => ('-', targets),
                    other => panic!("{other:?}"),
                };
                let zone = |t: &TargetDescription| {
                    t.availability_zone
                        .as_ref()
                        .map_or(String::new(), |z| format!("({z})"))
                };
                let targets: Vec<String> = targets
                    .iter()
                    .map(|t| format!("{sign}{}{}", t.id, zone(t)))
                    .collect();
                targets.join(" ")
            });
            let shown: Vec<String> = shown.collect();
            assert_eq!(shown.join(" "), want, "{wanted:?} {registered:?} {own:?}");
        }
    }

    #[test]
    fn a_role_is_assumed_where_it_is_listed_for_one_namespace_of_one_cluster() {
        let settings = Settings {
            cluster: "demo".into(),
            roles: ["arn:aws:iam::210987654321:role/lb".to_owned()].into(),
            ..Settings::default()
        };
        for (role, want) in [
            ("arn:aws:iam::210987654321:role/lb", Some("demo/shop")),
            ("arn:aws:iam::210987654321:role/lb2", None),
            ("arn:aws:iam::210987654321:role/l", None),
            ("", None),
        ] {
            let guest = guest(&settings, role, "shop").ok();
            assert_eq!(guest.as_ref().map(|guest| &*guest.external_id), want, "{role}");
        }
    }
}
