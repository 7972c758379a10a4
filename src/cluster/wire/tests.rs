//! Objects as people write them in, what is read of them or what is told out.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::cluster::object::*;

fn manifest(kind: Kind, rest: &Value) -> Result<Read, String> {
    from_manifest(&object(kind, rest)).map_err(|error| error.to_string())
}

/// The rest laid over a kind, a version and a name.
fn object(kind: Kind, rest: &Value) -> Value {
    let mut object = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.as_str(),
        "metadata": {"name": "web"},
    });
    for (key, value) in rest.as_object().unwrap() {
        object[key] = value.clone();
    }
    object
}

fn path(backend: &Value) -> Value {
    json!({"spec": {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Exact", "backend": backend}]}}]}})
}

#[test]
fn a_field_of_the_wrong_type_is_named() {
    let port = |port: Value| path(&json!({"service": {"name": "web", "port": port}}));
    let at_port = "ingress default/web spec.rules[0].http.paths[0].backend.service.port";
    for (kind, rest, want) in [
        (Kind::Ingress, json!({"spec": []}), "ingress default/web spec: invalid type: sequence, expected an object".to_owned()),
        (Kind::Ingress, json!({"spec": {"rules": {}}}), "ingress default/web spec.rules: invalid type: map".into()),
        (
            Kind::Ingress,
            json!({"spec": {"rules": [{"host": 1}]}}),
            "ingress default/web spec.rules[0].host: invalid type: integer `1`, expected a string; put it in quotes".into(),
        ),
        (
            Kind::Ingress,
            json!({"metadata": {"name": "web", "annotations": {"portcullis.dev/a": true}}}),
            "ingress default/web metadata.annotations[portcullis.dev/a]: invalid type: boolean `true`, expected a \
             string; put it in quotes"
                .into(),
        ),
        (Kind::Ingress, port(json!(80)), format!("{at_port}: invalid type: integer `80`, expected an object")),
        (Kind::Ingress, port(json!({"number": "80"})), format!("{at_port}.number: invalid type: string \"80\"")),
        (Kind::Ingress, port(json!({"number": 80.5})), format!("{at_port}.number: invalid type: floating point")),
        (Kind::Ingress, port(json!({"number": 80, "name": "http"})), format!("{at_port}: has both a name and a number")),
        (
            Kind::Ingress,
            path(&json!({"service": {"name": "web"}, "resource": {"kind": "Bucket", "name": "web"}})),
            "ingress default/web spec.rules[0].http.paths[0].backend: names both a service and a resource".into(),
        ),
        (Kind::Service, json!({"spec": {"ports": [{}]}}), "service default/web spec.ports[0].port: is missing".into()),
        (Kind::Service, json!({"spec": {"type": "Nodeport"}}), "service default/web spec.type: \"Nodeport\" is none of".into()),
        (
            Kind::Service,
            json!({"spec": {"ipFamilies": ["IPv5"]}}),
            "service default/web spec.ipFamilies[0]: \"IPv5\" is neither".into(),
        ),
        (Kind::EndpointSlice, json!({}), "endpointslice default/web addressType: is missing".into()),
        (
            Kind::Pod,
            json!({"status": {"podIPs": [{"ip": "10.0.0"}]}}),
            "pod default/web status.podIPs[0].ip: \"10.0.0\" is not an IP address".into(),
        ),
        (
            Kind::Node,
            json!({"metadata": {"name": "web", "creationTimestamp": "yesterday"}}),
            "node web metadata.creationTimestamp: \"yesterday\" is not a time".into(),
        ),
        (
            Kind::ClassParameters,
            json!({"spec": {"mode": "Dry"}}),
            "ingressclassparameters web spec.mode: unknown variant `Dry`, expected `Apply` or `Plan`".into(),
        ),
        (
            Kind::IncumbentParameters,
            json!({"spec": {"listeners": [{"protocol": "HTTP", "port": "80"}]}}),
            "ingressclassparams web spec.listeners[0].port: invalid type".into(),
        ),
        (
            Kind::IncumbentParameters,
            json!({"spec": {"namespaceSelector": {"matchLabels": {"a": 1}}}}),
            "ingressclassparams web spec.namespaceSelector.matchLabels.a: invalid type".into(),
        ),
        (
            Kind::IncumbentParameters,
            json!({"spec": {"PrefixListsIDs": [], "prefixListsIDs": []}}),
            "ingressclassparams web spec.prefixListsIDs: stands beside its older name".into(),
        ),
        (
            Kind::IngressClass,
            json!({"metadata": {"name": "web", "namespace": "shop"}}),
            "ingressclass web metadata.namespace: must be absent: IngressClass has no namespace".into(),
        ),
        (
            Kind::Service,
            json!({"metadata": {"name": "we.b"}}),
            "service default/we.b metadata.name: \"we.b\" is no name of".into(),
        ),
    ] {
        let told = manifest(kind, &rest).expect_err(&rest.to_string());
        assert!(told.starts_with(&want), "{rest}: {told}");
    }
}

#[test]
fn a_field_that_kubernetes_lacks_is_told_and_one_it_has_is_not() {
    for (kind, rest, want) in [
        (Kind::Ingress, json!({"spec": {"rulez": []}}), vec!["spec.rulez"]),
        (Kind::Ingress, json!({"Spec": {}}), vec!["Spec"]),
        (
            Kind::Ingress,
            json!({"spec": {"rules": [{}, {"hosts": []}]}}),
            vec!["spec.rules[1].hosts"],
        ),
        (
            Kind::Ingress,
            path(&json!({"serviceName": "web", "servicePort": 80})),
            vec![
                "spec.rules[0].http.paths[0].backend.serviceName",
                "spec.rules[0].http.paths[0].backend.servicePort",
            ],
        ),
        (
            Kind::Ingress,
            path(&json!({"resource": {"apiGroup": "a", "kind": "B", "name": "c"}})),
            vec![],
        ),
        (
            Kind::Ingress,
            json!({"metadata": {"name": "web", "annotation": {}, "finalizers": [], "managedFields": [{"a": 1}],
                "ownerReferences": [], "resourceVersion": "1", "generation": 1, "labels": {"a": "b"}}}),
            vec!["metadata.annotation"],
        ),
        (
            Kind::Ingress,
            json!({"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ports": [{"port": 80, "protocol": "TCP"}]}]}}}),
            vec![],
        ),
        (
            Kind::IngressClass,
            json!({"spec": {"controller": "a/b", "parameters": {"apiGroup": "a", "kind": "b", "name": "c",
                "scope": "Namespace", "namespace": "d", "other": 1}}}),
            vec!["spec.parameters.other"],
        ),
        (
            Kind::ClassParameters,
            json!({"spec": {"mode": "Plan", "admission": {"namespaces": {"matchLabel": {}}}}}),
            vec!["spec.admission.namespaces.matchLabel"],
        ),
        (
            Kind::Service,
            json!({"spec": {"clusterIP": "None", "sessionAffinity": "None", "port": 80,
                "ports": [{"port": 80, "appProtocol": "h2c", "targetport": 1}]}, "status": {"loadBalancer": {}}}),
            vec!["spec.port", "spec.ports[0].targetport"],
        ),
        (
            Kind::EndpointSlice,
            json!({"addressType": "IPv4", "ports": [{"appProtocol": "a"}], "endpoints": [
                {"addresses": ["10.0.0.1"], "hostname": "a", "hints": {"forZones": [{"name": "b"}]}, "ready": true,
                 "conditions": {"Ready": true}, "targetRef": {"kind": "Pod", "uid": "a"}}]}),
            vec!["endpoints[0].ready", "endpoints[0].conditions.Ready"],
        ),
        (
            Kind::Secret,
            json!({"type": "Opaque", "immutable": true, "data": {"a.b": "YQ==", "c": "YQ=="}, "stringData": {"d": "e"}, "tls": 1}),
            vec!["tls"],
        ),
        (
            Kind::Pod,
            json!({"spec": {"containers": [{"image": "a"}], "anything": 1}}),
            vec![],
        ),
        (Kind::Node, json!({"status": {"images": []}}), vec![]),
        (
            Kind::Namespace,
            json!({"spec": {"finalizers": ["kubernetes"]}}),
            vec![],
        ),
    ] {
        assert_eq!(manifest(kind, &rest).unwrap().unknown, want, "{rest}");
    }
}

