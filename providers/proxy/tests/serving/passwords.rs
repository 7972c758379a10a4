//! Users of Secrets and requests with and without passwords in, who passes out.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::Request;
use hyper::client::conn::http2::SendRequest;
use portcullis_model::{BasicAuth, Code, Filters, LoadBalancer, ObjectName, Problem, Sealed};
use portcullis_proxy::{Handle, Material, ServedPorts, Server, ServerConfig, ServingState, UnknownNames};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::balancer::{KeyPairs, backend, empty, engine, filtered, origin, rule, to};
use crate::client::{Answer, Client, Sent, http2_over, soon, until};
use crate::echo::Echo;

type Users = BTreeMap<ObjectName, Sealed<[u8]>>;

/// bcrypt, Apache's MD5 and SHA-1, each of the password `password`.
const LINES: &str = "ann:$2y$04$PortcullisPortcullisP.b4mLrEN3IgqJxNGpffTqraf7Wnvt/u.
bob:$apr1$RandSalt$PgCXHRrkpSt4cbyC2C6bm/
cid:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=
";

fn guarded(secret: &str) -> Filters {
    let secret = ObjectName::new("shop", secret);
    Filters {
        basic_auth: Some(BasicAuth::new(secret, "Shop", origin()).unwrap()),
        ..Filters::default()
    }
}

fn users(secret: &str, text: &str) -> (ObjectName, Sealed<[u8]>) {
    (ObjectName::new("shop", secret), Sealed::new(text.as_bytes()))
}

fn balancer(echo: &Echo) -> LoadBalancer {
    let mut balancer = empty();
    let backend = backend("one", &[echo.address]);
    balancer.backends.insert(backend.id.clone(), backend.into());
    *balancer.rules = vec![
        filtered(rule("a.com", "/", to("one")), guarded("users")),
        filtered(rule("b.com", "/", to("one")), guarded("missing")),
        filtered(rule("c.com", "/", to("one")), guarded("plain")),
        rule("d.com", "/", to("one")),
    ];
    balancer
}

fn build(
    balancer: &LoadBalancer,
    users: &Users,
    before: Option<&ServingState>,
) -> (ServingState, Vec<Problem>) {
    let material = Material {
        key_pairs: &KeyPairs::new(),
        authorities: &BTreeMap::new(),
        users,
        unknown_names: &UnknownNames::First,
    };
    ServingState::build(balancer.clone(), material, before, ServedPorts::default()).unwrap()
}

fn serve(balancer: &LoadBalancer, users: &Users) -> (Handle, SocketAddr, Vec<Problem>) {
    let mut config = ServerConfig {
        http: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..ServerConfig::default()
    };
    config.settings.http1_engine = engine();
    let server = Server::bind(&config).unwrap();
    let address = server.http_addr().unwrap();
    let (state, problems) = build(balancer, users, None);
    (server.start(state).unwrap(), address, problems)
}

async fn ask(address: SocketAddr, host: &str, credentials: Option<&str>) -> Answer {
    let mut request = Request::get("/").header("host", host);
    if let Some(pair) = credentials {
        request = request.header("authorization", format!("Basic {}", STANDARD.encode(pair)));
    }
    let request = request.body(Sent::default()).unwrap();
    Client::http1(address).await.send(request).await.unwrap()
}

#[tokio::test]
async fn who_gives_the_password_of_a_user_passes_and_nobody_else() {
    let echo = Echo::http1("one").await;
    let all = Users::from([users("users", LINES), users("plain", "ann:password")]);
    let (handle, address, problems) = serve(&balancer(&echo), &all);
    for (host, credentials, want) in [
        ("a.com", Some("ann:password"), 200),
        ("a.com", Some("bob:password"), 200),
        ("a.com", Some("cid:password"), 200),
        ("a.com", None, 401),
        ("a.com", Some("ann:passwor"), 401),
        ("a.com", Some("ann:"), 401),
        ("a.com", Some("dan:password"), 401),
        ("a.com", Some("ann"), 401),
        // Verified before, and so known at once.
        ("a.com", Some("ann:password"), 200),
        ("a.com", Some("ann:Password"), 401),
        // No list: nobody, with whatever password.
        ("b.com", Some("ann:password"), 503),
        ("b.com", None, 503),
        // Passwords that are not hashed are none.
        ("c.com", Some("ann:password"), 503),
        ("d.com", None, 200),
    ] {
        let answer = ask(address, host, credentials).await;
        assert_eq!(answer.status(), want, "{host} {credentials:?}");
        let challenge = (want == 401).then_some("Basic realm=\"Shop\", charset=\"UTF-8\"");
        assert_eq!(
            answer.header("www-authenticate"),
            challenge,
            "{host} {credentials:?}"
        );
        assert_eq!(
            answer.header("x-backend").is_some(),
            want == 200,
            "{host} {credentials:?}"
        );
    }
    let codes: Vec<Code> = problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, [Code::SecretNotFound, Code::SecretInvalid], "{problems:?}");
    assert!(
        problems.iter().all(|problem| !problem.message.contains("ann")),
        "{problems:?}"
    );
    drop(handle);
}

