//! Load balancers in, a listening proxy out.
//!
//! The routing half is pure and knows no socket: [`compile`] turns a load balancer into a [`RouteTable`], and
//! [`RouteTable::lookup`] finds what answers a request, the same as `portcullis_model::resolve` would.

pub mod compile;
pub mod lookup;
pub mod table;

mod show;

mod balance;
mod certificate;
mod serving;
mod settings;
mod tls;

mod answer;
mod exchange;
mod fields;
mod head;
mod rewrite;

mod body;
mod forward;
mod pools;
mod tunnel;

mod connection;
mod counters;
mod framing;
mod guarded;
mod listen;
mod server;
mod tasks;
mod worker;

pub use certificate::KeyPairPem;
pub use compile::{ServedPorts, compile};
pub use counters::Totals;
pub use lookup::{Fields, Found, RequestHead};
pub use server::{BindError, Drained, Handle, Server, WorkerFailure};
pub use serving::{ServingState, TlsUnavailable};
pub use settings::{Limits, ServerConfig, Settings, Timeouts};
pub use table::RouteTable;
