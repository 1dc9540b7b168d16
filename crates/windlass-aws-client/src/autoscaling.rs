//! EC2 Auto Scaling, API version 2011-01-01: the calls that the autoscaler makes.

mod group;
mod instance_refreshes;
mod launch_configurations;
mod provision;

use jiff::Timestamp;
use serde::Deserialize;

use crate::call::Client;
use crate::endpoint::Service;
use crate::error::CallError;
use crate::query::{Done, Query, filled, members};
use crate::retry::Repeat;

pub use group::{
    AutoScalingGroup, GroupInstance, InstancesDistribution, LaunchTemplateOverride,
    LaunchTemplateSpecification, MixedInstancesPolicy, SuspendedProcess, Tag,
    WarmPoolConfiguration,
};
pub use instance_refreshes::{InstanceRefresh, RefreshSpecification};
pub use launch_configurations::{
    ConfiguredEbs, ConfiguredMetadata, ConfiguredVolume, LaunchConfigurationContent,
};
pub use provision::{GroupSpecification, LifecycleHook, MixedInstances, tags_by_key};

const VERSION: &str = "2011-01-01";
/// Most group names in one `DescribeAutoScalingGroups` call; AWS fails the whole call above it.
const NAMES_PER_DESCRIBE: usize = 100;
/// Largest page that `DescribeAutoScalingGroups` gives.
const GROUPS_PER_PAGE: u32 = 100;
/// Most names in one `DescribeLaunchConfigurations` call.
const LAUNCH_CONFIGURATIONS_PER_DESCRIBE: usize = 50;
/// Most instances in one `SetInstanceProtection` call.
const INSTANCES_PER_PROTECTION: usize = 50;
/// Pages of activities read at most: a group that fails every few seconds has thousands.
const ACTIVITY_PAGES: usize = 3;

/// What becomes of an instance whose lifecycle action is completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifecycleResult {
    /// It goes on.
    Continue,
    /// A launch is undone.
    Abandon,
}

impl LifecycleResult {
    fn name(self) -> &'static str {
        match self {
            Self::Continue => "CONTINUE",
            Self::Abandon => "ABANDON",
        }
    }
}

/// The service's calls.
#[derive(Clone, Copy, Debug)]
pub struct AutoScaling<'a> {
    client: &'a Client,
}

impl Client {
    /// EC2 Auto Scaling.
    pub fn autoscaling(&self) -> AutoScaling<'_> {
        AutoScaling { client: self }
    }
}

/// A tag that a group must carry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TagFilter {
    /// The tag's key.
    pub key: String,
    /// The value it must have; none for any.
    pub value: Option<String>,
}

/// One activity of a group: a launch, a termination.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ScalingActivity {
    /// Its id.
    pub activity_id: String,
    /// What was done, such as "Launching a new EC2 instance: i-…".
    #[serde(default)]
    pub description: String,
    /// Why it was done.
    #[serde(default)]
    pub cause: String,
    /// When it began, by AWS's clock.
    pub start_time: Timestamp,
    /// When it ended.
    #[serde(default)]
    pub end_time: Option<Timestamp>,
    /// `Successful`, `Failed`, `InProgress`, `Cancelled` and more.
    pub status_code: String,
    /// AWS's text about a failure.
    #[serde(default)]
    pub status_message: String,
    /// JSON about the zone and subnet.
    #[serde(default)]
    pub details: String,
}

/// A launch configuration: the launch template's predecessor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LaunchConfiguration {
    /// Its name.
    #[serde(rename = "LaunchConfigurationName")]
    pub name: String,
    /// The machine image.
    #[serde(default, deserialize_with = "filled")]
    pub image_id: Option<String>,
    /// The instance type.
    #[serde(default, deserialize_with = "filled")]
    pub instance_type: Option<String>,
    /// Highest spot price, if its instances are spot instances.
    #[serde(default, deserialize_with = "filled")]
    pub spot_price: Option<String>,
    /// User data in base64.
    #[serde(default)]
    pub user_data: Option<crate::Secret>,
}

