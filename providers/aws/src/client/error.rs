//! Errors of the SDKs in, provider errors out: code, blame and when to try again, with AWS's own words.

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use portcullis_model::{Code, ProviderError, Retry};

use super::Effect;

/// Time until a quota may have been raised, or the rights granted: nothing in the cluster tells of either.
const OPERATOR_DELAY: Duration = Duration::from_secs(300);

/// What an error that AWS names means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Throttled,
    Denied,
    Quota,
    /// Something of that name exists with other settings.
    NameTaken,
    /// What the call names is not there, or is there already: what was believed to exist is wrong.
    Mistaken,
    /// Something still uses it; AWS lets go of a deleted load balancer's interfaces within minutes.
    InUse,
    Internal,
    /// The request itself is wrong.
    Refused,
    Unknown,
}

/// Sources: ELBv2 and ACM APIs, errors of each operation and "Common errors"; EC2 API, "Error codes"; the SDKs'
/// own list of throttling codes (`aws-runtime`, `retries::classifiers`).
fn meaning(code: &str, status: Option<u16>) -> Meaning {
    match code {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "BandwidthLimitExceeded"
        | "PriorRequestNotComplete"
        | "TransactionInProgressException"
        | "ProvisionedThroughputExceededException"
        | "EC2ThrottledException"
        | "SlowDown" => Meaning::Throttled,

        "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "MissingAuthenticationToken"
        | "NotAuthorized"
        | "OptInRequired"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnauthorizedOperation"
        | "UnrecognizedClientException" => Meaning::Denied,

        "DuplicateLoadBalancerName" | "DuplicateTargetGroupName" | "InvalidGroup.Duplicate" => {
            Meaning::NameTaken
        }

        // AWS WAF does not know a load balancer that was just made. Source: WAFV2 API, WAFUnavailableEntityException.
        "DependencyViolation"
        | "WAFAssociatedItemException"
        | "WAFUnavailableEntityException"
        | "ResourceInUse"
        | "ResourceInUseException"
        | "OperationNotPermitted"
        | "IncorrectState" => Meaning::InUse,

        "DuplicateListener"
        | "InvalidGroup.NotFound"
        | "InvalidGroupId.Malformed"
        | "InvalidPermission.Duplicate"
        | "InvalidPermission.NotFound"
        | "InvalidSecurityGroup"
        | "InvalidTarget"
        | "PriorityInUse"
        | "TargetGroupAssociationLimit"
        | "OptimisticLockException"
        | "ResourceAlreadyExistsException"
        | "WAFNonexistentItemException" => Meaning::Mistaken,

        // The subnets have no free addresses left.
        "InsufficientFreeAddressesInSubnet"
        | "InvalidSubnet"
        | "LimitsExceededException"
        | "WAFLimitsExceededException" => Meaning::Quota,

        "InternalError"
        | "InternalFailure"
        | "InternalServerError"
        | "InternalErrorException"
        | "WAFInternalErrorException"
        | "ServiceUnavailable"
        | "Unavailable" => Meaning::Internal,

        "ValidationError"
        | "ValidationException"
        | "UnsupportedProtocol"
        | "WAFInvalidOperationException"
        | "WAFInvalidParameterException" => Meaning::Refused,

        // What is asked for does not go together with what there is, now.
        "InvalidConfigurationRequest" => Meaning::Unknown,

        _ if code.ends_with("NotFound") || code.ends_with("NotFoundException") => Meaning::Mistaken,
        _ if code.starts_with("TooMany") || code.ends_with("LimitExceeded") => Meaning::Quota,
        _ if code.starts_with("Invalid") || code.starts_with("Missing") => Meaning::Refused,
        _ => match status {
            Some(429) => Meaning::Throttled,
            Some(403) => Meaning::Denied,
            // An answer that says yes and cannot be read leaves as much open as none.
            Some(200..300 | 500..) => Meaning::Internal,
            Some(_) | None => Meaning::Unknown,
        },
    }
}

