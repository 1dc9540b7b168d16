//! Carries a plan out, change by change.
//!
//! Every step is one that may be done again: what a run that ended half-way has made is found by
//! the next and completed.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_aws_client::autoscaling::{GroupSpecification, LifecycleHook, MixedInstances, Tag};
use windlass_aws_client::ssm::Encryption;
use windlass_aws_client::{CallError, CallErrorKind, Client, Secret};

use super::plan::{self, Action, Change, KEY_DELETION_DAYS, Plan, Resources};
use super::resource::{
    Group, Key, LaunchTemplate, NodeRole, Profile, Resource, ResourceId, SecurityGroup,
};
use super::security_group;
use crate::patience::until_taken;

/// How long an instance profile may take until Auto Scaling and EC2 know it.
const PROFILE_DEADLINE: Duration = Duration::from_mins(1);
/// How long the instances of a deleted group may take to go.
const GONE_DEADLINE: Duration = Duration::from_mins(15);
/// How long the network interfaces of ended instances may keep a security group.
const INTERFACES_DEADLINE: Duration = Duration::from_mins(3);
/// How long a new security group may take until all of EC2 knows it.
const SECURITY_GROUP_DEADLINE: Duration = Duration::from_mins(1);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_secs(5);
/// What a new key is for, as the console shows it.
pub(super) const KEY_DESCRIPTION: &str = "Encrypts the join credential of new nodes";
/// What the join parameter is for.
pub(super) const PARAMETER_DESCRIPTION: &str = "Join credential of new nodes";
/// What a parameter holds until the rotator publishes a token. Nodes that read it wait.
pub(super) const PLACEHOLDER: &str = "no join credential has been published yet";

/// A change that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A call failed.
    #[error("{id}")]
    Call {
        /// The resource.
        id: ResourceId,
        /// The failure.
        #[source]
        source: CallError,
    },
    /// A group that was deleted is still there.
    #[error("{id} is still there after {} minutes: look at its instances", .after.as_secs() / 60)]
    StillThere {
        /// The group.
        id: ResourceId,
        /// How long was waited.
        after: Duration,
    },
}

impl ExecuteError {
    /// The failed call, if it was one.
    pub fn call(&self) -> Option<&CallError> {
        match self {
            Self::Call { source, .. } => Some(source),
            Self::StillThere { .. } => None,
        }
    }
}

/// What a plan is carried out with.
pub struct Executor<'a> {
    /// AWS.
    pub client: &'a Client,
    /// Key of the join parameter; the account's own if there is none.
    pub kms_key: Option<&'a str>,
    /// Is told of each change once it is done.
    pub report: &'a (dyn Fn(&Change) + Send + Sync),
}

