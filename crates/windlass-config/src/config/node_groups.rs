use windlass_model::Duration;

use super::{hours, minutes};
use crate::{
    flag::flag_group,
    value::{DiscoverySpec, GpuLimit, MinMax, NodeGroupSpec},
};

/// Bytes of a GiB, the unit of `--memory-total`.
const GIB: i64 = 1 << 30;

flag_group! {
    /// Which groups there are.
    struct NodeGroups in node_groups, "Node groups";

    /// A group by name with its own limits: least size, largest size, name of the Auto
    /// Scaling group. May be repeated.
    "nodes" => nodes: Vec<NodeGroupSpec> = Vec::new(), Acted;

    /// Groups by their tags: all tags named must be there. May be repeated; see
    /// `--aws-discovery-mode`.
    "node-group-auto-discovery" => auto_discovery: Vec<DiscoverySpec> = Vec::new(), Acted;

    /// Grow groups whose size is below their minimum.
    "enforce-node-group-min-size" => enforce_min_size: bool = false, Acted;

    /// Scale also in a cluster without a ready node.
    "scale-up-from-zero" => scale_up_from_zero: bool = true, Acted;

    /// Create and delete groups in the background.
    "async-node-groups" => async_node_groups: bool = false, NoEffect { why: "Auto Scaling groups are not created or deleted by an autoscaler" };
}

flag_group! {
    /// Limits of the whole cluster, nodes included that no group has.
    struct Limits in limits, "Cluster limits";

    /// Most nodes in the cluster; 0 for no limit.
    "max-nodes-total" => max_nodes_total: i64 = 0, Acted;

    /// Least and most CPU cores in the cluster.
    "cores-total" => cores_total: MinMax = MinMax { min: 0, max: 320_000 }, Acted;

    /// Least and most memory in the cluster, in GiB.
    "memory-total" => memory_total: MinMax = MinMax { min: 0, max: 6_400_000 }, Acted;

    /// Least and most GPUs of a type in the cluster. May be repeated.
    "gpu-total" => gpu_total: Vec<GpuLimit> = Vec::new(), Acted;
}

impl Limits {
    /// [`Limits::memory_total`] in bytes.
    pub fn memory_total_bytes(&self) -> MinMax {
        self.memory_total.saturating_mul(GIB)
    }
}

flag_group! {
    /// When the cluster or a group counts as healthy, and how failures back off.
    struct ClusterHealth in cluster_health, "Cluster health and backoff";

    /// How long a requested node may take to register.
    "max-node-provision-time" => max_node_provision_time: Duration = minutes(15), Acted;

    /// How long a registered node may take to become ready before it counts as unready.
    "max-node-startup-time" => max_node_startup_time: Duration = minutes(15), Acted;

    /// Percentage of unready nodes above which the cluster or a group is unhealthy.
    "max-total-unready-percentage" => max_total_unready_percentage: f64 = 45.0, Acted;

    /// Unready nodes that are tolerated whatever the percentage.
    "ok-total-unready-count" => ok_total_unready_count: i64 = 3, Acted;

    /// How long a group is left alone after its first failed scale-up.
    "initial-node-group-backoff-duration" => initial_backoff: Duration = minutes(5), Acted;

    /// Longest time that a group is left alone after failed scale-ups.
    "max-node-group-backoff-duration" => max_backoff: Duration = minutes(30), Acted;

    /// How long after its last failure a group's failures are forgotten.
    "node-group-backoff-reset-timeout" => backoff_reset_timeout: Duration = hours(3), Acted;

    /// Remove instances that never registered even below the group's minimum.
    "force-delete-unregistered-nodes" => force_delete_unregistered_nodes: bool = false, Acted;

    /// Remove instances that failed to start even below the group's minimum.
    "force-delete-failed-nodes" => force_delete_failed_nodes: bool = false, Acted;
}

flag_group! {
    /// What a new node of a group is expected to look like.
    struct Templates in templates, "Node templates and taints";

    /// How long the shape of a group's last real node is remembered.
    "node-info-cache-expire-time" => node_info_cache_expire_time: Duration = hours(87_600), Acted;

    /// Add every suitable `DaemonSet` pod to the template of a group that has nodes too, so
    /// that a group too small for them is not scaled.
    "force-ds" => force_daemon_sets: bool = false, Acted;

    /// Expect a new node to be schedulable where the node that it is modelled on is not.
    "scale-from-unschedulable" => scale_from_unschedulable: bool = false, Acted;

    /// Key of a taint that a node carries while it starts: the node is unready meanwhile. May
    /// be repeated.
    "startup-taint" => startup_taint: Vec<String> = Vec::new(), Acted;

    /// Beginning of the keys of such taints. May be repeated.
    "startup-taint-prefix" => startup_taint_prefix: Vec<String> = Vec::new(), Acted;

    /// Key of a taint that tells a node's state: left out of templates, the node stays ready.
    /// May be repeated.
    "status-taint" => status_taint: Vec<String> = Vec::new(), Acted;

    /// Old name of `--startup-taint`.
    "ignore-taint" => ignore_taint: Vec<String> = Vec::new(), Deprecated { instead: "use `--startup-taint`" };
}

impl Templates {
    /// Keys of startup taints: those of `--ignore-taint`, then those of `--startup-taint`.
    pub fn startup_taints(&self) -> impl Iterator<Item = &str> {
        self.ignore_taint
            .iter()
            .chain(&self.startup_taint)
            .map(String::as_str)
    }
}
