//! A folder and a provider's settings in, what would be created or changed out: as text or as JSON.

#[cfg(feature = "aws")]
mod observe;
mod semantics;
mod text;

#[cfg(all(feature = "cluster", feature = "aws"))]
pub(super) use self::text::{changes, problems};

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use portcullis_aws::preview::Document;
use portcullis_model::{LoadBalancer, LoadBalancerId, Opening, Problem, Semantics};
use serde::Serialize;

use super::Ended;
use super::aws::AwsArgs;
use super::folder::{self, FolderArgs, Spoken};
use crate::cluster::folder::Folder;
use crate::cluster::index::SecretsMode;
use crate::translate::{AddressPolicy, ControllerName, Settings};

const EXAMPLE: &str = "\
Needs no cluster and no cloud. What cannot be known without the account is symbolic: ${Vpc}, ${Subnets/internal}, \
${Certificate/www.example.com}. The JSON form is described in docs/plan-json.md.

Example:
  portcullis plan --manifests ./manifests --provider aws --cluster-name demo -o json

What Kubernetes' own rules would change for Ingresses of the AWS Load Balancer Controller:
  portcullis plan --manifests ./manifests --provider aws --cluster-name demo \\
    --controller-name ingress.k8s.aws/alb --semantics Kubernetes";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Whose load balancers are planned
    #[arg(long, value_enum, value_name = "PROVIDER")]
    provider: ProviderName,
    #[command(flatten)]
    aws: AwsArgs,
    /// Form of the plan
    #[arg(short, long, value_enum, value_name = "FORM", default_value = "text")]
    output: Output,
    /// Compare with what exists in the account; the folder counts as the whole cluster. Needs credentials as every AWS
    /// SDK finds them
    #[arg(long, requires = "aws_vpc_id")]
    #[cfg_attr(not(feature = "aws"), arg(hide = true))]
    observe: bool,
    /// Show what other rules of precedence would change, rule by rule, with requests that would be answered otherwise
    #[arg(long, value_enum, value_name = "SEMANTICS")]
    semantics: Option<SemanticsName>,
}

/// Whose rules of precedence, as the parameters of a class name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
enum SemanticsName {
    Kubernetes,
    AwsLoadBalancerController,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProviderName {
    Aws,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

impl From<SemanticsName> for Semantics {
    fn from(name: SemanticsName) -> Self {
        match name {
            SemanticsName::Kubernetes => Self::Kubernetes,
            SemanticsName::AwsLoadBalancerController => Self::AwsLoadBalancerController,
        }
    }
}

pub(super) fn plan(args: &PlanArgs) -> anyhow::Result<Ended> {
    let ProviderName::Aws = args.provider;
    let mut settings = args.folder.class.settings(Settings::for_files);
    args.aws.assume(&mut settings);
    let mut read = read(&args.folder.manifests, &settings, &Spoken::new())?;
    let now = match args.semantics {
        None => None,
        Some(name) => {
            settings.semantics = Some(name.into());
            let then = self::read(&args.folder.manifests, &settings, &Spoken::new())?;
            Some((name, std::mem::replace(&mut read, then)))
        }
    };
    let aws = args.aws.settings();
    #[cfg(feature = "aws")]
    let semantics = settings
        .semantics
        .unwrap_or_else(|| settings.controller.semantics());
    let document = if args.observe {
        #[cfg(feature = "aws")]
        {
            loop {
                let of_bindings = (&read.openings[..], semantics);
                let (document, learned) =
                    observe::plan(&read.balancers, &read.held, of_bindings, aws.clone())?;
                settings.absent_lists.extend(learned.absent_lists);
                let next = self::read(&args.folder.manifests, &settings, &learned.spoken)?;
                // Mostly it makes no difference.
                let is_same = next.balancers == read.balancers;
                read = next;
                if is_same {
                    break document;
                }
            }
        }
        #[cfg(not(feature = "aws"))]
        return Ok(super::lacking::explain("plan --observe", "aws"));
    } else {
        portcullis_aws::plan_offline(&read.balancers, &aws)
    };
    let document = with_problems(document, &read);
    let text = match (args.output, now) {
        (Output::Json, None) => json(&document)?,
        (Output::Text, None) => text::text(&document, &read.balancers),
        (output, Some((name, now))) => {
            let compared = semantics::compare(name, &now, &read, document);
            match output {
                Output::Json => json(&compared)?,
                Output::Text => semantics::text(&compared, args.observe),
            }
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever closed the pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Ended::Done),
        written => written.map(|()| Ended::Done).context("failed to print the plan"),
    }
}

fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value).context("failed to write JSON")? + "\n")
}

/// The plan of the demo's folder, as text.
pub(super) fn of_example(folder: &Path) -> anyhow::Result<String> {
    let settings = Settings {
        addresses: AddressPolicy::WrittenOrLoopback,
        ..Settings::for_files(ControllerName::default())
    };
    let read = read(folder, &settings, &Spoken::new())?;
    let aws = portcullis_aws::Settings {
        cluster: "demo".to_owned(),
        ..portcullis_aws::Settings::default()
    };
    let document = with_problems(portcullis_aws::plan_offline(&read.balancers, &aws), &read);
    Ok(text::text(&document, &read.balancers))
}

/// A folder's load balancers and what is wrong with them.
struct Read {
    balancers: Vec<LoadBalancer>,
    of_balancer: BTreeMap<LoadBalancerId, Vec<Problem>>,
    of_none: Vec<Problem>,
    /// Of Ingresses that are refused.
    #[cfg_attr(
        not(feature = "aws"),
        expect(dead_code, reason = "only an account can hold any")
    )]
    held: BTreeSet<LoadBalancerId>,
    /// What TargetGroupBindings ask to be open.
    #[cfg_attr(
        not(feature = "aws"),
        expect(dead_code, reason = "only an account has anything open")
    )]
    openings: Vec<Opening>,
}

fn read(path: &Path, settings: &Settings, spoken: &Spoken) -> anyhow::Result<Read> {
    let folder =
        Folder::open(path).with_context(|| format!("failed to read the folder {}", path.display()))?;
    let manifests = folder.manifests();
    let settings = Settings {
        provider: Some("aws"),
        ..settings.clone()
    };
    let translated = folder::translate(manifests.objects(), &settings, SecretsMode::NotRead, spoken);
    let mut read = Read {
        balancers: Vec::new(),
        of_balancer: BTreeMap::new(),
        of_none: manifests.problems(),
        held: translated.held,
        openings: manifests.openings(),
    };
    read.of_none.extend(translated.refused);
    for (snapshot, translation) in translated.balancers {
        match translation.balancer {
            Some(balancer) => {
                read.balancers.push(balancer);
                read.of_balancer.insert(snapshot.id, translation.problems);
            }
            None => read.of_none.extend(translation.problems),
        }
    }
    Ok(read)
}

/// What translation found beside what the provider found.
fn with_problems(mut document: Document, read: &Read) -> Document {
    for balancer in &mut document.load_balancers {
        balancer
            .problems
            .extend(read.of_balancer.get(&balancer.id).into_iter().flatten().cloned());
        balancer.problems.sort();
        balancer.problems.dedup();
    }
    document.problems.extend(read.of_none.iter().cloned());
    document.problems.sort();
    document.problems.dedup();
    document
}
