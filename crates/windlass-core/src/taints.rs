//! Taints with a meaning of their own. Source: `pkg/utils/taints/taints.go`.

use windlass_config::Templates;

/// A node that is being deleted; the value is the Unix time of the decision.
pub const TO_BE_DELETED: &str = "ToBeDeletedByClusterAutoscaler";
/// A node that could be deleted; the value is the Unix time of the decision.
pub const DELETION_CANDIDATE: &str = "DeletionCandidateOfClusterAutoscaler";

const IGNORE_PREFIX: &str = "ignore-taint.cluster-autoscaler.kubernetes.io/";
const STARTUP_PREFIX: &str = "startup-taint.cluster-autoscaler.kubernetes.io/";
const STATUS_PREFIX: &str = "status-taint.cluster-autoscaler.kubernetes.io/";

const CONDITION_TAINTS: [&str; 11] = [
    "node.kubernetes.io/not-ready",
    "node.kubernetes.io/unreachable",
    "node.kubernetes.io/unschedulable",
    "node.kubernetes.io/memory-pressure",
    "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/network-unavailable",
    "node.kubernetes.io/pid-pressure",
    "node.cloudprovider.kubernetes.io/uninitialized",
    "node.cloudprovider.kubernetes.io/shutdown",
    "cloud.google.com/impending-node-termination",
    "NodeWithImpairedVolumes",
];

/// Whether a node with a taint of this key has not started yet.
pub fn is_startup_taint(key: &str, flags: &Templates) -> bool {
    key.starts_with(IGNORE_PREFIX)
        || key.starts_with(STARTUP_PREFIX)
        || flags.startup_taints().any(|taint| taint == key)
        || flags
            .startup_taint_prefix
            .iter()
            .any(|prefix| key.starts_with(prefix.as_str()))
}

/// Whether a taint of this key tells a node's state and says nothing of new nodes.
pub fn is_status_taint(key: &str, flags: &Templates) -> bool {
    key.starts_with(STATUS_PREFIX) || flags.status_taint.iter().any(|taint| taint == key)
}

/// Whether a taint of this key is left out of a template.
pub fn is_left_out_of_templates(key: &str, flags: &Templates) -> bool {
    key == TO_BE_DELETED
        || key == DELETION_CANDIDATE
        || CONDITION_TAINTS.contains(&key)
        || is_startup_taint(key, flags)
        || is_status_taint(key, flags)
}

/// As the metric `node_taints_count` names a taint's type.
pub fn metric_type(key: &str, flags: &Templates) -> &'static str {
    if key == TO_BE_DELETED {
        return TO_BE_DELETED;
    }
    if key == DELETION_CANDIDATE {
        return DELETION_CANDIDATE;
    }
    if let Some(known) = CONDITION_TAINTS.iter().find(|taint| **taint == key) {
        return known;
    }
    if key.starts_with(IGNORE_PREFIX) {
        return IGNORE_PREFIX;
    }
    if is_startup_taint(key, flags) {
        return "startup-taint";
    }
    if is_status_taint(key, flags) {
        return "status-taint";
    }
    "other"
}
