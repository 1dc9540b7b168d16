use std::collections::BTreeMap;

use serde::Deserialize;

use windlass_model::SmolStr;

use super::{Amount, Amounts, Metadata, NodeSelector};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceClaim {
    pub metadata: Metadata,
    pub spec: ResourceClaimSpec,
    pub status: ResourceClaimStatus,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceClaimSpec {
    pub devices: ClaimDevices,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ClaimDevices {
    pub requests: Vec<DeviceRequest>,
    pub constraints: Vec<DeviceConstraint>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DeviceRequest {
    pub name: SmolStr,
    pub exactly: Option<DeviceSubRequest>,
    pub first_available: Vec<DeviceSubRequest>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DeviceSubRequest {
    pub name: SmolStr,
    pub device_class_name: SmolStr,
    pub selectors: Vec<DeviceSelector>,
    pub allocation_mode: SmolStr,
    pub count: i64,
    pub admin_access: bool,
    pub tolerations: Vec<DeviceToleration>,
    pub capacity: CapacityRequirements,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeviceSelector {
    pub cel: Option<CelSelector>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CelSelector {
    pub expression: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeviceToleration {
    pub key: SmolStr,
    pub operator: SmolStr,
    pub value: SmolStr,
    pub effect: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CapacityRequirements {
    pub requests: Amounts,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DeviceConstraint {
    pub requests: Vec<SmolStr>,
    pub match_attribute: Option<SmolStr>,
    pub distinct_attribute: Option<SmolStr>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceClaimStatus {
    pub allocation: Option<Allocation>,
    pub reserved_for: Vec<Consumer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Consumer {
    pub uid: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Allocation {
    pub node_selector: Option<NodeSelector>,
    pub devices: AllocationDevices,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct AllocationDevices {
    pub results: Vec<AllocationResult>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AllocationResult {
    pub request: SmolStr,
    pub driver: SmolStr,
    pub pool: SmolStr,
    pub device: SmolStr,
    pub admin_access: bool,
    pub consumed_capacity: Amounts,
    #[serde(rename = "shareID")]
    pub share_id: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceClaimTemplate {
    pub metadata: Metadata,
    pub spec: ResourceClaimTemplateSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceClaimTemplateSpec {
    pub metadata: Metadata,
    pub spec: ResourceClaimSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeviceClass {
    pub metadata: Metadata,
    pub spec: DeviceClassSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DeviceClassSpec {
    pub selectors: Vec<DeviceSelector>,
    pub extended_resource_name: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ResourceSlice {
    pub metadata: Metadata,
    pub spec: ResourceSliceSpec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourceSliceSpec {
    pub driver: SmolStr,
    pub pool: ResourcePool,
    pub node_name: Option<SmolStr>,
    pub node_selector: Option<NodeSelector>,
    pub all_nodes: bool,
    pub per_device_node_selection: bool,
    pub devices: Vec<Device>,
    pub shared_counters: Vec<CounterSet>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ResourcePool {
    pub name: SmolStr,
    pub generation: i64,
    pub resource_slice_count: i64,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Device {
    pub name: SmolStr,
    pub attributes: BTreeMap<SmolStr, DeviceAttribute>,
    pub capacity: BTreeMap<SmolStr, DeviceCapacity>,
    pub taints: Vec<DeviceTaint>,
    pub consumes_counters: Vec<ConsumedCounters>,
    pub node_name: Option<SmolStr>,
    pub node_selector: Option<NodeSelector>,
    pub all_nodes: bool,
    pub allow_multiple_allocations: bool,
    pub binds_to_node: bool,
    pub binding_conditions: Option<Vec<SmolStr>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DeviceCapacity {
    pub value: Amount,
    pub request_policy: Option<CapacityPolicy>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CapacityPolicy {
    pub default: Option<Amount>,
    pub valid_range: Option<CapacityRange>,
    pub valid_values: Vec<Amount>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CapacityRange {
    pub min: Option<Amount>,
    pub max: Option<Amount>,
    pub step: Option<Amount>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeviceAttribute {
    pub string: Option<SmolStr>,
    pub int: Option<i64>,
    pub bool: Option<bool>,
    pub version: Option<SmolStr>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ValueOf {
    pub value: Amount,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct DeviceTaint {
    pub key: SmolStr,
    pub value: SmolStr,
    pub effect: SmolStr,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct CounterSet {
    pub name: SmolStr,
    pub counters: BTreeMap<SmolStr, ValueOf>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConsumedCounters {
    pub counter_set: SmolStr,
    pub counters: BTreeMap<SmolStr, ValueOf>,
}
