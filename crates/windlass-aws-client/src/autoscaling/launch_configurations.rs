//! All that a launch configuration says, so that it can be written, read again and compared.

use serde::{Deserialize, Deserializer, Serialize};

use super::provision::write;
use super::{AutoScaling, Envelope, read};
use crate::error::{CallError, ErrorClass};
use crate::query::{Query, filled, members};
use crate::retry::Repeat;

/// The content of a launch configuration as Windlass makes it. It cannot be changed, has no tags
/// and names no key for its volumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "PascalCase"), default)]
pub struct LaunchConfigurationContent {
    /// Its name, which is made of the rest.
    #[serde(rename(deserialize = "LaunchConfigurationName"), skip_serializing)]
    pub name: String,
    /// Id of the machine image.
    #[serde(deserialize_with = "filled")]
    pub image_id: Option<String>,
    /// Instance type.
    #[serde(deserialize_with = "filled")]
    pub instance_type: Option<String>,
    /// Name of the instance profile.
    #[serde(
        rename(deserialize = "IamInstanceProfile"),
        deserialize_with = "profile_name"
    )]
    pub instance_profile: Option<String>,
    /// Security groups.
    #[serde(deserialize_with = "members")]
    pub security_groups: Vec<String>,
    /// User data in base64.
    #[serde(deserialize_with = "filled")]
    pub user_data: Option<String>,
    /// Volumes.
    #[serde(
        rename(deserialize = "BlockDeviceMappings"),
        deserialize_with = "members"
    )]
    pub volumes: Vec<ConfiguredVolume>,
    /// How the metadata service answers.
    pub metadata_options: ConfiguredMetadata,
    /// Name of the key for logging in, if any.
    #[serde(deserialize_with = "filled")]
    pub key_name: Option<String>,
}

/// A volume of a launch configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "PascalCase"), default)]
pub struct ConfiguredVolume {
    /// Device name, such as `/dev/xvda`.
    #[serde(rename(deserialize = "DeviceName"))]
    pub device: String,
    /// The volume.
    pub ebs: ConfiguredEbs,
}

/// An EBS volume of a launch configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "PascalCase"), default)]
pub struct ConfiguredEbs {
    /// Size in GiB.
    #[serde(rename(deserialize = "VolumeSize"))]
    pub size_gib: Option<u32>,
    /// Type, such as `gp3`.
    #[serde(rename(deserialize = "VolumeType"), deserialize_with = "filled")]
    pub kind: Option<String>,
    /// Operations a second.
    pub iops: Option<u32>,
    /// MiB a second.
    pub throughput: Option<u32>,
    /// Whether it is encrypted.
    #[serde(deserialize_with = "flag")]
    pub encrypted: bool,
    /// Whether it goes with its instance.
    #[serde(deserialize_with = "flag")]
    pub delete_on_termination: bool,
}

/// How the metadata service of a launch configuration's instances answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "PascalCase"), default)]
pub struct ConfiguredMetadata {
    /// `required`: version 2 alone.
    #[serde(deserialize_with = "filled")]
    pub http_tokens: Option<String>,
    /// Hops that an answer may take.
    #[serde(rename(deserialize = "HttpPutResponseHopLimit"))]
    pub hop_limit: Option<u32>,
    /// `enabled` or `disabled`.
    #[serde(deserialize_with = "filled")]
    pub http_endpoint: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    #[serde(default, deserialize_with = "members")]
    launch_configurations: Vec<LaunchConfigurationContent>,
    #[serde(default, deserialize_with = "filled")]
    next_token: Option<String>,
}

/// A profile is named, or its ARN is.
fn profile_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let name = text.rsplit('/').next().unwrap_or_default().to_owned();
    Ok(Some(name).filter(|name| !name.is_empty()))
}

/// `true` in any spelling: moto's is Python's.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(String::deserialize(deserializer)?.eq_ignore_ascii_case("true"))
}

impl LaunchConfigurationContent {
    fn fill(&self, mut query: Query) -> Query {
        let Self {
            name,
            image_id,
            instance_type,
            instance_profile,
            security_groups,
            user_data,
            volumes,
            metadata_options,
            key_name,
        } = self;
        query = query
            .with("LaunchConfigurationName", name)
            .with_some("ImageId", image_id.as_ref())
            .with_some("InstanceType", instance_type.as_ref())
            .with_some("IamInstanceProfile", instance_profile.as_ref())
            .with_list("SecurityGroups.member", security_groups)
            .with_some("UserData", user_data.as_ref())
            .with_some("KeyName", key_name.as_ref())
            // AWS looks at them every minute, for money, unless it is told otherwise.
            .with("InstanceMonitoring.Enabled", false);
        for (number, volume) in (1..).zip(volumes) {
            let ConfiguredEbs {
                size_gib,
                kind,
                iops,
                throughput,
                encrypted,
                delete_on_termination,
            } = &volume.ebs;
            let prefix = format!("BlockDeviceMappings.member.{number}");
            let ebs = |field: &str| format!("{prefix}.Ebs.{field}");
            query = query
                .with(format!("{prefix}.DeviceName"), &volume.device)
                .with_some(&ebs("VolumeSize"), *size_gib)
                .with_some(&ebs("VolumeType"), kind.as_ref())
                .with_some(&ebs("Iops"), *iops)
                .with_some(&ebs("Throughput"), *throughput)
                .with(ebs("Encrypted"), encrypted)
                .with(ebs("DeleteOnTermination"), delete_on_termination);
        }
        let ConfiguredMetadata {
            http_tokens,
            hop_limit,
            http_endpoint,
        } = metadata_options;
        query
            .with_some("MetadataOptions.HttpTokens", http_tokens.as_ref())
            .with_some("MetadataOptions.HttpPutResponseHopLimit", *hop_limit)
            .with_some("MetadataOptions.HttpEndpoint", http_endpoint.as_ref())
    }
}

