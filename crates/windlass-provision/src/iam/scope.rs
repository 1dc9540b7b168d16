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
    /// Parameters that name the cluster's machine images.
    AmiParameters,
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
    /// Groups of the cluster's names that are made with its tag.
    NewGroups,
    /// Groups without an owner that are given the cluster's tag.
    OrphanGroups,
    /// Groups with the cluster's tag.
    OwnGroups,
    /// Launch templates that are made with the cluster's tag.
    NewTemplates,
    /// Launch templates with the cluster's tag.
    OwnTemplates,
    /// The cluster's tag on launch templates, and on what is launched by them, when it is made.
    TagsOfNew,
    /// Instances of launch templates.
    Launches,
    /// Launch configurations of the cluster's names: they have no tags.
    LaunchConfigurations,
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

    fn is_one_of(key: &str, values: &[&str]) -> Self {
        Self {
            operator: "StringEquals",
            key: key.to_owned(),
            value: json!(values),
            sample: values.first().map(|&value| value.to_owned()),
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
    let any_key = || one(place.arn("kms", "key/*"));
    Some(match scope {
        Scope::Everything => one("*".to_owned()),
        Scope::Groups => groups(place),
        Scope::Nodegroups => one(place.arn("eks", &format!("nodegroup/{cluster}/*/*"))),
        Scope::Fleet => fleet(place),
        Scope::ImageParameters => one(format!(
            "arn:{}:ssm:{}::parameter/aws/service/*",
            place.partition, place.region
        )),
        Scope::JoinParameters => Limit::to(
            [place.parameter_arn()]
                .into_iter()
                .chain(place.plain_parameter_arn()),
        ),
        Scope::JoinParameter => one(place.parameter_arn()),
        Scope::JoinKey => join_key(place)?.when(through_ssm()),
        Scope::AmiMade => fleet(place).when([Condition::is_there(
            format!("aws:ResourceTag/{BUILD_TAG}"),
            "any",
        )]),
        Scope::AmiRole => one(place.role_arn("ami")).when([for_ec2()]),
        Scope::AmiRoleItself => one(place.role_arn("ami")),
        Scope::AmiProfile => one(place.instance_profile_arn("ami")),
        Scope::AmiReports => parameter("windlass/ami/*/report".to_owned()),
        Scope::AmiParameters => parameter(format!("windlass/{cluster}/image/*")),
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
                &["CreateLaunchTemplate", "RunInstances"],
            ),
            made_ours(),
        ]),
        Scope::Launches => {
            let template = place.arn("ec2", "launch-template/*");
            fleet(place).when([Condition {
                operator: "ArnLike",
                key: "ec2:LaunchTemplate".to_owned(),
                sample: Some(template.replace('*', "any")),
                value: json!(template),
            }])
        }
        Scope::LaunchConfigurations => one(place.arn(
            "autoscaling",
            &format!("launchConfiguration:*:launchConfigurationName/{cluster}-*"),
        )),
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
    if place.groups.is_empty() {
        return Limit::to([group_arn(place, &format!("{}-*", place.cluster))]);
    }
    named_groups(place)
}

/// The key, which a policy names by its ARN or its id alone: an alias goes into the condition.
fn join_key(place: &Place) -> Option<Limit> {
    let key = place.key.as_deref()?;
    if key.starts_with("arn:") {
        return Some(Limit::to([key.to_owned()]));
    }
    if !key.starts_with("alias/") {
        return Some(Limit::to([place.arn("kms", &format!("key/{key}"))]));
    }
    Some(Limit::to([place.arn("kms", "key/*")]).when([Condition {
        operator: "ForAnyValue:StringEquals",
        key: "kms:ResourceAliases".to_owned(),
        value: json!(key),
        sample: Some(key.to_owned()),
    }]))
}
