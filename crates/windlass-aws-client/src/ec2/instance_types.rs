//! Instance types: what they offer.

use serde::Deserialize;

use super::{Ec2, read};
use crate::error::CallError;
use crate::query::{filled, items};

/// Most names in one `DescribeInstanceTypes` call.
const NAMES_PER_DESCRIBE: usize = 100;

/// An instance type, as far as Windlass reads it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceTypeInfo {
    /// Its name, such as `m5.large`.
    pub instance_type: String,
    /// Its processors.
    #[serde(rename = "vCpuInfo")]
    pub v_cpu: VCpuInfo,
    /// Its memory.
    #[serde(rename = "memoryInfo")]
    pub memory: MemoryInfo,
    /// Architectures.
    #[serde(rename = "processorInfo")]
    pub processor: ProcessorInfo,
    /// GPUs, if it has any.
    #[serde(rename = "gpuInfo")]
    pub gpu: Option<GpuInfo>,
    /// Inferentia and Trainium chips, if it has any.
    #[serde(rename = "neuronInfo")]
    pub neuron: Option<NeuronInfo>,
    /// Network interfaces.
    #[serde(rename = "networkInfo")]
    pub network: NetworkInfo,
    /// Local disks, if it has any.
    #[serde(rename = "instanceStorageInfo")]
    pub instance_storage: Option<InstanceStorageInfo>,
    /// Volumes.
    #[serde(rename = "ebsInfo")]
    pub ebs: EbsInfo,
}

/// Volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EbsInfo {
    /// Most volumes, the root volume counted; not told by every region.
    pub maximum_ebs_attachments: Option<u32>,
    /// `dedicated`, or `shared` with network interfaces.
    #[serde(deserialize_with = "filled")]
    pub attachment_limit_type: Option<String>,
}

/// Processors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VCpuInfo {
    /// Virtual processors.
    #[serde(rename = "defaultVCpus")]
    pub default_v_cpus: u32,
}

/// Memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MemoryInfo {
    /// Size in MiB.
    #[serde(rename = "sizeInMiB")]
    pub size_in_mib: u64,
}

/// Architectures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessorInfo {
    /// `x86_64`, `arm64`, `i386` and more; the first is the one to go by.
    #[serde(deserialize_with = "items")]
    pub supported_architectures: Vec<String>,
}

/// GPUs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GpuInfo {
    /// The kinds of GPU.
    #[serde(deserialize_with = "items")]
    pub gpus: Vec<Accelerator>,
}

/// Inferentia and Trainium.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NeuronInfo {
    /// The kinds of chip.
    #[serde(deserialize_with = "items")]
    pub neuron_devices: Vec<Accelerator>,
}

/// A kind of accelerator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Accelerator {
    /// Model, such as `T4`.
    pub name: String,
    /// `NVIDIA`, `AMD`, `Habana`; none for AWS's own.
    #[serde(deserialize_with = "filled")]
    pub manufacturer: Option<String>,
    /// How many.
    pub count: u32,
    /// Cores of one, for Neuron.
    pub core_info: Option<CoreInfo>,
}

/// Cores of a Neuron device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct CoreInfo {
    /// How many.
    pub count: u32,
}

/// Network interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkInfo {
    /// Most interfaces, all cards together.
    pub maximum_network_interfaces: u32,
    /// Which card is the first.
    pub default_network_card_index: u32,
    /// The cards.
    #[serde(deserialize_with = "items")]
    pub network_cards: Vec<NetworkCard>,
    /// IPv4 addresses of each.
    pub ipv4_addresses_per_interface: u32,
    /// Elastic fabric adapters.
    pub efa_info: Option<EfaInfo>,
}

/// A network card.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkCard {
    /// Which.
    pub network_card_index: u32,
    /// Most interfaces of it.
    pub maximum_network_interfaces: u32,
}

/// Elastic fabric adapters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EfaInfo {
    /// Most adapters.
    pub maximum_efa_interfaces: u32,
}

/// Local disks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStorageInfo {
    /// All of them together, in GB.
    #[serde(rename = "totalSizeInGB")]
    pub total_size_in_gb: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypesPage {
    #[serde(default, deserialize_with = "items")]
    instance_type_set: Vec<InstanceTypeInfo>,
    #[serde(default, deserialize_with = "filled")]
    next_token: Option<String>,
}

impl Ec2<'_> {
    /// The instance types of these names. One unknown name fails the call that it is in.
    ///
    /// IAM: `ec2:DescribeInstanceTypes`.
    pub async fn describe_instance_types(
        &self,
        names: &[String],
    ) -> Result<Vec<InstanceTypeInfo>, CallError> {
        self.client
            .observed("DescribeInstanceTypes", async {
                let mut found = Vec::new();
                for batch in names.chunks(NAMES_PER_DESCRIBE) {
                    let page: TypesPage = read("DescribeInstanceTypes")
                        .about(batch.join(", "))
                        .with_list("InstanceType", batch)
                        .send(self.client)
                        .await?;
                    found.extend(page.instance_type_set);
                }
                Ok(found)
            })
            .await
    }

    /// All instance types of the region, some fourteen hundred.
    ///
    /// IAM: `ec2:DescribeInstanceTypes`.
    pub async fn describe_all_instance_types(&self) -> Result<Vec<InstanceTypeInfo>, CallError> {
        self.client
            .observed("DescribeInstanceTypes", async {
                let mut found = Vec::new();
                let mut token: Option<String> = None;
                loop {
                    let page: TypesPage = read("DescribeInstanceTypes")
                        .with("MaxResults", 100)
                        .with_some("NextToken", token.as_ref())
                        .send(self.client)
                        .await?;
                    found.extend(page.instance_type_set);
                    token = page.next_token;
                    if token.is_none() {
                        return Ok(found);
                    }
                }
            })
            .await
    }
}
