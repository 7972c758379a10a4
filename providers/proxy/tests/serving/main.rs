//! Load balancers and real connections in; what clients and backends see of each other out.
#![expect(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod balancer;
mod browser;
mod client;
mod echo;
mod provider;
#[cfg(feature = "http3")]
mod quic;

mod bodies;
mod changing;
mod checked;
mod ciphers;
mod compressed;
mod conformance;
mod consulting;
mod cors;
mod downloads;
mod engines;
mod evading;
mod failing;
mod fields;
mod forged;
mod forwarding;
mod grpc;
mod held;
mod hostile;
#[cfg(feature = "http3")]
mod http3;
mod interim;
mod introduced;
mod keeping;
mod key_types;
mod led;
mod limits;
mod logins;
mod mirrored;
#[cfg(feature = "http3")]
mod moving;
mod multiplexed;
mod mutual;
mod observing;
mod openid;
mod pages;
mod passwords;
mod ports;
#[cfg(feature = "http3")]
mod proving;
mod proxied;
mod rates;
mod records;
mod redirected;
#[cfg(feature = "http3")]
mod refused;
mod resets;
mod returning;
mod routing;
mod scarce;
mod secure;
mod silent;
mod streaming;
mod targets;
mod telling;
mod tickets;
mod tls_policies;
mod tokens;
mod tunnels;
mod unknown_names;
mod upheaval;
mod verified;
mod vouched;
mod waits;
mod websockets;
mod windows;
mod zones;
