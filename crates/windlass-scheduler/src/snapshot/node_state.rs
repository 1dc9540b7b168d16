use std::sync::Arc;

use windlass_model::{CsiNode, Node, Pod, ResourceSlice};

use crate::dimensions::Amounts;
use crate::free_tree::Free;

/// A node with its pods.
#[derive(Clone, Debug)]
pub(crate) struct NodeState {
    pub(crate) node: Arc<Node>,
    pub(crate) class: u32,
    pub(crate) allocatable: Amounts,
    pub(crate) requested: Amounts,
    pub(crate) max_pods: i64,
    pub(crate) pods: Vec<Placed>,
    /// How many of the pods have host ports.
    pub(crate) with_ports: u32,
    /// How many of the pods have volumes that matter.
    pub(crate) with_volumes: u32,
    pub(crate) brought: Option<Box<Brought>>,
}

/// A pod on a node.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) pod: Arc<Pod>,
    pub(crate) shape: u32,
}

/// What a node made from a template brings with it.
#[derive(Clone, Debug)]
pub(crate) struct Brought {
    pub(crate) slices: Vec<Arc<ResourceSlice>>,
    pub(crate) csi_node: Option<Arc<CsiNode>>,
}

impl NodeState {
    pub(crate) fn free(&self) -> Free {
        let core = |i: usize| self.allocatable.core[i].wrapping_sub(self.requested.core[i]);
        [core(0), core(1), core(2), self.free_pods()]
    }

    pub(crate) fn free_pods(&self) -> i64 {
        let pods = i64::try_from(self.pods.len()).unwrap_or(i64::MAX);
        self.max_pods.saturating_sub(pods)
    }
}
