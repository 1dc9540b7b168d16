//! What the status ConfigMap says under the key `status`. Source: `pkg/clusterstate/utils/status.go`,
//! `pkg/clusterstate/api/types.go`.

mod yaml;

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};
use windlass_model::{SmolStr, Timestamp};

use self::yaml::{Yaml, map};
use crate::{
    cluster_state::{Backoff, Counts, GroupState},
    decide::Loop,
};

/// A longer error message is cut, so that the ConfigMap stays small.
const LONGEST_MESSAGE: usize = 500;
const CUT_MARK: &str = "<truncated>";

/// What the ConfigMap said last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StatusMemory {
    transitions: BTreeMap<SmolStr, Transition>,
    /// When scale-down looked for unneeded nodes last.
    scale_down_at: Option<Timestamp>,
    /// How many it found, by group.
    candidates: BTreeMap<SmolStr, i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Transition {
    status: SmolStr,
    since: Option<Timestamp>,
}

/// What of the autoscaler a part of the status is about.
#[derive(Clone, Copy)]
enum Part<'a> {
    Cluster,
    Group(&'a str),
}

/// The status at the end of a loop that came as far as the cluster's state.
pub(crate) fn running(context: &mut Loop<'_>, total: &Counts, is_healthy: bool) -> String {
    note_candidates(context);
    let mut status = std::mem::take(&mut context.memory.status);
    let known = std::mem::take(&mut status.transitions);
    let mut writer = Writer {
        context,
        known,
        status: &mut status,
    };
    let document = writer.document(total, is_healthy);
    context.memory.status = status;
    document.to_string()
}

/// The status at the start, and while the cluster has no node to scale from.
pub fn initializing(now: Timestamp, message: &str) -> String {
    let health = map([
        ("lastProbeTime", Yaml::Null),
        ("lastTransitionTime", Yaml::Null),
        ("nodeCounts", node_counts(&Counts::default())),
    ]);
    let idle = || {
        map([
            ("lastProbeTime", Yaml::Null),
            ("lastTransitionTime", Yaml::Null),
        ])
    };
    let mut fields = vec![
        ("autoscalerStatus", Yaml::text("Initializing")),
        (
            "clusterWide",
            map([
                ("health", health),
                ("scaleDown", idle()),
                ("scaleUp", idle()),
            ]),
        ),
        ("time", Yaml::text(go_time(now))),
    ];
    if !message.is_empty() {
        fields.push(("message", Yaml::text(message)));
    }
    map(fields).to_string()
}

/// A time as Go prints it: `2023-11-24 04:28:19.546750398 +0000 UTC`.
pub fn go_time(time: Timestamp) -> String {
    let text = time.strftime("%Y-%m-%d %H:%M:%S%.f").to_string();
    format!("{text} +0000 UTC")
}

fn note_candidates(context: &mut Loop<'_>) {
    if !context.has_planned_scale_down {
        return;
    }
    let group_of: FxHashMap<&str, usize> = context
        .nodes
        .iter()
        .filter_map(|node| Some((node.node.name.as_str(), node.group?)))
        .collect();
    let mut candidates: BTreeMap<SmolStr, i64> = BTreeMap::new();
    for node in &context.plan.scale_down.unneeded {
        if let Some(group) = group_of.get(node.as_str()) {
            let name = context.cluster.groups[*group].name.clone();
            *candidates.entry(name).or_default() += 1;
        }
    }
    context.memory.status.candidates = candidates;
    context.memory.status.scale_down_at = Some(context.now);
}

struct Writer<'w, 'a> {
    context: &'w Loop<'a>,
    known: BTreeMap<SmolStr, Transition>,
    status: &'w mut StatusMemory,
}

impl Writer<'_, '_> {
    fn document(&mut self, total: &Counts, is_healthy: bool) -> Yaml {
        let now = Some(self.context.now);
        let mut health = self.probe(Part::Cluster, "health", health_word(is_healthy), now);
        health.push(("nodeCounts", node_counts(total)));
        let is_scaling_up = self.context.groups.iter().any(|group| group.is_scaling_up);
        let scale_up = if is_scaling_up {
            "InProgress"
        } else {
            "NoActivity"
        };
        let scale_up = self.probe(Part::Cluster, "scaleUp", scale_up, now);
        let candidates = self.status.candidates.values().sum();
        let scale_down = self.scale_down(Part::Cluster, candidates);
        let mut fields = vec![
            ("autoscalerStatus", Yaml::text("Running")),
            (
                "clusterWide",
                map([
                    ("health", map(health)),
                    ("scaleDown", scale_down),
                    ("scaleUp", map(scale_up)),
                ]),
            ),
            ("time", Yaml::text(go_time(self.context.now))),
        ];
        let groups: Vec<Yaml> = (0..self.context.groups.len())
            .map(|index| self.group(index))
            .collect();
        if !groups.is_empty() {
            fields.push(("nodeGroups", Yaml::List(groups)));
        }
        map(fields)
    }

