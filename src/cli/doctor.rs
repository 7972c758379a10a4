//! A cluster and an account in; what exists with our tags and belongs to nobody told, or deleted when asked, out.
//!
//! AWS is read first and the cluster after it: whatever was there at the first reading was recorded before it was made,
//! so nothing that is being made can look like an orphan, however young it is.

mod delete;
mod look;

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use kube::Client;
use portcullis_aws::{Aws, Observed, inventory};
use portcullis_model::{LoadBalancerId, ObjectName};
use serde::Serialize;

use self::delete::{delete, unshare};
use self::look::look;
use super::adopt::{INCUMBENT_LEASE, look as incumbent};
use super::aws::AwsArgs;
use super::object_name;
use super::{Ended, run, serve};
use crate::adopt::lease::State;
use crate::adopt::{self, Existing, Steps};

const EXAMPLE: &str = "\
An orphan has the ownership tags of this cluster, and there is no Ingress of any class, no LoadBalancer, no parameters of \
a class and no TargetGroupBinding that it could belong to. With --delete everything is read once more, and what is then \
still an orphan is deleted. What has the tags of another cluster is never touched; two clusters of one name in one VPC \
would take each other's for orphans.

Example:
  portcullis doctor --orphans --cluster-name demo --aws-vpc-id vpc-0123456789abcdef0";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct DoctorArgs {
    #[command(flatten)]
    aws: AwsArgs,
    /// Look for what exists and belongs to nobody
    #[arg(long, required = true)]
    orphans: bool,
    /// Delete it
    #[arg(long)]
    delete: bool,
    /// Lease of the AWS Load Balancer Controller
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = object_name, default_value = INCUMBENT_LEASE)]
    incumbent_lease: ObjectName,
    /// File that says where the cluster is [default: $KUBECONFIG, ~/.kube/config, or the pod's own]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Form of what is printed
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// What was found and done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    incumbent: Lease,
    orphans: Vec<Orphan>,
    #[serde(flatten)]
    steps: Steps,
}

/// The AWS Load Balancer Controller's lease: while it is renewed, who takes that controller's place waits.
#[derive(Debug, Serialize)]
struct Lease {
    lease: String,
    #[serde(flatten)]
    state: State,
}

#[derive(Debug, Serialize)]
struct Orphan {
    id: LoadBalancerId,
    resources: Vec<Existing>,
}

pub(super) fn doctor(args: &DoctorArgs) -> anyhow::Result<Ended> {
    serve::runtime()?.block_on(async {
        let config = run::cluster(args.kubeconfig.as_deref()).await?;
        let client = Client::try_from(config).context("failed to make a client of the cluster")?;
        let aws = Aws::connect(args.aws.settings())
            .await
            .context("failed to make a client of AWS")?;
        // At once: a holder that is gone is known by its silence alone.
        let (state, first) = tokio::try_join!(
            incumbent::watch(&client, &args.incumbent_lease),
            look(&client, &aws)
        )?;
        let orphans = first.orphans();
        let mut report = Report {
            incumbent: Lease {
                lease: args.incumbent_lease.to_string(),
                state,
            },
            orphans: orphans
                .iter()
                .map(|(id, observed)| orphan(id, observed))
                .collect(),
            steps: Steps::default(),
        };
        if args.delete && !report.orphans.is_empty() {
            // Once more: tags as they are right before, and owners that came meanwhile.
            let second = look(&client, &aws).await?;
            for (id, observed) in second.orphans() {
                if orphans.contains_key(&id) {
                    delete(&aws, &second.account, &id, observed, &mut report.steps).await;
                }
            }
            if report.steps.obstacles.is_empty() && !second.shared_in_use {
                unshare(&client, &aws, &mut report.steps).await?;
            }
        }
        print(args, &report)
    })
}

fn orphan(id: &LoadBalancerId, observed: &Observed) -> Orphan {
    let resources = inventory(observed).into_iter();
    Orphan {
        id: id.clone(),
        resources: resources
            .map(|(kind, id, name)| Existing { kind, id, name })
            .collect(),
    }
}

fn print(args: &DoctorArgs, report: &Report) -> anyhow::Result<Ended> {
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(report).context("failed to write JSON")? + "\n",
        Output::Text => text(args, report),
    };
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context("failed to print the report")?,
    }
    Ok(if report.steps.obstacles.is_empty() {
        Ended::Done
    } else {
        Ended::Failed
    })
}

fn text(args: &DoctorArgs, report: &Report) -> String {
    let mut lines = Vec::new();
    let incumbent = &report.incumbent;
    let running = adopt::running(
        "the AWS Load Balancer Controller",
        &incumbent.lease,
        &incumbent.state,
    );
    lines.extend(
        running.map(|running| format!("{running}; until then `portcullis run` changes nothing in its place")),
    );
    for orphan in &report.orphans {
        lines.push(format!("Load balancer {} belongs to nobody", orphan.id));
        let resources = orphan.resources.iter();
        lines.extend(
            resources.map(|resource| format!("  {} {}: {}", resource.kind, resource.id, resource.name)),
        );
    }
    lines.extend(report.steps.done.iter().cloned());
    lines.extend(
        report
            .steps
            .obstacles
            .iter()
            .map(|obstacle| format!("! {obstacle}")),
    );
    lines.push(match (report.orphans.len(), args.delete) {
        (0, _) => "no orphans".to_owned(),
        (n, false) => format!("{n} orphans; nothing was deleted, --delete does"),
        (n, true) => format!("{n} orphans"),
    });
    lines.join("\n") + "\n"
}
