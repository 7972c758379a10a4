//! Requests in, copies of some of them to another backend out: nobody waits for these, or sees what answers them.

use std::rc::Rc;

use http::Version;
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http_body::Body as _;
use portcullis_model as model;
use portcullis_model::BackendVersion;

use crate::body::{BackendBody, RequestBody, ResponseBody, finish};
use crate::fields::{self, Hop};
use crate::forward::{Answered, Ask, Lead, forward};
use crate::serving::ServingState;
use crate::worker::Worker;

/// Most copies under way at once, for each worker: a backend that hangs holds no more.
pub(crate) const MOST: usize = 64;
/// Longest body that is copied, in bytes: it is held until all of it has come.
const LONGEST: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Mirror {
    backend: u32,
    percent: u32,
}

impl Mirror {
    pub(super) fn new(asked: &model::Mirror, backend: u32) -> Self {
        Self {
            backend,
            percent: asked.percent().into(),
        }
    }

    /// Copies the request as the backend will see it, if it is its turn. What cannot be copied is counted, and that is all.
    pub(super) fn copy(&self, worker: &Rc<Worker>, state: &ServingState, ask: &mut Ask<'_>) {
        // What is spoken after a change of protocol is no request.
        if ask.hop.upgrade.is_some() || worker.random.below_u32(100) >= self.percent {
            return;
        }
        let length = usize::try_from(ask.body.size_hint().lower()).unwrap_or(usize::MAX);
        let backend = state.shared_backend(self.backend);
        let (Some(backend), true) = (backend, length <= LONGEST && worker.mirrors.count() < MOST) else {
            return worker.counters.unmirrored();
        };
        let copied = (!ask.body.is_empty()).then(|| ask.body.copied(LONGEST));
        let (mut parts, authority, told) = (ask.parts.clone(), ask.authority.clone(), ask.told.clone());
        let hop = Hop {
            upgrade: None,
            trailers: ask.hop.trailers,
        };
        let client = ask.client;
        let (backend, own) = (backend.clone(), worker.clone());
        worker.mirrors.spawn(async move {
            let lost = || own.counters.unmirrored();
            let mut body = RequestBody::empty();
            if let Some(copied) = copied {
                let Ok(copied) = copied.await else {
                    return lost();
                };
                parts.headers.remove(TRANSFER_ENCODING);
                parts.headers.remove(EXPECT);
                parts.headers.insert(CONTENT_LENGTH, copied.len().into());
                body = RequestBody::held(copied.into());
            }
            if backend.protocol.version == BackendVersion::Http1 {
                fields::join_cookies(&mut parts.headers, Version::HTTP_2);
            }
            let mut copy = Ask {
                parts,
                authority,
                told,
                as_they_came: false,
                interims: None,
                hop,
                body: &mut body,
                client,
            };
            let Ok(answered) = forward(&own, &backend, &mut copy, Lead::default()).await else {
                return lost();
            };
            own.counters.mirrored();
            let Answered {
                response,
                under_way,
                lease,
            } = answered;
            let timeout = backend.goes_on_within(&own.settings.timeouts);
            let body = BackendBody::new(response.into_body(), timeout, None, under_way, lease, false);
            finish(ResponseBody::backend(body)).await;
        });
    }
}
