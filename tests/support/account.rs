//! What an AWS account should hold in, the ids of what was made in moto out.

use std::collections::BTreeMap;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::program;

/// What `tests/moto/account.py` makes; `SPEC` there explains each.
#[derive(Clone, Debug, Serialize)]
pub struct AccountSpec {
    pub cluster: String,
    pub zones: Vec<String>,
    pub nodes: u32,
    pub pods_per_node: u32,
    /// Each certificate by its names, the first is its domain name.
    pub certificates: Vec<Vec<String>>,
}

impl Default for AccountSpec {
    /// Cluster `demo`, three zones, two nodes of 20 pods, certificates for `*.shop.example.com` and
    /// `www.example.com` with `example.com`.
    fn default() -> AccountSpec {
        let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        AccountSpec {
            cluster: "demo".to_owned(),
            zones: owned(&["us-east-1a", "us-east-1b", "us-east-1c"]),
            nodes: 2,
            pods_per_node: 20,
            certificates: vec![
                owned(&["*.shop.example.com"]),
                owned(&["www.example.com", "example.com"]),
            ],
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    pub region: String,
    pub vpc: String,
    /// By the role in the tag `kubernetes.io/role/<role>`: `elb`, `internal-elb`; in the order of the zones.
    pub subnets: BTreeMap<String, Vec<String>>,
    pub node_security_group: String,
    pub nodes: Vec<Node>,
    /// ARNs by domain name.
    pub certificates: BTreeMap<String, String>,
}

/// An instance with one network interface.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// The instance's id; a Node's provider id is `aws:///<zone>/<id>`.
    pub id: String,
    pub zone: String,
    /// The primary address.
    pub address: String,
    pub interface: String,
    /// The secondary addresses: those pods have under the VPC CNI.
    pub pods: Vec<String>,
}

/// Resets moto and makes the account: the same spec always gives the same ids.
pub(crate) fn make(endpoint: &str, spec: &AccountSpec) -> Account {
    let spec = serde_json::to_string(spec).expect("a spec of texts and numbers can be written");
    let mut command = Command::new(program::python());
    command
        .arg(program::script("account.py"))
        .args(["--endpoint", endpoint, "--spec", &spec]);
    let output = command.output().expect("Python can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "account.py failed: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("account.py: {error}\n{errors}"))
}
