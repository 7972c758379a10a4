//! Guards beside an open Ingress in, first right and then with a host or conditions that cannot be read, whom that lets past out.

use portcullis::translate::ControllerName;
use portcullis_model::LoadBalancer;

use crate::beside::{self, Member, is_open};

const GUARD: (&str, &str) = ("portcullis.dev/basic-auth-secret", "nothere");

fn balancer(controller: &str, guard: Member<'_>, open: Member<'_>) -> LoadBalancer {
    beside::balancer(controller, (guard, "Prefix"), (open, "Prefix"))
}

const CONTROLLERS: [&str; 2] = [ControllerName::OURS, ControllerName::INCUMBENT];

#[test]
fn a_guard_whose_host_cannot_be_read_lets_nobody_past() {
    let right = [
        ("admin.a.example", "admin.a.example"),
        ("*.b.a.example", "x.b.a.example"),
    ];
    for controller in CONTROLLERS {
        let open: Member<'_> = (&[], "*.a.example", "/");
        for (host, asked) in right {
            // Under Kubernetes semantics no wildcard takes two labels.
            let open = match host {
                "admin.a.example" => open,
                _ => (open.0, "*.b.a.example", "/"),
            };
            let upper = host.to_ascii_uppercase();
            for bad in [
                host.to_owned(),
                upper,
                format!("{host}."),
                format!("{host}:443"),
                format!("https://{host}"),
                format!(" {host}"),
            ] {
                let balancer = balancer(controller, (&[GUARD], &bad, "/admin"), open);
                let row = format!("{controller}: {bad:?}: {:?}", balancer.rules);
                assert!(!is_open(&balancer, "GET", asked, "/admin/x"), "{row}");
                assert!(
                    is_open(&balancer, "GET", "other.a.example", "/admin") == (host == "admin.a.example"),
                    "{row}"
                );
            }
        }
        // Of no one host.
        for bad in ["a_b.a.example", "*.*.a.example", "admin..a.example"] {
            let balancer = balancer(controller, (&[GUARD], bad, "/admin"), open);
            assert!(
                is_open(&balancer, "GET", "admin.a.example", "/admin"),
                "{controller}: {bad}"
            );
        }
    }
}

const NAME: &str = "alb.ingress.kubernetes.io/conditions.guarded";
const BY_METHOD: &str = r#"[{"field":"http-request-method","httpRequestMethodConfig":{"Values":["GET"]}}]"#;
const BROKEN: [&str; 4] = [
    r#"[{"field":"http-request-method","httpRequestMethodConfig":{"Values":["GE T"]}}]"#,
    r#"[{"field":"http-request-methods","httpRequestMethodConfig":{"Values":["GET"]}}]"#,
    r#"[{"field":"http-request-method","httpRequestMethodConfig":{"Values":["GET"]}}"#,
    r#"[{"field":"http-request-method","httpRequestMethodConfig":{"Values":["GET"]}},
        {"field":"source-ip","sourceIPConfig":{"values":["10.0.0/8"]}}]"#,
];

#[test]
fn a_guard_whose_conditions_cannot_be_read_lets_nobody_past() {
    let guards: [(&str, &str); 3] = [
        GUARD,
        ("alb.ingress.kubernetes.io/auth-type", "odic"),
        ("alb.ingress.kubernetes.io/listen-ports", r#"[{"HTTP":"80"}]"#),
    ];
    let open: Member<'_> = (&[], "a.example", "/");
    for controller in CONTROLLERS {
        for guard in guards {
            let right = balancer(
                controller,
                (&[guard, (NAME, BY_METHOD)], "a.example", "/admin"),
                open,
            );
            assert!(
                !is_open(&right, "GET", "a.example", "/admin/x"),
                "{controller}: {guard:?}"
            );
            for broken in BROKEN {
                let closed = balancer(
                    controller,
                    (&[guard, (NAME, broken)], "a.example", "/admin"),
                    open,
                );
                let row = format!("{controller}: {guard:?} {broken}: {:?}", closed.rules);
                assert!(!is_open(&closed, "GET", "a.example", "/admin/x"), "{row}");
                assert!(is_open(&closed, "GET", "a.example", "/x"), "{row}");
                // What can be read of them counts.
                let is_read = broken == BROKEN[3];
                assert_eq!(
                    is_open(&closed, "POST", "a.example", "/admin/x"),
                    is_read,
                    "{row}"
                );
            }
        }
        // It lets everybody through, so what it leaves is answered as before.
        for broken in BROKEN {
            let left = balancer(controller, (&[(NAME, broken)], "a.example", "/admin"), open);
            assert!(
                is_open(&left, "GET", "a.example", "/admin/x"),
                "{controller}: {broken}"
            );
        }
    }
}

#[test]
fn a_guard_whose_conditions_cannot_be_read_takes_no_neighbour_s_path() {
    const RANGES: (&str, &str) = (
        "nginx.ingress.kubernetes.io/whitelist-source-range",
        "127.0.0.0/8",
    );
    for controller in CONTROLLERS {
        for path in ["/", "/app"] {
            for broken in &BROKEN[..3] {
                for guard in [&[GUARD][..], &[GUARD, RANGES]] {
                    let guard = [guard, &[(NAME, *broken)]].concat();
                    let balancer =
                        balancer(controller, (&guard, "a.example", path), (&[], "a.example", path));
                    let row = format!("{controller}: {path} {guard:?}: {:?}", balancer.rules);
                    assert!(is_open(&balancer, "GET", "a.example", "/app/x"), "{row}");
                }
            }
        }
    }
}