#[test]
fn what_kubernetes_reads_leniently_is_read_so() {
    let null = json!({"metadata": {"name": "web", "creationTimestamp": null, "annotations": {"portcullis.dev/a": null}},
        "spec": {"rules": null, "tls": null, "defaultBackend": null, "ingressClassName": null}, "status": null});
    let Object::Ingress(ingress) = manifest(Kind::Ingress, &null).unwrap().object else {
        panic!("an Ingress is read as one");
    };
    assert_eq!(ingress.meta.name.to_string(), "default/web");
    assert_eq!(ingress.meta.annotations["portcullis.dev/a"], Arc::from(""));
    assert_eq!((ingress.rules.len(), ingress.tls.len()), (0, 0));

    let service = json!({"spec": {"ports": [{"port": 80, "targetPort": 0, "nodePort": 0, "name": ""}]}});
    let Object::Service(service) = manifest(Kind::Service, &service).unwrap().object else {
        panic!("a Service is read as one");
    };
    let port = &service.ports[0];
    assert_eq!(
        (&port.name, port.node_port, &*port.protocol),
        (&None, None, "TCP")
    );
    assert_eq!(port.target, PortRef::Number(80));

    // Kubernetes API, EndpointConditions
    for (conditions, want) in [
        (json!(null), (true, true, false)),
        (json!({}), (true, true, false)),
        (json!({"ready": false}), (false, false, false)),
        (
            json!({"ready": false, "serving": true, "terminating": true}),
            (false, true, true),
        ),
        (json!({"ready": null, "serving": null}), (true, true, false)),
    ] {
        let slice =
            json!({"addressType": "IPv6", "endpoints": [{"addresses": ["::1"], "conditions": conditions}]});
        let Object::EndpointSlice(slice) = manifest(Kind::EndpointSlice, &slice).unwrap().object else {
            panic!("an EndpointSlice is read as one");
        };
        let endpoint = &slice.endpoints[0];
        assert_eq!(
            (endpoint.ready, endpoint.serving, endpoint.terminating),
            want,
            "{conditions}"
        );
    }
}