#[tokio::test]
async fn all_who_are_turned_away_get_the_same_answer() {
    let echo = Echo::http1("one").await;
    let all = Users::from([users("users", LINES)]);
    let (_handle, address, _) = serve(&balancer(&echo), &all);
    let mut answers = Vec::new();
    for credentials in [None, Some("ann:x"), Some("nobody:x"), Some("no colon")] {
        let answer = ask(address, "a.com", credentials).await;
        let mut fields: Vec<String> = answer
            .response
            .headers()
            .iter()
            .filter(|(name, _)| *name != "date")
            .map(|(name, value)| format!("{name}: {value:?}"))
            .collect();
        fields.sort();
        answers.push((fields, answer.body));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
}

#[tokio::test]
async fn a_user_that_left_the_secret_passes_no_more() {
    let echo = Echo::http1("one").await;
    let (handle, address, _) = serve(&balancer(&echo), &Users::from([users("users", LINES)]));
    assert_eq!(ask(address, "a.com", Some("bob:password")).await.status(), 200);
    for (text, want) in [
        (Some(LINES), 200),
        (Some("cid:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="), 401),
        (None, 503),
        (Some(LINES), 200),
    ] {
        let all: Users = text.map(|text| users("users", text)).into_iter().collect();
        let (state, _) = build(&balancer(&echo), &all, Some(&handle.state()));
        handle.swap(state);
        let answer = ask(address, "a.com", Some("bob:password")).await;
        assert_eq!(answer.status(), want, "{text:?}");
    }
}

/// What takes so long to verify that many more have asked before it is.
const SLOW: &str = "ann:$2y$12$PortcullisPortcullisP.b4mLrEN3IgqJxNGpffTqraf7Wnvt/u.";

/// On one connection, so that what is asked first is begun with first.
fn guess(
    sender: &mut SendRequest<Sent>,
    host: &str,
    name: &str,
) -> impl Future<Output = (u16, Option<String>)> + use<> {
    let request = Request::get(format!("http://{host}/"))
        .header(
            "authorization",
            format!("Basic {}", STANDARD.encode(format!("{name}:guess"))),
        )
        .body(Sent::default());
    let answer = sender.send_request(request.unwrap());
    async {
        let answer = answer.await.unwrap();
        let again = answer.headers().get("retry-after");
        let again = again.map(|again| again.to_str().unwrap().to_owned());
        (answer.status().as_u16(), again)
    }
}

#[tokio::test]
async fn few_wait_for_their_password_to_be_verified_and_others_are_told_to_come_again() {
    let echo = Echo::http1("one").await;
    let (handle, address, _) = serve(&balancer(&echo), &Users::from([users("users", SLOW)]));
    // One whose client has left is verified to its end, so its place is taken until then.
    for (leaving, guesses, refused) in [(false, 70, 6), (true, 70, 7)] {
        let mut tasks = JoinSet::new();
        let mut connect = async || {
            let stream = TcpStream::connect(address).await.unwrap();
            http2_over(stream, &mut tasks).await
        };
        if leaving {
            let mut sender = connect().await;
            let guess_of_one = guess(&mut sender, "a.com", "ann");
            assert_eq!(guess(&mut sender, "d.com", "ann").await.0, 200);
            let before = handle.totals().given_up;
            drop(guess_of_one);
            until("it has left", || handle.totals().given_up > before).await;
        }
        let mut sender = connect().await;
        let (tell, mut told) = mpsc::unbounded_channel();
        for number in 0..guesses {
            // A name that there is not takes as long.
            let name = if number % 2 == 0 { "nobody" } else { "ann" };
            let (answer, tell) = (guess(&mut sender, "a.com", name), tell.clone());
            tasks.spawn(async move {
                // Nobody may listen any more.
                let _ = tell.send(answer.await);
            });
        }
        // All who are refused are so before the first is verified.
        let mut answers = Vec::new();
        while answers.last().is_none_or(|(status, _)| *status == 503) {
            answers.push(soon("an answer", told.recv()).await.unwrap());
        }
        let (last, others) = answers.split_last().unwrap();
        assert_eq!(*last, (401, None), "who left: {leaving}");
        let again = (503, Some("1".to_owned()));
        assert!(others.iter().all(|answer| *answer == again), "{answers:?}");
        assert_eq!(others.len(), refused, "who left: {leaving}");
        // Who leaves before it is its turn has no part any more.
        drop(sender);
        tasks.shutdown().await;
        soon("a place", async {
            while ask(address, "a.com", Some("ann:guess")).await.status() != 401 {}
        })
        .await;
    }
}
