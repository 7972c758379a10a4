//! Annotations of a Service and of its Ingress in, settings of the backend out.

use super::*;

#[test]
fn the_service_s_annotations_win_over_the_ingress_s() {
    let world = World::new().annotated_service(
        "shop/s",
        alb(&[
            ("healthcheck-path", "/own"),
            (
                "target-group-attributes",
                "deregistration_delay.timeout_seconds=30",
            ),
            ("backend-protocol-version", "GRPC"),
        ]),
    );
    let annotations = alb(&[
        ("healthcheck-path", "/all"),
        ("healthcheck-port", "admin"),
        ("healthcheck-interval-seconds", "20"),
        ("success-codes", "0-5"),
        ("backend-protocol", "HTTPS"),
        (
            "target-group-attributes",
            "deregistration_delay.timeout_seconds=60,stickiness.enabled=true",
        ),
    ]);
    let served = asking(world, annotations, to("s")).one(&theirs());
    let own = backend(&served, "s");
    assert_eq!(own.health.path, "/own");
    assert_eq!(own.health.interval_seconds, 20);
    assert_eq!(own.health.success_codes, "0-5");
    assert!(own.health.tls && own.protocol.tls.is_on());
    assert_eq!(own.protocol.version, BackendVersion::Grpc);
    assert_eq!(own.drain_seconds, Some(30));
    assert!(!own.attributes.contains_key("stickiness.enabled"));
    assert_eq!(own.attributes["deregistration_delay.timeout_seconds"], "30");
    let other = backend(&served, "other");
    assert_eq!(other.health.path, "/all");
    assert_eq!(other.drain_seconds, Some(60));
    // The admin port's target is a name: it cannot be asked on every pod at one number.
    assert_eq!(other.health.port, HealthPort::Traffic);
    assert!(served.codes().contains(&Code::AnnotationInvalid));
}

#[test]
fn settings_of_targets_that_cannot_be_read_are_told_and_never_weaken() {
    for (name, value, answer) in [
        ("target-type", "pod", "503"),
        ("backend-protocol", "https", "503"),
        ("backend-protocol-version", "HTTP3", "503"),
        ("healthcheck-path", "health", "shop/s"),
        ("healthcheck-port", "70000", "shop/s"),
        ("healthcheck-port", "0", "shop/s"),
        ("healthcheck-interval-seconds", "4", "shop/s"),
        ("healthcheck-timeout-seconds", "1m", "shop/s"),
        // As long as from one check to the next, which are 15 s by default, or longer than that.
        ("healthcheck-timeout-seconds", "15", "shop/s"),
        ("healthcheck-interval-seconds", "5", "shop/s"),
        ("healthy-threshold-count", "11", "shop/s"),
        ("success-codes", "ok", "shop/s"),
        ("success-codes", "199", "shop/s"),
        ("success-codes", "200-500", "shop/s"),
        ("success-codes", "299-200", "shop/s"),
        ("success-codes", "200,", "shop/s"),
        (
            "target-group-attributes",
            "slow_start.duration_seconds=1",
            "shop/s",
        ),
        ("target-group-attributes", "a", "shop/s"),
    ] {
        let served = asking(World::new().service("shop/s"), alb(&[(name, value)]), to("s")).one(&ours());
        served.told(
            Code::AnnotationInvalid,
            &format!("ingress shop/web metadata.annotations[alb.ingress.kubernetes.io/{name}]"),
        );
        assert_eq!(served.get("a.com/x"), answer, "{name}: {value}");
    }
}

#[test]
fn what_refuses_the_targets_hides_no_other_mistake() {
    for refusing in [
        ("target-type", "nonsense"),
        ("backend-protocol", "https"),
        ("backend-protocol-version", "HTTP3"),
        ("target-node-labels", "="),
        ("target-control-port.s.80", "0"),
    ] {
        let others = [
            ("healthcheck-interval-seconds", "abc"),
            ("healthcheck-path", "health"),
            ("healthcheck-port", "70000"),
            ("success-codes", "ok"),
            ("target-group-attributes", "a"),
        ];
        let annotations = alb(&[&[refusing], &others[..]].concat());
        let served = asking(World::new().service("shop/s"), annotations, to("s")).one(&ours());
        let told: BTreeSet<String> = served.problems.iter().map(|p| p.at.field.to_string()).collect();
        let names = [&[refusing], &others[..]].concat();
        let want = names
            .iter()
            .map(|(name, _)| format!("metadata.annotations[alb.ingress.kubernetes.io/{name}]"));
        assert_eq!(told, want.collect(), "{refusing:?}");
        assert_eq!(served.get("a.com/x"), "503", "{refusing:?}");
    }
    // Right for one kind of target, or for one version: nothing is wrong but what refuses.
    for (refusing, other) in [
        (("backend-protocol-version", "HTTP3"), ("success-codes", "0-5")),
        (("target-type", "nonsense"), ("target-control-port.s.80", "3000")),
    ] {
        let annotations = alb(&[refusing, other]);
        let served = asking(World::new().service("shop/s"), annotations, to("s")).one(&ours());
        assert_eq!(served.codes(), [Code::AnnotationInvalid], "{other:?}");
    }
}
