//! A folder in, what the proxy serves of it and what is wrong with it out; the same for `serve` and `demo`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use portcullis_model::{
    Action, FixedResponse, Listener, LoadBalancer, LoadBalancerId, ObjectName, Options, Origin, Port,
    Problem, Protocol, Sealed, Semantics,
};
use portcullis_proxy::{Handle, KeyPairPem, Material, ServedPorts, Server, ServingState, UnknownNames};
use tracing::{info, warn};

use super::folder::{self, Spoken};
use crate::cluster::folder::Folder;
use crate::cluster::index::SecretsMode;
use crate::cluster::object::{Object, Secret};
use crate::cluster::snapshot::{Secrets, Snapshot};
use crate::translate::Settings;

/// A folder that is being served.
#[derive(Debug)]
pub(super) struct Served {
    folder: Folder,
    settings: Settings,
    handle: Handle,
    ports: ServedPorts,
    unknown_names: UnknownNames,
    /// What was wrong when it was last looked at: only a difference is told.
    problems: BTreeSet<Problem>,
    pub(super) ingresses: usize,
    pub(super) rules: usize,
}

impl Served {
    /// Reads the folder and serves it.
    pub(super) fn start(
        path: &Path,
        settings: Settings,
        server: Server,
        unknown_names: UnknownNames,
    ) -> anyhow::Result<Self> {
        let folder =
            Folder::open(path).with_context(|| format!("failed to read the folder {}", path.display()))?;
        let ports = server.served_ports();
        let compiled = compile(&folder, &settings, &unknown_names, None, ports.clone())?;
        let handle = server
            .start(compiled.state)
            .context("failed to start the proxy")?;
        let mut served = Self {
            folder,
            settings,
            handle,
            ports,
            unknown_names,
            problems: BTreeSet::new(),
            ingresses: compiled.ingresses,
            rules: compiled.rules,
        };
        served.tell(compiled.problems);
        Ok(served)
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(super) fn into_handle(self) -> Handle {
        self.handle
    }

    pub(super) fn problems(&self) -> &BTreeSet<Problem> {
        &self.problems
    }

    /// Reads what changed in the folder and serves it from the next request on.
    pub(super) fn refresh(&mut self) -> anyhow::Result<()> {
        match self.folder.refresh() {
            Ok(false) => return Ok(()),
            Ok(true) => {}
            Err(error) => {
                warn!(folder = %self.folder.path().display(), error = %error, "the folder cannot be read; what was read before is served");
                return Ok(());
            }
        }
        let before = self.handle.state();
        let compiled = compile(
            &self.folder,
            &self.settings,
            &self.unknown_names,
            Some(&before),
            self.ports.clone(),
        )?;
        self.handle.swap(compiled.state);
        (self.ingresses, self.rules) = (compiled.ingresses, compiled.rules);
        info!(
            ingresses = self.ingresses,
            rules = self.rules,
            "serving the changed folder"
        );
        self.tell(compiled.problems);
        Ok(())
    }

    fn tell(&mut self, problems: BTreeSet<Problem>) {
        for problem in problems.difference(&self.problems) {
            warn!(code = %problem.code, at = %problem.at, help = problem.code.advice(), "{}", problem.message);
        }
        for problem in self.problems.difference(&problems) {
            info!(code = %problem.code, at = %problem.at, "mended: {}", problem.message);
        }
        self.problems = problems;
    }
}

struct Compiled {
    state: ServingState,
    problems: BTreeSet<Problem>,
    ingresses: usize,
    rules: usize,
}

fn compile(
    folder: &Folder,
    settings: &Settings,
    unknown_names: &UnknownNames,
    previous: Option<&ServingState>,
    ports: ServedPorts,
) -> anyhow::Result<Compiled> {
    let manifests = folder.manifests();
    let mut problems: BTreeSet<Problem> = manifests.problems().into_iter().collect();
    let objects = manifests.objects();
    let default = match unknown_names {
        UnknownNames::Stored(name) => objects.iter().find_map(|object| secret_named(object, name)),
        UnknownNames::First | UnknownNames::Refused => None,
    };
    let translated = folder::translate(objects, settings, SecretsMode::Read, &Spoken::new());
    problems.extend(translated.refused);
    // All Ingresses of a folder are one load balancer here, so there is one at most.
    let (balancer, mut stored) = match translated.balancers.into_iter().next() {
        Some((snapshot, translation)) => {
            problems.extend(translation.problems);
            (
                translation.balancer.unwrap_or_else(nothing),
                Stored::of(&snapshot),
            )
        }
        None => (nothing(), Stored::default()),
    };
    if let Some(secret) = &default {
        stored.add(secret);
    }
    let material = Material {
        key_pairs: &stored.key_pairs,
        authorities: &stored.authorities,
        users: &stored.users,
        unknown_names,
    };
    let (ingresses, rules) = (balancer.members.len(), balancer.rules.len());
    let (state, refused) = ServingState::build(balancer, material, previous, ports)?;
    problems.extend(refused);
    Ok(Compiled {
        state,
        problems,
        ingresses,
        rules,
    })
}

fn secret_named(object: &Object, name: &ObjectName) -> Option<Secret> {
    let Object::Secret(secret) = object else {
        return None;
    };
    (secret.meta.name == *name).then(|| secret.clone())
}

/// What lies in the Secrets of a snapshot.
#[derive(Default)]
struct Stored {
    key_pairs: BTreeMap<ObjectName, KeyPairPem>,
    authorities: BTreeMap<ObjectName, Arc<[u8]>>,
    users: BTreeMap<ObjectName, Sealed<[u8]>>,
}

impl Stored {
    fn of(snapshot: &Snapshot) -> Self {
        let Secrets::Read(secrets) = &snapshot.secrets else {
            return Self::default();
        };
        let mut stored = Self::default();
        for secret in secrets.values() {
            stored.add(secret);
        }
        stored
    }

    fn add(&mut self, secret: &Secret) {
        let name = &secret.meta.name;
        if let (Some(certificate), Some(key)) = (&secret.certificate, &secret.key) {
            let pair = KeyPairPem::new(certificate.clone(), key.reveal());
            self.key_pairs.insert(name.clone(), pair);
        }
        if let Some(authorities) = &secret.authorities {
            self.authorities.insert(name.clone(), authorities.clone());
        }
        if let Some(users) = &secret.users {
            self.users.insert(name.clone(), users.clone());
        }
    }
}

/// What is served of a folder without Ingresses: 404 to everybody.
fn nothing() -> LoadBalancer {
    let origin = Origin::new("folder", ObjectName::cluster(""), "");
    let listener = Listener {
        port: Port::HTTP,
        protocol: Protocol::Http,
        authenticate: None,
        default_action: Action::Fixed(FixedResponse::not_found()),
        origin: origin.clone(),
    };
    LoadBalancer {
        id: LoadBalancerId::Group("folder".into()),
        semantics: Semantics::Kubernetes,
        members: Vec::new(),
        options: Options::new(origin),
        listeners: BTreeMap::from([(Port::HTTP, listener)]),
        rules: Vec::new().into(),
        backends: BTreeMap::new(),
        given: BTreeMap::new(),
        unread: BTreeMap::new(),
        key_pairs: BTreeMap::new(),
    }
}
