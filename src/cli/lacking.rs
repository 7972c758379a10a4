//! A command that this build lacks in, how to get it out.

use clap::Args;

use super::Ended;

/// Takes whatever the command would take.
#[derive(Debug, Args)]
pub(super) struct Lacking {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

/// Says so to a person at a terminal.
#[expect(clippy::print_stderr, reason = "it answers a person at a terminal")]
pub(super) fn explain(command: &str, feature: &str) -> Ended {
    eprintln!(
        "portcullis: this build lacks `{command}`; build it with `cargo build --release --features {feature}`"
    );
    Ended::Usage
}
