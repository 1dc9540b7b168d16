mod html;

use std::fmt::Write;

use serde::Serialize;
use serde::ser::Serializer;
use windlass_model::{Duration, MicroDollars, format_go_duration};

/// What came of playing a scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    api_version: &'static str,
    kind: &'static str,
    /// What happened, in order.
    pub timeline: Vec<Entry>,
    /// What it comes to.
    pub summary: Summary,
    /// What there was over time; a sample holds until the next.
    #[serde(skip)]
    series: Vec<Sample>,
}

/// What there is from a time on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Since the start.
    pub(crate) at: Duration,
    pub(crate) counts: Counts,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// When, since the start.
    #[serde(serialize_with = "go_duration")]
    pub at: Duration,
    /// Who did it: `timeline`, `pods`, `scheduler`, `scale-up`, `scale-down`, `nodes`, `cloud`,
    /// `check`.
    pub kind: &'static str,
    /// What, for people.
    pub text: String,
    /// What there was once everything of that instant had happened.
    pub after: Counts,
}

/// What there is at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Registered nodes.
    pub nodes: usize,
    /// Pods on nodes.
    pub running: usize,
    /// Pods without a node.
    pub pending: usize,
}

/// What a stretch of simulated time comes to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// How long was played.
    #[serde(serialize_with = "go_duration")]
    pub duration: Duration,
    /// Decisions taken.
    pub loops: usize,
    /// Nodes that joined.
    pub nodes_added: usize,
    /// Nodes that went.
    pub nodes_removed: usize,
    /// Pods evicted by the autoscaler.
    pub pods_evicted: usize,
    /// Instances, from their request to their termination, and nodes of no group, times hours.
    pub node_hours: f64,
    /// Pods without a node, times seconds.
    pub pending_pod_seconds: f64,
    /// What the instances of groups with a price cost, in dollars; `null` where no group has one.
    #[serde(serialize_with = "dollars")]
    pub cost: Option<MicroDollars>,
    /// Plans that broke a rule and were not carried out.
    pub refused_plans: usize,
}

fn go_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_go_duration(*duration))
}

#[expect(
    clippy::ref_option,
    reason = "the signature that serde's serialize_with asks for"
)]
fn dollars<S: Serializer>(cost: &Option<MicroDollars>, serializer: S) -> Result<S::Ok, S::Error> {
    cost.map(MicroDollars::as_dollars).serialize(serializer)
}

impl Report {
    pub(crate) fn new(timeline: Vec<Entry>, series: Vec<Sample>, summary: Summary) -> Self {
        Self {
            api_version: "windlass.dev/v1alpha1",
            kind: "Report",
            timeline,
            summary,
            series,
        }
    }

    /// The report as a JSON document, indented by two spaces and ended by a newline.
    ///
    /// # Panics
    ///
    /// Never: nothing in the report can fail to be written.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self)
            .expect("the report's keys are strings and its values plain");
        text.push('\n');
        text
    }
}

/// The heading above [`Entry::to_line`]'s columns.
pub const HEADING: &str = "      TIME  NODES   PODS  PENDING  WHAT";

impl Entry {
    /// The entry as a line of columns, without its end.
    pub fn to_line(&self) -> String {
        format!(
            "{:>10}  {:>5}  {:>5}  {:>7}  {:<10}  {}",
            format_go_duration(self.at),
            self.after.nodes,
            self.after.running,
            self.after.pending,
            self.kind,
            self.text
        )
    }
}

impl Summary {
    /// The summary as lines for people.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.figures() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<22}{value}");
        }
        text
    }

    /// What people are told: name and value.
    fn figures(&self) -> Vec<(&'static str, String)> {
        let mut figures = vec![
            ("simulated", format_go_duration(self.duration)),
            ("decisions", self.loops.to_string()),
            ("nodes added", self.nodes_added.to_string()),
            ("nodes removed", self.nodes_removed.to_string()),
            ("pods evicted", self.pods_evicted.to_string()),
            ("node hours", format!("{:.2}", self.node_hours)),
            (
                "pending pod seconds",
                format!("{:.0}", self.pending_pod_seconds),
            ),
        ];
        if let Some(cost) = self.cost {
            figures.push(("cost", format!("${:.4}", cost.as_dollars())));
        }
        if self.refused_plans > 0 {
            figures.push(("plans refused", self.refused_plans.to_string()));
        }
        figures
    }
}
