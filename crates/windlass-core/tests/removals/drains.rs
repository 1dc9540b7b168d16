//! A removal, from its taint to its end.

use windlass_core::{Action, OutcomeResult, drain::Phase};
use windlass_model::{Duration, SmolStr, Taint};

use crate::world::{World, seconds, start};

const HARD: &str = "ToBeDeletedByClusterAutoscaler";

fn refused() -> OutcomeResult {
    OutcomeResult::Refused {
        message: "no".to_owned(),
    }
}

/// One node with two pods that fit on the other, busier one.
fn two_nodes(flags: &[&str]) -> World {
    let mut world = World::new(flags);
    world.group("a", 0, 2);
    world.pod("web", "a-0", 500, |_| {});
    world.pod("web", "a-0", 500, |_| {});
    world.pod("busy", "a-1", 2500, |_| {});
    world
}

#[test]
fn an_empty_node_is_tainted_waited_for_and_terminated() {
    let mut world = World::new(&[]);
    world.group("a", 0, 2);
    world.pod("busy", "a-1", 3000, |_| {});
    world.run(seconds(20));
    let tainted = world.times(
        |it| matches!(it, Action::AddTaint { taint, cordon: true, .. } if taint.key == HARD),
    );
    assert_eq!(tainted, [0]);
    assert_eq!(world.terminations(), [5]);
    assert!(!world.nodes.contains_key("a-0") && world.is_clean("a-1"));
    assert!(world.memory.drains.is_empty());
    world.assert_event("ScaleDownEmpty", "Scale-down: removing empty node \"a-0\"");
    world.assert_event("ScaleDown", "nodes removed by cluster autoscaler");
    world.assert_event("ScaleDownEmpty", "Scale-down: empty node a-0 removed");
}

#[test]
fn an_occupied_node_is_drained_before_it_goes() {
    let mut world = two_nodes(&[]);
    let plan = world.step();
    assert_eq!(plan.scale_down.removals[0].evicted.len(), 2);
    world.now += seconds(1);
    world.run(seconds(30));
    let evictions = world.times(|it| matches!(it, Action::Evict { .. }));
    assert_eq!(
        evictions,
        [6, 6],
        "5 s after the outcome of the taint was known"
    );
    let terminations = world.terminations();
    assert_eq!(terminations.len(), 1);
    assert!(8 <= terminations[0], "only when its pods are gone");
    world.assert_event("ScaleDown", "deleting pod for node scale down");
    world.assert_event("ScaleDown", "Scale-down: node a-0 removed with drain");
    world.assert_event("ScaleDown", "removing node a-0, utilization: {0.25 ");
}

#[test]
fn a_pod_that_arrives_on_an_empty_node_saves_it() {
    let mut world = World::new(&[]);
    world.group("a", 0, 2);
    world.pod("busy", "a-1", 3000, |_| {});
    world.step();
    world.now += seconds(1);
    world.pod("late", "a-0", 3000, |_| {});
    world.run(seconds(60));
    assert!(world.terminations().is_empty());
    assert!(world.is_clean("a-0"));
    world.assert_event(
        "ScaleDownFailed",
        "failed to delete empty node: failed to delete empty node \"a-0\", new pods scheduled",
    );
}

#[test]
fn an_eviction_that_is_refused_for_two_minutes_ends_the_drain() {
    let mut world = two_nodes(&["--scale-down-unneeded-time=10m"]);
    world
        .memory
        .unneeded_since
        .insert("a-0".into(), start() - Duration::from_hours(1));
    let first: SmolStr = world.pods[0].name.clone();
    world.fault = Some(Box::new(move |action, _| {
        matches!(action, Action::Evict { pod, .. } if pod.name == first).then(refused)
    }));
    world.run(seconds(150));
    assert!(world.is_clean("a-0") && world.terminations().is_empty());
    assert_eq!(
        world.evicted().len(),
        1 + 12,
        "one at once, the other every ten seconds"
    );
    assert_eq!(
        world.memory.last_scale_down_failure, None,
        "no cooldown of it"
    );
    world.assert_event("ScaleDownFailed", "failed to delete pod for ScaleDown");
    world.assert_event(
        "ScaleDownFailed",
        "failed to drain and delete node: Failed to drain node /a-0, due to following errors: [failed to evict pod default/web-1 within allowed timeout (last error: no)]",
    );
    let since = world.memory.unneeded_since["a-0"];
    assert!(start() + seconds(100) < since, "a new unneeded period");
}

