//! The values of single `auth-*` annotations in, typed settings or why they cannot be read out.

use std::collections::BTreeMap;

use portcullis_model::{
    Authenticate, ClaimFormat, Client, JwtClaim, ObjectName, OnUnauthenticated, Origin, Problem, Semantics,
    Session,
};
use serde::Deserialize;

use super::Sources;
use crate::translate::annotations::{Setting, json, value};

/// Longest session, in seconds: 7 days. Source: ELBv2 API, AuthenticateOidcActionConfig.SessionTimeout.
const LONGEST_SESSION: i64 = 604_800;

/// `auth-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    None,
    Oidc,
    Cognito,
}

pub(super) fn kind(text: &str) -> Result<Kind, String> {
    match text {
        "none" => Ok(Kind::None),
        "oidc" => Ok(Kind::Oidc),
        "cognito" => Ok(Kind::Cognito),
        _ => Err("expected none, oidc or cognito".to_owned()),
    }
}

/// The session's own settings, without parameters of the request; else the annotation that cannot be read.
pub(super) fn session(
    sources: &Sources<'_, '_>,
    problems: &mut Vec<Problem>,
) -> Result<Session, &'static str> {
    let mut read =
        |name: &'static str, parse: fn(&str) -> Result<String, String>, default: &str| match sources
            .read(name, parse, problems)
        {
            Setting::Given(text) => Ok(text),
            Setting::Absent => Ok(default.to_owned()),
            Setting::Invalid => Err(name),
        };
    let scope = read("auth-scope", scope, "openid")?;
    let cookie = read("auth-session-cookie", cookie, "AWSELBAuthSessionCookie")?;
    let timeout = "auth-session-timeout";
    let seconds = match sources.read(timeout, |text| value::integer(text, 1, LONGEST_SESSION), problems) {
        Setting::Given(seconds) => seconds,
        Setting::Absent => LONGEST_SESSION,
        Setting::Invalid => return Err(timeout),
    };
    let behaviour = "auth-on-unauthenticated-request";
    let on_unauthenticated = match sources.read(behaviour, on_unauthenticated, problems) {
        Setting::Given(behaviour) => behaviour,
        Setting::Absent => OnUnauthenticated::Authenticate,
        Setting::Invalid => return Err(behaviour),
    };
    Ok(Session {
        cookie,
        timeout_seconds: u32::try_from(seconds).unwrap_or_default(),
        scope,
        on_unauthenticated,
        extra: BTreeMap::new(),
    })
}

fn on_unauthenticated(text: &str) -> Result<OnUnauthenticated, String> {
    match text {
        "deny" => Ok(OnUnauthenticated::Deny),
        "allow" => Ok(OnUnauthenticated::Allow),
        "authenticate" => Ok(OnUnauthenticated::Authenticate),
        _ => Err("expected deny, allow or authenticate".to_owned()),
    }
}

/// RFC 6749, 3.3: tokens of visible ASCII but `"` and `\`, separated by spaces.
fn scope(text: &str) -> Result<String, String> {
    let is_token = |token: &str| {
        let visible = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
        !token.is_empty() && token.bytes().all(visible)
    };
    if text.split(' ').all(is_token) {
        Ok(text.to_owned())
    } else {
        Err("expected scopes separated by single spaces".to_owned())
    }
}

/// RFC 6265, 4.1.1: a token.
fn cookie(text: &str) -> Result<String, String> {
    let separator = |byte: u8| b"()<>@,;:\\\"/[]?={}".contains(&byte);
    if !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !separator(byte))
    {
        Ok(text.to_owned())
    } else {
        Err("expected the name of a cookie".to_owned())
    }
}

/// `auth-idp-oidc`.
#[derive(Deserialize)]
pub(super) struct OidcText {
    issuer: String,
    authorizationendpoint: String,
    tokenendpoint: String,
    userinfoendpoint: String,
    pub(super) secretname: String,
    #[serde(default)]
    authenticationrequestextraparams: BTreeMap<String, String>,
}

