//! Listeners of the model in, the API's listeners out; those that AWS could not serve are left out and told.

use std::collections::BTreeMap;

use portcullis_model::{
    Certificate, CertificateSource, Code, Listener, Problem, Protocol, Semantics, TLS_POLICIES_AS_OF, Tls,
    is_tls_policy,
};

use super::actions::{self, DesiredAction};
use super::certificates::Imports;
use super::protection::{self, Unprotected};
use super::{Context, backend_of, certificates, with_tags};
use crate::limits;
use crate::resource::{CertificateArn, CertificateRef, ListenerProtocol, ListenerSpec, Pairs, Ref, kind};

/// The policy of the incumbent's flag `--default-ssl-policy`.
const INCUMBENT_POLICY: &str = "ELBSecurityPolicy-2016-08";
/// TLS 1.2 and 1.3. Source: ELBv2, "Security policies for your Application Load Balancer", the recommended one.
const OWN_POLICY: &str = "ELBSecurityPolicy-TLS13-1-2-2021-06";

pub(super) type DesiredListenerSpec = ListenerSpec<Ref<kind::TargetGroup>>;

/// By port.
pub(super) fn compile(
    context: &Context<'_>,
    unprotected: &mut Unprotected,
    imports: &mut Imports,
    problems: &mut Vec<Problem>,
) -> BTreeMap<u16, DesiredListenerSpec> {
    let mut out = BTreeMap::new();
    let mut verifying = 0;
    let exists = |listener: &Listener| {
        let state = context.existing();
        state.is_some_and(|state| state.listeners.contains_key(&listener.port.get()))
    };
    let (had, new): (Vec<_>, Vec<_>) = context.balancer.listeners.values().partition(|l| exists(l));
    for listener in had.into_iter().chain(new) {
        let most = context.account.quotas.listeners;
        if out.len() == most {
            let message = format!(
                "a load balancer has at most {most} listeners; {} did not fit",
                listener.port
            );
            problems.push(Problem::new(
                Code::LimitExceeded,
                listener.origin.clone(),
                message,
            ));
            continue;
        }
        let (protocol, ssl_policy, certificates, mutual_authentication) = match &listener.protocol {
            Protocol::Http => (ListenerProtocol::Http, None, Vec::new(), None),
            Protocol::Https(tls) => {
                let Some((policy, certificates)) = self::tls(context, listener, imports, problems) else {
                    continue;
                };
                let clients = tls.clients.as_ref();
                let clients =
                    protection::clients(context, listener, clients, &mut verifying, unprotected, problems);
                (ListenerProtocol::Https, Some(policy), certificates, clients)
            }
        };
        let port = listener.port.get();
        out.insert(
            port,
            ListenerSpec {
                port,
                protocol,
                default_actions: match unprotected.closes(context, port, &listener.origin, None) {
                    true => vec![actions::unavailable(Code::ResourceNotFound.as_str())],
                    false => default_actions(context, listener, protocol, problems),
                },
                ssl_policy,
                mutual_authentication,
                certificates,
                tags: with_tags(context, &port.to_string(), &context.balancer.options.tags),
            },
        );
    }
    within_certificates(context, &mut out, problems);
    out
}

/// The attributes that are asked for; those whose names AWS refuses would take the others with them.
pub(super) fn attributes(context: &Context<'_>, port: u16, problems: &mut Vec<Problem>) -> Pairs {
    let options = &context.balancer.options;
    let of_port = options
        .listener_attributes
        .iter()
        .filter(|(own, _)| own.get() == port);
    let mut out = Pairs::default();
    for (key, value) in of_port.flat_map(|(_, attributes)| attributes) {
        if limits::is_attribute_name(key) {
            out.0.insert(key.clone(), value.clone());
        } else {
            let message = format!("AWS has no listener attribute named {key:?}");
            problems.push(Problem::new(
                Code::OptionUnsupported,
                options.origin.clone(),
                message,
            ));
        }
    }
    out
}

/// As many certificates besides the default ones as the load balancer has room for: those that serve already first,
/// then in order. The others are told.
fn within_certificates(
    context: &Context<'_>,
    listeners: &mut BTreeMap<u16, DesiredListenerSpec>,
    problems: &mut Vec<Problem>,
) {
    let most = context.account.quotas.certificates;
    let attached = |port: u16, arn: &CertificateArn| {
        let listener = context.listener(port);
        listener.is_some_and(|state| {
            state
                .spec
                .certificates
                .iter()
                .any(|had| had.certificate_arn == *arn)
        })
    };
    let mut extras: Vec<(bool, u16, CertificateArn)> = Vec::new();
    for (port, spec) in &*listeners {
        for CertificateRef { certificate_arn } in spec.certificates.iter().skip(1) {
            let new = !attached(*port, certificate_arn);
            extras.push((new, *port, certificate_arn.clone()));
        }
    }
    if extras.len() <= most {
        return;
    }
    extras.sort_by_key(|(new, port, _)| (*new, *port));
    let mut refused: BTreeMap<u16, Vec<CertificateArn>> = BTreeMap::new();
    for (_, port, arn) in extras.drain(most..) {
        refused.entry(port).or_default().push(arn);
    }
    for (port, arns) in refused {
        let all = context.balancer.listeners.values();
        let (Some(listener), Some(spec)) = (
            all.into_iter().find(|l| l.port.get() == port),
            listeners.get_mut(&port),
        ) else {
            continue;
        };
        let names: Vec<&str> = arns.iter().map(CertificateArn::as_str).collect();
        let message = format!(
            "a load balancer has at most {most} certificates besides the default ones; of listener {port} did not fit: {}",
            names.join(", ")
        );
        problems.push(Problem::new(
            Code::LimitExceeded,
            listener.origin.clone(),
            message,
        ));
        let mut place = 0;
        spec.certificates.retain(|had| {
            place += 1;
            place == 1 || !arns.contains(&had.certificate_arn)
        });
    }
}

