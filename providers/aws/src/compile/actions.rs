//! The action of a rule or listener in, the API's actions and transforms out, or why AWS cannot carry them out.

use portcullis_model::redirect::RedirectScheme;
use portcullis_model::{
    Action, Authenticate, BackendId, Code, FixedResponse, Forward, Redirect, RedirectStatus, Rewrite,
    RewritePart, Semantics, Template,
};

use super::auth;
use super::conditions::Refusal;
use super::terms::anchored;
use crate::limits;
use crate::resource::{
    FixedResponseConfig, ForwardConfig, ListenerProtocol, RedirectConfig, RedirectStatusCode, Ref,
    RewriteConfig, RewriteList, RuleAction, RuleTransform, TargetGroupStickiness, TargetGroupTuple, kind,
};

pub(super) type DesiredAction = RuleAction<Ref<kind::TargetGroup>>;

fn unsupported(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::ActionUnsupported, message)
}

/// What answers on a listener of this protocol. `usable` says why a backend cannot be forwarded to, if it cannot; where
/// others can, it is left out and that is told in `left_out`.
fn action(
    action: &Action,
    protocol: ListenerProtocol,
    usable: &impl Fn(&BackendId) -> Result<Ref<kind::TargetGroup>, Refusal>,
    left_out: &mut Vec<Refusal>,
) -> Result<DesiredAction, Refusal> {
    match action {
        Action::Forward(forward) => self::forward(forward, usable, left_out),
        Action::Redirect(redirect) => self::redirect(redirect, protocol),
        Action::Fixed(fixed) => self::fixed(fixed),
    }
}

/// The same with who may pass before it: users are asked on HTTPS listeners only. Source: ELBv2 API, Action.Type.
pub(super) fn guarded(
    action: &Action,
    authenticate: Option<&Authenticate>,
    protocol: ListenerProtocol,
    usable: &impl Fn(&BackendId) -> Result<Ref<kind::TargetGroup>, Refusal>,
    left_out: &mut Vec<Refusal>,
) -> Result<(Option<DesiredAction>, DesiredAction), Refusal> {
    let step = match (authenticate, protocol) {
        (Some(step), ListenerProtocol::Https) => Some(auth::step(step).map_err(|refusal| Refusal {
            at: Some(step.origin().clone()),
            ..refusal
        })?),
        (Some(_), ListenerProtocol::Http | ListenerProtocol::Tcp) | (None, _) => None,
    };
    Ok((step, self::action(action, protocol, usable, left_out)?))
}

/// What answers where the wanted action cannot: 503 at exactly its place, never a less specific rule.
pub(crate) fn unavailable<T>(why: &str) -> RuleAction<T> {
    let body: String = why.chars().take(limits::BODY_LENGTH).collect();
    RuleAction::FixedResponse {
        config: FixedResponseConfig {
            status_code: "503".into(),
            content_type: Some("text/plain".into()),
            message_body: Some(body),
        },
    }
}

fn forward(
    forward: &Forward,
    usable: &impl Fn(&BackendId) -> Result<Ref<kind::TargetGroup>, Refusal>,
    left_out: &mut Vec<Refusal>,
) -> Result<DesiredAction, Refusal> {
    // The API refuses a target group that is named twice.
    let mut shares: Vec<(Ref<kind::TargetGroup>, u16)> = Vec::new();
    let mut refusals = Vec::new();
    for part in &forward.backends {
        let weight = part.weight.get();
        match usable(&part.backend) {
            Ok(group) => match shares.iter_mut().find(|(had, _)| *had == group) {
                Some((_, had)) => *had += weight,
                None => shares.push((group, weight)),
            },
            Err(refusal) => refusals.push(refusal),
        }
    }
    if let Some((_, sum)) = shares.iter().find(|(_, sum)| *sum > limits::WEIGHT) {
        let message = format!(
            "the shares of one target group add up to {sum}, more than {}",
            limits::WEIGHT
        );
        return Err(Refusal::new(Code::LimitExceeded, message));
    }
    let nobody = shares.iter().all(|(_, weight)| *weight == 0);
    if nobody && let Some(refusal) = refusals.pop() {
        // What is left has no share of the requests, and must not get all of them.
        left_out.extend(refusals);
        return Err(refusal);
    }
    left_out.extend(refusals);
    if shares.len() > limits::TARGET_GROUPS_PER_FORWARD {
        let message = format!(
            "AWS forwards to at most {} target groups, and the action names {}",
            limits::TARGET_GROUPS_PER_FORWARD,
            shares.len()
        );
        return Err(Refusal::new(Code::LimitExceeded, message));
    }
    let alone = shares.len() == 1;
    let target_groups = shares
        .into_iter()
        .map(|(target_group_arn, weight)| TargetGroupTuple {
            target_group_arn,
            weight: (!alone).then_some(weight),
        })
        .collect();
    let stickiness = forward.stickiness.map(|sticky| TargetGroupStickiness {
        enabled: true,
        duration_seconds: sticky.seconds,
    });
    Ok(RuleAction::Forward {
        config: ForwardConfig {
            target_groups,
            stickiness,
        },
    })
}

