//! Launch configurations that groups had before they were moved to launch templates, and which of
//! them may go now. Pure.
//!
//! Which one it was is told by the group's tag [`FORMER_TAG`], which `migrate` sets: what no tag
//! names is somebody else's and is never looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use windlass_aws_client::autoscaling::{AutoScalingGroup, GroupInstance};

use super::resource::ResourceKind;
use super::{FORMER_TAG, OWNER_TAG};

/// A launch configuration that groups of the cluster had before their launch templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// Its name.
    pub name: String,
    /// The groups whose tags name it, in order.
    pub groups: Vec<String>,
    /// What becomes of it.
    pub fate: Fate,
}

/// What becomes of a launch configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is deleted.
    Goes,
    /// It is not there any more: the tags alone are left.
    Gone,
    /// It stays, for these reasons.
    Stays(Vec<String>),
}

impl fmt::Display for Former {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, groups, fate } = self;
        let kind = ResourceKind::LaunchConfiguration;
        let groups = quoted(groups);
        match fate {
            Fate::Goes => write!(
                formatter,
                "- {kind} `{name}`: {groups} had it before, and no instance is of it any more"
            ),
            Fate::Gone => write!(
                formatter,
                "~ {groups}: {kind} `{name}` is gone already, and the tag that names it goes too"
            ),
            Fate::Stays(why) => write!(formatter, "! {kind} `{name}`: {}", why.join("; ")),
        }
    }
}

/// Names of launch configurations, and the groups whose tags name each.
pub type Recorded = BTreeMap<String, BTreeSet<String>>;

/// What the tags of a cluster's groups name, of those groups that are `meant`.
pub fn recorded(
    cluster: &str,
    groups: &[AutoScalingGroup],
    meant: impl Fn(&str) -> bool,
) -> Recorded {
    let mut recorded = Recorded::new();
    for group in groups {
        if group.tag(OWNER_TAG) == Some(cluster)
            && meant(&group.name)
            && let Some(name) = group.tag(FORMER_TAG)
        {
            let groups = recorded.entry(name.to_owned()).or_default();
            groups.insert(group.name.clone());
        }
    }
    recorded
}

/// What becomes of them. `groups` are all of the account, since any may need what others have left
/// behind; `are_there` are the names for which there is a launch configuration.
pub fn former(
    recorded: Recorded,
    groups: &[AutoScalingGroup],
    are_there: &BTreeSet<String>,
) -> Vec<Former> {
    let recorded = recorded.into_iter();
    recorded
        .map(|(name, of_groups)| Former {
            fate: fate(&name, groups, are_there),
            groups: of_groups.into_iter().collect(),
            name,
        })
        .collect()
}

fn fate(name: &str, groups: &[AutoScalingGroup], are_there: &BTreeSet<String>) -> Fate {
    let mut why: Vec<String> = groups
        .iter()
        .filter_map(|group| needs(group, name))
        .collect();
    why.sort();
    if !why.is_empty() {
        Fate::Stays(why)
    } else if are_there.contains(name) {
        Fate::Goes
    } else {
        Fate::Gone
    }
}

/// Why a group still needs a launch configuration, if it does.
fn needs(group: &AutoScalingGroup, name: &str) -> Option<String> {
    let kind = ResourceKind::AutoScalingGroup;
    if group.next_launch_configuration() == Some(name) {
        return Some(format!(
            "{kind} `{}` has it: move that one to a template first",
            group.name
        ));
    }
    let instances = group.instances.iter().filter(|it| is_of(it, name));
    let ids: Vec<&str> = instances.map(|it| it.instance_id.as_str()).collect();
    let count = ids.len();
    (0 < count).then(|| {
        format!(
            "{count} instances of {kind} `{}` are of it still ({}): replace them with `windlass \
             provision roll`",
            group.name,
            ids.join(", ")
        )
    })
}

/// Whether an instance that stays was launched from it.
fn is_of(instance: &GroupInstance, name: &str) -> bool {
    instance.launch_template.is_none()
        && instance.launch_configuration_name.as_deref() == Some(name)
        && !instance.lifecycle_state.starts_with("Terminat")
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{} {}", ResourceKind::AutoScalingGroup, names.join(", "))
}

