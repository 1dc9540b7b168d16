//! The events that this half records: reason, object and words.

use windlass_core::{Action, EventTiming, Outcome, OutcomeResult};
use windlass_model::{CreationError, CreationErrorClass, Instance, InstanceState};

use crate::world::{Documents, Loops, events, flags};

fn four_pods() -> Documents {
    flags(&[]).group("a", 4, "").pods("web", 4, "1", "")
}

#[test]
fn a_scale_up_is_told_before_and_after_and_to_its_pods() {
    let decision = four_pods().decide();
    let told = events(&decision);
    assert_eq!(
        told[..2],
        [
            "Normal ScaledUpGroup status: Scale-up: setting group a size to 1 instead of 0 (max: 10)",
            "Normal ScaledUpGroup status: Scale-up: group a size set to 1 instead of 0 (max: 10)",
        ]
    );
    assert_eq!(
        told[2],
        "Normal TriggeredScaleUp pod default/web-0: pod triggered scale-up: [{a 0->1 (max: 10)}]"
    );
    assert_eq!(told.len(), 6);
    let timings: Vec<EventTiming> = decision.plan.events.iter().map(|e| e.timing).collect();
    assert_eq!(
        timings[..3],
        [
            EventTiming::AtOnce,
            EventTiming::OnceDone(0),
            EventTiming::OnceGrown
        ]
    );
}

#[test]
fn a_split_scale_up_names_every_group() {
    let decision = flags(&["--balance-similar-node-groups"])
        .group("a", 4, "")
        .group("b", 4, "")
        .pods("web", 8, "1", "")
        .decide();
    let triples = "pod triggered scale-up: [{a 0->1 (max: 10)} {b 0->1 (max: 10)}]";
    assert!(events(&decision).contains(&format!(
        "Normal TriggeredScaleUp pod default/web-7: {triples}"
    )));
}

/// When the beginning of each group's growth is told.
fn beginnings(more: &[&str]) -> Vec<EventTiming> {
    let decision = flags(&["--balance-similar-node-groups"])
        .flags(more)
        .group("a", 4, "")
        .group("b", 4, "")
        .pods("web", 8, "1", "")
        .decide();
    let events = decision.plan.events.iter();
    events
        .filter(|event| event.message.contains("setting group"))
        .map(|event| event.timing)
        .collect()
}

#[test]
fn groups_that_grow_in_turn_are_announced_in_turn() {
    let in_turn = beginnings(&[]);
    assert_eq!(in_turn, [EventTiming::AtOnce, EventTiming::OnceDone(0)]);
    let together = beginnings(&["--parallel-scale-up"]);
    assert_eq!(together, [EventTiming::AtOnce, EventTiming::AtOnce]);
}

#[test]
fn pods_that_no_group_helps_are_told_how_many_groups_fail_for_what() {
    let decision = flags(&[])
        .group("full", 4, "maxSize: 0")
        .group("small", 2, "")
        .group("tiny", 1, "")
        .pods("web", 1, "3", "")
        .decide();
    assert_eq!(
        events(&decision),
        [
            "Normal NotTriggerScaleUp pod default/web-0: pod didn't trigger scale-up: 2 \
             Insufficient cpu, 1 max node group size reached"
        ]
    );
}

#[test]
fn at_the_limit_of_nodes_every_pod_is_told_so() {
    let decision = flags(&["--max-nodes-total=1"])
        .node("n1", "a", "", "")
        .group("a", 4, "")
        .pods("web", 1, "5", "")
        .decide();
    assert_eq!(
        events(&decision),
        [
            "Warning MaxNodesTotalReached status: Max total nodes in cluster reached: 1",
            "Normal NotTriggerScaleUp pod default/web-0: pod didn't trigger scale-up: max total \
             nodes in cluster reached",
        ]
    );
}

#[test]
fn a_refused_growth_is_told_by_the_next_loop() {
    let mut loops = Loops::new(&four_pods());
    let decision = loops.decide();
    loops.fail_growth(&decision);
    let told = events(&loops.decide());
    assert_eq!(
        told[0],
        "Warning FailedToScaleUpGroup status: Scale-up failed for group a: no capacity"
    );
    assert_eq!(
        told[1],
        "Normal NotTriggerScaleUp pod default/web-0: pod didn't trigger scale-up: 1 in backoff \
         after failed scale-up"
    );
}

