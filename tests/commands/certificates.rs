//! Secrets that change under a served folder in; who is shaken hands with, and by which certificate, out.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, DEFAULT_VERSIONS, RootCertStore, StreamOwned, SupportedProtocolVersion,
};

use crate::{ANSWERS, PATIENCE, Serving};

const HOST: &str = "shop.example";

/// A certificate for the host and its key.
pub(crate) struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn new() -> Self {
        Self::of(&[HOST])
    }

    pub(crate) fn of(hosts: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let params = CertificateParams::new(hosts).unwrap();
        Self {
            certificate: params.self_signed(&key).unwrap().pem(),
            key: key.serialize_pem(),
        }
    }
}

fn secret(certificate: &str, key: &str) -> String {
    secret_of("shop", certificate, key)
}

impl Pair {
    /// The Secret `tls` of a namespace.
    pub(crate) fn secret(&self, namespace: &str) -> String {
        secret_of(namespace, &self.certificate, &self.key)
    }
}

fn secret_of(namespace: &str, certificate: &str, key: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: tls, namespace: {namespace}}}\ntype: kubernetes.io/tls\ndata:\n  tls.crt: {}\n  tls.key: {}\n",
        STANDARD.encode(certificate),
        STANDARD.encode(key)
    )
}

/// The answer over a connection that only this certificate opens.
fn https(serving: &Serving, trusted: &Pair) -> Result<String, std::io::Error> {
    https_over(serving, trusted, HOST, HOST, DEFAULT_VERSIONS)
}

/// The same by these versions, with a server name and the host that is asked.
pub(crate) fn https_over(
    serving: &Serving,
    trusted: &Pair,
    name: &'static str,
    host: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<String, std::io::Error> {
    let address = serving.ready.split_whitespace().nth(4).unwrap_or_default();
    https_at(address, trusted, name, host, versions)
}

/// The same at any address.
pub(crate) fn https_at(
    address: &str,
    trusted: &Pair,
    name: &'static str,
    host: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(trusted.certificate.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), ServerName::try_from(name).unwrap()).unwrap();
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut stream = StreamOwned::new(connection, stream);
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Asks until the connection opens, or no longer does.
#[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
fn becomes(serving: &Serving, trusted: &Pair, opens: bool) {
    let start = Instant::now();
    loop {
        let asked = https(serving, trusted);
        if asked.is_ok() == opens {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "want {opens}, but {asked:?}");
        std::thread::yield_now();
    }
}

#[test]
fn a_secret_that_turns_bad_leaves_the_good_certificate_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let (tls, other) = (dir.path().join("tls.yaml"), dir.path().join("other.yaml"));
    let (first, second) = (Pair::new(), Pair::new());
    let web = ANSWERS.replace("BODY", "web") + "  tls: [{hosts: [shop.example], secretName: tls}]\n";
    fs::write(dir.path().join("web.yaml"), web).unwrap();
    let garbage = "-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n";
    fs::write(&tls, secret(garbage, &first.key)).unwrap();
    let mut serving = Serving::start(dir.path(), &[]);
    assert!(
        https(&serving, &first).is_err(),
        "there was none before: nothing to keep"
    );

    fs::write(&tls, secret(&first.certificate, &first.key)).unwrap();
    becomes(&serving, &first, true);
    for (number, (certificate, key)) in [
        (garbage, first.key.as_str()),
        ("plain", &first.key),
        (&first.certificate, "plain"),
        (&first.certificate, &second.key),
    ]
    .into_iter()
    .enumerate()
    {
        // Once the good file is served, the bad one has been read: they change together.
        fs::write(&tls, secret(certificate, key)).unwrap();
        let host = format!("other-{number}.example");
        let text = ANSWERS.replace("name: web", "name: other").replace(HOST, &host);
        fs::write(&other, text).unwrap();
        serving.answers(&host, "BODY");
        let answer = https(&serving, &first).unwrap();
        assert!(answer.contains("web"), "{number}: {answer}");
    }

    fs::write(&tls, secret(&second.certificate, &second.key)).unwrap();
    becomes(&serving, &second, true);
    assert!(https(&serving, &first).is_err(), "the certificate is another now");
    fs::write(&tls, secret("plain", &second.key)).unwrap();
    fs::remove_file(&other).unwrap();
    serving.answers("other-3.example", "404");
    https(&serving, &second).unwrap();
    fs::remove_file(&tls).unwrap();
    becomes(&serving, &second, false);

    serving.terminate();
    let logged = serving.logged();
    for want in [
        "secret shop/tls",
        "(tls.yaml line 1)",
        "SecretInvalid",
        "CertificateKeyMismatch",
        "mended: has a tls.key that is not the key of the certificate in tls.crt",
    ] {
        assert!(logged.contains(want), "{want}: {logged}");
    }
    assert!(!logged.contains("PRIVATE KEY"), "{logged}");
}

#[test]
fn who_asks_for_an_unknown_name_gets_what_the_flags_say() {
    let dir = tempfile::tempdir().unwrap();
    let (own, default) = (Pair::new(), Pair::new());
    // The Ingress's own certificate is for another name than clients ask for.
    let web = ANSWERS.replace("BODY", "web") + "  tls: [{hosts: [other.example], secretName: tls}]\n";
    fs::write(dir.path().join("web.yaml"), web).unwrap();
    fs::write(dir.path().join("own.yaml"), secret(&own.certificate, &own.key)).unwrap();
    let spare = secret_of("infra", &default.certificate, &default.key);
    fs::write(dir.path().join("default.yaml"), spare).unwrap();
    for (flags, trusted) in [
        (&[][..], Some(&own)),
        (&["--default-certificate", "infra/tls"], Some(&default)),
        (&["--default-certificate", "infra/gone"], None),
        (&["--refuse-unknown-names"], None),
    ] {
        let serving = Serving::start(dir.path(), flags);
        for pair in [&own, &default] {
            let is_served = trusted.is_some_and(|trusted| std::ptr::eq(trusted, pair));
            let asked = https(&serving, pair);
            assert_eq!(asked.is_ok(), is_served, "{flags:?}: {asked:?}");
            if trusted.is_none() {
                let error = asked.unwrap_err().to_string();
                assert!(error.contains("UnrecognisedName"), "{flags:?}: {error}");
            }
        }
    }
}
