//! Text that others wrote in, text that a terminal shows and does not obey out.

use std::fmt;

/// Adds a line.
pub(super) fn line(text: &mut String, line: fmt::Arguments<'_>) {
    push(text, &line.to_string());
    text.push('\n');
}

/// Text of several lines, each of them harmless.
pub(super) fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for part in text.split_inclusive('\n') {
        match part.strip_suffix('\n') {
            Some(part) => line(&mut out, format_args!("{part}")),
            None => push(&mut out, part),
        }
    }
    out
}

/// Adds a text of one line.
pub(super) fn push(text: &mut String, more: &str) {
    for c in more.chars() {
        if hides(c) {
            text.extend(c.escape_unicode());
        } else {
            text.push(c);
        }
    }
}

/// Whether a terminal obeys it instead of showing it: an annotation could otherwise write over the plan that is read
/// before it is applied. Unicode's controls of direction do the same (Unicode Technical Report 36, 2.10).
fn hides(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        for (given, want) in [
            ("a → b", "a → b\n"),
            ("a\u{1b}[2Kb", "a\\u{1b}[2Kb\n"),
            ("a\nb\rc", "a\\u{a}b\\u{d}c\n"),
            ("a\u{202e}b", "a\\u{202e}b\n"),
            ("\u{9b}31m", "\\u{9b}31m\n"),
        ] {
            let mut text = String::new();
            line(&mut text, format_args!("{given}"));
            assert_eq!(text, want, "{given:?}");
        }
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(lines("a\n\u{1b}b\n\nc\r"), "a\n\\u{1b}b\n\nc\\u{d}");
    }
}
