//! Actions of rules and listeners in, the API's ordered actions out, and back.

use aws_sdk_elasticloadbalancingv2::types::{
    Action as SdkAction, ActionTypeEnum, FixedResponseActionConfig, ForwardActionConfig,
    RedirectActionConfig, RedirectActionStatusCodeEnum, TargetGroupStickinessConfig,
    TargetGroupTuple as SdkTuple,
};

use super::auth::{cognito_from, cognito_to, jwt_from, jwt_to, oidc_from, oidc_to};
use super::target_group::number_to;
use crate::resource::{
    FixedResponseConfig, ForwardConfig, RedirectConfig, RedirectStatusCode, RuleAction, TargetGroupArn,
    TargetGroupStickiness, TargetGroupTuple,
};

type Action = RuleAction<TargetGroupArn>;

/// In the order of the list, which the API wants as numbers from 1.
pub(crate) fn actions_to(actions: &[Action]) -> Vec<SdkAction> {
    (1..)
        .zip(actions)
        .map(|(order, action)| action_to(action, order))
        .collect()
}

fn action_to(action: &Action, order: i32) -> SdkAction {
    let sdk = SdkAction::builder().order(order);
    match action {
        RuleAction::Forward { config } => sdk
            .r#type(ActionTypeEnum::Forward)
            .forward_config(forward_to(config)),
        RuleAction::Redirect { config } => sdk
            .r#type(ActionTypeEnum::Redirect)
            .redirect_config(redirect_to(config)),
        RuleAction::FixedResponse { config } => {
            let fixed = FixedResponseActionConfig::builder()
                .status_code(&config.status_code)
                .set_content_type(config.content_type.clone())
                .set_message_body(config.message_body.clone());
            sdk.r#type(ActionTypeEnum::FixedResponse)
                .fixed_response_config(fixed.build())
        }
        RuleAction::AuthenticateOidc { config } => sdk
            .r#type(ActionTypeEnum::AuthenticateOidc)
            .authenticate_oidc_config(oidc_to(config)),
        RuleAction::AuthenticateCognito { config } => sdk
            .r#type(ActionTypeEnum::AuthenticateCognito)
            .authenticate_cognito_config(cognito_to(config)),
        RuleAction::JwtValidation { config } => sdk
            .r#type("jwt-validation".into())
            .jwt_validation_config(jwt_to(config)),
        // Never desired. Sent without its settings, AWS refuses it.
        RuleAction::Foreign { kind } => sdk.r#type(kind.as_str().into()),
    }
    .build()
}

fn forward_to(config: &ForwardConfig<TargetGroupArn>) -> ForwardActionConfig {
    let tuple = |tuple: &TargetGroupTuple<TargetGroupArn>| {
        SdkTuple::builder()
            .target_group_arn(tuple.target_group_arn.as_str())
            .set_weight(tuple.weight.map(i32::from))
            .build()
    };
    let stickiness = config.stickiness.map(|stickiness| {
        let sdk = TargetGroupStickinessConfig::builder().enabled(stickiness.enabled);
        sdk.duration_seconds(number_to(stickiness.duration_seconds))
            .build()
    });
    ForwardActionConfig::builder()
        .set_target_groups(Some(config.target_groups.iter().map(tuple).collect()))
        .set_target_group_stickiness_config(stickiness)
        .build()
}

fn redirect_to(config: &RedirectConfig) -> RedirectActionConfig {
    let status = match config.status_code {
        RedirectStatusCode::MovedPermanently => RedirectActionStatusCodeEnum::Http301,
        RedirectStatusCode::Found => RedirectActionStatusCodeEnum::Http302,
    };
    RedirectActionConfig::builder()
        .set_protocol(config.protocol.clone())
        .set_host(config.host.clone())
        .set_port(config.port.clone())
        .set_path(config.path.clone())
        .set_query(config.query.clone())
        .status_code(status)
        .build()
}

/// In their order.
pub(crate) fn actions_from(actions: Option<Vec<SdkAction>>) -> Vec<Action> {
    let mut actions = actions.unwrap_or_default();
    // A lone action may come without its number.
    actions.sort_by_key(|action| action.order.unwrap_or(i32::MAX));
    actions.into_iter().map(action_from).collect()
}

/// What lacks something, or is of a type we know no name for, is foreign.
fn action_from(sdk: SdkAction) -> Action {
    let kind = sdk.r#type.as_ref().map_or("", ActionTypeEnum::as_str).to_owned();
    let known = match kind.as_str() {
        "forward" => forward_from(sdk.forward_config, sdk.target_group_arn)
            .map(|config| RuleAction::Forward { config }),
        "redirect" => sdk
            .redirect_config
            .and_then(redirect_from)
            .map(|config| RuleAction::Redirect { config }),
        "fixed-response" => sdk
            .fixed_response_config
            .and_then(fixed_from)
            .map(|config| RuleAction::FixedResponse { config }),
        "authenticate-oidc" => sdk
            .authenticate_oidc_config
            .and_then(oidc_from)
            .map(|config| RuleAction::AuthenticateOidc { config }),
        "authenticate-cognito" => sdk
            .authenticate_cognito_config
            .and_then(cognito_from)
            .map(|config| RuleAction::AuthenticateCognito { config }),
        "jwt-validation" => sdk
            .jwt_validation_config
            .and_then(jwt_from)
            .map(|config| RuleAction::JwtValidation { config }),
        _ => None,
    };
    known.unwrap_or(RuleAction::Foreign { kind })
}

