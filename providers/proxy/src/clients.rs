//! Rules and what they ask of clients' certificates in, what is asked under each server name out. Pure.
//!
//! A handshake knows a socket, a server name and nothing of the request. So what is asked is a matter of hosts: under each
//! the most that any of its rules there asks, and every rule is held against what was asked when it answers.

use std::collections::{BTreeMap, HashMap};

use portcullis_model::{ClientCertificates, HostMatch, LoadBalancer, Origin, Port, Rule, TrustStore};

use crate::by_host::ByHost;

/// The place of a policy in a table's list. 0 asks nothing.
pub(crate) type PolicyNumber = u32;

/// The port of a listener that has a socket of its own; none for all others, which share one.
pub(crate) type Entry = Option<Port>;

/// What is asked of clients, by where they come in and host.
#[derive(Debug, Default)]
pub(crate) struct ClientTable {
    /// The first asks nothing.
    pub(crate) policies: Box<[Wanted]>,
    shared: AtEntry,
    further: BTreeMap<Port, AtEntry>,
}

#[derive(Debug, Default)]
struct AtEntry {
    hosts: ByHost<PolicyNumber>,
    /// What the listener asks of all.
    base: PolicyNumber,
}

/// What is asked, and by whom first.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) certificates: ClientCertificates,
    pub(crate) origin: Origin,
}

impl ClientTable {
    /// Whether anything is asked anywhere.
    pub(crate) fn asks(&self) -> bool {
        self.policies.len() > 1
    }

    /// What is asked under a host, or a server name, in the form of `host::normalize`; the empty one for none.
    pub(crate) fn of(&self, entry: Entry, host: &str) -> PolicyNumber {
        if !self.asks() {
            return 0;
        }
        self.at(entry).map_or(0, |at| at.hosts.of(host))
    }

    /// What the listener asks of all.
    pub(crate) fn base(&self, entry: Entry) -> PolicyNumber {
        self.at(entry).map_or(0, |at| at.base)
    }

    /// None where no rule stands and the listener asks nothing.
    fn at(&self, entry: Entry) -> Option<&AtEntry> {
        match entry {
            None => Some(&self.shared),
            Some(port) => self.further.get(&port),
        }
    }

    /// What is asked by number.
    pub(crate) fn certificates(&self, number: PolicyNumber) -> &ClientCertificates {
        let place = usize::try_from(number).unwrap_or(0);
        let wanted = self.policies.get(place);
        wanted.map_or(&ClientCertificates::Off, |wanted| &wanted.certificates)
    }
}

/// Gathers what is asked, in the order of the rules.
#[derive(Debug)]
pub(crate) struct ClientBuilder<'a> {
    policies: Vec<Wanted>,
    entries: BTreeMap<Entry, Gathered<'a>>,
}

#[derive(Debug, Default)]
struct Gathered<'a> {
    /// What the listener asks of all.
    base: PolicyNumber,
    hosts: HashMap<&'a HostMatch, PolicyNumber>,
    /// Hosts as they first come.
    order: Vec<&'a HostMatch>,
    any: PolicyNumber,
}

impl<'a> ClientBuilder<'a> {
    /// `base` is what listeners for HTTPS ask of all that come in there.
    pub(crate) fn new<'b>(
        balancer: &LoadBalancer,
        base: impl IntoIterator<Item = (Entry, (&'b ClientCertificates, &'b Origin))>,
    ) -> Self {
        let mut builder = Self {
            policies: vec![Wanted {
                certificates: ClientCertificates::Off,
                origin: balancer.options.origin.clone(),
            }],
            entries: BTreeMap::new(),
        };
        for (entry, (certificates, origin)) in base {
            let base = builder.number(certificates, origin);
            let at = builder.entries.entry(entry).or_default();
            (at.base, at.any) = (base, base);
        }
        builder
    }

    fn number(&mut self, certificates: &ClientCertificates, origin: &Origin) -> PolicyNumber {
        let known = (0..).zip(&self.policies);
        let mut known = known.filter(|(_, wanted)| wanted.certificates == *certificates);
        if let Some((number, _)) = known.next() {
            return number;
        }
        let number = PolicyNumber::try_from(self.policies.len()).unwrap_or(0);
        self.policies.push(Wanted {
            certificates: certificates.clone(),
            origin: origin.clone(),
        });
        number
    }

    /// The one that asks for more; of two that ask for different things alike, the first.
    fn stronger(policies: &[Wanted], one: PolicyNumber, other: PolicyNumber) -> PolicyNumber {
        let rank = |number: PolicyNumber| {
            let wanted = usize::try_from(number).ok().and_then(|n| policies.get(n));
            match wanted.map(|wanted| &wanted.certificates) {
                None | Some(ClientCertificates::Off) => 0,
                Some(ClientCertificates::PassThrough) => 1,
                Some(ClientCertificates::Verify { .. }) => 2,
            }
        };
        if rank(other) > rank(one) { other } else { one }
    }

    /// Takes in a rule that stands at HTTPS there, and tells what it asks for itself.
    pub(crate) fn add(&mut self, rule: &'a Rule, entries: &[Entry]) -> PolicyNumber {
        let own = self.number(&rule.clients, &rule.origin);
        let stronger = |one, other| Self::stronger(&self.policies, one, other);
        for entry in entries {
            let at = self.entries.entry(*entry).or_default();
            let wanted = stronger(at.base, own);
            if rule.hosts.is_empty() {
                at.any = stronger(at.any, wanted);
            }
            for host in &rule.hosts {
                match at.hosts.get(host) {
                    Some(before) => {
                        let wanted = stronger(*before, wanted);
                        at.hosts.insert(host, wanted);
                    }
                    None => {
                        at.order.push(host);
                        at.hosts.insert(host, wanted);
                    }
                }
            }
        }
        own
    }

    pub(crate) fn build(self) -> ClientTable {
        let mut table = ClientTable::default();
        for (entry, at) in self.entries {
            // Where nobody asks, nobody is looked for.
            let hosts = at.order.into_iter().filter(|_| self.policies.len() > 1);
            let hosts = hosts.map(|host| (host, at.hosts.get(host).copied().unwrap_or(at.any)));
            let built = AtEntry {
                hosts: ByHost::new(hosts, at.any),
                base: at.base,
            };
            match entry {
                None => table.shared = built,
                Some(port) => _ = table.further.insert(port, built),
            }
        }
        table.policies = self.policies.into();
        table
    }
}

