//! EKS: what a managed node group promises of its nodes.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::call::Client;
use crate::endpoint::Service;
use crate::error::CallError;
use crate::json;

/// The service's calls.
#[derive(Clone, Copy, Debug)]
pub struct Eks<'a> {
    client: &'a Client,
}

impl Client {
    /// EKS.
    pub fn eks(&self) -> Eks<'_> {
        Eks { client: self }
    }
}

/// A managed node group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Nodegroup {
    /// Its name.
    pub nodegroup_name: String,
    /// `ACTIVE`, `UPDATING` and so on.
    pub status: Option<String>,
    /// `ON_DEMAND`, `SPOT` or `CAPACITY_BLOCK`.
    pub capacity_type: Option<String>,
    /// Image family, such as `AL2023_x86_64_STANDARD`.
    pub ami_type: Option<String>,
    /// Size of the root volume in GiB.
    pub disk_size: Option<u64>,
    /// Kubernetes version.
    pub version: Option<String>,
    /// Labels of its nodes.
    pub labels: Option<BTreeMap<String, String>>,
    /// Taints of its nodes.
    pub taints: Option<Vec<NodegroupTaint>>,
    /// AWS tags of the node group.
    pub tags: Option<BTreeMap<String, String>>,
    /// Instance types.
    pub instance_types: Option<Vec<String>>,
    /// What EKS finds wrong with it.
    pub health: Option<NodegroupHealth>,
}

/// A taint, in EKS's spelling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodegroupTaint {
    /// Key.
    pub key: Option<String>,
    /// Value; EKS allows taints without.
    pub value: Option<String>,
    /// `NO_SCHEDULE`, `NO_EXECUTE` or `PREFER_NO_SCHEDULE`.
    pub effect: Option<String>,
}

/// What EKS finds wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodegroupHealth {
    /// The issues.
    pub issues: Vec<NodegroupIssue>,
}

/// One issue of a node group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodegroupIssue {
    /// Code, such as `AsgInstanceLaunchFailures`.
    pub code: String,
    /// Text.
    pub message: String,
}

#[derive(Deserialize)]
struct Described {
    nodegroup: Nodegroup,
}

impl Eks<'_> {
    /// A managed node group.
    ///
    /// IAM: `eks:DescribeNodegroup`.
    pub async fn describe_nodegroup(
        &self,
        cluster: &str,
        nodegroup: &str,
    ) -> Result<Nodegroup, CallError> {
        self.client
            .observed("DescribeNodegroup", async {
                let described: Described = json::get(
                    self.client,
                    Service::Eks,
                    "DescribeNodegroup",
                    &format!("{cluster}/{nodegroup}"),
                    &["clusters", cluster, "node-groups", nodegroup],
                )
                .await?;
                Ok(described.nodegroup)
            })
            .await
    }
}
