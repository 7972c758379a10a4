//! Members as they were admitted in, what is recorded of it out; and back, after a restart.

use portcullis_model::{LoadBalancerId, ObjectName};
use serde_json::Value;

use crate::cluster::index::{Admitted, Index, Recorded, Touched};
use crate::cluster::object::{ClassParameters, Kind, Meta};
use crate::cluster::snapshot::{Member, Parameters};
use crate::crd::load_balancer::{self as crd, AdmittedMember, LoadBalancerStatus};

/// Largest size of what is recorded of one load balancer here, in bytes of JSON: some 1,500 members of names of usual
/// length.
pub const ROOM: usize = 128 * 1024;
/// Bytes of an entry beside its texts, at most.
const PUNCTUATION: usize = 40;

/// What is recorded of members. One that finds no room is left out, and withdrawn should it be refused at a restart.
pub fn record(members: &[Member]) -> crd::Admitted {
    let mut record = crd::Admitted::default();
    let mut room = ROOM;
    let mut takes = |bytes: usize| match room.checked_sub(bytes) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    for member in members {
        let parameters = match &member.parameters {
            Parameters::None => None,
            Parameters::Found(found) => {
                let key = found.key().to_string();
                if !record.parameters.contains_key(&key) {
                    let Ok(spec) = serde_json::to_value(&found.spec) else {
                        continue;
                    };
                    if !takes(key.len() + spec.to_string().len() + PUNCTUATION) {
                        continue;
                    }
                    record.parameters.insert(key.clone(), spec);
                }
                Some(key)
            }
            Parameters::Missing | Parameters::Foreign => continue,
        };
        let text = Admitted::text(&member.ingress);
        let name = member.ingress.meta.name.to_string();
        let key = parameters.as_ref().map_or(0, String::len);
        if takes(name.len() + text.len() + key + PUNCTUATION) {
            record.members.insert(name, AdmittedMember { text, parameters });
        }
    }
    record
}

/// Lets refused Ingresses go on as they are recorded to have been admitted.
pub fn recall(index: &mut Index, id: &LoadBalancerId, status: &LoadBalancerStatus) -> Touched {
    let mut touched = Touched::default();
    for (name, member) in &status.admitted.members {
        let Some((namespace, name)) = name.split_once('/') else {
            continue;
        };
        let parameters = match &member.parameters {
            None => Some(Parameters::None),
            Some(key) => (status.admitted.parameters.get(key)).and_then(|spec| parameters(key, spec)),
        };
        // What cannot be read may have restricted something.
        if let Some(parameters) = parameters {
            let recorded = Recorded {
                id: id.clone(),
                text: member.text.clone(),
                parameters,
            };
            touched.extend(index.recall(&ObjectName::new(namespace, name), recorded));
        }
    }
    touched
}

