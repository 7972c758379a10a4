//! What the AWS Load Balancer Controller writes into a cluster: finalizers and labels in, what they are about out.

use std::collections::BTreeMap;

use portcullis_model::{LoadBalancerId, ObjectName};

/// On an Ingress without a group.
const LONE_FINALIZER: &str = "ingress.k8s.aws/resources";
/// Before the name of the group, on its members.
const GROUP_FINALIZER: &str = "group.ingress.k8s.aws/";
/// On TargetGroupBindings.
pub const BINDING_FINALIZER: &str = "elbv2.k8s.aws/resources";
/// On Services that have a Network Load Balancer.
pub const SERVICE_FINALIZER: &str = "service.k8s.aws/resources";

/// Label of a TargetGroupBinding that belongs to a group.
const GROUP_LABEL: &str = "ingress.k8s.aws/stack";
/// Labels of one that belongs to an Ingress without a group.
const LONE_LABELS: [&str; 2] = ["ingress.k8s.aws/stack-namespace", "ingress.k8s.aws/stack-name"];
/// Begin the labels of one that belongs to a Service or a Gateway.
const OTHER_LABELS: [&str; 3] = [
    "service.k8s.aws/stack",
    "gateway.k8s.aws.alb/stack",
    "gateway.k8s.aws.nlb/stack",
];

/// The load balancer for which it holds this Ingress, if the finalizer is one of its own.
pub fn held_for(ingress: &ObjectName, finalizer: &str) -> Option<LoadBalancerId> {
    if finalizer == LONE_FINALIZER {
        return Some(LoadBalancerId::Lone(ingress.clone()));
    }
    let group = finalizer.strip_prefix(GROUP_FINALIZER)?;
    (!group.is_empty()).then(|| LoadBalancerId::Group(group.into()))
}

/// Whose a TargetGroupBinding is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// It made it for this load balancer of Ingresses.
    Ingress(LoadBalancerId),
    /// It made it for a Service's Network Load Balancer, or for a Gateway.
    Service,
    /// A user wrote it by hand.
    User,
}

/// Whose a TargetGroupBinding with these labels is.
pub fn binding(labels: &BTreeMap<String, String>) -> Binding {
    if let Some(group) = labels.get(GROUP_LABEL) {
        return Binding::Ingress(LoadBalancerId::Group(group.as_str().into()));
    }
    if let [Some(namespace), Some(name)] = LONE_LABELS.map(|label| labels.get(label)) {
        let ingress = ObjectName::new(namespace.as_str(), name.as_str());
        return Binding::Ingress(LoadBalancerId::Lone(ingress));
    }
    let others = |label: &String| OTHER_LABELS.iter().any(|begin| label.starts_with(begin));
    if labels.keys().any(others) {
        return Binding::Service;
    }
    Binding::User
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finalizer_names_the_load_balancer() {
        // AWS Load Balancer Controller, `pkg/ingress/finalizer.go`; recorded in tests/takeover.
        let ingress = ObjectName::new("shop", "web");
        for (finalizer, want) in [
            ("ingress.k8s.aws/resources", Some("shop/web")),
            ("group.ingress.k8s.aws/public", Some("public")),
            ("group.ingress.k8s.aws/", None),
            ("elbv2.k8s.aws/resources", None),
            ("portcullis.dev/load-balancer", None),
        ] {
            let got = held_for(&ingress, finalizer);
            assert_eq!(got, want.map(LoadBalancerId::parse), "{finalizer}");
        }
    }

    #[test]
    fn labels_tell_whose_a_binding_is() {
        let of = |id: &str| Binding::Ingress(LoadBalancerId::parse(id));
        for (labels, want) in [
            (&[("ingress.k8s.aws/stack", "public")][..], of("public")),
            (
                &[
                    ("ingress.k8s.aws/stack-namespace", "shop"),
                    ("ingress.k8s.aws/stack-name", "web"),
                ],
                of("shop/web"),
            ),
            (&[("ingress.k8s.aws/stack-name", "web")], Binding::User),
            (
                &[
                    ("service.k8s.aws/stack-namespace", "shop"),
                    ("service.k8s.aws/stack-name", "nlb"),
                ],
                Binding::Service,
            ),
            (
                &[
                    ("gateway.k8s.aws.alb/stack-namespace", "shop"),
                    ("gateway.k8s.aws.alb/stack-name", "gateway"),
                ],
                Binding::Service,
            ),
            (&[("app", "web")], Binding::User),
            (&[], Binding::User),
        ] {
            let map = labels.iter().map(|(key, value)| ((*key).into(), (*value).into()));
            assert_eq!(binding(&map.collect()), want, "{labels:?}");
        }
    }
}
