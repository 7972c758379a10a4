//! Changes of security groups in, EC2's calls out.

use std::collections::BTreeSet;

use aws_sdk_ec2::types::{ResourceType, Tag, TagSpecification};
use portcullis_model::ProviderError;

use super::Writer;
use crate::change::Answer;
use crate::client::incomplete;
use crate::resource::{Pairs, Permission, SecurityGroupId, SecurityGroupSpec};
use crate::wire::{ec2_tags_to, permissions_to};

pub(super) async fn create(to: &Writer<'_>, spec: &SecurityGroupSpec) -> Result<Answer, ProviderError> {
    let tags = TagSpecification::builder()
        .resource_type(ResourceType::SecurityGroup)
        .set_tags(Some(ec2_tags_to(&spec.tags)));
    let request = to
        .client
        .ec2
        .create_security_group()
        .group_name(&spec.group_name)
        .description(&spec.description)
        .vpc_id(spec.vpc_id.as_str())
        .tag_specifications(tags.build());
    let answer = to.send(request.send()).await?;
    let id = answer.group_id.ok_or_else(|| incomplete(to.call, "GroupId"))?;
    Ok(Answer::SecurityGroup {
        id: SecurityGroupId::new(id),
    })
}

pub(super) async fn authorize(
    to: &Writer<'_>,
    group: &SecurityGroupId,
    permissions: &BTreeSet<Permission>,
) -> Result<Answer, ProviderError> {
    let request = to.client.ec2.authorize_security_group_ingress();
    let request = request.group_id(group.as_str());
    to.done(
        request
            .set_ip_permissions(Some(permissions_to(permissions)))
            .send(),
    )
    .await
}

pub(super) async fn revoke(
    to: &Writer<'_>,
    group: &SecurityGroupId,
    permissions: &BTreeSet<Permission>,
) -> Result<Answer, ProviderError> {
    let request = to.client.ec2.revoke_security_group_ingress();
    let request = request.group_id(group.as_str());
    to.done(
        request
            .set_ip_permissions(Some(permissions_to(permissions)))
            .send(),
    )
    .await
}

pub(super) async fn delete(to: &Writer<'_>, group: &SecurityGroupId) -> Result<Answer, ProviderError> {
    let request = to.client.ec2.delete_security_group().group_id(group.as_str());
    to.delete(request.send()).await
}

pub(super) async fn tag(
    to: &Writer<'_>,
    group: &SecurityGroupId,
    tags: &Pairs,
) -> Result<Answer, ProviderError> {
    let request = to.client.ec2.create_tags().resources(group.as_str());
    to.done(request.set_tags(Some(ec2_tags_to(tags))).send()).await
}

pub(super) async fn untag(
    to: &Writer<'_>,
    group: &SecurityGroupId,
    keys: &BTreeSet<String>,
) -> Result<Answer, ProviderError> {
    // Without a value, a tag is removed whatever its value is.
    let tags = keys.iter().map(|key| Tag::builder().key(key).build()).collect();
    let request = to.client.ec2.delete_tags().resources(group.as_str());
    to.done(request.set_tags(Some(tags)).send()).await
}
