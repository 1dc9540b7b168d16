use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_model::{Cluster, CsiNode, Node, Pod, ResourceSlice, Resources, SmolStr};

use crate::filters;
use crate::profile::Profile;
use crate::rejection::Rejection;

/// A node of a [`Snapshot`]: good until that node is removed, or its adding reverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// Nodes and the pods on them, made for asking.
///
/// Changes made after a [`Snapshot::fork`] are undone by [`Snapshot::revert`] at a cost that
/// grows with the changes, not with the cluster.
#[derive(Clone, Debug)]
pub struct Snapshot {
    slots: Vec<Option<NodeState>>,
    /// Slots in the order in which their nodes were added.
    order: Vec<NodeId>,
    by_name: FxHashMap<SmolStr, NodeId>,
    /// The index in `order` of the last match of [`Snapshot::first_fit`].
    cursor: usize,
    forks: Vec<usize>,
    undo: Vec<Change>,
}

#[derive(Clone, Debug)]
struct NodeState {
    node: Arc<Node>,
    allocatable: Resources,
    requested: Resources,
    pods: Vec<Arc<Pod>>,
}

#[derive(Clone, Debug)]
enum Change {
    AddedNode(NodeId),
    RemovedNode(NodeId, usize, Box<NodeState>),
    ReplacedNode(NodeId, Arc<Node>),
    AddedPod(NodeId),
    RemovedPod(NodeId, usize, Arc<Pod>),
}

impl Snapshot {
    /// A snapshot without nodes of the cluster's objects that checks read: volumes, namespaces,
    /// services, workloads, devices. The cluster's own nodes and pods are not taken.
    pub fn new(_cluster: &Cluster, _profile: &Profile) -> Self {
        Self {
            slots: Vec::new(),
            order: Vec::new(),
            by_name: FxHashMap::default(),
            cursor: 0,
            forks: Vec::new(),
            undo: Vec::new(),
        }
    }

    /// Adds a node, last in order.
    pub fn add_node(&mut self, node: Arc<Node>) -> NodeId {
        self.add_node_with(node, &[], None)
    }

    /// Adds a node that brings its devices and CSI drivers, as one made from a template does.
    pub fn add_node_with(
        &mut self,
        node: Arc<Node>,
        _slices: &[Arc<ResourceSlice>],
        _csi_node: Option<Arc<CsiNode>>,
    ) -> NodeId {
        let id = NodeId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.by_name.insert(node.name.clone(), id);
        self.slots.push(Some(NodeState {
            allocatable: Resources::from_list(&node.allocatable),
            requested: Resources::default(),
            pods: Vec::new(),
            node,
        }));
        self.order.push(id);
        self.log(Change::AddedNode(id));
        id
    }

    /// Removes a node with its pods.
    pub fn remove_node(&mut self, id: NodeId) {
        let Some(position) = self.order.iter().position(|other| *other == id) else {
            return;
        };
        let Some(state) = self.slots[id.0 as usize].take() else {
            return;
        };
        self.order.remove(position);
        self.by_name.remove(&state.node.name);
        self.log(Change::RemovedNode(id, position, Box::new(state)));
    }

    /// Puts another version of a node (other labels, taints, allocatable) in its place; its pods
    /// stay.
    pub fn replace_node(&mut self, id: NodeId, node: Arc<Node>) {
        let old = self.swap_node(id, node);
        self.log(Change::ReplacedNode(id, old));
    }

    /// Puts a pod on a node, without a check.
    pub fn add_pod(&mut self, pod: &Arc<Pod>, id: NodeId) {
        let state = self.state_mut(id);
        state.requested.add(pod.requests_on_node());
        state.pods.push(Arc::clone(pod));
        self.log(Change::AddedPod(id));
    }

    /// Takes a pod off a node; whether it was there, by namespace, name and uid.
    pub fn remove_pod(&mut self, pod: &Arc<Pod>, id: NodeId) -> bool {
        let state = self.state_mut(id);
        let is_it = |other: &Arc<Pod>| {
            Arc::ptr_eq(other, pod)
                || other.name == pod.name
                    && other.namespace() == pod.namespace()
                    && other.uid == pod.uid
        };
        let Some(index) = state.pods.iter().position(is_it) else {
            return false;
        };
        let removed = state.pods.remove(index);
        state.requested.subtract(removed.requests_on_node());
        self.log(Change::RemovedPod(id, index, removed));
        true
    }

    /// The node.
    pub fn node(&self, id: NodeId) -> &Arc<Node> {
        &self.state(id).node
    }

    /// The node of this name.
    pub fn node_id(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    /// All nodes, in the order in which they were added.
    pub fn node_ids(&self) -> impl ExactSizeIterator<Item = NodeId> + '_ {
        self.order.iter().copied()
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.order.len()
    }

