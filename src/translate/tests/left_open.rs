//! Ingresses of which not all speak HTTPS in, the guards that those who do leave out, and hosts that others take, out.

use super::moved::serving;
use super::*;

type Pairs<'a> = &'a [(&'a str, &'a str)];

const HTTP: (&str, &str) = ("portcullis.dev/listen-ports", r#"[{"HTTP":80}]"#);
const BOTH: (&str, &str) = ("portcullis.dev/listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#);
const PASSWORD: (&str, &str) = ("portcullis.dev/basic-auth-secret", "users");

/// Both in one group.
fn annotations(pairs: Pairs<'_>) -> Value {
    let group = ("portcullis.dev/group.name", "g");
    let pairs = pairs.iter().copied().chain([group]);
    pairs
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn spec(host: &str, kind: &str, at: &str, service: &str, tls: bool) -> Value {
    let mut spec = json!({ "rules": [rule(host, json!([path(kind, at, service)]))] });
    if tls {
        spec["tls"] = json!([{ "secretName": "cert" }]);
    }
    spec
}

#[test]
fn a_guard_over_plain_http_alone_is_told_where_its_host_is_open_over_https() {
    let ranges = ("portcullis.dev/inbound-cidrs", "10.0.0.0/8");
    let denied = (
        "portcullis.dev/actions.out",
        r#"{"type":"fixed-response","fixedResponseConfig":{"statusCode":"403"}}"#,
    );
    let forced = ("nginx.ingress.kubernetes.io/force-ssl-redirect", "true");
    // What the guard of a.com /admin says, whether it has TLS, its neighbour: host, path, annotations, whether it has TLS;
    // where it is told.
    type Row<'a> = (Pairs<'a>, bool, (&'a str, &'a str, Pairs<'a>, bool), bool);
    let rows: &[Row<'_>] = &[
        (&[PASSWORD], false, ("a.com", "/", &[], true), true),
        (&[PASSWORD, HTTP], false, ("a.com", "/", &[BOTH], false), true),
        (&[PASSWORD], false, ("a.com", "/admin", &[], true), true),
        (&[PASSWORD], false, ("*.com", "/", &[], true), true),
        (&[ranges], false, ("a.com", "/", &[], true), true),
        (&[denied], false, ("a.com", "/", &[], true), true),
        // It speaks HTTPS itself, or its neighbour does not.
        (&[PASSWORD], true, ("a.com", "/", &[], true), false),
        (&[PASSWORD, BOTH], false, ("a.com", "/", &[], true), false),
        (&[PASSWORD], false, ("a.com", "/", &[], false), false),
        // Nothing is guarded, or what answers is, too.
        (&[], false, ("a.com", "/", &[], true), false),
        (&[PASSWORD], false, ("a.com", "/", &[PASSWORD], true), false),
        // It would not take the guard's requests.
        (&[PASSWORD], false, ("a.com", "/x", &[], true), false),
        (&[PASSWORD], false, ("b.com", "/", &[], true), false),
        (&[PASSWORD], false, ("", "/", &[], true), false),
        (&[PASSWORD], false, ("a.com", "/admin/x", &[], true), false),
    ];
    for (guard, with_tls, (host, at, open, open_with_tls), is_told) in rows {
        let service = match guard.contains(&denied) {
            true => to_action("out"),
            false => to("s"),
        };
        let mut guarding = spec("a.com", "Prefix", "/admin", "s", *with_tls);
        guarding["rules"][0]["http"]["paths"][0]["backend"] = service;
        let world = with_services(World::new(), &["shop/s", "shop/t"])
            .aged("shop/guard", 1, annotations(guard), guarding)
            .aged(
                "shop/open",
                2,
                annotations(open),
                spec(host, "Prefix", at, "t", *open_with_tls),
            );
        for (settings, is_proxy) in [(ours(), false), (serving(), true)] {
            // On a cloud who may connect is a matter of the port, for all of the namespace.
            let is_told = *is_told && (is_proxy || !guard.contains(&ranges));
            let served = world.one(&settings);
            let told = served.problems.iter().filter(|p| p.code == Code::GuardLeftOut);
            let told: Vec<String> = told.map(|p| format!("{}: {}", p.at, p.message)).collect();
            let host = match *host {
                "*.com" => "a.com",
                host => host,
            };
            let want = format!(
                "ingress shop/guard spec.rules[0].http.paths[0]: {host} /admin is guarded over plain HTTP alone: at port 443 it \
                 is answered by ingress shop/open spec.rules[0].http.paths[0], which lets everybody in"
            );
            let want: Vec<String> = is_told.then_some(want).into_iter().collect();
            assert_eq!(
                told, want,
                "{guard:?} {with_tls} {host}{at} {open:?} {open_with_tls}"
            );
        }
    }
    // What is forced to HTTPS in the proxy stands there.
    let guard = [PASSWORD, forced];
    let world = with_services(World::new(), &["shop/s", "shop/t"])
        .ingress(
            "shop/guard",
            annotations(&guard),
            spec("a.com", "Prefix", "/admin", "s", false),
        )
        .ingress(
            "shop/open",
            annotations(&[]),
            spec("a.com", "Prefix", "/", "t", true),
        );
    let codes = world.one(&serving()).codes();
    assert!(!codes.contains(&Code::GuardLeftOut), "{codes:?}");
}

/// What comes first at the guard's own port is not the guard's there.
#[test]
fn what_a_guard_does_not_take_is_not_told() {
    let world = with_services(World::new(), &["shop/s", "shop/t"])
        .ingress(
            "shop/guard",
            annotations(&[PASSWORD]),
            spec("a.com", "Prefix", "/admin", "s", false),
        )
        .ingress(
            "shop/open",
            annotations(&[]),
            spec("a.com", "Exact", "/admin", "t", true),
        );
    let served = world.one(&ours());
    let codes = served.codes();
    assert!(!codes.contains(&Code::GuardLeftOut), "{codes:?}");
}

/// In the proxy whoever ends TLS in front asks the rules of both listeners: a host that has rules over one of them alone is
/// closed to what takes every host over the other.
#[test]
fn the_proxy_ends_a_host_where_another_listener_takes_every_host() {
    let https = ("portcullis.dev/listen-ports", r#"[{"HTTPS":443}]"#);
    let world = with_services(World::new(), &["shop/s", "aaa/t"])
        .ingress(
            "shop/one",
            json!({}),
            spec("a.com", "Prefix", "/admin", "s", false),
        )
        .ingress(
            "aaa/all",
            json!({ (https.0): https.1 }),
            spec("", "Prefix", "/", "t", false),
        );
    let served = world.one(&serving());
    let host = |rule: &&Rule| rule.to_string().contains("a.com");
    let of_host: Vec<String> = served
        .balancer
        .rules
        .iter()
        .filter(host)
        .map(|r| r.to_string())
        .collect();
    assert_eq!(of_host.len(), 2, "{:#?}", served.rules());
    for (port, url, want) in [
        (80, "a.com/admin", "shop/s"),
        (80, "a.com/x", "404"),
        (80, "b.com/x", "404"),
        (443, "a.com/x", "aaa/t"),
    ] {
        assert_eq!(served.get_at(port, url), want, "{port} {url}");
    }
}

#[test]
fn guards_that_are_too_many_to_be_compared_are_told_once_and_hide_no_others() {
    let many = |kind: &str, text: &str, service: &str, count: usize| -> Vec<Value> {
        (0..count)
            .map(|at| path(kind, &format!("{text}{at}"), service))
            .collect()
    };
    for (guards, is_cut) in [(90, false), (110, true)] {
        let mut open = json!({ "rules": [rule("a.com", json!(many("Exact", "/s", "open", 1000)))] });
        open["tls"] = json!([{ "secretName": "cert" }]);
        let mut world = with_services(World::new(), &["shop/open", "shop/many", "shop/one"]);
        world = world.aged("shop/open", 2, annotations(&[]), open);
        let many = json!({ "rules": [rule("a.com", json!(many("Exact", "/g", "many", guards)))] });
        world = world.aged("shop/many", 3, annotations(&[PASSWORD]), many);
        let other = spec("a.com", "Exact", "/s7", "one", false);
        world = world.aged("shop/one", 1, annotations(&[PASSWORD]), other);
        let served = world.one(&ours());
        let count = |code: Code| served.problems.iter().filter(|told| told.code == code).count();
        let row = format!("{guards}: {:?}", served.problems);
        assert_eq!(count(Code::LimitExceeded), usize::from(is_cut), "{row}");
        assert_eq!(count(Code::GuardLeftOut), 1, "{row}");
    }
}
