//! The filters of a rule in, what they let pass and what they change of it out.
//!
//! A rule without any pays for a look at one pointer. What turns requests away comes before what costs more than it.

pub(crate) mod basic_auth;
pub(crate) mod compression;
mod cors;
mod error_pages;
mod external_auth;
mod headers;
pub(crate) mod htpasswd;
mod mirror;
pub(crate) mod rate_limit;
mod rewrites;

use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::RandomState;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use portcullis_model as model;
use portcullis_model::{BackendId, Port};

use self::basic_auth::BasicAuth;
use self::compression::Compression;
use self::cors::Cors;
use self::error_pages::ErrorPages;
use self::external_auth::ExternalAuth;
use self::headers::Changes;
use self::mirror::Mirror;
use self::rate_limit::RateLimit;
use crate::answer::{self, Failure};
use crate::body::{RequestBody, ResponseBody};
use crate::exchange::Caller;
use crate::forward::Ask;
use crate::head::Asked;
use crate::serving::ServingState;
use crate::worker::Worker;

/// The filters of a rule, compiled; shared by the rules of an object.
#[derive(Debug)]
pub(crate) struct Filters {
    asked: Arc<model::Filters>,
    rate_limit: Option<RateLimit>,
    cors: Option<Cors>,
    basic_auth: Option<BasicAuth>,
    external_auth: Option<ExternalAuth>,
    request_headers: Option<Changes>,
    response_headers: Option<Changes>,
    compression: Option<Compression>,
    error_pages: Option<ErrorPages>,
    /// None also where whom copies were to go to does not exist: that closes nothing.
    mirror: Option<Mirror>,
}

impl fmt::Display for Filters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.asked.fmt(f)
    }
}

/// The place of what is asked among all that is.
fn number(all: &mut Vec<model::BasicAuth>, asked: &model::BasicAuth) -> usize {
    all.iter().position(|had| had == asked).unwrap_or_else(|| {
        all.push(asked.clone());
        all.len() - 1
    })
}

/// A request that wants to pass.
pub(crate) struct Asking<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) state: &'a ServingState,
    pub(crate) caller: &'a Caller,
    pub(crate) asked: &'a Asked,
    /// The port it reached.
    pub(crate) served: Port,
    pub(crate) request: &'a Parts,
}

/// What becomes of a request.
pub(crate) enum Passage {
    /// With the fields of whoever let it pass.
    GoesOn(Option<Box<HeaderMap>>),
    /// A filter answers it.
    Answered(Box<Response<ResponseBody>>),
}

/// What is done to the answer of a request, whoever gives it.
pub(crate) struct After {
    filters: Arc<Filters>,
    /// Whose scripts may read it.
    granted: Option<HeaderValue>,
    is_preflight: bool,
    compressing: Option<Box<compression::Asked>>,
}

impl Filters {
    /// None where one of them cannot be had: then nobody may pass.
    pub(crate) fn new(
        filters: &Arc<model::Filters>,
        users: &mut Vec<model::BasicAuth>,
        backends: &HashMap<BackendId, u32, RandomState>,
    ) -> Option<Self> {
        let model::Filters {
            rate_limit,
            cors,
            basic_auth,
            external_auth,
            request_headers,
            response_headers,
            compression,
            error_pages,
            location_rewrites: _,
            cookie_rewrites: _,
            body_limit: _,
            answer_limit: _,
            buffering: _,
            mirror,
        } = &**filters;
        let changes = |asked: &Option<model::HeaderChanges>| match asked {
            None => Some(None),
            Some(asked) => Changes::new(asked).map(Some),
        };
        let basic_auth = match basic_auth {
            None => None,
            Some(asked) => Some(BasicAuth::new(asked, number(users, asked))?),
        };
        let external_auth = match external_auth {
            None => None,
            Some(asked) => Some(ExternalAuth::new(asked, *backends.get(&asked.backend)?)?),
        };
        let error_pages = match error_pages {
            None => None,
            Some(asked) => Some(ErrorPages::new(asked)?),
        };
        Some(Self {
            asked: filters.clone(),
            rate_limit: rate_limit.as_ref().map(RateLimit::new),
            cors: cors.as_ref().map(Cors::new),
            basic_auth,
            external_auth,
            request_headers: changes(request_headers)?,
            response_headers: changes(response_headers)?,
            compression: compression.as_ref().map(Compression::new),
            error_pages,
            mirror: mirror
                .as_ref()
                .and_then(|asked| Some(Mirror::new(asked, *backends.get(&asked.backend)?))),
        })
    }

    /// Whether requests are counted.
    pub(crate) fn counts(&self) -> bool {
        self.rate_limit.is_some()
    }

    /// Whether they ask who may pass.
    pub(crate) fn asks(&self) -> bool {
        self.basic_auth.is_some() || self.external_auth.is_some()
    }

    /// Whether they ask the same of who wants to pass, whatever object says it.
    pub(crate) fn asks_as(&self, other: &Self) -> bool {
        let (one, other) = (&self.asked, &other.asked);
        let user = |asked: &Arc<model::Filters>| asked.basic_auth.as_ref().map(|asked| asked.secret.clone());
        let authority = |asked: &Arc<model::Filters>| {
            let asked = asked.external_auth.as_ref()?;
            Some((asked.backend.clone(), asked.path().to_owned()))
        };
        user(one) == user(other) && authority(one) == authority(other)
    }

