//! What the AWS Load Balancer Controller left behind, and what else it or users have beside it, in; a plan that leaves
//! all of that alone out.

use std::fs;

use portcullis_test_support::Moto;
use serde_json::Value;

use super::recording::Recording;
use super::{calls, plan};

/// The security groups of nodes and of all load balancers in the recording.
const NODES: &str = "sg-671df07efc4a0316f";
const BACKEND: &str = "sg-a36aa5925cdac4267";

fn send(moto: &Moto, service: &str, action: &str, given: &[(&str, &str)]) {
    let answer = moto.call(service, action, given);
    assert_eq!(answer.status, 200, "{action}: {}", answer.text());
}

/// Lets in the load balancers' group, as the incumbent does, or no longer.
fn permit(moto: &Moto, action: &str, (first, last): (&str, &str)) {
    let pair = "IpPermissions.1.Groups.1";
    let given = [
        ("GroupId", NODES),
        ("IpPermissions.1.IpProtocol", "tcp"),
        ("IpPermissions.1.FromPort", first),
        ("IpPermissions.1.ToPort", last),
        (&format!("{pair}.GroupId"), BACKEND),
        (
            &format!("{pair}.Description"),
            "elbv2.k8s.aws/targetGroupBinding=shared",
        ),
    ];
    send(moto, "ec2", action, &given);
}

/// It has opened one range from the lowest port to the highest.
fn widen(moto: &Moto) {
    permit(moto, "AuthorizeSecurityGroupIngress", ("8080", "9090"));
    permit(moto, "RevokeSecurityGroupIngress", ("8080", "8080"));
}

/// It serves a Service through a Network Load Balancer behind security groups that its user gave.
fn serve_a_service(moto: &Moto) {
    permit(moto, "AuthorizeSecurityGroupIngress", ("9090", "9090"));
    let subnets = Recording("simple").account();
    let given = [
        ("Name", "nlb"),
        ("Type", "network"),
        ("Subnets.member.1", subnets["subnets"][0].as_str().unwrap()),
        ("SecurityGroups.member.1", NODES),
        ("Tags.member.1.Key", "elbv2.k8s.aws/cluster"),
        ("Tags.member.1.Value", "demo"),
        ("Tags.member.2.Key", "service.k8s.aws/stack"),
        ("Tags.member.2.Value", "shop/nlb"),
    ];
    send(moto, "elbv2", "CreateLoadBalancer", &given);
}

fn binding(port: &str) -> String {
    format!(
        "apiVersion: elbv2.k8s.aws/v1beta1\n\
         kind: TargetGroupBinding\n\
         metadata: {{name: mine, namespace: shop}}\n\
         spec:\n  \
           targetGroupName: mine\n  \
           serviceRef: {{name: web, port: 80}}\n  \
           networking:\n    \
             ingress:\n    \
             - from: [{{securityGroup: {{groupID: {BACKEND}}}}}]\n      \
               ports: [{{protocol: TCP, port: {port}}}]\n"
    )
}

#[test]
fn what_is_open_for_others_stays_open() {
    const NARROWED: &[&str] = &[
        "ec2:AuthorizeSecurityGroupIngress",
        "ec2:RevokeSecurityGroupIngress",
    ];
    let moto = Moto::start();
    for (what, prepare, manifest, want) in [
        ("nobody else", widen as fn(&Moto), String::new(), NARROWED),
        ("a binding's port", widen, binding("9090"), &[]),
        ("a binding's named port", widen, binding("http"), &[]),
        ("a Service's port", serve_a_service, String::new(), &[]),
    ] {
        let recording = Recording("simple");
        recording.replay(&moto);
        prepare(&moto);
        let folder = tempfile::tempdir().unwrap();
        for file in ["manifests.yaml", "nodes.yaml"] {
            fs::copy(
                recording.file(&format!("cluster/{file}")),
                folder.path().join(file),
            )
            .unwrap();
        }
        fs::write(folder.path().join("binding.yaml"), &manifest).unwrap();
        let planned = plan(&moto, &recording.vpc(), folder.path());
        assert_eq!(calls(&planned), want, "{what}: {planned:#}");
    }
}

#[test]
fn a_port_goes_on_speaking_what_it_speaks() {
    let moto = Moto::start();
    let recording = Recording("group-https");
    recording.replay(&moto);
    let folder = tempfile::tempdir().unwrap();
    for file in ["manifests.yaml", "nodes.yaml"] {
        let text = fs::read_to_string(recording.file(&format!("cluster/{file}"))).unwrap();
        // Of the member that comes first; the others go on with HTTPS.
        let text = text.replace(r#"'[{"HTTPS":443}]'"#, r#"'[{"HTTP":443}]'"#);
        fs::write(folder.path().join(file), text).unwrap();
    }
    let planned = plan(&moto, &recording.vpc(), folder.path());
    // It loses its own rule and what that had alone, and nobody else anything.
    let listeners: Vec<&str> = fields(&planned, "elbv2:ModifyListener");
    assert_eq!(listeners, ["Certificates"], "{planned:#}");
    let deleted: Vec<&str> = calls(&planned)
        .into_iter()
        .filter(|call| call.contains("Delete"))
        .collect();
    assert_eq!(
        deleted,
        ["elbv2:DeleteRule", "elbv2:DeleteTargetGroup"],
        "{planned:#}"
    );
}

/// What calls of this name change.
fn fields<'a>(plan: &'a Value, call: &str) -> Vec<&'a str> {
    let balancers = plan["loadBalancers"].as_array().unwrap();
    let changes = balancers
        .iter()
        .flat_map(|balancer| balancer["changes"].as_array().unwrap());
    let changes = changes.filter(|change| change["call"] == call);
    let fields = changes.flat_map(|change| change["fields"].as_array().unwrap());
    fields.map(|field| field["field"].as_str().unwrap()).collect()
}
