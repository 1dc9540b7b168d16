//! Cluster health and readiness, nodes on their way, open scale-ups, backoff. Source:
//! `pkg/clusterstate`.

mod backoff;
mod cleanup;
mod counts;
mod creation_errors;
mod health;
mod outcomes;
mod readiness;
mod requests;
mod sizes;
mod upcoming;

use windlass_model::{InstanceState, SmolStr, Timestamp};

pub(crate) use backoff::is_backed_off;
pub use backoff::{Backoff, ScaleUpError};
pub(crate) use cleanup::{fix_target_sizes, remove_failed, remove_long_unregistered};
pub(crate) use counts::{Counts, GroupState, count_nodes};
pub(crate) use health::is_cluster_healthy;
pub(crate) use outcomes::apply_outcomes;
pub(crate) use readiness::observe_nodes;
pub use readiness::{NodeReadiness, Readiness, node_readiness};
pub(crate) use requests::open as open_scale_up;
pub use sizes::IncorrectSize;
pub(crate) use upcoming::{UPCOMING_ANNOTATION, inject_upcoming};

use crate::decide::Loop;

/// Brings everything that is known of the groups up to date, in the order of the Go
/// autoscaler: instances without a node, readiness, open scale-ups, failed instances, sizes.
pub(crate) fn update(context: &mut Loop<'_>) {
    note_proven(context);
    note_unregistered(context);
    requests::adopt(context);
    requests::expire(context);
    creation_errors::handle(context);
    backoff::forget_stale(
        &mut context.memory.backoffs,
        &context.config.cluster_health,
        context.now,
    );
    sizes::note_incorrect(context);
    health::judge(context);
    creation_errors::remember(context);
}

/// Remembers of which groups a node was seen, for a successor that may begin without any.
fn note_proven(context: &mut Loop<'_>) {
    let groups = &context.cluster.groups;
    context.memory.proven_groups = groups
        .iter()
        .filter_map(|group| group.notices.proof.clone())
        .collect();
}

/// Counts the instances that have no node, and remembers since when: from the moment at which
/// nothing holds them back any more.
fn note_unregistered(context: &mut Loop<'_>) {
    let registered: rustc_hash::FxHashSet<&str> = context
        .cluster
        .nodes
        .iter()
        .map(|node| node.provider_id.as_str())
        .collect();
    let since = std::mem::take(&mut context.memory.unregistered_since);
    for (index, group) in context.cluster.groups.iter().enumerate() {
        let provision_time = context
            .config
            .node_group_settings(&group.options)
            .max_node_provision_time;
        for instance in &group.instances {
            let may_register = match &instance.state {
                InstanceState::Running | InstanceState::Held | InstanceState::Unknown => true,
                InstanceState::Creating { error } => error.is_none(),
                InstanceState::Deleting => false,
            };
            if !may_register || registered.contains(instance.provider_id.as_str()) {
                continue;
            }
            let first_seen = since
                .get(&instance.provider_id)
                .filter(|_| instance.state != InstanceState::Held)
                .copied()
                .unwrap_or(context.now);
            context
                .memory
                .unregistered_since
                .insert(instance.provider_id.clone(), first_seen);
            let counts = &mut context.groups[index].counts;
            if context.now.duration_since(first_seen) > provision_time {
                counts.long_unregistered += 1;
            } else {
                counts.unregistered += 1;
            }
        }
    }
}

/// Since when an instance has had no node.
pub(crate) fn unregistered_since(context: &Loop<'_>, provider_id: &SmolStr) -> Option<Timestamp> {
    context.memory.unregistered_since.get(provider_id).copied()
}
