//! What exists, and settings of which nothing is known any more in, the calls that leave it as it is out.

use std::collections::BTreeMap;

use portcullis_model::{
    Action, AddressFamily, Backend, BackendProtocol, BackendTls, BackendVersion, FixedResponse, Front,
    FrontPort, HealthCheck, HealthPort, Kept, KeptFront, KeptHealth, KeptTargets, LoadBalancer, Redirect,
    Scheme, Semantics, Stands, TargetKind, UnreadBackend,
};

use super::build::*;
use super::settled::{made, rounds};
use crate::account::Account;
use crate::fingerprint;

fn fronted(mut balancer: LoadBalancer) -> LoadBalancer {
    let health = HealthCheck {
        path: "/front".into(),
        ..HealthCheck::for_protocol(&BackendProtocol::default())
    };
    let port_of = FrontPort {
        to: port(80),
        health,
        origin: origin("shop/web", "mapping"),
    };
    balancer.options.front = Some(Front {
        scheme: Scheme::InternetFacing,
        subnets: vec!["subnet-3".into()],
        security_groups: vec!["sg-3".into()],
        addresses: Vec::new(),
        attributes: BTreeMap::new(),
        tags: Some([("Front".into(), "yes".into())].into()),
        ports: [(port(8080), port_of)].into(),
        stands: Stands::AsAsked,
        kept: Default::default(),
        origin: origin("shop/web", "enable"),
    });
    balancer
}

/// Everything that can be asked for at once, none of it a default.
fn good(semantics: Semantics) -> LoadBalancer {
    let mut out = fronted(simple());
    out.semantics = semantics;
    let options = &mut out.options;
    options.address_family = AddressFamily::Dualstack;
    options.subnets = vec!["subnet-1".into(), "subnet-2".into()];
    options.security_groups = vec!["sg-1".into()];
    options.open_nodes = true;
    options.pools.public = Some("ipam-pool-1".into());
    options.tags = [("Team".into(), "x".into())].into();
    for backend in out.backends.values_mut() {
        backend.tags = [("Team".into(), "x".into())].into();
        backend.health = HealthCheck {
            tls: true,
            port: HealthPort::Fixed(port(9)),
            path: "/healthz".into(),
            interval_seconds: 30,
            timeout_seconds: 6,
            healthy_threshold: 3,
            unhealthy_threshold: 4,
            success_codes: "204".into(),
            kept: Default::default(),
        };
    }
    out
}

type Edit = fn(&mut LoadBalancer);

fn front(balancer: &mut LoadBalancer) -> &mut Front {
    balancer.options.front.as_mut().unwrap()
}

/// Each becomes what translation makes of a value that it cannot read.
const LOST: &[(&str, Edit)] = &[
    ("scheme", |b| {
        b.options.scheme = Scheme::Internal;
        b.options.kept.insert(Kept::Scheme);
    }),
    ("ip-address-type", |b| {
        b.options.address_family = AddressFamily::Ipv4;
        b.options.kept.insert(Kept::AddressFamily);
    }),
    ("subnets", |b| {
        b.options.subnets = vec!["subnet-9".into()];
        b.options.kept.insert(Kept::Subnets);
    }),
    ("security-groups", |b| {
        b.options.security_groups = vec!["sg-9".into()];
        b.options.kept.insert(Kept::SecurityGroups);
    }),
    ("manage-backend-security-group-rules", |b| {
        b.options.open_nodes = false;
        b.options.kept.insert(Kept::OpenNodes);
    }),
    ("ipam-ipv4-pool-id", |b| {
        b.options.pools.public = Some("ipam-pool-9".into());
        b.options.kept.insert(Kept::PublicPool);
    }),
    ("tags", |b| {
        b.options.tags.clear();
        b.options.kept.insert(Kept::Tags);
        for backend in b.backends.values_mut() {
            backend.tags.clear();
            backend.keeps_tags = true;
        }
    }),
    ("a tag with two values", |b| {
        b.options.tags.insert("Team".into(), "y".into());
        b.options.kept.insert(Kept::Tag("Team".into()));
    }),
    ("a new tag with two values", |b| {
        b.options.tags.insert("New".into(), "y".into());
        b.options.kept.insert(Kept::Tag("New".into()));
    }),
    ("health checks", |b| {
        for backend in b.backends.values_mut() {
            backend.health = HealthCheck::for_protocol(&backend.protocol);
            backend.health.kept = KeptHealth::ALL.into();
        }
    }),
    ("enable-frontend-nlb", |b| {
        b.options.front = None;
        b.options.kept.insert(Kept::Front);
    }),
    ("frontend-nlb-scheme", |b| {
        front(b).scheme = Scheme::Internal;
        front(b).kept.insert(KeptFront::Scheme);
    }),
    ("frontend-nlb-subnets", |b| {
        front(b).subnets.clear();
        front(b).kept.insert(KeptFront::Subnets);
    }),
    ("frontend-nlb-security-groups", |b| {
        front(b).security_groups = vec!["sg-9".into()];
        front(b).kept.insert(KeptFront::SecurityGroups);
    }),
    ("frontend-nlb-eip-allocations", |b| {
        front(b).addresses = vec!["eipalloc-9".into()];
        front(b).kept.insert(KeptFront::Addresses);
    }),
    ("frontend-nlb-tags", |b| {
        front(b).tags = None;
        front(b).kept.insert(KeptFront::Tags);
    }),
    ("frontend-nlb-listener-port-mapping", |b| {
        front(b).ports.clear();
        front(b).kept.insert(KeptFront::Ports);
    }),
    ("frontend-nlb-healthcheck-*", |b| {
        let asked = front(b).ports.get_mut(&port(8080)).unwrap();
        asked.health = HealthCheck::for_protocol(&BackendProtocol::default());
        asked.health.kept = KeptHealth::ALL.into();
    }),
];

