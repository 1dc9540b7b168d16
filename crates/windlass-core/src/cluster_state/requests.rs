//! Scale-ups that were asked for and have not come.

use windlass_model::{Duration, InstanceState, SmolStr, format_go_duration};

use super::backoff::{ScaleUpError, back_off};
use crate::{Action, Event, EventObject, OpenScaleUp, Series, decide::Loop, instant::after};

/// Opens the scale-up of a group of which the input says when its missing nodes were asked for.
pub(super) fn adopt(context: &mut Loop<'_>) {
    for (group, state) in context.cluster.groups.iter().zip(&context.groups) {
        let missing = group.target_size - state.counts.registered;
        let Some(requested_at) = group.requested_at else {
            continue;
        };
        if missing <= 0 || context.memory.open_scale_ups.contains_key(&group.name) {
            continue;
        }
        let allowed = context
            .config
            .node_group_settings(&group.options)
            .max_node_provision_time;
        context.memory.open_scale_ups.insert(
            group.name.clone(),
            OpenScaleUp {
                increase: missing,
                requested_at,
                deadline: after(requested_at, allowed),
            },
        );
    }
}

/// Opens a scale-up of `increase` nodes, or adds them to the group's open one.
pub(crate) fn open(context: &mut Loop<'_>, group: usize, increase: i64) {
    let group = &context.cluster.groups[group];
    let allowed = context
        .config
        .node_group_settings(&group.options)
        .max_node_provision_time;
    let open = context
        .memory
        .open_scale_ups
        .entry(group.name.clone())
        .or_insert(OpenScaleUp {
            increase: 0,
            requested_at: context.now,
            deadline: context.now,
        });
    open.increase += increase;
    open.requested_at = context.now;
    open.deadline = after(context.now, allowed);
}

/// Takes nodes that will not come off the group's open scale-up.
pub(super) fn shrink(context: &mut Loop<'_>, group: &SmolStr, by: i64) {
    if let Some(open) = context.memory.open_scale_ups.get_mut(group) {
        open.increase -= by;
        if open.increase <= 0 {
            context.memory.open_scale_ups.remove(group);
        }
    }
}

/// Closes the scale-ups whose nodes have come, and gives up those that are overdue. As long as an
/// instance is held back the time of its group's scale-up does not run.
pub(super) fn expire(context: &mut Loop<'_>) {
    for index in 0..context.groups.len() {
        put_off(context, index);
        let group = &context.cluster.groups[index];
        let counts = context.groups[index].counts;
        let upcoming = group.target_size
            - (counts.ready + counts.unready + counts.suspended + counts.long_unregistered);
        context.groups[index].upcoming = upcoming;
        let Some(open) = context.memory.open_scale_ups.get(&group.name) else {
            continue;
        };
        if upcoming <= 0 {
            context.memory.open_scale_ups.remove(&group.name);
        } else if open.deadline < context.now {
            let increase = open.increase;
            context.memory.open_scale_ups.remove(&group.name);
            give_up(context, index, increase);
        } else {
            context
                .plan
                .wake_by(after(open.deadline, Duration::from_millis(1)));
        }
    }
}

fn put_off(context: &mut Loop<'_>, index: usize) {
    let group = &context.cluster.groups[index];
    let is_held = |instance: &windlass_model::Instance| instance.state == InstanceState::Held;
    if !group.instances.iter().any(is_held) {
        return;
    }
    let allowed = context
        .config
        .node_group_settings(&group.options)
        .max_node_provision_time;
    if let Some(open) = context.memory.open_scale_ups.get_mut(&group.name) {
        open.deadline = open.deadline.max(after(context.now, allowed));
    }
}

fn give_up(context: &mut Loop<'_>, index: usize, increase: i64) {
    let group = &context.cluster.groups[index];
    let allowed = format_go_duration(
        context
            .config
            .node_group_settings(&group.options)
            .max_node_provision_time,
    );
    context.plan.events.push(Event::warning(
        "ScaleUpTimedOut",
        EventObject::Status,
        format!(
            "Nodes added to group {} failed to register within {allowed}",
            group.name
        ),
    ));
    let error = ScaleUpError {
        class: "Other".into(),
        code: "timeout".into(),
        message: format!(
            "Scale-up timed out for node group {} after {allowed}",
            group.name
        ),
    };
    record_failure(context, &group.name, error, increase);
    take_back(context, index, increase);
}

/// Plans to ask for `nodes` fewer nodes of a group, as far as no instance that is there dies of
/// it; whether that is any. The Go autoscaler's request would fail as a whole then.
pub(super) fn take_back(context: &mut Loop<'_>, index: usize, nodes: i64) -> bool {
    let group = &context.cluster.groups[index];
    let launched = group
        .instances
        .iter()
        .filter(|instance| !matches!(instance.state, InstanceState::Creating { .. }))
        .count();
    let registered = context.groups[index].counts.registered;
    let live = registered.max(i64::try_from(launched).unwrap_or(i64::MAX));
    let from = context.groups[index].target_size;
    let to = (from - nodes).max(live);
    if from <= to {
        return false;
    }
    context.groups[index].target_size = to;
    context.plan.actions.push(Action::DecreaseTargetSize {
        group: group.name.clone(),
        from,
        to,
    });
    true
}

/// Counts a failed scale-up, and leaves its group alone for a while.
pub(super) fn record_failure(
    context: &mut Loop<'_>,
    group: &SmolStr,
    error: ScaleUpError,
    nodes: i64,
) {
    let labels = crate::gpu::metric_labels(context, group);
    let series = labels.iter().fold(
        Series::plain("failed_scale_ups_total").with("reason", error.code.clone()),
        |series, (label, value)| series.with(label, value.clone()),
    );
    context.plan.metrics.add(series, 1);
    if !labels[0].1.is_empty() {
        let gpu = &labels[..2];
        let series = gpu.iter().fold(
            Series::plain("failed_gpu_scale_ups_total").with("reason", error.code.clone()),
            |series, (label, value)| series.with(label, value.clone()),
        );
        context.plan.metrics.add(series, 1);
    }
    context.plan.metrics.add(
        Series::plain("failed_node_creations_total").with("reason", error.code.clone()),
        u64::try_from(nodes).unwrap_or(0),
    );
    back_off(
        &mut context.memory.backoffs,
        group,
        error,
        &context.config.cluster_health,
        context.now,
    );
}
