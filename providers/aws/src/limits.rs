//! What AWS refuses, known beforehand: numbers with their sources, and the checks that need no more than a number.

use crate::resource::RuleCondition;

/// Quotas that AWS raises on request, as `DescribeAccountLimits` and EC2 tell them; AWS's defaults otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Listener rules per load balancer over all listeners, default rules not counted.
    pub rules: usize,
    pub listeners: usize,
    /// Target groups per load balancer.
    pub target_groups: usize,
    /// Targets per load balancer.
    pub targets: usize,
    /// Targets per target group.
    pub targets_per_group: usize,
    /// Certificates per load balancer besides the default ones.
    pub certificates: usize,
    /// Permissions per security group and family of addresses.
    pub permissions: usize,
}

impl Default for Quotas {
    /// Source: "Quotas for your Application Load Balancers", "Amazon VPC quotas" (inbound rules per security group).
    fn default() -> Self {
        Self {
            rules: 100,
            listeners: 50,
            target_groups: 100,
            targets: 1000,
            targets_per_group: 1000,
            certificates: 25,
            permissions: 60,
        }
    }
}

/// How many rules are laid out one by one, of so many that there is room for. The rest is kept free, so that rules can
/// change beside those they replace: a tenth is more than one change of an Ingress needs.
pub fn rules_before_merging(quota: usize) -> usize {
    quota - quota / 10
}

/// Characters of a load balancer's or target group's name. Source: ELBv2 API, CreateLoadBalancer.Name.
pub const NAME_LENGTH: usize = 32;
/// Values of one rule's conditions together, which AWS also calls match evaluations.
/// Source: "Quotas for your Application Load Balancers", condition values per rule.
pub const VALUES_PER_RULE: usize = 5;
/// Values of one condition. Source: "Condition types for listener rules", condition basics.
pub const VALUES_PER_CONDITION: usize = 3;
/// `*` and `?` in one rule's conditions. Source: "Condition types for listener rules" (the quota page says 6).
pub const WILDCARDS_PER_RULE: usize = 5;
/// Characters of a host, path, header, query or expression. Source: ELBv2 API, the `…ConditionConfig` types.
pub const VALUE_LENGTH: usize = 128;
/// What a host pattern may hold besides letters and digits.
/// Source: "Condition types for listener rules", host conditions.
pub const HOST_CHARACTERS: &str = "-_.*?";
/// What a path pattern may hold besides letters and digits.
/// Source: "Condition types for listener rules", path conditions.
pub const PATH_CHARACTERS: &str = "_-.$/~\"'@:+&*?";
/// What a header pattern may hold besides letters and digits.
/// Source: "Condition types for listener rules", HTTP header conditions.
pub const HEADER_CHARACTERS: &str = " !\"#$%&'()+,./:;<=>@[]^_`{|}~-*?";
/// What a query pattern may hold besides letters and digits; a backslash makes a wildcard literal.
/// Source: "Condition types for listener rules", query string conditions.
pub const QUERY_CHARACTERS: &str = "_-.$/~\"'@:+&()!,;=*?\\";
/// Characters of a header's name. Source: ELBv2 API, HttpHeaderConditionConfig.HttpHeaderName.
pub const HEADER_NAME_LENGTH: usize = 40;
/// Characters of a request method. Source: ELBv2 API, HttpRequestMethodConditionConfig.
pub const METHOD_LENGTH: usize = 40;
/// Target groups of one forward action. Source: "Quotas for your Application Load Balancers".
pub const TARGET_GROUPS_PER_FORWARD: usize = 5;
/// The greatest share of one target group of a forward action. Source: ELBv2 API, TargetGroupTuple.Weight.
pub const WEIGHT: u16 = 999;
/// Bytes of a private key. Source: ACM API, ImportCertificate.PrivateKey.
pub const PRIVATE_KEY_LENGTH: usize = 5120;
/// Characters of each part of a redirect. Source: ELBv2 API, RedirectActionConfig.
pub const REDIRECT_PART_LENGTH: usize = 128;
/// Characters of a fixed response's body. Source: ELBv2 API, FixedResponseActionConfig.MessageBody.
pub const BODY_LENGTH: usize = 1024;
/// Characters of a rewrite's expression or replacement. Source: ELBv2 API, RewriteConfig.
pub const REWRITE_LENGTH: usize = 1024;
/// Characters of a health check's path. Source: ELBv2 API, CreateTargetGroup.HealthCheckPath.
pub const HEALTH_PATH_LENGTH: usize = 1024;
/// Listeners of a load balancer that verify clients' certificates. Source: "Quotas for your Application Load Balancers".
pub const VERIFYING_LISTENERS: usize = 2;
/// Additional parameters of an authorisation request. Source: ELBv2 API, AuthenticationRequestExtraParams.
pub const EXTRA_PARAMETERS: usize = 10;
/// Additional claims of a token. Source: ELBv2 API, JwtValidationActionConfig.AdditionalClaims.
pub const JWT_CLAIMS: usize = 10;
/// Values of a claim. Source: ELBv2 API, JwtValidationActionAdditionalClaim.Values.
pub const JWT_VALUES: usize = 10;
/// Characters of a claim's name or value. Source: ELBv2 API, JwtValidationActionAdditionalClaim.
pub const JWT_VALUE_LENGTH: usize = 256;
/// Claims that are always checked. Source: ELBv2 API, JwtValidationActionAdditionalClaim.Name.
pub const JWT_RESERVED_CLAIMS: [&str; 4] = ["exp", "iss", "nbf", "iat"];
/// Targets in one call. AWS documents none; the incumbent's number is known to pass.
pub const TARGETS_PER_CALL: usize = 200;

