//! An address in, connections and requests of HTTP/1.1 over them out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

pub(crate) const HOST: &str = "bench.example.com";

/// Opened so many at a time, so that the opening is no storm.
const AT_ONCE: usize = 32;

/// All connections, each after `begin`.
pub(crate) async fn open<F>(
    address: SocketAddr,
    count: u32,
    begin: fn(TcpStream) -> F,
) -> Result<Vec<TcpStream>>
where
    F: Future<Output = Result<TcpStream>> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    let mut opened = Vec::new();
    for _ in 0..count {
        if under_way.len() >= AT_ONCE {
            opened.push(under_way.join_next().await.context("none under way")???);
        }
        under_way.spawn(async move { begin(connect(address).await?).await });
    }
    while let Some(stream) = under_way.join_next().await {
        opened.push(stream??);
    }
    Ok(opened)
}

pub(crate) async fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address).await.context("connecting")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Asks for `/` and reads the whole answer, which must be 200.
pub(crate) async fn get<S>(stream: &mut S, host: &str) -> Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let (head, mut read) = head(stream).await?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("the answer was {}", head.lines().next().unwrap_or_default());
    }
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .context("the answer has no length")?;
    let mut buffer = [0; 4_096];
    while read < length {
        match stream.read(&mut buffer).await? {
            0 => bail!("the answer broke off"),
            more => read += more,
        }
    }
    Ok(())
}

/// The head of a message, and how much of its body came with it.
pub(crate) async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> Result<(String, usize)> {
    let mut bytes = Vec::with_capacity(1_024);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            bail!("closed before the end of a head");
        }
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            return Ok((head, bytes.len() - end - 4));
        }
    }
}

/// Ticks so often a second; those that were missed come at once.
pub(crate) fn ticks(rate: u32) -> Interval {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    ticks
}

/// The time that one of a hundred exceeds, in microseconds.
pub(crate) fn p99(mut times: Vec<Duration>) -> u128 {
    times.sort_unstable();
    let at = (times.len() * 99).div_ceil(100).saturating_sub(1);
    times.get(at).map_or(0, Duration::as_micros)
}

/// What takes any certificate: who serves is known, and verifying would only cost the load time.
pub(crate) fn tls(protocol: &[u8]) -> Result<ClientConfig> {
    // As h2load and OpenSSL 3.0 do, which know no post-quantum groups; their cost would hide what is compared.
    let provider = Arc::new(CryptoProvider {
        kx_groups: vec![aws_lc_rs::kx_group::X25519, aws_lc_rs::kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    });
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
