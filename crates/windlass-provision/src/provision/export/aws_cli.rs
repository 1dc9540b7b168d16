//! The desired resources as a script of plain `aws` commands, for who has no other tool.

use std::fmt::Write as _;

use serde_json::{Value, json};

use windlass_aws_client::ec2::{IngressRule, RuleSource};

use super::{api, own_security_group, without_nulls};
use crate::cluster_config::ITSELF;
use crate::provision::execute::{KEY_DESCRIPTION, PARAMETER_DESCRIPTION, PLACEHOLDER};
use crate::provision::plan::{self, Resources};
use crate::provision::resource::{
    Group, Key, LaunchConfiguration, LaunchTemplate, NodeRole, Parameter, Profile, Resource,
    ResourceId, SecurityGroup,
};
use crate::provision::security_group;

/// What stands in JSON for the id that the script has in a variable.
const GROUP_ID: &str = "$security_group";

const HEAD: &str = "\
set -euo pipefail
export AWS_PAGER=

# A new instance profile is known everywhere only after some seconds.
again() {
  for _ in 1 2 3 4 5 6 7 8 9 10 11; do
    if \"$@\"; then return; fi
    sleep 5
  done
  \"$@\"
}
";

/// A bash script that makes the resources, each by one command or a few. It is to be run once: it ends
/// at what is there already.
pub fn aws_cli(cluster: &str, region: &str, kms_key: Option<&str>, desired: &Resources) -> String {
    let mut script = Script(format!(
        "#!/bin/bash\n# Node groups of cluster {cluster}, by Windlass.\n{HEAD}export AWS_REGION={region}\n\
         export AWS_DEFAULT_REGION={region}\n"
    ));
    let own_group = own_security_group(desired);
    let groups_of = |groups: &[String]| api::security_groups(groups, own_group, &json!(GROUP_ID));
    for (id, resource) in desired {
        // Writing into a String cannot fail.
        let _ = write!(script.0, "\n# {id}\n");
        let name = id.name.as_str();
        match resource {
            Resource::Key(key) => script.key(name, key),
            Resource::Role(role) => script.role(name, role),
            Resource::Profile(profile) => script.profile(name, profile),
            Resource::Parameter(parameter) => script.parameter(name, kms_key, parameter),
            Resource::SecurityGroup(group) => script.security_group(name, group),
            Resource::LaunchTemplate(template) => script.template(name, template, groups_of),
            Resource::LaunchConfiguration(configuration) => {
                script.configuration(configuration, groups_of);
            }
            Resource::Group(group) => script.group(id, group),
        }
    }
    script.0
}

struct Script(String);

impl Script {
    /// One command; each option stands on a line of its own.
    fn run(&mut self, command: &str, options: &[(&str, String)]) {
        self.0.push_str(command);
        for (name, value) in options {
            let _ = write!(self.0, " \\\n  --{name} {}", quoted(value));
        }
        self.0.push('\n');
    }

    fn key(&mut self, alias: &str, key: &Key) {
        let tags = key.tags.iter();
        let key_tags: Value = tags
            .map(|(name, text)| json!({ "TagKey": name, "TagValue": text }))
            .collect();
        self.0.push_str("key=$(");
        self.run(
            "aws kms create-key",
            &[
                ("description", KEY_DESCRIPTION.to_owned()),
                ("policy", key.policy.to_string()),
                ("tags", key_tags.to_string()),
                ("query", "KeyMetadata.KeyId".to_owned()),
                ("output", "text".to_owned()),
            ],
        );
        self.0.push_str(")\n");
        if key.rotation {
            self.0
                .push_str("aws kms enable-key-rotation --key-id \"$key\"\n");
        }
        let _ = writeln!(
            self.0,
            "aws kms create-alias --target-key-id \"$key\" --alias-name {}",
            quoted(alias)
        );
    }

    fn role(&mut self, name: &str, role: &NodeRole) {
        self.run(
            "aws iam create-role",
            &[
                ("role-name", name.to_owned()),
                ("assume-role-policy-document", role.trust.to_string()),
                ("tags", api::tags(&role.tags).to_string()),
            ],
        );
        for (policy, document) in &role.policies {
            self.run(
                "aws iam put-role-policy",
                &[
                    ("role-name", name.to_owned()),
                    ("policy-name", policy.clone()),
                    ("policy-document", document.to_string()),
                ],
            );
        }
    }

