//! Taints of removals that nobody carries out.

use windlass_model::{Duration, InstanceState, SmolStr};

use crate::{
    Action, Event, EventObject, EventTiming, decide::Loop, instant::after,
    scale_down::unix_seconds, taints,
};

/// After this time a taint that no removal accounts for goes also in a later loop: one that was
/// written while its writer was replaced, for instance.
const ORPHANED_AFTER: Duration = Duration::from_mins(15);

/// Takes the taint of a removal, and the cordon that comes with it, from nodes that memory knows
/// no removal of: all of them in a process's first loop. Also takes the taints of candidates then,
/// where they are switched off. Source: `cleanUpIfRequired` of `pkg/core/static_autoscaler.go`.
pub(super) fn clean_up(context: &mut Loop<'_>) {
    let is_first_loop = !context.memory.has_looped;
    let actuation = &context.config.actuation;
    let (uncordon, ttl) = (
        actuation.cordon_node_before_terminating,
        actuation.node_deletion_candidate_ttl,
    );
    let takes_soft_taints = is_first_loop && actuation.max_bulk_soft_taint_count == 0;
    for index in 0..context.nodes.len() {
        let node = std::sync::Arc::clone(&context.nodes[index].node);
        let is_ours = context.nodes[index].group.is_some();
        if let Some(taint) = node.taint(taints::TO_BE_DELETED)
            && is_ours
            && !context.memory.drains.contains_key(&node.name)
        {
            let is_old = unix_seconds(&taint.value)
                .is_none_or(|since| after(since, ORPHANED_AFTER) < context.now);
            if (is_first_loop || is_old) && !is_instance_going(context, index) {
                remove_taint(context, &node.name, taints::TO_BE_DELETED, uncordon);
            }
        }
        if let Some(taint) = node.taint(taints::DELETION_CANDIDATE)
            && takes_soft_taints
        {
            let is_young = !ttl.is_zero()
                && unix_seconds(&taint.value).is_some_and(|since| after(since, ttl) >= context.now);
            if !is_young {
                remove_taint(context, &node.name, taints::DELETION_CANDIDATE, false);
            }
        }
    }
}

fn is_instance_going(context: &Loop<'_>, index: usize) -> bool {
    let node = &context.nodes[index];
    node.group.is_some_and(|group| {
        context.cluster.groups[group]
            .instances
            .iter()
            .any(|instance| {
                instance.provider_id == node.node.provider_id
                    && instance.state == InstanceState::Deleting
            })
    })
}

fn remove_taint(context: &mut Loop<'_>, node: &SmolStr, key: &'static str, uncordon: bool) {
    let timing = EventTiming::OnceDone(context.plan.actions.len());
    context.plan.actions.push(Action::RemoveTaint {
        node: node.clone(),
        key: SmolStr::new_static(key),
        uncordon,
    });
    let event = Event::normal(
        "ClusterAutoscalerCleanup",
        EventObject::Node(node.clone()),
        format!("removed {key} taint from node {node}"),
    );
    context.plan.events.push(event.at(timing));
}
