//! A fresh AWS account in memory and load balancers by hand in; rounds made, calls counted, what exists out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_aws::observed::{Looked, Stage};
use portcullis_aws::resource::Pairs;
use portcullis_aws::{Account, Aws, Change, Observed, Owner, Settings, Shared};
use portcullis_model::{
    Action, Backend, BackendId, BackendProtocol, Certificate, CertificateSource, Claim, FixedResponse,
    Forward, HealthCheck, HostMatch, Listener, LoadBalancer, LoadBalancerId, ObjectName, Options, Origin,
    PathMatch, PathPrefix, Port, Problem, Protocol, Provider, ProviderError, Rule, Semantics, ServiceRef,
    Target, TargetAddress, TargetKind, TargetState, Tls, Waits,
};
use portcullis_test_support::{self as support, AccountSpec, Moto};

/// More rounds than any load balancer needs.
const MOST_ROUNDS: usize = 16;

/// moto with an account in it, and the provider that talks to it.
pub(crate) struct World {
    pub(crate) moto: Moto,
    pub(crate) there: support::Account,
    pub(crate) aws: Aws,
}

impl World {
    pub(crate) async fn new() -> Self {
        let moto = Moto::start();
        let there = moto.account(&AccountSpec::default());
        let aws = provider(&moto, &there.region, &there.vpc).await;
        moto.record();
        Self { moto, there, aws }
    }

    /// As after a restart: with nothing remembered.
    pub(crate) async fn restarted(&self) -> Aws {
        provider(&self.moto, &self.there.region, &self.there.vpc).await
    }

    /// Service and operation of every call since the last time, in their order.
    pub(crate) fn calls(&self) -> Vec<String> {
        let calls = self.moto.calls().iter().map(ToString::to_string).collect();
        self.moto.record();
        calls
    }

    /// The pods' addresses of a node.
    pub(crate) fn pods(&self, node: usize) -> &[String] {
        &self.there.nodes[node].pods
    }

    pub(crate) async fn account(&self) -> Account {
        self.aws.account().await.expect("the account can be read")
    }

    /// Makes what spans load balancers fit for these.
    pub(crate) async fn fit(&self, desired: &[LoadBalancer], account: &Account) -> Shared {
        let aws = &self.aws;
        let demands = desired
            .iter()
            .map(|balancer| (balancer.id.clone(), aws.demand(balancer, None, account)))
            .collect();
        let mut shared = aws.observe_shared(account).await.expect("reads nothing");
        for _ in 0..MOST_ROUNDS {
            let (plan, problems) = aws.plan_shared(&demands, &shared, account);
            assert_eq!(problems, []);
            if plan.is_empty() {
                return shared;
            }
            for change in plan.changes {
                let answer = aws.apply(&claim(), &change).await;
                Aws::fold_shared(
                    &mut shared,
                    &change,
                    answer.unwrap_or_else(|e| panic!("{change}: {e}")),
                );
            }
        }
        panic!("what spans load balancers never settles");
    }

    /// Makes rounds until one is empty. Answers what was made.
    pub(crate) async fn settle(
        &self,
        id: &LoadBalancerId,
        desired: Option<&LoadBalancer>,
        observed: &mut Observed,
        (shared, account): (&Shared, &Account),
    ) -> (Vec<Change>, Vec<Problem>, Result<(), ProviderError>) {
        let mut made = Vec::new();
        for _ in 0..MOST_ROUNDS {
            let (plan, problems) = self.aws.plan(id, desired, observed, shared, account);
            if plan.is_empty() {
                return (made, problems, Ok(()));
            }
            for change in plan.changes {
                match self.aws.apply(&claim(), &change).await {
                    Ok(answer) => Aws::fold(observed, &change, answer),
                    Err(error) => return (made, problems, Err(error)),
                }
                made.push(change);
            }
        }
        let last: Vec<_> = made.iter().rev().take(5).map(ToString::to_string).collect();
        panic!("{id} never settles: {last:#?}");
    }

