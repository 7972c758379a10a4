//! Ingresses that had ingress-nginx ask a Service who may pass in, whom the proxy asks out.

use super::moved::check;
use super::*;

#[test]
fn a_service_is_asked_as_ingress_nginx_asks_it() {
    use Code::{AnnotationInvalid, AnnotationUnsupported, ServiceNotFound};
    let url = "http://auth.shop.svc.cluster.local/verify";
    let asked = "if shop/web-auth:80 lets it pass";
    check(&[
        (&[("auth-url", url)], asked, &[]),
        (
            &[("auth-url", url), ("auth-response-headers", "X-User, X-Mail")],
            asked,
            &[],
        ),
        (&[("auth-url", url), ("auth-method", "GET")], asked, &[]),
        (
            &[("auth-url", url), ("auth-signin", "https://a.com/in")],
            "if shop/web-auth:80 lets it pass, else at https://a.com/in?rd=#{url}",
            &[],
        ),
        (
            &[
                ("auth-url", url),
                (
                    "auth-signin",
                    "https://$host/oauth2/start?rd=$escaped_request_uri",
                ),
            ],
            "if shop/web-auth:80 lets it pass, else at https://#{host}/oauth2/start?rd=#{target}",
            &[],
        ),
        (
            &[
                ("auth-url", url),
                (
                    "auth-signin",
                    "$scheme://login.a.com/?x=1&rd=$scheme://$http_host$request_uri",
                ),
            ],
            "if shop/web-auth:80 lets it pass, else at #{protocol}://login.a.com/?x=1&rd=#{protocol}://#{host}#{target}",
            &[],
        ),
        (
            &[
                ("auth-url", url),
                ("auth-signin", "/in?rd=/"),
                ("auth-signin-redirect-param", "to"),
            ],
            "if shop/web-auth:80 lets it pass, else at /in?rd=/&to=#{url}",
            &[],
        ),
        (
            &[("auth-url", url), ("auth-signin", "https://$arg_to/")],
            asked,
            &[AnnotationInvalid],
        ),
        (
            &[("auth-url", url), ("auth-signin", "https://$hostname/in")],
            asked,
            &[AnnotationInvalid],
        ),
        (
            &[("auth-url", url), ("auth-signin", "//evil.com")],
            asked,
            &[AnnotationInvalid],
        ),
        (
            &[(
                "portcullis.dev/external-auth",
                r##"{"serviceName":"auth","servicePort":80,"path":"/","signIn":"/in?rd=#{target}"}"##,
            )],
            "if shop/web-auth:80 lets it pass, else at /in?rd=#{target}",
            &[],
        ),
        (
            &[(
                "portcullis.dev/external-auth",
                r#"{"serviceName":"auth","servicePort":80,"path":"/","signIn":"in"}"#,
            )],
            "",
            &[AnnotationInvalid],
        ),
        (
            &[("auth-url", url), ("auth-method", "POST")],
            "",
            &[AnnotationUnsupported],
        ),
        (
            &[("auth-url", url), ("auth-snippet", "deny all;")],
            "",
            &[AnnotationUnsupported],
        ),
        (
            &[("auth-url", url), ("auth-response-headers", "Host")],
            "",
            &[AnnotationInvalid],
        ),
        (
            &[("auth-url", "https://$host/oauth2/auth")],
            "",
            &[AnnotationInvalid],
        ),
        (
            &[("auth-url", "http://auth.other.svc.cluster.local/")],
            "",
            &[AnnotationInvalid],
        ),
        (
            &[("auth-url", "http://gone.shop.svc.cluster.local/")],
            "",
            &[ServiceNotFound],
        ),
        (
            &[
                ("auth-url", "https://$host/oauth2/auth"),
                ("auth-method", "POST"),
                (
                    "portcullis.dev/external-auth",
                    r#"{"serviceName":"auth","servicePort":80,"path":"/"}"#,
                ),
            ],
            asked,
            &[],
        ),
    ]);
}
