use windlass_model::{LabelSelector, NodeSelector, NodeSelectorTerm, Requirement};

use crate::api;

pub(super) fn label_selector(selector: &api::LabelSelector) -> LabelSelector {
    let mut converted = LabelSelector::from_labels(&selector.match_labels.0);
    converted
        .requirements
        .extend(selector.match_expressions.iter().map(requirement));
    converted
}

fn requirement(requirement: &api::Requirement) -> Requirement {
    Requirement {
        key: requirement.key.clone(),
        operator: requirement.operator.as_str().into(),
        values: requirement.values.clone(),
    }
}

pub(super) fn node_selector(selector: &api::NodeSelector) -> NodeSelector {
    let terms = selector
        .node_selector_terms
        .iter()
        .map(|term| NodeSelectorTerm {
            match_expressions: term.match_expressions.iter().map(requirement).collect(),
            match_fields: term.match_fields.iter().map(requirement).collect(),
        })
        .collect();
    NodeSelector { terms }
}
