//! What an identity provider is asked in, its answer out: over verified TLS, within bounds of time and size.
//!
//! Who writes an Ingress names these URLs, so they lead only where such a person may lead the proxy: never to the
//! machine itself, nor to what answers everybody on its link, above all a cloud's metadata service. What a name stands
//! for is looked up and judged for each connection, and the connection goes to the very address that was judged.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use portcullis_model::special;
use rustls::ClientConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use super::renewal::Renewals;
use crate::places::Places;
use crate::tls;

/// For all of it: the name, the connection, the answer.
const WITHIN: Duration = Duration::from_secs(10);

/// Longest answer, in bytes. Source: ELBv2 user guide, "JWT validation limits": 150 KB.
pub(crate) const LONGEST: usize = 150 * 1024;

/// How identity providers are reached.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Addresses that may be asked although they are loopback, link-local or a metadata service. None by default.
    pub allowed: Vec<IpNet>,
    /// Whom providers' certificates may be signed by; the system's authorities where there are none.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Between two times that a provider is asked for its keys. 10 s by default.
    pub pause: Duration,
    /// For so long, nobody looks for newer keys. 5 minutes by default.
    pub keys_fresh: Duration,
    /// For so long, keys count where no newer ones can be had. An hour by default.
    pub keys_last: Duration,
}

impl Default for Outbound {
    fn default() -> Self {
        Self {
            allowed: Vec::new(),
            authorities: Vec::new(),
            pause: Duration::from_secs(10),
            keys_fresh: Duration::from_secs(300),
            keys_last: Duration::from_secs(3600),
        }
    }
}

/// An `https` URL that is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Endpoint {
    /// With the port, as it was written.
    authority: Box<str>,
    /// Without brackets.
    host: Box<str>,
    port: u16,
    target: Box<str>,
}

impl Endpoint {
    /// The error ends a sentence that names the URL.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        let url: Uri = text.parse().map_err(|_| "is no URL")?;
        if url.scheme_str() != Some("https") {
            return Err("is no URL of https");
        }
        let authority = url.authority().ok_or("names no host")?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if authority.as_str().contains('@') || host.is_empty() {
            return Err("names no host, or more than a host");
        }
        if ServerName::try_from(host).is_err() {
            return Err("names no valid host");
        }
        Ok(Self {
            authority: authority.as_str().into(),
            host: host.into(),
            port: authority.port_u16().unwrap_or(443),
            target: url.path_and_query().map_or("/", PathAndQuery::as_str).into(),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority, self.target)
    }
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why nothing was.
#[derive(Debug, Error)]
pub(crate) enum Unreached {
    #[error("it did not answer in time")]
    Late,
    #[error("the proxy can open no more connections")]
    Full,
    #[error("its name has no address: {0}")]
    Unknown(io::Error),
    #[error("it is at {0}, which is not for rules to ask")]
    Forbidden(IpAddr),
    #[error("no connection to it: {0}")]
    Connect(io::Error),
    #[error("there are no authorities that certificates could be verified by")]
    NoAuthorities,
    #[error("it does not speak HTTP: {0}")]
    Http(#[from] hyper::Error),
    #[error("its answer is longer than {LONGEST} bytes")]
    TooLong,
    #[error("its answer broke off")]
    Broken,
}

/// The way to identity providers; shared by all workers.
#[derive(Debug)]
pub(crate) struct Outside {
    outbound: Outbound,
    provider: Arc<CryptoProvider>,
    /// Made when first needed: most proxies ask nobody.
    tls: OnceCell<Arc<ClientConfig>>,
    places: Arc<Places>,
    pub(crate) renewals: Renewals,
}

impl Outside {
    pub(crate) fn new(outbound: Outbound, provider: Arc<CryptoProvider>, places: Arc<Places>) -> Self {
        Self {
            outbound,
            provider,
            tls: OnceCell::new(),
            places,
            renewals: Renewals::default(),
        }
    }

    pub(crate) fn outbound(&self) -> &Outbound {
        &self.outbound
    }

    /// Whether somebody may be asked for keys again.
    pub(crate) fn may_again(&self, asked: Option<Instant>) -> bool {
        asked.is_none_or(|at| at.elapsed() >= self.outbound.pause)
    }

