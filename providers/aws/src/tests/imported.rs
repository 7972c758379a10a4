//! Listeners whose certificates lie in Secrets in; what is imported, renewed, replaced and deleted, and what nobody is
//! shown, out.

use std::sync::Arc;

use portcullis_model::{
    Code, KeyAlgorithm, KeyPair, LoadBalancer, Plan, Problem, ProviderError, Retry, Semantics, Stored,
};

use super::build::*;
use super::settled::{made, rounds};
use crate::account::{Account, AcmCertificate, Fact};
use crate::change::{Call, Change};
use crate::fold::{fold, imagine};
use crate::names;
use crate::observed::{CertificateState, Looked, Observed, Owned, Owner, Shared};
use crate::plan::plan;
use crate::plan_offline;
use crate::resource::{CertificateArn, Imported, Pairs};

const SECRET: &str = "shop/cert";

fn first() -> KeyPair {
    pair("uid", KeyAlgorithm::EcP256, 0)
}

/// HTTPS alone, with what lies in the Secret.
fn served(stored_pair: Option<Stored>) -> LoadBalancer {
    let mut out = balancer("shop/web", Semantics::Kubernetes);
    let web = web(&mut out);
    https(&mut out, 443, vec![stored(SECRET, &["a.example.com"])]);
    out.rules.push(rule(
        "shop/web",
        &[443],
        "a.example.com",
        "prefix:/",
        forward(&web),
    ));
    out.key_pairs
        .extend(stored_pair.map(|stored| (object(SECRET), stored)));
    out
}

fn with(pair: KeyPair) -> LoadBalancer {
    served(Some(Stored::Pair(Arc::new(pair))))
}

fn broken(code: Code) -> LoadBalancer {
    served(Some(Stored::Unusable(code, "Secret shop/cert is wrong".into())))
}

/// An account that was read and holds these certificates of others.
fn account(others: &[(&str, &str)]) -> Account {
    let certificate = |(arn, name): &(&str, &str)| AcmCertificate {
        arn: CertificateArn::new(*arn),
        names: vec![portcullis_model::HostMatch::parse(name).unwrap()],
        authority: None,
    };
    Account {
        certificates: Fact::Read(others.iter().map(certificate).collect()),
        ..Account::offline(None)
    }
}

fn problems(balancer: &LoadBalancer, observed: &Observed, account: &Account) -> Vec<Problem> {
    plan(
        &settings("demo"),
        &balancer.id,
        Some(balancer),
        observed,
        &Shared::nothing("demo"),
        account,
    )
    .1
}

fn attached(observed: &Observed) -> Vec<String> {
    let listener = &observed.load_balancer().unwrap().listeners[&443];
    let all = listener.spec.certificates.iter();
    all.map(|had| had.certificate_arn.to_string()).collect()
}

fn held(observed: &Observed) -> Vec<String> {
    let all = observed.certificates.iter();
    all.map(|owned| owned.get().arn.to_string()).collect()
}

