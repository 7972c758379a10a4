//! Ports of backends and a certificate in, the example folder's files out.

use anyhow::Context as _;

/// A backend of the example: where its Service lives and what it answers as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) namespace: &'static str,
    pub(super) name: &'static str,
}

pub(super) const BACKENDS: [Backend; 7] = [
    Backend {
        namespace: "shop",
        name: "web",
    },
    Backend {
        namespace: "shop",
        name: "cart",
    },
    Backend {
        namespace: "shop",
        name: "health",
    },
    Backend {
        namespace: "shop",
        name: "api-stable",
    },
    Backend {
        namespace: "shop",
        name: "api-next",
    },
    Backend {
        namespace: "apps",
        name: "apps",
    },
    Backend {
        namespace: "broken",
        name: "fine",
    },
];

/// The host that has a certificate.
pub(super) const TLS_HOST: &str = "shop.localhost";

/// A certificate made for one run.
pub(super) struct Certificate {
    pub(super) certificate_pem: String,
    pub(super) key_pem: String,
}

/// A self-signed certificate for [`TLS_HOST`].
pub(super) fn certificate() -> anyhow::Result<Certificate> {
    let made = rcgen::generate_simple_self_signed([TLS_HOST.to_owned()])
        .context("make the example's certificate")?;
    Ok(Certificate {
        certificate_pem: made.cert.pem(),
        key_pem: made.signing_key.serialize_pem(),
    })
}

/// Name and content of each file; `ports` are those of [`BACKENDS`], in the same order.
pub(super) fn files(ports: &[u16; BACKENDS.len()], certificate: &Certificate) -> Vec<(&'static str, String)> {
    let services: String = BACKENDS
        .iter()
        .zip(ports)
        .map(|(backend, port)| service(*backend, *port))
        .collect();
    vec![
        ("api.yaml", include_str!("manifests/api.yaml").to_owned()),
        ("apps.yaml", include_str!("manifests/apps.yaml").to_owned()),
        ("broken.yaml", include_str!("manifests/broken.yaml").to_owned()),
        ("shop.yaml", include_str!("manifests/shop.yaml").to_owned()),
        ("services.yaml", services),
        ("tls.yaml", secret(certificate)),
    ]
}

fn service(backend: Backend, port: u16) -> String {
    let Backend { namespace, name } = backend;
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  ports:
    - {{name: http, port: 80, targetPort: {port}}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-1
  namespace: {namespace}
  labels: {{kubernetes.io/service-name: {name}}}
addressType: IPv4
ports:
  - {{name: http, port: {port}, protocol: TCP}}
endpoints:
  - addresses: [127.0.0.1]
    conditions: {{ready: true}}
"
    )
}

fn secret(certificate: &Certificate) -> String {
    fn indented(pem: &str) -> String {
        pem.trim_end()
            .lines()
            .map(|line| format!("    {line}\n"))
            .collect()
    }
    format!(
        "apiVersion: v1
kind: Secret
metadata: {{name: shop-tls, namespace: shop}}
type: kubernetes.io/tls
stringData:
  tls.crt: |
{}  tls.key: |
{}",
        indented(&certificate.certificate_pem),
        indented(&certificate.key_pem),
    )
}
