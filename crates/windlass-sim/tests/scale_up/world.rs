//! A scenario in a few lines, and what one loop after the other decides of it.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use windlass_core::{
    Action, Budget, Decision, Event, EventObject, EventType, Input, Memory, NoTimeLimits, Outcome,
    OutcomeResult, TimeLimit, check, decide, prepare,
};
use windlass_model::{Cluster, Duration, Timestamp, parse_go_duration};
use windlass_sim::{Scenario, ScenarioReader};

/// Documents of a scenario, and its flags.
#[derive(Clone, Default)]
pub(crate) struct Documents {
    text: String,
    flags: Vec<String>,
}

pub(crate) fn flags(flags: &[&str]) -> Documents {
    Documents::default().flags(flags)
}

impl Documents {
    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    /// Another document, as YAML.
    pub(crate) fn document(mut self, yaml: &str) -> Self {
        self.text.push_str(yaml);
        self.text.push_str("\n---\n");
        self
    }

    /// A group of nodes of so many cores and as many times 4 GiB, with these lines more in its
    /// specification.
    pub(crate) fn group(self, name: &str, cores: u32, more: &str) -> Self {
        self.labelled_group(name, cores, "", more)
    }

    /// The same with labels on its template, in flow style.
    pub(crate) fn labelled_group(self, name: &str, cores: u32, labels: &str, more: &str) -> Self {
        let memory = cores * 4;
        let size = if more.contains("maxSize") {
            ""
        } else {
            ", maxSize: 10"
        };
        let more = if more.is_empty() {
            String::new()
        } else {
            format!(", {more}")
        };
        self.document(&format!(
            "{{apiVersion: windlass.dev/v1alpha1, kind: NodeGroup, metadata: {{name: {name}}}, spec: \
             {{minSize: 0{size}, template: {{metadata: {{labels: {{{labels}}}}}, spec: {{}}, status: \
             {{capacity: {{cpu: {cores}, memory: {memory}Gi, pods: 20}}}}}}{more}}}}}"
        ))
    }

    /// A ready node of four cores in a group, old enough to be a model, with these fields more in
    /// its specification and metadata.
    pub(crate) fn node(self, name: &str, group: &str, spec: &str, labels: &str) -> Self {
        self.node_in_state(name, group, spec, labels, "'True'")
    }

    /// The same with this status of the condition `Ready`.
    pub(crate) fn node_in_state(
        self,
        name: &str,
        group: &str,
        spec: &str,
        labels: &str,
        ready: &str,
    ) -> Self {
        let spec = if spec.is_empty() {
            String::new()
        } else {
            format!(", {spec}")
        };
        let mut all_labels = format!("kubernetes.io/hostname: {name}");
        if !group.is_empty() {
            let _ = write!(all_labels, ", windlass.dev/node-group: {group}");
        }
        if !labels.is_empty() {
            let _ = write!(all_labels, ", {labels}");
        }
        self.document(&format!(
            "{{apiVersion: v1, kind: Node, metadata: {{name: {name}, creationTimestamp: \
             '2025-12-31T00:00:00Z', labels: {{{all_labels}}}}}, spec: {{providerID: \
             'aws:///z/{name}'{spec}}}, status: {{capacity: {{cpu: 4, memory: 16Gi, pods: 20}}, \
             allocatable: {{cpu: 4, memory: 16Gi, pods: 20}}, conditions: [{{type: Ready, status: \
             {ready}, lastTransitionTime: '2025-12-31T00:10:00Z'}}]}}}}"
        ))
    }

    /// Pending pods `NAME-0`, `NAME-1`, … that ask for so much cpu, with these fields more in
    /// their specification.
    pub(crate) fn pods(mut self, name: &str, count: usize, cpu: &str, spec: &str) -> Self {
        let spec = if spec.is_empty() {
            String::new()
        } else {
            format!(", {spec}")
        };
        for number in 0..count {
            self = self.document(&format!(
                "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}-{number}, labels: {{app: \
                 {name}}}, creationTimestamp: '2025-12-31T00:00:00Z'}}, spec: {{containers: [{{name: \
                 c, resources: {{requests: {{cpu: {cpu}}}}}}}]{spec}}}, status: {{conditions: \
                 [{{type: PodScheduled, status: 'False', reason: Unschedulable}}]}}}}"
            ));
        }
        self
    }

    /// The scenario that they are.
    pub(crate) fn scenario(&self) -> Scenario {
        let flags = self.flags.iter().map(|flag| format!("{flag:?}"));
        let flags = flags.collect::<Vec<_>>().join(", ");
        let text = format!(
            "{}{{apiVersion: windlass.dev/v1alpha1, kind: Simulation, metadata: {{name: s}}, spec: \
             {{flags: [{flags}]}}}}\n",
            self.text
        );
        let mut reader = ScenarioReader::new();
        reader.read("scenario", &text).unwrap();
        reader.finish().unwrap()
    }

    /// What a fresh autoscaler's first loop decides.
    pub(crate) fn decide(&self) -> Decision {
        Loops::new(self).decide()
    }

    /// How groups grow in that loop: `a 0->2, b 1->3`.
    pub(crate) fn growth(&self) -> String {
        growth(&self.decide())
    }
}

