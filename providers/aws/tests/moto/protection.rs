//! Web ACLs, trust stores and protections that AWS has in; load balancers behind them, at every step, out.

use portcullis_aws::{Aws, Change, Observed};
use portcullis_model::{
    ClientCertificates, Clients, Code, Firewall, FirewallChoice, LoadBalancer, Origin, Protocol, Provider,
    TrustStore,
};

use crate::world::{World, backend, bare, claim, forward, listen_tls, nothing, port, rule, simplest};

fn made(answer: &portcullis_test_support::Response) -> String {
    let text = answer.text();
    assert_eq!(answer.status, 200, "{text}");
    text
}

/// Makes a web ACL, and answers its ARN.
fn web_acl(world: &World, name: &str) -> String {
    let visible = r#"{"SampledRequestsEnabled":false,"CloudWatchMetricsEnabled":false,"MetricName":"m"}"#;
    let body = format!(
        r#"{{"Name":"{name}","Scope":"REGIONAL","DefaultAction":{{"Allow":{{}}}},"VisibilityConfig":{visible}}}"#
    );
    let text = made(&world.moto.json("wafv2", "CreateWebACL", &body));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    value["Summary"]["ARN"].as_str().unwrap().to_owned()
}

fn trust_store(world: &World, name: &str) {
    let bundle = [
        ("CaCertificatesBundleS3Bucket", "b"),
        ("CaCertificatesBundleS3Key", "k"),
    ];
    let parameters = [&[("Name", name)], bundle.as_slice()].concat();
    made(&world.moto.call("elbv2", "CreateTrustStore", &parameters));
}

fn origin(field: &str) -> Origin {
    simplest_origin().at(field)
}

fn simplest_origin() -> Origin {
    bare().options.origin
}

fn behind(world: &World, choice: FirewallChoice) -> LoadBalancer {
    let mut desired = simplest(world);
    desired.options.firewall = Some(Firewall {
        choice,
        relied_on_by: desired.members.iter().cloned().collect(),
        origin: origin("wafv2"),
    });
    desired
}

/// What exists, read from scratch, with what its settings ask for.
async fn seen(world: &World, desired: &LoadBalancer) -> Observed {
    let (mut observed, _) = world.look(&desired.id).await;
    world.aws.look_closer(desired, &mut observed).await.unwrap();
    observed
}

