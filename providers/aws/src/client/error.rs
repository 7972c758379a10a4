//! Errors of the SDKs in, provider errors out: code, blame and when to try again, with AWS's own words.

use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use portcullis_model::{Code, ProviderError, Retry};

use super::Effect;
use super::meanings::{self, Meaning};

/// What a failed call means.
pub(super) fn read<E>(call: &'static str, effect: Effect, error: &SdkError<E, HttpResponse>) -> ProviderError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let whole = chain(error);
    match error {
        SdkError::ServiceError(service) => {
            let response = service.raw();
            let status = response.status().as_u16();
            let (name, text) = (service.err().code(), service.err().message());
            let message = match (name, text) {
                (Some(name), Some(text)) => format!("{name}: {text}"),
                (Some(name), None) => name.to_owned(),
                (None, _) => format!("HTTP {status}: {}", beginning(response)),
            };
            let name = name.unwrap_or_default();
            let meaning = meanings::known(service_of(call), name);
            let (meaning, message) = match meaning.unwrap_or_else(|| meanings::guessed(name, Some(status))) {
                // By the id, AWS Support finds out more. What is known is told without: each time it would be another,
                // and told anew.
                guess if meaning.is_none() && !matches!(guess, Meaning::Internal | Meaning::Throttled) => {
                    (guess, format!("{message}{}", request_id(response)))
                }
                meaning => (meaning, message),
            };
            let delay = response
                .headers()
                .get("retry-after")
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs);
            told(call, effect, meaning, message, delay)
        }
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => lost(call, effect, whole),
        // Not a failure of the connection: the credentials could not be had, and nothing was sent.
        SdkError::DispatchFailure(failure) if failure.is_other() && failure.as_other().is_none() => {
            told(call, effect, meanings::of_credentials(&whole), whole, None)
        }
        SdkError::DispatchFailure(_) => lost(call, effect, whole),
        // The request could not even be written.
        SdkError::ConstructionFailure(_) | _ => told(call, effect, Meaning::Refused, whole, None),
    }
}

/// `elbv2` of `elbv2:CreateRule`.
fn service_of(call: &str) -> &str {
    call.split_once(':').map_or(call, |(service, _)| service)
}

