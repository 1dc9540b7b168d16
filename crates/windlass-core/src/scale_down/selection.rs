//! Which of the unneeded nodes may go now. Source: `NodesToDelete` of
//! `pkg/core/scaledown/planner/planner.go`, `pkg/processors/nodes/scale_down_set_processor.go`.

use std::collections::BTreeMap;

use super::{
    HeldBack, Removable, eligibility, keep,
    limits::{Headroom, UnknownGpus},
    unneeded,
};
use crate::{UnremovableReason, cluster_state::node_readiness, decide::Loop, drain};

/// Those whose removal nothing but the budgets of the moment stands against.
#[derive(Debug, Default)]
pub(super) struct Chosen {
    pub(super) empty: Vec<Removable>,
    /// Ones that a disruption budget may hold up come last.
    pub(super) to_drain: Vec<Removable>,
}

/// Chooses among `found`, empty nodes before others, each in the planner's order; writes down why
/// the others stay.
pub(super) fn choose(context: &mut Loop<'_>, found: Vec<Removable>) -> Chosen {
    let mut headroom = match Headroom::new(context) {
        Ok(headroom) => headroom,
        Err(UnknownGpus { node }) => {
            context.plan.scale_down.held_back = Some(HeldBack::UnknownGpus { node });
            return Chosen::default();
        }
    };
    let mut sizes = Sizes::new(context);
    let (empty, to_drain): (Vec<_>, Vec<_>) = found.into_iter().partition(Removable::is_empty);
    let mut accept = |nodes: Vec<Removable>, context: &mut Loop<'_>| -> Vec<Removable> {
        nodes
            .into_iter()
            .filter(|removable| {
                let reason = reason_to_stay(context, removable, &mut headroom, &mut sizes);
                if let Some(reason) = reason {
                    let share = Some(removable.utilization.value);
                    keep(context, removable.node, reason, share);
                }
                reason.is_none()
            })
            .collect()
    };
    let empty = accept(empty, context);
    let to_drain = accept(to_drain, context);
    let (risky, safe): (Vec<_>, Vec<_>) = to_drain
        .into_iter()
        .partition(|removable| removable.is_risky);
    let mut all: Vec<Removable> = empty;
    all.extend(safe);
    all.extend(risky);
    let all = whole_groups(context, all);
    let mut chosen = Chosen::default();
    for removable in all {
        if removable.has_on_completion {
            let reason = UnremovableReason::BlockedByOnCompletionPod;
            keep(
                context,
                removable.node,
                reason,
                Some(removable.utilization.value),
            );
        } else if removable.is_empty() {
            chosen.empty.push(removable);
        } else {
            chosen.to_drain.push(removable);
        }
    }
    chosen
}

fn reason_to_stay(
    context: &mut Loop<'_>,
    removable: &Removable,
    headroom: &mut Headroom,
    sizes: &mut Sizes,
) -> Option<UnremovableReason> {
    let node = std::sync::Arc::clone(&context.nodes[removable.node].node);
    if eligibility::is_scale_down_disabled(&node) {
        return Some(UnremovableReason::ScaleDownDisabledAnnotation);
    }
    if let Some(due_at) = unneeded::due_at(context, removable).filter(|due| *due >= context.now) {
        // The wait has to be over, not just reached.
        let is_over = due_at.checked_add(windlass_model::Duration::from_nanos(1));
        context.plan.wake_by(is_over.unwrap_or(due_at));
        return Some(if node_readiness(&node).is_ready {
            UnremovableReason::NotUnneededLongEnough
        } else {
            UnremovableReason::NotUnreadyLongEnough
        });
    }
    let group = removable.group;
    if sizes.left(group) <= context.cluster.groups[group].min_size {
        return Some(UnremovableReason::NodeGroupMinSizeReached);
    }
    match headroom.take(context, &node, group) {
        Err(UnknownGpus { .. }) => return Some(UnremovableReason::UnexpectedError),
        Ok(false) => return Some(UnremovableReason::MinimalResourceLimitExceeded),
        Ok(true) => {}
    }
    sizes.take(group);
    None
}

/// The sizes that groups will have when all that is on its way out is gone.
struct Sizes(Vec<i64>);

impl Sizes {
    fn new(context: &Loop<'_>) -> Self {
        let leaving = drain::leaving_by_group(context);
        let sizes = context
            .groups
            .iter()
            .zip(&context.cluster.groups)
            .map(|(state, group)| {
                state.target_size - leaving.get(&group.name).copied().unwrap_or(0)
            })
            .collect();
        Self(sizes)
    }

    fn left(&self, group: usize) -> i64 {
        self.0[group]
    }

    fn take(&mut self, group: usize) {
        self.0[group] -= 1;
    }
}

/// Of groups that are scaled to nothing or to their maximum, all nodes or none.
fn whole_groups(context: &mut Loop<'_>, chosen: Vec<Removable>) -> Vec<Removable> {
    let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
    for removable in &chosen {
        if is_atomic(context, removable.group) {
            *counts.entry(removable.group).or_default() += 1;
        }
    }
    chosen
        .into_iter()
        .filter(|removable| {
            let Some(count) = counts.get(&removable.group) else {
                return true;
            };
            let is_whole = is_whole_group(context, removable.group, *count);
            if !is_whole {
                let reason = UnremovableReason::AtomicScaleDownFailed;
                keep(
                    context,
                    removable.node,
                    reason,
                    Some(removable.utilization.value),
                );
            }
            is_whole
        })
        .collect()
}

/// Whether a group is scaled to nothing or to its maximum.
pub(super) fn is_atomic(context: &Loop<'_>, group: usize) -> bool {
    context.cluster.groups[group]
        .options
        .zero_or_max_node_scaling
        == Some(true)
}

/// Whether `count` nodes are all that the group has asked for, or all that have registered.
pub(super) fn is_whole_group(context: &Loop<'_>, group: usize, count: usize) -> bool {
    i64::try_from(count) == Ok(context.groups[group].target_size)
        || count == registered(context, group)
}

/// How many registered nodes of a group are in the snapshot.
pub(super) fn registered(context: &Loop<'_>, group: usize) -> usize {
    context
        .nodes
        .iter()
        .filter(|node| node.group == Some(group) && !node.is_replaced)
        .count()
}
