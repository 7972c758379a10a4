//! Rules at and beyond AWS's limits in, what is written and what is refused out.

use portcullis_model::redirect::RedirectStatus;
use portcullis_model::{
    Action, Authenticate, BackendId, Certificate, CertificateSource, Code, Condition, FixedResponse, Forward,
    Glob, HeaderName, HostMatch, LoadBalancer, Method, QueryMatch, Redirect, Rule, Semantics, Weight,
    WeightedBackend,
};

use super::build::*;
use crate::account::Account;
use crate::compile::{Desired, compile};
use crate::limits::{VALUES_PER_CONDITION, VALUES_PER_RULE, WILDCARDS_PER_RULE, values, wildcards};
use crate::observed::{Observed, Owner};
use crate::resource::{RuleAction, RuleCondition, Values};

fn compiled(balancer: &LoadBalancer) -> (Desired, Vec<Code>) {
    let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
    let (desired, problems) = compile(&settings("demo"), balancer, &Account::offline(None), &nothing);
    (desired.unwrap(), codes(&problems))
}

/// A load balancer with this rule before a plain one, and the id of its backend.
fn with_rule(semantics: Semantics, make: impl FnOnce(&BackendId) -> Rule) -> LoadBalancer {
    let mut out = balancer("shop/web", semantics);
    let web = web(&mut out);
    http(&mut out, 80, not_found());
    *out.rules = vec![
        make(&web),
        rule("shop/web", &[80], "plain.example.com", "prefix:/", forward(&web)),
    ];
    out
}

fn host_values(conditions: &[RuleCondition]) -> Vec<String> {
    conditions
        .iter()
        .filter_map(|condition| match condition {
            RuleCondition::HostHeader { config } => Some(config.list().to_vec()),
            _ => None,
        })
        .flatten()
        .collect()
}

#[test]
fn a_rule_with_too_many_values_is_written_as_several() {
    for (semantics, hosts, paths, want) in [
        (Semantics::Kubernetes, 1, 1, 1),
        (Semantics::Kubernetes, 3, 1, 1),
        (Semantics::Kubernetes, 4, 1, 2), // three values per condition
        (Semantics::AwsLoadBalancerController, 3, 1, 1),
        (Semantics::AwsLoadBalancerController, 4, 0, 1), // as the incumbent writes it
        (Semantics::AwsLoadBalancerController, 6, 0, 2),
        (Semantics::Kubernetes, 6, 4, 8), // three hosts with two path values each
    ] {
        let balancer = with_rule(semantics, |web| {
            let mut rule = rule("shop/web", &[80], "", "", forward(web));
            rule.hosts = (0..hosts)
                .map(|n| HostMatch::parse(&format!("h{n}.example.com")).unwrap())
                .collect();
            rule.paths = (0..paths).map(|n| path(&format!("prefix:/p{n}"))).collect();
            rule
        });
        let (desired, problems) = compiled(&balancer);
        assert_eq!(problems, [], "{hosts} hosts, {paths} paths");
        let rules = &desired.listeners[&80].rules;
        for rule in rules {
            let all: usize = rule.spec.conditions.iter().map(values).sum();
            assert!(all <= VALUES_PER_RULE, "{:?}", rule.spec.conditions);
            let wild: usize = rule.spec.conditions.iter().map(wildcards).sum();
            assert!(wild <= WILDCARDS_PER_RULE, "{:?}", rule.spec.conditions);
            if semantics == Semantics::Kubernetes {
                assert!(
                    rule.spec
                        .conditions
                        .iter()
                        .all(|c| values(c) <= VALUES_PER_CONDITION)
                );
            }
        }
        assert_eq!(
            rules.len() - 1,
            want,
            "{hosts} hosts, {paths} paths under {semantics:?}"
        );
        let mut seen: Vec<String> = rules
            .iter()
            .flat_map(|rule| host_values(&rule.spec.conditions))
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), hosts + 1, "every host is there");
    }
}

