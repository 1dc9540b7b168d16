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
    /// Devices that are shared.
    shared: FxHashMap<DeviceId, Shares>,
}

/// The shares of a device.
#[derive(Clone, Debug, Default)]
struct Shares {
    all: u32,
    /// Those that consume capacity.
    consuming: u32,
    consumed: Consumed,
}

impl Allocated {
    /// Whether the device cannot be given to another claim.
    pub(super) fn is_taken(&self, id: &DeviceId) -> bool {
        self.exclusive.contains_key(id)
    }

    /// What is consumed of a shared device; `None` where no share consumes any.
    pub(super) fn consumed(&self, id: &DeviceId) -> Option<&Consumed> {
        let shares = self.shared.get(id)?;
        (shares.consuming > 0).then_some(&shares.consumed)
    }

    /// Whether claims have shares of the device.
    pub(super) fn is_shared(&self, id: &DeviceId) -> bool {
        self.shared.contains_key(id)
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
            let shares = self.shared.entry(id.clone()).or_default();
            count(&mut shares.all);
            if !device.consumed_capacity.is_empty() {
                count(&mut shares.consuming);
            }
            for (name, amount) in &device.consumed_capacity {
                let sum = shares
                    .consumed
                    .entry(name.clone())
                    .or_insert(Quantity::ZERO);
                *sum = combine(*sum, *amount);
            }
            if shares.all == 0 {
                self.shared.remove(&id);
            }
        }
    }
}
