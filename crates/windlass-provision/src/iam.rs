//! Who needs which permissions of AWS, and the policies that give them.
//!
//! Each [`Feature`] names the actions that it calls and what it calls them for; [`policy`] makes a
//! document of the features that are in use. Nothing that changes anything is granted on `*`:
//! groups are narrowed by the cluster's tag or by name, parameters and keys by name.
//! `docs/iam.md` is made of the same table ([`page`]), and [`evaluate`] says what a document
//! allows.

mod evaluate;
mod page;

use std::collections::BTreeMap;

use serde_json::{Value, json};

pub use evaluate::{EvaluateError, Request, Verdict, evaluate};
pub use page::page;

/// Condition key of the tag that builds of images put on all that they make.
const BUILD_TAG_KEY: &str = "aws:ResourceTag/windlass.dev/build";

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// `windlass run`.
    Autoscaler,
    /// A worker node while it joins.
    Node,
    /// `windlass token rotate`.
    Rotator,
    /// `windlass csr-approver`.
    CsrApprover,
    /// Who runs `windlass ami build`.
    AmiBuilder,
    /// The instance that builds a machine image.
    AmiInstance,
}

/// Something that needs permissions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Groups are looked at, grown and shrunk.
    Groups,
    /// Groups of launch templates or mixed-instances policies.
    LaunchTemplates,
    /// Groups of launch configurations.
    LaunchConfigurations,
    /// What instance types offer.
    InstanceTypes,
    /// Groups that choose types by attributes, and images' architectures and root volumes.
    Attributes,
    /// Images that are named by a parameter (`resolve:ssm:`).
    ImageParameters,
    /// EKS managed node groups.
    EksNodegroups,
    /// Warm pools.
    WarmPools,
    /// Groups whose instances somebody replaces by instance refreshes.
    InstanceRefreshes,
    /// `--aws-launch-api=launch-instances`.
    LaunchInstances,
    /// `--aws-protect-from-scale-in`.
    ScaleInProtection,
    /// `--aws-ask-prices`.
    Prices,
    /// A worker node reads the join credential.
    Join,
    /// A worker node tells its lifecycle hook and its group how the join went.
    JoinReport,
    /// A worker node reads its group's tags for labels and taints.
    JoinTags,
    /// The rotator reads and publishes the join credential.
    Rotation,
    /// The approver looks up whose certificate is asked for.
    Approval,
    /// A machine image is built.
    AmiBuild,
    /// The id of a new machine image is written to a parameter.
    AmiAnnouncement,
    /// The building instance says how far it is.
    AmiReport,
}

/// What a permission is limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: AWS knows no resource for these actions.
    Everything,
    /// The cluster's Auto Scaling groups, by tag or by name.
    Groups,
    /// The cluster's EKS node groups.
    Nodegroups,
    /// What a fleet of the account in the region is made of.
    Fleet,
    /// Public image parameters of AWS.
    ImageParameters,
    /// The join credential's parameter.
    JoinParameter,
    /// The key that encrypts it, through Systems Manager alone.
    JoinKey,
    /// What builds of machine images have made, by its tag.
    AmiMade,
    /// The role of the building instance, for EC2 alone.
    AmiRole,
    /// Reports of building instances.
    AmiReports,
    /// Parameters that name the cluster's machine images.
    AmiParameters,
}

/// Actions that are granted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The statement's name.
    pub sid: &'static str,
    /// The actions.
    pub actions: &'static [&'static str],
    /// What they are limited to.
    pub scope: Scope,
}

/// Where and for whom the policies are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// The region.
    pub region: String,
    /// The account's twelve digits.
    pub account: String,
    /// The cluster's name.
    pub cluster: String,
    /// Names of the Auto Scaling groups; where there are none, the cluster's tag tells them.
    pub groups: Vec<String>,
    /// The value that the cluster's tag has to have; any where none is said.
    pub tag_value: Option<String>,
    /// The join credential's parameter.
    pub parameter: String,
    /// The ARN of the key that encrypts it; AWS's own where none is said, which needs no grant.
    pub key: Option<String>,
}

