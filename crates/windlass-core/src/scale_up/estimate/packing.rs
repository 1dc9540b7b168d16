//! First fit in the snapshot, pod by pod.

use std::sync::Arc;

use rustc_hash::FxHashSet;
use windlass_model::{NodeTemplate, Pod};
use windlass_scheduler::NodeId;

use super::{NodeLimit, Packed};
use crate::{TimeLimit, decide::Loop, pending::PendingPods, scale_up::classes::PodClass, template};

const HOSTNAME: &str = "kubernetes.io/hostname";
const SPREAD_REASON: &str = "node(s) didn't match pod topology spread constraints";

/// Packs the classes, in order, onto new nodes; the snapshot is left as it was.
pub(super) fn pack(
    context: &mut Loop<'_>,
    pending: &PendingPods,
    template: &NodeTemplate,
    limit: NodeLimit,
    classes: &[&PodClass],
) -> Packed {
    context.snapshot.fork();
    let mut packing = Packing {
        context,
        template,
        limit,
        created: Vec::new(),
        is_used: Vec::new(),
        real_nodes: FxHashSet::default(),
        packed: Packed::default(),
        may_add_nodes: true,
    };
    for class in classes {
        packing.place_class(pending, class);
    }
    let used = packing.is_used.iter().filter(|is_used| **is_used).count();
    let mut packed = packing.packed;
    packed.nodes = used + packing.real_nodes.len();
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
    packed: Packed,
    may_add_nodes: bool,
}

impl Packing<'_, '_> {
    fn place_class(&mut self, pending: &PendingPods, class: &PodClass) {
        let mut placed = class
            .pods
            .iter()
            .take_while(|index| self.place_on_created(pending.pod(**index)))
            .count();
        if self.may_add_nodes {
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
            if self.context.snapshot.fits(pod, self.created[last]) {
                self.put(pod, last);
                return true;
            }
            if self.place_for_spread(pod, last) {
                return true;
            }
            if !self.is_used[last] {
                return false;
            }
        }
        let is_spent = self.context.budget.is_spent(TimeLimit::NodeGroupBinpacking);
        if is_spent || !self.limit.allows(self.created.len()) {
            self.may_add_nodes = false;
            return false;
        }
        let suffix = format!("e-{}", self.created.len());
        let node = template::copy_of(self.template, &suffix, None);
        let node = template::add_new_node(&mut self.context.snapshot, node);
        self.created.push(node);
        self.is_used.push(false);
        let fits = self.context.snapshot.fits(pod, node);
        if fits {
            self.put(pod, self.created.len() - 1);
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
