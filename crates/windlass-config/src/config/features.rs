use windlass_model::Duration;

use super::{minutes, seconds};
use crate::flag::flag_group;

flag_group! {
    /// Optional APIs and what depends on them.
    struct Features in features, "Optional features";

    /// Process `ProvisioningRequest` objects.
    "enable-provisioning-requests" => provisioning_requests: bool = false, Acted;

    /// How long after its first failure a `ProvisioningRequest` is tried again.
    "provisioning-request-initial-backoff-time" => provisioning_request_initial_backoff: Duration = minutes(1), Acted;

    /// Longest time until a failed `ProvisioningRequest` is tried again.
    "provisioning-request-max-backoff-time" => provisioning_request_max_backoff: Duration = minutes(10), Acted;

    /// How many failed `ProvisioningRequest`s are remembered.
    "provisioning-request-max-backoff-cache-size" => provisioning_request_max_backoff_cache_size: i64 = 1000, Acted;

    /// Handle several check-capacity requests in one loop.
    "check-capacity-batch-processing" => check_capacity_batch_processing: bool = false, Acted;

    /// Most check-capacity requests in one loop.
    "check-capacity-provisioning-request-max-batch-size" => check_capacity_max_batch_size: i64 = 10, Acted;

    /// Longest time for the check-capacity requests of one loop.
    "check-capacity-provisioning-request-batch-timebox" => check_capacity_batch_timebox: Duration = seconds(10), Acted;

    /// Handle only the check-capacity requests that name this instance in their parameter
    /// `processorInstance`; best-effort-atomic requests are then left alone.
    "check-capacity-processor-instance" => check_capacity_processor_instance: Option<String> = None, Acted;

    /// Run the controller of `CapacityBuffer` objects.
    "capacity-buffer-controller-enabled" => capacity_buffer_controller: bool = false, Acted;

    /// Count the pods that ready `CapacityBuffer`s stand for as pending.
    "capacity-buffer-pod-injection-enabled" => capacity_buffer_pod_injection: bool = false, Acted;

    /// Let the API server complete the buffers' pods by a dry run.
    "capacity-buffer-pod-dry-run-enabled" => capacity_buffer_pod_dry_run: bool = true, Acted;

    /// Honour `CapacityQuota` objects and run their controller.
    "capacity-quotas-enabled" => capacity_quotas: bool = false, Acted;

    /// Count pods as pending that a controller has still to create.
    "enable-proactive-scaleup" => proactive_scaleup: bool = false, Acted;

    /// Most pending pods up to which such pods are added.
    "pod-injection-limit" => pod_injection_limit: i64 = 5000, Acted;

    /// Simulate the volume limits that `CSINode` objects name.
    "enable-csi-node-aware-scheduling" => csi_node_aware_scheduling: bool = false, Acted;

    /// Simulate devices allocated by resource claims. Always on.
    "enable-dynamic-resource-allocation" => dynamic_resource_allocation: bool = true, Locked { why: "dynamic resource allocation is part of Kubernetes and cannot be switched off" };
}
