//! Flags that concern AWS in, the provider's settings out. Flags that mean what the incumbent's mean have its names.

use std::collections::{BTreeMap, BTreeSet};

use clap::{ArgAction, Args, ValueEnum};
use portcullis_aws::resource::SecurityGroupId;
use portcullis_aws::settings::{BackendGroup, NodePorts, Switch};
use portcullis_aws::throttle::Limit;
use portcullis_model::{Scheme, TargetKind};

use crate::translate::{self, Targets};

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "AWS")]
pub(super) struct AwsArgs {
    /// Name of the cluster: goes into every name and ownership tag on AWS
    #[arg(long, value_name = "NAME", value_parser = cluster_name)]
    pub(super) cluster_name: String,
    /// Region of the load balancers [default: as the SDK finds it]
    #[arg(long, value_name = "REGION")]
    pub(super) aws_region: Option<String>,
    /// VPC of the load balancers
    #[arg(long, value_name = "ID")]
    pub(super) aws_vpc_id: Option<String>,
    /// Target type of Ingresses that do not say theirs [default: ip, or instance with the AWS Load Balancer Controller's name]
    #[arg(long, value_enum, value_name = "TYPE")]
    pub(super) default_target_type: Option<TargetType>,
    /// Scheme of load balancers that do not say theirs
    #[arg(long, value_enum, value_name = "SCHEME", default_value = "internal")]
    default_load_balancer_scheme: SchemeName,
    /// Private authorities of ACM: certificates are found by host only among those that one of them issued
    #[arg(long, value_name = "ARN", value_delimiter = ',')]
    allowed_certificate_authority_arns: Vec<String>,
    /// Keys of tags that somebody else keeps on our resources
    #[arg(long, value_name = "KEY", value_delimiter = ',')]
    external_managed_tags: Vec<String>,
    /// Tags of every resource
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = tag)]
    default_tags: Vec<(String, String)>,
    /// TLS policy of listeners that name none
    #[arg(long, value_name = "POLICY")]
    default_ssl_policy: Option<String>,
    /// Whether nodes let in one security group for the whole cluster, or each load balancer's own
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    enable_backend_security_group: bool,
    /// That security group, where it exists already
    #[arg(long, value_name = "ID")]
    backend_security_group: Option<String>,
    /// Most targets of a target group; 0: as many as AWS takes
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_targets_per_target_group: usize,
    /// Let nodes open every TCP port to load balancers, instead of those that targets serve on
    #[arg(long, value_name = "BOOL", default_value_t = false, default_missing_value = "true", num_args = 0..=1, action = ArgAction::Set)]
    disable_restricted_sg_rules: bool,
    /// Whether web ACLs of AWS WAF are put before load balancers; without, Ingresses that ask for one are not served
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    enable_wafv2: bool,
    /// Whether load balancers may be protected by AWS Shield Advanced
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    enable_shield: bool,
    /// How often operations of AWS are called at most: service, operations, calls a second, calls at once
    #[arg(long, value_name = "LIMITS", value_delimiter = ',', value_parser = Limit::parse)]
    aws_api_throttle: Vec<Limit>,
}

/// What targets are, as the annotation `target-type` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum TargetType {
    Ip,
    Instance,
}

/// A scheme as the annotation `scheme` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SchemeName {
    Internal,
    InternetFacing,
}

impl From<TargetType> for TargetKind {
    fn from(kind: TargetType) -> Self {
        match kind {
            TargetType::Ip => Self::Pod,
            TargetType::Instance => Self::Node,
        }
    }
}

/// Longest name of a cluster. Source: EKS API reference, CreateCluster, `name`.
const CLUSTER_NAME: usize = 100;

/// A name that every tag takes, as key and as value: letters, digits and `_.:/=+-@`. Source: Tagging AWS Resources User
/// Guide, "Tag naming limits and requirements". A space is taken there, too, and is only ever a mistake here.
fn cluster_name(text: &str) -> Result<String, String> {
    let taken = |c: char| c.is_ascii_alphanumeric() || "_.:/=+-@".contains(c);
    if (1..=CLUSTER_NAME).contains(&text.len()) && text.chars().all(taken) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "expected 1 to {CLUSTER_NAME} letters, digits and characters of _.:/=+-@"
        ))
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (key, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    if key.is_empty() {
        return Err(format!("{text:?} has no key"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

fn switch(on: bool) -> Switch {
    match on {
        true => Switch::On,
        false => Switch::Off,
    }
}

impl AwsArgs {
    /// What translation is to assume where objects say nothing.
    pub(super) fn assume(&self, settings: &mut translate::Settings) {
        if let Some(kind) = self.default_target_type {
            settings.targets = Targets::Default(kind.into());
        }
        settings.scheme = match self.default_load_balancer_scheme {
            SchemeName::Internal => Scheme::Internal,
            SchemeName::InternetFacing => Scheme::InternetFacing,
        };
    }

    pub(super) fn settings(&self) -> portcullis_aws::Settings {
        portcullis_aws::Settings {
            cluster: self.cluster_name.clone(),
            region: self.aws_region.clone(),
            vpc: self.aws_vpc_id.clone(),
            default_tags: self.default_tags.iter().cloned().collect::<BTreeMap<_, _>>(),
            backend_group: match (self.enable_backend_security_group, &self.backend_security_group) {
                (false, _) => BackendGroup::Off,
                (true, None) => BackendGroup::Managed,
                (true, Some(id)) => BackendGroup::Given(SecurityGroupId::new(id.as_str())),
            },
            node_ports: if self.disable_restricted_sg_rules {
                NodePorts::Every
            } else {
                NodePorts::Needed
            },
            tls_policy: self.default_ssl_policy.clone(),
            most_targets: (self.max_targets_per_target_group > 0)
                .then_some(self.max_targets_per_target_group),
            external_tags: self.external_managed_tags.iter().cloned().collect(),
            certificate_authorities: self.allowed_certificate_authority_arns.iter().cloned().collect(),
            wafv2: switch(self.enable_wafv2),
            shield: switch(self.enable_shield),
            // A flag of the controller.
            roles: BTreeSet::new(),
            api_limits: self.aws_api_throttle.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_clusters_are_what_tags_take() {
        let (longest, longer) = ("a".repeat(100), "a".repeat(101));
        for (text, want) in [
            ("demo", true),
            ("Prod_1-eu", true),
            ("team/a:b@c.d=e+f", true),
            (&longest, true),
            (&longer, false),
            ("", false),
            ("a b", false),
            ("a\u{1b}[31m", false),
            ("a\n", false),
            ("é", false),
            ("a*", false),
        ] {
            assert_eq!(cluster_name(text).is_ok(), want, "{text:?}");
        }
    }
}
