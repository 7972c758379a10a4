//! The name of an error of AWS in, what it means out: our code, with its blame and advice, and when to try again.
//!
//! One table a service, and one of what any service may answer. The names are those on the wire, which for Elastic Load
//! Balancing differ from the names of the model's shapes. A test reads the models of the services that botocore carries
//! and fails where an operation that is called has an error that stands in no table.

use std::time::Duration;

use portcullis_model::{Code, Retry};

use super::Effect;

/// Time until a quota may have been raised, or what was named been made: nothing in the cluster tells of either.
pub(super) const OPERATOR_DELAY: Duration = Duration::from_secs(300);

/// What an error means, whatever the service calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Too many calls; nothing was done.
    Throttled,
    /// The credentials, or their rights.
    Denied,
    /// A quota is spent.
    Quota,
    /// AWS has no room, whatever the quota.
    NoRoom,
    /// The subnet has no free addresses.
    SubnetFull,
    /// Something of that name exists with other settings.
    NameTaken,
    /// What the call names is not there, or is there already: what was believed to exist is wrong.
    Mistaken,
    /// A target that is not in the network, or not there any more.
    NoTarget,
    /// A certificate that a user named, or that went since it was listed.
    NoCertificate,
    /// What a user's setting names is not there.
    NotThere,
    /// Subnets that an operator named or tagged are not there, or not usable.
    NoSubnet,
    /// A setting of a user that AWS does not have.
    NoSuchSetting,
    /// Something still uses it, or it is not ready yet; AWS lets go of a deleted load balancer's interfaces within
    /// minutes.
    InUse,
    /// AWS failed, and may have done it all the same.
    Internal,
    /// The request itself is wrong: a fault of ours.
    Refused,
    /// What is asked for does not go together with what there is, now.
    Unfit,
    /// A name that stands in no table.
    Unknown,
}

impl Meaning {
    /// Our code, and when to try again.
    pub(super) fn consequence(self, effect: Effect) -> (Code, Retry) {
        match self {
            Self::Throttled => (Code::Throttled, Retry::Backoff),
            Self::Denied => (Code::AccessDenied, Retry::Backoff),
            Self::Quota => (Code::QuotaExceeded, Retry::Later(OPERATOR_DELAY)),
            Self::NoRoom => (Code::CapacityUnavailable, Retry::Later(OPERATOR_DELAY)),
            Self::SubnetFull => (Code::SubnetFull, Retry::Later(OPERATOR_DELAY)),
            Self::NameTaken => (Code::NotOurs, Retry::Observe),
            Self::Mistaken => match effect {
                // Reading again is what a failed read comes to anyhow.
                Effect::Read => (Code::ConflictingChange, Retry::Backoff),
                Effect::Write => (Code::ConflictingChange, Retry::Observe),
            },
            Self::NoTarget => (Code::TargetUnresolvable, Retry::Backoff),
            Self::NoCertificate => (Code::CertificateNotFound, Retry::Later(OPERATOR_DELAY)),
            Self::NotThere => (Code::ResourceNotFound, Retry::Later(OPERATOR_DELAY)),
            Self::NoSubnet => (Code::SubnetsNotFound, Retry::Later(OPERATOR_DELAY)),
            Self::NoSuchSetting => (Code::OptionUnsupported, Retry::Never),
            Self::InUse => (Code::ConflictingChange, Retry::Backoff),
            Self::Internal => match effect {
                Effect::Read => (Code::Unavailable, Retry::Backoff),
                // It may have been done all the same.
                Effect::Write => (Code::Unavailable, Retry::Observe),
            },
            Self::Refused => (Code::RequestRefused, Retry::Never),
            Self::Unfit | Self::Unknown => (Code::RequestRefused, Retry::Backoff),
        }
    }
}

use Meaning::{
    Denied, InUse, Internal, Mistaken, NameTaken, NoCertificate, NoRoom, NoSubnet, NoSuchSetting, NoTarget,
    NotThere, Quota, Refused, SubnetFull, Throttled, Unfit,
};

type Table = &'static [(&'static str, Meaning)];

