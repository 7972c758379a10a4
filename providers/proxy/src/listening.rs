//! A request and where it came in in, the listener of the model that it belongs to and its rule there out.

use portcullis_model::{Port, RedirectScheme, Template};

use crate::exchange::Peer;
use crate::lookup::{Found, RequestHead};
use crate::serving::ServingState;
use crate::table::{Action, ListenerTable, Route};

type At<'s> = (&'s ListenerTable, Option<&'s Route>);

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
) -> Option<At<'s>> {
    let found = at(state, state.port_of(peer, is_tls, named), head);
    if peer.is_tls || !is_tls || matches!(found, Some((_, Some(_)))) {
        return found;
    }
    let mut plain = *head;
    let plainly = at(state, state.port_of(peer, false, named), &mut plain);
    let has_rule = plainly.is_some_and(|(_, route)| route.is_some_and(|route| !leads_around(&route.action)));
    if found.is_some() && !has_rule {
        return found;
    }
    *head = plain;
    plainly
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
fn leads_around(action: &Action) -> bool {
    let Action::Redirect(to) = action else {
        return false;
    };
    let is = |part: &Option<Template>, same: &str| part.as_ref().is_none_or(|part| part.as_str() == same);
    to.scheme == Some(RedirectScheme::Https) && is(&to.host, "#{host}") && is(&to.path, "/#{path}")
}
