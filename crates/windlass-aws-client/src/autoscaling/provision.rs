//! Making, changing and deleting groups.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{AutoScaling, Envelope, Tag, VERSION, read};
use crate::endpoint::Service;
use crate::error::{CallError, ErrorClass};
use crate::query::{Done, Query, members};
use crate::retry::Repeat;

/// What a group is to be, beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupSpecification {
    /// Least instances.
    pub min_size: Option<u32>,
    /// Most instances.
    pub max_size: Option<u32>,
    /// Instances now; for creation alone.
    pub desired_capacity: Option<u32>,
    /// Subnets.
    pub subnets: Vec<String>,
    /// Name and version of the launch template.
    pub launch_template: Option<(String, String)>,
    /// Name of the launch configuration, instead of a template.
    pub launch_configuration: Option<String>,
    /// Several types, instead of the template's one.
    pub mixed_instances: Option<MixedInstances>,
    /// How long a new instance may be unhealthy, in seconds.
    pub health_check_grace_seconds: Option<u32>,
}

/// Several instance types, and how they are bought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MixedInstances {
    /// The types, the preferred first.
    pub types: Vec<String>,
    /// Instances that are on demand in any case.
    pub on_demand_base: u32,
    /// Share of on-demand instances above that, in percent.
    pub on_demand_percentage: u32,
    /// How spot pools are chosen.
    pub spot_allocation_strategy: String,
}

