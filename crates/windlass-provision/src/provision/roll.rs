//! Which nodes of a group are to be replaced after its template has changed, and how many at once.

use windlass_aws_client::autoscaling::{
    AutoScalingGroup, GroupInstance, LaunchTemplateSpecification,
};

/// A group's instances that were launched from something else than a new one would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldInstance {
    /// Its id.
    pub id: String,
    /// What it was launched from, for people.
    pub launched_from: String,
}

/// The group has no room for one more instance, which every replacement needs for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the group wants {desired} instances and may have {max}: a new one is started before an old \
     one goes, so raise `max` by one at least"
)]
pub struct NoRoom {
    /// The group's desired capacity.
    pub desired: u32,
    /// The group's maximum.
    pub max: u32,
}

/// What a new instance of a group would be launched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaunchedFrom {
    /// A launch template, in one concrete version.
    Template {
        /// Its name.
        name: String,
        /// The version's number.
        version: String,
    },
    /// A launch configuration, by its name.
    Configuration(String),
}

/// The instances that are not of what is `wanted`, oldest version first. Instances that are on their
/// way out count no more.
pub fn old_instances(group: &AutoScalingGroup, wanted: &LaunchedFrom) -> Vec<OldInstance> {
    let mut old: Vec<(u64, OldInstance)> = group
        .instances
        .iter()
        .filter(|instance| !instance.lifecycle_state.starts_with("Terminat"))
        .filter(|instance| !is_of(instance, wanted))
        .map(|instance| {
            let number = version_of(instance).and_then(|it| it.parse().ok());
            let old = OldInstance {
                id: instance.instance_id.clone(),
                launched_from: launched_from(instance),
            };
            (number.unwrap_or(0), old)
        })
        .collect();
    old.sort_by(|(one, a), (other, b)| (one, &a.id).cmp(&(other, &b.id)));
    old.into_iter().map(|(_, old)| old).collect()
}

fn is_of(instance: &GroupInstance, wanted: &LaunchedFrom) -> bool {
    match wanted {
        LaunchedFrom::Template { name, version } => {
            let template = instance.launch_template.as_ref();
            let found = template.and_then(|it| it.name.as_ref());
            found == Some(name) && version_of(instance) == Some(version)
        }
        LaunchedFrom::Configuration(name) => {
            instance.launch_configuration_name.as_ref() == Some(name)
        }
    }
}

fn version_of(instance: &GroupInstance) -> Option<&str> {
    instance.launch_template.as_ref()?.version.as_deref()
}

fn launched_from(instance: &GroupInstance) -> String {
    match (
        &instance.launch_template,
        &instance.launch_configuration_name,
    ) {
        (Some(LaunchTemplateSpecification { name, version, .. }), _) => format!(
            "template {} version {}",
            name.as_deref().unwrap_or("?"),
            version.as_deref().unwrap_or("?")
        ),
        (None, Some(name)) => format!("launch configuration {name}"),
        (None, None) => "a template that is gone".to_owned(),
    }
}

/// How many instances are replaced next, of those `left`.
///
/// # Errors
///
/// Where there is no room for one more.
pub fn wave(desired: u32, max: u32, max_surge: u32, left: usize) -> Result<u32, NoRoom> {
    let room = max.saturating_sub(desired);
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    let wave = room.min(max_surge).min(left);
    if wave == 0 && 0 < left {
        return Err(NoRoom { desired, max });
    }
    Ok(wave)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(id: &str, state: &str, template: Option<(&str, &str)>) -> GroupInstance {
        GroupInstance {
            instance_id: id.to_owned(),
            lifecycle_state: state.to_owned(),
            launch_template: template.map(|(name, version)| LaunchTemplateSpecification {
                name: Some(name.to_owned()),
                version: Some(version.to_owned()),
                ..LaunchTemplateSpecification::default()
            }),
            launch_configuration_name: template.is_none().then(|| "k8s-2019".to_owned()),
            ..GroupInstance::default()
        }
    }

    #[test]
    fn what_is_not_of_the_wanted_version_is_old() {
        let group = AutoScalingGroup {
            instances: vec![
                instance("i-new", "InService", Some(("web", "3"))),
                instance("i-two", "InService", Some(("web", "2"))),
                instance("i-one", "Pending", Some(("web", "1"))),
                instance("i-other", "InService", Some(("api", "3"))),
                instance("i-2019", "InService", None),
                instance("i-going", "Terminating:Wait", Some(("web", "1"))),
            ],
            ..AutoScalingGroup::default()
        };
        let template = LaunchedFrom::Template {
            name: "web".to_owned(),
            version: "3".to_owned(),
        };
        let old = old_instances(&group, &template);
        let ids: Vec<&str> = old.iter().map(|old| old.id.as_str()).collect();
        assert_eq!(ids, ["i-2019", "i-one", "i-two", "i-other"]);
        assert_eq!(old[0].launched_from, "launch configuration k8s-2019");
        assert_eq!(old[2].launched_from, "template web version 2");
        let old = old_instances(&group, &LaunchedFrom::Configuration("k8s-2019".to_owned()));
        assert!(old.iter().all(|old| old.id != "i-2019") && old.len() == 4);
    }

    #[test]
    fn a_wave_is_no_larger_than_the_room() {
        assert_eq!(wave(3, 10, 2, 5), Ok(2));
        assert_eq!(wave(3, 4, 2, 5), Ok(1));
        assert_eq!(wave(3, 10, 2, 1), Ok(1));
        assert_eq!(wave(3, 3, 2, 0), Ok(0));
        let full = wave(3, 3, 2, 1).unwrap_err();
        assert!(full.to_string().contains("raise `max`"));
    }
}
