//! A folder and addresses in, a running proxy until a signal comes out.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use ipnet::IpNet;
use portcullis_model::{ObjectName, Port};
use portcullis_proxy::{
    AccessLog, Http1Engine, Limits, LogFormat, Outbound, Predecessor, ServedPorts, Server, ServerConfig,
    Settings, Shares, Sink, Successors, Timeouts, TrustedField, UnknownNames, View, raise_open_files,
    take_over,
};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::{info, warn};

use super::Ended;
use super::ending::{Hangup, Leaving, Signals, follow, leave};
use super::folder::FolderArgs;
use super::further::{self, FurtherArgs};
use super::served::{self, Served};
use super::terminal;
use crate::cluster::folder::Watch;
use crate::report::admin::{self, Answers};
use crate::report::proxy;
use crate::translate;

/// How often one that finds nobody at its path, and somebody at its ports, looks again.
const TRIES: usize = 100;
/// Pause before it does, and before an address that somebody has is tried again.
const PAUSE: Duration = Duration::from_millis(50);

const EXAMPLE: &str = "\
All HTTP listeners are served at --http, all HTTPS listeners at --https, but those of --also-http and --also-https, each of which is served at its own \
address alone. Redirects name these ports, or those of --advertised-http-port, --advertised-https-port and --advertised-port. The folder is \
followed: a change is served from the next request on; a broken file keeps its last good content and is reported, \
and so does a TLS Secret whose certificate and key cannot be used. At the start there is none: where a file cannot be read it ends with exit \
code 1 and says which, unless --start-anyway is given; an Ingress that Kubernetes would refuse answers 503 at its hosts and paths. \
Endpoints and identity providers on loopback are allowed, because files and machine are the user's own. SIGTERM, SIGQUIT and SIGINT end it once \
requests under way have finished; SIGHUP, SIGUSR1 and SIGUSR2 are logged and change nothing: a file is read when it changes, and a log \
that was moved is opened by the next process.

