//! Every annotation that is known: its name, where it is read, what it means, and whether it is built.

/// Which part of a load balancer an annotation speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Which load balancer, and where in it.
    Group,
    LoadBalancer,
    Listener,
    /// Also read from the Service, whose value wins.
    Backend,
    Rule,
    /// Of all rules of the Ingress, on which alone it is read: what is done beside their actions.
    Filter,
}

/// Whether it means the same on every provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Read under both prefixes.
    Portable,
    /// Read under the incumbent's prefix alone.
    Aws,
    /// Read under our prefix alone.
    Ours,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    Built,
    /// Reported; has no effect.
    Ignored,
    /// Reported; what it constrains answers 503, because without it more would be open than was asked for.
    Refused,
}

/// One annotation.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Without prefix. A name that ends in `.` stands for all that start with it.
    pub name: &'static str,
    pub scope: Scope,
    pub reach: Reach,
    pub support: Support,
    /// One line for the documentation.
    pub means: &'static str,
}

impl Known {
    /// Whether it is read under the incumbent's prefix.
    pub fn is_theirs(&self) -> bool {
        match self.reach {
            Reach::Portable | Reach::Aws => true,
            Reach::Ours => false,
        }
    }

    /// Whether it is read under ours.
    pub fn is_ours(&self) -> bool {
        match self.reach {
            Reach::Portable | Reach::Ours => true,
            Reach::Aws => false,
        }
    }
}

macro_rules! catalog {
    ($($name:literal $scope:ident $reach:ident $support:ident $means:literal;)+) => {
        /// All of them. Source: AWS Load Balancer Controller v3.5.0, Ingress annotations; ours are marked in their text.
        pub const ALL: &[Known] = &[$(Known {
            name: $name,
            scope: Scope::$scope,
            reach: Reach::$reach,
            support: Support::$support,
            means: $means,
        },)+];
    };
}

