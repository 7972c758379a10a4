//! Calls of tonic's client in, what tonic's server makes of them out, and gRPC's own words where something is wrong.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures::channel::mpsc;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, SinkExt, StreamExt, TryStreamExt};
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use portcullis_model::{BackendVersion, Port};
use portcullis_proxy::Settings;
use rustls::pki_types::CertificateDer;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, IntoStreamingRequest, Request, Response, Status, Streaming};

use crate::balancer::{KeyPairs, Proxy, all_to, backend, serve_with, speaking, with_certificates};
use crate::client::{soon, tls, until};
use crate::echo::Echo;
use crate::secure::key_pair;

/// Messages are bytes as they are: what they mean is nobody's business here.
#[derive(Clone, Copy, Debug, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// A service with a call of each kind.
#[derive(Clone, Debug, Default)]
struct Service {
    /// Calls that nobody waits for any more.
    dropped: Arc<AtomicUsize>,
}

struct Dropped(Arc<AtomicUsize>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Answer<T> = BoxFuture<'static, Result<Response<T>, Status>>;
type Messages = BoxStream<'static, Result<Bytes, Status>>;

impl tonic::server::UnaryService<Bytes> for Service {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let dropped = Dropped(self.dropped.clone());
        async move {
            let text = String::from_utf8_lossy(request.get_ref()).into_owned();
            match text.as_str() {
                "refuse" => {
                    let mut status = Status::with_details(Code::FailedPrecondition, "nö", "\0x".into());
                    let fields = status.metadata_mut();
                    fields.insert("x-last", MetadataValue::from_static("trailer"));
                    fields.insert_bin("x-last-bin", MetadataValue::from_bytes(&[0, 255]));
                    Err(status)
                }
                "wait" => {
                    let _dropped = dropped;
                    std::future::pending().await
                }
                _ => {
                    let mut response = Response::new(request.get_ref().clone());
                    for name in ["grpc-timeout", "x-mine", "user-agent", "te"] {
                        if let Some(value) = request.metadata().get(name) {
                            let told = format!("x-told-{name}").parse::<tonic::metadata::AsciiMetadataKey>();
                            response.metadata_mut().insert(told.unwrap(), value.clone());
                        }
                    }
                    if let Some(value) = request.metadata().get_bin("x-mine-bin") {
                        response.metadata_mut().insert_bin("x-told-bin", value.clone());
                    }
                    Ok(response)
                }
            }
        }
        .boxed()
    }
}

impl tonic::server::ServerStreamingService<Bytes> for Service {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = Answer<Messages>;

    /// As many messages as the request is long; then, at `!`, a status.
    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let messages = request.into_inner().into_iter().map(|byte| match byte {
            b'!' => Err(Status::data_loss("no more")),
            byte => Ok(Bytes::from(vec![byte])),
        });
        async move { Ok(Response::new(stream::iter(messages.collect::<Vec<_>>()).boxed())) }.boxed()
    }
}

impl tonic::server::ClientStreamingService<Bytes> for Service {
    type Response = Bytes;
    type Future = Answer<Bytes>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        async move {
            let all: Vec<Bytes> = request.into_inner().try_collect().await?;
            Ok(Response::new(all.concat().into()))
        }
        .boxed()
    }
}

impl tonic::server::StreamingService<Bytes> for Service {
    type Response = Bytes;
    type ResponseStream = Messages;
    type Future = Answer<Messages>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        async move { Ok(Response::new(request.into_inner().boxed())) }.boxed()
    }
}

impl Service {
    async fn running(&self) -> Echo {
        let service = self.clone();
        Echo::running(move |stream| {
            let service = service.clone();
            Box::pin(async move {
                let answer = service_fn(|request| service.clone().answer(request));
                let builder = http2::Builder::new(TokioExecutor::new());
                let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
            })
        })
        .await
    }