/// What a failed call means.
pub(super) fn read<E>(call: &'static str, effect: Effect, error: &SdkError<E, HttpResponse>) -> ProviderError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let whole = chain(error);
    match error {
        SdkError::ServiceError(service) => {
            let response = service.raw();
            let (name, text) = (service.err().code(), service.err().message());
            let message = match (name, text) {
                (Some(name), Some(text)) => format!("{name}: {text}"),
                (Some(name), None) => name.to_owned(),
                (None, _) => format!("HTTP {}: {}", response.status().as_u16(), beginning(response)),
            };
            let delay = response
                .headers()
                .get("retry-after")
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs);
            let meaning = meaning(name.unwrap_or_default(), Some(response.status().as_u16()));
            told(call, effect, meaning, message, delay)
        }
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => lost(call, effect, whole),
        // Not a failure of the connection: the credentials could not be had, and nothing was sent.
        SdkError::DispatchFailure(failure) if failure.is_other() && failure.as_other().is_none() => {
            told(call, effect, Meaning::Denied, whole, None)
        }
        SdkError::DispatchFailure(_) => lost(call, effect, whole),
        // The request could not even be written.
        SdkError::ConstructionFailure(_) | _ => told(call, effect, Meaning::Refused, whole, None),
    }
}

/// An error and what it came from, in words.
fn chain(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words.push_str(": ");
        words.push_str(&error.to_string());
        source = error.source();
    }
    words
}

/// How an answer begins that names no error.
fn beginning(response: &HttpResponse) -> String {
    let body = response.body().bytes().unwrap_or_default();
    String::from_utf8_lossy(body).chars().take(300).collect()
}

/// No answer in time.
pub(super) fn timeout(call: &'static str, effect: Effect) -> ProviderError {
    lost(
        call,
        effect,
        format!("no answer within {} s", effect.timeout().as_secs()),
    )
}

/// Our own limits put the call off.
pub(super) fn postponed(call: &'static str, wait: Duration) -> ProviderError {
    ProviderError {
        code: Code::Throttled,
        call,
        message: format!(
            "not sent: its turn is {:.1} s off by our own limits",
            wait.as_secs_f64()
        ),
        retry: Retry::After(wait),
    }
}

fn lost(call: &'static str, effect: Effect, message: String) -> ProviderError {
    told(call, effect, Meaning::Internal, message, None)
}

fn told(
    call: &'static str,
    effect: Effect,
    meaning: Meaning,
    message: String,
    delay: Option<Duration>,
) -> ProviderError {
    let (code, retry) = match meaning {
        Meaning::Throttled => (Code::Throttled, Retry::Backoff),
        Meaning::Denied => (Code::AccessDenied, Retry::Backoff),
        Meaning::Quota => (Code::QuotaExceeded, Retry::Later(OPERATOR_DELAY)),
        Meaning::NameTaken => (Code::NotOurs, Retry::Observe),
        Meaning::Mistaken => match effect {
            // Reading again is what a failed read comes to anyhow.
            Effect::Read => (Code::ConflictingChange, Retry::Backoff),
            Effect::Write => (Code::ConflictingChange, Retry::Observe),
        },
        Meaning::InUse => (Code::ConflictingChange, Retry::Backoff),
        Meaning::Internal => match effect {
            Effect::Read => (Code::Unavailable, Retry::Backoff),
            // It may have been done all the same.
            Effect::Write => (Code::Unavailable, Retry::Observe),
        },
        Meaning::Refused => (Code::RequestRefused, Retry::Never),
        Meaning::Unknown => (Code::RequestRefused, Retry::Backoff),
    };
    ProviderError {
        code,
        call,
        message,
        // What must be read again is read again at once: waiting makes it no truer.
        retry: match (retry, delay) {
            (Retry::Backoff, Some(delay)) => Retry::After(delay),
            (retry, _) => retry,
        },
    }
}

/// An answer that lacks what it must have.
pub(crate) fn incomplete(call: &'static str, field: &str) -> ProviderError {
    ProviderError {
        code: Code::RequestRefused,
        call,
        message: format!("the answer has no {field}"),
        retry: Retry::Backoff,
    }
}

/// The state of things is not what the change was planned for.
pub(crate) fn conflict(code: Code, call: &'static str, message: String) -> ProviderError {
    ProviderError {
        code,
        call,
        message,
        retry: Retry::Observe,
    }
}

