//! What is to stand before a load balancer and the account in, its ARNs, or whose rules are not served without it, out.

use std::collections::BTreeMap;

use portcullis_model::{
    ClientCertificates, Clients, Code, Firewall, FirewallChoice, Listener, ObjectName, Origin, Problem,
    ProviderError, Semantics, TrustStore,
};

use super::Context;
use super::actions::DesiredAction;
use crate::account::{Fact, Late};
use crate::change::Call;
use crate::limits;
use crate::observed::{LoadBalancerState, Looked};
use crate::overlap::{Relation, relation};
use crate::plan::refused;
use crate::resource::{
    MutualAuthentication, MutualAuthenticationMode, Ref, RuleAction, RuleCondition, RuleSpec, TargetGroupArn,
    TrustStoreArn, WebAclArn,
};
use crate::settings::Switch;

/// Members that rely on what cannot be had: what is theirs answers 503.
#[derive(Debug, Default)]
pub(super) struct Unprotected {
    everywhere: BTreeMap<ObjectName, Closes>,
    at: BTreeMap<u16, BTreeMap<ObjectName, Closes>>,
}

/// How much of a member is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closes {
    All,
    /// What serves already goes on as it does.
    New,
}

impl Unprotected {
    /// What these add is closed; what serves already goes on.
    pub(super) fn close_new(&mut self, members: impl IntoIterator<Item = ObjectName>) {
        for member in members {
            self.everywhere.entry(member).or_insert(Closes::New);
        }
    }

    /// Whether what comes from there is kept from being served at this port: a rule with these conditions and this action,
    /// else what answers where no rule does.
    pub(super) fn closes(
        &self,
        context: &Context<'_>,
        port: u16,
        origin: &Origin,
        rule: Option<(&[RuleCondition], &DesiredAction)>,
    ) -> bool {
        let at = self.at.get(&port);
        let at = at.and_then(|at| at.get(&origin.object));
        let mut all = self.everywhere.get(&origin.object).into_iter().chain(at);
        all.any(|closes| match closes {
            Closes::All => true,
            Closes::New => !serves(context, port, rule),
        })
    }
}

/// Whether this is served as things are. That it was closed before does not open it.
fn serves(context: &Context<'_>, port: u16, rule: Option<(&[RuleCondition], &DesiredAction)>) -> bool {
    let Some(listener) = context.listener(port) else {
        return false;
    };
    let open = |actions: &[RuleAction<TargetGroupArn>]| {
        let mut all = actions.iter();
        !all.any(
            |action| matches!(action, RuleAction::FixedResponse { config } if config.status_code == "503"),
        )
    };
    let Some((conditions, action)) = rule else {
        return open(&listener.spec.default_actions);
    };
    // Rules are merged under our own semantics alone, and only with those that do the same: a wider one of a neighbour's
    // does not serve this.
    let merged = context.balancer.semantics == Semantics::Kubernetes;
    let takes = |had: &RuleSpec<TargetGroupArn>| match relation(&had.conditions, conditions) {
        Some(Relation::Same) => true,
        Some(Relation::Wider) => merged && leads_where(context, &had.actions, action),
        Some(Relation::Narrower) | None => false,
    };
    // The first that takes it answers.
    let first = listener.rules.iter().find(|rule| takes(&rule.spec));
    first.is_some_and(|rule| open(&rule.spec.actions))
}

/// Whether actions as they stand forward to each target group that this one is to forward to.
fn leads_where(context: &Context<'_>, had: &[RuleAction<TargetGroupArn>], wanted: &DesiredAction) -> bool {
    let uses = |arn: &TargetGroupArn| {
        let mut used = had.iter().flat_map(RuleAction::target_groups);
        used.any(|group| group == arn)
    };
    let mut groups = wanted.target_groups();
    groups.all(|group| match group {
        Ref::Known(arn) => uses(arn),
        Ref::Logical(id) => context.existing_target_groups(id).any(|state| uses(&state.arn)),
    })
}

/// The web ACL that is to be before a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesiredFirewall {
    /// Whatever is there.
    AsItIs,
    None,
    WebAcl(WebAclArn),
    /// There is to be one and it cannot be had: who relies on it is closed.
    Missing,
}

