//! A TargetGroupBinding that somebody wrote by hand in, the ports that it asks to be open to security groups out.

use portcullis_model::{ObjectName, Opening, Origin};
use serde_json::Value;

use super::incumbent;

/// Of all the ports of a source, where it names none, or one by a name that each pod has for itself.
const ALL: (u16, u16) = (0, u16::MAX);

/// What a TargetGroupBinding asks for; nothing of other objects, nor of those that the incumbent made.
pub(super) fn of_object(object: &Value) -> Vec<Opening> {
    let text = |field: &str| object.pointer(field).and_then(Value::as_str);
    let group = text("/apiVersion").and_then(|version| version.split_once('/'));
    let is_binding = text("/kind") == Some("TargetGroupBinding")
        && group.is_some_and(|(group, _)| group == "elbv2.k8s.aws");
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    let labels = labels.into_iter().flatten();
    let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()));
    if !is_binding || incumbent::binding(&labels.collect()) != incumbent::Binding::User {
        return Vec::new();
    }
    let namespace = text("/metadata/namespace").unwrap_or("default");
    let name = ObjectName::new(namespace, text("/metadata/name").unwrap_or_default());
    object
        .pointer("/spec/networking")
        .map_or(Vec::new(), |networking| of_networking(&name, networking))
}

/// What `spec.networking` asks for of security groups. What cannot be read asks for all ports: nothing is to be shut for
/// it.
pub(super) fn of_networking(binding: &ObjectName, networking: &Value) -> Vec<Opening> {
    let list = |value: &Value, field: &str| value[field].as_array().cloned().unwrap_or_default();
    let mut out = Vec::new();
    for rule in list(networking, "ingress") {
        let ports = list(&rule, "ports");
        let mut ranges: Vec<(u16, u16)> = ports.iter().map(|port| range(&port["port"])).collect();
        if ranges.is_empty() {
            ranges.push(ALL);
        }
        for peer in list(&rule, "from") {
            let Some(group) = peer.pointer("/securityGroup/groupID").and_then(Value::as_str) else {
                continue; // Ranges of addresses are nobody's here.
            };
            out.extend(ranges.iter().map(|ports| Opening {
                source: group.to_owned(),
                ports: *ports,
                origin: Origin::new("targetgroupbinding", binding.clone(), "spec.networking"),
            }));
        }
    }
    out
}

fn range(port: &Value) -> (u16, u16) {
    let number = port.as_u64().and_then(|port| u16::try_from(port).ok());
    let written = || port.as_str()?.parse().ok();
    number.or_else(written).map_or(ALL, |port| (port, port))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_binding_asks_for_ports_of_its_peers() {
        let rule = |from: &Value, ports: &Value| json!({"ingress": [{"from": from, "ports": ports}]});
        let peer = json!([{"securityGroup": {"groupID": "sg-1"}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}]);
        let number = json!([{"protocol": "TCP", "port": 9090}, {"port": "443"}]);
        for (what, networking, want) in [
            ("none", Value::Null, vec![]),
            ("by number", rule(&peer, &number), vec![(9090, 9090), (443, 443)]),
            ("by name", rule(&peer, &json!([{"port": "http"}])), vec![ALL]),
            (
                "a protocol alone",
                rule(&peer, &json!([{"protocol": "TCP"}])),
                vec![ALL],
            ),
            ("no ports", rule(&peer, &json!([])), vec![ALL]),
            (
                "no number of a port",
                rule(&peer, &json!([{"port": 90900}])),
                vec![ALL],
            ),
            ("addresses", rule(&json!([peer[1]]), &number), vec![]),
        ] {
            let object = |labels: Value, api: &str| {
                of_object(&json!({
                    "apiVersion": api, "kind": "TargetGroupBinding", "spec": {"networking": networking},
                    "metadata": {"name": "b", "namespace": "shop", "labels": labels},
                }))
            };
            let asked = object(Value::Null, "elbv2.k8s.aws/v1beta1");
            let ports: Vec<(u16, u16)> = asked.iter().map(|opening| opening.ports).collect();
            assert_eq!(ports, want, "{what}");
            assert!(asked.iter().all(|opening| opening.source == "sg-1"), "{what}");
            let made = json!({"ingress.k8s.aws/stack": "public"});
            assert_eq!(
                object(made, "elbv2.k8s.aws/v1beta1"),
                [],
                "the incumbent's: {what}"
            );
            assert_eq!(object(Value::Null, "example.com/v1"), [], "another's: {what}");
        }
    }
}
