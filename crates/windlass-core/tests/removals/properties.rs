//! Random worlds with faults: no plan breaks a rule, no budget is overdrawn, nothing is left behind.

use proptest::prelude::*;
use windlass_core::{Action, Memory, OutcomeResult};
use windlass_model::Duration;

use crate::world::{World, seconds};

#[derive(Clone, Debug)]
struct PodPlan {
    app: usize,
    node: usize,
    milli_cpu: i64,
    kind: u8,
}

#[derive(Clone, Debug)]
struct WorldPlan {
    groups: Vec<(i64, usize)>,
    pods: Vec<PodPlan>,
    budgets: Vec<(usize, i32)>,
    flags: Vec<&'static str>,
    /// Decide which actions fail.
    faults: Vec<u8>,
    /// Decide how long the world runs, and whether the process is killed then.
    crashes: Vec<u8>,
    /// What disruption budgets allow as time passes.
    allowances: Vec<i32>,
}

fn flags() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(
        vec![
            "--max-drain-parallelism=5",
            "--max-scale-down-parallelism=30",
            "--node-delete-delay-after-taint=0s",
            "--node-deletion-batcher-interval=7s",
            "--drain-priority-config=100:20,0:60",
            "--daemonset-eviction-for-empty-nodes=true",
            "--skip-nodes-with-custom-controller-pods=false",
            "--cordon-node-before-terminating=false",
            "--max-removals-per-hour=4",
            "--scale-down-delay-type-local",
            "--max-pod-eviction-time=20s",
            "--cores-total=12:1000",
        ],
        0..6,
    )
}

fn worlds() -> impl Strategy<Value = WorldPlan> {
    let pod = (0..6_usize, 0..12_usize, 0..1800_i64, any::<u8>()).prop_map(
        |(app, node, milli_cpu, kind)| PodPlan {
            app,
            node,
            milli_cpu,
            kind,
        },
    );
    (
        proptest::collection::vec((0..3_i64, 1..6_usize), 1..4),
        proptest::collection::vec(pod, 0..30),
        proptest::collection::vec((0..6_usize, 0..3_i32), 0..4),
        flags(),
        proptest::collection::vec(any::<u8>(), 64),
        proptest::collection::vec(any::<u8>(), 16),
        proptest::collection::vec(0..3_i32, 16),
    )
        .prop_map(
            |(groups, pods, budgets, flags, faults, crashes, allowances)| WorldPlan {
                groups,
                pods,
                budgets,
                flags,
                faults,
                crashes,
                allowances,
            },
        )
}

fn build(plan: &WorldPlan) -> World {
    let mut world = World::new(&plan.flags);
    world.recreates_pods = true;
    for (index, (min, nodes)) in plan.groups.iter().enumerate() {
        world.group(&format!("g{index}"), *min, *nodes);
    }
    let nodes: Vec<String> = world.nodes.keys().map(ToString::to_string).collect();
    for pod in &plan.pods {
        let node = &nodes[pod.node % nodes.len()];
        let app = format!("app{}", pod.app);
        match pod.kind % 16 {
            0 => {
                world.daemonset_pod(node, |_| {});
            }
            1 => {
                world.pod(&app, node, pod.milli_cpu, |shape| shape.controller = None);
            }
            kind => {
                world.pod(&app, node, pod.milli_cpu, |shape| match kind {
                    2 => shape.safety.safe_to_evict = Some("false".into()),
                    3 => shape.safety.safe_to_evict = Some("true".into()),
                    4 => shape.safety.safe_to_evict = Some("on-completion".into()),
                    5 => shape.safety.is_mirror = true,
                    6 => shape.priority = Some(1000),
                    7 => shape.priority = Some(-100),
                    8 => shape.termination_grace_period_seconds = Some(3600),
                    _ => {}
                });
            }
        }
    }
    for (app, allowed) in &plan.budgets {
        world.budget(&format!("app{app}"), *allowed);
    }
    world
}

/// Fails every action whose turn says so, in turn with temporary and final errors.
fn make_faulty(world: &mut World, faults: Vec<u8>) {
    let mut turn = 0;
    world.fault = Some(Box::new(move |_: &Action, _| {
        turn += 1;
        match faults[turn % faults.len()] {
            0..20 => Some(OutcomeResult::Refused {
                message: "429".to_owned(),
            }),
            20..40 => Some(OutcomeResult::Failed {
                code: "apiCallError".into(),
                message: "500".to_owned(),
            }),
            _ => None,
        }
    }));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn no_plan_breaks_a_rule_whatever_fails(plan in worlds()) {
        let mut world = build(&plan);
        make_faulty(&mut world, plan.faults.clone());
        for (turn, crash) in plan.crashes.iter().enumerate() {
            world.run(seconds(i64::from(*crash % 29) + 1));
            if *crash < 24 {
                world.crash();
            }
            let allowed = plan.allowances[turn % plan.allowances.len()];
            for budget in &mut world.budgets {
                budget.disruptions_allowed = allowed;
            }
            if *crash % 61 == 3 {
                let vanished = world.nodes.keys().nth(usize::from(*crash) % 5).cloned();
                if let Some(node) = vanished {
                    world.nodes.remove(&node);
                    world.pods.retain(|pod| pod.node_name.as_ref() != Some(&node));
                }
            }
        }
        for (group, (_, nodes)) in world.groups.iter().zip(&plan.groups) {
            let at_first = i64::try_from(*nodes).unwrap();
            prop_assert!(group.min_size.min(at_first) <= group.target_size);
        }
        // Once nothing fails and nothing may begin, nothing stays tainted.
        world.fault = None;
        world.is_paused = true;
        world.run(Duration::from_mins(20));
        prop_assert!(world.memory.drains.is_empty(), "{:?}", world.memory.drains);
        for name in world.nodes.keys() {
            prop_assert!(world.is_clean(name), "{name}");
        }
    }

    #[test]
    fn a_decision_is_a_function_of_its_input(plan in worlds()) {
        let mut world = build(&plan);
        for _ in 0..3 {
            let (one, other) = (world.decide(), world.decide());
            prop_assert_eq!(one.plan, other.plan);
            prop_assert_eq!(one.memory, other.memory);
            world.step();
            world.now += seconds(6);
            world.tick();
        }
    }

    #[test]
    fn memory_reads_back_as_it_was_written(plan in worlds()) {
        let mut world = build(&plan);
        world.run(seconds(9));
        let written = serde_json::to_string(&world.memory).unwrap();
        let read: Memory = serde_json::from_str(&written).unwrap();
        prop_assert_eq!(written, serde_json::to_string(&read).unwrap());
    }
}
