//! Certificates of ACM in, the hosts they are for, and what tells imported ones apart, out.

use aws_sdk_acm::types::{CertificateSummary, CertificateType, KeyAlgorithm};
use portcullis_model::HostMatch;

use crate::resource::{CertificateArn, Imported};

/// Every key type: `ListCertificates` leaves out all but RSA of 1,024 and 2,048 bits unless asked.
/// Source: ACM API, Filters.keyTypes.
pub(crate) fn every_key_type() -> Vec<KeyAlgorithm> {
    KeyAlgorithm::values().iter().map(|&name| name.into()).collect()
}

/// Domain and alternative names, each once; what is no host in our sense is left out.
pub(crate) fn certificate_names(domain: Option<String>, others: Option<Vec<String>>) -> Vec<HostMatch> {
    let mut names: Vec<_> = domain
        .into_iter()
        .chain(others.unwrap_or_default())
        .filter_map(|name| HostMatch::parse(&name.to_ascii_lowercase()).ok())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A certificate that was imported, by whomever.
pub(crate) fn imported_from(summary: &CertificateSummary) -> Option<(CertificateArn, Imported)> {
    if summary.r#type != Some(CertificateType::Imported) {
        return None;
    }
    let imported = Imported {
        // ACM answers with a hyphen, too, though its type has none. Source: AWS CLI, example of `acm describe-certificate`.
        key_algorithm: summary.key_algorithm.as_ref()?.as_str().replace('-', "_"),
        not_before: summary.not_before?.secs(),
        not_after: summary.not_after?.secs(),
        sent: None,
    };
    Some((CertificateArn::new(summary.certificate_arn.clone()?), imported))
}
