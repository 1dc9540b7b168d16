use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use windlass_model::{
    CounterSet, Device, Node, NodeSelector, ResourceSlice, SchedulerVersion, SliceNodes, SmolStr,
};

/// A device by driver, pool and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct DeviceId {
    pub(super) driver: SmolStr,
    pub(super) pool: SmolStr,
    pub(super) device: SmolStr,
}

/// All slices by driver and pool.
pub(super) type ByPool = FxHashMap<(SmolStr, SmolStr), Vec<Arc<ResourceSlice>>>;

/// What of a driver's pool is usable from one node.
pub(super) struct Pool<'a> {
    pub(super) driver: &'a SmolStr,
    pub(super) name: &'a SmolStr,
    pub(super) state: PoolState,
    /// Those with devices for the node, by name.
    pub(super) slices: Vec<&'a Arc<ResourceSlice>>,
    /// Those of the same generation that are for other nodes.
    others: Vec<&'a Arc<ResourceSlice>>,
    counter_sets: Vec<&'a CounterSet>,
}

/// Whether devices of a pool may be given away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PoolState {
    Usable,
    /// Some slices of the generation are not there (yet).
    Incomplete,
    /// Two devices or counter sets have one name, or a device takes of a counter that is not there.
    Invalid,
}

impl<'a> Pool<'a> {
    pub(super) fn device_id(&self, device: &Device) -> DeviceId {
        DeviceId {
            driver: self.driver.clone(),
            pool: self.name.clone(),
            device: device.name.clone(),
        }
    }

    pub(super) fn counter_sets(&self) -> impl Iterator<Item = &'a CounterSet> + '_ {
        self.counter_sets.iter().copied()
    }

    /// All devices of the pool's generation, usable from the node or not.
    pub(super) fn all_devices(&self) -> impl Iterator<Item = &'a Device> + '_ {
        let slices = self.slices.iter().chain(&self.others);
        slices.flat_map(|slice| &slice.devices)
    }

    fn has_binding_conditions(&self) -> bool {
        let mut devices = self.slices.iter().flat_map(|slice| &slice.devices);
        devices.any(|device| device.has_binding_conditions)
    }
}

/// The pools with something for the node, by driver and name; those whose devices must be made
/// ready come last. An error is the text of one.
/// Source: `k8s.io/dynamic-resource-allocation/structured` `GatherPools`.
pub(super) fn gather<'a>(
    slices: impl Iterator<Item = &'a Arc<ResourceSlice>>,
    brought: &'a [Arc<ResourceSlice>],
    all: &'a ByPool,
    node: &Node,
    version: SchedulerVersion,
) -> Result<Vec<Pool<'a>>, String> {
    let mut found: BTreeMap<(&SmolStr, &SmolStr), Vec<&Arc<ResourceSlice>>> = BTreeMap::new();
    for slice in slices.chain(brought) {
        if !is_for(slice, node, version)? {
            continue;
        }
        let of_pool = found.entry((&slice.driver, &slice.pool)).or_default();
        match of_pool.first().map(|first| first.pool_generation) {
            Some(generation) if slice.pool_generation < generation => {}
            Some(generation) if generation < slice.pool_generation => *of_pool = vec![slice],
            _ => of_pool.push(slice),
        }
    }
    let mut pools: Vec<Pool<'a>> = found
        .into_iter()
        .filter_map(|((driver, name), slices)| {
            let known = all
                .get(&(driver.clone(), name.clone()))
                .into_iter()
                .flatten();
            let is_here =
                |slice: &&Arc<ResourceSlice>| slice.driver == *driver && slice.pool == *name;
            let of_pool: Vec<_> = known.chain(brought.iter().filter(is_here)).collect();
            pool(driver, name, slices, &of_pool, version)
        })
        .collect();
    pools.sort_by_key(Pool::has_binding_conditions);
    Ok(pools)
}

