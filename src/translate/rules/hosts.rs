//! The host of a rule in, what it matches out, or what it most likely means where it cannot be read.

use portcullis_model::host::normalize;
use portcullis_model::{Code, Glob, HostMatch, Semantics};

use super::Reader;
use crate::cluster::object::IngressRule;

/// What is known of a host.
#[derive(Debug)]
pub(super) struct Host {
    /// None takes every host.
    pub(super) host: Option<HostMatch>,
    /// Whether it cannot be read, and what it means answers 503.
    pub(super) is_closed: bool,
}

impl Reader<'_, '_> {
    /// The host of a rule. None leaves the whole rule out: it cannot be read, and means no one host.
    pub(super) fn host(&mut self, index: usize, rule: &IngressRule) -> Option<Host> {
        let field = format!("spec.rules[{index}]");
        let Some(text) = rule.host.as_deref().filter(|text| !text.is_empty()) else {
            if rule.paths.is_empty() {
                self.problem(Code::RuleEmpty, field, "the rule has neither a host nor a path");
            }
            return Some(Host {
                host: None,
                is_closed: false,
            });
        };
        let (host, why) = match HostMatch::parse(text) {
            Ok(host) => (Some(host), None),
            // A canary adds a share, and guards nothing.
            Err(why) => (meant(text).filter(|_| !self.part.is_canary), Some(why)),
        };
        let is_closed = why.is_some();
        if let Some(why) = why {
            let told = match &host {
                Some(host) => format!("{why}; meanwhile {host} answers 503"),
                None => why.to_string(),
            };
            self.problem(Code::HostInvalid, format!("{field}.host"), told);
        }
        let host = match (self.part.semantics, host?) {
            // An ALB's `*` spans any number of labels.
            (Semantics::AwsLoadBalancerController, host @ HostMatch::Wildcard(_)) => {
                Glob::parse(&host.to_string()).map_or(host, HostMatch::Glob)
            }
            (Semantics::AwsLoadBalancerController | Semantics::Kubernetes, host) => host,
        };
        Some(Host {
            host: Some(host),
            is_closed,
        })
    }
}

/// The one host that is most likely meant: in lower case, without what belongs to a URL around it.
pub(in crate::translate) fn meant(text: &str) -> Option<HostMatch> {
    let text = text.trim_matches(|c: char| c.is_control() || c.is_whitespace());
    let text = text.to_ascii_lowercase();
    let schemes = ["https://", "http://"];
    let text = schemes
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme))
        .unwrap_or(&text);
    let host = normalize(text.strip_suffix('/').unwrap_or(text));
    HostMatch::parse(&host).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_cannot_be_read_means_the_one_that_it_names() {
        for (text, want) in [
            ("ADMIN.example", Some("admin.example")),
            ("admin.example.", Some("admin.example")),
            ("admin.example:8443", Some("admin.example")),
            ("Admin.example.:443", Some("admin.example")),
            ("https://admin.example", Some("admin.example")),
            ("HTTP://admin.example:80/", Some("admin.example")),
            (" admin.example\n", Some("admin.example")),
            ("*.Admin.example:443", Some("*.admin.example")),
            ("https://", None),
            ("admin.example/x", None),
            ("ftp://admin.example", None),
            ("admin.example:http", None),
            ("a_b.example", None),
            ("a..example", None),
            ("*.*.example", None),
            ("ad*.example", None),
            ("münchen.example", None),
            ("192.0.2.1", None),
            ("192.0.2.1:80", None),
            ("[::1]:80", None),
            (".", None),
        ] {
            let host = meant(text).map(|host| host.to_string());
            assert_eq!(host.as_deref(), want, "{text:?}");
        }
    }
}
