//! A request and where it came in in, the listener of the model that it belongs to and its rule there out.

use portcullis_model::{Port, RedirectScheme, Template};
use smallvec::SmallVec;

use crate::exchange::Peer;
use crate::lookup::{Found, RequestHead};
use crate::serving::ServingState;
use crate::table::{Action, ListenerTable, Route};

type At<'s> = (&'s ListenerTable, Option<&'s Route>);

/// What answers a request.
pub(crate) struct Place<'s> {
    pub(crate) listener: &'s ListenerTable,
    pub(crate) route: Option<&'s Route>,
    /// The ports whose rules it was, or would have been, looked up in: the first that has one answers.
    pub(crate) ports: SmallVec<[Port; 2]>,
}

/// None where nobody listens. The head is given the listener's port.
///
/// Where a trusted peer ended TLS, what has no rule over HTTPS is what it would be without that peer's word: who ends TLS in
/// front of us leaves most Ingresses without certificates of their own.
pub(crate) fn find<'s>(
    state: &'s ServingState,
    peer: &Peer,
    is_tls: bool,
    named: Option<u16>,
    head: &mut RequestHead<'_>,
) -> Option<Place<'s>> {
    let port = state.port_of(peer, is_tls, named);
    let plain_port = match peer.is_tls || !is_tls {
        true => None,
        false => state.port_of(peer, false, named),
    };
    let place = |(listener, route)| Place {
        listener,
        route,
        ports: port.into_iter().chain(plain_port).collect(),
    };
    let found = at(state, port, head);
    if plain_port.is_none() || matches!(found, Some((_, Some(_)))) {
        return found.map(place);
    }
    let mut plain = *head;
    let plainly = at(state, plain_port, &mut plain);
    let has_rule = plainly.is_some_and(|(_, route)| route.is_some_and(|route| !leads_around(&route.action)));
    if found.is_some() && !has_rule {
        return found.map(place);
    }
    *head = plain;
    plainly.map(place)
}

fn at<'s>(state: &'s ServingState, port: Option<Port>, head: &mut RequestHead<'_>) -> Option<At<'s>> {
    head.port = port?;
    match state.table().lookup(head) {
        Found::Rule(_, route, listener) => Some((listener, Some(route))),
        Found::Default(listener) => Some((listener, None)),
        Found::NoListener => None,
    }
}

/// Whether it only sends clients to where they are: they speak TLS already.
pub(crate) fn leads_around(action: &Action) -> bool {
    let Action::Redirect(to) = action else {
        return false;
    };
    let is = |part: &Option<Template>, same: &str| part.as_ref().is_none_or(|part| part.as_str() == same);
    to.scheme == Some(RedirectScheme::Https) && is(&to.host, "#{host}") && is(&to.path, "/#{path}")
}
