//! A seed and rounds in; the program under changes, faults and kills, and whether it ended right, out.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::{setup, step};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which changes, faults and kills: the same seed gives the same ones [default: another each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Rounds of changes under faults before all must come right
    #[arg(long, value_name = "N", default_value_t = 20)]
    rounds: u64,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let tools = setup::run()?;
    let seed = arguments.seed.unwrap_or_else(now);
    let name = "what_exists_is_what_is_asked_for_once_faults_end";
    let mut test = step::cargo(&[
        "test",
        "--features",
        "full",
        "--test",
        "chaos",
        name,
        "--",
        "--nocapture",
    ]);
    test.envs(tools.environment())
        .env("PORTCULLIS_CHAOS_SEED", seed.to_string())
        .env("PORTCULLIS_CHAOS_ROUNDS", arguments.rounds.to_string());
    step::run(&mut test)
}

#[expect(clippy::disallowed_methods, reason = "a seed nobody gave is the time")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map(|since| since.as_secs()).unwrap_or_default()
}
