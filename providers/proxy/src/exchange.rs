//! One request in, one answer out: look it up, and redirect, answer or forward it.

use std::net::IpAddr;
use std::rc::Rc;

use http::header::{CONNECTION, HeaderValue, SET_COOKIE, UPGRADE};
use http::request::Parts;
use http::{Request, Response, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use portcullis_model::{BackendVersion, Rewrite};

use crate::answer::{self, Failure};
use crate::body::{BackendBody, RequestBody, ResponseBody};
use crate::fields::{self, Client};
use crate::forward::{Answered, Ask, forward};
use crate::head::{self, Asked};
use crate::lookup::{Found, RequestHead};
use crate::rewrite::rewrite;
use crate::serving::ServingState;
use crate::table::{Action, Choice, Forward, ListenerTable, Sticky};
use crate::tunnel::tunnel;
use crate::worker::Worker;

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) is_tls: bool,
}

/// Who gave the answer.
enum By {
    Proxy,
    Backend,
}

/// Answers the request, whatever happens. `upgrade` is the client's connection, should both sides change protocol.
pub(crate) async fn exchange(
    worker: Rc<Worker>,
    peer: Peer,
    request: Request<RequestBody>,
    upgrade: OnUpgrade,
) -> Response<ResponseBody> {
    let is_grpc = answer::is_grpc(request.headers());
    let is_http1 = request.version() <= Version::HTTP_11;
    // Once a request asks for another protocol, what follows it is not guarded any more: it is the last.
    let mut closes = request.headers().contains_key(UPGRADE);
    // One state for all of this request.
    let state = worker.live.load_full();
    let (mut response, by) = match answer(&worker, &state, peer, request, upgrade).await {
        Ok(answered) => answered,
        Err(failure) => {
            closes |= failure.closes();
            (failure.response(is_grpc), By::Proxy)
        }
    };
    if closes && is_http1 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    worker
        .counters
        .answered(response.status(), matches!(by, By::Backend));
    response
}

async fn answer(
    worker: &Rc<Worker>,
    state: &ServingState,
    peer: Peer,
    request: Request<RequestBody>,
    upgrade: OnUpgrade,
) -> Result<(Response<ResponseBody>, By), Failure> {
    let (parts, body) = request.into_parts();
    let asked = head::read(&parts).map_err(Failure::closing)?;
    let port = state.port_of(peer.is_tls, asked.port);
    let port = port.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "nothing listens here"))?;
    let mut head = RequestHead {
        port,
        host: &asked.host,
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        method: parts.method.as_str(),
        headers: &parts.headers,
        source: peer.address,
    };
    let (listener, action, rewrites): (&ListenerTable, &Action, &[Rewrite]) =
        match state.table().lookup(&head) {
            Found::Rule(_, route, listener) => (listener, &route.action, &route.rewrites),
            Found::Default(listener) => (listener, &listener.default, &[]),
            Found::NoListener => return Err(Failure::new(StatusCode::NOT_FOUND, "nothing listens here")),
        };
    if let Some(admitted) = &listener.admitted
        && !admitted.iter().any(|range| range.contains(&peer.address))
    {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "your address is not admitted",
        ));
    }
    if let Some(why) = &listener.refusal {
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, &**why));
    }
    match action {
        Action::Fixed(page) => Ok((answer::fixed(page), By::Proxy)),
        Action::Refused(why) => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, &**why)),
        Action::Redirect(redirect) => {
            // Clients see the port that is served, not the model's.
            head.port = listener.served;
            Ok((answer::redirect(redirect, &head, peer.is_tls), By::Proxy))
        }
        Action::Forward(action) => {
            let call = Call {
                worker,
                state,
                peer,
                listener,
                action,
                rewrites,
                asked: &asked,
            };
            call.forward(parts, body, upgrade)
                .await
                .map(|response| (response, By::Backend))
        }
    }
}

/// A request that goes to a backend, with all that was decided about it.
struct Call<'a> {
    worker: &'a Rc<Worker>,
    state: &'a ServingState,
    peer: Peer,
    listener: &'a ListenerTable,
    action: &'a Forward,
    rewrites: &'a [Rewrite],
    asked: &'a Asked,
}

