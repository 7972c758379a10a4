//! Targets with their zones in, which of them the proxy prefers because they are near out.
//!
//! Each zone is taken to ask as much as any other. A target near by takes of its own zone's requests what would be its
//! part if all targets of all zones shared all requests alike, or its part among those near by, where that is less. What
//! is left, because there are few near by or because some rest, goes to all zones.

use std::ops::Range;
use std::sync::Arc;

use crate::target::LiveTarget;

/// The zones of a backend's targets, by name.
#[derive(Debug)]
pub(crate) struct Zones(Box<[Zone]>);

#[derive(Debug)]
pub(crate) struct Zone {
    name: Arc<str>,
    /// Where its targets lie among all.
    pub(crate) targets: Range<usize>,
    /// What is drawn from: as many as its targets, or as a zone has on average, where that is more.
    pub(crate) places: usize,
}

impl Zones {
    /// The zones, and the targets with those of a zone side by side. One whose zone is not known is near nobody.
    pub(crate) fn sort(mut all: Vec<(Option<Arc<str>>, Arc<LiveTarget>)>) -> (Self, Box<[Arc<LiveTarget>]>) {
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut zones: Vec<Zone> = Vec::new();
        for (index, (name, _)) in all.iter().enumerate() {
            let Some(name) = name else { continue };
            match zones.last_mut() {
                Some(last) if last.name == *name => last.targets.end = index + 1,
                _ => zones.push(Zone {
                    name: name.clone(),
                    targets: index..index + 1,
                    places: 0,
                }),
            }
        }
        let average = all.len().div_ceil(zones.len().max(1));
        for zone in &mut zones {
            zone.places = zone.targets.len().max(average);
        }
        let targets = all.into_iter().map(|(_, target)| target).collect();
        (Self(zones.into()), targets)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Zone> {
        self.0.iter().find(|zone| *zone.name == *name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;

    #[test]
    fn a_zone_with_few_targets_leaves_places_to_others() {
        for (given, want) in [
            ("", vec![]),
            ("--", vec![]),
            ("aaaa", vec![("a", 0..4, 4)]),
            ("abab", vec![("a", 0..2, 2), ("b", 2..4, 2)]),
            ("babb", vec![("a", 0..1, 2), ("b", 1..4, 3)]),
            ("bacbb", vec![("a", 0..1, 2), ("b", 1..4, 3), ("c", 4..5, 2)]),
            // Those of no zone serve every zone.
            ("-a--", vec![("a", 3..4, 4)]),
        ] {
            let all = given.chars().zip(1_u16..).map(|(zone, port)| {
                let zone = (zone != '-').then(|| zone.to_string().into());
                let address = ([10, 0, 0, 1], port).into();
                (zone, Arc::new(LiveTarget::new(address, Load::new(false).into())))
            });
            let (zones, targets) = Zones::sort(all.collect());
            let got: Vec<_> = zones
                .0
                .iter()
                .map(|z| (&*z.name, z.targets.clone(), z.places))
                .collect();
            assert_eq!(got, want, "{given}");
            assert_eq!(targets.len(), given.len());
        }
    }
}
