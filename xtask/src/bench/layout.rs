//! A row in, a folder with the committed configurations, and what is made for it, out.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::programs::Programs;
use super::scenario::{CERTIFICATES, ENDPOINTS, HOST, HOSTS, ROUTES, Scenario, Setting, route};
use crate::{files, step};

/// As they are committed; what a row adds comes after.
const COMMITTED: [&str; 10] = [
    "backend.conf",
    "nginx.conf",
    "nginx-streams.conf",
    "haproxy.cfg",
    "haproxy-bodies.cfg",
    "envoy.yaml",
    "envoy-routes.yaml",
    "traefik.yaml",
    "traefik-routes.yaml",
    "portcullis.yaml",
];

pub(super) fn lay_out(scenario: &Scenario, programs: &Programs) -> Result<PathBuf> {
    let folder = files::root().join("target/bench-proxy");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(folder.join("manifests"))?;
    fs::create_dir_all(folder.join("files"))?;
    fs::write(folder.join("files/small"), "x".repeat(1 << 10))?;
    fs::write(folder.join("files/large"), "x".repeat(1 << 20))?;
    let committed = files::root().join("benches/proxy");
    for name in COMMITTED {
        let text = fs::read_to_string(committed.join(name)).with_context(|| format!("reading {name}"))?;
        fs::write(
            folder.join(name),
            in_row(&text, scenario.name.trim_end_matches("-half")),
        )?;
    }
    let routes = if scenario.setting == Setting::Routes {
        ROUTES
    } else {
        0
    };
    let (mut nginx, mut haproxy) = (String::new(), String::new());
    let (mut envoy, mut traefik, mut portcullis) = (String::new(), String::new(), String::new());
    for (number, path) in (0..routes).map(route).enumerate() {
        writeln!(nginx, "location {path} {{ proxy_pass http://one; }}")?;
        writeln!(haproxy, "{path} one")?;
        writeln!(envoy, "                \"{path}\": *one")?;
        writeln!(
            traefik,
            "    r{number}: {{rule: \"PathPrefix(`{path}`)\", service: one, middlewares: [ids]}}"
        )?;
        writeln!(
            portcullis,
            "          - {{path: {path}, pathType: Prefix, backend: {{service: {{name: one, port: {{number: 80}}}}}}}}"
        )?;
    }
    fs::write(folder.join("nginx-routes.conf"), nginx)?;
    fs::write(folder.join("haproxy-routes.map"), haproxy)?;
    // These files end where their routes are.
    append(&folder.join("envoy-routes.yaml"), &envoy)?;
    append(&folder.join("traefik-routes.yaml"), &traefik)?;
    append(&folder.join("portcullis.yaml"), &portcullis)?;
    fs::create_dir(folder.join("traefik"))?;
    for (from, to) in [
        ("portcullis.yaml", "manifests/bench.yaml"),
        ("traefik-routes.yaml", "traefik/routes.yaml"),
    ] {
        fs::rename(folder.join(from), folder.join(to))?;
    }
    let (certificate, key) = certificate(&folder)?;
    fs::write(folder.join("both.pem"), format!("{certificate}{key}"))?;
    fs::write(
        folder.join("manifests/secret.yaml"),
        secret("web-tls", &certificate, &key),
    )?;
    if scenario.setting == Setting::Hosts {
        fs::write(folder.join("manifests/hosts.yaml"), hosts()?)?;
    }
    if scenario.setting == Setting::Certificates {
        certificates(&folder, programs.load()?)?;
    }
    Ok(folder)
}

