//! How many new nodes of a group its pods need. Source: `pkg/estimator`.
//!
//! Both ways are the same first fit. Pods that ask for nothing but resources are packed by
//! arithmetic ([`bins`]); where a pod's place depends on others' places each is tried in the
//! snapshot ([`packing`]).

mod bins;
mod fast_path;
mod new_nodes;
mod packing;
#[cfg(test)]
mod tests;

use windlass_model::{Duration, NodeTemplate, Resources};

use super::PodClass;
use crate::{
    TimeLimit,
    decide::Loop,
    pending::{PendingPods, PodIndex},
    report,
};

/// A group that could grow, by how much, and for which pods.
pub(crate) struct ExpansionOption {
    pub(crate) group: usize,
    pub(crate) nodes: i64,
    pub(crate) pods: Vec<PodIndex>,
    /// What these pods request together: thousandths of a core.
    pub(crate) milli_cpu: i64,
    /// What these pods request together: bytes of memory.
    pub(crate) memory_bytes: i64,
}

/// What an estimation found.
#[derive(Default)]
struct Packed {
    nodes: usize,
    pods: Vec<PodIndex>,
    milli_cpu: i64,
    memory_bytes: i64,
}

impl Packed {
    /// Counts pods of the class as placed.
    fn add(&mut self, class: &PodClass, pods: &[PodIndex]) {
        self.pods.extend_from_slice(pods);
        let requests = &class.exemplar.shape.requests;
        let count = i64::try_from(pods.len()).unwrap_or(i64::MAX);
        let add = |sum: &mut i64, each: i64| *sum = sum.saturating_add(each.saturating_mul(count));
        add(&mut self.milli_cpu, requests.milli_cpu);
        add(&mut self.memory_bytes, requests.memory_bytes);
    }
}

/// How many nodes one estimation may add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeLimit(i64);

impl NodeLimit {
    /// The least of `--max-nodes-per-scaleup`, the room of the group and those similar to it,
    /// and the room of the cluster. Source: `pkg/estimator/*_threshold.go`.
    pub(super) fn of(context: &Loop<'_>, group: usize, similar: &[usize], node_count: i64) -> Self {
        let room: i64 = std::iter::once(&group)
            .chain(similar)
            .map(|group| {
                let max = context.cluster.groups[*group].max_size;
                (max - context.groups[*group].target_size).max(0)
            })
            .sum();
        let max_nodes = context.config.limits.max_nodes_total;
        let per_scale_up = context.config.scale_up.max_nodes_per_scaleup;
        let mut limit = room;
        if max_nodes > 0 {
            limit = limit.min(max_nodes - node_count);
        }
        if per_scale_up != 0 {
            limit = limit.min(per_scale_up);
        }
        Self(limit)
    }

    /// The same, and no more than one node.
    pub(super) fn at_most_one(self) -> Self {
        Self(self.0.min(1))
    }

    fn allows(self, nodes: usize) -> bool {
        i64::try_from(nodes).is_ok_and(|nodes| nodes < self.0)
    }
}

/// Counts the nodes of `group` that the classes that fit it need: first fit, in order of size.
/// `None` when no pod is helped.
pub(super) fn run(
    context: &mut Loop<'_>,
    pending: &PendingPods,
    classes: &[PodClass],
    group: usize,
    limit: NodeLimit,
) -> Option<ExpansionOption> {
    let template = context.templates[group].clone()?;
    let fitting: Vec<&PodClass> = classes.iter().filter(|class| class.fits(group)).collect();
    report::observe_heterogeneity(context, &template, &fitting);
    let mut fitting = sorted_by_size(fitting, &template);
    let has_fast_path = context.config.scale_up.fastpath_binpacking
        && fast_path::put_best_last(&mut fitting, &template);

    // 0 is no limit. Source: `pkg/estimator/threshold_based_limiter.go`.
    let flag = context.config.scale_up.max_nodegroup_binpacking_duration;
    let allowed = if flag.is_zero() { Duration::MAX } else { flag };
    context
        .budget
        .start(TimeLimit::NodeGroupBinpacking, allowed);
    let packed = if bins::can_pack(context, &fitting) {
        bins::pack(context, &template, limit, &fitting)
    } else {
        let last = if has_fast_path {
            packing::LastClass::Divided
        } else {
            packing::LastClass::Tried
        };
        packing::pack(context, pending, &template, limit, &fitting, last)
    };
    if packed.nodes == 0 || packed.pods.is_empty() {
        return None;
    }
    let definition = &context.cluster.groups[group];
    let is_atomic = context
        .config
        .node_group_settings(&definition.options)
        .zero_or_max_node_scaling;
    let nodes = if is_atomic {
        definition.max_size
    } else {
        i64::try_from(packed.nodes).unwrap_or(i64::MAX)
    };
    Some(ExpansionOption {
        group,
        nodes,
        pods: packed.pods,
        milli_cpu: packed.milli_cpu,
        memory_bytes: packed.memory_bytes,
    })
}

/// The largest first, as a share of a new node's cpu and memory; equal ones in their order.
fn sorted_by_size<'c>(classes: Vec<&'c PodClass>, template: &NodeTemplate) -> Vec<&'c PodClass> {
    let allocatable = Resources::from_list(&template.node.allocatable);
    let share = |wanted: i64, of: i64| {
        if of == 0 {
            0.0
        } else {
            wanted as f64 / of as f64
        }
    };
    let mut sized: Vec<(f64, &PodClass)> = classes
        .into_iter()
        .map(|class| {
            let requests = &class.exemplar.shape.requests;
            let size = share(requests.milli_cpu, allocatable.milli_cpu)
                + share(requests.memory_bytes, allocatable.memory_bytes);
            (size, class)
        })
        .collect();
    sized.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    sized.into_iter().map(|(_, class)| class).collect()
}
