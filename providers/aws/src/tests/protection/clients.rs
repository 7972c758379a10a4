//! What listeners ask of clients' certificates in, listeners that verify and rules that are closed out.

use super::*;
use crate::resource::RuleCondition;
use crate::tests::refused::pass;

#[test]
fn trust_stores_are_found_by_name_and_taken_by_arn() {
    let arn = "arn:aws:elasticloadbalancing:us-east-1:123456789012:truststore/roots/1";
    for (given, want, code) in [
        ("roots", Some("arn:store"), None),
        (arn, Some(arn), None),
        ("rots", None, Some(Code::ResourceNotFound)),
        ("arn:aws:iam::1:x", None, Some(Code::ResourceNotFound)),
    ] {
        let balancer = asking(&[(443, verify(given))]);
        let (desired, problems) = compiled(&balancer, &account(), &nothing(&balancer));
        assert_eq!(problems, Vec::from_iter(code), "{given}");
        let asked = &desired.listeners[&443].spec.mutual_authentication;
        let store = asked.as_ref().and_then(|asked| asked.trust_store_arn.as_ref());
        assert_eq!(store.map(Id::as_str), want, "{given}");
        let closed_of = if want.is_some() { vec![] } else { vec!["shop/web"] };
        assert_eq!(closed(&desired, 443), closed_of, "{given}");
        assert_eq!(closed(&desired, 80), Vec::<String>::new(), "{given}");
    }
}

#[test]
fn a_secret_is_no_trust_store_of_aws() {
    let secret = TrustStore::Stored(ObjectName::new("shop", "clients"));
    let balancer = asking(&[(443, verify_by(secret))]);
    let (desired, problems) = compiled(&balancer, &account(), &nothing(&balancer));
    assert_eq!(problems, [Code::OptionUnsupported]);
    assert_eq!(desired.listeners[&443].spec.mutual_authentication, None);
    assert_eq!(closed(&desired, 443), ["shop/web"]);
}

#[test]
fn a_rule_that_asks_by_itself_is_not_served_without() {
    let mut balancer = asking(&[(443, ClientCertificates::Off)]);
    for rule in &mut balancer.rules {
        rule.clients = ClientCertificates::PassThrough;
    }
    let (desired, mut problems) = compiled(&balancer, &account(), &nothing(&balancer));
    problems.dedup();
    assert_eq!(problems, [Code::ActionUnsupported]);
    assert_eq!(closed(&desired, 443), ["shop/web", "blog/web"]);
}

#[test]
fn two_listeners_verify_and_a_third_is_closed_to_those_who_rely_on_it() {
    let all: Vec<_> = [443, 8443, 9443].map(|number| (number, verify("roots"))).into();
    let balancer = asking(&all);
    let (desired, problems) = compiled(&balancer, &account(), &nothing(&balancer));
    assert_eq!(problems, [Code::LimitExceeded]);
    let closed: Vec<usize> = [443, 8443, 9443].map(|port| closed(&desired, port).len()).into();
    assert_eq!(closed, [0, 0, 1]);
    let mode = |port: u16| {
        let asked = &desired.listeners[&port].spec.mutual_authentication;
        asked.as_ref().map(|asked| asked.mode)
    };
    let verifies = Some(MutualAuthenticationMode::Verify);
    assert_eq!([443, 8443, 9443].map(mode), [verifies, verifies, None]);
}

#[test]
fn what_is_asked_of_clients_is_changed_in_place_and_left_where_nobody_says_anything() {
    let calls_for = |from: &ClientCertificates, to: Option<&ClientCertificates>| {
        let before = asking(&[(443, from.clone())]);
        let (mut observed, shared) = made(&before, &account());
        let mut after = before.clone();
        if let Protocol::Https(tls) = &mut after.listeners.get_mut(&port(443)).unwrap().protocol {
            tls.clients = tls.clients.take().zip(to).map(|(clients, to)| Clients {
                certificates: to.clone(),
                ..clients
            });
        }
        rounds(Some(&after), &mut observed, &shared, &account())
    };
    let (off, pass, verify) = (
        ClientCertificates::Off,
        ClientCertificates::PassThrough,
        verify("roots"),
    );
    let modified = vec!["elbv2:ModifyListener 443"];
    for (from, to, want) in [
        (&verify, Some(&verify), vec![]),
        (&off, Some(&verify), modified.clone()),
        (&verify, Some(&pass), modified.clone()),
        (&verify, Some(&off), modified),
        (&verify, None, vec![]),
        (&off, None, vec![]),
    ] {
        assert_eq!(calls_for(from, to), want, "{from:?} {to:?}");
    }
}

#[test]
fn a_trust_store_that_cannot_be_looked_for_leaves_what_verifies() {
    let denied = Account {
        late: LateFacts {
            trust_stores: OnceLock::from(Err(failed())),
            ..account().late
        },
        ..account()
    };
    let asked = asking(&[(443, verify("roots"))]);
    let open = asking(&[(443, ClientCertificates::Off)]);
    for (stood, closed_of) in [
        (Some(&asked), vec![]),
        (Some(&open), vec!["shop/web"]),
        (None, vec!["shop/web"]),
    ] {
        let observed = stood.map_or_else(|| nothing(&asked), |stood| made(stood, &account()).0);
        let (desired, problems) = compiled(&asked, &denied, &observed);
        assert_eq!(problems, [Code::AccessDenied]);
        assert_eq!(closed(&desired, 443), closed_of);
    }
}

