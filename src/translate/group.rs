//! The annotations of an Ingress and the parameters of its class in, its group out.

use portcullis_model::{Code, LoadBalancerId, Problem};

use super::annotations::{Annotations, value};
use crate::cluster::object::{ClassParameters, Ingress};

/// The load balancer that a provider would make it part of: its group's, or its own.
pub(super) fn group_of(
    ingress: &Ingress,
    parameters: Option<&ClassParameters>,
) -> Result<LoadBalancerId, Problem> {
    let annotations = Annotations::of("ingress", &ingress.meta).of_class(parameters);
    let Some(written) = annotations.get("group.name") else {
        return Ok(LoadBalancerId::Lone(ingress.meta.name.clone()));
    };
    if is_group_name(written.value) {
        Ok(LoadBalancerId::Group(written.value.into()))
    } else {
        let message = format!(
            "{} is no group name: lower-case letters, digits, '-' and '.', beginning and ending with a letter or \
             digit, at most 63",
            value::shown(written.value)
        );
        Err(Problem::new(
            Code::GroupNameInvalid,
            annotations.origin(written),
            message,
        ))
    }
}

/// The load balancer it would be part of by what it says itself, whatever its class is.
pub fn own_group(ingress: &Ingress) -> LoadBalancerId {
    group_of(ingress, None).unwrap_or_else(|_| LoadBalancerId::Lone(ingress.meta.name.clone()))
}

/// `^([a-z0-9][-a-z0-9.]*)?[a-z0-9]$`, at most 63. Source: AWS Load Balancer Controller, `group_loader.go`.
fn is_group_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    bytes.len() <= 63 && bytes.iter().all(inner) && edge(bytes.first()) && edge(bytes.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_name_is_a_dns_name_of_63_characters() {
        let (longest, too_long) = ("a".repeat(63), "a".repeat(64));
        for (name, ok) in [
            ("public", true),
            ("a", true),
            ("a.b-c", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("a.", false),
            ("A", false),
            ("a/b", false),
            ("a_b", false),
        ] {
            assert_eq!(is_group_name(name), ok, "{name:?}");
        }
    }
}
