//! What a cluster is, as a decision sees it.
//!
//! Quantities and resource lists, labels, taints, selectors, pods, nodes, node groups, volumes,
//! devices, workloads and disruption budgets: plain values, made once at the edge and never
//! changed by a decision. What no decision reads (managed fields, environment, images) is not
//! here.
//!
//! The crate refuses to know where the objects come from: no JSON, no YAML, no API server, no
//! cloud, no clock.
//!
//! Pods that the scheduler cannot tell apart share one [`PodShape`] behind an [`std::sync::Arc`];
//! a [`Pool`] makes equal values pointer-equal, so that classes of pods cost one comparison.

mod capacity;
mod cluster;
mod condition;
mod devices;
mod duration;
mod group;
mod labels;
mod money;
mod name;
mod node;
mod pod;
mod pool;
mod provisioning;
mod quantity;
mod resources;
mod selector;
mod spread;
mod taint;
mod volumes;
mod workload;

pub use capacity::{
    BufferSource, BufferStatus, CapacityBuffer, CapacityQuota, QuotaScope, QuotaStatus,
    ResourceQuota, TemplateSource,
};
pub use cluster::{Cluster, Namespace, SchedulerVersion};
pub use condition::{StatusCondition, find_condition, is_condition_true, set_condition};
pub use devices::{
    AllocatedDevice, Allocation, AllocationMode, CapacityPolicy, CapacityRange, CapacityRequest,
    Counter, CounterSet, Device, DeviceAttribute, DeviceCapacity, DeviceClass, DeviceConstraint,
    DeviceRequest, DeviceSubRequest, DeviceTaint, DeviceToleration, ResourceClaim, ResourceSlice,
    SliceNodes,
};
pub use duration::{DurationError, format_go_duration, parse_go_duration};
pub use group::{
    CreationError, CreationErrorClass, GroupNotices, GroupOptions, Instance, InstanceState,
    NodeGroup, NodeTemplate, Shortage,
};
pub use labels::{Labels, valid_label_value, valid_qualified_name};
pub use money::MicroDollars;
pub use name::ObjectName;
pub use node::{Condition, ConditionStatus, Node};
pub use pod::{
    Claim, Constraints, ExtendedRequest, HostPort, OwnerReference, Phase, Pod, PodScheduled,
    PodShape, PreemptionPolicy, RestartPolicy, Safety,
};
pub use pool::Pool;
pub use provisioning::{PodSet, PodTemplate, ProvisioningRequest};
pub use quantity::{Quantity, QuantityError, QuantityFormat};
pub use resources::{ResourceList, Resources, is_scheduled_scalar};
pub use selector::{
    AffinityTerm, LabelSelector, NodeSelector, NodeSelectorTerm, Requirement, RequirementOperator,
};
pub use spread::{InclusionPolicy, SpreadConstraint, WhenUnsatisfiable};
pub use taint::{Effect, Taint, Toleration, TolerationOperator};
pub use volumes::{
    BindingMode, CsiDriver, CsiNode, CsiStorageCapacity, InTreeKind, InlineVolume,
    PersistentVolume, PersistentVolumeClaim, StorageClass, Volume, VolumeAttachment, VolumeSource,
};
pub use workload::{DisruptionBudget, Service, Workload, WorkloadKind};

/// A length of time that may be negative, as Go's durations may.
pub use jiff::SignedDuration as Duration;
/// An instant, to the nanosecond, in UTC.
pub use jiff::Timestamp;
/// A short immutable string; up to 23 bytes live inline.
pub use smol_str::SmolStr;
