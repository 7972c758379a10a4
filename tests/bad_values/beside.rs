//! A guard beside an open Ingress in, the load balancer of both and which of them answers a request out.

use portcullis_model::{Action, LoadBalancer, Port, Request, resolve};

use crate::translated;

/// Annotations, host, and path of an Ingress that leads to a Service of its name.
pub(crate) type Member<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r str);

/// Each with the type of its path.
pub(crate) fn balancer(
    controller: &str,
    guard: (Member<'_>, &str),
    open: (Member<'_>, &str),
) -> LoadBalancer {
    let ingress = |name: &str, order: u8, ((annotations, host, path), kind): (Member<'_>, &str)| {
        let more: String = annotations
            .iter()
            .map(|(name, value)| format!(", {name}: {value:?}"))
            .collect();
        format!(
            "---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {name}
  namespace: shop
  annotations: {{alb.ingress.kubernetes.io/group.name: g, alb.ingress.kubernetes.io/group.order: \"{order}\", alb.ingress.kubernetes.io/target-type: ip{more}}}
spec:
  rules:
  - host: {host:?}
    http: {{paths: [{{path: {path:?}, pathType: {kind}, backend: {{service: {{name: {name}, port: {{number: 80}}}}}}}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec: {{ports: [{{port: 80}}]}}
"
        )
    };
    let text = [ingress("guarded", 1, guard), ingress("open", 2, open)];
    let (mut balancers, _) = translated(&text.concat(), controller);
    balancers.pop().expect("two Ingresses share a load balancer")
}

/// Whether the open Ingress answers.
pub(crate) fn is_open(balancer: &LoadBalancer, method: &str, host: &str, path: &str) -> bool {
    let mut request = Request::get(Port::HTTP, host, path);
    request.method = method.to_owned();
    match resolve(balancer, &request).action() {
        Some(Action::Forward(to)) => to
            .backends
            .iter()
            .any(|to| to.backend.to_string().contains("open")),
        _ => false,
    }
}
