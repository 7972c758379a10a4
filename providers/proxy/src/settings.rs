//! Where and how a proxy listens: addresses, times and bounds, with defaults that suit the open internet.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_model::Port;

use crate::access_log::AccessLog;
use crate::compile::ServedPorts;
use crate::identity::outside::Outbound;
use crate::tickets;

/// Where a proxy listens and how it behaves; independent of what it serves.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// For all HTTP listeners of the load balancer that have no socket of their own. Port 0 takes a free one.
    pub http: Option<SocketAddr>,
    /// For all such HTTPS listeners.
    pub https: Option<SocketAddr>,
    /// Sockets of single listeners, by the listener's port: what stands there is reached by no other way.
    pub further: BTreeMap<Port, Further>,
    /// The ports at which clients reach these, where a Service or a load balancer of layer 4 maps others to them: what
    /// redirects, `X-Forwarded-Port` and `Alt-Svc` name. Those listened at, where absent.
    pub advertised: ServedPorts,
    /// Threads, each with sockets, connections and pools of its own.
    pub workers: NonZeroUsize,
    pub settings: Settings,
    /// Peers whose word about the client is taken: load balancers in front. None by default.
    pub trusted: Vec<IpNet>,
    /// Peers whose connections begin with a head of the PROXY protocol, and from then on count as the client's it names:
    /// load balancers of layer 4 in front. None by default.
    pub proxy_protocol: Vec<IpNet>,
    /// The zone in which the proxy runs: targets there come before others, as far as there are enough of them. None by
    /// default, and then all are alike.
    pub zone: Option<Arc<str>>,
    /// None is written by default.
    pub access_log: Option<AccessLog>,
    /// How identity providers are reached.
    pub outbound: Outbound,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            http: None,
            https: None,
            further: BTreeMap::new(),
            advertised: ServedPorts::default(),
            workers: NonZeroUsize::MIN,
            settings: Settings::default(),
            trusted: Vec::new(),
            proxy_protocol: Vec::new(),
            zone: None,
            access_log: None,
            outbound: Outbound::default(),
        }
    }
}

/// Where one listener alone is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Further {
    /// Port 0 takes a free one.
    pub address: SocketAddr,
    /// A listener of the other protocol is not served there.
    pub is_tls: bool,
}

impl Further {
    pub(crate) fn at(&self, port: Port) -> EntryPoint {
        EntryPoint {
            port: Some(port),
            is_tls: self.is_tls,
        }
    }
}

/// The way by which a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryPoint {
    /// The port of the one listener that is served there; none where all that have no socket of their own are.
    pub(crate) port: Option<Port>,
    pub(crate) is_tls: bool,
}

impl EntryPoint {
    pub(crate) const HTTP: Self = Self {
        port: None,
        is_tls: false,
    };
    pub(crate) const HTTPS: Self = Self {
        port: None,
        is_tls: true,
    };
}

/// In which fields trusted peers say who the client is. One alone is read: where a peer writes one, it may pass on the
/// other as the client wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrustedField {
    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    #[default]
    XForwarded,
    /// `Forwarded`. Source: RFC 7239.
    Forwarded,
}

/// Who reads and writes HTTP/1.1, with clients and with backends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http1Engine {
    /// What ours is held against; to go back to, should ours be wrong.
    Hyper,
    /// Our own, which costs less.
    #[default]
    Own,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Settings {
    pub http1_engine: Http1Engine,
    /// What trusted peers write.
    pub trusted_field: TrustedField,
    /// Whether trusted peers that write `X-Forwarded-…` also say who users are: `X-Amzn-Oidc-…`, `X-Amzn-Mtls-…`, and what
    /// else of `X-Forwarded-…` is not of the way. Most pass on what clients write there, so not by default.
    pub trusted_identify: bool,
    /// Whether backends are told who asks in `Forwarded`, too. Source: RFC 7239.
    pub tells_forwarded: bool,
    pub timeouts: Timeouts,
    pub limits: Limits,
}

