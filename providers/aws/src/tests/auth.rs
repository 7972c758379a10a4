//! Rules that ask who somebody is in; what AWS is told, when it is told again, and what nobody is shown, out.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{
    Authenticate, ClaimFormat, Client, Code, JwtClaim, LoadBalancer, ObjectName, OnUnauthenticated, Sealed,
    Semantics, Session,
};

use super::build::*;
use super::settled::{made, rounds};
use crate::account::Account;
use crate::compile::compile;
use crate::observed::{Observed, Owner};
use crate::resource::{Applied, OidcClient, RuleAction};

const SECRET: &str = "s3cret-value";
const ID: &str = "client-id-value";

fn session() -> Session {
    Session {
        cookie: "AWSELBAuthSessionCookie".into(),
        timeout_seconds: 604_800,
        scope: "openid".into(),
        on_unauthenticated: OnUnauthenticated::Authenticate,
        extra: BTreeMap::new(),
    }
}

pub(super) fn idp(secret: &str, version: &str) -> Authenticate {
    Authenticate::Oidc {
        issuer: "https://i".into(),
        authorization_endpoint: "https://i/a".into(),
        token_endpoint: "https://i/t".into(),
        user_info_endpoint: "https://i/u".into(),
        secret: ObjectName::new("shop", secret),
        client: Some(Client {
            id: Sealed::new(ID),
            secret: Sealed::new(SECRET),
            version: version.into(),
        }),
        session: session(),
        origin: origin("shop/web", "auth"),
    }
}

/// Two rules and the default action on HTTPS, one rule on HTTP, each behind a step of its own or none.
fn guarded(steps: [Option<Authenticate>; 3]) -> LoadBalancer {
    let mut out = balancer("shop/web", Semantics::Kubernetes);
    let web = web(&mut out);
    http(&mut out, 80, not_found());
    https(&mut out, 443, vec![discovered(&["a.example.com"])]);
    let [first, second, default] = steps;
    for (path, authenticate) in [("prefix:/a", first), ("prefix:/b", second)] {
        out.rules.push(portcullis_model::Rule {
            authenticate,
            ..rule("shop/web", &[80, 443], "a.example.com", path, forward(&web))
        });
    }
    let listener = out.listeners.get_mut(&port(443)).unwrap();
    listener.authenticate = default;
    listener.default_action = forward(&web);
    out
}

fn applied(pairs: &[(&str, &str)]) -> Applied {
    pairs
        .iter()
        .map(|(name, version)| (ObjectName::new("shop", *name), Arc::from(*version)))
        .collect()
}

/// As AWS shows it after a restart: nobody knows what was sent.
fn forget(observed: &mut Observed) {
    let client = |action: &mut RuleAction<_>| {
        if let RuleAction::AuthenticateOidc { config } = action
            && let OidcClient::Held { version, .. } = &mut config.client
        {
            *version = None;
        }
    };
    for owned in &mut observed.load_balancers {
        for listener in owned.get_mut().listeners.values_mut() {
            listener.spec.default_actions.iter_mut().for_each(client);
            let rules = listener.rules.iter_mut().flat_map(|rule| &mut rule.spec.actions);
            rules.for_each(client);
        }
    }
}

#[test]
fn the_step_comes_first_on_https_alone() {
    let (observed, _) = made(
        &guarded([Some(idp("idp", "1")), None, Some(idp("idp", "1"))]),
        &Account::offline(None),
    );
    let listeners = &observed.load_balancer().unwrap().listeners;
    let kinds = |actions: &[RuleAction<_>]| -> Vec<&str> {
        let kind = |action: &RuleAction<_>| match action {
            RuleAction::AuthenticateOidc { .. } => "oidc",
            RuleAction::Forward { .. } => "forward",
            _ => "other",
        };
        actions.iter().map(kind).collect()
    };
    assert_eq!(kinds(&listeners[&443].rules[0].spec.actions), ["oidc", "forward"]);
    assert_eq!(kinds(&listeners[&443].rules[1].spec.actions), ["forward"]);
    assert_eq!(kinds(&listeners[&443].spec.default_actions), ["oidc", "forward"]);
    assert_eq!(kinds(&listeners[&80].rules[0].spec.actions), ["forward"]);
}

