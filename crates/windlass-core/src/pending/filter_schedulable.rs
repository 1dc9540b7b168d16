//! Which pending pods the nodes that are there, or on their way, can hold. Source:
//! `pkg/core/podlistprocessor/filter_out_schedulable.go`, `pkg/simulator/scheduling`.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use windlass_model::{Pod, PodShape, SmolStr};

use super::{Fate, PendingPods, PodIndex};
use crate::{Event, EventObject, Series, TimeLimit, decide::Loop};

/// Different failures per controller from which on a controller counts as overflowing.
const FAILURES_PER_CONTROLLER: usize = 10;

/// Places what fits, in order of priority; the pods that are left, in their old order.
pub(super) fn run(
    context: &mut Loop<'_>,
    pending: &mut PendingPods,
    waiting: Vec<PodIndex>,
) -> Vec<PodIndex> {
    let flags = &context.config.scale_up;
    let is_limited = flags.graceful_degradation;
    if is_limited {
        context
            .budget
            .start(TimeLimit::PendingPods, flags.pending_pods_batching_timeout);
    }
    let mut by_priority: Vec<(i32, PodIndex)> = waiting
        .into_iter()
        .map(|index| (pending.pod(index).priority(), index))
        .collect();
    by_priority.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));

    let mut failures = Failures::default();
    let mut left = Vec::with_capacity(by_priority.len());
    let mut skipped = 0_u64;
    let mut is_spent = false;
    for batch in by_priority.chunk_by(|a, b| a.0 == b.0) {
        let mut unhinted = Vec::with_capacity(batch.len());
        for (_, index) in batch {
            if place_on_hint(context, pending, *index) {
                pending.set_fate(*index, Fate::Schedulable);
            } else {
                unhinted.push(*index);
            }
        }
        for index in unhinted {
            let pod = pending.pod(index);
            is_spent = is_spent || (is_limited && context.budget.is_spent(TimeLimit::PendingPods));
            if is_spent {
                skipped += 1;
            } else if !failures.contains(pod) && place_anywhere(context, pending, index) {
                pending.set_fate(index, Fate::Schedulable);
            } else {
                failures.remember(pod);
                left.push(index);
            }
        }
    }
    context.memory.hints.turn();
    context.plan.metrics.set(
        Series::plain("overflowing_controllers_count"),
        failures.overflowing_controllers() as f64,
    );
    if is_limited {
        note_degradation(context, skipped);
    }
    left.sort_unstable();
    left
}

fn place_on_hint(context: &mut Loop<'_>, pending: &PendingPods, index: PodIndex) -> bool {
    let pod = pending.pod(index);
    let Some(name) = context.memory.hints.get(pod).cloned() else {
        return false;
    };
    let Some(id) = context.snapshot.node_id(&name) else {
        return false;
    };
    if context.snapshot.node(id).unschedulable || !context.snapshot.fits(pod, id) {
        return false;
    }
    context.snapshot.add_pod(pod, id);
    context.memory.hints.set(pod, &name);
    if pending.origin(index).is_none() {
        tell_of_coming_node(context, pod, &name);
    }
    true
}

fn place_anywhere(context: &mut Loop<'_>, pending: &PendingPods, index: PodIndex) -> bool {
    let pod = pending.pod(index);
    let Some(id) = context.snapshot.first_fit(pod, |_| true) else {
        return false;
    };
    context.snapshot.add_pod(pod, id);
    let name = context.snapshot.node(id).name.clone();
    context.memory.hints.set(pod, &name);
    if pending.origin(index).is_none() {
        tell_of_coming_node(context, pod, &name);
    }
    true
}

/// A pod that a node on its way will hold is told so, as are those that the node was asked for:
/// which of a burst's pods came in time to be among these is chance. The shell's filter against
/// floods sees to it that each is told once.
fn tell_of_coming_node(context: &mut Loop<'_>, pod: &Pod, node: &str) {
    let Some(group) = context.upcoming.get(node).copied() else {
        return;
    };
    let group = &context.cluster.groups[group];
    let Some(open) = context.memory.open_scale_ups.get(&group.name) else {
        return;
    };
    let to = group.target_size;
    let message = format!(
        "pod triggered scale-up: [{{{} {}->{to} (max: {})}}]",
        group.name,
        to - open.increase,
        group.max_size
    );
    let object = EventObject::Pod(pod.full_name());
    let event = Event::normal("TriggeredScaleUp", object, message);
    context.plan.events.push(event);
}

/// Shapes of pods that found no place. Placing other pods only takes room away, unless a pod
/// looks for company or for an even spread: of those only the ones of a controller are
/// remembered, as the Go autoscaler does.
#[derive(Default)]
struct Failures {
    /// The one asked about last: equal pods mostly stand together.
    last: Option<*const PodShape>,
    shapes: FxHashSet<*const PodShape>,
    by_controller: FxHashMap<SmolStr, usize>,
}

impl Failures {
    fn contains(&mut self, pod: &Pod) -> bool {
        let shape = Arc::as_ptr(&pod.shape);
        let is_known = self.last == Some(shape) || self.shapes.contains(&shape);
        self.last = is_known.then_some(shape);
        is_known
    }

    fn remember(&mut self, pod: &Pod) {
        let shape = &pod.shape;
        if self.last == Some(Arc::as_ptr(shape)) {
            return;
        }
        let controller = shape
            .controller
            .as_ref()
            .filter(|_| !shape.is_daemonset_pod());
        if controller.is_none() && !only_loses_room(shape) {
            return;
        }
        if !self.shapes.insert(Arc::as_ptr(shape)) {
            return;
        }
        if let Some(owner) = controller {
            *self.by_controller.entry(owner.uid.clone()).or_default() += 1;
        }
    }

    fn overflowing_controllers(&self) -> usize {
        self.by_controller
            .values()
            .filter(|failures| **failures > FAILURES_PER_CONTROLLER)
            .count()
    }
}

fn only_loses_room(shape: &PodShape) -> bool {
    let constraints = &shape.constraints;
    constraints.affinity.is_empty()
        && constraints.spread.is_empty()
        && constraints.volumes.is_empty()
        && constraints.claims.is_empty()
}

fn note_degradation(context: &mut Loop<'_>, skipped: u64) {
    context.plan.metrics.set(
        Series::plain("skipped_pods_count").with("requestor", "filter-out-pod-list-processor"),
        skipped as f64,
    );
    let degraded_loops = &mut context.memory.degraded_loops;
    if skipped > 0 {
        if *degraded_loops == 0 {
            context.plan.events.push(Event::warning(
                "GracefulDegradationStarted",
                EventObject::Status,
                "Autoscaler is unable to handle the large amount of unschedulable pods. Consider \
                 reducing the rate of adding new pods, so autoscaler could auto recover.",
            ));
        }
        *degraded_loops += 1;
    } else if *degraded_loops > 0 {
        *degraded_loops = 0;
        context.plan.events.push(Event::normal(
            "GracefulDegradationStopped",
            EventObject::Status,
            "Autoscaler exited from GracefulDegradationMode and works normally.",
        ));
    }
}
