//! The parts of moto's XML that are read here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{DescribedInstance, GroupState, Instance, InstanceType};

pub(super) fn parse<T: DeserializeOwned>(xml: &str) -> Result<T> {
    quick_xml::de::from_str(xml).with_context(|| format!("read moto's answer: {xml}"))
}

/// `<member>` or `<item>` lists.
#[derive(Deserialize)]
#[serde(bound = "T: Deserialize<'de>")]
struct List<T> {
    #[serde(rename = "member", alias = "item", default = "Vec::new")]
    entries: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct DescribeGroups {
    #[serde(rename = "DescribeAutoScalingGroupsResult")]
    result: GroupsResult,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GroupsResult {
    #[serde(default)]
    auto_scaling_groups: List<XmlGroup>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct XmlGroup {
    auto_scaling_group_name: String,
    min_size: u32,
    max_size: u32,
    desired_capacity: u32,
    #[serde(default)]
    tags: List<XmlTag>,
    #[serde(default)]
    instances: List<XmlInstance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct XmlTag {
    key: String,
    #[serde(default)]
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct XmlInstance {
    instance_id: String,
    #[serde(default)]
    instance_type: String,
    availability_zone: String,
    lifecycle_state: String,
}

impl DescribeGroups {
    pub(super) fn into_parts(self) -> (Vec<GroupState>, Option<String>) {
        let GroupsResult {
            auto_scaling_groups,
            next_token,
        } = self.result;
        let groups = auto_scaling_groups
            .entries
            .into_iter()
            .map(XmlGroup::into_state)
            .collect();
        (groups, next_token.filter(|token| !token.is_empty()))
    }
}

impl XmlGroup {
    fn into_state(self) -> GroupState {
        GroupState {
            name: self.auto_scaling_group_name,
            min: self.min_size,
            max: self.max_size,
            desired: self.desired_capacity,
            tags: self
                .tags
                .entries
                .into_iter()
                .map(|tag| (tag.key, tag.value))
                .collect(),
            instances: self
                .instances
                .entries
                .into_iter()
                .map(|instance| Instance {
                    id: instance.instance_id,
                    instance_type: instance.instance_type,
                    zone: instance.availability_zone,
                    lifecycle_state: instance.lifecycle_state,
                })
                .collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeInstances {
    #[serde(default)]
    reservation_set: List<Reservation>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reservation {
    #[serde(default)]
    instances_set: List<Ec2Instance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ec2Instance {
    instance_id: String,
    #[serde(default)]
    private_dns_name: String,
    #[serde(default)]
    private_ip_address: String,
    instance_state: InstanceState,
}

#[derive(Deserialize)]
struct InstanceState {
    name: String,
}

impl DescribeInstances {
    pub(super) fn into_instances(self) -> BTreeMap<String, DescribedInstance> {
        self.reservation_set
            .entries
            .into_iter()
            .flat_map(|reservation| reservation.instances_set.entries)
            .map(|instance| {
                let described = DescribedInstance {
                    private_dns_name: instance.private_dns_name,
                    private_ip: instance.private_ip_address,
                    state: instance.instance_state.name,
                };
                (instance.instance_id, described)
            })
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeSubnets {
    #[serde(default)]
    subnet_set: List<Subnet>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subnet {
    subnet_id: String,
}

impl DescribeSubnets {
    pub(super) fn into_first(self) -> Option<String> {
        self.subnet_set
            .entries
            .into_iter()
            .next()
            .map(|subnet| subnet.subnet_id)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeTypes {
    #[serde(default)]
    instance_type_set: List<XmlType>,
}

#[derive(Deserialize)]
struct XmlType {
    #[serde(rename = "vCpuInfo")]
    cpu: CpuInfo,
    #[serde(rename = "memoryInfo")]
    memory: MemoryInfo,
    #[serde(rename = "processorInfo")]
    processor: ProcessorInfo,
    #[serde(rename = "gpuInfo", default)]
    gpu: GpuInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CpuInfo {
    default_v_cpus: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MemoryInfo {
    size_in_mi_b: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProcessorInfo {
    supported_architectures: List<String>,
}

#[derive(Default, Deserialize)]
struct GpuInfo {
    #[serde(default)]
    gpus: List<Gpu>,
}

#[derive(Deserialize)]
struct Gpu {
    #[serde(default)]
    count: u32,
}

impl DescribeTypes {
    pub(super) fn into_type(self) -> Option<InstanceType> {
        let described = self.instance_type_set.entries.into_iter().next()?;
        let is_arm = described
            .processor
            .supported_architectures
            .entries
            .iter()
            .any(|a| a == "arm64");
        Some(InstanceType {
            cpus: described.cpu.default_v_cpus,
            memory_mib: described.memory.size_in_mi_b,
            architecture: if is_arm { "arm64" } else { "amd64" },
            gpus: described.gpu.gpus.entries.iter().map(|gpu| gpu.count).sum(),
        })
    }
}
