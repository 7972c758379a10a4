//! Certificates that AWS does not find in, what listeners serve with all the same and where it is told out.

use portcullis_model::{Code, LoadBalancer};

use super::build::*;
use super::refused::{Passed, pass};
use super::settled::made;
use crate::account::Account;
use crate::change::{Call, Change};
use crate::observed::{Observed, Owner};

const GOOD: &str = "arn:aws:iam::123456789012:server-certificate/good";
const OTHER: &str = "arn:aws:iam::123456789012:server-certificate/other";
const NONE: &str = "arn:aws:iam::123456789012:server-certificate/none";

/// HTTPS with certificates that members name by ARN, each for itself.
fn serving(named_by: &[(&str, &str)]) -> LoadBalancer {
    let mut balancer = simple();
    let certificates = named_by.iter().map(|(owner, arn)| named(owner, arn));
    https(&mut balancer, 443, certificates.collect());
    balancer
}

/// AWS does not find [`NONE`].
fn refuse(change: &Change) -> Option<Code> {
    let sent = match &change.call {
        Call::CreateListener { spec, .. } | Call::ModifyListener { spec, .. } => {
            spec.certificates.first().map(|first| &first.certificate_arn)
        }
        Call::AddListenerCertificates { certificate, .. } => Some(certificate),
        _ => None,
    };
    sent.is_some_and(|arn| arn.as_str() == NONE)
        .then_some(Code::CertificateNotFound)
}

/// In order. The default one may stand among the others, too.
fn served(observed: &Observed) -> Vec<&str> {
    let listener = &observed.load_balancer().unwrap().listeners[&443];
    let certificates = listener.spec.certificates.iter();
    let mut all: Vec<&str> = certificates.map(|had| had.certificate_arn.as_str()).collect();
    let default = all.remove(0);
    all.retain(|arn| *arn != default);
    [vec![default], all].concat()
}

fn told(passed: &Passed) -> Vec<(Code, String)> {
    let problems = passed.problems.iter();
    problems
        .map(|problem| (problem.code, problem.at.object.to_string()))
        .collect()
}

#[test]
fn a_certificate_that_aws_lacks_is_told_where_it_is_named_and_keeps_what_serves() {
    let good = ("shop/web", GOOD);
    for (before, after, want) in [
        // Nothing yet.
        (None, vec![("blog/web", NONE), good], vec![GOOD]),
        (None, vec![good, ("blog/web", NONE)], vec![GOOD]),
        // The default one.
        (
            Some(vec![("blog/web", OTHER), good]),
            vec![("blog/web", NONE), good],
            vec![OTHER, GOOD],
        ),
        // One beside it.
        (
            Some(vec![good, ("blog/web", OTHER)]),
            vec![good, ("blog/web", NONE)],
            vec![GOOD, OTHER],
        ),
        (Some(vec![good]), vec![good, ("blog/web", NONE)], vec![GOOD]),
    ] {
        let account = Account::offline(None);
        let balancer = serving(&after);
        let (_, shared) = made(&balancer, &account);
        let mut observed = match &before {
            Some(before) => made(&serving(before), &account).0,
            None => Observed::nothing(Owner::load_balancer("demo", &balancer.id)),
        };
        let mut calls = 1000;
        for _ in 0..2 {
            let world = (&mut observed, &shared, &account);
            let passed = pass(Some(&balancer), world, &mut calls, refuse, |_, _| {});
            let want = [(Code::CertificateNotFound, "blog/web".to_owned())];
            assert_eq!(told(&passed), want, "{before:?} {after:?}");
        }
        assert_eq!(served(&observed), want, "{before:?} {after:?}");
    }
}
