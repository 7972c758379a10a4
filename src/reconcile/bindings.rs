//! TargetGroupBindings that users wrote in, the targets of their Services kept in target groups that exist by
//! themselves.
//!
//! What is unchanged costs no call: what is registered is read once per process and binding, remembered, and read again
//! when it is looked for what others changed. Those with
//! labels are the AWS Load Balancer Controller's own, and are left alone.

pub mod follow;
mod held;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use kube::Client;
use portcullis_model::{
    Bound, ChangeSummary, Code, LoadBalancerId, ObjectName, Problem, Provider, ProviderError, Target,
    TargetKind, TargetState,
};
use tracing::info;

use super::openings::Openings;
use super::pass::Site;
use super::rounds::claim_lost;
use crate::cluster::binding::{Binding, BindingSpec};
use crate::cluster::object::IpFamily;
use crate::translate::{TargetsOf, service_targets};

/// Why a binding could not be kept; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    #[error(transparent)]
    Provider(#[from] ProviderError),
    #[error("targetgroupbinding cannot be kept")]
    Kubernetes(#[from] kube::Error),
    /// Where what is ours of a shared target group is kept.
    #[error("configmap {name} cannot be {done}")]
    Memory {
        name: String,
        done: &'static str,
        #[source]
        source: kube::Error,
    },
}

impl BindingError {
    /// What its owner is told. What comes right by itself when it is tried again is only logged.
    fn problem(&self, binding: &Binding) -> Option<Problem> {
        let denied = |source: &kube::Error| {
            let kube::Error::Api(status) = source else {
                return None;
            };
            (status.code == 403).then(|| status.message.clone())
        };
        let (code, field, message) = match self {
            Self::Provider(error) => (error.code, "", error.words()),
            Self::Kubernetes(source) => (Code::AccessDenied, "", denied(source)?),
            Self::Memory { name, done, source } => {
                let why = denied(source)?;
                let message = format!(
                    "ConfigMap {name}, which says what this cluster registered, may not be {done}, and what is \
                     registered stays as it is: {why}"
                );
                (Code::AccessDenied, "spec.multiClusterTargetGroup", message)
            }
        };
        Some(Problem::new(code, binding.at(field), message))
    }
}

/// What came of a look at one binding.
#[derive(Debug)]
pub struct Kept {
    pub name: ObjectName,
    pub uid: String,
    pub problems: Vec<Problem>,
    /// Changes that put back what somebody else had changed.
    pub repaired: Vec<ChangeSummary>,
    pub error: Option<BindingError>,
}

/// A binding whose targets are in their target group, as of the last look.
#[derive(Clone, Debug)]
pub struct Served {
    pub bound: Bound,
    pub targets: Arc<[Target]>,
}

/// How a binding stands.
#[derive(Clone, Debug)]
pub enum Standing {
    /// There is none.
    Nowhere,
    /// It was not looked at yet, or it is refused.
    Waiting,
    Served(Served),
}

/// What is known of a binding from the last look.
enum Known<P: Provider> {
    Bound {
        spec: BindingSpec,
        bound: Box<Bound>,
        /// None before the first look.
        targets: Option<Arc<[Target]>>,
        problems: Vec<Problem>,
        registered: BTreeSet<String>,
        /// What was believed to be registered until it was read again.
        believed: Option<BTreeSet<String>>,
        /// Of these, ours; none where all are.
        own: Option<BTreeSet<String>>,
    },
    /// Until the binding or the account differs.
    Refused {
        spec: BindingSpec,
        account: Arc<P::Account>,
        problems: Vec<Problem>,
    },
}

/// Keeps bindings.
pub struct Bindings<P: Provider> {
    client: Client,
    openings: Arc<Openings>,
    all: Mutex<BTreeMap<ObjectName, Arc<Binding>>>,
    known: tokio::sync::Mutex<BTreeMap<ObjectName, Known<P>>>,
    /// Of what is known, what others ask for while a look is under way.
    served: Mutex<BTreeMap<ObjectName, Served>>,
    /// Those of which somebody else may have changed what is registered: the next look reads it again.
    doubted: Mutex<BTreeSet<ObjectName>>,
}

impl<P: Provider> fmt::Debug for Bindings<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bindings").finish_non_exhaustive()
    }
}

