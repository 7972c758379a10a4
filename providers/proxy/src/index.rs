//! Rules in, the index that they are found by out. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;
use portcullis_model::{HostMatch, PathMatch, Rule};

use crate::paths::Paths;
use crate::spelling;
use crate::table::{HostIndex, HostPattern, PathIndex, RuleIndex};

/// Rules by their hosts, and by their paths as they are written.
pub(crate) fn of(rules: &[Rule]) -> HostIndex {
    let mut builder = HostBuilder::default();
    // Most have a host of their own.
    builder.index.exact.reserve(rules.len());
    for (rule, number) in rules.iter().zip(0..) {
        builder.add(&rule.hosts, &rule.paths, number);
    }
    builder.build()
}

/// By their paths in the usual spelling, where that is another.
pub(crate) fn respelled(rules: &[Rule]) -> HostIndex {
    let usual = |rule: &Rule| {
        rule.paths
            .iter()
            .filter_map(spelling::respelled)
            .collect::<Vec<_>>()
    };
    let paths: Vec<Vec<PathMatch>> = rules.iter().map(usual).collect();
    let mut builder = HostBuilder::default();
    for ((rule, paths), number) in rules.iter().zip(&paths).zip(0..) {
        // No path at all would be every path.
        if !paths.is_empty() {
            builder.add(&rule.hosts, paths, number);
        }
    }
    builder.build()
}

/// Rules on their way into the index, in their order.
#[derive(Default)]
struct HostBuilder<'a> {
    index: HostIndex,
    /// Each with the first of its rules.
    patterns: BTreeMap<&'a HostMatch, (RuleIndex, PathIndex)>,
    /// Most hosts have the same few paths: each text is kept once.
    texts: HashMap<&'a str, Arc<str>, RandomState>,
}

impl<'a> HostBuilder<'a> {
    fn add(&mut self, hosts: &'a [HostMatch], paths: &'a [PathMatch], number: RuleIndex) {
        let Self {
            index,
            patterns,
            texts,
        } = self;
        if hosts.is_empty() {
            place(&mut index.any, texts, paths, number);
        }
        for host in hosts {
            let to = match host {
                HostMatch::Exact(name) => index.exact.entry(name.shared()).or_default(),
                HostMatch::Wildcard(name) => index.wildcard.entry(name.shared()).or_default(),
                HostMatch::Glob(glob) => match (glob.wildcards(), glob.as_str().strip_prefix("*.")) {
                    (0, _) => index.exact.entry(lower(glob.as_str())).or_default(),
                    (1, None) if glob.as_str() == "*" => &mut index.any,
                    (1, Some(rest)) => index.suffix.entry(lower(rest)).or_default(),
                    _ => of_pattern(patterns, host, number),
                },
                HostMatch::Regex(_) => of_pattern(patterns, host, number),
            };
            place(to, texts, paths, number);
        }
    }

    fn build(self) -> HostIndex {
        let mut index = self.index;
        let patterns = self.patterns.into_iter();
        let patterns = patterns.map(|(host, (first, paths))| HostPattern {
            host: host.clone(),
            first,
            paths,
        });
        index.patterns = patterns.collect();
        index.patterns.sort_by_key(|pattern| pattern.first);
        index.exact.shrink_to_fit();
        let by_name = [&mut index.exact, &mut index.wildcard, &mut index.suffix];
        let paths = by_name.into_iter().flat_map(HashMap::values_mut);
        let paths = paths.chain(index.patterns.iter_mut().map(|pattern| &mut pattern.paths));
        for paths in paths.chain([&mut index.any]) {
            paths.exact.settle();
            paths.prefix.settle();
            paths.scanned.shrink_to_fit();
        }
        index
    }
}

fn of_pattern<'p, 'a>(
    patterns: &'p mut BTreeMap<&'a HostMatch, (RuleIndex, PathIndex)>,
    host: &'a HostMatch,
    number: RuleIndex,
) -> &'p mut PathIndex {
    let (_, paths) = patterns
        .entry(host)
        .or_insert_with(|| (number, PathIndex::default()));
    paths
}

fn lower(text: &str) -> Arc<str> {
    text.to_ascii_lowercase().into()
}

fn place<'a>(
    to: &mut PathIndex,
    texts: &mut HashMap<&'a str, Arc<str>, RandomState>,
    paths: &'a [PathMatch],
    number: RuleIndex,
) {
    let mut add = |to: &mut Paths, text: &'a str| {
        to.add(texts.entry(text).or_insert_with(|| text.into()).clone(), number);
    };
    if paths.is_empty() {
        to.scanned.push((None, number));
    }
    for path in paths {
        match path {
            PathMatch::Exact(exact) => add(&mut to.exact, exact.as_str()),
            PathMatch::Prefix(prefix) => add(&mut to.prefix, prefix.as_str()),
            PathMatch::Glob(_) | PathMatch::Regex(_) => to.scanned.push((Some(path.clone()), number)),
        }
    }
}
