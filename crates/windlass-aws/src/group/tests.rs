use windlass_aws_client::autoscaling::SuspendedProcess;

use super::*;
use crate::activity::FailureCause;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn instance(id: &str, state: &str) -> GroupInstance {
    GroupInstance {
        instance_id: id.to_owned(),
        availability_zone: "us-east-1a".to_owned(),
        lifecycle_state: state.to_owned(),
        health_status: "Healthy".to_owned(),
        ..GroupInstance::default()
    }
}

fn description(desired: u32, instances: &[GroupInstance]) -> AutoScalingGroup {
    AutoScalingGroup {
        name: "workers".to_owned(),
        min_size: 1,
        max_size: 10,
        desired_capacity: desired,
        availability_zones: vec!["us-east-1a".to_owned()],
        instances: instances.to_vec(),
        ..AutoScalingGroup::default()
    }
}

fn group(desired: u32, instances: &[GroupInstance]) -> Group {
    let mut group = Group::new("workers", None, at(0));
    group.describe(description(desired, instances), 0, at(0));
    group
}

fn shown(group: &Group) -> Vec<String> {
    group
        .node_group()
        .instances
        .iter()
        .map(|instance| {
            let id = instance.provider_id.rsplit('/').next().unwrap();
            let state = match &instance.state {
                InstanceState::Running => "running".to_owned(),
                InstanceState::Creating { error: None } => "creating".to_owned(),
                InstanceState::Creating { error: Some(error) } => error.code.to_string(),
                InstanceState::Held => "held".to_owned(),
                InstanceState::Deleting => "deleting".to_owned(),
                InstanceState::Unknown => "unknown".to_owned(),
            };
            format!("{id} {state}")
        })
        .collect()
}

fn request(to: u32, second: i64) -> OpenRequest {
    OpenRequest {
        from: 0,
        to,
        sent_at: at(second),
        server_time: at(second),
    }
}

fn failure() -> LaunchFailure {
    LaunchFailure {
        cause: FailureCause::InsufficientCapacity,
        message: "no capacity".to_owned(),
        at: at(1),
    }
}

/// Point 7 of the acceptance checklist, as far as the list of instances goes.
#[test]
fn checklist_07_placeholders_stand_for_what_was_asked_for() {
    let mut group = group(2, &[instance("i-1", "InService")]);
    assert_eq!(
        shown(&group),
        ["i-1 running", "i-placeholder-workers-1 creating"]
    );
    group.note_activities(Some(failure()), &[], at(1));
    assert_eq!(
        shown(&group),
        [
            "i-1 running",
            "i-placeholder-workers-1 insufficient-capacity"
        ]
    );
    let arrived = [instance("i-1", "InService"), instance("i-2", "Pending")];
    group.describe(description(2, &arrived), 0, at(20));
    assert_eq!(shown(&group), ["i-1 running", "i-2 creating"]);
    assert_eq!(group.failure(), None);
}

#[test]
fn a_dying_instance_does_not_hide_the_one_that_is_missing() {
    let group = group(
        2,
        &[
            instance("i-1", "InService"),
            instance("i-2", "Terminating:Wait"),
        ],
    );
    assert_eq!(
        shown(&group),
        [
            "i-1 running",
            "i-2 deleting",
            "i-placeholder-workers-1 creating"
        ]
    );
}

#[test]
fn standby_is_neither_counted_nor_shown() {
    let group = group(
        1,
        &[instance("i-1", "InService"), instance("i-2", "Standby")],
    );
    assert_eq!(shown(&group), ["i-1 running"]);
}

#[test]
fn an_instance_listed_twice_is_one() {
    let group = group(
        2,
        &[instance("i-1", "InService"), instance("i-1", "InService")],
    );
    assert_eq!(
        shown(&group),
        ["i-1 running", "i-placeholder-workers-1 creating"]
    );
}

#[test]
fn what_was_asked_for_shows_at_once_and_outlives_a_late_answer() {
    let mut group = group(1, &[instance("i-1", "InService")]);
    let acts = group.acts();
    group.note_increase(request(3, 10));
    assert_eq!(group.node_group().target_size, 3);
    // Asked before the request, answered after it.
    group.describe(description(1, &[instance("i-1", "InService")]), acts, at(9));
    assert_eq!(group.node_group().target_size, 3);
    // Asked after it, but AWS's answer lags.
    let acts = group.acts();
    group.describe(
        description(1, &[instance("i-1", "InService")]),
        acts,
        at(11),
    );
    assert_eq!(group.node_group().target_size, 3);
    // Someone has lowered it since.
    group.describe(
        description(1, &[instance("i-1", "InService")]),
        acts,
        at(30),
    );
    assert_eq!(group.node_group().target_size, 1);
    assert_eq!(group.request(), None);
}

