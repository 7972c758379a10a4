//! A cluster with its objects, an AWS account and a controller between them in; what each of them then says out.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use portcullis::controller::{self, Ended, Leadership, Serve, Setup};
use portcullis::reconcile::brake::Brake;
use portcullis::reconcile::lease::rival::Contested;
use portcullis::reconcile::queue::Pace;
use portcullis::reconcile::records::Place;
use portcullis::reconcile::records::scope::Scope;
use portcullis::report::admin;
use portcullis::translate::{ControllerName, Settings};
use portcullis_aws::Aws;
use portcullis_aws::aws_config::credential_process::CredentialProcessProvider;
use portcullis_aws::aws_config::{self, BehaviorVersion, Region};
use portcullis_aws::throttle::Limit;
use portcullis_model::{ObjectName, Provider};
use portcullis_test_support::{Account, AccountSpec, ApiServer, Call, Moto};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Longest time anything here may take; the machine may be busy with a compiler.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

pub(crate) const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/shop/ingresses";
pub(crate) const SERVICES: &str = "/api/v1/namespaces/shop/services";
pub(crate) const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
pub(crate) const CLASSES: &str = "/apis/networking.k8s.io/v1/ingressclasses";
pub(crate) const PARAMETERS: &str = "/apis/portcullis.dev/v1alpha1/ingressclassparameters";
pub(crate) const RECORDS: &str = "/apis/portcullis.dev/v1alpha1/loadbalancers";

/// Both sides.
pub(crate) struct World {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) moto: Arc<Moto>,
    pub(crate) account: Account,
}

impl World {
    /// A cluster `demo` with two nodes, our class, and a Service `web` with two pods in namespace `shop`.
    pub(crate) async fn start() -> World {
        let start = || {
            let moto = std::thread::spawn(|| {
                let moto = Moto::start();
                let account = moto.account(&AccountSpec::default());
                (moto, account)
            });
            let server = ApiServer::start();
            let (moto, account) = moto.join().expect("moto starts");
            let world = World {
                server: Arc::new(server),
                moto: Arc::new(moto),
                account,
            };
            world.furnish();
            world
        };
        tokio::task::spawn_blocking(start)
            .await
            .expect("the world starts")
    }

