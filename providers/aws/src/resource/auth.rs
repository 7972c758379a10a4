//! What stands before a rule's action: who may pass, in the API's form.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_model::{ObjectName, Sealed};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// The version of each Secret that was last applied in full: AWS takes client secrets and never shows them.
pub type Applied = BTreeMap<ObjectName, Arc<str>>;

/// What a session is, for OIDC and Cognito alike. All of it is always sent, so that AWS has nothing to add.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SessionConfig {
    pub session_cookie_name: String,
    pub scope: String,
    /// In seconds.
    pub session_timeout: u32,
    /// `deny`, `allow` or `authenticate`.
    pub on_unauthenticated_request: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub authentication_request_extra_params: BTreeMap<String, String>,
}

/// Source: ELBv2 API, AuthenticateOidcActionConfig.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct OidcConfig {
    pub issuer: String,
    pub authorization_endpoint: String,
    pub token_endpoint: String,
    pub user_info_endpoint: String,
    #[serde(flatten)]
    pub client: OidcClient,
    #[serde(flatten)]
    pub session: SessionConfig,
}

/// Who we are to the identity provider. Neither id nor secret is ever shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OidcClient {
    /// Desired: to be sent.
    Given {
        /// Where they lie.
        of: ObjectName,
        id: Sealed<str>,
        secret: Sealed<str>,
        version: Arc<str>,
    },
    /// Desired, but nobody could be asked what they are: taken for what there is. Such a call is never sent.
    Unread,
    /// Observed: AWS shows the id alone. The version is of what this process sent.
    Held {
        id: Sealed<str>,
        version: Option<Arc<str>>,
    },
}

impl Serialize for OidcClient {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let sealed = Sealed::<str>::new("");
        let mut fields = serializer.serialize_map(Some(2))?;
        fields.serialize_entry("ClientId", &sealed)?;
        fields.serialize_entry("ClientSecret", &sealed)?;
        fields.end()
    }
}

impl OidcClient {
    fn agrees(&self, desired: &Self, applied: &Applied) -> bool {
        match (self, desired) {
            (_, Self::Unread) => true,
            (
                Self::Held {
                    id: had,
                    version: sent,
                },
                Self::Given { of, id, version, .. },
            ) => {
                had == id
                    && sent
                        .as_ref()
                        .or(applied.get(of))
                        .is_none_or(|last| last == version)
            }
            (Self::Given { .. } | Self::Unread | Self::Held { .. }, _) => self == desired,
        }
    }
}

impl OidcConfig {
    /// Whether this, as observed, is what is desired.
    pub(super) fn agrees(&self, desired: &Self, applied: &Applied) -> bool {
        let rest = |config: &Self| Self {
            client: OidcClient::Unread,
            ..config.clone()
        };
        self.client.agrees(&desired.client, applied) && rest(self) == rest(desired)
    }

    /// As it is observed once it was sent.
    pub(super) fn sent(&self) -> Self {
        let client = match &self.client {
            OidcClient::Given { id, version, .. } => OidcClient::Held {
                id: id.clone(),
                version: Some(version.clone()),
            },
            OidcClient::Unread | OidcClient::Held { .. } => self.client.clone(),
        };
        Self {
            client,
            ..self.clone()
        }
    }
}

/// Source: ELBv2 API, AuthenticateCognitoActionConfig.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CognitoConfig {
    pub user_pool_arn: String,
    pub user_pool_client_id: String,
    pub user_pool_domain: String,
    #[serde(flatten)]
    pub session: SessionConfig,
}

/// Source: ELBv2 API, JwtValidationActionAdditionalClaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JwtClaimFormat {
    SingleString,
    StringArray,
    SpaceSeparatedValues,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct JwtClaimConfig {
    pub format: JwtClaimFormat,
    pub name: String,
    pub values: Vec<String>,
}

/// Source: ELBv2 API, JwtValidationActionConfig.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct JwtConfig {
    pub jwks_endpoint: String,
    pub issuer: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional_claims: Vec<JwtClaimConfig>,
}
