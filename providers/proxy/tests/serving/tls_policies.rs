//! TLS policies of rules and listeners in; the versions that are spoken under each server name, and who is served, out.

use std::sync::Arc;

use portcullis_model::{Code, ObjectName, Origin, Port, Protocol, Rule, TlsPolicy};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};

use crate::balancer::{rule, to};
use crate::client::{Client, get};
use crate::echo::Echo;
use crate::mutual::{Authorities, World, balancer};

const STRICT: &str = "ELBSecurityPolicy-TLS13-1-3-2021-06";

fn said_at(namespace: &str) -> Origin {
    Origin::new("ingress", ObjectName::new(namespace, "web"), "ssl-policy")
}

/// A rule of an Ingress of the namespace; one with a policy asks for it.
fn of(namespace: &str, policy: Option<&str>, mut rule: Rule) -> Rule {
    rule.origin = said_at(namespace).at("spec.rules");
    rule.tls_policy = policy.map(|name| {
        Arc::new(TlsPolicy {
            name: name.to_owned(),
            origin: said_at(namespace),
        })
    });
    rule
}

fn speaking(world: &World, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_protocol_versions(&[version]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(world.trusted.clone()).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

async fn status(
    world: &World,
    version: &'static SupportedProtocolVersion,
    name: &str,
    host: &str,
    path: &str,
) -> Option<u16> {
    let stream = world.connect(&speaking(world, version), name).await.ok()?;
    let answer = Client::http1_over(stream).await.send(get(host, path)).await;
    Some(answer.unwrap().status())
}

#[tokio::test]
async fn versions_are_those_of_the_host_and_a_rule_is_served_over_none_that_it_leaves_out() {
    let echo = Echo::http1("one").await;
    let rules = vec![
        of("shop", Some(STRICT), rule("a.example.com", "/", to("one"))),
        // Both namespaces have the host: who names another's takes nothing from it, and has its own rule guarded.
        of("else", Some("my-typo"), rule("b.example.com", "/typo", to("one"))),
        of("shop", None, rule("b.example.com", "/", to("one"))),
        // Of one namespace the strictest counts.
        of("lab", None, rule("c.example.com", "/", to("one"))),
        of("lab", Some(STRICT), rule("c.example.com", "/in", to("one"))),
        of("wide", Some(STRICT), rule("*.example.com", "/", to("one"))),
    ];
    let world = World::serve(&balancer(&echo, rules), &Authorities::new());
    for (name, host, path, old, new) in [
        ("a.example.com", "a.example.com", "/", None, 200),
        ("b.example.com", "b.example.com", "/", Some(200), 200),
        ("b.example.com", "b.example.com", "/typo", Some(421), 200),
        ("c.example.com", "c.example.com", "/", None, 200),
        ("d.example.com", "d.example.com", "/", None, 200),
        ("b.example.com", "a.example.com", "/", Some(421), 200),
        ("b.example.com", "d.example.com", "/", Some(421), 200),
        // What is served over both is to be had under any name.
        ("a.example.com", "b.example.com", "/", None, 200),
    ] {
        let over_old = status(&world, &TLS12, name, host, path).await;
        let over_new = status(&world, &TLS13, name, host, path).await;
        assert_eq!((over_old, over_new), (old, Some(new)), "{name} {host}{path}");
    }
    let told: Vec<_> = world.problems.iter().map(|p| (p.code, p.at.clone())).collect();
    assert_eq!(told, [(Code::OptionUnsupported, said_at("else"))]);
}

#[tokio::test]
async fn a_rule_for_all_hosts_has_those_that_nobody_names() {
    let echo = Echo::http1("one").await;
    let rules = vec![
        of("shop", None, rule("a.example.com", "/", to("one"))),
        of("wide", Some(STRICT), rule("*", "/all", to("one"))),
    ];
    let world = World::serve(&balancer(&echo, rules), &Authorities::new());
    for (name, path, old) in [
        ("a.example.com", "/", Some(200)),
        ("a.example.com", "/all", Some(200)),
        ("b.example.com", "/all", None),
    ] {
        assert_eq!(
            status(&world, &TLS12, name, name, path).await,
            old,
            "{name}{path}"
        );
        assert_eq!(
            status(&world, &TLS13, name, name, path).await,
            Some(200),
            "{name}{path}"
        );
    }
}

#[tokio::test]
async fn a_policy_of_the_listener_is_that_of_every_host() {
    let echo = Echo::http1("one").await;
    for (policy, old, told) in [
        ("ELBSecurityPolicy-2016-08", Some(200), 0),
        (STRICT, None, 0),
        ("my-typo", None, 1),
    ] {
        let mut balancer = balancer(&echo, vec![rule("a.example.com", "/", to("one"))]);
        let listener = balancer.listeners.get_mut(&Port::HTTPS).unwrap();
        let Protocol::Https(tls) = &mut listener.protocol else {
            panic!("it speaks HTTPS");
        };
        tls.policy = Some(policy.to_owned());
        balancer.options.policies_at.insert(Port::HTTPS, said_at("shop"));
        let world = World::serve(&balancer, &Authorities::new());
        for name in ["a.example.com", "b.example.com"] {
            let over_old = status(&world, &TLS12, name, "a.example.com", "/").await;
            let over_new = status(&world, &TLS13, name, "a.example.com", "/").await;
            assert_eq!((over_old, over_new), (old, Some(200)), "{policy} {name}");
        }
        let at: Vec<_> = world.problems.iter().map(|p| p.at.clone()).collect();
        assert_eq!(at, vec![said_at("shop"); told], "{policy}");
    }
}

#[tokio::test]
async fn a_policy_that_comes_later_counts_on_connections_that_are_open() {
    let echo = Echo::http1("one").await;
    let with = |policy| {
        balancer(
            &echo,
            vec![of("shop", policy, rule("a.example.com", "/", to("one")))],
        )
    };
    let world = World::serve(&with(None), &Authorities::new());
    let host = "a.example.com";
    for (version, want) in [(&TLS12, 421), (&TLS13, 200)] {
        world.change(&with(None), &Authorities::new());
        let stream = world.connect(&speaking(&world, version), host).await.unwrap();
        let mut client = Client::http1_over(stream).await;
        assert_eq!(client.send(get(host, "/")).await.unwrap().status(), 200);
        world.change(&with(Some(STRICT)), &Authorities::new());
        let answer = client.send(get(host, "/")).await.unwrap();
        assert_eq!(answer.status(), want, "{version:?}");
    }
}
