//! A load balancer and the account in, a short text that differs where what should exist differs out.

use portcullis_model::{ClientCertificates, FirewallChoice, LoadBalancer, Protocol, Stored};
use sha2::{Digest, Sha256};

use crate::account::Account;
use crate::compile::{Desired, compile};
use crate::kept;
use crate::observed::{Observed, Owner};
use crate::settings::Settings;

/// What is asked to be absent is no resource; what nobody asks about stays as it is.
fn absences(desired: &LoadBalancer) -> Vec<String> {
    let mut out = Vec::new();
    let firewall = desired.options.firewall.as_ref();
    if firewall.is_some_and(|firewall| firewall.choice == FirewallChoice::Off) {
        out.push("no firewall".to_owned());
    }
    if desired.options.attack_protection == Some(false) {
        out.push("no protection".to_owned());
    }
    for listener in desired.listeners.values() {
        if let Protocol::Https(tls) = &listener.protocol
            && let Some(clients) = &tls.clients
            && clients.certificates == ClientCertificates::Off
        {
            out.push(format!("no client certificates at {}", listener.port));
        }
    }
    out
}

/// A digest of the desired resources as `plan -o json` shows them, tags and targets included, and of the versions of the
/// secrets that it does not show. What exists has no part in it. Stored: a change of the form is a change of every load balancer's fingerprint, and costs one look at each.
pub fn fingerprint(settings: &Settings, desired: &LoadBalancer, account: &Account) -> String {
    let nothing = Observed::nothing(Owner::load_balancer(&settings.cluster, &desired.id));
    let (compiled, _) = compile(settings, desired, account, &nothing);
    let resources = compiled.as_ref().map(Desired::resources);
    // Maps are sorted and numbers are whole, so equal resources are equal bytes.
    let mut bytes = serde_json::to_vec(&resources).unwrap_or_default();
    // Made of nothing it cannot be, but it may exist, and go on.
    if compiled.is_none() {
        bytes.extend(serde_json::to_vec(desired).unwrap_or_default());
    }
    // Not part of any resource, but of what is done with its targets.
    for id in compiled.iter().flat_map(|compiled| compiled.joint.keys()) {
        bytes.extend(id.bytes());
    }
    bytes.extend(kept::unknown(desired));
    for absence in absences(desired) {
        bytes.extend(absence.bytes());
    }
    let mut digest = Sha256::new_with_prefix(&bytes);
    for (secret, version) in desired.secrets() {
        digest.update(format!("{secret} {version}\n").as_bytes());
    }
    // What serves instead of a certificate may be the same, and what is told of it is not.
    for (secret, stored) in &desired.key_pairs {
        if let Stored::Unusable(code, _) = stored {
            digest.update(format!("{secret} {code}\n").as_bytes());
        }
    }
    let digest = digest.finalize();
    let digits: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("aws-{digits}")
}
