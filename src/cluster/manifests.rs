//! Files of manifests in, objects and problems out. A broken file keeps its last good content, and a broken
//! object its own; so does a Secret that was a usable certificate with its key and is none any more. An Ingress that
//! was never right is what could be read of it, to be closed.

pub(super) mod document;
mod unique;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::mem::take;

use portcullis_model::{Code, ObjectName, Opening, Origin, Problem};

use self::document::{Document, Unreadable, documents};
use super::key_pair::Unusable;
use super::object::{Kind, Object, ObjectKey};
use super::opening;
use super::wire::{self, Read, ReadError};

/// What is said of a field that [`may_narrow`].
const NARROWING: &str = "Kubernetes has no such field; what it was meant to narrow is not served without it";

/// What the files of a folder say, by their names relative to it.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    files: BTreeMap<String, File>,
    /// How often each object is written.
    times: HashMap<ObjectKey, usize>,
    /// Those that are written more than once.
    repeated: BTreeSet<ObjectKey>,
    /// Those that are written otherwise than when it was last asked, each as the last file says of which that is true.
    changed: BTreeMap<ObjectKey, Option<Object>>,
}

/// One file as last read.
#[derive(Clone, Debug)]
struct File {
    /// Nothing of it has ever been read.
    is_lost: bool,
    /// In the order written.
    entries: Vec<Entry>,
    problems: Vec<Problem>,
    /// Of TargetGroupBindings, which are not served from files.
    openings: Vec<Opening>,
}

#[derive(Clone, Debug)]
struct Entry {
    object: Object,
    /// Where its document begins, from 1.
    line: usize,
    stands: Stands,
}

/// What an object is beside the document that it is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    AsWritten,
    /// It is refused as it is written now.
    AsBefore,
    /// It is refused, and nothing else is known: closed.
    Closed,
}

impl Manifests {
    /// Reads a file that came or changed, and returns what is wrong with it.
    pub fn update(&mut self, name: &str, bytes: &[u8]) -> &[Problem] {
        let mut file = self.files.remove(name).unwrap_or_else(File::new);
        match documents(name, bytes).and_then(named) {
            Ok(documents) => {
                let before = file.entries.clone();
                file.replace(name, documents);
                file.is_lost = false;
                self.note(&before, &file.entries);
            }
            Err(unreadable) => {
                let at = at_line(name, unreadable.line);
                file.problems = vec![Problem::new(Code::FileUnreadable, at, unreadable.message)];
            }
        }
        &self.files.entry(name.to_owned()).or_insert(file).problems
    }

    /// A file that is there but cannot be read, and why; its last good content stays.
    pub fn unreadable(&mut self, name: &str, why: &str) -> &[Problem] {
        let file = self.files.entry(name.to_owned()).or_insert_with(File::new);
        let at = Origin::new("file", ObjectName::cluster(name), "");
        file.problems = vec![Problem::new(Code::FileUnreadable, at, why)];
        &file.problems
    }

    /// A file that went, and its objects with it.
    pub fn remove(&mut self, name: &str) {
        if let Some(file) = self.files.remove(name) {
            self.note(&file.entries, &[]);
        }
    }

    /// Notes which objects a file says otherwise than before.
    fn note(&mut self, before: &[Entry], now: &[Entry]) {
        let (before, now) = (by_key(before), by_key(now));
        let keys: BTreeSet<&ObjectKey> = before.keys().chain(now.keys()).collect();
        for key in keys {
            let (before, now) = (before.get(key), now.get(key));
            if before == now {
                continue;
            }
            let first = now.and_then(|all| all.first());
            self.changed
                .insert(key.clone(), first.map(|object| (*object).clone()));
            let elsewhere = self.times.get(key).copied().unwrap_or(0) - before.map_or(0, Vec::len);
            match elsewhere + now.map_or(0, Vec::len) {
                0 => _ = self.times.remove(key),
                times => _ = self.times.insert(key.clone(), times),
            }
            match self.times(key) {
                0 | 1 => _ = self.repeated.remove(key),
                _ => _ = self.repeated.insert(key.clone()),
            }
        }
    }

    fn times(&self, key: &ObjectKey) -> usize {
        self.times.get(key).copied().unwrap_or(0)
    }

    /// The objects that may be others than when this was last asked, as they are now; none where one is gone.
    pub fn changes(&mut self) -> BTreeMap<ObjectKey, Option<Object>> {
        let mut changed = take(&mut self.changed);
        // Where a file still says what another says no more, or says it too.
        let elsewhere = |(key, last): &(&ObjectKey, &Option<Object>)| match (self.times(key), last) {
            (0, _) | (1, Some(_)) => false,
            (_, _) => true,
        };
        let mut asked: BTreeSet<ObjectKey> = changed
            .iter()
            .filter(elsewhere)
            .map(|(key, _)| key.clone())
            .collect();
        if !asked.is_empty() {
            for (_, entry) in self.entries() {
                if let Some(key) = asked.take(&entry.object.key()) {
                    changed.insert(key, Some(entry.object.clone()));
                }
            }
        }
        changed
    }

