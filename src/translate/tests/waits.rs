//! Annotations that say how long a backend is waited for in, its waits out.

use portcullis_model::{Backend, Waits};

use super::filters::said;
use super::moved::{serving, world};
use super::*;

const WAITS: [&str; 3] = [
    "connect-timeout-seconds",
    "request-body-timeout-seconds",
    "response-body-timeout-seconds",
];

#[test]
fn a_service_may_say_how_long_it_is_waited_for() {
    for (at, name) in WAITS.into_iter().enumerate() {
        for (ingress, service, want, codes) in [
            (None, None, None, &[][..]),
            (Some("5"), None, Some(5), &[]),
            (None, Some("1"), Some(1), &[]),
            (Some("5"), Some("86400"), Some(86_400), &[]),
            (Some("0"), None, None, &[Code::AnnotationInvalid]),
            (Some("86401"), None, None, &[Code::AnnotationInvalid]),
            (None, Some("1m"), None, &[Code::AnnotationInvalid]),
            // The Service's stands for the Ingress's, also where it cannot be read.
            (Some("5"), Some("-1"), None, &[Code::AnnotationInvalid]),
        ] {
            let row = format!("{name} {ingress:?} {service:?}");
            let of = |text: Option<&'static str>| text.map(|text| (name, text));
            let served = said(of(ingress).as_slice(), of(service).as_slice());
            let backend = served.balancer.backends.values().next().unwrap();
            let mut wanted = [None; 3];
            wanted[at] = want;
            assert_eq!((waits(backend), backend.timeout_seconds), (wanted, None), "{row}");
            assert_eq!(served.codes(), codes, "{row}");
        }
    }
}

fn waits(backend: &Backend) -> [Option<u32>; 3] {
    let Waits {
        connect_seconds,
        request_body_seconds,
        response_body_seconds,
    } = backend.waits;
    [connect_seconds, request_body_seconds, response_body_seconds]
}

#[test]
fn waits_of_ingress_nginx_count_where_ours_say_nothing() {
    let connect = ("proxy-connect-timeout", "10");
    let send = ("proxy-send-timeout", "20");
    let read = ("proxy-read-timeout", "30");
    for (annotations, answer, want, codes) in [
        (&[connect][..], None, [Some(10), None, None], &[][..]),
        (&[send], None, [None, Some(20), None], &[]),
        (&[read], Some(30), [None, None, Some(30)], &[]),
        (
            &[connect, send, read],
            Some(30),
            [Some(10), Some(20), Some(30)],
            &[],
        ),
        (
            &[
                connect,
                send,
                ("portcullis.dev/connect-timeout-seconds", "1"),
                ("portcullis.dev/request-body-timeout-seconds", "2"),
            ],
            None,
            [Some(1), Some(2), None],
            &[],
        ),
        (
            &[read, ("portcullis.dev/response-timeout-seconds", "3")],
            Some(3),
            [None, None, Some(30)],
            &[],
        ),
        (
            &[read, ("portcullis.dev/response-body-timeout-seconds", "4")],
            Some(30),
            [None, None, Some(4)],
            &[],
        ),
        (
            &[("proxy-connect-timeout", "5s"), ("proxy-send-timeout", "0"), read],
            Some(30),
            [None, None, Some(30)],
            &[Code::AnnotationInvalid, Code::AnnotationInvalid],
        ),
    ] {
        let served = world(annotations).one(&serving());
        let mut backends = served.balancer.backends.values();
        let backend = backends
            .find(|backend| *backend.service.name.name == *"s")
            .unwrap();
        let row = format!("{annotations:?}: {:?}", served.problems);
        assert_eq!((backend.timeout_seconds, waits(backend)), (answer, want), "{row}");
        assert_eq!(served.codes(), codes, "{row}");
    }
}
