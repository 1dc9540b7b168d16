//! How much of a node's devices is allocated. Source:
//! `pkg/simulator/dynamicresources/utils/utilization.go`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use windlass_model::{
    AllocatedDevice, Claim, Cluster, CounterSet, Node, ObjectName, Pod, Quantity, ResourceSlice,
    SliceNodes, SmolStr,
};
use windlass_scheduler::Snapshot;

/// Why the share of a node's devices cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DevicesError {
    #[error("claim {claim} of a pod on the node is not allocated")]
    NotAllocated { claim: ObjectName },
    #[error("pool {pool} has {present} of {wanted} slices")]
    IncompletePool {
        pool: SmolStr,
        present: usize,
        wanted: i64,
    },
}

/// The devices that are on one node each.
pub(crate) struct Devices<'a> {
    slices: FxHashMap<&'a str, Vec<&'a ResourceSlice>>,
}

/// The newest generation of one pool.
#[derive(Default)]
struct Pool<'a> {
    generation: i64,
    slices: Vec<&'a ResourceSlice>,
}

impl<'a> Devices<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        let mut slices: FxHashMap<&str, Vec<&ResourceSlice>> = FxHashMap::default();
        for slice in &cluster.resource_slices {
            if let SliceNodes::Node(name) = &slice.nodes {
                slices.entry(name).or_default().push(slice);
            }
        }
        Self { slices }
    }

    /// The pool of `node` with the largest share allocated to `pods`, as `DRIVER/POOL`, with that
    /// share; `None` for a node without devices of its own. Of equal pools the last by name.
    pub(crate) fn utilization<'p>(
        &self,
        snapshot: &Snapshot,
        node: &Node,
        pods: impl Iterator<Item = &'p Arc<Pod>>,
    ) -> Result<Option<(SmolStr, f64)>, DevicesError> {
        let Some(slices) = self.slices.get(node.name.as_str()) else {
            return Ok(None);
        };
        let mut pools: BTreeMap<(&str, &str), Pool<'_>> = BTreeMap::new();
        for slice in slices.iter().copied() {
            let pool = pools.entry((&slice.driver, &slice.pool)).or_default();
            if pool.slices.is_empty() || slice.pool_generation > pool.generation {
                *pool = Pool {
                    generation: slice.pool_generation,
                    slices: Vec::new(),
                };
            }
            if slice.pool_generation == pool.generation {
                pool.slices.push(slice);
            }
        }
        let allocated = allocated_to(snapshot, pods)?;
        let mut highest: Option<(SmolStr, f64)> = None;
        for ((driver, name), pool) in pools {
            let wanted = pool
                .slices
                .first()
                .map_or(0, |slice| slice.pool_slice_count);
            if i64::try_from(pool.slices.len()) != Ok(wanted) {
                return Err(DevicesError::IncompletePool {
                    pool: format!("{driver}/{name}").into(),
                    present: pool.slices.len(),
                    wanted,
                });
            }
            let unused = FxHashSet::default();
            let devices = allocated.get(&(driver, name)).unwrap_or(&unused);
            let used = pool.share(devices);
            if highest.as_ref().is_none_or(|(_, most)| *most <= used) {
                highest = Some((format!("{driver}/{name}").into(), used));
            }
        }
        Ok(highest)
    }
}

/// The devices that `pods` have, by driver and pool.
fn allocated_to<'s, 'p>(
    snapshot: &'s Snapshot,
    pods: impl Iterator<Item = &'p Arc<Pod>>,
) -> Result<FxHashMap<(&'s str, &'s str), FxHashSet<&'s str>>, DevicesError> {
    let mut allocated: FxHashMap<(&str, &str), FxHashSet<&str>> = FxHashMap::default();
    for pod in pods {
        for claim in &pod.shape.constraints.claims {
            let Claim::Named { name, .. } = claim else {
                continue;
            };
            let name = ObjectName::new(pod.namespace().clone(), name.clone());
            let allocation = snapshot
                .device_allocation(&name)
                .ok_or(DevicesError::NotAllocated { claim: name })?;
            for AllocatedDevice {
                driver,
                pool,
                device,
                admin_access,
                ..
            } in &allocation.devices
            {
                if !admin_access {
                    let devices = allocated.entry((driver, pool)).or_default();
                    devices.insert(device);
                }
            }
        }
    }
    Ok(allocated)
}

impl Pool<'_> {
    fn share(&self, allocated: &FxHashSet<&str>) -> f64 {
        let shares_counters = self
            .slices
            .iter()
            .any(|slice| !slice.shared_counters.is_empty());
        if shares_counters {
            return self.counter_share(allocated);
        }
        let devices = || self.slices.iter().flat_map(|slice| &slice.devices);
        if devices().next().is_none() {
            return 0.0;
        }
        // A claim may name a device that the newest generation of the pool has no more.
        let used = devices().filter(|device| allocated.contains(device.name.as_str()));
        used.count() as f64 / devices().count() as f64
    }

    /// Of each counter set the counter that is used up most, spread over the sets that devices
    /// draw on.
    fn counter_share(&self, allocated: &FxHashSet<&str>) -> f64 {
        let mut totals: BTreeMap<(&str, &str), Quantity> = BTreeMap::new();
        let mut consumed: BTreeMap<(&str, &str), Quantity> = BTreeMap::new();
        let mut drawn_on: BTreeSet<&str> = BTreeSet::new();
        for slice in &self.slices {
            add_counters(&mut totals, &slice.shared_counters);
            for device in &slice.devices {
                drawn_on.extend(device.consumes_counters.iter().map(|set| set.name.as_str()));
                if allocated.contains(device.name.as_str()) {
                    add_counters(&mut consumed, &device.consumes_counters);
                }
            }
        }
        if drawn_on.is_empty() {
            return 0.0;
        }
        let mut most: BTreeMap<&str, f64> = BTreeMap::new();
        for ((set, counter), total) in totals {
            if total.is_zero() {
                continue;
            }
            let used = consumed.get(&(set, counter)).copied().unwrap_or_default();
            let share = used.millis_ceil() as f64 / total.millis_ceil() as f64;
            let highest = most.entry(set).or_insert(0.0);
            *highest = highest.max(share);
        }
        most.values().sum::<f64>() / drawn_on.len() as f64
    }
}

fn add_counters<'a>(sums: &mut BTreeMap<(&'a str, &'a str), Quantity>, sets: &'a [CounterSet]) {
    for set in sets {
        for counter in &set.counters {
            let sum = sums
                .entry((set.name.as_str(), counter.name.as_str()))
                .or_default();
            *sum = sum.plus(counter.value);
        }
    }
}
