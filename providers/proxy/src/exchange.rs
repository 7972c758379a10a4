//! One request in, one answer out: look it up, and redirect, answer or forward it.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::header::{ALT_SVC, CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response, StatusCode, Version};
use portcullis_model::{BackendVersion, Port, Rewrite};

use crate::access_log::Noted;
use crate::answer::{self, Failure};
use crate::body::{BackendBody, RequestBody, ResponseBody};
use crate::clients::PolicyNumber;
use crate::fields::{self, Between, Client};
use crate::filters::{After, Asking, Filters, Passage};
use crate::forward::{Answered, Ask, Lead, forward};
use crate::forwarded;
use crate::head::{self, Asked};
use crate::identity::{Admitted, CALLBACK, Identity};
use crate::interim::Passing;
use crate::listening::{self, Place};
use crate::lookup::RequestHead;
use crate::mutual::Shown;
use crate::pools::Sender;
use crate::present::{Kind, Present};
use crate::rewrite::rewrite;
use crate::serving::ServingState;
use crate::settings::Settings;
use crate::table::{Action, Forward, ListenerTable};
use crate::told::{Told, ToldClient};
use crate::trace::Ids;
use crate::trust::{self, Asker};
use crate::tunnel::{ClientSide, Upgrade, tunnel};
use crate::unanswered::Unanswered;
use crate::upgrades;
use crate::worker::Worker;

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) address: IpAddr,
    pub(crate) is_tls: bool,
    /// Of the listener whose own socket it was.
    pub(crate) port: Option<Port>,
}

/// Who asks, by whom, and under which names.
pub(crate) struct Caller {
    peer: Peer,
    shown: Rc<Shown>,
    pub(crate) asker: Asker,
    pub(crate) ids: Ids,
}

impl Caller {
    /// Tells a backend who asks, at which port and host, in place of what the client says of itself.
    pub(crate) fn introduce(
        &self,
        settings: &Settings,
        headers: &mut HeaderMap,
        port: Port,
        host: &HeaderValue,
    ) {
        let client = Client {
            address: self.asker.client.address,
            is_tls: self.asker.client.is_tls,
            port,
            host,
            between: self.asker.told_in.map(|field| Between {
                address: self.peer.address,
                field,
                identifies: settings.trusted_identify,
            }),
        };
        fields::set_forwarded(headers, &client);
        if settings.tells_forwarded {
            forwarded::enter(headers, &client);
        }
        if !self.shown.asked().is_off() {
            fields::set_certificate(headers, &self.shown.fields);
        }
    }

    /// Takes away what the client says of itself; what is to be told in its place.
    fn tell(
        &self,
        settings: &Settings,
        (headers, present): (&mut HeaderMap, Present),
        port: Port,
        host: &HeaderValue,
    ) -> Told {
        let Asker { client, told_in } = self.asker;
        let client = match told_in {
            Some(_) => {
                self.introduce(settings, headers, port, host);
                None
            }
            None => {
                if present.has(Kind::Claim) {
                    fields::clear_claims(headers);
                }
                if !self.shown.asked().is_off() {
                    fields::set_certificate(headers, &self.shown.fields);
                }
                Some(ToldClient {
                    address: client.address,
                    is_tls: client.is_tls,
                    port,
                    host: host.clone(),
                    forwarded: settings.tells_forwarded,
                })
            }
        };
        self.ids.clear(headers, present);
        Told {
            client,
            ids: self.ids.clone(),
        }
    }
}

