//! Pages for errors and answers of backends and of the proxy in, what clients are shown out.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use portcullis_model::{ErrorPage, ErrorPages, Filters, LoadBalancer};

use crate::balancer::{backend, empty, filtered, origin, rule, serve, to};
use crate::client::{Client, Sent, get};
use crate::echo::Echo;

/// Answers with the status that the path names, in the type of the request.
async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let status: u16 = request.uri().path()[1..].parse().unwrap();
    let kind = request.headers().get("content-type");
    let response = Response::builder()
        .status(status)
        .header(
            "content-type",
            kind.map_or("application/json", |kind| kind.to_str().unwrap()),
        )
        .header("etag", "\"a\"")
        .header("digest", "md5=a")
        .header("content-md5", "a")
        .header("content-disposition", "attachment")
        .header("content-location", "/else")
        .header("x-own", "kept");
    Ok(response.body(Full::from("said by the backend")).unwrap())
}

fn balancer(echo: &Echo) -> LoadBalancer {
    let mut balancer = empty();
    let backend = backend("one", &[echo.address]);
    balancer.backends.insert(backend.id.clone(), backend.into());
    let page = |statuses, body: &str| ErrorPage::new(statuses, "text/html", body.to_owned()).unwrap();
    let pages = ErrorPages {
        pages: vec![
            page(vec![404..=404, 502..=502], "<h1>Not here</h1>"),
            page(vec![500..=599], "<h1>Ill</h1>"),
        ],
        origin: origin(),
    };
    let filters = Filters {
        error_pages: Some(pages),
        ..Filters::default()
    };
    *balancer.rules = vec![
        filtered(rule("a.com", "/", to("one")), filters.clone()),
        filtered(rule("gone.com", "/", to("nobody")), filters),
        rule("b.com", "/", to("one")),
    ];
    balancer
}

#[tokio::test]
async fn errors_are_shown_as_the_page_of_the_rule() {
    let echo = Echo::answering(answer).await;
    let proxy = serve(&balancer(&echo));
    let mut client = Client::http1(proxy.http).await;
    let theirs = "said by the backend";
    for (host, path, status, body) in [
        ("a.com", "/404", 404, "<h1>Not here</h1>"),
        ("a.com", "/502", 502, "<h1>Not here</h1>"),
        ("a.com", "/500", 500, "<h1>Ill</h1>"),
        ("a.com", "/403", 403, theirs),
        ("a.com", "/200", 200, theirs),
        ("gone.com", "/200", 503, "<h1>Ill</h1>"),
        ("b.com", "/404", 404, theirs),
    ] {
        let answer = client.send(get(host, path)).await.unwrap();
        assert_eq!((answer.status(), &*answer.body), (status, body), "{host}{path}");
        let is_page = body != theirs;
        let kind = if is_page { "text/html" } else { "application/json" };
        assert_eq!(answer.header("content-type"), Some(kind), "{host}{path}");
        for of_content in [
            "etag",
            "digest",
            "content-md5",
            "content-disposition",
            "content-location",
        ] {
            let is_said = answer.header(of_content).is_some();
            assert_eq!(is_said, !is_page, "{host}{path} {of_content}");
        }
        assert_eq!(
            answer.header("content-length"),
            Some(&*body.len().to_string()),
            "{host}{path}"
        );
        assert_eq!(
            answer.header("x-own").is_some(),
            host != "gone.com",
            "{host}{path}"
        );
    }
    // No content to HEAD, and the length of what there would be.
    let head = Request::head("/404")
        .header("host", "a.com")
        .body(Sent::default())
        .unwrap();
    let answer = client.send(head).await.unwrap();
    assert_eq!((answer.header("content-length"), &*answer.body), (Some("17"), ""));
}

/// Its clients read the status of gRPC, and what is no message breaks the call.
#[tokio::test]
async fn answers_in_grpc_have_no_pages() {
    let echo = Echo::answering(answer).await;
    let proxy = serve(&balancer(&echo));
    let mut client = Client::http1(proxy.http).await;
    for (host, path, kind, want) in [
        (
            "a.com",
            "/503",
            "application/grpc",
            (503, "application/grpc", "said by the backend"),
        ),
        (
            "a.com",
            "/404",
            "application/grpc+proto",
            (404, "application/grpc+proto", "said by the backend"),
        ),
        // Of browsers: an answer of HTTP like any other.
        (
            "a.com",
            "/503",
            "application/grpc-web",
            (503, "text/html", "<h1>Ill</h1>"),
        ),
        // The proxy's own.
        (
            "gone.com",
            "/200",
            "application/grpc",
            (200, "application/grpc", ""),
        ),
    ] {
        let mut request = get(host, path);
        request
            .headers_mut()
            .insert("content-type", kind.parse().unwrap());
        let answer = client.send(request).await.unwrap();
        let seen = (
            answer.status(),
            answer.header("content-type").unwrap(),
            &*answer.body,
        );
        assert_eq!(seen, want, "{host}{path} {kind}");
        let status = answer.header("grpc-status");
        assert_eq!(
            status,
            (host == "gone.com").then_some("14"),
            "{host}{path} {kind}"
        );
    }
}
