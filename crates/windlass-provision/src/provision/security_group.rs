//! The nodes' own security group: what it should let in, what it is found to let in, and whose the
//! rules are.
//!
//! It is known by its tags alone, never by its name. Rules are told apart one by one: those whose
//! description begins with [`RULE_PREFIX`] are Windlass's, and all others somebody else's, who keeps
//! them. What goes out is left as AWS makes it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use windlass_aws_client::ec2::{self, IngressRule, RuleSource};
use windlass_aws_client::{CallError, Client};

use super::diff::FieldChange;
use super::plan::{Action, Change, Resources};
use super::resource::{Resource, ResourceId, ResourceKind, SecurityGroup};
use super::{OWNER_TAG, desired};
use crate::cluster_config::{ClusterConfig, ITSELF};

/// The tag that says what a security group is for.
pub const SECURITY_GROUP_TAG: &str = "windlass.dev/security-group";
/// Value of [`SECURITY_GROUP_TAG`] for that of the nodes.
pub const NODES: &str = "nodes";
/// What the description of each rule of Windlass's begins with.
pub const RULE_PREFIX: &str = "windlass: ";
/// What the group is for, as the console shows it.
pub(super) const DESCRIPTION: &str = "Nodes of a Kubernetes cluster, by Windlass";
/// What a rule is for where the file does not say it.
const OF_THE_FILE: &str = "as the file of the cluster says";

/// Its name.
pub fn name(config: &ClusterConfig) -> String {
    format!("{}-windlass-nodes", config.spec.cluster)
}

/// The one that the file asks for, in the VPC of its subnets.
pub(super) fn desired(config: &ClusterConfig, vpc: Option<&str>) -> Option<SecurityGroup> {
    let asked = config.spec.node_security_group.as_ref()?;
    let mut tags = desired::tags(config);
    tags.insert(SECURITY_GROUP_TAG.to_owned(), NODES.to_owned());
    tags.insert("Name".to_owned(), name(config));
    let described = |text: &str| format!("{RULE_PREFIX}{text}");
    let ingress = match &asked.ingress {
        None => usual_ingress(config)
            .map(|(rule, why)| (rule, described(why)))
            .collect(),
        Some(ingress) => ingress
            .iter()
            .flat_map(|it| {
                let why = described(it.description.as_deref().unwrap_or(OF_THE_FILE));
                it.rules().map(move |rule| (rule, why.clone()))
            })
            .collect(),
    };
    Some(SecurityGroup {
        vpc: vpc.map(str::to_owned),
        ingress,
        tags,
        id: None,
    })
}

/// What nodes of a kubeadm cluster need: any pod network, the kubelets' ports and those of services
/// among themselves and with the machines that have the cluster's other groups.
fn usual_ingress(config: &ClusterConfig) -> impl Iterator<Item = (IngressRule, &'static str)> {
    let everything = |group: &str| IngressRule {
        protocol: "-1".to_owned(),
        ports: None,
        source: RuleSource::Group(group.to_owned()),
    };
    let others = &config.spec.security_groups;
    [(everything(ITSELF), "the nodes among themselves")]
        .into_iter()
        .chain(others.iter().map(move |group| {
            (
                everything(group),
                "machines of the cluster with another group",
            )
        }))
}

/// The group as it is: by its tags, or somebody else's of its name, which is in its way.
///
/// # Errors
///
/// When a call fails; where the file asks for none, the permission to look may lack.
pub(super) async fn observe(
    client: &Client,
    config: &ClusterConfig,
) -> Result<Option<Resource>, CallError> {
    let spec = &config.spec;
    let name = name(config);
    let (owner, purpose) = (
        format!("tag:{OWNER_TAG}"),
        format!("tag:{SECURITY_GROUP_TAG}"),
    );
    let ours: [(&str, &[&str]); 2] = [(&owner, &[spec.cluster.as_str()]), (&purpose, &[NODES])];
    let is_asked_for = spec.node_security_group.is_some();
    let mut found = match client.ec2().security_groups_with(&name, &ours).await {
        Err(error) if error.is_denied() && !is_asked_for => return Ok(None),
        found => found?,
    };
    if found.is_empty() && is_asked_for {
        let named = client.ec2().security_groups("group-name", &name).await?;
        if !named.is_empty() {
            let vpcs = vpcs(client, config).await?;
            found = named;
            found.retain(|it| vpcs.values().any(|vpc| *vpc == it.vpc_id));
        }
    }
    found.sort_by(|one, other| one.id.cmp(&other.id));
    Ok(found.into_iter().next().map(resource))
}

/// The VPCs of the subnets that nodes are in, by the subnets.
pub(super) async fn vpcs(
    client: &Client,
    config: &ClusterConfig,
) -> Result<BTreeMap<String, String>, CallError> {
    let subnets = subnets(config);
    let subnets = subnets.iter().map(String::as_str);
    client.ec2().vpcs_of_subnets(subnets).await
}

/// The subnets that nodes are in.
pub(super) fn subnets(config: &ClusterConfig) -> BTreeSet<String> {
    let of_groups = config.groups().flat_map(|group| group.subnets);
    of_groups.chain(config.spec.subnets.clone()).collect()
}

fn resource(found: ec2::SecurityGroup) -> Resource {
    let ingress = found.ingress().into_iter().map(|(rule, why)| {
        let is_itself = rule.source == RuleSource::Group(found.id.clone());
        (if is_itself { from(rule, ITSELF) } else { rule }, why)
    });
    Resource::SecurityGroup(SecurityGroup {
        ingress: ingress.collect(),
        vpc: Some(found.vpc_id),
        tags: found.tags,
        id: Some(found.id),
    })
}

