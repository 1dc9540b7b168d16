//! Two clusters in one account. Acceptance f.

use std::collections::BTreeSet;
use std::time::Duration;

use windlass_aws::{ActionSettings, Membership};
use windlass_config::DiscoveryMode;
use windlass_core::Action;
use windlass_faults::FakeGroup;

use crate::cloud::{Cloud, spec};
use crate::world::World;

const ENABLED: &str = "k8s.io/cluster-autoscaler/enabled";

async fn two_clusters() -> Cloud {
    let cloud = Cloud::new().await;
    let make = |name: &str, cluster: &str| {
        cloud
            .fake
            .create(FakeGroup::new(name).sizes(0, 6, 3).discovered_by(cluster));
    };
    make("ours", "prod");
    make("theirs", "test");
    make("theirs-too", "test");
    cloud
}

fn keys(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A simulated hour of the cluster `prod`; only the instances of `ours` become its nodes. Pods come
/// and go, so that it grows and shrinks.
async fn an_hour(membership: Membership) -> World {
    let cloud = two_clusters().await;
    let aws = cloud.aws_with(membership, ActionSettings::default());
    let flags = [
        "--scale-down-unneeded-time=1m",
        "--scale-down-delay-after-add=1m",
        "--max-node-provision-time=5m",
        "--expander=least-waste",
    ];
    let mut world = World::new(cloud, aws, &flags);
    world
        .boots
        .insert("ours".to_owned(), windlass_model::Duration::from_secs(20));
    world.want_pods(2);
    for minute in 0..60 {
        if minute % 10 == 3 {
            world.want_pods(5);
        }
        if minute % 10 == 6 {
            world.want_pods(1);
        }
        for _ in 0..6 {
            world.step().await;
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
    }
    world.finish_actions().await;
    world
}

fn groups_acted_on(world: &World) -> BTreeSet<&str> {
    world
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::IncreaseSize(resize) => Some(resize.group.as_str()),
            Action::DecreaseTargetSize { group, .. }
            | Action::DeleteInstances { group, .. }
            | Action::TerminateInstance { group, .. } => Some(group.as_str()),
            _ => None,
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn with_both_tags_in_one_flag_or_in_two_nothing_of_the_other_is_touched() {
    let own = "k8s.io/cluster-autoscaler/prod";
    let one_flag = vec![spec(&keys(&[ENABLED, own]))];
    let two_flags = vec![spec(&keys(&[ENABLED])), spec(&keys(&[own]))];
    for flags in [one_flag, two_flags] {
        let world = an_hour(Membership::new(&[], &flags, DiscoveryMode::All)).await;
        let adopted: Vec<String> = world
            .aws
            .node_groups()
            .iter()
            .map(|group| group.name.to_string())
            .collect();
        assert_eq!(adopted, ["ours"]);
        // It did work meanwhile.
        assert_eq!(groups_acted_on(&world), BTreeSet::from(["ours"]));
        let touched: BTreeSet<String> = world
            .cloud
            .faults
            .log()
            .into_iter()
            .filter(|entry| entry.action == "SetDesiredCapacity")
            .filter_map(|entry| entry.about)
            .collect();
        assert!(touched.iter().all(|name| name == "ours"), "{touched:?}");
        for name in ["theirs", "theirs-too"] {
            assert_eq!(world.cloud.fake.instances(name).len(), 3);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_mode_any_with_a_shared_tag_nothing_of_the_other_is_shrunk_and_it_is_told() {
    let flags = [spec(&keys(&[ENABLED]))];
    let world = an_hour(Membership::new(&[], &flags, DiscoveryMode::Any)).await;
    assert_eq!(world.aws.node_groups().len(), 3);
    let before = [("theirs", 3), ("theirs-too", 3)];
    for (name, size) in before {
        let truth = world.cloud.faults.truth(name).await.unwrap();
        assert!(
            size <= truth.desired,
            "{name} was shrunk to {}",
            truth.desired
        );
        assert!(size <= u32::try_from(truth.instances.len()).unwrap());
        assert!(
            world
                .aws
                .conditions()
                .iter()
                .any(|(group, told)| group == name && told.contains("another cluster's group")),
            "{:?}",
            world.aws.conditions()
        );
    }
    assert_eq!(world.cloud.faults.victims(), []);
    let theirs: BTreeSet<String> = before
        .iter()
        .flat_map(|(name, _)| world.cloud.fake.instances(name))
        .map(|(id, _)| id)
        .collect();
    assert!(world.named.is_disjoint(&theirs));
    let ended: Vec<_> = world
        .cloud
        .faults
        .log()
        .into_iter()
        .filter(|entry| entry.action == "TerminateInstanceInAutoScalingGroup")
        .filter_map(|entry| entry.about)
        .filter(|id| theirs.contains(id))
        .collect();
    assert_eq!(ended, Vec::<String>::new());
}
