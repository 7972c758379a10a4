//! Names of objects, load balancers and ports: text or numbers in, typed names out.

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;

use serde::Serialize;
use thiserror::Error;

use crate::text::serialize_as_display;

/// The name of an object within its namespace; the namespace is empty for objects that have none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl ObjectName {
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The name of an object that belongs to no namespace.
    pub fn cluster(name: impl Into<Arc<str>>) -> Self {
        Self::new("", name)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Which load balancer: a named group of objects that share one, or a single object that has one of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LoadBalancerId {
    Group(Arc<str>),
    Lone(ObjectName),
}

impl LoadBalancerId {
    /// Reads what `Display` wrote: a text with a slash behind a namespace is a lone object's, any other a group's.
    pub fn parse(text: &str) -> Self {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() => Self::Lone(ObjectName::new(namespace, name)),
            // An object without a namespace would read as a group.
            Some(_) | None => Self::Group(text.into()),
        }
    }
}

impl fmt::Display for LoadBalancerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => f.write_str(name),
            Self::Lone(object) => object.fmt(f),
        }
    }
}

serialize_as_display!(ObjectName, LoadBalancerId);

/// A TCP port, 1–65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

/// Not a number from 1 to 65535.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0} is not a port from 1 to 65535")]
pub struct NotAPort(pub i64);

impl Port {
    pub const HTTP: Self = Self(NonZeroU16::new(80).expect("80 is not zero"));
    pub const HTTPS: Self = Self(NonZeroU16::new(443).expect("443 is not zero"));

    pub fn new(number: i64) -> Result<Self, NotAPort> {
        u16::try_from(number)
            .ok()
            .and_then(NonZeroU16::new)
            .map(Self)
            .ok_or(NotAPort(number))
    }

    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_what_it_shows() {
        for text in ["public", "shop/web", "", "/", "/web", "shop/"] {
            assert_eq!(LoadBalancerId::parse(text).to_string(), text);
        }
    }

    #[test]
    fn a_port_is_from_1_to_65535() {
        for (number, ok) in [
            (-1, false),
            (0, false),
            (1, true),
            (65_535, true),
            (65_536, false),
        ] {
            assert_eq!(Port::new(number).is_ok(), ok, "{number}");
        }
    }
}
