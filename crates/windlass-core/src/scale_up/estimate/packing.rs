//! First fit in the snapshot, pod by pod.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use windlass_model::{NodeTemplate, Pod};
use windlass_scheduler::NodeId;

use super::{NodeLimit, Packed};
use crate::{TimeLimit, decide::Loop, pending::PendingPods, scale_up::classes::PodClass, template};

const HOSTNAME: &str = "kubernetes.io/hostname";
const SPREAD_REASON: &str = "node(s) didn't match pod topology spread constraints";

/// How the nodes of the last class are counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LastClass {
    /// As those of the others.
    Tried,
    /// By filling one node and dividing: `--fastpath-binpacking-enabled`.
    Divided,
}

/// Packs the classes, in order, onto new nodes; the snapshot is left as it was.
pub(super) fn pack(
    context: &mut Loop<'_>,
    pending: &PendingPods,
    template: &NodeTemplate,
    limit: NodeLimit,
    classes: &[&PodClass],
    last: LastClass,
) -> Packed {
    context.snapshot.fork();
    let mut packing = Packing {
        context,
        template,
        limit,
        created: Vec::new(),
        is_used: Vec::new(),
        real_nodes: FxHashSet::default(),
        divided_nodes: 0,
        packed: Packed::default(),
        may_add_nodes: true,
    };
    for (place, class) in classes.iter().enumerate() {
        let is_divided = last == LastClass::Divided && place + 1 == classes.len();
        packing.place_class(pending, class, is_divided);
    }
    let used = packing.is_used.iter().filter(|is_used| **is_used).count();
    let mut packed = packing.packed;
    packed.nodes = used + packing.real_nodes.len() + packing.divided_nodes;
    context.snapshot.revert();
    packed
}

struct Packing<'p, 'a> {
    context: &'p mut Loop<'a>,
    template: &'p NodeTemplate,
    limit: NodeLimit,
    /// Nodes added by this estimation, in order; the last is the one being filled.
    created: Vec<NodeId>,
    /// Of those, which hold a pod.
    is_used: Vec<bool>,
    /// Nodes that were there before and took a pod.
    real_nodes: FxHashSet<NodeId>,
    /// Nodes that a division asks for.
    divided_nodes: usize,
    packed: Packed,
    may_add_nodes: bool,
}

impl Packing<'_, '_> {
    fn place_class(&mut self, pending: &PendingPods, class: &PodClass, is_divided: bool) {
        let mut placed = class
            .pods
            .iter()
            .take_while(|index| self.place_on_created(pending.pod(**index)))
            .count();
        if self.may_add_nodes && is_divided {
            let left: Vec<&Arc<Pod>> = class.pods[placed..]
                .iter()
                .map(|index| pending.pod(*index))
                .collect();
            placed += self.place_by_division(&left);
        } else if self.may_add_nodes {
            placed += class.pods[placed..]
                .iter()
                .take_while(|index| self.place_on_last_or_new(pending.pod(**index)))
                .count();
        }
        self.packed.add(class, &class.pods[..placed]);
    }

    fn place_on_created(&mut self, pod: &Arc<Pod>) -> bool {
        let Some(first) = self.created.first().copied() else {
            return false;
        };
        let Some(node) = self.context.snapshot.first_fit(pod, |node| node >= first) else {
            return false;
        };
        match self.created.binary_search(&node) {
            Ok(place) => {
                self.put(pod, place);
                true
            }
            Err(_) => false,
        }
    }

    /// Whether it found a place, so that the rest of its class may go on.
    fn place_on_last_or_new(&mut self, pod: &Arc<Pod>) -> bool {
        if let Some(last) = self.created.len().checked_sub(1) {
            if self.put_on_last(pod) {
                return true;
            }
            if self.place_for_spread(pod, last) {
                return true;
            }
            if !self.is_used[last] {
                return false;
            }
        }
        if !self.may_add_one_more() {
            return false;
        }
        self.add_node();
        self.put_on_last(pod)
    }

    /// Fills one new node and divides; how many pods found a place.
    fn place_by_division(&mut self, pods: &[&Arc<Pod>]) -> usize {
        if pods.is_empty() || !self.may_add_one_more() {
            return 0;
        }
        self.add_node();
        let per_node = pods.iter().take_while(|pod| self.put_on_last(pod)).count();
        if per_node == 0 {
            return 0;
        }
        let wanted = pods.len().div_ceil(per_node) - 1;
        let further = (0..wanted)
            .take_while(|_| {
                let is_allowed = self.may_add_one_more();
                self.divided_nodes += usize::from(is_allowed);
                is_allowed
            })
            .count();
        pods.len().min(per_node * (1 + further))
    }

    fn may_add_one_more(&mut self) -> bool {
        let is_spent = self.context.budget.is_spent(TimeLimit::NodeGroupBinpacking);
        let nodes = self.created.len() + self.divided_nodes;
        self.may_add_nodes = !is_spent && self.limit.allows(nodes);
        self.may_add_nodes
    }

    fn add_node(&mut self) {
        let suffix = format!("e-{}", self.created.len());
        let node = template::copy_of(self.template, &suffix, None);
        let node = template::add_new_node(&mut self.context.snapshot, node);
        self.created.push(node);
        self.is_used.push(false);
    }

    /// Puts the pod on the node created last, if it fits there.
    fn put_on_last(&mut self, pod: &Arc<Pod>) -> bool {
        let Some(last) = self.created.len().checked_sub(1) else {
            return false;
        };
        let fits = self.context.snapshot.fits(pod, self.created[last]);
        if fits {
            self.put(pod, last);
        }
        fits
    }

    /// A pod that the last node would crowd may go to any other node, a real one too, which then
    /// counts as one that is needed: so does the Go autoscaler.
    fn place_for_spread(&mut self, pod: &Arc<Pod>, last: usize) -> bool {
        let spreads_over_hosts = pod
            .shape
            .constraints
            .spread
            .iter()
            .any(|constraint| constraint.topology_key == HOSTNAME);
        if !spreads_over_hosts {
            return false;
        }
        let last = self.created[last];
        let is_crowded = self
            .context
            .snapshot
            .check(pod, last)
            .is_err_and(|rejection| rejection.reasons.iter().any(|text| text == SPREAD_REASON));
        if !is_crowded {
            return false;
        }
        let Some(node) = self.context.snapshot.first_fit(pod, |node| node != last) else {
            return false;
        };
        if let Ok(place) = self.created.binary_search(&node) {
            self.put(pod, place);
        } else {
            self.context.snapshot.add_pod(pod, node);
            self.real_nodes.insert(node);
        }
        true
    }

    fn put(&mut self, pod: &Arc<Pod>, place: usize) {
        self.context.snapshot.add_pod(pod, self.created[place]);
        self.is_used[place] = true;
    }
}