/// What is to be done to the answer, whoever gives it.
#[derive(Default)]
struct Afterwards {
    filters: Option<After>,
    identity: Option<Box<Identity>>,
    /// How else the client may reach the listener.
    alternative: Option<HeaderValue>,
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
    shown: Rc<Shown>,
    // Boxed, for it is handed on from one to the next.
    parts: Box<Parts>,
    present: Present,
    mut body: RequestBody,
    upgrade: ClientSide<'_>,
) -> Response<ResponseBody> {
    let is_grpc = present.has(Kind::ContentType) && answer::is_grpc(&parts.headers);
    let is_http1 = parts.version <= Version::HTTP_11;
    let is_head = parts.method == Method::HEAD;
    // Once a request asks for another protocol, what follows it is not guarded any more: it is the last.
    let mut closes = present.has(Kind::Upgrade);
    let asker = trust::asker(
        &worker.trusted,
        worker.settings.trusted_field,
        peer,
        &parts.headers,
    );
    let ids = Ids::of(&parts.headers, present, &worker.random);
    let lines = worker.log.as_ref();
    let noted = lines.map(|lines| Noted::of(lines, &worker.random, asker.client, &ids, &parts));
    let mut unanswered = Unanswered::new(&worker, noted);
    // One state for all of this request.
    let state = worker.live.load_full();
    let caller = Caller {
        peer,
        shown,
        asker,
        ids,
    };
    let mut afterwards = Afterwards::default();
    // What is large is lent: each future that it is moved into would hold it twice.
    let request = (parts, present, &mut body);
    let answered = answer(
        &worker,
        &state,
        &caller,
        request,
        upgrade,
        &mut unanswered.noted,
        &mut afterwards,
    )
    .await;
    let mut noted = unanswered.end();
    let (mut response, by) = match answered {
        Ok(answered) => answered,
        Err(failure) => {
            closes |= failure.closes();
            if let Some(noted) = &mut noted {
                noted.entry.error = Some(failure.why().to_owned());
            }
            (failure.response(is_grpc), By::Proxy)
        }
    };
    if let Some(identity) = afterwards.identity {
        identity.finish(response.headers_mut());
    }
    if let Some(after) = afterwards.filters {
        after.finish(&mut response);
    }
    if is_head {
        answer::leave_out(&mut response);
    }
    // Who is sent away is not told the way back. Source: RFC 7838 §6.
    if let Some(alternative) = afterwards.alternative
        && response.status() != StatusCode::MISDIRECTED_REQUEST
    {
        response.headers_mut().insert(ALT_SVC, alternative);
    }
    if closes && is_http1 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        upgrades::close(response.headers_mut());
    }
    worker
        .counters
        .answered(response.status(), matches!(by, By::Backend));
    if let Some(noted) = &mut noted {
        noted.answered(response.status());
    }
    response.map(|body| body.noted(noted))
}

/// A head that cannot be read has been answered so: what is known of it is counted and logged.
pub(crate) fn refused(worker: &Worker, peer: Peer, status: StatusCode, why: &str) {
    worker.counters.answered(status, false);
    if let Some(lines) = &worker.log {
        Noted::unread(lines, &worker.random, peer, why).answered(status);
    }
}

