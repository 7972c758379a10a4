//! Ingresses and a request in, who answers it out: by the documentation alone.
//!
//! Brute force that shares nothing with `translate`: every path of every Ingress is looked at for every request.

use crate::alb::wildcard;
use crate::written::{Path, Type, Written, service};

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// This backend alone.
    Backend(String),
    /// 503: the Service named there is not, or the path's type is none.
    Unavailable,
    NotFound,
}

/// The answer under Kubernetes' semantics, looked for in the plainest way. Sources: Kubernetes docs, Ingress, "Path
/// types", "Multiple matches", "Hostname wildcards", "Default backend"; where those leave several Ingresses open, the
/// order written down in ARCHITECTURE.md.
pub(crate) fn kubernetes_answer(all: &[Written], host: &str, path: &str) -> Answer {
    let all = admitted(all);
    let mut order: Vec<&Written> = all.iter().collect();
    order.sort_by_key(|w| (w.order, w.created, w.name.clone()));

    // The most specific host decides alone, whichever Ingress wrote it.
    let wildcard = host.split_once('.').map(|(_, rest)| format!("*.{rest}"));
    let asked_for = |wanted: Option<&str>| all.iter().any(|w| w.rules.iter().any(|(h, _)| *h == wanted));
    let decisive = if asked_for(Some(host)) {
        Some(host)
    } else if asked_for(wildcard.as_deref()) {
        wildcard.as_deref()
    } else {
        None
    };

    let elements = |path: &str| -> Vec<String> {
        path.split('/')
            .filter(|e| !e.is_empty())
            .map(str::to_owned)
            .collect()
    };
    // Exact beats Prefix, the longer Prefix the shorter; of equals what can be read, then the first in order.
    let mut best: Option<((usize, bool), Answer)> = None;
    for ingress in order.iter() {
        for (at_rule, (rule_host, paths)) in ingress.rules.iter().enumerate() {
            for (at_path, written) in paths.iter().enumerate() {
                let rank = match written.kind {
                    Type::Exact if written.path == path => usize::MAX,
                    Type::Exact => continue,
                    Type::Prefix | Type::ImplementationSpecific | Type::Misspelt => {
                        let prefix = elements(&written.path);
                        if !elements(path).starts_with(&prefix) {
                            continue;
                        }
                        prefix.len()
                    }
                };
                let is_read = written.kind != Type::Misspelt;
                let rank = (rank, is_read);
                if *rule_host == decisive && best.as_ref().is_none_or(|(most, _)| rank > *most) {
                    let answer = if written.served && is_read {
                        Answer::Backend(format!("{}-{}:80", ingress.name, service(at_rule, at_path)))
                    } else {
                        Answer::Unavailable
                    };
                    best = Some((rank, answer));
                }
            }
        }
    }
    if let Some((_, answer)) = best {
        return answer;
    }
    default_of(&order)
}

/// What the namespaces that share a load balancer may have: a host belongs to that of the oldest Ingress that names
/// it; what no host bounds to that of the oldest of all. Source: ARCHITECTURE.md, "Whom we trust".
fn admitted(all: &[Written]) -> Vec<Written> {
    let oldest = |names: &dyn Fn(&Written) -> bool| {
        let named = all.iter().filter(|w| names(w));
        named
            .min_by_key(|w| (w.created, &w.name))
            .map(|w| w.name.namespace.clone())
    };
    let shared = all.iter().any(|w| w.name.namespace != all[0].name.namespace);
    let owns = |own: &Written, host: Option<&str>| {
        let names = |w: &Written| host.is_none() || w.rules.iter().any(|(h, _)| *h == host);
        !shared || oldest(&names).as_ref() == Some(&own.name.namespace)
    };
    let admit = |own: &Written| {
        let mut own = own.clone();
        own.default_backend &= owns(&own, None);
        let of = own.clone();
        for (host, paths) in &mut own.rules {
            if !owns(&of, *host) {
                // The place stays, so that the others keep theirs.
                *host = Some("belongs.to.another");
                paths.clear();
            }
        }
        own
    };
    all.iter().map(admit).collect()
}

/// The answer under the AWS Load Balancer Controller's semantics: members by order and name; the rules of each as
/// written, and of each rule its Exact paths, then its Prefix paths by their length, then the others; the first that
/// matches answers. A wildcard host stands for any number of labels. Source: its `model_build_listener_rules.go`.
pub(crate) fn incumbents_answer(all: &[Written], host: &str, path: &str) -> Answer {
    let mut order: Vec<&Written> = all.iter().collect();
    order.sort_by_key(|w| (w.order, w.name.clone()));
    for ingress in &order {
        for (at_rule, (rule_host, paths)) in ingress.rules.iter().enumerate() {
            if !rule_host.is_none_or(|rule_host| wildcard(rule_host, host, true, false)) {
                continue;
            }
            let mut paths: Vec<(usize, &Path)> = paths.iter().enumerate().collect();
            paths.sort_by_key(|(_, written)| match written.kind {
                Type::Exact => (0, 0),
                Type::Prefix => (1, usize::MAX - written.path.len()),
                Type::ImplementationSpecific | Type::Misspelt => (2, 0),
            });
            for (at_path, written) in paths {
                let trimmed = written.path.strip_suffix('/').unwrap_or(&written.path);
                let taken = match written.kind {
                    Type::Exact => written.path == path,
                    Type::Prefix | Type::Misspelt => {
                        path == trimmed || wildcard(&format!("{trimmed}/*"), path, false, false)
                    }
                    Type::ImplementationSpecific => wildcard(&written.path, path, false, false),
                };
                if taken && written.served && written.kind != Type::Misspelt {
                    return Answer::Backend(format!("{}-{}:80", ingress.name, service(at_rule, at_path)));
                }
                if taken {
                    return Answer::Unavailable;
                }
            }
        }
    }
    default_of(&order)
}

/// The first default backend in order.
fn default_of(order: &[&Written]) -> Answer {
    let default = order.iter().find(|w| w.default_backend);
    default.map_or(Answer::NotFound, |w| {
        Answer::Backend(format!("{}-default:80", w.name))
    })
}
