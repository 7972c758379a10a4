//! Every annotation of ingress-nginx: its name, what becomes of it here, and what says the same.
//!
//! They are read by Ingresses under Kubernetes semantics alone. One that is not read is told; one that restricts who gets
//! in, or what gets through, closes the Ingress's rules, which were closed where it came from.
//! Source: ingress-nginx, docs/user-guide/nginx-configuration, Annotations, and Annotations Scope and Risk.

use portcullis_model::{Code, Problem};

use super::catalog::{self, Known};
use super::{ALB, Annotations, NGINX, PORTABLE, Written, value};

/// What becomes of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is read, as ours of the same meaning.
    Read,
    /// It is told, and has no effect: nobody gets further than with it.
    Told,
    /// It is told, and what it constrains answers 503.
    Closed,
}

/// One annotation.
#[derive(Clone, Copy, Debug)]
pub struct Theirs {
    /// With its prefix.
    pub key: &'static str,
    pub fate: Fate,
    /// Ours in its place, without prefix, which wins where both are written; empty where there is none.
    pub own: &'static str,
    /// Values that ask for nothing, or for what is done anyway.
    pub nothing: &'static [&'static str],
    /// Of one that is read, how; of another, what to do. For the documentation and for whoever wrote it.
    pub says: &'static str,
}

impl Theirs {
    /// Without prefix.
    pub fn name(&self) -> &'static str {
        self.key.strip_prefix(NGINX).unwrap_or(self.key)
    }
}

/// As ingress-nginx reads them: Go, `strconv.ParseBool`.
const FALSE: &[&str] = &["false", "False", "FALSE", "f", "F", "0"];
pub(super) const TRUE: &[&str] = &["true", "True", "TRUE", "t", "T", "1"];
pub(super) const ANY: &[&str] = &[];

macro_rules! theirs {
    ($($name:literal $fate:ident $own:literal $nothing:expr, $says:literal;)+) => {
        /// All of them, in the order of the alphabet.
        pub const ALL: &[Theirs] = &[$(Theirs {
            key: concat!("nginx.ingress.kubernetes.io/", $name),
            fate: Fate::$fate,
            own: $own,
            nothing: $nothing,
            says: $says,
        },)+];
    };
}