/// The pool of these slices of one generation; `None` when that turns out to be an old one. The
/// slices for other nodes are among `of_pool`.
fn pool<'a>(
    driver: &'a SmolStr,
    name: &'a SmolStr,
    mut slices: Vec<&'a Arc<ResourceSlice>>,
    of_pool: &[&'a Arc<ResourceSlice>],
    version: SchedulerVersion,
) -> Option<Pool<'a>> {
    let first = slices.first()?;
    let (generation, wanted) = (first.pool_generation, first.pool_slice_count);
    let is_whole = |count: usize| i64::try_from(count) == Ok(wanted);
    let mut pool = Pool {
        driver,
        name,
        state: PoolState::Usable,
        slices: Vec::new(),
        others: Vec::new(),
        counter_sets: Vec::new(),
    };
    if !is_whole(slices.len()) {
        if of_pool
            .iter()
            .any(|slice| generation < slice.pool_generation)
        {
            return None;
        }
        let current: Vec<_> = of_pool
            .iter()
            .copied()
            .filter(|slice| slice.pool_generation == generation)
            .collect();
        if !is_whole(current.len()) {
            pool.state = PoolState::Incomplete;
            return Some(pool);
        }
        let is_other =
            |slice: &&Arc<ResourceSlice>| slices.iter().all(|own| own.name != slice.name);
        pool.others = current.into_iter().filter(is_other).collect();
    }
    slices.sort_by(|a, b| a.name.cmp(&b.name));
    let has_counters = |slice: &&Arc<ResourceSlice>| !slice.shared_counters.is_empty();
    let (mut counting, offering): (Vec<_>, Vec<_>) = slices.into_iter().partition(has_counters);
    if version >= SchedulerVersion::V1_37 {
        // Not counting themselves, they were for other nodes.
        let (more, others) = pool.others.into_iter().partition(has_counters);
        pool.others = others;
        counting.extend::<Vec<_>>(more);
    }
    pool.counter_sets = counting
        .iter()
        .flat_map(|slice| &slice.shared_counters)
        .collect();
    // Since 1.37 nobody looks at devices that stand beside counters.
    let beside = counting
        .iter()
        .filter(|_| version < SchedulerVersion::V1_37);
    let devices = beside.chain(&offering).chain(&pool.others);
    let is_valid = are_distinct(offering.iter().flat_map(|s| &s.devices).map(|d| &d.name))
        && are_distinct(pool.counter_sets.iter().map(|set| &set.name))
        && devices
            .flat_map(|slice| &slice.devices)
            .all(|device| takes_what_there_is(device, &pool.counter_sets));
    if is_valid {
        pool.slices = offering;
    } else {
        pool.state = PoolState::Invalid;
    }
    Some(pool)
}

fn takes_what_there_is(device: &Device, sets: &[&CounterSet]) -> bool {
    device.consumes_counters.iter().all(|taken| {
        sets.iter()
            .find(|set| set.name == taken.name)
            .is_some_and(|set| {
                let is_there =
                    |name: &SmolStr| set.counters.iter().any(|counter| counter.name == *name);
                taken.counters.iter().all(|counter| is_there(&counter.name))
            })
    })
}

fn are_distinct<'n>(names: impl Iterator<Item = &'n SmolStr>) -> bool {
    let mut seen = FxHashSet::default();
    let mut names = names;
    names.all(|name| seen.insert(name))
}

/// Whether the slice has something for the node. Up to 1.36 counters have wherever they are; since
/// then those for other nodes are looked up when the node has devices of their pool.
fn is_for(slice: &ResourceSlice, node: &Node, version: SchedulerVersion) -> Result<bool, String> {
    if version < SchedulerVersion::V1_37 && !slice.shared_counters.is_empty() {
        return Ok(true);
    }
    if slice.nodes == SliceNodes::PerDevice {
        for device in &slice.devices {
            check(&device.nodes)?;
            if device.covers(&node.name, &node.labels) {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    check(&slice.nodes)?;
    Ok(slice.covers(&node.name, &node.labels))
}

fn check(nodes: &SliceNodes) -> Result<(), String> {
    match nodes {
        SliceNodes::Selector(selector) if !is_valid(selector) => {
            Err("gather pool information: failed to parse node selector".to_owned())
        }
        _ => Ok(()),
    }
}

/// Whether all terms that say something could be parsed.
pub(super) fn is_valid(selector: &NodeSelector) -> bool {
    selector.terms.iter().all(|term| {
        let is_empty = term.match_expressions.is_empty() && term.match_fields.is_empty();
        is_empty || term.is_valid()
    })
}
