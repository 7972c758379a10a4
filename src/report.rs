//! What passes found and did in; status, events, metrics and the answers of the admin address out.

pub mod status;
