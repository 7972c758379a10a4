//! A cluster of a given size in; the time to index it, to translate it, and to go from one changed endpoint to the load
//! balancer it touches, or to what a process serves, out.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use divan::Bencher;
use divan::counter::ItemsCount;
use portcullis::cluster::folder::Folder;
use portcullis::cluster::index::{Index, SecretsMode};
use portcullis::cluster::object::{
    Endpoint, EndpointPort, EndpointSlice, Ingress, IngressBackend, IngressClass, IngressPath, IngressRule,
    IpFamily, Meta, Object, ObjectKey, Pod, PortRef, Service, ServicePort, ServiceType,
};
use portcullis::translate::followed::Followed;
use portcullis::translate::{self, ControllerName, Merge, Settings, translate};
use portcullis_model::ObjectName;
use portcullis_proxy::{KeyPairPem, ServedPorts, ServingState};

/// Ready pods behind each Service: 100,000 endpoints at 10,000 Services.
const PODS: usize = 10;

/// Services whose endpoints change.
const CHANGING: usize = 100;

fn main() {
    divan::main();
}

fn meta(namespace: &str, name: &str) -> Meta {
    Meta {
        name: ObjectName::new(namespace, name),
        uid: format!("uid-{name}").into(),
        created: 1_795_521_600,
        deleting: false,
        annotations: Default::default(),
    }
}

fn address(i: usize) -> IpAddr {
    let i = u32::try_from(i).expect("benchmarks have fewer than 2^24 pods");
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + i))
}

/// One Ingress with a host and two paths.
fn ingress(i: usize) -> Object {
    ingress_of(i, &format!("host-{i}.example.com"))
}

fn ingress_of(i: usize, host: &str) -> Object {
    let path = |path: &str| IngressPath {
        path: Some(path.into()),
        path_type: "Prefix".into(),
        backend: IngressBackend::Service {
            name: format!("service-{i}").into(),
            port: PortRef::Number(80),
        },
    };
    Object::from(Ingress {
        meta: meta(&namespace(i), &format!("ingress-{i}")),
        generation: 1,
        class_name: Some("portcullis".into()),
        default_backend: None,
        tls: Vec::new(),
        rules: vec![IngressRule {
            host: Some(host.into()),
            paths: [path("/"), path("/api")].into(),
            is_closed: false,
        }],
        status: Vec::new(),
        held_for: BTreeSet::new(),
        refused: None,
    })
}

/// A hundred Ingresses share a namespace.
fn namespace(i: usize) -> String {
    format!("namespace-{}", i / 100)
}

fn service(i: usize) -> Object {
    Object::from(Service {
        meta: meta(&namespace(i), &format!("service-{i}")),
        kind: ServiceType::ClusterIp,
        ports: vec![ServicePort {
            name: Some("http".into()),
            port: 80,
            target: PortRef::Number(8080),
            node_port: None,
            protocol: "TCP".into(),
            app_protocol: None,
        }],
        selector: [("app".into(), format!("app-{i}").into())].into(),
        families: vec![IpFamily::V4],
        external_name: None,
    })
}

/// The endpoints of a Service, of which the first is ready or not.
fn slice(i: usize, first_ready: bool) -> Object {
    let endpoint = |k: usize| Endpoint {
        addresses: vec![address(i * PODS + k).to_string().into()],
        ready: first_ready || k > 0,
        serving: first_ready || k > 0,
        terminating: false,
        node: Some(format!("node-{}", k % 3).into()),
        zone: Some("zone-a".into()),
        pod: Some(format!("pod-{i}-{k}").into()),
    };
    Object::from(EndpointSlice {
        meta: meta(&namespace(i), &format!("service-{i}-abcde")),
        service: Some(format!("service-{i}").into()),
        address_type: "IPv4".into(),
        ports: vec![EndpointPort {
            name: "http".into(),
            port: Some(8080),
            protocol: "TCP".into(),
        }],
        endpoints: (0..PODS).map(endpoint).collect(),
    })
}

