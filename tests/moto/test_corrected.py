"""The corrected moto in, what AWS documents out. One test a correction; `python -m unittest` runs them."""

import datetime
import logging
import threading
import unittest

import account
import boto3
import corrected
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)

HOST = {"Field": "host-header", "HostHeaderConfig": {"Values": ["www.example.com"]}}


def path(*values):
    return {"Field": "path-pattern", "PathPatternConfig": {"Values": list(values)}}


def header(name, *values):
    return {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": name, "Values": list(values)}}


def query(*values):
    return {"Field": "query-string", "QueryStringConfig": {"Values": [{"Value": value} for value in values]}}


def sources(*blocks):
    return {"Field": "source-ip", "SourceIpConfig": {"Values": list(blocks)}}


def methods(*names):
    return {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": list(names)}}


def regex(field, config, *values, **more):
    return {"Field": field, config: {"RegexValues": list(values), **more}}


def fixed(body="", status="404"):
    return {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": status, "MessageBody": body}}


def redirect(**config):
    return {"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301", **config}}


def oidc(**more):
    endpoints = {"Issuer": "https://i", "AuthorizationEndpoint": "https://i/a", "TokenEndpoint": "https://i/t"}
    client = {"UserInfoEndpoint": "https://i/u", "ClientId": "id", "ClientSecret": "s"}
    extra = {"AuthenticationRequestExtraParams": {"loginHint": "X"}}
    return {"Type": "authenticate-oidc", "AuthenticateOidcConfig": {**endpoints, **client, **extra, **more}}


def cognito(**more):
    pool = {"UserPoolArn": "arn:aws:cognito-idp:x", "UserPoolClientId": "c", "UserPoolDomain": "d"}
    return {"Type": "authenticate-cognito", "AuthenticateCognitoConfig": {**pool, **more}}


def jwt(**more):
    return {"Type": "jwt-validation", "JwtValidationConfig": {"JwksEndpoint": "https://k", "Issuer": "https://i", **more}}


def forward(*arns, **more):
    groups = [{"TargetGroupArn": arn} for arn in arns]
    return {"Type": "forward", "ForwardConfig": {"TargetGroups": groups, **more}}


def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


def rsa_key(bits):
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def key_pair(key, issuer="www.example.com"):
    name = lambda text: x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])  # noqa: E731
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name("www.example.com"))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=90))
        .sign(key, hashes.SHA256())
    )
    private = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "Certificate": certificate.public_bytes(serialization.Encoding.PEM),
        "PrivateKey": key.private_bytes(serialization.Encoding.PEM, *private),
    }


