use std::sync::{Arc, Mutex};

use windlass_aws::{
    ActionError, ActionSettings, Aws, Cancellation, Floor, Increase, Membership, Presence,
    TemplateSettings, Termination,
};
use windlass_aws_client::{Attempt, Observer, Operation, Service};
use windlass_config::{DiscoveryMode, DiscoverySpec, NodeGroupSpec, TagFilter};
use windlass_model::{InstanceState, Node, NodeGroup};

use crate::server::Account;

const ENABLED: &str = "k8s.io/cluster-autoscaler/enabled";

fn discovery(keys: &[&str]) -> DiscoverySpec {
    DiscoverySpec {
        tags: keys
            .iter()
            .map(|key| TagFilter {
                key: (*key).to_owned(),
                value: None,
            })
            .collect(),
    }
}

fn by_tag() -> Membership {
    Membership::new(&[], &[discovery(&[ENABLED])], DiscoveryMode::All)
}

fn named(min_size: i64, max_size: i64, name: &str) -> NodeGroupSpec {
    NodeGroupSpec {
        min_size,
        max_size,
        name: name.to_owned(),
    }
}

async fn refreshed(account: &Account, membership: Membership) -> Aws {
    let aws = Aws::with_client(
        account.client.clone(),
        membership,
        TemplateSettings::default(),
        ActionSettings::default(),
    );
    // As the shell does, which needs the future to be `Send`.
    let refreshing = tokio::spawn({
        let aws = aws.clone();
        async move { aws.refresh().await }
    });
    let report = refreshing.await.expect("no panic");
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert!(report.listed);
    all_join(&aws);
    aws
}

/// Has all instances be nodes of the cluster: of a group without, nothing is ended.
fn all_join(aws: &Aws) {
    let nodes: Vec<Node> = aws
        .node_groups()
        .iter()
        .flat_map(|group| &group.instances)
        .map(|instance| Node {
            provider_id: instance.provider_id.clone(),
            ..Node::default()
        })
        .collect();
    aws.learn(&nodes);
}

fn group(aws: &Aws, name: &str) -> NodeGroup {
    aws.node_groups()
        .into_iter()
        .find(|group| group.name == name)
        .unwrap_or_else(|| panic!("no group {name}"))
}

fn ids(group: &NodeGroup) -> Vec<String> {
    group
        .instances
        .iter()
        .map(|instance| instance.provider_id.to_string())
        .collect()
}

#[tokio::test]
async fn groups_are_found_by_all_tags_of_all_flags() {
    let account = Account::new().await;
    account
        .group(
            "both",
            (0, 5, 1),
            &[
                (ENABLED, "true"),
                ("k8s.io/cluster-autoscaler/prod", "owned"),
            ],
        )
        .await;
    account
        .group(
            "other",
            (0, 5, 1),
            &[
                (ENABLED, "true"),
                ("k8s.io/cluster-autoscaler/test", "owned"),
            ],
        )
        .await;
    account.group("none", (0, 5, 1), &[]).await;
    let flags = [
        discovery(&[ENABLED]),
        discovery(&["k8s.io/cluster-autoscaler/prod"]),
    ];
    let names = |aws: &Aws| -> Vec<String> {
        aws.node_groups()
            .iter()
            .map(|group| group.name.to_string())
            .collect()
    };
    let all = refreshed(&account, Membership::new(&[], &flags, DiscoveryMode::All)).await;
    assert_eq!(names(&all), ["both"]);
    let any = refreshed(&account, Membership::new(&[], &flags, DiscoveryMode::Any)).await;
    assert_eq!(names(&any), ["both", "other"]);
}

#[tokio::test]
async fn a_group_is_seen_with_its_size_limits_and_instances() {
    let account = Account::new().await;
    account
        .group("workers", (1, 5, 2), &[(ENABLED, "true")])
        .await;
    let aws = refreshed(&account, by_tag()).await;
    let workers = group(&aws, "workers");
    assert_eq!(
        (workers.min_size, workers.max_size, workers.target_size),
        (1, 5, 2)
    );
    assert_eq!(workers.instances.len(), 2);
    assert!(
        workers
            .instances
            .iter()
            .all(|instance| instance.state == InstanceState::Running)
    );
    let id = ids(&workers).remove(0);
    assert!(id.starts_with("aws:///us-east-1a/i-"), "{id}");
    assert_eq!(
        aws.presence(&id),
        Presence::Present {
            group: "workers".to_owned()
        }
    );
}

