//! Instances that never became nodes, and sizes that nobody will fill.

use windlass_model::SmolStr;

use super::{creation_errors::failed_instances, requests::take_back, unregistered_since};
use crate::{Action, Event, EventObject, EventTiming, decide::Loop, scale_down::is_view_stale};

/// Plans the deletion of instances that have had no node for too long, down to the group's
/// minimum. Not by a view that is too old, or that lacks many nodes: their instances would look as if
/// they had never joined.
pub(crate) fn remove_long_unregistered(context: &mut Loop<'_>) {
    if is_view_stale(context) || context.missing_nodes.is_some() {
        return;
    }
    let is_forced = context
        .config
        .cluster_health
        .force_delete_unregistered_nodes;
    for index in 0..context.groups.len() {
        let group = &context.cluster.groups[index];
        if group.notices.is_unproven {
            // Nobody knows whether its instances are nodes elsewhere.
            continue;
        }
        let settings = context.config.node_group_settings(&group.options);
        let overdue: Vec<SmolStr> = group
            .instances
            .iter()
            .map(|instance| &instance.provider_id)
            .filter(|id| {
                unregistered_since(context, id).is_some_and(|since| {
                    context.now.duration_since(since) > settings.max_node_provision_time
                })
            })
            .cloned()
            .collect();
        let spare = context.groups[index].target_size - group.min_size;
        let allowed = if is_forced {
            overdue.len()
        } else {
            usize::try_from(spare).unwrap_or(0).min(overdue.len())
        };
        let never_joined = overdue[..allowed].to_vec();
        let instances = atomic_deletion(context, index, never_joined.clone());
        if instances.is_empty() {
            continue;
        }
        let action = context.plan.actions.len();
        for id in &instances {
            context.plan.events.push(
                Event::normal(
                    "DeleteUnregistered",
                    EventObject::Status,
                    format!("Removed unregistered node {id}"),
                )
                .at(EventTiming::OnceDone(action)),
            );
        }
        let never_joined = never_joined
            .into_iter()
            .filter(|id| instances.contains(id))
            .collect();
        delete(
            context,
            index,
            Deletion {
                instances,
                never_joined,
                is_forced,
            },
        );
    }
}

/// Plans the deletion of every instance that failed to be created; whether there was any.
pub(crate) fn remove_failed(context: &mut Loop<'_>) -> bool {
    let is_forced = context.config.cluster_health.force_delete_failed_nodes;
    let mut has_any = false;
    for index in 0..context.groups.len() {
        let failed = failed_instances(&context.cluster.groups[index])
            .cloned()
            .collect();
        let instances = atomic_deletion(context, index, failed);
        if !instances.is_empty() {
            has_any = true;
            delete(
                context,
                index,
                Deletion {
                    instances,
                    never_joined: Vec::new(),
                    is_forced,
                },
            );
        }
    }
    has_any
}

/// Instances of one group that go.
struct Deletion {
    instances: Vec<SmolStr>,
    /// Those of them that had the time to join and did not.
    never_joined: Vec<SmolStr>,
    is_forced: bool,
}

fn delete(context: &mut Loop<'_>, index: usize, deletion: Deletion) {
    let Deletion {
        instances,
        never_joined,
        is_forced,
    } = deletion;
    let count = i64::try_from(instances.len()).unwrap_or(i64::MAX);
    context.groups[index].target_size -= count;
    context.plan.actions.push(Action::DeleteInstances {
        group: context.cluster.groups[index].name.clone(),
        instances,
        never_joined,
        force: is_forced,
    });
}

/// Of a group that is scaled to its maximum or to nothing, all instances go or none.
fn atomic_deletion(context: &Loop<'_>, index: usize, instances: Vec<SmolStr>) -> Vec<SmolStr> {
    let group = &context.cluster.groups[index];
    let settings = context.config.node_group_settings(&group.options);
    if instances.is_empty() || !settings.zero_or_max_node_scaling {
        return instances;
    }
    let all_go = instances.len() >= group.instances.len();
    if all_go || !settings.allow_non_atomic_scale_up_to_max {
        group
            .instances
            .iter()
            .map(|instance| instance.provider_id.clone())
            .collect()
    } else {
        Vec::new()
    }
}

/// Plans to take back nodes of groups that have lacked them for too long; whether there was any
/// such group, which ends the loop.
pub(crate) fn fix_target_sizes(context: &mut Loop<'_>) -> bool {
    let mut has_any = false;
    for index in 0..context.groups.len() {
        let group = &context.cluster.groups[index];
        if group.notices.is_unproven {
            continue;
        }
        let Some(size) = context.memory.incorrect_sizes.get(&group.name) else {
            continue;
        };
        let allowed = context
            .config
            .node_group_settings(&group.options)
            .max_node_provision_time;
        let is_overdue = context.now.duration_since(size.since) > allowed;
        if !is_overdue || size.registered >= size.expected {
            continue;
        }
        has_any |= take_back(context, index, size.expected - size.registered);
    }
    has_any
}
