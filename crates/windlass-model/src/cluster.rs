use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{
    CapacityBuffer, CapacityQuota, CsiDriver, CsiNode, CsiStorageCapacity, DeviceClass,
    DisruptionBudget, Labels, Node, NodeGroup, ObjectName, PersistentVolume, PersistentVolumeClaim,
    Pod, PodTemplate, ProvisioningRequest, ResourceClaim, ResourceQuota, ResourceSlice, Service,
    SmolStr, StorageClass, Timestamp, VolumeAttachment, Workload,
};

/// Whose kube-scheduler decides where pods go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SchedulerVersion {
    /// Kubernetes 1.36 and before.
    V1_36,
    /// Kubernetes 1.37 and later.
    #[default]
    V1_37,
}

/// A namespace.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Namespace {
    /// The name.
    pub name: SmolStr,
    /// Labels.
    pub labels: Labels,
}

/// All that a decision may know of the world: the objects of the API server and the groups of
/// the cloud, at one moment. Lists are in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// Whose scheduler decides.
    pub scheduler_version: SchedulerVersion,
    /// Registered nodes.
    pub nodes: Vec<Arc<Node>>,
    /// Pods of every phase, bound or not.
    pub pods: Vec<Arc<Pod>>,
    /// Node groups, in the provider's order.
    pub groups: Vec<NodeGroup>,
    /// Namespaces by name.
    pub namespaces: BTreeMap<SmolStr, Arc<Namespace>>,
    /// Controllers of pods.
    pub workloads: Vec<Arc<Workload>>,
    /// Disruption budgets.
    pub disruption_budgets: Vec<Arc<DisruptionBudget>>,
    /// Services.
    pub services: Vec<Arc<Service>>,
    /// Claims to storage, by namespace and name.
    pub claims: BTreeMap<ObjectName, Arc<PersistentVolumeClaim>>,
    /// Storage, by name.
    pub volumes: BTreeMap<SmolStr, Arc<PersistentVolume>>,
    /// Storage classes, by name.
    pub storage_classes: BTreeMap<SmolStr, Arc<StorageClass>>,
    /// CSI drivers of nodes, by node name.
    pub csi_nodes: BTreeMap<SmolStr, Arc<CsiNode>>,
    /// CSI drivers, by name.
    pub csi_drivers: BTreeMap<SmolStr, Arc<CsiDriver>>,
    /// Storage capacities.
    pub csi_storage_capacities: Vec<Arc<CsiStorageCapacity>>,
    /// Volume attachments.
    pub volume_attachments: Vec<Arc<VolumeAttachment>>,
    /// Claims to devices, by namespace and name.
    pub resource_claims: BTreeMap<ObjectName, Arc<ResourceClaim>>,
    /// Devices.
    pub resource_slices: Vec<Arc<ResourceSlice>>,
    /// Device classes, by name.
    pub device_classes: BTreeMap<SmolStr, Arc<DeviceClass>>,
    /// Requests for room, where they are looked at.
    pub provisioning_requests: Vec<Arc<ProvisioningRequest>>,
    /// Pod templates, by namespace and name, where something may refer to them.
    pub pod_templates: BTreeMap<ObjectName, Arc<PodTemplate>>,
    /// Buffers of capacity, where they are looked at.
    pub capacity_buffers: Vec<Arc<CapacityBuffer>>,
    /// Quotas of nodes, where they are looked at.
    pub capacity_quotas: Vec<Arc<CapacityQuota>>,
    /// Quotas of namespaces, where they are looked at.
    pub resource_quotas: Vec<Arc<ResourceQuota>>,
    /// `priorities` of the priority expander's ConfigMap: `None` without that ConfigMap, an
    /// inner `None` where the key is missing.
    pub priority_expander: Option<Option<SmolStr>>,
    /// When the oldest of the views that this was put together from was last known to be
    /// current; `None` where it always is, as in a scenario.
    pub current_at: Option<Timestamp>,
    /// Whether somebody has paused scale-down: the annotation `windlass.dev/scale-down: paused`
    /// of the status `ConfigMap`.
    pub is_scale_down_paused: bool,
}
