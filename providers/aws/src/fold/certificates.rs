//! Certificates as observed, a call about them and its answer in, what is observed of them then out.

use crate::change::{Answer, Call};
use crate::observed::{CertificateState, Observed, Owned};
use crate::resource::{CertificateArn, Pairs};

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "every other call leaves certificates alone"
)]
pub(super) fn fold(observed: &mut Observed, call: &Call, answer: Answer) {
    match call {
        Call::ImportCertificate {
            replaced: Some(arn),
            spec,
        } => {
            let mut all = observed.certificates.iter_mut().map(Owned::get_mut);
            if let Some(state) = all.find(|state| state.arn == *arn) {
                state.imported = spec.sent();
            }
        }
        Call::ImportCertificate { replaced: None, spec } => {
            if let Answer::Certificate { arn } = answer {
                let state = CertificateState {
                    arn,
                    imported: spec.sent(),
                    tags: spec.tags.clone(),
                };
                observed
                    .certificates
                    .extend(Owned::read(&observed.owner, &spec.tags, state));
            }
        }
        Call::DeleteCertificate { arn, .. } => {
            observed.certificates.retain(|owned| owned.get().arn != *arn);
        }
        Call::AddTagsToCertificate { arn, tags } => {
            retag(observed, arn, |had| had.0.extend(tags.0.clone()));
        }
        Call::RemoveTagsFromCertificate { arn, keys } => {
            retag(observed, arn, |had| had.0.retain(|key, _| !keys.contains(key)));
        }
        _ => {}
    }
}

fn retag(observed: &mut Observed, arn: &CertificateArn, edit: impl Fn(&mut Pairs)) {
    let all = observed.certificates.iter_mut().map(Owned::get_mut);
    all.filter(|state| state.arn == *arn)
        .for_each(|state| edit(&mut state.tags));
}
