//! What is to stand before a load balancer in; the calls and their order, and whose rules are closed without it, out.

mod clients;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use portcullis_model::{
    ClientCertificates, Clients, Code, Firewall, FirewallChoice, LoadBalancer, ObjectName, Protocol,
    ProviderError, Retry, Semantics, TrustStore,
};

use super::build::*;
use super::refused::pass as refusing;
use super::settled::{made, rounds};
use crate::account::{Account, Fact, LateFacts};
use crate::change::{Call, Change};
use crate::compile::{Desired, DesiredFirewall, compile};
use crate::fold::{fold, imagine};
use crate::observed::{Looked, Observed, ProtectionState, Shared};
use crate::plan::plan;
use crate::resource::{Id, MutualAuthenticationMode, RuleAction};
use crate::settings::{Settings, Switch};

const ACL: &str = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/edge/1";
const OTHER: &str = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/other/2";

fn read<T>(value: T) -> OnceLock<Result<Fact<T>, ProviderError>> {
    OnceLock::from(Ok(Fact::Read(value)))
}

fn failed() -> ProviderError {
    ProviderError {
        code: Code::AccessDenied,
        call: "wafv2:ListWebACLs",
        message: "no".into(),
        retry: Retry::Backoff,
    }
}

/// With one web ACL, one trust store, and a subscription to Shield Advanced.
fn account() -> Account {
    let late = LateFacts {
        trust_stores: read([("roots".to_owned(), Id::new("arn:store"))].into()),
        web_acls: read(
            [
                (Id::new(ACL), "edge".to_owned()),
                (Id::new(OTHER), "other".to_owned()),
            ]
            .into(),
        ),
        shield: read(true),
        ..LateFacts::default()
    };
    Account {
        late,
        ..Account::offline(Some("vpc-1"))
    }
}

fn behind(choice: FirewallChoice) -> LoadBalancer {
    let mut balancer = simple();
    balancer.semantics = Semantics::Kubernetes;
    // Another member's, which asks for nothing.
    let web = balancer.backends.keys().next().unwrap().clone();
    balancer.rules.push(rule(
        "blog/web",
        &[80],
        "blog.example.com",
        "prefix:/",
        forward(&web),
    ));
    balancer.options.firewall = Some(Firewall {
        choice,
        relied_on_by: [object("shop/web")].into(),
        origin: origin("shop/web", "wafv2"),
    });
    balancer
}

fn nothing(balancer: &LoadBalancer) -> Observed {
    Observed::nothing(crate::Owner::load_balancer("demo", &balancer.id))
}

fn compiled(balancer: &LoadBalancer, account: &Account, observed: &Observed) -> (Desired, Vec<Code>) {
    let (desired, problems) = compile(&settings("demo"), balancer, account, observed);
    (desired.unwrap(), codes(&problems))
}

/// Which members' rules are closed at a port.
fn closed(desired: &Desired, port: u16) -> Vec<String> {
    let rules = desired
        .listeners
        .get(&port)
        .into_iter()
        .flat_map(|listener| &listener.rules);
    let closed = rules.filter(|rule| matches!(rule.spec.actions[0], RuleAction::FixedResponse { .. }));
    closed.map(|rule| rule.origin.object.to_string()).collect()
}

#[test]
fn a_firewall_stands_before_the_first_listener_is_made() {
    for choice in [
        FirewallChoice::Given(ACL.into()),
        FirewallChoice::Named("edge".into()),
    ] {
        let balancer = behind(choice);
        let (_, shared) = made(&balancer, &account());
        let calls = rounds(Some(&balancer), &mut nothing(&balancer), &shared, &account());
        let at = |name: &str| calls.iter().position(|call| call.starts_with(name)).unwrap();
        let associated = at("wafv2:AssociateWebACL");
        assert!(at("elbv2:CreateLoadBalancer") < associated, "{calls:?}");
        assert!(associated < at("elbv2:CreateListener"), "{calls:?}");
    }
}