class Corrected(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = make_server("127.0.0.1", 0, corrected.application(), threaded=True)
        cls.thread = threading.Thread(target=cls.server.serve_forever)
        cls.thread.start()
        cls.endpoint = f"http://127.0.0.1:{cls.server.port}"
        given = {
            "endpoint_url": cls.endpoint,
            "region_name": "us-east-1",
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            # What moto or we refuse must be seen at once, and by us rather than by botocore.
            "config": Config(retries={"max_attempts": 1}, parameter_validation=False),
        }
        names = ("elbv2", "ec2", "acm", "wafv2", "shield", "resourcegroupstaggingapi")
        clients = (boto3.client(name, **given) for name in names)
        cls.elb, cls.ec2, cls.acm, cls.waf, cls.shield, cls.tagging = clients

    @classmethod
    def tearDownClass(cls):
        cls.server.shutdown()
        cls.thread.join()
        cls.server.server_close()

    def setUp(self):
        self.account = account.make(self.endpoint, {"pods_per_node": 3})

    def refused(self, code, call, given="", **arguments):
        with self.assertRaises(ClientError, msg=given) as raised:
            call(**arguments)
        self.assertEqual(raised.exception.response["Error"]["Code"], code, f"{given}: {raised.exception}")

    def load_balancer(self, name="web", **given):
        subnets, groups = self.account["subnets"]["elb"], [self.account["node_security_group"]]
        given = {"Subnets": subnets, "SecurityGroups": groups, **given}
        return self.elb.create_load_balancer(Name=name, **given)["LoadBalancers"][0]

    def listener(self, balancer=None, **given):
        arn = (balancer or self.load_balancer())["LoadBalancerArn"]
        given = {"Protocol": "HTTP", "Port": 80, "DefaultActions": [fixed()], **given}
        return self.elb.create_listener(LoadBalancerArn=arn, **given)["Listeners"][0]["ListenerArn"]

    def https_listener(self, balancer=None, **given):
        certificates = [{"CertificateArn": self.account["certificates"]["www.example.com"]}]
        return self.listener(balancer, Protocol="HTTPS", Port=443, Certificates=certificates, **given)

    def group(self, name="web", **given):
        given = {"Protocol": "HTTP", "Port": 80, "VpcId": self.account["vpc"], "TargetType": "ip", **given}
        return self.elb.create_target_group(Name=name, **given)["TargetGroups"][0]["TargetGroupArn"]

    def rule(self, listener, priority, conditions=None, actions=None, **given):
        given = {"Conditions": conditions or [HOST], "Actions": actions or [fixed()], **given}
        return self.elb.create_rule(ListenerArn=listener, Priority=priority, **given)["Rules"][0]

    def priorities(self, listener):
        rules = self.elb.describe_rules(ListenerArn=listener)["Rules"]
        return {rule["RuleArn"]: rule["Priority"] for rule in rules if not rule["IsDefault"]}

    def health(self, group, **given):
        described = self.elb.describe_target_health(TargetGroupArn=group, **given)["TargetHealthDescriptions"]
        shown = lambda each: (each["Target"]["Port"], each["TargetHealth"]["State"], each["TargetHealth"].get("Reason"))
        return sorted((each["Target"]["Id"], *shown(each)) for each in described)

    # --- load balancers

    def test_address_pools_are_kept_and_checked(self):
        balancer = self.load_balancer(IpamPools={"Ipv4IpamPoolId": "ipam-pool-0a"}, CustomerOwnedIpv4Pool="coip-1")
        shown = lambda: self.elb.describe_load_balancers(Names=["web"])["LoadBalancers"][0]
        self.assertEqual(shown()["IpamPools"], {"Ipv4IpamPoolId": "ipam-pool-0a"})
        self.assertEqual(shown()["CustomerOwnedIpv4Pool"], "coip-1")
        arn = balancer["LoadBalancerArn"]
        self.elb.modify_ip_pools(LoadBalancerArn=arn, IpamPools={"Ipv4IpamPoolId": "ipam-pool-0b"})
        self.assertEqual(shown()["IpamPools"], {"Ipv4IpamPoolId": "ipam-pool-0b"})
        wrong = {"Ipv4IpamPoolId": "pool-1"}
        self.refused("ValidationError", self.elb.modify_ip_pools, LoadBalancerArn=arn, IpamPools=wrong)
        self.elb.modify_ip_pools(LoadBalancerArn=arn, RemoveIpamPools=["ipv4"])
        self.assertNotIn("Ipv4IpamPoolId", shown().get("IpamPools", {}))
        subnets = self.account["subnets"]["internal-elb"]
        inner = self.load_balancer("inner", Scheme="internal", Subnets=subnets)["LoadBalancerArn"]
        pool = {"Ipv4IpamPoolId": "ipam-pool-0a"}
        self.refused("InvalidConfigurationRequest", self.elb.modify_ip_pools, LoadBalancerArn=inner, IpamPools=pool)

    def test_capacity_is_reserved_and_given_back(self):
        arn = self.load_balancer()["LoadBalancerArn"]
        reserve = self.elb.modify_capacity_reservation
        wanted = {"CapacityUnits": 1500}
        self.refused("OperationNotPermitted", reserve, LoadBalancerArn=arn, MinimumLoadBalancerCapacity=wanted)
        self.elb.describe_load_balancers()
        self.refused("ValidationError", reserve, LoadBalancerArn=arn)
        reserve(LoadBalancerArn=arn, MinimumLoadBalancerCapacity=wanted)
        shown = lambda: self.elb.describe_capacity_reservation(LoadBalancerArn=arn)
        self.assertEqual(shown()["MinimumLoadBalancerCapacity"], wanted)
        reserve(LoadBalancerArn=arn, ResetCapacityReservation=True)
        self.assertNotIn("MinimumLoadBalancerCapacity", shown())

    # --- listeners

    def test_listener_attributes_are_those_of_http(self):
        listener = self.listener()
        set_to = lambda **given: [{"Key": key, "Value": value} for key, value in given.items()]
        server = {"routing.http.response.server.enabled": "false"}
        self.elb.modify_listener_attributes(ListenerArn=listener, Attributes=set_to(**server))
        shown = self.elb.describe_listener_attributes(ListenerArn=listener)["Attributes"]
        shown = {each["Key"]: each["Value"] for each in shown}
        self.assertEqual(shown["routing.http.response.server.enabled"], "false")
        self.assertNotIn("tcp.idle_timeout.seconds", shown)
        for code, given in (
            ("ValidationError", {"routing.http.response.server.enabled": "maybe"}),
            ("ValidationError", {"tcp.idle_timeout.seconds": "60"}),
            ("InvalidConfigurationRequest", {"routing.http.request.x_amzn_tls_version.header_name": "X-Tls"}),
        ):
            call = self.elb.modify_listener_attributes
            self.refused(code, call, str(given), ListenerArn=listener, Attributes=set_to(**given))

    def trust_store(self, name):
        bundle = {"CaCertificatesBundleS3Bucket": "b", "CaCertificatesBundleS3Key": "k"}
        return self.elb.create_trust_store(Name=name, **bundle)["TrustStores"][0]["TrustStoreArn"]

    def test_trust_stores_are_found_by_name_and_arn(self):
        one, two = self.trust_store("one"), self.trust_store("two")
        for given, want in (({}, [one, two]), ({"Names": ["two"]}, [two]), ({"TrustStoreArns": [one]}, [one])):
            found = self.elb.describe_trust_stores(**given)["TrustStores"]
            self.assertEqual([store["TrustStoreArn"] for store in found], want, given)
        self.refused("TrustStoreNotFound", self.elb.describe_trust_stores, Names=["three"])

    def test_clients_are_asked_for_certificates(self):
        store, balancer = self.trust_store("one"), self.load_balancer()
        listener = self.https_listener(balancer, MutualAuthentication={"Mode": "passthrough"})
        shown = lambda: self.elb.describe_listeners(ListenerArns=[listener])["Listeners"][0]["MutualAuthentication"]
        self.assertEqual(shown(), {"Mode": "passthrough"})
        modify = lambda **given: self.elb.modify_listener(ListenerArn=listener, **given)
        verify = {"Mode": "verify", "TrustStoreArn": store, "IgnoreClientCertificateExpiry": True}
        modify(MutualAuthentication=verify)
        self.assertEqual(shown(), {**verify, "AdvertiseTrustStoreCaNames": "off"})
        modify(DefaultActions=[fixed("other")])
        self.assertEqual(shown()["Mode"], "verify")
        for code, given in (
            ("ValidationError", {"Mode": "sometimes"}),
            ("ValidationError", {"Mode": "verify"}),
            ("ValidationError", {"Mode": "off", "TrustStoreArn": store}),
            ("TrustStoreNotFound", {"Mode": "verify", "TrustStoreArn": store + "0"}),
        ):
            self.refused(code, modify, str(given), MutualAuthentication=given)
        modify(MutualAuthentication={"Mode": "off"})
        self.assertEqual(shown(), {"Mode": "off"})
        plain = self.listener(balancer)
        self.refused("ValidationError", self.elb.modify_listener, ListenerArn=plain, MutualAuthentication=verify)

    # --- WAF and Shield

    def web_acl(self, name):
        visible = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": False, "MetricName": name}
        given = {"DefaultAction": {"Allow": {}}, "VisibilityConfig": visible}
        return self.waf.create_web_acl(Name=name, Scope="REGIONAL", **given)["Summary"]["ARN"]

    def test_a_load_balancer_has_one_web_acl(self):
        one, two, arn = self.web_acl("one"), self.web_acl("two"), self.load_balancer()["LoadBalancerArn"]
        shown = lambda: self.waf.get_web_acl_for_resource(ResourceArn=arn).get("WebACL")
        self.assertIsNone(shown())
        self.waf.associate_web_acl(WebACLArn=one, ResourceArn=arn)
        self.waf.associate_web_acl(WebACLArn=two, ResourceArn=arn)
        self.assertEqual(shown()["ARN"], two)
        self.waf.disassociate_web_acl(ResourceArn=arn)
        self.assertIsNone(shown())
        for acl, resource in ((one + "0", arn), (one, arn + "0")):
            call, code = self.waf.associate_web_acl, "WAFNonexistentItemException"
            self.refused(code, call, WebACLArn=acl, ResourceArn=resource)
        self.refused("WAFNonexistentItemException", self.waf.get_web_acl_for_resource, ResourceArn=arn + "0")

    def test_protection_needs_a_subscription(self):
        arn = self.load_balancer()["LoadBalancerArn"]
        protect = lambda: self.shield.create_protection(Name="web", ResourceArn=arn)["ProtectionId"]
        self.assertEqual(self.shield.get_subscription_state()["SubscriptionState"], "INACTIVE")
        self.refused("ResourceNotFoundException", protect)
        self.shield.create_subscription()
        self.assertEqual(self.shield.get_subscription_state()["SubscriptionState"], "ACTIVE")
        self.refused("ResourceNotFoundException", self.shield.describe_protection, ResourceArn=arn)
        protection = protect()
        self.assertEqual(self.shield.describe_protection(ResourceArn=arn)["Protection"]["Id"], protection)
        self.shield.delete_protection(ProtectionId=protection)

    # --- rules

    def test_priorities_may_be_shifted_through_those_in_use(self):
        listener = self.listener()
        one, two, three = (self.rule(listener, priority)["RuleArn"] for priority in (1, 2, 3))
        shift = lambda **wanted: [{"RuleArn": arn, "Priority": priority} for arn, priority in wanted.items()]
        self.elb.set_rule_priorities(RulePriorities=shift(**{one: 2, two: 3, three: 4}))
        self.assertEqual(self.priorities(listener), {one: "2", two: "3", three: "4"})
        self.elb.set_rule_priorities(RulePriorities=shift(**{one: 3, two: 2}))
        self.assertEqual(self.priorities(listener), {one: "3", two: "2", three: "4"})
        default = next(rule for rule in self.elb.describe_rules(ListenerArn=listener)["Rules"] if rule["IsDefault"])
        for code, wanted in (
            ("PriorityInUse", {one: 4}),
            ("PriorityInUse", {one: 7, two: 7}),
            ("ValidationError", {one: 50001}),
            ("RuleNotFound", {one + "0": 5}),
            ("OperationNotPermitted", {default["RuleArn"]: 5}),
        ):
            self.refused(code, self.elb.set_rule_priorities, str(wanted), RulePriorities=shift(**wanted))
        self.assertEqual(self.priorities(listener), {one: "3", two: "2", three: "4"})

    def test_regular_expressions_are_kept_and_returned(self):
        listener = self.listener()
        for number, condition in enumerate(
            (
                regex("host-header", "HostHeaderConfig", "^[^.]+\\.example\\.com$"),
                regex("path-pattern", "PathPatternConfig", "^/v[0-9]+/", "^/api$"),
                regex("http-header", "HttpHeaderConfig", "^bot", HttpHeaderName="User-Agent"),
            )
        ):
            arn = self.rule(listener, number + 1, [condition])["RuleArn"]
            described = self.elb.describe_rules(RuleArns=[arn])["Rules"][0]["Conditions"][0]
            config = next(key for key in condition if key.endswith("Config"))
            self.assertEqual(described[config], condition[config])
        arn = self.rule(listener, 9, [{"Field": "host-header", "RegexValues": ["^a\\."]}])["RuleArn"]
        described = self.elb.describe_rules(RuleArns=[arn])["Rules"][0]["Conditions"][0]
        self.assertEqual(described["HostHeaderConfig"], {"RegexValues": ["^a\\."]})

    def test_conditions_return_in_both_forms(self):
        listener = self.listener()
        for priority, given in enumerate((HOST, {"Field": "host-header", "Values": ["www.example.com"]})):
            returned = self.rule(listener, priority + 1, [given])["Conditions"]
            self.assertEqual(returned, [{**HOST, "Values": ["www.example.com"]}])

    def test_conditions_keep_their_limits(self):
        listener = self.listener()
        for number, fits in enumerate(
            (
                [HOST, path("/a", "/b", "/c"), methods("GET")],
                [path("/*", "/a?", "/b*"), header("X-A", "*", "?")],
                [sources("10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16", "2001:db8::/32")],
                [header("A", "1"), header("A", "2"), query("a"), query("b")],
                [path("/" + "a" * 127)],
                [methods("PROPFIND", "X-OWN_METHOD")],
                [query("\\*\\?\\*\\?\\*\\?")],
                [regex("path-pattern", "PathPatternConfig", "^/[*+]+\\++$")],
            )
        ):
            self.rule(listener, number + 1, fits)
        for why, refused in (
            ("6 values", [HOST, path("/a", "/b", "/c"), header("X-A", "1", "2")]),
            ("4 values in a condition", [path("/a", "/b", "/c", "/d")]),
            ("6 wildcards", [path("/*/*", "/?/?", "/*/?")]),
            ("129 characters", [path("/" + "a" * 128)]),
            ("129 characters of a regular expression", [regex("path-pattern", "PathPatternConfig", "a" * 129)]),
            ("regular expressions of a query", [{"Field": "query-string", "RegexValues": ["a"]}]),
            ("look-around", [regex("path-pattern", "PathPatternConfig", "^/(?!a)")]),
            ("a possessive quantifier", [regex("path-pattern", "PathPatternConfig", "^/a*+")]),
            ("a Unicode class", [regex("path-pattern", "PathPatternConfig", "^/\\p{L}")]),
            ("a back-reference", [regex("path-pattern", "PathPatternConfig", "^/(a)\\1")]),
            ("values and regular expressions", [regex("host-header", "HostHeaderConfig", "a", Values=["a.b"])]),
            ("no value", [path()]),
            ("an empty value", [path("")]),
            ("two host conditions", [HOST, HOST]),
            ("a host without a dot", [{"Field": "host-header", "Values": ["localhost"]}]),
            ("a character no path may have", [path("/a b")]),
            ("a small letter in a method", [methods("get")]),
            ("an address without a prefix", [sources("10.0.0.1")]),
            ("no address", [sources("here/8")]),
            ("the host header by its name", [header("Host", "a")]),
            ("an unknown field", [{"Field": "cookie", "Values": ["a"]}]),
        ):
            self.refused("ValidationError", self.rule, why, listener=listener, priority=99, conditions=refused)
            kept = self.elb.describe_rules(ListenerArn=listener)["Rules"][0]
            given = {"RuleArn": kept["RuleArn"], "Conditions": refused}
            self.refused("ValidationError", self.elb.modify_rule, why, **given)
            self.assertEqual(self.elb.describe_rules(RuleArns=[kept["RuleArn"]])["Rules"], [kept], why)
        for priority in (0, 50001):
            self.refused("ValidationError", self.rule, str(priority), listener=listener, priority=priority)

    def test_a_load_balancer_has_a_hundred_rules(self):
        balancer = self.load_balancer()
        one, other = self.listener(balancer), self.listener(balancer, Port=81)
        for priority in range(1, 100):
            self.rule(one, priority)
        self.rule(other, 1)
        self.refused("TooManyRules", self.rule, listener=other, priority=2)

    def test_transforms_are_kept_replaced_and_reset(self):
        listener = self.listener()
        rewrite = {"Rewrites": [{"Regex": "^/api/", "Replace": "/"}]}
        too_long = {"Rewrites": [{"Regex": "a" * 1025, "Replace": ""}]}
        url = {"Type": "url-rewrite", "UrlRewriteConfig": rewrite}
        host = {"Type": "host-header-rewrite", "HostHeaderRewriteConfig": rewrite}
        created = self.rule(listener, 1, Transforms=[url])
        arn = created["RuleArn"]
        transforms = lambda: self.elb.describe_rules(RuleArns=[arn])["Rules"][0]["Transforms"]
        self.assertEqual((created["Transforms"], transforms()), ([url], [url]))
        self.elb.modify_rule(RuleArn=arn, Actions=[fixed("changed")])
        self.assertEqual(transforms(), [url], "unchanged by another change")
        self.elb.modify_rule(RuleArn=arn, Transforms=[url, host])
        self.assertEqual(transforms(), [url, host])
        for why, given in (
            ("both", {"Transforms": [url], "ResetTransforms": True}),
            ("two of a type", {"Transforms": [url, url]}),
            ("the other's config", {"Transforms": [{"Type": "url-rewrite", "HostHeaderRewriteConfig": rewrite}]}),
            ("1,025 characters", {"Transforms": [{**url, "UrlRewriteConfig": too_long}]}),
        ):
            self.refused("ValidationError", self.elb.modify_rule, why, RuleArn=arn, **given)
        self.elb.modify_rule(RuleArn=arn, ResetTransforms=True)
        self.assertEqual(transforms(), [])

    def test_only_rules_that_exist_are_deleted(self):
        listener = self.listener()
        arn = self.rule(listener, 1)["RuleArn"]
        self.elb.delete_rule(RuleArn=arn)
        self.refused("RuleNotFound", self.elb.delete_rule, RuleArn=arn)

    # --- actions

    def test_actions_return_with_their_defaults(self):
        listener, group = self.listener(), self.group()
        both = {"TargetGroupArn": group, "Weight": 1}
        config = {"TargetGroups": [both], "TargetGroupStickinessConfig": {"Enabled": False}}
        whole = {"Type": "forward", "TargetGroupArn": group, "ForwardConfig": config}
        for priority, given in enumerate(({"Type": "forward", "TargetGroupArn": group}, forward(group))):
            self.assertEqual(self.rule(listener, priority + 1, actions=[given])["Actions"], [whole])
        returned = self.rule(listener, 9, actions=[redirect(Protocol="HTTPS")])["Actions"][0]["RedirectConfig"]
        placeholders = {"Host": "#{host}", "Path": "/#{path}", "Port": "#{port}", "Query": "#{query}"}
        self.assertEqual(returned, {"Protocol": "HTTPS", "StatusCode": "HTTP_301", **placeholders})

    def test_a_client_secret_is_taken_and_never_returned(self):
        listener = self.https_listener()
        actions = [{**oidc(), "Order": 1}, {**fixed(), "Order": 2}]
        made = self.elb.create_rule(ListenerArn=listener, Priority=1, Conditions=[HOST], Actions=actions)["Rules"][0]
        shown = self.elb.describe_rules(RuleArns=[made["RuleArn"]])["Rules"][0]["Actions"]
        config = shown[0]["AuthenticateOidcConfig"]
        self.assertNotIn("ClientSecret", config)
        self.assertEqual(config["ClientId"], "id")
        self.assertEqual((config["SessionTimeout"], config["Scope"]), (604800, "openid"))
        self.assertEqual(config["AuthenticationRequestExtraParams"], {"loginHint": "X"})
        self.assertEqual([action["Order"] for action in shown], [1, 2])
        self.elb.modify_rule(RuleArn=made["RuleArn"], Actions=[{**oidc(ClientSecret="t"), "Order": 1}, actions[1]])

    def test_who_is_authenticated_is_checked(self):
        listener = self.https_listener()
        claim = {"Format": "single-string", "Name": "aud", "Values": ["a"]}
        steps = [
            (oidc(), None),
            (oidc(ClientSecret=""), "ValidationError"),
            (oidc(TokenEndpoint="http://i/t"), "ValidationError"),
            (oidc(SessionTimeout=604801), "ValidationError"),
            (oidc(OnUnauthenticatedRequest="ask"), "ValidationError"),
            (cognito(), None),
            (cognito(UserPoolDomain=""), "ValidationError"),
            (jwt(), None),
            (jwt(AdditionalClaims=[claim] * 10), None),
            (jwt(AdditionalClaims=[claim] * 11), "ValidationError"),
            (jwt(AdditionalClaims=[{**claim, "Name": "exp"}]), "ValidationError"),
            (jwt(AdditionalClaims=[{**claim, "Values": []}]), "ValidationError"),
            (jwt(JwksEndpoint="http://k"), "ValidationError"),
        ]
        for priority, (step, refusal) in enumerate(steps, 1):
            actions = [{**step, "Order": 1}, {**fixed(), "Order": 2}]
            given = {"ListenerArn": listener, "Priority": priority, "Conditions": [HOST], "Actions": actions}
            with self.subTest(step=step):
                if refusal:
                    self.refused(refusal, self.elb.create_rule, str(step), **given)
                else:
                    self.elb.create_rule(**given)
        twice = [{**oidc(), "Order": 1}, {**jwt(), "Order": 2}, {**fixed(), "Order": 3}]
        self.refused(
            "InvalidLoadBalancerAction",
            self.elb.create_rule,
            ListenerArn=listener,
            Priority=99,
            Conditions=[HOST],
            Actions=twice,
        )

    def test_actions_keep_their_limits(self):
        balancer = self.load_balancer()
        http, https = self.listener(balancer), self.https_listener(balancer)
        groups = [self.group(f"web-{number}") for number in range(6)]
        self.rule(http, 1, actions=[forward(*groups[:5])])
        sticky = lambda seconds: {"TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": seconds}}
        self.rule(http, 2, actions=[forward(groups[0], **sticky(604800))])
        for code, why, listener, actions in (
            ("ValidationError", "6 target groups", http, [forward(*groups)]),
            ("ValidationError", "a target group twice", http, [forward(groups[0], groups[0])]),
            ("ValidationError", "8 days", http, [forward(groups[0], **sticky(604801))]),
            ("TargetGroupNotFound", "no such target group", http, [forward(groups[0] + "0")]),
            ("ValidationError", "303", http, [redirect(Host="a.example.com", StatusCode="HTTP_303")]),
            ("ValidationError", "port 65536", http, [redirect(Port="65536")]),
            ("ValidationError", "a relative path", http, [redirect(Path="a")]),
            ("ValidationError", "129 characters", http, [redirect(Path="/" + "a" * 128)]),
            ("InvalidLoadBalancerAction", "a loop", http, [redirect()]),
            ("InvalidLoadBalancerAction", "HTTPS to HTTP", https, [redirect(Protocol="HTTP")]),
            ("ValidationError", "1,025 characters", http, [fixed("a" * 1025)]),
            ("ValidationError", "a status of 302", http, [fixed("", "302")]),
            ("InvalidLoadBalancerAction", "two last actions", http, [{**fixed(), "Order": 1}, {**fixed(), "Order": 2}]),
        ):
            self.refused(code, self.rule, why, listener=listener, priority=99, actions=actions)

    def test_a_target_group_serves_one_load_balancer(self):
        one, other = self.load_balancer("one"), self.load_balancer("other")
        group = self.group()
        served = lambda: self.elb.describe_target_groups(TargetGroupArns=[group])["TargetGroups"][0]["LoadBalancerArns"]
        self.assertEqual(served(), [])
        listener = self.listener(one)
        rule = self.rule(listener, 1, actions=[forward(group)])
        self.assertEqual(served(), [one["LoadBalancerArn"]])
        given = {"balancer": other, "DefaultActions": [forward(group)]}
        self.refused("TargetGroupAssociationLimit", self.listener, "default action", **given)
        empty = self.listener(other)
        given = {"listener": empty, "priority": 1, "actions": [forward(group)]}
        self.refused("TargetGroupAssociationLimit", self.rule, "rule", **given)
        given = {"ListenerArn": empty, "DefaultActions": [forward(group)]}
        self.refused("TargetGroupAssociationLimit", self.elb.modify_listener, "changed default action", **given)
        self.refused("ResourceInUse", self.elb.delete_target_group, TargetGroupArn=group)
        self.elb.delete_rule(RuleArn=rule["RuleArn"])
        self.assertEqual(served(), [])
        self.rule(empty, 1, actions=[forward(group)])
        self.elb.delete_load_balancer(LoadBalancerArn=other["LoadBalancerArn"])
        self.assertEqual(served(), [])
        self.elb.delete_target_group(TargetGroupArn=group)

    def test_a_load_balancer_has_a_hundred_target_groups(self):
        listener = self.listener()
        groups = [self.group(f"g-{number}") for number in range(101)]
        for number in range(20):
            rule = self.rule(listener, number + 1, actions=[forward(*groups[number * 5 : number * 5 + 5])])
        code = "TooManyUniqueTargetGroupsPerLoadBalancer"
        self.refused(code, self.rule, listener=listener, priority=99, actions=[forward(groups[100])])
        # What a change frees counts as free.
        self.elb.modify_rule(RuleArn=rule["RuleArn"], Actions=[forward(groups[100])])

    # --- load balancers and listeners

    def test_creating_again_returns_what_exists(self):
        balancer = self.load_balancer()
        self.assertEqual(self.load_balancer()["LoadBalancerArn"], balancer["LoadBalancerArn"])
        self.refused("DuplicateLoadBalancerName", self.load_balancer, Scheme="internal")
        group = self.group()
        self.assertEqual(self.group(), group)
        self.refused("DuplicateTargetGroupName", self.group, Port=81)
        self.assertEqual(len(self.elb.describe_target_groups()["TargetGroups"]), 1)
        listener = self.listener(balancer)
        self.assertEqual(self.listener(balancer), listener)
        self.refused("DuplicateListener", self.listener, balancer=balancer, DefaultActions=[fixed("other")])

    def test_names_are_checked(self):
        for name in ("a" * 33, "-a", "a-", "a_b", "", "internal-a"):
            self.refused("ValidationError", self.load_balancer, name, name=name)
        for name in ("a" * 33, "-a", "a-", "a_b", ""):
            self.refused("ValidationError", self.group, name, name=name)
        self.load_balancer("a" * 32)
        self.group("a" * 32)

    def test_subnets_and_security_groups_are_checked(self):
        public, internal = self.account["subnets"]["elb"], self.account["subnets"]["internal-elb"]
        for code, given in (
            ("ValidationError", {"Subnets": public[:1]}),
            ("InvalidConfigurationRequest", {"Subnets": [public[0], internal[0]]}),
            ("SubnetNotFound", {"Subnets": [public[0], "subnet-1"]}),
            ("InvalidSecurityGroup", {"SecurityGroups": ["sg-1"]}),
            ("InvalidScheme", {"Scheme": "public"}),
        ):
            self.refused(code, self.load_balancer, str(given), **given)
        self.assertEqual(self.load_balancer()["Scheme"], "internet-facing")

    def test_protected_load_balancers_stay(self):
        arn = self.load_balancer()["LoadBalancerArn"]
        protect = lambda value: self.elb.modify_load_balancer_attributes(
            LoadBalancerArn=arn, Attributes=[{"Key": "deletion_protection.enabled", "Value": value}]
        )
        protect("true")
        self.refused("OperationNotPermitted", self.elb.delete_load_balancer, LoadBalancerArn=arn)
        protect("false")
        self.elb.delete_load_balancer(LoadBalancerArn=arn)
        self.assertEqual(self.elb.describe_load_balancers()["LoadBalancers"], [])

    def test_listeners_have_the_certificates_they_need(self):
        balancer = self.load_balancer()
        first, second = self.account["certificates"].values()
        self.refused("ValidationError", self.listener, "none", balancer=balancer, Protocol="HTTPS", Port=443)
        unknown = [{"CertificateArn": first + "0"}]
        given = {"balancer": balancer, "Protocol": "HTTPS", "Port": 443, "Certificates": unknown}
        self.refused("CertificateNotFound", self.listener, "unknown", **given)
        self.refused("SSLPolicyNotFound", self.https_listener, balancer=balancer, SslPolicy="ELBSecurityPolicy-None")
        listener = self.listener(balancer, Protocol="HTTPS", Port=443, Certificates=[{"CertificateArn": first}])
        for _ in range(2):
            self.elb.add_listener_certificates(ListenerArn=listener, Certificates=[{"CertificateArn": second}])
        described = self.elb.describe_listeners(ListenerArns=[listener])["Listeners"][0]
        self.assertEqual(described["Certificates"], [{"CertificateArn": first}])
        held = lambda: [
            (each["CertificateArn"], each["IsDefault"])
            for each in self.elb.describe_listener_certificates(ListenerArn=listener)["Certificates"]
        ]
        self.assertEqual(held(), [(first, True), (second, False)])
        self.elb.modify_listener(ListenerArn=listener, DefaultActions=[fixed("other")])
        self.assertEqual(held(), [(first, True), (second, False)], "kept")
        given = {"ListenerArn": listener, "Certificates": [{"CertificateArn": first}]}
        self.refused("OperationNotPermitted", self.elb.remove_listener_certificates, "default", **given)
        given = {"ListenerArn": listener, "Certificates": unknown}
        self.refused("CertificateNotFound", self.elb.add_listener_certificates, **given)
        policy = self.elb.describe_listeners(ListenerArns=[self.listener(balancer)])["Listeners"][0].get("SslPolicy")
        self.assertIsNone(policy, "of an HTTP listener")

    def test_a_listener_has_a_port_of_its_own(self):
        balancer = self.load_balancer()
        self.listener(balancer)
        other = self.listener(balancer, Port=81)
        self.refused("DuplicateListener", self.elb.modify_listener, ListenerArn=other, Port=80)
        self.elb.modify_listener(ListenerArn=other, Port=82)

    def test_account_limits_are_the_defaults(self):
        limits = {each["Name"]: each["Max"] for each in self.elb.describe_account_limits()["Limits"]}
        self.assertEqual(limits["targets-per-application-load-balancer"], "1000")
        self.assertEqual(limits["rules-per-application-load-balancer"], "100")

    # --- attributes

    def test_attributes_have_their_defaults(self):
        balancer = self.load_balancer()["LoadBalancerArn"]
        of_balancer = self.elb.describe_load_balancer_attributes(LoadBalancerArn=balancer)
        of_group = self.elb.describe_target_group_attributes(TargetGroupArn=self.group())
        for attributes, key, want in (
            (of_balancer, "idle_timeout.timeout_seconds", "60"),
            (of_balancer, "routing.http2.enabled", "true"),
            (of_balancer, "load_balancing.cross_zone.enabled", "true"),
            (of_group, "deregistration_delay.timeout_seconds", "300"),
            (of_group, "stickiness.lb_cookie.duration_seconds", "86400"),
        ):
            values = {each["Key"]: each["Value"] for each in attributes["Attributes"]}
            self.assertEqual(values.get(key), want, key)

    def test_attributes_are_checked(self):
        balancer, group = self.load_balancer()["LoadBalancerArn"], self.group()
        of = lambda values: [{"Key": key, "Value": value} for key, value in values.items()]
        for code, values in (
            (None, {"idle_timeout.timeout_seconds": "4000", "health_check_logs.s3.prefix": "a"}),
            (None, {"access_logs.s3.enabled": "true", "access_logs.s3.bucket": "logs"}),
            ("ValidationError", {"idle_timeout.timeout_seconds": "4001"}),
            ("ValidationError", {"idle_timeout.timeout_seconds": "a minute"}),
            ("ValidationError", {"load_balancing.cross_zone.enabled": "false"}),
            ("ValidationError", {"routing.http3.enabled": "true"}),
            ("InvalidConfigurationRequest", {"connection_logs.s3.enabled": "true"}),
        ):
            given = {"LoadBalancerArn": balancer, "Attributes": of(values)}
            if code:
                self.refused(code, self.elb.modify_load_balancer_attributes, str(values), **given)
            else:
                self.elb.modify_load_balancer_attributes(**given)
        for code, values in (
            (None, {"deregistration_delay.timeout_seconds": "3600", "slow_start.duration_seconds": "30"}),
            (None, {"stickiness.type": "app_cookie", "stickiness.app_cookie.cookie_name": "session"}),
            ("ValidationError", {"deregistration_delay.timeout_seconds": "3601"}),
            ("ValidationError", {"slow_start.duration_seconds": "29"}),
            ("ValidationError", {"stickiness.app_cookie.cookie_name": "AWSALBAPP"}),
            ("ValidationError", {"load_balancing.algorithm.type": "random"}),
            ("ValidationError", {"preserve_client_ip.enabled": "true"}),
            ("InvalidConfigurationRequest", {"stickiness.app_cookie.cookie_name": ""}),
            ("InvalidConfigurationRequest", {"load_balancing.algorithm.anomaly_mitigation": "on"}),
            (
                "InvalidConfigurationRequest",
                {"load_balancing.cross_zone.enabled": "false", "stickiness.enabled": "true"},
            ),
        ):
            given = {"TargetGroupArn": group, "Attributes": of(values)}
            if code:
                self.refused(code, self.elb.modify_target_group_attributes, str(values), **given)
            else:
                self.elb.modify_target_group_attributes(**given)

    def test_the_target_control_port_is_kept_and_never_changed(self):
        self.group("asked", TargetControlPort=3000)
        found = self.elb.describe_target_groups(Names=["asked"])["TargetGroups"][0]
        self.assertEqual(found["TargetControlPort"], 3000)
        self.group("silent")
        found = self.elb.describe_target_groups(Names=["silent"])["TargetGroups"][0]
        self.assertNotIn("TargetControlPort", found)
        for code, name, port in (
            (None, "asked", 3000),
            ("DuplicateTargetGroupName", "asked", 3001),
            ("DuplicateTargetGroupName", "silent", 3000),
        ):
            given = {"name": name, "TargetControlPort": port}
            if code:
                self.refused(code, self.group, f"{name} {port}", **given)
            else:
                self.group(**given)

    # --- targets

    def test_targets_are_registered_by_address_and_port(self):
        group = self.group()
        pod = self.account["nodes"][0]["pods"][0]
        self.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": pod}, {"Id": pod, "Port": 81}])
        unused = ("unused", "Target.NotInUse")
        self.assertEqual(self.health(group), [(pod, 80, *unused), (pod, 81, *unused)])
        self.elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": pod, "Port": 81}, {"Id": "10.0.9.9"}])
        self.assertEqual(self.health(group), [(pod, 80, *unused)], "what isn't registered is no error")

    def test_targets_drain_while_their_group_is_in_use(self):
        group = self.group()
        one, other = self.account["nodes"][0]["pods"][:2]
        self.rule(self.listener(), 1, actions=[forward(group)])
        self.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one}, {"Id": other}])
        self.assertEqual(self.health(group), [(one, 80, "healthy", None), (other, 80, "healthy", None)])
        self.elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": one}])
        draining = (one, 80, "draining", "Target.DeregistrationInProgress")
        self.assertEqual(self.health(group), [draining, (other, 80, "healthy", None)])
        self.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": one}])
        self.assertEqual(self.health(group), [(one, 80, "healthy", None), (other, 80, "healthy", None)])
        delay = {"Key": "deregistration_delay.timeout_seconds", "Value": "0"}
        self.elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=[delay])
        self.elb.deregister_targets(TargetGroupArn=group, Targets=[{"Id": one}])
        self.assertEqual(self.health(group), [(other, 80, "healthy", None)])

    def test_targets_in_a_zone_that_is_not_enabled_are_unused(self):
        group = self.group()
        balancer = self.load_balancer(Subnets=self.account["subnets"]["elb"][1:])
        self.rule(self.listener(balancer), 1, actions=[forward(group)])
        first, second = (node["pods"][0] for node in self.account["nodes"])
        self.elb.register_targets(TargetGroupArn=group, Targets=[{"Id": first}, {"Id": second}])
        self.assertEqual(self.health(group), [(first, 80, "unused", "Target.NotInUse"), (second, 80, "healthy", None)])
        nodes = self.group("nodes", TargetType="instance")
        self.rule(self.listener(balancer, Port=81), 1, actions=[forward(nodes)])
        for node, want in zip(self.account["nodes"], ("unused", "healthy")):
            self.elb.register_targets(TargetGroupArn=nodes, Targets=[{"Id": node["id"]}])
            state = {each[0]: each[2] for each in self.health(nodes)}[node["id"]]
            self.assertEqual(state, want, node["zone"])

    def test_targets_are_what_the_target_group_takes(self):
        pods, nodes = self.group(), self.group("nodes", TargetType="instance", Port=30080)
        node = self.account["nodes"][0]
        for code, group, target in (
            ("ValidationError", pods, {"Id": node["id"]}),
            ("ValidationError", pods, {"Id": "8.8.8.8"}),
            ("ValidationError", pods, {"Id": "127.0.0.1"}),
            ("ValidationError", pods, {"Id": "192.168.0.1"}),
            ("ValidationError", pods, {"Id": "fd00::1"}),
            ("ValidationError", nodes, {"Id": node["address"]}),
            ("InvalidTarget", nodes, {"Id": "i-0123456789abcdef0"}),
        ):
            self.refused(code, self.elb.register_targets, str(target), TargetGroupArn=group, Targets=[target])
        self.elb.register_targets(TargetGroupArn=nodes, Targets=[{"Id": node["id"]}])
        self.elb.register_targets(TargetGroupArn=pods, Targets=[{"Id": "192.168.0.1", "AvailabilityZone": "all"}])
        self.assertEqual(self.health(nodes), [(node["id"], 30080, "unused", "Target.NotInUse")])
        thousand = [{"Id": f"10.0.{100 + number // 250}.{number % 250 + 1}"} for number in range(1000)]
        self.refused("TooManyTargets", self.elb.register_targets, TargetGroupArn=pods, Targets=thousand)

    def test_grpc_is_checked_by_its_own_codes(self):
        arn = self.group(ProtocolVersion="GRPC")
        described = lambda: self.elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"][0]
        self.assertEqual(described()["Matcher"], {"GrpcCode": "12"})
        self.assertEqual(described()["HealthCheckPath"], "/AWS.ALB/healthcheck")
        self.elb.modify_target_group(TargetGroupArn=arn, Matcher={"GrpcCode": "0-99"})
        self.assertEqual(described()["Matcher"], {"GrpcCode": "0-99"})
        http = self.group("http")
        modified = self.elb.modify_target_group(TargetGroupArn=http, Matcher={"HttpCode": "200-299"})
        self.assertEqual(modified["TargetGroups"][0]["Matcher"], {"HttpCode": "200-299"})

    def test_an_application_load_balancer_behind_another_is_checked_over_http(self):
        asked = {"Protocol": "TCP", "TargetType": "alb", "HealthCheckProtocol": "HTTP", "HealthCheckPath": "/ok"}
        arn = self.group("front", **asked)
        self.assertEqual(self.group("front", **asked), arn)
        described = self.elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"][0]
        shown = [described[key] for key in ("HealthCheckProtocol", "HealthCheckPath", "Matcher")]
        self.assertEqual(shown, ["HTTP", "/ok", {"HttpCode": "200-399"}])
        front = self.load_balancer("front", Type="network")
        listener = self.listener(front, Protocol="TCP", DefaultActions=[forward(arn)])
        listeners = self.elb.describe_listeners(ListenerArns=[listener])["Listeners"]
        self.assertNotIn("SslPolicy", listeners[0])
        behind = self.load_balancer("behind")
        target = {"Id": behind["LoadBalancerArn"], "Port": 80}
        register = lambda: self.elb.register_targets(TargetGroupArn=arn, Targets=[target])
        self.refused("InvalidTarget", register)
        self.listener(behind)
        register()
        self.assertEqual([state for _, _, state, *_ in self.health(arn)], ["healthy"])

    # --- tags, EC2, ACM

    def test_tags_are_limited_and_go_with_their_resource(self):
        arn, group = self.load_balancer()["LoadBalancerArn"], self.group()
        tags = [{"Key": f"k{number}", "Value": "v"} for number in range(51)]
        self.elb.add_tags(ResourceArns=[arn], Tags=tags[:50])
        self.refused("TooManyTags", self.elb.add_tags, ResourceArns=[arn], Tags=tags[50:])
        self.refused("ValidationError", self.elb.describe_tags, ResourceArns=[arn] * 21)
        self.elb.delete_target_group(TargetGroupArn=group)
        self.refused("TargetGroupNotFound", self.elb.describe_tags, ResourceArns=[group])
        listener = self.listener({"LoadBalancerArn": arn})
        default = self.elb.describe_rules(ListenerArn=listener)["Rules"][0]["RuleArn"]
        self.assertEqual(self.elb.describe_tags(ResourceArns=[default])["TagDescriptions"][0]["Tags"], [])

    def test_interfaces_are_found_by_any_of_their_addresses(self):
        first, second = self.account["nodes"]
        for addresses, want in (
            ([first["address"]], [first]),
            ([first["pods"][2]], [first]),
            ([first["pods"][0], first["pods"][1], second["pods"][0], "10.0.9.9"], [first, second]),
            (["10.0.9.9"], []),
        ):
            filters = [
                {"Name": "addresses.private-ip-address", "Values": addresses},
                {"Name": "vpc-id", "Values": [self.account["vpc"]]},
            ]
            found = self.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
            found = {each["NetworkInterfaceId"] for each in found}
            self.assertEqual(found, {node["interface"] for node in want}, addresses)

    def test_security_groups_in_use_stay(self):
        vpc, nodes = self.account["vpc"], self.account["node_security_group"]
        free, backend, front = (
            self.ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
            for name in ("free", "backend", "front")
        )
        permission = [{"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": backend}]}]
        self.ec2.authorize_security_group_ingress(GroupId=nodes, IpPermissions=permission)
        balancer = self.load_balancer(SecurityGroups=[front])["LoadBalancerArn"]
        for group in (nodes, backend, front):
            self.refused("DependencyViolation", self.ec2.delete_security_group, group, GroupId=group)
        self.ec2.revoke_security_group_ingress(GroupId=nodes, IpPermissions=permission)
        self.elb.delete_load_balancer(LoadBalancerArn=balancer)
        for group in (free, backend, front):
            self.ec2.delete_security_group(GroupId=group)

    def test_security_groups_and_permissions_are_named_as_they_may_be(self):
        vpc = self.account["vpc"]
        for name, description, refused in (
            ("[k8s] of {demo}!", "a;b", False),
            ("x" * 256, "long", True),
            ("über", "letters", True),
            ("sg-1", "like an id", True),
            ("quoted", 'a "word"', True),
        ):
            given = {"GroupName": name, "Description": description, "VpcId": vpc}
            if refused:
                self.refused("InvalidParameterValue", self.ec2.create_security_group, name, **given)
            else:
                group = self.ec2.create_security_group(**given)["GroupId"]
        for description, refused in (("web, 10.0.0.0/8", False), ("a|b", True)):
            ranges = [{"CidrIp": "10.0.0.0/8", "Description": description}]
            permission = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "IpRanges": ranges}
            given = {"GroupId": group, "IpPermissions": [permission]}
            if refused:
                self.refused("InvalidParameterValue", self.ec2.authorize_security_group_ingress, description, **given)
            else:
                self.ec2.authorize_security_group_ingress(**given)

    def test_no_security_group_is_associated_with_another_vpc(self):
        listed = self.ec2.describe_security_group_vpc_associations()
        self.assertEqual(listed["SecurityGroupVpcAssociations"], [])

    def test_certificates_are_listed_with_their_names(self):
        listed = self.acm.list_certificates(CertificateStatuses=["ISSUED"])["CertificateSummaryList"]
        names = {each["DomainName"]: each["SubjectAlternativeNameSummaries"] for each in listed}
        self.assertEqual(sorted(names["www.example.com"]), ["example.com", "www.example.com"])
        self.assertFalse(listed[0]["HasAdditionalSubjectAlternativeNames"])
        other = self.acm.list_certificates(Includes={"keyTypes": ["EC_prime256v1"]})["CertificateSummaryList"]
        self.assertEqual(other, [])

    def test_imports_are_judged_and_keep_their_tags(self):
        tags = [{"Key": "k", "Value": "v"}]
        ec, other, rsa = key_pair(ec_key()), key_pair(ec_key()), key_pair(rsa_key(2048))
        arn = self.acm.import_certificate(**ec, Tags=tags)["CertificateArn"]
        for given, refused in (
            ("another's key", {**ec, "PrivateKey": other["PrivateKey"]}),
            ("a key that ACM does not take", key_pair(rsa_key(2560))),
            ("no chain", key_pair(ec_key(), issuer="authority")),
            ("tags in place", {**other, "CertificateArn": arn, "Tags": tags}),
            ("another kind of key in place", {**rsa, "CertificateArn": arn}),
            ("the place of one that is not imported", {**rsa, "CertificateArn": self.requested()}),
        ):
            self.refused("ValidationException", self.acm.import_certificate, given, **refused)
        self.assertEqual(self.acm.import_certificate(**other, CertificateArn=arn)["CertificateArn"], arn)
        self.assertEqual(self.acm.list_tags_for_certificate(CertificateArn=arn)["Tags"], tags)
        got = self.acm.get_certificate(CertificateArn=arn)["Certificate"]
        self.assertEqual(got.encode(), other["Certificate"])
        self.assertEqual(self.tagging.get_resources(TagFilters=[{"Key": "other"}])["ResourceTagMappingList"], [])
        listed = self.tagging.get_resources(ResourceTypeFilters=["acm:certificate"], TagFilters=[{"Key": "k"}])
        self.assertEqual([each["ResourceARN"] for each in listed["ResourceTagMappingList"]], [arn])

    def requested(self):
        return self.acm.request_certificate(DomainName="www.example.com")["CertificateArn"]

    def test_certificates_in_use_stay(self):
        arn = self.acm.import_certificate(**key_pair(ec_key()))["CertificateArn"]
        keys = {"keyTypes": ["EC_prime256v1"]}
        used = lambda: self.acm.list_certificates(Includes=keys)["CertificateSummaryList"][0]["InUse"]  # noqa: E731
        listener = self.listener(Protocol="HTTPS", Port=443, Certificates=[{"CertificateArn": arn}])
        self.assertTrue(used())
        self.refused("ResourceInUseException", self.acm.delete_certificate, CertificateArn=arn)
        self.elb.delete_listener(ListenerArn=listener)
        self.assertFalse(used())
        self.acm.delete_certificate(CertificateArn=arn)


if __name__ == "__main__":
    unittest.main()