/// The rule with another group for its source.
fn from(rule: IngressRule, group: &str) -> IngressRule {
    IngressRule {
        source: RuleSource::Group(group.to_owned()),
        ..rule
    }
}

/// The rule as the group of this id has it.
pub(super) fn of_group(rule: &IngressRule, id: &str) -> IngressRule {
    if rule.source == RuleSource::Group(ITSELF.to_owned()) {
        return from(rule.clone(), id);
    }
    rule.clone()
}

/// Whether a rule's description says that it is Windlass's.
pub(super) fn is_own_rule(description: &str) -> bool {
    description.starts_with(RULE_PREFIX)
}

/// The part of a group that is Windlass's to say. Somebody else's rule that does what one of the
/// file's would do does it in its place.
pub(super) fn ours(wanted: &SecurityGroup, found: &SecurityGroup) -> SecurityGroup {
    let mut found = found.clone();
    found.tags.retain(|key, _| wanted.tags.contains_key(key));
    found
        .ingress
        .retain(|rule, why| is_own_rule(why) || wanted.ingress.contains_key(rule));
    for (rule, why) in &mut found.ingress {
        if !is_own_rule(why)
            && let Some(wanted) = wanted.ingress.get(rule)
        {
            why.clone_from(wanted);
        }
    }
    found
}

/// What is to be said of rules that somebody else has added to a group of ours, which stay.
pub(super) fn foreign_rules(
    id: &ResourceId,
    wanted: &Resource,
    found: &Resource,
) -> Option<Change> {
    let (Resource::SecurityGroup(wanted), Resource::SecurityGroup(found)) = (wanted, found) else {
        return None;
    };
    let foreign = found
        .ingress
        .iter()
        .filter(|(rule, why)| !is_own_rule(why) && !wanted.ingress.contains_key(rule));
    let fields: Vec<FieldChange> = foreign
        .map(|(rule, why)| FieldChange {
            path: format!("ingress[{rule}]"),
            old: Some(Value::from(why.as_str())),
            new: Some(Value::from(why.as_str())),
        })
        .collect();
    (!fields.is_empty()).then(|| Change {
        action: Action::Keep,
        id: id.clone(),
        fields,
        note: Some(format!(
            "somebody else has let more in, which stays: `aws ec2 revoke-security-group-ingress \
             --group-id {}` takes it back, spec.nodeSecurityGroup.ingress makes it the file's",
            found.id.as_deref().unwrap_or("ID")
        )),
    })
}

/// Puts the group's id where its name stands for it: in launch templates and configurations.
pub(super) fn put_id(resources: &mut Resources, name: &str, id: &str) {
    for resource in resources.values_mut() {
        let (groups, are_sorted) = match resource {
            Resource::LaunchTemplate(template) => (&mut template.content.security_groups, true),
            Resource::LaunchConfiguration(configuration) => {
                (&mut configuration.content.security_groups, false)
            }
            _ => continue,
        };
        for group in groups.iter_mut().filter(|group| *group == name) {
            id.clone_into(group);
        }
        if are_sorted {
            groups.sort();
        }
    }
}

/// Has whatever instances are launched from name the group by its id, as far as that is known.
pub(super) fn settle(desired: &mut Resources, observed: &Resources) {
    let group = desired
        .iter()
        .find(|(id, _)| id.kind == ResourceKind::SecurityGroup);
    let Some((ResourceId { name, .. }, wanted)) = group else {
        return;
    };
    let name = name.clone();
    let known = observed.values().find_map(|found| match found {
        Resource::SecurityGroup(group) if found.owner() == wanted.owner() => group.id.as_deref(),
        _ => None,
    });
    rename_configurations(desired, observed, &name, known.unwrap_or(&name));
    if let Some(known) = known {
        put_id(desired, &name, known);
    }
}

/// The name of a launch configuration says the group's name and not its id, which only AWS knows. One
/// that has the id of a group of earlier times cannot be changed, and another name is taken beside it.
fn rename_configurations(desired: &mut Resources, observed: &Resources, name: &str, id: &str) {
    let configurations = desired.iter().filter_map(|(of, resource)| match resource {
        Resource::LaunchConfiguration(configuration) => Some((of.clone(), configuration.clone())),
        _ => None,
    });
    let configurations: Vec<_> = configurations.collect();
    for (old, mut configuration) in configurations {
        let mut wanted = configuration.content.security_groups.clone();
        for group in wanted.iter_mut().filter(|group| *group == name) {
            id.clone_into(group);
        }
        wanted.sort();
        let ids: Vec<ResourceId> = (0..=observed.len())
            .map(|number| ResourceId {
                kind: old.kind,
                name: desired::numbered_name(&configuration.content, number),
            })
            .collect();
        let has_wanted = |of: &&ResourceId| match observed.get(*of) {
            Some(Resource::LaunchConfiguration(found)) => found.content.security_groups == wanted,
            _ => false,
        };
        let is_free = |of: &&ResourceId| !observed.contains_key(*of);
        let taken = ids.iter().find(has_wanted).or(ids.iter().find(is_free));
        let Some(new) = taken.filter(|new| **new != old) else {
            continue;
        };
        configuration.content.name.clone_from(&new.name);
        desired.remove(&old);
        desired.insert(new.clone(), Resource::LaunchConfiguration(configuration));
        for resource in desired.values_mut() {
            if let Resource::Group(group) = resource
                && group.launch_configuration.as_ref() == Some(&old.name)
            {
                group.launch_configuration = Some(new.name.clone());
            }
        }
    }
}
