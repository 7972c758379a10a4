//! A workload in; the program between a kube-apiserver that has it and the AWS API in memory, and the calls made, out.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use portcullis_test_support::{Account, AccountSpec, ApiServer, Call, Moto};
use serde_json::Value;

use crate::workload::{INGRESSES, Workload, surroundings};

const RECORDS: &str = "/apis/portcullis.dev/v1alpha1/loadbalancers";
const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Longest time until all is made: AWS's own limits let 20 load balancers be made in two minutes and a half.
const DEADLINE: Duration = Duration::from_secs(600);

/// Both sides, and the program between them.
pub(crate) struct Site {
    pub(crate) workload: Workload,
    server: ApiServer,
    moto: Moto,
    pub(crate) account: Account,
    folder: tempfile::TempDir,
    further: Vec<String>,
    program: Option<Program>,
}

/// Ends with the value.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted {
    pub(crate) calls: usize,
    pub(crate) writes: usize,
    /// From the beginning to the last call or, of a creation, to the last address shown.
    pub(crate) took: Duration,
}

impl Site {
    /// With all objects there, and no program yet. `further` are flags of the program.
    pub(crate) fn start(workload: Workload, further: &[String]) -> Self {
        let moto = Moto::start();
        let account = moto.account(&AccountSpec::default());
        let site = Self {
            workload,
            server: ApiServer::start(),
            moto,
            account,
            folder: tempfile::tempdir().expect("a folder can be made"),
            further: further.to_vec(),
            program: None,
        };
        for file in ["loadbalancers", "ingressclassparameters"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("crds/{file}.yaml"));
            let text = std::fs::read_to_string(path).expect("the definition is there");
            let crd: Value = serde_saphyr::from_str(&text).expect("the definition is YAML");
            site.create(DEFINITIONS, &crd);
        }
        let nodes = &site.account.nodes;
        for (path, object) in surroundings(nodes).iter().chain(&workload.objects(nodes)) {
            site.create(path, object);
        }
        site
    }

    /// Status is a resource of its own.
    fn create(&self, path: &str, object: &Value) {
        let answer = self.server.request("POST", path, Some(object));
        assert_eq!(answer.status, 201, "POST {path}: {}", answer.text());
        if let Some(status) = object.get("status") {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            self.patch(
                &format!("{path}/{name}/status"),
                &serde_json::json!({"status": status}),
            );
        }
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) {
        let answer = self.server.request("PATCH", path, Some(body));
        assert_eq!(answer.status, 200, "PATCH {path}: {}", answer.text());
    }

    pub(crate) fn delete(&self, path: &str) {
        let answer = self.server.request("DELETE", path, None);
        assert_eq!(answer.status, 200, "DELETE {path}: {}", answer.text());
    }

    /// Starts the program.
    pub(crate) fn run(&mut self) {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.folder.path().join("log"))
            .expect("the log can be written");
        let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["--log-level", "info", "run", "--provider", "aws"])
            .args(["--cluster-name", "demo", "--aws-vpc-id", &self.account.vpc])
            .args(["--admin", "127.0.0.1:0"])
            .arg("--kubeconfig")
            .arg(self.server.kubeconfig())
            .args(&self.further)
            .envs(self.moto.environment())
            .stdout(log.try_clone().expect("a file can be written twice"))
            .stderr(log)
            .spawn()
            .expect("the program was built");
        self.program = Some(Program(child));
    }

    /// Ends it as the kubelet does.
    pub(crate) fn stop(&mut self) {
        let Some(mut program) = self.program.take() else {
            return;
        };
        let told = Command::new("kill")
            .args(["-TERM", &program.0.id().to_string()])
            .status();
        assert!(told.expect("there is a kill").success());
        let ended = program.0.wait().expect("it ends");
        assert!(ended.success(), "{ended}\n{}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Starts the program and counts until this long after every Ingress shows its address and all is settled.
    pub(crate) fn create_all(&mut self, after: Duration) -> Counted {
        self.moto.record();
        let begun = now();
        self.run();
        while !self.is_made() {
            assert!(
                begun.elapsed() < DEADLINE,
                "not made in {DEADLINE:?}\n{}",
                self.log()
            );
            wait(Duration::from_millis(100));
        }
        let took = begun.elapsed();
        wait(after);
        Counted {
            took,
            ..counted(&self.moto.calls())
        }
    }

    fn is_made(&self) -> bool {
        let items = |path| {
            let answer = self.server.request("GET", path, None);
            let list = answer.json();
            list["items"].as_array().cloned().unwrap_or_default()
        };
        let shows = |ingress: &Value| ingress["status"]["loadBalancer"]["ingress"][0]["hostname"].is_string();
        let settled = |record: &Value| record["status"]["fingerprint"].is_string();
        let records = items(RECORDS);
        let balancers = self.workload.group.map_or(self.workload.ingresses, |_| 1);
        items(INGRESSES).iter().all(shows) && records.len() == balancers && records.iter().all(settled)
    }

    /// Acts, and counts for this long: what does not happen can only be waited for.
    pub(crate) fn count(&mut self, during: Duration, act: impl FnOnce(&mut Self)) -> Counted {
        self.moto.record();
        act(self);
        let begun = now();
        let mut last = Counted {
            took: Duration::ZERO,
            ..counted(&[])
        };
        while begun.elapsed() < during {
            wait(Duration::from_millis(100));
            let now = counted(&self.moto.calls());
            if now.calls != last.calls {
                last = Counted {
                    took: begun.elapsed(),
                    ..now
                };
            }
        }
        last
    }

    /// What was called since counting began, by name.
    pub(crate) fn calls(&self) -> Vec<String> {
        self.moto.calls().iter().map(ToString::to_string).collect()
    }
}

fn counted(calls: &[Call]) -> Counted {
    Counted {
        calls: calls.len(),
        writes: calls.iter().filter(|call| call.writes()).count(),
        took: Duration::ZERO,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "that nothing is called can only be waited for"
)]
fn wait(time: Duration) {
    std::thread::sleep(time);
}

#[expect(clippy::disallowed_methods, reason = "how long it took is what is measured")]
fn now() -> Instant {
    Instant::now()
}
