//! What is counted and measured for metrics, and what the log is told of discovery.

use std::time::Duration;

use windlass_aws::activity::FailureCause;
use windlass_aws::arrival::Step;
use windlass_aws::condition::ConditionKind;
use windlass_aws::{ActionSettings, Membership};
use windlass_config::DiscoveryMode;
use windlass_faults::{FakeGroup, Supply};
use windlass_model::{Condition, ConditionStatus, Duration as SignedDuration, Node};

use crate::cloud::{CLUSTER, Cloud, all_join, ids, pass, spec};

#[tokio::test(start_paused = true)]
async fn a_launch_is_measured_step_by_step_and_a_failure_counted_by_its_code() {
    let cloud = Cloud::new().await;
    for name in ["short", "web"] {
        let made = FakeGroup::new(name).sizes(0, 5, 1);
        cloud.fake.create(made.discovered_by(CLUSTER));
    }
    let aws = cloud.aws();
    aws.refresh().await;
    all_join(&aws);
    assert_eq!(aws.outstanding(), 0);
    assert!(
        aws.groups_by_condition()
            .values()
            .all(|groups| *groups == 0)
    );

    let slow = Supply::default().launching_for(Duration::from_secs(20));
    cloud.faults.supply("web", slow);
    let words = "We currently do not have sufficient m5.large capacity";
    cloud
        .faults
        .supply("short", Supply::default().most(1).failing_with(words));
    for name in ["short", "web"] {
        aws.increase(name, 2).await.unwrap();
    }
    assert_eq!(aws.outstanding(), 2);
    pass(&aws, Duration::from_secs(40)).await;
    assert_eq!(aws.outstanding(), 1);
    assert_eq!(
        aws.groups_by_condition()[&ConditionKind::LaunchesFail],
        1,
        "{:?}",
        aws.conditions()
    );
    let happened = aws.take_happened();
    // AWS goes on trying, so that there may be several.
    let failures = &happened.launch_failures;
    let is_short = |cause: &FailureCause| *cause == FailureCause::InsufficientCapacity;
    assert!(
        !failures.is_empty() && failures.iter().all(is_short),
        "{failures:?}"
    );
    // The instance that was there before is no part of it.
    let [(Step::RequestToInstance, took)] = happened.steps[..] else {
        panic!("{:?}", happened.steps);
    };
    let about = |seconds| {
        let exact = SignedDuration::from_secs(seconds);
        exact..=exact + SignedDuration::from_secs(11)
    };
    assert!(about(20).contains(&took), "{took:#}");

    pass(&aws, Duration::from_secs(30)).await;
    let id = ids(&aws, "web").pop().unwrap();
    aws.learn([&Node {
        provider_id: id.into(),
        conditions: vec![Condition {
            kind: "Ready".into(),
            status: ConditionStatus::True,
            reason: "KubeletReady".into(),
            last_transition: None,
        }],
        ..Node::default()
    }]);
    let steps = aws.take_happened().steps;
    let [(Step::InstanceToReady, took)] = steps[..] else {
        panic!("{steps:?}");
    };
    let whole = SignedDuration::from_secs(50);
    assert!(about(39).contains(&took) && took <= whole, "{took:#}");
}

#[tokio::test(start_paused = true)]
async fn a_discovery_flag_that_finds_nothing_is_named() {
    let cloud = Cloud::new().await;
    cloud
        .fake
        .create(FakeGroup::new("web").sizes(0, 5, 1).discovered_by(CLUSTER));
    let tags = [
        format!("k8s.io/cluster-autoscaler/{CLUSTER}"),
        "k8s.io/cluster-autoscaler/enabeld".to_owned(),
    ];
    let specs = tags.map(|tag| spec(&[tag]));
    let membership = Membership::new(&[], &specs, DiscoveryMode::Any);
    let aws = cloud.aws_with(membership, ActionSettings::default());
    let report = aws.refresh().await;
    assert!(report.listed);
    assert_eq!(report.fruitless, ["k8s.io/cluster-autoscaler/enabeld"]);
    assert_eq!(cloud.aws().refresh().await.fruitless, Vec::<String>::new());
}
