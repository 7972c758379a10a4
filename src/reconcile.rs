//! Ids of load balancers that something touched in, the world brought in line out: when, by whom, and one pass.

#[cfg(feature = "cluster")]
pub mod backoff;
pub mod brake;
pub mod lease;
pub mod queue;

pub mod accounts;
pub mod rounds;
pub mod shared;

pub mod outcome;
#[cfg(feature = "cluster")]
pub mod records;
