//! The least that the cluster keeps: the minimums of `--cores-total`, `--memory-total` and
//! `--gpu-total`. Source: `pkg/resourcequotas`.

use std::collections::BTreeMap;

use windlass_model::{Node, NodeTemplate, Resources, SmolStr};

use crate::{decide::Loop, gpu};

const VIRTUAL_KUBELET_LABEL: (&str, &str) = ("type", "virtual-kubelet");

/// What may still be taken away, of each resource with a minimum.
pub(super) struct Headroom {
    left: BTreeMap<Limited, i64>,
    /// What a node of a group counts for: what the first one seen does.
    of_group: BTreeMap<usize, BTreeMap<Limited, i64>>,
}

/// A resource with a minimum.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Limited {
    Cores,
    MemoryBytes,
    /// By the GPU's type.
    Gpus(SmolStr),
}

/// A node is marked as a GPU node, has no GPUs yet, and no group's template says how many it will
/// have: the cluster's totals cannot be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnknownGpus {
    pub(super) node: SmolStr,
}

impl Headroom {
    pub(super) fn new(context: &Loop<'_>) -> Result<Self, UnknownGpus> {
        let limits = &context.config.limits;
        let gpus = limits.gpu_total.iter().map(|limit| {
            (
                Limited::Gpus(limit.gpu_type.as_str().into()),
                limit.count.min,
            )
        });
        let minimums: BTreeMap<Limited, i64> = [
            (Limited::Cores, limits.cores_total.min),
            (Limited::MemoryBytes, limits.memory_total_bytes().min),
        ]
        .into_iter()
        .chain(gpus)
        .filter(|(_, minimum)| *minimum > 0)
        .collect();
        let mut headroom = Self {
            left: minimums
                .into_iter()
                .map(|(resource, minimum)| (resource, -minimum))
                .collect(),
            of_group: BTreeMap::new(),
        };
        let group_of: rustc_hash::FxHashMap<&str, usize> = context
            .nodes
            .iter()
            .filter_map(|node| Some((node.node.name.as_str(), node.group?)))
            .collect();
        for id in context.snapshot.node_ids() {
            let node = context.snapshot.node(id);
            let (label, value) = VIRTUAL_KUBELET_LABEL;
            if node.labels.get(label).is_some_and(|it| it == value) {
                continue;
            }
            // Without minimums all that counts is whether the totals can be told at all.
            if headroom.left.is_empty() && !node.labels.contains_key(gpu::GPU_LABEL) {
                continue;
            }
            let group = group_of.get(node.name.as_str()).copied();
            for (resource, amount) in headroom.amounts(context, node, group)? {
                if let Some(left) = headroom.left.get_mut(&resource) {
                    *left = left.saturating_add(amount);
                }
            }
        }
        for left in headroom.left.values_mut() {
            *left = (*left).max(0);
        }
        Ok(headroom)
    }

    /// Takes a node of a group away if no minimum stands against it.
    pub(super) fn take(
        &mut self,
        context: &Loop<'_>,
        node: &Node,
        group: usize,
    ) -> Result<bool, UnknownGpus> {
        if self.left.is_empty() {
            return Ok(true);
        }
        let amounts = self.amounts(context, node, Some(group))?;
        let is_allowed = amounts
            .iter()
            .all(|(resource, amount)| self.left.get(resource).is_none_or(|left| left >= amount));
        if is_allowed {
            for (resource, amount) in amounts {
                if let Some(left) = self.left.get_mut(&resource) {
                    *left -= amount;
                }
            }
        }
        Ok(is_allowed)
    }

    fn amounts(
        &mut self,
        context: &Loop<'_>,
        node: &Node,
        group: Option<usize>,
    ) -> Result<BTreeMap<Limited, i64>, UnknownGpus> {
        let Some(group) = group else {
            return amounts_of(node, None);
        };
        if let Some(amounts) = self.of_group.get(&group) {
            return Ok(amounts.clone());
        }
        let amounts = amounts_of(node, context.templates[group].as_ref())?;
        self.of_group.insert(group, amounts.clone());
        Ok(amounts)
    }
}

fn amounts_of(
    node: &Node,
    template: Option<&NodeTemplate>,
) -> Result<BTreeMap<Limited, i64>, UnknownGpus> {
    let capacity = Resources::from_list(&node.capacity);
    let mut amounts = BTreeMap::from([
        (Limited::Cores, (capacity.milli_cpu + 999) / 1000),
        (Limited::MemoryBytes, capacity.memory_bytes),
    ]);
    if let Some(gpu_type) = node.labels.get(gpu::GPU_LABEL) {
        let count = match (gpu::allocatable_gpus(node), template) {
            (Some((_, count)), _) => count,
            // A node whose GPUs are not there yet counts for what its group's template promises.
            (None, Some(template)) => gpu::gpu_capacity(&template.node).map_or(0, |(_, it)| it),
            (None, None) => {
                return Err(UnknownGpus {
                    node: node.name.clone(),
                });
            }
        };
        amounts.insert(Limited::Gpus(gpu_type.clone()), count);
    }
    Ok(amounts)
}
