//! Which nodes are unneeded, and when they go.

use windlass_core::{HeldBack, Plan, UnremovableReason};
use windlass_model::{Condition, ConditionStatus, Duration, SmolStr};

use crate::world::{World, seconds};

fn reason(plan: &Plan, node: &str) -> Option<UnremovableReason> {
    let unremovable = &plan.scale_down.unremovable;
    unremovable
        .iter()
        .find(|it| it.node == node)
        .map(|it| it.reason)
}

fn removed(plan: &Plan) -> Vec<&str> {
    let removals = &plan.scale_down.removals;
    removals.iter().map(|it| it.node.as_str()).collect()
}

fn half_full(milli_cpu: i64, flags: &[&str]) -> World {
    let mut world = World::new(flags);
    world.group("a", 0, 2);
    world.pod("web", "a-0", milli_cpu, |_| {});
    world.pod("busy", "a-1", 2001, |_| {});
    world
}

#[test]
fn a_node_just_at_the_threshold_goes_when_its_time_is_over_not_reached() {
    let mut world = half_full(2000, &["--scale-down-unneeded-time=10m"]);
    world.pods[1] = {
        let mut pod = world.pods[1].clone();
        pod.shape = std::sync::Arc::new(windlass_model::PodShape {
            requests: windlass_model::Resources {
                milli_cpu: 2000,
                memory_bytes: 12 << 30,
                ..Default::default()
            },
            ..(*pod.shape).clone()
        });
        pod
    };
    let plan = world.step();
    assert_eq!(plan.scale_down.unneeded, ["a-0"]);
    assert_eq!(
        reason(&plan, "a-0"),
        Some(UnremovableReason::NotUnneededLongEnough)
    );
    let wake_at = plan.wake_at.unwrap();
    world.now += Duration::from_mins(10);
    assert!(world.now < wake_at);
    assert!(removed(&world.step()).is_empty());
    world.now = wake_at;
    assert_eq!(removed(&world.step()), ["a-0"]);
}

#[test]
fn a_node_above_the_threshold_has_no_timer() {
    let mut world = half_full(2002, &[]);
    let plan = world.step();
    assert_eq!(
        reason(&plan, "a-0"),
        Some(UnremovableReason::NotUnderutilized)
    );
    assert!(world.memory.unneeded_since.is_empty());
}

#[test]
fn a_node_that_a_pod_keeps_is_not_asked_again_for_five_minutes() {
    let mut world = half_full(100, &[]);
    world.pods[0].shape = std::sync::Arc::new(windlass_model::PodShape {
        controller: None,
        ..(*world.pods[0].shape).clone()
    });
    let plan = world.step();
    assert_eq!(reason(&plan, "a-0"), Some(UnremovableReason::BlockedByPod));
    let blocking = plan
        .scale_down
        .unremovable
        .iter()
        .find(|it| it.node == "a-0")
        .unwrap();
    assert_eq!(blocking.blocking_pod.as_ref().unwrap().1, "NotReplicated");
    world.now += seconds(299);
    let plan = world.step();
    assert_eq!(
        reason(&plan, "a-0"),
        Some(UnremovableReason::RecentlyUnremovable)
    );
    world.now += seconds(1);
    assert_eq!(
        reason(&world.step(), "a-0"),
        Some(UnremovableReason::BlockedByPod)
    );
    // Once the pod is gone the node is looked at again at once.
    world.pods.remove(0);
    world.now += seconds(1);
    assert_eq!(removed(&world.step()), ["a-0"]);
}

#[test]
fn a_node_whose_pods_were_still_leaving_goes_once_they_have_left() {
    let mut world = half_full(100, &[]);
    world.workloads.retain(|it| it.name.name != "web");
    world.pods[0].deletion_timestamp = Some(world.now + seconds(30));
    let plan = world.step();
    assert_eq!(reason(&plan, "a-0"), Some(UnremovableReason::BlockedByPod));
    world.now += seconds(10);
    assert_eq!(
        reason(&world.step(), "a-0"),
        Some(UnremovableReason::RecentlyUnremovable)
    );
    world.now += seconds(20);
    world.tick();
    assert_eq!(removed(&world.step()), ["a-0"]);
}

