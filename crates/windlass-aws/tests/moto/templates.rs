use windlass_aws::{ActionSettings, Aws, Membership, TemplateSettings};
use windlass_config::{DiscoveryMode, NodeGroupSpec};
use windlass_model::{Effect, MicroDollars, Node, NodeGroup, ResourceList};

use crate::server::{Account, text};

const TEMPLATE: &str = "k8s.io/cluster-autoscaler/node-template";

async fn group(account: &Account, name: &str) -> NodeGroup {
    groups(account, &[name]).await.remove(0)
}

async fn groups(account: &Account, names: &[&str]) -> Vec<NodeGroup> {
    refreshed(account, names).await.node_groups()
}

async fn refreshed(account: &Account, names: &[&str]) -> Aws {
    let specs: Vec<NodeGroupSpec> = names
        .iter()
        .map(|name| NodeGroupSpec {
            min_size: 0,
            max_size: 9,
            name: (*name).to_owned(),
        })
        .collect();
    let aws = Aws::with_client(
        account.client.clone(),
        Membership::new(&specs, &[], DiscoveryMode::All),
        TemplateSettings::default(),
        ActionSettings::default(),
    );
    assert!(aws.refresh().await.listed);
    aws
}

fn node(group: &NodeGroup) -> &Node {
    &group.template.as_ref().expect("a template").node
}

fn amount(list: &ResourceList, name: &str) -> Option<i64> {
    list.get(name).map(windlass_model::Quantity::units_ceil)
}

#[tokio::test]
async fn a_group_at_zero_is_known_by_its_launch_template_and_tags() {
    let account = Account::new().await;
    account
        .group(
            "gpu",
            (0, 5, 0),
            &[
                (&format!("{TEMPLATE}/label/team"), "ml"),
                (&format!("{TEMPLATE}/taint/gpu"), "true:NoSchedule"),
                (&format!("{TEMPLATE}/resources/ephemeral-storage"), "100Gi"),
            ],
        )
        .await;
    account
        .ec2(
            "CreateLaunchTemplateVersion",
            &[
                ("LaunchTemplateName", "gpu"),
                ("LaunchTemplateData.InstanceType", "g4dn.xlarge"),
                ("LaunchTemplateData.ImageId", crate::server::IMAGE),
                // --node-labels=disk=ssd
                (
                    "LaunchTemplateData.UserData",
                    "LS1ub2RlLWxhYmVscz1kaXNrPXNzZA==",
                ),
            ],
        )
        .await;
    account
        .autoscaling(
            "UpdateAutoScalingGroup",
            &[
                ("AutoScalingGroupName", "gpu"),
                ("LaunchTemplate.LaunchTemplateName", "gpu"),
                ("LaunchTemplate.Version", "$Latest"),
            ],
        )
        .await;
    let gpu = group(&account, "gpu").await;
    let node = node(&gpu);
    assert_eq!(amount(&node.capacity, "cpu"), Some(4));
    assert_eq!(amount(&node.allocatable, "nvidia.com/gpu"), Some(1));
    assert_eq!(
        amount(&node.allocatable, "ephemeral-storage"),
        Some(100 << 30)
    );
    assert_eq!(node.labels.get("team").unwrap(), "ml");
    assert_eq!(node.labels.get("disk").unwrap(), "ssd");
    assert_eq!(
        node.labels.get("topology.kubernetes.io/zone").unwrap(),
        "us-east-1a"
    );
    assert_eq!(node.taints.len(), 1);
    assert_eq!(node.taints[0].effect, Effect::NoSchedule);
    assert_eq!(gpu.price_per_hour, Some(MicroDollars(526_000)));
}

/// Point 11 of the acceptance checklist.
#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "six groups side by side are the point"
)]
async fn checklist_11_every_way_to_launch_and_a_broken_one() {
    let account = Account::new().await;
    account
        .autoscaling(
            "CreateLaunchConfiguration",
            &[
                ("LaunchConfigurationName", "old"),
                ("InstanceType", "c5.large"),
                ("ImageId", crate::server::IMAGE),
            ],
        )
        .await;
    let create = |name: &'static str, more: Vec<(&'static str, &'static str)>| {
        let account = &account;
        async move {
            let mut parameters = vec![
                ("AutoScalingGroupName", name),
                ("MinSize", "0"),
                ("MaxSize", "5"),
                ("AvailabilityZones.member.1", "us-east-1b"),
            ];
            parameters.extend(more);
            account
                .autoscaling("CreateAutoScalingGroup", &parameters)
                .await;
        }
    };
    account.launch_template("shared", "r5.large").await;
    account.launch_template("doomed", "m5.large").await;
    create("a-configuration", vec![("LaunchConfigurationName", "old")]).await;
    create(
        "b-default",
        vec![("LaunchTemplate.LaunchTemplateName", "shared")],
    )
    .await;
    create(
        "c-numbered",
        vec![
            ("LaunchTemplate.LaunchTemplateName", "shared"),
            ("LaunchTemplate.Version", "1"),
        ],
    )
    .await;
    create(
        "d-mixed",
        vec![
            (
                "MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification.LaunchTemplateName",
                "shared",
            ),
            ("MixedInstancesPolicy.LaunchTemplate.Overrides.member.1.InstanceType", "m5.xlarge"),
            ("MixedInstancesPolicy.LaunchTemplate.Overrides.member.2.InstanceType", "c5.2xlarge"),
        ],
    )
    .await;
    create(
        "e-mixed-without-overrides",
        vec![(
            "MixedInstancesPolicy.LaunchTemplate.LaunchTemplateSpecification.LaunchTemplateName",
            "shared",
        )],
    )
    .await;
    create(
        "f-doomed",
        vec![("LaunchTemplate.LaunchTemplateName", "doomed")],
    )
    .await;
    account
        .ec2("DeleteLaunchTemplate", &[("LaunchTemplateName", "doomed")])
        .await;
    let aws = refreshed(
        &account,
        &[
            "a-configuration",
            "b-default",
            "c-numbered",
            "d-mixed",
            "e-mixed-without-overrides",
            "f-doomed",
        ],
    )
    .await;
    let shapes: Vec<Option<String>> = aws
        .node_groups()
        .iter()
        .map(|group| {
            let node = &group.template.as_ref()?.node;
            Some(format!(
                "{} {}",
                node.labels.get("node.kubernetes.io/instance-type")?,
                amount(&node.capacity, "cpu")?
            ))
        })
        .collect();
    assert_eq!(
        shapes.iter().map(Option::as_deref).collect::<Vec<_>>(),
        [
            Some("c5.large 2"),
            Some("r5.large 2"),
            Some("r5.large 2"),
            Some("m5.xlarge 4"),
            Some("r5.large 2"),
            None
        ]
    );
    let troubled: Vec<String> = aws
        .conditions()
        .into_iter()
        .filter(|(_, condition)| condition.contains("shape is not known"))
        .map(|(name, _)| name)
        .collect();
    assert_eq!(troubled, ["f-doomed"]);
}

