//! What the cloud lets on about groups, and what the loop makes of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use windlass_config::Config;
use windlass_core::{
    Action, Input, Memory, NoTimeLimits, OpenScaleUp, Plan, check, decide, prepare,
};
use windlass_model::{
    Cluster, Condition, ConditionStatus, Duration, GroupNotices, GroupOptions, Instance,
    InstanceState, Node, NodeGroup, NodeTemplate, Phase, Pod, PodScheduled, PodShape, Quantity,
    ResourceList, Resources, Shortage, SmolStr, Timestamp,
};

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn node(name: &str) -> Node {
    let size: ResourceList = [
        ("cpu", Quantity::from_units(4)),
        ("memory", Quantity::from_bytes(16 << 30)),
        ("pods", Quantity::from_units(50)),
    ]
    .into_iter()
    .collect();
    Node {
        name: name.into(),
        capacity: size.clone(),
        allocatable: size,
        conditions: vec![Condition {
            kind: "Ready".into(),
            status: ConditionStatus::True,
            reason: SmolStr::default(),
            last_transition: Some(now() - Duration::from_hours(1)),
        }],
        ..Node::default()
    }
}

fn group(name: &str, notices: GroupNotices) -> NodeGroup {
    NodeGroup {
        name: name.into(),
        min_size: 0,
        max_size: 10,
        target_size: 0,
        requested_at: None,
        instances: Vec::new(),
        template: Some(NodeTemplate::of(node("template"))),
        price_per_hour: None,
        zones: Vec::new(),
        provision_time: None,
        options: GroupOptions::default(),
        notices,
    }
}

fn pending_pod() -> Arc<Pod> {
    Arc::new(Pod {
        name: "web-0".into(),
        uid: "uid-web-0".into(),
        shape: Arc::new(PodShape {
            namespace: "default".into(),
            requests: Resources {
                milli_cpu: 1000,
                ..Resources::default()
            },
            ..PodShape::default()
        }),
        created_at: Some(now() - Duration::from_mins(5)),
        phase: Phase::Pending,
        scheduled: PodScheduled::Unschedulable { since: None },
        resized_requests: None,
        deletion_timestamp: None,
        node_name: None,
        nominated_node_name: None,
        is_ready: false,
    })
}

fn plan(cluster: &Cluster, memory: &Memory, now: Timestamp) -> Plan {
    let config = Config::default();
    let input = Input {
        cluster,
        memory,
        outcomes: &[],
        config: &config,
        now,
        budget: &NoTimeLimits,
    };
    let plan = decide(&input, prepare(cluster, &config)).plan;
    let violations: Vec<String> = check(&input, &plan)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(violations, Vec::<String>::new());
    plan
}

#[test]
fn a_group_out_of_stock_is_passed_over_until_its_time_and_says_why() {
    let short = GroupNotices {
        shortage: Some(Shortage {
            until: now() + Duration::from_mins(1),
            message: "m5.large in us-east-1a: no capacity".into(),
        }),
        ..GroupNotices::default()
    };
    let cluster = Cluster {
        pods: vec![pending_pod()],
        groups: vec![group("short", short)],
        ..Cluster::default()
    };
    let plan_at = |time| plan(&cluster, &Memory::default(), time);
    let early = plan_at(now());
    assert!(early.actions.is_empty());
    assert_eq!(early.wake_at, Some(now() + Duration::from_mins(1)));
    let (name, reason) = &early.scale_up.skipped_groups[0];
    assert_eq!(name, "short");
    assert!(reason.contains("m5.large in us-east-1a: no capacity"));
    let late = plan_at(now() + Duration::from_mins(1));
    assert_eq!(late.scale_up.resizes.len(), 1);
}

/// A node that joined two minutes ago, of machines with GPUs, and a pod that asks for one.
#[test]
fn a_node_whose_gpus_are_yet_to_be_seen_is_starting_and_no_second_one_is_asked_for() {
    let gpus = |count: i64| Quantity::from_units(count);
    let mut with_gpu = node("template");
    with_gpu.capacity.insert("nvidia.com/gpu", gpus(1));
    with_gpu.allocatable.insert("nvidia.com/gpu", gpus(1));
    let asks_for = |age: Duration, devices: &[&str]| {
        let mut joined = node("new");
        joined.provider_id = "aws:///us-east-1a/i-1".into();
        joined.created_at = Some(now() - age);
        let notices = GroupNotices {
            devices: devices.iter().map(|device| (*device).into()).collect(),
            ..GroupNotices::default()
        };
        let mut trainers = group("trainers", notices);
        trainers.template = Some(NodeTemplate::of(with_gpu.clone()));
        trainers.target_size = 1;
        trainers.instances.push(Instance {
            provider_id: joined.provider_id.clone(),
            state: InstanceState::Running,
        });
        let mut pod = (*pending_pod()).clone();
        let mut shape = (*pod.shape).clone();
        shape.requests.scalars.push(("nvidia.com/gpu".into(), 1));
        pod.shape = Arc::new(shape);
        let cluster = Cluster {
            nodes: vec![Arc::new(joined)],
            pods: vec![Arc::new(pod)],
            groups: vec![trainers],
            ..Cluster::default()
        };
        let mut memory = Memory::default();
        let open = OpenScaleUp {
            increase: 1,
            requested_at: now() - Duration::from_mins(3),
            deadline: now() + Duration::from_mins(12),
        };
        memory.open_scale_ups.insert("trainers".into(), open);
        plan(&cluster, &memory, now()).scale_up.resizes.len()
    };
    let young = Duration::from_mins(2);
    assert_eq!(asks_for(young, &["nvidia.com/gpu"]), 0);
    // What the Go autoscaler does without the label.
    assert_eq!(asks_for(young, &[]), 1);
    // After the time for starting it is a node like any other: nobody installs the driver.
    assert_eq!(asks_for(Duration::from_hours(1), &["nvidia.com/gpu"]), 1);
}

