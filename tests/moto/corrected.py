"""moto with what it gets wrong put right: requests in, the answers AWS would give out.

Each correction is one function. Its docstring says what AWS does and where that is written:

  API     the service's own model, as botocore 1.44 carries it
  QUOTAS  docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-limits.html
  RULES   docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
  TARGETS docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-target-groups.html

The texts of AWS's messages are not documented: nothing may depend on ours.
"""

import argparse
import io
import ipaddress
import json
import os
import re
import sys
import threading
import time

# A requested certificate is issued at once; read when moto is imported.
os.environ.setdefault("MOTO_ACM_VALIDATION_WAIT", "0")

from moto.acm.exceptions import AWSError, AWSValidationException
from moto.acm.models import AWSCertificateManagerBackend, CertBundle
from moto.core.responses import ActionResult
from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.responses import EC2Response
from moto.elbv2.exceptions import ELBClientError
from moto.elbv2.models import (
    ELBv2Backend,
    FakeListener,
    FakeListenerRule,
    FakeLoadBalancer,
    FakeRule,
    FakeTargetGroup,
    elbv2_backends,
)
from moto.elbv2.responses import ELBV2Response
from moto.elbv2.ssl_policies import SSL_POLICIES
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.shield.exceptions import ResourceNotFoundException
from moto.shield.models import ShieldBackend
from moto.shield.responses import ShieldResponse
from moto.wafv2.exceptions import WAFNonexistentItemException
from moto.wafv2.models import WAFV2Backend
from werkzeug.serving import make_server

# QUOTAS, the defaults.
QUOTAS = {
    "application-load-balancers": 50,
    "certificates-per-application-load-balancer": 25,
    "condition-values-per-alb-rule": 5,
    "condition-wildcards-per-alb-rule": 5,
    "listeners-per-application-load-balancer": 50,
    "rules-per-application-load-balancer": 100,
    "target-groups": 3000,
    "target-groups-per-action-on-application-load-balancer": 5,
    "target-groups-per-application-load-balancer": 100,
    "targets-per-application-load-balancer": 1000,
}
# Not among the names of DescribeAccountLimits (API, Limit): QUOTAS and RULES.
TARGETS_PER_TARGET_GROUP = 1000
EVALUATIONS_PER_CONDITION = 3
TAGS_PER_RESOURCE = 50
VALUE_LENGTH = 128
REWRITE_LENGTH = 1024


def corrects(owner, name):
    """Puts the decorated function before `owner.name`; its first argument is what it replaces."""

    def put(correction):
        replaced = getattr(owner, name)

        def method(self, *args, **kwargs):
            return correction(replaced, self, *args, **kwargs)

        setattr(owner, name, method)
        return correction

    return put


def refuse(code, message):
    raise ELBClientError(code, message)


def invalid(message):
    refuse("ValidationError", message)


# --- load balancers -----------------------------------------------------------------------------


@corrects(ELBv2Backend, "create_load_balancer")
def load_balancers_are_created_once(moto, self, name, security_groups, subnet_ids, **given):
    """Name and settings equal: the existing one (API, CreateLoadBalancer: idempotent); else DuplicateLoadBalancerName.

    Name (API): 32 letters, digits, inner hyphens, not `internal-…`. Subnets (API): two zones, one a zone.
    Security groups exist (API: InvalidSecurityGroup). Scheme defaults to internet-facing (API).
    """
    given["scheme"] = given.get("scheme") or "internet-facing"
    check_name("load balancer", name)
    if name.startswith("internal-"):
        invalid(f"Load balancer name '{name}' cannot begin with 'internal-'")
    if given["scheme"] not in ("internal", "internet-facing"):
        refuse("InvalidScheme", f"Scheme '{given['scheme']}' is not valid")
    kind = given.get("loadbalancer_type") or "application"
    wanted = list(subnet_ids) + [mapping["SubnetId"] for mapping in given.get("subnet_mappings") or []]
    zones = [subnet.availability_zone for subnet in subnets_of(self, wanted)]
    if len(set(zones)) < len(zones):
        refuse("InvalidConfigurationRequest", "A load balancer cannot have two subnets in one Availability Zone")
    if kind == "application" and len(zones) < 2:
        invalid("At least two subnets in two different Availability Zones must be specified")
    check_security_groups(self, security_groups)
    for existing in self.load_balancers.values():
        if existing.name == name:
            settings = (existing.scheme, existing.type, existing.ip_address_type)
            same = settings == (given["scheme"], kind, given.get("ip_address_type", "ipv4"))
            same = same and {subnet.id for subnet in existing.subnets} == set(wanted)
            if same and set(existing.security_groups) == set(security_groups):
                return existing
            refuse("DuplicateLoadBalancerName", f"A load balancer named '{name}' exists, but with different settings")
    if len(self.load_balancers) >= QUOTAS["application-load-balancers"]:
        refuse("TooManyLoadBalancers", "The maximum number of load balancers has been reached")
    created = moto(self, name, security_groups, subnet_ids, **given)
    if kind == "application":
        internal = {"ipv6.deny_all_igw_traffic": "true"} if created.scheme == "internal" else {}
        created.attrs = {**defaults(LOAD_BALANCER_ATTRIBUTES), **internal}
    return created


def subnets_of(self, ids):
    found = {subnet.id: subnet for zone in self.ec2_backend.subnets.values() for subnet in zone.values()}
    for subnet in ids:
        if subnet not in found:
            refuse("SubnetNotFound", f"The subnet '{subnet}' does not exist")
    return [found[subnet] for subnet in ids]


def check_name(kind, name):
    if not re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,30}[A-Za-z0-9])?", name):
        invalid(f"The {kind} name '{name}' must be 1 to 32 letters, digits and inner hyphens")


def check_security_groups(self, ids):
    for group in ids or []:
        if self.ec2_backend.get_security_group_from_id(group) is None:
            refuse("InvalidSecurityGroup", f"Security group '{group}' does not exist")


FakeLoadBalancer.ipam_pools = None
FakeLoadBalancer.customer_owned_ipv4_pool = None
FakeLoadBalancer.capacity = 0
POOL = r"ipam-pool-[a-zA-Z0-9]+"


@corrects(ELBV2Response, "create_load_balancer")
def load_balancers_have_address_pools(moto, self):
    """moto drops `IpamPools` and `CustomerOwnedIpv4Pool` (API, CreateLoadBalancer)."""
    params = self._get_params()
    pool = (params.get("IpamPools") or {}).get("Ipv4IpamPoolId")
    check_pool(pool, params.get("Scheme"))
    answer = moto(self)
    for created in answer.result["LoadBalancers"]:
        created.ipam_pools = {"Ipv4IpamPoolId": pool} if pool else None
        created.customer_owned_ipv4_pool = params.get("CustomerOwnedIpv4Pool")
    return answer


def check_pool(pool, scheme):
    """Of this form (API, IpamPoolId), and for internet-facing ones alone (Application Load Balancers, "IPAM IP
    address pools")."""
    if pool and not re.fullmatch(POOL, pool):
        invalid(f"The IPAM pool ID '{pool}' is not valid")
    if pool and scheme == "internal":
        refuse("InvalidConfigurationRequest", "IPAM pools are for internet-facing load balancers")


def modify_ip_pools(self):
    """Not in moto (API, ModifyIpPools)."""
    params = self._get_params()
    balancer = balancer_of(self, params["LoadBalancerArn"])
    pool = (params.get("IpamPools") or {}).get("Ipv4IpamPoolId")
    check_pool(pool, balancer.scheme)
    if pool:
        balancer.ipam_pools = {"Ipv4IpamPoolId": pool}
    elif params.get("RemoveIpamPools") == ["ipv4"]:
        balancer.ipam_pools = None
    return ActionResult({"IpamPools": balancer.ipam_pools or {}})


def describe_capacity_reservation(self):
    """moto's says nothing about the reservation (API, DescribeCapacityReservation)."""
    balancer = balancer_of(self, self._get_params()["LoadBalancerArn"])
    reserved = {"MinimumLoadBalancerCapacity": {"CapacityUnits": balancer.capacity}} if balancer.capacity else {}
    return ActionResult({"CapacityReservationState": [], **reserved})


def modify_capacity_reservation(self):
    """Not in moto (API, ModifyCapacityReservation); refused for a load balancer that is still being made. That it is
    refused is documented nowhere: the incumbent waits (`load_balancer_capacity_reservation_reconciler.go`)."""
    params = self._get_params()
    balancer = balancer_of(self, params["LoadBalancerArn"])
    reset = str(params.get("ResetCapacityReservation", False)).lower() == "true"
    wanted = (params.get("MinimumLoadBalancerCapacity") or {}).get("CapacityUnits")
    if reset == (wanted is not None):
        invalid("Either MinimumLoadBalancerCapacity or ResetCapacityReservation must be specified")
    if balancer.state == "provisioning":
        refuse("OperationNotPermitted", "The load balancer is still being provisioned")
    balancer.capacity = 0 if reset else int(wanted)
    return describe_capacity_reservation(self)


def balancer_of(self, arn):
    """Without a look at it, which would end its being made."""
    balancer = self.elbv2_backend.load_balancers.get(arn)
    if balancer is None:
        refuse("LoadBalancerNotFound", f"Load balancer '{arn}' not found")
    return balancer


