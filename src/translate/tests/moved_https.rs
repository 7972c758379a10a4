//! ingress-nginx's redirects to HTTPS in, what plain HTTP and HTTPS answer out.

use super::moved::{nginx, serving};
use super::*;

#[test]
fn plain_http_is_redirected_as_ingress_nginx_does() {
    let tls = json!([{ "hosts": ["a.com"], "secretName": "cert" }]);
    let listening = r#"[{"HTTP":80},{"HTTPS":8443}]"#;
    let alb = "alb.ingress.kubernetes.io/listen-ports";
    type Row<'r> = (&'r [(&'r str, &'r str)], bool, &'r str);
    let rows: &[Row<'_>] = &[
        (&[], true, "shop/s"),
        (&[("ssl-redirect", "true")], true, "https://a.com/x"),
        (&[("ssl-redirect", "true")], false, "shop/s"),
        (&[("ssl-redirect", "false")], true, "shop/s"),
        (&[("ssl-redirect", "yes")], true, "503"),
        (&[("force-ssl-redirect", "true")], true, "https://a.com/x"),
        (&[("force-ssl-redirect", "true")], false, "503"),
        (
            &[("force-ssl-redirect", "true"), (alb, listening)],
            false,
            "https://a.com:8443/x",
        ),
        (
            &[
                ("ssl-redirect", "true"),
                ("portcullis.dev/ssl-redirect", "8443"),
                (alb, listening),
            ],
            true,
            "https://a.com:8443/x",
        ),
    ];
    for (annotations, with_tls, want) in rows {
        let mut spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
        if *with_tls {
            spec["tls"] = tls.clone();
        }
        let served = with_services(World::new(), &["shop/s"])
            .ingress("shop/web", nginx(annotations), spec)
            .one(&ours());
        let request = Request::get(Port::HTTP, "a.com", "/x");
        let got = match resolve(&served.balancer, &request).action() {
            Some(Action::Redirect(redirect)) => redirect.location(&request, false).unwrap(),
            _ => served.get("a.com/x"),
        };
        assert_eq!(got, *want, "{annotations:?} {with_tls}");
    }
}

#[test]
fn the_proxy_redirects_without_a_certificate_for_whoever_ends_tls_in_front() {
    let clear = ("alb.ingress.kubernetes.io/listen-ports", r#"[{"HTTP":80}]"#);
    let forced = ("force-ssl-redirect", "true");
    type Row<'r> = (&'r [(&'r str, &'r str)], &'r str, &'r str);
    let rows: &[Row<'_>] = &[
        (&[forced], "→ 301", "shop/s"),
        (&[("force-ssl-redirect", "false")], "shop/s", "nobody"),
        (&[("force-ssl-redirect", "yes")], "503", "nobody"),
        (&[("ssl-redirect", "true")], "shop/s", "nobody"),
        // Who names ports has these alone.
        (&[forced, clear], "503", "nobody"),
        (
            &[forced, ("whitelist-source-range", "10.0.0.0/8")],
            "→ 301",
            "403",
        ),
    ];
    for (annotations, plain, secure) in rows {
        let spec = json!({ "rules": [rule("a.com", json!([path("Prefix", "/", "s")]))] });
        let served = with_services(World::new(), &["shop/s"])
            .ingress("shop/web", nginx(annotations), spec)
            .one(&serving());
        let got = (served.get("a.com/x"), served.get_at(443, "a.com/x"));
        assert_eq!(
            got,
            ((*plain).to_owned(), (*secure).to_owned()),
            "{annotations:?}"
        );
    }
}
