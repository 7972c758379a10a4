//! A secret value in; something that is compared and passed on, and never shown, out.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// What stands wherever a secret would be shown.
const SHOWN: &str = "(redacted)";

/// A secret text (`str`) or secret bytes (`[u8]`). Debug, Display and Serialize never show it.
#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sealed<T: ?Sized>(Arc<T>);

impl<T: ?Sized> Sealed<T> {
    pub fn new(value: impl Into<Arc<T>>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one call that needs it.
    pub fn reveal(&self) -> &T {
        &self.0
    }
}

impl<T: ?Sized> Clone for Sealed<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: ?Sized> fmt::Debug for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl<T: ?Sized> fmt::Display for Sealed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(SHOWN)
    }
}

impl<T: ?Sized> Serialize for Sealed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(SHOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_value_is_compared_and_never_shown() {
        let sealed = Sealed::<str>::new("hunter2");
        let bytes = Sealed::<[u8]>::new(*b"hunter2");
        for shown in [
            format!("{sealed}"),
            format!("{sealed:?}"),
            format!("{sealed:#?}"),
            format!("{:?}", Some(&bytes)),
        ] {
            assert!(!shown.contains("hunter2") && shown.contains(SHOWN), "{shown}");
            assert!(!shown.contains("104"), "{shown}");
        }
        assert_eq!(sealed, Sealed::new("hunter2"));
        assert_ne!(sealed, Sealed::new("hunter3"));
        assert_eq!(sealed.reveal(), "hunter2");
    }
}
