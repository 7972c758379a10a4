//! A load balancer's id in, the custom resource that records it out: written before anything exists, removed last.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{LoadBalancerId, Port};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{DeletionPolicy, Mode};

/// Held while something of the load balancer may exist outside the cluster.
pub const FINALIZER: &str = "portcullis.dev/load-balancer";

/// `spec` of a `LoadBalancer`: what is needed to clean up when every member is gone. Written by the controller alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(kube::CustomResource, schemars::JsonSchema))]
#[cfg_attr(
    feature = "cluster",
    kube(
        group = "portcullis.dev",
        version = "v1alpha1",
        kind = "LoadBalancer",
        plural = "loadbalancers",
        shortname = "plb",
        root = "LoadBalancerResource",
        status = "LoadBalancerStatus",
        derive = "PartialEq",
        doc = "One load balancer, as the controller made it. Read it; the controller alone writes it.",
        printcolumn = r#"{"name":"Provider","type":"string","jsonPath":".spec.provider"}"#,
        printcolumn = r#"{"name":"Address","type":"string","jsonPath":".status.address"}"#,
        printcolumn = r#"{"name":"Ready","type":"string","jsonPath":".status.conditions[?(@.type=='Ready')].status"}"#,
        printcolumn = r#"{"name":"Settled","type":"string","jsonPath":".status.conditions[?(@.type=='Settled')].reason"}"#,
        printcolumn = r#"{"name":"Problems","type":"integer","jsonPath":".status.problems.total"}"#,
        printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
        printcolumn = r#"{"name":"Pending","type":"integer","priority":1,"jsonPath":".status.pending.total"}"#,
        printcolumn = r#"{"name":"Why","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type=='Settled')].message"}"#
    )
)]
#[serde(rename_all = "camelCase")]
pub struct LoadBalancerSpec {
    /// The group, or `namespace/name` of a lone Ingress.
    pub id: String,
    /// Who serves it, such as `aws`.
    pub provider: String,
    /// The cluster's name in the provider's marks of ownership.
    pub cluster_name: String,
    /// Where it was made; a controller of another region leaves it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// `spec.controller` of the classes that it was made for; a controller of another name leaves it alone. Absent in what
    /// an earlier version recorded, until it is served again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller_name: Option<String>,
    /// The only namespace that its controller watches; absent where that is all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_namespace: Option<String>,
    /// Value of the annotation `kubernetes.io/ingress.class` by which Ingresses of it are its controller's, where that
    /// decides; a controller with another one leaves it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress_class: Option<String>,
    /// As its class last said. With `Plan`, nothing of it is deleted when its last member goes.
    #[serde(default)]
    pub mode: Mode,
    /// As its Ingresses and their class last said. With `Retain`, nothing of it is deleted when its last member goes, until
    /// somebody writes `Delete` here.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// What a record keeps of what its Ingresses and their class last said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    pub mode: Mode,
    pub deletion_policy: DeletionPolicy,
}

impl LoadBalancerSpec {
    pub fn terms(&self) -> Terms {
        Terms {
            mode: self.mode,
            deletion_policy: self.deletion_policy,
        }
    }
}

impl From<Mode> for Terms {
    fn from(mode: Mode) -> Self {
        Self {
            mode,
            deletion_policy: DeletionPolicy::Delete,
        }
    }
}

/// `status` of a `LoadBalancer`: a hint for people and for restarts, never an authority. Long lists are cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancerStatus {
    /// Where clients find it: a host name or an IP address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Where they find it, too: what stands in front of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub further_addresses: Vec<String>,
    /// `Ready`, `Settled`, `ProblemsFound`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// Ingresses served, as `namespace/name`.
    pub members: Bounded<String>,
    /// What exists.
    pub resources: Bounded<ResourceRef>,
    /// What would be changed, were changes made.
    pub pending: Bounded<PendingChange>,
    /// Ports it listens on, and what is spoken there: a member that asks for another protocol does not change it while
    /// others rely on it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<ListenerRef>,
    /// What is wrong, and where.
    pub problems: Bounded<ProblemRef>,
    /// Of what was last applied in full; absent while changes are being made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// Of targets in groups where other clusters register some, too: those this cluster has registered, or is about
    /// to. Bounded by the provider's quota of targets per load balancer.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub own_targets: BTreeMap<String, BTreeSet<String>>,
    /// A digest of each Secret as it was last applied, by `namespace/name`: providers never show what they were given.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// What its members were admitted with: while a class is missing, they are served as they were.
    #[serde(skip_serializing_if = "Admitted::is_empty")]
    pub admitted: Admitted,
}

