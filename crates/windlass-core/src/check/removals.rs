//! Removals: which may begin, and which instances may end.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use windlass_model::{Duration, InstanceState, Node, NodeGroup, Pod, SmolStr};

use super::{Violations, keeps};
use crate::{Action, Input, OutcomeResult, Plan, drain::Phase, plan::NodeRemoval};

const HARD_TAINT: &str = "ToBeDeletedByClusterAutoscaler";
const SCALE_DOWN_DISABLED: &str = "cluster-autoscaler.kubernetes.io/scale-down-disabled";

/// What the rules look things up in.
struct World<'a> {
    input: &'a Input<'a>,
    nodes: FxHashMap<&'a str, &'a Node>,
    groups: BTreeMap<&'a str, &'a NodeGroup>,
    group_of_instance: FxHashMap<&'a str, (&'a str, &'a InstanceState)>,
    pods: FxHashMap<&'a str, Vec<&'a Pod>>,
    rules: keeps::Rules<'a>,
}

pub(super) fn check(input: &Input<'_>, plan: &Plan, violations: &mut Violations) {
    let touches_nodes = plan.actions.iter().any(|action| {
        matches!(action, Action::TerminateInstance { .. })
            || matches!(action, Action::AddTaint { taint, .. } if taint.key == HARD_TAINT)
            || matches!(action, Action::RemoveTaint { key, .. } if key == HARD_TAINT)
    });
    if !touches_nodes && plan.scale_down.removals.is_empty() {
        return;
    }
    let world = World::new(input);
    beginnings(&world, plan, violations);
    taints(&world, plan, violations);
    terminations(&world, plan, violations);
}

impl<'a> World<'a> {
    fn new(input: &'a Input<'a>) -> Self {
        let cluster = input.cluster;
        let mut pods: FxHashMap<&str, Vec<&Pod>> = FxHashMap::default();
        for pod in &cluster.pods {
            if let Some(node) = &pod.node_name {
                pods.entry(node).or_default().push(pod);
            }
        }
        Self {
            input,
            nodes: cluster
                .nodes
                .iter()
                .map(|node| (node.name.as_str(), node.as_ref()))
                .collect(),
            groups: cluster
                .groups
                .iter()
                .map(|group| (group.name.as_str(), group))
                .collect(),
            group_of_instance: cluster
                .groups
                .iter()
                .flat_map(|group| {
                    let of = |it: &'a windlass_model::Instance| {
                        (it.provider_id.as_str(), (group.name.as_str(), &it.state))
                    };
                    group.instances.iter().map(of)
                })
                .collect(),
            pods,
            rules: keeps::Rules::new(input),
        }
    }

    fn pods_on(&self, node: &str) -> &[&'a Pod] {
        self.pods.get(node).map_or(&[], Vec::as_slice)
    }

    /// Nodes that are on their way out of a group and that its target size still counts, less
    /// those that the plan lets go.
    fn leaving(&self, group: &str, let_go: &BTreeSet<&SmolStr>) -> i64 {
        self.input
            .memory
            .drains
            .iter()
            .filter(|(node, drain)| drain.group == group && !let_go.contains(node))
            .filter(|(_, drain)| {
                !matches!(drain.phase, Phase::Undoing { .. })
                    && self
                        .group_of_instance
                        .get(drain.instance.as_str())
                        .is_some_and(|(_, state)| **state != InstanceState::Deleting)
            })
            .map(|_| 1)
            .sum()
    }
}

