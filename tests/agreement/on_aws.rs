//! A load balancer and requests in; whether the Application Load Balancer planned for it answers as the model does out.
//!
//! Rules that the compiler refused with a problem are compared as far as a refusal may reach. Walking down the model's
//! list, a request that a rule without a problem takes must be answered by it. One that a rule with a problem takes may
//! be answered by that rule (it may stand on some listeners, or as some of its parts), with 503, or as if the rule were
//! not there, by the next that takes the request. Nothing else: no rule takes a request that it did not take before,
//! and no rule without a problem is passed over.

use std::collections::BTreeSet;

use portcullis_aws::{Settings, plan_offline};
use portcullis_model::{
    Action, Decision, Listener, LoadBalancer, Origin, Redirect, RedirectStatus, Request, Rule, Semantics,
    resolve,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use serde_json::Value;

use crate::alb::{Alb, Asked, Reading};
use crate::alb_validation::validate;
use crate::outcome::Outcome;

/// What is planned for a load balancer.
pub(crate) struct Planned {
    resources: Vec<Value>,
    alb: Alb,
    /// Where problems are told.
    problems: BTreeSet<String>,
}

impl Planned {
    pub(crate) fn of(balancer: &LoadBalancer) -> Result<Self, TestCaseError> {
        let settings = Settings {
            cluster: "test".to_owned(),
            ..Settings::default()
        };
        let document = plan_offline(std::slice::from_ref(balancer), &settings);
        let json = serde_json::to_value(&document).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let planned = &json["loadBalancers"][0];
        let resources = planned["resources"].as_array().cloned().unwrap_or_default();
        let problems = planned["problems"].as_array().cloned().unwrap_or_default();
        let at = problems.iter().filter_map(|problem| problem["at"].as_str());
        let problems: BTreeSet<String> = at.map(str::to_owned).collect();
        prop_assert!(!resources.is_empty(), "nothing is planned: {:?}", problems);
        if balancer.semantics == Semantics::Kubernetes {
            validate(&resources).map_err(TestCaseError::fail)?;
        }
        let alb = Alb::read(&resources).map_err(TestCaseError::fail)?;
        Ok(Self {
            resources,
            alb,
            problems,
        })
    }

    fn has_problem(&self, origin: &Origin) -> bool {
        self.problems.contains(&origin.to_string())
    }

    /// Compares one request under every reading of the documentation.
    pub(crate) fn agrees(&self, balancer: &LoadBalancer, request: &Request) -> Result<(), TestCaseError> {
        let want = self.admissible(balancer, request);
        let https = balancer
            .listeners
            .get(&request.port)
            .is_some_and(|l| l.is_https());
        let asked = Asked::of(request);
        for reading in Reading::ALL {
            // The incumbent writes expressions as they are, and so do we under its semantics.
            if balancer.semantics == Semantics::AwsLoadBalancerController && !reading.whole {
                continue;
            }
            let answered = self.alb.answer(&asked, reading);
            let (rule, got) = match &answered {
                None => (None, Outcome::NoListener),
                Some(answered) => {
                    let got =
                        Outcome::of_alb(answered.actions, &asked, https).map_err(TestCaseError::fail)?;
                    (answered.rule, got.without_words())
                }
            };
            prop_assert!(
                want.contains(&got),
                "{:?}\n want {:?}\n got {:?} by {:?} under {:?}\n{}",
                request,
                want,
                got,
                rule,
                reading,
                self.rules()
            );
        }
        Ok(())
    }

    /// The outcomes that are right; one, unless a rule with a problem takes the request.
    fn admissible(&self, balancer: &LoadBalancer, request: &Request) -> Vec<Outcome> {
        let unavailable = || Outcome::Fixed {
            status: 503,
            content_type: None,
            body: String::new(),
        };
        let Some(listener) = balancer.listeners.get(&request.port) else {
            return vec![Outcome::NoListener];
        };
        let of = |action: &Action| Outcome::of_model(action, request, listener).without_words();
        let mut outcomes = Vec::new();
        if self.has_problem(&listener.origin) {
            outcomes.extend([Outcome::NoListener, unavailable()]);
        }
        let taking = balancer.rules.iter().filter(|rule| rule.takes(request));
        for rule in taking {
            let outcome = of(&rule.action);
            let left_out = balancer.semantics == Semantics::AwsLoadBalancerController
                && leads_to_itself(&outcome, request, listener);
            outcomes.push(outcome);
            if self.has_problem(&rule.origin) {
                outcomes.push(unavailable());
            } else if !left_out {
                return outcomes;
            }
        }
        outcomes.push(of(&listener.default_action));
        outcomes
    }

    /// Whether the rule that should answer has a problem.
    pub(crate) fn refuses(&self, balancer: &LoadBalancer, request: &Request) -> bool {
        match resolve(balancer, request) {
            Decision::Rule(_, rule) => self.has_problem(&rule.origin),
            Decision::Default(_) | Decision::NoListener => false,
        }
    }

    /// Whose rule answers instead, of those that no problem keeps back: none where the default action does.
    pub(crate) fn successor<'b>(&self, balancer: &'b LoadBalancer, request: &Request) -> Option<&'b Rule> {
        let mut taking = balancer.rules.iter().filter(|rule| rule.takes(request));
        taking.find(|rule| !self.has_problem(&rule.origin))
    }

    fn rules(&self) -> String {
        let rules = self.resources.iter().filter(|r| r["kind"] == "ListenerRule");
        let line = |rule: &Value| {
            format!(
                "  {} {} {}\n",
                rule["id"], rule["spec"]["Conditions"], rule["spec"]["Actions"]
            )
        };
        rules.map(line).collect()
    }
}

/// The incumbent writes no rule for a redirect to the URL that was asked for, and so do we under its semantics.
fn leads_to_itself(outcome: &Outcome, request: &Request, listener: &Listener) -> bool {
    let asked = Redirect {
        status: RedirectStatus::Found,
        scheme: None,
        host: None,
        port: None,
        path: None,
        query: None,
    };
    let own = asked.location(request, listener.is_https()).expect("it is short");
    matches!(outcome, Outcome::Redirect { location, .. } if *location == own)
}

impl Asked {
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            port: u64::from(request.port.get()),
            host: request.host.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            method: request.method.clone(),
            headers: request.headers.clone(),
            source: request.source,
        }
    }
}
