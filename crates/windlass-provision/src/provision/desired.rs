//! What the resources should be. Pure: what AWS alone knows comes in as [`Facts`].

use std::collections::{BTreeMap, BTreeSet};

use windlass_aws_client::autoscaling::{
    ConfiguredEbs, ConfiguredMetadata, ConfiguredVolume, LaunchConfigurationContent,
};
use windlass_aws_client::ec2::{
    LaunchTemplateContent, MetadataOptions, TemplateEbs, TemplateVolume,
};

use super::resource::{
    Grant, Group, Hook, Key, LaunchConfiguration, LaunchTemplate, Mixed, NodeRole, Parameter,
    Profile, Resource, ResourceId, ResourceKind, Tags,
};
use super::{GROUP_TAG, JOIN_KEY, KEY_TAG, OWNER_TAG};
use super::{builder, policies, security_group};
use crate::ami::sha256;
use crate::cluster_config::{ClusterConfig, ResolvedGroup};
use crate::iam::Place;
use crate::userdata::{self, UserDataError};

/// What AWS alone knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Id of the account.
    pub account: String,
    /// Id of each group's image, by the group's name in the file.
    pub images: BTreeMap<String, String>,
    /// The device of each such image's root volume, where the image tells.
    pub root_devices: BTreeMap<String, String>,
    /// The zone of each subnet of groups that have one group for each zone.
    pub zones: Zones,
    /// The VPC of the nodes' own security group, where the file asks for one.
    pub vpc: Option<String>,
    /// What is to be said of groups whose instance types are not alike.
    pub warnings: Vec<String>,
}

/// Zones of subnets.
pub type Zones = BTreeMap<String, String>;

/// How spot pools are chosen: cheap, and not about to be taken back.
const SPOT_ALLOCATION: &str = "price-capacity-optimized";
/// Bytes of the digest in a launch configuration's name.
const DIGEST_BYTES: usize = 4;
/// AWS would end instances without draining them to even zones out.
const SUSPENDED: [&str; 1] = ["AZRebalance"];

/// Name of the nodes' role, policy and instance profile.
pub fn node_role_name(config: &ClusterConfig) -> String {
    format!("{}-windlass-node", config.spec.cluster)
}

/// Every resource of a cluster.
///
/// # Errors
///
/// When a group's user data cannot be rendered; a checked configuration's can.
pub fn desired(
    config: &ClusterConfig,
    facts: &Facts,
) -> Result<BTreeMap<ResourceId, Resource>, UserDataError> {
    let mut resources = BTreeMap::new();
    let mut add = |name: String, resource: Resource| {
        let kind = resource.kind();
        resources.insert(ResourceId { kind, name }, resource);
    };
    let place = config.place(&facts.account);
    if let Some(alias) = own_key(config) {
        add(alias, Resource::Key(key(config, &place)));
    }
    let name = node_role_name(config);
    add(
        name.clone(),
        Resource::Role(NodeRole {
            trust: policies::trust(&place),
            policies: [(name.clone(), policies::node(&place))].into(),
            tags: tags(config),
        }),
    );
    add(
        name.clone(),
        Resource::Profile(Profile {
            roles: [name].into(),
            tags: tags(config),
        }),
    );
    add(
        config.join_parameter(),
        Resource::Parameter(Parameter { tags: tags(config) }),
    );
    if let Some(group) = security_group::desired(config, facts.vpc.as_deref()) {
        add(security_group::name(config), Resource::SecurityGroup(group));
    }
    for (id, resource) in builder::desired(config, &facts.account) {
        add(id.name, resource);
    }
    for group in config.groups_in(&facts.zones) {
        let mut made = auto_scaling_group(config, &group);
        if group.group.launch_configuration {
            let configuration = launch_configuration(config, facts, &group)?;
            let name = configuration.content.name.clone();
            made.launch_template = None;
            made.launch_configuration = Some(name.clone());
            add(name, Resource::LaunchConfiguration(Box::new(configuration)));
        } else {
            let template = launch_template(config, facts, &group)?;
            add(
                group.aws_name.clone(),
                Resource::LaunchTemplate(Box::new(template)),
            );
        }
        add(group.aws_name, Resource::Group(Box::new(made)));
    }
    Ok(resources)
}

/// Alias of the key that is made for the cluster, if one is.
pub fn own_key(config: &ClusterConfig) -> Option<String> {
    config.join_key().filter(|_| config.spec.token.create_key)
}

