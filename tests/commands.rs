//! The commands as users call them: arguments and files in; exit codes, what is printed and what is served out.

#![expect(clippy::unwrap_used, reason = "all of it is a test: a panic is the report")]

#[path = "commands/canaries.rs"]
mod canaries;
#[path = "commands/certificates.rs"]
mod certificates;
#[path = "commands/challenges.rs"]
mod challenges;
#[path = "commands/connections.rs"]
mod connections;
#[path = "commands/draining.rs"]
mod draining;
#[path = "commands/files.rs"]
mod files;
#[path = "commands/flags.rs"]
mod flags;
#[path = "commands/in_front.rs"]
mod in_front;
#[path = "commands/obeyed.rs"]
mod obeyed;
#[path = "commands/ports.rs"]
mod ports;
#[path = "commands/tls_policies.rs"]
mod tls_policies;
#[path = "commands/too_many.rs"]
mod too_many;
#[path = "commands/turned_away.rs"]
mod turned_away;
#[path = "commands/unreadable.rs"]
mod unreadable;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longest wait for anything to become true.
const PATIENCE: Duration = Duration::from_secs(30);

const ANSWERS: &str = "\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web
  namespace: shop
  annotations:
    alb.ingress.kubernetes.io/actions.first: >
      {\"type\": \"fixed-response\", \"fixedResponseConfig\": {\"statusCode\": \"200\", \"messageBody\": \"BODY\"}}
spec:
  rules:
    - host: shop.example
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: first, port: {name: use-annotation}}}}
";

fn portcullis(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments);
    command
}

fn output(arguments: &[&str]) -> Output {
    portcullis(arguments).output().unwrap()
}

fn plan(folder: &Path, more: &[&str]) -> Output {
    let mut arguments = vec![
        "plan",
        "--provider",
        "aws",
        "--cluster-name",
        "demo",
        "--manifests",
    ];
    arguments.push(folder.to_str().unwrap());
    arguments.extend(more);
    output(&arguments)
}

