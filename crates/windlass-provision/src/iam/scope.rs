//! What permissions are limited to: resources and conditions of a statement.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Place;
use crate::provision::OWNER_TAG;

/// Tag that builds of images put on all that they make.
const BUILD_TAG: &str = "windlass.dev/build";

/// What a permission is limited to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Everything: AWS knows no resource for these actions.
    Everything,
    /// The cluster's Auto Scaling groups, by the autoscaler's tag or by name.
    Groups,
    /// The cluster's EKS node groups.
    Nodegroups,
    /// What a fleet of the account in the region is made of.
    Fleet,
    /// Public image parameters of AWS.
    ImageParameters,
    /// The join credential's parameters: the encrypted one, and the plain one where there is one.
    JoinParameters,
    /// The key that encrypts it, through Systems Manager alone.
    JoinKey,
    /// What builds of machine images make: everything in the cluster's region, images and their
    /// snapshots where they are copied to.
    AmiFleet,
    /// What builds of machine images have made, by its tag.
    AmiMade,
    /// The role of the building instance, for EC2 alone.
    AmiRole,
    /// The role of the building instance itself.
    AmiRoleItself,
    /// The building instance's profile.
    AmiProfile,
    /// Reports of building instances.
    AmiReports,
    /// Parameters that builds write the ids of the cluster's machine images to.
    AmiParameters,
    /// Parameters by which groups name their machine images, besides AWS's public ones.
    NamedImages,
    /// Parameters that name stock images.
    SourceParameters,
    /// Keys of the images' disks that are named by ARN or id, through EC2 alone.
    AmiKeys,
    /// Keys of the images' disks that are named by an alias, through EC2 alone.
    AmiKeysByAlias,
    /// The parameter that keeps two from changing a cluster at once.
    Lock,
    /// The encrypted join credential's parameter.
    JoinParameter,
    /// The nodes' role.
    NodeRole,
    /// The nodes' role, for EC2 alone.
    PassedNodeRole,
    /// The nodes' instance profile.
    NodeProfile,
    /// Groups of the cluster's or the file's names that are made with its tag.
    NewGroups,
    /// Groups without an owner that are given the cluster's tag.
    OrphanGroups,
    /// Groups with the cluster's tag.
    OwnGroups,
    /// Launch templates that are made with the cluster's tag.
    NewTemplates,
    /// Launch templates with the cluster's tag.
    OwnTemplates,
    /// The cluster's tag on launch templates, what is launched by them, and security groups, when it is
    /// made.
    TagsOfNew,
    /// Security groups that are made with the cluster's tag.
    NewSecurityGroups,
    /// VPCs, for what is made in them.
    Networks,
    /// Security groups with the cluster's tag.
    OwnSecurityGroups,
    /// Instances of launch templates.
    Launches,
    /// Launch configurations of the cluster's or the file's names: they have no tags.
    LaunchConfigurations,
    /// Launch configurations of any name, as people gave them: AWS itself keeps those that a group
    /// has.
    FormerLaunchConfigurations,
    /// Keys that are made with the cluster's tag: AWS knows no resource for making one.
    NewKeys,
    /// The cluster's tag on new keys.
    TagsOfNewKeys,
    /// Keys with the cluster's tag.
    OwnKeys,
    /// The join key's alias.
    KeyAlias,
    /// Keys, for looking.
    Keys,
    /// Keys with the cluster's tag, for the join parameter through Systems Manager alone.
    ParameterKey,
}

/// A statement's resources and conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    /// Patterns of ARNs.
    resources: Vec<String>,
    /// All of them must hold.
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    operator: &'static str,
    key: String,
    value: Value,
    /// A value that it holds for; none where it holds for a key that is missing.
    sample: Option<String>,
}

impl Condition {
    fn equals(key: impl Into<String>, value: impl Into<String>) -> Self {
        let value = value.into();
        Self {
            operator: "StringEquals",
            key: key.into(),
            value: json!(value),
            sample: Some(value),
        }
    }

    fn is_one_of<T: AsRef<str> + serde::Serialize>(key: &str, values: &[T]) -> Self {
        Self {
            operator: "StringEquals",
            key: key.to_owned(),
            value: match values {
                [one] => json!(one),
                several => json!(several),
            },
            sample: values.first().map(|value| value.as_ref().to_owned()),
        }
    }

