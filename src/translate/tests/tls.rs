//! `spec.tls`, certificates and listen ports in, listeners and their certificates out.

use portcullis_model::{Certificate, CertificateSource, Protocol};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;

fn certificates(served: &Served, port: u16) -> Vec<String> {
    let listener = &served.balancer.listeners[&Port::new(port.into()).unwrap()];
    let Protocol::Https(tls) = &listener.protocol else {
        panic!("port {port} is plain")
    };
    let shown = |certificate: &Certificate| {
        let hosts: Vec<String> = certificate.hosts.iter().map(|host| host.to_string()).collect();
        let source = match &certificate.source {
            CertificateSource::Given(name) => name.clone(),
            CertificateSource::Stored(name) => name.to_string(),
            CertificateSource::Discovered => "?".to_owned(),
        };
        format!("{source} {}", hosts.join(","))
    };
    tls.certificates.iter().map(shown).collect()
}

fn ports(served: &Served) -> Vec<String> {
    let shown = |(port, listener): (&Port, &Listener)| {
        format!("{}:{port}", if listener.is_https() { "HTTPS" } else { "HTTP" })
    };
    served.balancer.listeners.iter().map(shown).collect()
}

fn spec(tls: Value) -> Value {
    json!({ "tls": tls, "rules": [
        rule("a.com", json!([path("Prefix", "/", "s")])),
        rule("*.b.com", json!([path("Prefix", "/", "s")])),
    ] })
}

#[test]
fn what_asks_for_a_certificate_that_nobody_issues_is_not_served_in_clear() {
    let arn = ("certificate-arn", "arn:1");
    let own = ("listen-ports", r#"[{"HTTP":80},{"HTTPS":443}]"#);
    // annotations, ports, what is told
    type Row<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str], &'a [Code]);
    let rows: [Row<'_>; 6] = [
        (
            &[("create-acm-cert", "true")],
            &["HTTPS:443"],
            &[Code::AnnotationUnsupported],
        ),
        (
            &[("create-acm-cert", "T"), ("acm-pca-arn", "arn:pca")],
            &["HTTPS:443"],
            &[Code::AnnotationUnsupported, Code::AnnotationUnsupported],
        ),
        (
            &[("create-acm-cert", "yes")],
            &["HTTPS:443"],
            &[Code::AnnotationInvalid],
        ),
        (
            &[("create-acm-cert", "")],
            &["HTTPS:443"],
            &[Code::AnnotationInvalid],
        ),
        (
            &[("create-acm-cert", "true"), own],
            &["HTTP:80", "HTTPS:443"],
            &[Code::AnnotationUnsupported],
        ),
        (
            &[("acm-pca-arn", "arn:pca")],
            &["HTTP:80"],
            &[Code::AnnotationUnsupported],
        ),
    ];
    for (annotations, want, told) in rows {
        for settings in [ours(), theirs()] {
            let world = World::new().service("shop/s");
            let served = world
                .ingress("shop/web", alb(annotations), spec(json!([])))
                .one(&settings);
            assert_eq!(ports(&served), want, "{annotations:?}");
            assert_eq!(served.codes(), told, "{annotations:?}");
        }
    }
    // A certificate that is named is there, and nothing is told.
    let named = [("create-acm-cert", "true"), arn];
    let world = World::new().service("shop/s");
    let served = world
        .ingress("shop/web", alb(&named), spec(json!([])))
        .one(&theirs());
    assert_eq!(
        (ports(&served), served.codes()),
        (vec!["HTTPS:443".to_owned()], vec![])
    );
}

