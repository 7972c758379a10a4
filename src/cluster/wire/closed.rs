//! An Ingress that Kubernetes would refuse in, what can be read of it out: enough to close what it was to guard.
//!
//! Read field by field, and more leniently than anything that is served: a number for a text, one for a list of one,
//! and a misspelt name where what stands under it can be nothing else.

use std::collections::BTreeSet;
use std::slice;
use std::sync::Arc;

use portcullis_model::ObjectName;
use serde_json::Value;

use super::class::is_default;
use super::text;
use crate::cluster::object::{
    Ingress, IngressBackend, IngressClass, IngressPath, IngressRule, IngressTls, Kind, Meta, ParametersRef,
    PortRef,
};

const PATH_TYPES: [&str; 3] = ["Exact", "Prefix", "ImplementationSpecific"];

const SPEC: &[&str] = &["defaultBackend", "ingressClassName", "rules", "tls"];

/// Fields beside the annotations that may hold the like.
const METADATA: &[&str] = &["labels", "managedFields"];

/// Fields of every object.
const OBJECT: &[&str] = &["apiVersion", "kind", "metadata", "status"];

/// Most paths of an Ingress, those of each host counted: it may have as many rules, and what closes them is no less work.
const MOST_PATHS: usize = 10_000;

/// What is left of an Ingress with this field that is refused.
pub(super) fn ingress(name: &ObjectName, value: &Value, field: &str) -> Ingress {
    // It asked for no type until Kubernetes 1.19.
    let is_old = value["apiVersion"] != Kind::Ingress.api_version();
    let default_type = if is_old { "ImplementationSpecific" } else { "" };
    let spec = spec_of(value);
    // Misspelt, one level out, or below the metadata, as where the line of the spec is missing.
    let field_of = |name: &str, fits: &dyn Fn(&Value) -> bool| {
        let written = [
            named(spec, name, SPEC, fits),
            &value[name],
            &value["metadata"][name],
        ];
        let mut written = written.into_iter();
        written.find(|value| !value.is_null()).unwrap_or(&Value::Null)
    };
    let are_rules = |value: &Value| list(value).iter().any(|rule| rule["http"].is_object());
    let rules = match value["spec"].is_array() && are_rules(&value["spec"]) {
        // As where the line of the rules is missing.
        true => &value["spec"],
        false => field_of("rules", &are_rules),
    };
    let secrets = field_of("tls", &|value| {
        let mut all = list(value).iter();
        all.any(|tls| tls["secretName"].is_string() || tls["hosts"].is_array())
    });
    let class = field_of("ingressClassName", &Value::is_string);
    let default_backend = [field_of("defaultBackend", &is_backend), &spec["backend"]]
        .into_iter()
        .find(|backend| !backend.is_null());
    let mut left = MOST_PATHS;
    Ingress {
        meta: meta(name, &value["metadata"]),
        generation: 0,
        class_name: texts(class).into_iter().next(),
        default_backend: default_backend.map(backend),
        tls: match secrets {
            Value::Null => Vec::new(),
            Value::Array(_) | Value::Object(_) => list(secrets).iter().map(tls).collect(),
            // It asks for HTTPS all the same.
            Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![tls(&Value::Null)],
        },
        rules: list(rules)
            .iter()
            .flat_map(|value| rule(value, &spec["http"], default_type, &mut left))
            .collect(),
        status: Vec::new(),
        held_for: BTreeSet::new(),
        refused: Some(field.into()),
    }
}

fn spec_of(value: &Value) -> &Value {
    let written = named(value, "spec", OBJECT, |spec| {
        SPEC.iter().any(|field| !spec[field].is_null())
    });
    list(written).first().unwrap_or(written)
}

fn is_backend(value: &Value) -> bool {
    value["service"].is_object() || value["serviceName"].is_string()
}