#[test]
fn a_certificate_is_imported_before_a_listener_serves_with_it() {
    let document = plan_offline(&[with(first())], &settings("demo"));
    let preview = &document.load_balancers[0];
    let calls: Vec<&str> = preview.changes.iter().map(|change| change.call).collect();
    let place = |call: &str| calls.iter().position(|own| *own == call).unwrap();
    assert!(
        place("acm:ImportCertificate") < place("elbv2:CreateListener"),
        "{calls:?}"
    );
    assert_eq!(
        calls.iter().filter(|call| call.starts_with("acm:")).count(),
        1,
        "{calls:?}"
    );
    let spec = |kind: &str| {
        let found = preview.resources.iter().find(|resource| resource.kind == kind);
        found.unwrap().spec.to_string()
    };
    assert!(spec("Listener").contains(r#"{"CertificateArn":"${Certificate/shop/cert}"}"#));
    assert_eq!(
        spec("Certificate"),
        r#"{"Secret":"shop/cert","DomainNames":["a.example.com"],"NotAfter":"2026-04-01T00:00:00Z","Fingerprint":"fingerprint of day 0","KeyAlgorithm":"EC_prime256v1","Tags":[{"Key":"elbv2.k8s.aws/cluster","Value":"demo"},{"Key":"ingress.k8s.aws/resource","Value":"shop/cert"},{"Key":"ingress.k8s.aws/stack","Value":"shop/web"},{"Key":"portcullis.dev/secret-uid","Value":"uid"}]}"#
    );
    assert_eq!(document.problems, []);
}

#[test]
fn a_key_is_shown_nowhere() {
    let balancer = with(first());
    let account = Account::offline(None);
    let (observed, shared) = made(&balancer, &account);
    let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
    let (round, _) = plan(
        &settings("demo"),
        &balancer.id,
        Some(&balancer),
        &nothing,
        &shared,
        &account,
    );
    let document = plan_offline(std::slice::from_ref(&balancer), &settings("demo"));
    let shown = format!(
        "{round:?} {observed:?} {balancer:?} {} {}",
        serde_json::to_string(&balancer).unwrap(),
        serde_json::to_string(&document).unwrap(),
    );
    assert!(shown.contains("fingerprint of day 0"));
    assert!(!shown.contains("private-key"), "{shown}");
}

#[test]
fn what_changes_of_a_secret_is_followed_with_the_fewest_calls() {
    let change = ["elbv2:ModifyListener 443", "acm:DeleteCertificate shop/cert"];
    let anew = [&["acm:ImportCertificate shop/cert"][..], &change[..]].concat();
    let renewed = vec!["acm:ImportCertificate shop/cert"];
    for (given, after, want, same_arn) in [
        ("nothing", first(), vec![], true),
        (
            "a renewed one",
            pair("uid", KeyAlgorithm::EcP256, 60),
            renewed.clone(),
            true,
        ),
        (
            "another chain",
            KeyPair {
                version: "another".into(),
                ..first()
            },
            renewed,
            true,
        ),
        (
            "another key",
            pair("uid", KeyAlgorithm::Rsa(2048), 60),
            anew.clone(),
            false,
        ),
        (
            "another Secret",
            pair("other", KeyAlgorithm::EcP256, 60),
            anew,
            false,
        ),
    ] {
        let account = Account::offline(None);
        let (mut observed, shared) = made(&with(first()), &account);
        let before = attached(&observed);
        let balancer = with(after);
        let got = rounds(Some(&balancer), &mut observed, &shared, &account);
        assert_eq!(got, want, "{given}");
        assert_eq!(attached(&observed) == before, same_arn, "{given}");
        assert_eq!(attached(&observed), held(&observed), "{given}");
        assert_eq!(
            rounds(Some(&balancer), &mut observed, &shared, &account),
            [""; 0],
            "{given}"
        );
        // Whoever starts anew knows what was applied by its times, and by the record.
        for owned in &mut observed.certificates {
            owned.get_mut().imported.sent = None;
        }
        observed.applied = balancer.secrets();
        assert_eq!(
            rounds(Some(&balancer), &mut observed, &shared, &account),
            [""; 0],
            "{given}"
        );
    }
}

#[test]
fn what_nobody_serves_with_is_deleted() {
    let account = account(&[("arn:aws:acm:r:1:certificate/own", "a.example.com")]);
    let offline = Account::offline(None);
    let (observed, shared) = made(&with(first()), &offline);
    let mut found = balancer("shop/web", Semantics::Kubernetes);
    https(&mut found, 443, vec![discovered(&["a.example.com"])]);
    let got = rounds(Some(&found), &mut observed.clone(), &shared, &account);
    let acm = |calls: &[String]| -> Vec<String> {
        let all = calls.iter().filter(|call| call.starts_with("acm:"));
        all.cloned().collect()
    };
    assert_eq!(acm(&got), ["acm:DeleteCertificate shop/cert"]);
    let detached = got
        .iter()
        .position(|call| call.starts_with("elbv2:ModifyListener"));
    let deleted = got.iter().position(|call| call.starts_with("acm:"));
    assert!(detached.unwrap() < deleted.unwrap(), "{got:?}");

    let mut all = observed.clone();
    let got = rounds(None, &mut all, &shared, &account);
    assert_eq!(acm(&got), ["acm:DeleteCertificate shop/cert"]);
    assert!(all.is_nothing());
}

#[test]
fn what_breaks_leaves_what_serves_and_finds_what_serves_instead() {
    let other = [("arn:aws:acm:r:1:certificate/own", "a.example.com")];
    let expired = |observed: &mut Observed| observed.looked_at = Some(1_800_000_000);
    let ed25519 = pair("uid", KeyAlgorithm::Other("Ed25519".into()), 0);
    let long = KeyPair {
        key: portcullis_model::Sealed::new("k".repeat(5121)),
        ..first()
    };
    let nothing = |_: &mut Observed| {};
    // What is told where it was imported before, where ACM holds another one, and where there is none.
    type Act<'a> = &'a dyn Fn(&mut Observed);
    let rows: Vec<(&str, LoadBalancer, Act<'_>, [Option<Code>; 3])> = vec![
        (
            "broken",
            broken(Code::SecretInvalid),
            &nothing,
            [Some(Code::SecretInvalid); 3],
        ),
        (
            "gone",
            broken(Code::SecretNotFound),
            &nothing,
            [Some(Code::SecretNotFound), None, Some(Code::SecretNotFound)],
        ),
        (
            "not to be read",
            broken(Code::AccessDenied),
            &nothing,
            [Some(Code::AccessDenied), None, Some(Code::AccessDenied)],
        ),
        (
            "expired",
            with(first()),
            &expired,
            [Some(Code::CertificateExpired); 3],
        ),
        (
            "a key of its own kind",
            with(ed25519),
            &nothing,
            [Some(Code::CertificateUnsupported); 3],
        ),
        (
            "a long key",
            with(long),
            &nothing,
            [Some(Code::CertificateUnsupported); 3],
        ),
    ];
    for (given, balancer, act, want) in rows {
        let offline = Account::offline(None);
        let (mut observed, shared) = made(&with(first()), &offline);
        act(&mut observed);
        let before = observed.clone();
        for (account, want, case) in [
            (account(&[]), want[0], "imported"),
            (account(&other), want[0], "imported, and found"),
        ] {
            let told = problems(&balancer, &observed, &account);
            assert_eq!(codes(&told), Vec::from_iter(want), "{given}, {case}: {told:?}");
            let got = rounds(Some(&balancer), &mut observed, &shared, &account);
            assert_eq!((got, &observed), (vec![], &before), "{given}, {case}");
        }
        let mut fresh = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
        act(&mut fresh);
        for (account, want, serves) in [(account(&other), want[1], true), (account(&[]), want[2], false)] {
            let mut observed = fresh.clone();
            let told = problems(&balancer, &observed, &account);
            assert_eq!(codes(&told), Vec::from_iter(want), "{given}: {told:?}");
            for problem in &told {
                assert_eq!(&*problem.at.field, "spec.tls[0]", "{given}");
            }
            let calls = rounds(Some(&balancer), &mut observed, &shared, &account);
            let listens = calls.iter().any(|call| call.starts_with("elbv2:CreateListener"));
            assert_eq!(listens, serves, "{given}: {calls:?}");
            assert_eq!(held(&observed), [""; 0], "{given}");
        }
    }
}

#[test]
fn a_certificate_taken_from_a_secret_is_found_by_nobody_else() {
    let arn = "arn:aws:acm:r:1:certificate/imported";
    let mut account = account(&[(arn, "a.example.com")]);
    let mut other = balancer("shop/other", Semantics::AwsLoadBalancerController);
    https(&mut other, 443, vec![discovered(&["a.example.com"])]);
    let observed = Observed::nothing(Owner::load_balancer("demo", &other.id));
    assert_eq!(problems(&other, &observed, &account), []);
    account.listing.certificates = Looked::At(vec![CertificateState {
        arn: CertificateArn::new(arn),
        imported: Imported {
            key_algorithm: "EC_prime256v1".into(),
            not_before: 0,
            not_after: 0,
            sent: None,
        },
        tags: Pairs::default(),
    }]);
    let told = problems(&other, &observed, &account);
    assert_eq!(codes(&told), [Code::CertificateNotFound]);
}

/// Rounds in which AWS refuses what this says.
fn refusing(
    balancer: &LoadBalancer,
    observed: &mut Observed,
    shared: &Shared,
    why: impl Fn(&Call) -> Option<Code>,
) -> (Vec<String>, Vec<Problem>) {
    let account = account(&[]);
    let mut calls = Vec::new();
    'rounds: for _ in 0..20 {
        let (Plan { changes }, told) = plan(
            &settings("demo"),
            &balancer.id,
            Some(balancer),
            observed,
            shared,
            &account,
        );
        if changes.is_empty() {
            return (calls, told);
        }
        for change in &changes {
            if let Some(code) = why(&change.call) {
                let error = ProviderError {
                    code,
                    call: change.call.name(),
                    message: "refused".into(),
                    retry: Retry::Never,
                };
                calls.push(format!("({} {})", change.call.name(), change.id));
                observed.refused.note(change.clone(), error);
                continue 'rounds;
            }
            calls.push(format!("{} {}", change.call.name(), change.id));
            fold(observed, change, super::settled::distinct(change, calls.len()));
        }
    }
    panic!("not settled: {calls:#?}");
}

#[test]
fn what_acm_does_not_take_in_the_place_of_another_is_imported_anew() {
    let (mut observed, shared) = made(&with(first()), &Account::offline(None));
    let renewed = with(pair("uid", KeyAlgorithm::EcP256, 60));
    let in_place = |call: &Call| {
        matches!(
            call,
            Call::ImportCertificate {
                replaced: Some(_),
                ..
            }
        )
        .then_some(Code::SecretInvalid)
    };
    let (calls, _) = refusing(&renewed, &mut observed, &shared, in_place);
    assert_eq!(
        calls,
        [
            "(acm:ImportCertificate shop/cert)",
            "acm:ImportCertificate shop/cert",
            "elbv2:ModifyListener 443",
            "acm:DeleteCertificate shop/cert"
        ]
    );
    assert_eq!(attached(&observed), held(&observed));
}

#[test]
fn a_refused_import_leaves_what_serves_and_a_refused_deletion_is_no_problem() {
    let (observed, shared) = made(&with(first()), &Account::offline(None));
    let other_key = with(pair("uid", KeyAlgorithm::Rsa(2048), 60));
    for code in [Code::SecretInvalid, Code::QuotaExceeded, Code::AccessDenied] {
        let mut after = observed.clone();
        let refused = |call: &Call| matches!(call, Call::ImportCertificate { .. }).then_some(code);
        let (calls, told) = refusing(&other_key, &mut after, &shared, refused);
        assert_eq!(calls, ["(acm:ImportCertificate shop/cert)"]);
        assert_eq!(attached(&after), attached(&observed));
        assert_eq!(codes(&told), [code]);
        assert_eq!(&*told[0].at.field, "spec.tls[0]");
    }
    let mut after = observed.clone();
    let in_use = |call: &Call| matches!(call, Call::DeleteCertificate { .. }).then_some(Code::StillInUse);
    let (calls, told) = refusing(&other_key, &mut after, &shared, in_use);
    assert_eq!(calls.last().unwrap(), "(acm:DeleteCertificate shop/cert)");
    assert_eq!(told, []);
    after.refused.clear();
    assert_eq!(
        rounds(Some(&other_key), &mut after, &shared, &Account::offline(None)),
        ["acm:DeleteCertificate shop/cert"]
    );
}

#[test]
fn nothing_is_imported_or_taken_away_where_it_is_not_known_what_is_there() {
    let (mut observed, shared) = made(&with(first()), &Account::offline(None));
    let before = attached(&observed);
    observed.certificates.clear();
    observed.certificates_unread = Some(ProviderError {
        code: Code::AccessDenied,
        call: "tag:GetResources",
        message: "denied".into(),
        retry: Retry::Backoff,
    });
    let (calls, told) = refusing(&with(first()), &mut observed, &shared, |_| None);
    assert_eq!((calls, attached(&observed)), (vec![], before));
    assert_eq!(codes(&told), [Code::AccessDenied]);
    assert!(told[0].message.contains("tag:GetResources"), "{told:?}");
}

#[test]
fn only_what_has_our_tags_is_ours() {
    let owner = Owner::load_balancer("demo", &portcullis_model::LoadBalancerId::parse("shop/web"));
    let mut tags = owner.tags(SECRET);
    tags.0.insert(names::SECRET_UID_TAG.into(), "uid".into());
    assert!(Owned::read(&owner, &tags, ()).is_some());
    for (key, value) in [(names::CLUSTER_TAG, "other"), (names::STACK_TAG, "shop/other")] {
        let mut other = tags.clone();
        other.0.insert(key.into(), value.into());
        assert!(Owned::read(&owner, &other, ()).is_none(), "{key}");
    }
}

#[test]
fn a_fingerprint_differs_where_the_secret_does() {
    let print = |balancer: &LoadBalancer| crate::fingerprint(&settings("demo"), balancer, &account(&[]));
    let same = print(&with(first()));
    assert_eq!(print(&with(first())), same);
    assert_ne!(print(&with(pair("uid", KeyAlgorithm::EcP256, 1))), same);
    let chain = KeyPair {
        version: "another".into(),
        ..first()
    };
    assert_ne!(print(&with(chain)), same);
}

#[test]
fn imagined_answers_keep_an_arn_that_is_kept() {
    let (mut observed, shared) = made(&with(first()), &Account::offline(None));
    let renewed = with(pair("uid", KeyAlgorithm::EcP256, 60));
    let before = held(&observed);
    let (round, _) = plan(
        &settings("demo"),
        &renewed.id,
        Some(&renewed),
        &observed,
        &shared,
        &Account::offline(None),
    );
    let changes: Vec<&Change> = round.changes.iter().collect();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].fields[0].to, "\"2026-05-31T00:00:00Z\"");
    fold(&mut observed, changes[0], imagine(changes[0]));
    assert_eq!(held(&observed), before);
}

#[test]
fn a_fingerprint_differs_where_something_else_is_told_of_the_secret() {
    let print = |code| crate::fingerprint(&settings("demo"), &broken(code), &account(&[]));
    assert_eq!(print(Code::SecretInvalid), print(Code::SecretInvalid));
    assert_ne!(print(Code::SecretInvalid), print(Code::SecretNotFound));
}