Example:
  portcullis serve --manifests ./manifests --http 0.0.0.0:8080 --https 0.0.0.0:8443 --workers 2";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Address for all HTTP listeners but those of --also-http
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Address for all HTTPS listeners but those of --also-https
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8443")]
    https: SocketAddr,
    #[command(flatten)]
    further: FurtherArgs,
    /// Threads that serve [default: the number of processors]
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroUsize>)]
    workers: Option<NonZeroUsize>,
    /// Address of /livez, /readyz, /metrics and /table, which shows what is served; for nobody else to reach
    #[arg(long, value_name = "ADDR:PORT")]
    admin: Option<SocketAddr>,
    /// TLS Secret whose certificate clients get that send no server name, or one that no certificate is for
    /// [default: the first certificate of the HTTPS listener with the lowest port]
    #[arg(long, value_name = "NAMESPACE/SECRET", value_parser = super::object_name, conflicts_with = "refuse_unknown_names")]
    default_certificate: Option<ObjectName>,
    /// Such clients get no certificate: their handshake ends with the alert unrecognized_name
    #[arg(long)]
    refuse_unknown_names: bool,
    /// Unix socket by which a newer process takes this one's place: started with the same one, it gets the listening
    /// sockets, and this one ends when what is under way has finished; no connection is refused meanwhile
    #[arg(long, value_name = "SOCKET")]
    hand_over: Option<PathBuf>,
    /// Start although nothing is known of a file, and take another process's place although files or objects are broken:
    /// what such a file says, guards included, is not served, and such an Ingress answers 503
    #[arg(long)]
    start_anyway: bool,
    /// How long connections are still taken after SIGTERM or SIGQUIT, while /readyz fails, in seconds: for those who learn late that
    /// this process ends. In a pod, some ten; a successor and SIGINT do not wait for it
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=3_600))]
    drain_delay: u64,
    /// Longest time for requests under way once no more connections are taken, in seconds, a day at most
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(..=86_400))]
    drain_seconds: u64,
    /// Address ranges of load balancers in front: what these say about the client (X-Forwarded-For and the like) is taken
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    trusted_proxies: Vec<IpNet>,
    /// The fields in which those say it; the others are overwritten as if from anybody else
    #[arg(long, value_enum, value_name = "FIELDS", default_value_t = TrustedFieldName::XForwarded)]
    trusted_proxies_write: TrustedFieldName,
    /// Those load balancers also say who users are, as an ALB does that logs them in: X-Amzn-Oidc-*, X-Amzn-Mtls-*,
    /// X-Forwarded-User and the like are passed on [default: they are removed, for most pass on what clients write there]
    #[arg(long, requires = "trusted_proxies")]
    trusted_proxies_identify: bool,
    /// Tell backends who asks in Forwarded (RFC 7239), beside X-Forwarded-For and the like
    #[arg(long)]
    write_forwarded: bool,
    /// Port at which clients reach --http, where a Service or another load balancer maps it: redirects name it
    /// [default: that of --http]
    #[arg(long, value_name = "PORT", value_parser = port)]
    advertised_http_port: Option<Port>,
    /// Port at which clients reach --https [default: that of --https]
    #[arg(long, value_name = "PORT", value_parser = port)]
    advertised_https_port: Option<Port>,
    /// Age at which a client's connection is ended, after what is under way on it, in seconds; up to a tenth less
    /// [default: no age]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=31_536_000))]
    max_connection_age: Option<u64>,
    /// Connections from clients that may be open, and less than half as many as files; more wait until one ends
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroUsize>, default_value_t = NonZeroUsize::new(Limits::default().connections).unwrap_or(NonZeroUsize::MIN))]
    max_connections: NonZeroUsize,
    /// Requests that may be under way to one target, tunnels apart; more are answered 503
    #[arg(long, value_name = "N", value_parser = at_least_one::<NonZeroU32>, default_value_t = NonZeroU32::new(Limits::default().under_way).unwrap_or(NonZeroU32::MIN))]
    max_requests_per_target: NonZeroU32,
    /// Longest body of a request, in bytes; a longer one is answered 413 [default: no limit]
    #[arg(long, value_name = "BYTES")]
    max_request_body: Option<u64>,
    /// Longest body of an answer of a backend, in bytes; one that says it is longer is answered 502 in its place, any other is
    /// cut off there [default: no limit]
    #[arg(long, value_name = "BYTES")]
    max_response_body: Option<u64>,
    /// Address ranges of load balancers of layer 4 in front, whose connections begin with a head of the PROXY protocol,
    /// version 1 or 2, that names the client; one that begins otherwise is closed
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    proxy_protocol_from: Vec<IpNet>,
    /// Zone in which this process runs, as endpoints name theirs: targets there come before others, as far as there are
    /// enough of them [default: all are alike]
    #[arg(long, value_name = "ZONE", env = "PORTCULLIS_ZONE", hide_env_values = true)]
    zone: Option<Arc<str>>,
    /// File that gets a line for each request, when its answer has ended; - for standard output
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// How the lines are written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = LogFormatName::Json)]
    access_log_format: LogFormatName,
    /// Log one of so many requests; those answered 500 or more are logged all
    #[arg(long, value_name = "N", default_value_t = NonZeroU32::MIN, value_parser = at_least_one::<NonZeroU32>)]
    access_log_one_in: NonZeroU32,
    /// Who reads and writes HTTP/1.1, with clients and with backends
    #[arg(long, value_enum, value_name = "ENGINE", default_value_t = Http1EngineName::Own)]
    http1_engine: Http1EngineName,
}

pub(super) fn port(text: &str) -> Result<Port, String> {
    let port = text.parse().ok().and_then(|number| Port::new(number).ok());
    port.ok_or_else(|| "expected a port, 1 to 65535".to_owned())
}

