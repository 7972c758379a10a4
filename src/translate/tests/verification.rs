//! What Services and Ingresses say of their targets' certificates in, which of these are taken out.

use portcullis_model::BackendTls;

use super::moved::{nginx, serving, world};
use super::*;
use crate::cluster::object::{Kind, ObjectKey};
use crate::cluster::snapshot::Secrets;

/// Annotations under our prefix.
fn dev(pairs: &[(&str, &str)]) -> Value {
    let pairs = pairs
        .iter()
        .map(|(name, value)| (format!("portcullis.dev/{name}"), json!(value)));
    Value::Object(pairs.collect())
}

/// `a.com/` of `shop/web` leads to `s`, `b.com/` of its neighbour to `t`.
fn cluster(service: &[(&str, &str)], ingress: &[(&str, &str)]) -> World {
    let to =
        |host: &str, service: &str| json!({ "rules": [rule(host, json!([path("Prefix", "/", service)]))] });
    World::new()
        .annotated_service("shop/s", dev(service))
        .service("shop/t")
        .ingress("shop/web", dev(ingress), to("a.com", "s"))
        .ingress("shop/neighbour", json!({}), to("b.com", "t"))
}

impl Served {
    /// How targets of `shop/s` are spoken to; `closed` where they are not.
    fn secured(&self) -> String {
        let mut backends = self.balancer.backends.values();
        let backend = backends.find(|backend| &*backend.service.name.name == "s");
        match backend.map(|backend| &backend.protocol.tls) {
            None => "closed".to_owned(),
            Some(BackendTls::Off) => "plain".to_owned(),
            Some(BackendTls::Unverified) => "unverified".to_owned(),
            Some(BackendTls::Verified(verification)) => verification.to_string(),
        }
    }
}

const TLS: (&str, &str) = ("backend-protocol", "HTTPS");
const CA: (&str, &str) = ("backend-tls-ca-secret", "ca");
const NAME: (&str, &str) = ("backend-tls-server-name", "web.example.com");
const BY_CA: &str = "as s.shop.svc, by authorities of secret/shop/ca";

#[test]
fn a_service_or_an_ingress_says_which_certificates_are_taken() {
    type Row<'r> = (
        &'r [(&'r str, &'r str)],
        &'r [(&'r str, &'r str)],
        &'r str,
        &'r str,
    );
    let own = "as web.example.com, by authorities of secret/shop/ca";
    let rows: &[Row<'_>] = &[
        // What the Service says, the Ingress, how targets are spoken to, and which annotation is told.
        (&[], &[], "plain", ""),
        (&[], &[TLS], "unverified", ""),
        (&[], &[TLS, CA], BY_CA, ""),
        (&[TLS, CA], &[], BY_CA, ""),
        (&[TLS], &[CA], BY_CA, ""),
        (&[CA], &[TLS], BY_CA, ""),
        (&[TLS, CA, NAME], &[], own, ""),
        (&[NAME], &[TLS, CA], own, ""),
        (&[CA], &[TLS, ("backend-tls-ca-secret", "other")], BY_CA, ""),
        // In clear text nobody shows a certificate.
        (&[], &[CA], "closed", "ingress shop/web backend-tls-ca-secret"),
        (&[CA], &[], "closed", "service shop/s backend-tls-ca-secret"),
        (
            &[],
            &[("backend-protocol", "HTTPs"), CA],
            "closed",
            "ingress shop/web backend-protocol",
        ),
        // A name that is compared with nothing.
        (
            &[],
            &[TLS, NAME],
            "closed",
            "ingress shop/web backend-tls-server-name",
        ),
        (
            &[NAME],
            &[TLS],
            "closed",
            "service shop/s backend-tls-server-name",
        ),
        (&[], &[NAME], "closed", "ingress shop/web backend-tls-server-name"),
        (
            &[],
            &[TLS, ("backend-tls-ca-secret", "")],
            "closed",
            "ingress shop/web backend-tls-ca-secret",
        ),
        (
            &[],
            &[TLS, ("backend-tls-ca-secret", "other/ca")],
            "closed",
            "ingress shop/web backend-tls-ca-secret",
        ),
        // The Service's own value counts, right or wrong.
        (
            &[("backend-tls-ca-secret", "../ca")],
            &[TLS, CA],
            "closed",
            "service shop/s backend-tls-ca-secret",
        ),
        (
            &[],
            &[TLS, CA, ("backend-tls-server-name", "10.0.0.1")],
            "closed",
            "ingress shop/web backend-tls-server-name",
        ),
        (
            &[],
            &[TLS, CA, ("backend-tls-server-name", "*.shop.svc")],
            "closed",
            "ingress shop/web backend-tls-server-name",
        ),
    ];
    for settings in [
        serving(),
        Settings::for_serving(ControllerName::new(ControllerName::INCUMBENT)),
    ] {
        for (service, ingress, want, told) in rows {
            let served = cluster(service, ingress).one(&settings);
            assert_eq!(served.secured(), *want, "{service:?} {ingress:?}");
            let answer = if *want == "closed" { "503" } else { "shop/s" };
            assert_eq!(served.get("a.com/x"), answer, "{service:?} {ingress:?}");
            assert_eq!(served.get("b.com/x"), "shop/t", "{service:?} {ingress:?}");
            let at = match told.rsplit_once(' ') {
                None => vec![],
                Some((object, name)) => {
                    vec![format!("{object} metadata.annotations[portcullis.dev/{name}]")]
                }
            };
            let found: Vec<String> = served
                .problems
                .iter()
                .map(|problem| problem.at.to_string())
                .collect();
            assert_eq!(found, at, "{service:?} {ingress:?}: {:?}", served.problems);
            assert!(served.codes().iter().all(|code| *code == Code::AnnotationInvalid));
        }
    }
}