/// What is left of an IngressClass that is refused: its Ingresses belong to it, and nothing is known of what it asks of them.
pub(super) fn class(name: &ObjectName, value: &Value) -> IngressClass {
    let meta = meta(name, &value["metadata"]);
    let spec = list(&value["spec"]).first().unwrap_or(&Value::Null);
    IngressClass {
        is_default: is_default(&meta),
        meta,
        controller: one(&spec["controller"]).unwrap_or_else(|| IngressClass::OURS.into()),
        // Of no kind: parameters that cannot be had.
        parameters: Some(ParametersRef {
            api_group: Arc::default(),
            kind: Arc::default(),
            name: Arc::default(),
        }),
    }
}

fn meta(name: &ObjectName, metadata: &Value) -> Meta {
    // A list of them, or one under another name, says the same.
    let written = named(metadata, "annotations", METADATA, |value| {
        let mut all = list(value).iter().filter_map(Value::as_object).flatten();
        all.any(|(key, _)| Meta::keeps_annotation(key))
    });
    let annotations = list(written).iter().filter_map(Value::as_object).flatten();
    let created = metadata["creationTimestamp"].as_str().and_then(text::seconds);
    Meta {
        name: name.clone(),
        uid: one(&metadata["uid"]).unwrap_or_default(),
        created: created.unwrap_or_default(),
        deleting: !metadata["deletionTimestamp"].is_null(),
        annotations: annotations
            .filter(|(key, _)| Meta::keeps_annotation(key))
            .map(|(key, value)| {
                let said = match value {
                    Value::Null => Arc::default(),
                    Value::String(text) => text.as_str().into(),
                    // Of one that is written as an object, its text in JSON is what was meant.
                    Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                        value.to_string().into()
                    }
                };
                (key.as_str().into(), Meta::kept_value(key, said))
            })
            .collect(),
    }
}

fn tls(tls: &Value) -> IngressTls {
    IngressTls {
        hosts: texts(&tls["hosts"]),
        secret: one(&tls["secretName"]),
    }
}

/// A rule for each of its hosts; none where nothing is known of these, or of its paths, which may stand beside the rules. Where
/// fewer are left than a host has, these and all of the host.
fn rule(rule: &Value, beside: &Value, default_type: &str, left: &mut usize) -> Vec<IngressRule> {
    let http = named(rule, "http", &["host"], Value::is_object);
    // Paths that stand where `http` should, or in its place.
    let bare = Some(named(rule, "paths", &["host", "http"], |value| {
        list(value).iter().any(is_path)
    }));
    let bare = bare.filter(|bare| http.is_null() && !list(bare).is_empty());
    let bare = bare.unwrap_or(&Value::Null);
    let http = match http.is_null() && bare.is_null() {
        true => beside,
        false => http,
    };
    let paths: Arc<[IngressPath]> = list(http)
        .iter()
        .flat_map(|http| match paths_of(http) {
            None if is_path(http) => slice::from_ref(http),
            None => &[],
            Some(written) => list(written),
        })
        .chain(list(bare))
        .flat_map(|value| paths(value, default_type))
        .collect();
    if !rule.is_object() || (!http.is_null() && paths.is_empty()) {
        return Vec::new();
    }
    let mut with = |host: Option<Arc<str>>| {
        let fit = paths.len().min(*left);
        *left -= fit;
        let is_closed = fit < paths.len();
        IngressRule {
            host,
            paths: if is_closed {
                paths[..fit].into()
            } else {
                paths.clone()
            },
            is_closed,
        }
    };
    let host = &rule["host"];
    // A host that stands with the paths is that of the rule.
    let inner = list(http)
        .iter()
        .flat_map(|http| [&http["host"], &http["hosts"]])
        .filter(|value| !value.is_null());
    let mut others = unknown(rule, &["host", "http"])
        .filter(|value| *value != http && *value != bare)
        .chain(inner)
        .peekable();
    let written: Vec<Arc<str>> = match host.is_null() || host == "" {
        true if others.peek().is_none() => return vec![with(None)],
        true => others.flat_map(texts).collect(),
        false => texts(host),
    };
    written.into_iter().map(|host| with(Some(host))).collect()
}

fn paths_of(http: &Value) -> Option<&Value> {
    let written = named(http, "paths", &["host", "hosts"], Value::is_array);
    Some(written).filter(|written| !written.is_null())
}

