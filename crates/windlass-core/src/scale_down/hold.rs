//! What holds all removals back: cooldowns, and a world that looks wrong. Source of the cooldowns:
//! `pkg/core/static_autoscaler.go`, `scale_down_candidates_delay_processor.go`.

use rustc_hash::FxHashSet;
use windlass_model::{Duration, SmolStr, Timestamp};

use crate::{decide::Loop, instant::after, memory::SeenNodes};

/// Why no removal begins in a loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// `windlass.dev/scale-down: paused` on the status `ConfigMap`.
    Paused,
    /// The view of the cluster or the cloud is older than `--max-cache-age`.
    StaleView,
    /// Many nodes of an earlier view are missing, and nobody here removed them.
    MissingNodes {
        /// How many are missing.
        missing: usize,
        /// Of how many.
        known: usize,
    },
    /// A scale-up, a removal or a failed removal was not long enough ago.
    Cooldown,
    /// A node outside of all groups, or of a group without a template, is marked as a GPU node and
    /// has no GPUs yet: the minimums of `--gpu-total` cannot be kept. Source:
    /// `pkg/resourcequotas`, whose failure stops all removals.
    UnknownGpus {
        /// The node.
        node: SmolStr,
    },
}

/// The first reason to hold removals back.
pub(super) fn reason(context: &mut Loop<'_>) -> Option<HeldBack> {
    if context.cluster.is_scale_down_paused {
        return Some(HeldBack::Paused);
    }
    if is_view_stale(context) {
        return Some(HeldBack::StaleView);
    }
    let missing = context.missing_nodes.clone();
    missing.or_else(|| is_in_cooldown(context).then_some(HeldBack::Cooldown))
}

/// Whether the view is too old to remove anything by it.
pub(crate) fn is_view_stale(context: &Loop<'_>) -> bool {
    let max_age = context.config.safety.max_cache_age;
    !max_age.is_zero()
        && context
            .cluster
            .current_at
            .is_some_and(|current_at| after(current_at, max_age) < context.now)
}

fn is_in_cooldown(context: &mut Loop<'_>) -> bool {
    if context.pods_are_new {
        return true;
    }
    let scale_down = &context.config.scale_down;
    if scale_down.delay_type_local {
        return false;
    }
    let memory = &context.memory;
    let last_scale_up = if context.plan.scale_up.resizes.is_empty() {
        memory.last_scale_up
    } else {
        Some(context.now)
    };
    let until = [
        (last_scale_up, scale_down.delay_after_add),
        (
            memory.last_scale_down_failure,
            scale_down.delay_after_failure,
        ),
        (memory.last_scale_down_delete, scale_down.delay_after_delete),
    ]
    .into_iter()
    .filter_map(|(last, delay)| Some(after(last?, delay)))
    .max();
    let Some(until) = until.filter(|until| *until > context.now) else {
        return false;
    };
    if !context.memory.unneeded_since.is_empty() {
        context.plan.wake_by(until);
    }
    true
}

/// With `--scale-down-delay-type-local`: whether a group's own delays keep its nodes.
pub(super) fn is_group_delayed(context: &Loop<'_>, group: usize) -> bool {
    let scale_down = &context.config.scale_down;
    if !scale_down.delay_type_local {
        return false;
    }
    let name = &context.cluster.groups[group].name;
    context.memory.group_times.get(name).is_some_and(|times| {
        let is_within = |last: Option<Timestamp>, delay: Duration| {
            last.is_some_and(|last| after(last, delay) > context.now)
        };
        is_within(times.scale_up, scale_down.delay_after_add)
            || is_within(times.removal, scale_down.delay_after_delete)
            || is_within(times.failed_removal, scale_down.delay_after_failure)
    })
}

/// Notes when groups grew, for the delays of each group.
pub(super) fn remember_group_times(context: &mut Loop<'_>) {
    for resize in &context.plan.scale_up.resizes {
        context
            .memory
            .group_times
            .entry(resize.group.clone())
            .or_default()
            .scale_up = Some(context.now);
    }
    let groups: FxHashSet<&str> = context
        .cluster
        .groups
        .iter()
        .map(|group| group.name.as_str())
        .collect();
    context
        .memory
        .group_times
        .retain(|group, _| groups.contains(group.as_str()));
}

/// Whether nodes of an earlier view are missing, more than the bounds of the cluster's health
/// (`--ok-total-unready-count`, `--max-total-unready-percentage`) allow to be unready. The earlier
/// view counts until a requested node would have had its time to come.
pub(super) fn missing_nodes(context: &mut Loop<'_>) -> Option<HeldBack> {
    let health = &context.config.cluster_health;
    let drains = &context.memory.drains;
    let names: Vec<SmolStr> = context
        .cluster
        .nodes
        .iter()
        .map(|node| &node.name)
        .filter(|name| !drains.contains_key(*name))
        .cloned()
        .collect();
    let Some(seen) = &context.memory.seen_nodes else {
        context.memory.seen_nodes = Some(SeenNodes {
            at: context.now,
            names,
        });
        return None;
    };
    let known = seen.names.len();
    let mut missing = 0;
    if seen.names != names {
        let present: FxHashSet<&str> = names.iter().map(SmolStr::as_str).collect();
        missing = seen
            .names
            .iter()
            .filter(|name| !present.contains(name.as_str()) && !drains.contains_key(*name))
            .count();
    }
    let is_expired = after(seen.at, health.max_node_provision_time) < context.now;
    let tolerated = usize::try_from(health.ok_total_unready_count).unwrap_or(0);
    let is_suspicious = missing > tolerated
        && missing as f64 > health.max_total_unready_percentage / 100.0 * known as f64;
    if is_suspicious && !is_expired {
        return Some(HeldBack::MissingNodes { missing, known });
    }
    context.memory.seen_nodes = Some(SeenNodes {
        at: context.now,
        names,
    });
    None
}