/// What may begin: nodes of groups above their minimum, of which no pod keeps its node.
fn beginnings(world: &World<'_>, plan: &Plan, violations: &mut Violations) {
    let input = world.input;
    let removals = &plan.scale_down.removals;
    if removals.is_empty() {
        return;
    }
    violations.unless(
        !input.cluster.is_scale_down_paused,
        "nothing is removed while scale-down is paused",
        removals.len(),
    );
    let mut seen = BTreeSet::new();
    let mut per_group: BTreeMap<&str, i64> = BTreeMap::new();
    let mut spent: BTreeMap<usize, i64> = BTreeMap::new();
    for removal in removals {
        let NodeRemoval {
            node,
            group,
            instance,
            ..
        } = removal;
        violations.unless(seen.insert(node), "a node is removed once", node);
        violations.unless(
            !is_under_way(input, node),
            "a removal that is under way does not begin again",
            node,
        );
        let Some(known) = world.nodes.get(node.as_str()) else {
            violations.add("a removed node exists", node);
            continue;
        };
        let names_it = known.provider_id == *instance
            && world
                .group_of_instance
                .get(instance.as_str())
                .is_some_and(|(of, _)| *of == group.as_str());
        violations.unless(
            names_it,
            "a removal names its node's instance and group",
            format!("{node}: {instance} of {group}"),
        );
        let is_kept = known.annotations.get(SCALE_DOWN_DISABLED);
        violations.unless(
            is_kept.is_none_or(|value| value != "true"),
            "no node is removed that an annotation keeps",
            node,
        );
        violations.unless(
            plan.scale_down.unneeded.contains(node),
            "only unneeded nodes are removed",
            node,
        );
        *per_group.entry(group.as_str()).or_default() += 1;
        pods_of_beginning(world, removal, &mut spent, violations);
    }
    for (name, count) in per_group {
        let Some(group) = world.groups.get(name) else {
            continue;
        };
        let grown = grown_by(plan, name);
        let left = group.target_size + grown - world.leaving(name, &let_go(plan)) - count;
        violations.unless(
            group.min_size <= left,
            "no group shrinks below its minimum",
            format!("{name} to {left}, minimum {}", group.min_size),
        );
    }
    counts(world, plan, violations);
}

fn pods_of_beginning(
    world: &World<'_>,
    removal: &NodeRemoval,
    spent: &mut BTreeMap<usize, i64>,
    violations: &mut Violations,
) {
    let node = &removal.node;
    let pods = world.pods_on(node);
    let mut evicts = BTreeSet::new();
    for name in removal
        .evicted
        .iter()
        .chain(&removal.evicted_daemonset_pods)
    {
        let known = pods
            .iter()
            .find(|pod| pod.name == name.name && pod.shape.namespace == name.namespace);
        match known {
            None => violations.add("an evicted pod is on the node that goes", name),
            Some(pod) => violations.unless(
                !pod.shape.safety.is_mirror,
                "no mirror pod is evicted",
                name,
            ),
        }
        violations.unless(evicts.insert(name), "a pod is evicted once in a plan", name);
    }
    let allowed = |budget: usize| {
        i64::from(world.input.cluster.disruption_budgets[budget].disruptions_allowed)
    };
    for pod in pods {
        if let Some(why) = world.rules.reason(pod) {
            violations.add(
                "no node is removed of a pod that may not be evicted",
                format!("{node}: {}/{}: {why}", pod.shape.namespace, pod.name),
            );
        }
        let is_used_up = world
            .rules
            .budgets(pod)
            .into_iter()
            .any(|budget| allowed(budget) - spent.get(&budget).copied().unwrap_or(0) < 1);
        violations.unless(
            !is_used_up || !world.rules.asks_budgets(pod),
            "no node is removed of a pod whose disruption budget is used up",
            format!("{node}: {}/{}", pod.shape.namespace, pod.name),
        );
        let has_to_move = !world.rules.does_not_count(pod)
            && !keeps::Rules::is_of_daemonset(pod)
            && pod.shape.safety.safe_to_evict.as_deref() != Some("on-completion");
        violations.unless(
            !(removal.is_empty && has_to_move),
            "an empty node has no pod to move",
            format!("{node}: {}/{}", pod.shape.namespace, pod.name),
        );
        let is_named = removal
            .evicted
            .iter()
            .any(|it| it.name == pod.name && it.namespace == pod.shape.namespace);
        violations.unless(
            !has_to_move || is_named || removal.is_empty,
            "every pod that has to move is named",
            format!("{node}: {}/{}", pod.shape.namespace, pod.name),
        );
    }
    for pod in pods {
        let moves = !world.rules.does_not_count(pod) && !keeps::Rules::is_of_daemonset(pod);
        if moves {
            for budget in world.rules.budgets(pod) {
                *spent.entry(budget).or_default() += 1;
            }
        }
    }
}

