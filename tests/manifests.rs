//! Damaged and arbitrary manifests in; out: whether reading holds still, keeps the neighbours and narrows nothing less.

#[path = "agreement/damage.rs"]
mod damage;
#[path = "agreement/property.rs"]
mod property;

use portcullis::cluster::manifests::Manifests;
use portcullis::cluster::object::Object;
use portcullis_model::Code;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::damage::{damage, damaged};
use crate::property::holds;

/// What fields are misspelt as.
const RENAMED: [&str; 7] = ["hosts", "Host", "Path", "pathtype", "paths", "rule", "x"];

const NEIGHBOUR: &str =
    "apiVersion: v1\nkind: Service\nmetadata: {name: neighbour}\nspec: {ports: [{port: 80}]}\n";

const GOOD: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  annotations: {alb.ingress.kubernetes.io/scheme: internal}
spec:
  ingressClassName: ours
  rules:
    - host: a.io
      http:
        paths:
          - {path: /a, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}
          - {path: /b, pathType: Exact, backend: {service: {name: two, port: {name: http}}}}
    - host: '*.b.io'
      http:
        paths:
          - {path: /, pathType: ImplementationSpecific, backend: {service: {name: three, port: {number: 80}}}}
---
apiVersion: v1
kind: Service
metadata: {name: one}
spec: {type: ClusterIP, ports: [{port: 80, targetPort: http}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: one-1, labels: {kubernetes.io/service-name: one}}
addressType: IPv4
ports: [{name: '', port: 8080}]
endpoints: [{addresses: [10.0.0.1], conditions: {ready: true}}]
---
apiVersion: v1
kind: Secret
metadata: {name: tls}
type: kubernetes.io/tls
data: {tls.crt: QQ==, tls.key: QQ==}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: ours}
spec: {controller: portcullis.dev/ingress, parameters: {apiGroup: portcullis.dev, kind: IngressClassParameters, name: ours}}
---
apiVersion: portcullis.dev/v1alpha1
kind: IngressClassParameters
metadata: {name: ours}
spec: {scheme: internal, admission: {namespaces: {names: [default]}}}
";

fn ingress() -> Value {
    let path = |path: &str, kind: &str| json!({"path": path, "pathType": kind, "backend": {"service": {"name": "one", "port": {"number": 80}}}});
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
        "spec": {"rules": [
            {"host": "a.io", "http": {"paths": [path("/a", "Prefix"), path("/b", "Exact")]}},
            {"host": "*.b.io", "http": {"paths": [path("/", "ImplementationSpecific")]}},
        ]},
    })
}

#[test]
fn a_damaged_ingress_takes_no_more_than_is_written() {
    let done = vec((any::<Index>(), damage(&RENAMED)), 1..4);
    holds("tests/regressions/damaged.txt", 1, &done, |done| {
        let document = damaged(ingress(), &done);
        let mut manifests = Manifests::default();
        manifests.update("web.yaml", document.to_string().as_bytes());
        for object in manifests.objects() {
            let Object::Ingress(ingress) = object else {
                continue;
            };
            if ingress.refused.is_some() {
                let (rules, paths) = (rules(&document), paths(&document));
                for rule in &ingress.rules {
                    let takes_all = rules.iter().any(|rule| is_absent(rule, "host", &["http"]));
                    prop_assert!(rule.host.is_some() || takes_all, "{}", document);
                    for path in &*rule.paths {
                        let others = ["pathType", "backend"];
                        let takes_all = paths.iter().any(|path| is_absent(path, "path", &others));
                        prop_assert!(path.path.is_some() || takes_all, "{}", document);
                    }
                }
                continue;
            }
            for (i, rule) in ingress.rules.iter().enumerate() {
                let written = &document["spec"]["rules"][i];
                prop_assert!(
                    rule.host.is_some() || is_absent(written, "host", &["http"]),
                    "{}",
                    document
                );
                for (j, path) in rule.paths.iter().enumerate() {
                    let written = &written["http"]["paths"][j];
                    let others = ["pathType", "backend"];
                    prop_assert!(
                        path.path.is_some() || is_absent(written, "path", &others),
                        "{}",
                        document
                    );
                }
            }
        }
        Ok(())
    });
}

/// What may be rules of what is closed, whatever they stand under, each without what may be its paths.
fn rules(document: &Value) -> Vec<Value> {
    let mut rules: Vec<Value> = specs(document).flat_map(below).cloned().collect();
    for rule in &mut rules {
        let fields = rule.as_object_mut().into_iter();
        fields.for_each(|fields| fields.retain(|_, value| !value.is_object()));
    }
    rules
}

fn paths(document: &Value) -> Vec<Value> {
    let paths = specs(document).flat_map(below).flat_map(below).flat_map(below);
    paths.cloned().collect()
}

/// What may be the spec, whatever it is called, and the object itself, one level out.
fn specs(document: &Value) -> impl Iterator<Item = &Value> {
    std::iter::once(document).chain(below(document))
}

/// The objects in an object's fields, or in lists there.
fn below(object: &Value) -> impl Iterator<Item = &Value> {
    let fields = object.as_object().into_iter().flatten();
    let all = fields.flat_map(|(_, value)| match value.as_array() {
        Some(all) => &all[..],
        None => std::slice::from_ref(value),
    });
    all.filter(|value| value.is_object())
}

/// The field is not there, nor any that it may have been meant to be.
fn is_absent(object: &Value, field: &str, others: &[&str]) -> bool {
    let fields = object.as_object();
    fields.is_none_or(|fields| {
        fields
            .iter()
            .all(|(k, v)| others.contains(&k.as_str()) || v.is_null() || (k == field && v == ""))
    })
}

#[test]
fn an_unreadable_file_keeps_its_content_and_its_neighbours() {
    // Where the text is cut, and what is put there.
    let meant = select(&[
        "{", "}", "[", ":", "- ", "\n", "---\n", "'", "\"", "&a ", "*a", "<<: ", "\t", "\u{0}", "!!", "#",
        "|", "é",
    ]);
    let inserted = prop_oneof![
        3 => vec(meant, 0..4).prop_map(|parts| parts.concat().into_bytes()),
        1 => any::<Vec<u8>>(),
    ];
    let cuts = vec((any::<Index>(), 0..40_usize, inserted), 1..4);
    holds("tests/regressions/unreadable.txt", 1, &cuts, |cuts| {
        let mut bytes = GOOD.as_bytes().to_vec();
        for (at, removed, inserted) in &cuts {
            let at = at.index(bytes.len().max(1)).min(bytes.len());
            let end = (at + removed).min(bytes.len());
            bytes.splice(at..end, inserted.iter().copied());
        }
        let mut manifests = Manifests::default();
        manifests.update("0.yaml", NEIGHBOUR.as_bytes());
        prop_assert!(
            manifests.update("1.yaml", GOOD.as_bytes()).is_empty(),
            "{:?}",
            manifests.problems()
        );
        let before = manifests.objects();
        let unreadable = manifests
            .update("1.yaml", &bytes)
            .iter()
            .any(|problem| problem.code == Code::FileUnreadable);
        let after = manifests.objects();
        prop_assert_eq!(&after[0], &before[0]);
        if unreadable {
            prop_assert_eq!(after, before);
        }
        Ok(())
    });
}
