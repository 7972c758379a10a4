//! What others change on AWS in; that it is put back, told and counted, out.

use std::sync::Arc;
use std::time::Duration;

use portcullis::controller::Leadership;

use super::{resource, served};
use crate::world::{INGRESSES, Running, World, ingress, until, with};

#[tokio::test(flavor = "multi_thread")]
async fn what_others_change_is_repaired() {
    let world = Arc::new(World::start().await);
    let often = Duration::from_secs(2);
    let running = world
        .control_as(world.aws().await, Leadership::Alone, often)
        .await;
    served(&world, "web").await;
    with(&world, |world| {
        let rule = resource(world, "shop.web", "ListenerRule");
        let answer = world.moto.call("elbv2", "DeleteRule", &[("RuleArn", &rule)]);
        assert_eq!(answer.status, 200, "{}", answer.text());
        world.moto.record();
    })
    .await;
    until(&world, "the rule is there again", |world| {
        (world.writes() == ["elbv2:CreateRule"]).then_some(())
    })
    .await;
    repaired(
        &world,
        &running,
        "ListenerRule 80:1 (elbv2:CreateRule)",
        "elbv2:CreateRule",
    )
    .await;

    // What load balancers share: nodes shut them out.
    with(&world, |world| {
        let group = world.account.node_security_group.as_str();
        let rules = world.moto.call(
            "ec2",
            "DescribeSecurityGroupRules",
            &[("Filter.1.Name", "group-id"), ("Filter.1.Value.1", group)],
        );
        let text = rules.text();
        let ours = text.split("<item>").find(|rule| rule.contains("8080"));
        let (_, rest) = ours.unwrap().split_once("<securityGroupRuleId>").unwrap();
        let rule = rest.split('<').next().unwrap();
        let answer = world.moto.call(
            "ec2",
            "RevokeSecurityGroupIngress",
            &[("GroupId", group), ("SecurityGroupRuleId.1", rule)],
        );
        assert_eq!(answer.status, 200, "{}", answer.text());
        world.moto.record();
    })
    .await;
    until(&world, "they are let in again", |world| {
        (world.writes() == ["ec2:AuthorizeSecurityGroupIngress"]).then_some(())
    })
    .await;
    repaired(
        &world,
        &running,
        "(ec2:AuthorizeSecurityGroupIngress)",
        "ec2:AuthorizeSecurityGroupIngress",
    )
    .await;

    // What its owner changes is no repair.
    with(&world, |world| {
        let paths = [("/", "web"), ("/api", "web")];
        world.patch(
            &format!("{INGRESSES}/web"),
            &ingress("web", "web.example.com", &paths),
        );
    })
    .await;
    until(&world, "a path more", |world| {
        (world.writes().contains(&"elbv2:CreateRule".to_owned()) && world.settled("shop.web")).then_some(())
    })
    .await;
    let (_, counts) = running.ask("/metrics").await;
    assert!(
        counts.contains("portcullis_repairs_total{call=\"elbv2:CreateRule\"} 1\n"),
        "{counts}"
    );
    running.stop().await;
}

/// Waits until the record's Events say that this was put back, and the metric counts it.
async fn repaired(world: &Arc<World>, running: &Running, what: &'static str, call: &str) {
    until(world, "it is told", move |world| {
        let events = world.get("/apis/events.k8s.io/v1/namespaces/default/events")?;
        let mut events = events["items"].as_array()?.iter();
        let told = events.find(|event| {
            let of_it = event["reason"] == "DriftRepaired" && event["regarding"]["name"] == "shop.web";
            of_it && event["note"].as_str().is_some_and(|note| note.contains(what))
        });
        told.map(drop)
    })
    .await;
    let (_, counts) = running.ask("/metrics").await;
    assert!(
        counts.contains(&format!("portcullis_repairs_total{{call=\"{call}\"}} 1\n")),
        "{counts}"
    );
}
