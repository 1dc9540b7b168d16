//! What has been seen so far, what is new in a look, and what went wrong. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One look at the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Look {
    /// The run's pods.
    pub(super) pods: Vec<PodState>,
    /// All nodes, by name.
    pub(super) nodes: BTreeMap<String, NodeState>,
    /// Messages of events `TriggeredScaleUp` on the run's pods.
    pub(super) triggered: BTreeSet<String>,
    /// Messages of events `NotTriggerScaleUp` on the run's pods.
    pub(super) refused: BTreeSet<String>,
    /// Whether the autoscaler's lease was renewed lately.
    pub(super) is_autoscaler_alive: bool,
    /// Groups of the status object: name, target, maximum.
    pub(super) groups: BTreeMap<String, (i64, i64)>,
}

/// A pod of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PodState {
    /// The scheduler's words, while it fits nowhere.
    pub(super) unschedulable: Option<String>,
    /// Whether it has a node.
    pub(super) is_bound: bool,
    /// Whether it runs.
    pub(super) is_running: bool,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeState {
    /// Whether it is ready, and else why not.
    pub(super) not_ready: Option<String>,
    /// Taints that keep ordinary pods away, as `key=value:Effect`.
    pub(super) taints: Vec<String>,
}

/// Taint that a cloud controller takes away.
const UNINITIALIZED: &str = "node.cloudprovider.kubernetes.io/uninitialized";

/// Something that happened, with its time since the begin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Step {
    /// Seconds since the begin.
    pub(super) seconds: f64,
    /// What happened.
    pub(super) what: String,
}

/// When the phases ended, in seconds since the begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub(super) struct Phases {
    /// The autoscaler raised a group.
    pub(super) decided: Option<f64>,
    /// The first new node registered.
    pub(super) registered: Option<f64>,
    /// The first new node was ready.
    pub(super) ready: Option<f64>,
    /// The first pod ran that had been unschedulable.
    pub(super) first_running: Option<f64>,
    /// All pods ran.
    pub(super) all_running: Option<f64>,
}

/// What has been seen since the begin.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    baseline: BTreeSet<String>,
    busy: BTreeSet<String>,
    said: BTreeSet<String>,
    running: usize,
    unschedulable: usize,
    phases: Phases,
}

impl Progress {
    /// Before the pods are made: the nodes that there are, and those that have pods of others.
    pub(super) fn new(baseline: BTreeSet<String>, busy: BTreeSet<String>) -> Self {
        Self {
            baseline,
            busy,
            ..Self::default()
        }
    }

    pub(super) fn phases(&self) -> Phases {
        self.phases
    }

    /// Nodes that were not there at the begin.
    pub(super) fn new_nodes<'a>(&'a self, look: &'a Look) -> impl Iterator<Item = &'a String> {
        look.nodes
            .keys()
            .filter(|name| !self.baseline.contains(*name))
    }

    /// Nodes of the begin that had pods of others and are gone. An empty one may go in the place
    /// of a new one: to the autoscaler they are alike.
    pub(super) fn lost_nodes<'a>(&'a self, look: &'a Look) -> impl Iterator<Item = &'a String> {
        self.busy
            .iter()
            .filter(|name| !look.nodes.contains_key(*name))
    }

    /// How many nodes there are more than at the begin.
    pub(super) fn surplus(&self, look: &Look) -> usize {
        look.nodes.len().saturating_sub(self.baseline.len())
    }

    /// What is new in a look at `seconds` since the begin.
    pub(super) fn observe(&mut self, seconds: f64, look: &Look) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut say = |said: &mut BTreeSet<String>, what: String| {
            if said.insert(what.clone()) {
                steps.push(Step { seconds, what });
            }
        };
        let unschedulable: Vec<&String> = look
            .pods
            .iter()
            .filter_map(|pod| pod.unschedulable.as_ref())
            .collect();
        if self.unschedulable < unschedulable.len() {
            self.unschedulable = unschedulable.len();
            let why = unschedulable.first().map_or("", |why| why.as_str());
            say(
                &mut self.said,
                format!("{} pods unschedulable: {why}", unschedulable.len()),
            );
        }
        for message in &look.triggered {
            self.phases.decided.get_or_insert(seconds);
            say(&mut self.said, format!("autoscaler: {message}"));
        }
        for message in &look.refused {
            say(&mut self.said, format!("autoscaler: {message}"));
        }
        let new: Vec<String> = self.new_nodes(look).cloned().collect();
        for name in new {
            self.phases.registered.get_or_insert(seconds);
            say(&mut self.said, format!("{name} registered"));
            if look.nodes[&name].not_ready.is_none() {
                self.phases.ready.get_or_insert(seconds);
                say(&mut self.said, format!("{name} Ready"));
            }
        }
        let running = look.pods.iter().filter(|pod| pod.is_running).count();
        if self.running < running {
            self.running = running;
            if self.phases.registered.is_some() {
                self.phases.first_running.get_or_insert(seconds);
            }
            if running == look.pods.len() {
                self.phases.all_running.get_or_insert(seconds);
            }
            say(
                &mut self.said,
                format!("{running}/{} pods running", look.pods.len()),
            );
        }
        steps
    }
}

