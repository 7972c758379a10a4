//! A load balancer and its key pairs in, all that workers serve from out: one value behind one pointer.
//!
//! A request takes the pointer once and keeps what it got, so it sees one table, its backends and its targets as they
//! were at one moment. A TLS handshake does the same with the certificates.

use std::collections::BTreeMap;
use std::fmt;
use std::mem::take;
use std::sync::Arc;

use portcullis_model::{
    Listener, LoadBalancer, ObjectName, Options, Port, Problem, Rule, Sealed, Semantics, Shared,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use thiserror::Error;

use crate::backends::{Backends, Built};
use crate::balance::LiveBackend;
use crate::certificate::{Certificates, KeyPairPem, UnknownNames};
use crate::checks::Check;
use crate::ciphers;
use crate::clients::{Entry, PolicyNumber};
use crate::compile::{self, ServedPorts};
use crate::exchange::Peer;
use crate::filters::basic_auth::{self, Lists};
use crate::filters::htpasswd::UserList;
use crate::filters::rate_limit::Rates;
use crate::identity;
use crate::identity::keys::KeySet;
use crate::mutual::{self, ClientPolicy};
use crate::retired::Retired;
use crate::table::{Numbered, RouteTable};
use crate::targets::Targets;
use crate::tls;
use crate::verified::{Trust, Truster, Trusts};
use crate::versions::Versions;

/// Everything a request and a handshake need, as of one configuration.
pub struct ServingState {
    compiled: Arc<Compiled>,
    /// What the table was compiled of beside what it says itself.
    rules: Shared<Vec<Rule>>,
    /// By the numbers of the table.
    backends: Backends,
    targets: Targets,
    /// Authorities that targets are verified by.
    trusts: Trusts,
    /// Ports of the model's HTTP and HTTPS listeners that have no socket of their own, ascending.
    http: Box<[Port]>,
    https: Box<[Port]>,
    certificates: Arc<Certificates>,
    /// What is asked of clients' certificates, by the numbers of the table. The first asks nothing.
    clients: Box<[Arc<ClientPolicy>]>,
    /// How TLS is spoken under each; none where no handshake can succeed.
    tls: Box<[Arc<ServerConfig>]>,
    /// The same with TLS 1.3 alone; empty where that does not depend on the server name.
    newest: Box<[Arc<ServerConfig>]>,
    /// The same over QUIC; empty where nobody asks for HTTP/3.
    #[cfg(feature = "http3")]
    quic: Box<[Arc<ServerConfig>]>,
    /// None where no rule limits rates.
    rates: Option<Arc<Rates>>,
    /// By the numbers of the table; none where they cannot be had.
    users: Lists,
    /// By the numbers of the table; what is known of them is kept from state to state.
    key_sets: Box<[Arc<KeySet>]>,
    /// Kept from state to state, so that clients resume sessions across changes.
    lasting: Lasting,
}

/// The table, and what it was compiled of: where that stays the same, so does the table.
struct Compiled {
    table: RouteTable,
    problems: Vec<Problem>,
    listeners: BTreeMap<Port, Listener>,
    options: Options,
    semantics: Semantics,
    served: ServedPorts,
    retired: Retired,
}

impl Drop for Compiled {
    fn drop(&mut self) {
        self.retired.take(take(&mut self.table));
    }
}

impl Compiled {
    fn new(balancer: &LoadBalancer, numbered: &Arc<Numbered>, served: ServedPorts, retired: Retired) -> Self {
        let (table, problems) = compile::with(balancer, numbered, &served);
        Self {
            table,
            problems,
            listeners: balancer.listeners.clone(),
            options: balancer.options.clone(),
            semantics: balancer.semantics,
            served,
            retired,
        }
    }

    /// Whether it would be the same of the same rules, and backends with the same numbers.
    fn is_of(&self, balancer: &LoadBalancer, served: &ServedPorts) -> bool {
        self.served == *served
            && self.semantics == balancer.semantics
            && self.listeners == balancer.listeners
            && self.options == balancer.options
    }
}

#[derive(Clone)]
struct Lasting {
    provider: Arc<CryptoProvider>,
    retired: Retired,
}

/// What lies in Secrets, apart from the load balancer that names them.
#[derive(Clone, Copy, Debug)]
pub struct Material<'a> {
    /// Certificates that are served, with their keys.
    pub key_pairs: &'a BTreeMap<ObjectName, KeyPairPem>,
    /// `ca.crt`: whom certificates of clients, or of targets, may be signed by, as PEM.
    pub authorities: &'a BTreeMap<ObjectName, Arc<[u8]>>,
    /// `auth`: who may pass by password, as `htpasswd` writes it.
    pub users: &'a BTreeMap<ObjectName, Sealed<[u8]>>,
    pub unknown_names: &'a UnknownNames,
}

