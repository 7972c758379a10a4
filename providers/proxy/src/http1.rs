//! An HTTP/1.1 engine of our own: a client's connection in, its requests answered out.
//!
//! `decode` and `encode` are sans-io: bytes in, events out, and the other way round, with no socket and no clock.
//! `wire` holds a connection's socket and buffers, and `serve` is what happens on it. What the engine does not say by
//! type: a message is framed anew on each side, and what could be framed in two ways is refused.

mod chunks;
mod decode;
mod encode;
mod fields;
mod serve;
mod wire;

pub(crate) use serve::{Ending, serve};
pub(crate) use wire::{Body, Detached, Stream};
