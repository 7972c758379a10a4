//! Calls that are refused in, what is made all the same out: nothing waits for what it does not rely on.

use std::collections::BTreeSet;

use portcullis_model::{Action, BackendTls, Code, LoadBalancer, Problem, ProviderError, Retry, Semantics};
use proptest::prelude::*;

use super::build::*;
use super::rules::{answers, given, places, some_rules};
use super::settled::{distinct, made};
use crate::account::Account;
use crate::change::{Call, Change};
use crate::fold::fold;
use crate::observed::{Observed, Owner, Shared};
use crate::plan::plan;
use crate::resource::Source;

/// No ARN has a number from here on.
const FRESH: usize = 1000;

fn error(code: Code, words: &str) -> ProviderError {
    ProviderError {
        code,
        call: "elbv2:Any",
        message: format!("Refused: {words}"),
        retry: Retry::Never,
    }
}

/// What a pass comes to.
pub(super) struct Passed {
    pub(super) made: Vec<String>,
    refused: Vec<String>,
    pub(super) problems: Vec<Problem>,
}

/// One pass as the controller makes it: what `refuse` names is refused, and the rounds go on without it. `calls` counts
/// across passes, so that no two resources have one ARN.
pub(super) fn pass(
    balancer: Option<&LoadBalancer>,
    (observed, shared, account): (&mut Observed, &Shared, &Account),
    calls: &mut usize,
    mut refuse: impl FnMut(&Change) -> Option<Code>,
    after_each: impl FnMut(&Observed, &Change),
) -> Passed {
    let world = (observed, shared, account);
    let refuse = |change: &Change| refuse(change).map(|code| error(code, "because"));
    pass_with(balancer, world, calls, refuse, after_each)
}

/// The same, with AWS's words.
fn pass_with(
    balancer: Option<&LoadBalancer>,
    (observed, shared, account): (&mut Observed, &Shared, &Account),
    calls: &mut usize,
    mut refuse: impl FnMut(&Change) -> Option<ProviderError>,
    mut after_each: impl FnMut(&Observed, &Change),
) -> Passed {
    let id = match balancer {
        Some(balancer) => balancer.id.clone(),
        None => portcullis_model::LoadBalancerId::parse("shop/web"),
    };
    let (mut made, mut refused) = (Vec::new(), Vec::new());
    observed.refused.clear();
    'rounds: for _ in 0..100 {
        let (round, problems) = plan(&settings("demo"), &id, balancer, observed, shared, account);
        if round.is_empty() {
            for problem in &problems {
                let code = format!("[{}]", problem.code);
                assert!(
                    !problem.message.contains(&code),
                    "the code stands beside it: {problem}"
                );
            }
            return Passed {
                made,
                refused,
                problems,
            };
        }
        for change in round.changes {
            *calls += 1;
            let name = format!("{} {}", change.call.name(), change.id);
            if let Some(error) = refuse(&change) {
                refused.push(name);
                observed.refused.note(change, error);
                continue 'rounds;
            }
            fold(observed, &change, distinct(&change, *calls));
            after_each(observed, &change);
            made.push(name);
        }
    }
    panic!("not settled: made {made:#?}, refused {refused:#?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_request_gets_a_third_answer_though_calls_are_refused(
        before in some_rules(),
        after in some_rules(),
        refused in prop::collection::btree_set(0..12usize, 1..5),
        default in any::<bool>(),
        code in prop_oneof![Just(Code::RequestRefused), Just(Code::QuotaExceeded), Just(Code::AccessDenied)],
    ) {
        let account = Account::offline(None);
        let (mut observed, shared) = made(&given(&before), &account);
        let mut desired = given(&after);
        if default {
            let gone = portcullis_model::FixedResponse::new(410, None, None).unwrap();
            desired.listeners.get_mut(&port(80)).unwrap().default_action = Action::Fixed(gone);
        }
        let old = answers(&observed);
        let (settled, _) = made(&desired, &account);
        let new = answers(&settled);
        let check = |observed: &Observed, change: &Change| {
            for (place, now) in answers(observed).into_iter().enumerate() {
                assert!(
                    now == old[place] || now == new[place],
                    "request {place} got {now}, neither {} nor {}, after {change}",
                    old[place],
                    new[place]
                );
            }
        };
        let (mut calls, mut attempt) = (FRESH, 0);
        let refuse = |_: &Change| {
            attempt += 1;
            refused.contains(&(attempt - 1)).then_some(code)
        };
        let world = (&mut observed, &shared, &account);
        pass(Some(&desired), world, &mut calls, refuse, check);
        let world = (&mut observed, &shared, &account);
        let mended = pass(Some(&desired), world, &mut calls, |_| None, check);
        prop_assert_eq!(mended.problems, vec![]);
        prop_assert_eq!(answers(&observed), new);
        prop_assert_eq!(places(&observed), places(&settled));
    }
}

