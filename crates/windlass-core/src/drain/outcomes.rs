//! What came of the actions of removals.

use windlass_model::{Duration, SmolStr};

use super::{Drain, Eviction, EvictionState, Phase, advance, replacements};
use crate::{
    Action, Event, EventObject, Outcome, OutcomeResult, decide::Loop, instant::after, taints,
};

/// Pause before a refused eviction, or a failed roll-back, is tried again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(10);

/// Takes notice of what came of earlier loops' taints, evictions and terminations.
pub(crate) fn absorb_outcomes(context: &mut Loop<'_>) {
    for outcome in context.outcomes {
        match &outcome.action {
            Action::AddTaint { node, taint, .. } if taint.key == taints::TO_BE_DELETED => {
                tainted(context, node, &outcome.result);
            }
            Action::RemoveTaint { node, key, .. } if key == taints::TO_BE_DELETED => {
                untainted(context, node, &outcome.result);
            }
            Action::Evict { node, uid, .. } => {
                let now = context.now;
                let Some(eviction) = eviction_mut(context, node, uid) else {
                    continue;
                };
                evicted(eviction, outcome, now);
                let moved = (eviction.state == EvictionState::Accepted)
                    .then(|| eviction.replaced_by.clone())
                    .flatten();
                if let Some(controller) = moved {
                    replacements::note(context, &controller);
                }
            }
            Action::TerminateInstance { node, instance, .. } => {
                terminated(context, node, instance, &outcome.result);
            }
            _ => {}
        }
    }
}

fn tainted(context: &mut Loop<'_>, node: &SmolStr, result: &OutcomeResult) {
    let now = context.now;
    let Some(drain) = context.memory.drains.get_mut(node) else {
        return;
    };
    let Phase::Tainting { done_at } = &mut drain.phase else {
        return;
    };
    drain.asked_at = None;
    let message = match result {
        OutcomeResult::Done => {
            *done_at = done_at.or(Some(now));
            return;
        }
        OutcomeResult::Refused { message } | OutcomeResult::Failed { message, .. } => message,
    };
    let event = Event::warning(
        "ScaleDownFailed",
        EventObject::Node(node.clone()),
        format!("failed to mark the node as toBeDeleted/unschedulable: {message}"),
    );
    context.plan.events.push(event);
    context.memory.last_scale_down_failure = Some(now);
    // The nodes that were to be tainted with this one are let go with it.
    let (started_at, is_empty) = (drain.started_at, drain.is_empty);
    // Without a cooldown of all groups, its own keeps the group from trying without a pause.
    let times = context.memory.group_times.entry(drain.group.clone());
    times.or_default().failed_removal = Some(now);
    for other in context.memory.drains.values_mut() {
        let is_of_batch = other.started_at == started_at && other.is_empty == is_empty;
        if is_of_batch && matches!(other.phase, Phase::Tainting { .. }) {
            other.phase = Phase::Undoing { retry_at: None };
            other.asked_at = None;
        }
    }
}

fn untainted(context: &mut Loop<'_>, node: &SmolStr, result: &OutcomeResult) {
    let now = context.now;
    let Some(drain) = context.memory.drains.get_mut(node) else {
        if let OutcomeResult::Refused { message } | OutcomeResult::Failed { message, .. } = result {
            let key = taints::TO_BE_DELETED;
            let message = format!("failed to clean {key} on node {node}: {message}");
            let object = EventObject::Node(node.clone());
            let event = Event::warning("ClusterAutoscalerCleanup", object, message);
            context.plan.events.push(event);
        }
        return;
    };
    if !matches!(drain.phase, Phase::Undoing { .. }) {
        return;
    }
    drain.asked_at = None;
    if *result == OutcomeResult::Done {
        context.memory.drains.remove(node);
    } else {
        drain.phase = Phase::Undoing {
            retry_at: Some(after(now, RETRY_AFTER)),
        };
    }
}

fn eviction_mut<'m>(
    context: &'m mut Loop<'_>,
    node: &SmolStr,
    uid: &SmolStr,
) -> Option<&'m mut Eviction> {
    match &mut context.memory.drains.get_mut(node)?.phase {
        Phase::Evicting { evictions, .. } => evictions.iter_mut().find(|it| it.uid == *uid),
        _ => None,
    }
}

fn evicted(eviction: &mut Eviction, outcome: &Outcome, now: windlass_model::Timestamp) {
    eviction.asked_at = None;
    let message = match &outcome.result {
        OutcomeResult::Failed { code, .. } if code == "NotFound" => {
            eviction.state = EvictionState::Accepted;
            return;
        }
        OutcomeResult::Done => {
            eviction.state = EvictionState::Accepted;
            return;
        }
        OutcomeResult::Refused { message } | OutcomeResult::Failed { message, .. } => message,
    };
    if let EvictionState::Due { at, last_error } = &mut eviction.state {
        *at = after(now, RETRY_AFTER);
        last_error.clone_from(message);
    }
}

fn terminated(context: &mut Loop<'_>, node: &SmolStr, instance: &SmolStr, result: &OutcomeResult) {
    let Some(drain) = context.memory.drains.get_mut(node) else {
        return;
    };
    if drain.phase != Phase::Terminating || drain.instance != *instance {
        return;
    }
    drain.asked_at = None;
    let mut drain: Drain = drain.clone();
    match result {
        OutcomeResult::Done => advance::finish(context, node, &mut drain),
        OutcomeResult::Refused { message } | OutcomeResult::Failed { message, .. } => {
            let times = context.memory.group_times.entry(drain.group.clone());
            times.or_default().failed_removal = Some(context.now);
            let error = format!(
                "failed to delete nodes from group {}: {message}",
                drain.group
            );
            advance::fail(context, node, &mut drain, &error);
        }
    }
    context.memory.drains.insert(node.clone(), drain);
}
