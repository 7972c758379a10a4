//! Seconds and a seed in; messages that nobody wrote through the codec of HTTP/1.1, and which of them broke it, out.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

use crate::step;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 900)]
    seconds: u64,
    /// Which messages: the same seed gives the same ones [default: another each time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let seed = arguments.seed.unwrap_or_else(now);
    let mut test = step::cargo(&[
        "test",
        "--package",
        "portcullis-proxy",
        "--lib",
        "http1::fuzz",
        "--",
    ]);
    test.arg("--nocapture")
        .env("PORTCULLIS_FUZZ_SECONDS", arguments.seconds.to_string())
        .env("PORTCULLIS_FUZZ_SEED", seed.to_string());
    step::run(&mut test)
}

#[expect(clippy::disallowed_methods, reason = "a seed nobody gave is the time")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map(|since| since.as_secs()).unwrap_or_default()
}