impl Call<'_> {
    async fn forward(
        self,
        mut parts: Parts,
        body: RequestBody,
        upgrade: OnUpgrade,
    ) -> Result<Response<ResponseBody>, Failure> {
        let timeouts = &self.worker.settings.timeouts;
        let sticky = self.action.sticky.as_ref();
        let mark = sticky
            .and_then(|s| fields::cookie(&parts.headers, &s.cookie))
            .and_then(read_mark);
        let unavailable = |why: &str| Failure::new(StatusCode::SERVICE_UNAVAILABLE, why);
        let choice = self.action.choose(&self.worker.random, mark);
        let choice = choice.ok_or_else(|| unavailable("every backend has the weight 0"))?;
        let backend = choice.backend.and_then(|number| self.state.backend(number));
        let backend = backend.ok_or_else(|| unavailable("the backend does not exist"))?;

        let target = parts
            .uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let rewritten = rewrite(self.rewrites, &self.asked.host, target);
        let target = rewritten.target.parse();
        let target = target.map_err(|_| {
            let why = "the rewritten URL is not valid";
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, why)
        })?;
        let authority = rewritten.host.unwrap_or_else(|| self.asked.authority.clone());

        let mut hop = fields::take_hop(&mut parts.headers);
        // With a body, or to a backend that cannot change protocol, it is an ordinary request.
        if !body.is_empty() || backend.protocol.version != BackendVersion::Http1 {
            hop.upgrade = None;
        }
        let asks_upgrade = hop.upgrade.is_some();
        if backend.protocol.version == BackendVersion::Http1 {
            fields::join_cookies(&mut parts.headers, parts.version);
        }
        let client = Client {
            address: self.peer.address,
            is_tls: self.peer.is_tls,
            port: self.listener.served,
            host: &self.asked.authority,
        };
        fields::set_forwarded(&mut parts.headers, &client);

        let ask = Ask {
            method: parts.method,
            target,
            authority,
            headers: parts.headers,
            hop,
            body,
        };
        let answered = forward(self.worker, backend, ask).await?;
        let mut response = if answered.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            if !asks_upgrade {
                let why = format!("{} changed protocol unasked", backend.id);
                return Err(Failure::new(StatusCode::BAD_GATEWAY, why));
            }
            self.switch(answered, upgrade)
        } else {
            let Answered {
                response,
                under_way,
                lease,
            } = answered;
            let (mut parts, body) = response.into_parts();
            fields::strip_response(&mut parts.headers);
            let body = BackendBody::new(body, timeouts.body, under_way, lease);
            Response::from_parts(parts, ResponseBody::Backend(body))
        };
        *response.version_mut() = Version::HTTP_11;
        response.extensions_mut().clear();
        if let Some(sticky) = sticky
            && mark != Some(choice.mark)
            && let Ok(cookie) = HeaderValue::try_from(self.cookie(sticky, choice))
        {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(response)
    }

    /// The backend has changed protocol: so does the client, and from there on bytes are carried.
    fn switch(&self, answered: Answered, client: OnUpgrade) -> Response<ResponseBody> {
        let Answered {
            mut response,
            under_way,
            lease: _,
        } = answered;
        let backend = hyper::upgrade::on(&mut response);
        let protocol = response.headers().get(UPGRADE).cloned();
        let (mut parts, _) = response.into_parts();
        fields::strip_response(&mut parts.headers);
        parts
            .headers
            .insert(CONNECTION, HeaderValue::from_static("upgrade"));
        if let Some(protocol) = protocol {
            parts.headers.insert(UPGRADE, protocol);
        }
        let idle = self.worker.settings.timeouts.tunnel;
        self.worker
            .clients
            .spawn(tunnel(client, backend, idle, under_way));
        Response::from_parts(parts, ResponseBody::text(bytes::Bytes::new()))
    }

    fn cookie(&self, sticky: &Sticky, choice: &Choice) -> String {
        let secure = if self.peer.is_tls { "; Secure" } else { "" };
        let Sticky { cookie, seconds } = sticky;
        format!(
            "{cookie}={:016x}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}",
            choice.mark
        )
    }
}

fn read_mark(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}
