//! Ids of load balancers that something touched in, the world brought in line out: when, by whom, and one pass.

#[cfg(feature = "cluster")]
pub mod backoff;
pub mod brake;
pub mod lease;
pub mod queue;

#[cfg(feature = "cluster")]
pub mod drift;
pub mod outcome;
#[cfg(feature = "cluster")]
pub mod pass;

pub mod accounts;
#[cfg(feature = "cluster")]
pub mod bindings;
pub mod fingerprint;
pub mod gates;
pub mod memory;
pub mod openings;
#[cfg(feature = "cluster")]
pub mod records;
pub mod rounds;
#[cfg(feature = "cluster")]
pub mod secrets;
pub mod shared;
pub mod standing;
#[cfg(feature = "cluster")]
pub mod view;
