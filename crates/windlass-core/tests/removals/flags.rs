//! What each flag of removals changes, in the smallest world that shows it.

use std::sync::atomic::{AtomicBool, Ordering};

use windlass_config::{Status, flags};
use windlass_core::{Action, Budget, Input, OutcomeResult, TimeLimit, decide, prepare};
use windlass_model::{
    Condition, ConditionStatus, Duration, PodShape, Quantity, Taint, Volume, VolumeSource,
};

use crate::world::{World, seconds, start};

const HARD: &str = "ToBeDeletedByClusterAutoscaler";
const SOFT: &str = "DeletionCandidateOfClusterAutoscaler";

/// A flag, a world, and what is seen of the world without and with the flag.
struct Case {
    flag: &'static str,
    see: fn(&[&str]) -> String,
    without: &'static str,
    with: &'static str,
}

const fn case(
    flag: &'static str,
    see: fn(&[&str]) -> String,
    without: &'static str,
    with: &'static str,
) -> Case {
    Case {
        flag,
        see,
        without,
        with,
    }
}

/// Node `a-0` with one pod that fits on `b-0`, which stays.
fn lone(flags: &[&str], milli_cpu: i64, change: impl FnOnce(&mut PodShape)) -> World {
    let mut world = World::new(flags);
    world.group("a", 0, 1);
    world.group("b", 1, 1);
    world.pod("web", "a-0", milli_cpu, change);
    world
}

/// What one loop says of `a-0`.
fn fate(world: &mut World) -> String {
    let plan = world.step();
    let report = plan.scale_down;
    if let Some(removal) = report.removals.iter().find(|it| it.node == "a-0") {
        return if removal.is_empty {
            "goes empty"
        } else {
            "goes"
        }
        .to_owned();
    }
    match report.unremovable.iter().find(|it| it.node == "a-0") {
        Some(reason) => match &reason.blocking_pod {
            Some((_, why)) => why.to_string(),
            None => reason.reason.as_str().to_owned(),
        },
        None if report.unneeded.iter().any(|node| node == "a-0") => "waits".to_owned(),
        None => "is not looked at".to_owned(),
    }
}

fn plain(flags: &[&str]) -> String {
    fate(&mut lone(flags, 100, |_| {}))
}

fn make_unready(world: &mut World) {
    world.nodes.get_mut("a-0").unwrap().conditions = vec![Condition {
        kind: "Ready".into(),
        status: ConditionStatus::False,
        reason: "KubeletNotReady".into(),
        last_transition: None,
    }];
}

fn unready(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |_| {});
    make_unready(&mut world);
    fate(&mut world)
}

fn after_a_scale_up(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |_| {});
    world.memory.last_scale_up = Some(world.now - seconds(60));
    fate(&mut world)
}

fn after_a_removal(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |_| {});
    world.memory.last_scale_down_delete = Some(world.now - seconds(60));
    fate(&mut world)
}

fn after_a_failure(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |_| {});
    world.memory.last_scale_down_failure = Some(world.now - seconds(60));
    fate(&mut world)
}

fn quarter_full(flags: &[&str]) -> String {
    fate(&mut lone(flags, 1000, |_| {}))
}

fn three_of_four_gpus(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |shape| {
        shape.requests.scalars = vec![("nvidia.com/gpu".into(), 3)];
    });
    for node in world.nodes.values_mut() {
        let gpus = Quantity::from_units(4);
        node.allocatable.insert("nvidia.com/gpu", gpus);
        node.capacity.insert("nvidia.com/gpu", gpus);
    }
    fate(&mut world)
}

fn beside_a_large_daemonset_pod(flags: &[&str]) -> String {
    let mut world = lone(flags, 1000, |_| {});
    world.daemonset_pod("a-0", |shape| shape.requests.milli_cpu = 2000);
    fate(&mut world)
}

fn beside_a_large_mirror_pod(flags: &[&str]) -> String {
    let mut world = lone(flags, 1000, |_| {});
    world.pod("static", "a-0", 2000, |shape| shape.safety.is_mirror = true);
    fate(&mut world)
}

fn looked_at_twice(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |shape| shape.controller = None);
    world.step();
    world.now += seconds(10);
    fate(&mut world)
}

fn of_kube_system(flags: &[&str], age: Duration) -> String {
    let mut world = lone(flags, 100, |shape| shape.namespace = "kube-system".into());
    world.workloads[0].name.namespace = "kube-system".into();
    world.pods[0].created_at = Some(world.now - age);
    fate(&mut world)
}

