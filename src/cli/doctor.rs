//! A cluster and an account in; what exists with our tags and belongs to nobody told, or deleted when asked, out.
//!
//! AWS is read first and the cluster after it: whatever was there at the first reading was recorded before it was made,
//! so nothing that is being made can look like an orphan, however young it is.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use portcullis_aws::{Account, Aws, Observed, Shared, inventory};
use portcullis_model::{Claim, LoadBalancerId, Provider as _, ProviderError};
use serde::Serialize;

use super::adopt::look;
use super::aws::AwsArgs;
use super::{Ended, run, serve};
use crate::adopt::{Existing, Steps};
use crate::cluster::incumbent::Binding;
use crate::cluster::list;
use crate::cluster::object::Object;
use crate::crd::load_balancer::LoadBalancerResource;
use crate::orphans::Owners;

const EXAMPLE: &str = "\
An orphan has the ownership tags of this cluster, and there is no Ingress of any class, no LoadBalancer, no parameters of
a class and no TargetGroupBinding that it could belong to. With --delete everything is read once more, and what is then
still an orphan is deleted. What has the tags of another cluster is never touched; two clusters of one name in one VPC
would take each other's for orphans.

Example:
  portcullis doctor --orphans --cluster-name demo --aws-vpc-id vpc-0123456789abcdef0";

/// Longest time of one call; nothing else is asked of a claim here.
const CALL: Duration = Duration::from_secs(15);
/// More rounds than any deletion takes.
const ROUNDS: usize = 8;

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
    orphans: Vec<Orphan>,
    #[serde(flatten)]
    steps: Steps,
}

#[derive(Debug, Serialize)]
struct Orphan {
    id: LoadBalancerId,
    resources: Vec<Existing>,
}

/// Both sides as they were read, AWS first.
struct Look {
    account: Account,
    observed: BTreeMap<LoadBalancerId, Observed>,
    owners: Owners,
    /// Whether anything in the cluster uses what load balancers share.
    shared_in_use: bool,
}