#[test]
fn https_is_listened_on_as_its_semantics_say() {
    let tls = json!([{ "hosts": ["a.com"], "secretName": "cert" }]);
    let arns = [("certificate-arn", "arn:1, arn:2")];
    let both = [("listen-ports", r#"[{"HTTP":8080},{"HTTPS":8443}]"#)];
    // annotations, tls, ports and certificates under ours, the same under the incumbent's
    type Row<'a> = (
        &'a [(&'a str, &'a str)],
        Value,
        (&'a [&'a str], &'a [&'a str]),
        (&'a [&'a str], &'a [&'a str]),
    );
    let rows: Vec<Row<'_>> = vec![
        (&[], json!([]), (&["HTTP:80"], &[]), (&["HTTP:80"], &[])),
        (
            &[],
            tls.clone(),
            (&["HTTP:80", "HTTPS:443"], &["shop/cert a.com"]),
            (&["HTTP:80"], &[]),
        ),
        (
            &arns,
            json!([]),
            (&["HTTP:80", "HTTPS:443"], &["arn:1 ", "arn:2 "]),
            (&["HTTPS:443"], &["arn:1 ", "arn:2 "]),
        ),
        (
            &arns,
            tls.clone(),
            (&["HTTP:80", "HTTPS:443"], &["arn:1 ", "arn:2 "]),
            (&["HTTPS:443"], &["arn:1 ", "arn:2 "]),
        ),
        (
            &[("create-acm-cert", "false")],
            json!([]),
            (&["HTTP:80"], &[]),
            (&["HTTP:80"], &[]),
        ),
        (
            &both,
            json!([]),
            (&["HTTP:8080", "HTTPS:8443"], &["? a.com,*.b.com"]),
            (&["HTTP:8080", "HTTPS:8443"], &["? a.com,*.b.com"]),
        ),
        (
            &both,
            json!([{ "hosts": ["c.com"] }]),
            (&["HTTP:8080", "HTTPS:8443"], &["? c.com"]),
            (&["HTTP:8080", "HTTPS:8443"], &["? a.com,c.com,*.b.com"]),
        ),
    ];
    for (annotations, tls, own, incumbent) in rows {
        let world = World::new()
            .service("shop/s")
            .ingress("shop/web", alb(annotations), spec(tls.clone()));
        for (settings, (want_ports, want_certificates)) in [(ours(), own), (theirs(), incumbent)] {
            let served = world.one(&settings);
            let row = format!("{annotations:?} {tls} {}", settings.controller);
            assert_eq!(ports(&served), want_ports, "{row}");
            let https = served
                .balancer
                .listeners
                .values()
                .find(|listener| listener.is_https());
            let got = https.map(|listener| certificates(&served, listener.port.get()));
            assert_eq!(got.unwrap_or_default(), want_certificates, "{row}");
            assert_eq!(served.codes(), [], "{row}");
        }
    }
}

fn secret(name: &str, data: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "shop", "name": name },
        "type": "kubernetes.io/tls", "data": data,
    })
}

#[test]
fn secrets_that_are_read_are_served_or_told() {
    let good = json!({ "tls.crt": "eA==", "tls.key": "eA==" });
    for (tls, want, problem) in [
        (
            json!([{ "hosts": ["a.com"], "secretName": "good" }]),
            vec!["shop/good a.com"],
            None,
        ),
        (json!([{ "secretName": "good" }]), vec!["shop/good "], None),
        (
            json!([{ "hosts": ["a.com"], "secretName": "gone" }]),
            vec![],
            Some((Code::SecretNotFound, "spec.tls[0].secretName")),
        ),
        (
            json!([{ "hosts": ["a.com"], "secretName": "keyless" }]),
            vec![],
            Some((Code::SecretInvalid, "spec.tls[0].secretName")),
        ),
        (
            json!([{ "hosts": ["A.com"], "secretName": "good" }]),
            vec![],
            Some((Code::HostInvalid, "spec.tls[0].hosts[0]")),
        ),
        (
            json!([
                { "hosts": ["a.com", "c.com"], "secretName": "good" },
                { "hosts": ["a.com", "d.com"], "secretName": "other" },
            ]),
            vec!["shop/good a.com,c.com", "shop/other d.com"],
            Some((Code::CertificateConflict, "spec.tls[1].secretName")),
        ),
        (
            json!([{ "hosts": ["a.com"], "secretName": "good" }, { "hosts": ["a.com"], "secretName": "other" }]),
            vec!["shop/good a.com"],
            Some((Code::CertificateConflict, "spec.tls[1].secretName")),
        ),
        (
            json!([{ "hosts": ["a.com"], "secretName": "good" }, { "hosts": ["c.com"], "secretName": "good" }]),
            vec!["shop/good a.com,c.com"],
            None,
        ),
    ] {
        let mut world = World::new()
            .service("shop/s")
            .with(secret("good", good.clone()))
            .with(secret("other", good.clone()))
            .with(secret("keyless", json!({ "tls.crt": "eA==" })))
            .ingress("shop/web", json!({}), spec(tls.clone()));
        world.secrets = SecretsMode::Read;
        let served = world.one(&ours());
        assert_eq!(certificates(&served, 443), want, "{tls}");
        match problem {
            Some((code, field)) => served.told(code, &format!("ingress shop/web {field}")),
            None => assert_eq!(served.codes(), [], "{tls}"),
        }
        assert_eq!(served.get_at(443, "a.com/"), "shop/s", "{tls}");
    }
}