#[test]
fn a_pod_that_will_not_end_ends_the_drain_when_its_time_is_over() {
    let mut world = two_nodes(&[
        "--max-graceful-termination-sec=60",
        "--scale-down-unneeded-time=1h",
    ]);
    world
        .memory
        .unneeded_since
        .insert("a-0".into(), start() - Duration::from_hours(2));
    world.fault = Some(Box::new(|action, _| {
        matches!(action, Action::Evict { .. }).then_some(OutcomeResult::Done)
    }));
    world.run(seconds(94));
    assert!(!world.is_clean("a-0"));
    world.run(seconds(10));
    assert!(world.is_clean("a-0") && world.terminations().is_empty());
    world.assert_event(
        "ScaleDownFailed",
        "Failed to drain node /a-0: pods remaining after timeout",
    );
}

#[test]
fn a_grace_period_is_capped() {
    let mut world = World::new(&[]);
    world.group("a", 0, 2);
    let long = |shape: &mut windlass_model::PodShape| {
        shape.termination_grace_period_seconds = Some(3600);
    };
    world.pod("web", "a-0", 500, long);
    world.pod("busy", "a-1", 2500, |_| {});
    world.run(seconds(7));
    let grace = world.log.iter().find_map(|(_, action)| match action {
        Action::Evict {
            grace_period_seconds,
            ..
        } => Some(*grace_period_seconds),
        _ => None,
    });
    assert_eq!(grace, Some(600));
}

#[test]
fn a_pod_that_is_gone_counts_as_evicted() {
    let mut world = two_nodes(&[]);
    world.fault = Some(Box::new(|action, _| {
        matches!(action, Action::Evict { .. }).then(|| OutcomeResult::Failed {
            code: "NotFound".into(),
            message: "pods \"web\" not found".to_owned(),
        })
    }));
    world.run(seconds(10));
    assert!(matches!(
        world.memory.drains["a-0"].phase,
        Phase::Leaving { .. }
    ));
}

#[test]
fn daemonset_pods_are_evicted_as_their_annotation_says() {
    let mut world = two_nodes(&[]);
    let stays = world.daemonset_pod("a-0", |shape| {
        shape.safety.enable_daemonset_eviction = Some("false".into());
    });
    let goes = world.daemonset_pod("a-0", |_| {});
    world.run(seconds(20));
    let evicted = world.evicted();
    assert!(!evicted.contains(&stays) && evicted.contains(&goes));
    assert_eq!(world.terminations().len(), 1);

    let mut world = World::new(&[]);
    world.group("a", 0, 2);
    world.pod("busy", "a-1", 3000, |_| {});
    let stays = world.daemonset_pod("a-0", |_| {});
    let goes = world.daemonset_pod("a-0", |shape| {
        shape.safety.enable_daemonset_eviction = Some("true".into());
    });
    world.run(seconds(20));
    let evicted = world.evicted();
    assert!(!evicted.contains(&stays) && evicted.contains(&goes));
}

#[test]
fn one_taint_that_fails_lets_all_nodes_of_its_kind_go() {
    let mut world = World::new(&[]);
    world.group("a", 0, 4);
    world.pod("busy", "a-3", 3000, |_| {});
    world.fault = Some(Box::new(|action, _| {
        matches!(action, Action::AddTaint { node, taint, .. } if node == "a-1" && taint.key == HARD)
            .then(refused)
    }));
    world.run(seconds(30));
    assert!(world.terminations().is_empty());
    assert!(
        ["a-0", "a-1", "a-2"]
            .iter()
            .all(|node| world.is_clean(node))
    );
    assert!(world.memory.last_scale_down_failure.is_some());
    let plan = world.step();
    assert!(plan.scale_down.is_in_cooldown);
    world.assert_event(
        "ScaleDownFailed",
        "failed to mark the node as toBeDeleted/unschedulable: no",
    );
}

#[test]
fn a_drain_taint_that_fails_leaves_the_empty_nodes_going() {
    let mut world = two_nodes(&[]);
    world.group("b", 0, 1);
    world.fault = Some(Box::new(|action, _| {
        matches!(action, Action::AddTaint { node, taint, .. } if node == "a-0" && taint.key == HARD)
            .then(refused)
    }));
    world.run(seconds(30));
    assert!(!world.nodes.contains_key("b-0"));
    assert!(world.is_clean("a-0"));
    assert!(world.memory.last_scale_down_failure.is_some());
}

#[test]
fn removals_of_a_group_are_gathered() {
    let mut world = World::new(&["--node-deletion-batcher-interval=30s"]);
    world.group("a", 0, 4);
    world.pod("busy", "a-3", 3000, |_| {});
    world.run(seconds(60));
    assert_eq!(world.terminations(), [35, 35, 35]);
}

