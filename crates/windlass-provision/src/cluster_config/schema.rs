//! The fields of the file.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::join::{CommandConfig, LocalDisks};

use super::ami::Ami;
use super::security_group::NodeSecurityGroup;
use super::values::{GoDuration, NodeTaint, Percent, VolumeSize};

/// What a cluster is, as far as its nodes and their autoscaler are concerned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Spec {
    /// Name of the cluster: in tags, names of resources and of parameters.
    pub cluster: String,
    /// AWS region, such as `us-west-2`.
    pub region: String,
    /// `host:port` of the API server as nodes reach it.
    pub endpoint: String,
    /// Kubernetes version of the control plane, such as `v1.36.3`.
    pub kubernetes: String,
    /// Subnets of the groups that name none of their own.
    #[serde(default)]
    pub subnets: Vec<String>,
    /// Security groups of the nodes that are there already.
    #[serde(default)]
    pub security_groups: Vec<String>,
    /// One more, which `windlass provision` makes.
    #[serde(default)]
    pub node_security_group: Option<NodeSecurityGroup>,
    /// Who gives nodes their cloud's properties.
    #[serde(default)]
    pub cloud_provider: CloudProvider,
    /// Tags of every AWS resource, besides those that Windlass sets.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// CA pins (`sha256:…`) that instances are launched with, besides those that are published.
    #[serde(default)]
    pub ca_pins: Vec<String>,
    /// How the pods of Windlass come by AWS credentials.
    #[serde(default)]
    pub credentials: Credentials,
    /// The join credential.
    #[serde(default)]
    pub token: Token,
    /// How instances join.
    #[serde(default)]
    pub join: Join,
    /// Who approves nodes' certificate requests.
    #[serde(default)]
    pub csr: Csr,
    /// What groups have that do not say otherwise.
    #[serde(default)]
    pub defaults: Defaults,
    /// The node groups.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// The autoscaler in the cluster.
    #[serde(default)]
    pub autoscaler: Autoscaler,
    /// What machine images are built from.
    #[serde(default)]
    pub ami: Option<Ami>,
    /// Serving what was built from the how-to of 2019.
    #[serde(default)]
    pub compat: Compat,
}

/// Who gives a node its cloud's properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CloudProvider {
    /// A cloud controller manager in the cluster.
    #[default]
    External,
    /// Nobody.
    None,
}

/// How pods come by AWS credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Credentials {
    /// Where they come from.
    pub source: CredentialsSource,
    /// Role that the autoscaler's service account is to assume, with `irsa`.
    pub autoscaler_role_arn: Option<String>,
}

/// Where a pod's AWS credentials come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialsSource {
    /// The instance profile of the node it runs on: the pod needs the host's network.
    #[default]
    InstanceProfile,
    /// The service account's token, exchanged at STS.
    Irsa,
    /// EKS Pod Identity.
    PodIdentity,
}

/// The join credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Token {
    /// Parameter that it is published in; `/windlass/<cluster>/join` if left out.
    pub parameter: Option<String>,
    /// Key that encrypts the parameter: id, alias or ARN. Without it the account's own key does.
    pub kms_key: Option<String>,
    /// Whether `windlass provision` makes that key, alias `<cluster>-windlass-join`.
    pub create_key: bool,
    /// Life of a token.
    pub ttl: GoDuration,
    /// Age at which it is renewed.
    pub renew_after: GoDuration,
    /// How much a renewal may slip.
    pub lateness: GoDuration,
    /// Longest time from a node's reading of the token to its own certificate.
    pub boot_budget: GoDuration,
    /// How several rotators agree on who acts.
    pub coordination: Coordination,
}

impl Default for Token {
    fn default() -> Self {
        Self {
            parameter: None,
            kms_key: None,
            create_key: false,
            ttl: GoDuration(Duration::from_hours(1)),
            renew_after: GoDuration(Duration::from_mins(30)),
            lateness: GoDuration(Duration::from_mins(10)),
            boot_budget: GoDuration(Duration::from_mins(15)),
            coordination: Coordination::Age,
        }
    }
}

/// How several rotators agree on who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coordination {
    /// Each looks at the parameter's age.
    Age,
    /// The holder of a lease acts.
    Lease,
}

