//! Limits of the cluster on cores, memory and GPUs. Source: `pkg/resourcequotas`.

use std::collections::BTreeMap;

use windlass_model::{Node, Quantity, SmolStr};

use crate::{decide::Loop, gpu};

/// A GPU node outside all groups whose GPUs cannot be seen: what the cluster has cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("could not create quotas tracker: node {node} has no visible GPUs and no group")]
pub(super) struct UnknownGpus {
    node: SmolStr,
}

/// What is left of the cluster's limits.
pub(super) struct QuotaTracker {
    id: &'static str,
    left: BTreeMap<SmolStr, i64>,
    /// What one node of each group takes, where that can be told.
    per_node: Vec<Option<BTreeMap<SmolStr, i64>>>,
}

/// A quota that does not allow what is asked.
pub(super) struct Exceeded {
    pub(super) id: &'static str,
    pub(super) resources: Vec<String>,
}

impl QuotaTracker {
    /// The limits of the flags, less what the nodes of the snapshot have.
    pub(super) fn of_cluster(context: &Loop<'_>) -> Result<Self, UnknownGpus> {
        let limits = &context.config.limits;
        let mut left: BTreeMap<SmolStr, i64> = BTreeMap::new();
        left.insert("cpu".into(), limits.cores_total.max);
        left.insert("memory".into(), limits.memory_total_bytes().max);
        for limit in &limits.gpu_total {
            left.insert(limit.gpu_type.as_str().into(), limit.count.max);
        }

        let mut per_node: Vec<Option<BTreeMap<SmolStr, i64>>> = vec![None; context.groups.len()];
        let mut take = |amounts: &BTreeMap<SmolStr, i64>, times: i64| {
            for (name, amount) in amounts {
                if let Some(left) = left.get_mut(name) {
                    *left = left.saturating_sub(amount.saturating_mul(times));
                }
            }
        };
        let described = |group: usize| {
            let template = context.cluster.groups[group].template.as_ref()?;
            Some(template.node.as_ref())
        };
        for node in context.nodes.iter().filter(|node| !node.is_replaced) {
            let described = node.group.and_then(described);
            let amounts = match node.group.and_then(|group| per_node[group].clone()) {
                Some(amounts) => amounts,
                None => amounts_of(&node.node, described, node.group.is_some())?,
            };
            if node
                .node
                .labels
                .get("type")
                .is_none_or(|kind| kind != "virtual-kubelet")
            {
                take(&amounts, 1);
            }
            if let Some(group) = node.group {
                per_node[group].get_or_insert(amounts);
            }
        }
        for (index, state) in context.groups.iter().enumerate() {
            let Some(template) = &context.templates[index] else {
                continue;
            };
            if per_node[index].is_none() {
                per_node[index] = Some(amounts_of(&template.node, described(index), true)?);
            }
            if let Some(amounts) = &per_node[index] {
                take(amounts, state.counted_on + state.added_in_snapshot);
            }
        }
        for amount in left.values_mut() {
            *amount = (*amount).max(0);
        }
        Ok(Self {
            id: "cluster-wide",
            left,
            per_node,
        })
    }

    /// How many of `nodes` more nodes of the group are allowed.
    pub(super) fn allowed(&self, group: usize, nodes: i64) -> i64 {
        self.short(group, nodes)
            .map(|(_, allowed)| allowed)
            .min()
            .map_or(nodes, |allowed| allowed.min(nodes))
    }

    /// The quotas that do not allow `nodes` more nodes of the group.
    pub(super) fn exceeded(&self, group: usize, nodes: i64) -> Vec<Exceeded> {
        let resources: Vec<String> = self
            .short(group, nodes)
            .map(|(name, _)| name.to_string())
            .collect();
        if resources.is_empty() {
            return Vec::new();
        }
        vec![Exceeded {
            id: self.id,
            resources,
        }]
    }

    /// Takes `nodes` nodes of the group off what is left, if they are allowed.
    pub(super) fn consume(&mut self, group: usize, nodes: i64) {
        if self.allowed(group, nodes) < nodes {
            return;
        }
        let Some(amounts) = &self.per_node[group] else {
            return;
        };
        for (name, amount) in amounts {
            if let Some(left) = self.left.get_mut(name) {
                *left -= amount * nodes;
            }
        }
    }

    /// The resources that `nodes` nodes lack, with how many nodes they suffice for.
    fn short(&self, group: usize, nodes: i64) -> impl Iterator<Item = (&SmolStr, i64)> {
        self.per_node[group]
            .iter()
            .flatten()
            .filter_map(move |(name, amount)| {
                let left = *self.left.get(name)?;
                let is_short = *amount > 0 && left < amount.saturating_mul(nodes);
                is_short.then(|| (name, left / amount))
            })
    }
}

/// What a node counts for: whole cores, bytes, and its GPUs by type; those that cannot be seen
/// yet as the cloud describes them. Source: `pkg/processors/customresources/gpu_processor.go`.
fn amounts_of(
    node: &Node,
    described: Option<&Node>,
    is_in_group: bool,
) -> Result<BTreeMap<SmolStr, i64>, UnknownGpus> {
    let mut amounts = BTreeMap::new();
    let units = |name| node.capacity.get(name).map_or(0, Quantity::units_ceil);
    amounts.insert("cpu".into(), units("cpu"));
    amounts.insert("memory".into(), units("memory"));
    if let Some(gpu_type) = node.labels.get(gpu::GPU_LABEL) {
        let visible = gpu::allocatable_gpus(node)
            .or_else(|| described.and_then(gpu::gpu_capacity))
            .map(|(_, count)| count);
        match visible {
            Some(count) => {
                amounts.insert(gpu_type.clone(), count);
            }
            None if !is_in_group => {
                return Err(UnknownGpus {
                    node: node.name.clone(),
                });
            }
            None => {}
        }
    }
    Ok(amounts)
}
