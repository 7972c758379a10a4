//! A folder in, what the proxy serves of it and what is wrong with it out; the same for `serve` and `demo`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use portcullis_model::{
    Action, Code, FixedResponse, Listener, LoadBalancer, LoadBalancerId, ObjectName, Options, Origin, Port,
    Problem, Protocol, Sealed, Semantics,
};
use portcullis_proxy::{Handle, KeyPairPem, Material, ServedPorts, Server, ServingState, UnknownNames};
use tracing::{info, warn};

use super::terminal;
use crate::cluster::folder::Folder;
use crate::cluster::object::{Kind, Object, Secret};
use crate::translate::Settings;
use crate::translate::followed::Followed;

/// A folder that is being served.
#[derive(Debug)]
pub(super) struct Served {
    folder: Folder,
    settings: Settings,
    followed: Followed,
    handle: Handle,
    ports: ServedPorts,
    unknown_names: UnknownNames,
    /// What was wrong when it was last looked at: only a difference is told.
    problems: BTreeSet<Problem>,
    pub(super) ingresses: usize,
    pub(super) rules: usize,
}

impl Served {
    /// Serves the folder as it has been read.
    pub(super) fn start(
        mut folder: Folder,
        settings: Settings,
        server: Server,
        unknown_names: UnknownNames,
    ) -> anyhow::Result<Self> {
        let ports = server.served_ports();
        folder.changes();
        let followed = Followed::of(folder.manifests().objects(), &settings);
        let compiled = compile(&folder, &followed, &unknown_names, None, ports.clone())?;
        let handle = server
            .start(compiled.state)
            .context("failed to start the proxy")?;
        let mut served = Self {
            folder,
            settings,
            followed,
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
        let changes = self.folder.changes();
        let all = || self.folder.manifests().objects();
        self.followed.follow(changes, all, &self.settings);
        let compiled = compile(
            &self.folder,
            &self.followed,
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

pub(super) fn read(path: &Path) -> anyhow::Result<Folder> {
    Folder::open(path).with_context(|| format!("failed to read the folder {}", path.display()))
}

/// Fails where nothing is known of a file: what it guards would be open, and nobody is served yet.
pub(super) fn all_is_known(folder: &Folder) -> anyhow::Result<()> {
    let told = told(folder.manifests().lost().iter());
    anyhow::ensure!(
        told.is_empty(),
        "failed to start: what these files guard is not known, and would be open. Correct them, or start without them by --start-anyway: {told}"
    );
    Ok(())
}

/// Fails where the process before may serve what was read before it was broken: that would end with it.
pub(super) fn nothing_is_worse(folder: &Folder) -> anyhow::Result<()> {
    let problems = folder.manifests().problems();
    // What does not say which object it is never was one.
    let broken = problems.iter().filter(|problem| {
        problem.code == Code::FileUnreadable
            || (problem.code == Code::ObjectInvalid && problem.at.kind != "file")
    });
    let spoilt = folder.manifests().objects().into_iter().filter_map(|object| {
        let Object::Secret(secret) = object else {
            return None;
        };
        // Whatever its type, for what is served of it asks for none.
        let is_pair =
            &*secret.kind == "kubernetes.io/tls" || (secret.certificate.is_some() && secret.key.is_some());
        let (code, why) = match secret.key_pair() {
            Err(unusable) if is_pair => unusable,
            Ok(_) | Err(_) => return None,
        };
        let at = Kind::Secret.at(&secret.meta.name, "");
        Some(Problem::new(*code, at, why.clone()))
    });
    let spoilt: Vec<Problem> = spoilt.collect();
    let told = told(broken.chain(&spoilt));
    anyhow::ensure!(
        told.is_empty(),
        "failed to take the place of the process that runs, which goes on: it may serve what these were before they were broken. Correct them, or take over without by --start-anyway: {told}"
    );
    Ok(())
}

/// As many as a person reads.
fn told<'a>(problems: impl Iterator<Item = &'a Problem>) -> String {
    const MOST: usize = 10;
    let all: Vec<String> = problems
        .map(|problem| terminal::lines(&problem.to_string()))
        .collect();
    let more = match all.len().saturating_sub(MOST) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let shown: Vec<&str> = all.iter().take(MOST).map(String::as_str).collect();
    shown.join("; ") + &more
}

struct Compiled {
    state: ServingState,
    problems: BTreeSet<Problem>,
    ingresses: usize,
    rules: usize,
}

fn compile(
    folder: &Folder,
    followed: &Followed,
    unknown_names: &UnknownNames,
    previous: Option<&ServingState>,
    ports: ServedPorts,
) -> anyhow::Result<Compiled> {
    let manifests = folder.manifests();
    let mut problems: BTreeSet<Problem> = manifests.problems().into_iter().collect();
    problems.extend(followed.refused.iter().chain(followed.problems()).cloned());
    let default = match unknown_names {
        UnknownNames::Stored(name) => followed.secret(name),
        UnknownNames::First | UnknownNames::Refused => None,
    };
    let stored = Stored::of(followed.secrets.values().chain(default));
    let balancer = followed.balancer().cloned().unwrap_or_else(nothing);
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

/// What lies in Secrets.
#[derive(Default)]
struct Stored {
    key_pairs: BTreeMap<ObjectName, KeyPairPem>,
    authorities: BTreeMap<ObjectName, Arc<[u8]>>,
    users: BTreeMap<ObjectName, Sealed<[u8]>>,
}

impl Stored {
    fn of<'a>(secrets: impl Iterator<Item = &'a Arc<Secret>>) -> Self {
        let mut stored = Self::default();
        for secret in secrets {
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
