//! Keyed difference: what is desired and what is observed in, one entry per key out.

use std::collections::BTreeMap;

/// How one key stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference<'a, K, D, O> {
    /// Desired, not observed.
    Missing(&'a K, &'a D),
    /// Both; whether they are equal is for the caller to say.
    Both(&'a K, &'a D, &'a O),
    /// Observed, not desired.
    Surplus(&'a K, &'a O),
}

/// Walks both maps once, in the order of keys.
pub fn diff<'a, K: Ord, D, O>(
    desired: &'a BTreeMap<K, D>,
    observed: &'a BTreeMap<K, O>,
) -> impl Iterator<Item = Difference<'a, K, D, O>> {
    let mut desired = desired.iter().peekable();
    let mut observed = observed.iter().peekable();
    std::iter::from_fn(
        move || match (desired.peek().copied(), observed.peek().copied()) {
            (None, None) => None,
            (Some((k, d)), Some((other, o))) if k == other => {
                desired.next();
                observed.next();
                Some(Difference::Both(k, d, o))
            }
            (Some((k, d)), other) if other.is_none_or(|(o, _)| k < o) => {
                desired.next();
                Some(Difference::Missing(k, d))
            }
            (_, Some((k, o))) => {
                observed.next();
                Some(Difference::Surplus(k, o))
            }
            (Some(_), None) => None, // the arm before takes it
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_key_appears_once_and_in_order(
            desired in prop::collection::btree_map(0u8..20, any::<u8>(), 0..12),
            observed in prop::collection::btree_map(0u8..20, any::<u8>(), 0..12),
        ) {
            let seen: Vec<(u8, bool, bool)> = diff(&desired, &observed)
                .map(|difference| match difference {
                    Difference::Missing(k, _) => (*k, true, false),
                    Difference::Both(k, _, _) => (*k, true, true),
                    Difference::Surplus(k, _) => (*k, false, true),
                })
                .collect();
            let mut keys: Vec<u8> = desired.keys().chain(observed.keys()).copied().collect();
            keys.sort_unstable();
            keys.dedup();
            let want: Vec<(u8, bool, bool)> =
                keys.iter().map(|k| (*k, desired.contains_key(k), observed.contains_key(k))).collect();
            prop_assert_eq!(seen, want);
        }
    }
}
