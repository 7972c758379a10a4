//! A seed in; random changes in a real cluster while the network to AWS fails and the program is killed, and afterwards
//! whether AWS has exactly what the cluster asks for, out.
//!
//! `cargo xtask chaos --seed N --rounds N` runs one seed for long; as an ordinary test a few seeds run for a short time.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(dead_code, reason = "the world has more to it than chaos needs")]
#![expect(
    clippy::disallowed_methods,
    reason = "it waits for conditions on a thread of its own, and xtask hands it a seed"
)]
#![expect(clippy::unwrap_used, reason = "a panic is a test's report")]

#[path = "chaos/actions.rs"]
mod actions;
#[path = "chaos/guard.rs"]
mod guard;
#[path = "chaos/program.rs"]
mod program;
#[path = "chaos/secured.rs"]
mod secured;
#[path = "chaos/told.rs"]
mod told;
#[path = "controller/world.rs"]
mod world;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_test_support::{Faults, Script};
use serde_json::Value;

use self::actions::Actor;
use self::program::Program;
use self::world::{INGRESSES, RECORDS, World, condition};

/// Seeds of the ordinary test: killed, with stale reads; and neither, without another look at what exists.
const SEEDS: [u64; 2] = [1, 2];
const ROUNDS: u64 = 3;
/// Longest time until all is as it should be once nothing fails any more.
const CONVERGED_WITHIN: Duration = Duration::from_secs(90);

#[test]
fn what_exists_is_what_is_asked_for_once_faults_end() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = number("PORTCULLIS_CHAOS_SEED").map_or(SEEDS.to_vec(), |seed| vec![seed]);
    let rounds = number("PORTCULLIS_CHAOS_ROUNDS").unwrap_or(ROUNDS);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let world = Arc::new(runtime.block_on(World::start()));
    actions::furnish(&world);
    let nothing = world.everything();
    for seed in seeds {
        eprintln!("seed {seed}, {rounds} rounds; again: cargo xtask chaos --seed {seed} --rounds {rounds}");
        actions::begin(&world);
        storm(&world, seed, rounds);
        assert_eq!(
            world.everything(),
            nothing,
            "seed {seed}: all Ingresses are gone, and something is left"
        );
    }
}

/// Some rounds of faults, then calm: what exists must be what is asked for, and nothing once nothing is.
fn storm(world: &Arc<World>, seed: u64, rounds: u64) {
    let faults = Arc::new(Faults::before(&world.moto));
    faults.after_each_write(guard::of(world));
    // Who was told what was true some seconds ago can believe that all is well; only another look mends that. Whatever
    // else goes wrong must be mended without one.
    let (stale, sync_period) = if seed % 2 == 1 {
        (true, "4s")
    } else {
        (false, "10h")
    };
    // One that stands by takes over from one that is killed.
    let replicas = if (seed / 4).is_multiple_of(2) { 1 } else { 2 };
    let start = || Program::start(world, &faults, sync_period, replicas > 1);
    let mut programs: VecDeque<Program> = (0..replicas).map(|_| start()).collect();
    let kill = |programs: &mut VecDeque<Program>| {
        programs.pop_front().unwrap().kill();
        programs.push_back(start());
    };
    let mut actor = Actor::new(seed);
    // A killed program forgets what it believed wrongly: half of the seeds let it live.
    let killed = if (seed / 2).is_multiple_of(2) { 50 } else { 0 };
    let begun = Instant::now();
    for round in 0..rounds {
        let permille = match actor.draw(4) {
            0 => 400,
            _ => actor.draw(150),
        };
        faults.follow(Script::Random {
            seed: actor.draw(u64::MAX),
            permille,
            stale,
        });
        let acts = 1 + actor.draw(4);
        for _ in 0..acts {
            let done = actor.act(world);
            eprintln!("{:6.1} s  round {round}: {done}", begun.elapsed().as_secs_f32());
        }
        let calls = usize::try_from(actor.draw(90)).unwrap();
        wait_for_calls(&faults, calls);
        if actor.draw(100) < killed {
            eprintln!(
                "{:6.1} s  round {round}: killed after {calls} calls or in peace, {permille} ‰ faults",
                begun.elapsed().as_secs_f32()
            );
            kill(&mut programs);
        }
    }
    faults.follow(Script::Calm);
    if killed == 0 || actor.draw(2) == 0 {
        // What failed is tried again more and more seldom, or as soon as something changes.
        actor.touch(world);
    } else {
        kill(&mut programs);
    }
    converged(world, &faults, &programs, seed, "all is as asked for", || {
        unsettled(world).or_else(|| program::differs(world))
    });
    eprintln!("{:6.1} s  converged", begun.elapsed().as_secs_f32());
    for name in actor.ingresses() {
        world.delete(&format!("{INGRESSES}/{name}"));
    }
    converged(world, &faults, &programs, seed, "nothing is left", || {
        let records = world.get(RECORDS).unwrap();
        let left = records["items"].as_array().unwrap().len();
        (left > 0).then(|| format!("{left} records: {records:#}"))
    });
    eprintln!("{:6.1} s  gone", begun.elapsed().as_secs_f32());
    programs.into_iter().for_each(Program::kill);
    assert_eq!(
        faults.broken(),
        [""; 0],
        "seed {seed}: what must hold at every moment"
    );
}

/// Until so many calls were made, or none was for a while.
fn wait_for_calls(faults: &Faults, calls: usize) {
    let end = faults.seen() + calls;
    let (mut last, mut since) = (faults.seen(), Instant::now());
    while faults.seen() < end && since.elapsed() < Duration::from_millis(1500) {
        if faults.seen() != last {
            (last, since) = (faults.seen(), Instant::now());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Why not everything is told to be as asked for.
fn unsettled(world: &World) -> Option<String> {
    let records = world.get(RECORDS).unwrap();
    for record in records["items"].as_array().unwrap() {
        if condition(record, "Settled") != "True" {
            return Some(format!("{record:#}"));
        }
    }
    let ingresses = world.get(INGRESSES).unwrap();
    let shows = |ingress: &Value| ingress["status"]["loadBalancer"]["ingress"][0]["hostname"].is_string();
    let silent = ingresses["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|ingress| !shows(ingress))?;
    Some(format!("no address: {silent:#}"))
}

/// Waits until nothing is told to be wrong.
fn converged(
    world: &World,
    faults: &Faults,
    programs: &VecDeque<Program>,
    seed: u64,
    what: &str,
    wrong: impl Fn() -> Option<String>,
) {
    let begun = Instant::now();
    while let Some(how) = wrong() {
        if begun.elapsed() > CONVERGED_WITHIN {
            let calls = faults.told();
            let last = calls.len().saturating_sub(60);
            panic!(
                "seed {seed}: not within {CONVERGED_WITHIN:?}: {what}\n{how}\n--- calls:\n{}\n--- log:\n{}\n--- exists:\n{}",
                calls[last..].join("\n"),
                programs
                    .iter()
                    .map(Program::end_of_log)
                    .collect::<Vec<_>>()
                    .join("\n--- log:\n"),
                world.everything().join("\n"),
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}
