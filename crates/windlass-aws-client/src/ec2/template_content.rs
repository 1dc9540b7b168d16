//! All that a launch template says, so that it can be written, read again and compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Ec2, VERSION, read};
use crate::Service;
use crate::error::{CallError, ErrorClass};
use crate::query::{Query, filled, items};
use crate::retry::Repeat;

/// The content of a launch template as Windlass makes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"), default)]
pub struct LaunchTemplateContent {
    /// Id of the machine image.
    #[serde(deserialize_with = "filled")]
    pub image_id: Option<String>,
    /// Instance type; none where a mixed instances policy names them.
    #[serde(deserialize_with = "filled")]
    pub instance_type: Option<String>,
    /// Name of the instance profile.
    #[serde(
        rename(deserialize = "iamInstanceProfile"),
        deserialize_with = "profile_name"
    )]
    pub instance_profile: Option<String>,
    /// Security groups.
    #[serde(rename(deserialize = "securityGroupIdSet"), deserialize_with = "items")]
    pub security_groups: Vec<String>,
    /// User data in base64.
    #[serde(deserialize_with = "filled")]
    pub user_data: Option<String>,
    /// Volumes.
    #[serde(
        rename(deserialize = "blockDeviceMappingSet"),
        deserialize_with = "items"
    )]
    pub volumes: Vec<TemplateVolume>,
    /// How the metadata service answers.
    pub metadata_options: MetadataOptions,
    /// What becomes of an instance that shuts itself down: `stop` or `terminate`.
    #[serde(
        rename(deserialize = "instanceInitiatedShutdownBehavior"),
        deserialize_with = "filled"
    )]
    pub shutdown_behavior: Option<String>,
    /// Name of the key for logging in, if any.
    #[serde(deserialize_with = "filled")]
    pub key_name: Option<String>,
    /// Tags of what is launched, by type of resource.
    #[serde(
        rename(deserialize = "tagSpecificationSet"),
        deserialize_with = "tag_specifications"
    )]
    pub tags: BTreeMap<String, BTreeMap<String, String>>,
}

/// A volume of a launch template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"), default)]
pub struct TemplateVolume {
    /// Device name, such as `/dev/xvda`.
    #[serde(rename(deserialize = "deviceName"))]
    pub device: String,
    /// The volume.
    pub ebs: TemplateEbs,
}

/// An EBS volume of a launch template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"), default)]
pub struct TemplateEbs {
    /// Size in GiB.
    #[serde(rename(deserialize = "volumeSize"))]
    pub size_gib: Option<u32>,
    /// Type, such as `gp3`.
    #[serde(rename(deserialize = "volumeType"), deserialize_with = "filled")]
    pub kind: Option<String>,
    /// Operations a second.
    pub iops: Option<u32>,
    /// MiB a second.
    pub throughput: Option<u32>,
    /// Whether it is encrypted.
    #[serde(deserialize_with = "flag")]
    pub encrypted: bool,
    /// Key that encrypts it.
    #[serde(rename(deserialize = "kmsKeyId"), deserialize_with = "filled")]
    pub kms_key: Option<String>,
    /// Whether it goes with its instance.
    #[serde(deserialize_with = "flag")]
    pub delete_on_termination: bool,
}

/// How the metadata service answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"), default)]
pub struct MetadataOptions {
    /// `required`: version 2 alone.
    #[serde(deserialize_with = "filled")]
    pub http_tokens: Option<String>,
    /// Hops that an answer may take.
    #[serde(rename(deserialize = "httpPutResponseHopLimit"))]
    pub hop_limit: Option<u32>,
    /// `enabled` or `disabled`.
    #[serde(deserialize_with = "filled")]
    pub http_endpoint: Option<String>,
    /// Whether it gives the instance's tags: `enabled` or `disabled`.
    #[serde(deserialize_with = "filled")]
    pub instance_metadata_tags: Option<String>,
}

/// A launch template, without what its versions say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LaunchTemplate {
    /// Its id.
    #[serde(rename = "launchTemplateId")]
    pub id: String,
    /// Its name.
    #[serde(rename = "launchTemplateName")]
    pub name: String,
    /// Number of its newest version.
    pub latest_version_number: u64,
    /// Its tags.
    #[serde(rename = "tagSet", deserialize_with = "tag_map")]
    pub tags: BTreeMap<String, String>,
}