/// Elastic Load Balancing v2 API, errors of each operation.
const ELBV2: Table = &[
    ("ALPNPolicyNotFound", NoSuchSetting),
    ("AllocationIdNotFound", NotThere),
    ("AvailabilityZoneNotSupported", NoSubnet),
    ("CapacityDecreaseRequestLimitExceeded", Quota),
    ("CapacityReservationPending", InUse),
    ("CapacityUnitsLimitExceeded", Quota),
    ("CertificateNotFound", NoCertificate),
    ("DuplicateListener", Mistaken),
    ("DuplicateLoadBalancerName", NameTaken),
    ("DuplicateTagKeys", Refused),
    ("DuplicateTargetGroupName", NameTaken),
    ("HealthUnavailable", Internal),
    ("IncompatibleProtocols", Refused),
    ("InsufficientCapacity", NoRoom),
    ("InvalidConfigurationRequest", Unfit),
    ("InvalidLoadBalancerAction", Refused),
    ("InvalidScheme", Refused),
    ("InvalidSecurityGroup", Mistaken),
    // "The specified subnet is out of available addresses."
    ("InvalidSubnet", SubnetFull),
    ("InvalidTarget", NoTarget),
    ("ListenerNotFound", Mistaken),
    ("LoadBalancerNotFound", Mistaken),
    ("OperationNotPermitted", InUse),
    ("PriorRequestNotComplete", Throttled),
    ("PriorityInUse", Mistaken),
    ("ResourceInUse", InUse),
    ("RuleNotFound", Mistaken),
    ("SSLPolicyNotFound", NoSuchSetting),
    ("SubnetNotFound", NoSubnet),
    // Ours may still be attached to the load balancer that it left.
    ("TargetGroupAssociationLimit", Mistaken),
    ("TargetGroupNotFound", Mistaken),
    ("TooManyActions", Quota),
    ("TooManyCertificates", Quota),
    ("TooManyListeners", Quota),
    ("TooManyLoadBalancers", Quota),
    ("TooManyRegistrationsForTargetId", Quota),
    ("TooManyRules", Quota),
    ("TooManyTags", Quota),
    ("TooManyTargetGroups", Quota),
    ("TooManyTargets", Quota),
    ("TooManyUniqueTargetGroupsPerLoadBalancer", Quota),
    ("TrustStoreNotFound", NotThere),
    ("TrustStoreNotReady", InUse),
    ("UnsupportedProtocol", Refused),
];

/// Amazon EC2 API, "Error codes", those of the operations that are called. Its model names none.
const EC2: Table = &[
    ("Blocked", Denied),
    ("CannotDelete", InUse),
    ("ConcurrentTagAccess", InUse),
    ("DependencyViolation", InUse),
    ("EC2ThrottledException", Throttled),
    ("FilterLimitExceeded", Refused),
    ("IdempotentParameterMismatch", Refused),
    ("IncorrectState", InUse),
    ("InsufficientFreeAddressesInSubnet", SubnetFull),
    ("InvalidGroup.Duplicate", NameTaken),
    ("InvalidGroup.InUse", InUse),
    ("InvalidGroup.NotFound", Mistaken),
    ("InvalidGroup.Reserved", Refused),
    ("InvalidGroupId.Malformed", Mistaken),
    ("InvalidID", Mistaken),
    ("InvalidNetworkInterfaceID.NotFound", Mistaken),
    ("InvalidPermission.Duplicate", Mistaken),
    ("InvalidPermission.Malformed", Refused),
    ("InvalidPermission.NotFound", Mistaken),
    ("InvalidPrefixListID.NotFound", NotThere),
    ("InvalidPrefixListId.Malformed", NotThere),
    ("InvalidRouteTableID.NotFound", Mistaken),
    ("InvalidSecurity.RequestHasExpired", Denied),
    ("InvalidSecurityGroupID.NotFound", Mistaken),
    ("InvalidSecurityGroupRuleId.NotFound", Mistaken),
    ("InvalidSubnetID.NotFound", NoSubnet),
    ("InvalidTagKey.Malformed", Refused),
    ("InvalidVpcID.NotFound", NoSubnet),
    ("OperationNotPermitted", InUse),
    ("PendingVerification", Denied),
    ("ResourceCountExceeded", Quota),
    ("ResourceLimitExceeded", Quota),
    ("RulesPerSecurityGroupLimitExceeded", Quota),
    ("SecurityGroupLimitExceeded", Quota),
    ("SecurityGroupsPerInterfaceLimitExceeded", Quota),
    ("TagLimitExceeded", Quota),
    ("VPCIdNotSpecified", Refused),
];