    /// Names of the files held.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// All objects, each once: of two with one name the first counts, by name of file and then as written.
    pub fn objects(&self) -> Vec<Object> {
        let mut seen = BTreeSet::new();
        self.entries()
            .filter(|(_, entry)| {
                let key = entry.object.key();
                !self.repeated.contains(&key) || seen.insert(key)
            })
            .map(|(_, entry)| entry.object.clone())
            .collect()
    }

    /// What TargetGroupBindings ask to be open.
    pub fn openings(&self) -> Vec<Opening> {
        let files = self.files.values();
        files.flat_map(|file| file.openings.iter().cloned()).collect()
    }

    /// What is wrong with files of which nothing is known: what they were to guard may be open.
    pub fn lost(&self) -> Vec<Problem> {
        let lost = self.files.values().filter(|file| file.is_lost);
        lost.flat_map(|file| file.problems.iter().cloned()).collect()
    }

    /// Everything wrong with the files, in their order.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<Problem> = self
            .files
            .values()
            .flat_map(|file| file.problems.iter().cloned())
            .collect();
        if self.repeated.is_empty() {
            return problems;
        }
        let mut seen: BTreeMap<ObjectKey, (&str, usize)> = BTreeMap::new();
        for (name, entry) in self.entries() {
            let key = entry.object.key();
            if !self.repeated.contains(&key) {
                continue;
            }
            match seen.get(&key) {
                None => {
                    seen.insert(key, (name, entry.line));
                }
                Some((first, line)) => problems.push(Problem::new(
                    Code::ObjectDuplicate,
                    key.kind.at(&key.name, ""),
                    format!(
                        "written twice: {first} line {line} is used, {name} line {} is not",
                        entry.line
                    ),
                )),
            }
        }
        problems
    }

    fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.files
            .iter()
            .flat_map(|(name, file)| file.entries.iter().map(move |entry| (name.as_str(), entry)))
    }
}

/// Documents of which each says which object it is, if it is an Ingress: of another it could not be said what it guards,
/// nor which of those read before it is.
fn named(documents: Vec<Document>) -> Result<Vec<Document>, Unreadable> {
    let nameless = documents.iter().find_map(|document| {
        let message = wire::nameless_ingress(&document.value)?;
        let line = Some(document.line);
        Some(Unreadable { line, message })
    });
    nameless.map_or(Ok(documents), Err)
}

impl File {
    fn new() -> Self {
        Self {
            is_lost: true,
            entries: Vec::new(),
            problems: Vec::new(),
            openings: Vec::new(),
        }
    }

    fn replace(&mut self, name: &str, documents: Vec<Document>) {
        let entries = take(&mut self.entries).into_iter();
        let mut held: BTreeMap<ObjectKey, Entry> = entries.map(|entry| (entry.object.key(), entry)).collect();
        self.problems.clear();
        self.openings.clear();
        for Document { line, value } in documents {
            let place = format!("{name} line {line}");
            let openings = opening::of_object(&value);
            // What it asks to be open is heeded, though its targets are not served from files.
            let is_heeded = !openings.is_empty();
            self.openings.extend(openings);
            match wire::from_manifest(&value).and_then(as_kubernetes_takes_it) {
                Ok(read) => {
                    let key = read.object.key();
                    self.tell_unknown(&key, &read.unknown, &place);
                    let spoilt = held
                        .get(&key)
                        .and_then(|before| spoilt(&before.object, &read.object));
                    if let Some((code, why)) = spoilt {
                        self.entries.extend(held.remove(&key));
                        let message = format!(
                            "{why}; the pair read before is used until this is corrected or removed ({place})"
                        );
                        let at = key.kind.at(&key.name, "");
                        self.problems.push(Problem::new(code, at, message));
                        continue;
                    }
                    // What did not change stays the one that others have, too.
                    let same = held.get(&key).filter(|before| before.object == read.object);
                    let object = same.map_or(read.object, |before| before.object.clone());
                    self.entries.push(Entry {
                        object,
                        line,
                        stands: Stands::AsWritten,
                    });
                }
                Err(ReadError::Foreign { .. }) if is_heeded => {}
                Err(error) => {
                    let closed = wire::closed(&value, &error);
                    self.refuse(name, line, error, closed, &mut held);
                }
            }
        }
        self.dismiss();
    }

    /// Whoever writes an object for an older Kubernetes, too, has it as it is right.
    fn dismiss(&mut self) {
        let is_right = |entry: &Entry| entry.stands == Stands::AsWritten;
        if self.entries.iter().all(is_right) {
            return;
        }
        let right = self.entries.iter().filter(|entry| is_right(entry));
        let right: BTreeSet<ObjectKey> = right.map(|entry| entry.object.key()).collect();
        self.entries
            .retain(|entry| is_right(entry) || !right.contains(&entry.object.key()));
    }