/// What a name stands for.
enum Found<'a, T> {
    Is(T),
    /// There is nothing of that name.
    Nothing,
    /// Nobody could look.
    Unknown(Option<&'a ProviderError>),
}

fn look<'a, F, T>(
    fact: &'a Late<F>,
    symbolic: impl FnOnce() -> T,
    find: impl FnOnce(&'a F) -> Option<T>,
) -> Found<'a, T> {
    match fact.get() {
        Some(Ok(Fact::Symbolic)) => Found::Is(symbolic()),
        Some(Ok(Fact::Read(known))) => find(known).map_or(Found::Nothing, Found::Is),
        Some(Err(error)) => Found::Unknown(Some(error)),
        None => Found::Unknown(None),
    }
}

fn told(error: Option<&ProviderError>, at: &Origin, what: &str) -> Problem {
    let (code, why) = match error {
        Some(error) => (error.code, error.words()),
        None => (Code::Unavailable, "it was not looked for yet".to_owned()),
    };
    Problem::new(code, at.clone(), format!("{what} could not be looked for: {why}"))
}

/// How much of those who rely on something is closed where AWS does not have it.
fn closes(context: &Context<'_>) -> Closes {
    match context.balancer.semantics {
        Semantics::Kubernetes => Closes::All,
        Semantics::AwsLoadBalancerController => Closes::New,
    }
}

/// What a listener asks of clients' certificates; absent for nothing. `verifying` counts the listeners that verify.
pub(super) fn clients(
    context: &Context<'_>,
    listener: &Listener,
    wanted: Option<&Clients>,
    verifying: &mut usize,
    unprotected: &mut Unprotected,
    problems: &mut Vec<Problem>,
) -> Option<MutualAuthentication> {
    let asked = asked(context, listener, wanted, verifying, unprotected, problems)?;
    let port = listener.port.get();
    let state = context.listener(port);
    let (Some(clients), Some(state)) = (wanted, state) else {
        return Some(asked);
    };
    let Some(error) = refused::clients(&context.observed.refused, state, &asked) else {
        return Some(asked);
    };
    let had = state.spec.mutual_authentication.clone();
    // Who was guarded until now still is, if not as was asked for.
    let (closes, what) = match had.as_ref().map_or(closes(context), |_| Closes::New) {
        Closes::All => (Closes::All, "what relies on it"),
        Closes::New => (Closes::New, "what relies on it and is not served yet"),
    };
    let message = format!(
        "clients are not asked for certificates so at port {port}, and {what} answers 503: {}",
        error.words()
    );
    for member in &clients.relied_on_by {
        let at = match clients.origin.kind {
            "ingress" => Origin::new("ingress", member.clone(), clients.origin.field.clone()),
            // Their class's parameters.
            _ => clients.origin.clone(),
        };
        problems.push(Problem::new(error.code, at, message.clone()));
    }
    let relying = clients.relied_on_by.iter();
    let relying = relying.map(|member| (member.clone(), closes));
    unprotected.at.entry(port).or_default().extend(relying);
    had
}

