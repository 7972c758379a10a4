//! Names and ownership tags, to the letter those of the AWS Load Balancer Controller: what is named in, names out.

use portcullis_model::{LoadBalancerId, ObjectName, ServiceRef};
use sha2::{Digest, Sha256};

use crate::resource::{
    HealthCheckSpec, LoadBalancerScheme, Pairs, ProtocolVersion, TargetProtocol, TargetType,
};

/// On every resource: the cluster.
pub const CLUSTER_TAG: &str = "elbv2.k8s.aws/cluster";
/// The cluster, as version 1 of the incumbent wrote it.
pub const LEGACY_CLUSTER_TAG: &str = "ingress.k8s.aws/cluster";
/// On every resource of a load balancer: its id.
pub const STACK_TAG: &str = "ingress.k8s.aws/stack";
/// On every resource of what is the incumbent's alone: the Service or the Gateway that it serves.
pub const INCUMBENTS_STACK_TAGS: [&str; 3] = [
    "service.k8s.aws/stack",
    "gateway.k8s.aws.alb/stack",
    "gateway.k8s.aws.nlb/stack",
];
/// On every resource of a load balancer: the resource's id within it.
pub const RESOURCE_TAG: &str = "ingress.k8s.aws/resource";
/// On what others made: the namespaces that may use it, separated by spaces. Ours; the operator writes it.
pub const NAMESPACE_TAG: &str = "portcullis.dev/namespace";
/// On certificates taken from Secrets: the Secret's uid, so that another one of its name is not taken for it.
pub const SECRET_UID_TAG: &str = "portcullis.dev/secret-uid";
/// On what spans load balancers: which it is.
pub const SHARED_RESOURCE_TAG: &str = "elbv2.k8s.aws/resource";

/// Of a certificate's tags those that say whose it is.
pub fn ownership(tags: &Pairs) -> Pairs {
    let keys = [CLUSTER_TAG, STACK_TAG, RESOURCE_TAG, SECRET_UID_TAG];
    let pairs = keys.iter().filter_map(|key| Some((*key, tags.get(key)?)));
    pairs.collect()
}

/// Whether a tag of this key says whose a resource is, or what has become of it.
pub fn is_of_ownership(key: &str) -> bool {
    const KEYS: [&str; 6] = [
        CLUSTER_TAG,
        LEGACY_CLUSTER_TAG,
        STACK_TAG,
        RESOURCE_TAG,
        SECRET_UID_TAG,
        RETIRED_AT_TAG,
    ];
    KEYS.contains(&key)
}

/// Description of permissions that are ours on groups that are not.
pub const NODE_PERMISSION_MARK: &str = "elbv2.k8s.aws/targetGroupBinding=shared";

/// The same where the incumbent stays for Services or Gateways, for it revokes what has its mark and is not its own.
pub const OWN_PERMISSION_MARK: &str = "portcullis.dev/load-balancers=shared";

/// Whether permissions with this description are ours.
pub fn is_marked(description: &str) -> bool {
    [NODE_PERMISSION_MARK, OWN_PERMISSION_MARK].contains(&description)
}
/// Name of the protections of AWS Shield Advanced that are ours.
pub const PROTECTION: &str = "managed by aws-load-balancer-controller";
/// The same, and as version 1 of the incumbent called them: only such are deleted.
pub const PROTECTIONS: [&str; 2] = [PROTECTION, "managed by aws-alb-ingress-controller"];

/// Logical id of the load balancer within its stack.
pub const LOAD_BALANCER: &str = "LoadBalancer";
/// Logical id of the load balancer that is to take its place.
pub const SUCCESSOR: &str = "SuccessorLoadBalancer";
/// Logical id of the load balancer whose place it took.
pub const RETIRED: &str = "RetiredLoadBalancer";
/// On a retired load balancer: since when, in seconds since 1970.
pub const RETIRED_AT_TAG: &str = "portcullis.dev/retired-at";
/// Logical id of the Network Load Balancer in front of it.
pub const FRONT: &str = "FrontendNlb";
/// Logical id of the security group that is made for a load balancer.
pub const MANAGED_SECURITY_GROUP: &str = "ManagedLBSecurityGroup";
pub const MANAGED_SECURITY_GROUP_DESCRIPTION: &str = "[k8s] Managed SecurityGroup for LoadBalancer";
/// What the shared resource tag says of the cluster's backend security group.
pub const BACKEND_SECURITY_GROUP_TAG: &str = "backend-sg";
pub const BACKEND_SECURITY_GROUP_DESCRIPTION: &str = "[k8s] Shared Backend SecurityGroup for LoadBalancer";
/// Logical id of the cluster's backend security group, as plans name it.
pub const BACKEND_SECURITY_GROUP: &str = "backend";