    /// Bounds the request's body, and what it may say.
    pub(crate) fn bound(self: &Arc<Self>, body: &mut RequestBody) -> Result<(), Failure> {
        if self.external_auth.is_some() || self.request_headers.is_some() {
            body.watch_trailers(self.clone());
        }
        if let Some(limit) = &self.asked.body_limit {
            body.bound(limit.bytes);
            if body.is_too_long() {
                return Err(answer::too_long());
            }
        }
        Ok(())
    }

    /// Bytes that the body of a backend's answer may have, where any may have so many.
    pub(crate) fn answer_bytes(&self, of_all: Option<u64>) -> Option<u64> {
        let own = self.asked.answer_limit.as_ref().map(|limit| limit.bytes);
        own.into_iter().chain(of_all).min()
    }

    /// What is to be done to the answer of a request.
    pub(crate) fn after(self: &Arc<Self>, request: &Parts) -> After {
        After {
            filters: self.clone(),
            granted: self.cors.as_ref().and_then(|cors| cors.granted(&request.headers)),
            is_preflight: false,
            compressing: self.compression.as_ref().map(|asked| asked.asked(request)),
        }
    }

    /// Whether the request may go on.
    pub(crate) async fn admit(&self, asking: &Asking<'_>, after: &mut After) -> Result<Passage, Failure> {
        let Asking {
            worker,
            state,
            request,
            ..
        } = asking;
        if let Some(limit) = &self.rate_limit {
            let admitted = limit.admit(state.rates(), asking.caller.asker.client.address);
            admitted.inspect_err(|_| worker.counters.limited())?;
        }
        // It carries no credentials, so it is answered before anybody is asked for theirs.
        if let Some(cors) = &self.cors
            && let Some(answer) = cors.preflight(&request.method, &request.headers, after.granted.is_some())
        {
            after.is_preflight = true;
            return answer.map(|answer| Passage::Answered(Box::new(answer)));
        }
        if let Some(basic_auth) = &self.basic_auth {
            let users = state.users(basic_auth.list);
            // Apart, so that requests without it carry nothing of it along.
            Box::pin(basic_auth.admit(&worker.verifying, users, &request.headers)).await?;
        }
        match &self.external_auth {
            Some(external_auth) => {
                let most = self.answer_bytes(worker.settings.limits.answer_bytes);
                Box::pin(external_auth.admit(asking, most)).await
            }
            None => Ok(Passage::GoesOn(None)),
        }
    }

    /// Changes what the backend sees. `granted` are the fields of whoever let the request pass.
    pub(crate) fn change(&self, headers: &mut HeaderMap, granted: Option<&HeaderMap>) {
        if let Some(external_auth) = &self.external_auth {
            external_auth.tell(headers, granted);
        }
        if let Some(changes) = &self.request_headers {
            changes.forget(headers);
            changes.apply(headers);
        }
    }

    /// Takes away from a request's trailers what its client must not say there: backends may take them for fields.
    pub(crate) fn change_trailers(&self, trailers: &mut HeaderMap) {
        if self.external_auth.is_some() {
            trailers.clear();
        }
        if let Some(changes) = &self.request_headers {
            changes.forget(trailers);
        }
    }

    /// Waits for as much of the body as is to have come before a backend is asked.
    pub(crate) async fn gather(&self, worker: &Worker, ask: &mut Ask<'_>) -> Result<(), Failure> {
        if let Some(buffering) = &self.asked.buffering
            && !ask.body.is_empty()
        {
            Box::pin(ask.body.gather(&worker.ahead, buffering.bytes)).await?;
        }
        Ok(())
    }

    /// Lets a copy of the request go to another backend.
    pub(crate) fn copy(&self, worker: &Rc<Worker>, state: &ServingState, ask: &mut Ask<'_>) {
        if let Some(mirror) = &self.mirror {
            mirror.copy(worker, state, ask);
        }
    }

    /// Changes what the backend has answered.
    pub(crate) fn answered(&self, headers: &mut HeaderMap) {
        if let Some(asked) = &self.asked.location_rewrites {
            rewrites::locations(headers, asked);
        }
        if let Some(asked) = &self.asked.cookie_rewrites {
            rewrites::cookies(headers, asked);
        }
    }

    /// Changes what the backend says in an interim answer: nothing passes that would not pass in its answer. What is added to
    /// answers is not added to these.
    pub(crate) fn hold_back(&self, headers: &mut HeaderMap) {
        self.answered(headers);
        if let Some(changes) = &self.response_headers {
            changes.hold_back(headers);
        }
        if self.cors.is_some() {
            cors::hold_back(headers);
        }
    }
}

impl After {
    pub(crate) fn finish(&self, response: &mut Response<ResponseBody>) {
        if let Some(pages) = &self.filters.error_pages {
            pages.finish(response);
        }
        if let Some(asked) = &self.compressing {
            asked.finish(response);
        }
        if let Some(changes) = &self.filters.response_headers {
            changes.apply(response.headers_mut());
        }
        if let Some(cors) = &self.filters.cors {
            cors.tell(response.headers_mut(), self.granted.as_ref(), self.is_preflight);
        }
    }
}