ELBV2Response.modify_ip_pools = modify_ip_pools
ELBV2Response.describe_capacity_reservation = describe_capacity_reservation
ELBV2Response.modify_capacity_reservation = modify_capacity_reservation


@corrects(ELBv2Backend, "delete_load_balancer")
def protected_load_balancers_stay(moto, self, arn):
    """Deletion protection refuses the deletion (API, DeleteLoadBalancer); tags go with what they are on."""
    balancer = self.load_balancers.get(arn)
    if balancer and balancer.attrs.get("deletion_protection.enabled") == "true":
        refuse("OperationNotPermitted", f"Load balancer '{arn}' has deletion protection")
    listeners = list(balancer.listeners.values()) if balancer else []
    moto(self, arn)
    for gone in [arn] + [listener.arn for listener in listeners]:
        forget_tags(self, gone)
    for listener in listeners:
        for rule in listener.rules.values():
            forget_tags(self, rule.arn)


def forget_tags(self, arn):
    if self.tagging_service.has_tags(arn):
        self.tagging_service.delete_all_tags_for_resource(arn)


@corrects(ELBV2Response, "describe_account_limits")
def account_limits_are_the_defaults(moto, self):
    """moto's are of another year (30 targets a load balancer); QUOTAS."""
    return ActionResult({"Limits": [{"Name": name, "Max": str(most)} for name, most in QUOTAS.items()]})


# --- attributes ---------------------------------------------------------------------------------

BOOLEAN = r"true|false"
TEXT = r".*"


def between(least, most):
    return range(least, most + 1)


# What can be set, and to what (API, LoadBalancerAttribute, those of Application Load Balancers); the first is the
# default. A range is of whole numbers, a text a regular expression.
LOAD_BALANCER_ATTRIBUTES = {
    "access_logs.s3.bucket": ("", TEXT),
    "access_logs.s3.enabled": ("false", BOOLEAN),
    "access_logs.s3.prefix": ("", TEXT),
    "client_keep_alive.seconds": ("3600", between(60, 604800)),
    "connection_logs.s3.bucket": ("", TEXT),
    "connection_logs.s3.enabled": ("false", BOOLEAN),
    "connection_logs.s3.prefix": ("", TEXT),
    "deletion_protection.enabled": ("false", BOOLEAN),
    "health_check_logs.s3.bucket": ("", TEXT),
    "health_check_logs.s3.enabled": ("false", BOOLEAN),
    "health_check_logs.s3.prefix": ("", TEXT),
    "idle_timeout.timeout_seconds": ("60", between(1, 4000)),
    "ipv6.deny_all_igw_traffic": ("false", BOOLEAN),
    "load_balancing.cross_zone.enabled": ("true", r"true"),
    "routing.http.desync_mitigation_mode": ("defensive", r"monitor|defensive|strictest"),
    "routing.http.drop_invalid_header_fields.enabled": ("false", BOOLEAN),
    "routing.http.preserve_host_header.enabled": ("false", BOOLEAN),
    "routing.http.x_amzn_tls_version_and_cipher_suite.enabled": ("false", BOOLEAN),
    "routing.http.xff_client_port.enabled": ("false", BOOLEAN),
    "routing.http.xff_header_processing.mode": ("append", r"append|preserve|remove"),
    "routing.http2.enabled": ("true", BOOLEAN),
    "waf.fail_open.enabled": ("false", BOOLEAN),
    "zonal_shift.config.enabled": ("false", BOOLEAN),
}
# API, TargetGroupAttribute, those of Application Load Balancers with instances or addresses.
MINIMUM = "minimum_healthy_targets"
TARGET_GROUP_ATTRIBUTES = {
    "deregistration_delay.timeout_seconds": ("300", between(0, 3600)),
    "load_balancing.algorithm.anomaly_mitigation": ("off", r"on|off"),
    "load_balancing.algorithm.type": ("round_robin", r"round_robin|least_outstanding_requests|weighted_random"),
    "load_balancing.cross_zone.enabled": (
        "use_load_balancer_configuration",
        r"true|false|use_load_balancer_configuration",
    ),
    "slow_start.duration_seconds": ("0", [0, *between(30, 900)]),
    "stickiness.app_cookie.cookie_name": ("", r"(?!AWSALB).*"),
    "stickiness.app_cookie.duration_seconds": ("86400", between(1, 604800)),
    "stickiness.enabled": ("false", BOOLEAN),
    "stickiness.lb_cookie.duration_seconds": ("86400", between(1, 604800)),
    "stickiness.type": ("lb_cookie", r"lb_cookie|app_cookie"),
    f"target_group_health.dns_failover.{MINIMUM}.count": ("1", r"off|[1-9]\d*"),
    f"target_group_health.dns_failover.{MINIMUM}.percentage": ("off", r"off|100|[1-9]\d?"),
    f"target_group_health.unhealthy_state_routing.{MINIMUM}.count": ("1", r"[1-9]\d*"),
    f"target_group_health.unhealthy_state_routing.{MINIMUM}.percentage": ("off", r"off|100|[1-9]\d?"),
}


def defaults(attributes):
    return {key: default for key, (default, _) in attributes.items()}


def check_attributes(known, given):
    for key, value in given.items():
        if key not in known:
            invalid(f"The attribute key '{key}' is not recognized")
        valid = known[key][1]
        if isinstance(valid, str):
            fits = re.fullmatch(valid, value)
        else:
            fits = value.isdecimal() and int(value) in valid
        if not fits:
            invalid(f"The value '{value}' of '{key}' is not valid")


@corrects(ELBv2Backend, "modify_load_balancer_attributes")
def load_balancer_attributes_are_checked(moto, self, arn, attrs):
    """moto takes any value; logs need a bucket (API, LoadBalancerAttribute)."""
    check_attributes(LOAD_BALANCER_ATTRIBUTES, attrs)
    balancer = self.load_balancers.get(arn)
    after = {**(balancer.attrs if balancer else {}), **attrs}
    for logs in ("access_logs", "connection_logs", "health_check_logs"):
        if after.get(f"{logs}.s3.enabled") == "true" and not after.get(f"{logs}.s3.bucket"):
            refuse("InvalidConfigurationRequest", f"The bucket of the {logs} must be specified")
    return moto(self, arn, attrs)


FakeLoadBalancer.VALID_ATTRS |= set(LOAD_BALANCER_ATTRIBUTES)


@corrects(ELBv2Backend, "modify_target_group_attributes")
def target_group_attributes_are_checked(moto, self, target_group_arn, attributes):
    """moto takes any key and most values, and refuses a delay of 3,600 seconds (API, TargetGroupAttribute)."""
    group = self.target_groups.get(target_group_arn)
    if group is None or group.protocol not in ("HTTP", "HTTPS"):
        return moto(self, target_group_arn, attributes)
    check_attributes(TARGET_GROUP_ATTRIBUTES, attributes)
    after = {**group.attributes, **attributes}
    if after["stickiness.type"] == "app_cookie" and not after["stickiness.app_cookie.cookie_name"]:
        refuse("InvalidConfigurationRequest", "The name of the application's cookie must be specified")
    weighted = after["load_balancing.algorithm.type"] == "weighted_random"
    if after["load_balancing.algorithm.anomaly_mitigation"] == "on" and not weighted:
        refuse("InvalidConfigurationRequest", "Anomalies are mitigated by the algorithm weighted_random alone")
    if after["load_balancing.cross_zone.enabled"] == "false" and after["stickiness.enabled"] == "true":
        # TARGETS, "Cross-zone load balancing".
        refuse("InvalidConfigurationRequest", "Stickiness is not supported when cross-zone load balancing is off")
    if after["stickiness.enabled"] == "true" and weighted:
        # TARGETS, "Routing algorithm".
        refuse("InvalidConfigurationRequest", "Stickiness is not supported with weighted_random")
    if after["slow_start.duration_seconds"] != "0" and after["load_balancing.algorithm.type"] != "round_robin":
        # TARGETS, "Slow start mode".
        refuse("InvalidConfigurationRequest", "Slow start is for the algorithm round_robin alone")
    group.attributes = after


# --- listeners ----------------------------------------------------------------------------------


@corrects(ELBv2Backend, "create_listener")
def listeners_are_created_once(
    moto, self, load_balancer_arn, protocol, port, ssl_policy, certificate, actions, *rest, **given
):
    """One listener a port (API: DuplicateListener), unless all settings are equal (API, CreateListener: idempotent).

    HTTPS needs a certificate and a policy that exist (API: CertificateNotFound, SSLPolicyNotFound); HTTP and TCP have
    neither.
    """
    balancer = self.load_balancers.get(load_balancer_arn)
    actions = check_actions(self, balancer, protocol, actions)
    if protocol == "HTTPS":
        if not certificate:
            invalid("A certificate must be specified for HTTPS listeners")
        check_certificates(self, [certificate])
        if ssl_policy not in SSL_POLICIES:
            refuse("SSLPolicyNotFound", f"Policy '{ssl_policy}' not found")
    elif protocol in ("HTTP", "TCP"):
        if certificate:
            invalid(f"A certificate cannot be specified for {protocol} listeners")
        ssl_policy = None
    for existing in balancer.listeners.values() if balancer else []:
        if existing.port == port:
            settings = (existing.protocol, existing.ssl_policy, existing.certificate)
            same = settings == (protocol, ssl_policy, certificate)
            if same and [action.data for action in existing.default_actions] == actions:
                return existing
            refuse("DuplicateListener", f"A listener already exists on port {port}")
    if balancer and len(balancer.listeners) >= QUOTAS["listeners-per-application-load-balancer"]:
        refuse("TooManyListeners", "The maximum number of listeners has been reached")
    return moto(self, load_balancer_arn, protocol, port, ssl_policy, certificate, actions, *rest, **given)


