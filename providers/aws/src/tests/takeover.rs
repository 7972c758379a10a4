//! What the incumbent left behind and the load balancers it was asked for in, an empty plan out.

use std::collections::BTreeMap;

use portcullis_model::redirect::RedirectStatus;
use portcullis_model::{
    Action, Forward, LoadBalancer, Port, Redirect, Scheme, Semantics, Stickiness, Template, Weight,
    WeightedBackend,
};

use super::build::*;
use super::recorded::{Recorded, read};
use crate::demand;
use crate::plan::plan;
use crate::shared::plan_shared;

pub(super) fn group_https() -> LoadBalancer {
    let mut out = balancer("public", Semantics::AwsLoadBalancerController);
    out.options.scheme = Scheme::InternetFacing;
    let posts = backend(
        &mut out,
        "blog/posts",
        "posts",
        "8000",
        9000,
        Where::Pods(&["10.0.48.12"]),
    );
    if let Some(backend) = out.backends.get_mut(&posts) {
        backend.health.path = "/healthz".into();
        backend.health.success_codes = "200-299".into();
    }
    let pods = Where::Pods(&["10.0.16.10", "10.0.48.10"]);
    let web_http = backend(&mut out, "shop/front", "web", "http", 8080, pods);
    let web = backend(
        &mut out,
        "shop/front",
        "web",
        "80",
        8080,
        Where::Pods(&["10.0.16.10", "10.0.48.10"]),
    );
    let cart = backend(
        &mut out,
        "shop/front",
        "cart",
        "80",
        8080,
        Where::Pods(&["10.0.16.11"]),
    );
    let split = backend(
        &mut out,
        "shop/weighted",
        "cart",
        "80",
        8080,
        Where::Pods(&["10.0.16.11"]),
    );
    let split_v2 = backend(
        &mut out,
        "shop/weighted",
        "cart-v2",
        "80",
        8080,
        Where::Pods(&["10.0.48.11"]),
    );
    http(&mut out, 80, Action::Redirect(Redirect::to_https(Port::HTTPS)));
    https(
        &mut out,
        443,
        vec![
            discovered(&["www.example.com"]),
            discovered(&["a.shop.example.com", "b.shop.example.com"]),
            discovered(&["c.shop.example.com"]),
        ],
    );
    let moved = Action::Redirect(Redirect {
        status: RedirectStatus::Found,
        scheme: None,
        host: Some(Template::parse("a.shop.example.com").unwrap()),
        port: None,
        path: Some(Template::parse("/new/#{path}").unwrap()),
        query: None,
    });
    let part = |backend, weight| WeightedBackend {
        backend,
        weight: Weight::new(weight).unwrap(),
    };
    let weighted = Action::Forward(Forward {
        backends: vec![part(split, 90), part(split_v2, 10)],
        stickiness: Some(Stickiness { seconds: 300 }),
    });
    *out.rules = vec![
        rule(
            "blog/posts",
            &[443],
            "www.example.com",
            "prefix:/blog",
            forward(&posts),
        ),
        rule(
            "shop/front",
            &[443],
            "a.shop.example.com",
            "exact:/login",
            forward(&web_http),
        ),
        rule(
            "shop/front",
            &[443],
            "a.shop.example.com",
            "prefix:/api",
            forward(&cart),
        ),
        rule(
            "shop/front",
            &[443],
            "a.shop.example.com",
            "prefix:/",
            forward(&web),
        ),
        rule("shop/front", &[443], "b.shop.example.com", "glob:/old/*", moved),
        rule(
            "shop/weighted",
            &[443],
            "c.shop.example.com",
            "prefix:/",
            weighted,
        ),
    ];
    out
}

