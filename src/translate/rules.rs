//! The rules of one Ingress in, drafts of the load balancer's rules and the hosts they name out.

mod bounds;
mod closed;
mod hosts;
mod named;
mod paths;

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_model::{
    Action, Authenticate, Code, Condition, ExactPath, Filters, FixedResponse, HostMatch, Origin, PathMatch,
    Port, Problem, RedirectScheme, Rewrite, RewritePart, Rule, Semantics,
};

pub(super) use self::bounds::{Spent, settle};
use self::hosts::Host;
pub(super) use self::hosts::meant as host_meant;
pub(super) use self::named::said_of_default;
use self::named::{by_annotation, name_of, names_in_rules, ports_asked};
use self::paths::{PathMeaning, Taken};
use super::annotations::{Setting, value};
use super::auth::{self, Gate};
use super::backends::Backends;
use super::canary::Mains;
use super::challenges;
use super::conditions::{self, Constraints};
use super::filters::Filtered;
use super::member::{Part, Sources};
use super::moved;
use super::moved::redirects;
use super::precedence::{Closes, Draft, NamedHost, PIECES, PathKind, Written};
use super::standing::{self, Guards, RedirectedBy, Refused, Standing};
use super::transforms;
use crate::cluster::object::{IngressBackend, IngressPath};

/// What is answered where a path cannot be read.
const UNREADABLE: &str = "Not served because its path cannot be read";
/// The same where a host cannot.
const UNREADABLE_HOST: &str = "Not served because its host cannot be read";

/// What one Ingress adds.
#[derive(Debug, Default)]
pub(super) struct Drafts {
    pub(super) drafts: Vec<Draft>,
    pub(super) hosts: Vec<NamedHost>,
    /// Which bound was reached.
    over: Option<String>,
    /// Hosts of which not all rules were read for that; none stands for what no other rule takes.
    closed: BTreeSet<Option<HostMatch>>,
}

/// What is said of one path.
#[derive(Debug)]
struct Said {
    authenticate: Option<Authenticate>,
    filters: Option<Arc<Filters>>,
    action: Action,
    rewrites: Vec<Rewrite>,
}

impl Said {
    fn only(action: Action) -> Self {
        Self {
            authenticate: None,
            filters: None,
            action,
            rewrites: Vec::new(),
        }
    }
}

/// Reads the rules of one Ingress.
#[derive(Debug)]
pub(super) struct Reader<'r, 'a> {
    pub(super) part: &'r Part<'a>,
    pub(super) member: usize,
    pub(super) mains: &'r Mains<'r, 'a>,
    pub(super) standing: &'r Standing,
    pub(super) filtered: &'r Filtered,
    pub(super) backends: &'r mut Backends<'a>,
    pub(super) spent: &'r mut Spent,
    pub(super) problems: &'r mut Vec<Problem>,
}

impl Reader<'_, '_> {
    pub(super) fn read(mut self) -> Drafts {
        let meaning = self.meaning();
        let ports = self.standing.ports();
        let mut out = Drafts::default();
        for (index, rule) in self.part.ingress.rules.iter().enumerate() {
            let Some(host) = self.host(index, rule) else {
                continue;
            };
            if let Some(host) = &host.host {
                out.hosts.push(NamedHost {
                    host: host.clone(),
                    ports: ports.clone(),
                    group: self.part.group.clone(),
                    origin: self.part.origin(format!("spec.rules[{index}].host")),
                });
            }
            if rule.is_closed {
                self.close_whole(host.host.clone());
            }
            if !rule.paths.is_empty() && !host.is_closed {
                self.root(index, host.host.as_ref(), &mut out);
            }
            for (place, path) in rule.paths.iter().enumerate() {
                self.path(index, place, path, &host, meaning, &mut out);
            }
        }
        self.close_hosts(&mut out);
        self.report_unused();
        out
    }

