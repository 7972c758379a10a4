//! A folder with Ingresses and canaries beside them in, which Service answers requests of a running proxy out.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::{PATIENCE, Serving};

/// A Service of this name, whose only endpoint answers with it and the path that it is asked for.
fn service(name: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut lines = BufReader::new(&stream).lines();
                while let Some(Ok(first)) = lines.next() {
                    let path = first.split(' ').nth(1).unwrap_or_default();
                    let body = format!("{name} {path}");
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                    while lines
                        .next()
                        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
                    {}
                    if (&stream).write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec: {{ports: [{{port: 80}}]}}\n\
         ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}\n\
         addressType: IPv4\nports: [{{port: {port}}}]\n\
         endpoints: [{{addresses: [\"127.0.0.1\"], conditions: {{ready: true}}}}]\n"
    )
}

fn ingress(name: &str, host: &str, service: &str, annotations: &[(&str, &str)]) -> String {
    let path = "path: /, pathType: Prefix";
    ingress_at(path, name, host, service, annotations)
}

fn ingress_at(path: &str, name: &str, host: &str, service: &str, annotations: &[(&str, &str)]) -> String {
    let annotations = annotations
        .iter()
        .map(|(name, value)| format!("    {name}: \"{value}\"\n"));
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  namespace: shop\n  \
         annotations:\n    portcullis.dev/group.name: shop\n{}spec:\n  rules:\n    - host: {host}\n      http:\n        \
         paths: [{{{path}, backend: {{service: {{name: {service}, port: {{number: 80}}}}}}}}]\n",
        annotations.collect::<String>(),
    )
}

/// Who answers.
fn asked(serving: &Serving, host: &str, fields: &[&str]) -> String {
    let answer = asked_at("/", serving, host, fields);
    answer.split(' ').next().unwrap_or_default().to_owned()
}

/// Who answers, and which path it is asked for.
fn asked_at(path: &str, serving: &Serving, host: &str, fields: &[&str]) -> String {
    let mut stream = TcpStream::connect(&serving.http).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let fields: String = fields.iter().map(|field| format!("{field}\r\n")).collect();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{fields}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{host} {fields}: {answer}");
    answer.rsplit("\r\n").next().unwrap_or_default().to_owned()
}

#[test]
fn fields_and_cookies_lead_to_the_canary_and_the_weight_shares_out_the_rest() {
    let all = "portcullis.dev/canary-by-header: X-Canary, portcullis.dev/canary-by-cookie: try";
    type Row<'r> = (&'r str, &'r str, &'r [(&'r [&'r str], &'r str)]);
    let rows: [Row<'_>; 5] = [
        (
            "signs.example",
            all,
            &[
                (&[], "stable"),
                (&["X-Canary: always"], "next"),
                (&["x-canary: Always"], "next"),
                (&["X-Canary: never"], "stable"),
                (&["X-Canary: perhaps"], "stable"),
                (&["Cookie: try=always"], "next"),
                (&["Cookie: a=b; try=always; c=d"], "next"),
                (&["Cookie: retry=always"], "stable"),
                (&["Cookie: try=always2"], "stable"),
                (&["Cookie: try=always", "X-Canary: never"], "stable"),
                (&["Cookie: try=never", "X-Canary: always"], "next"),
            ],
        ),
        (
            "value.example",
            "portcullis.dev/canary-by-header: X-Canary, portcullis.dev/canary-by-header-value: v2",
            &[
                (&["X-Canary: v2"], "next"),
                (&["X-Canary: v22"], "stable"),
                (&["X-Canary: always"], "stable"),
            ],
        ),
        (
            "pattern.example",
            "portcullis.dev/canary-by-header: X-Canary, portcullis.dev/canary-by-header-pattern: v[23]",
            &[(&["X-Canary: is v3"], "next"), (&["X-Canary: v4"], "stable")],
        ),
        (
            "nginx.example",
            "nginx.ingress.kubernetes.io/canary-by-cookie: try, nginx.ingress.kubernetes.io/canary-weight: 100",
            &[(&["Cookie: try=never"], "stable"), (&[], "next")],
        ),
        (
            "half.example",
            "portcullis.dev/canary-by-header: X-Canary, portcullis.dev/canary-weight: 1, portcullis.dev/canary-weight-total: 2",
            &[(&["X-Canary: always"], "next"), (&["X-Canary: never"], "stable")],
        ),
    ];
    let mut manifests = service("stable") + &service("next");
    for (host, canary, _) in rows {
        let name = host.split('.').next().unwrap_or_default();
        let mut annotations: Vec<(&str, &str)> = canary
            .split(", ")
            .filter_map(|pair| pair.split_once(": "))
            .collect();
        annotations.push(("portcullis.dev/canary", "true"));
        manifests += &ingress(name, host, "stable", &[]);
        manifests += &ingress(&format!("{name}-canary"), host, "next", &annotations);
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("shop.yaml"), manifests).unwrap();
    for engine in ["own", "hyper"] {
        let serving = Serving::start(dir.path(), &["--http1-engine", engine]);
        for (host, _, requests) in rows {
            for (fields, want) in requests {
                for _ in 0..4 {
                    assert_eq!(asked(&serving, host, fields), *want, "{engine} {host} {fields:?}");
                }
            }
        }
        let next = (0..200).filter(|_| asked(&serving, "half.example", &[]) == "next");
        // Of 200 draws with even chances; beyond this once in a hundred million runs.
        let next = next.count();
        assert!((60..=140).contains(&next), "{engine}: {next} of 200");
    }
}

#[test]
fn the_canary_of_a_rewritten_path_sees_it_rewritten() {
    const REWRITE: (&str, &str) = ("nginx.ingress.kubernetes.io/rewrite-target", "/$2");
    const REGEX: (&str, &str) = ("nginx.ingress.kubernetes.io/use-regex", "true");
    const GLOB: (&str, &str) = ("portcullis.dev/path-match", "glob");
    const WEIGHT: (&str, &str) = ("nginx.ingress.kubernetes.io/canary-weight", "100");
    const HEADER: (&str, &str) = ("nginx.ingress.kubernetes.io/canary-by-header", "X-Canary");
    const COOKIE: (&str, &str) = ("nginx.ingress.kubernetes.io/canary-by-cookie", "try");
    let (svc, api, v) = ("/svc(/|$)(.*)", "/api/(.*)", "/v*");
    type Said = &'static [(&'static str, &'static str)];
    let rows: [(&str, &str, Said, Said, &str, &str); 6] = [
        (
            "by-weight.example",
            svc,
            &[REWRITE],
            &[WEIGHT],
            "/svc/a?q",
            "next /a?q",
        ),
        (
            "by-both.example",
            svc,
            &[REWRITE],
            &[HEADER, REGEX, REWRITE],
            "/svc/a",
            "next /a",
        ),
        (
            "by-cookie.example",
            svc,
            &[REWRITE],
            &[COOKIE, REGEX],
            "/svc",
            "next /",
        ),
        ("regex.example", api, &[REGEX], &[WEIGHT], "/api/x", "next /api/x"),
        (
            "regexes.example",
            api,
            &[REGEX],
            &[HEADER, REGEX],
            "/api/x",
            "next /api/x",
        ),
        ("glob.example", v, &[GLOB], &[WEIGHT], "/v2", "next /v2"),
    ];
    let mut manifests = service("stable") + &service("next");
    for (host, path, main, canary, ..) in rows {
        let name = host.split('.').next().unwrap_or_default();
        let path = format!("path: \"{path}\", pathType: ImplementationSpecific");
        let canary = [canary, &[("nginx.ingress.kubernetes.io/canary", "true")]].concat();
        manifests += &ingress_at(&path, name, host, "stable", main);
        manifests += &ingress_at(&path, &format!("{name}-canary"), host, "next", &canary);
    }
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("shop.yaml"), manifests).unwrap();
    for engine in ["own", "hyper"] {
        let mut serving = Serving::start(dir.path(), &["--http1-engine", engine]);
        for (host, _, _, canary, url, want) in rows {
            let always = ["X-Canary: always", "Cookie: try=always"];
            assert_eq!(asked_at(url, &serving, host, &always), want, "{engine} {host}");
            if !canary.contains(&WEIGHT) {
                let stable = want.replace("next", "stable");
                assert_eq!(asked_at(url, &serving, host, &[]), stable, "{engine} {host}");
            }
        }
        serving.terminate();
        assert!(!serving.logged().contains("CanaryAlone"), "{engine}");
    }
}
