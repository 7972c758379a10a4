//! An attribute by AWS's name with its value in, the value as AWS writes it or why AWS would refuse it out.
//!
//! AWS takes all attributes of a call or none, so one that it refuses would keep the others from being set. What is not
//! known here passes: AWS may have added it since.
//! Sources: ELBv2 API, LoadBalancerAttribute, ListenerAttribute and TargetGroupAttribute, where no other is named.

mod together;
mod unheeded;

use std::collections::BTreeMap;

pub(in crate::translate) use together::at_odds;
pub(in crate::translate) use unheeded::instead;

use super::value;

/// Whose attributes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::translate) enum Of {
    LoadBalancer,
    Listener,
    TargetGroup,
    /// Of the load balancer of layer 4 in front.
    Front,
}

/// What a known attribute takes.
#[derive(Clone, Copy, Debug)]
enum Takes {
    Boolean,
    Number(u32, u32),
    /// 0 switches it off.
    ZeroOr(u32, u32),
    OffOr(u32, u32),
    OneOf(&'static [&'static str]),
    Bucket,
    Prefix,
    CookieName,
    HeaderName,
    HeaderValue,
    /// Nothing: it belongs to load balancers of other types.
    Foreign,
}

use Takes::{
    Boolean, Bucket, CookieName, Foreign, HeaderName, HeaderValue, Number, OffOr, OneOf, Prefix, ZeroOr,
};

const LOAD_BALANCER: &[(&str, Takes)] = &[
    ("deletion_protection.enabled", Boolean),
    // "The default for Application Load Balancers is true, and can't be changed."
    ("load_balancing.cross_zone.enabled", OneOf(&["true"])),
    ("access_logs.s3.enabled", Boolean),
    ("access_logs.s3.bucket", Bucket),
    ("access_logs.s3.prefix", Prefix),
    ("connection_logs.s3.enabled", Boolean),
    ("connection_logs.s3.bucket", Bucket),
    ("connection_logs.s3.prefix", Prefix),
    ("health_check_logs.s3.enabled", Boolean),
    ("health_check_logs.s3.bucket", Bucket),
    ("health_check_logs.s3.prefix", Prefix),
    ("ipv6.deny_all_igw_traffic", Boolean),
    ("zonal_shift.config.enabled", Boolean),
    ("idle_timeout.timeout_seconds", Number(1, 4000)),
    ("client_keep_alive.seconds", Number(60, 604_800)),
    (
        "routing.http.desync_mitigation_mode",
        OneOf(&["monitor", "defensive", "strictest"]),
    ),
    ("routing.http.drop_invalid_header_fields.enabled", Boolean),
    ("routing.http.preserve_host_header.enabled", Boolean),
    (
        "routing.http.x_amzn_tls_version_and_cipher_suite.enabled",
        Boolean,
    ),
    ("routing.http.xff_client_port.enabled", Boolean),
    (
        "routing.http.xff_header_processing.mode",
        OneOf(&["append", "preserve", "remove"]),
    ),
    ("routing.http2.enabled", Boolean),
    ("waf.fail_open.enabled", Boolean),
    ("dns_record.client_routing_policy", Foreign),
    ("secondary_ips.auto_assigned.per_subnet", Foreign),
];

const FRONT: &[(&str, Takes)] = &[
    ("deletion_protection.enabled", Boolean),
    ("load_balancing.cross_zone.enabled", Boolean),
    ("access_logs.s3.enabled", Boolean),
    ("access_logs.s3.bucket", Bucket),
    ("access_logs.s3.prefix", Prefix),
    ("ipv6.deny_all_igw_traffic", Boolean),
    ("zonal_shift.config.enabled", Boolean),
    // Where clients are sent if a zone has no healthy target.
    (
        "dns_record.client_routing_policy",
        OneOf(&[
            "any_availability_zone",
            "availability_zone_affinity",
            "partial_availability_zone_affinity",
        ]),
    ),
    ("secondary_ips.auto_assigned.per_subnet", Number(0, 7)),
    ("idle_timeout.timeout_seconds", Foreign),
    ("client_keep_alive.seconds", Foreign),
    ("waf.fail_open.enabled", Foreign),
];

