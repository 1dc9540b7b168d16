//! What a group's next node is taken for: the template that decisions go by, whatever it was made
//! from.

use std::fmt::Write;

use windlass_core::{Input, template::TemplateSource, templates_with_sources};
use windlass_model::{Node, NodeTemplate, ResourceList, SmolStr};
use windlass_scheduler::Snapshot;

use super::{DESCRIPTION, TemplatePart};

/// It names the template, and every node has another.
const HOSTNAME: &str = "kubernetes.io/hostname";

/// One of a node's lists of resources.
type ListOf = fn(&Node) -> &ResourceList;

/// The values of the group's template; none where there is no template.
pub(super) fn parts(input: &Input<'_>, snapshot: Snapshot, group: &SmolStr) -> Vec<TemplatePart> {
    let groups = &input.cluster.groups;
    let Some(index) = groups.iter().position(|other| other.name == *group) else {
        return Vec::new();
    };
    let made = templates_with_sources(input, snapshot)
        .into_iter()
        .nth(index)
        .flatten();
    let Some((template, source)) = made else {
        return Vec::new();
    };
    let model = match &source {
        TemplateSource::Node(name) => {
            let mut nodes = input.cluster.nodes.iter();
            nodes.find(|node| node.name == *name).map(AsRef::as_ref)
        }
        TemplateSource::Remembered | TemplateSource::Description => None,
    };
    list(&template, &name_of(&source), model)
}

fn name_of(source: &TemplateSource) -> String {
    match source {
        TemplateSource::Node(name) => format!("node {name}"),
        TemplateSource::Remembered => "a node seen earlier".to_owned(),
        TemplateSource::Description => DESCRIPTION.to_owned(),
    }
}

/// What the node that served as model lacks was added from the description.
fn list(template: &NodeTemplate, source: &str, model: Option<&Node>) -> Vec<TemplatePart> {
    let node = &template.node;
    let mut parts = Vec::new();
    let mut add = |part: String, value: String, source: &str| {
        parts.push(TemplatePart {
            part,
            value,
            source: source.to_owned(),
        });
    };
    for (key, value) in node.labels.iter().filter(|(key, _)| *key != HOSTNAME) {
        add(format!("label {key}"), value.to_string(), source);
    }
    for taint in &node.taints {
        let part = format!("taint {}:{}", taint.key, taint.effect.as_str());
        add(part, taint.value.to_string(), source);
    }
    let lists: [(&str, ListOf); 2] = [
        ("capacity", |node| &node.capacity),
        ("allocatable", |node| &node.allocatable),
    ];
    for (what, of) in lists {
        for (name, amount) in of(node).iter() {
            let was_added = model.is_some_and(|model| of(model).get(name).is_none());
            let source = if was_added { DESCRIPTION } else { source };
            add(format!("{what} {name}"), amount.to_string(), source);
        }
    }
    for (driver, limit) in template.csi_node.iter().flat_map(|csi| &csi.drivers) {
        let value = limit.map_or("no limit".to_owned(), |limit| limit.to_string());
        add(format!("volumes of {driver}"), value, source);
    }
    for pod in &template.pods {
        add(format!("pod {}", pod.full_name()), String::new(), source);
    }
    parts
}

/// The parts in columns.
pub(super) fn to_text(parts: &[TemplatePart]) -> String {
    let mut text = String::new();
    if parts.is_empty() {
        return text;
    }
    text.push_str("its next node:\n");
    let width = |of: fn(&TemplatePart) -> &str| {
        let lengths = parts.iter().map(|part| of(part).chars().count());
        lengths.max().unwrap_or(0)
    };
    let (names, values) = (width(|part| &part.part), width(|part| &part.value));
    for part in parts {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {:names$}  {:values$}  {}",
            part.part, part.value, part.source
        );
    }
    text
}
