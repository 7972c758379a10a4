//! The annotations `auth-*` and `jwt-validation` of an Ingress and its Service in, who may pass before an action out.
//!
//! What cannot be read closes the path: nothing that asks for authentication is served without it.

mod settings;

use std::sync::Arc;

use portcullis_model::{Authenticate, Client, Code, ObjectName, Problem, Sealed, Semantics};
use sha2::{Digest, Sha256};

use self::settings::{CognitoText, Kind, OidcText, jwt};
use super::annotations::{Annotations, Setting, Written, json};
use super::member::Part;
use crate::cluster::object::{Secret, Service};
use crate::cluster::snapshot::{Answered, Snapshot};

/// Who may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Everybody.
    Open,
    /// Who proves who they are.
    Guarded(Box<Authenticate>),
    /// Nobody, for the sake of this annotation.
    Closed(&'static str),
}

impl Gate {
    pub(super) fn step(self) -> Option<Authenticate> {
        match self {
            Self::Guarded(step) => Some(*step),
            Self::Open | Self::Closed(_) => None,
        }
    }
}

/// What may speak of who may pass: the Ingress, and before it the one Service behind a path.
#[derive(Debug)]
pub(super) struct Sources<'s, 'a> {
    pub(super) part: &'s Part<'a>,
    pub(super) service: Option<Annotations<'a>>,
}

impl<'s, 'a> Sources<'s, 'a> {
    pub(super) fn new(part: &'s Part<'a>, service: Option<&'a Service>) -> Self {
        Self {
            part,
            service: service.map(|service| Annotations::of("service", &service.meta)),
        }
    }

    /// Who says it: the Service's own annotation wins.
    fn of(&self, name: &str) -> &Annotations<'a> {
        match &self.service {
            Some(own) if own.get(name).is_some() => own,
            Some(_) | None => &self.part.annotations,
        }
    }

    fn written(&self, name: &str) -> Option<(&Annotations<'a>, Written<'a>)> {
        let annotations = self.of(name);
        Some((annotations, annotations.get(name)?))
    }

    fn read<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        problems: &mut Vec<Problem>,
    ) -> Setting<T> {
        self.of(name).read(name, parse, problems)
    }
}

/// Who may pass; read for one path.
pub(super) fn gate(sources: &Sources<'_, '_>, snapshot: &Snapshot, problems: &mut Vec<Problem>) -> Gate {
    let kind = match sources.read("auth-type", settings::kind, problems) {
        Setting::Invalid => return Gate::Closed("auth-type"),
        Setting::Given(kind) => kind,
        Setting::Absent => Kind::None,
    };
    let tokens = match sources.written("jwt-validation") {
        Some((annotations, written)) => {
            let origin = annotations.origin(written);
            let read = sources.read(
                "jwt-validation",
                |text| jwt(text, origin, sources.part.semantics),
                problems,
            );
            match (read, kind) {
                (Setting::Given(_), Kind::Oidc | Kind::Cognito) => {
                    let why = "auth-type asks for a session; only one of the two can be asked for";
                    problems.push(annotations.invalid(written, why));
                    return Gate::Closed("jwt-validation");
                }
                (Setting::Given((step, ignored)), Kind::None) => {
                    let told = ignored
                        .iter()
                        .map(|field| annotations.without_effect(written, field));
                    problems.extend(told);
                    Some(step)
                }
                (Setting::Absent | Setting::Invalid, _) => return Gate::Closed("jwt-validation"),
            }
        }
        None => None,
    };
    let name = match kind {
        Kind::None => return tokens.map_or(Gate::Open, |step| Gate::Guarded(Box::new(step))),
        Kind::Oidc => "auth-idp-oidc",
        Kind::Cognito => "auth-idp-cognito",
    };
    let session = match settings::session(sources, problems) {
        Ok(session) => session,
        Err(name) => return Gate::Closed(name),
    };
    let Some((annotations, written)) = sources.written(name) else {
        if let Some((annotations, written)) = sources.written("auth-type") {
            let why = format!("it needs annotation {name}, which is absent");
            problems.push(annotations.invalid(written, why));
        }
        return Gate::Closed(name);
    };
    let origin = annotations.origin(written);
    let step = if name == "auth-idp-oidc" {
        let Setting::Given(text) = sources.read(name, OidcText::parse, problems) else {
            return Gate::Closed(name);
        };
        let namespace = sources.part.ingress.meta.name.namespace.clone();
        let secret = ObjectName::new(namespace, text.secretname.as_str());
        let client = match client(snapshot, &secret) {
            Ok(client) => client,
            Err((code, why)) => {
                problems.push(Problem::new(code, origin, why));
                return Gate::Closed(name);
            }
        };
        text.step(secret, client, session, origin)
    } else {
        let Setting::Given(text) = sources.read(name, CognitoText::parse, problems) else {
            return Gate::Closed(name);
        };
        text.step(session, origin)
    };
    Gate::Guarded(Box::new(step))
}