fn young_of_kube_system(flags: &[&str]) -> String {
    of_kube_system(flags, seconds(60))
}

fn old_of_kube_system(flags: &[&str]) -> String {
    of_kube_system(flags, Duration::from_hours(5))
}

fn with_local_storage(flags: &[&str]) -> String {
    fate(&mut lone(flags, 100, |shape| {
        let mut constraints = (*shape.constraints).clone();
        constraints.volumes.push(Volume {
            name: "scratch".into(),
            source: VolumeSource::EmptyDir { in_memory: false },
        });
        shape.constraints = constraints.into();
    }))
}

fn of_an_unknown_controller(flags: &[&str]) -> String {
    fate(&mut lone(flags, 100, |shape| {
        shape.controller.as_mut().unwrap().kind = "Rollout".into();
    }))
}

/// How many removals begin at once among eight empty nodes.
fn of_eight_empty_nodes(flags: &[&str]) -> String {
    let mut world = World::new(flags);
    world.group("a", 0, 8);
    world.step().scale_down.removals.len().to_string()
}

fn of_eight_with_one_an_hour(flags: &[&str]) -> String {
    let mut all = vec!["--max-removals-per-hour=1"];
    all.extend(flags);
    of_eight_empty_nodes(&all)
}

fn of_two_occupied_nodes(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |_| {});
    world.group("c", 0, 1);
    world.pod("api", "c-0", 100, |_| {});
    world.step().scale_down.removals.len().to_string()
}

fn actions(world: &mut World, wanted: impl Fn(&Action) -> bool) -> String {
    let plan = world.step();
    plan.actions
        .iter()
        .filter(|it| wanted(it))
        .count()
        .to_string()
}

fn candidates_marked(flags: &[&str]) -> String {
    let mut world = World::new(flags);
    world.group("a", 0, 3);
    world.memory.last_scale_up = Some(world.now);
    actions(
        &mut world,
        |it| matches!(it, Action::AddTaint { taint, .. } if taint.key == SOFT),
    )
}

fn marked_half_an_hour_ago(flags: &[&str]) -> String {
    let mut all = vec!["--scale-down-unneeded-time=10m"];
    all.extend(flags);
    let mut world = lone(&all, 100, |_| {});
    let since = start() - Duration::from_mins(30);
    world.nodes.get_mut("a-0").unwrap().taints.push(Taint {
        key: SOFT.into(),
        value: since.as_second().to_string().into(),
        effect: windlass_model::Effect::PreferNoSchedule,
        time_added: None,
    });
    fate(&mut world)
}

fn termination(mut world: World) -> String {
    world.run(seconds(100));
    match world.terminations().as_slice() {
        [] => "is not terminated".to_owned(),
        [at, ..] => format!("{at} s"),
    }
}

fn empty_node(flags: &[&str]) -> World {
    let mut world = World::new(flags);
    world.group("a", 0, 1);
    world
}

fn end_of_an_empty_node(flags: &[&str]) -> String {
    termination(empty_node(flags))
}

fn end_of_a_delayed_node(flags: &[&str]) -> String {
    let mut world = empty_node(flags);
    let node = world.nodes.get_mut("a-0").unwrap();
    let key = "delay-deletion.cluster-autoscaler.kubernetes.io/backup";
    node.annotations = [(key, "")].into_iter().collect();
    termination(world)
}

fn evictions_within_three_seconds(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |_| {});
    world.run(seconds(3));
    world.evicted().len().to_string()
}

fn cordons(flags: &[&str]) -> String {
    actions(
        &mut empty_node(flags),
        |it| matches!(it, Action::AddTaint { taint, cordon: true, .. } if taint.key == HARD),
    )
}

fn grace_period(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |shape| {
        shape.termination_grace_period_seconds = Some(3600);
    });
    world.run(seconds(10));
    let graces = world.log.iter().find_map(|(_, action)| match action {
        Action::Evict {
            grace_period_seconds,
            ..
        } => Some(format!("{grace_period_seconds} s")),
        _ => None,
    });
    graces.unwrap_or_default()
}

fn refused_for_a_minute(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |_| {});
    world.fault = Some(Box::new(|action, _| {
        matches!(action, Action::Evict { .. }).then(|| OutcomeResult::Refused {
            message: "no".to_owned(),
        })
    }));
    world.run(seconds(60));
    let undone = world.times(|it| matches!(it, Action::RemoveTaint { key, .. } if key == HARD));
    if undone.is_empty() {
        "is drained still"
    } else {
        "is let go"
    }
    .to_owned()
}

