//! Every bad value of an annotation that the AWS Load Balancer Controller refuses in, the problem at its field and the
//! AWS plan out: nothing is more open than without the annotation, and the neighbour is served as before.
#![expect(clippy::unwrap_used, reason = "all of it is a test: a panic is the report")]

use std::collections::BTreeSet;
use std::fmt::Write;

use portcullis::cluster::index::SecretsMode;
use portcullis::cluster::manifests::Manifests;
use portcullis::translate::{self, ControllerName, Settings, translate};
use portcullis_aws::plan_offline;
use portcullis_aws::preview::{Document, Preview};
use portcullis_model::{LoadBalancerId, Problem};
use serde_json::Value;

/// What a bad value leaves of its own Ingress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// It goes on as if the annotation were absent.
    Served,
    /// None of its rules leads to a backend that everybody reaches.
    Closed,
}
use Left::{Closed, Served};

/// Annotations of which the last has the bad value. Source: the validations of the AWS Load Balancer Controller 3.5.
type Row = (&'static [(&'static str, &'static str)], Left);

const ROWS: &[Row] = &[
    (&[("group.name", "Bad_Name")], Closed),
    (&[("group.order", "1001")], Served),
    (&[("group.order", "first")], Served),
    (
        &[("load-balancer-name", "a-name-of-more-than-thirty-two-characters")],
        Served,
    ),
    (&[("tags", "x")], Served),
    (&[("tags", "=x")], Served),
    (&[("tags", "aws:x=y")], Served),
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
    (&[("target-type", "pod")], Closed),
    (&[("backend-protocol", "TCP")], Closed),
    (&[("backend-protocol-version", "HTTP3")], Closed),
    (&[("target-node-labels", "x")], Closed),
    (&[("target-control-port.web.80", "0")], Closed),
    (&[("target-control-port.wbe.80", "3000")], Served),
    (&[("multi-cluster-target-group", "yes")], Served),
    (&[("target-group-attributes", "x")], Served),
    (&[("healthcheck-port", "no such port")], Served),
    (&[("healthcheck-protocol", "TCP")], Served),
    (&[("healthcheck-interval-seconds", "x")], Served),
    (&[("healthcheck-timeout-seconds", "1.5")], Served),
    (&[("healthy-threshold-count", "x")], Served),
    (&[("unhealthy-threshold-count", "x")], Served),
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
    (
        &[(
            "transforms.web",
            r#"[{"type":"url-rewrite","urlRewriteConfig":{"rewrites":[{"regex":"("}]}}]"#,
        )],
        Closed,
    ),
    (&[("auth-type", "ldap")], Closed),
    (&[("auth-type", "cognito"), ("auth-idp-cognito", "{}")], Closed),
    (&[("auth-type", "oidc"), ("auth-idp-oidc", "{")], Closed),
    (&[("jwt-validation", "{}")], Closed),
    (&[("enable-frontend-nlb", "yes")], Served),
    (
        &[("enable-frontend-nlb", "true"), ("frontend-nlb-scheme", "public")],
        Served,
    ),
    (
        &[("enable-frontend-nlb", "true"), ("frontend-nlb-tags", "x")],
        Served,
    ),
    (
        &[("enable-frontend-nlb", "true"), ("frontend-nlb-attributes", "x")],
        Served,
    ),
];

const HTTPS: (&str, &str) = ("listen-ports", r#"[{"HTTPS":443}]"#);

const REST: &str = "
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: good
  namespace: shop
  annotations:
    alb.ingress.kubernetes.io/group.name: g
    alb.ingress.kubernetes.io/target-type: ip
spec:
  rules:
  - host: good.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.0.0.1]}]
";