fn is_path(value: &Value) -> bool {
    value["backend"].is_object() && !value["path"].is_array()
}

/// A path for each that is written; none where nothing is known of it.
fn paths(written: &Value, default_type: &str) -> Vec<IngressPath> {
    const FIELDS: &[&str] = &["path", "pathType", "backend"];
    if !written.is_object() {
        return Vec::new();
    }
    let of_type = named(written, "pathType", FIELDS, |value| {
        value.as_str().is_some_and(|text| PATH_TYPES.contains(&text))
    });
    let with = |path: Option<Arc<str>>| IngressPath {
        path,
        path_type: (texts(of_type).into_iter().next()).unwrap_or_else(|| default_type.into()),
        backend: backend(&written["backend"]),
    };
    let path = named(written, "path", FIELDS, |value| {
        texts(value).iter().any(|text| text.starts_with('/'))
    });
    match path.is_null() || path == "" {
        // Which requests it was for is not known.
        true if unknown(written, FIELDS).next().is_some() => Vec::new(),
        true => vec![with(None)],
        false => texts(path).into_iter().map(|path| with(Some(path))).collect(),
    }
}

fn backend(written: &Value) -> IngressBackend {
    let service = &written["service"];
    let (name, port) = match service.is_object() {
        true => {
            let port = &service["port"];
            let number = Some(&port["number"]).filter(|number| !number.is_null());
            (&service["name"], number.unwrap_or(&port["name"]))
        }
        // As it was written until Kubernetes 1.21.
        false => (&written["serviceName"], &written["servicePort"]),
    };
    let Some(name) = one(name) else {
        return IngressBackend::Missing;
    };
    let port = one(port).map_or(PortRef::Missing, |port| {
        port.parse().map_or(PortRef::Name(port), PortRef::Number)
    });
    IngressBackend::Service { name, port }
}

/// A field, or where it is absent one of another name that fits, and is none of these.
fn named<'a>(of: &'a Value, name: &str, known: &[&str], fits: impl Fn(&Value) -> bool) -> &'a Value {
    let written = &of[name];
    if !written.is_null() {
        return written;
    }
    let mut others = unknown(of, known);
    others.find(|value| fits(value)).unwrap_or(written)
}

fn unknown<'a>(of: &'a Value, known: &[&str]) -> impl Iterator<Item = &'a Value> {
    let fields = of.as_object().into_iter().flatten();
    fields
        .filter(|(key, value)| !known.contains(&key.as_str()) && !value.is_null())
        .map(|(_, value)| value)
}

fn list(value: &Value) -> &[Value] {
    match value {
        Value::Array(all) => all,
        Value::Object(_) => slice::from_ref(value),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => &[],
    }
}

fn texts(value: &Value) -> Vec<Arc<str>> {
    match value {
        Value::Array(all) => all.iter().filter_map(one).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            one(value).into_iter().collect()
        }
    }
}