const LISTENER: &[(&str, Takes)] = &[
    (
        "routing.http.request.x_amzn_mtls_clientcert_serial_number.header_name",
        HeaderName,
    ),
    (
        "routing.http.request.x_amzn_mtls_clientcert_issuer.header_name",
        HeaderName,
    ),
    (
        "routing.http.request.x_amzn_mtls_clientcert_subject.header_name",
        HeaderName,
    ),
    (
        "routing.http.request.x_amzn_mtls_clientcert_validity.header_name",
        HeaderName,
    ),
    (
        "routing.http.request.x_amzn_mtls_clientcert_leaf.header_name",
        HeaderName,
    ),
    (
        "routing.http.request.x_amzn_mtls_clientcert.header_name",
        HeaderName,
    ),
    ("routing.http.request.x_amzn_tls_version.header_name", HeaderName),
    (
        "routing.http.request.x_amzn_tls_cipher_suite.header_name",
        HeaderName,
    ),
    ("routing.http.response.server.enabled", Boolean),
    (
        "routing.http.response.strict_transport_security.header_value",
        HeaderValue,
    ),
    (
        "routing.http.response.access_control_allow_origin.header_value",
        HeaderValue,
    ),
    (
        "routing.http.response.access_control_allow_methods.header_value",
        HeaderValue,
    ),
    (
        "routing.http.response.access_control_allow_headers.header_value",
        HeaderValue,
    ),
    (
        "routing.http.response.access_control_allow_credentials.header_value",
        HeaderValue,
    ),
    (
        "routing.http.response.access_control_expose_headers.header_value",
        HeaderValue,
    ),
    (
        "routing.http.response.access_control_max_age.header_value",
        HeaderValue,
    ),
    (
        "routing.http.response.content_security_policy.header_value",
        HeaderValue,
    ),
    (
        "routing.http.response.x_content_type_options.header_value",
        HeaderValue,
    ),
    ("routing.http.response.x_frame_options.header_value", HeaderValue),
    ("tcp.idle_timeout.seconds", Foreign),
    ("send_tcp_reset.on_idle_timeout.enabled", Foreign),
];

/// "From 1 to the maximum number of targets", which is a quota that AWS raises: any number of targets passes.
const TARGETS: u32 = u32::MAX;

const TARGET_GROUP: &[(&str, Takes)] = &[
    ("deregistration_delay.timeout_seconds", Number(0, 3600)),
    ("stickiness.enabled", Boolean),
    ("stickiness.type", OneOf(&["lb_cookie", "app_cookie"])),
    ("stickiness.lb_cookie.duration_seconds", Number(1, 604_800)),
    ("stickiness.app_cookie.duration_seconds", Number(1, 604_800)),
    ("stickiness.app_cookie.cookie_name", CookieName),
    (
        "load_balancing.cross_zone.enabled",
        OneOf(&["true", "false", "use_load_balancer_configuration"]),
    ),
    (
        "load_balancing.algorithm.type",
        OneOf(&["round_robin", "least_outstanding_requests", "weighted_random"]),
    ),
    (
        "load_balancing.algorithm.anomaly_mitigation",
        OneOf(&["on", "off"]),
    ),
    ("slow_start.duration_seconds", ZeroOr(30, 900)),
    (
        "target_group_health.dns_failover.minimum_healthy_targets.count",
        OffOr(1, TARGETS),
    ),
    (
        "target_group_health.dns_failover.minimum_healthy_targets.percentage",
        OffOr(1, 100),
    ),
    (
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count",
        Number(1, TARGETS),
    ),
    (
        "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage",
        OffOr(1, 100),
    ),
    ("lambda.multi_value_headers.enabled", Foreign),
    ("deregistration_delay.connection_termination.enabled", Foreign),
    ("preserve_client_ip.enabled", Foreign),
    ("proxy_protocol_v2.enabled", Foreign),
    (
        "target_health_state.unhealthy.connection_termination.enabled",
        Foreign,
    ),
    ("target_health_state.unhealthy.draining_interval_seconds", Foreign),
    ("target_failover.on_deregistration", Foreign),
    ("target_failover.on_unhealthy", Foreign),
    ("send_tcp_reset.on_unhealthy.enabled", Foreign),
    ("send_tcp_reset.on_deregistration.enabled", Foreign),
];

