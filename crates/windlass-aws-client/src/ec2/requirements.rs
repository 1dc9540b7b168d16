//! Attribute-based instance type selection: what is asked for instead of a type.

use std::fmt::Write;

use serde::{Deserialize, Deserializer};

use super::{Ec2, read};
use crate::error::CallError;
use crate::query::{Query, filled, items};

/// Bounds of an attribute; an absent one does not bind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Range {
    /// Least.
    #[serde(alias = "Min", alias = "min")]
    pub min: Option<f64>,
    /// Most.
    #[serde(alias = "Max", alias = "max")]
    pub max: Option<f64>,
}

/// The attributes. Auto Scaling and EC2 name the same fields differently; both are read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
#[expect(
    missing_docs,
    reason = "the names are AWS's own and say all there is to say"
)]
pub struct InstanceRequirements {
    #[serde(alias = "VCpuCount", alias = "vCpuCount")]
    pub v_cpu_count: Range,
    #[serde(alias = "MemoryMiB", alias = "memoryMiB")]
    pub memory_mib: Range,
    #[serde(alias = "MemoryGiBPerVCpu", alias = "memoryGiBPerVCpu")]
    pub memory_gib_per_v_cpu: Range,
    #[serde(alias = "NetworkInterfaceCount", alias = "networkInterfaceCount")]
    pub network_interface_count: Range,
    #[serde(alias = "NetworkBandwidthGbps", alias = "networkBandwidthGbps")]
    pub network_bandwidth_gbps: Range,
    #[serde(alias = "TotalLocalStorageGB", alias = "totalLocalStorageGB")]
    pub total_local_storage_gb: Range,
    #[serde(alias = "BaselineEbsBandwidthMbps", alias = "baselineEbsBandwidthMbps")]
    pub baseline_ebs_bandwidth_mbps: Range,
    #[serde(alias = "AcceleratorCount", alias = "acceleratorCount")]
    pub accelerator_count: Range,
    #[serde(
        alias = "AcceleratorTotalMemoryMiB",
        alias = "acceleratorTotalMemoryMiB"
    )]
    pub accelerator_total_memory_mib: Range,
    #[serde(
        alias = "CpuManufacturers",
        alias = "cpuManufacturerSet",
        deserialize_with = "list"
    )]
    pub cpu_manufacturers: Vec<String>,
    #[serde(
        alias = "ExcludedInstanceTypes",
        alias = "excludedInstanceTypeSet",
        deserialize_with = "list"
    )]
    pub excluded_instance_types: Vec<String>,
    #[serde(
        alias = "AllowedInstanceTypes",
        alias = "allowedInstanceTypeSet",
        deserialize_with = "list"
    )]
    pub allowed_instance_types: Vec<String>,
    #[serde(
        alias = "InstanceGenerations",
        alias = "instanceGenerationSet",
        deserialize_with = "list"
    )]
    pub instance_generations: Vec<String>,
    #[serde(
        alias = "LocalStorageTypes",
        alias = "localStorageTypeSet",
        deserialize_with = "list"
    )]
    pub local_storage_types: Vec<String>,
    #[serde(
        alias = "AcceleratorTypes",
        alias = "acceleratorTypeSet",
        deserialize_with = "list"
    )]
    pub accelerator_types: Vec<String>,
    #[serde(
        alias = "AcceleratorManufacturers",
        alias = "acceleratorManufacturerSet",
        deserialize_with = "list"
    )]
    pub accelerator_manufacturers: Vec<String>,
    #[serde(
        alias = "AcceleratorNames",
        alias = "acceleratorNameSet",
        deserialize_with = "list"
    )]
    pub accelerator_names: Vec<String>,
    #[serde(
        alias = "BaselinePerformanceFactors",
        alias = "baselinePerformanceFactors",
        deserialize_with = "reference_families"
    )]
    pub baseline_performance_families: Vec<String>,
    #[serde(alias = "BareMetal", alias = "bareMetal", deserialize_with = "filled")]
    pub bare_metal: Option<String>,
    #[serde(
        alias = "BurstablePerformance",
        alias = "burstablePerformance",
        deserialize_with = "filled"
    )]
    pub burstable_performance: Option<String>,
    #[serde(
        alias = "LocalStorage",
        alias = "localStorage",
        deserialize_with = "filled"
    )]
    pub local_storage: Option<String>,
    #[serde(
        alias = "RequireHibernateSupport",
        alias = "requireHibernateSupport",
        deserialize_with = "filled"
    )]
    pub require_hibernate_support: Option<String>,
    #[serde(
        alias = "SpotMaxPricePercentageOverLowestPrice",
        alias = "spotMaxPricePercentageOverLowestPrice",
        deserialize_with = "filled"
    )]
    pub spot_max_price_percentage_over_lowest_price: Option<String>,
    #[serde(
        alias = "OnDemandMaxPricePercentageOverLowestPrice",
        alias = "onDemandMaxPricePercentageOverLowestPrice",
        deserialize_with = "filled"
    )]
    pub on_demand_max_price_percentage_over_lowest_price: Option<String>,
    #[serde(
        alias = "MaxSpotPriceAsPercentageOfOptimalOnDemandPrice",
        alias = "maxSpotPriceAsPercentageOfOptimalOnDemandPrice",
        deserialize_with = "filled"
    )]
    pub max_spot_price_as_percentage_of_optimal_on_demand_price: Option<String>,
}

fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    struct List {
        #[serde(rename = "member", alias = "item", default)]
        values: Vec<String>,
    }
    Ok(List::deserialize(deserializer)?.values)
}

/// The families whose CPUs are the least that is accepted, out of the boxes that they come in.
fn reference_families<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Factors {
        #[serde(rename = "Cpu", alias = "cpu")]
        cpu: Cpu,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Cpu {
        #[serde(rename = "References", alias = "referenceSet")]
        references: References,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct References {
        #[serde(rename = "member", alias = "item")]
        values: Vec<Reference>,
    }
    #[derive(Deserialize)]
    struct Reference {
        #[serde(rename = "InstanceFamily", alias = "instanceFamily")]
        family: String,
    }
    let references = Factors::deserialize(deserializer)?.cpu.references.values;
    Ok(references.into_iter().map(|it| it.family).collect())
}

impl InstanceRequirements {
    /// The attributes as parameters of an EC2 query.
    fn add_to(&self, mut query: Query) -> Query {
        for (name, range) in [
            ("VCpuCount", self.v_cpu_count),
            ("MemoryMiB", self.memory_mib),
            ("MemoryGiBPerVCpu", self.memory_gib_per_v_cpu),
            ("NetworkInterfaceCount", self.network_interface_count),
            ("NetworkBandwidthGbps", self.network_bandwidth_gbps),
            ("TotalLocalStorageGB", self.total_local_storage_gb),
            ("BaselineEbsBandwidthMbps", self.baseline_ebs_bandwidth_mbps),
            ("AcceleratorCount", self.accelerator_count),
            (
                "AcceleratorTotalMemoryMiB",
                self.accelerator_total_memory_mib,
            ),
        ] {
            query = query
                .with_some(&format!("InstanceRequirements.{name}.Min"), range.min)
                .with_some(&format!("InstanceRequirements.{name}.Max"), range.max);
        }
        for (name, values) in [
            ("CpuManufacturer", &self.cpu_manufacturers),
            ("ExcludedInstanceType", &self.excluded_instance_types),
            ("AllowedInstanceType", &self.allowed_instance_types),
            ("InstanceGeneration", &self.instance_generations),
            ("LocalStorageType", &self.local_storage_types),
            ("AcceleratorType", &self.accelerator_types),
            ("AcceleratorManufacturer", &self.accelerator_manufacturers),
            ("AcceleratorName", &self.accelerator_names),
        ] {
            query = query.with_list(&format!("InstanceRequirements.{name}"), values);
        }
        for (index, family) in self.baseline_performance_families.iter().enumerate() {
            let reference = format!("BaselinePerformanceFactors.Cpu.Reference.{}", index + 1);
            let name = format!("InstanceRequirements.{reference}.InstanceFamily");
            query = query.with(&name, family);
        }
        for (name, value) in [
            ("BareMetal", &self.bare_metal),
            ("BurstablePerformance", &self.burstable_performance),
            ("LocalStorage", &self.local_storage),
            ("RequireHibernateSupport", &self.require_hibernate_support),
            (
                "SpotMaxPricePercentageOverLowestPrice",
                &self.spot_max_price_percentage_over_lowest_price,
            ),
            (
                "OnDemandMaxPricePercentageOverLowestPrice",
                &self.on_demand_max_price_percentage_over_lowest_price,
            ),
            (
                "MaxSpotPriceAsPercentageOfOptimalOnDemandPrice",
                &self.max_spot_price_as_percentage_of_optimal_on_demand_price,
            ),
        ] {
            query = query.with_some(&format!("InstanceRequirements.{name}"), value.as_ref());
        }
        query
    }

    /// The attributes in one line, the same for the same attributes: a cache's key.
    pub fn fingerprint(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = write!(text, "{self:?}");
        text
    }
}

#[derive(Deserialize)]
struct TypesPage {
    #[serde(rename = "instanceTypeSet", default, deserialize_with = "items")]
    types: Vec<TypeName>,
    #[serde(rename = "nextToken", default, deserialize_with = "filled")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeName {
    instance_type: String,
}

impl Ec2<'_> {
    /// The instance types that fit the attributes, for an image of this architecture and
    /// virtualization type, in AWS's order.
    ///
    /// IAM: `ec2:GetInstanceTypesFromInstanceRequirements`.
    pub async fn instance_types_from_requirements(
        &self,
        architecture: &str,
        virtualization_type: &str,
        requirements: &InstanceRequirements,
    ) -> Result<Vec<String>, CallError> {
        self.client
            .observed("GetInstanceTypesFromInstanceRequirements", async {
                let mut names = Vec::new();
                let mut token: Option<String> = None;
                loop {
                    let query = read("GetInstanceTypesFromInstanceRequirements")
                        .with("ArchitectureType.1", architecture)
                        .with("VirtualizationType.1", virtualization_type)
                        .with_some("NextToken", token.as_ref());
                    let page: TypesPage = requirements.add_to(query).send(self.client).await?;
                    names.extend(page.types.into_iter().map(|name| name.instance_type));
                    token = page.next_token;
                    if token.is_none() {
                        return Ok(names);
                    }
                }
            })
            .await
    }
}
