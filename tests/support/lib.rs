//! Nothing in, a running kube-apiserver or AWS API out, stopped when it is dropped or when the test process dies.
//!
//! Everything here blocks and panics: a part that doesn't start is a failed test, told with its log. Start one in a
//! test, or one for all tests of a file in a `static LazyLock`; several may run at once.
//!
//! `cargo xtask test` says where the programs are; without it `cargo xtask setup` has to have run once.

mod account;
mod apiserver;
mod certificate;
mod faults;
mod http;
mod moto;
mod process;
mod program;

pub use account::{Account, AccountSpec, Node};
pub use apiserver::ApiServer;
pub use faults::{Fault, Faults, REQUEST, Script, random};
pub use http::Response;
pub use moto::{Call, Moto};
pub use program::{h2spec, openid_provider, python};
