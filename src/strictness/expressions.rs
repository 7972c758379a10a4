//! A load balancer in, its regular expressions as its semantics mean them out.
//!
//! The incumbent hands expressions to AWS as they are written, which may then match any part of a value: AWS documents
//! no anchors. Kubernetes semantics anchor them.

use portcullis_model::{Condition, HostMatch, LoadBalancer, PathMatch, Pattern, Rewrite, Rule, Semantics};

/// As requests meet it: an expression that nothing anchors matches any part.
pub(super) fn as_meant(balancer: &LoadBalancer) -> LoadBalancer {
    let mut out = balancer.clone();
    match balancer.semantics {
        Semantics::Kubernetes => {}
        Semantics::AwsLoadBalancerController => {
            for rule in &mut out.rules {
                *rule = with_expressions(rule, |text| format!(".*(?:{text}).*"));
                rule.rewrites.iter_mut().for_each(replace_a_part);
            }
        }
    }
    out
}

/// What stands around the part that matches stays: it becomes a group before those that the replacement names, and one
/// after them.
fn replace_a_part(rewrite: &mut Rewrite) {
    let last = rewrite.pattern.groups() + 2;
    let pattern = Pattern::parse(&format!("(.*?)(?:{})(.*)", rewrite.pattern.as_str()));
    // A replacement names groups up to $9.
    if let (Ok(pattern), true) = (pattern, last <= 9) {
        let mut parts = rewrite.replacement.split('$');
        let mut replacement = format!("$1{}", parts.next().unwrap_or_default());
        for part in parts {
            let named = part
                .chars()
                .next()
                .and_then(|first| first.to_digit(10))
                .filter(|digit| *digit > 0);
            match named {
                Some(digit) => replacement.push_str(&format!("${}{}", digit + 1, &part[1..])),
                None => replacement.push_str(&format!("${part}")),
            }
        }
        replacement.push_str(&format!("${last}"));
        (rewrite.pattern, rewrite.replacement) = (pattern, replacement);
    }
}

/// As people read it: with the anchors that it has.
pub(super) fn as_shown(rule: &Rule, semantics: Semantics) -> Rule {
    let anchored = |text: &str| {
        if text.contains('|') {
            return format!("^(?:{text})$");
        }
        let inner = text.strip_prefix('^').unwrap_or(text);
        let anchored = inner.strip_suffix('$').filter(|rest| !rest.ends_with('\\'));
        format!("^{}$", anchored.unwrap_or(inner))
    };
    match semantics {
        Semantics::AwsLoadBalancerController => rule.clone(),
        Semantics::Kubernetes => {
            let mut out = with_expressions(rule, anchored);
            for rewrite in &mut out.rewrites {
                edit(&mut rewrite.pattern, anchored);
            }
            out
        }
    }
}

fn edit(pattern: &mut Pattern, how: impl Fn(&str) -> String) {
    // What grows too long stays as it is.
    if let Ok(other) = Pattern::parse(&how(pattern.as_str())) {
        *pattern = other;
    }
}

/// With what decides whether it answers changed.
fn with_expressions(rule: &Rule, how: impl Fn(&str) -> String) -> Rule {
    let mut out = rule.clone();
    let edited = |pattern: &mut Pattern| edit(pattern, &how);
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
