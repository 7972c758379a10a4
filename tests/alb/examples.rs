//! The examples of the Elastic Load Balancing documentation in, what the evaluator makes of them out.

use serde_json::{Value, json};

use crate::alb::{Alb, Asked, Reading};
use crate::alb_validation::validate;

/// Source: Guide, "Condition types for listener rules", read 2026-11.
#[test]
fn conditions_hold_as_the_guide_says() {
    let get = |host: &str, target: &str| asked("GET", host, target, &[], "192.0.2.10");
    let host = |value: &str| json!([{"Field": "host-header", "HostHeaderConfig": {"Values": [value]}}]);
    let path = |value: &str| json!([{"Field": "path-pattern", "PathPatternConfig": {"Values": [value]}}]);
    let agent = json!([{"Field": "http-header",
        "HttpHeaderConfig": {"HttpHeaderName": "User-Agent", "Values": ["*Chrome*", "*Safari*"]}}]);
    let browser = |name: &str, value: &str| asked("GET", "a.io", "/", &[(name, value)], "192.0.2.10");
    let custom = json!([{"Field": "http-request-method",
        "HttpRequestMethodConfig": {"Values": ["CUSTOM-METHOD"]}}]);
    let with = |method: &str| asked(method, "a.io", "/", &[], "192.0.2.10");
    let query = json!([{"Field": "query-string",
        "QueryStringConfig": {"Values": [{"Key": "version", "Value": "v1"}, {"Value": "*example*"}]}}]);
    let literal = json!([{"Field": "query-string", "QueryStringConfig": {"Values": [{"Value": "\\*\\?x"}]}}]);
    let source = json!([{"Field": "source-ip",
        "SourceIpConfig": {"Values": ["192.0.2.0/24", "198.51.100.10/32", "2001:db8::/32"]}}]);
    let from = |address: &str| asked("GET", "a.io", "/", &[("x-forwarded-for", "192.0.2.1")], address);
    for (conditions, request, want) in [
        // Host conditions: "*.example.com matches test.example.com but doesn't match example.com".
        (host("*.example.com"), get("test.example.com", "/"), true),
        (host("*.example.com"), get("example.com", "/"), false),
        (host("*.example.com"), get("a.test.example.com", "/"), true),
        (host("*.Example.com"), get("TEST.example.COM", "/"), true),
        (host("example.com"), get("test.example.com", "/"), false),
        (host("?.example.com"), get("a.example.com", "/"), true),
        (host("?.example.com"), get("ab.example.com", "/"), false),
        // Path conditions: case counts; the query does not.
        (path("/img/*"), get("a.io", "/img/picture.jpg"), true),
        (path("/img/*"), get("a.io", "/IMG/picture.jpg"), false),
        (path("/img/*"), get("a.io", "/img"), false),
        (path("/img/*"), get("a.io", "/img/"), true),
        (path("/img/*/pics"), get("a.io", "/img/a/b/pics"), true),
        (path("/img/*/pics"), get("a.io", "/img/a/b/pics/c"), false),
        (path("/img"), get("a.io", "/img?pics"), true),
        (path("/img?pics"), get("a.io", "/img?pics"), false),
        // HTTP header conditions: any of the strings, any of the headers, case aside.
        (agent.clone(), browser("user-agent", "Mozilla chrome/1"), true),
        (agent.clone(), browser("User-Agent", "safari"), true),
        (agent.clone(), browser("user-agent", "Lynx"), false),
        (agent.clone(), browser("agent", "Chrome"), false),
        // HTTP request method conditions: to the letter.
        (custom.clone(), with("CUSTOM-METHOD"), true),
        (custom.clone(), with("custom-method"), false),
        (custom.clone(), with("GET"), false),
        // Query string conditions: a pair, or a value of any key; case aside; wildcards unless escaped.
        (query.clone(), get("a.io", "/?version=v1"), true),
        (query.clone(), get("a.io", "/?VERSION=V1"), true),
        (query.clone(), get("a.io", "/?version=v2"), false),
        (query.clone(), get("a.io", "/?x=1&any=anexampleof"), true),
        (query.clone(), get("a.io", "/"), false),
        (literal.clone(), get("a.io", "/?k=*?x"), true),
        (literal.clone(), get("a.io", "/?k=abx"), false),
        // Source IP address conditions: the peer's address alone.
        (source.clone(), from("192.0.2.255"), true),
        (source.clone(), from("192.0.3.1"), false),
        (source.clone(), from("198.51.100.10"), true),
        (source.clone(), from("198.51.100.11"), false),
        (source.clone(), from("2001:db8::1"), true),
        (source.clone(), from("2001:db9::1"), false),
    ] {
        let alb = alb(&[(1, conditions.clone())]);
        for reading in Reading::ALL {
            let taken = alb.answer(&request, reading).unwrap().rule.is_some();
            assert_eq!(taken, want, "{conditions} on {request:?}");
        }
    }
}

