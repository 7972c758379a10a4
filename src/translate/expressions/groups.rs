//! An expression in, its alternatives and what stands in the group that it begins with out.

use portcullis_model::{Sign, signs};

/// What stands between the `|` that are in no group and no class, and mean themselves nowhere.
pub(super) fn alternatives(expression: &str) -> Vec<&str> {
    let (mut depth, mut start) = (0_usize, 0);
    let mut found = Vec::new();
    for sign in signs(expression).filter(Sign::is_plain) {
        match sign.char {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '|' if depth == 0 => {
                found.push(&expression[start..sign.at]);
                start = sign.end();
            }
            _ => {}
        }
    }
    found.push(&expression[start..]);
    found
}

/// What stands in the group that an expression begins with, and what follows that, unless its bracket is missing.
pub(super) fn group(expression: &str) -> Option<(&str, Option<&str>)> {
    let within = expression.strip_prefix('(')?;
    let mut depth = 0_usize;
    for sign in signs(within).filter(Sign::is_plain) {
        match sign.char {
            '(' => depth += 1,
            ')' if depth == 0 => return Some((&within[..sign.at], Some(&within[sign.end()..]))),
            ')' => depth -= 1,
            _ => {}
        }
    }
    Some((within, None))
}
