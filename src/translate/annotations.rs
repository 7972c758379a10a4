//! The annotations of one object in, typed settings or the problem at their key out.

pub(super) mod attributes;
pub mod catalog;
pub mod gke;
pub(super) mod json;
pub mod nginx;
pub(super) mod value;

use std::collections::BTreeMap;

use portcullis_model::{Code, Origin, Problem};

use self::attributes::Of;
use self::catalog::{Known, Scope, Support};
use self::nginx::Fate;
use crate::cluster::object::{ClassParameters, Meta};

/// The incumbent's prefix.
pub const ALB: &str = "alb.ingress.kubernetes.io/";
/// Ours, for what means the same on every provider; wins where both are written.
pub const PORTABLE: &str = "portcullis.dev/";
/// ingress-nginx's, read under Kubernetes semantics alone: the incumbent of the other does not know them.
pub const NGINX: &str = "nginx.ingress.kubernetes.io/";

/// One annotation as written, or as the parameters of the class say it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written<'a> {
    key: &'a str,
    pub(super) value: &'a str,
    class: Option<(&'a ClassParameters, &'static str)>,
}

impl Written<'_> {
    /// Without prefix.
    pub(super) fn name(&self) -> &str {
        self.key.split_once('/').map_or(self.key, |(_, name)| name)
    }

    /// Whether it is a list of nothing.
    pub(super) fn lists_nothing(&self) -> bool {
        value::list(self.value).is_empty()
    }

    /// What it means that the value cannot be read.
    fn invalid(&self) -> Code {
        match self.class {
            Some(_) => Code::ClassParametersInvalid,
            None => Code::AnnotationInvalid,
        }
    }
}

/// What an annotation says, if anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Setting<T> {
    Absent,
    Given(T),
    /// Written, but unreadable, and reported.
    Invalid,
}

impl<T> Setting<T> {
    /// What is given; neither absent nor unreadable ones say anything.
    pub(super) fn given(self) -> Option<T> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// The same with what is made of the value.
    pub(super) fn map<U>(self, made: impl FnOnce(T) -> U) -> Setting<U> {
        match self {
            Self::Absent => Setting::Absent,
            Self::Given(value) => Setting::Given(made(value)),
            Self::Invalid => Setting::Invalid,
        }
    }

    pub(super) fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid)
    }
}

/// The annotations of one object, by their name without prefix.
#[derive(Clone, Debug)]
pub(super) struct Annotations<'a> {
    kind: &'static str,
    meta: &'a Meta,
    by_name: BTreeMap<&'a str, Written<'a>>,
    /// What the parameters of the class say; wins.
    by_class: BTreeMap<&'a str, Written<'a>>,
    /// By ingress-nginx's names without, and GKE's with their prefix.
    by_others: BTreeMap<&'a str, Written<'a>>,
}

impl<'a> Annotations<'a> {
    /// `kind` as origins name it.
    pub(super) fn of(kind: &'static str, meta: &'a Meta) -> Self {
        let mut by_name = BTreeMap::new();
        for prefix in [ALB, PORTABLE] {
            for (key, value) in &meta.annotations {
                let Some(name) = key.strip_prefix(prefix) else {
                    continue;
                };
                // Under our prefix only what every provider can mean is read; the rest is unknown there.
                let known = catalog::find(name);
                let is_read = match prefix {
                    ALB => known.is_none_or(Known::is_theirs),
                    _ => known.is_some_and(Known::is_ours),
                };
                if is_read {
                    let class = None;
                    by_name.insert(name, Written { key, value, class });
                }
            }
        }
        let others = meta.annotations.iter().filter_map(|(key, value)| {
            let (name, theirs) = match key.strip_prefix(NGINX) {
                Some(name) => (name, nginx::find(name)),
                None => {
                    let theirs = gke::find(key);
                    let is_here = gke::is_of_services(key) == (kind == "service");
                    (&**key, theirs.filter(|_| is_here))
                }
            };
            theirs.filter(|theirs| theirs.fate == Fate::Read)?;
            let class = None;
            Some((name, Written { key, value, class }))
        });
        Self {
            kind,
            meta,
            by_name,
            by_class: BTreeMap::new(),
            by_others: others.collect(),
        }
    }

