//! Groups that AWS has no machines for, and the way round them.

use std::time::Duration;

use windlass_aws::activity::FailureCause;
use windlass_aws::{Cancellation, Increase};
use windlass_core::Action;
use windlass_faults::{FakeGroup, Supply};

use crate::cloud::{CLUSTER, Cloud, all_join, group, pass};
use crate::world::World;

const WORDS: &str = "We currently do not have sufficient m5.large capacity in the Availability Zone \
                     you requested (us-east-1a). Our system will be working on provisioning \
                     additional capacity.";

/// Groups `a` to `c`, each with two nodes of its own type, of which nothing more is to be had, and
/// `d` of larger machines, which `least-waste` takes last.
async fn four_groups() -> World {
    let cloud = Cloud::new().await;
    for (name, instance_type) in [
        ("a", "m5.large"),
        ("b", "m5a.large"),
        ("c", "m6i.large"),
        ("d", "m7i.xlarge"),
    ] {
        let size = if name == "d" { 0 } else { 2 };
        cloud.fake.create(
            FakeGroup::new(name)
                .sizes(0, 10, size)
                .of_type(instance_type)
                .discovered_by(CLUSTER),
        );
        let words = WORDS.replace("m5.large", instance_type);
        if name != "d" {
            let short = Supply::default().most(2).failing_with(&words);
            cloud.faults.supply(name, short);
        }
    }
    let aws = cloud.aws();
    let mut world = World::new(cloud, aws, &["--expander=least-waste"]);
    for name in ["a", "b", "c", "d"] {
        world
            .boots
            .insert(name.to_owned(), windlass_model::Duration::from_secs(20));
    }
    world
}

