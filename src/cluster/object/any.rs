//! An object of one kind in, one that may be of any kind, and is shared by all who have it, out.

use std::sync::Arc;

use super::{
    ClassParameters, EndpointSlice, Ingress, IngressClass, Kind, Meta, Namespace, Node, ObjectKey, Pod,
    Secret, Service,
};

/// Any of the objects that are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    Ingress(Arc<Ingress>),
    IngressClass(Arc<IngressClass>),
    ClassParameters(Arc<ClassParameters>),
    Service(Arc<Service>),
    EndpointSlice(Arc<EndpointSlice>),
    Secret(Arc<Secret>),
    Node(Arc<Node>),
    Pod(Arc<Pod>),
    Namespace(Arc<Namespace>),
}

macro_rules! object_of {
    ($($kind:ident),+) => {$(
        impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(Arc::new(object))
            }
        }
    )+};
}

object_of!(
    Ingress,
    IngressClass,
    ClassParameters,
    Service,
    EndpointSlice,
    Secret,
    Node,
    Pod,
    Namespace
);

impl Object {
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Ingress(o) => &o.meta,
            Self::IngressClass(o) => &o.meta,
            Self::ClassParameters(o) => &o.meta,
            Self::Service(o) => &o.meta,
            Self::EndpointSlice(o) => &o.meta,
            Self::Secret(o) => &o.meta,
            Self::Node(o) => &o.meta,
            Self::Pod(o) => &o.meta,
            Self::Namespace(o) => &o.meta,
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Self::Ingress(_) => Kind::Ingress,
            Self::IngressClass(_) => Kind::IngressClass,
            Self::ClassParameters(o) => o.kind,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Secret(_) => Kind::Secret,
            Self::Node(_) => Kind::Node,
            Self::Pod(_) => Kind::Pod,
            Self::Namespace(_) => Kind::Namespace,
        }
    }

    pub fn key(&self) -> ObjectKey {
        ObjectKey {
            kind: self.kind(),
            name: self.meta().name.clone(),
        }
    }
}