/// Why a scale-up did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub(super) enum Verdict {
    /// Nobody renews the lease.
    AutoscalerNotRunning,
    /// No group would help.
    NoGroupFits {
        /// The autoscaler's words.
        reasons: Vec<String>,
    },
    /// The groups that would help are at their maximum.
    AtMaximum {
        /// The groups that are.
        groups: Vec<String>,
    },
    /// The autoscaler said nothing about the pods.
    NoDecision,
    /// A group was raised, and no node registered.
    NoNode {
        /// What AWS says of it, if it could be asked.
        details: Vec<String>,
    },
    /// A node registered and did not become ready.
    NodeNotReady {
        /// Nodes and why.
        nodes: Vec<String>,
    },
    /// A node was never initialized by a cloud controller.
    NotInitialized {
        /// The nodes.
        nodes: Vec<String>,
    },
    /// Nodes are ready, and the pods do not go there.
    NotBound {
        /// Taints of the new nodes, and the scheduler's words.
        details: Vec<String>,
    },
    /// Pods have nodes and do not run.
    NotRunning,
    /// All pods ran on fewer new nodes than were asked for: the run proves nothing about those.
    RoomWasFree {
        /// Nodes that came.
        new_nodes: usize,
    },
}

impl Verdict {
    /// The first that matches what a look shows.
    pub(super) fn of(progress: &Progress, look: &Look) -> Self {
        if !look.is_autoscaler_alive {
            return Self::AutoscalerNotRunning;
        }
        let new: Vec<(&String, &NodeState)> = progress
            .new_nodes(look)
            .map(|name| (name, &look.nodes[name]))
            .collect();
        // A node that comes while the autoscaler has declined is of somebody else's making.
        let is_declined = look.triggered.is_empty() && !look.refused.is_empty();
        if new.is_empty() || is_declined {
            return Self::without_nodes(look);
        }
        let not_ready: Vec<String> = new
            .iter()
            .filter_map(|(name, node)| Some(format!("{name}: {}", node.not_ready.as_ref()?)))
            .collect();
        if !not_ready.is_empty() {
            return Self::NodeNotReady { nodes: not_ready };
        }
        let is_uninitialized = |node: &NodeState| {
            node.taints
                .iter()
                .any(|taint| taint.starts_with(UNINITIALIZED))
        };
        let uninitialized: Vec<String> = new
            .iter()
            .filter(|(_, node)| is_uninitialized(node))
            .map(|(name, _)| (*name).clone())
            .collect();
        if !uninitialized.is_empty() {
            return Self::NotInitialized {
                nodes: uninitialized,
            };
        }
        let words: BTreeSet<&String> = look
            .pods
            .iter()
            .filter_map(|pod| pod.unschedulable.as_ref())
            .collect();
        if look.pods.iter().any(|pod| !pod.is_bound) {
            let mut details: Vec<String> = new
                .iter()
                .map(|(name, node)| format!("{name} has the taints [{}]", node.taints.join(", ")))
                .collect();
            details.extend(words.into_iter().map(|why| format!("scheduler: {why}")));
            return Self::NotBound { details };
        }
        Self::NotRunning
    }

    fn without_nodes(look: &Look) -> Self {
        if !look.triggered.is_empty() {
            return Self::NoNode {
                details: Vec::new(),
            };
        }
        let at_maximum: Vec<String> = look
            .groups
            .iter()
            .filter(|(_, (target, max))| max <= target)
            .map(|(name, (target, max))| format!("{name} ({target} of {max})"))
            .collect();
        let is_size = |message: &String| message.contains("max node group size reached");
        if look.refused.iter().any(is_size) && !at_maximum.is_empty() {
            return Self::AtMaximum { groups: at_maximum };
        }
        if look.refused.is_empty() {
            return Self::NoDecision;
        }
        Self::NoGroupFits {
            reasons: look.refused.iter().cloned().collect(),
        }
    }