#[test]
fn nothing_is_deleted_of_a_group_that_may_be_another_cluster_s() {
    for is_unproven in [true, false] {
        let mut foreign = group(
            "foreign",
            GroupNotices {
                is_unproven,
                ..GroupNotices::default()
            },
        );
        foreign.target_size = 1;
        let id: SmolStr = "aws:///us-east-1a/i-1".into();
        foreign.instances.push(Instance {
            provider_id: id.clone(),
            state: InstanceState::Running,
        });
        let cluster = Cluster {
            nodes: vec![Arc::new(node("own"))],
            groups: vec![foreign],
            ..Cluster::default()
        };
        let mut memory = Memory::default();
        memory
            .unregistered_since
            .insert(id, now() - Duration::from_hours(1));
        let deletes = plan(&cluster, &memory, now())
            .actions
            .iter()
            .any(|action| matches!(action, Action::DeleteInstances { .. }));
        assert_eq!(deletes, !is_unproven);
    }
}

/// A scale-up of one node whose instance is in this state, an hour after it was asked for.
fn an_hour_after_the_request(state: InstanceState) -> (Memory, bool) {
    let id: SmolStr = "aws:///us-east-1a/i-1".into();
    let mut slow = group("slow", GroupNotices::default());
    slow.target_size = 1;
    slow.instances.push(Instance {
        provider_id: id.clone(),
        state,
    });
    let cluster = Cluster {
        nodes: vec![Arc::new(node("own"))],
        groups: vec![slow],
        ..Cluster::default()
    };
    let asked_at = now() - Duration::from_hours(1);
    let mut memory = Memory::default();
    memory.unregistered_since.insert(id, asked_at);
    memory.open_scale_ups.insert(
        "slow".into(),
        OpenScaleUp {
            increase: 1,
            requested_at: asked_at,
            deadline: asked_at + Duration::from_mins(15),
        },
    );
    let config = Config::default();
    let input = Input {
        cluster: &cluster,
        memory: &memory,
        outcomes: &[],
        config: &config,
        now: now(),
        budget: &NoTimeLimits,
    };
    let decision = decide(&input, prepare(&cluster, &config));
    let deletes = decision.plan.actions.iter().any(|action| {
        let is_delete = matches!(action, Action::DeleteInstances { .. });
        is_delete || matches!(action, Action::DecreaseTargetSize { .. })
    });
    (decision.memory, deletes)
}

#[test]
fn the_time_of_an_instance_that_a_hook_holds_does_not_run() {
    let (memory, deletes) = an_hour_after_the_request(InstanceState::Running);
    assert!(deletes && !memory.open_scale_ups.contains_key("slow"));
    let (memory, deletes) = an_hour_after_the_request(InstanceState::Held);
    assert!(!deletes);
    let deadline = now() + Duration::from_mins(15);
    assert_eq!(memory.open_scale_ups["slow"].deadline, deadline);
    assert_eq!(memory.unregistered_since["aws:///us-east-1a/i-1"], now());
    assert!(memory.backoffs.is_empty());
}

#[test]
fn the_groups_of_which_nodes_were_seen_are_remembered() {
    let proven = GroupNotices {
        proof: Some("web 2026-01-01T00:00:00Z".into()),
        ..GroupNotices::default()
    };
    let cluster = Cluster {
        nodes: vec![Arc::new(node("own"))],
        groups: vec![
            group("web", proven),
            group("other", GroupNotices::default()),
        ],
        ..Cluster::default()
    };
    let config = Config::default();
    let input = Input {
        cluster: &cluster,
        memory: &Memory::default(),
        outcomes: &[],
        config: &config,
        now: now(),
        budget: &NoTimeLimits,
    };
    let memory = decide(&input, prepare(&cluster, &config)).memory;
    let remembered: Vec<&str> = memory.proven_groups.iter().map(AsRef::as_ref).collect();
    assert_eq!(remembered, ["web 2026-01-01T00:00:00Z"]);
}
