//! Backends in, the target groups that stand for them out: one for all that differ in nothing but who asks for them.
//!
//! A target group has the incumbent's logical id, which names the Ingress that asks, as long as one Ingress alone does.
//! One that several share is named after the Service, so that none of them can take the name away when it goes. When
//! it becomes shared, or ceases to be, the target group stays and its tags change: each knows the other ids under which
//! it may exist. The incumbent shares nothing.

use std::collections::BTreeMap;

use portcullis_model::{Backend, BackendId, LoadBalancer, ObjectName, Origin, Semantics, ServiceRef};
use sha2::{Digest, Sha256};

use crate::limits;

/// A target group to be, and whose settings it has.
#[derive(Debug)]
pub(super) struct Group<'a> {
    pub(super) backend: &'a Backend,
    /// What its name is made of where one Ingress alone asks for it; otherwise what no Ingress is called.
    pub(super) owner: ObjectName,
    /// Other ids under which it may exist; all that start with it, where one ends in a slash.
    pub(super) aliases: Vec<String>,
}

/// Which target group stands for which backend.
#[derive(Debug)]
pub(super) struct Sharing<'a> {
    /// By logical id.
    pub(super) groups: BTreeMap<String, Group<'a>>,
    ids: BTreeMap<&'a BackendId, String>,
}

impl<'a> Sharing<'a> {
    pub(super) fn of(balancer: &'a LoadBalancer) -> Self {
        let mut this = Self {
            groups: BTreeMap::new(),
            ids: BTreeMap::new(),
        };
        let mut of_service: BTreeMap<(&ObjectName, String), Vec<&Backend>> = BTreeMap::new();
        // What is verified is not forwarded to, and must give no other a new name.
        let all = balancer.backends.values();
        for backend in all.filter(|backend| backend.protocol.tls.verification().is_none()) {
            let key = (&backend.service.name, number_of(&backend.service));
            of_service.entry(key).or_default().push(backend);
        }
        for backends in of_service.into_values() {
            let kinds: Vec<Vec<&Backend>> = match balancer.semantics {
                Semantics::Kubernetes => alike(&backends),
                Semantics::AwsLoadBalancerController => backends.iter().map(|b| vec![*b]).collect(),
            };
            let several = kinds.len() > 1;
            for kind in kinds {
                this.add(&kind, several);
            }
        }
        this
    }

    /// The logical id of a backend's target group.
    pub(super) fn id(&self, backend: &'a BackendId) -> &str {
        self.ids.get(backend).map_or(backend.as_str(), String::as_str)
    }

    pub(super) fn aliases(&self, id: &str) -> &[String] {
        self.groups
            .get(id)
            .map(|group| group.aliases.as_slice())
            .unwrap_or_default()
    }

    /// Adds a target group for backends that are alike; `several` where the same Service port needs more than one.
    fn add(&mut self, backends: &[&'a Backend], several: bool) {
        let Some(first) = backends.first() else { return };
        let name = &first.service.name;
        // A port has the name that all give it, else its number.
        let mut ports: Vec<&str> = backends.iter().map(|backend| &*backend.service.port).collect();
        ports.dedup();
        let number = number_of(&first.service);
        let port = match ports.as_slice() {
            [only] => *only,
            _ => number.as_str(),
        };
        let called = |port: &str| service_group_id(name, port);
        let shared = called(port);
        let mut others: Vec<String> = Vec::new();
        for port in [port]
            .into_iter()
            .chain(ports.iter().copied())
            .chain([number.as_str()])
        {
            if !others.contains(&called(port)) {
                others.extend([called(port), format!("{}/", called(port))]);
            }
        }
        let (id, owner, aliases) = match backends {
            [only] => (only.id.to_string(), only.owner.clone(), others),
            _ => {
                let (id, owner) = if several {
                    let kind = digest(first, port);
                    (format!("{shared}/{kind}"), format!("/service/{kind}"))
                } else {
                    (shared, "/service".to_owned())
                };
                let own = backends.iter().map(|backend| backend.id.to_string());
                let aliases = own.chain(others).filter(|alias| *alias != id);
                let owner = ObjectName::new(name.namespace.clone(), owner);
                (id.clone(), owner, aliases.collect())
            }
        };
        for backend in backends {
            self.ids.insert(&backend.id, id.clone());
        }
        let backend = first;
        self.groups.insert(
            id,
            Group {
                backend,
                owner,
                aliases,
            },
        );
    }
}

/// The logical id of the target group that all share who lead to a Service's port, however it is called; the beginning of
/// it where there are several.
pub(crate) fn service_group_id(service: &ObjectName, port: &str) -> String {
    format!("{}/service/{}:{port}", service.namespace, service.name)
}

/// A Service's port by its number, which is the same whichever way an Ingress names it.
fn number_of(service: &ServiceRef) -> String {
    let number = service.number.map(|number| number.to_string());
    number.unwrap_or_else(|| service.port.to_string())
}

/// A backend without what says who asks for it, and how, and without tags that are not written.
fn anonymous(backend: &Backend) -> Backend {
    let nobody = ObjectName::cluster("");
    let port = number_of(&backend.service).into();
    let written = backend
        .tags
        .iter()
        .filter(|(key, value)| limits::is_tag(key, value));
    Backend {
        tags: written.map(|(key, value)| (key.clone(), value.clone())).collect(),
        id: BackendId::new(&nobody, "", ""),
        origin: Origin::new("", nobody.clone(), ""),
        owner: nobody,
        service: ServiceRef {
            port,
            ..backend.service.clone()
        },
        ..backend.clone()
    }
}

/// Those that differ in nothing but who asks for them together, in order.
fn alike<'a>(backends: &[&'a Backend]) -> Vec<Vec<&'a Backend>> {
    let mut kinds: Vec<(Backend, Vec<&'a Backend>)> = Vec::new();
    for backend in backends {
        let settings = anonymous(backend);
        match kinds.iter_mut().find(|(known, _)| *known == settings) {
            Some((_, kind)) => kind.push(backend),
            None => kinds.push((settings, vec![backend])),
        }
    }
    kinds.into_iter().map(|(_, kind)| kind).collect()
}

/// A few digits that differ where settings do, targets aside; `port` is what the port is called.
fn digest(backend: &Backend, port: &str) -> String {
    let mut settings = anonymous(backend);
    settings.targets = [].into();
    settings.service.port = port.into();
    let bytes = serde_json::to_vec(&settings).unwrap_or_default();
    let digest = Sha256::digest(&bytes);
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