#[test]
fn under_the_prefix_of_the_incumbent_they_are_not_known() {
    let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
    let served = World::new()
        .service("shop/s")
        .ingress("shop/web", alb(&[TLS, CA]), spec)
        .one(&ours());
    assert_eq!(served.secured(), "unverified");
    assert_eq!(served.codes(), [Code::AnnotationUnknown]);
}

#[test]
fn targets_are_verified_as_ingress_nginx_did_or_nothing_is_sent() {
    use Code::{AnnotationInvalid as Invalid, AnnotationUnsupported as Told};
    const ON: (&str, &str) = ("proxy-ssl-verify", "on");
    const SECRET: (&str, &str) = ("proxy-ssl-secret", "shop/ca");
    const THEIRS: (&str, &str) = ("proxy-ssl-name", "web.example.com");
    type Row<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r [Code]);
    let own = "as web.example.com, by authorities of secret/shop/ca";
    let rows: &[Row<'_>] = &[
        (&[TLS, ON, SECRET], BY_CA, &[Told]),
        (&[("backend-protocol", "GRPCS"), ON, SECRET], BY_CA, &[Told]),
        (&[TLS, ON, SECRET, THEIRS], own, &[Told]),
        (
            &[TLS, ON, SECRET, THEIRS, ("proxy-ssl-server-name", "on")],
            own,
            &[Told],
        ),
        (&[TLS, ("proxy-ssl-verify", "off"), SECRET], "unverified", &[Told]),
        (&[TLS, SECRET], "unverified", &[Told]),
        (&[TLS, THEIRS], "unverified", &[Told]),
        (&[TLS, ("proxy-ssl-server-name", "on")], "unverified", &[Told]),
        (&[TLS, ("proxy-ssl-server-name", "off")], "unverified", &[]),
        (&[TLS, ON], "closed", &[Invalid]),
        (
            &[TLS, ("proxy-ssl-verify", "yes"), SECRET],
            "closed",
            &[Told, Invalid],
        ),
        (
            &[TLS, ON, ("proxy-ssl-secret", "other/ca")],
            "closed",
            &[Invalid, Told],
        ),
        (&[TLS, ON, ("proxy-ssl-secret", "ca")], "closed", &[Invalid, Told]),
        (
            &[TLS, ON, SECRET, ("proxy-ssl-name", "$host")],
            "closed",
            &[Invalid, Told],
        ),
        (&[ON, SECRET], "closed", &[Invalid, Told]),
        // Ours win for what they say.
        (
            &[TLS, ON, ("portcullis.dev/backend-tls-ca-secret", "ca")],
            BY_CA,
            &[],
        ),
        (
            &[
                TLS,
                ON,
                SECRET,
                THEIRS,
                ("portcullis.dev/backend-tls-ca-secret", "ca"),
            ],
            own,
            &[],
        ),
        (
            &[
                TLS,
                THEIRS,
                ("portcullis.dev/backend-tls-ca-secret", "ca"),
                ("portcullis.dev/backend-tls-server-name", "s.shop.svc"),
            ],
            BY_CA,
            &[],
        ),
        (
            &[
                TLS,
                ON,
                SECRET,
                ("portcullis.dev/backend-tls-server-name", "web.example.com"),
            ],
            own,
            &[Told],
        ),
    ];
    for (annotations, want, codes) in rows {
        let served = world(annotations).one(&serving());
        assert_eq!(served.secured(), *want, "{annotations:?}");
        assert_eq!(served.get("b.com/x"), "shop/t", "{annotations:?}");
        let (mut told, mut codes) = (served.codes(), codes.to_vec());
        told.sort();
        codes.sort();
        assert_eq!(told, codes, "{annotations:?}: {:?}", served.problems);
    }
}

#[test]
fn a_service_that_is_only_asked_is_not_verified_by_what_is_said_of_backends() {
    let served = world(&[
        TLS,
        ("proxy-ssl-verify", "on"),
        ("proxy-ssl-secret", "shop/ca"),
        ("auth-url", "http://auth.shop.svc.cluster.local/"),
    ])
    .service("shop/auth")
    .one(&serving());
    assert_eq!(served.secured(), BY_CA);
    let mut backends = served.balancer.backends.values();
    let asked = backends.find(|backend| &*backend.service.name.name == "auth");
    assert_eq!(asked.unwrap().protocol.tls, BackendTls::Off);
}

