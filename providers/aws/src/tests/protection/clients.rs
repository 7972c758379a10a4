//! What listeners ask of clients' certificates in, listeners that verify and rules that are closed out.

use super::*;

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
