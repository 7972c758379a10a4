//! What AWS refuses, known beforehand: numbers with their sources.

/// Quotas that AWS raises on request, as `DescribeAccountLimits` and EC2 tell them; AWS's defaults otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Listener rules per load balancer over all listeners, default rules not counted.
    pub rules: usize,
    pub listeners: usize,
    /// Target groups per load balancer.
    pub target_groups: usize,
    /// Targets per load balancer.
    pub targets: usize,
    /// Targets per target group.
    pub targets_per_group: usize,
    /// Certificates per load balancer besides the default ones.
    pub certificates: usize,
    /// Permissions per security group and family of addresses.
    pub permissions: usize,
}

impl Default for Quotas {
    /// Source: "Quotas for your Application Load Balancers", "Amazon VPC quotas" (inbound rules per security group).
    fn default() -> Self {
        Self {
            rules: 100,
            listeners: 50,
            target_groups: 100,
            targets: 1000,
            targets_per_group: 1000,
            certificates: 25,
            permissions: 60,
        }
    }
}
