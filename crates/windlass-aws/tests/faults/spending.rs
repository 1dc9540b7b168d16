//! How many calls the provider makes. Acceptance d.

use std::collections::BTreeMap;
use std::time::Duration;

use windlass_faults::{FakeGroup, Supply};

use crate::cloud::{CLUSTER, Cloud, all_join, group, pass};

const GROUPS: u32 = 100;
const INSTANCES: u32 = 20;
const MOST_AT_REST: usize = 240;

fn name(number: u32) -> String {
    format!("group-{number:03}")
}

fn count(calls: Vec<String>) -> (usize, String) {
    let total = calls.len();
    let mut by_action: BTreeMap<String, usize> = BTreeMap::new();
    for action in calls {
        *by_action.entry(action).or_default() += 1;
    }
    let text: Vec<String> = by_action
        .iter()
        .map(|(action, count)| format!("{action} {count}"))
        .collect();
    (total, text.join(", "))
}

#[tokio::test(start_paused = true)]
async fn a_hundred_groups_cost_at_most_four_calls_a_minute_at_rest() {
    let cloud = Cloud::new().await;
    for number in 0..GROUPS {
        cloud.fake.create(
            FakeGroup::new(&name(number))
                .sizes(0, 100, INSTANCES)
                .discovered_by(CLUSTER),
        );
    }
    let aws = cloud.aws();
    aws.refresh().await;
    let seen: usize = aws
        .node_groups()
        .iter()
        .map(|group| group.instances.len())
        .sum();
    assert_eq!(seen, 2000);
    let (total, text) = count(cloud.called());
    println!("start, {GROUPS} groups, {seen} instances: {total} calls ({text})");

    all_join(&aws);
    pass(&aws, Duration::from_hours(1)).await;
    let (total, text) = count(cloud.called());
    println!("an hour at rest: {total} calls ({text})");
    assert!(total <= MOST_AT_REST, "{total}");

    // Somebody changes a size at the console, at the worst moment.
    aws.force_refresh();
    aws.refresh().await;
    cloud.fake.set_desired(&name(7), INSTANCES + 1);
    let changed = tokio::time::Instant::now();
    while group(&aws, &name(7)).target_size == i64::from(INSTANCES) {
        pass(&aws, Duration::from_secs(1)).await;
    }
    let noticed = changed.elapsed();
    println!("an outside change is seen after {} s", noticed.as_secs());
    assert!(noticed <= Duration::from_mins(1));

    cloud.called();
    let slow = Supply::default().launching_for(Duration::from_secs(90));
    for number in 20..40 {
        cloud.faults.supply(&name(number), slow.clone());
        aws.increase(&name(number), i64::from(INSTANCES) + 5)
            .await
            .unwrap();
    }
    pass(&aws, Duration::from_hours(1)).await;
    let (total, text) = count(cloud.called());
    println!("hour with a burst of 100 instances in 20 groups, 90 s each: {total} calls ({text})");
    for number in 20..40 {
        let now = group(&aws, &name(number));
        assert_eq!(now.instances.len(), 25);
    }
    // 600 a minute are what all callers together may make.
    assert!(total <= 1500, "{total}");
}
