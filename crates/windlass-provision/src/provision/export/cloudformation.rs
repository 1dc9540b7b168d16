//! A `CloudFormation` template.

use serde_json::{Map, Value, json};

use super::{Export, api, without_nulls};
use crate::provision::execute::KEY_DESCRIPTION;
use crate::provision::plan::Resources;
use crate::provision::resource::{
    Group, Key, LaunchConfiguration, LaunchTemplate, NodeRole, Resource, ResourceId,
};

/// A `CloudFormation` template.
pub fn cloud_formation(cluster: &str, desired: &Resources) -> Export {
    let mut resources = Map::new();
    let mut left_out = Vec::new();
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
                cfn_configuration(id, configuration),
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
            Resource::LaunchTemplate(template) => {
                ("AWS::EC2::LaunchTemplate", cfn_template(id, template))
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

fn cfn_key(key: &Key) -> Value {
    json!({
        "Description": KEY_DESCRIPTION,
        "KeyPolicy": key.policy,
        "EnableKeyRotation": key.rotation,
        "Tags": api::tags(&key.tags),
    })
}

fn cfn_configuration(id: &ResourceId, configuration: &LaunchConfiguration) -> Value {
    let content = &configuration.content;
    without_nulls(json!({
        "LaunchConfigurationName": id.name,
        "ImageId": content.image_id,
        "InstanceType": content.instance_type,
        "IamInstanceProfile": content.instance_profile.as_ref().map(|name| {
            json!({ "Ref": logical("Profile", name) })
        }),
        "SecurityGroups": content.security_groups,
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

fn cfn_template(id: &ResourceId, template: &LaunchTemplate) -> Value {
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
            "SecurityGroupIds": content.security_groups,
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
    }
}
