//! The desired resources for those who have another tool for them: a `CloudFormation` template,
//! Terraform's JSON, or a script of plain `aws` commands. Pure, and complete but for what the other
//! tool cannot say, which is listed.

mod api;
mod aws_cli;
mod cloudformation;
mod terraform;

use serde_json::Value;

use crate::provision::ResourceKind;
use crate::provision::plan::Resources;

pub use aws_cli::aws_cli;
pub use cloudformation::cloud_formation;
pub use terraform::terraform;

/// An export, and what it leaves to be done by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The template.
    pub template: Value,
    /// What the other tool cannot say.
    pub left_out: Vec<String>,
}

/// Name of the security group that is made with the other resources, by which they name it.
fn own_security_group(desired: &Resources) -> Option<&str> {
    let mut ids = desired.keys();
    let own = ids.find(|id| id.kind == ResourceKind::SecurityGroup)?;
    Some(&own.name)
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
    use serde_json::json;

    use super::*;
    use crate::cluster_config::ClusterConfig;
    use crate::provision::desired::{Facts, desired};
    use crate::provision::plan::Resources;
    use crate::provision::{Resource, ResourceKind};

    /// The example, with a key and a launch configuration besides.
    fn example() -> Resources {
        let text = include_str!("../../../../examples/cluster.yaml")
            .replace("kmsKey: alias/windlass-prod", "")
            .replace("createKey: false", "createKey: true")
            .replace("kmsKey: alias/ebs", "")
            .replace("launchConfiguration: false", "launchConfiguration: true");
        let config = ClusterConfig::read("examples/cluster.yaml", &text).unwrap();
        let images = ["workers-a", "spot"].map(|name| (name.to_owned(), "ami-1".to_owned()));
        let facts = Facts {
            account: "123456789012".to_owned(),
            images: images.into(),
            vpc: Some("vpc-1".to_owned()),
            ..Facts::default()
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
        let configuration = example()
            .into_keys()
            .find(|id| id.kind == ResourceKind::LaunchConfiguration);
        let configuration = configuration.unwrap().name;
        let by_reference = [
            "AZRebalance",
            "Enabled",
            "prod-spot",
            "prod-windlass-node",
            &configuration,
        ];
        check(&export, &by_reference);
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
        // Role and profile of nodes and of the builder, a key and its alias; a template or a launch
        // configuration and a group for each of two; a security group and its four rules.
        assert_eq!(export.template["Resources"].as_object().unwrap().len(), 15);
        let resources = &export.template["Resources"];
        let id = json!({ "Fn::GetAtt": ["SecurityGroupProdWindlassNodes", "GroupId"] });
        let rule = |name: &str| &resources[format!("IngressProdWindlassNodes{name}")]["Properties"];
        assert_eq!(
            rule("AllFromSelf"),
            &json!({
                "GroupId": id, "IpProtocol": "-1", "SourceSecurityGroupId": id,
                "Description": "windlass: as the file of the cluster says",
            })
        );
        assert_eq!(
            rule("Tcp30000To32767From10D0D0D0S16"),
            &json!({
                "GroupId": id, "IpProtocol": "tcp", "FromPort": 30000, "ToPort": 32767,
                "CidrIp": "10.0.0.0/16", "Description": "windlass: services",
            })
        );
        let template = &resources["TemplateProdSpot"]["Properties"]["LaunchTemplateData"];
        let groups = template["SecurityGroupIds"].as_array().unwrap();
        assert!(groups.contains(&id), "{groups:?}");
        let key = &export.template["Resources"]["KeyAliasProdWindlassJoin"];
        assert_eq!(key["DeletionPolicy"], "Retain");
    }

    #[test]
    fn terraform_says_all_that_the_resources_say() {
        let export = terraform(None, &example());
        check(&export, &["Enabled"]);
        let resources = &export.template["resource"];
        let id = "${aws_security_group.prod-windlass-nodes.id}";
        let rules = &resources["aws_vpc_security_group_ingress_rule"];
        assert_eq!(rules.as_object().unwrap().len(), 4);
        assert_eq!(
            rules["prod-windlass-nodes_all_from_self"],
            json!({
                "security_group_id": id, "ip_protocol": "-1", "referenced_security_group_id": id,
                "description": "windlass: as the file of the cluster says",
            })
        );
        assert_eq!(
            rules["prod-windlass-nodes_tcp_30000-32767_from_10_0_0_0_16"],
            json!({
                "security_group_id": id, "ip_protocol": "tcp", "from_port": 30000, "to_port": 32767,
                "cidr_ipv4": "10.0.0.0/16", "description": "windlass: services",
            })
        );
        let out = &resources["aws_vpc_security_group_egress_rule"]["prod-windlass-nodes"];
        assert_eq!(out["cidr_ipv4"], "0.0.0.0/0");
        let template = &resources["aws_launch_template"]["prod-spot"];
        let groups = template["vpc_security_group_ids"].as_array().unwrap();
        assert!(groups.contains(&json!(id)), "{groups:?}");
        let parameter = &export.template["resource"]["aws_ssm_parameter"]["windlass_prod_join"];
        assert_eq!(
            parameter["key_id"],
            "${aws_kms_alias.alias_prod-windlass-join.name}"
        );
        let groups = &export.template["resource"]["aws_autoscaling_group"];
        assert_eq!(
            groups["prod-spot"]["lifecycle"]["ignore_changes"][0],
            "desired_capacity"
        );
        let version = &groups["prod-spot"]["mixed_instances_policy"][0]["launch_template"][0]["launch_template_specification"]
            [0]["version"];
        assert_eq!(*version, "${aws_launch_template.prod-spot.latest_version}");
        let configuration = groups["k8s-workers-a"]["launch_configuration"].as_str();
        assert!(
            configuration
                .unwrap()
                .starts_with("${aws_launch_configuration.k8s-workers-a-")
        );
    }

    #[test]
    fn the_script_says_all_that_the_resources_say() {
        let script = aws_cli("prod", "us-west-2", Some("alias/a"), &example());
        let export = Export {
            template: json!(&script),
            left_out: Vec::new(),
        };
        // The command line encodes the user data of a launch configuration itself.
        let encoded: Vec<String> = example()
            .into_values()
            .filter_map(|resource| match resource {
                Resource::LaunchConfiguration(it) => it.content.user_data,
                _ => None,
            })
            .collect();
        assert!(script.contains("readonly node_group=") && encoded.len() == 1);
        check(&export, &["Enabled", "true", &encoded[0]]);
    }
}
