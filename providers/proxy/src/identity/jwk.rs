//! A key set as its provider publishes it in, keys that verify signatures out. Source: RFC 7517, RFC 7518 §3.1, §6.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, RsaParameters, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Keys of a set; more cannot be used. A token that names none is held against each of them. An ALB takes 10, but large
/// providers publish more.
const MOST: usize = 32;

/// Bytes of an RSA modulus. The smallest is what RFC 7518 §3.3 demands; the largest bounds what a signature costs.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=512;

/// How a token is signed. `none` and those of shared secrets are not among them, so no token can choose them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
}

impl Algorithm {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            _ => return None,
        })
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 | Self::Es384 => return None,
        })
    }
}

#[derive(Debug)]
enum Material {
    Rsa(PublicKeyComponents<Box<[u8]>>),
    P256(Box<[u8]>),
    P384(Box<[u8]>),
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    id: Option<Box<str>>,
    /// The only way it is used, where it says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

impl Key {
    /// Whether it signed this, in this way.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signed: &[u8]) -> bool {
        if self.algorithm.is_some_and(|own| own != algorithm) {
            return false;
        }
        let by_curve = |curve: &'static dyn VerificationAlgorithm, point: &[u8]| {
            UnparsedPublicKey::new(curve, point).verify(message, signed)
        };
        let verified = match (&self.material, algorithm) {
            (Material::P256(point), Algorithm::Es256) => by_curve(&ECDSA_P256_SHA256_FIXED, point),
            (Material::P384(point), Algorithm::Es384) => by_curve(&ECDSA_P384_SHA384_FIXED, point),
            (Material::Rsa(key), algorithm) => match algorithm.rsa() {
                Some(parameters) => key.verify(parameters, message, signed),
                None => return false,
            },
            (Material::P256(_) | Material::P384(_), _) => return false,
        };
        verified.is_ok()
    }
}

/// The keys of a provider.
#[derive(Debug)]
pub(crate) struct Keys(Box<[Key]>);

#[derive(Deserialize)]
struct SetText {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct KeyText {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Keys {
    /// Keys that are of no use here are left out.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        let read: SetText = serde_json::from_slice(text).map_err(|_| "it is no set of keys".to_owned())?;
        if read.keys.len() > MOST {
            return Err(format!(
                "it has {} keys, of {MOST} that can be used",
                read.keys.len()
            ));
        }
        let keys: Box<[Key]> = read.keys.into_iter().filter_map(key).collect();
        if keys.is_empty() {
            return Err("it has no key that verifies signatures".to_owned());
        }
        Ok(Self(keys))
    }

    /// Those that may have signed a token that names this one.
    pub(crate) fn named<'a>(&'a self, id: Option<&'a str>) -> impl Iterator<Item = &'a Key> {
        self.0
            .iter()
            .filter(move |key| id.is_none_or(|id| key.id.as_deref() == Some(id)))
    }
}

fn key(value: serde_json::Value) -> Option<Key> {
    let text: KeyText = serde_json::from_value(value).ok()?;
    let signs = text.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
    let verifies = |all: &Vec<String>| all.iter().any(|operation| operation == "verify");
    if !signs || !text.key_ops.as_ref().is_none_or(verifies) {
        return None;
    }
    let algorithm = match &text.alg {
        None => None,
        // One that is not known here is not used in another way.
        Some(name) => Some(Algorithm::parse(name)?),
    };
    let number = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_deref()?).ok();
    let material = match &*text.kty {
        "RSA" => {
            let trimmed = |number: Vec<u8>| -> Box<[u8]> {
                let zeros = number.iter().take_while(|byte| **byte == 0).count();
                number[zeros..].into()
            };
            let (n, e) = (trimmed(number(&text.n)?), trimmed(number(&text.e)?));
            if !MODULUS.contains(&n.len()) || e.len() > 4 {
                return None;
            }
            Material::Rsa(PublicKeyComponents { n, e })
        }
        "EC" => {
            let (x, y) = (number(&text.x)?, number(&text.y)?);
            // Source: SEC 1 §2.3.3, a point that is not compressed.
            let point: Box<[u8]> = [&[4], &*x, &*y].concat().into();
            match (text.crv.as_deref()?, x.len(), y.len()) {
                ("P-256", 32, 32) => Material::P256(point),
                ("P-384", 48, 48) => Material::P384(point),
                _ => return None,
            }
        }
        _ => return None,
    };
    Some(Key {
        id: text.kid.map(Into::into),
        algorithm,
        material,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_do_not_verify_signatures_are_left_out() {
        let long = |bytes: usize| URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
        let rsa =
            |rest: &str, bytes: usize| format!(r#"{{"kty":"RSA","e":"AQAB","n":"{}"{rest}}}"#, long(bytes));
        let ec = |curve: &str, bytes: usize| {
            let number = long(bytes);
            format!(r#"{{"kty":"EC","crv":"{curve}","x":"{number}","y":"{number}"}}"#)
        };
        for (key, want) in [
            (rsa("", 256), true),
            (
                rsa(r#","use":"sig","alg":"RS256","kid":"a","x5c":["MII"]"#, 256),
                true,
            ),
            (rsa(r#","key_ops":["verify"]"#, 512), true),
            (rsa(r#","use":"enc""#, 256), false),
            (rsa(r#","key_ops":["encrypt"]"#, 256), false),
            (rsa(r#","alg":"RSA-OAEP""#, 256), false),
            // Too weak, and too dear.
            (rsa("", 128), false),
            (rsa("", 1024), false),
            (ec("P-256", 32), true),
            (ec("P-384", 48), true),
            (ec("P-256", 48), false),
            (ec("secp256k1", 32), false),
            (r#"{"kty":"oct","k":"c2VjcmV0"}"#.to_owned(), false),
            ("7".to_owned(), false),
        ] {
            let set = format!(r#"{{"keys":[{key}]}}"#);
            assert_eq!(Keys::parse(set.as_bytes()).is_ok(), want, "{key}");
        }
        let many = |count: usize| format!(r#"{{"keys":[{}]}}"#, vec![rsa("", 256); count].join(","));
        assert!(Keys::parse(many(MOST).as_bytes()).is_ok());
        for set in [
            many(MOST + 1),
            r#"{"keys":[]}"#.to_owned(),
            "{}".to_owned(),
            "no".to_owned(),
        ] {
            assert!(Keys::parse(set.as_bytes()).is_err(), "{set:.40}");
        }
    }
}
