//! What load balancers need of Secrets in, which must be asked for and who is concerned by a change out.
//!
//! Only Secrets that a load balancer needs are asked for, and their values are held no longer than it does. A watch of
//! their metadata says when an answer is out of date; unseen, it counts as true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{LoadBalancerId, ObjectName};

use super::Touched;
use crate::cluster::snapshot::Answered;

/// `metadata.resourceVersion`; none where there is no such Secret.
pub type Version = Option<Arc<str>>;

/// One Secret.
#[derive(Debug, Default)]
struct Entry {
    /// Who needs it; a folder's Secrets are needed by nobody in particular.
    of: BTreeSet<LoadBalancerId>,
    answer: Option<(Version, Answered)>,
    /// As the watch last showed it; none where it did not yet.
    seen: Option<Version>,
}

impl Entry {
    fn is_current(&self) -> bool {
        match (&self.answer, &self.seen) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some((answered, _)), Some(seen)) => answered == seen,
        }
    }
}

/// All that were asked for.
#[derive(Debug, Default)]
pub(super) struct Held {
    entries: BTreeMap<ObjectName, Entry>,
    by_balancer: BTreeMap<LoadBalancerId, BTreeSet<ObjectName>>,
}

impl Held {
    /// This load balancer needs these and no others. Answers which must be asked for now.
    pub(super) fn need(&mut self, id: &LoadBalancerId, names: BTreeSet<ObjectName>) -> Vec<ObjectName> {
        let before = self.by_balancer.remove(id).unwrap_or_default();
        for name in before.difference(&names) {
            if let Some(entry) = self.entries.get_mut(name) {
                entry.of.remove(id);
                if entry.of.is_empty() {
                    self.entries.remove(name);
                }
            }
        }
        let mut ask = Vec::new();
        for name in &names {
            let entry = self.entries.entry(name.clone()).or_default();
            entry.of.insert(id.clone());
            if !entry.is_current() {
                ask.push(name.clone());
            }
        }
        if !names.is_empty() {
            self.by_balancer.insert(id.clone(), names);
        }
        ask
    }

    /// What came of asking. Nobody may need it any more by now.
    pub(super) fn answer(&mut self, name: &ObjectName, version: Version, answered: Answered) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.answer = Some((version, answered));
        }
    }

    /// A Secret that lies in a folder, as good as asked for.
    pub(super) fn given(&mut self, name: ObjectName, answered: Answered) {
        self.entries.entry(name).or_default().answer = Some((None, answered));
    }

    /// The answers about these.
    pub(super) fn of<'n>(
        &self,
        names: impl Iterator<Item = &'n ObjectName>,
    ) -> BTreeMap<ObjectName, Answered> {
        names
            .filter_map(|name| {
                let (_, answered) = self.entries.get(name)?.answer.as_ref()?;
                Some((name.clone(), answered.clone()))
            })
            .collect()
    }

    /// What this load balancer needs.
    pub(super) fn needs(&self, id: &LoadBalancerId) -> impl Iterator<Item = &ObjectName> {
        self.by_balancer.get(id).into_iter().flatten()
    }

    /// The watch shows this version of a Secret, or that it is gone.
    pub(super) fn seen(&mut self, name: &ObjectName, version: Version, touched: &mut Touched) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.seen = Some(version);
            if !entry.is_current() {
                touched.load_balancers.extend(entry.of.iter().cloned());
            }
        }
    }

    /// The watch has shown all there are: the others are gone.
    pub(super) fn listed(&mut self, all: &BTreeMap<ObjectName, Arc<str>>, touched: &mut Touched) {
        let held: Vec<ObjectName> = self.entries.keys().cloned().collect();
        for name in held {
            self.seen(&name, all.get(&name).cloned(), touched);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> LoadBalancerId {
        LoadBalancerId::Group(name.into())
    }

    fn name(name: &str) -> ObjectName {
        ObjectName::new("shop", name)
    }

    fn version(text: &str) -> Version {
        Some(text.into())
    }

    fn touched(act: impl FnOnce(&mut Touched)) -> Vec<String> {
        let mut touched = Touched::default();
        act(&mut touched);
        touched.load_balancers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_secret_is_asked_for_once_until_its_version_moves() {
        let mut held = Held::default();
        let needs: BTreeSet<ObjectName> = [name("idp")].into();
        assert_eq!(held.need(&id("a"), needs.clone()), [name("idp")]);
        held.answer(&name("idp"), version("1"), Answered::Missing);
        assert_eq!(held.need(&id("a"), needs.clone()), []);
        assert_eq!(held.need(&id("b"), needs.clone()), []);
        for (seen, want) in [
            (version("1"), vec![]),
            (version("2"), vec!["a", "b"]),
            (version("1"), vec![]),
            (None, vec!["a", "b"]),
        ] {
            assert_eq!(
                touched(|t| held.seen(&name("idp"), seen.clone(), t)),
                want,
                "{seen:?}"
            );
            let ask = held.need(&id("a"), needs.clone());
            assert_eq!(ask.is_empty(), want.is_empty(), "{seen:?}");
        }
        assert_eq!(touched(|t| held.seen(&name("other"), version("9"), t)), [""; 0]);
    }

    #[test]
    fn a_secret_that_nobody_needs_any_more_is_forgotten() {
        let mut held = Held::default();
        for balancer in ["a", "b"] {
            held.need(&id(balancer), [name("idp")].into());
        }
        held.answer(&name("idp"), version("1"), Answered::Missing);
        held.need(&id("a"), BTreeSet::new());
        assert_eq!(held.of(held.needs(&id("b"))).len(), 1);
        held.need(&id("b"), BTreeSet::new());
        assert!(held.entries.is_empty() && held.by_balancer.is_empty(), "{held:?}");
    }

    #[test]
    fn what_a_list_lacks_is_gone() {
        let mut held = Held::default();
        held.need(&id("a"), [name("idp"), name("new")].into());
        held.answer(&name("idp"), version("1"), Answered::Missing);
        held.answer(&name("new"), None, Answered::Missing);
        let list = |all: &[(&str, &str)]| -> BTreeMap<ObjectName, Arc<str>> {
            all.iter().map(|(n, v)| (name(n), Arc::from(*v))).collect()
        };
        assert_eq!(touched(|t| held.listed(&list(&[("idp", "1")]), t)), [""; 0]);
        assert_eq!(touched(|t| held.listed(&list(&[]), t)), ["a"]);
        assert_eq!(
            touched(|t| held.listed(&list(&[("idp", "1"), ("new", "1")]), t)),
            ["a"]
        );
    }
}
