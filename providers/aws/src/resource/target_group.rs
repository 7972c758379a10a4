//! `CreateTargetGroup` and what it left: protocol, health check, attributes and targets in, their API form out.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{IpAddressType, Pairs, VpcId};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TargetProtocol {
    Http,
    Https,
    /// Of a Network Load Balancer.
    Tcp,
}

impl TargetProtocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Tcp => "TCP",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ProtocolVersion {
    Http1,
    Http2,
    Grpc,
    /// Of TCP, which has none.
    None,
}

impl ProtocolVersion {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP1",
            Self::Http2 => "HTTP2",
            Self::Grpc => "GRPC",
            Self::None => "",
        }
    }

    pub fn is_none(&self) -> bool {
        *self == Self::None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetType {
    Instance,
    Ip,
    /// An Application Load Balancer behind a Network Load Balancer.
    Alb,
}

impl TargetType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Instance => "instance",
            Self::Ip => "ip",
            Self::Alb => "alb",
        }
    }
}

/// Which answers count as healthy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Matcher {
    HttpCode(String),
    GrpcCode(String),
}

/// What `ModifyTargetGroup` can change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthCheckSpec {
    #[serde(rename = "HealthCheckEnabled")]
    pub enabled: bool,
    #[serde(rename = "HealthCheckProtocol")]
    pub protocol: TargetProtocol,
    /// A number, or `traffic-port`.
    #[serde(rename = "HealthCheckPort")]
    pub port: String,
    #[serde(rename = "HealthCheckPath")]
    pub path: String,
    #[serde(rename = "HealthCheckIntervalSeconds")]
    pub interval_seconds: u32,
    #[serde(rename = "HealthCheckTimeoutSeconds")]
    pub timeout_seconds: u32,
    #[serde(rename = "HealthyThresholdCount")]
    pub healthy_threshold: u32,
    #[serde(rename = "UnhealthyThresholdCount")]
    pub unhealthy_threshold: u32,
    #[serde(rename = "Matcher")]
    pub matcher: Matcher,
}

/// What is registered: an address or instance id, and the port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TargetDescription {
    pub id: String,
    pub port: u16,
    /// `all` for addresses outside the VPC. Source: ELBv2 API, TargetDescription.AvailabilityZone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
}

impl TargetDescription {
    /// `address:port`, as the incumbent remembers its own targets.
    pub fn key(&self) -> String {
        format!("{}:{}", self.id, self.port)
    }
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TargetGroupSpec {
    pub name: String,
    pub protocol: TargetProtocol,
    #[serde(skip_serializing_if = "ProtocolVersion::is_none")]
    pub protocol_version: ProtocolVersion,
    pub target_type: TargetType,
    pub ip_address_type: IpAddressType,
    /// What a target serves on that names no port of its own; 1 where each target names one.
    pub port: u16,
    /// Where the load balancer asks targets how many more requests they can take (the target optimizer).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_control_port: Option<u16>,
    pub vpc_id: VpcId,
    #[serde(flatten)]
    pub health: HealthCheckSpec,
    pub tags: Pairs,
    /// Desired: those that are set on purpose. Observed: all that were read.
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub attributes: Pairs,
    /// Desired: those that may have requests. Observed: those that are registered and not draining.
    pub targets: BTreeSet<TargetDescription>,
}

impl TargetGroupSpec {
    /// Whether the other can become this one without being replaced. The API has no call that changes these.
    pub fn replaces(&self, other: &Self) -> bool {
        self.target_type != other.target_type
            || self.protocol != other.protocol
            || self.protocol_version != other.protocol_version
            || self.target_control_port != other.target_control_port
            || self.ip_address_type != other.ip_address_type
    }
}