/// Many, to each proxy in its own words.
fn certificates(folder: &Path, load: &Path) -> Result<()> {
    let mut make = Command::new(load);
    make.current_dir(folder).args(["certificates", "certs"]);
    step::output(make.arg(CERTIFICATES.to_string())).context("the certificates could not be made")?;
    let (mut nginx, mut envoy, mut secrets) = (String::new(), String::new(), String::new());
    let mut traefik = "tls:\n  certificates:\n".to_owned();
    let mut ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: certificates, namespace: bench}\nspec:\n  \
                       rules:\n    - http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: one, port: {number: 80}}}}]}\n  tls:\n"
        .to_owned();
    for number in 0..CERTIFICATES {
        let (host, file) = (format!("h{number}.example.com"), format!("certs/{number}.pem"));
        writeln!(
            nginx,
            "server {{ listen 127.0.0.1:18031 ssl http2; server_name {host}; ssl_certificate {file}; ssl_certificate_key {file};\n  \
             ssl_protocols TLSv1.2 TLSv1.3; location / {{ proxy_pass http://one; }} }}"
        )?;
        let of_envoy =
            format!("{{certificate_chain: {{filename: {file}}}, private_key: {{filename: {file}}}}}");
        writeln!(envoy, "                  - {of_envoy}")?;
        writeln!(traefik, "    - {{certFile: {file}, keyFile: {file}}}")?;
        writeln!(ingress, "    - {{hosts: [{host}], secretName: t{number}}}")?;
        let both = fs::read_to_string(folder.join(&file))?;
        let key = both
            .find("-----BEGIN PRIVATE KEY")
            .context("a certificate without its key")?;
        let (certificate, key) = both.split_at(key);
        writeln!(secrets, "{}---", secret(&format!("t{number}"), certificate, key))?;
    }
    fs::write(folder.join("nginx-certificates.conf"), nginx)?;
    append(&folder.join("envoy.yaml"), &envoy)?;
    fs::write(folder.join("traefik/certificates.yaml"), traefik)?;
    fs::write(folder.join("manifests/certificates.yaml"), ingress)?;
    Ok(fs::write(folder.join("manifests/secrets.yaml"), secrets)?)
}

/// `#log rest` is a comment, and in the row `log` (and `log-half`) it is `rest`.
fn in_row(text: &str, row: &str) -> String {
    text.replace(&format!("#{row} "), "")
}

fn append(file: &Path, more: &str) -> Result<()> {
    let text = fs::read_to_string(file)?;
    Ok(fs::write(file, format!("{text}{more}"))?)
}

/// An Ingress, a Service and its endpoints for each.
fn hosts() -> Result<String> {
    let mut text = String::new();
    for host in 0..HOSTS {
        write!(
            text,
            "apiVersion: v1\nkind: Service\nmetadata: {{name: s{host}, namespace: bench}}\nspec:\n  ports: [{{name: http, port: 80, targetPort: http}}]\n---\n\
             apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{host}-a, namespace: bench, labels: {{kubernetes.io/service-name: s{host}}}}}\n\
             addressType: IPv4\nports: [{{name: http, port: 8080, protocol: TCP}}]\nendpoints:\n"
        )?;
        for endpoint in host * ENDPOINTS..(host + 1) * ENDPOINTS {
            let [high, middle, low] = [endpoint >> 16, endpoint >> 8 & 255, endpoint & 255];
            writeln!(
                text,
                "  - {{addresses: [10.{high}.{middle}.{low}], conditions: {{ready: true}}}}"
            )?;
        }
        write!(
            text,
            "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: i{host}, namespace: bench}}\nspec:\n  rules:\n    - host: h{host}.example.com\n      \
             http: {{paths: [{{path: /, pathType: Prefix, backend: {{service: {{name: s{host}, port: {{number: 80}}}}}}}}]}}\n---\n"
        )?;
    }
    Ok(text)
}

/// An elliptic curve's, as certificate authorities advise.
fn certificate(folder: &Path) -> Result<(String, String)> {
    let mut openssl = Command::new("openssl");
    openssl
        .current_dir(folder)
        .args(["req", "-x509", "-newkey", "ec"]);
    openssl.args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    openssl.args([
        "-subj",
        "/CN=bench",
        "-addext",
        &format!("subjectAltName=DNS:{HOST}"),
    ]);
    openssl.args(["-keyout", "key.pem", "-out", "certificate.pem"]);
    step::output(&mut openssl).context("openssl could not make a certificate")?;
    let read = |name: &str| fs::read_to_string(folder.join(name));
    Ok((read("certificate.pem")?, read("key.pem")?))
}

fn secret(name: &str, certificate: &str, key: &str) -> String {
    let indented = |pem: &str| -> String { pem.lines().map(|line| format!("    {line}\n")).collect() };
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: bench}}\ntype: kubernetes.io/tls\n\
         stringData:\n  tls.crt: |\n{}  tls.key: |\n{}",
        indented(certificate),
        indented(key)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_lines_count_in_their_row_alone() {
        let text = "a\n  #log b\n# log\n";
        assert_eq!(in_row(text, "log"), "a\n  b\n# log\n");
        assert_eq!(in_row(text, "tls"), text);
    }
}
