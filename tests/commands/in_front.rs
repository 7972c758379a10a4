//! Ingresses without certificates behind a proxy that ends TLS in, what clients of either scheme get out.

use std::fs;

use crate::challenges::ingress;
use crate::{Serving, get};

#[test]
fn what_is_forced_to_https_is_served_where_somebody_in_front_ends_tls() {
    let folder = tempfile::tempdir().unwrap();
    let forced = "nginx.ingress.kubernetes.io/force-ssl-redirect: \"true\"";
    let manifest = ingress("web", "a.example", forced, false, &[("/", "Prefix")]);
    fs::write(folder.path().join("web.yaml"), manifest).unwrap();
    for engine in ["own", "hyper"] {
        let trusting = [
            "--http1-engine",
            engine,
            "--trusted-proxies",
            "127.0.0.0/8",
            "--advertised-https-port",
            "443",
        ];
        let serving = Serving::start(folder.path(), &trusting);
        let from = |scheme: &str| {
            let host = format!("a.example\r\nX-Forwarded-Proto: {scheme}");
            get(&serving.http, &host, "/x")
        };
        let served = from("https");
        assert!(served.starts_with("HTTP/1.1 200 "), "{engine}: {served}");
        assert!(served.ends_with("web /"), "{engine}: {served}");
        let sent = from("http").to_ascii_lowercase();
        assert!(sent.starts_with("http/1.1 301 "), "{engine}: {sent}");
        assert!(
            sent.contains("\r\nlocation: https://a.example/x\r\n"),
            "{engine}: {sent}"
        );

        let trusting_nobody = Serving::start(folder.path(), &["--http1-engine", engine]);
        let claimed = get(
            &trusting_nobody.http,
            "a.example\r\nX-Forwarded-Proto: https",
            "/x",
        );
        assert!(claimed.starts_with("HTTP/1.1 301 "), "{engine}: {claimed}");
    }
}
