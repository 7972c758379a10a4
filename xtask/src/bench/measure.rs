//! A row in, its figures for each peer and round out.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::load;
use super::own::many;
use super::peers::{self, Peer};
use super::programs::Programs;
use super::running::Running;
use super::scenario::{IDLE_SECONDS, Load, Rate, Scenario, Setting};
use super::{layout, ours, proxy::Arguments};

/// What one row came to: for each peer, in its order, what each round yielded.
#[derive(Debug)]
pub(super) struct Measured {
    pub(super) scenario: &'static Scenario,
    pub(super) peers: Vec<Peer>,
    pub(super) rounds: Vec<Vec<Vec<f64>>>,
    /// Connections, where there are many.
    pub(super) many: u32,
    /// Requests a second, where they are measured first.
    pub(super) rate: Option<u32>,
}

pub(super) fn measure(
    scenario: &'static Scenario,
    arguments: &Arguments,
    programs: &Programs,
) -> Result<Measured> {
    let folder = layout::lay_out(scenario, programs)?;
    let peers: Vec<Peer> = scenario
        .peers
        .iter()
        .copied()
        .filter(|p| programs.of(*p).is_some())
        .collect();
    let _backend = peers::backend(&folder, scenario, programs)?;
    let mut rounds = vec![Vec::new(); peers.len()];
    let start = |peer: Peer| peer.start(&folder, scenario, programs, &arguments.flags);
    let turn = |peer: Peer, seconds: u32| Turn {
        scenario,
        load: scenario.load,
        folder: &folder,
        programs,
        peer,
        seconds,
    };
    let mut standing = Vec::new();
    if !scenario.is_of_memory() {
        for peer in &peers {
            let mut running = start(*peer)?;
            // The first requests open what the later ones find.
            turn(*peer, 1).of(&mut running)?;
            standing.push(running);
        }
    }
    let rate = half_of_most(&peers, arguments.seconds, turn)?;
    for round in 0..arguments.rounds.min(scenario.most_rounds) {
        let mut order: Vec<usize> = (0..peers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for at in order {
            let peer = peers[at];
            let turn = Turn {
                load: rate.map_or(scenario.load, |rate| scenario.load.at(rate)),
                ..turn(peer, arguments.seconds)
            };
            let figures = match standing.get_mut(at) {
                Some(running) => turn.of(running)?,
                // Has its memory to itself, and nothing of an earlier turn's.
                None => turn.of(&mut start(peer)?)?,
            };
            let shown: Vec<String> = figures.iter().map(|figure| format!("{figure:.2}")).collect();
            eprintln!("{} {}: {}", scenario.name, peer.name(), shown.join(", "));
            rounds[at].push(figures);
        }
    }
    Ok(Measured {
        scenario,
        peers,
        rounds,
        many: many()?,
        rate,
    })
}

/// The rate of a load that has none of its own.
fn half_of_most<'a>(
    peers: &[Peer],
    seconds: u32,
    turn: impl Fn(Peer, u32) -> Turn<'a>,
) -> Result<Option<u32>> {
    let mut least = None;
    for peer in [Peer::HAProxy, Peer::PortcullisOwn]
        .into_iter()
        .filter(|peer| peers.contains(peer))
    {
        let turn = turn(peer, seconds);
        let Load::Kept {
            connections,
            rate: Rate::HalfOfMost,
            ..
        } = turn.load
        else {
            return Ok(None);
        };
        let rate = load::half_of_most(turn.load()?, connections, seconds)?;
        eprintln!(
            "{} {}: half of the most is {rate} a second",
            turn.scenario.name,
            peer.name()
        );
        least = Some(least.map_or(rate, |least: u32| least.min(rate)));
    }
    Ok(least)
}

/// One peer under one load.
pub(super) struct Turn<'a> {
    scenario: &'a Scenario,
    load: Load,
    pub(super) folder: &'a Path,
    pub(super) programs: &'a Programs,
    pub(super) peer: Peer,
    pub(super) seconds: u32,
}

impl Turn<'_> {
    fn of(&self, running: &mut Running) -> Result<Vec<f64>> {
        match self.load {
            Load::Idle { .. } => self.idle_kib(running).map(|kib| vec![kib]),
            Load::None => Ok(vec![as_float(running.resident_kib()?) / 1_024.0]),
            Load::Kept { .. } if self.scenario.setting == Setting::Workers => {
                self.busiest(running).map(|ratio| vec![ratio])
            }
            Load::Kept { .. } | Load::New { .. } => self.cost(running),
            Load::Own(own) => ours::figures(self, own, running),
        }
    }

    fn load(&self) -> Result<load::Running> {
        let routes = self.scenario.setting == Setting::Routes;
        load::start(&self.load, routes, self.folder, self.peer, self.seconds)
    }

    /// Processor seconds of 100,000 requests; and how long one of them took.
    fn cost(&self, running: &mut Running) -> Result<Vec<f64>> {
        let before = running.spent()?;
        let answered = self.load()?.answered()?;
        let spent = running.spent()? - before;
        Ok(vec![per_100_000(spent, answered.requests), answered.p99])
    }

    /// KiB of one connection.
    fn idle_kib(&self, running: &mut Running) -> Result<f64> {
        let before = running.resident_kib()?;
        let load = self.load()?;
        wait(Duration::from_secs(u64::from(IDLE_SECONDS) / 2));
        let grown = running.resident_kib()?.saturating_sub(before);
        // Each connection has asked twice.
        Ok(as_float(grown) / as_float(load.answered()?.requests / 2))
    }

    /// The processor time of the busiest of four threads, to the mean of the four.
    fn busiest(&self, running: &mut Running) -> Result<f64> {
        let before = running.threads()?;
        self.load()?.answered()?;
        let mut spent: Vec<u64> = running
            .threads()?
            .iter()
            .map(|(id, time)| time - before.get(id).copied().unwrap_or_default())
            .collect();
        spent.sort_unstable_by(|a, b| b.cmp(a));
        spent.truncate(4);
        let sum: u64 = spent.iter().sum();
        Ok(as_float(spent[0] / 1_000) / as_float(sum / 4_000))
    }
}

pub(super) fn per_100_000(nanoseconds: u64, requests: u64) -> f64 {
    as_float(nanoseconds / 1_000) / 1e6 / as_float(requests) * 100_000.0
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is measured is that nothing happens for a while"
)]
pub(super) fn wait(time: Duration) {
    std::thread::sleep(time);
}

/// Counts are far below 2^32.
pub(super) fn as_float(count: u64) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}
