//! EC2, API version 2016-11-15: what a group's new instances would be like.

mod images;
mod instance_types;
mod instances;
mod launch_templates;
mod requirements;
mod security_groups;
mod template_content;

use serde::Deserialize;

use crate::call::Client;
use crate::endpoint::Service;
use crate::error::CallError;
use crate::query::{Query, filled, items};

pub use images::{ImageState, NewInstance};
pub use instance_types::{
    Accelerator, EbsInfo, GpuInfo, InstanceTypeInfo, MemoryInfo, NetworkCard, NetworkInfo,
    ProcessorInfo, VCpuInfo,
};
pub use instances::Instance;
pub use launch_templates::{BlockDevice, EbsVolume, LaunchTemplateData, LaunchTemplateVersion};
pub use requirements::{InstanceRequirements, Range};
pub use security_groups::{IngressRule, RuleSource, SecurityGroup};
pub use template_content::{
    LaunchTemplate, LaunchTemplateContent, MetadataOptions, TemplateEbs, TemplateVolume,
};

const VERSION: &str = "2016-11-15";

/// The service's calls.
#[derive(Clone, Copy, Debug)]
pub struct Ec2<'a> {
    client: &'a Client,
}

impl Client {
    /// EC2.
    pub fn ec2(&self) -> Ec2<'_> {
        Ec2 { client: self }
    }
}

/// A machine image.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    /// Its id.
    #[serde(rename = "imageId")]
    pub id: String,
    /// Its name.
    pub name: String,
    /// `x86_64`, `arm64`, …
    pub architecture: String,
    /// `hvm` or `paravirtual`.
    pub virtualization_type: String,
    /// `windows`, or nothing.
    #[serde(deserialize_with = "filled")]
    pub platform: Option<String>,
    /// The device of its root volume.
    #[serde(deserialize_with = "filled")]
    pub root_device_name: Option<String>,
    /// Its volumes.
    #[serde(rename = "blockDeviceMapping", deserialize_with = "items")]
    pub block_devices: Vec<BlockDevice>,
}

/// A past spot price.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpotPrice {
    /// Instance type.
    pub instance_type: String,
    /// Zone.
    pub availability_zone: String,
    /// US dollars an hour, as decimal text.
    pub spot_price: String,
    /// Since when.
    pub timestamp: jiff::Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ImagesPage {
    #[serde(default, deserialize_with = "items")]
    images_set: Vec<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SpotPricesPage {
    #[serde(default, deserialize_with = "items")]
    spot_price_history_set: Vec<SpotPrice>,
    #[serde(default, deserialize_with = "filled")]
    next_token: Option<String>,
}

impl Ec2<'_> {
    /// An image by its id; none if AWS answers with an empty list.
    ///
    /// IAM: `ec2:DescribeImages`.
    pub async fn describe_image(&self, id: &str) -> Result<Option<Image>, CallError> {
        self.client
            .observed("DescribeImages", async {
                let page: ImagesPage = read("DescribeImages")
                    .about(id)
                    .with("ImageId.1", id)
                    .send(self.client)
                    .await?;
                Ok(page.images_set.into_iter().next())
            })
            .await
    }

    /// Spot prices of Linux instances of these types, since `since`, newest first for each type
    /// and zone.
    ///
    /// IAM: `ec2:DescribeSpotPriceHistory`.
    pub async fn describe_spot_price_history(
        &self,
        instance_types: &[String],
        since: jiff::Timestamp,
    ) -> Result<Vec<SpotPrice>, CallError> {
        self.client
            .observed("DescribeSpotPriceHistory", async {
                let mut prices = Vec::new();
                let mut token: Option<String> = None;
                loop {
                    let page: SpotPricesPage = read("DescribeSpotPriceHistory")
                        .with_list("InstanceType", instance_types)
                        .with("ProductDescription.1", "Linux/UNIX")
                        .with("StartTime", since)
                        .with_some("NextToken", token.as_ref())
                        .send(self.client)
                        .await?;
                    prices.extend(page.spot_price_history_set);
                    token = page.next_token;
                    if token.is_none() {
                        return Ok(prices);
                    }
                }
            })
            .await
    }
}

fn read(action: &'static str) -> Query {
    Query::read(Service::Ec2, VERSION, action)
}