    fn profile(&mut self, name: &str, profile: &Profile) {
        let named = ("instance-profile-name", name.to_owned());
        self.run(
            "aws iam create-instance-profile",
            &[
                named.clone(),
                ("tags", api::tags(&profile.tags).to_string()),
            ],
        );
        for role in &profile.roles {
            self.run(
                "aws iam add-role-to-instance-profile",
                &[named.clone(), ("role-name", role.clone())],
            );
        }
        self.run("aws iam wait instance-profile-exists", &[named]);
    }

    fn parameter(&mut self, name: &str, kms_key: Option<&str>, parameter: &Parameter) {
        let mut options = vec![
            ("name", name.to_owned()),
            ("type", "SecureString".to_owned()),
            ("description", PARAMETER_DESCRIPTION.to_owned()),
            ("value", PLACEHOLDER.to_owned()),
            ("tags", api::tags(&parameter.tags).to_string()),
        ];
        if let Some(key) = kms_key {
            options.push(("key-id", key.to_owned()));
        }
        self.run("aws ssm put-parameter", &options);
    }

    fn security_group(&mut self, name: &str, group: &SecurityGroup) {
        let own = json!([{
            "ResourceType": "security-group", "Tags": api::tags(&group.tags),
        }]);
        self.0.push_str("security_group=$(");
        self.run(
            "aws ec2 create-security-group",
            &[
                ("group-name", name.to_owned()),
                ("description", security_group::DESCRIPTION.to_owned()),
                ("vpc-id", group.vpc.clone().unwrap_or_default()),
                ("tag-specifications", own.to_string()),
                ("query", "GroupId".to_owned()),
                ("output", "text".to_owned()),
            ],
        );
        self.0.push_str(")\n");
        for (rule, why) in &group.ingress {
            self.run(
                "aws ec2 authorize-security-group-ingress --group-id \"$security_group\"",
                &[("ip-permissions", permission(rule, why).to_string())],
            );
        }
    }

    fn template(
        &mut self,
        name: &str,
        template: &LaunchTemplate,
        groups_of: impl Fn(&[String]) -> Value,
    ) {
        let own = json!([{
            "ResourceType": "launch-template", "Tags": api::tags(&template.tags),
        }]);
        self.run(
            "aws ec2 create-launch-template",
            &[
                ("launch-template-name", name.to_owned()),
                (
                    "launch-template-data",
                    template_data(template, groups_of).to_string(),
                ),
                ("tag-specifications", own.to_string()),
            ],
        );
    }

    fn configuration(
        &mut self,
        configuration: &LaunchConfiguration,
        groups_of: impl Fn(&[String]) -> Value,
    ) {
        let input = configuration_input(configuration, groups_of).to_string();
        self.run(
            "again aws autoscaling create-launch-configuration",
            &[("cli-input-json", input)],
        );
    }

    /// First the group without instances, then what has to be there before the first of them.
    fn group(&mut self, id: &ResourceId, group: &Group) {
        let named = ("auto-scaling-group-name", id.name.clone());
        let input = group_input(id, group).to_string();
        self.run(
            "again aws autoscaling create-auto-scaling-group",
            &[("cli-input-json", input)],
        );
        if !group.suspended.is_empty() {
            let suspended: Vec<String> = group.suspended.iter().map(|it| quoted(it)).collect();
            let _ = writeln!(
                self.0,
                "aws autoscaling suspend-processes --auto-scaling-group-name {} \\\n  \
                 --scaling-processes {}",
                quoted(&id.name),
                suspended.join(" ")
            );
        }
        for (name, hook) in &group.hooks {
            self.run(
                "aws autoscaling put-lifecycle-hook",
                &[
                    named.clone(),
                    ("lifecycle-hook-name", name.clone()),
                    ("lifecycle-transition", hook.transition.clone()),
                    ("heartbeat-timeout", hook.timeout_seconds.to_string()),
                    ("default-result", hook.default_result.clone()),
                ],
            );
        }
        if 0 < group.min {
            self.run(
                "aws autoscaling update-auto-scaling-group",
                &[named, ("min-size", group.min.to_string())],
            );
        }
    }
}

/// As bash reads it as one word, whatever is in it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let text = text.replace('\'', r"'\''");
    // Out of the one quotes for the variable, and into them again.
    let id = format!("\"{GROUP_ID}\"");
    format!("'{}'", text.replace(&id, &format!("\"'{id}'\"")))
}

