//! Sizes of groups, and instances that end without having been nodes.

use std::collections::BTreeSet;

use windlass_model::{Cluster, InstanceState, NodeGroup, SmolStr};

use super::Violations;
use crate::{Action, Input, Plan};

pub(super) fn check(input: &Input<'_>, plan: &Plan, violations: &mut Violations) {
    let mut resized: BTreeSet<&SmolStr> = BTreeSet::new();
    for action in &plan.actions {
        match action {
            Action::IncreaseSize(resize) => {
                let name = &resize.group;
                let rule = "a group is resized once in a plan";
                violations.unless(resized.insert(name), rule, name);
                let Some(group) = group_of(input.cluster, name) else {
                    violations.add("only groups that exist are resized", name);
                    continue;
                };
                let (from, to) = (resize.from, resize.to);
                let target = group.target_size;
                violations.unless(
                    from == target,
                    "a resize starts from the target size",
                    format!("{name} from {from}, target {target}"),
                );
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
            }
            Action::DecreaseTargetSize { group, from, to } => {
                let rule = "a group is resized once in a plan";
                violations.unless(resized.insert(group), rule, group);
                let Some(state) = group_of(input.cluster, group) else {
                    violations.add("only groups that exist are resized", group);
                    continue;
                };
                violations.unless(
                    *from == state.target_size,
                    "a resize starts from the target size",
                    format!("{group} from {from}, target {}", state.target_size),
                );
                violations.unless(
                    to < from && 0 <= *to,
                    "a decrease decreases",
                    format!("{group} from {from} to {to}"),
                );
                let registered = registered(input.cluster, state);
                violations.unless(
                    registered <= *to,
                    "a decrease of the target size ends no instance",
                    format!("{group} to {to}, {registered} instances registered"),
                );
            }
            _ => {}
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
            force,
        } = action
        else {
            continue;
        };
        let Some(state) = group_of(input.cluster, group) else {
            violations.add("instances are deleted from groups that exist", group);
            continue;
        };
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
            violations.unless(
                !is_registered,
                "an instance that became a node is drained, not deleted",
                id,
            );
            let has_failed = matches!(instance.state, InstanceState::Creating { error: Some(_) });
            that_could_have_run += i64::from(!has_failed);
        }
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
