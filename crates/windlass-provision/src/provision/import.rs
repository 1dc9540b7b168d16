//! A group that was made by hand, as the configuration file would have it. Pure.

use serde_json::{Map, Value, json};

use windlass_aws_client::autoscaling::{
    ConfiguredEbs, ConfiguredVolume, LaunchConfigurationContent,
};
use windlass_aws_client::ec2::LaunchTemplateContent;

use super::desired;
use super::resource::Group;
use crate::cluster_config::ClusterConfig;

/// What a group's instances are made of, as its launch configuration or template says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launch {
    /// Id of the machine image.
    pub image: Option<String>,
    /// Instance type.
    pub instance_type: Option<String>,
    /// All that its launch configuration or template says, in the words of the former.
    pub content: Option<LaunchConfigurationContent>,
}

/// What a launch template says, in the words of a launch configuration.
pub(super) fn of_template(template: LaunchTemplateContent) -> LaunchConfigurationContent {
    let volumes = template.volumes.into_iter().map(|volume| ConfiguredVolume {
        device: volume.device,
        ebs: ConfiguredEbs {
            size_gib: volume.ebs.size_gib,
            kind: volume.ebs.kind,
            iops: volume.ebs.iops,
            throughput: volume.ebs.throughput,
            encrypted: volume.ebs.encrypted,
            delete_on_termination: volume.ebs.delete_on_termination,
        },
    });
    LaunchConfigurationContent {
        image_id: template.image_id,
        instance_type: template.instance_type,
        instance_profile: template.instance_profile,
        security_groups: template.security_groups,
        user_data: template.user_data,
        volumes: volumes.collect(),
        key_name: template.key_name,
        ..LaunchConfigurationContent::default()
    }
}

impl Launch {
    /// The root volume as the file has it: the first that is named.
    fn root_volume(&self) -> Option<Value> {
        let volume = self.content.as_ref()?.volumes.first()?;
        let mut entry = json!({ "device": volume.device });
        if let Some(size) = volume.ebs.size_gib {
            entry["size"] = json!(format!("{size}Gi"));
        }
        if let Some(kind) = &volume.ebs.kind {
            entry["type"] = json!(kind);
        }
        if let Some(iops) = volume
            .ebs
            .iops
            .filter(|_| volume.ebs.kind.as_deref() != Some("gp2"))
        {
            entry["iops"] = json!(iops);
        }
        if let Some(throughput) = volume.ebs.throughput {
            entry["throughput"] = json!(throughput);
        }
        Some(entry)
    }

    /// What instances of the file's groups will have otherwise, or not at all.
    pub fn left_out(&self, config: &ClusterConfig) -> Vec<String> {
        let Some(content) = &self.content else {
            return Vec::new();
        };
        let mut left_out = Vec::new();
        if let Some(profile) = &content.instance_profile {
            left_out.push(format!(
                "instance profile `{profile}`: theirs is `{}`, which may read the join credential and \
                 tell how the join went",
                desired::node_role_name(config)
            ));
        }
        if let Some(key) = &content.key_name {
            left_out.push(format!("key `{key}`: they have none"));
        }
        if content.user_data.is_some() {
            left_out.push("user data: they join by Windlass's own".to_owned());
        }
        let (mut found, mut wanted) = (
            content.security_groups.clone(),
            config.spec.security_groups.clone(),
        );
        found.sort();
        wanted.sort();
        if found != wanted {
            let found = if found.is_empty() {
                "of the VPC's default".to_owned()
            } else {
                found.join(", ")
            };
            left_out.push(format!(
                "security groups {found}: theirs are spec.securityGroups"
            ));
        }
        for volume in content.volumes.iter().skip(1) {
            left_out.push(format!("volume `{}`: they have one", volume.device));
        }
        left_out
    }
}

/// The entry of `spec.groups` that describes a group as it is.
///
/// Labels, taints and resources come from the group's node-template tags, which is where a group
/// of the Go autoscaler promises them.
pub fn entry(name: &str, aws_name: &str, group: &Group, launch: &Launch) -> Value {
    const PREFIX: &str = "k8s.io/cluster-autoscaler/node-template/";
    let mut labels = Map::new();
    let mut resources = Map::new();
    let mut options = Map::new();
    let mut taints = Vec::new();
    for (key, grant) in &group.tags {
        let Some((kind, rest)) = key
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('/'))
        else {
            continue;
        };
        let value = json!(grant.value);
        match kind {
            // The group's own name is set by itself, the volume's size by the volume.
            "label" if rest != "windlass.dev/node-group" => {
                labels.insert(rest.to_owned(), value);
            }
            "taint" => taints.push(json!(taint(rest, &grant.value))),
            "resources" if rest != "ephemeral-storage" => {
                resources.insert(rest.to_owned(), value);
            }
            "autoscaling-options" => {
                options.insert(rest.to_owned(), value);
            }
            _ => {}
        }
    }
    let mut entry = json!({
        "name": name,
        "autoScalingGroup": aws_name,
        "min": group.min,
        "max": group.max,
        "subnets": group.subnets,
    });
    if let Some(mixed) = &group.mixed {
        entry["instances"] = json!({
            "types": mixed.types,
            "spot": format!("{}%", 100_u32.saturating_sub(mixed.on_demand_percentage)),
            "onDemandBase": mixed.on_demand_base,
        });
    } else if let Some(instance_type) = &launch.instance_type {
        entry["instanceType"] = json!(instance_type);
    }
    if let Some(volume) = launch.root_volume() {
        entry["rootVolume"] = volume;
    }
    if let Some(image) = &launch.image {
        entry["image"] = json!({ "id": image });
    }
    for (field, map) in [
        ("labels", labels),
        ("resources", resources),
        ("autoscalingOptions", options),
    ] {
        if !map.is_empty() {
            entry[field] = Value::Object(map);
        }
    }
    if !taints.is_empty() {
        entry["taints"] = json!(taints);
    }
    entry
}

