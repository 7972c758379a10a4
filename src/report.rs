//! What passes found and did in; status, events, metrics and the answers of the admin address out.

pub mod events;
pub mod status;

#[cfg(feature = "cluster")]
pub mod admin;
#[cfg(feature = "cluster")]
pub mod metrics;
#[cfg(feature = "cluster")]
pub mod write;
