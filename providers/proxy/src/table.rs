//! The compiled types: what a request is looked up in, made by `compile` and never changed afterwards.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use ipnet::IpNet;
use portcullis_model::{BackendId, BasicAuth, Condition, HostMatch, PathMatch, Port, Redirect, Rewrite};
use smallvec::SmallVec;

use crate::clients::{ClientTable, PolicyNumber};
use crate::filters::Filters;
use crate::identity::Gate;
use crate::identity::keys::Source;
use crate::identity::logins::Logins;
use crate::identity::sessions::Sessions;
use crate::listening::Twins;
use crate::paths::Paths;
use crate::sticky::Sticky;
use crate::versions::{VersionTable, Versions};

/// A rule's place in the load balancer's list. Lower is earlier, and the first that takes a request answers it.
pub(crate) type RuleIndex = u32;

/// All rules of a load balancer, found by host and path. Shared by all workers; holds no live state.
#[derive(Debug, Default)]
pub struct RouteTable {
    pub(crate) listeners: BTreeMap<Port, ListenerTable>,
    pub(crate) hosts: HostIndex,
    /// Rules by the usual spelling of their paths, where they are written in another.
    pub(crate) respelled: HostIndex,
    pub(crate) clients: ClientTable,
    pub(crate) versions: VersionTable,
    /// Who may pass by password, by the number that filters hold.
    pub(crate) users: Box<[BasicAuth]>,
    /// Where the keys of tokens are published, by the number that gates hold.
    pub(crate) key_sources: Box<[Source]>,
    /// Whom users come back to.
    pub(crate) logins: Logins,
    /// What no backend is to see.
    pub(crate) sessions: Sessions,
    /// By rule index.
    pub(crate) routes: Box<[Route]>,
    pub(crate) twins: Twins,
    /// Whether any rule counts requests.
    pub(crate) counts: bool,
    /// By the number that a [`Choice`] holds. The next table has the same where no backend comes or goes.
    pub(crate) backends: Arc<Numbered>,
}

/// Ids of backends, and the place of each in their order.
#[derive(Debug, Default)]
pub(crate) struct Numbered {
    pub(crate) ids: Box<[BackendId]>,
    pub(crate) numbers: HashMap<BackendId, u32, foldhash::fast::RandomState>,
}

/// What counts for all requests at one port of the model.
#[derive(Debug)]
pub struct ListenerTable {
    pub https: bool,
    /// The port clients see, for redirects and `X-Forwarded-Port`.
    pub served: Port,
    /// Whether it has a socket of its own.
    pub is_apart: bool,
    /// Set where the listener asks for something that cannot be done: every request is answered 503 with this text.
    pub refusal: Option<Arc<str>>,
    /// What `Alt-Svc` says of HTTP/3, where it is asked for.
    pub(crate) alternative: Option<HeaderValue>,
    /// Who may ask; everybody where absent.
    pub admitted: Option<Box<[IpNet]>>,
    /// What comes before the default action.
    pub(crate) gate: Option<Arc<Gate>>,
    pub default: Action,
}

/// A rule without what the index holds of it (hosts and paths).
#[derive(Debug)]
pub struct Route {
    /// Few, and mostly the same few: shared.
    pub ports: Arc<[Port]>,
    /// What clients must have shown of themselves over TLS; 0 for nothing.
    pub(crate) clients: PolicyNumber,
    /// The paths it names that backends may read otherwise.
    pub(crate) spelled: Box<[Box<str>]>,
    /// How TLS must be spoken for it.
    pub(crate) versions: Versions,
    pub conditions: Box<[Condition]>,
    pub(crate) filters: Option<Arc<Filters>>,
    /// What comes before the action.
    pub(crate) gate: Option<Arc<Gate>>,
    pub rewrites: Box<[Rewrite]>,
    pub action: Action,
}

/// What answers a request.
#[derive(Debug)]
pub enum Action {
    Forward(Forward),
    Redirect(Box<Redirect>),
    Fixed(Page),
    /// The rule asks for something that cannot be done: 503 with this text, so that no constraint is left out.
    Refused(Arc<str>),
}

/// Backends with their shares.
#[derive(Debug)]
pub struct Forward {
    /// Mostly one, which needs no memory of its own.
    pub choices: SmallVec<[Choice; 1]>,
    /// The sum of all weights.
    pub total: u32,
    pub sticky: Option<Sticky>,
}

#[derive(Debug)]
pub struct Choice {
    /// `None` for a backend that the load balancer does not have: its share answers 503.
    pub backend: Option<u32>,
    pub weight: u16,
    /// What the cookie says for this backend, where there is one.
    pub mark: u64,
}

/// A fixed response.
#[derive(Debug)]
pub struct Page {
    pub status: StatusCode,
    pub content_type: Option<HeaderValue>,
    pub body: Bytes,
}

/// Clients look up in it and enter nothing, so they could not make it slow if they knew the keys of its hash.
pub(crate) type ByHost = HashMap<Arc<str>, PathIndex, foldhash::fast::RandomState>;

/// Rules by host. A request is looked up in each part that can hold its host; the lowest rule index wins.
#[derive(Debug, Default)]
pub(crate) struct HostIndex {
    pub(crate) exact: ByHost,
    /// Exactly one label before the key.
    pub(crate) wildcard: ByHost,
    /// Anything, a dot, and the key: the glob `*.key`.
    pub(crate) suffix: ByHost,
    /// Every host.
    pub(crate) any: PathIndex,
    /// Other globs and regular expressions: tried one after the other, by the first rule of each.
    pub(crate) patterns: Box<[HostPattern]>,
}

/// Rules of the hosts that a pattern takes.
#[derive(Debug)]
pub(crate) struct HostPattern {
    pub(crate) host: HostMatch,
    pub(crate) first: RuleIndex,
    pub(crate) paths: PathIndex,
}

/// Rules of one host by path.
#[derive(Debug, Default)]
pub(crate) struct PathIndex {
    pub(crate) exact: Paths,
    /// Without the trailing slash.
    pub(crate) prefix: Paths,
    /// Every path (`None`), globs and regular expressions, in the order of the rules.
    pub(crate) scanned: Vec<(Option<PathMatch>, RuleIndex)>,
}

impl RouteTable {
    /// How many rules it holds.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether it holds no rule.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The backends that actions name, by number.
    pub fn backends(&self) -> &[BackendId] {
        &self.backends.ids
    }
}

impl Action {
    /// The backends a request may reach, in the order of the forward; none where the action answers itself.
    pub fn backends<'a>(&'a self, table: &'a RouteTable) -> impl Iterator<Item = &'a BackendId> {
        let choices: &[Choice] = match self {
            Self::Forward(forward) => &forward.choices,
            Self::Redirect(_) | Self::Fixed(_) | Self::Refused(_) => &[],
        };
        choices.iter().filter_map(|c| {
            c.backend
                .and_then(|b| table.backends.ids.get(usize::try_from(b).ok()?))
        })
    }
}
