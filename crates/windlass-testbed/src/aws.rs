//! moto as tests and the joiner see it: groups, instances, and any other call by its parameters.
//!
//! A client of its own, not the one under test: what checks Windlass must not share its mistakes.

use std::collections::BTreeMap;
use std::future::Future;

use anyhow::{Context as _, Result, bail};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use tokio::runtime::Handle;

use crate::aws::answers::{
    DescribeGroups, DescribeInstances, DescribeSubnets, DescribeTypes, parse,
};
use crate::http::{self, HttpClient};
use crate::proxy::Proxy;

mod answers;

/// The region of everything in the test bed.
pub const REGION: &str = "us-east-1";

/// An Ubuntu image for amd64 out of moto's catalogue.
const IMAGE: &str = "ami-1e749f67";

/// An Auto Scaling group to be made, with a launch template of the same name.
#[derive(Clone, Debug)]
pub struct Group {
    /// The name of the group and of its launch template.
    pub name: String,
    /// Fewest instances.
    pub min: u32,
    /// Most instances.
    pub max: u32,
    /// Instances at once.
    pub desired: u32,
    /// What `DescribeInstanceTypes` knows, such as `m5.large`.
    pub instance_type: String,
    /// One zone, such as `us-east-1a`: moto puts all instances into the first of several.
    pub zone: String,
    /// Tags of the group, not propagated to instances.
    pub tags: BTreeMap<String, String>,
}

impl Group {
    /// A group of `m5.large` in `us-east-1a`, with the sizes of [`Self::sizes`] all 0.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            min: 0,
            max: 0,
            desired: 0,
            instance_type: "m5.large".to_owned(),
            zone: format!("{REGION}a"),
            tags: BTreeMap::new(),
        }
    }

    /// Sets minimum, maximum and desired size.
    #[must_use]
    pub fn sizes(mut self, min: u32, max: u32, desired: u32) -> Self {
        (self.min, self.max, self.desired) = (min, max, desired);
        self
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Adds the two tags by which an autoscaler finds the groups of `cluster`.
    #[must_use]
    pub fn discovered_by(self, cluster: &str) -> Self {
        self.tag("k8s.io/cluster-autoscaler/enabled", "true")
            .tag(&format!("k8s.io/cluster-autoscaler/{cluster}"), "owned")
    }
}

/// What a group is at the moment.
#[derive(Clone, Debug)]
pub struct GroupState {
    /// The group's name.
    pub name: String,
    /// Fewest instances.
    pub min: u32,
    /// Most instances.
    pub max: u32,
    /// Instances wanted.
    pub desired: u32,
    /// The group's tags.
    pub tags: BTreeMap<String, String>,
    /// Instances there are, in moto's order.
    pub instances: Vec<Instance>,
}

impl GroupState {
    /// The ids of the instances, sorted.
    pub fn instance_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self
            .instances
            .iter()
            .map(|instance| instance.id.clone())
            .collect();
        ids.sort_unstable();
        ids
    }
}

/// An instance as its group lists it.
#[derive(Clone, Debug)]
pub struct Instance {
    /// `i-…`
    pub id: String,
    /// The instance type.
    pub instance_type: String,
    /// The availability zone.
    pub zone: String,
    /// `InService` and, in moto, hardly anything else.
    pub lifecycle_state: String,
}

/// What an instance type offers.
#[derive(Clone, Debug)]
pub(crate) struct InstanceType {
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u64,
    /// `amd64` or `arm64`.
    pub(crate) architecture: &'static str,
    pub(crate) gpus: u32,
}

/// Calls to moto.
#[derive(Clone, Debug)]
pub struct Aws {
    url: String,
    http: HttpClient,
    runtime: Handle,
}

impl Aws {
    pub(crate) fn new(url: &str, http: HttpClient, runtime: Handle) -> Self {
        Self {
            url: url.to_owned(),
            http,
            runtime,
        }
    }

    /// The same calls through a proxy before moto.
    #[must_use]
    pub fn through(&self, proxy: &Proxy) -> Self {
        Self {
            url: proxy.url().to_owned(),
            ..self.clone()
        }
    }

    fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Makes a launch template and a group of it; its instances are there on return.
    pub fn create_group(&self, group: &Group) -> Result<()> {
        self.run(async {
            let subnet = self.subnet_of(&group.zone).await?;
            let template = [
                ("LaunchTemplateName", group.name.as_str()),
                ("LaunchTemplateData.ImageId", IMAGE),
                ("LaunchTemplateData.InstanceType", &group.instance_type),
            ];
            self.call("ec2", "CreateLaunchTemplate", template).await?;
            let mut parameters: Vec<(String, String)> = [
                ("AutoScalingGroupName", group.name.as_str()),
                ("LaunchTemplate.LaunchTemplateName", &group.name),
                ("LaunchTemplate.Version", "$Latest"),
                ("MinSize", &group.min.to_string()),
                ("MaxSize", &group.max.to_string()),
                ("DesiredCapacity", &group.desired.to_string()),
                ("VPCZoneIdentifier", &subnet),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
            for (index, (key, value)) in group.tags.iter().enumerate() {
                let tag = |field: &str| format!("Tags.member.{}.{field}", index + 1);
                parameters.push((tag("Key"), key.clone()));
                parameters.push((tag("Value"), value.clone()));
                parameters.push((tag("PropagateAtLaunch"), "false".to_owned()));
                parameters.push((tag("ResourceId"), group.name.clone()));
                parameters.push((tag("ResourceType"), "auto-scaling-group".to_owned()));
            }
            self.call("autoscaling", "CreateAutoScalingGroup", parameters)
                .await?;
            Ok(())
        })
    }

    /// All groups.
    pub fn groups(&self) -> Result<Vec<GroupState>> {
        self.run(self.describe_groups())
    }

    /// One group.
    pub fn group(&self, name: &str) -> Result<GroupState> {
        self.groups()?
            .into_iter()
            .find(|group| group.name == name)
            .with_context(|| format!("there is no group `{name}`"))
    }

    /// Sets the desired capacity, as somebody at the console would.
    pub fn set_desired(&self, name: &str, desired: u32) -> Result<()> {
        let desired = desired.to_string();
        let parameters = [
            ("AutoScalingGroupName", name),
            ("DesiredCapacity", &desired),
        ];
        self.run(self.call("autoscaling", "SetDesiredCapacity", parameters))
            .map(drop)
    }

    /// Changes minimum and maximum.
    pub fn set_limits(&self, name: &str, min: u32, max: u32) -> Result<()> {
        let (min, max) = (min.to_string(), max.to_string());
        let parameters = [
            ("AutoScalingGroupName", name),
            ("MinSize", &min),
            ("MaxSize", &max),
        ];
        self.run(self.call("autoscaling", "UpdateAutoScalingGroup", parameters))
            .map(drop)
    }

    /// Removes a group with its instances.
    pub fn delete_group(&self, name: &str) -> Result<()> {
        let parameters = [("AutoScalingGroupName", name), ("ForceDelete", "true")];
        self.run(self.call("autoscaling", "DeleteAutoScalingGroup", parameters))
            .map(drop)
    }

    /// Ends an instance behind the group's back, as a spot interruption does; the group replaces
    /// it at once.
    pub fn interrupt(&self, instance: &str) -> Result<()> {
        self.run(self.call("ec2", "TerminateInstances", [("InstanceId.1", instance)]))
            .map(drop)
    }

    /// `running`, `terminated`, … as EC2 lists it.
    pub fn instance_state(&self, instance: &str) -> Result<String> {
        self.run(async {
            let described = self.describe_instances(&[instance.to_owned()]).await?;
            let state = described
                .into_values()
                .next()
                .map(|described| described.state);
            state.with_context(|| format!("there is no instance `{instance}`"))
        })
    }

    /// Any call of the query protocol (Auto Scaling, EC2, IAM, STS): the answer's XML.
    pub fn query(
        &self,
        service: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<String> {
        self.run(self.call(service, action, parameters.iter().copied()))
    }

    /// Forgets everything.
    pub fn reset(&self) -> Result<()> {
        let request = Request::post(format!("{}/moto-api/reset", self.url))
            .body(Full::default())
            .context("build a request")?;
        let (status, _) = self.run(http::exchange(&self.http, request))?;
        if !status.is_success() {
            bail!("moto does not reset: {status}");
        }
        Ok(())
    }

    pub(crate) async fn describe_groups(&self) -> Result<Vec<GroupState>> {
        let mut groups = Vec::new();
        let mut token = String::new();
        loop {
            let mut parameters = vec![("MaxRecords", "100")];
            if !token.is_empty() {
                parameters.push(("NextToken", &token));
            }
            let xml = self
                .call("autoscaling", "DescribeAutoScalingGroups", parameters)
                .await?;
            let (page, next) = parse::<DescribeGroups>(&xml)?.into_parts();
            groups.extend(page);
            let Some(next) = next else {
                return Ok(groups);
            };
            token = next;
        }
    }

    pub(crate) async fn describe_instances(
        &self,
        ids: &[String],
    ) -> Result<BTreeMap<String, DescribedInstance>> {
        let parameters = ids
            .iter()
            .enumerate()
            .map(|(index, id)| (format!("InstanceId.{}", index + 1), id.clone()));
        let xml = self.call("ec2", "DescribeInstances", parameters).await?;
        Ok(parse::<DescribeInstances>(&xml)?.into_instances())
    }

    pub(crate) async fn instance_type(&self, name: &str) -> Result<InstanceType> {
        let xml = self
            .call("ec2", "DescribeInstanceTypes", [("InstanceType.1", name)])
            .await?;
        parse::<DescribeTypes>(&xml)?
            .into_type()
            .with_context(|| format!("moto does not know instance type `{name}`"))
    }

    /// moto reads its tables of images and instance types at the first call that needs them, which
    /// takes seconds: not to be paid by whatever a test measures.
    pub(crate) async fn warm_up(&self) -> Result<()> {
        self.subnet_of(&format!("{REGION}a")).await?;
        self.instance_type("m5.large").await.map(drop)
    }

    async fn subnet_of(&self, zone: &str) -> Result<String> {
        let filter = [
            ("Filter.1.Name", "availability-zone"),
            ("Filter.1.Value.1", zone),
        ];
        let xml = self.call("ec2", "DescribeSubnets", filter).await?;
        parse::<DescribeSubnets>(&xml)?
            .into_first()
            .with_context(|| format!("there is no subnet in zone `{zone}`"))
    }

    async fn call<K: AsRef<str>, V: AsRef<str>>(
        &self,
        service: &str,
        action: &str,
        parameters: impl IntoIterator<Item = (K, V)>,
    ) -> Result<String> {
        let version = match service {
            "autoscaling" => "2011-01-01",
            "ec2" => "2016-11-15",
            "iam" => "2010-05-08",
            "sts" => "2011-06-15",
            other => bail!("`{other}` does not speak the query protocol here"),
        };
        let mut form = format!("Action={action}&Version={version}");
        for (name, value) in parameters {
            form += "&";
            form += &percent_encode(name.as_ref());
            form += "=";
            form += &percent_encode(value.as_ref());
        }
        // moto reads service and region from the credential's scope and verifies no signature.
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=testbed/20260101/{REGION}/{service}/aws4_request, \
             SignedHeaders=host, Signature=0"
        );
        let request = Request::post(format!("{}/", self.url))
            .header("authorization", authorization)
            .header(
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8",
            )
            .body(Full::new(Bytes::from(form)))
            .context("build a request")?;
        let (status, body) = http::exchange(&self.http, request).await?;
        let text = String::from_utf8_lossy(&body).into_owned();
        if !status.is_success() {
            bail!("{action}: {status}: {text}");
        }
        Ok(text)
    }
}

/// What EC2 says of an instance.
#[derive(Clone, Debug)]
pub(crate) struct DescribedInstance {
    pub(crate) private_dns_name: String,
    pub(crate) private_ip: String,
    pub(crate) state: String,
}

/// See [`crate::Testbed::aws_environment`].
pub(crate) fn environment(endpoint: &str) -> Vec<(String, String)> {
    [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", "testbed"),
        ("AWS_SECRET_ACCESS_KEY", "testbed"),
        ("AWS_REGION", REGION),
        // Without it an SDK that finds no credentials reaches for the instance's metadata.
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into()
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(char::from(HEX[usize::from(byte >> 4)]));
            encoded.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    encoded
}