/// AWS Certificate Manager API, errors of each operation.
const ACM: Table = &[
    ("ConflictException", InUse),
    ("InvalidArgsException", Refused),
    // "does not refer to an existing resource"
    ("InvalidArnException", Mistaken),
    ("InvalidParameterException", Refused),
    ("InvalidTagException", Refused),
    ("LimitExceededException", Quota),
    ("RequestInProgressException", InUse),
    ("ResourceInUseException", InUse),
    ("ResourceNotFoundException", Mistaken),
    ("TagPolicyException", Denied),
    ("TooManyTagsException", Quota),
];

/// AWS WAFV2 API, errors of each operation.
const WAFV2: Table = &[
    ("WAFAssociatedItemException", InUse),
    ("WAFFeatureNotIncludedInPricingPlanException", Unfit),
    ("WAFInternalErrorException", Internal),
    ("WAFInvalidOperationException", Refused),
    ("WAFInvalidParameterException", Refused),
    ("WAFLimitsExceededException", Quota),
    ("WAFNonexistentItemException", Mistaken),
    ("WAFOptimisticLockException", Mistaken),
    // It does not know a load balancer that was just made.
    ("WAFUnavailableEntityException", InUse),
];

/// AWS Shield API, errors of each operation.
const SHIELD: Table = &[
    ("InternalErrorException", Internal),
    // "would not cause any change to occur"
    ("InvalidOperationException", Mistaken),
    ("InvalidParameterException", Refused),
    ("InvalidResourceException", Mistaken),
    ("LimitsExceededException", Quota),
    ("OptimisticLockException", Mistaken),
    ("ResourceAlreadyExistsException", Mistaken),
    ("ResourceNotFoundException", Mistaken),
];

/// AWS Security Token Service API, errors of `AssumeRole` and `AssumeRoleWithWebIdentity`: why there are no
/// credentials.
const STS: Table = &[
    ("ExpiredTokenException", Denied),
    ("IDPCommunicationError", Internal),
    ("IDPRejectedClaim", Denied),
    ("InvalidIdentityToken", Denied),
    ("MalformedPolicyDocument", Denied),
    ("PackedPolicyTooLarge", Denied),
    ("RegionDisabledException", Denied),
];

/// Resource Groups Tagging API, errors of each operation.
const TAGGING: Table = &[
    ("InternalServiceException", Internal),
    ("InvalidParameterException", Refused),
    ("PaginationTokenExpiredException", Mistaken),
    ("ThrottledException", Throttled),
];

/// What any service may answer. Sources: "Common errors" of each API; EC2 API, "Error codes", common client and server
/// error codes; the SDKs' own list of throttling codes (`aws-runtime`, `retries::classifiers`).
const COMMON: Table = &[
    ("AccessDenied", Denied),
    ("AccessDeniedException", Denied),
    ("AuthFailure", Denied),
    ("BandwidthLimitExceeded", Throttled),
    ("ExpiredToken", Denied),
    ("ExpiredTokenException", Denied),
    ("IncompleteSignature", Denied),
    ("IncompleteSignatureException", Denied),
    ("InternalError", Internal),
    ("InternalFailure", Internal),
    ("InternalServerError", Internal),
    ("InvalidAction", Refused),
    ("InvalidClientTokenId", Denied),
    ("InvalidParameter", Refused),
    ("InvalidParameterCombination", Refused),
    ("InvalidParameterValue", Refused),
    ("InvalidQueryParameter", Refused),
    ("InvalidSignatureException", Denied),
    ("MalformedQueryString", Refused),
    ("MissingAction", Refused),
    ("MissingAuthenticationToken", Denied),
    ("MissingAuthenticationTokenException", Denied),
    ("MissingParameter", Refused),
    ("NotAuthorized", Denied),
    ("OptInRequired", Denied),
    ("ProvisionedThroughputExceededException", Throttled),
    ("RequestExpired", Denied),
    ("RequestLimitExceeded", Throttled),
    ("RequestThrottled", Throttled),
    ("RequestThrottledException", Throttled),
    ("ServiceUnavailable", Internal),
    ("SignatureDoesNotMatch", Denied),
    ("SlowDown", Throttled),
    ("Throttling", Throttled),
    ("ThrottlingException", Throttled),
    ("TooManyRequestsException", Throttled),
    ("TransactionInProgressException", Throttled),
    ("UnauthorizedOperation", Denied),
    ("Unavailable", Internal),
    ("UnknownParameter", Refused),
    ("UnrecognizedClientException", Denied),
    ("UnsupportedOperation", Refused),
    ("ValidationError", Refused),
    ("ValidationException", Refused),
];