HEADER_NAMES = [
    *(f"x_amzn_mtls_clientcert{part}" for part in ("", "_serial_number", "_issuer", "_subject", "_validity", "_leaf")),
    "x_amzn_tls_version",
    "x_amzn_tls_cipher_suite",
]
HEADER_VALUES = [
    "access_control_allow_credentials",
    "access_control_allow_headers",
    "access_control_allow_methods",
    "access_control_allow_origin",
    "access_control_expose_headers",
    "access_control_max_age",
    "content_security_policy",
    "strict_transport_security",
    "x_content_type_options",
    "x_frame_options",
]
# API, ListenerAttribute, those of Application Load Balancers.
LISTENER_ATTRIBUTES = {
    "routing.http.response.server.enabled": ("true", BOOLEAN),
    **{f"routing.http.request.{name}.header_name": ("", TEXT) for name in HEADER_NAMES},
    **{f"routing.http.response.{name}.header_value": ("", TEXT) for name in HEADER_VALUES},
}
OF_TLS = "routing.http.request."


@corrects(ELBv2Backend, "describe_listener_attributes")
def listener_attributes_are_those_of_http(moto, self, listener_arn):
    """moto knows those of Network Load Balancers (API, ListenerAttribute)."""
    listener = self.describe_listeners(None, [listener_arn])[0]
    if listener.protocol not in ("HTTP", "HTTPS"):
        return moto(self, listener_arn)
    known = defaults(LISTENER_ATTRIBUTES)
    if listener.protocol == "HTTP":
        known = {key: value for key, value in known.items() if not key.startswith(OF_TLS)}
    return {**known, **{key: value for key, value in listener.attributes.items() if key in known}}


@corrects(ELBv2Backend, "modify_listener_attributes")
def listener_attributes_are_checked(moto, self, listener_arn, attrs):
    """moto takes any key and value (API, ListenerAttribute)."""
    listener = self.describe_listeners(None, [listener_arn])[0]
    if listener.protocol in ("HTTP", "HTTPS"):
        given = {each["Key"]: each.get("Value", "") for each in attrs}
        check_attributes(LISTENER_ATTRIBUTES, given)
        if listener.protocol == "HTTP" and any(key.startswith(OF_TLS) for key in given):
            refuse("InvalidConfigurationRequest", "Headers about TLS are for HTTPS listeners")
    moto(self, listener_arn, attrs)
    return self.describe_listener_attributes(listener_arn)


@corrects(ELBv2Backend, "modify_listener")
def modifying_a_listener_keeps_its_certificate_list(
    moto, self, arn, port=None, protocol=None, ssl_policy=None, certificates=None, actions=None
):
    """Only the default certificate is replaced (API, ModifyListener); ports stay unique (API: DuplicateListener)."""
    listener = self.describe_listeners(None, [arn])[0]
    balancer = self.load_balancers[listener.load_balancer_arn]
    if any(other.port == port and other is not listener for other in balancer.listeners.values()):
        refuse("DuplicateListener", f"A listener already exists on port {port}")
    if len(certificates or []) > 1:
        invalid("Exactly one certificate must be specified")
    check_certificates(self, [given["CertificateArn"] for given in certificates or []])
    actions = check_actions(self, balancer, protocol or listener.protocol, actions)
    before = listener.certificate
    others = [known for known in listener.certificates if known != before]
    modified = moto(self, arn, port, protocol, ssl_policy, certificates, actions)
    if modified.protocol == "HTTP":
        modified.certificate, modified.certificates, modified.ssl_policy = None, [], None
    else:
        modified.certificates = [modified.certificate] + [one for one in others if one != modified.certificate]
    return modified


FakeListener.mutual_authentication = None
VERIFYING_LISTENERS = 2


@corrects(ELBV2Response, "create_listener")
def listeners_are_created_with_mutual_authentication(moto, self):
    """moto drops `MutualAuthentication` (API, CreateListener)."""
    params = self._get_params()
    balancer = self.elbv2_backend.load_balancers.get(params.get("LoadBalancerArn"))
    asked = check_mutual_authentication(self, balancer, None, params.get("Protocol"), params)
    answer = moto(self)
    for listener in answer.result["Listeners"]:
        listener.mutual_authentication = asked
    return answer


@corrects(ELBV2Response, "modify_listener")
def mutual_authentication_is_changed_where_given(moto, self):
    """What is not given stays (API, ModifyListener); moto drops `MutualAuthentication`."""
    params = self._get_params()
    listener = self.elbv2_backend.describe_listeners(None, [params["ListenerArn"]])[0]
    balancer = self.elbv2_backend.load_balancers[listener.load_balancer_arn]
    protocol = params.get("Protocol") or listener.protocol
    asked = check_mutual_authentication(self, balancer, listener, protocol, params)
    answer = moto(self)
    for modified in answer.result["Listeners"]:
        modified.mutual_authentication = asked
    return answer


def check_mutual_authentication(self, balancer, listener, protocol, params):
    """Modes; a trust store with `verify` alone, and one that exists (API, MutualAuthenticationAttributes;
    TrustStoreNotFound); two listeners that verify (QUOTAS). The code of that last refusal is documented nowhere."""
    given = params.get("MutualAuthentication")
    if protocol != "HTTPS":
        if given:
            invalid("Mutual authentication is for HTTPS listeners")
        return None
    if not given:
        return (listener and listener.mutual_authentication) or {"Mode": "off"}
    mode, store = given.get("Mode", "off"), given.get("TrustStoreArn")
    if mode not in ("off", "passthrough", "verify"):
        invalid(f"The mode '{mode}' of mutual authentication is not valid")
    if mode != "verify":
        if set(given) - {"Mode"}:
            invalid(f"Mode '{mode}' takes no other settings")
        return {"Mode": mode}
    if not store:
        invalid("A trust store must be specified for mode 'verify'")
    if store not in trust_stores_of(self):
        refuse("TrustStoreNotFound", f"Trust store '{store}' not found")
    verifying = [
        other
        for other in (balancer.listeners.values() if balancer else [])
        if other is not listener and (other.mutual_authentication or {}).get("Mode") == "verify"
    ]
    if len(verifying) >= VERIFYING_LISTENERS:
        refuse("TooManyListeners", "The maximum number of listeners that verify has been reached")
    expiry = str(given.get("IgnoreClientCertificateExpiry", False)).lower() == "true"
    return {
        "Mode": "verify",
        "TrustStoreArn": store,
        "IgnoreClientCertificateExpiry": expiry,
        "AdvertiseTrustStoreCaNames": given.get("AdvertiseTrustStoreCaNames", "off"),
    }


def trust_stores_of(self):
    """Of the account and Region, by ARN."""
    if not hasattr(self.elbv2_backend, "trust_stores"):
        self.elbv2_backend.trust_stores = {}
    return self.elbv2_backend.trust_stores


def create_trust_store(self):
    """Not in moto (API, CreateTrustStore: DuplicateTrustStoreName)."""
    name = self._get_params()["Name"]
    stores = trust_stores_of(self)
    if any(store["Name"] == name for store in stores.values()):
        refuse("DuplicateTrustStoreName", f"A trust store named '{name}' exists")
    prefix = f"arn:aws:elasticloadbalancing:{self.region}:{self.current_account}:truststore"
    store = {"Name": name, "TrustStoreArn": f"{prefix}/{name}/{len(stores):016x}", "Status": "ACTIVE"}
    stores[store["TrustStoreArn"]] = store
    return ActionResult({"TrustStores": [store]})


def describe_trust_stores(self):
    """Not in moto (API, DescribeTrustStores)."""
    params = self._get_params()
    arns, names = params.get("TrustStoreArns") or [], params.get("Names") or []
    stores = list(trust_stores_of(self).values())
    for key, wanted in (("TrustStoreArn", arns), ("Name", names)):
        if wanted:
            stores = [store for store in stores if store[key] in wanted]
            if len(stores) < len(set(wanted)):
                refuse("TrustStoreNotFound", "One or more trust stores not found")
    return ActionResult({"TrustStores": stores})


ELBV2Response.create_trust_store = create_trust_store
ELBV2Response.describe_trust_stores = describe_trust_stores


@corrects(ELBV2Response, "describe_listeners")
def listeners_show_their_default_certificate(moto, self):
    """`Certificates` of a listener is the default certificate alone (API, Listener)."""
    listeners = [Shown(listener) for listener in moto(self).result["Listeners"]]
    return ActionResult({"Listeners": listeners})


