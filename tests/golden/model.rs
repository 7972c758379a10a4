//! A load balancer in, a text a person can read out.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};

use portcullis_model::{
    AddressFamily, Backend, Certificate, CertificateSource, Listener, LoadBalancer, ObjectName, Options,
    Protocol, Registrants, Rule, Scheme, Semantics, Target, TargetKind, TargetState,
};

/// All of it but what stands at its default.
pub(crate) fn load_balancer(balancer: &LoadBalancer) -> String {
    let mut out = format!("load balancer {}\n", balancer.id);
    let semantics = match balancer.semantics {
        Semantics::Kubernetes => "Kubernetes",
        Semantics::AwsLoadBalancerController => "AwsLoadBalancerController",
    };
    line(&mut out, 1, format!("semantics {semantics}"));
    line(&mut out, 1, format!("members {}", join(&balancer.members, ", ")));
    options(&mut out, &balancer.options);
    line(&mut out, 1, "listeners");
    for (port, listener) in &balancer.listeners {
        let (protocol, certificates) = match &listener.protocol {
            Protocol::Http => ("http", [].as_slice()),
            Protocol::Https(tls) => ("https", tls.certificates.as_slice()),
        };
        line(
            &mut out,
            2,
            format!("{port} {protocol}, else {}", default(listener)),
        );
        if let Protocol::Https(tls) = &listener.protocol
            && let Some(clients) = &tls.clients
        {
            let whose = relied_on(&clients.relied_on_by);
            line(
                &mut out,
                3,
                format!("of clients {:?}{whose}", clients.certificates),
            );
        }
        for certificate in certificates {
            line(&mut out, 3, show_certificate(certificate));
        }
    }
    line(&mut out, 1, "rules");
    for (i, rule) in balancer.rules.iter().enumerate() {
        line(&mut out, 2, format!("{i}: {}", show_rule(rule)));
    }
    line(&mut out, 1, "backends");
    for backend in balancer.backends.values() {
        show_backend(&mut out, 2, backend);
    }
    out
}

fn options(out: &mut String, options: &Options) {
    let scheme = match options.scheme {
        Scheme::Internal => "internal",
        Scheme::InternetFacing => "internet-facing",
    };
    let family = match options.address_family {
        AddressFamily::Ipv4 => "ipv4",
        AddressFamily::Dualstack => "dualstack",
        AddressFamily::DualstackWithoutPublicIpv4 => "dualstack-without-public-ipv4",
    };
    line(out, 1, format!("scheme {scheme}, {family}"));
    if options.http3 {
        line(out, 1, "http3");
    }
    for (key, value) in &options.attributes {
        line(out, 1, format!("attribute {key}={value}"));
    }
    for (port, attributes) in &options.listener_attributes {
        for (key, value) in attributes {
            line(out, 1, format!("port {port} attribute {key}={value}"));
        }
    }
    if let Some(pool) = &options.pools.public {
        line(out, 1, format!("public addresses of pool {pool}"));
    }
    if let Some(pool) = &options.pools.on_premises {
        line(out, 1, format!("on-premises addresses of pool {pool}"));
    }
    if let Some(units) = options.minimum_capacity {
        line(out, 1, format!("capacity of {units} units kept ready"));
    }
    if let Some(firewall) = &options.firewall {
        let whose = relied_on(&firewall.relied_on_by);
        line(out, 1, format!("firewall {:?}{whose}", firewall.choice));
    }
    if let Some(on) = options.attack_protection {
        line(out, 1, format!("protection against attacks {on}"));
    }
    for (port, lists) in &options.admitted_lists {
        let lists: Vec<_> = lists.iter().collect();
        line(out, 1, format!("port {port} admits lists {}", join(&lists, ", ")));
    }
    for (port, ranges) in &options.admitted {
        let ranges: Vec<_> = ranges.iter().collect();
        let ranges = if ranges.is_empty() {
            "nobody by address".to_owned()
        } else {
            join(&ranges, ", ")
        };
        line(out, 1, format!("port {port} admits {ranges}"));
    }
}

fn relied_on(members: &BTreeSet<ObjectName>) -> String {
    match members.is_empty() {
        true => String::new(),
        false => format!(" for {}", join(&members.iter().collect::<Vec<_>>(), ", ")),
    }
}

fn default(listener: &Listener) -> String {
    match &listener.authenticate {
        Some(step) => format!("{step} → {}", listener.default_action),
        None => listener.default_action.to_string(),
    }
}

fn show_certificate(certificate: &Certificate) -> String {
    let source = match &certificate.source {
        CertificateSource::Given(name) => format!("given {name}"),
        CertificateSource::Stored(secret) => format!("of secret {secret}"),
        CertificateSource::Discovered => "discovered".to_owned(),
    };
    let hosts: Vec<_> = certificate.hosts.iter().collect();
    let hosts = if hosts.is_empty() {
        "the hosts it is for".to_owned()
    } else {
        join(&hosts, ", ")
    };
    format!("certificate {source} for {hosts}, by {}", certificate.origin)
}

pub(crate) fn show_rule(rule: &Rule) -> String {
    format!("{rule}    [{}]", rule.origin)
}

pub(crate) fn show_backend(out: &mut String, depth: usize, backend: &Backend) {
    let kind = match backend.target_kind {
        TargetKind::Pod => "pods",
        TargetKind::Node => "nodes",
    };
    let port = backend.port.map_or("of each".to_owned(), |port| port.to_string());
    let family = if backend.ipv6 { ", ipv6" } else { "" };
    line(
        out,
        depth,
        format!("{} to {kind}, port {port}{family}", backend.id),
    );
    if let Some(port) = backend.control_port {
        line(out, depth + 1, format!("control port {port}"));
    }
    if backend.registrants == Registrants::OthersToo {
        line(out, depth + 1, "other clusters register targets, too");
    }
    if let Some(verification) = backend.protocol.tls.verification() {
        line(out, depth + 1, format!("verified {verification}"));
    }
    for target in backend.targets.iter() {
        line(out, depth + 1, show_target(target));
    }
}

fn show_target(target: &Target) -> String {
    let state = match target.state {
        TargetState::Ready => "ready",
        TargetState::Draining => "draining",
    };
    format!("{} port {} {state}", target.address, target.port)
}

pub(crate) fn line(out: &mut String, depth: usize, text: impl Display) {
    let _ = writeln!(out, "{:depth$}{text}", "", depth = depth * 2);
}

pub(crate) fn join<T: Display>(values: &[T], between: &str) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(between)
}