#[test]
fn broken_off_after_any_call_nobody_is_served_past_the_firewall() {
    let balancer = behind(FirewallChoice::Named("edge".into()));
    let (_, shared) = made(&balancer, &account());
    let whole = rounds(Some(&balancer), &mut nothing(&balancer), &shared, &account());
    for stop in 0..=whole.len() {
        let mut observed = nothing(&balancer);
        let mut calls = 0;
        let check = |observed: &Observed| {
            if let Some(state) = observed.load_balancer() {
                let stands = state.web_acl.at() == Some(&Some(Id::new(ACL)));
                assert!(stands || state.listeners.is_empty(), "stopped after {stop}");
            }
        };
        // The first run is broken off; the second knows nothing but what is there.
        for most in [stop, usize::MAX] {
            let mut left = most;
            loop {
                let (round, problems) = plan(
                    &settings("demo"),
                    &balancer.id,
                    Some(&balancer),
                    &observed,
                    &shared,
                    &account(),
                );
                assert_eq!(problems, []);
                if round.is_empty() || left == 0 {
                    break;
                }
                for change in round.changes.iter().take(left) {
                    calls += 1;
                    fold(&mut observed, change, super::settled::distinct(change, calls));
                    check(&observed);
                }
                left = left.saturating_sub(round.changes.len());
            }
        }
        assert_eq!(
            observed.load_balancer().unwrap().listeners.len(),
            1,
            "stopped after {stop}"
        );
    }
}

#[test]
fn a_firewall_that_cannot_be_had_closes_those_who_ask_for_it_and_no_others() {
    let unread = Account {
        late: LateFacts::default(),
        ..account()
    };
    let denied = Account {
        late: LateFacts {
            web_acls: OnceLock::from(Err(failed())),
            ..account().late
        },
        ..account()
    };
    for (choice, account, code) in [
        (
            FirewallChoice::Named("egde".into()),
            &account(),
            Code::ResourceNotFound,
        ),
        (
            FirewallChoice::Given("arn:none".into()),
            &account(),
            Code::ResourceNotFound,
        ),
        (FirewallChoice::Named("edge".into()), &unread, Code::Unavailable),
        (FirewallChoice::Named("edge".into()), &denied, Code::AccessDenied),
    ] {
        for semantics in [Semantics::Kubernetes, Semantics::AwsLoadBalancerController] {
            let mut balancer = behind(choice.clone());
            balancer.semantics = semantics;
            let (_, shared) = made(&balancer, account);
            let mut observed = nothing(&balancer);
            rounds(Some(&balancer), &mut observed, &shared, account);
            // Nor are they open as soon as there is a listener.
            let (desired, problems) = compiled(&balancer, account, &observed);
            assert_eq!(problems, [code], "{choice:?} {semantics:?}");
            assert_eq!(closed(&desired, 80), ["shop/web"], "{choice:?} {semantics:?}");
            let calls = rounds(Some(&balancer), &mut observed, &shared, account);
            assert_eq!(calls, Vec::<String>::new(), "{choice:?} {semantics:?}");
        }
    }
}

#[test]
fn a_firewall_that_aws_refuses_to_put_there_keeps_no_neighbour_waiting() {
    // What AWS says, and whether the load balancer is ours all the same.
    for (code, ours) in [
        (Code::AccessDenied, true),
        (Code::RequestRefused, true),
        (Code::NotOurs, false),
    ] {
        for semantics in [Semantics::Kubernetes, Semantics::AwsLoadBalancerController] {
            let mut balancer = behind(FirewallChoice::Named("edge".into()));
            balancer.semantics = semantics;
            let (_, shared) = made(&balancer, &account());
            let mut observed = nothing(&balancer);
            let mut calls = 0;
            let mut denied =
                |change: &Change| matches!(change.call, Call::AssociateWebAcl { .. }).then_some(code);
            // The second pass, which tries again, and one that knows no refusal.
            for pass in ["first", "second"] {
                let world = (&mut observed, &shared, &account());
                let passed = refusing(Some(&balancer), world, &mut calls, &mut denied, |_, _| ());
                let row = format!("{code} {semantics:?}, {pass} pass: {:?}", passed.problems);
                if !ours {
                    let state = observed.load_balancer();
                    assert!(state.is_none_or(|state| state.listeners.is_empty()), "{row}");
                    continue;
                }
                let told: Vec<_> = passed.problems.iter().map(|told| (told.code, &told.at)).collect();
                assert_eq!(told, [(code, &origin("shop/web", "wafv2"))], "{row}");
                let (desired, _) = compiled(&balancer, &account(), &observed);
                assert_eq!(closed(&desired, 80), ["shop/web"], "{row}");
                let rules = &observed.load_balancer().unwrap().listeners[&80].rules;
                let open = rules
                    .iter()
                    .filter(|rule| !matches!(rule.spec.actions[0], RuleAction::FixedResponse { .. }));
                assert_eq!((rules.len(), open.count()), (2, 1), "{row}");
            }
            if ours {
                observed.refused.clear();
                let calls = rounds(Some(&balancer), &mut observed, &shared, &account());
                let names: Vec<&str> = calls.iter().map(|call| call.split(' ').next().unwrap()).collect();
                assert_eq!(
                    names,
                    [
                        "wafv2:AssociateWebACL",
                        "elbv2:ModifyRule",
                        "elbv2:ModifyListener"
                    ],
                    "{code} {semantics:?}"
                );
            }
        }
    }
}

