//! The EndpointSlices, Pods and Nodes of a Service in, its targets out, and which addresses were refused.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use portcullis_model::{ObjectName, Port, Semantics, Special, Target, TargetAddress, TargetState, special};

use super::settings::AddressPolicy;
use crate::cluster::labels::LabelSelector;
use crate::cluster::object::{
    Endpoint, EndpointSlice, IpFamily, Node, NodeState, Pod, PortRef, Service, ServicePort,
};
use crate::cluster::snapshot::Snapshot;

/// What a Service port leads to.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) targets: Arc<[Target]>,
    /// The one family of them; none where they are nodes.
    pub(super) family: Option<IpFamily>,
    pub(super) refused: Vec<Refused>,
}

/// Addresses of a slice that may not be targets, all for one reason.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub(super) slice: ObjectName,
    /// The first of them.
    pub(super) address: Arc<str>,
    /// How many more.
    pub(super) more: usize,
    pub(super) why: &'static str,
    /// Reported, but used: refusing it would break what the incumbent serves.
    pub(super) served: bool,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "EndpointSlice {}: {} is no target: {}",
            self.slice, self.address, self.why
        )?;
        if self.more > 0 {
            write!(f, " (and {} more)", self.more)?;
        }
        if self.served {
            f.write_str("; it is served all the same")?;
        }
        Ok(())
    }
}

/// Looks endpoints up in one snapshot.
#[derive(Debug)]
pub(super) struct Endpoints<'a> {
    snapshot: &'a Snapshot,
    policy: AddressPolicy,
    semantics: Semantics,
    node_addresses: OnceCell<BTreeSet<IpAddr>>,
    instances: OnceCell<Vec<(&'a Node, Machine)>>,
    pods: OnceCell<PodsByLabel<'a>>,
}

/// By namespace, key and value of a label.
type PodsByLabel<'a> = HashMap<(&'a str, &'a str, &'a str), Vec<&'a Pod>>;

/// What a node's `providerID` and labels say.
#[derive(Clone, Debug)]
struct Machine {
    id: Arc<str>,
    zone: Option<Arc<str>>,
}

