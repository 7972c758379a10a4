//! Rules, listeners and the TLS policies they ask for in, the versions that are spoken under each server name out. Pure.
//!
//! As with clients' certificates a handshake knows a socket, a server name and nothing of the request. Under a host TLS 1.3 alone
//! is spoken where each namespace with rules there asks for it: who names another's host takes nothing from it. A rule
//! that asks for it is served over nothing less in any case.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use portcullis_model::{
    Code, HostMatch, LoadBalancer, Origin, Problem, Protocol, Rule, TLS_POLICIES_AS_OF, is_tls_policy,
};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use crate::by_host::ByHost;
use crate::clients::Entry;
use crate::compile::ServedPorts;

/// Versions of TLS, the lesser set last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Versions {
    #[default]
    All,
    Newest,
}

impl Versions {
    pub(crate) fn supported(self) -> &'static [&'static SupportedProtocolVersion] {
        static ALL: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Self::All => &ALL,
            Self::Newest => &ALL[..1],
        }
    }
}

/// The versions by where clients come in and host.
#[derive(Debug, Default)]
pub(crate) struct VersionTable {
    /// All that are spoken anywhere.
    pub(crate) base: Versions,
    /// None where all are spoken everywhere.
    by: Option<BTreeMap<Entry, ByHost<Versions>>>,
}

impl VersionTable {
    /// Whether it depends on where a client comes in, or on the server name.
    pub(crate) fn differ(&self) -> bool {
        self.by.is_some()
    }

    /// Under a server name in the form of `host::normalize`; the empty one for none.
    pub(crate) fn of(&self, entry: Entry, name: &str) -> Versions {
        let hosts = self.by.as_ref().and_then(|by| by.get(&entry));
        hosts.map_or(self.base, |hosts| hosts.of(name))
    }
}

/// What each namespace asks for under a host: of its own rules the strictest counts.
type ByNamespace<'a> = BTreeMap<&'a str, Versions>;

/// Gathers what rules ask for, in their order.
#[derive(Debug)]
pub(crate) struct VersionBuilder<'a> {
    asks: bool,
    entries: BTreeMap<Entry, Gathered<'a>>,
    told: BTreeSet<&'a Origin>,
    pub(crate) problems: Vec<Problem>,
}

#[derive(Debug, Default)]
struct Gathered<'a> {
    /// Those that the policy of every listener there allows: of all that share one socket the strictest holds.
    base: Versions,
    hosts: HashMap<&'a HostMatch, ByNamespace<'a>>,
    /// Hosts as they first come.
    order: Vec<&'a HostMatch>,
    any: ByNamespace<'a>,
}

impl<'a> VersionBuilder<'a> {
    pub(crate) fn new(balancer: &'a LoadBalancer, served: &ServedPorts) -> Self {
        let rules = || balancer.rules.iter();
        let mut builder = Self {
            // Where no rule asks, hosts are not gathered.
            asks: rules().any(|rule| rule.tls_policy.is_some()),
            entries: BTreeMap::new(),
            told: BTreeSet::new(),
            problems: Vec::new(),
        };
        for (port, listener) in &balancer.listeners {
            let Protocol::Https(tls) = &listener.protocol else {
                continue;
            };
            let mut asked = Versions::All;
            if let Some(policy) = &tls.policy {
                let at = balancer.options.policies_at.get(port);
                asked = builder.read(policy, at.unwrap_or(&listener.origin));
            }
            let at = builder.entries.entry(served.entry(*port)).or_default();
            at.base = at.base.max(asked);
        }
        builder
    }

