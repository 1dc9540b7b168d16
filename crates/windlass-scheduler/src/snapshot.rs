mod checking;
mod counting;
mod node_state;
mod searching;

use std::sync::Arc;

use fixedbitset::FixedBitSet;
use rustc_hash::FxHashMap;
use windlass_model::{
    Allocation, Cluster, CsiNode, Node, ObjectName, Pod, ResourceSlice, Resources, SmolStr,
};

use crate::default_spread::DefaultSelectors;
use crate::devices::{ClaimBefore, Devices};
use crate::dimensions::Dimensions;
use crate::free_tree::FreeTree;
use crate::namespaces::Namespaces;
use crate::plugin::Plugin;
use crate::pod_affinity::PodAffinity;
use crate::profile::Profile;
use crate::rejection::Rejection;
use crate::relaxations::Relaxations;
use crate::shapes::Shapes;
use crate::spread::Spreads;
use crate::statics::Statics;
use crate::topology::Topology;
use crate::volumes::{VolumeCatalog, VolumePlan};

use node_state::{Alike, Brought, Placed, alike};
use searching::Memo;

pub(crate) use node_state::NodeState;

/// A node of a [`Snapshot`]: good until that node is removed, or its adding reverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(u32);

/// Nodes and the pods on them, made for asking.
///
/// Changes made after a [`Snapshot::fork`] are undone by [`Snapshot::revert`] at a cost that
/// grows with the changes, not with the cluster. What a question makes known (classes, counts)
/// is kept for the next one.
#[derive(Clone, Debug)]
pub struct Snapshot {
    profile: Arc<Profile>,
    /// The plugins that filter, a bit each.
    enabled: u16,
    /// Some plugin filters without what its `PreFilter` would have written: nothing fits.
    is_broken: bool,
    catalog: Arc<VolumeCatalog>,
    default_selectors: Arc<DefaultSelectors>,
    namespaces: Namespaces,
    dimensions: Dimensions,
    statics: Statics,
    topology: Topology,
    spreads: Spreads,
    affinity: PodAffinity,
    shapes: Shapes,
    /// By shape.
    memos: Vec<Memo>,
    volume_plans: FxHashMap<PlanKey, Arc<VolumePlan>>,
    devices: Devices,
    /// By slot, in the order in which nodes were added; a removed node leaves its slot vacant.
    nodes: Vec<Option<NodeState>>,
    /// Vacant slots, ascending.
    vacant: Vec<u32>,
    /// The slots of cordoned nodes, and of none.
    cordoned: FixedBitSet,
    by_name: FxHashMap<SmolStr, NodeId>,
    free: FreeTree,
    relaxations: Relaxations,
    /// The place in order of the last match of [`Snapshot::first_fit`].
    cursor: usize,
    forks: Vec<usize>,
    undo: Vec<Change>,
}

/// A shape, and the pod's name and uid where the plan is its own.
type PlanKey = (u32, Option<(SmolStr, SmolStr)>);

#[derive(Clone, Debug)]
enum Change {
    AddedNode(NodeId),
    RemovedNode(NodeId, Box<NodeState>),
    ReplacedNode(NodeId, Arc<Node>),
    /// So many pods, one behind the other.
    AddedPods(NodeId, u32),
    RemovedPod(NodeId, usize, Placed),
    /// What a claim to devices was before.
    Claim(ClaimBefore),
}

