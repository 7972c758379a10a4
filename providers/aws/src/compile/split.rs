//! Conditions of which any alternative may hold in, lists of conditions within AWS's limits out.

use portcullis_model::{Code, Semantics};

use super::conditions::Refusal;
use crate::limits;
use crate::resource::{
    HttpHeaderConfig, HttpMethodConfig, QueryStringConfig, RuleCondition, SourceIpConfig, Values,
};

/// One list for each combination of parts, with as many values in each part as the limits leave room for.
///
/// Of each dimension one alternative must hold. Together the lists take exactly what the dimensions take.
pub(super) fn split(
    dimensions: &[Vec<RuleCondition>],
    semantics: Semantics,
) -> Result<Vec<Vec<RuleCondition>>, Refusal> {
    let most = match semantics {
        Semantics::Kubernetes => limits::VALUES_PER_CONDITION,
        // The incumbent fills a condition up to the limit of the rule, and AWS takes it; its layout stays.
        Semantics::AwsLoadBalancerController => limits::VALUES_PER_RULE,
    };
    let longest = |dimension: &Vec<RuleCondition>| dimension.iter().map(limits::values).max().unwrap_or(0);
    if dimensions.iter().any(|dimension| longest(dimension) == 0) {
        return Ok(Vec::new()); // a condition without values never holds
    }
    let mut sizes: Vec<usize> = dimensions.iter().map(|d| longest(d).min(most)).collect();
    loop {
        let fits = sizes.iter().sum::<usize>() <= limits::VALUES_PER_RULE;
        if fits {
            let lists = product(dimensions, &sizes)?;
            let wild = |list: &Vec<RuleCondition>| list.iter().map(limits::wildcards).sum::<usize>();
            if lists.iter().all(|list| wild(list) <= limits::WILDCARDS_PER_RULE) {
                return Ok(lists);
            }
        }
        // Take from the largest part; of equal ones from the last, as a path costs the most wildcards.
        let Some(largest) = sizes
            .iter_mut()
            .filter(|size| **size > 1)
            .max_by_key(|size| **size)
        else {
            let message = if fits {
                format!(
                    "AWS allows {} wildcards in a rule, and this one needs more",
                    limits::WILDCARDS_PER_RULE
                )
            } else {
                format!(
                    "AWS allows {} condition values in a rule, and this one needs more",
                    limits::VALUES_PER_RULE
                )
            };
            return Err(Refusal::new(Code::LimitExceeded, message));
        };
        *largest -= 1;
    }
}

/// More listener rules than this from one rule are refused before they are written.
const LISTS: usize = 100;

fn product(dimensions: &[Vec<RuleCondition>], sizes: &[usize]) -> Result<Vec<Vec<RuleCondition>>, Refusal> {
    let mut lists: Vec<Vec<RuleCondition>> = vec![Vec::new()];
    for (dimension, size) in dimensions.iter().zip(sizes) {
        let parts: Vec<RuleCondition> = dimension
            .iter()
            .flat_map(|condition| parts(condition, *size))
            .collect();
        if lists.len() * parts.len() > LISTS {
            let message = format!("the rule would become more than {LISTS} listener rules");
            return Err(Refusal::new(Code::LimitExceeded, message));
        }
        lists = lists
            .iter()
            .flat_map(|list| {
                parts
                    .iter()
                    .map(|part| list.iter().chain([part]).cloned().collect())
            })
            .collect();
    }
    Ok(lists)
}

/// The same condition over at most `size` of its values each.
fn parts(condition: &RuleCondition, size: usize) -> Vec<RuleCondition> {
    fn of(values: &Values, size: usize) -> Vec<Values> {
        match values {
            Values::Globs(list) => list
                .chunks(size)
                .map(|part| Values::Globs(part.to_vec()))
                .collect(),
            Values::Regexes(list) => list
                .chunks(size)
                .map(|part| Values::Regexes(part.to_vec()))
                .collect(),
        }
    }
    match condition {
        RuleCondition::HostHeader { config } => of(config, size)
            .into_iter()
            .map(|config| RuleCondition::HostHeader { config })
            .collect(),
        RuleCondition::PathPattern { config } => of(config, size)
            .into_iter()
            .map(|config| RuleCondition::PathPattern { config })
            .collect(),
        RuleCondition::HttpHeader { config } => of(&config.values, size)
            .into_iter()
            .map(|values| RuleCondition::HttpHeader {
                config: HttpHeaderConfig {
                    name: config.name.clone(),
                    values,
                },
            })
            .collect(),
        RuleCondition::HttpRequestMethod { config } => config
            .values
            .chunks(size)
            .map(|part| RuleCondition::HttpRequestMethod {
                config: HttpMethodConfig {
                    values: part.to_vec(),
                },
            })
            .collect(),
        RuleCondition::QueryString { config } => config
            .values
            .chunks(size)
            .map(|part| RuleCondition::QueryString {
                config: QueryStringConfig {
                    values: part.to_vec(),
                },
            })
            .collect(),
        RuleCondition::SourceIp { config } => config
            .values
            .chunks(size)
            .map(|part| RuleCondition::SourceIp {
                config: SourceIpConfig {
                    values: part.to_vec(),
                },
            })
            .collect(),
        RuleCondition::Foreign { .. } => vec![condition.clone()],
    }
}
