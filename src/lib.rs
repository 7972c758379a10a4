//! The controller: reads the cluster, decides with a provider, writes status.

pub mod crd;

pub mod cluster;
pub mod reconcile;
pub mod report;
pub mod strictness;
pub mod translate;

#[cfg(all(feature = "cluster", feature = "aws"))]
pub mod adopt;

pub mod orphans;

#[cfg(feature = "cluster")]
pub mod controller;

pub mod cli;