/// How instances join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Join {
    /// Form of the user data.
    pub mode: JoinMode,
    /// Socket of the container runtime.
    pub cri_socket: String,
    /// What is done, without a hook, with an instance that did not join.
    pub on_failure: OnFailure,
    /// A hook that keeps a launch waiting until the instance has joined.
    pub lifecycle_hook: Option<LifecycleHook>,
    /// What is done with the instances' own disks; with mode `agent`.
    pub local_disks: LocalDisks,
    /// Commands before the join, in this order.
    pub pre_join: Vec<CommandConfig>,
    /// Commands after the join, in this order.
    pub post_join: Vec<CommandConfig>,
}

impl Default for Join {
    fn default() -> Self {
        Self {
            mode: JoinMode::Script,
            cri_socket: "unix:///run/containerd/containerd.sock".to_owned(),
            on_failure: OnFailure::Unhealthy,
            lifecycle_hook: None,
            local_disks: LocalDisks::None,
            pre_join: Vec::new(),
            post_join: Vec::new(),
        }
    }
}

/// Who approves nodes' certificate requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Csr {
    /// Whether `windlass csr-approver` does, which asks EC2 whose they are, instead of the
    /// controller manager, which asks nobody.
    pub verify: bool,
}

/// Form of the user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinMode {
    /// The image has Windlass, whose unit joins.
    #[serde(rename = "agent")]
    Agent,
    /// A script that reads the encrypted parameter and verifies the CA.
    #[serde(rename = "script")]
    Script,
    /// The how-to's, mended: reads the plain parameter of `compat.joinTokenParameter`.
    #[serde(rename = "legacy-2019")]
    Legacy2019,
}

/// What is done with an instance that did not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// Its group is told to replace it.
    Unhealthy,
    /// It stays, to be looked at.
    Keep,
}

/// A hook of the launch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LifecycleHook {
    /// Its name.
    #[serde(default = "hook_name")]
    pub name: String,
    /// How long it waits for the instance, which is abandoned then. At least `token.bootBudget`.
    #[serde(default = "hook_timeout")]
    pub timeout: GoDuration,
}

fn hook_name() -> String {
    "windlass-join".to_owned()
}

fn hook_timeout() -> GoDuration {
    GoDuration(Duration::from_mins(15))
}

/// What groups have that do not say otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Defaults {
    /// Machine image.
    pub image: Option<Image>,
    /// Instance type of groups without a list of types.
    pub instance_type: Option<String>,
    /// Root volume.
    pub root_volume: RootVolume,
    /// Hops that an answer of the metadata service may take. 1 keeps pods away from the node's
    /// role; 2 lets them have it.
    pub metadata_hop_limit: Option<u32>,
}

/// A machine image: by id, by a parameter that holds the id, or the newest that matches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Image {
    /// Its id.
    pub id: Option<String>,
    /// Name of a parameter that holds its id.
    pub parameter: Option<String>,
    /// Tags that it carries; the newest image that has them all is taken.
    pub tags: BTreeMap<String, String>,
    /// Account that owns it, or `self`, `amazon`; with `tags`.
    pub owner: Option<String>,
}

/// What an [`Image`] names, once it is known to name one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageReference<'a> {
    /// An id.
    Id(&'a str),
    /// A parameter that holds an id.
    Parameter(&'a str),
    /// The newest image with these tags.
    Newest {
        /// Tags that it carries.
        tags: &'a BTreeMap<String, String>,
        /// Who owns it.
        owner: &'a str,
    },
}

impl Image {
    /// What it names; none if it names nothing or several things.
    pub fn reference(&self) -> Option<ImageReference<'_>> {
        match (&self.id, &self.parameter, self.tags.is_empty()) {
            (Some(id), None, true) => Some(ImageReference::Id(id)),
            (None, Some(parameter), true) => Some(ImageReference::Parameter(parameter)),
            (None, None, false) => Some(ImageReference::Newest {
                tags: &self.tags,
                owner: self.owner.as_deref().unwrap_or("self"),
            }),
            _ => None,
        }
    }
}

/// A node's root volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RootVolume {
    /// Its size.
    pub size: VolumeSize,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Operations a second, for types that take a number.
    pub iops: Option<u32>,
    /// MiB a second, for `gp3`.
    pub throughput: Option<u32>,
    /// Key that encrypts it; the account's own for volumes if left out.
    pub kms_key: Option<String>,
    /// Device name of the image's root volume, where AWS does not tell it.
    pub device: String,
}

