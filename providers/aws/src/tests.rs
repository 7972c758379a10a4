//! Load balancers by hand and accounts as recorded in, what is compiled and planned for them checked.

mod admitted;
mod auth;
mod build;
mod compiled;
mod front;
mod given;
mod imported;
mod kept;
mod limits;
mod merging;
mod network;
mod options;
mod protection;
mod random;
mod recorded;
mod refused;
mod routes;
mod rules;
mod second;
mod settings;
mod settled;
mod shared;
mod sharing;
mod takeover;
mod targets;
mod unmade;
