//! Names in, small real HTTP servers on loopback out: each answers who it is and what it was asked.

use std::convert::Infallible;
use std::net::Ipv4Addr;

use anyhow::Context as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// Listens on a free port of loopback and answers as `name` until the set is dropped.
pub(super) async fn start(name: &'static str, tasks: &mut JoinSet<()>) -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .context("listen for an example backend")?;
    let port = listener
        .local_addr()
        .context("read the port of an example backend")?
        .port();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    connections.spawn(async move {
                        let answer = service_fn(move |request| answer(name, request));
                        // A client that went away is its own business.
                        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    });
    Ok(port)
}

async fn answer(name: &'static str, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |key: &str| {
        request
            .headers()
            .get(key)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("-")
            .to_owned()
    };
    let body = serde_json::json!({
        "backend": name,
        "host": header("host"),
        "path": request.uri().path(),
        "forwardedFor": header("x-forwarded-for"),
        "forwardedProto": header("x-forwarded-proto"),
    });
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}
