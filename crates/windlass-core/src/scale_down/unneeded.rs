//! Since when a node is unneeded. Source: `pkg/core/scaledown/unneeded`.

use windlass_model::{Duration, Timestamp};

use super::{Removable, unix_seconds};
use crate::{cluster_state::node_readiness, decide::Loop, instant::after, taints};

const SMALLEST_INTERVAL: Duration = Duration::from_nanos(1);

/// How many removable nodes are looked for: as many as could be removed before the rest have
/// waited their time, and a few more.
pub(super) fn limit(context: &mut Loop<'_>) -> usize {
    let parallelism = context.config.actuation.max_scale_down_parallelism.max(0);
    let unneeded_time = context.config.scale_down.unneeded_time;
    let now = context.now;
    let memory = &mut context.memory;
    let mut interval = memory
        .shortest_planning_interval
        .unwrap_or(unneeded_time)
        .max(SMALLEST_INTERVAL);
    if let Some(last) = memory.last_planning {
        interval = interval.min(now.duration_since(last).max(SMALLEST_INTERVAL));
    }
    memory.shortest_planning_interval = Some(interval);
    memory.last_planning = Some(now);

    let before = i64::try_from(memory.unneeded_since.len()).unwrap_or(i64::MAX);
    let loops = unneeded_time.max(interval).as_nanos() / interval.as_nanos();
    let loops = i64::try_from(loops).unwrap_or(i64::MAX);
    let soon = before.saturating_add(parallelism.saturating_mul(2));
    let in_time = parallelism
        .saturating_mul(loops)
        .saturating_add(parallelism);
    usize::try_from(soon.min(in_time)).unwrap_or(0)
}

/// Starts the timers of nodes that were needed before, and forgets those of all others.
pub(super) fn update(context: &mut Loop<'_>, found: &[Removable]) {
    let mut before = std::mem::take(&mut context.memory.unneeded_since);
    for removable in found {
        let name = &context.nodes[removable.node].node.name;
        let since = before.remove(name).unwrap_or(context.now);
        context.memory.unneeded_since.insert(name.clone(), since);
    }
}

/// How long a node has to be unneeded, as it is now.
pub(super) fn time_to_wait(context: &Loop<'_>, removable: &Removable) -> Duration {
    let settings = context
        .config
        .node_group_settings(&context.cluster.groups[removable.group].options);
    if node_readiness(&context.nodes[removable.node].node).is_ready {
        settings.scale_down_unneeded_time
    } else {
        settings.scale_down_unready_time
    }
}

/// When the node's time comes; `None` where it need not wait.
pub(super) fn due_at(context: &Loop<'_>, removable: &Removable) -> Option<Timestamp> {
    let wait = time_to_wait(context, removable);
    let name = &context.nodes[removable.node].node.name;
    let since = context.memory.unneeded_since.get(name)?;
    wait.is_positive().then(|| after(*since, wait))
}

/// In a process's first loop: takes timers that memory lacks from the taints of candidates, where
/// `--node-deletion-candidate-ttl` allows it.
pub(super) fn restore_from_taints(context: &mut Loop<'_>) {
    let ttl = context.config.actuation.node_deletion_candidate_ttl;
    if context.memory.has_looped || ttl.is_zero() {
        return;
    }
    for node in &context.nodes {
        let since = node
            .node
            .taint(taints::DELETION_CANDIDATE)
            .and_then(|taint| unix_seconds(&taint.value))
            .filter(|since| after(*since, ttl) >= context.now);
        if let Some(since) = since {
            context
                .memory
                .unneeded_since
                .entry(node.node.name.clone())
                .or_insert(since);
        }
    }
}
