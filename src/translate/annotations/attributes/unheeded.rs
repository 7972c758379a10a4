//! An attribute that AWS takes in, what the proxy does in place of what it asks for out.
//!
//! Only those that change how requests are served, with values that ask for something else than is done anyway: what AWS
//! does where nothing is said is none of them. Source of these defaults: ELBv2 API, LoadBalancerAttribute,
//! ListenerAttribute and TargetGroupAttribute.

use super::Of;

/// By name, the value that asks for nothing, and what is done. A name that ends in `.` stands for all that start with it.
type Row = (&'static str, &'static str, &'static str);

const LOAD_BALANCER: &[Row] = &[
    (
        "client_keep_alive.seconds",
        "3600",
        "how old clients' connections get, --max-connection-age says",
    ),
    (
        "idle_timeout.timeout_seconds",
        "60",
        "portcullis.dev/response-timeout-seconds says how long a target has until it answers, response-body-timeout-seconds how long between parts of its answer",
    ),
    (
        "routing.http.desync_mitigation_mode",
        "defensive",
        "requests that can be read in two ways are refused, and no others",
    ),
    (
        "routing.http.drop_invalid_header_fields.enabled",
        "false",
        "fields with other names than of letters, digits and hyphens are passed on",
    ),
    (
        "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
        "false",
        "backends are not told the version of TLS",
    ),
    (
        "routing.http.xff_client_port.enabled",
        "false",
        "X-Forwarded-For has no ports",
    ),
    (
        "routing.http.xff_header_processing.mode",
        "append",
        "X-Forwarded-For is the proxy's own, added to what trusted proxies say",
    ),
    ("routing.http2.enabled", "true", "clients may speak HTTP/2"),
];

const LISTENER: &[Row] = &[
    (
        "routing.http.request.",
        "",
        "backends are told of TLS and of certificates in the usual fields",
    ),
    (
        "routing.http.response.server.enabled",
        "true",
        "portcullis.dev/response-headers takes fields from answers",
    ),
    (
        "routing.http.response.",
        "",
        "portcullis.dev/response-headers and portcullis.dev/cors add fields to answers",
    ),
];

const TARGET_GROUP: &[Row] = &[
    (
        "deregistration_delay.timeout_seconds",
        "300",
        "what is under way at a target that leaves goes on until it ends",
    ),
    (
        "load_balancing.algorithm.anomaly_mitigation",
        "off",
        "targets that fail rest, and others have their requests",
    ),
    (
        "load_balancing.algorithm.type",
        "least_outstanding_requests",
        "of two targets drawn, the one with fewer requests is taken",
    ),
    (
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        "1",
        "only where no target is healthy, all have requests",
    ),
    (
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        "off",
        "only where no target is healthy, all have requests",
    ),
];

/// None where the proxy does what is asked for, or it is about something else than requests.
pub(in crate::translate) fn instead(of: Of, key: &str, value: &str) -> Option<&'static str> {
    let rows = match of {
        Of::LoadBalancer => LOAD_BALANCER,
        Of::Listener => LISTENER,
        Of::TargetGroup => TARGET_GROUP,
        Of::Front => &[],
    };
    let is_named = |name: &str| key == name || (name.ends_with('.') && key.starts_with(name));
    // "false" alone turns zones apart; without --zone the proxy does not.
    if (of, key, value) == (Of::TargetGroup, "load_balancing.cross_zone.enabled", "false") {
        return Some("targets of all zones have requests, unless --zone says which is near");
    }
    let (_, nothing, instead) = rows.iter().find(|(name, ..)| is_named(name))?;
    (value != *nothing).then_some(*instead)
}

#[cfg(test)]
mod tests {
    use super::super::read;
    use super::*;

    #[test]
    fn what_asks_for_what_is_done_anyway_is_not_told() {
        for (of, key, value, told) in [
            (Of::LoadBalancer, "idle_timeout.timeout_seconds", "60", false),
            (Of::LoadBalancer, "idle_timeout.timeout_seconds", "4000", true),
            (Of::LoadBalancer, "client_keep_alive.seconds", "600", true),
            (
                Of::LoadBalancer,
                "routing.http.desync_mitigation_mode",
                "defensive",
                false,
            ),
            (
                Of::LoadBalancer,
                "routing.http.desync_mitigation_mode",
                "monitor",
                true,
            ),
            (
                Of::LoadBalancer,
                "routing.http.drop_invalid_header_fields.enabled",
                "true",
                true,
            ),
            (
                Of::LoadBalancer,
                "routing.http.preserve_host_header.enabled",
                "true",
                false,
            ),
            (
                Of::LoadBalancer,
                "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
                "true",
                true,
            ),
            (
                Of::LoadBalancer,
                "routing.http.xff_client_port.enabled",
                "true",
                true,
            ),
            (
                Of::LoadBalancer,
                "routing.http.xff_header_processing.mode",
                "append",
                false,
            ),
            (
                Of::LoadBalancer,
                "routing.http.xff_header_processing.mode",
                "preserve",
                true,
            ),
            (Of::LoadBalancer, "routing.http2.enabled", "true", false),
            (Of::LoadBalancer, "routing.http2.enabled", "false", true),
            (Of::LoadBalancer, "deletion_protection.enabled", "true", false),
            (
                Of::Listener,
                "routing.http.response.server.enabled",
                "false",
                true,
            ),
            (
                Of::Listener,
                "routing.http.response.server.enabled",
                "true",
                false,
            ),
            (
                Of::Listener,
                "routing.http.response.x_frame_options.header_value",
                "DENY",
                true,
            ),
            (
                Of::Listener,
                "routing.http.request.x_amzn_tls_version.header_name",
                "x-v",
                true,
            ),
            (
                Of::TargetGroup,
                "deregistration_delay.timeout_seconds",
                "300",
                false,
            ),
            (
                Of::TargetGroup,
                "deregistration_delay.timeout_seconds",
                "30",
                true,
            ),
            (Of::TargetGroup, "slow_start.duration_seconds", "30", false),
            (Of::TargetGroup, "stickiness.enabled", "true", false),
            (Of::TargetGroup, "stickiness.type", "lb_cookie", false),
            (
                Of::TargetGroup,
                "load_balancing.algorithm.type",
                "round_robin",
                true,
            ),
            (
                Of::TargetGroup,
                "load_balancing.algorithm.type",
                "least_outstanding_requests",
                false,
            ),
            (
                Of::TargetGroup,
                "load_balancing.cross_zone.enabled",
                "true",
                false,
            ),
            (
                Of::TargetGroup,
                "load_balancing.cross_zone.enabled",
                "false",
                true,
            ),
        ] {
            assert_eq!(read(of, key, value).as_deref(), Ok(value), "{key} is AWS's");
            assert_eq!(instead(of, key, value).is_some(), told, "{key}={value}");
        }
    }
}