#[test]
fn a_node_whose_pods_had_no_place_is_tried_again_when_there_is_room() {
    let mut world = World::new(&[]);
    world.group("a", 0, 1);
    world.group("b", 1, 1);
    world.pod("web", "a-0", 1000, |_| {});
    world.pod("busy", "b-0", 3500, |_| {});
    let plan = world.step();
    let no_place = Some(UnremovableReason::NoPlaceToMovePods);
    assert_eq!(reason(&plan, "a-0"), no_place);
    world.now += seconds(10);
    world.pod("busy", "b-0", 10, |_| {});
    assert_eq!(
        reason(&world.step(), "a-0"),
        Some(UnremovableReason::RecentlyUnremovable),
        "there is less room than before"
    );
    world.now += seconds(10);
    world.pods.remove(1);
    assert_eq!(removed(&world.step()), ["a-0"]);
}

#[test]
fn a_gpu_node_of_no_group_whose_gpus_are_not_there_stops_removals() {
    let mut world = World::new(&[]);
    world.group("a", 0, 2);
    world.group("b", 1, 1);
    let node = world.nodes.get_mut("b-0").unwrap();
    node.labels.insert("k8s.amazonaws.com/accelerator", "t4");
    world.groups.pop();
    let plan = world.step();
    assert!(removed(&plan).is_empty());
    assert_eq!(
        plan.scale_down.held_back,
        Some(HeldBack::UnknownGpus { node: "b-0".into() })
    );
    let node = world.nodes.get_mut("b-0").unwrap();
    node.allocatable
        .insert("nvidia.com/gpu", windlass_model::Quantity::from_units(1));
    world.now += seconds(10);
    assert_eq!(removed(&world.step()).len(), 2);
}

#[test]
fn a_drain_waits_for_the_ready_replacements_of_the_one_before() {
    let drained = |flags: &[&str]| {
        let mut world = World::new(flags);
        world.group("a", 0, 3);
        world.pod("web", "a-0", 500, |_| {});
        world.pod("api", "a-1", 600, |_| {});
        world.pod("busy", "a-2", 2500, |_| {});
        for workload in &mut world.workloads {
            workload.replicas = Some(1);
        }
        world.run(seconds(60));
        world
    };
    let evicted = |world: &World| world.evicted().len();
    let at_once = drained(&[]);
    assert_eq!(evicted(&at_once), 2, "nobody waits by default");

    let flag = "--drain-wait-for-ready-replacements=30m";
    let mut world = drained(&[flag]);
    assert_eq!(world.terminations().len(), 1);
    assert_eq!(evicted(&world), 1, "web has not come back");
    let web = world.pod("web", "a-2", 500, |_| {});
    let index = world.pods.iter().position(|it| it.name == web).unwrap();
    world.pods[index].is_ready = false;
    world.run(seconds(60));
    assert_eq!(evicted(&world), 1, "web is not ready");
    world.pods[index].is_ready = true;
    world.run(seconds(60));
    assert_eq!(evicted(&world), 2);

    let mut patient = drained(&[flag]);
    patient.run(Duration::from_mins(31));
    assert_eq!(evicted(&patient), 2, "it waits no longer than it is told");

    let mut smaller = drained(&[flag]);
    smaller.workloads[0].replicas = Some(0);
    smaller.run(seconds(60));
    assert_eq!(evicted(&smaller), 2, "web is to have no pods any more");
}

