//! All groups of the cluster, and whose each instance is. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use windlass_aws_client::autoscaling::AutoScalingGroup;
use windlass_model::{Duration, Node, NodeGroup};

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
    /// Whether the last listing lacked so many of the groups that discovery had found before that
    /// it was not believed.
    doubted: bool,
    /// Instances of warm pools, by id, with their groups.
    warm: BTreeMap<String, String>,
    /// Instances that were listed for the first time and not been taken note of.
    arrivals: Vec<Arrival>,
    /// The groups of which a predecessor has seen nodes, by [`Group::identity`].
    recalled: BTreeSet<String>,
    /// `--max-node-provision-time`, where it was said.
    provision_time: Option<Duration>,
}

/// An instance that has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its group.
    pub group: String,
    /// Its type, if AWS tells.
    pub instance_type: Option<String>,
    /// Its zone.
    pub zone: String,
    /// Its id.
    pub instance: String,
    /// When it was asked for, if it came while a request of ours was open.
    pub requested_at: Option<Timestamp>,
    /// When it was listed.
    pub at: Timestamp,
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
    /// It waits in this group's warm pool: managed, not in service, and nobody's to delete.
    Warm {
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
            doubted: false,
            warm: BTreeMap::new(),
            arrivals: Vec::new(),
            recalled: BTreeSet::new(),
            provision_time: None,
        }
    }

    /// Sets how long an instance may take to become a node.
    #[must_use]
    pub fn with_provision_time(mut self, time: Duration) -> Self {
        self.provision_time = Some(time);
        self
    }

    /// Takes in of which groups a predecessor has seen nodes: what [`Group::identity`] said of them.
    pub fn recall(&mut self, proven: BTreeSet<String>) {
        self.recalled = proven;
        for group in self.by_name.values_mut() {
            prove_if(&self.recalled, group);
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
    /// dropped; when that is half of them or more, only at the second time: such a list is more
    /// often a fault than the truth. Says whether it was believed.
    pub fn discovered(
        &mut self,
        found: Vec<AutoScalingGroup>,
        acts: &Acts,
        asked_at: Timestamp,
    ) -> bool {
        let names: BTreeSet<String> = found.iter().map(|group| group.name.clone()).collect();
        let is_named = |name: &String| self.membership.limits(name).is_some();
        let had = self.by_name.keys().filter(|name| !is_named(name)).count();
        let lost = self
            .by_name
            .keys()
            .filter(|name| !is_named(name) && !names.contains(*name))
            .count();
        let is_doubtful = names.is_empty() && had > 0 || 2 <= lost && had <= 2 * lost;
        self.doubted = is_doubtful && !self.doubted;
        if !self.doubted {
            self.by_name
                .retain(|name, _| names.contains(name) || self.membership.limits(name).is_some());
        }
        self.describe(found, acts, asked_at);
        !self.doubted
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
                if self
                    .seen
                    .insert(instance.instance_id.clone(), seen)
                    .is_none()
                {
                    let request = self.by_name.get(&name).and_then(Group::request);
                    self.arrivals.push(Arrival {
                        group: name.clone(),
                        instance_type: instance.instance_type.clone(),
                        zone: instance.availability_zone.clone(),
                        instance: instance.instance_id.clone(),
                        requested_at: request.map(|request| request.sent_at),
                        at: asked_at,
                    });
                }
            }
            let known = acts.get(&name).copied().unwrap_or_default();
            let limits = self.membership.limits(&name);
            let group = self
                .by_name
                .entry(name)
                .or_insert_with_key(|name| Group::new(name, limits, asked_at));
            if let Some(time) = self.provision_time {
                group.set_provision_time(time);
            }
            group.describe(description, known, asked_at);
            prove_if(&self.recalled, group);
        }
        self.seen
            .retain(|_, seen| asked_at < later(seen.at, REMEMBER_GONE));
    }

    /// Takes in the cluster's nodes: which instances became nodes of this cluster.
    pub fn register<'a>(&mut self, nodes: impl IntoIterator<Item = &'a Node>) {
        let mut registered: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for node in nodes {
            let Some(id) = ProviderId::parse(&node.provider_id) else {
                continue;
            };
            if let Some(seen) = self.seen.get(&id.instance) {
                registered
                    .entry(&seen.group)
                    .or_default()
                    .insert(id.instance);
            }
        }
        for group in self.by_name.values_mut() {
            let own = registered.remove(group.name()).unwrap_or_default();
            group.note_registered(own);
        }
    }

    /// Takes in the instances of a group's warm pool.
    pub fn note_warm_pool(&mut self, group: &str, instances: impl IntoIterator<Item = String>) {
        self.warm.retain(|_, owner| owner != group);
        self.warm
            .extend(instances.into_iter().map(|id| (id, group.to_owned())));
    }

    /// How many instances wait in a group's warm pool.
    pub fn warm(&self, group: &str) -> usize {
        self.warm.values().filter(|owner| *owner == group).count()
    }

    /// The instances that were listed for the first time since this was last asked.
    pub fn take_arrivals(&mut self) -> Vec<Arrival> {
        std::mem::take(&mut self.arrivals)
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
            None => match self.warm.get(&id.instance) {
                Some(group) => Presence::Warm {
                    group: group.clone(),
                },
                None => Presence::NotOurs,
            },
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

fn prove_if(recalled: &BTreeSet<String>, group: &mut Group) {
    if group
        .identity()
        .is_some_and(|identity| recalled.contains(&identity))
    {
        group.prove();
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
    fn a_list_without_half_the_groups_is_believed_at_the_second_time() {
        let all = ["a", "b", "c", "d"];
        for left in [&[][..], &["a"], &["a", "b"]] {
            let mut groups = Groups::new(membership(&[]), at(0));
            let acts = groups.acts();
            let list = |names: &[&str]| -> Vec<AutoScalingGroup> {
                names.iter().map(|name| description(name, &[])).collect()
            };
            assert!(groups.discovered(list(&all), &acts, at(0)));
            assert!(!groups.discovered(list(left), &acts, at(60)));
            assert_eq!(names(&groups), all);
            assert!(groups.discovered(list(left), &acts, at(120)));
            assert_eq!(names(&groups), left);
        }
        // One of four is an ordinary day.
        let mut groups = Groups::new(membership(&[]), at(0));
        let acts = groups.acts();
        groups.discovered(all.map(|name| description(name, &[])).into(), &acts, at(0));
        assert!(groups.discovered(
            all[..3].iter().map(|name| description(name, &[])).collect(),
            &acts,
            at(60)
        ));
        assert_eq!(names(&groups), ["a", "b", "c"]);
    }

    #[test]
    fn a_group_whose_instances_are_no_nodes_here_is_not_shrunk() {
        let mut groups = Groups::new(membership(&[]), at(0));
        let acts = groups.acts();
        let seen = |at| {
            let mut seen = description("a", &["i-1"]);
            seen.desired_capacity = 3;
            (seen, at)
        };
        let (first, time) = seen(at(0));
        groups.discovered(vec![first], &acts, time);
        groups.register([]);
        let group = groups.get("a").unwrap();
        assert!(group.node_group().notices.is_unproven);
        assert_eq!(group.least(), 3);
        assert_eq!(group.holds().scale_up, None);
        let (later, time) = seen(at(15 * 60));
        groups.discovered(vec![later], &acts, time);
        let group = groups.get("a").unwrap();
        assert!(
            group
                .holds()
                .scale_up
                .unwrap()
                .contains("another cluster's")
        );
        assert!(group.conditions()[0].text.contains("another cluster's"));
        groups.register([&Node {
            provider_id: "aws:///us-east-1a/i-1".into(),
            ..Node::default()
        }]);
        let group = groups.get("a").unwrap();
        assert_eq!((group.least(), group.holds().scale_up), (1, None));
        assert!(!group.node_group().notices.is_unproven);
    }

    #[test]
    fn a_group_is_proven_over_a_restart_and_its_namesake_is_not() {
        let made_at = |second| {
            let mut group = description("a", &["i-1"]);
            group.created_time = Some(at(second));
            group
        };
        let begin = |made: AutoScalingGroup, recalled: &BTreeSet<String>| {
            let mut groups = Groups::new(membership(&[]), at(0));
            groups.recall(recalled.clone());
            groups.discovered(vec![made], &Acts::new(), at(0));
            groups
        };
        let mut first = begin(made_at(-100), &BTreeSet::new());
        let proof = |groups: &Groups| groups.get("a").unwrap().node_group().notices.proof;
        assert_eq!(proof(&first), None);
        first.register([&Node {
            provider_id: "aws:///us-east-1a/i-1".into(),
            ..Node::default()
        }]);
        let proven: BTreeSet<String> = proof(&first).iter().map(ToString::to_string).collect();
        assert_eq!(proven.len(), 1);
        assert!(begin(made_at(-100), &proven).get("a").unwrap().is_proven());
        assert!(!begin(made_at(-50), &proven).get("a").unwrap().is_proven());
        // What is remembered may also be read after the first listing.
        let mut late = begin(made_at(-100), &BTreeSet::new());
        late.recall(proven);
        assert!(!late.get("a").unwrap().node_group().notices.is_unproven);
    }

    #[test]
    fn a_group_is_strange_after_the_time_that_its_nodes_may_take() {
        let mut groups =
            Groups::new(membership(&[]), at(0)).with_provision_time(Duration::from_mins(30));
        for minutes in [0, 29] {
            let acts = groups.acts();
            groups.discovered(vec![description("a", &["i-1"])], &acts, at(minutes * 60));
        }
        assert_eq!(groups.get("a").unwrap().holds().scale_up, None);
        let acts = groups.acts();
        groups.discovered(vec![description("a", &["i-1"])], &acts, at(30 * 60));
        assert!(groups.get("a").unwrap().holds().scale_up.is_some());
    }

    #[test]
    fn a_listing_that_lacks_a_node_s_instance_does_not_make_it_surplus() {
        let mut groups = Groups::new(membership(&[]), at(0));
        let acts = groups.acts();
        let nodes = ["i-1", "i-2"].map(|id| Node {
            provider_id: format!("aws:///us-east-1a/{id}").into(),
            ..Node::default()
        });
        groups.discovered(vec![description("a", &["i-1", "i-2"])], &acts, at(0));
        groups.register(&nodes);
        let mut blind = description("a", &[]);
        blind.desired_capacity = 2;
        groups.discovered(vec![blind], &acts, at(60));
        groups.register(&nodes);
        let group = groups.get("a").unwrap();
        assert_eq!((group.live(), group.least()), (0, 2));
    }

    #[test]
    fn an_instance_of_a_warm_pool_is_known_for_one() {
        let mut groups = Groups::new(membership(&[]), at(0));
        let acts = groups.acts();
        groups.discovered(vec![description("a", &[])], &acts, at(0));
        groups.note_warm_pool("a", ["i-7".to_owned()]);
        let warm = Presence::Warm {
            group: "a".to_owned(),
        };
        assert_eq!(groups.presence("aws:///us-east-1a/i-7"), warm);
        assert_eq!(groups.warm("a"), 1);
        groups.note_warm_pool("a", []);
        assert_eq!(groups.presence("aws:///us-east-1a/i-7"), Presence::NotOurs);
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