impl Place {
    /// A cluster in `aws`, with the names that Windlass gives.
    pub fn new(region: &str, account: &str, cluster: &str) -> Self {
        let partition = if region.starts_with("cn-") {
            "aws-cn"
        } else if region.starts_with("us-gov-") {
            "aws-us-gov"
        } else {
            "aws"
        };
        Self {
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            cluster: cluster.to_owned(),
            groups: Vec::new(),
            tag_value: None,
            parameter: format!("/windlass/{cluster}/join"),
            key: None,
        }
    }

    pub(crate) fn arn(&self, service: &str, rest: &str) -> String {
        let Self {
            partition,
            region,
            account,
            ..
        } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{rest}")
    }

    /// The role of building instances, by the name that they have by default.
    fn ami_role_arn(&self) -> String {
        let Self {
            partition,
            account,
            cluster,
            ..
        } = self;
        format!("arn:{partition}:iam::{account}:role/{cluster}-windlass-ami")
    }

    /// The end of the names of the partition's hosts and services.
    fn dns_suffix(&self) -> &'static str {
        match self.partition.as_str() {
            "aws-cn" => "amazonaws.com.cn",
            _ => "amazonaws.com",
        }
    }

    pub(crate) fn ec2_service(&self) -> String {
        format!("ec2.{}", self.dns_suffix())
    }

    pub(crate) fn ssm_host(&self) -> String {
        format!("ssm.{}.{}", self.region, self.dns_suffix())
    }

    pub(crate) fn parameter_arn(&self) -> String {
        self.arn_of_parameter(&self.parameter)
    }

    pub(crate) fn arn_of_parameter(&self, name: &str) -> String {
        let name = name.trim_start_matches('/');
        self.arn("ssm", &format!("parameter/{name}"))
    }
}

impl Actor {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Autoscaler,
        Self::Node,
        Self::Rotator,
        Self::CsrApprover,
        Self::AmiBuilder,
        Self::AmiInstance,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autoscaler => "autoscaler",
            Self::Node => "node",
            Self::Rotator => "rotator",
            Self::CsrApprover => "csr-approver",
            Self::AmiBuilder => "ami-builder",
            Self::AmiInstance => "ami-instance",
        }
    }

    /// What it may do, in a sentence.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Autoscaler => "`windlass run`: looks at the cluster's groups and resizes them",
            Self::Node => "a worker node: reads the join credential and tells how the join went",
            Self::Rotator => "`windlass token rotate`: keeps the join credential fresh",
            Self::CsrApprover => {
                "`windlass csr-approver`: looks up the instances whose nodes ask for certificates"
            }
            Self::AmiBuilder => {
                "`windlass ami build`: launches an instance and makes an image of it"
            }
            Self::AmiInstance => {
                "the instance that builds an image: says how far it is; role `CLUSTER-windlass-ami`"
            }
        }
    }

    /// Everything that it may need.
    pub fn features(self) -> Vec<Feature> {
        Feature::ALL
            .into_iter()
            .filter(|feature| feature.actor() == self)
            .collect()
    }
}