#[test]
fn of_two_members_the_first_serves_a_host_s_certificate() {
    let good = json!({ "tls.crt": "eA==", "tls.key": "eA==" });
    let member = |world: World, name: &str, day: u32| {
        world.with(secret(name, good.clone())).aged(
            &format!("shop/{name}"),
            day,
            json!({ "portcullis.dev/group.name": "g" }),
            json!({ "tls": [{ "hosts": ["a.com"], "secretName": name }] }),
        )
    };
    let mut world = member(member(World::new(), "new", 2), "old", 1);
    world.secrets = SecretsMode::Read;
    let served = world.one(&ours());
    assert_eq!(certificates(&served, 443), ["shop/old a.com"]);
    served.told(
        Code::CertificateConflict,
        "ingress shop/new spec.tls[0].secretName",
    );
}

#[test]
fn where_secrets_are_read_they_stand_beside_certificates_that_only_a_cloud_keeps() {
    let mut world = World::new()
        .service("shop/s")
        .with(secret("cert", json!({ "tls.crt": "eA==", "tls.key": "eA==" })))
        .ingress(
            "shop/web",
            alb(&[("certificate-arn", "arn:1")]),
            spec(json!([{ "hosts": ["a.com"], "secretName": "cert" }])),
        );
    for (secrets, want) in [
        (SecretsMode::NotRead, vec!["arn:1 "]),
        (SecretsMode::Read, vec!["arn:1 ", "shop/cert a.com"]),
    ] {
        world.secrets = secrets;
        assert_eq!(certificates(&world.one(&ours()), 443), want, "{secrets:?}");
    }
}

#[test]
fn a_host_has_a_certificate_of_each_type_of_key() {
    let pair = |name: &str, kind: &'static rcgen::SignatureAlgorithm| {
        let key = rcgen::KeyPair::generate_for(kind).unwrap();
        let made = rcgen::CertificateParams::new(vec!["a.com".to_owned()]).unwrap();
        let made = made.self_signed(&key).unwrap();
        let data = [("tls.crt", made.pem()), ("tls.key", key.serialize_pem())];
        let data = data.map(|(field, pem)| (field.to_owned(), json!(STANDARD.encode(pem))));
        secret(name, Value::Object(data.into_iter().collect()))
    };
    let tls = ["ec", "rsa", "ec-two"].map(|name| json!({ "hosts": ["a.com"], "secretName": name }));
    let mut world = World::new()
        .service("shop/s")
        .with(pair("ec", &rcgen::PKCS_ECDSA_P256_SHA256))
        .with(pair("ec-two", &rcgen::PKCS_ECDSA_P384_SHA384))
        .with(pair("rsa", &rcgen::PKCS_RSA_SHA256))
        .ingress("shop/web", json!({}), spec(json!(tls)));
    world.secrets = SecretsMode::Read;
    let served = world.one(&ours());
    assert_eq!(certificates(&served, 443), ["shop/ec a.com", "shop/rsa a.com"]);
    served.told(
        Code::CertificateConflict,
        "ingress shop/web spec.tls[2].secretName",
    );
}