    /// The pods on a node, in the order in which they were added.
    pub fn pods_on(&self, id: NodeId) -> impl ExactSizeIterator<Item = &Arc<Pod>> + '_ {
        self.state(id).pods.iter()
    }

    /// What the pods on a node request together.
    pub fn requested(&self, id: NodeId) -> Resources {
        self.state(id).requested.clone()
    }

    /// What pods may request of a node together.
    pub fn allocatable(&self, id: NodeId) -> Resources {
        self.state(id).allocatable.clone()
    }

    /// Opens a fork: what is changed from here on can be undone.
    pub fn fork(&mut self) {
        self.forks.push(self.undo.len());
    }

    /// Keeps what was changed since the last fork, as part of the fork before it if there is
    /// one. Without a fork it does nothing.
    pub fn commit(&mut self) {
        self.forks.pop();
        if self.forks.is_empty() {
            self.undo.clear();
        }
    }

    /// Undoes what was changed since the last fork. Without a fork it does nothing.
    pub fn revert(&mut self) {
        let Some(mark) = self.forks.pop() else {
            return;
        };
        while self.undo.len() > mark {
            if let Some(change) = self.undo.pop() {
                self.undo_change(change);
            }
        }
    }

    /// Whether `pod` fits on the node, and if not, what said no.
    /// Source: the cluster-autoscaler's `CheckPredicates`.
    pub fn check(&mut self, pod: &Arc<Pod>, id: NodeId) -> Result<(), Rejection> {
        let state = self.state(id);
        let constraints = &pod.shape.constraints;
        filters::unschedulable(&constraints.tolerations, &state.node)?;
        filters::node_name(constraints, &state.node)?;
        filters::taints(&constraints.tolerations, &state.node)?;
        filters::node_affinity(constraints, &state.node)?;
        filters::host_ports(&constraints.host_ports, state.pods.iter())?;
        filters::resources(
            &pod.shape.requests,
            state.pods.len(),
            &state.allocatable,
            &state.requested,
        )
    }

    /// The verdict of [`Snapshot::check`] without the reasons.
    pub fn fits(&mut self, pod: &Arc<Pod>, id: NodeId) -> bool {
        self.check(pod, id).is_ok()
    }

    /// The first node, after the last one that this function found, on which `pod` fits and that
    /// `accept` takes. Cordoned nodes are passed over, whatever the pod tolerates.
    /// Source: the cluster-autoscaler's `SchedulePodOnAnyNodeMatching`.
    pub fn first_fit(
        &mut self,
        pod: &Arc<Pod>,
        mut accept: impl FnMut(NodeId) -> bool,
    ) -> Option<NodeId> {
        let count = self.order.len();
        for offset in 0..count {
            let index = (self.cursor + 1 + offset) % count;
            let id = self.order[index];
            if !self.node(id).unschedulable && accept(id) && self.fits(pod, id) {
                self.cursor = index;
                return Some(id);
            }
        }
        None
    }

    /// Everything that keeps `pod` off the node, for people: all that fail, not only the first.
    pub fn explain(&mut self, pod: &Arc<Pod>, id: NodeId) -> Vec<Rejection> {
        self.check(pod, id).err().into_iter().collect()
    }

    fn log(&mut self, change: Change) {
        if !self.forks.is_empty() {
            self.undo.push(change);
        }
    }

    fn undo_change(&mut self, change: Change) {
        match change {
            Change::AddedNode(id) => {
                self.order.pop();
                if let Some(Some(state)) = self.slots.pop() {
                    self.by_name.remove(&state.node.name);
                }
                debug_assert_eq!(self.slots.len(), id.0 as usize);
            }
            Change::RemovedNode(id, position, state) => {
                self.order.insert(position, id);
                self.by_name.insert(state.node.name.clone(), id);
                self.slots[id.0 as usize] = Some(*state);
            }
            Change::ReplacedNode(id, node) => {
                self.swap_node(id, node);
            }
            Change::AddedPod(id) => {
                let state = self.state_mut(id);
                if let Some(pod) = state.pods.pop() {
                    state.requested.subtract(pod.requests_on_node());
                }
            }
            Change::RemovedPod(id, index, pod) => {
                let state = self.state_mut(id);
                state.requested.add(pod.requests_on_node());
                state.pods.insert(index, pod);
            }
        }
    }

    fn swap_node(&mut self, id: NodeId, node: Arc<Node>) -> Arc<Node> {
        let state = self.state_mut(id);
        state.allocatable = Resources::from_list(&node.allocatable);
        let name = node.name.clone();
        let old = std::mem::replace(&mut state.node, node);
        self.by_name.remove(&old.name);
        self.by_name.insert(name, id);
        old
    }

    fn state(&self, id: NodeId) -> &NodeState {
        self.slots[id.0 as usize]
            .as_ref()
            .expect("a NodeId is used only while its node is in the snapshot")
    }

    fn state_mut(&mut self, id: NodeId) -> &mut NodeState {
        self.slots[id.0 as usize]
            .as_mut()
            .expect("a NodeId is used only while its node is in the snapshot")
    }
}
