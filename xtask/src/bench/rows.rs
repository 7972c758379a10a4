//! Nothing in, the rows of the table out.

use super::peers::Peer;
use super::scenario::{Figure, Goal, Load, Own, Rate, Scenario, Setting};

/// The first is what the others are compared with.
const ALL: [Peer; 6] = [
    Peer::HAProxy,
    Peer::Nginx,
    Peer::Envoy,
    Peer::Traefik,
    Peer::Portcullis,
    Peer::PortcullisOwn,
];
const BODIES: [Peer; 7] = [
    Peer::HAProxyForBodies,
    Peer::HAProxy,
    Peer::Nginx,
    Peer::Envoy,
    Peer::Traefik,
    Peer::Portcullis,
    Peer::PortcullisOwn,
];
/// Those that do half of what HAProxy can.
const FAST: [Peer; 4] = [Peer::HAProxy, Peer::Nginx, Peer::Portcullis, Peer::PortcullisOwn];
const OURS: [Peer; 1] = [Peer::PortcullisOwn];

/// Connections in the rows of idle ones: of fewer, some peers take all they need from what they freed while they started.
const IDLE: u32 = 4_000;

const fn figure(title: &'static str, goal: Goal) -> Figure {
    Figure { title, goal }
}

const fn row(name: &'static str, figures: &'static [Figure], load: Load) -> Scenario {
    Scenario {
        name,
        figures,
        peers: &ALL,
        setting: Setting::Plain,
        load,
        most_rounds: u32::MAX,
    }
}

/// 1 KiB each.
const fn kept(tls: bool, http2: bool, connections: u32, rate: Rate) -> Load {
    Load::Kept {
        tls,
        http2,
        path: "/",
        connections,
        rate,
    }
}

