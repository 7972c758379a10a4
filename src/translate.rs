//! A snapshot in, the load balancer to serve and what is wrong out.
//!
//! Translation never fails: what cannot be served is left out or answers 503 in its place, and is told at its field.
//! An error never opens what a right value would have closed, and never changes what another Ingress is answered.

pub mod annotations;
mod class;
mod group;
mod references;
pub mod settings;

pub use self::class::membership;
pub use self::references::references;
pub use self::settings::{AddressPolicy, ControllerName, Merge, Settings, Targets, WithoutClass};
