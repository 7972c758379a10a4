//! Options of a load balancer in; each set, read back and left alone, as AWS has it, out.

use portcullis_aws::Observed;
use portcullis_model::{Code, LoadBalancer, Provider, Scheme};

use crate::world::{World, nothing, port, simplest};

/// Read from scratch, with what its options ask for.
async fn seen(world: &World, desired: &LoadBalancer) -> Observed {
    let (mut observed, _) = world.look(&desired.id).await;
    world.aws.look_closer(desired, &mut observed).await.unwrap();
    observed
}

#[tokio::test]
async fn options_are_set_once_and_read_back() {
    let world = World::new().await;
    let account = world.account().await;
    let mut desired = simplest(&world);
    desired.options.scheme = Scheme::InternetFacing;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let known = (&shared, &account);
    let options = &mut desired.options;
    options.pools.public = Some("ipam-pool-0a".into());
    options.pools.on_premises = Some("ipv4pool-coip-1".into());
    options.minimum_capacity = Some(1500);
    let attribute = (
        "routing.http.response.server.enabled".to_owned(),
        "false".to_owned(),
    );
    options.listener_attributes = [(port(80), [attribute].into())].into();
    options.admitted.insert(port(80), [].into());
    options
        .admitted_lists
        .insert(port(80), ["pl-1".to_owned()].into());
    let mut observed = nothing(&desired);
    let made = world.make(&desired, &mut observed, known).await;
    for (call, times) in [
        ("elbv2:ModifyListenerAttributes", 1),
        ("elbv2:ModifyCapacityReservation", 1),
        ("elbv2:ModifyIpPools", 0),
        ("ec2:AuthorizeSecurityGroupIngress", 1),
    ] {
        assert_eq!(
            made.iter().filter(|made| **made == call).count(),
            times,
            "{call}: {made:?}"
        );
    }

    let mut again = seen(&world, &desired).await;
    world.calls();
    assert_eq!(world.make(&desired, &mut again, known).await, Vec::<&str>::new());
    assert_eq!(world.calls(), Vec::<String>::new());
    // What is known is not asked for again.
    world.aws.look_closer(&desired, &mut again).await.unwrap();
    assert_eq!(world.calls(), Vec::<String>::new());

    // Nobody asks for them any more: only the pool goes, as only there AWS has a default to go back to.
    let mut plain = desired.clone();
    plain.options = simplest(&world).options;
    plain.options.scheme = Scheme::InternetFacing;
    plain.options.admitted = desired.options.admitted.clone();
    plain.options.admitted_lists = desired.options.admitted_lists.clone();
    assert_eq!(
        world.make(&plain, &mut again, known).await,
        ["elbv2:ModifyIpPools"]
    );
    let mut last = seen(&world, &desired).await;
    assert_eq!(last.load_balancer().unwrap().spec.ipam_pools, None);
    assert_eq!(last.load_balancer().unwrap().capacity.at(), Some(&1500));
    desired.options.minimum_capacity = Some(0);
    let made = world.make(&desired, &mut last, known).await;
    assert_eq!(made, ["elbv2:ModifyIpPools", "elbv2:ModifyCapacityReservation"]);
    assert_eq!(
        seen(&world, &desired)
            .await
            .load_balancer()
            .unwrap()
            .capacity
            .at(),
        Some(&0)
    );
}

#[tokio::test]
async fn nothing_is_read_that_nobody_asks_for() {
    let world = World::new().await;
    let account = world.account().await;
    let desired = simplest(&world);
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let mut observed = nothing(&desired);
    world.make(&desired, &mut observed, (&shared, &account)).await;
    let (mut observed, _) = world.look(&desired.id).await;
    world.calls();
    world.aws.look_closer(&desired, &mut observed).await.unwrap();
    assert_eq!(world.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn an_attribute_that_aws_refuses_comes_last() {
    let world = World::new().await;
    let account = world.account().await;
    let mut desired = simplest(&world);
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    desired.options.listener_attributes = [(
        port(80),
        [("no.such.attribute".to_owned(), "1".to_owned())].into(),
    )]
    .into();
    let mut observed = nothing(&desired);
    let (made, _, result) = world
        .settle(&desired.id, Some(&desired), &mut observed, (&shared, &account))
        .await;
    assert_eq!(result.map_err(|error| error.code), Err(Code::RequestRefused));
    assert!(
        made.iter()
            .any(|change| change.summary().call == "elbv2:CreateRule"),
        "{made:#?}"
    );
}
