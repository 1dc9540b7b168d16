//! The table: which actions each feature calls, and what they are limited to.

use super::Feature;
use super::scope::Scope;

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

/// What looking at a role takes.
const ROLE_READS: &[&str] = &[
    "iam:GetRole",
    "iam:GetRolePolicy",
    "iam:ListRolePolicies",
    "iam:ListRoleTags",
];
/// What looking at a key takes.
const KEY_READS: &[&str] = &[
    "kms:DescribeKey",
    "kms:GetKeyPolicy",
    "kms:GetKeyRotationStatus",
    "kms:ListResourceTags",
];
/// What EC2 does with a key of a disk in the name of who launches, copies and images it.
const VOLUME_KEY_ACTIONS: &[&str] = &[
    "kms:CreateGrant",
    "kms:Decrypt",
    "kms:DescribeKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
];

impl Feature {
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
                    scope: Scope::JoinParameters,
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
                    scope: Scope::JoinParameters,
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
                    scope: Scope::AmiFleet,
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
                    scope: Scope::SourceParameters,
                },
            ],
            Self::AmiAnnouncement => &[Grant {
                sid: "AnnounceImages",
                actions: &["ssm:PutParameter"],
                scope: Scope::AmiParameters,
            }],
            Self::AmiDeprecation => &[Grant {
                sid: "DeprecateImages",
                actions: &["ec2:EnableImageDeprecation"],
                scope: Scope::AmiMade,
            }],
            Self::AmiPruning => &[
                Grant {
                    sid: "LookAtUsersOfImages",
                    actions: &[
                        "autoscaling:DescribeAutoScalingGroups",
                        "autoscaling:DescribeLaunchConfigurations",
                        "ec2:DescribeLaunchTemplateVersions",
                        "ec2:DescribeSnapshots",
                    ],
                    scope: Scope::Everything,
                },
                Grant {
                    sid: "ReadAnnouncedImages",
                    actions: &["ssm:GetParameter"],
                    scope: Scope::AmiParameters,
                },
            ],
            Self::AmiKeys => &[
                Grant {
                    sid: "UseKeysOfImages",
                    actions: VOLUME_KEY_ACTIONS,
                    scope: Scope::AmiKeys,
                },
                Grant {
                    sid: "UseKeysOfImagesByAlias",
                    actions: VOLUME_KEY_ACTIONS,
                    scope: Scope::AmiKeysByAlias,
                },
            ],
            Self::AmiReport => &[Grant {
                sid: "WriteReport",
                actions: &["ssm:PutParameter"],
                scope: Scope::AmiReports,
            }],
            Self::Provision => &[
                Grant {
                    sid: "ReadResources",
                    actions: &[
                        "autoscaling:DescribeAutoScalingGroups",
                        "autoscaling:DescribeLaunchConfigurations",
                        "autoscaling:DescribeLifecycleHooks",
                        "autoscaling:DescribePolicies",
                        "ec2:DescribeLaunchTemplateVersions",
                        "ec2:DescribeLaunchTemplates",
                        // One that the file asks for no more is still to be found.
                        "ec2:DescribeSecurityGroups",
                    ],
                    scope: Scope::Everything,
                },
                Grant {
                    sid: "HoldLock",
                    actions: &[
                        "ssm:AddTagsToResource",
                        "ssm:DeleteParameter",
                        "ssm:GetParameter",
                        "ssm:PutParameter",
                    ],
                    scope: Scope::Lock,
                },
                Grant {
                    sid: "ProvisionJoinParameter",
                    actions: &[
                        "ssm:AddTagsToResource",
                        "ssm:DeleteParameter",
                        "ssm:ListTagsForResource",
                        "ssm:PutParameter",
                    ],
                    scope: Scope::JoinParameter,
                },
                Grant {
                    sid: "ProvisionNodeRole",
                    actions: &[
                        "iam:CreateRole",
                        "iam:DeleteRole",
                        "iam:DeleteRolePolicy",
                        "iam:GetRole",
                        "iam:GetRolePolicy",
                        "iam:ListRolePolicies",
                        "iam:ListRoleTags",
                        "iam:PutRolePolicy",
                        "iam:TagRole",
                        "iam:UpdateAssumeRolePolicy",
                    ],
                    scope: Scope::NodeRole,
                },
                Grant {
                    sid: "ProvisionNodeProfile",
                    actions: &[
                        "iam:AddRoleToInstanceProfile",
                        "iam:CreateInstanceProfile",
                        "iam:DeleteInstanceProfile",
                        "iam:GetInstanceProfile",
                        "iam:RemoveRoleFromInstanceProfile",
                        "iam:TagInstanceProfile",
                    ],
                    scope: Scope::NodeProfile,
                },
                Grant {
                    sid: "PassNodeRole",
                    actions: &["iam:PassRole"],
                    scope: Scope::PassedNodeRole,
                },
                Grant {
                    sid: "CreateTemplates",
                    actions: &["ec2:CreateLaunchTemplate"],
                    scope: Scope::NewTemplates,
                },
                Grant {
                    sid: "ChangeTemplates",
                    actions: &[
                        "ec2:CreateLaunchTemplateVersion",
                        "ec2:CreateTags",
                        "ec2:DeleteLaunchTemplate",
                    ],
                    scope: Scope::OwnTemplates,
                },
                Grant {
                    sid: "TagWhatIsMade",
                    actions: &["ec2:CreateTags"],
                    scope: Scope::TagsOfNew,
                },
                Grant {
                    sid: "LaunchByTemplates",
                    actions: &["ec2:RunInstances"],
                    scope: Scope::Launches,
                },
                Grant {
                    sid: "CreateGroups",
                    actions: &[
                        "autoscaling:CreateAutoScalingGroup",
                        "autoscaling:CreateOrUpdateTags",
                    ],
                    scope: Scope::NewGroups,
                },
                Grant {
                    sid: "ChangeGroups",
                    actions: &[
                        "autoscaling:CreateOrUpdateTags",
                        "autoscaling:DeleteAutoScalingGroup",
                        "autoscaling:DeleteLifecycleHook",
                        "autoscaling:DeleteTags",
                        "autoscaling:PutLifecycleHook",
                        "autoscaling:SuspendProcesses",
                        "autoscaling:UpdateAutoScalingGroup",
                    ],
                    scope: Scope::OwnGroups,
                },
            ],
            Self::ProvisionBuilder => &[
                Grant {
                    sid: "ProvisionBuilderRole",
                    actions: &[
                        "iam:CreateRole",
                        "iam:DeleteRole",
                        "iam:DeleteRolePolicy",
                        "iam:GetRole",
                        "iam:GetRolePolicy",
                        "iam:ListRolePolicies",
                        "iam:ListRoleTags",
                        "iam:PutRolePolicy",
                        "iam:TagRole",
                        "iam:UpdateAssumeRolePolicy",
                    ],
                    scope: Scope::AmiRoleItself,
                },
                Grant {
                    sid: "ProvisionBuilderProfile",
                    actions: &[
                        "iam:AddRoleToInstanceProfile",
                        "iam:CreateInstanceProfile",
                        "iam:DeleteInstanceProfile",
                        "iam:GetInstanceProfile",
                        "iam:RemoveRoleFromInstanceProfile",
                        "iam:TagInstanceProfile",
                    ],
                    scope: Scope::AmiProfile,
                },
                Grant {
                    sid: "PassRoleOfBuilder",
                    actions: &["iam:PassRole"],
                    scope: Scope::AmiRole,
                },
            ],
            Self::ProvisionImages => &[
                Grant {
                    sid: "FindImages",
                    actions: &["ec2:DescribeImages"],
                    scope: Scope::Everything,
                },
                Grant {
                    sid: "ReadNamesOfImages",
                    actions: &["ssm:GetParameter"],
                    scope: Scope::NamedImages,
                },
                Grant {
                    sid: "ReadNamesOfPublicImages",
                    actions: &["ssm:GetParameter"],
                    scope: Scope::ImageParameters,
                },
            ],
            Self::ProvisionTypes => &[Grant {
                sid: "CompareInstanceTypes",
                actions: &["ec2:DescribeInstanceTypes"],
                scope: Scope::Everything,
            }],
            Self::ProvisionZones => &[Grant {
                sid: "ReadSubnets",
                actions: &["ec2:DescribeSubnets"],
                scope: Scope::Everything,
            }],
            Self::ProvisionSecurityGroup => &[
                Grant {
                    sid: "CreateSecurityGroup",
                    actions: &["ec2:CreateSecurityGroup"],
                    scope: Scope::NewSecurityGroups,
                },
                Grant {
                    sid: "UseNetworks",
                    actions: &["ec2:CreateSecurityGroup"],
                    scope: Scope::Networks,
                },
                Grant {
                    sid: "ChangeRules",
                    actions: &[
                        "ec2:AuthorizeSecurityGroupIngress",
                        "ec2:CreateTags",
                        "ec2:DeleteSecurityGroup",
                        "ec2:RevokeSecurityGroupIngress",
                        "ec2:UpdateSecurityGroupRuleDescriptionsIngress",
                    ],
                    scope: Scope::OwnSecurityGroups,
                },
            ],
            Self::ProvisionKey => &[
                Grant {
                    sid: "CreateKey",
                    actions: &["kms:CreateKey"],
                    scope: Scope::NewKeys,
                },
                Grant {
                    sid: "TagNewKey",
                    actions: &["kms:TagResource"],
                    scope: Scope::TagsOfNewKeys,
                },
                Grant {
                    sid: "ChangeKey",
                    actions: &[
                        "kms:CreateAlias",
                        "kms:DeleteAlias",
                        "kms:EnableKeyRotation",
                        "kms:PutKeyPolicy",
                        "kms:ScheduleKeyDeletion",
                        "kms:TagResource",
                    ],
                    scope: Scope::OwnKeys,
                },
                Grant {
                    sid: "NameKey",
                    actions: &["kms:CreateAlias", "kms:DeleteAlias"],
                    scope: Scope::KeyAlias,
                },
                Grant {
                    sid: "ReadKey",
                    actions: KEY_READS,
                    scope: Scope::Keys,
                },
                Grant {
                    sid: "FindKey",
                    actions: &["tag:GetResources"],
                    scope: Scope::Everything,
                },
                Grant {
                    sid: "EncryptJoinParameter",
                    actions: &["kms:Encrypt"],
                    scope: Scope::ParameterKey,
                },
            ],
            Self::ProvisionEncryption => &[Grant {
                sid: "EncryptJoinParameterWithKey",
                actions: &["kms:Encrypt"],
                scope: Scope::JoinKey,
            }],
            Self::ProvisionImport => &[Grant {
                sid: "TakeGroupsOver",
                actions: &["autoscaling:CreateOrUpdateTags"],
                scope: Scope::OrphanGroups,
            }],
            Self::ProvisionLaunchConfigurations => &[Grant {
                sid: "ProvisionLaunchConfigurations",
                actions: &[
                    "autoscaling:CreateLaunchConfiguration",
                    "autoscaling:DeleteLaunchConfiguration",
                ],
                scope: Scope::LaunchConfigurations,
            }],
            Self::ProvisionPrune => &[Grant {
                sid: "DeleteFormerLaunchConfigurations",
                actions: &["autoscaling:DeleteLaunchConfiguration"],
                scope: Scope::FormerLaunchConfigurations,
            }],
            Self::ProvisionRoll => &[Grant {
                sid: "ReplaceNodes",
                actions: &[
                    "autoscaling:SetDesiredCapacity",
                    "autoscaling:TerminateInstanceInAutoScalingGroup",
                ],
                scope: Scope::OwnGroups,
            }],
            Self::ProvisionRefresh => &[
                Grant {
                    sid: "RefreshInstances",
                    actions: &["autoscaling:StartInstanceRefresh"],
                    scope: Scope::OwnGroups,
                },
                Grant {
                    sid: "FollowRefreshes",
                    actions: &["autoscaling:DescribeInstanceRefreshes"],
                    scope: Scope::Everything,
                },
            ],
            Self::Doctor => &[
                Grant {
                    sid: "LookAtResources",
                    actions: &[
                        "autoscaling:DescribeAutoScalingGroups",
                        "autoscaling:DescribeLifecycleHooks",
                        "autoscaling:DescribePolicies",
                        "autoscaling:DescribeScalingActivities",
                        "ec2:DescribeLaunchTemplateVersions",
                        "ec2:DescribeLaunchTemplates",
                        "ec2:DescribeSecurityGroups",
                        "ec2:DescribeSubnets",
                    ],
                    scope: Scope::Everything,
                },
                Grant {
                    sid: "LookAtJoinParameter",
                    actions: &["ssm:ListTagsForResource"],
                    scope: Scope::JoinParameter,
                },
                Grant {
                    sid: "LookAtNodeRole",
                    actions: ROLE_READS,
                    scope: Scope::NodeRole,
                },
                Grant {
                    sid: "LookAtNodeProfile",
                    actions: &["iam:GetInstanceProfile"],
                    scope: Scope::NodeProfile,
                },
            ],
            Self::DoctorCredential => &[
                Grant {
                    sid: "LookAtJoinCredential",
                    actions: &["ssm:GetParameter"],
                    scope: Scope::JoinParameter,
                },
                Grant {
                    sid: "DecryptPublishedCredential",
                    actions: &["kms:Decrypt"],
                    scope: Scope::JoinKey,
                },
            ],
            Self::DoctorImages => &[
                Grant {
                    sid: "LookAtImages",
                    actions: &["ec2:DescribeImages"],
                    scope: Scope::Everything,
                },
                Grant {
                    sid: "LookAtNamesOfImages",
                    actions: &["ssm:GetParameter"],
                    scope: Scope::NamedImages,
                },
                Grant {
                    sid: "LookAtSourceImages",
                    actions: &["ssm:GetParameter"],
                    scope: Scope::SourceParameters,
                },
            ],
            Self::DoctorBuilder => &[
                Grant {
                    sid: "LookAtBuilderRole",
                    actions: ROLE_READS,
                    scope: Scope::AmiRoleItself,
                },
                Grant {
                    sid: "LookAtBuilderProfile",
                    actions: &["iam:GetInstanceProfile"],
                    scope: Scope::AmiProfile,
                },
            ],
            Self::DoctorTypes => &[Grant {
                sid: "LookAtInstanceTypes",
                actions: &["ec2:DescribeInstanceTypes"],
                scope: Scope::Everything,
            }],
            Self::DoctorKey => &[
                Grant {
                    sid: "LookAtKey",
                    actions: KEY_READS,
                    scope: Scope::Keys,
                },
                Grant {
                    sid: "LookForKey",
                    actions: &["tag:GetResources"],
                    scope: Scope::Everything,
                },
            ],
            Self::DoctorLaunchConfigurations => &[Grant {
                sid: "LookAtLaunchConfigurations",
                actions: &["autoscaling:DescribeLaunchConfigurations"],
                scope: Scope::Everything,
            }],
            Self::Verification => &[Grant {
                sid: "LookAtNewNodes",
                actions: &["autoscaling:DescribeTags", "ec2:GetConsoleOutput"],
                scope: Scope::Everything,
            }],
        }
    }
}
