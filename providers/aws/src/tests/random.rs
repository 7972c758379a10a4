//! Random load balancers before and after in, the way from one to the other checked, also stopped after any call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use portcullis_model::{Action, BackendTls, FixedResponse, KeyAlgorithm, LoadBalancer, Semantics, Stored};
use proptest::prelude::*;

use super::build::*;
use super::settled::{distinct, made};
use crate::account::Account;
use crate::change::{Call, Change};
use crate::fold::fold;
use crate::names;
use crate::observed::{Observed, Owned, Owner, Shared};
use crate::plan::plan;
use crate::resource::{CertificateArn, CertificateRef, Ref, RuleAction, TargetGroupArn, kind};

const HOSTS: [&str; 3] = ["a.example.com", "*.example.com", "c.example.com"];
const PORTS: [u16; 3] = [80, 443, 8080];

/// What a load balancer is made of, by choice.
#[derive(Clone, Debug)]
struct Given {
    ports: BTreeSet<usize>,
    /// Host, path, backend (the last one answers by itself) and whether the rule stands on the first port alone.
    rules: Vec<(usize, usize, usize, bool)>,
    /// Of each backend: over TLS, and how many targets.
    backends: Vec<(bool, usize)>,
    default: usize,
    certificates: BTreeSet<usize>,
    /// The Secret's uid, its key and the day of its certificate; found by host where there is none.
    stored: Option<(usize, usize, i64)>,
    tagged: bool,
    own_groups: bool,
    draining: Option<u32>,
}

fn given() -> impl Strategy<Value = Given> {
    (
        prop::collection::btree_set(0..PORTS.len(), 1..=3),
        prop::collection::vec((0..HOSTS.len(), 0..3usize, 0..4usize, any::<bool>()), 0..6),
        prop::collection::vec((any::<bool>(), 0..4usize), 3),
        0..4usize,
        (
            prop::collection::btree_set(0..HOSTS.len(), 1..=3),
            prop::option::of((0..2usize, 0..2usize, 0..3i64)),
        ),
        any::<bool>(),
        prop::bool::weighted(0.2),
        prop::option::of(0..3u32),
    )
        .prop_map(
            |(ports, rules, backends, default, (certificates, stored), tagged, own_groups, draining)| Given {
                ports,
                rules,
                backends,
                default,
                certificates,
                stored,
                tagged,
                own_groups,
                draining,
            },
        )
}

fn balancer_of(given: &Given) -> LoadBalancer {
    let mut out = balancer("shop/web", Semantics::Kubernetes);
    let mut actions = Vec::new();
    for (number, (tls, targets)) in given.backends.iter().enumerate() {
        let ips = ["10.0.16.10", "10.0.16.11", "10.0.16.12", "10.0.16.13"];
        let id = backend(
            &mut out,
            "shop/web",
            &format!("s{number}"),
            "80",
            8080,
            Where::Pods(&ips[..*targets]),
        );
        let backend = out.backends.get_mut(&id).unwrap();
        backend.health.tls = *tls;
        if *tls {
            backend.protocol.tls = BackendTls::Unverified;
        }
        backend.drain_seconds = given.draining;
        actions.push(forward(&id));
    }
    actions.push(Action::Fixed(FixedResponse::unavailable("closed")));
    if given.tagged {
        out.options.tags.insert("Team".into(), "core".into());
    }
    if given.own_groups {
        (out.options.security_groups, out.options.open_nodes) = (vec!["sg-given".into()], true);
    }
    let ports: Vec<u16> = given.ports.iter().map(|at| PORTS[*at]).collect();
    for port in &ports {
        if *port == 443 {
            let hosts: Vec<&str> = given.certificates.iter().map(|at| HOSTS[*at]).collect();
            let mut certificates = vec![discovered(&hosts)];
            if let Some((uid, key, day)) = given.stored {
                let algorithm = [KeyAlgorithm::EcP256, KeyAlgorithm::Rsa(2048)][key].clone();
                let pair = pair(["one", "two"][uid], algorithm, day);
                out.key_pairs
                    .insert(object("shop/cert"), Stored::Pair(Arc::new(pair)));
                // The first one is the default certificate.
                certificates.insert(key, stored("shop/cert", &["a.example.com"]));
            }
            https(&mut out, 443, certificates);
        } else {
            http(&mut out, *port, actions[given.default].clone());
        }
    }
    for (host, path, action, first) in &given.rules {
        let ports = if *first { &ports[..1] } else { &ports[..] };
        let path = ["prefix:/", "prefix:/x", "exact:/x/y"][*path];
        out.rules.push(rule(
            "shop/web",
            ports,
            HOSTS[*host],
            path,
            actions[*action].clone(),
        ));
    }
    out
}

