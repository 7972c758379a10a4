//! The Region and the VPC in, what all load balancers of the account use out: about ten calls, once per interval.

use std::collections::BTreeMap;

use aws_sdk_acm::types::{CertificateStatus, CertificateSummary, CertificateType, Filters};
use aws_sdk_ec2::types::Filter;
use aws_sdk_resourcegroupstagging::types::TagFilter;
use futures::try_join;
use ipnet::IpNet;
use portcullis_model::{Code, ProviderError, Retry};

use super::listing::listing;
use super::together;
use crate::account::{Account, AcmCertificate, Fact, Interfaces, LateFacts, Listing, Subnet};
use crate::client::{Client, is_gone};
use crate::limits::Quotas;
use crate::names;
use crate::observed::{CertificateState, Looked};
use crate::resource::{CertificateArn, Imported, VpcId};
use crate::wire::{
    certificate_names, every_key_type, imported_from, interface_from, pairs_from, quotas_from, ranges_from,
    reaches_from, subnet_from,
};

/// Most items of one page of EC2's lists. Source: EC2 API, MaxResults.
pub(super) const PAGE: i32 = 1000;

/// Tags that say for which scheme a subnet is.
const ROLE_TAGS: [&str; 2] = ["kubernetes.io/role/elb", "kubernetes.io/role/internal-elb"];

pub(super) fn in_vpc(vpc: &VpcId) -> Filter {
    Filter::builder().name("vpc-id").values(vpc.as_str()).build()
}

/// Reads the account. The listing comes last, so that it is as new as can be.
pub(crate) async fn account(
    client: &Client,
    region: &str,
    vpc: &VpcId,
    authorities: Authorities,
) -> Result<Account, ProviderError> {
    let (ranges, subnets, interfaces, (certificates, imported), quotas) = try_join!(
        ranges(client, region, vpc),
        subnets(client, region, vpc),
        interfaces(client, vpc),
        certificates(client, authorities),
        quotas(client),
    )?;
    Ok(Account {
        vpc: vpc.clone(),
        ranges,
        subnets: Fact::Read(subnets),
        certificates: Fact::Read(certificates),
        interfaces: Fact::Read(interfaces),
        quotas,
        late: LateFacts::default(),
        listing: Listing {
            certificates: imported,
            ..listing(client, vpc).await?
        },
    })
}

async fn ranges(client: &Client, region: &str, vpc: &VpcId) -> Result<Vec<IpNet>, ProviderError> {
    const CALL: &str = "ec2:DescribeVpcs";
    let request = client.ec2.describe_vpcs().vpc_ids(vpc.as_str());
    // Neither our fault nor one that trying again mends soon.
    let missing = || ProviderError {
        code: Code::VpcNotFound,
        call: CALL,
        message: format!("{region} has no VPC {vpc} in this account"),
        retry: Retry::Backoff,
    };
    let answer = match client.read(CALL, move || request.clone().send()).await {
        Ok(answer) => answer,
        // EC2 API, "Error codes": InvalidVpcID.NotFound and InvalidVpcId.Malformed.
        Err(error) if error.message.to_ascii_lowercase().starts_with("invalidvpcid") => return Err(missing()),
        Err(error) => return Err(error),
    };
    let found = answer.vpcs.unwrap_or_default().pop();
    Ok(ranges_from(found.ok_or_else(missing)?))
}

async fn subnets(client: &Client, region: &str, vpc: &VpcId) -> Result<Vec<Subnet>, ProviderError> {
    let request = |token| {
        let request = client.ec2.describe_subnets().filters(in_vpc(vpc));
        request.max_results(PAGE).set_next_token(token).send()
    };
    let all = client
        .pages("ec2:DescribeSubnets", request, |page| {
            (page.subnets, page.next_token)
        })
        .await?;
    let mut subnets: Vec<_> = all
        .into_iter()
        .filter_map(|sdk| subnet_from(sdk, region))
        .collect();
    // Tags decide; where a scheme has none, the routes do.
    let tagged = |key: &&str| subnets.iter().any(|subnet| subnet.tags.contains_key(*key));
    if !ROLE_TAGS.iter().all(tagged) {
        let request = |token| {
            let request = client.ec2.describe_route_tables().filters(in_vpc(vpc));
            request.set_next_token(token).send()
        };
        let tables = client
            .pages("ec2:DescribeRouteTables", request, |page| {
                (page.route_tables, page.next_token)
            })
            .await?;
        let (own, main) = reaches_from(tables);
        for subnet in &mut subnets {
            subnet.reach = own.get(&subnet.id).copied().or(main);
        }
    }
    Ok(subnets)
}

async fn interfaces(client: &Client, vpc: &VpcId) -> Result<Interfaces, ProviderError> {
    let request = |token| {
        let request = client.ec2.describe_network_interfaces().filters(in_vpc(vpc));
        request.max_results(PAGE).set_next_token(token).send()
    };
    let all = client
        .pages("ec2:DescribeNetworkInterfaces", request, |page| {
            (page.network_interfaces, page.next_token)
        })
        .await?;
    Ok(Interfaces::new(all.into_iter().map(interface_from).collect()))
}

