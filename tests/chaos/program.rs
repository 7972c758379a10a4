//! A world in, the program that runs in it, and what it would still change, out.

use std::fs::{self, File};
use std::process::{Child, Command};

use portcullis::translate::ControllerName;
use portcullis_test_support::Faults;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::world::World;

/// `portcullis run`, on the far side of a network that fails.
pub(crate) struct Program {
    child: Child,
    folder: TempDir,
}

/// Our own limits would make the test wait for hours.
const NO_LIMITS: &str =
    "Elastic Load Balancing v2:.*=1000:10000,EC2:.*=1000:10000,ACM:.*=1000:10000,WAFV2:.*=1000:10000";

impl Program {
    /// Which looks so often for what was changed behind its back; with others beside it, or alone.
    pub(crate) fn start(world: &World, faults: &Faults, sync_period: &str, others: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["--log-level", "portcullis=debug,info", "run", "--provider", "aws"])
            .args(["--cluster-name", "demo", "--aws-vpc-id", &world.account.vpc])
            // Alone it need not wait for the lease of one that was killed.
            .args([
                "--enable-leader-election",
                &others.to_string(),
                "--admin",
                "127.0.0.1:0",
            ])
            .args(["--sync-period", sync_period, "--aws-api-throttle", NO_LIMITS])
            // All of them go at the end, and there is nobody to confirm it.
            .args(["--most-deleted-at-once", "100"])
            .arg("--kubeconfig")
            .arg(world.server.kubeconfig())
            .envs(world.moto.environment())
            .env("AWS_ENDPOINT_URL", faults.endpoint())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// SIGKILL: it is over at once.
    pub(crate) fn kill(mut self) {
        assert!(
            self.child.try_wait().unwrap().is_none(),
            "it ended by itself:\n{}",
            self.end_of_log()
        );
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn end_of_log(&self) -> String {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended; where the test failed, it has not.
        let _killed = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// What a fresh look at cluster and account would change, and what belongs to nobody.
pub(crate) fn differs(world: &World) -> Option<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["adopt", "--dry-run", "-o", "json", "--cluster-name", "demo"])
        .args(["--controller-name", ControllerName::OURS])
        .args(["--aws-vpc-id", &world.account.vpc, "--kubeconfig"])
        .arg(world.server.kubeconfig())
        .envs(world.moto.environment())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut balancers = report["loadBalancers"].as_array().unwrap().iter();
    let right = report["summary"]["calls"] == 0
        && report["shared"]["changes"] == json!([])
        && balancers.all(|balancer| balancer["standing"] == "Ours");
    (!right).then(|| format!("{report:#}"))
}