theirs! {
    "affinity" Read "target-group-attributes" ANY, "`cookie`: a cookie of the load balancer's own.";
    "affinity-canary-behavior" Told "" ANY, "A client is kept at its target, not at a canary.";
    "affinity-mode" Told "" ANY, "A client is given another target only when its own has left.";
    "allowlist-source-range" Read "inbound-cidrs" ANY, "Addresses or ranges; of the Ingress's own rules, whatever its neighbours let in. Others are answered 403.";
    "app-root" Read "actions." ANY, "`/` of the Ingress's hosts is redirected with 302. No variables are read.";
    "auth-always-set-cookie" Told "" FALSE, "Cookies of the Service that is asked are not passed on.";
    "auth-cache-duration" Told "" ANY, "The Service is asked about every request.";
    "auth-cache-key" Told "" ANY, "The Service is asked about every request.";
    "auth-keepalive" Told "" ANY, "Connections are kept as those of any backend.";
    "auth-keepalive-requests" Told "" ANY, "Connections are kept as those of any backend.";
    "auth-keepalive-share-vars" Told "" FALSE, "There are no variables to share.";
    "auth-keepalive-timeout" Told "" ANY, "Connections are kept as those of any backend.";
    "auth-method" Closed "external-auth" &["GET"], "The Service is asked by GET, and told the method in `X-Forwarded-Method`.";
    "auth-proxy-set-headers" Closed "external-auth" ANY, "ConfigMaps are not read: let the Service decide without these fields.";
    "auth-realm" Read "basic-auth-realm" ANY, "`Restricted` where absent.";
    "auth-request-redirect" Told "" ANY, "The Service is told the path in `X-Forwarded-Uri`.";
    "auth-response-headers" Read "external-auth" ANY, "As `responseHeaders` there, also beside ours without them.";
    "auth-secret" Read "basic-auth-secret" ANY, "A Secret of the namespace; one of another closes.";
    "auth-secret-type" Read "basic-auth-secret" &["auth-file"], "`auth-file` alone: `auth-map` closes.";
    "auth-signin" Read "external-auth" ANY, "As `signIn` there, for 401, also beside ours without it. Of variables `$scheme`, `$host`, `$http_host`, `$escaped_request_uri` and `$request_uri` are read, and hosts are named with their ports.";
    "auth-signin-redirect-param" Read "external-auth" ANY, "`rd` where absent.";
    "auth-snippet" Closed "external-auth" ANY, "Snippets are not read: let the Service decide without it.";
    "auth-tls-error-page" Told "" ANY, "Who has no right certificate does not get past the handshake.";
    "auth-tls-match-cn" Closed "" ANY, "Subjects are not compared: let an authority of their own issue the certificates.";
    "auth-tls-pass-certificate-to-upstream" Told "" FALSE, "Backends find it in `X-Amzn-Mtls-Clientcert-Leaf`.";
    "auth-tls-secret" Read "mutual-authentication" ANY, "A Secret of the namespace, as `shop/ca`, by the proxy; plain HTTP is redirected unless `ssl-redirect` says no. Backends are told `ssl-client-verify` alone, and the rest in `X-Amzn-Mtls-Clientcert-…`.";
    "auth-tls-verify-client" Read "mutual-authentication" &["off"], "`on` alone: `optional` and `optional_no_ca` close, for backends were to decide.";
    "auth-tls-verify-depth" Told "" ANY, "Chains may be as long as their authorities allow.";
    "auth-type" Read "basic-auth-secret" ANY, "`basic` alone: `digest` closes.";
    "auth-url" Read "external-auth" ANY, "A Service of the namespace by its name in the cluster, `http://auth.shop.svc.cluster.local/verify`, without variables; any other URL closes.";
    "backend-protocol" Read "backend-protocol" &["HTTP", "http"], "`HTTPS`, `GRPC` or `GRPCS`, of the Services that paths lead to; others close.";
    "canary" Read "canary" ANY, "";
    "canary-by-cookie" Read "canary-by-cookie" ANY, "";
    "canary-by-header" Read "canary-by-header" ANY, "";
    "canary-by-header-pattern" Read "canary-by-header-pattern" ANY, "";
    "canary-by-header-value" Read "canary-by-header-value" ANY, "";
    "canary-weight" Read "canary-weight" ANY, "";
    "canary-weight-total" Read "canary-weight-total" ANY, "";
    "client-body-buffer-size" Told "" ANY, "Buffers grow with what they hold.";
    "configuration-snippet" Closed "" ANY, "It may turn anybody away, and cannot be read: say by annotations what it says, and remove it.";
    "connection-proxy-header" Told "" ANY, "Connections to backends are the proxy's own.";
    "cors-allow-credentials" Read "cors" ANY, "";
    "cors-allow-headers" Read "cors" ANY, "";
    "cors-allow-methods" Read "cors" ANY, "";
    "cors-allow-origin" Read "cors" ANY, "";
    "cors-expose-headers" Read "cors" ANY, "";
    "cors-max-age" Read "cors" ANY, "A day at most: no browser remembers longer.";
    "custom-headers" Closed "response-headers" ANY, "ConfigMaps are not read, and fields may protect who reads the answers: write them there.";
    "custom-http-errors" Told "error-pages" ANY, "Errors of backends are passed on as they are, or shown as written there.";
    "default-backend" Told "" ANY, "A Service without endpoints answers 503.";
    "denylist-source-range" Read "inbound-cidrs" ANY, "Addresses or ranges that are answered 403, also beside `inbound-cidrs`.";
    "disable-proxy-intercept-errors" Told "" ANY, "Errors of backends are passed on as they are.";
    "enable-access-log" Told "" TRUE, "What is logged is said when the proxy is started.";
    "enable-cors" Read "cors" FALSE, "With what ingress-nginx allows where no more is said. Beside `*` nobody has credentials, which no browser would send.";
    "enable-global-auth" Closed "external-auth" FALSE, "The ConfigMap with `global-auth-url` is not read: name the Service there.";
    "enable-influxdb" Told "" FALSE, "The proxy has metrics of its own.";
    "enable-modsecurity" Closed "wafv2-acl-arn" FALSE, "The proxy has no firewall; on AWS, name a web ACL there.";
    "enable-opentelemetry" Told "" FALSE, "The proxy passes trace contexts on.";
    "enable-opentracing" Told "" FALSE, "The proxy passes trace contexts on.";
    "enable-owasp-core-rules" Closed "wafv2-acl-arn" FALSE, "The proxy has no firewall; on AWS, name a web ACL there.";
    "enable-rewrite-log" Told "" FALSE, "There is no such log.";
    "fastcgi-index" Told "" ANY, "FastCGI is not spoken.";
    "fastcgi-params-configmap" Told "" ANY, "FastCGI is not spoken.";
    "force-ssl-redirect" Read "ssl-redirect" FALSE, "To port 443, or the first that speaks HTTPS, with 301. The proxy serves what names no ports and no certificate over HTTPS, too, as where somebody in front ends TLS; a cloud does not, and plain HTTP answers 503.";
    "from-to-www-redirect" Told "" FALSE, "Write a rule for the other host, with an action that redirects.";
    "global-rate-limit" Closed "rate-limit" &["0"], "Each replica counts by itself: write what one of them lets through there.";
    "global-rate-limit-ignored-cidrs" Told "" ANY, "All clients are counted.";
    "global-rate-limit-key" Told "" ANY, "Clients are counted by their address.";
    "global-rate-limit-window" Told "rate-limit" ANY, "Write it there.";
    "http2-push-preload" Told "" FALSE, "Nothing is pushed: no browser takes it any more.";
    "influxdb-host" Told "" ANY, "The proxy has metrics of its own.";
    "influxdb-measurement" Told "" ANY, "The proxy has metrics of its own.";
    "influxdb-port" Told "" ANY, "The proxy has metrics of its own.";
    "influxdb-server-name" Told "" ANY, "The proxy has metrics of its own.";
    "limit-allowlist" Told "" ANY, "All clients are counted.";
    "limit-burst-multiplier" Read "rate-limit-burst" ANY, "5 where absent. Of `limit-rps` and `limit-rpm` alone, not of `rate-limit`.";
    "limit-connections" Closed "rate-limit" &["0"], "Connections are not counted by client: limit the rate of requests there.";
    "limit-rate" Told "" &["0"], "Answers are sent as fast as clients take them.";
    "limit-rate-after" Told "" ANY, "Answers are sent as fast as clients take them.";
    "limit-rpm" Read "rate-limit" &["0"], "More is answered 429. Beside `limit-rps` it closes.";
    "limit-rps" Read "rate-limit" &["0"], "More is answered 429. Beside `limit-rpm` it closes.";
    "limit-whitelist" Told "" ANY, "All clients are counted.";
    "load-balance" Told "" ANY, "Of two targets drawn, the one with fewer requests is taken.";
    "lua-resty-waf" Closed "wafv2-acl-arn" &["inactive"], "The proxy has no firewall; on AWS, name a web ACL there.";
    "mirror-host" Told "mirror" ANY, "Copies have the host of the request.";
    "mirror-request-body" Told "mirror" &["on"], "Bodies of up to 64 KiB are copied.";
    "mirror-target" Read "mirror" ANY, "A Service of the namespace by its name in the cluster, with `$request_uri`; to others no copies go.";
    "modsecurity-snippet" Closed "wafv2-acl-arn" ANY, "The proxy has no firewall; on AWS, name a web ACL there.";
    "modsecurity-transaction-id" Told "" ANY, "There is no firewall to give it to.";
    "opentelemetry-operation-name" Told "" ANY, "The proxy passes trace contexts on.";
    "opentelemetry-trust-incoming-span" Told "" TRUE, "The proxy passes trace contexts on.";
    "opentelemetry-trust-incoming-spans" Told "" TRUE, "The proxy passes trace contexts on.";
    "opentracing-trust-incoming-span" Told "" TRUE, "The proxy passes trace contexts on.";
    "permanent-redirect" Read "actions." ANY, "A URL, with `$request_uri` at its end at most; other variables close. It comes after authentication.";
    "permanent-redirect-code" Read "actions." ANY, "301, 302, 303, 307 or 308; AWS has the first two.";
    "preserve-trailing-slash" Told "" TRUE, "Redirects to HTTPS keep the path as it is.";
    "proxy-body-size" Read "max-request-body" ANY, "";
    "proxy-buffer-size" Told "" ANY, "Buffers grow with what they hold.";
    "proxy-buffering" Told "" &["off"], "Answers are passed on as they come.";
    "proxy-buffers-number" Told "" ANY, "Buffers grow with what they hold.";
    "proxy-busy-buffers-size" Told "" ANY, "Buffers grow with what they hold.";
    "proxy-connect-timeout" Read "connect-timeout-seconds" ANY, "In seconds, with the handshake of TLS.";
    "proxy-cookie-domain" Read "cookie-rewrites" ANY, "Neither expressions nor variables are read.";
    "proxy-cookie-path" Read "cookie-rewrites" ANY, "Neither expressions nor variables are read.";
    "proxy-http-version" Told "backend-protocol-version" &["1.1"], "Backends are spoken to in HTTP/1.1 or HTTP/2.";
    "proxy-max-temp-file-size" Told "" ANY, "Nothing is written to files.";
    "proxy-next-upstream" Told "" ANY, "What is safe to send again is tried elsewhere.";
    "proxy-next-upstream-timeout" Told "" ANY, "What is safe to send again is tried elsewhere.";
    "proxy-next-upstream-tries" Told "" ANY, "What is safe to send again is tried elsewhere.";
    "proxy-read-timeout" Read "response-timeout-seconds" ANY, "Until the answer begins and, as `response-body-timeout-seconds`, which wins there, between two parts of its body.";
    "proxy-redirect-from" Read "location-rewrites" ANY, "Neither expressions nor variables are read.";
    "proxy-redirect-to" Read "location-rewrites" ANY, "Neither expressions nor variables are read.";
    "proxy-request-buffering" Told "request-buffering" &["off"], "Write how much of a body is to have come there.";
    "proxy-send-timeout" Read "request-body-timeout-seconds" ANY, "Between two parts of a request that the backend takes.";
    "proxy-ssl-ciphers" Told "" ANY, "TLS 1.2 and 1.3 with sound ciphers alone are spoken.";
    "proxy-ssl-name" Read "backend-tls-server-name" ANY, "Beside `proxy-ssl-verify`; `SERVICE.NAMESPACE.svc` where absent. Variables close.";
    "proxy-ssl-protocols" Told "" ANY, "TLS 1.2 and 1.3 alone are spoken.";
    "proxy-ssl-secret" Read "backend-tls-ca-secret" ANY, "Beside `proxy-ssl-verify`, `ca.crt` of a Secret of the namespace, as `shop/ca`. No certificate is shown to backends, and it is told.";
    "proxy-ssl-server-name" Read "backend-tls-server-name" &["off"], "Beside `proxy-ssl-verify` the name is sent in any case.";
    "proxy-ssl-verify" Read "backend-tls-ca-secret" &["off"], "`on`, by the proxy, with `proxy-ssl-secret` and a `backend-protocol` over TLS; without them it closes, and on AWS.";
    "proxy-ssl-verify-depth" Told "" ANY, "Chains may be as long as their authorities allow.";
    "relative-redirects" Told "" FALSE, "Redirects name the host.";
    "rewrite-target" Read "transforms." ANY, "For paths as `/name`, `/name(/|$)(.*)`, `/name/(.*)` and `/name/?(.*)`, to a path that may end in the group of the rest. They match to the letter, and in Kubernetes' order. What any other took is closed.";
    "satisfy" Told "" &["all"], "Who is let in must meet all that is asked for.";
    "server-alias" Told "" ANY, "Write rules for the other hosts.";
    "server-snippet" Closed "" ANY, "It may turn anybody away, and cannot be read: say by annotations what it says, and remove it.";
    "service-upstream" Told "" FALSE, "Requests go to the Service's endpoints.";
    "session-cookie-change-on-failure" Told "" ANY, "A client whose target has left is given another.";
    "session-cookie-conditional-samesite-none" Told "" ANY, "The cookie is the load balancer's own.";
    "session-cookie-domain" Told "" ANY, "The cookie is the load balancer's own.";
    "session-cookie-expires" Read "target-group-attributes" ANY, "As `session-cookie-max-age`, which wins.";
    "session-cookie-max-age" Read "target-group-attributes" ANY, "A day where absent.";
    "session-cookie-name" Told "" ANY, "The cookie is the load balancer's own.";
    "session-cookie-partitioned" Told "" ANY, "The cookie is the load balancer's own.";
    "session-cookie-path" Told "" ANY, "The cookie is the load balancer's own.";
    "session-cookie-samesite" Told "" ANY, "The cookie is the load balancer's own.";
    "session-cookie-secure" Told "" ANY, "The cookie is the load balancer's own.";
    "ssl-ciphers" Told "" ANY, "TLS 1.2 and 1.3 with sound ciphers alone are spoken.";
    "ssl-passthrough" Closed "" FALSE, "TLS ends at the load balancer: a backend that asks for certificates by itself would see none.";
    "ssl-prefer-server-ciphers" Told "" ANY, "TLS 1.2 and 1.3 with sound ciphers alone are spoken.";
    "ssl-redirect" Read "ssl-redirect" FALSE, "For Ingresses with TLS: to port 443, or the first that speaks HTTPS, with 301. Where it is absent nothing is redirected.";
    "stream-snippet" Told "" ANY, "It is about connections that are no HTTP.";
    "temporal-redirect" Read "actions." ANY, "As `permanent-redirect`, before which it counts.";
    "temporal-redirect-code" Read "actions." ANY, "As `permanent-redirect-code`.";
    "upstream-hash-by" Read "affinity-hash" ANY, "`$remote_addr`, `$request_uri`, `$http_NAME` or `$cookie_NAME`, each alone. Requests without it are spread over all targets.";
    "upstream-hash-by-subset" Told "" FALSE, "A client can be kept at its target by a cookie: `target-group-attributes`.";
    "upstream-hash-by-subset-size" Told "" ANY, "A client can be kept at its target by a cookie: `target-group-attributes`.";
    "upstream-vhost" Read "transforms." ANY, "A host; variables close.";
    "use-port-in-redirects" Told "" FALSE, "Redirects name the port they lead to.";
    "use-regex" Read "path-match" FALSE, "For the same paths; what other expressions took is closed. Ours follow a `/` and match whole paths: `//v[0-9]+/.*`.";
    "whitelist-source-range" Read "inbound-cidrs" ANY, "As `allowlist-source-range`, which wins.";
    "x-forwarded-prefix" Told "" ANY, "Which prefix a request had is not told to backends.";
}