impl<'a> Endpoints<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, policy: AddressPolicy, semantics: Semantics) -> Self {
        Self {
            snapshot,
            policy,
            semantics,
            node_addresses: OnceCell::new(),
            instances: OnceCell::new(),
            pods: OnceCell::new(),
        }
    }

    fn slices(&self, service: &Service) -> &'a [Arc<EndpointSlice>] {
        self.snapshot
            .slices
            .get(&service.meta.name)
            .map_or(&[], Vec::as_slice)
    }

    /// The pods behind a Service port. Those of nodes that nobody has heard of for a while only where no other is
    /// left: then it is the news that is missing, and not the pods.
    /// Source: AWS Load Balancer Controller, `endpoint_resolver.go`, feature gate EndpointsFailOpen.
    pub(super) fn pods(&self, service: &Service, port: &ServicePort) -> Found {
        self.pods_of(service, port, in_order(service))
    }

    /// The same, by addresses of the first of these families that has any.
    pub(super) fn pods_of(&self, service: &Service, port: &ServicePort, families: &[IpFamily]) -> Found {
        let mut targets = BTreeSet::new();
        let mut last_resort = BTreeSet::new();
        let mut refused = Vec::new();
        let slices = self.slices(service);
        let mut family = listed_family(families, port, slices);
        for slice in slices.iter().filter(|s| &*s.address_type == type_of(family)) {
            let Some(number) = slice_port(slice, port) else {
                continue;
            };
            for endpoint in &slice.endpoints {
                let Some(written) = endpoint.addresses.first() else {
                    continue;
                };
                let (standing, state) = match self.standing(slice, endpoint) {
                    Standing::Serves(state) => (&mut targets, state),
                    Standing::LastResort => (&mut last_resort, TargetState::Ready),
                    Standing::Absent => continue,
                };
                match self.admit(slice, endpoint, written) {
                    Ok((address, pod)) => {
                        let node = endpoint
                            .node
                            .as_ref()
                            .or_else(|| pod.and_then(|pod| pod.node.as_ref()));
                        let served = self.admitted_node(address);
                        if served {
                            refuse(&mut refused, slice, written, A_NODE, true);
                        }
                        standing.insert(self.target(address, number, node, endpoint.zone.as_ref(), state));
                    }
                    Err(why) => refuse(&mut refused, slice, written, why, false),
                }
            }
        }
        if slices.is_empty() {
            for candidate in families {
                self.stand_ins(service, port, *candidate, &mut targets);
                if !targets.is_empty() {
                    family = *candidate;
                    break;
                }
            }
        }
        if !targets.iter().any(|target| target.state == TargetState::Ready) {
            targets.extend(last_resort);
        }
        Found {
            targets: one_per_address(targets),
            family: Some(family),
            refused,
        }
    }

    /// The pod behind a Service that has the shortest time from the order to end until it is killed, in seconds, among
    /// those that do not wait before they heed the order.
    pub(super) fn shortest_grace(&self, service: &Service) -> Option<(&'a Pod, i64)> {
        let slices = self.slices(service).iter();
        let pods = slices.flat_map(|slice| {
            let endpoints = slice.endpoints.iter();
            endpoints.filter_map(|endpoint| self.pod_of(slice, endpoint).flatten())
        });
        pods.filter(|pod| !pod.pre_stop && !pod.finished)
            .map(|pod| (pod, pod.grace_seconds))
            .min_by_key(|(pod, seconds)| (*seconds, &pod.meta.name))
    }

    /// What an endpoint may be used for, before its address is looked at.
    fn standing(&self, slice: &EndpointSlice, endpoint: &Endpoint) -> Standing {
        let pod = self.pod_of(slice, endpoint).flatten();
        let leaving = endpoint.terminating || pod.is_some_and(|pod| pod.meta.deleting);
        if endpoint.ready {
            // From the moment of its deletion on nothing new is to reach a pod, whatever the slice says yet.
            let deleted = pod.is_some_and(|pod| pod.meta.deleting);
            return Standing::Serves(if deleted {
                TargetState::Draining
            } else {
                TargetState::Ready
            });
        }
        let containers_serve = pod.filter(|pod| pod.containers_ready);
        let node = containers_serve
            .and_then(|pod| pod.node.as_ref())
            .and_then(|node| self.snapshot.nodes.get(node));
        match (containers_serve, node.map(|node| node.state)) {
            (Some(_), Some(NodeState::Unknown)) => Standing::LastResort,
            // A load balancer's health check is what it waits for: it must be registered before it is ready.
            (Some(pod), Some(NodeState::Ready)) if !leaving && self.may_join(pod) => {
                Standing::Serves(TargetState::Ready)
            }
            _ if endpoint.serving && endpoint.terminating => Standing::Serves(TargetState::Draining),
            _ => Standing::Absent,
        }
    }

    /// Whether a pod that is not ready, but whose containers are, may have requests. The incumbent does not ask whom
    /// else it waits for.
    fn may_join(&self, pod: &Pod) -> bool {
        !self.enforces() || pod.is_ready_but_for_load_balancers()
    }

    /// The pod that an endpoint names, if it names one; and if there is one.
    fn pod_of(&self, slice: &EndpointSlice, endpoint: &Endpoint) -> Option<Option<&'a Pod>> {
        endpoint.pod.as_ref().map(|pod| {
            let namespace = slice.meta.name.namespace.clone();
            let name = ObjectName::new(namespace, pod.clone());
            self.snapshot.pods.get(&name).map(Arc::as_ref)
        })
    }

    /// Every node that is selected and may take traffic from outside, at this port. Those that nobody has heard of
    /// for a while only where no other is left.
    pub(super) fn nodes(&self, port: Port, selector: &LabelSelector) -> Found {
        let all = self.instances.get_or_init(|| {
            let nodes = self.snapshot.nodes.values();
            nodes
                .filter(|node| takes_traffic(node))
                .filter_map(|node| Some((&**node, machine(node)?)))
                .collect()
        });
        let of = |state: NodeState| -> Vec<&Machine> {
            let nodes = all
                .iter()
                .filter(|(node, _)| node.state == state && selector.selects(&node.labels));
            nodes.map(|(_, machine)| machine).collect()
        };
        let mut instances = of(NodeState::Ready);
        if instances.is_empty() {
            instances = of(NodeState::Unknown);
        }
        let target = |machine: &Machine| Target {
            address: TargetAddress::Instance(machine.id.clone()),
            port,
            zone: machine.zone.clone(),
            instance: Some(machine.id.clone()),
            state: TargetState::Ready,
        };
        let targets: BTreeSet<Target> = instances.into_iter().map(target).collect();
        Found {
            targets: targets.into_iter().collect(),
            family: None,
            refused: Vec::new(),
        }
    }

    /// Whether an address may be a target, and the pod that has it if it is known.
    fn admit(
        &self,
        slice: &EndpointSlice,
        endpoint: &Endpoint,
        written: &str,
    ) -> Result<(IpAddr, Option<&'a Pod>), &'static str> {
        let address: IpAddr = written.parse().map_err(|_| "it is no IP address")?;
        let address = address.to_canonical();
        if let Some(why) = never_a_target(address, self.policy) {
            return Err(why);
        }
        if self.is_node(address) && self.enforces() {
            return Err(A_NODE);
        }
        match (self.pod_of(slice, endpoint), self.policy) {
            (Some(Some(pod)), _) if !pod.addresses.iter().any(|ip| ip.to_canonical() == address) => {
                Err("the pod that it names has another address")
            }
            (Some(Some(pod)), _) if pod.finished => Err("the pod that it names has finished"),
            (Some(Some(pod)), _) => Ok((address, Some(pod))),
            (Some(None), AddressPolicy::Pods) => Err("the pod that it names does not exist"),
            (None, AddressPolicy::Pods) => Err("it names no pod of the Service's namespace"),
            (Some(None) | None, AddressPolicy::Written | AddressPolicy::WrittenOrLoopback) => {
                Ok((address, None))
            }
        }
    }

    fn enforces(&self) -> bool {
        match self.semantics {
            Semantics::Kubernetes => true,
            Semantics::AwsLoadBalancerController => false,
        }
    }

    /// A node's address that is used all the same.
    fn admitted_node(&self, address: IpAddr) -> bool {
        !self.enforces() && self.is_node(address)
    }

    fn is_node(&self, address: IpAddr) -> bool {
        self.node_addresses
            .get_or_init(|| {
                let nodes = self.snapshot.nodes.values();
                nodes
                    .flat_map(|node| node.addresses.iter().map(IpAddr::to_canonical))
                    .collect()
            })
            .contains(&address)
    }

    fn target(
        &self,
        address: IpAddr,
        port: Port,
        node: Option<&Arc<str>>,
        zone: Option<&Arc<str>>,
        state: TargetState,
    ) -> Target {
        let node = node.and_then(|name| self.snapshot.nodes.get(name));
        Target {
            address: TargetAddress::Ip(address),
            port,
            zone: zone.cloned().or_else(|| node.and_then(|node| zone_of(node))),
            instance: node.and_then(|node| machine(node)).map(|machine| machine.id),
            state,
        }
    }

    /// Pods that the Service selects, where no EndpointSlice says who serves: as in a folder of manifests.
    fn stand_ins(
        &self,
        service: &Service,
        port: &ServicePort,
        family: IpFamily,
        targets: &mut BTreeSet<Target>,
    ) {
        let namespace = &*service.meta.name.namespace;
        let mut wanted = service.selector.iter();
        let Some((key, value)) = wanted.next() else { return };
        let by_label = self.pods.get_or_init(|| {
            let mut by_label = PodsByLabel::new();
            for pod in self.snapshot.pods.values() {
                for (key, value) in &pod.labels {
                    let label = (&*pod.meta.name.namespace, &**key, &**value);
                    by_label.entry(label).or_default().push(pod);
                }
            }
            by_label
        });
        let pods = by_label.get(&(namespace, &**key, &**value)).into_iter().flatten();
        for pod in pods.filter(|pod| wanted.clone().all(|(k, v)| pod.labels.get(k) == Some(v))) {
            let number = match &port.target {
                PortRef::Number(number) => Some(*number),
                PortRef::Name(name) => pod.ports.get(name).copied(),
                PortRef::Missing => Some(port.port),
            };
            let Some(number) = number.and_then(|number| Port::new(number).ok()) else {
                continue;
            };
            if pod.finished || !(pod.ready || self.may_join(pod) && pod.containers_ready) {
                continue;
            }
            let state = if pod.meta.deleting {
                TargetState::Draining
            } else {
                TargetState::Ready
            };
            let own = pod.addresses.iter().map(IpAddr::to_canonical);
            for address in own.filter(|address| family_of(*address) == family) {
                let node_of_tenant = self.is_node(address) && self.enforces();
                if never_a_target(address, self.policy).is_none() && !node_of_tenant {
                    targets.insert(self.target(address, number, pod.node.as_ref(), None, state));
                }
            }
        }
    }
}