pub(super) fn doctor(args: &DoctorArgs) -> anyhow::Result<Ended> {
    serve::runtime()?.block_on(async {
        let config = run::cluster(args.kubeconfig.as_deref()).await?;
        let client = Client::try_from(config).context("failed to make a client of the cluster")?;
        let aws = Aws::connect(args.aws.settings())
            .await
            .context("failed to make a client of AWS")?;
        let first = look(&client, &aws).await?;
        let orphans = first.orphans();
        let mut report = Report {
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

impl Look {
    fn orphans(&self) -> BTreeMap<LoadBalancerId, Observed> {
        let existing = self.observed.iter().map(|(id, observed)| {
            let groups = observed
                .target_groups
                .iter()
                .map(|owned| owned.get().arn.as_str());
            (id, groups.collect())
        });
        let orphans = self.owners.without(existing);
        let of = |(id, observed): (&LoadBalancerId, &Observed)| {
            (orphans.contains(id) && !observed.is_nothing()).then(|| (id.clone(), observed.clone()))
        };
        self.observed.iter().filter_map(of).collect()
    }
}

async fn look(client: &Client, aws: &Aws) -> anyhow::Result<Look> {
    let account = aws.account().await.context("failed to read the account")?;
    let ids: Vec<LoadBalancerId> = account
        .listing
        .stacks(&aws.settings().cluster)
        .into_iter()
        .collect();
    let observed = aws
        .observe(&ids, &account)
        .await
        .context("failed to read what exists")?;
    let mut owners = Owners::default();
    for object in list::objects(client)
        .await
        .context("failed to read the cluster")?
    {
        if let Object::Ingress(ingress) = object {
            owners.ingress(&ingress);
        }
    }
    let records = objects(
        client,
        "portcullis.dev",
        "v1alpha1",
        "LoadBalancer",
        "loadbalancers",
    )
    .await?;
    let mut shared_in_use = !records.is_empty();
    for record in records {
        let name = record.name_any();
        let record: LoadBalancerResource = record
            .try_parse()
            .with_context(|| format!("failed to read LoadBalancer {name}"))?;
        owners.add(LoadBalancerId::parse(&record.spec.id), || {
            format!("LoadBalancer {name}")
        });
    }
    for (group, version, kind, plural) in [
        (
            "portcullis.dev",
            "v1alpha1",
            "IngressClassParameters",
            "ingressclassparameters",
        ),
        (
            "elbv2.k8s.aws",
            "v1beta1",
            "IngressClassParams",
            "ingressclassparams",
        ),
    ] {
        for parameters in objects(client, group, version, kind, plural).await? {
            if let Some(group) = parameters.data["spec"]["group"]["name"].as_str() {
                owners.add(LoadBalancerId::Group(group.into()), || {
                    format!("{kind} {}", parameters.name_any())
                });
            }
        }
    }
    for binding in look::bindings(client).await? {
        shared_in_use = true;
        if let Binding::Ingress(id) = &binding.whose {
            owners.add(id.clone(), || format!("TargetGroupBinding {}", binding.name));
        }
        if let Some(arn) = binding.arn {
            owners.bound.insert(arn, binding.name);
        }
    }
    Ok(Look {
        account,
        observed,
        owners,
        shared_in_use,
    })
}

/// Objects of a kind whose definition need not be installed.
async fn objects(
    client: &Client,
    group: &str,
    version: &str,
    kind: &str,
    plural: &str,
) -> anyhow::Result<Vec<DynamicObject>> {
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
    match list::pages(&Api::all_with(client.clone(), &resource)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
        all => all.with_context(|| format!("failed to list {kind}")),
    }
}

/// Load balancers before their target groups, and these before security groups; the rest of the orphans does not wait
/// for one that fails.
async fn delete(
    aws: &Aws,
    account: &Account,
    id: &LoadBalancerId,
    mut observed: Observed,
    steps: &mut Steps,
) {
    let shared = Shared::nothing(&aws.settings().cluster);
    for _ in 0..ROUNDS {
        let (round, problems) = aws.plan(id, None, &observed, &shared, account);
        steps
            .obstacles
            .extend(problems.iter().map(|problem| format!("{id} stays: {problem}")));
        if round.is_empty() {
            return;
        }
        for change in &round.changes {
            match aws.apply(&claim(), change).await {
                Ok(answer) => {
                    portcullis_aws::fold(&mut observed, change, answer);
                    steps
                        .done
                        .push(format!("{} {} of {id} is deleted", change.kind, change.id));
                }
                Err(error) => {
                    steps
                        .obstacles
                        .push(stays(&format!("{} {} of {id}", change.kind, change.id), &error));
                    return;
                }
            }
        }
    }
}

/// What load balancers shared goes with the last of them.
async fn unshare(client: &Client, aws: &Aws, steps: &mut Steps) -> anyhow::Result<()> {
    let look = look(client, aws).await?;
    if look.shared_in_use || !look.observed.is_empty() {
        return Ok(());
    }
    let mut shared = aws
        .observe_shared(&look.account)
        .await
        .context("failed to read what load balancers share")?;
    for _ in 0..ROUNDS {
        let (round, _) = aws.plan_shared(&BTreeMap::new(), &shared, &look.account);
        if round.is_empty() {
            break;
        }
        for change in &round.changes {
            match aws.apply(&claim(), change).await {
                Ok(answer) => {
                    portcullis_aws::fold_shared(&mut shared, change, answer);
                    steps
                        .done
                        .push(format!("{} {}: {}", change.kind, change.id, change.reason));
                }
                Err(error) => {
                    steps
                        .obstacles
                        .push(stays(&format!("{} {}", change.kind, change.id), &error));
                    return Ok(());
                }
            }
        }
    }
    Ok(())
}

fn stays(what: &str, error: &ProviderError) -> String {
    // Interfaces of a load balancer take minutes to go, and its security groups are in use until then.
    format!("{what} stays: {error}; run it again later")
}

/// Nobody else changes what belongs to nobody: no lease is asked for.
#[expect(
    clippy::disallowed_methods,
    reason = "a claim is asked for at the moment of the call"
)]
fn claim() -> Claim {
    Claim::until(Instant::now() + CALL)
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