/// Whether a removal of the node has begun, and has not been undone by now.
fn is_under_way(input: &Input<'_>, node: &SmolStr) -> bool {
    let is_undone = input.outcomes.iter().any(|outcome| {
        outcome.result == OutcomeResult::Done
            && matches!(&outcome.action, Action::RemoveTaint { node: it, key, .. }
                if it == node && key == HARD_TAINT)
    });
    input
        .memory
        .drains
        .get(node)
        .is_some_and(|drain| !(is_undone && matches!(drain.phase, Phase::Undoing { .. })))
}

/// How much a plan enlarges a group.
fn grown_by(plan: &Plan, group: &str) -> i64 {
    plan.actions
        .iter()
        .map(|action| match action {
            Action::IncreaseSize(resize) if resize.group == group => resize.to - resize.from,
            _ => 0,
        })
        .sum()
}

/// How many removals there are at once, and within an hour.
fn counts(world: &World<'_>, plan: &Plan, violations: &mut Violations) {
    let (input, actuation) = (world.input, &world.input.config.actuation);
    let has_whole_groups = plan.scale_down.removals.iter().any(|removal| {
        world
            .groups
            .get(removal.group.as_str())
            .is_some_and(|group| group.options.zero_or_max_node_scaling == Some(true))
    });
    if has_whole_groups {
        return;
    }
    let let_go = let_go(plan);
    let ended: BTreeSet<&SmolStr> = plan.scale_down.ended.iter().map(|it| &it.node).collect();
    let under_way = |wanted: Option<bool>| -> usize {
        input
            .memory
            .drains
            .iter()
            .filter(|(node, _)| !let_go.contains(node) && !ended.contains(node))
            .filter(|(_, drain)| {
                !matches!(
                    drain.phase,
                    Phase::Terminated { .. } | Phase::Undoing { .. }
                )
            })
            .filter(|(_, drain)| wanted.is_none_or(|is_empty| drain.is_empty == is_empty))
            .count()
    };
    let removals = &plan.scale_down.removals;
    let at_once = under_way(None) + removals.len();
    violations.unless(
        at_most(at_once, actuation.max_scale_down_parallelism),
        "no more removals at once than --max-scale-down-parallelism",
        at_once,
    );
    let to_drain = removals.iter().filter(|removal| !removal.is_empty).count();
    let drains = under_way(Some(false)) + to_drain;
    violations.unless(
        to_drain == 0 || at_most(drains, actuation.max_drain_parallelism),
        "no more drains at once than --max-drain-parallelism",
        drains,
    );
    if let Some(most) = input
        .config
        .safety
        .removals_per_hour(input.cluster.nodes.len())
    {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        // Who raises the number at once above its default means at least that in an hour.
        let most = match actuation.max_scale_down_parallelism {
            at_once if at_once > 10 => most.max(at_once),
            _ => most,
        };
        let hour = Duration::from_hours(1);
        let recent = input
            .memory
            .recent_removals
            .iter()
            .filter(|at| input.now.duration_since(**at) < hour)
            .count();
        violations.unless(
            at_most(recent + removals.len(), most),
            "no more removals within an hour than --max-removals-per-hour",
            recent + removals.len(),
        );
    }
}

/// Nodes whose removal the plan undoes.
fn let_go(plan: &Plan) -> BTreeSet<&SmolStr> {
    plan.actions
        .iter()
        .filter_map(|action| match action {
            Action::RemoveTaint { node, key, .. } if key == HARD_TAINT => Some(node),
            _ => None,
        })
        .collect()
}

fn at_most(count: usize, most: i64) -> bool {
    i64::try_from(count).is_ok_and(|count| count <= most)
}

/// The taint of a removal is written for removals alone, and never taken from a node that the same
/// plan goes on removing.
fn taints(world: &World<'_>, plan: &Plan, violations: &mut Violations) {
    let begins: BTreeSet<&SmolStr> = plan.scale_down.removals.iter().map(|it| &it.node).collect();
    let mut tainted = BTreeSet::new();
    let mut untainted = BTreeSet::new();
    for action in &plan.actions {
        match action {
            Action::AddTaint { node, taint, .. } if taint.key == HARD_TAINT => {
                violations.unless(tainted.insert(node), "a node is tainted once", node);
                violations.unless(
                    begins.contains(node) || world.input.memory.drains.contains_key(node),
                    "the taint of a removal is written for removals alone",
                    node,
                );
            }
            Action::RemoveTaint { node, key, .. } if key == HARD_TAINT => {
                untainted.insert(node);
            }
            _ => {}
        }
    }
    for node in begins {
        violations.unless(
            tainted.contains(node),
            "a removal begins with its taint",
            node,
        );
    }
    for action in &plan.actions {
        let node = match action {
            Action::Evict { node, .. } | Action::TerminateInstance { node, .. } => node,
            Action::AddTaint { node, taint, .. } if taint.key == HARD_TAINT => node,
            _ => continue,
        };
        violations.unless(
            !untainted.contains(node),
            "a node whose removal is undone is left alone",
            node,
        );
    }
}

