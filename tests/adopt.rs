//! A cluster of the AWS Load Balancer Controller and the command `adopt` in; what it says, does and leaves alone out.
#![cfg(all(feature = "cluster", feature = "aws"))]
#![expect(dead_code, reason = "the world has more to it than adopting needs")]
#![expect(clippy::unwrap_used, reason = "a panic is a test's report")]

#[path = "takeover/world.rs"]
mod recording;
#[path = "controller/world.rs"]
mod world;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use self::recording::{Program, Recording};
use self::world::{CLASSES, INGRESSES, RECORDS, World, ingress, until, with};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/aws-load-balancer-controller-leader";
const BINDINGS: &str = "/apis/elbv2.k8s.aws/v1beta1/targetgroupbindings";
const WEBHOOKS: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// Exit code, and what was printed.
fn adopt(world: &World, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args([
            "adopt",
            "--cluster-name",
            "demo",
            "--aws-vpc-id",
            &world.account.vpc,
        ])
        .arg("--kubeconfig")
        .arg(world.server.kubeconfig())
        .args(more)
        .envs(world.moto.environment())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), printed + &errors)
}

/// What it prints as JSON.
fn report(world: &World, more: &[&str]) -> Value {
    let (code, printed) = adopt(world, &[&["-o", "json"], more].concat());
    assert_eq!(code, Some(0), "{printed}");
    serde_json::from_str(&printed).unwrap()
}

fn records(world: &World) -> Vec<String> {
    let list = world.get(RECORDS).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|record| record["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

fn bindings(world: &World) -> Vec<String> {
    let list = world.get(BINDINGS).unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|binding| binding["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

fn lease(times: u32) -> Value {
    json!({
        "metadata": {"name": "aws-load-balancer-controller-leader"},
        "spec": {
            "holderIdentity": "aws-load-balancer-controller-7d_1", "leaseDurationSeconds": 2,
            "renewTime": format!("2026-11-23T15:45:{:02}.{:06}Z", times / 1000 % 60, times % 1000),
        },
    })
}

/// Renews the incumbent's lease until it is told to stop.
fn renewed(world: &World, act: impl FnOnce(&World)) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut times = 1;
            while !stop.load(Ordering::Relaxed) {
                world.patch(LEASE, &lease(times));
                times += 1;
                std::thread::yield_now();
            }
        });
        act(world);
        stop.store(true, Ordering::Relaxed);
    });
}

