//! Server names that no certificate is for in, which certificate is served, or which alert, out.

use std::collections::BTreeMap;

use portcullis_model::{Code, LoadBalancer, ObjectName};
use portcullis_proxy::{Handle, Material, ServedPorts, ServingState, Settings, UnknownNames};
use rustls::AlertDescription;
use rustls::pki_types::CertificateDer;

use crate::balancer::{KeyPairs, empty, serve_with, with_certificates};
use crate::client::tls;
use crate::secure::key_pair;

/// A client that asks for it sends no server name. Source: RFC 6066 §3, literal addresses are not permitted.
const NAMELESS: &str = "127.0.0.1";
const NAMES: [&str; 3] = ["a.example.com", "unknown.org", NAMELESS];

/// Serves the same otherwise, and answers the codes of what is wrong.
fn change(
    handle: &Handle,
    balancer: &LoadBalancer,
    keys: &KeyPairs,
    unknown_names: &UnknownNames,
) -> Vec<Code> {
    let material = Material {
        key_pairs: keys,
        authorities: &BTreeMap::new(),
        users: &BTreeMap::new(),
        unknown_names,
    };
    let before = handle.state();
    let built = ServingState::build(balancer.clone(), material, Some(&before), ServedPorts::default());
    let (state, problems) = built.unwrap();
    handle.swap(state);
    problems.iter().map(|problem| problem.code).collect()
}

/// The place of the certificate that was served, or the alert that came in its place.
async fn served(
    address: std::net::SocketAddr,
    name: &str,
    certificates: &[CertificateDer<'static>],
) -> Result<Option<usize>, AlertDescription> {
    match tls(address, name, certificates, &[]).await {
        Ok(stream) => {
            let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
            Ok(certificates.iter().position(|one| *one == shown))
        }
        Err(error) => match error.get_ref().unwrap().downcast_ref() {
            Some(rustls::Error::AlertReceived(alert)) => Err(*alert),
            _ => panic!("{name}: {error}"),
        },
    }
}

#[tokio::test]
async fn who_asks_for_an_unknown_name_gets_what_is_said_or_an_alert() {
    let ((first, first_pem), one) = key_pair("first", &["first.example.com", "unknown.org", NAMELESS]);
    let ((web, web_pem), two) = key_pair("web", &["a.example.com"]);
    let ((_, spare_pem), three) = key_pair("spare", &["a.example.com", "unknown.org", NAMELESS]);
    let spare = ObjectName::new("infra", "spare");
    let keys = KeyPairs::from([(first, first_pem), (web, web_pem), (spare.clone(), spare_pem)]);
    let wanted: [(&str, &[&str]); 2] = [("first", &["first.example.com"]), ("web", &["a.example.com"])];
    let balancer = with_certificates(empty(), &wanted);
    let proxy = serve_with(&balancer, &keys, Settings::default(), 1);
    let certificates = [one, two, three];
    let refused = Err(AlertDescription::UnrecognisedName);
    let gone = ObjectName::new("infra", "gone");
    for (unknown_names, unknown, told) in [
        (UnknownNames::First, Ok(Some(0)), &[][..]),
        (UnknownNames::Stored(spare), Ok(Some(2)), &[]),
        (UnknownNames::Refused, refused, &[]),
        (UnknownNames::Stored(gone), refused, &[Code::SecretNotFound]),
    ] {
        let codes = change(&proxy.handle, &balancer, &keys, &unknown_names);
        assert_eq!(codes, told, "{unknown_names:?}");
        for (name, want) in NAMES.into_iter().zip([Ok(Some(1)), unknown, unknown]) {
            let got = served(proxy.https, name, &certificates).await;
            assert_eq!(got, want, "{unknown_names:?}: {name}");
        }
    }
}

#[cfg(feature = "http3")]
#[tokio::test]
async fn over_quic_the_alert_is_the_same() {
    use quinn::{ConnectionError, TransportErrorCode};

    use crate::quic::{self, HOST, connect};

    let proxy = quic::serve(empty(), 1);
    let (at, trusted) = (proxy.proxy.https, &proxy.trusted);
    let balancer = quic::over_quic(empty());
    change(
        &proxy.proxy.handle,
        &balancer,
        &proxy.keys,
        &UnknownNames::Refused,
    );
    assert!(connect(at, HOST, trusted, None).await.is_ok());
    for name in ["unknown.org", NAMELESS] {
        match connect(at, name, trusted, None).await {
            Err(ConnectionError::ConnectionClosed(close)) => {
                assert_eq!(close.error_code, TransportErrorCode::crypto(112), "{name}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}
