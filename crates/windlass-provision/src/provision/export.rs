//! The desired resources for those who have another tool for them: a `CloudFormation` template, or
//! Terraform's JSON. Pure, and complete but for what the other tool cannot say, which is listed.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use windlass_aws_client::ec2::LaunchTemplateContent;

use super::plan::Resources;
use super::resource::{Group, LaunchTemplate, NodeRole, Resource, ResourceId, Tags};

/// What a parameter holds until the rotator writes it.
const PLACEHOLDER: &str = "no join credential has been published yet";

/// An export, and what it leaves to be done by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The template.
    pub template: Value,
    /// What the other tool cannot say.
    pub left_out: Vec<String>,
}

/// A `CloudFormation` template.
pub fn cloud_formation(cluster: &str, desired: &Resources) -> Export {
    let mut resources = Map::new();
    let mut left_out = Vec::new();
    for (id, resource) in desired {
        let (kind, properties) = match resource {
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
        resources.insert(name, json!({ "Type": kind, "Properties": properties }));
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

fn cfn_tags(tags: &Tags) -> Vec<Value> {
    tags.iter()
        .map(|(key, value)| json!({ "Key": key, "Value": value }))
        .collect()
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
        "Tags": cfn_tags(&role.tags),
    })
}

fn cfn_template(id: &ResourceId, template: &LaunchTemplate) -> Value {
    let LaunchTemplate { content, tags, .. } = template;
    let volumes: Vec<Value> = content
        .volumes
        .iter()
        .map(|volume| {
            let ebs = &volume.ebs;
            without_nulls(json!({
                "DeviceName": volume.device,
                "Ebs": {
                    "VolumeSize": ebs.size_gib,
                    "VolumeType": ebs.kind,
                    "Iops": ebs.iops,
                    "Throughput": ebs.throughput,
                    "Encrypted": ebs.encrypted,
                    "KmsKeyId": ebs.kms_key,
                    "DeleteOnTermination": ebs.delete_on_termination,
                },
            }))
        })
        .collect();
    let launched: Vec<Value> = content
        .tags
        .iter()
        .map(|(kind, tags)| json!({ "ResourceType": kind, "Tags": cfn_tags(tags) }))
        .collect();
    let options = &content.metadata_options;
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
            "BlockDeviceMappings": volumes,
            "MetadataOptions": {
                "HttpTokens": options.http_tokens,
                "HttpPutResponseHopLimit": options.hop_limit,
                "HttpEndpoint": options.http_endpoint,
                "InstanceMetadataTags": options.instance_metadata_tags,
            },
            "TagSpecifications": launched,
        },
        "TagSpecifications": [{ "ResourceType": "launch-template", "Tags": cfn_tags(tags) }],
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
        None => properties["LaunchTemplate"] = template,
        Some(mixed) => {
            let overrides: Vec<Value> = mixed
                .types
                .iter()
                .map(|name| json!({ "InstanceType": name }))
                .collect();
            properties["MixedInstancesPolicy"] = json!({
                "LaunchTemplate": {
                    "LaunchTemplateSpecification": template,
                    "Overrides": overrides,
                },
                "InstancesDistribution": {
                    "OnDemandBaseCapacity": mixed.on_demand_base,
                    "OnDemandPercentageAboveBaseCapacity": mixed.on_demand_percentage,
                    "SpotAllocationStrategy": mixed.spot_allocation_strategy,
                },
            });
        }
    }
    properties
}

