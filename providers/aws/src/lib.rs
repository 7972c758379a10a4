//! Load balancers in, Application Load Balancers out.
//!
//! Read in this order: what exists on AWS ([`resource`]), what is known of the account ([`account`]) and of what is ours
//! ([`observed`]), one call ([`change`]); how a load balancer becomes resources ([`compile`]) within [`limits`] and
//! under [`names`]; how resources become calls ([`plan`], [`shared`]) and their answers what is observed next ([`fold`]);
//! the whole of it without a cloud ([`preview`]), and a digest of it ([`fingerprint`]). All of that is pure. What talks to
//! AWS stands behind the feature `sdk`: the clients, our resources as the SDKs' types and back (`wire`), reads
//! (`observe`), changes (`apply`), and the two halves together, the provider.

pub mod resource;

pub mod limits;
pub mod names;

pub mod account;
pub mod adopt;
pub mod change;
pub mod fold;
pub mod observed;
pub mod settings;
pub mod throttle;

mod overlap;

pub mod bound;
pub mod compile;
mod kept;
pub mod plan;
pub mod preview;
pub mod routes;
pub mod shared;

pub mod fingerprint;

#[cfg(feature = "sdk")]
mod apply;
#[cfg(feature = "sdk")]
pub mod client;
#[cfg(feature = "sdk")]
mod observe;
#[cfg(feature = "sdk")]
pub mod provider;
#[cfg(feature = "sdk")]
mod wire;

#[cfg(test)]
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a test names the variants it is about"
)]
mod tests;

pub use account::{Account, Fact};
/// What [`Aws::new`] is made from.
#[cfg(feature = "sdk")]
pub use aws_config;
pub use change::{Answer, Call, Change};
pub use fingerprint::fingerprint;
pub use fold::{address, backends, fold, fold_shared, imagine, inventory, listed};
pub use observed::{Observed, Owned, Owner, Shared};
pub use plan::plan;
pub use preview::{plan_observed, plan_offline};
#[cfg(feature = "sdk")]
pub use provider::{Aws, ConnectError};
pub use routes::routes;
pub use settings::Settings;
pub use shared::{Demand, demand, plan_shared};