/// What AWS would refuse of a call, as things are.
fn refused(observed: &Observed, call: &Call) -> Option<&'static str> {
    let states = || observed.load_balancers.iter().map(Owned::get);
    let listeners = || states().flat_map(|state| state.listeners.values());
    let used = |arn: &TargetGroupArn| {
        listeners().any(|listener| {
            let rules = listener.rules.iter().flat_map(|rule| &rule.spec.actions);
            let all = listener.spec.default_actions.iter().chain(rules);
            all.flat_map(|action| action.target_groups())
                .any(|own| own == arn)
        })
    };
    let attached = |arn: &CertificateArn| {
        let mut all = listeners().flat_map(|listener| &listener.spec.certificates);
        all.any(|had| had.certificate_arn == *arn)
    };
    let groups = || observed.target_groups.iter().map(Owned::get);
    let missing = |actions: &[RuleAction<TargetGroupArn>]| {
        let mut all = actions.iter().flat_map(|action| action.target_groups());
        all.any(|arn| !groups().any(|group| group.arn == *arn))
    };
    let certificates = || observed.certificates.iter().map(|owned| &owned.get().arn);
    let has =
        |arn: &CertificateArn| !arn.as_str().contains("shop/cert") || certificates().any(|own| own == arn);
    match call {
        Call::DeleteCertificate { arn, .. } if attached(arn) => Some("ResourceInUseException"),
        Call::ImportCertificate {
            replaced: Some(arn),
            spec,
        } => {
            let mut all = observed.certificates.iter().map(Owned::get);
            let had = all.find(|own| own.arn == *arn);
            let same_key = had.is_some_and(|had| had.imported.key_algorithm == spec.shown.key_algorithm);
            (!same_key).then_some("ValidationException")
        }
        Call::AddListenerCertificates { certificate, .. } if !has(certificate) => Some("CertificateNotFound"),
        Call::ModifyListener { spec, .. } | Call::CreateListener { spec, .. }
            if spec
                .certificates
                .first()
                .is_some_and(|first| !has(&first.certificate_arn)) =>
        {
            Some("CertificateNotFound")
        }
        Call::DeleteTargetGroup { arn } if used(arn) => Some("ResourceInUse"),
        Call::DeleteSecurityGroup { group } if states().any(|s| s.spec.security_groups.contains(group)) => {
            Some("DependencyViolation")
        }
        Call::CreateTargetGroup { spec } if groups().any(|group| group.spec.name == spec.name) => {
            Some("DuplicateTargetGroupName")
        }
        Call::CreateLoadBalancer { .. } if states().next().is_some() => Some("DuplicateLoadBalancerName"),
        Call::CreateListener { spec, .. } if listeners().any(|l| l.spec.port == spec.port) => {
            Some("DuplicateListener")
        }
        Call::CreateListener { spec, .. } if missing(&spec.default_actions) => Some("TargetGroupNotFound"),
        Call::CreateRule { listener, spec } => {
            let Some(listener) = listeners().find(|l| l.arn == *listener) else {
                return Some("ListenerNotFound");
            };
            let taken = listener
                .rules
                .iter()
                .any(|rule| rule.spec.priority == spec.priority);
            taken
                .then_some("PriorityInUse")
                .or(missing(&spec.actions).then_some("TargetGroupNotFound"))
        }
        Call::ModifyRule { arn, actions, .. } => {
            let exists = listeners().flat_map(|l| &l.rules).any(|rule| rule.arn == *arn);
            (!exists)
                .then_some("RuleNotFound")
                .or(missing(actions).then_some("TargetGroupNotFound"))
        }
        Call::DeleteRule { arn } => {
            let exists = listeners().flat_map(|l| &l.rules).any(|rule| rule.arn == *arn);
            (!exists).then_some("RuleNotFound")
        }
        _ => None,
    }
}

/// Everything that exists by logical id, without ARNs, and without what replacing leaves behind for good.
fn shown(observed: &Observed) -> BTreeMap<String, String> {
    let names: BTreeMap<&TargetGroupArn, &str> = observed
        .target_groups
        .iter()
        .map(|owned| (&owned.get().arn, owned.resource()))
        .collect();
    let named = |actions: &[RuleAction<TargetGroupArn>]| {
        let find = |arn: &TargetGroupArn| {
            names
                .get(arn)
                .map(|name| Ref::<kind::TargetGroup>::logical(*name))
        };
        actions
            .iter()
            .map(|action| format!("{:?}", action.resolve(&find)))
            .collect::<Vec<_>>()
    };
    let mut out = BTreeMap::new();
    for owned in &observed.security_groups {
        out.insert(
            format!("group {}", owned.resource()),
            format!("{:?}", owned.get().spec),
        );
    }
    for owned in &observed.target_groups {
        let mut spec = owned.get().spec.clone();
        // No call takes an attribute back.
        spec.attributes.0.remove("deregistration_delay.timeout_seconds");
        let had = out.insert(format!("targets {}", owned.resource()), format!("{spec:?}"));
        assert_eq!(had, None, "two of {}", owned.resource());
    }
    let mut imported = BTreeMap::new();
    for owned in &observed.certificates {
        let state = owned.get();
        let text = format!("{:?} {:?}", state.imported, state.tags);
        let had = out.insert(format!("certificate {}", owned.resource()), text);
        assert_eq!(had, None, "two of {}", owned.resource());
        imported.insert(&state.arn, owned.resource());
    }
    let imported = |had: &CertificateRef| {
        let name = imported.get(&had.certificate_arn);
        name.map_or_else(|| had.certificate_arn.to_string(), |name| (*name).to_owned())
    };
    for state in observed.load_balancers.iter().map(Owned::get) {
        out.insert(names::LOAD_BALANCER.into(), format!("{:?}", state.spec));
        for (port, listener) in &state.listeners {
            let spec = &listener.spec;
            // The default one may stand among the others as well, where it does no harm.
            let certificates: BTreeSet<_> = spec.certificates.iter().map(imported).collect();
            let text = format!(
                "{:?} {:?} {:?} {certificates:?} {:?}",
                spec.protocol,
                named(&spec.default_actions),
                spec.certificates.first().map(imported),
                spec.tags
            );
            out.insert(format!("listener {port}"), text);
            for rule in &listener.rules {
                let mut spec = rule.spec.clone();
                // It stays that of the place the rule was made for.
                spec.tags.0.remove(names::RESOURCE_TAG);
                let text = format!("{:?} {:?} {:?}", spec.conditions, named(&spec.actions), spec.tags);
                out.insert(format!("rule {port}:{}", spec.priority), text);
            }
        }
    }
    out
}

