//! A number of Ingresses in; the objects they are made of, as a cluster has them, out.

use portcullis_test_support::Node;
use serde_json::{Value, json};

/// Ingresses with a Service and two pods each, all alike: one with a load balancer of its own each, or all in a group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) ingresses: usize,
    pub(crate) group: Option<&'static str>,
}

pub(crate) const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/calls/ingresses";
pub(crate) const SERVICES: &str = "/api/v1/namespaces/calls/services";
pub(crate) const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/calls/endpointslices";
const PODS: &str = "/api/v1/namespaces/calls/pods";

/// An object, and where it is created.
pub(crate) type Object = (String, Value);

/// The namespace, the class and the Nodes, before all else.
pub(crate) fn surroundings(nodes: &[Node]) -> Vec<Object> {
    let namespace = json!({"metadata": {"name": "calls"}});
    let class = json!({"metadata": {"name": "alb"}, "spec": {"controller": "portcullis.dev/ingress"}});
    let mut all = vec![
        ("/api/v1/namespaces".to_owned(), namespace),
        ("/apis/networking.k8s.io/v1/ingressclasses".to_owned(), class),
    ];
    all.extend(nodes.iter().enumerate().map(|(number, node)| {
        let object = json!({
            "metadata": {
                "name": format!("node-{number}"),
                "labels": {"kubernetes.io/os": "linux", "topology.kubernetes.io/zone": node.zone},
            },
            "spec": {"providerID": format!("aws:///{}/{}", node.zone, node.id)},
            "status": {
                "addresses": [{"type": "InternalIP", "address": node.address}],
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        ("/api/v1/nodes".to_owned(), object)
    }));
    all
}

impl Workload {
    /// Every object of it, in an order in which they can be created.
    pub(crate) fn objects(self, nodes: &[Node]) -> Vec<Object> {
        (0..self.ingresses)
            .flat_map(|number| self.objects_of(number, nodes))
            .collect()
    }

    fn objects_of(self, number: usize, nodes: &[Node]) -> Vec<Object> {
        let name = format!("s{number}");
        let service = json!({
            "metadata": {"name": name},
            "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        });
        let mut all = vec![(SERVICES.to_owned(), service)];
        all.extend((0..2).map(|which| {
            let address = &nodes[which].pods[number % nodes[which].pods.len()];
            let ready = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
                .map(|kind| json!({"type": kind, "status": "True"}));
            let pod = json!({
                "metadata": {"name": format!("{name}-{which}"), "labels": {"app": name}},
                "spec": {
                    "nodeName": format!("node-{which}"),
                    "containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 8080}]}],
                },
                "status": {
                    "phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": ready,
                },
            });
            (PODS.to_owned(), pod)
        }));
        let slice = json!({
            "metadata": {"name": format!("{name}-s"), "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
            "endpoints": [endpoint(number, 0, nodes), endpoint(number, 1, nodes)],
        });
        all.push((SLICES.to_owned(), slice));
        all.push((INGRESSES.to_owned(), self.ingress(number, &["/"])));
        all
    }

    /// The Ingress of this number with these paths.
    pub(crate) fn ingress(self, number: usize, paths: &[&str]) -> Value {
        let mut annotations = json!({
            "alb.ingress.kubernetes.io/scheme": "internet-facing",
            "alb.ingress.kubernetes.io/target-type": "ip",
        });
        if let Some(group) = self.group {
            annotations["alb.ingress.kubernetes.io/group.name"] = group.into();
        }
        let service = json!({"name": format!("s{number}"), "port": {"number": 80}});
        let paths: Vec<Value> = paths
            .iter()
            .map(|path| json!({"path": path, "pathType": "Prefix", "backend": {"service": service}}))
            .collect();
        json!({
            "metadata": {"name": format!("i{number}"), "annotations": annotations},
            "spec": {
                "ingressClassName": "alb",
                "rules": [{"host": format!("h{number}.example.com"), "http": {"paths": paths}}],
            },
        })
    }
}

/// One of the two endpoints of the Service of this number.
pub(crate) fn endpoint(number: usize, which: usize, nodes: &[Node]) -> Value {
    let node = &nodes[which];
    json!({
        "addresses": [node.pods[number % node.pods.len()]],
        "nodeName": format!("node-{which}"),
        "conditions": {"ready": true, "serving": true, "terminating": false},
        "targetRef": {"kind": "Pod", "namespace": "calls", "name": format!("s{number}-{which}")},
    })
}
