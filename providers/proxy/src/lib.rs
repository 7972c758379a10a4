//! Load balancers in, a listening proxy out.
//!
//! The routing half is pure and knows no socket: [`compile`] turns a load balancer into a [`RouteTable`], and
//! [`RouteTable::lookup`] finds what answers a request, the same as `portcullis_model::resolve` would.

pub mod compile;
pub mod lookup;
pub mod table;

pub use compile::{ServedPorts, compile};
pub use lookup::{Fields, Found, RequestHead};
pub use table::RouteTable;
