//! Rows in, ratios to HAProxy on standard output and in benches/proxy.md out.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::measure::measure;
use super::peers::Peer;
use super::programs::Programs;
use super::report;
use super::rows::ROWS;
use super::scenario::{Load, Scenario};
use crate::files;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Only these rows; an unknown name has them listed
    #[arg(long, value_name = "ROW", value_delimiter = ',')]
    only: Vec<String>,
    /// How often every proxy has its turn, in alternating order
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) rounds: u32,
    /// Length of a turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) seconds: u32,
    /// Leave these peers out: nginx, envoy, traefik
    #[arg(long, value_name = "PEER", value_delimiter = ',', value_parser = ["nginx", "envoy", "traefik"])]
    without: Vec<String>,
    /// This program instead of one built from the checkout
    #[arg(long, value_name = "FILE")]
    portcullis: Option<PathBuf>,
    /// Flags of `portcullis serve`
    #[arg(last = true, value_name = "FLAGS")]
    pub(super) flags: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<()> {
    let rows = wanted(&arguments.only)?;
    let is_without = |peer: &Peer| {
        arguments
            .without
            .iter()
            .any(|name| peer.name().eq_ignore_ascii_case(name))
    };
    let peers = rows.iter().flat_map(|row| row.peers.iter().copied());
    let peers: Vec<Peer> = peers.filter(|peer| !is_without(peer)).collect();
    let own = rows.iter().any(|row| matches!(row.load, Load::Own(_)));
    let programs = Programs::ready(arguments.portcullis.as_deref(), &peers, own)?;
    let mut table = Vec::new();
    for row in rows {
        let measured = measure(row, arguments, &programs).with_context(|| format!("row {}", row.name))?;
        write!(std::io::stdout(), "{}", report::lines(&measured).concat())?;
        table.push(measured);
    }
    let is_whole = arguments.only.is_empty()
        && arguments.without.is_empty()
        && arguments.flags.is_empty()
        && arguments.portcullis.is_none();
    if is_whole {
        let path = files::root().join("benches/proxy.md");
        let page = report::page(&table, &programs.left_out, arguments);
        fs::write(&path, page).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn wanted(names: &[String]) -> Result<Vec<&'static Scenario>> {
    static ALL: &[Scenario] = &ROWS;
    if let Some(unknown) = names.iter().find(|name| ALL.iter().all(|row| row.name != **name)) {
        let known: Vec<&str> = ALL.iter().map(|row| row.name).collect();
        bail!("no row is called {unknown}; there are {}", known.join(", "));
    }
    let named = |row: &&Scenario| names.is_empty() || names.iter().any(|name| name == row.name);
    Ok(ALL.iter().filter(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_name() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            wanted(&names).map(|rows| rows.iter().map(|row| row.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["tls", "http1"]).unwrap(), ["http1", "tls"]);
        assert_eq!(names(&[]).unwrap().len(), ROWS.len());
        assert!(names(&["htp"]).unwrap_err().to_string().contains("http1"));
    }
}
