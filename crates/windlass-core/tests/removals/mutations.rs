//! Plans that are made worse in one point are refused, each for that point.

use std::collections::BTreeSet;

use windlass_core::{Action, Input, Outcome, OutcomeResult, Plan, Resize, ResizeCause, check};
use windlass_model::{Effect, ObjectName, SmolStr, Taint};

use crate::world::{World, seconds};

const HARD: &str = "ToBeDeletedByClusterAutoscaler";

/// A world in which a removal begins, a drain evicts and another node is about to end.
struct Stage {
    world: World,
    plan: Plan,
}

/// The plan of a loop that begins removals: `empty-0` and `empty-1` without pods, `full-0` with two
/// movable pods, a DaemonSet's and a mirror pod; `busy-0` stays.
fn beginning() -> Stage {
    let mut world = World::new(&[
        "--max-drain-parallelism=2",
        "--max-scale-down-parallelism=4",
    ]);
    world.group("empty", 1, 3);
    world.group("full", 0, 1);
    world.group("busy", 1, 2);
    world.pod("web", "full-0", 300, |_| {});
    world.pod("web", "full-0", 300, |_| {});
    world.daemonset_pod("full-0", |_| {});
    world.pod("kubelet", "full-0", 10, |shape| {
        shape.safety.is_mirror = true;
    });
    world.pod("db", "busy-0", 2500, |_| {});
    world.pod("db", "busy-1", 2500, |_| {});
    world.budget("web", 2);
    let plan = world.decide().plan;
    assert_eq!(plan.scale_down.removals.len(), 3);
    Stage { world, plan }
}

/// The plan of a loop that evicts the pods of `full-0`.
fn evicting() -> Stage {
    let mut world = beginning().world;
    world.step();
    world.now += seconds(1);
    world.step();
    world.now += seconds(5);
    let plan = world.decide().plan;
    let evicts = |it: &&Action| matches!(it, Action::Evict { .. });
    assert_eq!(plan.actions.iter().filter(evicts).count(), 3);
    Stage { world, plan }
}

/// The plan of a loop that terminates the empty nodes.
fn terminating() -> Stage {
    let stage = evicting();
    let terminates = |it: &&Action| matches!(it, Action::TerminateInstance { .. });
    assert_eq!(stage.plan.actions.iter().filter(terminates).count(), 2);
    stage
}

/// A plan that grows a group by two, and takes back what never came to another.
fn growing() -> Stage {
    let stage = beginning();
    let mut plan = Plan::default();
    plan.actions.push(Action::IncreaseSize(Resize {
        group: "busy".into(),
        from: 2,
        to: 4,
        max: 100,
        cause: ResizeCause::PendingPods,
        zone: None,
    }));
    let mut world = stage.world;
    world.groups[1].target_size = 3;
    plan.actions.push(Action::DecreaseTargetSize {
        group: "full".into(),
        from: 3,
        to: 1,
    });
    Stage { world, plan }
}

type Change = fn(&mut World, &mut Plan);

fn violated(stage: Stage, change: Change) -> BTreeSet<&'static str> {
    let Stage {
        mut world,
        mut plan,
    } = stage;
    let judge = |input: &Input<'_>, plan: &Plan| check(input, plan);
    let before = world.with_input(|input| judge(input, &plan));
    assert!(before.is_empty(), "a good plan passes: {before:#?}");
    change(&mut world, &mut plan);
    let after = world.with_input(|input| judge(input, &plan));
    after.iter().map(|violation| violation.rule).collect()
}

