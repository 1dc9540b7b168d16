//! Points of the acceptance checklist that need faults, each named after its number.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_aws::{
    ActionError, ActionSettings, Cancellation, Floor, Increase, Presence, Termination,
};
use windlass_config::AwsLaunchApi;
use windlass_faults::{Entry, FakeGroup, Rule, Supply, Trouble};
use windlass_model::{InstanceState, NodeGroup};

use crate::cloud::{CLUSTER, Cloud, all_join, discovered, group, ids, pass};

async fn web(min: u32, max: u32, desired: u32) -> Cloud {
    let cloud = Cloud::new().await;
    let made = FakeGroup::new("web").sizes(min, max, desired);
    cloud.fake.create(made.discovered_by(CLUSTER));
    cloud
}

fn errors(group: &NodeGroup) -> Vec<String> {
    group
        .instances
        .iter()
        .filter_map(|instance| match &instance.state {
            InstanceState::Creating { error: Some(error) } => Some(error.code.to_string()),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn checklist_06_a_raise_by_others_between_look_and_write_is_not_undone() {
    let cloud = web(0, 9, 2).await;
    let aws = cloud.aws();
    aws.refresh().await;
    all_join(&aws);
    // The listing lags, so the look before the write does not show what somebody has just done.
    cloud.faults.lag(Duration::from_secs(4));
    cloud.fake.set_desired("web", 6);
    cloud.called();
    assert_eq!(
        aws.increase("web", 4).await.unwrap(),
        Increase::Requested { from: 2, to: 4 }
    );
    let written: Vec<Entry> = cloud
        .faults
        .log()
        .into_iter()
        .filter(|entry| entry.action == "SetDesiredCapacity")
        .collect();
    assert_eq!(written.len(), 1);
    // As soon as the listing shows it, the capacity is raised again, and nobody has died.
    pass(&aws, Duration::from_mins(1)).await;
    let truth = cloud.faults.truth("web").await.unwrap();
    assert_eq!((truth.desired, truth.instances.len()), (6, 6));
    assert_eq!(cloud.faults.victims(), []);
    assert_eq!(group(&aws, "web").target_size, 6);
}

#[tokio::test(start_paused = true)]
async fn checklist_07_a_failure_newer_than_the_request_condemns_it_and_an_older_one_does_not() {
    let cloud = web(0, 9, 1).await;
    let aws = cloud.aws();
    aws.refresh().await;
    let long_ago = aws.client().now() - windlass_model::Duration::from_mins(30);
    let launching = "Launching a new EC2 instance";
    cloud
        .faults
        .add_activity("web", launching, "Failed", "VcpuLimitExceeded", long_ago)
        .await;
    let slow = Supply::default().launching_for(Duration::from_mins(2));
    cloud.faults.supply("web", slow);
    aws.increase("web", 2).await.unwrap();
    pass(&aws, Duration::from_secs(5)).await;
    let seen = group(&aws, "web");
    assert!(ids(&aws, "web")[1].ends_with("/i-placeholder-web-1"));
    assert_eq!(errors(&seen), Vec::<String>::new(), "older");
    // A failed termination says nothing of launches.
    let now = aws.client().now();
    cloud
        .faults
        .add_activity("web", "Terminating EC2 instance: i-9", "Failed", "no", now)
        .await;
    pass(&aws, Duration::from_secs(5)).await;
    assert_eq!(errors(&group(&aws, "web")), Vec::<String>::new());
    cloud.faults.supply("web", Supply::default().most(1));
    aws.increase("web", 3).await.unwrap();
    pass(&aws, Duration::from_secs(130)).await;
    assert_eq!(
        errors(&group(&aws, "web"))[0],
        "insufficient-capacity",
        "newer"
    );
}

#[tokio::test(start_paused = true)]
async fn checklist_07_not_knowing_is_not_failing() {
    let cloud = web(0, 9, 1).await;
    cloud.faults.supply("web", Supply::default().most(1));
    cloud.faults.add(Rule::on(
        "DescribeScalingActivities",
        Trouble::error(403, "AccessDenied", "not authorized"),
    ));
    let aws = cloud.aws();
    aws.refresh().await;
    aws.increase("web", 2).await.unwrap();
    pass(&aws, Duration::from_secs(20)).await;
    let seen = group(&aws, "web");
    assert_eq!(seen.instances.len(), 2);
    assert_eq!(errors(&seen), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn checklist_07_a_restart_finds_old_failures_and_condemns_nobody() {
    let cloud = web(0, 9, 1).await;
    cloud.faults.supply("web", Supply::default().most(1));
    let before = cloud.aws();
    before.refresh().await;
    before.increase("web", 2).await.unwrap();
    pass(&before, Duration::from_secs(40)).await;
    assert_eq!(errors(&group(&before, "web")).len(), 1);
    // AWS goes on trying, and this time it takes a while.
    let slow = Supply::default().launching_for(Duration::from_mins(5));
    cloud.faults.supply("web", slow);
    pass(&before, Duration::from_secs(40)).await;
    let after = cloud.aws();
    pass(&after, Duration::from_secs(20)).await;
    assert_eq!(errors(&group(&after, "web")), Vec::<String>::new());
    assert_eq!(group(&after, "web").target_size, 2);
}

#[tokio::test(start_paused = true)]
async fn checklist_08_deleting_placeholders_ends_nothing_even_if_an_instance_arrives_late() {
    let cloud = web(0, 9, 2).await;
    let hidden = Supply::default()
        .most(3)
        .listed_after(Duration::from_secs(9));
    cloud.faults.supply("web", hidden);
    let aws = cloud.aws();
    pass(&aws, Duration::from_secs(10)).await;
    all_join(&aws);
    aws.increase("web", 5).await.unwrap();
    // One of three is there already, and no listing shows it yet.
    let placeholders: Vec<String> = ids(&aws, "web").split_off(2);
    assert_eq!(placeholders.len(), 3);
    cloud.called();
    let (deletions, cancelled) = aws
        .delete_instances("web", &placeholders, Floor::GroupMinimum)
        .await;
    assert!(deletions.is_empty());
    assert!(matches!(
        cancelled,
        Some(Ok(Cancellation::Lowered { from: 5, .. }))
    ));
    pass(&aws, Duration::from_secs(90)).await;
    let calls = cloud.called();
    assert!(!calls.contains(&"TerminateInstanceInAutoScalingGroup".to_owned()));
    let truth = cloud.faults.truth("web").await.unwrap();
    assert_eq!((truth.desired, truth.instances.len()), (3, 3));
    assert_eq!(cloud.faults.victims(), []);
}

#[tokio::test(start_paused = true)]
async fn checklist_09_what_is_going_already_is_not_ended_again() {
    for state in [
        "Terminating",
        "Terminating:Wait",
        "Terminating:Proceed",
        "Terminated",
    ] {
        let cloud = web(0, 9, 2).await;
        let aws = cloud.aws();
        aws.refresh().await;
        all_join(&aws);
        let victim = ids(&aws, "web").remove(0);
        // As another's termination, or a health check, would leave it.
        let going = Supply::default().pending_for(Duration::from_hours(1), state);
        cloud.faults.supply("web", going);
        aws.force_refresh();
        aws.refresh().await;
        cloud.called();
        assert_eq!(
            aws.terminate("web", &victim, Floor::GroupMinimum)
                .await
                .unwrap(),
            Termination::AlreadyGoing,
            "{state}"
        );
        assert_eq!(cloud.called(), Vec::<String>::new(), "{state}");
        assert_eq!(cloud.faults.truth("web").await.unwrap().desired, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn checklist_09_our_own_termination_is_sent_once_through_its_whole_wait() {
    let cloud = web(0, 9, 3).await;
    let waiting = Supply::default().terminating_for(Duration::from_mins(5));
    cloud.faults.supply("web", waiting);
    let aws = cloud.aws();
    aws.refresh().await;
    all_join(&aws);
    let victim = ids(&aws, "web").remove(0);
    for _ in 0..6 {
        aws.terminate("web", &victim, Floor::GroupMinimum)
            .await
            .unwrap();
        pass(&aws, Duration::from_secs(30)).await;
    }
    let sent = cloud
        .called()
        .iter()
        .filter(|action| *action == "TerminateInstanceInAutoScalingGroup")
        .count();
    assert_eq!(sent, 1);
    assert_eq!(cloud.faults.truth("web").await.unwrap().desired, 2);
    assert_eq!(group(&aws, "web").target_size, 2);
}

/// The effect without the answer, with a listing that lags: a second call would lower twice.
#[tokio::test(start_paused = true)]
async fn checklist_09_a_lost_answer_does_not_end_it_twice() {
    let cloud = web(0, 9, 3).await;
    let aws = cloud.aws();
    aws.refresh().await;
    all_join(&aws);
    pass(&aws, Duration::from_secs(10)).await;
    cloud.faults.lag(Duration::from_secs(5));
    let action = "TerminateInstanceInAutoScalingGroup";
    cloud
        .faults
        .add(Rule::on(action, Trouble::LoseReply).times(1));
    let victim = ids(&aws, "web").remove(0);
    for _ in 0..5 {
        // Fails at first, for nobody knows what happened.
        let _ = aws.terminate("web", &victim, Floor::GroupMinimum).await;
        pass(&aws, Duration::from_secs(4)).await;
    }
    assert_eq!(cloud.faults.truth("web").await.unwrap().desired, 2);
    assert_eq!(
        aws.terminate("web", &victim, Floor::GroupMinimum)
            .await
            .unwrap(),
        Termination::AlreadyGone
    );
    assert_eq!(cloud.faults.victims(), []);
}

#[tokio::test(start_paused = true)]
async fn checklist_15_credentials_that_expire_are_fetched_again_and_no_storm_follows() {
    let cloud = web(0, 9, 1).await;
    let aws = cloud.aws();
    let expired = || {
        let words = "The security token included in the request is expired";
        Trouble::error(403, "ExpiredToken", words)
    };
    let action = "DescribeAutoScalingGroups";
    cloud.faults.add(Rule::on(action, expired()).times(1));
    let report = aws.refresh().await;
    assert!(report.listed, "{report:?}");
    cloud.faults.add(Rule::on(action, expired()));
    cloud.called();
    pass(&aws, Duration::from_mins(10)).await;
    let calls = cloud.called().len();
    // Two attempts each, with pauses that grow to two minutes.
    assert!(calls <= 24, "{calls}");
    assert_eq!(group(&aws, "web").target_size, 1, "the last view stays");
    assert!(windlass_model::Duration::from_mins(9) < aws.age().unwrap());
    cloud.faults.clear_rules();
    pass(&aws, Duration::from_secs(150)).await;
    assert!(aws.age().unwrap() < windlass_model::Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn checklist_16_an_instance_of_the_warm_pool_is_nobody_s_to_delete() {
    let cloud = Cloud::new().await;
    let pool = "<WarmPoolConfiguration><MinSize>1</MinSize><PoolState>Stopped</PoolState>\
                </WarmPoolConfiguration>";
    let made = FakeGroup::new("web").sizes(0, 9, 1).described(pool);
    cloud.fake.create(made.discovered_by(CLUSTER));
    cloud.faults.warm_pool(
        "web",
        &[("i-77", "Warmed:Stopped"), ("i-78", "Warmed:Running")],
    );
    let aws = cloud.aws();
    aws.refresh().await;
    all_join(&aws);
    let warm = Presence::Warm {
        group: "web".to_owned(),
    };
    assert_eq!(aws.presence("aws:///us-east-1a/i-78"), warm);
    assert_eq!(group(&aws, "web").instances.len(), 1);
    cloud.called();
    let ended = aws
        .terminate("web", "aws:///us-east-1a/i-78", Floor::GroupMinimum)
        .await
        .unwrap();
    assert_eq!(ended, Termination::AlreadyGone);
    assert_eq!(cloud.called(), Vec::<String>::new());
    assert!(aws.conditions().contains(&(
        "web".to_owned(),
        "2 instances wait in its warm pool".to_owned()
    )));
}

/// Every call that the provider makes is throttled, all of them at once and each for itself: no
/// refresh fails for good, no act ends anybody, and the number of calls is bounded.
#[tokio::test(start_paused = true)]
async fn checklist_18_throttling_of_every_call_is_survived_at_a_bounded_cost() {
    let actions = [
        "DescribeAutoScalingGroups",
        "DescribeScalingActivities",
        "DescribeLaunchTemplateVersions",
        "DescribeImages",
        "DescribeInstanceTypes",
        "SetDesiredCapacity",
        "TerminateInstanceInAutoScalingGroup",
        "*",
    ];
    for throttled in actions {
        let cloud = web(0, 9, 2).await;
        cloud.faults.supply("web", Supply::default().most(3));
        let aws = cloud.aws();
        cloud.faults.add(Rule::new(move |call| {
            let action = call.action();
            if throttled != "*" && throttled != action {
                return None;
            }
            let is_ec2 = call.parameter("Version").as_deref() == Some("2016-11-15");
            Some(if is_ec2 {
                Trouble::error(503, "RequestLimitExceeded", "Request limit exceeded.")
            } else {
                Trouble::throttling()
            })
        }));
        for _ in 0..10 {
            pass(&aws, Duration::from_mins(1)).await;
            let _ = aws.increase("web", 5).await;
            if let Some(first) = aws
                .node_groups()
                .first()
                .and_then(|group| group.instances.first())
            {
                let id = first.provider_id.to_string();
                all_join(&aws);
                let _ = aws.terminate("web", &id, Floor::GroupMinimum).await;
            }
        }
        let mut by_action: BTreeMap<String, usize> = BTreeMap::new();
        for action in cloud.called() {
            *by_action.entry(action).or_default() += 1;
        }
        // Ten increases of which each is looked after every second for a quarter of a minute, and
        // twenty acts, three attempts each.
        let most = by_action.values().max().copied().unwrap_or(0);
        assert!(most <= 300, "{throttled}: {by_action:?}");
        assert_eq!(cloud.faults.victims(), [], "{throttled}");
        cloud.faults.clear_rules();
        pass(&aws, Duration::from_mins(4)).await;
        assert_eq!(aws.node_groups().len(), 1, "{throttled}");
        assert!(aws.age().unwrap() < windlass_model::Duration::from_secs(60));
        assert!(group(&aws, "web").template.is_some(), "{throttled}");
    }
}

#[tokio::test(start_paused = true)]
async fn slow_answers_and_internal_errors_leave_the_view_in_place() {
    let cloud = web(0, 9, 2).await;
    let aws = cloud.aws();
    aws.refresh().await;
    all_join(&aws);
    let listing = "DescribeAutoScalingGroups";
    for trouble in [
        Trouble::Slow(Duration::from_mins(5)),
        Trouble::internal(),
        Trouble::LoseCall,
        // What cannot be understood.
        Trouble::error(200, "", ""),
    ] {
        cloud.faults.add(Rule::on(listing, trouble.clone()));
        aws.force_refresh();
        let begun = tokio::time::Instant::now();
        let report = aws.refresh().await;
        assert!(begun.elapsed() <= Duration::from_secs(31), "{trouble:?}");
        assert!(!report.listed, "{trouble:?}");
        assert_eq!(group(&aws, "web").instances.len(), 2, "{trouble:?}");
        cloud.faults.clear_rules();
        pass(&aws, Duration::from_mins(3)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_synchronous_launch_wants_no_more_than_it_got() {
    let cloud = web(0, 9, 1).await;
    cloud.faults.supply("web", Supply::default().most(3));
    let actions = ActionSettings {
        launch_api: AwsLaunchApi::LaunchInstances,
        ..ActionSettings::default()
    };
    let aws = cloud.aws_with(discovered(&[CLUSTER]), actions);
    aws.refresh().await;
    cloud.called();
    let error = aws.increase("web", 5).await.unwrap_err();
    assert!(matches!(
        &error,
        ActionError::Launch {
            launched: 2,
            requested: 4,
            ..
        }
    ));
    assert_eq!(error.code(), "insufficient-capacity");
    assert_eq!(
        cloud.called(),
        ["DescribeAutoScalingGroups", "LaunchInstances"]
    );
    assert_eq!(cloud.faults.truth("web").await.unwrap().desired, 3);
    assert!(group(&aws, "web").notices.shortage.is_some());
    // Where the call is not allowed, the other one is made.
    cloud.faults.supply("web", Supply::default());
    cloud.faults.add(Rule::on(
        "LaunchInstances",
        Trouble::error(403, "AccessDenied", "not authorized"),
    ));
    assert_eq!(
        aws.increase("web", 4).await.unwrap(),
        Increase::Requested { from: 3, to: 4 }
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_is_explained_value_by_value_with_its_source() {
    let cloud = Cloud::new().await;
    let template = "k8s.io/cluster-autoscaler/node-template";
    let made = FakeGroup::new("web")
        .sizes(0, 9, 0)
        .discovered_by(CLUSTER)
        .tag(&format!("{template}/label/team"), "ml")
        .tag(&format!("{template}/taint/gpu"), "yes:NoSchedule")
        .tag(&format!("{template}/taint/odd"), "nonsense")
        .tag(&format!("{template}/resources/ephemeral-storage"), "50Gi")
        .zones(&["us-east-1a", "us-east-1b"]);
    cloud.fake.create(made);
    let aws = cloud.aws();
    aws.refresh().await;
    let explained = aws.explain("web").unwrap();
    assert_eq!(
        explained.found_by,
        "--node-group-auto-discovery, tags k8s.io/cluster-autoscaler/enabled, \
         k8s.io/cluster-autoscaler/prod"
    );
    assert_eq!(
        explained.pools,
        [
            "m5.large in us-east-1a, on demand",
            "m5.large in us-east-1b, on demand"
        ]
    );
    let source = |part: &str| {
        explained
            .template
            .iter()
            .rev()
            .find(|origin| origin.part == part)
            .map(|origin| (origin.value.as_str(), origin.source))
    };
    let tag = "tag of the Auto Scaling group";
    assert_eq!(source("label team"), Some(("ml", tag)));
    assert_eq!(source("taint gpu:NoSchedule"), Some(("yes", tag)));
    assert_eq!(
        source("capacity and allocatable ephemeral-storage"),
        Some(("50Gi", tag))
    );
    assert_eq!(source("capacity cpu"), Some(("2", "instance type")));
    assert_eq!(
        source("price"),
        Some(("$0.0960 an hour", "the built-in prices"))
    );
    assert!(
        explained
            .conditions
            .iter()
            .any(|told| told.contains("nonsense") && told.contains("VALUE:EFFECT"))
    );
    let text = explained.to_text();
    assert!(
        text.contains("price: $0.0960 an hour by the built-in prices"),
        "{text}"
    );
    assert_eq!(
        explained.source_of("allocatable ephemeral-storage"),
        Some(tag)
    );
    assert!(aws.explain("other").is_none());
}

#[tokio::test(start_paused = true)]
async fn instances_are_protected_where_that_is_wished() {
    let cloud = web(0, 9, 2).await;
    let actions = ActionSettings {
        protect_from_scale_in: true,
        ..ActionSettings::default()
    };
    let aws = cloud.aws_with(discovered(&[CLUSTER]), actions);
    aws.refresh().await;
    assert!(!cloud.called().contains(&"SetInstanceProtection".to_owned()));
    all_join(&aws);
    aws.force_refresh();
    aws.refresh().await;
    assert!(cloud.called().contains(&"SetInstanceProtection".to_owned()));
    // Without the permission it is told once and let be.
    cloud.faults.add(Rule::on(
        "SetInstanceProtection",
        Trouble::error(403, "AccessDenied", "not authorized"),
    ));
    pass(&aws, Duration::from_mins(30)).await;
    let tried = cloud
        .called()
        .iter()
        .filter(|action| *action == "SetInstanceProtection")
        .count();
    assert_eq!(tried, 1);
    assert!(
        aws.conditions()
            .iter()
            .any(|(_, told)| told.contains("not protected"))
    );
}
