//! A strategy and what must hold of each of its values in; a failing value, as small as it could be made, out.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{Config, FileFailurePersistence, TestCaseError, TestRunner};

/// Tries a property on one in so many values as `PROPTEST_CASES` says, which is 256 where it is not set. Seeds that
/// failed are kept in the file, which belongs into the repository, and are tried first ever after.
pub(crate) fn holds<S>(
    kept_in: &'static str,
    one_in: u32,
    values: &S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) where
    S: Strategy,
    S::Value: Debug,
{
    let usual = Config::default();
    let config = Config {
        cases: usual.cases.div_ceil(one_in),
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(kept_in))),
        ..usual
    };
    if let Err(failure) = TestRunner::new(config).run(values, property) {
        panic!("{failure}\n(kept in {kept_in})");
    }
}