#[test]
fn only_what_is_read_is_kept() {
    let annotations =
        json!({"alb.ingress.kubernetes.io/scheme": "internal", "other.example/a": "x".repeat(200_000)});
    let object = json!({"metadata": {"name": "web", "annotations": annotations}});
    let Object::Ingress(ingress) = manifest(Kind::Ingress, &object).unwrap().object else {
        panic!("an Ingress is read as one");
    };
    let kept: Vec<_> = ingress.meta.annotations.keys().map(|key| &**key).collect();
    assert_eq!(kept, ["alb.ingress.kubernetes.io/scheme"]);
}

#[test]
fn annotations_beyond_the_limit_of_kubernetes_are_refused() {
    let object = |bytes: usize| {
        let annotations = json!({"a": "x".repeat(bytes - 1)});
        object(
            Kind::Ingress,
            &json!({"metadata": {"name": "web", "annotations": annotations}}),
        )
    };
    assert!(from_manifest(&object(256 * 1024)).is_ok());
    assert_eq!(
        from_manifest(&object(1_000_000)).unwrap_err().to_string(),
        "ingress default/web metadata.annotations: are 1000000 bytes together; Kubernetes allows 262144"
    );
}

#[test]
fn a_secret_gives_its_material_and_no_message_shows_it() {
    let hidden = "hidden-material";
    for (rest, want) in [
        (
            json!({"data": {"tls.crt": "YQ==", "tls.key": "Yg=="}}),
            Ok(("a", "b")),
        ),
        (
            json!({"data": {"tls.crt": "Y\nQ==\n", "tls.key": "Yg=="}}),
            Ok(("a", "b")),
        ),
        (
            json!({"data": {"tls.crt": "YQ=="}, "stringData": {"tls.crt": "c", "tls.key": "d"}}),
            Ok(("c", "d")),
        ),
        (
            json!({"data": {"tls.key": hidden}}),
            Err("data[tls.key]: is not base64; plain text belongs under stringData"),
        ),
        (
            json!({"data": hidden}),
            Err("data: is of another type than Kubernetes has there"),
        ),
        (
            json!({"stringData": {"tls.key": [hidden]}}),
            Err("stringData[tls.key]: is of another type than Kubernetes has there"),
        ),
        (
            json!({"metadata": {"name": "web", "labels": hidden}}),
            Err("metadata.labels: is of another type"),
        ),
    ] {
        match (manifest(Kind::Secret, &rest).map(|read| read.object), want) {
            (Ok(Object::Secret(secret)), Ok((certificate, key))) => {
                assert_eq!(
                    secret.certificate.as_deref(),
                    Some(certificate.as_bytes()),
                    "{rest}"
                );
                assert_eq!(secret.key.as_ref().unwrap().reveal(), key.as_bytes(), "{rest}");
            }
            (Err(told), Err(want)) => {
                assert!(
                    told.starts_with(&format!("secret default/web {want}")),
                    "{rest}: {told}"
                );
                assert!(!told.contains(hidden), "{rest}: {told}");
            }
            (read, want) => panic!("{rest}: {read:?}, not {want:?}"),
        }
    }
}

