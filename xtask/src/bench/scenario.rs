//! The words in which a row of the table is written: what is set up, what comes, what is counted, what is aimed at.

use super::peers::Peer;

/// The host of all requests, under which the certificate is found.
pub(super) const HOST: &str = "bench.example.com";
/// From the first request of an idle connection to its second. All are opened in a third of it.
pub(super) const IDLE_SECONDS: u32 = 18;
/// Paths beside `/`, in the row that has many.
pub(super) const ROUTES: usize = 5_000;
/// In the row that has many.
pub(super) const HOSTS: usize = 10_000;
/// In the row that has many.
pub(super) const CERTIFICATES: usize = 10_000;
/// Of each of `HOSTS`.
pub(super) const ENDPOINTS: usize = 10;

#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    /// Chosen on the command line.
    pub(super) name: &'static str,
    /// What a turn yields, in this order.
    pub(super) figures: &'static [Figure],
    /// The first is what the others are compared with.
    pub(super) peers: &'static [Peer],
    pub(super) setting: Setting,
    pub(super) load: Load,
    /// Turns that tell no more than the ones before are left out.
    pub(super) most_rounds: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Figure {
    /// In the table, with the unit where it is not processor seconds; `{many}` is how many connections
    /// there are, `{rate}` how many requests a second.
    pub(super) title: &'static str,
    pub(super) goal: Goal,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    None,
    /// To the first peer.
    Ratio(f64),
    /// In the figure's own unit.
    AtMost(f64),
}

/// What proxies are given beside the committed configurations. The lines of these that are marked with a row's name
/// count in that row alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Setting {
    Plain,
    /// `ROUTES`.
    Routes,
    /// An access log.
    Log,
    /// Four threads.
    Workers,
    /// `HOSTS`, with `ENDPOINTS` each.
    Hosts,
    /// `CERTIFICATES`.
    Certificates,
}

/// Requests a second.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rate {
    Of(u32),
    /// Half of what the slower of HAProxy and ours serves where as many come as are answered, which is measured first.
    HalfOfMost,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Load {
    /// So many requests a second over so many connections.
    Kept {
        tls: bool,
        http2: bool,
        path: &'static str,
        connections: u32,
        rate: Rate,
    },
    /// So many connections a second, with one request each.
    New { rate: u32 },
    /// So many connections that had one request and wait.
    Idle { tls: bool, connections: u32 },
    /// Nothing: what the proxy holds is looked at.
    None,
    /// Of a program of ours.
    Own(Own),
}

/// Loads that no tool makes; `benches/load` has them. Many are 10,000, or what the bound of open files leaves.
#[derive(Clone, Copy, Debug)]
pub(super) enum Own {
    /// TLS connections with one request each, of which 90 in 100 resume a session.
    Resumed { rate: u32 },
    /// The same with no session resumed, to each of `CERTIFICATES` in turn.
    Names { rate: u32 },
    /// Kept connections of HTTP/3, with so many requests a second over all.
    Http3 { connections: u32, rate: u32 },
    /// gRPC streams, ten on each connection: messages a second over all.
    Streams { connections: u32, rate: u32 },
    /// Many of them, with so many messages a second over all.
    WebSockets { rate: u32 },
    /// Bodies of 1 GiB to backends that take 640 KiB a second.
    Uploads { count: u32 },
    /// Many clients that send a byte of a head every five seconds; beside them requests.
    Slow,
    /// Connections at once.
    Storm { count: u32 },
    /// Of the configuration, with many WebSockets open.
    Changes { count: u32 },
}

impl Load {
    /// The same at another rate.
    pub(super) fn at(mut self, requests: u32) -> Self {
        if let Self::Kept { rate, .. } = &mut self {
            *rate = Rate::Of(requests);
        }
        self
    }
}

impl Scenario {
    /// Whether each turn needs a proxy that has served nobody.
    pub(super) fn is_of_memory(&self) -> bool {
        match self.load {
            Load::Idle { .. } | Load::None => true,
            Load::Kept { .. }
            | Load::New { .. }
            | Load::Own(Own::Resumed { .. } | Own::Http3 { .. } | Own::Streams { .. }) => false,
            Load::Own(_) => true,
        }
    }

    /// Whether nginx, which is behind the proxies elsewhere, cannot answer it.
    pub(super) fn needs_own_backend(&self) -> bool {
        matches!(
            self.load,
            Load::Own(
                Own::Streams { .. } | Own::WebSockets { .. } | Own::Uploads { .. } | Own::Changes { .. }
            )
        )
    }
}

/// The path of a route.
pub(super) fn route(number: usize) -> String {
    format!("/area-{}/service-{number}/", number % 50)
}
