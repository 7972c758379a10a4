//! Damaged `conditions.*` annotations in; whether a rule takes no more than what is written there out.
//!
//! What is written is judged by the evaluator of ALB conditions, which refuses whatever it does not know. What it
//! refuses must not be served at all.

use std::collections::BTreeMap;

use portcullis_model::{Action, LoadBalancer, Request, resolve};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use serde_json::{Map, Value, json};

use crate::alb::{Alb, Asked, Reading};
use crate::damage::{Damage, damage, damaged};
use crate::generate;
use crate::property::holds;
use crate::written::{self, Path, Type, Written};

const HOST: &str = "a.io";
const PATH: &str = "/a";

/// Conditions of every kind, as the AWS Load Balancer Controller documents them.
fn conditions() -> impl Strategy<Value = Value> {
    let all = json!([
        {"field": "http-request-method", "httpRequestMethodConfig": {"Values": ["GET", "POST"]}},
        {"field": "http-header", "httpHeaderConfig": {"httpHeaderName": "x-a", "values": ["a", "b*"]}},
        {"field": "http-header", "httpHeaderConfig": {"httpHeaderName": "x-b", "regexValues": ["^[ab]$"]}},
        {"field": "query-string", "queryStringConfig": {"values": [{"key": "a", "value": "b"}, {"value": "ab"}]}},
        {"field": "source-ip", "sourceIpConfig": {"values": ["127.0.0.0/8", "10.0.0.0/24"]}},
        {"field": "host-header", "hostHeaderConfig": {"values": ["b.io", "*.b.io"]}},
        {"field": "path-pattern", "pathPatternConfig": {"values": ["/b", "/ab*"]}},
    ]);
    let all = all.as_array().cloned().unwrap_or_default();
    subsequence(all, 1..=3).prop_map(Value::Array)
}

const RENAMED: [&str; 8] = [
    "kye",
    "Key",
    "VALUES",
    "value",
    "regexValues",
    "fields",
    "x",
    "hostHeaderConfig",
];

#[test]
fn damaged_conditions_take_no_more_than_is_written() {
    let done = vec((any::<Index>(), damage(&RENAMED)), 0..3);
    let requests = vec(generate::request(), 16);
    let values = (conditions(), done, requests).boxed();
    holds(
        "tests/regressions/conditions.txt",
        2,
        &values,
        |(conditions, done, requests)| check(&conditions, &done, &requests),
    );
}

fn check(conditions: &Value, done: &[(Index, Damage)], requests: &[Request]) -> Result<(), TestCaseError> {
    let written = damaged(conditions.clone(), done);
    let balancer = translated(&written);
    // Beside the rule's own host and path, those of the annotation are alternatives.
    let own = |field: &str, key: &str, value: &str| json!({"Field": field, key: {"Values": [value]}});
    let canonical = canonical(&written);
    let of = |wanted: &str| -> Option<Vec<Value>> {
        let all = canonical.as_array()?;
        Some(all.iter().filter(|c| c["Field"] == wanted).cloned().collect())
    };
    let rest: Option<Vec<Value>> = canonical.as_array().map(|all| {
        let besides = |c: &&Value| c["Field"] != "host-header" && c["Field"] != "path-pattern";
        all.iter().filter(besides).cloned().collect()
    });
    for request in requests {
        let mut request = request.clone();
        request.port = generate::port(80);
        // Half of the requests ask for the rule's own host or path.
        if request.headers.len() % 2 == 0 {
            request.path = PATH.to_owned();
        }
        let action = resolve(&balancer, &request).action();
        if !matches!(action, Some(Action::Forward(_))) {
            continue;
        }
        let any = |field: &str, mine: Value| -> bool {
            let alternatives = of(field).into_iter().flatten().chain([mine]);
            alternatives.into_iter().any(|one| meets(&request, &[one]))
        };
        let right = any("host-header", own("host-header", "HostHeaderConfig", HOST))
            && any("path-pattern", own("path-pattern", "PathPatternConfig", PATH))
            && rest
                .as_ref()
                .is_some_and(|rest| readable(&canonical) && meets(&request, rest));
        prop_assert!(right, "{:?} is served under {}", request, written);
    }
    Ok(())
}

/// An Ingress whose only path has these conditions.
fn translated(conditions: &Value) -> LoadBalancer {
    let path = Path {
        kind: Type::Exact,
        path: PATH.to_owned(),
        served: true,
    };
    let ingress = Written {
        name: portcullis_model::ObjectName::new("shop", "web"),
        created: 0,
        order: 0,
        default_backend: false,
        rules: vec![(Some(HOST), vec![path])],
        annotations: BTreeMap::from([(
            "alb.ingress.kubernetes.io/conditions.s0-0".to_owned(),
            conditions.to_string(),
        )]),
    };
    written::translated(&[ingress])
        .balancer
        .expect("there is an Ingress")
}

/// Names of fields as the API has them; the controller reads them in any case. Others stay, and so are refused.
fn canonical(value: &Value) -> Value {
    const NAMES: [&str; 13] = [
        "Field",
        "HostHeaderConfig",
        "PathPatternConfig",
        "HttpHeaderConfig",
        "HttpRequestMethodConfig",
        "QueryStringConfig",
        "SourceIpConfig",
        "Values",
        "RegexValues",
        "HttpHeaderName",
        "Key",
        "Value",
        "x",
    ];
    match value {
        Value::Object(fields) => {
            let mut out = Map::new();
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                let known = NAMES.iter().find(|known| known.eq_ignore_ascii_case(name));
                out.insert(
                    known.map_or(name.clone(), |known| (*known).to_owned()),
                    canonical(value),
                );
            }
            Value::Object(out)
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

fn alb(conditions: &[Value]) -> Result<Alb, String> {
    let actions = json!([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}]);
    Alb::read(&[
        json!({"kind": "Listener", "id": "80", "spec": {"Port": 80, "DefaultActions": actions}}),
        json!({"kind": "ListenerRule", "id": "80:1",
            "spec": {"Priority": 1, "Conditions": conditions, "Actions": actions}}),
    ])
}

fn readable(conditions: &Value) -> bool {
    conditions.as_array().is_some_and(|all| alb(all).is_ok())
}

fn meets(request: &Request, conditions: &[Value]) -> bool {
    let reading = Reading {
        whole: true,
        host_ignores_case: true,
    };
    let asked = Asked::of(request);
    alb(conditions).is_ok_and(|alb| alb.answer(&asked, reading).is_some_and(|a| a.rule.is_some()))
}
