//! A message's fields in, the same with what a rule changes of them out.

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_model as model;

use crate::fields;

#[derive(Debug)]
pub(crate) struct Changes {
    set: Box<[(HeaderName, HeaderValue)]>,
    add: Box<[(HeaderName, HeaderValue)]>,
    remove: Box<[HeaderName]>,
}

impl Changes {
    /// None where a name or a value is none after all; the model's are narrower than these.
    pub(crate) fn new(changes: &model::HeaderChanges) -> Option<Self> {
        let pair = |(name, text): (&model::HeaderName, &model::HeaderText)| {
            let name = HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(text.as_str()).ok()?))
        };
        let remove = changes.remove();
        let remove = remove.map(|name| HeaderName::from_bytes(name.as_str().as_bytes()).ok());
        Some(Self {
            set: changes.set().map(pair).collect::<Option<_>>()?,
            add: changes.add().map(pair).collect::<Option<_>>()?,
            remove: remove.collect::<Option<_>>()?,
        })
    }

    /// What is removed, or replaced by what the rule says in its place.
    fn taken(&self) -> impl Iterator<Item = &HeaderName> {
        self.remove.iter().chain(self.set.iter().map(|(name, _)| name))
    }

    /// Takes it away.
    pub(crate) fn hold_back(&self, headers: &mut HeaderMap) {
        for name in self.taken() {
            headers.remove(name);
        }
    }

    /// Takes it away from what a client says, in all forms of its name.
    pub(crate) fn forget(&self, headers: &mut HeaderMap) {
        for name in self.taken() {
            fields::forget(headers, name.as_str());
        }
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
    }
}
