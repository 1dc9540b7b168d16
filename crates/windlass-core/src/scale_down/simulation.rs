//! Would the pods of a node find another place. Source: `pkg/simulator/cluster.go`,
//! `pkg/core/scaledown/planner/planner.go`.
//!
//! Removals are tried in the candidates' order, each on top of those that succeeded before it:
//! their pods stay where they were put, their nodes are gone, and what they take of disruption
//! budgets is taken. A failed one leaves nothing behind.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_model::{Effect, Node, Pod, PodShape, SmolStr, Taint, Timestamp, VolumeSource};
use windlass_scheduler::{NodeId, Snapshot};

use super::{Removable, candidates::Candidate, eligibility, keep, latency, unneeded, verdicts};
use crate::{
    TimeLimit, UnremovableReason,
    decide::Loop,
    drain::{disruption::Disruptions, rules::Rules},
    plan::Unremovable,
    taints,
};

/// The candidates that are not needed, in their order; writes down why the others stay.
pub(super) fn find_removable(
    context: &mut Loop<'_>,
    rules: &mut Rules<'_>,
    candidates: Vec<Candidate>,
) -> Vec<Removable> {
    let limit = unneeded::limit(context);
    verdicts::forget_old(context, rules);
    let mut eligible = Vec::new();
    for candidate in candidates {
        match eligibility::reason_to_stay(context, &candidate) {
            None => eligible.push(candidate),
            Some(reason) => {
                let share = (reason == UnremovableReason::NotUnderutilized)
                    .then(|| candidate.utilization.as_ref().ok())
                    .flatten()
                    .map(|utilization| utilization.value);
                keep(context, candidate.node, reason, share);
            }
        }
    }
    let scale_down = &context.config.scale_down;
    let (limited_by, allowed) = (
        TimeLimit::ScaleDownSimulation,
        scale_down.simulation_timeout,
    );
    context.budget.start(limited_by, allowed);

    context.snapshot.fork();
    let mut disruptions = Disruptions::new(context.cluster);
    let mut places = Places::new(context, &eligible);
    let mut found: Vec<Removable> = Vec::new();
    let mut counted = 0;
    let mut skipped = Vec::new();
    let mut unremovable = Vec::new();
    let mut eligible = eligible.into_iter();
    for candidate in eligible.by_ref() {
        if counted >= limit || context.budget.is_spent(limited_by) {
            skipped.push(candidate.node);
            break;
        }
        let is_atomic = context.cluster.groups[candidate.group]
            .options
            .zero_or_max_node_scaling
            == Some(true);
        match try_removal(context, rules, &mut disruptions, &mut places, &candidate) {
            Ok(removable) => {
                counted += usize::from(!is_atomic);
                found.push(removable);
            }
            Err(reason) => unremovable.push(reason),
        }
    }
    context.snapshot.revert();
    verdicts::remember(context, unremovable);
    skipped.extend(eligible.map(|candidate| candidate.node));
    latency::measure_skipped(context, &skipped);
    found
}

fn try_removal(
    context: &mut Loop<'_>,
    rules: &mut Rules<'_>,
    disruptions: &mut Disruptions,
    places: &mut Places,
    candidate: &Candidate,
) -> Result<Removable, Unremovable> {
    let node = Arc::clone(&context.nodes[candidate.node].node);
    let utilization = candidate.utilization.as_ref().ok();
    let unremovable = |reason| Unremovable {
        node: node.name.clone(),
        reason,
        blocking_pod: None,
        utilization: utilization.map(|utilization| utilization.value),
    };
    let (Some(id), Some(utilization)) = (candidate.id, utilization) else {
        return Err(unremovable(UnremovableReason::NoNodeInfo));
    };
    let to_move = rules
        .pods_to_move(context.snapshot.pods_on(id), Some(disruptions))
        .map_err(|blocking| Unremovable {
            blocking_pod: Some(blocking.into()),
            ..unremovable(UnremovableReason::BlockedByPod)
        })?;
    let movable = to_move.movable;
    if !places.move_pods(&mut context.snapshot, id, &node, &movable, context.now) {
        return Err(unremovable(UnremovableReason::NoPlaceToMovePods));
    }
    let is_risky = consume_budgets(rules, disruptions, &movable);
    Ok(Removable {
        node: candidate.node,
        group: candidate.group,
        movable,
        has_on_completion: to_move.has_on_completion,
        is_risky,
        utilization: utilization.clone(),
    })
}

