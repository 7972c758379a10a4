//! Ingresses that say they are canaries in, shares of the rules that they stand beside out.
//!
//! Meaning: ingress-nginx, "Canary". The field of a request decides first, then its cookie, then the weight. A canary
//! has no rules of its own, so one that cannot be read, or has no rule to stand beside, gets nothing and changes nothing.
//! What its paths mean is what the Ingress says that it stands beside: found by them as they are written.

use std::collections::BTreeMap;

use portcullis_model::{
    Action, Backend, BackendId, Code, Condition, Forward, Glob, HeaderName, HostMatch, Origin, Pattern,
    Problem, Rule, Shared, Weight, WeightedBackend,
};

use super::annotations::{Setting, value};
use super::expressions::quoted;
use super::member::Part;
use super::precedence::{Draft, Written};
use super::rules::Drafts;
use crate::cluster::object::{IngressPath, IngressRule};

/// Largest weight of the model.
const MOST: u32 = 999;

/// Which requests go to the canary, and which certainly do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Canary {
    /// Each decides before the next.
    signs: Vec<Sign>,
    weight: u32,
    /// What the weight is of: never less, never 0.
    total: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sign {
    always: Condition,
    never: Option<Condition>,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Main,
    /// None where it cannot be read.
    Canary(Option<Canary>),
}

/// Reads what each member is.
pub(super) fn roles(parts: &mut [Part<'_>], problems: &mut Vec<Problem>) -> Vec<Role> {
    let mut roles = Vec::with_capacity(parts.len());
    for part in parts {
        let role = role(part, problems);
        part.is_canary = role != Role::Main;
        roles.push(role);
    }
    roles
}

fn role(part: &Part<'_>, problems: &mut Vec<Problem>) -> Role {
    match read(part, "canary", value::boolean, problems) {
        Setting::Absent | Setting::Given(false) => Role::Main,
        // Were it taken for another Ingress, it would answer all that it was to have a share of.
        Setting::Invalid => Role::Canary(None),
        Setting::Given(true) => Role::Canary(canary(part, problems)),
    }
}

/// Where a path is written: namespace, host, type and path.
type Place<'p> = (&'p str, Option<HostMatch>, &'p str, &'p str);

/// The Ingresses that are no canaries, by the paths that they write.
#[derive(Debug)]
pub(super) struct Mains<'p, 'a>(BTreeMap<Place<'p>, &'p Part<'a>>);

impl<'p, 'a> Mains<'p, 'a> {
    pub(super) fn of(parts: &'p [Part<'a>]) -> Self {
        let mut all = BTreeMap::new();
        // Nobody else asks for them.
        if parts.iter().any(|part| part.is_canary) {
            for part in parts.iter().filter(|part| !part.is_canary) {
                for rule in &part.ingress.rules {
                    let places = rule.paths.iter().filter_map(|path| place(part, rule, path));
                    places.for_each(|place| _ = all.entry(place).or_insert(part));
                }
            }
        }
        Self(all)
    }

    /// The first Ingress of the namespace with a canary's host and path, as they are written.
    pub(super) fn beside<'c>(
        &self,
        canary: &'c Part<'_>,
        rule: &'c IngressRule,
        path: &'c IngressPath,
    ) -> Option<&'p Part<'a>>
    where
        'p: 'c,
    {
        self.0.get(&place(canary, rule, path)?).copied()
    }
}

/// None where the host cannot be read.
fn place<'p>(part: &'p Part<'_>, rule: &'p IngressRule, path: &'p IngressPath) -> Option<Place<'p>> {
    let host = rule.host.as_deref().filter(|text| !text.is_empty());
    let host = host.map(HostMatch::parse).transpose().ok()?;
    let text = path.path.as_deref().unwrap_or_default();
    Some((&part.ingress.meta.name.namespace, host, &path.path_type, text))
}

fn read<T>(
    part: &Part<'_>,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
    problems: &mut Vec<Problem>,
) -> Setting<T> {
    match part.annotations.get(name).or_else(|| part.nginx(name)) {
        Some(written) => part.annotations.read_written(written, parse, problems),
        None => Setting::Absent,
    }
}

