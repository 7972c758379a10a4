//! What is to stand before a load balancer and the account in, its ARNs, or whose rules are not served without it, out.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::{
    ClientCertificates, Clients, Code, Firewall, FirewallChoice, Listener, ObjectName, Origin, Problem,
    ProviderError, Semantics, TrustStore,
};

use super::Context;
use crate::account::{Fact, Late};
use crate::limits;
use crate::resource::{MutualAuthentication, MutualAuthenticationMode, TrustStoreArn, WebAclArn};
use crate::settings::Switch;

/// Members that rely on what cannot be had: what is theirs answers 503.
#[derive(Debug, Default)]
pub(super) struct Unprotected {
    everywhere: BTreeSet<ObjectName>,
    at: BTreeMap<u16, BTreeSet<ObjectName>>,
}

impl Unprotected {
    /// Whether what comes from there may be served at this port.
    pub(super) fn closes(&self, port: u16, origin: &Origin) -> bool {
        let at = self.at.get(&port);
        self.everywhere.contains(&origin.object) || at.is_some_and(|at| at.contains(&origin.object))
    }
}

/// The web ACL that is to be before a load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DesiredFirewall {
    /// Whatever is there.
    AsItIs,
    None,
    WebAcl(WebAclArn),
    /// There is to be one and it cannot be had: nothing new is opened.
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

/// Whether members are kept from being served without what they rely on. Where the incumbent's meaning is kept, what
/// serves already goes on as it does, and is told.
fn closes(context: &Context<'_>, exists: bool) -> bool {
    context.balancer.semantics == Semantics::Kubernetes || !exists
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
    let port = listener.port.get();
    let existing = context
        .existing()
        .and_then(|state| state.listeners.get(&port))
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
        if !may_stand && closes(context, existing.is_some()) {
            let relying = clients.relied_on_by.iter().cloned();
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
            FirewallChoice::Given(_) | FirewallChoice::Named(_) => missing(context, wanted, unprotected),
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
        Found::Is(arn) => DesiredFirewall::WebAcl(arn),
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
                false => missing(context, wanted, unprotected),
            }
        }
        Found::Unknown(error) => {
            problems.push(told(error, &wanted.origin, &format!("web ACL {shown}")));
            match context
                .existing()
                .is_some_and(|state| !state.listeners.is_empty())
            {
                // It may well stand there already.
                true => DesiredFirewall::AsItIs,
                false => DesiredFirewall::Missing,
            }
        }
    }
}

fn missing(context: &Context<'_>, wanted: &Firewall, unprotected: &mut Unprotected) -> DesiredFirewall {
    let serves = context
        .existing()
        .is_some_and(|state| !state.listeners.is_empty());
    if closes(context, serves) {
        unprotected.everywhere.extend(wanted.relied_on_by.clone());
    }
    DesiredFirewall::Missing
}

/// Whether AWS Shield Advanced is to protect the load balancer; absent where that is left as it is.
pub(super) fn protected(context: &Context<'_>, problems: &mut Vec<Problem>) -> Option<bool> {
    let options = &context.balancer.options;
    let wanted = options.attack_protection?;
    let mut refuse = |message: &str| {
        problems.push(Problem::new(
            Code::OptionUnsupported,
            options.origin.clone(),
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
                &options.origin,
                "the subscription to AWS Shield Advanced",
            ));
            None
        }
    }
}