#[test]
fn hosts_and_paths_become_what_means_the_same() {
    for (host, path_text, want_host, want_path) in [
        (
            "a.example.com",
            "prefix:/",
            Ok(("a.example.com", false)),
            Ok((vec!["/*"], false)),
        ),
        (
            "*.example.com",
            "exact:/a",
            Ok((r"^[^.]+\.example\.com$", true)),
            Ok((vec!["/a"], false)),
        ),
        (
            "single",
            "prefix:/a",
            Ok(("^single$", true)),
            Ok((vec!["/a", "/a/*"], false)),
        ),
        (
            "a.xn--p1ai",
            "prefix:/a/",
            Ok((r"^a\.xn--p1ai$", true)),
            Ok((vec!["/a", "/a/*"], false)),
        ),
        (
            "a.example.com",
            "exact:/a*b",
            Ok(("a.example.com", false)),
            Ok((vec![r"^/a\*b$"], true)),
        ),
        (
            "a.example.com",
            "prefix:/a(b)",
            Ok(("a.example.com", false)),
            Ok((vec![r"^/a\(b\)(/.*)?$"], true)),
        ),
        (
            "a.example.com",
            "glob:/old/*",
            Ok(("a.example.com", false)),
            Ok((vec!["/old/*"], false)),
        ),
        (
            "a.example.com",
            "glob:/a=?b*",
            Ok(("a.example.com", false)),
            Ok((vec![r"^/a=.b.*$"], true)),
        ),
        (
            "a.example.com",
            "exact:/ä",
            Ok(("a.example.com", false)),
            Err(Code::PathUnsupported),
        ),
    ] {
        let balancer = with_rule(Semantics::Kubernetes, |web| {
            rule("shop/web", &[80], host, path_text, forward(web))
        });
        let (desired, problems) = compiled(&balancer);
        let both = want_host.and_then(|host| want_path.map(|path| (host, path)));
        match both {
            Ok(((host_want, host_regex), (path_want, path_regex))) => {
                let of = |list: Vec<&str>, regex: bool| {
                    let list = list.into_iter().map(str::to_owned).collect();
                    if regex {
                        Values::Regexes(list)
                    } else {
                        Values::Globs(list)
                    }
                };
                let want = [
                    RuleCondition::HostHeader {
                        config: of(vec![host_want], host_regex),
                    },
                    RuleCondition::PathPattern {
                        config: of(path_want, path_regex),
                    },
                ];
                assert_eq!(
                    desired.listeners[&80].rules[0].spec.conditions, want,
                    "{host} {path_text}"
                );
                assert_eq!(problems, [], "{host} {path_text}");
            }
            Err(code) => {
                assert_eq!(problems, [code], "{host} {path_text}");
                assert_eq!(
                    desired.listeners[&80].rules.len(),
                    1,
                    "only the other rule: {host} {path_text}"
                );
            }
        }
    }
}

