//! With `--drain-wait-for-ready-replacements`: the next drain waits until the pods that an earlier
//! one evicted run again elsewhere.

use serde::{Deserialize, Serialize};
use windlass_model::{Pod, SmolStr, Timestamp, Workload, WorkloadKind};

use crate::{decide::Loop, instant::after};

/// A controller that lost ready pods to evictions and is to have as many again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replacement {
    /// How many ready pods it is to have on nodes that stay.
    pub wanted: i64,
    /// Until when the next drain waits for them at the latest.
    pub until: Timestamp,
}

/// The uid of the controller that makes another pod for `pod`, if the pod is ready now. Those of
/// a `DaemonSet` are not made anew elsewhere.
pub(super) fn controller_of(pod: &Pod) -> Option<SmolStr> {
    let owner = pod.shape.controller.as_ref()?;
    let is_replaced = pod.is_ready && !pod.shape.is_daemonset_pod() && !owner.uid.is_empty();
    is_replaced.then(|| owner.uid.clone())
}

/// Notes that the eviction of a ready pod of `controller` was accepted.
pub(super) fn note(context: &mut Loop<'_>, controller: &SmolStr) {
    let wait = context.config.safety.drain_wait_for_ready_replacements;
    if wait.is_zero() {
        return;
    }
    let ready = ready_pods(context, controller);
    let until = after(context.now, wait);
    let replacements = &mut context.memory.replacements;
    let replacement = replacements
        .entry(controller.clone())
        .or_insert(Replacement {
            wanted: ready,
            until,
        });
    replacement.wanted += 1;
    replacement.until = until;
}

/// Forgets the controllers that have their pods again, or need them no more, or have had their
/// time. No drain begins while any is left.
pub(crate) fn await_ready(context: &mut Loop<'_>) {
    let mut replacements = std::mem::take(&mut context.memory.replacements);
    replacements.retain(|controller, replacement| {
        if replacement.until <= context.now {
            return false;
        }
        let workload = context
            .cluster
            .workloads
            .iter()
            .find(|workload| workload.uid == *controller);
        let needed = workload.and_then(|workload| needed_pods(workload));
        let wanted = needed.map_or(replacement.wanted, |needed| needed.min(replacement.wanted));
        ready_pods(context, controller) < wanted
    });
    if let Some(first) = replacements.values().map(|it| it.until).min() {
        context.plan.wake_by(first);
    }
    context.memory.replacements = replacements;
}

/// How many of its pods are ready, less those on nodes that go.
fn ready_pods(context: &Loop<'_>, controller: &SmolStr) -> i64 {
    let is_staying = |pod: &Pod| {
        pod.node_name.as_ref().is_some_and(|node| {
            context
                .memory
                .drains
                .get(node)
                .is_none_or(|drain| !drain.is_leaving() && drain.terminated_at().is_none())
        })
    };
    context
        .cluster
        .pods
        .iter()
        .filter(|pod| {
            let owner = pod.shape.controller.as_ref();
            owner.is_some_and(|owner| owner.uid == *controller)
                && pod.is_ready
                && pod.deletion_timestamp.is_none()
                && is_staying(pod)
        })
        .map(|_| 1_i64)
        .sum()
}

/// How many pods a workload still wants to run at once; `None` where it does not say.
fn needed_pods(workload: &Workload) -> Option<i64> {
    let replicas = workload.replicas.unwrap_or(1);
    match workload.kind {
        WorkloadKind::Job => {
            let left = workload
                .completions
                .map(|completions| completions.saturating_sub(workload.succeeded));
            Some(left.map_or(replicas, |left| left.min(replicas)))
        }
        WorkloadKind::DaemonSet => None,
        _ => Some(replicas),
    }
}
