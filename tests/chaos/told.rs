//! Errors of AWS, one of each kind, in; what the record, the Ingress's Events and the next change make of them out.

use std::sync::Arc;

use portcullis_test_support::{Fault, Faults, REQUEST, Script};
use serde_json::json;

use crate::program::Program;
use crate::world::{INGRESSES, RECORDS, World, ingress, until, with};

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_aws_is_told_whole_with_a_code_and_made_up_for() {
    let world = Arc::new(World::start().await);
    let faults = Arc::new(Faults::before(&world.moto));
    let (place, network) = (world.clone(), faults.clone());
    let program = with(&world, move |_| Program::start(&place, &network, "10h", false)).await;
    let howl = format!("MoonIsFull: Howl (request {REQUEST}) [RequestRefused]");
    for (number, (call, status, error, message, want)) in [
        (
            "elbv2:CreateTargetGroup",
            400,
            "MoonIsFull",
            "Howl",
            howl.as_str(),
        ),
        (
            "elbv2:CreateTargetGroup",
            400,
            "TooManyTargetGroups",
            "The maximum number of target groups has been reached",
            "TooManyTargetGroups: The maximum number of target groups has been reached [QuotaExceeded]",
        ),
        (
            "elbv2:CreateRule",
            403,
            "AccessDenied",
            "User is not authorized to perform: elasticloadbalancing:CreateRule",
            "AccessDenied: User is not authorized to perform: elasticloadbalancing:CreateRule [AccessDenied]",
        ),
        (
            "elbv2:CreateLoadBalancer",
            400,
            "InvalidSubnet",
            "Not enough IP space available in subnet-1",
            "InvalidSubnet: Not enough IP space available in subnet-1 [SubnetFull]",
        ),
        (
            "elbv2:CreateListener",
            500,
            "InternalFailure",
            "An internal error has occurred",
            "InternalFailure: An internal error has occurred [Unavailable]",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("web-{number}");
        faults.follow(Script::Always(
            call,
            Fault::Refuse {
                status,
                code: error,
                message,
            },
        ));
        let host = format!("{name}.example.com");
        let posted = ingress(&name, &host, &[("/", "web")]);
        with(&world, move |world| world.post(INGRESSES, &posted)).await;
        let (record, whole) = (format!("{RECORDS}/shop.{name}"), format!("{call}: {want}"));
        let told = whole.clone();
        until(&world, &format!("the record tells {whole}"), move |world| {
            let status = world.get(&record)?["status"].to_string();
            status.contains(told.split(" [").next()?).then_some(())
        })
        .await;
        until(&world, &format!("an Event tells {whole}"), move |world| {
            let events = world.get("/apis/events.k8s.io/v1/events")?.to_string();
            events.contains(&whole).then_some(())
        })
        .await;

        faults.follow(Script::Calm);
        let (at, settled) = (format!("{INGRESSES}/{name}"), format!("shop.{name}"));
        // A quota may be raised without our knowing: whatever changes is reason enough to look.
        let change = json!({"spec": ingress(&name, &host, &[("/shop", "web")])["spec"]});
        with(&world, move |world| world.patch(&at, &change)).await;
        until(&world, &format!("{error} is made up for"), move |world| {
            world.settled(&settled).then_some(())
        })
        .await;
    }
    with(&world, |_| program.kill()).await;
}