#[test]
fn pods_go_in_the_order_of_their_priorities() {
    let flags = ["--drain-priority-config=10000:20,1000:100,0:60"];
    let mut world = World::new(&flags);
    world.group("a", 0, 2);
    world.pod("busy", "a-1", 2500, |_| {});
    let mut waves: Vec<Vec<SmolStr>> = vec![Vec::new(); 3];
    for (priority, wave) in [(-5, 0), (0, 0), (999, 0), (1000, 1), (9999, 1), (10_000, 2)] {
        waves[wave].push(world.pod("web", "a-0", 100, |shape| shape.priority = Some(priority)));
    }
    waves[1].push(world.daemonset_pod("a-0", |shape| shape.priority = Some(2000)));
    world.run(seconds(60));
    let evicted = world.evicted();
    let place = |pod: &SmolStr| evicted.iter().position(|it| it == pod).unwrap();
    for pair in waves.windows(2) {
        let last = pair[0].iter().map(place).max().unwrap();
        let first = pair[1].iter().map(place).min().unwrap();
        assert!(last < first, "{evicted:?}");
    }
    assert_eq!(evicted.len(), 7);
    assert_eq!(world.terminations().len(), 1);
}

#[test]
fn an_annotation_delays_the_end() {
    let key = "delay-deletion.cluster-autoscaler.kubernetes.io/backup";
    let delayed = || {
        let mut world = World::new(&[]);
        world.group("a", 0, 2);
        world.pod("busy", "a-1", 3000, |_| {});
        world
            .nodes
            .get_mut("a-0")
            .unwrap()
            .annotations
            .insert(key, "true");
        world
    };
    let mut world = delayed();
    world.run(seconds(30));
    assert!(world.terminations().is_empty());
    world.nodes.get_mut("a-0").unwrap().annotations.remove(key);
    world.run(seconds(10));
    assert_eq!(world.terminations(), [30]);

    let mut world = delayed();
    world.run(seconds(130));
    assert_eq!(world.terminations(), [125]);
}

#[test]
fn a_cordon_of_an_operators_outlives_a_failed_removal() {
    let mut world = two_nodes(&[]);
    world.nodes.get_mut("a-0").unwrap().unschedulable = true;
    world.fault = Some(Box::new(|action, _| {
        matches!(action, Action::Evict { .. }).then(refused)
    }));
    world.run(seconds(132));
    let node = world.node("a-0");
    let was_undone = world.times(|it| matches!(it, Action::RemoveTaint { key, .. } if key == HARD));
    assert!(!was_undone.is_empty() && node.unschedulable);
}

#[test]
fn a_termination_that_the_cloud_refuses_is_undone() {
    let mut world = two_nodes(&["--scale-down-unneeded-time=1h"]);
    world
        .memory
        .unneeded_since
        .insert("a-0".into(), start() - Duration::from_hours(2));
    world.fault = Some(Box::new(|action, _| {
        matches!(action, Action::TerminateInstance { .. }).then(refused)
    }));
    world.run(seconds(30));
    assert!(world.is_clean("a-0"));
    assert!(world.memory.drains.is_empty());
    world.assert_event("ScaleDownFailed", "failed to delete nodes from group a: no");
}

#[test]
fn a_roll_back_that_fails_is_tried_until_it_succeeds() {
    let mut world = two_nodes(&["--scale-down-unneeded-time=1h"]);
    world
        .memory
        .unneeded_since
        .insert("a-0".into(), start() - Duration::from_hours(2));
    let until = start() + seconds(90);
    world.fault = Some(Box::new(move |action, now| match action {
        Action::TerminateInstance { .. } => Some(refused()),
        Action::RemoveTaint { .. } if now < until => Some(refused()),
        _ => None,
    }));
    world.run(seconds(80));
    assert!(!world.is_clean("a-0"));
    world.crash();
    world.run(seconds(30));
    assert!(world.is_clean("a-0") && world.memory.drains.is_empty());
}

#[test]
fn a_process_killed_at_any_moment_is_succeeded_without_harm() {
    let plain = {
        let mut world = two_nodes(&[]);
        world.run(seconds(60));
        world.log.len()
    };
    assert!(4 <= plain);
    for killed_after in 0..40 {
        for loses_outcomes_of_effects in [false, true] {
            let mut world = two_nodes(&[]);
            for _ in 0..killed_after {
                world.run(Duration::from_millis(500));
            }
            if loses_outcomes_of_effects {
                // Decided and written down, carried out in part, and killed.
                let decision = world.decide();
                world.memory = decision.memory;
            }
            world.crash();
            world.run(seconds(200));
            assert!(
                !world.nodes.contains_key("a-0"),
                "killed after {killed_after}"
            );
            assert_eq!(world.groups[0].target_size, 1);
            assert!(world.is_clean("a-1") && world.memory.drains.is_empty());
        }
    }
}

