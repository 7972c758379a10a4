//! What is wrong, where, whose fault it is: a value beside the result, never instead of it.

use std::fmt;

use serde::Serialize;

use crate::origin::Origin;

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Blame {
    /// The author of the object named in the problem.
    User,
    /// Who runs the controller, the cluster or the cloud account.
    Operator,
    /// The cloud or the network; trying again may help.
    Provider,
    /// A fault of Portcullis itself.
    Portcullis,
}

/// Declares every stable code with whose fault it is and what to do about it.
///
/// A code is an interface: Event reason, metric label, condition reason, log field. Add, never rename.
macro_rules! codes {
    ($($code:ident, $blame:ident, $advice:literal;)+) => {
        /// The stable name of a kind of problem.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub enum Code {
            $(#[doc = $advice] $code,)+
        }

        impl Code {
            /// Every code, in the order of declaration.
            pub const ALL: &[Self] = &[$(Self::$code,)+];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$code => stringify!($code),)+ }
            }

            pub fn blame(self) -> Blame {
                match self { $(Self::$code => Blame::$blame,)+ }
            }

            /// What to do, as one sentence.
            pub fn advice(self) -> &'static str {
                match self { $(Self::$code => $advice,)+ }
            }
        }
    };
}

codes! {
    // Reading objects
    FileUnreadable, User, "Correct the file; until then its last good content is used, if there was any.";
    ObjectInvalid, User, "Correct the named field; until then the object's last good content is used, if there was any; else an Ingress answers 503.";
    FieldUnknown, User, "Remove or correct the field; it has no effect.";
    KindIgnored, User, "Remove the object from the folder; its kind is not used here.";
    ObjectDuplicate, User, "Keep one object of this name; the first one read is used.";

    // Class and group
    ClassNotFound, User, "Create the IngressClass or name one that exists.";
    ClassForeign, User, "Nothing, if another controller serves it; else name a class of this one.";
    DefaultClassAmbiguous, Operator, "Mark one IngressClass as the default, or name a class.";
    ClassParametersNotFound, Operator, "Create the parameters object that the class names.";
    ClassParametersInvalid, Operator, "Correct the named field of the class's parameters.";
    NamespaceNotAdmitted, Operator, "Let the class admit this namespace, or use another class.";
    ProviderUnavailable, Operator, "Use a class whose provider this controller serves.";
    GroupNameInvalid, User, "Use lower-case letters, digits, '-' and '.', at most 63 characters.";
    SettingConflict, User, "Give all members that share the load balancer the same value; until then the first in order counts, or what exists stays.";

    SettingNotOwned, User, "Leave it out, or ask the operator to grant the namespace every host; the oldest member's namespace decides.";

    // Rules
    HostInvalid, User, "Use a lower-case DNS name, with '*' only as the whole first label.";
    PathInvalid, User, "Start the path with '/' and keep to the characters its type allows.";
    PathTypeInvalid, User, "Use Exact, Prefix or ImplementationSpecific.";
    RuleEmpty, User, "Give the rule a host, a path or a backend.";
    HostNotOwned, User, "Use another host, or ask the operator to grant it; the namespace that used it first serves it.";
    HostNotAdmitted, User, "Use a host that the class grants to the namespace, or ask the operator to grant it.";
    RuleShadowed, User, "Remove one of the two; the first in order answers.";
    RedirectLoop, User, "Redirect to another host, port, path or query, or remove the redirect.";
    DefaultBackendConflict, User, "Keep one default backend; the first in order serves.";
    GuardLeftOut, User, "Let the Ingress listen at the port that the message names, with spec.tls or listen-ports as its neighbour; until then what it asks there is asked of nobody, unless a proxy that ends TLS stands in front of ours.";
    CanaryAlone, User, "Give an Ingress of the same namespace and load balancer the same hosts and paths, or leave the annotation out.";
    PatternInvalid, User, "Correct the regular expression or glob.";
    ResourceBackendUnsupported, User, "Use a Service as the backend.";
    BackendMissing, User, "Name a Service as the backend.";

    // Annotations
    AnnotationInvalid, User, "Correct the annotation; until then what it restricts is not served, and other settings stay as they exist, or begin with their defaults.";
    AnnotationUnknown, User, "Remove or correct the annotation; it has no effect.";
    AnnotationUnsupported, User, "Remove the annotation; what it asks for cannot be had here.";
    AnnotationNotAdmitted, User, "Remove the annotation, or ask the operator to let the class admit it.";
    AuthenticationNeedsHttps, User, "Redirect plain HTTP with ssl-redirect, or listen on HTTPS alone.";
    ActionNotFound, User, "Add the actions annotation that the backend names.";

    // Backends
    ServiceNotFound, User, "Create the Service; its paths answer 503 until then.";
    ServicePortNotFound, User, "Name a port that the Service has; the path answers 503 until then.";
    ServiceTypeUnsupported, User, "Use a Service with pods; ExternalName is off.";
    ServiceHasNoNodePort, User, "Use a NodePort Service, or target type ip.";
    EndpointsNotFound, User, "Start pods that the Service selects; the path answers 503 while none serves.";
    TargetRefused, User, "Let the Service's own pods serve; the address is outside what the class opens.";
    GracePeriodShort, User, "Give pods a longer terminationGracePeriodSeconds or a preStop hook that waits, or shorten the deregistration delay.";
    TargetZoneUncovered, Operator, "Give the load balancer a subnet in the zone that the message names.";
    TargetGroupNotFound, User, "Create the target group, or name one that exists; its paths answer 503 until then.";
    TargetGroupNotAdmitted, Operator, "Tag the target group for the namespace that names it.";
    RoleNotAdmitted, Operator, "List the role with --target-group-binding-roles, if target groups may be reached with it.";
    TargetGroupInUse, User, "Use a target group of its own: one serves one load balancer.";
    TargetUnresolvable, Provider, "Check that the node or pod exists in the cloud network.";

    // Certificates
    SecretNotFound, User, "Create the Secret, or name one that exists.";
    SecretInvalid, User, "Store a PEM certificate chain and its key under tls.crt and tls.key.";
    CertificateExpired, User, "Renew the certificate in the Secret; what was served until now is served on.";
    CertificateKeyMismatch, User, "Store the key that belongs to the certificate.";
    CertificateHostMismatch, User, "Issue the certificate for the host as well, or name another; clients refuse what is not for the host they ask for.";
    CertificateConflict, User, "Give the host one certificate of each type of key; the first in order is served.";
    CertificateUnsupported, User, "Issue the certificate with a key that the provider takes.";
    CertificateNotFound, User, "Issue a certificate for the host, or name one; HTTPS for it is not served until then.";

    // What a provider cannot express, or has no room for
    HostUnsupported, User, "Use a host that the provider can match.";
    PathUnsupported, User, "Use a path that the provider can match.";
    ConditionUnsupported, User, "Use conditions that the provider can match.";
    ActionUnsupported, User, "Use an action that the provider can carry out.";
    BackendUnsupported, User, "Use backend settings that the provider has.";
    OptionUnsupported, User, "Use a setting that the provider has.";
    LimitExceeded, User, "Split the load balancer, or have the named quota raised.";
    ResourceNotFound, User, "Create what the setting names, or name what exists; what relies on it is not served until then.";
    NameInvalid, User, "Use a name that the provider accepts.";
    DeletionProtected, User, "Switch deletion protection off; then the load balancer is deleted.";
    ManyRuleDeletions, User, "Bring the rules back, or confirm that they go with the annotation that the message names.";
    SubnetsNotFound, Operator, "Tag at least two subnets in different zones for this scheme, or name them.";
    VpcNotFound, Operator, "Name a VPC of the account and Region that the controller works in (--aws-vpc-id).";
    SecurityGroupAmbiguous, Operator, "Tag exactly one security group of the node for the cluster.";
    NotOurs, Operator, "Remove or rename the resource of the same name, or let it be adopted.";

    // Talking to a provider or to Kubernetes
    Throttled, Provider, "Nothing; it is tried again more slowly.";
    Unavailable, Provider, "Nothing; it is tried again.";
    AccessDenied, Operator, "Grant the controller the right that the message names.";
    QuotaExceeded, Operator, "Have the quota that the message names raised.";
    SubnetFull, Operator, "Free addresses in the subnet that the message names, or name other subnets.";
    CapacityUnavailable, Provider, "Nothing; it is tried again. A smaller reservation may be had at once.";
    RequestRefused, Portcullis, "Report the message; the provider refused a request it should accept.";
    ConflictingChange, Provider, "Nothing; it is read again and planned anew.";
    StillInUse, Provider, "Nothing; it is deleted when the provider has let go of it.";
    ClaimLost, Operator, "Nothing; another replica has taken over.";
    NotSettled, Portcullis, "Report the load balancer; its plan does not come to an end.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A mistake or a limit, told at the field it belongs to. The rest is served all the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Problem {
    pub at: Origin,
    pub code: Code,
    /// What is wrong, lower case, no full stop, with the name of the thing.
    pub message: String,
}

impl Problem {
    pub fn new(code: Code, at: Origin, message: impl Into<String>) -> Self {
        Self {
            at,
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} [{}]", self.at, self.message, self.code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_pascal_case_and_says_what_to_do() {
        for code in Code::ALL {
            assert!(
                code.as_str().starts_with(|c: char| c.is_ascii_uppercase()),
                "{code}"
            );
            assert!(code.as_str().chars().all(|c| c.is_ascii_alphanumeric()), "{code}");
            assert!(code.advice().ends_with('.'), "{code}: {}", code.advice());
        }
    }
}
