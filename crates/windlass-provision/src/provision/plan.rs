//! From what is to what should be. Pure: resources in, changes out.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::desired::is_own_tag;
use super::diff::{self, FieldChange};
use super::resource::{Grant, Group, Resource, ResourceId, ResourceKind};
use super::security_group;

const OLD_INSTANCES: &str = "instances that are there keep their version: replace them with \
                             `windlass provision roll`";

/// Resources by their ids.
pub type Resources = BTreeMap<ResourceId, Resource>;

/// What is done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is made.
    Create,
    /// It is changed in place.
    Change,
    /// It is deleted.
    Destroy,
    /// Nothing: somebody has to decide first.
    Attention,
    /// Nothing: it is somebody else's, and stays.
    Keep,
}

/// A resource that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What is done.
    pub action: Action,
    /// The resource.
    #[serde(flatten)]
    pub id: ResourceId,
    /// The fields in which it differs.
    pub fields: Vec<FieldChange>,
    /// What else is to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// All that is to be done, in its order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The cluster.
    pub cluster: String,
    /// The changes.
    pub changes: Vec<Change>,
    /// Digest of what the plan was made from: a plan of another state is not carried out.
    pub state: String,
}

/// What the operator has allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Lowering `max` below what a group has: AWS then ends instances of its choice.
    pub shrink: bool,
    /// Moving groups from their launch configuration to a launch template.
    pub migrate: bool,
}

/// Compares what should be with what is.
pub fn plan(cluster: &str, desired: &Resources, observed: &Resources, allowed: Allowed) -> Plan {
    let desired = completed(desired, observed);
    let mut changes = Vec::new();
    for (id, wanted) in &desired {
        let Some(found) = observed.get(id) else {
            changes.push(create(id, wanted));
            continue;
        };
        if let Some(change) = compare(cluster, id, wanted, found, allowed) {
            changes.push(change);
        }
        if found.owner() == Some(cluster) {
            changes.extend(security_group::foreign_rules(id, wanted, found));
        }
    }
    for (id, found) in observed {
        if desired.contains_key(id) || found.owner() != Some(cluster) {
            continue;
        }
        if id.kind == ResourceKind::LaunchConfiguration {
            if !is_used(&id.name, &desired, observed) {
                changes.push(unused(id, "no group has it any more"));
            }
        } else if id.kind == ResourceKind::SecurityGroup {
            changes.push(unused(
                id,
                "the file asks for none any more; AWS keeps it until the last instance that has it is \
                 gone (`windlass provision roll`)",
            ));
        } else if !is_spare_template(id, &desired) {
            changes.push(Change {
                action: Action::Attention,
                id: id.clone(),
                fields: Vec::new(),
                note: Some(
                    "is not in the file any more: put it back, or run `windlass provision destroy \
                     --group`"
                        .to_owned(),
                ),
            });
        }
    }
    Plan {
        cluster: cluster.to_owned(),
        changes,
        state: state(cluster, &desired, observed),
    }
}

/// Whether a group goes on having a launch configuration once the plan is carried out, or had it before
/// its launch template: that one stays, for going back.
fn is_used(name: &str, desired: &Resources, observed: &Resources) -> bool {
    observed.iter().any(|(id, found)| {
        let Resource::Group(group) = desired.get(id).unwrap_or(found) else {
            return false;
        };
        let former = group.tags.get(super::FORMER_TAG);
        group.launch_configuration.as_deref() == Some(name)
            || former.is_some_and(|tag| tag.value == name)
    })
}

/// What nothing that the file has needs any more.
fn unused(id: &ResourceId, why: &str) -> Change {
    Change {
        action: Action::Destroy,
        id: id.clone(),
        fields: Vec::new(),
        note: Some(why.to_owned()),
    }
}

