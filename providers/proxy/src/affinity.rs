//! A request in, the target of those that have its key out.
//!
//! Each key has an order of its own among the targets, by a hash of both (rendezvous hashing), and goes to the first
//! that may have it. So a target that leaves gives its keys, and no others, to the rest; one that comes takes its part
//! of each. One that warms up takes more and more of them, each once. All replicas of a version agree on the order.
//!
//! Clients can choose keys that lead to one target, as with every hash that is the same in all replicas.

use std::net::IpAddr;
use std::sync::Arc;

use http::HeaderName;
use http::request::Parts;
use http::uri::PathAndQuery;
use portcullis_model::AffinityKey;

use crate::balance::mixed;
use crate::compile::mark;
use crate::fields;
use crate::target::LiveTarget;

/// What leads requests of a backend, and the marks of its targets side by side: all are looked at for each request.
#[derive(Debug)]
pub(crate) struct Affinity {
    by: By,
    marks: Box<[u64]>,
}

#[derive(Debug)]
enum By {
    Client,
    /// None for a name that is longer than any field's.
    Header(Option<HeaderName>),
    Cookie(Box<str>),
    Path,
    Uri,
}

impl Affinity {
    pub(crate) fn of(key: &AffinityKey, targets: &[Arc<LiveTarget>]) -> Self {
        let by = match key {
            AffinityKey::Client => By::Client,
            AffinityKey::Header(name) => By::Header(HeaderName::try_from(name.as_str()).ok()),
            AffinityKey::Cookie(name) => By::Cookie((**name).into()),
            AffinityKey::Path => By::Path,
            AffinityKey::Uri => By::Uri,
        };
        let marks = targets.iter().map(|target| target.mark).collect();
        Self { by, marks }
    }

    /// The hash of what a request has of it; none where it has nothing, or an empty one.
    pub(crate) fn key(&self, request: &Parts, client: IpAddr) -> Option<u64> {
        let text = match &self.by {
            By::Client => return Some(mark(&client)),
            By::Header(name) => request.headers.get(name.as_ref()?)?.as_bytes(),
            By::Cookie(name) => fields::cookie(&request.headers, name)?.as_bytes(),
            By::Path => request.uri.path().as_bytes(),
            By::Uri => request
                .uri
                .path_and_query()
                .map_or("", PathAndQuery::as_str)
                .as_bytes(),
        };
        (!text.is_empty()).then(|| mark(&text))
    }

    /// The first target in the key's order that is good. `is_good` gets the share of all keys, in thousandths, that the
    /// target must have to get this one.
    pub(crate) fn first<'a>(
        &self,
        key: u64,
        targets: &'a [Arc<LiveTarget>],
        is_good: impl Fn(&LiveTarget, u64) -> bool,
    ) -> Option<&'a Arc<LiveTarget>> {
        let mut best: Option<(u64, &Arc<LiveTarget>)> = None;
        for (mark, target) in self.marks.iter().zip(targets) {
            let rank = mixed(key ^ mark);
            // Few come so far: a target itself is not looked at before.
            if best.is_none_or(|(highest, _)| rank > highest) && is_good(target, mixed(rank) % 1000) {
                best = Some((rank, target));
            }
        }
        best.map(|(_, target)| target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;

    fn targets(ports: std::ops::RangeInclusive<u16>) -> Vec<Arc<LiveTarget>> {
        let target = |port| LiveTarget::new(([10, 0, 0, 1], port).into(), Load::new(false).into());
        ports.map(|port| Arc::new(target(port))).collect()
    }

    fn all(targets: &[Arc<LiveTarget>], is_good: impl Fn(&LiveTarget, u64) -> bool) -> Vec<u16> {
        let affinity = Affinity::of(&AffinityKey::Path, targets);
        let first = |key: u32| affinity.first(mark(&key), targets, &is_good).unwrap();
        (0..10_000).map(|key| first(key).address.port()).collect()
    }

    #[test]
    fn a_target_that_leaves_gives_its_keys_away_and_no_others_move() {
        let any = |_: &LiveTarget, _| true;
        let before = all(&targets(1..=10), any);
        for port in 1..=10 {
            let has = before.iter().filter(|at| **at == port).count();
            assert!((850..1150).contains(&has), "a tenth is 1,000, {port} has {has}");
        }
        let after = all(&targets(1..=9), any);
        let passed_over = all(&targets(1..=10), |target, _| target.address.port() != 10);
        assert_eq!(after, passed_over, "one that rests is as good as gone");
        for (key, (before, after)) in before.iter().zip(&after).enumerate() {
            assert!(
                before == after || *before == 10,
                "{key} moved from {before} to {after}"
            );
        }
    }

    #[test]
    fn a_target_that_warms_up_takes_its_keys_by_and_by() {
        let two = targets(1..=2);
        let share = |share| {
            all(&two, move |target, needed| {
                target.address.port() == 1 || needed < share
            })
        };
        let steps = [share(0), share(100), share(500), share(1000)];
        let has = steps
            .each_ref()
            .map(|at| at.iter().filter(|at| **at == 2).count());
        assert_eq!(has[0], 0);
        assert!(
            (400..600).contains(&has[1]) && (2_300..2_700).contains(&has[2]),
            "{has:?}"
        );
        assert_eq!(steps[3], all(&two, |_, _| true));
        for pair in steps.windows(2) {
            let goes_back = pair[0]
                .iter()
                .zip(&pair[1])
                .any(|(before, after)| (*before, *after) == (2, 1));
            assert!(!goes_back, "a key moves once");
        }
    }
}
