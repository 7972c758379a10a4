//! The backends of a load balancer in, those that are served out, by number.
//!
//! They lie in parts. A part in which nothing changed is the one that the state before has, so a change of endpoints
//! costs a look at each pointer of the model, and the parts with what changed.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{Backend, BackendId, Problem, Shared};

use crate::balance::{LiveBackend, addresses};
use crate::targets::Targets;
use crate::verified::Truster;

/// Backends of a part. More are copied where one changes, fewer are more pointers to copy each time.
const PART: usize = 64;

/// All backends of a load balancer, in their order.
#[derive(Debug, Default)]
pub(crate) struct Backends(Box<[Arc<[Served]>]>);

#[derive(Clone, Debug)]
struct Served {
    made_of: Shared<Backend>,
    live: Arc<LiveBackend>,
    /// Whether nothing but the model's backend decides what it is.
    is_settled: bool,
}

/// What was made of a load balancer's backends.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) backends: Backends,
    pub(crate) targets: Targets,
    pub(crate) problems: Vec<Problem>,
    /// Whether none came or went, so that each has the number it had.
    pub(crate) keep_numbers: bool,
}

impl Backends {
    /// Those that did not change are the ones of `before`.
    pub(crate) fn build(
        wanted: &BTreeMap<BackendId, Shared<Backend>>,
        truster: &mut Truster<'_>,
        before: Option<(&Self, &Targets)>,
    ) -> Built {
        let none = Self::default();
        let mut builder = Builder {
            before: before.map_or(&none, |(before, _)| before),
            place: 0,
            // At the start nobody is new: all share alike.
            is_new: before.is_some(),
            targets: before.map_or_else(Targets::new, |(_, targets)| targets.clone()),
            gone: Vec::new(),
            keep_numbers: true,
            problems: Vec::new(),
        };
        let mut parts = Vec::with_capacity(wanted.len().div_ceil(PART));
        let mut wanted = wanted.values();
        while wanted.len() > 0 {
            let size = wanted.len().min(PART);
            let part = match builder.same(parts.len(), size, wanted.clone()) {
                Some(same) => {
                    wanted.nth(size - 1);
                    same.clone()
                }
                None => {
                    let part = wanted.by_ref().take(size);
                    part.map(|backend| builder.served(backend, truster)).collect()
                }
            };
            parts.push(part);
        }
        builder.leave(None);
        // Last, so that a target that only moved stays the one it was.
        for address in builder.gone.into_iter().flat_map(addresses) {
            builder.targets.leave(address);
        }
        Built {
            backends: Self(parts.into()),
            targets: builder.targets,
            problems: builder.problems,
            keep_numbers: builder.keep_numbers,
        }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&Arc<LiveBackend>> {
        self.at(usize::try_from(number).ok()?).map(|served| &served.live)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<LiveBackend>> {
        self.0
            .iter()
            .flat_map(|part| part.iter())
            .map(|served| &served.live)
    }

    fn at(&self, place: usize) -> Option<&Served> {
        self.0.get(place / PART)?.get(place % PART)
    }
}

/// Walks through the backends before beside those that are wanted; both are in the order of their ids.
struct Builder<'a> {
    before: &'a Backends,
    /// Of the next one before.
    place: usize,
    is_new: bool,
    targets: Targets,
    /// Those whose targets are used no more.
    gone: Vec<&'a Backend>,
    keep_numbers: bool,
    problems: Vec<Problem>,
}

impl<'a> Builder<'a> {
    /// The whole part before at this number, where it is made of the backends that come next.
    fn same<'b>(
        &mut self,
        part: usize,
        size: usize,
        next: impl Iterator<Item = &'b Shared<Backend>>,
    ) -> Option<&'a Arc<[Served]>> {
        let same = self.before.0.get(part)?;
        let is_same = self.place == part * PART
            && same.len() == size
            && same
                .iter()
                .zip(next)
                .all(|(served, backend)| served.is_made_of(backend));
        is_same.then(|| {
            self.place += size;
            same
        })
    }

    fn served(&mut self, backend: &Shared<Backend>, truster: &mut Truster<'_>) -> Served {
        let before = self.leave(Some(&backend.id));
        if let Some(same) = before.filter(|same| same.is_made_of(backend)) {
            return same.clone();
        }
        let security = truster.secure(backend);
        let made = |live: Arc<LiveBackend>| Served {
            made_of: backend.clone(),
            is_settled: live.is_settled(),
            live,
        };
        if let Some(same) = before.filter(|same| same.live.is_of(&same.made_of, backend, &security)) {
            return made(same.live.clone());
        }
        self.gone.extend(before.map(|changed| &*changed.made_of));
        let changed = before.map(|changed| &*changed.live);
        let (live, problems) = LiveBackend::build(backend, security, &mut self.targets, self.is_new, changed);
        self.problems.extend(problems);
        made(Arc::new(live))
    }

    /// Leaves behind those before this one, or all; the one itself, where it was there.
    fn leave(&mut self, id: Option<&BackendId>) -> Option<&'a Served> {
        while let Some(next) = self.before.at(self.place) {
            let order = id.map(|id| next.made_of.id.cmp(id));
            match order {
                Some(Ordering::Greater) => break,
                Some(Ordering::Equal) => {
                    self.place += 1;
                    return Some(next);
                }
                Some(Ordering::Less) | None => {
                    self.place += 1;
                    self.keep_numbers = false;
                    self.gone.push(&next.made_of);
                }
            }
        }
        self.keep_numbers &= id.is_none();
        None
    }
}