/// The entry of a name without prefix.
pub fn find(name: &str) -> Option<&'static Theirs> {
    ALL.iter().find(|theirs| theirs.name() == name)
}

/// The same with prefix.
pub(in crate::translate) fn key(name: &str) -> &'static str {
    find(name).map_or("", |theirs| theirs.key)
}

/// Whether it counts on a canary, too: it says which requests the canary gets, or how its own Service is spoken to.
pub(in crate::translate) fn counts_on_canaries(name: &str) -> bool {
    let named = [
        "affinity",
        "backend-protocol",
        "canary",
        "proxy-connect-timeout",
        "proxy-read-timeout",
        "proxy-send-timeout",
        "upstream-hash-by",
    ];
    let families = ["canary-", "proxy-ssl-", "session-cookie-"];
    named.contains(&name) || families.iter().any(|start| name.starts_with(start))
}

/// Tells those that are not read, and answers the name of one that what it constrains must not be served without.
pub(in crate::translate) fn review(
    annotations: &Annotations<'_>,
    problems: &mut Vec<Problem>,
) -> Option<&'static str> {
    let mut closed = None;
    for (key, value) in &annotations.meta.annotations {
        let Some(name) = key.strip_prefix(NGINX) else {
            continue;
        };
        let class = None;
        let written = Written { key, value, class };
        let mut tell = |code, message| {
            problems.push(Problem::new(code, annotations.origin(written), message));
        };
        let Some(theirs) = find(name) else {
            let message = format!("{} is none of ingress-nginx's annotations", value::shown(name));
            tell(Code::AnnotationUnknown, message);
            continue;
        };
        // Of a family one may speak of another path than is meant.
        let is_won = !theirs.own.ends_with('.') && annotations.get(theirs.own).is_some();
        if theirs.fate == Fate::Read || is_won || theirs.nothing.contains(&value.trim()) {
            continue;
        }
        if value.trim().is_empty() {
            // As ingress-nginx has it.
            tell(
                Code::AnnotationInvalid,
                "it is empty, and counts as not set".to_owned(),
            );
            continue;
        }
        let what = match theirs.fate {
            Fate::Read | Fate::Told => "it has no effect here",
            Fate::Closed => {
                closed.get_or_insert(theirs.key);
                "it restricts who or what gets through, and is not read: what it constrains answers 503"
            }
        };
        tell(Code::AnnotationUnsupported, effect(what, theirs));
    }
    closed
}