/// What an endpoint may be used for. With `publishNotReadyAddresses` Kubernetes itself says ready.
/// Source: EndpointSlice API, EndpointConditions.
enum Standing {
    Serves(TargetState),
    /// Where nothing else serves.
    LastResort,
    Absent,
}

const A_NODE: &str = "it is the address of a node";

fn refuse(
    all: &mut Vec<Refused>,
    slice: &EndpointSlice,
    address: &Arc<str>,
    why: &'static str,
    served: bool,
) {
    let same = |known: &&mut Refused| known.slice == slice.meta.name && known.why == why;
    match all.iter_mut().find(same) {
        Some(known) => known.more += 1,
        None => all.push(Refused {
            slice: slice.meta.name.clone(),
            address: address.clone(),
            more: 0,
            why,
            served,
        }),
    }
}

/// A target listed twice, as ready and as draining, is ready: two slices may overlap while one is replaced.
fn one_per_address(targets: BTreeSet<Target>) -> Arc<[Target]> {
    let mut seen = BTreeSet::new();
    let (ready, draining): (Vec<Target>, Vec<Target>) =
        targets.into_iter().partition(|t| t.state == TargetState::Ready);
    let mut out: Vec<Target> = ready
        .into_iter()
        .chain(draining)
        .filter(|target| seen.insert((target.address.clone(), target.port)))
        .collect();
    out.sort();
    out.into()
}

