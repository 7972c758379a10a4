//! IngressClass and `IngressClassParameters` as written in, what is kept of them out.

use std::sync::Arc;

use serde::Deserialize;

use super::meta::MetaWire;
use super::{Invalid, Wire, object};
use crate::cluster::object::{ClassParameters, IngressClass, Meta, Object, ParametersRef};
use crate::crd::ClassParametersSpec;

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
        // Only this very text counts. Source: Kubernetes, `plugin/pkg/admission/network/defaultingressclass`.
        let is_default = meta
            .annotations
            .get("ingressclass.kubernetes.io/is-default-class")
            .is_some_and(|value| &**value == "true");
        Ok(Object::IngressClass(IngressClass {
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
        Ok(Object::ClassParameters(ClassParameters {
            meta,
            spec: self.spec.unwrap_or_default(),
        }))
    }
}