/// What a fixed response may say it is. Source: ELBv2 API, FixedResponseActionConfig.ContentType.
pub const CONTENT_TYPES: [&str; 5] = [
    "text/plain",
    "text/css",
    "text/html",
    "application/javascript",
    "application/json",
];

/// How many values a condition compares with.
pub fn values(condition: &RuleCondition) -> usize {
    match condition {
        RuleCondition::HostHeader { config } | RuleCondition::PathPattern { config } => config.list().len(),
        RuleCondition::HttpHeader { config } => config.values.list().len(),
        RuleCondition::HttpRequestMethod { config } => config.values.len(),
        RuleCondition::QueryString { config } => config.values.len(),
        RuleCondition::SourceIp { config } => config.values.len(),
        RuleCondition::Foreign { .. } => 1,
    }
}

/// How many wildcards the values of a condition hold; expressions hold none.
pub fn wildcards(condition: &RuleCondition) -> usize {
    use crate::resource::Values;
    fn of(text: &str) -> usize {
        text.bytes().filter(|b| matches!(b, b'*' | b'?')).count()
    }
    fn globs(values: &Values) -> usize {
        match values {
            Values::Globs(list) => list.iter().map(|text| of(text)).sum(),
            Values::Regexes(_) => 0,
        }
    }
    match condition {
        RuleCondition::HostHeader { config } | RuleCondition::PathPattern { config } => globs(config),
        RuleCondition::HttpHeader { config } => globs(&config.values),
        RuleCondition::QueryString { config } => {
            let parts = config
                .values
                .iter()
                .map(|q| of(&q.value) + q.key.as_deref().map_or(0, of));
            parts.sum()
        }
        RuleCondition::HttpRequestMethod { .. }
        | RuleCondition::SourceIp { .. }
        | RuleCondition::Foreign { .. } => 0,
    }
}

/// Whether a pattern holds only letters, digits and these characters.
pub fn holds_only(pattern: &str, characters: &str) -> bool {
    pattern
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || characters.contains(c))
}

/// Whether AWS takes this as a tag of a user's. Source: ELBv2 API, TagKey and TagValue (lengths and characters); "Tag your
/// AWS resources" (`aws:`).
pub fn is_tag(key: &str, value: &str) -> bool {
    let reserved = key
        .get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
    let separates = |c: char| c.is_whitespace() && !c.is_control();
    let known = |c: char| c.is_alphanumeric() || separates(c) || "_.:/=+-@".contains(c);
    let (key_length, value_length) = (key.chars().count(), value.chars().count());
    let fits = (1..=128).contains(&key_length) && value_length <= 256;
    fits && !reserved && key.chars().chain(value.chars()).all(known)
}

/// Whether AWS takes this as the name of an attribute. Source: ELBv2 API, ListenerAttributeKey.
pub fn is_attribute_name(key: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_');
    (1..=256).contains(&key.len()) && key.bytes().all(known)
}

/// Whether this is the id of a pool of IPAM. Source: ELBv2 API, IpamPoolId.
pub fn is_pool_id(id: &str) -> bool {
    id.len() <= 1000 && is_id(id, "ipam-pool-")
}

/// Whether this is the id of a prefix list. Source: EC2 API, PrefixListResourceId, as all ids of EC2.
pub fn is_prefix_list_id(id: &str) -> bool {
    is_id(id, "pl-")
}

/// Whether this is the ARN of a trust store, and no name of one, which holds no colon. Source: ELBv2 API, TrustStoreName.
pub fn is_trust_store_arn(text: &str) -> bool {
    text.starts_with("arn:") && text.contains(":truststore/")
}

fn is_id(id: &str, prefix: &str) -> bool {
    id.strip_prefix(prefix)
        .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Whether AWS takes this as the name of a load balancer.
pub fn is_name(name: &str) -> bool {
    (1..=NAME_LENGTH).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.starts_with("internal-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_have_lengths_and_one_reserved_start() {
        for (key, value, want) in [
            ("Team", "core", true),
            ("Team", "", true),
            ("", "core", false),
            ("Kostenstelle", "Müller + Söhne", true),
            ("note", "hello!", false),
            ("note", "a\nb", false),
            ("aws:x", "1", false),
            ("AWS:x", "1", false),
            (&"k".repeat(129), "", false),
            ("k", &"v".repeat(257), false),
        ] {
            assert_eq!(is_tag(key, value), want, "{key}={value}");
        }
    }

    #[test]
    fn names_of_load_balancers_have_a_syntax() {
        for (name, want) in [
            ("legacy-internal", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a-", false),
            ("a_b", false),
            ("internal-a", false),
            (&"a".repeat(32), true),
            (&"a".repeat(33), false),
        ] {
            assert_eq!(is_name(name), want, "{name}");
        }
    }
}