fn type_of(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "IPv4",
        IpFamily::V6 => "IPv6",
    }
}

fn family_of(address: IpAddr) -> IpFamily {
    match address {
        IpAddr::V4(_) => IpFamily::V4,
        IpAddr::V6(_) => IpFamily::V6,
    }
}

/// The families that a Service may have endpoints of, the preferred one first.
fn in_order(service: &Service) -> &[IpFamily] {
    match &*service.families {
        [] => &[IpFamily::V4, IpFamily::V6],
        families => families,
    }
}

/// The first of the families that slices list endpoints of for a port, ready or not; else the first of all. Of one
/// alone, for a pod with an address of each would be there twice.
fn listed_family(families: &[IpFamily], port: &ServicePort, slices: &[Arc<EndpointSlice>]) -> IpFamily {
    let lists = |slice: &EndpointSlice, family: IpFamily| {
        let endpoints = || {
            slice
                .endpoints
                .iter()
                .any(|endpoint| !endpoint.addresses.is_empty())
        };
        &*slice.address_type == type_of(family) && slice_port(slice, port).is_some() && endpoints()
    };
    let listed = families
        .iter()
        .find(|family| slices.iter().any(|slice| lists(slice, **family)));
    listed.or(families.first()).copied().unwrap_or(IpFamily::V4)
}

/// The number that a slice gives a Service port: they share its name.
fn slice_port(slice: &EndpointSlice, port: &ServicePort) -> Option<Port> {
    let name = port.name.as_deref().unwrap_or_default();
    let found = slice
        .ports
        .iter()
        .find(|p| *p.name == *name && &*p.protocol == "TCP")?;
    found.port.and_then(|number| Port::new(number).ok())
}

/// Addresses that lead to the load balancer's own machine or network, never to a pod.
fn never_a_target(address: IpAddr, policy: AddressPolicy) -> Option<&'static str> {
    let pods_are_known = policy == AddressPolicy::Pods;
    match special(address)? {
        Special::Loopback if policy == AddressPolicy::WrittenOrLoopback => None,
        Special::Loopback => Some("it is a loopback address"),
        Special::LinkLocal => Some("it is a link-local address"),
        Special::NoMachine => Some("it is no address of a single machine"),
        // Elsewhere a pod may have it.
        Special::Metadata if pods_are_known && address.is_ipv4() => None,
        Special::Metadata => Some("it is the address of a cloud's metadata service"),
        Special::Reserved => None,
    }
}

/// Whether a node may be a target, if it is heard of.
/// Source: AWS Load Balancer Controller, `endpoint_resolver.go`, `utils.go`.
fn takes_traffic(node: &Node) -> bool {
    const EXCLUDED: [&str; 3] = [
        "node-role.kubernetes.io/master",
        "node.kubernetes.io/exclude-from-external-load-balancers",
        "alpha.service-controller.kubernetes.io/exclude-balancer",
    ];
    let leaving = node.taints.iter().any(|taint| {
        let (key, effect) = (&*taint.key, &*taint.effect);
        key == "ToBeDeletedByClusterAutoscaler" || (key == "karpenter.sh/disrupted" && effect == "NoSchedule")
    });
    !leaving
        && !EXCLUDED.iter().any(|label| node.labels.contains_key(*label))
        && node.labels.get("eks.amazonaws.com/compute-type").map(|v| &**v) != Some("fargate")
}

/// `aws:///us-east-1a/i-0123`, `gce://project/us-east1-b/name`: the last part is the machine's id. Fargate's
/// machines are nobody's.
fn machine(node: &Node) -> Option<Machine> {
    let (_, rest) = node.provider_id.as_deref()?.split_once("://")?;
    let id = rest.rsplit('/').next().filter(|id| !id.is_empty())?;
    (!id.starts_with("fargate-")).then(|| Machine {
        id: id.into(),
        zone: zone_of(node),
    })
}

fn zone_of(node: &Node) -> Option<Arc<str>> {
    node.labels
        .get("topology.kubernetes.io/zone")
        .cloned()
        .or_else(|| {
            let (_, rest) = node.provider_id.as_deref()?.split_once("://")?;
            let zone = rest.rsplit('/').nth(1)?;
            (!zone.is_empty()).then(|| zone.into())
        })
}
