//! What a loop says of itself: the pods' standing, gauges and counters.

use std::collections::BTreeSet;

use windlass_model::{NodeTemplate, Quantity, SmolStr};

use crate::{Series, cluster_state::Counts, decide::Loop, scale_up::classes::PodClass, taints};

/// Counts the pods that wait at the start of the loop.
pub(crate) fn count_pending(context: &mut Loop<'_>, unschedulable: usize, unprocessed: usize) {
    for (kind, count) in [
        ("unschedulable", unschedulable),
        ("scheduler_unprocessed", unprocessed),
    ] {
        let series = Series::plain("unschedulable_pods_count").with("type", kind);
        context.plan.metrics.set(series, count as f64);
    }
}

/// Counts the pods that controllers have still to make.
pub(crate) fn count_injected(context: &mut Loop<'_>, injected: usize) {
    let series = Series::plain("unschedulable_pods_count").with("type", "injected");
    context.plan.metrics.set(series, injected as f64);
}

/// Counts those of them that are left out.
pub(crate) fn count_skipped_injection(context: &mut Loop<'_>, skipped: usize) {
    let series = Series::plain("unschedulable_pods_count").with("type", "skipped_injection");
    context.plan.metrics.set(series, skipped as f64);
}

/// Observes how many kinds of pods an estimation packs.
pub(crate) fn observe_heterogeneity(
    context: &mut Loop<'_>,
    template: &NodeTemplate,
    classes: &[&PodClass],
) {
    let namespaces: BTreeSet<&str> = classes
        .iter()
        .map(|class| class.exemplar.namespace().as_str())
        .collect();
    let namespace_count = match namespaces.len() {
        count @ 0..=5 => count.to_string(),
        6..=10 => "6-10".to_owned(),
        _ => "11+".to_owned(),
    };
    let node = &template.node;
    let instance_type = node.labels.get("node.kubernetes.io/instance-type");
    let cpu = node.capacity.get("cpu").unwrap_or_default();
    let series = Series::plain("binpacking_heterogeneity")
        .with("instance_type", instance_type.cloned().unwrap_or_default())
        .with("cpu_count", cpu.to_string())
        .with("namespace_count", namespace_count);
    context.plan.metrics.observe(series, classes.len() as f64);
}

/// Gauges of the cluster as the loop finds it.
pub(crate) fn measure_cluster(context: &mut Loop<'_>, total: &Counts, is_healthy: bool) {
    let mut set = |series: Series, value: f64| context.plan.metrics.set(series, value);
    set(
        Series::plain("cluster_safe_to_autoscale"),
        f64::from(u8::from(is_healthy)),
    );
    for (state, count) in [
        ("ready", total.ready),
        ("unready", total.unready),
        ("notStarted", total.not_started),
        ("suspended", total.suspended),
        ("longUnregistered", total.long_unregistered),
        ("unregistered", total.unregistered),
    ] {
        set(
            Series::plain("nodes_count").with("state", state),
            count as f64,
        );
    }
    for (kind, count) in [
        ("autoscaled", context.cluster.groups.len()),
        ("autoprovisioned", 0),
    ] {
        set(
            Series::plain("node_groups_count").with("node_group_type", kind),
            count as f64,
        );
    }
    let all_groups: i64 = context
        .cluster
        .groups
        .iter()
        .map(|group| group.max_size)
        .sum();
    let limit = context.config.limits.max_nodes_total;
    let most = if limit > 0 {
        all_groups.min(limit)
    } else {
        all_groups
    };
    set(Series::plain("max_nodes_count"), most as f64);

    let (mut cores, mut bytes) = (0_i64, 0_i64);
    let mut taint_counts = std::collections::BTreeMap::new();
    for node in &context.cluster.nodes {
        for taint in &node.taints {
            *taint_counts
                .entry(taints::metric_type(&taint.key, &context.config.templates))
                .or_insert(0_u32) += 1;
        }
        if !is_going(context.now.as_second(), node) {
            let amount = |name: &str| node.capacity.get(name).map_or(0, Quantity::units_ceil);
            cores += amount("cpu");
            bytes += amount("memory");
        }
    }
    set(Series::plain("cluster_cpu_current_cores"), cores as f64);
    set(Series::plain("cluster_memory_current_bytes"), bytes as f64);
    for (kind, count) in taint_counts {
        set(
            Series::plain("node_taints_count").with("type", kind),
            f64::from(count),
        );
    }
    let limits = &context.config.limits;
    let memory = limits.memory_total_bytes();
    for (name, range) in [
        ("cpu_limits_cores", limits.cores_total),
        ("memory_limits_bytes", memory),
    ] {
        for (direction, value) in [("minimum", range.min), ("maximum", range.max)] {
            set(
                Series::plain(name).with("direction", direction),
                value as f64,
            );
        }
    }
    if context.config.process.emit_per_nodegroup_metrics {
        measure_groups(context);
    }
}

/// A node that was marked for deletion less than five minutes ago does not count any more.
fn is_going(now: i64, node: &windlass_model::Node) -> bool {
    node.taint(taints::TO_BE_DELETED)
        .and_then(|taint| taint.value.parse::<i64>().ok())
        .is_some_and(|since| now - since < 300)
}

fn measure_groups(context: &mut Loop<'_>) {
    for (group, state) in context.cluster.groups.iter().zip(&context.groups) {
        let mut set = |name: &'static str, value: f64| {
            let series = Series::plain(name).with("node_group", group.name.clone());
            context.plan.metrics.set(series, value);
        };
        set("node_group_min_count", group.min_size as f64);
        set("node_group_max_count", group.max_size as f64);
        set("node_group_target_count", state.target_size as f64);
        set(
            "node_group_healthiness",
            f64::from(u8::from(state.is_healthy)),
        );
        let backoff = context.memory.backoffs.get(&group.name);
        let current = backoff.filter(|_| state.is_backed_off).map(|backoff| {
            match backoff.error.code.as_str() {
                "" => SmolStr::new_static("unknown"),
                _ => backoff.error.code.clone(),
            }
        });
        let known = context.memory.backoff_codes.entry(group.name.clone());
        let known = known.or_default();
        known.extend(current.clone());
        let never = [SmolStr::default()];
        let codes = if known.is_empty() {
            never.iter().collect()
        } else {
            known.iter().collect::<Vec<_>>()
        };
        for code in codes {
            let series = Series::plain("node_group_backoff_status")
                .with("node_group", group.name.clone())
                .with("reason", code.clone());
            let is_current = current.as_ref() == Some(code);
            let value = f64::from(u8::from(is_current));
            context.plan.metrics.set(series, value);
        }
    }
}