    /// The same, where nothing may go wrong. Answers the calls as the plan names them.
    pub(crate) async fn make(
        &self,
        desired: &LoadBalancer,
        observed: &mut Observed,
        known: (&Shared, &Account),
    ) -> Vec<&'static str> {
        let (made, problems, result) = self.settle(&desired.id, Some(desired), observed, known).await;
        assert_eq!((problems, result), (Vec::new(), Ok(())), "{made:#?}");
        made.iter().map(|change| change.summary().call).collect()
    }

    /// A controller that was told another VPC.
    pub(crate) async fn told_vpc(&self, vpc: &str) -> Aws {
        provider(&self.moto, &self.there.region, vpc).await
    }

    /// What exists, read from scratch.
    pub(crate) async fn look(&self, id: &LoadBalancerId) -> (Observed, Account) {
        let aws = self.restarted().await;
        let account = aws.account().await.expect("the account can be read");
        let ids = std::slice::from_ref(id);
        let mut all = aws.observe(ids, &account).await.expect("it can be observed");
        (all.remove(id).expect("every id asked for is answered"), account)
    }
}

pub(crate) fn credentials() -> aws_sdk_ec2::config::Credentials {
    aws_sdk_ec2::config::Credentials::new("test", "test", None, None, "test")
}

async fn provider(moto: &Moto, region: &str, vpc: &str) -> Aws {
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .endpoint_url(moto.endpoint())
        .credentials_provider(credentials())
        .region(aws_config::Region::new(region.to_owned()))
        .load()
        .await;
    let settings = Settings {
        cluster: "demo".into(),
        vpc: Some(vpc.to_owned()),
        ..Settings::default()
    };
    Aws::new(&config, settings).expect("Region and VPC are given")
}

#[expect(clippy::disallowed_methods, reason = "a claim is a point in time")]
pub(crate) fn claim() -> Claim {
    Claim::until(Instant::now() + Duration::from_secs(600))
}

pub(crate) fn nothing(balancer: &LoadBalancer) -> Observed {
    Observed::nothing(Owner::load_balancer("demo", &balancer.id))
}

/// What can be compared with what a read shows: attributes nobody set are read, and not known otherwise; what nobody
/// asked for is not. What is listed in no order of its own is sorted.
pub(crate) fn comparable(observed: &Observed) -> String {
    let mut lines = Vec::new();
    for owned in &observed.security_groups {
        lines.push(format!("{} {:?}", owned.resource(), owned.get()));
    }
    for owned in &observed.target_groups {
        let mut state = owned.get().clone();
        state.spec.attributes = Pairs::default();
        lines.push(format!("{} {state:?}", owned.resource()));
    }
    for owned in &observed.load_balancers {
        let mut state = owned.get().clone();
        state.spec.attributes = Pairs::default();
        (state.stage, state.capacity) = (Stage::SetUp, Looked::Never);
        (state.web_acl, state.protection) = (Looked::Never, Looked::Never);
        state.spec.security_groups.sort();
        state.spec.subnets.sort();
        for listener in state.listeners.values_mut() {
            listener.attributes = Looked::Never;
            if let [_, others @ ..] = &mut listener.spec.certificates[..] {
                others.sort();
            }
            for rule in &mut listener.rules {
                rule.spec.conditions.sort();
            }
        }
        lines.push(format!("{} {state:#?}", owned.resource()));
    }
    lines.sort();
    lines.join("\n")
}

pub(crate) fn port(number: u16) -> Port {
    Port::new(number.into()).unwrap()
}

fn origin(field: &str) -> Origin {
    Origin::new("ingress", ObjectName::new("shop", "web"), field)
}

/// `shop/web`, as [`lone`].
pub(crate) fn bare() -> LoadBalancer {
    lone("web")
}

