//! The members in, the ports of their load balancer and what becomes of each member's rules at each of them out.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use portcullis_model::{
    Action, Code, Condition, FixedResponse, Kept, LoadBalancerId, Port, Problem, Redirect, Semantics,
};

use super::annotations::Setting;
use super::challenges;
use super::member::{Part, Sources, Wire};
use super::options::{has_no_first, tell_conflict};
use super::ownership::{age, before};
use super::rules::refused_by;
use super::settings::{Merge, Settings};

/// What becomes of a member's rules at its ports; no port is in two of these.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// They stand as written.
    pub(super) open: BTreeSet<Port>,
    /// They stand, and check by themselves who may connect, because the port lets in more.
    pub(super) guarded: BTreeSet<Port>,
    /// They redirect to HTTPS, all but what answers ACME challenges.
    pub(super) redirected: BTreeMap<Port, Redirected>,
    /// They answer 503, and why.
    pub(super) refused: BTreeMap<Port, Refused>,
}

impl Standing {
    /// Whether a member's rules are served at this port over plain HTTP, neither redirected nor refused.
    pub(super) fn serves_plainly(&self, part: &Part<'_>, port: Port) -> bool {
        let served = self.open.contains(&port) || self.guarded.contains(&port);
        served && part.ports.get(&port) == Some(&Wire::Http)
    }

    /// Whether what needs authentication is closed at this port: over plain HTTP nobody can be asked who they are. The
    /// incumbent serves it there without.
    pub(super) fn closes_plain(&self, part: &Part<'_>, port: Port) -> bool {
        match part.semantics {
            Semantics::Kubernetes => self.serves_plainly(part, port),
            Semantics::AwsLoadBalancerController => false,
        }
    }

    /// Whom the member's rules let in at a port, where the port lets in more.
    pub(super) fn guard<'p>(&self, part: &'p Part<'_>, port: Port) -> Option<&'p Sources> {
        part.sources(port).filter(|_| self.guarded.contains(&port))
    }

    pub(super) fn ports(&self) -> BTreeSet<Port> {
        let mut all = self.open.clone();
        all.extend(&self.guarded);
        all.extend(self.redirected.keys());
        all.extend(self.refused.keys());
        all
    }
}

/// Where to rules redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Redirected {
    pub(super) to: Port,
    pub(super) by: RedirectedBy,
    /// Whether the port lets in more than the member does.
    pub(super) lets_in_more: bool,
}

/// What answers with the redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RedirectedBy {
    /// Each rule.
    Rules,
    /// The listener, for all members: no rule is made but for ACME challenges.
    Listener,
}

/// Why a member's rules are not served at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Refused {
    /// Where they were to redirect to is not known.
    PlainHttp,
    /// What they ask of clients' certificates cannot be had.
    Clients,
}

/// The ports of a load balancer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) wires: BTreeMap<Port, Wire>,
    /// HTTP ports at which everything is redirected, and where to: no rule stands there but for ACME challenges.
    pub(super) redirecting: BTreeMap<Port, Port>,
    /// What is not known of these ports.
    pub(super) kept: BTreeSet<Kept>,
    pub(super) admitted: BTreeMap<Port, Sources>,
    /// By member.
    pub(super) standings: Vec<Standing>,
}

