use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use windlass_model::{Allocation, Quantity, SmolStr};

use super::pools::DeviceId;

/// Amounts of capacity by name.
pub(super) type Consumed = BTreeMap<SmolStr, Quantity>;

/// The devices that claims have.
#[derive(Clone, Debug, Default)]
pub(super) struct Allocated {
    /// Devices that are used up, with the number of claims that have them.
    exclusive: FxHashMap<DeviceId, u32>,
    /// Devices that are shared, with the number of shares and what those consume.
    shared: FxHashMap<DeviceId, (u32, Consumed)>,
}

impl Allocated {
    /// Whether the device cannot be given to another claim.
    pub(super) fn is_taken(&self, id: &DeviceId) -> bool {
        self.exclusive.contains_key(id)
    }

    /// What is consumed of a shared device.
    pub(super) fn consumed(&self, id: &DeviceId) -> Option<&Consumed> {
        self.shared.get(id).map(|(_, consumed)| consumed)
    }

    /// Whether a claim has it, alone or not.
    pub(super) fn is_used(&self, id: &DeviceId) -> bool {
        self.exclusive.contains_key(id) || self.shared.contains_key(id)
    }

    pub(super) fn add(&mut self, allocation: &Allocation) {
        self.update(allocation, |users| *users += 1, Quantity::plus);
    }

    pub(super) fn remove(&mut self, allocation: &Allocation) {
        self.update(allocation, |users| *users -= 1, Quantity::minus);
    }

    fn update(
        &mut self,
        allocation: &Allocation,
        count: impl Fn(&mut u32),
        combine: impl Fn(Quantity, Quantity) -> Quantity,
    ) {
        for device in allocation
            .devices
            .iter()
            .filter(|device| !device.admin_access)
        {
            let id = DeviceId {
                driver: device.driver.clone(),
                pool: device.pool.clone(),
                device: device.device.clone(),
            };
            if device.share_id.is_empty() {
                let users = self.exclusive.entry(id.clone()).or_default();
                count(users);
                if *users == 0 {
                    self.exclusive.remove(&id);
                }
                continue;
            }
            let (users, consumed) = self.shared.entry(id.clone()).or_default();
            count(users);
            for (name, amount) in &device.consumed_capacity {
                let sum = consumed.entry(name.clone()).or_insert(Quantity::ZERO);
                *sum = combine(*sum, *amount);
            }
            if *users == 0 {
                self.shared.remove(&id);
            }
        }
    }
}