fn forward_from(
    config: Option<ForwardActionConfig>,
    alone: Option<String>,
) -> Option<ForwardConfig<TargetGroupArn>> {
    let Some(config) = config else {
        // The older form of a forward to one target group.
        let target_groups = vec![TargetGroupTuple {
            target_group_arn: TargetGroupArn::new(alone?),
            weight: None,
        }];
        return Some(ForwardConfig {
            target_groups,
            stickiness: None,
        });
    };
    let tuples = config.target_groups?;
    let weighted = tuples.len() > 1;
    let tuple = |tuple: SdkTuple| {
        Some(TargetGroupTuple {
            target_group_arn: TargetGroupArn::new(tuple.target_group_arn?),
            weight: match (weighted, tuple.weight) {
                // AWS may answer the 1 it takes by default; alone it means nothing.
                (false, _) | (true, None) => None,
                (true, Some(weight)) => Some(u16::try_from(weight).ok()?),
            },
        })
    };
    Some(ForwardConfig {
        target_groups: tuples.into_iter().map(tuple).collect::<Option<_>>()?,
        stickiness: match config.target_group_stickiness_config {
            Some(sdk) if sdk.enabled == Some(true) => Some(TargetGroupStickiness {
                enabled: true,
                duration_seconds: u32::try_from(sdk.duration_seconds?).ok()?,
            }),
            Some(_) | None => None,
        },
    })
}

/// A part that is the request's own is as one left out. Source: ELBv2 API, RedirectActionConfig.
fn redirect_from(sdk: RedirectActionConfig) -> Option<RedirectConfig> {
    let other = |part: Option<String>, own: &str| part.filter(|part| part != own);
    Some(RedirectConfig {
        protocol: other(sdk.protocol, "#{protocol}"),
        host: other(sdk.host, "#{host}"),
        port: other(sdk.port, "#{port}"),
        path: other(sdk.path, "/#{path}"),
        query: other(sdk.query, "#{query}"),
        status_code: match sdk.status_code?.as_str() {
            "HTTP_301" => RedirectStatusCode::MovedPermanently,
            "HTTP_302" => RedirectStatusCode::Found,
            _ => return None,
        },
    })
}

fn fixed_from(sdk: FixedResponseActionConfig) -> Option<FixedResponseConfig> {
    Some(FixedResponseConfig {
        status_code: sdk.status_code?,
        content_type: sdk.content_type.filter(|kind| !kind.is_empty()),
        message_body: sdk.message_body.filter(|body| !body.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(arn: &str, weight: Option<u16>) -> TargetGroupTuple<TargetGroupArn> {
        let target_group_arn = TargetGroupArn::new(arn);
        TargetGroupTuple {
            target_group_arn,
            weight,
        }
    }

    fn redirect(path: Option<&str>) -> RedirectConfig {
        RedirectConfig {
            protocol: Some("HTTPS".into()),
            host: None,
            port: Some("443".into()),
            path: path.map(str::to_owned),
            query: None,
            status_code: RedirectStatusCode::MovedPermanently,
        }
    }

    #[test]
    fn actions_survive_the_way_to_aws_and_back_in_their_order() {
        for actions in [
            vec![RuleAction::Forward {
                config: ForwardConfig {
                    target_groups: vec![tuple("one", None)],
                    stickiness: None,
                },
            }],
            vec![RuleAction::Forward {
                config: ForwardConfig {
                    target_groups: vec![tuple("one", Some(9)), tuple("two", Some(0))],
                    stickiness: Some(TargetGroupStickiness {
                        enabled: true,
                        duration_seconds: 3600,
                    }),
                },
            }],
            vec![RuleAction::Redirect {
                config: redirect(Some("/new")),
            }],
            vec![
                RuleAction::Foreign {
                    kind: "authenticate-oidc".into(),
                },
                RuleAction::FixedResponse {
                    config: FixedResponseConfig {
                        status_code: "503".into(),
                        content_type: Some("text/plain".into()),
                        message_body: None,
                    },
                },
            ],
        ] {
            let mut sent = actions_to(&actions);
            sent.reverse();
            assert_eq!(actions_from(Some(sent)), actions);
        }
    }

    #[test]
    fn what_aws_takes_by_default_is_as_nothing_said() {
        let own = RedirectConfig {
            path: Some("/#{path}".into()),
            ..redirect(None)
        };
        assert_eq!(redirect_from(redirect_to(&own)), Some(redirect(None)));

        let off = TargetGroupStickinessConfig::builder().enabled(false).build();
        let one = SdkTuple::builder().target_group_arn("one").weight(1).build();
        let answered = ForwardActionConfig::builder()
            .target_groups(one)
            .target_group_stickiness_config(off);
        let want = ForwardConfig {
            target_groups: vec![tuple("one", None)],
            stickiness: None,
        };
        assert_eq!(forward_from(Some(answered.build()), None), Some(want));
    }

    #[test]
    fn what_is_not_understood_is_foreign_and_never_dropped() {
        let odd = RedirectActionConfig::builder()
            .status_code("HTTP_308".into())
            .build();
        for (given, why) in [
            (
                SdkAction::builder().r#type("mirror".into()).build(),
                "a type of a newer API",
            ),
            (
                SdkAction::builder()
                    .r#type(ActionTypeEnum::AuthenticateOidc)
                    .build(),
                "its settings are missing",
            ),
            (
                SdkAction::builder()
                    .r#type(ActionTypeEnum::Redirect)
                    .redirect_config(odd)
                    .build(),
                "status",
            ),
            (
                SdkAction::builder().r#type(ActionTypeEnum::Forward).build(),
                "no target group",
            ),
        ] {
            let read = actions_from(Some(vec![given]));
            assert!(
                matches!(read[..], [RuleAction::Foreign { .. }]),
                "{why}: {read:?}"
            );
        }
    }
}