/// What happens to a group's desired capacity when one of its instances is terminated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capacity {
    /// It goes down by one: the instance is given up.
    Decrement,
    /// It stays: AWS launches another instance in its place.
    Replace,
}

/// The state of a group's warm pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WarmPool {
    /// Its configuration; none if the group has no warm pool.
    pub configuration: Option<WarmPoolConfiguration>,
    /// Its instances, whose lifecycle states begin with `Warmed:`.
    pub instances: Vec<GroupInstance>,
}

/// What a synchronous launch has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LaunchOutcome {
    /// The instances that came, by where they came from.
    #[serde(deserialize_with = "members")]
    pub instances: Vec<LaunchedInstances>,
    /// Why others did not.
    #[serde(deserialize_with = "members")]
    pub errors: Vec<LaunchError>,
}

/// Instances that came from one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LaunchedInstances {
    /// Their type.
    #[serde(deserialize_with = "filled")]
    pub instance_type: Option<String>,
    /// Their zone.
    #[serde(deserialize_with = "filled")]
    pub availability_zone: Option<String>,
    /// Their ids.
    #[serde(deserialize_with = "members")]
    pub instance_ids: Vec<String>,
}

/// Why a pool gave none, or no more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LaunchError {
    /// EC2's code, such as `InsufficientInstanceCapacity`.
    pub error_code: String,
    /// EC2's text.
    pub error_message: String,
}

