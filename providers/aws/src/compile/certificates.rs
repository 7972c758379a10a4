//! Certificates wanted by a listener and those in ACM in, ARNs in order, and what is to be imported, out.
//!
//! A certificate that is named is used as it is. One that lies in a Secret is imported, unless it cannot be used; then
//! what was imported of it before serves on. All others are found by their hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{
    Certificate, CertificateSource, Code, HostMatch, KeyPair, ObjectName, Origin, Problem, Stored,
};

use super::{Context, with_tags};
use crate::account::{AcmCertificate, Fact};
use crate::limits;
use crate::names;
use crate::plan::certificates::{cannot_be_had, import, is_attached, kept, of};
use crate::plan::refused;
use crate::resource::{CertificateArn, CertificateSpec, Shown, key_algorithm, time};

/// A certificate that is to be imported, and who asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredCertificate {
    pub spec: CertificateSpec,
    pub origin: Origin,
}

/// What is to be imported for all listeners.
#[derive(Debug, Default)]
pub(super) struct Imports {
    /// By logical id.
    pub(super) wanted: BTreeMap<String, DesiredCertificate>,
    /// What listeners call those that are not there yet.
    pub(super) awaited: BTreeSet<CertificateArn>,
}

/// Why a Secret's certificate cannot be used.
type Unusable = (Code, String);

/// The certificates in order, without repetition; the first is for clients that name no host.
pub(super) fn resolve(
    context: &Context<'_>,
    wanted: &[Certificate],
    imports: &mut Imports,
    problems: &mut Vec<Problem>,
) -> Vec<CertificateArn> {
    let mut out: Vec<CertificateArn> = Vec::new();
    for certificate in wanted {
        let mut found = match &certificate.source {
            CertificateSource::Given(arn) => given(context, arn, certificate, problems),
            CertificateSource::Stored(secret) => stored(context, secret, certificate, imports, problems),
            CertificateSource::Discovered => by_host(context, certificate, problems),
        };
        found.retain(|arn| match refused::certificate(&context.observed.refused, arn) {
            None => true,
            Some(error) => {
                let message = format!("AWS serves with no certificate {arn}: {}", error.words());
                problems.push(Problem::new(error.code, certificate.origin.clone(), message));
                false
            }
        });
        // As the incumbent does: of several the first by ARN is the default one.
        found.sort();
        for arn in found {
            if !out.contains(&arn) {
                out.push(arn);
            }
        }
    }
    out
}

/// A certificate that does not exist would fail the call for its whole listener, so it is looked for first.
fn given(
    context: &Context<'_>,
    arn: &str,
    wanted: &Certificate,
    problems: &mut Vec<Problem>,
) -> Vec<CertificateArn> {
    let arn = CertificateArn::new(arn);
    let parts: Vec<&str> = arn.as_str().splitn(6, ':').collect();
    let why = match (parts.as_slice(), &context.account.certificates) {
        (["arn", _, "acm", _, _, _], Fact::Read(known)) => {
            let issued = known.iter().any(|certificate| certificate.arn == arn);
            // One that is attached already may have expired; it is left to serve.
            (!issued && !context.is_attached(&arn)).then_some("ACM holds no issued certificate")
        }
        (["arn", _, "acm" | "iam", _, _, _], _) => None,
        _ => Some("no certificate of ACM or IAM has the ARN"),
    };
    let Some(why) = why else {
        return vec![arn];
    };
    problems.push(Problem::new(
        Code::CertificateNotFound,
        wanted.origin.clone(),
        format!("{why} {arn}"),
    ));
    Vec::new()
}

/// That of a Secret: imported, or to be imported.
fn stored(
    context: &Context<'_>,
    secret: &ObjectName,
    wanted: &Certificate,
    imports: &mut Imports,
    problems: &mut Vec<Problem>,
) -> Vec<CertificateArn> {
    let id = secret.to_string();
    let spec = match context.balancer.key_pairs.get(secret) {
        // Nobody was asked, as in a plan of a folder that does not hold it.
        None => return by_host(context, wanted, problems),
        Some(Stored::Unusable(code, why)) => Err((*code, why.clone())),
        Some(Stored::Pair(pair)) => usable(context, secret, pair),
    };
    let spec = match spec {
        Ok(spec) => spec,
        Err(unusable) => return instead(context, &id, wanted, Some(&unusable), problems),
    };
    let desired = DesiredCertificate {
        spec: spec.clone(),
        origin: wanted.origin.clone(),
    };
    imports.wanted.entry(id.clone()).or_insert(desired);
    if let Some(state) = kept(&id, &spec, context.observed) {
        return vec![state.arn.clone()];
    }
    let refused = import(&id, &spec, None, &context.observed.applied)
        .is_some_and(|change| cannot_be_had(&context.observed.refused, &change.call));
    if refused {
        return instead(context, &id, wanted, None, problems);
    }
    let arn = CertificateArn::symbolic(&id);
    imports.awaited.insert(arn.clone());
    vec![arn]
}

