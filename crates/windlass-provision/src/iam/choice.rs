//! Which features an actor is granted: by name, by the cluster's file, or the usual ones; and where
//! an action is found among them.

use windlass_config::AwsLaunchApi;

use super::{Actor, Feature};
use crate::cluster_config::{ClusterConfig, ImageReference, ResolvedGroup};
use crate::manifests::parsed_flags;
use crate::provision::builder;

/// The word for what is granted where nothing is named.
const USUAL: &str = "usual";
/// The word for everything that an actor may need.
const ALL: &str = "all";
/// The word for what it does not work without.
const NONE: &str = "none";

/// A name that is none of an actor's features.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{name}` is no feature of the {}: write {}, or `{USUAL}`, `{ALL}` or `{NONE}`",
    .actor.name(),
    names(&.actor.features())
)]
pub struct UnknownFeature {
    /// The name.
    pub name: String,
    /// Whose feature it was to be.
    pub actor: Actor,
}

/// The features' names, for a sentence.
fn names(features: &[Feature]) -> String {
    let names: Vec<&str> = features.iter().map(|feature| feature.name()).collect();
    names.join(", ")
}

impl Actor {
    /// The features that are named, besides those that are always needed. `all` and `none` are names
    /// too, and `usual`, which is meant where none is named: what follows from the cluster's file, or
    /// what is commonly needed where there is no file.
    ///
    /// # Errors
    ///
    /// For a name that is none of the actor's features.
    pub fn chosen(
        self,
        named: &[&str],
        config: Option<&ClusterConfig>,
    ) -> Result<Vec<Feature>, UnknownFeature> {
        let named = if named.is_empty() { &[USUAL] } else { named };
        let all = self.features();
        let is_known = |name: &str| {
            [USUAL, ALL, NONE].contains(&name) || all.iter().any(|feature| feature.name() == name)
        };
        if let Some(stray) = named.iter().find(|name| !is_known(name)) {
            return Err(UnknownFeature {
                name: (*stray).to_owned(),
                actor: self,
            });
        }
        let is_meant = |feature: &Feature, name: &str| match name {
            USUAL => match config {
                Some(config) => feature.follows_from(config),
                None => feature.is_usual(),
            },
            ALL => true,
            NONE => false,
            name => feature.name() == name,
        };
        let is_chosen = |feature: &Feature| {
            feature.is_required() || named.iter().any(|name| is_meant(feature, name))
        };
        Ok(all.iter().copied().filter(is_chosen).collect())
    }
}

