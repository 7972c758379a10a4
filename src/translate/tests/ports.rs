//! Members that ask for different protocols at one port in, what is spoken there out.

use super::groups::two;
use super::*;

#[test]
fn a_port_with_two_protocols_speaks_that_of_the_oldest() {
    let served = two(
        json!({ "listen-ports": r#"[{"HTTPS":443},{"HTTP":80}]"# }),
        json!({ "listen-ports": r#"[{"HTTP":443},{"HTTP":8080}]"# }),
    )
    .one(&ours());
    served.told(
        Code::SettingConflict,
        "ingress shop/b metadata.annotations[alb.ingress.kubernetes.io/listen-ports]",
    );
    assert!(served.balancer.listeners[&Port::HTTPS].is_https());
    assert_eq!(served.get_at(8080, "b.com/"), "shop/b");
    assert_eq!(
        served.get_at(443, "b.com/"),
        "404",
        "what was to be plain is not served there"
    );
    assert_eq!(
        served.get_at(80, "b.com/"),
        "404",
        "rules stand on their own Ingress's ports"
    );
}

#[test]
fn of_two_protocols_the_one_that_is_spoken_already_goes_on() {
    let https = r#"[{"HTTPS":443}]"#;
    let http = r#"[{"HTTP":443}]"#;
    // What the older and the younger member ask for, what is spoken, and what then is; who has no rules there.
    for (older, younger, spoken, want, out) in [
        (http, https, None, Wire::Http, Some("b")),
        (http, https, Some(Wire::Https), Wire::Https, Some("a")),
        (https, http, Some(Wire::Https), Wire::Https, Some("b")),
        (https, http, Some(Wire::Http), Wire::Http, Some("a")),
        // Nobody relies on it any more.
        (http, http, Some(Wire::Https), Wire::Http, None),
    ] {
        let mut world = two(
            json!({ "listen-ports": older }),
            json!({ "listen-ports": younger }),
        );
        world.spoken = spoken.map(|wire| (Port::HTTPS, wire)).into_iter().collect();
        for settings in [ours(), theirs()] {
            let served = world.one(&settings);
            let is_https = served.balancer.listeners[&Port::HTTPS].is_https();
            assert_eq!(is_https, want == Wire::Https, "{older} {younger} {spoken:?}");
            for name in ["a", "b"] {
                let there = served
                    .balancer
                    .rules
                    .iter()
                    .any(|rule| &*rule.origin.object.name == name);
                assert_eq!(there, out != Some(name), "{older} {younger} {spoken:?}: {name}");
            }
            if let Some(name) = out {
                let at = format!(
                    "ingress shop/{name} metadata.annotations[alb.ingress.kubernetes.io/listen-ports]"
                );
                served.told(Code::SettingConflict, &at);
            }
        }
    }
}