impl Snapshot {
    /// A snapshot without nodes of the cluster's objects that checks read: volumes, namespaces,
    /// services, workloads, devices. The cluster's own nodes and pods are not taken.
    pub fn new(cluster: &Cluster, profile: &Profile) -> Self {
        let is_broken = profile
            .filters()
            .iter()
            .any(|plugin| profile.is_broken(*plugin));
        let bits = profile.filters().iter().map(|plugin| plugin.bit());
        Self {
            enabled: bits.fold(0, |all, bit| all | bit),
            is_broken,
            catalog: Arc::new(VolumeCatalog::new(cluster)),
            default_selectors: Arc::new(DefaultSelectors::new(cluster)),
            namespaces: Namespaces::new(&cluster.namespaces),
            dimensions: Dimensions::default(),
            statics: Statics::new(profile),
            topology: Topology::default(),
            spreads: Spreads::default(),
            affinity: PodAffinity::default(),
            shapes: Shapes::default(),
            memos: Vec::new(),
            volume_plans: FxHashMap::default(),
            devices: Devices::new(cluster, profile.version()),
            nodes: Vec::new(),
            vacant: Vec::new(),
            cordoned: FixedBitSet::new(),
            by_name: FxHashMap::default(),
            free: FreeTree::default(),
            relaxations: Relaxations::default(),
            cursor: 0,
            forks: Vec::new(),
            undo: Vec::new(),
            profile: Arc::new(profile.clone()),
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
        slices: &[Arc<ResourceSlice>],
        csi_node: Option<Arc<CsiNode>>,
    ) -> NodeId {
        let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        let brought = (!slices.is_empty() || csi_node.is_some()).then(|| {
            Box::new(Brought {
                slices: slices.to_vec(),
                csi_node,
            })
        });
        let (allocatable, max_pods) = self.allocatable_of(&node);
        let class = self.statics.node_class(&node);
        self.enter_node(id.0, &node, class);
        self.by_name.insert(node.name.clone(), id);
        self.nodes.push(Some(NodeState {
            class,
            allocatable,
            requested: crate::dimensions::Amounts::default(),
            max_pods,
            pods: Vec::new(),
            with_ports: 0,
            with_volumes: 0,
            terminating: 0,
            brought,
            node,
        }));
        self.node_changed(id.0);
        self.log(Change::AddedNode(id));
        id
    }

    /// Removes a node with its pods. Devices that nobody else has reserved are given back.
    pub fn remove_node(&mut self, id: NodeId) {
        for pod in self.pods_with_devices(id) {
            let before = self.devices.release(&pod);
            self.log_claims(before);
        }
        if let Some(state) = self.take_node(id) {
            self.log(Change::RemovedNode(id, Box::new(state)));
        }
    }

    /// Puts another version of a node (other labels, taints, allocatable) in its place; its pods
    /// stay.
    pub fn replace_node(&mut self, id: NodeId, node: Arc<Node>) {
        let old = self.swap_node(id, node);
        self.log(Change::ReplacedNode(id, old));
    }

    /// Puts a pod on a node, without a check. Devices that it claims are allocated there if they
    /// can be.
    pub fn add_pod(&mut self, pod: &Arc<Pod>, id: NodeId) {
        let shape = self.shape_id(&pod.shape);
        let placed = Placed {
            pod: Arc::clone(pod),
            shape,
        };
        if self.shapes.get(shape).traits.has_devices
            && let Some(state) = &self.nodes[id.0 as usize]
        {
            let before = self.devices.reserve(pod, state);
            self.log_claims(before);
        }
        let index = self.state_at(id.0).pods.len();
        self.place(placed, id.0, index);
        self.log_added(id, 1);
    }

    /// Puts pods of one shape on a node, from the first on, as long as they fit; how many do.
    pub fn fill(&mut self, pods: &[&Arc<Pod>], id: NodeId) -> usize {
        let Some(first) = pods.first() else {
            return 0;
        };
        let shape = self.shape_id(&first.shape);
        if self.shapes.get(shape).traits.has_pre_filter {
            // Each pod is a question of its own.
            let mut fits = |pod: &&&Arc<Pod>| {
                let fits = self.fits(pod, id);
                if fits {
                    self.add_pod(pod, id);
                }
                fits
            };
            return pods.iter().take_while(|pod| fits(pod)).count();
        }
        let Ok(prepared) = self.pre_filter(first) else {
            return 0;
        };
        let mut added = 0;
        while let Some(next) = pods.get(added)
            && self.verdict(&prepared, id.0) == checking::Verdict::Fits
        {
            if !is_plain(next) {
                self.add_pod(next, id);
                added += 1;
                continue;
            }
            // Another plain one asks for the same again, and nothing else changes.
            let plain = pods[added..].iter().take_while(|pod| is_plain(pod));
            let count = plain.count().min(self.room_for(shape, id.0));
            self.place_alike(&pods[added..added + count], shape, id);
            added += count;
        }
        added
    }

    /// Puts plain pods of a shape on a node.
    fn place_alike(&mut self, pods: &[&Arc<Pod>], shape: u32, id: NodeId) {
        let alike = Alike {
            shape,
            are_terminating: false,
            count: u32::try_from(pods.len()).unwrap_or(u32::MAX),
        };
        self.count(alike, id.0);
        let of_shape = self.shapes.get(shape);
        if let Some(state) = &mut self.nodes[id.0 as usize] {
            state.take(of_shape, alike);
            state.pods.extend(pods.iter().map(|pod| Placed {
                pod: Arc::clone(pod),
                shape,
            }));
        }
        self.changed(id.0, Effect::Tightens);
        self.log_added(id, alike.count);
    }

    /// Takes a pod off a node; whether it was there, by namespace, name and uid. Devices that
    /// nobody else has reserved are given back.
    pub fn remove_pod(&mut self, pod: &Arc<Pod>, id: NodeId) -> bool {
        let is_it = |placed: &Placed| {
            let other = &placed.pod;
            Arc::ptr_eq(other, pod)
                || other.name == pod.name
                    && other.namespace() == pod.namespace()
                    && other.uid == pod.uid
        };
        let Some(index) = self.state_at(id.0).pods.iter().rposition(is_it) else {
            return false;
        };
        let placed = self.unplace(id.0, index);
        if self.shapes.get(placed.shape).traits.has_devices {
            let before = self.devices.release(&placed.pod);
            self.log_claims(before);
        }
        self.log(Change::RemovedPod(id, index, placed));
        true
    }

    /// The node.
    pub fn node(&self, id: NodeId) -> &Arc<Node> {
        &self.state_at(id.0).node
    }

    /// The node of this name.
    pub fn node_id(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied()
    }

    /// All nodes, in the order in which they were added.
    pub fn node_ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        let slots = self.nodes.iter().enumerate();
        slots
            .filter(|(_, state)| state.is_some())
            .map(|(slot, _)| NodeId(u32::try_from(slot).unwrap_or(u32::MAX)))
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.nodes.len() - self.vacant.len()
    }

