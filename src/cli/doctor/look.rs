//! A cluster and an account in, what exists with our tags and everything that could own it out: reads only.

use std::collections::BTreeMap;

use anyhow::Context as _;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client, ResourceExt};
use portcullis_aws::{Account, Aws, Observed};
use portcullis_model::{LoadBalancerId, Provider as _};

use crate::cli::adopt::look;
use crate::cluster::incumbent::Binding;
use crate::cluster::list;
use crate::cluster::object::Object;
use crate::crd::load_balancer::LoadBalancerResource;
use crate::orphans::Owners;

/// Both sides as they were read, AWS first.
pub(super) struct Look {
    pub(super) account: Account,
    pub(super) observed: BTreeMap<LoadBalancerId, Observed>,
    owners: Owners,
    /// Whether anything in the cluster uses what load balancers share.
    pub(super) shared_in_use: bool,
}

impl Look {
    pub(super) fn orphans(&self) -> BTreeMap<LoadBalancerId, Observed> {
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

pub(super) async fn look(client: &Client, aws: &Aws) -> anyhow::Result<Look> {
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
