//! What passes found and did in; status, events, metrics and the answers of the admin address out.

pub mod admin;
pub mod events;
pub mod proxy;
pub mod status;

#[cfg(feature = "cluster")]
pub mod metrics;
#[cfg(feature = "cluster")]
pub mod write;
