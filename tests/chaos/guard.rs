//! A call that was just made in, what must hold at every moment and does not out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use portcullis_test_support::Call;

use crate::actions::{STEADY, TIGHT_PORT, TIGHT_RANGE};
use crate::secured;
use crate::world::World;

/// Checks after each write.
pub(crate) fn of(world: &Arc<World>) -> impl Fn(&Call) -> Result<(), String> + Send + Sync + 'static {
    let world = Arc::clone(world);
    let served = AtomicBool::new(false);
    move |call| {
        never_wider(call)?;
        if call.service == "elbv2" && (call.action.ends_with("Listener") || call.action.contains("Rule")) {
            secured::guarded(&world)?;
        }
        // Until it is served, and once all are going, it need not be.
        let going = world
            .get(&format!("{}/{STEADY}", crate::world::INGRESSES))
            .is_none();
        match (steady(&world), going) {
            (Ok(()), _) => served.store(true, Ordering::Relaxed),
            (Err(how), false) if served.load(Ordering::Relaxed) => return Err(how),
            (Err(_), _) => {}
        }
        Ok(())
    }
}

/// Whoever may reach the tight port is one of those that may.
fn never_wider(call: &Call) -> Result<(), String> {
    if call.to_string() != "ec2:AuthorizeSecurityGroupIngress" {
        return Ok(());
    }
    let values = |name: &str| -> Vec<String> {
        let pairs = call.body.split('&').filter_map(|pair| pair.split_once('='));
        let named = pairs.filter(|(key, _)| key.starts_with("IpPermissions.") && key.ends_with(name));
        named
            .map(|(_, value)| value.replace("%2F", "/").replace("%3A", ":"))
            .collect()
    };
    if values(".FromPort").contains(&TIGHT_PORT.to_string()) {
        let ranges = [values(".CidrIp"), values(".CidrIpv6")].concat();
        if ranges.iter().any(|range| range != TIGHT_RANGE) {
            return Err(format!("port {TIGHT_PORT} is open to {ranges:?}"));
        }
    }
    Ok(())
}

/// The steady Ingress has a rule, and the target group behind it both its pods.
fn steady(world: &World) -> Result<(), String> {
    let groups = world.moto.call("elbv2", "DescribeTargetGroups", &[]);
    let group = groups
        .texts("TargetGroupArn")
        .into_iter()
        .find(|arn| arn.contains(&format!("-{STEADY}-")) || arn.contains(STEADY))
        .ok_or("no target group")?;
    let health = [("TargetGroupArn", group.as_str())];
    let health = world.moto.call("elbv2", "DescribeTargetHealth", &health);
    let states = health.texts("State");
    let healthy = states.iter().filter(|state| *state == "healthy").count();
    if healthy != 2 {
        return Err(format!(
            "{healthy} of its targets have requests: {}",
            health.text()
        ));
    }
    let serves = |rule: &str| rule.contains("steady.example.com") && rule.contains(&group);
    match world.moto.rules(|_| true).any(|(_, rule)| serves(&rule)) {
        true => Ok(()),
        false => Err("no rule sends it requests".into()),
    }
}

#[test]
fn a_port_that_is_opened_to_more_is_noticed() {
    for (port, ranges, want) in [
        ("8081", &["10.0.0.0%2F8"][..], true),
        ("8081", &["10.0.0.0%2F8", "0.0.0.0%2F0"], false),
        ("8081", &["0.0.0.0%2F0"], false),
        ("80", &["0.0.0.0%2F0"], true),
    ] {
        let mut body = format!("Action=AuthorizeSecurityGroupIngress&IpPermissions.1.FromPort={port}");
        for (number, range) in ranges.iter().enumerate() {
            body.push_str(&format!(
                "&IpPermissions.1.IpRanges.{}.CidrIp={range}",
                number + 1
            ));
        }
        let call = Call {
            service: "ec2".into(),
            action: "AuthorizeSecurityGroupIngress".into(),
            body,
        };
        assert_eq!(never_wider(&call).is_ok(), want, "{port} {ranges:?}");
    }
}
