//! Resources of ELBv2 and EC2 with the API's own field names: typed ids, references and settings in, JSON out.

mod auth;
mod certificate;
mod listener;
mod load_balancer;
mod rule;
mod security_group;
mod target_group;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

pub use auth::{
    Applied, CognitoConfig, JwtClaimConfig, JwtClaimFormat, JwtConfig, OidcClient, OidcConfig, SessionConfig,
};
pub use certificate::{CertificateSpec, Imported, Shown};
pub(crate) use certificate::{key_algorithm, time};
pub use listener::{
    CertificateRef, ListenerProtocol, ListenerSpec, MutualAuthentication, MutualAuthenticationMode,
};
pub use load_balancer::{IpAddressType, IpamPools, LoadBalancerScheme, LoadBalancerSpec};
pub use rule::{
    FixedResponseConfig, ForwardConfig, HttpHeaderConfig, HttpMethodConfig, QueryStringConfig,
    QueryStringValue, RedirectConfig, RedirectStatusCode, RewriteConfig, RewriteList, RuleAction,
    RuleCondition, RuleSpec, RuleTransform, SourceIpConfig, TargetGroupStickiness, TargetGroupTuple, Values,
};
pub(crate) use rule::{agree, sent};
pub use security_group::{Permission, SecurityGroupSpec, Source};
pub use target_group::{
    HealthCheckSpec, Matcher, ProtocolVersion, TargetDescription, TargetGroupSpec, TargetProtocol, TargetType,
};

/// A kind of resource, as `plan -o json` and the status name it.
pub trait Kind {
    const NAME: &'static str;
}

macro_rules! kinds {
    ($($kind:ident, $id:ident, $doc:literal;)+) => {
        /// Kinds of resources; they exist as parameters of [`Id`] and [`Ref`] only.
        pub mod kind {
            $(
                #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
                pub enum $kind {}
                impl super::Kind for $kind {
                    const NAME: &'static str = stringify!($kind);
                }
            )+
        }
        $(#[doc = $doc] pub type $id = Id<kind::$kind>;)+
    };
}

kinds! {
    LoadBalancer, LoadBalancerArn, "ARN of a load balancer.";
    Listener, ListenerArn, "ARN of a listener.";
    ListenerRule, RuleArn, "ARN of a listener rule.";
    TargetGroup, TargetGroupArn, "ARN of a target group.";
    SecurityGroup, SecurityGroupId, "Id of a security group, such as `sg-0a1b`.";
    Subnet, SubnetId, "Id of a subnet; `${Subnets/<scheme>}` stands for all that are discovered.";
    Vpc, VpcId, "Id of a VPC.";
    Certificate, CertificateArn, "ARN of a certificate.";
    TrustStore, TrustStoreArn, "ARN of a trust store.";
    WebACL, WebAclArn, "ARN of a web ACL of AWS WAF.";
    WebACLAssociation, WebAclAssociationId, "Has no id: there is one at most for each load balancer.";
    Protection, ProtectionId, "Id of a protection of AWS Shield Advanced.";
}

/// What the API calls a resource of kind `K`; symbolic, `${Kind/id}`, in a dry run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id<K> {
    text: Arc<str>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Id<K> {
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self {
            text: text.into(),
            kind: PhantomData,
        }
    }

    /// What a dry run calls the resource with this logical id.
    pub fn symbolic(logical: &str) -> Self {
        Self::new(format!("${{{}/{logical}}}", K::NAME))
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// A desired resource's reference to another: by the API's id where that is known, else by the logical id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ref<K> {
    Known(Id<K>),
    Logical(Arc<str>),
}

impl<K: Kind> Ref<K> {
    pub fn logical(id: impl Into<Arc<str>>) -> Self {
        Self::Logical(id.into())
    }
}

impl<K: Kind> fmt::Display for Ref<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(id) => id.fmt(f),
            Self::Logical(id) => write!(f, "${{{}/{id}}}", K::NAME),
        }
    }
}

impl<K: Kind> Serialize for Ref<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Tags, or attributes: keys and values, written as the API's list of `Key` and `Value`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pairs(pub BTreeMap<String, String>);

impl Pairs {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect())
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Pair<'a> {
            key: &'a str,
            value: &'a str,
        }
        let mut list = serializer.serialize_seq(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            list.serialize_element(&Pair { key, value })?;
        }
        list.end()
    }
}