/// What an error of this service means; none where it stands in no table.
pub(super) fn known(service: &str, name: &str) -> Option<Meaning> {
    let own: Table = match service {
        "elbv2" => ELBV2,
        "ec2" => EC2,
        "acm" => ACM,
        "wafv2" => WAFV2,
        "shield" => SHIELD,
        "sts" => STS,
        "tag" => TAGGING,
        _ => &[],
    };
    let mut rows = own.iter().chain(COMMON);
    rows.find(|(known, _)| *known == name)
        .map(|(_, meaning)| *meaning)
}

/// Of a name that stands in no table, what can be told from how AWS names errors; else from the HTTP status.
pub(super) fn guessed(name: &str, status: Option<u16>) -> Meaning {
    if name.ends_with("NotFound") || name.ends_with("NotFoundException") {
        return Mistaken;
    }
    if name.starts_with("TooMany") || name.ends_with("LimitExceeded") {
        return Quota;
    }
    match status {
        Some(429) => Throttled,
        Some(403) => Denied,
        // An answer that says yes and cannot be read leaves as much open as none.
        Some(200..300 | 500..) => Internal,
        Some(_) | None => Meaning::Unknown,
    }
}

/// Why there are no credentials, from the words of whoever looked for them: an error of the Security Token Service, if
/// one is named.
pub(super) fn of_credentials(words: &str) -> Meaning {
    let mut names = words.split(|c: char| !c.is_ascii_alphanumeric());
    names.find_map(|name| known("sts", name)).unwrap_or(Denied)
}

/// Our code for an error that AWS names, for a call such as `elbv2:CreateRule`; none where no table has it.
pub fn code_of(call: &str, name: &str) -> Option<Code> {
    let service = call.split_once(':').map_or(call, |(service, _)| service);
    known(service, name).map(|meaning| meaning.consequence(Effect::Write).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_stands_once_in_its_table_and_in_order() {
        for table in [ELBV2, EC2, ACM, WAFV2, SHIELD, STS, TAGGING, COMMON] {
            for pair in table.windows(2) {
                if let [(before, _), (after, _)] = pair {
                    assert!(before < after, "{before} before {after}");
                }
            }
        }
    }

    #[test]
    fn one_name_may_mean_another_thing_to_another_service() {
        for (service, name, want) in [
            ("ec2", "OperationNotPermitted", Some(InUse)),
            ("shield", "InvalidParameterException", Some(Refused)),
            ("acm", "InvalidArnException", Some(Mistaken)),
            ("elbv2", "Throttling", Some(Throttled)),
            ("elbv2", "WAFNonexistentItemException", None),
            ("sts", "IDPCommunicationError", Some(Internal)),
            ("elbv2", "NeverHeardOf", None),
        ] {
            assert_eq!(known(service, name), want, "{service} {name}");
        }
    }

    #[test]
    fn what_has_no_row_is_guessed_with_care() {
        for (name, status, want) in [
            ("SaddleNotFound", 400, Mistaken),
            ("TooManyHorses", 400, Quota),
            ("StableLimitExceeded", 400, Quota),
            ("Whatever", 429, Throttled),
            ("Whatever", 403, Denied),
            ("Whatever", 503, Internal),
            ("", 200, Internal),
            ("Whatever", 400, Meaning::Unknown),
            ("InvalidHorse", 400, Meaning::Unknown),
        ] {
            assert_eq!(guessed(name, Some(status)), want, "{name} {status}");
        }
    }

    #[test]
    fn why_there_are_no_credentials_is_read_from_the_words() {
        for (words, want) in [
            (
                "service error: AccessDenied: not authorized to perform sts:AssumeRole",
                Denied,
            ),
            (
                "service error: InvalidIdentityToken: no OpenIDConnect provider",
                Denied,
            ),
            ("service error: IDPCommunicationError: no answer", Internal),
            ("service error: Throttling: Rate exceeded", Throttled),
            ("no providers in chain provided credentials", Denied),
        ] {
            assert_eq!(of_credentials(words), want, "{words}");
        }
    }
}
