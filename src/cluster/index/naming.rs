//! Services with the Secrets that they name in, the Services that a Secret concerns out.

use std::collections::{BTreeSet, HashMap};

use portcullis_model::ObjectName;

/// Few Services name any.
#[derive(Debug, Default)]
pub(super) struct Naming {
    secrets: HashMap<ObjectName, BTreeSet<ObjectName>>,
    services: HashMap<ObjectName, BTreeSet<ObjectName>>,
}

impl Naming {
    /// A Service names these, and no others.
    pub(super) fn put(&mut self, service: &ObjectName, secrets: BTreeSet<ObjectName>) {
        for before in self.secrets.remove(service).into_iter().flatten() {
            if let Some(services) = self.services.get_mut(&before) {
                services.remove(service);
                if services.is_empty() {
                    self.services.remove(&before);
                }
            }
        }
        if secrets.is_empty() {
            return;
        }
        for secret in &secrets {
            let services = self.services.entry(secret.clone()).or_default();
            services.insert(service.clone());
        }
        self.secrets.insert(service.clone(), secrets);
    }

    pub(super) fn secrets_of(&self, service: &ObjectName) -> impl Iterator<Item = &ObjectName> {
        self.secrets.get(service).into_iter().flatten()
    }

    pub(super) fn services_with(&self, secret: &ObjectName) -> impl Iterator<Item = &ObjectName> {
        self.services.get(secret).into_iter().flatten()
    }
}