/// Source: Guide, "Listener rules for your Application Load Balancer", "Rule basics".
#[test]
fn the_lowest_priority_whose_conditions_all_hold_answers() {
    let both = json!([
        {"Field": "host-header", "HostHeaderConfig": {"Values": ["a.io"]}},
        {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/x", "/y"]}},
    ]);
    let host = json!([{"Field": "host-header", "HostHeaderConfig": {"Values": ["a.io"]}}]);
    let alb = alb(&[(20, host), (3, both)]);
    for (name, target, want) in [
        ("a.io", "/x", Some("80:3")),
        ("a.io", "/y", Some("80:3")),
        ("a.io", "/z", Some("80:20")),
        ("b.io", "/x", None),
    ] {
        let request = asked("GET", name, target, &[], "192.0.2.1");
        let answered = alb.answer(&request, Reading::ALL[0]).unwrap();
        assert_eq!(answered.rule, want, "{name}{target}");
    }
    let elsewhere = Asked {
        port: 81,
        ..asked("GET", "a.io", "/x", &[], "192.0.2.1")
    };
    assert_eq!(alb.answer(&elsewhere, Reading::ALL[0]), None);
}

#[test]
fn what_the_api_would_refuse_is_not_evaluated() {
    for conditions in [
        json!([{"Field": "host", "HostHeaderConfig": {"Values": ["a.io"]}}]),
        json!([{"Field": "host-header", "PathPatternConfig": {"Values": ["/"]}}]),
        json!([{"Field": "host-header", "HostHeaderConfig": {"Values": []}}]),
        json!([{"Field": "host-header", "HostHeaderConfig": {}}]),
        json!([{"Field": "host-header", "HostHeaderConfig": {"Values": ["a.io"], "RegexValues": ["b"]}}]),
        json!([{"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["("]}}]),
        json!([{"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.1"]}}]),
        json!([{"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/33"]}}]),
        json!([{"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "k"}]}}]),
    ] {
        assert!(
            Alb::read(&resources(&[(1, conditions.clone())])).is_err(),
            "{conditions}"
        );
    }
}

fn asked(method: &str, host: &str, target: &str, headers: &[(&str, &str)], source: &str) -> Asked {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Asked {
        port: 80,
        host: host.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        method: method.to_owned(),
        headers: headers
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        source: source.parse().expect("an address"),
    }
}

fn resources(rules: &[(u64, Value)]) -> Vec<Value> {
    let actions = json!([{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}]);
    let listener = json!({"kind": "Listener", "id": "80", "spec": {"Port": 80, "DefaultActions": actions}});
    let rules = rules.iter().map(|(priority, conditions)| {
        json!({"kind": "ListenerRule", "id": format!("80:{priority}"),
            "spec": {"Priority": priority, "Conditions": conditions, "Actions": actions}})
    });
    std::iter::once(listener).chain(rules).collect()
}

fn alb(rules: &[(u64, Value)]) -> Alb {
    Alb::read(&resources(rules)).expect("rules that read")
}

#[test]
fn documented_limits_are_found() {
    let paths = |values: &[&str]| json!({"Field": "path-pattern", "PathPatternConfig": {"Values": values}});
    let hosts = |values: &[&str]| json!({"Field": "host-header", "HostHeaderConfig": {"Values": values}});
    let header = |name: &str| json!({"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": name, "Values": ["x"]}});
    let query =
        |value: &str| json!({"Field": "query-string", "QueryStringConfig": {"Values": [{"Value": value}]}});
    let method =
        |name: &str| json!({"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": [name]}});
    let long = "a".repeat(129);
    for (conditions, ok) in [
        (json!([]), false),
        (json!([paths(&["/a", "/b", "/c"])]), true),
        (json!([paths(&["/a", "/b", "/c", "/d"])]), false),
        (
            json!([paths(&["/a", "/b", "/c"]), hosts(&["a.io", "b.io"])]),
            true,
        ),
        (
            json!([paths(&["/a", "/b", "/c"]), hosts(&["a.io", "b.io", "c.io"])]),
            false,
        ),
        (json!([paths(&["/a"]), paths(&["/b"])]), false),
        (json!([header("a"), header("b")]), true),
        (json!([header("Host")]), false),
        (json!([paths(&["/*/*/*/*/?"])]), true),
        (json!([paths(&["/*/*/*/*/*/?"])]), false),
        (json!([paths(&["/a%20b"])]), false),
        (json!([paths(&[&long])]), false),
        (json!([hosts(&["localhost"])]), false),
        (json!([hosts(&["a.b1"])]), false),
        (json!([hosts(&["*.example.com"])]), true),
        (json!([query("a\\*b")]), true),
        (json!([query("a\\b")]), false),
        (json!([method("GET")]), true),
        (json!([method("get")]), false),
    ] {
        let valid = validate(&resources(&[(1, conditions.clone())]));
        assert_eq!(valid.is_ok(), ok, "{conditions}: {valid:?}");
    }
}
