//! Texts and what stands in their place in, how backends' redirects and cookies are rewritten out.

use std::fmt;

use serde::Serialize;
use thiserror::Error;

use super::HeaderText;
use crate::origin::Origin;

/// A text, and what stands in its place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Replacement {
    from: HeaderText,
    to: HeaderText,
}

/// What redirects lead to: in `Location` and `Refresh`, the first text that the URL starts with is replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct LocationRewrites {
    /// Never empty.
    pub rewrites: Vec<Replacement>,
    pub origin: Origin,
}

/// Where backends' cookies are sent to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CookieRewrites {
    /// Whole domains, whatever their case and without a leading dot. An empty one takes `Domain` away: only the host
    /// that set the cookie gets it.
    pub domains: Vec<Replacement>,
    /// What paths start with.
    pub paths: Vec<Replacement>,
    pub origin: Origin,
}

/// Why a text is not replaced so.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NotAReplacement {
    #[error("there is nothing to replace")]
    Nothing,
    #[error("{0:?} is not visible ASCII without blanks, or holds one of ; , and \"")]
    Text(String),
    #[error("{0:?} is no path: it does not start with /")]
    Path(String),
}

impl Replacement {
    /// Of the start of a URL.
    pub fn of_url(from: &str, to: &str) -> Result<Self, NotAReplacement> {
        if from.is_empty() || to.is_empty() {
            return Err(NotAReplacement::Nothing);
        }
        Ok(Self {
            from: text(from)?,
            to: text(to)?,
        })
    }

    /// Of the start of a cookie's path.
    pub fn of_path(from: &str, to: &str) -> Result<Self, NotAReplacement> {
        match [from, to].into_iter().find(|path| !path.starts_with('/')) {
            Some(path) => Err(NotAReplacement::Path(path.to_owned())),
            None => Self::of_url(from, to),
        }
    }

    /// Of a cookie's whole domain.
    pub fn of_domain(from: &str, to: &str) -> Result<Self, NotAReplacement> {
        let bare = |domain: &str| domain.strip_prefix('.').unwrap_or(domain).to_owned();
        let from = bare(from);
        if from.is_empty() {
            return Err(NotAReplacement::Nothing);
        }
        Ok(Self {
            from: text(&from)?,
            to: text(&bare(to))?,
        })
    }

    pub fn from(&self) -> &str {
        self.from.as_str()
    }

    pub fn to(&self) -> &str {
        self.to.as_str()
    }
}

/// It becomes part of a field, or of one attribute of a cookie.
fn text(text: &str) -> Result<HeaderText, NotAReplacement> {
    let bad = || NotAReplacement::Text(text.to_owned());
    if text.contains([' ', '\t', ';', ',', '"']) {
        return Err(bad());
    }
    HeaderText::parse(text).ok_or_else(bad)
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, replaced: &[Replacement]) -> fmt::Result {
    for Replacement { from, to } in replaced {
        write!(f, " {what}{from}→{to}")?;
    }
    Ok(())
}

impl fmt::Display for LocationRewrites {
    /// `redirects http://a/→https://b/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redirects")?;
        list(f, "", &self.rewrites)
    }
}

impl fmt::Display for CookieRewrites {
    /// `cookies domain a→b path /a→/`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cookies")?;
        list(f, "domain ", &self.domains)?;
        list(f, "path ", &self.paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_ends_neither_a_field_nor_an_attribute() {
        type Of = fn(&str, &str) -> Result<Replacement, NotAReplacement>;
        let (url, path, domain): (Of, Of, Of) =
            (Replacement::of_url, Replacement::of_path, Replacement::of_domain);
        for (of, from, to, ok) in [
            (url, "http://inner:8080/", "https://shop.example.com/", true),
            (url, "http://inner/", "/", true),
            (url, "", "/", false),
            (url, "http://inner/", "", false),
            (url, "http://inner/", "/\r\nx: y", false),
            (path, "/one/", "/", true),
            (path, "/one", "/two; Secure", false),
            (path, "one", "/", false),
            (domain, "inner", "example.com", true),
            (domain, ".inner", "", true),
            (domain, ".", "", false),
            (domain, "inner", "a.com;path=/", false),
        ] {
            assert_eq!(of(from, to).is_ok(), ok, "{from:?} {to:?}");
        }
        assert_eq!(domain(".a.com", ".b.com"), domain("a.com", "b.com"));
    }
}