fn pod(i: usize, k: usize) -> Object {
    Object::from(Pod {
        meta: meta(&namespace(i), &format!("pod-{i}-{k}")),
        labels: [("app".into(), format!("app-{i}").into())].into(),
        node: Some(format!("node-{}", k % 3).into()),
        addresses: vec![address(i * PODS + k)],
        ready: true,
        containers_ready: true,
        gates: Default::default(),
        grace_seconds: 30,
        pre_stop: false,
        finished: false,
        ports: Default::default(),
    })
}

fn cluster(ingresses: usize) -> Vec<Object> {
    let class = Object::from(IngressClass {
        meta: Meta {
            name: ObjectName::cluster("portcullis"),
            ..meta("", "portcullis")
        },
        controller: "portcullis.dev/ingress".into(),
        is_default: false,
        parameters: None,
    });
    let mut objects = vec![class];
    for i in 0..ingresses {
        objects.extend([ingress(i), service(i), slice(i, true)]);
        objects.extend((0..PODS).map(|k| pod(i, k)));
    }
    objects
}

fn empty() -> Index {
    translate::index(&Settings::default(), SecretsMode::NotRead)
}

/// From the first listing of every kind to an index that can be read.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10, sample_size = 1)]
fn index_everything(bencher: Bencher<'_, '_>, ingresses: usize) {
    let objects = cluster(ingresses);
    bencher
        .counter(ItemsCount::new(objects.len()))
        .with_inputs(|| objects.clone())
        .bench_local_values(|objects| {
            let mut index = empty();
            index.reset_all(objects);
            index
        });
}

/// One endpoint turns ready or unready: from the event to the translation of the load balancer it touches.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 1_000)]
fn change_an_endpoint(bencher: Bencher<'_, '_>, ingresses: usize) {
    let settings = Settings::default();
    let mut index = empty();
    index.reset_all(cluster(ingresses));
    let index = RefCell::new(index);
    let next = RefCell::new(0);
    bencher
        .with_inputs(|| {
            let mut next = next.borrow_mut();
            *next += 1;
            // The same hundred Services at every size, or the caches of the processor would be what is measured.
            slice(*next % CHANGING, (*next / CHANGING) % 2 == 1)
        })
        .bench_local_values(|slice| {
            let mut index = index.borrow_mut();
            let touched = index.apply(slice);
            let synced = index.synced().expect("every kind was listed");
            touched
                .load_balancers
                .iter()
                .map(|id| translate(&synced.snapshot(id), &settings))
                .collect::<Vec<_>>()
        });
}

/// Every load balancer, one for each Ingress, from a warm index.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10, sample_size = 1)]
fn translate_everything(bencher: Bencher<'_, '_>, ingresses: usize) {
    let settings = Settings::default();
    let mut index = empty();
    index.reset_all(cluster(ingresses));
    let synced = index.synced().expect("every kind was listed");
    bencher.counter(ItemsCount::new(ingresses)).bench_local(|| {
        let ids = synced.ids();
        let translated = ids.iter().map(|id| translate(&synced.snapshot(id), &settings));
        translated
            .map(|translation| translation.balancer)
            .collect::<Vec<_>>()
    });
}

/// All Ingresses as one load balancer, as one process serves them.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10, sample_size = 1)]
fn translate_as_one(bencher: Bencher<'_, '_>, ingresses: usize) {
    let settings = Settings {
        merge: Merge::OneLoadBalancer,
        ..Settings::default()
    };
    let mut index = translate::index(&settings, SecretsMode::NotRead);
    index.reset_all(cluster(ingresses));
    let synced = index.synced().expect("every kind was listed");
    let ids = synced.ids();
    bencher.counter(ItemsCount::new(ingresses)).bench_local(|| {
        let translated = ids.iter().map(|id| translate(&synced.snapshot(id), &settings));
        translated
            .map(|translation| translation.balancer)
            .collect::<Vec<_>>()
    });
}

