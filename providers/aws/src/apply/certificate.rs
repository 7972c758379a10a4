//! Changes of certificates in, calls of ACM out. Whose one is, its tags say: they are read before it is changed.

use std::collections::BTreeSet;

use aws_smithy_types::Blob;
use portcullis_model::{Code, ProviderError};

use super::Writer;
use crate::change::Answer;
use crate::client::{conflict, incomplete, is_gone};
use crate::names;
use crate::resource::{CertificateArn, CertificateSpec, Pairs};
use crate::wire::{acm_keys_to, acm_tags_to, pairs_from};

pub(super) async fn import(
    to: &Writer<'_>,
    replaced: Option<&CertificateArn>,
    spec: &CertificateSpec,
) -> Result<Answer, ProviderError> {
    let pair = &spec.pair;
    let request = to.client.acm.import_certificate();
    let request = request
        .certificate(Blob::new(pair.certificate.as_bytes()))
        .set_certificate_chain((!pair.chain.is_empty()).then(|| Blob::new(pair.chain.as_bytes())))
        .private_key(Blob::new(pair.key.reveal().as_bytes()));
    let request = match replaced {
        None => request.set_tags(Some(acm_tags_to(&spec.tags))),
        Some(arn) => {
            if !prove(to, arn, &names::ownership(&spec.tags)).await? {
                let message = format!("{arn} is gone");
                return Err(conflict(Code::ConflictingChange, to.call, message));
            }
            request.certificate_arn(arn.as_str())
        }
    };
    let answer = to
        .send(request.send())
        .await
        .map_err(|error| match error.code == Code::RequestRefused {
            // What ACM judges here is what lies in the Secret, such as a chain that does not lead to the certificate.
            true => ProviderError {
                code: Code::SecretInvalid,
                ..error
            },
            false => error,
        })?;
    let arn = answer
        .certificate_arn
        .ok_or_else(|| incomplete(to.call, "CertificateArn"))?;
    let arn = CertificateArn::new(arn);
    if replaced.is_none() {
        to.client.imported().insert(arn.clone(), spec.tags.clone());
    }
    Ok(Answer::Certificate { arn })
}

/// Whether it is there. Fails if it is somebody else's.
async fn prove(to: &Writer<'_>, arn: &CertificateArn, tags: &Pairs) -> Result<bool, ProviderError> {
    let request = to.client.acm.list_tags_for_certificate();
    let request = request.certificate_arn(arn.as_str());
    let read = || request.clone().send();
    let held = match to.client.read("acm:ListTagsForCertificate", read).await {
        Ok(answer) => pairs_from(answer.tags),
        Err(error) if is_gone(&error) => return Ok(false),
        Err(error) => return Err(error),
    };
    if names::ownership(&held) != *tags {
        let message = format!("the tags of {arn} name another owner");
        return Err(conflict(Code::NotOurs, to.call, message));
    }
    Ok(true)
}

pub(super) async fn delete(
    to: &Writer<'_>,
    arn: &CertificateArn,
    tags: &Pairs,
) -> Result<Answer, ProviderError> {
    if !prove(to, arn, tags).await? {
        return Ok(Answer::Done);
    }
    let request = to.client.acm.delete_certificate();
    let deleted = to.delete(request.certificate_arn(arn.as_str()).send()).await;
    // AWS lets go of one some time after no listener serves with it any more.
    if deleted.is_ok() {
        to.client.imported().remove(arn);
    }
    deleted.map_err(
        |error| match error.message.starts_with("ResourceInUseException") {
            true => ProviderError {
                code: Code::StillInUse,
                ..error
            },
            false => error,
        },
    )
}

pub(super) async fn tag(
    to: &Writer<'_>,
    arn: &CertificateArn,
    tags: &Pairs,
) -> Result<Answer, ProviderError> {
    let request = to.client.acm.add_tags_to_certificate();
    let request = request.certificate_arn(arn.as_str());
    to.done(request.set_tags(Some(acm_tags_to(tags))).send()).await
}

pub(super) async fn untag(
    to: &Writer<'_>,
    arn: &CertificateArn,
    keys: &BTreeSet<String>,
) -> Result<Answer, ProviderError> {
    let request = to.client.acm.remove_tags_from_certificate();
    let request = request.certificate_arn(arn.as_str());
    to.done(request.set_tags(Some(acm_keys_to(keys))).send()).await
}