impl AutoScaling<'_> {
    /// The launch configurations of these names, or all of the account in the region where none is
    /// named. Unknown names are left out.
    ///
    /// IAM: `autoscaling:DescribeLaunchConfigurations`.
    pub async fn launch_configurations(
        &self,
        names: &[String],
    ) -> Result<Vec<LaunchConfigurationContent>, CallError> {
        self.client
            .observed("DescribeLaunchConfigurations", async {
                let mut found = Vec::new();
                let mut token: Option<String> = None;
                loop {
                    let page: Envelope<Page> = read("DescribeLaunchConfigurations")
                        .about("launch configurations")
                        .with_list("LaunchConfigurationNames.member", names)
                        .with("MaxRecords", 100)
                        .with_some("NextToken", token.as_ref())
                        .send(self.client)
                        .await?;
                    found.extend(page.result.launch_configurations);
                    token = page.result.next_token;
                    if token.is_none() {
                        return Ok(found);
                    }
                }
            })
            .await
    }

    /// Creates a launch configuration; says whether there was none of that name before.
    ///
    /// IAM: `autoscaling:CreateLaunchConfiguration`, and `iam:PassRole` on the instance profile's
    /// role.
    pub async fn create_launch_configuration(
        &self,
        content: &LaunchConfigurationContent,
    ) -> Result<bool, CallError> {
        let query = content.fill(write(
            "CreateLaunchConfiguration",
            &content.name,
            Repeat::OnlyIfRefused,
        ));
        match self.done("CreateLaunchConfiguration", query).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == Some("AlreadyExists") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes a launch configuration that no group has; that there is none is no error.
    ///
    /// IAM: `autoscaling:DeleteLaunchConfiguration`.
    pub async fn delete_launch_configuration(&self, name: &str) -> Result<(), CallError> {
        let query = write("DeleteLaunchConfiguration", name, Repeat::OnlyIfRefused)
            .with("LaunchConfigurationName", name);
        match self.done("DeleteLaunchConfiguration", query).await {
            Err(error) if is_gone(&error) => Ok(()),
            result => result,
        }
    }
}

/// Auto Scaling has no code of its own for what is not there.
fn is_gone(error: &CallError) -> bool {
    let text = error.message().unwrap_or_default();
    error.class() == ErrorClass::NotFound
        || error.class() == ErrorClass::Invalid && text.contains("not found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_with_all_its_parts() {
        let xml = "<DescribeLaunchConfigurationsResponse><DescribeLaunchConfigurationsResult>\
            <LaunchConfigurations><member><LaunchConfigurationName>web</LaunchConfigurationName>\
            <ImageId>ami-1</ImageId><InstanceType>m5.large</InstanceType>\
            <IamInstanceProfile>arn:aws:iam::1:instance-profile/p</IamInstanceProfile>\
            <SecurityGroups><member>sg-1</member></SecurityGroups><UserData>YQ==</UserData>\
            <KeyName/><SpotPrice/><BlockDeviceMappings><member><DeviceName>/dev/xvda</DeviceName>\
            <Ebs><VolumeSize>40</VolumeSize><VolumeType>gp3</VolumeType><Encrypted>true</Encrypted>\
            <DeleteOnTermination>True</DeleteOnTermination></Ebs></member></BlockDeviceMappings>\
            <MetadataOptions><HttpTokens>required</HttpTokens><HttpPutResponseHopLimit>1\
            </HttpPutResponseHopLimit></MetadataOptions></member></LaunchConfigurations>\
            </DescribeLaunchConfigurationsResult></DescribeLaunchConfigurationsResponse>";
        let page: Envelope<Page> = quick_xml::de::from_str(xml).unwrap();
        let [content] = &page.result.launch_configurations[..] else {
            panic!("{:?}", page.result.launch_configurations);
        };
        assert_eq!(content.name, "web");
        assert_eq!(content.instance_profile.as_deref(), Some("p"));
        assert_eq!(content.security_groups, ["sg-1"]);
        assert_eq!(content.key_name, None);
        assert!(content.volumes[0].ebs.encrypted && content.volumes[0].ebs.delete_on_termination);
        assert_eq!(content.volumes[0].ebs.size_gib, Some(40));
        assert_eq!(content.metadata_options.hop_limit, Some(1));
    }
}
