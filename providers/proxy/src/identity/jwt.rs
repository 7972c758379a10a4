//! A signed token in, what it says of whom out, or why it counts for nothing. Source: RFC 7515, RFC 7519, RFC 8725.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_model::{ClaimFormat, JwtClaim};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::jwk::{Algorithm, Keys};

/// Longest token, in bytes; RSA alone is far below.
const LONGEST: usize = 16 * 1024;

/// How far a provider's clock may be ahead of ours, in seconds. An expired token counts for nothing at once.
const AHEAD: i64 = 30;

/// Why a token counts for nothing. What is told holds nothing of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Malformed,
    /// `none` among them.
    Algorithm,
    /// No key of this name is known, so there may be a newer key set.
    UnknownKey,
    Signature,
    Issuer,
    Audience,
    Nonce,
    Subject,
    Expired,
    NotYet,
    Claim,
}

impl Refused {
    pub(crate) fn why(self) -> &'static str {
        match self {
            Self::Malformed => "the token is malformed",
            Self::Algorithm => "the token is not signed in a way that is taken",
            Self::UnknownKey => "the token is signed by an unknown key",
            Self::Signature => "the token's signature does not fit",
            Self::Issuer => "the token is of another issuer",
            Self::Audience => "the token is for somebody else",
            Self::Nonce => "the token is of another login",
            Self::Subject => "the token is of nobody",
            Self::Expired => "the token has expired",
            Self::NotYet => "the token is not valid yet",
            Self::Claim => "the token lacks a claim that is asked for",
        }
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

/// What a token says; its signature fits.
#[derive(Debug)]
pub(crate) struct Claims(Map<String, Value>);

impl Claims {
    /// Reads a token that one of the keys has signed, in one of these ways.
    pub(crate) fn verified(token: &str, keys: &Keys, ways: &[Algorithm]) -> Result<Self, Refused> {
        let malformed = Refused::Malformed;
        if token.len() > LONGEST {
            return Err(malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(malformed)?;
        let (header, payload) = message.split_once('.').ok_or(malformed)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed);
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed)?;
        let algorithm = Algorithm::parse(&header.alg).filter(|algorithm| ways.contains(algorithm));
        let algorithm = algorithm.ok_or(Refused::Algorithm)?;
        // Nothing that a token may call critical is understood. Source: RFC 7515 §4.1.11.
        if header.crit.is_some() {
            return Err(malformed);
        }
        let signature = decode(signature)?;
        let mut candidates = keys.named(header.kid.as_deref()).peekable();
        if candidates.peek().is_none() {
            return Err(Refused::UnknownKey);
        }
        if !candidates.any(|key| key.verifies(algorithm, message.as_bytes(), &signature)) {
            return Err(Refused::Signature);
        }
        // Read only now: what nobody signed is not worth looking at.
        match serde_json::from_slice(&decode(payload)?) {
            Ok(Value::Object(claims)) => Ok(Self(claims)),
            Ok(_) | Err(_) => Err(malformed),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }

    /// Whose it is, and whether it counts now, in seconds since 1970. `exp` must be there, `nbf` and `iat` need not.
    pub(crate) fn check(&self, issuer: &str, now: i64) -> Result<(), Refused> {
        if self.text("iss") != Some(issuer) {
            return Err(Refused::Issuer);
        }
        let instant = |name: &str| match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "it saturates, and parts of seconds do not count"
                )]
                Some(seconds) => Ok(Some(seconds as i64)),
                None => Err(Refused::Malformed),
            },
        };
        let expires = instant("exp")?.ok_or(Refused::Expired)?;
        if expires <= now {
            return Err(Refused::Expired);
        }
        for name in ["nbf", "iat"] {
            if instant(name)?.is_some_and(|from| from > now.saturating_add(AHEAD)) {
                return Err(Refused::NotYet);
            }
        }
        Ok(())
    }

    /// Whether it was made for this client. Source: OpenID Connect Core 1.0 §3.1.3.7.
    pub(crate) fn is_for(&self, client: &str) -> Result<(), Refused> {
        let is_client = |value: &Value| value.as_str() == Some(client);
        let party = self.0.get("azp");
        let named = match self.0.get("aud") {
            Some(Value::Array(all)) => all.iter().any(is_client) && (all.len() == 1 || party.is_some()),
            Some(one) => is_client(one),
            None => false,
        };
        match named && party.is_none_or(is_client) {
            true => Ok(()),
            false => Err(Refused::Audience),
        }
    }

    /// Whether it carries the claim, with one of the values.
    pub(crate) fn has(&self, claim: &JwtClaim) -> bool {
        let wanted = |value: &str| claim.values.iter().any(|own| own == value);
        match (claim.format, self.0.get(&claim.name)) {
            (ClaimFormat::Text, Some(Value::String(text))) => wanted(text),
            (ClaimFormat::Spaced, Some(Value::String(text))) => text.split(' ').any(wanted),
            (ClaimFormat::List, Some(Value::Array(all))) => all.iter().filter_map(Value::as_str).any(wanted),
            (ClaimFormat::Text | ClaimFormat::Spaced | ClaimFormat::List, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7515, appendix A.2 (RS256) and A.3 (ES256), with the key of each. Both say the same.
    const RS256: [&str; 3] = [
        "eyJhbGciOiJSUzI1NiJ9",
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ",
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
    ];
    const ES256: [&str; 3] = [
        "eyJhbGciOiJFUzI1NiJ9",
        RS256[1],
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    ];
    const KEYS: &str = r#"{"keys":[
        {"kty":"RSA","kid":"r","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"},
        {"kty":"EC","kid":"e","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

    fn read(token: &str, ways: &[Algorithm]) -> Result<Claims, Refused> {
        Claims::verified(token, &Keys::parse(KEYS.as_bytes()).unwrap(), ways)
    }

    #[test]
    fn tokens_of_the_standard_are_read() {
        let joe = read(&RS256.join("."), &[Algorithm::Rs256]).unwrap();
        assert_eq!(joe.text("iss"), Some("joe"));
        assert_eq!(joe.check("joe", 1_300_819_379), Ok(()));
        assert_eq!(joe.check("joe", 1_300_819_380), Err(Refused::Expired));
        assert_eq!(joe.check("jo", 0), Err(Refused::Issuer));
        read(&ES256.join("."), &[Algorithm::Es256]).unwrap();
        assert_eq!(
            read(&ES256.join("."), &[Algorithm::Rs256]).unwrap_err(),
            Refused::Algorithm
        );
        for text in ["", ".", "..", "a.b.c", "a.b", "...."] {
            assert_eq!(
                read(text, &[Algorithm::Rs256]).unwrap_err(),
                Refused::Malformed,
                "{text}"
            );
        }
    }
}
