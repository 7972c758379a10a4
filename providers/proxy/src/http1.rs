//! An HTTP/1.1 engine of our own: a client's connection in, its requests answered out; and the same towards backends.
//!
//! `decode` and `encode` are sans-io: bytes in, events out, and the other way round, with no socket and no clock.
//! `wire` holds a client's socket and buffers, and `serve` and `sending` are what happens on it; `answer` and `link` are a
//! backend's; `splice` takes long bodies from the one to the other. What the engine does not say by type: a message
//! is framed anew on each side, and what could be framed in two ways is refused.

mod answer;
mod buffers;
mod chunks;
mod decode;
mod encode;
mod fields;
#[cfg(test)]
mod fuzz;
mod lines;
mod link;
mod sending;
mod serve;
mod splice;
mod wire;

pub(crate) use answer::length;
pub(crate) use buffers::{give_back as give_back_buffer, take as take_buffer};
pub(crate) use decode::Refused;
pub(crate) use fields::take_back;
pub(crate) use lines::Lines;
pub(crate) use link::{AnswerBody, Asking, Broke, Link, NoAnswer, Patience, ask};
pub(crate) use serve::serve;
pub(crate) use splice::{Pipe, let_go as let_go_of_pipes};
pub(crate) use wire::{Body, Detached, Stream};