    async fn answer(
        self,
        request: hyper::Request<Incoming>,
    ) -> Result<hyper::Response<tonic::body::Body>, Infallible> {
        let mut grpc = tonic::server::Grpc::new(Raw).max_decoding_message_size(usize::MAX);
        let method = request.uri().path().to_owned();
        Ok(match method.as_str() {
            "/test.Echo/One" => grpc.unary(self, request).await,
            "/test.Echo/Down" => grpc.server_streaming(self, request).await,
            "/test.Echo/Up" => grpc.client_streaming(self, request).await,
            "/test.Echo/Both" => grpc.streaming(self, request).await,
            _ => Status::unimplemented(method).into_http(),
        })
    }
}

struct Client(tonic::client::Grpc<Channel>);

/// A server of gRPC behind the proxy, and a client for each way to it.
async fn called(service: &Service, settings: Settings) -> (Proxy, Echo, [Client; 2]) {
    let echo = service.running().await;
    let (secret, certificate) = key_pair("web", &["a.example.com"]);
    let balancer = with_certificates(
        all_to(speaking(
            backend("b", &[echo.address]),
            BackendVersion::Grpc,
            false,
        )),
        &[("web", &["a.example.com"])],
    );
    let proxy = serve_with(&balancer, &KeyPairs::from([secret]), settings, 1);
    let plain = Client::plain(&proxy);
    let secure = Client::over_tls(&proxy, certificate);
    (proxy, echo, [plain, secure])
}

fn method(name: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(name)
}

impl Client {
    fn plain(proxy: &Proxy) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{}", proxy.http)).unwrap();
        Self::new(endpoint.connect_lazy())
    }

    fn over_tls(proxy: &Proxy, certificate: CertificateDer<'static>) -> Self {
        let address = proxy.https;
        let connector = tower::service_fn(move |_| {
            let certificate = certificate.clone();
            async move {
                let stream = tls(address, "a.example.com", &[certificate], &["h2"]).await;
                stream.map(TokioIo::new)
            }
        });
        // Said to be plain: tonic would look for a TLS of its own.
        let endpoint = Endpoint::from_static("http://a.example.com");
        Self::new(endpoint.connect_with_connector_lazy(connector))
    }

    fn new(channel: Channel) -> Self {
        Self(tonic::client::Grpc::new(channel).max_decoding_message_size(usize::MAX))
    }

    async fn down(&mut self, request: Request<Bytes>) -> Streaming<Bytes> {
        soon("a call", async {
            self.0.ready().await.unwrap();
            let called = self.0.server_streaming(request, method("/test.Echo/Down"), Raw);
            called.await.unwrap().into_inner()
        })
        .await
    }

    async fn one(&mut self, request: Request<Bytes>) -> Result<Response<Bytes>, Status> {
        soon("a call", async {
            self.0.ready().await.unwrap();
            self.0.unary(request, method("/test.Echo/One"), Raw).await
        })
        .await
    }

    async fn both(
        &mut self,
        messages: impl IntoStreamingRequest<Message = Bytes>,
    ) -> Result<Streaming<Bytes>, Status> {
        soon("a call", async {
            self.0.ready().await.unwrap();
            let called = self
                .0
                .streaming(messages.into_streaming_request(), method("/test.Echo/Both"), Raw);
            called.await.map(Response::into_inner)
        })
        .await
    }
}