impl<P: Provider> Bindings<P> {
    pub fn new(client: Client, openings: Arc<Openings>) -> Self {
        Self {
            client,
            openings,
            all: Mutex::default(),
            known: tokio::sync::Mutex::default(),
            served: Mutex::default(),
            doubted: Mutex::default(),
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Arc<Binding>>> {
        // Single inserts and removals: the map is whole whatever panicked while it held the lock.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn served(&self) -> MutexGuard<'_, BTreeMap<ObjectName, Served>> {
        // As above.
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doubted(&self) -> MutexGuard<'_, BTreeSet<ObjectName>> {
        // As above.
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them are known: what they ask to be open stays so.
    fn tell_openings(&self) {
        let all = self.all();
        let openings = all.values().flat_map(|binding| binding.openings.clone());
        self.openings.are(openings.collect());
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// What is registered may have drifted: the next look reads it again.
    pub fn doubt(&self) {
        let all = self.all().keys().cloned().collect();
        *self.doubted() = all;
    }

    /// Another controller serves them: nothing is said of them here, and what it changes is read when it has gone.
    pub fn stand_back(&self) {
        self.doubt();
        self.served().clear();
    }

    pub fn standing(&self, name: &ObjectName) -> Standing {
        if !self.all().contains_key(name) {
            return Standing::Nowhere;
        }
        let served = self.served().get(name).cloned();
        served.map_or(Standing::Waiting, Standing::Served)
    }

    /// One look at every binding, the oldest first: of two for one target group it counts.
    pub async fn look(&self, site: &Site<P>, now: Instant) -> Vec<Kept> {
        let mut all: Vec<Arc<Binding>> = self.all().values().cloned().collect();
        all.sort_by(|a, b| (&a.created, &a.name).cmp(&(&b.created, &b.name)));
        let mut known = self.known.lock().await;
        known.retain(|name, _| all.iter().any(|binding| binding.name == *name));
        let mut taken = BTreeMap::new();
        let mut out = Vec::new();
        for binding in all {
            let mut before = known.remove(&binding.name);
            let mut repaired = Vec::new();
            let kept = match self.reread(site, &binding.name, &mut before).await {
                Ok(()) => {
                    self.keep(site, &binding, before, &mut taken, &mut repaired, now)
                        .await
                }
                Err(error) => {
                    // It is tried again: what is known still holds.
                    known.extend(before.map(|before| (binding.name.clone(), before)));
                    Err(error.into())
                }
            };
            let (problems, error) = match kept {
                Ok((after, problems)) => {
                    known.extend(after.map(|after| (binding.name.clone(), after)));
                    (problems, None)
                }
                Err(error) => (error.problem(&binding).into_iter().collect(), Some(error)),
            };
            out.push(Kept {
                name: binding.name.clone(),
                uid: binding.uid.clone(),
                problems,
                repaired,
                error,
            });
        }
        let served = known.iter().filter_map(|(name, known)| match known {
            Known::Bound {
                bound,
                targets: Some(targets),
                ..
            } => Some((
                name.clone(),
                Served {
                    bound: Bound::clone(bound),
                    targets: targets.clone(),
                },
            )),
            Known::Bound { targets: None, .. } | Known::Refused { .. } => None,
        });
        *self.served() = served.collect();
        out
    }

    /// Reads what is registered again where that is in doubt. Where AWS says no, nothing is known any more, and it is looked
    /// for anew.
    async fn reread(
        &self,
        site: &Site<P>,
        name: &ObjectName,
        known: &mut Option<Known<P>>,
    ) -> Result<(), ProviderError> {
        if !self.doubted().contains(name) {
            return Ok(());
        }
        if let Some(Known::Bound {
            bound,
            registered,
            believed,
            ..
        }) = known
        {
            match site.provider.registered_at_leisure(bound).await {
                Ok(found) => *believed = Some(std::mem::replace(registered, found)),
                Err(error) if error.is_refusal() => *known = None,
                Err(error) => return Err(error),
            }
        }
        self.doubted().remove(name);
        Ok(())
    }

    async fn keep(
        &self,
        site: &Site<P>,
        binding: &Binding,
        before: Option<Known<P>>,
        taken: &mut BTreeMap<String, (ObjectName, bool)>,
        repaired: &mut Vec<ChangeSummary>,
        now: Instant,
    ) -> Result<(Option<Known<P>>, Vec<Problem>), BindingError> {
        if binding.deleting && !binding.held {
            return Ok((None, Vec::new()));
        }
        let spec = match &binding.spec {
            Ok(spec) => spec,
            Err(why) => {
                let problem = Problem::new(Code::ObjectInvalid, binding.at("spec"), why.clone());
                return Ok((before, vec![problem]));
            }
        };
        let account = site.accounts.current(&site.provider, now).await?;
        let found = self.find(site, binding, spec, before, &account).await?;
        let Known::Bound {
            bound,
            mut targets,
            mut problems,
            mut registered,
            believed,
            mut own,
            ..
        } = found
        else {
            let Known::Refused { problems, .. } = &found else {
                return Ok((None, Vec::new()));
            };
            let problems = problems.clone();
            if binding.deleting {
                self.release(binding).await?;
                return Ok((None, Vec::new()));
            }
            return Ok((Some(found), problems));
        };

        let multi = own.is_some();
        let first = taken.entry(bound.existing.handle.clone());
        let (owner, shares) = first.or_insert_with(|| (binding.name.clone(), multi));
        if *owner != binding.name && !(*shares && multi) && !binding.deleting {
            let message = format!(
                "TargetGroupBinding {owner} has target group {} already",
                bound.existing.name
            );
            problems.push(Problem::new(Code::TargetGroupInUse, binding.at("spec"), message));
            // Nothing of it is remembered: when the other goes, what is registered is read anew.
            return Ok((None, problems));
        }
        let wanted = if binding.deleting {
            Some([].into())
        } else {
            let (wanted, told) = wanted(site, binding, spec, &bound);
            problems.extend(told);
            wanted
        };
        if let Some(wanted) = wanted {
            let plan = |had: &BTreeSet<String>| {
                site.provider
                    .plan_bound(&bound, &wanted, had, own.as_ref(), &account)
            };
            // As far as anybody knew, nothing was to do.
            let drifted = believed.is_some_and(|believed| plan(&believed).is_empty());
            let made = self
                .bring(
                    site,
                    binding,
                    &bound,
                    &wanted,
                    (&mut registered, &mut own),
                    &account,
                )
                .await?;
            if drifted {
                repaired.extend(made);
            }
            targets = Some(wanted);
        }
        if binding.deleting {
            self.release(binding).await?;
            return Ok((None, problems));
        }
        let told = problems.clone();
        let after = Known::Bound {
            spec: spec.clone(),
            bound,
            targets,
            problems: problems
                .into_iter()
                .filter(|problem| problem.code == Code::TargetGroupNotAdmitted)
                .collect(),
            registered,
            believed: None,
            own,
        };
        Ok((Some(after), told))
    }

    /// What is known of it, else looked for: what it is, and what is registered.
    async fn find(
        &self,
        site: &Site<P>,
        binding: &Binding,
        spec: &BindingSpec,
        before: Option<Known<P>>,
        account: &Arc<P::Account>,
    ) -> Result<Known<P>, BindingError> {
        match before {
            Some(Known::Bound { spec: had, .. }) if had != *spec => {}
            Some(known @ Known::Bound { .. }) => return Ok(known),
            Some(Known::Refused {
                spec: had,
                account: of,
                problems,
            }) if had == *spec && Arc::ptr_eq(&of, account) => {
                return Ok(Known::Refused {
                    spec: had,
                    account: of,
                    problems,
                });
            }
            Some(Known::Refused { .. }) | None => {}
        }
        let refused = |problems| Known::Refused {
            spec: spec.clone(),
            account: account.clone(),
            problems,
        };
        if let Some(problem) = unfit(binding, spec) {
            return Ok(refused(vec![problem]));
        }
        let name = spec.target_group_arn.as_ref().or(spec.target_group_name.as_ref());
        let Some(name) = name else {
            let message = "neither targetGroupARN nor targetGroupName is written";
            return Ok(refused(vec![Problem::new(
                Code::ObjectInvalid,
                binding.at("spec"),
                message,
            )]));
        };
        let semantics = site.settings.controller.semantics();
        let at = binding.at("spec");
        let namespace = &binding.name.namespace;
        let role = spec
            .iam_role_arn_to_assume
            .as_ref()
            .filter(|role| !role.is_empty());
        let guest = match role.map(|role| site.provider.guest(role, namespace)).transpose() {
            Ok(guest) => guest,
            Err(why) => {
                let at = binding.at("spec.iamRoleArnToAssume");
                return Ok(refused(vec![Problem::new(Code::RoleNotAdmitted, at, why)]));
            }
        };
        let guest = guest.as_ref();
        let (bound, mut problems) = site.provider.bind(name, namespace, guest, semantics, &at).await?;
        let Some(bound) = bound else {
            return Ok(refused(problems));
        };
        let kind = match bound.target_kind {
            TargetKind::Pod => "ip",
            TargetKind::Node => "instance",
        };
        if let Some(given) = spec.target_type.as_ref().filter(|given| *given != kind) {
            let message = format!("target group {name} is of type {kind}, not {given}");
            problems.push(Problem::new(
                Code::ObjectInvalid,
                binding.at("spec.targetType"),
                message,
            ));
            return Ok(refused(problems));
        }
        Ok(Known::Bound {
            spec: spec.clone(),
            registered: site.provider.registered(&bound).await?,
            own: match spec.multi_cluster_target_group {
                Some(true) => Some(self.remembered(&binding.name).await?),
                Some(false) | None => None,
            },
            believed: None,
            bound: Box::new(bound),
            targets: None,
            problems,
        })
    }

    /// Registers and deregisters. Ours are recorded before they are registered where others register, too.
    async fn bring(
        &self,
        site: &Site<P>,
        binding: &Binding,
        bound: &Bound,
        wanted: &[Target],
        (registered, own): (&mut BTreeSet<String>, &mut Option<BTreeSet<String>>),
        account: &P::Account,
    ) -> Result<Vec<ChangeSummary>, BindingError> {
        let plan = site
            .provider
            .plan_bound(bound, wanted, registered, own.as_ref(), account);
        let ready = wanted.iter().filter(|target| target.state == TargetState::Ready);
        let keys: BTreeSet<String> = ready.map(P::target_key).collect();
        if !plan.is_empty() && !binding.held {
            self.hold(binding).await?;
        }
        if let Some(own) = own.as_mut().filter(|own| !own.is_superset(&keys)) {
            own.extend(keys.iter().cloned());
            self.remember(&binding.name, own).await?;
        }
        for change in &plan.changes {
            site.provider.turn(change).await?;
            let claim = site.tenure.claim(super::rounds::now()).ok_or_else(claim_lost)?;
            Box::pin(site.provider.apply(&claim, change)).await?;
            info!(change = %change, binding = %binding.name, "changed");
        }
        let made: Vec<ChangeSummary> = plan.changes.iter().map(P::summary).collect();
        if made.is_empty() {
            return Ok(made);
        }
        match own {
            None => *registered = keys,
            Some(own) => {
                registered.retain(|key| !own.contains(key));
                registered.extend(keys.iter().cloned());
                *own = keys;
                self.remember(&binding.name, own).await?;
            }
        }
        Ok(made)
    }
}

/// What cannot be.
fn unfit(binding: &Binding, spec: &BindingSpec) -> Option<Problem> {
    let (place, why) = spec.node_selector.as_ref()?.fault()?;
    let field = format!("spec.nodeSelector.matchExpressions[{place}]");
    // By it no node would be chosen, and all be taken out.
    Some(Problem::new(Code::ObjectInvalid, binding.at(&field), why))
}

/// The targets that its Service has; and what is asked for and not done.
fn wanted<P: Provider>(
    site: &Site<P>,
    binding: &Binding,
    spec: &BindingSpec,
    bound: &Bound,
) -> (Option<Arc<[Target]>>, Vec<Problem>) {
    let service = ObjectName::new(binding.name.namespace.clone(), spec.service_ref.name.as_str());
    let index = site.index.lock();
    let Ok(synced) = index.synced() else {
        return (None, Vec::new()); // Every kind was listed before, and is known from then on.
    };
    let snapshot = synced.of_services(LoadBalancerId::Lone(service.clone()), [&service]);
    drop(index);
    let nodes = spec.node_selector.clone().unwrap_or_default();
    let at = |field: &str| binding.at(&format!("spec.serviceRef.{field}"));
    let asked = (&service, &spec.service_ref.port());
    let kind = match (bound.target_kind, bound.ipv6) {
        (TargetKind::Pod, false) => TargetsOf::Pods(IpFamily::V4),
        (TargetKind::Pod, true) => TargetsOf::Pods(IpFamily::V6),
        (TargetKind::Node, _) => TargetsOf::Nodes(&nodes),
    };
    let (targets, mut problems) = service_targets(&snapshot, &site.settings, asked, kind, at);
    if let (Some(guest), Some(given)) = (&bound.guest, &spec.assume_role_external_id)
        && *given != guest.external_id
    {
        let message = format!(
            "the role is assumed with the external id {}, which is not for a tenant to choose",
            guest.external_id
        );
        problems.push(Problem::new(
            Code::OptionUnsupported,
            binding.at("spec.assumeRoleExternalId"),
            message,
        ));
    }
    if spec.networking.is_some() {
        let message =
            "nodes are not opened for it in this release; ports that it asks for stay open where they are";
        problems.push(Problem::new(
            Code::OptionUnsupported,
            binding.at("spec.networking"),
            message,
        ));
    }
    (targets, problems)
}
