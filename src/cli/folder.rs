//! The arguments that commands reading a folder share, and its objects, in; translated load balancers out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use portcullis_model::{LoadBalancerId, Port, Problem};

use crate::cluster::index::SecretsMode;
use crate::cluster::object::Object;
use crate::cluster::snapshot::Snapshot;
use crate::crd::load_balancer::Wire;
use crate::translate::{self, ControllerName, Settings, Translation};

/// Which folder, and whose its Ingresses are.
#[derive(Clone, Debug, Args)]
pub(super) struct FolderArgs {
    /// Folder of manifests: its *.yaml, *.yml and *.json files, those of subfolders too
    #[arg(long, value_name = "DIR")]
    pub(super) manifests: PathBuf,
    #[command(flatten)]
    pub(super) class: ClassArgs,
}

/// Whose Ingresses are ours.
#[derive(Clone, Debug, Args)]
pub(super) struct ClassArgs {
    /// The controller that our IngressClasses name. With `ingress.k8s.aws/alb`, Ingresses mean what they mean to the
    /// AWS Load Balancer Controller. In a folder without any IngressClass, every Ingress is ours
    #[arg(long, value_name = "NAME", default_value = ControllerName::OURS)]
    controller_name: String,
    /// Value of the annotation kubernetes.io/ingress.class that is ours without an IngressClass of that name. If empty,
    /// with the AWS Load Balancer Controller's name, Ingresses without a class are ours, too
    /// [default: portcullis, or alb with the AWS Load Balancer Controller's name]
    #[arg(long, value_name = "NAME")]
    ingress_class: Option<String>,
}

impl ClassArgs {
    /// Settings of this kind, with what was given on the command line.
    pub(super) fn settings(&self, of: fn(ControllerName) -> Settings) -> Settings {
        let mut settings = of(ControllerName::new(self.controller_name.as_str()));
        if let Some(class) = &self.ingress_class {
            settings.legacy_class = class.as_str().into();
        }
        settings
    }
}

/// A folder's objects as load balancers.
#[derive(Debug)]
pub(super) struct Translated {
    /// By id.
    pub(super) balancers: Vec<(Snapshot, Translation)>,
    /// Of Ingresses that are ours but part of no load balancer.
    pub(super) refused: Vec<Problem>,
    /// Where those would belong: what exists of these stays as it is.
    pub(super) held: BTreeSet<LoadBalancerId>,
}

/// What is spoken already at the ports of load balancers that exist.
pub(super) type Spoken = BTreeMap<LoadBalancerId, BTreeMap<Port, Wire>>;

pub(super) fn translate(
    objects: Vec<Object>,
    settings: &Settings,
    secrets: SecretsMode,
    spoken: &Spoken,
) -> Translated {
    let mut index = translate::index(settings, secrets);
    index.reset_all(objects);
    // A folder is read as a whole: there is nothing to wait for.
    let Ok(synced) = index.synced() else {
        return Translated {
            balancers: Vec::new(),
            refused: Vec::new(),
            held: BTreeSet::new(),
        };
    };
    let balancers = synced.ids().into_iter().map(|id| {
        let mut snapshot = synced.snapshot(&id);
        snapshot.spoken = spoken.get(&id).cloned().unwrap_or_default();
        let translation = translate::translate(&snapshot, settings);
        (snapshot, translation)
    });
    Translated {
        balancers: balancers.collect(),
        refused: synced
            .refused()
            .flat_map(|(_, problems)| problems.iter().cloned())
            .collect(),
        held: synced
            .refused()
            .map(|(ingress, _)| translate::own_group(ingress))
            .collect(),
    }
}
