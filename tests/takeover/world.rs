//! A recording of the AWS Load Balancer Controller in, the cluster and the account it left behind out.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;

use portcullis_test_support::{Account, ApiServer, Moto};
use serde_json::{Value, json};

use crate::world::{CLASSES, World};

/// One that was recorded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recording(pub(crate) &'static str);

impl Recording {
    pub(crate) const ALL: [Self; 3] = [Self("simple"), Self("group-https"), Self("instance")];

    pub(crate) fn file(self, name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/takeover/{}/{name}", self.0))
    }

    /// Every object of a file, those of a list one by one.
    pub(crate) fn objects(self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.file(name)).unwrap();
        let documents = text.split("\n---\n").map(|document| {
            let document: Value = serde_saphyr::from_str(document).unwrap();
            match document["items"].as_array() {
                Some(items) => items.clone(),
                None => vec![document],
            }
        });
        documents.flatten().collect()
    }

    pub(crate) fn account(self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.file("account.json")).unwrap()).unwrap()
    }

    pub(crate) fn vpc(self) -> String {
        self.account()["vpc"].as_str().unwrap().to_owned()
    }

    /// The account in moto.
    pub(crate) fn replay(self, moto: &Moto) {
        moto.replay(&self.file("requests.jsonl"));
    }

    /// The cluster in a kube-apiserver and the account in moto, as they were left.
    pub(crate) async fn world(self) -> Arc<World> {
        let start = move || {
            let moto = std::thread::spawn(move || {
                let moto = Moto::start();
                self.replay(&moto);
                moto
            });
            let server = ApiServer::start();
            let world = World {
                server: Arc::new(server),
                moto: Arc::new(moto.join().unwrap()),
                account: Account {
                    region: "us-east-1".into(),
                    vpc: self.vpc(),
                    subnets: BTreeMap::new(),
                    node_security_group: String::new(),
                    nodes: Vec::new(),
                    certificates: BTreeMap::new(),
                },
            };
            self.furnish(&world);
            Arc::new(world)
        };
        tokio::task::spawn_blocking(start).await.unwrap()
    }

    fn furnish(self, world: &World) {
        world.define();
        world.post(
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            &target_group_bindings(),
        );
        let class = json!({"metadata": {"name": "alb"}, "spec": {"controller": "ingress.k8s.aws/alb"}});
        world.post(CLASSES, &class);
        let of_cluster = ["cluster/nodes.yaml", "cluster/manifests.yaml"];
        let given = of_cluster.iter().flat_map(|file| self.objects(file));
        // Ingresses come as they were left: with finalizers and a status.
        let given = given.filter(|object| object["kind"] != "Ingress");
        for object in given.chain(self.objects("ingresses-after.yaml")) {
            put(world, object);
        }
        for binding in self.objects("targetgroupbindings.yaml") {
            put(world, binding);
        }
    }
}

/// Creates an object, and then gives it the status it had.
fn put(world: &World, mut object: Value) {
    let status = object.as_object_mut().unwrap().remove("status");
    let metadata = object["metadata"].as_object_mut().unwrap();
    for field in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
        metadata.remove(field);
    }
    let collection = collection(&object);
    let name = object["metadata"]["name"].as_str().unwrap().to_owned();
    world.post(&collection, &object);
    if let Some(status) = status {
        world.patch(&format!("{collection}/{name}/status"), &json!({"status": status}));
    }
}

/// Where objects of this kind are created.
fn collection(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let group = if version == "v1" {
        "api/v1".to_owned()
    } else {
        format!("apis/{version}")
    };
    let plural = match object["kind"].as_str().unwrap() {
        "Ingress" => "ingresses".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("/{group}/namespaces/{namespace}/{plural}"),
        None => format!("/{group}/{plural}"),
    }
}

/// As much of the definition as it takes to store them.
fn target_group_bindings() -> Value {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "metadata": {"name": "targetgroupbindings.elbv2.k8s.aws"},
        "spec": {
            "group": "elbv2.k8s.aws", "scope": "Namespaced",
            "names": {
                "kind": "TargetGroupBinding", "listKind": "TargetGroupBindingList",
                "plural": "targetgroupbindings", "singular": "targetgroupbinding",
            },
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": anything, "status": anything},
                }},
            }],
        },
    })
}

/// The program, ended with the test.
pub(crate) struct Program(Child);

impl Program {
    /// `portcullis run` in the incumbent's place.
    pub(crate) fn run(world: &World, log: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args([
                "run",
                "--provider",
                "aws",
                "--cluster-name",
                "demo",
                "--admin",
                "127.0.0.1:0",
            ])
            .args([
                "--controller-name",
                "ingress.k8s.aws/alb",
                "--aws-vpc-id",
                &world.account.vpc,
            ])
            .arg("--kubeconfig")
            .arg(world.server.kubeconfig())
            .envs(world.moto.environment())
            // Not a pipe: nobody reads while it runs, and a full one would stop it.
            .stderr(fs::File::create(log).unwrap())
            .spawn()
            .unwrap();
        Self(child)
    }
}

impl Program {
    /// What its admin address answers, once it has said which that is.
    pub(crate) fn ask(log: &Path, path: &str) -> Option<String> {
        let said = fs::read_to_string(log).unwrap();
        let (_, rest) = said.split_once("admin=")?;
        let mut stream = TcpStream::connect(rest.split_whitespace().next()?).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        Some(answer)
    }

    /// Ends it with SIGTERM; answers the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let told = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        assert!(told.unwrap().success());
        self.0.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
