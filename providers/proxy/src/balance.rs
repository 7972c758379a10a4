//! Backends with their targets in, the target of a request out.
//!
//! A backend is drawn by weight, then a target: of two drawn at random the one with fewer requests under way. What
//! is under way is counted per address over all backends. A target that rests after failed connections of this backend is
//! passed over while another does not; one that warms up takes its share by and by. All that survives a change of
//! configuration. Where the proxy knows its zone, targets of that zone come first ([`crate::zones`]). Where requests of one
//! key are to go to one target, the key decides instead ([`crate::affinity`]).
//!
//! Draining targets get no new requests while any is ready. Where none is, they serve on, as kube-proxy falls back
//! to endpoints that are serving though terminating (KEP-1669). Where there is none at all, the request is answered 503.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portcullis_model::{
    Backend, BackendId, BackendProtocol, Code, Problem, Target, TargetAddress, TargetState, Waits,
};
use tokio::time::Instant;

use crate::affinity::Affinity;
use crate::budget::Budget;
use crate::checks::Check;
use crate::settings::Timeouts;
use crate::sticky::TargetSticky;
use crate::table::{Choice, Forward};
use crate::target::LiveTarget;
use crate::targets::Targets;
use crate::verified::Security;
use crate::zones::Zones;

/// Seconds in which a new target comes to its full share, 30–900; 0 for at once. Source: ELBv2 API,
/// TargetGroupAttribute.
const SLOW_START: &str = "slow_start.duration_seconds";

/// A backend as it is now.
#[derive(Debug)]
pub(crate) struct LiveBackend {
    pub(crate) id: BackendId,
    pub(crate) protocol: BackendProtocol,
    /// None where what targets are to be verified by cannot be had: none is spoken to.
    pub(crate) security: Option<Security>,
    /// Whether connections begin with whom they are for.
    pub(crate) proxy_protocol: bool,
    /// Longest time until it has answered; the proxy's default where absent.
    timeout: Option<Duration>,
    /// The same of what else it is waited for.
    waits: Waits,
    /// None where a client may be sent to any target each time.
    pub(crate) sticky: Option<TargetSticky>,
    /// None where a request may be sent to any target.
    pub(crate) affinity: Option<Affinity>,
    /// None where targets are asked for nothing.
    pub(crate) check: Option<Arc<Check>>,
    /// Of tries after the first.
    pub(crate) budget: Arc<Budget>,
    slow_start: Option<Duration>,
    /// Those that may have new requests.
    targets: Box<[Arc<LiveTarget>]>,
    zones: Zones,
    /// Whether something about it could not be had.
    is_lacking: bool,
}

fn seconds(seconds: Option<u32>) -> Option<Duration> {
    seconds.map(|seconds| Duration::from_secs(seconds.into()))
}

/// Longest time until a target has taken a connection.
pub(crate) fn connects_within(said: Option<u32>, of_all: &Timeouts) -> Duration {
    seconds(said).unwrap_or(of_all.connect)
}

