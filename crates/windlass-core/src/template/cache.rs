use std::collections::BTreeMap;

use windlass_model::{Duration, NodeTemplate, SmolStr, Timestamp};

/// Templates made from real nodes in earlier loops, by group. They are not written down: after
/// a restart the cloud's description serves until a node is there, as with the Go autoscaler.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TemplateCache {
    templates: BTreeMap<SmolStr, (NodeTemplate, Timestamp)>,
}

impl TemplateCache {
    /// The template remembered of a group.
    pub fn get(&self, group: &str) -> Option<&NodeTemplate> {
        self.templates.get(group).map(|(template, _)| template)
    }

    pub(super) fn store(&mut self, group: &SmolStr, template: &NodeTemplate, now: Timestamp) {
        self.templates
            .insert(group.clone(), (template.clone(), now));
    }

    pub(super) fn retain_groups(&mut self, exists: impl Fn(&str) -> bool) {
        self.templates.retain(|name, _| exists(name));
    }

    pub(super) fn expire(&mut self, now: Timestamp, lifetime: Duration) {
        self.templates
            .retain(|_, (_, stored_at)| now.duration_since(*stored_at) <= lifetime);
    }
}