fn canary(part: &Part<'_>, problems: &mut Vec<Problem>) -> Option<Canary> {
    let name = |text: &str| HeaderName::parse(text).map_err(|why| why.to_string());
    let number = |text: &str| {
        let number = value::integer(text, 0, i64::from(u32::MAX))?;
        u32::try_from(number).map_err(|error| error.to_string())
    };
    let header = read(part, "canary-by-header", name, problems);
    let exact = read(part, "canary-by-header-value", exactly, problems);
    let pattern = read(part, "canary-by-header-pattern", anywhere, problems);
    // A cookie's name is a token, too.
    let cookie = read(
        part,
        "canary-by-cookie",
        |text| name(text).map(|_| text.to_owned()),
        problems,
    );
    let weight = read(part, "canary-weight", number, problems);
    let total = read(part, "canary-weight-total", number, problems);
    let invalid = [
        header.is_invalid(),
        exact.is_invalid(),
        pattern.is_invalid(),
        cookie.is_invalid(),
        weight.is_invalid(),
        total.is_invalid(),
    ];
    if invalid.contains(&true) {
        return None;
    }
    let total = total.given().unwrap_or(100).max(1);
    let by_header = header
        .given()
        .and_then(|name| by_header(name, exact.given(), pattern.given()));
    let by_cookie = cookie.given().and_then(|name| by_cookie(&name));
    Some(Canary {
        signs: by_header.into_iter().chain(by_cookie).collect(),
        weight: weight.given().unwrap_or_default().min(total),
        total,
    })
}

/// A value to the letter.
fn exactly(text: &str) -> Result<Pattern, String> {
    Pattern::parse(&quoted(text)).map_err(|why| why.to_string())
}

/// An expression that part of a value matches.
fn anywhere(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).map_err(|why| why.to_string())?;
    Pattern::parse(&format!(".*(?:{text}).*")).map_err(|why| why.to_string())
}

fn by_header(name: HeaderName, exact: Option<Pattern>, pattern: Option<Pattern>) -> Option<Sign> {
    if let Some(wanted) = exact.or(pattern) {
        let always = Condition::HeaderRegex {
            name,
            values: vec![wanted],
        };
        return Some(Sign { always, never: None });
    }
    let says = |text| {
        let values = vec![Glob::parse(text).ok()?];
        let name = name.clone();
        Some(Condition::Header { name, values })
    };
    Some(Sign {
        always: says("always")?,
        never: says("never"),
    })
}

fn by_cookie(name: &str) -> Option<Sign> {
    let field = HeaderName::parse("cookie").ok()?;
    let says = |text: &str| {
        let pattern = format!("(?:.*; *)?{}={text}(?:;.*)?", quoted(name));
        Some(Condition::HeaderRegex {
            name: field.clone(),
            values: vec![Pattern::parse(&pattern).ok()?],
        })
    };
    Some(Sign {
        always: says("always")?,
        never: says("never"),
    })
}

