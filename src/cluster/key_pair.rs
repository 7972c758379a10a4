//! The PEM texts of a TLS Secret in, a key pair with what its certificate says of itself out. No message quotes a key.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_model::{Code, HostMatch, KeyAlgorithm, KeyPair, Sealed};
use rustls::InconsistentKeys;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// What is wrong with a Secret, to be said after its name.
pub(crate) type Unusable = (Code, String);

/// Reads both and holds them against each other. Whether the certificate is valid now is for others to judge.
pub(crate) fn read(uid: &Arc<str>, chain: &[u8], key: &[u8]) -> Result<KeyPair, Unusable> {
    let invalid = |why: String| (Code::SecretInvalid, why);
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| {
            invalid(format!(
                "has a tls.crt that does not parse as a chain of PEM certificates: {error}"
            ))
        })?;
    let Some((own, others)) = chain.split_first() else {
        return Err(invalid("has a tls.crt that holds no PEM certificate".to_owned()));
    };
    let not_x509 = || invalid("has a tls.crt whose first certificate is no X.509 certificate".to_owned());
    let (_, parsed) = X509Certificate::from_der(own).map_err(|_| not_x509())?;
    // What is wrong with a key is not told: the text could hold a part of it.
    let not_a_key = || invalid("has a tls.key that does not parse as a PEM private key".to_owned());
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| not_a_key())?;
    let label = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        PrivateKeyDer::Pkcs8(_) | _ => "PRIVATE KEY",
    };
    let pem_key = pem(label, key.secret_der());
    let provider = aws_lc_rs::default_provider();
    let loaded = provider.key_provider.load_private_key(key);
    let certified = CertifiedKey::new(chain.clone(), loaded.map_err(|_| not_a_key())?);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => {
            let why = "has a tls.key that is not the key of the certificate in tls.crt";
            return Err((Code::CertificateKeyMismatch, why.to_owned()));
        }
        Err(_) => return Err(not_x509()),
    }
    let mut version = Sha256::new();
    chain
        .iter()
        .for_each(|certificate| version.update(Sha256::digest(certificate)));
    Ok(KeyPair {
        uid: uid.clone(),
        certificate: pem("CERTIFICATE", own).into(),
        chain: others
            .iter()
            .map(|der| pem("CERTIFICATE", der))
            .collect::<String>()
            .into(),
        key: Sealed::new(pem_key),
        algorithm: algorithm(&parsed),
        names: names(&parsed),
        not_before: parsed.validity().not_before.timestamp(),
        not_after: parsed.validity().not_after.timestamp(),
        fingerprint: digits(&Sha256::digest(own)).into(),
        version: digits(&version.finalize()[..16]).into(),
    })
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Source: RFC 7468, textual encodings (lines of 64 characters).
fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = after;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// The names of hosts, of which a certificate without alternative names has one.
fn names(certificate: &X509Certificate<'_>) -> Vec<HostMatch> {
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let texts: Vec<&str> = match &alternatives {
        Some(extension) => {
            let all = extension.value.general_names.iter();
            #[expect(clippy::wildcard_enum_match_arm, reason = "other kinds of names are no hosts")]
            let dns = all.filter_map(|name| match name {
                GeneralName::DNSName(text) => Some(*text),
                _ => None,
            });
            dns.collect()
        }
        None => {
            let common = certificate.subject().iter_common_name().next();
            common.and_then(|name| name.as_str().ok()).into_iter().collect()
        }
    };
    let hosts = texts
        .into_iter()
        .filter_map(|text| HostMatch::parse(&text.to_ascii_lowercase()).ok());
    hosts.collect()
}