/// `shop/NAME`: internal, without listeners, rules and backends.
pub(crate) fn lone(name: &str) -> LoadBalancer {
    let owner = ObjectName::new("shop", name);
    LoadBalancer {
        id: LoadBalancerId::Lone(owner.clone()),
        semantics: Semantics::Kubernetes,
        members: vec![owner],
        options: Options::new(origin("")),
        listeners: BTreeMap::new(),
        rules: Vec::new().into(),
        backends: BTreeMap::new(),
        given: BTreeMap::new(),
        unread: Default::default(),
        key_pairs: Default::default(),
    }
}

pub(crate) fn listen(balancer: &mut LoadBalancer, number: u16) {
    let listener = Listener {
        port: port(number),
        protocol: Protocol::Http,
        authenticate: None,
        default_action: Action::Fixed(FixedResponse::not_found()),
        origin: origin(""),
    };
    balancer.listeners.insert(port(number), listener);
}

pub(crate) fn listen_tls(balancer: &mut LoadBalancer, number: u16, hosts: &[&str]) {
    listen(balancer, number);
    let certificate = |host: &&str| Certificate {
        source: CertificateSource::Discovered,
        hosts: BTreeSet::from([HostMatch::parse(host).unwrap()]),
        origin: origin("spec.tls[0]"),
    };
    let tls = Tls {
        certificates: hosts.iter().map(certificate).collect(),
        ..Tls::default()
    };
    let listener = balancer.listeners.get_mut(&port(number)).unwrap();
    listener.protocol = Protocol::Https(tls);
}

/// Adds a backend with these pods on port 8080, and answers its id.
pub(crate) fn backend(balancer: &mut LoadBalancer, service: &str, pods: &[String]) -> BackendId {
    let owner = balancer.members[0].clone();
    let id = BackendId::new(&owner, service, "80");
    let protocol = BackendProtocol::default();
    let backend = Backend {
        id: id.clone(),
        owner,
        service: ServiceRef {
            name: ObjectName::new("shop", service),
            uid: format!("uid-{service}").into(),
            port: "80".into(),
            number: None,
        },
        target_kind: TargetKind::Pod,
        port: Some(port(8080)),
        health: HealthCheck::for_protocol(&protocol),
        protocol,
        control_port: None,
        registrants: Default::default(),
        drain_seconds: None,
        timeout_seconds: None,
        waits: Waits::default(),
        proxy_protocol: false,
        is_checked: false,
        affinity: None,
        ipv6: false,
        attributes: BTreeMap::new(),
        tags: BTreeMap::new(),
        keeps_tags: false,
        targets: targets(pods),
        origin: origin("backend"),
    };
    balancer.backends.insert(id.clone(), backend.into());
    id
}

pub(crate) fn targets(pods: &[String]) -> Arc<[Target]> {
    let target = |pod: &String| Target {
        address: TargetAddress::Ip(pod.parse().unwrap()),
        port: port(8080),
        zone: None,
        instance: None,
        state: TargetState::Ready,
    };
    pods.iter().map(target).collect()
}

pub(crate) fn forward(id: &BackendId) -> Action {
    Action::Forward(Forward::to(id.clone()))
}

/// For this host and everything below this path, on every listener.
pub(crate) fn rule(balancer: &mut LoadBalancer, host: &str, path: &str, action: Action) {
    balancer.rules.push(Rule {
        ports: balancer.listeners.keys().copied().collect(),
        hosts: vec![HostMatch::parse(host).unwrap()],
        paths: vec![PathMatch::Prefix(PathPrefix::parse(path).unwrap())],
        conditions: Vec::new(),
        authenticate: None,
        clients: Default::default(),
        tls_policy: None,
        filters: None,
        rewrites: Vec::new(),
        action,
        origin: origin(&format!("{host}{path}")),
    });
}

/// One host, one path, one Service with two pods, plain HTTP.
pub(crate) fn simplest(world: &World) -> LoadBalancer {
    let mut balancer = bare();
    listen(&mut balancer, 80);
    let web = backend(&mut balancer, "web", &world.pods(0)[..2]);
    rule(&mut balancer, "web.shop.example.com", "/", forward(&web));
    balancer
}