impl LiveBackend {
    /// Enters all its targets in `targets`, where those that stay keep their counts. `is_new` says whether those that no
    /// backend had are new among others. Of what it was `before` it keeps the tries, and the health of the targets that it
    /// had and has.
    pub(crate) fn build(
        backend: &Backend,
        security: Result<Security, Problem>,
        targets: &mut Targets,
        is_new: bool,
        before: Option<&Self>,
    ) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        let security = security.map_err(|problem| problems.push(problem)).ok();
        let sticky = TargetSticky::of(backend).unwrap_or_else(|why| {
            problems.push(Problem::new(Code::OptionUnsupported, backend.origin.clone(), why));
            None
        });
        let check = Check::of(backend, security.as_ref()).unwrap_or_else(|why| {
            problems.push(Problem::new(Code::OptionUnsupported, backend.origin.clone(), why));
            None
        });
        let slow_start = backend
            .attributes
            .get(SLOW_START)
            .and_then(|text| text.parse().ok());
        let slow_start = slow_start.filter(|s| *s > 0).map(Duration::from_secs);
        let had = before.map_or(&[][..], |before| &before.targets).iter();
        let had: HashMap<_, _> = had.map(|target| (target.address, target)).collect();
        let mut ready = Vec::new();
        let mut draining = Vec::new();
        for target in backend.targets.iter() {
            let Some(address) = socket_address(target) else {
                problems.push(Problem::new(
                    Code::BackendUnsupported,
                    backend.origin.clone(),
                    format!("target {} of {} has no IP address", target.address, backend.id),
                ));
                continue;
            };
            let load = targets.enter(address, is_new);
            let live = match had.get(&address) {
                Some(same) => Arc::clone(same),
                None => Arc::new(LiveTarget::new(address, load)),
            };
            let live = (target.zone.clone(), live);
            match target.state {
                TargetState::Ready => ready.push(live),
                TargetState::Draining => draining.push(live),
            }
        }
        let (zones, serving) = Zones::sort(if ready.is_empty() { draining } else { ready });
        let live = Self {
            id: backend.id.clone(),
            protocol: backend.protocol.clone(),
            security,
            proxy_protocol: backend.proxy_protocol,
            sticky,
            affinity: backend.affinity.as_ref().map(|key| Affinity::of(key, &serving)),
            check: check.map(Arc::new),
            budget: match before {
                Some(before) => before.budget.clone(),
                None => Arc::new(Budget::new(Instant::now())),
            },
            slow_start,
            timeout: seconds(backend.timeout_seconds),
            waits: backend.waits,
            targets: serving,
            zones,
            is_lacking: !problems.is_empty(),
        };
        (live, problems)
    }

    /// Whether building it of this backend would make the same as of the one it was made of.
    pub(crate) fn is_of(
        &self,
        made_of: &Backend,
        backend: &Backend,
        security: &Result<Security, Problem>,
    ) -> bool {
        made_of.id == backend.id
            && made_of.protocol == backend.protocol
            && self.security.as_ref() == security.as_ref().ok()
            && made_of.proxy_protocol == backend.proxy_protocol
            && made_of.timeout_seconds == backend.timeout_seconds
            && made_of.waits == backend.waits
            && made_of.affinity == backend.affinity
            && made_of.is_checked == backend.is_checked
            && (!backend.is_checked || made_of.health == backend.health)
            && made_of.targets == backend.targets
            && made_of.attributes == backend.attributes
            // What is wrong is told anew, where it is now.
            && !self.is_lacking
    }

    /// Whether building it of the same backend would make the same, whatever lies in Secrets.
    pub(crate) fn is_settled(&self) -> bool {
        !self.is_lacking && matches!(self.security, Some(Security::Plain | Security::Unverified))
    }

    /// Longest time until a target has taken a connection.
    pub(crate) fn connects_within(&self, of_all: &Timeouts) -> Duration {
        connects_within(self.waits.connect_seconds, of_all)
    }

    /// Longest time in which it takes nothing of a request's body.
    pub(crate) fn takes_within(&self, of_all: &Timeouts) -> Duration {
        seconds(self.waits.request_body_seconds).unwrap_or_else(|| self.answers_within(of_all))
    }

    /// Longest time until its answer has begun.
    pub(crate) fn answers_within(&self, of_all: &Timeouts) -> Duration {
        self.timeout.unwrap_or(of_all.answer)
    }

    /// Longest time in which it gives nothing of its answer's body.
    pub(crate) fn goes_on_within(&self, of_all: &Timeouts) -> Duration {
        seconds(self.waits.response_body_seconds).unwrap_or(of_all.body)
    }

    /// Those that may have new requests.
    pub(crate) fn targets(&self) -> &[Arc<LiveTarget>] {
        &self.targets
    }

    /// The target that a client's cookie names, if it may have requests and does not rest.
    pub(crate) fn stuck(&self, mark: u64) -> Option<Arc<LiveTarget>> {
        let mut marked = self.targets.iter().filter(|target| target.mark == mark);
        marked.find(|target| !target.rests()).cloned()
    }

    /// The target of a key, of those not tried yet that have fewer requests under way than `most`.
    pub(crate) fn led(&self, key: u64, tried: &[SocketAddr], most: u32) -> Option<Arc<LiveTarget>> {
        let affinity = self.affinity.as_ref()?;
        let free = |target: &LiveTarget| !tried.contains(&target.address) && !target.load.is_full(most);
        let first = |is_good: &dyn Fn(&LiveTarget, u64) -> bool| affinity.first(key, &self.targets, is_good);
        let has = |target: &LiveTarget, needed| {
            let share = self.slow_start.and_then(|over| target.load.share(over));
            share.is_none_or(|share| needed < u64::from(share))
        };
        first(&|target, needed| free(target) && !target.rests() && has(target, needed))
            .or_else(|| first(&|target, _| free(target) && !target.rests()))
            .or_else(|| first(&|target, _| free(target)))
            .cloned()
    }

    /// The better of two targets drawn at random, of those not tried yet that have fewer requests under way than `most`.
    /// Of the proxy's own zone where that is known and they have room for it, else of all.
    pub(crate) fn choose(
        &self,
        random: &Random,
        zone: Option<&str>,
        tried: &[SocketAddr],
        most: u32,
    ) -> Option<Arc<LiveTarget>> {
        let free = |target: &&Arc<LiveTarget>| !tried.contains(&target.address) && !target.load.is_full(most);
        let good = |target: &&Arc<LiveTarget>| free(target) && !target.rests();
        if let Some(near) = zone.and_then(|zone| self.near(zone, random))
            && let Some(near) = near.into_iter().find(good)
        {
            return Some(near.clone());
        }
        let first = random.below(self.targets.len());
        if let Some(drawn) = self.two(&self.targets, first, random)?.into_iter().find(good) {
            return Some(drawn.clone());
        }
        // Where all rest, each is as good as the other. The search begins anywhere, so that no neighbour takes all.
        let (before, from) = self.targets.split_at(first);
        let all = || from.iter().chain(before).filter(free);
        let least = all().filter(|t| !t.rests()).min_by_key(|t| t.load.outstanding());
        least.or_else(|| all().next()).cloned()
    }

    /// Two of a zone; none where this request is left to all zones.
    fn near(&self, zone: &str, random: &Random) -> Option<[&Arc<LiveTarget>; 2]> {
        let zone = self.zones.named(zone)?;
        let targets = self.targets.get(zone.targets.clone())?;
        let first = random.below(zone.places);
        // The part of one that rests is not its neighbours': they would have more than theirs.
        let drawn = targets.get(first).filter(|target| !target.rests())?;
        if targets.len() == 1 && self.warms(drawn, random) {
            return None;
        }
        self.two(targets, first, random)
    }

    /// The first and another drawn at random, the better before the worse; twice the same where there is no other.
    fn two<'a>(
        &self,
        targets: &'a [Arc<LiveTarget>],
        first: usize,
        random: &Random,
    ) -> Option<[&'a Arc<LiveTarget>; 2]> {
        let second = random.below(targets.len().saturating_sub(1));
        // Uniform over the others: what lies behind the first moves up by one.
        let second = if second >= first { second + 1 } else { second };
        let one = targets.get(first)?;
        let other = targets.get(second).unwrap_or(one);
        let (better, worse) = match other.load.outstanding() < one.load.outstanding() {
            true => (other, one),
            false => (one, other),
        };
        match self.warms(better, random) && !self.warms(worse, random) {
            true => Some([worse, better]),
            false => Some([better, worse]),
        }
    }

    /// Whether a target that warms up leaves this request to another.
    fn warms(&self, target: &LiveTarget, random: &Random) -> bool {
        let Some(share) = self.slow_start.and_then(|over| target.load.share(over)) else {
            return false;
        };
        random.below_u32(1000) >= share
    }
}