/// Which of two load balancers, where one takes another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Successor,
    Retired,
}

/// Only letters and digits, at most so many of them.
fn plain(text: &str, longest: usize) -> String {
    text.chars()
        .filter(char::is_ascii_alphanumeric)
        .take(longest)
        .collect()
}

/// The first ten digits of the hash of all parts, written without a separator.
fn hash(parts: &[&str]) -> String {
    let digest = Sha256::digest(parts.concat().as_bytes());
    digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

fn of_stack(id: &LoadBalancerId, hash: &str) -> String {
    match id {
        LoadBalancerId::Group(name) => format!("k8s-{}-{hash}", plain(name, 17)),
        LoadBalancerId::Lone(object) => {
            format!(
                "k8s-{}-{}-{hash}",
                plain(&object.namespace, 8),
                plain(&object.name, 8)
            )
        }
    }
}

/// The name of a load balancer that was given none.
pub fn load_balancer(cluster: &str, id: &LoadBalancerId, scheme: LoadBalancerScheme) -> String {
    of_stack(id, &hash(&[cluster, &id.to_string(), scheme.as_str()]))
}

/// The name of the security group that is made for a load balancer.
pub fn managed_security_group(cluster: &str, id: &LoadBalancerId) -> String {
    of_stack(id, &hash(&[cluster, &id.to_string()]))
}

/// The name of the security group that nodes let in.
pub fn backend_security_group(cluster: &str) -> String {
    format!("k8s-traffic-{}-{}", plain(cluster, 232), hash(&[cluster]))
}

/// What a target group's name is made of, besides its backend.
#[derive(Clone, Copy, Debug)]
pub struct TargetGroupKey {
    pub port: u16,
    pub target_type: TargetType,
    pub protocol: TargetProtocol,
    pub version: ProtocolVersion,
    pub control_port: Option<u16>,
}

/// The name of a target group.
pub fn target_group(
    cluster: &str,
    id: &LoadBalancerId,
    owner: &ObjectName,
    service: &ServiceRef,
    key: TargetGroupKey,
) -> String {
    let hash = hash(&[
        cluster,
        &id.to_string(),
        &owner.namespace,
        &owner.name,
        &service.uid,
        &service.port,
        &key.port.to_string(),
        key.target_type.as_str(),
        key.protocol.as_str(),
        key.version.as_str(),
        &key.control_port.map(|port| port.to_string()).unwrap_or_default(),
    ]);
    format!(
        "k8s-{}-{}-{hash}",
        plain(&service.name.namespace, 8),
        plain(&service.name.name, 8)
    )
}

/// Which of two load balancers has this logical id; none for the one that serves.
pub fn role_of(id: &str) -> Option<Role> {
    match id {
        SUCCESSOR => Some(Role::Successor),
        RETIRED => Some(Role::Retired),
        _ => None,
    }
}

/// The logical id of a load balancer or target group of one of two.
pub fn with_role(id: &str, role: Option<Role>) -> String {
    match (id, role) {
        (_, None) => id.to_owned(),
        (LOAD_BALANCER, Some(Role::Successor)) => SUCCESSOR.to_owned(),
        (LOAD_BALANCER, Some(Role::Retired)) => RETIRED.to_owned(),
        (_, Some(Role::Successor)) => format!("{id}@successor"),
        (_, Some(Role::Retired)) => format!("{id}@retired"),
    }
}

/// The logical id of a target group, whichever load balancer of two it is of. Ids of backends hold no such sign.
pub fn without_role(id: &str) -> &str {
    let start = |end| id.strip_suffix(end);
    start("@successor").or_else(|| start("@retired")).unwrap_or(id)
}

/// What `without_role` takes away.
pub fn role_mark(id: &str) -> &str {
    &id[without_role(id).len()..]
}

/// The name of the load balancer in front of one with this name.
pub fn front(behind: &str) -> String {
    let start: String = behind.chars().take(28).collect();
    format!("{start}-nlb")
}

/// Logical id of a listener in front.
pub fn front_listener_id(port: u16) -> String {
    format!("{FRONT}-ls-TCP-{port}")
}

/// Logical id of the target group that a listener in front leads to.
pub fn front_target_group_id(port: u16) -> String {
    format!("{FRONT}-tg-TCP-{port}")
}

pub fn is_front_target_group(id: &str) -> bool {
    id.starts_with("FrontendNlb-tg-")
}

/// The name of the target group that a listener in front leads to.
pub fn front_target_group(cluster: &str, id: &LoadBalancerId, port: u16, health: &HealthCheckSpec) -> String {
    let hash = hash(&[
        cluster,
        &id.to_string(),
        &port.to_string(),
        TargetType::Alb.as_str(),
        TargetProtocol::Tcp.as_str(),
        &health.port,
        health.protocol.as_str(),
    ]);
    of_stack(id, &hash)
}

/// Another name of the same form, for a target group whose own name is taken.
pub fn another(name: &str) -> String {
    let (start, _) = name.rsplit_once('-').unwrap_or((name, ""));
    format!("{start}-{}", hash(&[name]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_the_incumbent_gives() {
        use LoadBalancerScheme::{Internal, InternetFacing};
        // Recorded from version 3.5.0, and the table of its test data.
        for (cluster, stack, scheme, want, group) in [
            (
                "demo",
                "shop/web",
                InternetFacing,
                "k8s-shop-web-17d71bc701",
                "k8s-shop-web-aba6dfbc4e",
            ),
            (
                "demo",
                "public",
                InternetFacing,
                "k8s-public-cdfab385a2",
                "k8s-public-7004955605",
            ),
            (
                "cluster-dummy",
                "ns-1/ing-1",
                Internal,
                "k8s-ns1-ing1-b7e914000d",
                "k8s-ns1-ing1-bd83176788",
            ),
            (
                "cluster-dummy",
                "ns-1/ing-1",
                InternetFacing,
                "k8s-ns1-ing1-159dd7a143",
                "k8s-ns1-ing1-bd83176788",
            ),
        ] {
            let id = LoadBalancerId::parse(stack);
            assert_eq!(load_balancer(cluster, &id, scheme), want, "{stack} of {cluster}");
            assert_eq!(
                managed_security_group(cluster, &id),
                group,
                "{stack} of {cluster}"
            );
        }
        assert_eq!(backend_security_group("demo"), "k8s-traffic-demo-2a97516c35");
        let service = ServiceRef {
            name: ObjectName::new("ns-1", "svc-1"),
            uid: "".into(),
            port: "http".into(),
            number: None,
        };
        let key = TargetGroupKey {
            port: 32768,
            target_type: TargetType::Instance,
            protocol: TargetProtocol::Http,
            version: ProtocolVersion::Http1,
            control_port: None,
        };
        let owner = ObjectName::new("ns-1", "ing-1");
        let id = LoadBalancerId::Lone(owner.clone());
        assert_eq!(
            target_group("cluster-dummy", &id, &owner, &service, key),
            "k8s-ns1-svc1-9889425938"
        );
    }

    #[test]
    fn names_keep_within_32_characters() {
        let long = "a-very.long-name-of-a-thing-that-goes-on-and-on";
        for id in [
            LoadBalancerId::Group(long.into()),
            LoadBalancerId::Lone(ObjectName::new(long, long)),
        ] {
            let name = load_balancer(long, &id, LoadBalancerScheme::Internal);
            assert!(name.len() <= crate::limits::NAME_LENGTH, "{name}");
            assert!(
                managed_security_group(long, &id).len() <= crate::limits::NAME_LENGTH,
                "{id}"
            );
        }
    }
}
