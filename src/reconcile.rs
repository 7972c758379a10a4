//! Ids of load balancers that something touched in, the world brought in line out: when, by whom, and one pass.

pub mod lease;
pub mod queue;
