//! A plan in, lines for people out.

use portcullis_aws::preview::Document;
use portcullis_model::{ChangeSummary, LoadBalancer, Problem, Verb};

use crate::cli::terminal::line;

pub(super) fn text(document: &Document, balancers: &[LoadBalancer]) -> String {
    let mut text = String::new();
    for preview in &document.load_balancers {
        let mut members: Vec<String> = preview.members.iter().map(ToString::to_string).collect();
        if members.is_empty() {
            members.push("no Ingress any more".to_owned());
        }
        line(
            &mut text,
            format_args!("Load balancer {} of {}", preview.id, members.join(", ")),
        );
        let rules = balancers
            .iter()
            .filter(|balancer| balancer.id == preview.id)
            .flat_map(|b| &b.rules);
        for rule in rules {
            line(&mut text, format_args!("  {rule}"));
        }
        changes(&mut text, &preview.changes);
        problems(&mut text, &preview.problems);
        text.push('\n');
    }
    if !document.shared.changes.is_empty() {
        line(&mut text, format_args!("Shared by all load balancers"));
        changes(&mut text, &document.shared.changes);
        text.push('\n');
    }
    if !document.problems.is_empty() {
        line(&mut text, format_args!("Other problems"));
        problems(&mut text, &document.problems);
        text.push('\n');
    }
    let summary = &document.summary;
    line(
        &mut text,
        format_args!(
            "{} to create, {} to update, {} to delete: {} calls",
            summary.create, summary.update, summary.delete, summary.calls
        ),
    );
    text
}

pub(in crate::cli) fn changes(text: &mut String, changes: &[ChangeSummary]) {
    for change in changes {
        let sign = match change.verb {
            Verb::Create => '+',
            Verb::Update => '~',
            Verb::Delete => '-',
        };
        line(
            text,
            format_args!(
                "  {sign} {} {} ({}): {}",
                change.kind, change.id, change.call, change.reason
            ),
        );
        for field in &change.fields {
            line(
                text,
                format_args!("      {}: {} → {}", field.field, field.from, field.to),
            );
        }
    }
}

pub(in crate::cli) fn problems(text: &mut String, problems: &[Problem]) {
    for problem in problems {
        line(text, format_args!("  ! {problem}"));
        line(text, format_args!("    {}", problem.code.advice()));
    }
}
