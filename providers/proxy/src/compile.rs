//! A load balancer in, its route table and what of it cannot be served out.
//!
//! What cannot be served stays in its place and answers 503: an error never removes a constraint, and never lets a
//! later rule answer instead.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::RandomState;
use http::{HeaderValue, StatusCode};
use portcullis_model::host::normalize;
use portcullis_model::{
    self as model, Authenticate, BackendId, BasicAuth, ClientCertificates, Code, FixedResponse, HostMatch,
    Listener, LoadBalancer, Origin, Port, Problem, Protocol, Redirect, Rule, Tls,
};
use smallvec::SmallVec;

use crate::clients::{ClientBuilder, ClientTable, Entry, unknown};
use crate::filters::Filters;
use crate::identity::Gate;
use crate::identity::keys::Source;
use crate::identity::logins::Logins;
use crate::identity::sessions::Sessions;
use crate::index;
use crate::listening;
use crate::spelling::spelled;
use crate::sticky::Sticky;
use crate::table::{Action, Choice, Forward, HostIndex, ListenerTable, Numbered, Page, Route, RouteTable};
use crate::versions::{VersionBuilder, Versions};

/// How long clients remember that HTTP/3 is to be had, in seconds: a day. Whom it fails goes on over TCP.
const REMEMBERED: u32 = 86_400;

/// The ports that clients reach the proxy at: all HTTP listeners share the first, all HTTPS listeners the second, but
/// those that have a socket of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedPorts {
    /// Each listener's own port where absent.
    pub http: Option<Port>,
    pub https: Option<Port>,
    /// Of listeners that have a socket of their own, by the listener's port.
    pub further: BTreeMap<Port, Port>,
}

impl ServedPorts {
    fn of(&self, listener: &Listener) -> Port {
        let shared = if listener.is_https() {
            self.https
        } else {
            self.http
        };
        let own = self.further.get(&listener.port).copied();
        own.or(shared).unwrap_or(listener.port)
    }

    /// Where clients of the listener at this port come in.
    pub(crate) fn entry(&self, port: Port) -> Entry {
        self.further.contains_key(&port).then_some(port)
    }
}

/// Compiles the rules and listeners. Backends and certificates are the serving state's.
pub fn compile(balancer: &LoadBalancer, served: &ServedPorts) -> (RouteTable, Vec<Problem>) {
    with(balancer, &Arc::new(Numbered::of(balancer)), served)
}

impl Numbered {
    pub(crate) fn of(balancer: &LoadBalancer) -> Self {
        Self {
            ids: balancer.backends.keys().cloned().collect(),
            numbers: balancer.backends.keys().cloned().zip(0..).collect(),
        }
    }
}

/// The same with numbers of the load balancer's backends.
pub(crate) fn with(
    balancer: &LoadBalancer,
    numbered: &Arc<Numbered>,
    served: &ServedPorts,
) -> (RouteTable, Vec<Problem>) {
    let mut base = asked_of_all(balancer, served);
    base.retain(|_, (asked, _)| unknown(asked).is_none());
    let mut compiler = Compiler {
        balancer,
        hosts: index::of(&balancer.rules),
        served,
        backends: &numbered.numbers,
        ports: HashMap::default(),
        asks: base.values().any(|(asked, _)| !asked.is_off())
            || balancer.rules.iter().any(|rule| !rule.clients.is_off()),
        clients: ClientBuilder::new(balancer, base.iter().map(|(entry, asked)| (*entry, *asked))),
        versions: VersionBuilder::new(balancer, served),
        users: Vec::new(),
        filters: HashMap::new(),
        gates: BTreeMap::new(),
        key_sources: HashMap::new(),
        problems: Vec::new(),
    };
    let routes: Box<[Route]> = balancer.rules.iter().map(|rule| compiler.route(rule)).collect();
    let listeners = balancer
        .listeners
        .iter()
        .map(|(port, listener)| {
            let base = base
                .get(&served.entry(*port))
                .map_or(&ClientCertificates::Off, |(asked, _)| asked);
            (*port, compiler.listener(listener, base))
        })
        .collect();
    if balancer.options.http3 && !cfg!(feature = "http3") {
        let message = "this build has no HTTP/3: HTTPS is served over HTTP/1.1 and HTTP/2 alone. The feature `http3` has it";
        compiler.problem(
            Code::OptionUnsupported,
            balancer.options.said_at("http3"),
            message,
        );
    }
    let clients = compiler.clients.build();
    if compiler.asks {
        told_apart(balancer, served, &clients, &mut compiler.problems);
    }
    compiler.problems.append(&mut compiler.versions.problems);
    let mut filters = compiler.filters.values().flatten();
    let table = RouteTable {
        counts: filters.any(|filters| filters.counts()),
        listeners,
        hosts: compiler.hosts,
        respelled: index::respelled(&balancer.rules),
        clients,
        versions: compiler.versions.build(),
        users: compiler.users.into(),
        key_sources: by_number(compiler.key_sources),
        logins: Logins::of(compiler.gates.into_values().filter_map(Result::ok)),
        sessions: Sessions::of(balancer),
        twins: listening::twins(balancer, &routes),
        routes,
        backends: numbered.clone(),
    };
    (table, compiler.problems)
}

