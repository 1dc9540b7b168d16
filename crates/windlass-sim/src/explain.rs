//! Why a pod is pending, why a node stays, why a group does not grow: the decision's own reasons
//! with their numbers, and the smallest change that would help. Every change that is named has
//! been tried: the loop was decided once more with it, and it did help.

mod checks;
mod effective;
mod group;
mod node;
mod pod;

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;
use windlass_config::Config;
use windlass_core::cluster_state::Backoff;
use windlass_core::{Input, Memory, NoTimeLimits, Plan, decide, prepare_with, templates};
use windlass_model::{Cluster, NodeGroup, NodeTemplate, ObjectName, SmolStr, Timestamp};
use windlass_scheduler::{Profiles, Snapshot};

/// What an explanation is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A pod.
    Pod(ObjectName),
    /// A node.
    Node(SmolStr),
    /// A node group.
    Group(SmolStr),
}

/// An answer to "why".
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    api_version: &'static str,
    kind: &'static str,
    subject: Named,
    /// One word of a closed list, by kind of subject.
    pub verdict: &'static str,
    /// A sentence.
    pub summary: String,
    /// The checks that failed, group by group.
    pub chain: Vec<Link>,
    /// The smallest change that would help; empty where none was found.
    pub change: Vec<Change>,
    /// Of a group: what its next node is taken for, value by value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub template: Vec<TemplatePart>,
}

/// One value of what a group's next node is taken for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TemplatePart {
    /// Which, such as `label team` or `allocatable memory`.
    pub part: String,
    /// The value.
    pub value: String,
    /// Where it is from.
    pub source: String,
}

/// The source of parts that are as the cloud describes the group.
pub const DESCRIPTION: &str = "the cloud's description";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Named {
    kind: &'static str,
    name: String,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The group.
    pub group: SmolStr,
    /// The scheduler's plugin, `MaxSize`, or the reason's name.
    pub check: SmolStr,
    /// What there is.
    pub have: String,
    /// What there would have to be.
    pub need: String,
    /// Of what: `nodes`, a resource's name, or empty.
    pub unit: SmolStr,
}

/// A field that would have to be another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The field.
    pub what: String,
    /// What it is.
    pub from: String,
    /// What it would be.
    pub to: String,
}

/// Why nothing can be explained.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExplainError {
    /// There is no such object.
    #[error("there is no {kind} {name}")]
    NotFound {
        /// `pod`, `node` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
    },
}

/// Explains a subject as the autoscaler sees it at `now`, with what it remembers.
pub fn explain(
    cluster: &Cluster,
    config: &Config,
    profiles: &Profiles,
    memory: &Memory,
    now: Timestamp,
    subject: &Subject,
) -> Result<Explanation, ExplainError> {
    // A verdict that is remembered says that somebody has looked, not what there was to see.
    let mut memory = memory.clone();
    memory.unremovable.clear();
    let memory = &memory;
    let input = Input {
        cluster,
        memory,
        outcomes: &[],
        config,
        now,
        budget: &NoTimeLimits,
    };
    let snapshot = prepare_with(cluster, config, profiles);
    let decision = decide(&input, snapshot.clone());
    let view = View {
        cluster,
        config,
        profiles,
        memory,
        now,
        templates: templates(&input, snapshot.clone()),
        plan: decision.plan,
        backoffs: decision.memory.backoffs,
    };
    match subject {
        Subject::Pod(name) => pod::explain(&view, snapshot, name),
        Subject::Node(name) => node::explain(&view, name),
        Subject::Group(name) => {
            let template = effective::parts(&input, snapshot.clone(), name);
            Ok(Explanation {
                template,
                ..group::explain(&view, snapshot, name)?
            })
        }
    }
}

/// A decision, and what it was made from.
struct View<'a> {
    cluster: &'a Cluster,
    config: &'a Config,
    profiles: &'a Profiles,
    memory: &'a Memory,
    now: Timestamp,
    templates: Vec<Option<NodeTemplate>>,
    plan: Plan,
    /// Why groups are left alone after a scale-up that failed.
    backoffs: BTreeMap<SmolStr, Backoff>,
}

impl View<'_> {
    /// What the same loop would have decided of another cluster, or under other flags.
    fn plan_of(&self, cluster: &Cluster, config: &Config) -> Plan {
        let input = Input {
            cluster,
            memory: self.memory,
            outcomes: &[],
            config,
            now: self.now,
            budget: &NoTimeLimits,
        };
        decide(&input, prepare_with(cluster, config, self.profiles)).plan
    }

    /// The cluster with a group changed.
    fn with_group(&self, name: &str, change: impl FnOnce(&mut NodeGroup)) -> Cluster {
        let mut cluster = self.cluster.clone();
        let group = cluster.groups.iter_mut().find(|group| group.name == name);
        if let Some(group) = group {
            change(group);
        }
        cluster
    }
}

impl Explanation {
    fn new(kind: &'static str, name: String, verdict: &'static str, summary: String) -> Self {
        Self {
            api_version: "windlass.dev/v1alpha1",
            kind: "Explanation",
            subject: Named { kind, name },
            verdict,
            summary,
            chain: Vec::new(),
            change: Vec::new(),
            template: Vec::new(),
        }
    }

    /// The explanation as a JSON document, indented by two spaces and ended by a newline.
    ///
    /// # Panics
    ///
    /// Never: nothing in the explanation can fail to be written.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("the explanation's keys are strings and its values plain");
        text.push('\n');
        text
    }

    /// The explanation for people.
    pub fn to_text(&self) -> String {
        let Named { kind, name } = &self.subject;
        let mut text = format!("{kind} {name}: {}\n{}\n", self.verdict, self.summary);
        let width = |of: fn(&Link) -> &str| {
            let lengths = self.chain.iter().map(|link| of(link).len());
            lengths.max().unwrap_or(0)
        };
        let group_width = width(|link| &link.group);
        let check_width = width(|link| &link.check);
        for link in &self.chain {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "  {:group_width$}  {:check_width$}  {}",
                link.group,
                link.check,
                link.describe()
            );
        }
        for Change { what, from, to } in &self.change {
            let _ = match (from.as_str(), to.as_str()) {
                ("", to) => writeln!(text, "would help: {what}: add {to}"),
                (from, "") => writeln!(text, "would help: {what}: without {from}"),
                (from, to) => writeln!(text, "would help: {what}: {to} instead of {from}"),
            };
        }
        text.push_str(&effective::to_text(&self.template));
        text
    }
}

impl Link {
    fn describe(&self) -> String {
        let unit = if self.unit.is_empty() {
            String::new()
        } else {
            format!(" {}", self.unit)
        };
        match (self.have.as_str(), self.need.as_str()) {
            ("", "") => String::new(),
            (have, "") => format!("{have}{unit}"),
            ("", need) => format!("needs {need}{unit}"),
            (have, need) => format!("has {have}, needs {need}{unit}"),
        }
    }
}

/// A snapshot with one new node of a group in it, undone once `ask` has answered.
fn with_new_node<T>(
    snapshot: &mut Snapshot,
    template: &NodeTemplate,
    ask: impl FnOnce(&mut Snapshot, windlass_scheduler::NodeId) -> T,
) -> T {
    snapshot.fork();
    let node = snapshot.add_node_with(
        std::sync::Arc::clone(&template.node),
        &template.resource_slices,
        template.csi_node.clone(),
    );
    for pod in &template.pods {
        snapshot.add_pod(pod, node);
    }
    let answer = ask(snapshot, node);
    snapshot.revert();
    answer
}