#[track_caller]
fn refuses(stage: fn() -> Stage, cases: &[(&'static str, &str, Change)]) {
    for (rule, what, change) in cases {
        let violated = violated(stage(), *change);
        assert!(violated.contains(rule), "{what}: {violated:?}");
    }
    eprintln!("{} mutated plans were refused", cases.len());
}

fn resize(plan: &mut Plan) -> &mut Resize {
    plan.actions
        .iter_mut()
        .find_map(|action| match action {
            Action::IncreaseSize(resize) => Some(resize),
            _ => None,
        })
        .unwrap()
}

fn decrease(plan: &mut Plan) -> (&mut SmolStr, &mut i64, &mut i64) {
    plan.actions
        .iter_mut()
        .find_map(|action| match action {
            Action::DecreaseTargetSize { group, from, to } => Some((group, from, to)),
            _ => None,
        })
        .unwrap()
}

fn evict(plan: &mut Plan) -> (&mut ObjectName, &mut SmolStr, &mut SmolStr) {
    plan.actions
        .iter_mut()
        .find_map(|action| match action {
            Action::Evict { pod, uid, node, .. } => Some((pod, uid, node)),
            _ => None,
        })
        .unwrap()
}

fn terminate(plan: &mut Plan) -> (&mut SmolStr, &mut SmolStr, &mut SmolStr) {
    plan.actions
        .iter_mut()
        .find_map(|action| match action {
            Action::TerminateInstance {
                group,
                node,
                instance,
                ..
            } => Some((group, node, instance)),
            _ => None,
        })
        .unwrap()
}

fn repeat(plan: &mut Plan, wanted: fn(&Action) -> bool) {
    let again = plan.actions.iter().find(|action| wanted(action)).cloned();
    plan.actions.extend(again);
}

/// Changes the shape of the first pod of `app`.
fn reshape(world: &mut World, app: &str, change: impl FnOnce(&mut windlass_model::PodShape)) {
    let owned =
        |pod: &&mut windlass_model::Pod| pod.shape.labels.get("app").is_some_and(|it| it == app);
    let pod = world.pods.iter_mut().find(owned).unwrap();
    let mut shape = (*pod.shape).clone();
    change(&mut shape);
    pod.shape = std::sync::Arc::new(shape);
}

fn delete(group: &str, instance: &str) -> Action {
    Action::DeleteInstances {
        group: group.into(),
        instances: vec![instance.into()],
        never_joined: Vec::new(),
        force: false,
    }
}

fn hard_taint(node: &str) -> Action {
    Action::AddTaint {
        node: node.into(),
        taint: Taint {
            key: HARD.into(),
            value: "1".into(),
            effect: Effect::NoSchedule,
            time_added: None,
        },
        cordon: true,
    }
}

fn untaint(node: &str) -> Action {
    Action::RemoveTaint {
        node: node.into(),
        key: HARD.into(),
        uncordon: true,
    }
}

const MINIMUM: &str = "no group shrinks below its minimum";
const MAXIMUM: &str = "no group grows over its maximum";
const FROM_TARGET: &str = "a resize starts from the target size";
const INCREASES: &str = "an increase increases";
const DECREASES: &str = "a decrease decreases";
const ENDS_NOTHING: &str = "a decrease of the target size ends no instance";
const KNOWN_GROUP: &str = "only groups that exist are resized";
const NOT_EVICTABLE: &str = "no node is removed of a pod that may not be evicted";
const USED_UP: &str = "no node is removed of a pod whose disruption budget is used up";
const OVERDRAWN: &str = "no disruption budget is overdrawn";
const PLANNED: &str = "an instance is terminated whose removal was planned";
const TERMINATED_ONCE: &str = "an instance is terminated once";

#[test]
fn sizes_that_are_wrong_are_refused() {
    refuses(
        growing,
        &[
            (MAXIMUM, "one too many", |world, plan| {
                world.groups[2].max_size = 4;
                resize(plan).to = 5;
            }),
            (MAXIMUM, "a smaller maximum", |world, _| {
                world.groups[2].max_size = 3;
            }),
            (FROM_TARGET, "from one more", |_, plan| {
                resize(plan).from = 3;
            }),
            (FROM_TARGET, "the target has moved", |world, _| {
                world.groups[2].target_size = 3;
            }),
            (FROM_TARGET, "the same resize twice", |_, plan| {
                repeat(plan, |it| matches!(it, Action::IncreaseSize(_)));
            }),
            (FROM_TARGET, "the same decrease twice", |_, plan| {
                repeat(plan, |it| matches!(it, Action::DecreaseTargetSize { .. }));
            }),
            (INCREASES, "to the same", |_, plan| resize(plan).to = 2),
            (INCREASES, "to less", |_, plan| resize(plan).to = 1),
            (KNOWN_GROUP, "no such group", |_, plan| {
                resize(plan).group = "none".into();
            }),
            (KNOWN_GROUP, "no such group to shrink", |_, plan| {
                *decrease(plan).0 = "none".into();
            }),
            (FROM_TARGET, "a decrease from one less", |_, plan| {
                *decrease(plan).1 = 2;
            }),
            (DECREASES, "a decrease that grows", |_, plan| {
                *decrease(plan).2 = 4;
            }),
            (ENDS_NOTHING, "below the nodes there are", |_, plan| {
                *decrease(plan).2 = 0;
            }),
            (DECREASES, "below nothing", |_, plan| *decrease(plan).2 = -1),
        ],
    );
}

#[test]
fn deletions_of_what_lives_are_refused() {
    refuses(
        growing,
        &[
            (
                "an instance that became a node is drained, not deleted",
                "a node",
                |_, plan| {
                    plan.actions.push(delete("busy", "aws:///z/i-busy-0"));
                },
            ),
            (
                "a deleted instance is the group's",
                "of another group",
                |_, plan| {
                    plan.actions.push(delete("full", "aws:///z/i-busy-0"));
                },
            ),
            (
                "a deleted instance is the group's",
                "of nobody",
                |_, plan| {
                    plan.actions.push(delete("busy", "aws:///z/i-nobody"));
                },
            ),
            (
                "instances are deleted from groups that exist",
                "no such group",
                |_, plan| {
                    plan.actions.push(delete("none", "aws:///z/i-busy-0"));
                },
            ),
            ("an instance is deleted once", "twice", |_, plan| {
                plan.actions.push(delete("busy", "aws:///z/i-busy-0"));
                plan.actions.push(delete("busy", "aws:///z/i-busy-0"));
            }),
            (MINIMUM, "below the minimum", |world, plan| {
                world.nodes.remove("busy-0");
                world.groups[2].min_size = 2;
                plan.actions.push(delete("busy", "aws:///z/i-busy-0"));
            }),
        ],
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "one line of a table a mutation")]
fn removals_that_should_not_begin_are_refused() {
    refuses(
        beginning,
        &[
            (MINIMUM, "a larger minimum", |world, _| {
                world.groups[0].min_size = 2;
            }),
            (MINIMUM, "a smaller target", |world, _| {
                world.groups[0].target_size = 2;
            }),
            (MINIMUM, "one node more", |_, plan| {
                let mut removal = plan.scale_down.removals[0].clone();
                removal.node = "empty-2".into();
                removal.instance = "aws:///z/i-empty-2".into();
                plan.scale_down.unneeded.push("empty-2".into());
                plan.actions.push(hard_taint("empty-2"));
                plan.scale_down.removals.push(removal);
            }),
            (
                "only unneeded nodes are removed",
                "a node that is needed",
                |_, plan| {
                    plan.scale_down.unneeded.retain(|node| node != "empty-0");
                },
            ),
            ("a removal begins with its taint", "no taint", |_, plan| {
                plan.actions
                    .retain(|it| !matches!(it, Action::AddTaint { node, .. } if node == "empty-0"));
            }),
            (
                "the taint of a removal is written for removals alone",
                "a bystander",
                |_, plan| {
                    plan.actions.push(hard_taint("busy-0"));
                },
            ),
            ("a node is tainted once", "tainted twice", |_, plan| {
                plan.actions.push(hard_taint("empty-0"));
            }),
            ("a node is removed once", "twice", |_, plan| {
                let again = plan.scale_down.removals[0].clone();
                plan.scale_down.removals.push(again);
            }),
            (
                "a removed node exists",
                "a node that is gone",
                |world, _| {
                    world.nodes.remove("empty-0");
                },
            ),
            (
                "a removal names its node's instance and group",
                "another's instance",
                |_, plan| {
                    plan.scale_down.removals[0].instance = "aws:///z/i-busy-0".into();
                },
            ),
            (
                "a removal names its node's instance and group",
                "another group",
                |_, plan| {
                    plan.scale_down.removals[0].group = "busy".into();
                },
            ),
            (
                "no node is removed that an annotation keeps",
                "annotated",
                |world, _| {
                    let key = "cluster-autoscaler.kubernetes.io/scale-down-disabled";
                    world
                        .nodes
                        .get_mut("empty-0")
                        .unwrap()
                        .annotations
                        .insert(key, "true");
                },
            ),
            (
                "nothing is removed while scale-down is paused",
                "paused",
                |world, _| {
                    world.is_paused = true;
                },
            ),
            (NOT_EVICTABLE, "not safe to evict", |world, _| {
                reshape(world, "web", |shape| {
                    shape.safety.safe_to_evict = Some("false".into());
                });
            }),
            (NOT_EVICTABLE, "nobody makes it again", |world, _| {
                reshape(world, "web", |shape| shape.controller = None);
            }),
            (NOT_EVICTABLE, "its controller is gone", |world, _| {
                world.workloads.retain(|it| it.name.name != "web");
            }),
            (NOT_EVICTABLE, "the DaemonSet is gone", |world, _| {
                world.workloads.retain(|it| it.name.name != "agent");
            }),
            (NOT_EVICTABLE, "an unknown controller", |world, _| {
                reshape(world, "web", |shape| {
                    shape.controller.as_mut().unwrap().kind = "Rollout".into();
                });
            }),
            (NOT_EVICTABLE, "local storage", |world, _| {
                reshape(world, "web", |shape| {
                    let volume = windlass_model::Volume {
                        name: "scratch".into(),
                        source: windlass_model::VolumeSource::EmptyDir { in_memory: false },
                    };
                    let mut constraints = (*shape.constraints).clone();
                    constraints.volumes.push(volume);
                    shape.constraints = std::sync::Arc::new(constraints);
                });
            }),
            (NOT_EVICTABLE, "too few replicas", |world, _| {
                world.config.drain.min_replica_count = 4;
            }),
            (NOT_EVICTABLE, "a young pod of kube-system", |world, _| {
                world.pods[0].created_at = Some(world.now - seconds(60));
                reshape(world, "web", |shape| {
                    shape.namespace = "kube-system".into();
                    shape.controller.as_mut().unwrap().kind = "StatefulSet".into();
                });
                let mut workload = world.workloads[0].clone();
                workload.kind = windlass_model::WorkloadKind::StatefulSet;
                workload.name.namespace = "kube-system".into();
                world.workloads.push(workload);
            }),
            (USED_UP, "the budget is used up", |world, _| {
                world.budgets[0].disruptions_allowed = 0;
            }),
            (USED_UP, "a second budget is used up", |world, _| {
                world.budget("web", 0);
            }),
            (
                "every pod that has to move is named",
                "a pod forgotten",
                |_, plan| {
                    let last = plan.scale_down.removals.last_mut().unwrap();
                    last.evicted.pop();
                },
            ),
            (
                "an empty node has no pod to move",
                "called empty",
                |_, plan| {
                    plan.scale_down.removals.last_mut().unwrap().is_empty = true;
                },
            ),
            (
                "an evicted pod is on the node that goes",
                "another node's pod",
                |_, plan| {
                    let last = plan.scale_down.removals.last_mut().unwrap();
                    last.evicted.push(ObjectName::new("default", "db-5"));
                },
            ),
            ("no mirror pod is evicted", "a mirror pod", |_, plan| {
                let last = plan.scale_down.removals.last_mut().unwrap();
                last.evicted.push(ObjectName::new("default", "kubelet-4"));
            }),
            (
                "no more removals at once than --max-scale-down-parallelism",
                "too many",
                |world, _| {
                    world.config.actuation.max_scale_down_parallelism = 2;
                },
            ),
            (
                "no more drains at once than --max-drain-parallelism",
                "too many drains",
                |world, _| {
                    world.config.actuation.max_drain_parallelism = 0;
                },
            ),
            (
                "no more removals within an hour than --max-removals-per-hour",
                "too fast",
                |world, _| {
                    world.memory.recent_removals = vec![world.now - seconds(30); 19];
                },
            ),
        ],
    );
}

#[test]
fn evictions_that_harm_are_refused() {
    refuses(
        evicting,
        &[
            (OVERDRAWN, "a smaller budget", |world, _| {
                world.budgets[0].disruptions_allowed = 1;
            }),
            (OVERDRAWN, "one more budget", |world, _| {
                world.budget("web", 1);
            }),
            ("a pod is evicted once in a plan", "twice", |_, plan| {
                repeat(plan, |it| matches!(it, Action::Evict { .. }));
            }),
            (
                "pods are evicted from nodes whose removal has begun",
                "from a bystander",
                |_, plan| {
                    *evict(plan).2 = "busy-0".into();
                },
            ),
            (
                "an evicted pod is on the node that goes",
                "elsewhere",
                |world, _| {
                    world.pods[0].node_name = Some("busy-0".into());
                },
            ),
            ("an evicted pod exists", "a namesake", |_, plan| {
                *evict(plan).1 = "other".into();
            }),
            ("an evicted pod exists", "another name", |_, plan| {
                evict(plan).0.name = "other".into();
            }),
            ("no mirror pod is evicted", "a mirror pod", |world, _| {
                reshape(world, "web", |shape| shape.safety.is_mirror = true);
            }),
            (
                "pods are evicted from nodes whose removal has begun",
                "nobody planned it",
                |world, _| {
                    world.memory.drains.remove("full-0");
                },
            ),
            (
                "a node whose removal is undone is left alone",
                "undone besides",
                |_, plan| {
                    plan.actions.push(untaint("full-0"));
                },
            ),
        ],
    );
}

#[test]
fn terminations_of_the_wrong_instance_are_refused() {
    refuses(
        terminating,
        &[
            (PLANNED, "a victim unnamed", |world, _| {
                world.memory.drains.remove("empty-0");
            }),
            (PLANNED, "another node's", |_, plan| {
                *terminate(plan).1 = "busy-0".into();
            }),
            (PLANNED, "another instance", |_, plan| {
                *terminate(plan).2 = "aws:///z/i-busy-0".into();
            }),
            (PLANNED, "another group", |_, plan| {
                *terminate(plan).0 = "busy".into();
            }),
            (PLANNED, "given up", |world, _| {
                let drain = world.memory.drains.get_mut("empty-0").unwrap();
                drain.phase = windlass_core::drain::Phase::Undoing { retry_at: None };
            }),
            (PLANNED, "ended before", |world, _| {
                let at = world.now;
                let drain = world.memory.drains.get_mut("empty-0").unwrap();
                drain.phase = windlass_core::drain::Phase::Terminated { at };
            }),
            (
                "a node is tainted before its end",
                "not tainted",
                |world, _| {
                    let drain = world.memory.drains.get_mut("empty-0").unwrap();
                    drain.phase = windlass_core::drain::Phase::Tainting { done_at: None };
                },
            ),
            (TERMINATED_ONCE, "twice", |_, plan| {
                repeat(plan, |it| matches!(it, Action::TerminateInstance { .. }));
            }),
            (TERMINATED_ONCE, "deleted besides", |_, plan| {
                plan.actions.push(delete("empty", "aws:///z/i-empty-0"));
            }),
            (MINIMUM, "a larger minimum", |world, _| {
                world.groups[0].min_size = 2;
            }),
            (MINIMUM, "a smaller target", |world, _| {
                world.groups[0].target_size = 2;
            }),
            (
                "a terminated instance is the group's",
                "gone from the group",
                |world, _| {
                    world.groups[0].instances.remove(0);
                },
            ),
            (
                "instances are terminated in groups that exist",
                "the group is gone",
                |world, _| {
                    world.groups.remove(0);
                },
            ),
            (
                NOT_EVICTABLE,
                "a pod that must stay has come",
                |world, _| {
                    world.pod("late", "empty-0", 10, |shape| {
                        shape.safety.safe_to_evict = Some("false".into());
                    });
                },
            ),
            (
                "a removal names its node's instance and group",
                "a namesake of the node",
                |world, _| {
                    world.nodes.get_mut("empty-0").unwrap().provider_id = "aws:///z/i-new".into();
                },
            ),
        ],
    );
}

#[test]
fn an_outcome_of_another_action_proves_nothing() {
    let Stage { mut world, plan } = terminating();
    let drain = world.memory.drains.get_mut("empty-0").unwrap();
    drain.phase = windlass_core::drain::Phase::Tainting { done_at: None };
    world.outcomes.push(Outcome {
        action: hard_taint("empty-1"),
        result: OutcomeResult::Done,
    });
    let violations = world.with_input(|input| check(input, &plan));
    assert!(!violations.is_empty());
    world.outcomes.push(Outcome {
        action: hard_taint("empty-0"),
        result: OutcomeResult::Done,
    });
    let violations = world.with_input(|input| check(input, &plan));
    assert!(violations.is_empty(), "{violations:?}");
}