fn message(text: &'static str) -> Request<Bytes> {
    Request::new(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn all_four_kinds_of_call_pass() {
    let service = Service::default();
    let (_proxy, echo, clients) = called(&service, Settings::default()).await;
    for mut client in clients {
        let mut request = message("hello");
        request
            .metadata_mut()
            .insert("x-mine", MetadataValue::from_static("1"));
        request
            .metadata_mut()
            .insert_bin("x-mine-bin", MetadataValue::from_bytes(&[0, 255, 7]));
        request.set_timeout(Duration::from_secs(15));
        let answer = client.one(request).await.unwrap();
        assert_eq!(answer.get_ref(), "hello");
        let told = |name: &str| {
            answer
                .metadata()
                .get(name)
                .map(|v| v.to_str().unwrap().to_owned())
        };
        assert_eq!(told("x-told-x-mine").as_deref(), Some("1"));
        assert_eq!(told("x-told-grpc-timeout").as_deref(), Some("15000000u"));
        assert!(told("x-told-user-agent").is_some_and(|agent| agent.starts_with("tonic/")));
        assert_eq!(
            answer
                .metadata()
                .get_bin("x-told-bin")
                .unwrap()
                .to_bytes()
                .unwrap(),
            &[0, 255, 7][..]
        );

        let mut down = client.down(message("abc")).await;
        let mut came = Vec::new();
        while let Some(next) = soon("a message", down.message()).await.unwrap() {
            came.push(next);
        }
        assert_eq!(came, ["a", "b", "c"]);
        let trailers = down.trailers().await.unwrap().unwrap();
        assert_eq!(trailers.get("grpc-status").unwrap(), "0");

        let grpc = &mut client.0;
        grpc.ready().await.unwrap();
        let parts = stream::iter(["a", "b", "c"].map(Bytes::from)).into_streaming_request();
        let up = grpc.client_streaming(parts, method("/test.Echo/Up"), Raw);
        assert_eq!(soon("a call", up).await.unwrap().into_inner(), "abc");

        // Each message is answered before the next is sent.
        let (mut send, messages) = mpsc::channel(1);
        send.send(Bytes::from_static(b"first")).await.unwrap();
        let mut back = client.both(messages).await.unwrap();
        assert_eq!(soon("a message", back.message()).await.unwrap().unwrap(), "first");
        for size in [0, 1, 70_000, 3_000_000] {
            let message = Bytes::from(vec![b'x'; size]);
            send.send(message.clone()).await.unwrap();
            let came = soon("a message", back.message()).await.unwrap().unwrap();
            assert!(came == message, "{size}: {} came", came.len());
        }
        drop(send);
        assert_eq!(soon("the end", back.message()).await.unwrap(), None);
    }
    assert_eq!(
        echo.connections.load(Ordering::SeqCst),
        1,
        "calls share a connection"
    );
}

#[tokio::test]
async fn a_status_and_what_belongs_to_it_pass() {
    let service = Service::default();
    let (_proxy, _echo, clients) = called(&service, Settings::default()).await;
    for mut client in clients {
        let status = client.one(message("refuse")).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::FailedPrecondition, "nö")
        );
        assert_eq!(status.details(), b"\0x");
        assert_eq!(status.metadata().get("x-last").unwrap(), "trailer");
        assert_eq!(
            status
                .metadata()
                .get_bin("x-last-bin")
                .unwrap()
                .to_bytes()
                .unwrap(),
            &[0, 255][..]
        );

        // After messages it is a trailer.
        let mut down = client.down(message("a!")).await;
        assert_eq!(soon("a message", down.message()).await.unwrap().unwrap(), "a");
        let status = soon("the status", down.message()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::DataLoss, "no more"));

        let grpc = &mut client.0;
        grpc.ready().await.unwrap();
        let unknown = grpc.unary::<Bytes, Bytes, _>(message(""), method("/test.Echo/None"), Raw);
        assert_eq!(
            soon("a call", unknown).await.unwrap_err().code(),
            Code::Unimplemented
        );
    }
}

#[tokio::test]
async fn a_call_that_its_client_gives_up_is_given_up_at_the_backend() {
    let service = Service::default();
    let (_proxy, _echo, clients) = called(&service, Settings::default()).await;
    for (number, mut client) in clients.into_iter().enumerate() {
        let mut request = message("wait");
        request.set_timeout(Duration::from_millis(50));
        let status = client.one(request).await.unwrap_err();
        assert!(
            matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded),
            "{status:?}"
        );
        until("the backend's call ends", || {
            service.dropped.load(Ordering::SeqCst) > number
        })
        .await;
        assert_eq!(client.one(message("again")).await.unwrap().into_inner(), "again");
    }
}