impl Feature {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 20] = [
        Self::Groups,
        Self::LaunchTemplates,
        Self::LaunchConfigurations,
        Self::InstanceTypes,
        Self::Attributes,
        Self::ImageParameters,
        Self::EksNodegroups,
        Self::WarmPools,
        Self::InstanceRefreshes,
        Self::LaunchInstances,
        Self::ScaleInProtection,
        Self::Prices,
        Self::Join,
        Self::JoinReport,
        Self::JoinTags,
        Self::Rotation,
        Self::Approval,
        Self::AmiBuild,
        Self::AmiAnnouncement,
        Self::AmiReport,
    ];

    /// Whose it is.
    pub fn actor(self) -> Actor {
        match self {
            Self::Join | Self::JoinReport | Self::JoinTags => Actor::Node,
            Self::Rotation => Actor::Rotator,
            Self::Approval => Actor::CsrApprover,
            Self::AmiBuild | Self::AmiAnnouncement => Actor::AmiBuilder,
            Self::AmiReport => Actor::AmiInstance,
            _ => Actor::Autoscaler,
        }
    }

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::LaunchTemplates => "launch-templates",
            Self::LaunchConfigurations => "launch-configurations",
            Self::InstanceTypes => "instance-types",
            Self::Attributes => "attributes",
            Self::ImageParameters => "image-parameters",
            Self::EksNodegroups => "eks-nodegroups",
            Self::WarmPools => "warm-pools",
            Self::InstanceRefreshes => "instance-refreshes",
            Self::LaunchInstances => "launch-instances",
            Self::ScaleInProtection => "scale-in-protection",
            Self::Prices => "prices",
            Self::Join => "join",
            Self::JoinReport => "join-report",
            Self::JoinTags => "join-tags",
            Self::Rotation => "rotation",
            Self::Approval => "approval",
            Self::AmiBuild => "ami-build",
            Self::AmiAnnouncement => "ami-announcement",
            Self::AmiReport => "ami-report",
        }
    }

    /// Whether its actor does not work without.
    pub fn is_required(self) -> bool {
        matches!(
            self,
            Self::Groups
                | Self::Join
                | Self::Rotation
                | Self::Approval
                | Self::AmiBuild
                | Self::AmiReport
        )
    }

    /// Whether it is granted where nothing else is said: what groups are commonly made of.
    pub fn is_usual(self) -> bool {
        self.is_required()
            || matches!(
                self,
                Self::LaunchTemplates | Self::InstanceTypes | Self::Attributes | Self::JoinReport
            )
    }

    /// When it is needed.
    pub fn needed_when(self) -> &'static str {
        match self {
            Self::Groups
            | Self::Join
            | Self::Rotation
            | Self::Approval
            | Self::AmiBuild
            | Self::AmiReport => "always",
            Self::AmiAnnouncement => "`spec.ami.publish.parameter`",
            Self::LaunchTemplates => "groups have launch templates or mixed-instances policies",
            Self::LaunchConfigurations => "groups have launch configurations",
            Self::InstanceTypes => "unless `--aws-use-static-instance-list`",
            Self::Attributes => {
                "groups choose instance types by attributes; also tells images' architecture and \
                 root volume"
            }
            Self::ImageParameters => "launch templates name their image by `resolve:ssm:`",
            Self::EksNodegroups => "groups belong to EKS managed node groups",
            Self::WarmPools => "groups have warm pools",
            Self::InstanceRefreshes => "instances are replaced by instance refreshes",
            Self::LaunchInstances => "`--aws-launch-api=launch-instances`",
            Self::ScaleInProtection => "`--aws-protect-from-scale-in`",
            Self::Prices => "`--aws-ask-prices`",
            Self::JoinTags => "nodes take labels and taints from their group's tags",
            Self::JoinReport => "groups have a launch hook, or failed joins are to be replaced",
        }
    }

    /// What happens without it.
    pub fn without_it(self) -> &'static str {
        match self {
            Self::Groups => "nothing works",
            Self::LaunchTemplates | Self::LaunchConfigurations => {
                "such groups do not grow from zero"
            }
            Self::InstanceTypes => "the built-in table is used: new types are unknown",
            Self::Attributes => "such groups do not grow from zero; root volumes are not known",
            Self::ImageParameters => "such groups' images are taken for x86 and Linux",
            Self::EksNodegroups => "labels and taints that only EKS knows are missing in templates",
            Self::WarmPools => "instances in the pool are not told from others' nodes",
            Self::InstanceRefreshes => "such groups are scaled down in the midst of a refresh",
            Self::LaunchInstances => "`SetDesiredCapacity` is called instead",
            Self::ScaleInProtection => "instances are not protected",
            Self::Prices => "the price file and the built-in prices are used",
            Self::Join | Self::Rotation => "no node joins",
            Self::JoinTags => "such nodes do not join",
            Self::AmiBuild | Self::AmiReport => "no image is built",
            Self::AmiAnnouncement => "the image's id is written nowhere",
            Self::JoinReport => "a failed join is noticed after the provision time alone",
            Self::Approval => "no certificate is approved",
        }
    }

    /// The permissions.
    #[expect(clippy::too_many_lines, reason = "it is a table")]
    pub fn grants(self) -> &'static [Grant] {
        match self {
            Self::Groups => &[
                Grant {
                    sid: "ReadGroups",
                    actions: &[
                        "autoscaling:DescribeAutoScalingGroups",
                        "autoscaling:DescribeScalingActivities",
                    ],
                    scope: Scope::Everything,
                },
                Grant {
                    sid: "ResizeGroups",
                    actions: &[
                        "autoscaling:SetDesiredCapacity",
                        "autoscaling:TerminateInstanceInAutoScalingGroup",
                    ],
                    scope: Scope::Groups,
                },
            ],
            Self::LaunchTemplates => &[Grant {
                sid: "ReadLaunchTemplates",
                actions: &["ec2:DescribeLaunchTemplateVersions"],
                scope: Scope::Everything,
            }],
            Self::LaunchConfigurations => &[Grant {
                sid: "ReadLaunchConfigurations",
                actions: &["autoscaling:DescribeLaunchConfigurations"],
                scope: Scope::Everything,
            }],
            Self::InstanceTypes => &[Grant {
                sid: "ReadInstanceTypes",
                actions: &["ec2:DescribeInstanceTypes"],
                scope: Scope::Everything,
            }],
            Self::Attributes => &[Grant {
                sid: "ReadAttributes",
                actions: &[
                    "ec2:DescribeImages",
                    "ec2:GetInstanceTypesFromInstanceRequirements",
                ],
                scope: Scope::Everything,
            }],
            Self::ImageParameters => &[Grant {
                sid: "ReadImageParameters",
                actions: &["ssm:GetParameter"],
                scope: Scope::ImageParameters,
            }],
            Self::EksNodegroups => &[Grant {
                sid: "ReadNodegroups",
                actions: &["eks:DescribeNodegroup"],
                scope: Scope::Nodegroups,
            }],
            Self::WarmPools => &[Grant {
                sid: "ReadWarmPools",
                actions: &["autoscaling:DescribeWarmPool"],
                scope: Scope::Everything,
            }],
            Self::InstanceRefreshes => &[Grant {
                sid: "ReadInstanceRefreshes",
                actions: &["autoscaling:DescribeInstanceRefreshes"],
                scope: Scope::Everything,
            }],
            Self::LaunchInstances => &[
                Grant {
                    sid: "LaunchInGroups",
                    actions: &["autoscaling:LaunchInstances"],
                    scope: Scope::Groups,
                },
                Grant {
                    sid: "LaunchFleets",
                    actions: &["ec2:CreateFleet"],
                    scope: Scope::Fleet,
                },
            ],
            Self::ScaleInProtection => &[Grant {
                sid: "ProtectInstances",
                actions: &["autoscaling:SetInstanceProtection"],
                scope: Scope::Groups,
            }],
            Self::Prices => &[Grant {
                sid: "ReadPrices",
                actions: &["ec2:DescribeSpotPriceHistory", "pricing:GetProducts"],
                scope: Scope::Everything,
            }],
            Self::Join => &[
                Grant {
                    sid: "ReadJoinCredential",
                    actions: &["ssm:GetParameter"],
                    scope: Scope::JoinParameter,
                },
                Grant {
                    sid: "DecryptJoinCredential",
                    actions: &["kms:Decrypt"],
                    scope: Scope::JoinKey,
                },
            ],
            Self::JoinReport => &[Grant {
                sid: "ReportJoin",
                actions: &[
                    "autoscaling:CompleteLifecycleAction",
                    "autoscaling:RecordLifecycleActionHeartbeat",
                    "autoscaling:SetInstanceHealth",
                ],
                scope: Scope::Groups,
            }],
            Self::JoinTags => &[Grant {
                sid: "ReadGroupTags",
                actions: &["autoscaling:DescribeTags"],
                scope: Scope::Everything,
            }],
            Self::Rotation => &[
                Grant {
                    sid: "RenewJoinCredential",
                    actions: &["ssm:GetParameter", "ssm:PutParameter"],
                    scope: Scope::JoinParameter,
                },
                Grant {
                    sid: "EncryptJoinCredential",
                    actions: &["kms:Decrypt", "kms:Encrypt"],
                    scope: Scope::JoinKey,
                },
            ],
            Self::Approval => &[Grant {
                sid: "ReadInstances",
                actions: &[
                    "autoscaling:DescribeAutoScalingGroups",
                    "ec2:DescribeInstances",
                ],
                scope: Scope::Everything,
            }],
            Self::AmiBuild => &[
                Grant {
                    sid: "LookAtBuilds",
                    actions: &[
                        "ec2:DescribeImages",
                        "ec2:DescribeInstances",
                        "ec2:DescribeSecurityGroups",
                        "ec2:DescribeSubnets",
                        "ec2:GetConsoleOutput",
                    ],
                    scope: Scope::Everything,
                },
                Grant {
                    sid: "MakeImages",
                    actions: &[
                        "ec2:CopyImage",
                        "ec2:CreateImage",
                        "ec2:CreateSecurityGroup",
                        "ec2:CreateTags",
                        "ec2:RunInstances",
                    ],
                    scope: Scope::Fleet,
                },
                Grant {
                    sid: "ChangeWhatBuildsMade",
                    actions: &[
                        "ec2:DeleteSecurityGroup",
                        "ec2:DeleteSnapshot",
                        "ec2:DeregisterImage",
                        "ec2:ModifyImageAttribute",
                        "ec2:TerminateInstances",
                    ],
                    scope: Scope::AmiMade,
                },
                Grant {
                    sid: "PassBuilderRole",
                    actions: &["iam:PassRole"],
                    scope: Scope::AmiRole,
                },
                Grant {
                    sid: "ReadReports",
                    actions: &["ssm:DeleteParameter", "ssm:GetParameter"],
                    scope: Scope::AmiReports,
                },
                Grant {
                    sid: "ReadSourceImages",
                    actions: &["ssm:GetParameter"],
                    scope: Scope::ImageParameters,
                },
            ],
            Self::AmiAnnouncement => &[Grant {
                sid: "AnnounceImages",
                actions: &["ssm:PutParameter"],
                scope: Scope::AmiParameters,
            }],
            Self::AmiReport => &[Grant {
                sid: "WriteReport",
                actions: &["ssm:PutParameter"],
                scope: Scope::AmiReports,
            }],
        }
    }
}

