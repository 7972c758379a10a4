//! A command that this build lacks in, how to get it out.

use clap::Args;

use super::Ended;

/// Takes whatever the command would take.
#[derive(Debug, Args)]
pub(super) struct Lacking {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

impl Lacking {
    pub(super) fn explain(&self, command: &str, feature: &str) -> Ended {
        say(command, feature);
        Ended::Usage
    }
}

#[expect(clippy::print_stderr, reason = "it answers a person at a terminal")]
fn say(command: &str, feature: &str) {
    eprintln!(
        "portcullis: this build lacks `{command}`; build it with `cargo build --release --features {feature}`"
    );
}