#[test]
fn a_scale_up_holds_removals_back_but_not_their_timers() {
    let mut world = half_full(100, &["--scale-down-unneeded-time=1m"]);
    world.memory.last_scale_up = Some(world.now);
    let plan = world.step();
    assert_eq!(plan.scale_down.held_back, Some(HeldBack::Cooldown));
    assert_eq!(plan.scale_down.unneeded, ["a-0"]);
    world.now += Duration::from_mins(10);
    assert_eq!(removed(&world.step()), ["a-0"]);
}

#[test]
fn delays_of_a_group_take_its_nodes_out_of_planning() {
    let mut world = half_full(100, &["--scale-down-delay-type-local"]);
    let times = windlass_core::GroupTimes {
        scale_up: Some(world.now),
        ..Default::default()
    };
    world.memory.group_times.insert("a".into(), times);
    let plan = world.step();
    assert!(plan.scale_down.unneeded.is_empty() && plan.scale_down.unremovable.is_empty());
    world.now += Duration::from_mins(10);
    assert_eq!(removed(&world.step()), ["a-0"]);
}

#[test]
fn the_minimum_keeps_the_rest() {
    let mut world = World::new(&[]);
    world.group("a", 2, 3);
    let plan = world.step();
    assert_eq!(removed(&plan), ["a-0"]);
    assert_eq!(
        reason(&plan, "a-1"),
        Some(UnremovableReason::NodeGroupMinSizeReached)
    );
}

#[test]
fn at_most_ten_go_at_once_and_at_most_one_is_drained() {
    let mut world = World::new(&[]);
    world.group("a", 0, 15);
    world.group("b", 0, 3);
    world.group("c", 1, 1);
    for node in ["b-0", "b-1", "b-2"] {
        world.pod("web", node, 100, |_| {});
    }
    let plan = world.step();
    assert_eq!(removed(&plan).len(), 10);
    assert!(plan.scale_down.removals.iter().all(|it| it.is_empty));
    world.run(Duration::from_mins(5));
    let most = "no more than one drain at a time is what `check` watches over";
    assert!(world.nodes.len() < 4, "{most}");
}

#[test]
fn one_budget_lets_one_node_go() {
    let mut world = World::new(&["--max-drain-parallelism=5"]);
    world.group("a", 0, 3);
    world.pod("web", "a-0", 100, |_| {});
    world.pod("web", "a-1", 100, |_| {});
    world.pod("busy", "a-2", 3000, |_| {});
    world.budget("web", 1);
    let plan = world.step();
    assert_eq!(removed(&plan), ["a-0"]);
    assert_eq!(reason(&plan, "a-1"), Some(UnremovableReason::BlockedByPod));
}

#[test]
fn of_two_nodes_that_need_each_other_one_goes() {
    let mut world = World::new(&["--max-drain-parallelism=5"]);
    world.group("a", 0, 2);
    world.pod("web", "a-0", 1000, |_| {});
    world.pod("web", "a-1", 1000, |_| {});
    let plan = world.step();
    assert_eq!(removed(&plan), ["a-0"]);
    assert_eq!(
        reason(&plan, "a-1"),
        Some(UnremovableReason::NoPlaceToMovePods)
    );
}

#[test]
fn an_unready_node_waits_longer_and_may_be_excused() {
    let unready = |flags: &[&str]| {
        let mut world = half_full(100, flags);
        world.nodes.get_mut("a-0").unwrap().conditions = vec![Condition {
            kind: "Ready".into(),
            status: ConditionStatus::Unknown,
            reason: SmolStr::default(),
            last_transition: None,
        }];
        world
    };
    let mut world = unready(&[]);
    assert_eq!(
        reason(&world.step(), "a-0"),
        Some(UnremovableReason::NotUnreadyLongEnough)
    );
    world.now += Duration::from_mins(20) + seconds(1);
    assert_eq!(removed(&world.step()), ["a-0"]);
    let mut world = unready(&["--scale-down-unready-enabled=false"]);
    assert_eq!(
        reason(&world.step(), "a-0"),
        Some(UnremovableReason::ScaleDownUnreadyDisabled)
    );
}

