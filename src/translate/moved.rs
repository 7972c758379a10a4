//! Members that say what they want by ingress-nginx's annotations in, the same without those that are read nowhere out.

use portcullis_model::{Problem, Semantics};

use super::annotations::nginx;
use super::member::Part;

/// Tells what is not read, and closes what would be more open than it was there.
pub(super) fn review(parts: &mut [Part<'_>], problems: &mut Vec<Problem>) {
    for part in parts {
        if part.semantics != Semantics::Kubernetes || part.is_canary {
            continue;
        }
        let closed = nginx::review(&part.annotations, problems);
        part.refusal = part.refusal.or(closed);
    }
}
