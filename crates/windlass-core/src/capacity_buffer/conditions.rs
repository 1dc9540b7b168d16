//! The words of a buffer's conditions; all are upstream's. Source: `pkg/capacitybuffer`,
//! `pkg/processors/capacitybuffer`.

/// The only strategy that is handled; also what none means.
pub(super) const ACTIVE_CAPACITY: &str = "buffer.x-k8s.io/active-capacity";

/// Template and number are known.
pub(super) const READY: &str = "ReadyForProvisioning";
/// Its pods wait beside the real ones.
pub(super) const PROVISIONING: &str = "Provisioning";
/// Its namespace's quotas leave room for fewer pods.
pub(super) const LIMITED_BY_QUOTAS: &str = "LimitedByQuotas";

/// A reason with its message.
pub(super) type Because = (&'static str, &'static str);

pub(super) const ATTRIBUTES_SET: Because = ("AttributesSetSuccessfully", "ready");
/// Its message has the error.
pub(super) const ERROR: &str = "error";
/// Its message has the numbers, or is empty.
pub(super) const RESOURCE_QUOTAS_ALLOCATED: &str = "ResourceQuotasAllocated";
pub(super) const FAKE_PODS_INJECTED: Because = ("FakePodsInjected", "");
pub(super) const NOT_READY: Because = (
    "NotReadyForProvisioning",
    "CapacityBuffer is not ready for provisioning",
);
pub(super) const IS_EMPTY: Because = ("BufferIsEmpty", "CapacityBuffer has zero replicas");
/// Its message names the template.
pub(super) const FAILED_TO_GET_POD_TEMPLATE: &str = "FailedToGetPodTemplate";
