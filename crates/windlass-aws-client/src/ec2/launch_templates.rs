//! Launch templates: what a group's instances are made of.

use serde::Deserialize;

use super::{Ec2, InstanceRequirements, read};
use crate::Secret;
use crate::error::CallError;
use crate::query::{filled, items};

/// One version of a launch template.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LaunchTemplateVersion {
    /// Id of the template.
    #[serde(rename = "launchTemplateId")]
    pub id: String,
    /// Name of the template.
    #[serde(rename = "launchTemplateName")]
    pub name: String,
    /// Number of the version, whatever it was asked for as.
    #[serde(rename = "versionNumber")]
    pub version: u64,
    /// What it says.
    #[serde(rename = "launchTemplateData")]
    pub data: LaunchTemplateData,
}

/// What a launch template says, as far as Windlass reads it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LaunchTemplateData {
    /// Machine image; may be `resolve:ssm:` and a parameter's name.
    #[serde(deserialize_with = "filled")]
    pub image_id: Option<String>,
    /// Instance type.
    #[serde(deserialize_with = "filled")]
    pub instance_type: Option<String>,
    /// Attributes, instead of a type.
    pub instance_requirements: Option<InstanceRequirements>,
    /// User data in base64.
    pub user_data: Option<Secret>,
    /// Volumes.
    #[serde(rename = "blockDeviceMappingSet", deserialize_with = "items")]
    pub block_devices: Vec<BlockDevice>,
    /// Spot or capacity block, if not on-demand.
    pub instance_market_options: Option<MarketOptions>,
}

/// How the instances are bought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MarketOptions {
    /// `spot` or `capacity-block`.
    #[serde(deserialize_with = "filled")]
    pub market_type: Option<String>,
}

/// A volume of an instance or image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BlockDevice {
    /// Device name, such as `/dev/xvda`.
    pub device_name: String,
    /// The EBS volume behind it.
    pub ebs: Option<EbsVolume>,
}

/// An EBS volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EbsVolume {
    /// Size in GiB.
    pub volume_size: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionsPage {
    #[serde(default, deserialize_with = "items")]
    launch_template_version_set: Vec<LaunchTemplateVersion>,
}

impl Ec2<'_> {
    /// One version of a launch template: `version` is a number, `$Latest` or `$Default`. By its id
    /// where there is one, for a name can be given to another template.
    ///
    /// IAM: `ec2:DescribeLaunchTemplateVersions`.
    pub async fn describe_launch_template_version(
        &self,
        id: Option<&str>,
        name: Option<&str>,
        version: &str,
    ) -> Result<Option<LaunchTemplateVersion>, CallError> {
        self.client
            .observed("DescribeLaunchTemplateVersions", async {
                let query = match (id, name) {
                    (Some(id), _) => read("DescribeLaunchTemplateVersions")
                        .about(format!("{id} version {version}"))
                        .with("LaunchTemplateId", id),
                    (None, name) => read("DescribeLaunchTemplateVersions")
                        .about(format!("{} version {version}", name.unwrap_or_default()))
                        .with_some("LaunchTemplateName", name),
                };
                let page: VersionsPage = query
                    .with("LaunchTemplateVersion.1", version)
                    .send(self.client)
                    .await?;
                Ok(page.launch_template_version_set.into_iter().next())
            })
            .await
    }
}
