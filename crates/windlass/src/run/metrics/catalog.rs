use std::sync::LazyLock;

/// What a metric is. Source: `pkg/metrics/metrics.go`.
#[derive(Debug)]
pub(super) struct Definition {
    /// Without the prefix.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
    /// Label values of the series that are there from the start.
    pub(super) initial: &'static [&'static [&'static str]],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Gauge,
    Counter,
    Histogram(&'static LazyLock<Vec<f64>>),
    /// Sum and count, no quantiles.
    Summary,
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram(_) => "histogram",
            Self::Summary => "summary",
        }
    }

    /// The upper bounds of a histogram's buckets.
    pub(super) fn bounds(self) -> &'static [f64] {
        match self {
            Self::Histogram(bounds) => bounds,
            Self::Gauge | Self::Counter | Self::Summary => &[],
        }
    }
}

impl Definition {
    pub(super) fn is_per_node_group(&self) -> bool {
        self.labels.first() == Some(&"node_group")
    }

    const fn starting_with(self, initial: &'static [&'static [&'static str]]) -> Self {
        Self { initial, ..self }
    }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition {
        name,
        kind: Kind::Gauge,
        labels,
        help,
        initial: &[],
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Definition {
    Definition {
        kind: Kind::Counter,
        ..gauge(name, labels, help)
    }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    bounds: &'static LazyLock<Vec<f64>>,
    help: &'static str,
) -> Definition {
    Definition {
        kind: Kind::Histogram(bounds),
        ..gauge(name, labels, help)
    }
}

/// 150 buckets from 0.1 s to half an hour, each the same factor above the one before.
static FUNCTION_SECONDS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    (0..150)
        .map(|i| 0.1 * 18_000_f64.powf(f64::from(i) / 149.0))
        .collect()
});
static REMOVAL_SECONDS: LazyLock<Vec<f64>> =
    LazyLock::new(|| (0..19).map(|i| 1.5_f64.powi(i)).collect());
static HETEROGENEITY: LazyLock<Vec<f64>> = LazyLock::new(|| vec![1.0, 2.0, 4.0, 8.0, 16.0, 32.0]);
static AWS_SECONDS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    vec![
        0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0,
    ]
});

static ARRIVAL_SECONDS: LazyLock<Vec<f64>> = LazyLock::new(|| {
    vec![
        1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 900.0,
        1800.0,
    ]
});

/// One unlabelled series from the start.
const ALONE: &[&[&str]] = &[&[]];

