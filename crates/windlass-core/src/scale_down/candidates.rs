//! Which nodes are looked at, and in which order. Source: `pkg/processors/nodes`,
//! `pkg/processors/scaledowncandidates`.

use windlass_scheduler::NodeId;

use super::{
    devices::Devices,
    hold,
    utilization::{self, Ignored, Utilization, UtilizationError},
};
use crate::{decide::Loop, drain::rules::Rules};

/// A node that is looked at.
pub(super) struct Candidate {
    /// An index into the loop's nodes.
    pub(super) node: usize,
    /// An index into the cluster's groups.
    pub(super) group: usize,
    /// Its place in the snapshot, if it has one.
    pub(super) id: Option<NodeId>,
    pub(super) utilization: Result<Utilization, UtilizationError>,
}

/// How soon a candidate's turn comes, the Go autoscaler's comparers; smaller is sooner.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    emptiness: Emptiness,
    is_new: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Emptiness {
    Empty,
    EmptyButWaitedFor,
    HasPods,
}

/// The nodes of groups above their minimum, in the order of their turn: empty ones first, then
/// those that were unneeded before. The Go autoscaler leaves the rest to chance; here the node
/// with the least requested goes first, because fewer of its pods have to move, and then the
/// first by name.
pub(super) fn in_order(context: &Loop<'_>, rules: &mut Rules<'_>) -> Vec<Candidate> {
    let devices = Devices::new(context.cluster);
    let mut candidates: Vec<(Turn, Candidate)> = Vec::new();
    for (index, node) in context.nodes.iter().enumerate() {
        let Some(group) = node.group else { continue };
        let is_candidate = !node.is_replaced
            && context.groups[group].target_size > context.cluster.groups[group].min_size
            && !hold::is_group_delayed(context, group);
        if !is_candidate || context.memory.drains.contains_key(&node.node.name) {
            continue;
        }
        let id = context.snapshot.node_id(&node.node.name);
        let emptiness = id.map_or(Emptiness::HasPods, |id| {
            match rules.empty_with_on_completion(context.snapshot.pods_on(id)) {
                None => Emptiness::HasPods,
                Some(true) => Emptiness::EmptyButWaitedFor,
                Some(false) => Emptiness::Empty,
            }
        });
        let turn = Turn {
            emptiness,
            is_new: !context.memory.unneeded_since.contains_key(&node.node.name),
        };
        let candidate = Candidate {
            node: index,
            group,
            id,
            utilization: utilization_of(context, index, group, id, &devices),
        };
        candidates.push((turn, candidate));
    }
    let share = |candidate: &Candidate| match &candidate.utilization {
        Ok(utilization) => utilization.value,
        Err(_) => f64::INFINITY,
    };
    let name = |candidate: &Candidate| &context.nodes[candidate.node].node.name;
    candidates.sort_by(|(a_turn, a), (b_turn, b)| {
        a_turn
            .cmp(b_turn)
            .then_with(|| share(a).total_cmp(&share(b)))
            .then_with(|| name(a).cmp(name(b)))
    });
    candidates.into_iter().map(|(_, it)| it).collect()
}

fn utilization_of(
    context: &Loop<'_>,
    node: usize,
    group: usize,
    id: Option<NodeId>,
    devices: &Devices<'_>,
) -> Result<Utilization, UtilizationError> {
    let settings = context
        .config
        .node_group_settings(&context.cluster.groups[group].options);
    let ignored = Ignored {
        daemonset_pods: settings.ignore_daemonsets_utilization,
        mirror_pods: context.config.scale_down.ignore_mirror_pods_utilization,
    };
    let node = &context.nodes[node].node;
    let devices = (devices, &context.snapshot);
    utilization::of_node(node, id, ignored, devices, context.now)
}