fn daemonset_pods_evicted(mut world: World) -> String {
    let daemon = world.daemonset_pod("a-0", |_| {});
    world.run(seconds(20));
    let evicted = world.evicted();
    evicted
        .iter()
        .filter(|pod| **pod == daemon)
        .count()
        .to_string()
}

fn daemonset_pods_of_an_empty_node(flags: &[&str]) -> String {
    daemonset_pods_evicted(empty_node(flags))
}

fn daemonset_pods_of_an_occupied_node(flags: &[&str]) -> String {
    daemonset_pods_evicted(lone(flags, 100, |_| {}))
}

fn on_a_view_of_five_minutes(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |_| {});
    world.current_at = Some(start() - Duration::from_mins(5));
    fate(&mut world)
}

fn of_low_priority(flags: &[&str]) -> String {
    fate(&mut lone(flags, 100, |shape| {
        shape.controller = None;
        shape.priority = Some(-5);
    }))
}

fn of_two_t4(flags: &[&str]) -> String {
    let mut world = lone(flags, 100, |_| {});
    for node in world.nodes.values_mut() {
        node.labels.insert("k8s.amazonaws.com/accelerator", "t4");
        node.allocatable
            .insert("nvidia.com/gpu", Quantity::from_units(1));
    }
    fate(&mut world)
}

/// What one loop finds when no time is left for what may take none.
fn under_a_clock(flags: &[&str]) -> String {
    struct Clock(AtomicBool);
    impl Budget for Clock {
        fn start(&self, _: TimeLimit, allowed: Duration) {
            self.0.store(allowed.is_zero(), Ordering::Relaxed);
        }
        fn is_spent(&self, _: TimeLimit) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }
    let world = lone(flags, 100, |_| {});
    let clock = Clock(AtomicBool::new(false));
    world.with_input(|input| {
        let input = Input {
            budget: &clock,
            ..*input
        };
        let plan = decide(&input, prepare(input.cluster, input.config)).plan;
        format!("{} found", plan.scale_down.unneeded.len())
    })
}

