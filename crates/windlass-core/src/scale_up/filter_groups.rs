//! Which groups can grow at all, and why the others cannot.

use std::collections::BTreeMap;

use super::quota::QuotaTracker;
use crate::{Series, decide::Loop};

const NOT_READY: &str = "not ready for scale-up";
const BACKED_OFF: &str = "in backoff after failed scale-up";
const AT_MAXIMUM: &str = "max node group size reached";
/// The group draws on machines that another one has lately not been given.
const OUT_OF_STOCK: &str = "the cloud is out of its machines";
const ATOMIC_TOO_LARGE: &str = "atomic scale-up exceeds cluster node count limit";

/// The groups that can grow, in the provider's order; why not goes to `skipped`.
pub(super) fn run(
    context: &mut Loop<'_>,
    quotas: &QuotaTracker,
    node_count: i64,
    skipped: &mut BTreeMap<usize, Vec<String>>,
) -> Vec<usize> {
    let mut valid = Vec::new();
    for index in 0..context.groups.len() {
        match obstacle(context, quotas, node_count, index) {
            None => valid.push(index),
            Some(reasons) => {
                skipped.insert(index, reasons);
            }
        }
    }
    valid
}

fn obstacle(
    context: &mut Loop<'_>,
    quotas: &QuotaTracker,
    node_count: i64,
    index: usize,
) -> Option<Vec<String>> {
    let group = &context.cluster.groups[index];
    let state = &context.groups[index];
    let is_atomic = context
        .config
        .node_group_settings(&group.options)
        .zero_or_max_node_scaling;
    let missing = group.max_size - state.target_size;
    let max_nodes = context.config.limits.max_nodes_total;
    let simple = if !state.is_healthy {
        Some(NOT_READY)
    } else if state.is_backed_off {
        Some(BACKED_OFF)
    } else if missing <= 0 {
        Some(AT_MAXIMUM)
    } else if is_atomic && max_nodes != 0 && node_count + missing > max_nodes {
        Some(ATOMIC_TOO_LARGE)
    } else if context.templates[index].is_none() {
        Some(NOT_READY)
    } else {
        None
    };
    if let Some(reason) = simple {
        return Some(vec![reason.to_owned()]);
    }
    let shortage = group.notices.shortage.as_ref();
    if let Some(shortage) = shortage.filter(|shortage| context.now < shortage.until) {
        context.plan.wake_by(shortage.until);
        return Some(vec![format!("{OUT_OF_STOCK}: {}", shortage.message)]);
    }
    let exceeded = quotas.exceeded(index, if is_atomic { missing } else { 1 });
    if exceeded.is_empty() {
        return None;
    }
    for (resource, reason) in [
        ("cpu", "CpuResourceLimit"),
        ("memory", "MemoryResourceLimit"),
    ] {
        if exceeded
            .iter()
            .any(|quota| quota.resources.iter().any(|name| name == resource))
        {
            context.plan.metrics.add(
                Series::plain("skipped_scale_events_count")
                    .with("direction", "up")
                    .with("reason", reason),
                1,
            );
        }
    }
    Some(
        exceeded
            .iter()
            .map(|quota| {
                format!(
                    "exceeded quota: \"{}\", resources: {}",
                    quota.id,
                    quota.resources.join(", ")
                )
            })
            .collect(),
    )
}
