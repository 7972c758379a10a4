//! Nothing in, an authority and a server certificate for 127.0.0.1 out.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// All of it PEM.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) authority: String,
    pub(crate) certificate: String,
    pub(crate) key: String,
}

pub(crate) fn for_loopback() -> Serving {
    make().expect("names and key types are constants that rcgen takes")
}

/// A private key and its public key, in PEM.
pub(crate) fn keys() -> (String, String) {
    let pair = KeyPair::generate().expect("P-256 keys can always be generated");
    (pair.serialize_pem(), pair.public_key_pem())
}

fn make() -> Result<Serving, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
        .distinguished_name
        .push(DnType::CommonName, "portcullis tests");
    let authority_key = KeyPair::generate()?;
    let authority = params.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(params, authority_key);
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    params
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?.pem();
    Ok(Serving {
        authority,
        certificate,
        key: key.serialize_pem(),
    })
}
