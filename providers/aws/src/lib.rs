//! Load balancers in, Application Load Balancers out.
//!
//! Read in this order: what exists on AWS ([`resource`]), what is known of the account ([`account`]) and of what is ours
//! ([`observed`]), one call ([`change`]); how a load balancer becomes resources within [`limits`] under [`names`].
//! All of that is pure. What talks to AWS stands behind the feature `sdk`.

pub mod resource;

pub mod limits;
pub mod names;

pub mod account;
pub mod change;
pub mod fold;
pub mod observed;
pub mod settings;

pub use account::{Account, Fact};
pub use change::{Answer, Call, Change};
pub use observed::{Observed, Owned, Owner, Shared};
pub use settings::Settings;
