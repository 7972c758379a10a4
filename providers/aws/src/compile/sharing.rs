//! Backends in, the target groups that stand for them out: one for all that differ in nothing but who asks for them.
//!
//! A target group has the incumbent's logical id, which names the Ingress that asks, as long as one Ingress alone does.
//! One that several share is named after the Service, so that none of them can take the name away when it goes. When
//! it becomes shared, or ceases to be, the target group stays and its tags change: each knows the other ids under which
//! it may exist. The incumbent shares nothing.

use std::collections::BTreeMap;

use portcullis_model::{Backend, BackendId, LoadBalancer, ObjectName, Origin, Semantics, ServiceRef};
use sha2::{Digest, Sha256};

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
        let mut of_service: BTreeMap<(&ObjectName, &str), Vec<&Backend>> = BTreeMap::new();
        for backend in balancer.backends.values() {
            let ServiceRef { name, port, .. } = &backend.service;
            of_service.entry((name, &**port)).or_default().push(backend);
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
        let ServiceRef { name, port, .. } = &first.service;
        let shared = format!("{}/service/{}:{port}", name.namespace, name.name);
        let of_kinds = format!("{shared}/");
        let (id, owner, aliases) = match backends {
            [only] => (only.id.to_string(), only.owner.clone(), vec![shared, of_kinds]),
            _ => {
                let (id, owner) = if several {
                    let kind = digest(first);
                    (format!("{of_kinds}{kind}"), format!("/service/{kind}"))
                } else {
                    (shared.clone(), "/service".to_owned())
                };
                let own = backends.iter().map(|backend| backend.id.to_string());
                let aliases = own.chain([shared, of_kinds]).filter(|alias| *alias != id);
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

/// A backend without what says who asks for it.
fn anonymous(backend: &Backend) -> Backend {
    let nobody = ObjectName::cluster("");
    Backend {
        id: BackendId::new(&nobody, "", ""),
        origin: Origin::new("", nobody.clone(), ""),
        owner: nobody,
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

/// A few digits that differ where settings do, targets aside.
fn digest(backend: &Backend) -> String {
    let settings = Backend {
        targets: [].into(),
        ..anonymous(backend)
    };
    let bytes = serde_json::to_vec(&settings).unwrap_or_default();
    let digest = Sha256::digest(&bytes);
    digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}