/// All targets of a backend, those that get no new requests included.
pub(crate) fn addresses(backend: &Backend) -> impl Iterator<Item = SocketAddr> {
    backend.targets.iter().filter_map(socket_address)
}

fn socket_address(target: &Target) -> Option<SocketAddr> {
    match &target.address {
        TargetAddress::Ip(ip) => Some(SocketAddr::new(*ip, target.port.get())),
        TargetAddress::Instance(_) => None,
    }
}

impl Forward {
    /// The choice for a client whose cookie says `mark`, else one drawn by weight; `None` where all weights are 0.
    pub(crate) fn choose(&self, random: &Random, mark: Option<u64>) -> Option<&Choice> {
        // A backend taken out by weight 0 gets nobody back, whatever the cookie says.
        let stuck = self.choices.iter().find(|c| Some(c.mark) == mark && c.weight > 0);
        if stuck.is_some() || self.total == 0 {
            return stuck;
        }
        let mut left = random.below_u32(self.total);
        self.choices.iter().find(|choice| {
            let weight = u32::from(choice.weight);
            let here = left < weight;
            left = left.saturating_sub(weight);
            here
        })
    }
}

/// Numbers that clients cannot foretell well enough to choose their target; not for secrets. One per worker.
/// The generator is SplitMix64.
#[derive(Debug)]
pub(crate) struct Random(Cell<u64>);

impl Random {
    /// Seeded by the operating system, through the standard library's hasher.
    pub(crate) fn new() -> Self {
        Self(Cell::new(RandomState::new().hash_one(0_u8)))
    }

    pub(crate) fn next(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        mixed(state)
    }

    /// Uniform in `0..bound`; 0 for the bound 0. The product's upper half, so no bound is far from uniform.
    pub(crate) fn below_u32(&self, bound: u32) -> u32 {
        let product = (self.next() >> 32) * u64::from(bound);
        u32::try_from(product >> 32).unwrap_or(0)
    }

    fn below(&self, bound: usize) -> usize {
        let bound = u32::try_from(bound).unwrap_or(u32::MAX);
        usize::try_from(self.below_u32(bound)).unwrap_or(0)
    }
}

/// One number for each, in which a change of any bit changes half of all bits: the last step of SplitMix64.
pub(crate) fn mixed(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
