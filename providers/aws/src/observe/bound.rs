//! The name of a target group that exists by itself in, whether a namespace may have it and what is registered out.

use std::collections::BTreeSet;

use portcullis_model::{
    Bound, Code, Existing, Guest, Network, Origin, Problem, ProviderError, Semantics, TargetKind,
};

use super::tags_of;
use crate::client::{Client, is_gone};
use crate::names;
use crate::resource::Pairs;
use crate::wire::target_from;

/// Two calls: what it is, and its tags.
pub(crate) async fn bind(
    client: &Client,
    (cluster, vpc): (&str, &str),
    name: &str,
    namespace: &str,
    guest: Option<&Guest>,
    semantics: Semantics,
    at: &Origin,
) -> Result<(Option<Bound>, Vec<Problem>), ProviderError> {
    let refuse = |code, message: String| Ok((None, vec![Problem::new(code, at.clone(), message)]));
    let request = client.elb.describe_target_groups();
    let request = match name.starts_with("arn:") {
        true => request.target_group_arns(name),
        false => request.names(name),
    };
    let answer = client
        .read("elbv2:DescribeTargetGroups", move || request.clone().send())
        .await;
    let found = match answer {
        Ok(answer) => answer.target_groups.unwrap_or_default().pop(),
        Err(error) if is_gone(&error) => None,
        Err(error) => return Err(error),
    };
    let Some((group, handle)) = found.and_then(|group| Some((group.clone(), group.target_group_arn?))) else {
        let message = format!("there is no target group {name} in this account and Region");
        return refuse(Code::TargetGroupNotFound, message);
    };
    let target_kind = match group.target_type.as_ref().map(|kind| kind.as_str()) {
        Some("ip") => TargetKind::Pod,
        Some("instance") => TargetKind::Node,
        other => {
            let other = other.unwrap_or_default().to_owned();
            let message =
                format!("target group {name} is of type {other:?}, which takes neither pods nor nodes");
            return refuse(Code::BackendUnsupported, message);
        }
    };
    if guest.is_some() && target_kind == TargetKind::Node {
        let message =
            format!("target group {name} takes instances, and those of this account are none of another's");
        return refuse(Code::BackendUnsupported, message);
    }
    let own = group.vpc_id.unwrap_or_default();
    let network = if own == vpc { Network::Own } else { Network::Other };
    // Another account's are reached through peering, a transit gateway or a shared VPC: that is for the operator to know.
    if network == Network::Other && guest.is_none() {
        let message = format!("target group {name} is in {own}, and the cluster in {vpc}");
        return refuse(Code::BackendUnsupported, message);
    }
    let mut tags = tags_of(client, std::slice::from_ref(&handle)).await?;
    let tags = tags.remove(&handle).unwrap_or_default();
    if tags.get(names::STACK_TAG).is_some() && tags.get(names::CLUSTER_TAG) == Some(cluster) {
        let message = format!("target group {name} belongs to a load balancer of Ingresses");
        return refuse(Code::NotOurs, message);
    }
    let ipv6 = group.ip_address_type.as_ref().map(|family| family.as_str()) == Some("ipv6");
    let bound = Bound {
        existing: Existing {
            id: String::new(),
            name: group.target_group_name.unwrap_or_default(),
            handle,
        },
        target_kind,
        ipv6,
        guest: guest.cloned(),
        network,
    };
    match (admitted(&tags, name, namespace), semantics) {
        (Ok(()), _) => Ok((Some(bound), Vec::new())),
        (Err(message), Semantics::Kubernetes) => refuse(Code::TargetGroupNotAdmitted, message),
        (Err(message), Semantics::AwsLoadBalancerController) => {
            let problem = Problem::new(Code::TargetGroupNotAdmitted, at.clone(), message);
            Ok((Some(bound), vec![problem]))
        }
    }
}

/// The account is the operator's, and so are its tags.
fn admitted(tags: &Pairs, name: &str, namespace: &str) -> Result<(), String> {
    let tag = names::NAMESPACE_TAG;
    let namespaces = tags.get(tag).unwrap_or_default();
    if namespaces.split_whitespace().any(|one| one == namespace) {
        return Ok(());
    }
    Err(format!(
        "target group {name} is not tagged for namespace {namespace} (tag {tag}, names separated by spaces)"
    ))
}

/// One call.
pub(crate) async fn registered(client: &Client, bound: &Bound) -> Result<BTreeSet<String>, ProviderError> {
    let request = client.elb.describe_target_health();
    let request = request.target_group_arn(&bound.existing.handle);
    let answer = client
        .read("elbv2:DescribeTargetHealth", move || request.clone().send())
        .await?;
    let all = answer.target_health_descriptions.unwrap_or_default();
    // AWS answers each target with its port.
    let targets = all.into_iter().filter_map(|sdk| target_from(sdk, 0));
    Ok(targets.map(|target| target.key()).collect())
}
