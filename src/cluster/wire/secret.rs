//! `v1` Secret as written in, its certificate and key out. No message quotes what a Secret holds.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::meta::{MetaWire, keyed};
use super::{Invalid, Wire, object};
use crate::cluster::object::{Meta, Object, PrivateKey, Secret};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SecretWire {
    #[serde(default, deserialize_with = "object::one")]
    metadata: Option<MetaWire>,
    r#type: Option<Arc<str>>,
    #[serde(default, deserialize_with = "object::one")]
    data: Option<Material>,
    #[serde(default, deserialize_with = "object::one")]
    string_data: Option<Material>,
}

#[derive(Default, Deserialize)]
struct Material {
    #[serde(rename = "tls.crt")]
    certificate: Option<String>,
    #[serde(rename = "tls.key")]
    key: Option<String>,
}

impl Wire for SecretWire {
    const UNREAD: &[&str] = &["data.*", "immutable", "stringData.*"];

    fn metadata(&mut self) -> MetaWire {
        self.metadata.take().unwrap_or_default()
    }

    fn trim(self, meta: Meta) -> Result<Object, Invalid> {
        let data = self.data.unwrap_or_default();
        let plain = self.string_data.unwrap_or_default();
        // `stringData` overwrites `data`. Source: Kubernetes API, Secret.stringData.
        let certificate = match plain.certificate {
            Some(text) => Some(text.into_bytes()),
            None => decode("tls.crt", data.certificate)?,
        };
        let key = match plain.key {
            Some(text) => Some(text.into_bytes()),
            None => decode("tls.key", data.key)?,
        };
        Ok(Object::Secret(Secret {
            meta,
            kind: self.r#type.unwrap_or_default(),
            certificate: certificate.map(Arc::from),
            key: key.map(PrivateKey::new),
        }))
    }
}

/// Line breaks are passed over, as Go's decoder does.
fn decode(name: &str, text: Option<String>) -> Result<Option<Vec<u8>>, Invalid> {
    let Some(mut text) = text else {
        return Ok(None);
    };
    text.retain(|c| c != '\n' && c != '\r');
    match STANDARD.decode(text) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => Err(Invalid::new(
            keyed("data", name),
            "is not base64; plain text belongs under stringData",
        )),
    }
}