/// Decides it for all members.
pub(super) fn decide(
    parts: &mut [Part<'_>],
    spoken: &BTreeMap<Port, Wire>,
    settings: &Settings,
    problems: &mut Vec<Problem>,
) -> Ports {
    let wires = agree_on_wires(parts, spoken, problems);
    let plain = plain(parts, problems);
    let kept = unknown_redirects(parts, &wires, &plain);
    let redirecting = redirecting(parts, &wires, &plain, settings);
    let admitted = match settings.merge {
        Merge::ByGroup => admitted(parts, problems),
        Merge::OneLoadBalancer => {
            take_in_groups(parts, problems);
            BTreeMap::new()
        }
    };
    // Only where there are any, rules stand beside the redirect of a listener.
    let solving = parts.iter().filter(|part| challenges::has_some(part));
    let challenged: BTreeSet<Port> = solving.flat_map(|part| part.ports.keys().copied()).collect();
    let standings = parts
        .iter()
        .zip(&plain)
        .map(|(part, plain)| {
            let mut standing = Standing::default();
            for (port, wire) in &part.ports {
                let lets_in_more = lets_in_more(part, *port, admitted.get(port));
                let redirected = |to: &Port, by: RedirectedBy| Redirected {
                    to: *to,
                    by,
                    lets_in_more,
                };
                if let Some(to) = redirecting.get(port) {
                    if challenged.contains(port) {
                        let by_listener = redirected(to, RedirectedBy::Listener);
                        standing.redirected.insert(*port, by_listener);
                    }
                    continue;
                }
                match (wire, plain) {
                    (Wire::Http, Plain::Redirect(to)) => {
                        standing
                            .redirected
                            .insert(*port, redirected(to, RedirectedBy::Rules));
                    }
                    (Wire::Http, Plain::Refuse) => {
                        standing.refused.insert(*port, Refused::PlainHttp);
                    }
                    (Wire::Https, _) if part.closed.contains(port) => {
                        standing.refused.insert(*port, Refused::Clients);
                    }
                    (Wire::Https, _) | (Wire::Http, Plain::Serve) => {
                        if lets_in_more {
                            standing.guarded.insert(*port);
                        } else {
                            standing.open.insert(*port);
                        }
                    }
                }
            }
            standing
        })
        .collect();
    Ports {
        wires,
        redirecting,
        kept,
        admitted,
        standings,
    }
}

/// Whether a port is open to more than a member lets in. Nothing given: it is open to all.
fn lets_in_more(part: &Part<'_>, port: Port, admitted: Option<&Sources>) -> bool {
    match (part.sources(port), admitted) {
        (None, _) => false,
        (Some(sources), Some(admitted)) => !sources.cover(admitted),
        (Some(sources), None) => !sources.cover(&everybody()),
    }
}

fn everybody() -> Sources {
    let nets = ["0.0.0.0/0", "::/0"];
    Sources {
        nets: nets.iter().filter_map(|net| net.parse().ok()).collect(),
        lists: BTreeSet::new(),
    }
}

/// The protocol of each port. Of two the one that is spoken there already counts, else that of the oldest member, whatever
/// the order of the group: neither a newcomer nor an edit takes a port away from those who serve there. The other member
/// has no rules there.
fn agree_on_wires(
    parts: &mut [Part<'_>],
    spoken: &BTreeMap<Port, Wire>,
    problems: &mut Vec<Problem>,
) -> BTreeMap<Port, Wire> {
    let mut by_age: Vec<usize> = (0..parts.len()).collect();
    by_age.sort_by(|left, right| age(&parts[*left]).cmp(&age(&parts[*right])));
    let mut wires: BTreeMap<Port, (Wire, usize)> = BTreeMap::new();
    for index in by_age {
        for (port, wire) in &parts[index].ports {
            let (agreed, by) = wires.entry(*port).or_insert((*wire, index));
            if agreed != wire && spoken.get(port) == Some(wire) {
                (*agreed, *by) = (*wire, index);
            }
        }
    }
    for index in 0..parts.len() {
        let mut lost = Vec::new();
        for (port, wire) in &parts[index].ports {
            match wires.get(port) {
                Some((agreed, by)) if agreed != wire => lost.push((*port, *by)),
                Some(_) | None => {}
            }
        }
        for (port, by) in lost {
            let other = age(&parts[by]);
            let why = match other < age(&parts[index]) {
                true => before(other, &parts[index]),
                false => "it did so before, and goes on".to_owned(),
            };
            let message = format!("port {port} speaks another protocol for {}: {why}", other.1);
            let at = parts[index].annotation("listen-ports");
            problems.push(Problem::new(Code::SettingConflict, at, message));
            parts[index].ports.remove(&port);
        }
    }
    wires.into_iter().map(|(port, (wire, _))| (port, wire)).collect()
}

/// What becomes of a member's rules where plain HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    Serve,
    Redirect(Port),
    Refuse,
}

fn plain(parts: &[Part<'_>], problems: &mut Vec<Problem>) -> Vec<Plain> {
    // With where each stands.
    let mut secure: BTreeMap<(&LoadBalancerId, Port), Port> = BTreeMap::new();
    for part in parts {
        for (port, at) in part
            .asked
            .keys()
            .filter_map(|port| Some((*port, part.secure_at(*port)?)))
        {
            secure.entry((&part.group, port)).or_insert(at);
        }
    }
    let at = |part: &Part<'_>, to: Port| {
        let of_group = || secure.get(&(&part.group, to)).copied();
        part.secure_at(to).or_else(of_group)
    };
    // By group: under the incumbent's semantics one member redirects for all.
    let mut of_group: BTreeMap<&LoadBalancerId, (Port, &Part<'_>)> = BTreeMap::new();
    let mut own = Vec::with_capacity(parts.len());
    for part in parts {
        own.push(match &part.redirect {
            _ if challenges::has_nothing_else(part) => Plain::Serve,
            Setting::Absent => Plain::Serve,
            Setting::Invalid => Plain::Refuse,
            Setting::Given(to) => {
                if let Some(at) = at(part, *to) {
                    let (first, by) = *of_group.entry(&part.group).or_insert((*to, part));
                    if first != *to && part.semantics == Semantics::AwsLoadBalancerController {
                        tell_conflict(part, by, "ssl-redirect", problems);
                    }
                    own.push(Plain::Redirect(at));
                    continue;
                }
                let moved = || part.nginx("force-ssl-redirect").or(part.nginx("ssl-redirect"));
                if let Some(written) = part.annotations.get("ssl-redirect").or_else(moved) {
                    let why = format!(
                        "port {to} is not listened on with HTTPS: nothing leads there, and plain HTTP answers 503 unless \
                         another member redirects it"
                    );
                    problems.push(part.annotations.invalid(written, why));
                }
                Plain::Refuse
            }
        });
    }
    for (part, own) in parts.iter().zip(&mut own) {
        let shared = part.semantics == Semantics::AwsLoadBalancerController;
        let to = of_group.get(&part.group).filter(|_| shared);
        if let Some(at) = to.and_then(|(to, _)| at(part, *to)) {
            *own = Plain::Redirect(at);
        }
    }
    own
}

/// HTTP ports at which every member redirects to the same port: the listener does it, without a rule. That is left as it
/// is while a challenge is on.
fn redirecting(
    parts: &[Part<'_>],
    wires: &BTreeMap<Port, Wire>,
    plain: &[Plain],
    settings: &Settings,
) -> BTreeMap<Port, Port> {
    let mut all: BTreeMap<Port, Option<Port>> = BTreeMap::new();
    let members = parts.iter().zip(plain);
    for (part, plain) in members.filter(|(part, _)| !challenges::has_nothing_else(part)) {
        let http = part.ports.iter().filter(|(_, wire)| **wire == Wire::Http);
        for (port, _) in http {
            let to = match plain {
                Plain::Redirect(to) => Some(*to),
                Plain::Serve | Plain::Refuse => None,
            };
            let so_far = all.entry(*port).or_insert(to);
            if *so_far != to {
                *so_far = None;
            }
        }
    }
    let whole = all.into_iter().filter_map(|(port, to)| to.map(|to| (port, to)));
    // Served as one, hosts that no Ingress names are nobody's to redirect, unless there is but one load balancer.
    let one = settings.merge == Merge::ByGroup || parts.windows(2).all(|pair| pair[0].group == pair[1].group);
    whole
        .filter(|(port, _)| one && wires.contains_key(port))
        .collect()
}

/// HTTP ports of which nobody knows whether, or where to, they redirect: where one redirects everything, it is to go on.
/// Under Kubernetes semantics each member redirects for itself: only where all others at the port redirect, too.
fn unknown_redirects(parts: &[Part<'_>], wires: &BTreeMap<Port, Wire>, plain: &[Plain]) -> BTreeSet<Kept> {
    let http = wires.iter().filter(|(_, wire)| **wire == Wire::Http);
    let is_unknown = |port: &Port| {
        let here = || {
            let all = parts.iter().zip(plain);
            all.filter(|(part, _)| part.ports.contains_key(port) && !challenges::has_nothing_else(part))
        };
        let unread = here().any(|(part, _)| part.redirect.is_invalid());
        let asked: BTreeSet<Port> = here()
            .filter_map(|(part, _)| match part.redirect {
                Setting::Given(to) => Some(to),
                Setting::Absent | Setting::Invalid => None,
            })
            .collect();
        if here().all(|(part, _)| has_no_first(part)) {
            return unread || asked.len() > 1;
        }
        let known = |part: &Part<'_>, plain: &Plain| {
            part.redirect.is_invalid() || matches!(plain, Plain::Redirect(_))
        };
        unread && here().all(|(part, plain)| known(part, plain))
    };
    http.filter(|(port, _)| is_unknown(port))
        .map(|(port, _)| Kept::Redirect(*port))
        .collect()
}

/// Who may connect, by port: the first sound one given in order; the oldest where the order says nothing, so that no
/// newcomer takes it over. A member that gives none takes what another gives, as the incumbent has it, but not what
/// another could not write: one's mistake closes nothing of its neighbour's, only its own rules, which then check for
/// themselves. So do those of a namespace that has no say there.
fn admitted(parts: &mut [Part<'_>], problems: &mut Vec<Problem>) -> BTreeMap<Port, Sources> {
    let (mut admitted, whose) = chosen(parts, problems);
    for (port, by) in whose {
        let own = parts[by].ranges.as_ref().map(|ranges| ranges.sources.clone());
        let (Some(own), Some(all)) = (own, together(parts, port)) else {
            continue;
        };
        if own.cover(&all) {
            continue;
        }
        // Who gives none had what that one gives, and is not opened to the others.
        for part in parts.iter_mut().filter(|part| part.ports.contains_key(&port)) {
            part.taken.entry(port).or_insert_with(|| own.clone());
        }
        admitted.insert(port, all);
    }
    admitted
}

/// Where all load balancers are served as one, ports are open to all: a member that gives no ranges takes, at each port,
/// those of the first of its group that has the say there.
/// Each whose ranges are others checks them for itself, which only the proxy can let everybody do: it is told.
fn take_in_groups(parts: &mut [Part<'_>], problems: &mut Vec<Problem>) {
    let mut order: Vec<&Part<'_>> = parts.iter().collect();
    order.sort_by_key(|part| has_no_first(part).then(|| age(part)));
    let mut first: BTreeMap<(LoadBalancerId, Port), &Part<'_>> = BTreeMap::new();
    for part in order {
        if part.ranges.as_ref().is_none_or(|ranges| ranges.broken) {
            continue;
        }
        for port in part
            .ports
            .keys()
            .filter(|port| has_say(part, **port) && !part.is_canary)
        {
            first.entry((part.group.clone(), *port)).or_insert(part);
        }
    }
    for part in parts.iter().filter(|part| !part.is_canary) {
        let of_port = |port: Port| {
            first
                .get(&(part.group.clone(), port))
                .filter(|_| has_say(part, port))
        };
        tell_differing(part, |port| of_port(port).copied(), problems);
    }
    let first: BTreeMap<(LoadBalancerId, Port), Sources> = first
        .into_iter()
        .filter_map(|(at, part)| Some((at, part.ranges.as_ref()?.sources.clone())))
        .collect();
    for part in parts.iter_mut().filter(|part| part.ranges.is_none()) {
        let of_port = |port: &Port| Some((*port, first.get(&(part.group.clone(), *port))?.clone()));
        part.taken = part.ports.keys().filter_map(of_port).collect();
    }
}

/// What members at a port that differ let in together, where none of them has the say: none is cut off, and rules of each
/// check for themselves who comes. They cannot check lists, which only the provider knows: then there is none.
fn together(parts: &[Part<'_>], port: Port) -> Option<Sources> {
    let here = || parts.iter().filter(|part| part.ports.contains_key(&port));
    let sound = here().filter_map(|part| part.ranges.as_ref().filter(|ranges| !ranges.broken));
    let sound: Vec<&Sources> = sound.map(|ranges| &ranges.sources).collect();
    let lists = sound.iter().any(|sources| !sources.lists.is_empty());
    (here().all(has_no_first) && !lists).then(|| Sources {
        nets: sound
            .iter()
            .flat_map(|sources| sources.nets.iter().copied())
            .collect(),
        lists: BTreeSet::new(),
    })
}

const CIDRS: &str = "inbound-cidrs";
const LISTS: &str = "security-group-prefix-lists";

/// Whether what a member says of who may connect to a port counts for everybody there: in its own namespace's listener, or
/// as its class's word.
fn has_say(part: &Part<'_>, port: Port) -> bool {
    let of_class = |name| part.annotations.class(name).is_some();
    !part.foreign.ports.contains(&port) || of_class(CIDRS) || of_class(LISTS)
}

/// The annotation that says who may connect.
fn said_by(part: &Part<'_>) -> &'static str {
    match part.annotations.get(CIDRS) {
        Some(_) => CIDRS,
        None => LISTS,
    }
}

/// Tells a member whose sound ranges differ from those of whoever has the say at one of its ports.
fn tell_differing<'p, 'a: 'p>(
    part: &Part<'_>,
    has_say: impl Fn(Port) -> Option<&'p Part<'a>>,
    problems: &mut Vec<Problem>,
) {
    let Some(ranges) = part.ranges.as_ref().filter(|ranges| !ranges.broken) else {
        return;
    };
    let differs = part.ports.keys().find_map(|port| {
        let first = has_say(*port)?;
        (first.ranges.as_ref().map(|r| &r.sources) != Some(&ranges.sources)).then_some(first)
    });
    if let Some(first) = differs {
        tell_conflict(part, first, said_by(part), problems);
    }
}

/// The sources that count at each port, and whose they are.
fn chosen(
    parts: &[Part<'_>],
    problems: &mut Vec<Problem>,
) -> (BTreeMap<Port, Sources>, BTreeMap<Port, usize>) {
    let is_broken = |part: &&Part<'_>| part.ranges.as_ref().is_some_and(|ranges| ranges.broken);
    let mut chosen: BTreeMap<Port, &Part<'_>> = BTreeMap::new();
    let mut in_order: Vec<&Part<'_>> = parts.iter().collect();
    in_order.sort_by_key(|part| has_no_first(part).then(|| age(part)));
    // A canary has nothing by itself; what it says closes nobody else's port.
    for part in in_order
        .into_iter()
        .filter(|part| part.ranges.is_some() && !is_broken(part) && !part.is_canary)
    {
        for port in part.ports.keys().filter(|port| has_say(part, **port)) {
            chosen.entry(*port).or_insert(part);
        }
    }
    // Where nobody at a port says anything sound, the first counts of whom anything could be read.
    let alone = |port: &Port| {
        let mut others = parts.iter().filter(|other| other.ports.contains_key(port));
        others.all(|other| is_broken(&other))
    };
    let reads_nothing = |part: &Part<'_>| {
        part.ranges
            .as_ref()
            .is_none_or(|ranges| ranges.sources.is_empty())
    };
    for part in parts.iter().filter(is_broken) {
        for port in part
            .ports
            .keys()
            .filter(|port| alone(port) && has_say(part, **port))
        {
            let first = chosen.entry(*port).or_insert(part);
            if reads_nothing(first) {
                *first = part;
            }
        }
    }
    for part in parts {
        if part.ranges.as_ref().is_none_or(|ranges| ranges.broken) {
            continue;
        }
        let name = said_by(part);
        tell_differing(part, |port| chosen.get(&port).copied(), problems);
        let open = |port: &&Port| !chosen.contains_key(*port) && !has_say(part, **port);
        if let Some(port) = part.ports.keys().find(open) {
            let at = part.annotation(name);
            let why = "it is open to all, and the rules of this Ingress turn away by themselves whom it does not let in; \
                       they cannot know who is on a prefix list";
            let message = format!("another namespace has the say in who may connect to port {port}: {why}");
            problems.push(Problem::new(Code::SettingNotOwned, at, message));
        }
    }
    let place = |of: &Part<'_>| parts.iter().position(|part| std::ptr::eq(part, of));
    let whose = chosen
        .iter()
        .filter_map(|(port, part)| Some((*port, place(part)?)));
    let whose = whose.collect();
    let admitted = chosen
        .into_iter()
        .filter_map(|(port, part)| part.ranges.as_ref().map(|ranges| (port, ranges.sources.clone())));
    (admitted.collect(), whose)
}

/// What a rule asks of where clients are, beside its own conditions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Guards {
    /// Who meets this is turned away first.
    pub(super) denied: Option<Condition>,
    /// Who meets all of these has the rule, and who does not is turned away; none where nobody can meet them.
    pub(super) asked: Option<Vec<Condition>>,
}

/// Where the port lets in more than the member does (`guarded`), what is asked for that reason, too; nothing can meet it
/// where no range could be read. A rule cannot ask for lists that only the provider knows: who is on them alone is turned
/// away.
pub(super) fn guards(part: &Part<'_>, guarded: Option<&Sources>) -> Guards {
    let source = |nets: &BTreeSet<IpNet>| {
        (!nets.is_empty()).then(|| Condition::Source(nets.iter().copied().collect()))
    };
    let all = guarded.map(|sources| &sources.nets).into_iter();
    let all = all.chain(&part.own_ranges.allowed);
    Guards {
        denied: source(&part.own_ranges.denied),
        asked: all.map(source).collect(),
    }
}

/// What a guarded rule answers to those it does not let in.
pub(super) fn turned_away() -> Action {
    FixedResponse::new(403, Some("text/plain".into()), None).map_or_else(
        |_| Action::Fixed(FixedResponse::unavailable("Not admitted")),
        Action::Fixed,
    )
}

/// What answers where what was asked for cannot be given.
pub(super) fn refused(why: Refused) -> Action {
    match why {
        Refused::PlainHttp => Action::Fixed(FixedResponse::unavailable("Plain HTTP is not served")),
        Refused::Clients => refused_by("mutual-authentication"),
    }
}

pub(super) fn to_https(port: Port) -> Action {
    Action::Redirect(Redirect::to_https(port))
}