/// What a process serves of a folder, as `portcullis serve` makes it.
struct Served {
    followed: Followed,
    state: ServingState,
    /// All objects, as the files have them.
    objects: BTreeMap<ObjectKey, Object>,
    settings: Settings,
}

impl Served {
    fn of(ingresses: usize) -> Self {
        let settings = Settings::for_serving(ControllerName::default());
        let followed = Followed::of(cluster(ingresses), &settings);
        let state = state(&followed, None);
        let objects = cluster(ingresses).into_iter();
        Self {
            followed,
            state,
            objects: objects.map(|object| (object.key(), object)).collect(),
            settings,
        }
    }

    /// After one file with one object was written.
    fn follow(&mut self, object: Object) {
        self.objects.insert(object.key(), object.clone());
        let all = || self.objects.values().cloned().collect();
        let changes = BTreeMap::from([(object.key(), Some(object))]);
        self.followed.follow(changes, all, &self.settings);
        self.state = state(&self.followed, Some(&self.state));
    }
}

fn state(followed: &Followed, before: Option<&ServingState>) -> ServingState {
    let balancer = followed.balancer().expect("there are Ingresses").clone();
    let keys: BTreeMap<ObjectName, KeyPairPem> = BTreeMap::new();
    let built = ServingState::build(balancer, &keys, before, ServedPorts::default());
    built.expect("TLS is not asked for").0
}

/// An endpoint of what a process serves turns ready or unready: from the changed object to the state that workers are
/// given.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 100, sample_size = 1)]
fn serve_another_endpoint(bencher: Bencher<'_, '_>, ingresses: usize) {
    let mut served = Served::of(ingresses);
    let mut next = 0;
    bencher
        .with_inputs(|| {
            next += 1;
            slice(next % CHANGING, (next / CHANGING) % 2 == 1)
        })
        .bench_local_values(|slice| served.follow(slice));
}

/// The host of an Ingress changes.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10, sample_size = 1)]
fn serve_another_route(bencher: Bencher<'_, '_>, ingresses: usize) {
    let mut served = Served::of(ingresses);
    let mut next = 0;
    bencher
        .with_inputs(|| {
            next += 1;
            ingress_of(ingresses / 2, &format!("host-{next}.example.org"))
        })
        .bench_local_values(|ingress| served.follow(ingress));
}

/// The same where nothing is kept: all is indexed, translated and compared.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10, sample_size = 1)]
fn serve_anew(bencher: Bencher<'_, '_>, ingresses: usize) {
    let mut served = Served::of(ingresses);
    bencher
        .with_inputs(|| cluster(ingresses))
        .bench_local_values(|objects| {
            served.followed = Followed::of(objects, &served.settings);
            served.state = state(&served.followed, Some(&served.state));
        });
}

/// One of as many files as there are Ingresses is written: from that to the objects that changed.
#[divan::bench(args = [100, 1_000, 10_000], sample_count = 10, sample_size = 1)]
fn read_another_file(bencher: Bencher<'_, '_>, files: usize) {
    let dir = tempfile::tempdir().expect("there is room for files");
    let write = |i: usize, port: u16| {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{namespace: shop, name: service-{i}}}\nspec:\n  ports:\n  - {{name: http, port: 80, targetPort: {port}}}\n"
        );
        fs::write(dir.path().join(format!("{i}.yaml")), text).expect("there is room for files");
    };
    (0..files).for_each(|i| write(i, 8080));
    let mut folder = Folder::open(dir.path()).expect("the folder is there");
    folder.changes();
    let mut next = 8080;
    bencher
        .with_inputs(|| {
            next += 1;
            write(files / 2, next);
        })
        .bench_local_values(|()| {
            folder.refresh().expect("the folder is there");
            folder.changes()
        });
}