#[test]
fn exit_codes_tell_done_from_failed_from_misused() {
    let empty = tempfile::tempdir().unwrap();
    let empty = empty.path().to_str().unwrap();
    let plan = [
        "plan",
        "--provider",
        "aws",
        "--cluster-name",
        "demo",
        "--manifests",
    ];
    let serve = |last: &[&'static str]| [&["serve", "--manifests", empty], last].concat();
    let with = |last: &[&'static str]| plan.iter().chain(last).copied().collect::<Vec<_>>();
    for (arguments, want) in [
        (vec!["--help"], 0),
        (vec!["--version"], 0),
        ([&plan[..], &[empty]].concat(), 0),
        (with(&["/nowhere/at/all"]), 1),
        (
            vec![
                "serve",
                "--manifests",
                "/nowhere/at/all",
                "--http",
                "127.0.0.1:0",
                "--https",
                "127.0.0.1:0",
            ],
            1,
        ),
        (vec![], 2),
        (vec!["plan"], 2),
        (vec!["fly"], 2),
        (vec!["serve", "--manifests", empty, "--http", "nowhere"], 2),
        (vec!["serve", "--manifests", empty, "--workers", "0"], 2),
        (serve(&["--also-http", "8081=here"]), 2),
        (serve(&["--also-https", "443=127.0.0.1:9443"]), 2),
        (serve(&["--also-http", "80"]), 2),
        (
            serve(&[
                "--also-https",
                "8443=127.0.0.1:0",
                "--also-http",
                "8443=127.0.0.1:0",
            ]),
            2,
        ),
        (
            serve(&["--also-https", "8443=127.0.0.1:9443", "--also-https", "9443"]),
            2,
        ),
        (serve(&["--https", "127.0.0.1:8443", "--also-https", "8443"]), 2),
        (
            serve(&[
                "--also-https",
                "8443=127.0.0.1:0",
                "--advertised-port",
                "9443=443",
            ]),
            2,
        ),
        (
            serve(&["--also-https", "8443=127.0.0.1:0", "--advertised-port", "8443"]),
            2,
        ),
        (
            vec![
                "plan",
                "--manifests",
                empty,
                "--provider",
                "aws",
                "--cluster-name",
                "a\u{1b}[31m",
            ],
            2,
        ),
        (
            vec![
                "plan",
                "--manifests",
                empty,
                "--provider",
                "azure",
                "--cluster-name",
                "demo",
            ],
            2,
        ),
    ] {
        let output = output(&arguments);
        assert_eq!(output.status.code(), Some(want), "{arguments:?}: {output:?}");
        let printed = if want == 0 { &output.stdout } else { &output.stderr };
        assert!(!printed.is_empty(), "{arguments:?} says nothing");
    }
    #[cfg(not(all(feature = "cluster", feature = "aws")))]
    for arguments in [
        vec!["run"],
        vec!["adopt", "--dry-run"],
        vec!["doctor", "--orphans", "--help"],
        [&plan[..], &[empty, "--observe", "--aws-vpc-id", "vpc-1"]].concat(),
    ] {
        let output = output(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("this build lacks") && said.contains("--features"),
            "{said}"
        );
    }
}

#[test]
fn every_command_explains_itself_with_an_example() {
    for command in ["plan", "serve", "demo"] {
        let output = output(&[command, "--help"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains(&format!("Example:\n  portcullis {command}")),
            "{text}"
        );
    }
}

#[test]
fn a_plan_is_the_same_bytes_and_keeps_its_schema() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents = Vec::new();
    for case in fs::read_dir(root.join("tests/cases")).unwrap() {
        let folder = case.unwrap().path();
        let (once, again) = (plan(&folder, &["-o", "json"]), plan(&folder, &["-o", "json"]));
        assert_eq!(once.status.code(), Some(0), "{folder:?}: {once:?}");
        assert!(
            once.stdout == again.stdout,
            "{folder:?} gives other bytes the second time"
        );
        documents.push(serde_json::from_slice::<Value>(&once.stdout).unwrap());
    }
    assert!(documents.len() >= 40, "{} cases", documents.len());

    let dir = tempfile::tempdir().unwrap();
    let all = dir.path().join("plans.json");
    fs::write(&all, serde_json::to_vec(&documents).unwrap()).unwrap();
    let validate = "import json, sys, jsonschema\n\
        schema, plans = (json.load(open(path)) for path in sys.argv[1:])\n\
        [jsonschema.validate(plan, schema) for plan in plans]\n\
        print(len(plans))";
    let output = Command::new(portcullis_test_support::python())
        .args(["-c", validate])
        .args([root.join("tests/plan.schema.json"), all])
        .output()
        .unwrap();
    let validated = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert_eq!(
        validated,
        documents.len().to_string(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_plan_counts_one_call_for_each_change_and_refers_to_what_it_lists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for case in [
        "fanout",
        "group-shares-a-load-balancer",
        "tls-secret",
        "targets-on-nodes",
    ] {
        let output = plan(&root.join("tests/cases").join(case), &["-o", "json"]);
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        let balancers = document["loadBalancers"].as_array().unwrap();
        assert!(!balancers.is_empty(), "{case}");
        let shared = &document["shared"];
        let changes: usize = balancers
            .iter()
            .chain([shared])
            .map(|b| b["changes"].as_array().unwrap().len())
            .sum();
        assert_eq!(document["summary"]["calls"], changes, "{case}");
        for balancer in balancers {
            let resources = balancer["resources"].as_array().unwrap();
            let known: Vec<String> = resources
                .iter()
                .map(|r| {
                    format!(
                        "${{{}/{}}}",
                        r["kind"].as_str().unwrap(),
                        r["id"].as_str().unwrap()
                    )
                })
                .collect();
            let text = balancer["resources"].to_string();
            for reference in references(&text) {
                let is_outside = [
                    "${Vpc}",
                    "${Subnets/",
                    "${Certificate/",
                    "${SecurityGroup/backend}",
                    "${SecurityGroup/nodes}",
                ]
                .iter()
                .any(|outside| reference.starts_with(outside));
                assert!(
                    is_outside || known.contains(&reference),
                    "{case}: {reference} is not among {known:?}"
                );
            }
        }
    }
}

fn references(text: &str) -> Vec<String> {
    text.match_indices("${")
        .map(|(at, _)| text[at..=at + text[at..].find('}').unwrap()].to_owned())
        .collect()
}

#[test]
fn what_secrets_hold_is_never_printed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for case in [
        "tls-secret",
        "tls-key-of-another",
        "tls-secret-unreadable",
        "tls-two-secrets-for-a-host",
        "annotation-auth-oidc",
        "annotation-auth-secret-invalid",
    ] {
        let folder = root.join("tests/cases").join(case);
        let secrets: Vec<String> = fs::read_to_string(folder.join("cluster.yaml"))
            .unwrap()
            .lines()
            .filter_map(|line| {
                let keys = ["tls.key:", "clientID:", "clientSecret:", "clientSecrets:"];
                let value = keys.iter().find_map(|key| line.trim().strip_prefix(key))?;
                Some(value.trim().to_owned())
            })
            .filter(|value| value.len() > 12)
            .collect();
        for form in ["text", "json"] {
            let output = plan(&folder, &["-o", form, "--log-level", "trace"]);
            let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(!printed.contains("PRIVATE KEY"), "{case} {form}");
            assert!(secrets.iter().all(|key| !printed.contains(key)), "{case} {form}");
        }
        let mut serving = Serving::start(&folder, &["--log-level", "trace"]);
        serving.terminate();
        let printed = serving.logged();
        assert!(!printed.contains("PRIVATE KEY"), "{case} serve");
        assert!(secrets.iter().all(|key| !printed.contains(key)), "{case} serve");
    }
}

/// Status line and body.
fn get(address: &str, host: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// `portcullis serve` on free ports; killed when dropped.
struct Serving {
    process: Child,
    out: BufReader<ChildStdout>,
    ready: String,
    http: String,
}

impl Serving {
    fn start(folder: &Path, more: &[&str]) -> Self {
        Self::run(portcullis(&[]), folder, more)
    }

    /// With so many files open at most, as the shell's `ulimit` takes it.
    fn bounded(files: &str, folder: &Path, more: &[&str]) -> Self {
        let script = format!("ulimit {files} && exec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_portcullis")]);
        Self::run(shell, folder, more)
    }

    fn run(mut portcullis: Command, folder: &Path, more: &[&str]) -> Self {
        let are_said = more.contains(&"--workers");
        let workers: &[&str] = if are_said { &[] } else { &["--workers", "1"] };
        let mut process = portcullis
            .args(["serve", "--http", "127.0.0.1:0", "--https", "127.0.0.1:0"])
            .args(workers)
            .arg("--manifests")
            .arg(folder)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut ready = String::new();
        out.read_line(&mut ready).unwrap();
        let http = ready.split_whitespace().nth(2).unwrap_or_default().to_owned();
        Self {
            process,
            out,
            ready,
            http,
        }
    }

    /// Status line and body.
    fn get(&self, host: &str, path: &str) -> String {
        get(&self.http, host, path)
    }

    /// Asks until the answer holds this text.
    #[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
    fn answers(&self, host: &str, text: &str) {
        let start = Instant::now();
        loop {
            let answer = self.get(host, "/");
            if answer.contains(text) {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{host} never answers {text:?}, but {answer}"
            );
            std::thread::yield_now();
        }
    }

    fn signal(&self) {
        let pid = self.process.id().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.args(["-TERM", &pid]).status().unwrap().success());
    }

    fn terminate(&mut self) {
        self.signal();
        self.ended();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "one line says it is ready, and no other is printed");
    }

    fn ended(&mut self) {
        let status = self.process.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.logged());
    }

    /// What was logged until the process ended.
    fn logged(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.process.stderr.take() {
            stderr.read_to_string(&mut text).unwrap();
        }
        text
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_served_folder_is_followed_and_a_broken_file_keeps_its_last_good_content() {
    let dir = tempfile::tempdir().unwrap();
    let (web, other) = (dir.path().join("web.yaml"), dir.path().join("other.yaml"));
    let other_host = |body: &str| {
        ANSWERS
            .replace("name: web", "name: other")
            .replace("shop.example", "other.example")
            .replace("BODY", body)
    };
    fs::write(&web, ANSWERS.replace("BODY", "first")).unwrap();
    let mut serving = Serving::start(dir.path(), &[]);
    assert!(
        serving.ready.starts_with("ready: http 127.0.0.1:"),
        "{}",
        serving.ready
    );
    serving.answers("shop.example", "first");
    assert!(serving.get("other.example", "/").starts_with("HTTP/1.1 404"));

    fs::write(&web, ANSWERS.replace("BODY", "second")).unwrap();
    serving.answers("shop.example", "second");

    // The broken file and a good one change together: once the good one is served, the broken one has been read.
    fs::write(&web, "kind: [Ingress\n").unwrap();
    fs::write(&other, other_host("third")).unwrap();
    serving.answers("other.example", "third");
    serving.answers("shop.example", "second");

    fs::remove_file(&web).unwrap();
    serving.answers("shop.example", "404");
    serving.answers("other.example", "third");

    serving.terminate();
    let logged = serving.logged();
    assert!(
        logged.contains("FileUnreadable") && logged.contains("web.yaml"),
        "{logged}"
    );
    assert!(logged.contains("loopback"), "{logged}");
}

#[test]
fn what_is_served_can_be_watched() {
    let dir = tempfile::tempdir().unwrap();
    let web = dir.path().join("web.yaml");
    fs::write(&web, ANSWERS.replace("BODY", "first")).unwrap();
    let serving = Serving::start(dir.path(), &["--admin", "127.0.0.1:0"]);
    let (_, admin) = serving.ready.trim().rsplit_once(" admin ").unwrap();
    let page = |path: &str| get(admin, "admin", path);
    assert!(page("/readyz").ends_with("ok\n"), "{}", page("/readyz"));
    let table = page("/table");
    assert!(
        table.contains("version 0\n") && table.contains("shop.example"),
        "{table}"
    );
    fs::write(&web, ANSWERS.replace("BODY", "second")).unwrap();
    serving.answers("shop.example", "second");
    assert!(page("/table").contains("version 1\n"), "{}", page("/table"));
    let metrics = page("/metrics");
    assert!(
        metrics.contains("\nportcullis_proxy_swaps_total 1\n"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("\nportcullis_proxy_answers_total{class=\"2xx\"} 0\n"),
        "{metrics}"
    );
    assert!(page("/").starts_with("HTTP/1.1 404"), "{}", page("/"));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a deadline is read from the clock")]
fn while_it_drains_it_is_alive_and_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("web.yaml"), ANSWERS.replace("BODY", "first")).unwrap();
    let mut serving = Serving::start(dir.path(), &["--admin", "127.0.0.1:0"]);
    let (_, admin) = serving.ready.trim().rsplit_once(" admin ").unwrap();
    let admin = admin.to_owned();
    let page = |path: &str| get(&admin, "admin", path);
    // Another request may be on its way here: the drain waits for it.
    let mut kept = TcpStream::connect(&serving.http).unwrap();
    kept.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(kept, "GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n").unwrap();
    kept.read_exact(&mut [0; 12]).unwrap();
    assert!(page("/readyz").starts_with("HTTP/1.1 200"), "{}", page("/readyz"));
    serving.signal();
    let start = Instant::now();
    while !page("/readyz").starts_with("HTTP/1.1 503") {
        assert!(start.elapsed() < PATIENCE, "it is ready for ever");
        std::thread::yield_now();
    }
    assert!(page("/livez").starts_with("HTTP/1.1 200"), "{}", page("/livez"));
    // A second signal does not wait for anybody.
    serving.terminate();
}

#[test]
fn redirects_name_the_port_really_served() {
    let dir = tempfile::tempdir().unwrap();
    let redirect = ANSWERS.replace(
        "{\"type\": \"fixed-response\", \"fixedResponseConfig\": {\"statusCode\": \"200\", \"messageBody\": \"BODY\"}}",
        "{\"type\": \"redirect\", \"redirectConfig\": {\"path\": \"/new\", \"statusCode\": \"HTTP_301\"}}",
    );
    fs::write(dir.path().join("web.yaml"), redirect).unwrap();
    let serving = Serving::start(dir.path(), &[]);
    let answer = serving.get("shop.example", "/").to_lowercase();
    let port = serving.http.rsplit(':').next().unwrap();
    assert!(
        answer.contains(&format!("location: http://shop.example:{port}/new")),
        "{answer}"
    );
}

#[test]
fn a_demo_answers_each_route_as_it_should() {
    let output = output(&[
        "demo",
        "--once",
        "--http",
        "127.0.0.1:0",
        "--https",
        "127.0.0.1:0",
    ]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("ok\n") && !text.contains("WRONG"), "{text}");
    assert!(
        text.contains("ServiceNotFound") && text.contains("elbv2:CreateLoadBalancer"),
        "{text}"
    );
}