async fn answer(
    worker: &Rc<Worker>,
    state: &ServingState,
    caller: &Caller,
    (mut parts, present, body): (Box<Parts>, Present, &mut RequestBody),
    upgrade: ClientSide<'_>,
    noted: &mut Option<Box<Noted>>,
    afterwards: &mut Afterwards,
) -> Result<(Response<ResponseBody>, By), Failure> {
    let client = caller.asker.client;
    head::give_path(&mut parts);
    let asked = head::read(&parts).map_err(Failure::closing)?;
    if body.is_too_long() {
        return Err(answer::too_long());
    }
    let mut head = RequestHead {
        port: Port::HTTP,
        host: asked.host(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        method: parts.method.as_str(),
        headers: &parts.headers,
        source: client.address,
        is_beside: false,
    };
    let found = listening::find(state, &caller.peer, client.is_tls, asked.port, &mut head);
    let place = found.ok_or_else(|| Failure::new(StatusCode::NOT_FOUND, "nothing listens here"))?;
    let Place { listener, route, .. } = place;
    if state.table().is_evaded(&head, &place) {
        let why = "the path, spelled otherwise, is another rule's to let pass";
        return Err(Failure::new(StatusCode::BAD_REQUEST, why));
    }
    // Clients of a load balancer in front reach that one.
    if caller.peer.is_tls && caller.asker.told_in.is_none() && worker.speaks_http3.get() {
        afterwards.alternative.clone_from(&listener.alternative);
    }
    if listener.https {
        let asks = route.map_or(0, |route| route.clients);
        admit(state, caller, asked.host(), asks)?;
        if route.is_some_and(|route| caller.shown.versions < route.versions) {
            let why = "this is served over TLS 1.3 alone";
            return Err(Failure::new(StatusCode::MISDIRECTED_REQUEST, why).closing());
        }
    }
    if let Some(admitted) = &listener.admitted
        && !admitted.iter().any(|range| range.contains(&client.address))
    {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "your address is not admitted",
        ));
    }
    if let Some(why) = &listener.refusal {
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, &**why));
    }
    if listener.https
        && let Some(gate) = state.table().logins.returns_to(&parts)
    {
        if let Some(noted) = noted {
            // The rest is between the provider and us.
            noted.show_target(CALLBACK);
        }
        let response = Box::pin(gate?.finish(worker, state, &asked, &parts)).await?;
        return Ok((response, By::Proxy));
    }
    let filters = route.and_then(|route| route.filters.as_ref());
    let mut granted = None;
    if let Some(filters) = filters {
        let after = afterwards.filters.insert(filters.after(&parts));
        filters.bound(body)?;
        let asking = Asking {
            worker,
            state,
            caller,
            asked: &asked,
            served: listener.served,
            request: &parts,
        };
        match filters.admit(&asking, after).await? {
            Passage::GoesOn(fields) => granted = fields,
            Passage::Answered(response) => return Ok((*response, By::Proxy)),
        }
    }
    if let Some(gate) = route.map_or(&listener.gate, |route| &route.gate) {
        if listener.https {
            // Apart, so that requests without it carry nothing of it along.
            match Box::pin(gate.admit(worker, state, &asked, &parts)).await? {
                Admitted::Passes(identity) => afterwards.identity = identity,
                Admitted::Answered(response) => return Ok((*response, By::Proxy)),
            }
        } else {
            gate.admit_plainly()?;
        }
    }
    match route.map_or(&listener.default, |route| &route.action) {
        Action::Fixed(page) => Ok((answer::fixed(page), By::Proxy)),
        Action::Refused(why) => Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, &**why)),
        Action::Redirect(redirect) => {
            // Clients see the port that is served, not the model's.
            head.port = listener.served;
            Ok((answer::redirect(redirect, &head, client.is_tls), By::Proxy))
        }
        Action::Forward(action) => {
            let call = Call {
                worker,
                state,
                caller,
                listener,
                action,
                filters: filters.map(Arc::as_ref),
                granted,
                identity: afterwards.identity.as_deref(),
                rewrites: route.map_or(&[], |route| &route.rewrites),
                asked: &asked,
            };
            call.forward((parts, present, body), upgrade, noted)
                .await
                .map(|response| (response, By::Backend))
        }
    }
}

/// Whether the client has shown what is asked under the host, and by the rule that answers.
fn admit(state: &ServingState, caller: &Caller, host: &str, asks: PolicyNumber) -> Result<(), Failure> {
    let (clients, shown, entry) = (&state.table().clients, &caller.shown, caller.peer.port);
    if !clients.asks() {
        return Ok(());
    }
    let number = clients.of(entry, host);
    let is_misdirected = match &shown.name {
        Some(name) if clients.of(entry, name) != number => true,
        // What was asked when the connection was opened may be asked no longer; a new one is asked what is now.
        Some(_) | None => state.clients(number).is_none_or(|policy| {
            let same = shown
                .policy
                .as_ref()
                .is_some_and(|before| Arc::ptr_eq(before, policy));
            !same && !policy.asked().is_off()
        }),
    };
    if is_misdirected {
        let why = "this connection was not asked for the client certificate of this host";
        return Err(Failure::new(StatusCode::MISDIRECTED_REQUEST, why).closing());
    }
    for wanted in [asks, clients.base(entry)] {
        if !shown.asked().suffices_for(clients.certificates(wanted)) {
            let why = "the client certificate that the rule relies on is not asked for";
            return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, why));
        }
    }
    Ok(())
}

