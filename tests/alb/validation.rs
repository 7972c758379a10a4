//! Listener rules as JSON in, the first documented limit of ELBv2 that they break out.
//!
//! Sources, read 2026-11: Guide, "Condition types for listener rules", "Add a listener rule", "Quotas for your
//! Application Load Balancers"; API, the `…ConditionConfig` and `…ActionConfig` types. "Use" limits are those of the
//! guide where it and the quota page differ.

use serde_json::Value;

/// Over all listeners, default rules not counted.
const RULES: usize = 100;
const VALUES_PER_RULE: usize = 5;
const VALUES_PER_CONDITION: usize = 3;
const WILDCARDS_PER_RULE: usize = 5;
const VALUE_LENGTH: usize = 128;
const NAME_LENGTH: usize = 40;
const TARGET_GROUPS_PER_FORWARD: usize = 5;

/// Checks every `ListenerRule` and the default actions of every `Listener`.
pub(crate) fn validate(resources: &[Value]) -> Result<(), String> {
    let rules: Vec<&Value> = resources.iter().filter(|r| r["kind"] == "ListenerRule").collect();
    if rules.len() > RULES {
        return Err(format!("{} rules", rules.len()));
    }
    let listeners = || resources.iter().filter(|r| r["kind"] == "Listener");
    let https = |listener: &Value| listener["spec"]["Protocol"] == "HTTPS";
    for rule in rules {
        let owner = rule["id"].as_str().and_then(|id| id.split(':').next());
        let encrypted = listeners().any(|l| l["id"].as_str() == owner && https(l));
        validate_rule(&rule["spec"], encrypted).map_err(|why| format!("{why}: {rule}"))?;
    }
    for listener in listeners() {
        validate_actions(&listener["spec"]["DefaultActions"], https(listener))
            .map_err(|why| format!("{why}: {listener}"))?;
    }
    Ok(())
}

fn validate_rule(spec: &Value, https: bool) -> Result<(), String> {
    if !(1..=50_000).contains(&spec["Priority"].as_u64().unwrap_or(0)) {
        return Err("a priority is from 1 to 50,000".to_owned());
    }
    let conditions = spec["Conditions"].as_array().ok_or("no conditions")?;
    if conditions.is_empty() {
        return Err("a rule has a condition".to_owned());
    }
    let (mut values, mut wildcards) = (0, 0);
    for condition in conditions {
        let field = condition["Field"].as_str().unwrap_or_default();
        let same = conditions.iter().filter(|c| c["Field"] == *field).count();
        if same > 1 && !matches!(field, "http-header" | "query-string") {
            return Err(format!("two conditions with the field {field}"));
        }
        let (count, wild) = validate_condition(field, condition)?;
        if !(1..=VALUES_PER_CONDITION).contains(&count) {
            return Err(format!("{count} values in a condition"));
        }
        values += count;
        wildcards += wild;
    }
    if values > VALUES_PER_RULE {
        return Err(format!("{values} values in a rule"));
    }
    if wildcards > WILDCARDS_PER_RULE {
        return Err(format!("{wildcards} wildcards in a rule"));
    }
    validate_actions(&spec["Actions"], https)
}

