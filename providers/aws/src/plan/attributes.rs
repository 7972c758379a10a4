//! Attributes that are asked for and those there are in, the calls that set what differs out.
//!
//! AWS takes all attributes of a call or none. Where it refused a call for the sake of one of them, the others are asked
//! for without it: without those that its words name, else half by half, until what it refuses stands alone.

use portcullis_model::{Code, Refusals};

use super::target_groups::differing;
use super::{change, field, refused};
use crate::change::{Call, Change};
use crate::resource::{Kind, Pairs};

/// A key that nobody asks for any more keeps its value, as the incumbent keeps it.
pub(super) fn set<K: Kind>(
    refused: &Refusals<Change>,
    id: &str,
    (desired, had): (&Pairs, &Pairs),
    call: impl Fn(Pairs) -> Call,
    changes: &mut Vec<Change>,
) {
    for attributes in parts(refused, differing(desired, had), &call) {
        let fields = attributes.0.iter();
        let fields = fields.filter_map(|(key, value)| field(key, &had.get(key), value));
        let fields = fields.collect();
        let change = change::<K>(id, call(attributes), "its attributes differ");
        changes.push(Change { fields, ..change });
    }
}

/// What is asked for in one call each, in order.
fn parts(refused: &Refusals<Change>, mut wanted: Pairs, call: &impl Fn(Pairs) -> Call) -> Vec<Pairs> {
    // Calls about the same resource that asked for nothing else.
    let alike =
        |one: &&refused::One| asked(&one.change.call).is_some_and(|a| call(a.clone()) == one.change.call);
    let alike: Vec<(&Pairs, Fault)> = refused
        .iter()
        .filter(alike)
        .filter_map(|one| Some((asked(&one.change.call)?, at_fault(one))))
        .collect();
    let hopeless = |key: &String, value: &str| {
        let mut calls = alike.iter();
        calls.any(|(asked, fault)| {
            asked.get(key) == Some(value) && matches!(fault, Fault::Of(keys) if keys.contains(key))
        })
    };
    wanted.0.retain(|key, value| !hopeless(key, value));
    if wanted.is_empty() {
        return Vec::new();
    }
    let is_wanted = |asked: &&Pairs| asked.0.iter().all(|(key, value)| wanted.get(key) == Some(value));
    let suspected = alike
        .iter()
        .filter(|(_, fault)| matches!(fault, Fault::OfSome(_)));
    let suspected = suspected.map(|(asked, _)| *asked).filter(is_wanted);
    let Some(suspected) = suspected.min_by_key(|asked| asked.0.len()).cloned() else {
        return vec![wanted];
    };
    let mut first = suspected.clone();
    let half = first.0.keys().nth(first.0.len() / 2).cloned().unwrap_or_default();
    let second = Pairs(first.0.split_off(&half));
    wanted.0.retain(|key, _| suspected.get(key).is_none());
    let halves = [first, second, wanted].into_iter();
    halves.flat_map(|part| parts(refused, part, call)).collect()
}

/// Those whose names stand in AWS's words.
fn named(asked: &Pairs, words: &str) -> Vec<String> {
    let of_a_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_');
    // A full stop ends a sentence, too.
    let words = words
        .split(|c: char| !of_a_name(c))
        .map(|word| word.trim_matches('.'));
    let words: Vec<&str> = words.collect();
    let keys = asked.0.keys().filter(|key| words.contains(&key.as_str()));
    keys.cloned().collect()
}

/// What a call asks for, if it sets attributes.
fn asked(call: &Call) -> Option<&Pairs> {
    if let Call::ModifyLoadBalancerAttributes { attributes, .. }
    | Call::ModifyTargetGroupAttributes { attributes, .. }
    | Call::ModifyListenerAttributes { attributes, .. } = call
    {
        Some(attributes)
    } else {
        None
    }
}

/// For which of its attributes a call was refused.
#[derive(Debug)]
enum Fault {
    /// It sets none, or would be refused with others as well.
    None,
    /// For each of these.
    Of(Vec<String>),
    /// For at least one of these.
    OfSome(Vec<String>),
}

fn at_fault(one: &refused::One) -> Fault {
    let asked = asked(&one.change.call).filter(|_| one.error.code == Code::RequestRefused);
    let Some(asked) = asked else {
        return Fault::None;
    };
    let named = named(asked, &one.error.message);
    let all = || asked.0.keys().cloned().collect();
    match (named.is_empty(), asked.0.len()) {
        (false, _) => Fault::Of(named),
        (true, 1) => Fault::Of(all()),
        (true, _) => Fault::OfSome(all()),
    }
}

/// The attributes that a refused call may have been refused for.
pub(super) fn suspects(one: &refused::One) -> Vec<String> {
    match at_fault(one) {
        Fault::None => Vec::new(),
        Fault::Of(keys) | Fault::OfSome(keys) => keys,
    }
}

/// Whether other calls tell what is wrong with this one: it was asked for again in parts, and some were refused.
pub(super) fn is_told_by_parts(one: &refused::One, all: &Refusals<Change>) -> bool {
    let Fault::OfSome(keys) = at_fault(one) else {
        return false;
    };
    let is_part = |other: &refused::One| {
        let part = suspects(other);
        (other.change.kind, &other.change.id) == (one.change.kind, &one.change.id)
            && (1..keys.len()).contains(&part.len())
            && part.iter().all(|key| keys.contains(key))
    };
    all.iter().any(is_part)
}
