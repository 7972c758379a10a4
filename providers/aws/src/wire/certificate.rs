//! Certificates of ACM in, the hosts they are for out.

use aws_sdk_acm::types::KeyAlgorithm;
use portcullis_model::HostMatch;

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