/// A request that goes to a backend, with all that was decided about it.
struct Call<'a> {
    worker: &'a Rc<Worker>,
    state: &'a ServingState,
    caller: &'a Caller,
    listener: &'a ListenerTable,
    action: &'a Forward,
    filters: Option<&'a Filters>,
    /// The fields of whoever let it pass.
    granted: Option<Box<HeaderMap>>,
    /// Whom its gate found.
    identity: Option<&'a Identity>,
    rewrites: &'a [Rewrite],
    asked: &'a Asked,
}

impl Call<'_> {
    async fn forward(
        &self,
        (mut parts, present, body): (Box<Parts>, Present, &mut RequestBody),
        upgrade: ClientSide<'_>,
        noted: &mut Option<Box<Noted>>,
    ) -> Result<Response<ResponseBody>, Failure> {
        let timeouts = &self.worker.settings.timeouts;
        // A client of HTTP/1.1 takes no trailers for an end.
        let to_grpc = parts.version >= Version::HTTP_2 && answer::is_grpc(&parts.headers);
        let sticky = self.action.sticky.as_ref();
        let mark = sticky.and_then(|sticky| sticky.mark_of(&parts.headers));
        let unavailable = |why: &str| Failure::new(StatusCode::SERVICE_UNAVAILABLE, why);
        let choice = self.action.choose(&self.worker.random, mark);
        let choice = choice.ok_or_else(|| unavailable("every backend has the weight 0"))?;
        let backend = choice.backend.and_then(|number| self.state.backend(number));
        let backend = backend.ok_or_else(|| unavailable("the backend does not exist"))?;
        if let Some(noted) = noted {
            noted.entry.backend = Some(backend.id.clone());
        }

        let at = backend.sticky.as_ref();
        let before = at.and_then(|sticky| sticky.mark_of(&parts.headers));
        let affinity = backend.affinity.as_ref();
        let lead = Lead {
            stuck: before,
            key: affinity.and_then(|affinity| affinity.key(&parts, self.caller.asker.client.address)),
        };
        let (version, is_head) = (parts.version, parts.method == Method::HEAD);
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let rewritten = rewrite(self.rewrites, self.asked.host(), target)?;
        let rewritten_target = rewritten.changed(target)?;
        let authority = match rewritten.host {
            Some(host) => HeaderValue::try_from(host).map_err(|_| answer::no_host())?,
            None => self.asked.authority.clone(),
        };

        let mut hop = fields::take_hop(&mut parts.headers, present);
        // With a body, or to a backend that cannot change protocol, it is an ordinary request; of HTTP/1.0 it always is.
        // Source: RFC 9110 §7.8.
        if !body.is_empty()
            || backend.protocol.version != BackendVersion::Http1
            || parts.version < Version::HTTP_11
        {
            hop.upgrade = None;
        }
        let asked_protocols = hop.upgrade.clone();
        if backend.protocol.version == BackendVersion::Http1 {
            fields::join_cookies(&mut parts.headers, parts.version);
        }
        let asker = self.caller.asker;
        let host = &self.asked.authority;
        let (settings, served) = (&self.worker.settings, self.listener.served);
        let fields = (&mut parts.headers, present);
        let told = self.caller.tell(settings, fields, served, host);
        let is_looked_at = self.filters.is_some() || self.identity.is_some();
        let told = match is_looked_at {
            true => {
                told.enter(&mut parts.headers);
                None
            }
            false => Some(told),
        };
        let sessions = &self.state.table().sessions;
        sessions.strip(self.asked.host(), &mut parts.headers);
        if let Some(identity) = self.identity {
            identity.introduce(&mut parts.headers);
        }
        if let Some(filters) = self.filters {
            filters.change(&mut parts.headers, self.granted.as_deref());
        }

        let target = match rewritten_target {
            // As it came.
            None if parts.uri.authority().is_none() => None,
            None => {
                let target = parts.uri.path_and_query().cloned();
                Some(target.unwrap_or_else(|| PathAndQuery::from_static("/")))
            }
            Some(target) => Some(target),
        };
        if let Some(target) = target {
            parts.uri = target.into();
        }
        let mut ask = Ask {
            parts,
            authority,
            told,
            as_they_came: !is_looked_at && sticky.is_none() && at.is_none() && upgrade.takes_lines,
            hop,
            interims: upgrade.interims.map(|to| Passing {
                to,
                filters: self.filters,
            }),
            body,
            client: asker.client.address,
        };
        if let Some(filters) = self.filters {
            filters.copy(self.worker, self.state, &mut ask);
            filters.gather(self.worker, &mut ask).await?;
        }
        let answered = forward(self.worker, backend, &mut ask, lead).await?;
        let answering = answered.under_way.target();
        let (address, target) = (answering.address, answering.mark);
        if let Some(noted) = noted {
            noted.entry.upstream = Some(address);
        }
        let mut response = if answered.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let named = answered.response.headers();
            if asked_protocols.is_none_or(|asked| !fields::names_only(named, &asked)) {
                let why = format!("{} changed protocol unasked", backend.id);
                return Err(Failure::new(StatusCode::BAD_GATEWAY, why));
            }
            switch(self.worker, answered, upgrade)
        } else {
            let Answered {
                response,
                under_way,
                lease,
            } = answered;
            let (mut parts, body) = response.into_parts();
            let most = self.answer_bytes();
            // What these say of their length is said of another answer's.
            let is_bounded = !is_head && parts.status != StatusCode::NOT_MODIFIED;
            if is_bounded && body.is_too_long(most) {
                // The connection, half read, goes with it.
                return Err(answer::answer_too_long(&backend.id));
            }
            upgrades::strip(&mut parts, version);
            if let Some(filters) = self.filters {
                filters.answered(&mut parts.headers);
            }
            let going_on = backend.goes_on_within(timeouts);
            let body = BackendBody::new(body, going_on, most, under_way, lease, to_grpc);
            Response::from_parts(parts, ResponseBody::backend(body))
        };
        *response.version_mut() = Version::HTTP_11;
        response.extensions_mut().clear();
        if let Some(sticky) = sticky
            && mark != Some(choice.mark)
        {
            sticky.set(response.headers_mut(), choice.mark, asker.client.is_tls);
        }
        if let Some(sticky) = at {
            sticky.set(response.headers_mut(), target, before, asker.client.is_tls);
        }
        Ok(response)
    }

    /// Bytes that the answer's body may have.
    fn answer_bytes(&self) -> Option<u64> {
        let of_all = self.worker.settings.limits.answer_bytes;
        self.filters
            .map_or(of_all, |filters| filters.answer_bytes(of_all))
    }
}

/// The backend has changed protocol: so does the client, and from there on bytes are carried.
fn switch(worker: &Worker, answered: Answered, client: ClientSide<'_>) -> Response<ResponseBody> {
    let Answered {
        mut response,
        under_way,
        lease,
    } = answered;
    let hypers = hyper::upgrade::on(&mut response);
    let protocol = response.headers().get(UPGRADE).cloned();
    let (mut parts, body) = response.into_parts();
    // It holds the connection, too.
    drop(body);
    let backend = match lease.sender {
        Sender::Http1(_) | Sender::Http2(_) => Upgrade::Hyper(hypers),
        Sender::Own(link) => Rc::try_unwrap(link).map_or(Upgrade::Never, |link| {
            let (detached, place) = link.into_inner().detach();
            Upgrade::Here(Box::new(detached), place)
        }),
    };
    fields::strip_response(&mut parts.headers);
    parts
        .headers
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        parts.headers.insert(UPGRADE, protocol);
    }
    let idle = worker.settings.timeouts.tunnel;
    worker
        .clients
        .spawn(tunnel(client.end, backend, idle, under_way.tunnelled()));
    Response::from_parts(parts, ResponseBody::text(bytes::Bytes::new()))
}
