//! A URL as ingress-nginx is given one in, the Service of the namespace that it leads to out.

use crate::translate::annotations::value;

/// A port of a Service, and a path with its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Url<'t> {
    pub(super) service: &'t str,
    pub(super) port: i64,
    pub(super) path: &'t str,
}

/// By the Service's name in the cluster's DNS alone: `http://name.namespace.svc.cluster.local:8080/path`. Whoever stands
/// elsewhere is asked by nobody here: an address of somebody's choice would be reached from within the cluster.
pub(super) fn of_service<'t>(text: &'t str, namespace: &str) -> Result<Url<'t>, String> {
    let expected = || {
        let name = format!("http://NAME.{namespace}.svc.cluster.local");
        format!(
            "{} leads to no Service of the namespace, such as {name}: whoever is asked must stand there",
            value::shown(text)
        )
    };
    let rest = text.trim().strip_prefix("http://").ok_or_else(expected)?;
    if rest.contains('$') {
        return Err("variables are not read here".to_owned());
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let path = match path {
        "" => "/",
        path if path.starts_with('/') => path,
        _ => return Err(expected()),
    };
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let port = port.parse().ok().filter(|port| (1..=65_535).contains(port));
    let name = ["", ".cluster.local", ".cluster.local."].iter().find_map(|zone| {
        let service = host.strip_suffix(zone)?.strip_suffix(".svc")?;
        service.strip_suffix(namespace)?.strip_suffix('.')
    });
    let is_label = |name: &&str| {
        let known = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        !name.is_empty() && name.bytes().all(known)
    };
    match (name.filter(is_label), port) {
        (Some(service), Some(port)) => Ok(Url { service, port, path }),
        (_, _) => Err(expected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_a_service_of_the_namespace_or_nowhere() {
        for (text, want) in [
            ("http://auth.shop.svc.cluster.local", Some(("auth", 80, "/"))),
            (
                "http://auth.shop.svc.cluster.local.:8080/a?b=c",
                Some(("auth", 8080, "/a?b=c")),
            ),
            ("http://auth.shop.svc/verify", Some(("auth", 80, "/verify"))),
            ("https://auth.shop.svc.cluster.local", None),
            ("http://auth.other.svc.cluster.local", None),
            ("http://x.auth.shop.svc.cluster.local", None),
            ("http://auth.eshop.svc.cluster.local", None),
            ("http://shop.svc.cluster.local", None),
            ("http://auth.shop", None),
            ("http://auth", None),
            ("http://$host/oauth2/auth", None),
            ("http://auth.shop.svc/?rd=$request_uri", None),
            ("http://auth.shop.svc:99999/", None),
            ("http://auth.shop.svc:x/", None),
            ("http://auth.shop.svc?a", None),
            ("http://a@auth.shop.svc/", None),
            ("http://169.254.169.254/", None),
            ("", None),
        ] {
            let got = of_service(text, "shop").ok();
            assert_eq!(got.map(|url| (url.service, url.port, url.path)), want, "{text:?}");
        }
    }
}
