//! What a search that found devices grants.

use windlass_model::{
    AllocatedDevice, Allocation, NodeSelector, NodeSelectorTerm, Requirement, RequirementOperator,
    SliceNodes, SmolStr,
};

use super::{Choice, Search};

/// Names a share of a device that a search gave away.
const SIMULATED_SHARE: &str = "simulated";

impl<'a> Search<'a, '_> {
    pub(super) fn allocations(&self) -> Vec<Allocation> {
        self.choices
            .iter()
            .map(|choices| Allocation {
                node_selector: self.node_selector(choices),
                devices: choices
                    .iter()
                    .map(|choice| self.allocated_device(choice))
                    .collect(),
            })
            .collect()
    }

    fn allocated_device(&self, choice: &Choice<'a>) -> AllocatedDevice {
        let id = self.id(choice.place);
        let share_id = if choice.is_shared {
            SIMULATED_SHARE
        } else {
            ""
        };
        AllocatedDevice {
            request: choice.request.clone(),
            driver: id.driver,
            pool: id.pool,
            device: id.device,
            admin_access: choice.is_admin,
            consumed_capacity: choice.consumed.clone().into_iter().collect(),
            share_id: SmolStr::new_static(share_id),
        }
    }

    /// Where the devices are usable together: on this node alone as soon as one of them is local.
    fn node_selector(&self, choices: &[Choice<'a>]) -> Option<NodeSelector> {
        let mut term = NodeSelectorTerm::default();
        for choice in choices {
            if self.device(choice.place).binds_to_node {
                return Some(on_node(&self.ground.node.name));
            }
            let nodes = match &choice.slice.nodes {
                SliceNodes::PerDevice => &self.device(choice.place).nodes,
                nodes => nodes,
            };
            match nodes {
                SliceNodes::Node(name) => return Some(on_node(name)),
                SliceNodes::Selector(selector) => {
                    for other in selector.terms.iter().take(1) {
                        extend_new(&mut term.match_expressions, &other.match_expressions);
                        extend_new(&mut term.match_fields, &other.match_fields);
                    }
                }
                SliceNodes::All | SliceNodes::PerDevice | SliceNodes::None => {}
            }
        }
        let is_everywhere = term.match_expressions.is_empty() && term.match_fields.is_empty();
        (!is_everywhere).then(|| NodeSelector { terms: vec![term] })
    }
}

fn on_node(name: &SmolStr) -> NodeSelector {
    let by_name = Requirement {
        key: SmolStr::new_static("metadata.name"),
        operator: RequirementOperator::In,
        values: vec![name.clone()],
    };
    let term = NodeSelectorTerm {
        match_expressions: Vec::new(),
        match_fields: vec![by_name],
    };
    NodeSelector { terms: vec![term] }
}

fn extend_new(requirements: &mut Vec<Requirement>, more: &[Requirement]) {
    for requirement in more {
        if !requirements.contains(requirement) {
            requirements.push(requirement.clone());
        }
    }
}
