//! A cluster and an account that the AWS Load Balancer Controller served in; what taking over means, or the taking
//! over, out.

mod bring;
mod finish;
pub(super) mod look;
mod text;

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use kube::Client;
use portcullis_aws::Aws;
use portcullis_model::{ObjectName, Provider as _};
use serde::Serialize;

use self::look::Cluster;
use super::Ended;
use super::aws::AwsArgs;
use super::run;
use super::serve;
use crate::adopt::{self, Standing, Steps, lease};
use crate::crd::load_balancer::Terms;
use crate::reconcile::records::Place;
use crate::reconcile::records::scope::Scope;
use crate::translate::{ControllerName, Settings};

const EXAMPLE: &str = "\
Lists what exists under the AWS Load Balancer Controller's tags, which Ingresses it belongs to and what would be changed \
of it: nothing, where it made it from the same Ingresses. Without --dry-run each of these load balancers is recorded as \
a LoadBalancer of ours. Nothing is ever written to AWS, but for tags with --load-balancer. docs/from-albc.md tells the \
whole way, and the way back.

It refuses, with exit code 1, while the other controller renews its lease, and where load balancers would be changed.

Example:
  portcullis adopt --dry-run --cluster-name demo --aws-vpc-id vpc-0123456789abcdef0";

/// Lease of the AWS Load Balancer Controller as its chart installs it.
pub(super) const INCUMBENT_LEASE: &str = "kube-system/aws-load-balancer-controller-leader";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct AdoptArgs {
    #[command(flatten)]
    aws: AwsArgs,
    /// The controller that the IngressClasses name whose load balancers are taken over
    #[arg(long, value_name = "NAME", default_value = ControllerName::INCUMBENT)]
    controller_name: String,
    /// Value of the annotation kubernetes.io/ingress.class that is such a class's; if empty, Ingresses without a class
    /// are, too [default: alb]
    #[arg(long, value_name = "NAME")]
    ingress_class: Option<String>,
    /// File that says where the cluster is [default: $KUBECONFIG, ~/.kube/config, or the pod's own]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Show it, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Take over although load balancers are changed by it
    #[arg(long)]
    accept_changes: bool,
    /// Remove the AWS Load Balancer Controller's finalizers and TargetGroupBindings of Ingresses that were taken over
    #[arg(long, conflicts_with_all = ["release", "load_balancer"])]
    finish: bool,
    /// Give everything back: forget every load balancer and delete none
    #[arg(long, conflicts_with_all = ["load_balancer", "accept_changes"])]
    release: bool,
    /// Bring in a load balancer that no controller made, by tagging it for --ingress
    #[arg(long, value_name = "ARN", requires = "ingress")]
    load_balancer: Option<String>,
    /// The Ingress whose load balancer --load-balancer becomes
    #[arg(long, value_name = "NAMESPACE/NAME", requires = "load_balancer", value_parser = super::object_name)]
    ingress: Option<ObjectName>,
    /// Lease of the AWS Load Balancer Controller
    #[arg(
        long, value_name = "NAMESPACE/NAME", value_parser = super::object_name,
        default_value = INCUMBENT_LEASE
    )]
    incumbent_lease: ObjectName,
    /// Name of the lease of `portcullis run`, in any namespace: nobody may hold it for --release, and where a load
    /// balancer moves here from another controller name
    #[arg(long, value_name = "NAME", default_value = "portcullis-leader")]
    leader_election_id: String,
    /// Form of what is printed
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "text")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

pub(super) fn adopt(args: &AdoptArgs) -> anyhow::Result<Ended> {
    serve::runtime()?.block_on(async {
        let config = run::cluster(args.kubeconfig.as_deref()).await?;
        let client = Client::try_from(config).context("failed to make a client of the cluster")?;
        let aws = Aws::connect(args.aws.settings())
            .await
            .context("failed to make a client of AWS")?;
        let place = Place {
            provider: Aws::NAME,
            cluster_name: args.aws.cluster_name.clone(),
            region: Some(aws.region().to_owned()),
            // What is given back, or is ours for good, is so whatever serves it.
            scope: (!args.release && !args.finish).then(|| Scope::of(&args.settings(), None)),
        };
        if args.release {
            let steps = finish::release(args, &client, place).await?;
            return args.print(&steps, text::alone(&steps), &steps);
        }
        let cluster = Cluster::read(client, args.settings(), place).await?;
        if args.finish {
            let steps = finish::finish(args, &cluster).await?;
            return args.print(&steps, text::alone(&steps), &steps);
        }
        if let (Some(arn), Some(ingress)) = (&args.load_balancer, &args.ingress) {
            let brought = bring::bring(args, &cluster, &aws, arn, ingress).await?;
            return args.print(&brought, text::brought(&brought), &brought.steps);
        }
        take_over(args, &cluster, &aws).await
    })
}

async fn take_over(args: &AdoptArgs, cluster: &Cluster, aws: &Aws) -> anyhow::Result<Ended> {
    let mut report = look::report(cluster, aws, &args.incumbent_lease, args.accept_changes).await?;
    if report
        .load_balancers
        .iter()
        .any(|one| one.standing == Standing::Moved)
    {
        report
            .steps
            .obstacles
            .extend(finish::serving(args, &cluster.client).await?);
    }
    let free = report.steps.obstacles.is_empty();
    for balancer in &report.load_balancers {
        let id = &balancer.id;
        let terms = match balancer.standing {
            Standing::Found | Standing::Moved => cluster.terms(id),
            Standing::Leaving => Terms::default(),
            Standing::Ours
            | Standing::Elsewhere
            | Standing::New
            | Standing::Unserved
            | Standing::Orphaned => continue,
        };
        if args.dry_run {
            report.steps.left.push(format!("{id} would be recorded as ours"));
        } else if free {
            let recorded = cluster.records.take_over(id, terms, cluster.naming(id)).await;
            recorded.with_context(|| format!("failed to record {id}"))?;
            report.steps.done.push(format!("{id} is recorded as ours"));
        }
    }
    args.print(&report, text::report(&report), &report.steps)
}

impl AdoptArgs {
    fn settings(&self) -> Settings {
        let mut settings = Settings::new(ControllerName::new(self.controller_name.as_str()));
        if let Some(class) = &self.ingress_class {
            settings.legacy_class = class.as_str().into();
        }
        settings.provider = Some(Aws::NAME);
        self.aws.assume(&mut settings);
        settings
    }

    /// Prints it. What was refused is a failure, but not of a dry run.
    fn print(&self, json: &impl Serialize, text: String, steps: &Steps) -> anyhow::Result<Ended> {
        let text = match self.output {
            Output::Text => text,
            Output::Json => serde_json::to_string_pretty(json).context("failed to write JSON")? + "\n",
        };
        match io::stdout().write_all(text.as_bytes()) {
            // Whoever closed the pipe has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.context("failed to print the report")?,
        }
        Ok(if steps.obstacles.is_empty() || self.dry_run {
            Ended::Done
        } else {
            Ended::Failed
        })
    }
}

/// Why the AWS Load Balancer Controller must not run, where it does.
fn running(name: &ObjectName, state: &lease::State) -> Option<String> {
    adopt::running("the AWS Load Balancer Controller", &name.to_string(), state)
}
