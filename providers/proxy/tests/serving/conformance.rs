//! h2spec's every test of an HTTP/2 server in, none that fails out.

use std::net::SocketAddr;
use std::process::Command;

use portcullis_proxy::Settings;
use portcullis_test_support::h2spec;

use crate::balancer::{KeyPairs, all_to, backend, serve_with, with_certificates};
use crate::echo::Echo;
use crate::secure::key_pair;

/// What h2spec 2.6.0 tries, the cases it calls strict included. Fewer would mean that some were left out.
const CASES: usize = 147;

#[tokio::test]
async fn http2_is_spoken_as_h2spec_has_it() {
    let echo = Echo::http1("one").await;
    let (secret, _) = key_pair("web", &["a.example.com"]);
    let balancer = with_certificates(
        all_to(backend("one", &[echo.address])),
        &[("web", &["a.example.com"])],
    );
    let proxy = serve_with(&balancer, &KeyPairs::from([secret]), Settings::default(), 2);
    for (address, flags) in [(proxy.http, &[][..]), (proxy.https, &["--tls", "--insecure"])] {
        let report = report(address, flags).await;
        let failed: Vec<&str> = report.lines().filter(|line| line.contains('×')).collect();
        assert!(
            failed.is_empty()
                && report.contains(&format!("{CASES} tests, {CASES} passed, 0 skipped, 0 failed")),
            "{flags:?}: {failed:#?}\n{report}"
        );
    }
    assert_eq!(proxy.handle.totals().panics, 0);
}

/// What h2spec prints of the server at this address.
async fn report(address: SocketAddr, flags: &[&str]) -> String {
    let mut command = Command::new(h2spec());
    // Nothing waits for the time to pass where all is well; on a busy machine two seconds are short.
    command.args(["--strict", "--timeout", "10"]).args(flags);
    command.args([
        "--host",
        &address.ip().to_string(),
        "--port",
        &address.port().to_string(),
    ]);
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .unwrap()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}