/// Longest waits.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a client's TLS handshake.
    pub handshake: Duration,
    /// From the opening of a connection, or the last answer on it, until the next head of a request is complete. An
    /// HTTP/2 connection on which nothing is under way for so long is closed, too.
    pub head: Duration,
    /// For a connection to a target, TLS included.
    pub connect: Duration,
    /// From the last byte of a request until the head of the answer, where the backend says nothing else.
    pub answer: Duration,
    /// For the next piece of a body, from client or backend, and for a client to take a piece.
    pub body: Duration,
    /// From the last frame of an HTTP/2 target, while requests wait for it, until it is sent a PING.
    pub ping: Duration,
    /// For its answer to that; then the connection is given up.
    pub pong: Duration,
    /// For the next byte in either direction of an upgraded connection.
    pub tunnel: Duration,
    /// How old a client's connection becomes before it is ended, after what is under way on it: so that clients spread
    /// anew over replicas. Up to a tenth less, so that those opened together do not end together. None by default.
    pub age: Option<Duration>,
    /// How long tickets of TLS sessions are sealed under one key; they are read for as long again. Not 0.
    pub ticket_key: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(60),
            connect: Duration::from_secs(5),
            // As an ALB's idle timeout. Source: ELBv2 attribute `idle_timeout.timeout_seconds`, default 60.
            answer: Duration::from_secs(60),
            body: Duration::from_secs(300),
            ping: Duration::from_secs(20),
            pong: Duration::from_secs(10),
            tunnel: Duration::from_secs(3600),
            age: None,
            ticket_key: tickets::RENEWED_EVERY,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections from clients that each worker has open; more wait in the kernel until one ends.
    pub connections: usize,
    /// Files that are open towards targets and identity providers, over all workers: their connections, and pipes for long
    /// bodies. Requests that would need more are answered 503 with `Retry-After`. Unbounded by default; [`crate::Shares`]
    /// says how many are right.
    pub target_files: usize,
    /// Requests under way to one target, over all workers and without tunnels; where all targets of a backend have so
    /// many, more are answered 503 with `Retry-After`. So a backend that hangs holds no more than that.
    pub under_way: u32,
    /// Bytes of a request's body; more is refused (413). Bodies are passed on as they come and take no memory by their
    /// size, so none by default.
    pub body_bytes: Option<u64>,
    /// Bytes of the body of a backend's answer: one that says more is not passed on (502), one that comes to more is cut off.
    /// None by default, for the same reason.
    pub answer_bytes: Option<u64>,
    /// Bytes of a head, request or answer: more is refused (431 to clients).
    pub head_bytes: usize,
    /// Streams that a client may have open on one HTTP/2 connection.
    pub streams: u32,
    /// Unused HTTP/1.1 connections kept per target, by each worker.
    pub kept_per_target: usize,
    /// How long an unused connection to a target is kept.
    pub kept_for: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 32_768,
            target_files: usize::MAX,
            under_way: 2_048,
            body_bytes: None,
            answer_bytes: None,
            head_bytes: 64 * 1024,
            streams: 200,
            kept_per_target: 64,
            kept_for: Duration::from_secs(30),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What docs/proxy.md tells.
    #[test]
    fn defaults_are_those_that_users_are_told() {
        let Timeouts {
            handshake,
            head,
            connect,
            answer,
            body,
            ping,
            pong,
            tunnel,
            age,
            ticket_key,
        } = Timeouts::default();
        let told = [
            handshake, head, connect, answer, body, ping, pong, tunnel, ticket_key,
        ];
        let told = told.map(|time| time.as_secs());
        assert_eq!((told, age), ([10, 60, 5, 60, 300, 20, 10, 3600, 21_600], None));
        let limits = Limits::default();
        assert_eq!((limits.connections, limits.under_way), (32_768, 2_048));
        assert_eq!((limits.body_bytes, limits.answer_bytes), (None, None));
        assert_eq!((limits.head_bytes, limits.streams), (65_536, 200));
        assert_eq!(limits.kept_for.as_secs(), 30);
        let outbound = Outbound::default();
        let told = [outbound.pause, outbound.keys_fresh, outbound.keys_last];
        assert_eq!(told.map(|time| time.as_secs()), [10, 300, 3600]);
        assert!(outbound.allowed.is_empty());
    }
}
