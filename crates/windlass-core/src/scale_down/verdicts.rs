//! Which nodes are not simulated again for a while, and when one is after all. Source:
//! `pkg/core/scaledown/unremovable`.
//!
//! The Go autoscaler asks nobody again for `--unremovable-node-recheck-timeout`, also when the pod
//! that kept the node has long been gone. Here a verdict falls when what it rests on has changed:
//! the pod does not keep the node any more, other pods are on it, or there is more room elsewhere.

use std::hash::{Hash, Hasher};

use rustc_hash::FxHasher;
use serde::{Deserialize, Serialize};
use windlass_model::{SmolStr, Timestamp};
use windlass_scheduler::{NodeId, Snapshot};

use crate::{
    UnremovableReason,
    decide::Loop,
    drain::{disruption::Disruptions, rules::Rules},
    instant::after,
    plan::Unremovable,
};

/// That a node could not go, and what that rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The end of its validity.
    pub until: Timestamp,
    /// Why the node could not go.
    pub reason: UnremovableReason,
    /// A digest of the pods that were on the node.
    pub pods: u64,
    /// What all nodes together had free.
    pub room: Room,
}

/// What the nodes that take pods have free, together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Thousandths of a core.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory_bytes: i64,
    /// Places for pods.
    pub pods: i64,
}

impl Room {
    fn new(context: &Loop<'_>) -> Self {
        let mut room = Self::default();
        for node in &context.nodes {
            let takes_pods = !node.is_replaced
                && !node.node.unschedulable
                && !context.memory.drains.contains_key(&node.node.name);
            let Some(id) = context
                .snapshot
                .node_id(&node.node.name)
                .filter(|_| takes_pods)
            else {
                continue;
            };
            let (has, used) = (
                context.snapshot.allocatable(id),
                context.snapshot.requested(id),
            );
            room.milli_cpu += has.milli_cpu - used.milli_cpu;
            room.memory_bytes += has.memory_bytes - used.memory_bytes;
            let places = has.pods - i64::try_from(context.snapshot.pods_on(id).len()).unwrap_or(0);
            room.pods += places;
        }
        room
    }

    /// Whether it has more of anything than `other`.
    fn is_larger_than(self, other: Self) -> bool {
        other.milli_cpu < self.milli_cpu
            || other.memory_bytes < self.memory_bytes
            || other.pods < self.pods
    }
}

/// Drops the verdicts that have had their time, whose node is gone, or whose cause has.
pub(super) fn forget_old(context: &mut Loop<'_>, rules: &mut Rules<'_>) {
    let mut verdicts = std::mem::take(&mut context.memory.unremovable);
    verdicts.retain(|_, verdict| context.now < verdict.until);
    if verdicts.is_empty() {
        return;
    }
    let disruptions = Disruptions::new(context.cluster);
    let room = Room::new(context);
    verdicts.retain(|node, verdict| {
        context
            .snapshot
            .node_id(node)
            .is_some_and(|id| match verdict.reason {
                UnremovableReason::BlockedByPod => rules
                    .pods_to_move(context.snapshot.pods_on(id), Some(&disruptions))
                    .is_err(),
                UnremovableReason::NoPlaceToMovePods => {
                    verdict.pods == digest(&context.snapshot, id)
                        && !room.is_larger_than(verdict.room)
                }
                _ => true,
            })
    });
    context.memory.unremovable = verdicts;
}

/// Keeps the verdicts of this loop's simulation, which has been undone in the snapshot.
pub(super) fn remember(context: &mut Loop<'_>, unremovable: Vec<Unremovable>) {
    if unremovable.is_empty() {
        return;
    }
    let timeout = context.config.scale_down.unremovable_node_recheck_timeout;
    let room = Room::new(context);
    for unremovable in unremovable {
        let id = context.snapshot.node_id(&unremovable.node);
        let verdict = Verdict {
            until: after(context.now, timeout),
            reason: unremovable.reason,
            pods: id.map_or(0, |id| digest(&context.snapshot, id)),
            room,
        };
        let node: SmolStr = unremovable.node.clone();
        context.memory.unremovable.insert(node, verdict);
        context.plan.scale_down.unremovable.push(unremovable);
    }
}

/// Of which pods are on a node and whether they are on their way out, in whatever order.
fn digest(snapshot: &Snapshot, node: NodeId) -> u64 {
    snapshot
        .pods_on(node)
        .map(|pod| {
            let mut hasher = FxHasher::default();
            let is_ending = pod.deletion_timestamp.is_some();
            (&pod.uid, is_ending).hash(&mut hasher);
            hasher.finish()
        })
        .fold(0, u64::wrapping_add)
}
