//! The path of a rule and what the Ingress says that paths mean in, what it matches out, or why it takes nothing.

use portcullis_model::{Code, ExactPath, Glob, PathMatch, PathPrefix, Pattern, Semantics};

use super::{Reader, closed};
use crate::cluster::object::{IngressPath, IngressRule};
use crate::translate::annotations::{Setting, value};
use crate::translate::expressions::Room;
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

/// What is known of a path.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) kind: PathKind,
    /// None takes every path, unless it is closed: then nothing is known that it takes. Several where it is not known
    /// which of them was meant.
    pub(super) paths: Vec<PathMatch>,
    /// Whether it cannot be read, and what it can mean answers 503.
    pub(super) is_closed: bool,
}

impl Taken {
    fn read(kind: PathKind, path: Option<PathMatch>) -> Self {
        Self {
            kind,
            paths: path.into_iter().collect(),
            is_closed: false,
        }
    }
}

impl Reader<'_, '_> {
    pub(super) fn meaning(&mut self) -> PathMeaning {
        let closing = match self.part.is_canary {
            true => "",
            false => "; meanwhile what ImplementationSpecific paths can mean answers 503",
        };
        let decides = self.part.annotations.get("path-match").is_none();
        let regex = self.part.annotations.read(
            "use-regex-path-match",
            |text| match value::boolean(text) {
                Err(why) if decides => Err(format!("{why}{closing}")),
                read => read,
            },
            self.problems,
        );
        let asked = self.part.annotations.read(
            "path-match",
            |text| match text {
                "prefix" => Ok(PathMeaning::Prefix),
                "glob" => Ok(PathMeaning::Glob),
                "regex" => Ok(PathMeaning::Regex),
                _ => Err(format!("expected prefix, glob or regex{closing}")),
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
    /// stands alone that is told, and that it cannot be read. It adds a share, and guards nothing, so it closes nothing.
    pub(super) fn path_of_canary(
        &mut self,
        field: &str,
        rule: &IngressRule,
        path: &IngressPath,
        meaning: PathMeaning,
    ) -> Option<Taken> {
        let mut told = Vec::new();
        let main = self.mains.beside(self.part, rule, path);
        let mut reader = Reader {
            part: main.unwrap_or(self.part),
            backends: &mut *self.backends,
            spent: &mut *self.spent,
            problems: &mut told,
            ..*self
        };
        let meaning = match main {
            Some(_) => reader.meaning(),
            None => meaning,
        };
        let read = reader.path_match(field, path, meaning);
        if main.is_none() && read.is_closed {
            self.problems.append(&mut told);
        }
        Some(read).filter(|read| !read.is_closed)
    }

    /// Told, where the path cannot be read.
    pub(super) fn path_match(&mut self, field: &str, path: &IngressPath, meaning: PathMeaning) -> Taken {
        let written = path.path.as_deref().unwrap_or_default();
        let at = format!("{field}.path");
        let moved = match moved::paths::route(self.part, written) {
            Some(Ok(route)) => Some(route.path),
            Some(Err(_)) => moved::paths::taken(self.part, written, &mut self.spent.room),
            None => None,
        };
        if moved.is_some() {
            return Taken::read(PathKind::ImplementationSpecific, moved);
        }
        let is_expression = meaning == PathMeaning::Regex && &*path.path_type == "ImplementationSpecific";
        let (text, unusual) = spelling::read(written, self.part.semantics, is_expression);
        if let Some(why) = unusual {
            self.problem(Code::PathInvalid, at.clone(), why);
        }
        match &*path.path_type {
            "Exact" => {
                let read = invalid(ExactPath::parse(&text).map(PathMatch::Exact));
                let closing = |_: &mut Room| one(closed::to_the_letter(written, false));
                self.or_closed(PathKind::Exact, at, read, closing)
            }
            "Prefix" => {
                let read = invalid(PathPrefix::parse(&text).map(PathMatch::Prefix));
                let closing = |_: &mut Room| one(closed::to_the_letter(written, true));
                self.or_closed(PathKind::Prefix(text.len()), at, read, closing)
            }
            "ImplementationSpecific" => self.specific(at, written, &text, meaning),
            // What the incumbent takes for ImplementationSpecific.
            "" if self.part.semantics == Semantics::AwsLoadBalancerController => {
                self.specific(at, written, &text, meaning)
            }
            unknown => {
                let why = format!(
                    "path type {} is none of Exact, Prefix and ImplementationSpecific",
                    value::shown(unknown)
                );
                let closing = |room: &mut Room| match meaning {
                    PathMeaning::Regex | PathMeaning::Unknown => closed::of_any(written, room),
                    PathMeaning::Usual => one(closed::of_any_type(written, false)),
                    PathMeaning::Glob => one(closed::of_any_type(written, true)),
                    PathMeaning::Prefix => one(closed::to_the_letter(written, true)),
                };
                let (kind, at) = (PathKind::ImplementationSpecific, format!("{field}.pathType"));
                self.or_closed(kind, at, Err((Code::PathTypeInvalid, why)), closing)
            }
        }
    }

    /// An ImplementationSpecific path, as it is written and as clients send it.
    fn specific(&mut self, at: String, written: &str, text: &str, meaning: PathMeaning) -> Taken {
        let kind = PathKind::ImplementationSpecific;
        if text.is_empty() {
            return Taken::read(kind, None);
        }
        if let Some(why) = self.misunderstood(text, meaning) {
            self.problem(Code::PathInvalid, at.clone(), why);
        }
        let is_below = |before: &str| !before.contains(['*', '?']);
        match meaning {
            PathMeaning::Usual if text == "/*" => {
                Taken::read(kind, Some(PathMatch::Prefix(PathPrefix::root())))
            }
            PathMeaning::Usual if text.strip_suffix("/*").is_some_and(is_below) => {
                let read = self.glob(text, Code::PathInvalid);
                self.or_closed(kind, at, read, |_| one(closed::of_glob(written)))
            }
            PathMeaning::Unknown => {
                let paths = closed::of_any(written, &mut self.spent.room);
                Taken {
                    kind,
                    paths: self.closable(paths),
                    is_closed: true,
                }
            }
            PathMeaning::Usual | PathMeaning::Prefix => {
                let read = invalid(PathPrefix::parse(text).map(PathMatch::Prefix));
                self.or_closed(kind, at, read, |_| one(closed::to_the_letter(written, true)))
            }
            PathMeaning::Glob => {
                let read = self.glob(text, Code::PatternInvalid);
                self.or_closed(kind, at, read, |_| one(closed::of_glob(written)))
            }
            PathMeaning::Regex => {
                let expression = text.strip_prefix('/').unwrap_or(text);
                let read = self.expression(expression, text);
                self.or_closed(kind, at, read, |room| {
                    one(closed::of_expression(expression, room))
                })
            }
        }
    }

    /// The incumbent has patterns that take no path for want of their slash; ours say so.
    fn glob(&self, text: &str, code: Code) -> Result<PathMatch, (Code, String)> {
        let begins = text.starts_with(['/', '*', '?']);
        if !begins && self.part.semantics == Semantics::Kubernetes {
            let why = format!("{} does not start with '/'", value::shown(text));
            return Err((Code::PathInvalid, why));
        }
        let read = Glob::parse(text).map(PathMatch::Glob);
        read.map_err(|why| (code, why.to_string()))
    }

    /// The same of an expression.
    fn expression(&mut self, expression: &str, text: &str) -> Result<PathMatch, (Code, String)> {
        // What a block of YAML ends in, an expression would ask for.
        if expression.ends_with(char::is_control) {
            let why = format!("{} ends in a control character", value::shown(expression));
            return Err((Code::PatternInvalid, why));
        }
        let pattern = self
            .spent
            .room
            .pattern(expression)
            .map_err(|why| (Code::PatternInvalid, why))?;
        if self.part.semantics == Semantics::Kubernetes && closed::takes_no_path(&pattern) {
            let why = format!(
                "the expression is what follows the first /, so {} takes no path: write {}",
                value::shown(expression),
                value::shown(&format!("/{text}"))
            );
            return Err((Code::PathInvalid, why));
        }
        Ok(PathMatch::Regex(pattern))
    }

    /// What was read; else what it can be taken to mean, closed, and told with why.
    fn or_closed(
        &mut self,
        kind: PathKind,
        at: String,
        read: Result<PathMatch, (Code, String)>,
        closing: impl FnOnce(&mut Room) -> Vec<PathMatch>,
    ) -> Taken {
        let (code, why) = match read {
            Ok(path) => return Taken::read(kind, Some(path)),
            Err(why) => why,
        };
        let paths = closing(&mut self.spent.room);
        let paths = self.closable(paths);
        let closed: Vec<String> = paths.iter().map(PathMatch::to_string).collect();
        let verb = if closed.len() > 1 { "answer" } else { "answers" };
        match closed.join(" and ") {
            closed if closed.is_empty() => self.problem(code, at, why),
            closed => self.problem(code, at, format!("{why}; meanwhile {closed} {verb} 503")),
        }
        Taken {
            kind,
            paths,
            is_closed: true,
        }
    }

    /// What may be closed. Under the incumbent's semantics an expression goes to AWS as it is, so it says itself that it
    /// takes the whole path.
    fn closable(&self, paths: Vec<PathMatch>) -> Vec<PathMatch> {
        let closable = |path: PathMatch| match path {
            _ if self.part.is_canary => None,
            PathMatch::Regex(pattern) if self.part.semantics != Semantics::Kubernetes => {
                let whole = Pattern::parse(&format!("^(?:{pattern})$"));
                whole.ok().map(PathMatch::Regex)
            }
            path
            @ (PathMatch::Exact(_) | PathMatch::Prefix(_) | PathMatch::Glob(_) | PathMatch::Regex(_)) => {
                Some(path)
            }
        };
        paths.into_iter().filter_map(closable).collect()
    }

    /// Why a path does not take what its author most likely means it to.
    fn misunderstood(&self, text: &str, meaning: PathMeaning) -> Option<String> {
        let is_plain = |text: &str| !text.strip_suffix("/*").unwrap_or(text).contains('*');
        let is_prefix = matches!(meaning, PathMeaning::Usual | PathMeaning::Prefix);
        (self.part.semantics == Semantics::Kubernetes && is_prefix && !is_plain(text)).then(|| {
            format!(
                "the * in {} stands for itself; portcullis.dev/path-match: glob makes it any text",
                value::shown(text)
            )
        })
    }
}

fn one(path: Option<PathMatch>) -> Vec<PathMatch> {
    path.into_iter().collect()
}

fn invalid<T, E: ToString>(read: Result<T, E>) -> Result<T, (Code, String)> {
    read.map_err(|why| (Code::PathInvalid, why.to_string()))
}