    /// Installs our definitions.
    pub(crate) fn define(&self) {
        for file in ["loadbalancers", "ingressclassparameters"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("crds/{file}.yaml"));
            let text = std::fs::read_to_string(path).expect("the definition is there");
            let crd: Value = serde_saphyr::from_str(&text).expect("the definition is YAML");
            self.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd);
        }
    }

    fn furnish(&self) {
        self.define();
        self.post("/api/v1/namespaces", &json!({"metadata": {"name": "shop"}}));
        self.post(
            CLASSES,
            &json!({"metadata": {"name": "alb"}, "spec": {"controller": ControllerName::OURS}}),
        );
        for node in &self.account.nodes {
            let name = node.id.clone();
            let provider = format!("aws:///{}/{}", node.zone, node.id);
            self.post(
                "/api/v1/nodes",
                &json!({"metadata": {"name": name}, "spec": {"providerID": provider}}),
            );
            let status = json!({"status": {
                "addresses": [{"type": "InternalIP", "address": node.address}],
                "conditions": [{"type": "Ready", "status": "True"}],
            }});
            self.patch(&format!("/api/v1/nodes/{name}/status"), &status);
        }
        self.pod("web-1", 0, 0);
        self.pod("web-2", 1, 0);
        self.service("web", &[("web-1", 0, 0), ("web-2", 1, 0)]);
    }

    /// A pod with the address that this node keeps for its nth pod.
    pub(crate) fn pod(&self, name: &str, node: usize, nth: usize) {
        let node = &self.account.nodes[node];
        self.post(
            "/api/v1/namespaces/shop/pods",
            &json!({
                "metadata": {"name": name, "labels": {"app": "web"}},
                "spec": {"nodeName": node.id, "containers": [{"name": "web", "image": "web"}]},
            }),
        );
        let address = &node.pods[nth];
        let status = json!({"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        self.patch(&format!("/api/v1/namespaces/shop/pods/{name}/status"), &status);
    }

    /// A Service on port 80 and the slice that says which pods serve it on 8080.
    pub(crate) fn service(&self, name: &str, pods: &[(&str, usize, usize)]) {
        self.service_on(name, 8080, pods);
    }

    /// The same, served on another port.
    pub(crate) fn service_on(&self, name: &str, port: u16, pods: &[(&str, usize, usize)]) {
        self.post(
            SERVICES,
            &json!({
                "metadata": {"name": name},
                "spec": {"ports": [{"port": 80, "targetPort": port}], "selector": {"app": "web"}},
            }),
        );
        self.post(
            SLICES,
            &json!({
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4", "ports": [{"port": port}], "endpoints": self.endpoints(pods),
            }),
        );
    }

    pub(crate) fn endpoints(&self, pods: &[(&str, usize, usize)]) -> Value {
        let endpoint = |(name, node, nth): &(&str, usize, usize)| {
            let node = &self.account.nodes[*node];
            json!({
                "addresses": [node.pods[*nth]], "nodeName": node.id, "zone": node.zone,
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "name": name, "namespace": "shop"},
            })
        };
        pods.iter().map(endpoint).collect()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) {
        self.ask("POST", path, Some(body), 201);
    }

    pub(crate) fn patch(&self, path: &str, body: &Value) {
        self.ask("PATCH", path, Some(body), 200);
    }

    pub(crate) fn delete(&self, path: &str) {
        self.ask("DELETE", path, None, 200);
    }

    fn ask(&self, method: &str, path: &str, body: Option<&Value>, want: u16) {
        let answer = self.server.request(method, path, body);
        assert_eq!(answer.status, want, "{method} {path}: {}", answer.text());
    }

    /// The object, if there is one.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        let answer = self.server.request("GET", path, None);
        (answer.status == 200).then(|| answer.json())
    }

    /// Host name that the Ingress shows.
    pub(crate) fn hostname(&self, ingress: &str) -> Option<String> {
        let ingress = self.get(&format!("{INGRESSES}/{ingress}"))?;
        let shown = &ingress["status"]["loadBalancer"]["ingress"][0]["hostname"];
        shown.as_str().map(str::to_owned)
    }

    /// Whether the record says that what exists is what should.
    pub(crate) fn settled(&self, record: &str) -> bool {
        let record = self.get(&format!("{RECORDS}/{record}"));
        record.is_some_and(|record| {
            condition(&record, "Settled") == "True" && record["status"]["fingerprint"].is_string()
        })
    }

    /// The provider, as fast as can be.
    pub(crate) async fn aws(&self) -> Aws {
        self.aws_limited(&["Elastic Load Balancing v2:.*=1000:1000", "EC2:.*=1000:1000"])
            .await
    }

    /// The provider with these limits of calls, and keys of its own: what the environment says of AWS has no part in it.
    pub(crate) async fn aws_limited(&self, limits: &[&str]) -> Aws {
        self.aws_of(self.aws_settings(limits)).await
    }

    /// Its settings, with these limits of calls.
    pub(crate) fn aws_settings(&self, limits: &[&str]) -> portcullis_aws::Settings {
        portcullis_aws::Settings {
            cluster: "demo".into(),
            region: Some("us-east-1".into()),
            vpc: Some(self.account.vpc.clone()),
            api_limits: limits
                .iter()
                .map(|limit| Limit::parse(limit).expect("a limit"))
                .collect(),
            ..portcullis_aws::Settings::default()
        }
    }

    pub(crate) async fn aws_of(&self, settings: portcullis_aws::Settings) -> Aws {
        self.aws_at(self.moto.endpoint(), settings).await
    }

    /// With AWS behind this endpoint.
    pub(crate) async fn aws_at(&self, endpoint: String, settings: portcullis_aws::Settings) -> Aws {
        let keys = r#"echo '{"Version": 1, "AccessKeyId": "test", "SecretAccessKey": "test"}'"#;
        let credentials = CredentialProcessProvider::new(keys.to_owned());
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(credentials)
            .load()
            .await;
        Aws::new(&config, settings).expect("Region and VPC are given")
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_as(None).await
    }

    /// With the rights of this user, else with all.
    pub(crate) async fn client_as(&self, user: Option<&str>) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.server.kubeconfig()).expect("a kubeconfig");
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.expect("it names a server");
        config.auth_info.impersonate = user.map(str::to_owned);
        Client::try_from(config).expect("a client")
    }

    /// A controller of this world, with this provider, that holds the lease.
    pub(crate) async fn control<P: Provider>(&self, provider: P) -> Running {
        let leadership = Leadership::Lease {
            client: self.client().await,
            namespace: "default".into(),
            name: "portcullis".into(),
        };
        self.control_as(provider, leadership, Duration::from_secs(3600))
            .await
    }

    /// The same, however it may change things, and however often it looks for what others changed.
    pub(crate) async fn control_as<P: Provider>(
        &self,
        provider: P,
        leadership: Leadership,
        sync_period: Duration,
    ) -> Running {
        self.control_with(self.client().await, provider, leadership, sync_period)
            .await
    }

    /// The same, with this client.
    pub(crate) async fn control_with<P: Provider>(
        &self,
        client: Client,
        provider: P,
        leadership: Leadership,
        sync_period: Duration,
    ) -> Running {
        let scope = Scope {
            controller: ControllerName::OURS.into(),
            namespace: None,
            legacy_class: "portcullis".into(),
        };
        self.control_for(client, provider, leadership, sync_period, scope)
            .await
    }

    /// The same, for the Ingresses of this scope.
    pub(crate) async fn control_for<P: Provider>(
        &self,
        client: Client,
        provider: P,
        leadership: Leadership,
        sync_period: Duration,
        scope: Scope,
    ) -> Running {
        self.control_beside(client, provider, leadership, sync_period, scope, None)
            .await
    }

    /// The same, while another controller may hold this lease.
    pub(crate) async fn control_beside<P: Provider>(
        &self,
        client: Client,
        provider: P,
        leadership: Leadership,
        sync_period: Duration,
        scope: Scope,
        rival: Option<(ObjectName, Contested)>,
    ) -> Running {
        let listener = admin::bind(([127, 0, 0, 1], 0).into())
            .await
            .expect("a port is free");
        let admin = listener.local_addr().expect("it is bound");
        let setup = Setup {
            namespace: scope.namespace.clone(),
            provider,
            settings: Settings {
                provider: Some("aws"),
                legacy_class: scope.legacy_class.as_str().into(),
                ..Settings::new(ControllerName::new(scope.controller.as_str()))
            },
            place: Place {
                provider: "aws",
                cluster_name: "demo".into(),
                region: Some("us-east-1".into()),
                scope: Some(scope),
            },
            calls: |_| Vec::new(),
            pace: Pace::default(),
            account_interval: Duration::from_secs(3600),
            sync_period,
            brake: Brake::default(),
            bindings: Serve::Yes,
            health_interval: Duration::from_millis(200),
            leadership,
            rival,
            identity: format!("test-{}", admin.port()),
            admin: Some(listener),
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let mut task = JoinSet::new();
        task.spawn(async move {
            controller::run(client, setup, async {
                // A dropped sender is a stop as well.
                let _ = stopped.await;
            })
            .await
        });
        Running { stop, task, admin }
    }

    /// All that AWS has: what is named by a tag of the answer, as often as it is there.
    pub(crate) fn everything(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (service, action, tag) in [
            ("elbv2", "DescribeLoadBalancers", "LoadBalancerName"),
            ("elbv2", "DescribeTargetGroups", "TargetGroupName"),
            ("ec2", "DescribeSecurityGroups", "groupName"),
            ("ec2", "DescribeSecurityGroupRules", "fromPort"),
        ] {
            let values = self.moto.call(service, action, &[]).texts(tag);
            found.extend(values.iter().map(|value| format!("{action} {value}")));
        }
        let keys = r#"{"Includes": {"keyTypes": ["EC_prime256v1", "EC_secp384r1"]}}"#;
        let listed = self.moto.json("acm", "ListCertificates", keys).json();
        let imported = listed["CertificateSummaryList"].as_array().into_iter().flatten();
        let imported = imported.filter(|summary| summary["Type"] == "IMPORTED");
        found.extend(imported.map(|summary| format!("ListCertificates {}", summary["NotBefore"])));
        found.sort();
        found
    }

    /// The calls that change something, since `record`, by name and in their order.
    pub(crate) fn writes(&self) -> Vec<String> {
        names(self.moto.calls().iter().filter(|call| call.writes()))
    }
}

