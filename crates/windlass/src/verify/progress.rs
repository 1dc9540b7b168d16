//! What has been seen so far, what is new in a look, and what went wrong. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One look at the cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Look {
    /// The run's pods, by name.
    pub(super) pods: BTreeMap<String, PodState>,
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
    /// Instances of the raised groups, by id, with their zone; nothing where AWS is not asked.
    pub(super) instances: BTreeMap<String, String>,
}

impl Look {
    /// Names of the groups that the autoscaler says it has raised: its events have them as
    /// `[{web 1->3 (max: 20)}]`.
    pub(super) fn raised_groups(&self) -> BTreeSet<String> {
        let messages = self.triggered.iter();
        let groups = messages.flat_map(|message| message.split('{').skip(1));
        let names = groups.filter_map(|group| group.split_whitespace().next());
        names.map(str::to_owned).collect()
    }

    /// How many pods run on a node that is seen: what is heard of nodes may be behind what is heard of
    /// pods.
    pub(super) fn settled_pods(&self) -> usize {
        let is_seen = |node: &String| self.nodes.contains_key(node);
        let settled = self
            .pods
            .values()
            .filter(|pod| pod.is_running && pod.node.as_ref().is_some_and(is_seen));
        settled.count()
    }

    /// Instances that no node stands for.
    pub(super) fn instances_without_node(&self) -> Vec<String> {
        let ids: BTreeSet<&str> = self
            .nodes
            .values()
            .filter_map(|node| node.provider_id.rsplit('/').next())
            .collect();
        let instances = self.instances.keys();
        let alone = instances.filter(|id| !ids.contains(id.as_str()));
        alone.cloned().collect()
    }
}

/// A pod of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PodState {
    /// The scheduler's words, while it fits nowhere.
    pub(super) unschedulable: Option<String>,
    /// Its node, if it has one.
    pub(super) node: Option<String>,
    /// Whether it runs.
    pub(super) is_running: bool,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeState {
    /// Whether it is ready, and else why not.
    pub(super) not_ready: Option<String>,
    /// Taints that keep the run's pods away, as `key=value:Effect`.
    pub(super) taints: Vec<String>,
    /// What it says in the place of the label that the pods select by; none where it has it.
    pub(super) lacks: Option<String>,
    /// Whether a cloud controller has to adopt it yet.
    pub(super) is_uninitialized: bool,
    /// `spec.providerID`.
    pub(super) provider_id: String,
}

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
    /// The first new instance was there; none where AWS is not asked.
    #[serde(default)]
    pub(super) launched: Option<f64>,
    /// The first new node registered.
    pub(super) registered: Option<f64>,
    /// The first new node was ready.
    pub(super) ready: Option<f64>,
    /// The first new node was ready and adopted by its cloud controller.
    #[serde(default)]
    pub(super) initialized: Option<f64>,
    /// The first pod ran that had been unschedulable.
    pub(super) first_running: Option<f64>,
    /// All pods ran.
    pub(super) all_running: Option<f64>,
}

impl Phases {
    /// How long each phase took that came to its end, in seconds; the join is counted from the launch
    /// where that is known, and else from the decision.
    pub(super) fn durations(&self) -> Vec<(&'static str, f64)> {
        let ready = self.initialized.or(self.ready);
        let ends = [
            ("decide", self.decided),
            ("launch", self.launched),
            ("boot+join", self.registered),
            ("ready", ready),
            ("start", self.all_running),
        ];
        let mut before = 0.0;
        let mut durations = Vec::new();
        for (name, end) in ends {
            if let Some(end) = end {
                durations.push((name, (end - before).max(0.0)));
                before = end;
            }
        }
        durations
    }
}

/// When a node came so far, in seconds since the begin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct NodeTimes {
    pub(super) name: String,
    pub(super) registered: f64,
    pub(super) ready: Option<f64>,
    pub(super) initialized: Option<f64>,
}