/// Whether the call failed because what it names is not there (any more).
pub(crate) fn is_gone(error: &ProviderError) -> bool {
    let name = error.message.split(':').next().unwrap_or_default();
    let not_found = name.ends_with("NotFound") || name.ends_with("NotFoundException");
    error.code == Code::ConflictingChange && not_found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_a_code_and_a_time_to_try_again() {
        for (name, status, effect, code, retry) in [
            ("Throttling", 400, Effect::Write, Code::Throttled, Retry::Backoff),
            (
                "RequestLimitExceeded",
                503,
                Effect::Read,
                Code::Throttled,
                Retry::Backoff,
            ),
            ("", 429, Effect::Read, Code::Throttled, Retry::Backoff),
            (
                "AccessDenied",
                403,
                Effect::Read,
                Code::AccessDenied,
                Retry::Backoff,
            ),
            (
                "UnauthorizedOperation",
                403,
                Effect::Write,
                Code::AccessDenied,
                Retry::Backoff,
            ),
            (
                "TooManyRules",
                400,
                Effect::Write,
                Code::QuotaExceeded,
                Retry::Later(OPERATOR_DELAY),
            ),
            (
                "RulesPerSecurityGroupLimitExceeded",
                400,
                Effect::Write,
                Code::QuotaExceeded,
                Retry::Later(OPERATOR_DELAY),
            ),
            (
                "DuplicateLoadBalancerName",
                400,
                Effect::Write,
                Code::NotOurs,
                Retry::Observe,
            ),
            (
                "InvalidGroup.Duplicate",
                400,
                Effect::Write,
                Code::NotOurs,
                Retry::Observe,
            ),
            (
                "RuleNotFound",
                400,
                Effect::Write,
                Code::ConflictingChange,
                Retry::Observe,
            ),
            (
                "InvalidGroup.NotFound",
                400,
                Effect::Write,
                Code::ConflictingChange,
                Retry::Observe,
            ),
            (
                "PriorityInUse",
                400,
                Effect::Write,
                Code::ConflictingChange,
                Retry::Observe,
            ),
            (
                "DependencyViolation",
                400,
                Effect::Write,
                Code::ConflictingChange,
                Retry::Backoff,
            ),
            (
                "InternalFailure",
                500,
                Effect::Read,
                Code::Unavailable,
                Retry::Backoff,
            ),
            (
                "InternalFailure",
                500,
                Effect::Write,
                Code::Unavailable,
                Retry::Observe,
            ),
            ("", 502, Effect::Read, Code::Unavailable, Retry::Backoff),
            (
                "ValidationError",
                400,
                Effect::Write,
                Code::RequestRefused,
                Retry::Never,
            ),
            (
                "InvalidParameterValue",
                400,
                Effect::Write,
                Code::RequestRefused,
                Retry::Never,
            ),
            (
                "NeverHeardOf",
                400,
                Effect::Write,
                Code::RequestRefused,
                Retry::Backoff,
            ),
        ] {
            let error = told(
                "elbv2:Any",
                effect,
                meaning(name, Some(status)),
                name.into(),
                None,
            );
            assert_eq!(
                (error.code, error.retry),
                (code, retry),
                "{name} {status} {effect:?}"
            );
        }
    }

    #[test]
    fn aws_says_when_to_come_back() {
        let delay = Some(Duration::from_secs(7));
        for (meaning, want) in [
            (Meaning::Throttled, Retry::After(Duration::from_secs(7))),
            (Meaning::Mistaken, Retry::Observe),
            (Meaning::Refused, Retry::Never),
        ] {
            let error = told("elbv2:Any", Effect::Write, meaning, String::new(), delay);
            assert_eq!(error.retry, want, "{meaning:?}");
        }
    }

    #[test]
    fn what_is_gone_is_told_from_other_conflicts() {
        for (name, want) in [
            ("RuleNotFound: One or more rules not found", true),
            ("InvalidGroup.NotFound: sg-1", true),
            ("PriorityInUse: 7", false),
        ] {
            let code = name.split(':').next().unwrap();
            let error = told(
                "elbv2:Any",
                Effect::Write,
                meaning(code, Some(400)),
                name.into(),
                None,
            );
            assert_eq!(is_gone(&error), want, "{name}");
        }
    }
}