/// How AWS calls this request, in brackets.
fn request_id(response: &HttpResponse) -> String {
    let headers = response.headers();
    let id = headers
        .get("x-amzn-requestid")
        .or_else(|| headers.get("x-amz-request-id"));
    id.map(|id| format!(" (request {id})")).unwrap_or_default()
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

/// Our own limits put the call off. A read is part of a look, which is nothing without it; a write is one of many.
pub(super) fn postponed(call: &'static str, effect: Effect, wait: Duration) -> ProviderError {
    ProviderError {
        code: Code::Throttled,
        call,
        message: format!(
            "not sent: its turn is {} s off by our own limits, half of what AWS allows (--aws-api-throttle)",
            wait.as_secs_f64().ceil()
        ),
        retry: match effect {
            Effect::Read => Retry::After(wait),
            Effect::Write => Retry::Later(wait),
        },
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
    let (code, retry) = meaning.consequence(effect);
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
    name.ends_with("NotFound") || name.ends_with("NotFoundException")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(call: &str, name: &str, status: u16) -> Meaning {
        meanings::known(service_of(call), name).unwrap_or_else(|| meanings::guessed(name, Some(status)))
    }

    #[test]
    fn an_error_has_a_code_and_a_time_to_try_again() {
        for (call, name, status, effect, code, retry) in [
            (
                "elbv2:Any",
                "Throttling",
                400,
                Effect::Write,
                Code::Throttled,
                Retry::Backoff,
            ),
            (
                "ec2:Any",
                "RequestLimitExceeded",
                503,
                Effect::Read,
                Code::Throttled,
                Retry::Backoff,
            ),
            (
                "elbv2:Any",
                "",
                429,
                Effect::Read,
                Code::Throttled,
                Retry::Backoff,
            ),
            (
                "elbv2:Any",
                "AccessDenied",
                403,
                Effect::Read,
                Code::AccessDenied,
                Retry::Backoff,
            ),
            (
                "ec2:Any",
                "UnauthorizedOperation",
                403,
                Effect::Write,
                Code::AccessDenied,
                Retry::Backoff,
            ),
            (
                "elbv2:Any",
                "TooManyRules",
                400,
                Effect::Write,
                Code::QuotaExceeded,
                Retry::Later(meanings::OPERATOR_DELAY),
            ),
            (
                "ec2:Any",
                "RulesPerSecurityGroupLimitExceeded",
                400,
                Effect::Write,
                Code::QuotaExceeded,
                Retry::Later(meanings::OPERATOR_DELAY),
            ),
            (
                "elbv2:Any",
                "DuplicateLoadBalancerName",
                400,
                Effect::Write,
                Code::NotOurs,
                Retry::Observe,
            ),
            (
                "ec2:Any",
                "InvalidGroup.Duplicate",
                400,
                Effect::Write,
                Code::NotOurs,
                Retry::Observe,
            ),
            (
                "elbv2:Any",
                "RuleNotFound",
                400,
                Effect::Write,
                Code::ConflictingChange,
                Retry::Observe,
            ),
            (
                "ec2:Any",
                "InvalidGroup.NotFound",
                400,
                Effect::Write,
                Code::ConflictingChange,
                Retry::Observe,
            ),
            (
                "elbv2:Any",
                "PriorityInUse",
                400,
                Effect::Write,
                Code::ConflictingChange,
                Retry::Observe,
            ),
            (
                "ec2:Any",
                "DependencyViolation",
                400,
                Effect::Write,
                Code::ConflictingChange,
                Retry::Backoff,
            ),
            (
                "elbv2:Any",
                "InternalFailure",
                500,
                Effect::Read,
                Code::Unavailable,
                Retry::Backoff,
            ),
            (
                "elbv2:Any",
                "InternalFailure",
                500,
                Effect::Write,
                Code::Unavailable,
                Retry::Observe,
            ),
            (
                "elbv2:Any",
                "",
                502,
                Effect::Read,
                Code::Unavailable,
                Retry::Backoff,
            ),
            (
                "elbv2:Any",
                "ValidationError",
                400,
                Effect::Write,
                Code::RequestRefused,
                Retry::Never,
            ),
            (
                "ec2:Any",
                "InvalidParameterValue",
                400,
                Effect::Write,
                Code::RequestRefused,
                Retry::Never,
            ),
            (
                "elbv2:Any",
                "NeverHeardOf",
                400,
                Effect::Write,
                Code::RequestRefused,
                Retry::Backoff,
            ),
            (
                "elbv2:Any",
                "SSLPolicyNotFound",
                400,
                Effect::Write,
                Code::OptionUnsupported,
                Retry::Never,
            ),
            (
                "elbv2:Any",
                "InvalidSubnet",
                400,
                Effect::Write,
                Code::SubnetFull,
                Retry::Later(meanings::OPERATOR_DELAY),
            ),
            (
                "elbv2:Any",
                "InsufficientCapacity",
                500,
                Effect::Write,
                Code::CapacityUnavailable,
                Retry::Later(meanings::OPERATOR_DELAY),
            ),
        ] {
            let error = told(call, effect, meaning(call, name, status), name.into(), None);
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
        for (call, name, want) in [
            ("elbv2:Any", "RuleNotFound: One or more rules not found", true),
            ("ec2:Any", "InvalidGroup.NotFound: sg-1", true),
            ("elbv2:Any", "CertificateNotFound: One or more", true),
            ("elbv2:Any", "PriorityInUse: 7", false),
        ] {
            let code = name.split(':').next().unwrap();
            let error = told(call, Effect::Write, meaning(call, code, 400), name.into(), None);
            assert_eq!(is_gone(&error), want, "{name}");
        }
    }
}