class Shown:
    """A listener as DescribeListeners shows it."""

    def __init__(self, listener):
        self.__dict__.update(listener.__dict__)
        self.certificates = [listener.certificate] if listener.certificate else []


@corrects(ELBv2Backend, "add_listener_certificates")
def certificates_are_added_once(moto, self, arn, certificates):
    """Adding one again succeeds without effect (API); 25 a load balancer besides the defaults (QUOTAS)."""
    listener = self.describe_listeners(None, [arn])[0]
    check_certificates(self, [given["CertificateArn"] for given in certificates])
    wanted = [given["CertificateArn"] for given in certificates]
    added = [one for one in dict.fromkeys(wanted) if one not in listener.certificates]
    balancer = self.load_balancers[listener.load_balancer_arn]
    held = sum(max(0, len(other.certificates) - 1) for other in balancer.listeners.values())
    if held + len(added) > QUOTAS["certificates-per-application-load-balancer"]:
        refuse("TooManyCertificates", "The maximum number of certificates has been reached")
    listener.certificates.extend(added)
    return wanted


@corrects(ELBv2Backend, "remove_listener_certificates")
def the_default_certificate_stays(moto, self, arn, certificates):
    """The default certificate can't be removed (API, RemoveListenerCertificates: OperationNotPermitted)."""
    listener = self.describe_listeners(None, [arn])[0]
    if listener.certificate in [given["CertificateArn"] for given in certificates]:
        refuse("OperationNotPermitted", "The default certificate cannot be removed")
    return moto(self, arn, certificates)


def check_certificates(self, arns):
    for arn in arns:
        if not self._certificate_exists(arn):
            refuse("CertificateNotFound", f"Certificate '{arn}' not found")


# --- rules --------------------------------------------------------------------------------------

FakeListenerRule.transforms = []
FakeRule.transforms = []


@corrects(ELBV2Response, "create_rule")
def rules_are_created_with_transforms(moto, self):
    """moto drops `Transforms` (API, CreateRule)."""
    transforms = check_transforms(self._get_params().get("Transforms", []))
    answer = moto(self)
    answer.result["Rules"][0].transforms = transforms
    return answer


@corrects(ELBV2Response, "modify_rule")
def transforms_are_replaced_or_reset(moto, self):
    """`Transforms` replaces, `ResetTransforms` removes, both together are refused (API, ModifyRule)."""
    params = self._get_params()
    reset = str(params.get("ResetTransforms", False)).lower() == "true"
    given = params.get("Transforms")
    if reset and given:
        invalid("Transforms and ResetTransforms cannot be specified together")
    transforms = check_transforms(given or [])
    if (reset or given) and not params.get("Conditions") and not params.get("Actions"):
        rule = self.elbv2_backend.describe_rules(None, [params["RuleArn"]])[0]
    else:
        rule = moto(self).result["Rules"][0]
    if reset or given:
        rule.transforms = transforms
    return ActionResult({"Rules": [rule]})


def check_transforms(transforms):
    """One of each type a rule (API, ModifyRule); 1,024 characters a part (API, RewriteConfig)."""
    configs = {"host-header-rewrite": "HostHeaderRewriteConfig", "url-rewrite": "UrlRewriteConfig"}
    kinds = [transform.get("Type") for transform in transforms]
    if len(set(kinds)) < len(kinds):
        invalid("A rule can have one transform of each type")
    for transform in transforms:
        config = configs.get(transform.get("Type"))
        if config is None:
            invalid(f"Transform type '{transform.get('Type')}' is not one of {', '.join(configs)}")
        rewrites = transform.get(config, {}).get("Rewrites", [])
        if len(rewrites) != 1:
            invalid(f"{config} must have one rewrite")
        for rewrite in rewrites:
            for part in ("Regex", "Replace"):
                if len(rewrite.get(part, "")) > REWRITE_LENGTH:
                    invalid(f"{part} is longer than {REWRITE_LENGTH} characters")
    return transforms


@corrects(ELBv2Backend, "create_rule")
def rules_keep_their_limits(moto, self, listener_arn, conditions, priority, actions, tags=None):
    """100 rules a load balancer without the defaults (QUOTAS: TooManyRules), and what is checked below."""
    listener = self.describe_listeners(None, [listener_arn])[0]
    balancer = self.load_balancers[listener.load_balancer_arn]
    check_priority(priority)
    if not conditions:
        invalid("A condition must be specified")
    conditions = check_conditions(conditions)
    actions = check_actions(self, balancer, listener.protocol, actions)
    rules = sum(len(other._non_default_rules) for other in balancer.listeners.values())
    if rules >= QUOTAS["rules-per-application-load-balancer"]:
        refuse("TooManyRules", "The maximum number of rules has been reached")
    return moto(self, listener_arn, conditions, priority, actions, tags)


@corrects(ELBv2Backend, "modify_rule")
def modified_rules_keep_their_limits(moto, self, rule_arn, conditions, actions):
    rule = self.describe_rules(None, [rule_arn])[0]
    listener = self.describe_listeners(None, [rule.listener_arn])[0]
    if rule.is_default:
        refuse("OperationNotPermitted", "Default rules are modified with ModifyListener")
    conditions = check_conditions(conditions)
    balancer = self.load_balancers[listener.load_balancer_arn]
    return moto(self, rule_arn, conditions, check_actions(self, balancer, listener.protocol, actions, instead=rule))


@corrects(ELBv2Backend, "delete_rule")
def only_rules_that_exist_are_deleted(moto, self, arn):
    """RuleNotFound; a default rule can't be deleted (API, DeleteRule)."""
    if self.describe_rules(None, [arn])[0].is_default:
        refuse("OperationNotPermitted", f"Default rule '{arn}' cannot be deleted")
    moto(self, arn)
    forget_tags(self, arn)


@corrects(ELBv2Backend, "set_rule_priorities")
def priorities_may_be_shifted(moto, self, rule_priorities):
    """Any reordering without a conflict in the new order (API, SetRulePriorities); moto looks at the old order too."""
    wanted = {given["RuleArn"]: given["Priority"] for given in rule_priorities}
    if len(wanted) < len(rule_priorities):
        invalid("A rule was given twice")
    for priority in wanted.values():
        check_priority(priority)
    rules = self.describe_rules(None, list(wanted))
    if any(rule.is_default for rule in rules):
        refuse("OperationNotPermitted", "The priority of a default rule cannot be set")
    if len({rule.listener_arn for rule in rules}) > 1:
        invalid("All rules must belong to one listener")
    for listener in self.describe_listeners(None, [rules[0].listener_arn]):
        after = [wanted.get(rule.arn, rule.priority) for rule in listener._non_default_rules.values()]
        if len(set(after)) < len(after):
            refuse("PriorityInUse", "The specified priority is in use.")
    for rule in rules:
        rule.priority = wanted[rule.arn]
    return rules


def check_priority(priority):
    """API, RulePriority: 1 to 50,000."""
    if not 1 <= int(priority) <= 50000:
        invalid(f"Priority '{priority}' must be between 1 and 50000")


# Where each field keeps its values, and whether it takes regular expressions (API, RuleCondition).
CONDITIONS = {
    "host-header": ("HostHeaderConfig", True),
    "path-pattern": ("PathPatternConfig", True),
    "http-header": ("HttpHeaderConfig", True),
    "query-string": ("QueryStringConfig", False),
    "http-request-method": ("HttpRequestMethodConfig", False),
    "source-ip": ("SourceIpConfig", False),
}
WITHOUT_WILDCARDS = ("http-request-method", "source-ip")
REPEATED = ("http-header", "query-string")


# What follows replaces it.
ELBv2Backend._validate_conditions = lambda self, conditions: None


def check_conditions(conditions):
    """The conditions as AWS would return them, or its refusal; moto fails on `RegexValues` with HTTP 500.

    QUOTAS: 5 values and 5 wildcards a rule. RULES: 3 values a condition; of `source-ip` API says 5.
    API, RuleCondition: at most one condition of a field, but for http-header and query-string.
    """
    checked = [check_condition(condition) for condition in conditions]
    fields = [condition["Field"] for condition in conditions if condition["Field"] not in REPEATED]
    if len(set(fields)) < len(fields):
        invalid(f"A rule can have only one condition of a field, but for {', '.join(REPEATED)}")
    values = sum(values for _, values, _ in checked)
    if values > QUOTAS["condition-values-per-alb-rule"]:
        invalid(f"A rule can only have '{QUOTAS['condition-values-per-alb-rule']}' condition values")
    if sum(wildcards for _, _, wildcards in checked) > QUOTAS["condition-wildcards-per-alb-rule"]:
        invalid(f"A rule can only have '{QUOTAS['condition-wildcards-per-alb-rule']}' condition wildcards")
    return [condition for condition, _, _ in checked]