impl OidcText {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let read: Self = json::read_flat(text)?;
        required(&[
            ("issuer", &read.issuer),
            ("authorizationEndpoint", &read.authorizationendpoint),
            ("tokenEndpoint", &read.tokenendpoint),
            ("userInfoEndpoint", &read.userinfoendpoint),
            ("secretName", &read.secretname),
        ])?;
        // It becomes part of a path of the Kubernetes API.
        let named =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        if !read.secretname.bytes().all(named) {
            return Err(format!(
                "secretName {} is no name of a Secret",
                value::shown(&read.secretname)
            ));
        }
        Ok(read)
    }

    pub(super) fn step(
        self,
        secret: ObjectName,
        client: Option<Client>,
        session: Session,
        origin: Origin,
    ) -> Authenticate {
        Authenticate::Oidc {
            issuer: self.issuer,
            authorization_endpoint: self.authorizationendpoint,
            token_endpoint: self.tokenendpoint,
            user_info_endpoint: self.userinfoendpoint,
            secret,
            client,
            session: Session {
                extra: self.authenticationrequestextraparams,
                ..session
            },
            origin,
        }
    }
}

/// `auth-idp-cognito`.
#[derive(Deserialize)]
pub(super) struct CognitoText {
    userpoolarn: String,
    userpoolclientid: String,
    userpooldomain: String,
    #[serde(default)]
    authenticationrequestextraparams: BTreeMap<String, String>,
}

impl CognitoText {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let read: Self = json::read_flat(text)?;
        required(&[
            ("userPoolARN", &read.userpoolarn),
            ("userPoolClientID", &read.userpoolclientid),
            ("userPoolDomain", &read.userpooldomain),
        ])?;
        Ok(read)
    }

    pub(super) fn step(self, session: Session, origin: Origin) -> Authenticate {
        Authenticate::Cognito {
            user_pool: self.userpoolarn,
            client: self.userpoolclientid,
            domain: self.userpooldomain,
            session: Session {
                extra: self.authenticationrequestextraparams,
                ..session
            },
            origin,
        }
    }
}

/// `jwt-validation`.
#[derive(Deserialize)]
struct JwtText {
    jwksendpoint: String,
    issuer: String,
    #[serde(default)]
    additionalclaims: Vec<ClaimText>,
}

#[derive(Deserialize)]
struct ClaimText {
    format: String,
    name: String,
    values: Vec<String>,
}

/// With the fields that have no effect. Under our semantics there is none: a misspelt `additionalClaims` would let every
/// token pass. The incumbent passes over them, and every token passes there already.
pub(super) fn jwt(
    text: &str,
    origin: Origin,
    semantics: Semantics,
) -> Result<(Authenticate, Vec<String>), String> {
    let (read, ignored): (JwtText, _) = json::read_noting(text)?;
    if let (Semantics::Kubernetes, Some(first)) = (semantics, ignored.first()) {
        return Err(format!("{first} has no meaning there"));
    }
    required(&[("jwksEndpoint", &read.jwksendpoint), ("issuer", &read.issuer)])?;
    let claims = read
        .additionalclaims
        .into_iter()
        .map(claim)
        .collect::<Result<_, _>>()?;
    let step = Authenticate::Jwt {
        issuer: read.issuer,
        key_set: read.jwksendpoint,
        claims,
        origin,
    };
    Ok((step, ignored))
}

fn claim(text: ClaimText) -> Result<JwtClaim, String> {
    required(&[("name", &text.name)])?;
    if text.values.is_empty() || text.values.iter().any(String::is_empty) {
        return Err(format!(
            "claim {} has no value, or an empty one",
            value::shown(&text.name)
        ));
    }
    let format = match text.format.as_str() {
        "single-string" => ClaimFormat::Text,
        "string-array" => ClaimFormat::List,
        "space-separated-values" => ClaimFormat::Spaced,
        other => {
            return Err(format!(
                "format {} is none of single-string, string-array and space-separated-values",
                value::shown(other)
            ));
        }
    };
    Ok(JwtClaim {
        name: text.name,
        format,
        values: text.values,
    })
}

