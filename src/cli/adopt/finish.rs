//! A cluster that was taken over in, what the incumbent left in it removed; or a cluster that is given back out.

use anyhow::Context as _;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{DeleteParams, DynamicObject, Preconditions};
use kube::{Api, Client};
use portcullis_model::LoadBalancerId;

use super::look::{self, Cluster, TargetGroupBinding, binding_resource};
use super::{AdoptArgs, running};
use crate::adopt::{self, Steps};
use crate::cluster::finalizer;
use crate::cluster::incumbent::{self, Binding};
use crate::reconcile::records::{Place, is_held};

/// Removes what the incumbent left: nothing of it is needed once everything is ours.
pub(super) async fn finish(args: &AdoptArgs, cluster: &Cluster) -> anyhow::Result<Steps> {
    let mut steps = Steps::default();
    let state = look::watch(&cluster.client, &args.incumbent_lease).await?;
    steps.obstacles.extend(running(&args.incumbent_lease, &state));
    if !steps.obstacles.is_empty() {
        // Of a TargetGroupBinding that is deleted, it deregisters every target.
        return Ok(steps);
    }
    for ingress in &cluster.ingresses {
        for id in &ingress.held_for {
            let name = &ingress.meta.name;
            let what = format!("the finalizer of Ingress {name} for {id}");
            if ingress.meta.deleting {
                steps
                    .left
                    .push(format!("{what}: it goes when the load balancer's rules are gone"));
                continue;
            }
            if let Err(why) = settled(cluster, id) {
                steps.obstacles.push(format!("{what} stays: {why}"));
            } else if args.dry_run {
                steps.left.push(format!("{what} would be removed"));
            } else {
                let api: Api<Ingress> = Api::namespaced(cluster.client.clone(), &name.namespace);
                let held = |finalizer: &str| incumbent::held_for(name, finalizer).as_ref() == Some(id);
                let removed = finalizer::remove(&api, &name.name, &ingress.meta.uid, held).await;
                removed.with_context(|| format!("failed to remove {what}"))?;
                steps.done.push(format!("{what} is removed"));
            }
        }
    }
    for binding in &cluster.bindings {
        match &binding.whose {
            Binding::Ingress(id) => unbind(args, cluster, binding, id, &mut steps).await?,
            Binding::Service | Binding::User => {}
        }
    }
    Ok(steps)
}

async fn unbind(
    args: &AdoptArgs,
    cluster: &Cluster,
    binding: &TargetGroupBinding,
    id: &LoadBalancerId,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    let name = &binding.name;
    let what = format!("TargetGroupBinding {name} of {id}");
    // Without Ingresses and without a record the load balancer has gone, and this with it.
    let wanted =
        cluster.translations.contains_key(id) || cluster.ingresses.iter().any(|i| i.held_for.contains(id));
    if let (true, Err(why)) = (wanted, settled(cluster, id)) {
        steps.obstacles.push(format!("{what} stays: {why}"));
        return Ok(());
    }
    if args.dry_run {
        steps.left.push(format!("{what} would be deleted"));
        return Ok(());
    }
    let api: Api<DynamicObject> =
        Api::namespaced_with(cluster.client.clone(), &name.namespace, &binding_resource());
    let held = |finalizer: &str| finalizer == incumbent::BINDING_FINALIZER;
    let removed = finalizer::remove(&api, &name.name, &binding.uid, held).await;
    removed.with_context(|| format!("failed to remove the finalizer of {what}"))?;
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(binding.uid.clone()),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    match api.delete(&name.name, &params).await {
        Ok(_) => {}
        // Gone already: somebody had deleted it, and it waited for its finalizer.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => return Err(error).with_context(|| format!("failed to delete {what}")),
    }
    steps.done.push(format!("{what} is deleted"));
    Ok(())
}

/// Whether the load balancer is ours, and as it should be.
fn settled(cluster: &Cluster, id: &LoadBalancerId) -> Result<(), String> {
    let record = cluster.records.get(id).filter(|record| is_held(record));
    let Some(record) = record else {
        return Err(format!("{id} is not taken over"));
    };
    let conditions = record.status.iter().flat_map(|status| &status.conditions);
    let mut settled = conditions.filter(|condition| condition.kind == "Settled");
    match settled.next() {
        Some(condition) if condition.status == "True" => Ok(()),
        Some(condition) => Err(format!("{id} is not settled: {}", condition.reason)),
        None => Err(format!("portcullis run has not served {id} yet")),
    }
}

/// Why nothing may be taken from `portcullis run`, where it runs.
pub(super) async fn serving(args: &AdoptArgs, client: &Client) -> anyhow::Result<Vec<String>> {
    let mut obstacles = Vec::new();
    for lease in look::leases(client, &args.leader_election_id).await? {
        let state = look::watch(client, &lease).await?;
        obstacles.extend(adopt::running("portcullis run", &lease.to_string(), &state));
    }
    Ok(obstacles)
}

/// Forgets every load balancer. What exists stays as it is, with the tags by which the incumbent finds it.
pub(super) async fn release(args: &AdoptArgs, client: &Client, place: Place) -> anyhow::Result<Steps> {
    let mut steps = Steps {
        obstacles: serving(args, client).await?,
        ..Steps::default()
    };
    if !steps.obstacles.is_empty() {
        return Ok(steps);
    }
    let records = look::records(client, place).await?;
    for id in records.ids() {
        if args.dry_run {
            steps.left.push(format!(
                "the LoadBalancer of {id} would be removed, and nothing of it deleted"
            ));
        } else {
            records
                .release(&id)
                .await
                .with_context(|| format!("failed to forget {id}"))?;
            steps.done.push(format!(
                "the LoadBalancer of {id} is removed; all that exists of it stays"
            ));
        }
    }
    Ok(steps)
}