/// Source: RFC 5480, section 2.1.1.1 (named curves).
fn algorithm(certificate: &X509Certificate<'_>) -> KeyAlgorithm {
    let info = certificate.public_key();
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => KeyAlgorithm::Rsa(u32::try_from(key.key_size()).unwrap_or(u32::MAX)),
        Ok(PublicKey::EC(_)) => {
            let curve = info
                .algorithm
                .parameters
                .as_ref()
                .and_then(|any| any.as_oid().ok());
            match curve.map(|oid| oid.to_id_string()).as_deref() {
                Some("1.2.840.10045.3.1.7") => KeyAlgorithm::EcP256,
                Some("1.3.132.0.34") => KeyAlgorithm::EcP384,
                Some("1.3.132.0.35") => KeyAlgorithm::EcP521,
                other => KeyAlgorithm::Other(other.unwrap_or("an unnamed curve").to_owned()),
            }
        }
        Ok(_) | Err(_) => match info.algorithm.algorithm.to_id_string().as_str() {
            "1.3.101.112" => KeyAlgorithm::Other("Ed25519".to_owned()),
            other => KeyAlgorithm::Other(other.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair as Made, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType};

    use super::*;

    fn made(key: &Made) -> String {
        let mut params =
            CertificateParams::new(vec!["A.example.com".into(), "*.b.example.com".into()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::IpAddress([10, 0, 0, 1].into()));
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        params.self_signed(key).unwrap().pem()
    }

    fn uid() -> Arc<str> {
        "u".into()
    }

    #[test]
    fn a_key_pair_says_what_its_certificate_says() {
        for (key, algorithm) in [
            (Made::generate().unwrap(), KeyAlgorithm::EcP256),
            (
                Made::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
                KeyAlgorithm::EcP384,
            ),
            (
                Made::generate_for(&PKCS_ED25519).unwrap(),
                KeyAlgorithm::Other("Ed25519".into()),
            ),
        ] {
            let (own, other) = (made(&key), made(&Made::generate().unwrap()));
            let chain = format!("# a comment\n{own}\n{other}");
            let pair = read(&uid(), chain.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
            assert_eq!(pair.algorithm, algorithm);
            let names: Vec<String> = pair.names.iter().map(ToString::to_string).collect();
            assert_eq!(names, ["a.example.com", "*.b.example.com"]);
            assert_eq!((pair.not_before, pair.not_after), (1_767_225_600, 1_775_001_600));
            assert_eq!(*pair.certificate, *own.replace('\r', ""));
            assert_eq!(*pair.chain, *other.replace('\r', ""));
            let again = read(&uid(), pair.certificate.as_bytes(), pair.key.reveal().as_bytes()).unwrap();
            assert_eq!(again.fingerprint, pair.fingerprint);
            assert_ne!(again.version, pair.version, "the chain is another");
        }
    }

    #[test]
    fn what_cannot_be_served_is_said_without_the_key() {
        let (key, other) = (Made::generate().unwrap(), Made::generate().unwrap());
        let (own, text) = (made(&key), key.serialize_pem());
        let broken = text.replacen("MI", "!!", 1);
        for (chain, key, code, want) in [
            ("", text.as_str(), Code::SecretInvalid, "holds no PEM certificate"),
            ("plain", &text, Code::SecretInvalid, "holds no PEM certificate"),
            (
                &own,
                "",
                Code::SecretInvalid,
                "does not parse as a PEM private key",
            ),
            (
                &own,
                &broken,
                Code::SecretInvalid,
                "does not parse as a PEM private key",
            ),
            (
                &own,
                &own,
                Code::SecretInvalid,
                "does not parse as a PEM private key",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
                &text,
                Code::SecretInvalid,
                "no X.509 certificate",
            ),
            (
                &own,
                &other.serialize_pem(),
                Code::CertificateKeyMismatch,
                "not the key of",
            ),
        ] {
            let (got, why) = read(&uid(), chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert_eq!(got, code, "{why}");
            assert!(why.contains(want), "{why}");
            let secret = text.lines().nth(1).unwrap();
            assert!(!why.contains(&secret[..16]), "{why}");
        }
    }

    #[test]
    fn nobody_sees_a_key() {
        let key = Made::generate().unwrap();
        let pair = read(&uid(), made(&key).as_bytes(), key.serialize_pem().as_bytes()).unwrap();
        let shown = format!("{pair:?} {pair:#?}");
        let line = pair.key.reveal().lines().nth(1).unwrap().to_owned();
        assert!(!shown.contains(&line) && shown.contains("(redacted)"), "{shown}");
    }
}
