//! A `CloudFormation` template.

use serde_json::{Map, Value, json};

use windlass_aws_client::ec2::{IngressRule, RuleSource};

use super::{Export, api, own_security_group, without_nulls};
use crate::cluster_config::ITSELF;
use crate::provision::execute::KEY_DESCRIPTION;
use crate::provision::plan::Resources;
use crate::provision::resource::{
    Group, Key, LaunchConfiguration, LaunchTemplate, NodeRole, Resource, ResourceId, SecurityGroup,
};
use crate::provision::security_group;

/// A `CloudFormation` template.
pub fn cloud_formation(cluster: &str, desired: &Resources) -> Export {
    let mut resources = Map::new();
    let mut left_out = Vec::new();
    let own_group = own_security_group(desired);
    let groups_of = |groups: &[String]| {
        let reference = own_group.map(group_id).unwrap_or_default();
        api::security_groups(groups, own_group, &reference)
    };
    for (id, resource) in desired {
        let (kind, properties) = match resource {
            Resource::Key(key) => {
                let alias = logical("KeyAlias", &id.name);
                resources.insert(
                    alias,
                    json!({
                        "Type": "AWS::KMS::Alias",
                        "Properties": {
                            "AliasName": id.name,
                            "TargetKeyId": { "Ref": logical("Key", &id.name) },
                        },
                    }),
                );
                ("AWS::KMS::Key", cfn_key(key))
            }
            Resource::LaunchConfiguration(configuration) => (
                "AWS::AutoScaling::LaunchConfiguration",
                cfn_configuration(id, configuration, groups_of),
            ),
            Resource::Role(role) => ("AWS::IAM::Role", cfn_role(id, role)),
            Resource::Profile(profile) => (
                "AWS::IAM::InstanceProfile",
                json!({
                    "InstanceProfileName": id.name,
                    "Roles": profile.roles.iter().map(|role| {
                        json!({ "Ref": logical("Role", role) })
                    }).collect::<Vec<_>>(),
                }),
            ),
            Resource::Parameter(_) => {
                left_out.push(format!(
                    "{id}: CloudFormation makes no SecureString; `windlass token rotate` makes it \
                     at its first turn"
                ));
                continue;
            }
            Resource::LaunchTemplate(template) => (
                "AWS::EC2::LaunchTemplate",
                cfn_template(id, template, groups_of),
            ),
            Resource::SecurityGroup(group) => {
                for (rule, why) in &group.ingress {
                    let name = logical("Ingress", &format!("{} {}", id.name, in_words(rule)));
                    let properties = cfn_ingress(id, rule, why);
                    let kind = "AWS::EC2::SecurityGroupIngress";
                    resources.insert(name, json!({ "Type": kind, "Properties": properties }));
                }
                ("AWS::EC2::SecurityGroup", cfn_security_group(id, group))
            }
            Resource::Group(group) => {
                let suspended: Vec<&str> = group.suspended.iter().map(String::as_str).collect();
                left_out.push(format!(
                    "{id}: CloudFormation suspends no processes: `aws autoscaling \
                     suspend-processes --auto-scaling-group-name {} --scaling-processes {}`",
                    id.name,
                    suspended.join(" ")
                ));
                ("AWS::AutoScaling::AutoScalingGroup", cfn_group(id, group))
            }
        };
        let name = logical(short(resource), &id.name);
        let mut definition = json!({ "Type": kind, "Properties": properties });
        if matches!(resource, Resource::Key(_)) {
            // What it has encrypted would be lost with it.
            definition["DeletionPolicy"] = json!("Retain");
            definition["UpdateReplacePolicy"] = json!("Retain");
        }
        resources.insert(name, definition);
    }
    Export {
        template: json!({
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": format!("Node groups of cluster {cluster}, by Windlass"),
            "Resources": resources,
        }),
        left_out,
    }
}