/// Terraform's JSON, for a file `windlass.tf.json`.
pub fn terraform(kms_key: Option<&str>, desired: &Resources) -> Export {
    let mut resources: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for (id, resource) in desired {
        let mut add = |kind: &'static str, name: String, value: Value| {
            resources
                .entry(kind)
                .or_default()
                .insert(name, without_nulls(value));
        };
        let name = local(&id.name);
        match resource {
            Resource::Role(role) => {
                add(
                    "aws_iam_role",
                    name.clone(),
                    json!({
                        "name": id.name,
                        "assume_role_policy": role.trust.to_string(),
                        "tags": role.tags,
                    }),
                );
                for (policy, document) in &role.policies {
                    add(
                        "aws_iam_role_policy",
                        local(policy),
                        json!({
                            "name": policy,
                            "role": format!("${{aws_iam_role.{name}.id}}"),
                            "policy": document.to_string(),
                        }),
                    );
                }
            }
            Resource::Profile(profile) => {
                let role = profile.roles.first().map(|role| local(role));
                add(
                    "aws_iam_instance_profile",
                    name,
                    json!({
                        "name": id.name,
                        "role": role.map(|role| format!("${{aws_iam_role.{role}.name}}")),
                        "tags": profile.tags,
                    }),
                );
            }
            Resource::Parameter(parameter) => add(
                "aws_ssm_parameter",
                name,
                json!({
                    "name": id.name,
                    "type": "SecureString",
                    "key_id": kms_key,
                    "value": PLACEHOLDER,
                    "tags": parameter.tags,
                    // The rotator writes it.
                    "lifecycle": { "ignore_changes": ["value"] },
                }),
            ),
            Resource::LaunchTemplate(template) => {
                add("aws_launch_template", name, tf_template(id, template));
            }
            Resource::Group(group) => add("aws_autoscaling_group", name, tf_group(id, group)),
        }
    }
    Export {
        template: json!({ "resource": resources }),
        left_out: Vec::new(),
    }
}