/// The same, whether or not AWS lets the listener do so.
fn asked(
    context: &Context<'_>,
    listener: &Listener,
    wanted: Option<&Clients>,
    verifying: &mut usize,
    unprotected: &mut Unprotected,
    problems: &mut Vec<Problem>,
) -> Option<MutualAuthentication> {
    let port = listener.port.get();
    let existing = context
        .listener(port)
        .map(|state| &state.spec.mutual_authentication);
    let Some(clients) = wanted else {
        // An annotation that goes, or whose name is misspelt, leaves what stands there, as the incumbent does.
        return existing.cloned().flatten();
    };
    let (trust_store, ignore_expiry, advertise) = match &clients.certificates {
        ClientCertificates::Off => return None,
        ClientCertificates::PassThrough => {
            return Some(MutualAuthentication {
                mode: MutualAuthenticationMode::PassThrough,
                trust_store_arn: None,
                ignore_client_certificate_expiry: None,
                advertise_trust_store_ca_names: None,
            });
        }
        ClientCertificates::Verify {
            trust_store,
            ignore_expiry,
            advertise_authorities,
        } => (trust_store, *ignore_expiry, *advertise_authorities),
    };
    let mut close = |certain: bool| {
        // What could not be looked for may well be what stands there.
        let may_stand = !certain && existing.is_some_and(Option::is_some);
        if !may_stand {
            let relying = clients.relied_on_by.iter();
            let relying = relying.map(|member| (member.clone(), closes(context)));
            unprotected.at.entry(port).or_default().extend(relying);
        }
        existing.cloned().flatten()
    };
    if *verifying == limits::VERIFYING_LISTENERS {
        let message = format!(
            "a load balancer has at most {} listeners that verify clients' certificates",
            limits::VERIFYING_LISTENERS
        );
        problems.push(Problem::new(Code::LimitExceeded, clients.origin.clone(), message));
        return close(true);
    }
    let trust_store = match trust_store {
        TrustStore::Given(name) => name,
        TrustStore::Stored(secret) => {
            let message = format!(
                "Secret {secret} is no trust store of AWS: create one with its certificates and name that"
            );
            let at = clients.origin.clone();
            problems.push(Problem::new(Code::OptionUnsupported, at, message));
            return close(true);
        }
    };
    let found = match limits::is_trust_store_arn(trust_store) {
        true => Found::Is(TrustStoreArn::new(trust_store.as_str())),
        false => look(
            &context.account.late.trust_stores,
            || TrustStoreArn::symbolic(trust_store),
            |known| known.get(trust_store).cloned(),
        ),
    };
    match found {
        Found::Is(arn) => {
            *verifying += 1;
            Some(MutualAuthentication {
                mode: MutualAuthenticationMode::Verify,
                trust_store_arn: Some(arn),
                ignore_client_certificate_expiry: Some(ignore_expiry),
                advertise_trust_store_ca_names: Some(if advertise { "on" } else { "off" }),
            })
        }
        Found::Nothing => {
            let message = format!("there is no trust store {trust_store:?}");
            problems.push(Problem::new(
                Code::ResourceNotFound,
                clients.origin.clone(),
                message,
            ));
            close(true)
        }
        Found::Unknown(error) => {
            let what = format!("trust store {trust_store:?}");
            problems.push(told(error, &clients.origin, &what));
            close(false)
        }
    }
}

/// The web ACL before the load balancer.
pub(super) fn firewall(
    context: &Context<'_>,
    unprotected: &mut Unprotected,
    problems: &mut Vec<Problem>,
) -> DesiredFirewall {
    let Some(wanted) = &context.balancer.options.firewall else {
        return DesiredFirewall::AsItIs;
    };
    if wanted.choice == FirewallChoice::Off && context.settings.wafv2 == Switch::On {
        return DesiredFirewall::None;
    }
    if context.settings.wafv2 == Switch::Off {
        let message = "AWS WAF is switched off (--enable-wafv2)".to_owned();
        problems.push(Problem::new(
            Code::OptionUnsupported,
            wanted.origin.clone(),
            message,
        ));
        return match wanted.choice {
            FirewallChoice::Off => DesiredFirewall::AsItIs,
            FirewallChoice::Given(_) | FirewallChoice::Named(_) => {
                missing(closes(context), wanted, unprotected)
            }
        };
    }
    let acls = &context.account.late.web_acls;
    let (found, shown) = match &wanted.choice {
        FirewallChoice::Off => return DesiredFirewall::None,
        FirewallChoice::Given(arn) => {
            let arn = WebAclArn::new(arn.as_str());
            let found = look(
                acls,
                || arn.clone(),
                |known| known.contains_key(&arn).then(|| arn.clone()),
            );
            (found, arn.to_string())
        }
        FirewallChoice::Named(name) => {
            let by_name = |known: &BTreeMap<WebAclArn, String>| {
                let mut named = known.iter().filter(|(_, own)| *own == name);
                named.next().map(|(arn, _)| arn.clone())
            };
            (
                look(acls, || WebAclArn::symbolic(name), by_name),
                format!("{name:?}"),
            )
        }
    };
    let stands = context
        .existing()
        .is_some_and(|state| state.web_acl.at().is_some_and(Option::is_some));
    match found {
        Found::Is(arn) => {
            let state = context.existing();
            if let Some(error) = state.and_then(|state| not_put(context, state, &arn)) {
                let message = format!(
                    "web ACL {shown} was not put before the load balancer, so what relies on it and is not served yet \
                     answers 503: {}",
                    error.words()
                );
                problems.push(Problem::new(error.code, wanted.origin.clone(), message));
                return missing(Closes::New, wanted, unprotected);
            }
            if state.is_some_and(|state| matches!(state.web_acl, Looked::Failed(_))) {
                return missing(Closes::New, wanted, unprotected);
            }
            if is_passed_by(context, &arn) {
                rely(Closes::New, wanted, unprotected);
            }
            DesiredFirewall::WebAcl(arn)
        }
        Found::Nothing => {
            let message = format!("AWS WAF has no web ACL {shown} in this Region");
            problems.push(Problem::new(
                Code::ResourceNotFound,
                wanted.origin.clone(),
                message,
            ));
            match stands {
                // A slip takes no protection away.
                true => DesiredFirewall::AsItIs,
                false => missing(closes(context), wanted, unprotected),
            }
        }
        Found::Unknown(error) => {
            problems.push(told(error, &wanted.origin, &format!("web ACL {shown}")));
            match stands {
                true => DesiredFirewall::AsItIs,
                // It may well stand there already.
                false => missing(Closes::New, wanted, unprotected),
            }
        }
    }
}

