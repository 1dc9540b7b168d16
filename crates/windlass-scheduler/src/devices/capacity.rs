//! What is taken of a device's capacity. Source:
//! `k8s.io/dynamic-resource-allocation/structured` `consumable_capacity.go`.

use windlass_model::{
    CapacityPolicy, CapacityRange, Device, DeviceCapacity, DeviceSubRequest, Quantity,
    SchedulerVersion,
};

use super::allocated::Consumed;

/// What the request takes of each of the device's capacities: what it names, rounded up as the
/// capacity's policy says; of others the policy's default, or all. An error says why that is no
/// amount: since 1.37 such a request ends the search.
pub(super) fn consumption(
    details: &DeviceSubRequest,
    device: &Device,
    version: SchedulerVersion,
) -> Result<Consumed, String> {
    let wanted = |capacity: &DeviceCapacity| {
        let requests = &mut details.capacity.iter();
        requests
            .find(|request| request.name == capacity.name)
            .map(|request| request.amount)
    };
    device
        .capacity
        .iter()
        .map(|capacity| {
            let wanted = wanted(capacity);
            let amount = amount(wanted, capacity);
            if version >= SchedulerVersion::V1_37 {
                check_amount(wanted, amount, capacity)?;
            }
            Ok((capacity.name.clone(), amount))
        })
        .collect()
}

fn check_amount(
    wanted: Option<Quantity>,
    amount: Quantity,
    capacity: &DeviceCapacity,
) -> Result<(), String> {
    let name = &capacity.name;
    if amount.is_negative() {
        return Err(format!("capacity {name:?}: capacity value is negative"));
    }
    let policy = capacity.policy.as_ref();
    let range = policy.and_then(|policy| policy.valid_range.as_ref());
    let is_in_steps = |range: &CapacityRange| {
        range.step.is_some()
            && range
                .min
                .is_some_and(|min| wanted.is_some_and(|w| min <= w))
    };
    if range.is_some_and(is_in_steps) && amount > Quantity::from_bytes(i64::MAX) {
        return Err(format!(
            "capacity {name:?}: capacity request cannot be represented in the device's range \
             arithmetic"
        ));
    }
    Ok(())
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
