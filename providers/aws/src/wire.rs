//! Our resources in, the SDKs' types out, and back: what AWS says is read whole, or told as foreign.

mod action;
mod auth;
mod certificate;
mod condition;
mod listener;
mod load_balancer;
mod network;
mod security_group;
mod tag;
mod target_group;
mod transform;

pub(crate) use action::{actions_from, actions_to};
pub(crate) use certificate::{certificate_names, every_key_type, imported_from};
pub(crate) use condition::{conditions_from, conditions_to};
pub(crate) use listener::{
    certificates_from, listener_from, mutual_authentication_to, no_mutual_authentication, rule_from,
};
pub(crate) use load_balancer::{APPLICATION, NETWORK, load_balancer_from};
pub(crate) use network::{interface_from, quotas_from, ranges_from, reaches_from, subnet_from};
pub(crate) use security_group::{permissions_to, security_group_from};
pub(crate) use tag::{
    acm_keys_to, acm_tags_to, ec2_tags_to, listener_attributes_to, load_balancer_attributes_to, pairs_from,
    tags_to, target_group_attributes_to,
};
pub(crate) use target_group::{
    LAMBDA, listed_target_group_from, matcher_to, number_to, target_from, target_group_from, targets_to,
};
pub(crate) use transform::{transforms_from, transforms_to};
