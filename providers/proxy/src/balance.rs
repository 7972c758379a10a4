//! Backends with their targets in, the target of a request out.
//!
//! A backend is drawn by weight, then a target: of two drawn at random the one with fewer requests under way. What
//! is under way is counted per address over all backends, and survives a change of configuration.
//!
//! Draining targets get no new requests while any is ready. Where none is, they serve on, as kube-proxy falls back
//! to endpoints that are serving though terminating (KEP-1669). Where there is none at all, the request is answered 503.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use portcullis_model::{
    Backend, BackendId, BackendProtocol, Code, Problem, Target, TargetAddress, TargetState,
};

use crate::table::{Choice, Forward};

/// Asks to keep each client at one target. Source: ELBv2 API, TargetGroupAttribute.
const STICKY: &str = "stickiness.enabled";

/// A backend as it is now.
#[derive(Debug)]
pub(crate) struct LiveBackend {
    pub(crate) id: BackendId,
    pub(crate) protocol: BackendProtocol,
    /// Longest time until it has answered; the proxy's default where absent.
    pub(crate) timeout: Option<Duration>,
    /// Those that may have new requests.
    targets: Box<[Arc<LiveTarget>]>,
}

/// A target and what is under way to it.
#[derive(Debug)]
pub(crate) struct LiveTarget {
    pub(crate) address: SocketAddr,
    outstanding: AtomicU32,
}

pub(crate) type Targets = HashMap<SocketAddr, Arc<LiveTarget>>;

impl LiveBackend {
    /// Takes the counts of targets that stay from `previous`, and enters all its targets in `targets`.
    pub(crate) fn build(
        backend: &Backend,
        previous: Option<&Targets>,
        targets: &mut Targets,
    ) -> (Self, Vec<Problem>) {
        let mut problems = Vec::new();
        if backend
            .attributes
            .get(STICKY)
            .is_some_and(|value| value == "true")
        {
            problems.push(Problem::new(
                Code::OptionUnsupported,
                backend.origin.clone(),
                format!(
                    "{STICKY}: the proxy does not keep a client at one target of {}",
                    backend.id
                ),
            ));
        }
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
            let kept = || previous.and_then(|p| p.get(&address)).cloned();
            let live = targets
                .entry(address)
                .or_insert_with(|| kept().unwrap_or_else(|| Arc::new(LiveTarget::new(address))));
            match target.state {
                TargetState::Ready => ready.push(live.clone()),
                TargetState::Draining => draining.push(live.clone()),
            }
        }
        let serving = if ready.is_empty() { draining } else { ready };
        let live = Self {
            id: backend.id.clone(),
            protocol: backend.protocol.clone(),
            timeout: backend.timeout_seconds.map(|s| Duration::from_secs(s.into())),
            targets: serving.into(),
        };
        (live, problems)
    }

    /// The better of two targets drawn at random, of those not tried yet.
    pub(crate) fn choose(&self, random: &Random, tried: &[SocketAddr]) -> Option<Arc<LiveTarget>> {
        let count = self.targets.len();
        let first = random.below(count);
        let second = random.below(count.saturating_sub(1));
        // Uniform over the others: what lies behind the first moves up by one.
        let second = if second >= first { second + 1 } else { second };
        let one = self.targets.get(first)?;
        let other = self.targets.get(second).unwrap_or(one);
        let better = if other.outstanding() < one.outstanding() {
            other
        } else {
            one
        };
        if !tried.contains(&better.address) {
            return Some(better.clone());
        }
        self.targets.iter().find(|t| !tried.contains(&t.address)).cloned()
    }
}

fn socket_address(target: &Target) -> Option<SocketAddr> {
    match &target.address {
        TargetAddress::Ip(ip) => Some(SocketAddr::new(*ip, target.port.get())),
        TargetAddress::Instance(_) => None,
    }
}

impl LiveTarget {
    fn new(address: SocketAddr) -> Self {
        Self {
            address,
            outstanding: AtomicU32::new(0),
        }
    }

    /// Requests under way, over all workers.
    pub(crate) fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }
}

/// A request under way to a target; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<LiveTarget>);

impl UnderWay {
    pub(crate) fn to(target: Arc<LiveTarget>) -> Self {
        target.outstanding.fetch_add(1, Ordering::Relaxed);
        Self(target)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.outstanding.fetch_sub(1, Ordering::Relaxed);
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
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
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