/// How many values and wildcards the condition has.
fn validate_condition(field: &str, condition: &Value) -> Result<(usize, usize), String> {
    let config = |key: &str| condition[key].clone();
    let of = |json: &Value, key: &str| -> Vec<String> {
        let values = json[key].as_array().cloned().unwrap_or_default();
        values
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let (config, allowed, longest) = match field {
        "host-header" => (config("HostHeaderConfig"), "-_.*?", VALUE_LENGTH),
        "path-pattern" => (config("PathPatternConfig"), "_-.$/~\"'@:+&*?", VALUE_LENGTH),
        "http-header" => (
            config("HttpHeaderConfig"),
            " !\"#$%&'()+,./:;<=>@[]^_`{|}~-*?",
            VALUE_LENGTH,
        ),
        "http-request-method" => (config("HttpRequestMethodConfig"), "-_", NAME_LENGTH),
        "source-ip" => (config("SourceIpConfig"), ".:/", VALUE_LENGTH),
        "query-string" => return validate_query(&condition["QueryStringConfig"]),
        other => return Err(format!("no condition has the field {other:?}")),
    };
    if field == "http-header" {
        let name = config["HttpHeaderName"].as_str().unwrap_or_default();
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || name.len() > NAME_LENGTH || !name.chars().all(token) {
            return Err(format!("{name:?} is no header name"));
        }
        if name.eq_ignore_ascii_case("host") {
            return Err("the host has a condition of its own".to_owned());
        }
    }
    let (values, expressions) = (of(&config, "Values"), of(&config, "RegexValues"));
    if !expressions.is_empty() && !matches!(field, "host-header" | "path-pattern" | "http-header") {
        return Err(format!("{field} takes no expressions"));
    }
    for text in values.iter().chain(&expressions) {
        if text.is_empty() || text.chars().count() > longest {
            return Err(format!("{text:?} is empty or longer than {longest}"));
        }
    }
    for value in &values {
        let known = |c: char| match field {
            "http-request-method" => c.is_ascii_uppercase() || allowed.contains(c),
            _ => c.is_ascii_alphanumeric() || allowed.contains(c),
        };
        if let Some(c) = value.chars().find(|c| !known(*c)) {
            return Err(format!("{value:?} holds {c:?}, which {field} does not allow"));
        }
        if field == "host-header" {
            // "You must include at least one '.' character. You can include only alphabetical characters after the
            // final '.' character."
            match value.rsplit_once('.') {
                Some((_, last)) if last.chars().all(|c| c.is_ascii_alphabetic() || "*?".contains(c)) => {}
                _ => return Err(format!("{value:?} has no last label of letters")),
            }
        }
    }
    let wild = matches!(field, "host-header" | "path-pattern" | "http-header");
    let wildcards = if wild { count_wildcards(values.iter()) } else { 0 };
    Ok((values.len() + expressions.len(), wildcards))
}

fn validate_query(config: &Value) -> Result<(usize, usize), String> {
    let pairs = config["Values"].as_array().ok_or("no values in the query")?;
    let mut texts = Vec::new();
    for pair in pairs {
        texts.extend(pair["Key"].as_str());
        texts.push(pair["Value"].as_str().ok_or("a pair without a value")?);
    }
    for text in &texts {
        if text.is_empty() || text.chars().count() > VALUE_LENGTH {
            return Err(format!("{text:?} is empty or longer than {VALUE_LENGTH}"));
        }
        let known = |c: char| c.is_ascii_alphanumeric() || "_-.$/~\"'@:+&()!,;=*?\\".contains(c);
        if let Some(c) = text.chars().find(|c| !known(*c)) {
            return Err(format!("{text:?} holds {c:?}, which query-string does not allow"));
        }
        if text.replace("\\*", "").replace("\\?", "").contains('\\') {
            return Err(format!("{text:?} holds a backslash that escapes no wildcard"));
        }
    }
    let unescaped: Vec<String> = texts
        .iter()
        .map(|t| t.replace("\\*", "").replace("\\?", ""))
        .collect();
    Ok((pairs.len(), count_wildcards(unescaped.iter())))
}

fn count_wildcards<'a>(values: impl Iterator<Item = &'a String>) -> usize {
    values.map(|v| v.matches(['*', '?']).count()).sum()
}

/// One routing action, and it stands last. Source: Guide, "Listener rules", "Rule basics"; API, the action types.
fn validate_actions(actions: &Value, https: bool) -> Result<(), String> {
    let actions = actions.as_array().ok_or("no actions")?;
    let routing = |a: &&Value| {
        let kind = a["Type"].as_str().unwrap_or_default();
        matches!(kind, "forward" | "redirect" | "fixed-response")
    };
    let last = actions.last().ok_or("no action")?;
    if actions.iter().filter(routing).count() != 1 || !routing(&last) {
        return Err("one routing action, and it stands last".to_owned());
    }
    match last["Type"].as_str() {
        Some("forward") => {
            let groups = &last["ForwardConfig"]["TargetGroups"];
            let groups = groups.as_array().ok_or("a forward to nowhere")?;
            if !(1..=TARGET_GROUPS_PER_FORWARD).contains(&groups.len()) {
                return Err(format!("{} target groups in a forward", groups.len()));
            }
            if groups.iter().any(|g| g["Weight"].as_u64().unwrap_or(1) > 999) {
                return Err("a weight is from 0 to 999".to_owned());
            }
        }
        Some("redirect") => {
            let config = last["RedirectConfig"].as_object().ok_or("no redirect")?;
            if !matches!(config["StatusCode"].as_str(), Some("HTTP_301" | "HTTP_302")) {
                return Err("a redirect is HTTP_301 or HTTP_302".to_owned());
            }
            if https && config.get("Protocol").is_some_and(|p| p == "HTTP") {
                return Err("no redirect leads from HTTPS to HTTP".to_owned());
            }
            let long = |v: &Value| v.as_str().unwrap_or_default().chars().count() > VALUE_LENGTH;
            if config.values().any(long) {
                return Err("a part of a redirect is longer than 128".to_owned());
            }
        }
        _ => {
            let config = &last["FixedResponseConfig"];
            let status = config["StatusCode"].as_str().unwrap_or_default();
            if status.len() != 3 || !status.starts_with(['2', '4', '5']) {
                return Err(format!("{status:?}: a fixed response is 2xx, 4xx or 5xx"));
            }
            if config["MessageBody"].as_str().unwrap_or_default().len() > 1024 {
                return Err("a body longer than 1,024".to_owned());
            }
        }
    }
    Ok(())
}
