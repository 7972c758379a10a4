//! Certificates of Secrets as desired and as they are in ACM in, calls that bring both together out.
//!
//! What is renewed is imported anew under its ARN, so that no listener changes. ACM takes no other kind of key there,
//! nor some changes of what the key may be used for: then it is imported as a new one, which listeners get before they
//! lose the old one, which is then deleted.

use std::collections::BTreeSet;

use portcullis_model::{Code, ProviderError, Refusals};

use super::{Round, change, field, refused, tags};
use crate::change::{Call, Change};
use crate::names;
use crate::observed::{CertificateState, Observed, Owned};
use crate::resource::{Applied, CertificateArn, CertificateRef, CertificateSpec, Pairs, kind};

/// The one among those that exist that is, or can become, what is asked for.
pub(crate) fn kept<'a>(
    id: &str,
    wanted: &CertificateSpec,
    observed: &'a Observed,
) -> Option<&'a CertificateState> {
    let uid = |tags: &Pairs| tags.get(names::SECRET_UID_TAG).map(str::to_owned);
    let mut fit: Vec<&CertificateState> = of(observed, id)
        .filter(|state| uid(&state.tags) == uid(&wanted.tags))
        .filter(|state| state.imported.key_algorithm == wanted.shown.key_algorithm)
        .filter(|state| !cannot_become(&observed.refused, &state.arn))
        .collect();
    fit.sort_by_key(|state| {
        let is = wanted.is(&state.imported, &observed.applied);
        (!is, !is_attached(observed, &state.arn), state.arn.clone())
    });
    fit.first().copied()
}

/// All that exist of one Secret.
pub(crate) fn of<'a>(observed: &'a Observed, id: &str) -> impl Iterator<Item = &'a CertificateState> {
    let all = observed.certificates.iter();
    all.filter(move |owned| owned.resource() == id).map(Owned::get)
}

/// Whether a listener serves with it.
pub(crate) fn is_attached(observed: &Observed, arn: &CertificateArn) -> bool {
    attached(observed).contains(arn)
}

/// All that listeners serve with.
pub(super) fn attached(observed: &Observed) -> BTreeSet<&CertificateArn> {
    let states = observed.load_balancers.iter().map(Owned::get);
    let listeners = states.flat_map(|state| state.listeners.values());
    let certificates = listeners.flat_map(|listener| &listener.spec.certificates);
    certificates.map(|had| &had.certificate_arn).collect()
}

/// Whether ACM refused in this pass to let this one become what is asked for.
fn cannot_become(refused: &Refusals<Change>, arn: &CertificateArn) -> bool {
    let about = |change: &Change, error: &ProviderError| {
        matches!(&change.call, Call::ImportCertificate { replaced: Some(own), .. } if own == arn)
            && error.code == Code::SecretInvalid
    };
    refused.iter().any(|one| about(&one.change, &one.error))
}

/// The call that imports it; none where it is as it should be.
pub(crate) fn import(
    id: &str,
    wanted: &CertificateSpec,
    kept: Option<&CertificateState>,
    applied: &Applied,
) -> Option<Change> {
    let spec = wanted.clone();
    let secret = &wanted.secret;
    match kept {
        Some(state) if wanted.is(&state.imported, applied) => None,
        Some(state) => {
            let field = field(
                "NotAfter",
                &crate::resource::time(state.imported.not_after),
                &crate::resource::time(wanted.pair.not_after),
            );
            let replaced = Some(state.arn.clone());
            let call = Call::ImportCertificate { replaced, spec };
            Some(Change {
                fields: field.into_iter().collect(),
                ..change::<kind::Certificate>(id, call, format!("Secret {secret} holds another certificate"))
            })
        }
        None => {
            let call = Call::ImportCertificate { replaced: None, spec };
            let reason = format!("listeners serve with the certificate in Secret {secret}");
            Some(change::<kind::Certificate>(id, call, reason))
        }
    }
}

/// Before any listener.
pub(super) fn import_all(round: &Round<'_>, changes: &mut Vec<Change>) {
    for (id, wanted) in &round.desired.certificates {
        let kept = kept(id, &wanted.spec, round.observed);
        changes.extend(import(id, &wanted.spec, kept, &round.observed.applied));
    }
}

/// Whether one of these is still to be imported: what is served with them waits.
pub(super) fn awaits(round: &Round<'_>, certificates: &[CertificateRef]) -> bool {
    let mut all = certificates.iter();
    all.any(|wanted| round.desired.awaited.contains(&wanted.certificate_arn))
}

/// Those that no listener serves with or is to serve with.
pub(super) fn delete_surplus(round: &Round<'_>, changes: &mut Vec<Change>) {
    let listeners = round.desired.listeners.values();
    let mut used: BTreeSet<&CertificateArn> = listeners
        .flat_map(|listener| &listener.spec.certificates)
        .map(|wanted| &wanted.certificate_arn)
        .collect();
    used.extend(&round.attached);
    for (id, wanted) in &round.desired.certificates {
        used.extend(kept(id, &wanted.spec, round.observed).map(|state| &state.arn));
    }
    for owned in &round.observed.certificates {
        if !used.contains(&owned.get().arn) {
            changes.push(delete(owned, "no listener serves with it"));
        }
    }
}

pub(super) fn delete(owned: &Owned<CertificateState>, why: &str) -> Change {
    let state = owned.get();
    let call = Call::DeleteCertificate {
        arn: state.arn.clone(),
        tags: names::ownership(&state.tags),
    };
    change::<kind::Certificate>(owned.resource(), call, why)
}

pub(super) fn tag_all(round: &Round<'_>, changes: &mut Vec<Change>) {
    for (id, wanted) in &round.desired.certificates {
        let Some(state) = kept(id, &wanted.spec, round.observed) else {
            continue;
        };
        let (tags, keys) = tags::difference(&wanted.spec.tags, &state.tags, round.surplus());
        let arn = &state.arn;
        if !tags.is_empty() {
            let arn = arn.clone();
            let call = Call::AddTagsToCertificate { arn, tags };
            changes.push(change::<kind::Certificate>(id, call, "its tags differ"));
        }
        if !keys.is_empty() {
            let arn = arn.clone();
            let call = Call::RemoveTagsFromCertificate { arn, keys };
            changes.push(change::<kind::Certificate>(
                id,
                call,
                "nobody asks for these tags",
            ));
        }
    }
}

/// Whether the import was refused, and something else must serve.
pub(crate) fn cannot_be_had(refused: &Refusals<Change>, call: &Call) -> bool {
    refused::holds(refused, call)
}