const TENANTS: [&str; 3] = ["a", "b", "c"];

/// Three tenants with two paths and a Service each, on two ports.
fn group() -> LoadBalancer {
    let mut out = balancer("public", Semantics::Kubernetes);
    http(&mut out, 80, not_found());
    http(&mut out, 81, not_found());
    for (number, tenant) in TENANTS.into_iter().enumerate() {
        let owner = format!("{tenant}/web");
        let address = format!("10.0.16.1{number}");
        let web = backend(&mut out, &owner, "web", "80", 8080, Where::Pods(&[&address]));
        let host = format!("{tenant}.example.com");
        for path in ["prefix:/api", "prefix:/"] {
            out.rules
                .push(rule(&owner, &[80, 81], &host, path, forward(&web)));
        }
    }
    out
}

/// Rules of a tenant that forward to its target group with its targets in it: two on each of two ports.
fn served(observed: &Observed, tenant: &str) -> usize {
    let groups: BTreeSet<_> = observed
        .target_groups
        .iter()
        .filter(|owned| owned.resource().starts_with(&format!("{tenant}/")))
        .filter(|owned| !owned.get().spec.targets.is_empty())
        .map(|owned| owned.get().arn.clone())
        .collect();
    let listeners = observed
        .load_balancer()
        .into_iter()
        .flat_map(|lb| lb.listeners.values());
    let rules = listeners.flat_map(|listener| &listener.rules);
    let forwards = |rule: &&crate::observed::RuleState| {
        let mut to = rule.spec.actions.iter().flat_map(|action| action.target_groups());
        to.any(|arn| groups.contains(arn))
    };
    rules.filter(forwards).count()
}

/// Whose the change is; none where all share it.
fn tenant(change: &Change) -> Option<&'static str> {
    let text = match &change.call {
        Call::CreateRule { spec, .. } => format!("{:?}", spec.conditions),
        Call::CreateTargetGroup { .. } | Call::RegisterTargets { .. } => change.id.clone(),
        _ => return None,
    };
    TENANTS
        .into_iter()
        .find(|tenant| text.contains(&format!("{tenant}.example")) || text.starts_with(&format!("{tenant}/")))
}

#[test]
fn every_call_refused_in_turn_costs_no_neighbour_anything() {
    let account = Account::offline(None);
    let (whole, shared) = made(&group(), &account);
    let nothing = || Observed::nothing(Owner::load_balancer("demo", &group().id));
    let calls = pass(
        Some(&group()),
        (&mut nothing(), &shared, &account),
        &mut FRESH.clone(),
        |_| None,
        |_, _| {},
    )
    .made;
    for code in [
        Code::RequestRefused,
        Code::QuotaExceeded,
        Code::AccessDenied,
        Code::NotOurs,
        Code::ConflictingChange,
    ] {
        for name in calls.iter().collect::<BTreeSet<_>>() {
            let (mut observed, mut count, mut whose) = (nothing(), FRESH, None);
            let refuse = |change: &Change| {
                let this = format!("{} {}", change.call.name(), change.id) == *name;
                if this {
                    whose = tenant(change);
                }
                this.then_some(code)
            };
            let world = (&mut observed, &shared, &account);
            let passed = pass(Some(&group()), world, &mut count, refuse, |_, _| {});
            let case = format!("{name} refused with {code}: {:#?}", passed.made);
            let told = |problem: &Problem| problem.code == code;
            assert!(passed.problems.iter().any(told), "{case}\n{:?}", passed.problems);
            let of = |at: &Problem| at.at.object.namespace.to_string();
            if let Some(whose) = whose {
                assert_eq!(passed.refused.len(), 1, "{case}");
                for tenant in TENANTS {
                    let want = 4;
                    assert!(
                        tenant == whose || served(&observed, tenant) == want,
                        "{tenant}: {case}"
                    );
                }
                assert!(
                    passed.problems.iter().all(|p| of(p) == whose),
                    "{case}: {:?}",
                    passed.problems
                );
            }
            // A later pass makes what is missing, and nothing else.
            let world = (&mut observed, &shared, &account);
            let mended = pass(Some(&group()), world, &mut count, |_| None, |_, _| {});
            assert_eq!(mended.problems, [], "{case}");
            for tenant in TENANTS {
                assert_eq!(
                    served(&observed, tenant),
                    served(&whole, tenant),
                    "{tenant}: {case}"
                );
            }
        }
    }
}