/// A hook of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LifecycleHook {
    /// Its name.
    #[serde(rename = "LifecycleHookName")]
    pub name: String,
    /// `autoscaling:EC2_INSTANCE_LAUNCHING` or `…_TERMINATING`.
    #[serde(rename = "LifecycleTransition")]
    pub transition: String,
    /// How long it waits, in seconds.
    #[serde(rename = "HeartbeatTimeout")]
    pub timeout_seconds: u32,
    /// What it does then: `ABANDON` or `CONTINUE`.
    pub default_result: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HooksPage {
    #[serde(default, deserialize_with = "members")]
    lifecycle_hooks: Vec<LifecycleHook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PoliciesPage {
    #[serde(default, deserialize_with = "members")]
    scaling_policies: Vec<ScalingPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ScalingPolicy {
    policy_name: String,
}

impl GroupSpecification {
    fn fill(&self, mut query: Query) -> Query {
        let Self {
            min_size,
            max_size,
            desired_capacity,
            subnets,
            launch_template,
            launch_configuration,
            mixed_instances,
            health_check_grace_seconds,
        } = self;
        query = query
            .with_some("MinSize", *min_size)
            .with_some("MaxSize", *max_size)
            .with_some("DesiredCapacity", *desired_capacity)
            .with_some("HealthCheckGracePeriod", *health_check_grace_seconds)
            .with_some("LaunchConfigurationName", launch_configuration.as_ref());
        if !subnets.is_empty() {
            query = query.with("VPCZoneIdentifier", subnets.join(","));
        }
        match launch_template {
            Some(template) => with_template(query, "", template, mixed_instances.as_ref()),
            None => query,
        }
    }
}

/// A launch template in a version, alone or with several types, each parameter's name behind `prefix`.
pub(super) fn with_template(
    mut query: Query,
    prefix: &str,
    (name, version): &(String, String),
    mixed: Option<&MixedInstances>,
) -> Query {
    let Some(mixed) = mixed else {
        return query
            .with(format!("{prefix}LaunchTemplate.LaunchTemplateName"), name)
            .with(format!("{prefix}LaunchTemplate.Version"), version);
    };
    let policy = format!("{prefix}MixedInstancesPolicy");
    let template = format!("{policy}.LaunchTemplate");
    let specification = format!("{template}.LaunchTemplateSpecification");
    query = query
        .with(format!("{specification}.LaunchTemplateName"), name)
        .with(format!("{specification}.Version"), version);
    for (number, instance_type) in (1..).zip(&mixed.types) {
        let name = format!("{template}.Overrides.member.{number}.InstanceType");
        query = query.with(name, instance_type);
    }
    let distribution = format!("{policy}.InstancesDistribution");
    query
        .with(
            format!("{distribution}.OnDemandBaseCapacity"),
            mixed.on_demand_base,
        )
        .with(
            format!("{distribution}.OnDemandPercentageAboveBaseCapacity"),
            mixed.on_demand_percentage,
        )
        .with(
            format!("{distribution}.SpotAllocationStrategy"),
            &mixed.spot_allocation_strategy,
        )
}

impl AutoScaling<'_> {
    /// Creates a group with its tags.
    ///
    /// IAM: `autoscaling:CreateAutoScalingGroup`, `autoscaling:CreateOrUpdateTags`, and, by the
    /// template, `ec2:RunInstances`, `ec2:CreateTags`, `iam:PassRole` on the instance profile's role.
    pub async fn create_group(
        &self,
        name: &str,
        group: &GroupSpecification,
        tags: &[Tag],
    ) -> Result<(), CallError> {
        let mut query = group
            .fill(write("CreateAutoScalingGroup", name, Repeat::OnlyIfRefused))
            .with("AutoScalingGroupName", name);
        for (number, tag) in (1..).zip(tags) {
            query = with_tag(query, number, name, tag);
        }
        self.done("CreateAutoScalingGroup", query).await
    }

    /// Changes what the specification names, and nothing else.
    ///
    /// IAM: `autoscaling:UpdateAutoScalingGroup`, and `iam:PassRole` for another template.
    pub async fn update_group(
        &self,
        name: &str,
        group: &GroupSpecification,
    ) -> Result<(), CallError> {
        let query = group
            .fill(write("UpdateAutoScalingGroup", name, Repeat::Safe))
            .with("AutoScalingGroupName", name);
        self.done("UpdateAutoScalingGroup", query).await
    }

    /// Deletes a group with its instances; says whether there was one.
    ///
    /// IAM: `autoscaling:DeleteAutoScalingGroup`.
    pub async fn delete_group(&self, name: &str) -> Result<bool, CallError> {
        let query = write("DeleteAutoScalingGroup", name, Repeat::OnlyIfRefused)
            .with("AutoScalingGroupName", name)
            .with("ForceDelete", true);
        match self.done("DeleteAutoScalingGroup", query).await {
            Ok(()) => Ok(true),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets tags of a group.
    ///
    /// IAM: `autoscaling:CreateOrUpdateTags`.
    pub async fn put_tags(&self, group: &str, tags: &[Tag]) -> Result<(), CallError> {
        let mut query = write("CreateOrUpdateTags", group, Repeat::Safe);
        for (number, tag) in (1..).zip(tags) {
            query = with_tag(query, number, group, tag);
        }
        self.done("CreateOrUpdateTags", query).await
    }

    /// Removes tags of a group by their keys.
    ///
    /// IAM: `autoscaling:DeleteTags`.
    pub async fn delete_tags(&self, group: &str, keys: &[String]) -> Result<(), CallError> {
        let mut query = write("DeleteTags", group, Repeat::Safe);
        for (number, key) in (1..).zip(keys) {
            let prefix = format!("Tags.member.{number}");
            query = query
                .with(format!("{prefix}.ResourceId"), group)
                .with(format!("{prefix}.ResourceType"), "auto-scaling-group")
                .with(format!("{prefix}.Key"), key);
        }
        self.done("DeleteTags", query).await
    }

    /// Suspends processes of a group.
    ///
    /// IAM: `autoscaling:SuspendProcesses`.
    pub async fn suspend_processes(
        &self,
        group: &str,
        processes: &[String],
    ) -> Result<(), CallError> {
        let query = write("SuspendProcesses", group, Repeat::Safe)
            .with("AutoScalingGroupName", group)
            .with_list("ScalingProcesses.member", processes);
        self.done("SuspendProcesses", query).await
    }

    /// The hooks of a group.
    ///
    /// IAM: `autoscaling:DescribeLifecycleHooks`.
    pub async fn lifecycle_hooks(&self, group: &str) -> Result<Vec<LifecycleHook>, CallError> {
        self.client
            .observed("DescribeLifecycleHooks", async {
                let page: Envelope<HooksPage> = read("DescribeLifecycleHooks")
                    .about(group)
                    .with("AutoScalingGroupName", group)
                    .send(self.client)
                    .await?;
                Ok(page.result.lifecycle_hooks)
            })
            .await
    }

    /// Names of a group's scaling policies.
    ///
    /// IAM: `autoscaling:DescribePolicies`.
    pub async fn scaling_policies(&self, group: &str) -> Result<Vec<String>, CallError> {
        self.client
            .observed("DescribePolicies", async {
                let page: Envelope<PoliciesPage> = read("DescribePolicies")
                    .about(group)
                    .with("AutoScalingGroupName", group)
                    .send(self.client)
                    .await?;
                let policies = page.result.scaling_policies.into_iter();
                Ok(policies.map(|policy| policy.policy_name).collect())
            })
            .await
    }

    /// Sets a hook of a group.
    ///
    /// IAM: `autoscaling:PutLifecycleHook`.
    pub async fn put_lifecycle_hook(
        &self,
        group: &str,
        hook: &LifecycleHook,
    ) -> Result<(), CallError> {
        let query = write("PutLifecycleHook", group, Repeat::Safe)
            .with("AutoScalingGroupName", group)
            .with("LifecycleHookName", &hook.name)
            .with("LifecycleTransition", &hook.transition)
            .with("HeartbeatTimeout", hook.timeout_seconds)
            .with("DefaultResult", &hook.default_result);
        self.done("PutLifecycleHook", query).await
    }

    /// Removes a hook of a group.
    ///
    /// IAM: `autoscaling:DeleteLifecycleHook`.
    pub async fn delete_lifecycle_hook(&self, group: &str, name: &str) -> Result<(), CallError> {
        let query = write("DeleteLifecycleHook", group, Repeat::Safe)
            .with("AutoScalingGroupName", group)
            .with("LifecycleHookName", name);
        self.done("DeleteLifecycleHook", query).await
    }

    pub(super) async fn done(&self, action: &'static str, query: Query) -> Result<(), CallError> {
        self.client
            .observed(action, async {
                let _: Done = query.send(self.client).await?;
                Ok(())
            })
            .await
    }
}

fn with_tag(query: Query, number: usize, group: &str, tag: &Tag) -> Query {
    let prefix = format!("Tags.member.{number}");
    query
        .with(format!("{prefix}.ResourceId"), group)
        .with(format!("{prefix}.ResourceType"), "auto-scaling-group")
        .with(format!("{prefix}.Key"), &tag.key)
        .with(format!("{prefix}.Value"), &tag.value)
        .with(
            format!("{prefix}.PropagateAtLaunch"),
            tag.propagate_at_launch,
        )
}

pub(super) fn write(action: &'static str, about: &str, repeat: Repeat) -> Query {
    Query::write(Service::AutoScaling, VERSION, action, repeat).about(about)
}

/// Tags as a group has them, by key.
pub fn tags_by_key(tags: &[Tag]) -> BTreeMap<String, (String, bool)> {
    tags.iter()
        .map(|tag| {
            (
                tag.key.clone(),
                (tag.value.clone(), tag.propagate_at_launch),
            )
        })
        .collect()
}
