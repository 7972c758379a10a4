//! Rules that ask who somebody is in; what the AWS API is sent, and that it is sent once, out.

use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_aws::Aws;
use portcullis_model::{
    Authenticate, ClaimFormat, Client, JwtClaim, LoadBalancer, ObjectName, OnUnauthenticated, Origin,
    Provider, Sealed, Session,
};

use crate::world::{World, backend, bare, forward, listen, listen_tls, nothing, port, rule};

fn secret() -> ObjectName {
    ObjectName::new("shop", "idp")
}

fn session() -> Session {
    Session {
        cookie: "AWSELBAuthSessionCookie".into(),
        timeout_seconds: 3600,
        scope: "openid email".into(),
        on_unauthenticated: OnUnauthenticated::Authenticate,
        extra: BTreeMap::from([("loginHint".into(), "X".into())]),
    }
}

fn oidc(value: &str, version: &str) -> Authenticate {
    Authenticate::Oidc {
        issuer: "https://login.example.com".into(),
        authorization_endpoint: "https://login.example.com/a".into(),
        token_endpoint: "https://login.example.com/t".into(),
        user_info_endpoint: "https://login.example.com/u".into(),
        secret: secret(),
        client: Some(Client {
            id: Sealed::new("id"),
            secret: Sealed::new(value),
            version: version.into(),
        }),
        session: session(),
        origin: Origin::new("ingress", ObjectName::new("shop", "web"), "auth"),
    }
}

/// One rule for each way to ask, and the default action behind the first.
fn guarded(world: &World, value: &str, version: &str) -> LoadBalancer {
    let mut balancer = bare();
    listen(&mut balancer, 80);
    listen_tls(&mut balancer, 443, &["www.example.com"]);
    let web = backend(&mut balancer, "web", &world.pods(0)[..2]);
    let origin = Origin::new("ingress", ObjectName::new("shop", "web"), "auth");
    let steps = [
        Some(oidc(value, version)),
        Some(Authenticate::Cognito {
            user_pool: "arn:aws:cognito-idp:us-east-1:123456789012:userpool/us-east-1_X".into(),
            client: "client".into(),
            domain: "shop".into(),
            session: session(),
            origin: origin.clone(),
        }),
        Some(Authenticate::Jwt {
            issuer: "https://login.example.com".into(),
            key_set: "https://login.example.com/keys".into(),
            claims: vec![JwtClaim {
                name: "scope".into(),
                format: ClaimFormat::Spaced,
                values: vec!["read".into(), "write".into()],
            }],
            origin,
        }),
        None,
    ];
    for (path, step) in ["/oidc", "/cognito", "/jwt", "/"].iter().zip(steps) {
        rule(&mut balancer, "www.example.com", path, forward(&web));
        let last = balancer.rules.last_mut().unwrap();
        last.ports = [port(443)].into();
        last.authenticate = step;
    }
    let listener = balancer.listeners.get_mut(&port(443)).unwrap();
    listener.default_action = forward(&web);
    listener.authenticate = Some(oidc(value, version));
    balancer
}

#[tokio::test]
async fn a_secret_is_sent_when_it_moves_and_never_again() {
    let world = World::new().await;
    let first = guarded(&world, "s3cret-one", "1");
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&first), &account).await;
    let mut observed = nothing(&first);
    world.make(&first, &mut observed, (&shared, &account)).await;
    let again = world.make(&first, &mut observed, (&shared, &account)).await;
    assert_eq!(again, [""; 0], "nothing moved");

    // As after a restart: AWS shows no secret.
    let version = |version: &str| BTreeMap::from([(secret(), Arc::from(version))]);
    let (mut seen, account) = world.look(&first.id).await;
    for recorded in [BTreeMap::new(), version("1")] {
        Aws::recall_secrets(&mut seen, recorded.clone());
        let (plan, problems) = world.aws.plan(&first.id, Some(&first), &seen, &shared, &account);
        assert_eq!((plan.changes, problems), (vec![], vec![]), "{recorded:?}");
    }
    assert!(!format!("{seen:?}").contains("s3cret"));

    let second = guarded(&world, "s3cret-two", "2");
    Aws::recall_secrets(&mut seen, version("1"));
    world.moto.record();
    let made = world.make(&second, &mut seen, (&shared, &account)).await;
    assert_eq!(made, ["elbv2:ModifyRule", "elbv2:ModifyListener"]);
    let calls = world.moto.calls();
    let sent = |value: &str| calls.iter().filter(|call| call.body.contains(value)).count();
    assert_eq!((sent("s3cret-two"), sent("s3cret-one")), (2, 0));
    let again = world.make(&second, &mut seen, (&shared, &account)).await;
    assert_eq!(again, [""; 0], "sent once");
}
