//! Every bad value of an annotation or field that the AWS Load Balancer Controller refuses in, the problem at its field
//! and the AWS plan out: nothing is more open than without it, the neighbour is served as before, and what exists stays.
#![expect(clippy::unwrap_used, reason = "all of it is a test: a panic is the report")]

#[path = "bad_values/beside.rs"]
mod beside;
#[path = "bad_values/existing.rs"]
mod existing;
#[path = "bad_values/guards.rs"]
mod guards;
#[path = "bad_values/paths.rs"]
mod paths;
#[path = "bad_values/rows.rs"]
mod rows;

use std::collections::BTreeSet;
use std::fmt::Write;

use portcullis::cluster::index::SecretsMode;
use portcullis::cluster::manifests::Manifests;
use portcullis::translate::{self, ControllerName, Settings, translate};
use portcullis_aws::plan_offline;
use portcullis_aws::preview::{Document, Preview};
use portcullis_model::{LoadBalancer, LoadBalancerId, Problem};
use serde_json::Value;

use self::existing::Existing;
use self::rows::Left::{self, Served};
use self::rows::{GOOD_THEN_BAD, NEWCOMERS, OF_CLASSES, OF_INGRESSES, OF_SERVICES, OF_TARGETS};

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
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: own-1, namespace: shop, labels: {kubernetes.io/service-name: own}}
addressType: IPv4
ports: [{port: 80}]
endpoints: [{addresses: [10.0.0.2]}]
";

