//! The parts other tests stand on in, proof that they are real and alive out.

use portcullis_test_support::{AccountSpec, ApiServer, Moto};
use serde_json::json;

#[test]
fn an_ingress_is_stored_and_a_broken_one_is_refused() {
    let server = ApiServer::start();
    let version = server.request("GET", "/version", None).json();
    assert_eq!(version["major"], "1", "{version}");

    let collection = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
    let backend = json!({"service": {"name": "web", "port": {"number": 80}}});
    let ingress = |name: &str, path: &str| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
            "spec": {"rules": [{"http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}]},
        })
    };
    for (name, path, want) in [
        ("good", "/shop", 201),
        ("good", "/shop", 409),
        ("bad", "no-slash", 422),
    ] {
        let answer = server.request("POST", collection, Some(&ingress(name, path)));
        assert_eq!(answer.status, want, "{name} {path}: {}", answer.text());
    }

    let status = json!({"status": {"loadBalancer": {"ingress": [{"hostname": "a.example.com"}]}}});
    let answer = server.request("PATCH", &format!("{collection}/good/status"), Some(&status));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let stored = server.request("GET", &format!("{collection}/good"), None).json();
    assert_eq!(
        stored["status"]["loadBalancer"]["ingress"][0]["hostname"], "a.example.com",
        "{stored}"
    );
}

#[test]
fn two_api_servers_share_nothing() {
    let (one, other) = (ApiServer::start(), ApiServer::start());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}});
    assert_eq!(
        one.request("POST", "/api/v1/namespaces", Some(&namespace)).status,
        201
    );
    for (server, want) in [(&one, 200), (&other, 404)] {
        assert_eq!(
            server.request("GET", "/api/v1/namespaces/shop", None).status,
            want,
            "{}",
            server.url()
        );
    }
}

#[test]
fn the_calls_to_aws_are_recorded_in_their_order() {
    let moto = Moto::start();
    let account = moto.account(&AccountSpec::default());
    assert_eq!(account.nodes.len(), 2, "{account:?}");
    assert_eq!(account.subnets["elb"].len(), 3, "{account:?}");

    moto.record();
    let describe = moto.call("elbv2", "DescribeLoadBalancers", &[]);
    assert_eq!(describe.status, 200, "{}", describe.text());
    let subnets = &account.subnets["elb"];
    let parameters = [
        ("Name", "web"),
        ("Subnets.member.1", &subnets[0]),
        ("Subnets.member.2", &subnets[1]),
        ("SecurityGroups.member.1", &account.node_security_group),
    ];
    let create = moto.call("elbv2", "CreateLoadBalancer", &parameters);
    assert!(create.text().contains("<DNSName>web-"), "{}", create.text());
    let interface = [
        ("Filter.1.Name", "addresses.private-ip-address"),
        ("Filter.1.Value.1", &account.nodes[0].pods[3]),
    ];
    let found = moto.call("ec2", "DescribeNetworkInterfaces", &interface).text();
    assert!(found.contains(&account.nodes[0].interface), "{found}");

    let calls = moto.calls();
    let shown: Vec<String> = calls.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "elbv2:DescribeLoadBalancers",
            "elbv2:CreateLoadBalancer",
            "ec2:DescribeNetworkInterfaces"
        ]
    );
    let writes: Vec<bool> = calls.iter().map(|call| call.writes()).collect();
    assert_eq!(writes, [false, true, false]);
    moto.record();
    assert_eq!(moto.calls(), [], "recording starts anew");
}

#[test]
fn the_same_account_has_the_same_ids() {
    let (one, other) = (Moto::start(), Moto::start());
    let spec = AccountSpec {
        nodes: 4,
        ..AccountSpec::default()
    };
    let ids = |moto: &Moto| {
        let account = moto.account(&spec);
        (
            account.vpc,
            account.nodes.into_iter().map(|node| node.id).collect::<Vec<_>>(),
        )
    };
    assert_eq!(ids(&one), ids(&other));
}
