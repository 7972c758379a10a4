//! QUIC connections in, requests for `exchange` out: HTTP/3, as other versions are served.
//!
//! quinn speaks QUIC, h3 frames and compressed fields. Between the two stands a transport of our own, which refuses what
//! h3 takes: bodies that break off, heads without bound, pseudo-header fields that are said twice.

mod connection;
mod endpoint;
mod frames;
mod names;
mod request;
mod session;
mod sockets;
mod steering;
mod transport;
mod ways;

pub(crate) use self::endpoint::serve;
pub(crate) use self::request::Body;
pub(crate) use self::sockets::{Offer, Ports, Shared};
pub(crate) use self::ways::{Told, Ways};