/// Another member's rule, which asks for nothing, and a new one of `shop/web`, which relies on what clients are asked for.
fn with_new_rules(mut balancer: LoadBalancer) -> LoadBalancer {
    let web = balancer.backends.keys().next().unwrap().clone();
    for (owner, host) in [("shop/web", "new.example.com"), ("blog/web", "open.example.com")] {
        balancer
            .rules
            .push(rule(owner, &[443], host, "prefix:/", forward(&web)));
    }
    balancer
}

/// Whether rules and the default action of port 443 lead to a backend, by host.
fn forwarding(observed: &Observed) -> BTreeMap<String, bool> {
    let listener = &observed.load_balancer().unwrap().listeners[&443];
    let rules = listener.rules.iter();
    rules
        .map(|rule| {
            let forwards = |action: &RuleAction<_>| matches!(action, RuleAction::Forward { .. });
            let hosts = rule.spec.conditions.iter().find_map(|condition| match condition {
                RuleCondition::HostHeader { config } => Some(config.list().concat()),
                _ => None,
            });
            (hosts.unwrap(), rule.spec.actions.iter().any(forwards))
        })
        .collect()
}

/// What a call about a listener that exists is to change of it.
fn modifies(change: &Change) -> Vec<&str> {
    match change.call {
        Call::ModifyListener { .. } => change.fields.iter().map(|field| field.field.as_str()).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn no_rule_is_made_that_relies_on_what_clients_are_not_asked_for_yet() {
    for semantics in [Semantics::Kubernetes, Semantics::AwsLoadBalancerController] {
        let with = |mut balancer: LoadBalancer| {
            balancer.semantics = semantics;
            balancer
        };
        let before = with(asking(&[(443, ClientCertificates::Off)]));
        let mut after = with(with_new_rules(asking(&[(443, verify("roots"))])));
        // The default action changes with it.
        let gone = portcullis_model::FixedResponse::new(410, None, None).unwrap();
        after.listeners.get_mut(&port(443)).unwrap().default_action = portcullis_model::Action::Fixed(gone);
        let (mut observed, shared) = made(&before, &account());
        let account = account();
        let world = (&mut observed, &shared, &account);
        let check = |observed: &Observed, _: &Change| {
            let listener = &observed.load_balancer().unwrap().listeners[&443];
            let asks = listener.spec.mutual_authentication.is_some();
            let new = forwarding(observed).contains_key("new.example.com");
            assert!(asks || !new, "{semantics:?}");
        };
        let passed = pass(Some(&after), world, &mut 1000, |_| None, check);
        assert_eq!(passed.problems, [], "{semantics:?}");
        assert!(forwarding(&observed)["new.example.com"], "{semantics:?}");
    }
}

#[test]
fn what_aws_will_not_have_of_a_listener_takes_nothing_else_with_it() {
    let before = asking(&[(443, ClientCertificates::Off)]);
    let mut after = asking(&[(443, verify("roots"))]);
    if let Protocol::Https(tls) = &mut after.listeners.get_mut(&port(443)).unwrap().protocol {
        tls.policy = Some("ELBSecurityPolicy-2015-05".into());
    }
    let account = account();
    let (mut observed, shared) = made(&before, &account);
    let world = (&mut observed, &shared, &account);
    let refuse = |change: &Change| {
        modifies(change)
            .contains(&"SslPolicy")
            .then_some(Code::OptionUnsupported)
    };
    let passed = pass(Some(&after), world, &mut 1000, refuse, |_, _| {});
    assert_eq!(codes(&passed.problems), [Code::OptionUnsupported]);
    let listener = &observed.load_balancer().unwrap().listeners[&443];
    let asked = listener.spec.mutual_authentication.as_ref();
    assert_eq!(
        asked.map(|asked| asked.mode),
        Some(MutualAuthenticationMode::Verify)
    );
}

#[test]
fn where_aws_will_not_ask_clients_what_relies_on_it_is_closed_and_told() {
    use Semantics::{AwsLoadBalancerController, Kubernetes};
    let passed_on = ClientCertificates::PassThrough;
    for (semantics, from, served) in [
        (Kubernetes, ClientCertificates::Off, false),
        (AwsLoadBalancerController, ClientCertificates::Off, true),
        // What guarded it still does.
        (Kubernetes, passed_on, true),
    ] {
        for code in [Code::ResourceNotFound, Code::AccessDenied] {
            let mut before = asking(&[(443, from.clone())]);
            before.semantics = semantics;
            let mut after = with_new_rules(asking(&[(443, verify("roots"))]));
            after.semantics = semantics;
            let account = account();
            let (mut observed, shared) = made(&before, &account);
            let mut calls = 1000;
            let refuse = |change: &Change| modifies(change).contains(&"MutualAuthentication").then_some(code);
            for attempt in 0..2 {
                let world = (&mut observed, &shared, &account);
                let passed = pass(Some(&after), world, &mut calls, refuse, |observed, _| {
                    assert_ne!(forwarding(observed).get("new.example.com"), Some(&true));
                });
                let told: Vec<_> = passed
                    .problems
                    .iter()
                    .map(|one| (one.code, one.at.to_string()))
                    .collect();
                let at = origin("shop/web", "mutual-authentication").to_string();
                assert_eq!(told, [(code, at)], "{semantics:?} {from:?}");
                assert!(attempt == 0 || passed.made.is_empty(), "{:?}", passed.made);
            }
            let want = [
                ("blog.example.com", true),
                ("new.example.com", false),
                ("open.example.com", true),
                ("web.example.com", served),
            ];
            let want = want.map(|(host, forwards)| (host.to_owned(), forwards));
            assert_eq!(forwarding(&observed), want.into(), "{semantics:?} {from:?}");
        }
    }
}
