//! Conditions of rules in, the API's conditions out, and back.

use aws_sdk_elasticloadbalancingv2::types::{
    HostHeaderConditionConfig, HttpHeaderConditionConfig, HttpRequestMethodConditionConfig,
    PathPatternConditionConfig, QueryStringConditionConfig, QueryStringKeyValuePair,
    RuleCondition as SdkCondition, SourceIpConditionConfig,
};

use ipnet::IpNet;

use crate::resource::{
    HttpHeaderConfig, HttpMethodConfig, QueryStringConfig, QueryStringValue, RuleCondition, SourceIpConfig,
    Values,
};

const HOST: &str = "host-header";
const PATH: &str = "path-pattern";
const HEADER: &str = "http-header";
const METHOD: &str = "http-request-method";
const QUERY: &str = "query-string";
const SOURCE: &str = "source-ip";

/// Globs and regular expressions, of which one is none.
fn split(values: &Values) -> (Option<Vec<String>>, Option<Vec<String>>) {
    match values {
        Values::Globs(list) => (Some(list.clone()), None),
        Values::Regexes(list) => (None, Some(list.clone())),
    }
}

/// None where there are both or neither, of which we make none.
fn join(globs: Option<Vec<String>>, regexes: Option<Vec<String>>) -> Option<Values> {
    let some = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
    match (some(globs), some(regexes)) {
        (Some(globs), None) => Some(Values::Globs(globs)),
        (None, Some(regexes)) => Some(Values::Regexes(regexes)),
        (Some(_), Some(_)) | (None, None) => None,
    }
}

pub(crate) fn conditions_to(conditions: &[RuleCondition]) -> Vec<SdkCondition> {
    conditions.iter().map(condition_to).collect()
}

fn condition_to(condition: &RuleCondition) -> SdkCondition {
    let sdk = SdkCondition::builder();
    match condition {
        RuleCondition::HostHeader { config } => {
            let (globs, regexes) = split(config);
            let config = HostHeaderConditionConfig::builder();
            let config = config.set_values(globs).set_regex_values(regexes).build();
            sdk.field(HOST).host_header_config(config)
        }
        RuleCondition::PathPattern { config } => {
            let (globs, regexes) = split(config);
            let config = PathPatternConditionConfig::builder();
            let config = config.set_values(globs).set_regex_values(regexes).build();
            sdk.field(PATH).path_pattern_config(config)
        }
        RuleCondition::HttpHeader { config } => {
            let (globs, regexes) = split(&config.values);
            let config = HttpHeaderConditionConfig::builder().http_header_name(&config.name);
            let config = config.set_values(globs).set_regex_values(regexes).build();
            sdk.field(HEADER).http_header_config(config)
        }
        RuleCondition::HttpRequestMethod { config } => {
            let values = Some(config.values.clone());
            let config = HttpRequestMethodConditionConfig::builder()
                .set_values(values)
                .build();
            sdk.field(METHOD).http_request_method_config(config)
        }
        RuleCondition::QueryString { config } => {
            let pair = |pair: &QueryStringValue| {
                let sdk = QueryStringKeyValuePair::builder();
                sdk.set_key(pair.key.clone()).value(&pair.value).build()
            };
            let values = Some(config.values.iter().map(pair).collect());
            let config = QueryStringConditionConfig::builder().set_values(values).build();
            sdk.field(QUERY).query_string_config(config)
        }
        RuleCondition::SourceIp { config } => {
            let values = Some(config.values.clone());
            let config = SourceIpConditionConfig::builder().set_values(values).build();
            sdk.field(SOURCE).source_ip_config(config)
        }
        // Never desired. Sent without its values, AWS refuses it, which is better than a rule that matches more.
        RuleCondition::Foreign { field } => sdk.field(field),
    }
    .build()
}

pub(crate) fn conditions_from(conditions: Option<Vec<SdkCondition>>) -> Vec<RuleCondition> {
    let conditions = conditions.unwrap_or_default();
    conditions.into_iter().map(condition_from).collect()
}

/// What lacks something, or has something that we know no name for, is foreign, never less than it was.
fn condition_from(sdk: SdkCondition) -> RuleCondition {
    let field = sdk.field.clone().unwrap_or_default();
    known(&field, sdk).unwrap_or(RuleCondition::Foreign { field })
}