/// What AWS takes of these, and why it would refuse each of the others.
pub(in crate::translate) fn sifted(
    of: Of,
    attributes: BTreeMap<String, String>,
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let (mut good, mut refused) = (BTreeMap::new(), BTreeMap::new());
    for (key, value) in attributes {
        match read(of, &key, &value) {
            Ok(value) => _ = good.insert(key, value),
            Err(why) => _ = refused.insert(key, why),
        }
    }
    (good, refused)
}

/// The value as AWS writes it: otherwise what it answers would always differ from what is asked for.
fn read(of: Of, key: &str, value: &str) -> Result<String, String> {
    // ELBv2 API, ListenerAttributeKey; the other keys have the same syntax.
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_');
    if key.len() > 256 || !key.bytes().all(known) {
        return Err(format!(
            "{} is no name of an attribute; it is left out",
            value::shown(key)
        ));
    }
    let table = match of {
        Of::LoadBalancer => LOAD_BALANCER,
        Of::Listener => LISTENER,
        Of::TargetGroup => TARGET_GROUP,
        Of::Front => FRONT,
    };
    let Some((_, takes)) = table.iter().find(|(name, _)| *name == key) else {
        return Ok(value.to_owned());
    };
    let kind = match of {
        Of::LoadBalancer | Of::Listener | Of::TargetGroup => "an Application Load Balancer",
        Of::Front => "a Network Load Balancer",
    };
    takes.read(value).map_err(|expected| {
        if matches!(takes, Foreign) {
            format!("{key} is not for {kind}; it is left out")
        } else {
            format!(
                "{key} is {}, expected {expected}; it is left out",
                value::shown(value)
            )
        }
    })
}

impl Takes {
    /// What was expected where it is something else.
    fn read(self, text: &str) -> Result<String, String> {
        let number = |least: u32, most: u32| {
            let number = text.parse().ok().filter(|number| (least..=most).contains(number));
            number.map(|number: u32| number.to_string())
        };
        let word = |words: &[&str]| {
            let word = words.iter().find(|word| word.eq_ignore_ascii_case(text));
            word.map(|word| (*word).to_owned())
        };
        let kept = |fits: bool| fits.then(|| text.to_owned());
        let within = |least: u32, most: u32| match most {
            TARGETS => format!("a number from {least}"),
            _ => format!("a number from {least} to {most}"),
        };
        let (read, expected) = match self {
            Boolean => (word(&["true", "false"]), "true or false".to_owned()),
            Number(least, most) => (number(least, most), within(least, most)),
            ZeroOr(least, most) => (
                number(0, 0).or_else(|| number(least, most)),
                format!("0 or {}", within(least, most)),
            ),
            OffOr(least, most) => (
                word(&["off"]).or_else(|| number(least, most)),
                format!("off or {}", within(least, most)),
            ),
            OneOf(words) => (word(words), words.join(" or ")),
            Bucket => (
                kept(text.is_empty() || is_bucket(text)),
                "the name of an S3 bucket".to_owned(),
            ),
            // "Enable access logs for your Application Load Balancer": the prefix can't include AWSLogs.
            Prefix => (
                kept(!text.contains("AWSLogs") && !text.chars().any(char::is_control)),
                "a prefix without AWSLogs".to_owned(),
            ),
            CookieName => (
                kept(is_token(text) && !text.starts_with("AWSALB")),
                "the name of a cookie that does not start with AWSALB".to_owned(),
            ),
            // An empty one gives the header its usual name back.
            HeaderName => (
                kept(text.is_empty() || is_token(text)),
                "the name of a header".to_owned(),
            ),
            HeaderValue => (
                kept(!text.chars().any(char::is_control)),
                "the value of a header".to_owned(),
            ),
            Foreign => (None, "nothing".to_owned()),
        };
        read.ok_or(expected)
    }
}