/// Which instances may end: those of nodes whose removal an earlier loop began.
#[expect(
    clippy::too_many_lines,
    reason = "one rule after the other over the same tallies"
)]
fn terminations(world: &World<'_>, plan: &Plan, violations: &mut Violations) {
    let input = world.input;
    let mut ended: BTreeSet<&SmolStr> = BTreeSet::new();
    let mut nodes: BTreeSet<&SmolStr> = BTreeSet::new();
    let mut per_group: BTreeMap<&str, i64> = BTreeMap::new();
    let deleted: BTreeSet<&SmolStr> = plan
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::DeleteInstances { instances, .. } => Some(instances),
            _ => None,
        })
        .flatten()
        .collect();
    for action in &plan.actions {
        let Action::TerminateInstance {
            group,
            node,
            instance,
            ..
        } = action
        else {
            continue;
        };
        violations.unless(
            ended.insert(instance) && nodes.insert(node) && !deleted.contains(instance),
            "an instance is terminated once",
            instance,
        );
        *per_group.entry(group.as_str()).or_default() += 1;
        // What memory has an earlier loop began; the clock may have been put back since.
        let planned = input.memory.drains.get(node).filter(|drain| {
            drain.instance == *instance
                && drain.group == *group
                && !matches!(
                    drain.phase,
                    Phase::Terminated { .. } | Phase::Undoing { .. }
                )
        });
        let Some(drain) = planned else {
            violations.add(
                "an instance is terminated whose removal was planned",
                format!("{instance} of {node}"),
            );
            continue;
        };
        let is_tainted = !matches!(drain.phase, Phase::Tainting { done_at: None })
            || input.outcomes.iter().any(|outcome| {
                outcome.result == OutcomeResult::Done
                    && matches!(&outcome.action, Action::AddTaint { node: it, taint, .. }
                        if it == node && taint.key == HARD_TAINT)
            });
        violations.unless(is_tainted, "a node is tainted before its end", node);
        violations.unless(
            world
                .nodes
                .get(node.as_str())
                .is_none_or(|it| it.provider_id == *instance),
            "a removal names its node's instance and group",
            format!("{node}: {instance}"),
        );
        violations.unless(
            world
                .group_of_instance
                .get(instance.as_str())
                .is_some_and(|(of, _)| *of == group.as_str()),
            "a terminated instance is the group's",
            format!("{instance} of {group}"),
        );
        for pod in world.pods_on(node) {
            if let Some(why) = world.rules.reason(pod) {
                violations.add(
                    "no node is removed of a pod that may not be evicted",
                    format!("{node}: {}/{}: {why}", pod.shape.namespace, pod.name),
                );
            }
        }
    }
    for (name, count) in per_group {
        let Some(group) = world.groups.get(name) else {
            violations.add("instances are terminated in groups that exist", name);
            continue;
        };
        let elsewhere = input
            .memory
            .drains
            .iter()
            .filter(|(node, drain)| {
                drain.group == name && drain.phase == Phase::Terminating && !nodes.contains(node)
            })
            .filter(|(_, drain)| {
                drain.asked_at.is_some()
                    && world
                        .group_of_instance
                        .get(drain.instance.as_str())
                        .is_some_and(|(_, state)| **state == InstanceState::Running)
            })
            .map(|_| 1_i64)
            .sum::<i64>();
        let left = group.target_size + grown_by(plan, name) - count - elsewhere;
        violations.unless(
            group.min_size <= left,
            "no group shrinks below its minimum",
            format!("{name} to {left}, minimum {}", group.min_size),
        );
    }
}