catalog! {
    "group.name" Group Portable Built "Ingresses of the same name share a load balancer.";
    "group.order" Group Portable Built "Place within the group, -1000 to 1000; 0 where absent.";

    "load-balancer-name" LoadBalancer Aws Built "Name given at creation, at most 32 characters.";
    "scheme" LoadBalancer Portable Built "`internal` or `internet-facing`.";
    "ip-address-type" LoadBalancer Aws Built "`ipv4`, `dualstack` or `dualstack-without-public-ipv4`.";
    "subnets" LoadBalancer Aws Built "Subnets by id or name, instead of those found.";
    "security-groups" LoadBalancer Aws Built "Security groups by id or name, instead of a managed one.";
    "manage-backend-security-group-rules" LoadBalancer Aws Built
        "With given security groups: whether nodes are opened for the load balancer.";
    "deletion-policy" LoadBalancer Ours Built
        "What becomes of it when its last Ingress goes: `Delete`, or `Retain`, which any one of a group says for all; the proxy has nothing to delete.";
    "http3" LoadBalancer Ours Built
        "Whether HTTPS listeners speak HTTP/3, too; an ALB cannot, and says so.";
    "load-balancer-attributes" LoadBalancer Aws Built "Attributes by AWS's names, `key=value,…`.";
    "tags" LoadBalancer Aws Built "Tags of all resources, `key=value,…`; on a Service, of its target groups.";
    "customer-owned-ipv4-pool" LoadBalancer Aws Built "Customer-owned IPv4 pool of an Outpost.";
    "minimum-load-balancer-capacity" LoadBalancer Aws Built
        "`CapacityUnits=N`: capacity kept ready; 0 gives it back.";
    "ipam-ipv4-pool-id" LoadBalancer Aws Built "IPAM pool of public addresses.";
    "wafv2-acl-arn" LoadBalancer Aws Built "Web ACL of AWS WAF by ARN; `none` for none; left as it is where absent.";
    "wafv2-acl-name" LoadBalancer Aws Built "The same by name, which wins over the ARN.";
    "waf-acl-id" LoadBalancer Aws Refused
        "Web ACL of AWS WAF Classic, whose support AWS ended on 30 September 2025; `none` for none.";
    "web-acl-id" LoadBalancer Aws Refused "Older name of `waf-acl-id`.";
    "shield-advanced-protection" LoadBalancer Aws Built
        "Whether AWS Shield Advanced protects it; left as it is where absent. Needs an active subscription.";
    "enable-frontend-nlb" LoadBalancer Aws Built "Whether a Network Load Balancer stands in front.";
    "frontend-nlb-scheme" LoadBalancer Aws Built "Its scheme; the controller's default where absent.";
    "frontend-nlb-subnets" LoadBalancer Aws Built "Its subnets by id or name, instead of those behind it.";
    "frontend-nlb-security-groups" LoadBalancer Aws Built "Its security groups by id or name, instead of those behind it.";
    "frontend-nlb-listener-port-mapping" LoadBalancer Aws Built
        "`port in front=port,…`: where its ports lead; each to its like where absent.";
    "frontend-nlb-eip-allocations" LoadBalancer Aws Built "Its Elastic IP addresses, one for each subnet.";
    "frontend-nlb-attributes" LoadBalancer Aws Built "Its attributes by AWS's names, `key=value,…`.";
    "frontend-nlb-tags" LoadBalancer Aws Built "Its tags, `key=value,…`, instead of those behind it.";
    "frontend-nlb-healthcheck-port" LoadBalancer Aws Built "Port it asks for health: a number or `traffic-port`.";
    "frontend-nlb-healthcheck-protocol" LoadBalancer Aws Built "`HTTP` or `HTTPS`, of its health checks.";
    "frontend-nlb-healthcheck-path" LoadBalancer Aws Built "Path of its health checks.";
    "frontend-nlb-healthcheck-interval-seconds" LoadBalancer Aws Built "Seconds between two of its checks.";
    "frontend-nlb-healthcheck-timeout-seconds" LoadBalancer Aws Built "Seconds until one of its checks has failed.";
    "frontend-nlb-healthcheck-healthy-threshold-count" LoadBalancer Aws Built "Checks in a row until what is behind it is healthy.";
    "frontend-nlb-healthcheck-unhealthy-threshold-count" LoadBalancer Aws Built
        "Checks in a row until what is behind it is unhealthy.";
    "frontend-nlb-healthcheck-success-codes" LoadBalancer Aws Built "Codes of an answer that is healthy to it.";

    "listen-ports" Listener Portable Built "`[{\"HTTP\": 80}, {\"HTTPS\": 443}]`: where the rules stand.";
    "inbound-cidrs" Listener Portable Built "Who may connect: address ranges, separated by commas.";
    "security-group-prefix-lists" Listener Aws Built
        "Who may connect, by ids of prefix lists; the proxy, which cannot know them, answers 503.";
    "ssl-redirect" Listener Portable Built "HTTPS port that plain HTTP is redirected to.";
    "certificate-arn" Listener Aws Built "Certificates of ACM or IAM; the first is the default.";
    "ssl-policy" Listener Aws Built "TLS policy by AWS's name; of the proxy, for the hosts of the Ingress alone.";
    "mutual-authentication" Listener Portable Built
        "What is asked of clients' certificates: JSON, a list with an entry for each port; left as it is where absent, so `off` switches it off. `trustStore` is AWS's name or ARN; to the proxy, `secret/NAME`: the key `ca.crt` of a Secret of the namespace.";
    "listener-attributes." Listener Aws Built
        "Attributes of the listener `HTTP-80`, `HTTPS-443` or the like by AWS's names, `key=value,…`.";
    "create-acm-cert" Listener Aws Built
        "Whether a certificate is requested for the hosts. None is, and it is told: HTTPS alone is served, with what ACM has for the hosts. Name one, or store one in the Secret that `spec.tls` names.";
    "acm-pca-arn" Listener Aws Ignored
        "Private authority that issues the requested certificate. None is requested.";

    "target-type" Backend Portable Built "`ip` for pods, `instance` for a port of every node.";
    "backend-protocol" Backend Portable Built "`HTTP` or `HTTPS`, spoken to targets.";
    "backend-protocol-version" Backend Portable Built "`HTTP1`, `HTTP2` or `GRPC`, spoken to targets.";
    "backend-tls-ca-secret" Backend Ours Built
        "Who must have signed targets' certificates: the key `ca.crt` of this Secret of the namespace, with `backend-protocol: HTTPS`. The proxy sends nothing to a target without such a certificate; on AWS, which verifies none, what leads there answers 503.";
    "backend-tls-server-name" Backend Ours Built
        "Whom their certificates must be for, and whom targets are asked for (SNI); `SERVICE.NAMESPACE.svc` where absent. Alone it closes.";
    "target-group-attributes" Backend Aws Built "Attributes by AWS's names, `key=value,…`.";
    "healthcheck-port" Backend Portable Built "Port asked for health: a number, a Service port's name or `traffic-port`.";
    "healthcheck-protocol" Backend Portable Built "`HTTP` or `HTTPS`, of health checks.";
    "healthcheck-path" Backend Portable Built "Path, or gRPC method, of health checks.";
    "healthcheck-interval-seconds" Backend Portable Built "Seconds between two checks.";
    "healthcheck-timeout-seconds" Backend Portable Built "Seconds until a check has failed.";
    "healthy-threshold-count" Backend Portable Built "Checks in a row until a target is healthy.";
    "unhealthy-threshold-count" Backend Portable Built "Checks in a row until a target is unhealthy.";
    "success-codes" Backend Portable Built "Codes of a healthy answer, such as `200,202` or `200-299`.";
    "response-timeout-seconds" Backend Ours Built
        "Seconds until a target must have begun to answer, 1 to 86400; the proxy answers 504 then. On AWS, which has none by Service, it is told.";
    "connect-timeout-seconds" Backend Ours Built
        "Seconds until a target must have taken a connection, with TLS, 1 to 86400; 5 where absent. Another target is tried then, else the proxy answers 504. On AWS, which has none by Service, it is told.";
    "request-body-timeout-seconds" Backend Ours Built
        "Seconds in which a target may take nothing of a request's body before it answers, 1 to 86400; those of `response-timeout-seconds` where absent. The proxy answers 504 then. On AWS, which has none by Service, it is told.";
    "response-body-timeout-seconds" Backend Ours Built
        "Seconds in which a target may give nothing of its answer's body, 1 to 86400; 300 where absent. The answer is cut off then. On AWS, which has none by Service, it is told.";
    "send-proxy-protocol" Backend Ours Built
        "Whether connections to targets begin with whom they are for: `v2` of the PROXY protocol, or `none`. Each is for one request then. On AWS, which cannot, it is told.";
    "active-health-checks" Backend Ours Built
        "Whether the proxy checks targets, as `healthcheck-…` says, and passes over those that fail; AWS always does.";
    "affinity-hash" Backend Ours Built
        "What requests have in common that go to the same target while it is ready: `client-ip`, `header:NAME`, `cookie:NAME`, `path`, or `uri`, which is the path with its query. On AWS, which cannot, it is told.";
    "target-node-labels" Backend Aws Built "Labels of the nodes that are targets.";
    "multi-cluster-target-group" Backend Aws Built "Whether other clusters register targets in the target group, too; theirs are left alone.";
    "target-control-port." Backend Aws Built
        "Port of the target optimizer's agent, by Service and port: `target-control-port.web.80`.";

    "actions." Rule Portable Built "What answers instead of a Service: JSON, by the backend's name.";
    "conditions." Rule Portable Built "What else a request must meet: JSON, by the backend's name.";
    "transforms." Rule Portable Built "What is rewritten before the backend sees it: JSON, by the backend's name. Under our semantics an expression matches all of the path and query, or of the host.";
    "use-regex-path-match" Rule Portable Built "ImplementationSpecific paths are regular expressions, after their first `/`.";
    "path-match" Rule Portable Built "How ImplementationSpecific paths match: `prefix`, `glob` or `regex`. Ours.";
    "auth-type" Rule Portable Built "`none`, `oidc` or `cognito`; like all of `auth-*` also on the only Service of a path, whose value wins.";
    "auth-idp-oidc" Rule Portable Built "The OpenID provider, with `auth-type: oidc`: JSON; `secretName` holds `clientID` and `clientSecret`.";
    "auth-idp-cognito" Rule Portable Built "The user pool, with `auth-type: cognito`: JSON.";
    "auth-on-unauthenticated-request" Rule Portable Built "What happens to a request without a session: `authenticate`, `deny` or `allow`.";
    "auth-scope" Rule Portable Built "Scope asked of the identity provider.";
    "auth-session-cookie" Rule Portable Built "Name of the session cookie.";
    "auth-session-timeout" Rule Portable Built "Seconds a session is kept, 1 to 604800.";
    "jwt-validation" Rule Portable Built "The token that a request must carry: JSON.";

    "rate-limit" Filter Ours Built
        "Requests of one client that are answered, as `10/s`, `100/m` or `1000/h`, over all rules of the Ingress; each replica counts by itself.";
    "rate-limit-burst" Filter Ours Built "How many of them may come at once; as many as in a period where absent.";
    "cors" Filter Ours Built
        "What scripts of other origins may do: JSON with `allowOrigins`, such as `https://*.example.com` or `*`, and `allowMethods`, `allowHeaders`, `exposeHeaders`, `allowCredentials`, `maxAge`.";
    "basic-auth-secret" Filter Ours Built
        "Who may pass by name and password: the key `auth` of this Secret of the namespace, lines as `htpasswd` writes them with bcrypt, Apache's MD5 or `{SHA}`.";
    "basic-auth-realm" Filter Ours Built "What browsers show when they ask for them; `Restricted` where absent.";
    "external-auth" Filter Ours Built
        "A Service of the namespace that is asked whether a request may pass: JSON with `serviceName`, `servicePort`, `path`, and `responseHeaders`, fields of its answer that backends see; `signIn`, a page to which clients are redirected in place of 401: a path, or a URL with `#{protocol}`, `#{host}` and, in its query, `#{target}` (path and query) or `#{url}`, escaped.";
    "request-headers" Filter Ours Built
        "What is changed of the fields that backends see: JSON with `set` and `add`, from names to values, and `remove`, a list; nothing of framing, nor of who the client is.";
    "response-headers" Filter Ours Built "The same of every answer's fields.";
    "compression" Filter Ours Built "How answers are compressed for clients that take it: `br`, `zstd`, `gzip`, in order of preference.";
    "error-pages" Filter Ours Built
        "What is shown in place of errors, whoever answers with them: JSON, a list of `statuses`, such as `404` or `500-599`, `contentType` and `body`.";
    "location-rewrites" Filter Ours Built
        "What is replaced of URLs that backends redirect to, in `Location` and `Refresh`: JSON, a list of `from`, which they start with, and `to`.";
    "cookie-rewrites" Filter Ours Built
        "What is replaced of cookies that backends set: JSON with `domains` and `paths`, lists of `from` and `to`; paths start with `from`, and an empty `to` leaves a domain out.";
    "max-request-body" Filter Ours Built
        "Longest body of a request, such as `512`, `64k` or `8m`; a longer one is answered 413. `0` for none.";
    "max-response-body" Filter Ours Built
        "Longest body of an answer of a Service, such as `64m`. One that says it is longer is answered 502 in its place, any other is cut off where it gets longer. `0` for none.";
    "request-buffering" Filter Ours Built
        "How much of a body has come before a Service is asked, at most `16m`; what is longer is passed on as it comes. `0` for none.";
    "mirror" Filter Ours Built
        "A Service of the namespace that gets copies of requests: JSON with `serviceName`, `servicePort` and `percent`, 1 to 100, all where absent. Nobody waits for it, and its answers are dropped.";
    "canary" Filter Ours Built
        "Whether the Ingress's Services are canaries: they get some of the requests of the Ingress of the namespace that has the same hosts and paths, as they are written. All else is said there, what paths mean, too.";
    "canary-by-header" Filter Ours Built
        "Field of requests that decides first: `always` leads to the canary, `never` does not.";
    "canary-by-header-value" Filter Ours Built "The value that leads to the canary, in place of `always`; none keeps from it.";
    "canary-by-header-pattern" Filter Ours Built "The same as a regular expression that part of the value matches.";
    "canary-by-cookie" Filter Ours Built "Cookie that decides next: `always` leads to the canary, `never` does not.";
    "canary-weight" Filter Ours Built "Share of all other requests that the canary gets, 0 where absent.";
    "canary-weight-total" Filter Ours Built "What the share is of; 100 where absent.";
}