/// Source: Amazon S3, "General purpose bucket naming rules".
fn is_bucket(name: &str) -> bool {
    let outer = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let inner = |b: &u8| outer(b) || matches!(b, b'.' | b'-');
    let bytes = name.as_bytes();
    let ends = bytes.first().is_some_and(outer) && bytes.last().is_some_and(outer);
    (3..=63).contains(&bytes.len()) && ends && bytes.iter().all(inner) && !name.contains("..")
}

/// Source: RFC 9110, 5.6.2; RFC 6265 has the same for the name of a cookie.
fn is_token(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty() && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_attributes_take_what_aws_takes() {
        const MANY: &str = "target_group_health.dns_failover.minimum_healthy_targets.count";
        for (of, key, value, want) in [
            (Of::LoadBalancer, "idle_timeout.timeout_seconds", "1", Some("1")),
            (
                Of::LoadBalancer,
                "idle_timeout.timeout_seconds",
                "4000",
                Some("4000"),
            ),
            (
                Of::LoadBalancer,
                "idle_timeout.timeout_seconds",
                "060",
                Some("60"),
            ),
            (Of::LoadBalancer, "idle_timeout.timeout_seconds", "0", None),
            (Of::LoadBalancer, "idle_timeout.timeout_seconds", "4001", None),
            (Of::LoadBalancer, "idle_timeout.timeout_seconds", "-1", None),
            (Of::LoadBalancer, "idle_timeout.timeout_seconds", "60s", None),
            (Of::LoadBalancer, "idle_timeout.timeout_seconds", "", None),
            (Of::LoadBalancer, "client_keep_alive.seconds", "59", None),
            (
                Of::LoadBalancer,
                "client_keep_alive.seconds",
                "604800",
                Some("604800"),
            ),
            (Of::LoadBalancer, "routing.http2.enabled", "False", Some("false")),
            (Of::LoadBalancer, "routing.http2.enabled", "no", None),
            (
                Of::LoadBalancer,
                "load_balancing.cross_zone.enabled",
                "true",
                Some("true"),
            ),
            (
                Of::LoadBalancer,
                "load_balancing.cross_zone.enabled",
                "false",
                None,
            ),
            (
                Of::LoadBalancer,
                "routing.http.desync_mitigation_mode",
                "strictest",
                Some("strictest"),
            ),
            (
                Of::LoadBalancer,
                "routing.http.desync_mitigation_mode",
                "strict",
                None,
            ),
            (
                Of::LoadBalancer,
                "routing.http.xff_header_processing.mode",
                "remove",
                Some("remove"),
            ),
            (
                Of::LoadBalancer,
                "access_logs.s3.bucket",
                "logs.of-shop",
                Some("logs.of-shop"),
            ),
            (Of::LoadBalancer, "access_logs.s3.bucket", "", Some("")),
            (Of::LoadBalancer, "access_logs.s3.bucket", "s3://logs", None),
            (
                Of::LoadBalancer,
                "access_logs.s3.prefix",
                "shop/web",
                Some("shop/web"),
            ),
            (Of::LoadBalancer, "access_logs.s3.prefix", "shop/AWSLogs", None),
            (
                Of::LoadBalancer,
                "dns_record.client_routing_policy",
                "any_availability_zone",
                None,
            ),
            (Of::LoadBalancer, "added.since", "x", Some("x")),
            (Of::LoadBalancer, "idle timeout", "60", None),
            (
                Of::Front,
                "load_balancing.cross_zone.enabled",
                "false",
                Some("false"),
            ),
            (Of::Front, "dns_record.client_routing_policy", "nearest", None),
            (Of::Front, "secondary_ips.auto_assigned.per_subnet", "8", None),
            (Of::Front, "idle_timeout.timeout_seconds", "60", None),
            (
                Of::Listener,
                "routing.http.response.server.enabled",
                "false",
                Some("false"),
            ),
            (Of::Listener, "routing.http.response.server.enabled", "off", None),
            (
                Of::Listener,
                "routing.http.request.x_amzn_tls_version.header_name",
                "X-TLS",
                Some("X-TLS"),
            ),
            (
                Of::Listener,
                "routing.http.request.x_amzn_tls_version.header_name",
                "X TLS",
                None,
            ),
            (
                Of::Listener,
                "routing.http.response.x_frame_options.header_value",
                "DENY\r\nX: 1",
                None,
            ),
            (Of::Listener, "tcp.idle_timeout.seconds", "350", None),
            (
                Of::TargetGroup,
                "deregistration_delay.timeout_seconds",
                "0",
                Some("0"),
            ),
            (
                Of::TargetGroup,
                "deregistration_delay.timeout_seconds",
                "3601",
                None,
            ),
            (Of::TargetGroup, "slow_start.duration_seconds", "0", Some("0")),
            (Of::TargetGroup, "slow_start.duration_seconds", "29", None),
            (Of::TargetGroup, "slow_start.duration_seconds", "30", Some("30")),
            (Of::TargetGroup, "slow_start.duration_seconds", "901", None),
            (Of::TargetGroup, "stickiness.type", "source_ip", None),
            (
                Of::TargetGroup,
                "stickiness.app_cookie.cookie_name",
                "AWSALBTG",
                None,
            ),
            (
                Of::TargetGroup,
                "stickiness.app_cookie.cookie_name",
                "session",
                Some("session"),
            ),
            (
                Of::TargetGroup,
                "stickiness.lb_cookie.duration_seconds",
                "604801",
                None,
            ),
            (Of::TargetGroup, "load_balancing.algorithm.type", "random", None),
            (
                Of::TargetGroup,
                "load_balancing.algorithm.anomaly_mitigation",
                "on",
                Some("on"),
            ),
            (Of::TargetGroup, MANY, "off", Some("off")),
            (Of::TargetGroup, MANY, "5000", Some("5000")),
            (Of::TargetGroup, MANY, "0", None),
            (Of::TargetGroup, "proxy_protocol_v2.enabled", "true", None),
        ] {
            assert_eq!(read(of, key, value).ok().as_deref(), want, "{of:?} {key}={value}");
        }
    }

    #[test]
    fn what_was_expected_is_said() {
        for (of, key, value, want) in [
            (
                Of::LoadBalancer,
                "idle_timeout.timeout_seconds",
                "5000",
                "idle_timeout.timeout_seconds is \"5000\", expected a number from 1 to 4000; it is left out",
            ),
            (
                Of::TargetGroup,
                "slow_start.duration_seconds",
                "5",
                "slow_start.duration_seconds is \"5\", expected 0 or a number from 30 to 900; it is left out",
            ),
            (
                Of::Front,
                "waf.fail_open.enabled",
                "true",
                "waf.fail_open.enabled is not for a Network Load Balancer; it is left out",
            ),
        ] {
            assert_eq!(read(of, key, value), Err(want.to_owned()), "{key}");
        }
    }

    #[test]
    fn every_attribute_stands_once_in_its_table() {
        for table in [LOAD_BALANCER, FRONT, LISTENER, TARGET_GROUP] {
            for (name, _) in table {
                assert_eq!(
                    table.iter().filter(|(other, _)| other == name).count(),
                    1,
                    "{name}"
                );
            }
        }
    }
}
