//! Open WebSockets, rules with filters and the end of a proxy in, what tunnels carry and how long out.

use std::time::Duration;

use portcullis_model::{BodyLimit, Buffering, Coding, Compression, Filters};
use portcullis_proxy::Drained;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

use crate::balancer::origin;
use crate::changing::refuses;
use crate::client::{read_until, soon};
use crate::websockets::{Io, THROUGH, Way, filtered_site, parroting, site};

/// They are carried on until they end by themselves, or the time of the drain is over.
#[tokio::test]
async fn a_tunnel_goes_on_until_the_drain_has_an_end() {
    let server = parroting().await;
    for way in THROUGH {
        for (grace, want) in [
            (Duration::from_secs(60), Drained::Finished),
            (Duration::from_millis(300), Drained::CutOff),
        ] {
            let mut site = site(server.address);
            let (mut io, _) = site.open(way, &[]).await;
            read_until(&mut io, "\r\n\r\n").await;
            let (http, mut draining) = (site.proxy.http, JoinSet::new());
            draining.spawn(site.proxy.handle.drain(grace));
            refuses(http).await;
            if want == Drained::Finished {
                talks_and_ends(&mut io, way).await;
            }
            let ended = soon("the drain", draining.join_next()).await.unwrap().unwrap();
            assert_eq!(ended.unwrap(), want, "{way:?} within {grace:?}");
            // Whoever was cut off sees the end of it.
            if want == Drained::CutOff {
                let mut rest = Vec::new();
                let _ = soon("the end of a tunnel", io.read_to_end(&mut rest)).await;
            }
        }
    }
}

async fn talks_and_ends(io: &mut Box<dyn Io>, way: Way) {
    for message in ["still here", "and here"] {
        io.write_all(message.as_bytes()).await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(read_until(io, message).await, message, "{way:?}");
    }
    io.shutdown().await.unwrap();
    read_until(io, "the end").await;
}

/// What is done to bodies is not done to what a tunnel carries.
#[tokio::test]
async fn a_tunnel_has_no_body() {
    let server = parroting().await;
    let filters = Filters {
        body_limit: Some(BodyLimit {
            bytes: 10,
            origin: origin(),
        }),
        buffering: Some(Buffering {
            bytes: 1024,
            origin: origin(),
        }),
        compression: Some(Compression {
            codings: vec![Coding::Gzip],
            origin: origin(),
        }),
        ..Filters::default()
    };
    let mut site = filtered_site(server.address, filters);
    for way in THROUGH {
        let (mut io, fields) = site.open(way, &[("accept-encoding", "gzip")]).await;
        assert!(!fields.contains_key("content-encoding"), "{way:?}: {fields:?}");
        read_until(&mut io, "\r\n\r\n").await;
        let long = "x".repeat(5000) + "y";
        io.write_all(long.as_bytes()).await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(read_until(&mut io, "y").await, long, "{way:?}");
    }
}
