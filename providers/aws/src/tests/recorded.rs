//! What AWS held after the AWS Load Balancer Controller had worked in, observed values out.
//!
//! The files of `tests/data` are answers of an ELBv2 and EC2 API, recorded from version 3.5.0 of the incumbent.

use std::collections::{BTreeMap, BTreeSet};

use portcullis_model::HostMatch;
use serde_json::Value;

use crate::account::{Account, AcmCertificate, Fact, Interface, Interfaces};
use crate::names;
use crate::observed::*;
use crate::resource::*;

/// An account as recorded.
pub(super) struct Recorded {
    pub(super) json: Value,
    pub(super) account: Account,
    pub(super) observed: Observed,
    pub(super) shared: Shared,
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value) -> u16 {
    u16::try_from(value.as_u64().unwrap()).unwrap()
}

pub(super) fn pairs(value: &Value) -> Pairs {
    list(value)
        .iter()
        .map(|pair| (text(&pair["Key"]), text(&pair["Value"])))
        .collect()
}

fn strings(value: &Value) -> Vec<String> {
    list(value).iter().map(text).collect()
}

fn optional(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn action(value: &Value) -> RuleAction<TargetGroupArn> {
    match value["Type"].as_str().unwrap() {
        "forward" => {
            let config = &value["ForwardConfig"];
            let sticky = &config["TargetGroupStickinessConfig"];
            let tuple = |tuple: &Value| TargetGroupTuple {
                target_group_arn: Id::new(text(&tuple["TargetGroupArn"])),
                weight: Some(number(&tuple["Weight"])),
            };
            let stickiness = Some(TargetGroupStickiness {
                enabled: sticky["Enabled"].as_bool().unwrap(),
                duration_seconds: sticky["DurationSeconds"]
                    .as_u64()
                    .unwrap_or_default()
                    .try_into()
                    .unwrap(),
            });
            let target_groups = list(&config["TargetGroups"]).iter().map(tuple).collect();
            RuleAction::Forward {
                config: ForwardConfig {
                    target_groups,
                    stickiness,
                },
            }
        }
        "redirect" => {
            let config = &value["RedirectConfig"];
            RuleAction::Redirect {
                config: RedirectConfig {
                    protocol: optional(&config["Protocol"]),
                    host: optional(&config["Host"]),
                    port: optional(&config["Port"]),
                    path: optional(&config["Path"]),
                    query: optional(&config["Query"]),
                    status_code: match config["StatusCode"].as_str().unwrap() {
                        "HTTP_301" => RedirectStatusCode::MovedPermanently,
                        _ => RedirectStatusCode::Found,
                    },
                },
            }
        }
        _ => {
            let config = &value["FixedResponseConfig"];
            RuleAction::FixedResponse {
                config: FixedResponseConfig {
                    status_code: text(&config["StatusCode"]),
                    content_type: optional(&config["ContentType"]),
                    message_body: optional(&config["MessageBody"]),
                },
            }
        }
    }
    .normalized()
}

fn rule(value: &Value) -> RuleState {
    let condition = |value: &Value| match value["Field"].as_str().unwrap() {
        "host-header" => RuleCondition::HostHeader {
            config: Values::Globs(strings(&value["HostHeaderConfig"]["Values"])),
        },
        _ => RuleCondition::PathPattern {
            config: Values::Globs(strings(&value["PathPatternConfig"]["Values"])),
        },
    };
    RuleState {
        arn: Id::new(text(&value["RuleArn"])),
        spec: RuleSpec {
            priority: text(&value["Priority"]).parse().unwrap(),
            conditions: list(&value["Conditions"]).iter().map(condition).collect(),
            actions: list(&value["Actions"]).iter().map(action).collect(),
            transforms: Vec::new(),
            tags: pairs(&value["Tags"]),
        },
    }
}

fn listener(value: &Value) -> ListenerState {
    let https = value["Protocol"] == "HTTPS";
    let certificate = |value: &Value| CertificateRef {
        certificate_arn: Id::new(text(&value["CertificateArn"])),
    };
    let own = list(&value["Rules"])
        .iter()
        .filter(|rule| rule["IsDefault"] == false);
    ListenerState {
        arn: Id::new(text(&value["ListenerArn"])),
        spec: ListenerSpec {
            port: number(&value["Port"]),
            protocol: if https {
                ListenerProtocol::Https
            } else {
                ListenerProtocol::Http
            },
            default_actions: list(&value["DefaultActions"]).iter().map(action).collect(),
            ssl_policy: https.then(|| text(&value["SslPolicy"])),
            mutual_authentication: None,
            certificates: list(&value["Certificates"]).iter().map(certificate).collect(),
            tags: pairs(&value["Tags"]),
        },
        attributes: Looked::Never,
        rules: own.map(rule).collect(),
    }
}

fn load_balancer(value: &Value) -> LoadBalancerState {
    let subnet = |zone: &Value| SubnetId::new(text(&zone["SubnetId"]));
    let listeners: Vec<ListenerState> = list(&value["Listeners"]).iter().map(listener).collect();
    LoadBalancerState {
        arn: Id::new(text(&value["LoadBalancerArn"])),
        dns_name: text(&value["DNSName"]),
        stage: Stage::SetUp,
        capacity: Looked::Never,
        web_acl: Looked::Never,
        protection: Looked::Never,
        spec: LoadBalancerSpec {
            name: text(&value["LoadBalancerName"]),
            scheme: match value["Scheme"].as_str().unwrap() {
                "internal" => LoadBalancerScheme::Internal,
                _ => LoadBalancerScheme::InternetFacing,
            },
            kind: "application",
            ip_address_type: IpAddressType::Ipv4,
            security_groups: strings(&value["SecurityGroups"])
                .into_iter()
                .map(Id::new)
                .collect(),
            subnets: list(&value["AvailabilityZones"]).iter().map(subnet).collect(),
            allocations: Vec::new(),
            customer_owned_ipv4_pool: None,
            ipam_pools: None,
            tags: pairs(&value["Tags"]),
            attributes: pairs(&value["Attributes"]),
        },
        listeners: listeners
            .into_iter()
            .map(|listener| (listener.spec.port, listener))
            .collect(),
    }
}

fn target_group(value: &Value) -> TargetGroupState {
    let target = |value: &Value| TargetDescription {
        id: text(&value["Target"]["Id"]),
        port: number(&value["Target"]["Port"]),
        availability_zone: None,
    };
    let seconds = |name: &str| u32::from(number(&value[name]));
    TargetGroupState {
        arn: Id::new(text(&value["TargetGroupArn"])),
        spec: TargetGroupSpec {
            name: text(&value["TargetGroupName"]),
            protocol: TargetProtocol::Http,
            protocol_version: ProtocolVersion::Http1,
            target_type: if value["TargetType"] == "ip" {
                TargetType::Ip
            } else {
                TargetType::Instance
            },
            ip_address_type: IpAddressType::Ipv4,
            port: number(&value["Port"]),
            target_control_port: None,
            vpc_id: Id::new(text(&value["VpcId"])),
            health: HealthCheckSpec {
                enabled: value["HealthCheckEnabled"].as_bool().unwrap(),
                protocol: TargetProtocol::Http,
                port: text(&value["HealthCheckPort"]),
                path: text(&value["HealthCheckPath"]),
                interval_seconds: seconds("HealthCheckIntervalSeconds"),
                timeout_seconds: seconds("HealthCheckTimeoutSeconds"),
                healthy_threshold: seconds("HealthyThresholdCount"),
                unhealthy_threshold: seconds("UnhealthyThresholdCount"),
                matcher: Matcher::HttpCode(text(&value["Matcher"]["HttpCode"])),
            },
            tags: pairs(&value["Tags"]),
            attributes: pairs(&value["Attributes"]),
            targets: list(&value["Targets"]).iter().map(target).collect(),
        },
    }
}

fn security_group(value: &Value) -> SecurityGroupState {
    let mut permissions = BTreeSet::new();
    for permission in list(&value["IpPermissions"]) {
        let (first, last) = (number(&permission["FromPort"]), number(&permission["ToPort"]));
        for range in list(&permission["IpRanges"]) {
            let source = Source::Range(text(&range["CidrIp"]).parse().unwrap());
            permissions.insert(Permission::tcp(first, last, source));
        }
        for pair in list(&permission["UserIdGroupPairs"]) {
            let source = Source::Group(Id::new(text(&pair["GroupId"])));
            let description = text(&pair["Description"]);
            permissions.insert(Permission {
                description,
                ..Permission::tcp(first, last, source)
            });
        }
    }
    SecurityGroupState {
        id: Id::new(text(&value["GroupId"])),
        spec: SecurityGroupSpec {
            group_name: text(&value["GroupName"]),
            description: text(&value["Description"]),
            vpc_id: Id::new(text(&value["VpcId"])),
            permissions,
            tags: pairs(&value["Tags"]),
        },
    }
}

/// The recording of this name, with the names its certificates have.
pub(super) fn read(case: &str, id: &str, certificates: &[&[&str]]) -> Recorded {
    let path = format!("{}/tests/data/{case}.json", env!("CARGO_MANIFEST_DIR"));
    let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let facts = &json["Account"];
    let mut account = Account::offline(facts["vpc"].as_str());
    account.certificates = Fact::Read(
        strings(&facts["certs"])
            .into_iter()
            .zip(certificates)
            .map(|(arn, hosts)| AcmCertificate {
                arn: Id::new(arn),
                names: hosts.iter().map(|host| HostMatch::parse(host).unwrap()).collect(),
                authority: None,
            })
            .collect(),
    );
    let node_group: SecurityGroupId = Id::new(text(&facts["node_sg"]));
    // The recorded pods have addresses that no recorded interface holds; here the nodes' interfaces hold them.
    let interface = |node: &Value| Interface {
        groups: vec![node_group.clone()],
        addresses: vec![text(&node["ip"]).parse().unwrap()],
        prefixes: vec![format!("{}/28", text(&node["ip"])).parse().unwrap()],
        instance: optional(&node["id"]),
        primary: true,
    };
    account.interfaces = Fact::Read(Interfaces::new(
        list(&facts["nodes"]).iter().map(interface).collect(),
    ));
    account.listing.security_groups = list(&json["SecurityGroups"]).iter().map(security_group).collect();

    let owner = Owner::load_balancer("demo", &portcullis_model::LoadBalancerId::parse(id));
    let mut observed = Observed::nothing(owner.clone());
    for state in list(&json["LoadBalancers"]).iter().map(load_balancer) {
        let tags = state.spec.tags.clone();
        observed.load_balancers.extend(Owned::read(&owner, &tags, state));
    }
    for state in list(&json["TargetGroups"]).iter().map(target_group) {
        let tags = state.spec.tags.clone();
        observed.target_groups.extend(Owned::read(&owner, &tags, state));
    }
    let mut shared = Shared::nothing("demo");
    for state in account.listing.security_groups.clone() {
        let tags = state.spec.tags.clone();
        let marked: BTreeSet<Marked> = state.spec.permissions.iter().filter_map(Marked::read).collect();
        shared.marked.extend(
            (!marked.is_empty())
                .then(|| (state.id.clone(), marked))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        );
        shared.backend = shared
            .backend
            .or(Owned::read(&Owner::cluster("demo"), &tags, state.clone()));
        observed.security_groups.extend(Owned::read(&owner, &tags, state));
    }
    assert!(
        shared
            .backend
            .as_ref()
            .is_some_and(|owned| owned.resource() == names::BACKEND_SECURITY_GROUP_TAG)
    );
    Recorded {
        json,
        account,
        observed,
        shared,
    }
}