/// Which resources there may be: those that are desired, and those of groups that the file no
/// longer has. Launch configurations, whose names tell what they say, are found by their names.
pub fn ids(config: &ClusterConfig, zones: &Zones) -> BTreeSet<ResourceId> {
    let mut ids = BTreeSet::new();
    let mut add = |kind, name: String| {
        ids.insert(ResourceId { kind, name });
    };
    if let Some(alias) = own_key(config) {
        add(ResourceKind::Key, alias);
    }
    add(ResourceKind::Role, node_role_name(config));
    add(ResourceKind::InstanceProfile, node_role_name(config));
    add(ResourceKind::Parameter, config.join_parameter());
    add(ResourceKind::SecurityGroup, security_group::name(config));
    for group in config.groups_in(zones) {
        add(ResourceKind::LaunchTemplate, group.aws_name.clone());
        add(ResourceKind::AutoScalingGroup, group.aws_name);
    }
    ids.extend(builder::ids(config));
    ids
}

pub(super) fn tags(config: &ClusterConfig) -> Tags {
    let mut tags = config.spec.tags.clone();
    tags.insert(OWNER_TAG.to_owned(), config.spec.cluster.clone());
    tags
}

fn key(config: &ClusterConfig, place: &Place) -> Key {
    let mut tags = tags(config);
    tags.insert(KEY_TAG.to_owned(), JOIN_KEY.to_owned());
    Key {
        policy: policies::key(place),
        rotation: true,
        alias: true,
        state: "Enabled".to_owned(),
        tags,
        id: None,
    }
}

/// What a group's instances run, in base64.
fn user_data(config: &ClusterConfig, group: &ResolvedGroup<'_>) -> Result<String, UserDataError> {
    let script = config.user_data(group).render()?;
    Ok(userdata::as_base64(userdata::as_mime(&script)?.as_bytes()))
}

/// Name of a group's launch configuration of that content, which says all but the name. There are
/// others for the same content, by a number.
fn configuration_name(
    aws_name: &str,
    content: &LaunchConfigurationContent,
    number: usize,
) -> String {
    // Names, texts and numbers always have a JSON form.
    let mut said = serde_json::to_string(content).unwrap_or_default();
    if 0 < number {
        said += &number.to_string();
    }
    let digest = sha256(said.as_bytes());
    format!("{aws_name}-{}", &digest[..2 * DIGEST_BYTES])
}

/// The name of that number for the content of a launch configuration, which has its name of number 0.
pub(super) fn numbered_name(content: &LaunchConfigurationContent, number: usize) -> String {
    let name = content.name.rsplit_once('-');
    configuration_name(name.map_or("", |(aws_name, _)| aws_name), content, number)
}

/// Whether a launch configuration's name is one that Windlass gives those of a group of this name.
pub fn is_configuration_of(aws_name: &str, name: &str) -> bool {
    let rest = name.strip_prefix(aws_name);
    rest.is_some_and(|rest| rest.starts_with('-') && !rest[1..].contains('-'))
        && is_configuration(name)
}

/// Whether a launch configuration's name ends as those that Windlass gives.
pub(super) fn is_configuration(name: &str) -> bool {
    let digest = name.rsplit_once('-').map(|(_, digest)| digest);
    digest.is_some_and(|digest| {
        digest.len() == 2 * DIGEST_BYTES
            && digest
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    })
}

/// The device of the image itself where it is known: under another name the volume would be a second
/// disk, and the root as small as the image's.
fn root_device(facts: &Facts, group: &ResolvedGroup<'_>) -> String {
    let of_image = facts.root_devices.get(&group.group.name);
    of_image.unwrap_or(&group.root_volume.device).clone()
}

/// The security groups of nodes. That which is made for them has its name here, as long as its id is
/// for AWS to say.
fn security_groups(config: &ClusterConfig) -> Vec<String> {
    let mut groups = config.spec.security_groups.clone();
    if config.spec.node_security_group.is_some() {
        groups.push(security_group::name(config));
    }
    groups
}

fn launch_configuration(
    config: &ClusterConfig,
    facts: &Facts,
    group: &ResolvedGroup<'_>,
) -> Result<LaunchConfiguration, UserDataError> {
    let volume = group.root_volume;
    let mut content = LaunchConfigurationContent {
        name: String::new(),
        image_id: facts.images.get(&group.group.name).cloned(),
        instance_type: group.instance_types.first().map(|&name| name.to_owned()),
        instance_profile: Some(node_role_name(config)),
        security_groups: security_groups(config),
        user_data: Some(user_data(config, group)?),
        volumes: vec![ConfiguredVolume {
            device: root_device(facts, group),
            ebs: ConfiguredEbs {
                size_gib: Some(volume.size.gib),
                kind: Some(volume.kind.clone()),
                iops: volume.iops,
                throughput: volume.throughput,
                encrypted: true,
                delete_on_termination: true,
            },
        }],
        metadata_options: ConfiguredMetadata {
            http_tokens: Some("required".to_owned()),
            hop_limit: Some(group.metadata_hop_limit),
            http_endpoint: Some("enabled".to_owned()),
        },
        key_name: None,
    };
    content.name = configuration_name(&group.aws_name, &content, 0);
    Ok(LaunchConfiguration {
        content,
        owner: Some(config.spec.cluster.clone()),
    })
}

