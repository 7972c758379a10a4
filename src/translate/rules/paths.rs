//! The path of a rule and what the Ingress says that paths mean in, what it matches out, or why it takes nothing.

use portcullis_model::{Code, ExactPath, Glob, PathMatch, PathPrefix, Pattern, Semantics};

use super::Reader;
use crate::cluster::object::{IngressPath, IngressRule};
use crate::translate::annotations::{Setting, value};
use crate::translate::precedence::PathKind;
use crate::translate::{moved, spelling};

/// How ImplementationSpecific paths of an Ingress match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathMeaning {
    /// `Prefix`, and all below where it ends in `/*`, as on every cloud.
    Usual,
    Prefix,
    Glob,
    /// What follows the first `/` is an expression.
    Regex,
    /// What was asked for cannot be read.
    Unknown,
}

impl Reader<'_, '_> {
    pub(super) fn meaning(&mut self) -> PathMeaning {
        let regex = self
            .part
            .annotations
            .read("use-regex-path-match", value::boolean, self.problems);
        let asked = self.part.annotations.read(
            "path-match",
            |text| match text {
                "prefix" => Ok(PathMeaning::Prefix),
                "glob" => Ok(PathMeaning::Glob),
                "regex" => Ok(PathMeaning::Regex),
                _ => Err("expected prefix, glob or regex".to_owned()),
            },
            self.problems,
        );
        match (asked, regex) {
            (Setting::Invalid, _) | (Setting::Absent, Setting::Invalid) => PathMeaning::Unknown,
            (Setting::Given(meaning), _) => meaning,
            (Setting::Absent, Setting::Given(true)) => PathMeaning::Regex,
            (Setting::Absent, Setting::Given(false) | Setting::Absent) => match self.part.semantics {
                Semantics::Kubernetes => PathMeaning::Usual,
                Semantics::AwsLoadBalancerController => PathMeaning::Glob,
            },
        }
    }

    /// A canary's path means what the Ingress says that it stands beside, which is told what is wrong with it. Of one that
    /// stands alone that is told, and that it cannot be read.
    pub(super) fn path_of_canary(
        &mut self,
        field: &str,
        rule: &IngressRule,
        path: &IngressPath,
        meaning: PathMeaning,
    ) -> Option<(PathKind, Option<PathMatch>)> {
        let mut told = Vec::new();
        let main = self.mains.beside(self.part, rule, path);
        let mut reader = Reader {
            part: main.unwrap_or(self.part),
            backends: &mut *self.backends,
            problems: &mut told,
            ..*self
        };
        let meaning = match main {
            Some(_) => reader.meaning(),
            None => meaning,
        };
        let read = reader.path_match(field, path, meaning);
        if main.is_none() && read.is_none() {
            self.problems.append(&mut told);
        }
        read
    }

    /// None, and told, where the path cannot be read: then no request is known that it takes.
    pub(super) fn path_match(
        &mut self,
        field: &str,
        path: &IngressPath,
        meaning: PathMeaning,
    ) -> Option<(PathKind, Option<PathMatch>)> {
        let text = path.path.as_deref().unwrap_or_default();
        let at = || format!("{field}.path");
        let moved = match moved::paths::route(self.part, text) {
            Some(Ok(route)) => Some(route.path),
            Some(Err(_)) => moved::paths::taken(self.part, text),
            None => None,
        };
        if moved.is_some() {
            return Some((PathKind::ImplementationSpecific, moved));
        }
        let is_expression = meaning == PathMeaning::Regex && &*path.path_type == "ImplementationSpecific";
        let (text, unusual) = spelling::read(text, self.part.semantics, is_expression);
        if let Some(why) = unusual {
            self.problem(Code::PathInvalid, at(), why);
        }
        let text = &*text;
        let specific = match &*path.path_type {
            "Exact" => {
                return match ExactPath::parse(text) {
                    Ok(exact) => Some((PathKind::Exact, Some(PathMatch::Exact(exact)))),
                    Err(why) => {
                        self.problem(Code::PathInvalid, at(), why);
                        None
                    }
                };
            }
            "Prefix" => {
                return match PathPrefix::parse(text) {
                    Ok(prefix) => Some((PathKind::Prefix(text.len()), Some(PathMatch::Prefix(prefix)))),
                    Err(why) => {
                        self.problem(Code::PathInvalid, at(), why);
                        None
                    }
                };
            }
            "ImplementationSpecific" => true,
            // What the incumbent takes for ImplementationSpecific.
            "" => self.part.semantics == Semantics::AwsLoadBalancerController,
            _ => false,
        };
        if !specific {
            let why = format!(
                "path type {} is none of Exact, Prefix and ImplementationSpecific",
                value::shown(&path.path_type)
            );
            self.problem(Code::PathTypeInvalid, format!("{field}.pathType"), why);
            return None;
        }
        let kind = PathKind::ImplementationSpecific;
        if text.is_empty() {
            return Some((kind, None));
        }
        if let Some(why) = self.untaken(text, meaning) {
            self.problem(Code::PathInvalid, at(), why);
        }
        let is_below = |before: &str| !before.contains(['*', '?']);
        let read = match meaning {
            PathMeaning::Usual if text == "/*" => Ok(PathMatch::Prefix(PathPrefix::root())),
            PathMeaning::Usual if text.strip_suffix("/*").is_some_and(is_below) => Glob::parse(text)
                .map(PathMatch::Glob)
                .map_err(|why| (Code::PathInvalid, why.to_string())),
            PathMeaning::Unknown => return None,
            PathMeaning::Usual | PathMeaning::Prefix => PathPrefix::parse(text)
                .map(PathMatch::Prefix)
                .map_err(|why| (Code::PathInvalid, why.to_string())),
            PathMeaning::Glob => Glob::parse(text)
                .map(PathMatch::Glob)
                .map_err(|why| (Code::PatternInvalid, why.to_string())),
            PathMeaning::Regex => Pattern::parse(text.strip_prefix('/').unwrap_or(text))
                .map(PathMatch::Regex)
                .map_err(|why| (Code::PatternInvalid, why.to_string())),
        };
        match read {
            Ok(path) => Some((kind, Some(path))),
            Err((code, why)) => {
                self.problem(code, at(), why);
                None
            }
        }
    }

    /// Why a path takes nothing that its author most likely means it to.
    fn untaken(&self, text: &str, meaning: PathMeaning) -> Option<String> {
        if self.part.semantics != Semantics::Kubernetes {
            return None;
        }
        let is_plain = |text: &str| !text.strip_suffix("/*").unwrap_or(text).contains('*');
        match meaning {
            PathMeaning::Usual | PathMeaning::Prefix if !is_plain(text) => Some(format!(
                "the * in {} stands for itself; portcullis.dev/path-match: glob makes it any text",
                value::shown(text)
            )),
            PathMeaning::Regex => {
                let written = text.strip_prefix('/').unwrap_or(text);
                let pattern = Pattern::parse(written).ok()?;
                let literal = pattern.literal_prefix();
                (!literal.is_empty() && !literal.starts_with('/')).then(|| {
                    format!(
                        "the expression is what follows the first /, so {} takes no path: write {}",
                        value::shown(written),
                        value::shown(&format!("/{text}"))
                    )
                })
            }
            PathMeaning::Usual | PathMeaning::Prefix | PathMeaning::Glob | PathMeaning::Unknown => None,
        }
    }
}