fn one(value: &Value) -> Option<Arc<str>> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.as_str().into()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string().into()),
        Value::String(_) | Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn closed(spec: &Value) -> Vec<String> {
        let value = json!({"apiVersion": "networking.k8s.io/v1", "spec": spec});
        let ingress = ingress(&ObjectName::new("shop", "web"), &value, "spec");
        let mut all = Vec::new();
        for rule in &ingress.rules {
            if rule.paths.is_empty() {
                all.push(format!("{} all", rule.host.as_deref().unwrap_or("-")));
            }
            for path in &*rule.paths {
                let (host, path_of) = (rule.host.as_deref(), path.path.as_deref());
                let text = format!(
                    "{} {} {}",
                    host.unwrap_or("-"),
                    path_of.unwrap_or("-"),
                    path.path_type
                );
                all.push(text.trim().to_owned());
            }
        }
        all.extend(ingress.default_backend.map(|_| "default".to_owned()));
        all
    }

    #[test]
    fn annotations_are_read_also_where_they_are_a_list_or_misspelt() {
        let one = json!({"portcullis.dev/path-match": "regex"});
        let two = json!({"portcullis.dev/basic-auth-secret": "users"});
        let both = json!({"portcullis.dev/path-match": "regex", "portcullis.dev/basic-auth-secret": "users"});
        for (what, metadata) in [
            ("a list", json!({"annotations": [one, two]})),
            (
                "misspelt",
                json!({"annotation": both, "labels": {"portcullis.dev/x": "y"}}),
            ),
            (
                "right",
                json!({"annotations": both, "annotation": {"portcullis.dev/x": "y"}}),
            ),
        ] {
            let meta = meta(&ObjectName::new("shop", "web"), &metadata);
            let keys: Vec<&str> = meta.annotations.keys().map(|key| &**key).collect();
            assert_eq!(
                keys,
                ["portcullis.dev/basic-auth-secret", "portcullis.dev/path-match"],
                "{what}"
            );
        }
    }

    #[test]
    fn what_can_be_read_is_closed_and_nothing_else() {
        let rules = |rule: Value| json!({"rules": [rule]});
        let of = |path: Value| json!({"rules": [{"host": "a.io", "http": {"paths": [path]}}]});
        let right = json!({"path": "/a", "pathType": "Exact", "backend": {"service": {"name": "web"}}});
        for (what, spec, want) in [
            ("all of it", of(right.clone()), vec!["a.io /a Exact"]),
            (
                "a path of numbers",
                of(json!({"path": 123, "pathType": "Prefix"})),
                vec!["a.io 123 Prefix"],
            ),
            (
                "a type that is a list",
                of(json!({"path": "/a", "pathType": [1]})),
                vec!["a.io /a 1"],
            ),
            (
                "several paths",
                of(json!({"path": ["/a", "/b"]})),
                vec!["a.io /a", "a.io /b"],
            ),
            (
                "a misspelt path",
                of(json!({"Path": "/a", "pathType": "Exact"})),
                vec!["a.io /a Exact"],
            ),
            (
                "a misspelt type",
                of(json!({"path": "/a", "pathTyp": "Exact"})),
                vec!["a.io /a Exact"],
            ),
            ("a type alone, misspelt", of(json!({"pathTyp": "Exact"})), vec![]),
            ("nothing known of the path", of(json!({"path": {"a": 1}})), vec![]),
            ("nothing known of another", of(json!({"paht": {"a": 1}})), vec![]),
            ("a path that is a text", of(json!("/a")), vec![]),
            (
                "paths that are one",
                rules(json!({"host": "a.io", "http": {"paths": right}})),
                vec!["a.io /a Exact"],
            ),
            (
                "rules that are one",
                json!({"rules": {"host": "a.io", "http": {"paths": [right]}}}),
                vec!["a.io /a Exact"],
            ),
            (
                "misspelt rules",
                json!({"ruless": [{"http": {"paths": [right]}}]}),
                vec!["- /a Exact"],
            ),
            (
                "misspelt http",
                rules(json!({"host": "a.io", "htpp": {"paths": [right]}})),
                vec!["a.io /a Exact"],
            ),
            (
                "misspelt paths",
                rules(json!({"host": "a.io", "http": {"path": [right]}})),
                vec!["a.io /a Exact"],
            ),
            (
                "paths where http should be",
                rules(json!({"host": "a.io", "paths": [right]})),
                vec!["a.io /a Exact"],
            ),
            (
                "paths in the place of http",
                rules(json!({"host": "a.io", "http": [right]})),
                vec!["a.io /a Exact"],
            ),
            (
                "a host beside paths",
                rules(json!({"http": {"host": "a.io", "paths": [right]}})),
                vec!["a.io /a Exact"],
            ),
            (
                "hosts beside paths",
                rules(json!({"http": {"hosts": ["a.io"], "paths": [right]}})),
                vec!["a.io /a Exact"],
            ),
            (
                "nothing known of paths",
                rules(json!({"host": "a.io", "http": {"paths": "/a"}})),
                vec![],
            ),
            (
                "no host",
                rules(json!({"http": {"paths": [right]}})),
                vec!["- /a Exact"],
            ),
            (
                "misspelt hosts",
                rules(json!({"hosts": ["a.io", "b.io"], "http": {"paths": [right]}})),
                vec!["a.io /a Exact", "b.io /a Exact"],
            ),
            (
                "no line of the rules",
                json!([{"host": "a.io", "http": {"paths": [right]}}]),
                vec!["a.io /a Exact"],
            ),
            (
                "http beside the rules",
                json!({"rules": [{"host": "a.io"}], "http": {"paths": [right]}}),
                vec!["a.io /a Exact"],
            ),
            ("a host alone", rules(json!({"host": "a.io"})), vec!["a.io all"]),
            (
                "a host alone, misspelt",
                rules(json!({"paths": "a.io"})),
                vec!["a.io all"],
            ),
            ("no host and no path", rules(json!({})), vec!["- all"]),
            (
                "no host, and no paths in their place",
                rules(json!({"paths": []})),
                vec![],
            ),
            (
                "nothing known of the host",
                rules(json!({"host": {"a": 1}, "http": {"paths": [right]}})),
                vec![],
            ),
            (
                "a default backend",
                json!({"defaultBackend": [1]}),
                vec!["default"],
            ),
            (
                "an old one",
                json!({"backend": {"serviceName": "web", "servicePort": 80}}),
                vec!["default"],
            ),
            ("nothing known at all", json!([1]), vec![]),
        ] {
            assert_eq!(closed(&spec), want, "{what}");
        }
    }

    #[test]
    fn what_stands_further_out_or_below_the_metadata_is_read_too() {
        let path = json!({"path": "/a", "pathType": "Exact", "backend": {"service": {"name": "web"}}});
        let rules = json!([{"host": "a.io", "http": {"paths": [path]}}]);
        for value in [
            json!({"rules": rules}),
            json!({"metadata": {"name": "web", "rules": rules}}),
        ] {
            let ingress = ingress(&ObjectName::new("shop", "web"), &value, "rules");
            let hosts: Vec<_> = ingress.rules.iter().map(|rule| rule.host.as_deref()).collect();
            assert_eq!(hosts, [Some("a.io")], "{value}");
            assert_eq!(ingress.rules[0].paths[0].path.as_deref(), Some("/a"), "{value}");
        }
    }

    /// Or HTTPS would be left to a neighbour.
    #[test]
    fn https_is_asked_for_however_it_is_written() {
        let tls = json!([{"hosts": ["a.io"], "secretName": "a"}]);
        for (what, value, want) in [
            ("right", json!({"spec": {"tls": tls}}), 1),
            ("none", json!({"spec": {"tls": []}}), 0),
            ("absent", json!({"spec": {"rules": [{}]}}), 0),
            ("one", json!({"spec": {"tls": tls[0]}}), 1),
            ("a text", json!({"spec": {"tls": "a"}}), 1),
            ("misspelt", json!({"spec": {"tsl": tls}}), 1),
            ("one level out", json!({"tls": tls, "spec": {"rules": [{}]}}), 1),
            ("in a misspelt spec", json!({"Spec": {"tls": tls}}), 1),
        ] {
            let ingress = ingress(&ObjectName::new("shop", "web"), &value, "spec");
            assert_eq!(ingress.tls.len(), want, "{what}");
        }
    }

    #[test]
    fn paths_are_shared_by_hosts_and_bounded() {
        let hosts: Vec<String> = (0..1000).map(|at| format!("h{at}.io")).collect();
        let paths: Vec<Value> = (0..1000).map(|at| json!({"path": format!("/{at}")})).collect();
        let spec = json!({"rules": [{"hosts": hosts, "http": {"paths": paths}}, {"host": "a.io", "http": {"paths": paths}}]});
        let value = json!({"apiVersion": "networking.k8s.io/v1", "spec": spec});
        let rules = ingress(&ObjectName::new("shop", "web"), &value, "spec").rules;
        assert_eq!(rules.len(), 1001);
        for (at, rule) in rules.iter().enumerate() {
            assert_eq!(rule.is_closed, at >= 10, "{at}");
            match rule.is_closed {
                true => assert!(rule.paths.is_empty()),
                false => assert!(Arc::ptr_eq(&rule.paths, &rules[0].paths)),
            }
        }
    }
}