/// The policy document that lets an actor use these features.
pub fn policy(features: &[Feature], place: &Place) -> Value {
    let statements: Vec<Value> = Feature::ALL
        .into_iter()
        .filter(|feature| features.contains(feature))
        .flat_map(Feature::grants_of)
        .filter_map(|grant| statement(grant, place))
        .collect();
    json!({"Version": "2012-10-17", "Statement": statements})
}

/// What an actor does with a feature in a place: each action with a request as AWS would judge it,
/// on a thing of the cluster's own.
pub fn needs(feature: Feature, place: &Place) -> Vec<(&'static str, Request)> {
    let mut needs = Vec::new();
    for grant in feature.grants() {
        let Some((resource, context)) = sample(grant.scope, place) else {
            continue;
        };
        needs.extend(grant.actions.iter().map(|action| {
            let request = Request {
                action: (*action).to_owned(),
                resource: resource.clone(),
                context: context.clone(),
            };
            (*action, request)
        }));
    }
    needs
}

/// A thing of the cluster's own, with the condition keys that AWS has for it.
fn sample(scope: Scope, place: &Place) -> Option<(String, BTreeMap<String, String>)> {
    let plain = |arn: String| Some((arn, BTreeMap::new()));
    match scope {
        Scope::Everything => plain("*".to_owned()),
        Scope::Groups => {
            let name = place.groups.first().map_or("any", String::as_str);
            let tag = format!(
                "aws:ResourceTag/k8s.io/cluster-autoscaler/{}",
                place.cluster
            );
            let value = place.tag_value.as_deref().unwrap_or("owned");
            let arn = format!("autoScalingGroup:any:autoScalingGroupName/{name}");
            Some((
                place.arn("autoscaling", &arn),
                BTreeMap::from([(tag, value.to_owned())]),
            ))
        }
        Scope::Nodegroups => {
            plain(place.arn("eks", &format!("nodegroup/{}/any/any", place.cluster)))
        }
        Scope::Fleet => plain(place.arn("ec2", "fleet/any")),
        Scope::ImageParameters => plain(format!(
            "arn:{}:ssm:{}::parameter/aws/service/any",
            place.partition, place.region
        )),
        Scope::JoinParameter => plain(place.parameter_arn()),
        Scope::JoinKey => {
            let key = place.key.clone()?;
            let context = [
                ("kms:EncryptionContext:PARAMETER_ARN", place.parameter_arn()),
                ("kms:ViaService", place.ssm_host()),
            ];
            let context = context.map(|(key, value)| (key.to_owned(), value));
            Some((key, BTreeMap::from(context)))
        }
        Scope::AmiMade => {
            let tag = (BUILD_TAG_KEY.to_owned(), "any".to_owned());
            Some((place.arn("ec2", "instance/any"), BTreeMap::from([tag])))
        }
        Scope::AmiRole => {
            let service = ("iam:PassedToService".to_owned(), place.ec2_service());
            Some((place.ami_role_arn(), BTreeMap::from([service])))
        }
        Scope::AmiReports => plain(place.arn("ssm", "parameter/windlass/ami/any/report")),
        Scope::AmiParameters => plain(place.arn(
            "ssm",
            &format!("parameter/windlass/{}/image/any", place.cluster),
        )),
    }
}