fn missing(closes: Closes, wanted: &Firewall, unprotected: &mut Unprotected) -> DesiredFirewall {
    rely(closes, wanted, unprotected);
    DesiredFirewall::Missing
}

fn rely(closes: Closes, wanted: &Firewall, unprotected: &mut Unprotected) {
    let relying = wanted.relied_on_by.iter();
    unprotected
        .everywhere
        .extend(relying.map(|member| (member.clone(), closes)));
}

/// Why this web ACL was not put before the load balancer, where that was tried in this pass. Others of its group must not
/// wait for that; nor is anybody served past it.
fn not_put<'a>(
    context: &Context<'a>,
    state: &LoadBalancerState,
    wanted: &WebAclArn,
) -> Option<&'a ProviderError> {
    let mut refused = context.observed.refused.iter();
    let one = refused.find(|one| {
        let this = matches!(&one.change.call, Call::AssociateWebAcl { load_balancer, web_acl }
            if *load_balancer == state.arn && web_acl == wanted);
        // Else the load balancer is somebody else's: nothing is made there.
        this && one.error.code != Code::NotOurs
    });
    one.map(|one| &one.error)
}

/// Whether the load balancer listens, and this web ACL does not stand before it yet.
fn is_passed_by(context: &Context<'_>, wanted: &WebAclArn) -> bool {
    let existing = context.existing().filter(|state| !state.listeners.is_empty());
    existing.is_some_and(|state| state.web_acl.at().is_none_or(|had| had.as_ref() != Some(wanted)))
}

/// Whether AWS Shield Advanced is to protect the load balancer; absent where that is left as it is.
pub(super) fn protected(context: &Context<'_>, problems: &mut Vec<Problem>) -> Option<bool> {
    let options = &context.balancer.options;
    let wanted = options.attack_protection?;
    let mut refuse = |message: &str| {
        problems.push(Problem::new(
            Code::OptionUnsupported,
            options.said_at("shield-advanced-protection").clone(),
            message,
        ));
    };
    if context.settings.shield == Switch::Off {
        refuse("AWS Shield Advanced is switched off (--enable-shield)");
        return None;
    }
    if !wanted {
        return Some(false);
    }
    let active = |known: &bool| Some(*known);
    match look(&context.account.late.shield, || true, active) {
        Found::Is(true) => Some(true),
        Found::Is(false) | Found::Nothing => {
            refuse("AWS Shield Advanced needs an active subscription of the account");
            None
        }
        Found::Unknown(error) => {
            problems.push(told(
                error,
                options.said_at("shield-advanced-protection"),
                "the subscription to AWS Shield Advanced",
            ));
            None
        }
    }
}
