//! A cluster, a cloud and a clock in a few lines: carries out every plan that `check` passes, and
//! fails what it is told to fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_config::Config;
use windlass_core::{
    Action, Decision, Event, Input, Memory, NoTimeLimits, Outcome, OutcomeResult, Plan, check,
    decide, prepare,
};
use windlass_model::{
    Cluster, Condition, ConditionStatus, DisruptionBudget, Duration, Instance, InstanceState,
    LabelSelector, Labels, Node, NodeGroup, ObjectName, OwnerReference, Phase, Pod, PodScheduled,
    PodShape, Quantity, ResourceList, Resources, SmolStr, Timestamp, Workload, WorkloadKind,
};

/// What an action is made to come to, instead of being carried out.
pub(crate) type Fault = Box<dyn FnMut(&Action, Timestamp) -> Option<OutcomeResult>>;

pub(crate) struct World {
    pub(crate) nodes: BTreeMap<SmolStr, Node>,
    pub(crate) pods: Vec<Pod>,
    pub(crate) groups: Vec<NodeGroup>,
    pub(crate) budgets: Vec<DisruptionBudget>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) config: Config,
    pub(crate) memory: Memory,
    pub(crate) now: Timestamp,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) is_paused: bool,
    pub(crate) current_at: Option<Timestamp>,
    pub(crate) fault: Option<Fault>,
    /// Every action, with the time at which it was asked for.
    pub(crate) log: Vec<(Timestamp, Action)>,
    pub(crate) events: Vec<Event>,
    /// Whether evicted pods come back somewhere.
    pub(crate) recreates_pods: bool,
    made: u32,
}

/// The start of every world.
pub(crate) fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

pub(crate) fn seconds(count: i64) -> Duration {
    Duration::from_secs(count)
}

fn failed(code: &str) -> OutcomeResult {
    OutcomeResult::Failed {
        code: code.into(),
        message: code.to_owned(),
    }
}

impl World {
    /// An empty world with these flags on top of `--scale-down-unneeded-time=0s`.
    pub(crate) fn new(flags: &[&str]) -> Self {
        let flags = ["--scale-down-unneeded-time=0s"].iter().chain(flags);
        let (config, _) = Config::parse(flags).unwrap();
        Self {
            nodes: BTreeMap::new(),
            pods: Vec::new(),
            groups: Vec::new(),
            budgets: Vec::new(),
            workloads: Vec::new(),
            config,
            memory: Memory::default(),
            now: start(),
            outcomes: Vec::new(),
            is_paused: false,
            current_at: None,
            fault: None,
            log: Vec::new(),
            events: Vec::new(),
            recreates_pods: false,
            made: 0,
        }
    }

    /// A group with nodes `NAME-0`, `NAME-1`, … of four cores each.
    pub(crate) fn group(&mut self, name: &str, min: i64, nodes: usize) {
        let mut instances = Vec::new();
        for index in 0..nodes {
            let node = format!("{name}-{index}");
            let provider_id: SmolStr = format!("aws:///z/i-{node}").into();
            instances.push(Instance {
                provider_id: provider_id.clone(),
                state: InstanceState::Running,
            });
            let size: ResourceList = [
                ("cpu", Quantity::from_units(4)),
                ("memory", Quantity::from_bytes(16 << 30)),
                ("pods", Quantity::from_units(50)),
            ]
            .into_iter()
            .collect();
            self.nodes.insert(
                node.clone().into(),
                Node {
                    name: node.clone().into(),
                    uid: format!("uid-{node}").into(),
                    provider_id,
                    created_at: Some(start() - Duration::from_hours(10)),
                    labels: [("kubernetes.io/hostname", node.as_str())]
                        .into_iter()
                        .collect(),
                    capacity: size.clone(),
                    allocatable: size,
                    conditions: vec![Condition {
                        kind: "Ready".into(),
                        status: ConditionStatus::True,
                        reason: SmolStr::default(),
                        last_transition: Some(start() - Duration::from_hours(9)),
                    }],
                    ..Node::default()
                },
            );
        }
        self.groups.push(NodeGroup {
            name: name.into(),
            min_size: min,
            max_size: 100,
            target_size: i64::try_from(nodes).unwrap(),
            requested_at: None,
            instances,
            template: None,
            price_per_hour: None,
            zones: Vec::new(),
            provision_time: None,
            options: windlass_model::GroupOptions::default(),
            notices: windlass_model::GroupNotices::default(),
        });
    }

