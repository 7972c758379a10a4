//! What a load balancer is to be in, what it names in the account and nobody named before it out.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use aws_sdk_shield::types::SubscriptionState;
use aws_sdk_wafv2::types::Scope;
use futures::try_join;
use portcullis_model::{
    ClientCertificates, Code, FirewallChoice, LoadBalancer, Protocol, ProviderError, TrustStore,
};

use super::account::in_vpc;
use crate::account::{Account, Fact, Late};
use crate::client::Client;
use crate::resource::{SecurityGroupId, TrustStoreArn, WebAclArn};
use crate::settings::{Settings, Switch};

/// Web ACLs of one page. Source: WAFV2 API, ListWebACLs.Limit.
const PAGE: i32 = 100;

/// Reads what is needed and not known in this reading of the account.
pub(crate) async fn consult(
    client: &Client,
    settings: &Settings,
    desired: &LoadBalancer,
    account: &Account,
) -> Result<(), ProviderError> {
    let late = &account.late;
    if names_a_trust_store(desired) {
        fill(&late.trust_stores, trust_stores(client)).await?;
    }
    let firewall = desired.options.firewall.as_ref().map(|firewall| &firewall.choice);
    if firewall.is_some_and(|choice| *choice != FirewallChoice::Off) && settings.wafv2 == Switch::On {
        fill(&late.web_acls, web_acls(client)).await?;
    }
    if desired.options.attack_protection == Some(true) && settings.shield == Switch::On {
        fill(&late.shield, subscribed(client)).await?;
    }
    if !desired.options.admitted_lists.is_empty() {
        fill(&late.prefix_lists, prefix_lists(client)).await?;
    }
    let front = desired.options.front.iter();
    let mut groups = front
        .flat_map(|front| &front.security_groups)
        .chain(&desired.options.security_groups);
    if groups.any(|given| !is_listed(account, given)) {
        fill(&late.usable_groups, usable_groups(client, account)).await?;
    }
    Ok(())
}

/// Whether a security group given by id is of the VPC; names are looked for there alone.
fn is_listed(account: &Account, given: &str) -> bool {
    let mut groups = account.listing.security_groups.iter();
    !given.starts_with("sg-") || groups.any(|state| state.id.as_str() == given)
}

fn names_a_trust_store(desired: &LoadBalancer) -> bool {
    desired
        .listeners
        .values()
        .any(|listener| match &listener.protocol {
            Protocol::Http => false,
            Protocol::Https(tls) => match tls.clients.as_ref().map(|clients| &clients.certificates) {
                Some(ClientCertificates::Verify {
                    trust_store: TrustStore::Given(name),
                    ..
                }) => !name.starts_with("arn:"),
                Some(ClientCertificates::Verify {
                    trust_store: TrustStore::Stored(_),
                    ..
                }) => false,
                Some(ClientCertificates::Off | ClientCertificates::PassThrough) | None => false,
            },
        })
}

/// What AWS was asked too fast is asked again with the whole pass; any other failure is kept, and told.
async fn fill<T>(
    fact: &Late<T>,
    read: impl Future<Output = Result<T, ProviderError>>,
) -> Result<(), ProviderError> {
    if fact.get().is_some() {
        return Ok(());
    }
    match read.await.map(Fact::Read) {
        Err(error) if error.code == Code::Throttled => Err(error),
        read => {
            fact.get_or_init(|| read);
            Ok(())
        }
    }
}

async fn trust_stores(client: &Client) -> Result<BTreeMap<String, TrustStoreArn>, ProviderError> {
    let all = client
        .pages(
            "elbv2:DescribeTrustStores",
            |marker| client.elb.describe_trust_stores().set_marker(marker).send(),
            |page| (page.trust_stores, page.next_marker),
        )
        .await?;
    let named = all
        .into_iter()
        .filter_map(|sdk| Some((sdk.name?, TrustStoreArn::new(sdk.trust_store_arn?))));
    Ok(named.collect())
}

async fn web_acls(client: &Client) -> Result<BTreeMap<WebAclArn, String>, ProviderError> {
    let request = |marker| {
        let request = client.wafv2.list_web_acls().scope(Scope::Regional).limit(PAGE);
        request.set_next_marker(marker).send()
    };
    let all = client
        .pages("wafv2:ListWebACLs", request, |page| {
            (page.web_acls, page.next_marker)
        })
        .await?;
    let named = all
        .into_iter()
        .filter_map(|sdk| Some((WebAclArn::new(sdk.arn?), sdk.name?)));
    Ok(named.collect())
}

async fn subscribed(client: &Client) -> Result<bool, ProviderError> {
    let request = client.shield.get_subscription_state();
    let answer = client
        .read("shield:GetSubscriptionState", || request.clone().send())
        .await?;
    Ok(answer.subscription_state == SubscriptionState::Active)
}

async fn prefix_lists(client: &Client) -> Result<BTreeSet<String>, ProviderError> {
    let all = client
        .pages(
            "ec2:DescribeManagedPrefixLists",
            |token| {
                let request = client.ec2.describe_managed_prefix_lists();
                request.set_next_token(token).send()
            },
            |page| (page.prefix_lists, page.next_token),
        )
        .await?;
    Ok(all.into_iter().filter_map(|sdk| sdk.prefix_list_id).collect())
}

async fn usable_groups(
    client: &Client,
    account: &Account,
) -> Result<BTreeSet<SecurityGroupId>, ProviderError> {
    let own = client.pages(
        "ec2:DescribeSecurityGroups",
        |token| {
            let request = client.ec2.describe_security_groups();
            request.filters(in_vpc(&account.vpc)).set_next_token(token).send()
        },
        |page| (page.security_groups, page.next_token),
    );
    let associated = client.pages(
        "ec2:DescribeSecurityGroupVpcAssociations",
        |token| {
            let request = client.ec2.describe_security_group_vpc_associations();
            request.filters(in_vpc(&account.vpc)).set_next_token(token).send()
        },
        |page| (page.security_group_vpc_associations, page.next_token),
    );
    let (own, associated) = try_join!(own, associated)?;
    let own = own.into_iter().filter_map(|sdk| sdk.group_id);
    // One that is about to be associated, or not any more, is for AWS to judge.
    let associated = associated.into_iter().filter_map(|sdk| sdk.group_id);
    Ok(own.chain(associated).map(SecurityGroupId::new).collect())
}