fn redirect(redirect: &Redirect, protocol: ListenerProtocol) -> Result<DesiredAction, Refusal> {
    let status_code = match redirect.status {
        RedirectStatus::MovedPermanently => RedirectStatusCode::MovedPermanently,
        RedirectStatus::Found => RedirectStatusCode::Found,
        RedirectStatus::SeeOther | RedirectStatus::TemporaryRedirect | RedirectStatus::PermanentRedirect => {
            let code = redirect.status.code();
            return Err(unsupported(format!(
                "AWS redirects with 301 or 302, not with {code}"
            )));
        }
    };
    let to = match (redirect.scheme, protocol) {
        (Some(RedirectScheme::Http), ListenerProtocol::Https) => {
            return Err(unsupported("AWS does not redirect from HTTPS to HTTP"));
        }
        (Some(RedirectScheme::Http), ListenerProtocol::Http | ListenerProtocol::Tcp) => {
            Some("HTTP".to_owned())
        }
        (Some(RedirectScheme::Https), _) => Some("HTTPS".to_owned()),
        (None, _) => None,
    };
    let part = |template: &Option<Template>, own: &str| match template {
        Some(t) if t.as_str() == own => Ok(None),
        Some(t) if t.as_str().chars().count() > limits::REDIRECT_PART_LENGTH => {
            let message = format!(
                "AWS redirects to parts of at most {} characters, not {t}",
                limits::REDIRECT_PART_LENGTH
            );
            Err(Refusal::new(Code::LimitExceeded, message))
        }
        Some(t) => Ok(Some(t.as_str().to_owned())),
        None => Ok(None),
    };
    let config = RedirectConfig {
        protocol: to,
        host: part(&redirect.host, "#{host}")?,
        port: redirect.port.map(|port| port.to_string()),
        path: part(&redirect.path, "/#{path}")?,
        query: part(&redirect.query, "#{query}")?,
        status_code,
    };
    // ELBv2 API, RedirectActionConfig: at least one of these must differ, or the redirect leads to itself.
    if config.protocol.is_none() && config.host.is_none() && config.port.is_none() && config.path.is_none() {
        return Err(unsupported(
            "the redirect leads to itself: it changes neither protocol, host, port nor path",
        ));
    }
    Ok(RuleAction::Redirect { config })
}

fn fixed(fixed: &FixedResponse) -> Result<DesiredAction, Refusal> {
    let status = fixed.status();
    if (300..400).contains(&status) {
        return Err(unsupported(format!(
            "AWS answers by itself with 2xx, 4xx or 5xx, not with {status}"
        )));
    }
    if let Some(kind) = &fixed.content_type
        && !limits::CONTENT_TYPES.contains(&kind.as_str())
    {
        let known = limits::CONTENT_TYPES.join(", ");
        return Err(unsupported(format!(
            "AWS answers by itself as {known}, not as {kind}"
        )));
    }
    if fixed
        .body
        .as_ref()
        .is_some_and(|body| body.chars().count() > limits::BODY_LENGTH)
    {
        let message = format!(
            "AWS answers by itself with at most {} characters",
            limits::BODY_LENGTH
        );
        return Err(Refusal::new(Code::LimitExceeded, message));
    }
    let config = FixedResponseConfig {
        status_code: status.to_string(),
        content_type: fixed.content_type.clone(),
        message_body: fixed.body.clone().filter(|body| !body.is_empty()),
    };
    Ok(RuleAction::FixedResponse { config })
}

/// What is changed of a request before it is forwarded: at most one of each kind.
pub(super) fn transforms(rewrites: &[Rewrite], semantics: Semantics) -> Result<Vec<RuleTransform>, Refusal> {
    let mut out: Vec<RuleTransform> = Vec::new();
    for rewrite in rewrites {
        let regex = anchored(&rewrite.pattern, semantics);
        for text in [&regex, &rewrite.replacement] {
            if text.chars().count() > limits::REWRITE_LENGTH {
                let message = format!(
                    "AWS rewrites with at most {} characters, not with {text:?}",
                    limits::REWRITE_LENGTH
                );
                return Err(Refusal::new(Code::LimitExceeded, message));
            }
        }
        let replace = rewrite.replacement.clone();
        let config = RewriteList {
            rewrites: vec![RewriteConfig { regex, replace }],
        };
        let transform = match rewrite.part {
            RewritePart::Host => RuleTransform::HostHeaderRewrite { config },
            RewritePart::Url => RuleTransform::UrlRewrite { config },
        };
        if out
            .iter()
            .any(|had| std::mem::discriminant(had) == std::mem::discriminant(&transform))
        {
            return Err(Refusal::new(
                Code::LimitExceeded,
                "AWS rewrites the host and the URL at most once each",
            ));
        }
        out.push(transform);
    }
    // Each changes a part of its own, so their order means nothing; this is the one they are read in.
    out.sort();
    Ok(out)
}
