//! A dry run for AWS in, a line for each resource and each change out.

use portcullis_aws::preview::{Document, Preview, SharedPreview};
use portcullis_model::{ChangeSummary, Resource};
use serde_json::Value;

use crate::model::line;

/// All of it but the tags, which say of every resource whose it is.
pub(crate) fn plan(document: &Document) -> String {
    let mut out = String::new();
    for preview in &document.load_balancers {
        load_balancer(&mut out, preview);
    }
    shared(&mut out, &document.shared);
    for problem in &document.problems {
        line(&mut out, 0, format!("problem {problem}"));
    }
    let summary = document.summary;
    line(
        &mut out,
        0,
        format!(
            "{} to create, {} to update, {} to delete, {} calls",
            summary.create, summary.update, summary.delete, summary.calls
        ),
    );
    out
}

fn load_balancer(out: &mut String, preview: &Preview) {
    line(
        out,
        0,
        format!("load balancer {} on {}", preview.id, preview.provider),
    );
    resources(out, &preview.resources);
    changes(out, &preview.changes);
    if !preview.problems.is_empty() {
        line(out, 1, "problems");
        for problem in &preview.problems {
            line(out, 2, problem);
        }
    }
}

fn shared(out: &mut String, shared: &SharedPreview) {
    line(out, 0, "shared");
    resources(out, &shared.resources);
    changes(out, &shared.changes);
}

fn resources(out: &mut String, resources: &[Resource<Value>]) {
    line(out, 1, "resources");
    for resource in resources {
        line(out, 2, format!("{} {}", resource.kind, resource.id));
        for (field, value) in resource.spec.as_object().into_iter().flatten() {
            if field != "Tags" {
                line(out, 3, format!("{field} {value}"));
            }
        }
    }
}

fn changes(out: &mut String, changes: &[ChangeSummary]) {
    line(out, 1, "changes");
    for change in changes {
        let ChangeSummary {
            kind,
            id,
            call,
            reason,
            ..
        } = change;
        line(out, 2, format!("{call} {kind} {id}: {reason}"));
    }
}