/// The backend, whose request is broken off, only follows.
#[tokio::test]
async fn a_request_that_is_too_long_is_told_as_that_though_its_answer_has_begun() {
    let service = Service::default();
    let mut settings = Settings::default();
    settings.limits.body_bytes = Some(1000);
    let (_proxy, _echo, clients) = called(&service, settings).await;
    for mut client in clients {
        let (mut messages, all) = mpsc::unbounded();
        let message = Bytes::from(vec![b'm'; 600]);
        messages.send(message.clone()).await.unwrap();
        let mut answers = client.both(all).await.unwrap();
        assert_eq!(
            soon("an answer", answers.message()).await.unwrap(),
            Some(message.clone())
        );
        messages.send(message).await.unwrap();
        let status = soon("the end", answers.message()).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::ResourceExhausted, "the body of the request is too long")
        );
    }
}

#[tokio::test]
async fn what_the_proxy_has_to_say_it_says_as_a_status() {
    let service = Service::default();
    let mut settings = Settings::default();
    settings.timeouts.answer = Duration::from_millis(100);
    settings.limits.body_bytes = Some(1000);
    settings.limits.answer_bytes = Some(900);
    let (_proxy, echo, [mut client, _]) = called(&service, settings).await;
    let status = client.one(message("wait")).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let status = client
        .one(Request::new(Bytes::from(vec![0; 2000])))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let long = Request::new(Bytes::from(vec![0; 950]));
    let status = client.one(long).await.unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::ResourceExhausted, "the answer is too long")
    );

    let down = echo.address;
    drop(echo);
    for (name, targets) in [("nobody", vec![]), ("nobody listens", vec![down])] {
        let balancer = all_to(speaking(backend("b", &targets), BackendVersion::Grpc, false));
        let proxy = serve_with(&balancer, &KeyPairs::new(), Settings::default(), 1);
        let status = Client::plain(&proxy).one(message("x")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{name}: {status:?}");
    }
    let proxy = serve_with(
        &crate::balancer::empty(),
        &KeyPairs::new(),
        Settings::default(),
        1,
    );
    let status = Client::plain(&proxy).one(message("x")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented, "no rule: {status:?}");
}

/// Whatever refuses it: the status is the one that gRPC has for that of HTTP.
#[tokio::test]
async fn who_is_refused_is_told_why_in_a_status() {
    let mut balancer = crate::balancer::empty();
    balancer.options.admitted = [(Port::HTTP, ["192.0.2.0/24".parse().unwrap()].into())].into();
    let closed = serve_with(&balancer, &KeyPairs::new(), Settings::default(), 1);
    let open = serve_with(
        &crate::balancer::empty(),
        &KeyPairs::new(),
        Settings::default(),
        1,
    );
    for (proxy, request, want) in [
        (&closed, hyper::Request::post("http://a/x"), "7"),
        (
            &open,
            hyper::Request::post("http://a/x").header("host", "b"),
            "13",
        ),
        (&open, hyper::Request::connect("a:80"), "12"),
    ] {
        let request = request
            .header("content-type", "application/grpc")
            .body(crate::client::Sent::default());
        let mut client = crate::client::Client::http2(proxy.http).await;
        let answer = client.send(request.unwrap()).await.unwrap();
        assert_eq!((answer.status(), answer.header("grpc-status")), (200, Some(want)));
    }
}

#[tokio::test]
async fn a_backend_that_dies_in_the_middle_of_a_stream_is_unavailable() {
    let service = Service::default();
    let (_proxy, echo, clients) = called(&service, Settings::default()).await;
    let mut streams = Vec::new();
    let mut sending = Vec::new();
    for mut client in clients {
        let (mut send, messages) = mpsc::channel(1);
        send.send(Bytes::from_static(b"first")).await.unwrap();
        let mut back = client.both(messages).await.unwrap();
        assert_eq!(soon("a message", back.message()).await.unwrap().unwrap(), "first");
        streams.push((client, back));
        sending.push(send);
    }
    drop(echo);
    for (_client, mut back) in streams {
        let status = soon("the status", back.message()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    }
}
