//! What adopting found and did in, lines for people out.

use std::fmt::Write as _;

use portcullis_model::ChangeSummary;

use super::bring::Brought;
use crate::adopt::lease::State;
use crate::adopt::{Balancer, Report, Standing, Steps};
use crate::cli::plan::{changes, problems};
use crate::cli::terminal::line;

pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    let incumbent = &report.incumbent;
    line(&mut text, format_args!("AWS Load Balancer Controller"));
    let lease = &incumbent.lease;
    match &incumbent.state {
        State::Absent => line(&mut text, format_args!("  there is no lease {lease}")),
        State::Released => line(&mut text, format_args!("  lease {lease} was given back")),
        State::Renewed { holder } => line(
            &mut text,
            format_args!("  {holder} renews lease {lease}: it is running"),
        ),
        State::Expired { holder } => {
            line(
                &mut text,
                format_args!("  lease {lease} is not renewed any more; {holder} held it last"),
            );
        }
    }
    for webhook in &incumbent.webhooks {
        let resources = webhook.resources.join(", ");
        line(
            &mut text,
            format_args!(
                "  ! webhook {} of {} fails closed: while nobody answers it, {resources} cannot be written",
                webhook.name, webhook.configuration
            ),
        );
    }
    let bindings = incumbent.bindings;
    line(
        &mut text,
        format_args!(
            "  TargetGroupBindings: {} of Ingresses, {} of Services, {} written by hand",
            bindings.of_ingresses, bindings.of_services, bindings.by_hand
        ),
    );
    if !incumbent.services.is_empty() {
        let names: Vec<String> = incumbent.services.iter().map(ToString::to_string).collect();
        line(
            &mut text,
            format_args!("  Services that stay its own: {}", names.join(", ")),
        );
    }
    text.push('\n');
    for balancer in &report.load_balancers {
        load_balancer(&mut text, balancer);
    }
    if !report.shared.changes.is_empty() {
        line(&mut text, format_args!("Shared by all load balancers"));
        changes(&mut text, &report.shared.changes);
        text.push('\n');
    }
    if !report.problems.is_empty() {
        line(&mut text, format_args!("Other problems"));
        problems(&mut text, &report.problems);
        text.push('\n');
    }
    let summary = &report.summary;
    if summary.calls == 0 {
        line(&mut text, format_args!("nothing would be changed"));
    } else {
        line(
            &mut text,
            format_args!(
                "{} to create, {} to update, {} to delete: {} calls",
                summary.create, summary.update, summary.delete, summary.calls
            ),
        );
    }
    text + &steps(&report.steps)
}

fn load_balancer(text: &mut String, balancer: &Balancer) {
    let members: Vec<String> = balancer.members.iter().map(ToString::to_string).collect();
    let of = match members.as_slice() {
        [] => String::new(),
        members => format!(" of {}", members.join(", ")),
    };
    let standing = match balancer.standing {
        Standing::Found => "exists, and becomes ours",
        Standing::Ours => "is ours",
        Standing::Elsewhere => {
            "is ours, for Ingresses of another controller name or ingress class, and stays so"
        }
        Standing::Moved => {
            "is ours under another controller name or ingress class, and is recorded anew for this one"
        }
        Standing::New => "does not exist yet",
        Standing::Leaving => "goes with its Ingresses, which are being deleted",
        Standing::Unserved => "exists, and is of no class that is served here: it stays as it is",
        Standing::Orphaned => "is asked for by no Ingress: see portcullis doctor --orphans",
    };
    line(
        text,
        format_args!("Load balancer {}{of}: {standing}", balancer.id),
    );
    for resource in &balancer.resources {
        line(
            text,
            format_args!("  {} {}: {}", resource.kind, resource.id, resource.name),
        );
    }
    changes(text, &balancer.changes);
    problems(text, &balancer.problems);
    text.push('\n');
}

pub(super) fn brought(brought: &Brought) -> String {
    let mut text = String::new();
    let members: Vec<String> = brought.members.iter().map(ToString::to_string).collect();
    line(
        &mut text,
        format_args!("Load balancer {} of {}", brought.id, members.join(", ")),
    );
    changes(&mut text, &brought.tags);
    text.push('\n');
    line(&mut text, format_args!("{}", then(&brought.changes)));
    changes(&mut text, &brought.changes);
    text + &steps(&brought.steps)
}

fn then(changes: &[ChangeSummary]) -> String {
    match changes.len() {
        0 => "portcullis run then changes nothing".to_owned(),
        n => format!("portcullis run then makes {n} changes"),
    }
}

/// Of a command that shows nothing else.
pub(super) fn alone(steps: &Steps) -> String {
    match self::steps(steps) {
        text if text.is_empty() => "there is nothing to do\n".to_owned(),
        text => text,
    }
}

fn steps(steps: &Steps) -> String {
    let mut text = String::new();
    let lists = [("", &steps.done), ("", &steps.left), ("! ", &steps.obstacles)];
    for (mark, list) in lists {
        for step in list {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{mark}{step}");
        }
    }
    text
}
