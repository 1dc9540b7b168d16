//! All groups of the cluster, and whose each instance is. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use windlass_aws_client::autoscaling::AutoScalingGroup;
use windlass_model::{Duration, NodeGroup};

use crate::discovery::Membership;
use crate::group::Group;
use crate::provider_id::ProviderId;
use crate::schedule::later;

/// How long an instance that has left its group is remembered, so that its node is known to be
/// gone and not taken for somebody else's.
const REMEMBER_GONE: Duration = Duration::from_hours(24);

/// The groups.
#[derive(Clone, Debug)]
pub struct Groups {
    membership: Membership,
    by_name: BTreeMap<String, Group>,
    /// Every instance that was seen in one of the groups, and when last.
    seen: BTreeMap<String, Seen>,
    /// Whether the last listing found no group of those that discovery had found before.
    emptied: bool,
}

#[derive(Clone, Debug)]
struct Seen {
    group: String,
    at: Timestamp,
}

/// Whether a node's instance is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is in this group.
    Present {
        /// The group.
        group: String,
    },
    /// It was in one of the groups, and is no more.
    Gone,
    /// It never was in any of them: another provisioner's node, Fargate, a hybrid node.
    NotOurs,
}

/// How many acts each group had seen when AWS was asked: see [`Group::describe`].
pub type Acts = BTreeMap<String, u64>;

impl Groups {
    /// The groups of a cluster, none of them described yet.
    pub fn new(membership: Membership, now: Timestamp) -> Self {
        let by_name = membership
            .names()
            .into_iter()
            .map(|name| {
                let group = Group::new(&name, membership.limits(&name), now);
                (name, group)
            })
            .collect();
        Self {
            membership,
            by_name,
            seen: BTreeMap::new(),
            emptied: false,
        }
    }

    /// Which groups are looked for.
    pub fn membership(&self) -> &Membership {
        &self.membership
    }

    /// What to give back with the answers to questions asked now.
    pub fn acts(&self) -> Acts {
        self.by_name
            .iter()
            .map(|(name, group)| (name.clone(), group.acts()))
            .collect()
    }

    /// Takes in all that discovery found. Groups that it had found before and did not now are
    /// dropped; when that is all of them, only at the second time: an empty list is more often a
    /// fault than the truth. Says whether it was taken.
    pub fn discovered(
        &mut self,
        found: Vec<AutoScalingGroup>,
        acts: &Acts,
        asked_at: Timestamp,
    ) -> bool {
        let names: BTreeSet<String> = found.iter().map(|group| group.name.clone()).collect();
        let had_any = self
            .by_name
            .keys()
            .any(|name| self.membership.limits(name).is_none());
        if names.is_empty() && had_any && !self.emptied {
            self.emptied = true;
            return false;
        }
        self.emptied = false;
        self.by_name
            .retain(|name, _| names.contains(name) || self.membership.limits(name).is_some());
        self.describe(found, acts, asked_at);
        true
    }

    /// Takes in the answer about groups that were asked for by name; those that are missing in it
    /// do not exist.
    pub fn named(
        &mut self,
        asked: &[String],
        found: Vec<AutoScalingGroup>,
        acts: &Acts,
        asked_at: Timestamp,
    ) {
        for name in asked {
            if !found.iter().any(|group| &group.name == name)
                && let Some(group) = self.by_name.get_mut(name)
            {
                group.vanish(asked_at);
            }
        }
        self.describe(found, acts, asked_at);
    }

    fn describe(&mut self, found: Vec<AutoScalingGroup>, acts: &Acts, asked_at: Timestamp) {
        for description in found {
            let name = description.name.clone();
            for instance in &description.instances {
                let seen = Seen {
                    group: name.clone(),
                    at: asked_at,
                };
                self.seen.insert(instance.instance_id.clone(), seen);
            }
            let known = acts.get(&name).copied().unwrap_or_default();
            let limits = self.membership.limits(&name);
            self.by_name
                .entry(name)
                .or_insert_with_key(|name| Group::new(name, limits, asked_at))
                .describe(description, known, asked_at);
        }
        self.seen
            .retain(|_, seen| asked_at < later(seen.at, REMEMBER_GONE));
    }

    /// A group by its name.
    pub fn get(&self, name: &str) -> Option<&Group> {
        self.by_name.get(name)
    }