impl Served {
    fn is_made_of(&self, backend: &Shared<Backend>) -> bool {
        self.is_settled && self.made_of.is_same(backend)
    }
}

#[cfg(test)]
#[path = "../benches/made/balancer.rs"]
mod made;

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::default_provider;

    use super::made::{backend, balancer};
    use super::*;

    type Wanted = BTreeMap<BackendId, Shared<Backend>>;

    fn build(wanted: &Wanted, before: Option<&Built>) -> Built {
        let (none, provider) = (BTreeMap::new(), Arc::new(default_provider()));
        let mut truster = Truster::new(&none, &provider, &[]);
        let before = before.map(|before| (&before.backends, &before.targets));
        Backends::build(wanted, &mut truster, before)
    }

    fn put(to: &mut Wanted, number: usize, turn: usize) {
        let backend = backend(number, turn);
        to.insert(backend.id.clone(), backend.into());
    }

    #[test]
    fn what_does_not_change_is_shared_whatever_comes_goes_or_changes() {
        type Change = fn(&mut Wanted);
        let rows: [(&str, Change, usize, bool); 9] = [
            ("nothing", |_| {}, 0, true),
            ("one anew, as it was", |wanted| put(wanted, 70, 0), 0, true),
            (
                "all anew, as they were",
                |wanted| *wanted = balancer(200, "/", 0).backends,
                0,
                true,
            ),
            ("the targets of one", |wanted| put(wanted, 70, 1), 1, true),
            (
                "what nobody here reads",
                |wanted| {
                    wanted.values_mut().for_each(|backend| backend.ipv6 = true);
                },
                0,
                true,
            ),
            ("one comes", |wanted| put(wanted, 200, 0), 1, false),
            ("the first goes", |wanted| drop(wanted.pop_first()), 0, false),
            ("the last goes", |wanted| drop(wanted.pop_last()), 0, false),
            (
                "one comes for another",
                |wanted| {
                    wanted.pop_first();
                    put(wanted, 200, 0);
                },
                1,
                false,
            ),
        ];
        for (what, change, new, keep_numbers) in rows {
            let mut wanted = balancer(200, "/", 0).backends;
            let before = build(&wanted, None);
            change(&mut wanted);
            let after = build(&wanted, Some(&before));
            let ids: Vec<_> = after.backends.iter().map(|live| &live.id).collect();
            assert!(ids.into_iter().eq(wanted.keys()), "{what}");
            let kept = after
                .backends
                .iter()
                .filter(|live| before.backends.iter().any(|old| Arc::ptr_eq(old, live)));
            assert_eq!(
                (wanted.len() - kept.count(), after.keep_numbers),
                (new, keep_numbers),
                "{what}"
            );
            let addresses: std::collections::BTreeSet<_> =
                wanted.values().flat_map(|backend| addresses(backend)).collect();
            assert_eq!(after.targets.len(), addresses.len(), "{what}");
            assert!(
                addresses
                    .into_iter()
                    .all(|address| after.targets.contains(address)),
                "{what}"
            );
            // The next change finds all of this one.
            let again = build(&wanted, Some(&after));
            let same = again.backends.0.iter().zip(&after.backends.0);
            assert!(
                same.into_iter().all(|(one, other)| Arc::ptr_eq(one, other)),
                "{what}"
            );
        }
    }
}