pub(crate) fn names<'a>(calls: impl IntoIterator<Item = &'a Call>) -> Vec<String> {
    calls.into_iter().map(ToString::to_string).collect()
}

/// Status of a condition of a record.
pub(crate) fn condition(record: &Value, kind: &str) -> String {
    let conditions = record["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind);
    found
        .and_then(|condition| condition["status"].as_str())
        .unwrap_or_default()
        .to_owned()
}

/// An Ingress of class `alb` that sends these paths of a host to Services.
pub(crate) fn ingress(name: &str, host: &str, paths: &[(&str, &str)]) -> Value {
    let paths: Vec<Value> = paths
        .iter()
        .map(|(path, service)| {
            json!({
                "path": path, "pathType": "Prefix",
                "backend": {"service": {"name": service, "port": {"number": 80}}},
            })
        })
        .collect();
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
        "spec": {"ingressClassName": "alb", "rules": [{"host": host, "http": {"paths": paths}}]},
    })
}

/// A controller that runs.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    pub(crate) task: JoinSet<Result<(), Ended>>,
    admin: std::net::SocketAddr,
}

impl Running {
    /// Ends it as SIGTERM does.
    pub(crate) async fn stop(mut self) {
        // It may have ended by itself, which the next line tells.
        let _ = self.stop.send(());
        self.task
            .join_next()
            .await
            .expect("one task")
            .expect("no panic")
            .expect("a clean end");
    }

