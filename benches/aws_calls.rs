//! Two workloads in; how many calls of the AWS API they cost, created, changed and left alone, against a goal, out.
//!
//! `cargo xtask bench aws-calls` runs it; `benches/README.md` says how to read it. Exits with 1 where a goal is missed.

#[path = "aws_calls/site.rs"]
mod site;
#[path = "aws_calls/workload.rs"]
mod workload;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use self::site::{Counted, Site};
use self::workload::{INGRESSES, SERVICES, SLICES, Workload, endpoint};

/// How long calls are counted: after the last address, after a change, and after a start. The AWS Load Balancer
/// Controller was measured so.
const AFTER_CREATION: Duration = Duration::from_secs(12);
const AFTER_CHANGE: Duration = Duration::from_secs(8);
const AFTER_START: Duration = Duration::from_secs(25);

/// What a row may cost.
#[derive(Clone, Copy, Debug)]
enum Goal {
    /// So many calls.
    Calls(usize),
    /// So many calls that read, beside those that write.
    Reads(usize),
}

impl Goal {
    fn is_met(self, counted: Counted) -> bool {
        match self {
            Self::Calls(most) => counted.calls <= most,
            Self::Reads(most) => counted.calls - counted.writes <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::Calls(0) => "0".into(),
            Self::Calls(most) => format!("≤ {most}"),
            Self::Reads(most) => format!("writes + {most}"),
        }
    }
}

struct Row {
    workload: &'static str,
    what: &'static str,
    counted: Counted,
    goal: Goal,
    /// Calls of the AWS Load Balancer Controller 3.5.0.
    incumbent: Option<u32>,
    /// By name, where the goal is missed.
    calls: Vec<String>,
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "workload": self.workload, "what": self.what,
            "calls": self.counted.calls, "writes": self.counted.writes,
            "goal": self.goal.text(), "met": self.goal.is_met(self.counted),
            "incumbent": self.incumbent, "seconds": self.counted.took.as_secs_f64(),
        })
    }
}

/// Where the workloads differ.
#[derive(Clone, Copy)]
struct Goals {
    created: usize,
    deleted: Goal,
    restarted: usize,
}

/// Calls of the AWS Load Balancer Controller 3.5.0 with default settings but WAF, Shield and Gateway off.
#[derive(Clone, Copy)]
struct Incumbent {
    created: Option<u32>,
    ingress_annotated: Option<u32>,
    service_annotated: Option<u32>,
    path_added: Option<u32>,
    endpoint_removed: Option<u32>,
    restarted: Option<u32>,
    deleted: Option<u32>,
}

fn measure(workload: Workload, goals: Goals, incumbent: Incumbent, further: &[String], rows: &mut Vec<Row>) {
    let mut site = Site::start(workload, further);
    let mut row = |site: &Site, what, counted: Counted, goal: Goal, incumbent| {
        eprintln!("{} {what}: {} calls", workload.name, counted.calls);
        rows.push(Row {
            workload: workload.name,
            what,
            counted,
            goal,
            incumbent,
            calls: if goal.is_met(counted) {
                Vec::new()
            } else {
                site.calls()
            },
        });
    };
    let created = site.create_all(AFTER_CREATION);
    row(
        &site,
        "created",
        created,
        Goal::Calls(goals.created),
        incumbent.created,
    );
    let annotated = json!({"metadata": {"annotations": {"example.com/note": "nobody reads it"}}});
    let ingress = site.count(AFTER_CHANGE, |site| {
        site.patch(&format!("{INGRESSES}/i0"), &annotated)
    });
    row(
        &site,
        "annotation nobody reads, on an Ingress",
        ingress,
        Goal::Calls(0),
        incumbent.ingress_annotated,
    );
    let service = site.count(AFTER_CHANGE, |site| {
        site.patch(&format!("{SERVICES}/s0"), &annotated)
    });
    row(
        &site,
        "annotation nobody reads, on a Service",
        service,
        Goal::Calls(0),
        incumbent.service_annotated,
    );
    let path = site.count(AFTER_CHANGE, |site| {
        site.patch(&format!("{INGRESSES}/i1"), &workload.ingress(1, &["/", "/added"]));
    });
    row(
        &site,
        "one path added",
        path,
        Goal::Reads(1),
        incumbent.path_added,
    );
    let removed = site.count(AFTER_CHANGE, |site| {
        let left = json!({"endpoints": [endpoint(2, 0, &site.account.nodes)]});
        site.patch(&format!("{SLICES}/s2-s"), &left);
    });
    row(
        &site,
        "one endpoint removed",
        removed,
        Goal::Calls(1),
        incumbent.endpoint_removed,
    );
    let deleted = site.count(AFTER_CHANGE, |site| site.delete(&format!("{INGRESSES}/i3")));
    row(
        &site,
        "one Ingress deleted",
        deleted,
        goals.deleted,
        incumbent.deleted,
    );
    site.stop();
    let restarted = site.count(AFTER_START, Site::run);
    row(
        &site,
        "restart, nothing changed",
        restarted,
        Goal::Calls(goals.restarted),
        incumbent.restarted,
    );
    site.stop();
}