/// Every metric.
pub(super) static CATALOG: &[Definition] = &[
    gauge(
        "cluster_safe_to_autoscale",
        &[],
        "Whether or not cluster is healthy enough for autoscaling. 1 if it is, 0 otherwise.",
    )
    .starting_with(ALONE),
    gauge("nodes_count", &["state"], "Number of nodes in cluster."),
    gauge(
        "node_groups_count",
        &["node_group_type"],
        "Number of node groups managed by CA.",
    ),
    gauge(
        "unschedulable_pods_count",
        &["type"],
        "Number of unschedulable pods in the cluster.",
    ),
    gauge(
        "skipped_pods_count",
        &["requestor"],
        "Number of pods not looked at before the timeout.",
    ),
    gauge("max_nodes_count", &[], "Maximum number of nodes in all node groups.")
        .starting_with(ALONE),
    gauge(
        "cluster_cpu_current_cores",
        &[],
        "Current number of cores in the cluster, minus deleting nodes.",
    )
    .starting_with(ALONE),
    gauge(
        "cluster_memory_current_bytes",
        &[],
        "Current number of bytes of memory in the cluster, minus deleting nodes.",
    )
    .starting_with(ALONE),
    gauge(
        "cpu_limits_cores",
        &["direction"],
        "Minimum and maximum number of cores in the cluster.",
    ),
    gauge(
        "memory_limits_bytes",
        &["direction"],
        "Minimum and maximum number of bytes of memory in cluster.",
    ),
    gauge(
        "last_activity",
        &["activity"],
        "Last time certain part of CA logic executed.",
    ),
    histogram(
        "function_duration_seconds",
        &["function"],
        &FUNCTION_SECONDS,
        "Time taken by various parts of CA main loop.",
    ),
    Definition {
        kind: Kind::Summary,
        ..gauge(
            "function_duration_quantile_seconds",
            &["function"],
            "Quantiles of time taken by various parts of CA main loop.",
        )
    },
    counter(
        "errors_total",
        &["type"],
        "The number of CA loops failed due to an error.",
    )
    .starting_with(&[
        &["cloudProviderError"],
        &["apiCallError"],
        &["internalError"],
        &["transientError"],
        &["configurationError"],
        &["nodeGroupDoesNotExistError"],
        &["unexpectedScaleDownStateError"],
    ]),
    counter(
        "scaled_up_nodes_total",
        &["gpu_resource_name", "gpu_name", "dra_drivers"],
        "Number of nodes added by CA.",
    )
    .starting_with(&[&["", "", ""]]),
    counter(
        "scaled_up_gpu_nodes_total",
        &["gpu_resource_name", "gpu_name"],
        "Number of GPU nodes added by CA, by GPU name.",
    ),
    counter(
        "failed_scale_ups_total",
        &["reason", "gpu_resource_name", "gpu_name", "dra_drivers"],
        "Number of times scale-up operation has failed.",
    )
    .starting_with(&[
        &["cloudProviderError", "", "", ""],
        &["apiCallError", "", "", ""],
        &["timeout", "", "", ""],
    ]),
    counter(
        "failed_node_creations_total",
        &["reason"],
        "Number of nodes that failed to be created.",
    )
    .starting_with(&[&["cloudProviderError"], &["apiCallError"], &["timeout"]]),
    counter(
        "failed_gpu_scale_ups_total",
        &["reason", "gpu_resource_name", "gpu_name"],
        "Number of times scale-up operation has failed for GPU nodes.",
    ),
    counter(
        "scaled_down_nodes_total",
        &["reason", "gpu_resource_name", "gpu_name", "dra_drivers"],
        "Number of nodes removed by CA.",
    )
    .starting_with(&[
        &["underutilized", "", "", ""],
        &["empty", "", "", ""],
        &["unready", "", "", ""],
    ]),
    counter(
        "scaled_down_gpu_nodes_total",
        &["reason", "gpu_resource_name", "gpu_name"],
        "Number of GPU nodes removed by CA, by reason and GPU name.",
    ),
    counter(
        "evicted_pods_total",
        &["eviction_result"],
        "Number of pods evicted by CA.",
    )
    .starting_with(&[&["succeeded"], &["failed"]]),
    gauge(
        "unneeded_nodes_count",
        &[],
        "Number of nodes currently considered unneeded by CA.",
    )
    .starting_with(ALONE),
    gauge(
        "unremovable_nodes_count",
        &["reason"],
        "Number of nodes currently considered unremovable by CA.",
    ),
    gauge(
        "scale_down_in_cooldown",
        &[],
        "Whether or not the scale down is in cooldown. 1 if its, 0 otherwise.",
    )
    .starting_with(ALONE),
    counter(
        "old_unregistered_nodes_removed_count",
        &[],
        "Number of unregistered nodes removed by CA.",
    )
    .starting_with(ALONE),
    gauge(
        "overflowing_controllers_count",
        &[],
        "Number of controllers that own a large set of heterogenous pods, preventing CA from treating these pods as equivalent.",
    )
    .starting_with(ALONE),
    counter(
        "skipped_scale_events_count",
        &["direction", "reason"],
        "Count of scaling events that the CA has chosen to skip.",
    )
    .starting_with(&[
        &["up", "CpuResourceLimit"],
        &["up", "MemoryResourceLimit"],
        &["down", "CpuResourceLimit"],
        &["down", "MemoryResourceLimit"],
    ]),
    counter(
        "created_node_groups_total",
        &["group_type"],
        "Number of node groups created by Node Autoprovisioning.",
    ),
    counter(
        "deleted_node_groups_total",
        &["group_type"],
        "Number of node groups deleted by Node Autoprovisioning.",
    ),
    gauge(
        "pending_node_deletions",
        &[],
        "Number of nodes that haven't been removed or aborted after finished scale-down phase.",
    )
    .starting_with(ALONE),
    gauge("node_taints_count", &["type"], "Number of taints per type used in the cluster."),
    gauge(
        "inconsistent_instances_migs_count",
        &[],
        "Number of migs where instance count according to InstanceGroupManagers.List() differs from the results of Instances.List().",
    )
    .starting_with(ALONE),
    histogram(
        "binpacking_heterogeneity",
        &["instance_type", "cpu_count", "namespace_count"],
        &HETEROGENEITY,
        "Number of groups of equivalent pods being processed as a part of the same binpacking simulation.",
    ),
    gauge(
        "max_node_skip_eval_duration_seconds",
        &[],
        "Maximum evaluation time of a node being skipped during ScaleDown.",
    )
    .starting_with(ALONE),
    histogram(
        "node_removal_latency_seconds",
        &["deleted", "delay_reason"],
        &REMOVAL_SECONDS,
        "Latency from when an unneeded node is eligible for scale down until it is removed or becomes needed again.",
    ),
    gauge(
        "dra_node_template_resources_mismatch",
        &["driver", "mismatch_type"],
        "Number of ready nodes whose devices differ from their template's.",
    ),
    gauge(
        "node_group_min_count",
        &["node_group"],
        "Minimum number of nodes in the node group.",
    ),
    gauge(
        "node_group_max_count",
        &["node_group"],
        "Maximum number of nodes in the node group.",
    ),
    gauge(
        "node_group_target_count",
        &["node_group"],
        "Target number of nodes in the node group by CA.",
    ),
    gauge(
        "node_group_healthiness",
        &["node_group"],
        "Whether or not node group is healthy enough for autoscaling. 1 if it is, 0 otherwise.",
    ),
    gauge(
        "node_group_backoff_status",
        &["node_group", "reason"],
        "Whether or not node group is backoff for not autoscaling. 1 if it is, 0 otherwise.",
    ),
    histogram(
        "aws_request_duration_seconds",
        &["endpoint", "status"],
        &AWS_SECONDS,
        "Time taken by AWS requests, by method and status code, in seconds.",
    ),
    gauge(
        "capacity_buffer_oldest_reconciliation_timestamp_seconds",
        &["new_buffer"],
        "Unix timestamp of the oldest capacity buffer last reconciliation time.",
    ),
    counter(
        "windlass_aws_throttled_calls_total",
        &["endpoint"],
        "Calls that AWS answered with a request for fewer calls, repetitions included.",
    ),
    counter(
        "windlass_aws_launch_failures_total",
        &["code"],
        "Launches that were found to fail, by what kind of trouble it was.",
    )
    .starting_with(&[
        &["insufficient-capacity"],
        &["quota-exceeded"],
        &["no-free-addresses"],
        &["spot-price"],
        &["group-misconfigured"],
        &["launch-failed"],
    ]),
    gauge(
        "windlass_aws_groups",
        &["condition"],
        "Auto Scaling groups of which people should know something, by what it is.",
    ),
    gauge(
        "windlass_aws_outstanding_instances",
        &[],
        "Instances that are asked for and not there yet.",
    )
    .starting_with(ALONE),
    histogram(
        "windlass_aws_request_to_instance_seconds",
        &[],
        &ARRIVAL_SECONDS,
        "From the request for more to AWS's listing of an instance.",
    )
    .starting_with(ALONE),
    histogram(
        "windlass_aws_instance_to_ready_seconds",
        &[],
        &ARRIVAL_SECONDS,
        "From AWS's listing of an instance that was asked for to its ready node.",
    )
    .starting_with(ALONE),
    counter(
        "windlass_refused_plans_total",
        &[],
        "Number of plans that the independent check refused.",
    )
    .starting_with(ALONE),
    gauge(
        "windlass_join_token_remaining_seconds",
        &[],
        "How long the published join token is still good, with --token-rotation.",
    ),
    counter(
        "windlass_join_token_rotations_total",
        &["result"],
        "Looks at the published join token, by how they ended, with --token-rotation.",
    ),
    gauge(
        "windlass_view_age_seconds",
        &["of"],
        "How long ago the view of the API server and of AWS was last known to be current.",
    ),
];

/// The metric of this name, without the prefix.
pub(super) fn find(name: &str) -> Option<&'static Definition> {
    CATALOG.iter().find(|definition| definition.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_upstreams() {
        let bounds = Kind::Histogram(&FUNCTION_SECONDS).bounds();
        assert_eq!(bounds.len(), 150);
        assert!((bounds[0] - 0.1).abs() < 1e-9 && (bounds[149] - 1800.0).abs() < 1e-6);
        assert_eq!(Kind::Histogram(&REMOVAL_SECONDS).bounds().len(), 19);
    }

    #[test]
    fn initial_series_have_a_value_for_each_label() {
        for definition in CATALOG {
            for values in definition.initial {
                assert_eq!(values.len(), definition.labels.len(), "{}", definition.name);
            }
        }
    }
}
