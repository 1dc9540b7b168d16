//! The cheap reasons for which a node stays. Source: `pkg/core/scaledown/eligibility`.

use windlass_model::{Duration, Node, Timestamp};

use super::{candidates::Candidate, unix_seconds, utilization::is_gpu_node};
use crate::{UnremovableReason, cluster_state::node_readiness, decide::Loop, taints};

/// How long the taint of a removal keeps a node out of planning.
const MAX_DELETION_TIME: Duration = Duration::from_mins(5);
/// With the value `true` it keeps a node.
const SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";

/// The first reason for which `candidate` stays, if there is one.
pub(super) fn reason_to_stay(
    context: &Loop<'_>,
    candidate: &Candidate,
) -> Option<UnremovableReason> {
    let node = &context.nodes[candidate.node].node;
    if candidate.id.is_none() {
        return Some(UnremovableReason::UnexpectedError);
    }
    if context.memory.unremovable.contains_key(&node.name) {
        return Some(UnremovableReason::RecentlyUnremovable);
    }
    if is_being_deleted(node, context.now) {
        return Some(UnremovableReason::CurrentlyBeingDeleted);
    }
    if is_scale_down_disabled(node) {
        return Some(UnremovableReason::ScaleDownDisabledAnnotation);
    }
    let Ok(utilization) = &candidate.utilization else {
        return Some(UnremovableReason::UnexpectedError);
    };
    if !context.config.scale_down.unready_enabled && !node_readiness(node).is_ready {
        return Some(UnremovableReason::ScaleDownUnreadyDisabled);
    }
    let settings = context
        .config
        .node_group_settings(&context.cluster.groups[candidate.group].options);
    let threshold = if is_gpu_node(node) {
        settings.scale_down_gpu_utilization_threshold
    } else {
        settings.scale_down_utilization_threshold
    };
    (utilization.value > threshold).then_some(UnremovableReason::NotUnderutilized)
}

/// Whether an annotation keeps the node.
pub(super) fn is_scale_down_disabled(node: &Node) -> bool {
    node.annotations
        .get(SCALE_DOWN_DISABLED)
        .is_some_and(|value| value == "true")
}

/// Whether the taint of a removal is there and young.
fn is_being_deleted(node: &Node, now: Timestamp) -> bool {
    node.taint(taints::TO_BE_DELETED)
        .and_then(|taint| unix_seconds(&taint.value))
        .is_some_and(|tainted_at| now.duration_since(tainted_at) < MAX_DELETION_TIME)
}