def check_condition(condition):
    field = condition.get("Field")
    if field not in CONDITIONS:
        invalid(f"Condition field '{field}' must be one of '[{','.join(CONDITIONS)}]'")
    config_name, takes_regex = CONDITIONS[field]
    for other, _ in CONDITIONS.values():
        if other in condition and other != config_name:
            invalid(f"'{other}' is not compatible with '{field}'")
    config = dict(condition.get(config_name, {}))
    if "Values" in condition:
        if field not in ("host-header", "path-pattern"):
            invalid(f"The 'Values' field is not compatible with '{field}'")
        if config.get("Values", condition["Values"]) != condition["Values"]:
            invalid(f"You cannot provide both Values and '{config_name}'")
        config["Values"] = condition["Values"]
    regexes = config.get("RegexValues", condition.get("RegexValues", []))
    if regexes and not takes_regex:
        invalid(f"The 'RegexValues' field is not compatible with '{field}'")
    plain = config.get("Values", [])
    if bool(plain) == bool(regexes):
        invalid("A condition must have either values or regular expressions, and at least one")
    if regexes:
        config.pop("Values", None)
        config["RegexValues"] = regexes
    check_values(field, config, plain, regexes)
    most = 5 if field == "source-ip" else EVALUATIONS_PER_CONDITION
    if len(plain) + len(regexes) > most:
        invalid(f"A condition of '{field}' can only have '{most}' values")
    returned = {"Field": field, config_name: config}
    # AWS returns both forms; the AWS Load Balancer Controller therefore ignores `Values` when it compares
    # (pkg/equality/elbv2/compare_option_for_rule_conditions.go).
    if field in ("host-header", "path-pattern"):
        returned["RegexValues" if regexes else "Values"] = regexes or plain
    return returned, len(plain) + len(regexes), 0 if field in WITHOUT_WILDCARDS else wildcards(plain)


def wildcards(values):
    texts = [" ".join(value.values()) if isinstance(value, dict) else value for value in values]
    return sum(len(re.findall(r"(?<!\\)[*?]", text)) for text in texts)


def check_values(field, config, plain, regexes):
    """Lengths and characters (API, RuleCondition and the …ConditionConfig of each field)."""
    parts = [part for value in plain for part in (value.values() if isinstance(value, dict) else [value])]
    for text in list(parts) + list(regexes):
        if not text:
            invalid("A condition value can't be empty")
        if len(text) > VALUE_LENGTH:
            invalid(f"The '{field}' value is too long; the limit is '{VALUE_LENGTH}'")
    for text in regexes:
        # RULES: no look-around, no back-references, no possessive quantifiers, no \\p{…}. What is escaped or in a
        # class is no quantifier.
        bare = re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "x", text)
        if re.search(r"\(\?<?[=!]|[*+?}]\+", bare) or re.search(r"\\[1-9pP]", text.replace("\\\\", "")):
            invalid(f"The regular expression '{text}' is not supported")
        try:
            re.compile(text)
        except re.error:
            invalid(f"The regular expression '{text}' is not valid")
    if field == "host-header":
        for host in plain:
            if not re.fullmatch(r"[A-Za-z0-9_.*?-]*\.[A-Za-z*?]+", host):
                invalid(f"The host name '{host}' is not valid")
    if field == "path-pattern":
        for path in plain:
            if not re.fullmatch(r"""[A-Za-z0-9_\-.$/~"'@:+&;*?]+""", path):
                invalid(f"The path pattern '{path}' is not valid")
    if field == "http-request-method":
        for method in plain:
            if not re.fullmatch(r"[A-Z_-]{1,40}", method):
                invalid(f"The request method '{method}' may only have A-Z, hyphens and underscores")
    if field == "http-header":
        name = config.get("HttpHeaderName", "")
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}", name) or name.lower() == "host":
            invalid(f"The HTTP header name '{name}' is not valid")
    if field == "query-string" and any(not value.get("Value") for value in plain):
        invalid("A 'Value' must be specified in 'QueryStringKeyValuePair'")
    if field == "source-ip":
        for block in plain:
            try:
                ipaddress.ip_network(block, strict="/" not in block)
            except ValueError:
                invalid(f"The source IP '{block}' is not a CIDR block")
            if "/" not in block:
                invalid(f"The source IP '{block}' is not in CIDR format")


# --- actions ------------------------------------------------------------------------------------

REDIRECT_DEFAULTS = {
    "Protocol": "#{protocol}",
    "Port": "#{port}",
    "Host": "#{host}",
    "Path": "/#{path}",
    "Query": "#{query}",
}


def check_actions(self, balancer, protocol, actions, instead=None):
    """The actions as AWS would return them, or its refusal.

    API, Action: exactly one of forward, redirect, fixed-response, and it is the last. `instead` is the rule whose
    actions these replace.
    """
    if not actions:
        return actions
    last = [action for action in actions if action.get("Type") in ("forward", "redirect", "fixed-response")]
    if len(last) != 1:
        refuse("InvalidLoadBalancerAction", "A rule must have exactly one of forward, redirect and fixed-response")
    if len(actions) > 1:
        orders = [action.get("Order") for action in actions]
        if None in orders or len(set(orders)) < len(orders):
            refuse("InvalidLoadBalancerAction", "Each of several actions must have an order of its own")
        if last[0]["Order"] != max(orders):
            refuse("InvalidLoadBalancerAction", "The routing action must be the last one")
        if protocol != "HTTPS":
            refuse("InvalidLoadBalancerAction", "Users are authenticated on HTTPS listeners only")
    checks = {
        "forward": check_forward,
        "redirect": check_redirect,
        "fixed-response": check_fixed_response,
        "authenticate-oidc": check_oidc,
        "authenticate-cognito": check_cognito,
        "jwt-validation": check_jwt,
    }
    if sum(action["Type"] in checks for action in actions) < len(actions) or len(actions) > 2:
        refuse("InvalidLoadBalancerAction", "A rule has one routing action and at most one that authenticates")
    returned = [
        checks[action["Type"]](self, balancer, protocol, dict(action)) if action["Type"] in checks else dict(action)
        for action in actions
    ]
    if balancer and last[0]["Type"] == "forward":
        check_target_groups(self, balancer, returned, instead)
    return returned


def check_forward(self, balancer, protocol, action):
    """QUOTAS: 5 target groups. API: weights of 0 to 999, stickiness of 1 to 604,800 seconds.

    AWS returns a single target group in both forms, and the defaults; the AWS Load Balancer Controller therefore
    ignores `TargetGroupArn` when it compares (pkg/equality/elbv2/compare_option_for_actions.go).
    """
    config = dict(action.get("ForwardConfig") or {"TargetGroups": [{"TargetGroupArn": action.get("TargetGroupArn")}]})
    groups = [{"Weight": 1, **group} for group in config.get("TargetGroups", [])]
    if not 1 <= len(groups) <= QUOTAS["target-groups-per-action-on-application-load-balancer"]:
        invalid("A forward action must have 1 to 5 target groups")
    if len({group["TargetGroupArn"] for group in groups}) < len(groups):
        invalid("A forward action names a target group twice")
    if "TargetGroupArn" in action and [action["TargetGroupArn"]] != [group["TargetGroupArn"] for group in groups]:
        invalid("TargetGroupArn and ForwardConfig name different target groups")
    if any(not 0 <= int(group["Weight"]) <= 999 for group in groups):
        invalid("The weight of a target group must be between 0 and 999")
    stickiness = config.get("TargetGroupStickinessConfig", {"Enabled": False})
    if not 1 <= int(stickiness.get("DurationSeconds", 1)) <= 604800:
        invalid("The stickiness duration must be between 1 and 604800 seconds")
    action["ForwardConfig"] = {"TargetGroups": groups, "TargetGroupStickinessConfig": stickiness}
    if len(groups) == 1:
        action["TargetGroupArn"] = groups[0]["TargetGroupArn"]
    return action


def check_redirect(self, balancer, protocol, action):
    """API, RedirectActionConfig: no loop, no HTTPS to HTTP; the parts that aren't given return as placeholders."""
    config = {**REDIRECT_DEFAULTS, **action.get("RedirectConfig", {})}
    if config.get("StatusCode") not in ("HTTP_301", "HTTP_302"):
        invalid("The status code of a redirect must be HTTP_301 or HTTP_302")
    if config["Protocol"] not in ("HTTP", "HTTPS", "#{protocol}"):
        invalid("The protocol of a redirect must be HTTP, HTTPS or #{protocol}")
    if protocol == "HTTPS" and config["Protocol"] == "HTTP":
        refuse("InvalidLoadBalancerAction", "HTTPS cannot be redirected to HTTP")
    port = config["Port"]
    if port != "#{port}" and not (port.isdecimal() and 1 <= int(port) <= 65535):
        invalid("The port of a redirect must be between 1 and 65535, or #{port}")
    if not config["Path"].startswith("/"):
        invalid("The path of a redirect must begin with '/'")
    if any(len(config[part]) > VALUE_LENGTH for part in REDIRECT_DEFAULTS):
        invalid(f"A part of a redirect is longer than {VALUE_LENGTH} characters")
    if all(config[part] == REDIRECT_DEFAULTS[part] for part in REDIRECT_DEFAULTS):
        refuse("InvalidLoadBalancerAction", "A redirect must change the protocol, host, port, path or query")
    action["RedirectConfig"] = config
    return action


def check_fixed_response(self, balancer, protocol, action):
    """API, FixedResponseActionMessage: 1,024 characters; the status code is checked by moto."""
    if len(action.get("FixedResponseConfig", {}).get("MessageBody", "")) > 1024:
        invalid("The message body of a fixed response is longer than 1024 characters")
    return action