fn launch_template(
    config: &ClusterConfig,
    facts: &Facts,
    group: &ResolvedGroup<'_>,
) -> Result<LaunchTemplate, UserDataError> {
    let user_data = user_data(config, group)?;
    let volume = group.root_volume;
    // Their order says nothing, and AWS keeps none.
    let mut security_groups = security_groups(config);
    security_groups.sort();
    let mut own_tags = tags(config);
    own_tags.insert(GROUP_TAG.to_owned(), group.group.name.clone());
    let mut launched = own_tags.clone();
    launched.insert("Name".to_owned(), group.aws_name.clone());
    let content = LaunchTemplateContent {
        image_id: facts.images.get(&group.group.name).cloned(),
        instance_type: group.instance_types.first().map(|&name| name.to_owned()),
        instance_profile: Some(node_role_name(config)),
        security_groups,
        user_data: Some(user_data),
        volumes: vec![TemplateVolume {
            device: root_device(facts, group),
            ebs: TemplateEbs {
                size_gib: Some(volume.size.gib),
                kind: Some(volume.kind.clone()),
                iops: volume.iops,
                throughput: volume.throughput,
                encrypted: true,
                kms_key: volume.kms_key.clone(),
                delete_on_termination: true,
            },
        }],
        metadata_options: MetadataOptions {
            http_tokens: Some("required".to_owned()),
            hop_limit: Some(group.metadata_hop_limit),
            http_endpoint: Some("enabled".to_owned()),
            // Keys with a slash, such as the cloud controller's, would make the launch fail.
            instance_metadata_tags: Some("disabled".to_owned()),
        },
        shutdown_behavior: None,
        key_name: None,
        tags: ["instance", "network-interface", "volume"]
            .map(|kind| (kind.to_owned(), launched.clone()))
            .into(),
    };
    Ok(LaunchTemplate {
        content,
        version: None,
        tags: own_tags,
    })
}

fn auto_scaling_group(config: &ClusterConfig, group: &ResolvedGroup<'_>) -> Group {
    let spec = &config.spec;
    let mixed = group.instances.map(|instances| Mixed {
        types: instances.types.clone(),
        on_demand_base: instances.on_demand_base,
        on_demand_percentage: 100 - instances.spot.0,
        spot_allocation_strategy: SPOT_ALLOCATION.to_owned(),
    });
    let hooks = spec.join.lifecycle_hook.iter().map(|hook| {
        let definition = Hook {
            transition: "autoscaling:EC2_INSTANCE_LAUNCHING".to_owned(),
            timeout_seconds: seconds(hook.timeout.0),
            default_result: "ABANDON".to_owned(),
        };
        (hook.name.clone(), definition)
    });
    Group {
        min: group.group.min,
        max: group.group.max,
        subnets: group.subnets.iter().cloned().collect(),
        launch_template: Some(group.aws_name.clone()),
        version: None,
        launch_configuration: None,
        mixed,
        health_check_grace_seconds: seconds(spec.token.boot_budget.0),
        suspended: SUSPENDED.map(str::to_owned).into(),
        hooks: hooks.collect(),
        scaling_policies: BTreeSet::new(),
        tags: group_tags(config, group),
        instances: 0,
    }
}

fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// The tags of a group. Instances get those that the cloud controller and people look for.
fn group_tags(config: &ClusterConfig, group: &ResolvedGroup<'_>) -> BTreeMap<String, Grant> {
    let spec = &config.spec;
    let mut tags = BTreeMap::new();
    let mut add = |key: String, value: &str, propagate: bool| {
        let value = value.to_owned();
        tags.insert(key, Grant { value, propagate });
    };
    for (key, value) in &spec.tags {
        add(key.clone(), value, false);
    }
    let [enabled, owned] = config.discovery_tags();
    add(enabled, "true", false);
    add(owned, "owned", false);
    add(
        format!("kubernetes.io/cluster/{}", spec.cluster),
        "owned",
        true,
    );
    add("Name".to_owned(), &group.aws_name, true);
    add(OWNER_TAG.to_owned(), &spec.cluster, false);
    add(GROUP_TAG.to_owned(), &group.group.name, false);
    for (key, value) in group.node_template_tags() {
        add(key, &value, false);
    }
    tags
}

/// Whether a tag of a group is Windlass's to remove when the file no longer has it.
pub(super) fn is_own_tag(key: &str, cluster: &str) -> bool {
    key.starts_with("k8s.io/cluster-autoscaler/")
        || key.starts_with("windlass.dev/")
        || key == format!("kubernetes.io/cluster/{cluster}")
}