fn profile_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Profile {
        name: String,
        arn: String,
    }
    let Profile { name, arn } = Profile::deserialize(deserializer)?;
    let last = arn.rsplit('/').next().unwrap_or_default();
    let name = if name.is_empty() { last } else { &name };
    Ok(Some(name.to_owned()).filter(|name| !name.is_empty()))
}

/// `true` in any spelling: moto's is Python's.
fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(String::deserialize(deserializer)?.eq_ignore_ascii_case("true"))
}

#[derive(Deserialize)]
struct XmlTag {
    key: String,
    #[serde(default)]
    value: String,
}

pub(crate) fn tag_map<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let tags: Vec<XmlTag> = items(deserializer)?;
    Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

fn tag_specifications<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, BTreeMap<String, String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Specification {
        resource_type: String,
        #[serde(rename = "tagSet", default, deserialize_with = "tag_map")]
        tags: BTreeMap<String, String>,
    }
    let specifications: Vec<Specification> = items(deserializer)?;
    // Among what is launched there is no template; moto repeats the template's own tags here.
    Ok(specifications
        .into_iter()
        .filter(|specification| specification.resource_type != "launch-template")
        .map(|specification| (specification.resource_type, specification.tags))
        .collect())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContentPage {
    #[serde(default, deserialize_with = "items")]
    launch_template_version_set: Vec<ContentVersion>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContentVersion {
    launch_template_data: LaunchTemplateContent,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TemplatesPage {
    #[serde(default, deserialize_with = "items")]
    launch_templates: Vec<LaunchTemplate>,
    #[serde(default, deserialize_with = "filled")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    launch_template: LaunchTemplate,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreatedVersion {
    launch_template_version: VersionNumber,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionNumber {
    version_number: u64,
}

#[derive(Deserialize)]
struct Deleted {}

impl LaunchTemplateContent {
    /// The parameters of a request.
    fn to_form(&self) -> Vec<(String, String)> {
        let Self {
            image_id,
            instance_type,
            instance_profile,
            security_groups,
            user_data,
            volumes,
            metadata_options,
            shutdown_behavior,
            key_name,
            tags,
        } = self;
        let mut form = Form::default();
        form.some("ImageId", image_id.as_ref());
        form.some("InstanceType", instance_type.as_ref());
        form.some("IamInstanceProfile.Name", instance_profile.as_ref());
        for (number, group) in (1..).zip(security_groups) {
            form.add(&format!("SecurityGroupId.{number}"), group);
        }
        form.some("UserData", user_data.as_ref());
        for (number, volume) in (1..).zip(volumes) {
            let prefix = format!("BlockDeviceMapping.{number}");
            form.add(&format!("{prefix}.DeviceName"), &volume.device);
            let TemplateEbs {
                size_gib,
                kind,
                iops,
                throughput,
                encrypted,
                kms_key,
                delete_on_termination,
            } = &volume.ebs;
            form.some(&format!("{prefix}.Ebs.VolumeSize"), size_gib.as_ref());
            form.some(&format!("{prefix}.Ebs.VolumeType"), kind.as_ref());
            form.some(&format!("{prefix}.Ebs.Iops"), iops.as_ref());
            form.some(&format!("{prefix}.Ebs.Throughput"), throughput.as_ref());
            form.add(&format!("{prefix}.Ebs.Encrypted"), encrypted);
            form.some(&format!("{prefix}.Ebs.KmsKeyId"), kms_key.as_ref());
            let delete = format!("{prefix}.Ebs.DeleteOnTermination");
            form.add(&delete, delete_on_termination);
        }
        let MetadataOptions {
            http_tokens,
            hop_limit,
            http_endpoint,
            instance_metadata_tags,
        } = metadata_options;
        form.some("MetadataOptions.HttpTokens", http_tokens.as_ref());
        form.some(
            "MetadataOptions.HttpPutResponseHopLimit",
            hop_limit.as_ref(),
        );
        form.some("MetadataOptions.HttpEndpoint", http_endpoint.as_ref());
        form.some(
            "MetadataOptions.InstanceMetadataTags",
            instance_metadata_tags.as_ref(),
        );
        form.some(
            "InstanceInitiatedShutdownBehavior",
            shutdown_behavior.as_ref(),
        );
        form.some("KeyName", key_name.as_ref());
        for (number, (resource, tags)) in (1..).zip(tags) {
            let prefix = format!("TagSpecification.{number}");
            form.add(&format!("{prefix}.ResourceType"), resource);
            for (number, (key, value)) in (1..).zip(tags) {
                form.add(&format!("{prefix}.Tag.{number}.Key"), key);
                form.add(&format!("{prefix}.Tag.{number}.Value"), value);
            }
        }
        form.0
    }
}

#[derive(Default)]
struct Form(Vec<(String, String)>);

impl Form {
    fn add(&mut self, name: &str, value: &impl ToString) {
        self.0
            .push((format!("LaunchTemplateData.{name}"), value.to_string()));
    }

    fn some(&mut self, name: &str, value: Option<&impl ToString>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }
}

fn with_content(mut query: Query, content: &LaunchTemplateContent) -> Query {
    for (name, value) in content.to_form() {
        query = query.with(name, value);
    }
    query
}

impl Ec2<'_> {
    /// A launch template by its name.
    ///
    /// IAM: `ec2:DescribeLaunchTemplates`.
    pub async fn launch_template(&self, name: &str) -> Result<Option<LaunchTemplate>, CallError> {
        let answer = self
            .client
            .observed("DescribeLaunchTemplates", async {
                let page: TemplatesPage = read("DescribeLaunchTemplates")
                    .about(name)
                    .with("LaunchTemplateName.1", name)
                    .send(self.client)
                    .await?;
                Ok(page.launch_templates.into_iter().next())
            })
            .await;
        none_if_not_found(answer)
    }

    /// The launch templates that carry this tag.
    ///
    /// IAM: `ec2:DescribeLaunchTemplates`.
    pub async fn launch_templates_by_tag(
        &self,
        key: &str,
        value: &str,
    ) -> Result<Vec<LaunchTemplate>, CallError> {
        self.client
            .observed("DescribeLaunchTemplates", async {
                let mut found = Vec::new();
                let mut token: Option<String> = None;
                loop {
                    let page: TemplatesPage = read("DescribeLaunchTemplates")
                        .about(value)
                        .with("Filter.1.Name", format!("tag:{key}"))
                        .with("Filter.1.Value.1", value)
                        .with_some("NextToken", token.as_ref())
                        .send(self.client)
                        .await?;
                    found.extend(page.launch_templates);
                    token = page.next_token;
                    if token.is_none() {
                        return Ok(found);
                    }
                }
            })
            .await
    }

    /// All that a version of a launch template says: a number, `$Latest` or `$Default`.
    ///
    /// IAM: `ec2:DescribeLaunchTemplateVersions`.
    pub async fn launch_template_content(
        &self,
        name: &str,
        version: &str,
    ) -> Result<Option<LaunchTemplateContent>, CallError> {
        let answer = self
            .client
            .observed("DescribeLaunchTemplateVersions", async {
                let page: ContentPage = read("DescribeLaunchTemplateVersions")
                    .about(format!("{name} version {version}"))
                    .with("LaunchTemplateName", name)
                    .with("LaunchTemplateVersion.1", version)
                    .send(self.client)
                    .await?;
                Ok(page
                    .launch_template_version_set
                    .into_iter()
                    .next()
                    .map(|version| version.launch_template_data))
            })
            .await;
        none_if_not_found(answer)
    }

    /// Creates a launch template with a first version.
    ///
    /// IAM: `ec2:CreateLaunchTemplate`, and `ec2:CreateTags` for its tags.
    pub async fn create_launch_template(
        &self,
        name: &str,
        content: &LaunchTemplateContent,
        tags: &BTreeMap<String, String>,
    ) -> Result<LaunchTemplate, CallError> {
        let mut query = with_content(write("CreateLaunchTemplate", name), content)
            .with("LaunchTemplateName", name);
        if !tags.is_empty() {
            query = query.with("TagSpecification.1.ResourceType", "launch-template");
        }
        for (number, (key, value)) in (1..).zip(tags) {
            query = query
                .with(format!("TagSpecification.1.Tag.{number}.Key"), key)
                .with(format!("TagSpecification.1.Tag.{number}.Value"), value);
        }
        self.client
            .observed("CreateLaunchTemplate", async {
                let created: Created = query.send(self.client).await?;
                Ok(created.launch_template)
            })
            .await
    }

    /// Creates another version of a launch template, and gives its number.
    ///
    /// IAM: `ec2:CreateLaunchTemplateVersion`.
    pub async fn create_launch_template_version(
        &self,
        name: &str,
        content: &LaunchTemplateContent,
    ) -> Result<u64, CallError> {
        let query = with_content(write("CreateLaunchTemplateVersion", name), content)
            .with("LaunchTemplateName", name);
        self.client
            .observed("CreateLaunchTemplateVersion", async {
                let created: CreatedVersion = query.send(self.client).await?;
                Ok(created.launch_template_version.version_number)
            })
            .await
    }

    /// Deletes a launch template with all its versions; says whether there was one.
    ///
    /// IAM: `ec2:DeleteLaunchTemplate`.
    pub async fn delete_launch_template(&self, name: &str) -> Result<bool, CallError> {
        let answer = self
            .client
            .observed("DeleteLaunchTemplate", async {
                let _: Deleted = write("DeleteLaunchTemplate", name)
                    .with("LaunchTemplateName", name)
                    .send(self.client)
                    .await?;
                Ok(())
            })
            .await;
        match answer {
            Ok(()) => Ok(true),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets tags of a resource by its id.
    ///
    /// IAM: `ec2:CreateTags`.
    pub async fn create_tags(
        &self,
        id: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), CallError> {
        let mut query = Query::write(Service::Ec2, VERSION, "CreateTags", Repeat::Safe)
            .about(id)
            .with("ResourceId.1", id);
        for (number, (key, value)) in (1..).zip(tags) {
            query = query
                .with(format!("Tag.{number}.Key"), key)
                .with(format!("Tag.{number}.Value"), value);
        }
        self.client
            .observed("CreateTags", async {
                let _: Deleted = query.send(self.client).await?;
                Ok(())
            })
            .await
    }
}

fn write(action: &'static str, about: &str) -> Query {
    Query::write(Service::Ec2, VERSION, action, Repeat::OnlyIfRefused).about(about)
}

fn none_if_not_found<T>(answer: Result<Option<T>, CallError>) -> Result<Option<T>, CallError> {
    match answer {
        Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
        answer => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_with_all_its_parts() {
        let xml = "<DescribeLaunchTemplateVersionsResponse><launchTemplateVersionSet><item>\
            <launchTemplateData><imageId>ami-1</imageId><instanceType>m7i.large</instanceType>\
            <iamInstanceProfile><arn>arn:aws:iam::1:instance-profile/p</arn></iamInstanceProfile>\
            <securityGroupIdSet><item>sg-1</item></securityGroupIdSet>\
            <blockDeviceMappingSet><item><deviceName>/dev/xvda</deviceName><ebs>\
            <volumeSize>40</volumeSize><volumeType>gp3</volumeType><encrypted>true</encrypted>\
            </ebs></item></blockDeviceMappingSet>\
            <metadataOptions><httpTokens>required</httpTokens>\
            <httpPutResponseHopLimit>1</httpPutResponseHopLimit></metadataOptions>\
            <tagSpecificationSet><item><resourceType>instance</resourceType><tagSet><item>\
            <key>a</key><value>b</value></item></tagSet></item></tagSpecificationSet>\
            </launchTemplateData></item></launchTemplateVersionSet>\
            </DescribeLaunchTemplateVersionsResponse>";
        let mut page: ContentPage = quick_xml::de::from_str(xml).unwrap();
        let content = page
            .launch_template_version_set
            .remove(0)
            .launch_template_data;
        assert_eq!(content.instance_profile.as_deref(), Some("p"));
        assert_eq!(content.security_groups, ["sg-1"]);
        assert!(content.volumes[0].ebs.encrypted);
        assert!(!content.volumes[0].ebs.delete_on_termination);
        assert_eq!(content.metadata_options.hop_limit, Some(1));
        assert_eq!(content.tags["instance"]["a"], "b");
    }
}
