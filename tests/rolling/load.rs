//! A load balancer's rules, the targets AWS knows of and pods that listen on this machine in; requests sent by them,
//! and what became of each, out.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use portcullis_aws::{Aws, Observed};
use portcullis_model::{Existing, Provider};
use portcullis_test_support::Moto;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::GRACE;
use crate::evaluator::{self, Asked, Reading};
use crate::world::until_async;

/// Clients that ask at the same time.
const CLIENTS: usize = 3;
/// A pod that answers later than this answers never.
const PATIENCE: Duration = Duration::from_secs(20);

/// A load balancer as AWS has it: rules that were read once, targets as they are at each request.
#[derive(Clone)]
pub(crate) struct Alb {
    resources: Vec<Value>,
    /// The only target group.
    pub(crate) group: Existing,
    moto: Arc<Moto>,
}

impl Alb {
    pub(crate) fn read(observed: &Observed, moto: Arc<Moto>) -> Self {
        let mut resources = Vec::new();
        let state = observed.load_balancer().expect("it was made");
        for (port, listener) in &state.listeners {
            let id = port.to_string();
            resources.push(json!({"kind": "Listener", "id": id, "spec": listener.spec}));
            for rule in &listener.rules {
                let id = format!("{port}:{}", rule.spec.priority);
                resources.push(json!({"kind": "ListenerRule", "id": id, "spec": rule.spec}));
            }
        }
        Self {
            resources,
            group: Aws::backends(observed).pop().expect("a rule forwards to it"),
            moto,
        }
    }

    /// Addresses of the targets that may have requests: registered, healthy and not draining; sorted.
    pub(crate) fn registered(&self) -> Vec<String> {
        let given = [("TargetGroupArn", self.group.handle.as_str())];
        let text = self.moto.call("elbv2", "DescribeTargetHealth", &given).text();
        let field = |member: &str, name: &str| {
            let (_, rest) = member.split_once(&format!("<{name}>"))?;
            Some(rest.split('<').next()?.to_owned())
        };
        let members = text.split("<Target>").skip(1);
        let mut healthy: Vec<String> = members
            .filter(|member| field(member, "State").as_deref() == Some("healthy"))
            .filter_map(|member| field(member, "Id"))
            .collect();
        healthy.sort();
        healthy
    }
}

/// A pod's program on this machine.
struct Pod {
    name: String,
    socket: SocketAddr,
    stop: Arc<AtomicBool>,
    /// Requests that were sent to it and are not answered yet.
    open: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

/// Every pod that ever ran, by its address in the cluster.
#[derive(Default)]
pub(crate) struct Fleet {
    pods: Mutex<BTreeMap<String, Pod>>,
    /// Held shared while a target is chosen, and alone while a pod ends: a load balancer decides in one instant.
    choosing: RwLock<()>,
}

impl Fleet {
    /// A pod begins to listen, and answers every request with its name.
    pub(crate) fn start(&self, name: &str, address: &str) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let socket = listener.local_addr().expect("it is bound");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, answer) = (stop.clone(), name.to_owned());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                // Who breaks off tells of it himself.
                let _ = stream.and_then(|stream| serve(stream, &answer));
            }
        });
        let pod = Pod {
            name: name.to_owned(),
            socket,
            stop,
            open: Arc::default(),
            thread: Some(thread),
        };
        self.pods().insert(address.to_owned(), pod);
    }

    /// From now on nothing listens there.
    fn end(&self, name: &str) {
        let mut pods = self.pods();
        let pod = pods
            .values_mut()
            .find(|pod| pod.name == name)
            .expect("it was started");
        pod.stop.store(true, Ordering::SeqCst);
        // The accept that this wakes is the last.
        let _ = TcpStream::connect(pod.socket);
        if let Some(thread) = pod.thread.take() {
            thread.join().expect("a pod does not panic");
        }
    }

    fn pods(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Pod>> {
        self.pods.lock().expect("nobody panics with it")
    }
}

fn serve(mut stream: TcpStream, answer: &str) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let length = answer.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{answer}"
    )
}

fn ask(socket: SocketAddr, host: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&socket, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.to_owned()),
        _ => Err(io::Error::other(format!("no answer: {answer:?}"))),
    }
}