#[test]
fn who_joins_without_what_it_relies_on_is_closed_and_who_serves_goes_on() {
    // A web ACL and a trust store that AWS does not have, under the incumbent's semantics.
    let misspelt = || {
        let mut balancer = asking(&[(443, verify("rots"))]);
        balancer.options.firewall = behind(FirewallChoice::Named("egde".into())).options.firewall;
        balancer.semantics = Semantics::AwsLoadBalancerController;
        balancer
    };
    let without = |keep: fn(&ObjectName) -> bool| {
        let mut balancer = asking(&[(443, ClientCertificates::Off)]);
        balancer.semantics = Semantics::AwsLoadBalancerController;
        balancer.rules.retain(|rule| keep(&rule.origin.object));
        balancer
    };
    let (none, joins, serves) = (
        nothing(&misspelt()),
        made(&without(|member| *member != object("shop/web")), &account()).0,
        made(&without(|_| true), &account()).0,
    );
    for (what, mut observed, want) in [
        ("nothing", none, vec!["shop/web"]),
        ("the others", joins, vec!["shop/web"]),
        ("all", serves, vec![]),
    ] {
        let (_, shared) = made(&misspelt(), &account());
        for pass in ["first", "second"] {
            let (desired, _) = compiled(&misspelt(), &account(), &observed);
            assert_eq!(closed(&desired, 443), want, "{what} stood, {pass} pass");
            rounds(Some(&misspelt()), &mut observed, &shared, &account());
        }
    }
}

#[test]
fn where_one_serves_already_its_neighbours_go_on_without_a_firewall() {
    // Semantics, what stood there, what can be known, then: whose rules are closed, and what becomes of the firewall.
    let denied = Account {
        late: LateFacts {
            web_acls: OnceLock::from(Err(failed())),
            ..account().late
        },
        ..account()
    };
    let other = Some(Id::new(OTHER));
    let ours = Semantics::Kubernetes;
    let theirs = Semantics::AwsLoadBalancerController;
    for (semantics, stood, account, closed_of, want) in [
        (ours, None, &account(), vec!["shop/web"], DesiredFirewall::Missing),
        // A slip takes no protection away.
        (ours, other.clone(), &account(), vec![], DesiredFirewall::AsItIs),
        // It may be the one that stands there.
        (ours, None, &denied, vec![], DesiredFirewall::Missing),
        (theirs, None, &account(), vec![], DesiredFirewall::Missing),
    ] {
        let mut plain = behind(FirewallChoice::Off);
        plain.semantics = semantics;
        let (mut observed, shared) = made(&plain, &self::account());
        observed.load_balancer_mut().unwrap().web_acl = Looked::At(stood.clone());
        let mut balancer = behind(FirewallChoice::Named("egde".into()));
        balancer.semantics = semantics;
        let (desired, problems) = compiled(&balancer, account, &observed);
        assert_eq!(problems.len(), 1, "{semantics:?} {stood:?}: {problems:?}");
        assert_eq!(closed(&desired, 80), closed_of, "{semantics:?} {stood:?}");
        assert_eq!(desired.firewall, want, "{semantics:?} {stood:?}");
        let calls = rounds(Some(&balancer), &mut observed, &shared, account);
        assert!(!calls.iter().any(|call| call.contains("WebACL")), "{calls:?}");
        assert_eq!(observed.load_balancer().unwrap().listeners.len(), 1);
    }
}

