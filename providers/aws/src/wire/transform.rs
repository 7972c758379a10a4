//! Rewrites of rules in, the API's transforms out, and back.

use aws_sdk_elasticloadbalancingv2::types::{
    HostHeaderRewriteConfig, RewriteConfig as SdkRewrite, RuleTransform as SdkTransform, TransformTypeEnum,
    UrlRewriteConfig,
};

use crate::resource::{RewriteConfig, RewriteList, RuleTransform};

const HOST: &str = "host-header-rewrite";
const URL: &str = "url-rewrite";

fn rewrites_to(config: &RewriteList) -> Option<Vec<SdkRewrite>> {
    let rewrite = |rewrite: &RewriteConfig| {
        let sdk = SdkRewrite::builder().regex(&rewrite.regex);
        sdk.replace(&rewrite.replace).build()
    };
    Some(config.rewrites.iter().map(rewrite).collect())
}

fn rewrites_from(rewrites: Option<Vec<SdkRewrite>>) -> Option<RewriteList> {
    let rewrite = |sdk: SdkRewrite| {
        Some(RewriteConfig {
            regex: sdk.regex?,
            // An empty replacement may come back as none.
            replace: sdk.replace.unwrap_or_default(),
        })
    };
    let rewrites = rewrites?.into_iter().map(rewrite).collect::<Option<_>>()?;
    Some(RewriteList { rewrites })
}

pub(crate) fn transforms_to(transforms: &[RuleTransform]) -> Vec<SdkTransform> {
    let transform = |transform: &RuleTransform| {
        let sdk = SdkTransform::builder();
        match transform {
            RuleTransform::HostHeaderRewrite { config } => {
                let config = HostHeaderRewriteConfig::builder().set_rewrites(rewrites_to(config));
                sdk.r#type(TransformTypeEnum::HostHeaderRewrite)
                    .host_header_rewrite_config(config.build())
            }
            RuleTransform::UrlRewrite { config } => {
                let config = UrlRewriteConfig::builder().set_rewrites(rewrites_to(config));
                sdk.r#type(TransformTypeEnum::UrlRewrite)
                    .url_rewrite_config(config.build())
            }
            // Never desired.
            RuleTransform::Foreign { kind } => sdk.r#type(kind.as_str().into()),
        }
        .build()
    };
    transforms.iter().map(transform).collect()
}

/// The API names no order for them; ours is by type, as we write them.
pub(crate) fn transforms_from(transforms: Option<Vec<SdkTransform>>) -> Vec<RuleTransform> {
    let transforms = transforms.unwrap_or_default();
    let mut read: Vec<_> = transforms.into_iter().map(transform_from).collect();
    read.sort();
    read
}

fn transform_from(sdk: SdkTransform) -> RuleTransform {
    let kind = sdk
        .r#type
        .as_ref()
        .map_or("", TransformTypeEnum::as_str)
        .to_owned();
    let known = match kind.as_str() {
        HOST => sdk
            .host_header_rewrite_config
            .and_then(|config| rewrites_from(config.rewrites))
            .map(|config| RuleTransform::HostHeaderRewrite { config }),
        URL => sdk
            .url_rewrite_config
            .and_then(|config| rewrites_from(config.rewrites))
            .map(|config| RuleTransform::UrlRewrite { config }),
        _ => None,
    };
    known.unwrap_or(RuleTransform::Foreign { kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(regex: &str, replace: &str) -> RewriteList {
        let (regex, replace) = (regex.to_owned(), replace.to_owned());
        RewriteList {
            rewrites: vec![RewriteConfig { regex, replace }],
        }
    }

    #[test]
    fn a_transform_survives_the_way_to_aws_and_back() {
        for transform in [
            RuleTransform::HostHeaderRewrite {
                config: list("^(.*)$", "inner.example.com"),
            },
            RuleTransform::UrlRewrite {
                config: list("^/api/(.*)$", "/$1"),
            },
        ] {
            let back = transforms_from(Some(transforms_to(std::slice::from_ref(&transform))));
            assert_eq!(back, [transform]);
        }
    }

    #[test]
    fn what_is_not_understood_is_foreign_and_never_dropped() {
        for (given, why) in [
            (
                SdkTransform::builder().r#type("body-rewrite".into()).build(),
                "a type of a newer API",
            ),
            (
                SdkTransform::builder()
                    .r#type(TransformTypeEnum::UrlRewrite)
                    .build(),
                "no rewrites",
            ),
        ] {
            let read = transforms_from(Some(vec![given]));
            assert!(
                matches!(read[..], [RuleTransform::Foreign { .. }]),
                "{why}: {read:?}"
            );
        }
    }
}
