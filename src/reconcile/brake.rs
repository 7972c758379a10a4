//! How many load balancers would be deleted in, whether a person must confirm it first out.

/// Annotation of a `LoadBalancer`: `"true"` confirms that it may be deleted with many others.
pub const CONFIRMED: &str = "portcullis.dev/confirm-deletion";

/// Up to this many deletions at once are nobody's accident.
pub const FREE: usize = 5;

/// Whether deletions wait: more than [`FREE`] at once, and more than half of all there are. A class or a label that
/// went missing by mistake looks like this; tearing down one team's namespace seldom does.
pub fn holds(deleting: usize, all: usize) -> bool {
    deleting > FREE && deleting > all / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_landslide_waits() {
        for (deleting, all, want) in [
            (1, 1, false),
            (5, 5, false),
            (6, 6, true),
            (6, 11, true),
            (6, 12, false),
            (40, 100, false),
            (51, 100, true),
        ] {
            assert_eq!(holds(deleting, all), want, "{deleting} of {all}");
        }
    }
}
