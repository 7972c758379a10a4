//! Objects in, the load balancers they touch out; and, once every kind is known, a snapshot of any of them.
//!
//! Every map that an event goes through leads from the changed object straight to the load balancers concerned,
//! so an endpoint costs the same among ten Ingresses and among ten thousand.

mod admitted;
mod endpoints;
mod held;
mod naming;
mod roster;
mod synced;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use portcullis_model::{LoadBalancerId, ObjectName};

pub use self::admitted::{Admitted, Recorded};
use self::endpoints::Endpoints;
use self::held::Held;
pub use self::held::Version;
use self::naming::Naming;
use self::roster::{Entry, Roster};
pub use self::synced::{NotSynced, Synced};
use super::membership::{Candidate, Decide, Membership, Names, References};
use super::object::{
    ClassParameters, Ingress, IngressClass, Kind, Namespace, Node, Object, ObjectKey, Secret,
};
use super::snapshot::Answered;

/// Which Secrets are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretsMode {
    /// None by itself: those that are needed are asked for by name, and TLS is ended by the provider.
    NotRead,
    /// All of them: TLS is ended here.
    Read,
}

/// What an event concerns; empty where it changed nothing that is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Load balancers whose snapshot may differ: of an Ingress that moved, both.
    pub load_balancers: BTreeSet<LoadBalancerId>,
    /// Ingresses that are refused now, or were until now.
    pub refused: BTreeSet<ObjectName>,
    /// Services whose EndpointSlices or Pods may differ.
    pub served: BTreeSet<ObjectName>,
}

impl Touched {
    pub fn is_empty(&self) -> bool {
        self.load_balancers.is_empty() && self.refused.is_empty()
    }

    pub fn extend(&mut self, other: Self) {
        self.load_balancers.extend(other.load_balancers);
        self.refused.extend(other.refused);
        self.served.extend(other.served);
    }

    fn entry(&mut self, entry: &Entry) {
        let served = entry.admitted.as_ref();
        self.load_balancers
            .extend(served.map(|admitted| admitted.id.clone()));
        if let Membership::Refused(_) = entry.membership {
            self.refused.insert(entry.ingress.meta.name.clone());
        }
    }
}

/// All that is known of a cluster, trimmed, and who is concerned by what.
pub struct Index {
    decide: Decide,
    references: References,
    secrets_mode: SecretsMode,
    /// Kinds not yet listed once.
    waiting: BTreeSet<Kind>,
    classes: BTreeMap<Arc<str>, Arc<IngressClass>>,
    /// By [`ClassParameters::key`].
    parameters: BTreeMap<Arc<str>, Arc<ClassParameters>>,
    namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    nodes: Arc<BTreeMap<Arc<str>, Arc<Node>>>,
    /// By namespace, then name.
    secrets: HashMap<Arc<str>, BTreeMap<Arc<str>, Arc<Secret>>>,
    /// Those that were asked for, where Secrets are not read by themselves.
    held: Held,
    endpoints: Endpoints,
    /// The Secrets that Services name.
    naming: Naming,
    roster: Roster,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

impl Index {
    /// An empty index that waits for every kind, but for Secrets where they are not read.
    pub fn new(decide: Decide, references: References, secrets_mode: SecretsMode) -> Self {
        let waiting = Kind::ALL
            .iter()
            .copied()
            .filter(|kind| *kind != Kind::Secret || secrets_mode == SecretsMode::Read)
            .collect();
        Self {
            decide,
            references,
            secrets_mode,
            waiting,
            classes: BTreeMap::new(),
            parameters: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            nodes: Arc::default(),
            secrets: HashMap::new(),
            held: Held::default(),
            endpoints: Endpoints::default(),
            naming: Naming::default(),
            roster: Roster::default(),
        }
    }

