use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use windlass_model::{Pod, SmolStr};

/// Where pods were placed in simulations, so that the next loop finds the same place first. A
/// hint that is not renewed in a loop is gone after it. Source: `pkg/simulator/scheduling/hints.go`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hints {
    current: BTreeMap<SmolStr, SmolStr>,
    #[serde(skip)]
    next: BTreeMap<SmolStr, SmolStr>,
}

impl Hints {
    pub(super) fn get(&self, pod: &Pod) -> Option<&SmolStr> {
        if self.current.is_empty() {
            return None;
        }
        self.current.get(&key(pod))
    }

    pub(super) fn set(&mut self, pod: &Pod, node: &SmolStr) {
        self.next.insert(key(pod), node.clone());
    }

    /// Begins a new generation.
    pub(super) fn turn(&mut self) {
        self.current = std::mem::take(&mut self.next);
    }
}

fn key(pod: &Pod) -> SmolStr {
    if pod.uid.is_empty() {
        SmolStr::from(pod.full_name().to_string())
    } else {
        pod.uid.clone()
    }
}
