"""Makes the account tests need in a running moto: a spec in, the ids of what was made out, both as JSON.

  account.py --endpoint http://127.0.0.1:5000 --spec '{"nodes": 3}'

The spec's fields and what they are without being given stand in SPEC. moto is reset and its random numbers are
seeded first, so that the same spec always gives the same ids.
"""

import argparse
import json
import urllib.request

import boto3

SPEC = {
    "region": "us-east-1",
    # The name in the tags kubernetes.io/cluster/<name> of subnets and of the nodes' security group.
    "cluster": "demo",
    "zones": ["us-east-1a", "us-east-1b", "us-east-1c"],
    # Instances in the internal subnets, one zone after the other, each with one network interface.
    "nodes": 2,
    # Secondary addresses on each node's interface, from .10 on.
    "pods_per_node": 20,
    # Each certificate by its names, the first is its domain name.
    "certificates": [["*.shop.example.com"], ["www.example.com", "example.com"]],
    "seed": 7,
}


def make(endpoint, spec):
    spec = {**SPEC, **spec}
    for path in ("reset", f"seed?a={spec['seed']}"):
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/{path}", method="POST")).read()
    credentials = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    ec2 = boto3.client("ec2", endpoint_url=endpoint, region_name=spec["region"], **credentials)
    acm = boto3.client("acm", endpoint_url=endpoint, region_name=spec["region"], **credentials)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = {"elb": [], "internal-elb": []}
    for zone_number, zone in enumerate(spec["zones"]):
        for role, start in (("elb", 0), ("internal-elb", 16)):
            block = f"10.0.{zone_number * 32 + start}.0/20"
            subnet = ec2.create_subnet(VpcId=vpc, CidrBlock=block, AvailabilityZone=zone)["Subnet"]["SubnetId"]
            tags = {
                f"kubernetes.io/role/{role}": "1",
                f"kubernetes.io/cluster/{spec['cluster']}": "shared",
                "Name": f"{role}-{zone}",
            }
            ec2.create_tags(Resources=[subnet], Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
            subnets[role].append(subnet)
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc)
    group = ec2.create_security_group(GroupName="nodes", Description="nodes", VpcId=vpc)["GroupId"]
    owned = {"Key": f"kubernetes.io/cluster/{spec['cluster']}", "Value": "owned"}
    ec2.create_tags(Resources=[group], Tags=[owned])
    nodes = [make_node(ec2, number, subnets["internal-elb"], group) for number in range(spec["nodes"])]
    for number, node in enumerate(nodes):
        third = number % len(spec["zones"]) * 32 + 16 + number // len(spec["zones"])
        node["pods"] = [f"10.0.{third}.{last}" for last in range(10, 10 + spec["pods_per_node"])]
        if node["pods"]:
            ec2.assign_private_ip_addresses(NetworkInterfaceId=node["interface"], PrivateIpAddresses=node["pods"])
    certificates = {}
    for names in spec["certificates"]:
        given = {"DomainName": names[0], "SubjectAlternativeNames": names, "ValidationMethod": "DNS"}
        certificates[names[0]] = acm.request_certificate(**given)["CertificateArn"]
    return {
        "region": spec["region"],
        "vpc": vpc,
        "subnets": subnets,
        "node_security_group": group,
        "nodes": nodes,
        "certificates": certificates,
    }


def make_node(ec2, number, subnets, group):
    instance = ec2.run_instances(
        ImageId="ami-12c6146b",
        MinCount=1,
        MaxCount=1,
        SubnetId=subnets[number % len(subnets)],
        SecurityGroupIds=[group],
        InstanceType="m5.large",
    )["Instances"][0]
    return {
        "id": instance["InstanceId"],
        "zone": instance["Placement"]["AvailabilityZone"],
        "address": instance["PrivateIpAddress"],
        "interface": instance["NetworkInterfaces"][0]["NetworkInterfaceId"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--spec", type=json.loads, default={})
    arguments = parser.parse_args()
    print(json.dumps(make(arguments.endpoint.rstrip("/"), arguments.spec)))
