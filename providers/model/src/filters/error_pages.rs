//! Statuses and what is shown for them in, the pages of a rule out.

use std::fmt;
use std::ops::RangeInclusive;

use serde::Serialize;
use thiserror::Error;

use super::HeaderText;
use crate::origin::Origin;

/// What is shown in place of the content of answers with these statuses, whoever gives them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ErrorPage {
    statuses: Vec<RangeInclusive<u16>>,
    content_type: HeaderText,
    body: String,
}

/// The first page that has an answer's status is shown.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ErrorPages {
    /// Never empty.
    pub pages: Vec<ErrorPage>,
    pub origin: Origin,
}

/// Why something is no page.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NotAPage {
    #[error("expected statuses from 400 to 599, such as 404 or 500-599")]
    Statuses,
    #[error("expected a media type such as text/html")]
    ContentType,
}

impl ErrorPage {
    pub fn new(
        statuses: Vec<RangeInclusive<u16>>,
        content_type: &str,
        body: String,
    ) -> Result<Self, NotAPage> {
        let is_error = |range: &RangeInclusive<u16>| {
            !range.is_empty()
                && [range.start(), range.end()]
                    .iter()
                    .all(|status| (400..=599).contains(*status))
        };
        if statuses.is_empty() || !statuses.iter().all(is_error) {
            return Err(NotAPage::Statuses);
        }
        let content_type = HeaderText::parse(content_type).filter(|text| text.as_str().contains('/'));
        Ok(Self {
            statuses,
            content_type: content_type.ok_or(NotAPage::ContentType)?,
            body,
        })
    }

    pub fn is_for(&self, status: u16) -> bool {
        self.statuses.iter().any(|range| range.contains(&status))
    }

    pub fn content_type(&self) -> &str {
        self.content_type.as_str()
    }

    pub fn body(&self) -> &str {
        &self.body
    }
}

impl fmt::Display for ErrorPages {
    /// `pages for 404 and 500-599`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.pages.iter().flat_map(|page| &page.statuses);
        let ranges = ranges.map(|range| match (range.start(), range.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        });
        write!(f, "pages for {}", ranges.collect::<Vec<_>>().join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_for_errors() {
        for (statuses, kind, ok) in [
            (vec![404..=404, 500..=599], "text/html; charset=utf-8", true),
            (vec![400..=599], "text/plain", true),
            (vec![], "text/html", false),
            (vec![200..=200], "text/html", false),
            (vec![301..=404], "text/html", false),
            (vec![500..=600], "text/html", false),
            #[expect(clippy::reversed_empty_ranges, reason = "somebody writes it so")]
            (vec![503..=500], "text/html", false),
            (vec![404..=404], "html", false),
            (vec![404..=404], "text/html\r\nx: y", false),
        ] {
            let got = ErrorPage::new(statuses.clone(), kind, String::new());
            assert_eq!(got.is_ok(), ok, "{statuses:?} {kind:?}");
        }
    }
}
