//! Labels and a selector of them, as Kubernetes writes it, in; whether it selects them out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::crd::LabelExpression;

pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

/// All of these labels with these values, and all of these expressions; empty, it selects everything.
/// Source: Kubernetes API, LabelSelector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LabelSelector {
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    #[serde(default)]
    pub match_expressions: Vec<LabelExpression>,
}

impl LabelSelector {
    pub fn selects(&self, labels: &Labels) -> bool {
        let is = |key: &str, value: &str| labels.get(key).is_some_and(|v| **v == *value);
        self.match_labels.iter().all(|(key, value)| is(key, value))
            && self.match_expressions.iter().all(|asked| meets(labels, asked))
    }

    /// The place of the first expression that is none, and why. By it nothing would ever be selected.
    pub fn fault(&self) -> Option<(usize, String)> {
        let faults = self.match_expressions.iter().enumerate();
        faults
            .filter_map(|(place, asked)| Some((place, fault(asked)?)))
            .next()
    }
}

fn fault(asked: &LabelExpression) -> Option<String> {
    match (asked.operator.as_str(), asked.values.is_empty()) {
        ("In" | "NotIn", false) | ("Exists" | "DoesNotExist", true) => None,
        ("In" | "NotIn", true) => Some(format!("operator {} needs values", asked.operator)),
        ("Exists" | "DoesNotExist", false) => Some(format!("operator {} takes no values", asked.operator)),
        (other, _) => Some(format!(
            "operator {other:?} is none of In, NotIn, Exists and DoesNotExist"
        )),
    }
}

/// Source: Kubernetes API, LabelSelectorRequirement. What is not one is met by nothing.
pub fn meets(labels: &Labels, asked: &LabelExpression) -> bool {
    let value = labels.get(asked.key.as_str());
    let listed = value.is_some_and(|value| asked.values.iter().any(|one| **one == **value));
    match asked.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed && !asked.values.is_empty(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_and_expressions_must_all_hold() {
        let labels: Labels = [("zone", "a"), ("gpu", "")]
            .map(|(key, value)| (key.into(), value.into()))
            .into();
        let expression = |key, operator, values: &[&str]| json!({ "matchExpressions": [{ "key": key, "operator": operator, "values": values }] });
        for (selector, want, fault) in [
            (json!({}), true, None),
            (json!({ "matchLabels": { "zone": "a" } }), true, None),
            (json!({ "matchLabels": { "zone": "b" } }), false, None),
            (expression("zone", "In", &["b", "a"]), true, None),
            (expression("zone", "In", &["b"]), false, None),
            (expression("zone", "NotIn", &["a"]), false, None),
            (expression("none", "NotIn", &["a"]), true, None),
            (expression("gpu", "Exists", &[]), true, None),
            (expression("gpu", "DoesNotExist", &[]), false, None),
            (expression("zone", "In", &[]), false, Some(0)),
            (expression("gpu", "Exists", &["x"]), true, Some(0)),
            (expression("zone", "Gt", &["1"]), false, Some(0)),
            (
                json!({
                    "matchLabels": { "zone": "a" },
                    "matchExpressions": [
                        { "key": "gpu", "operator": "Exists" }, { "key": "zone", "operator": "NotIn", "values": ["a"] },
                    ],
                }),
                false,
                None,
            ),
        ] {
            let read = LabelSelector::deserialize(&selector).unwrap();
            assert_eq!(read.selects(&labels), want, "{selector}");
            assert_eq!(read.fault().map(|(place, _)| place), fault, "{selector}");
        }
    }
}
