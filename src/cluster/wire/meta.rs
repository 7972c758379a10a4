//! `metadata` as written in, what is kept of it out.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::ObjectName;
use serde::Deserialize;

use super::{Invalid, path, text};
use crate::cluster::object::{Kind, Meta};

/// Largest size of all annotations of an object together, in bytes of keys and values.
/// Source: Kubernetes, `apimachinery/pkg/api/validation/objectmeta.go`, `TotalAnnotationSizeLimitB`.
const ANNOTATIONS_BYTES: usize = 256 * 1024;

/// Null stands for the empty text, as where Kubernetes decodes it.
pub(super) type Texts = BTreeMap<Arc<str>, Option<Arc<str>>>;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaWire {
    name: Option<Arc<str>>,
    namespace: Option<Arc<str>>,
    uid: Option<Arc<str>>,
    creation_timestamp: Option<Arc<str>>,
    deletion_timestamp: Option<Arc<str>>,
    pub(super) generation: Option<i64>,
    pub(super) finalizers: Option<Vec<Arc<str>>>,
    annotations: Option<Texts>,
    pub(super) labels: Option<Texts>,
}

impl MetaWire {
    /// Refuses what the API server refuses at creation.
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        let bytes: usize = self
            .annotations
            .iter()
            .flatten()
            .map(|(key, value)| key.len() + value.as_ref().map_or(0, |value| value.len()))
            .sum();
        if bytes > ANNOTATIONS_BYTES {
            return Err(Invalid::new(
                "metadata.annotations",
                format!("are {bytes} bytes together; Kubernetes allows {ANNOTATIONS_BYTES}"),
            ));
        }
        Ok(())
    }

    pub(super) fn trim(self, kind: Kind) -> Result<Meta, Invalid> {
        let name = self.name.ok_or_else(|| Invalid::missing("metadata.name"))?;
        let namespace = self.namespace.filter(|namespace| !namespace.is_empty());
        let created = match &self.creation_timestamp {
            Some(time) => text::seconds(time).ok_or_else(|| {
                Invalid::new(
                    "metadata.creationTimestamp",
                    format!("{time:?} is not a time as in 2026-11-24T12:00:00Z"),
                )
            })?,
            None => 0,
        };
        Ok(Meta {
            name: match (kind.is_namespaced(), namespace) {
                (true, Some(namespace)) => ObjectName::new(namespace, name),
                (true, None) => ObjectName::new("default", name),
                (false, _) => ObjectName::cluster(name),
            },
            uid: self.uid.unwrap_or_default(),
            created,
            deleting: self.deletion_timestamp.is_some(),
            annotations: self
                .annotations
                .unwrap_or_default()
                .into_iter()
                .filter(|(key, _)| Meta::keeps_annotation(key))
                .map(|(key, value)| {
                    let value = Meta::kept_value(&key, value.unwrap_or_default());
                    (key, value)
                })
                .collect(),
        })
    }
}

/// Labels or a selector.
pub(super) fn texts(texts: Option<Texts>) -> BTreeMap<Arc<str>, Arc<str>> {
    texts
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect()
}

/// The path of an annotation or another key of a map.
pub(super) fn keyed(parent: &str, key: &str) -> String {
    let mut path = parent.to_owned();
    path::push_key(&mut path, key);
    path
}
