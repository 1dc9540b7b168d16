use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use windlass_model::{AffinityTerm, LabelSelector, Labels, Namespace, SchedulerVersion, SmolStr};

/// Namespaces by number, with the labels of those that exist as objects.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespaces {
    by_name: FxHashMap<SmolStr, u32>,
    objects: Vec<Option<Arc<Namespace>>>,
}

/// The namespaces of which a term looks at pods.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// Sorted numbers of namespaces.
    listed: Vec<u32>,
    /// Those without a Namespace object too.
    unknown: bool,
    all: bool,
}

impl Scope {
    pub(crate) fn contains(&self, namespace: u32, namespaces: &Namespaces) -> bool {
        self.all
            || self.listed.binary_search(&namespace).is_ok()
            || self.unknown && namespaces.objects[namespace as usize].is_none()
    }
}

/// On which side a term's pod stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// It is to be placed.
    Incoming,
    /// It is on a node.
    Existing,
}

impl Namespaces {
    pub(crate) fn new(objects: &BTreeMap<SmolStr, Arc<Namespace>>) -> Self {
        let mut namespaces = Self::default();
        for (name, object) in objects {
            let id = namespaces.id(name);
            namespaces.objects[id as usize] = Some(Arc::clone(object));
        }
        namespaces
    }

    pub(crate) fn id(&mut self, name: &SmolStr) -> u32 {
        if let Some(known) = self.by_name.get(name) {
            return *known;
        }
        let id = u32::try_from(self.objects.len()).unwrap_or(u32::MAX);
        self.by_name.insert(name.clone(), id);
        self.objects.push(None);
        id
    }

    /// The scope of a term of a pod in `own`.
    ///
    /// A namespaceSelector is tried on the labels of Namespace objects. Of pods in a namespace
    /// without one, an existing pod's selector sees empty labels; so does an incoming pod's in
    /// 1.36, which besides takes a match of the empty labels for a match of every namespace.
    pub(crate) fn scope(
        &mut self,
        term: &AffinityTerm,
        own: u32,
        side: Side,
        version: SchedulerVersion,
    ) -> Scope {
        let mut listed: Vec<u32> = term.namespaces.iter().map(|name| self.id(name)).collect();
        if listed.is_empty() && term.namespace_selector.is_none() {
            listed.push(own);
        }
        let selector = term.namespace_selector.as_ref();
        let all = selector.is_some_and(LabelSelector::is_empty)
            || side == Side::Incoming
                && version < SchedulerVersion::V1_37
                && selector.is_some_and(|selector| selector.matches(&Labels::default()));
        if let Some(selector) = selector {
            for (id, object) in self.objects.iter().enumerate() {
                if object.as_ref().is_some_and(|o| selector.matches(&o.labels)) {
                    listed.push(u32::try_from(id).unwrap_or(u32::MAX));
                }
            }
        }
        listed.sort_unstable();
        listed.dedup();
        let unknown = side == Side::Existing
            && selector.is_some_and(|selector| selector.matches(&Labels::default()));
        Scope {
            listed,
            unknown,
            all,
        }
    }
}
