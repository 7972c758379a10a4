//! The vocabulary of load balancing: what a load balancer is, what it answers, and who can make one.
//!
//! Nothing here knows Kubernetes or a cloud. Read in this order: names, what a request is matched against
//! ([`host`], [`path`], [`condition`]), what answers it ([`action`], [`backend`]), the whole ([`balancer`]), the
//! reference resolver ([`resolve`]), and what a provider does with it ([`diff`], [`plan`], [`provider`]).
//!
//! Values that exist are right: every type with a rule has one fallible constructor and private fields.

pub mod name;
pub mod origin;
pub mod problem;
pub mod sealed;
pub mod shared;
pub mod signs;
pub mod special;

pub mod condition;
pub mod glob;
pub mod host;
pub mod path;
pub mod pattern;

pub mod action;
pub mod affinity;
pub mod auth;
pub mod backend;
pub mod filters;
pub mod redirect;
pub mod verification;

pub mod balancer;
pub mod kept;
pub mod key_pair;
pub mod listener;
pub mod resolve;
pub mod rule;
pub mod tls_policy;

pub mod diff;
pub mod plan;
pub mod provider;
pub mod refusals;

mod text;

pub use action::{Action, FixedResponse, Forward, Rewrite, RewritePart, Stickiness, Weight, WeightedBackend};
pub use affinity::{AffinityKey, NotAKey};
pub use auth::{Authenticate, ClaimFormat, Client, JwtClaim, OnUnauthenticated, Session};
pub use backend::{
    Backend, BackendId, BackendProtocol, BackendVersion, GivenBackend, HealthCheck, HealthPort, OwnTargets,
    Registrants, ServiceRef, Target, TargetAddress, TargetKind, TargetState, UnreadBackend, Waits,
};
pub use balancer::{
    AddressFamily, AddressPools, Firewall, FirewallChoice, Front, FrontPort, LoadBalancer, Options, Scheme,
    Semantics, Stands,
};
pub use condition::{Condition, HeaderName, Method, QueryMatch};
pub use diff::{Difference, diff};
pub use filters::{
    BasicAuth, BodyLimit, Buffering, Coding, Compression, CookieRewrites, Cors, Direction, ErrorPage,
    ErrorPages, ExternalAuth, Filter, Filters, HeaderChanges, HeaderText, LocationRewrites, Mirror, Period,
    RateLimit, Replacement, SignIn, WebOrigin, WebOrigins, Without,
};
pub use glob::{Glob, GlobError};
pub use host::{HostMatch, HostName};
pub use kept::{Kept, KeptFront, KeptHealth, KeptTargets};
pub use key_pair::{KeyAlgorithm, KeyPair, Stored};
pub use listener::{
    Certificate, CertificateSource, ClientCertificates, Clients, Listener, Protocol, Tls, TlsPolicy,
    TrustStore,
};
pub use name::{LoadBalancerId, ObjectName, Port};
pub use origin::Origin;
pub use path::{ExactPath, PathMatch, PathPrefix};
pub use pattern::{LONGEST_REPLACED, Pattern, PatternError};
pub use plan::{Address, ChangeSummary, FieldChange, Plan, Resource, Verb};
pub use problem::{Blame, Code, Problem};
pub use provider::{
    Bound, Claim, Existing, Guest, Listed, Network, Opening, Provider, ProviderError, Retry, Routes,
    TargetHealth, TargetHealthState,
};
pub use redirect::{Redirect, RedirectScheme, RedirectStatus, Template};
pub use refusals::{Refusals, Refused};
pub use resolve::{Decision, Request, resolve};
pub use rule::Rule;
pub use sealed::Sealed;
pub use shared::Shared;
pub use signs::{Sign, signs};
pub use special::{Special, special};
pub use text::{PATH_ESCAPED, escaped, in_ascii};
pub use tls_policy::{TLS_POLICIES_AS_OF, is_tls_policy};
pub use verification::{BackendTls, Verification};