    /// Conditions under a name that no backend has constrain nothing: most likely one of the two is misspelt.
    fn report_unused(&mut self) {
        let names = names_in_rules(self.part);
        let default = self.part.ingress.default_backend.as_ref().and_then(name_of);
        for family in ["actions.", "conditions.", "transforms."] {
            for (name, written) in self.part.annotations.family(family) {
                if !names.contains(name) && default != Some(name) {
                    let message = format!("no backend of this Ingress is named {}", value::shown(name));
                    let at = self.part.annotations.origin(written);
                    self.problems
                        .push(Problem::new(Code::AnnotationUnknown, at, message));
                }
            }
        }
        for (family, written) in said_of_default(self.part) {
            let served = match self.part.semantics {
                Semantics::Kubernetes => "it answers 503",
                Semantics::AwsLoadBalancerController => "it is served without, as the incumbent does",
            };
            let message =
                format!("a default backend has no {family}: {served}. Let a rule lead to it instead");
            let at = self.part.annotations.origin(written);
            self.problems
                .push(Problem::new(Code::AnnotationUnsupported, at, message));
        }
        if let Some(ports) = ports_asked(self.part) {
            for (name, written) in self.part.annotations.family("target-control-port.") {
                if !ports.contains(name) {
                    let why = "no backend of this Ingress is this Service and port";
                    let problem = self.part.annotations.invalid_name(written, why);
                    self.problems.push(Problem {
                        code: Code::AnnotationUnknown,
                        ..problem
                    });
                }
            }
        }
    }

    fn problem(&mut self, code: Code, field: String, why: impl std::fmt::Display) {
        self.problems
            .push(Problem::new(code, self.part.origin(field), why.to_string()));
    }

    fn path(
        &mut self,
        rule: usize,
        place: usize,
        path: &IngressPath,
        host: &Host,
        meaning: PathMeaning,
        out: &mut Drafts,
    ) {
        if self.spent.is_over() {
            self.close_instead(host, &path.backend);
            return;
        }
        let field = format!("spec.rules[{rule}].http.paths[{place}]");
        let read = match self.part.is_canary {
            true => self.path_of_canary(&field, &self.part.ingress.rules[rule], path, meaning),
            false => Some(self.path_match(&field, path, meaning)),
        };
        let Some(Taken {
            kind,
            paths: own,
            is_closed,
        }) = read
        else {
            return;
        };
        let origin = self.part.origin(field.clone());
        let name = name_of(&path.backend);
        let constraints = self.constraints(name);
        // A rule for each where it is not known which was meant: not every load balancer has them in one.
        let is_apart = own.len() > 1;
        let of_own = usize::from(host.host.is_some());
        let (rules, values) = self.product(of_own, own.len(), is_apart, &constraints);
        if !self.spent.affords(rules, values) {
            self.close_instead(host, &path.backend);
            return;
        }
        for path in &own {
            match path {
                PathMatch::Regex(pattern) => self.spent.room.take(pattern),
                PathMatch::Exact(_) | PathMatch::Prefix(_) | PathMatch::Glob(_) => {}
            }
        }
        let broken = !constraints.broken.is_empty();
        if is_closed && own.is_empty() && constraints.paths.is_empty() {
            return;
        }
        // Nobody can ask for it: it is told, and closes no other host.
        if constraints.is_of_no_host && host.host.is_none() {
            return;
        }

        let Said {
            authenticate,
            filters,
            action,
            rewrites,
        } = match self.part.refusal {
            Some(refusal) => Said::only(refusal.answer()),
            None if host.is_closed => Said::only(Action::Fixed(FixedResponse::unavailable(UNREADABLE_HOST))),
            None if is_closed => Said::only(Action::Fixed(FixedResponse::unavailable(UNREADABLE))),
            None => self.answer(path, &origin.at(format!("{field}.backend"))),
        };
        let solves = challenges::has_nothing_else(self.part)
            && constraints.paths.is_empty()
            && own.first().is_some_and(challenges::takes);
        let authenticate = authenticate.filter(|_| !solves);
        let filters = match filters {
            Some(filters) if solves => challenges::without_logins(&filters),
            filters => filters,
        };
        // Which requests it was for is not known. A rule that would let all of them through is left out, so that they are
        // answered as if it did not hold. Where it lets through but some, or answers by itself, it may be there to turn
        // others away: it does so with all that meet what can be read.
        let lets_through = matches!(action, Action::Forward(_)) || !by_annotation(&path.backend);
        let action = match broken {
            false => action,
            true if lets_through && !self.is_guarded(&path.backend) => return,
            true => refused_by("conditions"),
        };
        let closes = match (broken && lets_through, is_closed || host.is_closed) {
            (true, _) => Closes::Unconditioned,
            (false, true) => Closes::Meant,
            (false, false) => Closes::Nothing,
        };
        let authenticate = authenticate.filter(|_| !broken);
        let filters = filters.filter(|_| !broken);
        self.report_plain(authenticate.as_ref().filter(|_| !leads_to_https(&action)));

        let mut hosts: Vec<HostMatch> = host.host.iter().cloned().collect();
        hosts.extend(constraints.hosts.iter().cloned());
        let mut paths = own;
        paths.extend(constraints.paths.iter().cloned());
        let base = Rule {
            ports: BTreeSet::new(),
            hosts: Vec::new(),
            paths: Vec::new(),
            conditions: constraints.conditions.clone(),
            clients: self.part.clients.clone(),
            tls_policy: self.part.tls_policies.values().next().cloned(),
            authenticate,
            filters,
            rewrites,
            action,
            origin,
        };
        let pieces = match self.part.semantics {
            Semantics::AwsLoadBalancerController if !is_apart => vec![(hosts, paths)],
            Semantics::AwsLoadBalancerController => paths
                .into_iter()
                .map(|path| (hosts.clone(), vec![path]))
                .collect(),
            // One host and one path each, so that each has its own place in the order.
            Semantics::Kubernetes => split(&hosts, &paths),
        };
        for (piece, (hosts, paths)) in pieces.into_iter().enumerate() {
            let place = Written {
                member: self.member,
                rule,
                path: place,
                piece: piece * 2 * PIECES,
            };
            let rule = Rule {
                hosts,
                paths,
                ..base.clone()
            };
            self.stand(&rule, place, (kind, closes), out);
        }
    }