/// A local name of Terraform's.
fn local(name: &str) -> String {
    name.trim_start_matches('/')
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

fn tf_template(id: &ResourceId, template: &LaunchTemplate) -> Value {
    let LaunchTemplateContent {
        image_id,
        instance_type,
        instance_profile,
        security_groups,
        user_data,
        volumes,
        metadata_options,
        shutdown_behavior,
        key_name,
        tags,
    } = &template.content;
    let volumes: Vec<Value> = volumes
        .iter()
        .map(|volume| {
            let ebs = &volume.ebs;
            json!({
                "device_name": volume.device,
                "ebs": [{
                    "volume_size": ebs.size_gib,
                    "volume_type": ebs.kind,
                    "iops": ebs.iops,
                    "throughput": ebs.throughput,
                    "encrypted": ebs.encrypted,
                    "kms_key_id": ebs.kms_key,
                    "delete_on_termination": ebs.delete_on_termination,
                }],
            })
        })
        .collect();
    let launched: Vec<Value> = tags
        .iter()
        .map(|(kind, tags)| json!({ "resource_type": kind, "tags": tags }))
        .collect();
    json!({
        "name": id.name,
        "image_id": image_id,
        "instance_type": instance_type,
        "iam_instance_profile": instance_profile.as_ref().map(|name| {
            [json!({ "name": format!("${{aws_iam_instance_profile.{}.name}}", local(name)) })]
        }),
        "vpc_security_group_ids": security_groups,
        "user_data": user_data,
        "block_device_mappings": volumes,
        "metadata_options": [{
            "http_tokens": metadata_options.http_tokens,
            "http_put_response_hop_limit": metadata_options.hop_limit,
            "http_endpoint": metadata_options.http_endpoint,
            "instance_metadata_tags": metadata_options.instance_metadata_tags,
        }],
        "instance_initiated_shutdown_behavior": shutdown_behavior,
        "key_name": key_name,
        "tag_specifications": launched,
        "tags": template.tags,
    })
}

fn tf_group(id: &ResourceId, group: &Group) -> Value {
    let name = local(group.launch_template.as_deref().unwrap_or_default());
    let template = format!("${{aws_launch_template.{name}.id}}");
    let version = format!("${{aws_launch_template.{name}.latest_version}}");
    let tags: Vec<Value> = group
        .tags
        .iter()
        .map(|(key, grant)| {
            json!({
                "key": key, "value": grant.value, "propagate_at_launch": grant.propagate,
            })
        })
        .collect();
    let hooks: Vec<Value> = group
        .hooks
        .iter()
        .map(|(name, hook)| {
            json!({
                "name": name,
                "lifecycle_transition": hook.transition,
                "heartbeat_timeout": hook.timeout_seconds,
                "default_result": hook.default_result,
            })
        })
        .collect();
    let mut value = json!({
        "name": id.name,
        "min_size": group.min,
        "max_size": group.max,
        "vpc_zone_identifier": group.subnets,
        "health_check_grace_period": group.health_check_grace_seconds,
        "suspended_processes": group.suspended,
        "initial_lifecycle_hook": hooks,
        "tag": tags,
        // That is the autoscaler's.
        "lifecycle": { "ignore_changes": ["desired_capacity"] },
    });
    match &group.mixed {
        None => value["launch_template"] = json!([{ "id": template, "version": version }]),
        Some(mixed) => {
            let overrides: Vec<Value> = mixed
                .types
                .iter()
                .map(|name| json!({ "instance_type": name }))
                .collect();
            value["mixed_instances_policy"] = json!([{
                "launch_template": [{
                    "launch_template_specification": [{
                        "launch_template_id": template, "version": version,
                    }],
                    "override": overrides,
                }],
                "instances_distribution": [{
                    "on_demand_base_capacity": mixed.on_demand_base,
                    "on_demand_percentage_above_base_capacity": mixed.on_demand_percentage,
                    "spot_allocation_strategy": mixed.spot_allocation_strategy,
                }],
            }]);
        }
    }
    value
}

/// Without fields that say nothing.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        scalar => scalar,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster_config::ClusterConfig;
    use crate::provision::desired::{Facts, desired};

    fn example() -> Resources {
        let text = include_str!("../../../../examples/cluster.yaml");
        let config = ClusterConfig::read("examples/cluster.yaml", text).unwrap();
        let images = ["workers-a", "spot"].map(|name| (name.to_owned(), "ami-1".to_owned()));
        let facts = Facts {
            account: "123456789012".to_owned(),
            images: images.into(),
        };
        desired(&config, &facts).unwrap()
    }

    /// Every scalar of a value as text.
    fn scalars(value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.values().for_each(|value| scalars(value, into)),
            Value::Array(items) => items.iter().for_each(|value| scalars(value, into)),
            Value::Null => {}
            Value::String(text) => into.push(text.clone()),
            other => into.push(other.to_string()),
        }
    }

    /// What the resources say is in the export, whatever it is called there.
    #[track_caller]
    fn check(export: &Export, skipped: &[&str]) {
        let mut exported = Vec::new();
        scalars(&export.template, &mut exported);
        let all = exported.join("\n");
        for (id, resource) in example() {
            let mut said = Vec::new();
            scalars(&resource.fields(), &mut said);
            for text in said {
                let text = text.trim_end_matches(" (propagated)");
                let is_there = all.contains(text) || skipped.contains(&text);
                assert!(is_there, "{id}: `{text}` is not exported");
            }
        }
    }

    #[test]
    fn cloud_formation_says_all_that_the_resources_say() {
        let export = cloud_formation("prod", &example());
        // A stack's resources name each other by reference.
        check(&export, &["AZRebalance", "prod-spot", "prod-windlass-node"]);
        assert!(
            export
                .left_out
                .iter()
                .any(|left| left.contains("AZRebalance"))
        );
        assert!(
            export
                .left_out
                .iter()
                .any(|left| left.contains("SecureString"))
        );
        // Role and profile of nodes and of the builder; a template and a group for each of two.
        assert_eq!(export.template["Resources"].as_object().unwrap().len(), 8);
    }

    #[test]
    fn terraform_says_all_that_the_resources_say() {
        let export = terraform(Some("alias/windlass-prod"), &example());
        check(&export, &[]);
        let groups = &export.template["resource"]["aws_autoscaling_group"];
        assert_eq!(
            groups["prod-spot"]["lifecycle"]["ignore_changes"][0],
            "desired_capacity"
        );
        assert_eq!(
            groups["k8s-workers-a"]["launch_template"][0]["version"],
            "${aws_launch_template.k8s-workers-a.latest_version}"
        );
    }

    #[test]
    fn names_become_what_the_other_tools_take() {
        assert_eq!(logical("Group", "prod-workers-a"), "GroupProdWorkersA");
        assert_eq!(local("/windlass/prod/join"), "windlass_prod_join");
    }
}
