use crate::{Labels, NodeSelector, ObjectName, Quantity, SmolStr, Timestamp};

/// A claim to devices. Source: `resource.k8s.io/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ResourceClaim {
    /// Namespace and name.
    pub name: ObjectName,
    /// The object's uid.
    pub uid: SmolStr,
    /// The uid of the controlling owner, or empty.
    pub controller_uid: SmolStr,
    /// Whether it is being deleted.
    pub is_being_deleted: bool,
    /// The devices asked for.
    pub requests: Vec<DeviceRequest>,
    /// What must hold over the devices chosen.
    pub constraints: Vec<DeviceConstraint>,
    /// `status.allocation`, when there is one.
    pub allocation: Option<Allocation>,
    /// The uids of `status.reservedFor`.
    pub reserved_for: Vec<SmolStr>,
}

/// What a claim got.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Allocation {
    /// Where it can be used; `None` is everywhere.
    pub node_selector: Option<NodeSelector>,
    /// The devices.
    pub devices: Vec<AllocatedDevice>,
}

/// One device that a claim got.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AllocatedDevice {
    /// The request (`REQUEST` or `REQUEST/SUBREQUEST`).
    pub request: SmolStr,
    /// The driver.
    pub driver: SmolStr,
    /// The pool.
    pub pool: SmolStr,
    /// The device.
    pub device: SmolStr,
    /// Whether it does not use the device up.
    pub admin_access: bool,
    /// Capacity consumed of a device that allows several allocations.
    pub consumed_capacity: Vec<(SmolStr, Quantity)>,
    /// Names this share of a device, or empty.
    pub share_id: SmolStr,
}

/// One request of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeviceRequest {
    /// The name.
    pub name: SmolStr,
    /// `exactly`; its `name` is empty.
    pub exactly: Option<DeviceSubRequest>,
    /// `firstAvailable`: alternatives, tried in order.
    pub first_available: Vec<DeviceSubRequest>,
}

/// What a request asks for exactly.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeviceSubRequest {
    /// The name of an alternative; empty for `exactly`.
    pub name: SmolStr,
    /// The class.
    pub device_class: SmolStr,
    /// CEL expressions, all of which a device must satisfy; `None` is a selector of another kind,
    /// an error where it is asked for.
    pub selectors: Vec<Option<SmolStr>>,
    /// How many.
    pub allocation_mode: AllocationMode,
    /// For [`AllocationMode::ExactCount`].
    pub count: i64,
    /// Does not use devices up.
    pub admin_access: bool,
    /// Device taints that are tolerated.
    pub tolerations: Vec<DeviceToleration>,
    /// Capacity wanted of a device.
    pub capacity: Vec<CapacityRequest>,
}

/// How many devices a request wants.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum AllocationMode {
    /// So many.
    ExactCount,
    /// All that match.
    All,
    /// Not set or not known: an error where it is asked for.
    #[default]
    Unset,
    /// A word that Kubernetes does not define.
    Other(SmolStr),
}

/// Capacity wanted of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapacityRequest {
    /// The capacity's name.
    pub name: SmolStr,
    /// How much.
    pub amount: Quantity,
}

/// A leave to use tainted devices.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeviceToleration {
    /// The key; empty is any.
    pub key: SmolStr,
    /// `Equal` (default) or `Exists`.
    pub operator: SmolStr,
    /// The value.
    pub value: SmolStr,
    /// The effect; empty is any.
    pub effect: SmolStr,
}

/// What must hold over several devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceConstraint {
    /// All devices have the same value of the attribute.
    MatchAttribute {
        /// The requests it is about; empty is all.
        requests: Vec<SmolStr>,
        /// The attribute's full name.
        attribute: SmolStr,
    },
    /// All devices have different values of the attribute.
    DistinctAttribute {
        /// The requests it is about; empty is all.
        requests: Vec<SmolStr>,
        /// The attribute's full name.
        attribute: SmolStr,
    },
    /// Neither is set: an error where it is asked for.
    Unknown,
}

/// A class of devices.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeviceClass {
    /// The name.
    pub name: SmolStr,
    /// CEL expressions, all of which a device must satisfy; `None` is a selector of another kind,
    /// an error where it is asked for.
    pub selectors: Vec<Option<SmolStr>>,
    /// `spec.extendedResourceName`, or empty.
    pub extended_resource_name: SmolStr,
    /// When it was created; the newest class wins an extended resource.
    pub created_at: Option<Timestamp>,
}