#[test]
fn what_is_not_known_any_more_stays_and_is_applied_when_it_is_known_again() {
    let account = Account::offline(None);
    for semantics in [Semantics::Kubernetes, Semantics::AwsLoadBalancerController] {
        let before = good(semantics);
        let (made, shared) = made(&before, &account);
        let mut all = before.clone();
        for (name, lose) in LOST {
            let mut after = before.clone();
            lose(&mut after);
            lose_if_there(*lose, name, &mut all);
            let mut observed = made.clone();
            let calls = rounds(Some(&after), &mut observed, &shared, &account);
            assert_eq!(calls, Vec::<String>::new(), "{name}");
            assert_eq!(
                crate::demand(&settings("demo"), &after, Some(&observed), &account),
                crate::demand(&settings("demo"), &before, Some(&observed), &account),
                "{name}"
            );
            let print = |balancer| fingerprint(&settings("demo"), balancer, &account);
            assert_ne!(print(&before), print(&after), "{name}");
            // The value beside it is meant once it is known.
            let mut known = after.clone();
            known.options.kept.clear();
            for backend in known.backends.values_mut() {
                backend.health.kept.clear();
                backend.keeps_tags = false;
            }
            if let Some(front) = &mut known.options.front {
                front.kept.clear();
                front
                    .ports
                    .values_mut()
                    .for_each(|asked| asked.health.kept.clear());
            }
            assert_ne!(print(&known), print(&after), "{name}");
            assert_eq!(
                rounds(Some(&before), &mut observed, &shared, &account),
                Vec::<String>::new(),
                "{name}"
            );
        }
        let mut observed = made.clone();
        let calls = rounds(Some(&all), &mut observed, &shared, &account);
        assert_eq!(calls, Vec::<String>::new(), "all at once");
    }
}

/// All at once: what stands in front is lost as a whole at the end.
fn lose_if_there(lose: Edit, name: &str, all: &mut LoadBalancer) {
    if !name.starts_with("frontend-nlb") {
        lose(all);
    }
}

#[test]
fn the_value_beside_counts_where_nothing_exists() {
    let account = Account::offline(None);
    for (name, lose) in LOST {
        let mut balancer = good(Semantics::Kubernetes);
        lose(&mut balancer);
        let (observed, _) = made(&balancer, &account);
        let spec = &observed.load_balancer().unwrap().spec;
        let wanted = match balancer.options.scheme {
            Scheme::Internal => "internal",
            Scheme::InternetFacing => "internet-facing",
        };
        assert_eq!(spec.scheme.as_str(), wanted, "{name}");
    }
}

