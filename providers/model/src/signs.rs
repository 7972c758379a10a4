//! The text of an expression in, its characters with how each is meant out.

/// A character of an expression.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Sign {
    /// Where it stands, in bytes.
    pub at: usize,
    pub char: char,
    /// Whether a backslash stands before it, which is none of its own meaning.
    pub is_escaped: bool,
    /// Whether it stands between brackets, the closing one included.
    pub is_class: bool,
    /// Whether it comes first there; behind a `^` that does, the next one, too.
    pub is_first: bool,
}

impl Sign {
    /// Where the next one stands, in bytes.
    pub fn end(&self) -> usize {
        self.at + self.char.len_utf8()
    }

    /// Whether it has the meaning of its own, if any: behind no backslash, and between no brackets.
    pub fn is_plain(&self) -> bool {
        !self.is_escaped && !self.is_class
    }
}

/// The characters of an expression. Between brackets a `]` that comes first closes nothing, and `[:alpha:]` is one of what
/// is named; any other `[` is itself. Source: PCRE2, "Square brackets and character classes".
pub fn signs(expression: &str) -> impl Iterator<Item = Sign> {
    let (mut is_escaped, mut class) = (false, Class::None);
    expression.char_indices().map(move |(at, char)| {
        let sign = Sign {
            at,
            char,
            is_escaped,
            is_class: class != Class::None,
            is_first: class == Class::Opened,
        };
        is_escaped = !sign.is_escaped && char == '\\';
        let names = expression[at..].starts_with("[:");
        class = match (class, char) {
            (Class::None, _) if sign.is_escaped => Class::None,
            (Class::None, '[') => Class::Opened,
            (Class::None, _) => Class::None,
            (Class::Opened, '^') if expression[..at].ends_with('[') => Class::Opened,
            (Class::Opened | Class::Open, '[') if names && !sign.is_escaped => Class::Named,
            (Class::Open, ']') if !sign.is_escaped => Class::None,
            (Class::Named, ':') if expression[sign.end()..].starts_with(']') => Class::NameEnds,
            (Class::Named, _) => Class::Named,
            (Class::Opened | Class::Open | Class::NameEnds, _) => Class::Open,
        };
        sign
    })
}

/// Where a character stands towards brackets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Class {
    None,
    /// At what comes first between them.
    Opened,
    Open,
    /// In a name, as of `[:alpha:]`.
    Named,
    /// At the bracket that ends it.
    NameEnds,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backslash_and_brackets_take_the_meaning_of_what_follows() {
        // Under each: `\` behind a backslash, `[` between brackets, `!` both.
        for (expression, want) in [
            ("", ""),
            ("/a.b", "    "),
            (r"\.\\.", r" \ \ "),
            (r"a\", "  "),
            (r"[a-z]+", " [[[[ "),
            (r"[\]x]y", " [![[ "),
            (r"\[a]", r" \  "),
            ("[^[]x", " [[[ "),
            ("a]b", "   "),
            ("[ab", " [["),
            ("[]|]x", " [[[ "),
            ("[^]|]x", " [[[[ "),
            ("[a^]|", " [[[ "),
            ("[[:alpha:]|]x", " [[[[[[[[[[[ "),
            ("[[:alpha:]]|", " [[[[[[[[[[ "),
            ("[:alpha:]x", " [[[[[[[[ "),
            (r"[\[:]x", " [![[ "),
            ("ü[ü]", "  [["),
        ] {
            let met: Vec<Sign> = signs(expression).collect();
            let meant = met.iter().map(|sign| match (sign.is_escaped, sign.is_class) {
                (true, true) => '!',
                (true, false) => '\\',
                (false, true) => '[',
                (false, false) => ' ',
            });
            assert_eq!(meant.collect::<String>(), want, "{expression}");
            let text: String = met.iter().map(|sign| &expression[sign.at..sign.end()]).collect();
            assert_eq!(text, expression);
        }
    }
}