/// Whether it is the template of a group that has a launch configuration now: it stays, for going
/// back.
fn is_spare_template(id: &ResourceId, desired: &Resources) -> bool {
    let group = ResourceId {
        kind: ResourceKind::AutoScalingGroup,
        name: id.name.clone(),
    };
    id.kind == ResourceKind::LaunchTemplate && desired.contains_key(&group)
}

/// What becomes of the key when all else is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyFate {
    /// It stays: what it has encrypted would be lost for ever.
    Kept,
    /// AWS deletes it after [`KEY_DELETION_DAYS`].
    Scheduled,
}

/// How long a key whose deletion is scheduled can still be saved.
pub const KEY_DELETION_DAYS: u32 = 30;

/// The deletion of what is ours, in the order in which it can be done.
pub fn destruction(cluster: &str, observed: &Resources, key: KeyFate) -> Plan {
    let concerned = observed
        .iter()
        .rev()
        .filter(|(id, _)| id.kind != ResourceKind::Key || key == KeyFate::Scheduled);
    let changes = concerned.map(|(id, found)| {
        if found.owner() == Some(cluster) {
            Change {
                action: Action::Destroy,
                id: id.clone(),
                fields: Vec::new(),
                note: match found {
                    Resource::Group(group) if 0 < group.instances => {
                        Some(format!("with its {} instances", group.instances))
                    }
                    Resource::Key(_) => Some(format!(
                        "in {KEY_DELETION_DAYS} days; until then `aws kms cancel-key-deletion` \
                         saves it"
                    )),
                    _ => None,
                },
            }
        } else {
            not_ours(cluster, id, found)
        }
    });
    Plan {
        cluster: cluster.to_owned(),
        changes: changes.collect(),
        state: state(cluster, &Resources::new(), observed),
    }
}

/// What should be, with what the file cannot say: versions, and what groups were before.
pub(super) fn completed(desired: &Resources, observed: &Resources) -> Resources {
    let mut desired = versions(desired, observed);
    for (id, wanted) in &mut desired {
        if let (Resource::Group(wanted), Some(Resource::Group(found))) = (wanted, observed.get(id))
            && let Some(value) = former_configuration(wanted, found)
        {
            let grant = Grant {
                value,
                propagate: false,
            };
            wanted.tags.insert(super::FORMER_TAG.to_owned(), grant);
        }
    }
    desired
}

/// The launch configuration that a group had before its launch template. A group that is being moved
/// is told of it before anything else: nothing but its tag knows of it afterwards.
fn former_configuration(wanted: &Group, found: &Group) -> Option<String> {
    match &found.launch_configuration {
        Some(name) if wanted.launch_configuration.is_none() => Some(name.clone()),
        _ => {
            let tag = found.tags.get(super::FORMER_TAG)?;
            Some(tag.value.clone())
        }
    }
}

/// What AWS numbers: the security group's id, and launch templates' versions, which count up: a
/// template that changes gets the next, and its group is pinned to it.
fn versions(desired: &Resources, observed: &Resources) -> Resources {
    let mut desired = desired.clone();
    security_group::settle(&mut desired, observed);
    let numbers: BTreeMap<String, u64> = desired
        .iter()
        .filter_map(|(id, wanted)| {
            let Resource::LaunchTemplate(wanted) = wanted else {
                return None;
            };
            let number = match observed.get(id) {
                Some(Resource::LaunchTemplate(found)) => {
                    let newest = found.version.unwrap_or(1);
                    newest + u64::from(found.content != wanted.content)
                }
                _ => 1,
            };
            Some((id.name.clone(), number))
        })
        .collect();
    for resource in desired.values_mut() {
        if let Resource::Group(group) = resource
            && let Some(template) = &group.launch_template
        {
            group.version = numbers.get(template).map(u64::to_string);
        }
    }
    desired
}

fn create(id: &ResourceId, wanted: &Resource) -> Change {
    Change {
        action: Action::Create,
        id: id.clone(),
        fields: diff::fields(&Value::Null, &comparable(wanted)),
        note: None,
    }
}