    /// For people: what it is, and what to do.
    pub(super) fn to_text(&self) -> String {
        let listed = |what: &str, items: &[String], fix: &str| {
            let fix = format!("→ {fix}");
            let lines = items.iter().map(String::as_str).chain([fix.as_str()]);
            [what]
                .into_iter()
                .chain(lines)
                .collect::<Vec<_>>()
                .join("\n  ")
        };
        match self {
            Self::AutoscalerNotRunning => listed(
                "autoscaler not running: nobody has renewed its lease lately",
                &[],
                "look at the pods of Deployment cluster-autoscaler and their logs",
            ),
            Self::NoGroupFits { reasons } => listed(
                "no group fits:",
                reasons,
                "`windlass explain pod` tells the smallest change that would help",
            ),
            Self::AtMaximum { groups } => listed(
                "at maximum:",
                groups,
                "raise `max` in cluster.yaml and run `windlass provision apply`",
            ),
            Self::NoDecision => listed(
                "the autoscaler runs and has said nothing about the pods",
                &[],
                "look at its log, and at whether scale-up is held back by unready nodes",
            ),
            Self::NoNode { details } => listed(
                "a group was raised, and no node registered:",
                details,
                "no instance: capacity, quota or template; an instance: its console's last line \
                 begins with windlass-join",
            ),
            Self::RoomWasFree { new_nodes } => listed(
                &format!(
                    "room was free: the pods ran, and no more than {new_nodes} new nodes came"
                ),
                &[],
                "a node came back, or pods of others went, after the pods had been counted: run it \
                 again",
            ),
            Self::NodeNotReady { nodes } => listed(
                "a node registered and is not Ready:",
                nodes,
                "look at its conditions; most often the network plugin is missing",
            ),
            Self::NotInitialized { nodes } => listed(
                "a node was not initialized:",
                nodes,
                "run a cloud controller manager, or set spec.cloudProvider to none",
            ),
            Self::NotBound { details } => listed(
                "nodes are Ready, and the pods do not go there:",
                details,
                "the group's tags promise other labels or taints than its nodes have: \
                 `windlass provision drift`",
            ),
            Self::NotRunning => listed(
                "the pods have nodes and do not run",
                &[],
                "look at their events: image, network or runtime",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alive() -> Look {
        Look {
            is_autoscaler_alive: true,
            pods: vec![PodState {
                unschedulable: Some("0/1 nodes: Insufficient cpu".to_owned()),
                ..PodState::default()
            }],
            ..Look::default()
        }
    }

    fn with_node(mut look: Look, node: NodeState) -> Look {
        look.nodes.insert("new".to_owned(), node);
        look
    }

    #[track_caller]
    fn check(look: &Look, part: &str) {
        let text = Verdict::of(&Progress::default(), look).to_text();
        assert!(text.contains(part), "{text}");
    }

    #[test]
    fn the_first_verdict_that_matches_is_given() {
        check(&Look::default(), "autoscaler not running");
        check(&alive(), "has said nothing");
        let mut refused = alive();
        refused
            .refused
            .insert("pod didn't trigger: 1 max node group size reached".to_owned());
        check(&refused, "no group fits");
        check(
            &with_node(refused.clone(), NodeState::default()),
            "no group fits",
        );
        refused.groups.insert("web".to_owned(), (3, 3));
        check(&refused, "at maximum:\n  web (3 of 3)");
        let mut raised = alive();
        raised.triggered.insert("pod triggered scale-up".to_owned());
        check(&raised, "no node registered");
        let not_ready = NodeState {
            not_ready: Some("KubeletNotReady: cni".to_owned()),
            ..NodeState::default()
        };
        check(
            &with_node(raised.clone(), not_ready),
            "new: KubeletNotReady: cni",
        );
        let tainted = |taint: &str| NodeState {
            taints: vec![taint.to_owned()],
            ..NodeState::default()
        };
        check(
            &with_node(
                raised.clone(),
                tainted(&format!("{UNINITIALIZED}=true:NoSchedule")),
            ),
            "not initialized",
        );
        check(
            &with_node(raised.clone(), tainted("a=b:NoSchedule")),
            "[a=b:NoSchedule]",
        );
        raised.pods[0] = PodState {
            is_bound: true,
            ..PodState::default()
        };
        check(&with_node(raised, NodeState::default()), "do not run");
    }

    #[test]
    fn a_step_is_told_once_and_phases_keep_their_first_time() {
        let old = BTreeSet::from(["old".to_owned()]);
        let mut progress = Progress::new(old.clone(), old);
        let mut look = with_node(alive(), NodeState::default());
        look.triggered.insert("web 1->2".to_owned());
        let told = progress.observe(1.0, &look).len();
        assert_eq!(told, 4, "unschedulable, raised, registered, ready");
        assert!(progress.observe(2.0, &look).is_empty());
        look.pods[0] = PodState {
            is_bound: true,
            is_running: true,
            unschedulable: None,
        };
        let steps = progress.observe(3.0, &look);
        assert_eq!(steps[0].what, "1/1 pods running");
        let phases = progress.phases();
        assert_eq!((phases.decided, phases.all_running), (Some(1.0), Some(3.0)));
        assert_eq!(progress.lost_nodes(&look).collect::<Vec<_>>(), ["old"]);
        assert_eq!(progress.surplus(&look), 0);
    }
}