    fn has_alias<T: AsRef<str> + serde::Serialize>(aliases: &[T]) -> Self {
        Self {
            operator: "ForAnyValue:StringEquals",
            ..Self::is_one_of("kms:ResourceAliases", aliases)
        }
    }

    fn is_there(key: impl Into<String>, sample: &str) -> Self {
        Self {
            operator: "Null",
            key: key.into(),
            value: json!("false"),
            sample: Some(sample.to_owned()),
        }
    }

    fn is_missing(key: impl Into<String>) -> Self {
        Self {
            operator: "Null",
            key: key.into(),
            value: json!("true"),
            sample: None,
        }
    }
}

impl Limit {
    fn to(resources: impl IntoIterator<Item = String>) -> Self {
        Self {
            resources: resources.into_iter().collect(),
            conditions: Vec::new(),
        }
    }

    fn when(mut self, conditions: impl IntoIterator<Item = Condition>) -> Self {
        self.conditions.extend(conditions);
        self
    }

    /// Makes this one reach what another does too, where both have the same conditions.
    pub(super) fn takes_in(&mut self, other: &Self) -> bool {
        let is_alike = self.conditions == other.conditions;
        if is_alike {
            let more = other.resources.iter();
            let more = more.filter(|it| !self.resources.contains(it)).cloned();
            let more: Vec<String> = more.collect();
            self.resources.extend(more);
        }
        is_alike
    }

    /// The statement's `Resource`: one word, or a list.
    pub(super) fn resource(&self) -> Value {
        match self.resources.as_slice() {
            [one] => json!(one),
            several => json!(several),
        }
    }

    /// The statement's `Condition`, if it has one.
    pub(super) fn condition(&self) -> Option<Value> {
        let mut operators: Map<String, Value> = Map::new();
        for Condition {
            operator,
            key,
            value,
            ..
        } in &self.conditions
        {
            let keys = operators
                .entry(*operator)
                .or_insert_with(|| Value::Object(Map::new()));
            keys[key.as_str()] = value.clone();
        }
        (!operators.is_empty()).then_some(Value::Object(operators))
    }

    /// A thing that it allows: its ARN, and the condition keys that AWS has for it.
    pub(super) fn sample(&self) -> (String, BTreeMap<String, String>) {
        let resource = match self.resources.first().map_or("*", String::as_str) {
            "*" => "*".to_owned(),
            pattern => pattern.replace('*', "any"),
        };
        let context = self.conditions.iter().filter_map(|condition| {
            let sample = condition.sample.clone()?;
            Some((condition.key.clone(), sample))
        });
        (resource, context.collect())
    }
}