    /// A ReplicaSet that pods may name.
    pub(crate) fn replica_set(&mut self, name: &str) {
        self.workloads.push(Workload {
            kind: WorkloadKind::ReplicaSet,
            name: ObjectName::new("default", name),
            uid: format!("uid-{name}").into(),
            created_at: None,
            replicas: Some(3),
            completions: None,
            current_replicas: 3,
            succeeded: 0,
            selector: None,
            is_parallel: false,
            template: None,
        });
    }

    /// A running, ready pod of a ReplicaSet, changed by `change`; its name.
    pub(crate) fn pod(
        &mut self,
        owner: &str,
        node: &str,
        milli_cpu: i64,
        change: impl FnOnce(&mut PodShape),
    ) -> SmolStr {
        let known = |it: &Workload| it.name.name == owner;
        if !self.workloads.iter().any(known) {
            self.replica_set(owner);
        }
        let mut shape = PodShape {
            namespace: "default".into(),
            labels: [("app", owner)].into_iter().collect(),
            controller: Some(OwnerReference {
                api_version: "apps/v1".into(),
                kind: "ReplicaSet".into(),
                name: owner.into(),
                uid: format!("uid-{owner}").into(),
            }),
            requests: Resources {
                milli_cpu,
                memory_bytes: 1 << 20,
                ..Resources::default()
            },
            ..PodShape::default()
        };
        change(&mut shape);
        self.put(Arc::new(shape), owner, Some(node))
    }

    /// A DaemonSet's pod.
    pub(crate) fn daemonset_pod(
        &mut self,
        node: &str,
        change: impl FnOnce(&mut PodShape),
    ) -> SmolStr {
        if !self
            .workloads
            .iter()
            .any(|it| it.kind == WorkloadKind::DaemonSet)
        {
            self.replica_set("agent");
            self.workloads.last_mut().unwrap().kind = WorkloadKind::DaemonSet;
        }
        self.pod("agent", node, 10, |shape| {
            shape.controller.as_mut().unwrap().kind = "DaemonSet".into();
            change(shape);
        })
    }

    fn put(&mut self, shape: Arc<PodShape>, owner: &str, node: Option<&str>) -> SmolStr {
        self.made += 1;
        let name: SmolStr = format!("{owner}-{}", self.made).into();
        self.pods.push(Pod {
            uid: format!("uid-{name}").into(),
            name: name.clone(),
            shape,
            resized_requests: None,
            created_at: Some(self.now - Duration::from_hours(5)),
            deletion_timestamp: None,
            node_name: node.map(Into::into),
            nominated_node_name: None,
            phase: Phase::Running,
            scheduled: if node.is_some() {
                PodScheduled::Scheduled
            } else {
                PodScheduled::Unschedulable {
                    since: Some(self.now),
                }
            },
            is_ready: node.is_some(),
        });
        name
    }

    /// A disruption budget over the pods of an owner.
    pub(crate) fn budget(&mut self, app: &str, allowed: i32) {
        let labels: Labels = [("app", app)].into_iter().collect();
        self.budgets.push(DisruptionBudget {
            name: ObjectName::new("default", format!("pdb-{app}")),
            selector: Some(LabelSelector::from_labels(&labels)),
            disruptions_allowed: allowed,
        });
    }

    pub(crate) fn cluster(&self) -> Cluster {
        Cluster {
            nodes: self.nodes.values().cloned().map(Arc::new).collect(),
            pods: self.pods.iter().cloned().map(Arc::new).collect(),
            groups: self.groups.clone(),
            workloads: self.workloads.iter().cloned().map(Arc::new).collect(),
            disruption_budgets: self.budgets.iter().cloned().map(Arc::new).collect(),
            is_scale_down_paused: self.is_paused,
            current_at: self.current_at,
            ..Cluster::default()
        }
    }