/// Counts the evictions of `movable` against the disruption budgets; whether one allows fewer.
fn consume_budgets(
    rules: &mut Rules<'_>,
    disruptions: &mut Disruptions,
    movable: &[Arc<Pod>],
) -> bool {
    if disruptions.is_empty() {
        return false;
    }
    let mut needed: FxHashMap<u32, i64> = FxHashMap::default();
    let mut is_risky = false;
    for pod in movable {
        for budget in rules.budgets_of(pod) {
            let needed = needed.entry(*budget).or_default();
            *needed += 1;
            is_risky |= *needed > disruptions.remaining(*budget);
        }
    }
    for pod in movable {
        disruptions.consume(rules.budgets_of(pod));
    }
    is_risky
}

/// Where evicted pods may go.
///
/// The Go autoscaler takes the first node that fits, starting behind the one found last, and so
/// spreads pods over nodes whose own turn is still to come. Which node is taken is a matter of
/// chance there; here nodes that stay come first, then candidates from the last to the first, so
/// that few pods move twice.
struct Places {
    /// In the order in which they are tried.
    order: Vec<NodeId>,
    is_open: FxHashMap<NodeId, bool>,
    /// For pods of a shape, how many places at the front of the order have turned out full.
    /// Places only fill up while candidates are tried, so none of those is asked again.
    full: FxHashMap<*const PodShape, usize>,
    /// What `full` was before the removal that is being tried.
    undo: Vec<(*const PodShape, usize)>,
    /// Whether a pod on some node keeps others away by anti-affinity, which may cease when that
    /// pod moves.
    has_anti_affinity: bool,
}

impl Places {
    fn new(context: &Loop<'_>, eligible: &[Candidate]) -> Self {
        let candidates: FxHashMap<NodeId, usize> = eligible
            .iter()
            .enumerate()
            .filter_map(|(turn, candidate)| Some((candidate.id?, turn)))
            .collect();
        let mut staying = Vec::new();
        for node in &context.nodes {
            let name = &node.node.name;
            let Some(id) = context.snapshot.node_id(name) else {
                continue;
            };
            let is_place = !node.is_replaced
                && !node.node.unschedulable
                && !context.memory.drains.contains_key(name);
            if is_place && !candidates.contains_key(&id) {
                staying.push((name.clone(), id));
            }
        }
        staying.sort_unstable();
        let mut order: Vec<NodeId> = staying.into_iter().map(|(_, id)| id).collect();
        order.extend(
            eligible
                .iter()
                .rev()
                .filter(|candidate| !context.nodes[candidate.node].node.unschedulable)
                .filter_map(|candidate| candidate.id),
        );
        Self {
            is_open: order.iter().map(|id| (*id, true)).collect(),
            order,
            full: FxHashMap::default(),
            undo: Vec::new(),
            has_anti_affinity: context.snapshot.has_anti_affinity(),
        }
    }

