//! Certificates wanted by a listener and those in ACM in, ARNs in order out.

use portcullis_model::{Certificate, CertificateSource, Code, HostMatch, Problem};

use super::Context;
use crate::account::{AcmCertificate, Fact};
use crate::resource::CertificateArn;

/// The certificates in order, without repetition; the first is for clients that name no host.
pub(super) fn resolve(
    context: &Context<'_>,
    wanted: &[Certificate],
    problems: &mut Vec<Problem>,
) -> Vec<CertificateArn> {
    let mut out: Vec<CertificateArn> = Vec::new();
    for certificate in wanted {
        let mut found = match &certificate.source {
            CertificateSource::Given(arn) => given(context, arn, certificate, problems),
            // A Secret's certificate is looked for in ACM by its hosts.
            CertificateSource::Stored(_) | CertificateSource::Discovered => {
                by_host(context, certificate, problems)
            }
        };
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
                        .filter(|c| is_allowed(context, c) && covers(c, host, &name))
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

/// Whether one of the certificate's names is the host, or a wildcard of one label before the rest of it.
fn covers(certificate: &AcmCertificate, host: &HostMatch, name: &str) -> bool {
    certificate.names.iter().any(|own| match (own, host) {
        (HostMatch::Wildcard(_), HostMatch::Exact(host)) => own.matches(host.as_str()),
        (HostMatch::Exact(_) | HostMatch::Wildcard(_), _) => written(own) == name,
        (HostMatch::Glob(_) | HostMatch::Regex(_), _) => false, // no certificate has such names
    })
}