/// What becomes of one that is not read, and what to do.
pub(super) fn effect(what: &str, theirs: &Theirs) -> String {
    let says = theirs.says.replace('`', "");
    format!("{what}. {}{says}", in_place(theirs.own))
}

/// What to write instead, if there is anything.
fn in_place(own: &str) -> String {
    match catalog::find(own).map(Known::is_ours) {
        Some(true) => format!("Its place takes {PORTABLE}{own}. "),
        Some(false) => format!("Its place takes {ALB}{own}. "),
        None if own.is_empty() => String::new(),
        None => format!("Its place takes {PORTABLE}{own}…. "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::object::Meta;

    #[test]
    fn each_is_known_once_and_says_what_to_do() {
        for pair in ALL.windows(2) {
            assert!(
                pair[0].key < pair[1].key,
                "{} stands before {}",
                pair[0].key,
                pair[1].key
            );
        }
        for theirs in ALL {
            let name = theirs.name();
            assert!(Meta::keeps_annotation(theirs.key), "{name}");
            assert!(
                theirs.says.is_empty() || theirs.says.ends_with('.'),
                "{name}: {}",
                theirs.says
            );
            assert!(theirs.fate == Fate::Read || !theirs.says.is_empty(), "{name}");
            let own = theirs.own;
            let is_known = catalog::find(own).is_some() || catalog::find(&format!("{own}x")).is_some();
            assert!(
                is_known || (own.is_empty() && theirs.fate != Fate::Read),
                "{name}: {own}"
            );
        }
    }
}
