//! Clients of HTTP/3 whose address is not proved in, who of them is asked to prove it out.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use quinn::Connecting;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::balancer::{all_to, backend};
use crate::client::{soon, until};
use crate::echo::Echo;
use crate::quic::{Client, HOST, endpoint, serve};

/// Handshakes under way on a socket from which on clients are asked.
const UNPROVEN: usize = 64;

/// Stands between a client and the proxy, and sees what they say.
struct Relay {
    address: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    /// The clients that were asked to prove their address, by their ids: one that comes again before it has heard is asked again.
    asked: Mutex<BTreeSet<Vec<u8>>>,
    /// Whether nothing of the proxy reaches the client.
    holds_back: AtomicBool,
}

impl Relay {
    async fn to(proxy: SocketAddr) -> Self {
        let here = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let there = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        there.connect(proxy).await.unwrap();
        let (address, seen) = (here.local_addr().unwrap(), Arc::new(Seen::default()));
        let own = seen.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut client = None;
            let (mut asked, mut answered) = ([0; 2048], [0; 2048]);
            loop {
                tokio::select! {
                    come = here.recv_from(&mut asked) => {
                        let (count, from) = come.unwrap();
                        client = Some(from);
                        there.send(&asked[..count]).await.unwrap();
                    }
                    come = there.recv(&mut answered) => {
                        let count = come.unwrap();
                        // A long header of the type Retry, for whom its length and its bytes say. Source: RFC 9000 §17.2.5.
                        if answered[0] >> 4 == 0xf {
                            let id = answered[6..][..answered[5].into()].to_vec();
                            own.asked.lock().unwrap().insert(id);
                        }
                        if let Some(client) = client.filter(|_| !own.holds_back.load(Ordering::SeqCst)) {
                            here.send_to(&answered[..count], client).await.unwrap();
                        }
                    }
                }
            }
        });
        Self {
            address,
            seen,
            _tasks: tasks,
        }
    }

    fn retries(&self) -> usize {
        self.seen.asked.lock().unwrap().len()
    }
}

#[tokio::test]
async fn where_many_handshakes_are_under_way_clients_prove_their_address_first() {
    let echo = Echo::http1("one").await;
    let served = serve(all_to(backend("one", &[echo.address])), 1);
    let open = || served.proxy.handle.totals().connections_open;
    let watched = Relay::to(served.proxy.https).await;
    let asks = async || {
        let mut client = Client::to(watched.address, HOST, &served.trusted).await.unwrap();
        assert_eq!(client.get("/").await.status(), 200);
    };
    asks().await;
    assert_eq!(watched.retries(), 0);
    until("its end", || open() == 0).await;

    let silent = Relay::to(served.proxy.https).await;
    silent.seen.holds_back.store(true, Ordering::SeqCst);
    let endpoint = endpoint(&served.trusted, None);
    let connect = || endpoint.connect(silent.address, HOST).unwrap();
    let begun: Vec<Connecting> = (0..UNPROVEN).map(|_| connect()).collect();
    until("handshakes under way", || open() == UNPROVEN as u64).await;
    // None of those was asked, and whoever comes now is, and gets through.
    assert_eq!(silent.retries(), 0);
    asks().await;
    assert_eq!(watched.retries(), 1);
    // One that does not answer holds nothing: it is asked again as often as it comes again.
    let spoofed = connect();
    until("a Retry", || silent.retries() > 0).await;
    assert!(open() <= UNPROVEN as u64 + 1);
    drop(spoofed);

    // Those that were slow get through, too; then nobody is asked.
    silent.seen.holds_back.store(false, Ordering::SeqCst);
    for connecting in begun {
        soon("the end of a handshake", connecting).await.unwrap();
    }
    asks().await;
    assert_eq!(watched.retries(), 1);
}