#[test]
fn taints_that_no_removal_accounts_for_go_in_the_first_loop() {
    let mut world = World::new(&["--scale-down-unneeded-time=1h"]);
    world.group("a", 0, 2);
    world.pod("busy", "a-1", 3000, |_| {});
    let node = world.nodes.get_mut("a-0").unwrap();
    node.unschedulable = true;
    node.taints.push(Taint {
        key: HARD.into(),
        value: start().as_second().to_string().into(),
        effect: windlass_model::Effect::NoSchedule,
        time_added: None,
    });
    world.run(seconds(1));
    assert!(world.is_clean("a-0"));
    world.assert_event(
        "ClusterAutoscalerCleanup",
        "removed ToBeDeletedByClusterAutoscaler taint from node a-0",
    );
}

#[test]
fn the_kill_switch_stops_and_undoes_removals_at_once() {
    let mut world = two_nodes(&[]);
    world.run(seconds(3));
    world.is_paused = true;
    world.run(seconds(60));
    assert!(world.is_clean("a-0") && world.terminations().is_empty());
    assert!(world.evicted().is_empty());
    world.is_paused = false;
    world.run(seconds(60));
    assert_eq!(world.terminations().len(), 1);
}

#[test]
fn a_stale_view_removes_nothing() {
    let mut world = two_nodes(&[]);
    world.current_at = Some(start() - Duration::from_mins(3));
    world.run(seconds(60));
    assert!(
        world
            .log
            .iter()
            .all(|(_, it)| !matches!(it, Action::AddTaint { taint, .. } if taint.key == HARD))
    );
    world.current_at = None;
    world.run(seconds(3));
    world.current_at = Some(start());
    world.now += Duration::from_mins(5);
    world.run(seconds(60));
    assert!(world.evicted().is_empty(), "a drain under way waits");
}

#[test]
fn a_view_without_most_of_the_nodes_goes_on_with_no_drain() {
    let mut world = two_nodes(&[]);
    world.group("c", 10, 10);
    world.run(seconds(3));
    assert!(!world.memory.drains.is_empty());
    let lost = world.nodes.split_off("c");
    world.run(seconds(60));
    assert!(world.evicted().is_empty() && world.terminations().is_empty());
    world.nodes.extend(lost);
    world.run(seconds(60));
    assert_eq!(world.terminations().len(), 1);
}

#[test]
fn a_clock_that_is_put_back_stops_no_removal() {
    let mut world = two_nodes(&[]);
    world.run(seconds(8));
    assert_eq!(world.evicted().len(), 2);
    world.now -= Duration::from_mins(5);
    world.run(seconds(60));
    assert_eq!(world.terminations().len(), 1);
}

#[test]
fn a_budget_is_never_asked_for_more_than_it_has() {
    let mut world = two_nodes(&[]);
    world.budget("web", 1);
    world.run(seconds(30));
    assert_eq!(world.evicted().len(), 1);
    world.budgets[0].disruptions_allowed = 1;
    world.run(seconds(30));
    assert_eq!(world.evicted().len(), 2);
    assert_eq!(world.terminations().len(), 1);
}

#[test]
fn a_group_that_goes_as_a_whole_goes_together_or_not_at_all() {
    let whole = || {
        let mut world = World::new(&["--max-drain-parallelism=5"]);
        world.group("a", 0, 2);
        world.group("b", 0, 1);
        world.groups[0].options.zero_or_max_node_scaling = Some(true);
        world.pod("web", "a-0", 500, |_| {});
        world.pod("busy", "b-0", 2500, |_| {});
        world
    };
    let mut world = whole();
    world.run(seconds(30));
    let terminations = world.terminations();
    assert_eq!(terminations.len(), 2);
    assert_eq!(terminations[0], terminations[1]);

    let mut world = whole();
    world.fault = Some(Box::new(|action, _| {
        matches!(action, Action::Evict { .. }).then(refused)
    }));
    world.run(seconds(128));
    assert!(world.terminations().is_empty());
    world.assert_event(
        "ScaleDownFailed",
        "couldn't scale down other nodes in this node group",
    );
}

#[test]
fn the_wait_after_the_taint_follows_the_latency_that_was_seen() {
    let mut world = two_nodes(&["--dynamic-node-delete-delay-after-taint-enabled"]);
    world.run(seconds(3));
    assert_eq!(world.evicted().len(), 2, "twice 50 ms");
}

#[test]
fn with_delays_of_groups_a_taint_that_fails_is_not_tried_again_at_once() {
    let mut world = World::new(&["--scale-down-delay-type-local"]);
    world.group("a", 2, 4);
    world.fault = Some(Box::new(|action, _| {
        matches!(action, Action::AddTaint { taint, .. } if taint.key == HARD).then(refused)
    }));
    world.run(Duration::from_mins(2));
    let tainted =
        world.times(|it| matches!(it, Action::AddTaint { taint, .. } if taint.key == HARD));
    assert_eq!(tainted, [0, 0]);
}
