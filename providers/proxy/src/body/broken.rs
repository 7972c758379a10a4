//! Why bodies break off.

/// Nothing came for the longest time allowed.
#[derive(Debug, thiserror::Error)]
#[error("{0} sent nothing more of its body")]
pub(crate) struct Stalled(pub(super) &'static str);

/// A client took nothing of its answer for the longest time allowed.
#[derive(Debug, thiserror::Error)]
#[error("the client took nothing more")]
pub(crate) struct Untaken;

/// A stream of HTTP/2 was reset before its end. hyper takes a reset that says `NO_ERROR` for the end of a body
/// (its issue 3681); so half of one would pass for all of it.
#[derive(Debug, thiserror::Error)]
#[error("the stream was reset before the end of the body")]
pub(super) struct Reset;

/// It was asked for a pipe, and is none of those bodies ([`super::ResponseBody::is_for_pipe`]).
#[derive(Debug, thiserror::Error)]
#[error("the body cannot go by a pipe")]
pub(super) struct Astray;

/// More came than a body may have.
#[derive(Debug, thiserror::Error)]
#[error("the body of the {0} is too long")]
pub(super) struct TooLong(pub(super) &'static str);