#[test]
fn a_prefix_list_that_is_not_there_lets_in_nobody_and_shuts_out_nobody_else() {
    let account = Account::offline(None);
    let mut desired = group();
    let range = ["10.0.0.0/8".parse().unwrap()];
    desired.options.admitted = [(port(80), range.into()), (port(81), Default::default())].into();
    let lists = |lists: &[&str]| lists.iter().map(|list| (*list).to_owned()).collect();
    desired.options.admitted_lists =
        [(port(80), lists(&["pl-1"])), (port(81), lists(&["pl-2", "pl-9"]))].into();
    let at = origin("a/web", "metadata.annotations[lists]");
    desired
        .options
        .origins
        .insert("security-group-prefix-lists", at.clone());
    let missing = |change: &Change| {
        let text = format!("{:?}", change.call);
        let opens = change.call.name() == "ec2:AuthorizeSecurityGroupIngress";
        (opens && text.contains("pl-9")).then_some(Code::ResourceNotFound)
    };
    let shown = |observed: &Observed| -> Vec<String> {
        let permissions = &observed.security_groups[0].get().spec.permissions;
        let shown = permissions.iter().map(|permission| {
            let source = match &permission.source {
                Source::Range(range) => range.to_string(),
                Source::PrefixList(list) => list.clone(),
                Source::Group(group) => group.to_string(),
            };
            format!("{} {source}", permission.ports.unwrap().0)
        });
        shown.collect()
    };

    let (_, shared) = made(&group(), &account);
    let mut observed = Observed::nothing(Owner::load_balancer("demo", &group().id));
    let world = (&mut observed, &shared, &account);
    let passed = pass(Some(&desired), world, &mut FRESH.clone(), missing, |_, _| {});
    assert_eq!(shown(&observed), ["80 10.0.0.0/8", "80 pl-1", "81 pl-2"]);
    let told: Vec<_> = passed.problems.iter().map(|p| (p.code, p.at.clone())).collect();
    assert_eq!(told, [(Code::ResourceNotFound, at)]);
    for tenant in TENANTS {
        assert_eq!(served(&observed, tenant), 4, "{tenant}");
    }

    // What it replaces at its port stays; at others what is no longer asked for goes.
    let (mut observed, shared) = made(&group(), &account);
    let world = (&mut observed, &shared, &account);
    pass(Some(&desired), world, &mut FRESH.clone(), missing, |_, _| {});
    assert_eq!(
        shown(&observed),
        ["80 10.0.0.0/8", "80 pl-1", "81 0.0.0.0/0", "81 pl-2"]
    );
}

/// The two worlds of a change, what is refused on the way, what is made all the same, and how many refusals there are.
type Step = (
    &'static str,
    fn(&mut LoadBalancer),
    &'static str,
    &'static [&'static str],
    usize,
);

