//! Pods that wait for a load balancer in, what their readiness gates are to say out.
//!
//! A gate opens when the target is healthy, or when nothing sends requests to its target group any more: else the pod
//! would wait for ever. An open gate is never closed again: Kubernetes would take pods out of service that the load
//! balancer has already taken out, and with them the last one.

#[cfg(feature = "cluster")]
pub mod keep;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use portcullis_model::{
    Backend, Existing, Port, Target, TargetAddress, TargetHealth, TargetHealthState, TargetState,
};

use crate::cluster::object::{Pod, TARGET_HEALTH};

/// What a gate is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub pod: Arc<Pod>,
    /// Type of the condition.
    pub gate: String,
    pub open: bool,
    /// One word: AWS's own where it has one.
    pub reason: String,
    pub message: String,
}

impl Verdict {
    fn of(pod: &Arc<Pod>, group: &str, open: bool, reason: &str, message: impl Into<String>) -> Self {
        Self {
            pod: pod.clone(),
            gate: format!("{TARGET_HEALTH}{group}"),
            open,
            reason: reason.to_owned(),
            message: message.into(),
        }
    }

    /// Whether the pod says so already.
    pub fn is_told(&self) -> bool {
        let gate = self.pod.gates.get(self.gate.as_str());
        gate.is_some_and(|gate| gate.met == self.open && gate.reason.as_deref() == Some(&*self.reason))
    }
}

/// A pod and the name of a target group that it waits for.
pub type Waiting = (Arc<Pod>, String);

/// Who waits for whom: those whose containers are ready, for before that nobody is registered.
pub fn waiting<'a>(gated: impl Iterator<Item = &'a Arc<Pod>>) -> Vec<Waiting> {
    let able = gated.filter(|pod| pod.containers_ready && !pod.meta.deleting && !pod.finished);
    able.flat_map(|pod| {
        pod.awaited_target_groups()
            .map(|(name, _)| (pod.clone(), name.to_owned()))
    })
    .collect()
}

/// What there is to ask about a backend: the targets that pods wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    pub targets: BTreeSet<(TargetAddress, Port)>,
    /// The pod of each address.
    pods: BTreeMap<IpAddr, Arc<Pod>>,
}

/// Of pods that wait for a target group that exists: what to ask, and what can be said without asking. `backend` is
/// what it stands for, if anything is still sent there.
pub fn ask(group: &Existing, backend: Option<&Backend>, pods: &[Arc<Pod>]) -> (Question, Vec<Verdict>) {
    let Some(backend) = backend else {
        let unused = |pod| {
            let message = format!(
                "no rule of a load balancer sends requests to target group {}",
                group.name
            );
            Verdict::of(pod, &group.name, true, "TargetGroupNotUsed", message)
        };
        return (Question::default(), pods.iter().map(unused).collect());
    };
    (ask_about(&backend.targets, pods), Vec::new())
}

/// Of pods that wait for a target group with these targets: what to ask.
pub fn ask_about(targets: &[Target], pods: &[Arc<Pod>]) -> Question {
    let mut question = Question::default();
    for pod in pods {
        for target in targets.iter().filter(|target| target.state == TargetState::Ready) {
            if let TargetAddress::Ip(ip) = &target.address
                && pod.addresses.iter().any(|own| own.to_canonical() == *ip)
            {
                question.targets.insert((target.address.clone(), target.port));
                question.pods.insert(*ip, pod.clone());
            }
        }
    }
    question
}

/// What the answers say: of a pod with several ports, all must be healthy.
pub fn judge(
    group: &Existing,
    question: &Question,
    answers: &BTreeMap<(TargetAddress, Port), TargetHealth>,
) -> Vec<Verdict> {
    let mut out = Vec::new();
    for (ip, pod) in &question.pods {
        let address = TargetAddress::Ip(*ip);
        let own = question.targets.iter().filter(|(of, _)| *of == address);
        let mut ill = own.filter_map(|target| match answers.get(target) {
            Some(health) if health.state == TargetHealthState::Healthy => None,
            known => Some(known),
        });
        out.push(match ill.next() {
            None => Verdict::of(
                pod,
                &group.name,
                true,
                "Healthy",
                "the load balancer sends it requests",
            ),
            Some(Some(health)) => Verdict::of(pod, &group.name, false, &health.reason, &*health.message),
            Some(None) => Verdict::of(pod, &group.name, false, "Target.NotRegistered", ""),
        });
    }
    out
}

/// What is said to pods that wait for a target group that is nobody's.
pub fn abandoned(name: &str, pods: &[Arc<Pod>]) -> Vec<Verdict> {
    let message = format!("there is no target group {name} any more");
    pods.iter()
        .map(|pod| Verdict::of(pod, name, true, "TargetGroupNotFound", message.clone()))
        .collect()
}

#[cfg(test)]
mod tests;
