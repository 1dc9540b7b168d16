//! What the cloud lets on about groups, and what the loop makes of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use windlass_config::Config;
use windlass_core::{Action, Input, Memory, NoTimeLimits, Plan, check, decide, prepare};
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