/// Point 13 of the acceptance checklist.
#[tokio::test]
async fn checklist_13_an_unknown_type_harms_no_other_group() {
    let account = Account::new().await;
    account.group("known", (0, 5, 0), &[]).await;
    account.launch_template("strange", "x99.huge").await;
    account
        .autoscaling(
            "CreateAutoScalingGroup",
            &[
                ("AutoScalingGroupName", "strange"),
                ("MinSize", "0"),
                ("MaxSize", "5"),
                ("AvailabilityZones.member.1", "us-east-1b"),
                ("LaunchTemplate.LaunchTemplateName", "strange"),
            ],
        )
        .await;
    let aws = refreshed(&account, &["known", "strange"]).await;
    let seen = aws.node_groups();
    assert!(seen[0].template.is_some());
    assert!(seen[1].template.is_none());
    assert!(aws.conditions().iter().any(|(name, condition)| {
        name == "strange" && condition.contains("unknown EC2 instance type x99.huge")
    }));
}

#[tokio::test]
async fn a_new_default_version_changes_the_template_of_a_fresh_start() {
    let account = Account::new().await;
    account.group("workers", (0, 5, 0), &[]).await;
    assert_eq!(
        amount(&node(&group(&account, "workers").await).capacity, "cpu"),
        Some(2)
    );
    let xml = account
        .ec2(
            "CreateLaunchTemplateVersion",
            &[
                ("LaunchTemplateName", "workers"),
                ("LaunchTemplateData.InstanceType", "m5.4xlarge"),
            ],
        )
        .await;
    account
        .ec2(
            "ModifyLaunchTemplate",
            &[
                ("LaunchTemplateName", "workers"),
                ("SetDefaultVersion", text(&xml, "versionNumber")),
            ],
        )
        .await;
    assert_eq!(
        amount(&node(&group(&account, "workers").await).capacity, "cpu"),
        Some(16)
    );
}

/// A node tells what the next one offers, as long as that is launched from the same image.
#[tokio::test]
async fn what_nodes_have_shown_is_of_their_type_and_image() {
    let account = Account::new().await;
    account.group("workers", (0, 5, 1), &[]).await;
    let aws = refreshed(&account, &["workers"]).await;
    let workers = aws.node_groups().remove(0);
    let computed = node(&workers).clone();
    let mut shown = computed.clone();
    shown.provider_id = workers.instances[0].provider_id.clone();
    shown
        .allocatable
        .insert("memory", "6Gi".parse().expect("an amount"));
    let allocatable = |aws: &Aws| {
        let workers = aws.node_groups().remove(0);
        amount(&node(&workers).allocatable, "memory").expect("memory")
    };
    let learn = async |aws: &Aws| {
        aws.learn([&shown]);
        aws.force_refresh();
        assert!(aws.refresh().await.listed);
    };
    learn(&aws).await;
    assert_eq!(allocatable(&aws), 6 << 30);

    let xml = account
        .ec2(
            "CreateLaunchTemplateVersion",
            &[
                ("LaunchTemplateName", "workers"),
                ("LaunchTemplateData.InstanceType", "m5.large"),
                ("LaunchTemplateData.ImageId", "ami-0abcdef1234567890"),
            ],
        )
        .await;
    // moto gives the template's default version as that of every instance, so that stays.
    account
        .autoscaling(
            "UpdateAutoScalingGroup",
            &[
                ("AutoScalingGroupName", "workers"),
                ("LaunchTemplate.LaunchTemplateName", "workers"),
                ("LaunchTemplate.Version", text(&xml, "versionNumber")),
            ],
        )
        .await;
    let aws = refreshed(&account, &["workers"]).await;
    learn(&aws).await;
    assert_ne!(allocatable(&aws), 6 << 30);
}