fn table(rows: &[Row]) -> String {
    let mut out = String::from("| what | workload | calls | of them writes | goal | incumbent | seconds |\n");
    out.push_str("|---|---|---|---|---|---|---|\n");
    for row in rows {
        let incumbent = row
            .incumbent
            .map_or_else(|| "–".to_owned(), |calls| calls.to_string());
        let missed = if row.goal.is_met(row.counted) {
            ""
        } else {
            " MISSED"
        };
        out.push_str(&format!(
            "| {} | {} | {} | {} | {}{missed} | {incumbent} | {:.1} |\n",
            row.what,
            row.workload,
            row.counted.calls,
            row.counted.writes,
            row.goal.text(),
            row.counted.took.as_secs_f64(),
        ));
    }
    out
}

fn main() -> ExitCode {
    let mut as_json = false;
    let mut only = None;
    let mut further = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            // Cargo says so to every benchmark.
            "--bench" => {}
            "-o" => as_json = arguments.next().as_deref() == Some("json"),
            "--only" => only = arguments.next(),
            "--" => further = arguments.by_ref().collect(),
            other => {
                eprintln!(
                    "error: {other:?} is not known; -o json, --only WORKLOAD, -- FLAGS OF THE PROGRAM are"
                );
                return ExitCode::from(2);
            }
        }
    }
    let mut rows = Vec::new();
    for (workload, goals, incumbent) in [
        (
            Workload {
                name: "own-20",
                ingresses: 20,
                group: None,
            },
            Goals {
                created: 170,
                deleted: Goal::Calls(9),
                restarted: 10,
            },
            Incumbent {
                created: Some(471),
                ingress_annotated: Some(16),
                service_annotated: Some(14),
                path_added: Some(17),
                endpoint_removed: Some(2),
                restarted: Some(283),
                deleted: Some(9),
            },
        ),
        (
            Workload {
                name: "group-50",
                ingresses: 50,
                group: Some("g"),
            },
            // Tags of 50 target groups are read in three calls.
            Goals {
                created: 180,
                deleted: Goal::Reads(1),
                restarted: 12,
            },
            Incumbent {
                created: Some(328),
                ingress_annotated: Some(70),
                service_annotated: Some(62),
                path_added: None,
                endpoint_removed: None,
                restarted: None,
                deleted: None,
            },
        ),
    ] {
        if only.as_deref().is_none_or(|name| name == workload.name) {
            measure(workload, goals, incumbent, &further, &mut rows);
        }
    }
    let met = rows.iter().all(|row| row.goal.is_met(row.counted));
    let text = if as_json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        format!("{:#}\n", json!({"met": met, "rows": rows}))
    } else {
        table(&rows)
    };
    for row in rows.iter().filter(|row| !row.calls.is_empty()) {
        eprintln!("{} {}: {:?}", row.workload, row.what, row.calls);
    }
    if let Err(error) = std::io::stdout().write_all(text.as_bytes()) {
        eprintln!("error: the figures could not be written: {error}");
        return ExitCode::FAILURE;
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
