use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use windlass_model::{CounterSet, Device, Node, ResourceSlice, SmolStr};

/// A device by driver, pool and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DeviceId {
    pub(super) driver: SmolStr,
    pub(super) pool: SmolStr,
    pub(super) device: SmolStr,
}

/// What of a driver's pool is usable from one node.
pub(super) struct Pool<'a> {
    pub(super) driver: &'a SmolStr,
    pub(super) name: &'a SmolStr,
    /// Of the newest generation, by name.
    pub(super) slices: Vec<&'a Arc<ResourceSlice>>,
    /// All of the newest generation, usable from this node or not.
    pub(super) all_slices: Vec<&'a Arc<ResourceSlice>>,
    /// Some slices of the generation are not there (yet).
    pub(super) is_incomplete: bool,
    /// Two devices have one name.
    pub(super) is_invalid: bool,
}

impl<'a> Pool<'a> {
    pub(super) fn device_id(&self, device: &Device) -> DeviceId {
        DeviceId {
            driver: self.driver.clone(),
            pool: self.name.clone(),
            device: device.name.clone(),
        }
    }

    pub(super) fn counter_sets(&self) -> impl Iterator<Item = &'a CounterSet> {
        self.all_slices
            .iter()
            .flat_map(|slice| &slice.shared_counters)
    }

    pub(super) fn is_usable(&self) -> bool {
        !self.is_incomplete && !self.is_invalid
    }
}

/// The pools with devices for the node, by driver and name. Old generations are passed over; so is
/// a pool whose newest generation has nothing for this node.
/// Source: `k8s.io/dynamic-resource-allocation/structured` `GatherPools`.
pub(super) fn gather<'a>(
    slices: &(impl Iterator<Item = &'a Arc<ResourceSlice>> + Clone),
    node: &Node,
) -> Vec<Pool<'a>> {
    let mut usable: BTreeMap<(&SmolStr, &SmolStr), Vec<&Arc<ResourceSlice>>> = BTreeMap::new();
    for slice in slices.clone().filter(|slice| is_for(slice, node)) {
        let of_pool = usable.entry((&slice.driver, &slice.pool)).or_default();
        of_pool.push(slice);
    }
    usable
        .into_iter()
        .filter_map(|((driver, name), mut usable)| {
            let all = slices
                .clone()
                .filter(|slice| slice.driver == *driver && slice.pool == *name);
            let generation = all.clone().map(|slice| slice.pool_generation).max()?;
            usable.retain(|slice| slice.pool_generation == generation);
            usable.sort_by(|a, b| a.name.cmp(&b.name));
            let first = usable.first()?;
            let all_slices: Vec<_> = all
                .filter(|slice| slice.pool_generation == generation)
                .collect();
            let count = i64::try_from(all_slices.len()).unwrap_or(i64::MAX);
            Some(Pool {
                driver,
                name,
                is_incomplete: count != first.pool_slice_count,
                is_invalid: has_duplicates(&usable),
                slices: usable,
                all_slices,
            })
        })
        .collect()
}

fn is_for(slice: &ResourceSlice, node: &Node) -> bool {
    let (name, labels) = (&node.name, &node.labels);
    if slice.nodes == windlass_model::SliceNodes::PerDevice {
        slice
            .devices
            .iter()
            .any(|device| device.covers(name, labels))
    } else {
        slice.covers(name, labels)
    }
}

fn has_duplicates(slices: &[&Arc<ResourceSlice>]) -> bool {
    let mut names = FxHashSet::default();
    let mut devices = slices.iter().flat_map(|slice| &slice.devices);
    !devices.all(|device| names.insert(&device.name))
}