    /// An object that came or changed.
    pub fn apply(&mut self, object: Object) -> Touched {
        let mut touched = Touched::default();
        let mut asked = Asked::default();
        self.put(object, &mut touched, &mut asked);
        self.ask_again(&asked, &mut touched);
        touched
    }

    /// An object that went.
    pub fn delete(&mut self, key: &ObjectKey) -> Touched {
        let mut touched = Touched::default();
        let mut asked = Asked::default();
        self.remove(key, &mut touched, &mut asked);
        self.ask_again(&asked, &mut touched);
        touched
    }

    /// All objects of a kind: those not among them are gone, and the kind is known from now on.
    /// Objects of other kinds are passed over.
    pub fn reset(&mut self, kind: Kind, objects: Vec<Object>) -> Touched {
        let mut touched = Touched::default();
        let mut asked = Asked::default();
        let live: BTreeSet<&ObjectName> = objects.iter().map(|object| &object.meta().name).collect();
        let gone: Vec<ObjectName> = self
            .names(kind)
            .into_iter()
            .filter(|name| !live.contains(name))
            .collect();
        for name in gone {
            self.remove(&ObjectKey { kind, name }, &mut touched, &mut asked);
        }
        for object in objects {
            if object.kind() == kind {
                self.put(object, &mut touched, &mut asked);
            }
        }
        self.ask_again(&asked, &mut touched);
        self.waiting.remove(&kind);
        touched
    }

    /// All objects of all kinds, such as those of a folder.
    pub fn reset_all(&mut self, objects: Vec<Object>) -> Touched {
        let mut kinds: BTreeMap<Kind, Vec<Object>> =
            Kind::ALL.iter().map(|kind| (*kind, Vec::new())).collect();
        for object in objects {
            kinds.entry(object.kind()).or_default().push(object);
        }
        let mut touched = Touched::default();
        // Ingresses last: before that, every question about them would be asked again for each kind.
        let ingresses = kinds.remove(&Kind::Ingress).unwrap_or_default();
        for (kind, objects) in kinds {
            touched.extend(self.reset(kind, objects));
        }
        touched.extend(self.reset(Kind::Ingress, ingresses));
        touched
    }

    /// A load balancer needs these Secrets and no others. Answers which must be asked for now.
    pub fn need_secrets(&mut self, id: &LoadBalancerId, names: BTreeSet<ObjectName>) -> Vec<ObjectName> {
        self.held.need(id, names)
    }

    /// What came of asking for a Secret.
    pub fn answer_secret(&mut self, name: &ObjectName, version: Version, answered: Answered) {
        self.held.answer(name, version, answered);
    }

    /// A Secret is seen at this version, or to be gone.
    pub fn secret_seen(&mut self, name: &ObjectName, version: Version) -> Touched {
        let mut touched = Touched::default();
        self.held.seen(name, version, &mut touched);
        touched
    }

    /// All Secrets there are, with their versions.
    pub fn secrets_listed(&mut self, all: &BTreeMap<ObjectName, Arc<str>>) -> Touched {
        let mut touched = Touched::default();
        self.held.listed(all, &mut touched);
        touched
    }

    /// Kinds not yet listed once.
    pub fn waiting_for(&self) -> &BTreeSet<Kind> {
        &self.waiting
    }

    /// The index to read from; refused while any kind is unknown, for a plan from a partial view deletes.
    pub fn synced(&self) -> Result<Synced<'_>, NotSynced> {
        Synced::new(self)
    }

    /// A Secret, where they are read.
    pub fn secret(&self, name: &ObjectName) -> Option<&Arc<Secret>> {
        self.secrets.get(&name.namespace)?.get(&name.name)
    }