SESSION_DEFAULTS = {
    "SessionCookieName": "AWSELBAuthSessionCookie",
    "Scope": "openid",
    "SessionTimeout": 604800,
    "OnUnauthenticatedRequest": "authenticate",
}


def check_session(config, required):
    """API, AuthenticateOidcActionConfig and AuthenticateCognitoActionConfig: what is required, defaults, and limits."""
    for name in required:
        if not config.get(name):
            invalid(f"'{name}' must be specified")
    config = {**SESSION_DEFAULTS, **config}
    if not 1 <= int(config["SessionTimeout"]) <= 604800:
        invalid("SessionTimeout must be between 1 and 604800 seconds")
    if config["OnUnauthenticatedRequest"] not in ("deny", "allow", "authenticate"):
        invalid("OnUnauthenticatedRequest must be deny, allow or authenticate")
    if len(config.get("AuthenticationRequestExtraParams", {})) > 10:
        invalid("At most 10 query parameters can be included")
    return config


def check_oidc(self, balancer, protocol, action):
    """API, AuthenticateOidcActionConfig: full URLs with HTTPS; the client's secret is taken and never returned."""
    endpoints = ["Issuer", "AuthorizationEndpoint", "TokenEndpoint", "UserInfoEndpoint"]
    config = check_session(action.get("AuthenticateOidcConfig", {}), [*endpoints, "ClientId"])
    if any(not config[name].startswith("https://") for name in endpoints):
        invalid("The endpoints of an identity provider must be full URLs with the HTTPS protocol")
    existing = str(config.pop("UseExistingClientSecret", False)).lower() == "true"
    if not config.pop("ClientSecret", None) and not existing:
        invalid("A client secret must be specified")
    action["AuthenticateOidcConfig"] = config
    return action


def check_cognito(self, balancer, protocol, action):
    """API, AuthenticateCognitoActionConfig."""
    required = ["UserPoolArn", "UserPoolClientId", "UserPoolDomain"]
    action["AuthenticateCognitoConfig"] = check_session(action.get("AuthenticateCognitoConfig", {}), required)
    return action


def check_jwt(self, balancer, protocol, action):
    """API, JwtValidationActionConfig and JwtValidationActionAdditionalClaim."""
    config = dict(action.get("JwtValidationConfig", {}))
    if not config.get("Issuer") or not config.get("JwksEndpoint", "").startswith("https://"):
        invalid("An issuer and a JWKS endpoint with the HTTPS protocol must be specified")
    claims = config.get("AdditionalClaims", [])
    if len(claims) > 10:
        invalid("At most 10 additional claims can be specified")
    for claim in claims:
        if claim.get("Format") not in ("single-string", "string-array", "space-separated-values"):
            invalid("The format of an additional claim is not valid")
        if not claim.get("Name") or claim["Name"] in ("exp", "iss", "nbf", "iat"):
            invalid("The name of an additional claim is not valid")
        if not 1 <= len(claim.get("Values", [])) <= 10 or any(len(value) > 256 for value in claim["Values"]):
            invalid("The values of an additional claim are not valid")
    return action


@corrects(ELBv2Backend, "_validate_actions")
def tokens_can_be_validated(moto, self, actions):
    """moto knows no `jwt-validation` (API, ActionTypeEnum); `check_actions` has looked at it."""
    return moto(self, [action for action in actions if action.type != "jwt-validation"])


def check_target_groups(self, balancer, actions, instead):
    """A target group serves one load balancer, a load balancer has 100 (QUOTAS)."""
    wanted = {arn for action in actions for arn in self._get_target_group_arns_from(action)}
    for arn in wanted:
        group = self.target_groups.get(arn)
        if group is None:
            refuse("TargetGroupNotFound", f"Target group '{arn}' not found")
        if any(other != balancer.arn for other in group.load_balancer_arns):
            refuse("TargetGroupAssociationLimit", f"Target group '{arn}' serves another load balancer")
    used = wanted.union(*(arns for rule, arns in uses(self, balancer) if rule is not instead))
    if len(used) > QUOTAS["target-groups-per-application-load-balancer"]:
        refuse("TooManyUniqueTargetGroupsPerLoadBalancer", "The maximum number of target groups has been reached")


def uses(self, balancer):
    """Each rule of a load balancer, the defaults too, with the target groups it forwards to."""
    for listener in balancer.listeners.values():
        for rule in listener.rules.values():
            yield rule, {arn for action in rule.actions for arn in self._get_target_group_arns_from(action.data)}


def load_balancer_arns(self):
    """moto appends at each use and never removes: here it is what the rules say now."""
    backend = elbv2_backends[self.account_id][self.region_name]
    return [
        balancer.arn
        for balancer in backend.load_balancers.values()
        if any(self.arn in arns for _, arns in uses(backend, balancer))
    ]


FakeTargetGroup.load_balancer_arns = property(load_balancer_arns, lambda self, value: None)


# --- target groups and targets ------------------------------------------------------------------


@corrects(ELBv2Backend, "create_target_group")
def target_groups_are_created_once(moto, self, name, **given):
    """Equal settings and name: the existing one (API, CreateTargetGroup: idempotent); others: DuplicateTargetGroupName.

    gRPC is checked at /AWS.ALB/healthcheck (API, HealthCheckPath) for status 12 (API, Matcher). An Application Load
    Balancer behind a Network Load Balancer is checked over HTTP or HTTPS, as asked for; moto says TCP.
    """
    check_name("target group", name)
    if given.get("protocol_version") == "GRPC":
        given["healthcheck_path"] = given.get("healthcheck_path") or "/AWS.ALB/healthcheck"
        given["matcher"] = given.get("matcher") or {"GrpcCode": "12"}
    existing = next((group for group in self.target_groups.values() if group.name == name), None)
    if existing is None:
        if len(self.target_groups) >= QUOTAS["target-groups"]:
            refuse("TooManyTargetGroups", "The maximum number of target groups has been reached")
        created = checked_as_asked(moto(self, name, **given), given)
        if created.protocol in ("HTTP", "HTTPS"):
            created.attributes = defaults(TARGET_GROUP_ATTRIBUTES)
        return created
    all_groups = dict(self.target_groups)
    del self.target_groups[existing.arn]
    try:
        compared = checked_as_asked(moto(self, name, **{**given, "tags": None}), given)
    finally:
        self.target_groups.clear()
        self.target_groups.update(all_groups)
    if settings(compared) != settings(existing):
        refuse("DuplicateTargetGroupName", f"A target group named '{name}' exists, but with different settings")
    return existing


def checked_as_asked(group, given):
    if group.target_type == "alb":
        group.health_check_protocol = given.get("healthcheck_protocol") or "HTTP"
        group.health_check_path = given.get("healthcheck_path") or "/"
        group.matcher = given.get("matcher") or {"HttpCode": "200-399"}
    return group


def settings(group):
    of_its_own = ("arn", "attributes", "targets", "deregistered_targets", "terminated_targets", "draining")
    of_its_own += ("target_control_port",)  # compared before moto makes the group, which knows none
    return {key: str(value) for key, value in vars(group).items() if key not in of_its_own}


@corrects(ELBV2Response, "create_target_group")
def the_target_control_port_is_kept(moto, self):
    """moto drops it. 1 to 65,535, returned by Describe, and never changed (API, CreateTargetGroup.TargetControlPort)."""
    given = self._get_params().get("TargetControlPort")
    port = None if given is None else int(given)
    if port is not None and not 1 <= port <= 65535:
        invalid(f"Target control port '{port}' is not valid")
    name = self._get_params().get("Name")
    held = next((group for group in self.elbv2_backend.target_groups.values() if group.name == name), None)
    if held is not None and getattr(held, "target_control_port", None) != port:
        refuse("DuplicateTargetGroupName", f"A target group named '{name}' exists, but with different settings")
    answer = moto(self)
    if port is not None:
        answer.result["TargetGroups"][0].target_control_port = port
    return answer


@corrects(ELBv2Backend, "delete_target_group")
def tags_go_with_the_target_group(moto, self, arn):
    gone = moto(self, arn)
    forget_tags(self, arn)
    return gone


@corrects(ELBV2Response, "modify_target_group")
def the_grpc_matcher_is_modified(moto, self):
    """moto reads `Matcher.HttpCode` alone (API, Matcher: GrpcCode for the protocol version GRPC)."""
    matcher = self._get_params().get("Matcher") or {}
    answer = moto(self)
    if "GrpcCode" in matcher:
        answer.result["TargetGroups"][0].matcher = {"GrpcCode": matcher["GrpcCode"]}
    return answer


def key_of(group, target):
    return f"{target['Id']} {target.get('Port', group.port)}"