    /// A group by its name, to note an act.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Group> {
        self.by_name.get_mut(name)
    }

    /// The groups by name.
    pub fn iter(&self) -> impl Iterator<Item = &Group> {
        self.by_name.values()
    }

    /// The groups by name, to set what is known of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Group> {
        self.by_name.values_mut()
    }

    /// The groups as the core sees them, by name, so that logs and choices can be reproduced.
    pub fn node_groups(&self) -> Vec<NodeGroup> {
        self.iter().map(Group::node_group).collect()
    }

    /// Where the instance of a node is.
    pub fn presence(&self, provider_id: &str) -> Presence {
        let Some(id) = ProviderId::parse(provider_id) else {
            return Presence::NotOurs;
        };
        match self.seen.get(&id.instance) {
            None => Presence::NotOurs,
            Some(seen) => {
                let listed = self
                    .by_name
                    .get(&seen.group)
                    .is_some_and(|group| group.instance(&id.instance).is_some());
                if listed {
                    Presence::Present {
                        group: seen.group.clone(),
                    }
                } else {
                    Presence::Gone
                }
            }
        }
    }

    /// The groups that are to be looked at again by `now`, ahead of the next listing.
    pub fn due_polls(&self, now: Timestamp) -> Vec<String> {
        self.iter()
            .filter(|group| group.poll_due().is_some_and(|due| due <= now))
            .map(|group| group.name().to_owned())
            .collect()
    }

    /// When the next such look is due.
    pub fn next_poll(&self) -> Option<Timestamp> {
        self.iter().filter_map(Group::poll_due).min()
    }
}

#[cfg(test)]
mod tests {
    use windlass_aws_client::autoscaling::{GroupInstance, TagFilter};
    use windlass_config::{DiscoveryMode, DiscoverySpec, NodeGroupSpec};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn membership(names: &[&str]) -> Membership {
        let nodes: Vec<NodeGroupSpec> = names
            .iter()
            .map(|name| NodeGroupSpec {
                min_size: 0,
                max_size: 5,
                name: (*name).to_owned(),
            })
            .collect();
        let discovery = DiscoverySpec {
            tags: vec![windlass_config::TagFilter {
                key: "enabled".to_owned(),
                value: None,
            }],
        };
        Membership::new(&nodes, &[discovery], DiscoveryMode::All)
    }

    fn description(name: &str, instances: &[&str]) -> AutoScalingGroup {
        AutoScalingGroup {
            name: name.to_owned(),
            max_size: 10,
            desired_capacity: u32::try_from(instances.len()).unwrap(),
            instances: instances
                .iter()
                .map(|id| GroupInstance {
                    instance_id: (*id).to_owned(),
                    availability_zone: "us-east-1a".to_owned(),
                    lifecycle_state: "InService".to_owned(),
                    ..GroupInstance::default()
                })
                .collect(),
            ..AutoScalingGroup::default()
        }
    }

    fn names(groups: &Groups) -> Vec<&str> {
        groups.iter().map(Group::name).collect()
    }

    #[test]
    fn discovered_groups_come_and_go_and_named_ones_stay() {
        let mut groups = Groups::new(membership(&["named"]), at(0));
        let acts = groups.acts();
        assert!(groups.discovered(
            vec![description("b", &[]), description("a", &[])],
            &acts,
            at(0)
        ));
        groups.named(&["named".to_owned()], vec![], &acts, at(0));
        assert_eq!(names(&groups), ["a", "b", "named"]);
        assert!(groups.discovered(vec![description("b", &[])], &acts, at(60)));
        assert_eq!(names(&groups), ["b", "named"]);
    }

    #[test]
    fn an_empty_list_is_believed_at_the_second_time() {
        let mut groups = Groups::new(membership(&[]), at(0));
        let acts = groups.acts();
        assert!(groups.discovered(vec![description("a", &["i-1"])], &acts, at(0)));
        assert!(!groups.discovered(vec![], &acts, at(60)));
        assert_eq!(names(&groups), ["a"]);
        assert!(groups.discovered(vec![], &acts, at(120)));
        assert!(names(&groups).is_empty());
    }

    /// Point 16 of the acceptance checklist.
    #[test]
    fn checklist_16_present_gone_and_not_ours() {
        let mut groups = Groups::new(membership(&[]), at(0));
        let acts = groups.acts();
        groups.discovered(vec![description("a", &["i-1", "i-2"])], &acts, at(0));
        groups.discovered(vec![description("a", &["i-1"])], &acts, at(60));
        let present = Presence::Present {
            group: "a".to_owned(),
        };
        assert_eq!(groups.presence("aws:///us-east-1a/i-1"), present);
        // Another zone text than Auto Scaling's.
        assert_eq!(groups.presence("aws:///us-east-1x/i-1"), present);
        assert_eq!(groups.presence("aws:///us-east-1a/i-2"), Presence::Gone);
        assert_eq!(groups.presence("aws:///us-east-1a/i-9"), Presence::NotOurs);
        assert_eq!(groups.presence("eks-hybrid:///r/c/n"), Presence::NotOurs);
        assert_eq!(groups.presence(""), Presence::NotOurs);
    }

    #[test]
    fn the_filters_are_the_tags() {
        assert_eq!(
            membership(&[]).queries(),
            [vec![TagFilter {
                key: "enabled".to_owned(),
                value: None
            }]]
        );
    }
}
