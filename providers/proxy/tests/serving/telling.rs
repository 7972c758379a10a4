//! What a process is told about those before it in; what backends and clients are told out.

use http::Request;
use portcullis_model::{Action, Port, Redirect};
use portcullis_proxy::{ServedPorts, ServerConfig};

use crate::balancer::{backend, empty, rule, serve_as, to, with_certificates};
use crate::client::{Answer, Client, Sent, get_once, tls};
use crate::echo::Echo;
use crate::secure::key_pair;

async fn ask(client: &mut Client, fields: &[(&str, &str)], path: &str) -> Answer {
    let mut request = Request::get(path).header("host", "shop.example:8080");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    client.send(request.body(Sent::default()).unwrap()).await.unwrap()
}

/// As behind a Service that maps 80 and 443 to ports that need no rights.
#[tokio::test]
async fn the_ports_that_clients_reach_are_named() {
    let echo = Echo::http1("one").await;
    let (pair, certificate) = key_pair("web", &["a.com"]);
    let mut balancer = with_certificates(empty(), &[("web", &["a.com"])]);
    let one = backend("one", &[echo.address]);
    balancer.backends.insert(one.id.clone(), one);
    let away = Redirect::to_https(Port::HTTPS);
    balancer.rules = vec![
        rule("a.com", "/moved", Action::Redirect(away)),
        rule("*", "/", to("one")),
    ];
    let config = ServerConfig {
        advertised: ServedPorts {
            http: Some(Port::HTTP),
            https: Some(Port::HTTPS),
        },
        ..ServerConfig::default()
    };
    let proxy = serve_as(&balancer, &[pair].into(), config);
    let moved = get_once(proxy.http, "a.com", "/moved").await;
    assert_eq!(moved.header("location"), Some("https://a.com/moved"));
    let plain = get_once(proxy.http, "a.com", "/").await;
    assert_eq!(plain.seen("x-forwarded-port"), ["80"]);
    let stream = tls(proxy.https, "a.com", &[certificate], &[]).await.unwrap();
    let mut client = Client::http1_over(stream).await;
    let answer = ask(&mut client, &[], "/").await;
    assert_eq!(answer.seen("x-forwarded-port"), ["443"]);
}
