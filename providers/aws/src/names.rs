//! Names and ownership tags, to the letter those of the AWS Load Balancer Controller: what is named in, names out.

/// On every resource: the cluster.
pub const CLUSTER_TAG: &str = "elbv2.k8s.aws/cluster";
/// The cluster, as version 1 of the incumbent wrote it.
pub const LEGACY_CLUSTER_TAG: &str = "ingress.k8s.aws/cluster";
/// On every resource of a load balancer: its id.
pub const STACK_TAG: &str = "ingress.k8s.aws/stack";
/// On every resource of a load balancer: the resource's id within it.
pub const RESOURCE_TAG: &str = "ingress.k8s.aws/resource";
/// On what spans load balancers: which it is.
pub const SHARED_RESOURCE_TAG: &str = "elbv2.k8s.aws/resource";

/// Description of permissions that are ours on groups that are not.
pub const NODE_PERMISSION_MARK: &str = "elbv2.k8s.aws/targetGroupBinding=shared";
