//! Answers that AWS, or the network, gives when something is wrong in; code, and when to try again, out.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use portcullis_aws::client::{CallCount, Outcome, WRITE_TIMEOUT};
use portcullis_aws::resource::RuleArn;
use portcullis_aws::{Aws, Call, Change, Settings};
use portcullis_model::{Code, Provider, ProviderError, Retry};

use crate::world::{World, claim, credentials, nothing, simplest};

/// What makes the server say nothing and hold the line.
const SILENCE: &str = "silence";

/// Answers each connection with this text and closes it; an empty text closes it unanswered. Ends with the process.
fn server(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            request(&mut connection).unwrap();
            if answer == SILENCE {
                held.push(connection);
            } else {
                connection.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    endpoint
}

/// Reads one request whole: what is left unread would reset the connection.
fn request(connection: &mut TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(number) = line.strip_prefix("content-length: ") {
            length = number.parse().unwrap();
        }
    }
    reader.read_exact(&mut vec![0; length])
}

async fn provider(endpoint: &str, authentic: bool) -> Aws {
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .endpoint_url(endpoint)
        .region(aws_config::Region::new("us-east-1"));
    let config = if authentic {
        config.credentials_provider(credentials()).load().await
    } else {
        config.no_credentials().load().await
    };
    let settings = Settings {
        vpc: Some("vpc-1".into()),
        ..Settings::default()
    };
    Aws::new(&config, settings).unwrap()
}

async fn write(aws: &Aws) -> ProviderError {
    let change = Change {
        call: Call::ModifyRule {
            arn: RuleArn::new("arn:aws:elasticloadbalancing:us-east-1:1:listener-rule/app/a/b/c/d"),
            conditions: Vec::new(),
            actions: Vec::new(),
            transforms: Vec::new(),
        },
        kind: "ListenerRule",
        id: "80:1".into(),
        reason: "a test asks for it".into(),
        fields: Vec::new(),
        guest: None,
    };
    aws.apply(&claim(), &change).await.expect_err("it cannot succeed")
}

#[tokio::test]
async fn a_failure_has_a_code_and_a_time_to_try_again() {
    for (what, answer, code, retry, says) in [
        (
            "throttled",
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<ErrorResponse><Error><Type>Sender</Type>\
             <Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>",
            Code::Throttled,
            Retry::Backoff,
            "Throttling: Rate exceeded",
        ),
        (
            "throttled, with a time to wait",
            "HTTP/1.1 503 Slow Down\r\nconnection: close\r\nretry-after: 7\r\n\r\n<ErrorResponse><Error>\
             <Code>RequestLimitExceeded</Code><Message>Later</Message></Error></ErrorResponse>",
            Code::Throttled,
            Retry::After(Duration::from_secs(7)),
            "RequestLimitExceeded: Later",
        ),
        (
            "denied",
            "HTTP/1.1 403 Forbidden\r\nconnection: close\r\n\r\n<ErrorResponse><Error>\
             <Code>AccessDenied</Code><Message>not authorized to perform: ModifyRule</Message></Error></ErrorResponse>",
            Code::AccessDenied,
            Retry::Backoff,
            "AccessDenied: not authorized to perform: ModifyRule",
        ),
        (
            "an error nobody heard of",
            "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<ErrorResponse><Error>\
             <Code>MoonIsFull</Code><Message>Howl</Message></Error></ErrorResponse>",
            Code::RequestRefused,
            Retry::Backoff,
            "MoonIsFull: Howl",
        ),
        (
            "an internal error without a word",
            "HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\n\r\n",
            Code::Unavailable,
            Retry::Observe,
            "HTTP 500",
        ),
        (
            "an answer nobody understands",
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n<what",
            Code::Unavailable,
            Retry::Observe,
            "HTTP 200: <what",
        ),
        (
            "a connection that ends",
            "",
            Code::Unavailable,
            Retry::Observe,
            "connection closed before message completed",
        ),
    ] {
        let aws = provider(&server(answer), true).await;
        let error = write(&aws).await;
        assert_eq!((error.code, error.retry), (code, retry), "{what}: {error}");
        assert_eq!(error.call, "elbv2:ModifyRule", "{what}");
        assert!(
            error.message.contains(says) && !error.message.is_empty(),
            "{what}: {error}"
        );
        let counts: Vec<u64> = aws.calls().read().iter().map(|count| count.count).collect();
        assert_eq!(counts, [1], "{what}: nothing is sent twice");
    }
}

#[tokio::test]
async fn a_read_that_fails_is_read_again_later() {
    for (what, answer, code) in [
        (
            "an internal error",
            "HTTP/1.1 500 Internal Server Error\r\nconnection: close\r\n\r\n",
            Code::Unavailable,
        ),
        ("a connection that ends", "", Code::Unavailable),
    ] {
        let aws = provider(&server(answer), true).await;
        let error = aws.account().await.expect_err("it cannot be read");
        assert_eq!(
            (error.code, error.retry),
            (code, Retry::Backoff),
            "{what}: {error}"
        );
    }
}

#[tokio::test]
async fn a_vpc_that_is_not_there_is_named() {
    let world = World::new().await;
    let aws = world.told_vpc("vpc-0123456789abcdef0").await;
    let error = aws.account().await.expect_err("there is no such VPC");
    assert_eq!(
        (error.code, error.retry),
        (Code::VpcNotFound, Retry::Backoff),
        "{error}"
    );
    assert!(error.message.contains("vpc-0123456789abcdef0"), "{error}");
}

#[tokio::test]
async fn a_call_takes_no_longer_than_its_claim_was_asked_for() {
    let aws = provider(&server(SILENCE), true).await;
    #[expect(clippy::disallowed_methods, reason = "how long it takes is what is asked")]
    let now = Instant::now;
    let start = now();
    let error = write(&aws).await;
    let took = now() - start;
    assert!(took >= WRITE_TIMEOUT && took < WRITE_TIMEOUT * 2, "{took:?}");
    assert_eq!(
        (error.code, error.retry),
        (Code::Unavailable, Retry::Observe),
        "{error}"
    );
    assert_eq!(error.message, "no answer within 8 s");
}

#[tokio::test]
async fn without_credentials_nothing_is_sent() {
    let aws = provider("http://127.0.0.1:1", false).await;
    let error = write(&aws).await;
    assert_eq!(
        (error.code, error.retry),
        (Code::AccessDenied, Retry::Backoff),
        "{error}"
    );
    assert!(error.message.contains("credentials"), "{error}");
}

#[tokio::test]
async fn an_error_of_aws_is_shown_whole_and_counted() {
    let world = World::new().await;
    let desired = simplest(&world);
    let account = world.account().await;
    let shared = world.fit(std::slice::from_ref(&desired), &account).await;
    let (mut plan, _) = world
        .aws
        .plan(&desired.id, Some(&desired), &nothing(&desired), &shared, &account);
    let create = "elbv2:CreateTargetGroup";
    let mut changes = plan.changes.iter_mut();
    let change = changes.find(|change| change.call.name() == create).unwrap();
    if let Call::CreateTargetGroup { spec } = &mut change.call {
        spec.name = "-".into();
    }
    let error = world.aws.apply(&claim(), change).await.unwrap_err();
    assert_eq!((error.code, error.call), (Code::RequestRefused, create));
    assert!(error.message.starts_with("ValidationError: "), "{error}");
    let refused = CallCount {
        call: create,
        outcome: Outcome::Refused,
        count: 1,
    };
    assert!(
        world.aws.calls().read().contains(&refused),
        "{:?}",
        world.aws.calls().read()
    );
}