#[test]
fn what_aws_cannot_match_is_refused_at_its_rule_alone() {
    let label = "a".repeat(60);
    let long_host = format!("{label}.{label}.{label}.example.com");
    let long_path = format!("prefix:/{}", "p".repeat(128));
    let with = |condition: Condition| {
        let mut rule = rule("shop/web", &[80], "", "prefix:/", not_found());
        rule.conditions = vec![condition];
        rule
    };
    let glob = |text: &str| Glob::parse(text).unwrap();
    let name = |text: &str| HeaderName::parse(text).unwrap();
    let cases: [(&str, Rule, Code); 8] = [
        (
            "long host",
            rule("shop/web", &[80], &long_host, "prefix:/", not_found()),
            Code::HostUnsupported,
        ),
        (
            "long path",
            rule("shop/web", &[80], "", &long_path, not_found()),
            Code::PathUnsupported,
        ),
        (
            "wildcards",
            rule("shop/web", &[80], "", "glob:/*/*/*/*/*/*", not_found()),
            Code::LimitExceeded,
        ),
        (
            "a method in small letters",
            with(Condition::Method(vec![Method::parse("get").unwrap()])),
            Code::ConditionUnsupported,
        ),
        (
            "a backslash in a header",
            with(Condition::Header {
                name: name("x-a"),
                values: vec![glob(r"a\*b")],
            }),
            Code::ConditionUnsupported,
        ),
        (
            "a backslash in a query, where AWS takes it for an escape",
            with(Condition::Query(vec![QueryMatch {
                key: None,
                value: glob(r"a\*b"),
            }])),
            Code::ConditionUnsupported,
        ),
        (
            "the header that has a condition of its own",
            with(Condition::Header {
                name: name("Host"),
                values: vec![glob("a.example.com")],
            }),
            Code::ConditionUnsupported,
        ),
        (
            "six conditions",
            {
                let mut rule = rule("shop/web", &[80], "a.example.com", "prefix:/", not_found());
                let header = |n: usize| Condition::Header {
                    name: name(&format!("x-{n}")),
                    values: vec![glob("a")],
                };
                rule.conditions = (0..4).map(header).collect();
                rule
            },
            Code::LimitExceeded,
        ),
    ];
    for (what, refused, code) in cases {
        let balancer = with_rule(Semantics::Kubernetes, |_| refused);
        let (desired, problems) = compiled(&balancer);
        assert_eq!(problems, [code], "{what}");
        let rules = &desired.listeners[&80].rules;
        assert_eq!(rules.len(), 1, "{what}");
        assert_eq!(
            host_values(&rules[0].spec.conditions),
            ["plain.example.com"],
            "{what}"
        );
    }
}

#[test]
fn what_aws_cannot_do_answers_503_in_its_place() {
    let origin = origin("shop/web", "auth");
    let other = |status| {
        Action::Redirect(Redirect {
            status,
            ..Redirect::to_https(portcullis_model::Port::HTTPS)
        })
    };
    let fixed = |status, body: Option<String>| Action::Fixed(FixedResponse::new(status, None, body).unwrap());
    for (what, action, https, authenticate, code) in [
        (
            "status 308",
            other(RedirectStatus::PermanentRedirect),
            false,
            None,
            Code::ActionUnsupported,
        ),
        (
            "3xx by itself",
            fixed(304, None),
            false,
            None,
            Code::ActionUnsupported,
        ),
        (
            "long body",
            fixed(200, Some("b".repeat(1025))),
            false,
            None,
            Code::LimitExceeded,
        ),
        (
            "JWT",
            fixed(200, None),
            true,
            Some(Authenticate::Jwt {
                issuer: "i".into(),
                key_set: "k".into(),
                claims: Vec::new(),
                origin,
            }),
            Code::ActionUnsupported,
        ),
    ] {
        let ports = [if https { 443 } else { 80 }];
        let mut balancer = with_rule(Semantics::Kubernetes, |_| Rule {
            authenticate,
            ..rule("shop/web", &ports, "a.example.com", "prefix:/", action)
        });
        super::build::https(&mut balancer, 443, vec![discovered(&["a.example.com"])]);
        let (desired, problems) = compiled(&balancer);
        assert_eq!(problems, [code], "{what}");
        let spec = &desired.listeners[&ports[0]].rules[0].spec;
        assert_eq!(host_values(&spec.conditions), ["a.example.com"], "{what}");
        let RuleAction::FixedResponse { config } = &spec.actions[0] else {
            panic!("{what}: {:?}", spec.actions);
        };
        assert_eq!(config.status_code, "503", "{what}");
    }
}