@corrects(ELBv2Backend, "register_targets")
def targets_are_what_the_target_group_takes(moto, self, target_group_arn, instances):
    """A target may be registered once a port (API, RegisterTargets); moto keeps the last port alone.

    Instances exist, in the target group's VPC (API: InvalidTarget). Addresses are private (TARGETS), of the target
    group's family, and in the VPC unless `AvailabilityZone` is given (API, TargetDescription). 1,000 targets a target
    group and a load balancer (QUOTAS).
    """
    group = self.target_groups.get(target_group_arn)
    if group is None:
        refuse("TargetGroupNotFound", "One or more target groups not found")
    for target in instances:
        check = {"instance": check_instance, "ip": check_address, "alb": check_balancer}.get(group.target_type)
        if check:
            check(self, group, target)
    group.draining = draining(group)
    for target in instances:
        key = key_of(group, target)
        group.draining.pop(key, None)
        group.targets[key] = {"Port": group.port, **target}
    served = [self.target_groups[arn] for arn in groups_beside(self, group)]
    too_many = len(group.targets) > TARGETS_PER_TARGET_GROUP
    if too_many or sum(len(other.targets) for other in served) > QUOTAS["targets-per-application-load-balancer"]:
        for target in instances:
            group.targets.pop(key_of(group, target), None)
        refuse("TooManyTargets", "The maximum number of targets has been reached")


def groups_beside(self, group):
    """The target groups of the load balancer this one serves, itself included."""
    for arn in group.load_balancer_arns:
        return set().union(*(arns for _, arns in uses(self, self.load_balancers[arn])))
    return {group.arn}


def check_instance(self, group, target):
    if not target["Id"].startswith("i-"):
        invalid(f"Instance ID '{target['Id']}' is not valid")
    instance = self.ec2_backend.get_instance_by_id(target["Id"])
    if instance is None or instance.vpc_id != group.vpc_id or instance.state != "running":
        refuse("InvalidTarget", f"The target '{target['Id']}' does not exist, does not run or is in another VPC")


def check_balancer(self, group, target):
    """An Application Load Balancer that listens on the port (API: InvalidTarget)."""
    balancer = self.load_balancers.get(target["Id"])
    port = int(target.get("Port") or group.port)
    if balancer is None or all(int(listener.port) != port for listener in balancer.listeners.values()):
        refuse("InvalidTarget", f"The target '{target['Id']}' does not exist or does not listen on port {port}")


