//! What must never be let past in: a web ACL, an identity provider, a certificate in a Secret; what they need in the
//! cluster and in AWS, and whether anybody is served without them, out.

use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::actions::TIGHT;
use crate::world::World;

const SECRETS: &str = "/api/v1/namespaces/shop/secrets";
/// The web ACL before the tight Ingress.
pub(crate) const WEB_ACL: &str = "edge";
/// An Ingress whose users sign in.
pub(crate) const LOGIN: &str = "login";
/// An Ingress whose certificate only a Secret holds.
pub(crate) const SEALED: &str = "sealed";
pub(crate) const SEALED_HOST: &str = "sealed.example.org";
const IDP: &str = "idp";
const TLS: &str = "sealed-tls";

/// What stays: the web ACL, the credentials and the certificate.
pub(crate) fn furnish(world: &World) {
    let visible =
        json!({"SampledRequestsEnabled": false, "CloudWatchMetricsEnabled": false, "MetricName": "m"});
    let acl = json!({
        "Name": WEB_ACL, "Scope": "REGIONAL", "DefaultAction": {"Allow": {}}, "VisibilityConfig": visible,
    });
    let answer = world.moto.json("wafv2", "CreateWebACL", &acl.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.post(
        SECRETS,
        &json!({"metadata": {"name": IDP}, "stringData": credentials(0)}),
    );
    world.post(
        SECRETS,
        &json!({"metadata": {"name": TLS}, "type": "kubernetes.io/tls", "stringData": certificate(0)}),
    );
}

/// Another client secret than before, or the same again.
pub(crate) fn rotate(world: &World, edition: u64) -> String {
    world.patch(
        &format!("{SECRETS}/{IDP}"),
        &json!({"stringData": credentials(edition)}),
    );
    format!("the client secret is number {edition}")
}

/// The certificate is renewed, with another key.
pub(crate) fn renew(world: &World, edition: u64) -> String {
    world.patch(
        &format!("{SECRETS}/{TLS}"),
        &json!({"stringData": certificate(edition)}),
    );
    format!("the certificate is number {edition}")
}

fn credentials(edition: u64) -> Value {
    json!({"clientID": "shop", "clientSecret": format!("s3cret-{edition}")})
}

fn certificate(edition: u64) -> Value {
    let day = 1 + u8::try_from(edition % 28).unwrap();
    let mut params = CertificateParams::new(vec![SEALED_HOST.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, day);
    params.not_after = rcgen::date_time_ymd(2120, 1, day);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    json!({"tls.crt": certificate, "tls.key": key.serialize_pem()})
}

/// Annotations of the Ingress of this name.
pub(crate) fn annotations(name: &str) -> Vec<(&'static str, String)> {
    let https = ("listen-ports", r#"[{"HTTPS": 443}]"#.to_owned());
    match name {
        TIGHT => vec![("wafv2-acl-name", WEB_ACL.to_owned())],
        LOGIN => {
            let oidc = json!({
                "issuer": "https://login.example.com", "authorizationEndpoint": "https://login.example.com/a",
                "tokenEndpoint": "https://login.example.com/t", "userInfoEndpoint": "https://login.example.com/u",
                "secretName": IDP,
            });
            vec![
                https,
                ("auth-type", "oidc".to_owned()),
                ("auth-idp-oidc", oidc.to_string()),
            ]
        }
        SEALED => vec![https],
        _ => Vec::new(),
    }
}

/// `spec.tls` of the Ingress of this name.
pub(crate) fn tls(name: &str) -> Option<Value> {
    (name == SEALED).then(|| json!([{"hosts": [SEALED_HOST], "secretName": TLS}]))
}

/// Nobody reaches a target past the web ACL or without signing in.
pub(crate) fn guarded(world: &World) -> Result<(), String> {
    let is_of = |balancer: &str, name| balancer.contains(&format!("/k8s-shop-{name}-"));
    let rules = world
        .moto
        .rules(|balancer| is_of(balancer, TIGHT) || is_of(balancer, LOGIN));
    for (balancer, rule) in rules {
        if !rule.contains("<Type>forward</Type>") {
            continue;
        }
        if is_of(&balancer, LOGIN) && !rule.contains("<Type>authenticate-oidc</Type>") {
            return Err(format!("a rule of {LOGIN} lets in who has not signed in: {rule}"));
        }
        if is_of(&balancer, TIGHT) && !stands(world, &balancer) {
            return Err(format!("{TIGHT} is served past its web ACL: {rule}"));
        }
    }
    Ok(())
}

/// Whether a web ACL stands before this load balancer.
fn stands(world: &World, balancer: &str) -> bool {
    let asked = json!({"ResourceArn": balancer}).to_string();
    let answer = world.moto.json("wafv2", "GetWebACLForResource", &asked).json();
    answer["WebACL"]["Name"] == WEB_ACL
}
