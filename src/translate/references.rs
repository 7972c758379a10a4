//! An Ingress in, the names of the Services and Secrets it may need out.

use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_model::{ObjectName, Semantics};
use serde_json::Value;

use super::annotations::{Annotations, json};
use super::settings::Settings;
use super::{auth, backends, filters, member, protection};
use crate::cluster::membership::{CertificateSearch, Names};
use crate::cluster::object::{ClassParameters, Ingress, IngressBackend, PortRef, Service};
use crate::cluster::snapshot::{Member, Parameters, Snapshot};

/// In place of a port's name: the backend's name is that of an `actions.*` annotation.
pub(super) const USE_ANNOTATION: &str = "use-annotation";

/// What an Ingress names, whether it exists or not; pure.
pub(super) fn references(ingress: &Ingress) -> Names {
    let namespace = &ingress.meta.name.namespace;
    let named = |name: &str| ObjectName::new(namespace.clone(), name);
    let mut names = Names::default();

    let paths = ingress
        .rules
        .iter()
        .flat_map(|rule| rule.paths.iter().map(|path| &path.backend));
    for backend in ingress.default_backend.iter().chain(paths) {
        match backend {
            IngressBackend::Service { name, port } => {
                if !is_action(port) {
                    names.services.insert(named(name));
                }
            }
            IngressBackend::Resource { .. } | IngressBackend::Missing => {}
        }
    }
    for tls in &ingress.tls {
        names.secrets.extend(tls.secret.as_deref().map(named));
    }
    let annotations = Annotations::of("ingress", &ingress.meta);
    let unnamed = ingress.tls.iter().any(|tls| tls.secret.is_none());
    let https = annotations
        .get("listen-ports")
        .is_some_and(|written| written.value.contains("HTTPS"));
    if unnamed || (ingress.tls.is_empty() && https) {
        names.search = CertificateSearch::Namespace;
    }
    for (_, written) in annotations.family("actions.") {
        if let Ok(value) = json::read::<Value>(written.value) {
            collect(&value, "servicename", &mut |name| {
                names.services.insert(named(name));
            });
        }
    }
    names.secrets.extend(protection::secrets(&annotations, namespace));
    names.secrets.extend(filters::secret(&annotations, namespace));
    names.secrets.extend(backends::secret(&annotations, namespace));
    let asked = filters::service(&annotations, namespace);
    let copied_to = filters::mirror_service(&annotations, namespace);
    for service in asked.into_iter().chain(copied_to) {
        names.services.insert(named(&service));
    }
    names.secrets.extend(of_login(&annotations, namespace));
    names
}

/// The Secrets that a login is made with.
fn of_login(annotations: &Annotations<'_>, namespace: &Arc<str>) -> Vec<ObjectName> {
    let mut secrets = Vec::new();
    if let Some(written) = annotations.get("auth-idp-oidc")
        && let Ok(value) = json::read::<Value>(written.value)
    {
        collect(&value, "secretname", &mut |name| {
            secrets.push(ObjectName::new(namespace.clone(), name));
        });
    }
    secrets
}

/// The Secrets that a Service names for those that lead to it, whether they exist or not; pure.
pub(super) fn secrets_of_service(service: &Service) -> BTreeSet<ObjectName> {
    let annotations = Annotations::of("service", &service.meta);
    let namespace = &service.meta.name.namespace;
    let authorities = backends::secret(&annotations, namespace);
    let of_login = of_login(&annotations, namespace);
    authorities.into_iter().chain(of_login).collect()
}

/// The Secrets that a load balancer is made with, whether they exist or not; pure. No others are asked for.
pub fn secrets_of(snapshot: &Snapshot, settings: &Settings) -> BTreeSet<ObjectName> {
    let mut secrets = BTreeSet::new();
    // Members of several semantics take those of the first, which is not known yet.
    let takes_in = |class| member::semantics(settings, class) == Semantics::Kubernetes;
    let takes_in = snapshot
        .members
        .iter()
        .any(|member| takes_in(class_of(member).map(|class| &*class.spec)));
    for member in &snapshot.members {
        let ingress = &*member.ingress;
        let annotations = Annotations::of("ingress", &ingress.meta);
        let of_class = annotations.clone().of_class(class_of(member));
        // Certificates that are named leave nothing to be taken in.
        if takes_in && of_class.get("certificate-arn").is_none() {
            let named = |name: &str| ObjectName::new(ingress.meta.name.namespace.clone(), name);
            let tls = ingress.tls.iter();
            secrets.extend(tls.filter_map(|tls| tls.secret.as_deref().map(named)));
        }
        let named = references(ingress).services;
        let services = named
            .iter()
            .filter_map(|name| snapshot.services.get(name).map(|service| &**service));
        secrets.extend(auth::secrets(
            &annotations,
            &ingress.meta.name.namespace,
            services,
        ));
    }
    secrets
}

fn class_of(member: &Member) -> Option<&ClassParameters> {
    match &member.parameters {
        Parameters::Found(class) => Some(class),
        Parameters::None | Parameters::Missing | Parameters::Foreign => None,
    }
}

/// Whether a backend names an action instead of a Service.
pub(super) fn is_action(port: &PortRef) -> bool {
    matches!(port, PortRef::Name(name) if &**name == USE_ANNOTATION)
}

fn collect(value: &Value, field: &str, found: &mut impl FnMut(&str)) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str() {
                    Some(text) if name == field => found(text),
                    Some(_) => {}
                    None => collect(value, field, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, field, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