    /// What the admin address answers.
    pub(crate) async fn ask(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.admin)
            .await
            .expect("it listens");
        let request = format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        let status = answer
            .get(9..12)
            .and_then(|status| status.parse().ok())
            .expect("a status");
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
        (status, body.unwrap_or_default())
    }

    /// How many passes ended like this.
    pub(crate) async fn passes(&self, outcome: &str) -> u64 {
        let (_, text) = self.ask("/metrics").await;
        let start = format!("portcullis_passes_total{{outcome=\"{outcome}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.and_then(|count| count.parse().ok()).unwrap_or_default()
    }
}

/// Waits for it; the world is asked from a thread that may wait.
pub(crate) async fn until<T: Send + 'static>(
    world: &Arc<World>,
    what: &str,
    condition: impl Fn(&World) -> Option<T> + Send + Sync + Clone + 'static,
) -> T {
    let begun = tokio::time::Instant::now();
    loop {
        let (world, condition) = (world.clone(), condition.clone());
        let answer = tokio::task::spawn_blocking(move || condition(&world))
            .await
            .expect("no panic");
        if let Some(value) = answer {
            return value;
        }
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits for it.
pub(crate) async fn until_async<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = tokio::time::Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(begun.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs what waits for an answer on a thread that may wait.
pub(crate) async fn with<T: Send + 'static>(
    world: &Arc<World>,
    act: impl FnOnce(&World) -> T + Send + 'static,
) -> T {
    let world = world.clone();
    tokio::task::spawn_blocking(move || act(&world))
        .await
        .expect("no panic")
}
