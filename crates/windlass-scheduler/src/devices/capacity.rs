//! What is taken of a device's capacity. Source:
//! `k8s.io/dynamic-resource-allocation/structured` `consumable_capacity.go`.

use windlass_model::{CapacityPolicy, Device, DeviceCapacity, DeviceSubRequest, Quantity};

use super::allocated::Consumed;

/// What the request takes of each of the device's capacities: what it names, rounded up as the
/// capacity's policy says; of others the policy's default, or all.
pub(super) fn consumption(details: &DeviceSubRequest, device: &Device) -> Consumed {
    let wanted = |capacity: &DeviceCapacity| {
        let requests = &mut details.capacity.iter();
        requests
            .find(|request| request.name == capacity.name)
            .map(|request| request.amount)
    };
    device
        .capacity
        .iter()
        .map(|capacity| (capacity.name.clone(), amount(wanted(capacity), capacity)))
        .collect()
}

fn amount(wanted: Option<Quantity>, capacity: &DeviceCapacity) -> Quantity {
    let policy = capacity.policy.as_ref();
    match (wanted, policy) {
        (None, policy) => policy.and_then(|p| p.default).unwrap_or(capacity.value),
        (Some(wanted), None) => wanted,
        (Some(wanted), Some(policy)) => rounded_up(wanted, policy),
    }
}

fn rounded_up(wanted: Quantity, policy: &CapacityPolicy) -> Quantity {
    if let Some(range) = &policy.valid_range
        && let Some(least) = range.min
    {
        if wanted < least {
            return least;
        }
        let Some(step) = range
            .step
            .map(Quantity::units_ceil)
            .filter(|step| 0 < *step)
        else {
            return wanted;
        };
        let least = least.units_ceil();
        let beyond = wanted.units_ceil().saturating_sub(least);
        let steps = beyond / step + i64::from(beyond % step != 0);
        return Quantity::from_bytes(least.saturating_add(step.saturating_mul(steps)));
    }
    let mut values = policy.valid_values.iter().copied();
    values.find(|value| wanted <= *value).unwrap_or(wanted)
}

/// Whether the capacity's policy allows for such an amount.
pub(super) fn is_allowed(amount: Quantity, capacity: &DeviceCapacity) -> bool {
    let Some(policy) = &capacity.policy else {
        return true;
    };
    if policy.default == Some(amount) {
        return true;
    }
    if let Some(range) = &policy.valid_range {
        let is_too_much = range.max.is_some_and(|most| most < amount);
        let least = range.min.map_or(0, Quantity::units_ceil);
        let is_between_steps = range
            .step
            .map(Quantity::units_ceil)
            .filter(|step| 0 < *step)
            .is_some_and(|step| amount.units_ceil().saturating_sub(least) % step != 0);
        return !is_too_much && !is_between_steps;
    }
    policy.valid_values.is_empty() || policy.valid_values.contains(&amount)
}
