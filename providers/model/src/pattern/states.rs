//! An expression in, out whether it has few enough states: then each byte of a text costs one step, however it is written.

use std::collections::BTreeSet;

use regex_automata::hybrid::dfa::{Config, DFA};
use regex_automata::nfa::thompson::NFA;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Class, Hir, HirKind};

/// Most states that what clients send in ASCII may bring an expression into. Where there are more, as of `.*a.{20}`, which must
/// know of each of 20 characters whether it was an `a`, the states are not kept, and each byte costs a step for each place in
/// the expression. 1,024 bytes to the letter have as many; an `a` and 9 of any character 1,024, too.
pub(super) const MOST: usize = 2048;
/// Memory for them, in bytes. It also bounds how long they are looked for, as each state knows all its places.
const BYTES: usize = 512 << 10;

/// The memory for them, in bytes, in each worker that matches; none where they are too many.
pub(super) fn memory(nfa: NFA, of: &Hir) -> Option<usize> {
    let settings = Config::new()
        .cache_capacity(BYTES)
        // Full once, it gives up.
        .minimum_cache_clear_count(Some(0))
        .unicode_word_boundary(true);
    let dfa = DFA::builder().configure(settings).build_from_nfa(nfa).ok()?;
    let mut cache = dfa.create_cache();
    // One of those bytes that it does not tell apart.
    let mut bytes: Vec<u8> = (0..=if is_foreign(of) { 0xff } else { 0x7f }).collect();
    bytes.dedup_by_key(|byte| dfa.byte_classes().get(*byte));
    let start = Input::new("").anchored(Anchored::Yes);
    let start = dfa.start_state_forward(&mut cache, &start).ok()?;
    let (mut known, mut unseen) = (BTreeSet::from([start]), vec![start]);
    while let Some(state) = unseen.pop() {
        for byte in &bytes {
            let next = dfa.next_state(&mut cache, state, *byte).ok()?;
            if !next.is_dead() && !next.is_quit() && known.insert(next) {
                unseen.push(next);
            }
        }
        if known.len() > MOST {
            return None;
        }
    }
    Some(cache.memory_usage())
}

/// Whether something in it tells other languages apart and takes all of ASCII or none: then that alone says too little. A `\w`
/// does neither, and has a state for each of many alphabets.
fn is_foreign(of: &Hir) -> bool {
    match of.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(text) => !text.0.is_ascii(),
        HirKind::Class(Class::Bytes(_)) => true,
        HirKind::Class(Class::Unicode(class)) => match class.ranges() {
            [] => false,
            [first, ..] if first.start() == '\0' && first.end() >= '\x7f' => first.end() < char::MAX,
            [first, ..] => !first.start().is_ascii(),
        },
        HirKind::Repetition(of) => is_foreign(&of.sub),
        HirKind::Capture(of) => is_foreign(&of.sub),
        HirKind::Concat(all) | HirKind::Alternation(all) => all.iter().any(is_foreign),
    }
}
