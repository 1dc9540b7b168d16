//! What a scale-up attempt has to say of pods and groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_model::SmolStr;

use super::{Attempt, PodClass, ScaleUpResult, execute};
use crate::{
    Event, EventObject, EventTiming, capacity_buffer,
    decide::Loop,
    pending::{Fate, Origin, PendingPods, PodIndex},
    plan::GroupReasons,
};

/// Notes where each pod stands after the attempt, with its event, and why groups were left out.
pub(super) fn note(context: &mut Loop<'_>, pending: &mut PendingPods, attempt: &Attempt) {
    note_skipped(context, attempt);
    if attempt.result == ScaleUpResult::Error {
        return;
    }
    let mut of_buffers = capacity_buffer::Said::default();
    for class in attempt.classes.iter().filter(|class| !class.is_schedulable) {
        note_unschedulable(context, pending, attempt, class, &mut of_buffers);
    }
    let sizes = execute::describe(context, &attempt.resizes);
    let message = SmolStr::from(format!("pod triggered scale-up: {sizes}"));
    context.plan.events.reserve(attempt.triggered.len());
    for index in &attempt.triggered {
        pending.set_fate(*index, Fate::Triggered);
        if let Some(origin) = pending.origin(*index) {
            if let Origin::Buffer(buffer) = origin {
                of_buffers.triggered.insert(buffer);
            }
            continue;
        }
        if !attempt.resizes.is_empty() {
            let pod = EventObject::Pod(pending.pod(*index).full_name());
            context.plan.events.push(
                Event::normal("TriggeredScaleUp", pod, message.clone()).at(EventTiming::OnceGrown),
            );
        }
    }
    let sizes = (!attempt.resizes.is_empty()).then_some(sizes);
    capacity_buffer::announce(context, of_buffers, sizes.as_deref());
}

/// Notes why groups were left out.
pub(crate) fn note_skipped(context: &mut Loop<'_>, attempt: &Attempt) {
    for (group, reasons) in &attempt.skipped {
        let name = context.cluster.groups[*group].name.clone();
        for reason in reasons {
            context
                .plan
                .scale_up
                .skipped_groups
                .push((name.clone(), reason.clone()));
        }
    }
}

/// The cluster has as many nodes as it may: no pod is helped.
pub(super) fn note_limit(context: &mut Loop<'_>, pending: &mut PendingPods, wanting: &[PodIndex]) {
    let limit = context.config.limits.max_nodes_total;
    context.plan.events.push(Event::warning(
        "MaxNodesTotalReached",
        EventObject::Status,
        format!("Max total nodes in cluster reached: {limit}"),
    ));
    let number = context.add_reasons(Arc::default());
    for index in wanting {
        pending.set_fate(*index, Fate::Unschedulable(number));
        if pending.origin(*index).is_some() {
            continue;
        }
        let pod = EventObject::Pod(pending.pod(*index).full_name());
        context.plan.events.push(Event::normal(
            "NotTriggerScaleUp",
            pod,
            "pod didn't trigger scale-up: max total nodes in cluster reached",
        ));
    }
}

/// Writes down where the pending pods stand.
pub(super) fn note_pods(context: &mut Loop<'_>, pending: &PendingPods) {
    let report = &mut context.plan.pods;
    for (index, (pod, fate)) in (0..).zip(pending.iter()) {
        if pending.origin(index).is_some() {
            continue;
        }
        let name = pod.full_name();
        match fate {
            Fate::Dropped => {}
            Fate::Schedulable => report.schedulable.push(name),
            Fate::Waiting => report.waiting.push(name),
            Fate::Triggered => report.triggered_scale_up.push(name),
            Fate::Unschedulable(number) => report
                .unschedulable
                .push((name, Arc::clone(&context.reasons[number as usize]))),
        }
    }
}

fn note_unschedulable(
    context: &mut Loop<'_>,
    pending: &mut PendingPods,
    attempt: &Attempt,
    class: &PodClass,
    of_buffers: &mut capacity_buffer::Said,
) {
    let reasons = Arc::new(reasons_by_group(context, attempt, class));
    let is_reported = attempt.result != ScaleUpResult::Successful;
    let summary = summary(&reasons);
    let message = SmolStr::from(format!("pod didn't trigger scale-up: {summary}"));
    let number = context.add_reasons(reasons);
    for index in &class.pods {
        pending.set_fate(*index, Fate::Unschedulable(number));
        if let Some(origin) = pending.origin(*index) {
            if let (Origin::Buffer(buffer), true) = (origin, is_reported) {
                let reasons = of_buffers.not_triggered.entry(buffer).or_default();
                reasons.insert(summary.as_str().into());
            }
        } else if is_reported {
            let pod = EventObject::Pod(pending.pod(*index).full_name());
            context
                .plan
                .events
                .push(Event::normal("NotTriggerScaleUp", pod, message.clone()));
        }
    }
}

fn reasons_by_group(context: &Loop<'_>, attempt: &Attempt, class: &PodClass) -> GroupReasons {
    let skipped = attempt.skipped.iter().map(|(group, reasons)| {
        let reasons = reasons.iter().map(SmolStr::from).collect();
        (*group, reasons)
    });
    let rejected = class
        .rejections
        .iter()
        .map(|(group, reasons)| (*group, reasons.clone()));
    skipped
        .chain(rejected)
        .map(|(group, mut reasons): (_, Vec<SmolStr>)| {
            reasons.sort_unstable();
            (context.cluster.groups[group].name.clone(), reasons)
        })
        .collect()
}

/// How many groups each reason keeps from helping: `1 max node group size reached, 2 Insufficient
/// cpu`.
fn summary(reasons: &GroupReasons) -> String {
    let mut counts: BTreeMap<&SmolStr, usize> = BTreeMap::new();
    for reason in reasons.values().flatten() {
        *counts.entry(reason).or_default() += 1;
    }
    counts
        .iter()
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect::<Vec<_>>()
        .join(", ")
}