const CASES: &[Case] = &[
    case(
        "--scale-down-enabled=false",
        plain,
        "goes",
        "is not looked at",
    ),
    case(
        "--scale-down-unready-enabled=false",
        unready,
        "NotUnreadyLongEnough",
        "ScaleDownUnreadyDisabled",
    ),
    case(
        "--scale-down-unready-time=0s",
        unready,
        "NotUnreadyLongEnough",
        "goes",
    ),
    case(
        "--scale-down-delay-after-add=0s",
        after_a_scale_up,
        "waits",
        "goes",
    ),
    case(
        "--scale-down-delay-after-delete=5m",
        after_a_removal,
        "goes",
        "waits",
    ),
    case(
        "--scale-down-delay-after-failure=0s",
        after_a_failure,
        "waits",
        "goes",
    ),
    case(
        "--scale-down-delay-type-local",
        after_a_scale_up,
        "waits",
        "goes",
    ),
    case(
        "--scale-down-unneeded-time=1m",
        plain,
        "goes",
        "NotUnneededLongEnough",
    ),
    case(
        "--scale-down-utilization-threshold=0.2",
        quarter_full,
        "goes",
        "NotUnderutilized",
    ),
    case(
        "--scale-down-gpu-utilization-threshold=0.8",
        three_of_four_gpus,
        "NotUnderutilized",
        "goes",
    ),
    case(
        "--ignore-daemonsets-utilization",
        beside_a_large_daemonset_pod,
        "NotUnderutilized",
        "goes",
    ),
    case(
        "--ignore-mirror-pods-utilization",
        beside_a_large_mirror_pod,
        "NotUnderutilized",
        "goes",
    ),
    case(
        "--scale-down-simulation-timeout=0s",
        under_a_clock,
        "1 found",
        "0 found",
    ),
    case(
        "--unremovable-node-recheck-timeout=0s",
        looked_at_twice,
        "RecentlyUnremovable",
        "NotReplicated",
    ),
    case(
        "--skip-nodes-with-system-pods=false",
        young_of_kube_system,
        "UnmovableKubeSystemPod",
        "goes",
    ),
    case(
        "--blocking-system-pod-distruption-timeout=6h",
        old_of_kube_system,
        "goes",
        "UnmovableKubeSystemPod",
    ),
    case(
        "--skip-nodes-with-local-storage=false",
        with_local_storage,
        "LocalStorageRequested",
        "goes",
    ),
    case(
        "--skip-nodes-with-custom-controller-pods=false",
        of_an_unknown_controller,
        "NotReplicated",
        "goes",
    ),
    case("--min-replica-count=4", plain, "goes", "MinReplicasReached"),
    case(
        "--max-scale-down-parallelism=3",
        of_eight_empty_nodes,
        "8",
        "3",
    ),
    case("--max-drain-parallelism=2", of_two_occupied_nodes, "1", "2"),
    case("--max-bulk-soft-taint-count=2", candidates_marked, "3", "2"),
    case(
        "--node-deletion-candidate-ttl=1h",
        marked_half_an_hour_ago,
        "NotUnneededLongEnough",
        "goes",
    ),
    case(
        "--node-deletion-delay-timeout=0s",
        end_of_a_delayed_node,
        "is not terminated",
        "5 s",
    ),
    case(
        "--node-deletion-batcher-interval=20s",
        end_of_an_empty_node,
        "5 s",
        "25 s",
    ),
    case(
        "--node-delete-delay-after-taint=0s",
        end_of_an_empty_node,
        "5 s",
        "0 s",
    ),
    case(
        "--dynamic-node-delete-delay-after-taint-enabled",
        evictions_within_three_seconds,
        "0",
        "1",
    ),
    case("--cordon-node-before-terminating=false", cordons, "1", "0"),
    case(
        "--max-graceful-termination-sec=60",
        grace_period,
        "600 s",
        "60 s",
    ),
    case(
        "--drain-priority-config=0:20",
        grace_period,
        "600 s",
        "20 s",
    ),
    case(
        "--max-pod-eviction-time=20s",
        refused_for_a_minute,
        "is drained still",
        "is let go",
    ),
    case(
        "--daemonset-eviction-for-empty-nodes",
        daemonset_pods_of_an_empty_node,
        "0",
        "1",
    ),
    case(
        "--daemonset-eviction-for-occupied-nodes=false",
        daemonset_pods_of_an_occupied_node,
        "1",
        "0",
    ),
    case("--max-removals-per-hour=3", of_eight_empty_nodes, "8", "3"),
    case(
        "--max-removals-per-hour-percentage=50",
        of_eight_with_one_an_hour,
        "2",
        "4",
    ),
    case(
        "--max-cache-age=10m",
        on_a_view_of_five_minutes,
        "waits",
        "goes",
    ),
    case(
        "--expendable-pods-priority-cutoff=0",
        of_low_priority,
        "NotReplicated",
        "goes empty",
    ),
    case(
        "--cores-total=8:100",
        plain,
        "goes",
        "MinimalResourceLimitExceeded",
    ),
    case(
        "--memory-total=32:100",
        plain,
        "goes",
        "MinimalResourceLimitExceeded",
    ),
    case(
        "--gpu-total=t4:2:10",
        of_two_t4,
        "goes",
        "MinimalResourceLimitExceeded",
    ),
];

/// Flags whose effect takes more than one look, with the source of the test that shows it.
const SHOWN_ELSEWHERE: &[(&str, &str)] = &[
    (
        "node-removal-latency-tracking-enabled",
        include_str!("planning.rs"),
    ),
    (
        "max-node-skip-eval-time-tracker-enabled",
        include_str!("planning.rs"),
    ),
    (
        "drain-wait-for-ready-replacements",
        include_str!("planning.rs"),
    ),
    (
        "max-bulk-soft-taint-time",
        include_str!("../../../windlass-e2e/tests/scale_down.rs"),
    ),
];

#[test]
fn each_flag_does_what_it_says() {
    for Case {
        flag,
        see,
        without,
        with,
    } in CASES
    {
        assert_eq!(see(&[]), *without, "without {flag}");
        assert_eq!(see(&[flag]), *with, "with {flag}");
    }
}

#[test]
fn no_flag_of_removals_is_without_its_test() {
    let is_shown = |name: &str| {
        let dashed = format!("--{name}");
        let names = |text: &str| {
            let rest = text.strip_prefix(&dashed);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        };
        CASES.iter().any(|case| names(case.flag))
            || SHOWN_ELSEWHERE
                .iter()
                .any(|(flag, source)| *flag == name && source.contains(&dashed))
    };
    let groups = ["scale_down", "drain", "actuation", "safety"];
    let forgotten: Vec<&str> = flags()
        .filter(|flag| {
            matches!(
                flag.status,
                Status::Acted | Status::NotYet | Status::NoEffect { .. }
            )
        })
        .filter(|flag| {
            flag.field()
                .is_some_and(|(group, _)| groups.contains(&group))
        })
        .map(|flag| flag.name)
        .filter(|name| !is_shown(name))
        .collect();
    assert!(forgotten.is_empty(), "without a test: {forgotten:?}");
}
