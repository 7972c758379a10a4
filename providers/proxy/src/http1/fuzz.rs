//! Messages that nobody wrote in, whether the codec reads each in one way alone out.
//!
//! Those of the corpus are cut, joined and spoilt; what comes out as nothing before did is spoilt further. As a test it
//! takes a moment, from one seed; `cargo xtask fuzz` goes on for as long as it is told, from another seed each time.

#[path = "../../tests/corpus/cases.rs"]
#[expect(dead_code, reason = "the recording is the corpus' own")]
mod cases;
mod properties;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use properties::{Cuts, Judge, answers, requests};

/// Messages that are tried by the test.
const FEW: usize = 1500;
/// Longest message, and the most that are kept to be spoilt further.
const LONGEST: usize = 6000;
const KEPT: usize = 20_000;

#[test]
fn a_request_nobody_wrote_is_read_in_one_way() {
    fuzz("requests.txt", requests);
}

#[test]
fn an_answer_nobody_wrote_is_read_in_one_way() {
    fuzz("answers.txt", answers);
}

/// `judge` panics where something is wrong, and else says in a few words what came out.
fn fuzz(seeds: &str, judge: Judge) {
    let number = |name| std::env::var_os(name).and_then(|value| value.to_str()?.parse::<u64>().ok());
    let seed = number("PORTCULLIS_FUZZ_SEED").unwrap_or(1);
    let mut draw = Draw(seed);
    let seeds = cases::read(seeds);
    let mut pool: Vec<Vec<u8>> = seeds.into_iter().map(|case| case.bytes).collect();
    pool.retain(|bytes| bytes.len() <= LONGEST);
    let written = pool.len();
    let mut outcomes = HashSet::new();
    let mut go_on = until(number("PORTCULLIS_FUZZ_SECONDS").map(Duration::from_secs));
    let mut tried = 0;
    while go_on(tried) {
        // As they are, at first.
        let bytes = match pool.get(tried) {
            Some(bytes) if tried < written => bytes.clone(),
            Some(_) | None => spoilt(&pool, &mut draw),
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let outcome = judge(&bytes, Cuts::Some(&mut draw));
            let is_new = outcomes.insert(outcome);
            if is_new {
                judge(&bytes, Cuts::All);
            }
            is_new
        }));
        let is_new = outcome.unwrap_or_else(|_| {
            let bytes = smallest(bytes.clone(), judge);
            panic!(
                "with the seed {seed}, after {tried}: b\"{}\"",
                bytes.escape_ascii()
            );
        });
        if is_new && pool.len() < KEPT {
            pool.push(bytes);
        }
        tried += 1;
    }
    println!("{tried} messages, {} outcomes", outcomes.len());
}

#[expect(clippy::disallowed_methods, reason = "told how long, it looks at the clock")]
fn until(long: Option<Duration>) -> impl FnMut(usize) -> bool {
    let start = Instant::now();
    move |tried| long.map_or(tried < FEW, |long| start.elapsed() < long)
}

/// Times that a message is shortened.
const SHORTENED: usize = 1000;

/// What fails still when it is shortened.
fn smallest(mut bytes: Vec<u8>, judge: Judge) -> Vec<u8> {
    let mut size = bytes.len() / 2;
    let mut left = SHORTENED;
    while size > 0 {
        let mut at = 0;
        while at + size <= bytes.len() && left > 0 {
            left -= 1;
            let shorter = [&bytes[..at], &bytes[at + size..]].concat();
            if catch_unwind(AssertUnwindSafe(|| judge(&shorter, Cuts::All))).is_err() {
                bytes = shorter;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    bytes
}

/// Pieces that mean something.
const WORDS: [&[u8]; 44] = [
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b":",
    b",",
    b";",
    b"\0",
    b"\x7f",
    b"\x0b",
    b"\xff",
    b"#",
    b"?",
    b"*",
    b"0",
    b"5",
    b"ffffffffffffffff",
    b"18446744073709551616",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"\r\n\r\n",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b" 204 ",
    b" 304 ",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"chunked",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Upgrade: x\r\n",
    b"Expect: 100-continue\r\n",
    b"HEAD ",
    b"Trailer: X-A\r\n",
    b"X-A: 1\r\n",
    b"http://a",
    b"TE: trailers\r\n",
    b"\"",
];

/// One of the pool, with a few things done to it.
fn spoilt(pool: &[Vec<u8>], draw: &mut Draw) -> Vec<u8> {
    let mut bytes = pool[draw.below(pool.len())].clone();
    for _ in 0..=draw.below(4) {
        let at = draw.below(bytes.len() + 1);
        let end = (at + draw.below(12)).min(bytes.len());
        match draw.below(9) {
            0 | 1 => drop(bytes.splice(at..at, WORDS[draw.below(WORDS.len())].iter().copied())),
            2 => drop(bytes.splice(at..end, WORDS[draw.below(WORDS.len())].iter().copied())),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let piece = bytes[at..end].to_vec();
                let to = draw.below(bytes.len() + 1);
                drop(bytes.splice(to..to, piece));
            }
            5 => bytes.truncate(at),
            7 => {
                let piece = bytes[at..end].repeat(draw.below(200));
                drop(bytes.splice(at..at, piece));
            }
            6 => {
                let other = &pool[draw.below(pool.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[draw.below(other.len() + 1)..]);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << draw.below(8);
                }
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Numbers that follow from the first. Source: SplitMix64, Steele, Lea and Flood 2014.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % u64::try_from(most.max(1)).unwrap()).unwrap()
    }
}