/// Takes the rules of canaries away, and gives them their share of those they stand beside.
pub(super) fn share(
    parts: &[Part<'_>],
    roles: &[Role],
    backends: &BTreeMap<BackendId, Shared<Backend>>,
    drafts: &mut [Drafts],
    problems: &mut Vec<Problem>,
) {
    let members = || parts.iter().zip(roles).enumerate();
    for (at, (part, role)) in members() {
        let Role::Canary(canary) = role else {
            continue;
        };
        let own = std::mem::take(&mut drafts[at]);
        let Some(canary) = canary else {
            continue;
        };
        let mut alone: Vec<&Origin> = Vec::new();
        for draft in own.drafts.iter().filter(|draft| draft.piece_of.is_none()) {
            let Action::Forward(forward) = &draft.rule.action else {
                continue;
            };
            let beside = members().filter(|(_, (other, role))| {
                **role == Role::Main && other.ingress.meta.name.namespace == part.ingress.meta.name.namespace
            });
            let mut found = false;
            for (main, _) in beside {
                let all = std::mem::take(&mut drafts[main].drafts);
                drafts[main].drafts = all
                    .into_iter()
                    .flat_map(|rule| {
                        match stands_beside(draft, &rule) && verifies_as(forward, &rule, backends) {
                            true => {
                                found = true;
                                canary.pieces(&rule, forward)
                            }
                            false => vec![rule],
                        }
                    })
                    .collect();
            }
            if !found && !alone.contains(&&draft.rule.origin) {
                alone.push(&draft.rule.origin);
            }
        }
        for at in alone {
            let message = "it is a canary, and no other Ingress of the namespace forwards the same host and path, as \
                           open as it is, without a canary yet: it gets no requests";
            problems.push(Problem::new(Code::CanaryAlone, at.clone(), message));
        }
    }
}

/// Whether a canary's rule asks for the same requests, and restricts nothing that the other would not.
fn stands_beside(canary: &Draft, main: &Draft) -> bool {
    let (own, other) = (&canary.rule, &main.rule);
    let unguarded = &other.conditions[..other.conditions.len() - main.guards];
    main.piece_of.is_none()
        && matches!(other.action, Action::Forward(_))
        && own.hosts == other.hosts
        && own.paths == other.paths
        && (own.conditions == other.conditions || own.conditions == unguarded)
        && (own.clients.is_off() || own.clients == other.clients)
        && (own.tls_policy.is_none() || tls_policy(own) == tls_policy(other))
        && (own.authenticate.is_none() || own.authenticate == other.authenticate)
        && own.filters.is_none()
        && own.rewrites.is_empty()
}

fn tls_policy(rule: &Rule) -> Option<&str> {
    rule.tls_policy.as_ref().map(|policy| policy.name.as_str())
}

/// Whether no request whose target is verified would go to one that is not.
fn verifies_as(canary: &Forward, main: &Draft, backends: &BTreeMap<BackendId, Shared<Backend>>) -> bool {
    let is_verified = |share: &WeightedBackend| {
        let backend = backends.get(&share.backend);
        backend.is_some_and(|backend| backend.protocol.tls.verification().is_some())
    };
    match &main.rule.action {
        Action::Forward(main) => {
            !main.backends.iter().any(is_verified) || canary.backends.iter().all(is_verified)
        }
        Action::Redirect(_) | Action::Fixed(_) => true,
    }
}

impl Canary {
    /// The rules that one rule becomes, each before the next.
    fn pieces(&self, main: &Draft, to: &Forward) -> Vec<Draft> {
        let mut pieces = Vec::new();
        let at = |piece: usize| Written {
            piece: main.place.piece + piece,
            ..main.place
        };
        let mut put = |condition: &Condition, action: &Action| {
            let mut draft = main.clone();
            draft.rule.conditions.push(condition.clone());
            draft.rule.action = action.clone();
            draft.place = at(pieces.len());
            draft.piece_of = Some(main.rule.conditions.len());
            pieces.push(draft);
        };
        let to_canary = Action::Forward(to.clone());
        for (order, sign) in self.signs.iter().enumerate() {
            put(&sign.always, &to_canary);
            // Where nothing else could lead to the canary, the rule itself says no.
            let decides = self.weight > 0 || order + 1 < self.signs.len();
            if let Some(never) = sign.never.as_ref().filter(|_| decides) {
                put(never, &main.rule.action);
            }
        }
        let mut rest = main.clone();
        if let (Action::Forward(forward), true) = (&mut rest.rule.action, self.weight > 0) {
            forward.backends = self.weighted(&forward.backends, &to.backends);
        }
        rest.place = at(pieces.len());
        rest.piece_of = Some(main.rule.conditions.len());
        pieces.push(rest);
        pieces
    }

    /// The shares of both, of which the canary has as much as its weight says.
    fn weighted(&self, main: &[WeightedBackend], canary: &[WeightedBackend]) -> Vec<WeightedBackend> {
        let sum = |all: &[WeightedBackend]| all.iter().map(|b| u64::from(b.weight.get())).sum::<u64>();
        // Of a side whose backends have no weight, none gets any.
        let (mains, canaries) = (sum(main).max(1), sum(canary).max(1));
        let part = |all: &[WeightedBackend], share: u32, others: u64| -> Vec<u64> {
            let scaled = all
                .iter()
                .map(|b| u64::from(b.weight.get()) * u64::from(share) * others);
            scaled.collect()
        };
        let mut weights = part(main, self.total - self.weight, canaries);
        weights.extend(part(canary, self.weight, mains));
        let divisor = weights.iter().copied().fold(0, gcd).max(1);
        let largest = weights.iter().copied().max().unwrap_or_default() / divisor;
        let most = u64::from(MOST);
        let scaled = weights.iter().map(|weight| {
            let weight = weight / divisor;
            match (weight, largest > most) {
                (0, _) | (_, false) => weight,
                // A share that was asked for is never rounded to none.
                (_, true) => (weight * most / largest).max(1),
            }
        });
        let backends = main.iter().chain(canary).map(|share| &share.backend);
        let mut out: Vec<WeightedBackend> = Vec::new();
        for (backend, weight) in backends.zip(scaled) {
            let weight = i64::try_from(weight)
                .ok()
                .and_then(|weight| Weight::new(weight).ok());
            let weight = weight.unwrap_or(Weight::ONE);
            match out.iter_mut().find(|known| known.backend == *backend) {
                // Both lead to one Service.
                Some(known) => {
                    let both = i64::from(known.weight.get()) + i64::from(weight.get());
                    known.weight = Weight::new(both).unwrap_or(known.weight);
                }
                None => out.push(WeightedBackend {
                    backend: backend.clone(),
                    weight,
                }),
            }
        }
        out
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    match b {
        0 => a,
        _ => gcd(b, a % b),
    }
}
