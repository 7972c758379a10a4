//! Kubernetes objects as JSON values in, trimmed objects or the field that is wrong out.
//!
//! Objects of the API were validated there and are read as they stand. Manifests were not: their names are
//! validated as Kubernetes would, and fields that Kubernetes lacks are told.

mod class;
mod closed;
mod ingress;
mod meta;
mod object;
mod path;
mod secret;
mod service;
mod text;
mod workload;

use portcullis_model::{ObjectName, Origin};
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

use self::meta::MetaWire;
use super::object::{Kind, Meta, Object, ObjectKey};

/// An object read from a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    pub object: Object,
    /// Fields that Kubernetes lacks.
    pub unknown: Vec<String>,
}

/// Why a value is no object that is read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ReadError {
    #[error("{api_version} {kind} {name} is of a kind that is not used here")]
    Foreign {
        api_version: String,
        kind: String,
        name: String,
    },
    /// It cannot be said which object it is.
    #[error("{0}")]
    Nameless(String),
    #[error("{}: {message}", key.kind.at(&key.name, field.as_str()))]
    Invalid {
        key: ObjectKey,
        field: String,
        message: String,
        /// Other fields that Kubernetes lacks, as far as it was read.
        unknown: Vec<String>,
    },
}

impl Kind {
    /// Where a field of an object of this kind stands.
    pub fn at(self, name: &ObjectName, field: &str) -> Origin {
        Origin::new(self.origin(), name.clone(), field)
    }
}

/// What is wrong with a field.
#[derive(Debug, PartialEq, Eq)]
struct Invalid {
    field: String,
    message: String,
    /// Fields that Kubernetes lacks, as far as the object was read.
    unknown: Vec<String>,
}

impl Invalid {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            message: message.into(),
            unknown: Vec::new(),
        }
    }

    /// The same, where its field stands within another one.
    fn below(self, parent: &str) -> Self {
        let field = match self.field.is_empty() {
            true => parent.to_owned(),
            false => format!("{parent}.{}", self.field),
        };
        Self { field, ..self }
    }

    fn missing(field: impl Into<String>) -> Self {
        Self::new(field, "is missing")
    }
}

/// The wire form of a kind.
trait Wire: DeserializeOwned {
    /// Fields beside those of every object that Kubernetes has at the levels read, and that are not read.
    const UNREAD: &[&str];

    fn metadata(&mut self) -> MetaWire;

    fn trim(self, meta: Meta) -> Result<Object, Invalid>;
}

/// Reads an object that the Kubernetes API sent; items of a list do not say their kind.
pub fn from_api(kind: Kind, value: &Value) -> Result<Object, ReadError> {
    let name = name_of(kind, value)?;
    let read = dispatch(kind, value, Source::Api).map_err(|invalid| invalid.of(kind, name))?;
    Ok(read.object)
}

/// Reads an object that was written by hand.
pub fn from_manifest(value: &Value) -> Result<Read, ReadError> {
    let kind = kind_of(value)?;
    let name = name_of(kind, value)?;
    if value["kind"] != kind.as_str() {
        let message = match value.get("kind").and_then(Value::as_str) {
            Some(written) => format!("there is no {written}; write {}", kind.as_str()),
            None => format!("is missing; write {}", kind.as_str()),
        };
        return Err(Invalid::new("kind", message).of(kind, name));
    }
    if &*api_version(value) != kind.api_version() {
        let message = match &*api_version(value) {
            "" => format!("is missing; write {}", kind.api_version()),
            written => format!(
                "{written} of {} is not read; write {}",
                kind.as_str(),
                kind.api_version()
            ),
        };
        return Err(Invalid::new("apiVersion", message).of(kind, name));
    }
    if let Err(invalid) = text::validate_name(kind, &name) {
        return Err(invalid.of(kind, name));
    }
    dispatch(kind, value, Source::Manifest).map_err(|invalid| invalid.of(kind, name))
}

/// What is left of an Ingress or a class that cannot be read as a whole: what it guards, to be closed.
pub fn closed(value: &Value, error: &ReadError) -> Option<Object> {
    match error {
        ReadError::Invalid { key, field, .. } if key.kind == Kind::Ingress => {
            let ingress = closed::ingress(&key.name, value, field);
            let guards = !ingress.rules.is_empty() || ingress.default_backend.is_some();
            guards.then(|| ingress.into())
        }
        ReadError::Invalid { key, .. } if key.kind == Kind::IngressClass => {
            Some(closed::class(&key.name, value).into())
        }
        ReadError::Invalid { .. } | ReadError::Foreign { .. } | ReadError::Nameless(_) => None,
    }
}

/// Why it cannot be said which Ingress this is, if it is one.
pub fn nameless_ingress(value: &Value) -> Option<String> {
    let kind = kind_of(value).ok().filter(|kind| *kind == Kind::Ingress)?;
    match name_of(kind, value) {
        Err(ReadError::Nameless(why)) => Some(why),
        Ok(_) | Err(ReadError::Foreign { .. } | ReadError::Invalid { .. }) => None,
    }
}