/// The entry of a name without prefix.
pub fn find(name: &str) -> Option<&'static Known> {
    ALL.iter().find(|known| match known.name.as_bytes().last() {
        Some(b'.') => name.len() > known.name.len() && name.starts_with(known.name),
        _ => name == known.name,
    })
}

/// Those that say who may pass, or which requests, and that nothing else would say in their place.
const GUARDS: [&str; 12] = [
    "auth-idp-cognito",
    "auth-idp-oidc",
    "auth-on-unauthenticated-request",
    "auth-type",
    "backend-tls-ca-secret",
    "basic-auth-secret",
    "conditions.",
    "external-auth",
    "inbound-cidrs",
    "jwt-validation",
    "mutual-authentication",
    "rate-limit",
];

/// Letters that may be added, left out, changed, or swapped with the next.
const SLIPS: usize = 2;

/// The guard that a name which is not known may be meant as.
pub(super) fn meant_guard(name: &str) -> Option<&'static str> {
    // Of a family it is the first part that may be misspelt.
    let family = name.find('.').map(|dot| &name[..=dot]);
    let written = family.unwrap_or(name).to_ascii_lowercase().replace('_', "-");
    let mut guards = GUARDS.into_iter();
    guards.find(|guard| strsim::osa_distance(&written, guard) <= SLIPS)
}

