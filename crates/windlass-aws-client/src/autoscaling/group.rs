//! A group as `DescribeAutoScalingGroups` shows it.

use jiff::Timestamp;
use serde::Deserialize;

use crate::ec2::InstanceRequirements;
use crate::query::{filled, members};

/// An Auto Scaling group.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutoScalingGroup {
    /// Name, unique in its account and region.
    #[serde(rename = "AutoScalingGroupName")]
    pub name: String,
    /// Amazon resource name.
    #[serde(rename = "AutoScalingGroupARN")]
    pub arn: String,
    /// Fewest instances, or units of [`Self::desired_capacity_type`].
    pub min_size: u32,
    /// Most instances, or units.
    pub max_size: u32,
    /// Wanted instances, or units.
    pub desired_capacity: u32,
    /// `units` (also if absent), `vcpu` or `memory-mib`.
    #[serde(deserialize_with = "filled")]
    pub desired_capacity_type: Option<String>,
    /// Zones, such as `us-east-1a`.
    #[serde(deserialize_with = "members")]
    pub availability_zones: Vec<String>,
    /// Their ids, such as `use1-az1`, in the same order.
    #[serde(deserialize_with = "members")]
    pub availability_zone_ids: Vec<String>,
    /// Ids of the subnets, separated by commas.
    #[serde(rename = "VPCZoneIdentifier", deserialize_with = "filled")]
    pub vpc_zone_identifier: Option<String>,
    /// Instances, in whatever state; a warm pool's are not among them.
    #[serde(deserialize_with = "members")]
    pub instances: Vec<GroupInstance>,
    /// Launch configuration, if the group has one.
    #[serde(deserialize_with = "filled")]
    pub launch_configuration_name: Option<String>,
    /// Launch template, if the group has one itself.
    pub launch_template: Option<LaunchTemplateSpecification>,
    /// Mixed-instances policy, if the group has one.
    pub mixed_instances_policy: Option<MixedInstancesPolicy>,
    /// Processes that are switched off.
    #[serde(deserialize_with = "members")]
    pub suspended_processes: Vec<SuspendedProcess>,
    /// Tags.
    #[serde(deserialize_with = "members")]
    pub tags: Vec<Tag>,
    /// How long a new instance may be unhealthy, in seconds.
    pub health_check_grace_period: Option<u32>,
    /// `Delete in progress`, while the group is being deleted.
    #[serde(deserialize_with = "filled")]
    pub status: Option<String>,
    /// Whether new instances are protected, so that AWS picks none of them as a victim.
    pub new_instances_protected_from_scale_in: bool,
    /// Whether AWS replaces spot instances at risk of interruption ahead of time.
    pub capacity_rebalance: bool,
    /// Warm pool, if the group has one.
    pub warm_pool_configuration: Option<WarmPoolConfiguration>,
    /// When the group was created: tells a group from its namesake that was deleted.
    pub created_time: Option<Timestamp>,
}

impl AutoScalingGroup {
    /// The value of its tag of this key, if it has one.
    pub fn tag(&self, key: &str) -> Option<&str> {
        let tag = self.tags.iter().find(|tag| tag.key == key)?;
        Some(&tag.value)
    }

    /// The launch configuration that its next instance would be of. AWS lists one or a template; moto
    /// goes on listing the configuration that a template took the place of.
    pub fn next_launch_configuration(&self) -> Option<&str> {
        let is_of_template =
            self.launch_template.is_some() || self.mixed_instances_policy.is_some();
        let name = self.launch_configuration_name.as_deref();
        name.filter(|_| !is_of_template)
    }
}

/// An instance of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GroupInstance {
    /// Its id, such as `i-0123456789abcdef0`.
    pub instance_id: String,
    /// Its type.
    #[serde(deserialize_with = "filled")]
    pub instance_type: Option<String>,
    /// Its zone.
    pub availability_zone: String,
    /// Its lifecycle state, such as `InService` or `Terminating:Wait`.
    pub lifecycle_state: String,
    /// `Healthy` or `Unhealthy`.
    pub health_status: String,
    /// The launch template and concrete version it came from.
    pub launch_template: Option<LaunchTemplateSpecification>,
    /// The launch configuration it came from.
    #[serde(deserialize_with = "filled")]
    pub launch_configuration_name: Option<String>,
    /// Whether AWS may not choose it as a victim.
    pub protected_from_scale_in: bool,
    /// How many units of capacity it counts for, where the group has weights.
    #[serde(deserialize_with = "filled")]
    pub weighted_capacity: Option<String>,
}

/// Which version of which launch template.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LaunchTemplateSpecification {
    /// Id of the template.
    #[serde(rename = "LaunchTemplateId", deserialize_with = "filled")]
    pub id: Option<String>,
    /// Name of the template.
    #[serde(rename = "LaunchTemplateName", deserialize_with = "filled")]
    pub name: Option<String>,
    /// A number, `$Latest` or `$Default`; absent means `$Default`.
    #[serde(deserialize_with = "filled")]
    pub version: Option<String>,
}

/// A group's choice among several instance types.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, from = "PolicyWire")]
pub struct MixedInstancesPolicy {
    /// The launch template that the overrides change.
    pub launch_template: LaunchTemplateSpecification,
    /// What may be launched instead of the template's own type, in order of priority.
    pub overrides: Vec<LaunchTemplateOverride>,
    /// How on-demand and spot are mixed.
    pub distribution: InstancesDistribution,
}

/// The policy's own nesting, which says nothing more.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct PolicyWire {
    launch_template: PolicyTemplateWire,
    instances_distribution: InstancesDistribution,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct PolicyTemplateWire {
    launch_template_specification: LaunchTemplateSpecification,
    #[serde(deserialize_with = "members")]
    overrides: Vec<LaunchTemplateOverride>,
}

