//! A proxy's totals in, Prometheus text out. Labels come from what the proxy counts alone: no host or path makes a series.
//!
//! Written by hand, because the library for it would be built for nothing else where there is no controller. Format:
//! OpenMetrics 1.0.

use std::fmt::Write as _;

use portcullis_proxy::{Totals, View};

/// All that a proxy counts.
pub fn metrics(view: &View) -> String {
    text(&view.totals(), view.version())
}

fn text(totals: &Totals, version: u64) -> String {
    let mut out = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: &[(&str, u64)]| {
        let name = format!("portcullis_proxy_{name}");
        let suffix = if kind == "counter" { "_total" } else { "" };
        // Writing to a text does not fail.
        let _ = writeln!(out, "# HELP {name} {help}.\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(out, "{name}{suffix}{labels} {value}");
        }
    };
    let classes: Vec<(String, u64)> = totals
        .by_class
        .iter()
        .zip(1..)
        .map(|(count, class)| (format!("{{class=\"{class}xx\"}}"), *count))
        .collect();
    let classes: Vec<(&str, u64)> = classes
        .iter()
        .map(|(labels, count)| (&**labels, *count))
        .collect();
    family(
        "answers",
        "counter",
        "Answers by the first digit of their status",
        &classes,
    );
    for (name, help, count) in [
        (
            "own_answers",
            "Answers without a backend: redirects, fixed responses and failures",
            totals.without_backend,
        ),
        (
            "retries",
            "Requests sent again because a kept connection had closed, a new one broke off, or a target had begun nothing with them",
            totals.retried,
        ),
        (
            "unreached",
            "Connections that targets did not take",
            totals.unreached,
        ),
        (
            "overloaded",
            "Requests that found all targets with as many under way as they may have, or no file left to reach one",
            totals.overloaded,
        ),
        (
            "target_files_lacked",
            "Connections to targets not made, because as many files as may were open towards targets",
            totals.target_files_lacked,
        ),
        (
            "rate_limited",
            "Requests of clients that had as many answers as they may",
            totals.limited,
        ),
        (
            "given_up",
            "Requests that their clients gave up before there was an answer",
            totals.given_up,
        ),
        (
            "untaken",
            "Answers cut off because their clients took nothing more of them",
            totals.untaken,
        ),
        (
            "mirrored",
            "Copies of requests that another Service has answered",
            totals.mirrored,
        ),
        (
            "unmirrored",
            "Requests that were to be copied, and could not be",
            totals.unmirrored,
        ),
        (
            "connections_opened",
            "Connections from clients",
            totals.connections_opened,
        ),
        (
            "panics",
            "Connections that ended in a fault of the proxy",
            totals.panics,
        ),
        (
            "log_lines_lost",
            "Lines of the access log that were dropped",
            totals.lines_lost,
        ),
        ("swaps", "Changes of what is served", version),
    ] {
        family(name, "counter", help, &[("", count)]);
    }
    family(
        "connections_open",
        "gauge",
        "Connections from clients that are open",
        &[("", totals.connections_open)],
    );
    family(
        "target_files_open",
        "gauge",
        "Files open towards targets and identity providers: connections, and pipes for long bodies",
        &[("", u64::try_from(totals.target_files).unwrap_or(u64::MAX))],
    );
    out.push_str("# EOF\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_told_in_prometheus_words() {
        let totals = Totals {
            by_class: [0, 5, 1, 0, 2],
            unreached: 3,
            connections_open: 4,
            ..Totals::default()
        };
        let text = text(&totals, 7);
        for line in [
            "# TYPE portcullis_proxy_answers counter",
            "portcullis_proxy_answers_total{class=\"2xx\"} 5",
            "portcullis_proxy_answers_total{class=\"5xx\"} 2",
            "portcullis_proxy_unreached_total 3",
            "portcullis_proxy_swaps_total 7",
            "portcullis_proxy_connections_open 4",
        ] {
            assert!(text.lines().any(|got| got == line), "{line} in {text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn each_metric_is_documented() {
        let docs = include_str!("../../docs/proxy.md");
        for line in text(&Totals::default(), 0)
            .lines()
            .filter(|line| !line.starts_with('#'))
        {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(docs.contains(&format!("| `{name}`")), "{name}");
        }
    }
}