#[test]
fn what_nobody_can_read_takes_nothing_from_a_shared_target_group() {
    let account = Account::offline(None);
    let mut before = balancer("g", Semantics::Kubernetes);
    http(&mut before, 80, not_found());
    for name in ["a", "b"] {
        let owner = format!("shop/{name}");
        let id = backend(
            &mut before,
            &owner,
            "web",
            "80",
            8080,
            Where::Pods(&["10.0.16.10"]),
        );
        let host = format!("{name}.example.com");
        before
            .rules
            .push(rule(&owner, &[80], &host, "prefix:/", forward(&id)));
    }
    for backend in before.backends.values_mut() {
        backend.health.path = "/healthz".into();
        backend.tags = [("Team".into(), "x".into())].into();
    }
    let (made, shared) = made(&before, &account);
    assert_eq!(made.target_groups.len(), 1);
    type Lose = fn(&mut portcullis_model::Backend);
    let edits: [Lose; 2] = [
        |backend| {
            backend.health.path = "/".into();
            backend.health.kept.insert(KeptHealth::Path);
        },
        |backend| {
            backend.tags.clear();
            backend.keeps_tags = true;
        },
    ];
    for lose in edits {
        for count in [1, 2] {
            let mut after = before.clone();
            after
                .backends
                .values_mut()
                .take(count)
                .for_each(|backend| lose(backend));
            let mut observed = made.clone();
            let calls = rounds(Some(&after), &mut observed, &shared, &account);
            assert_eq!(calls, Vec::<String>::new(), "{count}");
        }
    }
    // One that never was shared: its own stays its own.
    let mut apart = before.clone();
    let first = apart.backends.values_mut().next().unwrap();
    first.health.path = "/other".into();
    let (mut observed, shared) = self::made(&apart, &account);
    let first = apart.backends.values_mut().next().unwrap();
    first.health.path = "/".into();
    first.health.kept.insert(KeptHealth::Path);
    let calls = rounds(Some(&apart), &mut observed, &shared, &account);
    assert_eq!(calls, Vec::<String>::new());
}

#[test]
fn a_redirect_of_all_goes_on_until_another_is_known() {
    let account = Account::offline(None);
    let to = |number| Action::Redirect(Redirect::to_https(port(number)));
    let mut before = simple();
    https(&mut before, 443, vec![discovered(&["web.example.com"])]);
    https(&mut before, 8443, vec![discovered(&["web.example.com"])]);
    for listener in before.listeners.values_mut() {
        if let portcullis_model::Protocol::Https(tls) = &mut listener.protocol {
            tls.certificates[0].source = portcullis_model::CertificateSource::Given(
                "arn:aws:acm:eu-west-1:111122223333:certificate/c".into(),
            );
        }
    }
    before.rules[0].ports = [port(443)].into();
    before.listeners.get_mut(&port(80)).unwrap().default_action = to(443);
    let (made, shared) = made(&before, &account);
    assert!(made.load_balancer().unwrap().listeners.contains_key(&443));
    let closed = || rule("shop/web", &[80], "web.example.com", "prefix:/", not_found());
    let redirected = |number| rule("shop/other", &[80], "o.example.com", "prefix:/", to(number));
    for (name, default_action, rules, calls) in [
        ("unreadable", not_found(), vec![closed()], 0),
        ("contested", to(8443), vec![], 0),
        (
            "another asks for the same",
            not_found(),
            vec![closed(), redirected(443)],
            0,
        ),
        (
            "another asks for another",
            not_found(),
            vec![closed(), redirected(8443)],
            3,
        ),
    ] {
        let mut after = before.clone();
        after.listeners.get_mut(&port(80)).unwrap().default_action = default_action;
        after.rules.extend(rules);
        after.options.kept.insert(Kept::Redirect(port(80)));
        let mut observed = made.clone();
        let made = rounds(Some(&after), &mut observed, &shared, &account);
        assert_eq!(made.len(), calls, "{name}: {made:?}");
    }
}

#[test]
fn who_asked_to_be_reached_from_within_alone_is_closed_where_the_world_reaches_it() {
    let account = Account::offline(None);
    for (scheme, closed) in [(Scheme::InternetFacing, true), (Scheme::Internal, false)] {
        let mut before = simple();
        before.semantics = Semantics::Kubernetes;
        before.options.scheme = scheme;
        let (mut observed, shared) = made(&before, &account);
        let mut after = before.clone();
        after.options.scheme = Scheme::Internal;
        after.options.kept.insert(Kept::Scheme);
        after
            .options
            .relied_on_by
            .insert("scheme", [object("shop/web")].into());
        let calls = rounds(Some(&after), &mut observed, &shared, &account);
        let want: &[&str] = match closed {
            true => &["elbv2:ModifyRule 80:1", "elbv2:DeleteTargetGroup shop/web-web:80"],
            false => &[],
        };
        assert_eq!(calls, want, "{scheme:?}");
    }
}

#[test]
fn codes_of_either_protocol_stay() {
    let account = Account::offline(None);
    let mut before = simple();
    for backend in before.backends.values_mut() {
        backend.protocol.version = BackendVersion::Grpc;
        backend.health.success_codes = "0".into();
    }
    let (mut observed, shared) = made(&before, &account);
    for backend in before.backends.values_mut() {
        backend.health.success_codes = "12".into();
        backend.health.kept.insert(KeptHealth::SuccessCodes);
    }
    assert_eq!(
        rounds(Some(&before), &mut observed, &shared, &account),
        Vec::<String>::new()
    );
}

