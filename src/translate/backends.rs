//! The backends that Ingresses name in, backends with their settings and targets out, or what answers in their place.

pub(super) mod target_settings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_model::{
    Action, Backend, BackendId, Code, FixedResponse, Forward, GivenBackend, ObjectName, Origin, Port,
    Problem, ServiceRef, TargetKind, TargetState, WeightedBackend,
};

use self::target_settings::TargetSettings;
use super::actions::{self, Destination, Wanted};
use super::annotations::value;
use super::auth::{self, Gate, Sources};
use super::endpoints::{Endpoints, Found};
use super::member::Part;
use super::references::is_action;
use super::settings::Settings;
use crate::cluster::labels::LabelSelector;
use crate::cluster::object::{IngressBackend, IpFamily, PortRef, Service, ServicePort, ServiceType};
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
    endpoints: Endpoints<'a>,
    pub(super) resolved: BTreeMap<BackendId, Backend>,
    /// What exists by itself; whether it does is the provider's to say.
    pub(super) given: BTreeMap<BackendId, GivenBackend>,
    /// Services that were told that their pods end too early: once is enough.
    hurried: BTreeSet<ObjectName>,
    pods: HashMap<(ObjectName, usize), Found>,
    /// By port and labels.
    nodes: HashMap<(Port, BTreeMap<String, String>), Found>,
}

impl<'a> Backends<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, settings: &'a Settings, endpoints: Endpoints<'a>) -> Self {
        Self {
            snapshot,
            settings,
            endpoints,
            resolved: BTreeMap::new(),
            given: BTreeMap::new(),
            hurried: BTreeSet::new(),
            pods: HashMap::new(),
            nodes: HashMap::new(),
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
                    Err(why) => unavailable(why),
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
                for share in shares {
                    let backend = match &share.to {
                        Destination::Service { name, port } => self.backend(part, name, port, &at, problems),
                        Destination::Given(name) => Ok(self.given(part, name, &at)),
                    };
                    match backend {
                        Ok(backend) => backends.push(WeightedBackend {
                            backend,
                            weight: share.weight,
                        }),
                        Err(why) => (failed, failure) = (true, why),
                    }
                }
                // What is left after a failure must not get requests it was to have no share of.
                let nobody = backends.iter().all(|share| share.weight.get() == 0);
                if backends.is_empty() || (failed && nobody) {
                    return unavailable(failure);
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
    ) -> Result<BackendId, &'static str> {
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
        let backend = self.resolve(part, service, port, &port_text, &id, at, problems)?;
        self.resolved.insert(id.clone(), backend);
        Ok(id)
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

        let read = TargetSettings::read(part, service, port_text, self.settings, problems);
        if read.is_refused {
            read.health(service, service_port, problems);
            return Err(NOT_SERVED);
        }
        let port_number = match read.kind {
            TargetKind::Pod => match &service_port.target {
                PortRef::Number(number) => Port::new(*number).ok(),
                PortRef::Name(_) => None,
                PortRef::Missing => Port::new(service_port.port).ok(),
            },
            TargetKind::Node => match service_port.node_port.and_then(|number| Port::new(number).ok()) {
                Some(port) => Some(port),
                None => {
                    let message =
                        format!("Service {service_name} has no node port, which target type instance needs");
                    let problem = Problem::new(Code::ServiceHasNoNodePort, field("name"), message);
                    problems.push(problem);
                    return Err(NOT_SERVED);
                }
            },
        };
        let health = read.health(service, service_port, problems);
        let found = match (read.kind, port_number) {
            (TargetKind::Node, Some(port)) => self
                .nodes
                .entry((port, read.node_labels.clone()))
                .or_insert_with(|| {
                    let selector = LabelSelector {
                        match_labels: read.node_labels.clone(),
                        match_expressions: Vec::new(),
                    };
                    self.endpoints.nodes(port, &selector)
                }),
            (TargetKind::Node | TargetKind::Pod, _) => self
                .pods
                .entry((service_name.clone(), index))
                .or_insert_with(|| self.endpoints.pods(service, service_port)),
        };
        for refused in &found.refused {
            let message = refused.to_string();
            problems.push(Problem::new(Code::TargetRefused, field("name"), message));
        }
        // Nobody chose the provider's default delay; a delay that somebody chose is to mean what it says.
        if let (TargetKind::Pod, Some(delay)) = (read.kind, read.drain_seconds)
            && let Some((pod, grace)) = self.endpoints.shortest_grace(service)
            && grace < i64::from(delay)
            && self.hurried.insert(service_name.clone())
        {
            let message = format!(
                "Service {service_name}: a pod that is removed may finish requests for {delay} s, but {} is killed \
                 after {grace} s and no preStop hook waits",
                pod.meta.name.name
            );
            problems.push(Problem::new(Code::GracePeriodShort, field("name"), message));
        }
        if !found
            .targets
            .iter()
            .any(|target| target.state == TargetState::Ready)
        {
            let message = format!(
                "Service {service_name} has no ready {} for port {}",
                match read.kind {
                    TargetKind::Pod => "endpoint",
                    TargetKind::Node => "node",
                },
                shown_port(port)
            );
            problems.push(Problem::new(Code::EndpointsNotFound, field("name"), message));
        }
        Ok(Backend {
            id: id.clone(),
            owner,
            service: ServiceRef {
                name: service_name,
                uid: service.meta.uid.clone(),
                port: port_text.clone(),
                number: Port::new(service_port.port).ok(),
            },
            target_kind: read.kind,
            port: port_number,
            protocol: read.protocol,
            control_port: read.control_port,
            registrants: read.registrants,
            health,
            proxy_protocol: read.proxy_protocol,
            is_checked: read.is_checked,
            drain_seconds: read.drain_seconds,
            timeout_seconds: read.timeout_seconds,
            ipv6: found.family.as_ref().or(service.families.first()) == Some(&IpFamily::V6),
            attributes: read.attributes,
            tags: read.tags,
            keeps_tags: read.keeps_tags,
            targets: found.targets.clone(),
            origin: at.clone(),
        })
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