/// When a pod came so far, in seconds since the begin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct PodTimes {
    pub(super) name: String,
    pub(super) created: f64,
    pub(super) bound: Option<f64>,
    pub(super) running: Option<f64>,
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
    nodes: BTreeMap<String, NodeTimes>,
    pods: BTreeMap<String, PodTimes>,
    /// Instances of the raised groups when they were first looked at.
    known_instances: Option<BTreeSet<String>>,
    /// New nodes that have had pods of the run.
    own: BTreeSet<String>,
    /// Whether a pod is bigger than any node that there was.
    is_too_big: bool,
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

    /// A pod is bigger than any node that there was: a group at its maximum is not what it waits for.
    #[must_use]
    pub(super) fn with_pods_too_big(mut self, is_too_big: bool) -> Self {
        self.is_too_big = is_too_big;
        self
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

    /// New nodes that have had pods of the run: those of another run, or of somebody else, are not
    /// its business.
    pub(super) fn own_nodes(&self) -> &BTreeSet<String> {
        &self.own
    }

    /// When each node came so far, by name.
    pub(super) fn node_times(&self) -> Vec<NodeTimes> {
        self.nodes.values().cloned().collect()
    }

    /// When each pod came so far, by name.
    pub(super) fn pod_times(&self) -> Vec<PodTimes> {
        self.pods.values().cloned().collect()
    }

    /// Nodes of the begin that had pods of others and are gone. An empty one may go in the place
    /// of a new one: to the autoscaler they are alike.
    pub(super) fn lost_nodes<'a>(&'a self, look: &'a Look) -> impl Iterator<Item = &'a String> {
        self.busy
            .iter()
            .filter(|name| !look.nodes.contains_key(*name))
    }

    /// How many nodes there are more than at the begin: of all, or of those that came for this run,
    /// whichever is less.
    pub(super) fn surplus(&self, look: &Look) -> usize {
        let own = self.own.iter();
        let own = own.filter(|name| look.nodes.contains_key(*name)).count();
        own.min(look.nodes.len().saturating_sub(self.baseline.len()))
    }

    /// What is new in a look at `seconds` since the begin.
    pub(super) fn observe(&mut self, seconds: f64, look: &Look) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut say = |said: &mut BTreeSet<String>, what: String| {
            if said.insert(what.clone()) {
                steps.push(Step { seconds, what });
            }
        };
        let pods = look.pods.values();
        let unschedulable: Vec<&String> =
            pods.filter_map(|pod| pod.unschedulable.as_ref()).collect();
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
        if !look.instances.is_empty() {
            let ids: BTreeSet<String> = look.instances.keys().cloned().collect();
            let known = self.known_instances.get_or_insert_with(|| {
                // Those that nodes of the begin stand for were there before.
                let nodes = look.nodes.iter();
                let old = nodes.filter(|(name, _)| self.baseline.contains(*name));
                old.filter_map(|(_, node)| node.provider_id.rsplit('/').next())
                    .map(str::to_owned)
                    .collect()
            });
            for id in ids.difference(known) {
                self.phases.launched.get_or_insert(seconds);
                say(
                    &mut self.said,
                    format!("{id} launched ({})", look.instances[id]),
                );
            }
        }
        let new: Vec<String> = self.new_nodes(look).cloned().collect();
        for name in new {
            let node = &look.nodes[&name];
            let times = self.nodes.entry(name.clone()).or_insert_with(|| NodeTimes {
                name: name.clone(),
                registered: seconds,
                ready: None,
                initialized: None,
            });
            self.phases.registered.get_or_insert(seconds);
            say(&mut self.said, format!("{name} registered"));
            if node.not_ready.is_none() {
                times.ready.get_or_insert(seconds);
                self.phases.ready.get_or_insert(seconds);
                say(&mut self.said, format!("{name} Ready"));
                if !node.is_uninitialized {
                    times.initialized.get_or_insert(seconds);
                    self.phases.initialized.get_or_insert(seconds);
                }
            }
        }
        self.observe_pods(seconds, look);
        let running = look.pods.values().filter(|pod| pod.is_running).count();
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

    fn observe_pods(&mut self, seconds: f64, look: &Look) {
        for (name, pod) in &look.pods {
            let times = self.pods.entry(name.clone()).or_insert_with(|| PodTimes {
                name: name.clone(),
                created: seconds,
                bound: None,
                running: None,
            });
            if let Some(node) = &pod.node {
                times.bound.get_or_insert(seconds);
                if !self.baseline.contains(node) {
                    self.own.insert(node.clone());
                }
            }
            if pod.is_running {
                times.running.get_or_insert(seconds);
            }
        }
    }

    /// Another wave begins: what it says may be said again.
    pub(super) fn begin_wave(&mut self) {
        self.said.clear();
        self.running = 0;
        self.unschedulable = 0;
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
    /// A group was raised, and no node registered; AWS was not asked which half of the way it is.
    NoNode {
        /// The groups.
        groups: Vec<String>,
    },
    /// A group was raised, and it has no instance for it.
    NoInstance {
        /// The groups' scaling activities, in AWS' words.
        details: Vec<String>,
    },
    /// There is an instance, and no node of it.
    NotJoined {
        /// Instances with the end of their consoles, and the join credential's age.
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
            return Self::without_nodes(progress, look);
        }
        let not_ready: Vec<String> = new
            .iter()
            .filter_map(|(name, node)| Some(format!("{name}: {}", node.not_ready.as_ref()?)))
            .collect();
        if !not_ready.is_empty() {
            return Self::NodeNotReady { nodes: not_ready };
        }
        let uninitialized: Vec<String> = new
            .iter()
            .filter(|(_, node)| node.is_uninitialized)
            .map(|(name, _)| (*name).clone())
            .collect();
        if !uninitialized.is_empty() {
            return Self::NotInitialized {
                nodes: uninitialized,
            };
        }
        let pods = look.pods.values();
        let words: BTreeSet<&String> = pods.filter_map(|pod| pod.unschedulable.as_ref()).collect();
        if look.pods.values().any(|pod| pod.node.is_none()) {
            let mut details: Vec<String> = new
                .iter()
                .map(|(name, node)| {
                    let taints = node.taints.join(", ");
                    match &node.lacks {
                        None => format!("{name} has the taints [{taints}]"),
                        Some(lacks) => format!("{name} has the taints [{taints}], and {lacks}"),
                    }
                })
                .collect();
            details.extend(words.into_iter().map(|why| format!("scheduler: {why}")));
            return Self::NotBound { details };
        }
        Self::NotRunning
    }

    fn without_nodes(progress: &Progress, look: &Look) -> Self {
        if !look.triggered.is_empty() {
            return Self::NoNode {
                groups: look.raised_groups().into_iter().collect(),
            };
        }
        let at_maximum: Vec<String> = look
            .groups
            .iter()
            .filter(|(_, (target, max))| max <= target)
            .map(|(name, (target, max))| format!("{name} ({target} of {max})"))
            .collect();
        let is_size = |message: &String| message.contains("max node group size reached");
        let has_size = look.refused.iter().any(is_size);
        if has_size && !at_maximum.is_empty() && !progress.is_too_big {
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
            Self::NoNode { groups } => listed(
                "a group was raised, and no node registered:",
                groups,
                "with --config it is told whether there is an instance. None: capacity, quota or \
                 template; one: the last line of its console that begins with windlass-join",
            ),
            Self::NoInstance { details } => listed(
                "a group was raised, and no instance came:",
                details,
                "capacity: other types or zones; quota: raise it; template: mend the file and run \
                 `windlass provision apply`",
            ),
            Self::NotJoined { details } => listed(
                "there is an instance, and no node registered:",
                details,
                "`windlass doctor` tells of the join credential; the instance's console of the join",
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
            pods: one_pod(PodState {
                unschedulable: Some("0/1 nodes: Insufficient cpu".to_owned()),
                ..PodState::default()
            }),
            ..Look::default()
        }
    }

    fn one_pod(pod: PodState) -> BTreeMap<String, PodState> {
        [("pause".to_owned(), pod)].into()
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
                NodeState {
                    is_uninitialized: true,
                    ..NodeState::default()
                },
            ),
            "not initialized",
        );
        check(
            &with_node(raised.clone(), tainted("a=b:NoSchedule")),
            "[a=b:NoSchedule]",
        );
        let lacking = NodeState {
            lacks: Some("no label tier".to_owned()),
            ..NodeState::default()
        };
        check(&with_node(raised.clone(), lacking), "and no label tier");
        raised.pods = one_pod(PodState {
            node: Some("new".to_owned()),
            ..PodState::default()
        });
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
        look.pods = one_pod(PodState {
            node: Some("new".to_owned()),
            is_running: true,
            unschedulable: None,
        });
        assert_eq!(look.settled_pods(), 1);
        let steps = progress.observe(3.0, &look);
        assert_eq!(steps[0].what, "1/1 pods running");
        let phases = progress.phases();
        assert_eq!((phases.decided, phases.all_running), (Some(1.0), Some(3.0)));
        assert_eq!(progress.lost_nodes(&look).collect::<Vec<_>>(), ["old"]);
        assert_eq!(progress.surplus(&look), 0);
        assert_eq!(progress.own_nodes().iter().collect::<Vec<_>>(), ["new"]);
    }

    #[test]
    fn a_pod_that_runs_where_no_node_is_seen_yet_is_waited_for() {
        let mut look = alive();
        look.pods = one_pod(PodState {
            node: Some("new".to_owned()),
            is_running: true,
            unschedulable: None,
        });
        assert_eq!(look.settled_pods(), 0);
        assert_eq!(with_node(look, NodeState::default()).settled_pods(), 1);
    }

    #[test]
    fn a_pod_that_fits_nowhere_does_not_wait_for_a_maximum() {
        let mut look = alive();
        look.refused
            .insert("1 Insufficient cpu, 1 max node group size reached".to_owned());
        look.groups.insert("web".to_owned(), (3, 3));
        check(&look, "at maximum");
        let progress = Progress::default().with_pods_too_big(true);
        let text = Verdict::of(&progress, &look).to_text();
        assert!(text.starts_with("no group fits"), "{text}");
    }

    #[test]
    fn raised_groups_and_lone_instances_are_told() {
        let mut look = Look::default();
        look.triggered.insert(
            "pod triggered scale-up: [{web 1->3 (max: 20)} {gpu 0->1 (max: 2)}]".to_owned(),
        );
        let raised: Vec<String> = look.raised_groups().into_iter().collect();
        assert_eq!(raised, ["gpu", "web"]);
        look.instances = ["i-1", "i-2"]
            .map(|id| (id.to_owned(), "a".to_owned()))
            .into();
        let node = NodeState {
            provider_id: "aws:///us-east-1a/i-1".to_owned(),
            ..NodeState::default()
        };
        assert_eq!(with_node(look, node).instances_without_node(), ["i-2"]);
    }
}