pub(super) fn instance() -> LoadBalancer {
    let mut out = balancer("legacy/app", Semantics::AwsLoadBalancerController);
    let nodes = ["i-55f70cc6d01573710", "i-8829e4f0ce4149259"];
    let mut add = |service_port: &str, node_port| {
        let id = backend(
            &mut out,
            "legacy/app",
            "app",
            service_port,
            node_port,
            Where::Nodes(&nodes),
        );
        let backend = out.backends.get_mut(&id).unwrap();
        backend.health.interval_seconds = 30;
        backend.health.path = "/ok".into();
        backend.health.healthy_threshold = 3;
        backend.attributes = pairs(&[
            ("deregistration_delay.timeout_seconds", "30"),
            ("stickiness.enabled", "true"),
            ("stickiness.lb_cookie.duration_seconds", "60"),
        ]);
        backend.tags = pairs(&[("Team", "core"), ("Env", "prod")]);
        id
    };
    let (named, admin, default) = (add("http", 30080), add("admin", 30081), add("80", 30080));
    out.options.name = Some("legacy-internal".into());
    out.options.tags = pairs(&[("Team", "core"), ("Env", "prod")]);
    out.options.attributes = pairs(&[
        ("idle_timeout.timeout_seconds", "120"),
        ("routing.http2.enabled", "false"),
    ]);
    for number in [80, 8080] {
        http(&mut out, number, forward(&default));
        let ranges = ["10.0.0.0/8", "192.168.0.0/16"].map(|range| range.parse().unwrap());
        out.options.admitted.insert(port(number), ranges.into());
    }
    let ports = [80, 8080];
    *out.rules = vec![
        rule(
            "legacy/app",
            &ports,
            "legacy.example.com",
            "prefix:/admin",
            forward(&admin),
        ),
        rule(
            "legacy/app",
            &ports,
            "legacy.example.com",
            "prefix:/",
            forward(&named),
        ),
    ];
    out
}

fn pairs(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

/// Every recording with the load balancer that was asked for.
pub(super) fn cases() -> Vec<(LoadBalancer, Recorded)> {
    let certificates: [&[&str]; 2] = [&["*.shop.example.com"], &["www.example.com", "example.com"]];
    vec![
        (simple(), read("simple", "shop/web", &certificates)),
        (group_https(), read("group-https", "public", &certificates)),
        (instance(), read("instance", "legacy/app", &certificates)),
    ]
}

#[test]
fn taking_over_from_the_incumbent_changes_nothing() {
    for (balancer, recorded) in cases() {
        let settings = settings("demo");
        let Recorded {
            account,
            observed,
            shared,
            ..
        } = &recorded;
        let (round, problems) = plan(
            &settings,
            &balancer.id,
            Some(&balancer),
            observed,
            shared,
            account,
        );
        let changes: Vec<String> = round.changes.iter().map(ToString::to_string).collect();
        assert_eq!(changes, Vec::<String>::new(), "{}", balancer.id);
        assert_eq!(problems, Vec::new(), "{}", balancer.id);

        let demands = [(balancer.id.clone(), demand(&settings, &balancer, None, account))].into();
        let (round, problems) = plan_shared(&settings, &demands, shared, account);
        let changes: Vec<String> = round.changes.iter().map(ToString::to_string).collect();
        assert_eq!(
            changes,
            Vec::<String>::new(),
            "what spans load balancers with {}",
            balancer.id
        );
        assert_eq!(
            problems,
            Vec::new(),
            "what spans load balancers with {}",
            balancer.id
        );
    }
}

#[test]
fn a_rule_has_the_tags_of_its_own_ingress() {
    // AWS Load Balancer Controller, model_build_listener_rules.go, buildListenerRuleTags.
    let mut balancer = group_https();
    let team: BTreeMap<String, String> = [("Team".to_owned(), "x".to_owned())].into();
    balancer.options.tags.clone_from(&team);
    let none = BTreeMap::new;
    balancer.options.rule_tags = [
        (object("blog/posts"), none()),
        (object("shop/front"), team),
        (object("shop/weighted"), none()),
    ]
    .into();
    let document = crate::plan_offline(&[balancer], &settings("demo"));
    let [preview] = document.load_balancers.as_slice() else {
        panic!("{document:?}");
    };
    let rules = preview
        .resources
        .iter()
        .filter(|resource| resource.kind == "ListenerRule");
    let tagged: Vec<(String, bool)> = rules
        .map(|rule| (rule.id.clone(), rule.spec["Tags"].to_string().contains("Team")))
        .collect();
    let own = |place: usize| (2..=5).contains(&place);
    let want: Vec<(String, bool)> = (1..=6)
        .map(|place| (format!("443:{place}"), own(place)))
        .collect();
    assert_eq!(tagged, want);
}

#[test]
fn after_taking_over_the_next_change_is_the_only_one() {
    for (mut balancer, recorded) in cases() {
        let Recorded {
            account,
            observed,
            shared,
            ..
        } = &recorded;
        let (_, backend) = balancer.backends.iter_mut().next().unwrap();
        let mut targets = backend.targets.to_vec();
        targets.pop();
        backend.targets = targets.into();
        let (round, _) = plan(
            &settings("demo"),
            &balancer.id,
            Some(&balancer),
            observed,
            shared,
            account,
        );
        let calls: Vec<&str> = round.changes.iter().map(|change| change.call.name()).collect();
        assert_eq!(calls, ["elbv2:DeregisterTargets"], "{}", balancer.id);
    }
}
