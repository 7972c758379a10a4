//! Who may pass in, the SDK's settings of it out, and back.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    AuthenticateCognitoActionConfig, AuthenticateOidcActionConfig, JwtValidationActionAdditionalClaim,
    JwtValidationActionConfig,
};
use portcullis_model::Sealed;

use crate::resource::{
    CognitoConfig, JwtClaimConfig, JwtClaimFormat, JwtConfig, OidcClient, OidcConfig, SessionConfig,
};

/// What AWS takes where nothing is said. Source: ELBv2 API, AuthenticateOidcActionConfig.
const COOKIE: &str = "AWSELBAuthSessionCookie";
const SCOPE: &str = "openid";
const TIMEOUT: u32 = 604_800;
const ON_UNAUTHENTICATED: &str = "authenticate";

/// Without id and secret where they were not read: such a call is refused by AWS, and never made.
pub(super) fn oidc_to(config: &OidcConfig) -> AuthenticateOidcActionConfig {
    let OidcConfig {
        issuer,
        authorization_endpoint,
        token_endpoint,
        user_info_endpoint,
        client,
        session,
    } = config;
    let (id, secret) = match client {
        OidcClient::Given { id, secret, .. } => (Some(id.reveal()), Some(secret.reveal())),
        OidcClient::Held { id, .. } => (Some(id.reveal()), None),
        OidcClient::Unread => (None, None),
    };
    AuthenticateOidcActionConfig::builder()
        .issuer(issuer)
        .authorization_endpoint(authorization_endpoint)
        .token_endpoint(token_endpoint)
        .user_info_endpoint(user_info_endpoint)
        .set_client_id(id.map(str::to_owned))
        .set_client_secret(secret.map(str::to_owned))
        // What stays as it is keeps the secret that it has, which nobody here knows.
        .set_use_existing_client_secret(matches!(client, OidcClient::Held { .. }).then_some(true))
        .session_cookie_name(&session.session_cookie_name)
        .scope(&session.scope)
        .session_timeout(session.session_timeout.into())
        .on_unauthenticated_request(session.on_unauthenticated_request.as_str().into())
        .set_authentication_request_extra_params(extra_to(session))
        .build()
}

pub(super) fn cognito_to(config: &CognitoConfig) -> AuthenticateCognitoActionConfig {
    let session = &config.session;
    AuthenticateCognitoActionConfig::builder()
        .user_pool_arn(&config.user_pool_arn)
        .user_pool_client_id(&config.user_pool_client_id)
        .user_pool_domain(&config.user_pool_domain)
        .session_cookie_name(&session.session_cookie_name)
        .scope(&session.scope)
        .session_timeout(session.session_timeout.into())
        .on_unauthenticated_request(session.on_unauthenticated_request.as_str().into())
        .set_authentication_request_extra_params(extra_to(session))
        .build()
}

type Extra = std::collections::HashMap<String, String>;

fn extra_to(session: &SessionConfig) -> Option<Extra> {
    let extra: Extra = session
        .authentication_request_extra_params
        .clone()
        .into_iter()
        .collect();
    Some(extra).filter(|extra| !extra.is_empty())
}

pub(super) fn jwt_to(config: &JwtConfig) -> JwtValidationActionConfig {
    let claim = |claim: &JwtClaimConfig| {
        let format = match claim.format {
            JwtClaimFormat::SingleString => "single-string",
            JwtClaimFormat::StringArray => "string-array",
            JwtClaimFormat::SpaceSeparatedValues => "space-separated-values",
        };
        JwtValidationActionAdditionalClaim::builder()
            .format(format.into())
            .name(&claim.name)
            .set_values(Some(claim.values.clone()))
            .build()
    };
    let claims: Vec<_> = config.additional_claims.iter().map(claim).collect();
    JwtValidationActionConfig::builder()
        .jwks_endpoint(&config.jwks_endpoint)
        .issuer(&config.issuer)
        .set_additional_claims(Some(claims).filter(|claims| !claims.is_empty()))
        .build()
}

/// None where something is not understood.
pub(super) fn oidc_from(sdk: AuthenticateOidcActionConfig) -> Option<OidcConfig> {
    let on_unauthenticated = sdk.on_unauthenticated_request.as_ref();
    let session = session_from(
        sdk.session_cookie_name,
        sdk.scope,
        sdk.session_timeout,
        on_unauthenticated.map(|behaviour| behaviour.as_str()),
        sdk.authentication_request_extra_params,
    )?;
    Some(OidcConfig {
        issuer: sdk.issuer?,
        authorization_endpoint: sdk.authorization_endpoint?,
        token_endpoint: sdk.token_endpoint?,
        user_info_endpoint: sdk.user_info_endpoint?,
        client: OidcClient::Held {
            id: Sealed::new(sdk.client_id?),
            version: None,
        },
        session,
    })
}

