use windlass_model::Duration;

use super::{hours, minutes, seconds};
use crate::{flag::flag_group, value::DrainPriorities};

flag_group! {
    /// Which nodes are removed, and when.
    struct ScaleDown in scale_down, "Scale-down";

    /// Remove nodes at all. Setting it to `false` is deprecated.
    "scale-down-enabled" => enabled: bool = true, Acted;

    /// Remove unready nodes too.
    "scale-down-unready-enabled" => unready_enabled: bool = true, Acted;

    /// How long no node is removed after a scale-up.
    "scale-down-delay-after-add" => delay_after_add: Duration = minutes(10), Acted;

    /// How long no node is removed after a removal has begun.
    "scale-down-delay-after-delete" => delay_after_delete: Duration = Duration::ZERO, Acted;

    /// How long no node is removed after a failed removal.
    "scale-down-delay-after-failure" => delay_after_failure: Duration = minutes(3), Acted;

    /// Count these three delays for each group on its own.
    "scale-down-delay-type-local" => delay_type_local: bool = false, Acted;

    /// How long a node must be unneeded before it is removed. A group's tag may override it.
    "scale-down-unneeded-time" => unneeded_time: Duration = minutes(10), Acted;

    /// How long an unready node must be unneeded before it is removed. A group's tag may
    /// override it.
    "scale-down-unready-time" => unready_time: Duration = minutes(20), Acted;

    /// Utilisation below which a node may be unneeded: the larger of the shares of CPU and
    /// memory that its pods request. A group's tag may override it.
    "scale-down-utilization-threshold" => utilization_threshold: f64 = 0.5, Acted;

    /// The same for nodes with GPUs, by their GPUs alone. A group's tag may override it.
    "scale-down-gpu-utilization-threshold" => gpu_utilization_threshold: f64 = 0.5, Acted;

    /// Leave `DaemonSet` pods out of the utilisation. A group's tag may override it.
    "ignore-daemonsets-utilization" => ignore_daemon_sets_utilization: bool = false, Acted;

    /// Leave mirror pods out of the utilisation.
    "ignore-mirror-pods-utilization" => ignore_mirror_pods_utilization: bool = false, Acted;

    /// Longest time for finding the nodes that could go.
    "scale-down-simulation-timeout" => simulation_timeout: Duration = seconds(30), Acted;

    /// How long a node that could not go is not tried again.
    "unremovable-node-recheck-timeout" => unremovable_node_recheck_timeout: Duration = minutes(5), Acted;

    /// Export `node_removal_latency_seconds`.
    "node-removal-latency-tracking-enabled" => node_removal_latency_tracking: bool = false, Acted;

    /// Export `max_node_skip_eval_duration_seconds`.
    "max-node-skip-eval-time-tracker-enabled" => max_node_skip_eval_time_tracker: bool = false, Acted;
}

flag_group! {
    /// Which pods keep their node.
    struct Drain in drain, "Pods that keep their node";

    /// Keep nodes with pods of `kube-system` that neither a `DaemonSet` nor the kubelet runs.
    "skip-nodes-with-system-pods" => skip_nodes_with_system_pods: bool = true, Acted;

    /// Age at which such a pod without a `PodDisruptionBudget` stops keeping its node. The
    /// misspelling is the Go autoscaler's.
    "blocking-system-pod-distruption-timeout" => blocking_system_pod_disruption_timeout: Duration = hours(1), Acted;

    /// Keep nodes with pods that have an `emptyDir` or `hostPath` volume.
    "skip-nodes-with-local-storage" => skip_nodes_with_local_storage: bool = true, Acted;

    /// Keep nodes with pods of controllers that are not known.
    "skip-nodes-with-custom-controller-pods" => skip_nodes_with_custom_controller_pods: bool = true, Acted;

    /// Keep nodes with pods of controllers that have fewer replicas than this.
    "min-replica-count" => min_replica_count: i64 = 0, Acted;
}

flag_group! {
    /// How nodes are removed.
    struct Actuation in actuation, "Removing nodes";

    /// Most nodes that are being removed at a time.
    "max-scale-down-parallelism" => max_scale_down_parallelism: i64 = 10, Acted;

    /// Most nodes that are being drained at a time.
    "max-drain-parallelism" => max_drain_parallelism: i64 = 1, Acted;

    /// Most nodes in one loop that get or lose the taint of a candidate for removal; 0 for no
    /// such taints.
    "max-bulk-soft-taint-count" => max_bulk_soft_taint_count: i64 = 10, Acted;

    /// Longest time in one loop for these taints: no write of one begins later.
    "max-bulk-soft-taint-time" => max_bulk_soft_taint_time: Duration = seconds(3), Acted;

    /// At the start, with these taints switched off: leave those younger than this. 0: remove
    /// all.
    "node-deletion-candidate-ttl" => node_deletion_candidate_ttl: Duration = Duration::ZERO, Acted;

    /// Longest wait for a node to lose its annotations
    /// `delay-deletion.cluster-autoscaler.kubernetes.io/…`.
    "node-deletion-delay-timeout" => node_deletion_delay_timeout: Duration = minutes(2), Acted;

    /// How long the removals of a group are gathered for one call. 0: not at all.
    "node-deletion-batcher-interval" => node_deletion_batcher_interval: Duration = Duration::ZERO, Acted;

    /// Wait between a node's taint and its drain or removal.
    "node-delete-delay-after-taint" => node_delete_delay_after_taint: Duration = seconds(5), Acted;

    /// Take that wait from how long the API server's changes are observed to take.
    "dynamic-node-delete-delay-after-taint-enabled" => dynamic_node_delete_delay_after_taint: bool = false, Acted;

    /// Cordon a node too when it gets the taint of a removal.
    "cordon-node-before-terminating" => cordon_node_before_terminating: bool = true, Acted;

    /// Longest wait for pods to end while a node is drained, in seconds.
    "max-graceful-termination-sec" => max_graceful_termination_sec: i64 = 600, Acted;

    /// Evict pods in the order of their priority, each group of priorities with its own
    /// longest wait. Excludes `--max-graceful-termination-sec`.
    "drain-priority-config" => drain_priority_config: DrainPriorities = DrainPriorities::default(), Acted;

    /// How long a refused eviction is tried again.
    "max-pod-eviction-time" => max_pod_eviction_time: Duration = minutes(2), Acted;

    /// Evict `DaemonSet` pods from nodes without other pods.
    "daemonset-eviction-for-empty-nodes" => daemon_set_eviction_for_empty_nodes: bool = false, Acted;

    /// Evict `DaemonSet` pods from nodes with other pods.
    "daemonset-eviction-for-occupied-nodes" => daemon_set_eviction_for_occupied_nodes: bool = true, Acted;
}