/// The name of a trust store that the proxy cannot know, where that is what is asked.
pub(crate) fn unknown(certificates: &ClientCertificates) -> Option<&str> {
    match certificates {
        ClientCertificates::Verify {
            trust_store: TrustStore::Given(name),
            ..
        } => Some(name),
        ClientCertificates::Off
        | ClientCertificates::PassThrough
        | ClientCertificates::Verify {
            trust_store: TrustStore::Stored(_),
            ..
        } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use portcullis_model::{Action, FixedResponse, Glob, LoadBalancerId, ObjectName, Options, Port};

    use super::*;

    fn origin() -> Origin {
        Origin::new("ingress", ObjectName::new("shop", "web"), "")
    }

    fn rule(hosts: &[HostMatch], clients: &ClientCertificates) -> Rule {
        Rule {
            ports: [Port::HTTPS].into(),
            hosts: hosts.to_vec(),
            paths: Vec::new(),
            conditions: Vec::new(),
            clients: clients.clone(),
            tls_policy: None,
            authenticate: None,
            filters: None,
            rewrites: Vec::new(),
            action: Action::Fixed(FixedResponse::not_found()),
            origin: origin(),
        }
    }

    #[test]
    fn under_a_host_the_most_counts_that_its_rules_ask() {
        let verify = |secret: &str| ClientCertificates::Verify {
            trust_store: TrustStore::Stored(ObjectName::new("shop", secret)),
            ignore_expiry: false,
            advertise_authorities: false,
        };
        let (off, pass) = (ClientCertificates::Off, ClientCertificates::PassThrough);
        let host = |text: &str| HostMatch::parse(text).unwrap();
        let glob = HostMatch::Glob(Glob::parse("x*.org").unwrap());
        let rules = [
            rule(&[host("a.com")], &off),
            rule(&[host("a.com")], &pass),
            rule(&[host("b.com"), host("c.com")], &verify("one")),
            rule(&[host("c.com")], &verify("two")),
            rule(&[host("d.com")], &off),
            rule(&[host("*.com")], &verify("two")),
            rule(&[glob], &pass),
            rule(&[], &pass),
        ];
        let balancer = LoadBalancer {
            id: LoadBalancerId::parse("shop/web"),
            semantics: Default::default(),
            members: Vec::new(),
            options: Options::new(origin()),
            listeners: BTreeMap::new(),
            rules: Vec::new().into(),
            backends: BTreeMap::new(),
            given: BTreeMap::new(),
            unread: Default::default(),
            key_pairs: Default::default(),
        };
        let mut builder = ClientBuilder::new(&balancer, None);
        for rule in &rules {
            builder.add(rule, &[None]);
        }
        let table = builder.build();
        for (host, want) in [
            ("a.com", &pass),
            ("b.com", &verify("one")),
            ("c.com", &verify("one")),
            ("d.com", &off),
            ("e.com", &verify("two")),
            (".com", &pass),
            ("f.e.com", &pass),
            ("xy.org", &pass),
            ("", &pass),
        ] {
            assert_eq!(table.certificates(table.of(None, host)), want, "{host}");
        }
        let quiet = ClientBuilder::new(&balancer, None).build();
        assert!(!quiet.asks());
        // What the listener asks of all, it asks under every name.
        let mut builder = ClientBuilder::new(&balancer, [(None, (&pass, &balancer.options.origin))]);
        builder.add(&rules[0], &[None]);
        builder.add(&rules[2], &[None, Some(Port::HTTPS)]);
        let table = builder.build();
        for (host, want) in [("a.com", &pass), ("b.com", &verify("one")), ("z.com", &pass)] {
            assert_eq!(table.certificates(table.of(None, host)), want, "{host}");
        }
        // At another socket only what stands there counts.
        for (host, want) in [("a.com", &off), ("b.com", &verify("one")), ("z.com", &off)] {
            let number = table.of(Some(Port::HTTPS), host);
            assert_eq!(table.certificates(number), want, "{host} at a socket of its own");
        }
        assert_eq!(table.certificates(table.of(Some(Port::HTTP), "b.com")), &off);
    }
}