/// None where something is not understood.
pub(super) fn cognito_from(sdk: AuthenticateCognitoActionConfig) -> Option<CognitoConfig> {
    let on_unauthenticated = sdk.on_unauthenticated_request.as_ref();
    let session = session_from(
        sdk.session_cookie_name,
        sdk.scope,
        sdk.session_timeout,
        on_unauthenticated.map(|behaviour| behaviour.as_str()),
        sdk.authentication_request_extra_params,
    )?;
    Some(CognitoConfig {
        user_pool_arn: sdk.user_pool_arn?,
        user_pool_client_id: sdk.user_pool_client_id?,
        user_pool_domain: sdk.user_pool_domain?,
        session,
    })
}

fn session_from(
    cookie: Option<String>,
    scope: Option<String>,
    timeout: Option<i64>,
    on_unauthenticated: Option<&str>,
    extra: Option<Extra>,
) -> Option<SessionConfig> {
    let or = |text: Option<String>, default: &str| text.unwrap_or_else(|| default.to_owned());
    Some(SessionConfig {
        session_cookie_name: or(cookie, COOKIE),
        scope: or(scope, SCOPE),
        session_timeout: match timeout {
            Some(seconds) => u32::try_from(seconds).ok()?,
            None => TIMEOUT,
        },
        on_unauthenticated_request: on_unauthenticated.unwrap_or(ON_UNAUTHENTICATED).to_owned(),
        authentication_request_extra_params: extra
            .unwrap_or_default()
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
    })
}

/// None where something is not understood.
pub(super) fn jwt_from(sdk: JwtValidationActionConfig) -> Option<JwtConfig> {
    let claim = |sdk: JwtValidationActionAdditionalClaim| {
        Some(JwtClaimConfig {
            format: match sdk.format?.as_str() {
                "single-string" => JwtClaimFormat::SingleString,
                "string-array" => JwtClaimFormat::StringArray,
                "space-separated-values" => JwtClaimFormat::SpaceSeparatedValues,
                _ => return None,
            },
            name: sdk.name?,
            values: sdk.values.unwrap_or_default(),
        })
    };
    let claims = sdk.additional_claims.unwrap_or_default().into_iter();
    Some(JwtConfig {
        jwks_endpoint: sdk.jwks_endpoint?,
        issuer: sdk.issuer?,
        additional_claims: claims.map(claim).collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(extra: &[(&str, &str)]) -> SessionConfig {
        SessionConfig {
            session_cookie_name: "mine".into(),
            scope: "openid email".into(),
            session_timeout: 60,
            on_unauthenticated_request: "deny".into(),
            authentication_request_extra_params: extra
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn who_may_pass_survives_the_way_to_aws_and_back() {
        for extra in [&[][..], &[("loginHint", "X"), ("prompt", "login")]] {
            let oidc = OidcConfig {
                issuer: "https://i".into(),
                authorization_endpoint: "https://i/a".into(),
                token_endpoint: "https://i/t".into(),
                user_info_endpoint: "https://i/u".into(),
                client: OidcClient::Held {
                    id: Sealed::new("id"),
                    version: None,
                },
                session: session(extra),
            };
            assert_eq!(oidc_from(oidc_to(&oidc)), Some(oidc));
            let cognito = CognitoConfig {
                user_pool_arn: "arn:x".into(),
                user_pool_client_id: "c".into(),
                user_pool_domain: "d".into(),
                session: session(extra),
            };
            assert_eq!(cognito_from(cognito_to(&cognito)), Some(cognito));
        }
        let formats = [
            JwtClaimFormat::SingleString,
            JwtClaimFormat::StringArray,
            JwtClaimFormat::SpaceSeparatedValues,
        ];
        for claims in [&[][..], &formats] {
            let claim = |format: &JwtClaimFormat| JwtClaimConfig {
                format: *format,
                name: "scope".into(),
                values: vec!["a".into(), "b".into()],
            };
            let jwt = JwtConfig {
                jwks_endpoint: "https://k".into(),
                issuer: "https://i".into(),
                additional_claims: claims.iter().map(claim).collect(),
            };
            assert_eq!(jwt_from(jwt_to(&jwt)), Some(jwt));
        }
    }

    #[test]
    fn what_aws_leaves_out_is_its_default() {
        let sdk = AuthenticateCognitoActionConfig::builder()
            .user_pool_arn("arn:x")
            .user_pool_client_id("c")
            .user_pool_domain("d");
        let read = cognito_from(sdk.build()).unwrap();
        assert_eq!(read.session.session_cookie_name, "AWSELBAuthSessionCookie");
        assert_eq!(read.session.session_timeout, 604_800);
        assert_eq!(
            cognito_from(AuthenticateCognitoActionConfig::builder().build()),
            None
        );
    }
}