/// Policy and certificates; none where the listener cannot be served over TLS as it was asked for.
fn tls(
    context: &Context<'_>,
    listener: &Listener,
    imports: &mut Imports,
    problems: &mut Vec<Problem>,
) -> Option<(String, Vec<CertificateRef>)> {
    let Protocol::Https(tls) = &listener.protocol else {
        return None;
    };
    let mut arns = certificates::resolve(context, &tls.certificates, imports, problems);
    let imports = |wanted: &Certificate| matches!(wanted.source, CertificateSource::Stored(_));
    let unread = context.observed.certificates_unread.is_some() && tls.certificates.iter().any(imports);
    let existing = context.listener(listener.port.get());
    let had = existing.into_iter().flat_map(|state| &state.spec.certificates);
    let mut had = had.map(|had| had.certificate_arn.clone());
    if arns.is_empty() || unread {
        // One that serves already goes on with what it has: taking it away would be the greater harm. So it does with
        // all of it where nobody knows which of it is imported.
        let more: Vec<CertificateArn> = had.filter(|arn| !arns.contains(arn)).collect();
        arns = [more, arns].concat();
    } else if lacks_default(tls, &arns)
        && let Some(default) = had.next()
    {
        // Clients that name no host go on seeing what they saw.
        arns.retain(|arn| *arn != default);
        arns.insert(0, default);
    }
    if arns.is_empty() {
        return None;
    }
    let policy = policy(context, listener, tls, problems)?;
    let certificates = arns
        .into_iter()
        .map(|certificate_arn| CertificateRef { certificate_arn })
        .collect();
    Some((policy, certificates))
}

/// Whether the certificate that was named to be the default one cannot be had.
fn lacks_default(tls: &Tls, found: &[CertificateArn]) -> bool {
    let first = tls.certificates.first().map(|wanted| &wanted.source);
    matches!(first, Some(CertificateSource::Given(arn)) if found.iter().all(|found| found.as_str() != &**arn))
}

/// The policy asked for; where AWS has none of that form the one in use, or none, never a weaker one.
fn policy(
    context: &Context<'_>,
    listener: &Listener,
    tls: &Tls,
    problems: &mut Vec<Problem>,
) -> Option<String> {
    let wanted = tls.policy.clone().or_else(|| context.settings.tls_policy.clone());
    let wanted = wanted.unwrap_or_else(|| {
        match context.balancer.semantics {
            Semantics::Kubernetes => OWN_POLICY,
            Semantics::AwsLoadBalancerController => INCUMBENT_POLICY,
        }
        .to_owned()
    });
    if is_tls_policy(&wanted) {
        return Some(wanted);
    }
    let is_of_their_form = wanted.starts_with("ELBSecurityPolicy-");
    let message = match is_of_their_form {
        // AWS says so itself, if it has none of that name.
        true => format!(
            "TLS policy {wanted} is none that AWS had in {TLS_POLICIES_AS_OF}; it is asked for all the same"
        ),
        false => format!("AWS has no TLS policy {wanted:?}; they start with ELBSecurityPolicy-"),
    };
    let said = context.balancer.options.policies_at.get(&listener.port);
    let at = said.unwrap_or(&listener.origin).clone();
    problems.push(Problem::new(Code::OptionUnsupported, at, message));
    if is_of_their_form {
        return Some(wanted);
    }
    context
        .existing()?
        .listeners
        .get(&listener.port.get())?
        .spec
        .ssl_policy
        .clone()
}

fn default_actions(
    context: &Context<'_>,
    listener: &Listener,
    protocol: ListenerProtocol,
    problems: &mut Vec<Problem>,
) -> Vec<DesiredAction> {
    let usable = |id: &_| backend_of(context, id);
    let mut left_out = Vec::new();
    let step = listener.authenticate.as_ref();
    let guarded = actions::guarded(&listener.default_action, step, protocol, &usable, &mut left_out);
    let actions = match guarded {
        Ok((step, action)) => step.into_iter().chain([action]).collect(),
        Err(refusal) => {
            let action = actions::unavailable(refusal.code.as_str());
            left_out.push(refusal);
            vec![action]
        }
    };
    problems.extend(left_out.into_iter().map(|refusal| refusal.told(&listener.origin)));
    actions
}