/// Point 3 of the acceptance checklist.
#[tokio::test]
async fn checklist_03_many_names_go_in_batches_and_all_pages_are_read() {
    let account = Account::new().await;
    let calls = Arc::new(Calls::default());
    let client = account
        .client_with(|options| options.observer = Some(calls.clone()))
        .await;
    let specs: Vec<NodeGroupSpec> = (0..150)
        .map(|n| named(0, 1, &format!("group-{n:03}")))
        .collect();
    for n in 0..103 {
        account
            .group(&format!("group-{n:03}"), (0, 1, 0), &[(ENABLED, "true")])
            .await;
    }
    let by_name = Aws::with_client(
        client.clone(),
        Membership::new(&specs, &[], DiscoveryMode::All),
        TemplateSettings::default(),
        ActionSettings::default(),
    );
    assert!(by_name.refresh().await.listed);
    assert_eq!(calls.take(), ["DescribeAutoScalingGroups"; 2]);
    assert_eq!(by_name.node_groups().len(), 150);
    let by_tag = Aws::with_client(
        client,
        by_tag(),
        TemplateSettings::default(),
        ActionSettings::default(),
    );
    assert!(by_tag.refresh().await.listed);
    assert_eq!(calls.take(), ["DescribeAutoScalingGroups"; 2]);
    assert_eq!(by_tag.node_groups().len(), 103);
}

/// Point 4 of the acceptance checklist.
#[tokio::test]
async fn checklist_04_at_rest_one_listing_and_one_more_after_a_delete() {
    let account = Account::new().await;
    account
        .group("workers", (0, 5, 2), &[(ENABLED, "true")])
        .await;
    let calls = Arc::new(Calls::default());
    let client = account
        .client_with(|options| options.observer = Some(calls.clone()))
        .await;
    let aws = Aws::with_client(
        client,
        by_tag(),
        TemplateSettings::default(),
        ActionSettings::default(),
    );
    assert!(aws.refresh().await.listed);
    assert!(!aws.refresh().await.listed);
    assert_eq!(calls.take(), ["DescribeAutoScalingGroups"]);
    all_join(&aws);
    let victim = ids(&group(&aws, "workers")).remove(0);
    aws.terminate("workers", &victim, Floor::GroupMinimum)
        .await
        .unwrap();
    assert_eq!(calls.take(), ["TerminateInstanceInAutoScalingGroup"]);
    assert!(aws.refresh().await.listed);
    assert_eq!(calls.take(), ["DescribeAutoScalingGroups"]);
}

/// Point 6 of the acceptance checklist.
#[tokio::test]
async fn checklist_06_an_increase_is_one_write_and_undoes_nobody_s() {
    let account = Account::new().await;
    account
        .group("workers", (0, 5, 1), &[(ENABLED, "true")])
        .await;
    let aws = refreshed(&account, by_tag()).await;
    assert_eq!(
        aws.increase("workers", 3).await.unwrap(),
        Increase::Requested { from: 1, to: 3 }
    );
    // Without another look.
    assert_eq!(group(&aws, "workers").target_size, 3);
    assert!(matches!(
        aws.increase("workers", 6).await,
        Err(ActionError::OverMax { to: 6, max: 5, .. })
    ));
    // Somebody else raises it meanwhile.
    account
        .autoscaling(
            "SetDesiredCapacity",
            &[
                ("AutoScalingGroupName", "workers"),
                ("DesiredCapacity", "5"),
            ],
        )
        .await;
    assert_eq!(
        aws.increase("workers", 4).await.unwrap(),
        Increase::AlreadyThere { desired: 5 }
    );
    let workers = group(&refreshed(&account, by_tag()).await, "workers");
    assert_eq!(workers.target_size, 5);
}

#[tokio::test]
async fn a_named_instance_is_terminated_and_no_other() {
    let account = Account::new().await;
    account
        .group("workers", (1, 5, 3), &[(ENABLED, "true")])
        .await;
    let aws = refreshed(&account, by_tag()).await;
    let before = ids(&group(&aws, "workers"));
    assert_eq!(
        aws.terminate("workers", &before[1], Floor::GroupMinimum)
            .await
            .unwrap(),
        Termination::Requested
    );
    assert_eq!(group(&aws, "workers").target_size, 2);
    // Once more is no second termination.
    assert_eq!(
        aws.terminate("workers", &before[1], Floor::GroupMinimum)
            .await
            .unwrap(),
        Termination::AlreadyGoing
    );
    assert!(aws.refresh().await.listed);
    let after = group(&aws, "workers");
    assert_eq!(after.target_size, 2);
    assert_eq!(ids(&after), [before[0].clone(), before[2].clone()]);
    assert_eq!(aws.presence(&before[1]), Presence::Gone);
    assert_eq!(
        aws.terminate("workers", &before[1], Floor::GroupMinimum)
            .await
            .unwrap(),
        Termination::AlreadyGone
    );
}