/// What the first HTTPS listener at each socket asks of all clients. A handshake does not say which of the listeners at
/// the socket it is for, so it asks for all of them.
fn asked_of_all<'a>(
    balancer: &'a LoadBalancer,
    served: &ServedPorts,
) -> BTreeMap<Entry, (&'a ClientCertificates, &'a Origin)> {
    let mut first = BTreeMap::new();
    for (port, listener) in &balancer.listeners {
        match &listener.protocol {
            Protocol::Http => {}
            Protocol::Https(tls) => {
                let entry = first.entry(served.entry(*port));
                entry.or_insert((asked(tls), &listener.origin));
            }
        }
    }
    first
}

fn asked(tls: &Tls) -> &ClientCertificates {
    let clients = tls.clients.as_ref();
    clients.map_or(&ClientCertificates::Off, |clients| &clients.certificates)
}

/// Tells which rules ask for another thing than is asked under their host: they answer 503.
fn told_apart(
    balancer: &LoadBalancer,
    served: &ServedPorts,
    clients: &ClientTable,
    problems: &mut Vec<Problem>,
) {
    for rule in balancer.rules.iter().filter(|rule| !rule.clients.is_off()) {
        let secure = |port: &&Port| balancer.listeners.get(port).is_some_and(Listener::is_https);
        let entries = rule.ports.iter().filter(secure).map(|port| served.entry(*port));
        let entries: BTreeSet<Entry> = entries.collect();
        let exact = rule.hosts.iter().find_map(|host| match host {
            HostMatch::Exact(name) => entries.iter().find_map(|entry| {
                let under = clients.certificates(clients.of(*entry, name.as_str()));
                (!under.suffices_for(&rule.clients)).then_some((name, under))
            }),
            HostMatch::Wildcard(_) | HostMatch::Glob(_) | HostMatch::Regex(_) => None,
        });
        if let (Some((name, under)), None) = (exact, unknown(&rule.clients)) {
            let message = format!(
                "client certificates of {name} are {under}, not {}: the rule answers 503",
                rule.clients
            );
            problems.push(Problem::new(Code::SettingConflict, rule.origin.clone(), message));
        }
    }
}

/// Ports as rules name them, and where clients of the listeners at them come in that speak TLS.
type PortSets<'a> = HashMap<&'a BTreeSet<Port>, (Arc<[Port]>, Arc<[Entry]>), RandomState>;

struct Compiler<'a> {
    balancer: &'a LoadBalancer,
    hosts: HostIndex,
    served: &'a ServedPorts,
    backends: &'a HashMap<BackendId, u32, RandomState>,
    ports: PortSets<'a>,
    /// Whether clients are asked for certificates anywhere.
    asks: bool,
    clients: ClientBuilder<'a>,
    versions: VersionBuilder<'a>,
    /// By the address of what they are compiled from: the rules of an object share it.
    users: Vec<BasicAuth>,
    filters: HashMap<*const model::Filters, Option<Arc<Filters>>>,
    /// In their own order, so that the same load balancer makes the same of them.
    gates: BTreeMap<&'a Authenticate, Result<Arc<Gate>, String>>,
    /// With their numbers.
    key_sources: HashMap<Source, usize>,
    problems: Vec<Problem>,
}

