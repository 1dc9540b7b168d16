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
}

/// What one loop knows of one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupState {
    /// Its nodes and instances.
    pub(crate) counts: Counts,
    /// The size now asked for, with what this loop has decided so far.
    pub(crate) target_size: i64,
    /// Nodes that are to come: asked for, and not yet ready, unready or suspended.
    pub(crate) upcoming: i64,
    /// Whether enough of its nodes are ready for it to be trusted with more.
    pub(crate) is_healthy: bool,
    /// Whether a failed scale-up keeps it from growing.
    pub(crate) is_backed_off: bool,
}

/// The groups with their nodes counted.
pub(crate) fn observe_groups(cluster: &Cluster, nodes: &[LoopNode]) -> Vec<GroupState> {
    let mut states: Vec<GroupState> = cluster
        .groups
        .iter()
        .map(|group| GroupState {
            target_size: group.target_size,
            ..GroupState::default()
        })
        .collect();
    for node in nodes {
        if let Some(group) = node.group {
            states[group].counts.add(node.readiness);
        }
    }
    states
}