#[test]
fn a_forward_names_at_most_five_target_groups() {
    let mut balancer = balancer("shop/web", Semantics::Kubernetes);
    http(&mut balancer, 80, not_found());
    let mut parts = Vec::new();
    for n in 0..6 {
        let id = backend(
            &mut balancer,
            "shop/web",
            &format!("s{n}"),
            "80",
            8080,
            Where::Pods(&["10.0.16.10"]),
        );
        parts.push(WeightedBackend {
            backend: id,
            weight: Weight::ONE,
        });
    }
    for (count, want) in [(5, vec![]), (6, vec![Code::LimitExceeded])] {
        let action = Action::Forward(Forward {
            backends: parts[..count].to_vec(),
            stickiness: None,
        });
        *balancer.rules = vec![rule("shop/web", &[80], "", "prefix:/", action)];
        let (desired, problems) = compiled(&balancer);
        assert_eq!(problems, want, "{count}");
        assert_eq!(
            desired.target_groups.len(),
            if count == 5 { 5 } else { 0 },
            "{count}"
        );
    }
}

#[test]
fn every_host_is_served_or_told() {
    for (members, hosts) in [
        (1, 100),
        (1, 300),
        (1, 301),
        (1, 310),
        (1, 400),
        (40, 310),
        (40, 400),
    ] {
        let mut balancer = balancer("public", Semantics::Kubernetes);
        let web = web(&mut balancer);
        http(&mut balancer, 80, not_found());
        for n in 0..hosts {
            let (member, host) = (format!("shop/m{}", n % members), format!("h{n:03}.example.com"));
            let mut rule = rule(&member, &[80], &host, "prefix:/", forward(&web));
            rule.origin = origin(&member, &format!("spec.rules[{n}].host={host}"));
            balancer.rules.push(rule);
        }
        let nothing = Observed::nothing(Owner::load_balancer("demo", &balancer.id));
        let account = Account::offline(None);
        let (desired, problems) = compile(&settings("demo"), &balancer, &account, &nothing);
        let rules = desired.unwrap().listeners.remove(&80).unwrap().rules;
        let served = rules.iter().flat_map(|rule| host_values(&rule.spec.conditions));
        let told = problems
            .iter()
            .filter_map(|problem| problem.at.field.split_once("host="));
        let told = told.map(|(_, host)| host.to_owned());
        let mut all: Vec<String> = served.chain(told).collect();
        all.sort();
        let want: Vec<String> = (0..hosts).map(|n| format!("h{n:03}.example.com")).collect();
        assert_eq!(all, want, "{hosts} hosts of {members} members");
    }
}

#[test]
fn rules_beyond_the_quota_are_told_and_those_that_exist_stay() {
    let many = |names: std::ops::Range<usize>| {
        // Under which nothing is merged to make room.
        let mut out = balancer("shop/web", Semantics::AwsLoadBalancerController);
        let web = web(&mut out);
        http(&mut out, 80, not_found());
        for n in names {
            out.rules.push(rule(
                "shop/web",
                &[80],
                &format!("h{n:03}.example.com"),
                "prefix:/",
                forward(&web),
            ));
        }
        out
    };
    let (desired, problems) = compiled(&many(0..103));
    assert_eq!(desired.listeners[&80].rules.len(), 100);
    assert_eq!(problems, [Code::LimitExceeded; 3]);

    let account = Account::offline(None);
    let (observed, _) = super::settled::made(&many(50..103), &account);
    let (desired, problems) = compile(&settings("demo"), &many(0..103), &account, &observed);
    let rules = desired.unwrap().listeners.remove(&80).unwrap().rules;
    let hosts: Vec<String> = rules
        .iter()
        .flat_map(|rule| host_values(&rule.spec.conditions))
        .collect();
    assert_eq!(hosts.len(), 100);
    assert!(hosts.contains(&"h102.example.com".to_owned()), "it exists");
    assert!(
        !hosts.contains(&"h049.example.com".to_owned()),
        "the last that is new"
    );
    assert_eq!(problems.len(), 3);
}

