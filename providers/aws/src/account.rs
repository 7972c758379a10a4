//! What all load balancers of an account use and none owns: facts read once per interval in, or none offline.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::OnceLock;

use ipnet::IpNet;
use portcullis_model::{HostMatch, LoadBalancerId, ProviderError};

use crate::limits::Quotas;
use crate::names;
use crate::observed::{CertificateState, LoadBalancerState, Looked, SecurityGroupState, TargetGroupState};
use crate::resource::{
    CertificateArn, LoadBalancerArn, Pairs, SecurityGroupId, SubnetId, TargetGroupArn, TrustStoreArn, VpcId,
    WebAclArn,
};

/// Something that was read, or, with no cloud to read from, something that stays symbolic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fact<T> {
    Read(T),
    #[default]
    Symbolic,
}

/// A subnet of the VPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subnet {
    pub id: SubnetId,
    /// Name of the zone, such as `us-east-1a`.
    pub zone: String,
    pub kind: ZoneKind,
    pub free_addresses: u32,
    pub ipv6: bool,
    pub tags: BTreeMap<String, String>,
    /// Where its default route leads, which decides the scheme where no subnet is tagged; none where not read.
    pub reach: Option<Reach>,
}

/// Load balancers need two zones, but in these special ones one is enough. Source: ELBv2 API, CreateLoadBalancer.Subnets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneKind {
    AvailabilityZone,
    /// Local zone, Wavelength zone or Outpost.
    Special,
}

/// Where the default route of a subnet leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// An internet gateway.
    Public,
    Private,
}

/// An issued certificate of ACM, by whomever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmCertificate {
    pub arn: CertificateArn,
    /// Domain and alternative names; what is no host in our sense is left out.
    pub names: Vec<HostMatch>,
    /// ARN of the private authority that issued it; none for others, and where nobody asks.
    pub authority: Option<String>,
}

/// A network interface in the VPC: which security groups guard which addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub groups: Vec<SecurityGroupId>,
    pub addresses: Vec<IpAddr>,
    /// Delegated prefixes, whose addresses pods have.
    pub prefixes: Vec<IpNet>,
    /// The machine it is attached to.
    pub instance: Option<String>,
    /// Whether it is that machine's first one.
    pub primary: bool,
}

/// Every network interface of the VPC, found by address or machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    all: Vec<Interface>,
    by_address: HashMap<IpAddr, usize>,
    by_prefix: HashMap<IpNet, usize>,
    /// Lengths of the prefixes, which are few.
    lengths: BTreeSet<u8>,
    by_instance: HashMap<String, usize>,
}

impl Interfaces {
    pub fn new(all: Vec<Interface>) -> Self {
        let mut out = Self::default();
        for (at, interface) in all.iter().enumerate() {
            out.by_address
                .extend(interface.addresses.iter().map(|address| (*address, at)));
            out.by_prefix
                .extend(interface.prefixes.iter().map(|prefix| (prefix.trunc(), at)));
            out.lengths
                .extend(interface.prefixes.iter().map(IpNet::prefix_len));
            if let Some(instance) = interface.instance.as_ref().filter(|_| interface.primary) {
                out.by_instance.insert(instance.clone(), at);
            }
        }
        Self { all, ..out }
    }

    /// The interface that has this address, of its own or in a delegated prefix.
    pub fn with_address(&self, address: IpAddr) -> Option<&Interface> {
        let in_prefix = || {
            let prefixes = self
                .lengths
                .iter()
                .rev()
                .filter_map(|length| IpNet::new(address, *length).ok());
            prefixes
                .into_iter()
                .find_map(|prefix| self.by_prefix.get(&prefix.trunc()))
        };
        self.by_address
            .get(&address)
            .or_else(in_prefix)
            .map(|at| &self.all[*at])
    }

    /// The first interface of this machine.
    pub fn of_instance(&self, instance: &str) -> Option<&Interface> {
        self.by_instance.get(instance).map(|at| &self.all[*at])
    }
}

/// A target group as far as forwarding to it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedTargetGroup {
    pub arn: TargetGroupArn,
    pub name: String,
    /// Such as `HTTP`; none for functions.
    pub protocol: Option<String>,
    /// `instance`, `ip`, `lambda` or `alb`.
    pub kind: String,
    pub vpc: Option<VpcId>,
    /// Read where an Application Load Balancer of the VPC could forward to it.
    pub tags: Pairs,
    /// Those that forward to it.
    pub load_balancers: Vec<LoadBalancerArn>,
}