/// The same with each backend as translation has it where these are not known.
fn unread(before: &LoadBalancer, kept: &[KeptTargets]) -> LoadBalancer {
    let mut out = before.clone();
    for (id, backend) in std::mem::take(&mut out.backends) {
        let mut guess = (*backend).clone();
        guess.protocol = BackendProtocol::default();
        guess.control_port = None;
        guess.health = HealthCheck::for_protocol(&guess.protocol);
        guess.health.kept = KeptHealth::ALL.into();
        let mut either = vec![guess];
        if kept.contains(&KeptTargets::Kind) {
            let kinds = [TargetKind::Pod, TargetKind::Node];
            let others = kinds.into_iter().filter(|kind| *kind != backend.target_kind);
            let other = others.map(|target_kind| Backend {
                target_kind,
                targets: [].into(),
                ..either[0].clone()
            });
            either = other.chain(either.clone()).collect();
        }
        let kept = kept.iter().copied().collect();
        out.unread.insert(id, UnreadBackend { kept, either });
    }
    let close = |action: &mut Action| {
        if let Action::Forward(before) = action {
            *action = Action::Fixed(FixedResponse::unread(
                "Backend is not served",
                Some(before.clone()),
            ));
        }
    };
    out.rules.iter_mut().for_each(|rule| close(&mut rule.action));
    out
}

#[test]
fn targets_of_which_not_all_is_known_go_on_as_they_are_and_follow_the_cluster() {
    use KeptTargets::{ControlPort, Kind, Nodes, Tls, Version};
    let pods = |ips| Where::Pods(ips);
    let nodes = |ids| Where::Nodes(ids);
    // What is lost, the targets before and after, and those that are registered then.
    type Row<'a> = (&'a [KeptTargets], Where<'a>, Where<'a>, &'a [&'a str]);
    let rows: [Row<'_>; 4] = [
        (
            &[Kind, Tls, Version, ControlPort],
            pods(&["10.0.16.10"]),
            pods(&["10.0.16.11"]),
            &["10.0.16.11"],
        ),
        (
            &[Kind],
            nodes(&["i-1", "i-2"]),
            nodes(&["i-2", "i-3"]),
            &["i-2", "i-3"],
        ),
        // Which of them are meant nobody knows: none is added.
        (&[Nodes], nodes(&["i-1", "i-2"]), nodes(&["i-2", "i-3"]), &["i-2"]),
        (
            &[Tls],
            pods(&["10.0.16.10"]),
            pods(&["10.0.16.10"]),
            &["10.0.16.10"],
        ),
    ];
    for (kept, had, has, want) in rows {
        for semantics in [Semantics::Kubernetes, Semantics::AwsLoadBalancerController] {
            let given = |targets: Where<'_>| {
                let mut out = simple();
                out.semantics = semantics;
                backend(&mut out, "shop/web", "web", "80", 8080, targets);
                let backend = out.backends.values_mut().next().unwrap();
                backend.protocol.tls = BackendTls::Unverified;
                if backend.target_kind == TargetKind::Pod {
                    backend.protocol.version = BackendVersion::Http2;
                    backend.control_port = Some(port(3000));
                }
                out
            };
            let known = |balancer: LoadBalancer| {
                let mut out = unread(&balancer, kept);
                let theirs = balancer.backends.values().next().unwrap();
                for guess in out.unread.values_mut().flat_map(|unread| &mut unread.either) {
                    // What can be read is right.
                    if !kept.contains(&Tls) {
                        guess.protocol.tls = BackendTls::Unverified;
                    }
                    if !kept.contains(&Version) {
                        guess.protocol.version = theirs.protocol.version;
                    }
                    if !kept.contains(&ControlPort) {
                        guess.control_port = theirs.control_port;
                    }
                }
                out
            };
            let account = Account::offline(None);
            let (mut observed, shared) = made(&given(had), &account);
            let arn = observed.target_groups[0].get().arn.clone();
            let calls = rounds(Some(&known(given(had))), &mut observed, &shared, &account);
            assert_eq!(calls, [""; 0], "{kept:?}");
            let print = |balancer| fingerprint(&settings("demo"), balancer, &account);
            assert_ne!(print(&known(given(had))), print(&given(had)), "{kept:?}");
            rounds(Some(&known(given(has))), &mut observed, &shared, &account);
            let state = observed.target_groups[0].get();
            let ids: Vec<&str> = state.spec.targets.iter().map(|target| &*target.id).collect();
            assert_eq!((ids.as_slice(), &state.arn), (want, &arn), "{kept:?}");
            // Where nothing exists, nothing is guessed.
            let (nothing, _) = made(&known(given(has)), &account);
            assert_eq!(nothing.target_groups, [], "{kept:?}");
        }
    }
}