/// The limit of a scope in a place; none where there is nothing to grant: AWS's own key lets who may
/// read the parameter decrypt it.
pub(super) fn limit(scope: Scope, place: &Place) -> Option<Limit> {
    let cluster = place.cluster.as_str();
    let one = |arn: String| Limit::to([arn]);
    let parameter = |rest: String| one(place.arn("ssm", &format!("parameter/{rest}")));
    let made_ours = || Condition::equals(format!("aws:RequestTag/{OWNER_TAG}"), cluster);
    let is_ours = || Condition::equals(format!("aws:ResourceTag/{OWNER_TAG}"), cluster);
    let for_ec2 = || Condition::equals("iam:PassedToService", place.ec2_service());
    let through_ssm = || {
        [
            Condition::equals("kms:EncryptionContext:PARAMETER_ARN", place.parameter_arn()),
            Condition::equals("kms:ViaService", place.ssm_host()),
        ]
    };
    let any_group = || one(group_arn(place, "*"));
    let any_template = || one(place.arn("ec2", "launch-template/*"));
    let any_security_group = || one(place.arn("ec2", "security-group/*"));
    let any_key = || one(place.arn("kms", "key/*"));
    Some(match scope {
        Scope::Everything => one("*".to_owned()),
        Scope::Groups => groups(place),
        Scope::Nodegroups => one(place.arn("eks", &format!("nodegroup/{cluster}/*/*"))),
        Scope::Fleet => fleet(place),
        Scope::ImageParameters => one(public_images(place)),
        Scope::JoinParameters => Limit::to(
            [place.parameter_arn()]
                .into_iter()
                .chain(place.plain_parameter_arn()),
        ),
        Scope::JoinParameter => one(place.parameter_arn()),
        Scope::JoinKey => join_key(place)?.when(through_ssm()),
        Scope::AmiFleet => ami_fleet(place),
        Scope::AmiMade => ami_fleet(place).when([Condition::is_there(
            format!("aws:ResourceTag/{BUILD_TAG}"),
            "any",
        )]),
        Scope::AmiRole => one(place.builder_role_arn()).when([for_ec2()]),
        Scope::AmiRoleItself => one(place.role_arn("ami")),
        Scope::AmiProfile => one(place.builder_profile_arn()),
        Scope::AmiReports => parameter("windlass/ami/*/report".to_owned()),
        Scope::AmiParameters => own_images_and(place, &place.images.announced),
        Scope::NamedImages => own_images_and(place, &place.images.named),
        Scope::SourceParameters => {
            let named = place.images.source.iter();
            let named = named.map(|name| place.arn_of_parameter(name));
            Limit::to(named.chain([public_images(place)]))
        }
        Scope::AmiKeys => ami_keys(place, false)?,
        Scope::AmiKeysByAlias => ami_keys(place, true)?,
        Scope::Lock => parameter(format!("windlass/{cluster}/lock")),
        Scope::NodeRole => one(place.role_arn("node")),
        Scope::PassedNodeRole => one(place.role_arn("node")).when([for_ec2()]),
        Scope::NodeProfile => one(place.instance_profile_arn("node")),
        Scope::NewGroups => new_groups(place).when([made_ours()]),
        Scope::OrphanGroups => any_group().when([
            made_ours(),
            Condition::is_missing(format!("aws:ResourceTag/{OWNER_TAG}")),
        ]),
        Scope::OwnGroups => any_group().when([is_ours()]),
        Scope::NewTemplates => any_template().when([made_ours()]),
        Scope::OwnTemplates => any_template().when([is_ours()]),
        Scope::TagsOfNew => fleet(place).when([
            Condition::is_one_of(
                "ec2:CreateAction",
                &[
                    "CreateLaunchTemplate",
                    "CreateSecurityGroup",
                    "RunInstances",
                ],
            ),
            made_ours(),
        ]),
        Scope::NewSecurityGroups => any_security_group().when([made_ours()]),
        Scope::Networks => one(place.arn("ec2", "vpc/*")),
        Scope::OwnSecurityGroups => any_security_group().when([is_ours()]),
        Scope::Launches => {
            let template = place.arn("ec2", "launch-template/*");
            fleet(place).when([Condition {
                operator: "ArnLike",
                key: "ec2:LaunchTemplate".to_owned(),
                sample: Some(template.replace('*', "any")),
                value: json!(template),
            }])
        }
        Scope::LaunchConfigurations => launch_configurations(place),
        Scope::FormerLaunchConfigurations => one(configuration_arn(place, "*")),
        Scope::NewKeys => one("*".to_owned()).when([made_ours()]),
        Scope::TagsOfNewKeys => any_key().when([made_ours()]),
        Scope::OwnKeys => any_key().when([is_ours()]),
        Scope::KeyAlias => one(place.arn("kms", &place.join_key_alias())),
        Scope::Keys => any_key(),
        Scope::ParameterKey => any_key().when([is_ours()]).when(through_ssm()),
    })
}

/// All of EC2 in the account and region; images and snapshots belong to no account by their names.
fn fleet(place: &Place) -> Limit {
    let Place {
        partition, region, ..
    } = place;
    Limit::to([
        place.arn("ec2", "*"),
        format!("arn:{partition}:ec2:{region}::image/*"),
        format!("arn:{partition}:ec2:{region}::snapshot/*"),
    ])
}

fn group_arn(place: &Place, name: &str) -> String {
    place.arn(
        "autoscaling",
        &format!("autoScalingGroup:*:autoScalingGroupName/{name}"),
    )
}

fn named_groups(place: &Place) -> Limit {
    Limit::to(place.groups.iter().map(|name| group_arn(place, name)))
}

fn groups(place: &Place) -> Limit {
    if !place.groups.is_empty() {
        return named_groups(place);
    }
    let tag = format!(
        "aws:ResourceTag/k8s.io/cluster-autoscaler/{}",
        place.cluster
    );
    Limit::to([group_arn(place, "*")]).when([match &place.tag_value {
        None => Condition::is_there(tag, "owned"),
        Some(value) => Condition::equals(tag, value),
    }])
}