fn not_ours(cluster: &str, id: &ResourceId, found: &Resource) -> Change {
    let whose = match found.owner() {
        Some(other) => format!("belongs to cluster `{other}`"),
        None => "was not made by Windlass".to_owned(),
    };
    let hint = match id.kind {
        ResourceKind::AutoScalingGroup => {
            "take it over with `windlass provision import`, or rename the group in the file"
        }
        ResourceKind::Key => "name it in spec.token.kmsKey instead of spec.token.createKey",
        ResourceKind::LaunchConfiguration => "remove it",
        ResourceKind::SecurityGroup => {
            "name it in spec.securityGroups instead of spec.nodeSecurityGroup, or remove it"
        }
        _ => "tag it to take it over, or remove it",
    };
    Change {
        action: Action::Attention,
        id: id.clone(),
        fields: Vec::new(),
        note: Some(format!(
            "exists and {whose} (no tag {}={cluster}): {hint}",
            super::OWNER_TAG
        )),
    }
}

fn compare(
    cluster: &str,
    id: &ResourceId,
    wanted: &Resource,
    found: &Resource,
    allowed: Allowed,
) -> Option<Change> {
    if found.owner() != Some(cluster) {
        return Some(not_ours(cluster, id, found));
    }
    let found_part = ours(cluster, wanted, found);
    let fields = diff::fields(&comparable(&found_part), &comparable(wanted));
    if fields.is_empty() {
        return None;
    }
    let (mut action, mut note) = (Action::Change, None);
    if let Resource::Key(key) = found
        && key.state != "Enabled"
    {
        action = Action::Attention;
        note = Some(format!(
            "it is {}: no node can read its join credential; `aws kms cancel-key-deletion` and `aws \
             kms enable-key` bring it back",
            key.state
        ));
    }
    if let (Resource::SecurityGroup(wanted), Resource::SecurityGroup(found)) = (wanted, found)
        && wanted.vpc != found.vpc
    {
        action = Action::Attention;
        note = Some(
            "a security group stays in its VPC: have it deleted (`windlass provision destroy`) before \
             the subnets change, or name another in spec.securityGroups"
                .to_owned(),
        );
    }
    if let (Resource::Group(wanted), Resource::Group(found)) = (wanted, found) {
        let max = usize::try_from(wanted.max).unwrap_or(usize::MAX);
        if !found.scaling_policies.is_empty() {
            action = Action::Attention;
            note = Some(
                "it has scaling policies, which would undo what the autoscaler does: `aws autoscaling \
                 delete-policy` removes them"
                    .to_owned(),
            );
        } else if max < found.instances {
            let what = format!(
                "it has {} instances, and AWS would end {} of its own choice",
                found.instances,
                found.instances - max
            );
            if allowed.shrink {
                note = Some(what);
            } else {
                action = Action::Attention;
                note = Some(format!("{what}: allow it with --yes-shrink"));
            }
        } else if wanted.launch_configuration.is_some() {
            if wanted.launch_configuration != found.launch_configuration {
                note = Some(OLD_INSTANCES.to_owned());
            }
        } else if let Some(old) = &found.launch_configuration {
            if allowed.migrate {
                note = Some(format!(
                    "new instances are of the template from then on; launch configuration `{old}` \
                     stays, for going back, until `windlass provision migrate --prune` deletes it"
                ));
            } else {
                action = Action::Attention;
                note = Some(
                    "it has a launch configuration: move it with `windlass provision migrate`"
                        .to_owned(),
                );
            }
        } else if wanted.version != found.version {
            note = Some(OLD_INSTANCES.to_owned());
        }
    }
    Some(Change {
        action,
        id: id.clone(),
        fields,
        note,
    })
}

