//! How long removals are late, and how long nodes go without being looked at. Source:
//! `pkg/core/scaledown/latencytracker`, `pkg/core/scaledown/planner`.

use std::collections::{BTreeMap, BTreeSet};

use windlass_model::{SmolStr, Timestamp};

use super::{Removable, unneeded};
use crate::{Series, UnremovableReason, decide::Loop, memory::Waiting};

/// With `--node-removal-latency-tracking-enabled`: observes by how much a node that now goes, or is
/// needed again, has been unneeded for longer than it had to be.
pub(super) fn observe_removals(context: &mut Loop<'_>, waits: BTreeMap<SmolStr, Waiting>) {
    if !context.config.scale_down.node_removal_latency_tracking {
        return;
    }
    let mut tracked = std::mem::take(&mut context.memory.waiting);
    for (node, now_waiting) in waits {
        let waiting = tracked.entry(node).or_insert_with(|| now_waiting.clone());
        waiting.threshold = now_waiting.threshold;
    }
    for unremovable in &context.plan.scale_down.unremovable {
        let is_plain_wait = matches!(
            unremovable.reason,
            UnremovableReason::NotUnneededLongEnough | UnremovableReason::NotUnreadyLongEnough
        );
        if !is_plain_wait && let Some(waiting) = tracked.get_mut(&unremovable.node) {
            waiting.delayed_by = Some(unremovable.reason);
        }
    }
    let removed: BTreeSet<&SmolStr> = context
        .plan
        .scale_down
        .removals
        .iter()
        .map(|removal| &removal.node)
        .collect();
    let mut ended = Vec::new();
    tracked.retain(|node, waiting| {
        let is_removed = removed.contains(node);
        let goes_on = !is_removed && context.memory.unneeded_since.contains_key(node);
        if !goes_on {
            ended.push((is_removed, waiting.clone()));
        }
        goes_on
    });
    for (is_removed, waiting) in ended {
        let waited = context.now.duration_since(waiting.since);
        let late = waited.saturating_sub(waiting.threshold);
        if late.is_positive() {
            let reason = waiting.delayed_by.map_or("none", UnremovableReason::as_str);
            let series = Series::plain("node_removal_latency_seconds")
                .with("deleted", if is_removed { "true" } else { "false" })
                .with("delay_reason", reason);
            context.plan.metrics.observe(series, late.as_secs_f64());
        }
    }
    context.memory.waiting = tracked;
}

/// Since when the nodes found unneeded are so, and for how long they have to be.
pub(super) fn waits(context: &Loop<'_>, found: &[Removable]) -> BTreeMap<SmolStr, Waiting> {
    if !context.config.scale_down.node_removal_latency_tracking {
        return BTreeMap::new();
    }
    found
        .iter()
        .map(|removable| {
            let name = context.nodes[removable.node].node.name.clone();
            let waiting = Waiting {
                since: context.now,
                threshold: unneeded::time_to_wait(context, removable),
                delayed_by: None,
            };
            (name, waiting)
        })
        .collect()
}

/// With `--max-node-skip-eval-time-tracker-enabled`: the longest time that a node has been passed
/// over because the limit or the time for simulations was used up.
pub(super) fn measure_skipped(context: &mut Loop<'_>, skipped: &[usize]) {
    if !context.config.scale_down.max_node_skip_eval_time_tracker {
        return;
    }
    let before = std::mem::take(&mut context.memory.skipped_since);
    let since: BTreeMap<SmolStr, Timestamp> = skipped
        .iter()
        .map(|node| {
            let name = context.nodes[*node].node.name.clone();
            let since = before.get(&name).copied().unwrap_or(context.now);
            (name, since)
        })
        .collect();
    let longest = since.values().min().map_or(0.0, |first| {
        context.now.duration_since(*first).as_secs_f64()
    });
    let series = Series::plain("max_node_skip_eval_duration_seconds");
    context.plan.metrics.set(series, longest);
    context.memory.skipped_since = since;
}