/// Point 10 of the acceptance checklist.
#[tokio::test]
async fn checklist_10_deletes_keep_to_the_group_and_its_minimum() {
    let account = Account::new().await;
    account.group("one", (2, 5, 3), &[(ENABLED, "true")]).await;
    account.group("two", (0, 5, 1), &[(ENABLED, "true")]).await;
    let aws = refreshed(&account, by_tag()).await;
    let foreign = ids(&group(&aws, "two")).remove(0);
    assert!(matches!(
        aws.terminate("one", &foreign, Floor::GroupMinimum).await,
        Err(ActionError::OtherGroup { .. })
    ));
    // Three asked for, one above the minimum: one goes.
    let (deletions, cancelled) = aws
        .delete_instances("one", &ids(&group(&aws, "one")), Floor::GroupMinimum)
        .await;
    let outcomes: Vec<&str> = deletions
        .iter()
        .map(|deletion| match &deletion.result {
            Ok(Termination::Requested) => "requested",
            Err(ActionError::AtMin { .. }) => "at min",
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(outcomes, ["requested", "at min", "at min"]);
    assert!(cancelled.is_none());
    let fresh = refreshed(&account, by_tag()).await;
    assert_eq!(group(&fresh, "one").target_size, 2);
    assert_eq!(group(&fresh, "two").target_size, 1);
}

#[tokio::test]
async fn an_instance_that_aws_no_longer_has_is_gone_and_not_an_error() {
    let account = Account::new().await;
    account
        .group("workers", (0, 5, 2), &[(ENABLED, "true")])
        .await;
    let aws = refreshed(&account, by_tag()).await;
    let victim = ids(&group(&aws, "workers")).remove(0);
    let instance = victim.rsplit('/').next().unwrap();
    account
        .autoscaling(
            "TerminateInstanceInAutoScalingGroup",
            &[
                ("InstanceId", instance),
                ("ShouldDecrementDesiredCapacity", "true"),
            ],
        )
        .await;
    // moto answers with an internal error, which may mean anything: the group is looked at.
    assert_eq!(
        aws.terminate("workers", &victim, Floor::GroupMinimum)
            .await
            .unwrap(),
        Termination::AlreadyGone
    );
    let workers = group(&refreshed(&account, by_tag()).await, "workers");
    assert_eq!(workers.target_size, 1);
}

#[tokio::test]
async fn a_named_group_that_does_not_exist_harms_no_other() {
    let account = Account::new().await;
    account.group("there", (0, 5, 1), &[]).await;
    let membership = Membership::new(
        &[named(1, 4, "there"), named(1, 4, "missing")],
        &[],
        DiscoveryMode::All,
    );
    let aws = refreshed(&account, membership).await;
    let there = group(&aws, "there");
    assert_eq!(
        (there.min_size, there.max_size, there.target_size),
        (1, 4, 1)
    );
    let missing = group(&aws, "missing");
    assert_eq!((missing.max_size, missing.target_size), (0, 0));
    assert!(matches!(
        aws.increase("missing", 1).await,
        Err(ActionError::UnknownGroup { .. })
    ));
    assert!(
        aws.conditions()
            .iter()
            .any(|(name, condition)| { name == "missing" && condition.contains("does not exist") })
    );
}

#[tokio::test]
async fn nothing_is_cancelled_where_nothing_is_outstanding() {
    let account = Account::new().await;
    account
        .group("workers", (0, 5, 3), &[(ENABLED, "true")])
        .await;
    let aws = refreshed(&account, by_tag()).await;
    assert_eq!(
        aws.cancel("workers", 2).await.unwrap(),
        Cancellation::Nothing { desired: 3 }
    );
    let workers = group(&refreshed(&account, by_tag()).await, "workers");
    assert_eq!(workers.instances.len(), 3);
}

#[tokio::test]
async fn suspended_launching_is_seen_and_said() {
    let account = Account::new().await;
    account
        .group("workers", (0, 5, 1), &[(ENABLED, "true")])
        .await;
    account
        .autoscaling(
            "SuspendProcesses",
            &[
                ("AutoScalingGroupName", "workers"),
                ("ScalingProcesses.member.1", "Launch"),
            ],
        )
        .await;
    let aws = refreshed(&account, by_tag()).await;
    assert_eq!(group(&aws, "workers").max_size, 1);
    assert!(matches!(
        aws.increase("workers", 2).await,
        Err(ActionError::Held { .. })
    ));
}

/// Records the actions of Auto Scaling called.
#[derive(Default)]
struct Calls(Mutex<Vec<&'static str>>);

impl Calls {
    fn take(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.0.lock().expect("no observer panics"))
    }
}

impl Observer for Calls {
    fn operation(&self, _: &Operation<'_>) {}

    fn attempt(&self, attempt: &Attempt<'_>) {
        if attempt.service == Service::AutoScaling {
            self.0
                .lock()
                .expect("no observer panics")
                .push(attempt.action);
        }
    }
}
