//! Sizes of groups, and instances that end without having been nodes.

use std::collections::{BTreeMap, BTreeSet};

use windlass_model::{Cluster, InstanceState, NodeGroup, SmolStr};

use super::Violations;
use crate::{Action, Input, Plan};

pub(super) fn check(input: &Input<'_>, plan: &Plan, violations: &mut Violations) {
    let mut targets: BTreeMap<&str, i64> = input
        .cluster
        .groups
        .iter()
        .map(|group| (group.name.as_str(), group.target_size))
        .collect();
    for action in &plan.actions {
        let (name, from, to) = match action {
            Action::IncreaseSize(resize) => (&resize.group, resize.from, resize.to),
            Action::DecreaseTargetSize { group, from, to } => (group, *from, *to),
            Action::DeleteInstances {
                group, instances, ..
            } => {
                if let Some(target) = targets.get_mut(group.as_str()) {
                    *target -= i64::try_from(instances.len()).unwrap_or(i64::MAX);
                }
                continue;
            }
            _ => continue,
        };
        let Some(group) = group_of(input.cluster, name) else {
            violations.add("only groups that exist are resized", name);
            continue;
        };
        // An earlier action of the plan may have changed it.
        let target = targets.insert(&group.name, to).unwrap_or(0);
        violations.unless(
            from == target,
            "a resize starts from the target size",
            format!("{name} from {from}, target {target}"),
        );
        if matches!(action, Action::IncreaseSize(_)) {
            violations.unless(
                from < to,
                "an increase increases",
                format!("{name} from {from} to {to}"),
            );
            violations.unless(
                to <= group.max_size,
                "no group grows over its maximum",
                format!("{name} to {to}, maximum {}", group.max_size),
            );
        } else {
            violations.unless(
                to < from && 0 <= to,
                "a decrease decreases",
                format!("{name} from {from} to {to}"),
            );
            let registered = registered(input.cluster, group);
            violations.unless(
                registered <= to,
                "a decrease of the target size ends no instance",
                format!("{name} to {to}, {registered} instances registered"),
            );
        }
    }
    deletions(input, plan, violations);
}

/// Instances that never became nodes.
fn deletions(input: &Input<'_>, plan: &Plan, violations: &mut Violations) {
    let mut deleted: BTreeSet<&SmolStr> = BTreeSet::new();
    for action in &plan.actions {
        let Action::DeleteInstances {
            group,
            instances,
            never_joined,
            force,
        } = action
        else {
            continue;
        };
        let Some(state) = group_of(input.cluster, group) else {
            violations.add("instances are deleted from groups that exist", group);
            continue;
        };
        violations.unless(
            never_joined.iter().all(|id| instances.contains(id)),
            "what is asked about before a deletion is deleted",
            group,
        );
        let mut that_could_have_run = 0;
        for id in instances {
            violations.unless(deleted.insert(id), "an instance is deleted once", id);
            let Some(instance) = state.instances.iter().find(|it| it.provider_id == *id) else {
                violations.add(
                    "a deleted instance is the group's",
                    format!("{id} of {group}"),
                );
                continue;
            };
            let is_registered = input.cluster.nodes.iter().any(|it| it.provider_id == *id);
            // A group that goes as a whole goes with those that came.
            let goes_whole = state.options.zero_or_max_node_scaling == Some(true);
            violations.unless(
                goes_whole || !is_registered,
                "an instance that became a node is drained, not deleted",
                id,
            );
            let has_failed = matches!(instance.state, InstanceState::Creating { error: Some(_) });
            that_could_have_run += i64::from(!has_failed);
        }
        violations.unless(
            !state.notices.is_unproven || that_could_have_run == 0,
            "nothing is deleted of a group that may be another cluster's",
            group,
        );
        let left = state.target_size - that_could_have_run;
        violations.unless(
            *force || that_could_have_run == 0 || state.min_size <= left,
            "no group shrinks below its minimum",
            format!("{group} to {left}, minimum {}", state.min_size),
        );
    }
}

fn group_of<'c>(cluster: &'c Cluster, name: &str) -> Option<&'c NodeGroup> {
    cluster.groups.iter().find(|group| group.name == name)
}

fn registered(cluster: &Cluster, group: &NodeGroup) -> i64 {
    let ids: BTreeSet<&SmolStr> = group.instances.iter().map(|it| &it.provider_id).collect();
    cluster
        .nodes
        .iter()
        .map(|node| i64::from(ids.contains(&node.provider_id)))
        .sum()
}