#[test]
fn what_exists_keeps_its_place_where_there_is_room_for_fewer() {
    let arn = |name: &str| format!("arn:aws:acm:us-east-1:123456789012:certificate/{name}");
    let certified = |names: &[&str]| {
        let mut out = balancer("shop/web", Semantics::Kubernetes);
        let certificate = |name: &&str| Certificate {
            source: CertificateSource::Given(arn(name)),
            ..discovered(&[])
        };
        https(&mut out, 443, names.iter().map(certificate).collect());
        out
    };
    let mut account = Account::offline(None);
    account.quotas.certificates = 2;
    let (observed, _) = super::settled::made(&certified(&["default", "c", "d"]), &account);
    let wanted = certified(&["default", "a", "b", "c", "d"]);
    let (desired, problems) = compile(&settings("demo"), &wanted, &account, &observed);
    let listener = desired.unwrap().listeners.remove(&443).unwrap();
    let served: Vec<&str> = listener
        .spec
        .certificates
        .iter()
        .map(|c| c.certificate_arn.as_str())
        .collect();
    assert_eq!(served, [arn("default"), arn("c"), arn("d")]);
    let told = format!("of listener 443 did not fit: {}, {}", arn("a"), arn("b"));
    assert!(
        problems[0].message.contains("at most 2 certificates"),
        "{problems:?}"
    );
    assert!(problems[0].message.ends_with(&told), "{problems:?}");

    let listening = |ports: &[u16]| {
        let mut out = balancer("shop/web", Semantics::Kubernetes);
        for port in ports {
            http(&mut out, *port, not_found());
        }
        out
    };
    account.quotas.listeners = 2;
    let (observed, _) = super::settled::made(&listening(&[8080, 9090]), &account);
    let (desired, problems) = compile(
        &settings("demo"),
        &listening(&[80, 81, 8080, 9090]),
        &account,
        &observed,
    );
    let ports: Vec<u16> = desired.unwrap().listeners.into_keys().collect();
    assert_eq!(ports, [8080, 9090]);
    let told: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(
        told,
        [
            "a load balancer has at most 2 listeners; 80 did not fit",
            "a load balancer has at most 2 listeners; 81 did not fit",
        ]
    );

    let admitting = |ranges: &[&str]| {
        let mut out = listening(&[80]);
        let ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
        out.options.admitted.insert(port(80), ranges);
        out
    };
    account.quotas.permissions = 2;
    let (observed, _) = super::settled::made(&admitting(&["10.3.0.0/16", "10.4.0.0/16"]), &account);
    let wanted = admitting(&["10.1.0.0/16", "10.3.0.0/16", "10.4.0.0/16"]);
    let (desired, problems) = compile(&settings("demo"), &wanted, &account, &observed);
    let permissions = desired.unwrap().security_group.unwrap().permissions;
    let shown = format!("{permissions:?}");
    assert!(
        shown.contains("10.3.0.0") && shown.contains("10.4.0.0") && permissions.len() == 2,
        "{shown}"
    );
    assert!(
        problems[0].message.ends_with("are not let in: 10.1.0.0/16"),
        "{problems:?}"
    );

    // Three target groups exist, and there is room for three: a new one that comes first does without.
    let forwarding = |services: &[&str]| {
        let mut out = listening(&[80]);
        for service in services {
            let pods = Where::Pods(&["10.0.16.10"]);
            let id = backend(&mut out, "shop/web", service, "80", 8080, pods);
            let path = format!("exact:/{service}");
            out.rules.push(rule("shop/web", &[80], "", &path, forward(&id)));
        }
        out
    };
    account.quotas.target_groups = 3;
    let (observed, _) = super::settled::made(&forwarding(&["b", "c", "e"]), &account);
    let wanted = forwarding(&["a", "b", "c", "d", "e"]);
    let (desired, problems) = compile(&settings("demo"), &wanted, &account, &observed);
    let made: Vec<String> = desired.unwrap().target_groups.into_keys().collect();
    assert_eq!(made, ["shop/web-b:80", "shop/web-c:80", "shop/web-e:80"]);
    let told: Vec<&str> = problems.iter().map(|problem| &*problem.at.field).collect();
    assert_eq!(told, [" exact:/a", " exact:/d"]);
}