#[test]
fn a_rule_is_written_again_only_where_its_credentials_moved() {
    let account = Account::offline(None);
    let before = guarded([
        Some(idp("one", "1")),
        Some(idp("two", "1")),
        Some(idp("one", "1")),
    ]);
    let both = [("one", "1"), ("two", "1")];
    let first = guarded([
        Some(idp("one", "2")),
        Some(idp("two", "1")),
        Some(idp("one", "2")),
    ]);
    let of_first = ["elbv2:ModifyRule 443:1", "elbv2:ModifyListener 443"];
    let unread = |step: Authenticate| match step {
        Authenticate::Oidc { .. } => {
            let mut step = step;
            if let Authenticate::Oidc { client, .. } = &mut step {
                *client = None;
            }
            Some(step)
        }
        other => Some(other),
    };
    let nobody_asked = guarded([
        unread(idp("one", "2")),
        unread(idp("two", "2")),
        unread(idp("one", "2")),
    ]);
    for (what, desired, restarted, recorded, want) in [
        ("nothing moved", &before, false, applied(&both), &[][..]),
        (
            "nothing moved since the restart",
            &before,
            true,
            applied(&both),
            &[],
        ),
        (
            "taken over: nothing is recorded",
            &before,
            true,
            applied(&[]),
            &[],
        ),
        ("one moved", &first, false, applied(&both), &of_first),
        (
            "one moved while nobody ran",
            &first,
            true,
            applied(&both),
            &of_first,
        ),
        (
            "the last pass ended in the middle",
            &first,
            true,
            applied(&[("one", "1")]),
            &of_first,
        ),
        ("a plan from files", &nobody_asked, true, applied(&both), &[]),
    ] {
        let (mut observed, shared) = made(&before, &account);
        if restarted {
            forget(&mut observed);
        }
        observed.applied = recorded;
        let mut calls = rounds(Some(desired), &mut observed, &shared, &account);
        calls.sort();
        let mut want = want.to_vec();
        want.sort_unstable();
        assert_eq!(calls, want, "{what}");
    }
}

#[test]
fn no_form_of_a_change_shows_what_a_secret_holds() {
    let balancer = guarded([Some(idp("idp", "1")), None, Some(idp("idp", "1"))]);
    let account = Account::offline(None);
    let document = crate::plan_offline(std::slice::from_ref(&balancer), &settings("demo"));
    let (observed, shared) = made(&balancer, &account);
    let mut moved = observed.clone();
    moved.applied = applied(&[("idp", "0")]);
    forget(&mut moved);
    let (plan, _) = crate::plan(
        &settings("demo"),
        &balancer.id,
        Some(&balancer),
        &moved,
        &shared,
        &account,
    );
    assert_eq!(plan.changes.len(), 2);
    let lines: Vec<String> = plan.changes.iter().map(ToString::to_string).collect();
    for shown in [
        serde_json::to_string(&document).unwrap(),
        serde_json::to_string(&balancer).unwrap(),
        format!("{balancer:?}"),
        format!("{observed:?}"),
        format!("{:?}", plan.changes),
        format!("{:?}", plan.changes[0].summary()),
        lines.join("\n"),
        crate::fingerprint(&settings("demo"), &balancer, &account),
    ] {
        assert!(!shown.contains(SECRET) && !shown.contains(ID), "{shown}");
    }
    assert!(lines[0].contains("other credentials"), "{lines:?}");
}

#[test]
fn the_fingerprint_moves_with_the_credentials_and_with_nothing_else() {
    let account = Account::offline(None);
    let of = |version: &str| {
        let balancer = guarded([Some(idp("idp", version)), None, None]);
        crate::fingerprint(&settings("demo"), &balancer, &account)
    };
    assert_eq!(of("1"), of("1"));
    assert_ne!(of("1"), of("2"));
}

