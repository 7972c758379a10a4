//! Where a part of a load balancer was written: object and field in, one line for people out.

use std::fmt;
use std::sync::Arc;

use crate::name::ObjectName;
use crate::text::serialize_as_display;

/// The field of the object that a part came from; providers pass it on and never look inside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
