//! GPUs and other devices of nodes. Source: `pkg/utils/gpu`, `pkg/processors/customresources`.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use windlass_model::{
    Cluster, Node, NodeTemplate, ResourceList, ResourceSlice, SliceNodes, SmolStr,
};

use crate::decide::Loop;

/// The label that marks a GPU node on AWS; its value is the GPU's type.
pub const GPU_LABEL: &str = "k8s.amazonaws.com/accelerator";

/// Resources that are GPUs, in the order in which they are looked for.
pub const GPU_RESOURCES: [&str; 5] = [
    "nvidia.com/gpu",
    "habana.ai/gaudi",
    "gpu.intel.com/xe",
    "amd.com/gpu",
    "microsoft.com/directx",
];

/// The first GPU resource of which `node` has any allocatable, with how many.
pub fn allocatable_gpus(node: &Node) -> Option<(&'static str, i64)> {
    first_gpus(&node.allocatable)
}

/// The first GPU resource of which `node` has any capacity, with how many.
pub fn gpu_capacity(node: &Node) -> Option<(&'static str, i64)> {
    first_gpus(&node.capacity)
}

fn first_gpus(amounts: &ResourceList) -> Option<(&'static str, i64)> {
    // Most nodes have nothing with a vendor's name, and each decision asks all of them.
    if !amounts.iter().any(|(name, _)| name.contains('/')) {
        return None;
    }
    GPU_RESOURCES.iter().find_map(|resource| {
        let count = amounts.get(resource)?.units_ceil();
        (count > 0).then_some((*resource, count))
    })
}

/// Whether `node` is labelled as a GPU node and none of its GPUs can be seen yet.
pub fn lacks_labelled_gpu(node: &Node) -> bool {
    node.labels.contains_key(GPU_LABEL) && allocatable_gpus(node).is_none()
}

/// Whether `node` shows none of one of these device resources.
pub(crate) fn lacks_any(node: &Node, devices: &[SmolStr]) -> bool {
    devices.iter().any(|device| {
        let shown = node.allocatable.get(device);
        shown.is_none_or(|amount| amount.units_ceil() <= 0)
    })
}

/// How many complete pools of devices each node has, by driver.
pub(crate) struct DevicePools<'a> {
    complete: FxHashMap<&'a str, BTreeMap<&'a str, usize>>,
}

impl<'a> DevicePools<'a> {
    pub(crate) fn observe(cluster: &'a Cluster) -> Self {
        let mut slices: FxHashMap<&str, Vec<&ResourceSlice>> = FxHashMap::default();
        for slice in &cluster.resource_slices {
            if let SliceNodes::Node(name) = &slice.nodes {
                slices.entry(name).or_default().push(slice);
            }
        }
        let complete = slices
            .into_iter()
            .map(|(node, slices)| (node, complete_pools(&slices)))
            .collect();
        Self { complete }
    }

    /// Whether `node` has fewer complete pools of some driver than `template`.
    pub(crate) fn are_missing(&self, node: &Node, template: &NodeTemplate) -> bool {
        if template.resource_slices.is_empty() {
            return false;
        }
        let wanted: Vec<&ResourceSlice> =
            template.resource_slices.iter().map(AsRef::as_ref).collect();
        let present = self.complete.get(node.name.as_str());
        complete_pools(&wanted).into_iter().any(|(driver, wanted)| {
            let present = present
                .and_then(|drivers| drivers.get(driver))
                .copied()
                .unwrap_or(0);
            present < wanted
        })
    }
}

/// Pools of which all slices of the newest generation are there, by driver.
fn complete_pools<'a>(slices: &[&'a ResourceSlice]) -> BTreeMap<&'a str, usize> {
    let mut pools: BTreeMap<(&str, &str), (i64, i64, i64)> = BTreeMap::new();
    for slice in slices {
        let pool = pools
            .entry((&slice.driver, &slice.pool))
            .or_insert((i64::MIN, 0, 0));
        if slice.pool_generation > pool.0 {
            *pool = (slice.pool_generation, 0, slice.pool_slice_count);
        }
        if slice.pool_generation == pool.0 {
            pool.1 += 1;
        }
    }
    let mut by_driver = BTreeMap::new();
    for ((driver, _), (_, present, wanted)) in pools {
        if present == wanted {
            *by_driver.entry(driver).or_default() += 1;
        }
    }
    by_driver
}

/// GPU types that the AWS provider lists; others are reported as `not-listed`.
const LISTED_TYPES: [&str; 6] = [
    "nvidia-tesla-k80",
    "nvidia-tesla-p100",
    "nvidia-tesla-v100",
    "nvidia-tesla-t4",
    "nvidia-tesla-a100",
    "nvidia-a10g",
];

/// Device drivers that metrics name; others are reported as `custom.driver`.
const NAMED_DRIVERS: [&str; 4] = [
    "compute-domain.nvidia.com",
    "dra.net",
    "gpu.nvidia.com",
    "tpu.google.com",
];

/// The labels `gpu_resource_name`, `gpu_name` and `dra_drivers` that metrics of a group carry.
pub(crate) fn metric_labels(context: &Loop<'_>, group: &str) -> [(&'static str, SmolStr); 3] {
    let template = context.memory.templates.get(group).or_else(|| {
        context
            .cluster
            .groups
            .iter()
            .find(|candidate| candidate.name == group)
            .and_then(|group| group.template.as_ref())
    });
    let (resource, name) = template.map_or(("", ""), |template| gpu_names(&template.node));
    let drivers: BTreeSet<&str> = template
        .iter()
        .flat_map(|template| &template.resource_slices)
        .map(|slice| {
            let driver = slice.driver.as_str();
            if NAMED_DRIVERS.contains(&driver) {
                driver
            } else {
                "custom.driver"
            }
        })
        .collect();
    let drivers = drivers.into_iter().collect::<Vec<_>>().join(",");
    [
        ("gpu_resource_name", resource.into()),
        ("gpu_name", name.into()),
        ("dra_drivers", drivers.into()),
    ]
}

fn gpu_names(node: &Node) -> (&'static str, &str) {
    let capacity = gpu_capacity(node);
    match (node.labels.get(GPU_LABEL), capacity) {
        (None, None) => ("", ""),
        (None, Some((resource, _))) => (resource, "generic"),
        (Some(_), None) => (GPU_RESOURCES[0], "unexpected-label"),
        (Some(name), Some((resource, _))) => {
            let is_listed = LISTED_TYPES.contains(&name.as_str());
            (resource, if is_listed { name } else { "not-listed" })
        }
    }
}
