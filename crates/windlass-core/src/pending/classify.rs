use windlass_config::Config;
use windlass_model::{Pod, PodScheduled, SmolStr};

/// Where a pod stands between being made and running. Source: `pkg/utils/kubernetes/listers.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing<'a> {
    /// Bound to a node of this name.
    Scheduled(&'a SmolStr),
    /// Waiting for preemption on the node of this name.
    Nominated(&'a SmolStr),
    /// Its scheduler found no node.
    Unschedulable,
    /// Its scheduler is one of `--bypassed-scheduler-names` and has not looked at it.
    Unprocessed,
    /// Ended, going, gated, of a scheduler not allowed, or not seen by its scheduler yet.
    Ignored,
}

/// Where `pod` stands.
pub(crate) fn standing<'a>(pod: &'a Pod, config: &Config) -> Standing<'a> {
    let allowed = &config.scale_up.allowed_scheduler_names;
    let scheduler = pod.shape.scheduler_name.as_str();
    if pod.phase.is_terminal() || (!allowed.is_empty() && !allowed.contains(scheduler)) {
        return Standing::Ignored;
    }
    if let Some(node) = &pod.node_name {
        return Standing::Scheduled(node);
    }
    if pod.deletion_timestamp.is_some() {
        return Standing::Ignored;
    }
    if let Some(node) = &pod.nominated_node_name {
        return Standing::Nominated(node);
    }
    match pod.scheduled {
        PodScheduled::Unschedulable { .. } => Standing::Unschedulable,
        PodScheduled::Absent | PodScheduled::NoReason
            if config.scale_up.bypassed_scheduler_names.contains(scheduler) =>
        {
            Standing::Unprocessed
        }
        _ => Standing::Ignored,
    }
}

/// Whether the pod counts for nothing: its priority is set and below the cutoff.
pub(crate) fn is_expendable(pod: &Pod, config: &Config) -> bool {
    pod.shape.priority.is_some_and(|priority| {
        i64::from(priority) < config.scale_up.expendable_pods_priority_cutoff
    })
}
