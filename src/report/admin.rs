//! Requests of the kubelet, of Prometheus and of people in, `/livez`, `/readyz`, `/metrics` and other pages out.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::debug;

/// Longest time a client may take for its request's head: an idle one must not hold a connection for ever.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once; there are two who ask.
const CONNECTIONS: usize = 64;

/// A page of text, made at each request.
pub type Page = Box<dyn Fn() -> String + Send + Sync>;

/// What is asked for at each request.
pub struct Answers {
    /// What is stuck, one line each; empty: alive.
    pub stuck: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// What is waited for, one line each; empty: ready.
    pub waiting: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// In Prometheus' text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Other pages of text, by path.
    pub pages: BTreeMap<&'static str, Page>,
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

/// Opens the address; told apart from serving, so that a port in use ends the start.
pub async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until it is dropped.
pub async fn serve(listener: TcpListener, answers: Arc<Answers>) -> Infallible {
    let mut connections: JoinSet<()> = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    let answers = answers.clone();
                    connections.spawn(async move {
                        let service = service_fn(move |request| {
                            let response = answer(&answers, &request);
                            async move { Ok::<_, Infallible>(response) }
                        });
                        let mut server = hyper::server::conn::http1::Builder::new();
                        server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                        if let Err(error) = server.serve_connection(TokioIo::new(stream), service).await {
                            debug!(error = &error as &dyn std::error::Error, "an admin connection failed");
                        }
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: without a pause this would spin.
                    debug!(error = &error as &dyn std::error::Error, "an admin connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn answer<B>(answers: &Answers, request: &Request<B>) -> Response<String> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET is answered\n".into());
    }
    match request.uri().path() {
        "/livez" => lines(&(answers.stuck)()),
        "/readyz" => lines(&(answers.waiting)()),
        "/metrics" => {
            let mut response = text(StatusCode::OK, (answers.metrics)());
            response.headers_mut().insert(
                CONTENT_TYPE,
                HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8"),
            );
            response
        }
        path => match answers.pages.get(path) {
            Some(page) => text(StatusCode::OK, page()),
            None => {
                let mut all = vec!["/livez", "/readyz", "/metrics"];
                all.extend(answers.pages.keys());
                text(StatusCode::NOT_FOUND, format!("here are: {}\n", all.join(", ")))
            }
        },
    }
}

fn lines(lines: &[String]) -> Response<String> {
    if lines.is_empty() {
        return text(StatusCode::OK, "ok\n".into());
    }
    text(
        StatusCode::SERVICE_UNAVAILABLE,
        lines.iter().map(|line| format!("{line}\n")).collect(),
    )
}

fn text(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty};
    use hyper::body::Bytes;

    use super::*;

    fn answers(waiting: &'static [&'static str]) -> Answers {
        Answers {
            stuck: Box::new(Vec::new),
            waiting: Box::new(move || waiting.iter().map(|&line| line.into()).collect()),
            metrics: Box::new(|| "# EOF\n".into()),
            pages: BTreeMap::from([("/table", Box::new(|| "version 1\n".into()) as Page)]),
        }
    }

    #[tokio::test]
    async fn each_path_answers_what_it_is_for() {
        for (waiting, method, path, status, body) in [
            (&[][..], Method::GET, "/livez", 200, "ok\n"),
            (&[], Method::GET, "/readyz", 200, "ok\n"),
            (
                &["Pod: not listed yet", "lease: held by b"],
                Method::GET,
                "/readyz",
                503,
                "Pod: not listed yet\nlease: held by b\n",
            ),
            (&["Pod: not listed yet"], Method::GET, "/livez", 200, "ok\n"),
            (&[], Method::GET, "/metrics", 200, "# EOF\n"),
            (&[], Method::GET, "/table", 200, "version 1\n"),
            (
                &[],
                Method::GET,
                "/",
                404,
                "here are: /livez, /readyz, /metrics, /table\n",
            ),
            (&[], Method::POST, "/livez", 405, "only GET is answered\n"),
        ] {
            let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
            let address = listener.local_addr().unwrap();
            let mut tasks = JoinSet::new();
            tasks.spawn(async move {
                serve(listener, Arc::new(answers(waiting))).await;
            });
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .unwrap();
            tasks.spawn(async move {
                connection.await.unwrap();
            });
            let request = Request::builder()
                .method(method.clone())
                .uri(path)
                .header("host", "admin");
            let request = request.body(Empty::<Bytes>::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(
                response.status().as_u16(),
                status,
                "{method} {path} with {waiting:?}"
            );
            let got = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(got, body, "{method} {path} with {waiting:?}");
        }
    }
}