impl Feature {
    fn grants_of(self) -> impl Iterator<Item = &'static Grant> {
        self.grants().iter()
    }
}

/// None where there is nothing to grant: AWS's own key lets who may read the parameter decrypt it.
fn statement(grant: &Grant, place: &Place) -> Option<Value> {
    let mut statement = json!({
        "Sid": grant.sid,
        "Effect": "Allow",
        "Action": grant.actions,
    });
    let (resource, condition) = limits(grant.scope, place)?;
    statement["Resource"] = resource;
    if let Some(condition) = condition {
        statement["Condition"] = condition;
    }
    Some(statement)
}

fn limits(scope: Scope, place: &Place) -> Option<(Value, Option<Value>)> {
    let one = |arn: String| Some((json!(arn), None));
    match scope {
        Scope::Everything => one("*".to_owned()),
        Scope::Groups => Some(groups(place)),
        Scope::Nodegroups => one(place.arn("eks", &format!("nodegroup/{}/*/*", place.cluster))),
        Scope::Fleet => Some((fleet(place), None)),
        Scope::ImageParameters => {
            let Place {
                partition, region, ..
            } = place;
            one(format!(
                "arn:{partition}:ssm:{region}::parameter/aws/service/*"
            ))
        }
        Scope::JoinParameter => one(place.parameter_arn()),
        Scope::JoinKey => {
            let key = place.key.as_ref()?;
            let condition = json!({"StringEquals": {
                "kms:EncryptionContext:PARAMETER_ARN": place.parameter_arn(),
                "kms:ViaService": place.ssm_host(),
            }});
            Some((json!(key), Some(condition)))
        }
        Scope::AmiMade => Some((
            fleet(place),
            Some(json!({"Null": {BUILD_TAG_KEY: "false"}})),
        )),
        Scope::AmiRole => Some((
            json!(place.ami_role_arn()),
            Some(json!({"StringEquals": {"iam:PassedToService": place.ec2_service()}})),
        )),
        Scope::AmiReports => one(place.arn("ssm", "parameter/windlass/ami/*/report")),
        Scope::AmiParameters => one(place.arn(
            "ssm",
            &format!("parameter/windlass/{}/image/*", place.cluster),
        )),
    }
}

/// All of EC2 in the account and region; images and snapshots belong to no account by their names.
fn fleet(place: &Place) -> Value {
    let Place {
        partition, region, ..
    } = place;
    json!([
        place.arn("ec2", "*"),
        format!("arn:{partition}:ec2:{region}::image/*"),
        format!("arn:{partition}:ec2:{region}::snapshot/*"),
    ])
}

fn groups(place: &Place) -> (Value, Option<Value>) {
    let arn = |name: &str| {
        place.arn(
            "autoscaling",
            &format!("autoScalingGroup:*:autoScalingGroupName/{name}"),
        )
    };
    if !place.groups.is_empty() {
        let arns: Vec<String> = place.groups.iter().map(|name| arn(name)).collect();
        return (json!(arns), None);
    }
    let tag = format!(
        "aws:ResourceTag/k8s.io/cluster-autoscaler/{}",
        place.cluster
    );
    let condition = match &place.tag_value {
        None => json!({"Null": {tag: "false"}}),
        Some(value) => json!({"StringEquals": {tag: value}}),
    };
    (json!(arn("*")), Some(condition))
}

#[cfg(test)]
mod tests;
