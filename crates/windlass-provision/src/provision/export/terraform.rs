//! Terraform's JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use windlass_aws_client::ec2::{IngressRule, LaunchTemplateContent, RuleSource};

use super::{Export, api, own_security_group, without_nulls};
use crate::cluster_config::ITSELF;
use crate::provision::execute::{KEY_DESCRIPTION, PLACEHOLDER};
use crate::provision::plan::{KEY_DELETION_DAYS, Resources};
use crate::provision::resource::{
    Group, Key, LaunchConfiguration, LaunchTemplate, NodeRole, Resource, ResourceId, ResourceKind,
    SecurityGroup,
};
use crate::provision::security_group;

/// Terraform's JSON, for a file `windlass.tf.json`.
pub fn terraform(kms_key: Option<&str>, desired: &Resources) -> Export {
    let mut resources: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    let own_key = desired
        .keys()
        .find(|id| id.kind == ResourceKind::Key)
        .map(|id| format!("${{aws_kms_alias.{}.name}}", local(&id.name)));
    let key = own_key.or_else(|| kms_key.map(str::to_owned));
    let own_group = own_security_group(desired);
    let groups_of = |groups: &[String]| {
        let reference = own_group.map(|name| json!(group_id(name)));
        api::security_groups(groups, own_group, &reference.unwrap_or_default())
    };
    for (id, resource) in desired {
        let mut add = |kind: &'static str, name: String, value: Value| {
            resources
                .entry(kind)
                .or_default()
                .insert(name, without_nulls(value));
        };
        let name = local(&id.name);
        match resource {
            Resource::Key(key) => add_key(&mut add, id, key),
            Resource::LaunchConfiguration(configuration) => add(
                "aws_launch_configuration",
                name,
                tf_configuration(id, configuration, groups_of),
            ),
            Resource::Role(role) => add_role(&mut add, id, role),
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
                    "key_id": key,
                    "value": PLACEHOLDER,
                    "tags": parameter.tags,
                    // The rotator writes it.
                    "lifecycle": { "ignore_changes": ["value"] },
                }),
            ),
            Resource::LaunchTemplate(template) => {
                add(
                    "aws_launch_template",
                    name,
                    tf_template(id, template, groups_of),
                );
            }
            Resource::SecurityGroup(group) => add_security_group(&mut add, id, group),
            Resource::Group(group) => add("aws_autoscaling_group", name, tf_group(id, group)),
        }
    }
    Export {
        template: json!({ "resource": resources }),
        left_out: Vec::new(),
    }
}

fn add_key(add: &mut impl FnMut(&'static str, String, Value), id: &ResourceId, key: &Key) {
    let name = local(&id.name);
    add(
        "aws_kms_alias",
        name.clone(),
        json!({
            "name": id.name,
            "target_key_id": format!("${{aws_kms_key.{name}.key_id}}"),
        }),
    );
    add(
        "aws_kms_key",
        name,
        json!({
            "description": KEY_DESCRIPTION,
            "policy": key.policy.to_string(),
            "enable_key_rotation": key.rotation,
            "deletion_window_in_days": KEY_DELETION_DAYS,
            "tags": key.tags,
            // What it has encrypted would be lost with it.
            "lifecycle": { "prevent_destroy": true },
        }),
    );
}

fn add_role(add: &mut impl FnMut(&'static str, String, Value), id: &ResourceId, role: &NodeRole) {
    let name = local(&id.name);
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

/// Its rules are resources of their own, so that those of others stay.
fn add_security_group(
    add: &mut impl FnMut(&'static str, String, Value),
    id: &ResourceId,
    group: &SecurityGroup,
) {
    let name = local(&id.name);
    for (rule, why) in &group.ingress {
        add(
            "aws_vpc_security_group_ingress_rule",
            local(&format!("{name} {rule}")),
            tf_ingress(id, rule, why),
        );
    }
    add(
        "aws_vpc_security_group_egress_rule",
        name.clone(),
        tf_egress(id),
    );
    add("aws_security_group", name, tf_security_group(id, group));
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

fn tf_security_group(id: &ResourceId, group: &SecurityGroup) -> Value {
    json!({
        "name": id.name,
        "description": security_group::DESCRIPTION,
        "vpc_id": group.vpc,
        "tags": group.tags,
    })
}

fn tf_ingress(id: &ResourceId, rule: &IngressRule, why: &str) -> Value {
    let IngressRule {
        protocol,
        ports,
        source,
    } = rule;
    let mut value = json!({
        "security_group_id": group_id(&id.name),
        "ip_protocol": protocol,
        "from_port": ports.map(|it| it.0),
        "to_port": ports.map(|it| it.1),
        "description": why,
    });
    let (field, text) = match source {
        RuleSource::Ipv4(network) => ("cidr_ipv4", network.clone()),
        RuleSource::Ipv6(network) => ("cidr_ipv6", network.clone()),
        RuleSource::Group(group) if group == ITSELF => {
            ("referenced_security_group_id", group_id(&id.name))
        }
        RuleSource::Group(group) => ("referenced_security_group_id", group.clone()),
        RuleSource::PrefixList(list) => ("prefix_list_id", list.clone()),
    };
    value[field] = json!(text);
    value
}

/// AWS lets everything out of a new group, which Terraform takes back.
fn tf_egress(id: &ResourceId) -> Value {
    json!({
        "security_group_id": group_id(&id.name),
        "ip_protocol": "-1",
        "cidr_ipv4": "0.0.0.0/0",
    })
}

/// The id that a security group gets.
fn group_id(name: &str) -> String {
    format!("${{aws_security_group.{}.id}}", local(name))
}

fn tf_template(
    id: &ResourceId,
    template: &LaunchTemplate,
    groups_of: impl Fn(&[String]) -> Value,
) -> Value {
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
        "vpc_security_group_ids": groups_of(security_groups),
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

fn tf_configuration(
    id: &ResourceId,
    configuration: &LaunchConfiguration,
    groups_of: impl Fn(&[String]) -> Value,
) -> Value {
    let content = &configuration.content;
    let volumes: Vec<Value> = content
        .volumes
        .iter()
        .map(|volume| {
            let ebs = &volume.ebs;
            json!({
                "device_name": volume.device,
                "volume_size": ebs.size_gib,
                "volume_type": ebs.kind,
                "iops": ebs.iops,
                "throughput": ebs.throughput,
                "encrypted": ebs.encrypted,
                "delete_on_termination": ebs.delete_on_termination,
            })
        })
        .collect();
    let options = &content.metadata_options;
    json!({
        "name": id.name,
        "image_id": content.image_id,
        "instance_type": content.instance_type,
        "iam_instance_profile": content.instance_profile.as_ref().map(|name| {
            format!("${{aws_iam_instance_profile.{}.name}}", local(name))
        }),
        "security_groups": groups_of(&content.security_groups),
        "user_data_base64": content.user_data,
        "key_name": content.key_name,
        "enable_monitoring": false,
        "ebs_block_device": volumes,
        "metadata_options": [{
            "http_tokens": options.http_tokens,
            "http_put_response_hop_limit": options.hop_limit,
            "http_endpoint": options.http_endpoint,
        }],
        "lifecycle": { "create_before_destroy": true },
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
        None => match &group.launch_configuration {
            Some(name) => {
                let name = local(name);
                value["launch_configuration"] =
                    json!(format!("${{aws_launch_configuration.{name}.name}}"));
            }
            None => value["launch_template"] = json!([{ "id": template, "version": version }]),
        },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_what_a_local_name_may_be() {
        assert_eq!(local("/windlass/prod/join"), "windlass_prod_join");
    }
}