/// A certificate as ACM takes it.
fn usable(
    context: &Context<'_>,
    secret: &ObjectName,
    pair: &Arc<KeyPair>,
) -> Result<CertificateSpec, Unusable> {
    if let Some(error) = &context.observed.certificates_unread {
        let why = format!("the certificate in Secret {secret} is not imported: {error}");
        return Err((error.code, why));
    }
    let Some(algorithm) = key_algorithm(&pair.algorithm) else {
        let why = format!(
            "Secret {secret} holds a certificate with a key of type {}; ACM takes RSA of 1024, 2048, 3072 and 4096 bits and ECDSA P-256, P-384 and P-521",
            pair.algorithm
        );
        return Err((Code::CertificateUnsupported, why));
    };
    let length = pair.key.reveal().len();
    if length > limits::PRIVATE_KEY_LENGTH {
        let why = format!(
            "Secret {secret} holds a key of {length} bytes; ACM takes at most {}",
            limits::PRIVATE_KEY_LENGTH
        );
        return Err((Code::CertificateUnsupported, why));
    }
    let now = context
        .observed
        .looked_at
        .and_then(|seconds| i64::try_from(seconds).ok());
    if let Some(now) = now {
        let why = if now > pair.not_after {
            Some(format!("expired at {}", time(pair.not_after)))
        } else if now < pair.not_before {
            Some(format!("is not valid before {}", time(pair.not_before)))
        } else {
            None
        };
        if let Some(why) = why {
            let why = format!("Secret {secret} holds a certificate that {why}");
            return Err((Code::CertificateExpired, why));
        }
    }
    let mut tags = with_tags(context, &secret.to_string(), &context.balancer.options.tags);
    tags.0
        .insert(names::SECRET_UID_TAG.to_owned(), pair.uid.to_string());
    Ok(CertificateSpec {
        secret: secret.clone(),
        shown: Shown {
            domain_names: pair.names.clone(),
            not_after: pair.not_after,
            fingerprint: pair.fingerprint.clone(),
            key_algorithm: algorithm.to_owned(),
        },
        pair: pair.clone(),
        tags,
    })
}

/// What serves where the Secret's certificate cannot be imported: what was imported of it before, else what ACM holds
/// for its hosts. That a Secret is not there, or may not be read, is told only where something is missing for it: many
/// name one that never was, for the sake of the hosts.
fn instead(
    context: &Context<'_>,
    id: &str,
    wanted: &Certificate,
    unusable: Option<&Unusable>,
    problems: &mut Vec<Problem>,
) -> Vec<CertificateArn> {
    let mut tell = |why: String, code: Code| problems.push(Problem::new(code, wanted.origin.clone(), why));
    let serving = of(context.observed, id).filter(|state| is_attached(context.observed, &state.arn));
    let serving: Vec<CertificateArn> = serving.map(|state| state.arn.clone()).collect();
    if !serving.is_empty() {
        // A call that AWS refused is told by itself.
        if let Some((code, why)) = unusable {
            tell(why.clone(), *code);
        }
        return serving;
    }
    let mut missing = Vec::new();
    let found = by_host(context, wanted, &mut missing);
    if let Some((code, why)) = unusable {
        match (code, missing.first()) {
            (Code::SecretNotFound | Code::AccessDenied, None) => {}
            (_, None) => tell(why.clone(), *code),
            (_, Some(missing)) => tell(format!("{why}, and {}", missing.message), *code),
        }
    }
    found
}

fn by_host(context: &Context<'_>, wanted: &Certificate, problems: &mut Vec<Problem>) -> Vec<CertificateArn> {
    let mut out = Vec::new();
    let mut missing = |message: String| {
        problems.push(Problem::new(
            Code::CertificateNotFound,
            wanted.origin.clone(),
            message,
        ));
    };
    if wanted.hosts.is_empty() {
        missing("no host is named for which to look for a certificate in ACM".into());
    }
    for host in &wanted.hosts {
        let name = written(host);
        match &context.account.certificates {
            Fact::Symbolic => out.push(CertificateArn::symbolic(&name)),
            Fact::Read(known) => {
                let before = out.len();
                out.extend(
                    known
                        .iter()
                        .filter(|c| !is_imported(context, &c.arn))
                        .filter(|c| is_allowed(context, c) && c.names.iter().any(|own| own.certifies(host)))
                        .map(|c| c.arn.clone()),
                );
                if out.len() == before {
                    missing(format!("ACM holds no issued certificate for host {name}"));
                }
            }
        }
    }
    out
}

/// Whether it was taken from a Secret. Then it is for the load balancers of that Secret's Ingresses alone, and goes with
/// them.
fn is_imported(context: &Context<'_>, arn: &CertificateArn) -> bool {
    let mut imported = context.account.listing.certificates.at().into_iter().flatten();
    imported.any(|state| state.arn == *arn)
}

/// Whether it counts among those that are found by host.
fn is_allowed(context: &Context<'_>, certificate: &AcmCertificate) -> bool {
    let allowed = &context.settings.certificate_authorities;
    let issued_by = certificate.authority.as_ref();
    allowed.is_empty() || issued_by.is_some_and(|authority| allowed.contains(authority))
}

/// The host as a certificate would write it.
fn written(host: &HostMatch) -> String {
    match host {
        HostMatch::Exact(name) => name.to_string(),
        HostMatch::Wildcard(name) => format!("*.{name}"),
        HostMatch::Glob(glob) => glob.to_string(),
        HostMatch::Regex(pattern) => pattern.to_string(),
    }
}
