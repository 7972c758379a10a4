//! `elbv2.k8s.aws/v1beta1` TargetGroupBindings as the API has them in, those that users wrote by hand out.

use kube::ResourceExt;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use portcullis_model::{ObjectName, Opening, Origin};
use serde::Deserialize;
use serde_json::Value;

use super::incumbent;
use super::labels::LabelSelector;
use super::object::PortRef;
use super::opening;

/// A Service whose endpoints somebody wants in a target group that exists by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    pub name: ObjectName,
    pub uid: String,
    /// RFC 3339, which sorts by itself; of two for one target group the older counts.
    pub created: String,
    pub deleting: bool,
    /// It has the incumbent's finalizer: targets may be registered for it.
    pub held: bool,
    /// None where it cannot be read, with the reason.
    pub spec: Result<BindingSpec, String>,
    /// What it asks to be open, whether or not the rest can be read.
    pub openings: Vec<Opening>,
}

/// `spec`, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingSpec {
    #[serde(rename = "targetGroupARN")]
    pub target_group_arn: Option<String>,
    pub target_group_name: Option<String>,
    pub target_type: Option<String>,
    #[serde(default)]
    pub service_ref: ServiceReference,
    pub networking: Option<Value>,
    pub node_selector: Option<LabelSelector>,
    #[serde(rename = "vpcID")]
    pub vpc_id: Option<String>,
    pub multi_cluster_target_group: Option<bool>,
    pub iam_role_arn_to_assume: Option<String>,
    pub assume_role_external_id: Option<String>,
}

/// `spec.serviceRef`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct ServiceReference {
    #[serde(default)]
    pub name: String,
    /// A number or a name.
    #[serde(default)]
    pub port: Value,
}

impl ServiceReference {
    pub fn port(&self) -> PortRef {
        match &self.port {
            Value::Number(number) => number.as_i64().map_or(PortRef::Missing, PortRef::Number),
            Value::String(name) => PortRef::Name(name.as_str().into()),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => PortRef::Missing,
        }
    }
}

impl Binding {
    /// None for those that the incumbent made: they are its own.
    pub fn read(object: &DynamicObject) -> Option<Self> {
        let meta = &object.metadata;
        let labels = meta.labels.clone().unwrap_or_default();
        if incumbent::binding(&labels) != incumbent::Binding::User {
            return None;
        }
        let spec = object.data.get("spec").cloned().unwrap_or_default();
        let created = meta.creation_timestamp.as_ref().map(|time| time.0.to_string());
        let name = ObjectName::new(object.namespace().unwrap_or_default(), object.name_any());
        Some(Self {
            openings: opening::of_networking(&name, &spec["networking"]),
            name,
            uid: object.uid().unwrap_or_default(),
            created: created.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
            held: object
                .finalizers()
                .iter()
                .any(|finalizer| finalizer == incumbent::BINDING_FINALIZER),
            spec: BindingSpec::deserialize(spec).map_err(|error| error.to_string()),
        })
    }

    pub fn at(&self, field: &str) -> Origin {
        Origin::new("targetgroupbinding", self.name.clone(), field)
    }
}

/// How the API names them.
pub fn resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding");
    ApiResource::from_gvk_with_plural(&kind, "targetgroupbindings")
}
