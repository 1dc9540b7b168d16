//! What the resources are: read from AWS, by name.

use std::collections::{BTreeMap, BTreeSet};

use windlass_aws_client::autoscaling::{AutoScalingGroup, TagFilter};
use windlass_aws_client::ec2::ImageState;
use windlass_aws_client::{CallError, Client};

use super::alike::{self, Architectures};
use super::desired::{self, Facts, Zones};
use super::import::{self, Launch};
use super::plan::Resources;
use super::resource::{
    Grant, Group, Hook, Key, LaunchConfiguration, LaunchTemplate, Mixed, NodeRole, Parameter,
    Profile, Resource, ResourceId, ResourceKind,
};
use super::{GROUP_TAG, JOIN_KEY, KEY_TAG, OWNER_TAG, security_group};
use crate::cluster_config::{ClusterConfig, ImageReference, ResolvedGroup};

/// Why what AWS alone knows cannot be found out.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// A call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// No image has the tags.
    #[error(
        "group `{group}`: no image of owner `{owner}` has the tags {tags}: build one with \
         `windlass ami build`, or name one by its id"
    )]
    NoImage {
        /// The group.
        group: String,
        /// Who was to own it.
        owner: String,
        /// The tags.
        tags: String,
    },
    /// The image that is named is not there.
    #[error(
        "group `{group}`: there is no image `{image}` in this region, or none that this account may \
         use: build one with `windlass ami build`, or name another"
    )]
    NoSuchImage {
        /// The group.
        group: String,
        /// The image.
        image: String,
    },
    /// One image cannot be for all types of a group.
    #[error("group `{group}`")]
    Architectures {
        /// The group.
        group: String,
        /// Which types.
        #[source]
        source: Architectures,
    },
    /// A subnet whose zone is needed is not there.
    #[error(
        "there is no subnet `{subnet}`: check the subnets of groups with `zonal: true`, and the region"
    )]
    NoSubnet {
        /// The subnet.
        subnet: String,
    },
    /// A subnet of the nodes is not there.
    #[error(
        "there is no subnet `{subnet}`, whose VPC the nodes' security group is to be in: check \
         spec.subnets, the subnets of groups, and the region"
    )]
    NoSubnetOfNodes {
        /// The subnet.
        subnet: String,
    },
    /// The nodes are in several VPCs.
    #[error(
        "the subnets are in several VPCs ({vpcs}), and a security group is in one: take subnets of \
         one VPC, or leave spec.nodeSecurityGroup out"
    )]
    SeveralVpcs {
        /// Which, and which subnets are in them.
        vpcs: String,
    },
    /// The parameter that was to name an image is not there.
    #[error("group `{group}`: there is no parameter `{parameter}` to name its image")]
    NoParameter {
        /// The group.
        group: String,
        /// The parameter.
        parameter: String,
    },
}

/// Finds out what AWS alone knows: the account, and the images as of now.
///
/// # Errors
///
/// When a call fails or an image is not to be found.
pub async fn facts(client: &Client, config: &ClusterConfig) -> Result<Facts, FactsError> {
    let account = client.sts().get_caller_identity().await?.account;
    let mut facts = Facts {
        account,
        zones: zones(client, config).await?,
        ..Facts::default()
    };
    for subnet in config.zonal_subnets() {
        if !facts.zones.contains_key(&subnet) {
            return Err(FactsError::NoSubnet { subnet });
        }
    }
    if config.spec.node_security_group.is_some() {
        facts.vpc = Some(vpc(client, config).await?);
    }
    for group in config.groups() {
        let unlike = unlike(client, &group).await?;
        facts.warnings.extend(unlike);
        let Some(reference) = group.image else {
            continue;
        };
        let image = image(client, config, &group, reference, &mut facts.warnings).await?;
        let name = &group.group.name;
        if let Some(device) = image.root_device {
            facts.root_devices.insert(name.clone(), device);
        }
        facts.images.insert(name.clone(), image.id);
    }
    Ok(facts)
}

/// The VPC that all subnets of the nodes are in.
async fn vpc(client: &Client, config: &ClusterConfig) -> Result<String, FactsError> {
    let vpcs = security_group::vpcs(client, config).await?;
    let mut subnets = security_group::subnets(config).into_iter();
    if let Some(subnet) = subnets.find(|it| !vpcs.contains_key(it)) {
        return Err(FactsError::NoSubnetOfNodes { subnet });
    }
    let different: BTreeSet<&String> = vpcs.values().collect();
    if 1 < different.len() {
        let told = vpcs.iter().map(|(subnet, vpc)| format!("{subnet}: {vpc}"));
        let vpcs = told.collect::<Vec<_>>().join(", ");
        return Err(FactsError::SeveralVpcs { vpcs });
    }
    // A checked configuration has a subnet, and each that is there has a VPC.
    Ok(vpcs.into_values().next().unwrap_or_default())
}

