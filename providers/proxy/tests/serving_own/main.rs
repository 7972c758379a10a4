//! What `serving` shows, of the HTTP/1.1 engine of our own.
#![expect(clippy::unwrap_used, reason = "a panic in a test is the report")]

use std::collections::BTreeSet;

#[path = "../serving/balancer.rs"]
mod balancer;
#[path = "../serving/bodies.rs"]
mod bodies;
#[path = "../serving/browser.rs"]
mod browser;
#[path = "../serving/changing.rs"]
mod changing;
#[path = "../serving/checked.rs"]
mod checked;
#[path = "../serving/ciphers.rs"]
mod ciphers;
#[path = "../serving/client.rs"]
mod client;
#[path = "../serving/compressed.rs"]
mod compressed;
#[path = "../serving/conformance.rs"]
mod conformance;
#[path = "../serving/consulting.rs"]
mod consulting;
#[path = "../serving/cors.rs"]
mod cors;
#[path = "../serving/downloads.rs"]
mod downloads;
#[path = "../serving/echo.rs"]
mod echo;
#[path = "../serving/engines.rs"]
mod engines;
#[path = "../serving/evading.rs"]
mod evading;
#[path = "../serving/failing.rs"]
mod failing;
#[path = "../serving/fields.rs"]
mod fields;
#[path = "../serving/forged.rs"]
mod forged;
#[path = "../serving/forwarding.rs"]
mod forwarding;
#[path = "../serving/grpc.rs"]
mod grpc;
#[path = "../serving/held.rs"]
mod held;
#[path = "../serving/hostile.rs"]
mod hostile;
#[cfg(feature = "http3")]
#[path = "../serving/http3.rs"]
mod http3;
#[path = "../serving/interim.rs"]
mod interim;
#[path = "../serving/introduced.rs"]
mod introduced;
#[path = "../serving/keeping.rs"]
mod keeping;
#[path = "../serving/key_types.rs"]
mod key_types;
#[path = "../serving/led.rs"]
mod led;
#[path = "../serving/limits.rs"]
mod limits;
#[path = "../serving/logins.rs"]
mod logins;
#[path = "../serving/mirrored.rs"]
mod mirrored;
#[cfg(feature = "http3")]
#[path = "../serving/moving.rs"]
mod moving;
#[path = "../serving/multiplexed.rs"]
mod multiplexed;
#[path = "../serving/mutual.rs"]
mod mutual;
#[path = "../serving/observing.rs"]
mod observing;
#[path = "../serving/openid.rs"]
mod openid;
#[path = "../serving/pages.rs"]
mod pages;
#[path = "../serving/passwords.rs"]
mod passwords;
#[path = "../serving/ports.rs"]
mod ports;
#[path = "../serving/provider.rs"]
mod provider;
#[cfg(feature = "http3")]
#[path = "../serving/proving.rs"]
mod proving;
#[path = "../serving/proxied.rs"]
mod proxied;
#[cfg(feature = "http3")]
#[path = "../serving/quic.rs"]
mod quic;
#[path = "../serving/rates.rs"]
mod rates;
#[path = "../serving/records.rs"]
mod records;
#[path = "../serving/redirected.rs"]
mod redirected;
#[cfg(feature = "http3")]
#[path = "../serving/refused.rs"]
mod refused;
#[path = "../serving/resets.rs"]
mod resets;
#[path = "../serving/returning.rs"]
mod returning;
#[path = "../serving/routing.rs"]
mod routing;
#[path = "../serving/scarce.rs"]
mod scarce;
#[path = "../serving/secure.rs"]
mod secure;
#[path = "../serving/silent.rs"]
mod silent;
#[path = "../serving/streaming.rs"]
mod streaming;
#[path = "../serving/targets.rs"]
mod targets;
#[path = "../serving/telling.rs"]
mod telling;
#[path = "../serving/tickets.rs"]
mod tickets;
#[path = "../serving/tls_policies.rs"]
mod tls_policies;
#[path = "../serving/tokens.rs"]
mod tokens;
#[path = "../serving/tunnels.rs"]
mod tunnels;
#[path = "../serving/unknown_names.rs"]
mod unknown_names;
#[path = "../serving/upheaval.rs"]
mod upheaval;
#[path = "../serving/verified.rs"]
mod verified;
#[path = "../serving/vouched.rs"]
mod vouched;
#[path = "../serving/waits.rs"]
mod waits;
#[path = "../serving/websockets.rs"]
mod websockets;
#[path = "../serving/windows.rs"]
mod windows;
#[path = "../serving/zones.rs"]
mod zones;

/// A module that is added there and forgotten here would be shown of one engine alone.
#[test]
fn all_that_is_shown_of_one_engine_is_shown_of_both() {
    let modules = |text: &'static str| -> BTreeSet<&str> {
        text.lines().filter(|line| line.starts_with("mod ")).collect()
    };
    assert_eq!(
        modules(include_str!("main.rs")),
        modules(include_str!("../serving/main.rs"))
    );
}