#[test]
fn what_an_action_forwards_to_is_verified_as_what_a_path_leads_to() {
    let forward =
        r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"s","servicePort":80}]}}"#;
    let annotations = [
        ("portcullis.dev/actions.split", forward),
        ("proxy-ssl-verify", "on"),
        ("proxy-ssl-secret", "shop/ca"),
        ("portcullis.dev/backend-protocol", "HTTPS"),
    ];
    for (protocol, want) in [("HTTPS", BY_CA), ("HTTP", "closed")] {
        let mut annotations = annotations;
        annotations[3].1 = protocol;
        let paths = json!([{ "path": "/", "pathType": "Prefix", "backend": to_action("split") }]);
        let served = with_services(World::new(), &["shop/s"])
            .ingress(
                "shop/web",
                nginx(&annotations),
                json!({ "rules": [rule("a.com", paths)] }),
            )
            .one(&serving());
        assert_eq!(served.secured(), want, "{protocol}: {:?}", served.problems);
    }
}

#[test]
fn a_canary_takes_no_verification_away() {
    let spec = |service: &str| json!({ "rules": [rule("a.com", json!([path("Prefix", "/", service)]))] });
    let verifying = [TLS, ("proxy-ssl-verify", "on"), ("proxy-ssl-secret", "shop/ca")];
    let canary = [("canary", "true"), ("canary-weight", "50")];
    for (more, want) in [
        (&[][..], "shop/s"),
        (&[TLS], "shop/s"),
        (&verifying, "shop/s + shop/next"),
    ] {
        let served = with_services(World::new(), &["shop/s", "shop/next"])
            .aged("shop/web", 2, nginx(&verifying), spec("s"))
            .aged("shop/canary", 3, nginx(&[&canary, more].concat()), spec("next"))
            .one(&serving());
        assert_eq!(served.get("a.com/x"), want, "{more:?}: {:?}", served.problems);
        let is_alone = served.codes().contains(&Code::CanaryAlone);
        assert_eq!(is_alone, want == "shop/s", "{more:?}");
    }
}

#[test]
fn a_secret_that_a_service_names_is_read_and_touches_whoever_leads_there() {
    let secret = |name: &str, pem: &str| {
        from_manifest(&json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "namespace": "shop", "name": name }, "stringData": { "ca.crt": pem },
        }))
        .unwrap()
        .object
    };
    for (service, ingress) in [(&[TLS, CA][..], &[][..]), (&[], &[TLS, CA])] {
        let mut world = cluster(service, ingress);
        world.secrets = SecretsMode::Read;
        world
            .objects
            .extend([secret("ca", "one"), secret("other", "one")]);
        let mut index = world.index(&serving());
        let ids: Vec<LoadBalancerId> = index.synced().unwrap().ids().into_iter().collect();
        let [id] = ids.as_slice() else { panic!("{ids:?}") };
        let names = |index: &Index| match index.synced().unwrap().snapshot(id).secrets {
            Secrets::Read(secrets) => secrets.keys().map(ToString::to_string).collect::<Vec<_>>(),
            Secrets::NotRead => panic!("Secrets are read"),
        };
        assert_eq!(names(&index), ["shop/ca"]);
        assert!(index.apply(secret("other", "two")).is_empty());
        assert_eq!(
            index.apply(secret("ca", "two")).load_balancers,
            [id.clone()].into()
        );
        let key = |name: &str| ObjectKey {
            kind: Kind::Secret,
            name: ObjectName::new("shop", name),
        };
        assert_eq!(index.delete(&key("ca")).load_balancers, [id.clone()].into());
        assert_eq!(names(&index), [""; 0]);
        if service.is_empty() {
            continue;
        }
        // It names another from now on.
        index.apply(secret("ca", "three"));
        let changed = cluster(&[TLS, ("backend-tls-ca-secret", "other")], &[]);
        let changed = changed.objects.into_iter().next().unwrap();
        assert_eq!(index.apply(changed).load_balancers, [id.clone()].into());
        assert_eq!(names(&index), ["shop/other"]);
        assert!(index.apply(secret("ca", "four")).is_empty());
        assert!(!index.apply(secret("other", "three")).is_empty());
    }
}

#[test]
fn the_secret_of_a_service_s_login_is_read() {
    let login = r#"{"issuer":"https://idp.example","secretName":"login"}"#;
    for (service, ingress) in [
        (&[("auth-idp-oidc", login)][..], &[][..]),
        (&[], &[("auth-idp-oidc", login)]),
    ] {
        let mut world = cluster(service, ingress);
        world.secrets = SecretsMode::Read;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "namespace": "shop", "name": "login" },
            "stringData": { "clientID": "a", "clientSecret": "b" },
        });
        world.objects.push(from_manifest(&secret).unwrap().object);
        let index = world.index(&serving());
        let synced = index.synced().unwrap();
        for id in synced.ids() {
            let Secrets::Read(secrets) = synced.snapshot(&id).secrets else {
                panic!("Secrets are read");
            };
            assert!(
                secrets.contains_key(&ObjectName::new("shop", "login")),
                "{service:?} {ingress:?}"
            );
        }
        assert_eq!(synced.ids().len(), 1);
    }
}
