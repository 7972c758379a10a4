//! A folder with Ingresses that redirect to HTTPS and paths of ACME challenges in, what a running proxy answers out.

use std::fs;

use crate::Serving;

const TOKEN: &str = "/.well-known/acme-challenge/tOk-en_1";

pub(crate) fn ingress(
    name: &str,
    host: &str,
    annotations: &str,
    tls: bool,
    paths: &[(&str, &str)],
) -> String {
    let answers = paths.iter().map(|(path, _)| {
        let action = r#"{"type": "fixed-response", "fixedResponseConfig": {"statusCode": "200", "messageBody": "BODY"}}"#;
        let action = action.replace("BODY", &format!("{name} {path}"));
        format!("    portcullis.dev/actions.a{}: '{action}'\n", path.len())
    });
    let paths = paths.iter().map(|(path, kind)| {
        let backend = format!(
            "{{service: {{name: a{}, port: {{name: use-annotation}}}}}}",
            path.len()
        );
        format!("          - {{path: {path}, pathType: {kind}, backend: {backend}}}\n")
    });
    let tls = if tls {
        format!("  tls: [{{hosts: [{host}]}}]\n")
    } else {
        String::new()
    };
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata:\n  name: {name}\n  namespace: shop\n  \
         annotations:\n    {annotations}\n{}spec:\n{tls}  rules:\n    - host: {host}\n      http:\n        paths:\n{}",
        answers.collect::<String>(),
        paths.collect::<String>(),
    )
}

#[test]
fn a_challenge_is_answered_where_all_else_is_redirected() {
    let redirect = "nginx.ingress.kubernetes.io/force-ssl-redirect: \"true\"";
    let solver = "nginx.ingress.kubernetes.io/whitelist-source-range: 0.0.0.0/0,::/0";
    let specific = "ImplementationSpecific";
    let whole = [("/", "Prefix")];
    let beside = ingress("web", "a.example", redirect, true, &whole)
        + &ingress("solver", "a.example", solver, false, &[(TOKEN, specific)]);
    let in_place = ingress("web", "a.example", redirect, true, &[whole[0], (TOKEN, specific)]);
    let engines = [&[][..], &["--http1-engine", "hyper"]];
    for (case, manifests, by) in [("beside", beside, "solver"), ("in place", in_place, "web")] {
        for engine in engines {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("web.yaml"), &manifests).unwrap();
            let serving = Serving::start(dir.path(), engine);
            let answer = serving.get("a.example", TOKEN);
            assert!(answer.starts_with("HTTP/1.1 200"), "{case} {engine:?}: {answer}");
            assert!(
                answer.contains(&format!("{by} {TOKEN}")),
                "{case} {engine:?}: {answer}"
            );
            for path in ["/", "/.well-known/acme-challenge/another"] {
                let answer = serving.get("a.example", path);
                assert!(answer.starts_with("HTTP/1.1 301"), "{case} {engine:?}: {answer}");
            }
        }
    }
}
