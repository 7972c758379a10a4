//! What was measured in, the lines of a table and the page benches/proxy.md out.

use std::process::Command;

use super::peers::Peer;
use super::proxy::Measured;
use crate::step;

/// A line for each peer.
pub(super) fn lines(measured: &Measured) -> Vec<String> {
    let base = &measured.rounds[0];
    let scenario = measured.scenario;
    let peers = scenario.peers.iter().zip(&measured.rounds).enumerate();
    peers
        .map(|(at, (peer, rounds))| {
            let cost = Spread::of(rounds.clone());
            let ratio = Spread::of(rounds.iter().zip(base).map(|(own, base)| own / base).collect());
            let goal = match scenario.goal {
                Some(goal) if matches!(peer, Peer::Portcullis | Peer::PortcullisOwn) => {
                    let kept = if ratio.median <= goal { "kept" } else { "missed" };
                    format!("≤ {goal}: {kept}")
                }
                Some(_) | None => String::new(),
            };
            let title = if at == 0 { scenario.title } else { "" };
            format!(
                "| {title} | {} | {:.2} | {:.2} | {:.2}–{:.2} | {goal} |\n",
                peer.name(),
                cost.median,
                ratio.median,
                ratio.least,
                ratio.most
            )
        })
        .collect()
}

struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(mut numbers: Vec<f64>) -> Self {
        numbers.sort_by(f64::total_cmp);
        let at = |index: usize| numbers.get(index).copied().unwrap_or(f64::NAN);
        let last = numbers.len().saturating_sub(1);
        Self {
            least: at(0),
            // Of two in the middle, the mean.
            median: f64::midpoint(at(last / 2), at(last.div_ceil(2))),
            most: at(last),
        }
    }
}

pub(super) fn page(table: &[Measured], rounds: u32, seconds: u32) -> String {
    let said = |program: &str, arguments: &[&str]| {
        let said = step::output(Command::new(program).args(arguments)).unwrap_or_default();
        said.lines().next().unwrap_or_default().to_owned()
    };
    let nginx = said("sh", &["-c", "nginx -v 2>&1"]);
    let openssl = said("openssl", &["version"]);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').take(3).collect::<Vec<_>>().join(" ");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rows: String = table.iter().flat_map(lines).collect();
    format!(
        "# What the proxy costs\n\n\
         Written by `cargo xtask bench proxy`, {}: {rounds} turns of {seconds} s for each proxy, in alternating order; the\n\
         median, and of the ratios in each turn the median and the range. {}; {nginx}; {openssl}; Linux {},\n\
         {cores} cores, load averages at the end: {load}. Where these are above 2, others used the cores, too, and the ranges are wide.\n\n\
         Every proxy has one thread and one core for itself; load (h2load) and backend (nginx, three ports) have another. The\n\
         load comes at a fixed rate, and every request must succeed. The cost is the processor time of the proxy, user and\n\
         system, in seconds per 100,000 requests; of idle connections it is resident memory in KiB for each. All peers set\n\
         `X-Forwarded-For`, `-Proto`, `-Port`, `-Host`, `X-Request-Id` and `traceparent`; no access log is written, no session is resumed.\n\
         Configurations: [proxy/](proxy).\n\n\
         | what | proxy | cost | ratio | range | goal |\n|---|---|---|---|---|---|\n{rows}",
        said("date", &["-u", "+%Y-%m-%d"]),
        said("haproxy", &["-v"]),
        said("uname", &["-r"]),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_an_even_number_is_a_mean() {
        for (numbers, want) in [
            (vec![3.0, 1.0, 2.0], (1.0, 2.0, 3.0)),
            (vec![4.0, 1.0], (1.0, 2.5, 4.0)),
            (vec![7.0], (7.0, 7.0, 7.0)),
        ] {
            let got = Spread::of(numbers.clone());
            assert_eq!((got.least, got.median, got.most), want, "{numbers:?}");
        }
    }
}
