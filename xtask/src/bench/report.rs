//! What was measured in, the lines of a table and the page benches/proxy.md out.

use std::process::Command;

use super::measure::Measured;
use super::peers::Peer;
use super::proxy::Arguments;
use super::scenario::Goal;
use crate::step;

/// For each figure, a line for each peer.
pub(super) fn lines(measured: &Measured) -> Vec<String> {
    let figures = measured.scenario.figures.iter().enumerate();
    figures
        .flat_map(|(figure, about)| {
            let peers = measured.peers.iter().zip(&measured.rounds).enumerate();
            peers.map(move |(at, (peer, rounds))| {
                let of = |rounds: &[Vec<f64>]| rounds.iter().map(|round| round[figure]).collect::<Vec<f64>>();
                let (own, base) = (of(rounds), of(&measured.rounds[0]));
                // Memory may not have grown at all.
                let is_compared = !measured.peers[0].is_ours() && base.iter().all(|base| *base > 0.0);
                let ratio = Spread::of(own.iter().zip(base).map(|(own, base)| own / base).collect());
                let title = about.title.replace("{many}", &measured.many.to_string());
                let rate = measured.rate.map(|rate| rate.to_string()).unwrap_or_default();
                let title = title.replace("{rate}", &rate);
                let title = if at == 0 { title } else { String::new() };
                line(
                    &title,
                    *peer,
                    &Spread::of(own),
                    is_compared.then_some(&ratio),
                    about.goal,
                )
            })
        })
        .collect()
}

/// Where there is nothing to compare with, there is no ratio.
fn line(title: &str, peer: Peer, cost: &Spread, ratio: Option<&Spread>, goal: Goal) -> String {
    let goal = match (goal, ratio) {
        (Goal::Ratio(goal), Some(ratio)) if peer.is_ours() => kept(ratio.median, goal),
        (Goal::AtMost(goal), _) if peer.is_ours() => kept(cost.median, goal),
        (Goal::None | Goal::Ratio(_) | Goal::AtMost(_), _) => String::new(),
    };
    let (ratio, range) = ratio.map_or_else(
        || ("–".to_owned(), format!("{:.2}–{:.2}", cost.least, cost.most)),
        |ratio| {
            (
                format!("{:.2}", ratio.median),
                format!("{:.2}–{:.2}", ratio.least, ratio.most),
            )
        },
    );
    let (peer, cost) = (peer.name(), cost.median);
    format!("| {title} | {peer} | {cost:.2} | {ratio} | {range} | {goal} |\n")
}

fn kept(median: f64, goal: f64) -> String {
    let kept = if median <= goal { "kept" } else { "missed" };
    format!("≤ {goal}: {kept}")
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

pub(super) fn page(table: &[Measured], left_out: &[String], arguments: &Arguments) -> String {
    let Arguments { rounds, seconds, .. } = arguments;
    let left_out = match left_out {
        [] => String::new(),
        _ => format!(
            "Left out, for it could not be had on this machine: {}.\n",
            left_out.join("; ")
        ),
    };
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
         Every proxy has one thread and one core for itself; load (h2load, or benches/load) and backend (nginx, or benches/load; three ports) have another. The\n\
         load comes at a fixed rate, and every request must succeed. Unless the row says otherwise, figures are processor time of the\n\
         proxy, user and system, in seconds per 100,000 requests; memory is resident. All peers set `X-Forwarded-For`, `-Proto`,\n\
         `-Port`, `-Host`, `X-Request-Id` and `traceparent`, of which the last two are constants in Traefik. No access log is\n\
         written and no session is resumed but in their rows. Memory is of one turn. A ratio is to the first proxy of a row; where\n\
         there is none to compare with, the range is of the figure itself. Configurations: [proxy/](proxy).\n\
         {left_out}\n\
         | what | proxy | figure | ratio | range | goal |\n|---|---|---|---|---|---|\n{rows}",
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
