//! Backends that redirect and set cookies for where they are in, answers for where clients are out.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use portcullis_model::{CookieRewrites, Filters, LocationRewrites, Replacement};

use crate::balancer::{backend, empty, filtered, origin, rule, serve, to};
use crate::client::{Client, get};
use crate::echo::Echo;

async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let response = Response::builder()
        .status(302)
        .header("location", "http://inner:8080/cart?a=b")
        .header("refresh", "5; url=http://inner:8080/")
        .header("set-cookie", "a=b; Domain=inner; Path=/one/two; Secure")
        .header("set-cookie", "c=d");
    Ok(response.body(Full::default()).unwrap())
}

#[tokio::test]
async fn backends_redirect_and_set_cookies_for_where_clients_are() {
    let echo = Echo::answering(answer).await;
    let mut balancer = empty();
    let backend = backend("one", &[echo.address]);
    balancer.backends.insert(backend.id.clone(), backend.into());
    let filters = Filters {
        location_rewrites: Some(LocationRewrites {
            rewrites: vec![Replacement::of_url("http://inner:8080/", "https://a.com/").unwrap()],
            origin: origin(),
        }),
        cookie_rewrites: Some(CookieRewrites {
            domains: vec![Replacement::of_domain("inner", "a.com").unwrap()],
            paths: vec![Replacement::of_path("/one/", "/").unwrap()],
            origin: origin(),
        }),
        ..Filters::default()
    };
    *balancer.rules = vec![
        filtered(rule("a.com", "/", to("one")), filters),
        rule("b.com", "/", to("one")),
    ];
    let proxy = serve(&balancer);
    let mut client = Client::http1(proxy.http).await;
    for (host, location, refresh, cookie) in [
        (
            "a.com",
            "https://a.com/cart?a=b",
            "5; url=https://a.com/",
            "a=b; Domain=a.com; Path=/two; Secure",
        ),
        (
            "b.com",
            "http://inner:8080/cart?a=b",
            "5; url=http://inner:8080/",
            "a=b; Domain=inner; Path=/one/two; Secure",
        ),
    ] {
        let answer = client.send(get(host, "/")).await.unwrap();
        assert_eq!(answer.header("location"), Some(location), "{host}");
        assert_eq!(answer.header("refresh"), Some(refresh), "{host}");
        let cookies: Vec<_> = answer.response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, [cookie, "c=d"], "{host}");
    }
}