#[test]
fn what_aws_cannot_ask_for_answers_503_and_is_told_where_it_was_asked() {
    let jwt = |key_set: &str, claims: Vec<JwtClaim>| Authenticate::Jwt {
        issuer: "https://i".into(),
        key_set: key_set.into(),
        claims,
        origin: origin("shop/web", "auth"),
    };
    let claim = |name: &str, format, values: &[&str]| JwtClaim {
        name: name.into(),
        format,
        values: values.iter().map(|value| (*value).to_owned()).collect(),
    };
    let many = |count: usize| vec![claim("c", ClaimFormat::Text, &["v"]); count];
    let oidc = |edit: fn(&mut Session, &mut String)| {
        let mut step = idp("idp", "1");
        if let Authenticate::Oidc {
            session,
            token_endpoint,
            ..
        } = &mut step
        {
            edit(session, token_endpoint);
        }
        step
    };
    let long = "v".repeat(257);
    let eleven = ["v"; 11];
    for (what, step, code) in [
        ("ten claims", jwt("https://k", many(10)), None),
        (
            "eleven claims",
            jwt("https://k", many(11)),
            Some(Code::LimitExceeded),
        ),
        (
            "eleven values",
            jwt("https://k", vec![claim("c", ClaimFormat::List, &eleven)]),
            Some(Code::LimitExceeded),
        ),
        (
            "a long value",
            jwt("https://k", vec![claim("c", ClaimFormat::Text, &[&long])]),
            Some(Code::LimitExceeded),
        ),
        (
            "a claim that is always checked",
            jwt("https://k", vec![claim("exp", ClaimFormat::Text, &["1"])]),
            Some(Code::ActionUnsupported),
        ),
        (
            "a value with a space among values separated by spaces",
            jwt("https://k", vec![claim("scope", ClaimFormat::Spaced, &["a b"])]),
            Some(Code::ActionUnsupported),
        ),
        (
            "a value with a space alone",
            jwt("https://k", vec![claim("scope", ClaimFormat::Text, &["a b"])]),
            None,
        ),
        (
            "keys in the clear",
            jwt("http://k", vec![]),
            Some(Code::ActionUnsupported),
        ),
        (
            "an endpoint without a host",
            oidc(|_, url| *url = "https:///t".into()),
            Some(Code::ActionUnsupported),
        ),
        (
            "an endpoint with a blank",
            oidc(|_, url| *url = "https://i/ t".into()),
            Some(Code::ActionUnsupported),
        ),
        (
            "eleven parameters",
            oidc(|session, _| session.extra = (0..11).map(|n| (format!("p{n}"), "v".into())).collect()),
            Some(Code::LimitExceeded),
        ),
        (
            "a pool without an ARN",
            Authenticate::Cognito {
                user_pool: "pool".into(),
                client: "c".into(),
                domain: "d".into(),
                session: session(),
                origin: origin("shop/web", "auth"),
            },
            Some(Code::ActionUnsupported),
        ),
    ] {
        let balancer = guarded([Some(step.clone()), None, Some(step)]);
        let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
        let (desired, problems) = compile(&settings("demo"), &balancer, &Account::offline(None), &nothing);
        let listener = &desired.unwrap().listeners[&443];
        assert_eq!(
            codes(&problems),
            code.into_iter().collect::<Vec<_>>(),
            "{what}: {problems:?}"
        );
        for actions in [&listener.rules[0].spec.actions, &listener.spec.default_actions] {
            match (code, actions.as_slice()) {
                (None, [_, RuleAction::Forward { .. }]) => {}
                (Some(_), [RuleAction::FixedResponse { config }]) => {
                    assert_eq!(config.status_code, "503", "{what}")
                }
                _ => panic!("{what}: {actions:?}"),
            }
        }
        assert!(
            problems.iter().all(|problem| &*problem.at.field == "auth"),
            "{what}: {problems:?}"
        );
        assert!(
            matches!(listener.rules[1].spec.actions[..], [RuleAction::Forward { .. }]),
            "{what}: the neighbour serves"
        );
    }
}

#[test]
fn rules_that_ask_otherwise_never_become_one_however_little_room_there_is() {
    let mut account = Account::offline(None);
    account.quotas.rules = 2;
    let balancer = guarded([Some(idp("idp", "1")), None, None]);
    let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
    let (desired, _) = compile(&settings("demo"), &balancer, &account, &nothing);
    for listener in desired.unwrap().listeners.values() {
        for rule in &listener.rules {
            let asked = serde_json::to_string(&rule.spec.conditions).unwrap();
            let (first, second) = (asked.contains("\"/a\""), asked.contains("\"/b\""));
            let https = listener.spec.port == 443;
            assert!(!(https && first && second), "{asked}");
            assert_eq!(
                rule.spec.actions.len(),
                if https && first { 2 } else { 1 },
                "{asked}"
            );
        }
    }
}
