//! Nothing in, the AWS API in memory out, with the list of calls made to it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::account::{self, Account, AccountSpec};
use crate::http::{Response, exchange};
use crate::process::{Process, folder, wait};
use crate::program;

const READY_WITHIN: Duration = Duration::from_secs(60);

/// moto with the corrections of `tests/moto/corrected.py`, each started one with a state of its own.
#[derive(Debug)]
pub struct Moto {
    process: Process,
    /// `127.0.0.1:PORT`.
    address: String,
}

/// One call to the AWS API, printed as `elbv2:CreateRule`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// As the AWS CLI names it: `elbv2`, `ec2`, `acm`.
    pub service: String,
    pub action: String,
    /// The request's body: a form (elbv2, ec2) or JSON (acm).
    pub body: String,
}

impl Call {
    /// Whether it changes anything, by the convention of AWS's names.
    pub fn writes(&self) -> bool {
        !["Describe", "List", "Get"]
            .iter()
            .any(|reads| self.action.starts_with(reads))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.service, self.action)
    }
}

impl Moto {
    /// Starts it and waits until it listens. Panics with the log when that fails.
    pub fn start() -> Moto {
        let (python, script) = (program::python(), program::script("corrected.py"));
        let arguments = [script.display().to_string(), "--port".to_owned(), "0".to_owned()];
        let process = Process::start("moto", folder("moto"), &python, &arguments);
        let address = wait(&[&process], READY_WITHIN, || {
            process
                .log()
                .lines()
                .find_map(|line| line.strip_prefix("moto is ready: http://").map(str::to_owned))
        });
        let address = address.unwrap_or_else(|how| panic!("{how}"));
        let moto = Moto { process, address };
        moto.control("recorder/reset-recording");
        moto
    }

    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The variables with which an AWS SDK, or a program that uses one, talks to it.
    pub fn environment(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            // Otherwise an SDK without a region asks the machine's metadata service.
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ])
    }

    /// Forgets everything, then makes an account. What it takes isn't recorded.
    pub fn account(&self, spec: &AccountSpec) -> Account {
        self.control("recorder/stop-recording");
        account::make(&self.endpoint(), spec)
    }

    /// Forgets everything, then makes again each request of a recording, one JSON object a line. Random numbers begin
    /// where they began when it was recorded, so every id but those of default rules comes out as it did then. What it
    /// takes isn't recorded.
    pub fn replay(&self, recording: &Path) {
        self.control("recorder/stop-recording");
        self.control("reset");
        self.control("seed?a=7");
        let text =
            fs::read_to_string(recording).unwrap_or_else(|error| panic!("{}: {error}", recording.display()));
        for line in text.lines() {
            let request: Replayed =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
            let credential = format!(
                "Credential=test/20260101/us-east-1/{}/aws4_request",
                request.service
            );
            let authorization = format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0");
            let kind = request.content_type.as_deref().unwrap_or(FORM);
            let mut headers = vec![("authorization", authorization.as_str()), ("content-type", kind)];
            headers.extend(request.target.as_deref().map(|target| ("x-amz-target", target)));
            // Some were refused then, too: the ids of default rules were never the same.
            self.exchange("POST", "/", &headers, request.body.as_bytes());
        }
    }

    /// Forgets the calls recorded so far and records from now on.
    pub fn record(&self) {
        self.control("recorder/reset-recording");
        self.control("recorder/start-recording");
    }

    /// The calls since `record`, in their order.
    pub fn calls(&self) -> Vec<Call> {
        let text = self
            .exchange("GET", "/moto-api/recorder/download-recording", &[], b"")
            .text();
        text.lines().map(call).collect()
    }

    /// What it has logged so far: a line for each request, and the traceback of each failure.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// One call of a service with a query API: `elbv2`, `ec2` or `sts`. Returns AWS's XML; a refusal is a response.
    pub fn call(&self, service: &str, action: &str, parameters: &[(&str, &str)]) -> Response {
        self.call_as("test", service, action, parameters)
    }

    /// Each rule of the load balancers of these ARNs, behind the ARN, as `DescribeRules` describes it. Asked for one by one.
    pub fn rules(&self, of: impl Fn(&str) -> bool) -> impl Iterator<Item = (String, String)> {
        let mut balancers = self
            .call("elbv2", "DescribeLoadBalancers", &[])
            .texts("LoadBalancerArn");
        balancers.retain(|balancer| of(balancer));
        balancers.into_iter().flat_map(move |balancer| {
            let asked = [("LoadBalancerArn", balancer.as_str())];
            let listeners = self
                .call("elbv2", "DescribeListeners", &asked)
                .texts("ListenerArn");
            listeners.into_iter().flat_map(move |listener| {
                let asked = [("ListenerArn", listener.as_str())];
                let text = self.call("elbv2", "DescribeRules", &asked).text();
                let rules = text.split("<RuleArn>").skip(1);
                let rules = rules.map(|rule| (balancer.clone(), rule.to_owned()));
                rules.collect::<Vec<_>>()
            })
        })
    }

    /// The same with this access key, such as that of a role of another account.
    pub fn call_as(&self, key: &str, service: &str, action: &str, parameters: &[(&str, &str)]) -> Response {
        let (scope, version) = match service {
            "elbv2" => ("elasticloadbalancing", "2015-12-01"),
            "ec2" => ("ec2", "2016-11-15"),
            "sts" => ("sts", "2011-06-15"),
            other => panic!("{other} has no query API"),
        };
        let mut form = format!("Action={action}&Version={version}");
        for (name, value) in parameters {
            form.push_str(&format!("&{name}={}", percent_encoded(value)));
        }
        let credential = format!("Credential={key}/20260101/us-east-1/{scope}/aws4_request");
        let authorization = format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0");
        let headers = [("authorization", authorization.as_str()), ("content-type", FORM)];
        self.exchange("POST", "/", &headers, form.as_bytes())
    }

    /// One call of a service that speaks JSON: `acm`, `wafv2` or `shield`. Returns its answer; a refusal is a response.
    pub fn json(&self, service: &str, action: &str, body: &str) -> Response {
        let target = match service {
            "acm" => format!("CertificateManager.{action}"),
            "wafv2" => format!("AWSWAF_20190729.{action}"),
            "shield" => format!("AWSShield_20160616.{action}"),
            other => panic!("{other} does not speak JSON here"),
        };
        let credential = format!("Credential=test/20260101/us-east-1/{service}/aws4_request");
        let authorization = format!("AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0");
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", target.as_str()),
        ];
        self.exchange("POST", "/", &headers, body.as_bytes())
    }

    fn control(&self, path: &str) {
        let answer = self.exchange("POST", &format!("/moto-api/{path}"), &[], b"");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }

    fn exchange(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let connection = TcpStream::connect(&self.address);
        connection
            .and_then(|stream| exchange(stream, method, path, headers, body))
            .unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.log()))
    }
}