/// What AWS is asked for, and all that is told.
fn planned(annotations: &[(&str, &str)], controller: &str) -> (Document, Vec<Problem>) {
    let mut text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: bad\n  namespace: shop\n  annotations:\n".to_owned();
    let own = [("group.name", "g"), ("target-type", "ip")];
    let own = own
        .into_iter()
        .filter(|(name, _)| !annotations.iter().any(|(given, _)| given == name));
    for (name, value) in own.chain(annotations.iter().copied()) {
        writeln!(text, "    alb.ingress.kubernetes.io/{name}: {value:?}").unwrap();
    }
    // What an action leads to is asked for in its own row alone.
    let backend = match annotations.iter().any(|(name, _)| *name == "actions.deny") {
        true => "{name: deny, port: {name: use-annotation}}",
        false => "{name: web, port: {number: 80}}",
    };
    writeln!(
        text,
        "spec:\n  rules:\n  - host: bad.example\n    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {backend}}}}}]}}"
    )
    .unwrap();
    text.push_str(REST);
    let settings = Settings::for_files(ControllerName::new(controller));
    let mut manifests = Manifests::default();
    manifests.update("all.yaml", text.as_bytes());
    let mut index = translate::index(&settings, SecretsMode::NotRead);
    index.reset_all(manifests.objects());
    let synced = index.synced().unwrap();
    let mut problems = manifests.problems();
    problems.extend(synced.refused().flat_map(|(_, told)| told.to_vec()));
    let translated = synced.ids().into_iter().filter_map(|id| {
        let translation = translate(&synced.snapshot(&id), &settings);
        problems.extend(translation.problems);
        translation.balancer
    });
    let balancers: Vec<_> = translated.collect();
    let document = plan_offline(&balancers, &portcullis_aws::Settings::default());
    problems.extend(
        document
            .load_balancers
            .iter()
            .flat_map(|one| one.problems.clone()),
    );
    (document, problems)
}

fn group(document: &Document) -> &Preview {
    let id = LoadBalancerId::Group("g".into());
    let mut all = document.load_balancers.iter();
    all.find(|preview| preview.id == id).unwrap()
}

/// Listener and match of each rule for a host, with whether it forwards and to what.
fn rules(preview: &Preview, host: &str) -> BTreeSet<(String, String, String)> {
    let rules = preview.resources.iter().filter(|one| one.kind == "ListenerRule");
    rules
        .filter(|rule| rule.spec["Conditions"].to_string().contains(host))
        .map(|rule| {
            let port = rule.id.split(':').next().unwrap().to_owned();
            let (conditions, actions) = (&rule.spec["Conditions"], &rule.spec["Actions"]);
            // Which of the equal target groups it is depends on who else asks for one.
            let actions = match actions.to_string() {
                text if text.contains("TargetGroupArn") => "forward to web".to_owned(),
                other => other,
            };
            (port, conditions.to_string(), actions)
        })
        .collect()
}

/// Who may reach the load balancer at all: its kind, and what its group lets in at the neighbour's port.
fn reach(preview: &Preview) -> (Value, Vec<Value>) {
    let of = |kind: &str| {
        preview
            .resources
            .iter()
            .find(move |one| one.kind == kind)
            .unwrap()
    };
    let scheme = of("LoadBalancer").spec["Scheme"].clone();
    let permissions = of("SecurityGroup").spec["IpPermissions"].clone();
    let all = permissions.as_array().unwrap().iter();
    let plain = all.filter(|permission| permission["FromPort"] == 80).cloned();
    (scheme, plain.collect())
}

#[test]
fn a_bad_value_is_told_at_its_field_opens_nothing_and_leaves_the_neighbour_alone() {
    let mut wrong = Vec::new();
    for controller in [ControllerName::OURS, ControllerName::INCUMBENT] {
        let (without, problems) = planned(&[], controller);
        assert_eq!(problems, []);
        for (annotations, left) in ROWS {
            let (name, value) = annotations.last().unwrap();
            let case = format!("{controller}: {name} {value:?}");
            let (with, problems) = planned(annotations, controller);
            let field = format!("metadata.annotations[alb.ingress.kubernetes.io/{name}]");
            let told = |problem: &Problem| &*problem.at.object.name == "bad" && *problem.at.field == *field;
            let of_bad = |problem: &Problem| &*problem.at.object.name == "bad";
            let (before, after) = (group(&without), group(&with));
            let mut everywhere = with
                .load_balancers
                .iter()
                .flat_map(|one| rules(one, "bad.example"));
            let forwards = everywhere.any(|(_, _, actions)| actions == "forward to web");
            for (what, holds) in [
                ("it is told at its field", problems.iter().any(told)),
                ("nobody else is told", problems.iter().all(of_bad)),
                (
                    "the neighbour's rules",
                    rules(before, "good.example") == rules(after, "good.example"),
                ),
                ("who reaches it", reach(before) == reach(after)),
                ("whether it is served", forwards == (*left == Served)),
            ] {
                if !holds {
                    wrong.push(format!("{case}: {what}: {problems:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