    /// Asks once, and follows no redirect.
    pub(crate) async fn ask(
        &self,
        endpoint: &Endpoint,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Unreached> {
        let asked = timeout(WITHIN, self.exchange(endpoint, request));
        asked.await.unwrap_or(Err(Unreached::Late))
    }

    async fn exchange(
        &self,
        endpoint: &Endpoint,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Answer, Unreached> {
        let config = self.tls.get_or_try_init(|| self.config()).await?;
        // Until the end, and already while its name is looked up, which takes a file too.
        let Some(_place) = self.places.take() else {
            self.places.lacked_one();
            return Err(Unreached::Full);
        };
        let stream = self.connect(endpoint).await?;
        let name = ServerName::try_from(endpoint.host.to_string());
        let name = name.map_err(|error| Unreached::Connect(io::Error::other(error)))?;
        let stream = TlsConnector::from(config.clone()).connect(name, stream).await;
        let stream = stream.map_err(Unreached::Connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;

        if let Ok(target) = endpoint.target.parse() {
            *request.uri_mut() = target;
        }
        let headers = request.headers_mut();
        if let Ok(authority) = HeaderValue::from_str(&endpoint.authority) {
            headers.insert(HOST, authority);
        }
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("portcullis"));
        let exchange = pin!(async {
            let response = sender.send_request(request).await?;
            let status = response.status();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map_err(|error| match error.is::<LengthLimitError>() {
                true => Unreached::TooLong,
                false => Unreached::Broken,
            })?;
            let body = body.to_bytes();
            Ok(Answer { status, body })
        });
        match select(exchange, pin!(connection)).await {
            Either::Left((answer, _)) => answer,
            Either::Right((_, exchange)) => exchange.await,
        }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Result<TcpStream, Unreached> {
        let found = tokio::net::lookup_host((&*endpoint.host, endpoint.port)).await;
        let found: Vec<SocketAddr> = found.map_err(Unreached::Unknown)?.collect();
        let mut failure = Unreached::Unknown(io::ErrorKind::NotFound.into());
        for address in found {
            if !self.may_ask(address.ip()) {
                failure = Unreached::Forbidden(address.ip());
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Unreached::Connect(error),
            }
        }
        Err(failure)
    }

    fn may_ask(&self, address: IpAddr) -> bool {
        let allowed = &self.outbound.allowed;
        special(address).is_none()
            || allowed
                .iter()
                .any(|range| range.contains(&address.to_canonical()))
    }

    async fn config(&self) -> Result<Arc<ClientConfig>, Unreached> {
        let (given, provider) = (self.outbound.authorities.clone(), self.provider.clone());
        let made = tokio::task::spawn_blocking(move || {
            let authorities = match given.is_empty() {
                true => rustls_native_certs::load_native_certs().certs,
                false => given,
            };
            tls::verified(&provider, authorities)
        });
        let config = made.await.ok().flatten();
        config.map(Arc::new).ok_or(Unreached::NoAuthorities)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_lead_neither_to_the_machine_nor_to_metadata() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let outside = Outside::new(Outbound::default(), provider.clone(), Places::new(1));
        // Each form is in the tests of `special`.
        for (address, want) in [
            ("192.0.2.7", true),
            ("10.96.0.7", true),
            ("fd12::7", true),
            ("127.0.0.1", false),
            ("0.1.2.3", false),
            ("169.254.169.254", false),
            ("100.100.100.200", false),
            ("255.255.255.255", false),
            ("240.0.0.1", false),
            ("::1", false),
            ("64:ff9b::a9fe:a9fe", false),
        ] {
            assert_eq!(outside.may_ask(address.parse().unwrap()), want, "{address}");
        }
        let outbound = Outbound {
            allowed: vec!["127.0.0.0/8".parse().unwrap()],
            ..Outbound::default()
        };
        let outside = Outside::new(outbound, provider, Places::new(1));
        for (address, want) in [("127.0.0.1", true), ("::ffff:127.0.0.1", true), ("::1", false)] {
            assert_eq!(outside.may_ask(address.parse().unwrap()), want, "{address}");
        }
    }

    #[test]
    fn what_is_asked_is_a_host_by_https() {
        for (url, want) in [
            ("https://login.example", Some(("login.example", 443, "/"))),
            (
                "https://login.example:8443/a?b",
                Some(("login.example", 8443, "/a?b")),
            ),
            ("https://[::1]:1/x", Some(("::1", 1, "/x"))),
            ("https://192.0.2.1/x", Some(("192.0.2.1", 443, "/x"))),
            ("http://login.example/", None),
            ("https://user@login.example/", None),
            ("https://:443/", None),
            ("https:///x", None),
            ("login.example", None),
            ("/x", None),
            ("https://a_b!c/", None),
            ("", None),
        ] {
            let read = Endpoint::parse(url).ok();
            let read = read.as_ref().map(|read| (&*read.host, read.port, &*read.target));
            assert_eq!(read, want, "{url}");
        }
    }
}
