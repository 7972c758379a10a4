//! The attributes of one resource in, those that AWS would refuse beside the others, and why, out.
//!
//! Each fits by itself. Only what is written is looked at: what stands there already is AWS's to judge.

use std::collections::BTreeMap;

use super::Of;

const TYPE: &str = "load_balancing.algorithm.type";
const ANOMALIES: &str = "load_balancing.algorithm.anomaly_mitigation";
const CROSS_ZONE: &str = "load_balancing.cross_zone.enabled";
const SLOW_START: &str = "slow_start.duration_seconds";
const STICKY: &str = "stickiness.enabled";
const STICKY_TYPE: &str = "stickiness.type";
const COOKIE: &str = "stickiness.app_cookie.cookie_name";

/// Takes out what does not go with the rest.
pub(in crate::translate) fn at_odds(of: Of, all: &mut BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut leave_out = |all: &mut BTreeMap<String, String>, key: &str, why: &str| {
        if let Some(value) = all.remove(key) {
            out.insert(key.to_owned(), format!("{key} is {value}, {why}; it is left out"));
        }
    };
    let is = |all: &BTreeMap<String, String>, key: &str, value: &str| {
        all.get(key).is_some_and(|written| written == value)
    };
    match of {
        // ELBv2 API, LoadBalancerAttribute: the bucket "is required if access logs are enabled".
        Of::LoadBalancer | Of::Front => {
            for logs in ["access_logs", "connection_logs", "health_check_logs"] {
                let (on, bucket) = (format!("{logs}.s3.enabled"), format!("{logs}.s3.bucket"));
                if is(all, &on, "true") && all.get(&bucket).is_none_or(String::is_empty) {
                    leave_out(all, &on, &format!("and no {bucket} is named"));
                }
            }
        }
        Of::Listener => {}
        // "Edit target group attributes for your Application Load Balancer", where no other is named.
        Of::TargetGroup => {
            if is(all, STICKY_TYPE, "app_cookie") && all.get(COOKIE).is_none_or(String::is_empty) {
                let why = format!("and no {COOKIE} is named");
                leave_out(all, STICKY_TYPE, &why);
                // It would be another kind of stickiness.
                leave_out(
                    all,
                    STICKY,
                    &format!("of a type that cannot be had: no {COOKIE} is named"),
                );
            }
            let sticky = is(all, STICKY, "true");
            if sticky && is(all, TYPE, "weighted_random") {
                leave_out(all, TYPE, "which does not go with sticky sessions");
            }
            if sticky && is(all, CROSS_ZONE, "false") {
                leave_out(all, CROSS_ZONE, "which does not go with sticky sessions");
            }
            if all.get(SLOW_START).is_some_and(|seconds| seconds != "0")
                && all.get(TYPE).is_some_and(|algorithm| algorithm != "round_robin")
            {
                leave_out(
                    all,
                    SLOW_START,
                    &format!("which only goes with {TYPE} round_robin"),
                );
            }
            if is(all, ANOMALIES, "on") && !is(all, TYPE, "weighted_random") {
                leave_out(
                    all,
                    ANOMALIES,
                    &format!("which only goes with {TYPE} weighted_random"),
                );
            }
            // "Target group health": that of DNS must be greater than or equal to that of routing.
            for unit in ["count", "percentage"] {
                let key =
                    |action: &str| format!("target_group_health.{action}.minimum_healthy_targets.{unit}");
                let (dns, routing) = (key("dns_failover"), key("unhealthy_state_routing"));
                let number = |key: &str| all.get(key).and_then(|text| text.parse::<u32>().ok());
                if let (Some(less), Some(more)) = (number(&dns), number(&routing))
                    && less < more
                {
                    leave_out(all, &routing, &format!("more than {dns}"));
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_with_the_rest_is_left_out_alone() {
        const COUNT: &str = "minimum_healthy_targets.count";
        let (dns, routing) = (
            format!("target_group_health.dns_failover.{COUNT}"),
            format!("target_group_health.unhealthy_state_routing.{COUNT}"),
        );
        for (of, written, left_out) in [
            (
                Of::LoadBalancer,
                "access_logs.s3.enabled=true,access_logs.s3.bucket=b",
                "",
            ),
            (Of::LoadBalancer, "access_logs.s3.enabled=false", ""),
            (
                Of::LoadBalancer,
                "access_logs.s3.enabled=true,access_logs.s3.prefix=p",
                "access_logs.s3.enabled",
            ),
            (
                Of::LoadBalancer,
                "access_logs.s3.enabled=true,access_logs.s3.bucket=",
                "access_logs.s3.enabled",
            ),
            (
                Of::LoadBalancer,
                "access_logs.s3.bucket=b,connection_logs.s3.enabled=true",
                "connection_logs.s3.enabled",
            ),
            (Of::Front, "access_logs.s3.enabled=true", "access_logs.s3.enabled"),
            (Of::Listener, "access_logs.s3.enabled=true", ""),
            (Of::TargetGroup, "stickiness.enabled=true", ""),
            (
                Of::TargetGroup,
                "stickiness.type=app_cookie,stickiness.app_cookie.cookie_name=c",
                "",
            ),
            (
                Of::TargetGroup,
                "stickiness.type=app_cookie,stickiness.enabled=true,slow_start.duration_seconds=30",
                "stickiness.enabled,stickiness.type",
            ),
            (
                Of::TargetGroup,
                "stickiness.enabled=true,load_balancing.cross_zone.enabled=false",
                CROSS_ZONE,
            ),
            (
                Of::TargetGroup,
                "stickiness.enabled=false,load_balancing.cross_zone.enabled=false",
                "",
            ),
            (
                Of::TargetGroup,
                "stickiness.enabled=true,load_balancing.algorithm.type=weighted_random,load_balancing.algorithm.anomaly_mitigation=on",
                "load_balancing.algorithm.anomaly_mitigation,load_balancing.algorithm.type",
            ),
            (
                Of::TargetGroup,
                "load_balancing.algorithm.type=weighted_random,load_balancing.algorithm.anomaly_mitigation=on",
                "",
            ),
            (
                Of::TargetGroup,
                "load_balancing.algorithm.anomaly_mitigation=on",
                ANOMALIES,
            ),
            (
                Of::TargetGroup,
                "load_balancing.algorithm.anomaly_mitigation=off",
                "",
            ),
            (
                Of::TargetGroup,
                "load_balancing.algorithm.type=least_outstanding_requests,slow_start.duration_seconds=30",
                SLOW_START,
            ),
            (
                Of::TargetGroup,
                "load_balancing.algorithm.type=least_outstanding_requests,slow_start.duration_seconds=0",
                "",
            ),
            (
                Of::TargetGroup,
                "load_balancing.algorithm.type=round_robin,slow_start.duration_seconds=30",
                "",
            ),
            (Of::TargetGroup, &format!("{dns}=2,{routing}=2"), ""),
            (Of::TargetGroup, &format!("{dns}=off,{routing}=2"), ""),
            (Of::TargetGroup, &format!("{routing}=2"), ""),
            (Of::TargetGroup, &format!("{dns}=1,{routing}=2"), &routing),
        ] {
            let pairs = written.split(',').filter_map(|pair| pair.split_once('='));
            let mut all: BTreeMap<String, String> = pairs
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
            let before = all.len();
            let odd = at_odds(of, &mut all);
            assert_eq!(all.len() + odd.len(), before, "{written}");
            let odd: Vec<&str> = odd.keys().map(String::as_str).collect();
            assert_eq!(odd.join(","), left_out, "{of:?} {written}");
        }
    }
}