fn known(field: &str, sdk: SdkCondition) -> Option<RuleCondition> {
    match field {
        HOST => {
            let (globs, regexes) = match sdk.host_header_config {
                Some(config) => (config.values, config.regex_values),
                // The older form.
                None => (sdk.values, sdk.regex_values),
            };
            // Hosts match in any case; those of others may be written in capitals.
            let lower = |list: Vec<String>| list.iter().map(|host| host.to_ascii_lowercase()).collect();
            let config = join(globs.map(lower), regexes)?;
            Some(RuleCondition::HostHeader { config })
        }
        PATH => {
            let (globs, regexes) = match sdk.path_pattern_config {
                Some(config) => (config.values, config.regex_values),
                None => (sdk.values, sdk.regex_values),
            };
            let config = join(globs, regexes)?;
            Some(RuleCondition::PathPattern { config })
        }
        HEADER => {
            let config = sdk.http_header_config?;
            let config = HttpHeaderConfig {
                name: config.http_header_name?.to_ascii_lowercase(),
                values: join(config.values, config.regex_values)?,
            };
            Some(RuleCondition::HttpHeader { config })
        }
        METHOD => {
            let values = sdk.http_request_method_config?.values?;
            let config = HttpMethodConfig { values };
            Some(RuleCondition::HttpRequestMethod { config })
        }
        QUERY => {
            let pair = |pair: QueryStringKeyValuePair| {
                Some(QueryStringValue {
                    // AWS answers an empty key where none was given.
                    key: pair.key.filter(|key| !key.is_empty()),
                    value: pair.value?,
                })
            };
            let values = sdk.query_string_config?.values?;
            let values = values.into_iter().map(pair).collect::<Option<_>>()?;
            let config = QueryStringConfig { values };
            Some(RuleCondition::QueryString { config })
        }
        SOURCE => {
            let values = sdk.source_ip_config?.values?;
            // As we write them: others may spell the same range otherwise.
            let values = values.into_iter().map(|text| match text.parse::<IpNet>() {
                Ok(range) => range.trunc().to_string(),
                Err(_) => text,
            });
            let config = SourceIpConfig {
                values: values.collect(),
            };
            Some(RuleCondition::SourceIp { config })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(values: &[&str]) -> Values {
        Values::Globs(values.iter().map(|&v| v.to_owned()).collect())
    }

    #[test]
    fn a_condition_survives_the_way_to_aws_and_back() {
        for condition in [
            RuleCondition::HostHeader {
                config: globs(&["a.example.com"]),
            },
            RuleCondition::HostHeader {
                config: Values::Regexes(vec!["^[^.]+\\.example\\.com$".into()]),
            },
            RuleCondition::PathPattern {
                config: globs(&["/a", "/a/*"]),
            },
            RuleCondition::PathPattern {
                config: Values::Regexes(vec!["^/v[0-9]+$".into()]),
            },
            RuleCondition::HttpHeader {
                config: HttpHeaderConfig {
                    name: "x-tenant".into(),
                    values: globs(&["blue"]),
                },
            },
            RuleCondition::HttpRequestMethod {
                config: HttpMethodConfig {
                    values: vec!["GET".into()],
                },
            },
            RuleCondition::QueryString {
                config: QueryStringConfig {
                    values: vec![
                        QueryStringValue {
                            key: Some("v".into()),
                            value: "1".into(),
                        },
                        QueryStringValue {
                            key: None,
                            value: "beta".into(),
                        },
                    ],
                },
            },
            RuleCondition::SourceIp {
                config: SourceIpConfig {
                    values: vec!["10.0.0.0/8".into()],
                },
            },
        ] {
            let back = conditions_from(Some(conditions_to(std::slice::from_ref(&condition))));
            assert_eq!(back, [condition]);
        }
    }

    #[test]
    fn what_others_spelt_otherwise_is_read_as_we_write_it() {
        let hosts = HostHeaderConditionConfig::builder().values("*.H.Example.com");
        let ranges = SourceIpConditionConfig::builder()
            .values("2001:DB8::/32")
            .values("10.1.2.3/8");
        let given = [
            SdkCondition::builder()
                .field(HOST)
                .host_header_config(hosts.build())
                .build(),
            SdkCondition::builder()
                .field(SOURCE)
                .source_ip_config(ranges.build())
                .build(),
        ];
        let want = [
            RuleCondition::HostHeader {
                config: globs(&["*.h.example.com"]),
            },
            RuleCondition::SourceIp {
                config: SourceIpConfig {
                    values: vec!["2001:db8::/32".into(), "10.0.0.0/8".into()],
                },
            },
        ];
        assert_eq!(conditions_from(Some(given.into())), want);
    }

    #[test]
    fn what_is_not_understood_is_foreign_and_never_dropped() {
        let both = HostHeaderConditionConfig::builder()
            .values("a")
            .regex_values("b")
            .build();
        for (given, why) in [
            (
                SdkCondition::builder().field("ip-reputation").build(),
                "a field of a newer API",
            ),
            (
                SdkCondition::builder()
                    .field(HOST)
                    .host_header_config(both)
                    .build(),
                "globs and expressions",
            ),
            (SdkCondition::builder().field(SOURCE).build(), "no values"),
            (SdkCondition::builder().build(), "no field"),
        ] {
            let read = conditions_from(Some(vec![given]));
            assert!(
                matches!(read[..], [RuleCondition::Foreign { .. }]),
                "{why}: {read:?}"
            );
        }
    }

    #[test]
    fn the_older_form_is_read() {
        let given = SdkCondition::builder().field(PATH).values("/a").build();
        assert_eq!(
            conditions_from(Some(vec![given])),
            [RuleCondition::PathPattern {
                config: globs(&["/a"])
            }]
        );
    }
}