impl From<PolicyWire> for MixedInstancesPolicy {
    fn from(wire: PolicyWire) -> Self {
        Self {
            launch_template: wire.launch_template.launch_template_specification,
            overrides: wire.launch_template.overrides,
            distribution: wire.instances_distribution,
        }
    }
}

/// One override of a mixed-instances policy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct LaunchTemplateOverride {
    /// An instance type.
    #[serde(deserialize_with = "filled")]
    pub instance_type: Option<String>,
    /// Units that one such instance counts for.
    #[serde(deserialize_with = "filled")]
    pub weighted_capacity: Option<String>,
    /// Another launch template for this type.
    pub launch_template_specification: Option<LaunchTemplateSpecification>,
    /// Attributes, instead of a type.
    pub instance_requirements: Option<InstanceRequirements>,
}

/// How a mixed group splits between on-demand and spot.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct InstancesDistribution {
    /// Instances that are on-demand before any split.
    pub on_demand_base_capacity: u32,
    /// Share of on-demand above the base, in percent. AWS's default is 100.
    pub on_demand_percentage_above_base_capacity: u32,
    /// How spot types are chosen.
    #[serde(deserialize_with = "filled")]
    pub spot_allocation_strategy: Option<String>,
}

impl Default for InstancesDistribution {
    fn default() -> Self {
        Self {
            on_demand_base_capacity: 0,
            on_demand_percentage_above_base_capacity: 100,
            spot_allocation_strategy: None,
        }
    }
}

/// A process of a group that is switched off.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SuspendedProcess {
    /// `Launch`, `Terminate`, `AZRebalance` and so on.
    pub process_name: String,
    /// Who suspended it, in AWS's words.
    pub suspension_reason: String,
}

/// A group's tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Tag {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Whether new instances get it too.
    pub propagate_at_launch: bool,
}

/// A warm pool's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct WarmPoolConfiguration {
    /// Fewest instances in the pool.
    pub min_size: u32,
    /// `Stopped`, `Running` or `Hibernated`.
    #[serde(deserialize_with = "filled")]
    pub pool_state: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recorded_group_is_read() {
        let xml = r"<member>
          <AutoScalingGroupName>spot</AutoScalingGroupName>
          <MinSize>0</MinSize><MaxSize>10</MaxSize><DesiredCapacity>2</DesiredCapacity>
          <AvailabilityZones><member>us-east-1a</member><member>us-east-1b</member></AvailabilityZones>
          <MixedInstancesPolicy>
            <LaunchTemplate>
              <LaunchTemplateSpecification>
                <LaunchTemplateId>lt-1</LaunchTemplateId><Version>$Latest</Version>
              </LaunchTemplateSpecification>
              <Overrides>
                <member><InstanceType>m5.large</InstanceType><WeightedCapacity>1</WeightedCapacity></member>
                <member><InstanceRequirements>
                  <VCpuCount><Min>2</Min><Max>4</Max></VCpuCount><MemoryMiB><Min>4096</Min></MemoryMiB>
                  <CpuManufacturers><member>intel</member><member>amd</member></CpuManufacturers>
                  <BaselinePerformanceFactors><Cpu><References>
                    <member><InstanceFamily>m6i</InstanceFamily></member>
                  </References></Cpu></BaselinePerformanceFactors>
                </InstanceRequirements></member>
              </Overrides>
            </LaunchTemplate>
            <InstancesDistribution><OnDemandPercentageAboveBaseCapacity>0</OnDemandPercentageAboveBaseCapacity></InstancesDistribution>
          </MixedInstancesPolicy>
          <Instances>
            <member><InstanceId>i-1</InstanceId><AvailabilityZone>us-east-1a</AvailabilityZone>
              <LifecycleState>InService</LifecycleState><HealthStatus>Healthy</HealthStatus>
              <LaunchTemplate><LaunchTemplateId>lt-1</LaunchTemplateId><Version>3</Version></LaunchTemplate>
              <ProtectedFromScaleIn>false</ProtectedFromScaleIn></member>
          </Instances>
          <SuspendedProcesses/>
          <Tags><member><Key>team</Key><Value/><PropagateAtLaunch>true</PropagateAtLaunch>
            <ResourceId>spot</ResourceId></member></Tags>
          <NewInstancesProtectedFromScaleIn>false</NewInstancesProtectedFromScaleIn>
          <CreatedTime>2026-01-02T03:04:05.678Z</CreatedTime>
        </member>";
        let group: AutoScalingGroup = quick_xml::de::from_str(xml).unwrap();
        assert_eq!(
            (group.min_size, group.max_size, group.desired_capacity),
            (0, 10, 2)
        );
        assert_eq!(group.availability_zones, ["us-east-1a", "us-east-1b"]);
        let policy = group.mixed_instances_policy.unwrap();
        assert_eq!(policy.launch_template.version.as_deref(), Some("$Latest"));
        assert_eq!(
            policy.overrides[0].instance_type.as_deref(),
            Some("m5.large")
        );
        let requirements = policy.overrides[1].instance_requirements.as_ref().unwrap();
        assert_eq!(requirements.v_cpu_count.min, Some(2.0));
        assert_eq!(requirements.cpu_manufacturers, ["intel", "amd"]);
        assert_eq!(requirements.baseline_performance_families, ["m6i"]);
        assert_eq!(
            policy.distribution.on_demand_percentage_above_base_capacity,
            0
        );
        let instance = &group.instances[0];
        assert_eq!(
            instance
                .launch_template
                .as_ref()
                .unwrap()
                .version
                .as_deref(),
            Some("3")
        );
        assert_eq!(group.tags[0].value, "");
    }
}