/// A driver's list of devices.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ResourceSlice {
    /// The name.
    pub name: SmolStr,
    /// The driver.
    pub driver: SmolStr,
    /// The pool.
    pub pool: SmolStr,
    /// The pool's generation; only the newest counts.
    pub pool_generation: i64,
    /// How many slices of that generation the pool has.
    pub pool_slice_count: i64,
    /// Where the devices are.
    pub nodes: SliceNodes,
    /// The devices.
    pub devices: Vec<Device>,
    /// Counters that devices share.
    pub shared_counters: Vec<CounterSet>,
}

/// Where devices can be used.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum SliceNodes {
    /// On the node of this name.
    Node(SmolStr),
    /// On nodes that match.
    Selector(NodeSelector),
    /// Everywhere.
    All,
    /// Each device says so for itself.
    PerDevice,
    /// Not said: nowhere.
    #[default]
    None,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Device {
    /// The name within its pool.
    pub name: SmolStr,
    /// Attributes by name, qualified or not.
    pub attributes: Vec<(SmolStr, DeviceAttribute)>,
    /// Capacities, each name once.
    pub capacity: Vec<DeviceCapacity>,
    /// Taints.
    pub taints: Vec<DeviceTaint>,
    /// Where it can be used, of a slice with [`SliceNodes::PerDevice`].
    pub nodes: SliceNodes,
    /// Shared counters that it consumes, by counter set.
    pub consumes_counters: Vec<CounterSet>,
    /// Whether several claims may have it at once.
    pub allows_multiple_allocations: bool,
    /// Whether a claim that has it can be used on the node alone that it was allocated for.
    pub binds_to_node: bool,
    /// Whether it must be made ready before a pod that has it can be bound.
    pub has_binding_conditions: bool,
}

/// How much a device has of something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCapacity {
    /// The name, qualified or not.
    pub name: SmolStr,
    /// How much.
    pub value: Quantity,
    /// What claims may take of it, where that is not just anything.
    pub policy: Option<CapacityPolicy>,
}

/// What claims may take of a capacity.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CapacityPolicy {
    /// What a claim takes that does not say; `None` is all.
    pub default: Option<Quantity>,
    /// Amounts of a range.
    pub valid_range: Option<CapacityRange>,
    /// These amounts, ascending; where it is empty there is no such rule.
    pub valid_values: Vec<Quantity>,
}

/// A range of amounts.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CapacityRange {
    /// The least.
    pub min: Option<Quantity>,
    /// The most.
    pub max: Option<Quantity>,
    /// The distance of two amounts.
    pub step: Option<Quantity>,
}

/// A device attribute's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceAttribute {
    /// A string.
    String(SmolStr),
    /// An integer.
    Int(i64),
    /// A truth value.
    Bool(bool),
    /// A semantic version, as written.
    Version(SmolStr),
    /// No value of a known kind: like none, not even itself, and an error where it is looked at.
    Unset,
}

/// A device's mark that keeps claims away.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeviceTaint {
    /// The key.
    pub key: SmolStr,
    /// The value.
    pub value: SmolStr,
    /// `NoSchedule`, `NoExecute` or `None`.
    pub effect: SmolStr,
}

/// Counters by name.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CounterSet {
    /// The set's name.
    pub name: SmolStr,
    /// The counters.
    pub counters: Vec<Counter>,
}

/// One counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The name.
    pub name: SmolStr,
    /// The value.
    pub value: Quantity,
}

impl ResourceSlice {
    /// The labels of a node are not needed for slices of one node.
    pub fn is_node_local(&self) -> bool {
        matches!(self.nodes, SliceNodes::Node(_))
    }

    /// Whether the slice as a whole is usable on a node of this name and these labels; of
    /// [`SliceNodes::PerDevice`] each device is asked.
    pub fn covers(&self, node_name: &str, labels: &Labels) -> bool {
        covers(&self.nodes, node_name, labels) || self.nodes == SliceNodes::PerDevice
    }
}

impl Device {
    /// Whether a device of a per-device slice is usable on this node.
    pub fn covers(&self, node_name: &str, labels: &Labels) -> bool {
        covers(&self.nodes, node_name, labels)
    }
}

fn covers(nodes: &SliceNodes, node_name: &str, labels: &Labels) -> bool {
    match nodes {
        SliceNodes::Node(name) => name == node_name,
        SliceNodes::Selector(selector) => selector.matches(labels, node_name),
        SliceNodes::All => true,
        SliceNodes::PerDevice | SliceNodes::None => false,
    }
}
