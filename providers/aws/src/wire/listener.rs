//! `DescribeListeners`, `DescribeListenerCertificates` and `DescribeRules` in, what exists out.

use aws_sdk_elasticloadbalancingv2::types::{
    AdvertiseTrustStoreCaNamesEnum, Certificate, Listener, MutualAuthenticationAttributes, Rule,
};

use super::{actions_from, conditions_from, transforms_from};
use crate::observed::{ListenerState, Looked, RuleState};
use crate::resource::{
    CertificateArn, CertificateRef, ListenerArn, ListenerProtocol, ListenerSpec, MutualAuthentication,
    MutualAuthenticationMode, Pairs, RuleArn, RuleSpec, TrustStoreArn,
};

fn protocol_from(text: &str) -> Option<ListenerProtocol> {
    [
        ListenerProtocol::Http,
        ListenerProtocol::Https,
        ListenerProtocol::Tcp,
    ]
    .into_iter()
    .find(|known| known.as_str() == text)
}

/// A listener without rules, tags and further certificates; else the field that is not understood.
pub(crate) fn listener_from(sdk: Listener) -> Result<ListenerState, &'static str> {
    let protocol = sdk
        .protocol
        .as_ref()
        .and_then(|protocol| protocol_from(protocol.as_str()));
    let port = sdk.port.and_then(|port| u16::try_from(port).ok());
    Ok(ListenerState {
        arn: ListenerArn::new(sdk.listener_arn.ok_or("ListenerArn")?),
        spec: ListenerSpec {
            port: port.ok_or("Port")?,
            protocol: protocol.ok_or("Protocol")?,
            default_actions: actions_from(sdk.default_actions),
            ssl_policy: sdk.ssl_policy.filter(|policy| !policy.is_empty()),
            mutual_authentication: match sdk.mutual_authentication {
                Some(asked) => mutual_authentication_from(asked)?,
                None => None,
            },
            certificates: references(sdk.certificates.unwrap_or_default()),
            tags: Pairs::default(),
        },
        attributes: Looked::Never,
        rules: Vec::new(),
    })
}

/// None where it is off.
fn mutual_authentication_from(
    sdk: MutualAuthenticationAttributes,
) -> Result<Option<MutualAuthentication>, &'static str> {
    let mode = match sdk.mode.as_deref() {
        None | Some("off") => return Ok(None),
        Some("passthrough") => MutualAuthenticationMode::PassThrough,
        Some("verify") => MutualAuthenticationMode::Verify,
        Some(_) => return Err("MutualAuthentication"),
    };
    let verifies = mode == MutualAuthenticationMode::Verify;
    let advertised = match sdk.advertise_trust_store_ca_names {
        Some(AdvertiseTrustStoreCaNamesEnum::On) => "on",
        Some(_) | None => "off",
    };
    Ok(Some(MutualAuthentication {
        mode,
        trust_store_arn: sdk.trust_store_arn.filter(|_| verifies).map(TrustStoreArn::new),
        ignore_client_certificate_expiry: verifies
            .then(|| sdk.ignore_client_certificate_expiry.unwrap_or_default()),
        advertise_trust_store_ca_names: verifies.then_some(advertised),
    }))
}

pub(crate) fn mutual_authentication_to(asked: &MutualAuthentication) -> MutualAuthenticationAttributes {
    MutualAuthenticationAttributes::builder()
        .mode(asked.mode.as_str())
        .set_trust_store_arn(asked.trust_store_arn.as_ref().map(ToString::to_string))
        .set_ignore_client_certificate_expiry(asked.ignore_client_certificate_expiry)
        .set_advertise_trust_store_ca_names(asked.advertise_trust_store_ca_names.map(Into::into))
        .build()
}

pub(crate) fn no_mutual_authentication() -> MutualAuthenticationAttributes {
    MutualAuthenticationAttributes::builder().mode("off").build()
}

fn references(certificates: Vec<Certificate>) -> Vec<CertificateRef> {
    let arns = certificates
        .into_iter()
        .filter_map(|certificate| certificate.certificate_arn);
    arns.map(CertificateArn::new)
        .map(|certificate_arn| CertificateRef { certificate_arn })
        .collect()
}

/// The default certificate, then the others by ARN. The default one may be listed a second time among the others,
/// which changes nothing. Source: ELBv2 API, DescribeListenerCertificates.
pub(crate) fn certificates_from(certificates: Vec<Certificate>) -> Vec<CertificateRef> {
    let (default, others): (Vec<_>, Vec<_>) = certificates
        .into_iter()
        .partition(|certificate| certificate.is_default == Some(true));
    let mut all = references(default);
    let mut others = references(others);
    others.retain(|other| !all.contains(other));
    others.sort();
    others.dedup();
    all.extend(others);
    all
}

/// A rule without tags; none for the default one, whose actions are the listener's. Else the field that is not
/// understood.
pub(crate) fn rule_from(sdk: Rule) -> Result<Option<RuleState>, &'static str> {
    if sdk.is_default == Some(true) {
        return Ok(None);
    }
    let priority = sdk.priority.as_deref().unwrap_or_default();
    Ok(Some(RuleState {
        arn: RuleArn::new(sdk.rule_arn.ok_or("RuleArn")?),
        spec: RuleSpec {
            priority: priority.parse().map_err(|_| "Priority")?,
            conditions: conditions_from(sdk.conditions),
            actions: actions_from(sdk.actions),
            transforms: transforms_from(sdk.transforms),
            tags: Pairs::default(),
        },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_certificate_comes_first_and_once() {
        let sdk = |arn: &str, default| {
            Certificate::builder()
                .certificate_arn(arn)
                .is_default(default)
                .build()
        };
        let given = vec![sdk("c", false), sdk("b", true), sdk("a", false), sdk("b", false)];
        let arns: Vec<_> = certificates_from(given)
            .iter()
            .map(|certificate| certificate.certificate_arn.to_string())
            .collect();
        assert_eq!(arns, ["b", "a", "c"]);
    }
}
