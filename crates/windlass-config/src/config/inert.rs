use super::text;
use crate::flag::flag_group;

flag_group! {
    /// Flags that change nothing, in the Go autoscaler on AWS as here. They are read so that a
    /// manifest that has them starts, and a value that it refuses is refused.
    struct Inert in inert, "Without effect";

    /// Name of the cluster.
    "cluster-name" => cluster_name: Option<String> = None, NoEffect { why: "groups on AWS are found by their names and tags" };

    /// User agent of calls to the cloud.
    "user-agent" => user_agent: String = text("cluster-autoscaler"), NoEffect { why: "calls to AWS do not carry it" };

    /// Workers that fill the snapshot.
    "cluster-snapshot-parallelism" => cluster_snapshot_parallelism: i64 = 16, NoEffect { why: "`--predicate-parallelism` took its place" };

    /// A scheduler feature for inter-pod affinity by host name.
    "enable-inter-pod-affinity-hostname-fast-path" => inter_pod_affinity_hostname_fast_path: bool = false, NoEffect { why: "nothing reads it" };

    /// Nodes with pods that are looked at in one loop.
    "scale-down-non-empty-candidates-count" => scale_down_non_empty_candidates_count: i64 = 30, NoEffect { why: "all nodes are looked at, within `--scale-down-simulation-timeout`" };

    /// Share of the nodes that are looked at besides.
    "scale-down-candidates-pool-ratio" => scale_down_candidates_pool_ratio: f64 = 0.1, NoEffect { why: "all nodes are looked at, within `--scale-down-simulation-timeout`" };

    /// Least number of nodes that are looked at besides.
    "scale-down-candidates-pool-min-count" => scale_down_candidates_pool_min_count: i64 = 50, NoEffect { why: "all nodes are looked at, within `--scale-down-simulation-timeout`" };

    /// Empty nodes removed at once.
    "max-empty-bulk-delete" => max_empty_bulk_delete: i64 = 10, NoEffect { why: "the Go autoscaler has dropped it; use `--max-scale-down-parallelism`" };

    /// Namespace of the lease.
    "leader-elect-resource-namespace" => leader_elect_resource_namespace: Option<String> = None, NoEffect { why: "the lease lives in `--namespace`" };

    /// Source addresses of GCE load balancers.
    "cloud-provider-gce-lb-src-cidrs" => gce_lb_src_cidrs: Option<String> = None, NoEffect { why: "it is about load balancers on GCE" };

    /// Source addresses of GCE load balancers for HTTP.
    "cloud-provider-gce-l7lb-src-cidrs" => gce_l7lb_src_cidrs: Option<String> = None, NoEffect { why: "it is about load balancers on GCE" };
}