    /// Tells fields that Kubernetes lacks, each as what it is, so that all can be corrected in one go.
    fn tell_unknown(&mut self, key: &ObjectKey, fields: &[String], place: &str) {
        self.problems.extend(fields.iter().map(|field| {
            let (code, message) = match may_narrow(key.kind, field) {
                true => (Code::ObjectInvalid, NARROWING),
                false => (Code::FieldUnknown, "Kubernetes has no such field"),
            };
            let at = key.kind.at(&key.name, field);
            Problem::new(code, at, format!("{message} ({place})"))
        }));
    }

    /// Tells an object that cannot be read, and keeps the one it was; what never was one is closed.
    fn refuse(
        &mut self,
        name: &str,
        line: usize,
        error: ReadError,
        closed: Option<Object>,
        held: &mut BTreeMap<ObjectKey, Entry>,
    ) {
        let problem = match error {
            ReadError::Foreign { .. } => {
                Problem::new(Code::KindIgnored, at_line(name, Some(line)), error.to_string())
            }
            ReadError::Nameless(message) => {
                Problem::new(Code::ObjectInvalid, at_line(name, Some(line)), message)
            }
            ReadError::Invalid {
                key,
                field,
                message,
                unknown,
            } => {
                let was = held.remove(&key).filter(|was| was.stands != Stands::Closed);
                let closed = closed.map(|object| Entry {
                    object,
                    line,
                    stands: Stands::Closed,
                });
                let was = was.map(|was| Entry {
                    stands: Stands::AsBefore,
                    ..was
                });
                self.entries.extend(was.or(closed));
                let place = format!("{name} line {line}");
                self.tell_unknown(&key, &unknown, &place);
                let message = format!("{message} ({place})");
                Problem::new(Code::ObjectInvalid, key.kind.at(&key.name, &field), message)
            }
        };
        self.problems.push(problem);
    }
}

/// In the order written.
fn by_key(entries: &[Entry]) -> HashMap<ObjectKey, Vec<&Object>> {
    let mut by_key: HashMap<ObjectKey, Vec<&Object>> = HashMap::new();
    for entry in entries {
        by_key.entry(entry.object.key()).or_default().push(&entry.object);
    }
    by_key
}

/// What is wrong with a Secret that was a certificate with its key and is written as one that cannot be used. The API
/// server takes any bytes there, but to serve them would end HTTPS for the host.
fn spoilt(before: &Object, now: &Object) -> Option<Unusable> {
    let (Object::Secret(before), Object::Secret(now)) = (before, now) else {
        return None;
    };
    let is_pair = &*now.kind == "kubernetes.io/tls" || now.certificate.is_some() || now.key.is_some();
    // Reading a pair takes a millisecond, and most Secrets of a file are as they were.
    let is_same = (&now.certificate, &now.key) == (&before.certificate, &before.key);
    if !is_pair || is_same {
        return None;
    }
    match (now.key_pair(), before.key_pair()) {
        (Err(unusable), Ok(_)) => Some(unusable.clone()),
        (Ok(_), _) | (_, Err(_)) => None,
    }
}

/// Refuses what the API server or `kubectl` refuses and what would otherwise be served as something else.
fn as_kubernetes_takes_it(read: Read) -> Result<Read, ReadError> {
    let key = read.object.key();
    let narrowing = read.unknown.iter().position(|field| may_narrow(key.kind, field));
    let is_empty = matches!(&read.object, Object::Ingress(ingress) if ingress.rules.is_empty() && ingress.default_backend.is_none());
    let mut unknown = read.unknown;
    let (field, message) = match narrowing {
        Some(first) => (unknown.remove(first), NARROWING),
        None if is_empty => (
            "spec".to_owned(),
            "has neither rules nor a default backend; Kubernetes asks for one of them",
        ),
        None => {
            return Ok(Read {
                object: read.object,
                unknown,
            });
        }
    };
    Err(ReadError::Invalid {
        key,
        field,
        message: message.to_owned(),
        unknown,
    })
}

/// Whether a field that Kubernetes lacks may be a misspelt constraint: `hosts` beside `http` would otherwise make a
/// rule for every host, `tsl` leave HTTPS to a neighbour, `admision` make a class for every namespace, `annotation` an
/// object without a guard. `kubectl` refuses such objects, too.
fn may_narrow(kind: Kind, field: &str) -> bool {
    let is_of = |parent: &str| {
        field
            .strip_prefix(parent)
            .is_some_and(|rest| rest.starts_with(['.', '[']))
    };
    match kind {
        Kind::Ingress | Kind::IngressClass | Kind::ClassParameters | Kind::IncumbentParameters => {
            !is_of("status")
        }
        // What these say of themselves guards them; their other fields are many, and become more.
        Kind::Service | Kind::Namespace => !is_of("spec") && !is_of("status"),
        Kind::EndpointSlice | Kind::Secret | Kind::Node | Kind::Pod => false,
    }
}

fn at_line(file: &str, line: Option<usize>) -> Origin {
    let field = line.map(|line| format!("line {line}")).unwrap_or_default();
    Origin::new("file", ObjectName::cluster(file), field)
}

#[cfg(test)]
mod tests;
