use std::sync::Arc;

use windlass_config::Config;
use windlass_model::{Cluster, Node, NodeTemplate, Timestamp};
use windlass_scheduler::{Profile, Snapshot};

use crate::{
    Budget, Memory, Outcome, Plan,
    cluster_state::{self, GroupState, Readiness},
    drain,
    pending::{Standing, is_expendable, standing},
    scale_down,
};

/// What one loop is decided from.
pub struct Input<'a> {
    /// The world at this moment.
    pub cluster: &'a Cluster,
    /// What earlier loops remember.
    pub memory: &'a Memory,
    /// What came of the actions of earlier loops, since the last one.
    pub outcomes: &'a [Outcome],
    /// The flags.
    pub config: &'a Config,
    /// The start of the loop.
    pub now: Timestamp,
    /// The limits by duration.
    pub budget: &'a dyn Budget,
}

/// What one loop decided.
pub struct Decision {
    /// To be done, and said.
    pub plan: Plan,
    /// For the next loop.
    pub memory: Memory,
}

/// One loop under way: what it sees, what it has found out, and what it has decided so far.
pub(crate) struct Loop<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) config: &'a Config,
    pub(crate) now: Timestamp,
    pub(crate) outcomes: &'a [Outcome],
    pub(crate) budget: &'a dyn Budget,
    /// Nodes and pods, shared by all steps: pending pods that were placed stay placed.
    pub(crate) snapshot: Snapshot,
    /// The registered nodes, in the cluster's order.
    pub(crate) nodes: Vec<LoopNode>,
    /// What is known of each group, in the cluster's order.
    pub(crate) groups: Vec<GroupState>,
    /// What a new node of each group looks like, in the cluster's order.
    pub(crate) templates: Vec<Option<NodeTemplate>>,
    pub(crate) memory: Memory,
    pub(crate) plan: Plan,
}

/// A registered node as this loop sees it.
pub(crate) struct LoopNode {
    /// The node; a copy with `Ready` set to False where the loop overrides its readiness.
    pub(crate) node: Arc<Node>,
    /// Its group, an index into the cluster's groups.
    pub(crate) group: Option<usize>,
    /// How it counts.
    pub(crate) readiness: Readiness,
    /// It has not started, and a copy of its group's template stands for it in the snapshot: it
    /// is no candidate for scale-down and no destination.
    pub(crate) is_replaced: bool,
}

/// The snapshot that [`decide`] works on: all nodes, with the pods that are bound or nominated
/// to them, less expendable and finished ones.
pub fn prepare(cluster: &Cluster, config: &Config) -> Snapshot {
    let mut snapshot = Snapshot::new(cluster, &Profile::new(cluster.scheduler_version));
    for node in &cluster.nodes {
        snapshot.add_node(Arc::clone(node));
    }
    for pod in &cluster.pods {
        let (Standing::Scheduled(node) | Standing::Nominated(node)) = standing(pod, config) else {
            continue;
        };
        if is_expendable(pod, config) {
            continue;
        }
        if let Some(id) = snapshot.node_id(node) {
            snapshot.add_pod(pod, id);
        }
    }
    snapshot
}

/// Decides what one loop does. The same arguments give the same bytes. The snapshot is used up.
pub fn decide(input: &Input<'_>, snapshot: Snapshot) -> Decision {
    let mut context = observe(input, snapshot);
    scale_down::plan(&mut context);
    drain::advance(&mut context);
    let Loop { plan, memory, .. } = context;
    Decision { plan, memory }
}

fn observe<'a>(input: &Input<'a>, snapshot: Snapshot) -> Loop<'a> {
    let Input {
        cluster,
        memory,
        outcomes,
        config,
        now,
        budget,
    } = *input;
    let nodes = cluster_state::readiness::observe_nodes(cluster, config, now);
    let groups = cluster_state::observe_groups(cluster, &nodes);
    Loop {
        cluster,
        config,
        now,
        outcomes,
        budget,
        snapshot,
        nodes,
        groups,
        templates: vec![None; cluster.groups.len()],
        memory: memory.clone(),
        plan: Plan::default(),
    }
}