/// Acceptance b.
#[tokio::test(start_paused = true)]
async fn three_of_four_groups_without_capacity_cost_less_than_five_seconds() {
    let mut world = four_groups().await;
    while world.nodes() < 6 {
        world.step().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    world.want_pods(6);
    world.step().await;
    assert!(world.actions.is_empty(), "{:?}", world.actions);
    let before: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| world.cloud.fake.instances(name))
        .concat();
    world.want_pods(7);
    let begun = world.now();
    let mut explained = Vec::new();
    while world.cloud.faults.truth("d").await.unwrap().desired < 1 {
        world.step().await;
        explained.extend(world.skipped.clone());
        // The shell is woken by every change; here it looks ten times a second.
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(world.now().duration_since(begun).as_secs() < 60, "never");
    }
    let took = world.now().duration_since(begun);
    println!("from pending pod to the fourth group's desired capacity: {took:#}");
    assert!(took < windlass_model::Duration::from_secs(5), "{took:#}");
    let tried: Vec<&str> = world
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::IncreaseSize(resize) => Some(resize.group.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(tried.len(), 4, "{tried:?}");
    let failures: Vec<&str> = world
        .events
        .iter()
        .filter(|event| event.reason == "ScaleUpFailed")
        .map(|event| event.message.as_str())
        .collect();
    assert_eq!(failures.len(), 3);
    assert!(
        failures
            .iter()
            .all(|message| message.contains("We currently do not have sufficient")),
        "{failures:?}"
    );
    assert!(
        explained
            .iter()
            .any(|(_, reason)| reason.contains("backoff")),
        "{explained:?}"
    );
    // The requests that cannot be met are taken back, and nobody dies of it.
    for _ in 0..120 {
        world.step().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    for name in ["a", "b", "c"] {
        let truth = world.cloud.faults.truth(name).await.unwrap();
        assert_eq!((truth.desired, truth.instances.len()), (2, 2), "{name}");
    }
    assert_eq!(world.cloud.faults.victims(), []);
    let alive: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| world.cloud.fake.instances(name))
        .concat();
    assert!(before.iter().all(|instance| alive.contains(instance)));
    assert_eq!(world.nodes(), 7);
}

/// Point 4 of the issue: who draws on the same pool is not tried at all.
#[tokio::test(start_paused = true)]
async fn a_shortage_is_shared_by_all_groups_of_the_pool() {
    let cloud = Cloud::new().await;
    for (name, instance_type) in [("a", "m5.large"), ("b", "m5.large"), ("c", "m6i.large")] {
        let made = FakeGroup::new(name).sizes(0, 10, 0).of_type(instance_type);
        cloud.fake.create(made.discovered_by(CLUSTER));
    }
    cloud
        .faults
        .supply("a", Supply::default().most(0).failing_with(WORDS));
    let aws = cloud.aws();
    aws.refresh().await;
    aws.increase("a", 1).await.unwrap();
    pass(&aws, Duration::from_secs(2)).await;
    let short = group(&aws, "b").notices.shortage.unwrap();
    assert!(short.message.contains("do not have sufficient m5.large"));
    assert!(group(&aws, "c").notices.shortage.is_none());
    // An instance of that pool shows that it has some again.
    assert_eq!(
        aws.increase("b", 1).await.unwrap(),
        Increase::Requested { from: 0, to: 1 }
    );
    pass(&aws, Duration::from_secs(2)).await;
    assert!(group(&aws, "b").notices.shortage.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_failed_launch_is_known_within_one_refresh_and_polled_ever_less() {
    let cloud = Cloud::new().await;
    cloud
        .fake
        .create(FakeGroup::new("web").sizes(0, 10, 0).discovered_by(CLUSTER));
    cloud
        .faults
        .supply("web", Supply::default().most(0).failing_with(WORDS));
    let aws = cloud.aws();
    aws.refresh().await;
    aws.increase("web", 2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let report = aws.refresh().await;
    let [(name, failure)] = &report.failures[..] else {
        panic!("{report:?}");
    };
    assert_eq!(name, "web");
    assert_eq!(failure.cause, FailureCause::InsufficientCapacity);
    assert_eq!(failure.message, WORDS);
    cloud.called();
    pass(&aws, Duration::from_secs(14)).await;
    let polls = |called: Vec<String>| {
        called
            .iter()
            .filter(|action| *action == "DescribeScalingActivities")
            .count()
    };
    let close = polls(cloud.called());
    assert!((13..=15).contains(&close), "{close}");
    pass(&aws, Duration::from_mins(1)).await;
    let later = polls(cloud.called());
    assert!((5..=8).contains(&later), "{later}");
}

#[tokio::test(start_paused = true)]
async fn taking_requests_back_waits_for_quiet_without_a_call() {
    let cloud = Cloud::new().await;
    cloud
        .fake
        .create(FakeGroup::new("web").sizes(0, 10, 1).discovered_by(CLUSTER));
    cloud
        .faults
        .supply("web", Supply::default().most(1).failing_with(WORDS));
    let aws = cloud.aws();
    aws.refresh().await;
    all_join(&aws);
    aws.increase("web", 4).await.unwrap();
    cloud.called();
    let begun = tokio::time::Instant::now();
    assert_eq!(
        aws.cancel("web", 3).await.unwrap(),
        Cancellation::Lowered { from: 4, to: 1 }
    );
    assert!(begun.elapsed() <= Duration::from_secs(6));
    assert_eq!(
        cloud.called(),
        [
            "DescribeAutoScalingGroups",
            "SetDesiredCapacity",
            "DescribeAutoScalingGroups"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn taking_requests_back_waits_while_a_launch_is_under_way() {
    let cloud = Cloud::new().await;
    cloud
        .fake
        .create(FakeGroup::new("web").sizes(0, 10, 1).discovered_by(CLUSTER));
    let slow = Supply::default().launching_for(Duration::from_secs(100));
    cloud.faults.supply("web", slow);
    let aws = cloud.aws();
    aws.refresh().await;
    all_join(&aws);
    aws.increase("web", 2).await.unwrap();
    pass(&aws, Duration::from_secs(10)).await;
    assert!(matches!(
        aws.cancel("web", 1).await.unwrap(),
        Cancellation::Postponed(_)
    ));
    assert_eq!(cloud.faults.truth("web").await.unwrap().desired, 2);
}
