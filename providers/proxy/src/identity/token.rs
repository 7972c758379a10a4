//! A code or a refresh token in, what the provider's token endpoint gives for it out. Source: RFC 6749, OpenID Connect
//! Core 1.0 §3.1.3 and §12.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use jiff::Timestamp;
use portcullis_model::Client;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::form;
use super::jwk::Algorithm;
use super::jwt::{Claims, Refused};
use super::keys::Known;
use super::outside::{Endpoint, Outside, Unreached};

/// Every way that verifies by a public key.
const WAYS: [Algorithm; 8] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
];

/// What a provider gives. Never shown: it has no `Debug`.
#[derive(Clone, Deserialize)]
pub(crate) struct Granted {
    pub(crate) access_token: String,
    #[serde(default)]
    pub(crate) refresh_token: Option<String>,
    #[serde(default)]
    pub(crate) id_token: Option<String>,
    token_type: String,
    /// In seconds.
    #[serde(default, deserialize_with = "seconds")]
    pub(crate) expires_in: Option<i64>,
}

/// Some providers write the number as a text.
fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    })
}

/// Why nothing was given. Holds nothing of what was sent or answered but a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The provider says no.
    Refused(StatusCode),
    /// It could not be asked, or is not well.
    Unreached,
    /// The proxy has no file left to ask it by.
    Full,
    /// What it gives is not what it should.
    Unusable,
}

/// Who asks, and where.
pub(crate) struct TokenEndpoint {
    pub(crate) at: Endpoint,
    pub(crate) client: Client,
}

impl TokenEndpoint {
    /// Asks once: a code, and mostly a refresh token, is worth nothing a second time.
    pub(crate) async fn ask(
        &self,
        outside: &Outside,
        known: &Known,
        pairs: &[(&str, &str)],
    ) -> Result<Granted, Denied> {
        let (id, secret) = (self.client.id.reveal(), self.client.secret.reveal());
        let mut form = form::write(pairs.iter().copied());
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::POST;
        let headers = request.headers_mut();
        if known.takes_basic {
            // Source: RFC 6749 §2.3.1.
            let mut pair = String::new();
            form::encode(&mut pair, id);
            pair.push(':');
            form::encode(&mut pair, secret);
            let basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)));
            let mut basic = basic.map_err(|_| Denied::Unusable)?;
            basic.set_sensitive(true);
            headers.insert(AUTHORIZATION, basic);
        } else {
            form.push('&');
            form.push_str(&form::write([("client_id", id), ("client_secret", secret)]));
        }
        let kind = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, kind);
        *request.body_mut() = Full::new(Bytes::from(form));

        let answer = outside.ask(&self.at, request).await;
        let answer = answer.map_err(|error| {
            tracing::warn!(from = %self.at, "an identity provider gives no tokens: {error}");
            match error {
                Unreached::Full => Denied::Full,
                Unreached::Late
                | Unreached::Unknown(_)
                | Unreached::Forbidden(_)
                | Unreached::Connect(_)
                | Unreached::NoAuthorities
                | Unreached::Http(_)
                | Unreached::TooLong
                | Unreached::Broken => Denied::Unreached,
            }
        })?;
        match answer.status {
            StatusCode::OK => {}
            status if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS => {
                return Err(Denied::Refused(status));
            }
            status => {
                tracing::warn!(from = %self.at, "an identity provider gives no tokens: it answered {}", status.as_u16());
                return Err(Denied::Unreached);
            }
        }
        let granted: Granted = serde_json::from_slice(&answer.body).map_err(|_| Denied::Unusable)?;
        match granted.token_type.eq_ignore_ascii_case("bearer") {
            true => Ok(granted),
            false => Err(Denied::Unusable),
        }
    }
}

/// Reads an ID token of the issuer for the client.
pub(crate) fn identity(token: &str, known: &Known, issuer: &str, client: &str) -> Result<Claims, Refused> {
    let claims = Claims::verified(token, &known.keys, &WAYS)?;
    claims.check(issuer, Timestamp::now().as_second())?;
    claims.is_for(client)?;
    Ok(claims)
}
