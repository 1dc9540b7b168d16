//! A kube-scheduler with the filters of production. Of the nodes that pass, the least allocated
//! one is taken, of equal ones the first. There is no preemption.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashSet;
use windlass_model::{Pod, PodScheduled, PodShape, Resources, SmolStr};
use windlass_scheduler::{NodeId, Snapshot};

use super::World;
use super::pods::{PodId, is_waiting};

impl World {
    /// Places every pod that waits and fits; whether anything changed.
    pub(super) fn schedule(&mut self) -> bool {
        let mut waiting: Vec<(PodId, Arc<Pod>)> = self
            .pods
            .iter()
            .filter(|(_, pod)| is_waiting(pod))
            .map(|(id, pod)| (id, Arc::clone(pod)))
            .collect();
        if waiting.is_empty() {
            return false;
        }
        waiting.sort_by_key(|(id, pod)| (Reverse(pod.priority()), *id));
        let mut snapshot = self.scheduler_snapshot();
        let mut hopeless: FxHashSet<*const PodShape> = FxHashSet::default();
        let mut placed: BTreeMap<SmolStr, usize> = BTreeMap::new();
        let mut newly_unschedulable = 0;
        for (id, pod) in waiting {
            let shape = Arc::as_ptr(&pod.shape);
            let node = if hopeless.contains(&shape) {
                None
            } else {
                best_node(&mut snapshot, &pod)
            };
            if let Some(node) = node {
                let name = snapshot.node(node).name.clone();
                let bound = self.bind(id, name.clone());
                snapshot.add_pod(&bound, node);
                *placed.entry(name).or_default() += 1;
                continue;
            }
            if !depends_on_other_pods(&pod) {
                hopeless.insert(shape);
            }
            if !matches!(pod.scheduled, PodScheduled::Unschedulable { .. }) {
                newly_unschedulable += 1;
                let since = Some(self.now);
                self.pods.update(id, |pod| {
                    pod.scheduled = PodScheduled::Unschedulable { since };
                });
            }
        }
        let changed = !placed.is_empty() || newly_unschedulable > 0;
        if newly_unschedulable > 0 {
            self.is_stale = true;
            self.wake();
        }
        self.log.scheduled(&placed, newly_unschedulable);
        changed
    }

    fn scheduler_snapshot(&mut self) -> Snapshot {
        self.refresh();
        let profile = self.profiles.of(self.cluster.scheduler_version);
        let mut snapshot = Snapshot::new(&self.cluster, profile);
        for node in &self.cluster.nodes {
            snapshot.add_node(Arc::clone(node));
        }
        for pod in &self.cluster.pods {
            if let Some(node) = &pod.node_name
                && !pod.phase.is_terminal()
                && let Some(node) = snapshot.node_id(node)
            {
                snapshot.add_pod(pod, node);
            }
        }
        snapshot
    }
}

/// Whether a pod that found no node may find one once another pod is placed.
fn depends_on_other_pods(pod: &Pod) -> bool {
    let constraints = &pod.shape.constraints;
    !constraints.affinity.is_empty() || !constraints.spread.is_empty()
}

fn best_node(snapshot: &mut Snapshot, pod: &Arc<Pod>) -> Option<NodeId> {
    let nodes: Vec<NodeId> = snapshot.node_ids().collect();
    let mut best: Option<(i64, NodeId)> = None;
    for node in nodes {
        if !snapshot.fits(pod, node) {
            continue;
        }
        let score = free_share(snapshot, pod, node);
        if best.is_none_or(|(most, _)| score > most) {
            best = Some((score, node));
        }
    }
    best.map(|(_, node)| node)
}

/// The mean share of cpu and memory that stays free, in thousandths of a percent.
/// Source: `noderesources/least_allocated.go`.
fn free_share(snapshot: &Snapshot, pod: &Pod, node: NodeId) -> i64 {
    let allocatable = snapshot.allocatable(node);
    let mut requested = snapshot.requested(node);
    requested.add(&pod.shape.requests);
    let share = |of: fn(&Resources) -> i64| {
        let (all, used) = (of(&allocatable), of(&requested));
        if all <= 0 || used >= all {
            0
        } else {
            let free = i128::from(all - used) * 100_000 / i128::from(all);
            i64::try_from(free).unwrap_or(0)
        }
    };
    share(|resources| resources.milli_cpu).midpoint(share(|resources| resources.memory_bytes))
}
