//! Key pairs as PEM and the listeners that want them in, the certificate for each server name out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use portcullis_model::{
    Certificate, CertificateSource, Code, HostMatch, HostName, Listener, ObjectName, Origin, Problem,
    Protocol,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, SignatureAlgorithm, SignatureScheme};
use thiserror::Error;

/// A certificate chain and its private key, as PEM. `Debug` shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyPairPem {
    chain: Arc<[u8]>,
    key: Arc<[u8]>,
}

impl KeyPairPem {
    pub fn new(chain: impl Into<Arc<[u8]>>, key: impl Into<Arc<[u8]>>) -> Self {
        Self {
            chain: chain.into(),
            key: key.into(),
        }
    }
}

impl fmt::Debug for KeyPairPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyPairPem(redacted)")
    }
}

/// Which certificate clients get that send no server name, or one that no certificate is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum UnknownNames {
    /// The first one of the listener with the lowest port.
    #[default]
    First,
    Stored(ObjectName),
    /// None: their handshake ends.
    Refused,
}

/// Why a key pair cannot be served. An expired certificate can be.
#[derive(Debug, Error)]
enum KeyPairError {
    #[error("tls.crt holds no PEM certificate")]
    NoCertificate,
    #[error("tls.crt does not parse as a chain of PEM certificates: {0}")]
    Certificate(String),
    #[error("tls.key does not parse as a PEM private key")]
    Key,
    #[error("tls.key is not the key of the certificate in tls.crt")]
    Mismatch,
}

impl KeyPairError {
    fn code(&self) -> Code {
        match self {
            Self::NoCertificate | Self::Certificate(_) | Self::Key => Code::SecretInvalid,
            Self::Mismatch => Code::CertificateKeyMismatch,
        }
    }
}

/// A key pair that was read, kept so that a change elsewhere does not read it again.
#[derive(Clone, Debug)]
struct Parsed {
    pem: KeyPairPem,
    certified: Arc<CertifiedKey>,
    /// The DNS names of the certificate itself.
    names: Arc<[HostMatch]>,
}

/// The certificates of all HTTPS listeners, by server name.
///
/// A name is looked up exactly, then as the one label before a wildcard. Clients that send no name or an unknown one
/// get the default; where there is none, their handshake is refused.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    parsed: HashMap<ObjectName, Parsed>,
    exact: HashMap<Box<str>, Entry>,
    wildcard: HashMap<Box<str>, Entry>,
    default: Option<Entry>,
}

/// What a name is served with: one key pair of each type of key, those first that cost the least.
#[derive(Clone, Debug, Default)]
struct Entry {
    pairs: Vec<(ObjectName, Arc<CertifiedKey>)>,
}

impl Entry {
    fn alone(secret: ObjectName, certified: Arc<CertifiedKey>) -> Self {
        Self {
            pairs: vec![(secret, certified)],
        }
    }

    /// Unless there is one of its type, whose Secret is told.
    fn add(&mut self, secret: &ObjectName, certified: &Arc<CertifiedKey>) -> Result<(), &ObjectName> {
        let algorithm = certified.key.algorithm();
        let known = self
            .pairs
            .iter()
            .position(|(_, known)| known.key.algorithm() == algorithm);
        match known {
            Some(known) if self.pairs[known].0 == *secret => Ok(()),
            Some(known) => Err(&self.pairs[known].0),
            None => {
                self.pairs.push((secret.clone(), certified.clone()));
                self.pairs.sort_by_key(|(_, pair)| cost(pair.key.algorithm()));
                Ok(())
            }
        }
    }

    /// The first by which the client takes signatures; where it takes none of them, it is told so by its own refusal.
    fn choose(&self, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let mut pairs = self.pairs.iter().map(|(_, pair)| pair);
        let taken = pairs
            .clone()
            .find(|pair| pair.key.choose_scheme(schemes).is_some());
        taken.or(pairs.next())
    }
}

/// In order of what a handshake costs: RSA is some ten times as dear.
fn cost(algorithm: SignatureAlgorithm) -> u8 {
    if algorithm == SignatureAlgorithm::ECDSA {
        0
    } else if algorithm == SignatureAlgorithm::RSA {
        2
    } else {
        1
    }
}