    /// Hands what the next loop is decided from to `look`.
    pub(crate) fn with_input<T>(&self, look: impl FnOnce(&Input<'_>) -> T) -> T {
        let cluster = self.cluster();
        look(&Input {
            cluster: &cluster,
            memory: &self.memory,
            outcomes: &self.outcomes,
            config: &self.config,
            now: self.now,
            budget: &NoTimeLimits,
        })
    }

    /// Decides one loop; the plan must break no rule.
    #[track_caller]
    pub(crate) fn decide(&self) -> Decision {
        self.with_input(|input| {
            let decision = decide(input, prepare(input.cluster, input.config));
            let violations = check(input, &decision.plan);
            assert!(
                violations.is_empty(),
                "{violations:#?}\n{:#?}",
                decision.plan.actions
            );
            decision
        })
    }

    /// Decides one loop and carries its plan out.
    #[track_caller]
    pub(crate) fn step(&mut self) -> Plan {
        let Decision { plan, memory } = self.decide();
        self.memory = memory;
        self.outcomes.clear();
        for action in &plan.actions {
            self.log.push((self.now, action.clone()));
            let now = self.now;
            let fault = self.fault.as_mut().and_then(|fault| fault(action, now));
            let result = fault.unwrap_or_else(|| self.carry_out(action));
            self.outcomes.push(Outcome {
                action: action.clone(),
                result,
            });
        }
        self.events.extend(plan.events.iter().cloned());
        plan
    }

    /// Lets time pass, with a loop at once, at each timer, and every ten seconds.
    #[track_caller]
    pub(crate) fn run(&mut self, length: Duration) {
        let end = self.now + length;
        loop {
            let plan = self.step();
            let next = self.now + seconds(10);
            let next = plan.wake_at.map_or(next, |wake| next.min(wake));
            // What came of an action wakes the loop too.
            let soon = self.now + Duration::from_millis(50);
            let next = if self.outcomes.is_empty() {
                next
            } else {
                next.min(soon)
            };
            let next = next.max(soon);
            if end < next {
                self.now = end;
                self.tick();
                return;
            }
            self.now = next;
            self.tick();
        }
    }

    /// The process is killed and another takes over with what was written down.
    pub(crate) fn crash(&mut self) {
        let written = serde_json::to_string(&self.memory).unwrap();
        self.memory = serde_json::from_str(&written).unwrap();
        self.outcomes.clear();
    }

    /// Pods whose time is over vanish; instances that are going take their nodes with them.
    pub(crate) fn tick(&mut self) {
        let now = self.now;
        let is_over = |pod: &Pod| pod.deletion_timestamp.is_some_and(|at| at <= now);
        let over: Vec<Pod> = self.pods.iter().filter(|it| is_over(it)).cloned().collect();
        self.pods.retain(|pod| !is_over(pod));
        if self.recreates_pods {
            for pod in over {
                if pod
                    .shape
                    .controller
                    .as_ref()
                    .is_some_and(|it| it.kind == "ReplicaSet")
                {
                    self.recreate(&pod);
                }
            }
        }
        for group in &mut self.groups {
            let gone: Vec<SmolStr> = group
                .instances
                .iter()
                .filter(|it| it.state == InstanceState::Deleting)
                .map(|it| it.provider_id.clone())
                .collect();
            group
                .instances
                .retain(|it| it.state != InstanceState::Deleting);
            let names: Vec<SmolStr> = self
                .nodes
                .values()
                .filter(|node| gone.contains(&node.provider_id))
                .map(|node| node.name.clone())
                .collect();
            for name in names {
                self.nodes.remove(&name);
                self.pods
                    .retain(|pod| pod.node_name.as_ref() != Some(&name));
            }
        }
    }

    fn recreate(&mut self, pod: &Pod) {
        let room = |node: &&Node| {
            let used: i64 = self
                .pods
                .iter()
                .filter(|it| it.node_name.as_ref() == Some(&node.name))
                .map(|it| it.shape.requests.milli_cpu)
                .sum();
            node.taints
                .iter()
                .all(|it| it.effect != windlass_model::Effect::NoSchedule)
                && !node.unschedulable
                && used + pod.shape.requests.milli_cpu <= 4000
        };
        let node = self.nodes.values().find(room).map(|node| node.name.clone());
        let owner = pod.shape.controller.as_ref().unwrap().name.clone();
        self.put(Arc::clone(&pod.shape), &owner, node.as_deref());
    }

    fn carry_out(&mut self, action: &Action) -> OutcomeResult {
        match action {
            Action::AddTaint {
                node,
                taint,
                cordon,
            } => {
                let Some(node) = self.nodes.get_mut(node) else {
                    return failed("NotFound");
                };
                if node.taint(&taint.key).is_none() {
                    node.taints.push(taint.clone());
                    node.unschedulable |= cordon;
                }
                OutcomeResult::Done
            }
            Action::RemoveTaint {
                node,
                key,
                uncordon,
            } => {
                let Some(node) = self.nodes.get_mut(node) else {
                    return failed("NotFound");
                };
                node.taints.retain(|taint| taint.key != *key);
                node.unschedulable &= !uncordon;
                OutcomeResult::Done
            }
            Action::Evict {
                pod,
                uid,
                grace_period_seconds,
                ..
            } => self.evict(pod, uid, *grace_period_seconds),
            Action::TerminateInstance {
                group, instance, ..
            } => {
                let group = self.groups.iter_mut().find(|it| it.name == *group).unwrap();
                let known = group
                    .instances
                    .iter_mut()
                    .find(|it| it.provider_id == *instance);
                let Some(known) = known else {
                    return failed("NotFound");
                };
                assert_eq!(known.state, InstanceState::Running, "terminated twice");
                known.state = InstanceState::Deleting;
                group.target_size -= 1;
                OutcomeResult::Done
            }
            // What removals do not plan.
            _ => OutcomeResult::Done,
        }
    }

    fn evict(&mut self, pod: &ObjectName, uid: &SmolStr, grace: i64) -> OutcomeResult {
        let Some(index) = self.pods.iter().position(|it| it.uid == *uid) else {
            return failed("NotFound");
        };
        let is_covered =
            |it: &&mut DisruptionBudget| it.covers(&pod.namespace, &self.pods[index].shape.labels);
        if self.pods[index].deletion_timestamp.is_none() {
            if let Some(budget) = self.budgets.iter_mut().find(is_covered) {
                if budget.disruptions_allowed < 1 {
                    return OutcomeResult::Refused {
                        message:
                            "Cannot evict pod as it would violate the pod's disruption budget."
                                .to_owned(),
                    };
                }
                budget.disruptions_allowed -= 1;
            }
            self.pods[index].deletion_timestamp = Some(self.now + seconds(grace.min(2)));
        }
        OutcomeResult::Done
    }

    pub(crate) fn node(&self, name: &str) -> &Node {
        &self.nodes[name]
    }

    /// Whether a node is as it was: neither tainted nor cordoned.
    pub(crate) fn is_clean(&self, name: &str) -> bool {
        let node = self.node(name);
        node.taint("ToBeDeletedByClusterAutoscaler").is_none() && !node.unschedulable
    }

    /// The times, in seconds from the start, at which actions were asked for that `wanted` takes.
    pub(crate) fn times(&self, wanted: impl Fn(&Action) -> bool) -> Vec<i64> {
        self.log
            .iter()
            .filter(|(_, action)| wanted(action))
            .map(|(at, _)| at.duration_since(start()).as_secs())
            .collect()
    }

    pub(crate) fn terminations(&self) -> Vec<i64> {
        self.times(|action| matches!(action, Action::TerminateInstance { .. }))
    }

    pub(crate) fn evicted(&self) -> Vec<SmolStr> {
        self.log
            .iter()
            .filter_map(|(_, action)| match action {
                Action::Evict { pod, .. } => Some(pod.name.clone()),
                _ => None,
            })
            .collect()
    }

    #[track_caller]
    pub(crate) fn assert_event(&self, reason: &str, text: &str) {
        let found = self
            .events
            .iter()
            .any(|event| event.reason == reason && event.message.contains(text));
        assert!(
            found,
            "no event {reason} with {text:?} in {:#?}",
            self.events
        );
    }
}