    /// Takes in a rule that stands at HTTPS there, and tells what it asks for itself.
    pub(crate) fn add(&mut self, rule: &'a Rule, entries: &[Entry]) -> Versions {
        if !self.asks {
            return Versions::All;
        }
        let policy = rule.tls_policy.as_ref();
        let own = policy.map_or(Versions::All, |policy| self.read(&policy.name, &policy.origin));
        let namespace = &*rule.origin.object.namespace;
        let gather = |by: &mut ByNamespace<'a>| {
            let asked = by.entry(namespace).or_default();
            *asked = own.max(*asked);
        };
        for entry in entries {
            let at = self.entries.entry(*entry).or_default();
            if rule.hosts.is_empty() {
                gather(&mut at.any);
            }
            for host in &rule.hosts {
                gather(at.hosts.entry(host).or_insert_with(|| {
                    at.order.push(host);
                    BTreeMap::new()
                }));
            }
        }
        own
    }

    fn read(&mut self, policy: &str, at: &'a Origin) -> Versions {
        let versions = versions(policy);
        if versions.is_none() && self.told.insert(at) {
            let why = match is_tls_policy(policy) {
                true => "asks for more than the proxy has".to_owned(),
                false => format!("is none that AWS had in {TLS_POLICIES_AS_OF}"),
            };
            let message = format!("TLS policy {policy} {why}: TLS 1.3 alone is served");
            self.problems
                .push(Problem::new(Code::OptionUnsupported, at.clone(), message));
        }
        versions.unwrap_or(Versions::Newest)
    }

    pub(crate) fn build(self) -> VersionTable {
        let base = self.entries.values().map(|at| at.base).min().unwrap_or_default();
        let mut differ = false;
        let by = self.entries.iter().map(|(entry, at)| {
            let agreed = |by: &ByNamespace<'a>| by.values().min().copied().unwrap_or_default().max(at.base);
            let any = agreed(&at.any);
            let hosts = at.order.iter();
            let hosts = hosts.filter_map(|host| Some((*host, agreed(at.hosts.get(host)?))));
            let hosts: Vec<_> = hosts.collect();
            differ |= any != base || hosts.iter().any(|(_, versions)| *versions != base);
            (*entry, ByHost::new(hosts, any))
        });
        let by = by.collect();
        VersionTable {
            base,
            by: differ.then_some(by),
        }
    }
}

/// What a policy allows; none where its name is none of AWS's, or the proxy lacks what it asks for. Every cipher suite of the proxy has forward secrecy and
/// authenticated encryption, so it is at least as strict as any of them but those that leave out TLS 1.2. Source: ELBv2
/// user guide, "Security policies for your Application Load Balancer": `ELBSecurityPolicy-`, what it is for, a month.
fn versions(policy: &str) -> Option<Versions> {
    if !is_tls_policy(policy) {
        return None;
    }
    let words: Vec<&str> = policy.strip_prefix("ELBSecurityPolicy-")?.split('-').collect();
    let (month, words) = words.split_last()?;
    let (year, words) = words.split_last()?;
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(year, 4) || !digits(month, 2) {
        return None;
    }
    let variant = |words: &[&str]| {
        let known = ["Ext", "Ext0", "Ext1", "Ext2", "FIPS", "PQ", "Res"];
        words.iter().all(|word| known.contains(word))
    };
    match words {
        [] => Some(Versions::All),
        ["TLS13", "1", "3", rest @ ..] if variant(rest) => Some(Versions::Newest),
        ["TLS13", "1", "0" | "1" | "2", rest @ ..] | ["TLS", "1", "0" | "1" | "2", rest @ ..]
            if variant(rest) =>
        {
            Some(Versions::All)
        }
        ["FS"] => Some(Versions::All),
        ["FS", "1", "1" | "2", rest @ ..] if variant(rest) => Some(Versions::All),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_whose_name_is_not_awss_is_not_known() {
        let (all, newest) = (Some(Versions::All), Some(Versions::Newest));
        for (policy, want) in [
            ("ELBSecurityPolicy-2016-08", all),
            ("ELBSecurityPolicy-FS-2018-06", all),
            ("ELBSecurityPolicy-FS-1-2-Res-2020-10", all),
            ("ELBSecurityPolicy-TLS-1-2-Ext-2018-06", all),
            ("ELBSecurityPolicy-TLS-1-1-2017-01", all),
            ("ELBSecurityPolicy-TLS13-1-2-2021-06", all),
            ("ELBSecurityPolicy-TLS13-1-2-Ext2-FIPS-2023-04", all),
            ("ELBSecurityPolicy-TLS13-1-2-Res-PQ-2025-09", all),
            ("ELBSecurityPolicy-TLS13-1-3-2021-06", newest),
            ("ELBSecurityPolicy-TLS13-1-3-FIPS-2023-04", newest),
            ("ELBSecurityPolicy-TLS13-1-3-PQ-2025-09", newest),
            ("ELBSecurityPolicy-TLS13-1-2-2021-99", None),
            ("ELBSecurityPolicy-TLS13-1-2-RFC9151-FIPS-2023-07", None),
            ("ELBSecurityPolicy-TLS13-13-2021-06", None),
            ("ELBSecurityPolicy-TLS13-1-3", None),
            ("ELBSecurityPolicy-TLS13-1-3-2021-6", None),
            ("ELBSecurityPolicy-TLS13-1-2-Strict-2021-06", None),
            ("ELBSecurityPolicy-", None),
            ("elbsecuritypolicy-2016-08", None),
            ("my-typo", None),
            ("", None),
        ] {
            assert_eq!(versions(policy), want, "{policy}");
        }
    }
}