/// Whether the value says that nothing is restricted.
pub(super) fn is_off(name: &str, value: &str) -> bool {
    match name {
        "waf-acl-id" | "web-acl-id" => value == "none",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_guard_is_taken_for_one() {
        assert!(
            GUARDS
                .iter()
                .all(|guard| ALL.iter().any(|known| known.name == *guard))
        );
        for (name, meant) in [
            ("basic-auth-seret", Some("basic-auth-secret")),
            ("basic-auth-secrets", Some("basic-auth-secret")),
            ("Basic_Auth_Secret", Some("basic-auth-secret")),
            ("inbound-cdirs", Some("inbound-cidrs")),
            ("condition.web", Some("conditions.")),
            ("conditons.a.b", Some("conditions.")),
            ("ratelimit", Some("rate-limit")),
            ("jwt-validaton", Some("jwt-validation")),
            ("basic-auth", None),
            ("auth", None),
            ("scheme", None),
            ("subnets", None),
            ("owner", None),
        ] {
            assert_eq!(meant_guard(name), meant, "{name}");
        }
    }

    #[test]
    fn names_are_unique_and_described() {
        for known in ALL {
            assert!(known.means.ends_with('.'), "{}: {}", known.name, known.means);
            assert_eq!(
                ALL.iter().filter(|other| other.name == known.name).count(),
                1,
                "{}",
                known.name
            );
        }
    }

    #[test]
    fn a_family_needs_a_name_behind_its_prefix() {
        for (name, want) in [
            ("actions.x", Some("actions.")),
            ("actions.", None),
            ("frontend-nlb-subnet", None),
            ("scheme", Some("scheme")),
            ("Scheme", None),
        ] {
            assert_eq!(find(name).map(|known| known.name), want, "{name}");
        }
    }
}
