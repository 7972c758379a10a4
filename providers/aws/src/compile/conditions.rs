//! Hosts, paths and conditions of a rule in, the condition lists of one or more listener rules out.
//!
//! AWS bounds the values of a rule and of a condition, and lets no condition mix globs with expressions. As each
//! condition holds if any of its values does, a rule that is too big is written as several with the same action.

use portcullis_model::{Code, Origin, Problem, Rule, Semantics};

use super::besides;
use super::split::split;
use super::terms::{self, Term};
use crate::limits;
use crate::resource::{RuleCondition, Values};

/// Why conditions cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: String,
    /// Where it was asked for, if not where the rule was.
    pub(super) at: Option<Origin>,
}

impl Refusal {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            at: None,
        }
    }

    /// Told where it was asked for, else at the rule or listener.
    pub(super) fn told(self, origin: &Origin) -> Problem {
        Problem::new(self.code, self.at.unwrap_or_else(|| origin.clone()), self.message)
    }
}

/// The lists of conditions that together take what the rule takes; one listener rule each.
pub(super) fn compile(rule: &Rule, semantics: Semantics) -> Result<Vec<Vec<RuleCondition>>, Refusal> {
    let mut dimensions = besides::compile(&rule.conditions, semantics)?;
    let mut hosts = Vec::new();
    for host in &rule.hosts {
        hosts.push(terms::host(host, semantics)?);
    }
    dimensions.push(alternatives(hosts, |config| RuleCondition::HostHeader { config }));
    let mut paths = Vec::new();
    for path in &rule.paths {
        paths.push(terms::path(path, semantics)?);
    }
    dimensions.push(alternatives(paths, |config| RuleCondition::PathPattern {
        config,
    }));
    dimensions.retain(|alternatives| !alternatives.is_empty());
    if dimensions.is_empty() {
        // A rule must have a condition; this one holds for every request.
        let config = Values::Globs(vec!["/*".into()]);
        dimensions.push(vec![RuleCondition::PathPattern { config }]);
    }
    split(&dimensions, semantics)
}

/// Globs in one condition, expressions in another.
fn alternatives(terms: Vec<Term>, condition: impl Fn(Values) -> RuleCondition) -> Vec<RuleCondition> {
    let (mut globs, mut regexes) = (Vec::new(), Vec::new());
    for term in terms {
        match term {
            Term::Globs(values) => globs.extend(values),
            Term::Regex(value) => regexes.push(value),
        }
    }
    let mut out = Vec::new();
    if !globs.is_empty() {
        out.push(condition(Values::Globs(globs)));
    }
    if !regexes.is_empty() {
        out.push(condition(Values::Regexes(regexes)));
    }
    out
}

/// A value no longer than AWS compares with.
pub(super) fn short(code: Code, what: &str, value: String) -> Result<String, Refusal> {
    if value.chars().count() <= limits::VALUE_LENGTH {
        return Ok(value);
    }
    let most = limits::VALUE_LENGTH;
    Err(Refusal::new(
        code,
        format!("{what} {value:?} is longer than the {most} characters AWS compares with"),
    ))
}
