//! IngressClass and the parameters of classes, ours and the incumbent's, as written in, what is kept of them out.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::meta::MetaWire;
use super::{Invalid, Wire, object, path};
use crate::cluster::labels::LabelSelector;
use crate::cluster::object::{ClassParameters, IngressClass, Kind, Meta, Object, ParametersRef};
use crate::crd::{Admission, ClassParametersSpec, NamespaceSelector};

#[derive(Deserialize)]
pub(super) struct IngressClassWire {
    #[serde(default, deserialize_with = "object::one")]
    metadata: Option<MetaWire>,
    #[serde(default, deserialize_with = "object::one")]
    spec: Option<Spec>,
}

#[derive(Default, Deserialize)]
struct Spec {
    controller: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::one")]
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    api_group: Option<Arc<str>>,
    kind: Option<Arc<str>>,
    name: Option<Arc<str>>,
}

impl Wire for IngressClassWire {
    const UNREAD: &[&str] = &["spec.parameters.namespace", "spec.parameters.scope"];

    fn metadata(&mut self) -> MetaWire {
        self.metadata.take().unwrap_or_default()
    }

    fn trim(self, meta: Meta) -> Result<Object, Invalid> {
        let spec = self.spec.unwrap_or_default();
        let is_default = is_default(&meta);
        Ok(Object::from(IngressClass {
            meta,
            controller: spec.controller.unwrap_or_default(),
            is_default,
            parameters: spec.parameters.map(|parameters| ParametersRef {
                api_group: parameters.api_group.unwrap_or_default(),
                kind: parameters.kind.unwrap_or_default(),
                name: parameters.name.unwrap_or_default(),
            }),
        }))
    }
}

pub(super) fn is_default(meta: &Meta) -> bool {
    let written = meta.annotations.get(IngressClass::DEFAULT);
    written.is_some_and(|value| &**value == "true")
}

#[derive(Deserialize)]
pub(super) struct ClassParametersWire {
    #[serde(default, deserialize_with = "object::one")]
    metadata: Option<MetaWire>,
    #[serde(default, deserialize_with = "object::one")]
    spec: Option<ClassParametersSpec>,
}

impl Wire for ClassParametersWire {
    const UNREAD: &[&str] = &[];

    fn metadata(&mut self) -> MetaWire {
        self.metadata.take().unwrap_or_default()
    }

    fn trim(self, meta: Meta) -> Result<Object, Invalid> {
        let spec = self.spec.unwrap_or_default();
        let parameters = ClassParameters::new(meta, Kind::ClassParameters, spec, Vec::new());
        Ok(Object::from(parameters))
    }
}

/// The incumbent's parameters: our fields of the same names, and who may use the class under another one.
#[derive(Deserialize)]
pub(super) struct IncumbentParametersWire {
    #[serde(default, deserialize_with = "object::one")]
    metadata: Option<MetaWire>,
    spec: Option<Map<String, Value>>,
}

/// Fields that it has and that are read. What is not among them may restrict something.
const INCUMBENT_FIELDS: [&str; 18] = [
    "certificateArn",
    "group",
    "inboundCIDRs",
    "ipAddressType",
    "ipamConfiguration",
    "listeners",
    "loadBalancerAttributes",
    "loadBalancerName",
    "minimumLoadBalancerCapacity",
    "prefixListsIDs",
    "scheme",
    "sslPolicy",
    "sslRedirectPort",
    "subnets",
    "tags",
    "targetType",
    "wafv2AclArn",
    "wafv2AclName",
];

impl Wire for IncumbentParametersWire {
    const UNREAD: &[&str] = &["status"];

    fn metadata(&mut self) -> MetaWire {
        self.metadata.take().unwrap_or_default()
    }

    fn trim(self, meta: Meta) -> Result<Object, Invalid> {
        let mut fields = self.spec.unwrap_or_default();
        fields.retain(|_, value| !value.is_null());
        // Its name until version 2.13.
        if let Some(lists) = fields.remove("PrefixListsIDs")
            && fields.insert("prefixListsIDs".into(), lists).is_some()
        {
            return Err(Invalid::new(
                "spec.prefixListsIDs",
                "stands beside its older name PrefixListsIDs",
            ));
        }
        let selector: LabelSelector = match fields.remove("namespaceSelector") {
            Some(selector) => path::read(Kind::IncumbentParameters, &selector)
                .map_err(|invalid| invalid.below("spec.namespaceSelector"))?,
            None => LabelSelector::default(),
        };
        let (known, unread): (Map<_, _>, Map<_, _>) = fields
            .into_iter()
            .partition(|(name, _)| INCUMBENT_FIELDS.contains(&name.as_str()));
        let mut spec: ClassParametersSpec = path::read(Kind::IncumbentParameters, &Value::Object(known))
            .map_err(|invalid| invalid.below("spec"))?;
        // An empty selector selects all.
        if !selector.match_labels.is_empty() || !selector.match_expressions.is_empty() {
            let namespaces = NamespaceSelector {
                names: Vec::new(),
                match_labels: selector.match_labels,
                match_expressions: selector.match_expressions,
            };
            spec.admission = Some(Admission {
                namespaces: Some(namespaces),
                ..Admission::default()
            });
        }
        let unread = unread.into_iter().map(|(name, _)| Arc::from(name)).collect();
        let parameters = ClassParameters::new(meta, Kind::IncumbentParameters, spec, unread);
        Ok(Object::from(parameters))
    }
}
