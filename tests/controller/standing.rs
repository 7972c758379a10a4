//! Ingresses whose class vanishes in; served on as they were admitted out, through restarts, neighbours undisturbed.

use std::sync::Arc;

use serde_json::{Value, json};

use super::leaving::served_on;
use super::{change, remove_all};
use crate::world::{CLASSES, INGRESSES, RECORDS, SLICES, World, condition, ingress, until, with};

const OTHER: &str = "other";

fn class(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"controller": "portcullis.dev/ingress"}})
}

/// A member of the group, of this class.
fn member(name: &str, class: &str, paths: &[(&str, &str)]) -> Value {
    let mut member = ingress(name, &format!("{name}.example.com"), paths);
    member["metadata"]["annotations"] = json!({"alb.ingress.kubernetes.io/group.name": "public"});
    member["spec"]["ingressClassName"] = class.into();
    member
}

/// Codes of the problems that a record tells.
fn problems(world: &World, record: &str) -> Option<Vec<String>> {
    let record = world.get(&format!("{RECORDS}/{record}"))?;
    let first = record["status"]["problems"]["first"].as_array().cloned();
    let codes = first.unwrap_or_default().into_iter();
    Some(
        codes
            .map(|problem| problem["code"].as_str().unwrap().to_owned())
            .collect(),
    )
}

/// Waits until this is the record's one problem.
pub(super) async fn told(world: &Arc<World>, record: &'static str, code: &'static str) {
    until(world, code, move |world| {
        (problems(world, record)? == [code]).then_some(())
    })
    .await;
}

/// Host name and, of each port, the error.
fn shown(world: &World, name: &str) -> Option<(String, Vec<Option<String>>)> {
    let ingress = world.get(&format!("{INGRESSES}/{name}"))?;
    let entry = &ingress["status"]["loadBalancer"]["ingress"][0];
    let ports = entry["ports"].as_array()?;
    let error = |port: &Value| port["error"].as_str().map(str::to_owned);
    Some((
        entry["hostname"].as_str()?.to_owned(),
        ports.iter().map(error).collect(),
    ))
}

/// The digest of what this member was last admitted with.
fn admitted(world: &World, name: &str) -> Option<String> {
    let record = world.get(&format!("{RECORDS}/public"))?;
    let text = &record["status"]["admitted"]["members"][format!("shop/{name}")]["text"];
    text.as_str().map(str::to_owned)
}