/// Rates are what the slowest peer can do well, but in the rows `…-half`.
pub(super) const ROWS: [Scenario; 25] = [
    row(
        "http1",
        &[figure("HTTP/1.1, 1 KiB", Goal::Ratio(0.75))],
        kept(false, false, 50, Rate::Of(6_000)),
    ),
    Scenario {
        setting: Setting::Log,
        ..row(
            "log",
            &[figure("HTTP/1.1, 1 KiB, access log on", Goal::Ratio(0.75))],
            kept(false, false, 50, Rate::Of(6_000)),
        )
    },
    Scenario {
        setting: Setting::Routes,
        ..row(
            "routes",
            &[figure("5,000 routes", Goal::Ratio(0.75))],
            kept(false, false, 50, Rate::Of(6_000)),
        )
    },
    row(
        "tls",
        &[figure("TLS, kept connections", Goal::Ratio(0.75))],
        kept(true, false, 50, Rate::Of(6_000)),
    ),
    half(row(
        "http1-half",
        &[figure(
            "HTTP/1.1, 1 KiB, half of the most: {rate} a second",
            Goal::Ratio(0.75),
        )],
        kept(false, false, 50, Rate::HalfOfMost),
    )),
    half(Scenario {
        setting: Setting::Log,
        ..row(
            "log-half",
            &[figure(
                "HTTP/1.1, 1 KiB, access log on, half of the most: {rate} a second",
                Goal::Ratio(0.75),
            )],
            kept(false, false, 50, Rate::HalfOfMost),
        )
    }),
    half(Scenario {
        setting: Setting::Routes,
        ..row(
            "routes-half",
            &[figure(
                "5,000 routes, half of the most: {rate} a second",
                Goal::Ratio(0.75),
            )],
            kept(false, false, 50, Rate::HalfOfMost),
        )
    }),
    half(row(
        "tls-half",
        &[figure(
            "TLS, kept connections, half of the most: {rate} a second",
            Goal::Ratio(0.75),
        )],
        kept(true, false, 50, Rate::HalfOfMost),
    )),
    half(row(
        "http2-half",
        &[
            figure(
                "HTTP/2 over TLS, half of the most: {rate} a second",
                Goal::Ratio(0.95),
            ),
            figure(
                "HTTP/2 over TLS, half of the most: {rate} a second, p99 in ms",
                Goal::Ratio(0.7),
            ),
        ],
        kept(true, true, 20, Rate::HalfOfMost),
    )),
    row(
        "handshake",
        &[figure("TLS, new connection per request", Goal::Ratio(0.45))],
        Load::New { rate: 600 },
    ),
    of_own(
        "resumed",
        &[figure(
            "TLS, new connection per request, 90 % resumed",
            Goal::Ratio(0.45),
        )],
        Own::Resumed { rate: 600 },
        u32::MAX,
    ),
    Scenario {
        peers: &BODIES,
        ..row(
            "bodies",
            &[figure("1 MiB bodies", Goal::Ratio(0.8))],
            Load::Kept {
                tls: false,
                http2: false,
                path: "/large",
                connections: 10,
                rate: Rate::Of(400),
            },
        )
    },
    row(
        "http2",
        &[
            figure("HTTP/2 over TLS", Goal::Ratio(0.95)),
            figure("HTTP/2 over TLS, p99 in ms", Goal::Ratio(0.7)),
        ],
        kept(true, true, 20, Rate::Of(6_000)),
    ),
    // Debian's HAProxy and nginx are built without QUIC: what it costs is to be held against the row before.
    Scenario {
        peers: &OURS,
        ..of_own(
            "http3",
            &[
                figure("HTTP/3", Goal::None),
                figure("HTTP/3, p99 in ms", Goal::None),
            ],
            Own::Http3 {
                connections: 20,
                rate: 3_000,
            },
            u32::MAX,
        )
    },
    Scenario {
        most_rounds: 1,
        ..row(
            "idle",
            &[figure("idle connection, KiB", Goal::AtMost(1.5))],
            Load::Idle {
                tls: false,
                connections: IDLE,
            },
        )
    },
    Scenario {
        most_rounds: 1,
        ..row(
            "idle-tls",
            &[figure("idle TLS connection, KiB", Goal::AtMost(12.0))],
            Load::Idle {
                tls: true,
                connections: IDLE,
            },
        )
    },
    Scenario {
        peers: &OURS,
        setting: Setting::Workers,
        ..row(
            "workers",
            &[figure(
                "four workers, 1,000 HTTP/2 connections: the busiest to the mean",
                Goal::AtMost(1.3),
            )],
            kept(true, true, 1_000, Rate::Of(6_000)),
        )
    },
    Scenario {
        peers: &OURS,
        setting: Setting::Hosts,
        most_rounds: 1,
        ..row(
            "table",
            &[figure(
                "10,000 hosts and 100,000 endpoints, with every object of the folder: resident, MiB",
                Goal::None,
            )],
            Load::None,
        )
    },
    of_own(
        "streams",
        &[figure("gRPC streams over TLS, per message", Goal::None)],
        Own::Streams {
            connections: 10,
            rate: 3_000,
        },
        2,
    ),
    of_own(
        "websockets",
        &[
            figure("{many} WebSockets, KiB each", Goal::None),
            figure("messages over them", Goal::None),
        ],
        Own::WebSockets { rate: 3_000 },
        1,
    ),
    of_own(
        "uploads",
        &[figure(
            "20 uploads of 1 GiB to slow backends, KiB each",
            Goal::None,
        )],
        Own::Uploads { count: 20 },
        1,
    ),
    of_own(
        "slow",
        &[
            figure("requests beside {many} slow clients, p99 in ms", Goal::None),
            figure("slow client, KiB", Goal::None),
        ],
        Own::Slow,
        1,
    ),
    Scenario {
        setting: Setting::Certificates,
        ..of_own(
            "certificates",
            &[
                figure("10,000 certificates: resident, MiB", Goal::None),
                figure("TLS handshakes with them", Goal::None),
            ],
            Own::Names { rate: 300 },
            1,
        )
    },
    of_own(
        "storm",
        &[
            figure("4,000 connections at once", Goal::None),
            figure("until 99 of 100 are answered, ms", Goal::None),
        ],
        Own::Storm { count: 4_000 },
        2,
    ),
    Scenario {
        peers: &OURS,
        ..of_own(
            "changes",
            &[
                figure("1,000 changes beside {many} WebSockets: grown, MiB", Goal::None),
                figure("WebSockets dropped by them", Goal::AtMost(0.0)),
            ],
            Own::Changes { count: 1_000 },
            1,
        )
    },
];

const fn half(row: Scenario) -> Scenario {
    Scenario { peers: &FAST, ..row }
}

const fn of_own(name: &'static str, figures: &'static [Figure], own: Own, most_rounds: u32) -> Scenario {
    Scenario {
        most_rounds,
        ..row(name, figures, Load::Own(own))
    }
}