    fn group(&mut self, index: usize) -> Yaml {
        let group = &self.context.cluster.groups[index];
        let state = &self.context.groups[index];
        let part = Part::Group(&group.name);
        let probed_at = (!state.counts.is_empty()).then_some(self.context.now);
        let mut health = self.probe(part, "health", health_word(state.is_healthy), probed_at);
        health.extend([
            ("cloudProviderTarget", Yaml::Int(group.target_size)),
            ("maxSize", Yaml::Int(group.max_size)),
            ("minSize", Yaml::Int(group.min_size)),
            ("nodeCounts", node_counts(&state.counts)),
        ]);
        let mut scale_up = self.probe(part, "scaleUp", scale_up_word(state), probed_at);
        let backoff = self
            .context
            .memory
            .backoffs
            .get(&group.name)
            .filter(|_| state.is_backed_off);
        scale_up.push(("backoffInfo", backoff_info(backoff)));
        let candidates = self.status.candidates.get(&group.name).copied();
        map([
            ("health", map(health)),
            ("name", Yaml::text(group.name.as_str())),
            ("scaleDown", self.scale_down(part, candidates.unwrap_or(0))),
            ("scaleUp", map(scale_up)),
        ])
    }

    fn scale_down(&mut self, part: Part<'_>, candidates: i64) -> Yaml {
        let word = if candidates > 0 {
            "CandidatesPresent"
        } else {
            "NoCandidates"
        };
        let probed_at = self.status.scale_down_at;
        let mut fields = self.probe(part, "scaleDown", word, probed_at);
        if candidates > 0 {
            fields.push(("candidates", Yaml::Int(candidates)));
        }
        map(fields)
    }

    /// The fields that every part has. The time of the last transition stays while the status
    /// does.
    fn probe(
        &mut self,
        part: Part<'_>,
        aspect: &str,
        word: &'static str,
        probed_at: Option<Timestamp>,
    ) -> Vec<(&'static str, Yaml)> {
        let key = SmolStr::from(match part {
            Part::Cluster => aspect.to_owned(),
            Part::Group(group) => format!("{group}/{aspect}"),
        });
        let since = self
            .known
            .get(&key)
            .filter(|transition| transition.status == word)
            .map_or(probed_at, |transition| transition.since);
        self.status.transitions.insert(
            key,
            Transition {
                status: SmolStr::new_static(word),
                since,
            },
        );
        vec![
            ("lastProbeTime", Yaml::time(probed_at)),
            ("lastTransitionTime", Yaml::time(since)),
            ("status", Yaml::text(word)),
        ]
    }
}

fn health_word(is_healthy: bool) -> &'static str {
    if is_healthy { "Healthy" } else { "Unhealthy" }
}

fn scale_up_word(state: &GroupState) -> &'static str {
    if state.is_scaling_up {
        "InProgress"
    } else if !state.is_healthy {
        "Unhealthy"
    } else if state.is_backed_off {
        "Backoff"
    } else {
        "NoActivity"
    }
}

fn backoff_info(backoff: Option<&Backoff>) -> Yaml {
    let Some(backoff) = backoff else {
        return map([]);
    };
    let mut message = backoff.error.message.clone();
    if message.len() > LONGEST_MESSAGE {
        let end = message.floor_char_boundary(LONGEST_MESSAGE - CUT_MARK.len());
        message.truncate(end);
        message.push_str(CUT_MARK);
    }
    map([
        ("errorCode", Yaml::text(backoff.error.code.as_str())),
        ("errorMessage", Yaml::text(message)),
    ])
}

fn node_counts(counts: &Counts) -> Yaml {
    let mut registered = vec![
        ("notStarted", Yaml::Int(counts.not_started)),
        ("ready", Yaml::Int(counts.ready)),
        ("suspended", Yaml::Int(counts.suspended)),
        ("total", Yaml::Int(counts.registered)),
        (
            "unready",
            map([
                ("resourceUnready", Yaml::Int(counts.resource_unready)),
                ("total", Yaml::Int(counts.unready)),
            ]),
        ),
    ];
    if counts.deleted > 0 {
        registered.push(("beingDeleted", Yaml::Int(counts.deleted)));
    }
    map([
        ("longUnregistered", Yaml::Int(counts.long_unregistered)),
        ("registered", map(registered)),
        ("unregistered", Yaml::Int(counts.unregistered)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_printed_as_go_does() {
        let time: Timestamp = "2023-11-24T04:28:19.5467Z".parse().unwrap();
        assert_eq!(go_time(time), "2023-11-24 04:28:19.5467 +0000 UTC");
        let time: Timestamp = "2023-11-24T04:28:19Z".parse().unwrap();
        assert_eq!(go_time(time), "2023-11-24 04:28:19 +0000 UTC");
    }

    #[test]
    fn while_initializing_the_skeleton_is_there() {
        let text = initializing(Timestamp::UNIX_EPOCH, "Cluster has no nodes.");
        assert!(text.starts_with("autoscalerStatus: Initializing\nclusterWide:\n  health:\n"));
        assert!(text.contains("    lastProbeTime: null\n"));
        assert!(
            text.ends_with("message: Cluster has no nodes.\ntime: 1970-01-01 00:00:00 +0000 UTC\n")
        );
    }
}
