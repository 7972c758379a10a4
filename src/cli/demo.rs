//! Nothing in; an example served, asked and planned out: the main job, on one machine.

mod ask;
mod backends;
mod checks;
mod example;

use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use portcullis_proxy::{Server, ServerConfig, UnknownNames};
use tempfile::TempDir;
use tokio::task::JoinSet;

use self::ask::Client;
use self::example::BACKENDS;
use super::served::{self, Served};
use super::terminal::line;
use super::{Ended, ending, plan, serve};
use crate::cluster::folder::Watch;
use crate::translate::{ControllerName, Settings};

const EXAMPLE: &str = "\
Writes a folder of manifests, starts small backends on loopback, serves the folder, asks each route with real \
requests, and prints who answered and what AWS would be asked to make of the same files. Exits with 1 if any answer \
was wrong.

Example:
  portcullis demo --once";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct DemoArgs {
    /// End after the requests instead of staying up
    #[arg(long)]
    once: bool,
    /// Folder for the manifests; its files of the same names are overwritten [default: a new one among temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Address for HTTP [default: port 8080 of loopback, or a free one]
    #[arg(long, value_name = "ADDR:PORT")]
    http: Option<SocketAddr>,
    /// Address for HTTPS [default: port 8443 of loopback, or a free one]
    #[arg(long, value_name = "ADDR:PORT")]
    https: Option<SocketAddr>,
}

/// Time for requests under way at the end.
const GRACE: Duration = Duration::from_secs(5);

pub(super) fn demo(args: &DemoArgs) -> anyhow::Result<Ended> {
    serve::runtime()?.block_on(run(args))
}

async fn run(args: &DemoArgs) -> anyhow::Result<Ended> {
    let signals = ending::Signals::listen(ending::Hangup::Ends)?;
    let mut tasks = JoinSet::new();
    let mut ports = [0; BACKENDS.len()];
    for (backend, port) in BACKENDS.iter().zip(&mut ports) {
        *port = backends::start(backend.name, &mut tasks).await?;
    }
    let certificate = example::certificate()?;
    let folder = Folder::make(args.dir.as_deref())?;
    for (name, content) in example::files(&ports, &certificate) {
        let path = folder.path.join(name);
        write(&path, &content).with_context(|| format!("failed to write {}", path.display()))?;
    }

    let config = ServerConfig {
        http: Some(args.http.unwrap_or_else(|| usual_or_free(8080))),
        https: Some(args.https.unwrap_or_else(|| usual_or_free(8443))),
        workers: serve::processors(),
        ..ServerConfig::default()
    };
    let watch = Watch::new(&folder.path);
    let settings = Settings::for_serving(ControllerName::default());
    let served = Served::start(
        served::read(&folder.path)?,
        settings,
        Server::bind(&config)?,
        UnknownNames::First,
    )?;
    let (Some(http), Some(https)) = (served.handle().http_addr(), served.handle().https_addr()) else {
        anyhow::bail!("the proxy has no address"); // both were asked for above
    };
    let client = Client::new(http, https, &certificate.certificate_pem)?;
    say(&format!("Manifests: {}\n", folder.path.display()));
    let outcome = checks::run(&client, http, https).await;
    say(&outcome.table);
    say(&problems(&served));
    say("What AWS would be asked to make of the same files (targets on loopback stand for pods):\n");
    say(&plan::of_example(&folder.path)?);

    if !outcome.right {
        ending::drain(served.into_handle(), GRACE).await?;
        return Ok(Ended::Failed);
    }
    if args.once {
        return ending::drain(served.into_handle(), GRACE).await;
    }
    let leaving = ending::Leaving {
        grace: GRACE,
        ..ending::Leaving::default()
    };
    say(&format!(
        "Still serving. Edit the manifests and ask again; Ctrl-C ends it:\n  curl http://shop.localhost:{}/cart\n  curl -k https://shop.localhost:{}/\n",
        http.port(),
        https.port()
    ));
    ending::follow(served, watch, signals, leaving, JoinSet::new(), None).await
}

fn problems(served: &Served) -> String {
    let mut text = String::from("Problems found, each told at its field; everything else is served:\n");
    for problem in served.problems() {
        line(&mut text, format_args!("  {problem}"));
    }
    text
}

/// A folder for the manifests.
struct Folder {
    path: PathBuf,
    /// Removed at the end, unless a folder was asked for.
    _ours: Option<TempDir>,
}

impl Folder {
    /// One of our own has a name that nobody can foretell, and is open to nobody else: others could put links in it.
    fn make(asked: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = asked else {
            let made = tempfile::Builder::new().prefix("portcullis-demo-").tempdir();
            let made = made.context("failed to make a folder among temporary files")?;
            return Ok(Self {
                path: made.path().to_owned(),
                _ours: Some(made),
            });
        };
        fs::create_dir_all(path).with_context(|| format!("failed to make the folder {}", path.display()))?;
        Ok(Self {
            path: path.to_owned(),
            _ours: None,
        })
    }
}

/// Writes a file that its owner alone may read: one of them holds a key.
fn write(path: &Path, content: &str) -> io::Result<()> {
    let mut options = fs::File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(content.as_bytes())
}

/// The usual port of loopback, or port 0 where somebody has it: then the system chooses.
fn usual_or_free(port: u16) -> SocketAddr {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match std::net::TcpListener::bind(usual) {
        Ok(_) => usual,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

/// Prints for a person; a closed pipe is no failure.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
