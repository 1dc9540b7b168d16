//! A cluster around the provider: instances become nodes, pods are placed, and the production
//! decisions are carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;
use windlass_aws::{Aws, Cancellation, Floor};
use windlass_config::Config;
use windlass_core::{
    Action, Decision, Event, Input, Memory, NoTimeLimits, Outcome, OutcomeResult, check, decide,
    prepare,
};
use windlass_model::{
    Cluster, Duration, Node, NodeGroup, ObjectName, OwnerReference, Phase, Pod, PodScheduled,
    PodShape, Resources, SmolStr, Timestamp, Workload, WorkloadKind,
};

use crate::cloud::Cloud;

pub(crate) struct World {
    pub(crate) cloud: Cloud,
    pub(crate) aws: Aws,
    config: Arc<Config>,
    memory: Memory,
    outcomes: Vec<Outcome>,
    in_flight: JoinSet<Outcome>,
    under_way: Vec<Action>,
    /// By instance id.
    nodes: BTreeMap<String, Node>,
    pods: BTreeMap<SmolStr, Pod>,
    since: BTreeMap<String, Timestamp>,
    /// Groups whose instances become nodes, and after what time; the others' never do.
    pub(crate) boots: BTreeMap<String, Duration>,
    /// Every instance that a plan has named to be ended.
    pub(crate) named: BTreeSet<String>,
    /// Every action that was begun.
    pub(crate) actions: Vec<Action>,
    pub(crate) events: Vec<Event>,
    /// Why groups were passed over in the last loop.
    pub(crate) skipped: Vec<(SmolStr, String)>,
    shape: Arc<PodShape>,
    made: u32,
}

