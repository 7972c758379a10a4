//! What was asked for and is not known, by name: whoever makes the rest leaves that as it exists.
//!
//! A setting is not known where it could not be read, or where members ask for different ones and none of them has the
//! say. Beside each stands the value that counts where nothing exists yet.

use serde::Serialize;

use crate::name::Port;

/// Of a load balancer as a whole and of its listeners.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Kept {
    Scheme,
    AddressFamily,
    Subnets,
    SecurityGroups,
    /// Whether nodes are opened where security groups are given.
    OpenNodes,
    /// The pool of its addresses for the world.
    PublicPool,
    /// Whether one stands in front.
    Front,
    /// Tags that exist and are not asked for stay.
    Tags,
    /// The value of the tag with this key.
    Tag(String),
    /// Where plain HTTP at this port is redirected to, if it is.
    Redirect(Port),
    /// The TLS policy of this port.
    TlsPolicy(Port),
}

/// Of a load balancer of layer 4 in front of one of layer 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum KeptFront {
    Scheme,
    Subnets,
    SecurityGroups,
    Addresses,
    Tags,
    /// Ports that exist and where they lead.
    Ports,
}

/// Of the targets of a backend and how they are spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum KeptTargets {
    /// Whether they are pods or nodes.
    Kind,
    /// Which nodes.
    Nodes,
    /// Whether they are spoken to over TLS.
    Tls,
    Version,
    ControlPort,
}

/// Of a health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum KeptHealth {
    Tls,
    Port,
    Path,
    Interval,
    Timeout,
    HealthyThreshold,
    UnhealthyThreshold,
    SuccessCodes,
}

impl KeptHealth {
    /// Where nothing of a health check is known.
    pub const ALL: [Self; 8] = [
        Self::Tls,
        Self::Port,
        Self::Path,
        Self::Interval,
        Self::Timeout,
        Self::HealthyThreshold,
        Self::UnhealthyThreshold,
        Self::SuccessCodes,
    ];
}
