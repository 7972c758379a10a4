//! Texts that rules name as paths in, the rules of one text out. Pure.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use smallvec::SmallVec;

use crate::table::RuleIndex;

/// Up to so many texts are searched by halving, which needs no memory beside them. Each step may wait for memory, though, and
/// a path is looked up as often as it has elements: beyond that, a hash says where to look.
const FEW: usize = 16;

/// Rules by text, sorted by both.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    /// Most hosts have one, which needs no memory of its own.
    rules: SmallVec<[(Arc<str>, RuleIndex); 1]>,
    /// Where the rules of each text begin; none where they are few.
    starts: Option<Box<Starts>>,
}

type Starts = HashMap<Arc<str>, u32, RandomState>;

impl Paths {
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Arc<str>, RuleIndex)> {
        self.rules.iter()
    }

    pub(crate) fn add(&mut self, text: Arc<str>, rule: RuleIndex) {
        self.rules.push((text, rule));
    }

    /// To be called when all are there, and before any is looked up.
    pub(crate) fn settle(&mut self) {
        self.rules.sort_unstable();
        // A rule may name a path twice.
        self.rules.dedup();
        self.rules.shrink_to_fit();
        if self.rules.len() <= FEW {
            return;
        }
        let mut starts = Starts::default();
        for (place, (text, _)) in (0..).zip(&self.rules) {
            starts.entry(text.clone()).or_insert(place);
        }
        starts.shrink_to_fit();
        self.starts = Some(starts.into());
    }

    /// The rules that name the text, lowest first.
    #[inline]
    pub(crate) fn of(&self, text: &str) -> impl Iterator<Item = RuleIndex> {
        let start = match &self.starts {
            None => self.rules.partition_point(|(path, _)| **path < *text),
            Some(starts) => {
                let start = starts.get(text).and_then(|start| usize::try_from(*start).ok());
                start.unwrap_or(self.rules.len())
            }
        };
        let rules = self.rules.get(start..).unwrap_or_default().iter();
        rules
            .take_while(move |(path, _)| **path == *text)
            .map(|(_, rule)| *rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_and_many_are_found_alike() {
        for count in [0, 1, 2, FEW, FEW + 1, 10 * FEW] {
            let mut paths = Paths::default();
            // Each text is named by two rules, by one of them twice, and not in order.
            for number in (0..u32::try_from(count).unwrap()).rev() {
                for rule in [number + 1_000, number, number] {
                    paths.add(format!("/{}", number % 100).into(), rule);
                }
            }
            paths.settle();
            for number in 0..170 {
                let text = format!("/{number}");
                let want = (0..u32::try_from(count).unwrap()).filter(|n| number < 100 && n % 100 == number);
                let want: Vec<u32> = want.clone().chain(want.map(|n| n + 1_000)).collect();
                assert_eq!(paths.of(&text).collect::<Vec<_>>(), want, "{text} of {count}");
            }
            for text in ["", "/", "/1/", "z"] {
                assert_eq!(paths.of(text).count(), 0, "{text}");
            }
        }
    }
}