impl World {
    pub(crate) fn new(cloud: Cloud, aws: Aws, flags: &[&str]) -> Self {
        let (config, _) = Config::parse(flags).unwrap();
        let shape = PodShape {
            namespace: "default".into(),
            controller: Some(OwnerReference {
                api_version: "apps/v1".into(),
                kind: "ReplicaSet".into(),
                name: "web".into(),
                uid: "uid-web".into(),
            }),
            requests: Resources {
                milli_cpu: 1500,
                memory_bytes: 1 << 20,
                ..Resources::default()
            },
            ..PodShape::default()
        };
        Self {
            cloud,
            aws,
            config: Arc::new(config),
            memory: Memory::default(),
            outcomes: Vec::new(),
            in_flight: JoinSet::new(),
            under_way: Vec::new(),
            nodes: BTreeMap::new(),
            pods: BTreeMap::new(),
            since: BTreeMap::new(),
            boots: BTreeMap::new(),
            named: BTreeSet::new(),
            actions: Vec::new(),
            events: Vec::new(),
            skipped: Vec::new(),
            shape: Arc::new(shape),
            made: 0,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.aws.client().now()
    }

    /// Brings the number of pods to that; each fills a node.
    pub(crate) fn want_pods(&mut self, count: usize) {
        while self.pods.len() < count {
            self.made += 1;
            let name: SmolStr = format!("web-{}", self.made).into();
            let pod = Pod {
                name: name.clone(),
                uid: format!("uid-{name}").into(),
                shape: Arc::clone(&self.shape),
                resized_requests: None,
                created_at: Some(self.now()),
                deletion_timestamp: None,
                node_name: None,
                nominated_node_name: None,
                phase: Phase::Pending,
                scheduled: PodScheduled::Unschedulable {
                    since: Some(self.now()),
                },
                is_ready: false,
            };
            self.pods.insert(name, pod);
        }
        while self.pods.len() > count {
            self.pods.pop_last();
        }
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// One loop: refresh, as far as that is due, what kubelets and the scheduler would have done
    /// by now, decide, check, act.
    pub(crate) async fn step(&mut self) {
        if self.aws.next_refresh() <= self.now() {
            self.aws.refresh().await;
        }
        self.join_and_leave();
        self.schedule();
        while let Some(done) = self.in_flight.try_join_next() {
            self.settle(done.expect("no action panics"));
        }
        self.aws.learn(self.nodes.values());
        let cluster = self.cluster();
        let now = self.now();
        let outcomes = std::mem::take(&mut self.outcomes);
        let input = Input {
            cluster: &cluster,
            memory: &self.memory,
            outcomes: &outcomes,
            config: &self.config,
            now,
            budget: &NoTimeLimits,
        };
        let Decision { plan, memory } = decide(&input, prepare(&cluster, &self.config));
        let violations: Vec<String> = check(&input, &plan)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(violations, Vec::<String>::new());
        self.memory = memory;
        self.skipped.clone_from(&plan.scale_up.skipped_groups);
        self.events.extend(plan.events);
        for action in plan.actions {
            self.begin(action);
        }
    }

    /// Waits for all actions that are under way.
    pub(crate) async fn finish_actions(&mut self) {
        while let Some(done) = self.in_flight.join_next().await {
            self.settle(done.expect("no action panics"));
        }
    }

    fn cluster(&self) -> Cluster {
        let workload = Workload {
            kind: WorkloadKind::ReplicaSet,
            name: ObjectName::new("default", "web"),
            uid: "uid-web".into(),
            created_at: None,
            replicas: Some(3),
            completions: None,
            current_replicas: 3,
            succeeded: 0,
            selector: None,
            is_parallel: false,
            template: None,
        };
        Cluster {
            nodes: self.nodes.values().cloned().map(Arc::new).collect(),
            pods: self.pods.values().cloned().map(Arc::new).collect(),
            groups: self.aws.node_groups(),
            workloads: vec![Arc::new(workload)],
            current_at: self.aws.age().map(|age| self.now() - age),
            ..Cluster::default()
        }
    }

    /// What is really there, whatever AWS's listings show.
    fn join_and_leave(&mut self) {
        let now = self.now();
        let mut there = BTreeSet::new();
        let templates: BTreeMap<SmolStr, NodeGroup> = self
            .aws
            .node_groups()
            .into_iter()
            .map(|group| (group.name.clone(), group))
            .collect();
        for (group, boot) in &self.boots {
            for (id, zone) in self.cloud.fake.instances(group) {
                let since = *self.since.entry(id.clone()).or_insert(now);
                there.insert(id.clone());
                let template = templates
                    .get(group.as_str())
                    .and_then(|group| group.template.as_ref());
                let is_due = since + *boot <= now;
                if let Some(template) = template
                    && is_due
                    && !self.nodes.contains_key(&id)
                {
                    let mut node = (*template.node).clone();
                    node.name = id.as_str().into();
                    node.uid = format!("uid-{id}").into();
                    node.provider_id = format!("aws:///{zone}/{id}").into();
                    node.created_at = Some(now);
                    for condition in &mut node.conditions {
                        condition.last_transition = Some(now);
                    }
                    node.labels
                        .insert("kubernetes.io/hostname", node.name.clone());
                    self.nodes.insert(id, node);
                }
            }
        }
        self.nodes.retain(|id, _| there.contains(id));
        for pod in self.pods.values_mut() {
            let is_lost = pod
                .node_name
                .as_ref()
                .is_some_and(|node| !self.nodes.contains_key(node.as_str()));
            if is_lost {
                put_back(pod, now);
            }
        }
    }

    /// One pod to a node that is not on its way out.
    fn schedule(&mut self) {
        let taken: BTreeSet<SmolStr> = self
            .pods
            .values()
            .filter_map(|pod| pod.node_name.clone())
            .collect();
        let mut free = self
            .nodes
            .values()
            .filter(|node| !taken.contains(&node.name))
            .filter(|node| node.taints.is_empty() && !node.unschedulable)
            .map(|node| node.name.clone());
        for pod in self.pods.values_mut() {
            if pod.node_name.is_some() {
                continue;
            }
            let Some(node) = free.next() else {
                return;
            };
            pod.node_name = Some(node);
            pod.phase = Phase::Running;
            pod.scheduled = PodScheduled::Scheduled;
            pod.is_ready = true;
        }
    }

    fn begin(&mut self, action: Action) {
        if self.under_way.contains(&action) {
            return;
        }
        match &action {
            Action::AddTaint {
                node,
                taint,
                cordon,
            } => {
                if let Some(node) = self.nodes.get_mut(node.as_str()) {
                    node.taints.retain(|other| other.key != taint.key);
                    node.taints.push(taint.clone());
                    node.unschedulable |= cordon;
                }
                return self.done(action);
            }
            Action::RemoveTaint {
                node,
                key,
                uncordon,
            } => {
                if let Some(node) = self.nodes.get_mut(node.as_str()) {
                    node.taints.retain(|taint| taint.key != *key);
                    node.unschedulable &= !uncordon;
                }
                return self.done(action);
            }
            Action::Evict { pod, .. } => {
                let now = self.now();
                if let Some(pod) = self.pods.get_mut(&pod.name) {
                    put_back(pod, now);
                }
                return self.done(action);
            }
            Action::TerminateInstance { instance, .. } => self.name(instance),
            Action::DeleteInstances { instances, .. } => {
                for instance in instances {
                    self.name(instance);
                }
            }
            // Sizes name nobody, and of the other kinds none comes about here.
            _ => {}
        }
        self.actions.push(action.clone());
        self.under_way.push(action.clone());
        let aws = self.aws.clone();
        self.in_flight.spawn(async move {
            let result = perform(&aws, &action).await;
            Outcome { action, result }
        });
    }

    fn name(&mut self, provider_id: &str) {
        let id = provider_id.rsplit('/').next().unwrap_or_default();
        self.named.insert(id.to_owned());
    }

    fn done(&mut self, action: Action) {
        self.outcomes.push(Outcome {
            action,
            result: OutcomeResult::Done,
        });
    }

    fn settle(&mut self, outcome: Outcome) {
        self.under_way.retain(|action| *action != outcome.action);
        self.outcomes.push(outcome);
    }
}

fn put_back(pod: &mut Pod, now: Timestamp) {
    pod.node_name = None;
    pod.phase = Phase::Pending;
    pod.is_ready = false;
    pod.scheduled = PodScheduled::Unschedulable { since: Some(now) };
}

/// As the shell does it.
async fn perform(aws: &Aws, action: &Action) -> OutcomeResult {
    let failed = |error: windlass_aws::ActionError| OutcomeResult::Failed {
        code: error.code().into(),
        message: error.to_string(),
    };
    let cancelled = |cancelled| match cancelled {
        Ok(Cancellation::Postponed(because)) => OutcomeResult::Refused {
            message: format!("{because}"),
        },
        Ok(_) => OutcomeResult::Done,
        Err(error) => failed(error),
    };
    match action {
        Action::IncreaseSize(resize) => match aws
            .increase_in(&resize.group, resize.to, resize.zone.as_deref())
            .await
        {
            Ok(_) => OutcomeResult::Done,
            Err(error) => failed(error),
        },
        Action::DecreaseTargetSize { group, from, to } => {
            let requests = u32::try_from(from - to).unwrap_or(0);
            cancelled(aws.cancel(group, requests).await)
        }
        Action::DeleteInstances {
            group, instances, ..
        } => {
            let ids: Vec<String> = instances.iter().map(ToString::to_string).collect();
            let (deletions, requests) =
                aws.delete_instances(group, &ids, Floor::GroupMinimum).await;
            let error = deletions
                .into_iter()
                .find_map(|deletion| deletion.result.err());
            match (error, requests) {
                (Some(error), _) => failed(error),
                (None, Some(requests)) => cancelled(requests),
                (None, None) => OutcomeResult::Done,
            }
        }
        Action::TerminateInstance {
            group, instance, ..
        } => match aws.terminate(group, instance, Floor::GroupMinimum).await {
            Ok(_) => OutcomeResult::Done,
            Err(error) => failed(error),
        },
        other => unreachable!("not the provider's: {other:?}"),
    }
}