/// The part of a resource that is Windlass's to say: others' tags, hooks and suspended processes
/// are theirs.
fn ours(cluster: &str, wanted: &Resource, found: &Resource) -> Resource {
    let own = |wanted: &super::Tags, found: &super::Tags| -> super::Tags {
        found
            .iter()
            .filter(|(key, _)| wanted.contains_key(*key) || is_own_tag(key, cluster))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    match (wanted, found) {
        (Resource::Key(wanted), Resource::Key(found)) => {
            let mut found = found.clone();
            found.tags = own(&wanted.tags, &found.tags);
            Resource::Key(found)
        }
        // Its name says what it says.
        (Resource::LaunchConfiguration(wanted), Resource::LaunchConfiguration(_)) => {
            Resource::LaunchConfiguration(wanted.clone())
        }
        (Resource::Role(wanted), Resource::Role(found)) => {
            let mut found = found.clone();
            found.tags = own(&wanted.tags, &found.tags);
            // Policies of other names somebody attached for a purpose of theirs.
            found
                .policies
                .retain(|name, _| wanted.policies.contains_key(name));
            Resource::Role(found)
        }
        (Resource::Profile(wanted), Resource::Profile(found)) => {
            let mut found = found.clone();
            found.tags = own(&wanted.tags, &found.tags);
            Resource::Profile(found)
        }
        (Resource::Parameter(wanted), Resource::Parameter(found)) => {
            let mut found = found.clone();
            found.tags = own(&wanted.tags, &found.tags);
            Resource::Parameter(found)
        }
        (Resource::SecurityGroup(wanted), Resource::SecurityGroup(found)) => {
            Resource::SecurityGroup(security_group::ours(wanted, found))
        }
        (Resource::LaunchTemplate(wanted), Resource::LaunchTemplate(found)) => {
            let mut found = found.clone();
            found.tags = own(&wanted.tags, &found.tags);
            Resource::LaunchTemplate(found)
        }
        (Resource::Group(wanted), Resource::Group(found)) => {
            Resource::Group(Box::new(own_group(cluster, wanted, found)))
        }
        _ => found.clone(),
    }
}

fn own_group(cluster: &str, wanted: &Group, found: &Group) -> Group {
    let mut found = found.clone();
    found
        .tags
        .retain(|key, _| wanted.tags.contains_key(key) || is_own_tag(key, cluster));
    found
        .hooks
        .retain(|name, _| wanted.hooks.contains_key(name) || name.starts_with("windlass-"));
    found
        .suspended
        .retain(|process| wanted.suspended.contains(process));
    found
}

/// A resource's fields as they are compared: policies in one form, user data as text.
fn comparable(resource: &Resource) -> Value {
    let mut fields = resource.fields();
    match resource {
        Resource::Role(_) => {
            normalize(&mut fields["trust"]);
            if let Some(policies) = fields["policies"].as_object_mut() {
                policies.values_mut().for_each(normalize);
            }
        }
        Resource::Key(_) => normalize(&mut fields["policy"]),
        Resource::LaunchConfiguration(configuration) => {
            let text = configuration.content.user_data.as_deref().map(decoded);
            fields["content"]["user_data"] = json!(text);
        }
        Resource::LaunchTemplate(template) => {
            let content = &template.content;
            let text = content.user_data.as_deref().map(decoded);
            fields["content"]["user_data"] = json!(text);
            let mut groups = content.security_groups.clone();
            groups.sort();
            fields["content"]["security_groups"] = json!(groups);
        }
        Resource::Profile(_)
        | Resource::Parameter(_)
        | Resource::SecurityGroup(_)
        | Resource::Group(_) => {}
    }
    fields
}

pub(super) fn decoded(base64: &str) -> String {
    BASE64_STANDARD.decode(base64).map_or_else(
        |_| base64.to_owned(),
        |bytes| String::from_utf8_lossy(&bytes).into_owned(),
    )
}

/// IAM takes one word and a list of it for the same, and lists in any order.
fn normalize(value: &mut Value) {
    match value {
        Value::Array(items) => {
            items.iter_mut().for_each(normalize);
            if items.iter().all(Value::is_string) {
                items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            }
            if let [only] = items.as_mut_slice()
                && only.is_string()
            {
                *value = only.take();
            }
        }
        Value::Object(map) => map.values_mut().for_each(normalize),
        _ => {}
    }
}

/// A digest of what a plan is made from. Instances come and go without a plan's becoming wrong.
fn state(cluster: &str, desired: &Resources, observed: &Resources) -> String {
    let mut digest = Sha256::new();
    digest.update(cluster);
    for resources in [desired, observed] {
        for (id, resource) in resources {
            digest.update(format!("\n{id}\n{}", comparable(resource)));
        }
    }
    digest
        .finalize()
        .iter()
        .fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

impl Plan {
    /// Whether there is nothing to do and nothing to say.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether there is nothing to do and nothing to decide, whatever there is to say.
    pub fn does_nothing(&self) -> bool {
        self.changes
            .iter()
            .all(|change| change.action == Action::Keep)
    }

    /// Leaves out groups, templates and launch configurations but for those that are `meant`.
    pub fn leave_other_groups_out(&mut self, meant: impl Fn(&ResourceId) -> bool) {
        self.changes.retain(|change| match change.id.kind {
            ResourceKind::LaunchTemplate
            | ResourceKind::LaunchConfiguration
            | ResourceKind::AutoScalingGroup => meant(&change.id),
            _ => true,
        });
    }

    /// What somebody has to decide before the plan can be carried out.
    pub fn attention(&self) -> impl Iterator<Item = &Change> {
        self.changes
            .iter()
            .filter(|change| change.action == Action::Attention)
    }

    /// For people: like a diff, one line at the end that counts.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for change in &self.changes {
            let mark = match change.action {
                Action::Create => '+',
                Action::Change => '~',
                Action::Destroy => '-',
                Action::Attention => '!',
                Action::Keep => '=',
            };
            let _ = write!(text, "{mark} {}", change.id);
            match &change.note {
                Some(note) => {
                    let _ = writeln!(text, ": {note}");
                }
                None => text.push('\n'),
            }
            for field in &change.fields {
                text.push_str(&field_text(change.action, field));
            }
        }
        if self.does_nothing() {
            if !text.is_empty() {
                text.push('\n');
            }
            let _ = write!(
                text,
                "No changes: cluster `{}` is as the file says",
                self.cluster
            );
            text.push_str(if self.is_empty() {
                ".\n"
            } else {
                ", but for what others have added (marked `=`), which stays.\n"
            });
            return text;
        }
        let count = |action| {
            self.changes
                .iter()
                .filter(|change| change.action == action)
                .count()
        };
        let _ = write!(
            text,
            "\nPlan: {} to create, {} to change, {} to destroy",
            count(Action::Create),
            count(Action::Change),
            count(Action::Destroy)
        );
        let attention = count(Action::Attention);
        if 0 < attention {
            let _ = write!(text, "; {attention} need attention first");
        }
        text.push_str(".\n");
        text
    }
}

fn field_text(action: Action, field: &FieldChange) -> String {
    let FieldChange { path, old, new } = field;
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    let (old_text, new_text) = (text(old), text(new));
    let is_long = |text: &Option<String>| text.as_ref().is_some_and(|text| text.contains('\n'));
    if is_long(&old_text) || is_long(&new_text) {
        if action == Action::Create {
            let count = new_text.unwrap_or_default().lines().count();
            return format!("    {path}: {count} lines\n");
        }
        let mut lines = format!("    {path}:\n");
        for line in diff::lines(&old_text.unwrap_or_default(), &new_text.unwrap_or_default()) {
            let _ = writeln!(lines, "      {line}");
        }
        return lines;
    }
    let show = |value: &Option<Value>| match value {
        None => "(none)".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if [Action::Create, Action::Keep].contains(&action) {
        format!("    {path}: {}\n", show(new))
    } else {
        format!("    {path}: {} → {}\n", show(old), show(new))
    }
}

#[cfg(test)]
mod tests;