#[derive(Deserialize)]
struct Envelope<T> {
    #[serde(
        alias = "DescribeAutoScalingGroupsResult",
        alias = "DescribeTagsResult",
        alias = "DescribeScalingActivitiesResult",
        alias = "DescribeLaunchConfigurationsResult",
        alias = "DescribeWarmPoolResult",
        alias = "DescribeInstanceRefreshesResult",
        alias = "DescribeLifecycleHooksResult",
        alias = "DescribePoliciesResult",
        alias = "LaunchInstancesResult",
        alias = "StartInstanceRefreshResult"
    )]
    result: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TagsPage {
    #[serde(default, deserialize_with = "members")]
    tags: Vec<Tag>,
    #[serde(default, deserialize_with = "filled")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GroupsPage {
    #[serde(default, deserialize_with = "members")]
    auto_scaling_groups: Vec<AutoScalingGroup>,
    #[serde(default, deserialize_with = "filled")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ActivitiesPage {
    #[serde(default, deserialize_with = "members")]
    activities: Vec<ScalingActivity>,
    #[serde(default, deserialize_with = "filled")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct LaunchConfigurationsPage {
    #[serde(default, deserialize_with = "members")]
    launch_configurations: Vec<LaunchConfiguration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WarmPoolPage {
    #[serde(default)]
    warm_pool_configuration: Option<WarmPoolConfiguration>,
    #[serde(default, deserialize_with = "members")]
    instances: Vec<GroupInstance>,
    #[serde(default, deserialize_with = "filled")]
    next_token: Option<String>,
}

impl AutoScaling<'_> {
    /// The groups of these names. A name that AWS does not know is left out of the answer.
    ///
    /// IAM: `autoscaling:DescribeAutoScalingGroups`.
    pub async fn describe_groups_by_name(
        &self,
        names: &[String],
    ) -> Result<Vec<AutoScalingGroup>, CallError> {
        let mut groups = Vec::new();
        for batch in names.chunks(NAMES_PER_DESCRIBE) {
            let about = match batch {
                [name] => name.clone(),
                batch => format!("{} groups", batch.len()),
            };
            let query = || {
                read("DescribeAutoScalingGroups")
                    .about(about.clone())
                    .with_list("AutoScalingGroupNames.member", batch)
            };
            groups.extend(self.all_groups(query).await?);
        }
        Ok(groups)
    }

    /// The groups that carry all these tags.
    ///
    /// IAM: `autoscaling:DescribeAutoScalingGroups`.
    pub async fn describe_groups_by_tags(
        &self,
        tags: &[TagFilter],
    ) -> Result<Vec<AutoScalingGroup>, CallError> {
        let query = || {
            let mut query = read("DescribeAutoScalingGroups").about("the discovery tags");
            for (index, tag) in tags.iter().enumerate() {
                let filter = format!("Filters.member.{}", index + 1);
                let (name, value) = match &tag.value {
                    Some(value) => (format!("tag:{}", tag.key), value),
                    None => ("tag-key".to_owned(), &tag.key),
                };
                query = query
                    .with(format!("{filter}.Name"), name)
                    .with(format!("{filter}.Values.member.1"), value);
            }
            query
        };
        self.all_groups(query).await
    }

    /// Every group of the account in the region.
    ///
    /// IAM: `autoscaling:DescribeAutoScalingGroups`.
    pub async fn describe_all_groups(&self) -> Result<Vec<AutoScalingGroup>, CallError> {
        self.all_groups(|| read("DescribeAutoScalingGroups").about("the account's groups"))
            .await
    }

    async fn all_groups(
        &self,
        query: impl Fn() -> Query,
    ) -> Result<Vec<AutoScalingGroup>, CallError> {
        self.client
            .observed("DescribeAutoScalingGroupsPages", async {
                let mut groups = Vec::new();
                let mut token: Option<String> = None;
                loop {
                    let page: Envelope<GroupsPage> = query()
                        .with("MaxRecords", GROUPS_PER_PAGE)
                        .with_some("NextToken", token.as_ref())
                        .send(self.client)
                        .await?;
                    groups.extend(page.result.auto_scaling_groups);
                    token = page.result.next_token;
                    if token.is_none() {
                        return Ok(groups);
                    }
                }
            })
            .await
    }

    /// A group's tags; none where there is no such group.
    ///
    /// IAM: `autoscaling:DescribeTags`.
    pub async fn describe_tags(&self, group: &str) -> Result<Vec<Tag>, CallError> {
        self.client
            .observed("DescribeTags", async {
                let mut tags = Vec::new();
                let mut token: Option<String> = None;
                loop {
                    let page: Envelope<TagsPage> = read("DescribeTags")
                        .about(group)
                        .with("Filters.member.1.Name", "auto-scaling-group")
                        .with("Filters.member.1.Values.member.1", group)
                        .with("MaxRecords", 100)
                        .with_some("NextToken", token.as_ref())
                        .send(self.client)
                        .await?;
                    tags.extend(page.result.tags);
                    token = page.result.next_token;
                    if token.is_none() {
                        return Ok(tags);
                    }
                }
            })
            .await
    }

    /// A group's activities that began at `since` or later, newest first. AWS keeps six weeks of
    /// them; a few hundred of the newest are read at most.
    ///
    /// IAM: `autoscaling:DescribeScalingActivities`.
    pub async fn describe_scaling_activities(
        &self,
        group: &str,
        since: Timestamp,
    ) -> Result<Vec<ScalingActivity>, CallError> {
        self.client
            .observed("DescribeScalingActivities", async {
                let mut activities = Vec::new();
                let mut token: Option<String> = None;
                for _ in 0..ACTIVITY_PAGES {
                    let page: Envelope<ActivitiesPage> = read("DescribeScalingActivities")
                        .about(group)
                        .with("AutoScalingGroupName", group)
                        .with("MaxRecords", 100)
                        .with_some("NextToken", token.as_ref())
                        .send(self.client)
                        .await?;
                    let page = page.result;
                    let reached = page
                        .activities
                        .iter()
                        .any(|activity| activity.start_time < since);
                    activities.extend(
                        page.activities
                            .into_iter()
                            .filter(|activity| since <= activity.start_time),
                    );
                    token = page.next_token;
                    if reached || token.is_none() {
                        break;
                    }
                }
                Ok(activities)
            })
            .await
    }

    /// The launch configurations of these names. Unknown names are left out.
    ///
    /// IAM: `autoscaling:DescribeLaunchConfigurations`.
    pub async fn describe_launch_configurations(
        &self,
        names: &[String],
    ) -> Result<Vec<LaunchConfiguration>, CallError> {
        self.client
            .observed("DescribeLaunchConfigurations", async {
                let mut found = Vec::new();
                for batch in names.chunks(LAUNCH_CONFIGURATIONS_PER_DESCRIBE) {
                    let page: Envelope<LaunchConfigurationsPage> =
                        read("DescribeLaunchConfigurations")
                            .about(batch.join(", "))
                            .with_list("LaunchConfigurationNames.member", batch)
                            .with("MaxRecords", LAUNCH_CONFIGURATIONS_PER_DESCRIBE)
                            .send(self.client)
                            .await?;
                    found.extend(page.result.launch_configurations);
                }
                Ok(found)
            })
            .await
    }

    /// Sets how many instances a group is to have, cooldown or not.
    ///
    /// IAM: `autoscaling:SetDesiredCapacity`.
    pub async fn set_desired_capacity(&self, group: &str, desired: u32) -> Result<(), CallError> {
        self.client
            .observed("SetDesiredCapacity", async {
                let _: Done = Query::write(
                    Service::AutoScaling,
                    VERSION,
                    "SetDesiredCapacity",
                    Repeat::Safe,
                )
                .about(group)
                .with("AutoScalingGroupName", group)
                .with("DesiredCapacity", desired)
                .with("HonorCooldown", false)
                .send(self.client)
                .await?;
                Ok(())
            })
            .await
    }

    /// Launches instances and waits for them: the answer has their ids, and what could not be had
    /// is not wanted any more. One zone, for a group of several; at most 100 instances.
    ///
    /// `token` makes a repetition harmless.
    ///
    /// IAM: `autoscaling:LaunchInstances`, `ec2:CreateFleet`, `ec2:DescribeLaunchTemplateVersions`.
    pub async fn launch_instances(
        &self,
        group: &str,
        count: u32,
        zone: &str,
        token: &str,
    ) -> Result<LaunchOutcome, CallError> {
        self.client
            .observed("LaunchInstances", async {
                let answer: Envelope<LaunchOutcome> = Query::write(
                    Service::AutoScaling,
                    VERSION,
                    "LaunchInstances",
                    Repeat::Safe,
                )
                .about(group)
                .with("AutoScalingGroupName", group)
                .with("RequestedCapacity", count)
                .with("AvailabilityZones.member.1", zone)
                .with("RetryStrategy", "none")
                .with("ClientToken", token)
                .send(self.client)
                .await?;
                Ok(answer.result)
            })
            .await
    }

    /// Protects instances of a group, so that AWS does not choose them when it is to have fewer.
    ///
    /// IAM: `autoscaling:SetInstanceProtection`.
    pub async fn protect_instances(
        &self,
        group: &str,
        instances: &[String],
    ) -> Result<(), CallError> {
        self.client
            .observed("SetInstanceProtection", async {
                for batch in instances.chunks(INSTANCES_PER_PROTECTION) {
                    let _: Done = Query::write(
                        Service::AutoScaling,
                        VERSION,
                        "SetInstanceProtection",
                        Repeat::Safe,
                    )
                    .about(group)
                    .with("AutoScalingGroupName", group)
                    .with_list("InstanceIds.member", batch)
                    .with("ProtectedFromScaleIn", true)
                    .send(self.client)
                    .await?;
                }
                Ok(())
            })
            .await
    }

    /// Ends the wait of a lifecycle hook for an instance.
    ///
    /// IAM: `autoscaling:CompleteLifecycleAction`.
    pub async fn complete_lifecycle_action(
        &self,
        group: &str,
        hook: &str,
        instance: &str,
        result: LifecycleResult,
    ) -> Result<(), CallError> {
        self.client
            .observed("CompleteLifecycleAction", async {
                let _: Done = Query::write(
                    Service::AutoScaling,
                    VERSION,
                    "CompleteLifecycleAction",
                    Repeat::Safe,
                )
                .about(instance)
                .with("AutoScalingGroupName", group)
                .with("LifecycleHookName", hook)
                .with("InstanceId", instance)
                .with("LifecycleActionResult", result.name())
                .send(self.client)
                .await?;
                Ok(())
            })
            .await
    }

    /// Tells a lifecycle hook that its instance is still at work.
    ///
    /// IAM: `autoscaling:RecordLifecycleActionHeartbeat`.
    pub async fn record_lifecycle_action_heartbeat(
        &self,
        group: &str,
        hook: &str,
        instance: &str,
    ) -> Result<(), CallError> {
        self.client
            .observed("RecordLifecycleActionHeartbeat", async {
                let _: Done = Query::write(
                    Service::AutoScaling,
                    VERSION,
                    "RecordLifecycleActionHeartbeat",
                    Repeat::Safe,
                )
                .about(instance)
                .with("AutoScalingGroupName", group)
                .with("LifecycleHookName", hook)
                .with("InstanceId", instance)
                .send(self.client)
                .await?;
                Ok(())
            })
            .await
    }

    /// Has its group replace an instance, its grace period or not.
    ///
    /// IAM: `autoscaling:SetInstanceHealth`.
    pub async fn set_instance_unhealthy(&self, instance: &str) -> Result<(), CallError> {
        self.client
            .observed("SetInstanceHealth", async {
                let _: Done = Query::write(
                    Service::AutoScaling,
                    VERSION,
                    "SetInstanceHealth",
                    Repeat::Safe,
                )
                .about(instance)
                .with("InstanceId", instance)
                .with("HealthStatus", "Unhealthy")
                .with("ShouldRespectGracePeriod", false)
                .send(self.client)
                .await?;
                Ok(())
            })
            .await
    }

    /// Terminates one instance of a group. Lifecycle hooks and load balancers' draining run;
    /// scale-in protection does not stop it.
    ///
    /// Not repeated after a lost answer: a second call on an instance that is already going lowers
    /// the desired capacity again.
    ///
    /// IAM: `autoscaling:TerminateInstanceInAutoScalingGroup`.
    pub async fn terminate_instance(
        &self,
        instance_id: &str,
        capacity: Capacity,
    ) -> Result<(), CallError> {
        self.client
            .observed("TerminateInstanceInAutoScalingGroup", async {
                let _: Done = Query::write(
                    Service::AutoScaling,
                    VERSION,
                    "TerminateInstanceInAutoScalingGroup",
                    Repeat::OnlyIfRefused,
                )
                .about(instance_id)
                .with("InstanceId", instance_id)
                .with(
                    "ShouldDecrementDesiredCapacity",
                    capacity == Capacity::Decrement,
                )
                .send(self.client)
                .await?;
                Ok(())
            })
            .await
    }

    /// A group's warm pool and the instances in it.
    ///
    /// IAM: `autoscaling:DescribeWarmPool`.
    pub async fn describe_warm_pool(&self, group: &str) -> Result<WarmPool, CallError> {
        self.client
            .observed("DescribeWarmPool", async {
                let mut pool = WarmPool::default();
                let mut token: Option<String> = None;
                loop {
                    let page: Envelope<WarmPoolPage> = read("DescribeWarmPool")
                        .about(group)
                        .with("AutoScalingGroupName", group)
                        .with_some("NextToken", token.as_ref())
                        .send(self.client)
                        .await?;
                    let page = page.result;
                    pool.configuration = pool.configuration.or(page.warm_pool_configuration);
                    pool.instances.extend(page.instances);
                    token = page.next_token;
                    if token.is_none() {
                        return Ok(pool);
                    }
                }
            })
            .await
    }
}

fn read(action: &'static str) -> Query {
    Query::read(Service::AutoScaling, VERSION, action)
}
