//! Addresses as backends come and go in, the load of each out. A copy shares all that does not change.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::load::Load;

/// Parts that are copied one by one, where something in them changes.
const SHARDS: usize = 1024;

/// Every address that a backend leads to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Targets(Box<[Arc<HashMap<SocketAddr, Known, RandomState>>]>);

#[derive(Clone, Debug)]
struct Known {
    load: Arc<Load>,
    /// How often backends have it.
    uses: u32,
}

impl Targets {
    pub(crate) fn new() -> Self {
        Self(vec![Arc::default(); SHARDS].into())
    }

    /// The load of an address, which one backend more has. `is_new` says what one is that nobody had before.
    pub(crate) fn enter(&mut self, address: SocketAddr, is_new: bool) -> Arc<Load> {
        let shard = Arc::make_mut(&mut self.0[shard_of(address)]);
        let known = shard.entry(address).or_insert_with(|| Known {
            load: Arc::new(Load::new(is_new)),
            uses: 0,
        });
        known.uses += 1;
        known.load.clone()
    }

    /// One backend less has it.
    pub(crate) fn leave(&mut self, address: SocketAddr) {
        let shard = Arc::make_mut(&mut self.0[shard_of(address)]);
        if let Some(known) = shard.get_mut(&address) {
            known.uses = known.uses.saturating_sub(1);
            if known.uses == 0 {
                shard.remove(&address);
            }
        }
    }

    pub(crate) fn contains(&self, address: SocketAddr) -> bool {
        self.0[shard_of(address)].contains_key(&address)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|shard| shard.len()).sum()
    }
}

/// Neighbours lie in different ones: pods of a node have addresses in a row.
fn shard_of(address: SocketAddr) -> usize {
    let ip = match address.ip() {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => {
            let [.., a, b, c, d, e, f, g, h] = ip.octets();
            u64::from_be_bytes([a, b, c, d, e, f, g, h])
        }
    };
    let mixed = (ip ^ u64::from(address.port()) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(mixed >> 54).unwrap_or(0) % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_of_an_address_is_one_as_long_as_any_backend_has_it() {
        let address: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let other: SocketAddr = "[fd00::1]:80".parse().unwrap();
        let mut targets = Targets::new();
        let first = targets.enter(address, false);
        assert!(Arc::ptr_eq(&first, &targets.enter(address, true)));
        targets.enter(other, true);
        let before = targets.clone();
        targets.leave(address);
        assert!(targets.contains(address), "the other backend has it still");
        assert!(Arc::ptr_eq(&first, &targets.enter(address, true)));
        targets.leave(address);
        targets.leave(address);
        assert_eq!((targets.contains(address), targets.len()), (false, 1));
        assert_eq!((before.contains(address), before.len()), (true, 2));
    }
}