    fn names(&self, kind: Kind) -> Vec<ObjectName> {
        fn cluster<T>(map: &BTreeMap<Arc<str>, T>) -> Vec<ObjectName> {
            map.keys().map(|name| ObjectName::cluster(name.clone())).collect()
        }
        match kind {
            Kind::Ingress => self.roster.names(),
            Kind::IngressClass => cluster(&self.classes),
            Kind::ClassParameters | Kind::IncumbentParameters => {
                let of_kind = self.parameters.values().filter(|held| held.kind == kind);
                of_kind.map(|held| held.meta.name.clone()).collect()
            }
            Kind::Namespace => cluster(&self.namespaces),
            Kind::Node => cluster(&self.nodes),
            Kind::Secret => {
                let of_namespace = self.secrets.values().flat_map(BTreeMap::values);
                of_namespace.map(|secret| secret.meta.name.clone()).collect()
            }
            Kind::Service => self.endpoints.services(),
            Kind::EndpointSlice => self.endpoints.slices(),
            Kind::Pod => self.endpoints.pods(),
        }
    }

    fn put(&mut self, object: Object, touched: &mut Touched, asked: &mut Asked) {
        match object {
            Object::Ingress(ingress) => self.put_ingress(ingress, touched),
            Object::IngressClass(class) => {
                asked.classes |= put_named(&mut self.classes, class.meta.name.name.clone(), class);
            }
            Object::ClassParameters(parameters) => {
                let key = parameters.key();
                asked.classes |= put_named(&mut self.parameters, key, parameters);
            }
            Object::Namespace(namespace) => {
                let name = namespace.meta.name.name.clone();
                if put_named(&mut self.namespaces, name.clone(), namespace) {
                    asked.namespaces.insert(name);
                }
            }
            Object::Node(node) => {
                let name = node.meta.name.name.clone();
                if self.nodes.get(&name).is_none_or(|held| *held != node) {
                    Arc::make_mut(&mut self.nodes).insert(name, node);
                    self.roster.touch_all(touched);
                }
            }
            Object::Secret(secret) => match self.secrets_mode {
                SecretsMode::Read => self.put_secret(secret, touched),
                // Of a folder: as good as asked for.
                SecretsMode::NotRead => {
                    let name = secret.meta.name.clone();
                    self.held.given(name, Answered::Found(secret));
                }
            },
            Object::Service(service) => {
                let secrets = (self.references.of_service)(&service);
                self.naming.put(&service.meta.name, secrets);
                let services = self.endpoints.put_service(service);
                self.touch_services(services, touched);
            }
            Object::EndpointSlice(slice) => {
                let services = self.endpoints.put_slice(slice);
                self.touch_served(services, touched);
            }
            Object::Pod(pod) => {
                let services = self.endpoints.put_pod(&pod);
                self.touch_served(services, touched);
            }
        }
    }

    fn remove(&mut self, key: &ObjectKey, touched: &mut Touched, asked: &mut Asked) {
        let name = &key.name;
        match key.kind {
            Kind::Ingress => self.roster.remove(name, touched),
            Kind::IngressClass => asked.classes |= self.classes.remove(&name.name).is_some(),
            Kind::ClassParameters | Kind::IncumbentParameters => {
                let key = ClassParameters::key_of(key.kind, &name.name);
                asked.classes |= self.parameters.remove(&key).is_some();
            }
            Kind::Namespace => {
                if self.namespaces.remove(&name.name).is_some() {
                    asked.namespaces.insert(name.name.clone());
                }
            }
            Kind::Node => {
                if self.nodes.contains_key(&name.name) {
                    Arc::make_mut(&mut self.nodes).remove(&name.name);
                    self.roster.touch_all(touched);
                }
            }
            Kind::Secret => {
                let of_namespace = self.secrets.get_mut(&name.namespace);
                if of_namespace.is_some_and(|secrets| secrets.remove(&name.name).is_some()) {
                    self.touch_secret(name, touched);
                }
            }
            Kind::Service => {
                self.naming.put(name, BTreeSet::new());
                let services = self.endpoints.remove_service(name);
                self.touch_services(services, touched);
            }
            Kind::EndpointSlice => {
                let services = self.endpoints.remove_slice(name);
                self.touch_served(services, touched);
            }
            Kind::Pod => {
                let services = self.endpoints.remove_pod(name);
                self.touch_served(services, touched);
            }
        }
    }

