//! Bad values of annotations and fields that the AWS Load Balancer Controller refuses, and what each leaves.

use super::Given::{self, Class, Ingress, Service};

/// What a bad value leaves of its own Ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It goes on as if the value were absent.
    Served,
    /// None of its rules leads to a backend that everybody reaches.
    Closed,
}
use Left::{Closed, Served};

/// Annotations of which the last has the bad value. Source: the validations of the AWS Load Balancer Controller 3.5.
pub(crate) type Row = (Annotations, Left);
type Annotations = &'static [(&'static str, &'static str)];

pub(crate) const OF_INGRESSES: &[Row] = &[
    (&[("group.name", "Bad_Name")], Closed),
    (&[("group.order", "1001")], Served),
    (&[("group.order", "first")], Served),
    (
        &[("load-balancer-name", "a-name-of-more-than-thirty-two-characters")],
        Served,
    ),
    (&[("tags", "=x")], Served),
    (&[("tags", "Team=<x>")], Served),
    (&[("scheme", "public")], Served),
    (&[("ip-address-type", "ipv5")], Served),
    (&[("manage-backend-security-group-rules", "yes")], Served),
    (&[("inbound-cidrs", "any")], Closed),
    (&[("inbound-cidrs", "10.0.0.0/33")], Closed),
    (&[("inbound-cidrs", "010.0.0.0/8")], Closed),
    (&[("security-group-prefix-lists", "office")], Closed),
    (&[("security-groups", ",")], Closed),
    (&[("load-balancer-attributes", "x")], Served),
    (&[("customer-owned-ipv4-pool", "")], Served),
    (&[("minimum-load-balancer-capacity", "Units=1")], Served),
    (
        &[("minimum-load-balancer-capacity", "CapacityUnits=many")],
        Served,
    ),
    (&[("ipam-ipv4-pool-id", "pool")], Served),
    (&[("shield-advanced-protection", "yes")], Served),
    (&[("wafv2-acl-arn", "")], Closed),
    (&[("waf-acl-id", "x")], Closed),
    (&[("listen-ports", "[]")], Closed),
    (&[("listen-ports", "HTTP:80")], Closed),
    (&[("listen-ports", r#"[{"HTTP":0}]"#)], Closed),
    (&[("listen-ports", r#"[{"http":80}]"#)], Closed),
    (&[("listen-ports", r#"[{"HTTP":"80"}]"#)], Closed),
    (&[("listen-ports", r#"[{"HTTP":80},{"HTTPS":80}]"#)], Closed),
    (&[("ssl-redirect", "yes")], Closed),
    (&[("ssl-redirect", "443")], Closed),
    (&[HTTPS, CERTIFICATE, ("ssl-policy", "Nope")], Closed),
    (&[HTTPS, ("mutual-authentication", "{")], Closed),
    (
        &[HTTPS, ("mutual-authentication", r#"[{"port":0,"mode":"off"}]"#)],
        Closed,
    ),
    (
        &[
            HTTPS,
            ("mutual-authentication", r#"[{"port":443,"mode":"strict"}]"#),
        ],
        Closed,
    ),
    (
        &[
            HTTPS,
            ("mutual-authentication", r#"[{"port":443,"mode":"verify"}]"#),
        ],
        Closed,
    ),
    (
        &[
            HTTPS,
            (
                "mutual-authentication",
                r#"[{"port":443,"mode":"off","trustStore":"t"}]"#,
            ),
        ],
        Closed,
    ),
    (&[("listener-attributes.HTTP-80", "x")], Served),
    (&[("listener-attributes.TCP-80", "a=b")], Served),
    (&[("create-acm-cert", "yes")], Served),
    (&[("target-control-port.web.80", "0")], Closed),
    (&[("target-control-port.wbe.80", "3000")], Served),
    (&[("use-regex-path-match", "yes")], Served),
    (&[("actions.deny", "{")], Closed),
    (&[("actions.deny", r#"{"type":"drop"}"#)], Closed),
    (&[("actions.deny", r#"{"type":"redirect"}"#)], Closed),
    (
        &[(
            "actions.deny",
            r#"{"type":"forward","forwardConfig":{"targetGroups":[]}}"#,
        )],
        Closed,
    ),
    (
        &[(
            "actions.deny",
            r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web"}]}}"#,
        )],
        Closed,
    ),
    (
        &[(
            "actions.deny",
            r#"{"type":"fixed-response","fixedResponseConfig":{"statusCode":""}}"#,
        )],
        Closed,
    ),
    (&[("conditions.web", "{")], Closed),
    (&[("conditions.web", r#"[{"field":"sorce-ip"}]"#)], Closed),
    (
        &[(
            "conditions.web",
            r#"[{"field":"host-header","hostHeaderConfig":{"values":[]}}]"#,
        )],
        Closed,
    ),
    (
        &[(
            "conditions.web",
            r#"[{"field":"path-pattern","pathPatternConfig":{}}]"#,
        )],
        Closed,
    ),
    (
        &[(
            "conditions.web",
            r#"[{"field":"http-header","httpHeaderConfig":{"values":["x"]}}]"#,
        )],
        Closed,
    ),
    (
        &[("conditions.web", r#"[{"field":"http-request-method"}]"#)],
        Closed,
    ),
    (
        &[(
            "conditions.web",
            r#"[{"field":"query-string","queryStringConfig":{"values":[{"key":"a"}]}}]"#,
        )],
        Closed,
    ),
    (
        &[(
            "conditions.web",
            r#"[{"field":"source-ip","sourceIPConfig":{"values":["010.0.0.0/8"]}}]"#,
        )],
        Closed,
    ),
    (&[("transforms.web", "[{}]")], Closed),
];

const CERTIFICATE: (&str, &str) = (
    "certificate-arn",
    "arn:aws:acm:eu-west-1:111122223333:certificate/0",
);
const HTTPS_TARGETS: (&str, &str) = ("backend-protocol", "HTTPS");
const AUTHORITIES: &str = "portcullis.dev/backend-tls-ca-secret";
const SERVER_NAME: &str = "portcullis.dev/backend-tls-server-name";
const HTTPS: (&str, &str) = ("listen-ports", r#"[{"HTTPS":443}]"#);

/// Annotations of an Ingress or of a Service, which say the same of targets; a Service's win.
pub(crate) const OF_TARGETS: &[Row] = &[
    (&[("target-type", "pod")], Closed),
    (&[("backend-protocol", "TCP")], Closed),
    (&[("backend-protocol-version", "HTTP3")], Closed),
    (&[HTTPS_TARGETS, (AUTHORITIES, "other/ca")], Closed),
    (&[HTTPS_TARGETS, (AUTHORITIES, "")], Closed),
    (&[("backend-protocol", "HTTP"), (AUTHORITIES, "ca")], Closed),
    (&[(AUTHORITIES, "ca"), ("backend-protocol", "HTTPs")], Closed),
    (
        &[HTTPS_TARGETS, (AUTHORITIES, "ca"), (SERVER_NAME, "10.0.0.1")],
        Closed,
    ),
    (&[HTTPS_TARGETS, (SERVER_NAME, "web.shop.svc")], Closed),
    (&[("target-node-labels", "x")], Closed),
    (&[("multi-cluster-target-group", "yes")], Served),
    (&[("target-group-attributes", "x")], Served),
    (&[("tags", "x")], Served),
    (&[("tags", "aws:x=y")], Served),
    (&[("healthcheck-port", "no such port")], Served),
    (&[("healthcheck-protocol", "TCP")], Served),
    (&[("healthcheck-interval-seconds", "x")], Served),
    (&[("healthcheck-timeout-seconds", "1.5")], Served),
    (&[("healthy-threshold-count", "x")], Served),
    (&[("unhealthy-threshold-count", "x")], Served),
];

/// Annotations of a Service alone.
pub(crate) const OF_SERVICES: &[Row] = &[
    (&[("success-codes", "many")], Served),
    (&[("auth-type", "ldap")], Closed),
    (&[("auth-type", "cognito"), ("auth-idp-cognito", "{}")], Closed),
    (&[("auth-type", "oidc"), ("auth-idp-oidc", "{")], Closed),
    (&[("jwt-validation", "{}")], Closed),
];

/// `spec` of IngressClassParams, the field that is told, and what is left of an Ingress of the class.
pub(crate) const OF_CLASSES: &[(&str, &str, Left)] = &[
    ("{scheme: public}", "spec.scheme", Served),
    ("{ipAddressType: ipv5}", "spec.ipAddressType", Served),
    (
        "{loadBalancerName: a-name-of-more-than-thirty-two-characters}",
        "spec.loadBalancerName",
        Served,
    ),
    ("{inboundCIDRs: [any]}", "spec.inboundCIDRs", Closed),
    ("{inboundCIDRs: [010.0.0.0/8]}", "spec.inboundCIDRs", Closed),
    ("{prefixListsIDs: [office]}", "spec.prefixListsIDs", Closed),
    ("{sslRedirectPort: secure}", "spec.sslRedirectPort", Closed),
    ("{tags: [{key: 'aws:x', value: v}]}", "spec.tags", Served),
    ("{targetType: pod}", "spec.targetType", Closed),
    (
        "{loadBalancerAttributes: [{key: '', value: x}]}",
        "spec.loadBalancerAttributes",
        Served,
    ),
    (
        "{listeners: [{protocol: TCP, port: 80, listenerAttributes: [{key: a, value: b}]}]}",
        "spec.listeners",
        Served,
    ),
    (
        "{minimumLoadBalancerCapacity: {capacityUnits: -1}}",
        "spec.minimumLoadBalancerCapacity",
        Served,
    ),
    (
        "{ipamConfiguration: {ipv4IPAMPoolId: pool}}",
        "spec.ipamConfiguration.ipv4IPAMPoolId",
        Served,
    ),
    ("{wafv2AclArn: ''}", "spec.wafv2AclArn", Closed),
    ("{subnets: {ids: [a], tags: {k: [v]}}}", "spec.subnets", Closed),
    (
        "{namespaceSelector: {matchExpressions: [{key: a, operator: Gt, values: ['1']}]}}",
        "spec.namespaceSelector.matchExpressions[0]",
        Closed,
    ),
    (
        "{authenticationConfiguration: {type: oidc}}",
        "spec.authenticationConfiguration",
        Closed,
    ),
];

const FRONT: (&str, &str) = ("enable-frontend-nlb", "true");
const MAPPING: &str = "frontend-nlb-listener-port-mapping";
const BEHIND_GIVEN: (&str, &str) = ("security-groups", "sg-1");

/// A good value that was applied, and a bad one in its place: of what exists nothing changes.
pub(crate) const GOOD_THEN_BAD: &[(Given, Given)] = &[
    (
        Ingress(&[("scheme", "internet-facing")]),
        Ingress(&[("scheme", "internet_facing")]),
    ),
    (
        Ingress(&[("ip-address-type", "dualstack")]),
        Ingress(&[("ip-address-type", "dual-stack")]),
    ),
    (
        Ingress(&[BEHIND_GIVEN, ("manage-backend-security-group-rules", "true")]),
        Ingress(&[BEHIND_GIVEN, ("manage-backend-security-group-rules", "yes")]),
    ),
    (
        Ingress(&[
            ("scheme", "internet-facing"),
            ("ipam-ipv4-pool-id", "ipam-pool-1"),
        ]),
        Ingress(&[("scheme", "internet-facing"), ("ipam-ipv4-pool-id", "pool")]),
    ),
    (Ingress(&[("tags", "Team=x")]), Ingress(&[("tags", "Team")])),
    (Ingress(&[FRONT]), Ingress(&[("enable-frontend-nlb", "ture")])),
    (
        Ingress(&[
            FRONT,
            (MAPPING, "8080=80"),
            ("frontend-nlb-scheme", "internet-facing"),
        ]),
        Ingress(&[
            ("enable-frontend-nlb", "ture"),
            (MAPPING, "8080=80"),
            ("frontend-nlb-scheme", "internet-facing"),
        ]),
    ),
    (
        Ingress(&[FRONT, ("frontend-nlb-scheme", "internet-facing")]),
        Ingress(&[FRONT, ("frontend-nlb-scheme", "public")]),
    ),
    (
        Ingress(&[FRONT, (MAPPING, "8080=80")]),
        Ingress(&[FRONT, (MAPPING, "x=80")]),
    ),
    (
        Ingress(&[FRONT, (MAPPING, "8080=80")]),
        Ingress(&[FRONT, (MAPPING, "8080=81")]),
    ),
    (
        Ingress(&[FRONT, ("frontend-nlb-subnets", "subnet-1,subnet-2")]),
        Ingress(&[FRONT, ("frontend-nlb-subnets", ",")]),
    ),
    (
        Ingress(&[FRONT, ("frontend-nlb-security-groups", "sg-1")]),
        Ingress(&[FRONT, ("frontend-nlb-security-groups", ",")]),
    ),
    (
        Ingress(&[FRONT, ("frontend-nlb-tags", "Team=x")]),
        Ingress(&[FRONT, ("frontend-nlb-tags", "Team")]),
    ),
    (
        Ingress(&[FRONT, ("frontend-nlb-healthcheck-path", "/healthz")]),
        Ingress(&[FRONT, ("frontend-nlb-healthcheck-path", "healthz")]),
    ),
    (
        Ingress(&[FRONT, ("frontend-nlb-healthcheck-port", "8080")]),
        Ingress(&[FRONT, ("frontend-nlb-healthcheck-port", "808O")]),
    ),
    (
        Ingress(&[("healthcheck-path", "/healthz")]),
        Ingress(&[("healthcheck-path", "healthz")]),
    ),
    (
        Ingress(&[("target-type", "ip"), ("healthcheck-path", "/healthz")]),
        Ingress(&[("target-type", "pod"), ("healthcheck-path", "/healthz")]),
    ),
    (
        Ingress(&[("target-node-labels", "a=b"), ("healthcheck-path", "/healthz")]),
        Ingress(&[("target-node-labels", "a=b c"), ("healthcheck-path", "/healthz")]),
    ),
    (
        Ingress(&[("backend-protocol", "HTTPS")]),
        Ingress(&[("backend-protocol", "HTTPs")]),
    ),
    (
        Ingress(&[("backend-protocol-version", "GRPC")]),
        Ingress(&[("backend-protocol-version", "gRPC2")]),
    ),
    (
        Ingress(&[
            ("backend-protocol", "HTTPS"),
            ("backend-protocol-version", "HTTP2"),
        ]),
        Ingress(&[("backend-protocol", "tls"), ("backend-protocol-version", "2")]),
    ),
    (
        Ingress(&[("target-control-port.web.80", "3000")]),
        Ingress(&[("target-control-port.web.80", "x")]),
    ),
    (
        Service(&[("target-type", "ip"), ("backend-protocol", "HTTPS")]),
        Service(&[("target-type", "pods"), ("backend-protocol", "HTTPS")]),
    ),
    (
        Service(&[("backend-protocol", "HTTPS")]),
        Service(&[("backend-protocol", "gopher")]),
    ),
    (
        Ingress(&[("healthcheck-port", "8080")]),
        Ingress(&[("healthcheck-port", "808O")]),
    ),
    (
        Ingress(&[("healthcheck-protocol", "HTTPS")]),
        Ingress(&[("healthcheck-protocol", "https")]),
    ),
    (
        Ingress(&[("healthcheck-interval-seconds", "30")]),
        Ingress(&[("healthcheck-interval-seconds", "30s")]),
    ),
    (
        Ingress(&[("healthcheck-timeout-seconds", "6")]),
        Ingress(&[("healthcheck-timeout-seconds", "6s")]),
    ),
    (
        Ingress(&[("healthcheck-timeout-seconds", "6")]),
        Ingress(&[("healthcheck-timeout-seconds", "15")]),
    ),
    (
        Ingress(&[("healthy-threshold-count", "3")]),
        Ingress(&[("healthy-threshold-count", "three")]),
    ),
    (
        Ingress(&[("unhealthy-threshold-count", "3")]),
        Ingress(&[("unhealthy-threshold-count", "1")]),
    ),
    (
        Ingress(&[("success-codes", "200-299")]),
        Ingress(&[("success-codes", "200-")]),
    ),
    (
        Service(&[("healthcheck-path", "/healthz")]),
        Service(&[("healthcheck-path", "healthz")]),
    ),
    (
        Service(&[("success-codes", "204")]),
        Service(&[("success-codes", "many")]),
    ),
    (Service(&[("tags", "Team=x")]), Service(&[("tags", "Team")])),
    (Class("{scheme: internet-facing}"), Class("{scheme: public}")),
    (
        Class("{ipAddressType: dualstack}"),
        Class("{ipAddressType: ipv5}"),
    ),
];

/// What `bad` was made with, and what an Ingress asks for that is newer, and comes before it where age does not count.
pub(crate) const NEWCOMERS: &[(Annotations, Annotations)] = &[
    (&[("scheme", "internet-facing")], &[("scheme", "internal")]),
    (&[("scheme", "internet-facing")], &[("scheme", "internal_")]),
    (
        &[("ip-address-type", "dualstack")],
        &[("ip-address-type", "ipv4")],
    ),
    (
        &[("subnets", "subnet-1,subnet-2")],
        &[("subnets", "subnet-3,subnet-4")],
    ),
    (&[BEHIND_GIVEN], &[("security-groups", "sg-2")]),
    (&[("tags", "Team=x")], &[("tags", "Team=y")]),
    (&[("tags", "Team=x")], &[("tags", "Team")]),
    (
        &[
            ("scheme", "internet-facing"),
            ("ipam-ipv4-pool-id", "ipam-pool-1"),
        ],
        &[("ipam-ipv4-pool-id", "ipam-pool-2")],
    ),
    (&[FRONT], &[("enable-frontend-nlb", "false")]),
    (
        &[FRONT, ("frontend-nlb-tags", "Team=x")],
        &[("frontend-nlb-tags", "Team=y")],
    ),
    (
        &[FRONT, ("frontend-nlb-subnets", "subnet-1,subnet-2")],
        &[("frontend-nlb-subnets", "subnet-3,subnet-4")],
    ),
];