#[test]
fn an_endpoint_names_only_a_pod_of_its_namespace() {
    for (target, want) in [
        (
            json!({"kind": "Pod", "name": "a", "namespace": "default"}),
            Some("a"),
        ),
        (json!({"kind": "Pod", "name": "a"}), Some("a")),
        (json!({"kind": "Pod", "name": "a", "namespace": "other"}), None),
        (json!({"kind": "Node", "name": "a"}), None),
        (json!(null), None),
    ] {
        let slice =
            json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"], "targetRef": target}]});
        let Object::EndpointSlice(slice) = manifest(Kind::EndpointSlice, &slice).unwrap().object else {
            panic!("an EndpointSlice is read as one");
        };
        assert_eq!(slice.endpoints[0].pod.as_deref(), want, "{target}");
    }
}

#[test]
fn a_pod_names_its_tcp_ports_sidecars_included() {
    let pod = json!({"spec": {
        "containers": [
            {"ports": [{"name": "http", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}]},
            {"ports": [{"name": "http", "containerPort": 9090}, {"containerPort": 1}]},
        ],
        "initContainers": [
            {"ports": [{"name": "once", "containerPort": 1}]},
            {"restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 2}]},
        ]},
        "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}], "phase": "Running"}});
    let Object::Pod(pod) = manifest(Kind::Pod, &pod).unwrap().object else {
        panic!("a Pod is read as one");
    };
    let ports: Vec<_> = pod.ports.iter().map(|(name, port)| (&**name, *port)).collect();
    assert_eq!(ports, [("http", 8080), ("side", 2)]);
    assert_eq!(pod.addresses, ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!((pod.ready, pod.finished), (true, false));
}

#[test]
fn what_the_api_sends_is_read_without_kind_and_unknown_fields() {
    let item = json!({"metadata": {"name": "We_b", "namespace": "shop", "uid": "u", "deletionTimestamp": "2026-11-24T12:00:00Z",
        "creationTimestamp": "1970-01-01T00:01:00Z"}, "spec": {"newField": 1}});
    let object = from_api(Kind::Ingress, &item).unwrap();
    let meta = object.meta();
    assert_eq!(
        (
            meta.name.to_string().as_str(),
            &*meta.uid,
            meta.created,
            meta.deleting
        ),
        ("shop/We_b", "u", 60, true)
    );
}