#[test]
fn no_more_nodes_go_within_an_hour_than_allowed() {
    let mut world = World::new(&[
        "--max-removals-per-hour=3",
        "--max-removals-per-hour-percentage=0",
    ]);
    world.group("a", 0, 8);
    world.run(Duration::from_mins(59));
    assert_eq!(world.nodes.len(), 5);
    world.run(Duration::from_mins(10));
    assert_eq!(world.nodes.len(), 2);
}

#[test]
fn half_the_nodes_gone_stops_removals() {
    let mut world = World::new(&["--scale-down-unneeded-time=1m"]);
    world.group("a", 0, 20);
    world.group("b", 1, 1);
    world.step();
    for index in 0..12 {
        world.nodes.remove(format!("a-{index}").as_str());
    }
    world.now += Duration::from_mins(2);
    let plan = world.step();
    assert_eq!(
        plan.scale_down.held_back,
        Some(HeldBack::MissingNodes {
            missing: 12,
            known: 21
        })
    );
    assert!(removed(&plan).is_empty());
}

#[test]
fn timers_survive_a_restart() {
    let mut world = half_full(100, &["--scale-down-unneeded-time=10m"]);
    world.step();
    world.now += Duration::from_mins(9);
    world.crash();
    world.step();
    world.now += Duration::from_mins(1) + seconds(1);
    assert_eq!(removed(&world.step()), ["a-0"]);
}

#[test]
fn the_least_totals_of_the_cluster_stand() {
    let mut world = World::new(&["--cores-total=8:100"]);
    world.group("a", 0, 4);
    let plan = world.step();
    assert_eq!(removed(&plan).len(), 2);
    assert_eq!(
        reason(&plan, "a-2"),
        Some(UnremovableReason::MinimalResourceLimitExceeded)
    );
}

#[test]
fn the_order_of_objects_changes_nothing() {
    let build = |turned: bool| {
        let mut world = World::new(&["--max-drain-parallelism=9"]);
        world.group("a", 0, 6);
        for index in 0..12_i64 {
            world.pod("web", &format!("a-{}", index % 6), 100 + 50 * index, |_| {});
        }
        if turned {
            world.pods.reverse();
        }
        world.decide().plan.scale_down
    };
    assert_eq!(build(false).unneeded, build(true).unneeded);
    let sorted = |turned| {
        let mut removals = build(turned).removals;
        for removal in &mut removals {
            removal.evicted.sort();
        }
        removals
    };
    assert_eq!(sorted(false), sorted(true));
}

#[test]
fn a_removal_that_comes_late_is_measured_with_its_reason() {
    let mut world = half_full(100, &["--node-removal-latency-tracking-enabled"]);
    world.memory.last_scale_up = Some(world.now);
    world.step();
    world.now += Duration::from_mins(10);
    let plan = world.step();
    assert_eq!(removed(&plan), ["a-0"]);
    let (series, seconds) = &plan.metrics.observations[0];
    assert_eq!(series.name, "node_removal_latency_seconds");
    let labels = [("deleted", "true".into()), ("delay_reason", "none".into())];
    assert_eq!(series.labels, labels);
    assert!((*seconds - 600.0).abs() < 1e-9);
}

#[test]
fn nodes_that_are_passed_over_are_measured() {
    let flags = [
        "--max-node-skip-eval-time-tracker-enabled",
        "--max-scale-down-parallelism=1",
    ];
    let mut world = World::new(&flags);
    world.group("a", 0, 5);
    world.memory.last_scale_up = Some(world.now);
    let gauge = |plan: &Plan| {
        let series = windlass_core::Series::plain("max_node_skip_eval_duration_seconds");
        plan.metrics.gauges[&series]
    };
    assert!(gauge(&world.step()).abs() < 1e-9);
    world.memory.unneeded_since.clear();
    world.now += seconds(30);
    assert!((gauge(&world.step()) - 30.0).abs() < 1e-9);
}
