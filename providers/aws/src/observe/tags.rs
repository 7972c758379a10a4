//! ARNs of one kind of ELBv2 resource in, their tags out, as many at a time as the API allows.

use std::collections::BTreeMap;

use portcullis_model::ProviderError;

use super::together;
use crate::client::{Client, is_gone};
use crate::resource::Pairs;
use crate::wire::pairs_from;

/// Source: ELBv2 API, DescribeTags.ResourceArns.
pub(crate) const RESOURCES_PER_CALL: usize = 20;

/// Reads the tags of resources of one kind: that the API takes several kinds in one call is written nowhere. What has
/// gone is left out.
pub(crate) async fn tags_of(
    client: &Client,
    arns: &[String],
) -> Result<BTreeMap<String, Pairs>, ProviderError> {
    let calls = arns
        .chunks(RESOURCES_PER_CALL)
        .map(|arns| chunk(client, arns))
        .collect();
    Ok(together(calls).await?.into_iter().flatten().collect())
}

/// AWS refuses the whole call if one of the resources has gone meanwhile; then each half is read alone.
async fn chunk(client: &Client, arns: &[String]) -> Result<Vec<(String, Pairs)>, ProviderError> {
    let (mut tags, mut left) = (Vec::new(), vec![arns]);
    while let Some(arns) = left.pop() {
        let request = client.elb.describe_tags().set_resource_arns(Some(arns.to_vec()));
        match client
            .read("elbv2:DescribeTags", move || request.clone().send())
            .await
        {
            Ok(answer) => {
                let described = answer.tag_descriptions.unwrap_or_default().into_iter();
                tags.extend(described.filter_map(|it| Some((it.resource_arn?, pairs_from(it.tags)))));
            }
            Err(error) if is_gone(&error) && arns.len() > 1 => {
                left.extend(<[_; 2]>::from(arns.split_at(arns.len() / 2)));
            }
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(tags)
}
