//! The backends that Ingresses name in, backends with their settings and where their targets come from out, or what
//! answers in their place.

pub(super) mod target_settings;
mod verification;

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{
    Action, Backend, BackendId, Code, FixedResponse, Forward, GivenBackend, KeptHealth, KeptTargets,
    ObjectName, Origin, Port, Problem, ServiceRef, Shared, TargetKind, UnreadBackend, WeightedBackend,
};

use self::target_settings::TargetSettings;
pub(super) use self::verification::secret;
use super::actions::{self, Destination, Wanted};
use super::annotations::value;
use super::auth::{self, Gate, Sources};
use super::member::Part;
use super::references::is_action;
use super::settings::Settings;
use super::targets::{Asked, Lead, Leads, Purpose};
use crate::cluster::object::{IngressBackend, PortRef, Service, ServicePort, ServiceType};
use crate::cluster::snapshot::Snapshot;

/// What answers instead of a backend that cannot be resolved. The first two are the incumbent's words.
const NO_SERVICE: &str = "Backend service does not exist";
const NO_ACTION: &str = "Backend action does not exist";
const NO_PORT: &str = "Backend service port does not exist";
const NOT_SERVED: &str = "Backend is not served";

/// Resolves backends, each once.
#[derive(Debug)]
pub(super) struct Backends<'a> {
    snapshot: &'a Snapshot,
    settings: &'a Settings,
    /// Without their targets.
    pub(super) resolved: BTreeMap<BackendId, Shared<Backend>>,
    /// Those of which not enough is known to make anything.
    pub(super) unread: BTreeMap<BackendId, UnreadBackend>,
    /// What exists by itself; whether it does is the provider's to say.
    pub(super) given: BTreeMap<BackendId, GivenBackend>,
    /// Where the targets of both come from.
    pub(super) leads: Leads,
}