impl Executor<'_> {
    /// Carries a plan out. `desired` and `observed` are what it was made from.
    ///
    /// # Errors
    ///
    /// At the first change that fails; those before it are done, and the next plan goes on.
    pub async fn execute(
        &self,
        plan: &Plan,
        desired: &Resources,
        observed: &Resources,
    ) -> Result<(), ExecuteError> {
        // In an apply, instances that run may well have the group, and go on: nothing to wait for.
        let patience = if desired.is_empty() {
            INTERFACES_DEADLINE
        } else {
            Duration::ZERO
        };
        let mut desired = plan::completed(desired, observed);
        for change in &plan.changes {
            let id = &change.id;
            let found = observed.get(id);
            let done = match change.action {
                Action::Create | Action::Change => match desired.get(id) {
                    Some(Resource::SecurityGroup(wanted)) => {
                        let made = self.put_security_group(&id.name, wanted, found).await;
                        // What comes after it names it by its id.
                        made.map(|made| security_group::put_id(&mut desired, &id.name, &made))
                    }
                    Some(wanted) => self.put(id, wanted, found).await,
                    None => Ok(()),
                },
                Action::Destroy => match found {
                    Some(found) => self.destroy(id, found, patience).await?,
                    None => Ok(()),
                },
                Action::Attention | Action::Keep => continue,
            };
            done.map_err(|source| ExecuteError::Call {
                id: id.clone(),
                source,
            })?;
            (self.report)(change);
        }
        Ok(())
    }

    async fn put(
        &self,
        id: &ResourceId,
        wanted: &Resource,
        found: Option<&Resource>,
    ) -> Result<(), CallError> {
        let name = id.name.as_str();
        match (wanted, found) {
            (Resource::Key(wanted), Some(Resource::Key(found))) => {
                self.put_key(name, wanted, Some(found)).await
            }
            (Resource::Key(wanted), _) => self.put_key(name, wanted, None).await,
            (Resource::LaunchConfiguration(wanted), _) => {
                let autoscaling = self.client.autoscaling();
                known_profile(PAUSE, || {
                    autoscaling.create_launch_configuration(&wanted.content)
                })
                .await
                .map(drop)
            }
            (Resource::Role(wanted), Some(Resource::Role(found))) => {
                self.put_role(name, wanted, Some(found)).await
            }
            (Resource::Role(wanted), _) => self.put_role(name, wanted, None).await,
            (Resource::Profile(wanted), Some(Resource::Profile(found))) => {
                self.put_profile(name, wanted, Some(found)).await
            }
            (Resource::Profile(wanted), _) => self.put_profile(name, wanted, None).await,
            (Resource::Parameter(wanted), Some(_)) => {
                self.client.ssm().tag_parameter(name, &wanted.tags).await
            }
            (Resource::Parameter(wanted), None) => {
                let encryption = self.kms_key.map_or(Encryption::AccountKey, Encryption::Key);
                let value = Secret::new(PLACEHOLDER);
                let ssm = self.client.ssm();
                let created = ssm.create_parameter(
                    name,
                    &value,
                    PARAMETER_DESCRIPTION,
                    Some(encryption),
                    &wanted.tags,
                );
                if created.await? {
                    Ok(())
                } else {
                    Err(appeared(name))
                }
            }
            (Resource::LaunchTemplate(wanted), Some(Resource::LaunchTemplate(found))) => {
                self.put_template(name, wanted, Some(found)).await
            }
            (Resource::LaunchTemplate(wanted), _) => self.put_template(name, wanted, None).await,
            (Resource::Group(wanted), Some(Resource::Group(found))) => {
                self.change_group(name, wanted, found).await
            }
            (Resource::Group(wanted), _) => self.create_group(name, wanted).await,
            (Resource::SecurityGroup(wanted), found) => {
                self.put_security_group(name, wanted, found).await.map(drop)
            }
        }
    }

    /// Rule by rule, those that are missing first; gives the group's id.
    async fn put_security_group(
        &self,
        name: &str,
        wanted: &SecurityGroup,
        found: Option<&Resource>,
    ) -> Result<String, CallError> {
        let ec2 = self.client.ec2();
        let found = match found {
            Some(Resource::SecurityGroup(found)) => found.clone(),
            _ => SecurityGroup::default(),
        };
        let id = if let Some(id) = &found.id {
            if !contains(&found.tags, &wanted.tags) {
                ec2.create_tags(id, &wanted.tags).await?;
            }
            id.clone()
        } else {
            let vpc = wanted.vpc.as_deref().unwrap_or_default();
            let description = security_group::DESCRIPTION;
            ec2.create_security_group(name, description, vpc, &wanted.tags)
                .await?
        };
        for (rule, why) in &wanted.ingress {
            let old = found.ingress.get(rule);
            let rule = security_group::of_group(rule, &id);
            match old {
                None => {
                    let is_unknown =
                        |error: &CallError| error.code() == Some("InvalidGroup.NotFound");
                    let authorize = || ec2.authorize_ingress(&id, &rule, why);
                    until_taken(SECURITY_GROUP_DEADLINE, PAUSE, is_unknown, authorize).await?;
                }
                Some(old) if old != why && security_group::is_own_rule(old) => {
                    ec2.describe_ingress(&id, &rule, why).await?;
                }
                Some(_) => {}
            }
        }
        for (rule, why) in &found.ingress {
            if !wanted.ingress.contains_key(rule) && security_group::is_own_rule(why) {
                let rule = security_group::of_group(rule, &id);
                ec2.revoke_ingress(&id, &rule, why).await?;
            }
        }
        Ok(id)
    }

    /// An ended instance's network interface outlives it by a while, and AWS keeps the group as long.
    async fn destroy_security_group(
        &self,
        name: &str,
        found: &SecurityGroup,
        patience: Duration,
    ) -> Result<(), CallError> {
        let ec2 = self.client.ec2();
        let id = found.id.as_deref().unwrap_or(name);
        let is_in_use = |error: &CallError| error.code() == Some("DependencyViolation");
        until_taken(patience, PAUSE, is_in_use, || ec2.delete_security_group(id)).await
    }

    /// The name comes last: a key without one is found by its tags.
    async fn put_key(
        &self,
        alias: &str,
        wanted: &Key,
        found: Option<&Key>,
    ) -> Result<(), CallError> {
        if let Some(found) = found {
            let id = found.id.as_deref().unwrap_or(alias);
            return self.complete_key(alias, id, wanted, found).await;
        }
        let kms = self.client.kms();
        let policy = wanted.policy.to_string();
        let made = kms
            .create_key(alias, KEY_DESCRIPTION, &policy, &wanted.tags)
            .await?;
        let bare = Key {
            policy: wanted.policy.clone(),
            tags: wanted.tags.clone(),
            ..Key::default()
        };
        self.complete_key(alias, &made.id, wanted, &bare).await
    }

    async fn complete_key(
        &self,
        alias: &str,
        id: &str,
        wanted: &Key,
        found: &Key,
    ) -> Result<(), CallError> {
        let kms = self.client.kms();
        if found.policy != wanted.policy {
            kms.put_key_policy(id, &wanted.policy.to_string()).await?;
        }
        if !contains(&found.tags, &wanted.tags) {
            kms.tag_key(id, &wanted.tags).await?;
        }
        if !found.rotation {
            kms.enable_rotation(id).await?;
        }
        if !found.alias {
            kms.create_alias(alias, id).await?;
        }
        Ok(())
    }

    async fn destroy_key(&self, alias: &str, key: &Key) -> Result<(), CallError> {
        let kms = self.client.kms();
        let id = key.id.as_deref().unwrap_or(alias);
        if key.alias {
            kms.delete_alias(alias).await?;
        }
        if key.state != "PendingDeletion" {
            kms.schedule_deletion(id, KEY_DELETION_DAYS).await?;
        }
        Ok(())
    }

    async fn put_role(
        &self,
        name: &str,
        wanted: &NodeRole,
        found: Option<&NodeRole>,
    ) -> Result<(), CallError> {
        let iam = self.client.iam();
        match found {
            None => {
                let trust = wanted.trust.to_string();
                iam.create_tagged_role(name, &trust, &wanted.tags).await?;
            }
            Some(found) => {
                if found.trust != wanted.trust {
                    iam.update_trust_policy(name, &wanted.trust.to_string())
                        .await?;
                }
                if !contains(&found.tags, &wanted.tags) {
                    iam.tag_role(name, &wanted.tags).await?;
                }
            }
        }
        for (policy, document) in &wanted.policies {
            let old = found.and_then(|found| found.policies.get(policy));
            if old != Some(document) {
                iam.put_role_policy(name, policy, &document.to_string())
                    .await?;
            }
        }
        Ok(())
    }

    async fn put_profile(
        &self,
        name: &str,
        wanted: &Profile,
        found: Option<&Profile>,
    ) -> Result<(), CallError> {
        let iam = self.client.iam();
        let nothing = Profile::default();
        let found = match found {
            None => {
                iam.create_tagged_instance_profile(name, &wanted.tags)
                    .await?;
                &nothing
            }
            Some(found) => {
                if !contains(&found.tags, &wanted.tags) {
                    iam.tag_instance_profile(name, &wanted.tags).await?;
                }
                found
            }
        };
        // There is room for one role, so the wrong one goes first.
        for role in found.roles.difference(&wanted.roles) {
            iam.remove_role_from_instance_profile(name, role).await?;
        }
        for role in wanted.roles.difference(&found.roles) {
            iam.add_role_to_instance_profile(name, role).await?;
        }
        Ok(())
    }

    async fn put_template(
        &self,
        name: &str,
        wanted: &LaunchTemplate,
        found: Option<&LaunchTemplate>,
    ) -> Result<(), CallError> {
        let ec2 = self.client.ec2();
        let Some(found) = found else {
            let created = ec2.create_launch_template(name, &wanted.content, &wanted.tags);
            return created.await.map(drop);
        };
        if found.content != wanted.content {
            ec2.create_launch_template_version(name, &wanted.content)
                .await?;
        }
        if !contains(&found.tags, &wanted.tags)
            && let Some(template) = ec2.launch_template(name).await?
        {
            ec2.create_tags(&template.id, &wanted.tags).await?;
        }
        Ok(())
    }

    /// Name and number of the newest version of a group's template.
    async fn newest_version(&self, group: &Group) -> Result<Option<(String, String)>, CallError> {
        let Some(name) = &group.launch_template else {
            return Ok(None);
        };
        let template = self.client.ec2().launch_template(name).await?;
        Ok(template.map(|it| (name.clone(), it.latest_version_number.to_string())))
    }

    /// First the group without instances, then what has to be there before the first of them.
    async fn create_group(&self, name: &str, wanted: &Group) -> Result<(), CallError> {
        let autoscaling = self.client.autoscaling();
        let empty = GroupSpecification {
            min_size: Some(0),
            max_size: Some(wanted.max),
            desired_capacity: Some(0),
            launch_template: self.newest_version(wanted).await?,
            ..specification(wanted)
        };
        let tags = tags(wanted);
        known_profile(PAUSE, || autoscaling.create_group(name, &empty, &tags)).await?;
        let found = Group {
            min: 0,
            hooks: BTreeMap::new(),
            suspended: std::collections::BTreeSet::new(),
            version: empty.launch_template.map(|(_, version)| version),
            ..wanted.clone()
        };
        let wanted = Group {
            version: found.version.clone(),
            ..wanted.clone()
        };
        self.change_group(name, &wanted, &found).await
    }

    async fn change_group(
        &self,
        name: &str,
        wanted: &Group,
        found: &Group,
    ) -> Result<(), CallError> {
        let autoscaling = self.client.autoscaling();
        let missing: Vec<String> = wanted
            .suspended
            .difference(&found.suspended)
            .cloned()
            .collect();
        if !missing.is_empty() {
            autoscaling.suspend_processes(name, &missing).await?;
        }
        for (hook_name, hook) in &wanted.hooks {
            if found.hooks.get(hook_name) != Some(hook) {
                let definition = LifecycleHook {
                    name: hook_name.clone(),
                    transition: hook.transition.clone(),
                    timeout_seconds: hook.timeout_seconds,
                    default_result: hook.default_result.clone(),
                };
                autoscaling.put_lifecycle_hook(name, &definition).await?;
            }
        }
        for hook in found.hooks.keys() {
            if !wanted.hooks.contains_key(hook) && hook.starts_with("windlass-") {
                autoscaling.delete_lifecycle_hook(name, hook).await?;
            }
        }
        if changed_tags(wanted, found) {
            autoscaling.put_tags(name, &tags(wanted)).await?;
        }
        let cluster = wanted
            .tags
            .get(super::OWNER_TAG)
            .map_or("", |tag| tag.value.as_str());
        let stale: Vec<String> = found
            .tags
            .keys()
            .filter(|key| {
                !wanted.tags.contains_key(*key) && super::desired::is_own_tag(key, cluster)
            })
            .cloned()
            .collect();
        if !stale.is_empty() {
            autoscaling.delete_tags(name, &stale).await?;
        }
        // Last: from here on there may be instances.
        let change = self.group_change(wanted, found).await?;
        if change != GroupSpecification::default() {
            autoscaling.update_group(name, &change).await?;
        }
        Ok(())
    }

    /// What of a group's own fields is to change. Never its desired capacity, which is the
    /// autoscaler's.
    async fn group_change(
        &self,
        wanted: &Group,
        found: &Group,
    ) -> Result<GroupSpecification, CallError> {
        let whole = specification(wanted);
        let mut change = GroupSpecification::default();
        if wanted.min != found.min {
            change.min_size = Some(wanted.min);
        }
        if wanted.max != found.max {
            change.max_size = Some(wanted.max);
        }
        if wanted.subnets != found.subnets {
            change.subnets = whole.subnets;
        }
        if wanted.health_check_grace_seconds != found.health_check_grace_seconds {
            change.health_check_grace_seconds = Some(wanted.health_check_grace_seconds);
        }
        // Some who play AWS forget a policy that an update does not repeat. AWS itself takes the
        // same policy again for no change.
        let repeats_policy = wanted.mixed.is_some() && change != GroupSpecification::default();
        if wanted.launch_configuration != found.launch_configuration {
            change
                .launch_configuration
                .clone_from(&wanted.launch_configuration);
        }
        if repeats_policy
            || wanted.version != found.version
            || wanted.launch_template != found.launch_template
            || wanted.mixed != found.mixed
        {
            change.launch_template = self.newest_version(wanted).await?;
            change.mixed_instances = whole.mixed_instances;
        }
        Ok(change)
    }

    async fn destroy(
        &self,
        id: &ResourceId,
        found: &Resource,
        patience: Duration,
    ) -> Result<Result<(), CallError>, ExecuteError> {
        let name = id.name.as_str();
        Ok(match found {
            Resource::Key(key) => self.destroy_key(name, key).await,
            Resource::LaunchConfiguration(_) => {
                let autoscaling = self.client.autoscaling();
                autoscaling.delete_launch_configuration(name).await
            }
            Resource::Role(role) => self.destroy_role(name, role).await,
            Resource::Profile(profile) => self.destroy_profile(name, profile).await,
            Resource::Parameter(_) => self.client.ssm().delete_parameter(name).await.map(drop),
            Resource::SecurityGroup(group) => {
                self.destroy_security_group(name, group, patience).await
            }
            Resource::LaunchTemplate(_) => {
                let deleted = self.client.ec2().delete_launch_template(name).await;
                deleted.map(drop)
            }
            Resource::Group(_) => match self.client.autoscaling().delete_group(name).await {
                Ok(_) => self.until_gone(id).await?,
                Err(error) => Err(error),
            },
        })
    }

    /// Its template can go only after the group's last instance.
    async fn until_gone(&self, id: &ResourceId) -> Result<Result<(), CallError>, ExecuteError> {
        let begun = Instant::now();
        let autoscaling = self.client.autoscaling();
        loop {
            let names = [id.name.clone()];
            let groups = autoscaling.describe_groups_by_name(&names).await;
            match groups {
                Ok(groups) if groups.is_empty() => return Ok(Ok(())),
                Ok(_) if GONE_DEADLINE <= begun.elapsed() => {
                    return Err(ExecuteError::StillThere {
                        id: id.clone(),
                        after: GONE_DEADLINE,
                    });
                }
                Ok(_) => sleep(PAUSE).await,
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    async fn destroy_role(&self, name: &str, role: &NodeRole) -> Result<(), CallError> {
        for policy in role.policies.keys() {
            self.client.iam().delete_role_policy(name, policy).await?;
        }
        self.client.iam().delete_role(name).await
    }

    async fn destroy_profile(&self, name: &str, profile: &Profile) -> Result<(), CallError> {
        let iam = self.client.iam();
        for role in &profile.roles {
            iam.remove_role_from_instance_profile(name, role).await?;
        }
        iam.delete_instance_profile(name).await
    }
}

/// A parameter that was not there a moment ago, and whose value is somebody else's.
fn appeared(name: &str) -> CallError {
    CallError {
        action: "PutParameter",
        resource: Some(name.to_owned()),
        request_id: None,
        kind: CallErrorKind::Service {
            status: 400,
            code: "ParameterAlreadyExists".to_owned(),
            message: "The parameter already exists.".to_owned(),
        },
    }
}

/// Calls until the instance profile that it names is known everywhere: a new one is only after some
/// seconds.
pub(crate) async fn known_profile<T, F>(
    pause: Duration,
    call: impl Fn() -> F,
) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    until_taken(PROFILE_DEADLINE, pause, is_profile_unknown, call).await
}

/// Whether all of `wanted` is in `found`.
fn contains(found: &super::Tags, wanted: &super::Tags) -> bool {
    wanted
        .iter()
        .all(|(key, value)| found.get(key) == Some(value))
}

fn changed_tags(wanted: &Group, found: &Group) -> bool {
    wanted
        .tags
        .iter()
        .any(|(key, grant)| found.tags.get(key) != Some(grant))
}

fn tags(group: &Group) -> Vec<Tag> {
    group
        .tags
        .iter()
        .map(|(key, grant)| Tag {
            key: key.clone(),
            value: grant.value.clone(),
            propagate_at_launch: grant.propagate,
        })
        .collect()
}

/// A group's fields besides its template's version.
fn specification(group: &Group) -> GroupSpecification {
    GroupSpecification {
        min_size: Some(group.min),
        max_size: Some(group.max),
        desired_capacity: None,
        subnets: group.subnets.iter().cloned().collect(),
        launch_template: None,
        launch_configuration: group.launch_configuration.clone(),
        mixed_instances: group.mixed.as_ref().map(|mixed| MixedInstances {
            types: mixed.types.clone(),
            on_demand_base: mixed.on_demand_base,
            on_demand_percentage: mixed.on_demand_percentage,
            spot_allocation_strategy: mixed.spot_allocation_strategy.clone(),
        }),
        health_check_grace_seconds: Some(group.health_check_grace_seconds),
    }
}

/// Whether a new instance profile is not known everywhere yet, which takes some seconds.
fn is_profile_unknown(error: &CallError) -> bool {
    let text = error.message().unwrap_or_default().to_ascii_lowercase();
    error.code() == Some("InvalidIAMInstanceProfile")
        || text.contains("invalid iaminstanceprofile")
        || text.contains("invalid iam instance profile")
}
