//! A route table in, its text for people out: the same bytes for the same table.

use std::collections::BTreeMap;
use std::fmt;

use portcullis_model::PathMatch;

use crate::table::{Action, HostPattern, ListenerTable, PathIndex, Route, RouteTable};
use crate::versions::Versions;

impl fmt::Display for RouteTable {
    /// Listeners; hosts with their paths and, behind the arrow, the rules that are tried; the rules' actions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listeners")?;
        for (port, listener) in &self.listeners {
            writeln!(f, "  {port} {}", Shown(self, listener))?;
        }
        writeln!(f, "hosts")?;
        let exact = self
            .hosts
            .exact
            .iter()
            .map(|(host, paths)| (host.to_string(), paths));
        let wildcard = self
            .hosts
            .wildcard
            .iter()
            .map(|(host, paths)| (format!("*.{host}"), paths));
        let suffix = self
            .hosts
            .suffix
            .iter()
            .map(|(host, paths)| (format!("glob:*.{host}"), paths));
        for part in [
            exact.collect::<BTreeMap<_, _>>(),
            wildcard.collect(),
            suffix.collect(),
        ] {
            for (host, paths) in part {
                write!(f, "  {host}\n{paths}")?;
            }
        }
        for HostPattern { host, paths, .. } in &self.hosts.patterns {
            write!(f, "  {host}\n{paths}")?;
        }
        let any = self.hosts.any.to_string();
        if !any.is_empty() {
            write!(f, "  any host\n{any}")?;
        }
        writeln!(f, "rules")?;
        for (index, route) in self.routes.iter().enumerate() {
            writeln!(f, "  {index}: {}", Shown(self, route))?;
        }
        Ok(())
    }
}

impl fmt::Display for PathIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, rule) in self.exact.iter() {
            writeln!(f, "    exact {path} → {rule}")?;
        }
        for (path, rule) in self.prefix.iter() {
            let slash = if path.is_empty() { "/" } else { "" };
            writeln!(f, "    prefix {path}{slash} → {rule}")?;
        }
        for (path, rule) in &self.scanned {
            let path = path.as_ref().map_or("any path".to_owned(), PathMatch::to_string);
            writeln!(f, "    {path} → {rule}")?;
        }
        Ok(())
    }
}

/// A part of a table, which names its backends by number.
struct Shown<'a, T>(&'a RouteTable, &'a T);

impl fmt::Display for Shown<'_, ListenerTable> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(table, listener) = self;
        let protocol = if listener.https { "https" } else { "http" };
        let quic = if listener.alternative.is_some() {
            ", HTTP/3 too"
        } else {
            ""
        };
        let apart = if listener.is_apart { " alone" } else { "" };
        write!(f, "{protocol}, served at {}{apart}{quic}, else ", listener.served)?;
        if let Some(gate) = &listener.gate {
            write!(f, "({gate}) ")?;
        }
        write!(f, "{}", Shown(table, &listener.default))?;
        if let Some(refusal) = &listener.refusal {
            write!(f, "; answers 503: {refusal}")?;
        }
        if let Some(ranges) = &listener.admitted {
            let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            write!(f, "; admits {}", ranges.join(", "))?;
        }
        Ok(())
    }
}

impl fmt::Display for Shown<'_, Route> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(table, route) = self;
        let ports: Vec<String> = route.ports.iter().map(ToString::to_string).collect();
        write!(f, "{}", ports.join(","))?;
        for condition in &route.conditions {
            write!(f, " {condition}")?;
        }
        if route.clients > 0 {
            let asked = table.clients.certificates(route.clients);
            write!(f, " client certificates {asked}")?;
        }
        if route.versions == Versions::Newest {
            f.write_str(" over TLS 1.3 alone")?;
        }
        if let Some(filters) = &route.filters {
            write!(f, " ({filters})")?;
        }
        if let Some(gate) = &route.gate {
            write!(f, " ({gate})")?;
        }
        write!(f, " {}", Shown(table, &route.action))
    }
}

impl fmt::Display for Shown<'_, Action> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(table, action) = self;
        match action {
            Action::Forward(forward) => {
                f.write_str("forward")?;
                for choice in &forward.choices {
                    let number = choice.backend.and_then(|number| usize::try_from(number).ok());
                    match number.and_then(|number| table.backends.ids.get(number)) {
                        Some(backend) => write!(f, " {backend}")?,
                        None => f.write_str(" nothing")?,
                    }
                    if forward.choices.len() > 1 {
                        write!(f, " ×{}", choice.weight)?;
                    }
                }
                Ok(())
            }
            Action::Redirect(redirect) => write!(f, "{redirect}"),
            Action::Fixed(page) => write!(f, "fixed {}", page.status.as_u16()),
            Action::Refused(why) => write!(f, "503: {why}"),
        }
    }
}
