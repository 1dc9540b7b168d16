//! Limits of the cluster on cores, memory, GPUs and nodes. Source: `pkg/resourcequotas`.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_model::{CapacityQuota, Node, Quantity, SmolStr};

use crate::{capacity_quota, decide::Loop, gpu};

/// A GPU node outside all groups whose GPUs cannot be seen: what the cluster has cannot be told.
#[derive(Debug, thiserror::Error)]
#[error("could not create quotas tracker: node {node} has no visible GPUs and no group")]
pub(crate) struct UnknownGpus {
    node: SmolStr,
}

/// What is left of the limits.
pub(super) struct QuotaTracker {
    quotas: Vec<Quota>,
    /// What one node of each group takes, where that can be told.
    per_node: Vec<Option<BTreeMap<SmolStr, i64>>>,
}

/// What is left of one quota.
struct Quota {
    id: SmolStr,
    left: BTreeMap<SmolStr, i64>,
    /// The object; `None` for the limits of the flags, which all nodes count for.
    object: Option<Arc<CapacityQuota>>,
    /// Whether it is about the new nodes of each group.
    groups: Vec<bool>,
}

/// A quota that does not allow what is asked.
pub(super) struct Exceeded {
    pub(super) id: SmolStr,
    pub(super) resources: Vec<String>,
}

impl QuotaTracker {
    /// The limits of the flags, and the quotas of the cluster, less what the nodes of the snapshot
    /// have.
    pub(super) fn of_cluster(context: &Loop<'_>) -> Result<Self, UnknownGpus> {
        let mut quotas = vec![Quota::of_flags(context)];
        if context.config.features.capacity_quotas {
            let valid = context.cluster.capacity_quotas.iter();
            let valid = valid.filter(|quota| capacity_quota::errors(quota).is_empty());
            quotas.extend(valid.map(|quota| Quota::of_object(context, quota)));
        }
        let mut per_node: Vec<Option<BTreeMap<SmolStr, i64>>> = vec![None; context.groups.len()];
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
            if capacity_quota::counts(&node.node) {
                for quota in &mut quotas {
                    quota.take(&node.node, &amounts, 1);
                }
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
                let count = state.counted_on + state.added_in_snapshot;
                for quota in &mut quotas {
                    quota.take(&template.node, amounts, count);
                }
            }
        }
        for amount in quotas.iter_mut().flat_map(|quota| quota.left.values_mut()) {
            *amount = (*amount).max(0);
        }
        Ok(Self { quotas, per_node })
    }

    /// How many of `nodes` more nodes of the group are allowed.
    pub(super) fn allowed(&self, group: usize, nodes: i64) -> i64 {
        self.quotas
            .iter()
            .flat_map(|quota| self.short(quota, group, nodes))
            .map(|(_, allowed)| allowed)
            .min()
            .map_or(nodes, |allowed| allowed.min(nodes))
    }

    /// The quotas that do not allow `nodes` more nodes of the group.
    pub(super) fn exceeded(&self, group: usize, nodes: i64) -> Vec<Exceeded> {
        let exceeded = self.quotas.iter().filter_map(|quota| {
            let resources: Vec<String> = self
                .short(quota, group, nodes)
                .map(|(name, _)| name.to_string())
                .collect();
            let id = quota.id.clone();
            (!resources.is_empty()).then_some(Exceeded { id, resources })
        });
        exceeded.collect()
    }

    /// Takes `nodes` nodes of the group off what is left, if they are allowed.
    pub(super) fn consume(&mut self, group: usize, nodes: i64) {
        if self.allowed(group, nodes) < nodes {
            return;
        }
        let Some(amounts) = &self.per_node[group] else {
            return;
        };
        for quota in self.quotas.iter_mut().filter(|quota| quota.groups[group]) {
            for (name, amount) in amounts {
                if let Some(left) = quota.left.get_mut(name) {
                    *left -= amount * nodes;
                }
            }
        }
    }

    /// The resources of which a quota lacks what `nodes` nodes take, with how many nodes it
    /// suffices for.
    fn short<'q>(
        &'q self,
        quota: &'q Quota,
        group: usize,
        nodes: i64,
    ) -> impl Iterator<Item = (&'q SmolStr, i64)> {
        let amounts = self.per_node[group].iter().flatten();
        let amounts = amounts.filter(move |_| quota.groups[group]);
        amounts.filter_map(move |(name, amount)| {
            let left = *quota.left.get(name)?;
            let is_short = *amount > 0 && left < amount.saturating_mul(nodes);
            is_short.then(|| (name, left / amount))
        })
    }
}

impl Quota {
    fn of_flags(context: &Loop<'_>) -> Self {
        let limits = &context.config.limits;
        let mut left: BTreeMap<SmolStr, i64> = BTreeMap::new();
        left.insert("cpu".into(), limits.cores_total.max);
        left.insert("memory".into(), limits.memory_total_bytes().max);
        for limit in &limits.gpu_total {
            left.insert(limit.gpu_type.as_str().into(), limit.count.max);
        }
        Self {
            id: SmolStr::new_static("cluster-wide"),
            left,
            object: None,
            groups: vec![true; context.groups.len()],
        }
    }

    fn of_object(context: &Loop<'_>, object: &Arc<CapacityQuota>) -> Self {
        let limits = object.limits.iter();
        let groups = context.templates.iter().map(|template| {
            let node = template.as_ref().map(|template| &template.node);
            node.is_some_and(|node| capacity_quota::applies(object, node))
        });
        Self {
            id: format!("CapacityQuota/{}", object.name).into(),
            left: limits
                .map(|(name, limit)| (name.clone(), limit.units_ceil()))
                .collect(),
            object: Some(Arc::clone(object)),
            groups: groups.collect(),
        }
    }

    /// Takes off what so many nodes like this one have.
    fn take(&mut self, node: &Node, amounts: &BTreeMap<SmolStr, i64>, times: i64) {
        let object = self.object.as_ref();
        if object.is_some_and(|object| !capacity_quota::applies(object, node)) {
            return;
        }
        for (name, amount) in amounts {
            if let Some(left) = self.left.get_mut(name) {
                *left = left.saturating_sub(amount.saturating_mul(times));
            }
        }
    }
}

/// What a node counts for: itself, whole cores, bytes, and its GPUs by type; those that cannot be
/// seen yet as the cloud describes them. Source:
/// `pkg/processors/customresources/gpu_processor.go`.
pub(crate) fn amounts_of(
    node: &Node,
    described: Option<&Node>,
    is_in_group: bool,
) -> Result<BTreeMap<SmolStr, i64>, UnknownGpus> {
    let mut amounts = BTreeMap::new();
    let units = |name| node.capacity.get(name).map_or(0, Quantity::units_ceil);
    amounts.insert("cpu".into(), units("cpu"));
    amounts.insert("memory".into(), units("memory"));
    amounts.insert("nodes".into(), 1);
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
