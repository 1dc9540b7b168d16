//! Instances that the cloud failed to create.

use std::collections::{BTreeMap, BTreeSet};

use windlass_model::{CreationErrorClass, InstanceState, NodeGroup, SmolStr};

use super::{backoff::ScaleUpError, requests};
use crate::{Event, EventObject, decide::Loop};

/// Distinct messages up to which a report is complete.
const MESSAGES: usize = 3;

/// The provider ids of the group's instances that failed to be created.
pub(super) fn failed_instances(group: &NodeGroup) -> impl Iterator<Item = &SmolStr> {
    group
        .instances
        .iter()
        .filter(|instance| matches!(instance.state, InstanceState::Creating { error: Some(_) }))
        .map(|instance| &instance.provider_id)
}

/// Reports failures that the last loop did not see, takes them off the open scale-ups, and
/// leaves their groups alone for a while.
pub(super) fn handle(context: &mut Loop<'_>) {
    for (index, group) in context.cluster.groups.iter().enumerate() {
        let mut by_error: BTreeMap<(CreationErrorClass, &SmolStr), (i64, BTreeSet<&SmolStr>)> =
            BTreeMap::new();
        for instance in &group.instances {
            let InstanceState::Creating { error: Some(error) } = &instance.state else {
                continue;
            };
            if context
                .memory
                .failed_instances
                .contains(&instance.provider_id)
            {
                continue;
            }
            let (count, messages) = by_error.entry((error.class, &error.code)).or_default();
            *count += 1;
            messages.insert(&error.message);
        }
        for ((class, code), (unseen, messages)) in by_error {
            let is_scaling_up = context.groups[index].upcoming > 0
                && context.memory.open_scale_ups.contains_key(&group.name);
            if !is_scaling_up {
                continue;
            }
            let mut sources = messages
                .iter()
                .map(|message| message.as_str())
                .collect::<Vec<_>>()
                .join(", ");
            if messages.len() > MESSAGES {
                sources.push_str(", ...");
            }
            context.plan.events.push(Event::warning(
                "ScaleUpFailed",
                EventObject::Status,
                format!(
                    "Failed adding {unseen} nodes to group {} due to {}.{code}; source errors: \
                     {sources}",
                    group.name,
                    class.as_str()
                ),
            ));
            requests::shrink(context, &group.name, unseen);
            let error = ScaleUpError {
                class: class.as_str().into(),
                code: code.clone(),
                message: sources,
            };
            requests::record_failure(context, &group.name, error, unseen);
        }
    }
}

/// Keeps the failures in mind for the next loop.
pub(super) fn remember(context: &mut Loop<'_>) {
    context.memory.failed_instances = context
        .cluster
        .groups
        .iter()
        .flat_map(failed_instances)
        .cloned()
        .collect();
}
