//! What the cluster says: watches or files in, trimmed objects, an index and snapshots out.

#[cfg(feature = "cluster")]
pub mod binding;
#[cfg(feature = "cluster")]
pub mod finalizer;
pub mod folder;
pub mod incumbent;
pub mod index;
mod key_pair;
pub mod labels;
#[cfg(feature = "cluster")]
pub mod list;
pub mod manifests;
pub mod membership;
pub mod object;
mod opening;
pub mod snapshot;
#[cfg(feature = "cluster")]
pub mod watch;
pub mod wire;
