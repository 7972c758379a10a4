//! Rules and what they ask of clients' certificates in, what is asked under each server name out. Pure.
//!
//! A handshake knows a server name and nothing of the request. So what is asked is a matter of hosts: under each the
//! most that any of its rules asks, and every rule is held against what was asked when it answers.

use std::collections::HashMap;

use portcullis_model::{ClientCertificates, HostMatch, LoadBalancer, Origin, Rule, TrustStore};

use crate::by_host::ByHost;

/// The place of a policy in a table's list. 0 asks nothing.
pub(crate) type PolicyNumber = u32;

/// What is asked of clients, by host.
#[derive(Debug, Default)]
pub(crate) struct ClientTable {
    /// The first asks nothing.
    pub(crate) policies: Box<[Wanted]>,
    hosts: ByHost<PolicyNumber>,
    /// What the listener asks of all.
    pub(crate) base: PolicyNumber,
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
    pub(crate) fn of(&self, host: &str) -> PolicyNumber {
        if !self.asks() {
            return 0;
        }
        self.hosts.of(host)
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
    /// What the listener asks of all.
    base: PolicyNumber,
    policies: Vec<Wanted>,
    hosts: HashMap<&'a HostMatch, PolicyNumber>,
    /// Hosts as they first come.
    order: Vec<&'a HostMatch>,
    any: PolicyNumber,
}

impl<'a> ClientBuilder<'a> {
    /// `base` is what the listener for HTTPS asks of all.
    pub(crate) fn new(balancer: &LoadBalancer, base: Option<(&ClientCertificates, &Origin)>) -> Self {
        let mut builder = Self {
            base: 0,
            policies: vec![Wanted {
                certificates: ClientCertificates::Off,
                origin: balancer.options.origin.clone(),
            }],
            hosts: HashMap::new(),
            order: Vec::new(),
            any: 0,
        };
        if let Some((certificates, origin)) = base {
            builder.base = builder.number(certificates, origin);
            builder.any = builder.base;
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
    fn stronger(&self, one: PolicyNumber, other: PolicyNumber) -> PolicyNumber {
        let rank = |number: PolicyNumber| {
            let wanted = usize::try_from(number).ok().and_then(|n| self.policies.get(n));
            match wanted.map(|wanted| &wanted.certificates) {
                None | Some(ClientCertificates::Off) => 0,
                Some(ClientCertificates::PassThrough) => 1,
                Some(ClientCertificates::Verify { .. }) => 2,
            }
        };
        if rank(other) > rank(one) { other } else { one }
    }

    /// Takes in a rule that stands at HTTPS, and tells what it asks for itself.
    pub(crate) fn add(&mut self, rule: &'a Rule) -> PolicyNumber {
        let own = self.number(&rule.clients, &rule.origin);
        let wanted = self.stronger(self.base, own);
        if rule.hosts.is_empty() {
            self.any = self.stronger(self.any, wanted);
        }
        for host in &rule.hosts {
            match self.hosts.get(host) {
                Some(before) => {
                    let wanted = self.stronger(*before, wanted);
                    self.hosts.insert(host, wanted);
                }
                None => {
                    self.order.push(host);
                    self.hosts.insert(host, wanted);
                }
            }
        }
        own
    }

    pub(crate) fn build(self) -> ClientTable {
        // Where nobody asks, nobody is looked for.
        let hosts = self.order.into_iter().filter(|_| self.policies.len() > 1);
        let hosts = hosts.map(|host| (host, self.hosts.get(host).copied().unwrap_or(self.any)));
        ClientTable {
            hosts: ByHost::new(hosts, self.any),
            policies: self.policies.into(),
            base: self.base,
        }
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
            builder.add(rule);
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
            assert_eq!(table.certificates(table.of(host)), want, "{host}");
        }
        let quiet = ClientBuilder::new(&balancer, None).build();
        assert!(!quiet.asks());
        // What the listener asks of all, it asks under every name.
        let mut builder = ClientBuilder::new(&balancer, Some((&pass, &balancer.options.origin)));
        builder.add(&rules[0]);
        builder.add(&rules[2]);
        let table = builder.build();
        for (host, want) in [("a.com", &pass), ("b.com", &verify("one")), ("z.com", &pass)] {
            assert_eq!(table.certificates(table.of(host)), want, "{host}");
        }
    }
}
