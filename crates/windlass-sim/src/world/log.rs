use std::collections::BTreeMap;

use windlass_model::{Duration, SmolStr};

use crate::report::{Counts, Entry};

/// What has happened, in order; what happens alike at one instant becomes one entry.
#[derive(Debug, Default)]
pub(super) struct Log {
    entries: Vec<Entry>,
    /// Of the present instant, in the order in which each sort of thing happened first.
    present: Vec<Item>,
    is_changed: bool,
}

#[derive(Debug)]
enum Item {
    Line(&'static str, String),
    Created(String, usize),
    Removed(String, usize),
    Finished(String, usize),
    Scheduled {
        by_node: BTreeMap<SmolStr, usize>,
        unschedulable: usize,
    },
    Nodes {
        kind: &'static str,
        group: SmolStr,
        names: Vec<SmolStr>,
        what: &'static str,
    },
    Evicted(SmolStr, usize),
    NotLaunched(SmolStr, SmolStr, usize),
}

impl Log {
    pub(super) fn add(&mut self, kind: &'static str, text: String) {
        self.push(Item::Line(kind, text));
    }

    pub(super) fn created(&mut self, owner: &str, count: usize) {
        if count == 0 {
            return;
        }
        for item in &mut self.present {
            if let Item::Created(known, sum) = item
                && known == owner
            {
                *sum += count;
                return;
            }
        }
        self.push(Item::Created(owner.to_owned(), count));
    }

    pub(super) fn removed(&mut self, owner: &str, count: usize) {
        if count > 0 {
            self.push(Item::Removed(owner.to_owned(), count));
        }
    }

    pub(super) fn finished(&mut self, owner: &str) {
        for item in &mut self.present {
            if let Item::Finished(known, sum) = item
                && known == owner
            {
                *sum += 1;
                return;
            }
        }
        self.push(Item::Finished(owner.to_owned(), 1));
    }

    pub(super) fn scheduled(&mut self, placed: &BTreeMap<SmolStr, usize>, failed: usize) {
        if placed.is_empty() && failed == 0 {
            return;
        }
        if let Some(Item::Scheduled {
            by_node,
            unschedulable,
        }) = self.present.last_mut()
        {
            for (node, count) in placed {
                *by_node.entry(node.clone()).or_default() += count;
            }
            *unschedulable += failed;
            return;
        }
        self.push(Item::Scheduled {
            by_node: placed.clone(),
            unschedulable: failed,
        });
    }

    /// Something that nodes of one group have in common; of no group where it is empty.
    pub(super) fn nodes(
        &mut self,
        kind: &'static str,
        group: &str,
        node: &SmolStr,
        what: &'static str,
    ) {
        for item in &mut self.present {
            if let Item::Nodes {
                group: known,
                names,
                what: known_what,
                ..
            } = item
                && known == group
                && *known_what == what
            {
                names.push(node.clone());
                return;
            }
        }
        self.push(Item::Nodes {
            kind,
            group: group.into(),
            names: vec![node.clone()],
            what,
        });
    }

    pub(super) fn evicted(&mut self, node: &SmolStr) {
        for item in &mut self.present {
            if let Item::Evicted(known, sum) = item
                && known == node
            {
                *sum += 1;
                return;
            }
        }
        self.push(Item::Evicted(node.clone(), 1));
    }

    pub(super) fn not_launched(&mut self, group: &SmolStr, reason: &SmolStr) {
        for item in &mut self.present {
            if let Item::NotLaunched(known, _, sum) = item
                && known == group
            {
                *sum += 1;
                return;
            }
        }
        self.push(Item::NotLaunched(group.clone(), reason.clone(), 1));
    }

    fn push(&mut self, item: Item) {
        self.is_changed = true;
        self.present.push(item);
    }

    /// Ends an instant: what happened in it stands as written, with what there is after it.
    pub(super) fn end_instant(&mut self, at: Duration, after: Counts) {
        for item in self.present.drain(..) {
            let (kind, text) = describe(&item);
            self.entries.push(Entry {
                at,
                kind,
                text,
                after,
            });
        }
    }

    /// Whether anything happened since this was asked last.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.is_changed)
    }

    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// The entries since the `from`th.
    pub(super) fn entries_from(&self, from: usize) -> &[Entry] {
        self.entries.get(from..).unwrap_or_default()
    }
}

fn describe(item: &Item) -> (&'static str, String) {
    match item {
        Item::Line(kind, text) => (kind, text.clone()),
        Item::Created(owner, count) => (
            "pods",
            format!("{owner}: {} created", number(*count, "pod")),
        ),
        Item::Removed(owner, count) => (
            "pods",
            format!("{owner}: {} deleted", number(*count, "pod")),
        ),
        Item::Finished(owner, count) => (
            "pods",
            format!("{owner}: {} finished", number(*count, "pod")),
        ),
        Item::Scheduled {
            by_node,
            unschedulable,
        } => ("scheduler", scheduled(by_node, *unschedulable)),
        Item::Nodes {
            kind,
            group,
            names,
            what,
        } => {
            let names = list(names);
            let text = if group.is_empty() {
                format!("{names} {what}")
            } else {
                format!("{group}: {names} {what}")
            };
            (kind, text)
        }
        Item::Evicted(node, count) => (
            "scale-down",
            format!("{node}: {} evicted", number(*count, "pod")),
        ),
        Item::NotLaunched(group, reason, count) => (
            "cloud",
            format!(
                "{group}: {} not launched, {reason}",
                number(*count, "instance")
            ),
        ),
    }
}

fn scheduled(by_node: &BTreeMap<SmolStr, usize>, unschedulable: usize) -> String {
    let count = by_node.values().sum();
    let placed = format!(
        "{} placed on {}",
        number(count, "pod"),
        number(by_node.len(), "node")
    );
    let failed = format!("{} without a node", number(unschedulable, "pod"));
    match (count, unschedulable) {
        (_, 0) => placed,
        (0, _) => failed,
        _ => format!("{placed}, {failed}"),
    }
}

fn number(count: usize, of: &str) -> String {
    if count == 1 {
        format!("1 {of}")
    } else {
        format!("{count} {of}s")
    }
}

/// Names while they are few.
fn list(nodes: &[SmolStr]) -> String {
    const MOST: usize = 4;
    if nodes.len() > MOST {
        return number(nodes.len(), "node");
    }
    nodes.join(", ")
}
