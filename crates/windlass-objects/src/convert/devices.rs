use windlass_model::{
    AllocatedDevice, Allocation, AllocationMode, CapacityPolicy, CapacityRange, CapacityRequest,
    Counter, CounterSet, Device, DeviceAttribute, DeviceCapacity, DeviceClass, DeviceConstraint,
    DeviceRequest, DeviceSubRequest, DeviceTaint, DeviceToleration, ResourceClaim, ResourceSlice,
    SliceNodes, SmolStr,
};

use crate::api;

use super::selector::node_selector;
use super::{Converter, Origin};

impl Converter {
    /// A claim to devices.
    pub fn resource_claim(&self, claim: &api::ResourceClaim) -> ResourceClaim {
        let api::ResourceClaim {
            metadata,
            spec,
            status,
        } = claim;
        let requests = spec.devices.requests.iter();
        ResourceClaim {
            name: self.full_name(metadata),
            uid: self.uid("ResourceClaim", metadata),
            controller_uid: self.controller_uid(metadata),
            is_being_deleted: metadata.deletion_timestamp.is_some(),
            requests: requests
                .map(|request| self.device_request(request))
                .collect(),
            constraints: spec.devices.constraints.iter().map(constraint).collect(),
            allocation: status.allocation.as_ref().map(allocation),
            reserved_for: status
                .reserved_for
                .iter()
                .map(|consumer| consumer.uid.clone())
                .collect(),
        }
    }

    fn device_request(&self, request: &api::DeviceRequest) -> DeviceRequest {
        DeviceRequest {
            name: request.name.clone(),
            exactly: request.exactly.as_ref().map(|exactly| DeviceSubRequest {
                name: SmolStr::default(),
                ..self.sub_request(exactly)
            }),
            first_available: request
                .first_available
                .iter()
                .map(|sub_request| self.sub_request(sub_request))
                .collect(),
        }
    }

    /// Source of the defaults: `pkg/apis/resource/v1/defaults.go`.
    fn sub_request(&self, request: &api::DeviceSubRequest) -> DeviceSubRequest {
        let defaults = self.origin == Origin::Scenario;
        let allocation_mode = match request.allocation_mode.as_str() {
            "ExactCount" => AllocationMode::ExactCount,
            "All" => AllocationMode::All,
            "" if defaults => AllocationMode::ExactCount,
            "" => AllocationMode::Unset,
            other => AllocationMode::Other(other.into()),
        };
        let counts = allocation_mode == AllocationMode::ExactCount;
        let count = if defaults && counts && request.count == 0 {
            1
        } else {
            request.count
        };
        DeviceSubRequest {
            name: request.name.clone(),
            device_class: request.device_class_name.clone(),
            selectors: expressions(&request.selectors),
            allocation_mode,
            count,
            admin_access: request.admin_access,
            tolerations: request.tolerations.iter().map(toleration).collect(),
            capacity: request
                .capacity
                .requests
                .0
                .iter()
                .map(|(name, amount)| CapacityRequest {
                    name: name.clone(),
                    amount,
                })
                .collect(),
        }
    }

    /// A class of devices.
    pub fn device_class(&self, class: &api::DeviceClass) -> DeviceClass {
        DeviceClass {
            name: class.metadata.name.clone(),
            selectors: expressions(&class.spec.selectors),
            extended_resource_name: class.spec.extended_resource_name.clone(),
            created_at: class.metadata.creation_timestamp,
        }
    }

    /// A driver's list of devices.
    pub fn resource_slice(&self, slice: &api::ResourceSlice) -> ResourceSlice {
        let spec = &slice.spec;
        let nodes = if spec.per_device_node_selection {
            SliceNodes::PerDevice
        } else {
            slice_nodes(
                spec.node_name.as_ref(),
                spec.node_selector.as_ref(),
                spec.all_nodes,
            )
        };
        ResourceSlice {
            name: slice.metadata.name.clone(),
            driver: spec.driver.clone(),
            pool: spec.pool.name.clone(),
            pool_generation: spec.pool.generation,
            pool_slice_count: spec.pool.resource_slice_count,
            nodes,
            devices: spec.devices.iter().map(device).collect(),
            shared_counters: spec
                .shared_counters
                .iter()
                .map(|set| counter_set(&set.name, &set.counters))
                .collect(),
        }
    }
}