/// What became of all requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// How many each pod answered.
    pub(crate) answered: BTreeMap<String, usize>,
    pub(crate) failures: Vec<String>,
}

/// Clients that ask without a pause.
pub(crate) struct Load {
    alb: Alb,
    fleet: Arc<Fleet>,
    told: Arc<Mutex<Told>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn begin(alb: Alb, fleet: Arc<Fleet>) -> Self {
        let (told, stop) = (Arc::<Mutex<Told>>::default(), Arc::<AtomicBool>::default());
        let client = |nth: usize| {
            let (alb, fleet, told, stop) = (alb.clone(), fleet.clone(), told.clone(), stop.clone());
            std::thread::spawn(move || {
                let rules = evaluator::Alb::read(&alb.resources).expect("AWS has rules that are right");
                for turn in nth.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let result = request(&rules, &alb, &fleet, turn);
                    let mut told = told.lock().expect("nobody panics with it");
                    match result {
                        Ok(pod) => *told.answered.entry(pod).or_default() += 1,
                        Err(why) => told.failures.push(why),
                    }
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        Self {
            alb,
            fleet,
            told,
            stop,
            clients,
        }
    }

    fn told(&self) -> Told {
        self.told.lock().expect("nobody panics with it").clone()
    }

    /// Waits until so many more were answered.
    pub(crate) async fn answered_more(&self, more: usize) {
        let count = || self.told().answered.values().sum::<usize>();
        let before = count();
        until_async("requests are answered", async || {
            (count() >= before + more).then_some(())
        })
        .await;
    }

    /// A pod that is told to end goes on until the load balancer sends it nothing any more, as one with a `preStop`
    /// sleep does; but not longer than its grace period.
    pub(crate) async fn let_go(&self, name: &'static str) {
        let (alb, fleet) = (self.alb.clone(), self.fleet.clone());
        let wait = move || {
            let (address, open) = {
                let pods = fleet.pods();
                let found = pods.iter().find(|(_, pod)| pod.name == name);
                let (address, pod) = found.expect("it was started");
                (address.clone(), pod.open.clone())
            };
            let deadline = Instant::now() + GRACE;
            loop {
                let alone = fleet.choosing.write().expect("nobody panics with it");
                let free = !alb.registered().contains(&address) && open.load(Ordering::SeqCst) == 0;
                if free || Instant::now() > deadline {
                    fleet.end(name);
                    return;
                }
                drop(alone);
                std::thread::yield_now();
            }
        };
        tokio::task::spawn_blocking(wait).await.expect("no panic");
    }

    /// Ends it; what became of every request.
    pub(crate) fn end(self) -> Told {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            client.join().expect("a client does not panic");
        }
        self.told.lock().expect("nobody panics with it").clone()
    }
}

/// One request from outside; the name of the pod that answered.
fn request(rules: &evaluator::Alb, alb: &Alb, fleet: &Fleet, turn: usize) -> Result<String, String> {
    let host = "web.example.com";
    let asked = Asked {
        port: 80,
        host: host.to_owned(),
        path: "/".to_owned(),
        query: String::new(),
        method: "GET".to_owned(),
        headers: Vec::new(),
        source: IpAddr::from([192, 0, 2, 1]),
    };
    let answered = rules.answer(&asked, Reading::ALL[0]).ok_or("nobody listens")?;
    let to = answered.actions[0].to_string();
    if !to.contains(&alb.group.handle) {
        return Err(format!("answered by {to}"));
    }
    let (address, socket, open) = {
        let _one_instant = fleet.choosing.read().expect("nobody panics with it");
        let targets = alb.registered();
        let address = targets
            .get(turn % targets.len().max(1))
            .ok_or("503: no target is registered")?;
        let pods = fleet.pods();
        let pod = pods
            .get(address)
            .ok_or(format!("sent to {address}, where nothing runs"))?;
        pod.open.fetch_add(1, Ordering::SeqCst);
        (address.clone(), pod.socket, pod.open.clone())
    };
    let answer = ask(socket, host).map_err(|error| format!("sent to {address}, which has gone: {error}"));
    open.fetch_sub(1, Ordering::SeqCst);
    answer
}
