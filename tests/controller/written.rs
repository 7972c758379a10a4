//! A cluster in, a folder of manifests that says the same out.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::world::{CLASSES, INGRESSES, SERVICES, SLICES, World};

/// Every kind of the cluster that is read, and where it is listed.
const LISTS: [(&str, &str, &str); 7] = [
    ("networking.k8s.io/v1", "Ingress", INGRESSES),
    ("networking.k8s.io/v1", "IngressClass", CLASSES),
    ("v1", "Service", SERVICES),
    ("discovery.k8s.io/v1", "EndpointSlice", SLICES),
    ("v1", "Pod", "/api/v1/namespaces/shop/pods"),
    ("v1", "Node", "/api/v1/nodes"),
    ("v1", "Namespace", "/api/v1/namespaces"),
];

/// Writes what the cluster holds into a folder, one file a kind.
pub(crate) fn write_out(world: &World, folder: &Path) {
    for (version, kind, path) in LISTS {
        let mut items = world.get(path).unwrap()["items"].clone();
        for item in items.as_array_mut().unwrap() {
            item["apiVersion"] = json!(version);
            item["kind"] = json!(kind);
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        fs::write(folder.join(format!("{kind}.json")), list.to_string()).unwrap();
    }
}
