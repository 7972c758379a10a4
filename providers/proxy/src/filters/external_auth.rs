//! A request's head in, what a backend says of whether it may pass out.

use std::collections::BTreeSet;

use http::header::{
    ACCEPT_ENCODING, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
    SET_COOKIE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body as _;
use portcullis_model as model;
use portcullis_model::BackendVersion;

use super::{Asking, Passage};
use crate::answer::{self, Failure};
use crate::body::{BackendBody, RequestBody, ResponseBody, finish};
use crate::fields;
use crate::forward::{Answered, Ask, Lead, forward};
use crate::present::Present;

/// Of the content, or of what of it is wanted: they are not the question.
static ELSEWHERE: [HeaderName; 7] = [
    RANGE,
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    IF_RANGE,
    // What is given to the client is given as it is.
    ACCEPT_ENCODING,
];

#[derive(Debug)]
pub(crate) struct ExternalAuth {
    backend: u32,
    path: PathAndQuery,
    told: Box<[HeaderName]>,
    sign_in: Option<model::SignIn>,
}

impl ExternalAuth {
    pub(crate) fn new(asked: &model::ExternalAuth, backend: u32) -> Option<Self> {
        let names = |told: &BTreeSet<model::HeaderName>| {
            let named = told
                .iter()
                .map(|name| HeaderName::from_bytes(name.as_str().as_bytes()));
            named.collect::<Result<_, _>>().ok()
        };
        Some(Self {
            backend,
            path: asked.path().parse().ok()?,
            told: names(asked.told())?,
            sign_in: asked.sign_in.clone(),
        })
    }

    /// Asks. What the answer tells of the client goes on with the request; no answer lets nobody pass.
    /// So many bytes may an answer have that goes to the client.
    pub(crate) async fn admit(&self, asking: &Asking<'_>, most: Option<u64>) -> Result<Passage, Failure> {
        let unasked = |why: &str| {
            let why = format!("who may pass could not be asked: {why}");
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, why)
        };
        let Some(backend) = asking.state.backend(self.backend) else {
            return Err(unasked("the backend does not exist"));
        };
        let request = asking.request;
        let mut headers = request.headers.clone();
        let present = Present::of(&headers);
        fields::take_hop(&mut headers, present);
        if backend.protocol.version == BackendVersion::Http1 {
            fields::join_cookies(&mut headers, request.version);
        }
        fields::remove_where(&mut headers, |name| {
            name.as_str().starts_with("content-") || ELSEWHERE.contains(name)
        });
        let sessions = &asking.state.table().sessions;
        sessions.strip(asking.asked.host(), &mut headers);
        let (settings, host) = (&asking.worker.settings, &asking.asked.authority);
        asking
            .caller
            .introduce(settings, &mut headers, asking.served, host);
        asking.caller.ids.clone().set(&mut headers);
        let target = request.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let authority = asking.asked.authority.to_str().unwrap_or_default();
        let scheme = match asking.caller.asker.client.is_tls {
            true => "https",
            false => "http",
        };
        let method = request.method.as_str();
        // Of the last three a Service decides that ingress-nginx asked.
        for (name, value) in [
            ("x-forwarded-method", method),
            ("x-forwarded-uri", target),
            ("x-original-method", method),
            ("x-original-url", &format!("{scheme}://{authority}{target}")),
            ("x-auth-request-redirect", target),
        ] {
            let value = HeaderValue::from_str(value).map_err(|_| unasked("the URL cannot be passed on"))?;
            fields::forget(&mut headers, name);
            headers.insert(HeaderName::from_static(name), value);
        }
        let mut parts = Request::new(()).into_parts().0;
        parts.uri = self.path.clone().into();
        parts.headers = headers;
        let mut body = RequestBody::empty();
        let mut ask = Ask {
            parts: Box::new(parts),
            authority: HeaderValue::from_static(""),
            told: None,
            as_they_came: false,
            interims: None,
            hop: fields::Hop::default(),
            body: &mut body,
            client: asking.caller.asker.client.address,
        };
        let answered = forward(asking.worker, backend, &mut ask, Lead::default()).await;
        let Answered {
            response,
            under_way,
            lease,
        } = answered.map_err(|failure| unasked(failure.why()))?;
        let (mut parts, body) = response.into_parts();
        let timeout = backend.goes_on_within(&asking.worker.settings.timeouts);
        let is_too_long = body.is_too_long(most);
        let body = ResponseBody::backend(BackendBody::new(body, timeout, most, under_way, lease, false));
        match parts.status {
            status if status.is_success() => {
                read_apart(asking, body);
                Ok(Passage::GoesOn(Some(Box::new(parts.headers))))
            }
            StatusCode::UNAUTHORIZED if let Some(page) = self.sign_in(asking, authority) => {
                read_apart(asking, body);
                let cookies = parts.headers.get_all(SET_COOKIE).into_iter().cloned();
                let Some(url) = page.url(scheme, authority, target) else {
                    let why = "the request's URL is too long for the page to log in";
                    return Err(Failure::new(StatusCode::URI_TOO_LONG, why));
                };
                let response = answer::to_log_in(url, cookies);
                response.map(|response| Passage::Answered(Box::new(response)))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_too_long => {
                Err(unasked(&format!("the answer of {} is too long", backend.id)))
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                fields::strip_response(&mut parts.headers);
                parts.version = http::Version::HTTP_11;
                parts.extensions.clear();
                Ok(Passage::Answered(Box::new(Response::from_parts(parts, body))))
            }
            status => Err(unasked(&format!("{} answered {}", backend.id, status.as_u16()))),
        }
    }

    /// Where the client is sent to log in: nobody who speaks gRPC, nor to a host that was not named.
    fn sign_in(&self, asking: &Asking<'_>, authority: &str) -> Option<&model::SignIn> {
        let page = self.sign_in.as_ref()?;
        let can_be = !(authority.is_empty() && page.needs_host());
        (can_be && !answer::is_grpc(&asking.request.headers)).then_some(page)
    }

    /// Puts what was told of the client in place of what it says of itself.
    pub(crate) fn tell(&self, headers: &mut HeaderMap, granted: Option<&HeaderMap>) {
        for name in &self.told {
            fields::forget(headers, name.as_str());
            for value in granted.into_iter().flat_map(|granted| granted.get_all(name)) {
                headers.append(name, value.clone());
            }
        }
    }
}

/// Nobody waits for what is not looked at.
fn read_apart(asking: &Asking<'_>, body: ResponseBody) {
    if !body.is_end_stream() {
        asking.worker.apart.spawn(finish(body));
    }
}
