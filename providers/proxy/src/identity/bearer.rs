//! A request with a token in, whether it may pass out. Source: RFC 6750; ELBv2 user guide, "Verify JWTs".

use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use portcullis_model::JwtClaim;

use super::jwk::Algorithm;
use super::jwt::{Claims, Refused};
use super::keys::{KeySet, Known};
use crate::answer::Failure;
use crate::worker::Worker;

/// As an ALB, so that a token that passes here passes there.
const WAYS: [Algorithm; 1] = [Algorithm::Rs256];

/// What a token must say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bearer {
    pub(crate) issuer: String,
    pub(crate) claims: Vec<JwtClaim>,
}

impl Bearer {
    pub(crate) async fn admit(
        &self,
        worker: &Worker,
        keys: &Arc<KeySet>,
        headers: &HeaderMap,
    ) -> Result<(), Failure> {
        let Some(token) = token(headers) else {
            let challenge = HeaderValue::from_static("Bearer");
            let why = "a token is needed";
            return Err(Failure::new(StatusCode::UNAUTHORIZED, why).challenging(challenge));
        };
        let known = keys.keys(worker).await?;
        let mut judged = self.judge(token, &known);
        if judged == Err(Refused::UnknownKey)
            && let Some(newer) = keys.newer(worker, &known).await?
        {
            judged = self.judge(token, &newer);
        }
        judged.map_err(|refused| {
            let challenge = format!(
                "Bearer error=\"invalid_token\", error_description=\"{}\"",
                refused.why()
            );
            let failure = Failure::new(StatusCode::UNAUTHORIZED, refused.why());
            match HeaderValue::try_from(challenge) {
                Ok(challenge) => failure.challenging(challenge),
                Err(_) => failure,
            }
        })
    }

    fn judge(&self, token: &str, known: &Known) -> Result<(), Refused> {
        let claims = Claims::verified(token, &known.keys, &WAYS)?;
        claims.check(&self.issuer, Timestamp::now().as_second())?;
        match self.claims.iter().all(|claim| claims.has(claim)) {
            true => Ok(()),
            false => Err(Refused::Claim),
        }
    }
}

/// None where there is not one token.
fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
    let rest = rest.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty()).then_some(rest)
}