#[test]
fn a_scale_up_that_times_out_is_told_and_taken_back() {
    let mut loops = Loops::new(&four_pods());
    let decision = loops.decide();
    loops.carry_out(&decision);
    loops.pass("15m1s");
    let decision = loops.decide();
    assert_eq!(
        events(&decision)[0],
        "Warning ScaleUpTimedOut status: Nodes added to group a failed to register within 15m0s"
    );
    let taken_back = decision.plan.actions[0].clone();
    assert!(matches!(taken_back, Action::DecreaseTargetSize { .. }));
    loops.outcomes.push(Outcome {
        action: taken_back,
        result: OutcomeResult::Failed {
            code: "cloudProviderError".into(),
            message: "throttled".to_owned(),
        },
    });
    assert!(events(&loops.decide()).contains(
        &"Warning FailedToRevertScaleUp status: Failed to decrease target size for group a after \
          scale-up timeout: throttled"
            .to_owned()
    ));
}

#[test]
fn instances_that_fail_to_be_created_are_told_by_their_error() {
    let mut loops = Loops::new(&four_pods());
    let decision = loops.decide();
    loops.carry_out(&decision);
    loops.group("a").instances.push(Instance {
        provider_id: "aws:///z/i-1".into(),
        state: InstanceState::Creating {
            error: Some(CreationError {
                class: CreationErrorClass::OutOfResource,
                code: "InsufficientInstanceCapacity".into(),
                message: "none of this type".into(),
            }),
        },
    });
    let decision = loops.decide();
    assert_eq!(
        events(&decision)[0],
        "Warning ScaleUpFailed status: Failed adding 1 nodes to group a due to \
         OutOfResource.InsufficientInstanceCapacity; source errors: none of this type"
    );
    assert!(loops.memory.open_scale_ups.is_empty());
    assert_eq!(loops.memory.backoffs["a"].error.class, "OutOfResource");
}

#[test]
fn unregistered_instances_are_told_when_they_go_and_when_they_cannot() {
    let documents = flags(&[]).node("n1", "a", "", "").group("a", 4, "");
    let mut loops = Loops::new(&documents);
    let group = loops.group("a");
    group.target_size = 2;
    group.instances.push(Instance {
        provider_id: "aws:///z/ghost".into(),
        state: InstanceState::Running,
    });
    loops.decide();
    loops.pass("16m");
    let decision = loops.decide();
    let event = &decision.plan.events[0];
    assert_eq!(event.timing, EventTiming::OnceDone(0));
    assert_eq!(
        events(&decision)[0],
        "Normal DeleteUnregistered status: Removed unregistered node aws:///z/ghost"
    );
    loops.outcomes.push(Outcome {
        action: decision.plan.actions[0].clone(),
        result: OutcomeResult::Failed {
            code: "cloudProviderError".into(),
            message: "denied".to_owned(),
        },
    });
    assert_eq!(
        events(&loops.decide())[0],
        "Warning DeleteUnregisteredFailed status: Failed to remove node aws:///z/ghost: denied"
    );
}

#[test]
fn an_unhealthy_cluster_is_told_and_left_alone() {
    let documents = (0..5).fold(flags(&[]), |documents, number| {
        documents.node_in_state(&format!("n{number}"), "a", "", "", "'Unknown'")
    });
    let decision = documents.group("a", 4, "").pods("web", 4, "1", "").decide();
    assert_eq!(
        events(&decision),
        ["Warning ClusterUnhealthy status: Cluster is unhealthy"]
    );
}

#[test]
fn degradation_is_told_when_it_begins() {
    let documents = flags(&["--enable-graceful-degradation"])
        .group("a", 4, "")
        .pods("web", 4, "1", "");
    let spent = crate::world::StrikesAfter::new(windlass_core::TimeLimit::PendingPods, 0);
    let decision = Loops::new(&documents).decide_within(&spent);
    assert_eq!(
        events(&decision),
        [
            "Warning GracefulDegradationStarted status: Autoscaler is unable to handle the large \
             amount of unschedulable pods. Consider reducing the rate of adding new pods, so \
             autoscaler could auto recover."
        ]
    );
}
