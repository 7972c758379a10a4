//! Flags in, a controller of this cluster out, until it is told to stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::{ArgAction, Args, ValueEnum};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use portcullis_aws::Aws;
use portcullis_model::{ObjectName, Provider as _, Semantics};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::Ended;
use super::adopt::INCUMBENT_LEASE;
use super::aws::AwsArgs;
use super::folder::ClassArgs;
use super::object_name;
use crate::controller::{self, Leadership, Serve, Setup};
use crate::reconcile::brake::Brake;
use crate::reconcile::lease::rival::Contested;
use crate::reconcile::queue::Pace;
use crate::reconcile::records::Place;
use crate::reconcile::records::scope::Scope;
use crate::report::admin;
use crate::report::metrics::CallCount;
use crate::translate::Settings;

const EXAMPLE: &str = "\
Takes its rights from the pod it runs in, or from a kubeconfig; those on AWS as the SDK finds them. The definitions in \
crds/ must be installed; until then /readyz says so. SIGTERM lets passes under way end and gives the lease back.

Example:
  portcullis run --provider aws --cluster-name demo --aws-vpc-id vpc-0123456789abcdef0";

/// Where the definition of our own Lease lies outside a cluster.
const DEFAULT_NAMESPACE: &str = "default";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct RunArgs {
    /// Who makes the load balancers
    #[arg(long, value_enum, value_name = "PROVIDER")]
    provider: ProviderName,
    #[command(flatten)]
    aws: AwsArgs,
    #[command(flatten)]
    class: ClassArgs,
    /// File that says where the cluster is [default: $KUBECONFIG, ~/.kube/config, or the pod's own]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The only namespace whose Ingresses, Services and pods are read [default: all]
    #[arg(long, value_name = "NAMESPACE")]
    watch_namespace: Option<String>,
    /// Address of /livez, /readyz and /metrics
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:8080")]
    admin: SocketAddr,
    /// Whether only who holds the lease changes anything; off only where there is one replica for sure
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    enable_leader_election: bool,
    /// Name of the lease
    #[arg(long, value_name = "NAME", default_value = "portcullis-leader")]
    leader_election_id: String,
    /// Namespace of the lease [default: the pod's]
    #[arg(long, value_name = "NAMESPACE")]
    leader_election_namespace: Option<String>,
    /// Lease of the AWS Load Balancer Controller: while it is renewed, nothing is changed in its place, with
    /// --controller-name ingress.k8s.aws/alb, and with any other name no TargetGroupBinding is served
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = object_name, default_value = INCUMBENT_LEASE)]
    incumbent_lease: ObjectName,
    /// Load balancers that are worked on at once
    #[arg(long, value_name = "N", default_value_t = Pace::default().concurrency, value_parser = at_least_one)]
    ingress_max_concurrent_reconciles: usize,
    /// Time between two looks for what was changed on AWS by others, such as 10h, 90m or 1h30m
    #[arg(long, value_name = "TIME", default_value = "10h", value_parser = duration)]
    sync_period: Duration,
    /// Share of all load balancers, or of the rules of one, in percent: where more than that, and more than 5, would be
    /// deleted at once, a person must confirm it. 100: nobody need
    #[arg(long, value_name = "PERCENT", default_value_t = Brake::default().share, value_parser = clap::value_parser!(u8).range(..=100))]
    most_deleted_at_once: u8,
    /// Whether TargetGroupBindings that users wrote are served: no other controller may, and it is waited for [default: true with the AWS Load
    /// Balancer Controller's name]
    #[arg(long, value_name = "BOOL", action = ArgAction::Set)]
    serve_target_group_bindings: Option<bool>,
    /// Roles that TargetGroupBindings may name in iamRoleArnToAssume: target groups of other accounts are reached with them
    #[arg(long, value_name = "ARN", value_delimiter = ',')]
    target_group_binding_roles: Vec<String>,
    /// Time between two looks at the health of targets that pods wait for with a readiness gate
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration)]
    targetgroupbinding_requeue_duration: Duration,
    /// Time between two readings of subnets, certificates and what else of the account load balancers use
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = duration)]
    account_interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProviderName {
    Aws,
}

/// Runs until SIGTERM or SIGINT.
pub(super) fn run(args: &RunArgs) -> anyhow::Result<Ended> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime
        .context("failed to start the runtime")?
        .block_on(serve(args))
}

