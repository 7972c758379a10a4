//! What the operator sets once for all load balancers: flags in, plain values out.

use std::collections::{BTreeMap, BTreeSet};

use crate::resource::SecurityGroupId;
use crate::throttle::Limit;

/// Which security group nodes let in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BackendGroup {
    /// One for the whole cluster, made and kept by us.
    #[default]
    Managed,
    /// One that exists already.
    Given(SecurityGroupId),
    /// None: nodes let in each load balancer's own group.
    Off,
}

/// Which ports nodes open to a load balancer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NodePorts {
    /// Those that targets serve on.
    #[default]
    Needed,
    /// Every TCP port (the incumbent's `--disable-restricted-sg-rules`).
    Every,
}

/// Whether a part of AWS is used at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Switch {
    #[default]
    On,
    Off,
}

/// Settings of the provider, named as the incumbent's flags where they mean the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Goes into every name and ownership tag.
    pub cluster: String,
    /// Symbolic where unknown.
    pub region: Option<String>,
    /// Symbolic where unknown.
    pub vpc: Option<String>,
    /// On every resource; they win over tags of classes and annotations.
    pub default_tags: BTreeMap<String, String>,
    pub backend_group: BackendGroup,
    pub node_ports: NodePorts,
    /// TLS policy of listeners that name none; the default of their semantics where absent.
    pub tls_policy: Option<String>,
    /// Most targets of a target group; AWS's quota where absent.
    pub most_targets: Option<usize>,
    /// Keys of tags that somebody else keeps on our resources: neither written nor removed.
    pub external_tags: BTreeSet<String>,
    /// ARNs of private authorities: of certificates found by host only those count that one of these issued. Empty: all.
    pub certificate_authorities: BTreeSet<String>,
    /// AWS WAF; switched off, nothing of it is read or changed.
    pub wafv2: Switch,
    /// AWS Shield Advanced; switched off, nothing of it is read or changed.
    pub shield: Switch,
    /// ARNs of roles that bindings may have us assume toward target groups of other accounts.
    pub roles: BTreeSet<String>,
    /// How often operations are called at most, before the limits that hold otherwise.
    pub api_limits: Vec<Limit>,
}