/// What exists, ours or not, as AWS lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Of the Region, for names are unique in it; without listeners and attributes. Only Application Load Balancers of
    /// the VPC have their tags.
    pub load_balancers: Vec<LoadBalancerState>,
    /// Of the VPC with their tags; without attributes and targets.
    pub target_groups: Vec<TargetGroupState>,
    /// Of the VPC with their tags.
    pub security_groups: Vec<SecurityGroupState>,
    /// Of the Region: what a rule may forward to, though it is made by others.
    pub every_target_group: Fact<Vec<ListedTargetGroup>>,
    /// Of the Region: those taken from Secrets, expired or not, whichever cluster's.
    pub certificates: Looked<Vec<CertificateState>>,
}

impl Listing {
    /// Load balancers of the cluster of which something exists, as ownership tags name them.
    pub fn stacks(&self, cluster: &str) -> BTreeSet<LoadBalancerId> {
        let of = |tags: &Pairs| {
            let of_cluster = tags
                .get(names::CLUSTER_TAG)
                .or_else(|| tags.get(names::LEGACY_CLUSTER_TAG));
            let stack = tags.get(names::STACK_TAG)?;
            (of_cluster == Some(cluster)).then(|| LoadBalancerId::parse(stack))
        };
        let load_balancers = self
            .load_balancers
            .iter()
            .filter_map(|state| of(&state.spec.tags));
        let target_groups = self.target_groups.iter().filter_map(|state| of(&state.spec.tags));
        let security_groups = self
            .security_groups
            .iter()
            .filter_map(|state| of(&state.spec.tags));
        let certificates = self.certificates.at().into_iter().flatten();
        let certificates = certificates.filter_map(|state| of(&state.tags));
        load_balancers
            .chain(target_groups)
            .chain(security_groups)
            .chain(certificates)
            .collect()
    }
}

/// A fact that only some load balancers need: read for the first that does, and as old as that. An error where it could
/// not be read; not tried again in this reading of the account.
pub type Late<T> = OnceLock<Result<Fact<T>, ProviderError>>;

/// What only some load balancers name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LateFacts {
    /// By name.
    pub trust_stores: Late<BTreeMap<String, TrustStoreArn>>,
    /// Those of the Region, with their names.
    pub web_acls: Late<BTreeMap<WebAclArn, String>>,
    /// Whether the subscription to AWS Shield Advanced is active.
    pub shield: Late<bool>,
    /// Ids of the Region's prefix lists, AWS's own and those that others share.
    pub prefix_lists: Late<BTreeSet<String>>,
    /// Security groups that load balancers of the VPC may have, of it or associated with it, as they are when one is named
    /// that the listing lacks.
    pub usable_groups: Late<BTreeSet<SecurityGroupId>>,
}

impl LateFacts {
    /// Nothing can be read.
    fn symbolic() -> Self {
        Self {
            trust_stores: OnceLock::from(Ok(Fact::Symbolic)),
            web_acls: OnceLock::from(Ok(Fact::Symbolic)),
            shield: OnceLock::from(Ok(Fact::Symbolic)),
            prefix_lists: OnceLock::from(Ok(Fact::Symbolic)),
            usable_groups: OnceLock::from(Ok(Fact::Symbolic)),
        }
    }
}

/// The account as it was at the last reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub vpc: VpcId,
    /// Of the VPC; targets outside need `AvailabilityZone=all`. Empty where unknown.
    pub ranges: Vec<IpNet>,
    pub subnets: Fact<Vec<Subnet>>,
    pub certificates: Fact<Vec<AcmCertificate>>,
    pub interfaces: Fact<Interfaces>,
    pub quotas: Quotas,
    pub late: LateFacts,
    pub listing: Listing,
}

impl Account {
    /// The account where there is none to read: what cannot be known is symbolic, quotas are AWS's defaults.
    pub fn offline(vpc: Option<&str>) -> Self {
        Self {
            vpc: VpcId::new(vpc.unwrap_or("${Vpc}")),
            ranges: Vec::new(),
            subnets: Fact::Symbolic,
            certificates: Fact::Symbolic,
            interfaces: Fact::Symbolic,
            quotas: Quotas::default(),
            late: LateFacts::symbolic(),
            listing: Listing::default(),
        }
    }
}