#[test]
fn a_firewall_is_changed_taken_away_or_left() {
    let (on, none) = (Some(Id::new(ACL)), None);
    for (choice, had, want) in [
        (Some(FirewallChoice::Named("edge".into())), &on, vec![]),
        (
            Some(FirewallChoice::Named("other".into())),
            &on,
            vec!["wafv2:AssociateWebACL LoadBalancer"],
        ),
        (
            Some(FirewallChoice::Named("edge".into())),
            &none,
            vec!["wafv2:AssociateWebACL LoadBalancer"],
        ),
        (
            Some(FirewallChoice::Off),
            &on,
            vec!["wafv2:DisassociateWebACL LoadBalancer"],
        ),
        (Some(FirewallChoice::Off), &none, vec![]),
        (None, &on, vec![]),
        (None, &none, vec![]),
    ] {
        let mut balancer = behind(FirewallChoice::Off);
        let (mut observed, shared) = made(&balancer, &account());
        observed.load_balancer_mut().unwrap().web_acl = Looked::At(had.clone());
        let firewall = balancer.options.firewall.take();
        balancer.options.firewall = firewall
            .zip(choice.clone())
            .map(|(firewall, choice)| Firewall { choice, ..firewall });
        assert_eq!(
            rounds(Some(&balancer), &mut observed, &shared, &account()),
            want,
            "{choice:?} {had:?}"
        );
    }
}

#[test]
fn a_new_listener_waits_for_the_firewall_and_the_old_ones_serve() {
    let before = behind(FirewallChoice::Off);
    let (mut observed, shared) = made(&before, &account());
    let mut after = behind(FirewallChoice::Named("edge".into()));
    http(&mut after, 8080, not_found());
    let calls = rounds(Some(&after), &mut observed, &shared, &account());
    let at = |name: &str| calls.iter().position(|call| call.starts_with(name)).unwrap();
    assert!(
        at("wafv2:AssociateWebACL") < at("elbv2:CreateListener 8080"),
        "{calls:?}"
    );
}

#[test]
fn switched_off_nothing_of_it_is_touched_and_who_relies_on_it_is_not_served() {
    let off = Settings {
        wafv2: Switch::Off,
        shield: Switch::Off,
        ..settings("demo")
    };
    let mut balancer = behind(FirewallChoice::Named("edge".into()));
    balancer.options.attack_protection = Some(true);
    let (observed, _) = made(&behind(FirewallChoice::Off), &account());
    let (desired, problems) = compile(&off, &balancer, &account(), &observed);
    let desired = desired.unwrap();
    assert_eq!(
        codes(&problems),
        [Code::OptionUnsupported, Code::OptionUnsupported]
    );
    assert_eq!(closed(&desired, 80), ["shop/web"]);
    assert_eq!(
        (desired.firewall, desired.protected),
        (DesiredFirewall::Missing, None)
    );
}

#[test]
fn shield_protects_with_a_subscription_and_gives_up_only_what_is_ours() {
    let state = |name: &str| {
        Some(ProtectionState {
            id: Id::new("p-1"),
            name: name.to_owned(),
        })
    };
    let ours = "managed by aws-load-balancer-controller";
    let older = "managed by aws-alb-ingress-controller";
    let (create, delete) = (
        vec!["shield:CreateProtection LoadBalancer"],
        vec!["shield:DeleteProtection LoadBalancer"],
    );
    for (wanted, had, subscribed, want, problems) in [
        (Some(true), None, true, create, vec![]),
        (Some(true), state("by hand"), true, vec![], vec![]),
        (Some(true), None, false, vec![], vec![Code::OptionUnsupported]),
        (Some(false), state(ours), true, delete.clone(), vec![]),
        (Some(false), state(older), false, delete, vec![]),
        (Some(false), state("by hand"), true, vec![], vec![]),
        (Some(false), None, true, vec![], vec![]),
        (None, state(ours), true, vec![], vec![]),
    ] {
        let account = Account {
            late: LateFacts {
                shield: read(subscribed),
                ..account().late
            },
            ..account()
        };
        let mut balancer = simple();
        let (mut observed, shared) = made(&balancer, &account);
        observed.load_balancer_mut().unwrap().protection = Looked::At(had.clone());
        balancer.options.attack_protection = wanted;
        assert_eq!(
            compiled(&balancer, &account, &observed).1,
            problems,
            "{wanted:?} {had:?}"
        );
        let calls = rounds(Some(&balancer), &mut observed, &shared, &account);
        assert_eq!(calls, want, "{wanted:?} {had:?}");
    }
}