fn parameters(key: &str, spec: &Value) -> Option<Parameters> {
    let (kind, name) = match key.split_once('/') {
        None => (Kind::ClassParameters, key),
        Some((_, name)) => (Kind::IncumbentParameters, name),
    };
    let meta = Meta {
        name: ObjectName::cluster(name),
        uid: "".into(),
        created: 0,
        deleting: false,
        annotations: Default::default(),
    };
    let read = serde_json::from_value(spec.clone()).ok()?;
    // A field that an older version does not know restricts something all the same.
    let known = serde_json::to_value(&read).is_ok_and(|known| known == *spec);
    known.then(|| Parameters::Found(ClassParameters::new(meta, kind, read, Vec::new()).into()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portcullis_model::{Code, Origin, Problem};

    use super::*;
    use crate::cluster::index::SecretsMode;
    use crate::cluster::membership::{Membership, Names, References};
    use crate::cluster::object::{Ingress, Object};
    use crate::cluster::wire;
    use serde_json::json;

    fn object(value: &Value) -> Object {
        wire::from_manifest(value).unwrap().object
    }

    fn ingress(name: &str) -> Object {
        object(&json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": name, "namespace": "shop", "uid": "1", "generation": 3}}))
    }

    fn member(name: &str, parameters: Option<Object>) -> Member {
        let Object::Ingress(ingress) = ingress(name) else {
            panic!("an Ingress");
        };
        Member {
            ingress,
            parameters: parameters.map_or(Parameters::None, |object| {
                let Object::ClassParameters(parameters) = object else {
                    panic!("parameters");
                };
                Parameters::Found(parameters)
            }),
            namespace: None,
        }
    }

    fn ours() -> Object {
        object(
            &json!({"apiVersion": "portcullis.dev/v1alpha1", "kind": "IngressClassParameters",
            "metadata": {"name": "usual"}, "spec": {"mode": "Plan", "inboundCIDRs": ["10.0.0.0/8"],
                "admission": {"namespaces": {"names": ["shop"]}, "hosts": [{"namespaces": ["shop"], "hosts": ["a.example"]}]},
                "tags": [{"key": "a", "value": "b"}], "group": {"name": "public"}}}),
        )
    }

    fn theirs() -> Object {
        object(
            &json!({"apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "IngressClassParams", "metadata": {"name": "usual"},
            "spec": {"scheme": "internet-facing", "group": {"name": "public"}, "inboundCIDRs": ["10.0.0.0/8"],
                "loadBalancerAttributes": [{"key": "a", "value": "b"}], "targetType": "ip",
                "subnets": {"tags": {"tier": ["public"]}}, "namespaceSelector": {"matchLabels": {"a": "b"}}}}),
        )
    }

    /// An index in which everything is refused.
    fn index() -> Index {
        let refuse = |ingress: &Ingress| {
            let at = Origin::new("ingress", ingress.meta.name.clone(), "spec.ingressClassName");
            Membership::Refused(vec![Problem::new(Code::ClassNotFound, at, "gone")])
        };
        Index::new(
            Box::new(move |candidate| refuse(candidate.ingress)),
            References {
                of_ingress: Box::new(|_| Names::default()),
                of_service: Box::new(|_| BTreeSet::new()),
            },
            SecretsMode::NotRead,
        )
    }

    #[test]
    fn what_was_recorded_is_what_is_recalled() {
        let members = [
            member("none", None),
            member("ours", Some(ours())),
            member("theirs", Some(theirs())),
        ];
        let id = LoadBalancerId::parse("public");
        let status = LoadBalancerStatus {
            admitted: record(&members),
            ..LoadBalancerStatus::default()
        };
        let stored = serde_json::to_string(&status).unwrap();
        let status: LoadBalancerStatus = serde_json::from_str(&stored).unwrap();
        let mut index = index();
        index.reset_all(["none", "ours", "theirs"].map(ingress).to_vec());
        let touched = recall(&mut index, &id, &status);
        assert_eq!(touched.load_balancers.len(), 1);
        let recalled = index.synced().unwrap().snapshot(&id).members;
        assert_eq!(recalled.len(), 3);
        for (was, is) in members.iter().zip(&recalled) {
            let name = &was.ingress.meta.name;
            assert_eq!(was.ingress, is.ingress, "{name}");
            match (&was.parameters, &is.parameters) {
                (Parameters::Found(was), Parameters::Found(is)) => {
                    assert_eq!(
                        (&was.spec, &was.given, was.kind),
                        (&is.spec, &is.given, is.kind),
                        "{name}"
                    );
                    assert!(!was.given.is_empty(), "{name}");
                }
                (was, is) => assert_eq!(was, is, "{name}"),
            }
        }
        assert_eq!(record(&recalled), status.admitted, "and recorded the same again");
    }

    #[test]
    fn parameters_that_say_more_than_is_known_are_not_recalled() {
        let id = LoadBalancerId::parse("public");
        let mut status = LoadBalancerStatus {
            admitted: record(&[member("ours", Some(ours()))]),
            ..LoadBalancerStatus::default()
        };
        let Some(spec) = status.admitted.parameters.get_mut("usual") else {
            panic!("recorded by its name");
        };
        spec["restrictsSomethingNew"] = true.into();
        let mut index = index();
        index.reset_all(vec![ingress("ours")]);
        assert!(recall(&mut index, &id, &status).is_empty());
    }

    #[test]
    fn the_record_has_a_bound() {
        let name = |n: usize| format!("{}{n:04}", "n".repeat(240));
        let members: Vec<Member> = (0..3_000).map(|n| member(&name(n), Some(ours()))).collect();
        let record = record(&members);
        let size = serde_json::to_string(&record).unwrap().len();
        assert!(size < ROOM + 100, "{size} bytes");
        assert!(record.members.len() > 400, "{}", record.members.len());
    }
}
