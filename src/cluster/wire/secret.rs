//! `v1` Secret as written in, its certificate and key, the credentials of an identity provider's client, or users, out. No message quotes what a Secret holds.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use portcullis_model::Sealed;
use serde::Deserialize;

use super::meta::{MetaWire, keyed};
use super::{Invalid, Wire, object};
use crate::cluster::object::{Meta, Object, Secret};

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
    #[serde(rename = "ca.crt")]
    authorities: Option<String>,
    #[serde(rename = "clientID")]
    client_id: Option<String>,
    /// As the incumbent's forerunner wrote it.
    #[serde(rename = "clientId")]
    legacy_client_id: Option<String>,
    #[serde(rename = "clientSecret")]
    client_secret: Option<String>,
    #[serde(rename = "auth")]
    users: Option<String>,
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
        let value = |name: &str, plain: Option<String>, data: Option<String>| match plain {
            Some(text) => Ok(Some(text.into_bytes())),
            None => decode(name, data),
        };
        let certificate = value("tls.crt", plain.certificate, data.certificate)?;
        let key = value("tls.key", plain.key, data.key)?;
        let authorities = value("ca.crt", plain.authorities, data.authorities)?;
        let client_id = value("clientID", plain.client_id, data.client_id)?;
        let legacy = value("clientId", plain.legacy_client_id, data.legacy_client_id)?;
        let client_secret = value("clientSecret", plain.client_secret, data.client_secret)?;
        let users = value("auth", plain.users, data.users)?;
        Ok(Object::from(Secret {
            meta,
            kind: self.r#type.unwrap_or_default(),
            certificate: certificate.map(Arc::from),
            key: key.map(Sealed::new),
            authorities: authorities.map(Arc::from),
            client_id: client_id.or(legacy).map(Sealed::new),
            client_secret: client_secret.map(Sealed::new),
            users: users.map(Sealed::new),
            key_pair: Default::default(),
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
