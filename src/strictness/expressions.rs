//! A load balancer in, its regular expressions as its semantics mean them out.
//!
//! The incumbent hands expressions to AWS as they are written, which may then match any part of a value: AWS documents
//! no anchors. Kubernetes semantics anchor them.

use portcullis_model::{Condition, HostMatch, LoadBalancer, PathMatch, Pattern, Rule, Semantics};

/// As requests meet it: an expression that nothing anchors matches any part.
pub(super) fn as_meant(balancer: &LoadBalancer) -> LoadBalancer {
    let mut out = balancer.clone();
    match balancer.semantics {
        Semantics::Kubernetes => {}
        Semantics::AwsLoadBalancerController => {
            for rule in &mut out.rules {
                *rule = with_expressions(rule, |text| format!(".*(?:{text}).*"));
            }
        }
    }
    out
}

/// As people read it: with the anchors that it has.
pub(super) fn as_shown(rule: &Rule, semantics: Semantics) -> Rule {
    match semantics {
        Semantics::AwsLoadBalancerController => rule.clone(),
        Semantics::Kubernetes => with_expressions(rule, |text| {
            if text.contains('|') {
                return format!("^(?:{text})$");
            }
            let inner = text.strip_prefix('^').unwrap_or(text);
            let anchored = inner.strip_suffix('$').filter(|rest| !rest.ends_with('\\'));
            format!("^{}$", anchored.unwrap_or(inner))
        }),
    }
}

fn with_expressions(rule: &Rule, edit: impl Fn(&str) -> String) -> Rule {
    let mut out = rule.clone();
    let edited = |pattern: &mut Pattern| {
        // What grows too long stays as it is.
        if let Ok(other) = Pattern::parse(&edit(pattern.as_str())) {
            *pattern = other;
        }
    };
    for host in &mut out.hosts {
        if let HostMatch::Regex(pattern) = host {
            edited(pattern);
        }
    }
    for path in &mut out.paths {
        if let PathMatch::Regex(pattern) = path {
            edited(pattern);
        }
    }
    for condition in &mut out.conditions {
        if let Condition::HeaderRegex { values, .. } = condition {
            values.iter_mut().for_each(&edited);
        }
    }
    out
}