#[test]
fn a_protection_of_ours_goes_before_its_load_balancer() {
    let mut balancer = simple();
    balancer.options.attack_protection = Some(true);
    let (mut observed, shared) = made(&balancer, &account());
    let calls = rounds(None, &mut observed, &shared, &account());
    assert_eq!(
        calls[..2],
        [
            "shield:DeleteProtection LoadBalancer",
            "elbv2:DeleteLoadBalancer LoadBalancer"
        ],
        "{calls:?}"
    );
}

/// HTTPS at these ports, each asking this of clients for the sake of `shop/web`; another member's rule beside.
fn asking(ports: &[(u16, ClientCertificates)]) -> LoadBalancer {
    let mut balancer = behind(FirewallChoice::Off);
    balancer.options.firewall = None;
    for (number, certificates) in ports {
        https(&mut balancer, *number, vec![discovered(&["web.example.com"])]);
        let listener = balancer.listeners.get_mut(&port(*number)).unwrap();
        if let Protocol::Https(tls) = &mut listener.protocol {
            tls.clients = Some(Clients {
                certificates: certificates.clone(),
                relied_on_by: [object("shop/web")].into(),
                origin: origin("shop/web", "mutual-authentication"),
            });
        }
    }
    for rule in &mut balancer.rules {
        rule.ports.extend(ports.iter().map(|(number, _)| port(*number)));
    }
    balancer
}

fn verify(trust_store: &str) -> ClientCertificates {
    verify_by(TrustStore::Given(trust_store.to_owned()))
}

fn verify_by(trust_store: TrustStore) -> ClientCertificates {
    ClientCertificates::Verify {
        trust_store,
        ignore_expiry: true,
        advertise_authorities: true,
    }
}

#[test]
fn what_stands_before_a_load_balancer_is_shown() {
    let mut balancer = behind(FirewallChoice::Named("edge".into()));
    balancer.options.attack_protection = Some(true);
    let (desired, _) = compiled(&balancer, &Account::offline(None), &nothing(&balancer));
    let shown: BTreeMap<&str, String> = desired
        .resources()
        .iter()
        .map(|resource| (resource.kind, resource.spec.to_string()))
        .collect();
    assert_eq!(
        shown["WebACLAssociation"],
        r#"{"ResourceArn":"${LoadBalancer/LoadBalancer}","WebACLArn":"${WebACL/edge}"}"#
    );
    assert!(shown["Protection"].contains("managed by aws-load-balancer-controller"));
    // A create whose answer was lost is made again: nothing is believed to stand that does not.
    let (observed, shared) = (nothing(&balancer), Shared::nothing("demo"));
    let (round, _) = plan(
        &settings("demo"),
        &balancer.id,
        Some(&balancer),
        &observed,
        &shared,
        &account(),
    );
    for change in &round.changes {
        assert!(!matches!(change.call, Call::AssociateWebAcl { .. }), "{change}");
        imagine(change);
    }
}

#[test]
fn that_something_is_to_be_absent_is_noticed() {
    let plain = || {
        let mut balancer = asking(&[(443, ClientCertificates::Off)]);
        if let Protocol::Https(tls) = &mut balancer.listeners.get_mut(&port(443)).unwrap().protocol {
            tls.clients = None;
        }
        balancer
    };
    let print = |balancer: &LoadBalancer| crate::fingerprint(&settings("demo"), balancer, &account());
    let mut unprotected = plain();
    unprotected.options.attack_protection = Some(false);
    let mut open = plain();
    open.options.firewall = behind(FirewallChoice::Off).options.firewall;
    let prints = [
        plain(),
        unprotected,
        open,
        asking(&[(443, ClientCertificates::Off)]),
    ]
    .map(|b| print(&b));
    let distinct: std::collections::BTreeSet<&String> = prints.iter().collect();
    assert_eq!(distinct.len(), prints.len(), "{prints:?}");
}
