//! What came of earlier loops' resizes and deletions of instances.

use windlass_model::SmolStr;

use super::{ScaleUpError, requests};
use crate::{
    Action, Event, EventObject, OutcomeResult, Resize, ResizeCause, Series, decide::Loop, gpu,
};

/// Notes what came of the actions that this half of the loop planned.
pub(crate) fn apply_outcomes(context: &mut Loop<'_>) {
    let outcomes = context.outcomes;
    for outcome in outcomes {
        match (&outcome.action, &outcome.result) {
            (Action::IncreaseSize(resize), OutcomeResult::Done) => count_growth(context, resize),
            (Action::IncreaseSize(resize), OutcomeResult::Refused { .. }) => {
                requests::shrink(context, &resize.group, resize.to - resize.from);
            }
            (Action::IncreaseSize(resize), OutcomeResult::Failed { code, message }) => {
                note_failed_increase(context, resize, code, message);
            }
            (
                Action::DecreaseTargetSize { group, .. },
                OutcomeResult::Failed { message, .. } | OutcomeResult::Refused { message },
            ) => context.plan.events.push(Event::warning(
                "FailedToRevertScaleUp",
                EventObject::Status,
                format!(
                    "Failed to decrease target size for group {group} after scale-up timeout: \
                     {message}"
                ),
            )),
            (Action::DeleteInstances { instances, .. }, result) => {
                note_deletion(context, instances, result);
            }
            _ => {}
        }
    }
    let mut increases = outcomes.iter().filter_map(|outcome| match &outcome.action {
        Action::IncreaseSize(resize) if resize.cause == ResizeCause::PendingPods => {
            Some(outcome.result == OutcomeResult::Done)
        }
        _ => None,
    });
    let has_failed = increases.clone().next().is_some() && !increases.any(|is_done| is_done);
    if has_failed {
        context.memory.last_scale_up = context.memory.scale_up_before;
    }
}

fn count_growth(context: &mut Loop<'_>, resize: &Resize) {
    let nodes = u64::try_from(resize.to - resize.from).unwrap_or(0);
    let labels = gpu::metric_labels(context, &resize.group);
    let series = labels.iter().fold(
        Series::plain("scaled_up_nodes_total"),
        |series, (label, value)| series.with(label, value.clone()),
    );
    context.plan.metrics.add(series, nodes);
    if labels[0].1.is_empty() {
        return;
    }
    let series = labels[..2].iter().fold(
        Series::plain("scaled_up_gpu_nodes_total"),
        |series, (label, value)| series.with(label, value.clone()),
    );
    context.plan.metrics.add(series, nodes);
}

fn note_failed_increase(context: &mut Loop<'_>, resize: &Resize, code: &SmolStr, message: &str) {
    context.plan.events.push(Event::warning(
        "FailedToScaleUpGroup",
        EventObject::Status,
        format!("Scale-up failed for group {}: {message}", resize.group),
    ));
    let increase = resize.to - resize.from;
    requests::shrink(context, &resize.group, increase);
    let error = ScaleUpError {
        class: "Other".into(),
        code: code.clone(),
        message: format!("failed to increase node group size: {message}"),
    };
    requests::record_failure(context, &resize.group, error, increase);
}

fn note_deletion(context: &mut Loop<'_>, instances: &[SmolStr], result: &OutcomeResult) {
    match result {
        OutcomeResult::Done => {
            let unregistered = instances
                .iter()
                .filter(|id| context.memory.unregistered_since.contains_key(*id))
                .count();
            context.plan.metrics.add(
                Series::plain("old_unregistered_nodes_removed_count"),
                unregistered as u64,
            );
        }
        OutcomeResult::Refused { message } | OutcomeResult::Failed { message, .. } => {
            for id in instances {
                if context.memory.unregistered_since.contains_key(id) {
                    context.plan.events.push(Event::warning(
                        "DeleteUnregisteredFailed",
                        EventObject::Status,
                        format!("Failed to remove node {id}: {message}"),
                    ));
                }
            }
        }
    }
}
