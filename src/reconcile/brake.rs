//! How much would be deleted at once in, whether a person must confirm it first out.

use portcullis_model::{Code, LoadBalancerId, ObjectName, Origin, Problem, Routes};

use crate::crd::load_balancer::object_name;

/// Annotation of a `LoadBalancer`: `"true"` confirms that it may be deleted with many others.
pub const CONFIRMED: &str = "portcullis.dev/confirm-deletion";

/// Annotation of a `LoadBalancer`: how many of its rules may be deleted at once. A number, so that what was confirmed once
/// does not confirm what somebody deletes by mistake later.
pub const CONFIRMED_RULES: &str = "portcullis.dev/confirm-rule-deletion";

/// Up to this many deletions at once are nobody's accident.
pub const FREE: usize = 5;

/// Which share may be deleted at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Brake {
    /// In percent, 0–100; of all load balancers, or of the rules of one.
    pub share: u8,
}

impl Default for Brake {
    fn default() -> Self {
        Self { share: 50 }
    }
}

impl Brake {
    /// Whether deletions wait: more than [`FREE`] at once, and more than the share of all there are. A class or a label
    /// that went missing by mistake looks like this; tearing down one team's namespace seldom does.
    pub fn holds(self, deleting: usize, all: usize) -> bool {
        deleting > FREE && deleting.saturating_mul(100) > all.saturating_mul(self.share.into())
    }

    /// Whether a load balancer's rules wait; `annotation` is the value of [`CONFIRMED_RULES`].
    pub fn holds_rules(self, routes: Routes, annotation: Option<&str>) -> bool {
        let confirmed = annotation.is_some_and(|number| number == routes.lost.to_string());
        self.holds(routes.lost, routes.existing) && !confirmed
    }
}

/// What a person is told of rules that wait.
pub fn problem(id: &LoadBalancerId, routes: Routes) -> Problem {
    let Routes { existing, lost } = routes;
    let message = format!(
        "{lost} of its {existing} rules would be deleted at once: bring them back, or confirm with the annotation \
         {CONFIRMED_RULES}: \"{lost}\""
    );
    let record = ObjectName::cluster(object_name(id));
    Problem::new(
        Code::ManyRuleDeletions,
        Origin::new("loadbalancer", record, ""),
        message,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_landslide_waits() {
        for (share, deleting, all, want) in [
            (50, 1, 1, false),
            (50, 5, 5, false),
            (50, 6, 6, true),
            (50, 6, 11, true),
            (50, 6, 12, false),
            (50, 40, 100, false),
            (50, 51, 100, true),
            (10, 5, 5, false),
            (10, 11, 100, true),
            (0, 6, 1000, true),
            (100, 100, 100, false),
        ] {
            let brake = Brake { share };
            let what = format!("{deleting} of {all} where {share} % may");
            assert_eq!(brake.holds(deleting, all), want, "{what}");
        }
    }

    #[test]
    fn what_was_confirmed_is_one_number_of_rules() {
        let routes = |lost| Routes { existing: 20, lost };
        for (annotation, lost, want) in [
            (None, 18, true),
            (Some("18"), 18, false),
            (Some("true"), 18, true),
            // Confirmed once, for another deletion.
            (Some("18"), 19, true),
            (None, 10, false),
        ] {
            let holds = Brake::default().holds_rules(routes(lost), annotation);
            assert_eq!(holds, want, "{annotation:?} of {lost}");
        }
    }
}