fn calls(changes: &[&'static str], service: &str) -> Vec<&'static str> {
    changes
        .iter()
        .copied()
        .filter(|call| call.starts_with(service))
        .collect()
}

#[tokio::test]
async fn a_web_acl_is_associated_changed_and_taken_away() {
    let world = World::new().await;
    let (edge, other) = (web_acl(&world, "edge"), web_acl(&world, "other"));
    let account = world.account().await;
    let desired = behind(&world, FirewallChoice::Named("edge".into()));
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let known = (&shared, &account);
    world.calls();
    world.aws.consult(&desired, &account).await.unwrap();
    world.aws.consult(&desired, &account).await.unwrap();
    assert_eq!(
        world.calls(),
        ["wafv2:ListWebACLs"],
        "once for a reading of the account"
    );
    let mut observed = nothing(&desired);
    let made = world.make(&desired, &mut observed, known).await;
    assert_eq!(calls(&made, "wafv2"), ["wafv2:AssociateWebACL"]);

    let mut again = seen(&world, &desired).await;
    let held = |observed: &Observed| {
        let state = observed.load_balancer().unwrap();
        state.web_acl.at().cloned().flatten().map(|arn| arn.to_string())
    };
    assert_eq!(held(&again), Some(edge.clone()));
    assert_eq!(world.make(&desired, &mut again, known).await, Vec::<&str>::new());

    let moved = behind(&world, FirewallChoice::Given(other.clone()));
    assert_eq!(
        world.make(&moved, &mut again, known).await,
        ["wafv2:AssociateWebACL"]
    );
    assert_eq!(held(&seen(&world, &desired).await), Some(other));
    // Nobody says anything: it stays, and nobody looks.
    let plain = simplest(&world);
    let mut unasked = seen(&world, &plain).await;
    assert_eq!(held(&unasked), None);
    assert_eq!(world.make(&plain, &mut unasked, known).await, Vec::<&str>::new());
    let none = behind(&world, FirewallChoice::Off);
    assert_eq!(
        world.make(&none, &mut again, known).await,
        ["wafv2:DisassociateWebACL"]
    );
    assert_eq!(held(&seen(&world, &desired).await), None);
}

/// Makes at most so many calls; answers how many it made.
async fn make_some(
    world: &World,
    aws: &Aws,
    desired: &LoadBalancer,
    observed: &mut Observed,
    most: usize,
) -> usize {
    let account = aws.account().await.unwrap();
    aws.consult(desired, &account).await.unwrap();
    aws.look_closer(desired, observed).await.unwrap();
    let shared = world.fit(std::slice::from_ref(desired), &account).await;
    let mut count = 0;
    loop {
        let (plan, problems) = aws.plan(&desired.id, Some(desired), observed, &shared, &account);
        assert_eq!(problems, []);
        let left: Vec<Change> = plan.changes.into_iter().take(most - count).collect();
        if left.is_empty() {
            return count;
        }
        for change in left {
            let answer = aws
                .apply(&claim(), &change)
                .await
                .unwrap_or_else(|error| panic!("{change}: {error}"));
            Aws::fold(observed, &change, answer);
            count += 1;
            nobody_is_served_past_the_firewall(world, desired, &change).await;
        }
    }
}

async fn nobody_is_served_past_the_firewall(world: &World, desired: &LoadBalancer, after: &Change) {
    let there = seen(world, desired).await;
    if let Some(state) = there.load_balancer() {
        let stands = state.web_acl.at().is_some_and(Option::is_some);
        assert!(stands || state.listeners.is_empty(), "after {after}");
    }
}

#[tokio::test]
async fn broken_off_after_any_call_nobody_is_served_past_the_firewall() {
    for stop in 0.. {
        let world = World::new().await;
        web_acl(&world, "edge");
        let desired = behind(&world, FirewallChoice::Named("edge".into()));
        let mut observed = nothing(&desired);
        let made = make_some(&world, &world.aws, &desired, &mut observed, stop).await;
        // Somebody else starts, and knows nothing.
        let aws = world.restarted().await;
        let mut observed = seen(&world, &desired).await;
        make_some(&world, &aws, &desired, &mut observed, usize::MAX).await;
        let there = seen(&world, &desired).await;
        let state = there.load_balancer().unwrap();
        assert_eq!(
            (state.listeners.len(), state.web_acl.at().is_some()),
            (1, true),
            "stopped after {stop}"
        );
        if made < stop {
            return;
        }
    }
}

#[tokio::test]
async fn a_web_acl_that_is_not_there_lets_nobody_in() {
    let world = World::new().await;
    let account = world.account().await;
    let desired = behind(&world, FirewallChoice::Named("edge".into()));
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    world.aws.consult(&desired, &account).await.unwrap();
    let mut observed = nothing(&desired);
    let (_, problems, result) = world
        .settle(&desired.id, Some(&desired), &mut observed, (&shared, &account))
        .await;
    assert_eq!(result, Ok(()));
    let codes: Vec<Code> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::ResourceNotFound]);
    let there = seen(&world, &desired).await;
    for listener in there.load_balancer().unwrap().listeners.values() {
        let rules = listener.rules.iter().flat_map(|rule| &rule.spec.actions);
        let mut actions = listener.spec.default_actions.iter().chain(rules);
        assert!(
            actions.all(|action| action.target_groups().next().is_none()),
            "{listener:?}"
        );
    }
    // It comes about with the next reading of the account after it was made.
    web_acl(&world, "edge");
    let account = world.account().await;
    world.aws.consult(&desired, &account).await.unwrap();
    let made = world.make(&desired, &mut observed, (&shared, &account)).await;
    let at = |call: &str| made.iter().position(|made| *made == call);
    let stands = at("wafv2:AssociateWebACL");
    assert!(stands.is_some(), "{made:?}");
    let opens = ["elbv2:CreateRule", "elbv2:ModifyRule"].map(at);
    let first = opens.into_iter().flatten().min();
    assert!(stands < first, "{made:?}");
}

