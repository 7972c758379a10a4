//! Settings that AWS would refuse in, problems at their place and the nearest that is served out.

use portcullis_model::{Certificate, CertificateSource, Code, Protocol, Semantics, Tls};

use super::build::*;
use crate::account::{Account, AcmCertificate, Fact, Subnet, ZoneKind};
use crate::compile::{Desired, compile};
use crate::observed::{Observed, Owner};
use crate::resource::Id;

fn compiled(balancer: &portcullis_model::LoadBalancer, account: &Account) -> (Desired, Vec<Code>) {
    let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
    let (desired, problems) = compile(&settings("demo"), balancer, account, &nothing);
    (desired.unwrap(), codes(&problems))
}

#[test]
fn a_given_certificate_is_looked_for_first() {
    let known = "arn:aws:acm:us-east-1:123456789012:certificate/1";
    let foreign = "arn:aws:acm:us-east-1:123456789012:certificate/2";
    let iam = "arn:aws:iam::123456789012:server-certificate/x";
    for (given, want) in [
        (vec![known], (Some(1), vec![])),
        (vec![iam], (Some(1), vec![])),
        (vec![foreign, known], (Some(1), vec![Code::CertificateNotFound])),
        (vec![foreign], (None, vec![Code::CertificateNotFound])),
        (vec!["shop"], (None, vec![Code::CertificateNotFound])),
    ] {
        let mut account = Account::offline(None);
        account.certificates = Fact::Read(vec![AcmCertificate {
            arn: Id::new(known),
            names: Vec::new(),
            authority: None,
        }]);
        let certificate = |arn: &&str| Certificate {
            source: CertificateSource::Given((*arn).into()),
            hosts: Default::default(),
            origin: origin("shop/web", "certificate-arn"),
        };
        let mut balancer = simple();
        https(&mut balancer, 443, given.iter().map(certificate).collect());
        let (desired, problems) = compiled(&balancer, &account);
        let certificates = desired
            .listeners
            .get(&443)
            .map(|listener| listener.spec.certificates.len());
        assert_eq!((certificates, problems), want, "{given:?}");
        assert!(desired.listeners.contains_key(&80), "{given:?}");
    }
}

#[test]
fn a_tls_policy_is_never_replaced_by_a_weaker_one() {
    let with = |semantics, policy: Option<&str>| {
        let mut balancer = simple();
        balancer.semantics = semantics;
        https(&mut balancer, 443, vec![discovered(&["web.example.com"])]);
        let listener = balancer.listeners.get_mut(&port(443)).unwrap();
        listener.protocol = Protocol::Https(Tls {
            policy: policy.map(str::to_owned),
            certificates: vec![discovered(&["web.example.com"])],
            ..Tls::default()
        });
        let (desired, problems) = compiled(&balancer, &Account::offline(None));
        (
            desired
                .listeners
                .get(&443)
                .and_then(|listener| listener.spec.ssl_policy.clone()),
            problems,
        )
    };
    for (semantics, policy, want, problems) in [
        (
            Semantics::Kubernetes,
            None,
            Some("ELBSecurityPolicy-TLS13-1-2-2021-06"),
            vec![],
        ),
        (
            Semantics::AwsLoadBalancerController,
            None,
            Some("ELBSecurityPolicy-2016-08"),
            vec![],
        ),
        (
            Semantics::Kubernetes,
            Some("ELBSecurityPolicy-FS-2018-06"),
            Some("ELBSecurityPolicy-FS-2018-06"),
            vec![],
        ),
        // AWS may have added it since.
        (
            Semantics::Kubernetes,
            Some("ELBSecurityPolicy-TLS13-1-2-2021-99"),
            Some("ELBSecurityPolicy-TLS13-1-2-2021-99"),
            vec![Code::OptionUnsupported],
        ),
        (
            Semantics::Kubernetes,
            Some("modern"),
            None,
            vec![Code::OptionUnsupported],
        ),
    ] {
        assert_eq!(
            with(semantics, policy),
            (want.map(str::to_owned), problems),
            "{policy:?}"
        );
    }
}

#[test]
fn a_health_check_ends_before_the_next_begins() {
    for (interval, timeout, want, problems) in [
        (15, 5, 5, vec![]),
        (10, 9, 9, vec![]),
        (10, 10, 9, vec![Code::BackendUnsupported]),
        (5, 30, 4, vec![Code::BackendUnsupported]),
    ] {
        let mut balancer = simple();
        let backend = balancer.backends.values_mut().next().unwrap();
        (backend.health.interval_seconds, backend.health.timeout_seconds) = (interval, timeout);
        let (desired, found) = compiled(&balancer, &Account::offline(None));
        let made = desired.target_groups["shop/web-web:80"].health.timeout_seconds;
        assert_eq!((made, found), (want, problems), "{timeout} of {interval}");
    }
}

#[test]
fn a_health_check_asks_for_a_path() {
    let long = format!("/{}", "p".repeat(1024));
    for (path, want, problems) in [
        ("/ok?x=1", "/ok?x=1", vec![]),
        ("/package.Service/Method", "/package.Service/Method", vec![]),
        ("ok", "/", vec![Code::BackendUnsupported]),
        ("", "/", vec![Code::BackendUnsupported]),
        ("/a b", "/", vec![Code::BackendUnsupported]),
        (&long, "/", vec![Code::BackendUnsupported]),
    ] {
        let mut balancer = simple();
        balancer.backends.values_mut().next().unwrap().health.path = path.into();
        let (desired, found) = compiled(&balancer, &Account::offline(None));
        let made = &desired.target_groups["shop/web-web:80"].health.path;
        assert_eq!((made.as_str(), found), (want, problems), "{path}");
    }
}

#[test]
fn tags_that_aws_would_refuse_are_left_out_alone() {
    let mut balancer = simple();
    balancer.options.tags = [("Team", "core"), ("aws:owner", "me")]
        .map(|(k, v)| (k.into(), v.into()))
        .into();
    let (desired, problems) = compiled(&balancer, &Account::offline(None));
    assert_eq!(problems, [Code::OptionUnsupported]);
    let tags = &desired.load_balancer.tags;
    assert_eq!((tags.get("Team"), tags.get("aws:owner")), (Some("core"), None));
}

#[test]
fn targets_in_a_zone_without_a_subnet_are_told() {
    let subnet = |id: &str, zone: &str| Subnet {
        id: Id::new(id),
        zone: zone.into(),
        kind: ZoneKind::AvailabilityZone,
        free_addresses: 99,
        ipv6: false,
        tags: [("kubernetes.io/role/elb".to_owned(), "1".to_owned())].into(),
        reach: None,
    };
    for (zone, want) in [("z1", vec![]), ("z3", vec![Code::TargetZoneUncovered])] {
        let mut account = Account::offline(Some("vpc-1"));
        account.subnets = Fact::Read(vec![subnet("a", "z1"), subnet("b", "z2")]);
        let mut balancer = simple();
        let backend = balancer.backends.values_mut().next().unwrap();
        let mut targets = backend.targets.to_vec();
        targets[0].zone = Some(zone.into());
        backend.targets = targets.into();
        let (desired, problems) = compiled(&balancer, &account);
        assert_eq!(problems, want, "{zone}");
        assert_eq!(
            desired.target_groups["shop/web-web:80"].targets.len(),
            2,
            "{zone}"
        );
    }
}