/// One rule, as the command line takes it.
fn permission(rule: &IngressRule, why: &str) -> Value {
    let IngressRule {
        protocol,
        ports,
        source,
    } = rule;
    let (list, field, value) = match source {
        RuleSource::Ipv4(network) => ("IpRanges", "CidrIp", network.as_str()),
        RuleSource::Ipv6(network) => ("Ipv6Ranges", "CidrIpv6", network.as_str()),
        RuleSource::Group(group) if group == ITSELF => ("UserIdGroupPairs", "GroupId", GROUP_ID),
        RuleSource::Group(group) => ("UserIdGroupPairs", "GroupId", group.as_str()),
        RuleSource::PrefixList(list) => ("PrefixListIds", "PrefixListId", list.as_str()),
    };
    without_nulls(json!([{
        "IpProtocol": protocol,
        "FromPort": ports.map(|it| it.0),
        "ToPort": ports.map(|it| it.1),
        (list): [{ (field): value, "Description": why }],
    }]))
}

fn template_data(template: &LaunchTemplate, groups_of: impl Fn(&[String]) -> Value) -> Value {
    let content = &template.content;
    let launched: Vec<Value> = content
        .tags
        .iter()
        .map(|(kind, of_kind)| json!({ "ResourceType": kind, "Tags": api::tags(of_kind) }))
        .collect();
    without_nulls(json!({
        "ImageId": content.image_id,
        "InstanceType": content.instance_type,
        "IamInstanceProfile": content.instance_profile.as_ref().map(|name| json!({ "Name": name })),
        "SecurityGroupIds": groups_of(&content.security_groups),
        "UserData": content.user_data,
        "BlockDeviceMappings": api::template_volumes(&content.volumes),
        "MetadataOptions": api::template_metadata(&content.metadata_options),
        "InstanceInitiatedShutdownBehavior": content.shutdown_behavior,
        "KeyName": content.key_name,
        "TagSpecifications": launched,
    }))
}

fn configuration_input(
    configuration: &LaunchConfiguration,
    groups_of: impl Fn(&[String]) -> Value,
) -> Value {
    let content = &configuration.content;
    // The command line itself encodes this one.
    let user_data = content.user_data.as_deref().map(plan::decoded);
    without_nulls(json!({
        "LaunchConfigurationName": content.name,
        "ImageId": content.image_id,
        "InstanceType": content.instance_type,
        "IamInstanceProfile": content.instance_profile,
        "SecurityGroups": groups_of(&content.security_groups),
        "UserData": user_data,
        "KeyName": content.key_name,
        "InstanceMonitoring": { "Enabled": false },
        "BlockDeviceMappings": api::configured_volumes(&content.volumes),
        "MetadataOptions": api::configured_metadata(&content.metadata_options),
    }))
}

/// The group as it is made: without instances.
fn group_input(id: &ResourceId, group: &Group) -> Value {
    let template = group
        .launch_template
        .as_ref()
        .map(|name| json!({ "LaunchTemplateName": name, "Version": "1" }));
    let tags: Vec<Value> = group
        .tags
        .iter()
        .map(|(key, grant)| {
            json!({
                "ResourceId": id.name,
                "ResourceType": "auto-scaling-group",
                "Key": key,
                "Value": grant.value,
                "PropagateAtLaunch": grant.propagate,
            })
        })
        .collect();
    let subnets: Vec<&str> = group.subnets.iter().map(String::as_str).collect();
    let mut input = json!({
        "AutoScalingGroupName": id.name,
        "LaunchConfigurationName": group.launch_configuration,
        "MinSize": 0,
        "MaxSize": group.max,
        "DesiredCapacity": 0,
        "VPCZoneIdentifier": subnets.join(","),
        "HealthCheckGracePeriod": group.health_check_grace_seconds,
        "Tags": tags,
    });
    match &group.mixed {
        None => input["LaunchTemplate"] = json!(template),
        Some(mixed) => {
            input["MixedInstancesPolicy"] = api::mixed_instances(mixed, &template);
        }
    }
    without_nulls(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_is_one_word() {
        assert_eq!(quoted("/dev/xvda"), "/dev/xvda");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("it's $(here)"), r"'it'\''s $(here)'");
        assert_eq!(
            quoted(r#"["$security_group","sg-1"]"#),
            r#"'["'"$security_group"'","sg-1"]'"#
        );
    }
}