/// Several Services behind one path cannot each have their own rule of who may pass. Ours: then nobody does. The
/// incumbent does not look at them.
pub(super) fn gate_of_several(
    part: &Part<'_>,
    services: &[&Service],
    problems: &mut Vec<Problem>,
) -> Option<Gate> {
    let mut closed = None;
    for service in services {
        let own = Annotations::of("service", &service.meta);
        let asks = own
            .get("auth-type")
            .filter(|written| written.value != "none")
            .map(|written| ("auth-type", written))
            .or_else(|| {
                own.get("jwt-validation")
                    .map(|written| ("jwt-validation", written))
            });
        let Some((name, written)) = asks else { continue };
        let at = own.origin(written);
        let (code, consequence) = match part.semantics {
            Semantics::Kubernetes => {
                closed = Some(Gate::Closed(name));
                (Code::AnnotationInvalid, "the path answers 503")
            }
            Semantics::AwsLoadBalancerController => (Code::AnnotationUnsupported, "it has no effect there"),
        };
        let message = format!(
            "a path of Ingress {} leads to several Services, and who may pass is asked for by one: {consequence}",
            part.ingress.meta.name
        );
        problems.push(Problem::new(code, at, message));
    }
    closed
}

/// Told where plain HTTP is spoken, at which nobody can be asked who they are.
pub(super) fn needs_https(part: &Part<'_>, step: &Authenticate, ports: &[String]) -> Problem {
    let consequence = match part.semantics {
        Semantics::Kubernetes => "what it guards answers 503 there",
        Semantics::AwsLoadBalancerController => "what it guards is served there without it",
    };
    let message = format!(
        "port {} of Ingress {} speaks plain HTTP, where nobody can be asked who they are: {consequence}",
        ports.join(", "),
        part.ingress.meta.name
    );
    Problem::new(Code::AuthenticationNeedsHttps, step.origin().clone(), message)
}

/// Which Secrets the members' authentication is made with, whether they exist or not; pure.
pub(super) fn secrets<'a>(
    ingress: &Annotations<'a>,
    namespace: &Arc<str>,
    services: impl Iterator<Item = &'a Service>,
) -> Vec<ObjectName> {
    let all: Vec<Annotations<'a>> = std::iter::once(ingress.clone())
        .chain(services.map(|service| Annotations::of("service", &service.meta)))
        .collect();
    let asks = |own: &Annotations<'_>| own.get("auth-type").is_some_and(|w| w.value == "oidc");
    if !all.iter().any(asks) {
        return Vec::new();
    }
    let named = all.iter().filter_map(|own| {
        let text: OidcText = json::read_flat(own.get("auth-idp-oidc")?.value).ok()?;
        Some(ObjectName::new(namespace.clone(), text.secretname.as_str()))
    });
    named.collect()
}