/// Where a bad value stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Given {
    Nothing,
    Ingress(&'static [(&'static str, &'static str)]),
    Service(&'static [(&'static str, &'static str)]),
    /// `spec` of the class's parameters.
    Class(&'static str),
}

/// The Ingress `bad`, with the Service `own` and the class that it has to itself.
fn bad(given: Given) -> String {
    let mut text = String::new();
    let mut of_ingress = vec![("group.name", "g"), ("target-type", "ip")];
    if let Given::Ingress(annotations) = given {
        of_ingress.retain(|(name, _)| !annotations.iter().any(|(given, _)| given == name));
        of_ingress.extend(annotations);
    }
    let class = match given {
        Given::Class(_) => "  ingressClassName: own\n",
        Given::Nothing | Given::Ingress(_) | Given::Service(_) => "",
    };
    text.push_str(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: bad\n  namespace: shop\n",
    );
    annotate(&mut text, &of_ingress);
    // What an action leads to is asked for in its own row alone.
    let backend = match given {
        Given::Ingress(_) if of_ingress.iter().any(|(name, _)| *name == "actions.deny") => {
            "{name: deny, port: {name: use-annotation}}"
        }
        Given::Service(_) => "{name: own, port: {number: 80}}",
        Given::Nothing | Given::Ingress(_) | Given::Class(_) => "{name: web, port: {number: 80}}",
    };
    writeln!(
        text,
        "spec:\n{class}  rules:\n  - host: bad.example\n    http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {backend}}}}}]}}"
    )
    .unwrap();
    if let Given::Service(annotations) = given {
        text.push_str("---\napiVersion: v1\nkind: Service\nmetadata:\n  name: own\n  namespace: shop\n");
        annotate(&mut text, annotations);
        text.push_str("spec: {ports: [{port: 80}]}\n");
    }
    text
}

fn annotate(text: &mut String, annotations: &[(&str, &str)]) {
    text.push_str("  annotations:\n");
    for (name, value) in annotations {
        writeln!(text, "    {}: {value:?}", key(name)).unwrap();
    }
}

/// With the incumbent's prefix, where none is written.
fn key(name: &str) -> String {
    match name.contains('/') {
        true => name.to_owned(),
        false => format!("alb.ingress.kubernetes.io/{name}"),
    }
}

/// A class of a controller with parameters of its own, and one for whoever names none.
fn class(controller: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: rest, annotations: {{ingressclass.kubernetes.io/is-default-class: \"true\"}}}}
spec: {{controller: {controller}}}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {{name: own}}
spec: {{controller: {controller}, parameters: {{apiGroup: elbv2.k8s.aws, kind: IngressClassParams, name: own}}}}
---
apiVersion: elbv2.k8s.aws/v1beta1
kind: IngressClassParams
metadata: {{name: own}}
spec: {spec}
"
    )
}

/// The manifests, with more Ingresses.
fn manifests(given: Given, more: &str, controller: &str) -> String {
    let mut text = bad(given);
    text.push_str(REST);
    text.push_str(more);
    if let Given::Class(spec) = given {
        text.push_str(&class(controller, spec));
    }
    text
}

/// What they ask for, and all that is told.
fn translated(text: &str, controller: &str) -> (Vec<LoadBalancer>, Vec<Problem>) {
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
    (balancers, problems)
}

/// What AWS is asked for, and all that is told.
fn planned(given: Given, controller: &str) -> (Document, Vec<Problem>) {
    let (balancers, mut problems) = translated(&manifests(given, "", controller), controller);
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
fn reach(preview: &Preview) -> Option<(Value, Vec<Value>)> {
    let of = |kind: &str| preview.resources.iter().find(move |one| one.kind == kind);
    let scheme = of("LoadBalancer")?.spec["Scheme"].clone();
    let permissions = of("SecurityGroup")?.spec["IpPermissions"].clone();
    let all = permissions.as_array()?.iter();
    let plain = all.filter(|permission| permission["FromPort"] == 80).cloned();
    Some((scheme, plain.collect()))
}

/// What does not hold with a value that is told at a field of an object.
fn wrongs(controller: &str, given: Given, (object, field): (&str, &str), left: Left) -> Vec<String> {
    let (without, problems) = planned(Given::Nothing, controller);
    assert_eq!(problems, []);
    let (with, problems) = planned(given, controller);
    let told = |problem: &Problem| &*problem.at.object.name == object && *problem.at.field == *field;
    // What it leaves of its own Ingress is told there.
    let own = |problem: &Problem| ["bad", object].contains(&&*problem.at.object.name);
    let (before, after) = (group(&without), group(&with));
    let mut everywhere = with
        .load_balancers
        .iter()
        .flat_map(|one| rules(one, "bad.example"));
    let forwards = everywhere.any(|(_, _, actions)| actions == "forward to web");
    let wrong = |(what, holds): &(&str, bool)| {
        (!holds).then(|| format!("{controller}: {given:?}: {what}: {problems:?}"))
    };
    [
        ("it is told at its field", problems.iter().any(told)),
        ("nobody else is told", problems.iter().all(own)),
        (
            "the neighbour's rules",
            rules(before, "good.example") == rules(after, "good.example"),
        ),
        ("who reaches it", reach(before) == reach(after)),
        ("whether it is served", forwards == (left == Served)),
    ]
    .iter()
    .filter_map(wrong)
    .collect()
}

const CONTROLLERS: [&str; 2] = [ControllerName::OURS, ControllerName::INCUMBENT];

#[test]
fn a_bad_value_is_told_at_its_field_opens_nothing_and_leaves_the_neighbour_alone() {
    let mut wrong = Vec::new();
    let field = |annotations: &[(&str, &str)]| {
        let (name, _) = annotations.last().unwrap();
        format!("metadata.annotations[{}]", key(name))
    };
    for controller in CONTROLLERS {
        for (annotations, left) in OF_INGRESSES.iter().chain(OF_TARGETS) {
            let at = field(annotations);
            wrong.extend(wrongs(
                controller,
                Given::Ingress(annotations),
                ("bad", &at),
                *left,
            ));
        }
        for (annotations, left) in OF_SERVICES.iter().chain(OF_TARGETS) {
            let at = field(annotations);
            wrong.extend(wrongs(
                controller,
                Given::Service(annotations),
                ("own", &at),
                *left,
            ));
        }
        for (spec, at, left) in OF_CLASSES {
            wrong.extend(wrongs(controller, Given::Class(spec), ("own", at), *left));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every row of the tables, by what is given.
fn all_rows() -> impl Iterator<Item = Given> {
    let ingresses = OF_INGRESSES
        .iter()
        .chain(OF_TARGETS)
        .map(|(annotations, _)| Given::Ingress(annotations));
    let services = OF_SERVICES
        .iter()
        .chain(OF_TARGETS)
        .map(|(annotations, _)| Given::Service(annotations));
    let classes = OF_CLASSES.iter().map(|(spec, ..)| Given::Class(spec));
    ingresses.chain(services).chain(classes)
}

#[test]
fn a_bad_value_takes_nothing_from_what_exists_but_its_own_rules() {
    // What takes from all, or would.
    const OF_ALL: [&str; 7] = [
        "elbv2:DeleteLoadBalancer",
        "elbv2:SetSubnets",
        "elbv2:SetIpAddressType",
        "elbv2:SetSecurityGroups",
        "elbv2:ModifyIpPools",
        "elbv2:RemoveTags",
        "ec2:DeleteSecurityGroup",
    ];
    let mut wrong = Vec::new();
    for controller in CONTROLLERS {
        let asked = |given| translated(&manifests(given, "", controller), controller).0;
        for given in all_rows() {
            let mut existing = Existing::nothing();
            existing.apply(&asked(Given::Nothing));
            let rules = existing.rules("good.example");
            assert!(!rules.is_empty());
            let calls = existing.apply(&asked(given));
            let taken = |call: &&String| OF_ALL.iter().any(|name| call.starts_with(name));
            let of_all: Vec<&String> = calls.iter().filter(taken).collect();
            let same_rules = rules
                .iter()
                .all(|rule| existing.rules("good.example").contains(rule));
            if !of_all.is_empty() || !same_rules {
                wrong.push(format!("{controller}: {given:?}: {of_all:?} {same_rules}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_was_right_stays_when_it_turns_bad_and_is_applied_when_it_is_right_again() {
    let mut wrong = Vec::new();
    for controller in CONTROLLERS {
        let asked = |given| translated(&manifests(given, "", controller), controller).0;
        for (good, bad) in GOOD_THEN_BAD {
            let mut existing = Existing::nothing();
            existing.apply(&asked(*good));
            let reach = existing.reach();
            let calls = existing.apply(&asked(*bad));
            let again = existing.apply(&asked(*good));
            if !calls.is_empty() || !again.is_empty() || reach != existing.reach() {
                wrong.push(format!("{controller}: {good:?} {bad:?}: {calls:?} {again:?}"));
            }
            // It was no default: without it something changes.
            if existing.apply(&asked(Given::Nothing)).is_empty() {
                wrong.push(format!("{controller}: {good:?} is the default"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_newcomer_that_disagrees_takes_nothing_over() {
    let mut wrong = Vec::new();
    for controller in CONTROLLERS {
        for (given, theirs) in NEWCOMERS {
            let mut newcomer = String::from(
                "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: aaa\n  namespace: shop\n  creationTimestamp: \"2026-11-02T00:00:00Z\"\n",
            );
            annotate(
                &mut newcomer,
                &[&[("group.name", "g"), ("target-type", "ip")], *theirs].concat(),
            );
            newcomer.push_str(
                "spec:\n  rules:\n  - host: aaa.example\n    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}\n",
            );
            let aged = |text: String| {
                let day = "  creationTimestamp: \"2026-11-01T00:00:00Z\"\n";
                ["bad", "good"].iter().fold(text, |text, name| {
                    let name = format!("  name: {name}\n  namespace: shop\n");
                    text.replace(&name, &format!("{name}{day}"))
                })
            };
            let asked = |more: &str| {
                let text = aged(manifests(Given::Ingress(given), more, controller));
                translated(&text, controller).0
            };
            let mut existing = Existing::nothing();
            existing.apply(&asked(""));
            let (reach, hosts) = (existing.reach(), ["bad.example", "good.example"]);
            let rules = hosts.map(|host| existing.rules(host));
            let calls = existing.apply(&asked(&newcomer));
            let after = hosts.map(|host| existing.rules(host));
            if reach != existing.reach() || rules != after || existing.rules("aaa.example").is_empty() {
                wrong.push(format!("{controller}: {given:?} {theirs:?}: {calls:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