/// One loop after the other on a cluster that a test changes in between.
pub(crate) struct Loops {
    pub(crate) cluster: Cluster,
    pub(crate) scenario: Scenario,
    pub(crate) memory: Memory,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) now: Timestamp,
}

impl Loops {
    pub(crate) fn new(documents: &Documents) -> Self {
        let scenario = documents.scenario();
        Self {
            cluster: scenario.cluster(),
            memory: Memory::default(),
            outcomes: Vec::new(),
            now: scenario.now,
            scenario,
        }
    }

    /// Lets time pass: `90s`, `15m1s`.
    pub(crate) fn pass(&mut self, time: &str) {
        self.now += parse_go_duration(time).unwrap();
    }

    /// Decides, judges the plan, and remembers.
    pub(crate) fn decide(&mut self) -> Decision {
        self.decide_within(&NoTimeLimits)
    }

    pub(crate) fn decide_within(&mut self, budget: &dyn Budget) -> Decision {
        let input = Input {
            cluster: &self.cluster,
            memory: &self.memory,
            outcomes: &self.outcomes,
            config: &self.scenario.config,
            now: self.now,
            budget,
        };
        let decision = decide(&input, prepare(&self.cluster, &self.scenario.config));
        let violations = check(&input, &decision.plan);
        assert!(violations.is_empty(), "{violations:?}");
        self.memory = decision.memory.clone();
        self.outcomes.clear();
        decision
    }

    /// The cloud does what the plan asks of it: target sizes change, and nothing comes yet.
    pub(crate) fn carry_out(&mut self, decision: &Decision) {
        for action in &decision.plan.actions {
            let change = match action {
                Action::IncreaseSize(resize) => Some((&resize.group, resize.to)),
                Action::DecreaseTargetSize { group, to, .. } => Some((group, *to)),
                _ => None,
            };
            if let Some((name, size)) = change {
                self.group(name).target_size = size;
            }
            self.tell(action.clone(), OutcomeResult::Done);
        }
    }

    /// The cloud refuses every growth that the plan asks for.
    pub(crate) fn fail_growth(&mut self, decision: &Decision) {
        for action in &decision.plan.actions {
            if matches!(action, Action::IncreaseSize(_)) {
                let result = OutcomeResult::Failed {
                    code: "cloudProviderError".into(),
                    message: "no capacity".to_owned(),
                };
                self.tell(action.clone(), result);
            }
        }
    }

    fn tell(&mut self, action: Action, result: OutcomeResult) {
        self.outcomes.push(Outcome { action, result });
    }

    pub(crate) fn group(&mut self, name: &str) -> &mut windlass_model::NodeGroup {
        let groups = &mut self.cluster.groups;
        groups.iter_mut().find(|group| group.name == name).unwrap()
    }
}

/// How groups grow: `a 0->2, b 1->3`.
pub(crate) fn growth(decision: &Decision) -> String {
    let resizes = decision.plan.scale_up.resizes.iter();
    let texts: Vec<String> = resizes
        .map(|resize| format!("{} {}->{}", resize.group, resize.from, resize.to))
        .collect();
    texts.join(", ")
}

/// Events as `kubectl get events` shows them: `Warning Reason status: message`.
pub(crate) fn events(decision: &Decision) -> Vec<String> {
    decision.plan.events.iter().map(describe).collect()
}

fn describe(event: &Event) -> String {
    let kind = match event.kind {
        EventType::Normal => "Normal",
        EventType::Warning => "Warning",
    };
    let object = match &event.object {
        EventObject::Status => "status".to_owned(),
        EventObject::Pod(name) => format!("pod {name}"),
        EventObject::Node(name) => format!("node {name}"),
        EventObject::PriorityExpander => "priority-expander".to_owned(),
        EventObject::CapacityBuffer(name) => format!("buffer {name}"),
    };
    format!("{kind} {} {object}: {}", event.reason, event.message)
}

/// The reasons of the first unschedulable pod for a group.
pub(crate) fn reasons(decision: &Decision, group: &str) -> Vec<String> {
    let Some((_, reasons)) = decision.plan.pods.unschedulable.first() else {
        return Vec::new();
    };
    let own = reasons.get(group).into_iter().flatten();
    own.map(ToString::to_string).collect()
}

/// A clock that strikes once a limit has been asked about so often.
pub(crate) struct StrikesAfter {
    limit: TimeLimit,
    left: AtomicU32,
}

impl StrikesAfter {
    pub(crate) fn new(limit: TimeLimit, questions: u32) -> Self {
        Self {
            limit,
            left: AtomicU32::new(questions),
        }
    }
}

impl Budget for StrikesAfter {
    fn start(&self, _: TimeLimit, _: Duration) {}

    fn is_spent(&self, limit: TimeLimit) -> bool {
        limit == self.limit
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    left.checked_sub(1)
                })
                .is_err()
    }
}

/// Keeps in mind for how long each limit was started.
#[derive(Default)]
pub(crate) struct Started(pub(crate) Mutex<Vec<(TimeLimit, Duration)>>);

impl Budget for Started {
    fn start(&self, limit: TimeLimit, allowed: Duration) {
        self.0.lock().unwrap().push((limit, allowed));
    }

    fn is_spent(&self, _: TimeLimit) -> bool {
        false
    }
}
