use windlass_model::Duration;

use super::{minutes, seconds, text};
use crate::{flag::flag_group, value::CloudProvider};

flag_group! {
    /// The process: where it listens, what it talks to, how often it looks.
    struct Process in process, "Process and API access";

    /// Address on which `/metrics` and `/health-check` are served.
    "address" => address: String = text(":8085"), Acted;

    /// URL of the API server, used only without `--kubeconfig`.
    ///
    /// May carry the old query options `inClusterConfig`, `auth` (path of a kubeconfig) and
    /// `useServiceAccount`. With both flags empty the pod's own service account is used.
    "kubernetes" => kubernetes: Option<String> = None, Acted;

    /// Path of a kubeconfig; its current context is used.
    "kubeconfig" => kubeconfig: Option<String> = None, Acted;

    /// Content type of requests to the API server.
    "kube-api-content-type" => kube_api_content_type: String = text("application/vnd.kubernetes.protobuf"),
        NoEffect { why: "requests carry JSON, whatever it says" };

    /// Requests to the API server that may be sent at once before `--kube-client-qps` counts.
    "kube-client-burst" => kube_client_burst: i64 = 10, Acted;

    /// Requests to the API server per second.
    "kube-client-qps" => kube_client_qps: f64 = 5.0, Acted;

    /// Namespace of the status `ConfigMap`, the priority expander's `ConfigMap` and the
    /// lease.
    "namespace" => namespace: String = text("kube-system"), Acted;

    /// Cloud whose node groups are scaled. Only `aws` exists here.
    "cloud-provider" => cloud_provider: CloudProvider = CloudProvider::Aws, Acted;

    /// Path of the cloud provider's configuration file.
    "cloud-config" => cloud_config: Option<String> = None, Acted;

    /// Longest pause between two loops. Events start a loop earlier.
    "scan-interval" => scan_interval: Duration = seconds(10), Acted;

    /// Start the next loop at once after one that changed something, or when a pod becomes
    /// unschedulable.
    "frequent-loops-enabled" => frequent_loops_enabled: bool = true, Acted;

    /// Health: longest time since a loop started.
    "max-inactivity" => max_inactivity: Duration = minutes(10), Acted;

    /// Health: longest time since a loop succeeded.
    "max-failing-time" => max_failing_time: Duration = minutes(15), Acted;

    /// Health: takes the place of `--max-inactivity` and `--max-failing-time` until a first
    /// loop has succeeded.
    ///
    /// Raised to the larger of those two when it is smaller.
    "max-startup-time" => max_startup_time: Duration = minutes(20), Acted;

    /// Serve `/debug/pprof`.
    "profiling" => profiling: bool = false,
        NoEffect { why: "that page is the Go runtime's; `perf` profiles this program, and `/metrics` has the time of each function" };

    /// Write the status `ConfigMap`. Without it no event is recorded on it either, and what
    /// must outlive a restart is forgotten.
    "write-status-configmap" => write_status_configmap: bool = true, Acted;

    /// Name of the status `ConfigMap`.
    "status-config-map-name" => status_config_map_name: String = text("cluster-autoscaler-status"), Acted;

    /// Record an event each time, also when the same one was recorded a moment ago.
    "record-duplicated-events" => record_duplicated_events: bool = false, Acted;

    /// Export the metrics of each node group.
    "emit-per-nodegroup-metrics" => emit_per_nodegroup_metrics: bool = false, Acted;

    /// Serve `/snapshotz`: what one loop saw and simulated, as JSON.
    "debugging-snapshot-enabled" => debugging_snapshot_enabled: bool = false, Acted;

    /// Seed of what is left to chance, such as the expander `random`.
    ///
    /// The same cluster, memory and seed get the same decision.
    "seed" => seed: u64 = 0, Acted;

    /// Keep the join credential of new nodes fresh from this process too.
    ///
    /// Every replica does, leader or not, each by the published token's age. Needs
    /// `--token-cluster`.
    "token-rotation" => token_rotation: bool = false, Acted;

    /// Name of the cluster, for `--token-rotation`: it publishes in `/windlass/<cluster>/join`.
    "token-cluster" => token_cluster: Option<String> = None, Acted;

    /// Key that encrypts the join credential of `--token-rotation`: id, alias or ARN. Without it
    /// the account's own key does.
    "token-kms-key" => token_kms_key: Option<String> = None, Acted;
}

flag_group! {
    /// The embedded copy of the scheduler's rules.
    struct Scheduler in scheduler, "Scheduler";

    /// Path of a `KubeSchedulerConfiguration` with exactly one profile, whose filters are
    /// simulated. Empty: the default profile.
    "scheduler-config-file" => config_file: Option<String> = None, Acted;

    /// Log verbosity of the simulated scheduler; no more than `--v`.
    "scheduler-verbosity" => verbosity: i64 = 0,
        NoEffect { why: "the simulated scheduler logs nothing; `windlass explain` gives its reasons" };

    /// Workers that check a pod against many nodes at once; at least 1. Changes no decision.
    "predicate-parallelism" => predicate_parallelism: i64 = 4,
        NoEffect { why: "one thread looks at the nodes, and the answer depends on no number of them" };
}