    /// Moves `pods` off the node `from` and takes that node away; whether all found a place. If
    /// not, everything is as before.
    fn move_pods(
        &mut self,
        snapshot: &mut Snapshot,
        from: NodeId,
        node: &Arc<Node>,
        pods: &[Arc<Pod>],
        now: Timestamp,
    ) -> bool {
        snapshot.fork();
        self.undo.clear();
        let needs_ghost = pods.iter().any(|pod| {
            let constraints = &pod.shape.constraints;
            !constraints.spread.is_empty() || !constraints.claims.is_empty()
        });
        if needs_ghost {
            leave_ghost(snapshot, from, node, pods, now);
        } else {
            snapshot.remove_node(from);
        }
        let was_open = self.is_open.insert(from, false);
        let mut by_priority: Vec<&Arc<Pod>> = pods.iter().collect();
        by_priority.sort_by_key(|pod| std::cmp::Reverse(pod.priority()));
        let all_fit = by_priority
            .chunk_by(|a, b| Arc::ptr_eq(&a.shape, &b.shape))
            .all(|alike| self.place(snapshot, alike));
        if all_fit {
            if needs_ghost {
                snapshot.remove_node(from);
            }
            snapshot.commit();
        } else {
            snapshot.revert();
            for (shape, full) in self.undo.drain(..).rev() {
                self.full.insert(shape, full);
            }
            match was_open {
                Some(was_open) => self.is_open.insert(from, was_open),
                None => self.is_open.remove(&from),
            };
        }
        all_fit
    }

    /// Places pods of one shape; whether all found a place.
    fn place(&mut self, snapshot: &mut Snapshot, alike: &[&Arc<Pod>]) -> bool {
        if self.only_fills_up(&alike[0].shape) {
            return self.place_in_order(snapshot, alike);
        }
        alike.iter().all(|pod| {
            let is_open = &self.is_open;
            let place = snapshot.first_fit(pod, |id| is_open.get(&id) == Some(&true));
            if let Some(id) = place {
                snapshot.add_pod(pod, id);
            }
            place.is_some()
        })
    }

    /// Fills the places that are not known to be full, one after the other.
    fn place_in_order(&mut self, snapshot: &mut Snapshot, alike: &[&Arc<Pod>]) -> bool {
        let shape = Arc::as_ptr(&alike[0].shape);
        let start = self.full.get(&shape).copied().unwrap_or(0);
        let (mut full, mut left) = (start, alike);
        while let Some(id) = self.order.get(full) {
            if self.is_open.get(id) == Some(&true) {
                left = &left[snapshot.fill(left, *id)..];
            }
            if left.is_empty() {
                break;
            }
            full += 1;
        }
        if full != start {
            self.undo.push((shape, start));
            self.full.insert(shape, full);
        }
        left.is_empty()
    }

    /// Whether a node that refuses pods of this shape refuses them for the rest of this loop.
    fn only_fills_up(&self, shape: &PodShape) -> bool {
        let constraints = &shape.constraints;
        !self.has_anti_affinity
            && constraints.spread.is_empty()
            && constraints.affinity.is_empty()
            && constraints.anti_affinity.is_empty()
            && constraints.claims.is_empty()
            && constraints.volumes.iter().all(|volume| {
                matches!(
                    volume.source,
                    VolumeSource::EmptyDir { .. } | VolumeSource::HostPath
                )
            })
    }
}

/// Leaves an empty, tainted copy of the node, so that its domain goes on counting in topology
/// spread constraints, as it does while a real node is drained.
fn leave_ghost(
    snapshot: &mut Snapshot,
    id: NodeId,
    node: &Arc<Node>,
    pods: &[Arc<Pod>],
    now: Timestamp,
) {
    for pod in pods {
        snapshot.remove_pod(pod, id);
    }
    let rest: Vec<Arc<Pod>> = snapshot.pods_on(id).cloned().collect();
    for pod in &rest {
        snapshot.remove_pod(pod, id);
    }
    let mut ghost = Node::clone(node);
    ghost.taints.push(Taint {
        key: SmolStr::new_static(taints::TO_BE_DELETED),
        value: now.as_second().to_string().into(),
        effect: Effect::NoSchedule,
        time_added: None,
    });
    snapshot.replace_node(id, Arc::new(ghost));
}
