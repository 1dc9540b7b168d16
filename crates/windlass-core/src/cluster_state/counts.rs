use windlass_model::Cluster;

use super::Readiness;
use crate::decide::LoopNode;

/// Nodes and instances by how they count, of a group or of the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) registered: i64,
    pub(crate) deleted: i64,
    pub(crate) suspended: i64,
    pub(crate) ready: i64,
    pub(crate) not_started: i64,
    pub(crate) unready: i64,
    /// Of those unready, the ones that lack devices.
    pub(crate) resource_unready: i64,
    pub(crate) unregistered: i64,
    pub(crate) long_unregistered: i64,
}

impl Counts {
    pub(crate) fn add(&mut self, readiness: Readiness) {
        self.registered += 1;
        match readiness {
            Readiness::Deleted => self.deleted += 1,
            Readiness::Suspended => self.suspended += 1,
            Readiness::Ready => self.ready += 1,
            Readiness::NotStarted => self.not_started += 1,
            Readiness::Unready { is_resource } => {
                self.unready += 1;
                self.resource_unready += i64::from(is_resource);
            }
        }
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        let Self {
            registered,
            deleted,
            suspended,
            ready,
            not_started,
            unready,
            resource_unready,
            unregistered,
            long_unregistered,
        } = other;
        self.registered += registered;
        self.deleted += deleted;
        self.suspended += suspended;
        self.ready += ready;
        self.not_started += not_started;
        self.unready += unready;
        self.resource_unready += resource_unready;
        self.unregistered += unregistered;
        self.long_unregistered += long_unregistered;
    }

    /// Whether there is anything to count.
    pub(crate) fn is_empty(&self) -> bool {
        self.registered == 0 && self.unregistered == 0 && self.long_unregistered == 0
    }
}

/// What one loop knows of one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupState {
    /// Its nodes and instances.
    pub(crate) counts: Counts,
    /// The size now asked for, with what this loop has decided so far.
    pub(crate) target_size: i64,
    /// Nodes that are to come: asked for at the start of the loop, and not yet ready, unready
    /// or suspended.
    pub(crate) upcoming: i64,
    /// Nodes to come that the autoscaler knows that it asked for, and that pods may count on.
    pub(crate) counted_on: i64,
    /// Nodes that this loop has asked for and put into the snapshot.
    pub(crate) added_in_snapshot: i64,
    /// Whether enough of its nodes are ready for it to be trusted with more.
    pub(crate) is_healthy: bool,
    /// Whether a failed scale-up keeps it from growing.
    pub(crate) is_backed_off: bool,
    /// It has been asked for nodes that have not all come.
    pub(crate) is_scaling_up: bool,
}

/// The groups with their nodes counted, and the nodes of no group.
pub(crate) fn count_nodes(cluster: &Cluster, nodes: &[LoopNode]) -> (Vec<GroupState>, Counts) {
    let mut states: Vec<GroupState> = cluster
        .groups
        .iter()
        .map(|group| GroupState {
            target_size: group.target_size,
            is_healthy: true,
            ..GroupState::default()
        })
        .collect();
    let mut outside = Counts::default();
    for node in nodes {
        match node.group {
            Some(group) => states[group].counts.add(node.readiness),
            None => outside.add(node.readiness),
        }
    }
    (states, outside)
}
