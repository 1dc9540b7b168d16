//! `grpc`: the options that a server of the operator's own picks. Source:
//! `pkg/expander/grpcplugin`.
//!
//! The core asks nobody. Where the chain comes to a question without an answer the decision ends
//! with the question ([`decide_asking`](crate::decide_asking)); the shell puts it to the server
//! and decides anew with one answer more. So the decision stays a function of its input, a
//! recorded answer replays it byte for byte, and no thread of the core ever waits for a network.

use std::collections::BTreeMap;
use std::sync::Arc;

use windlass_model::{Node, Pod, SmolStr};

use super::ExpansionOption;
use crate::{decide::Loop, pending::PendingPods};

/// What the server of the expander `grpc` is asked: which of these options are best.
#[derive(Clone, Debug, PartialEq)]
pub struct ExpanderQuestion {
    /// What the chain has left, in its order.
    pub options: Vec<OfferedOption>,
    /// What a new node looks like, for every group of which that is known, by group.
    pub templates: BTreeMap<SmolStr, Arc<Node>>,
}

/// A group that could grow.
#[derive(Clone, Debug, PartialEq)]
pub struct OfferedOption {
    /// The group.
    pub group: SmolStr,
    /// By how many nodes.
    pub node_count: i64,
    /// The pods that these would hold.
    pub pods: Vec<Arc<Pod>>,
}

/// What the server said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpanderAnswer {
    /// The groups of the options that it keeps; none, and no group grows.
    Keep(Vec<SmolStr>),
    /// It could not be asked, or did not answer in time: all options are kept.
    Unavailable,
}

/// The conversation with the server in the course of one decision.
#[derive(Default)]
pub(crate) struct Consultation<'a> {
    /// What it said so far; `None` where nobody can be asked, so that all options are kept.
    answers: Option<&'a [ExpanderAnswer]>,
    /// How many of the answers have been used.
    used: usize,
    /// What it is to be asked next.
    question: Option<ExpanderQuestion>,
}

impl<'a> Consultation<'a> {
    pub(crate) fn with(answers: &'a [ExpanderAnswer]) -> Self {
        Self {
            answers: Some(answers),
            ..Self::default()
        }
    }

    /// Whether the decision cannot go on without an answer.
    pub(crate) fn is_waiting(&self) -> bool {
        self.question.is_some()
    }

    pub(crate) fn take_question(&mut self) -> Option<ExpanderQuestion> {
        self.question.take()
    }
}

pub(super) fn best(
    context: &mut Loop<'_>,
    pending: &PendingPods,
    options: &[ExpansionOption],
    places: &[usize],
) -> Vec<usize> {
    let Some(answers) = context.consultation.answers else {
        return places.to_vec();
    };
    let Some(answer) = answers.get(context.consultation.used) else {
        context.consultation.question = Some(question(context, pending, options, places));
        return Vec::new();
    };
    context.consultation.used += 1;
    let ExpanderAnswer::Keep(groups) = answer else {
        return places.to_vec();
    };
    if groups.is_empty() {
        return Vec::new();
    }
    let name = |place: usize| &context.cluster.groups[options[place].group].name;
    let mut kept: Vec<usize> = Vec::new();
    for group in groups {
        let place = places.iter().copied().find(|place| name(*place) == group);
        kept.extend(place.filter(|place| !kept.contains(place)));
    }
    // A server that names only groups it was not asked about has not understood the question.
    if kept.is_empty() {
        places.to_vec()
    } else {
        kept
    }
}

fn question(
    context: &Loop<'_>,
    pending: &PendingPods,
    options: &[ExpansionOption],
    places: &[usize],
) -> ExpanderQuestion {
    let groups = &context.cluster.groups;
    let offered = |place: &usize| {
        let option = &options[*place];
        let pods = option.pods.iter();
        OfferedOption {
            group: groups[option.group].name.clone(),
            node_count: option.nodes,
            pods: pods.map(|index| Arc::clone(pending.pod(*index))).collect(),
        }
    };
    let templates = groups.iter().zip(&context.templates);
    ExpanderQuestion {
        options: places.iter().map(offered).collect(),
        templates: templates
            .filter_map(|(group, template)| {
                let node = Arc::clone(&template.as_ref()?.node);
                Some((group.name.clone(), node))
            })
            .collect(),
    }
}
