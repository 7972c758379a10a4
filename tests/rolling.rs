//! Pods that come and go in a real cluster, under load through a simulated load balancer, in; what was answered out.
//!
//! The load balancer routes real HTTP requests by the rules and targets that AWS was really told of.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(dead_code, reason = "the world and the evaluator have more to them than this")]

#[path = "alb/evaluator.rs"]
mod evaluator;
#[path = "rolling/load.rs"]
mod load;
#[path = "controller/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use portcullis_aws::Aws;
use portcullis_model::{LoadBalancerId, Provider};
use serde_json::{Value, json};

use self::load::{Alb, Fleet, Load};
use self::world::{INGRESSES, RECORDS, Running, SLICES, World, ingress, names, until, with};

const PODS: &str = "/api/v1/namespaces/shop/pods";
const GATE: &str = "target-health.elbv2.k8s.aws/";

/// Where a pod runs: its node, and which of the node's addresses it has.
type Place = (&'static str, usize, usize);

fn address(world: &World, (_, node, nth): Place) -> String {
    world.account.nodes[node].pods[nth].clone()
}

/// A pod whose containers are ready, and that waits for this target group.
fn gated_pod(world: &World, place: Place, group: &str) {
    let (name, node, _) = place;
    let node = &world.account.nodes[node];
    world.post(
        PODS,
        &json!({
            "metadata": {"name": name, "labels": {"app": "web"}},
            "spec": {
                "nodeName": node.id, "containers": [{"name": "web", "image": "web"}],
                "readinessGates": [{"conditionType": format!("{GATE}{group}")}],
            },
        }),
    );
    let address = address(world, place);
    let status = json!({"status": {
        "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
        "conditions": [{"type": "ContainersReady", "status": "True"}],
    }});
    world.patch(&format!("{PODS}/{name}/status"), &status);
}

/// The condition of a pod's gate: its status and reason.
fn gate(world: &World, pod: &str) -> Option<(String, String)> {
    let pod = world.get(&format!("{PODS}/{pod}"))?;
    let conditions = pod["status"]["conditions"].as_array()?;
    let gate = conditions.iter().find(|condition| {
        condition["type"]
            .as_str()
            .is_some_and(|kind| kind.starts_with(GATE))
    })?;
    Some((
        gate["status"].as_str()?.to_owned(),
        gate["reason"].as_str()?.to_owned(),
    ))
}

/// What the slice says of each pod: whether it is ready.
fn slice(world: &World, pods: &[(Place, bool)]) {
    let endpoint = |(place, ready): &(Place, bool)| {
        let mut endpoint = world.endpoints(&[*place])[0].clone();
        endpoint["conditions"] = json!({"ready": ready, "serving": ready, "terminating": false});
        endpoint
    };
    let endpoints: Vec<Value> = pods.iter().map(endpoint).collect();
    world.patch(&format!("{SLICES}/web"), &json!({"endpoints": endpoints}));
}

/// The load balancer `shop/web`, once it has settled.
async fn served(world: &Arc<World>, aws: &Aws) -> Alb {
    until(world, "the load balancer stands", |world| {
        world.settled("shop.web").then_some(())
    })
    .await;
    let id = LoadBalancerId::parse("shop/web");
    let account = aws.account().await.expect("moto answers");
    let observed = aws.observe(std::slice::from_ref(&id), &account).await;
    let observed = observed.expect("moto answers");
    Alb::read(&observed[&id], world.moto.clone())
}

async fn start() -> (Arc<World>, Running, Alb) {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    with(&world, |world| {
        world.post(INGRESSES, &ingress("web", "web.example.com", &[("/", "web")]));
    })
    .await;
    let aws = world.aws().await;
    let alb = served(&world, &aws).await;
    (world, running, alb)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_sent_to_a_pod_that_has_gone() {
    let (world, running, alb) = start().await;
    let fleet = Arc::new(Fleet::default());
    let group = alb.group.name.clone();
    let old: [Place; 2] = [("web-1", 0, 0), ("web-2", 1, 0)];
    let new: [Place; 2] = [("web-3", 0, 1), ("web-4", 1, 1)];
    let last: [Place; 2] = [("web-5", 0, 2), ("web-6", 1, 2)];
    for place in old {
        fleet.start(place.0, &address(&world, place));
    }
    let load = Load::begin(alb, fleet.clone());
    load.answered_more(20).await;
    with(&world, |world| world.moto.record()).await;

    // One comes, one goes; each waits for the load balancer before it is ready.
    for (comes, goes, stays) in [(new[0], old[0], old[1]), (new[1], old[1], new[0])] {
        fleet.start(comes.0, &address(&world, comes));
        let name = group.clone();
        with(&world, move |world| {
            gated_pod(world, comes, &name);
            slice(world, &[(goes, true), (stays, true), (comes, false)]);
        })
        .await;
        let open = until(&world, "the new pod's gate opens", move |world| {
            gate(world, comes.0).filter(|(status, _)| status == "True")
        })
        .await;
        assert_eq!(open.1, "Healthy", "{}", comes.0);
        with(&world, move |world| {
            slice(world, &[(goes, true), (stays, true), (comes, true)]);
            // Its deletion begins; its slice has not heard of it.
            world.delete(&format!("{PODS}/{}", goes.0));
        })
        .await;
        load.let_go(goes.0).await;
        with(&world, move |world| {
            slice(world, &[(stays, true), (comes, true)]);
            world.delete(&format!("{PODS}/{}?gracePeriodSeconds=0", goes.0));
        })
        .await;
        load.answered_more(20).await;
    }
    let writes = with(&world, World::writes).await;
    let one_by_one = ["elbv2:RegisterTargets", "elbv2:DeregisterTargets"].repeat(2);
    assert_eq!(
        writes, one_by_one,
        "each pod costs one call to come and one to go"
    );

    // All at once: those that replace them are in before they are out.
    for place in last {
        fleet.start(place.0, &address(&world, place));
    }
    with(&world, move |world| {
        world.moto.record();
        for (name, node, nth) in last {
            world.pod(name, node, nth);
        }
        slice(world, &last.map(|place| (place, true)));
    })
    .await;
    for (name, ..) in new {
        load.let_go(name).await;
    }
    load.answered_more(20).await;
    assert_eq!(with(&world, World::writes).await, one_by_one[..2]);

    let told = load.end();
    assert_eq!(
        told.failures,
        [""; 0],
        "of {} requests",
        told.answered.values().sum::<usize>()
    );
    for (name, ..) in old.into_iter().chain(new).chain(last) {
        assert!(
            told.answered.contains_key(name),
            "{name} had requests: {:?}",
            told.answered
        );
    }

    // Nobody waits any more, so nobody is asked.
    let rested = running.passes("resting").await;
    with(&world, |world| {
        world.moto.record();
        let same = json!({"metadata": {"annotations": {"alb.ingress.kubernetes.io/scheme": "internal"}}});
        world.patch(&format!("{INGRESSES}/web"), &same);
    })
    .await;
    world::until_async("a pass rests", async || {
        (running.passes("resting").await > rested).then_some(())
    })
    .await;
    assert_eq!(with(&world, |world| names(&world.moto.calls())).await, [""; 0]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_does_not_wait_for_a_target_group_that_nothing_uses() {
    let (world, running, alb) = start().await;
    let group = alb.group.name.clone();
    let theirs = "k8s-shop-other-0123456789";
    let (ours, foreign) = (("web-7", 0, 3), ("web-8", 1, 3));
    with(&world, move |world| {
        gated_pod(world, foreign, theirs);
        // Its Service does not say yet that it serves, and when it does, nothing sends it requests any more.
        gated_pod(world, ours, &group);
        world.delete(&format!("{INGRESSES}/web"));
    })
    .await;
    until(&world, "the load balancer is gone", |world| {
        world.get(&format!("{RECORDS}/shop.web")).is_none().then_some(())
    })
    .await;
    let open = until(&world, "the gate opens", move |world| {
        gate(world, ours.0).filter(|(status, _)| status == "True")
    })
    .await;
    // Looked at before or after the last of it went.
    assert!(
        matches!(open.1.as_str(), "TargetGroupNotUsed" | "TargetGroupNotFound"),
        "{open:?}"
    );
    // Whose the other one is, nobody has said yet.
    assert_eq!(with(&world, move |world| gate(world, foreign.0)).await, None);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_of_other_clusters_outlive_ours() {
    let (world, running, alb) = start().await;
    let shared = json!({"metadata": {"annotations": {
        "alb.ingress.kubernetes.io/multi-cluster-target-group": "true",
    }}});
    let recorded = |want: &'static [&'static str]| {
        move |world: &World| {
            let record = world.get(&format!("{RECORDS}/shop.web"))?;
            let own = record["status"]["ownTargets"]["shop/web:80"].as_array()?.len();
            (world.settled("shop.web") && own == want.len()).then_some(())
        }
    };
    with(&world, move |world| {
        world.patch(&format!("{INGRESSES}/web"), &shared)
    })
    .await;
    until(&world, "our own are recorded", recorded(&["web-1", "web-2"])).await;
    running.stop().await;

    // Another cluster registers a pod of its own; ours loses one while nobody looks.
    let arn = alb.group.handle.clone();
    let foreign = with(&world, move |world| {
        let foreign = address(world, ("", 1, 9));
        let given = [
            ("TargetGroupArn", arn.as_str()),
            ("Targets.member.1.Id", foreign.as_str()),
            ("Targets.member.1.Port", "8080"),
        ];
        assert_eq!(world.moto.call("elbv2", "RegisterTargets", &given).status, 200);
        slice(world, &[(("web-1", 0, 0), true)]);
        world.moto.record();
        foreign
    })
    .await;
    let running = world.control(world.aws().await).await;
    until(&world, "one is recorded", recorded(&["web-1"])).await;
    assert_eq!(with(&world, World::writes).await, ["elbv2:DeregisterTargets"]);
    let want = with(&world, move |world| {
        let mut want = vec![address(world, ("", 0, 0)), foreign];
        want.sort();
        want
    })
    .await;
    assert_eq!(alb.registered(), want);
    running.stop().await;
}

/// What the incumbent remembered in its ConfigMap is ours after taking over; what it did not is somebody else's.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_incumbent_registered_is_taken_over() {
    let (world, running, alb) = start().await;
    running.stop().await;
    let name = alb.group.name.clone();
    with(&world, move |world| {
        let gone = [address(world, ("", 1, 0)), address(world, ("", 0, 0))];
        let targets = gone.map(|address| format!("{address}:8080")).join(",");
        world.post(
            "/api/v1/namespaces/shop/configmaps",
            &json!({"metadata": {"name": format!("aws-lbc-targets-{name}")}, "data": {"targets": targets}}),
        );
        let shared = json!({"metadata": {"annotations": {
            "alb.ingress.kubernetes.io/multi-cluster-target-group": "true",
        }}});
        world.patch(&format!("{INGRESSES}/web"), &shared);
        slice(world, &[(("web-1", 0, 0), true)]);
        world.moto.record();
    })
    .await;
    let running = world.control(world.aws().await).await;
    until(&world, "one is left", |world| {
        let record = world.get(&format!("{RECORDS}/shop.web"))?;
        let own = record["status"]["ownTargets"]["shop/web:80"].as_array()?.len();
        (world.settled("shop.web") && own == 1).then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, ["elbv2:DeregisterTargets"]);
    assert_eq!(alb.registered(), [address(&world, ("", 0, 0))]);
    running.stop().await;
}

/// Long enough for anything here; a pod that nobody lets go is killed then.
const GRACE: Duration = Duration::from_secs(60);
