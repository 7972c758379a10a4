//! nginx and HAProxy of this machine in, what they make of the corpus of HTTP/1.1 out, beside it.

use std::process::Command;

use anyhow::{Result, bail};

use crate::step;

pub(crate) fn run() -> Result<()> {
    for program in ["nginx", "haproxy"] {
        if step::output(Command::new(program).arg("-v")).is_none() {
            bail!("{program} is missing: apt-get install nginx haproxy");
        }
    }
    let mut test = step::cargo(&["test", "--package", "portcullis-proxy", "--test", "corpus"]);
    step::run(test.env("PORTCULLIS_PEERS", "1"))
}
