//! AWS's attributes in, those that the proxy does not heed told out.

use super::*;

#[test]
fn what_the_proxy_does_not_heed_is_told_once_at_its_annotation() {
    let web = || {
        alb(&[
            ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#),
            (
                "load-balancer-attributes",
                "idle_timeout.timeout_seconds=4000,routing.http.preserve_host_header.enabled=true,\
                 routing.http2.enabled=false,deletion_protection.enabled=true",
            ),
            (
                "listener-attributes.HTTPS-443",
                "routing.http.response.x_frame_options.header_value=DENY",
            ),
            (
                "target-group-attributes",
                "load_balancing.algorithm.type=round_robin,slow_start.duration_seconds=30",
            ),
        ])
    };
    let spec = |host: &str| {
        json!({ "rules": [rule(host, json!([
            path("Prefix", "/", "s"), path("Prefix", "/t", "t"), path("Prefix", "/u", "u"),
        ]))] })
    };
    let world = || {
        with_services(World::new(), &["shop/s", "shop/t"])
            .annotated_service(
                "shop/u",
                alb(&[(
                    "target-group-attributes",
                    "deregistration_delay.timeout_seconds=30",
                )]),
            )
            .ingress("shop/web", web(), spec("a.com"))
            .ingress("shop/other", json!({}), spec("b.com"))
    };
    for controller in [ControllerName::OURS, ControllerName::INCUMBENT] {
        let served = world().one(&Settings::for_serving(ControllerName::new(controller)));
        let told: Vec<(String, &str)> = served
            .problems
            .iter()
            .filter(|problem| problem.code == Code::AnnotationUnsupported)
            .map(|problem| {
                let (attribute, _) = problem.message.split_once(' ').unwrap();
                (problem.at.to_string(), attribute)
            })
            .collect();
        let at = |object: &str, name: &str| {
            format!("{object} metadata.annotations[alb.ingress.kubernetes.io/{name}]")
        };
        assert_eq!(
            told,
            [
                (
                    at("ingress shop/web", "listener-attributes.HTTPS-443"),
                    "routing.http.response.x_frame_options.header_value"
                ),
                (
                    at("ingress shop/web", "load-balancer-attributes"),
                    "idle_timeout.timeout_seconds"
                ),
                (
                    at("ingress shop/web", "load-balancer-attributes"),
                    "routing.http2.enabled"
                ),
                (
                    at("ingress shop/web", "target-group-attributes"),
                    "load_balancing.algorithm.type"
                ),
                (
                    at("service shop/u", "target-group-attributes"),
                    "deregistration_delay.timeout_seconds"
                ),
            ],
            "{controller}"
        );
        assert_eq!(served.get("a.com/x"), "shop/s", "{controller}");
    }
    // An ALB has them all.
    for settings in [ours(), theirs()] {
        for (id, translation) in world().all(&settings) {
            let told: Vec<_> = translation.problems.iter().map(|problem| problem.code).collect();
            assert!(!told.contains(&Code::AnnotationUnsupported), "{id}: {told:?}");
        }
    }
}

#[test]
fn ports_that_have_no_listener_of_their_own_are_told_at_their_annotation() {
    let spec = |host: &str| json!({ "rules": [rule(host, json!([path("Prefix", "/", "s")]))] });
    let own = r#"[{"HTTP":80},{"HTTP":8081},{"HTTP":8082}]"#;
    let world = || {
        with_services(World::new(), &["shop/s"])
            .ingress(
                "shop/admin",
                alb(&[("listen-ports", r#"[{"HTTP":8081}]"#)]),
                spec("a.com"),
            )
            .ingress(
                "shop/own",
                json!({ "portcullis.dev/listen-ports": own }),
                spec("b.com"),
            )
            .ingress(
                "shop/usual",
                alb(&[("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#)]),
                spec("c.com"),
            )
            .ingress("shop/silent", json!({}), spec("d.com"))
    };
    let served = world().one(&Settings::for_serving(ControllerName::new(ControllerName::OURS)));
    let told: Vec<(String, &str)> = served
        .problems
        .iter()
        .filter(|problem| problem.code == Code::AnnotationUnsupported)
        .map(|problem| {
            let (what, instead) = problem.message.split_once(" has no effect here: ").unwrap();
            assert!(
                instead.starts_with("it is served at the proxy's port for HTTP,"),
                "{instead}"
            );
            (problem.at.to_string(), what)
        })
        .collect();
    assert_eq!(
        told,
        [
            (
                "ingress shop/admin metadata.annotations[alb.ingress.kubernetes.io/listen-ports]".to_owned(),
                "HTTP at port 8081"
            ),
            (
                "ingress shop/own metadata.annotations[portcullis.dev/listen-ports]".to_owned(),
                "HTTP at 2 ports of 8081 to 8082"
            ),
        ]
    );
    assert_eq!(served.get("a.com/x"), "shop/s");
    assert_eq!(served.get("b.com/x"), "shop/s");
    // An ALB has a listener for each.
    for (id, translation) in world().all(&ours()) {
        let told: Vec<_> = translation.problems.iter().map(|problem| problem.code).collect();
        assert!(!told.contains(&Code::AnnotationUnsupported), "{id}: {told:?}");
    }
}