    /// The pods on a node, in the order in which they were added.
    pub fn pods_on(&self, id: NodeId) -> impl ExactSizeIterator<Item = &Arc<Pod>> + '_ {
        self.state_at(id.0).pods.iter().map(|placed| &placed.pod)
    }

    /// How many of the pods on a node are being deleted.
    pub fn terminating_on(&self, id: NodeId) -> usize {
        self.state_at(id.0).terminating as usize
    }

    /// Whether a pod on some node keeps others away by required anti-affinity.
    pub fn has_anti_affinity(&self) -> bool {
        self.shapes.all.iter().any(|shape| {
            let is_placed = !shape.placements.is_empty() || !shape.terminating.is_empty();
            is_placed && !shape.shape.constraints.anti_affinity.is_empty()
        })
    }

    /// What the pods on a node request together; its `pods` is 0.
    pub fn requested(&self, id: NodeId) -> Resources {
        self.dimensions.resources(&self.state_at(id.0).requested)
    }

    /// What pods may request of a node together.
    pub fn allocatable(&self, id: NodeId) -> Resources {
        Resources::from_list(&self.state_at(id.0).node.allocatable)
    }

    /// What a claim to devices has got, here and now.
    pub fn device_allocation(&self, claim: &ObjectName) -> Option<&Allocation> {
        self.devices.allocation(claim)
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
        let prepared = self.pre_filter(pod)?;
        if self.is_left_out(&prepared, id.0) {
            return Err(checking::left_out(&prepared));
        }
        self.refusal(&prepared, id.0).map_or(Ok(()), Err)
    }

    /// The verdict of [`Snapshot::check`] without the reasons.
    pub fn fits(&mut self, pod: &Arc<Pod>, id: NodeId) -> bool {
        let Ok(prepared) = self.pre_filter(pod) else {
            return false;
        };
        !self.is_left_out(&prepared, id.0)
            && self.verdict(&prepared, id.0) == checking::Verdict::Fits
    }

    /// Everything that keeps `pod` off the node, for people: all that fail, not only the first.
    /// A failure of `PreFilter` is the only one then.
    pub fn explain(&mut self, pod: &Arc<Pod>, id: NodeId) -> Vec<Rejection> {
        let prepared = match self.pre_filter(pod) {
            Ok(prepared) => prepared,
            Err(rejection) => return vec![rejection],
        };
        let mut rejections = Vec::new();
        if self.is_left_out(&prepared, id.0) {
            rejections.push(checking::left_out(&prepared));
        }
        let profile = Arc::clone(&self.profile);
        for plugin in profile.filters() {
            rejections.extend(self.refusal_of(*plugin, &prepared, id.0));
        }
        rejections
    }

    fn pods_with_devices(&self, id: NodeId) -> Vec<Arc<Pod>> {
        let state = self.nodes.get(id.0 as usize).and_then(Option::as_ref);
        let placed = state.map_or(&[][..], |state| &state.pods);
        let have_devices = |placed: &&Placed| self.shapes.get(placed.shape).traits.has_devices;
        let placed = placed.iter().filter(have_devices);
        placed.map(|placed| Arc::clone(&placed.pod)).collect()
    }

    fn enabled(&self, plugin: Plugin) -> bool {
        self.enabled & plugin.bit() != 0
    }

    fn log(&mut self, change: Change) {
        if !self.forks.is_empty() {
            self.undo.push(change);
        }
    }

    fn log_added(&mut self, id: NodeId, count: u32) {
        let Some(mark) = self.forks.last() else {
            return;
        };
        // What was logged before the fork stays when the fork is undone.
        if let Some(Change::AddedPods(last, before)) = self.undo[*mark..].last_mut()
            && *last == id
        {
            *before += count;
            return;
        }
        self.undo.push(Change::AddedPods(id, count));
    }

    fn log_claims(&mut self, before: Vec<ClaimBefore>) {
        for before in before {
            self.log(Change::Claim(before));
        }
    }

    fn undo_change(&mut self, change: Change) {
        match change {
            Change::AddedNode(id) => {
                self.take_node(id);
                self.nodes.pop();
                self.vacant.pop();
            }
            Change::RemovedNode(id, state) => {
                if let Ok(index) = self.vacant.binary_search(&id.0) {
                    self.vacant.remove(index);
                }
                self.enter_node(id.0, &state.node, state.class);
                self.count_pods_of(&state, id.0);
                self.by_name.insert(state.node.name.clone(), id);
                self.nodes[id.0 as usize] = Some(*state);
                self.node_changed(id.0);
            }
            Change::ReplacedNode(id, node) => {
                self.swap_node(id, node);
            }
            Change::AddedPods(id, count) => self.unplace_last(id.0, count as usize),
            Change::RemovedPod(id, index, placed) => self.place(placed, id.0, index),
            Change::Claim(before) => self.devices.restore(before),
        }
    }

    fn take_node(&mut self, id: NodeId) -> Option<NodeState> {
        let state = self.nodes.get_mut(id.0 as usize)?.take()?;
        self.uncount_pods_of(&state, id.0);
        self.leave_node(id.0);
        if self.by_name.get(&state.node.name) == Some(&id) {
            self.by_name.remove(&state.node.name);
        }
        let index = self.vacant.partition_point(|slot| *slot < id.0);
        self.vacant.insert(index, id.0);
        // The node itself can take nothing now, but others may where its pods stood in the way.
        self.node_changed(id.0);
        Some(state)
    }

    fn swap_node(&mut self, id: NodeId, node: Arc<Node>) -> Arc<Node> {
        let Some(mut state) = self.nodes[id.0 as usize].take() else {
            return node;
        };
        self.uncount_pods_of(&state, id.0);
        self.leave_node(id.0);
        (state.allocatable, state.max_pods) = self.allocatable_of(&node);
        state.class = self.statics.node_class(&node);
        self.by_name.remove(&state.node.name);
        self.by_name.insert(node.name.clone(), id);
        let old = std::mem::replace(&mut state.node, node);
        self.enter_node(id.0, &state.node, state.class);
        self.count_pods_of(&state, id.0);
        self.nodes[id.0 as usize] = Some(state);
        self.node_changed(id.0);
        old
    }

    fn place(&mut self, placed: Placed, slot: u32, index: usize) {
        self.count(placed.alone(), slot);
        let resized = self.resized_request(&placed.pod);
        let shape = self.shapes.get(placed.shape);
        let (traits, request) = (shape.traits, resized.as_ref().unwrap_or(&shape.request));
        if let Some(state) = &mut self.nodes[slot as usize] {
            state.requested.add(request);
            state.with_ports += u32::from(traits.has_ports);
            state.with_volumes += u32::from(traits.has_volumes);
            state.terminating += u32::from(placed.is_terminating());
            state.pods.insert(index, placed);
        }
        self.changed(slot, Effect::Tightens);
    }

    fn unplace(&mut self, slot: u32, index: usize) -> Placed {
        let placed = self.state_mut(slot).pods.remove(index);
        self.uncount(placed.alone(), slot);
        self.release(&placed, slot);
        self.changed(slot, Effect::Relaxes);
        placed
    }

    fn unplace_last(&mut self, slot: u32, count: usize) {
        let pods = &mut self.state_mut(slot).pods;
        let gone = pods.split_off(pods.len() - count);
        for pods in alike(&gone) {
            self.uncount(pods, slot);
        }
        for pods in gone.chunk_by(|a, b| is_plain(&a.pod) && is_plain(&b.pod) && a.shape == b.shape)
        {
            if !is_plain(&pods[0].pod) {
                self.release(&pods[0], slot);
                continue;
            }
            let of_shape = self.shapes.get(pods[0].shape);
            let alike = Alike {
                count: u32::try_from(pods.len()).unwrap_or(u32::MAX),
                ..pods[0].alone()
            };
            if let Some(state) = &mut self.nodes[slot as usize] {
                state.give_back(of_shape, alike);
            }
        }
        self.changed(slot, Effect::Relaxes);
    }

    /// Takes what a pod takes of a node from what is taken there.
    fn release(&mut self, placed: &Placed, slot: u32) {
        let resized = self.resized_request(&placed.pod);
        let shape = self.shapes.get(placed.shape);
        let (traits, request) = (shape.traits, resized.as_ref().unwrap_or(&shape.request));
        if let Some(state) = &mut self.nodes[slot as usize] {
            state.requested.subtract(request);
            state.with_ports -= u32::from(traits.has_ports);
            state.with_volumes -= u32::from(traits.has_volumes);
            state.terminating -= u32::from(placed.is_terminating());
        }
    }

    fn resized_request(&mut self, pod: &Pod) -> Option<crate::dimensions::Request> {
        let resized = pod.resized_requests.as_deref()?;
        let devices = &self.devices;
        let is_mapped = |name: &str| devices.maps(name);
        Some(self.dimensions.request(resized, &self.profile, is_mapped))
    }

    fn allocatable_of(&mut self, node: &Node) -> (crate::dimensions::Amounts, i64) {
        let resources = Resources::from_list(&node.allocatable);
        let devices = &self.devices;
        let is_mapped = |name: &str| devices.maps(name);
        let amounts = self
            .dimensions
            .amounts(&resources, &self.profile, is_mapped);
        (amounts, resources.pods)
    }

    /// Takes in that there is another node in a slot, or none.
    fn node_changed(&mut self, slot: u32) {
        let index = slot as usize;
        let state = self.nodes.get(index).and_then(Option::as_ref);
        let is_out = state.is_none_or(|state| state.node.unschedulable);
        self.cordoned.grow(index + 1);
        self.cordoned.set(index, is_out);
        self.changed(slot, Effect::Relaxes);
    }

    fn changed(&mut self, slot: u32, effect: Effect) {
        self.free.touch(slot);
        if effect == Effect::Relaxes {
            self.relaxations.log(slot);
        }
    }

    fn state_at(&self, slot: u32) -> &NodeState {
        self.nodes[slot as usize]
            .as_ref()
            .expect("a NodeId is used only while its node is in the snapshot")
    }

    fn state_mut(&mut self, slot: u32) -> &mut NodeState {
        self.nodes[slot as usize]
            .as_mut()
            .expect("a NodeId is used only while its node is in the snapshot")
    }
}

/// Whether a pod requests just what its shape does, and is not on its way out.
fn is_plain(pod: &Pod) -> bool {
    pod.resized_requests.is_none() && pod.deletion_timestamp.is_none()
}

/// What a change may do to pods that did not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// One may fit now.
    Relaxes,
    /// None fits because of it.
    Tightens,
}
