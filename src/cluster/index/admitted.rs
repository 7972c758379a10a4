//! An Ingress as it was last admitted: what is served of it, also while it is refused.
//!
//! A class that vanishes, a typo in a group's name: neither takes down what serves. What was admitted goes on as it
//! was; nothing newer of the Ingress is heeded until it is admitted again.

use std::sync::Arc;

use portcullis_model::{LoadBalancerId, ObjectName};
use sha2::{Digest, Sha256};

use super::{Index, Touched};
use crate::cluster::membership::Membership;
use crate::cluster::object::{Ingress, IngressClass};
use crate::cluster::snapshot::Parameters;

/// An Ingress and the parameters by which it was admitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Admitted {
    /// As it was then, but for its status.
    pub ingress: Arc<Ingress>,
    pub id: LoadBalancerId,
    pub parameters: Parameters,
}

impl Admitted {
    /// Which text of an Ingress was admitted: the same for the same object, unless somebody edited it. 16 hexadecimal
    /// digits.
    pub fn text(ingress: &Ingress) -> String {
        let mut digest = Sha256::new();
        let mut part = |text: &str| {
            digest.update(text.as_bytes());
            digest.update([0]);
        };
        part(&ingress.meta.uid);
        // Every change of `spec` raises it; of annotations none does.
        part(&ingress.generation.to_string());
        for (key, value) in &ingress.meta.annotations {
            part(key);
            part(value);
        }
        let digest = digest.finalize();
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The same, shown with the status of now.
    fn seen_as(mut self, now: &Ingress) -> Self {
        if self.ingress.status != now.status {
            let ingress = Arc::make_mut(&mut self.ingress);
            ingress.status.clone_from(&now.status);
        }
        self
    }
}

/// What is recorded of how an Ingress was admitted, before this process began.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub id: LoadBalancerId,
    /// See [`Admitted::text`].
    pub text: String,
    pub parameters: Parameters,
}

impl Index {
    /// A refused Ingress goes on as it was admitted, unless its text is another by now: then nobody knows it any more.
    pub fn recall(&mut self, name: &ObjectName, recorded: Recorded) -> Touched {
        let mut touched = Touched::default();
        let Some(entry) = self.roster.entry(name) else {
            return touched;
        };
        let refused = matches!(entry.membership, Membership::Refused(_)) && entry.admitted.is_none();
        if !refused || Admitted::text(&entry.ingress) != recorded.text {
            return touched;
        }
        let (ingress, membership) = (entry.ingress.clone(), entry.membership.clone());
        let admitted = Admitted {
            ingress: ingress.clone(),
            id: recorded.id,
            parameters: recorded.parameters,
        };
        self.enter(ingress, membership, Some(admitted), &mut touched);
        touched
    }

    /// What is served of an Ingress of this membership.
    pub(super) fn admitted(&self, ingress: &Arc<Ingress>, membership: &Membership) -> Option<Admitted> {
        match membership {
            Membership::Foreign => None,
            Membership::Member { id, class } => {
                let class = class.as_ref().and_then(|name| self.classes.get(name));
                Some(Admitted {
                    ingress: ingress.clone(),
                    id: id.clone(),
                    parameters: self.parameters_of(class.map(|class| &**class)),
                })
            }
            // From a partial view it may have been admitted by mistake.
            Membership::Refused(_) if !self.waiting.is_empty() => None,
            Membership::Refused(_) => {
                let before = self.roster.entry(&ingress.meta.name)?.admitted.clone()?;
                (before.ingress.meta.uid == ingress.meta.uid).then(|| before.seen_as(ingress))
            }
        }
    }

    pub(super) fn parameters_of(&self, class: Option<&IngressClass>) -> Parameters {
        let Some(named) = class.and_then(|class| class.parameters.as_ref()) else {
            return Parameters::None;
        };
        let Some(key) = named.key() else {
            return Parameters::Foreign;
        };
        match self.parameters.get(&key) {
            Some(parameters) => Parameters::Found(parameters.clone()),
            None => Parameters::Missing,
        }
    }
}