/// What a logical id begins with.
fn short(resource: &Resource) -> &'static str {
    match resource {
        Resource::Key(_) => "Key",
        Resource::LaunchConfiguration(_) => "Configuration",
        Resource::Role(_) => "Role",
        Resource::Profile(_) => "Profile",
        Resource::Parameter(_) => "Parameter",
        Resource::SecurityGroup(_) => "SecurityGroup",
        Resource::LaunchTemplate(_) => "Template",
        Resource::Group(_) => "Group",
    }
}

/// A name of letters and digits alone. Names differ in more than their marks: they are made of
/// words that the configuration keeps apart by one `-`.
fn logical(prefix: &str, name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let mut text = prefix.to_owned();
    for word in words.filter(|word| !word.is_empty()) {
        let (first, rest) = word.split_at(1);
        text.push_str(&first.to_ascii_uppercase());
        text.push_str(rest);
    }
    text
}

/// A rule with words for the marks that tell one from another.
fn in_words(rule: &IngressRule) -> String {
    let text = rule.to_string().replace('-', " to ");
    let text = text.replace('.', " d").replace('/', " s");
    text.replace(':', " c")
}

fn cfn_key(key: &Key) -> Value {
    json!({
        "Description": KEY_DESCRIPTION,
        "KeyPolicy": key.policy,
        "EnableKeyRotation": key.rotation,
        "Tags": api::tags(&key.tags),
    })
}

/// Its rules are resources of their own: one may name the group itself, and those of others stay.
fn cfn_security_group(id: &ResourceId, group: &SecurityGroup) -> Value {
    json!({
        "GroupName": id.name,
        "GroupDescription": security_group::DESCRIPTION,
        "VpcId": group.vpc,
        "Tags": api::tags(&group.tags),
    })
}

fn cfn_ingress(id: &ResourceId, rule: &IngressRule, why: &str) -> Value {
    let IngressRule {
        protocol,
        ports,
        source,
    } = rule;
    let mut properties = json!({
        "GroupId": group_id(&id.name),
        "IpProtocol": protocol,
        "FromPort": ports.map(|it| it.0),
        "ToPort": ports.map(|it| it.1),
        "Description": why,
    });
    let (field, value) = match source {
        RuleSource::Ipv4(network) => ("CidrIp", json!(network)),
        RuleSource::Ipv6(network) => ("CidrIpv6", json!(network)),
        RuleSource::Group(group) if group == ITSELF => {
            ("SourceSecurityGroupId", group_id(&id.name))
        }
        RuleSource::Group(group) => ("SourceSecurityGroupId", json!(group)),
        RuleSource::PrefixList(list) => ("SourcePrefixListId", json!(list)),
    };
    properties[field] = value;
    without_nulls(properties)
}

/// The id that a security group of the stack gets.
fn group_id(name: &str) -> Value {
    json!({ "Fn::GetAtt": [logical("SecurityGroup", name), "GroupId"] })
}

fn cfn_configuration(
    id: &ResourceId,
    configuration: &LaunchConfiguration,
    groups_of: impl Fn(&[String]) -> Value,
) -> Value {
    let content = &configuration.content;
    without_nulls(json!({
        "LaunchConfigurationName": id.name,
        "ImageId": content.image_id,
        "InstanceType": content.instance_type,
        "IamInstanceProfile": content.instance_profile.as_ref().map(|name| {
            json!({ "Ref": logical("Profile", name) })
        }),
        "SecurityGroups": groups_of(&content.security_groups),
        "UserData": content.user_data,
        "KeyName": content.key_name,
        "InstanceMonitoring": false,
        "BlockDeviceMappings": api::configured_volumes(&content.volumes),
        "MetadataOptions": api::configured_metadata(&content.metadata_options),
    }))
}

