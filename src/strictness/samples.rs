//! A regular expression in, a short text that it matches out.

use portcullis_model::Pattern;

/// Characters that are tried for a class, the plainest first.
const TRIED: &str = "a0A-_./ x1Zb!\"#$%&'()*+,:;<=>?@[\\]^`{|}~\t";

/// Most repetitions that are written out.
const MOST_REPEATED: usize = 64;

/// What the whole of an expression matches: its first alternatives, each part as rarely as it may. None where that is
/// not found.
pub(super) fn sample(pattern: &Pattern) -> Option<String> {
    let text: Vec<char> = pattern.as_str().chars().collect();
    let mut reader = Reader { text: &text, at: 0 };
    let found = reader.alternatives()?;
    (reader.at == text.len() && pattern.matches(&found)).then_some(found)
}

struct Reader<'a> {
    text: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn takes(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    fn alternatives(&mut self) -> Option<String> {
        let first = self.sequence()?;
        while self.takes('|') {
            self.sequence()?;
        }
        Some(first)
    }

    fn sequence(&mut self) -> Option<String> {
        let mut out = String::new();
        while self.peek().is_some_and(|c| !matches!(c, '|' | ')')) {
            let one = self.atom()?;
            let times = self.least()?;
            out.push_str(&one.repeat(times));
        }
        Some(out)
    }

    /// How often what stands before must be there.
    fn least(&mut self) -> Option<usize> {
        let times = if self.takes('*') || self.takes('?') {
            0
        } else if self.takes('+') {
            1
        } else if self.takes('{') {
            let start = self.at;
            while !self.takes('}') {
                self.peek()?;
                self.at += 1;
            }
            let digits: String = self.text[start..]
                .iter()
                .take_while(|c| c.is_ascii_digit())
                .collect();
            digits.parse().ok().filter(|times| *times <= MOST_REPEATED)?
        } else {
            return Some(1);
        };
        // Whether it takes few or many first is the same to a whole match.
        self.takes('?');
        Some(times)
    }

    fn atom(&mut self) -> Option<String> {
        let start = self.at;
        let first = self.peek()?;
        self.at += 1;
        match first {
            '^' | '$' => Some(String::new()),
            '.' => Some("x".to_owned()),
            '(' => {
                if self.takes('?') && !self.takes(':') {
                    return None;
                }
                let inner = self.alternatives()?;
                self.takes(')').then_some(inner)
            }
            '[' => {
                // The shortest text up to a bracket that is a class by itself.
                loop {
                    self.peek()?;
                    self.at += 1;
                    if self.text[self.at - 1] == ']'
                        && let Ok(class) = Pattern::parse(&self.since(start))
                    {
                        return one_of(&class);
                    }
                }
            }
            '\\' => {
                self.peek()?;
                self.at += 1;
                one_of(&Pattern::parse(&self.since(start)).ok()?)
            }
            literal => Some(literal.to_string()),
        }
    }

    fn since(&self, start: usize) -> String {
        self.text[start..self.at].iter().collect()
    }
}

/// A character that a class takes; nothing where it takes nothing, as the edge of a word does.
fn one_of(class: &Pattern) -> Option<String> {
    let mut tried = TRIED.chars().map(String::from).chain([String::new()]);
    tried.find(|text| class.matches(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_matched_and_short() {
        for (pattern, want) in [
            ("/api/v[0-9]+", Some("/api/v0")),
            ("api/.*", Some("api/")),
            ("^/x$", Some("/x")),
            (r"/\d{3}(a|b)?\.html", Some("/000.html")),
            ("(?:x|y)+z", Some("xz")),
            (r"[^a-z0-9/.\]]", Some("A")),
            ("[[:upper:]]x", Some("Ax")),
            (r"\$1{2,}", Some("$11")),
            ("a{500}", None),
            (r"a$b", None),
        ] {
            let pattern = Pattern::parse(pattern).unwrap();
            assert_eq!(sample(&pattern).as_deref(), want, "{pattern}");
        }
    }
}