/// An image that nodes are launched from.
struct Found {
    id: String,
    /// The device of its root volume, where it tells.
    root_device: Option<String>,
}

impl From<ImageState> for Found {
    fn from(image: ImageState) -> Self {
        Self {
            id: image.id,
            root_device: image.root_device_name,
        }
    }
}

/// The image that a group's nodes are launched from, as of now.
async fn image(
    client: &Client,
    config: &ClusterConfig,
    group: &ResolvedGroup<'_>,
    reference: ImageReference<'_>,
    warnings: &mut Vec<String>,
) -> Result<Found, FactsError> {
    let name = &group.group.name;
    match reference {
        ImageReference::Id(id) => image_of_id(client, name, id, warnings).await,
        ImageReference::Parameter(parameter) => {
            let found = client.ssm().get_parameter(parameter).await?;
            let found = found.ok_or_else(|| FactsError::NoParameter {
                group: name.clone(),
                parameter: parameter.to_owned(),
            })?;
            image_of_id(client, name, found.value.expose().trim(), warnings).await
        }
        ImageReference::Newest { tags, owner } => {
            let mut found = client.ec2().images_by_tags(owner, tags).await?;
            found.retain(|image| is_meant_for(image, &config.spec.cluster, tags));
            if let Some(first) = found.first()
                && found.iter().any(|it| it.architecture != first.architecture)
            {
                let architecture = architecture(client, group).await?;
                found.retain(|image| Some(&image.architecture) == architecture.as_ref());
            }
            // Of two of the same second the one with the greater id, so that it is always the
            // same one.
            let newest = found
                .into_iter()
                .max_by(|a, b| (&a.creation_date, &a.id).cmp(&(&b.creation_date, &b.id)));
            newest.map(Found::from).ok_or_else(|| FactsError::NoImage {
                group: name.clone(),
                owner: owner.to_owned(),
                tags: tags
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            })
        }
    }
}

/// Whether an image is not one that was built for another cluster, unless that one's are asked for.
fn is_meant_for(image: &ImageState, cluster: &str, wanted: &BTreeMap<String, String>) -> bool {
    wanted.contains_key(OWNER_TAG)
        || image
            .tags
            .get(OWNER_TAG)
            .is_none_or(|owner| owner == cluster)
}

/// The architecture of a group's types, as images have it.
async fn architecture(
    client: &Client,
    group: &ResolvedGroup<'_>,
) -> Result<Option<String>, CallError> {
    let first = group.instance_types.first().map(|&name| name.to_owned());
    let ec2 = client.ec2();
    let types = ec2.describe_instance_types(first.as_slice()).await?;
    Ok(types.first().map(|it| alike::architecture(it).to_owned()))
}