impl Default for RootVolume {
    fn default() -> Self {
        Self {
            size: VolumeSize { gib: 40 },
            kind: "gp3".to_owned(),
            iops: None,
            throughput: None,
            kms_key: None,
            device: "/dev/xvda".to_owned(),
        }
    }
}

/// A node group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Group {
    /// Its name; the Auto Scaling group is `<cluster>-<name>`.
    pub name: String,
    /// Name of its Auto Scaling group and launch template, where that is another: of a group that
    /// was imported.
    #[serde(default)]
    pub auto_scaling_group: Option<String>,
    /// Least instances.
    pub min: u32,
    /// Most instances.
    pub max: u32,
    /// Subnets, instead of the cluster's.
    #[serde(default)]
    pub subnets: Vec<String>,
    /// Whether there is one Auto Scaling group for each zone of the subnets,
    /// `<cluster>-<name>-<zone>`, each with these sizes.
    #[serde(default)]
    pub zonal: bool,
    /// Whether its instances are made of a launch configuration instead of a launch template: in
    /// accounts that still may have them.
    #[serde(default)]
    pub launch_configuration: bool,
    /// Instance type, instead of the default.
    #[serde(default)]
    pub instance_type: Option<String>,
    /// Several instance types, instead of one.
    #[serde(default)]
    pub instances: Option<Instances>,
    /// Machine image, instead of the default.
    #[serde(default)]
    pub image: Option<Image>,
    /// Root volume, instead of the default.
    #[serde(default)]
    pub root_volume: Option<RootVolume>,
    /// Labels of the nodes: they register with them, and the group's tags promise them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Taints of the nodes, likewise.
    #[serde(default)]
    pub taints: Vec<NodeTaint>,
    /// Resources that the nodes will have and the instance type does not tell, such as
    /// `example.com/fpga: "2"`.
    #[serde(default)]
    pub resources: BTreeMap<String, String>,
    /// Settings of the autoscaler for this group alone, such as `scaledownunneededtime: 5m`.
    #[serde(default)]
    pub autoscaling_options: BTreeMap<String, String>,
}

/// Several instance types for one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instances {
    /// The types, the preferred first. They should be alike: the autoscaler reckons with one.
    pub types: Vec<String>,
    /// Share of spot instances above `onDemandBase`.
    #[serde(default = "no_spot")]
    pub spot: Percent,
    /// Instances that are on demand in any case.
    #[serde(default)]
    pub on_demand_base: u32,
}

fn no_spot() -> Percent {
    Percent(0)
}

/// The autoscaler in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Autoscaler {
    /// Its image.
    pub image: String,
    /// Its namespace.
    pub namespace: String,
    /// How many replicas, of which one acts.
    pub replicas: u32,
    /// Memory of a replica: request and limit.
    pub memory: String,
    /// Flags of `windlass run` besides those that follow from this file.
    pub flags: Vec<String>,
    /// What Prometheus is told of.
    pub monitoring: Monitoring,
    /// Render a `NetworkPolicy`: names, AWS and the API server out, Prometheus in.
    pub network_policy: bool,
    /// Render a `VerticalPodAutoscaler`, whose definition the cluster must then have.
    pub vertical_pod_autoscaler: bool,
}

impl Default for Autoscaler {
    fn default() -> Self {
        Self {
            image: concat!("ghcr.io/windlass-dev/windlass:v", env!("CARGO_PKG_VERSION")).to_owned(),
            namespace: "kube-system".to_owned(),
            replicas: 2,
            memory: "256Mi".to_owned(),
            flags: Vec::new(),
            monitoring: Monitoring::default(),
            network_policy: false,
            vertical_pod_autoscaler: false,
        }
    }
}

/// Objects for the Prometheus operator, whose definitions the cluster must then have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Monitoring {
    /// Render a `ServiceMonitor`.
    pub service_monitor: bool,
    /// Render a `PrometheusRule` with the alerts.
    pub alerts: bool,
    /// Render a `ConfigMap` with the Grafana dashboard.
    pub dashboard: bool,
}

/// Serving what was built from the how-to of 2019.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Compat {
    /// Plain parameter that the bare token is also written to, such as `jointoken`.
    pub join_token_parameter: Option<String>,
}
