//! Load balancers in, the resources that the incumbent made of them, or that the contract shows, out.

use portcullis_model::Semantics;
use serde_json::Value;

use super::build::*;
use super::recorded::{Recorded, text};
use super::takeover::cases;
use crate::compile::compile;
use crate::observed::Observed;
use crate::resource::Ref;

#[test]
fn names_and_tags_are_those_the_incumbent_gave() {
    for (balancer, recorded) in cases() {
        let Recorded {
            json,
            account,
            observed,
            ..
        } = &recorded;
        let nothing = Observed::nothing(observed.owner.clone());
        let (desired, _) = compile(&settings("demo"), &balancer, account, &nothing);
        let desired = desired.unwrap();
        let want = &json["LoadBalancers"][0];
        assert_eq!(desired.load_balancer.name, text(&want["LoadBalancerName"]));
        let group = desired.security_group.unwrap();
        let groups = json["SecurityGroups"].as_array().unwrap();
        let want = groups
            .iter()
            .find(|g| g["GroupName"] == group.group_name.as_str())
            .unwrap();
        assert_eq!(group.description, text(&want["Description"]));
        assert_eq!(
            group.tags,
            super::recorded::pairs(&want["Tags"]),
            "{}",
            balancer.id
        );
        for want in json["TargetGroups"].as_array().unwrap() {
            let tags = super::recorded::pairs(&want["Tags"]);
            let made = &desired.target_groups[tags.get("ingress.k8s.aws/resource").unwrap()];
            // The last part hashes a Service uid that the recording does not hold.
            let (start, hash) = made.name.rsplit_once('-').unwrap();
            assert_eq!(hash.len(), 10, "{}", made.name);
            assert!(
                text(&want["TargetGroupName"]).starts_with(start),
                "{want}: {}",
                made.name
            );
            assert_eq!(made.tags, tags);
        }
        assert_eq!(
            desired.target_groups.len(),
            json["TargetGroups"].as_array().unwrap().len()
        );
    }
}

/// Every field that the contract's example shows is in what is made; names are cut by `…` there.
fn assert_shows(made: &Value, shown: &Value, at: &str) {
    match shown {
        Value::Object(fields) => {
            for (name, shown) in fields {
                assert_shows(&made[name], shown, &format!("{at}.{name}"));
            }
        }
        Value::Array(items) => {
            assert_eq!(made.as_array().map(Vec::len), Some(items.len()), "{at}: {made}");
            for (place, shown) in items.iter().enumerate() {
                assert_shows(&made[place], shown, &format!("{at}[{place}]"));
            }
        }
        Value::String(start) if start.ends_with('…') => {
            assert!(
                text(made).starts_with(start.trim_end_matches('…')),
                "{at}: {made}"
            );
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => assert_eq!(made, shown, "{at}"),
    }
}

#[test]
fn resources_look_as_the_contract_shows() {
    let path = format!("{}/tests/data/example-plan.json", env!("CARGO_MANIFEST_DIR"));
    let example: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut balancer = simple();
    let backend = balancer.backends.values_mut().next().unwrap();
    backend.targets = backend.targets[..1].into();
    let document = crate::plan_offline(&[balancer], &settings("demo"));
    let made = serde_json::to_value(&document).unwrap();
    let (made, shown) = (&made["loadBalancers"][0], &example["loadBalancers"][0]);
    for field in ["id", "provider", "members", "resources", "problems"] {
        assert_shows(&made[field], &shown[field], field);
    }
    assert_shows(&made["changes"][0], &shown["changes"][0], "changes[0]");
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(made), keys(shown), "fields and their order");
    assert_eq!(
        keys(&made["changes"][0]),
        keys(&shown["changes"][0]),
        "fields of a change"
    );
}

#[test]
fn what_no_rule_forwards_to_is_not_made() {
    let mut balancer = simple();
    backend(
        &mut balancer,
        "shop/web",
        "idle",
        "80",
        8080,
        Where::Pods(&["10.0.16.11"]),
    );
    let document = crate::plan_offline(&[balancer], &settings("demo"));
    let groups = document.load_balancers[0]
        .resources
        .iter()
        .filter(|r| r.kind == "TargetGroup")
        .count();
    assert_eq!(groups, 1);
}

#[test]
fn each_listener_has_its_own_priorities() {
    let mut balancer = balancer("shop/web", Semantics::Kubernetes);
    let web = backend(
        &mut balancer,
        "shop/web",
        "web",
        "80",
        8080,
        Where::Pods(&["10.0.16.10"]),
    );
    http(&mut balancer, 80, not_found());
    http(&mut balancer, 8080, not_found());
    *balancer.rules = vec![
        rule("shop/web", &[80], "a.example.com", "prefix:/", forward(&web)),
        rule(
            "shop/web",
            &[80, 8080],
            "b.example.com",
            "prefix:/",
            forward(&web),
        ),
    ];
    let account = crate::Account::offline(None);
    let nothing = Observed::nothing(crate::Owner::load_balancer("demo", &balancer.id));
    let (desired, problems) = compile(&settings("demo"), &balancer, &account, &nothing);
    assert_eq!(problems, Vec::new());
    let desired = desired.unwrap();
    let priorities = |port: u16| {
        desired.listeners[&port]
            .rules
            .iter()
            .map(|r| r.spec.priority)
            .collect::<Vec<_>>()
    };
    assert_eq!((priorities(80), priorities(8080)), (vec![1, 2], vec![1]));
    assert!(matches!(
        desired.load_balancer.security_groups.as_slice(),
        [Ref::Logical(managed), Ref::Logical(shared)] if **managed == *"ManagedLBSecurityGroup" && **shared == *"backend"
    ));
}
