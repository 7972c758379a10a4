//! All rules in their order in; guards over plain HTTP alone whose requests a neighbour's rule takes over HTTPS, told.
//!
//! An Ingress has the listeners that it asks for, on every provider, so its rules are not put at others. Who comes from
//! ingress-nginx, where TLS is a matter of the host, would else learn of it from nobody.

use std::collections::BTreeMap;

use portcullis_model::{Action, Code, HostMatch, HostName, Port, Problem, Rule};

use super::challenges;
use super::member::Wire;
use super::precedence::example;

/// Most rules that are looked at for the guards of one Ingress, at each change of anybody.
const MOST_LOOKED_AT: usize = 100_000;

pub(super) fn tell(rules: &[Rule], wires: &BTreeMap<Port, Wire>, problems: &mut Vec<Problem>) {
    let is_https = |port: &Port| wires.get(port) == Some(&Wire::Https);
    // Challenges of ACME are asked for over plain HTTP.
    let is_challenge = |rule: &Rule| !rule.paths.is_empty() && rule.paths.iter().all(challenges::takes);
    let is_left = |rule: &Rule| !rule.ports.iter().any(is_https) && is_guard(rule) && !is_challenge(rule);
    if !wires.keys().any(is_https) || !rules.iter().any(is_left) {
        return;
    }
    let mut secure = Secure::default();
    for (place, rule) in rules.iter().enumerate() {
        for port in rule.ports.iter().filter(|port| is_https(port)) {
            secure.add(*port, place, rule);
        }
    }
    let mut looks: BTreeMap<_, Look> = BTreeMap::new();
    for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| is_left(rule)) {
        let look = looks.entry(&rule.origin.object).or_default();
        let mut hosts: Vec<Option<&HostMatch>> = rule.hosts.iter().map(Some).collect();
        if hosts.is_empty() {
            hosts.push(None);
        }
        for (port, by_host) in &secure.by_port {
            let taken = hosts
                .iter()
                .find_map(|host| Some((host, taken(place, rule, by_host.of(*host)?, look)?)));
            if let Some((host, (path, by))) = taken {
                let host = host.map_or_else(|| "every host".to_owned(), HostMatch::to_string);
                let message = format!(
                    "{host} {path} is guarded over plain HTTP alone: at port {port} it is answered by {}, which lets everybody in",
                    by.origin
                );
                problems.push(Problem::new(Code::GuardLeftOut, rule.origin.clone(), message));
            }
        }
        if look.is_cut && !look.is_told {
            look.is_told = true;
            let message = format!(
                "whether this and further guards over plain HTTP alone are left out over HTTPS is not looked at: more than \
                 {MOST_LOOKED_AT} rules would be compared"
            );
            problems.push(Problem::new(Code::LimitExceeded, rule.origin.clone(), message));
        }
    }
}

/// What was looked at for an Ingress: guards and rules of one host are multiplied.
#[derive(Default)]
struct Look {
    rules: usize,
    is_cut: bool,
    is_told: bool,
}

impl Look {
    fn first<T>(&mut self, all: &[T], takes: impl FnMut(&T) -> bool) -> Option<usize> {
        let left = all.len().min(MOST_LOOKED_AT.saturating_sub(self.rules));
        let found = all[..left].iter().position(takes);
        self.rules += found.map_or(left, |at| at + 1);
        self.is_cut |= found.is_none() && left < all.len();
        found
    }
}

/// Whether not everybody gets what its path leads to.
fn is_guard(rule: &Rule) -> bool {
    let by_filter = rule
        .filters
        .as_ref()
        .is_some_and(|filters| filters.basic_auth.is_some() || filters.external_auth.is_some());
    // What ends a host's rules has no path.
    let is_closed = match &rule.action {
        Action::Fixed(page) => !rule.paths.is_empty() && (400..500).contains(&page.status()),
        Action::Forward(_) | Action::Redirect(_) => false,
    };
    by_filter || rule.authenticate.is_some() || is_closed
}

/// Another Ingress's rule, without a guard, that takes over HTTPS what the guard takes at its own ports; with a path.
fn taken<'r>(
    place: usize,
    guard: &Rule,
    secure: &[(usize, &'r Rule)],
    look: &mut Look,
) -> Option<(String, &'r Rule)> {
    let mut paths: Vec<String> = guard.paths.iter().filter_map(example).collect();
    if guard.paths.is_empty() {
        paths.push("/".to_owned());
    }
    paths.into_iter().find_map(|path| {
        let takes = |(other, rule): &(usize, &Rule)| {
            // What comes before the guard at its own ports takes nothing that is the guard's.
            let is_after = *other > place || !guard.ports.is_subset(&rule.ports);
            is_after
                && (rule.paths.is_empty() || rule.paths.iter().any(|own| own.matches(&path)))
                && rule
                    .conditions
                    .iter()
                    .all(|asked| guard.conditions.contains(asked))
        };
        let (_, first) = &secure[look.first(secure, takes)?];
        let is_open = matches!(first.action, Action::Forward(_)) && !is_guard(first);
        (is_open && first.origin.object != guard.origin.object).then_some((path, *first))
    })
}

/// Rules over HTTPS, in their order, with their places.
#[derive(Default)]
struct Secure<'r> {
    by_port: BTreeMap<Port, ByHost<'r>>,
}

#[derive(Default)]
struct ByHost<'r> {
    hosts: BTreeMap<Option<HostMatch>, Vec<(usize, &'r Rule)>>,
}

impl<'r> Secure<'r> {
    fn add(&mut self, port: Port, place: usize, rule: &'r Rule) {
        let by_host = &mut self.by_port.entry(port).or_default().hosts;
        if rule.hosts.is_empty() {
            by_host.entry(None).or_default().push((place, rule));
        }
        for host in &rule.hosts {
            by_host.entry(Some(host.clone())).or_default().push((place, rule));
        }
    }
}

impl<'r> ByHost<'r> {
    /// Those of the host, else of the wildcard that takes it.
    fn of(&self, host: Option<&HostMatch>) -> Option<&[(usize, &'r Rule)]> {
        let of_wildcard = || {
            let Some(HostMatch::Exact(name)) = host else {
                return None;
            };
            let (_, parent) = name.as_str().split_once('.')?;
            let wildcard = HostMatch::Wildcard(HostName::parse(parent).ok()?);
            self.hosts.get(&Some(wildcard))
        };
        self.hosts
            .get(&host.cloned())
            .or_else(of_wildcard)
            .map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_ends_where_enough_rules_were_compared() {
        let all = vec![0; MOST_LOOKED_AT / 2 + 1];
        let mut look = Look::default();
        let mut compared = 0;
        for (is_cut, at) in [(false, all.len()), (true, MOST_LOOKED_AT), (true, MOST_LOOKED_AT)] {
            let found = look.first(&all, |_| {
                compared += 1;
                false
            });
            assert_eq!((found, look.is_cut, compared), (None, is_cut, at));
        }
        let mut look = Look::default();
        assert_eq!(look.first(&all, |_| true), Some(0));
        assert_eq!((look.rules, look.is_cut), (1, false));
    }
}