fn slice_nodes(
    name: Option<&SmolStr>,
    selector: Option<&api::NodeSelector>,
    all_nodes: bool,
) -> SliceNodes {
    match (name, selector) {
        (Some(name), _) if !name.is_empty() => SliceNodes::Node(name.clone()),
        _ if all_nodes => SliceNodes::All,
        (_, Some(selector)) => SliceNodes::Selector(node_selector(selector)),
        _ => SliceNodes::None,
    }
}

fn expressions(selectors: &[api::DeviceSelector]) -> Vec<Option<SmolStr>> {
    let cel = selectors.iter().map(|selector| selector.cel.as_ref());
    cel.map(|cel| cel.map(|cel| cel.expression.clone()))
        .collect()
}

fn toleration(toleration: &api::DeviceToleration) -> DeviceToleration {
    DeviceToleration {
        key: toleration.key.clone(),
        operator: toleration.operator.clone(),
        value: toleration.value.clone(),
        effect: toleration.effect.clone(),
    }
}

fn constraint(constraint: &api::DeviceConstraint) -> DeviceConstraint {
    let requests = constraint.requests.clone();
    match (&constraint.match_attribute, &constraint.distinct_attribute) {
        (Some(attribute), _) => DeviceConstraint::MatchAttribute {
            requests,
            attribute: attribute.clone(),
        },
        (None, Some(attribute)) => DeviceConstraint::DistinctAttribute {
            requests,
            attribute: attribute.clone(),
        },
        (None, None) => DeviceConstraint::Unknown,
    }
}

fn allocation(allocation: &api::Allocation) -> Allocation {
    let devices = allocation
        .devices
        .results
        .iter()
        .map(|result| AllocatedDevice {
            request: result.request.clone(),
            driver: result.driver.clone(),
            pool: result.pool.clone(),
            device: result.device.clone(),
            admin_access: result.admin_access,
            consumed_capacity: result
                .consumed_capacity
                .0
                .iter()
                .map(|(name, amount)| (name.clone(), amount))
                .collect(),
            share_id: result.share_id.clone(),
        })
        .collect();
    Allocation {
        node_selector: allocation.node_selector.as_ref().map(node_selector),
        devices,
    }
}

fn device(device: &api::Device) -> Device {
    Device {
        name: device.name.clone(),
        attributes: device
            .attributes
            .iter()
            .map(|(name, value)| (name.clone(), attribute(value)))
            .collect(),
        capacity: device
            .capacity
            .iter()
            .map(|(name, capacity)| DeviceCapacity {
                name: name.clone(),
                value: capacity.value.0,
                policy: capacity.request_policy.as_ref().map(capacity_policy),
            })
            .collect(),
        taints: device
            .taints
            .iter()
            .map(|taint| DeviceTaint {
                key: taint.key.clone(),
                value: taint.value.clone(),
                effect: taint.effect.clone(),
            })
            .collect(),
        nodes: slice_nodes(
            device.node_name.as_ref(),
            device.node_selector.as_ref(),
            device.all_nodes,
        ),
        consumes_counters: device
            .consumes_counters
            .iter()
            .map(|consumed| counter_set(&consumed.counter_set, &consumed.counters))
            .collect(),
        allows_multiple_allocations: device.allow_multiple_allocations,
        binds_to_node: device.binds_to_node,
        has_binding_conditions: device.binding_conditions.is_some(),
    }
}

fn capacity_policy(policy: &api::CapacityPolicy) -> CapacityPolicy {
    let amount = |amount: &api::Amount| amount.0;
    CapacityPolicy {
        default: policy.default.as_ref().map(amount),
        valid_range: policy.valid_range.as_ref().map(|range| CapacityRange {
            min: range.min.as_ref().map(amount),
            max: range.max.as_ref().map(amount),
            step: range.step.as_ref().map(amount),
        }),
        valid_values: policy.valid_values.iter().map(amount).collect(),
    }
}

fn attribute(value: &api::DeviceAttribute) -> DeviceAttribute {
    let api::DeviceAttribute {
        string,
        int,
        bool,
        version,
    } = value;
    // Of several the one that selectors see.
    int.map(DeviceAttribute::Int)
        .or(bool.map(DeviceAttribute::Bool))
        .or(string.clone().map(DeviceAttribute::String))
        .or(version.clone().map(DeviceAttribute::Version))
        .unwrap_or(DeviceAttribute::Unset)
}

fn counter_set(
    name: &SmolStr,
    counters: &std::collections::BTreeMap<SmolStr, api::ValueOf>,
) -> CounterSet {
    CounterSet {
        name: name.clone(),
        counters: counters
            .iter()
            .map(|(name, counter)| Counter {
                name: name.clone(),
                value: counter.value.0,
            })
            .collect(),
    }
}