impl<'a> Compiler<'a> {
    /// `base` is what is asked of all clients that speak TLS.
    fn listener(&mut self, listener: &'a Listener, base: &ClientCertificates) -> ListenerTable {
        let (gate, default) = self.after(
            listener.authenticate.as_ref(),
            &listener.default_action,
            &listener.origin,
        );
        let refusal = match &listener.protocol {
            Protocol::Http => None,
            Protocol::Https(tls) => {
                let asked = asked(tls);
                let port = listener.port;
                let why = match unknown(asked) {
                    // A backend that relies on it must not be reached without it.
                    Some(name) => Some(format!("trust store {name} of port {port} is not known here")),
                    None if !base.suffices_for(asked) => Some(format!(
                        "client certificates on port {port} are {asked}, on the first HTTPS port {base}"
                    )),
                    None => None,
                };
                why.map(|why| {
                    let message = format!("{why}: the listener answers 503");
                    self.problem(Code::OptionUnsupported, &listener.origin, message);
                    why.into()
                })
            }
        };
        let admitted = self.balancer.options.admitted.get(&listener.port);
        ListenerTable {
            https: listener.is_https(),
            served: self.served.of(listener),
            is_apart: self.served.further.contains_key(&listener.port),
            refusal,
            alternative: self.alternative(listener),
            admitted: admitted.map(|ranges| ranges.iter().copied().collect()),
            gate,
            default,
        }
    }

    fn alternative(&mut self, listener: &Listener) -> Option<HeaderValue> {
        if !cfg!(feature = "http3") || !self.balancer.options.http3 || !listener.is_https() {
            return None;
        }
        // QUIC is spoken beside the one socket for all.
        if self.served.further.contains_key(&listener.port) {
            let message = format!(
                "port {} has no HTTP/3: it is served over HTTP/1.1 and HTTP/2 alone",
                listener.port
            );
            // Of a load balancer for all, the port may be another's than the wish.
            self.problem(Code::OptionUnsupported, &listener.origin, message);
            return None;
        }
        let port = self.served.of(listener);
        HeaderValue::try_from(format!("h3=\":{port}\"; ma={REMEMBERED}")).ok()
    }

    fn route(&mut self, rule: &'a Rule) -> Route {
        let listeners = &self.balancer.listeners;
        let ports = self.ports.entry(&rule.ports);
        let (ports, entries) = ports
            .or_insert_with(|| {
                let secure = |port: &&Port| listeners.get(port).is_some_and(Listener::is_https);
                let secure = rule.ports.iter().filter(secure);
                let entries: BTreeSet<Entry> = secure.map(|port| self.served.entry(*port)).collect();
                (
                    rule.ports.iter().copied().collect(),
                    entries.into_iter().collect(),
                )
            })
            .clone();
        let is_https = !entries.is_empty();
        let (gate, mut action) = self.after(rule.authenticate.as_ref(), &rule.action, &rule.origin);
        let versions = match is_https {
            true => self.versions.add(rule, &entries),
            false => Versions::All,
        };
        let clients = match (is_https && self.asks, unknown(&rule.clients)) {
            (false, _) => 0,
            (true, None) => self.clients.add(rule, &entries),
            (true, Some(name)) => {
                let why = format!("trust store {name} is not known here");
                let message = format!("{why}: the rule answers 503");
                self.problem(Code::OptionUnsupported, &rule.origin, message);
                action = Action::Refused(why.into());
                0
            }
        };
        let filters = rule.filters.as_ref().map(|filters| self.filters(filters));
        if let Some(None) = filters {
            let message = "a filter of the rule cannot be had here: it answers 503";
            self.problem(Code::OptionUnsupported, &rule.origin, message);
            action = Action::Refused("a filter cannot be had here".into());
        }
        let filters = filters.flatten();
        Route {
            ports,
            clients,
            spelled: spelled(&rule.paths),
            versions,
            conditions: rule.conditions.as_slice().into(),
            filters,
            gate,
            rewrites: rule.rewrites.as_slice().into(),
            action,
        }
    }

    fn filters(&mut self, filters: &Arc<model::Filters>) -> Option<Arc<Filters>> {
        let compiled = self.filters.entry(Arc::as_ptr(filters));
        compiled
            .or_insert_with(|| Filters::new(filters, &mut self.users, self.backends).map(Arc::new))
            .clone()
    }

