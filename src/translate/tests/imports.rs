//! TLS Secrets for a provider that takes certificates in; what it is given, and what it is asked about, out.

use portcullis_model::{Protocol, Stored};
use rcgen::KeyPair;

use super::*;

fn tls_secret(name: &str, hosts: &[&str]) -> Value {
    let key = KeyPair::generate().unwrap();
    let names = hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
    let certificate = rcgen::CertificateParams::new(names).unwrap();
    let pem = certificate.self_signed(&key).unwrap().pem();
    let (namespace, short) = name.split_once('/').unwrap();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": namespace, "name": short },
        "type": "kubernetes.io/tls", "stringData": { "tls.crt": pem, "tls.key": key.serialize_pem() },
    })
}

fn spec(host: &str, secret: Option<&str>) -> Value {
    let mut tls = json!({ "hosts": [host] });
    if let Some(secret) = secret {
        tls["secretName"] = secret.into();
    }
    json!({ "tls": [tls], "rules": [rule(host, json!([path("Prefix", "/", "s")]))] })
}

/// Each Secret, and what was found there.
fn pairs(served: &Served) -> Vec<String> {
    let shown = |(name, stored): (&ObjectName, &Stored)| match stored {
        Stored::Pair(pair) => {
            let names: Vec<String> = pair.names.iter().map(ToString::to_string).collect();
            format!("{name} {}", names.join(","))
        }
        Stored::Unusable(code, why) => format!("{name} {code}: {why}"),
    };
    served.balancer.key_pairs.iter().map(shown).collect()
}

#[test]
fn what_lies_in_a_named_secret_is_taken_in() {
    let good = || tls_secret("shop/cert", &["a.com"]);
    let arn = json!({ "alb.ingress.kubernetes.io/certificate-arn": "arn:1" });
    let https = json!({ "alb.ingress.kubernetes.io/listen-ports": r#"[{"HTTPS":443}]"# });
    let broken = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "namespace": "shop", "name": "cert" },
        "stringData": { "tls.crt": "x" },
    });
    let elsewhere = tls_secret("other/cert", &["a.com"]);
    let (named, unnamed) = (spec("a.com", Some("cert")), spec("a.com", None));
    let asked = |name: &str| -> Vec<String> { vec![name.to_owned()] };
    for (given, settings, annotations, spec, secret, want, asks) in [
        (
            "ours",
            ours(),
            json!({}),
            &named,
            good(),
            vec!["shop/cert a.com"],
            asked("shop/cert"),
        ),
        (
            "a name alone",
            ours(),
            json!({}),
            &unnamed,
            good(),
            vec![],
            vec![],
        ),
        ("an ARN wins", ours(), arn, &named, good(), vec![], vec![]),
        ("the incumbent's", theirs(), https, &named, good(), vec![], vec![]),
        (
            "no key",
            ours(),
            json!({}),
            &named,
            broken,
            vec!["shop/cert SecretInvalid: Secret shop/cert has no tls.key"],
            asked("shop/cert"),
        ),
        (
            "another namespace's",
            ours(),
            json!({}),
            &named,
            elsewhere,
            vec![],
            asked("shop/cert"),
        ),
    ] {
        let world =
            World::new()
                .service("shop/s")
                .with(secret)
                .ingress("shop/web", annotations, spec.clone());
        let served = world.one(&settings);
        assert_eq!(pairs(&served), want, "{given}");
        let index = world.index(&settings);
        let snapshot = index.synced().unwrap().snapshot(&served.balancer.id);
        let secrets: Vec<String> = secrets_of(&snapshot, &settings)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(secrets, asks, "{given}");
        // What is wrong with it is told by the provider, which knows what serves instead.
        assert_eq!(served.codes(), [], "{given}");
    }
}

#[test]
fn a_certificate_that_does_not_name_a_host_of_its_entry_is_served_and_told() {
    let no_host = |place: usize, host: &str| {
        format!(
            "ingress shop/web spec.tls[0].hosts[{place}]: the certificate in Secret shop/cert does not name {host} [CertificateHostMismatch]"
        )
    };
    let three = json!(["a.com", "x.b.com", "c.com"]);
    for (hosts, names, want) in [
        (&three, &["a.com", "*.b.com", "c.com"][..], vec![]),
        (&three, &["a.com", "*.b.com"], vec![no_host(2, "c.com")]),
        (
            &three,
            &["*.com", "b.com", "y.b.com", "*.x.b.com"],
            vec![no_host(1, "x.b.com")],
        ),
        // Nothing is asked of it.
        (&json!([]), &["d.com"], vec![]),
    ] {
        let spec = json!({
            "tls": [{ "hosts": hosts, "secretName": "cert" }],
            "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))],
        });
        for secrets in [SecretsMode::NotRead, SecretsMode::Read] {
            let mut world = World::new()
                .service("shop/s")
                .with(tls_secret("shop/cert", names))
                .ingress("shop/web", json!({}), spec.clone());
            world.secrets = secrets;
            let served = world.one(&ours());
            let told: Vec<String> = served.problems.iter().map(ToString::to_string).collect();
            assert_eq!(told, want, "{names:?} {secrets:?}");
            let Protocol::Https(tls) = &served.balancer.listeners[&Port::new(443).unwrap()].protocol else {
                panic!("port 443 is plain")
            };
            assert_eq!(tls.certificates.len(), 1, "{names:?} {secrets:?}");
        }
    }
}

#[test]
fn what_came_of_asking_is_passed_on() {
    for (answered, want) in [
        (
            Answered::Missing,
            "shop/cert SecretNotFound: there is no Secret shop/cert",
        ),
        (
            Answered::Refused("denied".into()),
            "shop/cert AccessDenied: Secret shop/cert cannot be read: denied",
        ),
    ] {
        let mut world =
            World::new()
                .service("shop/s")
                .ingress("shop/web", json!({}), spec("a.com", Some("cert")));
        assert_eq!(pairs(&world.one(&ours())), [""; 0]);
        world.asked.insert(ObjectName::new("shop", "cert"), answered);
        assert_eq!(pairs(&world.one(&ours())), [want]);
    }
}

#[test]
fn in_a_shared_load_balancer_a_certificate_names_no_host_of_another_namespace() {
    for (names, taken) in [
        (&["b.com"][..], true),
        (&["b.com", "a.com"], false),
        // What nobody names belongs to the oldest.
        (&["b.com", "c.com"], false),
        (&["*.com"], false),
    ] {
        let grouped = json!({ "alb.ingress.kubernetes.io/group.name": "g" });
        let world = World::new()
            .service("shop/s")
            .service("blog/s")
            .with(tls_secret("shop/cert", &["a.com", "c.com"]))
            .with(tls_secret("blog/cert", names))
            .aged("shop/a", 1, grouped.clone(), spec("a.com", Some("cert")))
            .aged("blog/b", 2, grouped, spec("b.com", Some("cert")));
        let served = world.one(&ours());
        let secrets: Vec<String> = served
            .balancer
            .key_pairs
            .keys()
            .map(ToString::to_string)
            .collect();
        let want = match taken {
            true => vec!["blog/cert", "shop/cert"],
            false => vec!["shop/cert"],
        };
        assert_eq!(secrets, want, "{names:?}");
        let told: Vec<String> = served.problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.is_empty(), taken, "{names:?}: {told:?}");
        for text in told {
            assert!(
                text.starts_with("ingress blog/b spec.tls[0].secretName"),
                "{text}"
            );
            assert!(text.ends_with("[HostNotOwned]"), "{text}");
        }
    }
}
