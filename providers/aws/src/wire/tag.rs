//! Tags and attributes in, the SDKs' lists of keys and values out, and back.

use std::collections::BTreeSet;

use aws_sdk_acm::types::Tag as AcmTag;
use aws_sdk_ec2::types::Tag as Ec2Tag;
use aws_sdk_elasticloadbalancingv2::types::{
    ListenerAttribute, LoadBalancerAttribute, Tag, TargetGroupAttribute,
};

use aws_sdk_resourcegroupstagging::types::Tag as ListedTag;

use crate::resource::Pairs;

/// What the SDKs have many types for: an optional key with an optional value.
pub(crate) trait Pair {
    fn pair(self) -> (Option<String>, Option<String>);
}

impl Pair for Tag {
    fn pair(self) -> (Option<String>, Option<String>) {
        (self.key, self.value)
    }
}

impl Pair for AcmTag {
    fn pair(self) -> (Option<String>, Option<String>) {
        (Some(self.key), self.value)
    }
}

impl Pair for ListedTag {
    fn pair(self) -> (Option<String>, Option<String>) {
        (Some(self.key), Some(self.value))
    }
}

impl Pair for Ec2Tag {
    fn pair(self) -> (Option<String>, Option<String>) {
        (self.key, self.value)
    }
}

impl Pair for LoadBalancerAttribute {
    fn pair(self) -> (Option<String>, Option<String>) {
        (self.key, self.value)
    }
}

impl Pair for ListenerAttribute {
    fn pair(self) -> (Option<String>, Option<String>) {
        (self.key, self.value)
    }
}

impl Pair for TargetGroupAttribute {
    fn pair(self) -> (Option<String>, Option<String>) {
        (self.key, self.value)
    }
}

/// A tag may have no value, which is an empty one.
pub(crate) fn pairs_from<P: Pair>(list: Option<Vec<P>>) -> Pairs {
    list.unwrap_or_default()
        .into_iter()
        .map(Pair::pair)
        .filter_map(|(key, value)| Some((key?, value.unwrap_or_default())))
        .collect()
}

pub(crate) fn tags_to(tags: &Pairs) -> Vec<Tag> {
    let tag = |(key, value)| Tag::builder().key(key).value(value).build();
    tags.0.iter().map(tag).collect()
}

/// A tag without a key, the one thing the SDK refuses, is not there.
pub(crate) fn acm_tags_to(tags: &Pairs) -> Vec<AcmTag> {
    let tag = |(key, value)| AcmTag::builder().key(key).value(value).build().ok();
    tags.0.iter().filter_map(tag).collect()
}

/// Tags to be removed, whatever their values.
pub(crate) fn acm_keys_to(keys: &BTreeSet<String>) -> Vec<AcmTag> {
    let tag = |key: &String| AcmTag::builder().key(key).build().ok();
    keys.iter().filter_map(tag).collect()
}

pub(crate) fn ec2_tags_to(tags: &Pairs) -> Vec<Ec2Tag> {
    let tag = |(key, value)| Ec2Tag::builder().key(key).value(value).build();
    tags.0.iter().map(tag).collect()
}

pub(crate) fn load_balancer_attributes_to(attributes: &Pairs) -> Vec<LoadBalancerAttribute> {
    let attribute = |(key, value)| LoadBalancerAttribute::builder().key(key).value(value).build();
    attributes.0.iter().map(attribute).collect()
}

pub(crate) fn listener_attributes_to(attributes: &Pairs) -> Vec<ListenerAttribute> {
    let attribute = |(key, value)| ListenerAttribute::builder().key(key).value(value).build();
    attributes.0.iter().map(attribute).collect()
}

pub(crate) fn target_group_attributes_to(attributes: &Pairs) -> Vec<TargetGroupAttribute> {
    let attribute = |(key, value)| TargetGroupAttribute::builder().key(key).value(value).build();
    attributes.0.iter().map(attribute).collect()
}
