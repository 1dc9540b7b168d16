//! Raises groups to their minimum.

use super::{GroupResize, execute, quota::QuotaTracker};
use crate::{ResizeCause, decide::Loop};

/// Plans the growth of groups whose size is below their minimum.
pub(crate) fn raise_to_minimum(context: &mut Loop<'_>) {
    let Ok(mut quotas) = QuotaTracker::of_cluster(context) else {
        return;
    };
    let limit = context.config.limits.max_nodes_total;
    let planned: i64 = context
        .plan
        .scale_up
        .resizes
        .iter()
        .map(|resize| resize.to - resize.from)
        .sum();
    let in_snapshot: i64 = context
        .groups
        .iter()
        .map(|group| group.added_in_snapshot)
        .sum();
    let present = i64::try_from(context.snapshot.node_count()).unwrap_or(i64::MAX);
    let mut room = limit - present.saturating_add(planned - in_snapshot);
    let mut resizes = Vec::new();
    for (index, group) in context.cluster.groups.iter().enumerate() {
        let state = &context.groups[index];
        let from = state.target_size;
        let can_grow =
            state.is_healthy && !state.is_backed_off && context.templates[index].is_some();
        if from >= group.min_size || !can_grow {
            continue;
        }
        let mut nodes = quotas.allowed(index, group.min_size - from);
        if limit > 0 {
            nodes = nodes.min(room);
        }
        if nodes <= 0 {
            continue;
        }
        room -= nodes;
        quotas.consume(index, nodes);
        resizes.push(GroupResize {
            group: index,
            from,
            to: from + nodes,
        });
    }
    execute::plan(context, &resizes, ResizeCause::MinimumSize, None);
}