impl Invalid {
    fn of(self, kind: Kind, name: ObjectName) -> ReadError {
        ReadError::Invalid {
            key: ObjectKey { kind, name },
            field: self.field,
            message: self.message,
            unknown: self.unknown,
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Api,
    Manifest,
}

fn dispatch(kind: Kind, value: &Value, source: Source) -> Result<Read, Invalid> {
    match kind {
        Kind::Ingress => read::<ingress::IngressWire>(kind, value, source),
        Kind::IngressClass => read::<class::IngressClassWire>(kind, value, source),
        Kind::ClassParameters => read::<class::ClassParametersWire>(kind, value, source),
        Kind::IncumbentParameters => read::<class::IncumbentParametersWire>(kind, value, source),
        Kind::Service => read::<service::ServiceWire>(kind, value, source),
        Kind::EndpointSlice => read::<service::EndpointSliceWire>(kind, value, source),
        Kind::Secret => read::<secret::SecretWire>(kind, value, source),
        Kind::Node => read::<workload::NodeWire>(kind, value, source),
        Kind::Pod => read::<workload::PodWire>(kind, value, source),
        Kind::Namespace => read::<workload::NamespaceWire>(kind, value, source),
    }
}

fn read<W: Wire>(kind: Kind, value: &Value, source: Source) -> Result<Read, Invalid> {
    let (mut wire, unknown) = match source {
        Source::Api => (path::read::<W>(kind, value)?, Vec::new()),
        Source::Manifest => path::read_strictly::<W>(kind, value, W::UNREAD)?,
    };
    let meta = wire.metadata();
    let judged = match source {
        Source::Api => Ok(()),
        Source::Manifest => meta.validate(),
    };
    let object = judged
        .and_then(|()| meta.trim(kind))
        .and_then(|meta| wire.trim(meta));
    match object {
        Ok(object) => Ok(Read { object, unknown }),
        Err(invalid) => Err(Invalid { unknown, ..invalid }),
    }
}

/// Which kind a manifest says it is, by its group and kind, whatever the version.
fn kind_of(value: &Value) -> Result<Kind, ReadError> {
    if !value.is_object() {
        return Err(ReadError::Nameless(format!(
            "{} is not an object of Kubernetes",
            describe(value)
        )));
    }
    let api_version = api_version(value);
    let Some(written) = value.get("kind").and_then(Value::as_str) else {
        return match looks_like_an_ingress(value, &api_version) {
            true => Ok(Kind::Ingress),
            false => Err(ReadError::Nameless("kind is missing".into())),
        };
    };
    if api_version.is_empty() && written != Kind::Ingress.as_str() {
        return Err(ReadError::Nameless(format!(
            "apiVersion of the {written} is missing"
        )));
    }
    let group = |api_version: &str| {
        api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
            .to_owned()
    };
    let written_group = group(&api_version);
    Kind::ALL
        .iter()
        .copied()
        .find(|kind| {
            kind.as_str() == written
                && (written_group == group(kind.api_version())
                    || (*kind == Kind::Ingress && may_be_meant(&written_group)))
        })
        .or_else(|| looks_like_an_ingress(value, &api_version).then_some(Kind::Ingress))
        .ok_or_else(|| ReadError::Foreign {
            api_version,
            kind: written.to_owned(),
            name: value
                .pointer("/metadata/name")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
        })
}

/// Whether a group may be that of Ingresses, misspelt or of old (`extensions`, until Kubernetes 1.22): Kubernetes' own have
/// no other Ingress. Those of others have a domain, and some an Ingress of their own, as OpenShift and Knative.
fn may_be_meant(group: &str) -> bool {
    !group.contains('.') || group.ends_with("k8s.io") || group.starts_with("networking.k8")
}

/// Whether it has the rules of one, or what answers without any, whatever it is called: were it passed over, what it guards
/// would be open.
fn looks_like_an_ingress(value: &Value, api_version: &str) -> bool {
    let spec = &value["spec"];
    let rules = spec["rules"].as_array();
    let is_nameless = api_version.is_empty() && value["kind"].is_null();
    (is_nameless || api_version.starts_with("networking.k8s.io/"))
        && (spec["defaultBackend"].is_object()
            || rules.is_some_and(|rules| rules.iter().any(|rule| rule["http"]["paths"].is_array())))
}

fn api_version(value: &Value) -> String {
    value
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The object's name, in the namespace `default` where none is written.
fn name_of(kind: Kind, value: &Value) -> Result<ObjectName, ReadError> {
    let mut of_another_type = None;
    let mut text = |field: &str| match value.pointer(&format!("/metadata/{field}")) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        // Known well enough to say what is closed.
        Some(other @ (Value::Number(_) | Value::Bool(_))) if kind == Kind::Ingress => {
            let message = format!("is {other}; a text in quotes is needed");
            of_another_type.get_or_insert(Invalid::new(format!("metadata.{field}"), message));
            Ok(other.to_string())
        }
        Some(other) => Err(ReadError::Nameless(format!(
            "metadata.{field} of the {} is {}; a text in quotes is needed",
            kind.as_str(),
            describe(other)
        ))),
    };
    let name = text("name")?;
    if name.is_empty() {
        return Err(ReadError::Nameless(format!(
            "metadata.name of the {} is missing",
            kind.as_str()
        )));
    }
    let namespace = text("namespace")?;
    let read = match (kind.is_namespaced(), &*namespace) {
        (false, "") => Ok(ObjectName::cluster(name)),
        (false, _) => {
            let name = ObjectName::cluster(name);
            let message = format!("must be absent: {} has no namespace", kind.as_str());
            Err(Invalid::new("metadata.namespace", message).of(kind, name))
        }
        (true, "") => Ok(ObjectName::new("default", name)),
        (true, namespace) => Ok(ObjectName::new(namespace, name)),
    };
    match (read, of_another_type) {
        (Ok(name), Some(invalid)) => Err(invalid.of(kind, name)),
        (read, _) => read,
    }
}

fn describe(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(_) => "a text".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "an object".into(),
    }
}

#[cfg(test)]
mod tests;