/// The body of a query API.
const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";

/// A request of a recording.
#[derive(Deserialize)]
struct Replayed {
    /// As its signature names it, such as `elasticloadbalancing`.
    service: String,
    body: String,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
}

/// What moto's recorder writes of a request.
#[derive(Deserialize)]
struct Recorded {
    headers: BTreeMap<String, String>,
    body: String,
    #[serde(default)]
    body_encoded: bool,
}

fn call(line: &str) -> Call {
    let recorded: Recorded = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
    let body = if recorded.body_encoded {
        base64(&recorded.body)
    } else {
        recorded.body.into_bytes()
    };
    let headers: Vec<_> = recorded.headers.into_iter().collect();
    call_of(&headers, String::from_utf8_lossy(&body).into_owned())
}

/// The call that a request is.
pub(crate) fn call_of(headers: &[(String, String)], body: String) -> Call {
    let header = |name: &str| {
        let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    // `Credential=KEY/DAY/REGION/SERVICE/aws4_request`, AWS Signature Version 4.
    let scope = header("authorization").split('/').nth(3).unwrap_or_default();
    let service = if scope == "elasticloadbalancing" {
        "elbv2"
    } else {
        scope
    };
    let of_form = body.split('&').find_map(|pair| pair.strip_prefix("Action="));
    // `CertificateManager.ListCertificates`, AWS JSON 1.1.
    let of_header = header("x-amz-target").rsplit('.').next().unwrap_or_default();
    let action = of_form.unwrap_or(of_header).to_owned();
    Call {
        service: service.to_owned(),
        action,
        body,
    }
}

fn percent_encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// RFC 4648, section 4. Panics on what moto's recorder never writes.
fn base64(text: &str) -> Vec<u8> {
    let mut decoded = Vec::new();
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.bytes().take_while(|&byte| byte != b'=') {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            other => panic!("{:?} in base64", char::from(other)),
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            let [.., byte] = (held >> bits).to_be_bytes();
            decoded.push(byte);
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (text, want) in [
            ("", ""),
            ("Zg==", "f"),
            ("Zm8=", "fo"),
            ("Zm9v", "foo"),
            ("Zm9vYmE=", "fooba"),
        ] {
            assert_eq!(base64(text), want.as_bytes(), "{text}");
        }
    }

    #[test]
    fn a_value_is_encoded_for_a_form() {
        for (text, want) in [
            ("a-b_c.d~9", "a-b_c.d~9"),
            ("/x y*", "%2Fx%20y%2A"),
            ("ü", "%C3%BC"),
        ] {
            assert_eq!(percent_encoded(text), want, "{text}");
        }
    }
}
