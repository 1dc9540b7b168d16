//! What needs permissions of its own, and when.

use super::Actor;

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
    /// Machine images are marked as deprecated from some day on.
    AmiDeprecation,
    /// Old machine images and what killed builds have left are listed and removed.
    AmiPruning,
    /// The disks of machine images are encrypted with keys of one's own.
    AmiKeys,
    /// The building instance says how far it is.
    AmiReport,
    /// The cluster's resources are made, changed and deleted.
    Provision,
    /// The role of the instances that build machine images is made too.
    ProvisionBuilder,
    /// Groups name their image by its tags or by a parameter.
    ProvisionImages,
    /// Groups of several instance types.
    ProvisionTypes,
    /// Groups with one group for each zone, and the VPC of the nodes.
    ProvisionZones,
    /// A security group of the nodes is made too.
    ProvisionSecurityGroup,
    /// The key of the join credential is made too.
    ProvisionKey,
    /// The join credential is encrypted with a key that is there already.
    ProvisionEncryption,
    /// Groups that were made by hand are taken over.
    ProvisionImport,
    /// Groups of launch configurations.
    ProvisionLaunchConfigurations,
    /// Launch configurations that groups had before their launch templates are deleted.
    ProvisionPrune,
    /// Nodes of an older template are replaced.
    ProvisionRoll,
    /// AWS itself replaces nodes of an older template.
    ProvisionRefresh,
    /// The cluster's resources are looked at.
    Doctor,
    /// The published join credential is looked at.
    DoctorCredential,
    /// The images that groups and builds name are looked up.
    DoctorImages,
    /// The role of the instances that build machine images is looked at too.
    DoctorBuilder,
    /// Groups of several instance types.
    DoctorTypes,
    /// The key that was made for the join credential is looked at too.
    DoctorKey,
    /// Groups of launch configurations.
    DoctorLaunchConfigurations,
    /// A verification says why nodes do not come.
    Verification,
}

impl Feature {
    /// All of them, in the order of the documents.
    pub const ALL: [Self; 44] = [
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
        Self::AmiDeprecation,
        Self::AmiPruning,
        Self::AmiKeys,
        Self::AmiReport,
        Self::Provision,
        Self::ProvisionBuilder,
        Self::ProvisionImages,
        Self::ProvisionTypes,
        Self::ProvisionZones,
        Self::ProvisionSecurityGroup,
        Self::ProvisionKey,
        Self::ProvisionEncryption,
        Self::ProvisionImport,
        Self::ProvisionLaunchConfigurations,
        Self::ProvisionPrune,
        Self::ProvisionRoll,
        Self::ProvisionRefresh,
        Self::Doctor,
        Self::DoctorCredential,
        Self::DoctorImages,
        Self::DoctorBuilder,
        Self::DoctorTypes,
        Self::DoctorKey,
        Self::DoctorLaunchConfigurations,
        Self::Verification,
    ];

    /// Whose it is.
    pub fn actor(self) -> Actor {
        match self {
            Self::Join | Self::JoinReport | Self::JoinTags => Actor::Node,
            Self::Rotation => Actor::Rotator,
            Self::Approval => Actor::CsrApprover,
            Self::AmiBuild
            | Self::AmiAnnouncement
            | Self::AmiDeprecation
            | Self::AmiPruning
            | Self::AmiKeys => Actor::AmiBuilder,
            Self::AmiReport => Actor::AmiInstance,
            Self::Provision
            | Self::ProvisionBuilder
            | Self::ProvisionImages
            | Self::ProvisionTypes
            | Self::ProvisionZones
            | Self::ProvisionSecurityGroup
            | Self::ProvisionKey
            | Self::ProvisionEncryption
            | Self::ProvisionImport
            | Self::ProvisionLaunchConfigurations
            | Self::ProvisionPrune
            | Self::ProvisionRoll
            | Self::ProvisionRefresh => Actor::Provisioner,
            Self::Doctor
            | Self::DoctorCredential
            | Self::DoctorImages
            | Self::DoctorBuilder
            | Self::DoctorTypes
            | Self::DoctorKey
            | Self::DoctorLaunchConfigurations
            | Self::Verification => Actor::Doctor,
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
            Self::AmiDeprecation => "ami-deprecation",
            Self::AmiPruning => "ami-pruning",
            Self::AmiKeys => "ami-keys",
            Self::AmiReport => "ami-report",
            Self::Provision => "provision",
            Self::ProvisionBuilder => "provision-builder",
            Self::ProvisionImages => "provision-images",
            Self::ProvisionTypes => "provision-types",
            Self::ProvisionZones => "provision-zones",
            Self::ProvisionSecurityGroup => "provision-security-group",
            Self::ProvisionKey => "provision-key",
            Self::ProvisionEncryption => "provision-encryption",
            Self::ProvisionImport => "provision-import",
            Self::ProvisionLaunchConfigurations => "provision-launch-configurations",
            Self::ProvisionPrune => "provision-prune",
            Self::ProvisionRoll => "provision-roll",
            Self::ProvisionRefresh => "provision-refresh",
            Self::Doctor => "doctor",
            Self::DoctorCredential => "doctor-credential",
            Self::DoctorImages => "doctor-images",
            Self::DoctorBuilder => "doctor-builder",
            Self::DoctorTypes => "doctor-types",
            Self::DoctorKey => "doctor-key",
            Self::DoctorLaunchConfigurations => "doctor-launch-configurations",
            Self::Verification => "verify",
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
                | Self::Provision
                | Self::Doctor
        )
    }

