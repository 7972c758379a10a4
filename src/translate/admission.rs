//! What a class admits and what an Ingress asks for in, whether it may have it out.
//!
//! Hosts are judged as they are compiled, so that no annotation goes round it: what cannot be shown to lie inside what
//! is granted is refused.

use portcullis_model::{Code, HostMatch, Origin, Problem, Semantics};

use super::annotations::{Annotations, catalog, value};
use super::member::Part;
use crate::crd::{ClassParametersSpec, HostGrant};

/// Whether the class says which hosts which namespaces may use.
pub(super) fn grants_hosts(part: &Part<'_>) -> bool {
    grants(part.parameters).is_some()
}

fn grants(parameters: Option<&ClassParametersSpec>) -> Option<&[HostGrant]> {
    parameters?.admission.as_ref()?.hosts.as_deref()
}

/// Why a member may not have a host, or every host; none where its class grants it, or grants none at all.
pub(super) fn host(part: &Part<'_>, host: Option<&HostMatch>, at: Origin) -> Option<Problem> {
    let namespace = &*part.ingress.meta.name.namespace;
    let mut own = grants(part.parameters)?
        .iter()
        .filter(|grant| grant.namespaces.iter().any(|name| name == namespace))
        .flat_map(|grant| &grant.hosts);
    if own.any(|granted| lies_in(host, granted)) {
        return None;
    }
    let what = host.map_or_else(|| "every host".to_owned(), HostMatch::to_string);
    let message = format!("its class does not grant {what} to namespace {namespace}");
    Some(Problem::new(Code::HostNotAdmitted, at, message))
}

/// Whether all that a host takes is granted: `*` grants every host, `*.name` every host below the name, at any depth, and
/// any other text the host of that name.
fn lies_in(host: Option<&HostMatch>, granted: &str) -> bool {
    if granted == "*" {
        return true;
    }
    let granted = granted.to_ascii_lowercase();
    let Some(host) = host else {
        return false;
    };
    match granted.strip_prefix('*') {
        Some(below) if below.starts_with('.') && below.len() > 1 => match host {
            HostMatch::Exact(name) => name.as_str().ends_with(below),
            HostMatch::Wildcard(name) => name.as_str() == &below[1..] || name.as_str().ends_with(below),
            HostMatch::Glob(glob) => {
                let text = glob.as_str().to_ascii_lowercase();
                let literal = text.rsplit(['*', '?']).next().unwrap_or_default();
                literal.ends_with(below)
            }
            HostMatch::Regex(pattern) => ends_in(pattern.as_str(), below),
        },
        Some(_) => false,
        None => match host {
            HostMatch::Exact(name) => *name.as_str() == *granted,
            HostMatch::Glob(glob) => glob.wildcards() == 0 && glob.as_str().eq_ignore_ascii_case(&granted),
            HostMatch::Regex(pattern) => unanchored(pattern.as_str()) == escaped(&granted),
            HostMatch::Wildcard(_) => false,
        },
    }
}

fn escaped(literal: &str) -> String {
    literal.replace('.', "\\.")
}

fn unanchored(expression: &str) -> &str {
    let text = expression.strip_prefix('^').unwrap_or(expression);
    match text.strip_suffix('$') {
        Some(rest) if !rest.ends_with('\\') => rest,
        Some(_) | None => text,
    }
}

/// Whether every match ends in this text: plain where the expression ends in it to the letter, in no group and in none
/// of several alternatives.
fn ends_in(expression: &str, text: &str) -> bool {
    let expression = unanchored(expression);
    let Some(before) = expression.strip_suffix(&escaped(text)) else {
        return false;
    };
    // What the text begins with must be its own: `\\.` is a backslash and any character.
    let backslashes = before.len() - before.trim_end_matches('\\').len();
    if backslashes % 2 == 1 {
        return false;
    }
    let (mut depth, mut in_class, mut chars) = (0_usize, false, before.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => _ = chars.next(),
            '[' => in_class = true,
            ']' => in_class = false,
            '(' if !in_class => depth += 1,
            ')' if !in_class => depth = depth.saturating_sub(1),
            '|' if !in_class && depth == 0 => return false,
            _ => {}
        }
    }
    depth == 0 && !in_class
}

