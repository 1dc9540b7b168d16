//! What the resources are: read from AWS, by name.

use std::collections::BTreeSet;

use windlass_aws_client::autoscaling::{AutoScalingGroup, TagFilter};
use windlass_aws_client::{CallError, Client};

use super::OWNER_TAG;
use super::desired::{self, Facts};
use super::import::Launch;
use super::plan::Resources;
use super::resource::{
    Grant, Group, Hook, LaunchTemplate, Mixed, NodeRole, Parameter, Profile, Resource, ResourceId,
    ResourceKind,
};
use crate::cluster_config::{ClusterConfig, ImageReference};

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
        ..Facts::default()
    };
    for group in config.groups() {
        let name = &group.group.name;
        let image = match group.image {
            None => continue,
            Some(ImageReference::Id(id)) => id.to_owned(),
            Some(ImageReference::Parameter(parameter)) => client
                .ssm()
                .get_parameter(parameter)
                .await?
                .map(|found| found.value.expose().trim().to_owned())
                .ok_or_else(|| FactsError::NoParameter {
                    group: name.clone(),
                    parameter: parameter.to_owned(),
                })?,
            Some(ImageReference::Newest { tags, owner }) => {
                let found = client.ec2().images_by_tags(owner, tags).await?;
                // Of two of the same second the one with the greater id, so that it is always the
                // same one.
                found
                    .into_iter()
                    .max_by(|a, b| (&a.1, &a.0).cmp(&(&b.1, &b.0)))
                    .map(|(id, _)| id)
                    .ok_or_else(|| FactsError::NoImage {
                        group: name.clone(),
                        owner: owner.to_owned(),
                        tags: tags
                            .iter()
                            .map(|(key, value)| format!("{key}={value}"))
                            .collect::<Vec<_>>()
                            .join(", "),
                    })?
            }
        };
        facts.images.insert(name.clone(), image);
    }
    Ok(facts)
}

/// Reads every resource that the file names, whosever it is, and those of ours that it no longer
/// names.
///
/// # Errors
///
/// When a call fails.
pub async fn observe(client: &Client, config: &ClusterConfig) -> Result<Resources, CallError> {
    let mut ids = desired::ids(config);
    ids.extend(forgotten(client, config, &ids).await?);
    let mut resources = Resources::new();
    for id in ids {
        if let Some(resource) = resource(client, &id).await? {
            resources.insert(id, resource);
        }
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
    })
}

/// Groups of ours that the file no longer has, with their templates.
async fn forgotten(
    client: &Client,
    config: &ClusterConfig,
    named: &BTreeSet<ResourceId>,
) -> Result<Vec<ResourceId>, CallError> {
    let filter = TagFilter {
        key: OWNER_TAG.to_owned(),
        value: Some(config.spec.cluster.clone()),
    };
    let groups = client
        .autoscaling()
        .describe_groups_by_tags(&[filter])
        .await?;
    let mut ids = Vec::new();
    for group in groups {
        for kind in [ResourceKind::AutoScalingGroup, ResourceKind::LaunchTemplate] {
            let id = ResourceId {
                kind,
                name: group.name.clone(),
            };
            if !named.contains(&id) {
                ids.push(id);
            }
        }
    }
    Ok(ids)
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
    let content = client.ec2().launch_template_content(name, version).await?;
    Ok(Some(Resource::LaunchTemplate(Box::new(LaunchTemplate {
        content: content.unwrap_or_default(),
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
        let found = client
            .autoscaling()
            .describe_launch_configurations(&names)
            .await?;
        let found = found.into_iter().next();
        return Ok(found.map_or_else(Launch::default, |found| Launch {
            image: found.image_id,
            instance_type: found.instance_type,
        }));
    }
    let ec2 = client.ec2();
    let name = group.launch_template.as_deref();
    let version = group.version.as_deref().unwrap_or("$Default");
    let found = ec2
        .describe_launch_template_version(None, name, version)
        .await?;
    Ok(found.map_or_else(Launch::default, |found| Launch {
        image: found.data.image_id,
        instance_type: found.data.instance_type,
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
    let mut found = of_group(group);
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
    // A group is launched from one of both. AWS drops the configuration's name when a template
    // takes its place; moto goes on listing it.
    let is_of_template = template.is_some();
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
        launch_configuration: group.launch_configuration_name.filter(|_| !is_of_template),
        mixed,
        health_check_grace_seconds: group.health_check_grace_period.unwrap_or(0),
        suspended: group
            .suspended_processes
            .into_iter()
            .map(|process| process.process_name)
            .collect(),
        hooks: std::collections::BTreeMap::new(),
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