    /// Whether it is granted where neither a file nor anybody says otherwise: what groups are
    /// commonly made of.
    pub fn is_usual(self) -> bool {
        self.is_required()
            || matches!(
                self,
                Self::LaunchTemplates
                    | Self::InstanceTypes
                    | Self::Attributes
                    | Self::JoinReport
                    | Self::ProvisionBuilder
                    | Self::ProvisionImages
                    | Self::ProvisionTypes
                    | Self::ProvisionEncryption
                    | Self::ProvisionRoll
                    | Self::AmiKeys
                    | Self::DoctorCredential
                    | Self::DoctorImages
                    | Self::DoctorBuilder
                    | Self::DoctorTypes
                    | Self::Verification
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
            | Self::AmiReport
            | Self::Provision
            | Self::Doctor => "always",
            Self::ProvisionBuilder => "`spec.ami` without an instance profile of your own",
            Self::ProvisionImages => "groups name images",
            Self::ProvisionTypes | Self::DoctorTypes => {
                "groups name several instance types, or images by `tags`"
            }
            Self::ProvisionZones => "`zonal: true`, or `spec.nodeSecurityGroup`",
            Self::ProvisionSecurityGroup => "`spec.nodeSecurityGroup`",
            Self::ProvisionKey | Self::DoctorKey => "`spec.token.createKey`",
            Self::ProvisionEncryption => "`spec.token.kmsKey`",
            Self::DoctorCredential => "`windlass doctor`, and `windlass verify --config`",
            Self::DoctorImages => "groups name images, or `spec.ami` builds them",
            Self::DoctorBuilder => "`spec.ami`",
            Self::DoctorLaunchConfigurations => "`launchConfiguration: true`",
            Self::Verification => "`windlass verify --config`",
            Self::AmiKeys => {
                "`kmsKey` in `spec.ami.builder.rootVolume` or in one of `spec.ami.publish.copies`"
            }
            Self::ProvisionImport => "`windlass provision import`",
            Self::ProvisionLaunchConfigurations => {
                "`launchConfiguration: true`, or such groups are imported"
            }
            Self::ProvisionPrune => "`windlass provision migrate --prune`",
            Self::ProvisionRoll => "`windlass provision roll`",
            Self::ProvisionRefresh => "`windlass provision roll --strategy instance-refresh`",
            Self::AmiAnnouncement => "`spec.ami.publish.parameter`",
            Self::AmiDeprecation => "`spec.ami.publish.deprecateAfter`",
            Self::AmiPruning => "`windlass ami list`, `prune` and `gc`",
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
            Self::AmiDeprecation => "no image is deprecated",
            Self::AmiPruning => "old images and what killed builds have left stay",
            Self::Provision => "nothing is provisioned",
            Self::ProvisionBuilder => "the builder's role is to be made by hand",
            Self::ProvisionImages => "images are to be named by their ids, and are not looked at",
            Self::ProvisionTypes | Self::DoctorTypes => "types are not compared",
            Self::ProvisionZones => {
                "groups are to name one subnet each, and the nodes' security groups are made by hand"
            }
            Self::ProvisionSecurityGroup => "the nodes' security groups are made by hand",
            Self::ProvisionKey => "an existing key is to be named, or none",
            Self::ProvisionEncryption => "the account's own key is to encrypt the join parameter",
            Self::AmiKeys => "the account's own key for volumes is to encrypt images",
            Self::Doctor => "nothing of AWS is checked",
            Self::DoctorCredential => {
                "the credential counts as failed with `doctor`; `verify` leaves it to the nodes"
            }
            Self::DoctorImages => "images and resources are not checked",
            Self::DoctorBuilder | Self::DoctorKey | Self::DoctorLaunchConfigurations => {
                "resources are not checked"
            }
            Self::Verification => "less is said of nodes that do not come",
            Self::ProvisionImport => "whoever made such groups has to tag them",
            Self::ProvisionLaunchConfigurations => "groups have launch templates alone",
            Self::ProvisionPrune => {
                "launch configurations that groups had before are to be deleted by hand"
            }
            Self::ProvisionRoll => "old nodes stay until something else ends them",
            Self::ProvisionRefresh => "`roll` replaces old nodes itself",
            Self::JoinReport => "a failed join is noticed after the provision time alone",
            Self::Approval => "no certificate is approved",
        }
    }
}