/// A TargetGroupBinding that is none of the incumbent's Ingresses'.
fn binding(name: &str, labels: &Value) -> Value {
    json!({
        "apiVersion": "elbv2.k8s.aws/v1beta1", "kind": "TargetGroupBinding",
        "metadata": {"name": name, "labels": labels, "finalizers": ["elbv2.k8s.aws/resources"]},
        "spec": {"targetGroupARN": "arn", "serviceRef": {"name": "web", "port": 80}},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn it_takes_over_finishes_and_gives_back() {
    let world = Recording("group-https").world().await;
    with(&world, |world| {
        let of_shop = "/apis/elbv2.k8s.aws/v1beta1/namespaces/shop/targetgroupbindings";
        world.post(of_shop, &binding("by-hand", &json!({"app": "web"})));
        let labels = json!({"service.k8s.aws/stack-namespace": "shop", "service.k8s.aws/stack-name": "nlb"});
        world.post(of_shop, &binding("of-a-service", &labels));
        let nlb = json!({
            "metadata": {"name": "nlb", "finalizers": ["service.k8s.aws/resources"]},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 443}], "selector": {"app": "web"}},
        });
        world.post("/api/v1/namespaces/shop/services", &nlb);
        let reference =
            json!({"service": {"namespace": "kube-system", "name": "aws-load-balancer-webhook-service"}});
        let webhook = json!({
            "metadata": {"name": "aws-load-balancer-webhook"},
            "webhooks": [{
                "name": "vingressclassparams.elbv2.k8s.aws", "failurePolicy": "Fail", "sideEffects": "None",
                "admissionReviewVersions": ["v1"], "clientConfig": reference,
                "rules": [{
                    "apiGroups": ["elbv2.k8s.aws"], "apiVersions": ["v1beta1"], "operations": ["CREATE"],
                    "resources": ["ingressclassparams"],
                }],
            }],
        });
        world.post(WEBHOOKS, &webhook);
        world.post(LEASES, &lease(0));
        world.moto.record();

        renewed(world, |world| {
            let (code, said) = adopt(world, &[]);
            assert_eq!(code, Some(1), "{said}");
            assert!(
                said.contains("the AWS Load Balancer Controller is running"),
                "{said}"
            );
            let (code, said) = adopt(world, &["--finish"]);
            assert_eq!(code, Some(1), "{said}");
        });
        assert_eq!(records(world), [""; 0], "nothing is recorded while it runs");

        let found = report(world, &["--dry-run"]);
        let incumbent = &found["incumbent"];
        assert_eq!(incumbent["state"], "Expired", "{incumbent:#}");
        assert_eq!(incumbent["services"], json!(["shop/nlb"]));
        assert_eq!(
            incumbent["bindings"],
            json!({"ofIngresses": 6, "ofServices": 1, "byHand": 1})
        );
        assert_eq!(
            incumbent["webhooks"][0]["resources"],
            json!(["ingressclassparams.elbv2.k8s.aws"])
        );
        let balancer = &found["loadBalancers"][0];
        assert_eq!(balancer["id"], "public");
        assert_eq!(balancer["standing"], "Found");
        assert_eq!(
            balancer["members"],
            json!(["blog/posts", "shop/front", "shop/weighted"])
        );
        assert_eq!(balancer["changes"], json!([]), "{balancer:#}");
        assert_eq!(
            balancer["resources"].as_array().unwrap().len(),
            16,
            "{balancer:#}"
        );
        assert_eq!(found["shared"]["changes"], json!([]));
        assert_eq!(found["obstacles"], json!([]), "{found:#}");
        let (_, text) = adopt(world, &["--dry-run"]);
        for line in [
            "Load balancer public of blog/posts, shop/front, shop/weighted: exists, and becomes ours",
            "nothing would be changed",
            "public would be recorded as ours",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert_eq!(records(world), [""; 0], "a dry run records nothing");

        let taken = report(world, &[]);
        assert_eq!(taken["done"], json!(["public is recorded as ours"]), "{taken:#}");
        assert_eq!(records(world), ["public"]);
        let (code, said) = adopt(world, &["--finish"]);
        assert_eq!(code, Some(1), "nothing has served it yet: {said}");
        assert!(
            said.contains("portcullis run has not served public yet"),
            "{said}"
        );
        assert_eq!(bindings(world).len(), 8);
    })
    .await;

    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let running = with(&world, move |world| Program::run(world, &log)).await;
    until(&world, "it is taken over", |world| {
        world.settled("public").then_some(())
    })
    .await;
    with(&world, |world| {
        let (code, said) = adopt(world, &["--release"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("portcullis run is running"), "{said}");

        let finished = report(world, &["--finish"]);
        assert_eq!(finished["done"].as_array().unwrap().len(), 3 + 6, "{finished:#}");
        assert_eq!(
            bindings(world),
            ["by-hand", "of-a-service"],
            "those of others stay"
        );
        let front = world
            .get("/apis/networking.k8s.io/v1/namespaces/shop/ingresses/front")
            .unwrap();
        assert_eq!(front["metadata"]["finalizers"], Value::Null);
        assert_eq!(report(world, &["--finish"])["done"], json!([]), "once is enough");
    })
    .await;

    let stopped = with(&world, move |_| running.terminate()).await;
    assert_eq!(stopped, Some(0));
    with(&world, moves).await;
    with(&world, |world| {
        let released = report(world, &["--release"]);
        assert_eq!(released["done"].as_array().unwrap().len(), 1, "{released:#}");
        assert_eq!(records(world), [""; 0]);
        let found = report(world, &["--dry-run"]);
        let balancer = &found["loadBalancers"][0];
        assert_eq!(
            (&balancer["standing"], &balancer["changes"]),
            (&json!("Found"), &json!([]))
        );
        assert_eq!(world.writes(), [""; 0], "AWS was never written to");
    })
    .await;
}

/// What is recorded for one controller name is another's only when it is told so, and all Ingresses are.
fn moves(world: &World) {
    let name = ["--controller-name", "portcullis.dev/ingress"];
    let dry = [&name[..], &["--dry-run"]].concat();
    let found = report(world, &dry);
    assert_eq!(found["loadBalancers"][0]["standing"], "Elsewhere", "{found:#}");
    assert_eq!(found["shared"]["changes"], json!([]), "{found:#}");

    let class = |controller: &str| {
        world.delete(&format!("{CLASSES}/alb"));
        let class = json!({"metadata": {"name": "alb"}, "spec": {"controller": controller}});
        world.post(CLASSES, &class);
    };
    let recorded = |world: &World| {
        let record = world.get(&format!("{RECORDS}/public")).unwrap();
        record["spec"]["controllerName"].as_str().unwrap().to_owned()
    };
    class("portcullis.dev/ingress");
    let found = report(world, &dry);
    assert_eq!(found["loadBalancers"][0]["standing"], "Moved", "{found:#}");
    assert_eq!(recorded(world), "ingress.k8s.aws/alb");
    let moved = report(world, &[&name[..], &["--accept-changes"]].concat());
    assert_eq!(moved["done"], json!(["public is recorded as ours"]), "{moved:#}");
    assert_eq!(recorded(world), "portcullis.dev/ingress");
    class("ingress.k8s.aws/alb");
}

/// Makes it in moto; answers the first of these elements.
fn make(world: &World, action: &str, parameters: &[(&str, &str)], element: &str) -> String {
    let answer = world.moto.call("elbv2", action, parameters);
    let value = answer.texts(element).into_iter().next();
    value.unwrap_or_else(|| panic!("{action}: {}", answer.text()))
}

/// A load balancer as somebody made it by hand, with one rule to the pods of `web`.
fn by_hand(world: &World) -> String {
    let subnets = &world.account.subnets["internal-elb"];
    let balancer = make(
        world,
        "CreateLoadBalancer",
        &[
            ("Name", "made-by-hand"),
            ("Scheme", "internal"),
            ("SecurityGroups.member.1", &world.account.node_security_group),
            ("Subnets.member.1", &subnets[0]),
            ("Subnets.member.2", &subnets[1]),
        ],
        "LoadBalancerArn",
    );
    let group = make(
        world,
        "CreateTargetGroup",
        &[
            ("Name", "web-by-hand"),
            ("Protocol", "HTTP"),
            ("Port", "8080"),
            ("VpcId", &world.account.vpc),
            ("TargetType", "ip"),
        ],
        "TargetGroupArn",
    );
    let target = &world.account.nodes[0].pods[0];
    let targets = [
        ("TargetGroupArn", &*group),
        ("Targets.member.1.Id", target),
        ("Targets.member.1.Port", "8080"),
    ];
    assert_eq!(world.moto.call("elbv2", "RegisterTargets", &targets).status, 200);
    let listener = make(
        world,
        "CreateListener",
        &[
            ("LoadBalancerArn", &balancer),
            ("Protocol", "HTTP"),
            ("Port", "80"),
            ("DefaultActions.member.1.Type", "fixed-response"),
            ("DefaultActions.member.1.FixedResponseConfig.StatusCode", "404"),
            (
                "DefaultActions.member.1.FixedResponseConfig.ContentType",
                "text/plain",
            ),
        ],
        "ListenerArn",
    );
    make(
        world,
        "CreateRule",
        &[
            ("ListenerArn", &listener),
            ("Priority", "7"),
            ("Conditions.member.1.Field", "host-header"),
            (
                "Conditions.member.1.HostHeaderConfig.Values.member.1",
                "web.example.com",
            ),
            ("Actions.member.1.Type", "forward"),
            ("Actions.member.1.TargetGroupArn", &group),
        ],
        "RuleArn",
    );
    balancer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_balancer_that_no_controller_made_is_brought_in_by_tags() {
    let world = Arc::new(World::start().await);
    let arn = with(&world, |world| {
        let arn = by_hand(world);
        let mut web = ingress("web", "web.example.com", &[("/", "web")]);
        web["metadata"]["annotations"] =
            json!({"alb.ingress.kubernetes.io/security-groups": &world.account.node_security_group});
        world.post(INGRESSES, &web);
        world.moto.record();
        let ours = [
            "--controller-name",
            "portcullis.dev/ingress",
            "--load-balancer",
            &arn,
            "--ingress",
        ];
        let (code, said) = adopt(world, &[&ours[..], &["shop/other"]].concat());
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("Ingress shop/other is part of no load balancer"),
            "{said}"
        );

        let planned = report(world, &[&ours[..], &["shop/web", "--dry-run"]].concat());
        assert_eq!(world.writes(), [""; 0], "a dry run changes nothing");
        let names = |list: &Value, field: &str| -> Vec<String> {
            let list = list.as_array().unwrap().iter();
            list.map(|change| change[field].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(
            names(&planned["tags"], "kind"),
            ["TargetGroup", "Listener", "ListenerRule", "LoadBalancer"]
        );
        let later = names(&planned["changes"], "call");
        assert!(
            later.contains(&"elbv2:RegisterTargets".to_owned()),
            "the second pod: {planned:#}"
        );
        assert!(
            !later.iter().any(|call| call.contains(":Create")),
            "nothing is made anew: {planned:#}"
        );

        report(world, &[&ours[..], &["shop/web"]].concat());
        assert_eq!(world.writes(), ["elbv2:AddTags"; 4]);
        assert_eq!(records(world), ["shop.web"]);
        let (code, said) = adopt(world, &[&ours[..], &["shop/web"]].concat());
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("is a controller's already"), "{said}");
        arn
    })
    .await;
    let running = world.control(world.aws().await).await;
    let record = until(&world, "it is settled", |world| {
        world
            .settled("shop.web")
            .then(|| world.get(&format!("{RECORDS}/shop.web")).unwrap())
    })
    .await;
    assert!(record.to_string().contains(&arn), "{record:#}");
    let left = with(&world, World::everything).await;
    assert_eq!(
        left.iter()
            .filter(|thing| thing.starts_with("DescribeLoadBalancers"))
            .count(),
        1
    );
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_whose_users_sign_in_is_compared_with_its_secret() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    with(&world, |world| {
        let data = json!({"clientID": "client-id-value", "clientSecret": "s3cret-one"});
        world.post(
            "/api/v1/namespaces/shop/secrets",
            &json!({"metadata": {"name": "idp"}, "stringData": data}),
        );
        let oidc = json!({
            "issuer": "https://login.example.com", "authorizationEndpoint": "https://login.example.com/a",
            "tokenEndpoint": "https://login.example.com/t", "userInfoEndpoint": "https://login.example.com/u",
            "secretName": "idp",
        });
        let mut login = ingress("login", "www.example.com", &[("/", "web")]);
        login["metadata"]["annotations"] = json!({
            "alb.ingress.kubernetes.io/auth-type": "oidc",
            "alb.ingress.kubernetes.io/auth-idp-oidc": oidc.to_string(),
            "alb.ingress.kubernetes.io/listen-ports": r#"[{"HTTPS": 443}]"#,
        });
        world.post(INGRESSES, &login);
    })
    .await;
    until(&world, "it is served", |world| {
        world.settled("shop.login").then_some(())
    })
    .await;
    running.stop().await;
    with(&world, |world| {
        let ours = ["--controller-name", "portcullis.dev/ingress"];
        report(world, &[&ours[..], &["--release"]].concat());
        let found = report(world, &[&ours[..], &["--dry-run"]].concat());
        let balancer = &found["loadBalancers"][0];
        assert_eq!(
            (&balancer["id"], &balancer["standing"]),
            (&json!("shop/login"), &json!("Found"))
        );
        assert_eq!(balancer["changes"], json!([]), "{balancer:#}");
        assert_eq!(balancer["problems"], json!([]), "{balancer:#}");
        assert!(!found.to_string().contains("s3cret"), "{found:#}");

        let secret = "/api/v1/namespaces/shop/secrets/idp";
        world.patch(secret, &json!({"stringData": {"clientID": "another"}}));
        let found = report(world, &[&ours[..], &["--dry-run"]].concat());
        let changes = &found["loadBalancers"][0]["changes"];
        assert_eq!(changes[0]["call"], "elbv2:ModifyRule", "{changes:#}");
        world.delete(secret);
        let found = report(world, &[&ours[..], &["--dry-run"]].concat());
        let problems = &found["loadBalancers"][0]["problems"];
        assert_eq!(problems[0]["code"], "SecretNotFound", "{problems:#}");
    })
    .await;
}

#[test]
fn what_is_misused_is_said() {
    for (arguments, want) in [
        (&["adopt"][..], "--cluster-name"),
        (
            &["adopt", "--cluster-name", "demo", "--finish", "--release"],
            "cannot be used with",
        ),
        (
            &["adopt", "--cluster-name", "demo", "--load-balancer", "arn"],
            "--ingress",
        ),
        (
            &["adopt", "--cluster-name", "demo", "--incumbent-lease", "leader"],
            "is not NAMESPACE/NAME",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(want), "{arguments:?}: {said}");
    }
}
