//! Where a part of a load balancer was written: object and field in, one line for people out.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::name::ObjectName;
use crate::text::serialize_as_display;

/// The field of the object that a part came from; providers pass it on and never look inside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// Lower-case kind, such as `ingress`, or `file` for what could not be read as an object.
    pub kind: &'static str,
    pub object: ObjectName,
    /// Path of the field, such as `spec.rules[1].host`; empty for the object as a whole.
    pub field: Arc<str>,
}

impl Origin {
    pub fn new(kind: &'static str, object: ObjectName, field: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            object,
            field: field.into(),
        }
    }

    /// The same object, another field.
    #[must_use]
    pub fn at(&self, field: impl Into<Arc<str>>) -> Self {
        Self {
            kind: self.kind,
            object: self.object.clone(),
            field: field.into(),
        }
    }
}

impl Ord for Origin {
    fn cmp(&self, other: &Self) -> Ordering {
        self.kind
            .cmp(other.kind)
            .then_with(|| self.object.cmp(&other.object))
            .then_with(|| counted(self.field.as_bytes(), other.field.as_bytes()))
    }
}

impl PartialOrd for Origin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Texts as people count: `rules[9]` before `rules[10]`. A number of fewer digits is the lesser, for none here begins
/// with 0; where two do, they are still told apart.
fn counted(a: &[u8], b: &[u8]) -> Ordering {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let number = a[..same]
        .iter()
        .rev()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let digits = |text: &[u8]| {
        let rest = text[same - number..].iter();
        rest.take_while(|byte| byte.is_ascii_digit()).count()
    };
    match (digits(a), digits(b)) {
        (0, _) | (_, 0) => a.cmp(b),
        (of_a, of_b) => of_a.cmp(&of_b).then_with(|| a.cmp(b)),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.object)?;
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        Ok(())
    }
}

serialize_as_display!(Origin);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_in_the_order_in_which_people_count() {
        let sorted = [
            "",
            "line 9",
            "line 10",
            "spec.rules[9]",
            "spec.rules[9].host",
            "spec.rules[10]",
            "spec.rules[127].http.paths[2]",
            "spec.rules[127].http.paths[10]",
            "spec.rules[1272]",
            "spec.tls",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(counted(a.as_bytes(), b.as_bytes()), i.cmp(&j), "{a:?} {b:?}");
            }
        }
    }
}