#[test]
fn a_terminated_instance_lowers_the_target_once() {
    let mut group = group(
        2,
        &[instance("i-1", "InService"), instance("i-2", "InService")],
    );
    group.note_termination("i-2", at(1));
    assert_eq!(group.node_group().target_size, 1);
    assert_eq!(shown(&group), ["i-1 running", "i-2 deleting"]);
    let acts = group.acts();
    group.describe(
        description(
            1,
            &[instance("i-1", "InService"), instance("i-2", "Terminating")],
        ),
        acts,
        at(2),
    );
    assert_eq!(group.node_group().target_size, 1);
    assert_eq!(shown(&group), ["i-1 running", "i-2 deleting"]);
}

#[test]
fn a_suspended_process_pins_the_size() {
    let mut suspended = description(3, &[]);
    suspended.suspended_processes = vec![SuspendedProcess {
        process_name: "Launch".to_owned(),
        suspension_reason: String::new(),
    }];
    let mut group = Group::new("workers", None, at(0));
    group.describe(suspended, 0, at(0));
    assert_eq!(group.node_group().max_size, 3);
    assert_eq!(group.node_group().min_size, 1);
    assert!(group.holds().scale_up.unwrap().contains("Launch"));
}

#[test]
fn a_named_group_that_aws_does_not_know_is_listed_empty() {
    let group = Group::new("gone", Some(Limits { min: 1, max: 5 }), at(0));
    let seen = group.node_group();
    assert_eq!((seen.min_size, seen.max_size, seen.target_size), (0, 0, 0));
    assert!(seen.instances.is_empty());
    assert!(group.holds().scale_up.is_some());
}

/// Point 5 of the acceptance checklist.
#[test]
fn checklist_05_the_flag_s_limits_win() {
    let mut group = Group::new("workers", Some(Limits { min: 2, max: 4 }), at(0));
    group.describe(description(3, &[]), 0, at(0));
    assert_eq!(group.limits(), Limits { min: 2, max: 4 });
}

#[test]
fn a_recreated_namesake_starts_afresh() {
    let mut first = description(2, &[instance("i-1", "InService")]);
    first.created_time = Some(at(-100));
    let mut group = Group::new("workers", None, at(0));
    group.describe(first, 0, at(0));
    group.note_increase(request(5, 1));
    let mut second = description(1, &[]);
    second.created_time = Some(at(5));
    let acts = group.acts();
    group.describe(second, acts, at(6));
    assert_eq!(group.node_group().target_size, 1);
    assert_eq!(group.request(), None);
}

#[test]
fn an_instance_that_slips_in_after_a_shrink_is_noticed() {
    let mut group = group(3, &[instance("i-1", "InService")]);
    group.note_shrink(1, at(10));
    assert_eq!(group.slipped_in(), None);
    let acts = group.acts();
    let two = [instance("i-1", "InService"), instance("i-2", "Pending")];
    group.describe(description(1, &two), acts, at(12));
    assert_eq!(group.slipped_in(), Some(2));
    // Later, it is somebody else's doing.
    group.describe(description(1, &two), acts, at(60));
    assert_eq!(group.slipped_in(), None);
}

#[test]
fn weights_are_refused_with_a_reason() {
    let mut weighted = description(3, &[]);
    weighted.desired_capacity_type = Some("vcpu".to_owned());
    let mut group = Group::new("workers", None, at(0));
    group.describe(weighted, 0, at(0));
    let seen = group.node_group();
    assert_eq!((seen.min_size, seen.max_size), (3, 3));
    assert!(group.conditions()[0].text.contains("vcpu"));
}

#[test]
fn an_instance_that_a_launch_hook_holds_is_there_and_held() {
    let group = group(
        2,
        &[
            instance("i-1", "Pending:Wait"),
            instance("i-2", "Pending:Proceed"),
        ],
    );
    assert_eq!(shown(&group), ["i-1 held", "i-2 creating"]);
    assert_eq!((group.live(), group.outstanding()), (2, 0));
}

#[test]
fn what_leaves_without_us_makes_a_group_restless_and_what_we_end_does_not() {
    let both = [instance("i-1", "InService"), instance("i-2", "InService")];
    let mut ours = group(2, &both);
    ours.note_termination("i-2", at(1));
    let acts = ours.acts();
    ours.describe(description(1, &both[..1]), acts, at(5));
    assert!(!ours.is_restless(at(5)));
    let mut others = group(2, &both);
    let gone = [instance("i-1", "InService"), instance("i-2", "Terminating")];
    others.describe(description(2, &gone), 0, at(5));
    assert!(others.is_restless(at(5)));
    assert!(!others.is_restless(at(5 + 600)));
    // As long as it is being refreshed, and then it may be shrunk again.
    others.set_refreshing(true);
    assert!(others.is_restless(at(5 + 600)));
    let held = others.node_group();
    assert_eq!((held.min_size, held.target_size), (2, 2));
    others.set_refreshing(false);
    assert_eq!(others.node_group().min_size, 1);
}
