//! A strategy and what must hold of each of its values in; a failing value, as small as it could be made, out.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

/// Tries a property on as many values as `PROPTEST_CASES` says, 256 where it is not set. Seeds that failed are kept in
/// the file, which belongs into the repository, and are tried first ever after.
pub(crate) fn holds<S>(
    kept_in: &'static str,
    values: &S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) where
    S: Strategy,
    S::Value: Debug,
{
    let config = Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept_in))),
        ..Config::default()
    };
    if let Err(failure) = TestRunner::new(config).run(values, property) {
        panic!("{failure}\n(kept in {kept_in})");
    }
}
