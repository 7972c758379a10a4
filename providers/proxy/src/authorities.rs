//! PEM certificates of authorities in, what certificates that they sign are verified with out.

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;

/// Why authorities cannot be verified with.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum AuthorityError {
    #[error("ca.crt holds no PEM certificate")]
    None,
    #[error("ca.crt does not parse as PEM certificates of authorities: {0}")]
    Unreadable(String),
}

/// All of them or none: what is left of a damaged list is not what was meant.
pub(crate) fn read(pem: &[u8]) -> Result<RootCertStore, AuthorityError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| AuthorityError::Unreadable(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| AuthorityError::Unreadable(error.to_string()))?;
    }
    match roots.is_empty() {
        true => Err(AuthorityError::None),
        false => Ok(roots),
    }
}