/// A tag's `value:Effect` as `key=value:Effect`.
fn taint(key: &str, tag: &str) -> String {
    match tag.strip_prefix(':') {
        Some(effect) => format!("{key}:{effect}"),
        None => format!("{key}={tag}"),
    }
}

#[cfg(test)]
mod tests {
    use windlass_aws_client::ec2::{TemplateEbs, TemplateVolume};

    use super::*;
    use crate::manifests::yaml;
    use crate::provision::resource::Grant;

    #[test]
    fn an_entry_is_one_that_the_file_takes_and_says_the_same() {
        let mut group = Group {
            min: 1,
            max: 5,
            subnets: ["subnet-1".to_owned()].into(),
            ..Group::default()
        };
        for (key, value) in [
            ("k8s.io/cluster-autoscaler/node-template/label/tier", "web"),
            (
                "k8s.io/cluster-autoscaler/node-template/taint/a",
                "b:NoSchedule",
            ),
            (
                "k8s.io/cluster-autoscaler/node-template/taint/c",
                ":NoExecute",
            ),
            ("k8s.io/cluster-autoscaler/node-template/resources/gpu", "1"),
            ("k8s.io/cluster-autoscaler/enabled", "true"),
        ] {
            let grant = Grant {
                value: value.to_owned(),
                propagate: true,
            };
            group.tags.insert(key.to_owned(), grant);
        }
        let launch = Launch {
            image: Some("ami-1".to_owned()),
            instance_type: Some("m4.large".to_owned()),
            content: Some(LaunchConfigurationContent {
                instance_profile: Some("k8s-node".to_owned()),
                key_name: Some("ops".to_owned()),
                security_groups: vec!["sg-2".to_owned()],
                volumes: vec![ConfiguredVolume {
                    device: "/dev/sda1".to_owned(),
                    ebs: ConfiguredEbs {
                        size_gib: Some(100),
                        kind: Some("gp2".to_owned()),
                        iops: Some(300),
                        ..ConfiguredEbs::default()
                    },
                }],
                ..LaunchConfigurationContent::default()
            }),
        };
        let entry = entry(
            "web",
            "k8s workers".replace(' ', "-").as_str(),
            &group,
            &launch,
        );
        let file = json!({
            "apiVersion": "windlass.dev/v1alpha1",
            "kind": "Cluster",
            "spec": {
                "cluster": "prod", "region": "us-west-2", "endpoint": "a:443",
                "kubernetes": "v1.36.3", "securityGroups": ["sg-1"], "groups": [entry],
            },
        });
        let config = ClusterConfig::read("cluster.yaml", &yaml::to_yaml(&file)).unwrap();
        let group = config.groups().next().unwrap();
        assert_eq!(group.aws_name, "k8s-workers");
        assert_eq!(group.instance_types, ["m4.large"]);
        assert_eq!(group.root_volume.size.gib, 100);
        assert_eq!(group.root_volume.device, "/dev/sda1");
        let left_out = launch.left_out(&config).join("\n");
        for part in ["`k8s-node`", "`ops`", "sg-2"] {
            assert!(left_out.contains(part), "{left_out}");
        }
        let tags = group.node_template_tags();
        assert_eq!(
            tags["k8s.io/cluster-autoscaler/node-template/taint/c"],
            ":NoExecute"
        );
        assert_eq!(
            tags["k8s.io/cluster-autoscaler/node-template/label/tier"],
            "web"
        );
        assert_eq!(
            tags["k8s.io/cluster-autoscaler/node-template/resources/gpu"],
            "1"
        );
    }

    #[test]
    fn a_template_tells_what_a_launch_configuration_tells() {
        let template = LaunchTemplateContent {
            instance_profile: Some("k8s-node".to_owned()),
            key_name: Some("ops".to_owned()),
            user_data: Some("IyEvYmluL3NoCg==".to_owned()),
            volumes: vec![TemplateVolume {
                device: "/dev/sda1".to_owned(),
                ebs: TemplateEbs {
                    size_gib: Some(100),
                    kind: Some("gp3".to_owned()),
                    throughput: Some(250),
                    ..TemplateEbs::default()
                },
            }],
            ..LaunchTemplateContent::default()
        };
        let launch = Launch {
            content: Some(of_template(template)),
            ..Launch::default()
        };
        let entry = entry("web", "k8s-workers", &Group::default(), &launch);
        let volume = json!({
            "device": "/dev/sda1", "size": "100Gi", "type": "gp3", "throughput": 250,
        });
        assert_eq!(entry["rootVolume"], volume);
        let text = "apiVersion: windlass.dev/v1alpha1\nkind: Cluster\nspec: {cluster: prod, region: \
                    us-west-2, endpoint: 'a:443', kubernetes: v1.36.3, securityGroups: [sg-1]}\n";
        let config = ClusterConfig::read("cluster.yaml", text).unwrap();
        let left_out = launch.left_out(&config).join("\n");
        for part in ["`k8s-node`", "`ops`", "user data"] {
            assert!(left_out.contains(part), "{left_out}");
        }
    }
}