fn new_groups(place: &Place) -> Limit {
    if !place.groups.is_empty() {
        return named_groups(place);
    }
    let own = format!("{}-*", place.cluster);
    let names = [&own].into_iter().chain(&place.other_groups);
    Limit::to(names.map(|name| group_arn(place, name)))
}

/// Their names are those of their groups with a digest behind.
fn launch_configurations(place: &Place) -> Limit {
    let others = place.other_groups.iter();
    let others = others.map(|name| name.trim_end_matches("-*"));
    let names = [place.cluster.as_str()].into_iter().chain(others);
    Limit::to(names.map(|name| configuration_arn(place, &format!("{name}-*"))))
}

fn configuration_arn(place: &Place, name: &str) -> String {
    place.arn(
        "autoscaling",
        &format!("launchConfiguration:*:launchConfigurationName/{name}"),
    )
}

/// Parameters of AWS that name its images, which belong to no account.
fn public_images(place: &Place) -> String {
    format!(
        "arn:{}:ssm:{}::parameter/aws/service/*",
        place.partition, place.region
    )
}

/// The parameters of the cluster's own images, and others.
fn own_images_and<'a>(place: &Place, others: impl IntoIterator<Item = &'a String>) -> Limit {
    let others = others.into_iter().map(|name| place.arn_of_parameter(name));
    let own = place.arn_of_parameter(&format!("windlass/{}/image/*", place.cluster));
    Limit::to(others.chain([own]))
}

/// The cluster's region, and images and snapshots of those that images are copied to.
fn ami_fleet(place: &Place) -> Limit {
    let mut limit = fleet(place);
    for region in &place.images.copies {
        for kind in ["image", "snapshot"] {
            let arn = format!("arn:{}:ec2:{region}::{kind}/*", place.partition);
            limit.resources.push(arn);
        }
    }
    limit
}

/// The keys of the images' disks, those named by an alias or the others; none where there are none.
fn ami_keys(place: &Place, by_alias: bool) -> Option<Limit> {
    let keys = place.images.keys.iter();
    let keys: Vec<(&str, &str)> = keys
        .map(|(region, key)| (region.as_str(), key.as_str()))
        .filter(|(_, key)| alias_of(key).is_some() == by_alias)
        .collect();
    let mut regions: Vec<&str> = keys.iter().map(|(region, _)| *region).collect();
    regions.sort_unstable();
    regions.dedup();
    if regions.is_empty() {
        return None;
    }
    let hosts: Vec<String> = regions.iter().map(|it| place.ec2_host(it)).collect();
    let through_ec2 = Condition::is_one_of("kms:ViaService", &hosts);
    if !by_alias {
        let arns = keys.iter().map(|(region, key)| key_arn(place, region, key));
        return Some(Limit::to(arns).when([through_ec2]));
    }
    let mut aliases: Vec<&str> = keys.iter().filter_map(|(_, key)| alias_of(key)).collect();
    aliases.sort_unstable();
    aliases.dedup();
    let any_key = regions.iter().map(|it| key_arn(place, it, "*"));
    Some(Limit::to(any_key).when([through_ec2, Condition::has_alias(&aliases)]))
}

/// The alias that names a key, by itself or in an ARN.
fn alias_of(key: &str) -> Option<&str> {
    if key.starts_with("alias/") {
        return Some(key);
    }
    let at = key.find(":alias/")?;
    Some(&key[at + 1..])
}

/// The ARN of a key that is named by its ARN or its id.
fn key_arn(place: &Place, region: &str, key: &str) -> String {
    if key.starts_with("arn:") {
        return key.to_owned();
    }
    place.arn_in(region, "kms", &format!("key/{key}"))
}

/// The key, which a policy names by its ARN or its id alone: an alias goes into the condition.
fn join_key(place: &Place) -> Option<Limit> {
    let key = place.key.as_deref()?;
    Some(match alias_of(key) {
        Some(alias) => {
            Limit::to([key_arn(place, &place.region, "*")]).when([Condition::has_alias(&[alias])])
        }
        None => Limit::to([key_arn(place, &place.region, key)]),
    })
}
