//! Building machine images: a temporary instance, and the image of its disk.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use super::template_content::tag_map;
use super::{Ec2, VERSION, read};
use crate::endpoint::Service;
use crate::error::{CallError, ErrorClass};
use crate::query::{Done, Query, filled, items};
use crate::retry::Repeat;

/// An instance to be launched for a while.
#[derive(Clone, Debug)]
pub struct NewInstance<'a> {
    /// The image that it starts from.
    pub image: &'a str,
    /// Its type.
    pub instance_type: &'a str,
    /// Its subnet.
    pub subnet: &'a str,
    /// Its security group.
    pub security_group: &'a str,
    /// Name of its instance profile.
    pub instance_profile: &'a str,
    /// Its user data, in base64.
    pub user_data: &'a str,
    /// Device of its root volume.
    pub device: &'a str,
    /// The volume: fields of `Ebs` by their names, such as `VolumeSize`.
    pub volume: BTreeMap<&'static str, String>,
    /// What makes a repetition of the call the same call.
    pub client_token: &'a str,
    /// Tags of instance and volume.
    pub tags: &'a BTreeMap<String, String>,
}

/// A machine image and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageState {
    /// Its id.
    #[serde(rename = "imageId")]
    pub id: String,
    /// Its name.
    pub name: String,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// `pending`, `available`, `failed`, …
    #[serde(rename = "imageState")]
    pub state: String,
    /// When it was made, as text that sorts by time.
    pub creation_date: String,
    /// From when on it is deprecated, as text; none if it never is.
    #[serde(deserialize_with = "filled")]
    pub deprecation_time: Option<String>,
    /// The device of its root volume.
    #[serde(deserialize_with = "filled")]
    pub root_device_name: Option<String>,
    /// Its tags.
    #[serde(rename = "tagSet", deserialize_with = "tag_map")]
    pub tags: BTreeMap<String, String>,
    #[serde(rename = "blockDeviceMapping", deserialize_with = "items")]
    volumes: Vec<Volume>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Volume {
    ebs: Option<Ebs>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Ebs {
    #[serde(deserialize_with = "filled")]
    snapshot_id: Option<String>,
}

impl ImageState {
    /// The snapshots of its volumes.
    pub fn snapshots(&self) -> impl Iterator<Item = &str> {
        self.volumes
            .iter()
            .filter_map(|volume| volume.ebs.as_ref()?.snapshot_id.as_deref())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImagesPage {
    #[serde(default, deserialize_with = "items")]
    images_set: Vec<ImageState>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Launched {
    #[serde(default, deserialize_with = "items")]
    instances_set: Vec<WithInstanceId>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithInstanceId {
    instance_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithImageId {
    image_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SnapshotsPage {
    #[serde(default, deserialize_with = "items")]
    snapshot_set: Vec<WithSnapshotId>,
    #[serde(default, deserialize_with = "filled")]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithSnapshotId {
    snapshot_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubnetsPage {
    #[serde(default, deserialize_with = "items")]
    subnet_set: Vec<Subnet>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subnet {
    #[serde(rename = "subnetId")]
    id: String,
    vpc_id: String,
    availability_zone: String,
}

#[derive(Deserialize)]
struct Console {
    #[serde(default, deserialize_with = "filled")]
    output: Option<String>,
}

impl Ec2<'_> {
    /// The VPC of a subnet; none if there is no such subnet.
    ///
    /// IAM: `ec2:DescribeSubnets`.
    pub async fn vpc_of_subnet(&self, subnet: &str) -> Result<Option<String>, CallError> {
        let query = read("DescribeSubnets")
            .about(subnet)
            .with("SubnetId.1", subnet);
        let answer = self
            .client
            .observed("DescribeSubnets", query.send::<SubnetsPage>(self.client))
            .await;
        match answer {
            Ok(page) => Ok(page.subnet_set.into_iter().next().map(|it| it.vpc_id)),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The zones of subnets, by their ids; one that is not there is left out.
    ///
    /// IAM: `ec2:DescribeSubnets`.
    pub async fn zones_of_subnets(
        &self,
        subnets: impl IntoIterator<Item = &str>,
    ) -> Result<BTreeMap<String, String>, CallError> {
        let query = read("DescribeSubnets")
            .about("the subnets of zonal groups")
            .with("Filter.1.Name", "subnet-id")
            .with_list("Filter.1.Value", subnets);
        let page = self
            .client
            .observed("DescribeSubnets", query.send::<SubnetsPage>(self.client))
            .await?;
        let subnets = page.subnet_set.into_iter();
        Ok(subnets
            .map(|subnet| (subnet.id, subnet.availability_zone))
            .collect())
    }

    /// The account's own snapshots that pass all these filters, such as `tag-key`.
    ///
    /// IAM: `ec2:DescribeSnapshots`.
    pub async fn own_snapshots(&self, filters: &[(&str, &str)]) -> Result<Vec<String>, CallError> {
        self.client
            .observed("DescribeSnapshots", async {
                let mut found = Vec::new();
                let mut token: Option<String> = None;
                loop {
                    let mut query = read("DescribeSnapshots")
                        .about("own snapshots")
                        .with("OwnerId.1", "self")
                        .with_some("NextToken", token.as_ref());
                    for (number, (name, value)) in (1..).zip(filters) {
                        query = query
                            .with(format!("Filter.{number}.Name"), *name)
                            .with(format!("Filter.{number}.Value.1"), *value);
                    }
                    let page: SnapshotsPage = query.send(self.client).await?;
                    found.extend(page.snapshot_set.into_iter().map(|it| it.snapshot_id));
                    token = page.next_token;
                    if token.is_none() {
                        return Ok(found);
                    }
                }
            })
            .await
    }

    /// Launches one instance that stops when it powers itself off, with version 2 alone of the
    /// metadata service and an encrypted volume that goes with it; gives its id.
    ///
    /// IAM: `ec2:RunInstances`, `ec2:CreateTags`, `iam:PassRole`; for an own key of the volume
    /// `kms:CreateGrant`, `kms:Decrypt`, `kms:DescribeKey`, `kms:GenerateDataKeyWithoutPlaintext`,
    /// `kms:ReEncryptFrom` and `kms:ReEncryptTo` through EC2.
    pub async fn run_instance(&self, new: &NewInstance<'_>) -> Result<String, CallError> {
        // The token makes a repetition after a lost answer harmless.
        let mut query = Query::write(Service::Ec2, VERSION, "RunInstances", Repeat::Safe)
            .about(new.instance_profile)
            .with("ImageId", new.image)
            .with("InstanceType", new.instance_type)
            .with("MinCount", 1)
            .with("MaxCount", 1)
            .with("SubnetId", new.subnet)
            .with("SecurityGroupId.1", new.security_group)
            .with("IamInstanceProfile.Name", new.instance_profile)
            .with("UserData", new.user_data)
            .with("ClientToken", new.client_token)
            .with("InstanceInitiatedShutdownBehavior", "stop")
            .with("MetadataOptions.HttpTokens", "required")
            .with("MetadataOptions.HttpPutResponseHopLimit", 1)
            .with("BlockDeviceMapping.1.DeviceName", new.device)
            .with("BlockDeviceMapping.1.Ebs.DeleteOnTermination", true)
            .with("BlockDeviceMapping.1.Ebs.Encrypted", true);
        for (name, value) in &new.volume {
            query = query.with(format!("BlockDeviceMapping.1.Ebs.{name}"), value);
        }
        let query = with_tags(query, &["instance", "volume"], new.tags);
        let launched: Launched = self
            .client
            .observed("RunInstances", query.send(self.client))
            .await?;
        let first = launched.instances_set.into_iter().next();
        Ok(first.map(|it| it.instance_id).unwrap_or_default())
    }

    /// Terminates an instance; that there is none is no error.
    ///
    /// IAM: `ec2:TerminateInstances`.
    pub async fn terminate_instance(&self, id: &str) -> Result<(), CallError> {
        self.gone("TerminateInstances", id, "InstanceId.1").await
    }

    /// The last 64 KiB or so of an instance's console; none where there is nothing yet.
    ///
    /// IAM: `ec2:GetConsoleOutput`.
    pub async fn console_output(&self, id: &str) -> Result<Option<String>, CallError> {
        let query = read("GetConsoleOutput").about(id).with("InstanceId", id);
        let console: Console = self
            .client
            .observed("GetConsoleOutput", query.send(self.client))
            .await?;
        let decoded = console
            .output
            .and_then(|text| BASE64_STANDARD.decode(text.trim()).ok());
        Ok(decoded.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The account's own images with this tag, with tags and state.
    ///
    /// IAM: `ec2:DescribeImages`.
    pub async fn own_images_by_tag(
        &self,
        key: &str,
        value: &str,
    ) -> Result<Vec<ImageState>, CallError> {
        let query = read("DescribeImages")
            .about(value)
            .with("Owner.1", "self")
            .with("Filter.1.Name", format!("tag:{key}"))
            .with("Filter.1.Value.1", value);
        let page: ImagesPage = self
            .client
            .observed("DescribeImages", query.send(self.client))
            .await?;
        Ok(page.images_set)
    }

    /// The images of an owner whose name matches a pattern.
    ///
    /// IAM: `ec2:DescribeImages`.
    pub async fn images_by_name(
        &self,
        owner: &str,
        name: &str,
    ) -> Result<Vec<ImageState>, CallError> {
        let query = read("DescribeImages")
            .about(name)
            .with("Owner.1", owner)
            .with("Filter.1.Name", "name")
            .with("Filter.1.Value.1", name);
        let page: ImagesPage = self
            .client
            .observed("DescribeImages", query.send(self.client))
            .await?;
        Ok(page.images_set)
    }

    /// The images of an owner (an account, `self`, `amazon`) that can be used and carry all these tags.
    ///
    /// IAM: `ec2:DescribeImages`.
    pub async fn images_by_tags(
        &self,
        owner: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Vec<ImageState>, CallError> {
        let mut query = read("DescribeImages")
            .about("images by their tags")
            .with("Owner.1", owner)
            .with("Filter.1.Name", "state")
            .with("Filter.1.Value.1", "available");
        for (number, (key, value)) in (2..).zip(tags) {
            query = query
                .with(format!("Filter.{number}.Name"), format!("tag:{key}"))
                .with(format!("Filter.{number}.Value.1"), value);
        }
        let page: ImagesPage = self
            .client
            .observed("DescribeImages", query.send(self.client))
            .await?;
        Ok(page.images_set)
    }

    /// An image by its id, and how far it is; none if there is none.
    ///
    /// IAM: `ec2:DescribeImages`.
    pub async fn image_state(&self, id: &str) -> Result<Option<ImageState>, CallError> {
        let query = read("DescribeImages").about(id).with("ImageId.1", id);
        let answer: Result<ImagesPage, CallError> = self
            .client
            .observed("DescribeImages", query.send(self.client))
            .await;
        match answer {
            Ok(page) => Ok(page.images_set.into_iter().next()),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes an image of a stopped instance, and gives its id.
    ///
    /// IAM: `ec2:CreateImage`, `ec2:CreateTags`.
    pub async fn create_image(
        &self,
        instance: &str,
        name: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<String, CallError> {
        let query = write("CreateImage", name)
            .with("InstanceId", instance)
            .with("Name", name);
        // Snapshots get theirs once the image names them.
        let query = with_tags(query, &["image"], tags);
        let created: WithImageId = self
            .client
            .observed("CreateImage", query.send(self.client))
            .await?;
        Ok(created.image_id)
    }

    /// Copies an image from another region to the client's, encrypted, and gives the copy's id.
    ///
    /// IAM: `ec2:CopyImage`; for own keys of either region what [`Self::run_instance`] needs for one.
    pub async fn copy_image(
        &self,
        image: &str,
        from: &str,
        name: &str,
        key: Option<&str>,
        client_token: &str,
    ) -> Result<String, CallError> {
        // The token makes a repetition after a lost answer harmless.
        let query = Query::write(Service::Ec2, VERSION, "CopyImage", Repeat::Safe)
            .about(image)
            .with("ClientToken", client_token)
            .with("SourceImageId", image)
            .with("SourceRegion", from)
            .with("Name", name)
            .with("Encrypted", true)
            .with_some("KmsKeyId", key);
        let copied: WithImageId = self
            .client
            .observed("CopyImage", query.send(self.client))
            .await?;
        Ok(copied.image_id)
    }

    /// Lets instances of an image have version 2 alone of the metadata service.
    ///
    /// IAM: `ec2:ModifyImageAttribute`.
    pub async fn require_metadata_tokens(&self, image: &str) -> Result<(), CallError> {
        let query = Query::write(Service::Ec2, VERSION, "ModifyImageAttribute", Repeat::Safe)
            .about(image)
            .with("ImageId", image)
            .with("ImdsSupport.Value", "v2.0");
        self.done("ModifyImageAttribute", query).await
    }

    /// Lets an image be deprecated from some time on, in RFC 3339 and to the minute; a time set before
    /// is replaced. Who does not own it then no longer finds it among others; launches by its id go on.
    ///
    /// IAM: `ec2:EnableImageDeprecation`.
    pub async fn deprecate_image(&self, image: &str, at: &str) -> Result<(), CallError> {
        let action = "EnableImageDeprecation";
        let query = Query::write(Service::Ec2, VERSION, action, Repeat::Safe)
            .about(image)
            .with("ImageId", image)
            .with("DeprecateAt", at);
        self.done(action, query).await
    }

    /// Lets accounts launch an image.
    ///
    /// IAM: `ec2:ModifyImageAttribute`.
    pub async fn share_image(&self, image: &str, accounts: &[String]) -> Result<(), CallError> {
        let mut query = Query::write(Service::Ec2, VERSION, "ModifyImageAttribute", Repeat::Safe)
            .about(image)
            .with("ImageId", image);
        for (number, account) in (1..).zip(accounts) {
            query = query.with(format!("LaunchPermission.Add.{number}.UserId"), account);
        }
        self.done("ModifyImageAttribute", query).await
    }

    /// Takes an image back; that there is none is no error. Its snapshots stay.
    ///
    /// IAM: `ec2:DeregisterImage`.
    pub async fn deregister_image(&self, id: &str) -> Result<(), CallError> {
        self.gone("DeregisterImage", id, "ImageId").await
    }

    /// Deletes a snapshot; that there is none is no error.
    ///
    /// IAM: `ec2:DeleteSnapshot`.
    pub async fn delete_snapshot(&self, id: &str) -> Result<(), CallError> {
        self.gone("DeleteSnapshot", id, "SnapshotId").await
    }

    async fn done(&self, action: &'static str, query: Query) -> Result<(), CallError> {
        let _: Done = self
            .client
            .observed(action, query.send(self.client))
            .await?;
        Ok(())
    }

    pub(super) async fn gone(
        &self,
        action: &'static str,
        id: &str,
        parameter: &str,
    ) -> Result<(), CallError> {
        let query = Query::write(Service::Ec2, VERSION, action, Repeat::Safe)
            .about(id)
            .with(parameter, id);
        match self.done(action, query).await {
            Err(error) if error.class() == ErrorClass::NotFound => Ok(()),
            result => result,
        }
    }
}

pub(super) fn write(action: &'static str, about: &str) -> Query {
    Query::write(Service::Ec2, VERSION, action, Repeat::OnlyIfRefused).about(about)
}

pub(super) fn with_tags(
    mut query: Query,
    kinds: &[&str],
    tags: &BTreeMap<String, String>,
) -> Query {
    for (number, kind) in (1..).zip(kinds) {
        let prefix = format!("TagSpecification.{number}");
        query = query.with(format!("{prefix}.ResourceType"), kind);
        for (tag, (key, value)) in (1..).zip(tags) {
            query = query
                .with(format!("{prefix}.Tag.{tag}.Key"), key)
                .with(format!("{prefix}.Tag.{tag}.Value"), value);
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_read_with_its_snapshots() {
        let xml = "<DescribeImagesResponse><imagesSet><item><imageId>ami-1</imageId>\
            <name>n</name><imageState>available</imageState><architecture>arm64</architecture>\
            <creationDate>2026-01-01T00:00:00.000Z</creationDate>\
            <deprecationTime>2026-04-01T00:00:00.000Z</deprecationTime><blockDeviceMapping><item>\
            <deviceName>/dev/xvda</deviceName><ebs><snapshotId>snap-1</snapshotId></ebs></item>\
            <item><deviceName>/dev/sdb</deviceName></item></blockDeviceMapping></item></imagesSet>\
            </DescribeImagesResponse>";
        let page: ImagesPage = quick_xml::de::from_str(xml).unwrap();
        let image = &page.images_set[0];
        assert_eq!(image.snapshots().collect::<Vec<_>>(), ["snap-1"]);
        let deprecated = image.deprecation_time.as_deref();
        assert_eq!(deprecated, Some("2026-04-01T00:00:00.000Z"));
        assert_eq!(
            (&*image.state, &*image.architecture),
            ("available", "arm64")
        );
    }
}
