//! Ingresses that let in few, with pages, fields and CORS of their answers, in, what the others are told out.

use std::fs;

use crate::{Serving, get};

fn ingress(name: &str, more: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  namespace: shop\n  annotations:\n    \
         portcullis.dev/error-pages: '[{{\"statuses\": [\"400-499\"], \"contentType\": \"text/plain\", \"body\": \"a page\"}}]'\n    \
         portcullis.dev/response-headers: '{{\"set\": {{\"x-answered\": \"yes\"}}}}'\n    \
         portcullis.dev/cors: '{{\"allowOrigins\": [\"*\"]}}'\n    {more}\n\
         spec:\n  rules:\n    - host: {name}.example\n      http:\n        \
         paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: web, port: {{number: 80}}}}}}}}]\n"
    )
}

#[test]
fn who_is_turned_away_sees_pages_fields_and_what_scripts_may_read() {
    let folder = tempfile::tempdir().unwrap();
    let ranges = [
        ("ports", "portcullis.dev/inbound-cidrs: 10.1.0.0/16"),
        (
            "allowed",
            "nginx.ingress.kubernetes.io/whitelist-source-range: 10.1.0.0/16",
        ),
        (
            "denied",
            "nginx.ingress.kubernetes.io/denylist-source-range: 127.0.0.0/8",
        ),
    ];
    let all: String = ranges.iter().map(|(name, more)| ingress(name, more)).collect();
    fs::write(folder.path().join("shop.yaml"), all).unwrap();
    for engine in ["own", "hyper"] {
        let serving = Serving::start(folder.path(), &["--http1-engine", engine]);
        for (name, _) in ranges {
            let host = format!("{name}.example\r\nOrigin: https://a.example");
            let answer = get(&serving.http, &host, "/").to_ascii_lowercase();
            for part in [
                "http/1.1 403 ",
                "\r\nx-answered: yes\r\n",
                "\r\naccess-control-allow-origin: *\r\n",
                "\r\n\r\na page",
            ] {
                assert!(answer.contains(part), "{engine} {name}: {part:?} in {answer}");
            }
        }
    }
}