#[cfg(test)]
mod tests {
    use windlass_aws_client::autoscaling::{LaunchTemplateSpecification, Tag};

    use super::*;

    const OLD: &str = "k8s-2019";

    /// A group that was moved from a launch configuration to a template.
    fn moved(name: &str, owner: &str, former: &str) -> AutoScalingGroup {
        let tag = |key: &str, value: &str| Tag {
            key: key.to_owned(),
            value: value.to_owned(),
            propagate_at_launch: false,
        };
        AutoScalingGroup {
            name: name.to_owned(),
            launch_template: Some(LaunchTemplateSpecification::default()),
            tags: vec![tag(OWNER_TAG, owner), tag(FORMER_TAG, former)],
            ..AutoScalingGroup::default()
        }
    }

    /// An instance that was launched from the old launch configuration.
    fn old_instance(state: &str) -> GroupInstance {
        GroupInstance {
            instance_id: "i-1".to_owned(),
            lifecycle_state: state.to_owned(),
            launch_configuration_name: Some(OLD.to_owned()),
            ..GroupInstance::default()
        }
    }

    /// What becomes of the old launch configuration, which is there, and of nothing else.
    #[track_caller]
    fn fate_among(groups: &[AutoScalingGroup]) -> Fate {
        let are_there = [OLD.to_owned(), "of-others".to_owned()].into();
        let found = former(recorded("prod", groups, |_| true), groups, &are_there);
        let [Former { name, fate, .. }] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(name, OLD);
        fate.clone()
    }

    #[track_caller]
    fn stays(groups: &[AutoScalingGroup], part: &str) {
        let Fate::Stays(why) = fate_among(groups) else {
            panic!("it does not stay");
        };
        assert!(why.iter().any(|it| it.contains(part)), "{why:?}");
    }

    #[test]
    fn what_nobody_needs_any_more_goes() {
        assert_eq!(fate_among(&[moved("web", "prod", OLD)]), Fate::Goes);
        let mut listed = moved("web", "prod", OLD);
        listed.launch_configuration_name = Some(OLD.to_owned());
        listed.instances = vec![old_instance("Terminating:Wait")];
        assert_eq!(fate_among(&[listed]), Fate::Goes);
    }

    #[test]
    fn what_an_instance_or_another_group_is_of_stays() {
        let mut busy = moved("web", "prod", OLD);
        busy.instances = vec![old_instance("InService")];
        stays(
            &[busy],
            "1 instances of Auto Scaling group `web` are of it still (i-1)",
        );
        let user = AutoScalingGroup {
            name: "staging".to_owned(),
            launch_configuration_name: Some(OLD.to_owned()),
            ..AutoScalingGroup::default()
        };
        stays(&[moved("web", "prod", OLD), user], "`staging` has it");
        // Somebody has gone back to it.
        let mut back = moved("web", "prod", OLD);
        back.launch_template = None;
        back.launch_configuration_name = Some(OLD.to_owned());
        stays(&[back], "`web` has it");
    }

    #[test]
    fn two_groups_may_have_had_the_same_one() {
        let groups = [moved("web", "prod", OLD), moved("api", "prod", OLD)];
        let are_there = [OLD.to_owned()].into();
        let both = recorded("prod", &groups, |_| true);
        let found = former(both.clone(), &groups, &are_there);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].groups, ["api", "web"]);
        let one = recorded("prod", &groups, |name| name == "web");
        assert_eq!(former(one, &groups, &are_there)[0].groups, ["web"]);
        let gone = former(both, &groups, &BTreeSet::new());
        assert_eq!(gone[0].fate, Fate::Gone);
    }

    #[test]
    fn what_no_tag_of_the_cluster_s_groups_names_is_not_looked_at() {
        let plain = AutoScalingGroup {
            name: "web".to_owned(),
            launch_configuration_name: Some(OLD.to_owned()),
            ..AutoScalingGroup::default()
        };
        let groups = [plain, moved("other", "staging", OLD)];
        assert_eq!(recorded("prod", &groups, |_| true), Recorded::new());
    }
}