/// The credentials in a Secret; none where nobody was asked.
fn client(snapshot: &Snapshot, name: &ObjectName) -> Result<Option<Client>, (Code, String)> {
    match snapshot.secret(name) {
        None => Ok(None),
        Some(Answered::Found(secret)) => credentials(&secret)
            .map(Some)
            .map_err(|why| (Code::SecretInvalid, format!("Secret {name} {why}"))),
        Some(Answered::Missing) => Err((Code::SecretNotFound, format!("there is no Secret {name}"))),
        Some(Answered::Refused(why)) => {
            let message = format!("Secret {name} cannot be read: {why}");
            Err((Code::AccessDenied, message))
        }
    }
}

/// White space at the end of the id and control characters at the end of the secret are most likely an editor's. Source:
/// AWS Load Balancer Controller, `model_build_actions.go`.
fn credentials(secret: &Secret) -> Result<Client, String> {
    let text = |key: &str, value: &Option<Sealed<[u8]>>| -> Result<String, String> {
        let value = value.as_ref().ok_or_else(|| format!("has no {key}"))?;
        String::from_utf8(value.reveal().to_vec()).map_err(|_| format!("has a {key} that is no text"))
    };
    let id = text("clientID", &secret.client_id)?;
    let value = text("clientSecret", &secret.client_secret)?;
    let (id, value) = (id.trim_end(), value.trim_end_matches(char::is_control));
    for (key, value) in [("clientID", id), ("clientSecret", value)] {
        if value.is_empty() {
            return Err(format!("has an empty {key}"));
        }
    }
    // The uid, which nobody knows who may not read the Secret, keeps the digest from being looked up.
    let mut digest = Sha256::new();
    for part in [&secret.meta.uid, id, value] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let version: String = digest
        .finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(Client {
        id: Sealed::new(id),
        secret: Sealed::new(value),
        version: version.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::object::Meta;

    fn secret(uid: &str, id: Option<&[u8]>, value: Option<&[u8]>) -> Secret {
        Secret {
            meta: Meta {
                name: ObjectName::new("shop", "idp"),
                uid: uid.into(),
                created: 0,
                deleting: false,
                annotations: Default::default(),
            },
            kind: "Opaque".into(),
            certificate: None,
            key: None,
            client_id: id.map(Sealed::new),
            client_secret: value.map(Sealed::new),
            authorities: None,
            users: None,
            key_pair: Default::default(),
        }
    }

    #[test]
    fn credentials_are_trimmed_as_the_incumbent_trims_them() {
        for (id, value, want) in [
            (&b"id"[..], &b"s3cret"[..], Ok(("id", "s3cret"))),
            (b"id \n", b"s3cret\r\n", Ok(("id", "s3cret"))),
            (b" id", b" s3cret ", Ok((" id", " s3cret "))),
            (b" \n", b"s3cret", Err("has an empty clientID")),
            (b"id", b"\n", Err("has an empty clientSecret")),
            (b"id", b"\xff", Err("has a clientSecret that is no text")),
        ] {
            let got = credentials(&secret("u", Some(id), Some(value)));
            let got = got
                .as_ref()
                .map(|client| (client.id.reveal(), client.secret.reveal()));
            assert_eq!(got.map_err(String::as_str), want, "{id:?} {value:?}");
        }
        let id = secret("u", Some(b"id"), None);
        assert_eq!(credentials(&id).unwrap_err(), "has no clientSecret");
    }

    #[test]
    fn a_version_differs_where_the_credentials_or_the_secret_do() {
        let version =
            |uid, id: &[u8], value: &[u8]| credentials(&secret(uid, Some(id), Some(value))).unwrap().version;
        let first = version("u", b"id", b"s3cret");
        assert_eq!(version("u", b"id\n", b"s3cret\n"), first);
        for (uid, id, value) in [
            ("v", &b"id"[..], &b"s3cret"[..]),
            ("u", b"ie", b"s3cret"),
            ("u", b"id", b"s3crer"),
            ("u", b"ids", b"3cret"),
        ] {
            assert_ne!(version(uid, id, value), first, "{uid} {id:?}");
        }
    }
}
