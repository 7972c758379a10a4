//! Who may pass in, the API's action that stands first out, or why AWS cannot ask for it.

use portcullis_model::{
    Authenticate, ClaimFormat, Client, Code, JwtClaim, ObjectName, OnUnauthenticated, Session,
};

use super::actions::DesiredAction;
use super::conditions::Refusal;
use crate::limits;
use crate::resource::{
    CognitoConfig, JwtClaimConfig, JwtClaimFormat, JwtConfig, OidcClient, OidcConfig, RuleAction,
    SessionConfig,
};

/// The step before the action, for an HTTPS listener.
pub(super) fn step(step: &Authenticate) -> Result<DesiredAction, Refusal> {
    match step {
        Authenticate::Oidc {
            issuer,
            authorization_endpoint,
            token_endpoint,
            user_info_endpoint,
            secret,
            client,
            session,
            origin: _,
        } => {
            let config = OidcConfig {
                issuer: url("issuer", issuer)?,
                authorization_endpoint: url("authorizationEndpoint", authorization_endpoint)?,
                token_endpoint: url("tokenEndpoint", token_endpoint)?,
                user_info_endpoint: url("userInfoEndpoint", user_info_endpoint)?,
                client: credentials(secret, client.as_ref()),
                session: self::session(session)?,
            };
            Ok(RuleAction::AuthenticateOidc { config })
        }
        Authenticate::Cognito {
            user_pool,
            client,
            domain,
            session,
            origin: _,
        } => {
            if !user_pool.starts_with("arn:") {
                return Err(unsupported(format!("userPoolARN {user_pool:?} is no ARN")));
            }
            let config = CognitoConfig {
                user_pool_arn: user_pool.clone(),
                user_pool_client_id: client.clone(),
                user_pool_domain: domain.clone(),
                session: self::session(session)?,
            };
            Ok(RuleAction::AuthenticateCognito { config })
        }
        Authenticate::Jwt {
            issuer,
            key_set,
            claims,
            origin: _,
        } => {
            if claims.len() > limits::JWT_CLAIMS {
                return Err(too_many("additionalClaims", claims.len(), limits::JWT_CLAIMS));
            }
            let config = JwtConfig {
                jwks_endpoint: url("jwksEndpoint", key_set)?,
                issuer: issuer.clone(),
                additional_claims: claims.iter().map(claim).collect::<Result<_, _>>()?,
            };
            Ok(RuleAction::JwtValidation { config })
        }
    }
}

fn unsupported(message: String) -> Refusal {
    Refusal::new(Code::ActionUnsupported, message)
}

fn too_many(what: &str, count: usize, most: usize) -> Refusal {
    let message = format!("AWS takes at most {most} {what}, and there are {count}");
    Refusal::new(Code::LimitExceeded, message)
}

/// ELBv2 API, AuthenticateOidcActionConfig: "a full URL, including the HTTPS protocol, the domain, and the path".
fn url(field: &str, text: &str) -> Result<String, Refusal> {
    let host = text.strip_prefix("https://").unwrap_or_default();
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain && host.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        Ok(text.to_owned())
    } else {
        Err(unsupported(format!(
            "{field} {text:?} is no URL that starts with https://"
        )))
    }
}

fn credentials(of: &ObjectName, client: Option<&Client>) -> OidcClient {
    match client {
        Some(client) => OidcClient::Given {
            of: of.clone(),
            id: client.id.clone(),
            secret: client.secret.clone(),
            version: client.version.clone(),
        },
        None => OidcClient::Unread,
    }
}

fn session(session: &Session) -> Result<SessionConfig, Refusal> {
    if session.extra.len() > limits::EXTRA_PARAMETERS {
        let (count, most) = (session.extra.len(), limits::EXTRA_PARAMETERS);
        return Err(too_many("authenticationRequestExtraParams", count, most));
    }
    let on_unauthenticated = match session.on_unauthenticated {
        OnUnauthenticated::Deny => "deny",
        OnUnauthenticated::Allow => "allow",
        OnUnauthenticated::Authenticate => "authenticate",
    };
    Ok(SessionConfig {
        session_cookie_name: session.cookie.clone(),
        scope: session.scope.clone(),
        session_timeout: session.timeout_seconds,
        on_unauthenticated_request: on_unauthenticated.to_owned(),
        authentication_request_extra_params: session.extra.clone(),
    })
}

fn claim(claim: &JwtClaim) -> Result<JwtClaimConfig, Refusal> {
    let JwtClaim { name, format, values } = claim;
    if limits::JWT_RESERVED_CLAIMS.contains(&name.as_str()) {
        return Err(unsupported(format!(
            "claim {name} is always checked and cannot be named"
        )));
    }
    if values.len() > limits::JWT_VALUES {
        return Err(too_many(
            &format!("values of claim {name:?}"),
            values.len(),
            limits::JWT_VALUES,
        ));
    }
    let long = |text: &&String| text.chars().count() > limits::JWT_VALUE_LENGTH;
    if let Some(text) = values.iter().chain([name]).find(long) {
        let most = limits::JWT_VALUE_LENGTH;
        let message =
            format!("AWS takes names and values of claims of at most {most} characters, not {text:?}");
        return Err(Refusal::new(Code::LimitExceeded, message));
    }
    let spaced = values.iter().any(|value| value.contains(' '));
    if *format == ClaimFormat::Spaced && spaced {
        return Err(unsupported(format!(
            "a value of claim {name:?} holds a space, which separates values"
        )));
    }
    Ok(JwtClaimConfig {
        format: match format {
            ClaimFormat::Text => JwtClaimFormat::SingleString,
            ClaimFormat::List => JwtClaimFormat::StringArray,
            ClaimFormat::Spaced => JwtClaimFormat::SpaceSeparatedValues,
        },
        name: name.clone(),
        values: values.clone(),
    })
}