impl<'a> Backends<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, settings: &'a Settings) -> Self {
        Self {
            snapshot,
            settings,
            resolved: BTreeMap::new(),
            unread: BTreeMap::new(),
            given: BTreeMap::new(),
            leads: Leads::default(),
        }
    }

    /// What answers for a backend that an Ingress names at a field.
    pub(super) fn action(
        &mut self,
        part: &Part<'a>,
        backend: &IngressBackend,
        at: &Origin,
        problems: &mut Vec<Problem>,
    ) -> Action {
        let unavailable = |why: &str| Action::Fixed(FixedResponse::unavailable(why));
        match backend {
            IngressBackend::Service { name, port } if is_action(port) => {
                self.annotated(part, name, at, problems)
            }
            IngressBackend::Service { name, port } => {
                let at = at.at(format!("{}.service", at.field));
                match self.backend(part, name, port, &at, problems) {
                    Ok(id) => Action::Forward(Forward::to(id)),
                    Err(unserved) => unserved.answer(),
                }
            }
            IngressBackend::Resource { kind, name } => {
                let at = at.at(format!("{}.resource", at.field));
                let message = format!("{kind} {name} cannot be a backend");
                problems.push(Problem::new(Code::ResourceBackendUnsupported, at, message));
                unavailable(NOT_SERVED)
            }
            IngressBackend::Missing => {
                problems.push(Problem::new(
                    Code::BackendMissing,
                    at.clone(),
                    "the backend names no Service",
                ));
                unavailable(NO_SERVICE)
            }
        }
    }

    /// Who may pass on the way to a backend. An annotation of its Service counts where that is the only one.
    pub(super) fn gate(
        &self,
        part: &Part<'a>,
        backend: &IngressBackend,
        problems: &mut Vec<Problem>,
    ) -> Gate {
        let services = self.services(part, backend);
        let only = match services.as_slice() {
            [only] => *only,
            several => {
                let known: Vec<&Service> = several.iter().copied().flatten().collect();
                if let Some(closed) = auth::gate_of_several(part, &known, problems) {
                    return closed;
                }
                None
            }
        };
        auth::gate(&Sources::new(part, only), self.snapshot, problems)
    }

    /// The Services that a backend leads to, as written; none in place of one that does not exist, or is none of ours.
    fn services(&self, part: &Part<'a>, backend: &IngressBackend) -> Vec<Option<&'a Service>> {
        let find = |name: &str| {
            let name = ObjectName::new(part.ingress.meta.name.namespace.clone(), name);
            self.snapshot.services.get(&name).map(Arc::as_ref)
        };
        match backend {
            IngressBackend::Service { name, port } if is_action(port) => {
                let written = part.annotations.get(&format!("actions.{name}"));
                match written.and_then(|written| actions::parse(written.value).ok()) {
                    Some(Wanted::Forward { shares, .. }) => shares
                        .iter()
                        .map(|share| match &share.to {
                            Destination::Service { name, .. } => find(name),
                            Destination::Given(_) => None,
                        })
                        .collect(),
                    Some(Wanted::Fixed(_) | Wanted::Redirect(_)) | None => Vec::new(),
                }
            }
            IngressBackend::Service { name, .. } => vec![find(name)],
            IngressBackend::Resource { .. } | IngressBackend::Missing => Vec::new(),
        }
    }

    fn annotated(&mut self, part: &Part<'a>, name: &str, at: &Origin, problems: &mut Vec<Problem>) -> Action {
        let unavailable = |why: &str| Action::Fixed(FixedResponse::unavailable(why));
        let Some(written) = part.annotations.get(&format!("actions.{name}")) else {
            let at = at.at(format!("{}.service.name", at.field));
            let message = format!("there is no annotation actions.{name}");
            problems.push(Problem::new(Code::ActionNotFound, at, message));
            return unavailable(NO_ACTION);
        };
        let at = part.annotations.origin(written);
        match actions::parse(written.value) {
            Ok(Wanted::Fixed(fixed)) => Action::Fixed(fixed),
            Ok(Wanted::Redirect(redirect)) => Action::Redirect(redirect),
            Ok(Wanted::Forward { shares, stickiness }) => {
                let mut backends = Vec::with_capacity(shares.len());
                let (mut failed, mut failure) = (false, NO_SERVICE);
                // Where all that fails may exist, what there was.
                let mut before = Some(Vec::with_capacity(shares.len()));
                for share in shares {
                    let backend = match &share.to {
                        Destination::Service { name, port } => self.backend(part, name, port, &at, problems),
                        Destination::Given(name) => Ok(self.given(part, name, &at)),
                    };
                    let weight = share.weight;
                    let had = match backend {
                        Ok(backend) => {
                            let share = WeightedBackend { backend, weight };
                            backends.push(share.clone());
                            Some(share)
                        }
                        Err(unserved) => {
                            (failed, failure) = (true, unserved.why);
                            unserved.unread.map(|backend| WeightedBackend { backend, weight })
                        }
                    };
                    match had {
                        Some(share) => before.iter_mut().for_each(|all| all.push(share.clone())),
                        None => before = None,
                    }
                }
                // What is left after a failure must not get requests it was to have no share of.
                let nobody = backends.iter().all(|share| share.weight.get() == 0);
                if backends.is_empty() || (failed && nobody) {
                    let unread = before.filter(|_| failed);
                    let unread = unread.map(|backends| Forward { backends, stickiness });
                    return Action::Fixed(FixedResponse::unread(failure, unread));
                }
                Action::Forward(Forward { backends, stickiness })
            }
            Err(why) => {
                problems.push(part.annotations.invalid(written, why));
                unavailable(NOT_SERVED)
            }
        }
    }

    fn given(&mut self, part: &Part<'a>, name: &Arc<str>, at: &Origin) -> BackendId {
        let namespace = &part.ingress.meta.name.namespace;
        let id = BackendId::given(namespace, name);
        self.given.entry(id.clone()).or_insert_with(|| GivenBackend {
            id: id.clone(),
            name: name.clone(),
            namespace: namespace.clone(),
            origin: at.clone(),
        });
        id
    }

    /// The backend of a Service port for one Ingress; what is wrong is told at each field that names it.
    pub(super) fn backend(
        &mut self,
        part: &Part<'a>,
        service: &str,
        port: &PortRef,
        at: &Origin,
        problems: &mut Vec<Problem>,
    ) -> Result<BackendId, Unserved> {
        let owner = &part.ingress.meta.name;
        let port_text: Arc<str> = match port {
            PortRef::Number(number) => number.to_string().into(),
            PortRef::Name(name) => name.clone(),
            PortRef::Missing => "".into(),
        };
        let id = BackendId::new(owner, service, &port_text);
        if self.resolved.contains_key(&id) {
            return Ok(id);
        }
        match self.resolve(part, service, port, &port_text, &id, at, problems) {
            Ok(backend) => {
                self.resolved.insert(id.clone(), backend.into());
                Ok(id)
            }
            Err(why) => Err(Unserved {
                why,
                unread: self.unread.contains_key(&id).then_some(id),
            }),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "called once; every one is a fact about the backend"
    )]
    fn resolve(
        &mut self,
        part: &Part<'a>,
        name: &str,
        port: &PortRef,
        port_text: &Arc<str>,
        id: &BackendId,
        at: &Origin,
        problems: &mut Vec<Problem>,
    ) -> Result<Backend, &'static str> {
        let owner = part.ingress.meta.name.clone();
        let service_name = ObjectName::new(owner.namespace.clone(), name);
        let mut fail = |code: Code, at: Origin, message: String, why: &'static str| {
            problems.push(Problem::new(code, at, message));
            Err(why)
        };
        let field = |name: &str| match at.field.ends_with("service") {
            true => at.at(format!("{}.{name}", at.field)),
            false => at.clone(),
        };
        let Some(service) = self.snapshot.services.get(&service_name) else {
            let message = format!("there is no Service {service_name}");
            return fail(Code::ServiceNotFound, field("name"), message, NO_SERVICE);
        };
        if service.kind == ServiceType::ExternalName {
            let message = format!("Service {service_name} is of type ExternalName");
            return fail(Code::ServiceTypeUnsupported, field("name"), message, NOT_SERVED);
        }
        // An API server lets neither the Ingress nor the Service name it; a folder of manifests may.
        if let PortRef::Number(number) = port
            && let Err(error) = Port::new(*number)
        {
            return fail(
                Code::ServicePortNotFound,
                field("port"),
                error.to_string(),
                NO_PORT,
            );
        }
        let Some((index, service_port)) = find_port(service, port) else {
            let message = format!("Service {service_name} has no TCP port {}", shown_port(port));
            return fail(Code::ServicePortNotFound, field("port"), message, NO_PORT);
        };

        let named = (&**port_text, service_port);
        let read = TargetSettings::read(part, service, named, self.settings, problems);
        let mut health = read.health(service, service_port, problems);
        if read.is_refused {
            return Err(NOT_SERVED);
        }
        let is_unread = !read.unread.is_empty();
        if is_unread {
            // What is checked by default depends on it.
            health.kept = KeptHealth::ALL.into();
        }
        let backend = |kind: TargetKind, port: Option<Port>| Backend {
            id: id.clone(),
            owner: owner.clone(),
            service: ServiceRef {
                name: service_name.clone(),
                uid: service.meta.uid.clone(),
                port: port_text.clone(),
                number: Port::new(service_port.port).ok(),
            },
            target_kind: kind,
            port,
            protocol: read.protocol.clone(),
            control_port: read.control_port,
            registrants: read.registrants,
            health: health.clone(),
            proxy_protocol: read.proxy_protocol,
            is_checked: read.is_checked,
            affinity: read.affinity.clone(),
            drain_seconds: read.drain_seconds,
            timeout_seconds: read.timeout_seconds,
            waits: read.waits,
            ipv6: false,
            attributes: read.attributes.clone(),
            tags: read.tags.clone(),
            keeps_tags: read.keeps_tags,
            targets: Arc::default(),
            origin: at.clone(),
        };
        let lead = |kind: TargetKind, port: Option<Port>, purpose: Purpose| Lead {
            backend: id.clone(),
            kind,
            port,
            place: index,
            node_labels: read.node_labels.clone(),
            purpose,
        };
        if is_unread {
            let kinds = match read.unread.contains(&KeptTargets::Kind) {
                true => vec![TargetKind::Pod, TargetKind::Node],
                false => vec![read.kind],
            };
            let mut either = Vec::with_capacity(kinds.len());
            for kind in kinds {
                if let Some(port) = port_of(kind, service_port) {
                    let lead = lead(kind, port, Purpose::Unread(either.len()));
                    self.leads.add(&service_name, lead);
                    either.push(backend(kind, port));
                }
            }
            let kept = read.unread.clone();
            self.unread.insert(id.clone(), UnreadBackend { kept, either });
            return Err(NOT_SERVED);
        }
        let Some(port_number) = port_of(read.kind, service_port) else {
            let message =
                format!("Service {service_name} has no node port, which target type instance needs");
            let problem = Problem::new(Code::ServiceHasNoNodePort, field("name"), message);
            problems.push(problem);
            return Err(NOT_SERVED);
        };
        let asked = Asked {
            at: field("name"),
            port: shown_port(port),
            drain_seconds: read.drain_seconds,
        };
        let lead = lead(read.kind, port_number, Purpose::Served(asked));
        self.leads.add(&service_name, lead);
        Ok(backend(read.kind, port_number))
    }
}

