//! What a pass found in; conditions, Ingress statuses and Events as users see them out.

use portcullis::cluster::object::{Ingress, IngressAddress};
use portcullis::reconcile::outcome::Outcome;
use portcullis::report::events::{Note, Regarding, Tone, notes, refused};
use portcullis::report::status;
use portcullis_model::{ObjectName, Problem};

use crate::model::{join, line};

/// The status of a load balancer and of its members after its first pass.
pub(crate) fn of_pass(outcome: &Outcome) -> String {
    let mut out = format!("load balancer {}\n", outcome.id);
    let status = status::load_balancer(outcome, &Default::default(), "2026-11-24T12:00:00Z");
    for condition in status.expect("a first pass changes the status").conditions {
        let stand = format!("{}={} {}", condition.kind, condition.status, condition.reason);
        line(&mut out, 1, format!("{stand}: {}", condition.message));
    }
    for member in &outcome.members {
        line(&mut out, 0, format!("ingress {}", member.meta.name));
        for address in status::ingress(outcome, member) {
            line(&mut out, 1, show_address(&address));
        }
    }
    let record = Regarding {
        api_version: "portcullis.dev/v1alpha1",
        kind: "LoadBalancer",
        name: ObjectName::cluster(outcome.id.to_string()),
        uid: String::new(),
    };
    out + &events(notes(outcome, Some(&record)))
}

/// What an Ingress is told that is part of no load balancer.
pub(crate) fn of_refused(ingress: &Ingress, problems: &[Problem]) -> String {
    format!(
        "ingress {}\n  refused\n{}",
        ingress.meta.name,
        events(refused(ingress, problems))
    )
}

fn events(mut notes: Vec<Note>) -> String {
    notes.sort();
    let mut out = String::new();
    for note in notes {
        let tone = match note.tone {
            Tone::Normal => "Normal",
            Tone::Warning => "Warning",
        };
        let on = format!("{} {}", note.regarding.kind, note.regarding.name);
        line(
            &mut out,
            1,
            format!("event {tone} {} on {on}: {}", note.reason, note.text),
        );
    }
    out
}

fn show_address(address: &IngressAddress) -> String {
    let place = address.hostname.as_ref().or(address.ip.as_ref());
    let ports: Vec<String> = address
        .ports
        .iter()
        .map(|port| match &port.error {
            Some(error) => format!("{}/{} {error}", port.port, port.protocol),
            None => format!("{}/{}", port.port, port.protocol),
        })
        .collect();
    format!(
        "{} ports {}",
        place.map_or("nowhere", |place| place),
        join(&ports, ", ")
    )
}
