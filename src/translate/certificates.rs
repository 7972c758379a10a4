//! The members and Secrets in, the certificates of each HTTPS listener in order, and what lies in their Secrets, out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    Certificate, CertificateSource, Code, HostMatch, ObjectName, Origin, Port, Problem, Semantics, Stored,
};

use super::member::{Part, Wire};
use super::ownership::Owners;
use super::rules::Drafts;
use crate::cluster::snapshot::{Answered, Secrets, Snapshot};

/// The certificates by port.
pub(super) type ByPort = BTreeMap<Port, Vec<Certificate>>;
/// What lies in the Secrets that they name, where a provider takes that in.
pub(super) type KeyPairs = BTreeMap<ObjectName, Stored>;

/// Both.
pub(super) fn read(
    snapshot: &Snapshot,
    parts: &[Part<'_>],
    drafts: &[Drafts],
    owners: &Owners<'_>,
    problems: &mut Vec<Problem>,
) -> (ByPort, KeyPairs) {
    let mut wanted = Vec::new();
    let mut key_pairs = KeyPairs::new();
    for (part, drafts) in parts.iter().zip(drafts) {
        let https: Vec<Port> = part
            .ports
            .iter()
            .filter(|(_, wire)| **wire == Wire::Https)
            .map(|(port, _)| *port)
            .collect();
        if https.is_empty() {
            continue;
        }
        let mut certificates = of_part(snapshot, part, drafts, owners, problems);
        certificates.retain(|certificate| {
            let CertificateSource::Stored(name) = &certificate.source else {
                return true;
            };
            let Some(stored) = stored(snapshot, name) else {
                return true;
            };
            let may = may_serve(part, owners, &stored, &certificate.origin, problems);
            if may {
                key_pairs.insert(name.clone(), stored);
            }
            may
        });
        tell_other_names(snapshot, part, &certificates, problems);
        wanted.push((part, https, certificates));
    }
    let mut ports: BTreeMap<Port, Attached> = BTreeMap::new();
    // The first is shown to clients that name no host: it is of a member that has a say in the listener.
    for foreign in [false, true] {
        for (part, https, certificates) in &wanted {
            let ports_here = https
                .iter()
                .filter(|port| part.foreign.ports.contains(port) == foreign);
            for port in ports_here {
                let attached = ports.entry(*port).or_default();
                for certificate in certificates {
                    attached.attach(snapshot, certificate.clone(), problems);
                }
            }
        }
    }
    let by_port = ports.into_iter();
    let by_port = by_port.map(|(port, attached)| (port, attached.certificates));
    (by_port.collect(), key_pairs)
}

/// What lies in a Secret, for a provider that does not read it itself; none where nobody was asked.
fn stored(snapshot: &Snapshot, name: &ObjectName) -> Option<Stored> {
    match &snapshot.secrets {
        Secrets::NotRead => {}
        Secrets::Read(_) => return None,
    }
    Some(match snapshot.secret(name)? {
        Answered::Found(secret) => match secret.key_pair() {
            Ok(pair) => Stored::Pair(pair.clone()),
            Err((code, why)) => Stored::Unusable(*code, format!("Secret {name} {why}")),
        },
        Answered::Missing => Stored::Unusable(Code::SecretNotFound, format!("there is no Secret {name}")),
        Answered::Refused(why) => {
            Stored::Unusable(Code::AccessDenied, format!("Secret {name} cannot be read: {why}"))
        }
    })
}

/// A provider that is given a certificate serves every host with it that the certificate names, whichever it was
/// wanted for: in a load balancer that namespaces share, it must not name another's.
fn may_serve(
    part: &Part<'_>,
    owners: &Owners<'_>,
    stored: &Stored,
    at: &Origin,
    problems: &mut Vec<Problem>,
) -> bool {
    match stored {
        Stored::Pair(pair) if owners.divide(part) => {
            let mut names = pair.names.iter();
            names.all(|host| owners.may_certify(part, host, at, problems))
        }
        Stored::Pair(_) | Stored::Unusable(..) => true,
    }
}

/// A Secret's certificate must name the hosts that it is wanted for (Kubernetes API, IngressTLS.hosts). It is served all
/// the same: another that the listener has may be shown for the host.
fn tell_other_names(
    snapshot: &Snapshot,
    part: &Part<'_>,
    certificates: &[Certificate],
    problems: &mut Vec<Problem>,
) {
    for (index, tls) in part.ingress.tls.iter().enumerate() {
        let at = part.origin(format!("spec.tls[{index}].secretName"));
        let Some(certificate) = certificates.iter().find(|certificate| certificate.origin == at) else {
            continue;
        };
        let CertificateSource::Stored(name) = &certificate.source else {
            continue;
        };
        let Some(Answered::Found(secret)) = snapshot.secret(name) else {
            continue;
        };
        let Ok(pair) = secret.key_pair() else {
            continue;
        };
        for (place, text) in tls.hosts.iter().enumerate() {
            let Ok(host) = HostMatch::parse(text) else {
                continue;
            };
            if certificate.hosts.contains(&host) && !pair.names.iter().any(|own| own.certifies(&host)) {
                let message = format!("the certificate in Secret {name} does not name {host}");
                let at = part.origin(format!("spec.tls[{index}].hosts[{place}]"));
                problems.push(Problem::new(Code::CertificateHostMismatch, at, message));
            }
        }
    }
}

/// The certificates of one port.
#[derive(Debug, Default)]
struct Attached {
    certificates: Vec<Certificate>,
    /// Place of each source in the list.
    places: BTreeMap<CertificateSource, usize>,
    /// Which Secrets serve a host, one of each type of key.
    hosts: BTreeMap<HostMatch, Vec<ObjectName>>,
}

impl Attached {
    /// One entry for each source; of two Secrets for a host whose keys are of one type the first serves it.
    fn attach(&mut self, snapshot: &Snapshot, mut certificate: Certificate, problems: &mut Vec<Problem>) {
        if let CertificateSource::Stored(secret) = &certificate.source {
            let all = certificate.hosts.len();
            certificate.hosts.retain(|host| {
                let known = self.hosts.entry(host.clone()).or_default();
                if known.contains(secret) {
                    return true;
                }
                if let Some(first) = known
                    .iter()
                    .find(|first| may_be_one_type(snapshot, first, secret))
                {
                    let message = format!("{host} has the certificate of Secret {first} already");
                    let at = certificate.origin.clone();
                    problems.push(Problem::new(Code::CertificateConflict, at, message));
                    return false;
                }
                known.push(secret.clone());
                true
            });
            // Without a host of its own left it would serve all that it names.
            if all > 0 && certificate.hosts.is_empty() {
                return;
            }
        }
        // Each member's own search, so that what is not found is told at the member that wants it.
        let known = match certificate.source {
            CertificateSource::Discovered => None,
            CertificateSource::Given(_) | CertificateSource::Stored(_) => {
                self.places.get(&certificate.source)
            }
        };
        match known {
            Some(place) => {
                let known = &mut self.certificates[*place];
                // No hosts means all that the certificate names: that holds more than any list.
                if known.hosts.is_empty() || certificate.hosts.is_empty() {
                    known.hosts.clear();
                } else {
                    known.hosts.extend(certificate.hosts);
                }
            }
            None => {
                self.places
                    .insert(certificate.source.clone(), self.certificates.len());
                self.certificates.push(certificate);
            }
        }
    }
}

/// Whether the keys of two Secrets are of one type; those of which that is not known may be.
fn may_be_one_type(snapshot: &Snapshot, first: &ObjectName, second: &ObjectName) -> bool {
    let (Some(Answered::Found(first)), Some(Answered::Found(second))) =
        (snapshot.secret(first), snapshot.secret(second))
    else {
        return true;
    };
    match (first.key_pair(), second.key_pair()) {
        (Ok(first), Ok(second)) => first.algorithm.is_of_type(&second.algorithm),
        (Err(_), _) | (_, Err(_)) => true,
    }
}

fn of_part(
    snapshot: &Snapshot,
    part: &Part<'_>,
    drafts: &Drafts,
    owners: &Owners<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Certificate> {
    let given: Vec<Certificate> = part
        .certificates
        .iter()
        .map(|name| Certificate {
            source: CertificateSource::Given(name.clone()),
            hosts: BTreeSet::new(),
            origin: part.annotation("certificate-arn"),
        })
        .collect();
    let mut hosts: Vec<BTreeSet<HostMatch>> = Vec::with_capacity(part.ingress.tls.len());
    for (index, tls) in part.ingress.tls.iter().enumerate() {
        let mut parsed = BTreeSet::new();
        for (place, text) in tls.hosts.iter().enumerate() {
            let at = part.origin(format!("spec.tls[{index}].hosts[{place}]"));
            match HostMatch::parse(text) {
                Ok(host) => {
                    if owners.may_certify(part, &host, &at, problems) {
                        parsed.insert(host);
                    }
                }
                Err(why) => problems.push(Problem::new(Code::HostInvalid, at, why.to_string())),
            }
        }
        // A certificate for all that it names could name hosts of another namespace.
        if tls.hosts.is_empty() && owners.divide(part) {
            parsed = rule_hosts(part, drafts);
        }
        hosts.push(parsed);
    }
    match &snapshot.secrets {
        // Certificates that are named leave nothing to be found.
        Secrets::NotRead if !given.is_empty() => given,
        Secrets::NotRead => found_by_host(part, &hosts, drafts),
        Secrets::Read(secrets) => {
            let mut all = given;
            for (index, (tls, hosts)) in part.ingress.tls.iter().zip(hosts).enumerate() {
                // No host left is not the same as none written.
                if hosts.is_empty() && (!tls.hosts.is_empty() || owners.divide(part)) {
                    continue;
                }
                let Some(name) = &tls.secret else {
                    all.push(discovered(hosts, part.origin(format!("spec.tls[{index}]"))));
                    continue;
                };
                let name = ObjectName::new(part.ingress.meta.name.namespace.clone(), name.clone());
                let origin = part.origin(format!("spec.tls[{index}].secretName"));
                let Some(secret) = secrets.get(&name) else {
                    let message = format!("there is no Secret {name}");
                    problems.push(Problem::new(Code::SecretNotFound, origin, message));
                    continue;
                };
                let missing = match (&secret.certificate, &secret.key) {
                    (None, _) => Some("tls.crt"),
                    (_, None) => Some("tls.key"),
                    (Some(_), Some(_)) => None,
                };
                if let Some(missing) = missing {
                    let message = format!("Secret {name} has no {missing}");
                    problems.push(Problem::new(Code::SecretInvalid, origin, message));
                    continue;
                }
                all.push(Certificate {
                    source: CertificateSource::Stored(name),
                    hosts,
                    origin,
                });
            }
            if part.ingress.tls.is_empty() && all.is_empty() {
                let hosts = rule_hosts(part, drafts);
                all.push(discovered(hosts, part.annotation("listen-ports")));
            }
            all
        }
    }
}

/// The provider ends TLS with certificates that it keeps. It takes in those that lie in Secrets, and finds others by
/// host.
fn found_by_host(part: &Part<'_>, tls: &[BTreeSet<HostMatch>], drafts: &Drafts) -> Vec<Certificate> {
    match part.semantics {
        // Its rule: hosts of rules and of `spec.tls` together, whatever Secrets are named.
        Semantics::AwsLoadBalancerController => {
            let mut hosts = rule_hosts(part, drafts);
            hosts.extend(tls.iter().flatten().cloned());
            vec![discovered(hosts, part.annotation("listen-ports"))]
        }
        Semantics::Kubernetes if tls.is_empty() => {
            vec![discovered(
                rule_hosts(part, drafts),
                part.annotation("listen-ports"),
            )]
        }
        Semantics::Kubernetes => {
            let namespace = &part.ingress.meta.name.namespace;
            let entries = part.ingress.tls.iter().zip(tls).enumerate();
            // No host left is not the same as none written.
            let entries = entries.filter(|(_, (entry, hosts))| entry.hosts.is_empty() || !hosts.is_empty());
            entries
                .map(|(index, (entry, hosts))| {
                    let hosts = match entry.hosts.is_empty() {
                        true => rule_hosts(part, drafts),
                        false => hosts.clone(),
                    };
                    let entry_field = format!("spec.tls[{index}]");
                    match &entry.secret {
                        None => discovered(hosts, part.origin(entry_field)),
                        Some(name) => Certificate {
                            source: CertificateSource::Stored(ObjectName::new(
                                namespace.clone(),
                                name.clone(),
                            )),
                            hosts,
                            origin: part.origin(format!("{entry_field}.secretName")),
                        },
                    }
                })
                .collect()
        }
    }
}

fn discovered(hosts: BTreeSet<HostMatch>, origin: Origin) -> Certificate {
    Certificate {
        source: CertificateSource::Discovered,
        hosts,
        origin,
    }
}

/// The hosts an Ingress's rules name, as it wrote them.
fn rule_hosts(part: &Part<'_>, drafts: &Drafts) -> BTreeSet<HostMatch> {
    // Only hosts that the member may have.
    let kept: BTreeSet<&HostMatch> = drafts.hosts.iter().map(|named| &named.host).collect();
    let rules = part.ingress.rules.iter().filter_map(|rule| rule.host.as_deref());
    rules
        .filter_map(|text| HostMatch::parse(text).ok())
        .filter(|host| part.semantics == Semantics::AwsLoadBalancerController || kept.contains(host))
        .collect()
}
