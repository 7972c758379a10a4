//! Answers of AWS that are lost again and again in, how often the whole account is read for it out.

use std::sync::Arc;

use portcullis_test_support::{Fault, Faults, Script};
use serde_json::json;

use super::calls;
use crate::world::{INGRESSES, World, ingress, until_async, with};

const NAMES: [&str; 3] = ["a", "b", "c"];

#[tokio::test(flavor = "multi_thread")]
async fn lost_answers_cost_one_reading_of_the_account_an_interval() {
    let world = Arc::new(World::start().await);
    let faults = with(&world, |world| {
        for name in NAMES {
            let host = format!("{name}.example.com");
            world.post(INGRESSES, &ingress(name, &host, &[("/", "web")]));
        }
        world.moto.record();
        Faults::before(&world.moto)
    })
    .await;
    let begun = tokio::time::Instant::now();
    faults.follow(Script::Always("elbv2:CreateRule", Fault::CutAfter));
    let limits = ["Elastic Load Balancing v2:.*=1000:1000", "EC2:.*=1000:1000"];
    let settings = world.aws_settings(&limits);
    let running = world
        .control(world.aws_at(faults.endpoint(), settings).await)
        .await;
    let all = NAMES.len() as u64;
    until_async("each is read and settled", async || {
        (running.passes("settled").await >= all).then_some(())
    })
    .await;
    let lost = running.passes("failed").await;
    with(&world, |world| {
        for name in NAMES {
            let body = ingress(
                name,
                &format!("{name}.example.com"),
                &[("/", "web"), ("/new", "web")],
            );
            world.patch(
                &format!("{INGRESSES}/{name}"),
                &json!({"spec": body["spec"].clone()}),
            );
        }
    })
    .await;
    // Each loses another answer, and what it asks for then is put off.
    until_async("each is put off", async || {
        (running.passes("failed").await >= lost + 2 * all).then_some(())
    })
    .await;
    let calls = calls(&world).await;
    // Once for all of each reading.
    let readings = calls.iter().filter(|call| *call == "elbv2:DescribeAccountLimits");
    let readings = readings.count();
    // The first and one out of turn; a slow machine sees intervals pass.
    let most = 2 + begun.elapsed().as_secs() / 60;
    assert!((2..=most).contains(&(readings as u64)), "{readings} of {most}");
    running.stop().await;
}
