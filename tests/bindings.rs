//! TargetGroupBindings that users wrote in a real cluster in; the targets of their Services in target groups that exist
//! by themselves out.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(dead_code, reason = "the world has more to it than this")]

#[path = "controller/world.rs"]
mod world;

use std::sync::Arc;
use std::time::Duration;

use portcullis::controller::Leadership;
use portcullis::reconcile::lease::rival::Contested;
use portcullis::reconcile::records::scope::Scope;
use portcullis::translate::ControllerName;
use portcullis_model::ObjectName;
use serde_json::{Value, json};

use self::world::{INGRESSES, SLICES, World, ingress, names, until, until_async, with};

const BINDINGS: &str = "/apis/elbv2.k8s.aws/v1beta1/namespaces/shop/targetgroupbindings";

/// The definition as far as it matters here; the real one has a schema, too.
fn definition() -> Value {
    json!({
        "metadata": {"name": "targetgroupbindings.elbv2.k8s.aws"},
        "spec": {
            "group": "elbv2.k8s.aws", "scope": "Namespaced",
            "names": {"plural": "targetgroupbindings", "singular": "targetgroupbinding", "kind": "TargetGroupBinding"},
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
            }],
        },
    })
}

/// What stands in the first of these elements.
fn element(text: &str, name: &str) -> String {
    let (_, rest) = text.split_once(&format!("<{name}>")).expect("the element");
    rest.split('<').next().expect("its end").to_owned()
}

/// A target group of pods, tagged for these namespaces; its ARN.
fn target_group(world: &World, name: &str, namespaces: &str) -> String {
    target_group_as(world, ("test", &world.account.vpc, "ipv4"), name, namespaces)
}

/// The same, in the account and VPC of others, of this address family.
fn target_group_as(
    world: &World,
    (key, vpc, family): (&str, &str, &str),
    name: &str,
    namespaces: &str,
) -> String {
    let given = [
        ("IpAddressType", family),
        ("Name", name),
        ("Protocol", "HTTP"),
        ("Port", "80"),
        ("VpcId", vpc),
        ("TargetType", "ip"),
        ("Tags.member.1.Key", "portcullis.dev/namespace"),
        ("Tags.member.1.Value", namespaces),
    ];
    let answer = world.moto.call_as(key, "elbv2", "CreateTargetGroup", &given);
    assert_eq!(answer.status, 200, "{}", answer.text());
    element(&answer.text(), "TargetGroupArn")
}

fn registered(world: &World, arn: &str) -> Vec<String> {
    registered_as(world, "test", arn)
}

fn registered_as(world: &World, key: &str, arn: &str) -> Vec<String> {
    let asked = [("TargetGroupArn", arn)];
    let answer = world.moto.call_as(key, "elbv2", "DescribeTargetHealth", &asked);
    let mut ids = answer.texts("Id");
    ids.sort();
    ids
}

fn binding(name: &str, arn: &str, more: &Value) -> Value {
    let mut spec = json!({"targetGroupARN": arn, "serviceRef": {"name": "web", "port": 80}});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    json!({
        "apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "TargetGroupBinding", "metadata": {"name": name}, "spec": spec,
    })
}