impl LoadBalancerStatus {
    /// All that members show.
    pub fn addresses(&self) -> Vec<&str> {
        let first = self.address.iter();
        first.chain(&self.further_addresses).map(String::as_str).collect()
    }
}

/// A port that is listened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct ListenerRef {
    pub port: u16,
    pub protocol: Wire,
}

impl From<(&Port, &Wire)> for ListenerRef {
    fn from((port, protocol): (&Port, &Wire)) -> Self {
        Self {
            port: port.get(),
            protocol: *protocol,
        }
    }
}

/// What is spoken at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub enum Wire {
    #[serde(rename = "HTTP")]
    Http,
    #[serde(rename = "HTTPS")]
    Https,
}

/// What is needed to go on serving members that are refused after a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Admitted {
    /// By `namespace/name`.
    pub members: BTreeMap<String, AdmittedMember>,
    /// `spec` of parameters that members were admitted with, by their name; the incumbent's by kind and name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "cluster", schemars(schema_with = "objects"))]
    pub parameters: BTreeMap<String, serde_json::Value>,
}

impl Admitted {
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

/// How one was admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct AdmittedMember {
    /// A digest of what it said.
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<String>,
}

/// Objects of any form: whoever reads them checks it.
#[cfg(feature = "cluster")]
fn objects(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "additionalProperties": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}

/// A list cut to a fixed length, so that the whole object stays far below what the API server stores (1.5 MiB).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Bounded<T> {
    /// How many there are, with those left out.
    // Kubernetes knows no unsigned formats, and warns of them.
    #[cfg_attr(feature = "cluster", schemars(with = "i64", range(min = 0)))]
    pub total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<T>,
}

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self {
            total: 0,
            first: Vec::new(),
        }
    }
}

impl<T> Bounded<T> {
    /// Keeps the first `limit` items and counts all of them.
    pub fn new(items: impl IntoIterator<Item = T>, limit: usize) -> Self {
        let mut first = Vec::new();
        let mut total = 0;
        for item in items {
            if first.len() < limit {
                first.push(item);
            }
            total += 1;
        }
        Self { total, first }
    }

    /// Whether nothing was left out.
    pub fn is_whole(&self) -> bool {
        u64::try_from(self.first.len()) == Ok(self.total)
    }
}

/// One condition, in the form of `metav1.Condition`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word: a stable code where something is wrong.
    pub reason: String,
    pub message: String,
    /// RFC 3339; of the last change of `status`.
    pub last_transition_time: String,
}

/// A resource that exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub struct ResourceRef {
    pub kind: String,
    pub id: String,
    /// The provider's own name of it.
    pub name: String,
}

/// A change that was computed and not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub struct PendingChange {
    /// `create`, `update` or `delete`.
    pub action: String,
    pub kind: String,
    pub id: String,
    /// Service and operation of the one call it is, such as `elbv2:CreateRule`.
    #[serde(default)]
    pub call: String,
    pub reason: String,
}

/// Something wrong, with its stable code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cluster", derive(schemars::JsonSchema))]
pub struct ProblemRef {
    pub code: String,
    /// Object and field.
    pub at: String,
    pub message: String,
}