impl Certificates {
    /// Reads what the listeners name; what was read before is taken from `previous`.
    pub(crate) fn build<'a>(
        listeners: impl Iterator<Item = &'a Listener>,
        key_pairs: &BTreeMap<ObjectName, KeyPairPem>,
        unknown: &UnknownNames,
        previous: Option<&Self>,
        provider: &CryptoProvider,
    ) -> (Self, Vec<Problem>) {
        let mut builder = Builder {
            key_pairs,
            previous,
            provider,
            made: Self::default(),
            broken: HashMap::new(),
            problems: Vec::new(),
        };
        let mut first = None;
        let mut is_first = true;
        for listener in listeners {
            let Protocol::Https(tls) = &listener.protocol else {
                continue;
            };
            for certificate in &tls.certificates {
                let found = builder.add(certificate);
                if is_first && *unknown == UnknownNames::First {
                    first = found;
                }
                is_first = false;
            }
        }
        builder.made.default = match unknown {
            UnknownNames::Stored(secret) => builder.fallback(secret),
            UnknownNames::First | UnknownNames::Refused => first.map(|first| builder.made.whole(first)),
        };
        (builder.made, builder.problems)
    }

    /// Whether any handshake can succeed.
    pub(crate) fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcard.is_empty() && self.default.is_none()
    }

    /// Whether there is one for a client that sends this name; the empty one for none.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.find(Some(name)).is_some()
    }

    /// What a host is served with, the key pair of this Secret among it; else that alone.
    fn whole(&self, First { host, secret, pair }: First) -> Entry {
        let served = match &host {
            Some(HostMatch::Exact(name)) => self.exact.get(name.as_str()),
            Some(HostMatch::Wildcard(name)) => self.wildcard.get(name.as_str()),
            Some(HostMatch::Glob(_) | HostMatch::Regex(_)) | None => None,
        };
        let has_it = |entry: &&Entry| entry.pairs.iter().any(|(known, _)| *known == secret);
        let alone = || Entry::alone(secret.clone(), pair);
        served.filter(has_it).cloned().unwrap_or_else(alone)
    }

    fn find(&self, name: Option<&str>) -> Option<&Entry> {
        let by_name = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            let wildcard = || name.split_once('.').and_then(|(_, rest)| self.wildcard.get(rest));
            self.exact.get(name.as_str()).or_else(wildcard)
        });
        by_name.or(self.default.as_ref())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let entry = self.find(hello.server_name())?;
        entry.choose(hello.signature_schemes()).cloned()
    }
}

/// What a certificate serves first.
struct First {
    /// None where it is for no host.
    host: Option<HostMatch>,
    secret: ObjectName,
    pair: Arc<CertifiedKey>,
}

struct Builder<'a> {
    key_pairs: &'a BTreeMap<ObjectName, KeyPairPem>,
    previous: Option<&'a Certificates>,
    provider: &'a CryptoProvider,
    made: Certificates,
    broken: HashMap<ObjectName, (Code, String)>,
    problems: Vec<Problem>,
}

