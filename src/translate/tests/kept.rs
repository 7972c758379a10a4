//! Members of which one is unreadable or disagrees in, which settings are to stay as they exist out.

use std::collections::BTreeSet;

use portcullis_model::{Kept, KeptFront, KeptHealth, Scheme};

use super::constraints::get;
use super::*;

/// Members of a group in this order, each older than the next; `b` has a backend of its own.
fn group(settings: &Settings, members: &[&[(&str, &str)]]) -> Served {
    let mut world = World::new();
    for (place, more) in (1u32..).zip(members) {
        let name = ["a", "b", "c"][place as usize - 1];
        let order = place.to_string();
        let annotations = [&[("group.name", "g"), ("group.order", order.as_str())], *more].concat();
        world = world.service(&format!("shop/{name}")).aged(
            &format!("shop/{name}"),
            place,
            alb(&annotations),
            json!({ "rules": [rule(&format!("{name}.com"), json!([path("Prefix", "/", name)]))] }),
        );
    }
    world.one(settings)
}

#[test]
fn what_is_unreadable_or_contested_is_not_known() {
    use Kept::{AddressFamily, Front, OpenNodes, PublicPool, SecurityGroups, Subnets, Tags};
    let scheme = |text| ("scheme", text);
    let (internal, facing, bad) = (
        scheme("internal"),
        scheme("internet-facing"),
        scheme("internet_facing"),
    );
    let tag = Kept::Tag("Team".into());
    // Of a and b; under Kubernetes semantics, then under the incumbent's.
    type Said<'a> = &'a [(&'a str, &'a str)];
    let rows: &[(Said<'_>, Said<'_>, &[Kept], &[Kept])] = &[
        (&[], &[], &[], &[]),
        (&[internal], &[], &[], &[]),
        (&[internal], &[internal], &[], &[]),
        (&[bad], &[], &[Kept::Scheme], &[Kept::Scheme]),
        // The first has the say under Kubernetes semantics, be it readable or not.
        (&[internal], &[facing], &[], &[Kept::Scheme]),
        (&[internal], &[bad], &[], &[Kept::Scheme]),
        (&[bad], &[internal], &[Kept::Scheme], &[Kept::Scheme]),
        (
            &[("ip-address-type", "dual-stack")],
            &[],
            &[AddressFamily],
            &[AddressFamily],
        ),
        (&[("subnets", "a")], &[("subnets", "b")], &[], &[Subnets]),
        (&[("subnets", "a,b")], &[("subnets", "b,a")], &[], &[]),
        (
            &[("security-groups", "a")],
            &[("security-groups", "b")],
            &[],
            &[SecurityGroups],
        ),
        (
            &[("manage-backend-security-group-rules", "yes")],
            &[],
            &[OpenNodes],
            &[OpenNodes],
        ),
        (
            &[("ipam-ipv4-pool-id", "ipam-pool-1")],
            &[("ipam-ipv4-pool-id", "ipam-pool-2")],
            &[],
            &[PublicPool],
        ),
        (&[("tags", "Team")], &[], &[Tags], &[Tags]),
        (&[("tags", "Team=x")], &[("tags", "Team=y,A=b")], &[], &[tag]),
        (&[("enable-frontend-nlb", "ture")], &[], &[Front], &[Front]),
        (
            &[("enable-frontend-nlb", "true")],
            &[("enable-frontend-nlb", "false")],
            &[],
            &[Front],
        ),
    ];
    for (a, b, own, incumbents) in rows {
        for (settings, want) in [(ours(), own), (theirs(), incumbents)] {
            let kept = group(&settings, &[a, b]).balancer.options.kept;
            assert_eq!(kept, want.iter().cloned().collect(), "{a:?} {b:?}");
        }
    }
}

#[test]
fn who_asked_for_another_value_is_told_that_what_exists_stays() {
    let served = group(
        &ours(),
        &[&[("scheme", "public")], &[("scheme", "internet-facing")]],
    );
    let told: Vec<String> = served.problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].contains("shop/a") && told[0].contains("expected internal"),
        "{told:?}"
    );
    assert!(
        told[1].contains("shop/b") && told[1].contains("cannot be read; what exists stays"),
        "{told:?}"
    );
}

#[test]
fn attributes_that_members_contest_are_not_asked_for() {
    const IDLE: &str = "idle_timeout.timeout_seconds";
    let of = |seconds: &'static str| ("load-balancer-attributes", seconds);
    let (one, two) = (
        of("idle_timeout.timeout_seconds=60"),
        of("idle_timeout.timeout_seconds=61"),
    );
    for (settings, want) in [(ours(), Some("60")), (theirs(), None)] {
        let options = group(&settings, &[&[one], &[two]]).balancer.options;
        assert_eq!(options.attributes.get(IDLE).map(String::as_str), want);
    }
    let capacity = |units| ("minimum-load-balancer-capacity", units);
    for (settings, want) in [(ours(), Some(1)), (theirs(), None)] {
        let members: [&[(&str, &str)]; 2] = [&[capacity("CapacityUnits=1")], &[capacity("CapacityUnits=2")]];
        assert_eq!(group(&settings, &members).balancer.options.minimum_capacity, want);
    }
}