/// Name of the custom resource that records a load balancer.
///
/// `namespace.name` of a lone object, the name of a group: the first always has a dot, the second never. What does not
/// fit that, or could be mistaken for it, ends in a digest of the whole id, so no two ids share a name.
pub fn object_name(id: &LoadBalancerId) -> String {
    let (plain, dots) = match id {
        LoadBalancerId::Group(group) => (group.to_string(), Dots::Replaced),
        LoadBalancerId::Lone(object) => (format!("{}.{}", object.namespace, object.name), Dots::Kept),
    };
    let stem: String = plain.chars().map(|c| admitted(c, dots)).collect();
    if stem == plain && is_subdomain(&stem) && !ends_like_a_digest(&stem) {
        return stem;
    }
    let mut stem: String = stem.chars().take(MAX_NAME - DIGEST - 2).collect();
    while stem.ends_with(['.', '-']) {
        stem.pop();
    }
    let digest = Sha256::digest(id.to_string().as_bytes());
    let digest: String = digest
        .iter()
        .take(DIGEST / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = format!("{stem}-{digest}");
    if is_subdomain(&name) {
        name
    } else {
        // Empty labels or a leading dash: no object of a cluster is called so, but names are not checked here.
        format!("x{}-{digest}", stem.replace('.', "-"))
    }
}

/// Longest name of an object, a DNS-1123 subdomain (Kubernetes docs, "Object Names and IDs").
const MAX_NAME: usize = 253;
/// Hexadecimal digits of a digest: 64 bits, so that nobody can look for a name that collides.
const DIGEST: usize = 16;

/// What becomes of the dots of a name.
#[derive(Clone, Copy)]
enum Dots {
    Kept,
    Replaced,
}

fn admitted(c: char, dots: Dots) -> char {
    match (c, dots) {
        ('.', Dots::Kept) => '.',
        ('a'..='z' | '0'..='9', _) => c,
        ('A'..='Z', _) => c.to_ascii_lowercase(),
        _ => '-',
    }
}

fn is_subdomain(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name
            .split('.')
            .all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
}

fn ends_like_a_digest(name: &str) -> bool {
    name.rsplit_once('-')
        .is_some_and(|(_, end)| end.len() == DIGEST && end.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_shows_its_id_where_it_can() {
        for (id, shown, digest) in [
            ("public", "public", false),
            ("shop/web", "shop.web", false),
            ("shop/web.v2", "shop.web.v2", false),
            ("shop.web", "shop-web", true),
            ("shop/web-0123456789abcdef", "shop.web-0123456789abcdef", true),
        ] {
            let name = object_name(&LoadBalancerId::parse(id));
            let (stem, end) = name.split_at(shown.len());
            assert_eq!(
                (stem, end.len()),
                (shown, if digest { DIGEST + 1 } else { 0 }),
                "{id}"
            );
        }
    }

    #[test]
    fn a_bounded_list_counts_what_it_leaves_out() {
        for (given, limit, first, whole) in [
            (3, 5, 3, true),
            (5, 5, 5, true),
            (6, 5, 5, false),
            (0, 5, 0, true),
        ] {
            let list = Bounded::new(0..given, limit);
            assert_eq!(list.first.len(), first, "{given} of {limit}");
            assert_eq!(list.total, u64::try_from(given).unwrap(), "{given} of {limit}");
            assert_eq!(list.is_whole(), whole, "{given} of {limit}");
        }
    }

    fn ids() -> impl Strategy<Value = LoadBalancerId> {
        // Few letters, so that ids come close to each other.
        prop_oneof![
            "[a.-]{1,6}(-0123456789abcdef)?",
            "[a]{1,3}/[a.-]{1,6}",
            "[aA_.-]{250,260}",
            "\\PC{0,8}"
        ]
        .prop_map(|text| LoadBalancerId::parse(&text))
    }

    proptest! {
        #[test]
        fn names_are_valid_and_no_two_ids_share_one(a in ids(), b in ids()) {
            let name = object_name(&a);
            prop_assert!(!name.is_empty() && name.len() <= MAX_NAME && is_subdomain(&name), "{name}");
            prop_assert!(name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'.' || c == b'-'), "{name}");
            prop_assert_eq!(a == b, name == object_name(&b), "{} and {}", a, b);
        }
    }
}