    /// Who may pass, what answers them, and what is done before.
    fn answer(&mut self, path: &IngressPath, at: &Origin) -> Said {
        let authenticate = match self.backends.gate(self.part, &path.backend, self.problems) {
            Gate::Closed(annotation) => return Said::only(refused_by(annotation)),
            gate @ (Gate::Open | Gate::Guarded(_)) => gate.step(),
        };
        let filters = match self.filtered {
            Filtered::Closed(annotation) => return Said::only(refused_by(annotation)),
            Filtered::By { all, .. } => all.clone(),
        };
        let redirect = match by_annotation(&path.backend) {
            true => Setting::Absent,
            false => redirects::redirect(self.part, self.problems),
        };
        let action = match redirect {
            Setting::Absent => self.backends.action(self.part, &path.backend, at, self.problems),
            Setting::Given(redirect) => Action::Redirect(redirect),
            Setting::Invalid => return Said::only(refused_by(self.part.said_by("actions."))),
        };
        let mut rewrites = match self.rewrites(name_of(&path.backend)) {
            Setting::Absent => Vec::new(),
            Setting::Given(rewrites) => rewrites,
            Setting::Invalid => return Said::only(refused_by("transforms")),
        };
        if action.may_forward() {
            match self.moved_rewrites(path, &rewrites) {
                Ok(theirs) => rewrites.extend(theirs),
                Err(annotation) => return Said::only(refused_by(annotation)),
            }
        }
        Said {
            authenticate,
            filters,
            action,
            rewrites,
        }
    }

