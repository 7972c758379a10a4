//! The models of the services in; whether each error of each operation that is called has a meaning out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use portcullis_aws::client::code_of;
use portcullis_test_support::python;

/// Prints `elbv2:CreateRule TooManyRules` for each error of the operations it is given.
const ERRORS: &str = r#"
import sys
import botocore.session
session = botocore.session.get_session()
for call in sys.argv[1:]:
    service, operation = call.split(":")
    model = session.get_service_model({"tag": "resourcegroupstaggingapi"}.get(service, service))
    if operation not in model.operation_names:
        sys.exit(f"{call} is no operation")
    for error in model.operation_model(operation).error_shapes:
        print(call, error.metadata.get("error", {}).get("code") or error.name)
"#;

/// What is called for the sake of credentials, by the SDKs themselves.
const OF_CREDENTIALS: [&str; 2] = ["sts:AssumeRole", "sts:AssumeRoleWithWebIdentity"];

/// Every `"service:Operation"` in the files of a folder that are not tests.
fn calls(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("tests") {
                calls(&path, found);
            }
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for quoted in code.split('"').skip(1).step_by(2) {
            let Some((service, operation)) = quoted.split_once(':') else {
                continue;
            };
            let named = operation.len() > 8 && operation.chars().all(|c| c.is_ascii_alphanumeric());
            let named = named && operation.starts_with(|c: char| c.is_ascii_uppercase());
            if named && ["elbv2", "ec2", "acm", "wafv2", "shield", "tag"].contains(&service) {
                found.insert(quoted.to_owned());
            }
        }
    }
}

#[test]
fn every_error_of_every_operation_that_is_called_has_a_meaning() {
    let mut called = BTreeSet::from(OF_CREDENTIALS.map(str::to_owned));
    calls(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut called);
    for (service, least) in [
        ("elbv2", 2),
        ("ec2", 2),
        ("acm", 2),
        ("wafv2", 2),
        ("shield", 2),
        ("tag", 1),
    ] {
        let count = called.iter().filter(|call| call.starts_with(service)).count();
        assert!(
            count >= least,
            "{count} operations of {service} were found: {called:?}"
        );
    }
    let output = Command::new(python())
        .args(["-c", ERRORS])
        .args(&called)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let errors: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    assert!(errors.len() > 200, "{} errors", errors.len());
    let lost: Vec<_> = errors
        .iter()
        .filter(|(call, name)| code_of(call, name).is_none())
        .collect();
    assert!(
        lost.is_empty(),
        "in no table of providers/aws/src/client/meanings.rs: {lost:#?}"
    );
}
