//! Every bad value of an annotation or field that the AWS Load Balancer Controller refuses in, the problem at its field
//! and the AWS plan out: nothing is more open than without it, and the neighbour is served as before.
#![expect(clippy::unwrap_used, reason = "all of it is a test: a panic is the report")]

#[path = "bad_values/rows.rs"]
mod rows;

use std::collections::BTreeSet;
use std::fmt::Write;

use portcullis::cluster::index::SecretsMode;
use portcullis::cluster::manifests::Manifests;
use portcullis::translate::{self, ControllerName, Settings, translate};
use portcullis_aws::plan_offline;
use portcullis_aws::preview::{Document, Preview};
use portcullis_model::{LoadBalancerId, Problem};
use serde_json::Value;

use self::rows::Left::{self, Served};
use self::rows::{OF_CLASSES, OF_INGRESSES, OF_SERVICES};

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
enum Given {
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
        writeln!(text, "    alb.ingress.kubernetes.io/{name}: {value:?}").unwrap();
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

/// What AWS is asked for, and all that is told.
fn planned(given: Given, controller: &str) -> (Document, Vec<Problem>) {
    let mut text = bad(given);
    text.push_str(REST);
    if let Given::Class(spec) = given {
        text.push_str(&class(controller, spec));
    }
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
        format!("metadata.annotations[alb.ingress.kubernetes.io/{name}]")
    };
    for controller in CONTROLLERS {
        for (annotations, left) in OF_INGRESSES {
            let at = field(annotations);
            wrong.extend(wrongs(
                controller,
                Given::Ingress(annotations),
                ("bad", &at),
                *left,
            ));
        }
        for (annotations, left) in OF_SERVICES {
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
