//! The members in; what they ask of load balancers and listeners by AWS's attributes, and the proxy does otherwise, told.

use portcullis_model::Problem;

use super::annotations::attributes::Of;
use super::member::Part;
use super::settings::{Merge, Settings};

/// Once for each member, whatever its rules. Where each group is a load balancer, its provider has them.
pub(super) fn tell(parts: &[Part<'_>], settings: &Settings, problems: &mut Vec<Problem>) {
    match settings.merge {
        Merge::ByGroup => return,
        Merge::OneLoadBalancer => {}
    }
    for part in parts {
        let whole = part.whole();
        let name = "load-balancer-attributes";
        for written in [whole.own(name), whole.class(name)].into_iter().flatten() {
            whole.tell_unheeded(Of::LoadBalancer, written, problems);
        }
        for (_, written) in part.annotations.family("listener-attributes.") {
            part.annotations.tell_unheeded(Of::Listener, written, problems);
        }
    }
}
