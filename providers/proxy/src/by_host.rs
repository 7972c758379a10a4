//! What is said of hosts in, what counts under a server name out. Pure.

use std::collections::HashMap;

use portcullis_model::HostMatch;

/// One value for each host: of an exact one, else of a wildcard, else of the first pattern, else of every host.
#[derive(Debug, Default)]
pub(crate) struct ByHost<T> {
    exact: HashMap<Box<str>, T>,
    /// Exactly one label before the key.
    wildcard: HashMap<Box<str>, T>,
    /// In the order of the rules.
    patterns: Box<[(HostMatch, T)]>,
    any: T,
}

impl<T: Copy> ByHost<T> {
    /// Hosts in the order of the rules; `any` counts for the rest.
    pub(crate) fn new<'a>(hosts: impl IntoIterator<Item = (&'a HostMatch, T)>, any: T) -> Self {
        let (mut exact, mut wildcard, mut patterns) = (HashMap::new(), HashMap::new(), Vec::new());
        for (host, value) in hosts {
            match host {
                HostMatch::Exact(name) => _ = exact.insert(name.as_str().into(), value),
                HostMatch::Wildcard(name) => _ = wildcard.insert(name.as_str().into(), value),
                HostMatch::Glob(_) | HostMatch::Regex(_) => patterns.push((host.clone(), value)),
            }
        }
        Self {
            exact,
            wildcard,
            patterns: patterns.into(),
            any,
        }
    }

    /// Of a host, or a server name, in the form of `host::normalize`; the empty one for none.
    pub(crate) fn of(&self, host: &str) -> T {
        let wildcard = || {
            let (label, rest) = host.split_once('.')?;
            self.wildcard.get(rest).filter(|_| !label.is_empty())
        };
        let pattern = || {
            let mut patterns = self.patterns.iter();
            patterns
                .find(|(pattern, _)| pattern.matches(host))
                .map(|(_, value)| value)
        };
        let found = self.exact.get(host).or_else(wildcard).or_else(pattern);
        found.copied().unwrap_or(self.any)
    }
}
