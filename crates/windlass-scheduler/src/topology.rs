use rustc_hash::FxHashMap;
use windlass_model::{Node, SmolStr};

/// No value: the node lacks the key.
pub(crate) const NO_VALUE: u32 = u32::MAX;

/// The topology keys that some term names, and each node's value of them as a small number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topology {
    keys: Vec<Key>,
    by_name: FxHashMap<SmolStr, u32>,
}

#[derive(Clone, Debug)]
struct Key {
    name: SmolStr,
    values: FxHashMap<SmolStr, u32>,
    of_node: Vec<u32>,
}

impl Key {
    fn value(&mut self, node: &Node) -> u32 {
        let Some(value) = node.labels.get(&self.name) else {
            return NO_VALUE;
        };
        if let Some(known) = self.values.get(value) {
            return *known;
        }
        let fresh = u32::try_from(self.values.len()).unwrap_or(NO_VALUE);
        self.values.insert(value.clone(), fresh);
        fresh
    }

    fn set(&mut self, slot: u32, value: u32) {
        let slot = slot as usize;
        if self.of_node.len() <= slot {
            self.of_node.resize(slot + 1, NO_VALUE);
        }
        self.of_node[slot] = value;
    }
}

impl Topology {
    /// The number of the key; `nodes` are all nodes, for a key that is new.
    pub(crate) fn key<'a>(
        &mut self,
        name: &SmolStr,
        nodes: impl Iterator<Item = (u32, &'a Node)>,
    ) -> u32 {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let mut key = Key {
            name: name.clone(),
            values: FxHashMap::default(),
            of_node: Vec::new(),
        };
        for (slot, node) in nodes {
            let value = key.value(node);
            key.set(slot, value);
        }
        let id = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.keys.push(key);
        self.by_name.insert(name.clone(), id);
        id
    }

    pub(crate) fn set_node(&mut self, slot: u32, node: &Node) {
        for key in &mut self.keys {
            let value = key.value(node);
            key.set(slot, value);
        }
    }

    pub(crate) fn clear_node(&mut self, slot: u32) {
        for key in &mut self.keys {
            key.set(slot, NO_VALUE);
        }
    }

    /// The node's value of the key, or [`NO_VALUE`].
    pub(crate) fn value(&self, key: u32, slot: u32) -> u32 {
        self.keys[key as usize]
            .of_node
            .get(slot as usize)
            .copied()
            .unwrap_or(NO_VALUE)
    }
}

/// Pods by topology value.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    by_value: Vec<u32>,
}

impl Counts {
    pub(crate) fn get(&self, value: u32) -> u32 {
        self.by_value.get(value as usize).copied().unwrap_or(0)
    }

    pub(crate) fn increment(&mut self, value: u32) {
        *self.slot(value) += 1;
    }

    pub(crate) fn decrement(&mut self, value: u32) {
        *self.slot(value) -= 1;
    }

    fn slot(&mut self, value: u32) -> &mut u32 {
        let index = value as usize;
        if self.by_value.len() <= index {
            self.by_value.resize(index + 1, 0);
        }
        &mut self.by_value[index]
    }
}