/// The code of an Event about a binding.
fn told(world: &World, name: &str) -> Option<String> {
    let list = world.get("/apis/events.k8s.io/v1/namespaces/shop/events")?;
    let events = list["items"].as_array()?.iter();
    let mut own = events.filter(|event| event["regarding"]["name"] == name);
    Some(own.next()?["reason"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_s_endpoints_are_kept_in_a_target_group_of_others() {
    let world = Arc::new(World::start().await);
    let [first, second] = [0, 1].map(|node| world.account.nodes[node].pods[0].clone());
    let arns = with(&world, |world| {
        world.post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition(),
        );
        [
            target_group(world, "mine", "other shop"),
            target_group(world, "theirs", "other"),
            target_group(world, "joint", "shop"),
        ]
    })
    .await;
    until(&world, "the kind is served", |world| {
        world.get(BINDINGS).map(drop)
    })
    .await;
    let running = world.control(world.aws().await).await;
    let [mine, theirs, joint] = arns;

    let (one, other) = (mine.clone(), theirs.clone());
    let pods = vec![first.clone(), second.clone()];
    let foreign = world.account.nodes[1].pods[9].clone();
    let (shared, stranger) = (joint.clone(), foreign.clone());
    with(&world, move |world| {
        world.post(BINDINGS, &binding("mine", &one, &json!({})));
        world.post(BINDINGS, &binding("theirs", &other, &json!({})));
        world.post(
            BINDINGS,
            &binding("wrong", &one, &json!({"targetType": "instance"})),
        );
        let expression = json!({"matchExpressions": [{"key": "zone", "operator": "Gt", "values": ["1"]}]});
        world.post(
            BINDINGS,
            &binding("odd", &one, &json!({"nodeSelector": expression})),
        );
        let given = [
            ("TargetGroupArn", shared.as_str()),
            ("Targets.member.1.Id", stranger.as_str()),
            ("Targets.member.1.Port", "8080"),
        ];
        assert_eq!(world.moto.call("elbv2", "RegisterTargets", &given).status, 200);
        world.post(
            BINDINGS,
            &binding("joint", &shared, &json!({"multiClusterTargetGroup": true})),
        );
        let mut labelled = binding("incumbents", &other, &json!({}));
        labelled["metadata"]["labels"] = json!({"ingress.k8s.aws/stack": "public"});
        world.post(BINDINGS, &labelled);
    })
    .await;
    let (arn, want) = (mine.clone(), pods.clone());
    until(&world, "its pods are registered", move |world| {
        (registered(world, &arn) == want).then_some(())
    })
    .await;
    let (arn, mut want) = (joint.clone(), [pods, vec![foreign.clone()]].concat());
    want.sort();
    until(&world, "beside those of others", move |world| {
        (registered(world, &arn) == want).then_some(())
    })
    .await;
    for (name, code) in [
        ("theirs", "TargetGroupNotAdmitted"),
        ("wrong", "ObjectInvalid"),
        ("odd", "ObjectInvalid"),
    ] {
        let code_of = until(&world, "what is refused is told", move |world| told(world, name)).await;
        assert_eq!(code_of, code, "{name}");
    }
    let arn = theirs.clone();
    assert_eq!(with(&world, move |world| registered(world, &arn)).await, [""; 0]);

    // One less, by one call each; an event that changes nothing costs none.
    with(&world, |world| {
        world.moto.record();
        let left = world.endpoints(&[("web-1", 0, 0)]);
        world.patch(&format!("{SLICES}/web"), &json!({"endpoints": left}));
    })
    .await;
    let (arn, want) = (joint.clone(), {
        let mut want = vec![first.clone(), foreign.clone()];
        want.sort();
        want
    });
    until(&world, "one is taken out of each", move |world| {
        (registered(world, &arn) == want).then_some(())
    })
    .await;
    let (arn, want) = (mine.clone(), vec![first.clone()]);
    until(&world, "of the other, too", move |world| {
        (registered(world, &arn) == want).then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, ["elbv2:DeregisterTargets"; 2]);

    // Deleted, its targets go first, and those of others stay.
    with(&world, |world| {
        world.delete(&format!("{BINDINGS}/mine"));
        world.delete(&format!("{BINDINGS}/joint"));
    })
    .await;
    for name in ["mine", "joint"] {
        until(&world, "it is let go", move |world| {
            world.get(&format!("{BINDINGS}/{name}")).is_none().then_some(())
        })
        .await;
    }
    let left = with(&world, move |world| {
        (registered(world, &mine), registered(world, &joint))
    })
    .await;
    assert_eq!(left, (Vec::new(), vec![foreign]));
    running.stop().await;
}

/// Names of Events about a binding with this reason, and what they say.
fn events(world: &World, name: &str, reason: &str) -> Vec<String> {
    let list = world.get("/apis/events.k8s.io/v1/namespaces/shop/events");
    let list = list.unwrap_or_default();
    let all = list["items"].as_array().into_iter().flatten();
    let own = all.filter(|event| event["regarding"]["name"] == name && event["reason"] == reason);
    let notes = own.filter_map(|event| event["note"].as_str());
    notes.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_change_in_a_target_group_is_put_back_and_told() {
    let world = Arc::new(World::start().await);
    let pods: Vec<String> = [0, 1]
        .map(|node| world.account.nodes[node].pods[0].clone())
        .to_vec();
    let arn = with(&world, |world| {
        world.post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition(),
        );
        target_group(world, "mine", "shop")
    })
    .await;
    until(&world, "the kind is served", |world| {
        world.get(BINDINGS).map(drop)
    })
    .await;
    // With no load balancer at all.
    let running = world
        .control_as(world.aws().await, Leadership::Alone, Duration::from_secs(1))
        .await;
    let (group, want) = (arn.clone(), pods.clone());
    with(&world, move |world| {
        world.post(BINDINGS, &binding("mine", &group, &json!({})))
    })
    .await;
    let all_there = |what: &'static str| {
        let (group, want) = (arn.clone(), want.clone());
        until(&world, what, move |world| {
            (registered(world, &group) == want).then_some(())
        })
    };
    all_there("its pods are registered").await;

    // Looks that find nothing change nothing.
    with(&world, |world| world.moto.record()).await;
    until(&world, "it is looked at three times", |world| {
        let looks = names(&world.moto.calls());
        let looks = looks.iter().filter(|call| *call == "elbv2:DescribeTargetHealth");
        (looks.count() >= 3).then_some(())
    })
    .await;
    let before = with(&world, |world| {
        (world.writes(), events(world, "mine", "DriftRepaired"))
    })
    .await;
    assert_eq!(before, (vec![], vec![]));

    let stranger = world.account.nodes[1].pods[9].clone();
    for (action, id, put_back) in [
        ("DeregisterTargets", pods[0].clone(), "elbv2:RegisterTargets"),
        ("RegisterTargets", stranger, "elbv2:DeregisterTargets"),
    ] {
        let group = arn.clone();
        with(&world, move |world| {
            let given = [
                ("TargetGroupArn", group.as_str()),
                ("Targets.member.1.Id", id.as_str()),
                ("Targets.member.1.Port", "8080"),
            ];
            assert_eq!(world.moto.call("elbv2", action, &given).status, 200, "{action}");
        })
        .await;
        until(&world, "it is told", move |world| {
            let told = events(world, "mine", "DriftRepaired");
            told.iter().any(|note| note.contains(put_back)).then_some(())
        })
        .await;
        all_there(put_back).await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_target_group_has_the_ipv6_addresses_of_pods() {
    const ADDRESS: &str = "2001:db8::17";
    let world = Arc::new(World::start().await);
    let [four, six] = with(&world, |world| {
        world.post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition(),
        );
        let both = [&world.account.nodes[0].pods[0], ADDRESS].map(|ip| json!({"ip": ip}));
        world.patch(
            "/api/v1/namespaces/shop/pods/web-1/status",
            &json!({"status": {"podIPs": both}}),
        );
        let mut endpoint = world.endpoints(&[("web-1", 0, 0)]);
        endpoint[0]["addresses"] = json!([ADDRESS]);
        world.post(
            SLICES,
            &json!({
                "metadata": {"name": "web-6", "labels": {"kubernetes.io/service-name": "web"}},
                "addressType": "IPv6", "ports": [{"port": 8080}], "endpoints": endpoint,
            }),
        );
        ["ipv4", "ipv6"]
            .map(|family| target_group_as(world, ("test", &world.account.vpc, family), family, "shop"))
    })
    .await;
    until(&world, "the kind is served", |world| {
        world.get(BINDINGS).map(drop)
    })
    .await;
    let running = world.control(world.aws().await).await;
    for (name, arn) in [("four", four.clone()), ("six", six.clone())] {
        with(&world, move |world| {
            world.post(BINDINGS, &binding(name, &arn, &json!({})))
        })
        .await;
    }
    let pods = [0, 1].map(|node| world.account.nodes[node].pods[0].clone());
    for (arn, want) in [(four, pods.to_vec()), (six, vec![ADDRESS.to_owned()])] {
        until(&world, "its pods are registered", move |world| {
            (registered(world, &arn) == want).then_some(())
        })
        .await;
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_alone_wait_for_whom_they_were_served_by() {
    const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let world = Arc::new(World::start().await);
    let arn = with(&world, |world| {
        world.post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition(),
        );
        let spec = json!({"holderIdentity": "incumbent_1", "leaseDurationSeconds": 3600});
        world.post(LEASES, &json!({"metadata": {"name": "incumbent"}, "spec": spec}));
        target_group(world, "mine", "shop")
    })
    .await;
    until(&world, "the kind is served", |world| {
        world.get(BINDINGS).map(drop)
    })
    .await;
    let scope = Scope {
        controller: ControllerName::OURS.into(),
        namespace: None,
        legacy_class: "portcullis".into(),
    };
    let lease = ObjectName::new("kube-system", "incumbent");
    let running = world
        .control_beside(
            world.client().await,
            world.aws().await,
            Leadership::Alone,
            Duration::from_secs(3600),
            scope,
            Some((lease, Contested::TargetGroupBindings)),
        )
        .await;
    let group = arn.clone();
    with(&world, move |world| {
        world.post(BINDINGS, &binding("mine", &group, &json!({})));
        world.post(INGRESSES, &ingress("web", "web.example.com", &[("/", "web")]));
    })
    .await;
    // Ingresses are served meanwhile, and nothing else.
    until(&world, "the Ingress is served", |world| {
        world.settled("shop.web").then_some(())
    })
    .await;
    until_async("it is ready", async || {
        (running.ask("/readyz").await.0 == 200).then_some(())
    })
    .await;
    let group = arn.clone();
    assert_eq!(
        with(&world, move |world| registered(world, &group)).await,
        [""; 0]
    );

    with(&world, |world| {
        let given_back = json!({"spec": {"holderIdentity": ""}});
        world.patch(&format!("{LEASES}/incumbent"), &given_back);
    })
    .await;
    until(&world, "its pods are registered", move |world| {
        (registered(world, &arn).len() == 2).then_some(())
    })
    .await;
    running.stop().await;
}

const ROLE: &str = "arn:aws:iam::210987654321:role/lb";

#[tokio::test(flavor = "multi_thread")]
async fn a_target_group_of_another_account_is_reached_with_a_role_that_is_listed() {
    let world = Arc::new(World::start().await);
    let pods = [0, 1].map(|node| world.account.nodes[node].pods[0].clone());
    let (key, arn) = with(&world, |world| {
        world.post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition(),
        );
        let asked = [("RoleArn", ROLE), ("RoleSessionName", "test")];
        let key = element(
            &world.moto.call("sts", "AssumeRole", &asked).text(),
            "AccessKeyId",
        );
        let asked = [("CidrBlock", "10.99.0.0/16")];
        let vpc = element(
            &world.moto.call_as(&key, "ec2", "CreateVpc", &asked).text(),
            "vpcId",
        );
        let arn = target_group_as(world, (&key, &vpc, "ipv4"), "abroad", "shop");
        assert!(arn.contains(":210987654321:"), "{arn}");
        world.moto.record();
        (key, arn)
    })
    .await;
    until(&world, "the kind is served", |world| {
        world.get(BINDINGS).map(drop)
    })
    .await;
    let settings = portcullis_aws::Settings {
        roles: [ROLE.to_owned()].into(),
        ..world.aws_settings(&[])
    };
    let running = world.control(world.aws_of(settings).await).await;
    let of = arn.clone();
    with(&world, move |world| {
        let role = |role: &str| json!({"iamRoleArnToAssume": role, "assumeRoleExternalId": "demo/other"});
        world.post(BINDINGS, &binding("abroad", &of, &role(ROLE)));
        let another = format!("{ROLE}-of-another");
        world.post(BINDINGS, &binding("stranger", &of, &role(&another)));
        world.post(BINDINGS, &binding("without", &of, &json!({})));
    })
    .await;
    let (of, by) = (arn.clone(), key.clone());
    until(&world, "its pods are registered there", move |world| {
        (registered_as(world, &by, &of) == pods).then_some(())
    })
    .await;
    for (name, code) in [
        ("abroad", "OptionUnsupported"),
        ("stranger", "RoleNotAdmitted"),
        ("without", "TargetGroupNotFound"),
    ] {
        let code_of = until(&world, "what is not as asked for is told", move |world| {
            told(world, name)
        })
        .await;
        assert_eq!(code_of, code, "{name}");
    }
    let sessions = with(&world, |world| {
        let calls = world.moto.calls().into_iter();
        let assumed = calls.filter(|call| call.to_string() == "sts:AssumeRole");
        assumed.map(|call| call.body).collect::<Vec<_>>()
    })
    .await;
    assert_eq!(sessions.len(), 1, "credentials are kept: {sessions:?}");
    assert!(sessions[0].contains("ExternalId=demo%2Fshop"), "{sessions:?}");

    with(&world, |world| world.delete(&format!("{BINDINGS}/abroad"))).await;
    until(&world, "it is let go", |world| {
        world.get(&format!("{BINDINGS}/abroad")).is_none().then_some(())
    })
    .await;
    let left = with(&world, move |world| registered_as(world, &key, &arn)).await;
    assert_eq!(left, [""; 0]);
    running.stop().await;
}

/// A load balancer of somebody else's that sends all requests to a target group.
fn in_use(world: &World, arn: &str) {
    let subnets = &world.account.subnets["internal-elb"];
    let given = [
        ("Name", "theirs"),
        ("Scheme", "internal"),
        ("Subnets.member.1", subnets[0].as_str()),
        ("Subnets.member.2", subnets[1].as_str()),
    ];
    let answer = world.moto.call("elbv2", "CreateLoadBalancer", &given);
    let balancer = element(&answer.text(), "LoadBalancerArn");
    let given = [
        ("LoadBalancerArn", balancer.as_str()),
        ("Protocol", "HTTP"),
        ("Port", "80"),
        ("DefaultActions.member.1.Type", "forward"),
        ("DefaultActions.member.1.TargetGroupArn", arn),
    ];
    assert_eq!(world.moto.call("elbv2", "CreateListener", &given).status, 200);
}

/// What the pod says of its gate: the status and the reason.
fn gate(world: &World) -> Option<(String, String)> {
    let pod = world.get("/api/v1/namespaces/shop/pods/gated")?;
    let conditions = pod["status"]["conditions"].as_array()?.iter();
    let mut own = conditions.filter(|one| one["type"] == GATE);
    let own = own.next()?;
    Some((
        own["status"].as_str()?.to_owned(),
        own["reason"].as_str()?.to_owned(),
    ))
}

const GATE: &str = "target-health.elbv2.k8s.aws/mine";

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_of_a_binding_opens_when_its_target_is_healthy() {
    let world = Arc::new(World::start().await);
    let arn = with(&world, |world| {
        world.post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &definition(),
        );
        let node = &world.account.nodes[0];
        let pod = json!({
            "metadata": {"name": "gated", "labels": {"app": "web"}},
            "spec": {
                "nodeName": node.id, "containers": [{"name": "web", "image": "web"}],
                "readinessGates": [{"conditionType": GATE}],
            },
        });
        world.post("/api/v1/namespaces/shop/pods", &pod);
        let address = &node.pods[1];
        let status = json!({
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "ContainersReady", "status": "True"}],
        });
        world.patch(
            "/api/v1/namespaces/shop/pods/gated/status",
            &json!({"status": status}),
        );
        let mut endpoints = world.endpoints(&[("gated", 0, 1)]);
        endpoints[0]["conditions"] = json!({"ready": false, "serving": false, "terminating": false});
        world.patch(&format!("{SLICES}/web"), &json!({"endpoints": endpoints}));
        target_group(world, "mine", "shop")
    })
    .await;
    until(&world, "the kind is served", |world| {
        world.get(BINDINGS).map(drop)
    })
    .await;
    let running = world.control(world.aws().await).await;
    let of = arn.clone();
    with(&world, move |world| {
        world.post(BINDINGS, &binding("mine", &of, &json!({})));
    })
    .await;
    let unused = ("False".to_owned(), "Target.NotInUse".to_owned());
    until(&world, "nobody sends it requests", move |world| {
        (gate(world)? == unused).then_some(())
    })
    .await;
    with(&world, move |world| in_use(world, &arn)).await;
    let open = ("True".to_owned(), "Healthy".to_owned());
    until(&world, "its gate opens", move |world| {
        (gate(world)? == open).then_some(())
    })
    .await;
    running.stop().await;
}