    /// With what the parameters of its class say instead.
    pub(super) fn of_class(mut self, parameters: Option<&'a ClassParameters>) -> Self {
        if let Some(parameters) = parameters {
            self.by_class = parameters
                .given
                .iter()
                .map(|(name, given)| {
                    let written = Written {
                        key: name,
                        value: &given.value,
                        class: Some((parameters, given.field)),
                    };
                    (&**name, written)
                })
                .collect();
        }
        self
    }

    pub(super) fn get(&self, name: &str) -> Option<Written<'a>> {
        self.class(name).or_else(|| self.own(name))
    }

    /// What the object says by a name of ingress-nginx's.
    pub(super) fn nginx(&self, name: &str) -> Option<Written<'a>> {
        self.of_others(name)
    }

    /// The same of all whose annotations are read in place of ours: GKE's with their prefix.
    fn of_others(&self, name: &str) -> Option<Written<'a>> {
        self.by_others.get(name).copied()
    }

    /// What the object itself says.
    pub(super) fn own(&self, name: &str) -> Option<Written<'a>> {
        self.by_name.get(name).copied()
    }

    /// What the parameters of its class say.
    pub(super) fn class(&self, name: &str) -> Option<Written<'a>> {
        self.by_class.get(name).copied()
    }

    /// Those whose name starts with a prefix such as `actions.`, by the rest of their name.
    pub(super) fn family(&self, prefix: &'a str) -> impl Iterator<Item = (&'a str, Written<'a>)> {
        let of = move |map: &BTreeMap<&'a str, Written<'a>>| {
            let named = map
                .range(prefix..)
                .map_while(move |(name, written)| name.strip_prefix(prefix).map(|rest| (rest, *written)));
            named.collect::<BTreeMap<_, _>>()
        };
        let mut all = of(&self.by_name);
        all.extend(of(&self.by_class));
        all.into_iter()
    }

    /// Reads maps, of which later ones win key by key, and whether all of them could be read.
    pub(super) fn read_maps<const N: usize>(
        &self,
        sources: [Option<Written<'_>>; N],
        problems: &mut Vec<Problem>,
    ) -> (BTreeMap<String, String>, bool) {
        let mut all = BTreeMap::new();
        let mut whole = true;
        for written in sources.into_iter().flatten() {
            match value::map(written.value) {
                Ok(map) => all.extend(map),
                Err(why) => {
                    problems.push(self.invalid(written, why));
                    whole = false;
                }
            }
        }
        (all, whole)
    }

    /// The same of tags; those that are not a user's to set are told and left out.
    pub(super) fn read_tags<const N: usize>(
        &self,
        sources: [Option<Written<'_>>; N],
        problems: &mut Vec<Problem>,
    ) -> (BTreeMap<String, String>, bool) {
        for written in sources.into_iter().flatten() {
            for key in value::map(written.value).unwrap_or_default().keys() {
                if value::is_reserved_tag(key) {
                    let message = format!("tag {} is reserved, and left out", value::shown(key));
                    problems.push(Problem::new(written.invalid(), self.origin(written), message));
                }
            }
        }
        let (mut all, whole) = self.read_maps(sources, problems);
        all.retain(|key, _| !value::is_reserved_tag(key));
        (all, whole)
    }

    /// The same of attributes; each that AWS would refuse is told and left out, also where an earlier source has it:
    /// what was meant to win is not there.
    pub(super) fn read_attributes<const N: usize>(
        &self,
        of: Of,
        sources: [Option<Written<'_>>; N],
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<String, String> {
        let mut all = BTreeMap::new();
        for written in sources.into_iter().flatten() {
            let (good, refused) = attributes::sifted(of, self.read_maps([Some(written)], problems).0);
            all.extend(good);
            for (key, why) in refused {
                all.remove(&key);
                problems.push(Problem::new(written.invalid(), self.origin(written), why));
            }
        }
        all
    }

    /// Tells each attribute that the proxy does not heed, and what it does; what AWS would refuse is told already.
    pub(super) fn tell_unheeded(&self, of: Of, written: Written<'_>, problems: &mut Vec<Problem>) {
        let (good, _) = attributes::sifted(of, value::map(written.value).unwrap_or_default());
        for (key, value) in good {
            if let Some(instead) = attributes::instead(of, &key, &value) {
                let message = format!("{key} has no effect here: {instead}");
                let at = self.origin(written);
                problems.push(Problem::new(Code::AnnotationUnsupported, at, message));
            }
        }
    }

    /// Tells what AWS would refuse beside the other attributes of the resource.
    pub(super) fn tell_at_odds(
        &self,
        name: &str,
        odd: impl IntoIterator<Item = String>,
        problems: &mut Vec<Problem>,
    ) {
        let Some(written) = self.get(name) else {
            return;
        };
        for why in odd {
            problems.push(Problem::new(written.invalid(), self.origin(written), why));
        }
    }

    pub(super) fn origin(&self, written: Written<'_>) -> Origin {
        if let Some((parameters, field)) = written.class {
            return Origin::new(parameters.kind.origin(), parameters.meta.name.clone(), field);
        }
        let field = format!("metadata.annotations[{}]", written.key);
        Origin::new(self.kind, self.meta.name.clone(), field)
    }

    pub(super) fn invalid(&self, written: Written<'_>, why: impl std::fmt::Display) -> Problem {
        let message = format!("{} is not valid: {why}", value::shown(written.value));
        Problem::new(written.invalid(), self.origin(written), message)
    }

    /// A field of its JSON that is passed over, as the incumbent does.
    pub(super) fn without_effect(&self, written: Written<'_>, field: &str) -> Problem {
        let message = format!("{field} has no meaning there, and is passed over");
        Problem::new(Code::FieldUnknown, self.origin(written), message)
    }

    /// Not the value, but what follows the family's prefix is wrong.
    pub(super) fn invalid_name(&self, written: Written<'_>, why: &str) -> Problem {
        let message = format!(
            "{} is no name that is read here: {why}",
            value::shown(written.key)
        );
        Problem::new(written.invalid(), self.origin(written), message)
    }

    /// Reads one; what cannot be read is reported and never taken for absent.
    pub(super) fn read<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
        problems: &mut Vec<Problem>,
    ) -> Setting<T> {
        match self.get(name) {
            Some(written) => self.read_written(written, parse, problems),
            None => Setting::Absent,
        }
    }

    /// The same of one that was found.
    pub(super) fn read_written<T>(
        &self,
        written: Written<'_>,
        parse: impl FnOnce(&str) -> Result<T, String>,
        problems: &mut Vec<Problem>,
    ) -> Setting<T> {
        match parse(written.value) {
            Ok(value) => Setting::Given(value),
            Err(why) => {
                problems.push(self.invalid(written, why));
                Setting::Invalid
            }
        }
    }

    /// Takes away those that are not admitted; answers their names and where they stand.
    pub(super) fn withhold(&mut self, admits: impl Fn(&str) -> bool) -> Vec<(&'a str, Origin)> {
        let own = |name: &str| {
            let theirs = nginx::find(name).or_else(|| gke::find(name));
            theirs.map_or("", |theirs| theirs.own)
        };
        let others = self.by_others.iter().filter(|(name, _)| !admits(own(name)));
        let all = self.by_name.iter().filter(|(name, _)| !admits(name));
        let withheld: Vec<_> = all
            .chain(others)
            .map(|(name, written)| (*name, self.origin(*written)))
            .collect();
        self.by_name.retain(|name, _| admits(name));
        self.by_others.retain(|name, _| admits(own(name)));
        withheld
    }

    /// Those of a scope that the object itself has.
    pub(super) fn of_scope(&self, scope: Scope) -> impl Iterator<Item = (&'a str, Written<'a>)> {
        let all = self.by_name.iter();
        let of_scope =
            all.filter(move |(name, _)| catalog::find(name).is_some_and(|known| known.scope == scope));
        of_scope.map(|(name, written)| (*name, *written))
    }

    /// Without those of a scope that the object itself has.
    pub(super) fn without(&self, scope: Scope) -> Self {
        let mut rest = self.clone();
        rest.by_name
            .retain(|name, _| catalog::find(name).is_none_or(|known| known.scope != scope));
        rest
    }

    /// Reports what is unknown or not built, and tells whether one of those restricts who may pass: what such an
    /// annotation constrains must not be served without it.
    pub(super) fn review(&self, problems: &mut Vec<Problem>) -> Option<&'static str> {
        let mut refused = None;
        for (key, value) in &self.meta.annotations {
            let (name, ours) = match (key.strip_prefix(ALB), key.strip_prefix(PORTABLE)) {
                (Some(name), _) => (name, false),
                (None, Some(name)) => (name, true),
                (None, None) => continue,
            };
            let class = None;
            let written = Written { key, value, class };
            let known = catalog::find(name).filter(|known| match ours {
                true => known.is_ours(),
                false => known.is_theirs(),
            });
            if let Some(known) = known
                && known.scope == Scope::Filter
                && self.kind != "ingress"
            {
                refused.get_or_insert(known.name);
                let message = "is read on an Ingress alone: what leads here answers 503";
                problems.push(Problem::new(
                    Code::AnnotationUnsupported,
                    self.origin(written),
                    message,
                ));
                continue;
            }
            let (code, message) = match known.map(|known| known.support) {
                Some(Support::Built) => continue,
                Some(Support::Ignored) => (
                    Code::AnnotationUnsupported,
                    "is known, but has no effect in this release".to_owned(),
                ),
                Some(Support::Refused) if catalog::is_off(name, value) => continue,
                Some(Support::Refused) => {
                    let known = known.map_or("", |known| known.name);
                    refused.get_or_insert(known);
                    let message = "restricts who may pass and is not supported in this release: \
                                   what it constrains answers 503";
                    (Code::AnnotationUnsupported, message.to_owned())
                }
                None => match catalog::meant_guard(name).filter(|_| ours) {
                    // The incumbent has none of those under our prefix: nobody relies on its being passed over.
                    Some(guard) => {
                        refused.get_or_insert(guard);
                        let message = format!(
                            "{name:?} is not known here, and may be meant as {guard:?}, which restricts who may pass: \
                             what it would constrain answers 503"
                        );
                        (Code::AnnotationUnknown, message)
                    }
                    None => (Code::AnnotationUnknown, format!("{name:?} is not known here")),
                },
            };
            problems.push(Problem::new(code, self.origin(written), message));
        }
        refused
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_model::ObjectName;

    use super::*;

    fn meta(annotations: &[(&str, &str)]) -> Meta {
        Meta {
            name: ObjectName::new("shop", "web"),
            uid: "".into(),
            created: 0,
            deleting: false,
            annotations: annotations
                .iter()
                .map(|(k, v)| (Arc::from(*k), Arc::from(*v)))
                .collect(),
        }
    }

    #[test]
    fn the_portable_prefix_wins_and_holds_only_what_is_portable() {
        let meta = meta(&[
            ("alb.ingress.kubernetes.io/success-codes", "200"),
            ("portcullis.dev/success-codes", "204"),
            ("portcullis.dev/subnets", "subnet-1"),
        ]);
        let annotations = Annotations::of("ingress", &meta);
        assert_eq!(annotations.get("success-codes").unwrap().value, "204");
        assert!(annotations.get("subnets").is_none());
    }

    #[test]
    fn what_is_unknown_or_unsupported_is_told_and_what_restricts_refuses() {
        for (key, value, code, refused) in [
            ("alb.ingress.kubernetes.io/scheme", "internal", None, false),
            ("alb.ingress.kubernetes.io/actions.x", "{}", None, false),
            (
                "alb.ingress.kubernetes.io/schema",
                "x",
                Some(Code::AnnotationUnknown),
                false,
            ),
            (
                "portcullis.dev/subnets",
                "x",
                Some(Code::AnnotationUnknown),
                false,
            ),
            (
                "portcullis.dev/basic-auth-seret",
                "users",
                Some(Code::AnnotationUnknown),
                true,
            ),
            (
                "alb.ingress.kubernetes.io/inbound-cidr",
                "10.0.0.0/8",
                Some(Code::AnnotationUnknown),
                false,
            ),
            (
                "alb.ingress.kubernetes.io/enable-frontend-nlb",
                "true",
                None,
                false,
            ),
            ("alb.ingress.kubernetes.io/auth-type", "oidc", None, false),
            ("alb.ingress.kubernetes.io/auth-type", "none", None, false),
            ("alb.ingress.kubernetes.io/waf-acl-id", "none", None, false),
            (
                "alb.ingress.kubernetes.io/waf-acl-id",
                "x",
                Some(Code::AnnotationUnsupported),
                true,
            ),
        ] {
            let meta = meta(&[(key, value)]);
            let mut problems = Vec::new();
            let got = Annotations::of("ingress", &meta).review(&mut problems);
            assert_eq!(problems.first().map(|p| p.code), code, "{key}: {value}");
            assert_eq!(got.is_some(), refused, "{key}: {value}");
        }
    }
}
