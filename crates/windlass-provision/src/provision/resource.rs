//! The resources, as they should be and as they are: the same types for both.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;
use windlass_aws_client::autoscaling::LaunchConfigurationContent;
use windlass_aws_client::ec2::{IngressRule, LaunchTemplateContent};

/// Tags of a resource that are Windlass's to set.
pub type Tags = BTreeMap<String, String>;

/// Kinds of resources, in the order in which they are made; they are deleted in the reverse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResourceKind {
    /// What encrypts the join credential.
    Key,
    /// What instances may do.
    Role,
    /// What gives it to them.
    InstanceProfile,
    /// Where the join credential is published.
    Parameter,
    /// Who may reach instances.
    SecurityGroup,
    /// What instances are made of.
    LaunchTemplate,
    /// What instances were made of before there were launch templates.
    LaunchConfiguration,
    /// The instances.
    AutoScalingGroup,
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Key => "KMS key",
            Self::Role => "role",
            Self::InstanceProfile => "instance profile",
            Self::Parameter => "parameter",
            Self::SecurityGroup => "security group",
            Self::LaunchTemplate => "launch template",
            Self::LaunchConfiguration => "launch configuration",
            Self::AutoScalingGroup => "Auto Scaling group",
        })
    }
}

/// Which resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ResourceId {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ResourceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} `{}`", self.kind, self.name)
    }
}

/// A resource and all that Windlass says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Resource {
    /// A key.
    Key(Key),
    /// A role.
    Role(NodeRole),
    /// An instance profile.
    Profile(Profile),
    /// A parameter.
    Parameter(Parameter),
    /// A security group.
    SecurityGroup(SecurityGroup),
    /// A launch template.
    LaunchTemplate(Box<LaunchTemplate>),
    /// A launch configuration.
    LaunchConfiguration(Box<LaunchConfiguration>),
    /// An Auto Scaling group.
    Group(Box<Group>),
}

/// A key of KMS, known by its alias.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Key {
    /// Who may use it, and for what.
    pub policy: Value,
    /// Whether its material is renewed every year.
    pub rotation: bool,
    /// Whether the alias is its name.
    pub alias: bool,
    /// `Enabled`, `Disabled`, `PendingDeletion` and more.
    pub state: String,
    /// Tags.
    pub tags: Tags,
    /// Its id; none where that is for AWS to say.
    #[serde(skip)]
    pub id: Option<String>,
}

/// A role of instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NodeRole {
    /// Who may assume it.
    pub trust: Value,
    /// Its inline policies by name.
    pub policies: BTreeMap<String, Value>,
    /// Tags.
    pub tags: Tags,
}

/// An instance profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// The roles in it.
    pub roles: BTreeSet<String>,
    /// Tags.
    pub tags: Tags,
}

/// A parameter, whose value is never Windlass's to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Parameter {
    /// Tags.
    pub tags: Tags,
}

/// A security group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SecurityGroup {
    /// Its VPC, which it never leaves.
    pub vpc: Option<String>,
    /// What it lets in, with the rules' descriptions. The group itself is `self` there.
    pub ingress: BTreeMap<IngressRule, String>,
    /// Tags.
    pub tags: Tags,
    /// Its id; none where that is for AWS to say.
    #[serde(skip)]
    pub id: Option<String>,
}

/// A launch template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LaunchTemplate {
    /// What its newest version says.
    pub content: LaunchTemplateContent,
    /// Number of the newest version; none where that is for AWS to say.
    #[serde(skip)]
    pub version: Option<u64>,
    /// Tags.
    pub tags: Tags,
}

/// A launch configuration, which cannot be changed: its name ends with a digest of what it says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LaunchConfiguration {
    /// What it says.
    pub content: LaunchConfigurationContent,
    /// The cluster that it belongs to, as its name and its instance profile tell: it has no tags.
    #[serde(skip)]
    pub owner: Option<String>,
}

/// An Auto Scaling group. Its desired capacity is not here: that belongs to the autoscaler.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Least instances.
    pub min: u32,
    /// Most instances.
    pub max: u32,
    /// Subnets.
    pub subnets: BTreeSet<String>,
    /// Name of its launch template.
    pub launch_template: Option<String>,
    /// The template's version, a number.
    pub version: Option<String>,
    /// Name of its launch configuration, where it has one instead.
    pub launch_configuration: Option<String>,
    /// Several instance types.
    pub mixed: Option<Mixed>,
    /// How long a new instance may be unhealthy, in seconds.
    pub health_check_grace_seconds: u32,
    /// Processes that are suspended.
    pub suspended: BTreeSet<String>,
    /// Scaling policies that somebody has given it: none should be.
    pub scaling_policies: BTreeSet<String>,
    /// Hooks by name.
    pub hooks: BTreeMap<String, Hook>,
    /// Tags, and whether instances get them.
    pub tags: BTreeMap<String, Grant>,
    /// Instances that it has; nobody's to compare.
    #[serde(skip)]
    pub instances: usize,
}

/// A tag of a group. It is shown as its value, with a word behind it where instances get it too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// Its value.
    pub value: String,
    /// Whether instances get it too.
    pub propagate: bool,
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.propagate {
            serializer.collect_str(&format_args!("{} (propagated)", self.value))
        } else {
            serializer.serialize_str(&self.value)
        }
    }
}

/// Several instance types.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Mixed {
    /// The types, the preferred first.
    pub types: Vec<String>,
    /// Instances that are on demand in any case.
    pub on_demand_base: u32,
    /// Share of on-demand instances above that, in percent.
    pub on_demand_percentage: u32,
    /// How spot pools are chosen.
    pub spot_allocation_strategy: String,
}

/// A lifecycle hook.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// When it holds an instance.
    pub transition: String,
    /// How long, in seconds.
    pub timeout_seconds: u32,
    /// What it does then.
    pub default_result: String,
}

impl Resource {
    /// Its kind.
    pub fn kind(&self) -> ResourceKind {
        match self {
            Self::Key(_) => ResourceKind::Key,
            Self::Role(_) => ResourceKind::Role,
            Self::Profile(_) => ResourceKind::InstanceProfile,
            Self::Parameter(_) => ResourceKind::Parameter,
            Self::SecurityGroup(_) => ResourceKind::SecurityGroup,
            Self::LaunchTemplate(_) => ResourceKind::LaunchTemplate,
            Self::LaunchConfiguration(_) => ResourceKind::LaunchConfiguration,
            Self::Group(_) => ResourceKind::AutoScalingGroup,
        }
    }

    /// The cluster that its tag names; of a launch configuration, that its name does.
    pub fn owner(&self) -> Option<&str> {
        match self {
            Self::Key(Key { tags, .. })
            | Self::Role(NodeRole { tags, .. })
            | Self::Profile(Profile { tags, .. })
            | Self::Parameter(Parameter { tags })
            | Self::SecurityGroup(SecurityGroup { tags, .. }) => {
                tags.get(super::OWNER_TAG).map(String::as_str)
            }
            Self::LaunchTemplate(template) => {
                template.tags.get(super::OWNER_TAG).map(String::as_str)
            }
            Self::LaunchConfiguration(configuration) => configuration.owner.as_deref(),
            Self::Group(group) => group
                .tags
                .get(super::OWNER_TAG)
                .map(|tag| tag.value.as_str()),
        }
    }

    /// All that is said of it, for comparing and for showing.
    pub fn fields(&self) -> Value {
        // Maps of strings and numbers always have a JSON form.
        serde_json::to_value(self).unwrap_or_default()
    }
}