#[test]
fn redirects_that_are_not_known_go_on_where_no_member_asks_for_another() {
    const PORTS: (&str, &str) = ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443},{"HTTPS":8443}]"#);
    let to = |port| ("ssl-redirect", port);
    let kept = || BTreeSet::from([Kept::Redirect(Port::HTTP)]);
    for (settings, a, b, want) in [
        (ours(), to("443"), Some(to("44e")), kept()),
        (ours(), to("44e"), Some(to("443")), kept()),
        (ours(), to("44e"), None, BTreeSet::new()),
        (ours(), to("443"), Some(to("8443")), BTreeSet::new()),
        (theirs(), to("443"), Some(to("443")), BTreeSet::new()),
        (theirs(), to("443"), Some(to("8443")), kept()),
        (theirs(), to("44e"), None, kept()),
    ] {
        let b: Vec<(&str, &str)> = [PORTS].into_iter().chain(b).collect();
        let served = group(&settings, &[&[PORTS, a], &b]);
        assert_eq!(served.balancer.options.kept, want, "{a:?} {b:?}");
    }
    let alone = group(&ours(), &[&[PORTS, to("44e")]]);
    assert_eq!(alone.balancer.options.kept, kept());
}

#[test]
fn health_checks_and_tags_of_targets_are_known_setting_by_setting() {
    for (name, value, want) in [
        ("healthcheck-path", "healthz", KeptHealth::Path),
        ("healthcheck-port", "808O", KeptHealth::Port),
        ("healthcheck-protocol", "TCP", KeptHealth::Tls),
        ("healthcheck-interval-seconds", "30s", KeptHealth::Interval),
        ("healthcheck-timeout-seconds", "x", KeptHealth::Timeout),
        ("healthy-threshold-count", "x", KeptHealth::HealthyThreshold),
        ("unhealthy-threshold-count", "1", KeptHealth::UnhealthyThreshold),
        ("success-codes", "200-", KeptHealth::SuccessCodes),
    ] {
        let served = group(&ours(), &[&[(name, value)], &[]]);
        let kept: Vec<_> = served
            .balancer
            .backends
            .values()
            .map(|b| &b.health.kept)
            .collect();
        assert_eq!(kept, [&BTreeSet::from([want]), &BTreeSet::new()], "{name}");
    }
    let served = group(&ours(), &[&[("tags", "x")], &[]]);
    let keeps: Vec<bool> = served.balancer.backends.values().map(|b| b.keeps_tags).collect();
    assert_eq!(keeps, [true, false]);
}

#[test]
fn what_stands_in_front_is_known_setting_by_setting() {
    const ON: (&str, &str) = ("enable-frontend-nlb", "true");
    for (name, value, want) in [
        ("frontend-nlb-scheme", "public", KeptFront::Scheme),
        ("frontend-nlb-subnets", ",", KeptFront::Subnets),
        ("frontend-nlb-security-groups", ",", KeptFront::SecurityGroups),
        ("frontend-nlb-eip-allocations", ",", KeptFront::Addresses),
        ("frontend-nlb-tags", "x", KeptFront::Tags),
        ("frontend-nlb-listener-port-mapping", "x=80", KeptFront::Ports),
        // Nothing is listened on at 81: where it was to lead is not known.
        ("frontend-nlb-listener-port-mapping", "80=81", KeptFront::Ports),
    ] {
        let served = group(&ours(), &[&[ON, (name, value)]]);
        let front = served.balancer.options.front.unwrap();
        assert_eq!(front.kept, [want].into(), "{name}");
    }
    let served = group(&ours(), &[&[ON, ("frontend-nlb-healthcheck-path", "x")]]);
    let front = served.balancer.options.front.unwrap();
    assert_eq!(front.ports[&Port::HTTP].health.kept, [KeptHealth::Path].into());
}

#[test]
fn an_unreadable_scheme_gives_way_to_no_wider_one() {
    let (bad, facing, internal) = (
        ("scheme", "x"),
        ("scheme", "internet-facing"),
        ("scheme", "internal"),
    );
    let served = group(&ours(), &[&[bad], &[facing], &[internal]]);
    let options = &served.balancer.options;
    assert_eq!(options.scheme, Scheme::Internal);
    let asked = &options.relied_on_by["scheme"];
    assert_eq!(
        asked.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["shop/c"]
    );
    // Nobody is refused before it is known what exists.
    assert_eq!(served.ask(&get("c.com/", &[], "10.0.0.1")), "shop/c");
}