impl Feature {
    /// Whether its actor needs it for a cluster of this file. What is asked for on the command line
    /// alone does not follow from a file, but for what every cluster needs in time (`provision roll`,
    /// `ami prune`).
    pub fn follows_from(self, config: &ClusterConfig) -> bool {
        let spec = &config.spec;
        let ami = spec.ami.as_ref();
        let some_group =
            |test: fn(&ResolvedGroup<'_>) -> bool| config.groups().any(|group| test(&group));
        match self {
            required if required.is_required() => true,
            // The autoscaler's groups are those with the cluster's tags, which need not be the
            // file's alone; nodes are given the report by `provision`.
            Self::LaunchTemplates
            | Self::Attributes
            | Self::JoinReport
            | Self::ProvisionRoll
            | Self::DoctorCredential
            | Self::Verification => true,
            Self::InstanceTypes => !parsed_flags(config).aws.use_static_instance_list,
            Self::LaunchInstances => {
                parsed_flags(config).aws.launch_api == AwsLaunchApi::LaunchInstances
            }
            Self::ScaleInProtection => parsed_flags(config).aws.protect_from_scale_in,
            Self::Prices => parsed_flags(config).aws.ask_prices,
            // A group that was made by hand may have one.
            Self::LaunchConfigurations | Self::ProvisionLaunchConfigurations => some_group(|it| {
                it.group.launch_configuration || it.group.auto_scaling_group.is_some()
            }),
            Self::DoctorLaunchConfigurations => some_group(|it| it.group.launch_configuration),
            Self::ProvisionImport | Self::ProvisionPrune => {
                some_group(|it| it.group.auto_scaling_group.is_some())
            }
            Self::ProvisionImages => some_group(|it| it.image.is_some()),
            Self::DoctorImages => ami.is_some() || some_group(|it| it.image.is_some()),
            Self::ProvisionTypes | Self::DoctorTypes => {
                some_group(|it| 1 < it.instance_types.len() || has_found_image(it))
            }
            Self::ProvisionZones => {
                spec.node_security_group.is_some() || some_group(|it| it.group.zonal)
            }
            Self::ProvisionSecurityGroup => spec.node_security_group.is_some(),
            Self::ProvisionKey | Self::DoctorKey => spec.token.create_key,
            Self::ProvisionEncryption => !spec.token.create_key && spec.token.kms_key.is_some(),
            Self::ProvisionBuilder => builder::role_name(config).is_some(),
            Self::AmiPruning | Self::DoctorBuilder => ami.is_some(),
            Self::AmiAnnouncement => ami.is_some_and(|ami| ami.publish.parameter.is_some()),
            Self::AmiDeprecation => ami.is_some_and(|ami| ami.publish.deprecate_after.is_some()),
            Self::AmiKeys => ami.is_some_and(|ami| {
                let mut copies = ami.publish.copies.iter();
                ami.builder.root_volume.kms_key.is_some()
                    || copies.any(|copy| copy.kms_key.is_some())
            }),
            // Templates of the file name images by their ids, and its nodes have labels and taints
            // from their user data. The rest only somebody else's groups have.
            _ => false,
        }
    }
}

/// Whether a group's image is found by its tags: of several architectures, by that of its type.
fn has_found_image(group: &ResolvedGroup<'_>) -> bool {
    matches!(group.image, Some(ImageReference::Newest { .. }))
}

/// Who is granted an action (`ssm:GetParameter`, or without the service), and by which features: the
/// actor that is asked about, or another if it never needs it. None for an action of nobody's.
pub fn granting(action: &str, actor: Actor) -> Option<(Actor, Vec<Feature>)> {
    let is_it = |granted: &str| granted == action || granted.split(':').nth(1) == Some(action);
    let mut actors = [actor].into_iter().chain(Actor::ALL);
    actors.find_map(|actor| {
        let mut features = actor.features();
        features.retain(|feature| {
            let mut granted = feature.grants().iter().flat_map(|grant| grant.actions);
            granted.any(|granted| is_it(granted))
        });
        (!features.is_empty()).then_some((actor, features))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::iam::{Request, Verdict, evaluate, policy};

    const ACCOUNT: &str = "123456789012";

    fn example() -> ClusterConfig {
        let text = include_str!("../../../../examples/cluster.yaml");
        ClusterConfig::read("cluster.yaml", text).unwrap()
    }

    /// A file with one plain group and more.
    fn file(more: &str, of_group: &str) -> ClusterConfig {
        let text = format!(
            "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec:\n  cluster: prod\n  \
             region: us-west-2\n  endpoint: api:443\n  kubernetes: v1.36.3\n  \
             subnets: [subnet-1, subnet-2]\n  securityGroups: [sg-1]\n  \
             defaults: {{image: {{id: ami-1}}, instanceType: m5.large}}\n{more}  \
             groups:\n  - {{name: web, min: 0, max: 3{of_group}}}\n"
        );
        ClusterConfig::read("cluster.yaml", &text).unwrap()
    }

    /// `spec.ami` with more in it.
    fn ami(more: &str) -> ClusterConfig {
        let sha256 = "0".repeat(64);
        let ami = format!(
            "  ami:\n    source: {{id: ami-1}}\n    windlass: {{url: 'https://a.example/w', \
             sha256: '{sha256}'}}\n{more}"
        );
        file(&ami, "")
    }

    fn names_of(actor: Actor, config: &ClusterConfig) -> Vec<&'static str> {
        let features = actor.chosen(&[], Some(config)).unwrap();
        features.iter().map(|it| it.name()).collect()
    }

    /// What follows from a file and not from the plain one.
    fn added(actor: Actor, config: &ClusterConfig) -> Vec<&'static str> {
        let plain = names_of(actor, &file("", ""));
        let mut names = names_of(actor, config);
        names.retain(|name| !plain.contains(name));
        names
    }

    #[test]
    fn a_plain_file_needs_the_least() {
        let plain = file("", "");
        for (actor, names) in [
            (
                Actor::Autoscaler,
                &["groups", "launch-templates", "instance-types", "attributes"][..],
            ),
            (Actor::Node, &["join", "join-report"]),
            (Actor::Rotator, &["rotation"]),
            (Actor::CsrApprover, &["approval"]),
            (Actor::AmiBuilder, &["ami-build"]),
            (Actor::AmiInstance, &["ami-report"]),
            (
                Actor::Provisioner,
                &["provision", "provision-images", "provision-roll"],
            ),
            (
                Actor::Doctor,
                &["doctor", "doctor-credential", "doctor-images", "verify"],
            ),
        ] {
            assert_eq!(names_of(actor, &plain), names, "{}", actor.name());
        }
    }

    #[test]
    fn what_the_file_says_brings_the_features() {
        let types = ", instances: {types: [m5.large, m5a.large]}";
        for (config, provisioner, doctor) in vec![
            (
                file("  token: {createKey: true}\n", ""),
                &["provision-key"][..],
                &["doctor-key"][..],
            ),
            (
                file("  token: {kmsKey: alias/prod}\n", ""),
                &["provision-encryption"],
                &[],
            ),
            (file("", ", zonal: true"), &["provision-zones"], &[]),
            (
                file("  nodeSecurityGroup: {}\n", ""),
                &["provision-zones", "provision-security-group"],
                &[],
            ),
            (file("", types), &["provision-types"], &["doctor-types"]),
            (
                file("", ", launchConfiguration: true"),
                &["provision-launch-configurations"],
                &["doctor-launch-configurations"],
            ),
            (
                file("", ", autoScalingGroup: k8s-web"),
                &[
                    "provision-import",
                    "provision-launch-configurations",
                    "provision-prune",
                ],
                &[],
            ),
            (file("", ", image: {parameter: /golden/image}"), &[], &[]),
            (
                file("", ", image: {tags: {a: b}}"),
                &["provision-types"],
                &["doctor-types"],
            ),
            (ami(""), &["provision-builder"], &["doctor-builder"]),
            (
                ami("    builder: {instanceProfile: mine}\n"),
                &[],
                &["doctor-builder"],
            ),
        ] {
            assert_eq!(added(Actor::Provisioner, &config), provisioner);
            assert_eq!(added(Actor::Doctor, &config), doctor);
        }
    }

    #[test]
    fn what_images_are_made_for_brings_the_builder_s_features() {
        for (more, names) in [
            ("", &["ami-pruning"][..]),
            (
                "    publish: {parameter: /golden/image}\n",
                &["ami-announcement", "ami-pruning"],
            ),
            (
                "    publish: {deprecateAfter: 90d}\n",
                &["ami-deprecation", "ami-pruning"],
            ),
            (
                "    publish: {copies: [{region: eu-west-1}]}\n",
                &["ami-pruning"],
            ),
            (
                "    publish: {copies: [{region: eu-west-1, kmsKey: alias/images}]}\n",
                &["ami-pruning", "ami-keys"],
            ),
            (
                "    builder: {rootVolume: {kmsKey: alias/images}}\n",
                &["ami-pruning", "ami-keys"],
            ),
        ] {
            assert_eq!(added(Actor::AmiBuilder, &ami(more)), names, "{more}");
        }
    }

    #[test]
    fn the_flags_of_the_autoscaler_bring_its_features() {
        for (flag, names) in [
            (
                "--aws-launch-api=launch-instances",
                &["launch-instances"][..],
            ),
            ("--aws-protect-from-scale-in", &["scale-in-protection"]),
            ("--aws-ask-prices", &["prices"]),
            ("--aws-ask-prices=false", &[]),
        ] {
            let config = file(&format!("  autoscaler: {{flags: ['{flag}']}}\n"), "");
            assert_eq!(added(Actor::Autoscaler, &config), names, "{flag}");
        }
        let config = file(
            "  autoscaler: {flags: [--aws-use-static-instance-list]}\n",
            "",
        );
        assert!(!names_of(Actor::Autoscaler, &config).contains(&"instance-types"));
        let configurations = file("", ", launchConfiguration: true");
        assert_eq!(
            added(Actor::Autoscaler, &configurations),
            ["launch-configurations"]
        );
    }

    fn allows(document: &Value, action: &str, resource: &str, context: &[(&str, &str)]) -> bool {
        let request = Request::new(action, resource, context);
        evaluate(document, &request).unwrap() == Verdict::Allowed
    }

    /// The policies of the sample let their actors do what the sample says, by the names in it.
    #[test]
    fn the_sample_s_policies_reach_what_the_sample_names() {
        let config = example();
        let of = |actor: Actor| {
            let features = actor.chosen(&[], Some(&config)).unwrap();
            policy(&features, &config.place(ACCOUNT))
        };
        let ours = ("aws:RequestTag/windlass.dev/cluster", "prod");
        let join = "arn:aws:ssm:us-west-2:123456789012:parameter/windlass/prod/join";
        let through_ssm = [
            ("kms:EncryptionContext:PARAMETER_ARN", join),
            ("kms:ViaService", "ssm.us-west-2.amazonaws.com"),
            ("kms:ResourceAliases", "alias/windlass-prod"),
        ];
        let image = "arn:aws:ssm:us-west-2:123456789012:parameter/windlass/prod/image/amd64";
        let copy = "arn:aws:ec2:eu-west-1::image/ami-1";
        let build = [("aws:ResourceTag/windlass.dev/build", "b1")];
        let through_ec2 = |region: &'static str| {
            [
                ("kms:ViaService", region),
                ("kms:ResourceAliases", "alias/images"),
            ]
        };
        let (here, there) = (
            through_ec2("ec2.us-west-2.amazonaws.com"),
            through_ec2("ec2.eu-west-1.amazonaws.com"),
        );
        let group = "arn:aws:autoscaling:us-west-2:123456789012:autoScalingGroup:u:\
                     autoScalingGroupName/k8s-workers-a";
        for (actor, action, resource, context) in [
            (
                Actor::Provisioner,
                "kms:Encrypt",
                "arn:aws:kms:us-west-2:123456789012:key/1",
                &through_ssm[..],
            ),
            (
                Actor::Provisioner,
                "autoscaling:CreateAutoScalingGroup",
                group,
                &[ours],
            ),
            (
                Actor::Provisioner,
                "autoscaling:CreateOrUpdateTags",
                group,
                &[ours],
            ),
            (Actor::Provisioner, "ssm:GetParameter", image, &[]),
            (Actor::Provisioner, "ec2:DescribeInstanceTypes", "*", &[]),
            (Actor::AmiBuilder, "ssm:PutParameter", image, &[]),
            (Actor::AmiBuilder, "ec2:DescribeSnapshots", "*", &[]),
            (Actor::AmiBuilder, "ec2:CopyImage", copy, &[]),
            (Actor::AmiBuilder, "ec2:CreateTags", copy, &[]),
            (Actor::AmiBuilder, "ec2:ModifyImageAttribute", copy, &build),
            (
                Actor::AmiBuilder,
                "ec2:EnableImageDeprecation",
                copy,
                &build,
            ),
            (
                Actor::AmiBuilder,
                "kms:CreateGrant",
                "arn:aws:kms:us-west-2:123456789012:key/2",
                &here,
            ),
            (
                Actor::AmiBuilder,
                "kms:ReEncryptTo",
                "arn:aws:kms:eu-west-1:123456789012:key/3",
                &there,
            ),
            (Actor::Doctor, "ssm:GetParameter", join, &[]),
            (
                Actor::Doctor,
                "kms:Decrypt",
                "arn:aws:kms:us-west-2:123456789012:key/1",
                &through_ssm,
            ),
        ] {
            let (name, document) = (actor.name(), of(actor));
            assert!(
                allows(&document, action, resource, context),
                "{name} {action} {resource}"
            );
        }
        // The sample makes no key, and nobody who looks may write.
        assert!(!of(Actor::Provisioner).to_string().contains("kms:CreateKey"));
        assert!(!allows(&of(Actor::Doctor), "ssm:PutParameter", join, &[]));
        assert!(!allows(
            &of(Actor::AmiBuilder),
            "ssm:PutParameter",
            join,
            &[]
        ));
    }

    #[test]
    fn features_may_be_named_besides_the_usual_ones() {
        let plain = file("", "");
        let names = |named: &[&str], config| -> Vec<&str> {
            let chosen = Actor::AmiBuilder.chosen(named, config).unwrap();
            chosen.iter().map(|it| it.name()).collect()
        };
        assert_eq!(names(&["none"], None), ["ami-build"]);
        assert_eq!(names(&["all"], Some(&plain)).len(), 5);
        assert_eq!(
            names(&["ami-pruning"], Some(&plain)),
            ["ami-build", "ami-pruning"]
        );
        assert_eq!(
            names(&["usual", "ami-pruning"], None),
            ["ami-build", "ami-pruning", "ami-keys"]
        );
        let error = Actor::AmiBuilder.chosen(&["pruning"], None).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`pruning` is no feature of the ami-builder") && text.contains("`usual`"),
            "{text}"
        );
    }
}