/// An image that is named. Without the permission to look at it no more than its id is known.
async fn image_of_id(
    client: &Client,
    group: &str,
    id: &str,
    warnings: &mut Vec<String>,
) -> Result<Found, FactsError> {
    match client.ec2().image_state(id).await {
        Ok(Some(image)) => Ok(image.into()),
        Ok(None) => Err(FactsError::NoSuchImage {
            group: group.to_owned(),
            image: id.to_owned(),
        }),
        Err(error) if error.is_denied() => {
            warnings.push(format!(
                "group `{group}`: the device of its image's root volume is taken from rootVolume.device: \
                 {error}"
            ));
            Ok(Found {
                id: id.to_owned(),
                root_device: None,
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// What is to be said of the types of a group. Without the permission to ask, nothing is.
async fn unlike(client: &Client, group: &ResolvedGroup<'_>) -> Result<Vec<String>, FactsError> {
    if group.instance_types.len() < 2 {
        return Ok(Vec::new());
    }
    let name = &group.group.name;
    let names: Vec<String> = group
        .instance_types
        .iter()
        .map(|&it| it.to_owned())
        .collect();
    let mut found = match client.ec2().describe_instance_types(&names).await {
        Ok(found) => found,
        Err(error) if error.is_denied() => {
            return Ok(vec![format!(
                "group `{name}`: its types are not compared: {error}"
            )]);
        }
        Err(error) => return Err(error.into()),
    };
    found.sort_by_key(|info| names.iter().position(|name| *name == info.instance_type));
    let said = alike::compare(&found).map_err(|source| FactsError::Architectures {
        group: name.clone(),
        source,
    })?;
    Ok(said
        .into_iter()
        .map(|unlike| format!("group `{name}`: {unlike}"))
        .collect())
}

/// The zones of the subnets of zonal groups.
///
/// # Errors
///
/// When the call fails.
pub async fn zones(client: &Client, config: &ClusterConfig) -> Result<Zones, CallError> {
    let subnets = config.zonal_subnets();
    if subnets.is_empty() {
        return Ok(Zones::new());
    }
    let subnets = subnets.iter().map(String::as_str);
    client.ec2().zones_of_subnets(subnets).await
}

/// Reads every resource that the file names, whosever it is, and those of ours that it no longer
/// names.
///
/// # Errors
///
/// When a call fails.
pub async fn observe(
    client: &Client,
    config: &ClusterConfig,
    zones: &Zones,
) -> Result<Resources, CallError> {
    let mut ids = desired::ids(config, zones);
    ids.extend(forgotten(client, config, &ids).await?);
    let mut resources = Resources::new();
    for id in &ids {
        let found = match id.kind {
            ResourceKind::Key => key(client, &config.spec.cluster, &id.name).await?,
            ResourceKind::SecurityGroup => security_group::observe(client, config).await?,
            _ => resource(client, id).await?,
        };
        if let Some(found) = found {
            resources.insert(id.clone(), found);
        }
    }
    if has_launch_configurations(config, &resources) {
        resources.extend(launch_configurations(client, config, &ids).await?);
    }
    Ok(resources)
}

/// A resource as it is; none if there is none of that name.
pub(super) async fn resource(
    client: &Client,
    id: &ResourceId,
) -> Result<Option<Resource>, CallError> {
    Ok(match id.kind {
        ResourceKind::Role => role(client, &id.name).await?,
        ResourceKind::InstanceProfile => profile(client, &id.name).await?,
        ResourceKind::Parameter => parameter(client, &id.name).await?,
        ResourceKind::LaunchTemplate => launch_template(client, &id.name).await?,
        ResourceKind::AutoScalingGroup => group(client, &id.name)
            .await?
            .map(|group| Resource::Group(Box::new(group))),
        // A key and a security group are found by the cluster too, and launch configurations all at
        // once.
        ResourceKind::Key | ResourceKind::SecurityGroup | ResourceKind::LaunchConfiguration => None,
    })
}

/// Whether a group is to have a launch configuration, or has one.
fn has_launch_configurations(config: &ClusterConfig, found: &Resources) -> bool {
    let mut wanted = config.groups();
    wanted.any(|group| group.group.launch_configuration)
        || found.iter().any(|(id, resource)| {
            matches!(resource, Resource::Group(group) if group
                .launch_configuration
                .as_deref()
                .is_some_and(|name| desired::is_configuration_of(&id.name, name)))
        })
}

/// Launch configurations with names that Windlass gives those of these groups.
async fn launch_configurations(
    client: &Client,
    config: &ClusterConfig,
    ids: &BTreeSet<ResourceId>,
) -> Result<Resources, CallError> {
    let groups = ids
        .iter()
        .filter(|id| id.kind == ResourceKind::AutoScalingGroup);
    let groups: Vec<&str> = groups.map(|id| id.name.as_str()).collect();
    let is_of_group = |name: &str| {
        let mut groups = groups.iter();
        groups.any(|group| desired::is_configuration_of(group, name))
    };
    configurations(client, config, is_of_group).await
}

/// Launch configurations with names of a kind; those with the nodes' profile are ours.
async fn configurations(
    client: &Client,
    config: &ClusterConfig,
    is_meant: impl Fn(&str) -> bool,
) -> Result<Resources, CallError> {
    let profile = desired::node_role_name(config);
    let mut found = Resources::new();
    for mut content in client.autoscaling().launch_configurations(&[]).await? {
        let name = content.name.clone();
        if !is_meant(&name) {
            continue;
        }
        content.security_groups.sort();
        let is_ours = content.instance_profile.as_ref() == Some(&profile);
        let owner = is_ours.then(|| config.spec.cluster.clone());
        let id = ResourceId {
            kind: ResourceKind::LaunchConfiguration,
            name,
        };
        let configuration = LaunchConfiguration { content, owner };
        found.insert(id, Resource::LaunchConfiguration(Box::new(configuration)));
    }
    Ok(found)
}

/// The key that an alias names. A run that ended between making a key and naming it has left one
/// without: its tags tell.
async fn key(client: &Client, cluster: &str, alias: &str) -> Result<Option<Resource>, CallError> {
    let kms = client.kms();
    let named = kms.describe_key(alias).await?;
    let has_alias = named.is_some();
    let found = match named {
        Some(key) => Some(key),
        None => nameless_key(client, cluster).await?,
    };
    let Some(key) = found else {
        return Ok(None);
    };
    let policy = kms.key_policy(&key.id).await?;
    Ok(Some(Resource::Key(Key {
        policy: serde_json::from_str(&policy).unwrap_or_default(),
        rotation: kms.is_rotated(&key.id).await?,
        alias: has_alias,
        tags: kms.key_tags(&key.id).await?,
        state: key.state,
        id: Some(key.id),
    })))
}

async fn nameless_key(
    client: &Client,
    cluster: &str,
) -> Result<Option<windlass_aws_client::kms::Key>, CallError> {
    let tags = [(OWNER_TAG, cluster), (KEY_TAG, JOIN_KEY)];
    let mut arns = client.tagging().resources("kms:key", &tags).await?;
    arns.sort();
    for arn in arns {
        if let Some(key) = client.kms().describe_key(&arn).await?
            && key.state != "PendingDeletion"
        {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Groups and launch templates of ours that the file no longer has. A template outlives its group
/// where a run ended between the two.
async fn forgotten(
    client: &Client,
    config: &ClusterConfig,
    named: &BTreeSet<ResourceId>,
) -> Result<Vec<ResourceId>, CallError> {
    let cluster = &config.spec.cluster;
    let filter = TagFilter {
        key: OWNER_TAG.to_owned(),
        value: Some(cluster.clone()),
    };
    let autoscaling = client.autoscaling();
    let groups = autoscaling.describe_groups_by_tags(&[filter]).await?;
    let groups = groups.into_iter().map(|group| ResourceId {
        kind: ResourceKind::AutoScalingGroup,
        name: group.name,
    });
    let ec2 = client.ec2();
    let templates = ec2.launch_templates_by_tag(OWNER_TAG, cluster).await?;
    // One without a group's name was made for something else.
    let templates = templates
        .into_iter()
        .filter(|template| template.tags.contains_key(GROUP_TAG))
        .map(|template| ResourceId {
            kind: ResourceKind::LaunchTemplate,
            name: template.name,
        });
    let found = groups.chain(templates);
    Ok(found.filter(|id| !named.contains(id)).collect())
}

/// Launch configurations of this cluster whose group is no more: a run ended between the two.
/// Without the permission to look none is seen.
///
/// # Errors
///
/// When the call fails.
pub async fn stray_configurations(
    client: &Client,
    config: &ClusterConfig,
) -> Result<Resources, CallError> {
    let mut found = match configurations(client, config, desired::is_configuration).await {
        Err(error) if error.is_denied() => return Ok(Resources::new()),
        found => found?,
    };
    // Such a name somebody else may have given too.
    found.retain(|_, it| it.owner() == Some(&config.spec.cluster));
    Ok(found)
}

async fn role(client: &Client, name: &str) -> Result<Option<Resource>, CallError> {
    let iam = client.iam();
    let Some(role) = iam.get_role(name).await? else {
        return Ok(None);
    };
    let document = |text: &str| serde_json::from_str(text).unwrap_or_default();
    let trust = windlass_aws_client::iam::percent_decode(&role.assume_role_policy_document);
    let mut found = NodeRole {
        trust: document(&trust),
        tags: iam.role_tags(name).await?,
        ..NodeRole::default()
    };
    for policy in iam.role_policy_names(name).await? {
        if let Some(text) = iam.role_policy(name, &policy).await? {
            found.policies.insert(policy, document(&text));
        }
    }
    Ok(Some(Resource::Role(found)))
}

async fn profile(client: &Client, name: &str) -> Result<Option<Resource>, CallError> {
    let profile = client.iam().instance_profile(name).await?;
    Ok(profile.map(|profile| {
        Resource::Profile(Profile {
            roles: profile.roles.into_iter().collect(),
            tags: profile.tags,
        })
    }))
}

async fn parameter(client: &Client, name: &str) -> Result<Option<Resource>, CallError> {
    // Its tags alone: the value is a credential, and nobody here needs it.
    let tags = client.ssm().parameter_tags(name).await?;
    Ok(tags.map(|tags| Resource::Parameter(Parameter { tags })))
}

async fn launch_template(client: &Client, name: &str) -> Result<Option<Resource>, CallError> {
    let Some(template) = client.ec2().launch_template(name).await? else {
        return Ok(None);
    };
    let version = template.latest_version_number;
    let ec2 = client.ec2();
    let number = version.to_string();
    let content = ec2.launch_template_content(name, &number).await?;
    let mut content = content.unwrap_or_default();
    content.security_groups.sort();
    Ok(Some(Resource::LaunchTemplate(Box::new(LaunchTemplate {
        content,
        version: Some(version),
        tags: template.tags,
    }))))
}

/// What a group's instances are made of.
///
/// # Errors
///
/// When a call fails.
pub async fn launch(client: &Client, group: &Group) -> Result<Launch, CallError> {
    if let Some(name) = &group.launch_configuration {
        let names = [name.clone()];
        let found = client.autoscaling().launch_configurations(&names).await?;
        let found = found.into_iter().next();
        return Ok(found.map_or_else(Launch::default, |found| Launch {
            image: found.image_id.clone(),
            instance_type: found.instance_type.clone(),
            content: Some(found),
        }));
    }
    let name = group.launch_template.as_deref().unwrap_or_default();
    let version = group.version.as_deref().unwrap_or("$Default");
    let found = client.ec2().launch_template_content(name, version).await?;
    Ok(found.map_or_else(Launch::default, |found| Launch {
        image: found.image_id.clone(),
        instance_type: found.instance_type.clone(),
        content: Some(import::of_template(found)),
    }))
}

/// A group as it is; none if there is none of that name.
///
/// # Errors
///
/// When a call fails.
pub async fn group(client: &Client, name: &str) -> Result<Option<Group>, CallError> {
    let autoscaling = client.autoscaling();
    let groups = autoscaling
        .describe_groups_by_name(&[name.to_owned()])
        .await?;
    let Some(group) = groups.into_iter().next() else {
        return Ok(None);
    };
    let hooks = autoscaling.lifecycle_hooks(name).await?;
    let policies = autoscaling.scaling_policies(name).await?;
    let mut found = of_group(group);
    found.scaling_policies = policies.into_iter().collect();
    found.hooks = hooks
        .into_iter()
        .map(|hook| {
            let definition = Hook {
                transition: hook.transition,
                timeout_seconds: hook.timeout_seconds,
                default_result: hook.default_result,
            };
            (hook.name, definition)
        })
        .collect();
    Ok(Some(found))
}

/// A group as AWS describes it, without its hooks.
fn of_group(group: AutoScalingGroup) -> Group {
    let launch_configuration = group.next_launch_configuration().map(str::to_owned);
    let mut template = group.launch_template;
    let mut mixed = None;
    if let Some(policy) = group.mixed_instances_policy {
        template = Some(policy.launch_template);
        mixed = Some(Mixed {
            types: policy
                .overrides
                .into_iter()
                .filter_map(|one| one.instance_type)
                .collect(),
            on_demand_base: policy.distribution.on_demand_base_capacity,
            on_demand_percentage: policy.distribution.on_demand_percentage_above_base_capacity,
            spot_allocation_strategy: policy
                .distribution
                .spot_allocation_strategy
                .unwrap_or_default(),
        });
    }
    let (launch_template, version) = match template {
        Some(template) => (template.name, template.version),
        None => (None, None),
    };
    Group {
        min: group.min_size,
        max: group.max_size,
        subnets: group
            .vpc_zone_identifier
            .unwrap_or_default()
            .split(',')
            .filter(|id| !id.is_empty())
            .map(|id| id.trim().to_owned())
            .collect(),
        launch_template,
        version,
        launch_configuration,
        mixed,
        health_check_grace_seconds: group.health_check_grace_period.unwrap_or(0),
        suspended: group
            .suspended_processes
            .into_iter()
            .map(|process| process.process_name)
            .collect(),
        hooks: std::collections::BTreeMap::new(),
        scaling_policies: BTreeSet::new(),
        tags: group
            .tags
            .into_iter()
            .map(|tag| {
                let grant = Grant {
                    value: tag.value,
                    propagate: tag.propagate_at_launch,
                };
                (tag.key, grant)
            })
            .collect(),
        instances: group.instances.len(),
    }
}
