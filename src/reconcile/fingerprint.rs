//! A provider's fingerprint and what a pass has to tell in, the text that is recorded out.

use sha2::{Digest, Sha256};

use super::outcome::Outcome;
use crate::crd::Mode;

/// Two parts: what should exist, and what is told about it. Where either differs from the record, there is work.
pub fn of(compiled: &str, mode: Mode, outcome: &Outcome) -> String {
    let mut digest = Sha256::new();
    let mut part = |text: &str| {
        digest.update(text.as_bytes());
        digest.update([0]);
    };
    part(match mode {
        Mode::Apply => "apply",
        Mode::Plan => "plan",
    });
    for member in &outcome.members {
        part(&member.meta.name.to_string());
        part(&member.meta.uid);
    }
    part("ports");
    for port in outcome.ports.keys() {
        part(&port.to_string());
    }
    part("problems");
    for problem in &outcome.problems {
        part(&problem.to_string());
    }
    let told: String = digest
        .finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{compiled}.{told}")
}