/// Why a backend is not served, and which it is where what exists of it stays.
#[derive(Debug)]
pub(super) struct Unserved {
    why: &'static str,
    unread: Option<BackendId>,
}

impl Unserved {
    fn answer(self) -> Action {
        Action::Fixed(FixedResponse::unread(self.why, self.unread.map(Forward::to)))
    }
}

/// The one port of all targets, if there is one; none where targets of this kind have no port.
fn port_of(kind: TargetKind, service_port: &ServicePort) -> Option<Option<Port>> {
    match (kind, &service_port.target) {
        (TargetKind::Pod, PortRef::Number(number)) => Some(Port::new(*number).ok()),
        (TargetKind::Pod, PortRef::Name(_)) => Some(None),
        (TargetKind::Pod, PortRef::Missing) => Some(Port::new(service_port.port).ok()),
        (TargetKind::Node, _) => Some(Some(Port::new(service_port.node_port?).ok()?)),
    }
}

fn shown_port(port: &PortRef) -> String {
    match port {
        PortRef::Number(number) => number.to_string(),
        PortRef::Name(name) => value::shown(name),
        PortRef::Missing => "(none is named)".to_owned(),
    }
}

/// A TCP port by number or by name.
pub(super) fn find_port<'a>(service: &'a Service, port: &PortRef) -> Option<(usize, &'a ServicePort)> {
    let tcp = service
        .ports
        .iter()
        .enumerate()
        .filter(|(_, p)| &*p.protocol == "TCP");
    match port {
        PortRef::Number(number) => tcp.into_iter().find(|(_, p)| p.port == *number),
        PortRef::Name(name) => tcp.into_iter().find(|(_, p)| p.name.as_ref() == Some(name)),
        PortRef::Missing => None,
    }
}
