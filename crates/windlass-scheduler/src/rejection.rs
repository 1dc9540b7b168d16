use std::fmt::Write;

use windlass_model::{Node, Pod, SmolStr, Taint};

use crate::plugin::Plugin;

/// At which step a pod was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// `PreFilter` failed: the pod fits on no node.
    PreFilter,
    /// `PreFilter` named the nodes in question, and this is not one.
    PreFilterResult,
    /// The node's Filter failed.
    Filter,
}

impl Phase {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PreFilter => "PreFilter",
            Self::PreFilterResult => "PreFilterResult",
            Self::Filter => "Filter",
        }
    }
}

/// The scheduler's status code of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Preemption could help.
    Unschedulable,
    /// Preemption could not help.
    UnschedulableAndUnresolvable,
    /// The check itself failed.
    Error,
}

impl Code {
    /// The scheduler's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unschedulable => "Unschedulable",
            Self::UnschedulableAndUnresolvable => "UnschedulableAndUnresolvable",
            Self::Error => "Error",
        }
    }
}

/// Why a pod does not fit on a node: the first plugin, in order, that said no.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rejection {
    /// At which step.
    pub phase: Phase,
    /// The plugin; for [`Phase::PreFilterResult`] those that named nodes, sorted and joined by
    /// `, `; empty when none of them alone is to blame.
    pub plugin: SmolStr,
    /// The status code.
    pub code: Code,
    /// The plugin's reasons, in its words; may be empty.
    pub reasons: Vec<SmolStr>,
}

impl Rejection {
    /// The cluster-autoscaler's text of it, for logs and events.
    /// Source: `simulator/clustersnapshot` `SchedulingError`.
    pub fn scheduling_error(&self, pod: &Pod, node: &Node) -> String {
        let mut details = vec![format!("predicateReasons=[{}]", self.reasons.join(", "))];
        if self.phase == Phase::Filter {
            details.push(format!("debugInfo={}", self.debug_info(node)));
        }
        match (self.phase, self.code) {
            (Phase::PreFilter, _) => details.push("unexpectedError=PreFilter failed".to_owned()),
            (Phase::PreFilterResult, _) => {
                details.push("unexpectedError=PreFilter filtered the Node out".to_owned());
            }
            (Phase::Filter, Code::Error) => {
                details.push("unexpectedError=unexpected filter status \"Error\"".to_owned());
            }
            (Phase::Filter, _) => {}
        }
        format!(
            "can't schedule pod {}: predicate {:?} didn't pass ({})",
            pod.full_name(),
            self.plugin,
            details.join("; ")
        )
    }

    fn debug_info(&self, node: &Node) -> String {
        let mut info = format!("nodeName: {:?}", node.name);
        if self.plugin == Plugin::TaintToleration.name() {
            let taints: Vec<String> = node.taints.iter().map(go_taint).collect();
            let list = if taints.is_empty() {
                "(nil)".to_owned()
            } else {
                format!("{{{}}}", taints.join(", "))
            };
            let _ = write!(info, ", nodeTaints: []v1.Taint{list}");
        }
        info
    }
}

/// A taint as Go prints it with `%#v`.
fn go_taint(taint: &Taint) -> String {
    let time_added = taint.time_added.map_or_else(
        || "<nil>".to_owned(),
        |time| {
            let time = time.to_zoned(jiff::tz::TimeZone::UTC);
            format!(
                "time.Date({}, time.{}, {}, {}, {}, {}, {}, time.Local)",
                time.year(),
                time.strftime("%B"),
                time.day(),
                time.hour(),
                time.minute(),
                time.second(),
                time.subsec_nanosecond()
            )
        },
    );
    format!(
        "v1.Taint{{Key:{:?}, Value:{:?}, Effect:{:?}, TimeAdded:{time_added}}}",
        taint.key,
        taint.value,
        taint.effect.as_str()
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windlass_model::{Cluster, Phase as PodPhase, PodScheduled};

    use super::*;
    use crate::{Profile, Snapshot};

    #[test]
    fn a_taint_is_told_in_the_autoscalers_words() {
        let taint = |time_added: Option<&str>| Taint {
            key: "k".into(),
            value: "v".into(),
            effect: "NoSchedule".into(),
            time_added: time_added.map(|time| time.parse().unwrap()),
        };
        let node = Arc::new(Node {
            name: "n".into(),
            taints: vec![taint(None), taint(Some("2024-01-02T03:04:05Z"))],
            ..Node::default()
        });
        let pod = Arc::new(Pod {
            name: "p".into(),
            uid: SmolStr::default(),
            shape: Arc::default(),
            resized_requests: None,
            created_at: None,
            deletion_timestamp: None,
            node_name: None,
            nominated_node_name: None,
            phase: PodPhase::Pending,
            scheduled: PodScheduled::Absent,
            is_ready: false,
        });
        let mut snapshot = Snapshot::new(&Cluster::default(), &Profile::default());
        let id = snapshot.add_node(Arc::clone(&node));
        let rejection = snapshot.check(&pod, id).unwrap_err();
        assert_eq!(
            rejection.scheduling_error(&pod, &node),
            "can't schedule pod p: predicate \"TaintToleration\" didn't pass \
             (predicateReasons=[node(s) had untolerated taint(s)]; debugInfo=nodeName: \"n\", \
             nodeTaints: []v1.Taint{v1.Taint{Key:\"k\", Value:\"v\", Effect:\"NoSchedule\", \
             TimeAdded:<nil>}, v1.Taint{Key:\"k\", Value:\"v\", Effect:\"NoSchedule\", \
             TimeAdded:time.Date(2024, time.January, 2, 3, 4, 5, 0, time.Local)}})"
        );
    }
}