/// Plans, makes the first so many changes of the round, and plans again, until nothing is left to do.
fn settle(
    balancer: Option<&LoadBalancer>,
    observed: &mut Observed,
    shared: &Shared,
    at_once: usize,
) -> Vec<String> {
    let account = Account::offline(None);
    let id = portcullis_model::LoadBalancerId::parse("shop/web");
    let mut calls = Vec::new();
    for _ in 0..400 {
        let (round, _) = plan(&settings("demo"), &id, balancer, observed, shared, &account);
        if round.is_empty() {
            return calls;
        }
        for change in round.changes.iter().take(at_once) {
            let why = refused(observed, &change.call);
            assert_eq!(
                why,
                None,
                "{change} of {:#?}",
                round.changes.iter().map(Change::to_string).collect::<Vec<_>>()
            );
            calls.push(format!("{} {}", change.call.name(), change.id));
            fold(observed, change, distinct(change, 10_000 + calls.len()));
        }
    }
    panic!("not settled");
}

/// One pass in rounds and one stopped after each call, both to the same end.
fn stopped_after_any_call(what: &str, before: &Given, after: &Given) {
    let account = Account::offline(None);
    let (start, _) = made(&balancer_of(before), &account);
    let desired = balancer_of(after);
    let (fresh, shared) = made(&desired, &account);
    let (mut whole, mut single) = (start.clone(), start);
    let calls = settle(Some(&desired), &mut whole, &shared, usize::MAX);
    assert_eq!(shown(&whole), shown(&fresh), "{what}: in rounds");
    let one_by_one = settle(Some(&desired), &mut single, &shared, 1);
    assert_eq!(shown(&single), shown(&fresh), "{what}: one by one");
    // What is registered when a rule is looked at says whether it waits for targets, and is then written twice.
    let written = |calls: &[String]| match one_by_one
        .iter()
        .any(|call| call.contains("DescribeTargetHealth"))
    {
        true => calls
            .iter()
            .filter(|call| !call.contains("DescribeTargetHealth"))
            .collect::<BTreeSet<_>>()
            .len(),
        false => calls.len(),
    };
    assert!(
        written(&one_by_one) <= written(&calls),
        "{what}: {} calls one by one, {} in rounds: {one_by_one:#?} {calls:#?}",
        one_by_one.len(),
        calls.len()
    );
}

#[test]
fn what_was_found_by_chance_stays_found() {
    let given = |ports: &[usize], rules: &[(usize, usize, usize, bool)], backends: &[(bool, usize)]| Given {
        ports: ports.iter().copied().collect(),
        rules: rules.to_vec(),
        backends: backends.to_vec(),
        default: 0,
        certificates: [0].into(),
        stored: None,
        tagged: true,
        own_groups: false,
        draining: None,
    };
    let plain = [(false, 0), (false, 0), (false, 0)];
    let rows = [(
        "the better of two equal rules is made of one that stood at the place of the other",
        given(
            &[1],
            &[
                (2, 0, 0, false),
                (0, 0, 0, false),
                (0, 2, 0, false),
                (1, 0, 0, false),
            ],
            &plain,
        ),
        given(
            &[0, 1],
            &[(0, 2, 0, false), (1, 0, 0, false), (0, 2, 0, false)],
            &[(true, 0), (false, 0), (false, 0)],
        ),
    )];
    for (what, before, after) in rows {
        stopped_after_any_call(what, &before, &after);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_pass_stopped_after_any_call_ends_in_the_same_state(before in given(), after in given()) {
        stopped_after_any_call("by chance", &before, &after);
    }

    #[test]
    fn nothing_is_left_over_when_nobody_asks(before in given()) {
        let (mut observed, shared) = made(&balancer_of(&before), &Account::offline(None));
        settle(None, &mut observed, &shared, 1);
        prop_assert_eq!(observed, Observed::nothing(Owner::load_balancer("demo", &balancer_of(&before).id)));
    }
}
