//! Load balancers in, a listening proxy out.
//!
//! The routing half is pure and knows no socket: [`compile()`] turns a load balancer into a [`RouteTable`], and
//! [`RouteTable::lookup`] finds what answers a request, the same as `portcullis_model::resolve` would.
//!
//! The serving half puts the table, the backends with their targets, and the certificates into one
//! [`ServingState`] behind one pointer, and answers requests from it.
//!
//! # The life of a request
//!
//! ```text
//! listen      accept ── one socket, runtime and pool per worker; SO_REUSEPORT spreads connections
//! proxy_protocol  from listed peers: for whom they speak ── malformed: closed
//! connection  handshake (tls, certificate) ── no certificate: refused
//! framing     bytes that can be read in two ways ── 400, closed
//! connection  hyper's engine: HTTP/1.1, or HTTP/2 by ALPN or preface; or http1, our own for HTTP/1.1
//! http3       the same over QUIC, where it is built and asked for
//! exchange    the state of this moment, for all of the request
//! trust       what a trusted peer says about the client
//! trace       its request id and trace
//! head        whom it asks ── no one host: 400; CONNECT: 405
//! lookup      the first rule that takes it, else the listener's default ── nobody listens: 404
//! exchange    not admitted: 403; what cannot be done: 503
//! filters     who has had too many answers: 429
//! identity    who cannot show who they are: 401 ── they cannot be asked: 500, over plain HTTP 503
//! answer      redirect or fixed response, and done
//! balance     backend by cookie or weight ── all weights 0: 503
//! rewrite     path and host ── no valid URL: 500
//! fields      hop-by-hop fields away, X-Forwarded-* set
//! balance     target: of two drawn, the one with fewer requests ── none ready: 503
//! pools       a kept connection, else a new one ── next target; then 502, in time 504
//! interim     1xx before the answer: to clients that take them
//! forward     head out, bodies both ways, head in ── 502, 504; a stale kept connection: once more
//! body        pieces as they come; at the end the connection goes back to the pool
//! tunnel      after a 101: bytes both ways
//! websocket   over HTTP/2: asked for and answered as over HTTP/1.1, and translated at both ends
//! access_log  at the end of the answer: its line
//! ```
//!
//! What the proxy answers itself is one line of text, or a gRPC status where the client speaks gRPC.
//!
//! # Rules
//!
//! - All HTTP listeners of the model share one socket, all HTTPS listeners another. A request belongs to the listener
//!   whose port it names beside its host, else to the one with the lowest port.
//! - Paths are matched and passed on raw: `//`, dot segments and encoded slashes are characters like any other.
//! - What a rule or a listener asks for and the proxy cannot do (Cognito, a trust store of AWS) is a problem
//!   at compile time and 503 at exactly that rule or listener.
//! - What is asked of clients' certificates depends on the server name of the handshake. A request for a host under
//!   which another thing is asked gets 421; a rule that asks for more than was asked answers 503.
//! - So do the versions of TLS. A rule that asks for TLS 1.3 alone answers 421 over less, under whatever server name.
//! - Draining targets get new requests only where no target is ready.
//!
//! # Use
//!
//! ```no_run
//! # use std::collections::BTreeMap;
//! # use std::time::Duration;
//! # use portcullis_proxy::{Server, ServerConfig, ServingState};
//! # async fn run(balancer: portcullis_model::LoadBalancer, changed: portcullis_model::LoadBalancer)
//! #     -> Result<(), Box<dyn std::error::Error>> {
//! let key_pairs = BTreeMap::new();
//! let config = ServerConfig { http: Some("127.0.0.1:0".parse()?), ..ServerConfig::default() };
//! let server = Server::bind(&config)?;
//! let served = server.served_ports();
//! let (state, problems) = ServingState::build(balancer, &key_pairs, None, served.clone())?;
//! let handle = server.start(state)?;
//!
//! let (state, problems) = ServingState::build(changed, &key_pairs, Some(&handle.state()), served)?;
//! handle.swap(state);
//!
//! tokio::select! {
//!     failure = handle.failed() => return Err(failure.into()),
//!     _ = tokio::signal::ctrl_c() => {}
//! }
//! handle.drain(Duration::from_secs(30)).await?;
//! # Ok(())
//! # }
//! ```

pub mod compile;
mod index;
pub mod lookup;
mod paths;
mod show;
pub mod table;

mod authorities;
mod backends;
mod by_host;
mod certificate;
mod checks;
mod ciphers;
mod clients;
mod mutual;
mod serving;
mod settings;
mod tickets;
mod tls;
mod verified;
mod versions;

mod activity;
mod alarm;
mod connection;
mod ending;
mod framing;
mod gathered;
mod guarded;
mod handover;
mod http1;
#[cfg(feature = "http3")]
mod http3;
mod listen;
mod listening;
mod proxy_protocol;
mod resumed;
mod retired;
mod server;
mod tasks;
mod view;
mod worker;

mod answer;
mod exchange;
mod fields;
mod files;
mod filters;
mod head;
mod identity;
mod present;
mod rewrite;
mod spelling;
mod stalled;
mod sticky;
mod told;
mod trace;
mod trust;

mod access;
mod access_log;

mod affinity;
mod balance;
mod body;
mod budget;
mod counters;
mod forward;
mod forwarded;
mod interim;
mod load;
mod places;
mod pools;
mod target;
mod targets;
mod tunnel;
mod unanswered;
mod upgrades;
mod websocket;
mod zones;

pub use access::LogFormat;
pub use access_log::{AccessLog, Sink};
pub use certificate::{KeyPairPem, UnknownNames};
pub use compile::{ServedPorts, compile};
pub use counters::Totals;
pub use files::{Shares, raise_open_files};
pub use handover::{Predecessor, Sockets, Successor, Successors, take_over};
pub use identity::outside::Outbound;
pub use lookup::{Fields, Found, RequestHead};
pub use server::{BindError, Drained, Handle, Server, WorkerFailure};
pub use serving::{Material, ServingState, TlsUnavailable};
pub use settings::{Further, Http1Engine, Limits, ServerConfig, Settings, Timeouts, TrustedField};
pub use table::RouteTable;
pub use view::View;