/// Those that were issued, and those that were taken from Secrets, expired ones, too: they are to be renewed.
async fn certificates(
    client: &Client,
    authorities: Authorities,
) -> Result<(Vec<AcmCertificate>, Looked<Vec<CertificateState>>), ProviderError> {
    let request = |token| {
        let keys = Filters::builder().set_key_types(Some(every_key_type())).build();
        let request = client.acm.list_certificates().includes(keys);
        let request = request
            .certificate_statuses(CertificateStatus::Issued)
            .certificate_statuses(CertificateStatus::Expired);
        request.max_items(PAGE).set_next_token(token).send()
    };
    let all = client
        .pages("acm:ListCertificates", request, |page| {
            (page.certificate_summary_list, page.next_token)
        })
        .await?;
    let imported = all.iter().filter_map(imported_from).collect();
    let calls = all
        .into_iter()
        .filter(|summary| summary.status == Some(CertificateStatus::Issued))
        .map(|summary| certificate(client, summary, authorities))
        .collect();
    let mut certificates: Vec<AcmCertificate> = together(calls).await?.into_iter().flatten().collect();
    certificates.sort_by(|a, b| a.arn.cmp(&b.arn));
    Ok((certificates, taken_from_secrets(client, imported).await?))
}

/// Most items of one page of tagged resources. Source: Resource Groups Tagging API, ResourcesPerPage.
const TAGGED_PAGE: i32 = 100;

/// Of imported certificates those that have our tags. ACM tells the tags of one certificate a call; that few of them are
/// ours is found out with one call for a hundred of those that are. What AWS was asked too fast is asked again with the
/// whole account; any other failure is kept: without the right to it nothing is imported, and all else goes on.
async fn taken_from_secrets(
    client: &Client,
    imported: BTreeMap<CertificateArn, Imported>,
) -> Result<Looked<Vec<CertificateState>>, ProviderError> {
    if imported.is_empty() {
        return Ok(Looked::At(Vec::new()));
    }
    let request = |token| {
        let tagged = TagFilter::builder().key(names::SECRET_UID_TAG).build();
        let request = client.tagging.get_resources().tag_filters(tagged);
        let request = request
            .resource_type_filters("acm:certificate")
            .resources_per_page(TAGGED_PAGE);
        request.set_pagination_token(token).send()
    };
    let read = client
        .pages("tag:GetResources", request, |page| {
            let next = page.pagination_token.filter(|token| !token.is_empty());
            (page.resource_tag_mapping_list, next)
        })
        .await;
    let listed = match read {
        Ok(listed) => listed,
        Err(error) if error.code == Code::Throttled => return Err(error),
        Err(error) => return Ok(Looked::Failed(error)),
    };
    // The list of tags may lag behind what this process did a moment ago.
    let mut tags = client.imported().clone();
    let listed = listed.into_iter();
    tags.extend(listed.filter_map(|it| Some((CertificateArn::new(it.resource_arn?), pairs_from(it.tags)))));
    let states = imported.into_iter().filter_map(|(arn, imported)| {
        let tags = tags.remove(&arn)?;
        Some(CertificateState { arn, imported, tags })
    });
    Ok(Looked::At(states.collect()))
}

/// Whether it matters which authority issued a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authorities {
    Any,
    Told,
}

/// The summary names 100 hosts at most, and no authority; only a certificate of which more must be known is described.
/// Source: ACM API, CertificateSummary.
async fn certificate(
    client: &Client,
    summary: CertificateSummary,
    authorities: Authorities,
) -> Result<Option<AcmCertificate>, ProviderError> {
    let Some(arn) = summary.certificate_arn else {
        return Ok(None);
    };
    let mut others = summary.subject_alternative_name_summaries;
    let mut authority = None;
    let private = authorities == Authorities::Told && summary.r#type == Some(CertificateType::Private);
    if summary.has_additional_subject_alternative_names == Some(true) || private {
        let request = client.acm.describe_certificate().certificate_arn(&arn);
        let answer = client.read("acm:DescribeCertificate", move || request.clone().send());
        let answer = match answer.await {
            Ok(answer) => answer,
            // Deleted since it was listed.
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(detail) = answer.certificate {
            others = detail.subject_alternative_names;
            authority = detail.certificate_authority_arn;
        }
    }
    Ok(Some(AcmCertificate {
        arn: CertificateArn::new(arn),
        names: certificate_names(summary.domain_name, others),
        authority,
    }))
}

async fn quotas(client: &Client) -> Result<Quotas, ProviderError> {
    let request = |marker| client.elb.describe_account_limits().set_marker(marker).send();
    let limits = client
        .pages("elbv2:DescribeAccountLimits", request, |page| {
            (page.limits, page.next_marker)
        })
        .await?;
    Ok(quotas_from(limits))
}