/// Adds a path to the member that nothing happens to; so that what was done until then is known. Answers the writes but
/// those that only make room in the order.
async fn neighbour(world: &Arc<World>, paths: &'static [(&'static str, &'static str)]) -> Vec<String> {
    let mut writes = change(world, "public", "a path of the neighbour", move |world| {
        let body = member("stays", "alb", paths);
        world.patch(&format!("{INGRESSES}/stays"), &body);
    })
    .await;
    writes.retain(|call| call != "elbv2:SetRulePriorities");
    writes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_class_vanishes_goes_on_as_it_was() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let running = world.control(world.aws().await).await;
    change(&world, "public", "a group of two classes", |world| {
        world.post(CLASSES, &class(OTHER));
        world.service("api", &[("web-1", 0, 0)]);
        world.post(INGRESSES, &member("lost", OTHER, &[("/", "api")]));
        world.post(INGRESSES, &member("stays", "alb", &[("/", "web")]));
    })
    .await;
    until(&world, "both are served", |world| {
        let both = ["lost", "stays"].map(|name| world.hostname(name).is_some());
        (both == [true, true]).then_some(())
    })
    .await;
    let address = with(&world, |world| world.hostname("lost")).await.unwrap();

    with(&world, |world| {
        world.moto.record();
        world.delete(&format!("{CLASSES}/{OTHER}"));
    })
    .await;
    told(&world, "public", "ClassNotFound").await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);
    let refused = Some("portcullis.dev/ClassNotFound".to_owned());
    until(&world, "its status says it", {
        let want = (address.clone(), vec![refused]);
        move |world| (shown(world, "lost")? == want).then_some(())
    })
    .await;
    let of_neighbour = with(&world, |world| shown(world, "stays")).await;
    assert_eq!(of_neighbour, Some((address, vec![None])));

    // What it asked for is followed, also by a process that never saw its class.
    running.stop().await;
    let running = world.control(world.aws().await).await;
    let writes = neighbour(&world, &[("/", "web"), ("/one", "web")]).await;
    assert_eq!(writes, ["elbv2:CreateRule"], "after a restart");
    let writes = change(&world, "public", "an endpoint", |world| {
        let endpoints = world.endpoints(&[("web-1", 0, 0), ("web-2", 1, 0)]);
        world.patch(&format!("{SLICES}/api"), &json!({"endpoints": endpoints}));
    })
    .await;
    assert_eq!(writes, ["elbv2:RegisterTargets"]);

    // What it asks for newly waits for its class.
    with(&world, |world| {
        let body = member("lost", OTHER, &[("/", "api"), ("/new", "api")]);
        world.patch(&format!("{INGRESSES}/lost"), &body);
    })
    .await;
    let writes = neighbour(&world, &[("/", "web"), ("/one", "web"), ("/two", "web")]).await;
    assert_eq!(writes, ["elbv2:CreateRule"], "not a rule of the refused one");
    let writes = change(&world, "public", "the class is back", |world| {
        world.post(CLASSES, &class(OTHER));
    })
    .await;
    assert_eq!(writes[0], "elbv2:CreateRule", "{writes:?}");
    assert_eq!(
        with(&world, |world| problems(world, "public")).await,
        Some(vec![])
    );

    // An edit that changes nothing of what is served was admitted as well.
    let before = with(&world, |world| admitted(world, "lost")).await;
    with(&world, |world| {
        let mut body = member("lost", OTHER, &[("/", "api"), ("/new", "api")]);
        body["metadata"]["annotations"]["alb.ingress.kubernetes.io/listen-ports"] = r#"[{"HTTP":80}]"#.into();
        world.patch(&format!("{INGRESSES}/lost"), &body);
    })
    .await;
    until(&world, "the edit is recorded", move |world| {
        (admitted(world, "lost")? != *before.as_ref()?).then_some(())
    })
    .await;
    with(&world, |world| world.delete(&format!("{CLASSES}/{OTHER}"))).await;
    told(&world, "public", "ClassNotFound").await;
    running.stop().await;
    let running = world.control(world.aws().await).await;
    let more = &[("/", "web"), ("/one", "web"), ("/two", "web"), ("/three", "web")];
    assert_eq!(
        neighbour(&world, more).await,
        ["elbv2:CreateRule"],
        "it is not withdrawn"
    );

    // Edited since, and then nobody is left who knows what was admitted: it is withdrawn, alone.
    running.stop().await;
    with(&world, |world| {
        world.patch(
            &format!("{INGRESSES}/lost"),
            &member("lost", OTHER, &[("/", "api"), ("/newer", "api")]),
        );
        world.moto.record();
    })
    .await;
    let running = world.control(world.aws().await).await;
    until(&world, "its status is cleared", |world| {
        let lost = world.get(&format!("{INGRESSES}/lost"))?;
        let shown = lost["status"]["loadBalancer"]["ingress"].as_array();
        shown.is_none_or(Vec::is_empty).then_some(())
    })
    .await;
    let writes = with(&world, World::writes).await;
    let deleted = |call: &str| writes.iter().filter(|name| *name == call).count();
    assert_eq!(deleted("elbv2:DeleteRule"), 2, "{writes:?}");
    assert!(with(&world, |world| world.hostname("stays")).await.is_some());
    remove_all(&world, &["lost", "stays"]).await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_one_that_nobody_knows_any_more_all_stays() {
    let world = Arc::new(World::start().await);
    let nothing = with(&world, World::everything).await;
    let running = world.control(world.aws().await).await;
    served_on(&world, &[("lost", 9001), ("other", 9002)]).await;
    running.stop().await;
    with(&world, |world| {
        let mut body = ingress("lost", "lost.example.com", &[("/", "lost"), ("/new", "lost")]);
        body["spec"]["ingressClassName"] = "mistaken".into();
        world.patch(&format!("{INGRESSES}/lost"), &body);
        world.moto.record();
    })
    .await;
    let running = world.control(world.aws().await).await;
    until(&world, "it is held", |world| {
        let record = world.get(&format!("{RECORDS}/shop.lost"))?;
        let held = record.to_string().contains("MembersRefused");
        (held && condition(&record, "Settled") == "False").then_some(())
    })
    .await;
    until(&world, "its status says it", |world| {
        let (_, errors) = shown(world, "lost")?;
        (errors == [Some("portcullis.dev/ClassNotFound".to_owned())]).then_some(())
    })
    .await;
    assert_eq!(with(&world, World::writes).await, [""; 0]);

    // What goes beside it takes nothing of what it uses.
    with(&world, |world| world.delete(&format!("{INGRESSES}/other"))).await;
    until(&world, "the other is gone", |world| {
        let list = world.get(RECORDS)?;
        (list["items"].as_array()?.len() == 1).then_some(())
    })
    .await;
    let open = with(&world, World::everything).await;
    assert!(
        open.contains(&"DescribeSecurityGroupRules 9001".to_owned()),
        "{open:?}"
    );
    remove_all(&world, &["lost"]).await;
    assert_eq!(with(&world, World::everything).await, nothing);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_oldest_member_does_not_turn_its_neighbour_s_listener() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    let at_port = |name: &str, ports: &str| {
        let mut one = member(name, "alb", &[("/", "web")]);
        one["metadata"]["annotations"]["alb.ingress.kubernetes.io/listen-ports"] = ports.into();
        one
    };
    let plain = [
        at_port("a", r#"[{"HTTP":8080}]"#),
        at_port("b", r#"[{"HTTP":8080}]"#),
    ];
    with(&world, move |world| {
        plain.iter().for_each(|one| world.post(INGRESSES, one));
    })
    .await;
    until(&world, "both are served", |world| {
        let both = world.hostname("a").is_some() && world.hostname("b").is_some();
        (both && world.settled("public")).then_some(())
    })
    .await;
    let edited = at_port("a", r#"[{"HTTPS":8080}]"#);
    let writes = change(&world, "public", "the edit", move |world| {
        world.patch(&format!("{INGRESSES}/a"), &edited);
    })
    .await;
    // Its own rule goes; the neighbour's moves to its place.
    let want = ["elbv2:SetRulePriorities", "elbv2:DeleteRule", "elbv2:AddTags"];
    assert_eq!(writes, want);
    told(&world, "public", "SettingConflict").await;
    assert_eq!(with(&world, |world| shown(world, "b")).await.unwrap().1, [None]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheme_that_cannot_be_read_any_more_moves_nobody() {
    let world = Arc::new(World::start().await);
    let running = world.control(world.aws().await).await;
    let with_scheme = |scheme: &str| {
        let mut one = member("a", "alb", &[("/", "web")]);
        one["metadata"]["annotations"]["alb.ingress.kubernetes.io/scheme"] = scheme.into();
        one
    };
    let (facing, lost) = (with_scheme("internet-facing"), with_scheme("internet_facing"));
    with(&world, move |world| {
        world.post(INGRESSES, &facing);
        world.post(INGRESSES, &member("b", "alb", &[("/", "web")]));
    })
    .await;
    until(&world, "both are served", |world| {
        let both = world.hostname("a").is_some() && world.hostname("b").is_some();
        (both && world.settled("public")).then_some(())
    })
    .await;
    let address = with(&world, |world| world.hostname("b")).await;
    let writes = change(&world, "public", "the edit", move |world| {
        world.patch(&format!("{INGRESSES}/a"), &lost);
    })
    .await;
    assert_eq!(writes, [""; 0]);
    told(&world, "public", "AnnotationInvalid").await;
    let both = with(&world, |world| ["a", "b"].map(|name| world.hostname(name))).await;
    assert_eq!(both, [address.clone(), address]);
    running.stop().await;
}