    /// What ingress-nginx's annotations say backends see where ours do not, or the one that cannot be read.
    fn moved_rewrites(&mut self, path: &IngressPath, ours: &[Rewrite]) -> Result<Vec<Rewrite>, &'static str> {
        let is_free = |part: RewritePart| ours.iter().all(|rewrite| rewrite.part != part);
        let host = match is_free(RewritePart::Host) {
            true => redirects::host(self.part, self.problems),
            false => Setting::Absent,
        };
        if host.is_invalid() {
            return Err(self.part.said_by("transforms."));
        }
        let route = moved::paths::route(self.part, path.path.as_deref().unwrap_or_default());
        let url = route.and_then(Result::ok).and_then(|route| route.rewrite);
        let url = url.filter(|_| is_free(RewritePart::Url));
        Ok(url.into_iter().chain(host.given()).collect())
    }

    /// A rule of the Ingress that answers whoever it lets in, at a path of a host or of every one.
    fn answering(&self, host: Option<HostMatch>, path: PathMatch, action: Action, origin: Origin) -> Rule {
        Rule {
            ports: BTreeSet::new(),
            hosts: host.into_iter().collect(),
            paths: vec![path],
            conditions: Vec::new(),
            clients: self.part.clients.clone(),
            tls_policy: self.part.tls_policies.values().next().cloned(),
            authenticate: None,
            filters: None,
            rewrites: Vec::new(),
            action,
            origin,
        }
    }

    /// Where ingress-nginx's annotations say that `/` of a host leads elsewhere.
    fn root(&mut self, index: usize, host: Option<&HostMatch>, out: &mut Drafts) {
        let root = match self.part.refusal {
            Some(_) => None,
            None => redirects::root(self.part, self.problems),
        };
        let (Some((redirect, written)), Ok(path)) = (root, ExactPath::parse("/")) else {
            return;
        };
        let origin = self.part.annotations.origin(written);
        let path = PathMatch::Exact(path);
        let rule = self.answering(host.cloned(), path, Action::Redirect(redirect), origin);
        let place = Written {
            member: self.member,
            rule: index,
            path: 0,
            piece: 0,
        };
        self.stand(&rule, place, (PathKind::Exact, Closes::Nothing), out);
    }

    /// Tells where what needs authentication stands at a port without it.
    fn report_plain(&mut self, step: Option<&Authenticate>) {
        let Some(step) = step else { return };
        let plainly = |port: &Port| self.standing.serves_plainly(self.part, *port);
        let ports = self.standing.ports();
        let ports: Vec<String> = ports
            .iter()
            .filter(|port| plainly(port))
            .map(Port::to_string)
            .collect();
        if !ports.is_empty() {
            self.problems.push(auth::needs_https(self.part, step, &ports));
        }
    }

    /// Ports at which the same may connect.
    fn by_sources(&self, guarded: BTreeSet<Port>) -> Vec<(Option<&Sources>, BTreeSet<Port>)> {
        let mut all: Vec<(Option<&Sources>, BTreeSet<Port>)> = Vec::new();
        for port in guarded {
            let sources = self.part.sources(port);
            match all.iter_mut().find(|(known, _)| *known == sources) {
                Some((_, ports)) => _ = ports.insert(port),
                None => all.push((sources, BTreeSet::from([port]))),
            }
        }
        all
    }

    /// Stands a rule at the ports of its member, with what becomes of it there.
    fn stand(&self, rule: &Rule, place: Written, (kind, closes): (PathKind, Closes), out: &mut Drafts) {
        let mut put_guarded = |rule: Rule, piece: usize, guards: usize, piece_of: Option<usize>| {
            for rule in self.part.by_port(rule) {
                out.drafts.push(Draft {
                    rule,
                    place: Written { piece, ..place },
                    kind,
                    closes,
                    guards,
                    piece_of,
                });
            }
        };
        let mut put = |rule: Rule, piece: usize| put_guarded(rule, piece, 0, None);
        let answering = |ports: BTreeSet<Port>, action: Action| Rule {
            ports,
            authenticate: None,
            filters: None,
            rewrites: Vec::new(),
            action,
            ..rule.clone()
        };
        let closed: BTreeSet<Port> = match &rule.authenticate {
            Some(_) => self.standing.ports(),
            None => BTreeSet::new(),
        };
        let closed: BTreeSet<Port> = closed
            .into_iter()
            .filter(|port| self.standing.closes_plain(self.part, *port))
            .collect();
        let (mut guarded, mut open) = (&self.standing.guarded - &closed, &self.standing.open - &closed);
        let is_exempt = challenges::is_exempt(self.part, rule);
        for (port, redirected) in &self.standing.redirected {
            match redirected.by {
                _ if is_exempt && redirected.lets_in_more => _ = guarded.insert(*port),
                _ if is_exempt => _ = open.insert(*port),
                RedirectedBy::Rules => {
                    let to = standing::to_https(redirected.to);
                    put(answering(BTreeSet::from([*port]), to), place.piece);
                }
                RedirectedBy::Listener => {}
            }
        }
        for (port, why) in &self.standing.refused {
            put(
                answering(BTreeSet::from([*port]), standing::refused(*why)),
                place.piece,
            );
        }
        // A redirect to where clients can be asked serves nothing.
        let plainly = match leads_to_https(&rule.action) {
            true => rule.action.clone(),
            false => standing::refused(Refused::PlainHttp),
        };
        put(answering(closed, plainly), place.piece);
        for (of_port, ports) in self.by_sources(guarded).into_iter().chain([(None, open)]) {
            let Guards { denied, asked } = standing::guards(self.part, of_port);
            let asking = |conditions: &[Condition], mut rule: Rule| {
                rule.conditions.extend_from_slice(conditions);
                rule
            };
            let turning_away = |ports: BTreeSet<Port>| Rule {
                filters: self.filtered.of_turned_away(),
                ..answering(ports, standing::turned_away())
            };
            let count = asked.as_ref().map_or(0, Vec::len);
            // Behind others with what can be read of its conditions, which may be none.
            let late = (closes == Closes::Unconditioned).then_some(rule.conditions.len());
            if let Some(denied) = denied {
                let turned = turning_away(ports.clone());
                // As early as what it is taken from.
                let place_of = late.or(Some(rule.conditions.len() + count.max(1)));
                put_guarded(
                    asking(&[denied], turned),
                    place.piece,
                    usize::from(late.is_some()),
                    place_of,
                );
            }
            if let Some(asked) = &asked {
                let rule = Rule {
                    ports: ports.clone(),
                    ..rule.clone()
                };
                put_guarded(asking(asked, rule), place.piece, count, late);
            }
            if asked.is_none_or(|asked| !asked.is_empty()) {
                put_guarded(turning_away(ports), place.piece + PIECES, 0, None);
            }
        }
    }

    /// Whether not everybody may have what a path leads to.
    fn is_guarded(&self, backend: &IngressBackend) -> bool {
        let asks = match self.filtered {
            Filtered::Closed(_) => true,
            Filtered::By { all, .. } => all
                .as_ref()
                .is_some_and(|all| all.basic_auth.is_some() || all.external_auth.is_some()),
        };
        // What it says is told where the path is read.
        let gate = self.backends.gate(self.part, backend, &mut Vec::new());
        let by_address = self.part.own_ranges.allowed.is_some() || !self.part.own_ranges.denied.is_empty();
        let by_certificate = !self.part.clients.is_off() || !self.part.closed.is_empty();
        self.part.refusal.is_some()
            || asks
            || !matches!(gate, Gate::Open)
            || by_address
            || !self.standing.guarded.is_empty()
            || by_certificate
    }

    fn constraints(&mut self, name: Option<&str>) -> Arc<Constraints> {
        let written = name.and_then(|name| self.part.annotations.get(&format!("conditions.{name}")));
        let Some(written) = written else {
            return Arc::default();
        };
        let name = name.unwrap_or_default();
        if let Some(known) = self.spent.constraints.get(name) {
            return known.clone();
        }
        let constraints = conditions::parse(written.value, self.part.semantics, &mut self.spent.room);
        for why in &constraints.broken {
            self.problems.push(self.part.annotations.invalid(written, why));
        }
        for field in &constraints.ignored {
            self.problems
                .push(self.part.annotations.without_effect(written, field));
        }
        let constraints = Arc::new(constraints);
        self.spent
            .constraints
            .insert(name.to_owned(), constraints.clone());
        constraints
    }

    fn rewrites(&mut self, name: Option<&str>) -> Setting<Vec<Rewrite>> {
        match name {
            None => Setting::Absent,
            Some(name) => {
                self.part
                    .annotations
                    .read(&format!("transforms.{name}"), transforms::parse, self.problems)
            }
        }
    }
}

/// What answers where a rule may not be served for the sake of an annotation.
pub(super) fn refused_by(annotation: &str) -> Action {
    Action::Fixed(FixedResponse::refused_by(annotation))
}

fn split(hosts: &[HostMatch], paths: &[PathMatch]) -> Vec<(Vec<HostMatch>, Vec<PathMatch>)> {
    let each = |hosts: Vec<HostMatch>| -> Vec<(Vec<HostMatch>, Vec<PathMatch>)> {
        match paths {
            [] => vec![(hosts, Vec::new())],
            paths => paths
                .iter()
                .map(|path| (hosts.clone(), vec![path.clone()]))
                .collect(),
        }
    };
    match hosts {
        [] => each(Vec::new()),
        hosts => hosts.iter().flat_map(|host| each(vec![host.clone()])).collect(),
    }
}

fn leads_to_https(action: &Action) -> bool {
    matches!(action, Action::Redirect(to) if to.scheme == Some(RedirectScheme::Https))
}