/// Whether a class admits an annotation, by its name without prefix. A name that ends in `.` or `-` stands for all that
/// start with it.
fn admits(parameters: Option<&ClassParametersSpec>, name: &str) -> bool {
    let admission = parameters.and_then(|spec| spec.admission.as_ref());
    let Some(admitted) = admission.and_then(|admission| admission.annotations.as_ref()) else {
        return true;
    };
    admitted.iter().any(|own| match own.as_bytes().last() {
        Some(b'.' | b'-') => name.starts_with(own.as_str()),
        _ => own == name,
    })
}

/// Takes away the annotations that the class does not admit, and answers the name of one, if any: without it more might be
/// open than was asked for. What the incumbent lets pass stays, and is told.
pub(super) fn withhold(
    annotations: &mut Annotations<'_>,
    parameters: Option<&ClassParametersSpec>,
    semantics: Semantics,
    problems: &mut Vec<Problem>,
) -> Option<&'static str> {
    let enforced = semantics == Semantics::Kubernetes;
    let mut told = annotations.clone();
    let taken = if enforced { annotations } else { &mut told };
    let mut refusal = None;
    for (name, at) in taken.withhold(|name| admits(parameters, name)) {
        let message = format!("its class does not admit annotation {}", value::shown(name));
        problems.push(Problem::new(Code::AnnotationNotAdmitted, at, message));
        refusal.get_or_insert(catalog::find(name).map_or("that is not admitted", |known| known.name));
    }
    refusal.filter(|_| enforced)
}

#[cfg(test)]
mod tests {
    use portcullis_model::{Glob, Pattern};

    use super::*;

    #[test]
    fn a_grant_holds_what_can_be_shown_to_lie_inside_it() {
        let exact = |text: &str| Some(HostMatch::parse(text).unwrap());
        let glob = |text: &str| Some(HostMatch::Glob(Glob::parse(text).unwrap()));
        let regex = |text: &str| Some(HostMatch::Regex(Pattern::parse(text).unwrap()));
        for (host, granted, want) in [
            (None, "*", true),
            (None, "*.example.com", false),
            (exact("a.example.com"), "a.example.com", true),
            (exact("a.example.com"), "A.Example.com", true),
            (exact("a.example.com"), "*.example.com", true),
            (exact("a.b.example.com"), "*.example.com", true),
            (exact("example.com"), "*.example.com", false),
            (exact("badexample.com"), "*.example.com", false),
            (exact("a.example.com"), "b.example.com", false),
            (exact("*.example.com"), "*.example.com", true),
            (exact("*.a.example.com"), "*.example.com", true),
            (exact("*.com"), "*.example.com", false),
            (exact("*.example.com"), "a.example.com", false),
            (exact("a.example.com"), "*", true),
            (exact("a.example.com"), "*.", false),
            (exact("a.example.com"), "*example.com", false),
            (glob("*.example.com"), "*.example.com", true),
            (glob("a?.example.com"), "*.example.com", true),
            (glob("*example.com"), "*.example.com", false),
            (glob("a.example.*"), "*.example.com", false),
            (glob("a.example.com"), "a.example.com", true),
            (regex(r"[a-z]+\.example\.com"), "*.example.com", true),
            (regex(r"^(a|b)\.example\.com$"), "*.example.com", true),
            (regex(r"[|(]+\.example\.com"), "*.example.com", true),
            (regex(r"a\.evil\.com|b\.example\.com"), "*.example.com", false),
            (regex(r"a.example.com"), "*.example.com", false),
            (regex(r".*"), "*.example.com", false),
            (regex(r"(a\.example\.com)?"), "*.example.com", false),
            (regex(r"a\\.example\.com"), "*.example.com", false),
            (regex(r"a\.example\.com"), "a.example.com", true),
            (regex(r"a\.example\.comm?"), "*.example.com", false),
        ] {
            assert_eq!(lies_in(host.as_ref(), granted), want, "{host:?} in {granted}");
        }
    }
}
