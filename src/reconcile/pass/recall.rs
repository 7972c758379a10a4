//! A record in, what no provider says of what exists out: whose targets those are, and which secrets were sent.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{Code, LoadBalancer, ObjectName, OwnTargets, Provider, ProviderError, Retry};

use super::{Failure, Site};
use crate::crd::load_balancer::{LoadBalancerResource, ProblemRef};
use crate::reconcile::outcome::Outcome;
use crate::reconcile::records::RecordError;

/// What this cluster has registered, or is about to, in groups where other clusters register targets, too: as
/// recorded, else as the incumbent left it.
pub(super) async fn remembered<P: Provider>(
    site: &Site<P>,
    record: Option<&LoadBalancerResource>,
    desired: &LoadBalancer,
    wanted: &OwnTargets,
    observed: &P::Observed,
) -> Result<OwnTargets, RecordError> {
    let recorded = record.and_then(|record| record.status.as_ref());
    let mut own = OwnTargets::new();
    for (service, wanted) in wanted {
        let mut targets = wanted.clone();
        if let Some(known) = recorded.and_then(|status| status.own_targets.get(service)) {
            targets.extend(known.iter().cloned());
        } else {
            for group in P::backends(observed) {
                let backend = P::stands_for(desired, &group);
                if let Some(backend) = backend.filter(|backend| backend.service.to_string() == *service) {
                    let namespace = &backend.service.name.namespace;
                    let left = site.records.left_by_incumbent(namespace, &group.name).await?;
                    targets.extend(left.into_iter().flatten());
                }
            }
        }
        own.insert(service.clone(), targets);
    }
    Ok(own)
}

/// A right that is missing is told at the load balancer that needs it.
pub(super) fn told(error: RecordError) -> Failure {
    match &error {
        RecordError::Read {
            source: kube::Error::Api(status),
            ..
        } if status.code == 403 => Failure::Provider(ProviderError {
            code: Code::AccessDenied,
            call: "kubernetes:GetConfigMap",
            message: format!("{error}, which says what is registered: {}", status.message),
            retry: Retry::Backoff,
        }),
        RecordError::Read { .. }
        | RecordError::Write { .. }
        | RecordError::Foreign { .. }
        | RecordError::Another { .. } => Failure::Record(error),
    }
}

/// Which version of each Secret was last applied in full.
pub(super) fn applied(record: Option<&LoadBalancerResource>) -> BTreeMap<ObjectName, Arc<str>> {
    let recorded = record
        .and_then(|record| record.status.as_ref())
        .map(|status| &status.secrets);
    let named = recorded.into_iter().flatten().filter_map(|(name, version)| {
        let (namespace, name) = name.split_once('/')?;
        Some((ObjectName::new(namespace, name), version.as_str().into()))
    });
    named.collect()
}

/// Codes of the problems that the last pass told, but for those of members that are refused, who are told for
/// themselves.
pub(super) fn told_codes(record: Option<&LoadBalancerResource>, outcome: &Outcome) -> Vec<Code> {
    let status = record.and_then(|record| record.status.as_ref());
    let recorded = status.into_iter().flat_map(|status| &status.problems.first);
    let refused = |told: &ProblemRef| {
        let mut refused = outcome.standing.values().flatten();
        refused.any(|problem| problem.code.as_str() == told.code && problem.at.to_string() == told.at)
    };
    let others = recorded.filter(|told| !refused(told));
    let code = |told: &ProblemRef| Code::ALL.iter().find(|code| code.as_str() == told.code).copied();
    others.filter_map(code).collect()
}

/// Whether the same was asked for when all of it last stood.
pub(super) fn is_recorded(record: Option<&LoadBalancerResource>, fingerprint: &str) -> bool {
    let status = record.and_then(|record| record.status.as_ref());
    status.and_then(|status| status.fingerprint.as_deref()) == Some(fingerprint)
}