#[test]
fn nothing_is_taken_away_in_reliance_on_what_was_refused() {
    let other_port = |b: &mut LoadBalancer| {
        let backend = b.backends.values_mut().next().unwrap();
        let mut targets = backend.targets.to_vec();
        targets.iter_mut().for_each(|target| target.port = port(9090));
        backend.targets = targets.into();
    };
    let other_protocol =
        |b: &mut LoadBalancer| b.backends.values_mut().next().unwrap().protocol.tls = BackendTls::Unverified;
    let steps: [Step; 4] = [
        ("all targets move", other_port, "elbv2:RegisterTargets", &[], 1),
        (
            "another target group",
            other_protocol,
            "elbv2:CreateTargetGroup",
            &[],
            1,
        ),
        (
            "a rule that would use it",
            other_protocol,
            "elbv2:ModifyRule",
            &[
                "elbv2:CreateTargetGroup shop/web-web:80",
                "elbv2:RegisterTargets shop/web-web:80",
            ],
            // Beside the other one, then at once.
            2,
        ),
        (
            "clients from elsewhere",
            |b| {
                let port = port(80);
                b.options
                    .admitted
                    .insert(port, ["10.0.0.0/8".parse().unwrap()].into());
            },
            "ec2:AuthorizeSecurityGroupIngress",
            &[],
            1,
        ),
    ];
    for (what, edit, refused, want, times) in steps {
        let account = Account::offline(None);
        let (mut observed, shared) = made(&simple(), &account);
        let mut desired = simple();
        edit(&mut desired);
        let refuse = |change: &Change| (change.call.name() == refused).then_some(Code::RequestRefused);
        let world = (&mut observed, &shared, &account);
        let passed = pass(Some(&desired), world, &mut FRESH.clone(), refuse, |_, _| {});
        assert_eq!(
            (passed.made.as_slice(), passed.refused.len()),
            (&want.map_owned()[..], times),
            "{what}"
        );
    }
}

trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for &[&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}

#[test]
fn what_is_refused_over_and_over_is_left_alone() {
    let account = Account::offline(None);
    let mut desired = balancer("public", Semantics::Kubernetes);
    http(&mut desired, 80, not_found());
    for number in 0..20 {
        let host = format!("h{number}.example.com");
        desired
            .rules
            .push(rule("shop/web", &[80], &host, "prefix:/", not_found()));
    }
    for (code, tries) in [
        (Code::AccessDenied, 5),
        (Code::QuotaExceeded, 5),
        (Code::RequestRefused, 20),
    ] {
        let mut observed = Observed::nothing(Owner::load_balancer("demo", &desired.id));
        let (_, shared) = made(&desired, &account);
        let create = |change: &Change| (change.call.name() == "elbv2:CreateRule").then_some(code);
        let world = (&mut observed, &shared, &account);
        let passed = pass(Some(&desired), world, &mut FRESH.clone(), create, |_, _| {});
        assert_eq!(passed.refused.len(), tries, "{code}");
    }
}

/// Which attributes a call asks for.
fn asked(change: &Change) -> Vec<String> {
    match &change.call {
        Call::ModifyTargetGroupAttributes { attributes, .. } => attributes.0.keys().cloned().collect(),
        _ => Vec::new(),
    }
}