fn cfn_role(id: &ResourceId, role: &NodeRole) -> Value {
    let policies: Vec<Value> = role
        .policies
        .iter()
        .map(|(name, document)| json!({ "PolicyName": name, "PolicyDocument": document }))
        .collect();
    json!({
        "RoleName": id.name,
        "AssumeRolePolicyDocument": role.trust,
        "Policies": policies,
        "Tags": api::tags(&role.tags),
    })
}

fn cfn_template(
    id: &ResourceId,
    template: &LaunchTemplate,
    groups_of: impl Fn(&[String]) -> Value,
) -> Value {
    let LaunchTemplate { content, tags, .. } = template;
    let launched: Vec<Value> = content
        .tags
        .iter()
        .map(|(kind, tags)| json!({ "ResourceType": kind, "Tags": api::tags(tags) }))
        .collect();
    without_nulls(json!({
        "LaunchTemplateName": id.name,
        "LaunchTemplateData": {
            "ImageId": content.image_id,
            "InstanceType": content.instance_type,
            "IamInstanceProfile": content.instance_profile.as_ref().map(|name| {
                json!({ "Name": { "Ref": logical("Profile", name) } })
            }),
            "SecurityGroupIds": groups_of(&content.security_groups),
            "UserData": content.user_data,
            "BlockDeviceMappings": api::template_volumes(&content.volumes),
            "MetadataOptions": api::template_metadata(&content.metadata_options),
            "InstanceInitiatedShutdownBehavior": content.shutdown_behavior,
            "KeyName": content.key_name,
            "TagSpecifications": launched,
        },
        "TagSpecifications": [{ "ResourceType": "launch-template", "Tags": api::tags(tags) }],
    }))
}

fn cfn_group(id: &ResourceId, group: &Group) -> Value {
    let name = logical(
        "Template",
        group.launch_template.as_deref().unwrap_or_default(),
    );
    let version = json!({ "Fn::GetAtt": [name, "LatestVersionNumber"] });
    let template = json!({ "LaunchTemplateId": { "Ref": name }, "Version": version });
    let tags: Vec<Value> = group
        .tags
        .iter()
        .map(|(key, grant)| {
            json!({
                "Key": key, "Value": grant.value, "PropagateAtLaunch": grant.propagate,
            })
        })
        .collect();
    let hooks: Vec<Value> = group
        .hooks
        .iter()
        .map(|(name, hook)| {
            json!({
                "LifecycleHookName": name,
                "LifecycleTransition": hook.transition,
                "HeartbeatTimeout": hook.timeout_seconds,
                "DefaultResult": hook.default_result,
            })
        })
        .collect();
    let mut properties = json!({
        "AutoScalingGroupName": id.name,
        "MinSize": group.min.to_string(),
        "MaxSize": group.max.to_string(),
        "VPCZoneIdentifier": group.subnets,
        "HealthCheckGracePeriod": group.health_check_grace_seconds,
        "Tags": tags,
    });
    if !hooks.is_empty() {
        properties["LifecycleHookSpecificationList"] = json!(hooks);
    }
    match &group.mixed {
        None => match &group.launch_configuration {
            Some(name) => {
                properties["LaunchConfigurationName"] =
                    json!({ "Ref": logical("Configuration", name) });
            }
            None => properties["LaunchTemplate"] = template,
        },
        Some(mixed) => {
            properties["MixedInstancesPolicy"] = api::mixed_instances(mixed, &template);
        }
    }
    properties
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_what_a_logical_id_may_be() {
        assert_eq!(logical("Group", "prod-workers-a"), "GroupProdWorkersA");
        let rule = |network: &str| {
            let rule = IngressRule {
                protocol: "tcp".to_owned(),
                ports: Some((1, 9)),
                source: RuleSource::Ipv4(network.to_owned()),
            };
            logical("Ingress", &in_words(&rule))
        };
        assert_eq!(rule("11.0.0.0/8"), "IngressTcp1To9From11D0D0D0S8");
        assert_ne!(rule("11.0.0.0/8"), rule("1.10.0.0/8"));
    }
}