impl Builder<'_> {
    /// Serves the certificate for its hosts; returns what serves the first of them.
    fn add(&mut self, certificate: &Certificate) -> Option<First> {
        match &certificate.source {
            CertificateSource::Stored(secret) => {
                let parsed = self.read(secret, certificate)?;
                let hosts: Vec<&HostMatch> = match certificate.hosts.is_empty() {
                    true => parsed.names.iter().collect(),
                    false => certificate.hosts.iter().collect(),
                };
                for host in &hosts {
                    self.serve(host, secret, &parsed, certificate);
                }
                Some(First {
                    host: hosts.first().map(|host| (*host).clone()),
                    secret: secret.clone(),
                    pair: parsed.certified,
                })
            }
            CertificateSource::Discovered => {
                let mut first = None;
                for host in &certificate.hosts {
                    let found = self.discover(host, certificate);
                    if found.is_empty() {
                        self.problem(
                            certificate,
                            Code::CertificateNotFound,
                            format!("no Secret of the namespace holds a certificate for {host}"),
                        );
                    }
                    for (secret, parsed) in found {
                        self.serve(host, &secret, &parsed, certificate);
                        first.get_or_insert(First {
                            host: Some(host.clone()),
                            secret,
                            pair: parsed.certified,
                        });
                    }
                }
                first
            }
            CertificateSource::Given(name) => {
                self.problem(
                    certificate,
                    Code::CertificateNotFound,
                    format!("certificate {name} is not kept by the proxy, which serves Secrets"),
                );
                None
            }
        }
    }

    /// What serves unknown names alone, whatever names it is for.
    fn fallback(&mut self, secret: &ObjectName) -> Option<Entry> {
        let at = Certificate {
            source: CertificateSource::Stored(secret.clone()),
            hosts: BTreeSet::new(),
            origin: Origin::new("secret", secret.clone(), ""),
        };
        let parsed = self.read(secret, &at)?;
        Some(Entry::alone(secret.clone(), parsed.certified))
    }

    fn serve(&mut self, host: &HostMatch, secret: &ObjectName, parsed: &Parsed, at: &Certificate) {
        let (names, name): (_, &HostName) = match host {
            HostMatch::Exact(name) => (&mut self.made.exact, name),
            HostMatch::Wildcard(name) => (&mut self.made.wildcard, name),
            // No server name says a pattern; the hosts behind it come with names of their own, or the default.
            HostMatch::Glob(_) | HostMatch::Regex(_) => return,
        };
        let entry = names.entry(name.as_str().into()).or_default();
        if let Err(first) = entry.add(secret, &parsed.certified) {
            let message = format!(
                "{host} is served with Secret {first}, whose key is of the same type, not with {secret}"
            );
            self.problem(at, Code::CertificateConflict, message);
        }
    }

    /// The Secrets of the namespace that asks whose certificates are for the host: of each type of key the first, by name.
    fn discover(&mut self, host: &HostMatch, at: &Certificate) -> Vec<(ObjectName, Parsed)> {
        let namespace = &at.origin.object.namespace;
        let mut found: Vec<(ObjectName, Parsed)> = Vec::new();
        let key_pairs = self.key_pairs.iter();
        for (secret, pem) in key_pairs.filter(|(secret, _)| secret.namespace == *namespace) {
            // A Secret nobody names may be broken without being anybody's problem.
            let Ok(parsed) = self.parse(secret, pem) else {
                continue;
            };
            let algorithm = parsed.certified.key.algorithm();
            let is_first = |(_, known): &(ObjectName, Parsed)| known.certified.key.algorithm() != algorithm;
            if parsed.names.iter().any(|name| name.certifies(host)) && found.iter().all(is_first) {
                found.push((secret.clone(), parsed));
            }
        }
        found
    }

    fn read(&mut self, secret: &ObjectName, at: &Certificate) -> Option<Parsed> {
        let Some(pem) = self.key_pairs.get(secret) else {
            self.problem(
                at,
                Code::SecretNotFound,
                format!("Secret {secret} does not exist"),
            );
            return None;
        };
        match self.parse(secret, pem) {
            Ok(parsed) => Some(parsed),
            Err((code, why)) => {
                self.problem(at, code, format!("Secret {secret}: {why}"));
                None
            }
        }
    }

    fn parse(&mut self, secret: &ObjectName, pem: &KeyPairPem) -> Result<Parsed, (Code, String)> {
        if let Some(parsed) = self.made.parsed.get(secret) {
            return Ok(parsed.clone());
        }
        if let Some(broken) = self.broken.get(secret) {
            return Err(broken.clone());
        }
        let before = self
            .previous
            .and_then(|p| p.parsed.get(secret))
            .filter(|p| p.pem == *pem);
        let parsed = match before {
            Some(parsed) => parsed.clone(),
            None => match parse(pem, self.provider) {
                Ok(parsed) => parsed,
                Err(error) => {
                    let broken = (error.code(), error.to_string());
                    self.broken.insert(secret.clone(), broken.clone());
                    return Err(broken);
                }
            },
        };
        self.made.parsed.insert(secret.clone(), parsed.clone());
        Ok(parsed)
    }

    fn problem(&mut self, at: &Certificate, code: Code, message: String) {
        let problem = Problem::new(code, at.origin.clone(), message);
        // Listeners mostly share their certificates; one mistake is told once.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

fn parse(pem: &KeyPairPem, provider: &CryptoProvider) -> Result<Parsed, KeyPairError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem.chain)
        .collect::<Result<_, _>>()
        .map_err(|error| KeyPairError::Certificate(error.to_string()))?;
    let Some(own) = chain.first() else {
        return Err(KeyPairError::NoCertificate);
    };
    let names = {
        let own = webpki::EndEntityCert::try_from(own);
        let own = own.map_err(|error| KeyPairError::Certificate(error.to_string()))?;
        let names = own.valid_dns_names();
        names
            .filter_map(|name| HostMatch::parse(&name.to_ascii_lowercase()).ok())
            .collect()
    };
    // What is wrong with a key is not told: the text could hold a part of it.
    let key = PrivateKeyDer::from_pem_slice(&pem.key).map_err(|_| KeyPairError::Key)?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| KeyPairError::Key)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
        Err(rustls::Error::InconsistentKeys(_)) => return Err(KeyPairError::Mismatch),
        Err(error) => return Err(KeyPairError::Certificate(error.to_string())),
    }
    Ok(Parsed {
        pem: pem.clone(),
        certified: Arc::new(certified),
        names,
    })
}