#[test]
fn an_attribute_that_is_refused_takes_no_other_with_it() {
    let account = Account::offline(None);
    for (bad, words, code, set, refused, told) in [
        // AWS names it: one call more.
        (
            vec!["b.new"],
            Some("'b.new' is not recognized."),
            Code::RequestRefused,
            "acdefg",
            1,
            vec!["b.new"],
        ),
        // It does not: half by half until it stands alone.
        (
            vec!["b.new"],
            None,
            Code::RequestRefused,
            "acdefg",
            4,
            vec!["b.new"],
        ),
        (
            vec!["b.new", "g.new"],
            None,
            Code::RequestRefused,
            "acdef",
            8,
            vec!["b.new", "g.new"],
        ),
        // It is no attribute's fault: nothing is tried again.
        (vec!["b.new"], None, Code::AccessDenied, "", 1, vec![""]),
    ] {
        let mut desired = simple();
        let backend = desired.backends.values_mut().next().unwrap();
        for key in "abcdefg".chars() {
            backend.attributes.insert(format!("{key}.new"), "1".into());
        }
        let mut observed = Observed::nothing(Owner::load_balancer("demo", &desired.id));
        let (_, shared) = made(&desired, &account);
        let mut calls = FRESH;
        let mut passed = || {
            let refuse = |change: &Change| {
                let asked = asked(change);
                let refused = asked.iter().any(|key| bad.contains(&key.as_str()));
                refused.then(|| error(code, words.unwrap_or("because")))
            };
            let world = (&mut observed, &shared, &account);
            pass_with(Some(&desired), world, &mut calls, refuse, |_, _| {})
        };
        let first = passed();
        let again = passed();
        let row = format!("{bad:?} {words:?} {code}");
        let groups = observed.target_groups.first().unwrap().get();
        let had: String = groups
            .spec
            .attributes
            .0
            .keys()
            .filter_map(|key| key.strip_suffix(".new"))
            .collect();
        assert_eq!((had.as_str(), first.refused.len()), (set, refused), "{row}");
        let at = |problem: &Problem| {
            let name = problem.message.split(": elbv2").next().unwrap();
            name.split_once(", ").map_or("", |(_, keys)| keys).to_owned()
        };
        assert_eq!(
            first.problems.iter().map(at).collect::<Vec<_>>(),
            told,
            "{row}: {:#?}",
            first.problems
        );
        // In the next pass only what was refused is left to ask for.
        assert_eq!(again.problems.iter().map(at).collect::<Vec<_>>(), told, "{row}");
        assert!(again.made.is_empty(), "{row}: {:?}", again.made);
    }
}

#[test]
fn room_that_was_made_is_used_in_the_same_pass() {
    let account = Account::offline(None);
    let rules = [(1, 0, 0), (2, 0, 0), (2, 1, 0)];
    let (mut observed, shared) = made(&given(&rules), &account);
    // Two rules more and two less, where there is no room for both, though the quota we know of says so.
    let mut desired = given(&rules[..1]);
    desired.rules.push(rule(
        "shop/web",
        &[80],
        "c.example.com",
        "prefix:/new",
        not_found(),
    ));
    desired.rules.push(rule(
        "shop/web",
        &[80],
        "d.example.com",
        "prefix:/new",
        not_found(),
    ));
    let mut full = true;
    let refuse = |change: &Change| match change.call.name() {
        "elbv2:DeleteRule" => {
            full = false;
            None
        }
        "elbv2:CreateRule" if full => Some(Code::QuotaExceeded),
        _ => None,
    };
    let world = (&mut observed, &shared, &account);
    let passed = pass(Some(&desired), world, &mut FRESH.clone(), refuse, |_, _| {});
    assert_eq!(passed.problems, []);
    assert!(
        passed
            .made
            .iter()
            .any(|call| call.starts_with("elbv2:DeleteRule")),
        "{:?}",
        passed.made
    );
    assert_eq!(observed.load_balancer().unwrap().listeners[&80].rules.len(), 3);
}

#[test]
fn a_deletion_that_is_refused_keeps_what_it_uses() {
    let account = Account::offline(None);
    let (mut observed, shared) = made(&simple(), &account);
    let refuse =
        |change: &Change| (change.call.name() == "elbv2:DeleteLoadBalancer").then_some(Code::AccessDenied);
    let world = (&mut observed, &shared, &account);
    let passed = pass(None, world, &mut FRESH.clone(), refuse, |_, _| {});
    assert_eq!(passed.made, [""; 0]);
    assert_eq!(codes(&passed.problems), [Code::AccessDenied]);
    let refuse = |change: &Change| {
        (change.call.name() == "elbv2:DeleteTargetGroup").then_some(Code::ConflictingChange)
    };
    let world = (&mut observed, &shared, &account);
    let passed = pass(None, world, &mut FRESH.clone(), refuse, |_, _| {});
    assert_eq!(
        passed.made,
        [
            "elbv2:DeleteLoadBalancer LoadBalancer",
            "ec2:DeleteSecurityGroup ManagedLBSecurityGroup"
        ]
    );
}