PRIVATE = [ipaddress.ip_network(block) for block in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")]


def check_address(self, group, target):
    try:
        address = ipaddress.ip_address(target["Id"])
    except ValueError:
        invalid(f"The IP address '{target['Id']}' is not valid")
    if f"ipv{address.version}" != group.ip_address_type:
        invalid(f"The IP address '{target['Id']}' is not of the target group's type {group.ip_address_type}")
    if address.version == 4 and not any(address in block for block in PRIVATE):
        invalid(f"The IP address '{target['Id']}' is not private")
    vpc = self.ec2_backend.get_vpc(group.vpc_id)
    blocks = [association["cidr_block"] for association in vpc.get_cidr_block_association_set(ipv6=False)]
    blocks += [association["cidr_block"] for association in vpc.get_cidr_block_association_set(ipv6=True)]
    inside = any(address in ipaddress.ip_network(block) for block in blocks)
    if not inside and not target.get("AvailabilityZone"):
        invalid(f"The IP address '{target['Id']}' is outside the VPC and has no Availability Zone")


@corrects(ELBv2Backend, "deregister_targets")
def deregistered_targets_drain(moto, self, target_group_arn, instances):
    """A target that isn't registered is no error (API, DeregisterTargets, note).

    A target of a target group in use drains for `deregistration_delay.timeout_seconds` (API, TargetHealth).
    """
    group = self.target_groups.get(target_group_arn)
    if group is None:
        refuse("TargetGroupNotFound", "One or more target groups not found")
    group.draining = draining(group)
    until = time.monotonic() + int(group.attributes["deregistration_delay.timeout_seconds"])
    for target in instances:
        gone = group.targets.pop(key_of(group, target), None)
        if gone and group.load_balancer_arns:
            group.draining[key_of(group, target)] = (gone, until)


def draining(group):
    now = time.monotonic()
    return {key: entry for key, entry in getattr(group, "draining", {}).items() if entry[1] > now}


@corrects(FakeTargetGroup, "deregister_terminated_instances")
def terminated_instances_are_found_by_id(moto, self, instance_ids):
    """The targets are kept by id and port here."""
    for key, target in list(self.targets.items()):
        if target["Id"] in instance_ids:
            self.terminated_targets[target["Id"]] = self.targets.pop(key)


@corrects(ELBv2Backend, "describe_target_health")
def targets_nobody_uses_are_unused(moto, self, target_group_arn, targets):
    """`unused` / Target.NotInUse without a rule that forwards to the target group, or in a zone that isn't enabled;
    `draining` after a deregistration (API, TargetHealth)."""
    group = self.target_groups.get(target_group_arn)
    if group is None:
        refuse("TargetGroupNotFound", "One or more target groups not found")
    group.draining = draining(group)
    leaving = {key: target for key, (target, _) in group.draining.items()}
    known = {**leaving, **group.targets}
    zones = {
        subnet.availability_zone for arn in group.load_balancer_arns for subnet in self.load_balancers[arn].subnets
    }
    asked = {key_of(group, target): target for target in targets} if targets else known
    return [health(self, group, known.get(key), target, key in leaving, zones) for key, target in asked.items()]


def health(self, group, registered, target, leaving, zones):
    state, reason, text = "healthy", None, None
    if registered is None:
        state, reason, text = "unused", "Target.NotRegistered", "Target is not registered to the target group"
    elif leaving:
        state, reason = "draining", "Target.DeregistrationInProgress"
        text = "Target deregistration is in progress"
    elif not zones:
        state, reason = "unused", "Target.NotInUse"
        text = "Target group is not configured to receive traffic from the load balancer"
    elif zone_of(self, group, registered) not in zones | {"all"}:
        state, reason = "unused", "Target.NotInUse"
        text = "Target is in an Availability Zone that is not enabled for the load balancer"
    elif registered["Id"].startswith("i-") and self.ec2_backend.get_instance_by_id(registered["Id"]).state == "stopped":
        state, reason, text = "unused", "Target.InvalidState", "Target is in the stopped state"
    shown = {"Port": group.port, **target, **(registered or {})}
    status = {"State": state, "Reason": reason, "Description": text}
    return {
        # moto leaves out the zone (API, TargetDescription).
        "Target": {part: shown[part] for part in ("Id", "Port", "AvailabilityZone") if shown.get(part)},
        "HealthCheckPort": group.health_check_port,
        "TargetHealth": {part: value for part, value in status.items() if value},
    }


def zone_of(self, group, target):
    """Inside the VPC it is the subnet's: a given one counts only without cross-zone load balancing (API,
    TargetDescription)."""
    if target["Id"].startswith("i-"):
        instance = self.ec2_backend.get_instance_by_id(target["Id"])
        return self.ec2_backend.get_subnet(instance.subnet_id).availability_zone if instance else "all"
    if group.target_type == "alb":
        return "all"
    address = ipaddress.ip_address(target["Id"])
    for zone in self.ec2_backend.subnets.values():
        for subnet in zone.values():
            if subnet.vpc_id == group.vpc_id and address in ipaddress.ip_network(subnet.cidr_block):
                return subnet.availability_zone
    return "all"


# --- tags ---------------------------------------------------------------------------------------


@corrects(ELBv2Backend, "add_tags")
def a_resource_has_fifty_tags(moto, self, resource_arns, tags):
    """moto stops at 10; the General Reference, Elastic Load Balancing quotas, says 50."""
    for arn in resource_arns:
        tagged(self, arn)
        kept = self.tagging_service.get_tag_dict_for_resource(arn)
        if len({*kept, *(tag["Key"] for tag in tags)}) > TAGS_PER_RESOURCE:
            refuse("TooManyTags", f"'{arn}' can have {TAGS_PER_RESOURCE} tags")
    for arn in resource_arns:
        self.tagging_service.tag_resource(arn, tags)


@corrects(ELBv2Backend, "describe_tags")
def tags_are_described_of_what_exists(moto, self, resource_arns):
    """At most 20 ARNs a call, each of something that exists (API, DescribeTags)."""
    if len(resource_arns) > 20:
        invalid("At most 20 resources can be described in a call")
    for arn in resource_arns:
        tagged(self, arn)
    return moto(self, resource_arns)


def tagged(self, arn):
    """moto finds no default rule by its ARN."""
    if ":listener-rule/" in arn:
        self.describe_rules(None, [arn])
    else:
        self._get_resource_by_arn(arn)


# --- EC2 ----------------------------------------------------------------------------------------


@corrects(EC2Backend, "get_all_network_interfaces")
def secondary_addresses_are_found(moto, self, eni_ids=None, filters=None):
    """`addresses.private-ip-address` is any address of the interface (API, DescribeNetworkInterfaces); moto
    compares the primary one alone."""
    filters = dict(filters or {})
    wanted = filters.pop("addresses.private-ip-address", None)
    found = moto(self, eni_ids, filters)
    if wanted is None:
        return found
    return [eni for eni in found if {each["PrivateIpAddress"] for each in eni.private_ip_addresses} & set(wanted)]


# EC2 API, CreateSecurityGroup and IpRange.
SECURITY_GROUP_TEXT = r"[a-zA-Z0-9 ._\-:/()#,@\[\]+=&;{}!$*]{0,255}"


def check_security_group_text(what, text):
    if not re.fullmatch(SECURITY_GROUP_TEXT, text):
        raise EC2ClientError("InvalidParameterValue", f"Invalid {what} '{text}': too long, or a character it cannot have")


@corrects(EC2Backend, "create_security_group")
def security_groups_are_named_as_they_may_be(moto, self, name, description, *rest, **given):
    """Name and description of these characters, no name like an id (EC2 API, CreateSecurityGroup); moto takes any."""
    check_security_group_text("security group name", name)
    check_security_group_text("security group description", description or "")
    if name.startswith("sg-"):
        raise EC2ClientError("InvalidParameterValue", f"Invalid security group name '{name}': it begins with 'sg-'")
    return moto(self, name, description, *rest, **given)


@corrects(EC2Backend, "authorize_security_group_ingress")
def permissions_are_described_as_they_may_be(moto, self, *given, **named):
    """Descriptions of these characters (EC2 API, IpRange and UserIdGroupPair); moto takes any."""
    for part in [*given, *named.values()]:
        for each in part if isinstance(part, list) else []:
            if isinstance(each, dict):
                check_security_group_text("rule description", each.get("Description") or "")
    return moto(self, *given, **named)


@corrects(EC2Backend, "delete_security_group")
def security_groups_in_use_stay(moto, self, name=None, group_id=None):
    """DependencyViolation while an interface, a load balancer or another group's rule uses it (EC2 API,
    DeleteSecurityGroup)."""
    users = []
    for group in self.describe_security_groups():
        if group.id != group_id:
            rules = list(group.ingress_rules) + list(group.egress_rules)
            users += [group.id for rule in rules if (rule.source_group or {}).get("GroupId") == group_id]
    for interface in self.enis.values():
        users += [interface.id for group in interface.group_set if group.id == group_id]
    for balancer in elbv2_backends[self.account_id][self.region_name].load_balancers.values():
        users += [balancer.arn for group in balancer.security_groups if group == group_id]
    if group_id and users:
        raise DependencyViolationError(f"resource {group_id} has a dependent object")
    return moto(self, name, group_id)


def describe_security_group_vpc_associations(self):
    """Not in moto (EC2 API, DescribeSecurityGroupVpcAssociations): no group of another VPC is associated with one."""
    return ActionResult({"SecurityGroupVpcAssociations": []})


EC2Response.describe_security_group_vpc_associations = describe_security_group_vpc_associations


# --- WAF and Shield -----------------------------------------------------------------------------


@corrects(WAFV2Backend, "associate_web_acl")
def a_resource_has_one_web_acl(moto, self, web_acl_arn, resource_arn):
    """A resource has at most one (WAFV2 API, AssociateWebACL), and exists (WAFNonexistentItemException); moto adds
    one to the other, and knows no load balancer."""
    balancers = elbv2_backends[self.account_id][self.region_name].load_balancers
    if ":loadbalancer/" in resource_arn and resource_arn not in balancers:
        raise WAFNonexistentItemException
    if web_acl_arn not in self.wacls:
        raise WAFNonexistentItemException
    self.disassociate_web_acl(resource_arn)
    moto(self, web_acl_arn, resource_arn)


@corrects(WAFV2Backend, "get_web_acl_for_resource")
def what_is_gone_has_no_web_acl(moto, self, resource_arn):
    """WAFNonexistentItemException for a load balancer that does not exist (WAFV2 API, GetWebACLForResource)."""
    balancers = elbv2_backends[self.account_id][self.region_name].load_balancers
    if ":loadbalancer/" in resource_arn and resource_arn not in balancers:
        raise WAFNonexistentItemException
    return moto(self, resource_arn)


@corrects(ShieldBackend, "create_protection")
def protections_need_a_subscription(moto, self, name, resource_arn, tags):
    """ResourceNotFoundException without one (Shield API, CreateProtection); moto needs none, and fails without tags."""
    if self.subscription is None:
        raise ResourceNotFoundException("The subscription does not exist.")
    return moto(self, name, resource_arn, tags or [])


def get_subscription_state(self):
    """Not in moto (Shield API, GetSubscriptionState)."""
    state = "INACTIVE" if self.shield_backend.subscription is None else "ACTIVE"
    return json.dumps({"SubscriptionState": state})


ShieldResponse.get_subscription_state = get_subscription_state


# --- ACM ----------------------------------------------------------------------------------------


@corrects(CertBundle, "describe")
def summaries_name_the_hosts(moto, self):
    """A summary carries up to 100 names (ACM API, CertificateSummary); moto leaves them out."""
    described = moto(self)
    certificate = described["Certificate"]
    certificate["SubjectAlternativeNameSummaries"] = self.sans[:100]
    certificate["HasAdditionalSubjectAlternativeNames"] = len(self.sans) > 100
    return described


@corrects(AWSCertificateManagerBackend, "list_certificates")
def other_keys_are_listed_when_asked(moto, self, statuses, includes):
    """Only RSA keys of 1,024 and 2,048 bits unless `Includes` names others (ACM API, ListCertificates, Filters)."""
    includes = {"keyTypes": ["RSA_1024", "RSA_2048"], **(includes or {})}
    return moto(self, statuses, includes)


# Kinds of keys that may be imported, and an Application Load Balancer serves (ACM User Guide, "Prerequisites").
IMPORTED_KEYS = [f"RSA_{bits}" for bits in (1024, 2048, 3072, 4096)]
IMPORTED_KEYS += ["EC_prime256v1", "EC_secp384r1", "EC_secp521r1"]
# Bytes of a private key (ACM API, ImportCertificate).
PRIVATE_KEY_LENGTH = 5120


@corrects(AWSCertificateManagerBackend, "import_certificate")
def imports_are_judged(moto, self, certificate, private_key, chain, arn, tags):
    """Key and certificate belong together, of a kind that ACM takes, the key is not too long, and one that is not
    self-signed has its chain (ACM API, ImportCertificate). In the place of another (ACM User Guide, "Reimport a
    certificate"): the same kind of key, an imported one, without tags; those it has stay. moto judges none of it, and
    drops the tags."""
    if len(private_key) > PRIVATE_KEY_LENGTH:
        raise AWSValidationException("The private key is too long.")
    made = CertBundle(self.account_id, certificate, private_key, chain=chain, region=self.region_name)
    public = made._cert.public_key()
    if public.public_numbers() != made._key.public_key().public_numbers():
        raise AWSValidationException("The private key does not match the certificate.")
    key = made.describe()["Certificate"]["KeyAlgorithm"]
    if key not in IMPORTED_KEYS:
        raise AWSValidationException(f"The key algorithm {key} is not supported.")
    if chain is None and made._cert.issuer != made._cert.subject:
        raise AWSValidationException("Provided certificate is not a valid self signed. Please provide a chain.")
    if arn is None:
        return moto(self, certificate, private_key, chain, arn, tags)
    if tags:
        raise AWSValidationException("Tags cannot be given when a certificate is reimported.")
    before = self.get_certificate(arn)
    if before.type != "IMPORTED":
        raise AWSValidationException("The certificate was not imported.")
    if before.describe()["Certificate"]["KeyAlgorithm"] != key:
        raise AWSValidationException("The key algorithm or size of the certificate is different.")
    arn = moto(self, certificate, private_key, chain, arn, None)
    self.get_certificate(arn).tags = before.tags
    return arn


def listeners_with(self, arn):
    """ARNs of the load balancers that serve with a certificate."""
    known = elbv2_backends[self.account_id][self.region_name].load_balancers.values()
    balancers = [balancer for balancer in known if balancer]
    uses = lambda listener: arn == listener.certificate or arn in listener.certificates  # noqa: E731
    return [b.arn for b in balancers if any(uses(listener) for listener in b.listeners.values())]


@corrects(AWSCertificateManagerBackend, "get_certificate")
def certificates_tell_who_uses_them(moto, self, arn):
    """`InUseBy` is who uses it now (ACM API, CertificateDetail); moto appends to it for ever."""
    bundle = moto(self, arn)
    bundle.in_use_by = listeners_with(self, arn)
    return bundle


@corrects(AWSCertificateManagerBackend, "delete_certificate")
def certificates_in_use_stay(moto, self, arn):
    """ResourceInUseException (ACM API, DeleteCertificate); moto deletes them."""
    if listeners_with(self, arn):
        raise AWSError(f"Certificate {arn} is in use.", exception_type="ResourceInUseException")
    return moto(self, arn)


# --- the server ---------------------------------------------------------------------------------


class OneAtATime:
    """moto's state has no locks: two requests at once end in HTTP 500 now and then."""

    def __init__(self, application):
        self.application = application
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        # The body is read first: a slow client must not hold the others up.
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        with self.lock:
            answer = self.application(environ, start_response)
            try:
                return list(answer)
            finally:
                answer.close()


def application():
    return OneAtATime(DomainDispatcherApplication(create_backend_app))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True, help="0 takes a free one")
    arguments = parser.parse_args()
    server = make_server(
        arguments.host, arguments.port, application(), threaded=True, request_handler=MotoRequestHandler
    )
    os.environ["MOTO_PORT"] = str(server.port)
    print(f"moto is ready: http://{arguments.host}:{server.port}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
