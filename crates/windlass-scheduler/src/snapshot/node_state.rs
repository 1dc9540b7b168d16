use std::sync::Arc;

use windlass_model::{CsiNode, Node, Pod, ResourceSlice};

use crate::dimensions::Amounts;
use crate::free_tree::Free;
use crate::shapes::Shape;

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
    /// How many of the pods are being deleted.
    pub(crate) terminating: u32,
    pub(crate) brought: Option<Box<Brought>>,
}

/// A pod on a node.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) pod: Arc<Pod>,
    pub(crate) shape: u32,
}

/// Pods on one node that counts cannot tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alike {
    pub(crate) shape: u32,
    pub(crate) are_terminating: bool,
    pub(crate) count: u32,
}

impl Placed {
    pub(crate) fn is_terminating(&self) -> bool {
        self.pod.deletion_timestamp.is_some()
    }

    pub(crate) fn alone(&self) -> Alike {
        Alike {
            shape: self.shape,
            are_terminating: self.is_terminating(),
            count: 1,
        }
    }
}

/// Pods next to each other that are alike, together.
pub(crate) fn alike(pods: &[Placed]) -> impl Iterator<Item = Alike> + '_ {
    let is_same =
        |a: &Placed, b: &Placed| a.shape == b.shape && a.is_terminating() == b.is_terminating();
    pods.chunk_by(is_same).map(|pods| Alike {
        count: u32::try_from(pods.len()).unwrap_or(u32::MAX),
        ..pods[0].alone()
    })
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

    /// Takes what pods of a shape take, which request what the shape does.
    pub(crate) fn take(&mut self, shape: &Shape, pods: Alike) {
        self.requested
            .add_times(&shape.request, i64::from(pods.count));
        self.with_ports += pods.count * u32::from(shape.traits.has_ports);
        self.with_volumes += pods.count * u32::from(shape.traits.has_volumes);
        self.terminating += pods.count * u32::from(pods.are_terminating);
    }

    /// Undoes [`Self::take`].
    pub(crate) fn give_back(&mut self, shape: &Shape, pods: Alike) {
        self.requested
            .subtract_times(&shape.request, i64::from(pods.count));
        self.with_ports -= pods.count * u32::from(shape.traits.has_ports);
        self.with_volumes -= pods.count * u32::from(shape.traits.has_volumes);
        self.terminating -= pods.count * u32::from(pods.are_terminating);
    }

    pub(crate) fn free_pods(&self) -> i64 {
        let pods = i64::try_from(self.pods.len()).unwrap_or(i64::MAX);
        self.max_pods.saturating_sub(pods)
    }
}
