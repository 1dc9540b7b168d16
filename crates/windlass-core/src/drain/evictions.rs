//! Which pods of a node are evicted, in which order, and how long they get.

use std::sync::Arc;

use windlass_config::Config;
use windlass_model::{Duration, Pod, SmolStr, Timestamp};

use super::{Eviction, EvictionState, replacements, rules::DEFAULT_GRACE_SECONDS};
use crate::{
    decide::Loop,
    pending::{Standing, is_expendable, standing},
};

/// How long a node waits for its pods beyond their grace period.
const HEADROOM: Duration = Duration::from_secs(30);

/// Pods that are evicted from a node.
#[derive(Default)]
pub(super) struct Selected<'p> {
    pub(super) full: Vec<&'p Arc<Pod>>,
    /// Of `DaemonSet`s.
    pub(super) daemonset: Vec<&'p Arc<Pod>>,
}

/// The pods bound to a node that have not ended and are not expendable.
pub(super) fn pods_on(context: &Loop<'_>, node: &SmolStr) -> Vec<Arc<Pod>> {
    let is_on_node = |pod: &&Arc<Pod>| pod.node_name.as_ref() == Some(node);
    if let Some(id) = context.snapshot.node_id(node) {
        // The snapshot leaves the others out, and holds pending pods besides.
        return context
            .snapshot
            .pods_on(id)
            .filter(is_on_node)
            .cloned()
            .collect();
    }
    context
        .cluster
        .pods
        .iter()
        .filter(is_on_node)
        .filter(|pod| {
            matches!(standing(pod, context.config), Standing::Scheduled(_))
                && !is_expendable(pod, context.config)
        })
        .cloned()
        .collect()
}

/// Those of `pods` that are evicted; an empty node loses pods of `DaemonSet`s at most.
pub(super) fn select<'p>(config: &Config, pods: &'p [Arc<Pod>], is_empty: bool) -> Selected<'p> {
    let actuation = &config.actuation;
    let daemonsets_go = if is_empty {
        actuation.daemon_set_eviction_for_empty_nodes
    } else {
        actuation.daemon_set_eviction_for_occupied_nodes
    };
    let mut selected = Selected::default();
    for pod in pods.iter().filter(|pod| !pod.shape.safety.is_mirror) {
        if !pod.shape.is_daemonset_pod() {
            if !is_empty {
                selected.full.push(pod);
            }
            continue;
        }
        let is_evicted = pod
            .shape
            .safety
            .enable_daemonset_eviction
            .as_ref()
            .map_or(daemonsets_go, |wish| wish == "true");
        if is_evicted {
            selected.daemonset.push(pod);
        }
    }
    selected
}

/// How many groups of priorities there are.
pub(super) fn wave_count(config: &Config) -> usize {
    config
        .actuation
        .drain_priority_config
        .as_slice()
        .len()
        .max(1)
}

/// The grace period that pods of a wave get at most, in seconds; none where that is not positive.
fn grace_of_wave(config: &Config, wave: usize) -> i64 {
    config
        .actuation
        .drain_priority_config
        .as_slice()
        .get(wave)
        .map_or(config.actuation.max_graceful_termination_sec, |group| {
            group.grace_seconds
        })
}

/// How long a node waits for the pods of a wave.
pub(super) fn longest_wait(config: &Config, wave: usize) -> Duration {
    let grace = grace_of_wave(config, wave).max(0);
    Duration::from_secs(grace)
        .checked_add(HEADROOM)
        .unwrap_or(Duration::MAX)
}

/// The evictions of one wave.
pub(super) fn of_wave(
    config: &Config,
    pods: &[Arc<Pod>],
    is_empty: bool,
    wave: usize,
    now: Timestamp,
) -> Vec<Eviction> {
    let groups = config.actuation.drain_priority_config.as_slice();
    let most = grace_of_wave(config, wave);
    let selected = select(config, pods, is_empty);
    // With groups of priorities a DaemonSet's pods are waited for like any other.
    let daemonsets_are_best_effort = is_empty || groups.is_empty();
    let full = selected.full.into_iter().map(|pod| (pod, false));
    let daemonset = selected
        .daemonset
        .into_iter()
        .map(|pod| (pod, daemonsets_are_best_effort));
    full.chain(daemonset)
        .filter(|(pod, _)| wave_of(groups, pod.priority()) == wave)
        .map(|(pod, is_best_effort)| {
            let wished = pod
                .shape
                .termination_grace_period_seconds
                .unwrap_or(DEFAULT_GRACE_SECONDS);
            Eviction {
                pod: pod.full_name(),
                uid: pod.uid.clone(),
                grace_period_seconds: if most > 0 { wished.min(most) } else { wished },
                is_best_effort,
                replaced_by: replacements::controller_of(pod),
                state: EvictionState::Due {
                    at: now,
                    last_error: String::new(),
                },
                asked_at: None,
            }
        })
        .collect()
}

/// The last group that begins at or below the priority; the first for pods below all.
fn wave_of(groups: &[windlass_config::DrainPriority], priority: i32) -> usize {
    groups
        .iter()
        .rposition(|group| group.priority <= priority)
        .unwrap_or(0)
}