impl<'a> From<&'a BTreeMap<ObjectName, KeyPairPem>> for Material<'a> {
    fn from(key_pairs: &'a BTreeMap<ObjectName, KeyPairPem>) -> Self {
        static NONE: BTreeMap<ObjectName, Arc<[u8]>> = BTreeMap::new();
        static NOBODY: BTreeMap<ObjectName, Sealed<[u8]>> = BTreeMap::new();
        Self {
            key_pairs,
            authorities: &NONE,
            users: &NOBODY,
            unknown_names: &UnknownNames::First,
        }
    }
}

/// The machine cannot do TLS: the cryptographic library fails at what does not depend on the configuration.
#[derive(Debug, Error)]
#[error("failed to set up TLS: {0}")]
pub struct TlsUnavailable(#[from] rustls::Error);

impl ServingState {
    /// Compiles what can be served, and tells what cannot. The material is that of the Secrets that the listeners'
    /// certificates and the trust stores name. `previous` is the state served until now: counts of requests, what clients have used of
    /// their limits, key pairs that were read and TLS sessions are kept from it, and whatever does not change is shared
    /// with it: parts of the load balancer that the one before had, too, are not looked at, all others are compared. The only error is a machine that cannot do TLS.
    pub fn build<'a>(
        balancer: LoadBalancer,
        material: impl Into<Material<'a>>,
        previous: Option<&Self>,
        served: ServedPorts,
    ) -> Result<(Self, Vec<Problem>), TlsUnavailable> {
        let Material {
            key_pairs,
            authorities,
            users,
            unknown_names,
        } = material.into();
        let lasting = match previous {
            Some(previous) => previous.lasting.clone(),
            None => Lasting {
                provider: Arc::new(ciphers::provider()),
                retired: Retired::new(),
            },
        };
        let before = previous.map_or(&[][..], |p| &p.trusts);
        let mut truster = Truster::new(authorities, &lasting.provider, before);
        let before = previous.map(|previous| (&previous.backends, &previous.targets));
        let Built {
            backends,
            targets,
            problems: more,
            keep_numbers,
        } = Backends::build(&balancer.backends, &mut truster, before);
        let trusts = truster.trusts();
        let before = previous.filter(|_| keep_numbers);
        let same = before.filter(|p| p.compiled.is_of(&balancer, &served) && p.rules == balancer.rules);
        let compiled = match same {
            Some(same) => same.compiled.clone(),
            None => {
                let before = before.map(|before| before.table().backends.clone());
                let numbered = before.unwrap_or_else(|| Arc::new(Numbered::of(&balancer)));
                let retired = lasting.retired.clone();
                Arc::new(Compiled::new(&balancer, &numbered, served, retired))
            }
        };
        let table = &compiled.table;
        let mut problems = compiled.problems.clone();
        problems.extend(more);

        let listeners = || balancer.listeners.values();
        let before = previous.map(|p| &*p.certificates);
        let (certificates, more) =
            Certificates::build(listeners(), key_pairs, unknown_names, before, &lasting.provider);
        problems.extend(more);
        let certificates = Arc::new(certificates);
        let before = previous.map_or(&[][..], |p| &p.clients);
        let mut clients = Vec::new();
        for wanted in &table.clients.policies {
            let (policy, problem) = mutual::policy(wanted, authorities, before, &lasting.provider)?;
            clients.push(policy);
            problems.extend(problem);
        }
        let configs = |versions: Versions| {
            let one = |policy: &Arc<ClientPolicy>| {
                tls::server(certificates.clone(), versions, &lasting.provider, policy).map(Arc::new)
            };
            clients.iter().map(one).collect::<Result<Box<[_]>, _>>()
        };
        let (tls, newest) = match (certificates.is_empty(), table.versions.differ()) {
            (true, _) => (Box::default(), Box::default()),
            (false, false) => (configs(table.versions.base)?, Box::default()),
            (false, true) => (configs(table.versions.base)?, configs(Versions::Newest)?),
        };

        let before = previous.map_or(&[][..], |p| &p.users);
        let (users, more) = basic_auth::users(&table.users, users, before);
        problems.extend(more);
        let before = previous.map_or(&[][..], |p| &p.key_sets);
        let key_sets = identity::key_sets(&table.key_sources, before);
        let before = previous.and_then(|previous| previous.rates.clone());
        let rates = table.counts.then(|| before.unwrap_or_else(Rates::new));
        let ports = |https: bool| -> Box<[Port]> {
            let shared =
                |l: &&Listener| l.is_https() == https && !compiled.served.further.contains_key(&l.port);
            listeners().filter(shared).map(|l| l.port).collect()
        };
        let (http, https) = (ports(false), ports(true));
        let state = Self {
            compiled,
            rules: balancer.rules.clone(),
            backends,
            targets,
            trusts,
            http,
            https,
            clients: clients.into(),
            #[cfg(feature = "http3")]
            quic: match balancer.options.http3 {
                true => tls
                    .iter()
                    .map(|config| Arc::new(tls::over_quic(config)))
                    .collect(),
                false => Box::default(),
            },
            tls,
            newest,
            certificates,
            rates,
            users,
            key_sets,
            lasting,
        };
        state.lasting.retired.take(balancer);
        Ok((state, problems))
    }

    pub fn table(&self) -> &RouteTable {
        &self.compiled.table
    }

    pub(crate) fn backend(&self, number: u32) -> Option<&LiveBackend> {
        self.backends.get(number).map(|backend| &**backend)
    }

    /// The same, to hold on to.
    pub(crate) fn shared_backend(&self, number: u32) -> Option<&Arc<LiveBackend>> {
        self.backends.get(number)
    }

    /// The backends whose targets are checked, and how.
    pub(crate) fn checked(&self) -> impl Iterator<Item = (&LiveBackend, &Arc<Check>)> {
        let all = self.backends.iter();
        all.filter_map(|backend| Some((&**backend, backend.check.as_ref()?)))
    }

    /// Who may pass by password.
    pub(crate) fn users(&self, number: usize) -> Option<&Arc<UserList>> {
        self.users.get(number)?.as_ref()
    }

    /// The keys that tokens are signed by.
    pub(crate) fn key_set(&self, number: usize) -> Option<&Arc<KeySet>> {
        self.key_sets.get(number)
    }

    /// What clients have used of their limits.
    pub(crate) fn rates(&self) -> Option<&Rates> {
        self.rates.as_deref()
    }

    pub(crate) fn targets(&self) -> &Targets {
        &self.targets
    }

    pub(crate) fn trusts(&self) -> &[Arc<Trust>] {
        &self.trusts
    }

    /// How TLS is spoken there under a server name in the form of `host::normalize`, and what is asked of the client there;
    /// none where no handshake can succeed.
    pub(crate) fn tls(&self, entry: Entry, name: &str) -> Option<(&Arc<ServerConfig>, &Arc<ClientPolicy>)> {
        let table = self.table();
        let place = usize::try_from(table.clients.of(entry, name)).ok()?;
        let of_all = match table.versions.of(entry, name) {
            Versions::Newest if table.versions.differ() => &self.newest,
            Versions::Newest | Versions::All => &self.tls,
        };
        of_all.get(place).zip(self.clients.get(place))
    }

    /// Makes the keys anew that TLS sessions are sealed under.
    pub(crate) fn renew_tickets(&self) -> Result<(), rustls::Error> {
        self.clients
            .iter()
            .try_for_each(|policy| policy.tickets().renew())
    }

    /// Those of this moment, by server name.
    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The same over QUIC.
    #[cfg(feature = "http3")]
    pub(crate) fn quic(&self, number: PolicyNumber) -> Option<(&Arc<ServerConfig>, &Arc<ClientPolicy>)> {
        let place = usize::try_from(number).ok()?;
        self.quic.get(place).zip(self.clients.get(place))
    }

    #[cfg(feature = "http3")]
    pub(crate) fn asks_http3(&self) -> bool {
        self.compiled.options.http3
    }

    /// What is asked of clients' certificates.
    pub(crate) fn clients(&self, number: PolicyNumber) -> Option<&Arc<ClientPolicy>> {
        usize::try_from(number)
            .ok()
            .and_then(|place| self.clients.get(place))
    }

    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.lasting.provider
    }

    /// Targets of each backend that may have requests, a line each.
    pub(crate) fn show_targets(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for backend in self.backends.iter() {
            writeln!(f, "  {}", backend.id)?;
            for target in backend.targets() {
                let rests = match (target.is_ill(), target.rests()) {
                    (true, _) => ", ill",
                    (false, true) => ", rests",
                    (false, false) => "",
                };
                let under_way = target.load.outstanding();
                writeln!(f, "    {} {under_way} under way{rests}", target.address)?;
            }
        }
        Ok(())
    }

    /// Which listener of the model a request belongs to. One that came in at a listener's own socket: that one, whatever
    /// it names. One that came in at the one socket for all others of its kind: the one of these whose port the request
    /// names beside its host, else the lowest. Clients name what they like, so that leads to no other.
    pub(crate) fn port_of(&self, peer: &Peer, is_tls: bool, named: Option<u16>) -> Option<Port> {
        if let Some(port) = peer.port {
            let listener = self.table().listeners.get(&port);
            return listener.filter(|l| l.https == peer.is_tls).map(|_| port);
        }
        let ports = if is_tls { &self.https } else { &self.http };
        let by_name = named.and_then(|named| ports.iter().find(|port| port.get() == named));
        by_name.or_else(|| ports.first()).copied()
    }
}

impl Drop for ServingState {
    fn drop(&mut self) {
        let gone = (
            take(&mut self.backends),
            take(&mut self.targets),
            take(&mut self.rules),
        );
        self.lasting.retired.take(gone);
    }
}

impl fmt::Debug for ServingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServingState")
            .field("rules", &self.compiled.table.len())
            .field("backends", &self.table().backends().len())
            .field("targets", &self.targets.len())
            .finish_non_exhaustive()
    }
}
