//! Flags that name single listeners in, the sockets at which these are served out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;

use clap::Args;
use clap::error::{Error, ErrorKind};
use portcullis_model::Port;
use portcullis_proxy::Further;

use super::serve::port;
use crate::crd::load_balancer::Wire;

#[derive(Debug, Args)]
pub(super) struct FurtherArgs {
    /// Port of an HTTP listener, as listen-ports names it, that is served apart from all others, and where; may be
    /// given several times [default address: that of --http, at this port]
    #[arg(long, value_name = "PORT[=ADDR:PORT]", value_parser = also)]
    also_http: Vec<Also>,
    /// The same of an HTTPS listener [default address: that of --https, at this port]
    #[arg(long, value_name = "PORT[=ADDR:PORT]", value_parser = also)]
    also_https: Vec<Also>,
    /// Port of such a listener, and the one at which clients reach it, where that is not the one of its address; may be
    /// given several times
    #[arg(long, value_name = "PORT=PORT", value_parser = advertised)]
    advertised_port: Vec<(Port, Port)>,
}

#[derive(Clone, Copy, Debug)]
struct Also {
    port: Port,
    address: Option<SocketAddr>,
}

fn also(text: &str) -> Result<Also, String> {
    let (own, address) = match text.split_once('=') {
        Some((own, address)) => (own, Some(address)),
        None => (text, None),
    };
    let own = port(own)?;
    if [Port::HTTP, Port::HTTPS].contains(&own) {
        return Err("80 is served at --http and 443 at --https".to_owned());
    }
    let address = address.map(|address| address.parse().map_err(|error| format!("{address}: {error}")));
    Ok(Also {
        port: own,
        address: address.transpose()?,
    })
}

fn advertised(text: &str) -> Result<(Port, Port), String> {
    let (own, reached) = text
        .split_once('=')
        .ok_or("expected the port of a listener, = and the port that clients reach")?;
    Ok((port(own)?, port(reached)?))
}

impl FurtherArgs {
    /// How many are named.
    pub(super) fn count(&self) -> usize {
        self.also_http.len() + self.also_https.len()
    }

    /// The sockets beside those of these addresses.
    pub(super) fn sockets(&self, http: SocketAddr, https: SocketAddr) -> BTreeMap<Port, Further> {
        let also = self.all();
        let sockets = also.map(|(also, is_tls)| {
            let mut default = if is_tls { https } else { http };
            default.set_port(also.port.get());
            let address = also.address.unwrap_or(default);
            (also.port, Further { address, is_tls })
        });
        sockets.collect()
    }

    fn all(&self) -> impl Iterator<Item = (Also, bool)> {
        let http = self.also_http.iter().map(|also| (*also, false));
        http.chain(self.also_https.iter().map(|also| (*also, true)))
    }

    pub(super) fn advertised(&self) -> BTreeMap<Port, Port> {
        self.advertised_port.iter().copied().collect()
    }

    /// What none of the flags can say alone.
    pub(super) fn check(&self, http: SocketAddr, https: SocketAddr) -> Result<(), Error> {
        let wrong = |why: String| Err(Error::raw(ErrorKind::ValueValidation, why + "\n"));
        let sockets = self.sockets(http, https);
        let given = self.all().map(|(also, _)| also.port);
        if let Some(port) = twice(given) {
            return wrong(format!("--also-http and --also-https name port {port} twice"));
        }
        let addresses = sockets.values().map(|further| further.address);
        // A port that is chosen when it is opened is another's nowhere.
        let addresses = addresses
            .chain([http, https])
            .filter(|address| address.port() != 0);
        if let Some(address) = twice(addresses) {
            return wrong(format!(
                "two listeners are to be served at {address}: name another address for one, as in --also-https 8443=127.0.0.1:9443"
            ));
        }
        if let Some(port) = twice(self.advertised_port.iter().map(|(own, _)| *own)) {
            return wrong(format!("--advertised-port names port {port} twice"));
        }
        match self
            .advertised_port
            .iter()
            .find(|(own, _)| !sockets.contains_key(own))
        {
            Some((port, _)) => wrong(format!(
                "--advertised-port: neither --also-http nor --also-https names port {port}"
            )),
            None => Ok(()),
        }
    }
}

fn twice<T: PartialEq>(all: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = Vec::new();
    for one in all {
        if seen.contains(&one) {
            return Some(one);
        }
        seen.push(one);
    }
    None
}

/// What translation knows of them.
pub(super) fn wires(sockets: &BTreeMap<Port, Further>) -> BTreeMap<Port, Wire> {
    let wire = |further: &Further| match further.is_tls {
        true => Wire::Https,
        false => Wire::Http,
    };
    sockets
        .iter()
        .map(|(port, further)| (*port, wire(further)))
        .collect()
}

/// For the line that tells where is served.
pub(super) fn shown(sockets: &BTreeMap<Port, Further>) -> String {
    let mut out = String::new();
    for (port, Further { address, is_tls }) in sockets {
        let scheme = if *is_tls { "https" } else { "http" };
        // Writing to a string does not fail.
        let _ = write!(out, " also-{scheme} {port}={address}");
    }
    out
}