fn at_least_one<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse()
        .map_err(|_| "expected a number, 1 or more".to_owned())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TrustedFieldName {
    /// X-Forwarded-For and X-Forwarded-Proto
    XForwarded,
    /// Forwarded (RFC 7239)
    Forwarded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Http1EngineName {
    /// The library hyper, behind a guard
    Hyper,
    /// Portcullis' own, which costs less
    Own,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormatName {
    /// A JSON object a line
    Json,
    /// The Common Log Format, with referer and user agent
    Common,
}

impl ServeArgs {
    pub(super) fn check(&self) -> Result<(), clap::Error> {
        self.further.check(self.http, self.https)
    }

    fn settings(&self, workers: NonZeroUsize) -> Settings {
        let defaults = Settings::default();
        let shares = self.shares(workers);
        Settings {
            http1_engine: match self.http1_engine {
                Http1EngineName::Hyper => Http1Engine::Hyper,
                Http1EngineName::Own => Http1Engine::Own,
            },
            trusted_field: match self.trusted_proxies_write {
                TrustedFieldName::XForwarded => TrustedField::XForwarded,
                TrustedFieldName::Forwarded => TrustedField::Forwarded,
            },
            trusted_identify: self.trusted_proxies_identify,
            tells_forwarded: self.write_forwarded,
            timeouts: Timeouts {
                age: self.max_connection_age.map(Duration::from_secs),
                ..defaults.timeouts
            },
            limits: Limits {
                // The kernel spreads connections evenly over the workers.
                connections: shares.clients.div_ceil(workers.get()),
                target_files: shares.targets,
                under_way: self.max_requests_per_target.get(),
                body_bytes: self.max_request_body,
                answer_bytes: self.max_response_body,
                ..defaults.limits
            },
        }
    }

    /// Who may have how many files.
    fn shares(&self, workers: NonZeroUsize) -> Shares {
        let wanted = self.max_connections.get();
        let files = raise_open_files();
        let shares = Shares::of(files, wanted, workers.get(), self.further.count());
        if shares.clients < wanted {
            warn!(
                files,
                connections = shares.clients,
                to_targets = shares.targets,
                "fewer connections than --max-connections may be open: each takes two of the files that the process may open, and some are kept for the process itself"
            );
        }
        shares
    }

    fn unknown_names(&self) -> UnknownNames {
        match &self.default_certificate {
            Some(secret) => UnknownNames::Stored(secret.clone()),
            None if self.refuse_unknown_names => UnknownNames::Refused,
            None => UnknownNames::First,
        }
    }

    fn log(&self) -> anyhow::Result<Option<AccessLog>> {
        let Some(path) = &self.access_log else {
            return Ok(None);
        };
        let sink = if path == Path::new("-") {
            Sink::Stdout
        } else {
            let opened = File::options().append(true).create(true).open(path);
            let opened =
                opened.with_context(|| format!("failed to open the access log {}", path.display()))?;
            Sink::File(Arc::new(opened))
        };
        Ok(Some(AccessLog {
            sink,
            format: match self.access_log_format {
                LogFormatName::Json => LogFormat::Json,
                LogFormatName::Common => LogFormat::Common,
            },
            one_in: self.access_log_one_in,
        }))
    }
}

pub(super) fn serve(args: &ServeArgs) -> anyhow::Result<Ended> {
    let workers = args.workers.unwrap_or_else(processors);
    let config = ServerConfig {
        http: Some(args.http),
        https: Some(args.https),
        further: args.further.sockets(args.http, args.https),
        advertised: ServedPorts {
            http: args.advertised_http_port,
            https: args.advertised_https_port,
            further: args.further.advertised(),
        },
        workers,
        trusted: args.trusted_proxies.clone(),
        proxy_protocol: args.proxy_protocol_from.clone(),
        zone: args.zone.clone(),
        access_log: args.log()?,
        settings: args.settings(workers),
        outbound: Outbound {
            allowed: vec![
                IpNet::new_assert(Ipv4Addr::LOCALHOST.into(), 8),
                IpNet::new_assert(Ipv6Addr::LOCALHOST.into(), 128),
            ],
            ..Outbound::default()
        },
    };
    let settings = translate::Settings {
        further: further::wires(&config.further),
        ..args.folder.class.settings(translate::Settings::for_serving)
    };
    let runtime = runtime()?;
    runtime.block_on(async {
        let mut signals = Signals::listen(Hangup::Told)?;
        let watch = Watch::new(&args.folder.manifests);
        let folder = served::read(&args.folder.manifests)?;
        if !args.start_anyway {
            served::all_is_known(&folder)?;
        }
        let (server, predecessor) = server(&config, args.hand_over.as_deref()).await?;
        // Where it fails, the one before has given away nothing.
        if predecessor.is_some() && !args.start_anyway {
            served::nothing_is_worse(&folder)?;
        }
        let shared = args.hand_over.as_ref().map(|_| server.sockets()).transpose();
        let shared = shared.context("failed to share the listening sockets")?;
        let served = Served::start(folder, settings, server, args.unknown_names())?;
        let successors = args.hand_over.as_ref().zip(shared).map(|(path, sockets)| {
            let successors = Successors::listen(path, sockets);
            successors.with_context(|| format!("failed to wait for a successor at {}", path.display()))
        });
        let mut successors = successors.transpose()?;
        let grace = Duration::from_secs(args.drain_seconds);
        let takes_over = predecessor.is_some();
        let mut open = || successors.as_mut().map_or(Ok(()), Successors::open);
        match predecessor {
            Some(predecessor) => {
                let mut opened = Ok(());
                if let Err(error) = predecessor.release(|| opened = open()) {
                    // What has come here meanwhile is finished; all else comes to those that stay.
                    leave(served.into_handle(), grace, &mut signals, false).await?;
                    return Err(error).context("failed to take the place of the process before");
                }
                info!("took the place of the process before");
                if let Err(error) = opened {
                    // The process before has let go: nobody else would serve.
                    warn!(error = &error as &dyn std::error::Error, "failed to wait for a successor");
                }
            }
            None => open().context("failed to wait for a successor")?,
        }
        let leaving = Leaving {
            delay: Duration::from_secs(args.drain_delay),
            grace,
            ..Leaving::default()
        };
        // Answers until the end, also while it drains.
        let mut watching = JoinSet::new();
        let mut watched = None;
        if let Some(address) = args.admin {
            let answers = Arc::new(answers(served.handle().view(), leaving.has_begun.clone()));
            let bound = admin::bind(address).await;
            match bound.and_then(|listener| Ok((listener.local_addr()?, listener))) {
                Ok((at, listener)) => {
                    watched = Some(at);
                    watching.spawn(admin::serve(listener, answers));
                }
                // The process before has let go: nobody else would serve. This address it may have until it ends.
                Err(error) if takes_over => {
                    warn!(%address, error = &error as &dyn std::error::Error, "failed to listen for whoever watches; it is tried again");
                    watching.spawn(async move {
                        let listener = loop {
                            sleep(PAUSE).await;
                            if let Ok(listener) = admin::bind(address).await {
                                break listener;
                            }
                        };
                        info!(%address, "listening for whoever watches");
                        admin::serve(listener, answers).await
                    });
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("failed to listen on {address}"));
                }
            }
        }
        info!("endpoints and identity providers on loopback are allowed");
        say_ready(&served, watched);
        follow(served, watch, signals, leaving, watching, successors).await
    })
}

/// With the sockets of the process whose place this one takes, if there is one; else with its own.
async fn server(config: &ServerConfig, path: Option<&Path>) -> anyhow::Result<(Server, Option<Predecessor>)> {
    let Some(path) = path else {
        return Ok((Server::bind(config)?, None));
    };
    let mut left = TRIES;
    loop {
        let taken = take_over(path);
        let taken = taken.with_context(|| format!("failed to take over at {}", path.display()))?;
        if let Some((sockets, predecessor)) = taken {
            return Ok((Server::bind_to(config, sockets)?, Some(predecessor)));
        }
        match Server::bind(config) {
            Ok(server) => return Ok((server, None)),
            // One that was there may just be ending, and another that has its sockets may come to be found there.
            Err(error) if error.error.kind() == ErrorKind::AddrInUse && left > 0 && path.exists() => {
                left -= 1;
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn answers(view: View, is_leaving: Arc<AtomicBool>) -> Answers {
    let (ready, shown) = (view.clone(), view.clone());
    Answers {
        // A worker that died ends the process.
        stuck: Box::new(Vec::new),
        waiting: Box::new(move || {
            (ready.is_draining() || is_leaving.load(Ordering::Relaxed))
                .then(|| "draining".to_owned())
                .into_iter()
                .collect()
        }),
        metrics: Box::new(move || proxy::metrics(&view)),
        pages: BTreeMap::from([(
            "/table",
            Box::new(move || terminal::lines(&shown.to_string())) as admin::Page,
        )]),
    }
}

/// The runtime of a command's own thread; the proxy's workers have theirs.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("failed to start the runtime")
}

pub(super) fn processors() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Nobody may be left who reads it; that is no reason not to serve.
fn say_ready(served: &Served, admin: Option<SocketAddr>) {
    let handle = served.handle();
    let address = |address: Option<SocketAddr>| address.map_or_else(|| "-".to_owned(), |a| a.to_string());
    let _ = writeln!(
        std::io::stdout(),
        "ready: http {} https {} ingresses {} rules {} problems {}{}{}",
        address(handle.http_addr()),
        address(handle.https_addr()),
        served.ingresses,
        served.rules,
        served.problems().len(),
        admin.map_or_else(String::new, |admin| format!(" admin {admin}")),
        further::shown(handle.further()),
    );
}