async fn serve(args: &RunArgs) -> anyhow::Result<Ended> {
    let ProviderName::Aws = args.provider;
    let config = cluster(args.kubeconfig.as_deref()).await?;
    let client = Client::try_from(config.clone()).context("failed to make a client of the cluster")?;
    let of_provider = portcullis_aws::Settings {
        roles: args.target_group_binding_roles.iter().cloned().collect(),
        ..args.aws.settings()
    };
    let provider = Aws::connect(of_provider)
        .await
        .context("failed to make a client of AWS")?;
    let admin = admin::bind(args.admin)
        .await
        .with_context(|| format!("failed to listen on {}", args.admin))?;
    let listens_on = admin.local_addr().context("failed to learn the admin address")?;
    let mut settings = args.class.settings(Settings::new);
    settings.provider = Some(Aws::NAME);
    args.aws.assume(&mut settings);
    let semantics = settings.controller.semantics();
    let scope = Scope::of(&settings, args.watch_namespace.clone());
    let bindings = match (args.serve_target_group_bindings, semantics) {
        (Some(true), _) | (None, Semantics::AwsLoadBalancerController) => Serve::Yes,
        (Some(false), _) | (None, Semantics::Kubernetes) => Serve::No,
    };
    let contested = match (settings.controller.is_incumbents(), bindings) {
        (true, _) => Some(Contested::Everything),
        (false, Serve::Yes) => Some(Contested::TargetGroupBindings),
        (false, Serve::No) => None,
    };
    let setup = Setup {
        namespace: args.watch_namespace.clone(),
        settings,
        place: Place {
            provider: Aws::NAME,
            cluster_name: args.aws.cluster_name.clone(),
            region: Some(provider.region().to_owned()),
            scope: Some(scope),
        },
        provider,
        calls,
        pace: Pace {
            concurrency: args.ingress_max_concurrent_reconciles,
            ..Pace::default()
        },
        account_interval: args.account_interval,
        sync_period: args.sync_period,
        brake: Brake {
            share: args.most_deleted_at_once,
        },
        bindings,
        health_interval: args.targetgroupbinding_requeue_duration,
        leadership: leadership(args, config)?,
        rival: contested.map(|contested| (args.incumbent_lease.clone(), contested)),
        identity: identity(),
        admin: Some(admin),
    };
    info!(cluster = args.aws.cluster_name, admin = %listens_on, "running");
    let stop = told_to_stop()?;
    controller::run(client, setup, stop)
        .await
        .context("failed to go on")?;
    Ok(Ended::Done)
}

fn calls(provider: &Aws) -> Vec<CallCount> {
    let counts = provider.calls().read().into_iter();
    counts
        .map(|counted| CallCount {
            call: counted.call,
            outcome: counted.outcome.as_str(),
            count: counted.count,
        })
        .collect()
}

pub(super) async fn cluster(kubeconfig: Option<&Path>) -> anyhow::Result<Config> {
    match kubeconfig {
        None => Config::infer().await.context("failed to find the cluster"),
        Some(path) => {
            let read = || format!("failed to read {}", path.display());
            let kubeconfig = Kubeconfig::read_from(path).with_context(read)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .with_context(read)
        }
    }
}

fn leadership(args: &RunArgs, mut config: Config) -> anyhow::Result<Leadership> {
    if !args.enable_leader_election {
        return Ok(Leadership::Alone);
    }
    let own = match config.default_namespace.as_str() {
        "" => DEFAULT_NAMESPACE.to_owned(),
        own => own.to_owned(),
    };
    // A renewal that is tried again for minutes is worse than one that failed.
    config.default_retry = false;
    Ok(Leadership::Lease {
        client: Client::try_from(config).context("failed to make a client of the cluster")?,
        namespace: args.leader_election_namespace.clone().unwrap_or(own),
        name: args.leader_election_id.clone(),
    })
}

/// Host, process and start: no other process that ever asks for the lease has all three.
#[expect(
    clippy::disallowed_methods,
    reason = "the start of the process is part of its name"
)]
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let start = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let start = start.map_or(0, |since| since.as_nanos());
    // Events take 128 characters.
    let host: String = host.trim().chars().take(80).collect();
    format!("{host}_{}_{start:x}", std::process::id())
}

/// Ready at the first SIGTERM or SIGINT. Listens at once: none is missed while the controller starts.
fn told_to_stop() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to listen for SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("{text:?} is not a number from 1")),
        Ok(number) => Ok(number),
    }
}

/// Reads a time as Go writes it, in whole hours, minutes and seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a time such as 10h, 90m or 1h30m");
    let mut seconds: u64 = 0;
    let mut digits = String::new();
    for character in text.chars() {
        let unit = match character {
            '0'..='9' => {
                digits.push(character);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        let more = number.checked_mul(unit).ok_or_else(wrong)?;
        seconds = seconds.checked_add(more).ok_or_else(wrong)?;
        digits.clear();
    }
    // A century is as good as never, and can be added to any instant.
    if !digits.is_empty() || seconds == 0 || seconds > 100 * 366 * 86_400 {
        return Err(wrong());
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_go_writes_it() {
        for (text, want) in [
            ("10h", Some(36_000)),
            ("90m", Some(5_400)),
            ("1h30m", Some(5_400)),
            ("1h0m5s", Some(3_605)),
            ("", None),
            ("0s", None),
            ("10", None),
            ("h", None),
            ("1.5h", None),
            ("-1h", None),
            ("99999999999999999999h", None),
            ("9999999999999h", None),
        ] {
            assert_eq!(duration(text).ok(), want.map(Duration::from_secs), "{text:?}");
        }
    }
}
