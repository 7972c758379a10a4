//! Admission webhook configurations in, those of the incumbent that fail closed out.

use serde::Serialize;
use serde_json::Value;

/// Ends the names of the incumbent's webhooks, such as `vingress.elbv2.k8s.aws`.
const SUFFIX: &str = ".elbv2.k8s.aws";

/// A webhook that refuses every write it is asked about while nobody answers it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Webhook {
    /// The object it stands in.
    pub configuration: String,
    pub name: String,
    /// What can then not be written, as `resource.group`.
    pub resources: Vec<String>,
}

/// The incumbent's webhooks of one configuration that fail closed.
pub fn closing(configuration: &Value) -> Vec<Webhook> {
    let texts = |list: &Value| -> Vec<String> {
        let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .filter_map(|text| text.as_str().map(str::to_owned))
            .collect()
    };
    let webhooks = configuration["webhooks"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    webhooks
        .iter()
        .filter(|webhook| {
            webhook["name"]
                .as_str()
                .is_some_and(|name| name.ends_with(SUFFIX))
        })
        // `Fail` is also what holds where nothing is said (admissionregistration.k8s.io/v1).
        .filter(|webhook| webhook["failurePolicy"] != "Ignore")
        .map(|webhook| {
            let rules = webhook["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
            let of_rule = rules.iter().flat_map(|rule| {
                let groups = texts(&rule["apiGroups"]);
                let resources = texts(&rule["resources"]).into_iter();
                resources.flat_map(move |resource| {
                    let name = |group: &String| match group.as_str() {
                        "" => resource.clone(),
                        group => format!("{resource}.{group}"),
                    };
                    groups.iter().map(name).collect::<Vec<_>>()
                })
            });
            Webhook {
                configuration: configuration["metadata"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                name: webhook["name"].as_str().unwrap_or_default().to_owned(),
                resources: of_rule.collect(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_incumbents_webhooks_that_fail_closed_are_named() {
        let rules = json!([{"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "operations": ["CREATE"]}]);
        let configuration = json!({
            "metadata": {"name": "aws-load-balancer-webhook"},
            "webhooks": [
                {"name": "vingress.elbv2.k8s.aws", "failurePolicy": "Fail", "rules": rules},
                {"name": "mpod.elbv2.k8s.aws", "failurePolicy": "Ignore", "rules": rules},
                {"name": "mservice.elbv2.k8s.aws", "rules": [{"apiGroups": [""], "resources": ["services"]}]},
                {"name": "policy.example.com", "failurePolicy": "Fail", "rules": rules},
            ],
        });
        let of = |name: &str, resource: &str| Webhook {
            configuration: "aws-load-balancer-webhook".into(),
            name: name.into(),
            resources: vec![resource.into()],
        };
        assert_eq!(
            closing(&configuration),
            [
                of("vingress.elbv2.k8s.aws", "ingresses.networking.k8s.io"),
                of("mservice.elbv2.k8s.aws", "services"),
            ]
        );
        assert_eq!(closing(&json!({"metadata": {"name": "empty"}})), []);
    }
}