#[tokio::test]
async fn a_listener_verifies_clients_with_a_trust_store_by_name() {
    let world = World::new().await;
    trust_store(&world, "roots");
    let account = world.account().await;
    let asking = |certificates: ClientCertificates| {
        let mut balancer = bare();
        listen_tls(&mut balancer, 443, &["*.shop.example.com"]);
        let web = backend(&mut balancer, "web", &world.pods(0)[..2]);
        rule(&mut balancer, "a.shop.example.com", "/", forward(&web));
        let members = balancer.members.clone();
        let listener = balancer.listeners.get_mut(&port(443)).unwrap();
        if let Protocol::Https(tls) = &mut listener.protocol {
            tls.clients = Some(Clients {
                certificates,
                relied_on_by: members.into_iter().collect(),
                origin: origin("mutual-authentication"),
            });
        }
        balancer
    };
    let verify = asking(ClientCertificates::Verify {
        trust_store: TrustStore::Given("roots".into()),
        ignore_expiry: true,
        advertise_authorities: false,
    });
    let shared = world.fit(std::slice::from_ref(&verify), &account).await;
    let known = (&shared, &account);
    world.calls();
    world.aws.consult(&verify, &account).await.unwrap();
    assert_eq!(world.calls(), ["elbv2:DescribeTrustStores"]);
    let mut observed = nothing(&verify);
    world.make(&verify, &mut observed, known).await;
    let mut again = seen(&world, &verify).await;
    assert_eq!(world.make(&verify, &mut again, known).await, Vec::<&str>::new());
    for certificates in [ClientCertificates::PassThrough, ClientCertificates::Off] {
        let changed = asking(certificates.clone());
        assert_eq!(
            world.make(&changed, &mut again, known).await,
            ["elbv2:ModifyListener"]
        );
        let mut seen = seen(&world, &changed).await;
        assert_eq!(
            world.make(&changed, &mut seen, known).await,
            Vec::<&str>::new(),
            "{certificates:?}"
        );
    }
}

#[tokio::test]
async fn shield_protects_with_an_active_subscription_alone() {
    let world = World::new().await;
    let mut desired = simplest(&world);
    desired.options.attack_protection = Some(true);
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let known = (&shared, &account);
    world.aws.consult(&desired, &account).await.unwrap();
    let mut observed = nothing(&desired);
    let (made_first, problems, result) = world
        .settle(&desired.id, Some(&desired), &mut observed, known)
        .await;
    assert_eq!(result, Ok(()));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        !made_first
            .iter()
            .any(|change| change.summary().call.starts_with("shield"))
    );

    made(&world.moto.json("shield", "CreateSubscription", "{}"));
    let account = world.account().await;
    let known = (&shared, &account);
    world.aws.consult(&desired, &account).await.unwrap();
    assert_eq!(
        world.make(&desired, &mut observed, known).await,
        ["shield:CreateProtection"]
    );
    let mut again = seen(&world, &desired).await;
    assert_eq!(world.make(&desired, &mut again, known).await, Vec::<&str>::new());
    desired.options.attack_protection = Some(false);
    assert_eq!(
        world.make(&desired, &mut again, known).await,
        ["shield:DeleteProtection"]
    );
    let mut last = seen(&world, &desired).await;
    assert_eq!(world.make(&desired, &mut last, known).await, Vec::<&str>::new());
}