fn required(fields: &[(&str, &String)]) -> Result<(), String> {
    match fields.iter().find(|(_, text)| text.is_empty()) {
        Some((name, _)) => Err(format!("{name} is empty")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_provider_is_read_as_the_incumbent_reads_it() {
        let whole = r#"{"Issuer":"https://i","authorizationEndpoint":"https://a","tokenEndpoint":"https://t",
            "UserInfoEndpoint":"https://u","secretName":"idp","authenticationRequestExtraParams":{"loginHint":"X"},
            "other":1}"#;
        let read = OidcText::parse(whole).unwrap();
        // Names of parameters are the user's own, and keep their case.
        assert_eq!(read.authenticationrequestextraparams["loginHint"], "X");
        for (name, with) in [
            ("issuer is missing", r#"{"authorizationEndpoint":"https://a"}"#),
            (
                "an empty field",
                r#"{"issuer":"","authorizationEndpoint":"a","tokenEndpoint":"t","userInfoEndpoint":"u","secretName":"s"}"#,
            ),
            (
                "null is absent",
                r#"{"issuer":"i","authorizationEndpoint":"a","tokenEndpoint":"t","userInfoEndpoint":"u","secretName":null}"#,
            ),
            (
                "a path in the name",
                r#"{"issuer":"i","authorizationEndpoint":"a","tokenEndpoint":"t","userInfoEndpoint":"u","secretName":"../x"}"#,
            ),
            (
                "a parameter that is no text",
                r#"{"issuer":"i","authorizationEndpoint":"a","tokenEndpoint":"t","userInfoEndpoint":"u","secretName":"s","authenticationRequestExtraParams":{"a":1}}"#,
            ),
            ("no object", "[]"),
            ("nothing", ""),
        ] {
            assert!(OidcText::parse(with).is_err(), "{name}");
        }
        for (text, ok) in [
            (
                r#"{"userPoolARN":"arn:x","userPoolClientID":"c","userPoolDomain":"d"}"#,
                true,
            ),
            (
                r#"{"UserPoolArn":"arn:x","UserPoolClientId":"c","UserPoolDomain":"d","x":{}}"#,
                true,
            ),
            (r#"{"userPoolARN":"arn:x","userPoolClientID":"c"}"#, false),
            (
                r#"{"userPoolARN":"arn:x","userPoolClientID":"","userPoolDomain":"d"}"#,
                false,
            ),
        ] {
            assert_eq!(CognitoText::parse(text).is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn tokens_are_never_asked_for_less_than_was_written() {
        let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
        for (text, ok) in [
            (r#"{"jwksEndpoint":"https://k","issuer":"https://i"}"#, true),
            (
                r#"{"JwksEndpoint":"https://k","Issuer":"https://i","AdditionalClaims":[{"Format":"single-string","Name":"aud","Values":["a"]}]}"#,
                true,
            ),
            (r#"{"jwksEndpoint":"https://k"}"#, false),
            (
                r#"{"jwksEndpoint":"https://k","issuer":"https://i","additionalClaim":[]}"#,
                false,
            ),
            (
                r#"{"jwksEndpoint":"https://k","issuer":"https://i","additionalClaims":[{"format":"single-string","name":"aud","values":[]}]}"#,
                false,
            ),
            (
                r#"{"jwksEndpoint":"https://k","issuer":"https://i","additionalClaims":[{"format":"string","name":"aud","values":["a"]}]}"#,
                false,
            ),
            (
                r#"{"jwksEndpoint":"https://k","issuer":"https://i","additionalClaims":[{"format":"string-array","name":"","values":["a"]}]}"#,
                false,
            ),
            ("{}", false),
            ("none", false),
        ] {
            let read = jwt(text, origin.clone(), Semantics::Kubernetes);
            assert_eq!(read.is_ok(), ok, "{text}");
        }
    }

    #[test]
    fn the_incumbent_passes_over_fields_of_tokens_that_it_does_not_know() {
        let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "");
        let text = r#"{"jwksEndpoint":"https://k","issuer":"https://i","additionalClaim":[]}"#;
        let read = jwt(text, origin, Semantics::AwsLoadBalancerController);
        let ignored = read.map(|(_, ignored)| ignored);
        assert_eq!(ignored, Ok(vec!["additionalclaim".to_owned()]));
    }

    #[test]
    fn single_settings_have_their_own_syntax() {
        type Parse = fn(&str) -> Result<String, String>;
        for (parse, text, ok) in [
            (scope as Parse, "openid", true),
            (scope, "openid email", true),
            (scope, "", false),
            (scope, "openid  email", false),
            (scope, "a\"b", false),
            (cookie, "my-cookie", true),
            (cookie, "", false),
            (cookie, "a=b", false),
            (cookie, "a b", false),
        ] {
            assert_eq!(parse(text).is_ok(), ok, "{text:?}");
        }
        for (text, want) in [
            ("deny", Some(OnUnauthenticated::Deny)),
            ("allow", Some(OnUnauthenticated::Allow)),
            ("authenticate", Some(OnUnauthenticated::Authenticate)),
            ("Deny", None),
            ("", None),
        ] {
            assert_eq!(on_unauthenticated(text).ok(), want, "{text:?}");
        }
        for (text, want) in [
            ("none", Some(Kind::None)),
            ("oidc", Some(Kind::Oidc)),
            ("cognito", Some(Kind::Cognito)),
            ("odic", None),
            ("OIDC", None),
            ("", None),
        ] {
            assert_eq!(kind(text).ok(), want, "{text:?}");
        }
    }
}