    /// The action, and what comes before it. Where nobody can be asked who they are, there is no action.
    fn after(
        &mut self,
        step: Option<&'a Authenticate>,
        action: &model::Action,
        at: &Origin,
    ) -> (Option<Arc<Gate>>, Action) {
        let Some(step) = step else {
            return (None, self.action(action, at));
        };
        let gate = self.gates.entry(step);
        let gate = gate
            .or_insert_with(|| Gate::new(step, self.balancer.semantics, &mut self.key_sources).map(Arc::new));
        match gate.clone() {
            Ok(gate) => (Some(gate), self.action(action, at)),
            Err(why) => {
                let message = format!("authentication ({step}) cannot be had: {why}: it answers 503");
                self.problem(Code::ActionUnsupported, at, message);
                let refused = Action::Refused("authentication cannot be had here".into());
                (None, refused)
            }
        }
    }

    fn action(&mut self, action: &model::Action, at: &Origin) -> Action {
        match action {
            model::Action::Forward(forward) => Action::Forward(self.forward(forward, at)),
            model::Action::Redirect(redirect) => Action::Redirect(Box::new(self.redirect(redirect))),
            model::Action::Fixed(fixed) => self.page(fixed, at),
        }
    }

    fn forward(&mut self, forward: &model::Forward, at: &Origin) -> Forward {
        // One backend has nothing to stick to.
        let stickiness = forward.stickiness.filter(|_| forward.backends.len() > 1);
        let sticks = stickiness.is_some();
        let choices: SmallVec<[Choice; 1]> = forward
            .backends
            .iter()
            .map(|weighted| {
                let backend = self.backends.get(&weighted.backend).copied();
                if backend.is_none() {
                    let message = match self.balancer.given.get(&weighted.backend) {
                        Some(given) => format!(
                            "{} exists at another provider, where the proxy does not send requests: its share answers 503",
                            given.name
                        ),
                        None => format!(
                            "the load balancer has no backend {}: its share answers 503",
                            weighted.backend
                        ),
                    };
                    self.problem(Code::BackendUnsupported, at, message);
                }
                Choice {
                    backend,
                    weight: weighted.weight.get(),
                    mark: if sticks { mark(&weighted.backend) } else { 0 },
                }
            })
            .collect();
        let sticky = stickiness.map(|stickiness| {
            let names: Vec<&BackendId> = forward.backends.iter().map(|b| &b.backend).collect();
            Sticky {
                cookie: format!("portcullis-{:016x}", mark(&names)).into(),
                seconds: stickiness.seconds,
            }
        });
        Forward {
            total: choices.iter().map(|c| u32::from(c.weight)).sum(),
            choices,
            sticky,
        }
    }

    /// The same redirect to the port under which clients reach the listener it names.
    /// Where it stays at a host that is served here, its port is the one that clients reach; elsewhere nobody listens there.
    fn redirect(&self, redirect: &Redirect) -> Redirect {
        let is_here = redirect.host.as_ref().is_none_or(|host| {
            let host = host.as_str();
            host.contains("#{host}") || self.hosts.names(&normalize(host))
        });
        let port = redirect.port.map(|port| {
            let listener = self.balancer.listeners.get(&port).filter(|_| is_here);
            listener.map_or(port, |l| self.served.of(l))
        });
        Redirect {
            port,
            ..redirect.clone()
        }
    }

    fn page(&mut self, fixed: &FixedResponse, at: &Origin) -> Action {
        let Ok(status) = StatusCode::from_u16(fixed.status()) else {
            // `FixedResponse` admits 200–599 only, all of which are statuses.
            return Action::Refused("the fixed response has no valid status".into());
        };
        let content_type = fixed.content_type.as_deref().map(HeaderValue::from_str);
        let content_type = content_type.transpose().unwrap_or_else(|_| {
            self.problem(
                Code::ActionUnsupported,
                at,
                "the content type of the fixed response is no valid header value: text/plain is sent",
            );
            Some(HeaderValue::from_static("text/plain"))
        });
        Action::Fixed(Page {
            status,
            content_type,
            body: Bytes::from(fixed.body.clone().unwrap_or_default()),
        })
    }

    fn problem(&mut self, code: Code, at: &Origin, message: impl Into<String>) {
        self.problems.push(Problem::new(code, at.clone(), message));
    }
}

/// In the order of their numbers, which leave none out.
fn by_number<T>(numbered: HashMap<T, usize>) -> Box<[T]> {
    let mut all: Vec<(T, usize)> = numbered.into_iter().collect();
    all.sort_unstable_by_key(|(_, number)| *number);
    all.into_iter().map(|(one, _)| one).collect()
}

/// A number for a name that stays the same as long as the name does.
pub(crate) fn mark(name: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}