    fn put_secret(&mut self, secret: Arc<Secret>, touched: &mut Touched) {
        let name = secret.meta.name.clone();
        let of_namespace = self.secrets.entry(name.namespace.clone()).or_default();
        if of_namespace.get(&name.name).is_none_or(|held| *held != secret) {
            of_namespace.insert(name.name.clone(), secret);
            self.touch_secret(&name, touched);
        }
    }

    fn put_ingress(&mut self, ingress: Arc<Ingress>, touched: &mut Touched) {
        if self
            .roster
            .get(&ingress.meta.name)
            .is_some_and(|held| *held == ingress)
        {
            return;
        }
        let membership = self.membership(&ingress);
        let admitted = self.admitted(&ingress, &membership);
        self.enter(ingress, membership, admitted, touched);
    }

    fn enter(
        &mut self,
        ingress: Arc<Ingress>,
        membership: Membership,
        admitted: Option<Admitted>,
        touched: &mut Touched,
    ) {
        let served = admitted.as_ref();
        let entry = Entry {
            names: served.map_or_else(Names::default, |admitted| {
                (self.references.of_ingress)(&admitted.ingress)
            }),
            ingress,
            membership,
            admitted,
        };
        self.roster.put(entry, touched);
    }

    /// An Ingress on its way out belongs nowhere: its rules are to go.
    fn membership(&self, ingress: &Ingress) -> Membership {
        if ingress.meta.deleting {
            return Membership::Foreign;
        }
        (self.decide)(Candidate {
            ingress,
            classes: &self.classes,
            parameters: &self.parameters,
            namespaces: &self.namespaces,
        })
    }

    /// Asks for every Ingress again where it belongs, and touches those that read what has changed.
    fn ask_again(&mut self, asked: &Asked, touched: &mut Touched) {
        if asked.is_empty() {
            return;
        }
        for ingress in self.roster.all() {
            let namespace = asked.namespaces.contains(&ingress.meta.name.namespace);
            let membership = self.membership(&ingress);
            let admitted = self.admitted(&ingress, &membership);
            let held = self.roster.entry(&ingress.meta.name);
            if held.is_none_or(|held| held.membership != membership || held.admitted != admitted) {
                self.enter(ingress, membership, admitted, touched);
            } else if let Some(admitted) = admitted.filter(|_| namespace) {
                touched.load_balancers.insert(admitted.id);
            }
        }
    }

    fn touch_secret(&self, name: &ObjectName, touched: &mut Touched) {
        self.roster.touch_secret(name, touched);
        for service in self.naming.services_with(name) {
            self.roster.touch_service(service, touched);
        }
    }

    /// Touches Services by what serves them.
    fn touch_served(&self, services: Vec<ObjectName>, touched: &mut Touched) {
        touched.served.extend(services.iter().cloned());
        self.touch_services(services, touched);
    }

    fn touch_services(&self, services: Vec<ObjectName>, touched: &mut Touched) {
        for service in services {
            self.roster.touch_service(&service, touched);
        }
    }
}

/// What has changed of that by which membership is decided.
#[derive(Debug, Default)]
struct Asked {
    /// Classes or their parameters.
    classes: bool,
    namespaces: BTreeSet<Arc<str>>,
}

impl Asked {
    fn is_empty(&self) -> bool {
        !self.classes && self.namespaces.is_empty()
    }
}

/// Whether it is news.
fn put_named<T: Eq>(map: &mut BTreeMap<Arc<str>, Arc<T>>, name: Arc<str>, object: Arc<T>) -> bool {
    let news = map.get(&name).is_none_or(|held| *held != object);
    if news {
        map.insert(name, object);
    }
    news
}

#[cfg(test)]
mod tests;
